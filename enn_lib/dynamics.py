"""Molecular dynamics of sec. 4.3: velocity Verlet, initial conditions, and the deviations of Eq. 48, 49.

Units: Å, fs, Å/fs, eV and u.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from enn_lib.argon import ARGON, ARGON_MASS, BOLTZMANN, LennardJones, check_positions, is_true
from enn_lib.force_field import ForceField

ACCELERATION = 0.009648533290731906
"""An acceleration of 1 (eV/Å)/u in Å/fs^2, of CODATA 2014, as ASE has it."""

PAPER_POSITIONS = torch.tensor(
    [[3.0, 0.0, 0.1], [-3.0, -0.1, 0.0], [0.1, 2.5, 0.0], [0.0, -2.5, -0.1]], dtype=torch.float64
)
"""The initial positions of sec. 4.3, Å, ``(4, 3)``."""


@dataclass(frozen=True)
class Trajectory:
    """Recorded states of a simulation.

    Attributes:
        time: fs, ``(records,)``.
        positions: Å, ``(records, samples, atoms, 3)``.
        velocities: Å/fs, ``(records, samples, atoms, 3)``.
        mass: of every atom, u; a tensor ``(atoms,)`` where they differ.
    """

    time: Tensor
    positions: Tensor
    velocities: Tensor
    mass: float | Tensor

    def kinetic_energy(self) -> Tensor:
        """Sum of m v^2 / 2 over the atoms, eV, ``(records, samples)``."""
        return kinetic_energy(self.velocities, self.mass)

    def total_energy(self, potential: LennardJones = ARGON) -> Tensor:
        """The Hamiltonian (Eq. 47) on this trajectory, eV, ``(records, samples)``."""
        return self.kinetic_energy() + potential.energy(self.positions)

    def displacement(self) -> Tensor:
        """Root mean square over samples and atoms of the distance from the start, Å, ``(records,)``.

        The measure of Eq. 48 for a prediction that leaves the atoms where they began.
        """
        return (self.positions - self.positions[0]).square().sum(dim=-1).mean(dim=(-1, -2)).sqrt()


def kinetic_energy(velocities: Tensor, mass: float | Tensor = ARGON_MASS) -> Tensor:
    """Sum of m v^2 / 2 over the atoms, eV: velocities ``(..., atoms, 3)`` in Å/fs -> ``(...)``.

    The mass is that of every atom, u, or a tensor ``(atoms,)``.
    """
    squares = velocities.square()
    if isinstance(mass, Tensor):
        return 0.5 / ACCELERATION * (per_atom(mass) * squares).sum(dim=(-1, -2))
    return 0.5 * mass / ACCELERATION * squares.sum(dim=(-1, -2))


def _is_in_range(mass: float | Tensor) -> bool:
    return all(1e-99 < m < 1e99 for m in (mass.flatten().tolist() if isinstance(mass, Tensor) else (mass,)))


def per_atom(mass: float | Tensor) -> float | Tensor:
    """A mass as a factor of ``(..., atoms, 3)``: a number as it is, ``(atoms,)`` as a column."""
    return mass.unsqueeze(-1) if isinstance(mass, Tensor) else mass


@dataclass(frozen=True)
class VelocityVerlet:
    r"""The velocity Verlet integrator for Newton's equations (Eq. 44, 45).

    .. math::
        v(t + dt/2) &= v(t) + \tfrac{1}{2} F(t)\,dt / m \\
        r(t + dt) &= r(t) + v(t + dt/2)\,dt \\
        v(t + dt) &= v(t + dt/2) + \tfrac{1}{2} F(t + dt)\,dt / m

    One evaluation of the forces a step, of all samples in one batch. Time reversible and symplectic
    where the forces have a potential.

    Attributes:
        force_field: gives the forces, eV/Å.
        dt: time step, fs; a negative one runs backwards.
        mass: of every atom, u; a tensor ``(atoms,)`` where they differ.
    """

    force_field: ForceField
    dt: float = 1.0
    mass: float | Tensor = ARGON_MASS

    def step(self, positions: Tensor, velocities: Tensor, forces: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step of ``(..., atoms, 3)`` positions (Å), velocities (Å/fs) and forces there (eV/Å)."""
        kick = 0.5 * self.dt * ACCELERATION / per_atom(self.mass)
        velocities = velocities + kick * forces
        positions = positions + self.dt * velocities
        forces = self.force_field.forces(positions)
        return positions, velocities + kick * forces, forces


