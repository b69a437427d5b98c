r"""The quantum chemistry, and the data made with it.

GFN2-xTB is a tight-binding approximation of density functional theory (Bannwarth, Ehlert and Grimme 2019):
electrons in a minimal basis, charges converged self-consistently, forces as exact gradients of the energy. It
takes milliseconds for ammonia, and is what the networks are to learn; how far it is from nature is not asked.

``python -m enn_book.studies.molecule.reference --out FILE`` makes the data anew. Needs the optional extra
``molecule`` (tblite).
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms, FixedPlane
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import Stationary, ZeroRotation, thermalize_momenta
from ase.optimize import BFGS
from torch import Tensor
from tqdm import tqdm

from enn_book.studies.molecule.ammonia import COMMAND, MASSES, PARTS, SYMBOLS
from enn_book.studies.molecule.analysis import harmonic_frequencies
from enn_lib.__main__ import run
from enn_lib.argon import check_positions
from enn_lib.dynamics import simulate
from enn_lib.storage import save_tensors

METHOD = "GFN2-xTB"

ACCURACY = 0.01
"""Thresholds of the self-consistency are this times tblite's own, so that forces are smooth."""


class TightBinding:
    """A molecule in GFN2-xTB as a force field with an energy.

    Attributes:
        symbols: of the atoms.
    """

    def __init__(self, symbols: Sequence[str] = SYMBOLS):
        """Make it.

        Raises:
            ValueError: if the optional extra is missing.
        """
        try:  # optional: only who makes such data needs it
            from tblite.ase import TBLite
        except ImportError as error:
            raise ValueError(
                f"molecule: got no tblite, wanted the extra, pip install 'enn-lib[molecule]' ({error})"
            ) from error
        self.symbols = tuple(symbols)
        self._calculator = TBLite(method=METHOD, accuracy=ACCURACY, verbosity=0)

    def atoms(self, positions: Tensor) -> Atoms:
        """The molecule for ASE, with this as its calculator: positions ``(atoms, 3)`` in Å."""
        return Atoms(self.symbols, positions.numpy(), calculator=self._calculator)

    def evaluate(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Energies (eV, ``(...)``) and forces (eV/Å) at positions ``(..., atoms, 3)`` in Å, one by one.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        check_positions(positions, len(self.symbols))
        energies, forces = [], []
        for one in positions.reshape(-1, *positions.shape[-2:]).double():
            atoms = self.atoms(one)
            forces.append(torch.from_numpy(atoms.get_forces()))
            energies.append(atoms.get_potential_energy())
        energies = torch.tensor(energies, dtype=positions.dtype).reshape(positions.shape[:-2])
        return energies, torch.stack(forces).reshape(positions.shape).to(positions.dtype)

    def energy(self, positions: Tensor) -> Tensor:
        """Energies, eV: positions ``(..., atoms, 3)`` in Å -> ``(...)``."""
        return self.evaluate(positions)[0]

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., atoms, 3)`` in Å -> the same shape."""
        return self.evaluate(positions)[1]


@dataclass(frozen=True)
class DataConfig:
    """What determines the data.

    Attributes:
        temperatures: of the thermostats, K.
        trajectories: how many at each temperature, for training, validation and test.
        snapshots: of each trajectory.
        spacing: steps of 1 fs between two of them.
        settle: steps before the first.
        friction: of the thermostat, 1/fs.
        displaced: how many geometries beside the path of inversion, for training, validation and test.
        displacement: the standard deviation of every coordinate of theirs, Å.
        path_points: from the plane to `path_end` times the height of the minimum.
        path_end: see `path_points`.
        samples: trajectories without a thermostat.
        sample_temperature: of their initial velocities, K.
        steps: of theirs.
        dt: of theirs, fs.
        every: which of their steps are stored.
        seed: of everything.
    """

    temperatures: tuple[float, ...] = (300.0, 600.0, 1000.0)
    trajectories: tuple[int, int, int] = (5, 1, 2)
    snapshots: int = 150
    spacing: int = 20
    settle: int = 500
    friction: float = 0.02
    displaced: tuple[int, int, int] = (600, 120, 240)
    displacement: float = 0.05
    path_points: int = 31
    path_end: float = 1.3
    samples: int = 5
    sample_temperature: float = 300.0
    steps: int = 6000
    dt: float = 0.5
    every: int = 4
    seed: int = 17


def relaxed(atoms: Atoms) -> Tensor:
    """Positions of least energy, Å, ``(atoms, 3)``, of the atoms with their constraints."""
    BFGS(atoms, logfile=None).run(fmax=1e-5, steps=500)
    return torch.from_numpy(atoms.positions.copy())


def inversion_path(field: TightBinding, minimum: Tensor, points: int, end: float) -> Tensor:
    """The umbrella from the plane outwards, Å, ``(points, 4, 3)``, its axis along z.

    The nitrogen is held above the plane of the hydrogens, which relax within it; heights are even, from 0 to
    `end` times that of `minimum`.
    """
    nitrogen, hydrogens = minimum[0], minimum[1:]
    side = (hydrogens - hydrogens.mean(dim=0)).norm(dim=-1).mean()
    height = (nitrogen - hydrogens.mean(dim=0)).norm()
    angles = torch.arange(3, dtype=torch.float64) * 2 * torch.pi / 3
    ring = side * torch.stack((angles.cos(), angles.sin(), torch.zeros(3)), dim=-1)
    path = []
    for h in torch.linspace(0, 1, points, dtype=torch.float64) * end * height:
        atoms = field.atoms(torch.cat((torch.stack((h * 0, h * 0, h)).unsqueeze(0), ring)))
        atoms.set_constraint([FixAtoms([0]), FixedPlane([1, 2, 3], (0, 0, 1))])
        path.append(relaxed(atoms))
    return torch.stack(path)


def snapshots(
    field: TightBinding, start: Tensor, temperature: float, config: DataConfig, seed: int
) -> Tensor:
    """Positions along a trajectory with a thermostat, Å, ``(config.snapshots, atoms, 3)``, centred."""
    rng = np.random.default_rng(seed)
    atoms = field.atoms(start)
    thermalize_momenta(atoms, temperature_K=temperature, rng=rng)
    friction = config.friction / units.fs
    thermostat = Langevin(
        atoms, timestep=units.fs, temperature_K=temperature, friction=friction, fixcm=False, rng=rng
    )
    thermostat.run(config.settle)
    kept = []
    for _ in range(config.snapshots):
        thermostat.run(config.spacing)
        kept.append(torch.from_numpy(atoms.positions - atoms.positions.mean(axis=0)))
    return torch.stack(kept)


def displaced(path: Tensor, count: int, sigma: float, seed: int) -> Tensor:
    """Points of a path drawn at random, every coordinate displaced by a Gaussian, Å, ``(count, 4, 3)``."""
    generator = torch.Generator().manual_seed(seed)
    points = path[torch.randint(len(path), (count,), generator=generator)]
    moved = points + sigma * torch.randn(points.shape, dtype=points.dtype, generator=generator)
    return moved - moved.mean(dim=-2, keepdim=True)


def start_velocities(field: TightBinding, minimum: Tensor, config: DataConfig) -> Tensor:
    """Initial velocities, Å/fs, ``(samples, 4, 3)``: thermal, without net momentum or angular momentum.

    What these had is given back to the vibrations, so that their mean energy at the minimum, all of it
    kinetic, is that of twelve degrees of freedom: k_B T for each of six vibrations.
    """
    rng = np.random.default_rng(config.seed)
    velocities = []
    for _ in range(config.samples):
        atoms = field.atoms(minimum)
        thermalize_momenta(atoms, temperature_K=config.sample_temperature, rng=rng)
        Stationary(atoms)
        ZeroRotation(atoms)
        velocities.append(torch.from_numpy(atoms.get_velocities() * units.fs))
    return torch.stack(velocities)


def make_data(file: Path, config: DataConfig = DataConfig()) -> None:
    """Make the data of `load_ammonia` and write them to one safetensors file, in a few minutes.

    Positions and forces are stored in float32, energies in float64.

    Args:
        file: to write, over one that is there.
        config: what is made.

    Raises:
        ValueError: if the optional extra is missing.
    """
    field = TightBinding()
    minimum = relaxed(field.atoms(torch.from_numpy(molecule("NH3").positions)))
    minimum = minimum - minimum.mean(dim=0)
    zero = field.energy(minimum)
    path = inversion_path(field, minimum, config.path_points, config.path_end)
    path = path - path.mean(dim=-2, keepdim=True)
    tensors = {"minimum": minimum, "frequencies": harmonic_frequencies(field, minimum, SYMBOLS)[6:]}
    number = 0
    with tqdm(total=len(config.temperatures) * sum(config.trajectories), unit="trajectory") as bar:
        for k, part in enumerate(PARTS):
            positions, temperature, trajectory = [], [], []
            for kelvin in config.temperatures:
                for _ in range(config.trajectories[k]):
                    positions.append(snapshots(field, minimum, kelvin, config, config.seed + number))
                    temperature += [kelvin] * config.snapshots
                    trajectory += [number] * config.snapshots
                    number += 1
                    bar.update()
            count = config.displaced[k]
            positions.append(displaced(path, count, config.displacement, config.seed + number))
            temperature += [0.0] * count
            trajectory += [number] * count
            number += 1
            tensors |= _labelled(field, part, torch.cat(positions), zero, temperature, trajectory)
    tensors |= _labelled(field, "path", path, zero, [0.0] * len(path), [number] * len(path))
    start = minimum.expand(config.samples, -1, -1)
    velocities = start_velocities(field, minimum, config)
    # Rounded before, so that the stored start is the one it ran from.
    start, velocities = start.float().double(), velocities.float().double()
    moved = simulate(field, start, velocities, config.steps, config.dt, mass=MASSES, every=config.every)
    tensors |= {
        "dynamics.time": moved.time,
        "dynamics.positions": moved.positions.float(),
        "dynamics.velocities": moved.velocities.float(),
        "dynamics.energies": field.energy(moved.positions) - zero,
    }
    provenance = {
        "molecule": "ammonia, " + " ".join(SYMBOLS),
        "method": f"{METHOD}, accuracy {ACCURACY}",
        "made_by": COMMAND,
        "energy_zero": f"{zero.item():.10f} eV",
        "versions": ", ".join(f"{name} {version(name)}" for name in ("tblite", "ase", "torch", "numpy")),
        **{name: str(value) for name, value in asdict(config).items()},
    }
    save_tensors(file, tensors, provenance)


def _labelled(field, part, positions, zero, temperature, trajectory) -> dict[str, Tensor]:
    """The tensors of a part. Positions are rounded first: forces and energies belong to what is stored."""
    positions = positions.float()
    energies, forces = field.evaluate(positions.double())
    return {
        f"{part}.positions": positions,
        f"{part}.forces": forces.float(),
        f"{part}.energies": energies - zero,
        f"{part}.temperature": torch.tensor(temperature, dtype=torch.float32),
        f"{part}.trajectory": torch.tensor(trajectory, dtype=torch.int16),
    }


def main(arguments: list[str] | None = None) -> int:
    """Make the data by a command line; return its exit status."""
    top = argparse.ArgumentParser(
        prog=COMMAND,
        description="Sample geometries of ammonia by thermostats, its inversion and a few trajectories, all "
        "by GFN2-xTB, and write them as one file, in some minutes. Needs the extra molecule (tblite).",
    )
    top.add_argument("--out", required=True, type=Path, help="the file to write, ending in .safetensors")
    top.set_defaults(function=lambda parsed: make_data(parsed.out))
    return run(top, arguments)


if __name__ == "__main__":
    sys.exit(main())
