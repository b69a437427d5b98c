"""The figures of the paper, one function each, and the house style.

Every function returns a Matplotlib figure that pyplot no longer holds, so that a notebook shows it
once, as the value of its cell. The style is readable in print (lines differ by dash and marker too),
by colour-blind readers (the palette of Okabe and Ito), and in dark mode (an opaque white ground).
"""

import matplotlib.pyplot as plt
from cycler import cycler
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""The palette of Okabe and Ito (2008), *Color Universal Design*."""

ANALYTIC = {"color": BLACK, "linestyle": "-", "linewidth": 2.0}
"""How the analytic solution is drawn everywhere."""

PREDICTED = {"color": VERMILION, "linestyle": "--", "linewidth": 1.6}
"""How a prediction of the network is drawn everywhere."""

AVERAGED = {"color": BLUE, "linestyle": "-.", "linewidth": 1.6}
"""How a prediction averaged over the permutations of the atoms is drawn everywhere."""

HOUSE_STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "axes.prop_cycle": cycler(
        color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK],
        linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-"],
    ),
}


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 7.0, height: float = 4.0, **kwargs):
    """A figure in the house style and its axes, as ``plt.subplots`` returns them (sizes in inches).

    The figure is closed for pyplot; return it as the value of a notebook's cell to show it.
    """
    with plt.rc_context(HOUSE_STYLE):
        figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **kwargs)
    plt.close(figure)
    return figure, axes


__all__ = [
    "ANALYTIC",
    "AVERAGED",
    "Figure",
    "HOUSE_STYLE",
    "PREDICTED",
    "new_figure",
]
