"""Sec. 3.6: what the network cannot do (Eq. 36, 37), and the remedies."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.argon import ARGON, Scales, sample_positions
from enn_lib.conservative import (
    EnergyENN,
    EnergyForceField,
    antisymmetric_share,
    force_jacobian,
    invariants,
)
from enn_lib.dynamics import paper_initial_conditions, simulate
from enn_lib.groups import assert_equivariant, random_unitary
from enn_lib.network import ENN
from enn_lib.parity import CrossProduct, orientation

SCALES = Scales(position=4.5, force=0.13)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def vectors(*shape, seed=0, dtype=torch.float64):
    return torch.randn(shape, dtype=dtype, generator=generator(seed))


def axial(q, x):
    """The action of O(3) on axial vectors."""
    return torch.linalg.det(q) * q @ x


# The limit


@given(seed=st.integers(0, 1000), softening=st.sampled_from([0.0, 0.3]))
def test_the_output_is_in_the_span_of_two_inputs_so_it_is_orthogonal_to_their_cross_product(seed, softening):
    """Eq. 36 cannot be represented, whatever the weights."""
    net = ENN((2, 7, 5, 3), softening=softening, dtype=torch.float64, generator=generator(seed))
    with torch.no_grad():
        for layer in net.layers:
            layer.bias.copy_(torch.randn(layer.bias.shape, dtype=torch.float64, generator=generator(seed)))
    x = vectors(10, 3, 2, seed=seed)
    normal = torch.linalg.cross(x[..., 0], x[..., 1]).unsqueeze(-2)
    assert (normal @ net(x)).abs().max() < 1e-12


def test_the_network_is_odd_and_the_angular_momentum_even():
    """Eq. 37."""
    x = vectors(10, 3, 2)
    net = ENN((2, 5, 1), dtype=torch.float64, generator=generator(0))
    torch.testing.assert_close(net(-x), -net(x))
    torch.testing.assert_close(CrossProduct()(-x), CrossProduct()(x))


@given(seed=st.integers(0, 1000))
def test_a_half_turn_inverts_any_two_vectors(seed):
    """So no number that rotations leave alone can tell (r, p) from (-r, -p)."""
    x = vectors(3, 2, seed=seed)
    normal = torch.nn.functional.normalize(torch.linalg.cross(x[:, 0], x[:, 1]), dim=0)
    half_turn = 2 * torch.outer(normal, normal) - torch.eye(3, dtype=torch.float64)
    assert torch.linalg.det(half_turn).item() == pytest.approx(1)
    torch.testing.assert_close(half_turn @ x, -x)


# Signs and cross products


def test_the_cross_product_is_the_angular_momentum():
    """Eq. 36 in components."""
    r, p = vectors(3, seed=1), vectors(3, seed=2)
    expected = [
        (r[1] * p[2] - r[2] * p[1]).item(),
        (r[2] * p[0] - r[0] * p[2]).item(),
        (r[0] * p[1] - r[1] * p[0]).item(),
    ]
    assert CrossProduct()(torch.stack([r, p], dim=-1)).flatten().tolist() == pytest.approx(expected)


def test_the_cross_product_pairs_the_first_half_with_the_second():
    x = vectors(3, 4)
    expected = torch.stack([torch.linalg.cross(x[:, 0], x[:, 2]), torch.linalg.cross(x[:, 1], x[:, 3])])
    torch.testing.assert_close(CrossProduct()(x), expected.mT)


def test_cross_products_are_axial_also_after_a_network():
    model = torch.nn.Sequential(
        ENN((3, 8, 6), dtype=torch.float64, generator=generator(0)),
        CrossProduct(),
        ENN((3, 5, 2), dtype=torch.float64, generator=generator(1)),
    )
    assert_equivariant(model, vectors(4, 3, 3), group="O", output_action=axial)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(model, vectors(4, 3, 3), group="O")


def test_the_orientation_is_a_sign_that_rotations_keep_and_reflections_change():
    x = vectors(20, 3, 4)
    assert (orientation(x).abs() == 1).all()
    assert orientation(torch.eye(3)).item() == 1
    assert_equivariant(orientation, x, group="SO", output_action="invariant")
    torch.testing.assert_close(orientation(-x), -orientation(x))


def test_orientation_times_an_axial_vector_is_polar():
    x = vectors(20, 3, 4)
    assert_equivariant(lambda x: orientation(x) * CrossProduct()(x), x, group="O")


def test_coplanar_vectors_have_no_orientation():
    x = torch.eye(3)
    x[:, 2] = x[:, 0]
    assert orientation(x).item() == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: orientation(torch.ones(3, 2)), r"x: got shape \(3, 2\)"),
        (lambda: orientation(torch.ones(4, 3)), r"x: got shape \(4, 3\)"),
        (lambda: CrossProduct()(torch.ones(3, 3)), "even number"),
        (lambda: CrossProduct()(torch.ones(3, 2, dtype=torch.complex64)), "real vectors"),
    ],
)
def test_bad_vectors_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Energies through invariants


@pytest.fixture(scope="module")
def field():
    model = EnergyENN((6, 8, 5), 4, softening=0.3, dtype=torch.float64, seed=1)
    return EnergyForceField(model, SCALES)


def test_invariants_are_lengths_that_no_unitary_operator_changes():
    x = vectors(5, 4, 3, dtype=torch.complex128)
    expected = (torch.linalg.vector_norm(x, dim=-2) ** 2 + 0.01).sqrt()
    torch.testing.assert_close(invariants(x), expected)
    assert_equivariant(invariants, x, output_action="invariant")


def test_the_energy_is_even_and_invariant(field):
    """The scalar of even parity of sec. 3.6."""
    x = vectors(7, 3, 6)
    torch.testing.assert_close(field.model.energy(-x), field.model.energy(x))
    assert_equivariant(field.model.energy, x, output_action="invariant")


def test_forces_are_minus_the_gradient_of_the_energy(field):
    """By differences, in eV and Å: scales and the signs of Eq. 41 included."""
    positions = sample_positions(3, 0)
    step, forces = 1e-5, field.forces(positions)
    for atom in range(4):
        for axis in range(3):
            shift = torch.zeros_like(positions)
            shift[:, atom, axis] = step
            slope = (field.energy(positions + shift) - field.energy(positions - shift)) / (2 * step)
            torch.testing.assert_close(forces[:, atom, axis], -slope, atol=1e-8, rtol=1e-6)


def test_forces_of_an_energy_add_up_to_zero_and_exert_no_torque(field):
    positions = sample_positions(5, 0)
    forces = field.forces(positions)
    assert forces.sum(dim=-2).abs().max() < 1e-14
    assert torch.linalg.cross(positions, forces).sum(dim=-2).abs().max() < 1e-13


@pytest.mark.parametrize(("group", "output_action"), [("O", "rows"), ("T", "invariant")])
def test_forces_of_an_energy_are_equivariant(field, group, output_action):
    positions = sample_positions(3, 0)
    assert_equivariant(field.forces, positions, group=group, action="rows", output_action=output_action)


def test_the_energy_model_can_be_trained_on_forces():
    """Second derivatives reach every weight but the last bias, the zero of the energy."""
    model = EnergyENN((6, 5, 4), 3, softening=0.3, dtype=torch.float64)
    model(vectors(8, 3, 6)).square().sum().backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert still == ["head.2.bias"]


def test_dynamics_conserve_the_energy_of_the_model(field):
    """To the error of the integrator, which falls as dt^2."""

    def drift(dt):
        start = paper_initial_conditions(2, temperature=100.0)
        path = simulate(field, *start, steps=round(80 / dt), dt=dt)
        energy = path.kinetic_energy() + field.energy(path.positions)
        return (energy - energy[0]).abs().max().item()

    assert drift(4.0) < 1e-4
    assert drift(2.0) < 0.3 * drift(4.0)


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    first, second = (EnergyENN((6, 3), 2, seed=4) for _ in range(2))
    assert torch.equal(torch.rand(1), expected)
    assert all(
        torch.equal(a, b)
        for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(("widths", "hidden"), [((5, 3), 2), ((6, 3), 0)])
def test_bad_widths_of_an_energy_are_named(widths, hidden):
    with pytest.raises(ValueError, match="widths, hidden: got"):
        EnergyENN(widths, hidden)


# How conservative forces are


def test_the_jacobian_of_a_potential_is_minus_its_hessian():
    """Autograd's second derivatives as the oracle."""
    positions = sample_positions(2, 3)
    jacobian = force_jacobian(ARGON, positions)
    for k in range(2):
        hessian = torch.autograd.functional.hessian(ARGON.energy, positions[k])
        torch.testing.assert_close(jacobian[k], -hessian.reshape(12, 12), atol=1e-6, rtol=1e-5)


