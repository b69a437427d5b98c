"""Permutation symmetry (sec. 3.5): relabelling, and the average over S4 (see also test_force_field.py)."""

import pytest
import torch
from examples import OneDevice, biased_network, generator
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.argon import ARGON, Scales, relative_vectors, sample_positions
from enn_lib.force_field import NetworkForceField
from enn_lib.network import ENN
from enn_lib.permutation import S4, PermutationAverage, _pair_action, relabel

SCALES = Scales(4.5, 0.13)
every_permutation = pytest.mark.parametrize("g", range(24))


@pytest.fixture(scope="module")
def positions():
    return sample_positions(20, seed=5)


@pytest.fixture(scope="module")
def force_field():
    """An untrained network, which knows nothing of permutations."""
    return NetworkForceField(biased_network((6, 9, 4)), SCALES)


@pytest.fixture(scope="module")
def average(force_field):
    return PermutationAverage(force_field)


def test_there_are_24_different_permutations_and_the_first_is_the_identity():
    assert len({tuple(g) for g in S4.tolist()}) == 24
    assert all(sorted(g) == [0, 1, 2, 3] for g in S4.tolist())
    assert S4[0].tolist() == [0, 1, 2, 3]


@every_permutation
def test_relabelled_data_are_those_of_the_relabelled_atoms(g, positions):
    """The symmetry of the forces itself: what relabelling promises to the training."""
    forces, moved = ARGON.forces(positions), positions[:, S4[g]]
    inputs, targets = relabel(relative_vectors(positions), forces.mT, g)
    assert inputs.equal(relative_vectors(moved))
    assert targets.equal(forces[:, S4[g]].mT)
    torch.testing.assert_close(targets.mT, ARGON.forces(moved))


def test_each_permutation_carries_every_relative_vector_to_another_or_to_its_opposite(positions):
    """The tables that relabelling reads, made anew."""
    columns, signs = _pair_action()
    for g in range(24):
        moved = relative_vectors(positions[:, S4[g]])
        assert moved.equal(relative_vectors(positions)[..., columns[g]] * signs[g])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relabelling_keeps_the_dtype(dtype, positions):
    inputs, targets = relabel(relative_vectors(positions).to(dtype), torch.zeros(20, 3, 4, dtype=dtype), 7)
    assert inputs.dtype == targets.dtype == dtype


@every_permutation
def test_the_average_commutes_with_every_permutation_to_rounding(g, positions, average):
    moved, same = average.forces(positions[:, S4[g]]), average.forces(positions)[:, S4[g]]
    torch.testing.assert_close(moved, same, rtol=0, atol=1e-14)


def test_the_network_alone_does_not_commute_with_permutations(positions, force_field):
    """Else the test above would say nothing."""
    plain = force_field.forces(positions)
    differences = [(force_field.forces(positions[:, g]) - plain[:, g]).abs().max() for g in S4[1:]]
    assert min(differences) > 1e-3


def test_the_average_is_the_sum_over_the_group_written_out(positions, force_field, average):
    """(1/24) sum over g of g^-1 F(g r), one permutation at a time."""
    total = torch.zeros_like(positions)
    for g in S4:
        relabelled = force_field.forces(positions[:, g])
        for a in range(4):
            total[:, g[a]] += relabelled[:, a]
    torch.testing.assert_close(average.forces(positions), total / 24)


def test_the_average_of_a_symmetric_force_field_is_the_force_field(positions):
    torch.testing.assert_close(PermutationAverage(ARGON).forces(positions), ARGON.forces(positions))


@given(seed=st.integers(0, 2**31))
def test_averaging_never_makes_the_error_larger(seed):
    """The true forces are symmetric, so the average projects the error (Jensen)."""
    field = NetworkForceField(ENN((6, 4, 4), dtype=torch.float64, generator=generator(seed)), SCALES)
    positions = sample_positions(3, seed=seed)[:, S4].flatten(0, 1)
    truth = ARGON.forces(positions)
    averaged = (PermutationAverage(field).forces(positions) - truth).square().mean()
    assert averaged <= (field.forces(positions) - truth).square().mean() * (1 + 1e-12)


def test_over_a_smaller_group_it_commutes_with_that_group_alone(positions, force_field):
    """Three like atoms beside another one, as in ammonia: six numberings."""
    group = S4[S4[:, 0] == 0]
    field = PermutationAverage(force_field, group)
    for g in (*group, S4[-1]):
        moved, same = field.forces(positions[:, g]), field.forces(positions)[:, g]
        assert torch.allclose(moved, same, rtol=0, atol=1e-12) == (g[0] == 0)


def test_over_the_identity_alone_it_is_the_force_field(positions, force_field):
    assert PermutationAverage(force_field, S4[:1]).forces(positions).equal(force_field.forces(positions))


def test_atoms_are_renumbered_on_the_device_where_they_are():
    inputs, targets = torch.zeros(2, 3, 6, device="meta"), torch.zeros(2, 3, 4, device="meta")
    with OneDevice():
        assert {t.device.type for t in relabel(inputs, targets, 5)} == {"meta"}
