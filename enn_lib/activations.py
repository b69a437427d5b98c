r"""Activations of vectors that commute with every unitary operator (Eq. 12 to 15, and their general form).

They are gates, :math:`\sigma(u) = f(x)\, u`: a number times the vector, where the number depends on
invariants alone (Ma, arXiv 2411.14462). They map ``(..., n, M)`` to the same shape, for float32,
float64, complex64 and complex128. All give exactly zero at a vector of length zero (the only equivariant
value), with a gradient there that is documented at each and never NaN.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from enn_lib.layers import length


class VectorActivation(nn.Module):
    r"""The general form :math:`\sigma(u) = f(x)\, u` with x invariant; subclasses say what f(x) is."""

    def gate(self, u: Tensor) -> Tensor:
        """The factor f(x): vectors ``(..., n, M)`` -> ``(..., 1, M)``."""
        raise NotImplementedError

    def forward(self, u: Tensor) -> Tensor:
        """Multiply each vector of ``(..., n, M)`` by its gate."""
        gated = u * self.gate(u)
        return gated if gated.is_complex() else gated.to(u.dtype)  # gates of half precision are float32


class Gate(VectorActivation):
    r"""A gate of one's own (Ma, arXiv 2411.14462).

    .. math:: \sigma(u) = f(x)\, u, \qquad x(\mathcal{U} u) = x(u)

    A function f that is differentiable at x(0) gives the gradient f(x(0)) at a vector of length zero.

    Attributes:
        function: f, takes what `invariant` returns and gives the gates, ``(..., 1, M)``, real or complex.
            It may be a module with parameters, and may mix the M vectors' invariants.
        invariant: x, takes vectors ``(..., n, M)``; by default the length of each, ``(..., 1, M)``. That
            it is invariant is the caller's promise: `enn_lib.groups.assert_equivariant` tells.
    """

    def __init__(self, function: Callable[[Tensor], Tensor], invariant: Callable[[Tensor], Tensor] = length):
        super().__init__()
        self.function = function
        self.invariant = invariant

    def gate(self, u: Tensor) -> Tensor:
        return self.function(self.invariant(u))


class VectorSoftsign(VectorActivation):
    r"""The vector softsign with residue (Eq. 14).

    .. math:: \sigma(u) = \frac{u}{1 + |u|} + a u

    It multiplies u by a function of its length, so it commutes with every unitary operator (Eq. 13).
    The residue keeps the gradient from vanishing where u is long. The gradient at u = 0 is 1 + a.

    Attributes:
        a: the residue; the paper calls it small and gives no value.
    """

    def __init__(self, a: float = 0.1):
        super().__init__()
        self.a = a

    def gate(self, u: Tensor) -> Tensor:
        return 1 / (1 + length(u)) + self.a

    def extra_repr(self) -> str:
        return f"a={self.a}"


class Identity(VectorActivation):
    """The identity (Eq. 15), usual at the output layer: the gate f = 1."""

    def gate(self, u: Tensor) -> Tensor:
        return torch.ones_like(u[..., :1, :].real)

    def forward(self, u: Tensor) -> Tensor:
        """Return `u` itself."""
        return u
