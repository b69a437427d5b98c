"""The figures of the page on peers show what they are given."""

import pytest
import torch

from enn_book.studies.peers.figures import SQUARE, plot_data, plot_jump, plot_times
from enn_lib.argon import ARGON


def runs(*errors):
    return [{"test_rmsd": error} for error in errors]


def lines(figure):
    return [line.get_xydata().tolist() for line in figure.axes[0].lines]


def test_errors_over_time_have_a_line_of_means_a_dot_a_seed_and_a_name():
    study = {"enn": {30.0: runs(0.01, 0.03), 120.0: runs(0.01)}, "egnn": {30.0: runs(0.001)}}
    figure = plot_times(study, {"enn": 20.0, "egnn": 54.0}, 0.13)
    assert lines(figure)[2:5] == [[[30, 20], [120, 10]], [[30, 10], [30, 30]], [[120, 10]]]
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["EGNN\n54 ms a step", "ENN\n20 ms a step", "no force at all"]
    assert lines(figure)[-1] == [[0, 130], [1, 130]]


def test_names_of_nearly_equal_errors_do_not_cover_each_other():
    study = {name: {30.0: runs(0.1), 120.0: runs(0.01 + 1e-4 * k)} for k, name in enumerate(("enn", "egnn"))}
    below, above = plot_times(study, dict.fromkeys(study, 20.0), 0.13).axes[0].texts[:2]
    assert above.get_position()[1] > 2 * below.get_position()[1]


def test_errors_over_data_have_the_range_of_the_seeds():
    figure = plot_data({"enn": {100: runs(0.01, 0.03), 1000: runs(0.01)}}, 0.13)
    assert lines(figure)[0] == [[100, 20], [1000, 10]]
    (bars,) = figure.axes[0].collections
    assert bars.get_segments()[0].tolist() == [[100, pytest.approx(10)], [100, pytest.approx(30)]]


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
    heights = [[y for _, y in line] for line in lines(figure)]
    assert [set(h) for h in heights[2:]] == [{0}, {3}]
