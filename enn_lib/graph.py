r"""Layers that do not depend on the order of their inputs, or on how many there are (sec. 3.5, Eq. 25 to 35).

Their edge features are radial functions with smooth cutoffs (Eq. 32). Distances may have any shape and any
unit, Å for atoms. Everything is differentiable as often as its formula is, so that forces and their
derivatives can be taken through it.

Nodes have positions ``(..., nodes, n)``, real or complex; n = 3 and Å for atoms. All pairs within the
cutoff are edges. From positions all pairs are formed, so time and memory grow as nodes^2; from `neighbours`,
which also know periodic cells, they grow as nodes.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from enn_lib.layers import check_dtype

Cutoff = Callable[[Tensor, float], Tensor]

PAIRS_AT_A_TIME = 4096
"""So many pairs are summed in one go; with larger tensors most of the time goes into their allocation."""


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
    t = (distance / cutoff).clamp_max(1.0)
    # The same polynomial, by its factor: the sum above loses all digits where it is about to vanish.
    return (1 - t) ** 3 * sum((k + 1) * (k + 2) / 2 * t**k for k in range(power))


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
        is_fine = (eta >= 0).all() and eta.isfinite().all() and centres.isfinite().all()
        if eta.ndim != 1 or eta.shape != centres.shape or not (len(eta) and is_fine):
            got = f"{eta.tolist()} and {centres.tolist()}"
            raise ValueError(f"eta, centres: got {got}, wanted finite lists of one length, eta at least 0")
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
            wanted = "at least 2 and 0 < first < cutoff"
            raise ValueError(f"count, first, cutoff: got {count}, {first}, {cutoff}, wanted {wanted}")
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


@dataclass(frozen=True)
class Neighbours:
    """All pairs of atoms that are nearer than a cutoff, each once; one for each image in a periodic cell.

    Attributes:
        i: one atom of each pair, ``(pairs,)``, counted through all systems of a batch.
        j: the other one.
        vectors: from i to the image of j, ``(pairs, 3)``, differentiable in the positions.
        shape: of the batch and the atoms, ``(..., atoms)``.
    """

    i: Tensor
    j: Tensor
    vectors: Tensor
    shape: torch.Size


def neighbours(positions: Tensor, cutoff: float, cell: Tensor | None = None) -> Neighbours:
    """Find all pairs within a cutoff, in time and memory linear in the number of atoms.

    Atoms may be in the cell or not, and the cutoff may be longer than the cell, up to 20 times.

    Args:
        positions: ``(..., atoms, 3)``, real.
        cutoff: a length.
        cell: the lattice vectors as rows, ``(3, 3)`` or one for each system, ``(..., 3, 3)``; free space if
            not given.

    Raises:
        ImportError: if vesin, which finds them, is not installed.
        ValueError: if a shape or a number is not as described.
    """
    try:
        from vesin import NeighborList
    except ImportError as error:
        raise ImportError(f"neighbours wants vesin: pip install 'enn-lib[liquid]' ({error})") from error
    if not 1e-5 < cutoff < 1e9:
        raise ValueError(f"cutoff: got {cutoff}, wanted a length above 1e-5 and below 1e9")
    shape, is_real = positions.shape, positions.is_floating_point()
    if not (len(shape) > 1 and shape[-1] == 3 and is_real) or not positions.double().abs().le(1e15).all():
        got = f"{tuple(shape)}, {positions.dtype}"
        raise ValueError(f"positions: got {got}, wanted (..., atoms, 3), real, finite and at most 1e15")
    check_cell(cell, shape[:-2])
    flat, atoms = positions.reshape(-1, 3), shape[-2]
    if not len(flat):
        i, j = torch.zeros(2, 0, dtype=torch.int64, device=flat.device)
        return Neighbours(i, j, flat, shape[:-1])
    lattices = positions.new_zeros(3, 3) if cell is None else cell
    lattices = lattices.expand(*shape[:-2], 3, 3).reshape(-1, 3, 3)
    finder = NeighborList(cutoff=cutoff, full_list=False, n_threads=torch.get_num_threads())
    places, boxes = (x.detach().cpu().double() for x in (flat.unflatten(0, (-1, atoms)), lattices))
    if cell is None:  # a box so wide that no image is near: vesin's own may be thin, where it takes no end
        places = places - places.amin(dim=1, keepdim=True)
        boxes = (places.amax(dim=(1, 2)) + 2 * cutoff).reshape(-1, 1, 1) * torch.eye(3)
    else:  # where vesin takes no end, or ends Python
        inverse = torch.linalg.inv(boxes)
        h = 1 / (inverse.norm(dim=-2) * cutoff)  # heights of the cell
        if not ((h > 0.05) & (h < 300)).all():
            raise ValueError(f"cell: got heights {h.min():.3g} to {h.max():.3g} cutoffs, wanted 0.05 to 300")
        if not (places @ inverse).abs().lt(1e4).all():
            raise ValueError("positions: got atoms 10,000 cells away or more, wanted them nearer to the cell")
    pairs, shifts = [], []
    for k, (system, box) in enumerate(zip(places, boxes, strict=True)):
        of_system, cells = finder.compute(system.numpy(), box.numpy(), True, "PS")
        pairs.append(torch.from_numpy(of_system.astype("int64")) + k * atoms)
        shifts.append(torch.from_numpy(cells).to(positions) @ lattices[k].to(positions))
    i, j = torch.cat(pairs).to(flat.device).T.contiguous()
    vectors = flat.index_select(0, j) - flat.index_select(0, i) + torch.cat(shifts)
    return Neighbours(i, j, vectors, shape[:-1])


def check_cell(cell: Tensor | None, batch: torch.Size | None = None) -> None:
    """Raise ValueError unless `cell` is None, or lattice vectors ``(3, 3)``, or those of each of a batch."""
    if cell is None:
        return
    if cell.shape[-2:] != (3, 3) or (cell.ndim > 2 and batch not in (None, cell.shape[:-2])):
        raise ValueError(f"cell: got shape {tuple(cell.shape)}, wanted (3, 3), or one for each system")
    box = cell.double()
    # The determinant of a flat cell is seldom zero to the last bit.
    if not (torch.linalg.det(box).abs() > 1e-9 * box.norm(dim=-1).prod(dim=-1)).all():
        raise ValueError(f"cell: got {cell.tolist()}, wanted vectors that span a volume")


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

    def _rows(self, units: Tensor) -> Tensor:
        """What multiplies the edge features: unit vectors ``(..., n)`` -> ``(..., rows)``."""
        raise NotImplementedError

    def forward(self, positions: Tensor | Neighbours, v: Tensor | None = None) -> Tensor:
        """Map the nodes to their descriptors, one of the shapes above.

        Args:
            positions: of the nodes, ``(..., nodes, n)``, as many as one likes; or their `neighbours`, found
                with the cutoff of the edge features.
            v: node features ``(..., nodes, delta)``; all 1 if not given, which needs one of them.

        Raises:
            ValueError: if a shape does not fit.
        """
        terms = self._sums(positions, v)
        # Complex positions may meet real weights.
        dtype = torch.promote_types(terms.dtype, self.weight.dtype)
        return self.activation(terms.to(dtype) @ self.weight.flatten(0, 1).to(dtype))

    def _sums(self, positions: Tensor | Neighbours, v: Tensor | None) -> Tensor:
        """The sums over j, ``(..., nodes, rows, beta * delta)``."""
        if isinstance(positions, Neighbours):
            return self._sums_of_pairs(positions, v)
        if positions.ndim < 2:
            raise ValueError(f"positions: got shape {tuple(positions.shape)}, wanted (..., nodes, n)")
        nodes = positions.shape[-2]
        v = features_or_ones(v, nodes, self.weight.shape[1], positions)
        units, distance = _directions(positions.unsqueeze(-3) - positions.unsqueeze(-2))  # u_ij = u_j - u_i
        e = self.radial(distance) * ~torch.eye(nodes, dtype=torch.bool, device=units.device).unsqueeze(-1)
        rows, edges = self._rows(units), (e.unsqueeze(-1) * v[..., None, :, None, :]).flatten(-2)
        return rows.mT @ edges.to(rows.dtype)

    def _sums_of_pairs(self, pairs: Neighbours, v: Tensor | None) -> Tensor:
        weights = features_or_ones(v, pairs.shape[-1], self.weight.shape[1], pairs.vectors)
        weights = weights.expand(*pairs.shape, -1).flatten(0, -2)
        signs = self._rows(-pairs.vectors.new_ones(3)).unsqueeze(-1)  # of what i means to j
        shape = (len(weights), len(signs), len(self.weight) * weights.shape[-1])
        at_i, at_j = (pairs.vectors.new_zeros(shape) for _ in range(2))
        parts = (part.split(PAIRS_AT_A_TIME) for part in (pairs.i, pairs.j, pairs.vectors))
        for i, j, u in zip(*parts, strict=True):
            units, distance = _directions(u)
            terms = from_i = from_j = self._rows(units).unsqueeze(-1) * self.radial(distance).unsqueeze(-2)
            if v is not None:
                from_i, from_j = (
                    (terms.unsqueeze(-1) * weights[k][:, None, None]).flatten(-2) for k in (i, j)
                )
            at_i.index_add_(0, i, from_j)  # in place, or the time would grow like the square of the atoms
            at_j.index_add_(0, j, from_i)
        return (at_i + signs * at_j).unflatten(0, pairs.shape)


class ScalarGraphLayer(_GraphLayer):
    r"""The scalar descriptors of Eq. 30, ``(..., nodes, alpha)``, invariant under every unitary operator.

    .. math::
        D_i^{(\alpha)} = \sigma\Big(\sum_{j\beta\delta} e_{ij}^\beta v_{j\delta} w_{\beta\delta\alpha}\Big)

    With the Kronecker delta this is Eq. 33, the symmetry functions of Behler and Parrinello (2007).

    Attributes:
        radial: e, the edge features (Eq. 32).
        weight: w, ``(beta, delta, alpha)``, a parameter unless it is the Kronecker delta.
        activation: sigma.
    """

    def _rows(self, units: Tensor) -> Tensor:
        return torch.ones_like(units[..., :1].real)

    def _sums(self, positions: Tensor | Neighbours, v: Tensor | None) -> Tensor:
        return super()._sums(positions, v).squeeze(-2)


class VectorGraphLayer(_GraphLayer):
    r"""The vector descriptors of Eq. 31, ``(..., nodes, n, alpha)``: columns, as an `ENN` takes them.

    .. math::
        \mathbf D_i^{(\alpha)} = \sigma\Big(\sum_{j\beta\delta} \frac{\mathbf u_{ij}}{u_{ij}}
        e_{ij}^\beta v_{j\delta} w_{\beta\delta\alpha}\Big)

    They are equivariant under every unitary operator (Eq. 35), if the activation is. With the Kronecker delta
    this is Eq. 34. The unit vector of two nodes that coincide counts as zero. Attributes are those of
    `ScalarGraphLayer`.
    """

    def _rows(self, units: Tensor) -> Tensor:
        return units


class CombinedGraphLayer(_GraphLayer):
    r"""Vector descriptors above the scalar ones, ``(..., nodes, n + 1, alpha)``, as in Eq. 16.

    .. math:: \mathbf D_i^{\prime(\alpha)} = \{\mathbf D_i^{(\alpha)}, D_i^{(\alpha)}\}

    A `ScalarFeatureENN` with m = 1 takes them. Attributes are those of `ScalarGraphLayer`.
    """

    def _rows(self, units: Tensor) -> Tensor:
        return torch.cat((units, torch.ones_like(units[..., :1])), dim=-1)


def _directions(u: Tensor) -> tuple[Tensor, Tensor]:
    """Unit vectors and lengths of ``(..., n)``; zero where the length is, or its square rounds to zero."""
    squared = (u * u.conj()).real.sum(dim=-1)
    is_zero = squared < torch.finfo(squared.dtype).tiny
    distance = torch.where(is_zero, torch.inf, squared).sqrt()
    units = u / distance.unsqueeze(-1)
    # Also where two nodes coincide: the only equivariant unit vector there is zero, and its feature
    # must not let a scalar jump.
    return units, torch.where(is_zero, 0.0, distance)


def features_or_ones(v: Tensor | None, count: int, kinds: int, like: Tensor) -> Tensor:
    """Node features ``(..., count, kinds)``, or ones where there are none.

    Raises:
        ValueError: if there are none and `kinds` is not 1, or the shape does not fit.
    """
    if v is None:
        if kinds != 1:
            raise ValueError(f"v: got None, wanted node features (..., {count}, {kinds})")
        return torch.ones(count, 1, device=like.device)
    if v.shape[-2:] != (count, kinds):
        raise ValueError(f"v: got shape {tuple(v.shape)}, wanted (..., {count}, {kinds})")
    return v


def check_counts(**counts: int) -> None:
    """Raise ValueError, naming the first of the numbers that is not positive."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name}: got {value}, wanted a positive number")
