"""The networks for ammonia: their symmetries, and what the scalar features are."""

import pytest
import torch
from examples import normal, stirred

from enn_book.lectures.diagnostics import force_jacobian
from enn_book.studies.molecule import models
from enn_book.studies.molecule.ammonia import HYDROGENS
from enn_book.studies.molecule.models import PAIR_KINDS, VARIANTS, as_force_field, build_variant
from enn_lib.argon import Scales, relative_vectors
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN

every_variant = pytest.mark.parametrize("name", VARIANTS)


@pytest.fixture(scope="module")
def positions(data):
    return data.test.positions[::100]


@pytest.fixture
def field(name, data):
    """A model of which no parameter is zero, as a force field in float64."""
    return as_force_field(name, stirred(build_variant(name)), data.scales)


@every_variant
def test_forces_turn_with_the_molecule_and_do_not_feel_where_it_is(field, positions):
    assert field.forces(positions).abs().max() > 0.01
    assert_equivariant(field.forces, positions, group="O", action="rows")
    assert_equivariant(field.forces, positions, group="T", action="rows", output_action="invariant")


@every_variant
def test_hydrogens_are_alike_where_they_are_averaged_over(name, field, positions):
    forces = field.forces(positions)
    for g in HYDROGENS[1:]:
        same = torch.allclose(field.forces(positions[:, g]), forces[:, g], rtol=0, atol=1e-10)
        assert same == VARIANTS[name].average


@every_variant
def test_nitrogen_is_no_hydrogen(field, positions):
    swapped = torch.tensor([1, 0, 2, 3])
    assert not torch.allclose(field.forces(positions[:, swapped]), field.forces(positions)[:, swapped])


@pytest.mark.parametrize("name", [name for name in VARIANTS if name != "springs"])
def test_the_models_have_about_as_many_parameters(name):
    assert 16_000 < sum(p.numel() for p in build_variant(name).parameters()) < 19_000


def test_the_kinds_of_pairs_are_two_and_permuting_hydrogens_keeps_them():
    assert models.KINDS == (("H", "H"), ("H", "N"))
    assert PAIR_KINDS.tolist() == [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]]


@pytest.mark.parametrize("distances", [False, True])
def test_the_scalar_features_are_the_kinds_and_if_wanted_the_distances(distances, positions):
    net = models.SpeciesENN((5,), distances=distances, dtype=torch.float64)
    x = relative_vectors(positions)
    rows = [PAIR_KINDS.double().expand(len(x), -1, -1)]
    if distances:
        rows.append(x.norm(dim=-2, keepdim=True))
    torch.testing.assert_close(net(x), net.network(x, torch.cat(rows, dim=-2))[0])


def test_one_layer_is_springs(data):
    """k (r - r0) along every bond, equal and opposite: W and b of Eq. 6 are all it takes."""
    stiffness, rest = torch.tensor([40.0, 5.0]).double(), torch.tensor([1.02, 1.6]).double()
    kind = torch.tensor([0, 0, 0, 1, 1, 1])  # N-H, then H-H
    layer = ENN((6, 4), dtype=torch.float64)
    with torch.no_grad():
        layer.layers[0].stacked.zero_()
        for k, (i, j) in enumerate([(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]):
            for atom, sign in ((i, 1), (j, -1)):
                layer.layers[0].weight[k, atom] = sign * stiffness[kind[k]]
                layer.layers[0].bias[k, atom] = -sign * stiffness[kind[k]] * rest[kind[k]]
    r = data.test.positions[:5].clone().requires_grad_()
    x = relative_vectors(r)
    energy = (0.5 * stiffness[kind] * (x.norm(dim=-2) - rest[kind]) ** 2).sum()
    (slope,) = torch.autograd.grad(energy, r)
    torch.testing.assert_close(layer(x).mT, -slope)


@pytest.mark.parametrize("name", ["energy", "species-softened"])
def test_an_energy_model_has_a_symmetric_jacobian_and_the_others_have_not(name, field, positions):
    jacobian = force_jacobian(field, positions)
    asymmetry = (jacobian - jacobian.mT).norm() / jacobian.norm()
    assert asymmetry < 1e-6 if name == "energy" else asymmetry > 1e-3


def test_the_forces_of_an_energy_are_its_slope(positions):
    net = models.SpeciesEnergyENN((6, 5), softening=0.3, dtype=torch.float64)
    r = positions.clone().requires_grad_()
    (slope,) = torch.autograd.grad(net.energy(relative_vectors(r)).sum(), r)
    torch.testing.assert_close(net(relative_vectors(positions)).mT, -slope)
    turned = positions @ torch.linalg.qr(normal(3, 3)).Q
    torch.testing.assert_close(net.energy(relative_vectors(turned)), net.energy(relative_vectors(positions)))


def test_the_same_seed_makes_the_same_network_and_another_another():
    one, same, other = (build_variant("species", seed).state_dict() for seed in (3, 3, 4))
    assert all(one[name].equal(same[name]) for name in one)
    assert not all(one[name].equal(other[name]) for name in one)


def test_an_unknown_model_is_named():
    with pytest.raises(ValueError, match="variant: got 'schnet', wanted one of springs"):
        build_variant("schnet")


def test_in_units_positions_go_in_scaled_and_forces_come_out_scaled(positions):
    model = stirred(build_variant("species-alone"))
    field = as_force_field("species-alone", model, Scales(2.0, 3.0))
    wanted = 3.0 * model(relative_vectors(positions) / 2.0).mT.detach()
    torch.testing.assert_close(field.forces(positions), wanted)
