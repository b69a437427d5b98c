"""Rectifiers of the length and along directions (sec. 3.2): equivariance, shape, slopes, zero."""

import pytest
import torch
from examples import all_dtypes, generator, normal
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_book.lectures.activations import DirectionalLeakyReLU, VectorLeakyReLU, VectorReLU
from enn_lib.activations import Gate
from enn_lib.groups import assert_equivariant
from enn_lib.layers import DTYPES

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**31)
slopes = st.floats(0, 1)
thresholds = st.floats(0, 3)
groups = st.sampled_from(["U", "O", "SO"])
rectifiers = st.one_of(thresholds.map(VectorReLU), st.builds(VectorLeakyReLU, slopes, thresholds))
batches = st.builds(normal, st.just(2), sizes, sizes, dtype=dtypes, seed=seeds)

double_precision = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


def norm(u):
    return torch.linalg.vector_norm(u, dim=-2, keepdim=True)


# Equivariance


@given(activation=rectifiers, u=batches, group=st.sampled_from(["U", "O", "SO", "S"]))
def test_every_rectifier_commutes_with_every_unitary_operator_and_every_permutation(activation, u, group):
    """Eq. 13; and because each vector is treated alike, permutations of the vectors too."""
    assert_equivariant(activation, u, group=group)


@given(u=batches, slope=slopes, group=groups, seed=seeds)
def test_the_directional_relu_commutes_with_every_unitary_operator(u, slope, group, seed):
    activation = DirectionalLeakyReLU(u.shape[-1], slope, dtype=u.dtype, generator=generator(seed))
    # Near the kink rounding alone decides the side, but the function is continuous there. It stands beside
    # its input here, since where all is cut off, as of one vector alone, the output is nothing but rounding.
    assert_equivariant(lambda u: torch.cat((u, activation(u)), dim=-1), u, group=group)


# What they compute


@all_dtypes
def test_the_relu_takes_the_threshold_off_the_length(dtype):
    u = normal(50, 3, 4, dtype=dtype)
    actual = VectorReLU(1.5)(u)
    torch.testing.assert_close(norm(actual), (norm(u) - 1.5).clamp_min(0))
    assert (actual == 0).any()
    torch.testing.assert_close(actual * norm(u), u * norm(actual))


@all_dtypes
def test_the_leaky_relu_is_the_relu_plus_a_part_of_the_identity_up_to_the_threshold(dtype):
    u = normal(50, 3, 4, dtype=dtype)
    r = norm(u)
    expected = torch.where(r < 1.5, 0.2 * r, r - 0.8 * 1.5)
    torch.testing.assert_close(norm(VectorLeakyReLU(0.2, 1.5)(u)), expected)


@given(slope=slopes, dtype=dtypes, n=sizes, seed=seeds)
def test_without_a_threshold_the_relu_and_the_leaky_relu_are_the_identity(slope, dtype, n, seed):
    """A length is never negative: there is nothing to rectify."""
    u = normal(3, n, 4, dtype=dtype, seed=seed)
    u[0] = 0
    torch.testing.assert_close(VectorLeakyReLU(slope, 0.0)(u), u)
    torch.testing.assert_close(VectorReLU(0.0)(u), u)


@given(u=st.floats(-5, 5), threshold=thresholds)
def test_in_one_real_dimension_the_relu_is_soft_shrinkage(u, threshold):
    u = torch.tensor([[u]], dtype=torch.float64)
    torch.testing.assert_close(VectorReLU(threshold)(u), nn.functional.softshrink(u, threshold))


@double_precision
def test_the_general_gate_contains_the_rectifiers(dtype):
    u = normal(20, 3, 4, dtype=dtype)
    for activation, function in (
        (VectorReLU(1.2), lambda r: (1 - 1.2 / r).clamp_min(0)),
        (VectorLeakyReLU(0.3, 1.2), lambda r: torch.where(r < 1.2, 0.3, 1 - 0.7 * 1.2 / r)),
    ):
        torch.testing.assert_close(Gate(function)(u), activation(u))


@all_dtypes
def test_the_directional_relu_leaves_no_part_against_its_direction(dtype):
    """Re<k, sigma(u)> >= 0, and where Re<k, u> >= 0 nothing is changed."""
    u = normal(40, 3, 4, dtype=dtype)
    activation = DirectionalLeakyReLU(4, dtype=dtype, generator=generator(1))
    k = u @ activation.directions.detach()
    actual = activation(u).detach()
    before, after = ((k.conj() * v).sum(dim=-2, keepdim=True).real for v in (u, actual))
    torch.testing.assert_close(after, before.clamp_min(0))
    unchanged = (before >= 0).expand_as(u)
    assert 0 < unchanged.sum() < unchanged.numel()
    assert actual[unchanged].equal(u[unchanged])


