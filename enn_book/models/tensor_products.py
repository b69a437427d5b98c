"""A network of tensor products of spherical harmonics, made with e3nn (optional extra ``peers``)."""

import torch
from torch import Tensor, nn

from enn_book.models.edges import edge_vectors, neighbours, radial_features

try:
    from e3nn import nn as e3
    from e3nn import o3
except ImportError:
    e3 = o3 = None

L_MAX = 2
"""The greatest degree of features and of spherical harmonics."""


def features_of(count: int) -> "o3.Irreps":
    """As many features of every degree l up to `L_MAX`, with the parity (-1)^l of spherical harmonics."""
    return o3.Irreps([(count, (degree, (-1) ** degree)) for degree in range(L_MAX + 1)])


class Convolution(nn.Module):
    r"""One interaction as in NequIP (Batzner et al. 2022): a message, a self-connection, a gate.

    .. math::
        m_i = \frac{1}{\sqrt{N - 1}} \sum_{j \ne i} \big(W_1 x_j\big) \otimes_{w(r_{ij})}
        Y\Big(\frac{\mathbf r_{ij}}{r_{ij}}\Big), \qquad x_i \leftarrow \mathrm{gate}(W_2 m_i + W_3 x_i)

    The weights w of the tensor product are a perceptron of the distance. It has no biases, so that they end
    with the radial features at the cutoff.
    """

    def __init__(self, inside: "o3.Irreps", count: int, radial: int, hidden: int):
        """Make it, from torch's global generator.

        Args:
            inside: what comes in.
            count: of features of each degree that go out.
            radial: how many features a distance has.
            hidden: neurons of the perceptron of the distance.
        """
        super().__init__()
        directions = o3.Irreps.spherical_harmonics(L_MAX)
        kept = features_of(count)
        places = [
            (i, j, irrep)
            for i, (_, a) in enumerate(inside)
            for j, (_, b) in enumerate(directions)
            for irrep in a * b
            if irrep in kept
        ]
        paths = o3.Irreps([(inside[i].mul, irrep) for i, _, irrep in places])
        instructions = [(i, j, k, "uvu", True) for k, (i, j, _) in enumerate(places)]
        self.product = o3.TensorProduct(inside, directions, paths, instructions, shared_weights=False)
        self.weights = e3.FullyConnectedNet([radial, hidden, self.product.weight_numel], nn.functional.silu)
        vectors = o3.Irreps([entry for entry in kept if entry.ir.l > 0])
        gates = o3.Irreps([(vectors.num_irreps, "0e")])
        scalars = o3.Irreps([(count, "0e")])
        self.gate = e3.Gate(scalars, [nn.functional.silu], gates, [torch.sigmoid], vectors)
        self.before = o3.Linear(inside, inside)
        self.after = o3.Linear(paths, self.gate.irreps_in)
        self.itself = o3.Linear(inside, self.gate.irreps_in)

    def forward(self, x: Tensor, directions: Tensor, radial: Tensor) -> Tensor:
        """One round.

        Args:
            x: features of the atoms, ``(..., N, inside)``.
            directions: spherical harmonics of the directions to the neighbours, ``(..., N, N - 1, 9)``.
            radial: features of the distances, ``(..., N, N - 1, radial)``.
        """
        j = neighbours(x.shape[-2])
        messages = self.product(self.before(x)[..., j, :], directions, self.weights(radial))
        return self.gate(self.after(messages.sum(dim=-2) / j.shape[-1] ** 0.5) + self.itself(x))


class TensorProducts(nn.Module):
    """Layers of `Convolution`, and a force that is a mixture of each atom's features of degree one.

    Equivariant under rotations, reflections, translations and permutations, for any number of atoms.
    Different from NequIP: forces are given directly, not as the gradient of an energy, as by the other
    models that are compared; and the radial features are those that the ENN's graph layer has.
    """

    def __init__(self, count: int = 16, layers: int = 3, radial: int = 32, hidden: int = 74):
        """Make it, with `count` features of each degree, from torch's global generator.

        Raises:
            ImportError: without e3nn.
        """
        if o3 is None:
            raise ImportError("e3nn: got no such package, wanted it, pip install 'enn-lib[peers]'")
        super().__init__()
        self.radial = radial_features(radial)
        self.embedding = nn.Parameter(torch.randn(count))
        inside = [o3.Irreps([(count, "0e")]), *[features_of(count)] * (layers - 1)]
        self.layers = nn.ModuleList(Convolution(irreps, count, radial, hidden) for irreps in inside)
        self.mix = o3.Linear(features_of(count), o3.Irreps("1o"))

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., N, 3)`` to ``(..., N, 3)``, without unit."""
        vectors = edge_vectors(positions)
        directions = o3.spherical_harmonics(
            list(range(L_MAX + 1)), vectors, normalize=True, normalization="component"
        )
        radial = self.radial(vectors.square().sum(dim=-1).sqrt())
        x = self.embedding.expand(*positions.shape[:-1], -1)
        for layer in self.layers:
            x = layer(x, directions, radial)
        return self.mix(x)
