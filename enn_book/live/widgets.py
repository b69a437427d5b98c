"""The live parts of the pages: what Python hands to the scripts in ``book/_static``.

Each is a piece of HTML with its data inside. The scripts draw it in the reader's browser; nothing is asked of
a network. Where no script runs, a sentence says what to look at instead.

=====================  =====================================================================
function               what the reader does
=====================  =====================================================================
`live_widget`          drags an atom, and lets the network and the potential move the atoms
`turn_widget`          turns, mirrors and renumbers four atoms, and sees the forces go along
`trajectories_widget`  follows the atoms of two or three trajectories in space
`descent_widget`       steps through a descent of FIRE on a surface
`liquid_widget`        lets the potential and a network move two boxes of liquid, and compares g(r)
=====================  =====================================================================
"""

import base64
import html
import json
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from enn_book.lectures.clusters import Relaxation
from enn_book.lectures.descent import VALLEY_EXTENT, Extent, check_plane, level_lines, valley
from enn_book.lectures.liquid import TruncatedLennardJones
from enn_book.models.liquid import ForcesBesidePairs
from enn_book.models.rivals import Perceptron
from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.argon import ARGON, ARGON_MASS, BOLTZMANN, Scales, check_positions
from enn_lib.dynamics import ACCELERATION
from enn_lib.force_field import GraphForceField, NetworkForceField
from enn_lib.graph import CombinedGraphLayer, polynomial_cutoff
from enn_lib.network import ENN
from enn_lib.runs import Run

_POTENTIAL = {"epsilon": ARGON.epsilon, "r0": ARGON.r0}


def packed(values: Tensor) -> str:
    """Real numbers of any shape as base64 of little-endian float32, row by row."""
    return base64.b64encode(values.detach().cpu().to(torch.float32).numpy().astype("<f4").tobytes()).decode()


def widget(kind: str, data: Mapping, *, instead: str) -> str:
    """The HTML of one live part.

    Args:
        kind: which script draws it: a name in ``ENN.widgets``.
        data: what that script is given, as JSON.
        instead: a sentence for readers without it; plain words.

    Raises:
        ValueError: if `instead` is empty, or a number in `data` is not finite.
    """
    if not instead.strip():
        raise ValueError(f"instead: got {instead!r}, wanted a sentence for readers without scripts")
    text = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return (
        f'<div class="enn-widget" data-enn="{html.escape(kind)}">'
        '<p class="enn-fallback">Here the built book has a part that is alive; it needs JavaScript. '
        f"{html.escape(instead)}</p>"
        f'<script type="application/json">{text}</script></div>'
    )


def network_data(field: NetworkForceField, words: str) -> dict:
    """A network of four atoms as ``ENN.networkField`` wants it.

    The weights are rounded to float32, which is exact for a run trained in float32.

    Args:
        field: with the activations of the paper: `VectorSoftsign`, and `Identity` at the output.
        words: what the reader reads, such as "softened".

    Raises:
        ValueError: if the network has other activations.
    """
    network = field.network
    return {
        "words": words,
        **_settings(network),
        "position_scale": field.scales.position,
        "force_scale": field.scales.force,
        "weights": packed(torch.cat([layer.stacked.flatten() for layer in network.layers])),
    }


def _settings(network: ENN) -> dict:
    """What ``ENN.layers`` and ``ENN.softsign`` want to know; ValueError for other activations than theirs."""
    activations = (network.activation, network.output_activation)
    if not (isinstance(activations[0], VectorSoftsign) and isinstance(activations[1], Identity)):
        raise ValueError(f"field: got the activations {activations}, wanted VectorSoftsign and Identity")
    softening = network.layers[0].softening
    return {"widths": network.widths, "a": network.activation.a, "softening": softening}


