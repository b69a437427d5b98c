"""The figures of the page on peers show what they are given."""

import pytest
import torch

from enn_book.studies.peers.figures import SQUARE, plot_data, plot_jump, plot_law, plot_times
from enn_lib.argon import ARGON


def runs(*errors):
    return [{"test_rmsd": error} for error in errors]


def lines(figure, panel=0):
    return [line.get_xydata().tolist() for line in figure.axes[panel].lines]


def test_errors_over_time_have_a_line_of_means_a_mark_a_seed_and_a_name():
    study = {"enn": {30.0: runs(0.01, 0.03), 120.0: runs(0.01)}, "egnn": {30.0: runs(0.001)}}
    figure = plot_times(study, 0.13, {"a fit": 0.002})
    means, *seeds = lines(figure)[2:5]
    assert [y for _, y in means] == [20, 10]
    assert [[y for _, y in course] for course in seeds] == [[10, 30], [10]]
    assert [[round(x) for x, _ in course] for course in seeds] == [[1, 1], [2]], "all in their column"
    assert seeds[0][0][0] < seeds[0][1][0], "side by side"
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["EGNN", "plain ENN", "a fit", "no force at all"]
    assert lines(figure)[-3:] == [[[0, 2], [1, 2]], [[0, 2]], [[0, 130], [1, 130]]]
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["0.01 s", "30 s", "2 min"]


def test_names_of_nearly_equal_errors_do_not_cover_each_other():
    study = {name: {30.0: runs(0.1 + 1e-4 * k)} for k, name in enumerate(("enn", "egnn"))}
    below, above = plot_times(study, 0.13, {}).axes[0].texts[:2]
    assert above.get_position()[1] > 1.6 * below.get_position()[1]


def test_a_fitted_law_lies_on_the_true_one_and_its_error_below():
    r = torch.tensor([2.0, 3.0, 4.0])
    figure = plot_law(r, torch.tensor([-0.5, 0.0, 0.004]), torch.tensor([-1.0, 0.0, 0.005]), 2.8, 3.5)
    true, fitted = ([y for _, y in course] for course in lines(figure))
    assert (true, fitted) == (pytest.approx([-1000, 0, 5]), pytest.approx([-500, 0, 4]))
    assert [y for _, y in lines(figure, 1)[0]] == pytest.approx([500, 0, 1], abs=1e-3)
    (without_data,) = figure.axes[0].patches
    assert lines(figure, 1)[1] == [[3.5, 0], [3.5, 1]], "the cutoff"
    assert (without_data.get_x(), without_data.get_width()) == (2, pytest.approx(0.8))


def test_errors_over_data_have_the_range_of_the_seeds():
    figure = plot_data({"enn": {100: runs(0.01, 0.03), 1000: runs(0.01)}}, 0.13, {100: [0.001, 0.002]})
    assert lines(figure)[0] == [[100, 20], [1000, 10]]
    bars, of_fits = (bars.get_segments()[0].tolist() for bars in figure.axes[0].collections)
    assert bars == [[100, pytest.approx(10)], [100, pytest.approx(30)]]
    assert of_fits == [[100, pytest.approx(1)], [100, pytest.approx(2)]]


def test_a_jump_at_the_square_is_measured_and_drawn_where_it_is_largest():
    class Jumping:
        def forces(self, positions):
            wide = (positions[:, 0, 0] > SQUARE[0, 0]).double()
            forces = torch.zeros_like(positions)
            forces[:, 2, 1] = 0.003 * wide
            return forces

    figure, jumps = plot_jump({"true": ARGON, "jumping": Jumping()}, 20)
    assert jumps["jumping"] == pytest.approx(0.003)
    assert jumps["true"] < 0.001
    drawn = [[y for _, y in line] for line in lines(figure, -1)]
    assert [set(heights) for heights in drawn[2:]] == [{0}, {0}, {3}, {3}], "each branch and its end"
    said = [" ".join(t.get_text() for t in panel.texts).split() for panel in figure.axes[:3]]
    assert said == [["short", "long"], ["?"], ["long", "short"]], "to the right and up; none on the square"
