"""The networks of the benchmark: the ENN with scalar features and the graph layer, and EGNN as published.

Each maps positions ``(..., N, 3)``, velocities of the same shape and charges ``(..., N)`` to the positions
one unit of time later. The charges enter by the products of pairs alone, so that changing all signs changes
nothing, as in the law.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from enn_book.models.edges import edge_vectors, mlp, neighbours
from enn_book.models.rivals import EGNNLayer
from enn_lib.activations import VectorSoftsign
from enn_lib.graph import GaussianRadial
from enn_lib.scalar_features import ScalarFeatureENN


def pair_products(charges: Tensor) -> Tensor:
    """The products q_i q_j of all pairs, itself included: ``(..., N)`` -> ``(..., N, N, 1)``."""
    return (charges.unsqueeze(-1) * charges.unsqueeze(-2)).unsqueeze(-1)


def differences(x: Tensor) -> Tensor:
    """The vectors x_j - x_i of all pairs, itself included: ``(..., N, 3)`` -> ``(..., N, N, 3)``."""
    return x.unsqueeze(-3) - x.unsqueeze(-2)


class ENNRound(nn.Module):
    r"""A round of messages: the graph layer of sec. 3.5, and an ENN with scalar features for every particle.

    .. math::
        \mathbf D_i^{(\alpha)} &= \sum_j \frac{\mathbf u_{ij}}{\rho_{ij}} f_\alpha(\rho_{ij}, q_i q_j)
        + (\mathbf v_j - \mathbf v_i)\, g_\alpha(\rho_{ij}, q_i q_j) \\
        S_i^{(\alpha)} &= \sum_j s_\alpha(\rho_{ij}, q_i q_j) \\
        (\mathbf a_i, \mathbf b_i, \Delta H_i) &= \mathrm{ENN}\big(\{\mathbf D_i, S_i\}, \{\mathbf v_i, 0\},
        H_i\big)

    with :math:`\mathbf u_{ij} = \mathbf x_j - \mathbf x_i` and the softened distance
    :math:`\rho^2 = |\mathbf u|^2 + \epsilon^2`. The functions f, g and s are sums of the Gaussians of Eq. 32
    and of the same times q_i q_j, with learned weights: D is Eq. 31 and S Eq. 30, whose edge features may be
    any, and D has relative velocities beside unit vectors. The sums include j = i, which adds nothing to D
    and a constant to S. H are vectors with one scalar each, which pass from round to round.
    """

    def __init__(self, radial: GaussianRadial, descriptors: int, hidden: int, widths: tuple[int, ...]):
        """Make it, from torch's global generator; the arguments are those of `NBodyENN`."""
        super().__init__()
        self.radial = radial
        self.weight = nn.Parameter(torch.randn(2 * len(radial), 3 * descriptors) / len(radial) ** 0.5)
        self.network = ScalarFeatureENN(
            (descriptors + 1 + hidden, *widths, 2 + hidden), activation=VectorSoftsign(0.3), softening=0.3
        )

    def forward(
        self, x: Tensor, v: Tensor, hidden: tuple[Tensor, Tensor], products: Tensor, softening: float
    ) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
        """The round's change of velocity and of position, ``(..., N, 3)``, and of the hidden vectors.

        Args:
            x: positions, ``(..., N, 3)``.
            v: velocities, of the same shape.
            hidden: vectors ``(..., N, 3, hidden)`` and their scalars ``(..., N, 1, hidden)``.
            products: `pair_products` of the charges.
            softening: epsilon, in the unit of positions.
        """
        u = differences(x)
        rho = (u.square().sum(dim=-1) + softening**2).sqrt()
        features = self.radial(rho)
        f, g, s = (torch.cat((features, products * features), dim=-1) @ self.weight).chunk(3, dim=-1)
        both = torch.cat((u / rho.unsqueeze(-1), differences(v)), dim=-2)
        vectors = both.mT @ torch.cat((f, g), dim=-2)
        vectors = torch.cat((vectors, v.unsqueeze(-1), hidden[0]), dim=-1)
        scalars = s.sum(dim=-2, keepdim=True)
        scalars = torch.cat((scalars, torch.zeros_like(scalars[..., :1]), hidden[1]), dim=-1)
        vectors, scalars = self.network(vectors, scalars)
        return vectors[..., 0], vectors[..., 1], (vectors[..., 2:], scalars[..., 2:])


