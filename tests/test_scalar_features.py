"""Vectors with scalar features (sec. 3.3): equivariance under U', Eq. 17's bias, and what it lets through."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_lib.activations import DirectionalLeakyReLU, Identity, VectorLeakyReLU, VectorReLU, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant, random_element
from enn_lib.layers import DTYPES
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN, ScalarFeatureLinear

BIASES = ("ones", "single", "separate")
PARTS = ("columns", "invariant")

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 5)
seeds = st.integers(0, 2**31)
every_bias = pytest.mark.parametrize("scalar_bias", BIASES)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def normal(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=generator(seed))


def network(widths, n=3, m=2, *, seed=0, dtype=torch.float64, **options):
    """A network none of whose parameters is zero."""
    net = ScalarFeatureENN(widths, n, m, dtype=dtype, **options)
    with torch.no_grad():
        for k, parameter in enumerate(net.parameters()):
            parameter.copy_(0.5 * normal(*parameter.shape, dtype=dtype, seed=seed + k))
    return net


def inputs(net, batch=4, seed=0):
    vectors = normal(batch, net.n, net.widths[0], dtype=net.dtype, seed=seed)
    return vectors, normal(batch, net.m, net.widths[0], dtype=net.dtype, seed=seed + 1)


# Equivariance


@given(
    n=sizes,
    m=sizes,
    widths=st.lists(sizes, min_size=2, max_size=4),
    dtype=dtypes,
    group=st.sampled_from(["U", "O", "SO"]),
    scalar_bias=st.sampled_from(BIASES),
    activation=st.sampled_from(
        [VectorSoftsign(), VectorReLU(0.5), VectorLeakyReLU(0.2, 0.5), Identity(), "directional"]
    ),
    softening=st.sampled_from([0.0, 0.3]),
    seed=seeds,
)
def test_vectors_turn_and_scalars_stay(n, m, widths, dtype, group, scalar_bias, activation, softening, seed):
    """Eq. 18: the operator diag(U, I) before the network is the same operator after it."""
    if activation == "directional":
        widths = [*widths[:1], *[4] * len(widths[1:-1]), *widths[-1:]]
        activation = DirectionalLeakyReLU(4, dtype=dtype, generator=generator(seed))
    net = network(
        widths, n, m, seed=seed, dtype=dtype, scalar_bias=scalar_bias, activation=activation,
        softening=softening,
    )  # fmt: skip
    assert_equivariant(
        net, *inputs(net, seed=seed), group=group, action=PARTS, output_action=PARTS,
        tolerance=10 * TOLERANCES[dtype],
    )  # fmt: skip


@given(n=sizes, m=sizes, dtype=dtypes, scalar_bias=st.sampled_from(BIASES), seed=seeds)
def test_a_layer_commutes_with_the_block_matrix_of_eq_18(n, m, dtype, scalar_bias, seed):
    layer = network((4, 3), n, m, seed=seed, dtype=dtype, scalar_bias=scalar_bias).layers[0]
    x = normal(5, n + m, 4, dtype=dtype, seed=seed)
    block = torch.block_diag(random_element("U", n, dtype=dtype, seed=seed), torch.eye(m, dtype=dtype))
    scale = layer(x).abs().max()
    torch.testing.assert_close(
        layer(block @ x) / scale, block @ layer(x) / scale, rtol=0, atol=TOLERANCES[dtype]
    )


@given(n=sizes, m=sizes, dtype=dtypes, seed=seeds)
def test_the_norm_of_all_components_is_kept(n, m, dtype, seed):
    """Eq. 19."""
    x = normal(n + m, 6, dtype=dtype, seed=seed)
    block = torch.block_diag(random_element("U", n, dtype=dtype, seed=seed), torch.eye(m, dtype=dtype))
    torch.testing.assert_close(torch.linalg.vector_norm(block @ x, dim=0), torch.linalg.vector_norm(x, dim=0))


def test_turning_the_scalars_too_is_caught():
    """Eq. 17's ones break U(n+m) down to U(n): a full rotation of vectors and scalars changes the result."""
    net = network((4, 6, 2))
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(
            lambda x: torch.cat(net(x[..., :3, :], x[..., 3:, :]), dim=-2), torch.cat(inputs(net), dim=-2)
        )


@every_bias
def test_an_activation_of_the_components_is_caught(scalar_bias):
    net = network((4, 6, 2), activation=nn.Tanh(), scalar_bias=scalar_bias)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(net, *inputs(net), action=PARTS, output_action=PARTS)


# What it computes


