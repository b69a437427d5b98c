"""Trajectories under the physicist's eye: reversal, drift, known Lyapunov exponents, errors that add up."""

import math

import pytest
import torch

from enn_lib.argon import ARGON, ARGON_MASS
from enn_lib.chaos import (
    LOST,
    Watched,
    deviation_without_amplification,
    energy_drift,
    lyapunov_exponent,
    reversal_error,
)
from enn_lib.dynamics import ACCELERATION, paper_initial_conditions, rmsd_positions, simulate


class Spring:
    """Forces k r: springs if k is negative, an inverted pendulum in every direction if it is positive."""

    def __init__(self, k):
        self.k = k

    def forces(self, positions):
        return self.k * positions


class HenonHeiles:
    """The system of Hénon and Heiles (1964) in the plane of the first two coordinates, in its own units."""

    def forces(self, positions):
        x, y, z = positions.unbind(-1)
        return torch.stack((-x - 2 * x * y, -y - x * x + y * y, torch.zeros_like(z)), dim=-1)


class Friction:
    """The analytic forces, and a push that remembers how often it was asked."""

    def __init__(self):
        self.calls = 0

    def forces(self, positions):
        self.calls += 1
        return ARGON.forces(positions) + 1e-6 * self.calls


# Lost samples


class Strict:
    """The analytic forces, which refuse what is not finite, and what they were asked."""

    def __init__(self):
        self.asked = []

    def forces(self, positions):
        self.asked.append(len(positions))
        return ARGON.forces(positions)


def test_a_lost_sample_is_not_asked_about_and_has_no_forces():
    positions = start(5)[0]
    positions[1, 2, 0] = math.nan
    positions[2, 0, 1] = math.inf
    positions[3, 3, 2] = 1.5 * LOST
    strict = Strict()
    forces = Watched(strict).forces(positions)
    assert forces.isnan().flatten(1).all(dim=1).tolist() == [False, True, True, True, False]
    torch.testing.assert_close(forces[[0, 4]], ARGON.forces(positions[[0, 4]]))
    assert strict.asked == [2]
    assert Watched(strict).forces(positions[1:4]).isnan().all()
    assert strict.asked == [2], "nothing is left to ask about"


def test_a_sample_that_nothing_happens_to_is_asked_about_as_it_is():
    positions = start(3)[0]
    torch.testing.assert_close(Watched(ARGON).forces(positions), ARGON.forces(positions), atol=0, rtol=0)


def test_lost_atoms_stay_lost():
    positions, velocities = start(2)
    velocities[1, 0, 0] += 1.0  # Å/fs
    path = simulate(Watched(ARGON), positions, velocities, 300)
    assert path.positions[:, 0].isfinite().all()
    gone = path.positions[:, 1].isnan().any(dim=-1).any(dim=-1)
    assert gone.any()
    assert not gone[:90].any()
    assert gone[int(gone.int().argmax()) :].all()


# Reversal


def test_the_analytic_dynamics_returns_to_its_start():
    assert reversal_error(ARGON, *paper_initial_conditions(2), 300).max() < 1e-10


def test_forces_without_a_potential_are_reversible_too_if_they_depend_on_positions_alone():
    class Vortex:
        def forces(self, positions):
            x, y, z = positions.unbind(-1)
            return 1e-3 * torch.stack((-y, x, 0 * z), dim=-1)

    assert reversal_error(Vortex(), *paper_initial_conditions(2), 300).max() < 1e-10


def test_forces_with_a_memory_do_not_return():
    assert reversal_error(Friction(), *paper_initial_conditions(2), 300).min() > 1e-4


def test_the_atom_that_ends_farthest_from_its_start_counts():
    class Fickle:
        """No forces, but a push on one atom of one sample that depends on how often it was asked."""

        calls = 0

        def forces(self, positions):
            self.calls += 1
            forces = torch.zeros_like(positions)
            forces[1, 2, 0] = 1e-4 * self.calls
            return forces

    error = reversal_error(Fickle(), *paper_initial_conditions(2), 100)
    assert error.shape == (2,)
    assert error[0] < 1e-12
    assert error[1] > 1e-3


# Drift


def test_the_drift_is_the_slope_in_ev_per_nanosecond():
    time = torch.arange(0, 5000, 100, dtype=torch.float64)
    energy = torch.stack((2e-9 * time + 1, torch.sin(time) * 0 - 3), dim=-1)
    torch.testing.assert_close(energy_drift(energy, time), torch.tensor([2e-3, 0.0], dtype=torch.float64))


