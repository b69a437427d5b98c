"""What a chemist asks of a molecule's force field: vibrations, their spectrum, and a barrier."""

from collections.abc import Sequence

import torch
from ase import Atoms, units
from ase.vibrations import VibrationsData
from torch import Tensor

from enn_book.lectures.diagnostics import force_jacobian
from enn_lib.argon import pair_distances
from enn_lib.dynamics import Trajectory, check_same_shape, per_atom
from enn_lib.force_field import ForceField

LIGHT = units._c * 100 * 1e-15
"""The speed of light in cm/fs; a frequency in 1/fs over it is a wavenumber in 1/cm."""


def harmonic_frequencies(force_field: ForceField, positions: Tensor, symbols: Sequence[str]) -> Tensor:
    r"""The normal modes of a molecule at a stationary point.

    .. math:: M^{-1/2} H M^{-1/2} q = \omega^2 q, \qquad H = -\tfrac{1}{2}(J + J^{\mathsf T})

    J is the Jacobian of the forces, by central differences, M the masses. Where the forces have no potential
    the half sum is the nearest matrix that could belong to one. ASE does the rest.

    Args:
        force_field: gives the forces, eV/Å.
        positions: Å, ``(atoms, 3)``, float64; the forces should vanish there.
        symbols: of the atoms.

    Returns:
        All ``(3 atoms,)`` wavenumbers, cm^-1, the lowest first; an imaginary one is given as negative. Of a
        molecule that is not linear, six are near zero: it may move and turn freely.
    """
    jacobian = force_jacobian(force_field, positions)
    hessian = -0.5 * (jacobian + jacobian.mT)
    modes = VibrationsData.from_2d(Atoms(symbols, positions.numpy()), hessian.numpy()).get_frequencies()
    return torch.from_numpy(modes.real - modes.imag).sort().values


def power_spectrum(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    r"""The power spectrum of the velocities, the density of vibrational states a trajectory visits.

    .. math:: S(\nu) \propto \sum_{i} m_i \Big| \int v_i(t)\, w(t)\, e^{-2\pi i \nu t} dt \Big|^2

    with Hann's window w, summed over atoms and components and averaged over samples. By the theorem of Wiener
    and Khinchin it is the transform of the velocity autocorrelation.

    Args:
        trajectory: with records at even times.

    Returns:
        Wavenumbers, cm^-1, and the spectrum, cm, whose integral is 1; both ``(records // 2 + 1,)``.

    Raises:
        ValueError: if there are fewer than three records.
    """
    if len(trajectory.time) < 3:
        raise ValueError(f"trajectory: got {len(trajectory.time)} records, wanted at least 3")
    window = torch.hann_window(len(trajectory.time), periodic=False, dtype=trajectory.velocities.dtype)
    weighted = per_atom(trajectory.mass) ** 0.5 * trajectory.velocities * window[:, None, None, None]
    power = torch.fft.rfft(weighted, dim=0).abs().square().sum(dim=(-1, -2)).mean(dim=-1)
    spacing = (trajectory.time[1] - trajectory.time[0]).item()
    wavenumber = torch.fft.rfftfreq(len(trajectory.time), spacing, dtype=power.dtype) / LIGHT
    return wavenumber, power / torch.trapezoid(power, wavenumber)


def angular_momentum(trajectory: Trajectory) -> Tensor:
    """About the centre of mass, u Å^2/fs: the vector of each record, ``(records, samples, 3)``."""
    mass = per_atom(trajectory.mass) * torch.ones_like(trajectory.positions[..., :1])
    centre = (mass * trajectory.positions).sum(dim=-2, keepdim=True) / mass.sum(dim=-2, keepdim=True)
    return torch.linalg.cross(trajectory.positions - centre, mass * trajectory.velocities).sum(dim=-2)


def rmsd_distances(reference: Trajectory, predicted: Trajectory) -> Tensor:
    """RMSD of pair distances over samples and pairs, Å, ``(records,)``.

    Unlike `rmsd_positions` it does not see where a molecule is and how it is turned, only its shape.

    Raises:
        ValueError: if the two do not have the same records, samples and atoms.
    """
    check_same_shape(reference, predicted)
    difference = pair_distances(reference.positions) - pair_distances(predicted.positions)
    return difference.square().mean(dim=(-1, -2)).sqrt()


def work_along(forces: Tensor, path: Tensor) -> Tensor:
    r"""The work against the forces from the first point of a path to each, by the rule of trapezoids.

    .. math:: W_k = -\sum_{j<k} \tfrac{1}{2} (F_j + F_{j+1}) \cdot (r_{j+1} - r_j)

    Where the forces have a potential it is the difference of energies, whatever the path.

    Args:
        forces: eV/Å, ``(points, atoms, 3)``.
        path: positions, Å, ``(points, atoms, 3)``.

    Returns:
        eV, ``(points,)``, the first one 0.
    """
    steps = 0.5 * ((forces[1:] + forces[:-1]) * (path[1:] - path[:-1])).sum(dim=(-1, -2))
    return torch.cat((steps.new_zeros(1), -steps.cumsum(dim=0)))
