"""Verdicts follow from numbers; every equation and figure has its claim; broken code turns verdicts."""

import math
import re
from dataclasses import replace
from functools import partial

import pytest
from pages import toc_pages

from enn_book.paper import experiment
from enn_book.paper.claims import Attempt, Bound, Claim, Result, Verdict, as_table, check, count, register
from enn_book.paper.experiment import EXPERIMENT, Evidence, differences, largest_rise
from enn_book.paper.mathematics import MATHEMATICS
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import LennardJones
from enn_lib.dynamics import VelocityVerlet
from enn_lib.fire import FIRE
from enn_lib.layers import EquivariantLinear
from enn_lib.runs import load_run
from enn_lib.settings import Config


def claim(measured=0.5, unit=""):
    """One that wants at most 1."""
    return Claim("Eq. 0", "a statement", ("argon", "the-layer"), Bound(at_most=1), lambda _: measured, unit)


def measure(claims, source, words, evidence=None):
    """The result of the one claim of a source that has these words."""
    (found,) = [c for c in claims if c.source == source and words in c.statement]
    (result,) = check([found], evidence)
    return result


@pytest.fixture(scope="module")
def evidence(small_run):
    """The same small run in both parts: what is tested is the measuring."""
    return Evidence(load_run(small_run), load_run(small_run), (10, 20))


# Verdicts


@pytest.mark.parametrize(
    ("attempts", "expected"),  # each attempt as its values, and whether it is a change
    [
        ([([0.5], False)], Verdict.REPRODUCED),
        ([([1.0, 1.0], False)], Verdict.REPRODUCED),
        ([([1.5], False)], Verdict.NOT_REPRODUCED),
        ([([0.5, 1.5], False)], Verdict.AMBIGUOUS),
        ([([1.5], False), ([0.5], True)], Verdict.WITH_CHANGE),
        ([([1.5], False), ([1.5], True)], Verdict.NOT_REPRODUCED),
        ([([1.5], False), ([0.5, 1.5], True)], Verdict.AMBIGUOUS),
        ([([0.5, 1.5], False), ([0.5, 0.5], True)], Verdict.WITH_CHANGE),
        ([([0.5], False), ([0.5], True)], Verdict.REPRODUCED),
        ([([math.nan], False)], Verdict.NOT_REPRODUCED),
    ],
)
def test_a_verdict_follows_from_the_values_by_the_documented_rule(attempts, expected):
    made = (Attempt(dict(zip("ab", values, strict=False)), "", is_change) for values, is_change in attempts)
    assert Result(claim(), tuple(made)).verdict is expected


def test_both_ends_of_a_bound_hold_and_nan_never_does():
    bound = Bound(1, 2)
    assert [bound.holds(x) for x in (0.999, 1, 2, 2.001, math.nan)] == [False, True, True, False, False]


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (Bound(at_most=1e-11), "at most 10⁻¹¹"),
        (Bound(at_least=3), "at least 3"),
        (Bound(0.1, 1), "0.1 to 1"),
        (Bound(52_000, 52_000), "52,000"),
        (Bound(at_most=0.00118), "at most 0.00118"),
        (Bound(at_most=4e-4), "at most 4·10⁻⁴"),
    ],
)
def test_a_bound_reads_as_words(bound, text):
    assert str(bound) == text


def test_the_text_of_the_values_stops_at_the_deciding_attempt():
    attempts = (
        Attempt({"here": 2.0, "there": 0.25}, "as printed"),
        Attempt({"": 0.1234}, "changed", is_change=True),
        Attempt({"": 0.0}, "never looked at", is_change=True),
    )
    text = Result(claim(unit="Å"), attempts).value_text()
    assert text == "as printed: 2 Å (here), 0.25 Å (there)<br>changed: 0.123 Å"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3e-16, "< 10⁻¹⁵"),
        (7.614e-6, "7.61·10⁻⁶"),
        (0.0, "0"),
        (1376.0, "1,376"),
        (29_742.3, "29,700"),
        (0.5, "0.5"),
    ],
)
def test_rounding_is_written_as_a_power_of_ten_and_counts_in_full(value, text):
    (result,) = check([claim(measured=value)])
    assert result.value_text() == text


def test_a_number_and_a_list_of_attempts_may_both_be_measured():
    one, other = check([claim(0.5), claim([Attempt({"": 0.5})])])
    assert one.attempts == other.attempts


@pytest.mark.parametrize("measured", [[], [Attempt({})]], ids=["no attempt", "no reading"])
def test_a_measurement_of_nothing_is_refused(measured):
    with pytest.raises(ValueError, match=r"Eq\. 0: got nothing measured"):
        check([claim(measured)])