@given(n=sizes, m=sizes, dtype=dtypes, softening=st.sampled_from([0.0, 0.3]), seed=seeds)
def test_with_ones_the_layer_is_eq_6_on_n_plus_m_components(n, m, dtype, softening, seed):
    """Written out: e' is the unit vector of the first n components, and ones below it (Eq. 17)."""
    layer = network((4, 3), n, m, seed=seed, dtype=dtype, scalar_bias="ones", softening=softening).layers[0]
    x = normal(5, n + m, 4, dtype=dtype, seed=seed)
    square = torch.linalg.vector_norm(x[:, :n], dim=1, keepdim=True) ** 2
    e = torch.cat((x[:, :n] / (square + softening**2).sqrt(), torch.ones_like(x[:, n:])), dim=1)
    expected = x @ layer.weight + e @ layer.bias
    scale = expected.abs().max()
    torch.testing.assert_close(layer(x) / scale, expected / scale, rtol=0, atol=TOLERANCES[dtype])


@pytest.mark.parametrize("m", [1, 3])
def test_the_ones_and_their_weights_reduce_to_a_single_bias(m):
    """The paper's remark below Eq. 17: the single bias that does the same is the column sum of b."""
    ones = network((4, 6, 2), m=m, scalar_bias="ones")
    single = ScalarFeatureENN((4, 6, 2), 3, m, scalar_bias="single", dtype=torch.float64)
    with torch.no_grad():
        for reduced, layer in zip(single.layers, ones.layers, strict=True):
            reduced.stacked.copy_(layer.stacked)
            reduced.scalar_bias.copy_(layer.bias.sum(dim=0, keepdim=True))
    torch.testing.assert_close(single(*inputs(ones)), ones(*inputs(ones)))


def test_separate_biases_that_agree_are_a_single_one():
    single = network((4, 6, 2), scalar_bias="single")
    separate = ScalarFeatureENN((4, 6, 2), 3, 2, scalar_bias="separate", dtype=torch.float64)
    with torch.no_grad():
        for wide, layer in zip(separate.layers, single.layers, strict=True):
            wide.stacked.copy_(layer.stacked)
            wide.scalar_bias.copy_(layer.scalar_bias.expand(2, -1))
    torch.testing.assert_close(separate(*inputs(single)), single(*inputs(single)))


def test_the_network_is_its_layers_one_after_the_other():
    net = network((4, 6, 5, 2), activation=VectorSoftsign(0.3))
    vectors, scalars = inputs(net)
    x = torch.cat((vectors, scalars), dim=-2)
    for k, layer in enumerate(net.layers):
        x = layer(x)
        if k < 2:
            x = x / (1 + torch.linalg.vector_norm(x, dim=-2, keepdim=True)) + 0.3 * x
    torch.testing.assert_close(net(vectors, scalars), (x[:, :3], x[:, 3:]))


def test_without_features_it_is_the_enn():
    plain = ENN((6, 5, 4), dtype=torch.float64, generator=generator(1))
    net = ScalarFeatureENN((6, 5, 4), 3, 0, dtype=torch.float64, generator=generator(1))
    x = normal(7, 3, 6)
    vectors, scalars = net(x, torch.zeros(7, 0, 6, dtype=torch.float64))
    assert vectors.equal(plain(x))
    assert scalars.shape == (7, 0, 4)


def test_the_parameters_are_those_of_the_enn_and_one_bias_for_each_feature_and_vector():
    plain = sum(p.numel() for p in ENN((6, 5, 4)).parameters())
    count = {
        bias: sum(p.numel() for p in ScalarFeatureENN((6, 5, 4), 3, 2, scalar_bias=bias).parameters())
        for bias in BIASES
    }
    assert count == {"ones": plain, "single": plain + 9, "separate": plain + 18}


# What the features can say to the vectors


@every_bias
def test_the_scalars_reach_the_vectors_and_the_vectors_the_scalars(scalar_bias):
    net = network((4, 6, 2), scalar_bias=scalar_bias)
    vectors, scalars = inputs(net)
    v, h = net(vectors, scalars)
    assert not torch.allclose(net(vectors, scalars + 0.1)[0], v)
    assert not torch.allclose(net(1.1 * vectors, scalars)[1], h)


def test_in_one_layer_without_activation_they_do_not_meet():
    """W mixes vectors with vectors and features with features; the gate alone couples them."""
    net = network((4, 2), m=1)
    vectors, scalars = inputs(net)
    v, h = net(vectors, scalars)
    assert net(vectors, scalars + 0.1)[0].equal(v)
    assert net(1.1 * vectors, scalars)[1].equal(h)


