r"""What an equivariant function can be: combinations of its inputs with invariant coefficients.

Every function f of M vectors that commutes with all of O(n), or of U(n) if complex, has the form
:math:`f(x) = x\, C(x^\dagger x)`: its outputs lie in the span of its inputs, and the coefficients know the
inputs only through their Gram matrix of inner products (see Villar et al., *Scalars are universal*, 2021).
Here both statements become computable, and how near a network comes to where it jumps.
"""

import torch
from torch import Tensor, nn

from enn_lib.activations import VectorActivation
from enn_lib.layers import inverse_length, length
from enn_lib.network import ENN


def distance_from_span(x: Tensor, y: Tensor) -> Tensor:
    r"""How far every vector of y is from the span of the vectors of x, relative to its length.

    .. math:: |y - x x^+ y| / |y|, \qquad x^+ \text{ the pseudoinverse}

    Args:
        x: M vectors, ``(..., n, M)``, real or complex.
        y: K vectors ``(..., n, K)``.

    Returns:
        From 0 (inside) to 1 (orthogonal to all of x), real, ``(..., K)``; 0 for y = 0.
    """
    outside = y - x @ (torch.linalg.pinv(x) @ y)
    size = torch.linalg.vector_norm(y, dim=-2)
    return torch.linalg.vector_norm(outside, dim=-2) / torch.where(size > 0, size, 1.0)


@torch.no_grad()
def coefficients(network: ENN, gram: Tensor) -> Tensor:
    r"""The coefficients of a network's outputs in its inputs, from inner products alone.

    .. math:: \mathrm{net}(x) = x\, C(G), \qquad G = x^\dagger x

    The network is run without ever seeing a vector: layer by layer, with :math:`x_k = x\, C_k`, the
    squared lengths of all vectors are the diagonal of :math:`C_k^\dagger G\, C_k`, and

    .. math:: C_{k+1} = C_k (W_k + D_k b_k) F_k

    with the inverse lengths :math:`D_k` and the gates :math:`F_k` as diagonal matrices.

    Args:
        network: whose activations are gates of the length.
        gram: G, ``(..., widths[0], widths[0])``, Hermitian, in the dtype of the network.

    Returns:
        C, ``(..., widths[0], widths[-1])``.

    Raises:
        ValueError: if `gram` has another shape.
        TypeError: if an activation is no gate of the length.
    """
    if gram.shape[-2:] != (network.widths[0],) * 2:
        raise ValueError(
            f"gram: got shape {tuple(gram.shape)}, wanted (..., {network.widths[0]}, {network.widths[0]})"
        )
    c = torch.eye(network.widths[0], dtype=gram.dtype).expand_as(gram)
    for layer in network.layers:
        is_last = layer is network.layers[-1]
        d = inverse_length(_lengths(c, gram), layer.softening)
        c = c @ (layer.weight + d.mT * layer.bias)
        c = c * _gate(network.output_activation if is_last else network.activation, _lengths(c, gram))
    return c


def _lengths(c: Tensor, gram: Tensor) -> Tensor:
    """The lengths of the vectors x C, ``(..., 1, vectors)``: they see x through its Gram matrix only."""
    square = (c.conj() * (gram @ c)).real.sum(dim=-2, keepdim=True)
    return square.clamp_min(0.0).sqrt()  # rounding can make the square of a short vector negative


def _gate(activation: nn.Module, lengths: Tensor) -> Tensor:
    """The gates of vectors of these lengths; they may as well be vectors of dimension 1."""
    is_gate = isinstance(activation, VectorActivation) and getattr(activation, "invariant", length) is length
    if not is_gate:
        raise TypeError(f"activation: got {activation}, wanted a gate of the length")
    return activation.gate(lengths)


@torch.no_grad()
def smallest_hidden_norms(network: ENN, inputs: Tensor) -> Tensor:
    """How near each configuration comes to a jump: the length of the shortest vector in any hidden layer.

    The unit vectors of Eq. 9 jump where a vector vanishes, and with a bias the network jumps with them.

    Args:
        network: with at least one hidden layer.
        inputs: ``(N, n, M_0)``, in the dtype of the network.

    Returns:
        Lengths ``(N,)``, in units of the scaled vectors.
    """
    x, smallest = inputs, []
    for layer in network.layers[:-1]:
        x = network.activation(layer(x))
        smallest.append(length(x).amin(dim=(-1, -2)))
    return torch.stack(smallest).amin(dim=0)
