"""Permutation symmetry (sec. 3.5): relabelling, and the average over S4."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.argon import ARGON, Scales, relative_vectors, sample_positions
from enn_lib.force_field import NetworkForceField
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN
from enn_lib.permutation import S4, PermutationAverage, relabel

every_permutation = pytest.mark.parametrize("g", range(24))


@pytest.fixture(scope="module")
def positions():
    return sample_positions(20, seed=5)


@pytest.fixture(scope="module")
def force_field():
    """An untrained network, which knows nothing of permutations."""
    net = ENN((6, 9, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for layer in net.layers:
            layer.bias.normal_(generator=torch.Generator().manual_seed(1))
    return NetworkForceField(net, Scales(4.5, 0.13))


def test_there_are_24_different_permutations_and_the_first_is_the_identity():
    assert len({tuple(g) for g in S4.tolist()}) == 24
    assert all(sorted(g) == [0, 1, 2, 3] for g in S4.tolist())
    assert S4[0].tolist() == [0, 1, 2, 3]


@every_permutation
def test_relabelled_inputs_are_the_relative_vectors_of_the_relabelled_atoms(g, positions):
    forces = ARGON.forces(positions)
    inputs, targets = relabel(relative_vectors(positions), forces.transpose(-1, -2), g)
    assert inputs.equal(relative_vectors(positions[:, S4[g]]))
    assert targets.equal(forces[:, S4[g]].transpose(-1, -2))


@every_permutation
def test_relabelled_targets_are_the_forces_of_the_relabelled_atoms(g, positions):
    """The symmetry itself: what relabelling promises to the training."""
    _, targets = relabel(relative_vectors(positions), ARGON.forces(positions).transpose(-1, -2), g)
    torch.testing.assert_close(targets.transpose(-1, -2), ARGON.forces(positions[:, S4[g]]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relabelling_keeps_the_dtype(dtype, positions):
    inputs, targets = relabel(relative_vectors(positions).to(dtype), torch.zeros(20, 3, 4, dtype=dtype), 7)
    assert inputs.dtype == targets.dtype == dtype


@every_permutation
def test_the_average_commutes_with_every_permutation_to_rounding(g, positions, force_field):
    average = PermutationAverage(force_field)
    torch.testing.assert_close(
        average.forces(positions[:, S4[g]]), average.forces(positions)[:, S4[g]], rtol=0, atol=1e-14
    )


def test_the_network_alone_does_not_commute_with_permutations(positions, force_field):
    """Else the test above would say nothing."""
    plain = force_field.forces(positions)
    differences = [(force_field.forces(positions[:, g]) - plain[:, g]).abs().max() for g in S4[1:]]
    assert min(differences) > 1e-3


def test_the_average_is_the_sum_over_the_group_written_out(positions, force_field):
    """(1/24) sum over g of g^-1 F(g r), one permutation at a time."""
    total = torch.zeros_like(positions)
    for g in S4:
        relabelled = force_field.forces(positions[:, g])
        back = torch.empty_like(relabelled)
        for a in range(4):
            back[:, g[a]] = relabelled[:, a]
        total += back
    torch.testing.assert_close(PermutationAverage(force_field).forces(positions), total / 24)


def test_the_average_of_a_symmetric_force_field_is_the_force_field(positions):
    torch.testing.assert_close(PermutationAverage(ARGON).forces(positions), ARGON.forces(positions))


def test_the_average_is_still_equivariant_under_rotations(positions, force_field):
    assert_equivariant(PermutationAverage(force_field).forces, positions, group="O", action="rows")


@given(seed=st.integers(0, 2**31))
def test_averaging_never_makes_the_error_larger(seed):
    """The true forces are symmetric, so the average projects the error (Jensen)."""
    net = ENN((6, 4, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    field = NetworkForceField(net, Scales(4.5, 0.13))
    positions = sample_positions(3, seed=seed)
    positions = positions[:, S4].flatten(0, 1)
    truth = ARGON.forces(positions)
    averaged = (PermutationAverage(field).forces(positions) - truth).square().mean()
    assert averaged <= (field.forces(positions) - truth).square().mean() * (1 + 1e-12)


def test_a_batch_of_any_shape_is_the_single_results_put_together(positions, force_field):
    average = PermutationAverage(force_field)
    single = torch.stack([average.forces(p) for p in positions])
    torch.testing.assert_close(average.forces(positions.reshape(4, 5, 4, 3)).reshape(20, 4, 3), single)


def test_another_number_of_atoms_is_refused(force_field):
    with pytest.raises(ValueError, match=r"positions: got shape \(5, 3\), wanted \(..., 4, 3\)"):
        PermutationAverage(force_field).forces(torch.ones(5, 3))


def test_positions_that_are_not_finite_are_refused(force_field, positions):
    broken = positions.clone()
    broken[3, 2, 1] = float("nan")
    with pytest.raises(ValueError, match="positions: got 1 entries that are NaN or infinite"):
        PermutationAverage(force_field).forces(broken)


def test_over_a_smaller_group_it_commutes_with_that_group_alone(positions, force_field):
    """Three like atoms beside another one, as in ammonia: six numberings."""
    group = S4[S4[:, 0] == 0]
    field = PermutationAverage(force_field, group)
    for g in (*group, S4[-1]):
        moved, same = field.forces(positions[:, g]), field.forces(positions)[:, g]
        assert torch.allclose(moved, same, rtol=0, atol=1e-12) == (g[0] == 0)


def test_over_the_identity_alone_it_is_the_force_field(positions, force_field):
    assert PermutationAverage(force_field, S4[:1]).forces(positions).equal(force_field.forces(positions))
