"""The study of choices: one thing is changed at a time, at equal cost, and it can be repeated."""

from dataclasses import asdict

import pytest

from enn_lib.choices import (
    BASE,
    CHOICES,
    COLUMNS,
    GENERALISATION,
    SHIPPED_CHOICES,
    load_choices,
    run_choices,
    run_variation,
    variation,
)
from enn_lib.choices_figures import plot_choices, plot_gap, plot_plane, rmsd
from enn_lib.storage import read_csv, write_csv

SMALL = {"n_configurations": 200, "n_train": None, "batch_size": 30, "compile": False}
FLAT = {column: [0.25, 0.16] for column in COLUMNS}


@pytest.mark.parametrize("name", [name for name in CHOICES if name != "base"])
def test_a_choice_changes_what_it_says_and_the_length_that_follows(name):
    different = {key for key, value in asdict(variation(name)).items() if value != asdict(BASE)[key]}
    assert different - {"iterations"} == set(CHOICES[name])


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_gets_as_many_gradients(name):
    config = variation(name)
    assert config.iterations * config.batch_size == BASE.iterations * BASE.batch_size


def test_an_unknown_choice_is_named():
    with pytest.raises(ValueError, match="got 'lucky', wanted one of base"):
        variation("lucky")


def test_a_run_lowers_the_loss_and_counts_its_gradients():
    rows = run_variation(variation("base", iterations=40, **SMALL))
    iteration, evaluations, training, validation, averaged = (list(c) for c in zip(*rows, strict=True))
    assert evaluations == [30 * i for i in iteration]
    assert training[-1] < 0.9 * training[0]
    assert validation[-1] != averaged[-1]


def test_the_averaged_weights_lag_behind():
    """Over 40 steps a memory of a thousand has hardly left the start."""
    rows = run_variation(variation("base", iterations=40, **SMALL))
    assert abs(rows[-1][4] / rows[0][4] - 1) < 0.1 < abs(rows[-1][3] / rows[0][3] - 1)


def test_a_run_that_diverges_ends_early():
    rows = run_variation(variation("base", iterations=40, learning_rate=1e30, **SMALL))
    assert len(rows) < 40


def test_a_study_keeps_the_tables_that_are_there(tmp_path):
    write_csv(tmp_path / "base.csv", COLUMNS, [(1, 2, 3, 4, 5)])
    run_choices(tmp_path, ("base", "a-1"), iterations=2, **SMALL)
    assert read_csv(tmp_path / "base.csv")["validation_loss"] == [4]
    assert list(load_choices(tmp_path)) == ["base", "a-1"]


def test_a_folder_without_histories_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"wanted files such as base\.csv"):
        load_choices(tmp_path)


def test_the_shipped_study_is_whole():
    assert {path.stem for path in SHIPPED_CHOICES.glob("*.csv")} == {*CHOICES, *GENERALISATION}


@pytest.mark.parametrize("name", [*CHOICES, *GENERALISATION])
def test_a_shipped_history_is_that_of_its_variation(name):
    history, config = load_choices()[name], variation(name)
    assert tuple(history) == COLUMNS
    assert history["iteration"][-1] == config.iterations
    assert history["gradient_evaluations"][-1] == config.iterations * config.batch_size


def test_a_shipped_history_begins_as_the_same_training_does():
    """The loss after the first step, computed anew on the data of the study."""
    (row,) = run_variation(variation("few-muon", iterations=1))
    history = load_choices()["few-muon"]
    assert row[2] == pytest.approx(history["training_loss"][0], rel=1e-4)
    assert row[3] == pytest.approx(history["validation_loss"][0], rel=1e-4)


def test_an_error_is_the_scale_times_the_root_of_the_loss():
    assert rmsd([0.25, 0.04], 2.0) == pytest.approx([1.0, 0.4])


def test_choices_are_drawn_in_the_order_of_their_errors():
    worse = {column: [0.25, 0.2] for column in COLUMNS}
    (axes,) = plot_choices({"base": FLAT, "worse": worse}, 0.1, level=0.01).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["worse", "base"]


def test_a_base_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="base: got 'base', wanted one of a-1"):
        plot_choices({"a-1": FLAT}, 0.1)


def test_the_gap_has_a_curve_of_training_and_one_of_validation_for_each_family():
    (axes,) = plot_gap({"literal": {1000: FLAT, 3000: FLAT}, "relabelled": {1000: FLAT}}, 0.1).axes
    assert len(axes.lines) == 4
    assert list(axes.lines[0].get_ydata()) == pytest.approx([0.04, 0.04])


def test_in_the_plane_a_loss_of_one_or_more_is_left_out():
    history = {"training_loss": [1.2, 0.25], "validation_loss": [1.3, 0.36]}
    (axes,) = plot_plane({"one": history}, 1.0).axes
    assert list(axes.lines[0].get_xdata()) == pytest.approx([0.5])
