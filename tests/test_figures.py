"""The figures show the numbers they were given, in a style that does not rest on colour."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb

from enn_lib import figures
from enn_lib.argon import ARGON
from enn_lib.figures import (
    HOUSE_STYLE,
    PREDICTIONS,
    new_figure,
    plot_configurations,
    plot_energy,
    plot_energy_rmsd,
    plot_error_by_distance,
    plot_loss,
    plot_parity,
    plot_position_rmsd,
    plot_potential,
    plot_trajectory,
)

HISTORY = {
    "iteration": [0, 1, 10, 100],
    "gradient_evaluations": [0, 60, 600, 6000],
    "training_loss": [1.0, 0.9, 0.5, 0.1],
    "validation_loss": [1.1, 0.95, 0.6, 0.2],
}
RMSD = {"network": torch.linspace(0, 1, 51), "S4 average": torch.linspace(0, 0.5, 51)}
BINS = [
    {"from": 2.8, "to": 3.0, "n": 5, "rmsd_component": 0.01},
    {"from": 3.0, "to": 3.4, "n": 0, "rmsd_component": None},
    {"from": 3.4, "to": None, "n": 7, "rmsd_component": 0.001},
]


def every_figure():
    """Each figure function once, on numbers that take no time."""
    generator = torch.Generator().manual_seed(0)
    forces = torch.randn(20, 4, 3, generator=generator)
    return {
        "plot_potential": plot_potential(),
        "plot_configurations": plot_configurations(torch.linspace(3, 5, 9), forces.norm(dim=-1)),
        "plot_loss": plot_loss({"paper": HISTORY, "reference": HISTORY}, level=1e-4),
        "plot_parity": plot_parity(forces, {"network": forces + 0.01, "S4 average": forces}),
        "plot_error_by_distance": plot_error_by_distance({"network": BINS}, level=0.00118),
        "plot_position_rmsd": plot_position_rmsd(RMSD, steps=(15, 40)),
        "plot_trajectory": plot_trajectory(RMSD["network"], RMSD, steps=(15, 40)),
        "plot_energy_rmsd": plot_energy_rmsd(RMSD, steps=(40,)),
        "plot_energy": plot_energy(RMSD["network"], RMSD, steps=(40,)),
    }


def line(axes, label):
    """The one line of this label."""
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return found


def test_no_figure_stays_with_pyplot_where_a_notebook_would_show_it_twice():
    for name, figure in every_figure().items():
        assert not plt.get_fignums(), name
        assert figure.axes, name


def test_every_plotting_function_is_tried_here():
    assert set(every_figure()) == {name for name in figures.__all__ if name.startswith("plot_")}


def test_every_figure_can_be_drawn_without_a_warning():
    for figure in every_figure().values():
        figure.canvas.draw()


def test_every_pair_of_predictions_differs_in_its_dash_too():
    for one, other in combinations([figures.ANALYTIC, *PREDICTIONS], 2):
        assert one["linestyle"] != other["linestyle"]
        assert one["color"] != other["color"]


def test_the_first_lines_of_the_house_style_differ_in_their_dash_too():
    cycle = list(HOUSE_STYLE["axes.prop_cycle"])[:6]
    assert len({str(style["linestyle"]) for style in cycle}) == 6


def test_every_line_has_contrast_to_its_white_ground():
    """The contrast of WCAG 2 for graphics, at least 3; light colours are for areas only."""
    for style in [figures.ANALYTIC, *PREDICTIONS, figures.REMARK]:
        channels = np.array(to_rgb(style["color"]))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3, style


def test_figures_are_opaque_white_so_that_dark_mode_does_not_swallow_black_lines():
    figure, axes = new_figure()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert axes.get_facecolor() == (1, 1, 1, 1)


def test_a_legend_made_after_new_figure_has_the_house_style():
    with plt.rc_context():
        plt.rcParams["legend.frameon"] = True
        _, axes = new_figure()
        axes.plot([0, 1], label="line")
        assert not axes.legend().get_frame_on()


def test_letters_are_at_least_eight_pixels_high_on_a_phone_of_390():
    figure, _ = new_figure()
    shown = 360 / figure.get_figwidth() / 72  # pixels a point, with the page's margins off
    assert HOUSE_STYLE["font.size"] * shown >= 8


def test_figure_1_has_its_minimum_at_the_sixth_root_of_2_times_r0_and_marks_r_min():
    axes = plot_potential(r_min=2.8).axes[0]
    inset = axes.child_axes[0]
    r, u = inset.lines[0].get_data()
    assert r[np.argmin(u)] == pytest.approx(2 ** (1 / 6) * 3.4, abs=0.01)
    assert min(u) == pytest.approx(-1000 * ARGON.epsilon, rel=1e-4)
    wall = ARGON.pair_energy(torch.tensor(2.8)).item()
    assert any(np.allclose(one.get_xydata(), [[2.8, wall]]) for one in axes.lines)


def test_figure_2_is_doubly_logarithmic_and_leaves_out_iteration_0():
    axes = plot_loss({"paper": HISTORY}).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    for part in ("training", "validation"):
        x, y = line(axes, f"paper, {part}").get_data()
        assert list(x) == HISTORY["iteration"][1:]
        assert list(y) == HISTORY[f"{part}_loss"][1:]


def test_figure_2_can_count_gradients_instead_of_iterations():
    axes = plot_loss({"paper": HISTORY}, against="gradient_evaluations").axes[0]
    assert list(line(axes, "paper, training").get_xdata()) == [60, 600, 6000]
    assert axes.get_xlabel() == "gradient evaluations"


def test_figure_3_counts_every_component_once_in_each_panel():
    forces = torch.randn(500, 4, 3, generator=torch.Generator().manual_seed(1))
    figure = plot_parity(forces, {"network": forces + 0.1, "S4 average": 1.01 * forces})
    panels = [axes for axes in figure.axes if axes.get_xlabel() != "components in a hexagon"]
    assert len(panels) == 4
    for axes in panels:
        assert axes.collections[0].get_array().sum() == forces.numel()


def test_the_error_by_distance_leaves_a_gap_at_an_empty_bin():
    (stairs,) = plot_error_by_distance({"network": BINS}).axes[0].patches
    values, edges, _ = stairs.get_data()
    np.testing.assert_array_equal(values, [0.01, np.nan, 0.001])
    np.testing.assert_array_equal(edges, [2.8, 3.0, 3.4, 4.4])


@pytest.mark.parametrize("plot", [plot_position_rmsd, plot_energy_rmsd])
def test_figures_4_and_6_show_the_deviation_linearly_and_logarithmically(plot):
    top, bottom = plot(RMSD, steps=(15,)).axes
    assert (top.get_yscale(), bottom.get_yscale()) == ("linear", "log")
    for axes in (top, bottom):
        for label, values in RMSD.items():
            x, y = line(axes, label).get_data()
            np.testing.assert_array_equal(x, np.arange(51))
            np.testing.assert_array_equal(y, values)


@pytest.mark.parametrize("plot", [plot_trajectory, plot_energy])
def test_figures_5_and_7_show_the_analytic_course_and_every_prediction(plot):
    (axes,) = plot(RMSD["network"] + 1, RMSD).axes
    np.testing.assert_array_equal(line(axes, "analytic").get_ydata(), RMSD["network"] + 1)
    for label, values in RMSD.items():
        np.testing.assert_array_equal(line(axes, label).get_ydata(), values)


def test_the_step_becomes_time_when_a_step_is_not_1_fs():
    axes = plot_trajectory(RMSD["network"], RMSD, dt=2.0).axes[0]
    assert axes.get_xlabel() == "time (fs)"
    assert line(axes, "analytic").get_xdata()[-1] == 100
