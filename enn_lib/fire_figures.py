"""Figures of FIRE at work: a descent on a surface, and the readings of the paper."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from torch import Tensor

from enn_lib.clusters import Relaxation
from enn_lib.figures import BLACK, BLUE, GREEN, ORANGE, PURPLE, REMARK, SKY, VERMILION, new_figure

Extent = tuple[float, float, float, float]

VALLEY_EXTENT: Extent = (-1.6, 1.7, -0.8, 2.4)
"""What is shown of `valley` (left, right, bottom, top)."""


def valley(position: Tensor) -> Tensor:
    r"""A bent valley with one minimum, at (1, 1): positions ``(..., 2)`` -> ``(...)``, without unit.

    .. math:: U = (1 - x)^2 + 5\,(y - x^2)^2
    """
    x, y = position.unbind(dim=-1)
    return (1 - x) ** 2 + 5 * (y - x**2) ** 2


def _contours(axes: Axes, energy: Callable[[Tensor], Tensor], extent: Extent) -> QuadContourSet:
    """Draw lines of equal energy. Their levels are those of its root, evenly spaced on a parabola."""
    x, y = np.linspace(*extent[:2], 200), np.linspace(*extent[2:], 160)
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), axis=-1))
    return axes.contour(x, y, energy(grid).numpy().clip(0) ** 0.5, 14, colors="0.75", linewidths=0.7)


def level_lines(energy: Callable[[Tensor], Tensor], extent: Extent) -> list[tuple[float, Tensor]]:
    """The lines of equal energy that `plot_frames` draws: the root of the energy, and points ``(n, 2)``.

    Args:
        energy: maps positions ``(..., 2)`` to ``(...)``; at least zero.
        extent: left, right, bottom, top.
    """
    _, axes = new_figure()
    contours = _contours(axes, energy, extent)
    return [
        (float(level), torch.from_numpy(line))
        for level, lines in zip(contours.levels, contours.allsegs, strict=True)
        for line in lines
        if len(line) > 1
    ]


def _draw_descent(
    axes: Axes, relaxation: Relaxation, energy: Callable[[Tensor], Tensor], extent: Extent, last: int
) -> None:
    """Level lines, the path up to step `last`, and a cross wherever the motion was stopped."""
    _contours(axes, energy, extent)
    path = relaxation.positions[: last + 1].numpy()
    axes.plot(*path.T, "-o", color=BLUE, markersize=2.2, linewidth=0.9)
    stopped = relaxation.positions[: last + 1][relaxation.power[: last + 1] < 0].numpy()
    axes.plot(*stopped.T, "X", color=VERMILION, markersize=7)
    axes.plot(*path[0], "s", color=BLACK, markersize=5)
    axes.grid(visible=False)
    axes.set(xlim=extent[:2], ylim=extent[2:])


def plot_frames(
    relaxation: Relaxation,
    steps: Sequence[int],
    *,
    energy: Callable[[Tensor], Tensor] = valley,
    extent: Extent = VALLEY_EXTENT,
) -> Figure:
    """A descent on a surface, at four or any even number of moments.

    Args:
        relaxation: of two coordinates, positions ``(steps + 1, 2)``.
        steps: the moments.
        energy: maps positions ``(..., 2)`` to ``(...)``; at least zero.
        extent: left, right, bottom, top.

    Raises:
        ValueError: if the positions are not of two coordinates, or `steps` are not an even number.
    """
    check_plane(relaxation)
    if len(steps) == 0 or len(steps) % 2:
        raise ValueError(f"steps: got {len(steps)} of them, wanted an even number")
    figure, axes = new_figure(
        len(steps) // 2, 2, height=2.6 * (len(steps) // 2), sharex=True, sharey=True, squeeze=False
    )
    for panel, step in zip(axes.flat, steps, strict=True):
        _draw_descent(panel, relaxation, energy, extent, step)
        panel.set_title(f"step {step}: $U$ = {relaxation.energy[step]:.2g}")
    return figure


def check_plane(relaxation: Relaxation) -> None:
    """Raise ValueError unless the positions are of two coordinates."""
    if relaxation.positions.shape[1:] != (2,):
        shape = tuple(relaxation.positions.shape)
        raise ValueError(f"relaxation: got positions of shape {shape}, wanted (steps + 1, 2)")


def _styles(courses: Mapping, name: str) -> list[tuple]:
    """A colour and a dash for each course, or an error that names the argument they came in."""
    styles = list(
        zip(
            (BLACK, BLUE, VERMILION, GREEN, ORANGE, PURPLE),
            ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))),
            strict=True,
        )
    )
    if not 0 < len(courses) <= len(styles):
        raise ValueError(f"{name}: got {len(courses)} courses, wanted 1 to {len(styles)}")
    return styles


def plot_readings(study: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Four courses of every reading: training loss, time step, steps with P <= 0, smallest hidden norm.

    One thin line for every seed; all without unit, against the iteration.

    Args:
        study: what `load_study` returns, or a part of it with at most six readings.

    Raises:
        ValueError: if there are more readings than can be told apart, or none.
    """
    figure, axes = new_figure(2, 2, width=6.6, height=5.8, sharex=True)
    for (name, seeds), (color, dash) in zip(study.items(), _styles(study, "study"), strict=False):
        for k, history in enumerate(seeds.values()):
            style = {"color": color, "linestyle": dash, "linewidth": 1.1}
            rows = [row for row, iteration in enumerate(history["iteration"]) if iteration > 0]
            iterations = [history["iteration"][row] for row in rows]
            for panel, column in zip(axes.flat, ("training_loss", "dt", None, "smallest_norm"), strict=True):
                if column is None:
                    continue
                values = [history[column][row] for row in rows]
                panel.plot(iterations, values, label=name if k == 0 else None, **style)
            share = [
                (after - before) / (later - earlier)
                for (before, after), (earlier, later) in zip(
                    pairwise(history["stops"]), pairwise(history["iteration"]), strict=True
                )
            ]
            axes[1, 0].plot(iterations, share, **style)
    axes[0, 0].set(xscale="log", yscale="log", ylabel="training loss")
    axes[0, 1].set(yscale="log", ylabel=r"$\Delta t$")
    axes[1, 0].set(ylabel=r"part of steps with $P \leq 0$", xlabel="iteration")
    axes[1, 1].set(yscale="log", ylabel="smallest hidden norm", xlabel="iteration")
    axes[0, 0].axhline(1, **REMARK)
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small"
    )
    return figure


