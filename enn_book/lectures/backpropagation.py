r"""The gradient of a loss by hand, layer by layer (sec. 3.4, Eq. 20 to 24), for real and complex parameters.

The gradient of a real loss L with respect to a complex array z is

.. math:: G_z = \frac{\partial L}{\partial\,\mathrm{Re}\,z} + i \frac{\partial L}{\partial\,\mathrm{Im}\,z}
          = 2\,\frac{\partial L}{\partial \bar z}, \qquad dL = \mathrm{Re}\,\langle G_z, dz\rangle

which is what torch stores in ``.grad``, and the ordinary gradient if z is real. With
:math:`\delta_k = G_{y_k}` the paper's chain rule becomes

================  ==========================================================  ==================
what              formula                                                     reuses
================  ==========================================================  ==================
Eq. 22            :math:`\delta_{L-1} = J_\sigma^\dagger\, G_{x_L}`           y, its length
Eq. 21, 23        :math:`G_{W_k} = x_k^\dagger \delta_k`                      x
Eq. 21, 23        :math:`G_{b_k} = e_k^\dagger \delta_k`                      e
Eq. 24            :math:`G_{x_k} = \delta_k W_k^\dagger + J_e^\dagger\,       e, 1/length
                  \delta_k b_k^\dagger`
Eq. 24            :math:`\delta_{k-1} = J_\sigma^\dagger\, G_{x_k}`           y, its length
================  ==========================================================  ==================

where, column by column, with the inverse length :math:`\rho` and a real gate :math:`\sigma(u) = f(|u|)\, u`,

.. math::
    J_e^\dagger g = \rho\,(g - e\,\mathrm{Re}\langle e, g\rangle), \qquad
    J_\sigma^\dagger g = f g + \frac{f'}{|u|}\, u\,\mathrm{Re}\langle u, g\rangle.

At a vector of length zero e jumps and has no derivative. As in `enn_lib.layers`, its inverse length counts as
zero there, so that nothing flows back through e.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.layers import EquivariantLinear, inverse_length, length
from enn_lib.network import ENN


@dataclass(frozen=True)
class LayerTrace:
    """What the forward pass of one layer keeps for the backward pass.

    Attributes:
        x: x_k, what came in, ``(..., n, M_k)``.
        e: e_k, its unit vectors, ``(..., n, M_k)``.
        inverse_length: ``1 / sqrt(|x_k|^2 + softening^2)``, real, ``(..., 1, M_k)``.
        y: y_k, what the layer made and the activation receives, ``(..., n, M_(k+1))``.
    """

    x: Tensor
    e: Tensor
    inverse_length: Tensor
    y: Tensor


@dataclass(frozen=True)
class Gradients:
    """The gradients of a loss, in torch's convention for complex numbers.

    Attributes:
        stacked: with respect to ``[W; b]`` of each layer, ``(2 M_k, M_(k+1))``, summed over the batch.
        deltas: delta_k, with respect to y_k of each layer, ``(..., n, M_(k+1))``.
        inputs: with respect to the network's input, ``(..., n, M_0)``.
    """

    stacked: list[Tensor]
    deltas: list[Tensor]
    inputs: Tensor


def real_inner_product(u: Tensor, v: Tensor) -> Tensor:
    r""":math:`\mathrm{Re}\langle u, v\rangle` column by column: ``(..., n, M)`` twice -> ``(..., 1, M)``."""
    return (u.conj() * v).real.sum(dim=-2, keepdim=True)


def unit_vector_adjoint(e: Tensor, inverse_length: Tensor, gradient: Tensor) -> Tensor:
    r"""Take a gradient with respect to unit vectors back to their vectors.

    .. math:: J_e^\dagger g = \rho\,(g - e\,\mathrm{Re}\langle e, g\rangle)

    The part along x is removed, because e does not depend on the length of x. The formula also holds for
    softened unit vectors, where ``|e| < 1`` leaves some of that part.

    Args:
        e: unit vectors ``(..., n, M)``, from the forward pass.
        inverse_length: rho, ``(..., 1, M)``, from the forward pass.
        gradient: g, with respect to e, ``(..., n, M)``.
    """
    return inverse_length * (gradient - e * real_inner_product(e, gradient))


def activation_adjoint(activation: nn.Module, u: Tensor, gradient: Tensor) -> Tensor:
    r"""Take a gradient back through a gate :math:`\sigma(u) = f(|u|)\, u` with real f.

    .. math:: J_\sigma^\dagger g = f g + \frac{f'}{|u|}\, u\,\mathrm{Re}\langle u, g\rangle

    Args:
        activation: `VectorSoftsign` or `Identity`, whose derivatives f' are known here.
        u: vectors ``(..., n, M)``, from the forward pass.
        gradient: g, with respect to sigma(u), ``(..., n, M)``.

    Raises:
        TypeError: if the activation is neither.
    """
    if isinstance(activation, Identity):
        return gradient
    if not isinstance(activation, VectorSoftsign):
        raise TypeError(f"activation: got {type(activation).__name__}, wanted VectorSoftsign or Identity")
    r = length(u)
    along = real_inner_product(u, gradient) / torch.where(r > 0, r, 1.0)
    return activation.gate(u) * gradient - u * along / (1 + r) ** 2


@torch.no_grad()
def forward_pass(network: ENN, x: Tensor) -> tuple[Tensor, list[LayerTrace]]:
    """The output of a network, with what the backward pass reuses.

    Args:
        network: any `ENN`; the backward pass wants its activations to be `VectorSoftsign` or `Identity`.
        x: ``(..., n, widths[0])``.

    Returns:
        x_L, ``(..., n, widths[-1])``, and the trace of every layer, first to last.

    Raises:
        TypeError: if `network` is not an `ENN`.
    """
    if type(network) is not ENN:
        raise TypeError(f"network: got {type(network).__name__}, wanted an ENN")
    traces = []
    for layer, activation in _layers_and_activations(network):
        rho = inverse_length(x, layer.softening)
        e = x * rho
        y = torch.cat((x, e), dim=-1) @ layer.stacked
        traces.append(LayerTrace(x, e, rho, y))
        x = activation(y)
    return x, traces


@torch.no_grad()
def backward_pass(network: ENN, traces: list[LayerTrace], output_gradient: Tensor) -> Gradients:
    """The gradients of a loss with respect to all parameters and the input, without autograd.

    Args:
        network: as in the forward pass.
        traces: from the forward pass.
        output_gradient: the gradient of the loss with respect to x_L, ``(..., n, widths[-1])``.

    Raises:
        TypeError: if an activation is neither `VectorSoftsign` nor `Identity`.
    """
    stacked, deltas, gradient = [], [], output_gradient
    steps = zip(_layers_and_activations(network), traces, strict=True)
    for (layer, activation), trace in reversed(list(steps)):
        delta = activation_adjoint(activation, trace.y, gradient)
        inputs = torch.cat((trace.x, trace.e), dim=-1).flatten(end_dim=-2)
        stacked.append(inputs.mH @ delta.flatten(end_dim=-2))
        deltas.append(delta)
        to_x, to_e = (delta @ layer.stacked.mH).chunk(2, dim=-1)
        gradient = to_x + unit_vector_adjoint(trace.e, trace.inverse_length, to_e)
    return Gradients(stacked[::-1], deltas[::-1], gradient)


def mean_squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    r"""A cost for Eq. 20, and its gradient with respect to the outputs.

    .. math:: C = \frac{1}{N} \sum |x_L - T|^2, \qquad G_{x_L} = \frac{2}{N} (x_L - T)

    Args:
        outputs: x_L, any shape with N entries, real or complex.
        targets: T, the same.

    Returns:
        The real number C, and the gradient in the shape of `outputs`.

    Raises:
        ValueError: if the shapes differ.
    """
    if outputs.shape != targets.shape:
        raise ValueError(f"targets: got shape {tuple(targets.shape)}, wanted {tuple(outputs.shape)}")
    difference = outputs - targets
    return difference.abs().square().mean(), 2 * difference / difference.numel()


def _layers_and_activations(network: ENN) -> list[tuple[EquivariantLinear, nn.Module]]:
    """Each layer with the activation that follows it."""
    activations = [network.activation] * (len(network.layers) - 1) + [network.output_activation]
    return list(zip(network.layers, activations, strict=True))
