"""FIRE's figures: what they show."""

import pytest
import torch

from enn_lib.clusters import relax
from enn_lib.fire_figures import (
    plot_costs,
    plot_frames,
    plot_readings,
    plot_relaxations,
    valley,
)

START = torch.tensor([-1.3, 0.3], dtype=torch.float64)
HISTORY = {
    "iteration": [0, 10, 30],
    "training_loss": [1.0, 0.5, 0.2],
    "dt": [0.001, 0.01, 0.005],
    "stops": [0, 1, 5],
    "smallest_norm": [0.1, 0.01, 0.02],
}


@pytest.fixture(scope="module")
def descent():
    return relax(START, valley, order="semi_implicit", dt=0.02, dt_max=0.2, mass=1.0, max_steps=60)


def test_the_valley_has_its_minimum_where_it_says():
    relaxation = relax(START, valley, order="semi_implicit", dt=0.02, dt_max=0.2, mass=1.0)
    torch.testing.assert_close(relaxation.positions[-1], torch.ones(2).double(), atol=1e-5, rtol=0)


def test_a_frame_shows_the_path_up_to_its_step(descent):
    figure = plot_frames(descent, (0, 7))
    for axes, step in zip(figure.axes, (0, 7), strict=True):
        path = torch.from_numpy(axes.lines[0].get_xydata())
        assert path.equal(descent.positions[: step + 1])


def test_a_cross_stands_at_every_stop(descent):
    crosses = plot_frames(descent, (0, 60)).axes[1].lines[1].get_xydata()
    assert len(crosses) == (descent.power < 0).sum() > 0


def test_an_odd_number_of_frames_is_refused(descent):
    with pytest.raises(ValueError, match="steps: got 3 of them, wanted an even number"):
        plot_frames(descent, (0, 1, 2))


def test_a_path_in_space_is_refused():
    path = relax(torch.ones(3), lambda x: x.square().sum(), max_steps=2)
    with pytest.raises(ValueError, match=r"relaxation: got positions of shape \(3, 3\), wanted"):
        plot_frames(path, (0, 1))


def test_the_courses_of_a_reading_are_drawn_without_iteration_zero():
    loss, dt, stops, norm = plot_readings({"printed": {0: HISTORY}}).axes
    assert loss.lines[0].get_xydata().tolist() == [[10, 0.5], [30, 0.2]]
    assert dt.lines[0].get_ydata().tolist() == [0.01, 0.005]
    assert stops.lines[0].get_ydata().tolist() == [0.1, 0.2]
    assert norm.lines[0].get_ydata().tolist() == [0.01, 0.02]


def test_more_readings_than_can_be_told_apart_are_refused():
    with pytest.raises(ValueError, match="study: got 7 courses, wanted 1 to 6"):
        plot_readings({name: {0: HISTORY} for name in "abcdefg"})


def test_a_relaxation_is_drawn_above_its_minimum(descent):
    top, bottom = plot_relaxations({"valley": descent}, -1.0).axes
    torch.testing.assert_close(torch.from_numpy(top.lines[0].get_ydata()), descent.energy + 1)
    assert bottom.lines[0].get_ydata().tolist() == descent.dt.tolist()


def test_costs_are_drawn_against_gradients_and_against_operations():
    history = {"gradient_evaluations": [10, 20], "operations": [1e6, 3e6], "test_rmsd": [0.1, 0.05]}
    left, right = plot_costs({"adam": {0: history}}).axes
    assert left.lines[0].get_xydata().tolist() == [[10, 0.1], [20, 0.05]]
    assert right.lines[0].get_xydata().tolist() == [[1e6, 0.1], [3e6, 0.05]]
