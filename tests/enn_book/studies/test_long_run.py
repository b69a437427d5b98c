"""The study of long runs: what its rows hold, that nothing lost is left out, and that it comes out again."""

import math

import numpy as np
import pytest
import torch

from enn_book.lectures.diagnostics import TrainingRange
from enn_book.studies.long_run import study as long_run
from enn_book.studies.long_run.study import (
    FIELDS,
    NANOSECOND,
    STUDY,
    TEN,
    TRAINED,
    Following,
    fates,
    follow,
    force_field,
    grow,
    heat,
)
from enn_book.studies.study import load
from enn_lib import dynamics
from enn_lib.argon import ARGON, ARGON_MASS, Scales, generate_data, pair_distances
from enn_lib.dynamics import PAPER_POSITIONS, paper_initial_conditions, simulate
from enn_lib.evaluation import rmsd


class Explosion:
    """Drives the atoms out, ever faster, in all samples."""

    def forces(self, positions):
        if not positions.isfinite().all():
            raise ValueError("positions: got NaN")
        return 1e3 * positions


class OneExplodes:
    """The analytic forces, but for samples whose first atom leaves its place upwards: the first of three."""

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
    energies, distances = trajectory.total_energy(), pair_distances(trajectory.positions).flatten(1)
    for row, step in zip(rows, (0, 10, 20), strict=True):
        ends = (distances[step].min().item(), distances[step].max().item())
        assert row == pytest.approx((step, *energies[step].tolist(), *ends), rel=1e-7)


def test_a_table_of_which_all_samples_are_lost_ends_with_a_row_that_says_so():
    rows = follow(Explosion(), 1000, 2, 1)
    assert len(rows) < 1000
    assert all(math.isnan(entry) for entry in rows[-1][1:])
    assert all(math.isfinite(entry) for entry in rows[-2])


def test_one_lost_sample_does_not_take_the_others_with_it():
    rows, alone = (np.array(follow(field, 400, 3, 100)) for field in (OneExplodes(), ARGON))
    assert np.isnan(rows[-1, 1])
    np.testing.assert_allclose(rows[:, 2:4], alone[:, 2:4], rtol=1e-6)
    assert np.isfinite(rows[-1, 4:]).all()


def test_the_fate_of_a_sample_says_when_it_was_lost_and_what_came_before():
    table = {
        "step": [0, 100, 200, 300],
        "energy_0": [1.0, 1.2, 0.5, 1.1],
        "energy_1": [2.0, 2.1, math.nan, math.nan],
        "energy_2": [2.0, math.nan, math.nan, math.nan],
        "shortest": [3.0] * 4,
        "longest": [9.0] * 4,
    }
    stays, lost, at_once = fates(table)
    assert (stays.lost, lost.lost, at_once.lost) == (None, 200.0, 100.0)
    assert (stays.change, lost.change, at_once.change) == pytest.approx((0.5, 0.1, 0.0))
    assert lost.drift == pytest.approx(1e6 * 0.1 / 100)
    assert math.isnan(at_once.drift)


def test_a_step_of_another_length_is_taken_and_counts_in_the_fate():
    rows = follow(ARGON, 20, 2, 10, dt=5.0)
    path = simulate(ARGON, *paper_initial_conditions(2), 20, 5.0)
    assert rows[2][1:3] == pytest.approx(path.total_energy()[20].tolist(), rel=1e-9)
    table = {"step": [0, 10, 20], "energy_0": [0.0, 1.0, math.nan]}
    (fate,) = fates(table, dt=5.0)
    assert (fate.lost, fate.drift) == pytest.approx((100.0, 1e6 / 50))


# Deviations


def test_a_deviation_begins_as_the_error_of_the_force_adds_up_and_is_of_one_sample():
    rows = grow(Pushed(), 40, 2, 20)
    assert [row[0] for row in rows] == [0, 20, 40]
    assert rows[0][1:] == (0, 0, 0, 0)
    wanted = 0.5 * Pushed.error * dynamics.ACCELERATION / ARGON_MASS * 40**2 / 2  # of one atom of four
    _, *real, first, second = rows[2]
    assert (first, second) == pytest.approx((wanted, wanted), rel=1e-6)
    assert real == pytest.approx([wanted] * 2, rel=5e-3)
    assert real[0] != real[1], "two samples deviate alike"


def test_the_deviation_of_a_lost_sample_is_no_number():
    rows = grow(OneExplodes(), 400, 3, 400)
    assert [math.isnan(entry) for entry in rows[-1][1:4]] == [True, False, False]


# Heat


def test_the_share_of_time_outside_is_that_of_the_trajectory():
    cold, hot = heat(ARGON, 600, 2, (10, 4000))
    assert cold == (10, 0, 0, 0, 0)
    velocities = dynamics.thermal_velocities(2, temperature=4000, seed=1)
    path = simulate(ARGON, PAPER_POSITIONS.expand(2, -1, -1).clone(), velocities, 600, every=5).positions
    known = TrainingRange.of(generate_data().train)
    outside = torch.cat((known.too_close(path), known.too_far(path)), dim=1)
    assert hot == (4000, *outside.double().mean(dim=0).tolist())
    assert max(hot[1:]) > 0


