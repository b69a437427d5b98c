"""The equivariant layer (Eq. 6) and its unit vectors (Eq. 9), alone and with activations (Eq. 14, 15)."""

import re

import pytest
import torch
from examples import all_dtypes, biased_network, generator, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant
from enn_lib.layers import DTYPES, SMALLEST_LENGTH, EquivariantLinear, inverse_length, unit_vectors

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**31)


def biased_layer(*widths, **options):
    """A layer whose bias is not zero."""
    return biased_network(widths, **options).layers[0]


# Equivariance


@given(
    layer=st.builds(
        biased_layer, sizes, sizes, dtype=dtypes, softening=st.sampled_from([0.0, 0.3]), seed=seeds
    ),
    n=sizes,
    batch=st.sampled_from([(), (3,), (2, 3)]),
    group=st.sampled_from(["U", "O", "SO"]),
    seed=seeds,
)
def test_the_layer_commutes_with_every_unitary_operator(layer, n, batch, group, seed):
    """Eq. 11, for any dimension, any number of vectors, any dtype."""
    x = normal(*batch, n, layer.in_vectors, dtype=layer.stacked.dtype, seed=seed)
    assert_equivariant(layer, x, group=group)


@given(x=st.builds(normal, st.just(2), sizes, sizes, dtype=dtypes, seed=seeds), softening=st.floats(0, 3))
def test_unit_vectors_commute_with_every_unitary_operator(x, softening):
    assert_equivariant(lambda x: unit_vectors(x, softening), x)


# The equations


@all_dtypes
def test_the_layer_is_equation_6_written_letter_by_letter(dtype):
    """y_j = sum_i x_i W_ij + (x_i / |x_i|) b_ij, one vector at a time."""
    layer = biased_layer(4, 3, dtype=dtype)
    x = normal(5, 4, dtype=dtype)
    W, b = layer.weight, layer.bias
    for j, y in enumerate(layer(x).unbind(dim=1)):
        expected = torch.zeros(5, dtype=dtype)
        for i in range(4):
            e = x[:, i] / torch.linalg.vector_norm(x[:, i])
            expected = expected + x[:, i] * W[i, j] + e * b[i, j]
        torch.testing.assert_close(y, expected)


def test_the_identity_changes_nothing():
    x = normal(3, 2, dtype=torch.complex128)
    assert Identity()(x) is x


@all_dtypes
def test_the_unit_vectors_are_equation_9_written_out(dtype):
    x = normal(3, 4, dtype=dtype)
    for vector, e in zip(x.unbind(dim=1), unit_vectors(x).unbind(dim=1), strict=True):
        torch.testing.assert_close(e, vector / sum(abs(entry) ** 2 for entry in vector) ** 0.5)


def test_conjugated_vectors_have_unit_vectors_too():
    """torch conjugates lazily, and refuses to split such a tensor into its parts."""
    x = normal(4, 3, 5, dtype=torch.complex128)
    torch.testing.assert_close(unit_vectors(x.conj()), unit_vectors(x).conj())
    torch.testing.assert_close(unit_vectors(x.mH), unit_vectors(x.mH.clone()))


def test_a_zero_bias_makes_the_layer_linear_and_a_bias_does_not():
    x, y = normal(2, 3, 4)
    linear, biased = EquivariantLinear(4, 3, dtype=torch.float64), biased_layer(4, 3)
    torch.testing.assert_close(linear(x + y), linear(x) + linear(y))
    assert (biased(x + y) - biased(x) - biased(y)).abs().max() > 0.1


# Softening


def test_softening_is_off_by_default():
    assert EquivariantLinear(2, 2).softening == 0.0


@all_dtypes
def test_softened_unit_vectors_are_x_over_the_root_of_x_squared_plus_epsilon_squared(dtype):
    x = normal(3, 2, dtype=dtype)
    expected = x / (torch.linalg.vector_norm(x, dim=0) ** 2 + 0.5**2) ** 0.5
    torch.testing.assert_close(unit_vectors(x, 0.5), expected)


@all_dtypes
def test_softening_is_smooth_at_zero_with_slope_one_over_epsilon(dtype):
    zero = torch.zeros(3, 1, dtype=dtype)
    jacobian = torch.autograd.functional.jacobian(lambda x: unit_vectors(x, 0.5).real.squeeze(), zero)
    torch.testing.assert_close(jacobian.squeeze(), 2 * torch.eye(3, dtype=dtype))


def test_a_small_softening_comes_close_to_the_paper():
    x = normal(3, 4)
    torch.testing.assert_close(unit_vectors(x, 1e-6), unit_vectors(x), rtol=1e-10, atol=1e-10)


# Vectors of length zero


@all_dtypes
def test_a_vector_of_length_zero_maps_to_zero(dtype):
    """The only value that every U leaves alone."""
    zero = torch.zeros(3, 4, dtype=dtype)
    assert (unit_vectors(zero) == 0).all()
    assert (biased_layer(4, 2, dtype=dtype)(zero) == 0).all()


@all_dtypes
@pytest.mark.parametrize("of", [lambda e: e.abs().square(), lambda e: e.real], ids=["square", "sum"])
def test_the_unit_vector_has_gradient_zero_at_zero(dtype, of):
    x = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    of(unit_vectors(x)).sum().backward()
    assert (x.grad == 0).all()


