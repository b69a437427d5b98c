"""The study of second-order finishes: what is taken up, what is counted, and that it can be repeated."""

import pytest
import torch

from enn_lib.argon import generate_data
from enn_lib.choices_figures import plot_finishes
from enn_lib.finish import (
    COLUMNS,
    EPOCHS,
    FINISHES,
    STARTS,
    finish_config,
    load_finishes,
    run_finish,
    run_finishes,
)
from enn_lib.runs import load_run
from enn_lib.storage import read_csv, write_csv

every_finish = pytest.mark.parametrize("finish", FINISHES)


@every_finish
def test_a_finish_begins_at_the_weights_of_the_run(finish, small_run):
    run = load_run(small_run)
    (_, training, validation), *_ = run_finish(small_run, finish, epochs=1)
    assert training == pytest.approx(run.history["training_loss"][-1], rel=1e-5)
    assert validation == pytest.approx(run.history["validation_loss"][-1], rel=1e-5)


@every_finish
def test_a_finish_spends_the_gradients_it_was_given(finish, small_run):
    spent = [row[0] for row in run_finish(small_run, finish, epochs=5)]
    assert spent[0] == 0
    assert 5 * 120 - 50 < spent[-1] <= 5 * 120 + 120 * 30, "line searches end where they end"
    assert (spent[-1] <= 5 * 120) == (finish != "lbfgs")


def test_lbfgs_lowers_the_loss_that_it_sees(small_run):
    losses = [row[1] for row in run_finish(small_run, "lbfgs", epochs=30)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_lbfgs_computes_in_double_precision_on_the_whole_set_as_it_is_numbered(small_run):
    config = finish_config(small_run, "lbfgs")
    assert (config.dtype, config.batch_size, config.relabel) == ("float64", None, False)


@pytest.mark.parametrize("finish", [f for f in FINISHES if f != "lbfgs"])
def test_muon_goes_on_as_before_at_a_lower_rate(finish, small_run):
    before, config = load_run(small_run).config, finish_config(small_run, finish)
    assert (config.batch_size, config.relabel, config.dtype) == (50, True, before.dtype)
    assert config.optimiser == "muon"
    assert config.learning_rate < before.learning_rate


def test_an_unknown_finish_is_named():
    with pytest.raises(ValueError, match="finish: got 'lucky', wanted one of lbfgs"):
        finish_config("two-minutes", "lucky")


def test_a_study_keeps_the_tables_that_are_there(small_run, tmp_path):
    write_csv(tmp_path / "two-minutes.lbfgs.csv", COLUMNS, [(0, 2, 3)])
    run_finishes(tmp_path, ("two-minutes",), 1, compile=False, n_configurations=1000)
    assert read_csv(tmp_path / "two-minutes.lbfgs.csv")["validation_loss"] == [3]
    assert {file.stem for file in tmp_path.iterdir()} == {f"two-minutes.{finish}" for finish in FINISHES}


@pytest.mark.parametrize("start", STARTS)
def test_the_shipped_finishes_begin_at_the_shipped_weights(start):
    """The validation loss of the run, computed anew."""
    run = load_run(start)
    data = generate_data(run.config.n_configurations, run.config.data_seed)
    inputs = data.validation.inputs(data.scales, torch.float32)
    targets = data.validation.targets(data.scales, torch.float32)
    with torch.no_grad():
        wanted = (run.network(inputs) - targets).square().mean().item()
    for history in load_finishes()[start].values():
        assert history["validation_loss"][0] == pytest.approx(wanted, rel=1e-4)
        assert history["gradient_evaluations"][-1] >= EPOCHS * len(data.train)


def test_finishes_are_drawn_with_a_panel_for_each_start_and_two_curves_for_each_finish():
    history = {"gradient_evaluations": [0, 10], "training_loss": [0.2, 0.1], "validation_loss": [0.3, 0.2]}
    axes = plot_finishes({"a": {"x": history, "y": history}, "b": {"x": history}}, {"a": 1.0, "b": 1.0}).axes
    assert [len(panel.lines) for panel in axes] == [4, 2]
