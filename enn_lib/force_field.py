"""What dynamics, figures and tests ask of a source of forces, and the network seen as one."""

from copy import deepcopy
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from enn_lib.argon import N_ATOMS, PAIRS, Scales, check_positions, relative_vectors


@runtime_checkable
class ForceField(Protocol):
    """Anything with `forces`: the analytic potential, a trained network, a baseline."""

    def forces(self, positions: Tensor) -> Tensor:
        """Forces in eV/Å at positions ``(..., atoms, 3)`` in Å; the same shape and dtype."""
        ...


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

    def __init__(self, network: nn.Module, scales: Scales):
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

    @torch.no_grad()
    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., 4, 3)`` in Å -> the same shape and dtype.

        The network computes in its own dtype.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, N_ATOMS)
        inputs = relative_vectors(positions).to(self.network.dtype) / self.scales.position
        return (self.network(inputs).transpose(-1, -2) * self.scales.force).to(positions.dtype)
