"""The ceiling: a model that is told that forces are sums over pairs."""

from torch import Tensor, nn

from enn_lib.peers.edges import edge_vectors, mlp


class PairRadial(nn.Module):
    r"""Sums over pairs of a learned function of the distance.

    .. math:: \mathbf F_i = \sum_{j \ne i} f(r_{ij}) \frac{\mathbf r_j - \mathbf r_i}{r_{ij}}

    Lennard-Jones forces (Eq. 40) are of this form exactly, so a perfect f is a perfect model. It is no
    peer but the ceiling: it knows what the others have to find out. It has every symmetry, and Newton's
    third law.
    """

    def __init__(self, width: int = 159, depth: int = 3):
        """Make it, with `depth` hidden layers of `width` neurons, from torch's global generator."""
        super().__init__()
        self.layers = mlp(1, *[width] * depth, 1)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., N, 3)`` to ``(..., N, 3)``, without unit."""
        vectors = edge_vectors(positions)
        distance = vectors.square().sum(dim=-1, keepdim=True).sqrt()
        return (self.layers(distance) / distance * vectors).sum(dim=-2)
