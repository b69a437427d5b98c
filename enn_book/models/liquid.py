r"""Force fields of a liquid that are learned: forces of pairs by least squares, and an ENN beside them.

Units: Å for lengths, eV for energies, eV/Å for forces.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from enn_lib.evaluation import predict
from enn_lib.force_field import EnergyForceField, GraphForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.training import fit_energy_force_field, fit_graph_force_field


def fit_pair_energy(
    layer: CombinedGraphLayer, positions: Tensor, forces: Tensor, *, cell: Tensor | None = None
) -> EnergyForceField:
    """The energy that is linear in the scalar descriptors of all atoms and whose slopes fit forces best.

    It is a sum over pairs, found by least squares in a moment, so that a network need only learn what it
    misses: train that on the difference of the forces, and take the `Sum` of the two.

    Args:
        layer: the descriptors, without trainable weights.
        positions: Å, ``(N, atoms, 3)``; some tens of configurations are enough.
        forces: eV/Å, of the same shape.
        cell: the lattice vectors as rows, Å, ``(3, 3)``; free space if not given.

    Returns:
        A force field in `cell`, in float64.
    """
    count = layer.weight.shape[-1]
    zero, one = positions.new_zeros(count), positions.new_ones(2, count)
    network = ScalarFeatureENN((count, 1), m=1, dtype=torch.float64)
    field = EnergyForceField(layer, network, zero, one, 1.0, cell)
    with torch.no_grad():
        network.layers[0].stacked.zero_()
        slopes = []
        for coefficients in torch.eye(count, dtype=torch.float64):
            network.layers[0].weight.copy_(coefficients.unsqueeze(-1))
            slopes.append(predict(field, positions, 8).flatten())
        columns = torch.stack(slopes, dim=1)
        size = columns.square().mean(dim=0).sqrt()
        size = torch.where(size > 0, size, 1.0)
        readout = torch.linalg.lstsq(columns / size, forces.flatten(), driver="gelsd").solution / size
        network.layers[0].weight.copy_(readout.unsqueeze(-1))
    return field


class _BesidePairs(ScalarFeatureENN):
    """A network beside a linear readout of what comes in, which training leaves as it is."""

    readout: Tensor

    def __init__(self, widths: Sequence[int], **options):
        """Make the network, with a readout of zeros; arguments are those of `ScalarFeatureENN`."""
        super().__init__(widths, **options)
        self.register_buffer("readout", torch.zeros(self.widths[0], self.widths[-1], dtype=self.dtype))

    def _through(self, x: Tensor) -> Tensor:
        return super()._through(x) + x @ self.readout


class EnergyBesidePairs(_BesidePairs):
    r"""A `ScalarFeatureENN` with a shortcut from what comes in to what goes out.

    .. math:: y' = \mathrm{ENN}(x') + x' R

    Its scalar is the energy of an atom in an `EnergyForceField`; of that, R makes a sum over pairs.

    Attributes:
        readout: R, ``(widths[0], widths[-1])``; a buffer, so that training leaves it alone.
    """


class ForcesBesidePairs(_BesidePairs):
    r"""The same shortcut for a network whose vector is the force, in a `GraphForceField`.

    R adds forces of pairs. The layer of descriptors is a `CombinedGraphLayer`, whose scalars are shifted and
    scaled here.

    Attributes:
        readout: R, ``(widths[0], widths[-1])``; a buffer, so that training leaves it alone.
        means: of the scalars, ``(widths[0],)``.
        scales: their standard deviations, ``(widths[0],)``.
    """

    means: Tensor
    scales: Tensor

    def __init__(self, widths: Sequence[int], **options):
        """Make the network, with a readout of zeros; arguments are those of `ScalarFeatureENN`."""
        super().__init__(widths, **options)
        self.register_buffer("means", torch.zeros(self.widths[0], dtype=self.dtype))
        self.register_buffer("scales", torch.ones(self.widths[0], dtype=self.dtype))

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Map vectors above scalars, ``(..., 4, widths[0])``, to vectors ``(..., 3, widths[-1])``."""
        vectors, scalars = x.split((self.n, self.m), dim=-2)
        return super().forward(vectors, (scalars - self.means) / self.scales)[0]


def fit_beside_pairs(
    network: EnergyBesidePairs | ForcesBesidePairs,
    radial: GaussianRadial,
    positions: Tensor,
    forces: Tensor,
    *,
    cell: Tensor | None = None,
    **options,
) -> GraphForceField | EnergyForceField:
    """Find forces of pairs by least squares, and train a network on what they miss.

    Args:
        network: trained in place; its class decides whether forces are slopes of an energy.
        radial: the functions of the distance in the descriptors (Eq. 33 and 34).
        positions: Å, ``(N, atoms, 3)``.
        forces: eV/Å, of the same shape.
        cell: the lattice vectors as rows, Å, ``(3, 3)``; free space if not given.
        options: of `enn_lib.training.fit`; a batch counts configurations for an energy, atoms otherwise.

    Returns:
        The force field of both together, in `cell`.
    """
    layer = CombinedGraphLayer(radial, dtype=torch.float64)
    network.readout.zero_()
    if isinstance(network, EnergyBesidePairs):
        pairs = fit_pair_energy(layer, positions, forces, cell=cell)
        missed = forces - pairs.forces(positions)
        field, _ = fit_energy_force_field(layer, network, positions, missed, cell=cell, **options)
        per_pair = pairs.network.layers[0].weight.detach() * field.scales[1].unsqueeze(-1)
        network.readout.copy_(per_pair / field.energy_scale)
        return field
    one = positions.new_ones(len(radial))
    descriptors = GraphForceField(layer, network, one, 1.0, cell).inputs(positions).double()
    vectors, scalars = descriptors.split((3, 1), dim=-2)
    unit = descriptors.square().mean(dim=(0, 1, 2)).sqrt()  # by which the fit will divide them
    network.means.copy_(scalars.mean(dim=(0, 1, 2)) / unit)
    network.scales.copy_(scalars.std(dim=(0, 1, 2)) / unit)
    size = vectors.square().mean(dim=(0, 1, 2)).sqrt()
    columns = (vectors / size).flatten(0, -2)
    fitted = torch.linalg.lstsq(columns, forces.flatten().unsqueeze(-1), driver="gelsd")
    per_pair = fitted.solution / size.unsqueeze(-1)
    missed = forces - (vectors @ per_pair).squeeze(-1)
    direct, _ = fit_graph_force_field(layer, network, positions, missed, cell=cell, **options)  # type: ignore[arg-type]
    network.readout.copy_(per_pair * unit.unsqueeze(-1) / direct.force_scale)
    return direct


def without_network(field: GraphForceField | EnergyForceField) -> GraphForceField | EnergyForceField:
    """A copy of what `fit_beside_pairs` returns that has nothing but its forces of pairs."""
    alone = replace(field, network=deepcopy(field.network))
    with torch.no_grad():
        alone.network.layers[-1].stacked.zero_()
    return alone
