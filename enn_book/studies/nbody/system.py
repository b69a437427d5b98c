r"""Five charged particles in empty space, integrated as in the published simulation.

.. math:: \mathbf F_i = \sum_{j \ne i} q_i q_j \frac{\mathbf x_i - \mathbf x_j}{|\mathbf x_i - \mathbf x_j|^3}

with every component of a force limited to `MAX_FORCE` in size. The limit is reached when two particles
come closer than about 0.1. It acts component by component, so it knows the axes: a trajectory on which it
was ever active is not turned with its start. A round limit, on the length of a force, turns with it.
"""

import torch
from torch import Tensor

DT = 0.001
"""Time of one step."""

MAX_FORCE = 0.1 / DT
"""What no component of a force exceeds."""


def coulomb_forces(
    positions: Tensor, charges: Tensor, max_force: float | None = MAX_FORCE, *, is_round: bool = False
) -> Tensor:
    """The forces on all particles, of the shape and dtype of `positions`.

    Args:
        positions: ``(..., N, 3)``.
        charges: ``(..., N)``.
        max_force: the limit of a component; None for the law without limit.
        is_round: whether the limit is that of a force's length, which knows no axes.

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check(positions, charges)
    law = _Law(charges, max_force, is_round)
    return _outside(law(_inside(positions)), positions.shape)


def energy(positions: Tensor, velocities: Tensor, charges: Tensor) -> Tensor:
    r"""Kinetic and potential energy without the limit of the force, ``(..., N, 3)`` -> ``(...)``.

    .. math:: E = \sum_i \tfrac12 |\mathbf v_i|^2 + \sum_{i<j} \frac{q_i q_j}{|\mathbf x_i - \mathbf x_j|}

    Raises:
        ValueError: if the shapes do not fit.
    """
    _check(positions, charges)
    i, j = _pairs(positions.shape[-2])
    distance = (positions[..., i, :] - positions[..., j, :]).square().sum(dim=-1).sqrt()
    potential = (charges[..., i] * charges[..., j] / distance).sum(dim=-1)
    return potential + 0.5 * velocities.square().sum(dim=(-2, -1))


@torch.no_grad()
def simulate(
    positions: Tensor,
    velocities: Tensor,
    charges: Tensor,
    steps: int,
    *,
    every: int | None = None,
    dt: float = DT,
    max_force: float | None = MAX_FORCE,
    is_round: bool = False,
) -> tuple[Tensor, Tensor]:
    r"""Follow all systems at once, by the published integrator.

    .. math:: \mathbf v \leftarrow \mathbf v + \mathbf F(\mathbf x)\, dt, \qquad
        \mathbf x \leftarrow \mathbf x + \mathbf v\, dt

    It is called a leapfrog there, and is one without the half step at the start (the symplectic Euler
    method, of first order): a velocity belongs to half a step before its position. Position and velocity
    together are the whole state, so going on from any frame repeats the rest exactly.

    Args:
        positions: ``(..., N, 3)``.
        velocities: of the same shape.
        charges: ``(..., N)``.
        steps: how many, at least 1.
        every: keep a frame after so many steps, which divides `steps`; only the last if not given.
        dt: time of one step.
        max_force: as in `coulomb_forces`.
        is_round: as in `coulomb_forces`.

    Returns:
        Positions and velocities of the frames, ``(frames, ..., N, 3)``; the start is none of them.

    Raises:
        ValueError: if the shapes do not fit, or `every` does not divide `steps`.
    """
    _check(positions, charges)
    every = steps if every is None else every
    if steps < 1 or every < 1 or steps % every:
        raise ValueError(
            f"steps, every: got {steps}, {every}, wanted positive numbers, a multiple and its divisor"
        )
    law = _Law(charges, max_force, is_round)
    x, v = _inside(positions), _inside(velocities)
    frames = []
    for step in range(1, steps + 1):
        v.add_(law(x), alpha=dt)
        x.add_(v, alpha=dt)
        if step % every == 0:
            frames.append((_outside(x, positions.shape), _outside(v, positions.shape)))
    return torch.stack([x for x, _ in frames]), torch.stack([v for _, v in frames])


class _Law:
    """The force in the layout ``(N, 3, systems)``, in which every operation runs over contiguous systems."""

    def __init__(self, charges: Tensor, max_force: float | None, is_round: bool):
        n = charges.shape[-1]
        flat = charges.reshape(-1, n)
        self.i, self.j = _pairs(n)
        self.product = (flat[:, self.i] * flat[:, self.j]).mT.contiguous()
        # Of each pair the force on i, and its opposite on j.
        self.signs = torch.zeros(n, len(self.i), dtype=charges.dtype)
        self.signs[self.i, torch.arange(len(self.i))] = 1
        self.signs[self.j, torch.arange(len(self.i))] = -1
        self.max_force, self.is_round = max_force, is_round

    def __call__(self, x: Tensor) -> Tensor:
        d = x[self.i] - x[self.j]
        squared = (d * d).sum(dim=1)
        d *= (self.product / (squared * squared.sqrt())).unsqueeze(1)
        force = (self.signs @ d.flatten(1)).view_as(x)
        if self.max_force is None:
            return force
        if self.is_round:
            length = (force * force).sum(dim=1, keepdim=True).sqrt()
            return force.mul_((self.max_force / length).clamp_(max=1))
        return force.clamp_(-self.max_force, self.max_force)


def _inside(x: Tensor) -> Tensor:
    """``(..., N, 3)`` -> a copy as ``(N, 3, systems)``."""
    return x.reshape(-1, *x.shape[-2:]).permute(1, 2, 0).clone(memory_format=torch.contiguous_format)


def _outside(x: Tensor, shape: torch.Size) -> Tensor:
    """The way back, a copy."""
    return x.permute(2, 0, 1).reshape(shape).clone(memory_format=torch.contiguous_format)


def _pairs(n: int) -> tuple[Tensor, Tensor]:
    return tuple(torch.triu_indices(n, n, 1))


def _check(positions: Tensor, charges: Tensor) -> None:
    if positions.shape[:-1] != charges.shape or positions.shape[-1:] != (3,):
        raise ValueError(
            f"positions, charges: got shapes {tuple(positions.shape)} and {tuple(charges.shape)}, "
            "wanted (..., N, 3) and (..., N)"
        )
