"""Figure of test error against cost."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_book.style import BLACK, BLUE, GREEN, PURPLE, VERMILION, new_figure

NAMES = {
    "fire": ("FIRE", VERMILION, "--"),
    "lbfgs": ("L-BFGS", BLACK, "--"),
    "adam": ("Adam", BLUE, "-"),
    "soap": ("SOAP", PURPLE, "-"),
    "muon": ("Muon", GREEN, "-"),
}
"""The names of the optimisers, and how they are drawn; dashed are those that take the whole batch."""


def plot_costs(costs: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Test error (meV/Å) against gradient evaluations, a line for every seed.

    Args:
        costs: what `enn_book.studies.cost.study.at_best_rates` returns.
    """
    figure, axes = new_figure(width=5.6, height=3.8)
    for name in sorted(costs, key=list(NAMES).index):
        label, color, dash = NAMES[name]
        for k, history in enumerate(costs[name].values()):
            errors = [1000 * error for error in history["test_rmsd"]]
            style = {"color": color, "linestyle": dash, "linewidth": 1.2, "label": None if k else label}
            axes.plot(history["gradient_evaluations"], errors, **style)
    axes.set(xscale="log", yscale="log", xlabel="gradients of one cloud", ylabel="test error (meV/Å)")
    axes.minorticks_off()
    axes.set_yticks([20, 50, 100, 200], ["20", "50", "100", "200"])
    figure.legend(loc="outside upper center", ncols=5, fontsize="small", handlelength=1.8)
    return figure
