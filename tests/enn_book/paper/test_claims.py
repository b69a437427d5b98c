"""Verdicts follow from numbers, way by way; every figure has its claim; a wrong number turns a verdict."""

import math
import re
from dataclasses import replace

import pytest

from enn_book.paper.claims import (
    CLAIMS,
    NETWORK,
    PAPER_ITERATIONS,
    SYSTEM,
    Bound,
    Claim,
    Evidence,
    Result,
    Verdict,
    Way,
    as_table,
    check,
    largest_rise,
)
from enn_lib.argon import LennardJones
from enn_lib.runs import load_run

PAPER, TRAINED, AVERAGED = Way


def claim(group=SYSTEM):
    """One that wants at most 1."""
    return Claim(group, "Fig. 0", "a statement", "argon", Bound(at_most=1), lambda _: iter(()))


def measure(source, words, evidence):
    """The result of the one claim of a source that has these words."""
    (result,) = check(evidence, [c for c in CLAIMS if c.source == source and words in c.statement])
    return result


@pytest.fixture(scope="module")
def evidence(small_run):
    """The same small run in all parts: what is tested is the measuring."""
    run = load_run(small_run)
    return Evidence([run], [run, run], (10, 20))


# Verdicts


@pytest.mark.parametrize(
    ("readings", "expected"),
    [
        ({"": [0.5]}, Verdict.REPRODUCED),
        ({"a": [1.0], "b": [1.0]}, Verdict.REPRODUCED),
        ({"": [1.5]}, Verdict.NOT_REPRODUCED),
        ({"": [0.5, 1.5]}, Verdict.NOT_REPRODUCED),
        ({"a": [0.5], "b": [1.5]}, Verdict.AMBIGUOUS),
        ({"a": [0.5, 1.5], "b": [1.5, 1.5]}, Verdict.NOT_REPRODUCED),
        ({"": [math.nan]}, Verdict.NOT_REPRODUCED),
        ({"": [-math.inf]}, Verdict.REPRODUCED),
    ],
)
def test_a_claim_is_reproduced_if_it_holds_under_all_readings_and_for_all_runs(readings, expected):
    for way in Way:
        assert Result(claim(), {way: readings}, is_finished=False).verdict(way) is expected


@pytest.mark.parametrize("values", [{"": [1.5]}, {"a": [0.5], "b": [1.5]}])
def test_a_training_stopped_early_may_confirm_and_cannot_refute_what_is_said_of_its_end(values):
    result = Result(claim(NETWORK), dict.fromkeys(Way, values), is_finished=False)
    assert result.verdict() is Verdict.NOT_TESTED
    assert Verdict.NOT_TESTED not in {result.verdict(TRAINED), replace(result, is_finished=True).verdict()}
    assert replace(result, readings={PAPER: {"": [0.5]}}).verdict() is Verdict.REPRODUCED


def test_the_paper_s_own_way_decides_and_each_change_is_judged_by_itself():
    result = Result(
        claim(), {PAPER: {"": [2.0]}, TRAINED: {"": [0.5]}, AVERAGED: {"": [3.0]}}, is_finished=True
    )
    verdicts = [result.verdict(way) for way in Way]
    assert verdicts == [Verdict.NOT_REPRODUCED, Verdict.REPRODUCED, Verdict.NOT_REPRODUCED]


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(at_most=4e-4), "at most 4 × 10⁻⁴"),
        (Bound(3), "at least 3"),
        (Bound(0.1, 1), "0.1 to 1"),
        (Bound(at_most=0.00118), "at most 0.00118"),
    ],
)
def test_a_bound_reads_as_words(bound, text):
    assert str(bound) == text


def test_the_table_has_a_row_for_each_claim_with_a_link_and_a_verdict_for_each_way_that_was_tried():
    readings = {PAPER: {"": [2.0]}, TRAINED: {"per a": [0.1, 0.2], "per b": [4.0, 4.0]}}
    header, _, row = as_table([Result(claim(), readings, is_finished=True)]).splitlines()
    assert header == "| the paper says | wanted | as in the paper | trained differently |"
    assert row == (
        "| {ref}`Fig. 0 <argon>`: a statement | at most 1 | 2.0: **not reproduced** "
        "| 0.10 and 0.20 (per a), 4.0 and 4.0 (per b): **depends on the reading** |"
    )


