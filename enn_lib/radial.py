r"""Radial functions with smooth cutoffs: the edge features of sec. 3.5 (Eq. 32).

Distances may have any shape and any unit, Å for atoms. Everything is differentiable as often as its
formula is, so that forces and their derivatives can be taken through it.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

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


def cosine_cutoff(distance: Tensor, cutoff: float) -> Tensor:
    r"""The cutoff of Behler and Parrinello (2007), whose second derivative jumps at r_c.

    .. math:: f_c(r) = \tfrac{1}{2}\left[\cos(\pi r / r_c) + 1\right]

    and 0 beyond r_c. It is continuous with its first derivative only: forces made of it are continuous,
    and have a kink. The paper asks for more (see `polynomial_cutoff`).

    Args:
        distance: r, any shape, at least 0.
        cutoff: r_c, in the unit of `distance`.

    Returns:
        From 1 to 0, of the shape and dtype of `distance`.

    Raises:
        ValueError: if `cutoff` is not positive.
    """
    _check_cutoff(cutoff)
    t = (distance / cutoff).clamp_max(1.0)
    return torch.where(distance < cutoff, 0.5 * (torch.cos(math.pi * t) + 1), 0.0)


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