class Linear:
    """Forces that are a given matrix times the positions."""

    def __init__(self, matrix):
        self.matrix = matrix

    def forces(self, positions):
        return (positions.flatten(-2) @ self.matrix.mT).unflatten(-1, positions.shape[-2:])


def test_the_jacobian_of_linear_forces_is_their_matrix_not_its_transpose():
    matrix = vectors(6, 6)
    torch.testing.assert_close(force_jacobian(Linear(matrix), vectors(4, 2, 3)), matrix.expand(4, 6, 6))


def test_the_share_is_zero_for_symmetric_and_one_for_antisymmetric_jacobians():
    a = vectors(5, 6, 6)
    assert antisymmetric_share(a + a.mT).abs().max() < 1e-15
    torch.testing.assert_close(antisymmetric_share(a - a.mT), torch.ones(5, dtype=torch.float64))


def test_the_share_does_not_depend_on_the_axes():
    a = vectors(6, 6)
    q = random_unitary(6, group="O", dtype=torch.float64, generator=generator(0))
    torch.testing.assert_close(antisymmetric_share(q @ a @ q.mT), antisymmetric_share(a))


def test_forces_of_an_energy_have_no_antisymmetric_share_and_those_of_a_network_do(field):
    positions = sample_positions(4, 0)
    assert antisymmetric_share(force_jacobian(field, positions)).max() < 1e-6

    class Direct:
        net = ENN((6, 8, 4), dtype=torch.float64, generator=generator(0))

        @torch.no_grad()
        def forces(self, positions):
            return self.net(field._inputs(positions)).mT

    assert antisymmetric_share(force_jacobian(Direct(), positions)).min() > 0.01


def test_single_precision_positions_are_refused_for_differences():
    with pytest.raises(TypeError, match=r"wanted torch\.float64"):
        force_jacobian(ARGON, sample_positions(1, 0).float())
