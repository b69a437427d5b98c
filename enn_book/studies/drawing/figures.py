"""Figure of the study of drawing: errors by size."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_book.style import BLUE, GREEN, ORANGE, VERMILION, new_figure


def plot_drawing(study: Mapping[float, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Errors over S4 by the largest pair distance, a line for each power by which batches were drawn.

    Args:
        study: what `enn_book.studies.drawing.study.by_power` returns, all tables of the same bins.
    """
    figure, axes = new_figure(height=3.6)
    styles = zip((VERMILION, BLUE, GREEN, ORANGE), ("-", "--", "-.", ":"), ("o", "s", "D", "^"), strict=True)
    for (power, tables), (color, line, marker) in zip(study.items(), styles, strict=False):
        errors = [table["s4_average"] for table in tables.values()]
        means = [sum(values) / len(values) for values in zip(*errors, strict=True)]
        bins = range(len(means) - 1)
        axes.plot(bins, means[:-1], line, color=color, marker=marker, label=f"$p$ = {power:g}")
        axes.plot(len(means) - 1, means[-1], color=color, marker=marker)
        for values in errors:
            axes.plot(range(len(values)), values, ".", color=color, markersize=3)
    table = next(iter(next(iter(study.values())).values()))
    names = [
        f"below {high:g}"
        if low == 0
        else f"above {low:g}"
        if high == float("inf")
        else f"{low:g} to {high:g}"
        for low, high in zip(table["from"][:-1], table["to"][:-1], strict=True)
    ]
    axes.set_xticks(range(len(names) + 1), [*names, "all"])
    axes.set(yscale="log", xlabel="largest pair distance (Å)", ylabel="validation RMSD (eV/Å)")
    axes.legend()
    return figure
