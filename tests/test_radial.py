"""Radial functions and their cutoffs (Eq. 32)."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from enn_lib.radial import GaussianRadial, cosine_cutoff, polynomial_cutoff

CUTOFF = 6.0
smooth = pytest.mark.parametrize("power", [3, 4, 6])


def derivatives(function, distance, order=2):
    """The value of a function of one number and its derivatives, by autograd."""
    x = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    values = [function(x)]
    for _ in range(order):
        (slope,) = torch.autograd.grad(values[-1], x, create_graph=True)
        values.append(slope)
    return [value.item() for value in values]


def jumps(function, distance, order=2, step=1e-9):
    """How far the value and each derivative jump across a distance."""
    pairs = zip(*(derivatives(function, distance + s, order) for s in (-step, step)), strict=True)
    return [abs(after - before) for before, after in pairs]


@smooth
def test_the_cutoff_is_one_at_zero_and_zero_from_the_cutoff_on(power):
    r = torch.tensor([0.0, CUTOFF, 1.5 * CUTOFF], dtype=torch.float64)
    torch.testing.assert_close(
        polynomial_cutoff(r, CUTOFF, power), torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
    )


@smooth
def test_value_and_two_derivatives_of_the_cutoff_are_continuous_at_the_cutoff_distance(power):
    """What sec. 3.5 asks of f_c."""
    assert max(jumps(lambda r: polynomial_cutoff(r, CUTOFF, power), CUTOFF)) < 1e-6


@smooth
def test_two_derivatives_of_the_cutoff_vanish_just_inside_the_cutoff_distance(power):
    """Continuity with the zero outside, seen from inside: one-sided derivatives by autograd."""
    values = derivatives(lambda r: polynomial_cutoff(r, CUTOFF, power), CUTOFF - 1e-9)
    assert max(map(abs, values)) < 1e-6


@smooth
def test_the_derivatives_that_autograd_takes_are_those_of_differences(power):
    """Also where the polynomial does not vanish: a derivative that is zero everywhere would not do."""

    def f(r):
        return polynomial_cutoff(torch.as_tensor(r, dtype=torch.float64), CUTOFF, power).item()

    h, r = 1e-3, 0.7 * CUTOFF
    _, slope, curvature = derivatives(lambda x: polynomial_cutoff(x, CUTOFF, power), r)
    assert slope == pytest.approx((f(r + h) - f(r - h)) / (2 * h), rel=1e-5)
    assert curvature == pytest.approx((f(r + h) - 2 * f(r) + f(r - h)) / h**2, rel=1e-4)
    assert slope < -0.1


def test_with_power_three_the_cutoff_is_the_quintic_smooth_step():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    torch.testing.assert_close(
        polynomial_cutoff(t * CUTOFF, CUTOFF), 1 - t**3 * (10 - 15 * t + 6 * t * t), atol=1e-14, rtol=0
    )


@given(power=st.integers(3, 9), scale=st.floats(0.1, 100))
def test_the_cutoff_falls_and_depends_on_the_ratio_of_distance_and_cutoff_alone(power, scale):
    t = torch.linspace(0, 1.2, 50, dtype=torch.float64)
    values = polynomial_cutoff(t, 1.0, power)
    assert (values.diff() <= 1e-13).all()
    torch.testing.assert_close(polynomial_cutoff(scale * t, scale, power), values, atol=1e-9, rtol=0)


def test_the_second_derivative_of_the_cosine_cutoff_jumps_as_calculated():
    """pi^2 / (2 r_c^2): the cutoff of 2007 is not smooth enough for sec. 3.5."""
    value, slope, curvature = jumps(lambda r: cosine_cutoff(r, CUTOFF), CUTOFF)
    assert max(value, slope) < 1e-6
    assert curvature == pytest.approx(math.pi**2 / (2 * CUTOFF**2), rel=1e-6)


def test_the_radial_functions_are_equation_32_written_letter_by_letter():
    eta, centres = [0.5, 2.0, 0.0], [1.0, 3.0, 0.0]
    r = 2.3
    f_c = 1 - 10 * (r / 6) ** 3 + 15 * (r / 6) ** 4 - 6 * (r / 6) ** 5
    expected = [math.exp(-e * (r - c) ** 2) * f_c for e, c in zip(eta, centres, strict=True)]
    radial = GaussianRadial(eta, centres, CUTOFF)
    torch.testing.assert_close(radial(torch.tensor(r, dtype=torch.float64)).tolist(), expected)


def test_two_derivatives_of_every_radial_function_are_continuous_at_the_cutoff_distance():
    radial = GaussianRadial.geometric(8, 2.0, CUTOFF)
    for k in range(len(radial)):
        assert max(jumps(lambda r, k=k: radial(r)[k], CUTOFF)) < 1e-5


def test_geometric_centres_grow_by_one_ratio_and_widths_with_them():
    radial = GaussianRadial.geometric(4, 2.0, 32.0)
    torch.testing.assert_close(radial.centres, torch.tensor([2.0, 4.0, 8.0, 16.0], dtype=torch.float64))
    torch.testing.assert_close(radial.eta.rsqrt(), radial.centres)


def test_the_radial_functions_keep_shape_and_dtype():
    radial = GaussianRadial.geometric(5, 1.0, CUTOFF)
    features = radial(torch.ones(2, 3, dtype=torch.float32))
    assert features.shape == (2, 3, 5)
    assert features.dtype == torch.float32


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: polynomial_cutoff(torch.ones(1), 0.0), "cutoff: got 0.0"),
        (lambda: polynomial_cutoff(torch.ones(1), 1.0, 2), "power: got 2"),
        (lambda: cosine_cutoff(torch.ones(1), -1.0), "cutoff: got -1.0"),
        (lambda: GaussianRadial([1.0], [1.0, 2.0], 6.0), "eta, centres: got"),
        (lambda: GaussianRadial([], [], 6.0), "eta, centres: got"),
        (lambda: GaussianRadial([-1.0], [1.0], 6.0), "eta, centres: got"),
        (lambda: GaussianRadial([1.0], [1.0], float("nan")), "cutoff: got nan"),
        (lambda: GaussianRadial.geometric(1, 1.0, 6.0), "count, first, cutoff: got 1"),
        (lambda: GaussianRadial.geometric(4, 7.0, 6.0), "count, first, cutoff: got 4, 7.0"),
    ],
)
def test_bad_radial_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
