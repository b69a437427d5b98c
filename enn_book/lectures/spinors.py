"""A ring of spinors: its motion is symmetric under U(n), and under the moves of the ring onto itself."""

import torch
from torch import Tensor


def evolve_spinors(
    psi: Tensor, time: float, *, hopping: float = 1.0, coupling: float = 1.0, substeps: int = 50
) -> Tensor:
    r"""A ring of spinors after some time, by the classical Runge-Kutta method of fourth order.

    .. math::
        i\,\dot\psi_a = -J\,(\psi_{a-1} + \psi_{a+1}) + g\,|\psi_a|^2\, \psi_a

    The sites a are the columns; the n components of each spinor may be mixed by any unitary matrix. For
    n = 1 it is the discrete nonlinear Schrödinger equation. The continuum limit for n = 2 is Manakov's
    (*On the theory of two-dimensional stationary self-focusing of electromagnetic waves*, 1974).

    Args:
        psi: ``(..., n, M)``, complex, without unit; complex128 is advised.
        time: in units of 1/J for J = 1.
        hopping: J.
        coupling: g.
        substeps: how many steps of the integrator, at least 1.

    Returns:
        Tensor of the shape and dtype of `psi`.

    Raises:
        TypeError: if `psi` is not complex.
        ValueError: if `substeps` is not positive.
    """
    if not psi.is_complex():
        raise TypeError(f"psi: got {psi.dtype}, wanted a complex dtype")
    if substeps < 1:
        raise ValueError(f"substeps: got {substeps}, wanted at least 1")

    def rate(psi: Tensor) -> Tensor:
        neighbours = psi.roll(1, dims=-1) + psi.roll(-1, dims=-1)
        density = (psi * psi.conj()).real.sum(dim=-2, keepdim=True)
        return -1j * (coupling * density * psi - hopping * neighbours)

    dt = time / substeps
    for _ in range(substeps):
        k1 = rate(psi)
        k2 = rate(psi + dt / 2 * k1)
        k3 = rate(psi + dt / 2 * k2)
        k4 = rate(psi + dt * k3)
        psi = psi + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return psi


def as_real(x: Tensor) -> Tensor:
    """Complex vectors as real ones, the real parts on top: ``(..., n, M)`` -> ``(..., 2 n, M)``."""
    return torch.cat((x.real, x.imag), dim=-2)


def as_complex(x: Tensor) -> Tensor:
    """The inverse of `as_real`: ``(..., 2 n, M)`` -> ``(..., n, M)``.

    Raises:
        ValueError: if the dimension is odd.
    """
    if x.shape[-2] % 2:
        raise ValueError(f"x: got shape {tuple(x.shape)}, wanted (..., 2 n, M)")
    return torch.complex(*x.chunk(2, dim=-2))
