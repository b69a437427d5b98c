"""What one hidden layer cannot do, and how near a network comes to where it jumps."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from enn_lib.activations import VectorSoftsign
from enn_lib.layers import length
from enn_lib.network import ENN


def antisymmetric_share(function: Callable[[Tensor], Tensor], x: Tensor) -> float:
    r"""How far the blocks of a Jacobian are from symmetric; one hidden layer without bias makes them so.

    .. math:: |J - J^T| / (2\, |J|), \qquad J_\alpha = \partial f / \partial x^{(\alpha)}

    Args:
        function: maps M vectors ``(n, M)`` to one, ``(n, 1)``; differentiable by torch.func.
        x: N samples, ``(N, n, M)``, real.

    Returns:
        From 0 (all blocks are symmetric) to 1 (all are antisymmetric), with norms over samples and blocks.
    """
    jacobian = torch.func.vmap(torch.func.jacrev(lambda x: function(x)[:, 0]))(x)
    blocks = jacobian.movedim(-1, 1)
    return ((blocks - blocks.mT).norm() / (2 * blocks.norm())).item()


@torch.no_grad()
def random_feature_error(
    target: Callable[[Tensor], Tensor],
    widths: Sequence[int],
    *,
    bias: float,
    n_samples: int,
    generator: torch.Generator,
) -> float:
    r"""The error of a network with random hidden layers and the best last layer, on new inputs.

    .. math:: \sqrt{\textstyle\sum \|net(x) - f(x)\|^2 / \sum \|f(x)\|^2}

    The weights of the vectors of a layer have sizes from 0.1 to 3, so that gates see lengths of all sizes.
    The last layer, without bias, is the solution of a linear least squares problem.

    Args:
        target: maps M vectors in space ``(N, 3, M)`` to one, ``(N, 3, 1)``; their components are normal.
        widths: M, and the widths of the hidden layers.
        bias: the standard deviation of the biases, before they are scaled like the weights.
        n_samples: N, for the least squares problem, and as many for the error.
        generator: the source of randomness.
    """
    hidden = ENN(widths, output_activation=VectorSoftsign(), dtype=torch.float64)
    for layer in hidden.layers:
        nn.init.normal_(layer.weight, generator=generator)
        nn.init.normal_(layer.bias, std=bias, generator=generator)
        layer.stacked.mul_(torch.logspace(-1, 0.5, layer.out_vectors) / layer.in_vectors**0.5)
    x = torch.randn(2, n_samples, 3, widths[0], dtype=torch.float64, generator=generator)
    (features, new_features), (wanted, new_wanted) = (f(x).flatten(1, 2) for f in (hidden, target))
    last = torch.linalg.lstsq(features, wanted, rcond=1e-7, driver="gelsd").solution
    return ((new_features @ last - new_wanted).norm() / new_wanted.norm()).item()


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
