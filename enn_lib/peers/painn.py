"""A model like PaiNN (Schütt, Unke and Gastegger 2021): scalars and vectors of each atom, that exchange."""

import torch
from torch import Tensor, nn

from enn_lib.layers import length
from enn_lib.peers.edges import edge_vectors, mlp, neighbours, radial_features


class PaiNNBlock(nn.Module):
    r"""A message and an update, as in Fig. 2 of the publication.

    .. math::
        (a, b, c)_{ij} &= \phi(s_j) \circ \mathcal W(r_{ij}) \\
        s_i &\leftarrow s_i + \sum_j a_{ij}, \qquad
        \mathbf v_i \leftarrow \mathbf v_i + \sum_j \Big(b_{ij} \circ \mathbf v_j
        + c_{ij} \circ \frac{\mathbf r_{ij}}{r_{ij}}\Big) \\
        (a, b, c)_i &= \psi(s_i, |\mathbf v_i V|) \\
        s_i &\leftarrow s_i + a_i + b_i \circ \langle \mathbf v_i U, \mathbf v_i V \rangle, \qquad
        \mathbf v_i \leftarrow \mathbf v_i + c_i \circ \mathbf v_i U

    Different from the publication: the radial features are the Gaussians of Eq. 32 that the ENN's graph
    layer has, so that both see a distance equally well.
    """

    def __init__(self, features: int, radial: int):
        """Make it, from torch's global generator."""
        super().__init__()
        self.message = mlp(features, features, 3 * features)
        self.filter = nn.Linear(radial, 3 * features, bias=False)
        self.mix = nn.Linear(features, 2 * features, bias=False)  # U and V
        self.update = mlp(2 * features, features, 3 * features)

    def forward(self, s: Tensor, v: Tensor, units: Tensor, radial: Tensor) -> tuple[Tensor, Tensor]:
        """One round.

        Args:
            s: scalars, ``(..., N, F)``.
            v: vectors, ``(..., N, 3, F)``.
            units: unit vectors to the neighbours, ``(..., N, N - 1, 3)``.
            radial: features of the distances, ``(..., N, N - 1, B)``.
        """
        j = neighbours(s.shape[-2])
        a, b, c = (self.message(s)[..., j, :] * self.filter(radial)).chunk(3, dim=-1)
        s = s + a.sum(dim=-2)
        carried = (b.unsqueeze(-2) * v[..., j, :, :]).sum(dim=-3)
        v = v + carried + (units.unsqueeze(-1) * c.unsqueeze(-2)).sum(dim=-3)
        vu, vv = self.mix(v).chunk(2, dim=-1)
        a, b, c = self.update(torch.cat((s, length(vv).squeeze(-2)), dim=-1)).chunk(3, dim=-1)
        s = s + a + b * (vu * vv).sum(dim=-2)
        return s, v + c.unsqueeze(-2) * vu


class PaiNN(nn.Module):
    """Blocks of `PaiNNBlock`, and a force that is a mixture of each atom's vectors, gated by its scalars.

    Equivariant under rotations, reflections, translations and permutations, for any number of atoms.
    """

    def __init__(self, features: int = 34, blocks: int = 3, radial: int = 32):
        """Make it, from torch's global generator."""
        super().__init__()
        self.radial = radial_features(radial)
        self.embedding = nn.Parameter(torch.randn(features))
        self.blocks = nn.ModuleList(PaiNNBlock(features, radial) for _ in range(blocks))
        self.gate = mlp(features, features, features)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., N, 3)`` to ``(..., N, 3)``, without unit."""
        vectors = edge_vectors(positions)
        distance = vectors.square().sum(dim=-1).sqrt()
        units, radial = vectors / distance.unsqueeze(-1), self.radial(distance)
        s = self.embedding.expand(*positions.shape[:-1], -1)
        v = torch.zeros_like(positions).unsqueeze(-1) * s.unsqueeze(-2)
        for block in self.blocks:
            s, v = block(s, v, units, radial)
        return (v * self.gate(s).unsqueeze(-2)).sum(dim=-1)
