"""Lennard-Jones argon (Eq. 38 to 40) and the data of sec. 4.1."""

import hashlib
import math

import ase
import numpy as np
import pytest
import scipy.constants
import torch
from ase.calculators.lj import LennardJones as AseLennardJones
from examples import OneDevice, generator
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.argon import (
    ARGON,
    ARGON_MASS,
    PAIRS,
    LennardJones,
    Scales,
    generate_data,
    largest_distance,
    relative_vectors,
    sample_positions,
    smallest_distance,
)
from enn_lib.groups import random_unitary

R_MINIMUM = 2 ** (1 / 6) * ARGON.r0


def pair_at(distance):
    """Two atoms on a line that is not an axis."""
    direction = torch.tensor([1.0, 2.0, 2.0], dtype=torch.float64) / 3
    return torch.stack([torch.zeros(3, dtype=torch.float64), distance * direction])


def cluster(n_atoms, seed=0):
    """A jittered cubic grid, so that no two atoms are close."""
    side = math.ceil(n_atoms ** (1 / 3))
    grid = torch.cartesian_prod(*[torch.arange(side, dtype=torch.float64)] * 3)[:n_atoms]
    return 3.8 * grid + 0.8 * torch.rand(n_atoms, 3, dtype=torch.float64, generator=generator(seed))


clusters = st.builds(cluster, st.integers(1, 9), st.integers(0, 2**31))


# The potential


def test_the_constants_are_those_of_the_paper():
    assert ARGON.r0 == 3.4
    assert ARGON.epsilon == pytest.approx(120 * scipy.constants.k / scipy.constants.e, rel=1e-6)
    assert ARGON_MASS == 39.948


def test_the_minimum_lies_at_the_sixth_root_of_two_times_r0():
    distances = torch.linspace(3.0, 6.0, 30_001, dtype=torch.float64)
    assert distances[ARGON.pair_energy(distances).argmin()].item() == pytest.approx(R_MINIMUM, abs=1e-4)
    torch.testing.assert_close(ARGON.forces(pair_at(R_MINIMUM)), torch.zeros(2, 3, dtype=torch.float64))


def test_the_well_is_epsilon_deep():
    assert ARGON.energy(pair_at(R_MINIMUM)).item() == pytest.approx(-ARGON.epsilon)


def test_the_energy_of_a_pair_is_zero_at_r0():
    assert ARGON.energy(pair_at(ARGON.r0)).item() == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize(("distance", "sign"), [(3.0, 1), (3.6, 1), (4.0, -1), (8.0, -1)])
def test_atoms_repel_inside_the_minimum_and_attract_outside(distance, sign):
    positions = pair_at(distance)
    away = (ARGON.forces(positions)[1] * (positions[1] - positions[0])).sum()
    assert away.sign() == sign


def test_a_pair_far_apart_attracts_as_the_inverse_seventh_power():
    near, far = (torch.linalg.vector_norm(ARGON.forces(pair_at(r))[0]) for r in (100.0, 200.0))
    assert (near / far).item() == pytest.approx(2**7, rel=1e-6)


@given(positions=clusters)
def test_the_force_is_minus_the_gradient_of_the_energy(positions):
    """Eq. 40, for any number of atoms."""
    (gradient,) = torch.autograd.grad(ARGON.energy(positions.requires_grad_()), positions)
    torch.testing.assert_close(ARGON.forces(positions.detach()), -gradient, rtol=1e-10, atol=1e-14)


@given(positions=clusters)
def test_net_force_and_net_torque_are_zero(positions):
    forces = ARGON.forces(positions)
    torque = torch.linalg.cross(positions, forces)
    size = forces.abs().max() * positions.abs().max()
    assert forces.sum(dim=0).abs().max() <= 1e-13 * size
    assert torque.sum(dim=0).abs().max() <= 1e-13 * size


