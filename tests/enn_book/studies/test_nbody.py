"""The study on the benchmark: what is measured, what is kept, and what the records say."""

import itertools
from dataclasses import replace
from functools import partial
from statistics import fmean
from unittest.mock import Mock

import pytest
import torch
from examples import generator

from enn_book.studies.nbody import study as nbody
from enn_book.studies.nbody.data import N_TRAIN, Systems
from enn_book.studies.nbody.models import MODELS
from enn_book.studies.nbody.study import (
    COMPARISON,
    CONTINUED,
    FORMS,
    LONGER,
    SECONDS,
    STUDY,
    TRIALS,
    forms,
    load_model,
    predictions,
    run_model,
    teachers,
)
from enn_book.studies.study import STUDIES, Outcome, load
from enn_book.studies.timed import TimedConfig, ahead, errors, mean_error

few = partial(TimedConfig, n_train=100)


@pytest.fixture
def small_data(monkeypatch):
    """The systems of the tests, from a law that is quickly integrated: nothing acts."""

    def systems(split):
        count = {"train": N_TRAIN, "validation": 50, "test": 60, "unused": 40}[split]
        source = generator(len(split))
        x, v = torch.randn(2, count, 5, 3, generator=source)
        q = torch.randint(2, (count, 5), generator=source) * 2.0 - 1
        return Systems(x, v, q, x + 0.8 * v)

    monkeypatch.setattr(nbody, "float_systems", systems)
    return systems


# A run


def test_the_error_is_the_mean_over_systems_particles_and_components():
    def still(positions, velocities, charges):
        return positions

    x, targets = torch.zeros(2, 3, 5, 3)
    targets[0, 2, 1] = 3.0
    systems = Systems(x, x, x[..., 0], targets)
    assert nbody.mean_squared_error(still, systems) == pytest.approx(9 / 45)
    each = nbody.squared_errors(predictions(still, systems, chunk=2), systems)
    torch.testing.assert_close(each, torch.tensor([9 / 15, 0, 0]))


@pytest.mark.parametrize("name", MODELS)
def test_every_model_takes_steps(name, small_data, clock):
    measured = run_model(few(name, "adamw", 0.003, 2.0, decay=0.1, average=0.998)).measured
    assert measured["steps"] == 2
    first, second = (row[-1] for row in measured["history"])
    assert first != second
    assert 0 < measured["test_error"] < 10
    assert 0 < measured["unused_error"] < 10
    assert max(measured["equivariance_error"].values()) < 1e-10


def test_a_run_has_learned_and_keeps_its_best(small_data, tmp_path):
    study = replace(STUDY, plan=lambda records, length: {"one": few("egnn", "adam", 0.003, 1.0)})
    record = study.repeat(tmp_path)["one"]
    history = [row[-1] for row in record["history"]]
    assert record["seconds"] >= 1.0
    assert record["validation_error"] == min(history) < history[0]
    error = nbody.mean_squared_error(load_model(record), small_data("validation"))
    assert error == pytest.approx(record["validation_error"])


def test_gradients_are_shortened_and_batches_have_a_hundred_systems(small_data, monkeypatch):
    train = Mock(return_value=(None, {}))
    monkeypatch.setattr(nbody, "train_for", train)
    run_model(few("egnn", "adam", 0.003, 1.0))
    told = train.call_args.kwargs
    assert (told["batch_size"], told["longest"], len(told["checks"])) == (100, 1.0, 10)


def test_a_run_that_diverges_at_once_says_so(small_data):
    measured = run_model(few("egnn", "adam", 1e30, 60.0)).measured
    assert [measured[f"{part}_error"] for part in ("validation", "test", "unused")] == [None] * 3


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n_train": 3001}, "seconds, n_train: got 1.0, 3001"), ({"model": "gnn"}, "model: got 'gnn'")],
)
def test_a_bad_setting_is_named(change, message, small_data):
    with pytest.raises(ValueError, match=message):
        run_model(replace(few("egnn", "adam", 0.01, 1.0), **change))


# The study


def test_forms_are_tried_before_rates_and_all_with_all_data():
    planned = [config for config in STUDY.plan({}, 10.0).values() if config.model not in CONTINUED.models]
    assert [config.model for config in planned[: len(FORMS)]] == list(FORMS)
    rates = planned[len(FORMS) :]
    assert len(rates) == len(COMPARISON.models) * len(TRIALS) + 1
    assert {(config.seconds, config.n_train, config.seed) for config in rates} == {(1.25, N_TRAIN, 0)}
    *ours, egnn = planned
    assert {(config.decay, config.average) for config in ours} == {(nbody.DECAY, nbody.AVERAGE)}
    assert (egnn.model, egnn.optimiser, egnn.decay, egnn.average) == ("egnn", "soap", 0.0, nbody.AVERAGE)


@pytest.mark.parametrize("model", CONTINUED.models)
def test_the_rate_of_a_network_that_goes_on_is_tried_for_as_long_as_its_teachers_learned(model):
    tried = [config for config in STUDY.plan({}, 10.0).values() if config.model == model]
    assert [(config.rate, config.seconds, config.seed) for config in tried] == [
        (rate, 10.0, 0) for _, rate in TRIALS
    ]


@pytest.mark.parametrize("name", CONTINUED.models)
def test_a_network_that_goes_on_begins_as_the_teacher_of_its_seed(name, small_data, monkeypatch):
    """What the two kinds learn is all in which they differ."""
    train = Mock(return_value=(None, {}))
    monkeypatch.setattr(nbody, "train_for", train)
    run_model(replace(few(name, "adamw", 0.01, 1.0), seed=3))
    _, model, (x, v, q, targets), *_ = train.call_args.args
    mine = teachers()[3].state_dict()
    torch.testing.assert_close(model.state_dict(), mine, rtol=0, atol=0)
    with torch.no_grad():
        mean = sum(teacher(x[:9], v[:9], q[:9]) for teacher in teachers()) / 5
    data = small_data("train").targets[:9]
    torch.testing.assert_close(targets[:9], mean if name == "enn-taught" else data)


