"""The physicist's eye on single configurations: forces with a known fault show it, right ones show none."""

from types import SimpleNamespace

import pytest
import torch
from examples import generator, normal

from enn_book.lectures.diagnostics import (
    TrainingRange,
    antisymmetric_share,
    force_jacobian,
    net_force,
    net_torque,
)
from enn_book.models.energy import EnergyENN, EnergyForceField
from enn_lib.argon import ARGON, Scales, generate_data, largest_distance, sample_positions
from enn_lib.force_field import NetworkForceField
from enn_lib.groups import random_unitary
from enn_lib.network import ENN

KNOWN = TrainingRange(shortest=2.8, longest=10.0)


@pytest.fixture(scope="module")
def positions():
    return sample_positions(30, seed=7)


def linear(matrix):
    """Forces ``r @ A``: the Jacobian of every atom is the transpose of A."""
    return SimpleNamespace(forces=lambda r: r @ torch.tensor(matrix, dtype=torch.float64))


def test_the_jacobian_of_a_potential_is_minus_its_hessian():
    """Autograd's second derivatives as the oracle."""
    positions = sample_positions(2, 3)
    jacobian = force_jacobian(ARGON, positions)
    for k in range(2):
        hessian = torch.autograd.functional.hessian(ARGON.energy, positions[k])
        torch.testing.assert_close(jacobian[k], -hessian.reshape(12, 12), atol=1e-6, rtol=1e-5)


def test_the_jacobian_of_linear_forces_is_their_matrix_not_its_transpose():
    matrix = normal(6, 6)
    coupled = SimpleNamespace(forces=lambda r: (r.flatten(-2) @ matrix.mT).unflatten(-1, r.shape[-2:]))
    torch.testing.assert_close(force_jacobian(coupled, normal(4, 2, 3)), matrix.expand(4, 6, 6))


def test_the_share_is_zero_for_symmetric_and_one_for_antisymmetric_jacobians():
    a = normal(5, 6, 6)
    assert antisymmetric_share(a + a.mT).abs().max() < 1e-15
    torch.testing.assert_close(antisymmetric_share(a - a.mT), torch.ones(5, dtype=torch.float64))


def test_the_share_does_not_depend_on_the_axes():
    a = normal(6, 6)
    q = random_unitary(6, group="O", dtype=torch.float64, generator=generator())
    torch.testing.assert_close(antisymmetric_share(q @ a @ q.mT), antisymmetric_share(a))


def test_forces_of_an_energy_have_no_antisymmetric_share_and_those_of_a_network_do():
    positions, scales = sample_positions(4, 0), Scales(position=4.5, force=0.13)
    model = EnergyENN((6, 8, 5), 4, softening=0.3, dtype=torch.float64, seed=1)
    assert antisymmetric_share(force_jacobian(EnergyForceField(model, scales), positions)).max() < 1e-6
    network = ENN((6, 8, 4), dtype=torch.float64, generator=generator())
    assert antisymmetric_share(force_jacobian(NetworkForceField(network, scales), positions)).min() > 0.01


def test_single_precision_positions_are_refused_for_differences():
    with pytest.raises(TypeError, match=r"wanted torch\.float64"):
        force_jacobian(ARGON, sample_positions(1, 0).float())


def test_the_analytic_forces_have_no_fault(positions):
    forces = ARGON.forces(positions)
    assert antisymmetric_share(force_jacobian(ARGON, positions)).max() < 1e-6
    assert net_force(forces).max() < 1e-12
    assert net_torque(positions, forces).max() < 1e-12


@pytest.mark.parametrize(
    ("matrix", "share"),
    [
        ([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 1.0),  # a vortex: nothing but curl
        ([[-2.0, 0.0, 0.0], [0.0, -3.0, 0.0], [0.0, 0.0, -1.0]], 0.0),  # springs
        ([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 0.5**0.5),  # half of the square each
    ],
)
def test_the_antisymmetric_share_of_a_linear_force_is_that_of_its_matrix(matrix, share, positions):
    found = antisymmetric_share(force_jacobian(linear(matrix), positions))
    torch.testing.assert_close(found, torch.full_like(found, share), atol=1e-8, rtol=0)


def test_the_net_force_is_the_sum_and_the_torque_has_the_lever():
    forces = torch.zeros(4, 3, dtype=torch.float64)
    forces[0, 1], forces[1, 1] = 2.0, -2.0  # a couple: two opposite forces
    arms = torch.zeros(4, 3, dtype=torch.float64)
    arms[0, 0], arms[1, 0] = 1.5, -1.5
    assert net_force(forces).item() == 0
    assert net_torque(arms, forces).item() == pytest.approx(6)
    assert net_torque(arms + 10, forces).item() == pytest.approx(6), "a couple has no place"
    assert net_force(forces + 1).item() == pytest.approx(4 * 3**0.5)


def test_the_torque_is_about_the_centre_of_the_atoms(positions):
    """A push on all of them alike turns nothing, wherever they are."""
    push = torch.ones_like(positions)
    assert net_torque(positions + 5, push).max() < 1e-12


def test_no_training_configuration_is_outside_the_training_range():
    train = generate_data(200).train
    known = TrainingRange.of(train)
    assert not known.outside(train.positions).any()
    distances = torch.stack([torch.pdist(p) for p in train.positions])
    assert (known.shortest, known.longest) == pytest.approx((distances.min().item(), distances.max().item()))


def test_a_closer_or_a_farther_pair_is_outside_and_it_is_said_which():
    square = torch.tensor([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], dtype=torch.float64)
    near, far = square.clone(), square.clone()
    near[1, 0] = 2.0
    far[1, 0] = 11.0
    batch = torch.stack((square, near, far))
    assert KNOWN.too_close(batch).tolist() == [False, True, False]
    assert KNOWN.too_far(batch).tolist() == [False, False, True]
    assert KNOWN.outside(batch).tolist() == [False, True, True]
    assert largest_distance(square).item() == pytest.approx(32**0.5)


def test_a_lost_sample_is_too_far_and_not_too_close():
    lost = torch.full((2, 4, 3), torch.nan, dtype=torch.float64)
    assert KNOWN.too_far(lost).all()
    assert not KNOWN.too_close(lost).any()


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"positions: got shape \(4, 2\)"):
        KNOWN.outside(torch.zeros(4, 2))
