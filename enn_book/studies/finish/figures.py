"""Figure of the finishes: error against the gradients that each has taken."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_book.studies.training import as_rmsd
from enn_book.style import BLUE, GREEN, ORANGE, VERMILION, new_figure


def plot_finishes(
    finishes: Mapping[str, Mapping[str, Mapping[str, Sequence[float]]]], force_scales: Mapping[str, float]
) -> Figure:
    """Error against the gradients that a finish has taken: validation full, training dotted; a panel a start.

    Args:
        finishes: histories by finish by start, with columns as in `enn_book.studies.finish.study.COLUMNS`.
        force_scales: eV/Å, by start.
    """
    figure, grid = new_figure(1, len(finishes), height=3.4, squeeze=False)
    panels = grid[0]
    for axes, (start, histories) in zip(panels, finishes.items(), strict=True):
        for (label, history), color in zip(histories.items(), (VERMILION, BLUE, GREEN, ORANGE), strict=False):
            spent = [1e-6 * n for n in history["gradient_evaluations"]]
            for column, line, name in (("validation_loss", "-", label), ("training_loss", ":", None)):
                values = as_rmsd(history[column], force_scales[start])
                axes.plot(spent, values, color=color, linestyle=line, label=name)
        axes.set(title=start, xlabel="gradients (millions)", yscale="log")
    panels[0].set_ylabel("RMSD per component (eV/Å)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure
