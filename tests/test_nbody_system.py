"""Five charged particles: the law, the integrator, and the data of the published benchmark."""

import math

import numpy as np
import pytest
import torch

from enn_lib.groups import assert_equivariant
from enn_lib.nbody.data import (
    BOX,
    DRAWN,
    EVERY,
    FRAMES,
    N_FRAMES,
    N_PARTICLES,
    N_TRAIN,
    SEED,
    draw_starts,
    generate_systems,
)
from enn_lib.nbody.study import PUBLISHED
from enn_lib.nbody.system import DT, MAX_FORCE, coulomb_forces, energy, simulate

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
    frames, _ = simulate(starts.positions, starts.velocities, starts.charges, 4100, every=10)
    distance = (frames.unsqueeze(-2) - frames.unsqueeze(-3)).square().sum(dim=-1).sqrt()
    distance += 10 * torch.eye(N_PARTICLES, dtype=torch.float64)
    rows = distance.amin(dim=(0, -1, -2)) > 0.3
    assert 5 < rows.sum() < FEW
    return starts.positions[rows], starts.velocities[rows], starts.charges[rows]


# The law


def test_like_charges_repel_with_the_inverse_square_of_their_distance():
    pair = torch.tensor([[0.0, 0, 0], [2, 0, 0]], dtype=torch.float64)
    force = coulomb_forces(pair, torch.tensor([1.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(force, torch.tensor([[-0.25, 0, 0], [0.25, 0, 0]], dtype=torch.float64))
    opposite = coulomb_forces(pair, torch.tensor([1.0, -1.0], dtype=torch.float64))
    torch.testing.assert_close(opposite, -force)


def test_the_force_is_minus_the_gradient_of_the_energy(starts):
    x = starts.positions.clone().requires_grad_()
    potential = energy(x, torch.zeros_like(x), starts.charges).sum()
    (gradient,) = torch.autograd.grad(potential, x)
    torch.testing.assert_close(coulomb_forces(starts.positions, starts.charges, None), -gradient)


def test_forces_add_up_to_nothing(starts):
    total = coulomb_forces(starts.positions, starts.charges, None).sum(dim=-2)
    assert total.abs().max() < 1e-12


def test_no_component_of_a_force_exceeds_the_limit_which_is_that_of_each_component():
    near = torch.tensor([[0.0, 0, 0], [0.05, 0.01, 0]], dtype=torch.float64)
    charges = torch.tensor([1.0, 1.0], dtype=torch.float64)
    free = coulomb_forces(near, charges, None)
    limited = coulomb_forces(near, charges)
    assert free[1, 0] > MAX_FORCE > free[1, 1] > 0
    torch.testing.assert_close(limited, free.clamp(-MAX_FORCE, MAX_FORCE))


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
    s = starts
    frames = simulate(s.positions, s.velocities, s.charges, 40, every=20)
    rest = simulate(frames[0][0], frames[1][0], s.charges, 20)
    assert torch.equal(frames[0][1], rest[0][0])
    assert torch.equal(frames[1][1], rest[1][0])


def end(positions, velocities, charges):
    return simulate(positions, velocities, charges, 300)[0][0]


def test_a_trajectory_turns_and_moves_with_its_start(calm):
    kinds = {"O": ("rows", "rows", "invariant"), "T": ("rows", "invariant", "invariant")}
    for group, action in kinds.items():
        assert_equivariant(end, *calm, group=group, action=action, tolerance=1e-9)
    renumber = ("rows", "rows", lambda order, q: q[..., order.argsort()])
    assert_equivariant(end, *calm, group="S", action=renumber, tolerance=1e-9)


def test_the_limit_of_a_component_does_not_turn():
    """The published simulation knows the axes where two particles are close."""
    near = torch.tensor([[0.0, 0, 0], [0.03, 0.01, 0]], dtype=torch.float64)
    q = torch.ones(2, dtype=torch.float64)
    with pytest.raises(AssertionError, match="not equivariant"):
        assert_equivariant(lambda x: coulomb_forces(x, q), near, group="O", action="rows")


def test_a_change_of_all_signs_changes_nothing(calm):
    x, v, q = calm
    torch.testing.assert_close(end(x, v, -q), end(x, v, q), rtol=0, atol=0)


@pytest.mark.parametrize(("steps", "every"), [(0, None), (10, 3), (10, 0)])
def test_steps_and_frames_that_do_not_fit_are_refused(starts, steps, every):
    with pytest.raises(ValueError, match=rf"steps, every: got {steps}"):
        simulate(starts.positions, starts.velocities, starts.charges, steps, every=every)


def test_shapes_that_do_not_fit_are_refused(starts):
    with pytest.raises(ValueError, match="positions, charges: got shapes"):
        coulomb_forces(starts.positions, starts.charges[:, :4])


# The published data


def scalar_trajectory(random):
    """One trajectory of the published program, number by number; the frames 30 and 40, and the charges.

    Its arrays are one column a particle. It takes squared distances from |a|^2 + |b|^2 - 2 a.b.
    """
    n = N_PARTICLES
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


@pytest.mark.parametrize("count", [2])
def test_the_data_are_those_of_the_published_program_number_by_number(systems, count):
    random = np.random.RandomState(43)
    for k in range(count):
        (x, v), (target, _), q = scalar_trajectory(random)
        torch.testing.assert_close(systems.charges[k], torch.from_numpy(q), rtol=0, atol=0)
        torch.testing.assert_close(systems.positions[k], torch.from_numpy(x.T), rtol=0, atol=1e-9)
        torch.testing.assert_close(systems.velocities[k], torch.from_numpy(v.T), rtol=0, atol=1e-9)
        torch.testing.assert_close(systems.targets[k], torch.from_numpy(target.T), rtol=0, atol=1e-9)


def test_a_start_that_the_program_draws_late_is_found_by_its_calls_alone():
    """The stream in front of the validation part is that of 10,000 training trajectories."""
    random = np.random.RandomState(SEED)
    per_system = 3 * N_PARTICLES * (2 + 2 * N_FRAMES)
    for _ in range(DRAWN["train"]):
        random.random_sample(N_PARTICLES)
        random.randn(per_system)
    charges = np.where(random.random_sample(N_PARTICLES) < 0.5, -1.0, 1.0)
    starts = draw_starts("validation", 1)
    assert starts.charges[0].tolist() == charges.tolist()
    torch.testing.assert_close(starts.positions[0].mT, torch.from_numpy(random.randn(3, 5)), rtol=0, atol=0)


def test_starts_are_distributed_as_published():
    starts = draw_starts("train")
    assert len(starts.positions) == N_TRAIN
    torch.testing.assert_close(
        starts.velocities.norm(dim=-1), torch.full((N_TRAIN, 5), 0.5, dtype=torch.float64)
    )
    assert starts.positions.std().item() == pytest.approx(1, abs=0.02)
    assert starts.positions.abs().max() <= BOX
    assert set(starts.charges.flatten().tolist()) == {-1.0, 1.0}
    assert starts.charges.mean().abs() < 5 / math.sqrt(starts.charges.numel())


def test_frames_and_steps_are_the_published_ones():
    assert (FRAMES[1] - FRAMES[0]) * EVERY * DT == pytest.approx(1)
    assert (FRAMES[0] + 1) * EVERY == 3100


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
    test = generate_systems("test")
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
