"""Figure of the readings of the paper."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from enn_book.style import REMARK, line_styles, new_figure


def plot_readings(study: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Four courses of every reading: training loss, time step, steps with P <= 0, smallest hidden norm.

    One thin line for every seed; all without unit, against the iteration.

    Args:
        study: what `enn_book.studies.fire.study.by_reading` returns, or at most six readings of it.

    Raises:
        ValueError: if there are more readings than can be told apart, or none.
    """
    figure, axes = new_figure(2, 2, width=6.6, height=5.8, sharex=True)
    for (name, seeds), (color, dash) in zip(study.items(), line_styles(study, "study"), strict=False):
        for k, history in enumerate(seeds.values()):
            # A logarithmic axis has no place for iteration 0, the first row.
            loss, dt, norm = (history[column][1:] for column in ("training_loss", "dt", "smallest_norm"))
            share = np.diff(history["stops"]) / np.diff(history["iteration"])
            style = {"color": color, "linestyle": dash, "linewidth": 1.1, "label": name if k == 0 else None}
            for panel, values in zip(axes.flat, (loss, dt, share, norm), strict=True):
                panel.plot(history["iteration"][1:], values, **style)
    axes[0, 0].set(xscale="log", yscale="log", ylabel="training loss")
    axes[0, 1].set(yscale="log", ylabel=r"$\Delta t$")
    axes[1, 0].set(ylabel=r"part of steps with $P \leq 0$", xlabel="iteration")
    axes[1, 1].set(yscale="log", ylabel="smallest hidden norm", xlabel="iteration")
    axes[0, 0].axhline(1, **REMARK)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=3, fontsize="small")
    return figure
