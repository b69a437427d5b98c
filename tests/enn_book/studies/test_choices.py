"""The study of choices: one thing is changed at a time, at equal cost, and it can be repeated."""

import math
from dataclasses import asdict, replace

import pytest
from scipy.stats import t

from enn_book.studies.choices.study import (
    BASE,
    CHOICES,
    COLUMNS,
    FEWER,
    LONG_CHOICES,
    PAIR,
    RATES,
    SEEDS,
    SHORT_CHOICES,
    TUNED_AS,
    at_rate,
    best_rate,
    factors,
    last,
    over_choices,
    plan,
    run_variation,
    variation,
)
from enn_book.studies.study import Records, load
from enn_lib.storage import write_csv, write_json

SMALL = {"n_configurations": 200, "batch_size": 30, "iterations": 40, "compile": False}


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "base"])
def test_a_choice_changes_what_it_says_and_the_length_that_follows(name):
    changed = asdict(variation(CHOICES[name]))
    different = {key for key, value in changed.items() if value != asdict(BASE)[key]}
    assert different - {"iterations"} == set(CHOICES[name]) - {"iterations"}


@pytest.mark.parametrize("name", SHORT_CHOICES)
def test_every_short_choice_gets_as_many_gradients(name):
    config = variation(CHOICES[name])
    assert config.iterations * config.batch_size == BASE.iterations * BASE.batch_size


@pytest.mark.parametrize("name", LONG_CHOICES)
def test_every_long_choice_is_five_times_as_long(name):
    assert variation(CHOICES[name]).iterations == 5 * BASE.iterations


def test_another_seed_has_other_weights_and_other_data():
    assert (variation({}, 2).seed, variation({}, 2).data_seed) == (2, 2210)


def test_the_pair_is_both_changes_at_once():
    assert CHOICES["pair"] == CHOICES["eps-0.3"] | CHOICES["a-1"] == PAIR


def with_losses(folder, losses):
    """Records of trainings that ended at these validation losses."""
    for name, loss in losses.items():
        write_csv(folder / f"{name}.csv", COLUMNS, [[7200, 3_600_000, loss, loss]])
        write_json(folder / f"{name}.json", {})
    return Records(folder)


def trials(choice, losses):
    """Records of the rates of a choice, by name."""
    return {f"{at_rate(choice, rate)[0]}.0": loss for rate, loss in zip(RATES[choice], losses, strict=True)}


def test_a_choice_without_all_its_trials_has_no_best_rate(tmp_path):
    assert best_rate(with_losses(tmp_path, {"adam-0.01.0": 1.0}), "adam") is None


def test_the_best_rate_is_that_of_the_least_validation_loss(tmp_path):
    assert best_rate(with_losses(tmp_path, trials("adam", [0.4, 0.2, 0.1, 0.3])), "adam") == 0.03


def test_a_choice_without_trials_has_the_rate_of_the_base(tmp_path):
    assert best_rate(Records(tmp_path), "numbered") == BASE.learning_rate


def test_without_records_the_plan_has_the_trials_and_what_needs_no_rate(tmp_path):
    names = set(plan(Records(tmp_path), None))
    untuned = set(CHOICES) - set(RATES) - set(TUNED_AS)
    assert {f"{name}.{seed}" for name in untuned for seed in SEEDS} < names
    assert {f"{name}.0" for name in FEWER} < names
    assert not [name for name in names if name.startswith(("adam", "soap")) and not name.endswith(".0")]


def test_the_other_seeds_of_an_optimiser_have_its_best_rate(tmp_path):
    records = with_losses(tmp_path, trials("soap", [0.3, 0.2, 0.4]))
    added = {name for name in plan(records, None) if name.startswith("soap") and not name.endswith(".0")}
    assert added == {f"soap{pair}-0.003.{seed}" for pair in ("", "-pair") for seed in (1, 2)}


def test_factors_are_those_of_geometric_means():
    found = factors(
        {"base": [1.0, 2.0, 4.0], "other": [4.0, 8.0, 16.0]} | {key: [1.0, 2.0, 4.0] for key in "ab"}
    )
    assert found["other"][0] == pytest.approx(4)
    assert found["a"][0] == pytest.approx(1)


