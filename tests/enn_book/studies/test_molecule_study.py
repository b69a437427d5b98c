"""The networks for ammonia: how they are trained, chosen and measured; the records are what they say."""

import sys
from dataclasses import replace
from itertools import product
from types import SimpleNamespace

import pytest
import torch

from enn_book.studies.molecule import study as molecule
from enn_book.studies.molecule.ammonia import HYDROGENS, Geometries
from enn_book.studies.molecule.analysis import power_spectrum
from enn_book.studies.molecule.models import VARIANTS, as_force_field, build_variant
from enn_book.studies.molecule.study import EVERY, SHOWN, STUDY, TRIALS, TUNED, MoleculeConfig, over_seeds
from enn_book.studies.study import Records, load
from enn_lib.dynamics import rmsd_positions
from enn_lib.evaluation import rmsd

# A training


def test_the_error_is_the_root_mean_square_of_a_component_also_by_temperature(data):
    geometries = replace(data.validation, forces=data.validation.positions)
    off = SimpleNamespace(forces=lambda r: r + torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64))
    assert rmsd(off, geometries) == pytest.approx(0.3 / 3**0.5)
    parts = molecule.by_temperature(off, geometries)
    assert list(parts) == ["0", "300", "600", "1000"]
    assert all(error == pytest.approx(0.3 / 3**0.5) for error in parts.values())


def test_the_training_data_are_there_in_all_six_numberings(data):
    part = data.validation
    moved = [replace(part, positions=part.positions[:, g], forces=part.forces[:, g]) for g in HYDROGENS]
    inputs, targets = molecule.renumbered(part.inputs(data.scales), part.targets(data.scales))
    assert inputs.equal(torch.cat([geometries.inputs(data.scales) for geometries in moved]))
    assert targets.equal(torch.cat([geometries.targets(data.scales) for geometries in moved]))


def some(geometries, *rows):
    """Those of a slice."""
    return Geometries(*(values[slice(*rows)] for values in vars(geometries).values()))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_learns_from_a_few_steps(name, data):
    validation, test = (some(part, 0, None, 20) for part in (data.validation, data.test))
    few = replace(data, train=some(data.train, 300), validation=validation, test=test)
    model, measured = molecule.train_variant(MoleculeConfig(name, "muon", 0.02, 40), few)
    zero = few.validation.forces.square().mean().sqrt().item()
    assert measured["test_rmsd"] == pytest.approx(rmsd(as_force_field(name, model, data.scales), few.test))
    losses = measured["losses"]
    assert VARIANTS[name].is_linear or sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert 0 < measured["validation_rmsd"] < zero
    assert measured["parameters"] == sum(p.numel() for p in build_variant(name).parameters())


def test_the_springs_are_the_best_of_one_layer(data):
    """The solution of least squares leaves the slope of the error at zero."""
    few = some(data.train, 50)
    inputs, targets = few.inputs(data.scales), few.targets(data.scales)
    model = build_variant("springs")
    before = (model(inputs) - targets).square().mean().item()
    assert molecule.solve_layer(model, inputs, targets) < 0.5 * before
    (model.double()(inputs.double()) - targets.double()).square().mean().backward()
    assert model.layers[0].stacked.grad.abs().max() < 1e-5


def test_a_training_that_diverges_says_so(data):
    _, measured = molecule.train_variant(MoleculeConfig("enn", "adam", 1e30, 5), data)
    assert measured["test_rmsd"] is measured["validation_rmsd"] is measured["seconds"] is None


# The study


NOTHING = SimpleNamespace(energy=lambda positions: positions.new_zeros(positions.shape[:-2]))
"""In place of the quantum chemistry: no potential energy anywhere."""


@pytest.fixture
def trained(monkeypatch, data):
    """The configurations that a study trains, which takes no time: the last trial is the best."""
    configs = []

    def train(config, data):
        configs.append(config)
        error = 1.0 - 0.1 * TRIALS.index((config.optimiser, config.rate))
        return build_variant(config.variant, config.seed), {"validation_rmsd": error}

    monkeypatch.setattr(molecule, "train_variant", train)
    monkeypatch.setattr(molecule, "TightBinding", lambda: NOTHING)
    monkeypatch.setattr(molecule, "trajectory_of", lambda *_: data.dynamics)
    return configs


