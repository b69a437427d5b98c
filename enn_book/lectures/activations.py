"""Activations that the paper does not use: rectifiers of the length, and along directions.

The paper speaks of the first in the last paragraph of sec. 3.2. All commute with every unitary operator, and
take float32, float64, complex64 and complex128, as those of `enn_lib.activations` do.
"""

import torch
from torch import Tensor, nn

from enn_lib.activations import VectorActivation
from enn_lib.layers import check_dtype, length, squared_length


class VectorLeakyReLU(VectorActivation):
    r"""A leaky ReLU of the length, with a threshold (sec. 3.2, last paragraph).

    .. math::
        \sigma(u) = \left[s\,|u| + (1 - s)\max(|u| - \tau, 0)\right] \frac{u}{|u|}

    The length grows with slope s up to τ, and with slope 1 beyond. A length is never negative, so with
    τ = 0 this is the identity whatever s is. The gradient at u = 0 is s (for τ = 0 it is 1). With s = 0 the
    unit vector of the result (Eq. 9), and the layer that uses it, jump on the sphere \|u\| = τ.

    Attributes:
        slope: s, from 0 to 1.
        threshold: τ, in the unit of u, at least 0.
    """

    def __init__(self, slope: float = 0.1, threshold: float = 1.0):
        """Make the activation.

        Raises:
            ValueError: if `slope` is not from 0 to 1 or `threshold` is negative.
        """
        super().__init__()
        if not 0 <= slope <= 1:
            raise ValueError(f"slope: got {slope}, wanted a number from 0 to 1")
        # A negative threshold would push short vectors outwards: no value at u = 0 is then continuous.
        if not threshold >= 0:
            raise ValueError(f"threshold: got {threshold}, wanted a length of at least 0")
        self.slope = slope
        self.threshold = threshold

    def gate(self, u: Tensor) -> Tensor:
        r = length(u)
        beyond = 1 - self.threshold / torch.where(r > 0, r, 1.0)
        return self.slope + (1 - self.slope) * torch.where(r >= self.threshold, beyond, 0.0)


class VectorReLU(VectorLeakyReLU):
    r"""A ReLU of the length, with a threshold: `VectorLeakyReLU` of slope 0.

    .. math:: \sigma(u) = \max(|u| - \tau, 0)\, \frac{u}{|u|}

    For n = 1 and complex u it is modReLU (Arjovsky, Shah and Bengio 2016). With τ = 0 it is the identity.
    The gradient at u = 0 is 0 (for τ = 0 it is 1).
    """

    def __init__(self, threshold: float = 1.0):
        """Make the activation.

        Raises:
            ValueError: if `threshold` is negative.
        """
        super().__init__(0.0, threshold)


class DirectionalLeakyReLU(nn.Module):
    r"""A leaky ReLU along directions that the vectors themselves give (Deng et al. 2021, Vector Neurons).

    .. math::
        \sigma(u) = u - (1 - s)\,\frac{\min(\mathrm{Re}\langle k, u\rangle, 0)}{|k|^2}\, k,
        \qquad k = u D

    Where u points away from its direction k, its part along k is multiplied by the slope s. Directions
    turn with the vectors and inner products do not, so it commutes with every unitary operator. It is no
    gate: the output leaves the line of u. For complex vectors the real part decides, and what is cut is
    the projection in the real space R^(2n). With one vector it is linear. Where k = 0 the vector passes
    unchanged. Where all vectors vanish it is zero and has a kink, as the ReLU of numbers has: a positive
    factor passes through it. Autograd returns the identity there, by convention.

    Attributes:
        directions: the parameter D, ``(vectors, vectors)``.
        slope: s, from 0 to 1; 0 gives the ReLU.
    """

    def __init__(
        self,
        vectors: int,
        slope: float = 0.0,
        *,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make the activation with Gaussian directions.

        Args:
            vectors: M, how many vectors go through.
            slope: s, from 0 to 1.
            dtype: float32, float64, complex64 or complex128; the default dtype if not given.
            generator: the source of randomness for D; torch's global one if not given.

        Raises:
            ValueError: if `vectors` is not positive or `slope` is not from 0 to 1.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__()
        if vectors < 1:
            raise ValueError(f"vectors: got {vectors}, wanted a positive number")
        if not 0 <= slope <= 1:
            raise ValueError(f"slope: got {slope}, wanted a number from 0 to 1")
        self.slope = slope
        draw = torch.randn(vectors, vectors, dtype=check_dtype(dtype), generator=generator)
        self.directions = nn.Parameter(draw / vectors**0.5)

    def forward(self, u: Tensor) -> Tensor:
        """Map vectors ``(..., n, M)`` to the same shape."""
        k = u @ self.directions
        square = squared_length(k)
        along = (k.conj() * u).sum(dim=-2, keepdim=True).real / torch.where(square > 0, square, 1.0)
        return u - (1 - self.slope) * along.clamp_max(0.0) * k
