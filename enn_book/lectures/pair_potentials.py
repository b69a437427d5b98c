"""Atoms in any dimension and number under any pair potential: what *Make it yours* changes.

Units: Å for lengths, eV for energies, eV/Å for forces.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from enn_lib.argon import ARGON, Scales, check_positions, sample_positions, smallest_distance
from enn_lib.force_field import gradients_as_of, minus_gradient
from enn_lib.graph import GaussianRadial
from enn_lib.network import ENN

POTENTIALS = {
    "lennard-jones": "epsilon * ((rm / r)**12 - 2 * (rm / r)**6)",
    "morse": "epsilon * (exp(-12 * (r / rm - 1)) - 2 * exp(-6 * (r / rm - 1)))",
    "buckingham": "epsilon * (0.75 * exp(14 * (1 - r / rm)) - 1.75 * (rm / r)**6)",
    "soft-core": "4 * epsilon * (1 / (0.5 + (r / r0)**6)**2 - 1 / (0.5 + (r / r0)**6))",
    "yukawa": "3 * epsilon * (rm / r) * exp(1 - r / rm)",
}
"""Potentials of a pair by name, as formulas that `pair_potential` reads. The first three have wells of the
same depth and minimum, the first two also of the same curvature. Soft-core has no wall, Yukawa no well."""

WORDS = {
    **{name: getattr(torch, name) for name in ("exp", "log", "sqrt", "sin", "cos", "tanh")},
    "pi": math.pi,
    "epsilon": ARGON.epsilon,
    "r0": ARGON.r0,
    "rm": 2 ** (1 / 6) * ARGON.r0,
}
"""What a formula may use beside r. Of argon these are the depth of the well, eV, the distance r0 at which the
Lennard-Jones potential is zero, and that of its minimum, rm, Å."""

CLOSEST = 2.8
"""No pair of atoms is closer in the data, Å (sec. 4.1)."""


def pair_potential(potential: str) -> Callable[[Tensor], Tensor]:
    """The energy of a pair, from a name or a formula.

    Args:
        potential: a name of `POTENTIALS`, or an energy in eV as a formula of the distance r in Å that may use
            the `WORDS`, such as ``"0.1 * exp(-(r / 3)**2)"``. It is run as Python.

    Returns:
        A function from a tensor of distances, Å, to the energies, eV.

    Raises:
        ValueError: if it is neither, or if energies or slopes are not finite beyond `CLOSEST`, or all zero.
    """
    formula = POTENTIALS.get(potential, potential)

    def pair_energy(r: Tensor) -> Tensor:
        return eval(formula, {"__builtins__": {}, **WORDS, "r": r})

    r = torch.linspace(CLOSEST, 40, 200, dtype=torch.float64, requires_grad=True)
    try:
        energies = pair_energy(r)
        (slopes,) = torch.autograd.grad(energies.sum(), r)
        is_finite = energies.isfinite().all() and slopes.isfinite().all()
        is_good = energies.shape == r.shape and is_finite and slopes.any()
    except Exception:  # of whatever kind: it is not ours
        is_good = False
    if not is_good:
        raise ValueError(
            f"potential: got {potential!r}, wanted one of {', '.join(POTENTIALS)}, or a formula of the "
            f"distance r, finite from {CLOSEST} to 40 Å, such as '0.1 * exp(-(r / 3)**2)'"
        )
    return pair_energy


def sample_clouds(n_configurations: int, seed: int, *, n_atoms: int, n: int) -> Tensor:
    """Draw atoms as `enn_lib.argon.sample_positions` does, in a cloud that has room for them.

    The cloud is the paper's where at least a thirtieth of its draws have no pair closer than `CLOSEST`. It is
    wider, in steps of a tenth, for more atoms or in fewer dimensions.

    Returns:
        Positions in Å, ``(n_configurations, n_atoms, n)``, float64.

    Raises:
        ValueError: if a number is out of its range.
    """
    sigma = 3.0
    tried = sample_positions(1000, seed, n_atoms=n_atoms, n=n, sigma=sigma, r_min=0.0)
    while (smallest_distance(tried) >= CLOSEST).sum() < len(tried) / 30:
        sigma, tried = 1.1 * sigma, 1.1 * tried
    return sample_positions(n_configurations, seed, n_atoms=n_atoms, n=n, sigma=sigma, r_min=CLOSEST)


def pair_vectors(positions: Tensor, radial: GaussianRadial | None = None) -> Tensor:
    """The relative vectors r_j - r_i for i < j: positions ``(..., atoms, n)`` -> ``(..., n, pairs)``.

    For four atoms in three dimensions these are the six of Eq. 41, in its order. With `radial`, B edge
    features (Eq. 32), there are B in place of each, ``(..., n, pairs * B)``: its unit vector times each of
    them.
    """
    i, j = torch.triu_indices(positions.shape[-2], positions.shape[-2], offset=1)
    vectors = (positions[..., j, :] - positions[..., i, :]).mT
    if radial is None:
        return vectors
    features = radial(vectors.norm(dim=-2, keepdim=True))
    return (normalize(vectors, dim=-2).unsqueeze(-1) * features).flatten(-2)


class PairSystem:
    r"""A number of equal atoms in n dimensions under a potential between all pairs (Eq. 39, 40).

    .. math::
        U = \sum_{i<j} u(r_{ij}), \qquad \mathbf F_i = -\partial U / \partial \mathbf r_i

    Attributes:
        pair_energy: u, eV at a tensor of distances in Å; anything that torch can differentiate.
        n_atoms: at least 2.
        n: the dimension of space.
    """

    def __init__(self, pair_energy: Callable[[Tensor], Tensor], n_atoms: int = 4, n: int = 3):
        """Make the system.

        Raises:
            ValueError: if there are fewer than two atoms or no dimension.
        """
        if n_atoms < 2 or n < 1:
            raise ValueError(f"n_atoms, n: got {n_atoms}, {n}, wanted at least 2 and at least 1")
        self.pair_energy = pair_energy
        self.n_atoms = n_atoms
        self.n = n

    def energy(self, positions: Tensor) -> Tensor:
        """The potential energy U, eV: positions ``(..., n_atoms, n)`` in Å -> ``(...)``.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        check_positions(positions, self.n_atoms, self.n)
        squared = pair_vectors(positions).square().sum(dim=-2)
        if (squared == 0).any():
            raise ValueError("positions: two atoms coincide, wanted distinct positions")
        return self.pair_energy(squared.sqrt()).sum(dim=-1)

    def forces(self, positions: Tensor) -> Tensor:
        """The forces -dU/dr, eV/Å: positions ``(..., n_atoms, n)`` in Å -> the same shape and dtype.

        Differentiable where the positions require a gradient.

        Raises:
            ValueError: as `energy` does.
        """
        check_positions(positions, self.n_atoms, self.n)  # an integer could not carry a gradient
        return minus_gradient(self.energy, positions)


