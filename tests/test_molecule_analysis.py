"""What a chemist asks, on systems whose answer is known."""

import math

import pytest
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.calculators.emt import EMT
from ase.vibrations import Vibrations

from enn_lib.argon import ARGON
from enn_lib.dynamics import ACCELERATION, Trajectory, simulate
from enn_lib.molecule.analysis import (
    LIGHT,
    angular_momentum,
    harmonic_frequencies,
    power_spectrum,
    rmsd_distances,
    work_along,
)


class Spring:
    """Two atoms on a harmonic spring of 1 Å."""

    def __init__(self, stiffness):
        self.stiffness = stiffness

    def forces(self, positions):
        bond = positions[..., 1, :] - positions[..., 0, :]
        distance = bond.norm(dim=-1, keepdim=True)
        pull = self.stiffness * (distance - 1) * bond / distance
        return torch.stack((pull, -pull), dim=-2)


class Emt:
    """ASE's effective medium theory, for the oracle."""

    def __init__(self, symbols):
        self.symbols = symbols

    def forces(self, positions):
        def one(r):
            return torch.from_numpy(Atoms(self.symbols, r.numpy(), calculator=EMT()).get_forces())

        return torch.stack([one(r) for r in positions.reshape(-1, *positions.shape[-2:])]).reshape(
            positions.shape
        )


REST = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]], dtype=torch.float64)
NITROGEN_HYDROGEN = torch.tensor([14.007, 1.008], dtype=torch.float64)


def wavenumber(stiffness, masses):
    """sqrt(k / mu) of two atoms, cm^-1."""
    reduced = 1 / (1 / masses).sum()
    return math.sqrt(stiffness * ACCELERATION / reduced) / (2 * math.pi * LIGHT)


# Frequencies


def test_a_diatomic_has_the_frequency_of_its_reduced_mass_and_five_zeros():
    modes = harmonic_frequencies(Spring(40.0), REST, ("N", "H"))
    assert modes[:5].abs().max() < 1, "zero but for the third order of the differences"
    assert modes[5].item() == pytest.approx(wavenumber(40.0, NITROGEN_HYDROGEN), rel=1e-6)


def test_a_direction_downhill_has_an_imaginary_frequency_given_as_negative():
    modes = harmonic_frequencies(Spring(-40.0), REST, ("N", "H"))
    assert modes[0].item() == pytest.approx(-wavenumber(40.0, NITROGEN_HYDROGEN), rel=1e-6)


def test_the_frequencies_are_those_of_ase(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atoms = molecule("H2O", calculator=EMT())
    vibrations = Vibrations(atoms, delta=1e-4, nfree=2)
    vibrations.run()
    theirs = vibrations.get_frequencies()
    symbols = tuple(atoms.get_chemical_symbols())
    ours = harmonic_frequencies(Emt(symbols), torch.from_numpy(atoms.positions), symbols)
    wanted = torch.from_numpy(theirs.real - theirs.imag).sort().values
    torch.testing.assert_close(ours, wanted, rtol=1e-5, atol=0.5)


# The spectrum


def test_the_spectrum_of_an_oscillator_is_a_line_at_its_frequency():
    spring, dt = Spring(40.0), 0.5
    velocities = torch.tensor([[-1.008, 0, 0], [14.007, 0, 0]], dtype=torch.float64).unsqueeze(0) * 1e-4
    path = simulate(spring, REST.unsqueeze(0), velocities, 6000, dt, mass=NITROGEN_HYDROGEN)
    nu, density = power_spectrum(path)
    assert nu[density.argmax()].item() == pytest.approx(wavenumber(40.0, NITROGEN_HYDROGEN), rel=0.005)
    assert torch.trapezoid(density, nu).item() == pytest.approx(1)
    assert (density >= 0).all()


def test_the_spectrum_is_the_transform_of_the_velocity_autocorrelation():
    """Wiener and Khinchin: padded with as many zeros, so that the correlation is not circular."""
    generator = torch.Generator().manual_seed(0)
    velocities = torch.randn(50, 2, 3, 3, generator=generator, dtype=torch.float64)
    masses = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    nu, density = power_spectrum(Trajectory(torch.arange(50).double(), velocities, velocities, masses))
    windowed = velocities * torch.hann_window(50, periodic=False, dtype=torch.float64)[:, None, None, None]
    correlation = [
        (masses[:, None] * windowed[: 50 - lag] * windowed[lag:]).sum().item() for lag in range(50)
    ]
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
    generator = torch.Generator().manual_seed(1)
    positions = 4 * torch.randn(1, 4, 3, generator=generator, dtype=torch.float64)
    velocities = 1e-3 * torch.randn(1, 4, 3, generator=generator, dtype=torch.float64)
    masses = torch.tensor([14.0, 1.0, 2.0, 3.0], dtype=torch.float64)
    path = simulate(ARGON, positions, velocities, 50, 0.5, mass=masses)
    atoms = Atoms("Ar4", positions[0].numpy(), masses=masses.numpy())
    atoms.set_velocities(velocities[0].numpy() / units.fs)
    theirs = torch.from_numpy(atoms.get_angular_momentum() * units.fs)
    ours = angular_momentum(path)
    torch.testing.assert_close(ours[0, 0], theirs)
    torch.testing.assert_close(ours, ours[:1].expand_as(ours))


def test_the_rmsd_of_distances_sees_the_shape_and_not_the_place():
    generator = torch.Generator().manual_seed(2)
    r = torch.randn(3, 2, 4, 3, generator=generator, dtype=torch.float64)
    path = Trajectory(torch.arange(3.0), r, r, 1.0)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64)).Q
    moved = Trajectory(path.time, r @ turn + 5, r, 1.0)
    assert rmsd_distances(path, moved).max() < 1e-12
    larger = Trajectory(path.time, 1.1 * r, r, 1.0)
    distances = torch.cdist(r[1], r[1])[:, *torch.triu_indices(4, 4, 1)]
    assert rmsd_distances(path, larger)[1].item() == pytest.approx(
        0.1 * distances.square().mean().sqrt().item()
    )
    with pytest.raises(ValueError, match=r"predicted: got positions \(2, 2, 4, 3\), wanted \(3, 2, 4, 3\)"):
        rmsd_distances(path, Trajectory(path.time, r[:2], r, 1.0))


def test_the_work_along_a_path_is_the_difference_of_energies():
    out = torch.linspace(3.4, 6.0, 400, dtype=torch.float64)
    path = torch.zeros(400, 2, 3, dtype=torch.float64)
    path[:, 1, 0] = out
    work = work_along(ARGON.forces(path), path)
    energy = ARGON.energy(path)
    assert work[0] == 0
    torch.testing.assert_close(work, energy - energy[0], rtol=0, atol=3e-6)
