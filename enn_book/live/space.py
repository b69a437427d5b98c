"""Figures of atoms in space, for paper and for readers without scripts."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from enn_book.style import ANALYTIC, BLACK, PREDICTIONS, SKY, new_figure
from enn_lib.argon import check_positions

VIEW = {"elev": 24, "azim": -60}
"""Where every one of these figures is seen from, degrees."""


def _space(axes: Axes, points: np.ndarray, title: str = "") -> None:
    """Equal scales on three axes that hold all `points`, ``(..., 3)``, Å."""
    points = points.reshape(-1, 3)
    middle, reach = (points.max(axis=0) + points.min(axis=0)) / 2, np.ptp(points, axis=0).max() / 2
    for name, m in zip("xyz", middle, strict=True):
        getattr(axes, f"set_{name}lim")(m - reach, m + reach)
    axes.set_box_aspect((1, 1, 1))
    axes.view_init(**VIEW)
    axes.locator_params(nbins=4)
    axes.tick_params(labelsize="small")
    axes.set(xlabel="$x$ (Å)", ylabel="$y$ (Å)", zlabel="$z$ (Å)", title=title)


def plot_forces(positions: Tensor, forces: Mapping[str, Tensor], *, unit: float) -> Figure:
    """Atoms with the forces on them as arrows.

    Args:
        positions: Å, ``(atoms, 3)``.
        forces: eV/Å, ``(atoms, 3)``, by label. The first is drawn as the analytic one, wide and pale, so
            that what agrees with it lies on it.
        unit: the force of an arrow of 1 Å, eV/Å.

    Raises:
        ValueError: if a shape is wrong, a position is not finite, or `unit` is not positive.
    """
    check_positions(positions)
    shapes = {label: tuple(f.shape) for label, f in forces.items()}
    if positions.ndim != 2 or not forces or set(shapes.values()) != {tuple(positions.shape)}:
        raise ValueError(f"forces: got shapes {shapes}, wanted {tuple(positions.shape)} for each label")
    if not unit > 0:
        raise ValueError(f"unit: got {unit}, wanted a positive force, eV/Å")
    figure, axes = new_figure(height=4.8, subplot_kw={"projection": "3d"})
    places = positions.numpy()
    axes.scatter(*places.T, s=260, color=SKY, edgecolor=BLACK, depthshade=False)
    for number, place in enumerate(places, start=1):
        axes.text(*place, str(number), ha="center", va="center", fontsize="small", zorder=10)
    styles = ({**ANALYTIC, "linewidth": 5, "alpha": 0.35}, *PREDICTIONS)
    ends = [places]
    for (label, values), style in zip(forces.items(), styles, strict=False):
        arrows = values.numpy() / unit
        ends.append(places + arrows)
        kept = {key: style[key] for key in ("color", "linewidth", "alpha") if key in style}
        axes.quiver(*places.T, *arrows.T, label=label, arrow_length_ratio=0.25, **kept)
    _space(axes, np.stack(ends))
    figure.legend(*axes.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize="small")
    return figure


def plot_paths(paths: Mapping[str, Tensor]) -> Figure:
    """The ways of atoms in space, one panel a label; a dot is where an atom begins.

    Args:
        paths: Å, ``(records, atoms, 3)``, by label.

    Raises:
        ValueError: if there is no path, or a shape is wrong.
    """
    for positions in paths.values():
        check_positions(positions)
    shapes = {label: tuple(p.shape) for label, p in paths.items()}
    if not paths or len({shape[1:] for shape in shapes.values()}) > 1 or len(shapes[next(iter(shapes))]) != 3:
        raise ValueError(f"paths: got shapes {shapes}, wanted (records, atoms, 3) with the same atoms")
    figure, panels = new_figure(
        1, len(paths), height=3.6, width=3.3 * len(paths), squeeze=False, subplot_kw={"projection": "3d"}
    )
    everything = np.concatenate([p.numpy().reshape(-1, 3) for p in paths.values()])
    for (label, positions), axes in zip(paths.items(), panels[0], strict=True):
        for number, path in enumerate(positions.numpy().transpose(1, 0, 2), start=1):
            (line,) = axes.plot(*path.T, linewidth=1.0)
            axes.plot(*path[:1].T, "o", color=line.get_color(), markersize=5)
            axes.text(*path[0], f" {number}", fontsize="small")
        _space(axes, everything, label)
    return figure
