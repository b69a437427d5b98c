"""Atoms in space: the figures show the places, forces and ways that they are given."""

import numpy as np
import pytest
import torch

from enn_book.live.space import plot_forces, plot_paths
from enn_lib import ARGON
from enn_lib.dynamics import PAPER_POSITIONS


def test_an_arrow_is_the_force_over_the_unit():
    forces = ARGON.forces(PAPER_POSITIONS)
    (axes,) = plot_forces(PAPER_POSITIONS, {"analytic": forces, "network": 2 * forces}, unit=0.005).axes
    arrows = [c for c in axes.collections if c.get_label() in ("analytic", "network")]
    for factor, drawn in zip((1, 2), arrows, strict=True):
        shafts = torch.from_numpy(np.array(drawn._segments3d[:4]))
        tip, tail = shafts.unbind(dim=1)  # Matplotlib draws the shaft from its tip
        torch.testing.assert_close(tail, PAPER_POSITIONS)
        torch.testing.assert_close(tip - tail, factor * forces / 0.005)


def test_the_three_axes_have_one_scale():
    (axes,) = plot_forces(PAPER_POSITIONS, {"analytic": ARGON.forces(PAPER_POSITIONS)}, unit=0.005).axes
    low, high = torch.tensor([axes.get_xlim(), axes.get_ylim(), axes.get_zlim()]).T
    torch.testing.assert_close(high - low, (high - low)[:1].expand(3))


def test_forces_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"forces: got shapes \{'a': \(3, 3\)\}, wanted \(4, 3\)"):
        plot_forces(PAPER_POSITIONS, {"a": torch.zeros(3, 3)}, unit=1.0)
    with pytest.raises(ValueError, match="unit: got 0, wanted a positive force"):
        plot_forces(PAPER_POSITIONS, {"a": torch.zeros(4, 3)}, unit=0)


def test_a_way_is_drawn_for_every_atom_and_a_dot_where_it_begins():
    paths = {label: torch.randn(5, 4, 3, dtype=torch.float64) for label in ("analytic", "network")}
    figure = plot_paths(paths)
    for axes, (label, path) in zip(figure.axes, paths.items(), strict=True):
        assert axes.get_title() == label
        ways = [torch.from_numpy(np.array(line.get_data_3d())).T for line in axes.lines]
        for a in range(4):
            torch.testing.assert_close(ways[2 * a], path[:, a])
            torch.testing.assert_close(ways[2 * a + 1], path[:1, a])


def test_ways_of_other_atoms_are_refused():
    for paths in ({}, {"a": torch.zeros(5, 4, 3), "b": torch.zeros(5, 3, 3)}, {"a": torch.zeros(4, 3)}):
        with pytest.raises(ValueError, match="paths: got shapes"):
            plot_paths(paths)
