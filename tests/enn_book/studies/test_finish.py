"""The study of second-order finishes: what is taken up, what is counted, and that it can be repeated."""

import pytest

from enn_book.studies.finish.figures import plot_finishes
from enn_book.studies.finish.study import COLUMNS, FINISHES, STARTS, by_start, finish_config, run_finish
from enn_book.studies.study import load
from enn_lib.argon import generate_data
from enn_lib.runs import load_run

MUONS = [finish for finish in FINISHES if finish != "lbfgs"]

every_finish = pytest.mark.parametrize("finish", FINISHES)


@pytest.fixture
def rows_of(small_run):
    """The rows of a finish of the small run, by its name and number of passes."""
    return lambda finish, epochs: run_finish(finish_config(str(small_run), finish, epochs)).tables[""][1]


@every_finish
def test_a_finish_begins_at_the_weights_of_the_run(finish, small_run, rows_of):
    history = load_run(small_run).history
    (_, training, validation), *_ = rows_of(finish, 1)
    assert training == pytest.approx(history["training_loss"][-1], rel=1e-5)
    assert validation == pytest.approx(history["validation_loss"][-1], rel=1e-5)


@every_finish
def test_a_finish_spends_the_gradients_it_was_given(finish, rows_of):
    spent = [row[0] for row in rows_of(finish, 5)]
    assert spent[0] == 0
    assert 5 * 120 - 50 < spent[-1] <= 5 * 120 + 120 * 30, "line searches end where they end"
    assert (spent[-1] <= 5 * 120) == (finish != "lbfgs")


def test_lbfgs_ends_at_the_first_look_beyond_what_it_was_given(rows_of):
    *_, before, last = (row[0] for row in rows_of("lbfgs", 30))
    assert before < 30 * 120 <= last


def test_lbfgs_lowers_the_loss_that_it_sees(rows_of):
    losses = [row[1] for row in rows_of("lbfgs", 30)]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 0.9 * losses[0]


def test_lbfgs_computes_in_double_precision_on_the_whole_set_as_it_is_numbered(small_run):
    config = finish_config(str(small_run), "lbfgs")
    assert (config.dtype, config.batch_size, config.relabel) == ("float64", None, False)


@pytest.mark.parametrize("finish", MUONS)
def test_muon_goes_on_as_before_at_a_lower_rate(finish, small_run):
    before, config = load_run(small_run).config, finish_config(str(small_run), finish)
    assert (config.batch_size, config.relabel, config.dtype) == (50, True, before.dtype)
    assert (config.optimiser, config.lbfgs_iterations) == ("muon", None)
    assert config.learning_rate < before.learning_rate


@pytest.mark.parametrize("start", STARTS)
def test_the_shipped_finishes_begin_at_the_shipped_weights(start):
    """The validation loss of the run, computed anew."""
    run = load_run(start)
    data = generate_data(run.config.n_configurations, run.config.data_seed)
    predicted = run.network(data.validation.inputs(data.scales))
    wanted = (predicted - data.validation.targets(data.scales)).square().mean().item()
    for history in by_start(load("finish"))[start].values():
        assert tuple(history) == COLUMNS
        assert history["validation_loss"][0] == pytest.approx(wanted, rel=1e-4)
        assert history["gradient_evaluations"][-1] >= 30 * len(data.train)


def test_the_verdict_of_the_readme_holds():
    records = load("finish")
    tables = records.tables()
    training, validation = (
        {name: (table[column][-1] / table[column][0]) ** 0.5 for name, table in tables.items()}
        for column in COLUMNS[1:]
    )
    for start, lbfgs, muon in (("five-minutes", 1.007, 0.954), ("two-minutes", 1.001, 0.721)):
        assert 0.99 < training[f"{start}.lbfgs"] < 1
        assert round(validation[f"{start}.lbfgs"], 3) == lbfgs
        muons = {finish: validation[f"{start}.{finish}"] for finish in MUONS}
        assert max(muons.values()) < 1
        assert min(muons, key=muons.get) == "muon-0.002"
        assert round(muons["muon-0.002"], 3) == muon
        iterations = records[f"{start}.lbfgs"].config["lbfgs_iterations"]
        assert iterations * (len(tables[f"{start}.lbfgs"]["training_loss"]) - 1) == 25
        assert records[f"{start}.muon-0.002"].config["iterations"] == 3600
    assert tables["five-minutes.lbfgs"]["gradient_evaluations"][-1] == 31 * 60_000
    losses = tables["two-minutes.muon-0.005"]["validation_loss"]
    assert 80 < max(losses) / losses[0] < 81


def test_finishes_are_drawn_with_a_panel_for_each_start_and_two_curves_for_each_finish():
    history = {"gradient_evaluations": [0, 10], "training_loss": [0.2, 0.1], "validation_loss": [0.3, 0.2]}
    axes = plot_finishes({"a": {"x": history, "y": history}, "b": {"x": history}}, {"a": 1.0, "b": 1.0}).axes
    assert [len(panel.lines) for panel in axes] == [4, 2]
