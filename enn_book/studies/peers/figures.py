"""The figures of the page on peers: error against time, error against data, and the jump of frames."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from enn_book.models.catalogue import PEERS
from enn_book.studies.study import Record
from enn_book.studies.timed import errors, mean_error
from enn_book.style import BLACK, BLUE, GREEN, PURPLE, REMARK, VERMILION, new_figure, number
from enn_lib.force_field import ForceField

LOOKS: dict[str, tuple] = {
    "frames": (PURPLE, "v", ":"),
    "enn": (VERMILION, "o", "-"),
    "tensor-products": (BLACK, "D", (0, (5, 1))),
    "enn-graph": (GREEN, "^", "-."),
    "egnn": (BLUE, "s", "--"),
    "perceptron": (PURPLE, "P", (0, (3, 1, 1, 1))),
    "perceptron-rotated": (GREEN, "X", "-."),
}
"""Colour, marker and dash by model; a figure has no two of one colour."""

SQUARE = 2.2 * torch.tensor([[1.0, 1, 0], [1, -1, 0], [-1, -1, 0], [-1, 1, 0]], dtype=torch.float64)
"""Four atoms in a square, Å; two of its principal axes are equally long."""


def plot_times(
    study: Mapping[str, Mapping[float, Sequence[Record]]], step: Mapping[str, float], zero: float
) -> Figure:
    """Test error against training time: the means, the seeds, and at each end the name and cost of a step.

    Args:
        study: the records by model and seconds.
        step: milliseconds, by model.
        zero: the error of predicting no force, eV/Å.
    """
    figure, axis = new_figure(width=5.6, height=4.1)
    last = {model: 1000 * mean_error(times[max(times)]) for model, times in study.items()}
    low, free = min(last.values()), 0.0
    for model in sorted(study, key=last.__getitem__):
        times = study[model]
        color, marker, dash = LOOKS[model]
        middle = [1000 * mean_error(found) for found in times.values()]
        axis.plot(list(times), middle, color=color, marker=marker, linestyle=dash)
        for seconds, found in times.items():
            axis.plot(
                [seconds] * len(found), [1000 * e for e in errors(found)], ".", color=color, markersize=4
            )
        label = f"{PEERS[model].title}\n{number(step[model])} ms a step"
        height = max(0.75 * last[model], free)  # above the name below
        free = 2.6 * height
        axis.text(1.1 * max(times), height, label, va="center", color=color)
    first, second = sorted({seconds for times in study.values() for seconds in times})
    axis.axhline(1000 * zero, **REMARK)
    axis.annotate(
        "no force at all", (first, 1000 * zero), (0, -5), textcoords="offset points", va="top", color="0.35"
    )
    axis.set(xscale="log", yscale="log", xlim=(0.8 * first, 4.2 * second), ylim=(0.4 * low, None))
    axis.set(xticks=(first, second), xticklabels=(f"{first:g} s", f"{second / 60:g} minutes"))
    axis.minorticks_off()
    axis.set(xlabel="training time on one core", ylabel="test error (meV/Å)")
    return figure


def plot_data(found: Mapping[str, Mapping[int, Sequence[Record]]], zero: float) -> Figure:
    """Test error against the number of training configurations: means and ranges over the seeds.

    Args:
        found: the records by model and number of configurations.
        zero: the error of predicting no force, eV/Å.
    """
    figure, axis = new_figure(width=5.4, height=4.0)
    for model, sizes in found.items():
        color, marker, dash = LOOKS[model]
        here = [torch.tensor(errors(runs), dtype=torch.float64) * 1000 for runs in sizes.values()]
        middle = [e.mean().item() for e in here]
        ranges = [(e.mean() - e.min(), e.max() - e.mean()) for e in here]
        style = {
            "color": color,
            "marker": marker,
            "linestyle": dash,
            "capsize": 3,
            "label": PEERS[model].title,
        }
        axis.errorbar(list(sizes), middle, torch.tensor(ranges).T, **style)
    axis.axhline(1000 * zero, **REMARK)
    axis.set(xscale="log", yscale="log", xlabel="training configurations", ylabel="test error (meV/Å)")
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def plot_jump(fields: Mapping[str, ForceField], count: int = 402) -> tuple[Figure, dict[str, float]]:
    """A force on an atom of `SQUARE`, stretched to rectangles; and by how far all forces jump at the square.

    Drawn is the component in which the forces of the second field jump furthest.

    Args:
        fields: at most three, by their names; the first is the truth.
        count: of rectangles, even, so that none is the square.
    """
    stretch = torch.linspace(-0.1, 0.1, count, dtype=torch.float64)
    scale = torch.stack((1 + stretch, 1 - stretch, torch.ones_like(stretch)), dim=-1).unsqueeze(1)
    forces = {name: field.forces(SQUARE * scale).detach() for name, field in fields.items()}
    half = count // 2
    steps: dict[str, Tensor] = {name: f[half] - f[half - 1] for name, f in forces.items()}
    furthest = int(steps[list(steps)[1]].abs().argmax())
    figure, axis = new_figure(width=5.4, height=3.2)
    looks = ((BLACK, "-"), (PURPLE, ":"), (VERMILION, "--"))
    for (name, f), (color, dash) in zip(forces.items(), looks, strict=False):
        for side, label in ((slice(half), name), (slice(half, None), None)):
            y = 1000 * f.flatten(1)[side, furthest]
            axis.plot(100 * stretch[side], y, color=color, linestyle=dash, label=label)
    axis.set(xlabel="stretched by (%)", ylabel="force (meV/Å)")
    figure.legend(loc="outside upper center", ncols=3)
    return figure, {name: jump.norm().item() for name, jump in steps.items()}
