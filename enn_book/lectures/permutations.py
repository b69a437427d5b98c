"""Two things that the page on permutations compares with the graph layers of `enn_lib.graph`."""

import math

import torch
from torch import Tensor, nn

from enn_lib.graph import check_counts, features_or_ones
from enn_lib.layers import check_dtype


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
        check_counts(out_vectors=out_vectors, kinds=kinds)
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
        v = features_or_ones(v, x.shape[-1], len(self.weight), x)
        return x @ (v.to(self.weight.dtype) @ self.weight)


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
    if not cutoff > 0:
        raise ValueError(f"cutoff: got {cutoff}, wanted a positive length")
    t = (distance / cutoff).clamp_max(1.0)
    return torch.where(distance < cutoff, 0.5 * (torch.cos(math.pi * t) + 1), 0.0)