def test_the_decorator_registers_its_function_as_the_measurement():
    claims = []

    @partial(register, claims)("Fig. 9", "something", ("argon",), Bound(1, 1))
    def fig_9(evidence):
        return evidence

    assert claims[0].measure is fig_9
    assert check(claims, 1.0)[0].verdict is Verdict.REPRODUCED


def test_the_table_has_a_row_for_each_result_with_links_and_the_verdict():
    lines = as_table(check([claim(0.5), claim(1.5)])).splitlines()
    assert len(lines) == 4
    assert all(line.count("|") == 6 for line in lines)
    assert "{ref}`argon <argon>`" in lines[2]
    assert "{ref}`the layer <the-layer>`" in lines[2]
    assert lines[2].startswith("| Eq. 0 | reproduced |")
    assert lines[3].startswith("| Eq. 0 | **not reproduced** |")


def test_the_count_names_every_verdict():
    assert list(count(check([claim(0.5), claim(0.7), claim(1.5)])).values()) == [2, 0, 0, 1]


# Coverage


def numbers(kind):
    """The numbers of equations or figures that some claim is about."""
    found = set()
    for c in MATHEMATICS + EXPERIMENT:
        for part in re.findall(rf"{kind}\. ((?:A\.)?\d[\d, toA.]*)", c.source):
            for piece in part.strip(" ,").split(","):
                first, *last = piece.split(" to ")
                whole = range(int(first), int(last[0]) + 1) if last else [piece.strip()]
                found |= {str(k) for k in whole}
    return found


def test_every_equation_of_the_paper_has_a_claim():
    assert numbers("Eq") == {str(k) for k in range(1, 50)} | {"A.1"}


def test_every_figure_of_the_paper_has_a_claim():
    assert numbers("Fig") == {str(k) for k in range(1, 8)}


def test_every_page_that_a_claim_names_is_in_the_book():
    pages = {page.removeprefix("book/") for page in toc_pages()}
    assert {page for c in MATHEMATICS + EXPERIMENT for page in c.pages} <= pages


def test_no_claim_is_listed_twice():
    keys = [(c.source, c.statement) for c in MATHEMATICS + EXPERIMENT]
    assert len(set(keys)) == len(keys)


# The mathematics


def test_every_equation_is_reproduced():
    results = check(MATHEMATICS)
    assert not [r.claim.source for r in results if r.verdict is not Verdict.REPRODUCED]


def test_an_additive_bias_is_found(monkeypatch):
    monkeypatch.setattr(EquivariantLinear, "forward", lambda self, x: x @ self.weight + self.bias.sum(dim=0))
    for source in ("Eq. 1, 11", "Eq. 6 to 9", "Eq. 20 to 24"):
        assert measure(MATHEMATICS, source, "").verdict is Verdict.NOT_REPRODUCED


def test_an_activation_of_components_is_found(monkeypatch):
    monkeypatch.setattr(VectorSoftsign, "forward", lambda self, u: u / (1 + u.abs()) + self.a * u)
    assert measure(MATHEMATICS, "Eq. 12, 13", "").verdict is Verdict.NOT_REPRODUCED
    assert measure(MATHEMATICS, "Eq. 14", "softsign").verdict is Verdict.NOT_REPRODUCED


# The experiment


def test_every_claim_of_the_experiment_can_be_measured_on_a_small_run(evidence):
    results = check(EXPERIMENT, evidence)
    assert len(results) == len(EXPERIMENT)
    assert all(math.isfinite(v) for r in results for a in r.attempts for v in a.readings.values())


def test_a_small_run_does_not_pass_for_the_paper(evidence):
    assert measure(EXPERIMENT, "Fig. 3", "RMSD", evidence).verdict is Verdict.NOT_REPRODUCED
    assert measure(EXPERIMENT, "sec. 4.2", "10 million", evidence).verdict is Verdict.NOT_REPRODUCED


def changed(evidence, **runs):
    """Evidence of whose runs, `reference` and `protocol`, some attributes are others."""
    return replace(evidence, **{name: replace(getattr(evidence, name), **new) for name, new in runs.items()})


def invented(evidence, rmsd):
    """Evidence whose reference run has this error per component."""

    def metrics(component, vector):
        errors = {"rmsd_component": component, "rmsd_vector": vector}
        dynamics = {"network": {"steps": list(evidence.steps)}}
        return {"metrics": {"test": {"network": errors, "s4_average": errors}, "dynamics": dynamics}}

    return changed(evidence, reference=metrics(rmsd, 3**0.5 * rmsd), protocol=metrics(1.0, 2.0))


@pytest.mark.parametrize(
    ("rmsd", "expected"),
    [(0.0005, Verdict.WITH_CHANGE), (0.001, Verdict.AMBIGUOUS), (0.002, Verdict.NOT_REPRODUCED)],
)
def test_the_verdict_on_figure_3_turns_with_the_error(evidence, rmsd, expected):
    assert measure(EXPERIMENT, "Fig. 3", "RMSD", invented(evidence, rmsd)).verdict is expected


