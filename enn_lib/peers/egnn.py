"""The E(n) equivariant graph network of Satorras, Hoogeboom and Welling (2021)."""

import torch
from torch import Tensor, nn

from enn_lib.peers.edges import edge_vectors, mlp, neighbours


class EGNNLayer(nn.Module):
    r"""The equivariant graph convolutional layer as published (their Eq. 3 to 6).

    .. math::
        m_{ij} &= \phi_e(h_i, h_j, |\mathbf x_i - \mathbf x_j|^2) \\
        \mathbf x_i &\leftarrow \mathbf x_i + \frac{1}{N - 1} \sum_{j \ne i}
        (\mathbf x_i - \mathbf x_j)\, \phi_x(m_{ij}) \\
        h_i &\leftarrow h_i + \phi_h\Big(h_i, \sum_{j \ne i} m_{ij}\Big)

    With SiLU, a residual in h and a last weight of phi_x that starts a thousand times smaller, all as in
    the published code. Attributes of the edges, where there are any, are further arguments of phi_e.
    """

    def __init__(self, features: int, attributes: int = 0):
        """Make it, all its networks `features` wide, from torch's global generator."""
        super().__init__()
        self.edge = nn.Sequential(mlp(2 * features + 1 + attributes, features, features), nn.SiLU())
        self.node = mlp(2 * features, features, features)
        self.coordinate = mlp(features, features, 1, last_bias=False)
        nn.init.xavier_uniform_(self.coordinate[-1].weight, gain=0.001)

    def forward(self, h: Tensor, x: Tensor, attributes: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map features ``(..., N, F)`` and coordinates ``(..., N, 3)`` to the same shapes.

        Args:
            h: the features.
            x: the coordinates.
            attributes: of the edges, ``(..., N, N - 1, attributes)``, by receiver and then as `neighbours`.
        """
        difference = -edge_vectors(x)  # x_i - x_j
        squared = difference.square().sum(dim=-1, keepdim=True)
        others = h[..., neighbours(x.shape[-2]), :]
        known = (h.unsqueeze(-2).expand_as(others), others, squared)
        message = self.edge(torch.cat(known if attributes is None else (*known, attributes), dim=-1))
        x = x + (difference * self.coordinate(message)).mean(dim=-2)
        return h + self.node(torch.cat((h, message.sum(dim=-2)), dim=-1)), x


class EGNN(nn.Module):
    r"""Layers of `EGNNLayer`; the force is how far they move an atom, :math:`\mathbf x^L - \mathbf x^0`.

    All atoms are equal, so the first features are a learned constant. Equivariant under rotations,
    reflections, translations and permutations, for any number of atoms.
    """

    def __init__(self, features: int = 43, layers: int = 4):
        """Make it, from torch's global generator."""
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(features))
        self.layers = nn.ModuleList(EGNNLayer(features) for _ in range(layers))

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., N, 3)`` to ``(..., N, 3)``, without unit."""
        h, x = self.embedding.expand(*positions.shape[:-1], -1), positions
        for layer in self.layers:
            h, x = layer(h, x)
        return x - positions
