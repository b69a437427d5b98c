"""The benchmarks: that they compare like with like, count right, and write what the page reads."""

import math

import pytest
import torch

from enn_lib.__main__ import main
from enn_lib.benchmark import (
    VARIANTS,
    StraightforwardENN,
    gradients,
    matrix_products,
    products_per_configuration,
    time_in_turns,
)
from enn_lib.benchmark_study import (
    DYNAMICS_COLUMNS,
    SHIPPED_SPEED,
    TRAINING_COLUMNS,
    WORKERS_COLUMNS,
    load_speed,
    measure_dynamics,
    measure_training,
    measure_workers,
    run_benchmarks,
    training_seconds,
)
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.operations import count_operations
from enn_lib.speed_figures import plot_training_rates
from enn_lib.storage import read_csv, read_json

UNCOMPILED = tuple(name for name in VARIANTS if name != "compiled")
SMALL = (6, 5, 7, 4)


def test_the_straightforward_network_is_the_same_function():
    network = ENN(PAPER_WIDTHS, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in network.layers:
            layer.bias.normal_(generator=torch.Generator().manual_seed(1))
    x = torch.randn(20, 3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(StraightforwardENN(network)(x), network(x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("widths", [PAPER_WIDTHS, SMALL])
@pytest.mark.parametrize("variant", ["eager", "products"])
def test_the_formula_counts_the_products_of_a_gradient(widths, variant):
    """Counted by torch's own counter, in chunks, the last of them smaller."""
    step = gradients(10, widths=widths, chunk_size=4, variants=[variant])[variant]
    assert count_operations(step).products == 10 * products_per_configuration(widths)


def test_the_straightforward_network_takes_as_many_products_and_the_ceiling_nothing_else():
    """Two products of half the size are one."""
    counts = {name: count_operations(step) for name, step in gradients(5, variants=UNCOMPILED).items()}
    assert counts["straightforward"].products == counts["eager"].products
    assert counts["products"].elementwise == 0


def test_the_ceiling_is_without_other_work():
    multiply = matrix_products(SMALL, 6, torch.Generator().manual_seed(0))
    assert count_operations(multiply).total == 2 * products_per_configuration(SMALL)


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
    monkeypatch.setattr("enn_lib.benchmark.time.perf_counter", lambda: clock)

    def function(name, seconds):
        def run():
            nonlocal clock
            calls[name] += 1
            clock += seconds + (100 if name == "disturbed" and calls[name] == 5 else 0)

        return run

    functions = {"steady": function("steady", 2.0), "disturbed": function("disturbed", 3.0)}
    assert time_in_turns(functions, seconds=10, rounds=5) == {"steady": 2.0, "disturbed": 3.0}
    assert calls["steady"] == calls["disturbed"] == 2 + 5


# The tables


@pytest.fixture(scope="module")
def tables():
    """The three tables at tiny size: their columns, and how to measure them."""
    return {
        "training": (
            TRAINING_COLUMNS,
            lambda: measure_training((3, 5), (1,), seconds=0, widths=SMALL, chunk_size=4, compiled=False),
        ),
        "dynamics": (DYNAMICS_COLUMNS, lambda: measure_dynamics((1, 2), (1,), seconds=0)),
        "workers": (
            WORKERS_COLUMNS,
            lambda: measure_workers(
                {30: 2, 0: 1}, rounds=1, n_configurations=100, widths=(6, 5, 4), compile=False
            ),
        ),
    }


def test_the_command_writes_the_tables_that_the_page_reads(tables, tmp_path, monkeypatch):
    monkeypatch.setattr("enn_lib.__main__.run_benchmarks", lambda folder: run_benchmarks(folder, tables))
    assert main(["benchmark", "--out", str(tmp_path / "speed")]) == 0
    machine, read = load_speed(tmp_path / "speed")
    assert machine["hardware"]["cores"] >= 1
    assert machine["load_before"] >= 0
    assert read["training"]["batch"] == [3, 5]
    assert read["dynamics"]["samples"] == [1, 2]
    kinds = list(zip(*(read["workers"][c] for c in ("processes", "threads", "batch")), strict=True))
    assert kinds == [(p, t, b) for p, t in ((1, 1), (1, 2), (2, 2)) for b in (30, 60)]
    for name, (columns, _) in tables.items():
        assert tuple(read[name]) == columns
        assert all(0 < s < math.inf for c in columns[2:] for s in read[name][c] if c != "compiled")
    assert all(math.isnan(s) for s in read["training"]["compiled"])


def test_the_shipped_tables_have_every_column_and_the_machine():
    machine, read = load_speed()
    assert {name: tuple(table) for name, table in read.items()} == {
        "training": TRAINING_COLUMNS, "dynamics": DYNAMICS_COLUMNS, "workers": WORKERS_COLUMNS,
    }  # fmt: skip
    assert machine == read_json(SHIPPED_SPEED / "machine.json")
    assert set(read_csv(SHIPPED_SPEED / "training.csv")["threads"]) == {1, 2}


def test_a_folder_without_tables_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.csv"):
        load_speed(tmp_path)


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
