"""Forces on any number of atoms: the vector graph layer (Eq. 34) and a network shared by all atoms."""

import torch
from torch import Tensor

from enn_lib.argon import check_positions
from enn_lib.fit import fit
from enn_lib.graph import VectorGraphLayer
from enn_lib.network import ENN


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
        scaled = self.layer(positions) / self.descriptor_scales.to(positions.dtype)
        return scaled.to(self.network.dtype)

    @torch.no_grad()
    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape and dtype.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions)
        outputs = self.network(self.inputs(positions)).squeeze(-1)
        return (outputs * self.force_scale).to(positions.dtype)


def fit_graph_force_field(
    layer: VectorGraphLayer, network: ENN, positions: Tensor, forces: Tensor, **options
) -> tuple[GraphForceField, list[float]]:
    """Train `network` on forces, each atom a sample, with descriptors that are computed once.

    The scales are root mean squares over the data: one number a descriptor, and one for the forces,
    so that no direction is preferred.

    Args:
        layer: the descriptors, without trainable weights (the first layer of the network has them).
        network: trained in place.
        positions: Å, ``(N, atoms, 3)``.
        forces: eV/Å, of the same shape.
        options: of `enn_lib.fit.fit`; a batch counts atoms.

    Returns:
        The force field, and the losses in units of the force scale squared.

    Raises:
        ValueError: if shapes do not fit, or the layer has trainable weights.
    """
    check_positions(positions)
    if positions.shape != forces.shape:
        raise ValueError(f"forces: got shape {tuple(forces.shape)}, wanted {tuple(positions.shape)}")
    if any(p.requires_grad for p in layer.parameters()):
        raise ValueError("layer: got trainable weights, wanted the Kronecker delta of Eq. 34")
    descriptors = torch.cat([layer(part) for part in positions.split(1000)])
    scales = descriptors.square().mean(dim=(0, 1, 2)).sqrt()
    # A descriptor that no configuration reaches stays zero, whatever divides it.
    scales = torch.where(scales > 0, scales, 1.0)
    field = GraphForceField(layer, network, scales, forces.square().mean().sqrt().item())
    inputs = (descriptors / scales).to(network.dtype).flatten(0, 1)
    targets = (forces / field.force_scale).to(network.dtype).flatten(0, 1).unsqueeze(-1)
    return field, fit(network, inputs, targets, **options)
