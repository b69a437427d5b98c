"""Figures of FIRE at work: a descent on a surface, and clusters that relax."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from torch import Tensor

from enn_book.lectures.clusters import Relaxation
from enn_book.style import BLACK, BLUE, GREEN, REMARK, VERMILION, new_figure

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


def plot_frames(
    relaxation: Relaxation,
    steps: Sequence[int],
    *,
    energy: Callable[[Tensor], Tensor] = valley,
    extent: Extent = VALLEY_EXTENT,
) -> Figure:
    """A descent on a surface, at four or any even number of moments.

    Level lines, the path up to the step, and a cross wherever the motion was stopped.

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
        _contours(panel, energy, extent)
        path = relaxation.positions[: step + 1]
        stopped = path[relaxation.power[: step + 1] < 0]
        panel.plot(*path.T, "-o", color=BLUE, markersize=2.2, linewidth=0.9)
        panel.plot(*stopped.T, "X", color=VERMILION, markersize=7)
        panel.plot(*path[0], "s", color=BLACK, markersize=5)
        panel.grid(visible=False)
        panel.set(xlim=extent[:2], ylim=extent[2:])
        panel.set_title(f"step {step}: $U$ = {relaxation.energy[step]:.2g}")
    return figure


def check_plane(relaxation: Relaxation) -> None:
    """Raise ValueError unless the positions are of two coordinates."""
    if relaxation.positions.shape[1:] != (2,):
        shape = tuple(relaxation.positions.shape)
        raise ValueError(f"relaxation: got positions of shape {shape}, wanted (steps + 1, 2)")


def plot_relaxations(
    relaxations: Mapping[str, Relaxation], minimum: float, limits: Mapping[int, float]
) -> Figure:
    """How far the energy of a cluster is above its known minimum, in epsilon, and below it the time step.

    Args:
        relaxations: by label, at most three; the last one says how many steps are shown.
        minimum: the known energy, epsilon.
        limits: the longest stable time step, by the number of the step.
    """
    figure, (above, below) = new_figure(2, 1, height=6.0, sharex=True)
    *_, last = relaxations.values()
    for (label, run), color, dash in zip(
        relaxations.items(), (VERMILION, BLUE, GREEN), ("-", "--", "-."), strict=False
    ):
        style = {"color": color, "linestyle": dash}
        above.plot(run.energy - minimum, **style)
        below.plot(run.dt, **style)
        at = min(run.steps, last.steps) // 2
        place = (at, run.energy[at].item() - minimum)
        above.annotate(label, place, (8, 8), textcoords="offset points", color=color)
    # The published energies end at the sixth decimal.
    above.axhline(1e-6, **REMARK)
    above.annotate("last digit published", (0, 1e-6), (4, 4), textcoords="offset points", color="0.35")
    above.set(yscale="log", ylim=(1e-7, None), ylabel=r"$U - U_\mathrm{min}$ ($\epsilon$)")
    below.plot(*zip(*limits.items(), strict=True), color=BLACK, linewidth=1.2)
    below.annotate(
        "limit", (last.steps, [*limits.values()][-1]), (-6, -16), textcoords="offset points", ha="right"
    )
    below.set(xlim=(0, last.steps), ylim=(0, None), xlabel="step", ylabel=r"time step $\Delta t$")
    return figure