def test_the_weights_of_trials_go_when_the_choice_is_made(tmp_path):
    def run(config):
        return Outcome({"validation_error": config.rate}, weights={"w": torch.ones(1)})

    study = replace(STUDY, run=run)
    *trials, _ = [config.name for config in COMPARISON.tried("enn", 10.0)]
    study.repeat(tmp_path, length=10.0, names=trials)
    assert {file.stem for file in tmp_path.glob("*.safetensors")} == set(trials)
    records = study.repeat(tmp_path, length=10.0)
    kept = {file.stem for file in tmp_path.glob("*.safetensors")}
    counts = {model: 20.0 if model in CONTINUED.models else 10.0 for model in MODELS}
    assert kept == {
        name for name, record in records.items() if record.config["seconds"] == counts[record.config["model"]]
    }
    assert len(kept) == sum(
        len(comparison.seeds) * len(comparison.models) + sum(map(len, comparison.more.values()))
        for comparison in (COMPARISON, CONTINUED)
    )


def test_the_unused_draws_begin_after_the_training_part(monkeypatch):
    def drawn(split, count):
        x = torch.arange(float(count)).view(-1, 1, 1)
        return Systems(x, x, x, x)

    monkeypatch.setattr(nbody, "generate_systems", drawn)
    nbody.float_systems.cache_clear()
    unused = nbody.float_systems("unused")
    nbody.float_systems.cache_clear()
    assert (len(unused), unused.positions[0].item()) == (7_000, 3_000)


# The records


@pytest.fixture(scope="module")
def runs():
    records = load("nbody")
    found = COMPARISON.runs(records, SECONDS) | CONTINUED.runs(records, LONGER * SECONDS)
    return {model: sizes[N_TRAIN] for model, sizes in found.items()}


def of(runs, part="test"):
    """The errors of every model, one a seed."""
    return {model: errors(found, f"{part}_error") for model, found in runs.items()}


@pytest.mark.parametrize("model", [*COMPARISON.models, *CONTINUED.models])
def test_a_trained_model_has_the_error_of_its_record(runs, model):
    """Every seed, on the test part that comes with the book."""
    test = nbody.float_systems("test")
    for record in runs[model]:
        error = nbody.mean_squared_error(load_model(record), test)
        assert error == pytest.approx(record["test_error"], rel=0.01)


def test_every_model_has_its_seeds(runs):
    for model, records in runs.items():
        comparison = CONTINUED if model in CONTINUED.models else COMPARISON
        wanted = [*comparison.seeds, *comparison.more.get(model, ())]
        assert [record.config["seed"] for record in records] == wanted


def test_what_was_kept_is_the_best_on_validation_and_had_its_time(runs):
    for record in itertools.chain(*runs.values()):
        assert record["validation_error"] == min(row[-1] for row in record["history"])
        wanted = LONGER * SECONDS if record.config["model"] in CONTINUED.models else SECONDS
        assert wanted <= record["seconds"] < wanted + 1.5


def test_the_form_of_the_law_was_the_best_on_validation():
    records = load("nbody")
    tried = {config.model: records[name]["validation_error"] for name, config in forms(SECONDS).items()}
    assert min(tried, key=tried.get) == "enn"


def test_the_published_figures_are_in_the_order_of_their_table():
    assert list(nbody.PUBLISHED.values()) == sorted(nbody.PUBLISHED.values(), reverse=True)


def test_the_readme_has_the_errors_of_the_records(runs):
    text = (STUDIES / "nbody" / "README.md").read_text(encoding="utf-8")
    for model, records in runs.items():
        row = f"| `{model}` | {records[0]['parameters']:,} "
        for part in ("test", "unused"):
            found = errors(records, f"{part}_error")
            row += f"| {fmean(found):.4f} ({min(found):.4f} to {max(found):.4f}) "
        assert row in text


def test_the_verdict_of_the_readme_holds(runs):
    assert max(errors(runs["enn"], "test_error")) < min(nbody.LATER.values()) == 0.0035
    assert mean_error(runs["enn"], "test_error") > 0.0031, "the goal was missed without teachers"
    assert mean_error(runs["enn-taught"], "test_error") < 0.0031, "and reached with them"
    assert ahead(runs["enn-taught"], runs["enn"], "test_error")
    assert ahead(runs["enn-taught"], runs["enn"], "unused_error")
    for part in ("test", "unused"):
        assert ahead(runs["enn-taught"], runs["enn-longer"], f"{part}_error"), "by the averages"
        assert ahead(runs["enn-longer"], runs["enn"], f"{part}_error") is None, "not by the time"
    assert ahead(runs["enn-own"], runs["enn-still"], "test_error")
    assert mean_error(runs["egnn-steps"], "test_error") < 0.9 * mean_error(runs["egnn"], "test_error")
    assert mean_error(runs["egnn"], "test_error") == pytest.approx(nbody.PUBLISHED["EGNN"], rel=0.1)
    assert ahead(runs["enn"], runs["egnn-steps"], "test_error")
    assert ahead(runs["enn"], runs["enn-own"], "test_error") is None
    assert ahead(runs["enn"], runs["enn-own"], "unused_error")


def test_what_the_readme_says_did_not_work_did_not():
    lost = [name for name, record in load("nbody").items() if record["test_error"] is None]
    assert lost == ["egnn.adamw.0.03.0.1.20s.3000.0"]
