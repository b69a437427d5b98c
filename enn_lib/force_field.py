"""What dynamics and tests ask of a source of forces, and networks seen as one."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor

from enn_lib.argon import N_ATOMS, PAIRS, Scales, check_positions, relative_vectors
from enn_lib.graph import CombinedGraphLayer, VectorGraphLayer, check_cell, neighbours
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN


@runtime_checkable
class ForceField(Protocol):
    """Anything with `forces`: the analytic potential, a trained network, a baseline."""

    def forces(self, positions: Tensor) -> Tensor:
        """Forces in eV/Å at positions ``(..., atoms, 3)`` in Å; the same shape and dtype."""
        ...


def wants_gradient(*inputs: Tensor | None) -> bool:
    """Whether what is computed from `inputs` shall be differentiable in one of them."""
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs)


def gradients_as_of(*inputs: Tensor | None) -> AbstractContextManager:
    """A context that builds a graph only if one of `inputs`, positions or a cell, requires a gradient."""
    if torch.compiler.is_exporting():  # which knows no such context
        return nullcontext()
    return torch.set_grad_enabled(wants_gradient(*inputs))


def minus_gradient(energy: Callable[[Tensor], Tensor], positions: Tensor, *others: Tensor | None) -> Tensor:
    """The forces of an energy, differentiable where `positions`, or `others` such as a cell, require it."""
    is_wanted = wants_gradient(positions, *others)
    with torch.inference_mode(False), torch.enable_grad():
        x = positions if positions.requires_grad else positions.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(x).sum(), x, create_graph=is_wanted)
    return -gradient


class NetworkForceField:
    """A trained network as a force field of four atoms.

    Positions become scaled relative vectors (Eq. 41), the network's output becomes forces (Eq. 42).

    Attributes:
        network: 6 vectors in, 4 vectors out, n = 3; an `ENN`, or a module with the same attributes ``n``,
            ``widths`` and ``dtype``.
        scales: the scales it was trained with.

    Raises:
        ValueError: if the network has another n or other widths at its ends.
    """

    def __init__(self, network: ENN, scales: Scales):
        if network.n != 3 or (network.widths[0], network.widths[-1]) != (len(PAIRS), N_ATOMS):
            raise ValueError(
                f"network: got n = {network.n} and widths {network.widths}, wanted n = 3, "
                f"{len(PAIRS)} relative vectors in and {N_ATOMS} forces out"
            )
        self.network = network
        self.scales = scales

    def to(self, dtype: torch.dtype) -> "NetworkForceField":
        """The same force field with a copy of the network in `dtype`."""
        return NetworkForceField(deepcopy(self.network).to(dtype), self.scales)

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., 4, 3)`` in Å -> the same shape and dtype.

        The network computes in its own dtype. Differentiable where the positions require a gradient; without
        one no graph is built, whether the network's weights require theirs or not.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, N_ATOMS)
        with gradients_as_of(positions):
            inputs = relative_vectors(positions).to(self.network.dtype) / self.scales.position
            return (self.network(inputs).transpose(-1, -2) * self.scales.force).to(positions.dtype)


class _OfDescriptors:
    """What the two force fields below share: a network that sees every atom's descriptors."""

    layer: VectorGraphLayer | CombinedGraphLayer
    network: ENN
    cell: Tensor | None

    def in_cell(self, cell: Tensor | None) -> Self:
        """The same force field in another cell, or in free space if that is None."""
        return replace(self, cell=cell)  # type: ignore[type-var]

    def to(self, dtype: torch.dtype) -> Self:
        """The same force field with a copy of the network in `dtype`."""
        return replace(self, network=deepcopy(self.network).to(dtype))  # type: ignore[type-var]

    def _descriptors(self, positions: Tensor) -> Tensor:
        """Of each atom; from all pairs in free space, where few atoms need no list."""
        check_positions(positions)
        if self.cell is None:
            return self.layer(positions)
        return self.layer(neighbours(positions, self.layer.radial.cutoff, self.cell))


