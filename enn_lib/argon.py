"""Lennard-Jones argon (Eq. 38 to 40) and the data of sec. 4.1.

Units: Å for lengths, eV for energies, eV/Å for forces.
"""

from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

N_ATOMS = 4
PAIRS = tuple(combinations(range(N_ATOMS), 2))
"""The pairs (i, j) in the order 12, 13, 14, 23, 24, 34 of Eq. 41 (counted from zero)."""


def is_true(condition: Tensor) -> bool:
    """Whether a check holds; yes where values cannot be looked at (in an export, in vmap, on "meta")."""
    try:
        return torch.compiler.is_exporting() or bool(condition)
    except RuntimeError:
        return True


def check_positions(positions: Tensor, n_atoms: int | None = None, n: int = 3) -> None:
    """Raise ValueError unless `positions` are finite and of shape ``(..., atoms, n)``."""
    wanted = "atoms" if n_atoms is None else n_atoms
    if positions.ndim < 2 or positions.shape[-1] != n or n_atoms not in (None, positions.shape[-2]):
        raise ValueError(f"positions: got shape {tuple(positions.shape)}, wanted (..., {wanted}, {n})")
    if not positions.is_floating_point():
        raise TypeError(f"positions: got {positions.dtype}, wanted a floating-point dtype")
    is_good = (positions * 1e-15).abs() <= 1  # farther away, squares are no longer finite in float32
    if not is_true(is_good.all()):
        got = f"{(~is_good).sum().item()} entries that are NaN, infinite or beyond 1e15"
        raise ValueError(f"positions: got {got}, wanted finite ones (Å)")


