"""Activations of vectors (Eq. 12 to 15) and their general form: equivariance, shape, slopes, zero."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from enn_lib import ENN
from enn_lib.activations import (
    DirectionalLeakyReLU,
    Gate,
    Identity,
    VectorActivation,
    VectorLeakyReLU,
    VectorReLU,
    VectorSoftsign,
)
from enn_lib.groups import TOLERANCES, assert_equivariant
from enn_lib.layers import DTYPES, EquivariantLinear, length, squared_length

dtypes = st.sampled_from(DTYPES)
sizes = st.integers(1, 7)
seeds = st.integers(0, 2**31)
slopes = st.floats(0, 1)
thresholds = st.floats(0, 3)
all_dtypes = pytest.mark.parametrize("dtype", DTYPES)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def vectors(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=generator(seed))


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
    thresholds.map(VectorReLU),
    st.builds(VectorLeakyReLU, slopes, thresholds),
    st.sampled_from([
        Gate(torch.tanh),
        Gate(lambda s: 1 / (1 + s), invariant=squared_length),
        Gate(torch.sigmoid, invariant=largest_inner_product),
    ]),
)  # fmt: skip


# Equivariance


@given(
    activation=gates, n=sizes, m=sizes, dtype=dtypes, group=st.sampled_from(["U", "O", "SO", "S"]), seed=seeds
)
def test_every_gate_commutes_with_every_unitary_operator_and_every_permutation(
    activation, n, m, dtype, group, seed
):
    """Eq. 13; and because each vector is treated alike, permutations of the vectors too."""
    assert_equivariant(activation, vectors(2, n, m, dtype=dtype, seed=seed), group=group)


@given(n=sizes, m=sizes, slope=slopes, dtype=dtypes, group=st.sampled_from(["U", "O", "SO"]), seed=seeds)
def test_the_directional_relu_commutes_with_every_unitary_operator(n, m, slope, dtype, group, seed):
    activation = DirectionalLeakyReLU(m, slope, dtype=dtype, generator=generator(seed))
    # Near the kink rounding alone decides the side, but the function is continuous there.
    assert_equivariant(activation, vectors(2, n, m, dtype=dtype, seed=seed), group=group)


@given(n=sizes, m=sizes, seed=seeds)
def test_a_complex_gate_commutes_with_every_unitary_operator(n, m, seed):
    u = vectors(2, n, m, dtype=torch.complex128, seed=seed)
    assert_equivariant(Gate(complex_gate), u, group="U")


@given(
    widths=st.lists(sizes, min_size=2, max_size=4),
    n=sizes,
    dtype=dtypes,
    activation=gates,
    group=st.sampled_from(["U", "O", "SO"]),
    softening=st.sampled_from([0.0, 0.3]),
    seed=seeds,
)
def test_a_network_with_any_gate_commutes_with_every_unitary_operator(
    widths, n, dtype, activation, group, softening, seed
):
    net = ENN(widths, n, activation=activation, softening=softening, dtype=dtype, generator=generator(seed))
    for k, layer in enumerate(net.layers):
        nn.init.normal_(layer.bias, std=0.5, generator=generator(seed + k))
    x = vectors(2, n, widths[0], dtype=dtype, seed=seed)
    assert_equivariant(net, x, group=group, tolerance=100 * TOLERANCES[dtype])


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
        assert_equivariant(wrong, vectors(5, 3, 4))


def test_an_invariant_of_the_orthogonal_group_only_is_caught_by_the_unitary_one():
    """u^T u is invariant under O(n); U(n) changes its phase."""
    bilinear = Gate(lambda s: 1 / (1 + s.abs() + s.real), lambda u: (u * u).sum(dim=-2, keepdim=True))
    u = vectors(5, 3, 4, dtype=torch.complex128)
    assert_equivariant(bilinear, u, group="O")
    with pytest.raises(AssertionError, match=r"U\(3\)"):
        assert_equivariant(bilinear, u, group="U")


# What they compute


@all_dtypes
def test_the_softsign_is_equation_14(dtype):
    u = vectors(5, 3, 4, dtype=dtype)
    torch.testing.assert_close(VectorSoftsign(0.2)(u), u / (1 + norm(u)) + 0.2 * u)


@all_dtypes
def test_the_relu_takes_the_threshold_off_the_length(dtype):
    u = vectors(50, 3, 4, dtype=dtype)
    actual = VectorReLU(1.5)(u)
    torch.testing.assert_close(norm(actual), (norm(u) - 1.5).clamp_min(0))
    assert (actual == 0).any()
    torch.testing.assert_close(actual * norm(u), u * norm(actual))


@all_dtypes
def test_the_leaky_relu_is_the_relu_plus_a_part_of_the_identity_up_to_the_threshold(dtype):
    u = vectors(50, 3, 4, dtype=dtype)
    r = norm(u)
    expected = torch.where(r < 1.5, 0.2 * r, r - 0.8 * 1.5)
    torch.testing.assert_close(norm(VectorLeakyReLU(0.2, 1.5)(u)), expected)


@given(slope=slopes, dtype=dtypes, n=sizes, seed=seeds)
def test_without_a_threshold_the_relu_and_the_leaky_relu_are_the_identity(slope, dtype, n, seed):
    """A length is never negative: there is nothing to rectify."""
    u = vectors(3, n, 4, dtype=dtype, seed=seed)
    u[0] = 0
    torch.testing.assert_close(VectorLeakyReLU(slope, 0.0)(u), u)
    torch.testing.assert_close(VectorReLU(0.0)(u), u)


@given(u=st.floats(-5, 5), threshold=thresholds)
def test_in_one_real_dimension_the_relu_is_soft_shrinkage(u, threshold):
    u = torch.tensor([[u]], dtype=torch.float64)
    torch.testing.assert_close(VectorReLU(threshold)(u), nn.functional.softshrink(u, threshold))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_general_gate_contains_the_others(dtype):
    u = vectors(20, 3, 4, dtype=dtype)
    cases = [
        (VectorSoftsign(0.3), lambda r: 1 / (1 + r) + 0.3),
        (Identity(), torch.ones_like),
        (VectorReLU(1.2), lambda r: (1 - 1.2 / r).clamp_min(0)),
        (VectorLeakyReLU(0.3, 1.2), lambda r: torch.where(r < 1.2, 0.3, 1 - 0.7 * 1.2 / r)),
    ]
    for activation, function in cases:
        torch.testing.assert_close(Gate(function)(u), activation(u))


def test_a_gate_may_learn_and_may_look_at_all_vectors():
    """f is a small network of the four lengths; x is invariant, so anything of it is."""
    function = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 4), nn.Sigmoid()).double()
    gate = Gate(function)
    u = vectors(6, 3, 4)
    assert len(list(gate.parameters())) == 4
    assert_equivariant(gate, u)
    gate(u).square().sum().backward()
    assert all((p.grad != 0).any() for p in gate.parameters())


def test_a_gate_without_a_function_does_not_pretend_to_be_one():
    with pytest.raises(NotImplementedError):
        VectorActivation()(vectors(3, 2))


@all_dtypes
def test_the_directional_relu_leaves_no_part_against_its_direction(dtype):
    """Re<k, sigma(u)> >= 0, and where Re<k, u> >= 0 nothing is changed."""
    u = vectors(40, 3, 4, dtype=dtype)
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
    u, v = vectors(2, 3, 1, dtype=dtype, seed=seed)
    torch.testing.assert_close(activation(u + v), activation(u) + activation(v), rtol=1e-4, atol=1e-5)


def test_the_directional_relu_is_the_vector_neuron_of_deng_et_al():
    """q where <q, k> >= 0, else q - <q, k/|k|> k/|k|: their Eq. 6, one vector at a time."""
    activation = DirectionalLeakyReLU(3, generator=generator(2), dtype=torch.float64)
    u = vectors(3, 3, seed=3)
    actual = activation(u)
    for c in range(3):
        q, k = u[:, c], u @ activation.directions[:, c]
        k = k / k.norm()
        expected = q if q @ k >= 0 else q - (q @ k) * k
        torch.testing.assert_close(actual[:, c], expected)


# Slopes


def radial_and_transverse_slope(activation, r, n=4):
    """The two eigenvalues of the Jacobian at a vector of length r, along it and across it."""
    direction = torch.nn.functional.normalize(vectors(n, seed=5), dim=0)
    jacobian = torch.func.jacrev(lambda u: activation(u.unsqueeze(-1)).squeeze(-1))(r * direction)
    torch.testing.assert_close(jacobian, jacobian.mT)
    radial = direction @ jacobian @ direction
    return radial, (jacobian.trace() - radial) / (n - 1)


@given(r=st.floats(0.01, 50), a=st.floats(0, 2))
def test_the_slopes_of_the_softsign(r, a):
    """1/(1 + r)^2 + a along u, and 1/(1 + r) + a across: both at least a, however long u is."""
    radial, transverse = radial_and_transverse_slope(VectorSoftsign(a), r)
    assert radial.item() == pytest.approx(1 / (1 + r) ** 2 + a, rel=1e-9)
    assert transverse.item() == pytest.approx(1 / (1 + r) + a, rel=1e-9)


@given(r=st.floats(0.01, 50), slope=st.floats(0.01, 1), b=st.floats(0.01, 3))
def test_the_slopes_of_the_leaky_relu(r, slope, b):
    radial, transverse = radial_and_transverse_slope(VectorLeakyReLU(slope, b), r)
    if r > b:
        assert radial.item() == pytest.approx(1, rel=1e-9)
        assert transverse.item() == pytest.approx(1 - (1 - slope) * b / r, rel=1e-9)
    elif r < b:
        assert radial.item() == pytest.approx(slope, rel=1e-9)
        assert transverse.item() == pytest.approx(slope, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize(
    "activation",
    [VectorSoftsign(0.1), VectorReLU(1.1), VectorLeakyReLU(0.2, 1.1), Gate(torch.tanh), Gate(torch.cos)],
    ids=repr,
)
def test_the_gradients_of_a_gate_are_those_of_finite_differences(activation, dtype):
    assert torch.autograd.gradcheck(activation, vectors(2, 3, 4, dtype=dtype).requires_grad_())


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradients_of_the_directional_relu_are_those_of_finite_differences(dtype):
    activation = DirectionalLeakyReLU(4, 0.2, dtype=dtype, generator=generator(0))

    def function(u, directions):
        return torch.func.functional_call(activation, {"directions": directions}, u)

    u = vectors(2, 3, 4, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(function, (u, activation.directions))


# Zero length

AT_ZERO = [
    (VectorSoftsign(0.1), 1.1),
    (Identity(), 1.0),
    (VectorReLU(1.0), 0.0),
    (VectorReLU(0.0), 1.0),
    (VectorLeakyReLU(0.2, 1.0), 0.2),
    (VectorLeakyReLU(0.2, 0.0), 1.0),
    (Gate(torch.cos), 1.0),
    (Gate(torch.sigmoid), 0.5),
]


@all_dtypes
@pytest.mark.parametrize(("activation", "slope"), AT_ZERO, ids=[f"{a}" for a, _ in AT_ZERO])
def test_zero_maps_to_zero_with_the_documented_gradient(activation, slope, dtype):
    zero = torch.zeros(3, 1, dtype=dtype)
    assert (activation(zero) == 0).all()
    jacobian = torch.autograd.functional.jacobian(lambda u: activation(u).real.squeeze(), zero)
    torch.testing.assert_close(jacobian.squeeze(), slope * torch.eye(3, dtype=dtype))


@all_dtypes
def test_the_directional_relu_maps_zero_to_zero_with_gradient_one(dtype):
    activation = DirectionalLeakyReLU(2, dtype=dtype, generator=generator(0))
    zero = torch.zeros(3, 2, dtype=dtype, requires_grad=True)
    out = activation(zero)
    out.real.sum().backward()
    assert (out == 0).all()
    assert (zero.grad == 1).all()
    assert activation.directions.grad.isfinite().all()


@given(
    activation=gates,
    exponents=st.lists(st.integers(-18, 8), min_size=3, max_size=3),
    dtype=dtypes,
)
def test_no_length_gives_a_nan_in_value_or_gradient(activation, exponents, dtype):
    u = vectors(3, 3, dtype=dtype) * torch.tensor([10.0**k for k in exponents])
    u = u.to(dtype).requires_grad_()
    out = activation(u)
    out.real.sum().backward()
    assert out.isfinite().all()
    assert u.grad.isfinite().all()


@given(slope=slopes, b=st.floats(0.1, 3), seed=seeds)
def test_the_rectified_lengths_are_continuous_at_the_threshold(slope, b, seed):
    u = vectors(3, 1, seed=seed)
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


def test_the_representation_shows_the_settings():
    assert repr(VectorReLU(0.5)) == "VectorReLU(threshold=0.5)"
    assert repr(VectorLeakyReLU(0.2, 0.5)) == "VectorLeakyReLU(slope=0.2, threshold=0.5)"
    assert repr(DirectionalLeakyReLU(3)) == "DirectionalLeakyReLU(3, slope=0.0)"


def test_length_is_the_gate_s_default_invariant():
    assert Gate(torch.tanh).invariant is length


# Lengths, of which gates and unit vectors are made


@given(n=sizes, m=sizes, dtype=dtypes, seed=seeds)
def test_unitary_operators_keep_lengths_and_other_matrices_do_not(n, m, dtype, seed):
    """Eq. 10."""
    u = vectors(2, n, m, dtype=dtype, seed=seed)
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
    bias = vectors(4, 4, dtype=dtype, seed=1)

    def wrong(x):
        return layer(x) + x / x.abs().sum(dim=-2, keepdim=True) @ bias

    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(wrong, vectors(2, 4, 4, dtype=dtype))
