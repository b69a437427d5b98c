"""Vectors with scalar features (sec. 3.3): equivariance under U', Eq. 17's bias, and what it lets through."""

import pytest
import torch
from examples import generator, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_lib.activations import Gate, Identity, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant, random_element
from enn_lib.layers import DTYPES
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN, ScalarFeatureLinear

BIASES = ("ones", "single", "separate")
PARTS = ("columns", "invariant")


def network(widths, n=3, m=2, *, seed=0, dtype=torch.float64, **options):
    """A network none of whose parameters is zero."""
    net = ScalarFeatureENN(widths, n, m, dtype=dtype, **options)
    for k, parameter in enumerate(net.parameters()):
        nn.init.normal_(parameter, std=0.5, generator=generator(seed + k))
    return net


def inputs(net, batch=4, seed=0):
    vectors = normal(batch, net.n, net.widths[0], dtype=net.dtype, seed=seed)
    return vectors, normal(batch, net.m, net.widths[0], dtype=net.dtype, seed=seed + 1)


def example(*widths, batch=4, **options):
    """A network, and vectors with scalar features for it."""
    net = network(widths, **options)
    return net, *inputs(net, batch)


sizes = st.integers(1, 5)
seeds = st.integers(0, 2**31)
drawn = {"dtype": st.sampled_from(DTYPES), "softening": st.sampled_from([0.0, 0.3]), "seed": seeds}
every_bias = pytest.mark.parametrize("scalar_bias", BIASES)


def layers(scalar_biases):
    """Layers of any n and m, four vectors in and three out."""
    networks = st.builds(network, st.just((4, 3)), sizes, sizes, scalar_bias=scalar_biases, **drawn)
    return networks.map(lambda net: net.layers[0])


def turned(matrix, x):
    """diag(U, I) x (Eq. 18)."""
    return torch.block_diag(matrix, torch.eye(x.shape[-2] - len(matrix), dtype=matrix.dtype)) @ x


# Equivariance


@given(
    net=st.builds(
        network,
        st.lists(sizes, min_size=2, max_size=4),
        sizes,
        sizes,
        scalar_bias=st.sampled_from(BIASES),
        activation=st.sampled_from([VectorSoftsign(), Gate(torch.sigmoid), Identity()]),
        **drawn,
    ),
    group=st.sampled_from(["U", "O", "SO"]),
    seed=seeds,
)
def test_vectors_turn_and_scalars_stay(net, group, seed):
    """Eq. 18: the operator diag(U, I) before the network is the same operator after it."""
    x, tolerance = inputs(net, seed=seed), 10 * TOLERANCES[net.dtype]
    assert_equivariant(net, *x, group=group, action=PARTS, output_action=PARTS, tolerance=tolerance)


@given(layer=layers(st.sampled_from(BIASES)), seed=seeds)
def test_a_layer_commutes_with_the_block_matrix_of_eq_18(layer, seed):
    x = normal(5, layer.n + layer.m, 4, dtype=layer.stacked.dtype, seed=seed)
    assert_equivariant(layer, x, action=turned, n=layer.n, seed=seed)


@given(n=sizes, m=sizes, dtype=st.sampled_from(DTYPES), seed=seeds)
def test_the_norm_of_all_components_is_kept(n, m, dtype, seed):
    """Eq. 19."""
    x = normal(n + m, 6, dtype=dtype, seed=seed)
    after = turned(random_element("U", n, dtype=dtype, seed=seed), x)
    torch.testing.assert_close(torch.linalg.vector_norm(after, dim=0), torch.linalg.vector_norm(x, dim=0))


def test_turning_the_scalars_too_is_caught():
    """Eq. 17's ones break U(n+m) down to U(n): a full rotation of vectors and scalars changes the result."""
    net, *parts = example(4, 6, 2)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(
            lambda x: torch.cat(net(x[..., :3, :], x[..., 3:, :]), dim=-2), torch.cat(parts, dim=-2)
        )


@every_bias
def test_an_activation_of_the_components_is_caught(scalar_bias):
    net, *parts = example(4, 6, 2, activation=nn.Tanh(), scalar_bias=scalar_bias)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(net, *parts, action=PARTS, output_action=PARTS)


# What it computes


