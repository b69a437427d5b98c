"""Forces of invariant scalars times relative vectors (Villar et al. 2021)."""

import torch
from torch import Tensor, nn

from enn_lib.argon import N_ATOMS, PAIRS, relative_vectors
from enn_lib.peers.edges import edge_vectors, mlp


class InvariantScalars(nn.Module):
    r"""Every force is a sum of relative vectors, whose coefficients see all inner products.

    .. math::
        \mathbf F_i = \sum_{j \ne i} f_{ij}\big(\langle \mathbf r_a, \mathbf r_b \rangle_{a \le b}\big)
        \, (\mathbf r_j - \mathbf r_i)

    with one perceptron f of the 21 inner products of the six relative vectors, and 12 outputs. Every
    function equivariant under O(3) and translations has this form, so nothing is lost. The atoms are
    numbered, as in the ENN: permutations are no symmetry of it.
    """

    def __init__(self, width: int = 152, depth: int = 3):
        """Make it, with `depth` hidden layers of `width` neurons, from torch's global generator."""
        super().__init__()
        count = len(PAIRS)
        self.layers = mlp(count * (count + 1) // 2, *[width] * depth, N_ATOMS * (N_ATOMS - 1))

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        x = relative_vectors(positions)
        a, b = torch.triu_indices(x.shape[-1], x.shape[-1])
        f = self.layers((x.mT @ x)[..., a, b]).unflatten(-1, (N_ATOMS, N_ATOMS - 1))
        return (f.unsqueeze(-1) * edge_vectors(positions)).sum(dim=-2)
