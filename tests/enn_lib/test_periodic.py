"""Neighbours in periodic cells, the layers made of them, and force fields for any number of atoms in them."""

import sys

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces
from ase.md.verlet import VelocityVerlet
from ase.neighborlist import neighbor_list
from examples import biased_network, generator, normal, with_biases
from torch.utils._python_dispatch import TorchDispatchMode

from enn_lib.activations import VectorSoftsign
from enn_lib.calculator import ENNCalculator
from enn_lib.dynamics import simulate, thermal_velocities
from enn_lib.force_field import EnergyForceField, GraphForceField
from enn_lib.graph import (
    CombinedGraphLayer,
    GaussianRadial,
    Neighbours,
    ScalarGraphLayer,
    VectorGraphLayer,
    neighbours,
)
from enn_lib.groups import assert_equivariant, random_unitary
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.training import fit_energy_force_field, fit_graph_force_field

pytest.importorskip("vesin")

CUTOFF = 5.0
KINDS = (ScalarGraphLayer, VectorGraphLayer, CombinedGraphLayer)
every_kind = pytest.mark.parametrize("kind", KINDS)


def radial(cutoff=CUTOFF):
    return GaussianRadial.geometric(4, 2.0, cutoff)


def crystal(cells=2, noise=0.3, seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Atoms near the sites of a crystal as dense as liquid argon, and their cell, ``cells`` times 5.75 Å."""
    atoms = bulk("Ar", "fcc", a=5.75, cubic=True) * ((cells,) * 3)
    positions = torch.from_numpy(atoms.positions)
    return positions + noise * normal(*positions.shape, seed=seed), torch.from_numpy(atoms.cell.array)


def slanted(seed=0) -> tuple[torch.Tensor, torch.Tensor]:
    """Five atoms in a skew cell that is narrower than the cutoff, some of them outside of it."""
    cell = torch.tensor([[4.4, 0.3, 0.0], [1.2, 4.9, -0.4], [-0.8, 0.7, 5.3]], dtype=torch.float64)
    return 6 * normal(5, 3, seed=seed), cell


def repeated(positions, cell, times):
    """The atoms of a larger cell, ``times`` as long in every direction; those of the first cell first."""
    steps = torch.cartesian_prod(*[torch.arange(times)] * 3).to(cell) @ cell
    return (positions + steps.unsqueeze(1)).flatten(0, 1), times * cell


def direct_field(cell=None, cutoff=CUTOFF):
    layer = VectorGraphLayer(radial(cutoff), dtype=torch.float64)
    network = biased_network((4, 6, 1), activation=VectorSoftsign(0.3), softening=0.5)
    return GraphForceField(layer, network, torch.ones(4).double(), 0.13, cell)


def energy_field(cell=None, cutoff=CUTOFF, softening=0.5):
    layer = CombinedGraphLayer(radial(cutoff), dtype=torch.float64)
    options = {"softening": softening, "dtype": torch.float64, "generator": generator(1)}
    network = with_biases(ScalarFeatureENN((4, 6, 1), m=1, activation=VectorSoftsign(0.3), **options))
    return EnergyForceField(layer, network, torch.ones(4).double(), 2 * torch.ones(2, 4).double(), 0.1, cell)


every_field = pytest.mark.parametrize("make", [direct_field, energy_field])


# Neighbours


@pytest.mark.parametrize("system", [crystal, slanted], ids=["wide", "narrower than the cutoff"])
def test_the_pairs_are_those_that_ase_finds_each_once(system):
    positions, cell = system()
    near = neighbours(positions, CUTOFF, cell)
    atoms = ase.Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    i, j, vectors = neighbor_list("ijD", atoms, CUTOFF)
    both = zip(
        torch.cat((near.i, near.j)).tolist(),
        torch.cat((near.j, near.i)).tolist(),
        torch.cat((near.vectors, -near.vectors)).numpy().round(6) + 0.0,
        strict=True,
    )
    found = sorted((a, b, *u) for a, b, u in both)
    wanted = sorted((a, b, *u) for a, b, u in zip(i, j, vectors.round(6) + 0.0, strict=True))
    np.testing.assert_allclose(np.array(found), np.array(wanted), atol=1e-5)


def test_the_number_of_pairs_of_an_atom_does_not_grow_with_their_number():
    for cells in (2, 3, 4):
        positions, cell = crystal(cells, noise=0.0)
        assert len(neighbours(positions, 6.5, cell).i) == 4 * cells**3 * 18 / 2, "12 nearest, 6 next nearest"


@every_kind
@pytest.mark.parametrize("features", [None, 1, 2])
def test_from_neighbours_comes_what_comes_from_all_pairs(kind, features):
    positions = 2 * normal(2, 3, 7, 3)
    v = None if features is None else normal(2, 3, 7, features, seed=1)
    layer = kind(radial(), 3, node_features=features or 1, dtype=torch.float64, generator=generator(2))
    from_pairs = layer(neighbours(positions, CUTOFF), v)
    torch.testing.assert_close(from_pairs, layer(positions, v), atol=1e-13, rtol=0)


def test_pairs_that_are_summed_in_several_portions_give_the_same(monkeypatch):
    near, layer = neighbours(crystal()[0], CUTOFF, crystal()[1]), CombinedGraphLayer(radial())
    whole = layer(near)
    monkeypatch.setattr("enn_lib.graph.PAIRS_AT_A_TIME", 7)
    torch.testing.assert_close(layer(near), whole, atol=1e-13, rtol=0)


@every_kind
def test_in_a_narrow_cell_an_atom_sees_all_images_of_the_others_and_of_itself(kind):
    """Against so many copies of the cell in free space that none that is seen is missing."""
    positions, cell = slanted()
    positions = (positions @ cell.inverse() % 1) @ cell
    layer = kind(radial(), dtype=torch.float64)
    copies, _ = repeated(positions, cell, 7)
    middle = slice(5 * (3 * 49 + 3 * 7 + 3), 5 * (3 * 49 + 3 * 7 + 4))
    in_cell = layer(neighbours(positions, CUTOFF, cell))
    torch.testing.assert_close(in_cell, layer(neighbours(copies, CUTOFF))[middle])


def test_vectors_above_scalars_are_what_the_two_layers_give_apart():
    positions, cell = slanted()
    for nodes in (positions, neighbours(positions, CUTOFF, cell)):
        vectors, scalars = CombinedGraphLayer(radial(), dtype=torch.float64)(nodes).split((3, 1), dim=-2)
        torch.testing.assert_close(vectors, VectorGraphLayer(radial(), dtype=torch.float64)(nodes))
        torch.testing.assert_close(scalars[:, 0], ScalarGraphLayer(radial(), dtype=torch.float64)(nodes))


def test_without_the_package_that_finds_neighbours_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "vesin", None)
    direct_field().forces(slanted()[0])  # few atoms in free space do without
    with pytest.raises(ImportError, match=r"pip install 'enn-lib\[liquid\]'"):
        direct_field(slanted()[1]).forces(slanted()[0])


class Allocated(TorchDispatchMode):
    """Counts the numbers in all new tensors."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and not function.overloadpacket.__name__.endswith("_"):
            self.count += result.numel()
        return result


def test_what_is_allocated_for_sums_over_pairs_grows_with_the_atoms_and_no_faster(monkeypatch):
    monkeypatch.setattr("enn_lib.graph.PAIRS_AT_A_TIME", 64)
    layer, counts = VectorGraphLayer(radial(), dtype=torch.float64), []
    for cells in (2, 4):
        positions, cell = crystal(cells)
        near = neighbours(positions, CUTOFF, cell)
        with Allocated() as allocated:
            layer(near)
        counts.append(allocated.count / len(positions))
    assert counts[1] < 1.1 * counts[0]


# Force fields


@every_field
@pytest.mark.parametrize("system", [crystal, slanted], ids=["wide", "narrow"])
def test_forces_turn_with_the_atoms_and_the_cell(make, system):
    positions, cell = system()
    for seed in range(4):
        turn = random_unitary(3, group="O", dtype=torch.float64, generator=generator(seed))
        turned = make(cell @ turn.T).forces(positions @ turn.T)
        torch.testing.assert_close(turned, make(cell).forces(positions) @ turn.T, atol=1e-12, rtol=0)


@every_field
@pytest.mark.parametrize(("group", "output_action"), [("S", "rows"), ("T", "invariant")])
def test_forces_follow_the_numbering_and_do_not_see_a_common_shift(make, group, output_action):
    positions, cell = slanted()
    options = {"group": group, "action": "rows", "output_action": output_action}
    assert_equivariant(make(cell).forces, positions, **options)


@every_field
def test_an_atom_may_be_replaced_by_its_image(make):
    positions, cell = crystal()
    moved = positions + torch.randint(-2, 3, (len(positions), 3), generator=generator()).to(cell) @ cell
    field = make(cell)
    torch.testing.assert_close(field.forces(moved), field.forces(positions), atol=1e-12, rtol=0)


@every_field
def test_another_choice_of_the_cell_changes_nothing(make):
    positions, cell = slanted()
    other = torch.tensor([[1, 0, 0], [3, 1, 0], [-1, 2, -1]], dtype=torch.float64) @ cell
    torch.testing.assert_close(
        make(other).forces(positions), make(cell).forces(positions), atol=1e-12, rtol=0
    )


@every_field
def test_eight_cells_side_by_side_have_the_forces_of_one(make):
    positions, cell = slanted()
    many, large = repeated(positions, cell, 2)
    expected = make(cell).forces(positions).repeat(8, 1)
    torch.testing.assert_close(make(large).forces(many), expected, atol=1e-12, rtol=0)
    if make is energy_field:
        energies = make(large).energy(many), 8 * make(cell).energy(positions)
        torch.testing.assert_close(*energies)


@every_field
@pytest.mark.parametrize("one_cell", [True, False])
def test_a_batch_is_its_systems_one_by_one(make, one_cell):
    positions, cell = torch.stack([slanted(seed)[0] for seed in range(3)]), slanted()[1]
    cells = [cell] * 3 if one_cell else [cell, 1.1 * cell, 2 * cell]
    expected = torch.stack([make(c).forces(r) for r, c in zip(positions, cells, strict=True)])
    batch = make(cell if one_cell else torch.stack(cells)).forces(positions)
    torch.testing.assert_close(batch, expected, atol=1e-12, rtol=0)


@every_field
def test_in_a_cell_that_no_neighbour_crosses_forces_are_those_of_free_space(make):
    positions = 2 * normal(6, 3)
    wide = make(100 * torch.eye(3, dtype=torch.float64))
    free = wide.in_cell(None)
    assert free.cell is None
    assert wide.cell is not None
    torch.testing.assert_close(wide.forces(positions), free.forces(positions), atol=1e-12, rtol=0)


@pytest.mark.parametrize("system", [crystal, slanted], ids=["wide", "narrow"])
def test_conservative_forces_are_the_slope_of_the_energy(system):
    positions, cell = system()
    atoms = ase.Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    atoms.calc = ENNCalculator(energy_field())
    few = [0, 3, 4]
    numerical = calculate_numerical_forces(atoms, eps=1e-4, iatoms=few)
    assert np.abs(numerical).max() > 1e-3
    np.testing.assert_allclose(atoms.get_forces()[few], numerical, atol=1e-8)


def test_conservative_forces_add_up_to_zero_and_direct_ones_do_not():
    positions, cell = crystal()
    assert energy_field(cell).forces(positions).sum(dim=0).abs().max() < 1e-12
    assert direct_field(cell).forces(positions).sum(dim=0).abs().max() > 1e-3


def test_the_energy_is_the_scalar_of_the_network_of_scaled_descriptors():
    positions, cell = slanted()
    m, s, t = normal(3, 4).unbind()
    made = energy_field(cell)
    field = EnergyForceField(made.layer, made.network, m, torch.stack((s, t)), 0.7, cell)
    vectors = VectorGraphLayer(radial(), dtype=torch.float64)(neighbours(positions, CUTOFF, cell))
    scalars = ScalarGraphLayer(radial(), dtype=torch.float64)(neighbours(positions, CUTOFF, cell))
    h = field.network(vectors / s, ((scalars - m) / t).unsqueeze(-2))[1]
    alone = field.network(torch.zeros(3, 4).double(), -(m / t).unsqueeze(0))[1]
    torch.testing.assert_close(field.energy(positions), 0.7 * (h - alone).sum())


def test_an_atom_alone_has_no_energy_and_the_density_of_a_perfect_crystal_changes_it():
    """In the crystal all vectors vanish: only the scalars know."""
    far = 50 * torch.eye(3, dtype=torch.float64)
    assert energy_field().energy(far) == 0
    assert energy_field(far).energy(far[:1]) == 0
    positions, cell = crystal(noise=0.0)
    dense, dilute = (energy_field(s * cell).energy(s * positions) for s in (0.98, 1.02))
    assert (dense - dilute).abs() > 1e-3


@every_field
def test_derivatives_of_forces_in_a_cell_are_right(make):
    positions, cell = slanted()
    assert torch.autograd.gradcheck(make(cell).forces, positions[:2].clone().requires_grad_(), atol=1e-6)


@every_field
@pytest.mark.parametrize("positions_too", [False, True])
def test_derivatives_in_the_cell_are_right(make, positions_too):
    positions, cell = slanted()
    positions.requires_grad_(positions_too)
    cell.requires_grad_()
    assert torch.autograd.gradcheck(lambda c: make(c).forces(positions), cell)
    if make is energy_field:
        assert torch.autograd.gradcheck(lambda c: make(c).energy(positions), cell)


@every_field
def test_inference_mode_changes_no_force(make):
    positions, cell = slanted()
    field = make(cell)
    expected = field.forces(positions)
    with torch.inference_mode():
        torch.testing.assert_close(field.forces(positions.clone()), expected)


@every_field
def test_forces_fade_where_a_neighbour_leaves_across_the_boundary(make):
    """Continuous, and so is their slope; a network that is not softened jumps."""
    cell = 12 * torch.eye(3, dtype=torch.float64)

    def force(distance):
        return make(cell).forces(torch.tensor([[0.1, 0, 0], [12.1 - distance, 0, 0]], dtype=torch.float64))

    step = 1e-3
    outside, edge, inside = (force(CUTOFF + k * step) for k in (1, 0, -1))
    assert (outside == 0).all()
    assert (inside - edge).abs().max() < 1e-6
    assert force(4.0).abs().max() > 1e-4


@every_field
def test_single_precision_agrees_with_double(make):
    positions, cell = crystal()
    high, low = make(cell), make(cell).to(torch.float32)
    assert low.network.dtype == torch.float32
    assert high.network.dtype == torch.float64
    expected = high.forces(positions)
    torch.testing.assert_close(low.forces(positions), expected, atol=1e-5, rtol=1e-4)
    single = low.forces(positions.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, atol=1e-5, rtol=1e-4)


@every_field
def test_no_gradients_are_kept(make):
    positions, cell = slanted()
    assert not make(cell).forces(positions).requires_grad


def test_dynamics_with_an_energy_keeps_it():
    positions, cell = crystal()
    velocities = thermal_velocities(1, len(positions), temperature=50)
    field = energy_field(cell)

    def spread(dt):
        path = simulate(field, positions[None], velocities, int(40 / dt), dt)
        energy = path.kinetic_energy()[:, 0] + field.energy(path.positions)[:, 0]
        return (energy - energy[0]).abs().max().item()

    assert spread(2.0) < 1e-3
    assert spread(1.0) < 0.4 * spread(2.0), "of second order in the time step"


# Trainings


def learned(fit, layer, network, **options):
    """Trained for a moment on another field of the same kind; the loss at the end over that at the start."""
    positions = torch.stack([crystal(seed=seed)[0] for seed in range(8)])
    cell = crystal()[1]
    forces = energy_field(cell).forces(positions)
    field, losses = fit(layer, network, positions, forces, cell=cell, **options)
    error = (field.forces(positions) - forces).square().mean() / forces.square().mean()
    return field, losses, error


def test_direct_forces_are_learned_in_a_cell():
    layer = VectorGraphLayer(radial(), dtype=torch.float64)
    network = biased_network((4, 8, 1), dtype=torch.float32, softening=0.5)
    field, losses, error = learned(fit_graph_force_field, layer, network, steps=200)
    assert error < 0.1 < losses[0]
    assert torch.equal(field.cell, crystal()[1])


def test_an_energy_is_learned_from_its_slope():
    layer = CombinedGraphLayer(radial(), dtype=torch.float64)
    network = ScalarFeatureENN((4, 8, 1), m=1, softening=0.5, dtype=torch.float32, generator=generator())
    field, losses, error = learned(fit_energy_force_field, layer, network, steps=100, learning_rate=0.02)
    assert error < 0.05 < losses[0]
    assert field.network.dtype == torch.float32
    assert torch.equal(field.cell, crystal()[1])


@pytest.mark.parametrize("kind", ["direct", "energy"])
def test_systems_of_several_cells_are_learned_from_together(kind):
    """The first loss is the mean over the systems, each in its own cell."""
    positions = torch.stack([slanted(seed)[0] for seed in range(3)])
    cells = torch.stack([scale * slanted()[1] for scale in (1.0, 1.1, 1.3)])
    forces = normal(3, 5, 3)
    if kind == "direct":
        parts = VectorGraphLayer(radial(), dtype=torch.float64), biased_network((4, 1), softening=0.5)
        fit, batch = fit_graph_force_field, 15
    else:
        options = {"softening": 0.5, "dtype": torch.float64, "generator": generator()}
        parts = CombinedGraphLayer(radial(), dtype=torch.float64), ScalarFeatureENN((4, 1), m=1, **options)
        fit, batch = fit_energy_force_field, 3
    field, (loss,) = fit(*parts, positions, forces, cell=cells, steps=1, batch_size=batch, learning_rate=0.0)
    errors = (field.forces(positions) - forces).square().mean() / forces.square().mean()
    assert loss == pytest.approx(errors.item())


def test_the_scales_of_vectors_are_root_mean_squares_and_those_of_scalars_standard_deviations():
    positions = torch.stack([crystal(seed=seed)[0] for seed in range(3)])
    layer, cell = CombinedGraphLayer(radial(), dtype=torch.float64), crystal()[1]
    network = ScalarFeatureENN((4, 1), m=1, softening=0.5)
    field, _ = fit_energy_force_field(layer, network, positions, normal(3, 32, 3), cell=cell, steps=1)
    vectors, scalars = layer(neighbours(positions, CUTOFF, cell)).split((3, 1), dim=-2)
    torch.testing.assert_close(field.means, scalars.mean(dim=(0, 1, 2)))
    torch.testing.assert_close(field.scales[0], vectors.square().mean(dim=(0, 1, 2)).sqrt())
    torch.testing.assert_close(field.scales[1], scalars.flatten(0, 2).std(dim=0))


# In ASE


def atoms_of(system, calculator):
    positions, cell = system
    atoms = ase.Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    atoms.calc = calculator
    return atoms


@every_field
def test_ase_gets_the_forces_of_the_cell_of_its_atoms_whatever_the_field_was_made_with(make):
    positions, cell = slanted()
    atoms = atoms_of((positions, cell), ENNCalculator(make(1.3 * cell)))
    np.testing.assert_allclose(atoms.get_forces(), make(cell).forces(positions).numpy(), atol=1e-12)
    atoms.set_cell(1.05 * atoms.cell.array, scale_atoms=False)
    stretched = make(1.05 * cell).forces(positions).numpy()
    np.testing.assert_allclose(atoms.get_forces(), stretched, atol=1e-12)
    atoms.pbc = False
    np.testing.assert_allclose(atoms.get_forces(), make().forces(positions).numpy(), atol=1e-12)


def test_dynamics_of_a_liquid_driven_by_ase_is_the_dynamics_of_this_package():
    positions, cell = crystal()
    velocities = thermal_velocities(1, len(positions), temperature=50)
    atoms = atoms_of((positions, cell), ENNCalculator(direct_field()))
    ours = simulate(direct_field(cell), positions[None], velocities, 20, 2.0, mass=39.948)
    atoms.set_masses([39.948] * len(atoms))
    atoms.set_velocities(velocities[0].numpy() / ase.units.fs)
    VelocityVerlet(atoms, 2 * ase.units.fs).run(20)
    np.testing.assert_allclose(atoms.positions, ours.positions[-1, 0].numpy(), atol=1e-9)


def test_atoms_that_are_periodic_along_some_axes_only_are_refused():
    atoms = atoms_of(slanted(), ENNCalculator(direct_field()))
    atoms.pbc = [True, True, False]
    with pytest.raises(ValueError, match=r"atoms: got pbc \[True, True, False\], wanted all three or none"):
        atoms.get_forces()


# Errors


EYE = torch.eye(3, dtype=torch.float64)
LONG = 300 * torch.tensor([[0, 0, 0], [1, 0, 0], [1, 0, 0]], dtype=torch.float64)
FLAT = torch.arange(1, 10, dtype=torch.float64).reshape(3, 3) / 10  # its determinant is 3e-18, by rounding


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: neighbours(EYE, 0.0), "cutoff: got 0.0, wanted a length above 1e-5 and below 1e9"),
        (lambda: neighbours(EYE, 1e-5), "cutoff: got 1e-05"),
        (lambda: neighbours(EYE, 1e9), "cutoff: got 1000000000.0"),
        (lambda: neighbours(EYE, torch.inf), "cutoff: got inf"),
        (lambda: neighbours(EYE, 10**400), "cutoff: got 1000"),
        (lambda: neighbours(EYE[0], 5.0), r"positions: got \(3,\), .*, wanted \(..., atoms, 3\)"),
        (lambda: neighbours(EYE.long(), 5.0), r"positions: got \(3, 3\), torch.int64, wanted .* real"),
        (lambda: neighbours((1e15 + 0.5) * EYE, 5.0), "positions: got .* at most 1e15"),
        (
            lambda: neighbours(6e4 * EYE, 5.0, 6 * EYE),
            "^positions: got atoms 10,000 cells away or more, wanted them nearer to the cell$",
        ),
        # These ended Python, or took no end.
        (lambda: neighbours(EYE, 5.0, EYE * torch.tensor([1e6, 5, 5])), "cell: got heights 1 to 2e"),
        (lambda: neighbours(EYE, 5.0, 1e200 * EYE), "cell: got .*, wanted vectors that span a volume"),
        (lambda: neighbours(EYE, 5.0, 1e100 * EYE), "cell: got heights .* cutoffs, wanted 0.05 to 300"),
        (lambda: neighbours(EYE, 5.0, 0.2 * EYE), "cell: got heights 0.04 to 0.04 cutoffs"),
        (lambda: neighbours(EYE, 1.0, 0.05 * EYE), "cell: got heights 0.05 to 0.05 cutoffs"),
        (lambda: neighbours(EYE, 1.0, 300 * EYE), "cell: got heights 300 to 300 cutoffs"),
        (lambda: neighbours(EYE, 1.0, EYE * 3 + LONG), "cell: got heights 0.0212 to 3 cutoffs"),
        (
            lambda: neighbours(EYE, 1.0, EYE + 1e5 / 300 * LONG),
            "cell: got .*, wanted vectors that span a volume",
        ),
        (
            lambda: neighbours(EYE[None], 1.0, (EYE + 1e5 / 300 * LONG)[None]),
            "cell: got .*, wanted vectors that span a volume",
        ),
        (lambda: direct_field(FLAT), "cell: got .*, wanted vectors that span a volume"),
        (lambda: neighbours(EYE.float(), 5.0, 1e-60 * EYE), "cell: got heights 2e-61 to"),
        (lambda: neighbours(EYE * torch.nan, 5.0), r"positions: got .*, finite"),
        (lambda: neighbours(EYE, 5.0, EYE[0]), r"cell: got shape \(3,\), wanted \(3, 3\)"),
        (lambda: neighbours(EYE, 5.0, EYE.expand(2, 3, 3)), r"cell: got shape \(2, 3, 3\), wanted \(3, 3\)"),
        (lambda: neighbours(EYE, 5.0, torch.ones(3, 3)), r"cell: got .*, wanted vectors that span a volume"),
        (lambda: neighbours(EYE, 5.0, EYE * torch.nan), r"cell: got .*, wanted vectors that span a volume"),
        (lambda: direct_field(EYE[0]), r"cell: got shape \(3,\)"),
        (lambda: energy_field(torch.zeros(3, 3)), r"cell: got .*, wanted vectors that span a volume"),
        (lambda: energy_field().in_cell(EYE[:2]), r"cell: got shape \(2, 3\)"),
        (lambda: energy_field(EYE).forces(EYE * torch.nan), "positions: got 9 entries that are NaN"),
        (
            lambda: EnergyForceField(
                CombinedGraphLayer(radial()),
                ScalarFeatureENN((4, 2), m=1),
                torch.ones(4),
                torch.ones(2, 4),
                1.0,
            ),
            r"network, means, scales: got widths \(4, 2\), m = 1",
        ),
        (
            lambda: EnergyForceField(
                CombinedGraphLayer(radial()), ScalarFeatureENN((4, 1), m=1), torch.ones(4), torch.ones(4), 1.0
            ),
            r"network, means, scales: .* \(4,\)\], wanted \(4, ..., 1\), m = 1, \(4,\) and \(2, 4\)",
        ),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_in_free_space_the_box_is_as_wide_as_the_atoms_wherever_they_are():
    assert len(neighbours(torch.tensor([[-30.0, 0, 0], [20, 0, 0]]), CUTOFF).i) == 0