def plot_relaxations(relaxations: Mapping[str, Relaxation], minimum: float) -> Figure:
    """How far the energy of a cluster is above its known minimum, in epsilon, and FIRE's time step.

    Args:
        relaxations: by label.
        minimum: the known energy, epsilon.
    """
    figure, (top, bottom) = new_figure(2, 1, height=5.0, sharex=True)
    for (label, relaxation), color, dash in zip(
        relaxations.items(), (VERMILION, BLUE, GREEN, SKY), ("-", "--", "-.", ":"), strict=False
    ):
        top.plot(relaxation.energy - minimum, color=color, linestyle=dash, label=label)
        bottom.plot(relaxation.dt, color=color, linestyle=dash)
    # The published energies end at the sixth decimal.
    top.axhline(1e-6, label="last digit of the published energy", **REMARK)
    top.set(yscale="log", ylim=(1e-8, None), ylabel=r"$U - U_\mathrm{min}$ ($\epsilon$)")
    top.legend(fontsize="small")
    bottom.set(yscale="log", xlabel="step", ylabel=r"$\Delta t$")
    return figure


def plot_costs(costs: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Test error (eV/Å) against gradient evaluations, and against floating-point operations.

    One line for every seed; a cheaper optimiser is further to the left and a better one further down.

    Args:
        costs: what `enn_lib.matched_cost.load_costs` returns: at most six optimisers.

    Raises:
        ValueError: if there are more optimisers than can be told apart, or none.
    """
    figure, axes = new_figure(1, 2, width=6.6, height=3.8, sharey=True)
    for (name, seeds), (color, dash) in zip(costs.items(), _styles(costs, "costs"), strict=False):
        for k, history in enumerate(seeds.values()):
            for panel, column in zip(axes, ("gradient_evaluations", "operations"), strict=True):
                panel.plot(
                    history[column],
                    history["test_rmsd"],
                    color=color,
                    linestyle=dash,
                    linewidth=1.1,
                    label=name if k == 0 else None,
                )
    for panel, label in zip(
        axes, ("gradients of one configuration", "floating-point operations"), strict=True
    ):
        panel.set(xscale="log", yscale="log", xlabel=label)
    axes[0].set_ylabel("test RMSD per component (eV/Å)")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, fontsize="small")
    return figure
