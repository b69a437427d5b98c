"""Networks seen as a source of forces: of four atoms, and of any number."""

import re
from copy import deepcopy

import pytest
import torch
from examples import OneDevice, biased_network, generator, with_biases

from enn_lib.activations import VectorSoftsign
from enn_lib.argon import ARGON, Scales, sample_positions
from enn_lib.force_field import EnergyForceField, ForceField, GraphForceField, NetworkForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN
from enn_lib.permutation import PermutationAverage
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.training import fit_graph_force_field

SCALES = Scales(position=4.5, force=0.13)


def make(**options):
    return NetworkForceField(biased_network((6, 7, 4), activation=VectorSoftsign(0.3), **options), SCALES)


def make_graph_field():
    layer = VectorGraphLayer(GaussianRadial([0.5, 0.5], [3.0, 4.0], 6.0))
    network = biased_network((2, 5, 1), activation=VectorSoftsign(0.3), softening=0.3)
    return GraphForceField(layer, network, torch.ones(2), 0.13)


def make_energy_field(dtype=torch.float64):
    layer = CombinedGraphLayer(GaussianRadial([0.5, 0.5], [3.0, 4.0], 6.0))
    options = {"softening": 0.3, "dtype": dtype, "generator": generator(1)}
    network = with_biases(ScalarFeatureENN((2, 5, 1), m=1, activation=VectorSoftsign(0.3), **options))
    return EnergyForceField(layer, network, torch.ones(2), 2 * torch.ones(2, 2), 0.13)


every_field = pytest.mark.parametrize(
    "field",
    [
        ARGON,
        make(softening=0.3),
        PermutationAverage(make(softening=0.3)),
        make_graph_field(),
        make_energy_field(),
    ],
    ids=["the potential", "a network", "its average", "a graph network", "an energy network"],
)

alone_and_averaged = pytest.mark.parametrize(
    "field", [make(), PermutationAverage(make())], ids=["the network alone", "its average"]
)


@pytest.fixture(scope="module")
def positions():
    return sample_positions(20, seed=3)


def test_the_potential_the_network_and_the_average_are_all_force_fields():
    field = make()
    for source in (ARGON, field, PermutationAverage(field)):
        assert isinstance(source, ForceField)
    assert not isinstance(SCALES, ForceField)


def test_positions_go_in_scaled_and_relative_and_forces_come_out_in_units(positions):
    """F_a = s_F net(r_ij / s_r)_a (Eq. 41, 42), one configuration and one pair at a time."""
    field = make()
    for r, actual in zip(positions, field.forces(positions), strict=True):
        columns = [r[j] - r[i] for i in range(4) for j in range(i + 1, 4)]
        out = field.network(torch.stack(columns, dim=1) / 4.5)
        torch.testing.assert_close(actual, 0.13 * out.T.detach())


@alone_and_averaged
def test_forces_turn_with_the_atoms_and_do_not_feel_translations(field, positions):
    assert_equivariant(field.forces, positions, group="O", action="rows")
    assert_equivariant(field.forces, positions, group="T", action="rows", output_action="invariant")


@every_field
def test_forces_are_differentiable_in_the_positions(field, positions):
    """Against finite differences: a Jacobian of zeros would be a silent error."""
    start = positions[:2].clone().requires_grad_()
    assert torch.autograd.gradcheck(field.forces, start)
    with torch.no_grad():
        assert not field.forces(start).requires_grad


@every_field
def test_without_a_gradient_of_the_positions_no_graph_is_built(field, positions):
    assert not field.forces(positions).requires_grad


@every_field
def test_torch_s_function_transforms_agree_with_loops(field, positions):
    jacobians = torch.func.vmap(torch.func.jacrev(field.forces))(positions[:3])
    loop = [torch.autograd.functional.jacobian(field.forces, r) for r in positions[:3]]
    torch.testing.assert_close(jacobians, torch.stack(loop))
    if not isinstance(field, EnergyForceField):  # which needs autograd; torch refuses that in vmap
        torch.testing.assert_close(torch.func.vmap(field.forces)(positions), field.forces(positions))


@every_field
def test_forces_are_computed_on_the_device_of_the_positions(field, positions):
    field = deepcopy(field)
    for part in (field, getattr(field, "force_field", None)):
        for name in ("network", "layer"):
            if hasattr(part, name):
                getattr(part, name).to("meta")
    with OneDevice():
        assert field.forces(positions.to("meta")).device.type == "meta"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_forces_have_the_dtype_of_the_positions_whatever_the_network_s(dtype, positions):
    assert make(dtype=torch.float32).forces(positions.to(dtype)).dtype == dtype


def test_an_energy_has_the_dtype_of_the_positions_whatever_the_network_s(positions):
    low, high = (make_energy_field(dtype).energy(positions) for dtype in (torch.float32, torch.float64))
    assert low.dtype == torch.float64
    torch.testing.assert_close(low, high, rtol=1e-4, atol=1e-5)


@alone_and_averaged
def test_a_batch_of_any_shape_is_the_single_results_put_together(field, positions):
    single = torch.stack([field.forces(p) for p in positions])
    torch.testing.assert_close(field.forces(positions.reshape(2, 10, 4, 3)).reshape(20, 4, 3), single)


