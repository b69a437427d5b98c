"""Ammonia, and the data that come with the library: geometries, the inversion, a few trajectories.

`enn_lib.molecule.reference` made them, by ``python -m enn_lib molecule-data --out FILE``. Units: Å, eV, eV/Å,
fs, Å/fs and u.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor

from enn_lib.argon import Configurations, Scales, relative_vectors
from enn_lib.dynamics import Trajectory
from enn_lib.permutation import S4
from enn_lib.storage import load_tensors

SYMBOLS = ("N", "H", "H", "H")
"""The atoms, in the order of every tensor."""

MASSES = torch.tensor([atomic_masses[atomic_numbers[s]] for s in SYMBOLS], dtype=torch.float64)
"""Their masses, u, ``(4,)``."""

HYDROGENS = S4[S4[:, 0] == 0]
"""The permutations of ammonia's like atoms, S3, ``(6, 4)``; the nitrogen stays atom 0."""

DATA_FILE = Path(__file__).parents[1] / "data" / "ammonia.safetensors"

PARTS = ("train", "validation", "test")


@dataclass(frozen=True)
class Geometries(Configurations):
    """Positions (Å) and forces (eV/Å), ``(N, 4, 3)``, with what else is known of them; float64.

    Attributes:
        energies: eV, ``(N,)``, from the minimum.
        temperature: of the thermostat of the trajectory that they were taken from, K, ``(N,)``; 0 for
            geometries that were displaced from the path of inversion.
        trajectory: which one, ``(N,)``; no two parts share one. Displaced geometries have their part's own.
    """

    energies: Tensor
    temperature: Tensor
    trajectory: Tensor


@dataclass(frozen=True)
class Ammonia:
    """All that is stored.

    Attributes:
        train: geometries to learn from; `validation` to choose by; `test` to measure on.
        validation: see `train`.
        test: see `train`.
        scales: of the training part, as for argon.
        path: the umbrella, from the plane through the minimum, every point relaxed at its height.
        minimum: positions of least energy, Å, ``(4, 3)``.
        frequencies: of its six vibrations, harmonic, cm^-1, ``(6,)``, the lowest first.
        dynamics: of the quantum chemistry, without a thermostat, from the minimum.
        dynamics_energies: the potential energies there, eV, ``(records, samples)``.
        dt: the time step of `dynamics`, fs; not every step is stored.
        provenance: how it was made, by name.
    """

    train: Geometries
    validation: Geometries
    test: Geometries
    scales: Scales
    path: Geometries
    minimum: Tensor
    frequencies: Tensor
    dynamics: Trajectory
    dynamics_energies: Tensor
    dt: float
    provenance: dict[str, str]


@cache
def load_ammonia(file: Path = DATA_FILE) -> Ammonia:
    """Read the data that `enn_lib.molecule.reference.make_data` wrote, by default those of the library.

    Raises:
        ValueError: if the file is no such data.
    """
    tensors, provenance = load_tensors(file)
    tensors = {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}
    try:
        geometries = {
            part: Geometries(
                *(
                    tensors[f"{part}.{name}"]
                    for name in ("positions", "forces", "energies", "temperature", "trajectory")
                )
            )
            for part in (*PARTS, "path")
        }
        dynamics = Trajectory(
            tensors["dynamics.time"], tensors["dynamics.positions"], tensors["dynamics.velocities"], MASSES
        )
        return Ammonia(
            **{part: geometries[part] for part in PARTS},
            scales=scales_of(geometries["train"]),
            path=geometries["path"],
            minimum=tensors["minimum"],
            frequencies=tensors["frequencies"],
            dynamics=dynamics,
            dynamics_energies=tensors["dynamics.energies"],
            dt=float(provenance["dt"]),
            provenance=provenance,
        )
    except KeyError as error:
        raise ValueError(f"{file}: got no {error}, wanted data of python -m enn_lib molecule-data") from error


def scales_of(geometries: Configurations) -> Scales:
    """The standard deviations over all components, of relative vectors and of forces."""
    return Scales(
        position=relative_vectors(geometries.positions).std(correction=0).item(),
        force=geometries.forces.std(correction=0).item(),
    )
