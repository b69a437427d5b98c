"""The equivariant layer (Eq. 6), its unit vectors (Eq. 9), and lengths of vectors.

A batch of M vectors of dimension n is a tensor ``(..., n, M)``: the vectors are columns, as in the
paper, and a unitary operator acts from the left. Everything here works for float32, float64,
complex64 and complex128.
"""

import math

import torch
from torch import Tensor, nn

DTYPES = (torch.float32, torch.float64, torch.complex64, torch.complex128)

SMALLEST_LENGTH = {torch.float32: 1e-12, torch.float64: 1e-100}
"""Shorter vectors have no direction, as the inverse cube in their unit vector's gradient would overflow."""


def check_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """Return `dtype` (the default one for ``None``), or say which dtypes the network works in.

    Raises:
        TypeError: if `dtype` is not one of `DTYPES`.
    """
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if dtype not in DTYPES:
        raise TypeError(f"dtype: got {dtype!r}, wanted one of {', '.join(map(str, DTYPES))}")
    return dtype


def squared_length(x: Tensor) -> Tensor:
    """The squared length of every column vector: ``(..., n, M)`` -> ``(..., 1, M)``, real, at least float32.

    The squares are summed by hand because ``torch.linalg.vector_norm`` over a short dimension that
    is not the last one is tens of times slower on a CPU.
    """
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())  # torch conjugates lazily
        return (x * x).sum(dim=-1).sum(dim=-2, keepdim=True)
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()  # whose squares do not overflow
    return (x * x).sum(dim=-2, keepdim=True)


def length(x: Tensor) -> Tensor:
    """The length of every column vector: ``(..., n, M)`` -> ``(..., 1, M)``, real.

    At a vector of length zero the gradient is defined as zero (the true one does not exist), so that
    every smooth function of ``length(u) * u`` has its true gradient there and none is NaN.
    """
    square = squared_length(x)
    is_zero = square == 0
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, square).sqrt())


def inverse_length(x: Tensor, softening: float = 0.0) -> Tensor:
    r"""What `unit_vectors` multiplies every vector by: ``(..., n, M)`` -> ``(..., 1, M)``, real.

    .. math:: \rho = 1 / \sqrt{|x|^2 + \epsilon^2}

    It is zero, with gradient zero, where the root is below `SMALLEST_LENGTH`.
    """
    square = squared_length(x) + softening**2
    is_zero = square < SMALLEST_LENGTH[square.dtype] ** 2
    return torch.where(is_zero, 0.0, torch.where(is_zero, 1.0, square).rsqrt())


def unit_vectors(x: Tensor, softening: float = 0.0) -> Tensor:
    r"""The unit vectors of Eq. 9, or their softened form.

    .. math:: e = x / \sqrt{|x|^2 + \epsilon^2}

    With ``softening`` :math:`\epsilon = 0` this is Eq. 9 exactly. It is undefined at ``x = 0``, where
    we choose ``e = 0`` (the only equivariant value: U e = e for all U) and gradient zero. A root below
    `SMALLEST_LENGTH` counts as zero. Without softening e jumps where x passes through zero: a hidden vector
    that nearly vanishes, as it may for atoms on a line or in a plane, blows rounding up, in float32 to a few
    tenths of the output. With a positive ``softening`` the function is smooth everywhere and still exactly
    equivariant, because it multiplies `x` by a function of its length.

    Args:
        x: vectors ``(..., n, M)``, real or complex.
        softening: the length epsilon, in the unit of `x`; at least 0.

    Returns:
        Tensor of the shape and dtype of `x`.
    """
    return (x * inverse_length(x, softening)).to(x.dtype)


class EquivariantLinear(nn.Module):
    r"""The affine map on vectors that commutes with every unitary operator (Eq. 6).

    .. math:: y = x W + e b, \qquad e = x / |x| \text{ column by column (Eq. 9)}

    Because U acts from the left and W, b from the right, ``layer(U @ x) == U @ layer(x)`` (Eq. 11).
    W and b are stored one above the other, so that the layer is one product, ``[x, e] @ [W; b]``.

    Attributes:
        stacked: the parameter ``[W; b]``, shape ``(2 * in_vectors, out_vectors)``.
        weight: the view W, shape ``(in_vectors, out_vectors)`` (Eq. 7).
        bias: the view b, shape ``(in_vectors, out_vectors)`` (Eq. 8).
    """

    def __init__(
        self,
        in_vectors: int,
        out_vectors: int,
        *,
        softening: float = 0.0,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make a layer with Xavier-normalised W and b = 0 (sec. 4.2).

        Args:
            in_vectors: M_k, the number of vectors that come in.
            out_vectors: M_(k+1), the number of vectors that go out.
            softening: epsilon of `unit_vectors`; 0 is the paper's layer.
            dtype: float32, float64, complex64 or complex128; the default dtype if not given.
            generator: the source of randomness for W; torch's global one if not given.

        Raises:
            ValueError: if a number of vectors is not positive or `softening` is out of its range.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__()
        if in_vectors < 1 or out_vectors < 1:
            raise ValueError(
                f"in_vectors, out_vectors: got {in_vectors}, {out_vectors}, wanted positive numbers"
            )
        if not 0 <= softening <= 1e15:
            raise ValueError(f"softening: got {softening}, wanted a length from 0 to 1e15")
        self.in_vectors = in_vectors
        self.out_vectors = out_vectors
        self.softening = softening
        dtype = check_dtype(dtype)
        self.stacked = nn.Parameter(torch.zeros(2 * in_vectors, out_vectors, dtype=dtype))
        with torch.no_grad():
            # Glorot and Bengio's normalised initialisation, variance 2 / (fan_in + fan_out): the same
            # numbers for every dtype, so that a float64 network can be compared to a float32 one.
            bound = math.sqrt(6 / (in_vectors + out_vectors))
            parts = 2 if dtype.is_complex else 1
            draw = torch.rand(parts, in_vectors, out_vectors, dtype=torch.float64, generator=generator)
            draw = (2 * draw - 1) * bound / math.sqrt(parts)
            self.weight.copy_(torch.complex(*draw) if dtype.is_complex else draw[0])

    @property
    def weight(self) -> Tensor:
        """W, a view into `stacked`."""
        return self.stacked[: self.in_vectors]

    @property
    def bias(self) -> Tensor:
        """b, a view into `stacked`."""
        return self.stacked[self.in_vectors :]

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors ``(..., n, in_vectors)`` to ``(..., n, out_vectors)``."""
        return torch.cat((x, unit_vectors(x, self.softening)), dim=-1) @ self.stacked

    def extra_repr(self) -> str:
        return f"{self.in_vectors} -> {self.out_vectors}, softening={self.softening}"