def test_without_bias_the_vectors_do_not_see_the_sign_of_the_features():
    """Then the network commutes with all of U(n+m), h -> -h included: only Eq. 17's ones break that."""
    net = network((4, 6, 5, 2))
    vectors, scalars = inputs(net)
    assert not torch.allclose(net(vectors, -scalars)[0], net(vectors, scalars)[0])
    with torch.no_grad():
        for layer in net.layers:
            layer.bias.zero_()
            layer.scalar_bias.zero_()
    torch.testing.assert_close(net(vectors, -scalars)[0], net(vectors, scalars)[0])
    torch.testing.assert_close(net(vectors, -scalars)[1], -net(vectors, scalars)[1])


@pytest.mark.parametrize("scalar_bias", ["ones", "single"])
def test_with_a_shared_bias_two_features_can_be_exchanged_unnoticed(scalar_bias):
    """Read literally, Eq. 17 treats a charge like a mass: exchange them, and the vectors are the same."""
    net = network((4, 6, 5, 2), scalar_bias=scalar_bias)
    vectors, scalars = inputs(net)
    v, h = net(vectors, scalars)
    torch.testing.assert_close(net(vectors, scalars.flip(-2)), (v, h.flip(-2)))


def test_with_separate_biases_two_features_differ():
    net = network((4, 6, 5, 2))
    vectors, scalars = inputs(net)
    assert not torch.allclose(net(vectors, scalars.flip(-2))[0], net(vectors, scalars)[0])


# How it is used


def test_vectors_of_length_zero_carry_features_with_finite_gradients():
    net = network((4, 6, 2))
    vectors, scalars = torch.zeros(5, 3, 4, dtype=torch.float64, requires_grad=True), inputs(net, 5)[1]
    v, h = net(vectors, scalars)
    (v.sum() + h.sum()).backward()
    assert (v == 0).all()
    assert not (h == 0).any()
    assert vectors.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_features_without_batch_belong_to_every_sample():
    """The charges of a molecule are the same in all its configurations."""
    net = network((4, 6, 2))
    vectors, scalars = inputs(net)
    once = net(vectors, scalars[0])
    torch.testing.assert_close(once, net(vectors, scalars[0].expand(4, 2, 4)))
    assert once[1].shape == (4, 2, 2)


def test_a_batch_is_the_single_results_put_together():
    net = network((4, 6, 2))
    vectors, scalars = inputs(net)
    single = [net(v, h) for v, h in zip(vectors, scalars, strict=True)]
    torch.testing.assert_close(net(vectors, scalars), tuple(map(torch.stack, zip(*single, strict=True))))


def test_all_parameters_learn():
    """Five steps of gradient descent go downhill, and move the scalar biases too."""
    net = network((4, 6, 2))
    vectors, scalars = inputs(net, batch=20)
    losses, before = [], net.layers[0].scalar_bias.detach().clone()
    descent = torch.optim.SGD(net.parameters(), lr=0.01)
    for _ in range(5):
        descent.zero_grad()
        loss = (net(vectors, scalars)[0] - vectors[..., :2]).square().mean()
        loss.backward()
        descent.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert not net.layers[0].scalar_bias.equal(before)


def test_the_representation_shows_dimension_features_and_widths():
    net = ScalarFeatureENN((6, 5, 4), 3, 2)
    assert "n=3, m=2, widths=6-5-4" in repr(net)
    assert "6 -> 5, softening=0.0, n=3, m=2" in repr(net)


def test_shapes_and_dtypes_are_checked():
    net = ScalarFeatureENN((6, 5, 4), 3, 2, dtype=torch.float32)
    good = torch.zeros(7, 3, 6), torch.zeros(7, 2, 6)
    with pytest.raises(ValueError, match=r"vectors: got shape \(7, 2, 6\), wanted \(..., 3, 6\)"):
        net(good[1], good[1])
    with pytest.raises(ValueError, match=r"scalars: got shape \(7, 3, 6\), wanted \(..., 2, 6\)"):
        net(good[0], good[0])
    with pytest.raises(TypeError, match=r"scalars: got torch.float64, wanted torch.float32"):
        net(good[0], good[1].double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: got 0, wanted a positive dimension"),
        ({"m": -1}, "m: got -1, wanted a number of features of at least 0"),
        ({"scalar_bias": "none"}, "scalar_bias: got 'none', wanted one of 'ones', 'single', 'separate'"),
        ({"widths": (6,)}, r"widths: got \[6\], wanted at least an input and an output"),
        ({"widths": (6, 0)}, "got 6, 0, wanted positive numbers"),
    ],
)
def test_senseless_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ScalarFeatureENN(**{"widths": (6, 5, 4), "n": 3, "m": 2, **options})


def test_an_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match=r"dtype: got torch\.int32"):
        ScalarFeatureLinear(6, 4, n=3, m=1, dtype=torch.int32)
