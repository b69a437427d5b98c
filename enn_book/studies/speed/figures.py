"""The figures of the page on speed."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from enn_book.studies.speed.timing import products_per_configuration
from enn_book.style import BLACK, BLUE, GREEN, REMARK, VERMILION, new_figure

Table = Mapping[str, Sequence[float]]

STYLES = {
    "products": {"color": BLACK, "linestyle": "-", "marker": ""},
    "compiled": {"color": BLUE, "linestyle": "--", "marker": "o"},
    "eager": {"color": GREEN, "linestyle": "-.", "marker": "s"},
    "straightforward": {"color": VERMILION, "linestyle": ":", "marker": "D"},
}


def plot_training_rates(training: Table) -> Figure:
    """Operations of the matrix products a second (GFLOP/s) against the batch, a panel for each thread count.

    Args:
        training: the table `enn_book.studies.speed.study.TRAINING_COLUMNS`.
    """
    threads = sorted(set(training["threads"]))
    figure, axes = new_figure(1, len(threads), width=6.6, height=3.6, sharey=True, squeeze=False)
    for panel, count in zip(axes[0], threads, strict=True):
        rows = [k for k, t in enumerate(training["threads"]) if t == count]
        batches = [training["batch"][k] for k in rows]
        for name, style in STYLES.items():
            rates = [1e-9 * products_per_configuration() / training[name][k] for k in rows]
            panel.plot(batches, rates, label=name, markersize=4, **style)
        panel.set(xscale="log", xlabel="configurations in a batch")
        panel.set_title("1 thread" if count == 1 else f"{count:.0f} threads")
        panel.xaxis.set_minor_formatter(NullFormatter())
    axes[0, 0].set_ylabel("products' rate (GFLOP/s)")
    axes[0, 0].set_ylim(bottom=0)  # last, as it ends the scaling of the axis, which the panels share
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, fontsize="small"
    )
    return figure


def plot_dynamics_rates(dynamics: Table) -> Figure:
    """Steps a second of one sample, all samples counted, against the samples simulated at once.

    Args:
        dynamics: the table `enn_book.studies.speed.study.DYNAMICS_COLUMNS`; its first number of threads is
            shown.
    """
    figure, axes = new_figure()
    rows = [k for k, t in enumerate(dynamics["threads"]) if t == dynamics["threads"][0]]
    samples = [dynamics["samples"][k] for k in rows]
    for name, label, style in (
        ("analytic", "analytic force", STYLES["products"] | {"marker": "^"}),
        ("network_float32", "network, float32", STYLES["eager"]),
        ("network", "network, float64", STYLES["compiled"]),
    ):
        rates = [n / dynamics[name][k] for n, k in zip(samples, rows, strict=True)]
        axes.plot(samples, rates, label=label, **style)
    axes.plot(samples, [1 / dynamics["ase"][k] for k in rows], label="ASE, one by one", **REMARK)
    axes.set(xscale="log", yscale="log", xlabel="samples at once", ylabel="steps of one sample a second")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.legend()
    return figure
