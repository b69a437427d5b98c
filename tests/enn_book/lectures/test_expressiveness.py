"""What an equivariant network can represent and what it cannot: span, stabiliser, coefficients, depth."""

import itertools
import math
from functools import partial

import pytest
import torch
from examples import biased_network, generator, normal, with_biases
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_book.lectures.activations import DirectionalLeakyReLU, VectorLeakyReLU, VectorReLU
from enn_book.lectures.expressiveness import smallest_hidden_norms
from enn_lib.activations import Gate, Identity, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant, random_unitary
from enn_lib.layers import DTYPES
from enn_lib.network import ENN

dtypes = st.sampled_from(DTYPES)
double_dtypes = st.sampled_from([torch.float64, torch.complex128])
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**31)
gates = st.sampled_from([VectorSoftsign(), VectorReLU(0.3), VectorLeakyReLU(0.2, 0.3), Identity()])
softenings = st.sampled_from([0.0, 0.3])
networks = partial(st.builds, biased_network, activation=gates, softening=softenings, seed=seeds)


# Composition


@given(depth=st.integers(1, 6), n=sizes, dtype=dtypes, seed=seeds)
def test_what_is_composed_of_equivariant_parts_is_equivariant(depth, n, dtype, seed):
    """Layers, a directional ReLU and the division by an invariant, in any number."""
    parts = []
    for k in range(depth):
        parts += biased_network((3, 3), n, dtype=dtype, seed=seed + k).layers
        parts.append(DirectionalLeakyReLU(3, dtype=dtype, generator=generator(seed + k)))
        parts.append(lambda x: x / (1 + x.abs().square().sum(dim=(-2, -1), keepdim=True)))

    def chain(x):
        for part in parts:
            x = part(x)
        return x

    assert_equivariant(chain, normal(2, n, 3, dtype=dtype, seed=seed), tolerance=100 * TOLERANCES[dtype])


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_one_part_that_is_not_equivariant_spoils_the_whole(broken):
    net = biased_network((3, 8, 8, 2))

    def with_a_constant(x):
        for k, layer in enumerate(net.layers):
            x = layer(x) + 0.1 * (k == broken)
        return x

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(with_a_constant, normal(5, 3, 3))


def test_the_whole_can_be_equivariant_though_its_parts_are_not():
    """The converse is false: an orthonormal change of basis cancels around a gate, a stretch does not."""
    basis, x = random_unitary(3, dtype=torch.float64, generator=generator(1)), normal(5, 3, 4)
    assert_equivariant(lambda x: basis.mT @ VectorSoftsign()(basis @ x), x)
    stretch = torch.tensor([2.0, 1, 1], dtype=torch.float64).diag()
    for broken in (lambda x: basis @ x, lambda x: stretch.inverse() @ VectorSoftsign()(stretch @ x)):
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(broken, x)


# Span and stabiliser


@given(
    net=networks(st.tuples(st.integers(1, 6), st.just(7), st.just(4)), st.integers(2, 6), dtype=dtypes),
    rank=st.integers(1, 3),
    seed=seeds,
)
def test_outputs_lie_in_the_span_of_the_inputs(net, rank, seed):
    """Collinear inputs give collinear outputs, planar inputs planar ones."""
    rank = min(rank, net.n)
    frame = torch.linalg.qr(normal(net.n, rank, dtype=net.dtype, seed=seed))[0]
    y = net(frame @ normal(8, rank, net.widths[0], dtype=net.dtype, seed=seed + 1))
    outside = (y - frame @ (frame.mH @ y)).abs().max()
    assert outside <= 10 * TOLERANCES[net.dtype] * y.abs().max()


@given(dtype=double_dtypes, seed=seeds)
def test_an_operator_that_leaves_the_inputs_alone_leaves_the_outputs_alone(dtype, seed):
    """f(x) = f(U x) = U f(x) for U in the stabiliser of x."""
    net = biased_network((2, 7, 4), 5, seed=seed, dtype=dtype)
    frame = random_unitary(5, dtype=dtype, generator=generator(seed))
    inner = torch.eye(5, dtype=dtype)
    inner[2:, 2:] = random_unitary(3, dtype=dtype, generator=generator(seed + 1))
    operator = frame @ inner @ frame.mH
    x = frame[:, :2] @ normal(2, 2, dtype=dtype, seed=seed)
    torch.testing.assert_close(operator @ x, x)
    torch.testing.assert_close(operator @ net(x), net(x))


# Coefficients


def test_the_same_weights_serve_every_dimension():
    """The coefficients do not know n: vectors of the plane give the same in space, with a zero below."""
    plane, space = biased_network((4, 6, 3), 2), biased_network((4, 6, 3), 3)
    space.load_state_dict(plane.state_dict())
    x = normal(5, 2, 4)
    torch.testing.assert_close(space(nn.functional.pad(x, (0, 0, 0, 1)))[:, :2], plane(x))


