"""The feedforward equivariant network (sec. 3.2)."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.groups import assert_equivariant
from enn_lib.layers import DTYPES
from enn_lib.network import ENN, PAPER_WIDTHS

GROUPS = ("U", "O", "SO")
all_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def random_vectors(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=generator(seed))


def random_network(widths, n=3, *, dtype=torch.float64, seed=0, **options):
    """A network whose biases are not zero."""
    net = ENN(widths, n, dtype=dtype, generator=generator(seed), **options)
    with torch.no_grad():
        for k, layer in enumerate(net.layers):
            layer.bias.copy_(random_vectors(*layer.bias.shape, dtype=dtype, seed=seed + k))
    return net


activations = st.one_of(st.floats(0, 1).map(VectorSoftsign), st.just(Identity()))


@given(
    n=st.integers(1, 6),
    widths=st.lists(st.integers(1, 12), min_size=2, max_size=5),
    dtype=st.sampled_from(DTYPES),
    group=st.sampled_from(GROUPS),
    activation=activations,
    output_activation=activations,
    softening=st.sampled_from([0.0, 0.3]),
    seed=st.integers(0, 2**31),
)
def test_the_network_commutes_with_every_unitary_operator(
    n, widths, dtype, group, activation, output_activation, softening, seed
):
    """Eq. 1, for any dimension, widths, dtype and activation."""
    net = random_network(
        widths,
        n,
        dtype=dtype,
        seed=seed,
        activation=activation,
        output_activation=output_activation,
        softening=softening,
    )
    assert_equivariant(net, random_vectors(4, n, widths[0], dtype=dtype, seed=seed), group=group)


@all_dtypes
def test_the_paper_s_network_commutes_with_every_unitary_operator(dtype):
    net = random_network(PAPER_WIDTHS, dtype=dtype)
    assert_equivariant(net, random_vectors(10, 3, 6, dtype=dtype))


def test_an_activation_that_acts_on_components_fails():
    net = random_network((6, 10, 4), activation=torch.nn.Tanh())
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(net, random_vectors(3, 6))


def test_the_network_is_its_layers_one_after_the_other():
    net = random_network((6, 5, 7, 4), activation=VectorSoftsign(0.3))
    x = random_vectors(8, 3, 6)
    expected = x
    for k, layer in enumerate(net.layers):
        e = expected / torch.linalg.vector_norm(expected, dim=-2, keepdim=True)
        u = expected @ layer.weight + e @ layer.bias
        is_last = k == len(net.layers) - 1
        expected = u if is_last else u / (1 + torch.linalg.vector_norm(u, dim=-2, keepdim=True)) + 0.3 * u
    torch.testing.assert_close(net(x), expected)


def test_by_default_the_hidden_layers_have_a_softsign_the_output_none_and_nothing_is_softened():
    net = ENN((6, 5, 4))
    assert (type(net.activation), net.activation.a) == (VectorSoftsign, 0.1)
    assert type(net.output_activation) is Identity
    assert all(layer.softening == 0 for layer in net.layers)


def test_the_paper_s_network_has_52000_real_parameters():
    """Twice (W and b) the products of neighbouring widths of sec. 4.2."""
    assert PAPER_WIDTHS == (6, 50, 90, 100, 80, 50, 4)
    assert sum(p.numel() for p in ENN(PAPER_WIDTHS).parameters()) == 52_000


def test_vectors_in_a_plane_stay_in_the_plane():
    """Each output is a combination of the inputs, so the network never leaves their span."""
    x = random_vectors(10, 3, 6)
    x[:, 2] = 0
    assert (random_network((6, 8, 4))(x)[:, 2] == 0).all()


def test_the_network_is_odd():
    x = random_vectors(10, 3, 6)
    net = random_network((6, 8, 4))
    torch.testing.assert_close(net(-x), -net(x))


@all_dtypes
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_zero_inputs_give_zero_with_finite_gradients(dtype, softening):
    net = random_network((6, 8, 8, 4), dtype=dtype, softening=softening)
    x = torch.zeros(2, 3, 6, dtype=dtype, requires_grad=True)
    y = net(x)
    y.real.sum().backward()
    assert (y == 0).all()
    assert x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in net.parameters())


def test_a_batch_of_any_shape_is_the_single_results_put_together():
    net = random_network((6, 8, 4))
    x = random_vectors(2, 5, 3, 6)
    single = torch.stack([torch.stack([net(one) for one in row]) for row in x])
    torch.testing.assert_close(net(x), single)
    torch.testing.assert_close(net(x.reshape(10, 3, 6)).reshape(2, 5, 3, 4), single)


def test_single_precision_agrees_with_double():
    x = random_vectors(10, 3, 6)
    low, high = (random_network(PAPER_WIDTHS, dtype=dtype) for dtype in (torch.float32, torch.float64))
    high.load_state_dict(low.state_dict())
    scale = high(x).abs().max()
    torch.testing.assert_close(low(x.float()).double() / scale, high(x) / scale, rtol=0, atol=1e-5)


def test_the_same_generator_gives_the_same_network_and_another_seed_another():
    one, same, other = (ENN((6, 5, 4), generator=generator(s)).state_dict() for s in (1, 1, 2))
    assert all(one[name].equal(same[name]) for name in one)
    assert not any(one[name].equal(other[name]) for name in one)


def test_the_representation_shows_dimension_and_widths():
    assert "n=3, widths=6-5-4" in repr(ENN((6, 5, 4)))


@pytest.mark.parametrize("shape", [(3, 5), (2, 6), (6, 3), (6,)])
def test_a_wrong_shape_is_refused(shape):
    with pytest.raises(ValueError, match=r"x: got shape .*, wanted \(..., 3, 6\)"):
        ENN((6, 5, 4))(torch.zeros(shape))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex64, torch.int64])
def test_another_dtype_than_that_of_the_parameters_is_refused(dtype):
    net = ENN((6, 5, 4), dtype=torch.float32)
    with pytest.raises(TypeError, match=f"x: got {dtype}, wanted torch.float32, the dtype of the network"):
        net(torch.zeros(3, 6, dtype=dtype))


@pytest.mark.parametrize("widths", [(), (6,)])
def test_a_network_without_two_layers_of_vectors_is_refused(widths):
    with pytest.raises(ValueError, match=r"widths: got .*, wanted at least an input and an output"):
        ENN(widths)


def test_a_layer_of_no_vectors_is_refused():
    with pytest.raises(ValueError, match="got 6, 0, wanted positive numbers"):
        ENN((6, 0, 4))


def test_a_dimension_of_zero_is_refused():
    with pytest.raises(ValueError, match="n: got 0, wanted a positive dimension"):
        ENN((6, 4), n=0)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match=r"dtype: got torch\.int32, wanted one of torch\.float32"):
        ENN((6, 4), dtype=torch.int32)