@dataclass(eq=False)
class GraphForceField(_OfDescriptors):
    r"""The same equivariant network for every atom, fed with its vector descriptors.

    .. math:: \mathbf F_i = s_F\, \mathrm{ENN}(\mathbf D_i^{(1)}/s_1, \mathbf D_i^{(2)}/s_2, \ldots)

    The forces are equivariant under rotations, reflections, translations and permutations, for any
    number of atoms. Unlike the network of Eq. 41 and 42 it does not know Newton's third law. In a cell, time
    and memory are linear in the number of atoms, and vesin is needed; in free space they are quadratic.

    Attributes:
        layer: the vector descriptors D.
        network: as many vectors in as there are descriptors, one out, n = 3.
        descriptor_scales: s, without unit; ``(descriptors,)``.
        force_scale: s_F, eV/Å.
        cell: the lattice vectors as rows, ``(3, 3)``, Å; None in free space.
    """

    layer: VectorGraphLayer
    network: ENN
    descriptor_scales: Tensor
    force_scale: float
    cell: Tensor | None = None

    def __post_init__(self):
        count, widths = self.layer.weight.shape[-1], self.network.widths
        if widths[0] != count or widths[-1] != 1 or self.descriptor_scales.shape != (count,):
            raise ValueError(
                f"network, descriptor_scales: got widths {widths} and shape "
                f"{tuple(self.descriptor_scales.shape)}, wanted ({count}, ..., 1) and ({count},)"
            )
        check_cell(self.cell)

    def inputs(self, positions: Tensor) -> Tensor:
        """The scaled descriptors, ``(..., atoms, 3, descriptors)`` in the dtype of the network."""
        scaled = self._descriptors(positions) / self.descriptor_scales.to(positions)
        return scaled.to(self.network.dtype)

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape and dtype.

        Differentiable as those of `NetworkForceField` are.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        with gradients_as_of(positions, self.cell):
            outputs = self.network(self.inputs(positions)).squeeze(-1)
            return (outputs * self.force_scale).to(positions.dtype)


@dataclass(eq=False)
class EnergyForceField(_OfDescriptors):
    r"""A network of vectors with scalar features (sec. 3.3) whose scalar is the energy of an atom.

    .. math::
        U = s_U \sum_i \left[h(x'_i) - h(x'_0)\right], \qquad
        x_i^{\prime(\alpha)} = \left\{\frac{\mathbf D_i^{(\alpha)}}{s_\alpha},
        \frac{D_i^{(\alpha)} - m_\alpha}{t_\alpha}\right\}, \qquad
        \mathbf F_i = -\frac{\partial U}{\partial \mathbf r_i}

    The vectors are those of Eq. 34, the scalars those of Eq. 33: from vectors alone, which vanish in a
    perfect crystal, its energy could not depend on its density. An atom alone, :math:`x'_0`, has no energy.
    The forces conserve energy and momentum and have the symmetries of `GraphForceField`.

    Attributes:
        layer: the descriptors, vectors and scalars.
        network: as many vectors in as there are descriptors, one out, n = 3, m = 1; softened, or the energy
            is not smooth.
        means: m, ``(descriptors,)``.
        scales: s above t, ``(2, descriptors)``.
        energy_scale: s_U, eV.
        cell: the lattice vectors as rows, ``(3, 3)``, Å; None in free space.
    """

    layer: CombinedGraphLayer
    network: ScalarFeatureENN
    means: Tensor
    scales: Tensor
    energy_scale: float
    cell: Tensor | None = None

    def __post_init__(self):
        count, widths, m = self.layer.weight.shape[-1], self.network.widths, self.network.m
        shapes = self.means.shape, self.scales.shape
        if (widths[0], widths[-1], m, *shapes) != (count, 1, 1, (count,), (2, count)):
            raise ValueError(
                f"network, means, scales: got widths {widths}, m = {m} and shapes {[*map(tuple, shapes)]}, "
                f"wanted ({count}, ..., 1), m = 1, ({count},) and (2, {count})"
            )
        check_cell(self.cell)

    def _scalars(self, descriptors: Tensor) -> Tensor:
        """The network's scalar: ``(..., 4, descriptors)`` -> ``(...)``."""
        s, t = self.scales.to(descriptors)
        vectors, scalars = descriptors.split((3, 1), dim=-2)
        parts = vectors / s, (scalars - self.means.to(descriptors)) / t
        return self.network(*(part.to(self.network.dtype) for part in parts))[1][..., 0, 0]

    def energies(self, descriptors: Tensor) -> Tensor:
        """The terms of U, one an atom, eV: what `layer` gives, ``(..., 4, descriptors)`` -> ``(...)``."""
        alone = self._scalars(descriptors.new_zeros(descriptors.shape[-2:]))
        return self.energy_scale * (self._scalars(descriptors) - alone)

    def energy(self, positions: Tensor) -> Tensor:
        """The potential energy U, eV: positions ``(..., atoms, 3)`` in Å -> ``(...)``, their dtype.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        with gradients_as_of(positions, self.cell):
            return self.energies(self._descriptors(positions)).to(positions.dtype).sum(dim=-1)

    def forces(self, positions: Tensor) -> Tensor:
        """The forces -dU/dr, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape and dtype.

        Differentiable as those of `NetworkForceField` are.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions)  # an integer could not carry a gradient
        return minus_gradient(self.energy, positions, self.cell)