@all_dtypes
def test_a_zero_vector_among_others_neither_changes_them_nor_their_gradients(dtype):
    layer = biased_layer(3, 2, dtype=dtype)
    x = normal(3, 3, dtype=dtype)
    x[:, 1] = 0
    x.requires_grad_()
    layer(x).abs().square().sum().backward()

    rest = x.detach()[:, [0, 2]].requires_grad_()
    W, b = layer.weight[[0, 2]].detach(), layer.bias[[0, 2]].detach()
    y = rest @ W + rest / torch.linalg.vector_norm(rest, dim=0) @ b
    y.abs().square().sum().backward()
    torch.testing.assert_close(x.grad[:, [0, 2]], rest.grad)
    assert x.grad.isfinite().all()
    assert layer.stacked.grad.isfinite().all()


@pytest.mark.parametrize("dtype", SMALLEST_LENGTH)
def test_a_vector_has_a_direction_down_to_the_smallest_length_and_none_below(dtype):
    x = torch.tensor([[1.01, 0.99]], dtype=dtype) * SMALLEST_LENGTH[dtype]
    torch.testing.assert_close(unit_vectors(x), torch.tensor([[1.0, 0.0]], dtype=dtype))
    torch.testing.assert_close(inverse_length(x) * x, unit_vectors(x))


@all_dtypes
@pytest.mark.parametrize("softening", [0.0, 1e-30, 0.1])
def test_no_length_however_small_gives_a_nan(dtype, softening):
    """Between zero and one lie lengths whose square is zero, and others whose inverse cube is infinite."""
    lengths = 10.0 ** torch.arange(-320, 10, 0.25, dtype=torch.float64)
    x = (unit_vectors(normal(3, len(lengths), dtype=torch.complex128)) * lengths).real
    x = x.to(dtype).requires_grad_()
    for function in (lambda x: unit_vectors(x, softening), VectorSoftsign()):
        y = function(x)
        (gradient,) = torch.autograd.grad(y.real.sum(), x)
        assert y.isfinite().all()
        assert gradient.isfinite().all()


# Gradients


@pytest.mark.parametrize("softening", [0.0, 0.3])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradients_are_those_of_finite_differences(dtype, softening):
    layer = biased_layer(3, 2, dtype=dtype, softening=softening)
    x = normal(2, 3, 3, dtype=dtype).requires_grad_()

    def function(x, stacked):
        return VectorSoftsign()(torch.func.functional_call(layer, {"stacked": stacked}, x))

    assert torch.autograd.gradcheck(function, (x, layer.stacked))


# Parameters


@all_dtypes
def test_the_weight_has_the_variance_of_xavier_and_mean_zero(dtype):
    weight = EquivariantLinear(300, 200, dtype=dtype, generator=generator(0)).weight.detach()
    assert weight.mean().abs() < 1e-3
    assert weight.abs().square().mean().item() == pytest.approx(2 / (300 + 200), rel=0.01)


@all_dtypes
def test_the_bias_starts_at_zero(dtype):
    assert (EquivariantLinear(3, 2, dtype=dtype).bias == 0).all()


@pytest.mark.parametrize("pair", [(torch.float32, torch.float64), (torch.complex64, torch.complex128)])
def test_the_same_generator_gives_the_same_weights_in_either_precision(pair):
    low, high = (EquivariantLinear(5, 4, dtype=dtype, generator=generator(3)).weight for dtype in pair)
    assert low.equal(high.to(low.dtype))


def test_weight_and_bias_are_views_of_one_stored_matrix():
    layer = EquivariantLinear(3, 2)
    with torch.no_grad():
        layer.weight.fill_(1.0)
        layer.bias.fill_(2.0)
    assert layer.stacked.tolist() == [[1.0, 1.0]] * 3 + [[2.0, 2.0]] * 3
    assert [name for name, _ in layer.named_parameters()] == ["stacked"]


def test_the_representation_shows_the_sizes():
    assert repr(EquivariantLinear(3, 2, softening=0.5)) == "EquivariantLinear(3 -> 2, softening=0.5)"


# Bad input


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.bool])
def test_an_unknown_dtype_is_refused(dtype):
    wanted = "torch.float32, torch.float64, torch.complex64, torch.complex128"
    with pytest.raises(TypeError, match=f"^dtype: got {dtype}, wanted one of {wanted}$"):
        EquivariantLinear(3, 2, dtype=dtype)


@pytest.mark.parametrize("sizes", [(0, 2), (3, 0), (-1, 2)])
def test_a_layer_without_vectors_is_refused(sizes):
    with pytest.raises(ValueError, match=f"in_vectors, out_vectors: got {sizes[0]}, {sizes[1]}"):
        EquivariantLinear(*sizes)


@pytest.mark.parametrize("softening", [-0.1, float("nan"), 1e155, 10**400])
def test_a_softening_that_is_no_length_is_refused(softening):
    with pytest.raises(ValueError, match=f"softening: got {re.escape(str(softening))}, wanted a length"):
        EquivariantLinear(3, 2, softening=softening)


def test_the_tolerances_cover_every_dtype_of_the_layers():
    assert set(TOLERANCES) == set(DTYPES)