def test_the_optimiser_is_chosen_on_one_model_and_trains_all(trained, tmp_path):
    records = STUDY.repeat(tmp_path, length=10)
    trials, rest = trained[: len(TRIALS)], trained[len(TRIALS) :]
    assert [(c.optimiser, c.rate) for c in trials] == list(TRIALS)
    assert {(c.variant, c.seed, c.steps) for c in trials} == {(TUNED, 0, 10)}
    assert {(c.optimiser, c.rate) for c in rest} == {TRIALS[-1]} == {molecule.chosen(records, 10)}
    for variant in VARIANTS:
        assert [r.config["seed"] for r in over_seeds(records, variant, steps=10)] == list(molecule.SEEDS)
    for variant in SHOWN:
        longer = over_seeds(records, variant, longer=True, steps=10)
        assert [r.config["steps"] for r in longer] == [10 * molecule.LONGER] * len(molecule.SEEDS)
    assert len(rest) == len(VARIANTS) * len(molecule.SEEDS) - 1 + len(SHOWN) * len(molecule.SEEDS)


def test_weights_of_the_first_seed_are_kept_but_for_worse_trials_and_motion_of_the_longer_ones(
    trained, tmp_path
):
    STUDY.repeat(tmp_path, length=10)
    compared = [MoleculeConfig(variant, *TRIALS[-1], 10).name for variant in VARIANTS]
    shown = [MoleculeConfig(variant, *TRIALS[-1], 10 * molecule.LONGER).name for variant in SHOWN]
    assert {f.stem for f in tmp_path.glob("*.safetensors")} == {*compared, *shown}
    tables = {f"{name}.{kind}" for name in shown for kind in ("dynamics", "spectrum")}
    assert {f.stem for f in tmp_path.glob("*.csv")} == tables


def test_while_a_trial_is_missing_nothing_is_chosen(trained, tmp_path):
    names = [MoleculeConfig(TUNED, *trial, 10).name for trial in TRIALS]
    records = STUDY.repeat(tmp_path, length=10, names=names[1:])
    assert molecule.chosen(records, 10) is None
    assert list(STUDY.plan(records, 10)) == names
    assert len(list(tmp_path.glob("*.safetensors"))) == len(TRIALS) - 1
    with pytest.raises(ValueError, match="got 3 records, wanted all trials of 10 steps"):
        over_seeds(records, TUNED, steps=10)


def test_a_run_has_a_step_at_least():
    assert {config.steps for config in STUDY.plan({}, 0.5).values()} == {1}


def test_a_trial_that_diverged_is_never_chosen(trained, tmp_path):
    records = STUDY.repeat(tmp_path, length=10)
    records[MoleculeConfig(TUNED, *TRIALS[-1], 10).name].values["validation_rmsd"] = None
    assert molecule.chosen(records, 10) == TRIALS[-2]


def test_without_the_extra_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    monkeypatch.setattr(molecule, "train_variant", lambda *_: pytest.fail("trained"))
    with pytest.raises(ValueError, match=r"molecule: got no tblite, wanted the extra, pip install"):
        STUDY.repeat(tmp_path)
    assert not Records(tmp_path)


def test_trajectories_of_a_model_are_at_the_stored_times(data):
    run = molecule.trajectory_of("enn", build_variant("enn"), data, times=4)
    assert run.time.equal(data.dynamics.time[:4])
    assert run.positions[0].equal(data.dynamics.positions[0])
    assert run.mass is data.dynamics.mass


def test_the_tables_of_a_trajectory_have_its_deviation_energy_and_spectrum(data):
    """The truth itself, as far as it is stored, does not deviate."""
    tables = molecule.tables_of(data.dynamics, data, NOTHING)
    columns, rows = tables["dynamics"]
    table = dict(zip(columns, zip(*rows, strict=True), strict=True))
    assert max(table["rmsd_A"]) == max(table["rmsd_distances_A"]) == 0
    assert list(table["time_fs"]) == data.dynamics.time[::EVERY].tolist()
    assert table["energy_2_eV"] == pytest.approx(data.dynamics.kinetic_energy()[::EVERY, 2].tolist())
    columns, rows = tables["spectrum"]
    assert columns == ["wavenumber_per_cm", "density_cm"]
    assert [row[1] for row in rows] == pytest.approx(power_spectrum(data.dynamics)[1].tolist())


# The records that come with the book


@pytest.fixture(scope="module")
def records():
    return load("molecule")


@pytest.mark.parametrize(("name", "longer"), [*product(VARIANTS, [False]), *product(SHOWN, [True])])
def test_a_shipped_model_has_the_error_of_its_record(name, longer, records, data):
    record = over_seeds(records, name, longer=longer)[0]
    field = as_force_field(name, molecule.load_model(record), data.scales)
    assert rmsd(field, data.test) == pytest.approx(record["test_rmsd"], rel=1e-4)
    assert rmsd(field, data.validation) == pytest.approx(record["validation_rmsd"], rel=1e-4)


@pytest.mark.parametrize("name", SHOWN)
def test_a_model_shown_at_work_has_the_motion_of_its_record(name, records, data):
    record = over_seeds(records, name, longer=True)[0]
    run = molecule.trajectory_of(name, molecule.load_model(record), data, times=2 * EVERY + 1)
    start = {k: getattr(data.dynamics, k)[: len(run.time)] for k in ("time", "positions", "velocities")}
    apart = rmsd_positions(replace(data.dynamics, **start), run)[::EVERY].tolist()
    assert record.table("dynamics")["rmsd_A"][:3] == pytest.approx(apart, rel=1e-4, abs=1e-7)


