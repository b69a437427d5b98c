r"""Layers that do not depend on the order of their inputs, or on how many there are (sec. 3.5, Eq. 25 to 35).

Their edge features are radial functions with smooth cutoffs (Eq. 32). Distances may have any shape and any
unit, Å for atoms. Everything is differentiable as often as its formula is, so that forces and their
derivatives can be taken through it.

Nodes have positions ``(..., nodes, n)``, real or complex; n = 3 and Å for atoms. All pairs within the
cutoff are edges; pairs are formed densely, so memory grows as nodes^2.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from enn_lib.layers import check_dtype

Cutoff = Callable[[Tensor, float], Tensor]


def polynomial_cutoff(distance: Tensor, cutoff: float, power: int = 3) -> Tensor:
    r"""The smooth-out function f_c, a polynomial with a continuous second derivative at r_c.

    .. math::
        f_c(r) = 1 - \tfrac{(p+1)(p+2)}{2}\, t^p + p(p+2)\, t^{p+1} - \tfrac{p(p+1)}{2}\, t^{p+2},
        \qquad t = r / r_c < 1

    and 0 beyond r_c. The value and the first two derivatives vanish at r_c, which is what sec. 3.5 asks
    for, whatever p is; with p of at least 3 the derivatives vanish at r = 0 as well. It is the envelope of
    Gasteiger, Groß and Günnemann (*Directional message passing for molecular graphs*, ICLR 2020).

    Args:
        distance: r, any shape, at least 0.
        cutoff: r_c, in the unit of `distance`.
        power: p, at least 3.

    Returns:
        From 1 to 0, of the shape and dtype of `distance`.

    Raises:
        ValueError: if `cutoff` is not positive or `power` is less than 3.
    """
    _check_cutoff(cutoff)
    if power < 3:
        raise ValueError(f"power: got {power}, wanted at least 3")
    p = power
    t = (distance / cutoff).clamp_max(1.0)
    inner = -(p + 1) * (p + 2) / 2 + p * (p + 2) * t - p * (p + 1) / 2 * t * t
    return torch.where(distance < cutoff, 1 + t**p * inner, 0.0)


class GaussianRadial(nn.Module):
    r"""The edge features of Eq. 32: Gaussians of the distance, times a cutoff.

    .. math:: e^\beta(r) = \exp\left(-\eta^{(\beta)} (r - r_s^{(\beta)})^2\right) f_c(r)

    The case i = j of Eq. 32, where the feature is zero, is the graph layer's business.

    Attributes:
        eta: eta, ``(B,)``, 1 / length^2.
        centres: r_s, ``(B,)``, a length.
        cutoff: r_c, a length.
        cutoff_function: f_c, takes the distance and r_c.
    """

    eta: Tensor
    centres: Tensor

    def __init__(
        self,
        eta: Sequence[float] | Tensor,
        centres: Sequence[float] | Tensor,
        cutoff: float,
        *,
        cutoff_function: Cutoff = polynomial_cutoff,
    ):
        """Make the features from their hyper-parameters, which the paper calls predetermined.

        Raises:
            ValueError: if `eta` and `centres` are not two lists of the same, positive length, an eta is
                negative, or `cutoff` is not positive.
        """
        super().__init__()
        eta, centres = (torch.as_tensor(values, dtype=torch.float64) for values in (eta, centres))
        if eta.ndim != 1 or eta.shape != centres.shape or not len(eta) or not (eta >= 0).all():
            raise ValueError(
                f"eta, centres: got {eta.tolist()} and {centres.tolist()}, "
                "wanted two lists of the same length, eta at least 0"
            )
        _check_cutoff(cutoff)
        self.register_buffer("eta", eta, persistent=False)
        self.register_buffer("centres", centres, persistent=False)
        self.cutoff = cutoff
        self.cutoff_function = cutoff_function

    @classmethod
    def geometric(
        cls, count: int, first: float, cutoff: float, *, cutoff_function: Cutoff = polynomial_cutoff
    ) -> "GaussianRadial":
        """Features whose centres grow geometrically from `first` to the cutoff, and whose widths follow.

        Each is 1/e of its height at the next centre, so that short distances, where forces are stiff,
        are resolved more finely than long ones.

        Args:
            count: B, at least 2; the last centre is one ratio below the cutoff.
            first: the first centre, positive and less than `cutoff`.
            cutoff: r_c.
            cutoff_function: f_c.

        Raises:
            ValueError: if a number is out of range.
        """
        if count < 2 or not 0 < first < cutoff:
            raise ValueError(
                f"count, first, cutoff: got {count}, {first}, {cutoff}, "
                "wanted at least 2 and 0 < first < cutoff"
            )
        edges = first * (cutoff / first) ** (torch.arange(count + 1, dtype=torch.float64) / count)
        return cls(1 / edges.diff().square(), edges[:-1], cutoff, cutoff_function=cutoff_function)

    def __len__(self) -> int:
        """B, how many features."""
        return len(self.eta)

    def forward(self, distance: Tensor) -> Tensor:
        """Map distances ``(...)`` to features ``(..., B)`` of the same dtype."""
        r = distance.unsqueeze(-1)
        eta, centres = self.eta.to(r.dtype), self.centres.to(r.dtype)
        return torch.exp(-eta * (r - centres).square()) * self.cutoff_function(r, self.cutoff)

    def extra_repr(self) -> str:
        return f"{len(self)}, cutoff={self.cutoff}, cutoff_function={self.cutoff_function.__name__}"


def _check_cutoff(cutoff: float) -> None:
    if not cutoff > 0:
        raise ValueError(f"cutoff: got {cutoff}, wanted a positive length")


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
        check_counts(out_features=1 if out_features is None else out_features, node_features=node_features)
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
        v = features_or_ones(v, nodes, self.weight.shape[1], positions)
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


def features_or_ones(v: Tensor | None, count: int, kinds: int, like: Tensor) -> Tensor:
    """Node features ``(..., count, kinds)``, or ones where there are none.

    Raises:
        ValueError: if there are none and `kinds` is not 1, or the shape does not fit.
    """
    if v is None:
        if kinds != 1:
            raise ValueError(f"v: got None, wanted node features (..., {count}, {kinds})")
        return torch.ones(count, 1, dtype=like.real.dtype, device=like.device)
    if v.shape[-2:] != (count, kinds):
        raise ValueError(f"v: got shape {tuple(v.shape)}, wanted (..., {count}, {kinds})")
    return v


def check_counts(**counts: int) -> None:
    """Raise ValueError, naming the first of the numbers that is not positive."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted a positive number")
