"""The study of speed: that it compares like with like, counts right, and writes what the page reads."""

import math
import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from examples import biased_network, normal

from enn_book.__main__ import main
from enn_book.lectures.operations import count_operations
from enn_book.studies.speed import one_core, timing
from enn_book.studies.speed import study as speed
from enn_book.studies.speed.timing import gradients, products_per_configuration
from enn_book.studies.study import load
from enn_lib.network import PAPER_WIDTHS

SMALL = (6, 5, 7, 4)


def test_the_straightforward_network_is_the_same_function():
    network, x = biased_network(PAPER_WIDTHS), normal(20, 3, 6)
    straightforward = timing.StraightforwardENN(network)
    torch.testing.assert_close(straightforward(x), network(x), rtol=1e-11, atol=1e-13)
    straightforward.length = timing.norm_by_hand
    torch.testing.assert_close(straightforward(x), network(x), rtol=1e-11, atol=1e-13)


def test_every_way_to_multiply_gives_the_layer_and_its_gradients():
    layer, x = biased_network(SMALL).layers[1], normal(20, 3, 5).requires_grad_()

    def value_and_gradients(forward):
        value = forward(x)
        return value, *torch.autograd.grad(value.sin().sum(), [x, layer.stacked])

    wanted = value_and_gradients(layer)
    for way in (one_core._columns, one_core._by_numpy()):
        got = value_and_gradients(lambda x, way=way: way(layer, x))
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_products_of_torch_and_numpy_are_the_same(dtype, monkeypatch):
    seen = {}
    for library in (torch, np):

        def multiply(a, b, *, out, matmul=library.matmul, name=library.__name__):
            matmul(a, b, out=out)
            seen.setdefault(name, []).append(torch.as_tensor(out).clone())

        watched = SimpleNamespace(matmul=multiply) if library is np else torch
        monkeypatch.setattr(torch, "matmul", multiply if library is torch else torch.matmul)
        timing.matrix_products(SMALL, 6, torch.Generator().manual_seed(0), dtype=dtype, library=watched)()
    assert len(seen["torch"]) == len(seen["numpy"]) == 8
    for a, b in zip(seen["torch"], seen["numpy"], strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


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


def test_the_quickest_turn_is_taken_on_the_clock_of_the_thread(monkeypatch):
    """A function that waits in one turn on the processor, and in every turn for others."""
    clock, calls = {"own": 0.0, "wall": 0.0}, 0
    monkeypatch.setattr(timing.time, "thread_time", lambda: clock["own"])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock["wall"])

    def function():
        nonlocal calls
        calls += 1
        clock["own"] += 2.0 if calls == 4 else 3.0
        clock["wall"] += 50.0

    assert timing.time_in_turns({"it": function}, seconds=100, is_quickest=True) == {"it": 2.0}


# The records

COLUMNS = {
    "training": speed.TRAINING_COLUMNS,
    "one_core": one_core.COLUMNS,
    "workers": speed.WORKERS_COLUMNS,
}


@pytest.fixture
def small(monkeypatch):
    """The study at tiny size."""
    settings = {"n_configurations": 100, "widths": (6, 5, 4), "compile": False}
    plan = {
        "training": speed.Gradients((3, 5), (1,), seconds=0, compiled=False, widths=SMALL, chunk_size=4),
        "one_core": speed.OneCore(5, 0, repeats=2, compiled=False),
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
    assert read["one_core"]["bits"] == [32, 32, 64, 64]
    kinds = list(zip(*(read["workers"][c] for c in ("processes", "threads", "batch")), strict=True))
    assert kinds == [(p, t, b) for p, t in ((1, 1), (1, 2), (2, 2)) for b in (30, 60)]
    for name, columns in COLUMNS.items():
        assert tuple(read[name]) == columns
    assert all(
        0 < s < math.inf for c in ("straightforward", "eager", "products") for s in read["training"][c]
    )
    assert all(0 < s < math.inf for s in read["workers"]["step"])
    assert all(0 < s < math.inf for c in ("products", "products_openblas") for s in read["one_core"][c])
    assert all(math.isnan(s) for name in ("training", "one_core") for s in read[name]["compiled"])


def test_where_the_system_does_not_say_how_busy_it_is_that_stays_unknown(small, monkeypatch, tmp_path):
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert small.repeat(tmp_path, names=["training"])["training"]["load_before"] is None


def test_the_shipped_tables_have_every_column_and_both_numbers_of_threads():
    tables = load("speed").tables()
    assert {name: tuple(table) for name, table in tables.items()} == COLUMNS
    assert set(tables["training"]["threads"]) == {1, 2}


def test_the_verdict_of_the_readme_holds():
    records = load("speed")
    training, one_core, workers = (
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

    core = {c: values[one_core["bits"] == 32] for c, values in one_core.items()}
    assert spread(core["straightforward"] / core["by_hand"]) == (3.8, 4.0)
    assert spread(core["straightforward"] / core["compiled"]) == (5.9, 5.9)
    assert spread(core["straightforward_compiled"] / core["compiled"]) == (1.04, 1.08)
    assert spread(core["products"] / core["compiled"]) == (0.83, 0.84)
    assert spread(core["registers"] / core["products"]) == (0.52, 0.53)
    double = {c: values[one_core["bits"] == 64] for c, values in one_core.items()}
    assert spread(double["registers"] / double["products"]) == (0.43, 0.46)
    for way in ("autotuned", "columns", "openblas"):
        assert abs(core[way] / core["compiled"] - 1).max() < 0.04
    assert spread(core["products"] / core["products_openblas"]) == (1.13, 1.15)
    assert spread(double["products"] / double["products_openblas"]) == (1.17, 1.24)

    *kinds, step = workers.values()
    step = dict(zip(zip(*kinds, strict=True), step, strict=True))
    longer = np.array([step[2, 2, batch] / step[1, 2, batch] for batch in (500, 4000, 60_000)])
    assert longer.round(2).tolist() == [1.10, 1.20, 1.04]

    made = records["training"]["provenance"]
    assert (made["hardware"]["cores"], made["versions"]["torch"]) == (2, "2.13.0+cpu")
    assert records["training"]["load_before"] == pytest.approx(0.16, rel=0.01)
