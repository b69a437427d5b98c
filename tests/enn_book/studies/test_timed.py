"""A training for a given time, the choice of its optimiser, and the verdict over seeds."""

import itertools
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from enn_book.studies.study import Outcome, Records, Study
from enn_book.studies.timed import Comparison, TimedConfig, ahead, errors, mean_error, ratio, shown, train_for

# The loop, on the problem of a line

X = torch.linspace(-1, 1, 10).unsqueeze(-1)
Y = 2 * X + 1


def line():
    torch.manual_seed(0)
    return nn.Linear(1, 1)


CONFIG = TimedConfig("line", "adam", rate=0.1, seconds=4.0, n_train=10)


def train(error=None, *, model=None, seen=None, checks=(0.5, 1.0), batch_size=5, longest=math.inf, **change):
    """Train a line; `seen` collects the weights before each step and the batch."""
    model, seen = model or line(), [] if seen is None else seen

    def loss(x, y, generator):
        seen.append((model.weight.item(), x.flatten().tolist()))
        return (model(x) - y).square().mean()

    error = error or (lambda: (model(X) - Y).square().mean().item())
    options = {"batch_size": batch_size, "checks": checks, "longest": longest}
    return train_for(replace(CONFIG, **change), model, (X, Y), loss, error, **options)


def test_a_run_ends_when_its_time_is_over_and_has_learned():
    least, measured = train(seconds=0.3)
    assert 0.3 <= measured["seconds"] < 1
    assert measured["parameters"] == 2
    assert least < 1e-3


def test_the_error_is_checked_after_the_given_shares_of_the_time(clock):
    _, measured = train(seconds=20.0, checks=(0.1, 0.5, 1.0))
    assert [row[:2] for row in measured["history"]] == [[2, 2], [10, 10], [20, 20]]
    assert (measured["steps"], measured["epochs"]) == (20, 10)


def test_shares_that_one_step_passes_are_checked_once(clock):
    _, measured = train(seconds=2.0, checks=(0.1, 0.2, 0.5, 1.0))
    assert [row[1] for row in measured["history"]] == [1, 2]


def test_the_rate_follows_the_time_down_along_a_cosine(clock, monkeypatch):
    rates = []
    step = torch.optim.Adam.step
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self: (rates.append(self.param_groups[0]["lr"]), step(self))
    )
    train(seconds=4.0, rate=0.2)
    assert rates == pytest.approx([0.1 * (1 + math.cos(math.pi * k / 4)) for k in range(4)])


def test_the_weights_of_the_least_validation_error_are_kept(clock):
    model, seen, scripted = line(), [], [0.3, 0.1, 0.2, 0.4]
    error = iter(scripted).__next__
    least, measured = train(error, model=model, seen=seen, checks=(0.25, 0.5, 0.75, 1.0))
    assert [row[-1] for row in measured["history"]] == scripted
    assert (least, measured["best_step"]) == (0.1, 2)
    assert model.weight.item() == seen[2][0], "as before the third step"


def test_a_run_that_diverges_ends_and_says_so(clock):
    least, measured = train(rate=1e30, seconds=100.0)
    assert least is None
    assert measured["steps"] < 10


def test_a_run_whose_validation_error_is_no_number_says_so(clock):
    least, measured = train(lambda: math.nan)
    assert (least, measured["history"], measured["best_step"]) == (None, [], 0)


def test_a_run_sees_the_first_samples_in_a_new_order_each_epoch_that_its_seed_decides(clock):
    def epochs(seed):
        seen = []
        train(seen=seen, n_train=6, batch_size=3, seed=seed)
        first, second, third, fourth = (batch for _, batch in seen)
        return first + second, third + fourth

    for one, other in map(epochs, (0, 1)):
        assert sorted(one) == sorted(other) == X[:6].flatten().tolist()
        assert one != other
    assert epochs(0) == epochs(0) != epochs(1)


def test_a_batch_is_the_whole_if_there_is_no_more(clock):
    seen = []
    train(seen=seen, n_train=4, batch_size=100)
    assert [len(batch) for _, batch in seen] == [4] * 4


