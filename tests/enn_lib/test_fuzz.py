"""Whatever comes in, what comes out is a result or one of our errors; `make fuzz` tries 2,000 of each."""

import json
import re
import shutil
from dataclasses import asdict
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from ase import Atoms
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from enn_lib import ARGON, load_run, simulate, train
from enn_lib.__main__ import main
from enn_lib.calculator import ENNCalculator
from enn_lib.settings import Config

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
SMALL = {
    "n_configurations": 20,
    "widths": [6, 4],
    "batch_size": 5,
    "iterations": 2,
    "compile": False,
    "threads": 1,
}
numbers = st.floats() | st.integers(-3, 30) | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30])
keys = st.sampled_from(sorted(set(asdict(Config())) - {"n_configurations", "iterations"}))
texts = st.sampled_from(["fire", "adam", "muon", "sum", "float64", "constant", "ase", "softsign", "soap", ""])
changes = st.dictionaries(keys | st.text(max_size=5), numbers | texts | json_values, max_size=3)
sloppy = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def assert_one_line(error: Exception) -> None:
    """Our errors are a sentence that starts with what is wrong, not a report of somebody else's."""
    assert re.match(r"\S.*: ", str(error)), f"{type(error).__name__}: {error}"


@given(values=changes)
def test_settings_are_taken_or_refused(values):
    try:
        config = Config.from_dict(SMALL | values)
    except ValueError as error:
        assert_one_line(error)
    else:
        again = Config.from_dict(json.loads(json.dumps(asdict(config))))
        assert again == config


def run(capsys, *arguments) -> int:
    """The exit status of a command, of which a refusal is one line on standard error."""
    try:
        status, beginning = main([str(argument) for argument in arguments]), "error: "
    except SystemExit as usage:  # argparse's own, with its help or its usage
        status, beginning = usage.code, "usage: "
    lines = capsys.readouterr().err.splitlines()
    lines = [line for line in lines if line.strip() and "it/s" not in line]  # an old tqdm shows its progress
    assert status in (0, 2)
    if status == 0:
        assert lines == []
    else:
        assert lines[0].startswith(beginning)
        assert beginning == "usage: " or len(lines) == 1
    return status


@sloppy
@given(values=changes)
def test_a_training_of_any_settings_runs_or_is_refused_in_one_line(values, tmp_path_factory, capsys):
    place = tmp_path_factory.mktemp("fuzz")
    (place / "config.json").write_text(json.dumps(SMALL | values), encoding="utf-8")
    status = run(capsys, "train", "--config", place / "config.json", "--out", place / "run")
    assert (place / "run" / "model.safetensors").exists() == (status == 0)
    shutil.rmtree(place)


options = (
    "train evaluate runs export --config --out --alone --device cpu cuda --max-minutes 0 nan -1 softened"
)
words = st.sampled_from([*options.split(), "x.pt2", "/nowhere", "."])


@sloppy
@given(arguments=st.lists(words | st.text(max_size=6), max_size=6))
def test_a_command_line_is_obeyed_or_refused(arguments, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("enn_lib.__main__.train", Mock(side_effect=ValueError("no time")))
    monkeypatch.setattr("enn_lib.__main__.evaluate", lambda run: {"test": {}, "dynamics": {}})
    monkeypatch.setattr("enn_lib.__main__.write_json", lambda path, value: None)
    run(capsys, *arguments)


def damaged(content: bytes, draw) -> bytes:
    """A file with some bytes changed, cut or put in, or replaced."""
    kind = draw(st.sampled_from(["flip", "cut", "insert", "replace"]))
    place = draw(st.integers(0, len(content)))
    piece = draw(st.binary(max_size=20) | st.sampled_from([b"\0", b"nan", b"1e999", b"{", b'"', b",", b"\n"]))
    if kind == "flip":
        return content[:place] + piece + content[place + len(piece) :]
    return {"cut": content[:place], "insert": content[:place] + piece + content[place:], "replace": piece}[
        kind
    ]


@sloppy
@given(data=st.data())
def test_a_damaged_run_is_read_or_refused(data, small_run, tmp_path_factory, capsys):
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(small_run, folder)
    (folder / "metrics.json").write_text('{"n_test": 40}', encoding="utf-8")
    file = folder / data.draw(st.sampled_from(sorted(p.name for p in folder.iterdir())))
    file.write_bytes(damaged(file.read_bytes(), data.draw))
    try:
        read = load_run(folder)
    except (ValueError, OSError) as error:
        assert_one_line(error)
    else:
        assert read.force_field.forces(torch.randn(2, 4, 3, dtype=torch.float64)).shape == (2, 4, 3)
    shutil.rmtree(folder.parent)


@sloppy
@given(data=st.data())
def test_a_training_goes_on_from_a_damaged_folder_or_refuses_it(data, small_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    train(small_config, folder, max_minutes=0)
    files = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    file = folder / data.draw(st.sampled_from(files))
    if data.draw(st.booleans()):
        file.unlink()
    else:
        file.write_bytes(damaged(file.read_bytes(), data.draw))
    try:
        assert train(small_config, folder).iteration == small_config.iterations
    except (ValueError, OSError) as error:
        assert_one_line(error)
    shutil.rmtree(folder.parent)


entries = st.floats(width=32) | st.floats(-5, 5, width=32)
shapes = st.sampled_from(
    [(4, 3), (3, 4), (5, 3), (1, 3), (0, 3), (2, 4, 3), (0, 4, 3), (4,), (), (2, 2, 4, 3)]
)
kinds = st.sampled_from([np.float64, np.float32, np.float16, np.int64, np.complex64, np.bool_])


@pytest.mark.parametrize("field", [ARGON, load_run("softened").force_field], ids=["potential", "network"])
@given(data=st.data(), shape=shapes, kind=kinds)
def test_positions_get_forces_or_are_refused(field, data, shape, kind):
    elements = entries if issubclass(kind, np.floating) and kind != np.float16 else None
    positions = torch.from_numpy(data.draw(arrays(kind, shape, elements=elements)))
    try:
        forces = field.forces(positions)
    except (ValueError, TypeError) as error:
        assert_one_line(error)
    else:
        assert (forces.shape, forces.dtype) == (positions.shape, positions.dtype)


symbols = st.lists(st.sampled_from(["Ar", "Ne", "X"]), max_size=6) | st.just(["Ar"] * 4)


@given(symbols=symbols, data=st.data(), pbc=st.booleans())
@example(symbols=["Ar"] * 4, data=None, pbc=False)
def test_ase_s_atoms_get_forces_or_are_refused(symbols, data, pbc):
    elements = st.floats(-8, 8) | st.floats()
    positions = (
        np.eye(4, 3) * 4 if data is None else data.draw(arrays(float, (len(symbols), 3), elements=elements))
    )
    atoms = Atoms(symbols, positions=positions, pbc=pbc, calculator=ENNCalculator("softened"))
    try:
        assert np.isfinite(atoms.get_forces()).all()
    except ValueError as error:
        assert_one_line(error)


@given(steps=st.integers(-2, 3), dt=numbers, every=st.integers(-1, 3), mass=numbers)
def test_dynamics_runs_or_is_refused(steps, dt, every, mass):
    start = torch.eye(4, 3, dtype=torch.float64)[None] * 4
    try:
        path = simulate(ARGON, start, torch.zeros_like(start), steps, dt, mass=mass, every=every)
    except ValueError as error:
        assert_one_line(error)
    else:
        assert path.positions.isfinite().all()
