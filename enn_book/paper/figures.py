"""The figures of the paper, one function each.

Every function returns a Matplotlib figure that pyplot no longer holds, so that a notebook shows it
once, as the value of its cell.

===========  ======================
figure       function
===========  ======================
1            `plot_potential`
2            `plot_loss`
3            `plot_parity`
4            `plot_position_rmsd`
5            `plot_trajectory`
6            `plot_energy_rmsd`
7            `plot_energy`
===========  ======================

Predictions come as a mapping from a label to values; the first is drawn as a prediction of the network
alone, the second as one averaged over the permutations of the atoms.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure
from torch import Tensor, float64, linspace

from enn_book.paper.claims import NETWORK, Result, Way
from enn_book.style import (
    ANALYTIC,
    BLACK,
    BLUE,
    GREEN,
    PREDICTIONS,
    REMARK,
    VERMILION,
    new_figure,
)
from enn_lib.argon import ARGON, LennardJones


def potential_curve(
    potential: LennardJones = ARGON, *, r_min: float = 2.8, r_max: float = 8.0
) -> tuple[Tensor, Tensor]:
    """The curve of Figure 1: distances, Å, from just below `r_min`, and energies of a pair, eV; float64."""
    distance = linspace(r_min - 0.04, r_max, 800, dtype=float64)
    return distance, potential.pair_energy(distance)


def plot_potential(potential: LennardJones = ARGON, *, r_min: float = 2.8, r_max: float = 8.0) -> Figure:
    """Figure 1: the energy of a pair (Eq. 38), eV, against its distance, Å.

    The large axes begin at `r_min`, below which sec. 4.1 rejects a configuration; the inset shows the
    well, with its minimum at 2^(1/6) r_0 and its zero at r_0.
    """
    figure, axes = new_figure()
    distance, energy = potential_curve(potential, r_min=r_min, r_max=r_max)
    axes.plot(distance, energy, **ANALYTIC)
    wall = potential.pair_energy(linspace(r_min, r_min, 1)).item()
    axes.axvline(r_min, **REMARK)
    axes.plot(r_min, wall, "s", color=VERMILION)
    axes.annotate(
        rf"$r_\mathrm{{min}}$ = {r_min:g} Å: {wall:.3f} eV",
        (r_min, wall),
        (10, -3),
        textcoords="offset points",
    )
    axes.set(xlabel="distance $r_{ij}$ (Å)", ylabel="energy $U_{ij}$ (eV)", xlim=(r_min - 0.15, r_max))
    axes.set_ylim(-3 * potential.epsilon, 1.12 * wall)

    axes.grid(False)  # its lines would run into the inset
    inset = axes.inset_axes((0.36, 0.27, 0.62, 0.56))
    inset.plot(distance, 1000 * energy, **ANALYTIC)
    minimum = 2 ** (1 / 6) * potential.r0
    depth = 1000 * potential.epsilon
    inset.plot(minimum, -depth, "o", color=BLUE)
    inset.annotate(
        f"{minimum:.2f} Å, {-depth:.1f} meV".replace("-", "\N{MINUS SIGN}"),
        (minimum, -depth), (6, -15), textcoords="offset points",
    )  # fmt: skip
    inset.plot(potential.r0, 0, "D", color=GREEN, markersize=5)
    inset.annotate(f"$r_0$ = {potential.r0:g} Å", (potential.r0, 0), (8, 6), textcoords="offset points")
    inset.axhline(0, **REMARK)
    inset.set(xlim=(3.1, r_max), ylim=(-1.7 * depth, 1.3 * depth), title="the well (meV)")
    return figure


def plot_loss(
    histories: Mapping[str, Mapping[str, Sequence[float]]], *, level: float | None = None
) -> Figure:
    """Figure 2: training and validation loss (Eq. 43, without unit) on two logarithmic axes.

    Args:
        histories: the history of each run (`Run.history`), by its label.
        level: the loss that belongs to the paper's RMSD, drawn as a line.
    """
    figure, axes = new_figure(height=4.2)
    for (label, history), style, marker in zip(histories.items(), PREDICTIONS, "os^", strict=False):
        # Iteration 0 has no place on a logarithmic axis.
        rows = [row for row, x in enumerate(history["iteration"]) if x > 0]
        x = [history["iteration"][row] for row in rows]
        for part, dash, face in (("training", "-", style["color"]), ("validation", "--", "white")):
            axes.plot(
                x,
                [history[f"{part}_loss"][row] for row in rows],
                color=style["color"],
                linestyle=dash,
                marker=marker,
                markersize=3.5,
                markerfacecolor=face,
                label=f"{label}, {part}",
            )
    if level is not None:
        axes.axhline(level, label="the paper's test RMSD", **REMARK)
    axes.set(xscale="log", yscale="log", xlabel="iteration", ylabel="loss (mean, no unit)")
    axes.legend(fontsize="small")
    return figure


def plot_parity(analytic: Tensor, predictions: Mapping[str, Tensor]) -> Figure:
    """Figure 3: predicted against analytic force components (eV/Å), and their differences.

    Hexagons are the darker, the more components fall into them, on a logarithmic scale: single points
    of a quarter of a million would hide that nearly all lie at zero.

    Args:
        analytic: forces, eV/Å, any shape.
        predictions: forces of the same shape, by label; one column each.
    """
    columns = len(predictions)
    figure, axes = new_figure(
        2, columns, height=5.6, sharex=True, sharey="row", squeeze=False, height_ratios=(3, 2)
    )
    true = analytic.flatten().numpy()
    flat = {label: forces.flatten().numpy() for label, forces in predictions.items()}
    limit = 1.03 * max(np.abs(values).max() for values in (true, *flat.values()))
    worst = 1.05 * max(np.abs(values - true).max() for values in flat.values())
    norm = LogNorm(1, len(true))
    greys = LinearSegmentedColormap.from_list("counts", ["0.65", "0"])
    for (label, values), (top, bottom) in zip(flat.items(), axes.T, strict=True):
        top.plot((-limit, limit), (-limit, limit), color=BLACK, linewidth=0.8, zorder=0)
        top.hexbin(
            true, values, gridsize=200, norm=norm, cmap=greys, mincnt=1,
            extent=(-limit, limit, -limit, limit), linewidths=0.2,
        )  # fmt: skip
        top.set(title=label, xlim=(-limit, limit), ylim=(-limit, limit))
        drawn = bottom.hexbin(
            true, values - true, gridsize=(70, 40), norm=norm, cmap=greys, mincnt=1,
            extent=(-limit, limit, -worst, worst), linewidths=0.2,
        )  # fmt: skip
        bottom.set(xlabel="analytic (eV/Å)", ylim=(-worst, worst))
    axes[0, 0].set_ylabel("predicted (eV/Å)")
    axes[1, 0].set_ylabel("difference (eV/Å)")
    figure.colorbar(drawn, ax=axes, location="bottom", label="components in a hexagon", aspect=40, pad=0.02)
    return figure


def _mark(axes: Axes, places: Sequence[float]) -> None:
    """Vertical lines at the steps that the text speaks of."""
    for place in places:
        axes.axvline(place, zorder=0, **REMARK)


def _plot_rmsd(
    rmsd: Mapping[str, Tensor], *, steps: Sequence[int], label: str, level: float | None, dt: float
) -> Figure:
    """A deviation against the step, on a linear and on a logarithmic axis."""
    figure, (top, bottom) = new_figure(2, 1, height=5.2, sharex=True)
    for axes in (top, bottom):
        for (name, values), style in zip(rmsd.items(), PREDICTIONS, strict=False):
            axes.plot(np.arange(len(values)) * dt, values, label=name, **style)
        longest = max(len(values) - 1 for values in rmsd.values())
        _mark(axes, [step * dt for step in steps if step <= longest])
        if level is not None:
            axes.axhline(level, label="the paper's bound", **{**REMARK, "linestyle": "-"})
        axes.set_ylabel(label)
    # What lies below the first ten steps is rounding, and would fill the logarithmic axis.
    first = [values[min(10, len(values) - 1)].item() for values in rmsd.values()]
    top.set_ylim(bottom=0)
    bottom.set_yscale("log")
    bottom.set_ylim(bottom=max(min(first), 1e-12))
    bottom.set_xlabel("MD step" if dt == 1 else "time (fs)")
    figure.legend(*top.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    return figure


def plot_position_rmsd(
    rmsd: Mapping[str, Tensor], *, steps: Sequence[int] = (1500, 4000), dt: float = 1.0
) -> Figure:
    """Figure 4: the RMSD of positions (Eq. 48), Å, against the step of the dynamics.

    Args:
        rmsd: a deviation for every step, ``(steps + 1,)``, by label.
        steps: steps to mark.
        dt: the time step, fs.
    """
    return _plot_rmsd(rmsd, steps=steps, label="RMSD of positions (Å)", level=None, dt=dt)


def plot_energy_rmsd(
    rmsd: Mapping[str, Tensor], *, steps: Sequence[int] = (4000,), level: float | None = 4e-4, dt: float = 1.0
) -> Figure:
    """Figure 6: the RMSD of total energies (Eq. 49), eV, against the step; `level` is the paper's.

    Arguments are those of `plot_position_rmsd`.
    """
    return _plot_rmsd(rmsd, steps=steps, label="RMSD of energy (eV)", level=level, dt=dt)


def _plot_series(
    analytic: Tensor, predictions: Mapping[str, Tensor], *, steps: Sequence[int], label: str, dt: float
) -> Figure:
    """The analytic course of a quantity and its predictions."""
    figure, axes = new_figure()
    axes.plot(np.arange(len(analytic)) * dt, analytic, label="analytic", **ANALYTIC)
    for (name, values), style in zip(predictions.items(), PREDICTIONS, strict=False):
        axes.plot(np.arange(len(values)) * dt, values, label=name, **style)
    _mark(axes, [step * dt for step in steps if step < len(analytic)])
    axes.set(xlabel="MD step" if dt == 1 else "time (fs)", ylabel=label)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    return figure


def plot_trajectory(
    analytic: Tensor,
    predictions: Mapping[str, Tensor],
    *,
    steps: Sequence[int] = (1500, 4000),
    dt: float = 1.0,
) -> Figure:
    """Figure 5: one coordinate of one atom, Å, against the step.

    Args:
        analytic: the coordinate at every step, ``(steps + 1,)``.
        predictions: the same by label.
        steps: steps to mark.
        dt: the time step, fs.
    """
    return _plot_series(analytic, predictions, steps=steps, label="$x$ of atom 1 (Å)", dt=dt)


def plot_energy(
    analytic: Tensor, predictions: Mapping[str, Tensor], *, steps: Sequence[int] = (4000,), dt: float = 1.0
) -> Figure:
    """Figure 7: the total energy (Eq. 47) of one sample, eV, against the step.

    Arguments are those of `plot_trajectory`.
    """
    return _plot_series(analytic, predictions, steps=steps, label="energy (eV)", dt=dt)


def plot_claims(results: Sequence[Result]) -> Figure:
    """What was measured for claims about the trained network, over the paper's value or our bound; log axis.

    A row for each claim with an upper bound and each reading of it, a mark for each run and way.
    """
    bounded = [r for r in results if r.claim.group == NETWORK and isfinite(r.claim.wanted.at_most)]
    rows = [(r, reading) for r in bounded for reading in r.readings[Way.PAPER]]
    figure, axes = new_figure(height=0.6 + 0.5 * len(rows))
    for way, color, marker in zip(Way, (BLACK, VERMILION, BLUE), "xos", strict=True):
        marks = [
            (value / r.claim.wanted.at_most, -row)
            for row, (r, reading) in enumerate(rows)
            for value in r.readings[way][reading]
        ]
        axes.plot(*zip(*marks, strict=True), marker, color=color, label=way, fillstyle="none", markersize=8)
    axes.axvline(1, **REMARK)
    labels = [
        f"{r.claim.source}: {r.claim.statement.partition(' (')[0]}{f', {reading}' * bool(reading)}"
        for r, reading in rows
    ]
    axes.set_yticks([-row for row in range(len(rows))], [fill(label, 24) for label in labels])
    axes.set(xscale="log", xlabel="measured / wanted", ylim=(0.5 - len(rows), 0.5))
    figure.legend(loc="outside upper left", ncols=3, columnspacing=1.0, handletextpad=0.2)
    return figure
