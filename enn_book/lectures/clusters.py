r"""Lennard-Jones clusters relaxed by FIRE, in reduced units: epsilon, r_0 (the sigma of others) and m are 1.

The global minima of LJ13 and LJ38 are known (Wales and Doye 1997): an icosahedron, and a truncated
octahedron cut from the face-centred cubic crystal.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from ase.cluster import Icosahedron, Octahedron
from torch import Tensor

from enn_lib.argon import LennardJones, check_positions
from enn_lib.fire import FIRE

REDUCED = LennardJones(epsilon=1.0, r0=1.0)
"""The potential in its own units."""

KNOWN_MINIMA = {13: -44.326801, 38: -173.928427}
"""The lowest known energies, in epsilon, by the number of atoms (Wales and Doye 1997, table of the
Cambridge Cluster Database)."""

NEAREST = 2 ** (1 / 6)
"""The distance of the minimum of a pair."""


def known_structure(n_atoms: int) -> Tensor:
    """The shape of the global minimum, unrelaxed: nearest neighbours at 2^(1/6), centre at zero.

    Args:
        n_atoms: 13 (icosahedron) or 38 (truncated octahedron).

    Returns:
        Positions ``(n_atoms, 3)``, float64, in units of r_0.

    Raises:
        ValueError: for any other number.
    """
    # ASE wants an element for its symbols only; the lattice constants are ours.
    shapes = {
        13: lambda: Icosahedron("Ar", noshells=2, latticeconstant=2**0.5 * NEAREST),
        38: lambda: Octahedron("Ar", length=4, cutoff=1, latticeconstant=2**0.5 * NEAREST),
    }
    if n_atoms not in shapes:
        raise ValueError(f"n_atoms: got {n_atoms}, wanted one of {', '.join(map(str, shapes))}")
    positions = torch.from_numpy(shapes[n_atoms]().positions)
    return positions - positions.mean(dim=0)


def perturbed(positions: Tensor, amplitude: float, seed: int) -> Tensor:
    """Positions ``(..., 3)`` with a normal deviate of standard deviation `amplitude` added to each entry."""
    check_positions(positions)
    generator = torch.Generator().manual_seed(seed)
    return positions + amplitude * torch.randn(positions.shape, dtype=positions.dtype, generator=generator)


class FIREInParts(FIRE):
    """`FIRE` with the choices that its orders bundle made one by one.

    All three off is ``order="appendix"``; velocity first alone is ``"semi_implicit"``; all three on is
    ``"ase"``. What is early comes before the push and uses the force at the present place; what is late comes
    after the move and uses the force from before it.

    Args:
        params: real parameters.
        velocity_first: whether Step 4 updates v before it moves x.
        early_brake: whether P, N, the time step and the stop (Steps 5, 7 and 8) come before the push.
        early_mixing: whether the mixing (Step 6) comes before the push.
        options: FIRE's other settings.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        velocity_first: bool = False,
        early_brake: bool = False,
        early_mixing: bool = False,
        **options,
    ):
        super().__init__(params, **options)
        self.velocity_first = velocity_first
        self.early = {"brake": early_brake, "mixing": early_mixing}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor]) -> Tensor:
        """Do one turn with one gradient, as `FIRE.step` does."""
        loss = torch.enable_grad()(closure)()
        group = self.param_groups[0]
        places = group["params"]
        is_first = not self.state
        velocities = [self.state[x].setdefault("velocity", torch.zeros_like(x)) for x in places]
        forces = [-x.grad for x in places]
        for is_early in (True, False):
            if is_early and is_first:
                continue  # as ASE: at rest there is nothing to look at
            if not is_early:
                if not self.velocity_first:
                    torch._foreach_add_(places, velocities, alpha=group["dt"])
                torch._foreach_add_(velocities, forces, alpha=group["dt"] / group["mass"])
                if self.velocity_first:
                    torch._foreach_add_(places, velocities, alpha=group["dt"])
            power = self._power(forces, velocities)
            if self.early["mixing"] == is_early:
                self._mix(group, forces, velocities)
            if self.early["brake"] == is_early:
                self._brake(group, velocities, power, n_compared=group["n_positive"] + (not is_early))
        return loss

    @staticmethod
    def _brake(group: dict, velocities: list[Tensor], power: float, n_compared: int) -> None:
        """Steps 7 and 8; ASE compares N before it is raised."""
        group["power"] = power
        group["n_positive"] += 1
        if power <= 0:
            group["dt"] = max(group["dt"] * group["f_dec"], group["dt_min"])
            group["alpha"], group["n_positive"] = group["alpha_start"], 0
            torch._foreach_zero_(velocities)
        elif n_compared > group["n_min"]:
            group["dt"] = min(group["dt"] * group["f_inc"], group["lr"])
            group["alpha"] *= group["f_alpha"]