def test_a_cell_may_be_small_in_the_unit_of_length():
    cell = 0.3 * EYE
    assert len(neighbours(0.1 * EYE[:1], 0.35, cell).i) == 3, "six images of the atom, each pair once"
    assert direct_field(cell).cell is cell


@pytest.mark.parametrize("spread", [1e-3, 4.0, 1e3, 1e7], ids=lambda x: f"{x:g}")
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 0, 0), (1, 1, 0)], ids=["all over", "in a line", "in a plane"]
)
def test_in_free_space_pairs_are_found_however_the_atoms_lie(spread, shape):
    positions = spread * normal(2, 30, 3) * torch.tensor(shape) + 1e6
    near = neighbours(positions, CUTOFF)
    distances = torch.cdist(positions, positions, compute_mode="donot_use_mm_for_euclid_dist").flatten()
    assert len(near.vectors) == ((distances < CUTOFF).sum() - 60) / 2


def test_a_cutoff_far_beyond_the_atoms_takes_them_all():
    assert len(neighbours(EYE, 1e8).vectors) == 3


@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 4, 3)])
@every_field
def test_without_atoms_there_are_no_forces(make, shape):
    for cell in (None, 6 * EYE):
        assert make(cell).forces(torch.zeros(shape).double()).shape == shape


def test_an_empty_neighbourhood_has_no_pairs_and_no_forces():
    cell = 50 * EYE
    near = neighbours(20 * EYE, CUTOFF, cell)
    assert isinstance(near, Neighbours)
    assert near.vectors.shape == (0, 3)
    assert (direct_field(cell).forces(20 * EYE) == 0).all()
    assert (energy_field(cell).forces(20 * EYE) == 0).all()
