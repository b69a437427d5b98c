"""The study of long runs: what its rows hold, that nothing lost is left out, and that it comes out again."""

import math

import pytest
import torch

from enn_lib.argon import ARGON, ARGON_MASS, generate_data
from enn_lib.diagnostics import TrainingRange
from enn_lib.dynamics import (
    ACCELERATION,
    PAPER_POSITIONS,
    paper_initial_conditions,
    simulate,
    thermal_velocities,
)
from enn_lib.evaluation import force_errors, predict
from enn_lib.long_run import (
    ENERGY_WEIGHTS,
    FIELDS,
    GROWTH_STEPS,
    HEAT_STEPS,
    MEASURES,
    N_SAMPLES,
    STEPS,
    TEMPERATURES,
    energy_model,
    follow,
    grow,
    heat,
    load_long_run,
    outcomes,
    run_long,
    train_energy_model,
)


class Explosion:
    """Drives the atoms out, ever faster, in all samples."""

    def forces(self, positions):
        if not positions.isfinite().all():
            raise ValueError("positions: got NaN")
        return 1e3 * positions


class OneExplodes:
    """The analytic forces, but for the sample whose first atom is about to leave its place upwards."""

    def forces(self, positions):
        up = positions[:, :1, 2:] > PAPER_POSITIONS[0, 2] + 1e-3
        return torch.where(up, 1e3 * positions, ARGON.forces(positions))


class Pushed:
    """The analytic forces and a constant error of the first atom."""

    error = 1e-5

    def forces(self, positions):
        forces = ARGON.forces(positions).clone()
        forces[:, 0, 0] += self.error
        return forces


# Energies


def test_a_row_has_the_energy_and_the_extreme_distances_of_its_step():
    rows = follow(ARGON, 20, 2, 10)
    trajectory = simulate(ARGON, *paper_initial_conditions(2), 20)
    assert [row[0] for row in rows] == [0, 10, 20]
    for row in rows:
        assert len(row) == 5
        torch.testing.assert_close(
            torch.tensor(row[1:3], dtype=torch.float64), trajectory.total_energy()[row[0]]
        )
        distances = torch.stack([torch.pdist(p) for p in trajectory.positions[row[0]]])
        assert row[3:] == pytest.approx((distances.min().item(), distances.max().item()))


def test_a_table_of_which_all_samples_are_lost_ends_with_a_row_that_says_so():
    rows = follow(Explosion(), 1000, 2, 1)
    assert len(rows) < 1000
    assert all(math.isnan(entry) for entry in rows[-1][1:])
    assert all(math.isfinite(entry) for entry in rows[-2])


def test_one_lost_sample_does_not_take_the_others_with_it():
    _, velocities = paper_initial_conditions(3)
    explodes = velocities[:, 0, 2] > 0
    assert explodes.any()
    assert not explodes.all()
    rows = follow(OneExplodes(), 400, 3, 100)
    alone = follow(ARGON, 400, 3, 100)
    for k, lost in enumerate(explodes.tolist()):
        column, wanted = [row[1 + k] for row in rows], [row[1 + k] for row in alone]
        assert math.isnan(column[-1]) if lost else column == pytest.approx(wanted)
    assert all(math.isfinite(entry) for entry in rows[-1][4:])


def test_the_outcome_of_a_sample_says_when_it_was_lost_and_what_came_before():
    table = {
        "step": [0, 100, 200, 300],
        "energy_0": [1.0, 1.2, 0.5, 1.1],
        "energy_1": [2.0, 2.1, math.nan, math.nan],
        "energy_2": [2.0, math.nan, math.nan, math.nan],
        "shortest": [3.0] * 4,
        "longest": [9.0] * 4,
    }
    stays, lost, at_once = outcomes(table)
    assert (stays.lost, lost.lost, at_once.lost) == (None, 200.0, 100.0)
    assert (stays.change, lost.change, at_once.change) == pytest.approx((0.5, 0.1, 0.0))
    assert lost.drift == pytest.approx(1e6 * 0.1 / 100)
    assert math.isnan(at_once.drift)


# Deviations


def test_a_deviation_begins_as_the_error_of_the_force_adds_up_and_is_of_one_sample():
    rows = grow(Pushed(), 40, 2, 20)
    assert [row[0] for row in rows] == [0, 20, 40]
    assert rows[0][1:] == (0, 0, 0, 0)
    wanted = 0.5 * Pushed.error * ACCELERATION / ARGON_MASS * 40**2 / 2  # of one atom of four
    assert rows[2][3:] == pytest.approx([wanted] * 2, rel=1e-6)
    assert rows[2][1:3] == pytest.approx([wanted] * 2, rel=5e-3)
    assert rows[2][1] != rows[2][2], "two samples deviate alike"


def test_the_deviation_of_a_lost_sample_is_no_number():
    rows = grow(OneExplodes(), 400, 3, 400)
    lost = (paper_initial_conditions(3)[1][:, 0, 2] > 0).tolist()
    assert [math.isnan(entry) for entry in rows[-1][1:4]] == lost


# Heat