@dataclass(frozen=True)
class Relaxation:
    """What happened on the way down; row k is the state before step k, and the last row is the end.

    Attributes:
        positions: ``(steps + 1, ...)``.
        energy: ``(steps + 1,)``.
        largest_force: the length of the longest force on an atom, ``(steps + 1,)``.
        dt: FIRE's time step, ``(steps + 1,)``.
        power: P (Step 5) of the step that led to the row, ``(steps + 1,)``; zero in row 0.
        alpha: FIRE's mixing, ``(steps + 1,)``.
        converged: whether `largest_force` reached the tolerance.
        gradients: how often the gradient was computed, also where FIRE 2.0 and ABC-FIRE go back.
    """

    positions: Tensor
    energy: Tensor
    largest_force: Tensor
    dt: Tensor
    power: Tensor
    alpha: Tensor
    converged: bool
    gradients: int

    @property
    def steps(self) -> int:
        """How many steps were made."""
        return len(self.energy) - 1


def relax(
    positions: Tensor,
    energy: Callable[[Tensor], Tensor] = REDUCED.energy,
    *,
    method: Callable[..., FIRE] = FIRE,
    tolerance: float = 1e-6,
    max_steps: int = 5000,
    **options,
) -> Relaxation:
    """Let `FIRE` find a minimum of any energy.

    Args:
        positions: the start, ``(..., n)``, a floating-point dtype; it is not changed.
        energy: maps positions to a scalar that torch can differentiate.
        method: makes the optimiser: `FIRE`, or `FIREInParts`.
        tolerance: stop where no row of the gradient is longer; at least 0.
        max_steps: stop after so many; at least 0.
        options: FIRE's settings. Its own defaults are the paper's, for a network; for a cluster in
            reduced units try ``dt=0.01, dt_max=0.1, mass=1.0``.

    Raises:
        ValueError: if `tolerance` or `max_steps` is negative, or a setting of FIRE's is out of range.
        TypeError: if `positions` are no floating-point numbers.
        FloatingPointError: if the energy or its gradient stops being finite.
    """
    if not (tolerance >= 0 and max_steps >= 0):
        raise ValueError(f"tolerance, max_steps: got {tolerance}, {max_steps}, wanted numbers of at least 0")
    if not positions.is_floating_point():
        raise TypeError(f"positions: got {positions.dtype}, wanted a floating-point dtype")
    x = torch.nn.Parameter(positions.detach().clone())
    optimiser = method([x], **options)
    group = optimiser.param_groups[0]
    rows: list[tuple] = []
    gradients = 0

    def closure() -> Tensor:
        nonlocal gradients
        gradients += 1
        optimiser.zero_grad()
        value = energy(x)
        value.backward()
        return value

    def record() -> float:
        """Append the present state and return its longest force."""
        value, force = closure().item(), x.grad.norm(dim=-1).max().item()
        if not torch.tensor([value, force]).isfinite().all():
            raise FloatingPointError(f"energy {value}, largest force {force} after {len(rows)} steps")
        rows.append((x.detach().clone(), value, force, group["dt"], group["power"], group["alpha"]))
        return force

    force = record()
    while force > tolerance and len(rows) <= max_steps:
        # The first gradient is that of the row just recorded; where a step goes back, it asks for another.
        known = [torch.tensor(rows[-1][1])]
        optimiser.step(lambda known=known: known.pop() if known else closure())
        force = record()
    path, *numbers = zip(*rows, strict=True)
    return Relaxation(
        torch.stack(path),
        *(torch.tensor(n, dtype=torch.float64) for n in numbers),
        converged=force <= tolerance,
        gradients=gradients,
    )
