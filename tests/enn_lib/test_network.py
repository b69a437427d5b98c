"""The feedforward equivariant network (sec. 3.2)."""

import pytest
import torch
from examples import all_dtypes, biased_network, generator, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.groups import assert_equivariant, equivariance_error, random_element
from enn_lib.layers import DTYPES, unit_vectors
from enn_lib.network import ENN, PAPER_WIDTHS

softenings = st.sampled_from([0.0, 0.3])
activations = st.one_of(st.floats(0, 1).map(VectorSoftsign), st.just(Identity()))
networks = st.builds(
    biased_network,
    st.lists(st.integers(1, 12), min_size=2, max_size=5),
    st.integers(1, 6),
    dtype=st.sampled_from(DTYPES),
    activation=activations,
    output_activation=activations,
    softening=softenings,
    seed=st.integers(0, 2**31),
)


@given(net=networks, group=st.sampled_from(["U", "O", "SO"]), seed=st.integers(0, 2**31))
def test_the_network_commutes_with_every_unitary_operator(net, group, seed):
    """Eq. 1, for any dimension, widths, dtype and activation."""
    x = normal(4, net.n, net.widths[0], dtype=net.dtype, seed=seed)
    assert_equivariant(net, x, group=group, seed=seed)


@all_dtypes
def test_the_paper_s_network_commutes_with_every_unitary_operator(dtype):
    assert_equivariant(biased_network(PAPER_WIDTHS, dtype=dtype), normal(10, 3, 6, dtype=dtype))


def test_an_activation_that_acts_on_components_fails():
    net = biased_network((6, 10, 4), activation=torch.nn.Tanh())
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(net, normal(3, 6))


@all_dtypes
def test_the_network_is_its_layers_one_after_the_other(dtype):
    hidden, last = VectorSoftsign(0.3), VectorSoftsign(0.2)
    net = biased_network((6, 5, 7, 4), dtype=dtype, activation=hidden, output_activation=last)
    x = expected = normal(8, 3, 6, dtype=dtype)
    for layer, a in zip(net.layers, (0.3, 0.3, 0.2), strict=True):
        e = expected / torch.linalg.vector_norm(expected, dim=-2, keepdim=True)
        u = expected @ layer.weight + e @ layer.bias
        expected = u / (1 + torch.linalg.vector_norm(u, dim=-2, keepdim=True)) + a * u
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
    x = normal(10, 3, 6)
    x[:, 2] = 0
    assert (biased_network((6, 8, 4))(x)[:, 2] == 0).all()


@given(seed=st.integers(0, 1000), softening=softenings)
def test_the_output_is_in_the_span_of_two_inputs_so_it_is_orthogonal_to_their_cross_product(seed, softening):
    """Eq. 36 cannot be represented, whatever the weights."""
    net = biased_network((2, 7, 5, 3), seed=seed, softening=softening)
    x = normal(10, 3, 2, seed=seed)
    across = torch.linalg.cross(x[..., 0], x[..., 1]).unsqueeze(-2)
    assert (across @ net(x)).abs().max() < 1e-12


def test_the_network_is_odd():
    net, x = biased_network((6, 8, 4)), normal(10, 3, 6)
    torch.testing.assert_close(net(-x), -net(x))


@all_dtypes
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_zero_inputs_give_zero_with_finite_gradients(dtype, softening):
    net = biased_network((6, 8, 8, 4), dtype=dtype, softening=softening)
    x = torch.zeros(2, 3, 6, dtype=dtype, requires_grad=True)
    y = net(x)
    y.real.sum().backward()
    assert (y == 0).all()
    assert all(leaf.grad.isfinite().all() for leaf in (x, *net.parameters()))


def test_a_batch_of_any_shape_is_the_single_results_put_together():
    net, x = biased_network((6, 8, 4)), normal(2, 5, 3, 6)
    single = torch.stack([torch.stack([net(one) for one in row]) for row in x])
    torch.testing.assert_close(net(x), single)
    torch.testing.assert_close(net(x.flatten(0, 1)), single.flatten(0, 1))


def test_single_precision_agrees_with_double():
    x = normal(10, 3, 6)
    low, high = (biased_network(PAPER_WIDTHS, dtype=dtype) for dtype in (torch.float32, torch.float64))
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


@pytest.mark.parametrize(
    ("widths", "n", "said"),
    [
        ((), 3, r"widths: got \[\], wanted at least an input and an output"),
        ((6,), 3, r"widths: got \[6\], wanted at least an input and an output"),
        ((6, 0, 4), 3, "got 6, 0, wanted positive numbers"),
        ((6, 4), 0, "n: got 0, wanted a positive dimension"),
    ],
)
def test_what_makes_no_network_is_named(widths, n, said):
    with pytest.raises(ValueError, match=said):
        ENN(widths, n)


def test_an_unknown_dtype_is_refused():
    with pytest.raises(TypeError, match=r"dtype: got torch\.int32, wanted one of torch\.float32"):
        ENN((6, 4), dtype=torch.int32)


@pytest.mark.parametrize(("softening", "is_within"), [(0.0, False), (0.3, True)])
def test_for_atoms_on_a_line_single_precision_is_enough_only_where_it_is_softened(softening, is_within):
    """What the docstring of `unit_vectors` says."""
    line, errors = torch.tensor([1.0, 2.0, 3.0]).view(3, 1), []
    operator = random_element("O", 3, dtype=torch.float32, seed=0)
    for seed in range(20):
        net = biased_network((6, 50, 50, 4), seed=seed, softening=softening, dtype=torch.float32)
        x = line * normal(20, 1, 6, dtype=torch.float32, seed=seed)
        errors += [equivariance_error(net, one, operator=operator) for one in x]
    assert (max(errors) < 1e-4) == is_within


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("softening", [0.0, 0.3])
def test_a_network_in_half_precision_computes_what_it_does_in_single(dtype, softening):
    network = biased_network((6, 8, 4), softening=softening, dtype=torch.float32)
    x = normal(20, 3, 6, dtype=torch.float32)
    expected = network(x)
    tolerance = 30 * torch.finfo(dtype).eps
    with torch.autocast("cpu", dtype):
        torch.testing.assert_close(network(x).float(), expected, rtol=tolerance, atol=tolerance)
    half = network.to(dtype)(x.to(dtype))
    assert half.dtype == dtype
    torch.testing.assert_close(half.float(), expected, rtol=tolerance, atol=tolerance)


def test_lengths_in_half_precision_do_not_overflow():
    x = torch.full((3, 2), 300.0, dtype=torch.float16)
    torch.testing.assert_close(unit_vectors(x), torch.full_like(x, 3**-0.5))
