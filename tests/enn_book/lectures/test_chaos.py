"""Trajectories under the physicist's eye: reversal, drift, errors that add up."""

import math
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from enn_book.lectures.chaos import (
    LOST,
    Watched,
    deviation_without_amplification,
    energy_drift,
    reversal_error,
)
from enn_lib.argon import ARGON, ARGON_MASS
from enn_lib.dynamics import ACCELERATION, paper_initial_conditions, rmsd_positions, simulate

START = paper_initial_conditions(2)


def spring(k, push=0.0):
    """Forces k r: springs if k is negative, an inverted pendulum in every direction if it is positive."""
    return SimpleNamespace(forces=lambda r: k * r + push)


def vortex(r):
    """Forces without a potential."""
    x, y, z = r.unbind(-1)
    return 1e-3 * torch.stack((-y, x, 0 * z), dim=-1)


# Lost samples


def test_a_lost_sample_is_not_asked_about_and_has_no_forces():
    positions = paper_initial_conditions(5)[0]
    positions[1, 2, 0] = math.nan
    positions[2, 0, 1] = math.inf
    positions[3, 3, 2] = 1.5 * LOST
    asked = []

    def strict(r):
        """The analytic forces, which refuse what is not finite."""
        asked.append(len(r))
        return ARGON.forces(r)

    watched = Watched(SimpleNamespace(forces=strict))
    forces = watched.forces(positions)
    assert forces.isnan().flatten(1).all(dim=1).tolist() == [False, True, True, True, False]
    torch.testing.assert_close(forces[[0, 4]], ARGON.forces(positions[[0, 4]]))
    assert asked == [2]
    assert watched.forces(positions[1:4]).isnan().all()
    assert asked == [2], "nothing is left to ask about"


def test_a_sample_that_nothing_happens_to_is_asked_about_as_it_is():
    assert Watched(ARGON).forces(START[0]).equal(ARGON.forces(START[0]))


def test_lost_atoms_stay_lost():
    positions, velocities = paper_initial_conditions(2)
    velocities[1, 0, 0] += 1.0  # Å/fs
    path = simulate(Watched(ARGON), positions, velocities, 300)
    assert path.positions[:, 0].isfinite().all()
    gone = path.positions[:, 1].isnan().any(dim=-1).any(dim=-1)
    assert gone.any()
    assert not gone[:90].any()
    assert gone[int(gone.int().argmax()) :].all()


# Reversal


@pytest.mark.parametrize("forces", [ARGON.forces, vortex], ids=["with a potential", "without"])
def test_under_forces_that_depend_on_positions_alone_the_atoms_return_to_their_start(forces):
    assert reversal_error(SimpleNamespace(forces=forces), *START, 300).max() < 1e-10


def test_forces_with_a_memory_do_not_return():
    calls = count(1)
    friction = SimpleNamespace(forces=lambda r: ARGON.forces(r) + 1e-6 * next(calls))
    assert reversal_error(friction, *START, 300).min() > 1e-4


def test_the_atom_that_ends_farthest_from_its_start_counts():
    calls = count(1)

    def fickle(r):
        """No forces, but a push on one atom of one sample that depends on how often it was asked."""
        forces = torch.zeros_like(r)
        forces[1, 2, 0] = 1e-4 * next(calls)
        return forces

    error = reversal_error(SimpleNamespace(forces=fickle), *START, 100)
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


# Whose fault


def test_a_constant_error_adds_up_to_a_parabola():
    error = torch.tensor([1e-5, 0.0, 0.0], dtype=torch.float64)
    true = simulate(ARGON, *START, 200)
    wrong = SimpleNamespace(forces=lambda r: ARGON.forces(r) + error)
    deviation = deviation_without_amplification(true, wrong)
    wanted = 0.5 * 1e-5 * ACCELERATION / ARGON_MASS * true.time**2
    torch.testing.assert_close(deviation, wanted)


def test_on_springs_a_constant_error_leads_less_far_than_it_adds_up_to():
    """r'' = -(k/m) r + e/m ends at e/k at most, and the parabola goes on."""
    free, pushed = spring(-0.1), spring(-0.1, push=1e-5)
    true, moved = (simulate(f, *START, 2000) for f in (free, pushed))
    added = deviation_without_amplification(true, pushed, truth=free)
    real = rmsd_positions(true, moved)
    torch.testing.assert_close(added[:20], real[:20], rtol=1e-2, atol=0)
    assert real.max() <= 2e-4 * 3**0.5 * 1.01 < added[-1]


def test_true_forces_do_not_deviate():
    true = simulate(ARGON, *START, 50)
    assert deviation_without_amplification(true, ARGON).max() == 0