@dataclass(frozen=True)
class LennardJones:
    r"""The Lennard-Jones potential between all pairs of atoms, without cutoff (Eq. 38, 39).

    .. math:: U = \sum_{i<j} 4\epsilon\left[(r_0/r_{ij})^{12} - (r_0/r_{ij})^6\right]

    Attributes:
        epsilon: the depth of the well, eV.
        r0: the distance at which the potential of a pair is zero, Å.
    """

    epsilon: float
    r0: float

    def pair_energy(self, distance: Tensor) -> Tensor:
        """U_ij (Eq. 38) in eV at distances in Å, any shape."""
        s6 = (self.r0 / distance) ** 6
        return 4 * self.epsilon * (s6 * s6 - s6)

    def _pairs(self, positions: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Indices i < j, the vectors r_j - r_i, their squares, and the forces on j over the vectors."""
        check_positions(positions)
        i, j = _pair_indices(positions)
        vectors = positions[..., j, :] - positions[..., i, :]
        squared = (vectors * vectors).sum(dim=-1)
        s6 = (self.r0**2 / squared) ** 3
        factor = 24 * self.epsilon * (2 * s6 * s6 - s6) / squared
        is_good = factor.isfinite() & vectors.isfinite().all(dim=-1)  # not where this dtype overflows
        if not is_true(is_good.all()):
            *_, pair = (~is_good).nonzero()[0].tolist()
            got = f"atoms {i[pair].item()} and {j[pair].item()} coincide, or nearly"
            raise ValueError(f"positions: {got}, wanted distinct positions")
        return i, j, vectors, squared, factor

    def energy(self, positions: Tensor) -> Tensor:
        """The potential energy U (Eq. 39), eV: positions ``(..., atoms, 3)`` in Å -> ``(...)``.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        *_, squared, _ = self._pairs(positions)
        return self.pair_energy(squared.sqrt()).sum(dim=-1)

    def forces(self, positions: Tensor) -> Tensor:
        """The forces -dU/dr (Eq. 40), eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape.

        Raises:
            ValueError: if the shape is wrong, a position is not finite, or two atoms coincide.
        """
        i, j, vectors, _, factor = self._pairs(positions)
        pair_forces = vectors * factor.unsqueeze(-1)
        forces = torch.zeros_like(positions)
        return forces.index_add(-2, j, pair_forces).index_add(-2, i, pair_forces, alpha=-1)


BOLTZMANN = 8.617330337217213e-05
"""k_B, eV/K, of CODATA 2014, as ASE has it."""

ARGON = LennardJones(epsilon=120 * BOLTZMANN, r0=3.4)
"""The paper's argon, epsilon / k_B = 120 K and r_0 = 3.4 Å (sec. 4.1)."""

ARGON_MASS = 39.948
"""The mass of an argon atom, u (sec. 4.3)."""


def relative_vectors(positions: Tensor) -> Tensor:
    """The network's input x_0 (Eq. 41): positions ``(..., 4, 3)`` -> ``(..., 3, 6)``.

    Columns are r_12, r_13, r_14, r_23, r_24, r_34 with r_ij = r_j - r_i, the paper's sign in sec. 3.5.
    """
    i, j = zip(*PAIRS, strict=True)
    return (positions[..., j, :] - positions[..., i, :]).transpose(-1, -2)


@dataclass(frozen=True)
class Scales:
    """The two numbers that make inputs and targets dimensionless.

    One number each: a scale per Cartesian component would break the equivariance.

    Attributes:
        position: standard deviation of the components of the relative vectors, Å.
        force: standard deviation of the components of the forces, eV/Å.
    """

    position: float
    force: float


@dataclass(frozen=True)
class Configurations:
    """Positions ``(N, 4, 3)`` in Å and analytic forces ``(N, 4, 3)`` in eV/Å, float64."""

    positions: Tensor
    forces: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def inputs(self, scales: Scales, dtype: torch.dtype = torch.float32) -> Tensor:
        """The scaled relative vectors, ``(N, 3, 6)``, without unit."""
        return (relative_vectors(self.positions) / scales.position).to(dtype).contiguous()

    def targets(self, scales: Scales, dtype: torch.dtype = torch.float32) -> Tensor:
        """The scaled forces T (Eq. 42), ``(N, 3, 4)``, without unit."""
        return (self.forces.transpose(-1, -2) / scales.force).to(dtype).contiguous()


@dataclass(frozen=True)
class ArgonData:
    """The configurations of sec. 4.1, split, with the scales of the training part."""

    train: Configurations
    validation: Configurations
    test: Configurations
    scales: Scales


def sample_positions(
    n_configurations: int,
    seed: int,
    *,
    sigma: float = 3.0,
    r_min: float = 2.8,
    n_atoms: int = N_ATOMS,
    n: int = 3,
) -> Tensor:
    """Draw configurations of atoms as sec. 4.1 does for four.

    Every coordinate is Gaussian with mean 0 and standard deviation `sigma`; a configuration with any
    pair closer than `r_min` is discarded and drawn anew, until `n_configurations` are accepted.
    A seed gives the same numbers wherever NumPy is of the same version and build, and the first k
    configurations do not depend on how many are asked for.

    Args:
        n_configurations: how many, at least 1.
        seed: of the generator.
        sigma: Å.
        r_min: Å.
        n_atoms: in each configuration, at least 2. The more, the fewer are accepted.
        n: the dimension of space.

    Returns:
        Positions in Å, ``(n_configurations, n_atoms, n)``, float64.

    Raises:
        ValueError: if a number is out of its range, or `r_min` leaves nothing to accept.
    """
    if n_configurations < 1:
        raise ValueError(f"n_configurations: got {n_configurations}, wanted at least 1")
    if not (sigma > 0 and r_min >= 0):
        raise ValueError(f"sigma, r_min: got {sigma}, {r_min}, wanted above 0 and at least 0 Å")
    if n_atoms < 2:
        raise ValueError(f"n_atoms: got {n_atoms}, wanted at least 2")
    if n < 1:
        raise ValueError(f"n: got {n}, wanted a positive dimension")
    generator = np.random.default_rng(seed)
    accepted: list[Tensor] = []
    found = 0
    while found < n_configurations:
        positions = torch.from_numpy(generator.normal(0.0, sigma, (10_000, n_atoms, n)))
        accepted.append(positions[smallest_distance(positions) >= r_min])
        found += len(accepted[-1])
        if found == 0:
            raise ValueError(f"r_min: got {r_min} Å, which rejects all of {len(positions)} configurations")
    return torch.cat(accepted)[:n_configurations].clone()


def _pair_indices(positions: Tensor) -> Tensor:
    """Of all pairs i < j of the atoms, ``(2, atoms (atoms - 1) / 2)``."""
    n_atoms = positions.shape[-2]
    return torch.triu_indices(n_atoms, n_atoms, offset=1, device=positions.device)


def pair_distances(positions: Tensor) -> Tensor:
    """The distances, Å, of all pairs i < j: ``(..., atoms, n)`` -> ``(..., atoms (atoms - 1) / 2)``."""
    i, j = _pair_indices(positions)
    return (positions[..., j, :] - positions[..., i, :]).square().sum(dim=-1).sqrt()


def smallest_distance(positions: Tensor) -> Tensor:
    """The smallest pair distance, Å, of each configuration: ``(..., atoms, n)`` -> ``(...)``."""
    return pair_distances(positions).amin(dim=-1)


def largest_distance(positions: Tensor) -> Tensor:
    """The largest pair distance, Å, of each configuration: ``(..., atoms, n)`` -> ``(...)``."""
    return pair_distances(positions).amax(dim=-1)


def scales_of(configurations: Configurations) -> Scales:
    """The standard deviations over all components, of relative vectors (Eq. 41) and of forces (sec. 4.1)."""
    return Scales(
        position=relative_vectors(configurations.positions).std(correction=0).item(),
        force=configurations.forces.std(correction=0).item(),
    )


def generate_data(n_configurations: int = 100_000, seed: int = 2208) -> ArgonData:
    """The data of sec. 4.1: positions, forces, scales, and the split into 60, 20 and 20 %.

    The configurations are independent and identically distributed, so the split takes them in order.
    The scales are the standard deviations over all components of the training part (the paper does
    not say of which part), so that nothing of the test part enters the training.

    Args:
        n_configurations: 100,000 in the paper; at least 5.
        seed: of the positions.
    """
    return deepcopy(_generate(n_configurations, seed))  # the caller may change what it gets


@cache
def _generate(n_configurations: int, seed: int) -> ArgonData:
    if n_configurations < 5:
        raise ValueError(f"n_configurations: got {n_configurations}, wanted at least 5, to split 60/20/20")
    positions = sample_positions(n_configurations, seed)
    forces = ARGON.forces(positions)
    n_train, n_validation = n_configurations * 60 // 100, n_configurations * 20 // 100
    bounds = (slice(n_train), slice(n_train, n_train + n_validation), slice(n_train + n_validation, None))
    train, validation, test = (Configurations(positions[part], forces[part]) for part in bounds)
    return ArgonData(train, validation, test, scales_of(train))
