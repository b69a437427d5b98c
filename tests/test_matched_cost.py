"""The comparison of optimisers at equal cost: what is counted, what is tuned, and that it can be repeated."""

import pytest
import torch

from enn_lib.argon import generate_data
from enn_lib.matched_cost import (
    BASE,
    COLUMNS,
    EVALUATIONS,
    N_SEEDS,
    RATES,
    SHIPPED_COSTS,
    best_rate,
    cost_config,
    load_costs,
    operations_per_evaluation,
    operations_per_step,
    run_cost,
    run_costs,
)
from enn_lib.storage import write_csv

SMALL = {"n_configurations": 100, "batch_size": 20, "compile": False}

every_optimiser = pytest.mark.parametrize("optimiser", RATES)


def write(folder, optimiser, rate, seed, validation):
    row = (1000, 1e9, 0.5, validation, 0.1)
    write_csv(folder / f"{optimiser}.{rate:g}.{seed}.csv", COLUMNS, [row])


@every_optimiser
def test_every_optimiser_lowers_the_loss_and_counts_what_it_spends(optimiser):
    rate = RATES[optimiser][-1]
    rows = run_cost(optimiser, cost_config(optimiser, rate, 0, 3000, **SMALL), 3000)
    evaluations, operations, training, *_ = zip(*rows, strict=True)
    assert 3000 <= evaluations[-1] <= 3000 + 25 * 60, "one call of L-BFGS at most over the budget"
    assert list(operations) == sorted(operations)
    assert training[-1] < 0.95 * training[0] or len(rows) == 1


@every_optimiser
def test_every_run_has_the_same_network_and_data(optimiser):
    config = cost_config(optimiser, RATES[optimiser][0], 2)
    assert (config.seed, config.data_seed) == (2, 2210)
    for name in ("n_configurations", "widths", "a", "softening", "dtype"):
        assert getattr(config, name) == getattr(BASE, name)
    assert (config.batch_size is None) == (optimiser in ("fire", "lbfgs"))


def test_an_evaluation_costs_as_many_products_as_the_layers_say():
    """Forward 2 n M_in M_out with M_in doubled by the unit vectors; backward twice that, less the input's."""
    data = generate_data(100, 0)
    inputs, targets = (
        part(data.scales, torch.float32)[:10] for part in (data.train.inputs, data.train.targets)
    )
    pairs = list(zip(BASE.widths, BASE.widths[1:], strict=False))
    forward = sum(2 * 3 * 2 * a * b for a, b in pairs)
    products = 3 * forward - 2 * 3 * 2 * pairs[0][0] * pairs[0][1]
    assert products < operations_per_evaluation(BASE, inputs, targets) < 1.2 * products


def test_the_optimisers_that_multiply_matrices_cost_most_a_step():
    cost = {o: operations_per_step(o, cost_config(o, RATES[o][0], 0, **SMALL), 12) for o in RATES}
    assert min(cost["muon"], cost["soap"]) > 20 * cost["adam"] > 0


def test_the_best_rate_is_that_of_the_lowest_last_validation_loss(tmp_path):
    for rate, validation in zip(RATES["adam"], (0.3, 0.1, 0.2, 0.4, 0.5), strict=True):
        write(tmp_path, "adam", rate, 0, validation)
    assert best_rate(tmp_path, "adam") == RATES["adam"][1]


def test_a_run_that_diverged_is_never_the_best(tmp_path):
    write(tmp_path, "adam", RATES["adam"][0], 0, 0.3)
    write_csv(tmp_path / f"adam.{RATES['adam'][1]:g}.0.csv", COLUMNS, [])
    assert best_rate(tmp_path, "adam") == RATES["adam"][0]


def test_an_optimiser_without_histories_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="got no history of muon"):
        best_rate(tmp_path, "muon")


def test_an_unknown_optimiser_is_refused():
    with pytest.raises(ValueError, match="optimiser: got 'sgd', wanted one of fire, adam"):
        cost_config("sgd", 0.1, 0)


def test_a_study_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    done = []

    def one_row(optimiser, config, evaluations):
        done.append((optimiser, config.seed))
        return [(1, 1, 1, 1, 1)]

    monkeypatch.setattr("enn_lib.matched_cost.run_cost", one_row)
    run_costs(tmp_path)
    assert len(done) == sum(map(len, RATES.values())) + (N_SEEDS - 1) * len(RATES)
    done.clear()
    (tmp_path / f"adam.{best_rate(tmp_path, 'adam'):g}.2.csv").unlink()
    run_costs(tmp_path)
    assert done == [("adam", 2)]


# The shipped study


@pytest.fixture(scope="module")
def costs():
    return load_costs()


def test_the_shipped_study_has_every_seed_of_every_optimiser_at_the_same_cost(costs):
    for optimiser, seeds in costs.items():
        assert set(seeds) == set(range(N_SEEDS)), optimiser
        for history in seeds.values():
            assert EVALUATIONS <= history["gradient_evaluations"][-1] < 1.06 * EVALUATIONS
    assert sum(file.stat().st_size for file in SHIPPED_COSTS.iterdir()) < 1_000_000


@pytest.mark.parametrize("optimiser", ["adam", "fire"])
def test_the_first_rows_of_the_shipped_study_come_out_again(optimiser, costs):
    """As far as float32 goes: the shipped ones were compiled, this is not. The schedule
    knows its end, so the whole run is configured and the first steps are made."""
    config = cost_config(optimiser, best_rate(SHIPPED_COSTS, optimiser), 0, compile=False)
    evaluations = 5 * (config.batch_size or 6000)
    rows = run_cost(optimiser, config, evaluations)
    for k, column in enumerate(COLUMNS):
        again = [row[k] for row in rows]
        assert costs[optimiser][0][column][: len(again)] == pytest.approx(again, rel=2e-3), column