# The claims


def test_every_figure_of_the_paper_has_a_claim():
    assert {c.source for c in CLAIMS} >= {f"Fig. {k}" for k in range(1, 8)}


def test_every_claim_can_be_measured_on_a_small_run(evidence):
    for result in check(evidence):
        assert PAPER in result.readings
        assert all(
            math.isfinite(v) for way in result.readings.values() for values in way.values() for v in values
        )


def test_a_small_run_does_not_pass_for_the_paper(evidence):
    result = measure("Fig. 3", "RMSD", evidence)
    assert [result.verdict(way) for way in Way] == [Verdict.NOT_TESTED, *[Verdict.NOT_REPRODUCED] * 2]


def changed(evidence, **new):
    """Evidence of whose runs some attributes are others."""
    runs = [replace(run, **new) for run in evidence.references]
    return replace(evidence, protocol=runs[:1], references=runs)


@pytest.mark.parametrize(
    ("rmsd", "expected"),
    [(0.0005, Verdict.REPRODUCED), (0.001, Verdict.AMBIGUOUS), (0.002, Verdict.NOT_REPRODUCED)],
)
def test_the_verdict_on_figure_3_turns_with_the_error(evidence, rmsd, expected):
    errors = {"rmsd_component": rmsd, "rmsd_vector": 3**0.5 * rmsd}
    metrics = {
        "dynamics": {"network": {"steps": [10, 20]}},
        "test": {"network": errors, "s4_average": errors},
    }
    assert measure("Fig. 3", "RMSD", changed(evidence, metrics=metrics)).verdict(TRAINED) is expected


@pytest.mark.parametrize(("last", "expected"), [(0.505, Verdict.REPRODUCED), (0.6, Verdict.NOT_TESTED)])
def test_overfitting_is_a_validation_loss_that_turns_up(evidence, last, expected):
    other = changed(evidence, history=evidence.protocol[0].history | {"validation_loss": [1.0, 0.5, last]})
    assert measure("sec. 4.2", "overfit", other).verdict() is expected


def test_forces_without_their_potential_do_not_conserve_the_energy(evidence, monkeypatch):
    right = LennardJones.forces
    monkeypatch.setattr(LennardJones, "forces", lambda self, positions: 1.01 * right(self, positions))
    assert measure("Fig. 7", "", replace(evidence, steps=(100, 200))).verdict() is Verdict.NOT_REPRODUCED


def test_stored_metrics_are_used_only_for_the_steps_they_are_about(evidence):
    run = replace(evidence.references[0], metrics={"dynamics": {"network": {"steps": [10, 20]}}})
    assert evidence.metrics(run) is run.metrics
    other = replace(evidence, steps=(5, 15))
    assert other.metrics(run)["dynamics"]["network"]["steps"] == [5, 15]
    assert other.metrics(run) is other.metrics(run), "measured once"


def test_the_paper_s_training_is_finished_after_its_ten_million_iterations(evidence):
    for done in (PAPER_ITERATIONS - 1, PAPER_ITERATIONS):
        assert changed(evidence, history={"iteration": [done]}).is_finished == (done == PAPER_ITERATIONS)


@pytest.mark.parametrize("steps", [(20, 10), (0, 10), (5,)])
def test_steps_that_are_not_two_that_rise_are_refused(evidence, steps):
    with pytest.raises(ValueError, match=rf"steps: got {re.escape(str(steps))}, wanted two that rise"):
        replace(evidence, steps=steps)


@pytest.mark.parametrize(
    ("losses", "rise"),
    [([1.0, 0.5, 0.6, 0.1, 0.11], 0.2), ([1.0, 0.5, 0.6, 0.75], 0.5), ([3.0, 2.0, 2.0], 0.0), ([1.0], 0.0)],
)
def test_the_largest_rise_is_above_the_lowest_row_before(losses, rise):
    assert largest_rise(losses) == pytest.approx(rise)


def test_a_coarser_log_may_miss_a_rise():
    losses = load_run("paper").history["training_loss"]
    assert largest_rise(losses) == pytest.approx(0.15, abs=5e-3)
    assert largest_rise(losses[::2]) == pytest.approx(0.004, abs=5e-4)
