"""What an equivariant network can represent and what it cannot: span, stabiliser, coefficients, depth."""

from functools import partial

import pytest
import torch
from examples import biased_network, generator, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_book.lectures.activations import DirectionalLeakyReLU, VectorLeakyReLU, VectorReLU
from enn_book.lectures.expressiveness import coefficients, distance_from_span, smallest_hidden_norms
from enn_lib.activations import Gate, Identity, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant, random_unitary
from enn_lib.layers import DTYPES, squared_length
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
    """The converse of the theorem is false: a change of basis and its inverse cancel around a gate."""
    basis = random_unitary(3, dtype=torch.float64, generator=generator(1))
    to_basis, back = (lambda x: basis @ x), (lambda x: basis.mT @ x)
    assert_equivariant(lambda x: back(VectorSoftsign()(to_basis(x))), normal(5, 3, 4))
    for part in (to_basis, back):
        with pytest.raises(AssertionError, match="not equivariant"):
            assert_equivariant(part, normal(5, 3, 4))


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


def test_a_perceptron_leaves_the_span():
    """The check can fail: a plain network on the coordinates goes anywhere."""
    flat = normal(8, 3, 4)
    flat[:, 2] = 0
    torch.manual_seed(0)
    perceptron = nn.Sequential(nn.Flatten(), nn.Linear(12, 20), nn.Tanh(), nn.Linear(20, 6)).double()
    assert distance_from_span(flat, perceptron(flat).reshape(8, 3, 2)).mean() > 0.1


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


def test_the_cross_product_lies_wholly_outside_the_span():
    """SO(3) has no operator but 1 that leaves a plane alone, so that rotations alone allow it."""
    x = normal(8, 3, 2)
    distance = distance_from_span(x, torch.linalg.cross(x[..., :1], x[..., 1:], dim=-2))
    torch.testing.assert_close(distance, torch.ones(8, 1, dtype=torch.float64))


@given(n=st.integers(1, 6), m=st.integers(1, 6), dtype=dtypes, seed=seeds)
def test_the_distance_from_the_span_is_that_of_the_part_outside(n, m, dtype, seed):
    x, c, w = (normal(*s, dtype=dtype, seed=seed + k) for k, s in enumerate([(n, m), (m, 3), (n, 3)]))
    assert distance_from_span(x, x @ c).max() <= 10 * TOLERANCES[dtype]
    if m < n:
        frame = torch.linalg.qr(x)[0]
        outside = torch.linalg.vector_norm(w - frame @ (frame.mH @ w), dim=0)
        expected = outside / torch.linalg.vector_norm(w, dim=0)
        torch.testing.assert_close(distance_from_span(x, w), expected, rtol=1e-3, atol=1e-4)


def test_the_zero_vector_is_in_every_span():
    assert (distance_from_span(normal(3, 2), torch.zeros(3, 4, dtype=torch.float64)) == 0).all()


# Invariant coefficients


@given(net=networks(st.lists(sizes, min_size=2, max_size=5), sizes, dtype=double_dtypes), seed=seeds)
def test_the_network_is_its_inputs_times_coefficients_of_their_inner_products(net, seed):
    """The same numbers without ever seeing a vector."""
    x = normal(4, net.n, net.widths[0], dtype=net.dtype, seed=seed)
    # Where a hidden vector nearly cancels, its length from the Gram matrix loses half of the digits.
    torch.testing.assert_close(x @ coefficients(net, x.mH @ x), net(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_away_from_cancellation_they_agree_to_rounding(dtype):
    net = biased_network((4, 10, 10, 3), dtype=dtype)
    x = normal(20, 3, 4, dtype=dtype)
    torch.testing.assert_close(x @ coefficients(net, x.mH @ x), net(x), rtol=1e-11, atol=1e-11)


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
    assert distance_from_span(x, f(x)).max() < 1e-10
    before, after = (torch.linalg.pinv(z) @ f(z) for z in (x, operator @ x))
    torch.testing.assert_close(after, before)


@pytest.mark.parametrize(
    "activation",
    [Gate(torch.tanh, squared_length), DirectionalLeakyReLU(5, dtype=torch.float64), nn.Tanh()],
    ids=["another invariant", "no gate", "no activation of vectors"],
)
def test_coefficients_need_gates_of_the_length(activation):
    with pytest.raises(TypeError, match="wanted a gate of the length"):
        coefficients(biased_network((4, 5, 3), activation=activation), torch.eye(4, dtype=torch.float64))


def test_a_gram_matrix_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"gram: got shape \(3, 3\), wanted \(..., 4, 4\)"):
        coefficients(biased_network((4, 5, 3)), torch.eye(3, dtype=torch.float64))


# Depth


def antisymmetry(net, x):
    """The antisymmetric share of the blocks d f / d x_alpha of a network with one output vector."""
    blocks = torch.func.vmap(torch.func.jacrev(lambda x: net(x)[:, 0]))(x).movedim(-1, 1)
    return ((blocks - blocks.mT).norm() / (2 * blocks.norm())).item()


def test_one_hidden_layer_without_input_bias_has_symmetric_jacobians():
    """Each hidden vector is a gradient field of x a, so it cannot make |x1|^2 x2, whose blocks are not."""
    net, x = biased_network((3, 20, 1)), normal(10, 3, 3)
    assert antisymmetry(net, x) > 1e-3
    with torch.no_grad():
        net.layers[0].bias.zero_()
    assert antisymmetry(net, x) < 1e-14
    assert antisymmetry(lambda x: squared_length(x[:, :1]) * x[:, 1:2], x) > 0.1


def test_two_hidden_layers_without_bias_have_not():
    net = ENN((3, 20, 20, 1), dtype=torch.float64, generator=generator())
    assert antisymmetry(net, normal(10, 3, 3)) > 1e-3


def derivative(field, p, q):
    """The coefficient of t in field(p + t q): the real derivative, or Wirtinger's by a complex t."""
    step = 1e-5

    def along(direction):
        return (field(p + step * direction) - field(p - step * direction)) / (2 * step)

    return (along(q) - 1j * along(1j * q)) / 2 if p.is_complex() else along(q)


@given(n=sizes, dtype=double_dtypes, seed=seeds)
def test_the_step_of_the_proof_that_multiplies_a_vector_by_the_length_of_another(n, dtype, seed):
    """|p|^4 q is a combination of derivatives of |v|^2 v and |v|^4 v, which one activation can make."""
    p, q = (nn.functional.normalize(normal(n, 1, dtype=dtype, seed=seed + k), dim=0) for k in (0, 1))
    p = 1.5 * p
    r = torch.linalg.vector_norm(p)
    cubic = derivative(lambda v: squared_length(v) * v, r * p, q)
    quintic = derivative(lambda v: squared_length(v) ** 2 * v, p, q)
    torch.testing.assert_close(2 * cubic - quintic, r**4 * q, rtol=1e-7, atol=1e-7)


def test_the_smallest_norm_is_that_of_the_vectors_that_enter_the_later_layers():
    network, inputs, entered = biased_network((6, 5, 3, 4)), normal(7, 3, 6), []
    for layer in network.layers[1:]:
        layer.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
    network(inputs)
    expected = torch.stack([x.norm(dim=-2).amin(dim=-1) for x in entered]).amin(dim=0)
    torch.testing.assert_close(smallest_hidden_norms(network, inputs), expected)