@given(slope=slopes, dtype=dtypes, seed=seeds)
def test_of_one_vector_alone_the_directional_relu_is_linear(slope, dtype, seed):
    """One vector has nothing to compare itself with: its direction is a multiple of itself."""
    activation = DirectionalLeakyReLU(1, slope, dtype=dtype, generator=generator(seed))
    u, v = normal(2, 3, 1, dtype=dtype, seed=seed)
    torch.testing.assert_close(activation(u + v), activation(u) + activation(v), rtol=1e-4, atol=1e-5)


def test_the_directional_relu_is_the_vector_neuron_of_deng_et_al():
    """q where <q, k> >= 0, else q - <q, k/|k|> k/|k|: their Eq. 6, one vector at a time."""
    activation = DirectionalLeakyReLU(3, generator=generator(2), dtype=torch.float64)
    u = normal(3, 3, seed=3)
    actual = activation(u)
    for c in range(3):
        q, k = u[:, c], u @ activation.directions[:, c]
        k = k / k.norm()
        expected = q if q @ k >= 0 else q - (q @ k) * k
        torch.testing.assert_close(actual[:, c], expected)


# Slopes


@double_precision
@pytest.mark.parametrize("activation", [VectorReLU(1.1), VectorLeakyReLU(0.2, 1.1)], ids=repr)
def test_the_gradients_of_a_rectifier_are_those_of_finite_differences(activation, dtype):
    assert torch.autograd.gradcheck(activation, normal(2, 3, 4, dtype=dtype).requires_grad_())


@double_precision
def test_the_gradients_of_the_directional_relu_are_those_of_finite_differences(dtype):
    activation = DirectionalLeakyReLU(4, 0.2, dtype=dtype, generator=generator(0))

    def function(u, directions):
        return torch.func.functional_call(activation, {"directions": directions}, u)

    u = normal(2, 3, 4, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(function, (u, activation.directions))


# Zero length


@all_dtypes
@pytest.mark.parametrize(
    ("activation", "slope"),
    [
        (VectorReLU(1.0), 0.0),
        (VectorReLU(0.0), 1.0),
        (VectorLeakyReLU(0.2, 1.0), 0.2),
        (VectorLeakyReLU(0.2, 0.0), 1.0),
    ],
    ids=repr,
)
def test_zero_maps_to_zero_with_the_documented_gradient(activation, slope, dtype):
    zero = torch.zeros(3, 1, dtype=dtype)
    assert (activation(zero) == 0).all()
    jacobian = torch.autograd.functional.jacobian(lambda u: activation(u).real.squeeze(), zero)
    torch.testing.assert_close(jacobian.squeeze(), slope * torch.eye(3, dtype=dtype))


@all_dtypes
def test_the_directional_relu_has_no_gradient_at_zero_where_autograd_returns_the_identity(dtype):
    """A positive factor passes through, so its kink is the same at every length; and it is not linear."""
    activation = DirectionalLeakyReLU(2, dtype=dtype, generator=generator(0))
    u = normal(20, 3, 2, dtype=dtype)
    torch.testing.assert_close(activation(1e-6 * u), 1e-6 * activation(u), rtol=1e-4, atol=0)
    assert (activation(u + u.flip(0)) - activation(u) - activation(u.flip(0))).abs().max() > 0.1
    zero = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    out = activation(zero)
    out.real.sum().backward()
    assert (out == 0).all()
    assert (zero.grad == 1).all()
    assert activation.directions.grad.isfinite().all()


@given(activation=rectifiers, exponents=st.lists(st.integers(-30, 8), min_size=3, max_size=3), dtype=dtypes)
def test_no_length_gives_a_nan_in_value_or_gradient(activation, exponents, dtype):
    u = normal(3, 3, dtype=dtype) * torch.tensor([10.0**k for k in exponents])
    u = u.to(dtype).requires_grad_()
    out = activation(u)
    out.real.sum().backward()
    assert out.isfinite().all()
    assert u.grad.isfinite().all()


@given(slope=slopes, b=st.floats(0.1, 3), seed=seeds)
def test_the_rectified_lengths_are_continuous_at_the_threshold(slope, b, seed):
    u = normal(3, 1, seed=seed)
    u = b * u / norm(u)
    below, above = (VectorLeakyReLU(slope, b)(factor * u) for factor in (1 - 1e-9, 1 + 1e-9))
    torch.testing.assert_close(below, above, rtol=0, atol=1e-8)


# Bad input


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: VectorLeakyReLU(1.5), "slope: got 1.5, wanted a number from 0 to 1"),
        (lambda: VectorLeakyReLU(float("nan")), "slope: got nan"),
        (lambda: VectorReLU(-0.5), "threshold: got -0.5, wanted a length of at least 0"),
        (lambda: DirectionalLeakyReLU(0), "vectors: got 0, wanted a positive number"),
        (lambda: DirectionalLeakyReLU(2, -1), "slope: got -1, wanted a number from 0 to 1"),
    ],
)
def test_a_setting_out_of_its_range_is_named(make, said):
    with pytest.raises(ValueError, match=said):
        make()
