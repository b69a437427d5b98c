"""Figures of the study of choices: what each choice costs, and how training and validation part."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from enn_lib.figures import BLUE, GREEN, ORANGE, REMARK, VERMILION, new_figure

History = Mapping[str, Sequence[float]]

FINISH_COLORS = (VERMILION, BLUE, GREEN, ORANGE)


def rmsd(losses: Sequence[float], force_scale: float) -> list[float]:
    """Losses (means, without unit) as errors of a force component, in the unit of `force_scale`."""
    return [force_scale * loss**0.5 for loss in losses]


def plot_choices(
    histories: Mapping[str, History], force_scale: float, *, base: str = "base", level: float | None = None
) -> Figure:
    """The last validation error of every choice, the best at the top; open marks are averaged weights.

    Args:
        histories: by the name of the choice, with columns as in `enn_lib.choices.COLUMNS`.
        force_scale: eV/Å.
        base: the choice that a line is drawn through.
        level: an error (eV/Å) to mark beside.

    Raises:
        ValueError: if `base` is not among the histories.
    """
    if base not in histories:
        raise ValueError(f"base: got {base!r}, wanted one of {', '.join(histories)}")
    last = {
        name: [rmsd(history[column], force_scale)[-1] for column in ("validation_loss", "averaged_loss")]
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
    for (label, runs), color, marker in zip(
        families.items(), (VERMILION, BLUE, GREEN), ("o", "s", "^"), strict=False
    ):
        sizes = sorted(runs)
        for column, style in (("validation_loss", "-"), ("training_loss", ":")):
            values = [rmsd(runs[n][column], force_scale)[-1] for n in sizes]
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
        rows = [
            pair
            for pair in zip(history["training_loss"], history["validation_loss"], strict=True)
            if max(pair) < 1
        ]
        training, validation = (rmsd(part, force_scale) for part in zip(*rows, strict=True))
        axes.plot(training, validation, label=label)
        low = min(low, *training)
    axes.plot([low, force_scale], [low, force_scale], **REMARK)
    axes.set(xscale="log", yscale="log", xlabel="training RMSD (eV/Å)", ylabel="validation RMSD (eV/Å)")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def plot_finishes(finishes: Mapping[str, Mapping[str, History]], force_scales: Mapping[str, float]) -> Figure:
    """Error against the gradients that a finish has taken: validation full, training dotted; a panel a start.

    Args:
        finishes: histories by finish by start, with columns as in `enn_lib.finish.COLUMNS`.
        force_scales: eV/Å, by start.
    """
    figure, grid = new_figure(1, len(finishes), height=3.4, squeeze=False)
    panels = grid[0]
    for axes, (start, histories) in zip(panels, finishes.items(), strict=True):
        for (label, history), color in zip(histories.items(), FINISH_COLORS, strict=False):
            spent = [1e-6 * n for n in history["gradient_evaluations"]]
            for column, line, name in (("validation_loss", "-", label), ("training_loss", ":", None)):
                values = rmsd(history[column], force_scales[start])
                axes.plot(spent, values, color=color, linestyle=line, label=name)
        axes.set(title=start, xlabel="gradients (millions)", yscale="log")
    panels[0].set_ylabel("RMSD per component (eV/Å)")
    figure.legend(
        *panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(FINISH_COLORS)
    )
    return figure


def plot_drawing(study: Mapping[float, Mapping[int, Mapping[str, Sequence[float]]]]) -> Figure:
    """Errors over S4 by the largest pair distance, a line for each power by which batches were drawn.

    Args:
        study: tables by seed by power, with columns as in `enn_lib.drawing.COLUMNS`, all of the same bins.
    """
    figure, axes = new_figure(height=3.6)
    styles = zip(FINISH_COLORS, ("-", "--", "-.", ":"), ("o", "s", "D", "^"), strict=True)
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
