"""Five charged particles: the law, the integrator, the data of the published benchmark, and their floor."""

import math

import numpy as np
import pytest
import torch
from examples import normal

from enn_book.studies.nbody.data import (
    Systems,
    draw_starts,
    generate_systems,
    least_errors,
    load_floor,
    load_test,
    turned_targets,
)
from enn_book.studies.nbody.study import ACTIONS, PUBLISHED
from enn_book.studies.nbody.system import DT, MAX_FORCE, coulomb_forces, energy, simulate
from enn_lib.argon import smallest_distance
from enn_lib.groups import assert_equivariant, random_unitary

FEW = 40


@pytest.fixture(scope="module")
def starts():
    return draw_starts("train", FEW)


@pytest.fixture(scope="module")
def systems():
    return generate_systems("train", FEW)


@pytest.fixture(scope="module")
def calm(starts):
    """Starts of which no pair comes closer than 0.3 in 4,100 steps, where nothing is limited or stiff."""
    frames, _ = simulate(*starts, 4100, every=10)
    rows = smallest_distance(frames).amin(dim=0) > 0.3
    assert 5 < rows.sum() < FEW
    return [part[rows] for part in starts]


# The law


def test_like_charges_repel_with_the_inverse_square_of_their_distance():
    pair = torch.tensor([[0.0, 0, 0], [2, 0, 0]], dtype=torch.float64)
    force = coulomb_forces(pair, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(force, torch.tensor([[-0.25, 0, 0], [0.25, 0, 0]], dtype=torch.float64))
    opposite = coulomb_forces(pair, torch.tensor([1.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(opposite, -force)


def test_the_force_is_minus_the_gradient_of_the_energy(starts):
    x = starts.positions.clone().requires_grad_()
    potential = energy(x, torch.zeros_like(x), starts.charges).sum()
    (gradient,) = torch.autograd.grad(potential, x)
    torch.testing.assert_close(coulomb_forces(starts.positions, starts.charges, None), -gradient)


def test_forces_add_up_to_nothing(starts):
    assert coulomb_forces(starts.positions, starts.charges, None).sum(dim=-2).abs().max() < 1e-12


def test_no_component_of_a_force_exceeds_the_limit_which_is_that_of_each_component():
    near = torch.tensor([[0.0, 0, 0], [0.05, 0.01, 0]], dtype=torch.float64)
    charges = torch.ones(2, dtype=torch.float64)
    free = coulomb_forces(near, charges, None)
    assert free[1, 0] > MAX_FORCE > free[1, 1] > 0
    torch.testing.assert_close(coulomb_forces(near, charges), free.clamp(-MAX_FORCE, MAX_FORCE))


# The integrator


def test_energy_is_kept_away_from_close_encounters(calm):
    x, v, q = calm
    before = energy(x, v, q)
    (x,), (v,) = simulate(x, v, q, 4100)
    # The published method is of first order, and its velocities are half a step behind: an error of
    # dt times the power, not a drift.
    assert (energy(x, v, q) - before).abs().max() < 0.01


def test_the_error_of_energy_is_of_first_order_in_the_step(calm):
    errors = []
    for fine in (1, 2):
        (x,), (v,) = simulate(*calm, 1000 * fine, dt=DT / fine)
        errors.append((energy(x, v, calm[2]) - energy(*calm)).abs().max().item())
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def test_momentum_is_kept(calm):
    x, v, q = calm
    _, (after,) = simulate(x, v, q, 1000)
    torch.testing.assert_close(after.sum(dim=-2), v.sum(dim=-2), rtol=0, atol=1e-10)


def test_going_on_from_a_frame_repeats_the_rest_exactly(starts):
    (x, end_x), (v, end_v) = simulate(*starts, 40, every=20)
    (rest_x,), (rest_v,) = simulate(x, v, starts.charges, 20)
    assert end_x.equal(rest_x)
    assert end_v.equal(rest_v)


def end(positions, velocities, charges):
    return simulate(positions, velocities, charges, 300)[0][0]


@pytest.mark.parametrize("group", ["O", "S", "T"])
def test_a_trajectory_turns_moves_and_is_renumbered_with_its_start(group, calm):
    assert_equivariant(end, *calm, group=group, action=ACTIONS[group], tolerance=1e-9)


def test_the_limit_of_a_component_does_not_turn():
    """The published simulation knows the axes where two particles are close."""
    near = torch.tensor([[0.0, 0, 0], [0.03, 0.01, 0]], dtype=torch.float64)
    q = torch.ones(2, dtype=torch.float64)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: coulomb_forces(x, q), near, group="O", action="rows")


def test_a_round_limit_turns_with_the_particles():
    """It shortens a force, keeps its direction, and leaves a short one alone."""
    near = torch.tensor([[0.0, 0, 0], [0.03, 0.01, 0], [2, 1, 0]], dtype=torch.float64)
    q = torch.ones(3, dtype=torch.float64)
    free, rounded = coulomb_forces(near, q, None), coulomb_forces(near, q, is_round=True)
    torch.testing.assert_close(rounded[:2].norm(dim=-1), torch.full((2,), MAX_FORCE, dtype=torch.float64))
    torch.testing.assert_close(rounded[:2] * free[:2].norm(dim=-1, keepdim=True), free[:2] * MAX_FORCE)
    torch.testing.assert_close(rounded[2], free[2])
    assert_equivariant(lambda x: coulomb_forces(x, q, is_round=True), near, group="O", action="rows")


def test_a_simulation_with_a_round_limit_turns_with_its_start_where_a_box_does_not(hundred):
    """On the systems of the test part in which the limit decides."""
    some = hundred[load_floor()[:100] > 1e-10]
    generator = torch.Generator().manual_seed(0)
    turn = random_unitary(3, group="O", dtype=torch.float64, generator=generator)
    x, v = some.positions, some.velocities
    for is_round in (True, False):
        (one,), _ = simulate(x, v, some.charges, 1000, is_round=is_round)
        (two,), _ = simulate(x @ turn.mT, v @ turn.mT, some.charges, 1000, is_round=is_round)
        apart = (two @ turn - one).square().mean()
        assert apart < 1e-9 if is_round else apart > 1e-3


def test_a_change_of_all_signs_changes_nothing(calm):
    x, v, q = calm
    torch.testing.assert_close(end(x, v, -q), end(x, v, q), rtol=0, atol=0)


@pytest.mark.parametrize(("steps", "every"), [(0, None), (10, 3), (10, 0)])
def test_steps_and_frames_that_do_not_fit_are_refused(starts, steps, every):
    with pytest.raises(ValueError, match=rf"steps, every: got {steps}"):
        simulate(*starts, steps, every=every)


def test_shapes_that_do_not_fit_are_refused(starts):
    with pytest.raises(ValueError, match="positions, charges: got shapes"):
        coulomb_forces(starts.positions, starts.charges[:, :4])


# The published data


def scalar_trajectory(random):
    """One trajectory of the published program, number by number; the frames 30 and 40, and the charges.

    Its arrays are one column a particle. It takes squared distances from |a|^2 + |b|^2 - 2 a.b.
    """
    n = 5
    q = random.choice(np.array([-1.0, 0.0, 1.0]), size=(n, 1), p=[1 / 2, 0, 1 / 2])[:, 0]
    x, v = random.randn(3, n), random.randn(3, n)
    v = v * 0.5 / np.sqrt((v**2).sum(axis=0)).reshape(1, -1)
    assert np.abs(x).max() < 5, "none of the first begins beyond the box"

    def force():
        f = np.zeros((3, n))
        for i in range(n):
            for j in range(n):
                if i != j:
                    a, b = x[:, i], x[:, j]
                    squared = a @ a + b @ b - 2 * (a @ b)
                    f[:, i] += q[i] * q[j] / squared**1.5 * (a - b)
        return np.minimum(np.maximum(f, -100.0), 100.0)

    frames = []
    v = v + 0.001 * force()
    for step in range(1, 4101):
        x = x + 0.001 * v
        if step % 100 == 0:
            frames.append((x.copy(), v.copy()))
        v = v + 0.001 * force()
    for _ in range(2):  # noise for positions and velocities, times zero
        random.randn(49, 3, n)
    return frames[30], frames[40], q


def test_the_data_are_those_of_the_published_program_number_by_number(systems):
    random = np.random.RandomState(43)
    for k in range(2):
        (x, v), (target, _), q = scalar_trajectory(random)
        assert systems.charges[k].tolist() == q.tolist()
        ours = (systems.positions[k].mT, systems.velocities[k].mT, systems.targets[k].mT)
        torch.testing.assert_close(ours, tuple(map(torch.from_numpy, (x, v, target))), rtol=0, atol=1e-9)


def test_a_start_that_the_program_draws_late_is_found_by_its_calls_alone():
    """The stream in front of the validation part is that of 10,000 training trajectories."""
    random = np.random.RandomState(43)
    for _ in range(10_000):
        random.random_sample(5)
        random.randn(3 * 5 * (2 + 2 * 49))
    charges = np.where(random.random_sample(5) < 0.5, -1.0, 1.0)
    starts = draw_starts("validation", 1)
    assert starts.charges[0].tolist() == charges.tolist()
    torch.testing.assert_close(starts.positions[0].mT, torch.from_numpy(random.randn(3, 5)), rtol=0, atol=0)


def test_starts_are_distributed_as_published():
    positions, velocities, charges = draw_starts("train")
    torch.testing.assert_close(velocities.norm(dim=-1), torch.full((3000, 5), 0.5, dtype=torch.float64))
    assert positions.std().item() == pytest.approx(1, abs=0.02)
    assert positions.abs().max() <= 5
    assert set(charges.flatten().tolist()) == {-1.0, 1.0}
    assert charges.mean().abs() < 5 / math.sqrt(charges.numel())


def test_the_data_have_not_changed(systems):
    """Sums of rounded values of the first systems, in which rounding is not amplified."""
    rounded = (systems.targets[:5] * 1e4).round()
    assert int(rounded.sum()) == 133559
    assert int((rounded * torch.arange(75).view(5, 5, 3)).sum()) == 5988416


def test_a_part_is_a_beginning_of_the_whole_and_chunks_change_nothing(systems):
    few = generate_systems("train", 7, chunk=3)
    torch.testing.assert_close(few.targets, systems.targets[:7], rtol=0, atol=1e-9)
    torch.testing.assert_close(few.positions, systems[:7].positions, rtol=0, atol=1e-9)
    assert len(few) == 7
    assert few.float().targets.dtype == torch.float32


def test_the_linear_prediction_has_its_published_error_as_far_as_2000_systems_tell():
    """x + v t, t from least squares; a test part of 2,000 has a standard error of a thirtieth."""
    test = load_test()
    moved, v = test.targets - test.positions, test.velocities
    t = (moved * v).sum() / v.square().sum()
    errors = (moved - t * v).square().mean(dim=(1, 2))
    standard_error = (errors.std() / len(errors) ** 0.5).item()
    assert standard_error < 0.004
    assert abs(errors.mean().item() - PUBLISHED["linear"]) < 3 * standard_error


@pytest.mark.parametrize(
    ("split", "count", "message"),
    [("valid", None, "split: got 'valid'"), ("test", 0, "count: got 0"), ("test", 2001, "count: got 2001")],
)
def test_a_part_that_there_is_not_is_refused(split, count, message):
    with pytest.raises(ValueError, match=message):
        draw_starts(split, count)


def test_the_test_part_that_comes_with_the_book_is_the_one_that_is_generated():
    """Where no encounter amplifies how a processor rounds."""
    stored, made, calm = load_test()[:100], generate_systems("test", 100), load_floor()[:100] < 1e-10
    assert calm.sum() > 70
    for part in ("positions", "velocities", "charges", "targets"):
        ours, again = getattr(stored, part)[calm], getattr(made, part)[calm]
        torch.testing.assert_close(ours, again, rtol=0, atol=1e-6)
    assert len(load_test()) == 2000


# What no equivariant model can learn


@pytest.fixture(scope="module")
def hundred():
    return load_test()[:100]


def was_limited(systems):
    """Whether any component of a force reached the limit on the way."""
    x, v, hit = systems.positions, systems.velocities, torch.zeros(len(systems), dtype=torch.bool)
    for _ in range(1000):
        hit |= (coulomb_forces(x, systems.charges, None).abs() > MAX_FORCE).flatten(1).any(dim=1)
        (x,), (v,) = simulate(x, v, systems.charges, 1)
    torch.testing.assert_close(x, systems.targets, rtol=0, atol=0)
    return hit


def test_targets_turn_with_their_start_where_the_limit_was_never_reached_and_only_there(hundred):
    hit = was_limited(hundred)
    assert 5 < hit.sum() < 30
    apart = (turned_targets(hundred, 1)[0] - hundred.targets).abs().amax(dim=(1, 2))
    assert apart[~hit].max() < 1e-6
    assert (apart[hit] > 1e-4).float().mean() > 0.8


def test_the_least_error_is_that_of_the_mean_over_all_directions():
    """On targets that are random in every direction: the error of their mean, zero, is their variance."""
    ends = normal(41, 50, 5, 3)
    zero = torch.zeros(50, 5, 3, dtype=torch.float64)
    some = Systems(zero, zero, zero[..., 0], ends[0])
    assert least_errors(some, ends[1:]).mean().item() == pytest.approx(1, rel=0.02)


def test_a_system_without_an_encounter_can_be_learned(hundred):
    errors = least_errors(hundred, turned_targets(hundred, 2))
    assert errors.median() < 1e-20
    assert errors.mean() > 1e-4


def test_the_floor_that_comes_with_the_book_is_that_of_its_test_part(hundred):
    again, stored = least_errors(hundred, turned_targets(hundred, 20)), load_floor()[:100]
    assert ((again > 1e-10) == (stored > 1e-10)).all()
    assert again.mean().item() == pytest.approx(stored.mean().item(), rel=0.2)
    assert load_floor().mean().item() == pytest.approx(0.00197, abs=5e-6)


def test_no_direction_is_refused(hundred):
    with pytest.raises(ValueError, match="count: got 0"):
        turned_targets(hundred, 0)
