"""Files are whole or absent, and nested states come back as they were."""

import pickle

import numpy as np
import pytest
import torch
from examples import normal
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.storage import (
    load_state,
    load_tensors,
    read_csv,
    read_json,
    replacing,
    save_state,
    save_tensors,
    write_csv,
    write_json,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all examples that hypothesis draws in a test."""
    return tmp_path_factory.mktemp("storage")


# replacing


@pytest.fixture
def old_file(tmp_path):
    """A file that is to be replaced, alone in its folder."""
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    return path


def test_until_the_write_is_done_the_old_file_is_there(old_file):
    with replacing(old_file) as part:
        part.write_text("new", encoding="utf-8")
        assert old_file.read_text(encoding="utf-8") == "old"
    assert old_file.read_text(encoding="utf-8") == "new"
    assert list(old_file.parent.iterdir()) == [old_file]


def write_half(path):
    with replacing(path) as part:
        part.write_text("ne", encoding="utf-8")
        raise RuntimeError("disk full")


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (write_half, RuntimeError, "disk full"),
        (lambda path: write_json(path, {"value": object()}), TypeError, "not JSON serializable"),
        (lambda path: write_csv(path, ["a"], ([1 / k] for k in (1, 0))), ZeroDivisionError, "by zero"),
        (lambda path: save_tensors(path, {"a": None}, {}), AttributeError, "'NoneType'"),
        # What is no state is refused by its type: it could be written, and then never be read again.
        (
            lambda path: save_state(path, {"a": print}),
            TypeError,
            "^state: got something foreign in it, wanted tensors, numbers, strings$",
        ),
    ],
    ids=["replacing", "write_json", "write_csv", "save_tensors", "save_state"],
)
def test_a_write_that_fails_leaves_the_old_file_whole(write, error, message, old_file):
    with pytest.raises(error, match=message):
        write(old_file)
    assert old_file.read_text(encoding="utf-8") == "old"
    assert list(old_file.parent.iterdir()) == [old_file]


# Texts


def test_a_json_file_is_indented_and_ends_its_last_line_on_every_system(tmp_path):
    write_json(tmp_path / "file", {"a": [1, 2.5], "å": None})
    assert (tmp_path / "file").read_bytes() == b'{\n  "a": [\n    1,\n    2.5\n  ],\n  "\\u00e5": null\n}\n'
    assert read_json(tmp_path / "file") == {"a": [1, 2.5], "å": None}


def test_a_table_has_a_header_and_ends_its_lines_alike_on_every_system(tmp_path):
    write_csv(tmp_path / "file", ["x", "å"], [(1, 0.1)])
    assert (tmp_path / "file").read_bytes() == "x,å\n1,0.1\n".encode()
    assert read_csv(tmp_path / "file") == {"x": [1.0], "å": [0.1]}


@given(rows=st.lists(st.tuples(st.floats(allow_nan=False), st.integers(-(2**40), 2**40)), max_size=5))
def test_a_table_comes_back_exactly(rows, folder):
    path = folder / "table.csv"
    write_csv(path, ["x", "y"], rows)
    assert read_csv(path) == {"x": [r[0] for r in rows], "y": [float(r[1]) for r in rows]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file, wanted a table with a header$"),
        (b"a,b\n1,2\n3\n", r"got a row that is not as long as the header \['a', 'b'\]$"),
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
    return (100 * normal(*shape, seed=draw(st.integers(0, 100)))).to(draw(st.sampled_from(DTYPES)))


def collections(inner):
    lists = st.lists(inner, max_size=3)
    keys = st.integers() | st.text(max_size=5) | st.tuples(st.integers(), st.text(max_size=3))
    return lists | lists.map(tuple) | st.dictionaries(keys, inner, max_size=3)


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | tensors()
nests = st.recursive(leaves, collections, max_leaves=12)


def assert_same(actual, expected):
    """Equal in type, value, dtype and shape; a NaN equals a NaN."""
    assert type(actual) is type(expected)
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0, equal_nan=True)
    elif isinstance(expected, dict):
        assert list(actual) == list(expected)
        assert_same(list(actual.values()), list(expected.values()))
    elif isinstance(expected, (list, tuple)):
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_same(a, e)
    else:
        np.testing.assert_equal(actual, expected)


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


def test_tensors_and_their_metadata_come_back_and_are_the_same_bytes_every_time(tmp_path):
    tensors, metadata = {"x": torch.ones(3), "y": torch.zeros(2, 2)}, dict.fromkeys("abcdefgh", "å")
    for name in "0123456789":
        save_tensors(tmp_path / name, tensors, metadata)
    assert len({(tmp_path / name).read_bytes() for name in "0123456789"}) == 1
    found = load_tensors(tmp_path / "0")
    torch.testing.assert_close(found[0], tensors, rtol=0, atol=0)
    assert found[1] == metadata


@pytest.mark.parametrize("length", range(8))
def test_the_header_of_tensors_begins_with_a_brace_and_leaves_them_aligned(length, tmp_path):
    """What the format of safetensors asks for: spaces fill the header up, at its end."""
    save_tensors(tmp_path / "file", {"x": torch.ones(3)}, {"a": "x" * length})
    content = (tmp_path / "file").read_bytes()
    size = int.from_bytes(content[:8], "little")
    assert content[8:9] == b"{"
    assert content[8 : 8 + size].rstrip(b" ").endswith(b"}")
    assert size % 8 == 0
    assert content[8 + size :] == torch.ones(3).numpy().tobytes()


# Foreign and damaged files


FOREIGN = [b"", b"not a tensor", b"\x80\x04pickle", b"PK\x03\x04" + bytes(100), pickle.dumps(print)]


@pytest.mark.parametrize(("load", "kind"), [(load_tensors, "safetensors file"), (load_state, "saved state")])
@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_file_is_refused(load, kind, content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ValueError, match=f"file: not a whole {kind}"):
        load(tmp_path / "file")


def test_a_state_that_holds_foreign_code_is_refused_and_the_code_does_not_run(tmp_path):
    """What torch itself saves without a word, and runs when it is loaded."""

    class Intruder:
        def __reduce__(self):
            return (tmp_path / "intruder").touch, ()

    torch.save({"a": Intruder()}, tmp_path / "file")
    with pytest.raises(ValueError, match="file: not a whole saved state"):
        load_state(tmp_path / "file")
    assert not (tmp_path / "intruder").exists()


@given(part=st.floats(0, 0.999))
def test_a_file_cut_short_anywhere_is_refused(part, folder):
    path = folder / "cut"
    save_state(path, {"a": torch.ones(50), "b": [1, 2]})
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(ValueError, match="cut: not a whole saved state"):
        load_state(path)


def test_a_bit_that_has_turned_over_in_a_tensor_is_seen(tmp_path):
    """As torch itself does not: it looks at no checksum."""
    path = tmp_path / "state"
    save_state(path, {"a": torch.full((50,), 1.5)})
    content = path.read_bytes()
    place = content.index(torch.full((50,), 1.5).numpy().tobytes())
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(ValueError, match="state: not a whole saved state"):
        load_state(path)


@pytest.mark.parametrize("load", [load_tensors, load_state])
def test_a_file_that_is_not_there_is_said_to_be_missing(load, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load(tmp_path / "nowhere")


def test_tensors_that_are_read_lie_where_torch_puts_its_own(tmp_path):
    """Products with tensors that are aligned otherwise may be rounded otherwise."""
    written = {str(n): torch.ones(n) for n in range(1, 40)}
    save_state(tmp_path / "state", written)
    save_tensors(tmp_path / "tensors", written, {})
    for tensors in (load_state(tmp_path / "state"), load_tensors(tmp_path / "tensors")[0]):
        assert {tensor.data_ptr() % 64 for tensor in tensors.values()} == {0}


def test_tensors_may_be_read_by_whoever_may_read_a_text(tmp_path):
    """A temporary file of another program's making would be for its owner alone, and stay after a kill."""
    save_tensors(tmp_path / "tensors", {"a": torch.ones(2)}, {})
    (tmp_path / "text").write_text("", encoding="utf-8")
    modes = {p.name: p.stat().st_mode for p in tmp_path.iterdir()}
    assert modes["tensors"] == modes["text"]
    assert len(modes) == 2
