"""Files are whole or absent, and nested states come back as they were."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from enn_lib.storage import (
    load_state,
    load_tensors,
    read_csv,
    replacing,
    save_state,
    save_tensors,
    write_csv,
    write_json,
    write_missing_csv,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples that hypothesis draws in a test."""
    return tmp_path_factory.mktemp("storage")


# replacing


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def write_half():
        with replacing(path) as part:
            part.write_text("ne")
            raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_write_is_done_the_old_file_is_there(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"value": object()}),
        lambda path: write_csv(path, ["a"], ([1 / k] for k in (1, 0))),
        lambda path: save_tensors(path, {"a": None}, {}),
        lambda path: save_state(path, {"a": object()}),
    ],
)
def test_every_writer_leaves_the_old_file_whole(write, tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    with pytest.raises((TypeError, AttributeError, ZeroDivisionError)):
        write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# Tables


@given(rows=st.lists(st.tuples(st.floats(allow_nan=False), st.integers(-(2**40), 2**40)), max_size=5))
def test_a_table_comes_back_exactly(rows, folder):
    path = folder / "table.csv"
    write_csv(path, ["x", "y"], rows)
    assert read_csv(path) == {"x": [r[0] for r in rows], "y": [float(r[1]) for r in rows]}


def test_a_table_that_is_there_is_not_made_again(tmp_path):
    path = tmp_path / "study" / "one.csv"
    write_missing_csv(path, ("x",), lambda: [(1.0,)])
    write_missing_csv(path, ("x",), lambda: pytest.fail("it was there"))
    assert read_csv(path) == {"x": [1.0]}


def test_a_costly_table_has_as_many_digits_as_are_asked_for(tmp_path):
    for digits, text in ((7, "0.3333333"), (9, "0.333333333")):
        path = tmp_path / f"{digits}.csv"
        write_missing_csv(path, ("iteration", "x"), lambda: [(120_000, 1 / 3)], digits)
        assert path.read_text() == f"iteration,x\n120000,{text}\n"


def test_a_table_whose_making_fails_is_not_begun(tmp_path):
    with pytest.raises(FloatingPointError):
        write_missing_csv(tmp_path / "one.csv", ("x",), lambda: [(math.sqrt(2),), _diverged()])
    assert not list(tmp_path.iterdir())


def _diverged():
    raise FloatingPointError("diverged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file, wanted a table with a header"),
        (b"a,b\n1,2\n3\n", "got a row that is not as long as the header"),
        (b"a,b\n1,two\n", "not a table of numbers .*two"),
        (b"a\n\xff\xfe\n", "not a table of numbers"),
    ],
)
def test_a_table_that_is_none_is_named(content, message, tmp_path):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"table\.csv: {message}"):
        read_csv(path)


# States


DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64]


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), max_size=3))
    dtype = draw(st.sampled_from(DTYPES))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 100)))
    return (100 * torch.randn(shape, generator=generator)).to(dtype)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    tensors(),
)
keys = st.one_of(st.integers(), st.text(max_size=5), st.tuples(st.integers(), st.text(max_size=3)))
nests = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(keys, inner, max_size=3),
    ),
    max_leaves=12,
)


def assert_same(actual, expected):
    """Equal in type, value, dtype and shape; a NaN equals a NaN."""
    assert type(actual) is type(expected)
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        for key in expected:
            assert_same(actual[key], expected[key])
    elif isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(actual)
    else:
        assert actual == expected


@given(state=nests)
def test_any_nest_of_tensors_numbers_and_strings_comes_back_exactly(state, folder):
    save_state(folder / "state", state)
    assert_same(load_state(folder / "state"), state)


@given(order=st.permutations(range(4)))
def test_the_order_in_memory_comes_back(order, folder):
    """Sums over another order are rounded otherwise, and training would not resume bit for bit."""
    tensor = torch.arange(120.0).reshape(2, 3, 4, 5).permute(order)
    save_state(folder / "state", {"a": tensor})
    actual = load_state(folder / "state")["a"]
    assert actual.equal(tensor)
    assert actual.stride() == tensor.stride()


def test_tensors_that_share_memory_come_back(tmp_path):
    whole = torch.arange(6.0).reshape(2, 3)
    save_state(tmp_path / "state", {"whole": whole, "row": whole[1], "turned": whole.T})
    state = load_state(tmp_path / "state")
    assert state["row"].tolist() == [3.0, 4.0, 5.0]
    assert state["turned"].equal(whole.T)


def test_what_is_no_state_is_refused_by_its_type(tmp_path):
    with pytest.raises(TypeError, match="state: got a set, wanted tensors, numbers, strings or a nest"):
        save_state(tmp_path / "state", {"a": {1, 2}})


def test_tensors_and_their_metadata_come_back(tmp_path):
    save_tensors(tmp_path / "file", {"a": torch.ones(2)}, {"unit": "Å"})
    tensors, metadata = load_tensors(tmp_path / "file")
    assert tensors["a"].tolist() == [1.0, 1.0]
    assert metadata == {"unit": "Å"}


# Foreign and damaged files


@pytest.mark.parametrize("load", [load_tensors, load_state])
@pytest.mark.parametrize("content", [b"", b"not a tensor", b"\x80\x04pickle", b"PK\x03\x04" + bytes(100)])
def test_a_foreign_file_is_refused(load, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match="file: not a whole safetensors file"):
        load(tmp_path / "file")


@given(part=st.floats(0, 0.999))
def test_a_file_cut_short_anywhere_is_refused(part, folder):
    path = folder / "cut"
    save_state(path, {"a": torch.ones(50), "b": [1, 2]})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="cut: not a whole safetensors file"):
        load_state(path)


def test_tensors_without_a_skeleton_are_not_a_state(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "file")
    with pytest.raises(ValueError, match=r"file: not a saved state \(no skeleton in its metadata\)"):
        load_state(tmp_path / "file")


@pytest.mark.parametrize("skeleton", ["{", '{"set": []}', '{"tensor": "7"}', '{"dict": 3}', "{}"])
def test_a_foreign_skeleton_is_refused(skeleton, tmp_path):
    save_file({"0": torch.ones(2)}, tmp_path / "file", {"skeleton": skeleton})
    with pytest.raises(ValueError, match="file: not a saved state"):
        load_state(tmp_path / "file")


def test_tensors_may_be_read_by_whoever_may_read_a_text(tmp_path):
    """A temporary file of another program's making would be for its owner alone, and stay after a kill."""
    save_tensors(tmp_path / "tensors", {"a": torch.ones(2)}, {})
    (tmp_path / "text").write_text("")
    modes = {p.name: p.stat().st_mode for p in tmp_path.iterdir()}
    assert modes["tensors"] == modes["text"]
    assert len(modes) == 2
