"""Random matrices follow the Haar measure, and the classic mistakes of this field are caught."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.groups import assert_equivariant, random_unitary
from enn_lib.layers import DTYPES, EquivariantLinear

GROUPS = ("U", "O", "SO")
seeds = st.integers(0, 2**31)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def draw(n_draws, n, group, dtype=torch.complex128):
    source = generator(0)
    return torch.stack(
        [random_unitary(n, group=group, dtype=dtype, generator=source) for _ in range(n_draws)]
    )


def assert_mean(values, wanted):
    """The sample mean is within five standard errors of what the Haar measure says."""
    error = values.std() / len(values) ** 0.5
    assert (values.mean() - wanted).abs() < 5 * error + 1e-12


@given(n=st.integers(1, 8), group=st.sampled_from(GROUPS), dtype=st.sampled_from(DTYPES), seed=seeds)
def test_a_random_element_is_unitary_in_the_dtype_asked_for(n, group, dtype, seed):
    q = random_unitary(n, group=group, dtype=dtype, generator=generator(seed))
    assert q.dtype == dtype
    torch.testing.assert_close(q.mH @ q, torch.eye(n, dtype=dtype))


@given(n=st.integers(1, 8), dtype=st.sampled_from(DTYPES), seed=seeds)
def test_an_element_of_so_has_determinant_one(n, dtype, seed):
    q = random_unitary(n, group="SO", dtype=dtype, generator=generator(seed))
    torch.testing.assert_close(torch.linalg.det(q), torch.ones((), dtype=dtype))


def test_half_of_the_orthogonal_matrices_are_reflections():
    determinants = torch.linalg.det(draw(1000, 3, "O", torch.float64))
    assert_mean(determinants, 0.0)


@given(n=st.integers(1, 6), group=st.sampled_from(("O", "SO")), seed=seeds)
def test_rotations_have_real_entries_even_in_a_complex_dtype(n, group, seed):
    q = random_unitary(n, group=group, dtype=torch.complex128, generator=generator(seed))
    assert (q.imag == 0).all()


@pytest.mark.parametrize("group", GROUPS)
def test_the_first_two_moments_of_the_entries_are_those_of_haar(group):
    """E q_ij = 0 and E |q_ij|^2 = 1/n for every entry."""
    q = draw(2000, 3, group)
    for i in range(3):
        for j in range(3):
            assert_mean(q[:, i, j].real, 0.0)
            assert_mean(q[:, i, j].imag, 0.0)
            assert_mean(q[:, i, j].abs().square(), 1 / 3)


@pytest.mark.parametrize("group", GROUPS)
def test_the_first_two_moments_of_the_trace_are_those_of_haar(group):
    """E tr q = 0 and E |tr q|^2 = 1: what fails if the phases of R are not moved into Q."""
    trace = draw(2000, 3, group).diagonal(dim1=-2, dim2=-1).sum(-1)
    assert_mean(trace.real, 0.0)
    assert_mean(trace.imag, 0.0)
    assert_mean(trace.abs().square(), 1.0)


def test_the_same_generator_gives_the_same_element():
    assert random_unitary(4, generator=generator(7)).equal(random_unitary(4, generator=generator(7)))


def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match="group: got 'SU', wanted 'U', 'O' or 'SO'"):
        random_unitary(3, group="SU")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("group", GROUPS)
def test_a_classic_additive_bias_fails(group, dtype):
    """The mistake of torchmd-net issue 57 and HydraGNN pull request 511."""
    layer = EquivariantLinear(4, 2, dtype=dtype, generator=generator(0))
    x = torch.randn(3, 4, dtype=dtype, generator=generator(1))
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: layer(x) + 0.01, x, group=group)


@pytest.mark.parametrize("group", GROUPS)
def test_a_weight_on_the_wrong_side_fails(group):
    """W x mixes the components of a vector; x W mixes the vectors."""
    weight, x = torch.randn(2, 3, 3, dtype=torch.float64, generator=generator(0))
    assert_equivariant(lambda x: x @ weight, x, group=group)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: weight @ x, x, group=group)


def test_a_scale_for_each_component_fails():
    """The mistake of Steerable-E3-GNN issue 12: standardising x, y and z apart."""
    x = torch.randn(3, 4, dtype=torch.float64, generator=generator(0))
    scale = torch.tensor([[1.0], [1.0], [1.01]], dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: x * scale, x, group="SO")


def test_a_dtype_without_a_tolerance_is_refused():
    with pytest.raises(TypeError, match=r"inputs: got torch\.float16, wanted one of torch\.float32"):
        assert_equivariant(lambda x: x, torch.ones(3, 2, dtype=torch.float16))