def test_a_gradient_is_shortened_to_the_norm_that_is_given(clock, monkeypatch):
    norms = []
    step = torch.optim.Adam.step

    def watched(self):
        norms.append(torch.cat([p.grad.flatten() for p in self.param_groups[0]["params"]]).norm().item())
        step(self)

    monkeypatch.setattr(torch.optim.Adam, "step", watched)
    train(longest=0.5)
    train()
    assert max(norms[:4]) == pytest.approx(0.5, rel=1e-4)
    assert norms[4] > 0.6


def test_what_is_validated_and_kept_is_the_moving_average(clock):
    model, seen, held = line(), [], []

    def error():
        held.append(model.weight.item())
        return -len(held)

    train(error, model=model, seen=seen, checks=(0.25, 0.5, 0.75, 1.0), average=0.2, seconds=4.0)
    weights, wanted = [weight for weight, _ in seen], []
    mean = weights[0]
    for step, weight in enumerate(weights[1:], start=1):
        share = min(0.2, step / (step + 9))
        mean = share * mean + (1 - share) * weight
        wanted.append(mean)
    assert held[:3] == pytest.approx(wanted)
    assert held[:3] != pytest.approx(weights[1:])
    assert model.weight.item() == held[3]


def test_weights_decay_with_adamw(clock):
    model = nn.Linear(1, 1)
    start = model.weight.item()

    def loss(x, y, generator):
        return 0 * model.weight.sum()

    options = {"batch_size": 5, "checks": (1.0,)}
    config = replace(CONFIG, optimiser="adamw", decay=0.3, seconds=1.0)
    train_for(config, model, (X, Y), loss, lambda: 1.0, **options)
    assert model.weight.item() == pytest.approx(start * (1 - 0.1 * 0.3))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": 0.0}, "seconds, n_train: got 0.0, 10, wanted a positive time and 1 to 10"),
        ({"n_train": 11}, "seconds, n_train: got 4.0, 11"),
        ({"n_train": 0}, "seconds, n_train: got 4.0, 0"),
        ({"optimiser": "sgd"}, "optimiser: got 'sgd'"),
    ],
)
def test_a_bad_setting_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        train(**change)


def test_a_configuration_names_its_record_apart():
    values = itertools.product("ab", ("adam", "soap"), (0.01, 0.1), (2.0, 2.5), (10, 100), (0, 1))
    assert len({TimedConfig(*each).name for each in values}) == 2**6
    assert TimedConfig("a", "adamw", 0.01, 2.0, 10, decay=0.1).name == "a.adamw.0.01.0.1.2s.10.0"


# The choice of the optimiser


TRIALS = (("adam", 0.1), ("soap", 0.01), ("soap", 0.1))
COMPARISON = Comparison(
    ("cat", "dog"), TRIALS, partial(TimedConfig, n_train=60), share=0.5, seeds=(0, 1), fewer={"dog": (10, 20)}
)


def measure(config):
    """The last trial is the best on validation and the worst on test."""
    order = TRIALS.index((config.optimiser, config.rate))
    return Outcome({"validation_rmsd": 0.9 - order / 10, "test_rmsd": 0.1 + order / 10 + config.seed})


def repeat(folder, run=measure, **change):
    return Study("?", COMPARISON.plan, run, length=8.0).repeat(folder, **change)


def test_every_model_has_a_trial_before_one_has_another():
    planned = COMPARISON.plan({}, 8.0).values()
    assert [config.model for config in planned] == ["cat", "dog"] * 3
    assert {(config.seconds, config.n_train, config.seed) for config in planned} == {(4.0, 60, 0)}


def test_the_best_on_validation_is_run_on_all_seeds_and_then_with_fewer_samples(tmp_path):
    done = []
    records = repeat(tmp_path, lambda config: (done.append(config), measure(config))[1])
    later = done[6:]
    assert {(config.optimiser, config.rate, config.seconds) for config in later} == {("soap", 0.1, 8.0)}
    whole = [(model, 60, seed) for seed in (0, 1) for model in ("cat", "dog")]
    fewer = [("dog", n, seed) for seed in (0, 1) for n in (10, 20)]
    assert [(config.model, config.n_train, config.seed) for config in later] == whole + fewer
    assert len(records) == len(done)


