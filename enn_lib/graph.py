r"""Layers that do not depend on the order of their inputs, or on how many there are (sec. 3.5, Eq. 25 to 35).

Nodes have positions ``(..., nodes, n)``, real or complex; n = 3 and Å for atoms. All pairs within the
cutoff are edges; pairs are formed densely, so memory grows as nodes^2.
"""

import math

import torch
from torch import Tensor, nn

from enn_lib.layers import check_dtype
from enn_lib.radial import GaussianRadial


class PermutationSum(nn.Module):
    r"""A weighted sum of vectors, blind to their order within each kind (Eq. 28, 29).

    .. math:: \phi^{(\alpha)}(x_1, ..., x_N) = \sum_\delta \sum_i x_i\, v_{i\delta}\, w_{\delta\alpha}

    With one kind and v = 1 this is Eq. 28. A weight that does not depend on i is all it takes. It maps
    any number N of vectors to M, and commutes with every unitary operator, because that acts on x alone.

    Attributes:
        weight: the parameter w, ``(kinds, out_vectors)``.
    """

    def __init__(
        self,
        out_vectors: int,
        *,
        kinds: int = 1,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make the sum with Gaussian weights of variance 1 / kinds.

        Args:
            out_vectors: M, how many sums.
            kinds: how many values delta takes.
            dtype: float32, float64, complex64 or complex128; the default dtype if not given.
            generator: the source of randomness; torch's global one if not given.

        Raises:
            ValueError: if a number is not positive.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__()
        _check_counts(out_vectors=out_vectors, kinds=kinds)
        draw = torch.randn(kinds, out_vectors, dtype=check_dtype(dtype), generator=generator)
        self.weight = nn.Parameter(draw / math.sqrt(kinds))

    def forward(self, x: Tensor, v: Tensor | None = None) -> Tensor:
        """Map vectors ``(..., n, N)`` to ``(..., n, out_vectors)``.

        Args:
            x: the vectors.
            v: their features, ``(..., N, kinds)``; all 1 if not given, which needs one kind.

        Raises:
            ValueError: if the shape of `v` does not fit.
        """
        v = _features(v, x.shape[-1], len(self.weight), x)
        return x @ (v.to(self.weight.dtype) @ self.weight)


class _GraphLayer(nn.Module):
    """What Eq. 30 and 31 share: edge features, node features, and the weight w."""

    def __init__(
        self,
        radial: GaussianRadial,
        out_features: int | None = None,
        *,
        node_features: int = 1,
        activation: nn.Module | None = None,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make the layer.

        Args:
            radial: the edge features, functions of the distance.
            out_features: how many values alpha takes. If not given, the weight is the Kronecker delta
                of Eq. 33 and 34, fixed, and alpha counts the edge features.
            node_features: how many values delta takes.
            activation: sigma; the identity if not given.
            dtype: of the weight: float32, float64, complex64 or complex128; the default dtype if not
                given.
            generator: the source of randomness for the weight; torch's global one if not given.

        Raises:
            ValueError: if a number is not positive, or the Kronecker delta is asked for with more than
                one node feature.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__()
        _check_counts(out_features=1 if out_features is None else out_features, node_features=node_features)
        dtype = check_dtype(dtype)
        self.radial = radial
        self.activation = nn.Identity() if activation is None else activation
        if out_features is None:
            if node_features != 1:
                raise ValueError(f"node_features: got {node_features}, wanted 1 with the Kronecker delta")
            self.register_buffer("weight", torch.eye(len(radial), dtype=dtype).unsqueeze(1), persistent=False)
        else:
            shape = (len(radial), node_features, out_features)
            draw = torch.randn(shape, dtype=dtype, generator=generator)
            self.weight = nn.Parameter(draw / math.sqrt(len(radial) * node_features))

    def _edges(self, positions: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor]:
        """Unit vectors ``(..., i, j, n)``, and e_ij v_j ``(..., i, j, beta * delta)``, 0 for i = j."""
        if positions.ndim < 2:
            raise ValueError(f"positions: got shape {tuple(positions.shape)}, wanted (..., nodes, n)")
        nodes = positions.shape[-2]
        v = _features(v, nodes, self.weight.shape[1], positions)
        u = positions.unsqueeze(-3) - positions.unsqueeze(-2)  # u_ij = u_j - u_i
        squared = (u * u.conj()).real.sum(dim=-1)
        is_zero = squared == 0
        distance = torch.where(is_zero, 1.0, squared).sqrt()
        units = u / distance.unsqueeze(-1)
        # Also where two nodes coincide: the only equivariant unit vector there is zero, and its feature
        # must not let a scalar jump.
        distance = torch.where(is_zero, 0.0, distance)
        e = self.radial(distance) * ~torch.eye(nodes, dtype=torch.bool, device=u.device).unsqueeze(-1)
        return units, (e.unsqueeze(-1) * v[..., None, :, None, :]).flatten(-2)


class ScalarGraphLayer(_GraphLayer):
    r"""The scalar descriptors of Eq. 30, invariant under every unitary operator.

    .. math::
        D_i^{(\alpha)} = \sigma\Big(\sum_{j\beta\delta} e_{ij}^\beta v_{j\delta} w_{\beta\delta\alpha}\Big)

    With the Kronecker delta this is Eq. 33, the symmetry functions of Behler and Parrinello (2007).

    Attributes:
        radial: e, the edge features (Eq. 32).
        weight: w, ``(beta, delta, alpha)``, a parameter unless it is the Kronecker delta.
        activation: sigma.
    """

    def forward(self, positions: Tensor, v: Tensor | None = None) -> Tensor:
        """Map positions ``(..., nodes, n)`` to descriptors ``(..., nodes, alpha)``.

        Args:
            positions: of the nodes; as many as one likes.
            v: node features ``(..., nodes, delta)``; all 1 if not given, which needs one of them.

        Raises:
            ValueError: if a shape does not fit.
        """
        _, edges = self._edges(positions, v)
        return self.activation(_product(edges.sum(dim=-2), self.weight))


class VectorGraphLayer(_GraphLayer):
    r"""The vector descriptors of Eq. 31, equivariant under every unitary operator (Eq. 35).

    .. math::
        \mathbf D_i^{(\alpha)} = \sigma\Big(\sum_{j\beta\delta} \frac{\mathbf u_{ij}}{u_{ij}}
        e_{ij}^\beta v_{j\delta} w_{\beta\delta\alpha}\Big)

    With the Kronecker delta this is Eq. 34. The unit vector of two nodes that coincide counts as zero.

    Attributes:
        radial: e, the edge features (Eq. 32).
        weight: w, ``(beta, delta, alpha)``, a parameter unless it is the Kronecker delta.
        activation: sigma, equivariant.
    """

    def forward(self, positions: Tensor, v: Tensor | None = None) -> Tensor:
        """Map positions ``(..., nodes, n)`` to vectors ``(..., nodes, n, alpha)``, columns for an `ENN`.

        Args:
            positions: of the nodes; as many as one likes.
            v: node features ``(..., nodes, delta)``; all 1 if not given, which needs one of them.

        Raises:
            ValueError: if a shape does not fit.
        """
        units, edges = self._edges(positions, v)
        return self.activation(_product(units.mT @ edges.to(units.dtype), self.weight))


def _product(terms: Tensor, weight: Tensor) -> Tensor:
    """Sum over beta and delta, in the wider of two dtypes: complex positions may meet real weights."""
    dtype = torch.promote_types(terms.dtype, weight.dtype)
    return terms.to(dtype) @ weight.flatten(0, 1).to(dtype)


def _features(v: Tensor | None, count: int, kinds: int, like: Tensor) -> Tensor:
    """The node features, or ones."""
    if v is None:
        if kinds != 1:
            raise ValueError(f"v: got None, wanted node features (..., {count}, {kinds})")
        return torch.ones(count, 1, dtype=like.real.dtype, device=like.device)
    if v.shape[-2:] != (count, kinds):
        raise ValueError(f"v: got shape {tuple(v.shape)}, wanted (..., {count}, {kinds})")
    return v


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted a positive number")
