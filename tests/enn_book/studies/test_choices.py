"""The study of choices: one thing is changed at a time, at equal cost, and it can be repeated."""

from dataclasses import asdict, replace

import pytest

from enn_book.studies.choices.study import BASE, CHOICES, COLUMNS, GENERALISATION, run_variation, variation
from enn_book.studies.study import load
from enn_lib import load_run

SMALL = {"n_configurations": 200, "batch_size": 30, "iterations": 40, "compile": False}


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "base"])
def test_a_choice_changes_what_it_says_and_the_length_that_follows(name):
    different = {key for key, value in asdict(variation(name)).items() if value != asdict(BASE)[key]}
    assert different - {"iterations"} == set(CHOICES[name])


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_gets_as_many_gradients(name):
    config = variation(name)
    assert config.iterations * config.batch_size == BASE.iterations * BASE.batch_size


def rows_of(**changes):
    """The rows of a small run of the base."""
    _, rows = run_variation(replace(BASE, **SMALL, **changes)).tables[""]
    return rows


@pytest.fixture(scope="module")
def courses():
    """The columns of a run of 40 steps."""
    return list(zip(*rows_of(), strict=True))


def test_a_run_lowers_the_loss_and_counts_its_gradients(courses):
    iteration, evaluations, training, *_ = courses
    assert evaluations == tuple(30 * i for i in iteration)
    assert training[-1] < 0.9 * training[0]


def test_the_averaged_weights_lag_behind(courses):
    """Over 40 steps a memory of a thousand has hardly left the start."""
    plain, averaged = (abs(losses[-1] / losses[0] - 1) for losses in courses[3:])
    assert averaged < 0.1 < plain


def test_a_run_that_diverges_ends_early():
    assert len(rows_of(learning_rate=1e30)) < 40


@pytest.mark.parametrize("name", [*CHOICES, *GENERALISATION])
def test_a_shipped_history_is_that_of_its_variation(name):
    history, config = load("choices")[name].table(), variation(name)
    assert tuple(history) == COLUMNS
    assert history["iteration"][-1] == config.iterations
    assert history["gradient_evaluations"][-1] == config.iterations * config.batch_size


def test_a_shipped_history_begins_as_the_same_training_does():
    """The loss after the first step, computed anew on the data of the study."""
    _, (row,) = run_variation(replace(variation("few-muon"), iterations=1)).tables[""]
    history = load("choices")["few-muon"].table()
    assert row[2] == pytest.approx(history["training_loss"][0], rel=1e-4)
    assert row[3] == pytest.approx(history["validation_loss"][0], rel=1e-4)


def test_the_verdict_of_the_readme_holds():
    tables = load("choices").tables()
    last = {name: {key: values[-1] for key, values in table.items()} for name, table in tables.items()}
    loss = {name: row["validation_loss"] for name, row in last.items()}
    named = ("base", "eps-0.3-a-1", "soap-0.003", "soap-eps-0.3-a-1", "eps-0.3", "a-1")
    stated = (3.4e-4, 5.5e-5, 4.0e-4, 3.7e-5, 1.9e-4, 9.9e-4)
    assert [loss[name] for name in named] == pytest.approx(stated, rel=0.02)
    assert max(CHOICES, key=loss.get) == "constant"
    assert 100 < loss["literal-10000"] / last["literal-10000"]["training_loss"] < 110
    assert loss["relabelled-10000"] < 2 * last["relabelled-10000"]["training_loss"]
    gain = [row["averaged_loss"] / loss[name] for name, row in last.items() if name != "constant"]
    assert min(gain) > 0.995
    assert sum(g > 1.05 for g in gain) > len(gain) / 2
    gradients = load_run("reference").history["gradient_evaluations"][-1]
    assert gradients / last["base"]["gradient_evaluations"] == pytest.approx(60, abs=3)
    assert loss["adam-0.003"] > loss["adam-0.01"] > 5 * loss["base"]