class NBodyENN(nn.Module):
    r"""Rounds of `ENNRound`, each of which moves the particles a little.

    .. math::
        \mathbf v_i \leftarrow \mathbf v_i + \mathbf a_i / K, \qquad
        \mathbf x_i \leftarrow \mathbf x_i + c_k\, \mathbf v_i + \mathbf b_i / K, \qquad
        H_i \leftarrow H_i + \Delta H_i / K

    for K rounds with weights of their own, and c learned from 1 / K: without its networks it says x + v.
    Equivariant under rotations, reflections, translations and permutations, invariant under a change of all
    signs of the charges, for any number of particles. Unit vectors are softened, in the graph layer and in
    the ENN.

    Attributes:
        rounds: the `ENNRound` s.
        times: c, ``(K,)``.
    """

    def __init__(
        self,
        rounds: int = 5,
        *,
        radial: int = 16,
        descriptors: int = 16,
        hidden: int = 8,
        widths: tuple[int, ...] = (48,),
        softening: float = 0.1,
        cutoff: float = 12.0,
    ):
        """Make it, from torch's global generator.

        Args:
            rounds: K.
            radial: how many Gaussians; their centres grow geometrically from `softening` to `cutoff`.
            descriptors: how many values alpha takes.
            hidden: how many hidden vectors, each with one scalar.
            widths: of the hidden layers of every ENN.
            softening: epsilon of the distances, in the unit of positions.
            cutoff: where the Gaussians end.
        """
        super().__init__()
        self.hidden, self.softening = hidden, softening
        basis = GaussianRadial.geometric(radial, softening, cutoff)
        self.rounds = nn.ModuleList(ENNRound(basis, descriptors, hidden, widths) for _ in range(rounds))
        self.times = nn.Parameter(torch.full((rounds,), 1 / rounds))

    def forward(self, positions: Tensor, velocities: Tensor, charges: Tensor) -> Tensor:
        """Positions ``(..., N, 3)`` one unit of time later."""
        x, v, products = positions, velocities, pair_products(charges)
        vectors = x.new_zeros(*x.shape, self.hidden)
        scalars = vectors[..., :1, :]
        share = 1 / len(self.rounds)
        for step, time in zip(self.rounds, self.times, strict=True):
            a, b, (dv, ds) = step(x, v, (vectors, scalars), products, self.softening)
            v = v + share * a
            x = x + time * v + share * b
            vectors, scalars = vectors + share * dv, scalars + share * ds
        return x


class NBodyEGNN(nn.Module):
    r"""EGNN with velocities as it was run on this benchmark (Satorras et al. 2021, Eq. 7).

    .. math:: \mathbf x_i \leftarrow \mathbf x_i + \frac{1}{N - 1} \sum_{j \ne i}
        (\mathbf x_i - \mathbf x_j)\, \phi_x(m_{ij}) + \phi_v(h_i)\, \mathbf v_i

    with the speed as the first feature, and the product of the charges and the squared distance at the start
    as attributes of the edges; four layers of 64 features, all as in the published code.
    """

    def __init__(self, features: int = 64, layers: int = 4):
        """Make it, from torch's global generator."""
        super().__init__()
        self.embedding = nn.Linear(1, features)
        self.layers = nn.ModuleList(EGNNLayer(features, attributes=2) for _ in range(layers))
        self.velocities = nn.ModuleList(mlp(features, features, 1) for _ in range(layers))

    def forward(self, positions: Tensor, velocities: Tensor, charges: Tensor) -> Tensor:
        """Positions ``(..., N, 3)`` one unit of time later."""
        squared = edge_vectors(positions).square().sum(dim=-1, keepdim=True)
        others = charges[..., neighbours(charges.shape[-1])]
        products = (charges.unsqueeze(-1) * others).unsqueeze(-1)
        attributes = torch.cat((products, squared), dim=-1)
        h = self.embedding(velocities.square().sum(dim=-1, keepdim=True).sqrt())
        x = positions
        for layer, velocity in zip(self.layers, self.velocities, strict=True):
            carried = velocity(h) * velocities
            h, x = layer(h, x, attributes)
            x = x + carried
        return x


MODELS: dict[str, Callable[[], nn.Module]] = {"enn": NBodyENN, "egnn": NBodyEGNN}
"""The networks by name, which make themselves from torch's global generator."""


def build_model(name: str, seed: int = 0) -> nn.Module:
    """The untrained network of a name, in float32.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in MODELS:
        raise ValueError(f"model: got {name!r}, wanted one of {', '.join(MODELS)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MODELS[name]()
