"""The study of drawn batches: one power at a time, measured by the largest distance on validation data."""

from dataclasses import asdict

import pytest
import torch

from enn_lib.argon import ARGON, generate_data
from enn_lib.choices_figures import plot_drawing
from enn_lib.drawing import (
    BASE,
    COLUMNS,
    EDGES,
    POWERS,
    SEEDS,
    SHIPPED_DRAWING,
    by_size,
    drawn,
    load_drawing,
    run_drawing,
    run_one,
)
from enn_lib.storage import read_csv, write_csv

SMALL = {"n_configurations": 200, "batch_size": 30, "iterations": 5, "compile": False}


class Off:
    """The true forces, each component too large by `amount` where two atoms are farther apart than 9 Å."""

    def __init__(self, amount):
        self.amount = amount

    def forces(self, positions):
        """Forces, eV/Å."""
        wide = torch.cdist(positions, positions).amax(dim=(-1, -2)) >= 9
        return ARGON.forces(positions) + self.amount * wide[:, None, None]


def test_a_training_differs_in_the_power_and_the_seeds_alone():
    different = {key for key, value in asdict(drawn(6.0, 1)).items() if value != asdict(BASE)[key]}
    assert different == {"sampling_power", "seed", "data_seed"}


def test_errors_are_those_of_configurations_by_their_largest_distance():
    data = generate_data(1000)
    rows = by_size([Off(0.1), Off(0.2)], data.train, data.validation)
    *bins, total = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert (total["from"], total["to"]) == (EDGES[0], EDGES[-1])
    assert bins[-1]["network"] == pytest.approx(0.1)
    assert bins[-1]["s4_average"] == pytest.approx(0.2)
    assert all(row["network"] < 1e-12 for row in bins[:-1])
    share = bins[-1]["validation"] / total["validation"]
    assert total["network"] == pytest.approx(0.1 * share**0.5)


def test_every_configuration_is_in_one_bin():
    data = generate_data(1000)
    rows = by_size([], data.train, data.validation)
    assert sum(row[3] for row in rows[:-1]) == rows[-1][3] == len(data.validation)


def test_the_test_part_is_not_looked_at(monkeypatch):
    data = generate_data(200)
    rows = run_one(drawn(6.0, **SMALL))
    data.test.forces.fill_(float("nan"))
    monkeypatch.setattr("enn_lib.drawing.generate_data", lambda *_: data)
    assert run_one(drawn(6.0, **SMALL)) == rows


def test_a_training_that_diverges_is_not_measured():
    with pytest.raises(FloatingPointError, match="training diverged"):
        run_one(drawn(6.0, **SMALL | {"learning_rate": 1e30}))


def test_a_study_keeps_the_tables_that_are_there_and_can_be_read(tmp_path):
    write_csv(tmp_path / "0.0.csv", COLUMNS, [(0, 5.5, 1, 2, 3, 4)])
    run_drawing(tmp_path, **SMALL)
    study = load_drawing(tmp_path)
    assert study[0.0][0]["s4_average"] == [4]
    assert list(study) == list(POWERS)
    assert all(list(tables) == list(SEEDS) for tables in study.values())


def test_a_folder_without_a_table_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"0\.0\.csv"):
        load_drawing(tmp_path)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bins_of_the_shipped_study_count_the_data(seed):
    data = generate_data(BASE.n_configurations, drawn(0.0, seed).data_seed)
    rows = by_size([], data.train, data.validation)
    for power in POWERS:
        table = read_csv(SHIPPED_DRAWING / f"{power:g}.{seed}.csv")
        assert tuple(table) == COLUMNS
        assert list(zip(*(table[c] for c in COLUMNS[:4]), strict=True)) == rows


def test_the_figure_has_a_line_and_a_mark_for_all_configurations_for_each_power():
    table = {"from": [0, 5.5, 0], "to": [5.5, float("inf"), float("inf")], "s4_average": [0.1, 0.2, 0.15]}
    (axes,) = plot_drawing({0.0: {0: table}, 6.0: {0: table, 1: table}}).axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["$p$ = 0", "$p$ = 6"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["below 5.5", "above 5.5", "all"]
    assert list(axes.lines[0].get_ydata()) == [0.1, 0.2]
    assert list(axes.lines[1].get_ydata()) == [0.15]