def live_widget(
    runs: Mapping[str, Run], positions: Tensor, velocities: Tensor, *, r_min: float, instead: str
) -> str:
    """Networks that move four atoms beside the potential they have learned from.

    Args:
        runs: by the words the reader chooses them with; the first is shown first.
        positions: the start of all samples, Å, ``(4, 3)``.
        velocities: those of each sample, Å/fs, ``(samples, 4, 3)``.
        r_min: the smallest distance in the training data, Å.
        instead: as in `widget`.

    Raises:
        ValueError: if there is no run, a shape is wrong, or a network is none that `network_data` takes.
    """
    check_positions(positions, 4)
    if not runs or positions.ndim != 2 or velocities.ndim != 3 or velocities.shape[1:] != positions.shape:
        raise ValueError(
            f"runs, positions, velocities: got {len(runs)} runs, shapes {tuple(positions.shape)} and "
            f"{tuple(velocities.shape)}, wanted at least one run, (4, 3) and (samples, 4, 3)"
        )
    data = {
        "networks": {run.name: network_data(run.force_field, words) for words, run in runs.items()},
        "potential": _POTENTIAL,
        "motion": {"mass": ARGON_MASS, "acceleration": ACCELERATION},
        "positions": positions.flatten().tolist(),
        "velocities": velocities.flatten(start_dim=1).tolist(),
        "r_min": r_min,
    }
    return widget("live", data, instead=instead)


def ordinary_data(network: Perceptron, scales: Scales) -> dict:
    """An ordinary network of four atoms as ``ENN.ordinaryField`` wants it, its weights rounded to float32."""
    linear = [layer for layer in network.layers if isinstance(layer, nn.Linear)]
    return {
        "widths": [linear[0].in_features, *(layer.out_features for layer in linear)],
        "position_scale": scales.position,
        "force_scale": scales.force,
        "weights": packed(torch.cat([p.flatten() for p in network.layers.parameters()])),
    }


def turn_widget(
    field: NetworkForceField,
    configurations: Tensor,
    *,
    ordinary: Perceptron | None = None,
    turn: Tensor | None = None,
    instead: str,
) -> str:
    """A network and the potential at configurations that the reader turns, mirrors and renumbers.

    Args:
        field: a network that `network_data` takes.
        configurations: Å, ``(configurations, 4, 3)``; each is shown about its middle.
        ordinary: a network without the symmetry, in the scales of `field`, to be shown beside it; the atoms
            are then not renumbered.
        turn: of the atoms before the reader turns them, ``(3, 3)``; none if not given.
        instead: as in `widget`.

    Raises:
        ValueError: if a shape is wrong, or the network is none that `network_data` takes.
    """
    check_positions(configurations, 4)
    if configurations.ndim != 3 or len(configurations) == 0:
        raise ValueError(
            f"configurations: got shape {tuple(configurations.shape)}, wanted (configurations, 4, 3)"
        )
    middle = configurations - configurations.mean(dim=1, keepdim=True)
    data = {
        "network": network_data(field, "network"),
        "potential": _POTENTIAL,
        "configurations": middle.flatten(start_dim=1).tolist(),
    }
    if ordinary is not None:
        data["ordinary"] = ordinary_data(ordinary, field.scales)
    if turn is not None:
        data["turn"] = turn.tolist()
    return widget("turn", data, instead=instead)


def trajectories_widget(paths: Mapping[str, Tensor], *, every: int, recent: int = 40, instead: str) -> str:
    """Trajectories of the same atoms in space, with a slider for the time.

    Args:
        paths: Å, ``(records, atoms, 3)``, by label: first the analytic one, then one or two predictions.
        every: how many steps are between two records.
        recent: over how many records the way of an atom is drawn strongly.
        instead: as in `widget`.

    Raises:
        ValueError: if there are not two or three of them, or a shape is wrong.
    """
    shapes = {label: tuple(path.shape) for label, path in paths.items()}
    if len(shapes) not in (2, 3) or len(set(shapes.values())) != 1:
        raise ValueError(
            f"paths: got shapes {shapes}, wanted two or three, (records, atoms, 3), all the same"
        )
    for path in paths.values():
        check_positions(path)
    data = {
        "paths": {label: packed(path) for label, path in paths.items()},
        "atoms": path.shape[-2],
        "every": every,
        "recent": recent,
    }
    return widget("trajectories", data, instead=instead)


def descent_widget(
    relaxation: Relaxation,
    *,
    energy: Callable[[Tensor], Tensor] = valley,
    extent: Extent = VALLEY_EXTENT,
    instead: str,
) -> str:
    """A descent of FIRE on a surface, step by step, with dt, P and alpha; its whole path is faintly there.

    Args:
        relaxation: of two coordinates, positions ``(steps + 1, 2)``.
        energy: as in `enn_book.lectures.descent.plot_frames`.
        extent: as there.
        instead: as in `widget`.

    Raises:
        ValueError: if the positions are not of two coordinates.
    """
    check_plane(relaxation)
    data = {
        **{n: packed(getattr(relaxation, n)) for n in ("positions", "energy", "dt", "power", "alpha")},
        "levels": [{"height": level, "line": packed(line)} for level, line in level_lines(energy, extent)],
        "extent": extent,
        "end": "minimum" if relaxation.converged else "end",
    }
    return widget("descent", data, instead=instead)


