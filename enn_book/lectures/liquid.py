r"""Analytic argon with cutoffs, in a periodic cell or in free space, of which models of a liquid learn.

Units: Å for lengths, eV for energies, eV/Å for forces. Time and memory are linear in the number of atoms.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from ase.build import bulk
from torch import Tensor

from enn_lib.argon import ARGON, ARGON_MASS, check_positions
from enn_lib.force_field import gradients_as_of
from enn_lib.graph import Neighbours, check_cell, neighbours

TEMPERATURE = 94.4
"""Rahman's, K."""

DENSITY = 1.374
"""Rahman's, g/cm^3."""


def crystal(cells: int) -> tuple[Tensor, Tensor]:
    """Positions ``(atoms, 3)`` and cell ``(3, 3)``, Å, of a crystal as dense as Rahman's liquid."""
    per_cell = 4 * ARGON_MASS * 1.66053906660 / DENSITY
    atoms = bulk("Ar", "fcc", a=per_cell ** (1 / 3), cubic=True) * ((cells,) * 3)
    return torch.from_numpy(atoms.positions), torch.from_numpy(atoms.cell.array)


@dataclass(frozen=True, eq=False)
class _CutPotential:
    """An energy of neighbours that are nearer than a cutoff, before which it is switched off smoothly."""

    cell: Tensor | None
    cutoff: float
    onset: float

    def __post_init__(self):
        check_cell(self.cell)
        if not 0 < self.onset < self.cutoff:
            raise ValueError(f"onset, cutoff: got {self.onset}, {self.cutoff}, wanted 0 < onset < cutoff")

    def in_cell(self, cell: Tensor | None) -> Self:
        """The same potential in another cell, ``(3, 3)``, Å; in free space if that is None."""
        return replace(self, cell=cell)

    def _switch(self, squared: Tensor) -> tuple[Tensor, Tensor]:
        """S of squared distances, from 1 at the onset to 0 at the cutoff, and its slope in them."""
        width = self.cutoff**2 - self.onset**2
        x = ((squared - self.onset**2) / width).clamp(0.0, 1.0)
        return 1 - x * x * (3 - 2 * x), -6 * x * (1 - x) / width

    def _neighbours(self, positions: Tensor) -> Neighbours:
        check_positions(positions)
        found = neighbours(positions, self.cutoff, self.cell)
        if (found.vectors.abs() < 0.001).all(dim=-1).any():  # Å; the 13th power is not finite in float32
            raise ValueError("positions: got two atoms that coincide, or nearly, wanted distinct positions")
        return found

    def terms(self, positions: Tensor) -> tuple[torch.Size, Tensor, Tensor, Tensor]:
        """What the energy is a sum of.

        Returns:
            The shape ``(..., atoms)``; the energy of every term, ``(terms,)``; its two or three atoms,
            ``(2 or 3, terms)``; and the forces on them, ``(2 or 3, terms, 3)``.
        """
        raise NotImplementedError

    def energy(self, positions: Tensor) -> Tensor:
        """The potential energy U, eV: positions ``(..., atoms, 3)`` in Å -> ``(...)``.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        with gradients_as_of(positions, self.cell):
            shape, energies, atoms, _ = self.terms(positions)
            each = positions.new_zeros(shape.numel()).index_add(0, atoms[0], energies)
            return each.unflatten(0, shape).sum(dim=-1)

    def forces(self, positions: Tensor) -> Tensor:
        """The forces -dU/dr (Eq. 40), eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        with gradients_as_of(positions, self.cell):
            shape, _, atoms, forces = self.terms(positions)
            on_each = positions.new_zeros(shape.numel(), 3).index_add(
                0, atoms.flatten(), forces.flatten(0, 1)
            )
            return on_each.unflatten(0, shape)


@dataclass(frozen=True, eq=False)
class TruncatedLennardJones(_CutPotential):
    r"""The Lennard-Jones potential (Eq. 38, 39), switched off smoothly before a cutoff.

    .. math:: U = \sum_{i<j} S(r_{ij})\, 4\epsilon\left[(r_0/r_{ij})^{12} - (r_0/r_{ij})^6\right]

    The switch S is a cubic polynomial of the squared distance that falls from 1 at the onset to 0 at the
    cutoff with a continuous slope, that of ASE's ``LennardJones(smooth=True)``. Rahman (1964) cut argon off
    at 2.25 r_0.

    Attributes:
        cell: the lattice vectors as rows, ``(3, 3)``, Å; None in free space.
        cutoff: Å.
        onset: where the switch begins, Å.
        epsilon: the depth of the well, eV.
        r0: the distance at which the potential of a pair is zero, Å.
    """

    cell: Tensor | None = None
    cutoff: float = 2.25 * ARGON.r0
    onset: float = 1.8 * ARGON.r0
    epsilon: float = ARGON.epsilon
    r0: float = ARGON.r0

    def terms(self, positions: Tensor) -> tuple[torch.Size, Tensor, Tensor, Tensor]:
        near = self._neighbours(positions)
        squared = near.vectors.square().sum(dim=-1)
        s, slope = self._switch(squared)
        s6 = (self.r0**2 / squared) ** 3
        energy = 4 * self.epsilon * (s6 * s6 - s6)
        # dU/d(r^2), so that the force on j is -2 dU/d(r^2) r_ij.
        derivative = slope * energy - s * 12 * self.epsilon * (2 * s6 * s6 - s6) / squared
        on_i = 2 * derivative.unsqueeze(-1) * near.vectors
        return near.shape, s * energy, torch.stack((near.i, near.j)), torch.stack((on_i, -on_i))