def simulate(
    force_field: ForceField,
    positions: Tensor,
    velocities: Tensor,
    steps: int,
    dt: float = 1.0,
    *,
    mass: float | Tensor = ARGON_MASS,
    every: int = 1,
    progress: bool = False,
) -> Trajectory:
    """Integrate Newton's equations for a batch of samples.

    Differentiable in the start, where that requires a gradient.

    Args:
        force_field: gives the forces, eV/Å.
        positions: Å, ``(samples, atoms, 3)``; float64 is advised.
        velocities: Å/fs, of the same shape and dtype.
        steps: how many, at least 0.
        dt: fs.
        mass: of every atom, u; a tensor ``(atoms,)`` where they differ.
        every: keep each so-many-th state; the first is always kept.
        progress: show a progress bar, if there is a terminal to show it on.

    Returns:
        The trajectory, ``(steps // every + 1, samples, atoms, 3)``.

    Raises:
        ValueError: if shapes do not fit, a number is out of range, or a position or velocity is not finite.
    """
    check_positions(positions)
    if positions.ndim != 3 or velocities.shape != positions.shape or velocities.dtype != positions.dtype:
        raise ValueError(
            f"positions, velocities: got {tuple(positions.shape)} {positions.dtype} and "
            f"{tuple(velocities.shape)} {velocities.dtype}, wanted (samples, atoms, 3) of one dtype"
        )
    if not is_true(velocities.isfinite().all()):
        bad = (~velocities.isfinite()).sum().item()
        raise ValueError(f"velocities: got {bad} entries that are NaN or infinite, wanted finite ones (Å/fs)")
    if isinstance(mass, Tensor) and mass.shape != positions.shape[-2:-1]:
        raise ValueError(f"mass: got shape {tuple(mass.shape)}, wanted ({positions.shape[-2]},), one an atom")
    if steps < 0 or every < 1 or not abs(dt) < 1e15 or not _is_in_range(mass):
        wanted = "at least 0, at least 1, finite, and 1e-99 to 1e99 u"
        raise ValueError(f"steps, every, dt, mass: got {steps}, {every}, {dt}, {mass}, wanted {wanted}")
    # Floats, as torch takes no integer that does not fit into 64 bits.
    dt, mass = float(dt), mass if isinstance(mass, Tensor) else float(mass)
    integrator = VelocityVerlet(force_field, dt, mass)
    forces = force_field.forces(positions)
    kept = [(positions, velocities)]
    for step in tqdm(range(1, steps + 1), disable=None if progress else True, unit="step"):
        positions, velocities, forces = integrator.step(positions, velocities, forces)
        if step % every == 0:
            kept.append((positions, velocities))
    time = torch.arange(len(kept), dtype=torch.float64) * every * dt
    path, speeds = (torch.stack(part) for part in zip(*kept, strict=True))
    return Trajectory(time, path, speeds, mass)


def thermal_velocities(
    n_samples: int,
    n_atoms: int = 4,
    *,
    temperature: float = 10.0,
    mass: float | Tensor = ARGON_MASS,
    seed: int = 0,
) -> Tensor:
    """Random velocities whose kinetic energy corresponds to a temperature.

    Each component is Gaussian, with a variance inverse to the mass; the velocity of the centre of mass is
    subtracted, so that the net momentum is zero; all velocities of a sample are then scaled so that its
    kinetic energy is exactly (3 n_atoms / 2) k_B T, the convention of ASE's ``get_temperature``. The net
    angular momentum is left as drawn.

    Args:
        n_samples: how many samples, at least 1.
        n_atoms: at least 2.
        temperature: K, at least 0.
        mass: of every atom, u; a tensor ``(n_atoms,)`` where they differ.
        seed: of NumPy's PCG64.

    Returns:
        Velocities in Å/fs, ``(n_samples, n_atoms, 3)``, float64.
    """
    if n_samples < 1 or n_atoms < 2 or not 0 <= temperature < 1e15 or not _is_in_range(mass) or seed < 0:
        got = f"{n_samples}, {n_atoms}, {temperature}, {mass}, {seed}"
        got += ", wanted at least 1, at least 2, at least 0 K, 1e-99 to 1e99 u, and at least 0"
        raise ValueError(f"n_samples, n_atoms, temperature, mass, seed: got {got}")
    velocities = torch.from_numpy(np.random.default_rng(seed).normal(size=(n_samples, n_atoms, 3)))
    if isinstance(mass, Tensor):
        if mass.shape != (n_atoms,):
            raise ValueError(f"mass: got shape {tuple(mass.shape)}, wanted ({n_atoms},), one an atom")
        column = mass.to(velocities).unsqueeze(-1)
        velocities = velocities / column.sqrt()
        velocities = velocities - (column * velocities).sum(dim=1, keepdim=True) / column.sum()
    else:
        velocities = velocities - velocities.mean(dim=1, keepdim=True)
    wanted = 1.5 * n_atoms * BOLTZMANN * temperature
    return velocities * (wanted / kinetic_energy(velocities, mass)).sqrt()[:, None, None]


def paper_initial_conditions(
    n_samples: int = 10, *, temperature: float = 10.0, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The start of sec. 4.3: positions (Å) and velocities (Å/fs), each ``(n_samples, 4, 3)``, float64.

    The positions are the same in all samples, as printed; the velocities are `thermal_velocities`.
    """
    velocities = thermal_velocities(n_samples, temperature=temperature, seed=seed)
    return PAPER_POSITIONS.expand(n_samples, -1, -1).clone(), velocities


def check_same_shape(analytic: Trajectory, predicted: Trajectory) -> None:
    """Raise ValueError unless the two have the same records, samples and atoms."""
    got, wanted = tuple(predicted.positions.shape), tuple(analytic.positions.shape)
    if got != wanted:
        raise ValueError(f"predicted: got positions {got}, wanted {wanted}, those it is compared with")


def rmsd_positions(analytic: Trajectory, predicted: Trajectory) -> Tensor:
    """RMSD of positions over samples and atoms (Eq. 48), Å, ``(records,)``.

    The square is that of the distance between two atoms, not of one component.
    """
    check_same_shape(analytic, predicted)
    difference = analytic.positions - predicted.positions
    return difference.square().sum(dim=-1).mean(dim=(-1, -2)).sqrt()


def rmsd_energy(analytic: Trajectory, predicted: Trajectory, potential: LennardJones = ARGON) -> Tensor:
    """RMSD of total energies over samples (Eq. 49), eV, ``(records,)``.

    Both energies are those of the true Hamiltonian (Eq. 47), each on its own trajectory.
    """
    check_same_shape(analytic, predicted)
    difference = analytic.total_energy(potential) - predicted.total_energy(potential)
    return difference.square().mean(dim=-1).sqrt()
