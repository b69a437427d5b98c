"""The idea in one moving picture: turn the input, and the output of the network turns with it.

The picture is HTML with two drawings (SVG). As it stands it shows one angle, so that it says the same on
paper and without JavaScript; ``book/_static/turning.js`` lets it turn, and gives it a button and a slider.
Nothing in it is turned to look right: the network predicts the forces of every angle anew.
"""

import json
import math
from html import escape

import torch
from torch import Tensor

from enn_book.style import SKY, VERMILION
from enn_lib.force_field import ForceField

HALF_WIDTH = 5.6
"""From the middle of a drawing to its edge, Å."""

ARROW_LENGTH = 5.0
"""How long the arrow of a force of 1 eV/Å is, Å."""


def turned_forces(force_field: ForceField, positions: Tensor, n_angles: int) -> tuple[Tensor, Tensor]:
    """Forces predicted for a molecule turned about the axis z in equal steps, all the way round.

    Args:
        force_field: what predicts.
        positions: `(atoms, 3)`, Å.
        n_angles: how many angles, from 0 in steps of 360° / n_angles.

    Returns:
        The forces `F(R x)`, and the forces of the first angle turned along, `R F(x)`; both
        `(n_angles, atoms, 3)`, eV/Å. For an equivariant force field they are equal.

    Raises:
        ValueError: if there is no angle.
    """
    if n_angles < 1:
        raise ValueError(f"n_angles: got {n_angles}, wanted at least 1")
    angles = 2 * math.pi * torch.arange(n_angles, dtype=positions.dtype) / n_angles
    cosine, sine, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    entries = (cosine, -sine, zero, sine, cosine, zero, zero, zero, zero + 1)
    rotations = torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
    predicted = force_field.forces(positions @ rotations.mT)
    return predicted, predicted[0] @ rotations.mT


def turning_picture(
    force_field: ForceField, positions: Tensor, *, angle: float = 50.0, n_angles: int = 180
) -> str:
    """The picture as HTML: atoms on the left, the forces predicted at them on the right, seen from above.

    Grey is the molecule before it is turned. Wide pale arrows are its forces, turned along with it; narrow
    red ones are what the network predicts for the turned molecule.

    Args:
        force_field: what predicts.
        positions: `(atoms, 3)`, Å, around the origin.
        angle: degrees, which the picture shows as it stands; the nearest of those that there are.
        n_angles: how many angles there are.

    Raises:
        ValueError: as `turned_forces`.
    """
    forces, _ = turned_forces(force_field, positions, n_angles)
    atoms, ends = _on_paper(positions), _on_paper(positions + ARROW_LENGTH * forces[0])
    tips = _on_paper(ARROW_LENGTH * forces)
    frame = round(angle * n_angles / 360) % n_angles
    shown = 360 * frame / n_angles
    cosine, sine = math.cos(math.radians(shown)), math.sin(math.radians(shown))
    places = [(cosine * x + sine * y, cosine * y - sine * x) for x, y in atoms]
    predicted = [((x, y), (x + dx, y + dy)) for (x, y), (dx, dy) in zip(places, tips[frame], strict=True)]

    shape, carried = _molecule(atoms), _arrows(list(zip(atoms, ends, strict=True)), SKY, 0.62)
    turn = f'<g class="turns" transform="rotate({-shown:g})">'
    left = f'<g opacity="0.3">{shape}</g>{turn}{shape}</g>'
    right = (
        f'<g opacity="0.3">{_arrows(list(zip(atoms, ends, strict=True)), "currentColor", 0.2)}</g>'
        f"{turn}{carried}{_dots(atoms, 0.3)}</g>"
        f'<g class="predicted">{_arrows(predicted, VERMILION, 0.2)}</g>'
    )
    labels = (
        "Four atoms seen from above, joined by lines, and in grey where they were before they were turned.",
        "Arrows at the four atoms. The forces that the network predicts for the turned atoms lie on the "
        "forces that it predicted before, turned along.",
    )
    titles = ("in: where the atoms are", "out: the forces that the network predicts")
    panels = "".join(
        f'<div class="turning-panel"><p>{title}</p>{_drawing(content, label)}</div>'
        for title, content, label in zip(titles, (left, right), labels, strict=True)
    )
    data = {"atoms": atoms, "arrows": tips}
    return (
        f'<div class="turning">{panels}'
        '<div class="turning-controls" hidden><button type="button">Play</button>'
        f'<label>turned by <input type="range" min="0" max="360" step="{360 / n_angles:g}" value="{shown:g}">'
        f"</label><output>{shown:.0f}°</output></div>"
        f'<script type="application/json">{json.dumps(data, separators=(",", ":"))}</script></div>'
    )


def _on_paper(vectors: Tensor) -> list:
    """x and y of vectors `(..., 3)` in a drawing, whose y points down, to a thousandth."""
    return (vectors[..., :2] * vectors.new_tensor([1.0, -1.0])).round(decimals=3).tolist()


def _drawing(content: str, label: str) -> str:
    side = f"{-HALF_WIDTH:g} {-HALF_WIDTH:g} {2 * HALF_WIDTH:g} {2 * HALF_WIDTH:g}"
    return f'<svg viewBox="{side}" role="img" aria-label="{escape(label)}">{content}</svg>'


def _dots(places: list, radius: float) -> str:
    return "".join(f'<circle cx="{x:g}" cy="{y:g}" r="{radius}" fill="currentColor"/>' for x, y in places)


def _molecule(atoms: list) -> str:
    """The atoms, the first one hollow, so that one sees how they are turned, and lines between all."""
    lines = "".join(
        f'<line x1="{a[0]:g}" y1="{a[1]:g}" x2="{b[0]:g}" y2="{b[1]:g}"/>'
        for i, a in enumerate(atoms)
        for b in atoms[:i]
    )
    x, y = atoms[0]
    edge = 'stroke="currentColor" stroke-width="0.14"'
    first = f'<circle cx="{x:g}" cy="{y:g}" r="0.4" fill="{SKY}" {edge}/>'
    return f'<g stroke="currentColor" stroke-width="0.06">{lines}</g>{_dots(atoms[1:], 0.45)}{first}'


def _arrows(arrows: list, colour: str, width: float) -> str:
    """Lines with a head at their end. A marker belongs to one colour, which its name says."""
    head = f"turning-{colour.strip('#').lower()}-{width:g}".replace(".", "-")
    lines = "".join(
        f'<line x1="{x:.3f}" y1="{y:.3f}" x2="{u:.3f}" y2="{v:.3f}" marker-end="url(#{head})"/>'
        for (x, y), (u, v) in arrows
    )
    return (
        f'<defs><marker id="{head}" viewBox="0 0 10 10" refX="5" refY="5" markerWidth="3" markerHeight="3" '
        f'orient="auto"><path d="M0 0 10 5 0 10z" fill="{colour}"/></marker></defs>'
        f'<g stroke="{colour}" stroke-width="{width:g}">{lines}</g>'
    )