@given(positions=clusters)
def test_ase_finds_the_same_energy_and_forces(positions):
    """ASE cuts its potential off and shifts it; at 10^4 Å both are below rounding."""
    lennard_jones = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    atoms = ase.Atoms(f"Ar{len(positions)}", positions.numpy(), calculator=lennard_jones)
    assert ARGON.energy(positions).item() == pytest.approx(atoms.get_potential_energy(), rel=1e-11)
    torch.testing.assert_close(
        ARGON.forces(positions), torch.from_numpy(atoms.get_forces()), rtol=1e-10, atol=1e-13
    )


def test_energy_and_forces_scale_with_epsilon_and_r0():
    positions = cluster(4)
    scaled = LennardJones(3 * ARGON.epsilon, 2 * ARGON.r0)
    torch.testing.assert_close(scaled.energy(2 * positions), 3 * ARGON.energy(positions))
    torch.testing.assert_close(scaled.forces(2 * positions), 1.5 * ARGON.forces(positions))


def test_a_batch_of_any_shape_is_the_single_results_put_together():
    positions = torch.stack([cluster(5, seed) for seed in range(6)])
    for method in (ARGON.energy, ARGON.forces):
        single = torch.stack([method(p) for p in positions])
        torch.testing.assert_close(method(positions.unflatten(0, (2, 3))), single.unflatten(0, (2, 3)))


def test_a_single_atom_feels_nothing():
    assert ARGON.energy(cluster(1)).item() == 0
    assert ARGON.forces(cluster(1)).tolist() == [[0.0, 0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_dtype_of_the_positions_is_kept(dtype):
    positions = cluster(4).to(dtype)
    assert ARGON.energy(positions).dtype == ARGON.forces(positions).dtype == dtype


NOT_FINITE = r"entries that are NaN, infinite or beyond 1e15, wanted finite ones \(Å\)"
NEARLY = "atoms 0 and 1 coincide, or nearly, wanted distinct positions"
COINCIDENT = torch.stack([cluster(4), cluster(4)[[0, 1, 2, 1]], cluster(4)])


@pytest.mark.parametrize("method", [ARGON.energy, ARGON.forces], ids=["energy", "forces"])
@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (COINCIDENT, "atoms 1 and 3 coincide, or nearly, wanted distinct positions"),
        (torch.tensor([[0.0, 0, 0], [1, math.nan, 0]]), f"got 1 {NOT_FINITE}"),
        (torch.tensor([[0.0, 0, math.nan], [1, math.inf, 0]]), f"got 2 {NOT_FINITE}"),
        (torch.tensor([[0.0, 0, 0], [1e160, 1e16, 0]]).double(), f"got 2 {NOT_FINITE}"),
        (torch.tensor([[0.0, 0, 0], [0, 1e-27, 0]]).double(), NEARLY),
        (torch.tensor([[0.0, 0, 0], [0, 1e-3, 0]]), NEARLY),
        (torch.ones(4, 2), r"got shape \(4, 2\), wanted \(..., atoms, 3\)"),
        (torch.ones(3), r"got shape \(3,\), wanted \(..., atoms, 3\)"),
        (torch.ones(3, 4), r"got shape \(3, 4\), wanted \(..., atoms, 3\)"),
        (torch.arange(6).reshape(2, 3), r"got torch\.int64, wanted a floating-point dtype"),
    ],
    ids=[
        "coincident",
        "NaN",
        "infinite",
        "far",
        "near",
        "near in float32",
        "in a plane",
        "without atoms",
        "as columns",
        "whole numbers",
    ],
)
def test_positions_that_are_none_are_refused(method, positions, message):
    error = ValueError if positions.is_floating_point() else TypeError
    with pytest.raises(error, match=f"^positions: {message}$"):
        method(positions)


# Relative vectors and scales


def test_the_relative_vectors_are_those_of_equation_41():
    """r_12, r_13, r_14, r_23, r_24, r_34 with r_ij = r_j - r_i."""
    r = cluster(4)
    expected = [r[1] - r[0], r[2] - r[0], r[3] - r[0], r[2] - r[1], r[3] - r[1], r[3] - r[2]]
    assert relative_vectors(r).equal(torch.stack(expected, dim=-1))
    assert PAIRS == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))


