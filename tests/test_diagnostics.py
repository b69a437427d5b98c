"""The physicist's eye on single configurations: forces with a known fault show it, right ones show none."""

import pytest
import torch

from enn_lib.argon import ARGON, generate_data, largest_distance, sample_positions
from enn_lib.diagnostics import TrainingRange, diagnose, net_force, net_torque


@pytest.fixture(scope="module")
def positions():
    return sample_positions(30, seed=7)


class Linear:
    """Forces ``r @ A``: the Jacobian of every atom is the transpose of A."""

    def __init__(self, matrix):
        self.matrix = torch.tensor(matrix, dtype=torch.float64)

    def forces(self, positions):
        return positions @ self.matrix


def test_the_analytic_forces_have_no_fault(positions):
    seen = diagnose(ARGON, positions)
    assert seen.share_median < 1e-6
    assert seen.share_together < 1e-6
    assert seen.net_force < 1e-12
    assert seen.net_torque < 1e-12


@pytest.mark.parametrize(
    ("matrix", "share"),
    [
        ([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], 1.0),  # a vortex: nothing but curl
        ([[-2.0, 0.0, 0.0], [0.0, -3.0, 0.0], [0.0, 0.0, -1.0]], 0.0),  # springs
        ([[1.0, 1.0, 0.0], [-1.0, 1.0, 0.0], [0.0, 0.0, 0.0]], 0.5**0.5),  # half of the square each
    ],
)
def test_the_antisymmetric_share_of_a_linear_force_is_that_of_its_matrix(matrix, share, positions):
    seen = diagnose(Linear(matrix), positions)
    assert seen.share_median == pytest.approx(share, abs=1e-8)
    assert seen.share_together == pytest.approx(share, abs=1e-8)


def test_close_pairs_rule_the_share_of_all_configurations_together():
    class Mixed:
        """Springs where x of the first atom is positive, a vortex a hundred times weaker elsewhere."""

        def forces(self, positions):
            vortex = Linear([[0.0, 0.01, 0.0], [-0.01, 0.0, 0.0], [0.0, 0.0, 0.0]]).forces(positions)
            return torch.where(positions[..., :1, :1] > 0, -positions, vortex)

    positions = sample_positions(9, seed=0)
    positions[:, 0, 0] = torch.tensor([1.0] * 3 + [-1.0] * 6)
    seen = diagnose(Mixed(), positions)
    assert seen.share_median == pytest.approx(1)
    assert seen.share_together < 0.02


def test_the_net_force_is_the_sum_and_the_torque_has_the_lever(positions):
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
    assert known.shortest == pytest.approx(torch.pdist(train.positions[0]).min().item(), abs=3)
    distances = torch.stack([torch.pdist(p) for p in train.positions])
    assert (known.shortest, known.longest) == pytest.approx((distances.min().item(), distances.max().item()))


def test_a_closer_or_a_farther_pair_is_outside_and_it_is_said_which():
    known = TrainingRange(shortest=2.8, longest=10.0)
    square = torch.tensor([[0.0, 0, 0], [4, 0, 0], [4, 4, 0], [0, 4, 0]], dtype=torch.float64)
    near, far = square.clone(), square.clone()
    near[1, 0] = 2.0
    far[1, 0] = 11.0
    batch = torch.stack((square, near, far))
    assert known.too_close(batch).tolist() == [False, True, False]
    assert known.too_far(batch).tolist() == [False, False, True]
    assert known.outside(batch).tolist() == [False, True, True]
    assert largest_distance(square).item() == pytest.approx(32**0.5)


def test_a_lost_sample_is_too_far_and_not_too_close():
    known = TrainingRange(shortest=2.8, longest=10.0)
    lost = torch.full((2, 4, 3), torch.nan, dtype=torch.float64)
    assert known.too_far(lost).all()
    assert not known.too_close(lost).any()


def test_a_wrong_shape_is_named():
    with pytest.raises(ValueError, match=r"positions: got shape \(4, 2\)"):
        TrainingRange(1.0, 2.0).outside(torch.zeros(4, 2))