def test_any_equivariant_function_has_invariant_coefficients():
    """C = x^+ f(x), for a function that is no network: the matrix square root of x x^+ times x."""

    def f(x):
        values, frame = torch.linalg.eigh(x @ x.mH)
        return frame @ (values.clamp_min(0).sqrt().unsqueeze(-1) * (frame.mH @ x))

    x = normal(6, 3, 2, dtype=torch.complex128)
    operator = random_unitary(3, generator=generator(1))
    assert_equivariant(f, x)
    before, after = (torch.linalg.pinv(z) @ f(z) for z in (x, operator @ x))
    torch.testing.assert_close(x @ before, f(x))
    torch.testing.assert_close(after, before)


# Depth


def product(x):
    """<x1, x2> x3, for vectors (..., n, 3)."""
    return (x[..., :1] * x[..., 1:2]).sum(dim=-2, keepdim=True) * x[..., 2:]


def one_hidden_layer(**options):
    """One hidden layer of 20 vectors on three inputs; biases are zero."""
    return ENN((3, 20, 1), dtype=torch.float64, generator=generator(), **options)


def antisymmetric_share(function, x):
    """Of the blocks of the Jacobian, n x n: from 0 (all are symmetric) to 1."""
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x)[:, 0]))(x)
    blocks = jacobian.movedim(-1, 1)
    return ((blocks - blocks.mT).norm() / (2 * blocks.norm())).item()


def test_one_hidden_layer_without_bias_has_symmetric_jacobians():
    assert antisymmetric_share(one_hidden_layer(), normal(10, 3, 3)) < 1e-14
    assert antisymmetric_share(one_hidden_layer(activation=VectorReLU(0.3)), normal(10, 3, 3)) < 1e-14


def test_a_bias_of_the_last_layer_changes_nothing():
    net = one_hidden_layer()
    nn.init.normal_(net.layers[1].bias, generator=generator(1))
    assert antisymmetric_share(net, normal(10, 3, 3)) < 1e-14


@pytest.mark.parametrize(
    "net",
    [
        with_biases(one_hidden_layer()),
        one_hidden_layer(output_activation=VectorSoftsign()),
        one_hidden_layer(activation=Gate(lambda r: r.flip(-1))),
        ENN((3, 20, 20, 1), dtype=torch.float64, generator=generator()),
        product,
    ],
    ids=["bias", "a gate at the output", "gates of others' lengths", "two hidden layers", "a product"],
)
def test_what_the_theorem_excludes_has_other_jacobians(net):
    """It needs no bias, one layer, the identity at the output, and gates of a vector's own length."""
    assert antisymmetric_share(net, normal(10, 3, 3)) > 1e-3


@given(n=st.integers(2, 5), softening=softenings, seed=seeds)
def test_a_reflection_hides_the_double_cross_product_from_one_hidden_layer(n, softening, seed):
    """A neuron's inner product with (u.v) w - (v.w) u changes its sign when v is reflected, bias or not."""
    net = with_biases(ENN((3, 1, 1), n, softening=softening, dtype=torch.float64, generator=generator(seed)))
    x = normal(n, 3, seed=seed)
    u, v, w = x.mT

    def inner(v):
        x = torch.stack((u, v, w), dim=1)
        return net(x)[:, 0] @ ((u @ v) * w - (v @ w) * u)

    with torch.no_grad():
        y = net.layers[0](torch.stack((u, torch.zeros_like(v), w), dim=1))[:, 0]  # without the part along v
        d = (y @ w) * u - (y @ u) * w
        torch.testing.assert_close(inner(v - 2 * (v @ d) / (d @ d) * d), -inner(v), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("m", [1, 2])
def test_the_average_over_signs_makes_every_product_of_inner_products(m):
    """The step of the proof by which |u|^(2m) u, which one activation makes, multiplies inner products."""
    v = normal(4, 2 * m + 1)
    average, wanted = torch.zeros(2, 4, dtype=torch.float64)
    for s in itertools.product((1.0, -1.0), repeat=2 * m + 1):
        u = v @ torch.tensor(s, dtype=v.dtype)
        average += math.prod(s) * u.norm() ** (2 * m) * u / 2 ** (2 * m + 1)
    for p in itertools.permutations(range(2 * m + 1)):
        wanted += math.prod(v[:, i] @ v[:, j] for i, j in zip(p[1::2], p[2::2], strict=True)) * v[:, p[0]]
    torch.testing.assert_close(average, wanted)


def test_with_phases_in_place_of_signs_the_same_holds_for_complex_vectors():
    v = normal(4, 3, dtype=torch.complex128)
    average = torch.zeros(4, dtype=torch.complex128)
    for s in map(torch.tensor, itertools.product((1, 1j, -1, -1j), repeat=3)):
        u = v @ s.to(v.dtype)
        average += s[0].conj() * s[1].conj() * s[2] * u.norm() ** 2 * u / 64
    inner = v.mH @ v
    torch.testing.assert_close(average, inner[2, 0] * v[:, 1] + inner[2, 1] * v[:, 0])


def test_the_smallest_norm_is_that_of_the_vectors_that_enter_the_later_layers():
    network, inputs, entered = biased_network((6, 5, 3, 4)), normal(7, 3, 6), []
    for layer in network.layers[1:]:
        layer.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
    network(inputs)
    expected = torch.stack([x.norm(dim=-2).amin(dim=-1) for x in entered]).amin(dim=0)
    torch.testing.assert_close(smallest_hidden_norms(network, inputs), expected)
