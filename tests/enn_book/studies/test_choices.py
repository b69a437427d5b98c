"""The study of choices: one thing is changed at a time, at equal cost, and it can be repeated."""

from dataclasses import asdict, replace

import pytest
import torch

from enn_book.studies.choices.study import (
    BASE,
    CHOICES,
    COLUMNS,
    FEWER,
    PAIR,
    RATES,
    SEEDS,
    at_rate,
    best_rate,
    last,
    over_seeds,
    plan,
    run_variation,
    variation,
)
from enn_book.studies.study import STUDENT, Records, load
from enn_lib.storage import write_csv, write_json

SMALL = {"n_configurations": 200, "batch_size": 30, "iterations": 40, "compile": False}


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "base"])
def test_a_choice_changes_what_it_says_and_the_length_that_follows(name):
    changed = asdict(variation(CHOICES[name]))
    different = {key for key, value in changed.items() if value != asdict(BASE)[key]}
    assert different - {"iterations"} == set(CHOICES[name])


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_gets_as_many_gradients(name):
    config = variation(CHOICES[name])
    assert config.iterations * config.batch_size == BASE.iterations * BASE.batch_size


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


def trials(optimiser, losses):
    """Records of the rates of an optimiser, by name."""
    return {
        f"{at_rate(optimiser, rate)[0]}.0": loss for rate, loss in zip(RATES[optimiser], losses, strict=True)
    }


def test_an_optimiser_without_all_its_trials_has_no_best_rate(tmp_path):
    assert best_rate(with_losses(tmp_path, {"adam-0.01.0": 1.0}), "adam") is None


def test_the_best_rate_is_that_of_the_least_validation_loss(tmp_path):
    assert best_rate(with_losses(tmp_path, trials("adam", [0.4, 0.2, 0.1, 0.3])), "adam") == 0.03


def test_without_records_the_plan_has_the_trials_and_what_needs_no_rate(tmp_path):
    names = set(plan(Records(tmp_path), None))
    assert {f"{name}.{seed}" for name in CHOICES for seed in SEEDS} < names
    assert {f"{name}.0" for name in FEWER} < names
    assert not [name for name in names if name.startswith(("adam", "soap")) and not name.endswith(".0")]


def test_the_other_seeds_of_an_optimiser_have_its_best_rate(tmp_path):
    records = with_losses(tmp_path, trials("soap", [0.3, 0.2, 0.4]))
    added = {name for name in plan(records, None) if name.startswith("soap") and not name.endswith(".0")}
    assert added == {f"soap-0.003{pair}.{seed}" for pair in ("", "-pair") for seed in (1, 2)}


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


@pytest.mark.parametrize("optimiser", RATES)
def test_the_best_rate_lies_inside_those_that_were_tried(optimiser):
    assert best_rate(load("choices"), optimiser) in RATES[optimiser][1:-1]


def test_the_base_has_the_best_rate_of_its_optimiser():
    assert best_rate(load("choices"), BASE.optimiser) == BASE.learning_rate


def test_every_choice_has_three_seeds():
    groups = over_seeds(load("choices"))
    assert all(groups[name] == [f"{name}.{seed}" for seed in SEEDS] for name in CHOICES)


@pytest.fixture(scope="module")
def factors():
    """How many times that of the base the test error is, with the ends of the interval, by choice."""
    records = load("choices")
    errors = {
        name: torch.tensor([records[member]["test_rmsd"] for member in group]).log()
        for name, group in over_seeds(records).items()
        if len(group) == 3
    }
    found = {}
    for name, logarithms in errors.items():
        ratios = logarithms - errors["base"]
        half = STUDENT[2] * ratios.std() / 3**0.5
        found[name] = [x.exp().item() for x in (ratios.mean(), ratios.mean() - half, ratios.mean() + half)]
    return found


@pytest.mark.parametrize(
    ("name", "stated"),
    [
        ("pair", (0.40, 0.35, 0.45)),
        ("soap-0.003-pair", (0.30, 0.28, 0.33)),
        ("eps-0.3", (0.74, 0.69, 0.79)),
        ("a-1", (1.6, 1.6, 1.6)),
        ("numbered", (1.4, 1.2, 1.6)),
        ("adam-0.03", (3.3, 3.2, 3.4)),
        ("constant", (6.7, 5.2, 8.6)),
        ("batch-250", (0.86, 0.73, 1.01)),
        ("soap-0.003", (1.0, 0.96, 1.1)),
    ],
)
def test_a_factor_of_the_readme_is_that_of_the_records(factors, name, stated):
    assert factors[name] == pytest.approx(stated, rel=0.03)


def test_the_verdict_of_the_readme_holds_on_overfitting():
    records = load("choices")
    ratio = {
        name: row["validation_loss"] / row["training_loss"]
        for name in records
        if (row := last(records, name))
    }
    assert all(2.95 < ratio[f"numbered.{seed}"] < 3.7 for seed in SEEDS)
    assert all(1.05 < ratio[f"base.{seed}"] < 1.09 for seed in SEEDS)
    assert ratio["numbered-10000.0"] == pytest.approx(110, rel=0.05)
    assert ratio["base-10000.0"] == pytest.approx(1.6, rel=0.05)