def test_the_relative_vectors_do_not_see_a_translation():
    r = cluster(4)
    torch.testing.assert_close(relative_vectors(r + torch.tensor([5.0, -3.0, 1.0])), relative_vectors(r))


def test_preparing_the_data_commutes_with_rotations():
    """The mistake of Steerable-E3-GNN issue 12: a transform of the data that breaks the symmetry."""
    part = generate_data(200).train
    q = random_unitary(3, group="O", dtype=torch.float64, generator=generator())
    rotated = type(part)(part.positions @ q.T, part.forces @ q.T)
    scales = Scales(4.5, 0.13)
    for name in ("inputs", "targets"):
        plain, turned = (getattr(p, name)(scales, torch.float64) for p in (part, rotated))
        torch.testing.assert_close(turned, q @ plain)


# The data of sec. 4.1


@pytest.fixture(scope="module")
def data():
    return generate_data()


@pytest.fixture(scope="module")
def all_positions(data):
    return torch.cat([part.positions for part in (data.train, data.validation, data.test)])


def test_a_hundred_thousand_configurations_are_split_60_20_20(data):
    assert (len(data.train), len(data.validation), len(data.test)) == (60_000, 20_000, 20_000)


def test_no_pair_is_closer_than_r_min(all_positions):
    assert smallest_distance(all_positions).min() >= 2.8


def test_the_positions_are_numpy_s_gaussians_without_the_rejected_ones(all_positions):
    """An independent rejection step in NumPy, which also counts: two thirds are accepted."""
    drawn = np.random.default_rng(2208).normal(0.0, 3.0, (30_000, 4, 3))
    difference = drawn[:, :, None] - drawn[:, None]
    distance = np.sqrt((difference**2).sum(-1))[:, *np.triu_indices(4, 1)]
    accepted = drawn[(distance >= 2.8).all(-1)]
    assert len(accepted) / len(drawn) == pytest.approx(0.667, abs=0.01)
    assert np.array_equal(all_positions[: len(accepted)].numpy(), accepted)


def test_the_data_are_the_same_on_every_machine(data, all_positions):
    """Rounded to 1e-5 Å and eV/Å, so that the last bits of a machine's arithmetic do not matter."""
    forces = torch.cat([part.forces for part in (data.train, data.validation, data.test)])
    digests = [
        hashlib.sha256((values * 1e5).round().long().numpy().astype("<i8").tobytes()).hexdigest()
        for values in (all_positions, forces)
    ]
    assert digests == [
        "80184d4c6b44e6e5c4df7ad615b81df4edfce3f54ad2da45e39889d94bc9f95c",
        "d345b0e43a05c82162701f0fda944345827c7e1a5de7b6ce253df6cb943b7ddd",
    ]


def test_the_first_configurations_do_not_depend_on_how_many_are_asked_for(all_positions):
    assert sample_positions(12_345, 2208).equal(all_positions[:12_345])


def test_another_seed_gives_other_configurations():
    assert not sample_positions(10, 1).equal(sample_positions(10, 2))


def test_the_forces_are_those_of_the_potential(data):
    assert data.test.forces.equal(ARGON.forces(data.test.positions))