def test_a_lost_sample_is_outside():
    ((_, close, far),) = heat(Explosion(), 1000, 1, (10,))
    assert close == 0
    assert far > 0.5


# The study


SHORT = {"samples": 2, "steps": 200, "growth_steps": 40, "temperatures": (10, 20), "heat_steps": 5}


def test_a_run_makes_the_three_tables_as_long_as_it_is_told():
    outcome = long_run.run_following(Following("analytic", **SHORT))
    ends = {"growth": 40, "heat": 20, "energy": 200}
    assert {kind: rows[-1][0] for kind, (_, rows) in outcome.tables.items()} == ends
    for kind, (header, rows) in outcome.tables.items():
        assert header == long_run.columns(kind, 2)
        assert {len(row) for row in rows} == {len(header)}
    assert outcome.weights is None


def test_the_energy_model_is_trained_and_followed_and_its_weights_and_scales_are_kept(tmp_path):
    settings = SHORT | {"training_steps": 5, "n_configurations": 200}
    (record,) = STUDY.repeat(tmp_path, names=["energy-model"], **settings).values()
    kept = long_run.energy_model(record.weights(), Scales(**record["scales"]))
    table = np.transpose([*record.table("energy").values()])
    np.testing.assert_allclose(table, follow(kept, 200, 2), rtol=1e-6)
    ours, shipped = (field.forces(PAPER_POSITIONS) for field in (kept, force_field("energy-model")))
    assert ((ours - shipped).abs() > 1e-3 * shipped.abs()).all()
    assert 0 <= record["training_seconds"] < 60


def test_the_shipped_rough_energy_model_is_what_its_training_gives():
    """To the spread of a training that is rounded otherwise; its errors and not its weights."""
    config = Following(**load("long_run")["energy-model-rough-ns"].config)
    trained = long_run.train_energy_model(config.training_steps, config.n_configurations)
    test = generate_data().test
    shipped = rmsd(force_field("energy-model-rough"), test)
    assert rmsd(long_run.energy_model(*trained), test) == pytest.approx(shipped, rel=0.3)


# The shipped study

every_field = pytest.mark.parametrize("name", FIELDS)


@pytest.fixture(scope="module")
def records():
    return load("long_run")


@every_field
def test_a_shipped_table_has_all_columns_and_all_rows(name, records):
    ends = {"growth": Following.growth_steps, "heat": Following.temperatures[-1], "energy": Following.steps}
    for kind, end in ends.items():
        table = records[name].table(kind)
        assert list(table) == long_run.columns(kind)
        ended_early = kind == "energy" and all(fate.lost is not None for fate in fates(table))
        assert next(iter(table.values()))[-1] == end or ended_early


@every_field
def test_a_shipped_table_begins_as_it_does_today(name, records):
    field = force_field(name)
    for kind, rows in (("energy", follow(field, 100)), ("growth", grow(field, 60))):
        table = records[name].table(kind)
        for row, again in zip(zip(*table.values(), strict=True), rows, strict=False):
            assert row == pytest.approx(again, rel=1e-4, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("name", TEN)
def test_a_shipped_record_of_ten_starts_begins_as_it_does_today(name, records):
    columns = records[f"{name}-ten"].table("energy")
    assert list(columns) == long_run.columns("energy", 10)
    assert columns["step"][-1] == Following.steps
    for row, again in zip(
        zip(*columns.values(), strict=True), follow(force_field(name), 500, 10, 500), strict=False
    ):
        assert row == pytest.approx(again, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("name", TRAINED)
def test_a_shipped_energy_model_conserves_its_own_energy(name):
    field = force_field(name)
    path = simulate(field, *paper_initial_conditions(3), 500, 10.0)
    own = field.energy(path.positions) + dynamics.kinetic_energy(path.velocities)
    assert (own - own[0]).abs().max() < 5e-5
    assert (path.total_energy() - path.total_energy()[0]).abs().max() > 5e-4


@pytest.mark.parametrize("name", NANOSECOND)
def test_a_shipped_record_of_a_nanosecond_begins_as_it_does_today(name, records):
    record = records[f"{name}-ns"]
    columns, dt = record.table("energy"), record.config["dt"]
    assert list(columns) == long_run.columns("energy", 10)
    assert dt * record.config["steps"] == 1e6
    assert columns["step"][-1] == record.config["steps"] or math.isnan(columns["energy_0"][-1])
    again = follow(force_field(name), 500, 10, 500, dt)
    for row, wanted in zip(zip(*columns.values(), strict=True), again, strict=False):
        assert row == pytest.approx(wanted, rel=1e-3, abs=1e-6)


def test_a_shipped_table_of_heat_comes_out_again(records):
    """Of a cheap field, all of it; where a trajectory is chaotic, a share moves with the last bit."""
    field, temperatures = force_field("perceptron-rotated"), Following.temperatures[:2]
    table = records["perceptron-rotated"].table("heat")
    for k, again in enumerate(heat(field, Following.heat_steps, temperatures=temperatures)):
        assert tuple(column[k] for column in table.values()) == pytest.approx(again, abs=0.02)


def test_the_samples_of_the_shipped_study_are_different(records):
    for name, table in records.tables("energy").items():
        assert len({table[f"energy_{k}"][1] for k in range(Following.samples)}) == Following.samples, name


def test_the_verdict_on_ten_starts_holds(records):
    change = {}
    for name in TEN:
        columns = records[f"{name}-ten"].table("energy")
        change[name] = np.array(
            [1000 * (columns[f"energy_{k}"][-1] - columns[f"energy_{k}"][0]) for k in range(10)]
        )
    for name, gained, mean in (("reference", 10, 4.5), ("reference-1", 9, 6.0)):
        assert (change[name] > 0).sum() == gained
        assert change[name].mean() == pytest.approx(mean, rel=0.02)
    for name, rmsd_s4 in (("reference-s4", 0.26), ("reference-1-s4", 0.38)):
        size = (change[name] ** 2).mean() ** 0.5
        assert size == pytest.approx(rmsd_s4, rel=0.02)
        assert abs(change[name].mean()) < size / 3


def test_the_verdict_on_a_nanosecond_holds(records):
    seen = {name: fates(records[f"{name}-ns"].table("energy"), 10.0) for name in NANOSECOND if name != "enn"}
    seen["enn"] = fates(records["enn-ns"].table("energy"), 2.0)
    lost = {name: [fate.lost / 1000 for fate in found if fate.lost] for name, found in seen.items()}
    assert {name: len(times) for name, times in lost.items() if times} == {
        "painn": 10, "enn": 10, "reference": 8
    }  # fmt: skip
    ends = [(min(lost[name]), max(lost[name])) for name in ("painn", "enn")]
    assert ends[0] == (255, 675)
    assert ends[1] == pytest.approx((26, 60), abs=0.5)
    for name, most, drift, half in (
        ("energy-model", 4.6, -0.12, 0.22), ("energy-model-rough", 16, 0.2, 1.0)
    ):  # fmt: skip
        assert 1000 * max(fate.change for fate in seen[name]) == pytest.approx(most, rel=0.03)
        slopes = 1000 * np.array([fate.drift for fate in seen[name]])
        assert slopes.mean() == pytest.approx(drift, abs=0.05)
        assert 2.262 * slopes.std(ddof=1) / 10**0.5 == pytest.approx(half, rel=0.05)
    assert max(fate.change for fate in seen["analytic"]) == pytest.approx(1.8e-5, rel=0.03)
    # In steps of 1 fs the literal network gains about as much in 100 ps.
    gains = []
    for name, row in (("reference-ns", 20), ("reference-ten", -1)):
        columns = records[name].table("energy")
        gains.append(np.mean([columns[f"energy_{k}"][row] - columns[f"energy_{k}"][0] for k in range(10)]))
    assert gains == pytest.approx([5.3e-3, 4.5e-3], rel=0.02)
    test = generate_data().test
    errors = [rmsd(force_field(name), test) for name in NANOSECOND[1:]]
    assert errors == pytest.approx([4.3e-4, 9.8e-4, 0.0011, 0.0068, 0.0058], rel=0.03)


def test_the_verdict_of_the_readme_holds(records):
    seen = {name: fates(records[name].table("energy")) for name in FIELDS}
    change = {name: [fate.change for fate in found] for name, found in seen.items()}
    lost = {name: [fate.lost for fate in found if fate.lost is not None] for name, found in seen.items()}
    worst = {name: max(changes) for name, changes in change.items()}

    # Velocity Verlet is not the limit, and an average over the permutations helps.
    assert worst["analytic"] == pytest.approx(1.7e-7, rel=0.02)
    for run, alone, average in (("reference", 0.0098, 3.8e-4), ("softened", 0.0011, 1.7e-4)):
        assert max(change[f"{run}-s4"]) < min(change[run])
        assert (worst[run], worst[f"{run}-s4"]) == pytest.approx((alone, average), rel=0.03)

    # Who loses samples, and who is the steadiest.
    peers = long_run.PEERS_FOLLOWED
    assert {n for n in FIELDS if lost[n]} == {"enn", "perceptron-rotated", "vector-neurons"} < {*peers}
    assert all(len(lost[name]) in (0, Following.samples) for name in FIELDS)
    assert max(map(max, filter(None, lost.values()))) < 36_000
    assert worst["egnn"] < min(min(change[peer]) for peer in peers if peer != "egnn")
    assert worst["egnn"] == pytest.approx(2.3e-4, rel=0.03)

    growths = [records[name].table("growth") for name in FIELDS if name != "analytic"]
    ends = [max(table[f"real_{k}"][-1] for k in range(Following.samples)) for table in growths]
    assert (min(ends), max(ends)) == pytest.approx((0.011, 9.3), rel=0.03)

    # What did not work.
    leaves = {row.split("`")[1]: row.split("|")[-2] for row in STUDY.summary(records).splitlines()[2:]}
    assert {name for name in FIELDS if leaves[name] != leaves["analytic"]} == {"vector-neurons"}
