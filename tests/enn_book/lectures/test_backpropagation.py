"""The gradient by hand (sec. 3.4): equal to autograd's, to finite differences, and covariant."""

import pytest
import torch
from examples import all_dtypes, biased_network, generator, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_book.lectures.backpropagation import (
    activation_adjoint,
    backward_pass,
    forward_pass,
    mean_squared_error,
    real_inner_product,
    unit_vector_adjoint,
)
from enn_book.lectures.operations import count_operations
from enn_lib.activations import Gate, Identity, VectorSoftsign
from enn_lib.groups import TOLERANCES, random_unitary
from enn_lib.layers import DTYPES, inverse_length, unit_vectors
from enn_lib.network import PAPER_WIDTHS
from enn_lib.scalar_features import ScalarFeatureENN

TO_ROUNDING = {dtype: 2e-5 if tolerance > 1e-6 else 1e-13 for dtype, tolerance in TOLERANCES.items()}
"""The largest error allowed between two ways to compute a gradient, relative to its largest entry."""

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 6)
seeds = st.integers(0, 2**31)
gates = st.sampled_from([VectorSoftsign(), VectorSoftsign(0.0), Identity()])
softenings = st.sampled_from([0.0, 0.3])
options = {"activation": gates, "output_activation": gates, "softening": softenings, "seed": seeds}
networks = st.builds(biased_network, st.lists(sizes, min_size=2, max_size=5), sizes, dtype=dtypes, **options)


def data(net, *batch, seed=0):
    """Inputs and targets of a network."""
    return (
        normal(*batch, net.n, width, dtype=net.dtype, seed=seed + k)
        for k, width in enumerate((net.widths[0], net.widths[-1]))
    )


def gradients_by_hand(net, x, targets):
    outputs, traces = forward_pass(net, x)
    return backward_pass(net, traces, mean_squared_error(outputs, targets)[1])


def assert_same(actual, expected, dtype, factor=1):
    scale = expected.abs().max().clamp_min(torch.finfo(dtype).tiny)
    torch.testing.assert_close(actual / scale, expected / scale, rtol=0, atol=factor * TO_ROUNDING[dtype])


def assert_as_autograd(net, x, targets, factor=1):
    """With respect to the layers' parameters, to y_k (kept by hooks), and to the input."""
    by_hand = gradients_by_hand(net, x, targets)
    x = x.clone().requires_grad_()
    y = []
    for layer in net.layers:
        layer.register_forward_hook(lambda *call: y.append(call[-1]))
    loss = (net(x) - targets).abs().square().mean()
    by_torch = torch.autograd.grad(loss, [*(layer.stacked for layer in net.layers), *y, x])
    by_hand = (*by_hand.stacked, *by_hand.deltas, by_hand.inputs)
    for actual, expected in zip(by_hand, by_torch, strict=True):
        assert_same(actual, expected, net.dtype, factor)


# Equal to autograd


@given(net=networks, batch=st.lists(st.integers(1, 3), max_size=2), seed=seeds)
def test_every_gradient_is_autograd_s_to_rounding(net, batch, seed):
    """Eq. 20 to 24: real and complex, literal and softened, with both activations of the paper."""
    assert_as_autograd(net, *data(net, *batch, seed=seed), factor=10)


@all_dtypes
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_the_paper_s_network_has_autograd_s_gradients(dtype, softening):
    net = biased_network(PAPER_WIDTHS, dtype=dtype, softening=softening)
    assert_as_autograd(net, *data(net, 100))


# Equal to finite differences, without trust in autograd


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_the_gradient_by_a_parameter_is_its_difference_quotient(dtype, softening):
    """dL/dRe z + i dL/dIm z, each by central differences."""
    net = biased_network((3, 4, 2), dtype=dtype, softening=softening)
    x, targets = data(net, 5)

    def loss():
        return mean_squared_error(forward_pass(net, x)[0], targets)[0].item()

    step = 1e-5
    by_hand = gradients_by_hand(net, x, targets)
    for layer, gradient in zip(net.layers, by_hand.stacked, strict=True):
        flat = layer.stacked.detach().view(-1)
        for i in range(len(flat)):
            before, quotients = flat[i].clone(), []
            for direction in (1, 1j) if dtype.is_complex else (1,):
                flat[i] = before + step * direction
                above = loss()
                flat[i] = before - step * direction
                quotients.append(direction * (above - loss()) / (2 * step))
                flat[i] = before
            assert gradient.view(-1)[i].item() == pytest.approx(sum(quotients), abs=1e-8)


@given(
    n=sizes, m=sizes, dtype=st.sampled_from([torch.float64, torch.complex128]), activation=gates, seed=seeds
)
def test_the_adjoints_are_adjoints(n, m, dtype, activation, seed):
    """Re<J^+ g, v> = Re<g, J v>, with J v a central difference."""
    x, g, v = (normal(n, m, dtype=dtype, seed=seed + k) for k in range(3))
    e, rho = unit_vectors(x, 0.2), inverse_length(x, 0.2)
    step = 1e-6
    turned = (unit_vectors(x + step * v, 0.2) - unit_vectors(x - step * v, 0.2)) / (2 * step)
    gated = (activation(x + step * v) - activation(x - step * v)) / (2 * step)
    for adjoint, tangent in (
        (unit_vector_adjoint(e, rho, g), turned),
        (activation_adjoint(activation, x, g), gated),
    ):
        left, right = ((a.conj() * b).sum().real for a, b in ((adjoint, v), (g, tangent)))
        torch.testing.assert_close(left, right, rtol=1e-7, atol=1e-7)


