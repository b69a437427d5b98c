"""The tails of the errors are measured as runs are evaluated, and the records say what the README says."""

import numpy as np
import pytest
import torch
from examples import generator, normal

from enn_book.studies.study import load
from enn_book.studies.tail.study import COLUMNS, PATH_COLUMNS, Tail, mean_squares, run_tail, spread
from enn_lib.argon import ARGON, generate_data, sample_positions
from enn_lib.evaluation import predict, rmsd
from enn_lib.runs import load_run


def rows(record, kind="", **where):
    """The rows of a table as dictionaries, those with the given entries."""
    columns = record.table(kind)
    found = [dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)]
    return [row for row in found if all(row[name] == value for name, value in where.items())]


def test_quantiles_and_share_are_those_of_numpy():
    squares = normal(500).square()
    found, _, _, *quantiles, share = spread(squares, 10, generator())
    errors = np.sqrt(squares.numpy())
    np.testing.assert_allclose(quantiles, np.quantile(errors, [0.5, 0.9, 0.99, 0.999, 1]))
    assert found == pytest.approx((errors**2).mean() ** 0.5)
    assert share == pytest.approx((errors**2).max() / (errors**2).sum())


def test_the_interval_is_that_of_the_mean_s_standard_error_where_the_errors_are_tame():
    """Of 2,000 uniform squares the mean is normal, to a good approximation."""
    squares = torch.rand(2000, generator=generator(), dtype=torch.float64)
    _, low, high, *_ = spread(squares, 2000, generator())
    half = 1.96 * squares.std() / len(squares) ** 0.5
    wanted = [(squares.mean() + sign * half).sqrt().item() for sign in (-1, 1)]
    assert [low, high] == pytest.approx(wanted, rel=0.002)


def test_a_run_is_measured_on_its_own_test_part_as_it_is_evaluated(small_run):
    run = load_run(small_run)
    small = Tail(str(small_run), fresh=(3,), n_fresh=50, n_bootstrap=20, n_lines=1, n_points=3, n_steps=5)
    outcome = run_tail(small)
    found = [dict(zip(COLUMNS, row, strict=True)) for row in outcome.tables[""][1]]
    assert [(row["over_s4"], row["seed"]) for row in found] == [(0, -1), (0, 3), (1, -1), (1, 3)]
    test = generate_data(200, run.config.data_seed).test
    assert found[0]["rmsd"] == pytest.approx(rmsd(run.force_field, test))
    positions = sample_positions(50, seed=3)
    squares = mean_squares(predict(run.force_field, positions), ARGON.forces(positions))
    assert found[1]["q100"] == pytest.approx(squares.max().sqrt().item())
    middle = outcome.tables["lines"][1][1]
    assert middle[2] == pytest.approx(found[0]["q100"])  # every line goes through the worst configuration
    assert [row[0] for row in outcome.tables["dynamics"][1]] == [0, 1]


def test_the_records_are_of_the_runs_as_they_were_evaluated():
    for name, record in load("tail").items():
        metrics = load_run(name).metrics["test"]
        for over_s4, kind in enumerate(("network", "s4_average")):
            (own,) = rows(record, over_s4=over_s4, seed=-1)
            assert own["rmsd"] == pytest.approx(metrics[kind]["rmsd_component"], rel=1e-3)


def test_the_worst_configuration_of_reference_has_the_error_that_is_recorded():
    record, run = load("tail")["reference"], load_run("reference")
    part = generate_data(seed=run.config.data_seed).test
    k = record["worst"]
    squares = mean_squares(run.force_field.forces(part.positions[k]), part.forces[k])
    (own,) = rows(record, over_s4=0, seed=-1)
    assert squares.sqrt().item() == pytest.approx(own["q100"], rel=1e-3)


def widths(record):
    """How long each line is worse than half its worst error, Å."""
    found = []
    for line in range(5):
        along = rows(record, "lines", line=line)
        half = max(row["error"] for row in along) / 2
        inside = [row["distance"] for row in along if row["error"] > half]
        found.append(max(inside) - min(inside))
    return found


def test_the_verdict_of_the_readme_holds():
    records = load("tail")
    (own,) = rows(records["reference"], over_s4=0, seed=-1)
    assert 0.62 < own["worst_share"] < 0.64
    fresh = [row["rmsd"] for row in rows(records["reference"], over_s4=0) if row["seed"] > 0]
    assert 3.7e-4 < min(fresh) <= max(fresh) < 3.9e-4
    assert own["rmsd"] > 1.6 * max(fresh)
    assert all(row["q99.9"] < 3.4e-3 for row in rows(records["reference"], over_s4=0))
    over_s4 = [rows(records["reference"], over_s4=1, seed=seed)[0]["rmsd"] for seed in (-1, 7001)]
    assert over_s4 == pytest.approx([1.87e-4, 1.22e-4], rel=0.01)
    shares = {
        (name, row["over_s4"], row["seed"]): row["worst_share"]
        for name, record in records.items()
        for row in rows(record)
    }
    assert shares["softened-1", 1, 7001] == pytest.approx(0.5, abs=0.01)
    dominated = {("reference", 0, -1), ("reference", 1, -1), ("softened-1", 1, 7001)}
    assert max(share for key, share in shares.items() if key not in dominated) < 0.2
    for row in rows(records["reference"], "dynamics"):
        assert dict.fromkeys(PATH_COLUMNS).keys() == row.keys()
        assert row["q100"] < own["q100"] / 40
    assert sorted(widths(records["reference"]))[2] < 0.06
