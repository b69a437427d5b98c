"""How near a network comes to where it jumps."""

import torch
from torch import Tensor

from enn_lib.layers import length
from enn_lib.network import ENN


@torch.no_grad()
def smallest_hidden_norms(network: ENN, inputs: Tensor) -> Tensor:
    """How near each configuration comes to a jump: the length of the shortest vector in any hidden layer.

    The unit vectors of Eq. 9 jump where a vector vanishes, and with a bias the network jumps with them.

    Args:
        network: with at least one hidden layer.
        inputs: ``(N, n, M_0)``, in the dtype of the network.

    Returns:
        Lengths ``(N,)``, in units of the scaled vectors.
    """
    x, smallest = inputs, []
    for layer in network.layers[:-1]:
        x = network.activation(layer(x))
        smallest.append(length(x).amin(dim=(-1, -2)))
    return torch.stack(smallest).amin(dim=0)
