"""Forces from an energy of invariants (sec. 3.6): symmetric, conservative, and an energy for ASE."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.calculators.fd import calculate_numerical_forces
from examples import assert_seeded, normal

from enn_book.models.energy import EnergyENN, EnergyForceField, invariants
from enn_lib.argon import Scales, sample_positions
from enn_lib.calculator import ENNCalculator
from enn_lib.dynamics import paper_initial_conditions, simulate
from enn_lib.groups import assert_equivariant


@pytest.fixture(scope="module")
def field():
    model = EnergyENN((6, 8, 5), 4, softening=0.3, dtype=torch.float64, seed=1)
    return EnergyForceField(model, Scales(position=4.5, force=0.13))


def test_invariants_are_lengths_that_no_unitary_operator_changes():
    x = normal(5, 4, 3, dtype=torch.complex128)
    expected = (torch.linalg.vector_norm(x, dim=-2) ** 2 + 0.01).sqrt()
    torch.testing.assert_close(invariants(x), expected)
    assert_equivariant(invariants, x, output_action="invariant")


def test_the_energy_is_even_and_invariant(field):
    """The scalar of even parity of sec. 3.6."""
    x = normal(7, 3, 6)
    torch.testing.assert_close(field.model.energy(-x), field.model.energy(x))
    assert_equivariant(field.model.energy, x, output_action="invariant")


def test_forces_are_minus_the_gradient_of_the_energy(field):
    """By differences, in eV and Å: scales and the signs of Eq. 41 included."""
    positions = sample_positions(3, 0)
    step, forces = 1e-5, field.forces(positions)
    for atom in range(4):
        for axis in range(3):
            shift = torch.zeros_like(positions)
            shift[:, atom, axis] = step
            slope = (field.energy(positions + shift) - field.energy(positions - shift)) / (2 * step)
            torch.testing.assert_close(forces[:, atom, axis], -slope, atol=1e-8, rtol=1e-6)


def test_forces_of_an_energy_add_up_to_zero_and_exert_no_torque(field):
    positions = sample_positions(5, 0)
    forces = field.forces(positions)
    assert forces.sum(dim=-2).abs().max() < 1e-14
    assert torch.linalg.cross(positions, forces).sum(dim=-2).abs().max() < 1e-13


@pytest.mark.parametrize(("group", "output_action"), [("O", "rows"), ("T", "invariant")])
def test_forces_of_an_energy_are_equivariant(field, group, output_action):
    positions = sample_positions(3, 0)
    assert_equivariant(field.forces, positions, group=group, action="rows", output_action=output_action)


def test_the_energy_model_can_be_trained_on_forces():
    """Second derivatives reach every weight but the last bias, the zero of the energy."""
    model = EnergyENN((6, 5, 4), 3, softening=0.3, dtype=torch.float64)
    model(normal(8, 3, 6)).square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == ["head.2.bias"]


def test_dynamics_conserve_the_energy_of_the_model(field):
    """To the error of the integrator, which falls as dt^2."""

    def drift(dt):
        start = paper_initial_conditions(2, temperature=100.0)
        path = simulate(field, *start, steps=round(80 / dt), dt=dt)
        energy = path.kinetic_energy() + field.energy(path.positions)
        return (energy - energy[0]).abs().max().item()

    assert drift(4.0) < 1e-4
    assert drift(2.0) < 0.3 * drift(4.0)


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    assert_seeded(lambda seed: EnergyENN((6, 3), 2, seed=seed))


@pytest.mark.parametrize(("widths", "hidden"), [((5, 3), 2), ((6, 3), 0)])
def test_bad_widths_of_an_energy_are_named(widths, hidden):
    with pytest.raises(ValueError, match="widths, hidden: got"):
        EnergyENN(widths, hidden)


def test_ase_gets_the_energy_and_the_forces_that_are_its_slope(field):
    shape = [[0.0, 0.0, 0.0], [3.6, 0.2, 0.1], [1.7, 3.5, -0.2], [1.6, 1.0, 3.1]]
    atoms = Atoms("Ar4", positions=shape, calculator=ENNCalculator(field))
    assert atoms.get_potential_energy() == field.energy(torch.tensor(shape, dtype=torch.float64)).item()
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(numerical).max() > 1e-4
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-7)
