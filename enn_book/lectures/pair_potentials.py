"""Atoms in any dimension and number under any pair potential: what *Make it yours* changes.

Units: Å for lengths, eV for energies, eV/Å for forces.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from enn_lib.argon import Scales
from enn_lib.force_field import gradients_as_of, wants_gradient
from enn_lib.network import ENN


@dataclass(frozen=True)
class Morse:
    r"""The Morse potential of a pair.

    .. math:: U = \epsilon\left[e^{-2\rho_0 (r/r_0 - 1)} - 2 e^{-\rho_0 (r/r_0 - 1)}\right]

    Attributes:
        epsilon: the depth of the well, eV.
        r0: the distance of its minimum, Å. (In `LennardJones` r0 is where the energy is zero.)
        rho0: how stiff it is, without unit. At 6 the curvature at the minimum is that of a
            Lennard-Jones potential of the same depth and minimum.
    """

    epsilon: float
    r0: float
    rho0: float = 6.0

    def pair_energy(self, distance: Tensor) -> Tensor:
        """The energy in eV at distances in Å, any shape."""
        decay = torch.exp(-self.rho0 * (distance / self.r0 - 1))
        return self.epsilon * (decay * decay - 2 * decay)


def pair_vectors(positions: Tensor) -> Tensor:
    """The relative vectors r_j - r_i for i < j: positions ``(..., atoms, n)`` -> ``(..., n, pairs)``.

    For four atoms in three dimensions these are the six of Eq. 41, in its order.
    """
    i, j = torch.triu_indices(positions.shape[-2], positions.shape[-2], offset=1)
    return (positions[..., j, :] - positions[..., i, :]).mT


def _check(positions: Tensor, n_atoms: int, n: int) -> None:
    """Raise unless `positions` are finite floating-point numbers of shape ``(..., n_atoms, n)``."""
    if positions.ndim < 2 or positions.shape[-2:] != (n_atoms, n):
        raise ValueError(f"positions: got shape {tuple(positions.shape)}, wanted (..., {n_atoms}, {n})")
    if not positions.is_floating_point():
        raise TypeError(f"positions: got {positions.dtype}, wanted a floating-point dtype")
    if not positions.isfinite().all():
        raise ValueError("positions: got entries that are NaN or infinite, wanted finite ones (Å)")


class PairSystem:
    r"""A number of equal atoms in n dimensions under a potential between all pairs (Eq. 39, 40).

    .. math::
        U = \sum_{i<j} u(r_{ij}), \qquad \mathbf F_i = -\partial U / \partial \mathbf r_i

    Attributes:
        pair_energy: u, eV at a tensor of distances in Å; anything that torch can differentiate.
        n_atoms: at least 2.
        n: the dimension of space.
    """

    def __init__(self, pair_energy: Callable[[Tensor], Tensor], n_atoms: int = 4, n: int = 3):
        """Make the system.

        Raises:
            ValueError: if there are fewer than two atoms or no dimension.
        """
        if n_atoms < 2 or n < 1:
            raise ValueError(f"n_atoms, n: got {n_atoms}, {n}, wanted at least 2 and at least 1")
        self.pair_energy = pair_energy
        self.n_atoms = n_atoms
        self.n = n

    def energy(self, positions: Tensor) -> Tensor:
        """The potential energy U, eV: positions ``(..., n_atoms, n)`` in Å -> ``(...)``.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        _check(positions, self.n_atoms, self.n)
        squared = pair_vectors(positions).square().sum(dim=-2)
        if (squared == 0).any():
            raise ValueError("positions: two atoms coincide, wanted distinct positions")
        return self.pair_energy(squared.sqrt()).sum(dim=-1)

    def forces(self, positions: Tensor) -> Tensor:
        """The forces -dU/dr, eV/Å: positions ``(..., n_atoms, n)`` in Å -> the same shape and dtype.

        Differentiable where the positions require a gradient.

        Raises:
            ValueError: as `energy` does.
        """
        _check(positions, self.n_atoms, self.n)  # an integer could not carry a gradient
        is_wanted = wants_gradient(positions)
        with torch.enable_grad():
            x = positions if is_wanted else positions.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.energy(x).sum(), x, create_graph=is_wanted)
        return -gradient


class PairNetwork:
    """A network as a force field of any number of atoms in its own dimension.

    Its inputs are the relative vectors of all pairs (Eq. 41), its outputs one force an atom (Eq. 42).

    Attributes:
        network: n_atoms (n_atoms - 1) / 2 vectors in, n_atoms vectors out.
        scales: the scales it was trained with.
    """

    def __init__(self, network: ENN, scales: Scales):
        """Take a network, trained or not.

        Raises:
            ValueError: if the widths at its ends belong to no number of atoms.
        """
        n_atoms = network.widths[-1]
        if network.widths[0] != n_atoms * (n_atoms - 1) // 2 or n_atoms < 2:
            raise ValueError(f"network: got widths {network.widths}, wanted N (N - 1) / 2 vectors in, N out")
        self.network = network
        self.scales = scales

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., n_atoms, n)`` in Å -> the same shape and dtype.

        Differentiable where the positions require a gradient.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        _check(positions, self.network.widths[-1], self.network.n)
        with gradients_as_of(positions):
            inputs = pair_vectors(positions).to(self.network.dtype) / self.scales.position
            return (self.network(inputs).mT * self.scales.force).to(positions.dtype)