@given(layer=layers(st.just("ones")), seed=seeds)
def test_with_ones_the_layer_is_eq_6_on_n_plus_m_components(layer, seed):
    """Written out: e' is the unit vector of the first n components, and ones below it (Eq. 17)."""
    n, dtype = layer.n, layer.stacked.dtype
    x = normal(5, n + layer.m, 4, dtype=dtype, seed=seed)
    square = torch.linalg.vector_norm(x[:, :n], dim=1, keepdim=True) ** 2
    e = torch.cat((x[:, :n] / (square + layer.softening**2).sqrt(), torch.ones_like(x[:, n:])), dim=1)
    expected = x @ layer.weight + e @ layer.bias
    scale = expected.abs().max()
    torch.testing.assert_close(layer(x) / scale, expected / scale, rtol=0, atol=TOLERANCES[dtype])


@pytest.mark.parametrize("m", [1, 3])
@pytest.mark.parametrize(
    ("wide", "narrow", "bias_of"),
    [
        ("single", "ones", lambda layer: layer.bias.sum(dim=0)),
        ("separate", "single", lambda layer: layer.scalar_bias),
    ],
    ids=["a single one does what the ones do", "separate ones that agree are a single one"],
)
def test_each_kind_of_scalar_bias_can_do_what_the_one_before_it_does(wide, narrow, bias_of, m):
    """The paper's remark below Eq. 17: the single bias that does what the ones do is the column sum of b."""
    net, *parts = example(4, 6, 2, m=m, scalar_bias=narrow)
    other = ScalarFeatureENN((4, 6, 2), 3, m, scalar_bias=wide, dtype=torch.float64)
    with torch.no_grad():
        for copy, layer in zip(other.layers, net.layers, strict=True):
            copy.stacked.copy_(layer.stacked)
            copy.scalar_bias.copy_(bias_of(layer))
    torch.testing.assert_close(other(*parts), net(*parts))


def test_the_network_is_its_layers_one_after_the_other():
    net, vectors, scalars = example(4, 6, 5, 2, activation=VectorSoftsign(0.3))
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
    def count(net):
        return sum(p.numel() for p in net.parameters())

    counts = [count(ScalarFeatureENN((6, 5, 4), 3, 2, scalar_bias=bias)) for bias in BIASES]
    plain = count(ENN((6, 5, 4)))
    assert counts == [plain, plain + 9, plain + 18]


def test_the_scalar_biases_start_at_zero():
    assert (ScalarFeatureLinear(6, 4, n=3, m=2).scalar_bias == 0).all()


# What the features can say to the vectors


@every_bias
def test_the_scalars_reach_the_vectors_and_the_vectors_the_scalars(scalar_bias):
    net, vectors, scalars = example(4, 6, 2, scalar_bias=scalar_bias)
    v, h = net(vectors, scalars)
    assert not torch.allclose(net(vectors, scalars + 0.1)[0], v)
    assert not torch.allclose(net(1.1 * vectors, scalars)[1], h)


def test_in_one_layer_without_activation_they_do_not_meet():
    """W mixes vectors with vectors and features with features; the gate alone couples them."""
    net, vectors, scalars = example(4, 2, m=1)
    v, h = net(vectors, scalars)
    assert net(vectors, scalars + 0.1)[0].equal(v)
    assert net(1.1 * vectors, scalars)[1].equal(h)


def test_without_bias_the_vectors_do_not_see_the_sign_of_the_features():
    """Then the network commutes with all of U(n+m), h -> -h included: only Eq. 17's ones break that."""
    net, vectors, scalars = example(4, 6, 5, 2)
    assert not torch.allclose(net(vectors, -scalars)[0], net(vectors, scalars)[0])
    for layer in net.layers:
        nn.init.zeros_(layer.bias)
        nn.init.zeros_(layer.scalar_bias)
    v, h = net(vectors, scalars)
    torch.testing.assert_close(net(vectors, -scalars), (v, -h))


@pytest.mark.parametrize("scalar_bias", ["ones", "single"])
def test_with_a_shared_bias_two_features_can_be_exchanged_unnoticed(scalar_bias):
    """Read literally, Eq. 17 treats a charge like a mass: exchange them, and the vectors are the same."""
    net, vectors, scalars = example(4, 6, 5, 2, scalar_bias=scalar_bias)
    v, h = net(vectors, scalars)
    torch.testing.assert_close(net(vectors, scalars.flip(-2)), (v, h.flip(-2)))


