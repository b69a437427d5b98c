"""Who sees whom: the ordered pairs of atoms, grouped by the atom that receives."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from enn_lib.graph import GaussianRadial

CUTOFF = 2.5
"""Where the radial features end, in units of the position scale (about 11 Å for argon's data)."""


def neighbours(n_atoms: int) -> Tensor:
    """The other atoms of each atom, ``(n_atoms, n_atoms - 1)``."""
    everyone = torch.arange(n_atoms).expand(n_atoms, n_atoms)
    return everyone[~torch.eye(n_atoms, dtype=torch.bool)].reshape(n_atoms, n_atoms - 1)


def edge_vectors(positions: Tensor) -> Tensor:
    """The vectors r_j - r_i to the neighbours j of every i: ``(..., N, 3)`` -> ``(..., N, N - 1, 3)``."""
    return positions[..., neighbours(positions.shape[-2]), :] - positions.unsqueeze(-2)


def radial_features(count: int = 32) -> GaussianRadial:
    """Gaussians of the distance (Eq. 32) as wide as their spacing, which is finest at the repulsive wall.

    The centres grow geometrically from 0.58 (2.6 Å), so that a force that falls with the thirteenth power
    of the distance looks equally smooth to all of them.
    """
    centres = torch.logspace(torch.log10(torch.tensor(0.58)), torch.log10(torch.tensor(CUTOFF)), count)
    ratio = (CUTOFF / 0.58) ** (1 / (count - 1))
    spacing = centres * (ratio - 1)
    return GaussianRadial((0.5 / spacing**2).tolist(), centres.tolist(), CUTOFF)


def mlp(*widths: int, last_bias: bool = True) -> nn.Sequential:
    """An ordinary perceptron with SiLU between its layers, drawn from torch's global generator."""
    layers: list[nn.Module] = []
    for k, (a, b) in enumerate(pairwise(widths)):
        is_last = k == len(widths) - 2
        layers += [nn.Linear(a, b, bias=last_bias or not is_last)] + ([] if is_last else [nn.SiLU()])
    return nn.Sequential(*layers)
