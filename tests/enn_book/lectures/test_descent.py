"""Figures of FIRE at work: a descent on a surface, and clusters that relax."""

import pytest
import torch

from enn_book.lectures.clusters import relax
from enn_book.lectures.descent import plot_frames, plot_relaxations, valley


@pytest.fixture(scope="module")
def descent():
    start = torch.tensor([-1.3, 0.3], dtype=torch.float64)
    return relax(start, valley, order="semi_implicit", dt=0.02, dt_max=0.2, mass=1.0)


def test_the_valley_has_its_minimum_where_it_says(descent):
    torch.testing.assert_close(descent.positions[-1], torch.ones(2).double(), atol=1e-5, rtol=0)


def test_a_frame_shows_the_path_up_to_its_step(descent):
    figure = plot_frames(descent, (0, 7))
    for axes, step in zip(figure.axes, (0, 7), strict=True):
        path = torch.from_numpy(axes.lines[0].get_xydata())
        assert path.equal(descent.positions[: step + 1])


def test_a_cross_stands_at_every_stop(descent):
    crosses = plot_frames(descent, (0, descent.steps)).axes[1].lines[1].get_xydata()
    assert len(crosses) == (descent.power < 0).sum() > 0


def test_an_odd_number_of_frames_is_refused(descent):
    with pytest.raises(ValueError, match="steps: got 3 of them, wanted an even number"):
        plot_frames(descent, (0, 1, 2))


def test_a_path_in_space_is_refused():
    path = relax(torch.ones(3), lambda x: x.square().sum(), max_steps=2)
    with pytest.raises(ValueError, match=r"relaxation: got positions of shape \(3, 3\), wanted"):
        plot_frames(path, (0, 1))


def test_a_relaxation_is_drawn_above_its_minimum_and_its_time_step_below_a_limit(descent):
    above, below = plot_relaxations({"valley": descent}, -1.0, {0: 0.3, descent.steps: 0.2}).axes
    torch.testing.assert_close(torch.from_numpy(above.lines[0].get_ydata()), descent.energy + 1)
    torch.testing.assert_close(torch.from_numpy(below.lines[0].get_ydata()), descent.dt)
    assert below.lines[1].get_xydata().tolist() == [[0, 0.3], [descent.steps, 0.2]]
