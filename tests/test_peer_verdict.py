"""The verdict over seeds: ranges decide, and a run that diverged is never left out."""

import math

import pytest

from enn_lib.peers.verdict import ahead, errors, mean_error, shown


def runs(*errors):
    return [{"test_rmsd": error} for error in errors]


def test_the_mean_and_the_range_are_over_all_runs():
    assert errors(runs(0.01, 0.03)) == [0.01, 0.03]
    assert mean_error(runs(0.01, 0.03)) == pytest.approx(0.02)
    assert shown(runs(0.01, 0.03, 0.02)) == "0.02 (0.01 to 0.03)"


def test_a_run_that_diverged_makes_the_mean_infinite_and_is_shown():
    lost = runs(0.01, None, 0.03)
    assert errors(lost) == [0.01, math.inf, 0.03]
    assert mean_error(lost) == math.inf
    assert shown(lost) == "0.02 (0.01 to 0.03), 1 of 3 diverged"
    assert shown(runs(None)) == "1 of 1 diverged"


@pytest.mark.parametrize(
    ("mine", "theirs", "wanted"),
    [
        ((0.1, 0.2), (0.3, 0.4), True),
        ((0.3, 0.4), (0.1, 0.2), False),
        ((0.1, 0.3), (0.2, 0.4), None),
        ((0.1, None), (0.3, 0.4), None),
        ((None,), (0.3, 0.4), False),
        ((0.1,), (0.3, None), True),
        ((None,), (None,), None),
    ],
)
def test_a_model_is_ahead_if_its_worst_run_is_better_than_the_other_s_best(mine, theirs, wanted):
    assert ahead(runs(*mine), runs(*theirs)) is wanted


def test_no_records_are_no_verdict():
    with pytest.raises(ValueError, match="records: got none"):
        mean_error([])
