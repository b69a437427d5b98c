"""Haar-random members of the groups, their actions, and the check that a function is equivariant."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

GroupName = Literal["U", "O", "SO"]

TOLERANCES = {
    torch.float32: 1e-4,
    torch.float64: 1e-10,
    torch.complex64: 1e-4,
    torch.complex128: 1e-10,
}
"""The relative error that `assert_equivariant` allows, by dtype."""


def random_unitary(
    n: int,
    *,
    group: GroupName = "U",
    dtype: torch.dtype = torch.complex128,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A Haar-random matrix of U(n), O(n) or SO(n), shape ``(n, n)``.

    The QR decomposition of a Gaussian matrix, with the phases of R's diagonal moved into Q, is Haar
    distributed (Mezzadri, *How to generate random matrices from the classical compact groups*,
    Notices of the AMS 54 (2007) 592). For a real dtype "U" means O(n), its real subgroup.

    Args:
        n: the dimension.
        group: "U", "O" or "SO".
        dtype: float32, float64, complex64 or complex128; O(n) and SO(n) have real entries in any.
        generator: the source of randomness.

    Raises:
        ValueError: if `group` is none of the three.
    """
    if group not in ("U", "O", "SO"):
        raise ValueError(f"group: got {group!r}, wanted 'U', 'O' or 'SO'")
    is_complex = group == "U" and dtype.is_complex
    working = torch.complex128 if is_complex else torch.float64
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=working, generator=generator))
    phases = r.diagonal().sgn()
    q = q * phases
    if group == "SO" and torch.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q.to(dtype)


def equivariance_error(function: Callable[..., Tensor], *inputs: Tensor, operator: Tensor) -> float:
    """The relative error of ``function(U x) = U function(x)``, for vectors ``(..., n, M)``.

    The largest entry of the difference divided by the largest entry of the output.
    """
    expected = operator @ function(*inputs)
    actual = function(*(operator @ x for x in inputs))
    scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
    return ((actual - expected).abs().max() / scale).item()


def assert_equivariant(
    function: Callable[..., Tensor],
    *inputs: Tensor,
    group: GroupName = "U",
    n_operators: int = 3,
    seed: int = 0,
    tolerance: float | None = None,
) -> float:
    """Assert ``function(U x) == U function(x)`` (Eq. 1, 2) for random U, and return the largest error.

    Args:
        function: takes the inputs, returns one tensor ``(..., n, M')``.
        inputs: tensors ``(..., n, M)`` of one dtype, whose columns U acts on.
        group: "U", "O" or "SO"; for real inputs "U" means O(n), its real subgroup.
        n_operators: how many random operators to try.
        seed: the first operator's seed; the next ones count up from it.
        tolerance: the relative error allowed; by default that of `TOLERANCES` for the dtype.

    Raises:
        AssertionError: with the measured error, the tolerance and the seed of the operator.
    """
    dtype, n = inputs[0].dtype, inputs[0].shape[-2]
    tolerance = TOLERANCES[dtype] if tolerance is None else tolerance
    largest = 0.0
    for s in range(seed, seed + n_operators):
        operator = random_unitary(n, group=group, dtype=dtype, generator=torch.Generator().manual_seed(s))
        error = equivariance_error(function, *inputs, operator=operator)
        if not error <= tolerance:
            raise AssertionError(
                f"not equivariant under {group}({n}): relative error {error:.3g}, tolerance {tolerance:.3g} "
                f"({dtype}), operator random_unitary({n}, group={group!r}) with seed {s}"
            )
        largest = max(largest, error)
    return largest