def test_the_scales_are_one_number_each_of_the_training_part_alone(data):
    vectors, forces = relative_vectors(data.train.positions).numpy(), data.train.forces.numpy()
    assert isinstance(data.scales.position, float)
    assert isinstance(data.scales.force, float)
    assert data.scales.position == pytest.approx(vectors.std(), rel=1e-12)
    assert data.scales.force == pytest.approx(forces.std(), rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scaled_inputs_and_targets_have_standard_deviation_one(data, dtype):
    for scaled, columns in ((data.train.inputs, 6), (data.train.targets, 4)):
        values = scaled(data.scales, dtype)
        assert (values.shape, values.dtype) == ((60_000, 3, columns), dtype)
        assert values.std().item() == pytest.approx(1, rel=1e-4)


def test_the_inputs_are_the_relative_vectors_in_units_of_their_scale(data):
    """Eq. 41: column 4 is r_24."""
    inputs = data.test.inputs(data.scales, torch.float64) * data.scales.position
    torch.testing.assert_close(inputs[7, :, 4], data.test.positions[7, 3] - data.test.positions[7, 1])


def test_the_targets_are_the_forces_as_columns(data):
    """Eq. 42: column a is the force on atom a."""
    targets = data.test.targets(data.scales, torch.float64) * data.scales.force
    torch.testing.assert_close(targets[7, :, 2], data.test.forces[7, 2])


def test_whoever_changes_the_data_changes_them_for_nobody_else():
    first = generate_data(50, seed=4)
    first.train.positions.mul_(2)
    assert generate_data(50, seed=4).train.positions.equal(first.train.positions / 2)


def test_too_few_configurations_to_split_are_refused():
    with pytest.raises(ValueError, match=r"^n_configurations: got 4, wanted at least 5, to split 60/20/20$"):
        generate_data(4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_configurations": 0}, "n_configurations: got 0, wanted at least 1"),
        ({"sigma": 0.0}, "sigma, r_min: got 0.0, 2.8, wanted above 0 and at least 0 Å"),
        ({"sigma": -3.0}, "sigma, r_min: got -3.0, 2.8, wanted above 0 and at least 0 Å"),
        ({"sigma": math.nan}, "sigma, r_min: got nan, 2.8, wanted above 0 and at least 0 Å"),
        ({"r_min": -1.0}, "sigma, r_min: got 3.0, -1.0, wanted above 0 and at least 0 Å"),
        ({"r_min": 100.0}, "r_min: got 100.0 Å, which rejects all of 10000 configurations"),
        ({"n": 0}, "n: got 0, wanted a positive dimension"),
        ({"n_atoms": 1}, "n_atoms: got 1, wanted at least 2"),
    ],
)
def test_positions_that_cannot_be_drawn_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        sample_positions(**({"n_configurations": 5, "seed": 0} | options))


def test_without_a_smallest_distance_nothing_is_rejected():
    drawn = np.random.default_rng(3).normal(0.0, 0.5, (1, 2, 3))
    assert np.array_equal(sample_positions(1, 3, sigma=0.5, r_min=0, n_atoms=2).numpy(), drawn)


def test_five_configurations_can_be_split():
    data = generate_data(5, seed=1)
    assert (len(data.train), len(data.validation), len(data.test)) == (3, 1, 1)


@pytest.mark.parametrize(("n_atoms", "n"), [(7, 3), (4, 1), (4, 2), (4, 4)])
def test_any_number_of_atoms_can_be_drawn_in_any_dimension_and_none_are_close(n_atoms, n):
    positions = sample_positions(20, 0, n_atoms=n_atoms, n=n)
    assert positions.shape == (20, n_atoms, n)
    assert min(torch.pdist(p).min() for p in positions) >= 2.8


def test_forces_can_be_mapped_over_configurations_where_their_values_cannot_be_looked_at():
    positions = sample_positions(5, 1)
    torch.testing.assert_close(torch.vmap(ARGON.forces)(positions), ARGON.forces(positions))


def test_distances_are_computed_on_the_device_of_the_positions():
    with OneDevice():
        assert smallest_distance(torch.zeros(4, 3, device="meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("of_all", "of_one"),
    [(smallest_distance, torch.min), (largest_distance, torch.max)],
    ids=["smallest", "largest"],
)
def test_the_extreme_distances_of_many_configurations_or_one_are_those_of_pdist(of_all, of_one):
    positions = sample_positions(10, 1, n_atoms=5)
    expected = torch.stack([of_one(torch.pdist(p)) for p in positions])
    torch.testing.assert_close(of_all(positions), expected)
    torch.testing.assert_close(of_all(positions.reshape(2, 5, 5, 3)), expected.reshape(2, 5))
    torch.testing.assert_close(of_all(positions[3]), expected[3])
