"""Force fields of a liquid: pairs by least squares, a network beside them, and the symmetries of both."""

import pytest
import torch
from ase.build import bulk
from examples import generator, normal

from enn_book.lectures.liquid import AxilrodTeller, Sum, TruncatedLennardJones
from enn_book.models.liquid import (
    EnergyBesidePairs,
    ForcesBesidePairs,
    fit_beside_pairs,
    fit_pair_energy,
    without_network,
)
from enn_lib.activations import VectorSoftsign
from enn_lib.force_field import minus_gradient
from enn_lib.graph import CombinedGraphLayer, GaussianRadial
from enn_lib.groups import assert_equivariant

RADIAL = GaussianRadial.geometric(16, 2.8, 8.0)
CRYSTAL = bulk("Ar", "fcc", a=5.75, cubic=True) * (2, 2, 2)
CELL = torch.from_numpy(CRYSTAL.cell.array)
PAIRS = TruncatedLennardJones(CELL)
THREES = AxilrodTeller(CELL, cutoff=5.7, onset=4.5, nu=300.0)

both_kinds = pytest.mark.parametrize("kind", [EnergyBesidePairs, ForcesBesidePairs])


def snapshots(count):
    places = torch.from_numpy(CRYSTAL.positions)
    return places + 0.2 * normal(count, *places.shape)


def rms(x):
    return x.square().mean().sqrt().item()


def fitted(kind, target, steps):
    network = kind(
        (16, 16, 1),
        m=1,
        softening=0.3,
        activation=VectorSoftsign(1.0),
        dtype=torch.float64,
        generator=generator(),
    )
    positions = snapshots(24)
    options = {"cell": CELL, "steps": steps, "batch_size": 4 if kind is EnergyBesidePairs else 64}
    return fit_beside_pairs(network, RADIAL, positions, target.forces(positions), **options)


def test_an_energy_of_pairs_is_found_by_least_squares_and_misses_only_the_threes():
    positions = snapshots(12)
    layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)

    def missed(potential):
        forces = potential.forces(positions)
        field = fit_pair_energy(layer, positions[:10], forces[:10], cell=CELL)
        assert field.forces(positions).sum(dim=1).abs().max() < 1e-10
        return rms(field.forces(positions[10:]) - forces[10:])

    assert missed(PAIRS) < 0.02 * rms(PAIRS.forces(positions))
    assert missed(THREES) > 0.1 * rms(THREES.forces(positions))


@both_kinds
def test_without_the_network_the_pairs_are_left(kind):
    whole, positions = fitted(kind, PAIRS, 1), snapshots(30)[24:]
    before, field = whole.forces(positions), without_network(whole)
    torch.testing.assert_close(whole.forces(positions), before, msg="the original is left as it was")
    assert not field.forces(positions).equal(before)
    assert rms(field.forces(positions) - PAIRS.forces(positions)) < 0.02 * rms(PAIRS.forces(positions))


@both_kinds
def test_the_network_learns_what_pairs_miss(kind):
    target = Sum((PAIRS, THREES))
    positions = snapshots(30)[24:]
    errors = [
        rms(fitted(kind, target, steps).forces(positions) - target.forces(positions)) for steps in (1, 400)
    ]
    assert errors[1] < 0.85 * errors[0]


@both_kinds
def test_training_leaves_the_readout_alone(kind):
    first, later = (fitted(kind, PAIRS, steps).network.readout for steps in (1, 3))
    torch.testing.assert_close(first, later, rtol=1e-10, atol=0)
    assert first.abs().min() > 0


def test_the_forces_beside_pairs_are_the_slope_of_the_energy():
    field, positions = fitted(EnergyBesidePairs, THREES, 3), snapshots(1)
    torch.testing.assert_close(field.forces(positions), minus_gradient(field.energy, positions))


@both_kinds
@pytest.mark.parametrize(("group", "output_action"), [("O", "rows"), ("S", "rows"), ("T", "invariant")])
def test_the_field_beside_pairs_keeps_the_symmetries_in_free_space(kind, group, output_action):
    field = fitted(kind, Sum((PAIRS, THREES)), 3).in_cell(None)
    options = {"group": group, "action": "rows", "output_action": output_action}
    assert_equivariant(field.forces, 3.0 * normal(5, 3), **options)