def test_the_shipped_optimiser_was_chosen_on_validation_among_all_trials(records):
    trials = {trial: records[MoleculeConfig(TUNED, *trial, 400).name] for trial in TRIALS}
    error = {trial: record["validation_rmsd"] for trial, record in trials.items()}
    assert min(error, key=error.get) == molecule.chosen(records)


# What the README says


@pytest.fixture(scope="module")
def readme(records):
    return " ".join((records.folder.parent / "README.md").read_text(encoding="utf-8").split())


def errors(records, variant, *, longer=False, kelvin=None):
    """The test errors of a model over seeds, eV/Å."""
    found = over_seeds(records, variant, longer=longer)
    return [r["test_by_temperature"][kelvin] if kelvin else r["test_rmsd"] for r in found]


def overlap(one, other):
    return min(one) <= max(other) and min(other) <= max(one)


def test_the_verdict_of_the_readme_holds(records, readme, data):
    error = {variant: errors(records, variant) for variant in VARIANTS}
    for averaged, alone in (("enn", "enn-alone"), ("species", "species-alone")):
        assert max(error[averaged]) < min(error[alone])
    assert overlap(error["enn"], error["species"])
    assert sum(error["enn-alone"]) < sum(error["species-alone"])
    assert max(error["energy"]) < min(min(values) for name, values in error.items() if name != "energy")
    longer = {variant: errors(records, variant, longer=True) for variant in SHOWN}
    assert f"{data.test.forces.square().mean().sqrt():.1f} eV/Å" == "1.6 eV/Å"
    for values in (*longer.values(), *(error[k] for k in error if k.startswith(("en", "species-alone")))):
        said = f"{sum(values) / 3:.3f} ({min(values):.3f} to {max(values):.3f})"
        assert said in readme, said
    for one, other in zip(*(over_seeds(records, v) for v in ("energy", "species-softened")), strict=True):
        assert 1.9 < one["seconds"] / other["seconds"] < 2.5


def test_the_readme_names_sizes_commits_and_what_made_the_records(records, readme):
    trained = [r["parameters"] for name, r in records.items() if not name.startswith("springs")]
    assert f"between {min(trained):,} and {max(trained):,} parameters" in readme
    for made in (record["provenance"] for record in records.values()):
        assert made["git_commit"][:7] in readme
        assert (made["versions"]["python"], made["versions"]["torch"]) == ("3.11.7", "2.13.0+cpu")
        assert (made["hardware"]["processor"], made["hardware"]["cores"]) == ("Intel(R) Xeon(R) Processor", 2)


def test_the_motion_of_the_readme_is_that_of_the_records(records):
    tables = [over_seeds(records, name, longer=True)[0].table("dynamics") for name in SHOWN]
    assert [f"{table['rmsd_A'][-1]:.2g}" for table in tables] == ["1.1", "0.062"]
    assert [f"{table['rmsd_distances_A'][-1]:.2g}" for table in tables] == ["0.059", "0.06"]
    energies = [torch.tensor([table[f"energy_{k}_eV"] for k in range(5)]) for table in tables]
    assert [f"{1000 * (e - e[:, :1]).abs().max():.2g}" for e in energies] == ["91", "7.2"]


def test_what_did_not_work_did_not(records, data):
    assert min(errors(records, "enn-softened")) > max(errors(records, "enn"))
    for other in ("species-softened", "species-kinds"):
        assert overlap(errors(records, other), errors(records, "species"))
    cold = {variant: errors(records, variant, kelvin="300") for variant in VARIANTS}
    pairs = [("enn", "enn-alone"), ("species", "species-alone"), ("energy", "species-softened")]
    assert all(overlap(cold[one], cold[other]) for one, other in pairs)
    assert overlap(*(errors(records, variant, longer=True, kelvin="300") for variant in SHOWN))
    displaced = (data.test.temperature == 0).double().mean().item()
    assert 0.2 < displaced < 0.22
    for record in records.values():
        assert displaced * record["test_by_temperature"]["0"] ** 2 > 0.5 * record["test_rmsd"] ** 2
    muon = [record["validation_rmsd"] for record in over_seeds(records, TUNED)]
    soap = records["species.soap.0.01.400.0"]["validation_rmsd"]
    assert [f"{value:.3f}" for value in (min(muon), soap, max(muon))] == ["0.085", "0.102", "0.125"]
    for variant in SHOWN:
        longer, short = (sum(errors(records, variant, longer=how)) for how in (True, False))
        assert 0.5 < longer / short < 0.6
