"""The models of others that the ENN is compared with, each written from its publication.

Every one maps positions ``(..., 4, 3)``, in units of the data's position scale, to forces ``(..., 4, 3)``, in
units of its force scale. All are drawn from torch's global generator.

====================  ======================================================================================
`Perceptron`          no symmetry but that of translations
`VectorNeurons`       linear maps of vectors, and a ReLU along learned directions (Deng et al. 2021)
`InvariantScalars`    invariant scalars times relative vectors (Villar et al. 2021)
`FrameAverage`        a perceptron averaged over the frames of the principal axes (Puny et al. 2022)
`EGNN`                the E(n) equivariant graph network (Satorras, Hoogeboom and Welling 2021)
`PaiNN`               like PaiNN (Schütt, Unke and Gastegger 2021): scalars and vectors that exchange
`PairRadial`          the ceiling: a model that is told that forces are sums over pairs
====================  ======================================================================================
"""

from itertools import pairwise

import torch
from torch import Tensor, nn

from enn_book.lectures.activations import DirectionalLeakyReLU
from enn_book.models.edges import edge_vectors, mlp, neighbours, radial_features
from enn_lib.argon import N_ATOMS, PAIRS, relative_vectors
from enn_lib.layers import length


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


class VectorNeurons(nn.Module):
    r"""The perceptron of Vector Neurons, on the ENN's six relative vectors.

    .. math:: x_{k+1} = \mathrm{VN\text{-}ReLU}(x_k W_k)

    with the leaky ReLU of slope 0.2 of the published code. It has no bias of any kind, where the ENN has
    e b, and it is homogeneous of degree one: positions twice as far give forces twice as large.
    """

    def __init__(self, widths: tuple[int, ...] = (50, 84, 92, 84, 50), slope: float = 0.2):
        """Make it, with hidden layers of `widths` vectors, from torch's global generator."""
        super().__init__()
        ends = (len(PAIRS), *widths, N_ATOMS)
        self.weights = nn.ParameterList(torch.randn(a, b) / a**0.5 for a, b in pairwise(ends))
        self.activations = nn.ModuleList(DirectionalLeakyReLU(m, slope) for m in widths)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        x = relative_vectors(positions)
        for weight, activation in zip(self.weights, self.activations, strict=False):
            x = activation(x @ weight)
        return (x @ self.weights[-1]).mT


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


class FrameAverage(nn.Module):
    r"""A `Perceptron` averaged over the eight frames of the atoms' principal axes (their Eq. 3 and 7).

    .. math:: \mathbf F(x) = \frac{1}{8} \sum_{Q} \mathrm{MLP}(x\, Q)\, Q^T

    The columns of Q are eigenvectors of the covariance of the positions x, by increasing eigenvalue, each
    with either sign: 2^3 frames, which turn and reflect as the atoms do. Eight evaluations make any network
    equivariant under O(3), for a price: where two eigenvalues meet, the axes are exchanged and the forces
    jump. At such a place, a square of atoms say, the axes are not defined, and forces are finite but those
    of any one choice. Atoms in one plane or on one line are no such place: along an axis that they do not
    extend in, nothing is fed to the network, and the average of what comes out is zero.
    """

    signs: Tensor

    def __init__(self, width: int = 153, depth: int = 3):
        """Make it, with a `Perceptron` of this width and depth, from torch's global generator."""
        super().__init__()
        self.network = Perceptron(width, depth)
        signs = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3)
        self.register_buffer("signs", signs, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        centred = positions - positions.mean(dim=-2, keepdim=True)
        axes = torch.linalg.eigh(centred.mT @ centred).eigenvectors
        frames = axes.unsqueeze(-3) * self.signs.unsqueeze(-2)
        return (self.network(centred.unsqueeze(-3) @ frames) @ frames.mT).mean(dim=-3)


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
