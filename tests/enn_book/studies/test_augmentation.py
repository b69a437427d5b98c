"""The study of augmentation: what turning data means, what is measured, and what was found."""

import functools
from statistics import fmean

import pytest
import torch

from enn_book.studies.augmentation.study import (
    COLUMNS,
    MODELS,
    RATES,
    SEEDS,
    STUDY,
    Training,
    Turned,
    best_trials,
    by_length,
    make_model,
    measure,
    plain_network,
    run_one,
    three_atoms,
)
from enn_book.studies.study import Records, load
from enn_lib.argon import ARGON
from enn_lib.storage import write_csv, write_json

SMALL = {"seed": 0, "lengths": (2, 5), "sizes": (300, 50, 60)}


def test_the_data_are_relative_vectors_and_forces_of_three_atoms():
    ((x, t), (x_more, _)), unit = three_atoms((40, 10), seed=1)
    assert (len(x), len(x_more)) == (40, 10)
    assert x.std().item() == pytest.approx(1, rel=1e-5)
    assert t.std().item() == pytest.approx(1, rel=1e-5)
    torch.testing.assert_close(x[..., 0] + x[..., 2], x[..., 1])  # 1 to 2, 2 to 3, 1 to 3
    torch.testing.assert_close(t.sum(-1), torch.zeros(40, 3), atol=1e-4, rtol=0)
    assert unit == pytest.approx(0.065, rel=0.2)
    assert unit * t.abs().max() < ARGON.forces(torch.tensor([[0.0, 0, 0], [3.0, 0, 0]])).abs().max()


def test_to_train_a_turned_model_is_to_train_on_turned_data():
    model, x, t = plain_network(8, 0), torch.randn(20, 3, 3), torch.randn(20, 3, 3)
    turned = Turned(model, n_orientations=1)
    (g,) = turned.orientations
    on_turned_data = (model(g @ x) - g @ t).square().mean()
    torch.testing.assert_close((turned(x) - t).square().mean(), on_turned_data)


def test_every_sample_is_turned_anew_and_an_equivariant_model_does_not_notice():
    x = torch.randn(1, 3, 3).expand(5, 3, 3)
    plain, enn = (make_model(name, 0) for name in ("mlp-64", "enn-literal"))
    assert Turned(plain)(x).std(0).min() > 1e-3
    torch.testing.assert_close(Turned(enn)(x), enn(x), atol=1e-5, rtol=1e-4)


def test_a_constant_vector_is_broken_symmetry_alone_and_zero_breaks_none():
    """The theorem of the page: what is broken is at most the square root of two times the error."""
    ((x, t),), _ = three_atoms((50,), 0)
    c = torch.tensor([[1.0], [2.0], [3.0]])
    truth = make_model("enn-literal", 0)
    error, broken, _ = measure(lambda x: truth(x) + c, x, truth(x).detach(), n_operators=2000)
    assert broken / error == pytest.approx(2**0.5, rel=0.03)
    error, broken, size = measure(torch.zeros_like, x, t)
    assert (broken, size) == (0, 0)
    assert error == pytest.approx(1, rel=0.05)


def test_rates_are_chosen_by_validation_data(tmp_path):
    model = "mlp-64"
    for k, rate in enumerate(RATES[model]):
        rows = [(steps, rate, 1, (k - best) ** 2, -k, 1, 1) for best, steps in enumerate((10, 20, 30))]
        write_csv(tmp_path / f"{model}.{rate:g}.csv", COLUMNS, rows)
        write_json(tmp_path / f"{model}.{rate:g}.json", {})
    records = Records(tmp_path)
    assert [row["rate"] for row in best_trials(records, model)] == list(RATES[model])
    assert STUDY.plan(records, None)[f"{model}.seed-1"].rates == RATES[model]


@pytest.mark.parametrize("model", MODELS)
def test_a_small_run_leaves_a_row_for_every_length(model):
    outcome = run_one(Training(model, rates=(0.01, 0.01), **SMALL))
    (columns, rows) = outcome.tables[""]
    assert columns == COLUMNS
    assert [row[0] for row in rows] == [2, 5]
    assert all(row[-1] < 1e-5 if "enn" in model else row[-1] > 0.1 for row in rows)
    assert outcome.measured["parameters"] == {64: 8960 if "enn" in model else 9545, 128: 35465}[MODELS[model]]


@pytest.fixture(scope="module")
def found():
    """A column of the shipped study by model, length and seed."""
    return functools.partial(by_length, load("augmentation"))


def test_the_verdict_on_accuracy_holds(found):
    errors = found("test_rmsd")
    plain, small, large, literal, soft = errors.values()
    assert min(map(min, plain.values())) > 0.034
    for mlp in (small, large):
        assert min(soft[60_000]) < fmean(mlp[60_000]) < max(soft[60_000])
        assert max(mlp[60_000]) < min(literal[60_000])
        assert all(max(soft[steps]) < min(mlp[steps]) for steps in (1500, 6000, 15_000))
        assert fmean(soft[15_000]) / fmean(mlp[60_000]) == pytest.approx(1.1, abs=0.05)
        assert max(literal[1500]) < min(mlp[1500])
    assert fmean(soft[1500]) / fmean(large[6000]) == pytest.approx(1, abs=0.05)
    assert fmean(literal[6000]) / fmean(large[6000]) == pytest.approx(1, abs=0.02)
    assert {len(seeds) for lengths in errors.values() for seeds in lengths.values()} == {len(SEEDS)} == {3}


def test_the_verdict_on_symmetry_holds(found):
    relative, parts, errors = map(found, ("equivariance_error", "broken_rmsd", "test_rmsd"))
    for model in ("mlp-64", "mlp-128"):
        assert all(0.02 < value < 0.033 for value in relative[model][60_000])
        seeds = zip(
            *(table[60_000] for table in (parts[model], errors[model], errors["enn-softened"])), strict=True
        )
        for part, error, of_enn in seeds:
            assert 0.45 < (part / error) ** 2 / 2 < 0.775
            assert (error**2 - part**2 / 2) ** 0.5 < of_enn
    for model in ("enn-literal", "enn-softened"):
        assert max(map(max, relative[model].values())) < 2e-6


def test_what_the_readme_says_of_cost_holds():
    cost = [load("augmentation")[f"{model}.seed-1"]["operations"] for model in MODELS]
    assert [c / cost[1] for c in cost[2:]] == pytest.approx([3.8, 3.0, 3.0], abs=0.05)
    assert 60_000 * cost[1] / (15_000 * cost[4]) == pytest.approx(1.3, abs=0.05)
    rates = by_length(load("augmentation"), "rate")["mlp-64"].values()
    assert [seeds[0] == max(RATES["mlp-64"]) for seeds in rates] == [True, True, True, False]
