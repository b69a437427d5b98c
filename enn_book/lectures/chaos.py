"""What a physicist asks of trajectories: do they turn back, and whose fault is it that two part?

Units: Å, fs, Å/fs, eV and u.
"""

from itertools import pairwise

import torch
from torch import Tensor

from enn_lib.argon import ARGON, ARGON_MASS, largest_distance
from enn_lib.dynamics import ACCELERATION, Trajectory, VelocityVerlet, per_atom, simulate
from enn_lib.evaluation import predict
from enn_lib.force_field import ForceField

LOST = 100.0
"""How far apart two atoms of a sample may be, Å, before it counts as lost; training ends below 30 Å."""


class Watched:
    """A force field that is not asked about lost samples, so that the others go on without them.

    A sample is lost once a position is no longer finite, or two of its atoms are farther apart than
    `LOST`. Its forces are NaN then, and its positions and velocities after the next step, for good.

    Attributes:
        force_field: which is asked about the others.
    """

    def __init__(self, force_field: ForceField):
        self.force_field = force_field

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(samples, atoms, 3)`` in Å -> the same shape and dtype."""
        kept = largest_distance(positions) <= LOST  # no comparison with NaN is true
        if kept.all():
            return self.force_field.forces(positions)
        forces = torch.full_like(positions, torch.nan)
        if kept.any():
            forces[kept] = self.force_field.forces(positions[kept])
        return forces


def reversal_error(
    force_field: ForceField, positions: Tensor, velocities: Tensor, steps: int, dt: float = 1.0
) -> Tensor:
    """How far from their start atoms end that go, turn round, and go as many steps again.

    Velocity Verlet is time reversible under *any* forces that depend on positions alone, so what is left
    is rounding, amplified by chaos. A force field with a memory, or with noise, would fail here.

    Args:
        force_field: gives the forces, eV/Å.
        positions: Å, ``(samples, atoms, 3)``.
        velocities: Å/fs, of the same shape.
        steps: each way.
        dt: fs.

    Returns:
        The largest distance of an atom from where it began, Å, ``(samples,)``.
    """
    there = simulate(force_field, positions, velocities, steps, dt, every=max(steps, 1))
    back = simulate(force_field, there.positions[-1], -there.velocities[-1], steps, dt, every=max(steps, 1))
    return (back.positions[-1] - positions).norm(dim=-1).amax(dim=-1)


def energy_drift(energy: Tensor, time: Tensor) -> Tensor:
    """The slope of a straight line fitted to energies, eV/ns: ``(records, samples)``, fs -> ``(samples,)``.

    Raises:
        ValueError: if there are fewer than two records.
    """
    if len(time) < 2:
        raise ValueError(f"time: got {len(time)} records, wanted at least 2")
    t = (time - time.mean()).unsqueeze(-1)
    return 1e6 * (t * (energy - energy.mean(dim=0))).sum(dim=0) / t.square().sum()


def lyapunov_exponent(
    force_field: ForceField,
    positions: Tensor,
    velocities: Tensor,
    steps: int,
    dt: float = 1.0,
    *,
    mass: float = ARGON_MASS,
    every: int = 10,
    separation: float = 1e-7,
    unit_time: float = 300.0,
    seed: int = 0,
) -> Tensor:
    r"""The largest Lyapunov exponent, from two trajectories (Benettin, Galgani and Strelcyn 1976).

    .. math::
        \lambda = \frac{1}{T} \sum_k \ln \frac{d_k}{d_0}, \qquad
        d^2 = |\delta \mathbf r|^2 + \tau^2 |\delta \mathbf v|^2

    A shadow begins at a random small distance d_0; after every so many steps its distance is measured and
    shrunk back to d_0 along its own direction. What is returned is the running estimate: it is a number
    of the system only where it has settled. In a system that is not chaotic it goes to zero as ln(T)/T.

    Args:
        force_field: gives the forces, eV/Å; any shape of positions that it takes will do.
        positions: Å, ``(samples, ...)``, float64.
        velocities: Å/fs, of the same shape.
        steps: a multiple of `every`.
        dt: fs.
        mass: of every atom, u.
        every: steps between two measurements.
        separation: d_0, Å.
        unit_time: tau, fs, which makes velocities lengths. The limit does not depend on it.
        seed: of the direction in which the shadow begins.

    Returns:
        The estimate after each measurement, 1/fs, ``(steps // every, samples)``.

    Raises:
        ValueError: if `steps` is not a positive multiple of `every`, or `separation` is not positive.
    """
    if every < 1 or steps < every or steps % every or not separation > 0:
        raise ValueError(
            f"steps, every, separation: got {steps}, {every}, {separation}, "
            "wanted a positive multiple of a positive number, and a positive distance"
        )
    generator = torch.Generator().manual_seed(seed)
    n = len(positions)

    def size(dr: Tensor, dv: Tensor) -> Tensor:
        square = dr.square() + (unit_time * dv).square()
        return square.flatten(1).sum(dim=1).sqrt().reshape(n, *[1] * (dr.ndim - 1))

    dr, dv = (torch.randn(positions.shape, dtype=positions.dtype, generator=generator) for _ in range(2))
    dv = dv / unit_time
    integrator = VelocityVerlet(force_field, dt, mass)
    r, v, logs = positions, velocities, []
    total = torch.zeros(n, dtype=positions.dtype)
    for k in range(1, steps // every + 1):
        shrink = separation / size(dr, dv)
        both_r = torch.cat((r, r + shrink * dr))
        both_v = torch.cat((v, v + shrink * dv))
        state = (both_r, both_v, force_field.forces(both_r))
        for _ in range(every):
            state = integrator.step(*state)
        (r, shadow_r), (v, shadow_v) = (part.split(n) for part in state[:2])
        dr, dv = shadow_r - r, shadow_v - v
        total = total + (size(dr, dv).flatten() / separation).log()
        logs.append(total / (k * every * dt))
    return torch.stack(logs)


def deviation_without_amplification(
    trajectory: Trajectory, force_field: ForceField, truth: ForceField = ARGON
) -> Tensor:
    r"""How far a force field would lead the atoms astray if its errors only added up.

    .. math::
        \delta(t) = \frac{1}{m} \int_0^t\!\!\int_0^{t'} \big[\mathbf F^p(\mathbf r^a(t''))
        - \mathbf F^a(\mathbf r^a(t''))\big] \, dt''\, dt'

    The errors of the forces along the *true* trajectory, integrated twice. The deviation of a real
    prediction is this in the beginning; what it is beyond is the system's doing, which passes every
    deviation on to the forces and, where it is chaotic, amplifies it.

    Args:
        trajectory: of the true forces, with every step recorded.
        force_field: the prediction.
        truth: the forces that made the trajectory.

    Returns:
        Root mean square over samples and atoms, as Eq. 48, Å, ``(records,)``.
    """
    flat = trajectory.positions.flatten(0, 1)
    errors = (predict(force_field, flat) - predict(truth, flat)).unflatten(0, trajectory.positions.shape[:2])
    dt = (trajectory.time[1] - trajectory.time[0]).item()
    kick = 0.5 * dt * ACCELERATION / per_atom(trajectory.mass)
    position, velocity = torch.zeros_like(errors[0]), torch.zeros_like(errors[0])
    path = [position]
    for before, after in pairwise(errors):  # velocity Verlet, from rest
        velocity = velocity + kick * before
        position = position + dt * velocity
        velocity = velocity + kick * after
        path.append(position)
    return torch.stack(path).square().sum(dim=-1).mean(dim=(-1, -2)).sqrt()