def test_one_record_has_no_slope():
    with pytest.raises(ValueError, match="time: got 1 records"):
        energy_drift(torch.zeros(1, 2), torch.zeros(1))


# Lyapunov exponents


def start(samples=2):
    return paper_initial_conditions(samples)


def test_an_inverted_pendulum_has_the_exponent_of_its_equation():
    """r'' = (k/m) r grows as exp(sqrt(k/m) t)."""
    k = 0.1
    wanted = math.sqrt(k * ACCELERATION / ARGON_MASS)
    top = torch.zeros(2, 4, 3, dtype=torch.float64)  # at rest where it balances
    estimate = lyapunov_exponent(Spring(k), top, top, 6000, every=100)
    late = (60 * estimate[-1] - 30 * estimate[29]) / 30  # without the turn into the growing direction
    torch.testing.assert_close(late, torch.full_like(late, wanted), rtol=1e-3, atol=0)


def test_a_spring_has_exponent_zero():
    """With the unit of time that is its own, the distance to the shadow is constant."""
    k = -0.1
    own = math.sqrt(ARGON_MASS / (-k * ACCELERATION))
    estimate = lyapunov_exponent(Spring(k), *start(), 2000, every=100, unit_time=own)
    assert estimate[-1].abs().max() < 1e-5


def henon_heiles(energy, samples=8):
    """Starts of one energy on x = 0, y and the direction of the velocity various; and the exponents."""
    y = torch.linspace(-0.1, 0.1, samples, dtype=torch.float64)
    potential = 0.5 * y**2 - y**3 / 3
    speed = (2 * (energy - potential)).sqrt()
    zero = torch.zeros_like(y)
    r = torch.stack((zero, y, zero), dim=-1).unsqueeze(-2)
    v = torch.stack((0.8 * speed, 0.6 * speed, zero), dim=-1).unsqueeze(-2)
    return lyapunov_exponent(
        HenonHeiles(), r, v, 12_000, 0.05, mass=ACCELERATION, every=10, unit_time=1.0
    )[-1]  # fmt: skip


def test_henon_heiles_at_the_escape_energy_has_its_published_exponent():
    """0.13 at energy 1/6 (Benettin, Galgani and Strelcyn 1976 give 0.13 with some per cent of spread)."""
    assert henon_heiles(1 / 6).median().item() == pytest.approx(0.13, abs=0.03)


def test_henon_heiles_at_low_energy_is_regular():
    assert henon_heiles(1 / 50).max() < 0.015, "ln(T)/T of 600 units is 0.01"


@pytest.mark.parametrize(("steps", "every", "separation"), [(5, 10, 1e-7), (15, 10, 1e-7), (10, 10, 0.0)])
def test_numbers_that_do_not_fit_are_named(steps, every, separation):
    with pytest.raises(ValueError, match="steps, every, separation: got"):
        lyapunov_exponent(ARGON, *start(), steps, every=every, separation=separation)


# Whose fault


class Wrong:
    """The true forces and a constant error."""

    error = torch.tensor([1e-5, 0.0, 0.0], dtype=torch.float64)

    def forces(self, positions):
        return ARGON.forces(positions) + self.error


def test_a_constant_error_adds_up_to_a_parabola():
    true = simulate(ARGON, *start(), 200)
    deviation = deviation_without_amplification(true, Wrong())
    wanted = 0.5 * 1e-5 * ACCELERATION / ARGON_MASS * true.time**2
    torch.testing.assert_close(deviation, wanted)


def test_on_springs_a_constant_error_leads_less_far_than_it_adds_up_to():
    """r'' = -(k/m) r + e/m ends at e/k at most, and the parabola goes on."""

    class Pushed(Spring):
        def forces(self, positions):
            return super().forces(positions) + 1e-5

    spring, pushed = Spring(-0.1), Pushed(-0.1)
    true, moved = (simulate(f, *start(), 2000) for f in (spring, pushed))
    added = deviation_without_amplification(true, pushed, truth=spring)
    real = rmsd_positions(true, moved)
    torch.testing.assert_close(added[:20], real[:20], rtol=1e-2, atol=0)
    assert real.max() <= 2e-4 * 3**0.5 * 1.01 < added[-1]


def test_true_forces_do_not_deviate():
    true = simulate(ARGON, *start(), 50)
    assert deviation_without_amplification(true, ARGON).max() == 0