def test_an_interval_of_factors_is_that_of_the_pooled_variance():
    """All choices have the same spread: that of the logarithms of 1, 2 and 4."""
    _, low, high = factors({"base": [1.0, 2.0, 4.0]} | {key: [1.0, 2.0, 4.0] for key in "abc"})["a"]
    assert high == pytest.approx(1 / low)
    assert math.log(high) == pytest.approx(t.ppf(0.975, 8) * math.log(2) * (2 / 3) ** 0.5, rel=1e-3)


def outcome_of(**changes):
    """A small run of the base."""
    return run_variation(replace(BASE, **SMALL, **changes))


@pytest.fixture(scope="module")
def outcome():
    """Of 40 steps."""
    return outcome_of()


def test_a_run_lowers_the_loss_and_counts_its_gradients(outcome):
    columns, rows = outcome.tables[""]
    iteration, evaluations, training, _ = zip(*rows, strict=True)
    assert columns == COLUMNS
    assert evaluations == tuple(30 * i for i in iteration)
    assert training[-1] < 0.9 * training[0]


def test_a_run_measures_test_error_and_dynamics(outcome):
    assert 0.01 < outcome.measured["test_rmsd"] < 1
    assert outcome.measured["dynamics"]["steps"] == [1500, 4000]


def test_a_run_that_diverges_leaves_no_record():
    with pytest.raises(FloatingPointError):
        outcome_of(learning_rate=1e30)


@pytest.mark.parametrize("choice", [choice for choice in SHORT_CHOICES if choice in RATES])
def test_the_best_rate_lies_inside_those_that_were_tried(choice):
    assert best_rate(load("choices"), choice) in RATES[choice][1:-1]


@pytest.mark.parametrize(
    ("choice", "stated"),
    [
        ("pair", (0.39, 0.35, 0.44)),
        ("soap-pair", (0.3, 0.27, 0.34)),
        ("eps-0.3", (0.74, 0.66, 0.83)),
        ("batch-250", (0.86, 0.76, 0.97)),
        ("a-1", (0.98, 0.87, 1.1)),
        ("soap", (1.0, 0.91, 1.1)),
        ("numbered", (1.4, 1.2, 1.6)),
        ("adam", (3.3, 2.9, 3.7)),
        ("constant", (4.8, 4.3, 5.4)),
        ("power-4", (1.0, 0.88, 1.1)),
        ("power-6", (1.1, 0.98, 1.2)),
    ],
)
def test_a_factor_of_the_readme_is_that_of_the_records(choice, stated):
    records = load("choices")
    found = factors(over_choices(records, lambda name: records[name]["test_rmsd"]))
    assert found[choice] == pytest.approx(stated, rel=0.05)


@pytest.mark.parametrize(
    ("choice", "stated"),
    [
        ("long-pair", (0.32, 0.27, 0.38)),
        ("long-numbered", (1.9, 1.6, 2.2)),
        ("long-adam", (3.6, 3.0, 4.3)),
    ],
)
def test_a_factor_of_the_readme_is_that_of_the_long_records(choice, stated):
    records = load("choices")
    found = factors(over_choices(records, lambda name: records[name]["test_rmsd"], LONG_CHOICES))
    assert found[choice] == pytest.approx(stated, rel=0.05)


def test_the_verdict_of_the_readme_holds_on_trajectories():
    records = load("choices")
    clear = []
    for step in (0, 1):
        measured = over_choices(records, lambda name, k=step: records[name]["dynamics"]["rmsd_positions"][k])
        clear.append({name for name, (_, low, high) in factors(measured).items() if not low < 1 < high})
    assert clear[0] == {"pair", "soap-pair", "constant", "adam"}
    assert clear[1] == clear[0] | {"soap"}


def test_the_verdict_of_the_readme_holds_on_overfitting():
    records = load("choices")
    ends = {name: last(records, name) for name in records}
    ratio = {name: end["validation_loss"] / end["training_loss"] for name, end in ends.items()}
    assert all(2.95 < ratio[f"numbered.{seed}"] < 3.7 for seed in SEEDS)
    assert all(1.05 < ratio[f"base.{seed}"] < 1.09 for seed in SEEDS)
    assert all(4.95 < ratio[f"long-numbered.{seed}"] < 5.85 for seed in SEEDS)
    assert ratio["numbered-10000.0"] == pytest.approx(110, rel=0.05)
    assert ratio["base-10000.0"] == pytest.approx(1.6, rel=0.05)