def liquid_data(field: GraphForceField) -> dict:
    """A network of descriptors as ``ENN.liquidField`` wants it, its weights rounded to float32.

    Raises:
        ValueError: if it is none that the page computes: of Gaussians with the polynomial cutoff in a
            `CombinedGraphLayer` without weights or activation, and `ForcesBesidePairs` with one bias of the
            scalars and the activations of `network_data`.
    """
    layer, network = field.layer, field.network
    wanted = "CombinedGraphLayer and ForcesBesidePairs"
    if not (isinstance(layer, CombinedGraphLayer) and isinstance(network, ForcesBesidePairs)):
        raise ValueError(f"field: got {type(layer).__name__} and {type(network).__name__}, wanted {wanted}")
    if (network.n, network.m) != (3, 1) or network.scalar_bias == "ones":
        got = f"n = {network.n}, m = {network.m}, scalar_bias = {network.scalar_bias!r}"
        raise ValueError(f"field: got a network of {got}, wanted n = 3, m = 1 and a bias of its own")
    radial = layer.radial
    is_bare = layer.weight.squeeze(1).equal(torch.eye(len(radial)).to(layer.weight))
    if not (is_bare and isinstance(layer.activation, nn.Identity)):
        raise ValueError(f"field: got {layer}, wanted a layer without weights or activation")
    if radial.cutoff_function is not polynomial_cutoff:
        raise ValueError(f"field: got {radial.cutoff_function}, wanted polynomial_cutoff")
    layers = network.layers
    parts = [*(part.stacked for part in layers), *(part.scalar_bias for part in layers)]
    parts += [network.readout, network.means, network.scales]
    return {
        **_settings(network),
        "eta": radial.eta.tolist(),
        "centres": radial.centres.tolist(),
        "cutoff": radial.cutoff,
        "descriptor_scales": field.descriptor_scales.tolist(),
        "force_scale": field.force_scale,
        "weights": packed(torch.cat([part.flatten() for part in parts])),
    }


def liquid_widget(
    field: GraphForceField, positions: Tensor, velocities: Tensor, *, dt: float = 10.0, instead: str
) -> str:
    """Two boxes of liquid argon from one start, one driven by Lennard-Jones, one by a network; g(r) of both.

    Args:
        field: a network that `liquid_data` takes, in a cubic cell of at least two cutoffs.
        positions: the start of both, Å, ``(atoms, 3)``, rounded to float32.
        velocities: Å/fs, of the same shape, rounded to float32.
        dt: time step, fs.
        instead: as in `widget`.

    Raises:
        ValueError: if a shape or a number is wrong, the cell is another, or the network is none that
            `liquid_data` takes.
    """
    check_positions(positions)
    shapes = tuple(positions.shape), tuple(velocities.shape)
    if positions.ndim != 2 or len(positions) < 2 or shapes[0] != shapes[1]:
        raise ValueError(f"positions, velocities: got shapes {shapes}, wanted two of (atoms, 3)")
    if not velocities.isfinite().all():
        raise ValueError("velocities: got entries that are NaN or infinite, wanted finite ones (Å/fs)")
    if not dt > 0:
        raise ValueError(f"dt: got {dt}, wanted a positive time, fs")
    potential, cell = TruncatedLennardJones(), field.cell
    least = 2 * max(potential.cutoff, field.layer.radial.cutoff)
    is_cubic = cell is not None and cell.equal(cell[0, 0] * torch.eye(3).to(cell))
    if not is_cubic or cell[0, 0] < least:
        got = "none" if cell is None else cell.tolist()
        raise ValueError(f"field.cell: got {got}, wanted a cube with sides of at least {least} Å")
    data = {
        "network": liquid_data(field),
        "potential": {**_POTENTIAL, "cutoff": potential.cutoff, "onset": potential.onset},
        "motion": {"mass": ARGON_MASS, "acceleration": ACCELERATION, "dt": dt},
        "boltzmann": BOLTZMANN,
        "side": cell[0, 0].item(),
        "positions": packed(positions),
        "velocities": packed(velocities),
    }
    return widget("liquid", data, instead=instead)
