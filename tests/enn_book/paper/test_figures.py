"""The figures show the numbers they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from examples import normal

from enn_book.paper import figures
from enn_book.paper.claims import NETWORK, Bound, Claim, Result, Way
from enn_lib.argon import ARGON

HISTORY = {
    "iteration": [0, 1, 10, 100],
    "gradient_evaluations": [0, 60, 600, 6000],
    "training_loss": [1.0, 0.9, 0.5, 0.1],
    "validation_loss": [1.1, 0.95, 0.6, 0.2],
}
RMSD = {"network": torch.linspace(0, 1, 51), "S4 average": torch.linspace(0, 0.5, 51)}
CLAIM = Claim(NETWORK, "Fig. 3", "an error (eV/Å)", "forces", Bound(at_most=2.0), lambda _: iter(()))
RESULTS = [Result(CLAIM, {way: {"": [1.0, 4.0]} for way in Way}, is_finished=False)]


@pytest.fixture(scope="module")
def every_figure():
    """Each figure function once, on numbers that take no time."""
    forces = normal(20, 4, 3)
    return {
        "plot_potential": figures.plot_potential(),
        "plot_loss": figures.plot_loss({"paper": HISTORY, "reference": HISTORY}, level=1e-4),
        "plot_parity": figures.plot_parity(forces, {"network": forces + 0.01, "S4 average": forces}),
        "plot_position_rmsd": figures.plot_position_rmsd(RMSD, steps=(15, 40)),
        "plot_trajectory": figures.plot_trajectory(RMSD["network"], RMSD, steps=(15, 40)),
        "plot_energy_rmsd": figures.plot_energy_rmsd(RMSD, steps=(40,)),
        "plot_energy": figures.plot_energy(RMSD["network"], RMSD, steps=(40,)),
        "plot_claims": figures.plot_claims(RESULTS),
    }


def line(axes, label):
    """The one line of this label."""
    (found,) = [one for one in axes.lines if one.get_label() == label]
    return found


def test_no_figure_stays_with_pyplot_where_a_notebook_would_show_it_twice(every_figure):
    assert not plt.get_fignums()
    assert all(figure.axes for figure in every_figure.values())


def test_every_plotting_function_is_tried_here(every_figure):
    assert every_figure.keys() == {name for name in vars(figures) if name.startswith("plot_")}


def test_every_figure_can_be_drawn_without_a_warning(every_figure):
    for figure in every_figure.values():
        figure.canvas.draw()


def test_figure_1_has_its_minimum_at_the_sixth_root_of_2_times_r0_and_marks_r_min():
    axes = figures.plot_potential(r_min=2.8).axes[0]
    inset = axes.child_axes[0]
    r, u = inset.lines[0].get_data()
    assert r[np.argmin(u)] == pytest.approx(2 ** (1 / 6) * 3.4, abs=0.01)
    assert min(u) == pytest.approx(-1000 * ARGON.epsilon, rel=1e-4)
    wall = ARGON.pair_energy(torch.tensor(2.8)).item()
    assert any(np.allclose(one.get_xydata(), [[2.8, wall]]) for one in axes.lines)


def test_figure_2_is_doubly_logarithmic_and_leaves_out_iteration_0():
    axes = figures.plot_loss({"paper": HISTORY}).axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    for part in ("training", "validation"):
        x, y = line(axes, f"paper, {part}").get_data()
        assert list(x) == HISTORY["iteration"][1:]
        assert list(y) == HISTORY[f"{part}_loss"][1:]


def test_figure_3_counts_every_component_once_in_each_panel():
    forces = normal(500, 4, 3)
    figure = figures.plot_parity(forces, {"network": forces + 0.1, "S4 average": 1.01 * forces})
    panels = [axes for axes in figure.axes if axes.get_xlabel() != "components in a hexagon"]
    assert len(panels) == 4
    for axes in panels:
        assert axes.collections[0].get_array().sum() == forces.numel()


@pytest.mark.parametrize("plot", [figures.plot_position_rmsd, figures.plot_energy_rmsd])
def test_figures_4_and_6_show_the_deviation_linearly_and_logarithmically(plot):
    top, bottom = plot(RMSD, steps=(15,)).axes
    assert (top.get_yscale(), bottom.get_yscale()) == ("linear", "log")
    for axes in (top, bottom):
        for label, values in RMSD.items():
            x, y = line(axes, label).get_data()
            np.testing.assert_array_equal(x, np.arange(51))
            np.testing.assert_array_equal(y, values)


@pytest.mark.parametrize("plot", [figures.plot_trajectory, figures.plot_energy])
def test_figures_5_and_7_show_the_analytic_course_and_every_prediction(plot):
    (axes,) = plot(RMSD["network"] + 1, RMSD).axes
    np.testing.assert_array_equal(line(axes, "analytic").get_ydata(), RMSD["network"] + 1)
    for label, values in RMSD.items():
        np.testing.assert_array_equal(line(axes, label).get_ydata(), values)


def test_the_step_becomes_time_when_a_step_is_not_1_fs():
    axes = figures.plot_trajectory(RMSD["network"], RMSD, dt=2.0).axes[0]
    assert axes.get_xlabel() == "time (fs)"
    assert line(axes, "analytic").get_xdata()[-1] == 100


def test_a_claim_is_drawn_in_units_of_what_is_wanted(every_figure):
    (axes,) = every_figure["plot_claims"].axes
    assert all(list(line(axes, way).get_xdata()) == [0.5, 2.0] for way in Way)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["Fig. 3: an error"]
