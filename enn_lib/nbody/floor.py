r"""What no equivariant model can learn of the benchmark: the published force limit knows the axes.

Turn a start, integrate as published, and turn the end back. Where the limit of the components was never
active this gives the target again; where it was, another one. An equivariant model says the same for all
turned starts, at best their mean, so its squared error is at least their variance.
"""

import torch
from torch import Tensor

from enn_lib.groups import random_unitary
from enn_lib.nbody.data import EVERY, FRAMES, Systems
from enn_lib.nbody.system import simulate


def turned_targets(systems: Systems, count: int, seed: int = 0) -> Tensor:
    """The ends of turned or reflected starts, turned back: ``(count, systems, 5, 3)``, float64.

    Args:
        systems: of the benchmark, float64.
        count: how many random members of O(3), each for all systems.
        seed: of the members.

    Raises:
        ValueError: if `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count: got {count}, wanted a positive number")
    generator = torch.Generator().manual_seed(seed)
    steps = EVERY * (FRAMES[1] - FRAMES[0])
    ends = []
    for _ in range(count):
        q = random_unitary(3, group="O", dtype=torch.float64, generator=generator)
        (end,), _ = simulate(systems.positions @ q.mT, systems.velocities @ q.mT, systems.charges, steps)
        ends.append(end @ q)
    return torch.stack(ends)


def least_errors(systems: Systems, turned: Tensor) -> Tensor:
    r"""An estimate of the least mean squared error of each system, ``(systems,)``, for an equivariant model.

    .. math:: \frac{1}{15} \sum_{i=1}^{5} \sum_{c=1}^{3}
        \mathrm{Var}_{\mathcal U}\big[(\mathcal U^{-1} \mathbf x_i(\mathcal U\, \cdot))_c\big]

    over the target itself and the `turned_targets`, unbiased. Starts have no preferred direction, so the
    target is a member like any other.
    """
    return torch.cat((systems.targets.unsqueeze(0), turned)).var(dim=0).mean(dim=(-2, -1))