@dataclass(frozen=True, eq=False)
class AxilrodTeller(_CutPotential):
    r"""The three-body energy of equal neutral atoms (Axilrod and Teller, 1943), switched off smoothly.

    .. math::
        U = \sum_{i<j<k} S(r_{ij})\, S(r_{jk})\, S(r_{ki})\,
        \nu\, \frac{1 + 3\cos\gamma_i\cos\gamma_j\cos\gamma_k}{(r_{ij}\, r_{jk}\, r_{ki})^3}

    The angles are those of the triangle; S is the switch of `TruncatedLennardJones`.

    Attributes:
        cell: the lattice vectors as rows, ``(3, 3)``, Å; None in free space. No atom may be nearer than the
            cutoff to its own image.
        cutoff: of every side of a triangle, Å.
        onset: where the switch begins, Å.
        nu: the strength, eV Å^9; 45.7 is argon's as Kobayashi, Ishii and Ohtori (2026) take it.
    """

    cell: Tensor | None = None
    cutoff: float = 2.0 * ARGON.r0
    onset: float = 1.6 * ARGON.r0
    nu: float = 45.7

    def terms(self, positions: Tensor) -> tuple[torch.Size, Tensor, Tensor, Tensor]:
        near = self._neighbours(positions)
        if (near.i == near.j).any():
            raise ValueError(
                f"cell: got an atom nearer than {self.cutoff} Å to its own image, wanted a wider cell"
            )
        # Every triangle once: at its lowest atom i, which has vectors to both others.
        i, order = torch.minimum(near.i, near.j).sort(stable=True)
        j = torch.maximum(near.i, near.j)[order]
        u = torch.where((near.i < near.j).unsqueeze(-1), near.vectors, -near.vectors)[order]
        later = i.bincount().cumsum(0)[i] - torch.arange(
            1, len(i) + 1, device=i.device
        )  # pairs of the same i
        first = torch.arange(len(i), device=i.device).repeat_interleave(later)
        starts = (later.cumsum(0) - later)[first]
        second = first + 1 + torch.arange(len(first), device=i.device) - starts
        is_near = (u[second] - u[first]).square().sum(dim=-1) < self.cutoff**2
        first, second = first[is_near], second[is_near]
        to_j, to_k = u[first], u[second]
        sides = torch.stack((to_k - to_j, -to_k, to_j))  # opposite i, j and k

        def of_others(x: Tensor) -> Tensor:
            """For each side the product of the values at the two others."""
            return x.roll(1, 0) * x.roll(2, 0)

        q = sides.square().sum(dim=-1)
        s, slope = self._switch(q)
        x, product = q.sum(dim=0) - 2 * q, q.prod(dim=0)  # x / 2: the scalar product of two sides at a corner
        angular = 3 / 8 * x.prod(dim=0) / product
        strength = self.nu * product**-1.5
        energy = strength * (1 + angular)
        minors = of_others(x)
        angular_slope = 3 / 8 * (minors.sum(dim=0) - 2 * minors) / product - angular / q
        derivative = (
            s.prod(dim=0) * (strength * angular_slope - 1.5 * energy / q) + slope * of_others(s) * energy
        )
        along = 2 * derivative.unsqueeze(-1) * sides
        atoms = torch.stack((i[first], j[first], j[second]))
        return near.shape, s.prod(dim=0) * energy, atoms, along.roll(1, 0) - along.roll(-1, 0)


@dataclass(frozen=True)
class Sum:
    """Several force fields at once, such as those of pairs and of threes.

    Attributes:
        parts: at least one; all with an energy, if that is asked for.
    """

    parts: tuple

    def energy(self, positions: Tensor) -> Tensor:
        """The sum of the energies, eV: positions ``(..., atoms, 3)`` in Å -> ``(...)``."""
        return torch.stack([part.energy(positions) for part in self.parts]).sum(dim=0)

    def forces(self, positions: Tensor) -> Tensor:
        """The sum of the forces, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape."""
        return torch.stack([part.forces(positions) for part in self.parts]).sum(dim=0)

    def in_cell(self, cell: Tensor | None) -> "Sum":
        """All of them in another cell; in free space if that is None."""
        return Sum(tuple(part.in_cell(cell) for part in self.parts))
