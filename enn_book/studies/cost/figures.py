"""Figure of test error against cost."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_book.style import line_styles, new_figure


def plot_costs(costs: Mapping[str, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Test error (eV/Å) against gradient evaluations, and against floating-point operations.

    One line for every seed; a cheaper optimiser is further to the left and a better one further down.

    Args:
        costs: what `enn_book.studies.cost.study.at_best_rates` returns: at most six optimisers.

    Raises:
        ValueError: if there are more optimisers than can be told apart, or none.
    """
    figure, axes = new_figure(1, 2, width=6.6, height=3.8, sharey=True)
    for (name, seeds), (color, dash) in zip(costs.items(), line_styles(costs, "costs"), strict=False):
        for k, history in enumerate(seeds.values()):
            style = {"color": color, "linestyle": dash, "linewidth": 1.1, "label": name if k == 0 else None}
            for panel, column in zip(axes, ("gradient_evaluations", "operations"), strict=True):
                panel.plot(history[column], history["test_rmsd"], **style)
    axes[0].set(xlabel="gradients of one configuration", ylabel="test RMSD per component (eV/Å)")
    axes[1].set(xlabel="floating-point operations")
    for panel in axes:
        panel.set(xscale="log", yscale="log")
    handles = axes[0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, fontsize="small")
    return figure