# What the formulas say


def test_nothing_flows_back_along_the_vector():
    """Its length does not change e. Its phase does: i x is orthogonal to x in the real inner product."""
    x, g = (normal(3, 6, dtype=torch.complex128, seed=seed) for seed in (0, 1))
    e, rho = unit_vectors(x), inverse_length(x)
    assert real_inner_product(unit_vector_adjoint(e, rho, g), x).abs().max() < 1e-14
    torch.testing.assert_close(unit_vector_adjoint(e, rho, x), 0 * x)
    torch.testing.assert_close(unit_vector_adjoint(e, rho, 1j * x), 1j * e)


@given(dtype=dtypes, softening=softenings, activation=gates, seed=seeds)
def test_a_rotated_data_set_has_the_same_gradients(dtype, softening, activation, seed):
    """Deltas turn with the data, and x^+ delta does not: training never sees the orientation."""
    net = biased_network((4, 6, 3), seed=seed, dtype=dtype, softening=softening, activation=activation)
    x, targets = data(net, 5, seed=seed)
    operator = random_unitary(3, dtype=dtype, generator=generator(seed))
    plain = gradients_by_hand(net, x, targets)
    turned = gradients_by_hand(net, operator @ x, operator @ targets)
    expected = (*plain.stacked, *(operator @ delta for delta in plain.deltas))
    for after, before in zip((*turned.stacked, *turned.deltas), expected, strict=True):
        assert_same(after, before, dtype, factor=10)


def test_the_forward_pass_is_the_network():
    net = biased_network((6, 5, 4), output_activation=VectorSoftsign())
    outputs, traces = forward_pass(net, normal(7, 3, 6))
    assert outputs.equal(net(normal(7, 3, 6)))
    assert [trace.y.shape for trace in traces] == [(7, 3, 5), (7, 3, 4)]
    assert all(trace.e.equal(trace.x * trace.inverse_length) for trace in traces)


@all_dtypes
def test_at_length_zero_the_gradients_are_finite_and_autograd_s(dtype):
    """e has no derivative there; the convention of `enn_lib.layers` is that nothing flows back."""
    net = biased_network((4, 6, 3), dtype=dtype)
    x, targets = data(net, 5)
    x[:, :, 1] = 0
    x[2] = 0
    assert_as_autograd(net, x, targets)


def test_at_length_zero_only_the_straight_path_is_left():
    layer_only = biased_network((2, 2), output_activation=Identity())
    outputs, traces = forward_pass(layer_only, torch.zeros(3, 2, dtype=torch.float64))
    g = torch.ones_like(outputs)
    expected = g @ layer_only.layers[0].weight.detach().mT
    torch.testing.assert_close(backward_pass(layer_only, traces, g).inputs, expected)


@given(net=networks, batch=st.integers(1, 4))
def test_the_backward_pass_takes_twice_the_products_of_the_forward_pass(net, batch):
    """One product of a layer forwards, and two of the same size backwards."""
    x, _ = data(net, batch)
    outputs, traces = forward_pass(net, x)
    forward = count_operations(forward_pass, net, x)
    backward = count_operations(backward_pass, net, traces, outputs)
    assert backward.products == 2 * forward.products > 0


@all_dtypes
def test_the_mean_squared_error_and_its_gradient(dtype):
    outputs, targets = normal(4, 3, 2, dtype=dtype).requires_grad_(), normal(4, 3, 2, dtype=dtype, seed=1)
    loss, gradient = mean_squared_error(outputs, targets)
    torch.testing.assert_close(loss, (outputs - targets).abs().square().sum() / 24)
    torch.testing.assert_close(gradient, torch.autograd.grad(loss, outputs)[0])


# Refusals


@pytest.mark.parametrize("activation", [Gate(torch.tanh), nn.Tanh()], ids=["gate", "no gate"])
def test_an_activation_whose_derivative_is_not_known_is_refused(activation):
    net = biased_network((4, 5, 3), activation=activation)
    said = f"got {type(activation).__name__}, wanted VectorSoftsign or Identity"
    with pytest.raises(TypeError, match=said):
        gradients_by_hand(net, *data(net, 2))


@pytest.mark.parametrize("net", [ScalarFeatureENN((4, 3)), nn.Linear(4, 3)], ids=["features", "linear"])
def test_another_network_is_refused(net):
    with pytest.raises(TypeError, match=f"network: got {type(net).__name__}, wanted an ENN"):
        forward_pass(net, normal(3, 4))


def test_targets_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"targets: got shape \(3, 2\), wanted \(4, 3, 2\)"):
        mean_squared_error(normal(4, 3, 2), normal(3, 2))