def test_runs_that_count_are_sorted_by_model_size_and_seed(tmp_path):
    found = COMPARISON.runs(repeat(tmp_path), 8.0)
    assert {model: list(sizes) for model, sizes in found.items()} == {"cat": [60], "dog": [10, 20, 60]}
    assert [record.config["seed"] for record in found["dog"][20]] == [0, 1]
    assert {record.config["seconds"] for record in found["cat"][60]} == {8.0}


def test_a_model_may_have_further_seeds(tmp_path):
    further = replace(COMPARISON, more={"cat": (7,)})
    records = Study("?", further.plan, measure, length=8.0).repeat(tmp_path)
    found = further.runs(records, 8.0)
    assert [record.config["seed"] for record in found["cat"][60]] == [0, 1, 7]
    assert [record.config["seed"] for record in found["dog"][60]] == [0, 1]


def test_a_model_may_have_a_further_trial(tmp_path):
    further = replace(COMPARISON, further={"cat": (("adam", 0.5),)})
    planned = further.plan({}, 8.0).values()
    assert [config.model for config in planned] == ["cat", "dog"] * 3 + ["cat"]

    def run(config):
        return Outcome({"validation_rmsd": 0.1, "test_rmsd": 0.1}) if config.rate == 0.5 else measure(config)

    records = Study("?", further.plan, run, length=8.0).repeat(tmp_path)
    assert [further.chosen(records, model, 8.0).rate for model in ("cat", "dog")] == [0.5, 0.1]


def test_a_trial_that_diverged_is_not_chosen_and_all_have_to_be_there(tmp_path):
    trials = [config.name for config in COMPARISON.tried("cat", 8.0)]
    records = dict(repeat(tmp_path, names=trials))
    assert COMPARISON.chosen(records, "cat", 8.0) == TimedConfig("cat", "soap", 0.1, 8.0, 60)
    assert COMPARISON.chosen(records, "cat", 16.0) is None
    assert COMPARISON.chosen(records, "dog", 8.0) is None
    records[trials[-1]].values["validation_rmsd"] = None
    assert COMPARISON.chosen(records, "cat", 8.0).rate == 0.01
    del records[trials[0]]
    assert COMPARISON.chosen(records, "cat", 8.0) is None


def test_a_seed_that_diverged_stays(tmp_path):
    def run(config):
        return Outcome({"validation_rmsd": None, "test_rmsd": None}) if config.seed else measure(config)

    found = COMPARISON.runs(repeat(tmp_path, run), 8.0)["cat"][60]
    assert [record["test_rmsd"] is None for record in found] == [False, True]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got no run of cat with 8 s, wanted one for each seed"):
        COMPARISON.runs(Records(tmp_path), 8.0)


# The verdict over seeds


def runs(*errors):
    return [{"test_rmsd": error} for error in errors]


def test_the_mean_and_the_range_are_over_all_runs():
    assert errors(runs(0.01, 0.03)) == [0.01, 0.03]
    assert mean_error(runs(0.01, 0.03)) == pytest.approx(0.02)
    assert shown(runs(0.01, 0.03, 0.02)) == "0.02 (0.01 to 0.03)"
    assert errors([{"test_error": 0.5}], "test_error") == [0.5]


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


def test_the_ratio_of_two_models_has_the_interval_of_student_s_t():
    """scipy.stats.ttest_ind of the logarithms has the same interval."""
    scipy_stats = pytest.importorskip("scipy.stats")
    mine, theirs = (0.01, 0.012, 0.009), (0.02, 0.03, 0.025)
    found = scipy_stats.ttest_ind(*[[math.log(e) for e in each] for each in (theirs, mine)])
    ends = found.confidence_interval(0.95)
    middle = (math.prod(theirs) / math.prod(mine)) ** (1 / 3)
    wanted = (middle, math.exp(ends.low), math.exp(ends.high))
    assert ratio(runs(*mine), runs(*theirs)) == pytest.approx(wanted, rel=1e-3)


@pytest.mark.parametrize("mine", [(0.1,), (0.1, None), (0.1,) * 9])
def test_one_seed_or_a_run_that_diverged_has_no_interval(mine):
    with pytest.raises(ValueError, match=f"mine, theirs: got {len(mine)} and 2 seeds"):
        ratio(runs(*mine), runs(0.1, 0.2))
