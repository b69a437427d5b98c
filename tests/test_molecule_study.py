"""The networks for ammonia: how they are trained, chosen and measured; the shipped ones are as recorded."""

from dataclasses import asdict, replace

import pytest
import torch

from enn_lib.argon import Scales
from enn_lib.dynamics import rmsd_positions
from enn_lib.molecule.ammonia import HYDROGENS, load_ammonia
from enn_lib.molecule.analysis import power_spectrum
from enn_lib.molecule.models import VARIANTS, as_force_field, build_variant
from enn_lib.molecule.study import (
    EVERY,
    LONGER,
    SEEDS,
    SHIPPED_STUDY,
    SHOWN,
    TRIALS,
    TUNED,
    MoleculeConfig,
    best_trial,
    by_temperature,
    load_model,
    load_study,
    plan,
    read_records,
    renumbered,
    rmsd,
    run_molecule,
    solve_layer,
    train_variant,
    trajectory_of,
    write_dynamics,
)
from enn_lib.storage import read_csv


@pytest.fixture(scope="module")
def data():
    return load_ammonia()


@pytest.fixture(scope="module")
def study():
    return load_study()


class Off:
    """Forces that are wrong by a constant."""

    def __init__(self, geometries, by):
        self.geometries = geometries
        self.by = by

    def forces(self, positions):
        rows = torch.cdist(positions.flatten(1), self.geometries.positions.flatten(1)).argmin(dim=1)
        return self.geometries.forces[rows] + self.by


# A training


def test_the_error_is_the_root_mean_square_of_a_component_also_by_temperature(data):
    field = Off(data.validation, torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64))
    assert rmsd(field, data.validation) == pytest.approx(0.3 / 3**0.5)
    parts = by_temperature(field, data.validation)
    assert list(parts) == ["0", "300", "600", "1000"]
    assert all(error == pytest.approx(0.3 / 3**0.5) for error in parts.values())


def test_the_training_data_are_there_in_all_six_numberings(data):
    scales = Scales(1.0, 1.0)
    x, t = renumbered(
        data.validation.inputs(scales, torch.float64), data.validation.targets(scales, torch.float64)
    )
    n = len(data.validation)
    assert len(x) == len(t) == 6 * n
    for k, g in enumerate(HYDROGENS):
        part = slice(k * n, (k + 1) * n)
        moved = replace(
            data.validation, positions=data.validation.positions[:, g], forces=data.validation.forces[:, g]
        )
        assert x[part].equal(moved.inputs(scales, torch.float64))
        assert t[part].equal(moved.targets(scales, torch.float64))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_model_learns_from_a_few_steps(name, data):
    few = replace(
        data,
        train=replace(data.train, positions=data.train.positions[:300], forces=data.train.forces[:300]),
        validation=replace(
            data.validation,
            positions=data.validation.positions[::20],
            forces=data.validation.forces[::20],
        ),
        test=replace(
            data.test,
            positions=data.test.positions[::20],
            forces=data.test.forces[::20],
            temperature=data.test.temperature[::20],
        ),
    )
    model, measured = train_variant(MoleculeConfig(name, "muon", 0.02, 40), few)
    zero = few.validation.forces.square().mean().sqrt().item()
    assert measured["test_rmsd"] == pytest.approx(rmsd(as_force_field(name, model, data.scales), few.test))
    losses = measured["losses"]
    assert VARIANTS[name].is_linear or sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert 0 < measured["validation_rmsd"] < zero
    assert measured["parameters"] == sum(p.numel() for p in build_variant(name).parameters())


def test_the_springs_are_the_best_of_one_layer(data):
    """The solution of least squares leaves the slope of the error at zero."""
    few = replace(data.train, positions=data.train.positions[:50], forces=data.train.forces[:50])
    inputs, targets = few.inputs(data.scales), few.targets(data.scales)
    model = build_variant("springs")
    before = (model(inputs) - targets).square().mean().item()
    assert solve_layer(model, inputs, targets) < 0.5 * before
    (model.double()(inputs.double()) - targets.double()).square().mean().backward()
    assert model.layers[0].stacked.grad.abs().max() < 1e-5


