"""Even and odd under reflections: the network, the angular momentum and the orientation (sec. 3.6)."""

import pytest
import torch
from examples import generator, normal
from hypothesis import given
from hypothesis import strategies as st

from enn_book.lectures.parity import CrossProduct, orientation
from enn_lib.groups import assert_equivariant
from enn_lib.network import ENN


def axial(q, x):
    """The action of O(3) on axial vectors."""
    return torch.linalg.det(q) * q @ x


def test_the_network_is_odd_and_the_angular_momentum_even():
    """Eq. 37."""
    x = normal(10, 3, 2)
    net = ENN((2, 5, 1), dtype=torch.float64, generator=generator(0))
    torch.testing.assert_close(net(-x), -net(x))
    torch.testing.assert_close(CrossProduct()(-x), CrossProduct()(x))


@given(seed=st.integers(0, 1000))
def test_a_half_turn_inverts_any_two_vectors(seed):
    """So no number that rotations leave alone can tell (r, p) from (-r, -p)."""
    x = normal(3, 2, seed=seed)
    axis = torch.nn.functional.normalize(torch.linalg.cross(x[:, 0], x[:, 1]), dim=0)
    half_turn = 2 * torch.outer(axis, axis) - torch.eye(3, dtype=torch.float64)
    assert torch.linalg.det(half_turn).item() == pytest.approx(1)
    torch.testing.assert_close(half_turn @ x, -x)


def test_the_cross_product_is_the_angular_momentum():
    """Eq. 36 in components."""
    r, p = normal(3, seed=1), normal(3, seed=2)
    expected = torch.stack([r[1] * p[2] - r[2] * p[1], r[2] * p[0] - r[0] * p[2], r[0] * p[1] - r[1] * p[0]])
    torch.testing.assert_close(CrossProduct()(torch.stack([r, p], dim=-1)).squeeze(-1), expected)


def test_the_cross_product_pairs_the_first_half_with_the_second():
    x = normal(3, 4)
    expected = torch.stack([torch.linalg.cross(x[:, 0], x[:, 2]), torch.linalg.cross(x[:, 1], x[:, 3])])
    torch.testing.assert_close(CrossProduct()(x), expected.mT)


def test_cross_products_are_axial_also_after_a_network():
    model = torch.nn.Sequential(
        ENN((3, 8, 6), dtype=torch.float64, generator=generator(0)),
        CrossProduct(),
        ENN((3, 5, 2), dtype=torch.float64, generator=generator(1)),
    )
    assert_equivariant(model, normal(4, 3, 3), group="O", output_action=axial)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(model, normal(4, 3, 3), group="O")


def test_the_orientation_is_a_sign_that_rotations_keep_and_reflections_change():
    x = normal(20, 3, 4)
    assert (orientation(x).abs() == 1).all()
    assert orientation(torch.eye(3)).item() == 1
    assert_equivariant(orientation, x, group="SO", output_action="invariant")
    torch.testing.assert_close(orientation(-x), -orientation(x))


def test_orientation_times_an_axial_vector_is_polar():
    x = normal(20, 3, 4)
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
