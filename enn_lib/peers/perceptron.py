"""A plain perceptron on coordinates: no symmetry but that of translations."""

from torch import Tensor, nn

from enn_lib.argon import N_ATOMS, PAIRS, relative_vectors
from enn_lib.peers.edges import mlp


class Perceptron(nn.Module):
    r"""Coordinates in, coordinates out.

    .. math:: F = \mathrm{MLP}(\mathbf r_{12}, \ldots, \mathbf r_{34})

    It sees the 18 coordinates of the ENN's six relative vectors (Eq. 41), so both know translations, and
    neither knows more about argon than the other.
    """

    def __init__(self, width: int = 153, depth: int = 3):
        """Make it, with `depth` hidden layers of `width` neurons."""
        super().__init__()
        self.layers = mlp(3 * len(PAIRS), *[width] * depth, 3 * N_ATOMS)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        return self.layers(relative_vectors(positions).flatten(-2)).unflatten(-1, (N_ATOMS, 3))
