"""Short trainings of any model, and of a force field for any number of atoms."""

import math
from copy import deepcopy

import pytest
import torch
from examples import generator, normal

from enn_lib.argon import ARGON, sample_positions
from enn_lib.force_field import GraphForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer
from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.training import fit, fit_energy_force_field, fit_graph_force_field

X = normal(20, 3, 2, dtype=torch.float32)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_a_linear_map_is_found(dtype):
    """The target has no bias: W is recovered and b goes to zero, for real and complex parameters."""
    W, x = normal(3, 2, dtype=dtype), normal(500, 1, 3, dtype=dtype, seed=1)
    layer = EquivariantLinear(3, 2, dtype=dtype, generator=generator(2))
    losses = fit(layer, x, x @ W, steps=400, learning_rate=0.2)
    assert losses[-1] < 1e-8 * losses[0]
    torch.testing.assert_close(layer.weight.detach(), W, atol=1e-3, rtol=0)
    torch.testing.assert_close(layer.bias.detach(), torch.zeros_like(W), atol=1e-3, rtol=0)


def test_a_loss_is_the_mean_of_squared_moduli():
    layer = EquivariantLinear(2, 1, dtype=torch.complex128, generator=generator())
    x = normal(6, 3, 2, dtype=torch.complex128, seed=1)
    expected = (layer(x) - 1j).abs().square().mean().item()
    (loss,) = fit(layer, x, torch.full((6, 3, 1), 1j), steps=1)
    assert loss == pytest.approx(expected)


def test_the_same_seed_gives_the_same_weights_and_another_another_order():
    def weights(seed):
        net = ENN((2, 4, 1), generator=generator())
        fit(net, X, X.sum(dim=-1, keepdim=True), steps=20, batch_size=10, seed=seed)
        return net.layers[0].stacked.detach()

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_targets_of_another_shape_than_the_outputs_are_refused():
    """As torch would broadcast them."""
    with pytest.raises(ValueError, match=r"^targets: got \(10, 3\), wanted \(10, 3, 1\) as the outputs$"):
        fit(EquivariantLinear(2, 1), X[:10], X[:10, :, 0], steps=1)


def test_what_is_frozen_stays_and_the_rest_learns():
    net = ENN((2, 4, 1), generator=generator())
    net.layers[0].requires_grad_(False)
    before = deepcopy(net)
    fit(net, X, X.sum(dim=-1, keepdim=True), steps=2)
    assert net.layers[0].stacked.equal(before.layers[0].stacked)
    assert not net.layers[1].stacked.equal(before.layers[1].stacked)


def test_every_epoch_sees_every_sample_once():
    """A model that records what it is given."""
    seen = []

    class Recorder(EquivariantLinear):
        def forward(self, x):
            seen.extend(x[:, 0, 0].tolist())
            return super().forward(x)

    x = torch.arange(12.0).reshape(12, 1, 1)
    fit(Recorder(1, 1), x, x, steps=6, batch_size=4)
    assert sorted(seen[:12]) == sorted(seen[12:]) == list(range(12))
    assert seen[:12] != seen[12:]


def test_the_optimiser_can_be_chosen():
    net = ENN((2, 4, 1), generator=generator())
    losses = fit(net, X, X[..., :1], steps=50, optimiser=torch.optim.Muon, learning_rate=0.02)
    assert losses[-1] < losses[0]


def test_the_learning_rate_goes_down_to_zero_along_a_cosine():
    rates = []

    class Recorder(torch.optim.SGD):
        def step(self, closure=None):
            rates.append(self.param_groups[0]["lr"])
            return super().step(closure)

    fit(ENN((2, 1), generator=generator()), X, X[..., :1], steps=10, learning_rate=0.1, optimiser=Recorder)
    assert rates == pytest.approx([0.05 * (1 + math.cos(math.pi * k / 10)) for k in range(10)])


def test_by_default_batches_of_250_start_at_a_rate_of_a_hundredth_in_the_order_of_seed_0():
    x = normal(600, 3, 2, dtype=torch.float32)
    losses = [
        fit(ENN((2, 4, 1), generator=generator()), x, x[..., :1], steps=5, **options)
        for options in ({}, {"batch_size": 250, "learning_rate": 0.01, "seed": 0})
    ]
    assert losses[0] == losses[1]


def test_one_step_with_one_sample_is_a_training():
    assert len(fit(EquivariantLinear(2, 1), X[:1], X[:1, :, :1], steps=1, batch_size=1)) == 1


def test_only_the_parameters_get_a_gradient():
    """Not what the caller computes the inputs from."""
    x = X.clone().requires_grad_()
    fit(ENN((2, 1), generator=generator()), x, X[..., :1], steps=1)
    assert x.grad is None


@pytest.mark.parametrize(
    ("targets", "options", "said"),
    [
        (3, {}, "inputs, targets: got 4 and 3, wanted as many, at least 1"),
        (4, {"steps": 0}, "steps, batch_size: got 0, 250, wanted positive numbers"),
        (4, {"batch_size": 0}, "steps, batch_size: got 1, 0, wanted positive numbers"),
    ],
)
def test_bad_arguments_are_named(targets, options, said):
    x = torch.ones(4, 3, 1)
    with pytest.raises(ValueError, match=f"^{said}$"):
        fit(EquivariantLinear(1, 1), x, x[:targets], **({"steps": 1} | options))


