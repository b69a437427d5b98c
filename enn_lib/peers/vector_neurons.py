"""Vector Neurons (Deng et al. 2021): linear maps of vectors, and a ReLU along learned directions."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from enn_lib.activations import DirectionalLeakyReLU
from enn_lib.argon import N_ATOMS, PAIRS, relative_vectors


class VectorNeurons(nn.Module):
    r"""The perceptron of Vector Neurons, on the ENN's six relative vectors.

    .. math:: x_{k+1} = \mathrm{VN\text{-}ReLU}(x_k W_k)

    with the leaky ReLU of slope 0.2 of the published code. It has no bias of any kind, where the ENN has
    e b, and it is homogeneous of degree one: positions twice as far give forces twice as large.
    """

    def __init__(self, widths: tuple[int, ...] = (50, 84, 92, 84, 50), slope: float = 0.2):
        """Make it, with hidden layers of `widths` vectors, from torch's global generator."""
        super().__init__()
        ends = (len(PAIRS), *widths, N_ATOMS)
        self.weights = nn.ParameterList(torch.randn(a, b) / a**0.5 for a, b in pairwise(ends))
        self.activations = nn.ModuleList(DirectionalLeakyReLU(m, slope) for m in widths)

    def forward(self, positions: Tensor) -> Tensor:
        """Map ``(..., 4, 3)`` to ``(..., 4, 3)``, without unit."""
        x = relative_vectors(positions)
        for weight, activation in zip(self.weights, self.activations, strict=False):
            x = activation(x @ weight)
        return (x @ self.weights[-1]).mT