def test_the_share_of_time_outside_is_that_of_the_trajectory():
    (cold, hot) = heat(ARGON, 600, 2, (10, 4000))
    assert cold == (10, 0, 0, 0, 0)
    velocities = thermal_velocities(2, temperature=4000, seed=1)
    path = simulate(ARGON, PAPER_POSITIONS.expand(2, -1, -1).clone(), velocities, 600, every=5).positions
    known = TrainingRange.of(generate_data().train)
    for k in range(2):
        assert hot[1 + k] == known.too_close(path[:, k]).double().mean().item()
        assert hot[3 + k] == known.too_far(path[:, k]).double().mean().item()
    assert max(hot[1:]) > 0


def test_a_lost_sample_is_outside():
    ((_, close, far),) = heat(Explosion(), 1000, 1, (10,))
    assert close == 0
    assert far > 0.5


# The study


def test_a_study_goes_on_with_what_is_missing_and_writes_what_is_lost(tmp_path, monkeypatch):
    fields = {"a": lambda: ARGON, "b": Explosion}
    monkeypatch.setattr("enn_lib.long_run.FIELDS", fields)
    columns = ("step", "energy_0", "shortest", "longest")
    measures = {"energy": (columns, lambda field: follow(field, 200, 1))}
    monkeypatch.setattr("enn_lib.long_run.MEASURES", measures)
    run_long(tmp_path)
    (tmp_path / "a.energy.csv").unlink()
    before = (tmp_path / "b.energy.csv").stat().st_mtime_ns
    run_long(tmp_path)
    assert (tmp_path / "b.energy.csv").stat().st_mtime_ns == before
    tables = load_long_run("energy", tmp_path)
    assert tables["a"]["step"] == [0, 100, 200]
    assert outcomes(tables["b"])[0].lost == 100
    assert outcomes(tables["a"])[0].lost is None


def test_a_study_trains_its_energy_model_once_and_follows_it(tmp_path, monkeypatch):
    monkeypatch.setattr("enn_lib.long_run.FIELDS", {"energy-model": energy_model})
    monkeypatch.setattr("enn_lib.long_run.MEASURES", {"energy": (("x",), lambda field: [(force_at(field),)])})
    train_energy_model(tmp_path / ENERGY_WEIGHTS, steps=5, n_configurations=200)
    run_long(tmp_path)
    (first,) = load_long_run("energy", tmp_path)["energy-model"]["x"]
    assert first == pytest.approx(force_at(energy_model(tmp_path)), rel=1e-6)
    assert first != pytest.approx(force_at(energy_model()), rel=1e-3)


def force_at(field):
    """One component of a force, at the start of sec. 4.3 with an atom moved."""
    moved = PAPER_POSITIONS.clone()
    moved[0] *= 0.9
    return field.forces(moved)[0, 0].item()


def test_the_shipped_energy_model_is_what_its_training_gives(tmp_path):
    """To the spread of a training that is rounded otherwise; its errors and not its weights."""
    train_energy_model(tmp_path / ENERGY_WEIGHTS)
    test = generate_data(20_000).test
    errors = [
        force_errors(predict(field, test.positions), test)["rmsd_component"]
        for field in (energy_model(), energy_model(tmp_path))
    ]
    assert errors[1] == pytest.approx(errors[0], rel=0.3)


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"analytic\.energy\.csv"):
        load_long_run("energy", tmp_path)


# The shipped study

every_field = pytest.mark.parametrize("name", FIELDS)


@pytest.fixture(scope="module")
def shipped():
    return {measure: load_long_run(measure) for measure in MEASURES}


@every_field
def test_a_shipped_table_has_all_columns_and_all_rows(name, shipped):
    ends = {"growth": GROWTH_STEPS, "heat": TEMPERATURES[-1], "energy": STEPS}
    for measure, (columns, _) in MEASURES.items():
        table = shipped[measure][name]
        assert tuple(table) == columns
        ended_early = measure == "energy" and all(o.lost is not None for o in outcomes(table))
        assert table[columns[0]][-1] == ends[measure] or ended_early


@every_field
def test_a_shipped_table_begins_as_it_does_today(name, shipped):
    field = FIELDS[name]()
    for measure, rows in (("energy", follow(field, 100)), ("growth", grow(field, 60))):
        for row, again in zip(zip(*shipped[measure][name].values(), strict=True), rows, strict=False):
            assert row == pytest.approx(again, rel=1e-4, abs=1e-9, nan_ok=True)


def test_a_shipped_table_of_heat_comes_out_again(shipped):
    """Of a cheap field, all of it; where a trajectory is chaotic, a share moves with the last bit."""
    row = heat(FIELDS["perceptron-rotated"](), HEAT_STEPS, temperatures=TEMPERATURES[:2])
    table = shipped["heat"]["perceptron-rotated"]
    for k, again in enumerate(row):
        assert tuple(column[k] for column in table.values()) == pytest.approx(again, abs=0.02)


def test_the_samples_of_the_shipped_study_are_different(shipped):
    for name, table in shipped["energy"].items():
        assert len({table[f"energy_{k}"][1] for k in range(N_SAMPLES)}) == N_SAMPLES, name


def test_the_analytic_energy_stays(shipped):
    for outcome in outcomes(shipped["energy"]["analytic"]):
        assert outcome.lost is None
        assert outcome.change < 1e-6
