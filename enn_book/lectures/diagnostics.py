"""What a physicist asks of a force field that has no energy: single configurations.

`enn_book.lectures.chaos` asks the same of trajectories.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from enn_lib.argon import Configurations, check_positions, largest_distance, smallest_distance
from enn_lib.force_field import ForceField


def force_jacobian(force_field: ForceField, positions: Tensor, step: float = 1e-4) -> Tensor:
    r"""The Jacobian of forces by central differences, so that any force field will do.

    .. math:: J_{ai,bj} = \partial F_{ai} / \partial r_{bj}

    Args:
        force_field: gives the forces, eV/Å.
        positions: Å, ``(..., atoms, 3)``; float64 is needed for differences of this size.
        step: Å.

    Returns:
        eV/Å^2, ``(..., 3 atoms, 3 atoms)``; minus the Hessian if the forces have a potential.

    Raises:
        TypeError: if `positions` are not float64.
    """
    check_positions(positions)
    if positions.dtype != torch.float64:
        raise TypeError(f"positions: got {positions.dtype}, wanted torch.float64")
    size = 3 * positions.shape[-2]
    shifts = step * torch.eye(size, dtype=positions.dtype).unflatten(-1, positions.shape[-2:])
    around = positions.unsqueeze(-3)
    difference = force_field.forces(around + shifts) - force_field.forces(around - shifts)
    return difference.flatten(-2).mT / (2 * step)


def antisymmetric_share(jacobian: Tensor) -> Tensor:
    r"""How far forces are from having a potential: 0 for a gradient, 1 for a pure curl.

    .. math:: \lambda = \frac{\|J - J^{\mathsf T}\|}{2\,\|J\|}

    with Frobenius norms (Bigi, Langer and Ceriotti, *The dark side of the forces*, arXiv 2412.11569).

    Args:
        jacobian: as `force_jacobian` returns it, ``(..., N, N)``.

    Returns:
        ``(...)``.
    """
    return torch.linalg.matrix_norm(jacobian - jacobian.mT) / (2 * torch.linalg.matrix_norm(jacobian))


def net_force(forces: Tensor) -> Tensor:
    """The length of the sum of all forces, eV/Å: ``(..., atoms, 3)`` -> ``(...)``. Newton's third law: 0."""
    return forces.sum(dim=-2).norm(dim=-1)


def net_torque(positions: Tensor, forces: Tensor) -> Tensor:
    r"""The length of the torque about the centre of the atoms, eV: ``(..., atoms, 3)`` -> ``(...)``.

    .. math:: \Big|\sum_i (\mathbf r_i - \bar{\mathbf r}) \times \mathbf F_i\Big|

    Forces that have an invariant energy exert none, and conserve the angular momentum.
    """
    arms = positions - positions.mean(dim=-2, keepdim=True)
    return torch.linalg.cross(arms, forces).sum(dim=-2).norm(dim=-1)


@dataclass(frozen=True)
class TrainingRange:
    """Between which distances a network was trained: outside it extrapolates.

    Attributes:
        shortest: the least of the smallest pair distances of the training configurations, Å.
        longest: the greatest of their largest pair distances, Å.
    """

    shortest: float
    longest: float

    @classmethod
    def of(cls, configurations: Configurations) -> "TrainingRange":
        """The range of some training data."""
        return cls(
            smallest_distance(configurations.positions).min().item(),
            largest_distance(configurations.positions).max().item(),
        )

    def too_close(self, positions: Tensor) -> Tensor:
        """Whether a pair is closer than any in training: ``(..., atoms, 3)`` -> ``(...)``, bool."""
        check_positions(positions.nan_to_num())
        return smallest_distance(positions) < self.shortest

    def too_far(self, positions: Tensor) -> Tensor:
        """Whether a pair is farther than any in training: ``(..., atoms, 3)`` -> ``(...)``, bool.

        Positions that are NaN, of a lost sample of `enn_book.lectures.chaos.Watched`, count as too far.
        """
        check_positions(positions.nan_to_num())
        return ~(largest_distance(positions) <= self.longest)

    def outside(self, positions: Tensor) -> Tensor:
        """Whether a configuration is one or the other: ``(..., atoms, 3)`` -> ``(...)``, bool.

        A share of time outside is the mean of this over a trajectory. Inside does not mean well covered:
        the training data thin out towards both ends.
        """
        return self.too_close(positions) | self.too_far(positions)
