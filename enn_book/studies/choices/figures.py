"""Figures of the study of choices: what each choice costs, and how training and validation part."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_book.studies.training import as_rmsd
from enn_book.style import BLUE, GREEN, REMARK, VERMILION, new_figure

History = Mapping[str, Sequence[float]]


def plot_choices(
    histories: Mapping[str, History], force_scale: float, *, base: str = "base", level: float | None = None
) -> Figure:
    """The last validation error of every choice, the best at the top; open marks are averaged weights.

    Args:
        histories: by the name of the choice, with columns as in `enn_book.studies.choices.study.COLUMNS`.
        force_scale: eV/Å.
        base: the choice that a line is drawn through.
        level: an error (eV/Å) to mark beside.

    Raises:
        ValueError: if `base` is not among the histories.
    """
    if base not in histories:
        raise ValueError(f"base: got {base!r}, wanted one of {', '.join(histories)}")
    last = {
        name: [as_rmsd(history[column], force_scale)[-1] for column in ("validation_loss", "averaged_loss")]
        for name, history in histories.items()
    }
    names = sorted(last, key=lambda name: -last[name][0])
    figure, axes = new_figure(height=0.9 + 0.24 * len(names))
    for place, name in enumerate(names):
        plain, averaged = last[name]
        axes.plot([plain, averaged], [place, place], color="0.75", linewidth=1, linestyle="-", zorder=1)
        axes.plot(averaged, place, "D", color=VERMILION, markerfacecolor="none", markersize=5)
        axes.plot(plain, place, "o", color=BLUE, markersize=6)
    axes.axvline(last[base][0], **REMARK)
    if level is not None:
        axes.axvline(level, **REMARK | {"linestyle": "-"})
    axes.set_yticks(range(len(names)), names)
    axes.set(xscale="log", xlabel="validation RMSD per component (eV/Å)")
    axes.set_ylim(-0.6, len(names) - 0.4)
    return figure


def plot_gap(families: Mapping[str, Mapping[int, History]], force_scale: float) -> Figure:
    """Training and validation error at the end against the number of training configurations.

    Args:
        families: histories by the number of configurations, by label.
        force_scale: eV/Å.
    """
    figure, axes = new_figure()
    styles = zip((VERMILION, BLUE, GREEN), ("o", "s", "^"), strict=True)
    for (label, runs), (color, marker) in zip(families.items(), styles, strict=False):
        sizes = sorted(runs)
        for column, style in (("validation_loss", "-"), ("training_loss", ":")):
            values = [as_rmsd(runs[n][column], force_scale)[-1] for n in sizes]
            name = f"{label}, {column.removesuffix('_loss')}"
            axes.plot(sizes, values, color=color, linestyle=style, marker=marker, label=name)
    axes.set(xscale="log", yscale="log", xlabel="training configurations", ylabel="RMSD per component (eV/Å)")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def plot_plane(histories: Mapping[str, History], force_scale: float) -> Figure:
    """Validation against training error along each run; on the diagonal nothing is learned by heart.

    Args:
        histories: by label; rows of a loss of 1 or more are left out.
        force_scale: eV/Å.
    """
    figure, axes = new_figure(height=4.4)
    low = force_scale
    for label, history in histories.items():
        pairs = zip(history["training_loss"], history["validation_loss"], strict=True)
        rows = [pair for pair in pairs if max(pair) < 1]
        training, validation = (as_rmsd(part, force_scale) for part in zip(*rows, strict=True))
        axes.plot(training, validation, label=label)
        low = min(low, *training)
    axes.plot([low, force_scale], [low, force_scale], **REMARK)
    axes.set(xscale="log", yscale="log", xlabel="training RMSD (eV/Å)", ylabel="validation RMSD (eV/Å)")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure
