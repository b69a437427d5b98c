"""The study of long runs: what a row holds, that it goes on, and that the shipped tables come out again."""

import pytest
import torch

from enn_lib.argon import ARGON
from enn_lib.dynamics import paper_initial_conditions, simulate
from enn_lib.long_run import FIELDS, N_SAMPLES, STEPS, columns, follow, load_long_run, run_long


def test_a_row_has_the_energy_and_the_extreme_distances_of_its_step():
    rows = follow(ARGON, 20, 2, 10)
    trajectory = simulate(ARGON, *paper_initial_conditions(2), 20)
    assert [row[0] for row in rows] == [0, 10, 20]
    for row in rows:
        assert len(row) == len(columns(2))
        torch.testing.assert_close(
            torch.tensor(row[1:3], dtype=torch.float64), trajectory.total_energy()[row[0]]
        )
        distances = torch.stack([torch.pdist(p) for p in trajectory.positions[row[0]]])
        assert row[3:] == pytest.approx((distances.min().item(), distances.max().item()))


def test_a_sample_that_is_lost_ends_the_table():
    class Explosion:
        def forces(self, positions):
            return 1e300 * positions

    assert len(follow(Explosion(), 100, 1, 1)) < 20


def test_a_study_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("enn_lib.long_run.FIELDS", {name: lambda: ARGON for name in ("a", "b")})
    run_long(tmp_path, 200, 1)
    (tmp_path / "a.csv").unlink()
    before = (tmp_path / "b.csv").stat().st_mtime_ns
    run_long(tmp_path, 200, 1)
    assert (tmp_path / "b.csv").stat().st_mtime_ns == before
    assert load_long_run(tmp_path)["a"]["step"] == [0, 100, 200]


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="got no table of a force field"):
        load_long_run(tmp_path)


# The shipped study

SHIPPED = load_long_run()


def test_the_shipped_study_begins_with_the_analytic_forces():
    assert next(iter(SHIPPED)) == "analytic"
    assert set(SHIPPED) <= set(FIELDS)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_table_has_all_steps_and_begins_as_it_does_today(name):
    table = SHIPPED[name]
    assert table["step"][-1] == STEPS
    samples = [f"energy_{k}" for k in range(N_SAMPLES)]
    rows = follow(FIELDS[name](), 100)
    for row, again in zip(zip(*table.values(), strict=True), rows, strict=False):
        assert row == pytest.approx(again, rel=1e-5)
    assert table[samples[0]][1] != table[samples[1]][1]


def test_the_analytic_energy_stays():
    table = SHIPPED["analytic"]
    for k in range(N_SAMPLES):
        energy = torch.tensor(table[f"energy_{k}"])
        assert (energy - energy[0]).abs().max() < 1e-6