class PairNetwork:
    """A network as a force field of any number of atoms in its own dimension.

    Its inputs are the `pair_vectors` (Eq. 41), its outputs one force an atom (Eq. 42).

    Attributes:
        network: n_atoms (n_atoms - 1) / 2 vectors in, or as many for each edge feature, n_atoms vectors out.
        scales: the scales it was trained with.
        radial: the edge features of the `pair_vectors`; None for the bare vectors.
    """

    def __init__(self, network: ENN, scales: Scales, radial: GaussianRadial | None = None):
        """Take a network, trained or not.

        Raises:
            ValueError: if the widths at its ends belong to no number of atoms.
        """
        n_atoms = network.widths[-1]
        count = 1 if radial is None else len(radial)
        if network.widths[0] != count * n_atoms * (n_atoms - 1) // 2 or n_atoms < 2:
            times = "" if radial is None else f"{count} "
            raise ValueError(
                f"network: got widths {network.widths}, wanted {times}N (N - 1) / 2 vectors in, N out"
            )
        self.network = network
        self.scales = scales
        self.radial = radial

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., n_atoms, n)`` in Å -> the same shape and dtype.

        Differentiable where the positions require a gradient.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, self.network.widths[-1], self.network.n)
        with gradients_as_of(positions):
            inputs = pair_vectors(positions, self.radial).to(self.network.dtype) / self.scales.position
            return (self.network(inputs).mT * self.scales.force).to(positions.dtype)