def test_no_data_are_named():
    with pytest.raises(ValueError, match=r"^inputs, targets: got 0 and 0, wanted as many, at least 1$"):
        fit(EquivariantLinear(2, 1), X[:0], X[:0, :, :1], steps=1)


def test_a_training_that_diverges_says_so():
    layer, x = EquivariantLinear(1, 1), torch.ones(4, 3, 1)
    with pytest.raises(FloatingPointError, match=r"^the loss is inf after 1 steps: training diverged$"):
        fit(layer, x, torch.full_like(x, torch.inf), steps=1)


# A force field for any number of atoms


RADIAL = GaussianRadial.geometric(3, 2.6, 9.0)
POSITIONS = sample_positions(20, 0)
FORCES = ARGON.forces(POSITIONS)


def fit_argon(layer, forces=FORCES, steps=1):
    """A short training of a small network of three descriptors."""
    network = ENN((3, 1), dtype=torch.float64, generator=generator())
    return fit_graph_force_field(layer, network, POSITIONS, forces, steps=steps)


def test_the_scales_are_root_mean_squares_over_all_atoms_and_directions():
    layer = VectorGraphLayer(RADIAL, dtype=torch.float64)
    field, _ = fit_argon(layer)
    expected = (layer(POSITIONS) ** 2).reshape(-1, 3).mean(dim=0).sqrt()
    torch.testing.assert_close(field.descriptor_scales, expected)
    assert field.force_scale == pytest.approx((FORCES**2).mean().item() ** 0.5)


def test_the_loss_is_that_of_forces_and_descriptors_in_units_of_their_scales():
    network = ENN((3, 1), dtype=torch.float64, generator=generator())
    layer = VectorGraphLayer(RADIAL, dtype=torch.float64)
    before = deepcopy(network)
    field, (loss,) = fit_graph_force_field(layer, network, POSITIONS, FORCES, steps=1)
    predicted = GraphForceField(layer, before, field.descriptor_scales, field.force_scale).forces(POSITIONS)
    assert loss == pytest.approx((predicted - FORCES).square().mean().item() / field.force_scale**2)


def fit_energy(dtype=torch.float64, **options):
    """A short training of a small network whose energy has the forces, in free space."""
    layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)
    network = ScalarFeatureENN((3, 1), m=1, softening=0.5, dtype=dtype, generator=generator())
    return fit_energy_force_field(layer, network, POSITIONS, FORCES, **options)


def test_the_loss_of_an_energy_is_that_of_its_slope_in_units_of_the_scale_of_the_forces():
    field, (loss,) = fit_energy(steps=1, batch_size=20, learning_rate=0.0)
    assert field.cell is None
    expected = (field.forces(POSITIONS) - FORCES).square().mean() / FORCES.square().mean()
    assert loss == pytest.approx(expected.item())


def test_by_default_a_batch_has_four_configurations_where_forces_are_slopes():
    assert fit_energy(steps=3)[1] == fit_energy(steps=3, batch_size=4)[1]


@pytest.mark.parametrize("kind", ["direct", "energy"])
def test_a_network_in_single_precision_is_trained_in_single_precision(kind):
    if kind == "direct":
        network = ENN((3, 1), dtype=torch.float32, generator=generator())
        layer = VectorGraphLayer(RADIAL, dtype=torch.float64)
        _, losses = fit_graph_force_field(layer, network, POSITIONS, FORCES, steps=3)
    else:
        _, losses = fit_energy(torch.float32, steps=3)
    assert losses == torch.tensor(losses, dtype=torch.float32).tolist()


def test_a_descriptor_that_no_data_reach_stays_zero():
    radial = GaussianRadial([1e6, 1.0, 1.0], [0.0, 3.0, 4.0], 9.0)
    field, losses = fit_argon(VectorGraphLayer(radial, dtype=torch.float64), steps=2)
    assert field.descriptor_scales[0] == 1.0
    assert torch.tensor(losses).isfinite().all()


@pytest.mark.parametrize("factor", [0, torch.nan, torch.inf])
def test_forces_without_a_scale_are_named(factor):
    got = abs(0 * factor) if factor == 0 else abs(factor)
    said = rf"^forces: got a root mean square of {float(got)}, wanted a positive one \(eV/Å\)$"
    with pytest.raises(ValueError, match=said):
        fit_argon(VectorGraphLayer(RADIAL, dtype=torch.float64), factor * FORCES.abs())


def test_forces_of_another_shape_and_trainable_descriptors_are_named():
    layer = VectorGraphLayer(RADIAL, dtype=torch.float64)
    said = r"^positions, forces: got shapes \(20, 4, 3\) and \(2, 4, 3\), wanted \(N, atoms, 3\) of both$"
    with pytest.raises(ValueError, match=said):
        fit_argon(layer, POSITIONS[:2])
    with pytest.raises(ValueError, match=r"^positions, forces: got shapes \(4, 3\) and \(4, 3\), wanted "):
        fit_graph_force_field(layer, ENN((3, 1)), POSITIONS[0], FORCES[0], steps=1)
    said = r"^layer: got trainable weights, wanted the Kronecker delta of Eq. 34$"
    with pytest.raises(ValueError, match=said):
        fit_argon(VectorGraphLayer(RADIAL, 3, dtype=torch.float64))
