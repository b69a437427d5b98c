"""Random matrices follow the Haar measure, and the classic mistakes of this field are caught."""

import pytest
import torch
from examples import all_dtypes, generator, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.groups import TOLERANCES, assert_equivariant, random_element, random_unitary
from enn_lib.layers import DTYPES, EquivariantLinear

GROUPS = ("U", "O", "SO")
every_group = pytest.mark.parametrize("group", GROUPS)
sizes = st.integers(1, 8)
seeds = st.integers(0, 2**31)


def unitary_of_seed(group, n, *, dtype, seed):
    """`random_unitary`, called as `random_element` is."""
    return random_unitary(n, group=group, dtype=dtype, generator=generator(seed))


drawn_by = pytest.mark.parametrize(
    "draw", [unitary_of_seed, random_element], ids=["random_unitary", "random_element"]
)


def draw_many(n_draws, n, group, dtype=torch.complex128):
    source = generator()
    return torch.stack(
        [random_unitary(n, group=group, dtype=dtype, generator=source) for _ in range(n_draws)]
    )


def assert_mean(values, wanted):
    """The mean of each entry over the samples is within five standard errors of what Haar says."""
    error = values.std(dim=0) / len(values) ** 0.5
    assert ((values.mean(dim=0) - wanted).abs() < 5 * error + 1e-12).all()


@drawn_by
@given(group=st.sampled_from(GROUPS), n=sizes, dtype=st.sampled_from(DTYPES), seed=seeds)
def test_a_random_element_is_unitary_in_the_dtype_asked_for(draw, group, n, dtype, seed):
    """It keeps lengths and angles."""
    q = draw(group, n, dtype=dtype, seed=seed)
    assert q.dtype == dtype
    torch.testing.assert_close(q.mH @ q, torch.eye(n, dtype=dtype), rtol=0, atol=0.1 * TOLERANCES[dtype])


@drawn_by
@given(n=sizes, dtype=st.sampled_from(DTYPES), seed=seeds)
def test_an_element_of_so_has_determinant_one(draw, n, dtype, seed):
    q = draw("SO", n, dtype=dtype, seed=seed)
    torch.testing.assert_close(torch.linalg.det(q), torch.ones((), dtype=dtype))


def test_half_of_the_orthogonal_matrices_are_reflections():
    assert_mean(torch.linalg.det(draw_many(1000, 3, "O", torch.float64)), 0.0)


@drawn_by
@given(group=st.sampled_from(["O", "SO"]), n=sizes, seed=seeds)
def test_rotations_have_real_entries_even_in_a_complex_dtype(draw, group, n, seed):
    assert (draw(group, n, dtype=torch.complex128, seed=seed).imag == 0).all()


@every_group
@pytest.mark.parametrize(
    ("of", "mean_square"), [(torch.clone, 1 / 3), (torch.trace, 1.0)], ids=["entries", "trace"]
)
def test_the_first_two_moments_of_the_entries_and_of_the_trace_are_those_of_haar(group, of, mean_square):
    """E q_ij = 0 and E |q_ij|^2 = 1/n for every entry.

    E tr q = 0 and E |tr q|^2 = 1: what fails if the phases of R are not moved into Q.
    """
    values = torch.vmap(of)(draw_many(2000, 3, group))
    assert_mean(values.real, 0.0)
    assert_mean(values.imag, 0.0)
    assert_mean(values.abs().square(), mean_square)


def test_the_same_generator_gives_the_same_element():
    assert random_unitary(4, generator=generator(7)).equal(random_unitary(4, generator=generator(7)))


def test_an_unknown_group_is_refused():
    with pytest.raises(ValueError, match=r"^group: got 'SU', wanted 'U', 'O' or 'SO'$"):
        random_unitary(3, group="SU")


@all_dtypes
@every_group
def test_a_classic_additive_bias_fails(group, dtype):
    """The mistake of torchmd-net issue 57 and HydraGNN pull request 511."""
    layer = EquivariantLinear(4, 2, dtype=dtype, generator=generator(0))
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: layer(x) + 0.01, normal(3, 4, dtype=dtype, seed=1), group=group)


@every_group
def test_a_weight_on_the_wrong_side_fails(group):
    """W x mixes the components of a vector; x W mixes the vectors."""
    weight, x = normal(2, 3, 3)
    assert_equivariant(lambda x: x @ weight, x, group=group)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: weight @ x, x, group=group)


def test_a_scale_for_each_component_fails():
    """The mistake of Steerable-E3-GNN issue 12: standardising x, y and z apart."""
    scale = torch.tensor([[1.0], [1.0], [1.01]], dtype=torch.float64)
    with pytest.raises(AssertionError):
        assert_equivariant(lambda x: x * scale, normal(3, 4), group="SO")


def test_a_dtype_without_a_tolerance_is_refused():
    wanted = "torch.float32, torch.float64, torch.complex64, torch.complex128"
    with pytest.raises(TypeError, match=rf"^inputs: got torch.float16, wanted one of {wanted}$"):
        assert_equivariant(lambda x: x, torch.ones(3, 2, dtype=torch.float16))
    with pytest.raises(TypeError, match=rf"^function: got torch.float16, wanted one of {wanted}$"):
        assert_equivariant(torch.Tensor.half, torch.ones(3, 2), output_action="invariant")


@pytest.mark.parametrize("action", ["columns", "rows"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.int64, torch.complex64])
def test_an_output_in_another_dtype_than_the_input_is_named(dtype, action):
    with pytest.raises(
        TypeError, match=rf"^function: got an output of {dtype}, wanted its input's torch.float32$"
    ):
        assert_equivariant(lambda x: x.to(dtype), torch.ones(3, 2), action=action)
