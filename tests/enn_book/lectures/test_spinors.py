"""The ring of spinors: symmetric under U(n) and the moves of the ring, and not under O(2 n)."""

from functools import partial

import pytest
import torch
from examples import biased_network, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_book.lectures.spinors import as_complex, as_real, evolve_spinors
from enn_lib.groups import assert_equivariant, random_unitary
from enn_lib.network import ENN

ORDERS = pytest.mark.parametrize("n", [1, 2, 3, 8])

spinors = partial(normal, dtype=torch.complex128)
evolve = partial(evolve_spinors, time=0.5)


@ORDERS
def test_the_evolution_commutes_with_every_unitary_operator(n):
    assert_equivariant(evolve, spinors(3, n, 4))


@ORDERS
def test_the_evolution_does_not_commute_with_every_orthogonal_operator_of_the_real_vectors(n):
    """O(2 n) contains U(n) and more: the lattice has the smaller symmetry."""
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: as_real(evolve(as_complex(x))), as_real(spinors(3, n, 4)), group="O")


def test_the_evolution_commutes_with_the_moves_of_the_ring():
    psi = spinors(3, 2, 5)
    torch.testing.assert_close(evolve(psi.roll(1, -1)), evolve(psi).roll(1, -1))
    torch.testing.assert_close(evolve(psi.flip(-1)), evolve(psi).flip(-1))


@ORDERS
def test_unitary_matrices_are_orthogonal_on_real_vectors(n):
    u = random_unitary(n)
    big = torch.cat((torch.cat((u.real, -u.imag), -1), torch.cat((u.imag, u.real), -1)), -2)
    torch.testing.assert_close(big @ big.mT, torch.eye(2 * n, dtype=torch.float64))
    psi = spinors(n, 4)
    torch.testing.assert_close(big @ as_real(psi), as_real(u @ psi))


@given(n=st.integers(1, 5), m=st.integers(1, 5), seed=st.integers(0, 100))
def test_real_and_complex_vectors_are_each_others_inverse(n, m, seed):
    psi = spinors(2, n, m, seed=seed)
    assert torch.equal(as_complex(as_real(psi)), psi)


def test_lengths_are_the_same_for_real_and_complex_vectors():
    """So the complex network with real weights is the real network."""
    psi = spinors(2, 3, 4)
    real = biased_network((4, 5, 2), n=6)
    net = ENN((4, 5, 2), dtype=torch.complex128)
    net.load_state_dict(real.state_dict())
    torch.testing.assert_close(as_real(net(psi)), real(as_real(psi)))


def test_without_coupling_the_evolution_is_that_of_a_matrix_exponential():
    psi = spinors(2, 3, 5)
    ring = torch.roll(torch.eye(5, dtype=torch.complex128), 1, 0)
    exact = psi @ torch.matrix_exp(0.7j * 2.0 * (ring + ring.mT))
    torch.testing.assert_close(evolve_spinors(psi, 0.7, hopping=2.0, coupling=0.0), exact, atol=1e-6, rtol=0)


def test_without_hopping_each_spinor_turns_at_the_rate_of_its_density():
    psi = spinors(2, 3, 5)
    density = psi.abs().square().sum(dim=-2, keepdim=True)
    exact = psi * torch.exp(-0.2j * 1.5 * density)
    found = evolve_spinors(psi, 0.2, hopping=0.0, coupling=1.5, substeps=200)
    torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


def test_the_sum_of_spinor_times_its_adjoint_is_conserved():
    """The n x n charges that belong to the symmetry under U(n)."""
    psi = 0.5 * spinors(2, 3, 4)
    after = evolve(psi)
    torch.testing.assert_close(after @ after.mH, psi @ psi.mH, atol=1e-7, rtol=0)


def test_the_integrator_is_of_fourth_order():
    psi = 0.5 * spinors(2, 2, 4)
    exact = evolve_spinors(psi, 0.5, substeps=160)
    coarse, fine = ((evolve_spinors(psi, 0.5, substeps=k) - exact).abs().max() for k in (10, 20))
    assert 12 < coarse / fine < 20


def test_bad_spinors_are_named():
    with pytest.raises(TypeError, match=r"psi: got torch.float32"):
        evolve_spinors(torch.ones(2, 3), 1.0)
    with pytest.raises(ValueError, match="substeps: got 0"):
        evolve_spinors(spinors(2, 3), 1.0, substeps=0)
    with pytest.raises(ValueError, match=r"x: got shape \(3, 2\)"):
        as_complex(torch.ones(3, 2))
