"""The weighted sum of vectors (Eq. 25 to 29), and the cutoff of 2007, which is not smooth enough."""

import math

import pytest
import torch
from examples import all_dtypes, generator, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_book.lectures.permutations import PermutationSum, cosine_cutoff
from enn_lib.groups import assert_equivariant


def test_the_sum_of_one_kind_is_equation_28():
    layer = PermutationSum(1, dtype=torch.float64, generator=generator(0))
    x = normal(3, 5)
    torch.testing.assert_close(layer(x).squeeze(-1), sum(x[:, i] for i in range(5)) * layer.weight.squeeze())


def test_the_sum_over_kinds_is_equation_29_written_letter_by_letter():
    layer = PermutationSum(2, kinds=3, dtype=torch.float64, generator=generator(0))
    x, kind = normal(3, 5), [0, 1, 0, 2, 1]
    v = torch.eye(3, dtype=torch.float64)[kind]
    expected = torch.zeros(3, 2, dtype=torch.float64)
    for i in range(5):
        for delta in range(3):
            for alpha in range(2):
                expected[:, alpha] += x[:, i] * v[i, delta] * layer.weight[delta, alpha]
    torch.testing.assert_close(layer(x, v), expected)


@given(count=st.integers(1, 8), seed=st.integers(0, 1000))
def test_the_sum_does_not_depend_on_the_order_within_a_kind(count, seed):
    """Eq. 26: both parts are permuted, each in itself."""
    layer = PermutationSum(4, kinds=2, dtype=torch.float64, generator=generator(seed))
    x = normal(3, 2 * count, seed=seed)
    v = torch.eye(2, dtype=torch.float64).repeat_interleave(count, dim=0)
    first, second = (torch.randperm(count, generator=generator(seed + k)) for k in (0, 1))
    order = torch.cat((first, count + second))
    torch.testing.assert_close(layer(x[:, order], v), layer(x, v))


def test_the_sum_tells_kinds_apart():
    layer = PermutationSum(1, kinds=2, dtype=torch.float64, generator=generator(0))
    x, v = normal(3, 2), torch.eye(2, dtype=torch.float64)
    assert not torch.allclose(layer(x, v), layer(x.flip(-1), v))


@all_dtypes
def test_the_sum_commutes_with_every_unitary_operator(dtype):
    layer = PermutationSum(4, dtype=dtype, generator=generator(0))
    assert_equivariant(layer, normal(2, 3, 5, dtype=dtype))


def test_the_cosine_cutoff_falls_from_one_to_zero_along_a_cosine():
    r = torch.tensor([0.0, 1.5, 3.0, 4.0, 6.0, 9.0], dtype=torch.float64)
    expected = torch.tensor([1.0, (2 + 2**0.5) / 4, 0.5, 0.25, 0.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(cosine_cutoff(r, 6.0), expected)


def test_the_second_derivative_of_the_cosine_cutoff_jumps_as_calculated():
    """By pi^2 / (2 r_c^2), so it is not smooth enough for sec. 3.5; value and slope are continuous."""
    x = torch.tensor([6 - 1e-9, 6 + 1e-9], dtype=torch.float64, requires_grad=True)
    value = cosine_cutoff(x, 6.0)
    (slope,) = torch.autograd.grad(value.sum(), x, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), x)
    assert max(value.diff().abs().item(), slope.diff().abs().item()) < 1e-6
    assert curvature.diff().abs().item() == pytest.approx(math.pi**2 / (2 * 6.0**2), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PermutationSum(0), "out_vectors: got 0"),
        (lambda: PermutationSum(1, kinds=0), "kinds: got 0"),
        (lambda: PermutationSum(1, kinds=2)(torch.ones(3, 4)), "v: got None"),
        (lambda: PermutationSum(1, kinds=2)(torch.ones(3, 4), torch.ones(3, 2)), r"v: got shape \(3, 2\)"),
        (lambda: cosine_cutoff(torch.ones(1), -1.0), "cutoff: got -1.0"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
