"""The networks of the benchmark: the ENN and EGNN, each with and without the form of an integrator.

Each maps positions ``(..., N, 3)``, velocities of the same shape and charges ``(..., N)`` to the positions
one unit of time later. The charges enter by the products of pairs alone, so that changing all signs changes
nothing, as in the law.

====================  ======================================================================================
``enn``               one `ENNRound`, a learned law, applied in 8 steps that move the particles
``enn-fine``          the same in 16 steps
``enn-taught``        the same as ``enn``, which goes on from one of these, taught by five (``study.py``)
``enn-longer``        the same, which goes on on the data, as the control
``enn-own``           five rounds with weights of their own, which move the particles
``enn-still``         the same five rounds, which do not: the last sum moves the particles once
``egnn``              EGNN as published for this benchmark
``egnn-steps``        one layer of EGNN as the law, in the same 8 steps, with as many weights as ``enn``
====================  ======================================================================================
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from enn_book.models.edges import edge_vectors, mlp, neighbours
from enn_book.models.rivals import EGNNLayer
from enn_lib.activations import VectorSoftsign
from enn_lib.graph import GaussianRadial
from enn_lib.scalar_features import ScalarFeatureENN


def incidence(particles: Tensor) -> Tensor:
    """The matrix that takes the difference x_j - x_i of every pair i < j, ``(pairs, N)``.

    Args:
        particles: ``(N, ...)``, whose dtype it has.
    """
    n = len(particles)
    i, j = torch.triu_indices(n, n, 1)
    eye = torch.eye(n, dtype=particles.dtype)
    return eye[j] - eye[i]


def along_first(matrix: Tensor, x: Tensor) -> Tensor:
    """Multiply the first dimension by a matrix: ``(M, N)`` and ``(N, ...)`` -> ``(M, ...)``."""
    return (matrix @ x.flatten(1)).unflatten(1, x.shape[1:])


class ENNRound(nn.Module):
    r"""A round of messages: the graph layer of sec. 3.5, and an ENN with scalar features for every particle.

    .. math::
        \mathbf D_i^{(\alpha)} &= \sum_{j \ne i} \frac{\mathbf u_{ij}}{\rho_{ij}} f_\alpha(\rho_{ij}, q_i q_j)
        + (\mathbf v_j - \mathbf v_i)\, g_\alpha(\rho_{ij}, q_i q_j) \\
        S_i^{(\alpha)} &= \sum_{j \ne i} s_\alpha(\rho_{ij}, q_i q_j) \\
        (\mathbf a_i, \mathbf b_i, \Delta H_i) &= \mathrm{ENN}\big(\{\mathbf D_i, S_i\}, \{\mathbf v_i, 0\},
        H_i\big)

    with :math:`\mathbf u_{ij} = \mathbf x_j - \mathbf x_i` and the softened distance
    :math:`\rho^2 = |\mathbf u|^2 + \epsilon^2`. The functions f, g and s are sums of the Gaussians of Eq. 32
    and of the same times q_i q_j, with learned weights: D is Eq. 31 and S Eq. 30, whose edge features may be
    any, and D has relative velocities beside unit vectors. What a pair gives to i is, in D, the opposite of
    what it gives to j, so each pair is computed once. H are vectors with one scalar each, which pass from
    round to round.
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
        """The round's change of velocity and of position, ``(N, ..., 3)``, and of the hidden vectors.

        Args:
            x: positions, ``(N, ..., 3)``: the particles first.
            v: velocities, of the same shape.
            hidden: vectors ``(N, ..., 3, hidden)`` and their scalars ``(N, ..., 1, hidden)``.
            products: of the charges of every pair of `incidence`, ``(pairs, ..., 1)``.
            softening: epsilon, in the unit of positions.
        """
        pairs = incidence(x)
        u, w = along_first(pairs, torch.stack((x, v), dim=-1)).unsqueeze(-2).unbind(-1)
        rho = (u.square().sum(dim=-2, keepdim=True) + softening**2).sqrt()
        features = self.radial(rho[..., 0, 0])
        weighted = torch.cat((features, products * features), dim=-1) @ self.weight
        f, g, s = weighted.unsqueeze(-2).chunk(3, dim=-1)
        vectors = along_first(-pairs.mT, u / rho * f + w * g)
        scalars = along_first(pairs.mT.abs(), s)
        vectors = torch.cat((vectors, v.unsqueeze(-1), hidden[0]), dim=-1)
        scalars = torch.cat((scalars, torch.zeros_like(scalars[..., :1]), hidden[1]), dim=-1)
        vectors, scalars = self.network(vectors, scalars)
        return vectors[..., 0], vectors[..., 1], (vectors[..., 2:], scalars[..., 2:])


