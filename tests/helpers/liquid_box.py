"""A box of 108 atoms as dense as Rahman's argon, and an untrained network that could drive it."""

import torch
from examples import generator, normal, stirred
from torch import Tensor

from enn_book.lectures.liquid import crystal
from enn_book.studies.liquid.study import RADIAL, untrained
from enn_lib.dynamics import thermal_velocities
from enn_lib.force_field import GraphForceField
from enn_lib.graph import CombinedGraphLayer


def liquid_start() -> tuple[Tensor, Tensor]:
    """Positions, Å, and velocities of 94 K, Å/fs, each ``(108, 3)``, rounded to float32."""
    places = crystal(3)[0]
    velocities = thermal_velocities(1, len(places), temperature=94.0, seed=2)[0]
    return (places + 0.1 * normal(*places.shape)).float().double(), velocities.float().double()


def liquid_field(model: str = "direct") -> GraphForceField:
    """With weights and buffers drawn at random, none zero, rounded to float32."""
    network = stirred(untrained(model))
    for k, buffer in enumerate(network.buffers()):
        buffer.copy_(1 + torch.rand(buffer.shape, generator=generator(k)))
    scales = 1 + torch.rand(len(RADIAL), dtype=torch.float64, generator=generator(9))
    layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)
    return GraphForceField(layer, network.float().double(), scales, 0.001, crystal(3)[1])
