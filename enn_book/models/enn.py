"""The ENN in the peers' form: on the six relative vectors, and with the graph layer of sec. 3.5."""

import torch
from torch import Tensor, nn

from enn_book.models.edges import radial_features
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import relative_vectors
from enn_lib.graph import VectorGraphLayer
from enn_lib.network import ENN, PAPER_WIDTHS


class RelativeENN(nn.Module):
    """The paper's network (sec. 4): relative vectors in (Eq. 41), forces out (Eq. 42).

    Attributes:
        network: the `ENN`.
    """

    def __init__(self, *, a: float = 0.1, softening: float = 0.0):
        """Make it with the paper's widths, from torch's global generator."""
        super().__init__()
        self.network = ENN(PAPER_WIDTHS, activation=VectorSoftsign(a), softening=softening)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        return self.network(relative_vectors(positions)).mT


class GraphENN(nn.Module):
    r"""The vector descriptors of Eq. 34 of every atom, and one softened `ENN` for all atoms.

    .. math:: \mathbf F_i = \mathrm{ENN}(\mathbf D_i^{(1)}/s_1, \ldots, \mathbf D_i^{(B)}/s_B)

    Equivariant under rotations, reflections, translations and permutations. A sum over pairs is *linear*
    in the descriptors: this model, too, is nearly told the answer.

    Attributes:
        scales: s, root mean squares of the descriptors; see `standardise`.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 113, 113, 85, 1), softening: float = 0.3):
        """Make it, from torch's global generator."""
        super().__init__()
        self.layer = VectorGraphLayer(radial_features(widths[0]))
        self.network = ENN(widths, activation=VectorSoftsign(0.3), softening=softening)
        self.register_buffer("scales", torch.ones(widths[0]))

    @torch.no_grad()
    def standardise(self, positions: Tensor) -> None:
        """Set the scales from training positions ``(N, 4, 3)``, so that no descriptor begins too small."""
        squares = self.layer(positions).square().mean(dim=(0, 1, 2))
        self.scales.copy_(torch.where(squares > 0, squares, 1.0).sqrt())

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., N, 3)`` to ``(..., N, 3)``, without unit."""
        return self.network(self.layer(positions).to(positions.dtype) / self.scales).squeeze(-1)
