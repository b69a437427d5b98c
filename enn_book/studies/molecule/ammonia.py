"""Ammonia, and the data that come with the book: geometries, the inversion, a few trajectories.

`enn_book.studies.molecule.reference` makes them anew. Units: Å, eV, eV/Å, fs, Å/fs and u.
"""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from ase.data import atomic_masses, atomic_numbers
from torch import Tensor

from enn_lib.argon import Configurations, Scales, scales_of
from enn_lib.dynamics import Trajectory
from enn_lib.permutation import S4
from enn_lib.storage import load_tensors

SYMBOLS = ("N", "H", "H", "H")
"""The atoms, in the order of every tensor."""

MASSES = torch.tensor([atomic_masses[atomic_numbers[s]] for s in SYMBOLS], dtype=torch.float64)
"""Their masses, u, ``(4,)``."""

HYDROGENS = S4[S4[:, 0] == 0]
"""The permutations of ammonia's like atoms, S3, ``(6, 4)``; the nitrogen stays atom 0."""

DATA_FILE = Path(__file__).with_name("ammonia.safetensors")

COMMAND = "python -m enn_book.studies.molecule.reference"
"""What made the data."""

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


def load_ammonia(file: Path = DATA_FILE) -> Ammonia:
    """Read data that `enn_book.studies.molecule.reference.make_data` wrote, by default those of the book.

    Raises:
        ValueError: if the file is no such data.
    """
    tensors, provenance = load_tensors(file)
    tensors = {name: t.double() if t.is_floating_point() else t for name, t in tensors.items()}
    try:
        geometries = {
            part: Geometries(**{field.name: tensors[f"{part}.{field.name}"] for field in fields(Geometries)})
            for part in (*PARTS, "path")
        }
        dynamics = [tensors[f"dynamics.{name}"] for name in ("time", "positions", "velocities")]
        return Ammonia(
            **geometries,
            scales=scales_of(geometries["train"]),
            minimum=tensors["minimum"],
            frequencies=tensors["frequencies"],
            dynamics=Trajectory(*dynamics, MASSES),
            dynamics_energies=tensors["dynamics.energies"],
            dt=float(provenance["dt"]),
            provenance=provenance,
        )
    except KeyError as error:
        raise ValueError(f"{file}: got no {error}, wanted data of {COMMAND}") from error
