"""The study of speed: that it compares like with like, counts right, and writes what the page reads."""

import math
import os
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from examples import biased_network, normal

from enn_book.__main__ import main
from enn_book.lectures.operations import count_operations
from enn_book.studies.speed import study as speed
from enn_book.studies.speed import timing
from enn_book.studies.speed.figures import plot_training_rates
from enn_book.studies.speed.study import training_seconds
from enn_book.studies.speed.timing import gradients, products_per_configuration
from enn_book.studies.study import load
from enn_lib.network import PAPER_WIDTHS

SMALL = (6, 5, 7, 4)


def test_the_straightforward_network_is_the_same_function():
    network, x = biased_network(PAPER_WIDTHS), normal(20, 3, 6)
    torch.testing.assert_close(timing.StraightforwardENN(network)(x), network(x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("widths", [PAPER_WIDTHS, SMALL])
@pytest.mark.parametrize("variant", ["eager", "products"])
def test_the_formula_counts_the_products_of_a_gradient(widths, variant):
    """Counted by torch's own counter, in chunks, the last of them smaller."""
    step = gradients(10, widths=widths, chunk_size=4, variants=[variant])[variant]
    assert count_operations(step).products == 10 * products_per_configuration(widths)


def test_the_straightforward_network_takes_as_many_products_and_the_ceiling_nothing_else():
    """Two products of half the size are one."""
    steps = gradients(5, variants=["straightforward", "eager", "products"])
    counts = {name: count_operations(step) for name, step in steps.items()}
    assert counts["straightforward"].products == counts["eager"].products
    assert counts["products"].elementwise == 0


@pytest.mark.parametrize(
    "wrong", [{"batch": 0}, {"chunk_size": 0}, {"variants": ["fast"]}], ids=["batch", "chunk", "variant"]
)
def test_what_cannot_be_compared_is_refused(wrong):
    with pytest.raises(ValueError, match="wanted positive numbers and some of straightforward, eager"):
        gradients(**{"batch": 5, **wrong})


def test_the_median_of_the_turns_is_taken_and_every_function_has_as_many(monkeypatch):
    """With a clock that only the functions move: one of them is held up once."""
    clock = 0.0
    calls = {"steady": 0, "disturbed": 0}
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock)

    def function(name, seconds):
        def run():
            nonlocal clock
            calls[name] += 1
            clock += seconds + (100 if name == "disturbed" and calls[name] == 5 else 0)

        return run

    functions = {"steady": function("steady", 2.0), "disturbed": function("disturbed", 3.0)}
    assert timing.time_in_turns(functions, seconds=10, rounds=5) == {"steady": 2.0, "disturbed": 3.0}
    assert calls["steady"] == calls["disturbed"] == 2 + 5


# The records

COLUMNS = {
    "training": speed.TRAINING_COLUMNS,
    "dynamics": speed.DYNAMICS_COLUMNS,
    "workers": speed.WORKERS_COLUMNS,
}


@pytest.fixture
def small(monkeypatch):
    """The study at tiny size."""
    settings = {"n_configurations": 100, "widths": (6, 5, 4), "compile": False}
    plan = {
        "training": speed.Gradients((3, 5), (1,), seconds=0, compiled=False, widths=SMALL, chunk_size=4),
        "dynamics": speed.Dynamics((1, 2), (1,), seconds=0),
        "workers": speed.Processes((30, 0), (2, 1), settings),
    }
    study = replace(speed.STUDY, plan=lambda records, length: plan)
    monkeypatch.setattr(speed, "STUDY", study)
    return study


@pytest.mark.skipif(sys.platform == "win32", reason="torchrun asks for libuv, which torch there is without")
def test_the_command_measures_anew_over_what_is_there_and_touches_nothing_else(small, tmp_path, capsys):
    for name in ("training", "other"):
        (tmp_path / f"{name}.json").write_text('{"load_before": -1}', encoding="utf-8")
    assert main(["benchmark", "--out", str(tmp_path)]) == 0
    records = load("speed", tmp_path)
    assert records["training"]["load_before"] >= 0
    assert records["other"]["load_before"] == -1
    read = {name: records[name].table() for name in COLUMNS}
    assert read["training"]["batch"] == [3, 5]
    assert read["dynamics"]["samples"] == [1, 2]
    kinds = list(zip(*(read["workers"][c] for c in ("processes", "threads", "batch")), strict=True))
    assert kinds == [(p, t, b) for p, t in ((1, 1), (1, 2), (2, 2)) for b in (30, 60)]
    for name, columns in COLUMNS.items():
        assert tuple(read[name]) == columns
        assert all(0 < s < math.inf for c in columns[2:] for s in read[name][c] if c != "compiled")
    assert all(math.isnan(s) for s in read["training"]["compiled"])


def test_where_the_system_does_not_say_how_busy_it_is_that_stays_unknown(small, monkeypatch, tmp_path):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert small.repeat(tmp_path, names=["training"])["training"]["load_before"] is None


def test_the_shipped_tables_have_every_column_and_both_numbers_of_threads():
    tables = load("speed").tables()
    assert {name: tuple(table) for name, table in tables.items()} == COLUMNS
    assert set(tables["training"]["threads"]) == {1, 2}


def test_the_verdict_of_the_readme_holds():
    records = load("speed")
    training, dynamics, workers = (
        {column: np.array(values) for column, values in records[name].table().items()} for name in COLUMNS
    )

    def spread(values):
        return pytest.approx((values.min(), values.max()), rel=0.03)

    one, two = ({c: values[training["threads"] == n] for c, values in training.items()} for n in (1, 2))
    assert spread(one["straightforward"] / one["compiled"]) == (8.0, 8.5)
    assert spread(one["products"] / one["compiled"]) == (0.59, 0.70)
    assert spread(two["straightforward"] / two["compiled"]) == (21, 28)
    assert spread(one["compiled"] / two["compiled"]) == (1.5, 1.9)
    assert spread(one["straightforward"] / two["straightforward"]) == (1 / 1.8, 1 / 1.7)

    samples = dynamics["samples"]
    gains = samples * dynamics["ase"] / dynamics["network"]
    assert gains[samples == 1].tolist() == pytest.approx([0.9] * 2, rel=0.02)
    assert gains[samples == 10].tolist() == pytest.approx([6.4] * 2, rel=0.01)
    assert gains[samples >= 1000].min() == pytest.approx(6.8, rel=0.01)
    assert spread(dynamics["network"] / dynamics["analytic"]) == (7.4, 112)

    *kinds, step = workers.values()
    step = dict(zip(zip(*kinds, strict=True), step, strict=True))
    assert all(step[1, 2, batch] < step[2, 2, batch] for batch in workers["batch"])

    made = records["training"]["provenance"]
    assert (made["hardware"]["cores"], made["versions"]["torch"]) == (2, "2.13.0+cpu")
    assert records["training"]["load_before"] == pytest.approx(0.16, rel=0.01)


# The model of the cost


def test_a_training_takes_operations_over_rate_and_a_message_a_step_if_it_is_shared():
    assert training_seconds(10, 100, 5e6, 1e9) == pytest.approx(10 * 0.5)
    assert training_seconds(10, 100, 5e6, 1e9, message=3.0) == pytest.approx(10 * 0.5)
    assert training_seconds(10, 100, 5e6, 1e9, processors=2, message=3.0) == pytest.approx(10 * 3.25)


@pytest.mark.parametrize(
    ("arguments", "options"), [((0, 1, 1, 1), {}), ((1, 1, 1, -1), {}), ((1, 1, 1, 1), {"message": -1})]
)
def test_what_takes_no_time_is_refused(arguments, options):
    with pytest.raises(ValueError, match="wanted positive numbers"):
        training_seconds(*arguments, **options)


def test_every_rate_lies_within_its_panel():
    columns = {"threads": [1, 2], "batch": [500, 500], "straightforward": [9e-5, 9e-5]}
    columns |= {"eager": [3e-5, 2e-5], "compiled": [1e-5, 5e-6], "products": [8e-6, 4e-6]}
    for panel in plot_training_rates(columns).axes:
        low, high = panel.get_ylim()
        assert low == 0
        assert all(max(line.get_ydata()) < high for line in panel.lines)