def test_what_is_wrong_with_the_physics_is_found(evidence, monkeypatch):
    right = LennardJones.pair_energy
    monkeypatch.setattr(LennardJones, "pair_energy", lambda self, r: right(self, 1.0015 * r))
    assert measure(EXPERIMENT, "Eq. 38, 39", "", evidence).verdict is Verdict.NOT_REPRODUCED
    assert measure(EXPERIMENT, "Fig. 1", "", evidence).verdict is Verdict.NOT_REPRODUCED


def test_an_integrator_without_its_second_kick_is_found(evidence, monkeypatch):
    def euler(self, positions, velocities, forces):
        velocities = velocities + self.dt * experiment.units.fs**2 / self.mass * forces
        positions = positions + self.dt * velocities
        return positions, velocities, self.force_field.forces(positions)

    monkeypatch.setattr(VelocityVerlet, "step", euler)
    assert measure(EXPERIMENT, "Eq. 44, 45", "", evidence).verdict is Verdict.NOT_REPRODUCED


def test_fire_with_the_velocity_first_is_not_appendix_a(evidence, monkeypatch):
    monkeypatch.setattr(experiment, "FIRE", partial(FIRE, order="semi_implicit"))
    assert measure(EXPERIMENT, "Eq. A.1", "", evidence).verdict is Verdict.NOT_REPRODUCED


def test_stored_metrics_are_used_only_for_the_steps_they_are_about(evidence):
    stored = invented(evidence, 0.0005)
    assert stored.metrics(stored.reference) is stored.reference.metrics
    other = replace(stored, steps=(5, 15))
    assert other.metrics(other.reference)["dynamics"]["network"]["steps"] == [5, 15]


def test_the_differences_from_the_paper_are_named():
    assert differences(Config(optimiser="fire", batch_size=None)) == []
    fire = Config(optimiser="fire", batch_size=None, fire_order="semi_implicit")
    assert differences(fire) == ["the velocity first in Step 4"]
    drawn = {"relabel": True, "sampling_power": 6.0}
    found = differences(Config(optimiser="muon", softening=0.1, n_train=100, widths=(6, 5, 4), **drawn))
    assert found == [
        "Muon on batches of 500",
        "atoms relabelled",
        "compact configurations drawn more often",
        "unit vectors softened by 0.1",
        "other widths",
        "fewer data",
    ]


@pytest.mark.parametrize("order", ["appendix", "semi_implicit"])
def test_what_fire_does_in_another_order_is_a_change(evidence, order):
    config = Config(optimiser="fire", batch_size=None, fire_order=order)
    other = changed(evidence, protocol={"config": config})
    (attempt,) = other.of_protocol(0.0)
    assert attempt.is_change == (order != "appendix")
    assert ("velocity first" in attempt.how) == attempt.is_change
    assert attempt.how.startswith(f"FIRE, {other.protocol.history['iteration'][-1]:.0f} iterations")


@pytest.mark.parametrize(("last", "expected"), [(0.505, True), (0.6, False)])
def test_a_descent_is_steady_only_if_no_point_lies_much_above_the_one_before(evidence, last, expected):
    history = evidence.protocol.history | {"training_loss": [1.0, 0.5, last]}
    other = changed(evidence, protocol={"history": history})
    verdict = measure(EXPERIMENT, "sec. 4.2", "fluctuation", other).verdict
    assert (verdict is not Verdict.NOT_REPRODUCED) == expected


@pytest.mark.parametrize(("ratio", "deciding"), [(1.4, 0), (1.6, 1)])
def test_the_paper_s_protocol_is_held_to_no_overfitting_before_the_reference_run(evidence, ratio, deciding):
    def ending(run, ratio):
        losses = {"training_loss": [1.0, 0.1], "validation_loss": [1.0, ratio / 10]}
        return {"history": run.history | losses}

    runs = {"protocol": ending(evidence.protocol, ratio), "reference": ending(evidence.reference, 1.1)}
    result = measure(EXPERIMENT, "sec. 4.2", "no overfitting", changed(evidence, **runs))
    assert result.deciding == deciding
    assert [attempt.readings[""] for attempt in result.attempts] == pytest.approx([ratio, 1.1])


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


def test_steps_that_do_not_rise_are_refused(evidence):
    with pytest.raises(ValueError, match=r"steps: got \(20, 10\)"):
        replace(evidence, steps=(20, 10))


def test_the_two_readings_of_equation_43_are_different_to_fire():
    assert measure(EXPERIMENT, "Eq. 43", "").verdict is Verdict.AMBIGUOUS
