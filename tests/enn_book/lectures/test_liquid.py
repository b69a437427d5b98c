"""Analytic argon in a cell, held to ASE and to loops."""

from itertools import combinations, product

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.calculators.lj import LennardJones as AseLennardJones
from examples import generator, normal

from enn_book.lectures.liquid import AxilrodTeller, Sum, TruncatedLennardJones
from enn_lib.argon import ARGON, sample_positions
from enn_lib.calculator import ENNCalculator
from enn_lib.dynamics import simulate, thermal_velocities
from enn_lib.force_field import minus_gradient
from enn_lib.graph import GaussianRadial, VectorGraphLayer, neighbours


def liquid(cells, noise=0.3, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Disordered atoms as dense as Rahman's argon, and their cell."""
    atoms = bulk("Ar", "fcc", a=5.75, cubic=True) * ((cells,) * 3)
    positions = torch.from_numpy(atoms.positions)
    return positions + noise * normal(*positions.shape, seed=seed), torch.from_numpy(atoms.cell.array)


every_potential = pytest.mark.parametrize(
    "potential",
    [TruncatedLennardJones(), AxilrodTeller(), Sum((TruncatedLennardJones(), AxilrodTeller()))],
    ids=["pairs", "threes", "both"],
)


@pytest.mark.parametrize("cells", [1, 3, 6])
def test_the_lennard_jones_liquid_is_that_of_ase(cells):
    """4 atoms in a cell narrower than the cutoff, 108, and 864."""
    positions, cell = liquid(cells)
    ours = TruncatedLennardJones(cell)
    atoms = Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    options = {"sigma": ours.r0, "epsilon": ours.epsilon, "rc": ours.cutoff, "ro": ours.onset}
    atoms.calc = AseLennardJones(smooth=True, **options)
    np.testing.assert_allclose(ours.forces(positions).numpy(), atoms.get_forces(), atol=1e-12)
    assert ours.energy(positions).item() == pytest.approx(atoms.get_potential_energy(), abs=1e-10)


def test_the_cutoff_is_that_of_rahman():
    assert TruncatedLennardJones().cutoff == pytest.approx(7.65)


def test_below_the_onset_the_potential_is_the_paper_s():
    positions = sample_positions(50, 0, sigma=2.0)
    positions = positions[(positions.unsqueeze(1) - positions.unsqueeze(2)).norm(dim=-1).amax((1, 2)) < 6.1]
    assert len(positions) > 3
    torch.testing.assert_close(TruncatedLennardJones().forces(positions), ARGON.forces(positions))
    torch.testing.assert_close(TruncatedLennardJones().energy(positions), ARGON.energy(positions))


def by_loops(positions, cell, potential):
    """The energy of all triangles, a third at each corner that lies in the cell."""
    shifts = torch.tensor(list(product((-1, 0, 1), repeat=3))).to(cell) @ cell
    images = [(a, r + s) for s in shifts for a, r in enumerate(positions)]
    total = 0.0
    for r in positions:
        near = [x for _, x in images if 1e-9 < (x - r).norm() < potential.cutoff]
        for x, y in combinations(near, 2):
            sides = torch.stack(((x - r).norm(), (y - r).norm(), (x - y).norm()))
            if sides[2] < potential.cutoff:
                a, b, c = sides.square()
                cosines = (b + c - a) * (c + a - b) * (a + b - c) / (8 * a * b * c)
                on, off = potential.onset**2, potential.cutoff**2
                q = sides.square().clamp_min(on)
                switch = ((off - q) ** 2 * (off + 2 * q - 3 * on) / (off - on) ** 3).prod()
                total += potential.nu * (1 + 3 * cosines) / sides.prod() ** 3 * switch / 3
    return total


def test_the_three_body_energy_is_the_sum_over_triangles():
    cell = torch.tensor([[7.6, 0.2, 0.0], [0.5, 7.9, -0.4], [-0.3, 0.7, 8.1]], dtype=torch.float64)
    positions = normal(5, 3) @ cell / 2
    potential = AxilrodTeller(cell, cutoff=6.5, onset=5.0)
    wrapped = (positions @ cell.inverse() % 1) @ cell
    torch.testing.assert_close(potential.energy(positions), by_loops(wrapped, cell, potential))


def test_three_atoms_have_the_energy_of_axilrod_and_teller():
    """An equilateral triangle: 1 + 3/8 over the ninth power of its side."""
    side = 4.0
    triangle = torch.tensor([[0, 0, 0], [side, 0, 0], [side / 2, side * 3**0.5 / 2, 0]], dtype=torch.float64)
    assert AxilrodTeller().energy(triangle).item() == pytest.approx(45.7 * 11 / 8 / side**9)
    line = torch.tensor([[0, 0, 0], [2.5, 0, 0], [5.0, 0, 0]], dtype=torch.float64)
    assert AxilrodTeller().energy(line).item() == pytest.approx(-2 * 45.7 / (2.5 * 2.5 * 5.0) ** 3)


@every_potential
@pytest.mark.parametrize("cells", [2, 3])
def test_the_forces_are_the_slope_of_the_energy(potential, cells):
    positions, cell = liquid(cells, noise=0.5)
    potential = potential.in_cell(cell)
    forces = potential.forces(positions)
    torch.testing.assert_close(forces, minus_gradient(potential.energy, positions), atol=1e-13, rtol=1e-10)
    assert forces.abs().max() > 1e-3
    assert forces.sum(dim=0).abs().max() < 1e-10


@every_potential
def test_forces_of_a_batch_are_those_of_its_systems_and_images_do_not_matter(potential):
    cell = liquid(3)[1]
    positions = torch.stack([liquid(3, seed=seed)[0] for seed in range(2)])
    potential = potential.in_cell(cell)
    expected = torch.stack([potential.forces(r) for r in positions])
    moved = positions + torch.randint(-2, 3, positions.shape, generator=generator()).to(cell) @ cell
    torch.testing.assert_close(potential.forces(moved), expected, atol=1e-12, rtol=0)
    energies = torch.stack([potential.energy(r) for r in positions])
    torch.testing.assert_close(potential.energy(moved), energies)


@every_potential
def test_eight_cells_side_by_side_have_the_forces_of_one_analytically_too(potential):
    positions, cell = liquid(2)
    steps = torch.cartesian_prod(*[torch.arange(2)] * 3).to(cell) @ cell
    many = (positions + steps.unsqueeze(1)).flatten(0, 1)
    expected = potential.in_cell(cell).forces(positions).repeat(8, 1)
    torch.testing.assert_close(potential.in_cell(2 * cell).forces(many), expected, atol=1e-12, rtol=0)


@every_potential
def test_the_liquid_keeps_its_energy(potential):
    positions, cell = liquid(2, noise=0.1)
    field = Sum((TruncatedLennardJones(cell), potential.in_cell(cell)))
    path = simulate(field, positions[None], thermal_velocities(1, 32, temperature=90), 50, 4.0)
    total = path.kinetic_energy()[:, 0] + field.energy(path.positions)[:, 0]
    assert (total - total[0]).abs().max() < 0.01 * path.kinetic_energy()[:, 0].std()


def test_ase_takes_the_sum_in_its_own_cell():
    positions, cell = liquid(3)
    both = Sum((TruncatedLennardJones(), AxilrodTeller()))
    atoms = Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    atoms.calc = ENNCalculator(both)
    np.testing.assert_allclose(atoms.get_forces(), both.in_cell(cell).forces(positions).numpy(), atol=1e-12)
    parts = [part.in_cell(cell).energy(positions).item() for part in both.parts]
    assert atoms.get_potential_energy() == pytest.approx(sum(parts))


def test_a_linear_readout_fits_forces_of_pairs_and_misses_those_of_threes():
    """It is a pair force, whatever its coefficients: of both it misses what it misses of the threes."""
    cell = liquid(3)[1]
    snapshots = torch.stack([liquid(3, noise=0.2, seed=seed)[0] for seed in range(6)])
    layer = VectorGraphLayer(GaussianRadial.geometric(16, 2.8, 8.0), dtype=torch.float64)
    rows = layer(neighbours(snapshots, 8.0, cell))

    def missed(*potentials):
        forces = Sum(potentials).in_cell(cell).forces(snapshots)
        readout = torch.linalg.lstsq(rows[:4].flatten(0, 2), forces[:4].flatten(), driver="gelsd").solution
        return (rows[4:] @ readout - forces[4:]).square().mean().sqrt().item()

    pairs, threes = TruncatedLennardJones(), AxilrodTeller()
    assert missed(pairs) < missed(threes) / 2
    assert missed(pairs, threes) == pytest.approx(missed(threes), rel=0.15)
    assert missed(threes) > 0.1 * threes.in_cell(cell).forces(snapshots).square().mean().sqrt()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TruncatedLennardJones(cutoff=5.0),
            "onset, cutoff: got 6.12.*, 5.0, wanted 0 < onset < cutoff",
        ),
        (lambda: AxilrodTeller(onset=0.0), "onset, cutoff: got 0.0"),
        (lambda: AxilrodTeller(torch.ones(3)), r"cell: got shape \(3,\)"),
        (lambda: TruncatedLennardJones().forces(torch.zeros(2, 3)), "positions: got two atoms that coincide"),
        (lambda: TruncatedLennardJones().energy(torch.full((2, 3), torch.nan)), "positions: got 6 entries"),
        (lambda: AxilrodTeller(6 * torch.eye(3)).forces(normal(3, 3)), "cell: got an atom nearer than 6.8 Å"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