def test_with_separate_biases_two_features_differ():
    net, vectors, scalars = example(4, 6, 5, 2)
    assert not torch.allclose(net(vectors, scalars.flip(-2))[0], net(vectors, scalars)[0])


# How it is used


def test_vectors_of_length_zero_carry_features_with_finite_gradients():
    net, vectors, scalars = example(4, 6, 2)
    vectors = torch.zeros_like(vectors, requires_grad=True)
    v, h = net(vectors, scalars)
    (v.sum() + h.sum()).backward()
    assert (v == 0).all()
    assert not (h == 0).any()
    assert vectors.grad.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_features_without_batch_belong_to_every_sample():
    """The charges of a molecule are the same in all its configurations."""
    net, vectors, scalars = example(4, 6, 2)
    once = net(vectors, scalars[0])
    torch.testing.assert_close(once, net(vectors, scalars[0].expand(4, 2, 4)))
    assert once[1].shape == (4, 2, 2)


def test_a_batch_is_the_single_results_put_together():
    net, vectors, scalars = example(4, 6, 2)
    single = [net(v, h) for v, h in zip(vectors, scalars, strict=True)]
    torch.testing.assert_close(net(vectors, scalars), tuple(map(torch.stack, zip(*single, strict=True))))


def test_all_parameters_learn():
    """Five steps of gradient descent go downhill, and move the scalar biases too."""
    net, vectors, scalars = example(4, 6, 2, batch=20)
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


def test_one_set_of_vectors_may_meet_many_sets_of_scalars():
    net = ScalarFeatureENN((6, 5, 4), 3, 2, dtype=torch.float64)
    vectors, scalars = normal(3, 6), normal(7, 5, 2, 6)
    together = net(vectors, scalars)
    torch.testing.assert_close(together, net(vectors.expand(7, 5, 3, 6), scalars))


def test_shapes_and_dtypes_are_checked():
    net = ScalarFeatureENN((6, 5, 4), 3, 2, dtype=torch.float32)
    vectors, scalars = torch.zeros(7, 3, 6), torch.zeros(7, 2, 6)
    with pytest.raises(ValueError, match=r"vectors: got shape \(7, 2, 6\), wanted \(..., 3, 6\)"):
        net(scalars, scalars)
    with pytest.raises(ValueError, match=r"scalars: got shape \(7, 3, 6\), wanted \(..., 2, 6\)"):
        net(vectors, vectors)
    with pytest.raises(ValueError, match=r"^vectors: got shape \(7, 3, 4\), wanted \(..., 3, 6\)$"):
        net(vectors[..., :4], scalars)
    with pytest.raises(TypeError, match=r"^scalars: got torch.float64, wanted torch.float32, the dtype of"):
        net(vectors, scalars.double())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: got 0, wanted a positive dimension"),
        ({"m": -1}, "m: got -1, wanted a number of features of at least 0"),
        ({"scalar_bias": "none"}, "scalar_bias: got 'none', wanted one of 'ones', 'single', 'separate'"),
        ({"widths": (6,)}, r"widths: got \[6\], wanted at least an input and an output"),
        ({"widths": (6, 0)}, "in_vectors, out_vectors: got 6, 0, wanted positive numbers"),
    ],
)
def test_senseless_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ScalarFeatureENN(**{"widths": (6, 5, 4), "n": 3, "m": 2, **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n: got 0, wanted a positive dimension"),
        ({"m": -1}, "m: got -1, wanted a number of features of at least 0"),
    ],
)
def test_a_layer_refuses_what_a_network_does(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ScalarFeatureLinear(6, 4, **{"n": 3, "m": 1, **options})


@pytest.mark.parametrize("scalar_bias", ["single", "separate"])
def test_the_scalars_biases_start_at_zero_in_the_dtype_of_the_layer(scalar_bias):
    layer = ScalarFeatureLinear(6, 4, n=1, m=2, scalar_bias=scalar_bias, dtype=torch.complex128)
    assert layer.scalar_bias.dtype == torch.complex128
    assert layer.scalar_bias.tolist() == [[0, 0, 0, 0]] * {"single": 1, "separate": 2}[scalar_bias]


def test_an_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match=r"dtype: got torch\.int32"):
        ScalarFeatureLinear(6, 4, n=3, m=1, dtype=torch.int32)


def test_by_default_vectors_have_three_components_and_one_feature():
    network = ScalarFeatureENN((6, 4))
    assert (network.n, network.m) == (3, 1)
