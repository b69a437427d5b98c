"""Atoms in any dimension and number, under any pair potential."""

import ase
import pytest
import torch
from ase.calculators.morse import MorsePotential
from examples import biased_network, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_book.lectures.pair_potentials import (
    CLOSEST,
    POTENTIALS,
    WORDS,
    PairNetwork,
    PairSystem,
    pair_potential,
    pair_vectors,
    sample_clouds,
)
from enn_lib import ARGON, ENN
from enn_lib.argon import Scales, relative_vectors, sample_positions, smallest_distance
from enn_lib.force_field import NetworkForceField
from enn_lib.graph import GaussianRadial
from enn_lib.groups import assert_equivariant

MORSE = pair_potential("morse")
SCALES = Scales(position=4.5, force=0.13)
sizes = {"n": st.integers(1, 5), "n_atoms": st.integers(2, 5), "seed": st.integers(0, 2**31)}


def draw(n, n_atoms, seed, count=3):
    return sample_positions(count, seed, n=n, n_atoms=n_atoms, r_min=0.5)


# Potentials


def derivative(pair_energy, order):
    """Of an energy at the distance rm."""
    r = torch.tensor(WORDS["rm"], dtype=torch.float64, requires_grad=True)
    value = pair_energy(r)
    for _ in range(order):
        (value,) = torch.autograd.grad(value, r, create_graph=True)
    return value.item()


def test_lennard_jones_is_that_of_the_library():
    distances = torch.linspace(CLOSEST, 9, 50, dtype=torch.float64)
    ours = pair_potential("lennard-jones")(distances)
    torch.testing.assert_close(ours, ARGON.pair_energy(distances))


@pytest.mark.parametrize("name", ["lennard-jones", "morse", "buckingham"])
def test_three_wells_have_one_depth_and_one_minimum(name):
    energies = pair_potential(name)
    assert derivative(energies, 0) == pytest.approx(-ARGON.epsilon)
    assert derivative(energies, 1) == pytest.approx(0, abs=1e-12)
    assert derivative(energies, 2) > 0


def test_lennard_jones_and_morse_have_one_curvature():
    curvatures = [derivative(pair_potential(name), 2) for name in ("lennard-jones", "morse")]
    assert curvatures[0] == pytest.approx(curvatures[1])


def test_a_soft_core_can_be_crossed_and_yukawa_never_attracts():
    assert pair_potential("soft-core")(torch.zeros(())).item() == pytest.approx(8 * ARGON.epsilon)
    energies = pair_potential("yukawa")(torch.linspace(1, 20, 50))
    assert (energies > 0).all()
    assert (energies.diff() < 0).all()


def test_a_formula_is_a_potential():
    distances = torch.linspace(CLOSEST, 9, 50, dtype=torch.float64)
    ours = pair_potential("0.1 * exp(-(r / 3)**2)")(distances)
    torch.testing.assert_close(ours, 0.1 * torch.exp(-((distances / 3) ** 2)))


@pytest.mark.parametrize(
    "wrong",
    ["Morse", "", "1", "0 * r", "r.sum()", "log(r - 3)", "1 / (r - r)", "open('a') or r", 3, None],
)
def test_what_is_no_potential_is_refused_with_the_known_names(wrong):
    with pytest.raises(ValueError, match=r"^potential: got ") as refused:
        pair_potential(wrong)
    assert f"got {wrong!r}, wanted one of {', '.join(POTENTIALS)}, or a formula" in str(refused.value)


@given(n_atoms=st.integers(2, 6), seed=st.integers(0, 2**31))
def test_ase_finds_the_same_morse_energy_and_forces(n_atoms, seed):
    """ASE cuts its potential off smoothly, here beyond every distance."""
    positions = draw(3, n_atoms, seed, count=1)[0]
    atoms = ase.Atoms(f"Ar{n_atoms}", positions.numpy())
    atoms.calc = MorsePotential(epsilon=ARGON.epsilon, r0=WORDS["rm"], rho0=6.0, rcut1=90, rcut2=91)
    system = PairSystem(MORSE, n_atoms)
    assert system.energy(positions).item() == pytest.approx(atoms.get_potential_energy(), rel=1e-9)
    by_ase = torch.from_numpy(atoms.get_forces())
    torch.testing.assert_close(system.forces(positions), by_ase, rtol=1e-9, atol=1e-12)


# Data


def test_four_atoms_in_space_are_drawn_as_in_the_paper():
    assert sample_clouds(50, 3, n_atoms=4, n=3).equal(sample_positions(50, 3))


@pytest.mark.parametrize("n", [1, 2, 5])
@pytest.mark.parametrize("n_atoms", [2, 13])
def test_there_is_room_for_every_number_of_atoms_in_every_dimension(n, n_atoms):
    positions = sample_clouds(20, 0, n_atoms=n_atoms, n=n)
    assert positions.shape == (20, n_atoms, n)
    assert smallest_distance(positions).min() >= CLOSEST


# A system of atoms


@given(seed=st.integers(0, 2**31))
def test_four_atoms_in_space_are_those_of_the_paper(seed):
    positions = draw(3, 4, seed)
    system = PairSystem(ARGON.pair_energy)
    torch.testing.assert_close(system.energy(positions), ARGON.energy(positions))
    torch.testing.assert_close(system.forces(positions), ARGON.forces(positions))
    assert pair_vectors(positions).equal(relative_vectors(positions))


