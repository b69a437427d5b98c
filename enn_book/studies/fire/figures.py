"""Figures of the descents on whole batches."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import exp, log
from types import MappingProxyType

from matplotlib.figure import Figure

from enn_book.style import BLUE, VERMILION, line_styles, new_figure

Course = tuple[Sequence[float], Sequence[float]]
"""Iterations, and a value at each of them."""


def plot_courses(
    methods: Mapping[str, Sequence[Course]], *, ylabel: str, styles: Sequence[tuple] | None = None
) -> Figure:
    """A value of some methods against the iteration on logarithmic axes, a thin line for each training.

    Args:
        methods: the courses of every method by its label, at most six; iteration 0 is left out.
        ylabel: the name of the value.
        styles: a colour and a dash for every method, in place of the book's.

    Raises:
        ValueError: if there are more methods than can be told apart, or none.
    """
    figure, axes = new_figure(width=4.9, height=4.2)
    styles = styles or line_styles(methods, "methods")
    for (label, courses), (color, dash) in zip(methods.items(), styles, strict=True):
        for k, (iterations, values) in enumerate(courses):
            first = int(iterations[0] == 0)
            style = {"color": color, "linestyle": dash, "linewidth": 1.1, "label": None if k else label}
            axes.plot(iterations[first:], values[first:], **style)
    axes.set(xscale="log", yscale="log", xlabel="iteration", ylabel=ylabel)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def plot_panels(
    methods: Mapping[str, Sequence[Course]], *, colors: Sequence[str], ylabel: str = "training loss"
) -> Figure:
    """A value of each of four methods in its own panel, on the same axes, a line for each training.

    Args:
        methods: the courses of every method by its label.
        colors: one for every method.
        ylabel: the name of the value.
    """
    figure, panels = new_figure(2, 2, width=4.9, height=4.6, sharex=True, sharey=True)
    for panel, (label, courses), color in zip(panels.flat, methods.items(), colors, strict=True):
        for iterations, values in courses:
            panel.plot(iterations, values, color=color, linestyle="-", linewidth=0.8)
        panel.set(yscale="log", title=label)
    for panel in panels[:, 0]:
        panel.set_ylabel(ylabel)
    for panel in panels[1]:
        panel.set_xlabel("iteration")
    return figure


def plot_ends(
    methods: Mapping[str, Sequence[tuple[float, float]]],
    pale: Mapping[str, Sequence[tuple[float, float]]] = MappingProxyType({}),
) -> Figure:
    """The loss at the end and the largest rise of every training as dots, in a row for each method.

    Args:
        methods: both numbers of the trainings of every method by its label, from the top.
        pale: the same of other trainings of these methods, which are drawn as orange rings.
    """
    figure, panels = new_figure(1, 2, width=5.0, height=1.0 + 0.31 * len(methods), sharey=True)
    for row, label in enumerate(methods):
        for found, style in (
            (pale.get(label, ()), {"color": VERMILION, "fillstyle": "none"}),
            (methods[label], {"color": BLUE, "alpha": 0.6}),
        ):
            for panel, values in zip(panels, zip(*found, strict=True), strict=False):
                panel.plot(values, [row] * len(values), "o", markersize=5, **style)
    panels[0].set_yticks(range(len(methods)), list(methods))
    panels[0].set_ylim(len(methods) - 0.5, -0.5)
    for panel, name, ticks in (
        (panels[0], "loss at the end", ("0.001", "0.01", "0.1", "1")),
        (panels[1], "largest rise", ("1", "10", "100", "1000")),
    ):
        panel.set(xscale="log", xlabel=name)
        shown = [tick if k % 2 == 0 else "" for k, tick in enumerate(ticks)]
        panel.set_xticks([float(tick) for tick in ticks], shown)
    return figure


def times_apart(one: Sequence[float], other: Sequence[float]) -> list[float]:
    """The largest factor, at least 1, between two courses of losses up to every iteration."""
    ratios = (abs(log(a / b)) for a, b in zip(one, other, strict=True))
    return [exp(largest) for largest in accumulate(ratios, max)]
