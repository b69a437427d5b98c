"""What dynamics and tests ask of a source of forces, and networks seen as one."""

from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from enn_lib.argon import N_ATOMS, PAIRS, Scales, check_positions, relative_vectors
from enn_lib.graph import VectorGraphLayer
from enn_lib.network import ENN


@runtime_checkable
class ForceField(Protocol):
    """Anything with `forces`: the analytic potential, a trained network, a baseline."""

    def forces(self, positions: Tensor) -> Tensor:
        """Forces in eV/Å at positions ``(..., atoms, 3)`` in Å; the same shape and dtype."""
        ...


def wants_gradient(positions: Tensor) -> bool:
    """Whether what is computed from `positions` shall be differentiable in them."""
    return torch.is_grad_enabled() and positions.requires_grad


def gradients_as_of(positions: Tensor) -> AbstractContextManager:
    """A context that builds a graph only if `positions` require a gradient."""
    if torch.compiler.is_exporting():  # which knows no such context
        return nullcontext()
    return torch.set_grad_enabled(wants_gradient(positions))


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


class GraphForceField:
    r"""The same equivariant network for every atom, fed with its vector descriptors.

    .. math:: \mathbf F_i = s_F\, \mathrm{ENN}(\mathbf D_i^{(1)}/s_1, \mathbf D_i^{(2)}/s_2, \ldots)

    The forces are equivariant under rotations, reflections, translations and permutations, for any
    number of atoms. Unlike the network of Eq. 41 and 42 it does not know Newton's third law.

    Attributes:
        layer: the vector descriptors D.
        network: as many vectors in as there are descriptors, one out, n = 3.
        descriptor_scales: s, without unit; ``(descriptors,)``.
        force_scale: s_F, eV/Å.
    """

    def __init__(self, layer: VectorGraphLayer, network: ENN, descriptor_scales: Tensor, force_scale: float):
        count = layer.weight.shape[-1]
        if network.widths[0] != count or network.widths[-1] != 1 or descriptor_scales.shape != (count,):
            raise ValueError(
                f"network, descriptor_scales: got widths {network.widths} and shape "
                f"{tuple(descriptor_scales.shape)}, wanted ({count}, ..., 1) and ({count},)"
            )
        self.layer = layer
        self.network = network
        self.descriptor_scales = descriptor_scales
        self.force_scale = force_scale

    def inputs(self, positions: Tensor) -> Tensor:
        """The scaled descriptors, ``(..., atoms, 3, descriptors)`` in the dtype of the network."""
        scaled = self.layer(positions) / self.descriptor_scales.to(positions)
        return scaled.to(self.network.dtype)

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape and dtype.

        Differentiable as those of `NetworkForceField` are.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions)
        with gradients_as_of(positions):
            outputs = self.network(self.inputs(positions)).squeeze(-1)
            return (outputs * self.force_scale).to(positions.dtype)