@given(**sizes)
def test_the_force_is_minus_the_slope_of_the_energy(n, n_atoms, seed):
    """By central differences along a random direction."""
    positions = draw(n, n_atoms, seed)
    step, direction = 1e-5, normal(*positions.shape, seed=seed)
    system = PairSystem(MORSE, n_atoms, n)
    ahead, behind = (system.energy(positions + move * direction) for move in (step, -step))
    power = (system.forces(positions) * direction).sum(dim=(-1, -2))
    torch.testing.assert_close(power, (behind - ahead) / (2 * step), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "field", [PairSystem(MORSE, 3, 2), PairNetwork(biased_network((3, 5, 3), 2, softening=0.3), SCALES)]
)
def test_the_derivatives_of_the_forces_are_their_slopes(field):
    positions = draw(2, 3, 0, count=2).requires_grad_()
    assert torch.autograd.gradcheck(field.forces, positions)


@given(**sizes)
def test_the_forces_have_every_symmetry_in_every_dimension(n, n_atoms, seed):
    positions = draw(n, n_atoms, seed)
    forces = PairSystem(MORSE, n_atoms, n).forces
    assert_equivariant(forces, positions, group="O", action="rows")
    assert_equivariant(forces, positions, group="S", action="rows")
    assert_equivariant(forces, positions, group="T", action="rows", output_action="invariant", tolerance=1e-8)
    assert forces(positions).sum(dim=-2).abs().max() < 1e-9 * forces(positions).abs().max() + 1e-12


def test_forces_can_be_asked_for_where_gradients_are_off():
    positions = draw(2, 3, 0)
    system = PairSystem(MORSE, 3, 2)
    with torch.no_grad():
        off = system.forces(positions)
    assert off.equal(system.forces(positions))
    assert not off.requires_grad


# A network in any dimension


@pytest.mark.parametrize(("n", "n_atoms"), [(1, 2), (2, 4), (3, 3), (4, 4), (3, 5)])
def test_a_network_gives_equivariant_forces_to_any_number_of_atoms_in_any_dimension(n, n_atoms):
    network = ENN((n_atoms * (n_atoms - 1) // 2, 9, n_atoms), n, dtype=torch.float64)
    field = PairNetwork(network, SCALES)
    positions = draw(n, n_atoms, 0)
    assert field.forces(positions).shape == positions.shape
    assert_equivariant(field.forces, positions, group="O", action="rows")


def test_a_network_on_functions_of_the_distance_is_equivariant_and_sees_nothing_beyond_the_cutoff():
    radial = GaussianRadial.geometric(3, CLOSEST, cutoff=5.0)
    field = PairNetwork(ENN((9, 7, 3), dtype=torch.float64), SCALES, radial)
    positions = draw(3, 3, 0)
    assert_equivariant(field.forces, positions, group="O", action="rows")
    assert field.forces(positions).abs().max() > 0
    assert field.forces(10 * positions / smallest_distance(positions).min()).abs().max() == 0


def test_edge_features_stand_in_the_place_of_the_length_of_each_pair_vector():
    radial = GaussianRadial.geometric(3, CLOSEST, cutoff=9.0)
    vectors = pair_vectors(torch.tensor([[0.0, 0.0], [0.0, 3.0], [4.0, 0.0]]), radial)
    assert vectors.shape == (2, 9)
    torch.testing.assert_close(vectors[:, 6:], torch.tensor([[0.8], [-0.6]]) * radial(torch.tensor(5.0)))


def test_for_four_atoms_in_space_it_is_the_force_field_of_the_paper():
    network = ENN((6, 20, 4))
    positions = draw(3, 4, 1)
    paper = NetworkForceField(network, SCALES).forces(positions)
    torch.testing.assert_close(PairNetwork(network, SCALES).forces(positions), paper)


# Bad input


def test_coincident_atoms_are_refused():
    with pytest.raises(ValueError, match="positions: two atoms coincide"):
        PairSystem(MORSE, 2).energy(torch.zeros(2, 3))


@pytest.mark.parametrize(
    "method", [PairSystem(MORSE, 3, 2).forces, PairNetwork(ENN((3, 3), 2), SCALES).forces]
)
@pytest.mark.parametrize(
    ("positions", "error", "message"),
    [
        (torch.ones(3, 3), ValueError, r"positions: got shape \(3, 3\), wanted \(..., 3, 2\)"),
        (torch.ones(2), ValueError, r"positions: got shape \(2,\), wanted \(..., 3, 2\)"),
        (torch.ones(3, 2).long(), TypeError, r"positions: got torch\.int64, wanted a floating-point dtype"),
        (torch.full((3, 2), float("nan")), ValueError, "positions: got 6 entries that are NaN, infinite"),
    ],
)
def test_positions_that_are_none_are_refused(method, positions, error, message):
    with pytest.raises(error, match=message):
        method(positions)


@pytest.mark.parametrize(("n_atoms", "n"), [(1, 3), (4, 0)])
def test_systems_that_are_none_are_refused(n_atoms, n):
    with pytest.raises(ValueError, match=f"n_atoms, n: got {n_atoms}, {n}, wanted at least 2 and at least 1"):
        PairSystem(MORSE, n_atoms, n)


@pytest.mark.parametrize("widths", [(6, 5), (6, 20, 3), (0, 1)])
def test_a_network_for_no_number_of_atoms_is_refused(widths):
    network = ENN((1, 1))
    network.widths = widths
    with pytest.raises(ValueError, match=r"network: got widths .*, wanted N \(N - 1\) / 2 vectors in, N out"):
        PairNetwork(network, SCALES)


def test_a_network_on_bare_vectors_is_refused_where_there_are_edge_features():
    with pytest.raises(
        ValueError, match=r"network: got widths .*, wanted 3 N \(N - 1\) / 2 vectors in, N out"
    ):
        PairNetwork(ENN((6, 20, 4)), SCALES, GaussianRadial.geometric(3, CLOSEST, cutoff=9.0))
