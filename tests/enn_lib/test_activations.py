"""Activations of vectors (Eq. 12 to 15) and their general form: equivariance, shape, slopes, zero."""

import pytest
import torch
from examples import all_dtypes, biased_network, generator, normal
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from enn_lib.activations import Gate, Identity, VectorActivation, VectorSoftsign
from enn_lib.groups import TOLERANCES, assert_equivariant
from enn_lib.layers import DTYPES, EquivariantLinear, length, squared_length

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 9)
seeds = st.integers(0, 2**31)
double_precision = pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])


def norm(u):
    return torch.linalg.vector_norm(u, dim=-2, keepdim=True)


def largest_inner_product(u):
    """An invariant that is not a length: the largest modulus of an inner product with another vector."""
    return (u.mH @ u).abs().amax(dim=-2, keepdim=True)


def complex_gate(r):
    """A gate with a phase, which commutes with U(n) all the same."""
    return torch.polar(torch.tanh(r), r)


gates = st.one_of(
    st.floats(0, 2).map(VectorSoftsign),
    st.just(Identity()),
    st.sampled_from([
        Gate(torch.tanh),
        Gate(lambda s: 1 / (1 + s), invariant=squared_length),
        Gate(torch.sigmoid, invariant=largest_inner_product),
    ]),
)  # fmt: skip
drawn = {"dtype": dtypes, "activation": gates, "softening": st.sampled_from([0.0, 0.3]), "seed": seeds}


def batches(dtypes):
    """Two samples of any number of vectors of any dimension."""
    return st.builds(normal, st.just(2), sizes, sizes, dtype=dtypes, seed=seeds)


# Equivariance


@settings(max_examples=60)
@given(activation=gates, u=batches(dtypes), group=st.sampled_from(["U", "O", "SO", "S"]))
def test_every_gate_commutes_with_every_unitary_operator_and_every_permutation(activation, u, group):
    """Eq. 13; and because each vector is treated alike, permutations of the vectors too."""
    assert_equivariant(activation, u, group=group)


@given(u=batches(st.just(torch.complex128)))
def test_a_complex_gate_commutes_with_every_unitary_operator(u):
    assert_equivariant(Gate(complex_gate), u, group="U")


@given(
    net=st.builds(biased_network, st.lists(sizes, min_size=2, max_size=4), sizes, **drawn),
    group=st.sampled_from(["U", "O", "SO"]),
    seed=seeds,
)
def test_a_network_with_any_gate_commutes_with_every_unitary_operator(net, group, seed):
    x = normal(2, net.n, net.widths[0], dtype=net.dtype, seed=seed)
    assert_equivariant(net, x, group=group, tolerance=100 * TOLERANCES[net.dtype])


@pytest.mark.parametrize(
    "wrong",
    [
        torch.nn.functional.leaky_relu,
        torch.tanh,
        lambda u: u / (1 + u.abs()) + 0.1 * u,
        lambda u: u / (1 + u.abs().sum(dim=-2, keepdim=True)),
        lambda u: u / (1 + u[..., :1, :].abs()),
        lambda u: u + 0.1,
    ],
    ids=["leaky ReLU", "tanh", "softsign of components", "sum norm", "first component", "constant"],
)
def test_an_activation_of_components_or_of_another_norm_is_caught(wrong):
    """The scalar must be built of the Euclidean length, and the components must not be touched apart."""
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(wrong, normal(5, 3, 4))


def test_an_invariant_of_the_orthogonal_group_only_is_caught_by_the_unitary_one():
    """u^T u is invariant under O(n); U(n) changes its phase."""
    bilinear = Gate(lambda s: 1 / (1 + s.abs() + s.real), lambda u: (u * u).sum(dim=-2, keepdim=True))
    u = normal(5, 3, 4, dtype=torch.complex128)
    assert_equivariant(bilinear, u, group="O")
    with pytest.raises(AssertionError, match=r"U\(3\)"):
        assert_equivariant(bilinear, u, group="U")


# What they compute


@all_dtypes
def test_the_softsign_is_equation_14(dtype):
    u = normal(5, 3, 4, dtype=dtype)
    torch.testing.assert_close(VectorSoftsign(0.2)(u), u / (1 + norm(u)) + 0.2 * u)


def test_the_softsign_without_residue_is_shorter_than_one():
    assert norm(VectorSoftsign(a=0.0)(1e6 * normal(100, 3, 4))).max() < 1


@double_precision
@pytest.mark.parametrize(
    ("activation", "function"),
    [(VectorSoftsign(0.3), lambda r: 1 / (1 + r) + 0.3), (Identity(), torch.ones_like)],
    ids=["softsign", "identity"],
)
def test_the_general_gate_contains_the_others(activation, function, dtype):
    u = normal(20, 3, 4, dtype=dtype)
    torch.testing.assert_close(Gate(function)(u), activation(u))