def test_a_training_that_diverges_says_so(data):
    _, measured = train_variant(MoleculeConfig("enn", "adam", 1e30, 5), data)
    assert measured["test_rmsd"] is measured["validation_rmsd"] is measured["seconds"] is None


# The study


def fake(done):
    """A training that takes no time; the last trial is the best."""

    def train(config, data):
        done.append(config)
        error = 1.0 - 0.1 * TRIALS.index((config.optimiser, config.rate))
        return build_variant(config.variant, config.seed), {"validation_rmsd": error, "test_rmsd": error}

    return train


@pytest.fixture
def quick_study(monkeypatch):
    """The study without trainings, quantum chemistry or dynamics; what was trained is listed."""
    done = []
    monkeypatch.setattr("enn_lib.molecule.study.train_variant", fake(done))
    monkeypatch.setattr("enn_lib.molecule.study.TightBinding", lambda: None)
    monkeypatch.setattr(
        "enn_lib.molecule.study.write_dynamics",
        lambda stem, *_: stem.with_name(f"{stem.name}.dynamics.csv").touch(),
    )
    return done


def test_a_study_chooses_on_validation_and_goes_on_with_what_is_missing(quick_study, tmp_path):
    run_molecule(tmp_path, steps=10)
    trials, rest = quick_study[: len(TRIALS)], quick_study[len(TRIALS) :]
    assert [(c.optimiser, c.rate) for c in trials] == list(TRIALS)
    assert {(c.variant, c.seed, c.steps) for c in trials} == {(TUNED, 0, 10)}
    assert {(c.optimiser, c.rate) for c in rest} == {TRIALS[-1]}
    assert len(rest) == len(VARIANTS) * len(SEEDS) - 1 + len(SHOWN) * len(SEEDS)
    (tmp_path / f"{rest[-1].file}.json").unlink()
    quick_study.clear()
    run_molecule(tmp_path, steps=10)
    assert quick_study == [rest[-1]]
    chosen = [MoleculeConfig(name, *TRIALS[-1], 10).file for name in VARIANTS]
    shown = [MoleculeConfig(name, *TRIALS[-1], 10 * LONGER).file for name in SHOWN]
    assert {f.name for f in tmp_path.glob("*.safetensors")} == {f"{f}.safetensors" for f in chosen + shown}
    assert {f.name for f in tmp_path.glob("*.csv")} == {f"{f}.dynamics.csv" for f in shown}
    study = load_study(tmp_path)
    assert (study.steps, study.optimiser, study.rate) == (10, *TRIALS[-1])
    assert [len(study.compared[name]) for name in VARIANTS] == [len(SEEDS)] * len(VARIANTS)
    assert [len(study.shown[name]) for name in SHOWN] == [len(SEEDS)] * len(SHOWN)
    assert study.config("energy").file == shown[1]


def test_the_longest_complete_comparison_is_the_one_that_is_read(quick_study, tmp_path):
    run_molecule(tmp_path, steps=10)
    run_molecule(tmp_path, steps=20)
    assert load_study(tmp_path).steps == 20
    (tmp_path / f"{MoleculeConfig('enn', *TRIALS[-1], 20).file}.json").unlink()
    assert load_study(tmp_path).steps == 10


def test_a_budget_that_is_spent_begins_nothing(quick_study, tmp_path):
    run_molecule(tmp_path, budget=-1.0)
    assert not quick_study
    assert len(plan(tmp_path)) == len(TRIALS)


