"""What a chemist asks, on systems whose answer is known."""

import math
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations
from examples import normal

from enn_book.studies.molecule.analysis import (
    LIGHT,
    angular_momentum,
    harmonic_frequencies,
    power_spectrum,
    rmsd_distances,
    work_along,
)
from enn_lib.argon import ARGON
from enn_lib.dynamics import ACCELERATION, Trajectory, simulate


@dataclass(frozen=True)
class Spring:
    """Two atoms on a harmonic spring of 1 Å."""

    stiffness: float

    def forces(self, positions):
        bond = positions[..., 1, :] - positions[..., 0, :]
        distance = bond.norm(dim=-1, keepdim=True)
        pull = self.stiffness * (distance - 1) * bond / distance
        return torch.stack((pull, -pull), dim=-2)


REST = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
NITROGEN_HYDROGEN = torch.tensor([14.007, 1.008], dtype=torch.float64)


WAVENUMBER = math.sqrt(40.0 * ACCELERATION * (1 / NITROGEN_HYDROGEN).sum()) / (2 * math.pi * LIGHT)
"""sqrt(k / mu) of these two atoms on a spring of 40 eV/Å^2, cm^-1."""


# Frequencies


def test_a_diatomic_has_the_frequency_of_its_reduced_mass_and_five_zeros():
    modes = harmonic_frequencies(Spring(40.0), REST, ("N", "H"))
    assert modes[:5].abs().max() < 1, "zero but for the third order of the differences"
    assert modes[5].item() == pytest.approx(WAVENUMBER, rel=1e-6)


def test_a_direction_downhill_has_an_imaginary_frequency_given_as_negative():
    modes = harmonic_frequencies(Spring(-40.0), REST, ("N", "H"))
    assert modes[0].item() == pytest.approx(-WAVENUMBER, rel=1e-6)


def test_the_frequencies_are_those_of_ase(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = molecule("H2O", calculator=EMT())
    vibrations = Vibrations(atoms, delta=1e-4, nfree=2)
    vibrations.run()
    theirs = vibrations.get_frequencies()

    def forces(positions):
        one_by_one = [Atoms("OHH", r, calculator=EMT()).get_forces() for r in positions.numpy()]
        return torch.from_numpy(np.stack(one_by_one))

    rest = torch.from_numpy(atoms.positions)
    ours = harmonic_frequencies(SimpleNamespace(forces=forces), rest, ("O", "H", "H"))
    wanted = torch.from_numpy(theirs.real - theirs.imag).sort().values
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=0.5)


# The spectrum


def test_the_spectrum_of_an_oscillator_is_a_line_at_its_frequency():
    velocities = torch.tensor([[[-1.008, 0, 0], [14.007, 0, 0]]], dtype=torch.float64) * 1e-4
    path = simulate(Spring(40.0), REST.unsqueeze(0), velocities, 6000, 0.5, mass=NITROGEN_HYDROGEN)
    nu, density = power_spectrum(path)
    assert nu[density.argmax()].item() == pytest.approx(WAVENUMBER, rel=0.005)
    assert torch.trapezoid(density, nu).item() == pytest.approx(1)
    assert (density >= 0).all()


def test_the_spectrum_is_the_transform_of_the_velocity_autocorrelation():
    """Wiener and Khinchin: padded with as many zeros, so that the correlation is not circular."""
    velocities = normal(50, 2, 3, 3)
    masses = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    nu, density = power_spectrum(Trajectory(torch.arange(50).double(), velocities, velocities, masses))
    windowed = velocities * torch.hann_window(50, periodic=False, dtype=torch.float64)[:, None, None, None]
    weighted = masses[:, None] * windowed
    correlation = [(weighted[: 50 - lag] * windowed[lag:]).sum().item() for lag in range(50)]
    lags = torch.arange(50).double()
    weight = torch.where(lags > 0, 2.0, 1.0) * torch.tensor(correlation)
    k = torch.arange(26).double()
    transform = (weight * torch.cos(2 * math.pi * k[:, None] * lags / 50)).sum(dim=-1)
    torch.testing.assert_close(density / density.sum(), transform / transform.sum())
    assert nu[1].item() == pytest.approx(1 / 50 / LIGHT)


def test_the_spectrum_weighs_atoms_by_their_mass():
    """Two lines of equal amplitude, the heavy atom's stronger by the ratio of the masses."""
    time = torch.arange(400).double()
    velocities = torch.zeros(400, 1, 2, 3, dtype=torch.float64)
    velocities[:, 0, 0, 0] = torch.cos(2 * math.pi * time * 40 / 400)
    velocities[:, 0, 1, 0] = torch.cos(2 * math.pi * time * 100 / 400)
    path = Trajectory(time, velocities, velocities, torch.tensor([1.0, 7.0], dtype=torch.float64))
    _, density = power_spectrum(path)
    assert (density[100] / density[40]).item() == pytest.approx(7, rel=1e-3)


def test_a_spectrum_of_two_records_is_refused():
    two = torch.zeros(2, 1, 4, 3)
    with pytest.raises(ValueError, match="trajectory: got 2 records, wanted at least 3"):
        power_spectrum(Trajectory(torch.arange(2.0), two, two, 1.0))


# Momentum and work


def test_the_angular_momentum_is_that_of_ase_and_is_conserved():
    positions, velocities = 4 * normal(1, 4, 3, seed=1), 1e-3 * normal(1, 4, 3, seed=2)
    masses = torch.tensor([14.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    path = simulate(ARGON, positions, velocities, 50, 0.5, mass=masses)
    atoms = Atoms("Ar4", positions[0].numpy(), masses=masses.numpy())
    atoms.set_velocities(velocities[0].numpy() / units.fs)
    theirs = torch.from_numpy(atoms.get_angular_momentum() * units.fs)
    ours = angular_momentum(path)
    torch.testing.assert_close(ours[0, 0], theirs)
    torch.testing.assert_close(ours, ours[:1].expand_as(ours))


def test_the_rmsd_of_distances_sees_the_shape_and_not_the_place():
    r, turn = normal(3, 2, 4, 3), torch.linalg.qr(normal(3, 3)).Q
    path = Trajectory(torch.arange(3.0), r, r, 1.0)
    assert rmsd_distances(path, replace(path, positions=r @ turn + 5)).max() < 1e-12
    distances = torch.cdist(r[1], r[1])[:, *torch.triu_indices(4, 4, 1)]
    wanted = 0.1 * distances.square().mean().sqrt()
    torch.testing.assert_close(rmsd_distances(path, replace(path, positions=1.1 * r))[1], wanted)
    with pytest.raises(ValueError, match=r"predicted: got positions \(2, 2, 4, 3\), wanted \(3, 2, 4, 3\)"):
        rmsd_distances(path, replace(path, positions=r[:2]))


def test_the_work_along_a_path_is_the_difference_of_energies():
    path = torch.zeros(400, 2, 3, dtype=torch.float64)
    path[:, 1, 0] = torch.linspace(3.4, 6.0, 400)
    work = work_along(ARGON.forces(path), path)
    energy = ARGON.energy(path)
    assert work[0] == 0
    torch.testing.assert_close(work, energy - energy[0], rtol=0, atol=3e-6)
