"""Permutation symmetry (sec. 3.5): relabelling atoms, and averaging over the symmetric group S4."""

from itertools import permutations

import torch
from torch import Tensor

from enn_lib.argon import N_ATOMS, PAIRS, check_positions
from enn_lib.force_field import ForceField

S4 = torch.tensor(list(permutations(range(N_ATOMS))))
"""The 24 permutations of four atoms, ``(24, 4)``; atom a of the relabelled system is atom S4[g, a]."""


def _pair_action() -> tuple[Tensor, Tensor]:
    """How each permutation acts on the six relative vectors: source columns and signs, ``(24, 6)``."""
    index = {pair: k for k, pair in enumerate(PAIRS)}
    columns, signs = [], []
    for g in S4.tolist():
        images = [(g[i], g[j]) for i, j in PAIRS]
        columns.append([index[min(p), max(p)] for p in images])
        signs.append([1.0 if p[0] < p[1] else -1.0 for p in images])
    return torch.tensor(columns), torch.tensor(signs)


PAIR_COLUMNS, PAIR_SIGNS = _pair_action()


def relabel(inputs: Tensor, targets: Tensor, g: int) -> tuple[Tensor, Tensor]:
    """Relabel the atoms in training data by the permutation ``S4[g]``.

    Args:
        inputs: relative vectors ``(..., 3, 6)`` in the order of Eq. 41; r_ij changes its sign where
            the permutation turns the pair round.
        targets: forces ``(..., 3, 4)``.
        g: which of the 24.

    Returns:
        Both, as they would be had the atoms been numbered otherwise.
    """
    columns, order = PAIR_COLUMNS[g].to(inputs.device), S4[g].to(inputs.device)
    return inputs[..., columns] * PAIR_SIGNS[g].to(inputs), targets[..., order]


class PermutationAverage:
    r"""A force field averaged over relabellings of its four atoms, all of them if not told otherwise.

    .. math:: \bar F(r) = \frac{1}{|G|} \sum_{g \in G} g^{-1} F(g r), \qquad G = S_4

    The average commutes with every permutation of the group G exactly, whatever the force field, and it
    costs as many evaluations, in one batch, as G has members: 24 for S4. Where not all atoms are alike, G
    is smaller.

    Attributes:
        force_field: what is averaged.
        group: G, ``(|G|, 4)``, rows of `S4` that are a group.
    """

    def __init__(self, force_field: ForceField, group: Tensor = S4):
        self.force_field = force_field
        self.group = group

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., 4, 3)`` in Å -> the same shape and dtype.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, N_ATOMS)
        group = self.group.to(positions.device)
        forces = self.force_field.forces(positions[..., group, :])  # (..., |G|, 4, 3)
        inverse = group.argsort(dim=-1).unsqueeze(-1).expand_as(forces)
        return forces.gather(-2, inverse).mean(dim=-3)