@all_dtypes
@pytest.mark.parametrize("activation", [VectorSoftsign(), Identity()], ids=["softsign", "identity"])
def test_every_activation_is_a_real_gate_for_each_vector_times_the_vector(activation, dtype):
    u = normal(5, 3, 4, dtype=dtype)
    gate = activation.gate(u)
    assert gate.shape == (5, 1, 4)
    assert not gate.is_complex()
    torch.testing.assert_close(activation(u), gate * u)


def test_a_gate_may_learn_and_may_look_at_all_vectors():
    """f is a small network of the four lengths; x is invariant, so anything of it is."""
    gate = Gate(nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4), nn.Sigmoid()).double())
    u = normal(6, 3, 4)
    assert len(list(gate.parameters())) == 4
    assert_equivariant(gate, u)
    gate(u).square().sum().backward()
    assert all((p.grad != 0).any() for p in gate.parameters())


def test_a_gate_without_a_function_does_not_pretend_to_be_one():
    with pytest.raises(NotImplementedError):
        VectorActivation()(normal(3, 2))


# Slopes


@given(r=st.floats(0.01, 50), a=st.floats(0, 2))
def test_the_slopes_of_the_softsign(r, a):
    """The eigenvalues of the Jacobian: 1/(1 + r)^2 + a along u, and 1/(1 + r) + a across.

    Both are at least a, however long u is.
    """
    n, activation = 4, VectorSoftsign(a)
    direction = nn.functional.normalize(normal(n, seed=5), dim=0)
    jacobian = torch.func.jacrev(lambda u: activation(u.unsqueeze(-1)).squeeze(-1))(r * direction)
    torch.testing.assert_close(jacobian, jacobian.mT)
    radial = direction @ jacobian @ direction
    assert radial.item() == pytest.approx(1 / (1 + r) ** 2 + a, rel=1e-9)
    assert (jacobian.trace() - radial).item() / (n - 1) == pytest.approx(1 / (1 + r) + a, rel=1e-9)


@double_precision
@pytest.mark.parametrize("activation", [VectorSoftsign(0.1), Gate(torch.tanh), Gate(torch.cos)], ids=repr)
def test_the_gradients_of_a_gate_are_those_of_finite_differences(activation, dtype):
    assert torch.autograd.gradcheck(activation, normal(2, 3, 4, dtype=dtype).requires_grad_())


# Zero length


@all_dtypes
@pytest.mark.parametrize(
    ("activation", "slope"),
    [(VectorSoftsign(0.1), 1.1), (Identity(), 1.0), (Gate(torch.cos), 1.0), (Gate(torch.sigmoid), 0.5)],
    ids=["softsign", "identity", "cosine", "sigmoid"],
)
def test_zero_maps_to_zero_with_the_documented_gradient(activation, slope, dtype):
    """Of the softsign, d/du (u / (1 + |u|) + a u) = (1 + a) I."""
    zero = torch.zeros(3, 1, dtype=dtype)
    assert (activation(zero) == 0).all()
    jacobian = torch.autograd.functional.jacobian(lambda u: activation(u).real.squeeze(), zero)
    torch.testing.assert_close(jacobian.squeeze(), slope * torch.eye(3, dtype=dtype))


@given(activation=gates, exponents=st.lists(st.integers(-30, 8), min_size=3, max_size=3), dtype=dtypes)
def test_no_length_gives_a_nan_in_value_or_gradient(activation, exponents, dtype):
    u = normal(3, 3, dtype=dtype) * torch.tensor([10.0**k for k in exponents])
    u = u.to(dtype).requires_grad_()
    out = activation(u)
    out.real.sum().backward()
    assert out.isfinite().all()
    assert u.grad.isfinite().all()


def test_length_is_the_gate_s_default_invariant():
    assert Gate(torch.tanh).invariant is length


def test_the_representation_shows_the_residue():
    assert repr(VectorSoftsign(0.2)) == "VectorSoftsign(a=0.2)"


# Lengths, of which gates and unit vectors are made


@given(u=batches(dtypes))
def test_unitary_operators_keep_lengths_and_other_matrices_do_not(u):
    """Eq. 10."""
    for of in (length, squared_length):
        assert_equivariant(of, u, output_action="invariant")
    torch.testing.assert_close(length(u), norm(u))
    stretched = u.clone()
    stretched[..., :1, :] *= 2
    assert (length(stretched) > length(u)).all()


# The unit vectors of the layer under them


@all_dtypes
def test_unit_vectors_of_another_norm_are_caught(dtype):
    layer = EquivariantLinear(4, 4, dtype=dtype, generator=generator(0))
    x, bias = normal(2, 4, 4, dtype=dtype), normal(4, 4, dtype=dtype, seed=1)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: layer(x) + x / x.abs().sum(dim=-2, keepdim=True) @ bias, x)


def test_a_gate_with_a_phase_makes_real_vectors_complex():
    u = normal(3, 4)
    torch.testing.assert_close(Gate(complex_gate)(u), u * complex_gate(length(u)))