def test_in_another_dtype_it_is_the_same_network(positions):
    """With activations and softening too, and a copy: the first one keeps its parameters."""
    low = make(dtype=torch.float32, output_activation=VectorSoftsign(0.2), softening=0.4)
    high = low.to(torch.float64)
    assert high.network.dtype == torch.float64
    torch.testing.assert_close(high.forces(positions), low.forces(positions), rtol=1e-4, atol=1e-6)
    torch.nn.init.zeros_(high.network.layers[0].stacked)
    assert (low.network.layers[0].weight != 0).all()


def test_no_gradients_are_kept(positions):
    assert not make().forces(positions).requires_grad


@alone_and_averaged
@pytest.mark.parametrize("shape", [(5, 3), (4, 2), (3, 3), (4,)], ids=str)
def test_anything_but_four_atoms_is_refused(field, shape):
    said = re.escape(f"positions: got shape {shape}, wanted (..., 4, 3)")
    with pytest.raises(ValueError, match=f"^{said}$"):
        field.forces(torch.ones(shape))


@alone_and_averaged
@pytest.mark.parametrize("bad", [float("inf"), float("nan")])
def test_positions_that_are_not_finite_are_refused(field, bad, positions):
    broken = positions.clone()
    broken[0, 1, 2] = bad
    said = r"positions: got 1 entries that are NaN, infinite or beyond 1e15, wanted finite ones \(Å\)"
    with pytest.raises(ValueError, match=f"^{said}$"):
        field.forces(broken)


@pytest.mark.parametrize(("widths", "n"), [((5, 4), 3), ((6, 5), 3), ((6, 4), 2)])
def test_a_network_of_other_widths_or_another_dimension_is_refused(widths, n):
    said = f"network: got n = {n} and widths {widths}, wanted n = 3, 6 relative vectors in and 4 forces out"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        NetworkForceField(ENN(widths, n), SCALES)


# Any number of atoms


def descriptors(count):
    """Vector descriptors of all that is nearer than 9 Å."""
    return VectorGraphLayer(GaussianRadial.geometric(count, 2.6, 9.0), dtype=torch.float64)


def graph_field(widths=(3, 1), scales=3, **options):
    ones = torch.ones(scales, dtype=torch.float64)
    return GraphForceField(descriptors(3), biased_network(widths, **options), ones, 1.0)


@pytest.fixture(scope="module")
def small_field():
    """Trained for a moment on four atoms; and the losses."""
    network = ENN((12, 8, 1), softening=1.0, dtype=torch.float64, generator=generator(0))
    positions = sample_positions(300, 0)
    return fit_graph_force_field(descriptors(12), network, positions, ARGON.forces(positions), steps=300)


@pytest.mark.parametrize("n_atoms", [2, 3, 5, 7])
@pytest.mark.parametrize(("group", "output_action"), [("O", "rows"), ("S", "rows"), ("T", "invariant")])
def test_forces_have_every_symmetry_for_any_number_of_atoms(small_field, n_atoms, group, output_action):
    field, _ = small_field
    positions = sample_positions(3, 1, n_atoms=n_atoms)
    assert_equivariant(field.forces, positions, group=group, action="rows", output_action=output_action)


@pytest.mark.parametrize("n_atoms", [3, 4, 5, 13])
def test_a_short_training_on_four_atoms_beats_predicting_zero_for_other_numbers(small_field, n_atoms):
    field, losses = small_field
    assert losses[-1] < 0.1 < losses[0]
    positions = sample_positions(50, 2, n_atoms=n_atoms)
    forces = ARGON.forces(positions)
    assert (field.forces(positions) - forces).square().mean() < 0.05 * forces.square().mean()


def test_a_network_in_single_precision_gives_forces_in_that_of_the_positions():
    low, high = (graph_field(dtype=dtype) for dtype in (torch.float32, torch.float64))
    low.network.load_state_dict(high.network.state_dict())
    positions = sample_positions(3, 1)
    assert low.inputs(positions).dtype == torch.float32
    assert low.forces(positions).dtype == torch.float64
    torch.testing.assert_close(low.forces(positions), high.forces(positions), rtol=1e-4, atol=1e-5)


def test_forces_on_atoms_out_of_reach_are_zero(small_field):
    field, _ = small_field
    positions = torch.tensor([[0.0, 0, 0], [9.01, 0, 0]], dtype=torch.float64)
    assert (field.forces(positions) == 0).all()


def test_softened_unit_vectors_keep_the_forces_continuous_at_the_cutoff_and_hard_ones_do_not():
    """A unit vector has length one however short its vector is: it undoes the cutoff."""
    pair = torch.tensor([[0.0, 0, 0], [9.0, 0, 0]], dtype=torch.float64)

    def jump(softening):
        field = graph_field((3, 5, 1), softening=softening)
        return (field.forces(pair * (1 - 1e-4)) - field.forces(pair * (1 + 1e-4))).abs().max().item()

    assert jump(0.5) < 1e-6
    assert jump(0.0) > 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: graph_field((2, 1)), "got widths (2, 1) and shape (3,)"),
        (lambda: graph_field((3, 2)), "got widths (3, 2) and shape (3,)"),
        (lambda: graph_field((3, 1), scales=2), "got widths (3, 1) and shape (2,)"),
    ],
)
def test_what_makes_no_force_field_is_named(make, message):
    said = f"network, descriptor_scales: {message}, wanted (3, ..., 1) and (3,)"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        make()
