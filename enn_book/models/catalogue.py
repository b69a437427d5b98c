"""The models that are compared, what each of them knows, and each as a force field."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from enn_book.models.enn import GraphENN, RelativeENN
from enn_book.models.rivals import (
    EGNN,
    FrameAverage,
    InvariantScalars,
    PaiNN,
    PairRadial,
    Perceptron,
    VectorNeurons,
)
from enn_book.models.tensor_products import TensorProducts
from enn_lib.argon import N_ATOMS, Scales, check_positions
from enn_lib.force_field import gradients_as_of


@dataclass(frozen=True)
class Peer:
    """An entry of the catalogue.

    Attributes:
        title: for tables and figures.
        make: makes the untrained model, from torch's global generator.
        groups: the symmetries that hold whatever the weights: "T" translations, "O" rotations and
            reflections, "S" permutations of the atoms.
        augment: what happens to a batch before each step: "rotate" turns or reflects every configuration by
            its own random member of O(3), "relabel" renumbers its atoms by its own random permutation.
        average: average over the 24 permutations when it is used (sec. 3.5).
        extra: the package of an optional extra that it needs.
    """

    title: str
    make: Callable[[], nn.Module]
    groups: str
    augment: Literal["none", "rotate", "relabel"] = "none"
    average: bool = False
    extra: str = ""


PEERS: dict[str, Peer] = {
    "enn": Peer("plain ENN", RelativeENN, "TO"),
    "enn-s4": Peer("plain ENN over S4", RelativeENN, "TOS", "relabel", True),
    "enn-softened-s4": Peer(
        "plain ENN, softened, over S4", lambda: RelativeENN(a=1.0, softening=0.3), "TOS", "relabel", True
    ),
    "enn-graph": Peer("graph ENN", GraphENN, "TOS"),
    "perceptron": Peer("perceptron", Perceptron, "T"),
    "perceptron-rotated": Peer("perceptron, rotated data", Perceptron, "T", "rotate"),
    "frames": Peer("perceptron in frames", FrameAverage, "TO"),
    "vector-neurons": Peer("Vector Neurons", VectorNeurons, "TO"),
    "egnn": Peer("EGNN", EGNN, "TOS"),
    "painn": Peer("PaiNN-like", PaiNN, "TOS"),
    "tensor-products": Peer("tensor products", TensorProducts, "TOS", extra="e3nn"),
    "scalars": Peer("invariant scalars", InvariantScalars, "TO"),
    "pair-radial": Peer("pair-radial", PairRadial, "TOS"),
}
"""The models by name. All have about as many parameters as the paper's network, 52,000."""


def build_peer(name: str, seed: int = 0) -> nn.Module:
    """The untrained model of a name, in float32.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in PEERS:
        raise ValueError(f"peer: got {name!r}, wanted one of {', '.join(PEERS)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PEERS[name].make()


class PeerForceField:
    """A trained peer as a force field of four atoms.

    Attributes:
        model: maps scaled positions to scaled forces.
        scales: of positions (Å) and forces (eV/Å).
    """

    def __init__(self, model: nn.Module, scales: Scales):
        self.model = model
        self.scales = scales

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., 4, 3)`` in Å -> the same shape and dtype.

        The model computes in its own dtype, with the centre of the atoms at the origin: no model of the
        catalogue sees where it is, but float32 would. Differentiable where the positions require a gradient.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, N_ATOMS)
        dtype = next(self.model.parameters()).dtype
        with gradients_as_of(positions):
            centred = (positions - positions.mean(dim=-2, keepdim=True)) / self.scales.position
            return (self.model(centred.to(dtype)) * self.scales.force).to(positions.dtype)
