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

from enn_lib import ARGON, FIRE, load_run, simulate, train
from enn_lib.__main__ import main
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import sample_positions
from enn_lib.calculator import ENNCalculator
from enn_lib.dynamics import thermal_velocities
from enn_lib.export import export_run
from enn_lib.force_field import EnergyForceField, GraphForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer, neighbours
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.settings import Config
from enn_lib.training import fit_energy_force_field, fit_graph_force_field

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
huge = st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, 10**400])
counts = st.integers(-3, 5) | huge.map(lambda n: min(n, 5))
numbers = st.floats() | st.integers(-3, 30) | huge
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
        if beginning == "error: ":
            assert len(lines) == 1
            assert_one_line(ValueError(lines[0].removeprefix(beginning)))
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
    place = round(draw(st.floats(0, 1)) * len(content))  # a part, as the length of a checkpoint varies
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


@pytest.fixture(scope="module")
def stopped_run(small_config, tmp_path_factory):
    """The folder of a training that was stopped."""
    folder = tmp_path_factory.mktemp("fuzz") / "stopped"
    train(small_config, folder, max_minutes=0)
    return folder


@sloppy
@given(data=st.data())
def test_a_training_goes_on_from_a_damaged_folder_or_refuses_it(
    data, small_config, stopped_run, tmp_path_factory
):
    folder = tmp_path_factory.mktemp("fuzz") / "run"
    shutil.copytree(stopped_run, folder)
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
        assert forces.isfinite().all()


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


@given(sizes=st.tuples(counts, counts), temperature=numbers, mass=numbers, seed=st.integers(-3) | huge)
def test_velocities_are_drawn_or_refused(sizes, temperature, mass, seed):
    try:
        velocities = thermal_velocities(*sizes, temperature=temperature, mass=mass, seed=seed)
    except ValueError as error:
        assert_one_line(error)
    else:
        assert velocities.isfinite().all()


settings_of_fire = ("dt", "dt_max", "mass", "n_min", "f_inc", "f_dec", "alpha_start", "f_alpha", "dt_min")


@given(
    values=st.dictionaries(st.sampled_from(settings_of_fire), numbers, max_size=4),
    order=st.sampled_from(["appendix", "semi_implicit", "ase", "fire2", "abc"]) | texts,
)
def test_fire_descends_or_refuses_its_settings(values, order):
    x = torch.ones(2, 3, requires_grad=True)

    def closure():
        optimiser.zero_grad()
        loss = x.square().sum()
        loss.backward()
        return loss

    try:
        optimiser = FIRE([x], order=order, **values)
    except ValueError as error:
        assert_one_line(error)
    else:
        for _ in range(3):
            optimiser.step(closure)


names = texts | st.text(max_size=6) | st.sampled_from(["softened", "a" * 300, "\0", ".", "/dev/null", "~"])


@sloppy
@given(name=names | json_values | st.binary(max_size=3))
def test_a_run_is_found_by_its_name_or_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        run = load_run(name)
    except (ValueError, OSError) as error:
        assert_one_line(error)
    else:
        assert run.name == name == "softened"


@sloppy
@given(name=(names | names.map(lambda name: name + ".pt2")).filter(lambda name: "\0" not in name))
def test_an_export_is_written_or_its_name_is_refused(name, tmp_path, monkeypatch):
    program = Mock()
    monkeypatch.setattr("torch.export.export", program)
    monkeypatch.setattr("torch.export.save", lambda program, file: file.write(b"."))
    try:
        path = export_run(load_run("softened"), tmp_path / name)
    except (ValueError, OSError) as error:
        assert_one_line(error)
    else:
        assert path.read_bytes() == b"."


def field_in_cells(kind):
    """A small force field of any number of atoms, which knows cells."""
    radial = GaussianRadial.geometric(3, 2.0, 5.0)
    options = {"activation": VectorSoftsign(0.3), "softening": 0.5, "dtype": torch.float64}
    ones = torch.ones(2, 3).double()
    if kind == "direct":
        layer, network = VectorGraphLayer(radial, dtype=torch.float64), ENN((3, 4, 1), **options)
        return GraphForceField(layer, network, ones[0], 0.1)
    layer = CombinedGraphLayer(radial, dtype=torch.float64)
    return EnergyForceField(layer, ScalarFeatureENN((3, 4, 1), m=1, **options), ones[0], ones, 0.1)


extremes = st.sampled_from([0.0, 1e-300, 1e-9, 0.2, 0.3, 6.0, 60.0, 1400.0, 1e6, 1e12, 1e200, np.inf, np.nan])
lengths = st.floats(-9, 9) | st.floats() | extremes
cells = arrays(float, (3, 3), elements=lengths) | arrays(float, 3, elements=lengths).map(np.diag)
cells |= arrays(float, (3, 3), elements=st.floats(-1, 1)).map(lambda cell: 6 * np.eye(3) + cell)
clouds = st.integers(0, 4).flatmap(lambda n: arrays(float, (n, 3), elements=st.floats(-8, 8) | lengths))


@pytest.mark.parametrize("kind", ["direct", "energy"])
@given(positions=clouds, cell=cells, pbc=st.booleans() | st.tuples(*[st.booleans()] * 3))
def test_atoms_in_any_cell_get_forces_or_are_refused(kind, positions, cell, pbc):
    pytest.importorskip("vesin")
    atoms = Atoms(["Ar"] * len(positions), positions=positions, cell=cell, pbc=pbc)
    atoms.calc = ENNCalculator(field_in_cells(kind))
    try:
        assert np.isfinite(atoms.get_forces()).all()
    except ValueError as error:
        assert_one_line(error)


@given(data=st.data(), shape=shapes, kind=kinds, cutoff=numbers, cell=st.none() | cells)
def test_neighbours_are_found_or_the_arguments_refused(data, shape, kind, cutoff, cell):
    pytest.importorskip("vesin")
    elements = entries if issubclass(kind, np.floating) and kind != np.float16 else None
    positions = torch.from_numpy(data.draw(arrays(kind, shape, elements=elements)))
    cutoff = data.draw(st.sampled_from([1.0, 5.0])) if data.draw(st.booleans()) else cutoff
    cell = None if cell is None else torch.from_numpy(cell)
    try:
        found = neighbours(positions, cutoff, cell)
    except ValueError as error:
        assert_one_line(error)
    else:
        assert (found.vectors.double().norm(dim=-1) <= cutoff * 1.001).all()


@pytest.mark.parametrize("kind", ["direct", "energy"])
@given(
    data=st.data(),
    shape=shapes,
    other=shapes,
    steps=counts,
    batch=st.integers(-3) | huge,
    cell=st.none() | cells,
)
def test_a_force_field_is_fitted_or_the_data_refused(kind, data, shape, other, steps, batch, cell):
    pytest.importorskip("vesin")
    shapes_of = (shape, shape if data.draw(st.booleans()) else other)
    positions, forces = (torch.from_numpy(data.draw(arrays(float, s, elements=entries))) for s in shapes_of)
    if shape == (2, 4, 3) and data.draw(st.booleans()):
        positions = sample_positions(2, 0)
    field, fit = field_in_cells(kind), fit_graph_force_field if kind == "direct" else fit_energy_force_field
    cell = None if cell is None else torch.from_numpy(cell)
    try:
        options = {"cell": cell, "steps": steps, "batch_size": batch}
        _, losses = fit(field.layer, field.network, positions, forces, **options)
    except FloatingPointError:
        pass
    except ValueError as error:
        assert_one_line(error)
    else:
        assert np.isfinite(losses).all()