def test_a_training_that_diverged_is_never_chosen():
    errors = [None, 0.3, 0.2, 0.4]
    records = [
        {"config": asdict(MoleculeConfig(TUNED, *trial, 10)), "validation_rmsd": error}
        for trial, error in zip(TRIALS, errors, strict=True)
    ]
    assert best_trial(records, 10) == TRIALS[2]
    assert best_trial(records[1:], 10) is None
    assert best_trial(records, 20) is None


def test_a_folder_without_a_comparison_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 0 records, wanted a comparison that is complete on seed 0"):
        load_study(tmp_path)


def test_trajectories_of_a_model_are_at_the_stored_times(data):
    run = trajectory_of("enn", build_variant("enn"), data, records=4)
    assert run.time.equal(data.dynamics.time[:4])
    assert run.positions[0].equal(data.dynamics.positions[0])
    assert run.mass is data.dynamics.mass


def test_the_tables_of_a_trajectory_have_its_deviation_energy_and_spectrum(data, monkeypatch, tmp_path):
    """The truth itself, as far as it is stored, does not deviate."""

    class Truth:
        def energy(self, positions):
            return torch.zeros(positions.shape[:-2], dtype=positions.dtype)

    monkeypatch.setattr("enn_lib.molecule.study.trajectory_of", lambda *_: data.dynamics)
    write_dynamics(tmp_path / "x.1", "enn", build_variant("enn"), data, Truth())
    table = read_csv(tmp_path / "x.1.dynamics.csv")
    assert max(table["rmsd_A"]) == max(table["rmsd_distances_A"]) == 0
    assert table["time_fs"] == data.dynamics.time[::EVERY].tolist()
    assert table["energy_2_eV"] == pytest.approx(data.dynamics.kinetic_energy()[::EVERY, 2].tolist())
    spectrum = read_csv(tmp_path / "x.1.spectrum.csv")
    assert spectrum["density_cm"] == pytest.approx(power_spectrum(data.dynamics)[1].tolist())


# The shipped study


@pytest.mark.parametrize("name", VARIANTS)
def test_a_shipped_model_has_the_error_of_its_record(name, study, data):
    record = study.compared[name][0]
    field = as_force_field(name, load_model(study.config(name, longer=False)), data.scales)
    assert rmsd(field, data.test) == pytest.approx(record["test_rmsd"], rel=1e-4)
    assert rmsd(field, data.validation) == pytest.approx(record["validation_rmsd"], rel=1e-4)


@pytest.mark.parametrize("name", SHOWN)
def test_a_model_shown_at_work_has_the_error_and_the_motion_of_its_record(name, study, data):
    config = study.config(name)
    model = load_model(config)
    assert rmsd(as_force_field(name, model, data.scales), data.test) == pytest.approx(
        study.shown[name][0]["test_rmsd"], rel=1e-4
    )
    table = read_csv(SHIPPED_STUDY / f"{config.file}.dynamics.csv")
    run = trajectory_of(name, model, data, records=2 * EVERY + 1)
    apart = [
        rmsd_positions(
            replace(data.dynamics, **{k: getattr(data.dynamics, k)[: len(run.time)] for k in MOTION}), run
        )[k * EVERY].item()
        for k in range(3)
    ]
    assert table["rmsd_A"][:3] == pytest.approx(apart, rel=1e-4, abs=1e-7)


MOTION = ("time", "positions", "velocities")


def test_the_shipped_optimiser_was_chosen_on_validation_among_all_trials(study):
    records = read_records()
    trials = {
        (r["config"]["optimiser"], r["config"]["rate"]): r["validation_rmsd"] or float("inf")
        for r in records
        if (r["config"]["variant"], r["config"]["steps"], r["config"]["seed"]) == (TUNED, study.steps, 0)
    }
    assert set(trials) == set(TRIALS)
    assert min(trials, key=trials.get) == (study.optimiser, study.rate)


def test_the_shipped_study_is_small():
    assert sum(file.stat().st_size for file in SHIPPED_STUDY.iterdir()) < 2_000_000
