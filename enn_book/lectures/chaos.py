"""What a physicist asks of trajectories: do they turn back, and whose fault is it that two part?

Units: Å, fs, Å/fs, eV and u.
"""

from itertools import pairwise

import torch
from torch import Tensor

from enn_lib.argon import ARGON, largest_distance
from enn_lib.dynamics import ACCELERATION, Trajectory, per_atom, simulate
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
