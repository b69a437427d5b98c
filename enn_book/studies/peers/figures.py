"""The figures of the page on peers: error against time, a fitted law, error against data, a jump."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from enn_book.models.catalogue import PEERS
from enn_book.studies.study import Record
from enn_book.studies.timed import errors, mean_error
from enn_book.style import (
    ANALYTIC,
    BLACK,
    BLUE,
    ORANGE,
    PURPLE,
    REMARK,
    SKY,
    VERMILION,
    new_figure,
)
from enn_lib.force_field import ForceField

LOOKS: dict[str, tuple] = {
    "frames": (PURPLE, "v", ":"),
    "enn": (VERMILION, "o", "-"),
    "tensor-products": (BLACK, "D", (0, (5, 1))),
    "enn-graph": (VERMILION, "^", "-."),
    "egnn": (BLUE, "s", "--"),
    "perceptron": ("0.5", "P", (0, (3, 1, 1, 1))),
    "perceptron-rotated": (SKY, "X", "-."),
    "least squares": (ORANGE, "*", "-"),
}
"""Colour, marker and dash, the same in all figures; the two ENNs have one hue."""

SQUARE = 2.2 * torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]], dtype=torch.float64)
"""Four atoms in a square, Å; two of its principal axes are equally long."""


def plot_times(
    study: Mapping[str, Mapping[float, Sequence[Record]]], zero: float, fits: Mapping[str, float]
) -> Figure:
    """Test error against training time: the means, the seeds, and the name of each model.

    Times are columns, not an axis: least squares needs hardly any, and nothing is known between the others.

    Args:
        study: the records by model and seconds.
        zero: the error of predicting no force, eV/Å.
        fits: the error (eV/Å) of what is no network, by its name, after a hundredth of a second.
    """
    figure, axis = new_figure(width=4.8, height=4.9)
    axis.grid(visible=False)
    shortest = {model: 1000 * mean_error(times[min(times)]) for model, times in study.items()}
    columns = {t: k + 1 for k, t in enumerate(sorted({t for times in study.values() for t in times}))}
    free = 0.0
    order = sorted(study, key=shortest.__getitem__)
    for place, model in enumerate(order):
        times = study[model]
        color, marker, dash = LOOKS[model]
        aside = 0.08 * (place - (len(order) - 1) / 2)
        middle = [1000 * mean_error(found) for found in times.values()]
        axis.plot([columns[t] + aside for t in times], middle, color=color, linestyle=dash)
        for seconds, found in times.items():
            style = {"color": color, "markersize": 6, "markerfacecolor": "none", "linestyle": "none"}
            beside = [
                columns[seconds] + aside + 0.025 * (k - (len(found) - 1) / 2) for k in range(len(found))
            ]
            axis.plot(beside, [1000 * e for e in errors(found)], marker, **style)
        height = max(shortest[model], free)  # above the name below
        free = 1.7 * height
        axis.text(0.7, height, PEERS[model].title, ha="right", va="center", color=color)
    color, marker, _ = LOOKS["least squares"]
    for name, error in fits.items():
        axis.axhline(1000 * error, color=color, linewidth=1.2, linestyle=":")
        axis.plot([0], [1000 * error], marker, color=color, markersize=13, linestyle="none")
        axis.text(-0.6, 1300 * error, name.replace(", ", ",\n"), va="bottom")
    axis.axhline(1000 * zero, **REMARK)
    axis.text(-0.6, 900 * zero, "no force at all", va="top", color="0.35")
    said = ["0.01 s", *(f"{t:g} s" if t < 60 else f"{t / 60:g} min" for t in columns)]
    axis.set(yscale="log", xlim=(-0.65, len(columns) + 0.3), xticks=range(len(said)), xticklabels=said)
    axis.minorticks_off()
    axis.set(xlabel="training time on one core", ylabel="test error (meV/Å)")
    return figure


def plot_law(r: Tensor, fitted: Tensor, wanted: Tensor, closest: float, cutoff: float) -> Figure:
    """A force between two atoms at their distance, fitted and true, and how far these lie apart.

    Args:
        r: distances, Å, ``(N,)``.
        fitted: the force towards the other atom, eV/Å, ``(N,)``.
        wanted: the true one.
        closest: the distance below which there are no data, Å.
        cutoff: the distance from which on the fitted force is zero, Å; marked below.
    """
    figure, (law, apart) = new_figure(2, 1, width=4.8, height=4.3, sharex=True)
    color = LOOKS["least squares"][0]
    law.plot(r, 1000 * wanted, label="Lennard-Jones", **(ANALYTIC | {"linewidth": 4, "color": "0.7"}))
    law.plot(r, 1000 * fitted, color=color, linestyle="--", linewidth=2, label="least squares")
    law.set(ylim=(-30, 12), ylabel="force (meV/Å)")
    law.legend(loc="lower right")
    apart.plot(r, 1000 * (fitted - wanted).abs(), color=color, linestyle="-", linewidth=2)
    apart.set(yscale="log", xlabel="distance (Å)", ylabel="error (meV/Å)")
    for axis in (law, apart):
        axis.axvspan(r.min().item(), closest, color="0.92", linewidth=0)
        axis.margins(x=0)
    apart.axvline(cutoff, **REMARK)
    apart.annotate(
        "cutoff", (cutoff, 1), (-4, -4), ("data", "axes fraction"), "offset points", ha="right", va="top"
    )
    law.text((r.min().item() + closest) / 2, -9, "no data", rotation=90, ha="center", va="center")
    return figure


def plot_data(
    found: Mapping[str, Mapping[int, Sequence[Record]]], zero: float, fits: Mapping[int, Sequence[float]]
) -> Figure:
    """Test error against the number of training configurations: means and ranges over the seeds.

    Args:
        found: the records by model and number of configurations.
        zero: the error of predicting no force, eV/Å.
        fits: the errors of least squares (eV/Å) by number of configurations.
    """
    figure, axis = new_figure(width=4.8, height=4.3)
    courses = {
        LOOKS[model]: (PEERS[model].title, {n: errors(runs) for n, runs in sizes.items()})
        for model, sizes in found.items()
    }
    courses[LOOKS["least squares"]] = ("least squares", fits)
    for (color, marker, dash), (label, sizes) in courses.items():
        here = [torch.tensor(each, dtype=torch.float64) * 1000 for each in sizes.values()]
        middle = [e.mean().item() for e in here]
        ranges = torch.tensor([(e.mean() - e.min(), e.max() - e.mean()) for e in here]).T
        style = {"color": color, "marker": marker, "linestyle": dash, "capsize": 3, "label": label}
        axis.errorbar(list(sizes), middle, ranges, **style)
    axis.axhline(1000 * zero, **REMARK)
    axis.text(9e4, 1100 * zero, "no force at all", ha="right", va="bottom", color="0.35")
    axis.set(xscale="log", yscale="log", xlabel="training configurations", ylabel="test error (meV/Å)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _sketch(axis: Axes, stretch: float) -> None:
    """`SQUARE` stretched, and its two principal axes in the plane, if there are such."""
    sides = torch.tensor([1 + stretch, 1 - stretch])
    x, y = (SQUARE[:, :2] * sides).T
    axis.fill(x, y, facecolor="none", edgecolor="0.5", linewidth=1)
    axis.plot(x, y, "o", color=BLACK, markersize=6, clip_on=False)
    for place in range(2) if stretch else ():
        is_long = sides[place] > 1
        end = 2.2 * sides * torch.eye(2)[place]
        options = {"arrowstyle": "-|>", "color": BLACK if is_long else "0.5", "linewidth": 2}
        axis.annotate("", (0.85 * end).tolist(), (0, 0), arrowprops={**options, "shrinkA": 0, "shrinkB": 0})
        outside = {"va": "bottom", "ha": "center"} if place else {"va": "center", "ha": "left"}
        x, y = (1.15 * end).tolist()
        axis.text(x, y, "long" if is_long else "short", **outside)
    if not stretch:
        axis.text(0, 0, "?", ha="center", va="center", fontsize=16)
    axis.set(xlim=(-4.6, 4.6), ylim=(-3.0, 4.2), aspect="equal")
    axis.axis("off")


def plot_jump(fields: Mapping[str, ForceField], count: int = 402) -> tuple[Figure, dict[str, float]]:
    """A force on an atom of `SQUARE`, stretched to rectangles; and by how far all forces jump at the square.

    Drawn is the component in which the forces of the second field jump furthest; above it three of the
    rectangles, exaggerated.

    Args:
        fields: two, by their names; the first is the truth.
        count: of rectangles, even, so that none is the square.
    """
    stretch = torch.linspace(-0.1, 0.1, count, dtype=torch.float64)
    scale = torch.stack((1 + stretch, 1 - stretch, torch.ones_like(stretch)), dim=-1).unsqueeze(1)
    forces = {name: field.forces(SQUARE * scale).detach() for name, field in fields.items()}
    half = count // 2
    steps = {name: f[half] - f[half - 1] for name, f in forces.items()}
    furthest = int(steps[list(steps)[1]].abs().argmax())
    figure, panels = new_figure(2, 3, width=4.8, height=4.7, height_ratios=[1.2, 2])
    for panel, exaggerated in zip(panels[0], (-0.25, 0.0, 0.25), strict=True):
        _sketch(panel, exaggerated)
    for panel in panels[1]:
        panel.remove()
    axis = figure.add_subplot(panels[1, 0].get_gridspec()[1, :])
    for (name, f), color in zip(forces.items(), (BLACK, LOOKS["frames"][0]), strict=True):
        for side, end in ((slice(half), half - 1), (slice(half, None), half)):
            y = 1000 * f.flatten(1)[:, furthest]
            axis.plot(100 * stretch[side], y[side], "-", color=color, linewidth=2.5)
            if color != BLACK:
                axis.plot(100 * stretch[end], y[end], "o", color=color, markersize=7)
        end, place = (0, "left") if color == BLACK else (-1, "right")
        axis.annotate(
            name, (100 * stretch[end], y[end]), (0, 7), textcoords="offset points", ha=place, color=color
        )
    axis.margins(y=0.15)
    axis.set(xlabel="stretch of the horizontal sides (%)", ylabel="force (meV/Å)", xticks=[-10, -5, 0, 5, 10])
    return figure, {name: jump.norm().item() for name, jump in steps.items()}