class NBodyENN(nn.Module):
    r"""Rounds of `ENNRound`, each of which moves the particles a little.

    .. math::
        \mathbf v_i \leftarrow \mathbf v_i + \mathbf a_i / K, \qquad
        \mathbf x_i \leftarrow \mathbf x_i + c_k\, \mathbf v_i + \mathbf b_i / K, \qquad
        H_i \leftarrow H_i + \Delta H_i / K

    for K rounds, and c learned from 1 / K: without its networks it says x + v. This is the semi-implicit
    Euler method, whose velocity is updated first. The rounds share one set of weights, the law, or each has
    its own. Equivariant under rotations, reflections, translations and permutations, invariant under a
    change of all signs of the charges, for any number of particles. Unit vectors are softened, in the graph
    layer and in the ENN.

    Attributes:
        rounds: the `ENNRound` s, a single one if it is shared.
        times: c, one for each of these.
    """

    def __init__(
        self,
        steps: int = 8,
        *,
        shared: bool = True,
        moves: bool = True,
        radial: int = 12,
        descriptors: int = 16,
        hidden: int = 8,
        widths: tuple[int, ...] = (32,),
        softening: float = 0.1,
        cutoff: float = 12.0,
    ):
        """Make it, from torch's global generator.

        Args:
            steps: K.
            shared: whether all rounds are the same.
            moves: whether later rounds see the particles where earlier ones moved them; if not, all rounds
                see the start, and the sum of what they say moves the particles once.
            radial: how many Gaussians; their centres grow geometrically from `softening` to `cutoff`.
            descriptors: how many values alpha takes.
            hidden: how many hidden vectors, each with one scalar.
            widths: of the hidden layers of every ENN.
            softening: epsilon of the distances, in the unit of positions.
            cutoff: where the Gaussians end.
        """
        super().__init__()
        self.steps, self.moves, self.hidden, self.softening = steps, moves, hidden, softening
        basis = GaussianRadial.geometric(radial, softening, cutoff)
        own = 1 if shared else steps
        self.rounds = nn.ModuleList(ENNRound(basis, descriptors, hidden, widths) for _ in range(own))
        self.times = nn.Parameter(torch.full((own,), 1 / steps))

    def forward(self, positions: Tensor, velocities: Tensor, charges: Tensor) -> Tensor:
        """Positions ``(..., N, 3)`` one unit of time later."""
        x, v, q = positions.movedim(-2, 0), velocities.movedim(-2, 0), charges.movedim(-1, 0)
        i, j = torch.triu_indices(len(q), len(q), 1)
        products = (q[i] * q[j]).unsqueeze(-1)
        seen = x, v
        vectors = x.new_zeros(*x.shape, self.hidden)
        scalars = vectors[..., :1, :]
        for k in range(self.steps):
            law, time = self.rounds[k % len(self.rounds)], self.times[k % len(self.rounds)]
            a, b, (dv, ds) = law(*seen, (vectors, scalars), products, self.softening)
            v = v + a / self.steps
            x = x + time * v + b / self.steps
            vectors, scalars = vectors + dv / self.steps, scalars + ds / self.steps
            seen = (x, v) if self.moves else seen
        return x.movedim(0, -2)


def edge_attributes(positions: Tensor, charges: Tensor) -> Tensor:
    """Of each pair the product of the charges and the squared distance, ``(..., N, N - 1, 2)``."""
    squared = edge_vectors(positions).square().sum(dim=-1, keepdim=True)
    others = charges[..., neighbours(charges.shape[-1])]
    return torch.cat(((charges.unsqueeze(-1) * others).unsqueeze(-1), squared), dim=-1)


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
        attributes = edge_attributes(positions, charges)
        h = self.embedding(velocities.square().sum(dim=-1, keepdim=True).sqrt())
        x = positions
        for layer, velocity in zip(self.layers, self.velocities, strict=True):
            carried = velocity(h) * velocities
            h, x = layer(h, x, attributes)
            x = x + carried
        return x


class EGNNSteps(nn.Module):
    r"""The form of `NBodyENN` with a layer of EGNN as its law, which says the acceleration.

    .. math::
        \mathbf a_i = \frac{1}{N - 1} \sum_{j \ne i} (\mathbf x_i - \mathbf x_j)\, \phi_x(m_{ij}), \qquad
        \mathbf v_i \leftarrow \mathbf v_i + \mathbf a_i / K, \qquad
        \mathbf x_i \leftarrow \mathbf x_i + c\, \mathbf v_i, \qquad
        h_i \leftarrow h_i + \phi_h / K

    with the features and the attributes of `NBodyEGNN`. SEGNO (Liu et al. 2024) has this form.
    """

    def __init__(self, steps: int = 8, features: int = 21):
        """Make it, from torch's global generator."""
        super().__init__()
        self.steps = steps
        self.embedding = nn.Linear(1, features)
        self.law = EGNNLayer(features, attributes=2)
        self.time = nn.Parameter(torch.tensor(1 / steps))

    def forward(self, positions: Tensor, velocities: Tensor, charges: Tensor) -> Tensor:
        """Positions ``(..., N, 3)`` one unit of time later."""
        attributes = edge_attributes(positions, charges)
        h = self.embedding(velocities.square().sum(dim=-1, keepdim=True).sqrt())
        x, v = positions, velocities
        for _ in range(self.steps):
            new, moved = self.law(h, x, attributes)
            v = v + (moved - x) / self.steps
            x = x + self.time * v
            h = h + (new - h) / self.steps
        return x


MODELS: dict[str, Callable[[], nn.Module]] = {
    "enn": NBodyENN,
    "enn-fine": partial(NBodyENN, 16),
    "enn-taught": NBodyENN,
    "enn-longer": NBodyENN,
    "enn-own": partial(NBodyENN, 5, shared=False, radial=16, widths=(48,)),
    "enn-still": partial(NBodyENN, 5, shared=False, moves=False, radial=16, widths=(48,)),
    "egnn": NBodyEGNN,
    "egnn-steps": EGNNSteps,
}
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
