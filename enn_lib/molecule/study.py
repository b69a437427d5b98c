"""The networks of `enn_lib.molecule.models`, trained and measured.

``python -m enn_lib molecule --out DIR`` repeats it; `load_study` reads the one that comes with the library.
"""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from enn_lib.dynamics import Trajectory, rmsd_positions, simulate
from enn_lib.evaluation import predict
from enn_lib.fit import fit
from enn_lib.force_field import ForceField
from enn_lib.layers import unit_vectors
from enn_lib.molecule.ammonia import HYDROGENS, MASSES, Ammonia, Geometries, load_ammonia
from enn_lib.molecule.analysis import power_spectrum, rmsd_distances
from enn_lib.molecule.models import VARIANTS, as_force_field, build_variant
from enn_lib.molecule.reference import TightBinding
from enn_lib.network import ENN
from enn_lib.permutation import relabel
from enn_lib.storage import load_tensors, read_json, save_tensors, write_csv, write_json
from enn_lib.training import Config, build_optimiser, provenance

SHIPPED_STUDY = Path(__file__).parents[1] / "studies" / "molecule"

TUNED = "species"
"""The model on which the optimiser is chosen, for all."""

TRIALS = (("muon", 0.02), ("soap", 0.003), ("soap", 0.01), ("adam", 0.003))
"""Optimisers and rates that are tried on it."""

STEPS = 6000
"""Of the optimiser in the comparison, if the command is not told otherwise."""

LONGER = 5
"""By which factor the models that are shown at work are trained for longer."""

SHOWN = ("species", "energy")
"""They are one that gives forces directly, and one whose forces come from an energy."""

SEEDS = (0, 1, 2)

EVERY = 10
"""At each so-many-th of the stored times the networks' trajectories are compared with the true ones."""

Record = dict
"""What a file of the study holds, ``config``, what `train_variant` measured, and ``provenance``."""


@dataclass(frozen=True)
class MoleculeConfig:
    """What determines a training.

    Attributes:
        variant: a name in `VARIANTS`.
        optimiser: "adam", "muon" or "soap" (optional extra ``soap``).
        rate: the learning rate at the start; it goes down to zero along a cosine.
        steps: of the optimiser.
        seed: of the weights and the batches.
        batch_size: geometries a step.
    """

    variant: str
    optimiser: str
    rate: float
    steps: int
    seed: int = 0
    batch_size: int = 250

    @property
    def file(self) -> str:
        """A name for its files, without suffix."""
        return f"{self.variant}.{self.optimiser}.{self.rate:g}.{self.steps}.{self.seed}"


def rmsd(field: ForceField, geometries: Geometries) -> float:
    """The root mean square error of a force component, eV/Å."""
    return (predict(field, geometries.positions, 250) - geometries.forces).square().mean().sqrt().item()


def renumbered(inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The training data in all six numberings of the hydrogens: ``(N, ...)`` -> ``(6 N, ...)``."""
    copies = [relabel(inputs, targets, g) for g in range(len(HYDROGENS))]
    return tuple(torch.cat(part) for part in zip(*copies, strict=True))


@torch.no_grad()
def solve_layer(model: ENN, inputs: Tensor, targets: Tensor) -> float:
    """Give an `ENN` of one layer the parameters of least squared error, and return its mean square.

    The layer is linear in them: [x, e] [W; b] (Eq. 6) is to be the targets. Of six relative vectors only
    three are independent, so that many W serve; it is the least one.
    """
    (layer,) = model.layers
    features = torch.cat((inputs, unit_vectors(inputs, layer.softening)), dim=-1)
    rows = [x.double().flatten(0, 1) for x in (features, targets)]
    layer.stacked.copy_(torch.linalg.lstsq(*rows, rcond=1e-5, driver="gelsd").solution)
    return (model(inputs) - targets).square().mean().item()


def train_variant(config: MoleculeConfig, data: Ammonia | None = None) -> tuple[nn.Module, dict]:
    """Train a model, and measure it.

    Args:
        config: of the training.
        data: the shipped ones if not given.

    Returns:
        The model, and what was measured. That is ``parameters``; ``seconds`` of processor time for the
        training; ``losses``, means of a fiftieth of the steps each, without unit (of a linear model that of
        its solution); and of the model as it is used ``validation_rmsd``, ``test_rmsd`` and
        ``test_by_temperature``, eV/Å for a component. None stands for them where training diverged.

    Raises:
        ValueError: if a setting is out of range.
    """
    torch.set_num_threads(1)
    data = load_ammonia() if data is None else data
    model = build_variant(config.variant, config.seed)
    inputs, targets = data.train.inputs(data.scales), data.train.targets(data.scales)
    if VARIANTS[config.variant].average:
        inputs, targets = renumbered(inputs, targets)
    measured = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "seconds": None,
        "losses": [],
        "validation_rmsd": None,
        "test_rmsd": None,
        "test_by_temperature": None,
    }
    began = time.process_time()
    try:
        if VARIANTS[config.variant].is_linear:
            losses = [solve_layer(model, inputs, targets)]
        else:
            losses = fit(
                model,
                inputs,
                targets,
                steps=config.steps,
                batch_size=config.batch_size,
                learning_rate=config.rate,
                optimiser=lambda _, lr: build_optimiser(
                    Config(optimiser=config.optimiser, learning_rate=lr), model
                ),
                seed=config.seed,
            )
    except FloatingPointError:
        return model, measured
    measured["seconds"] = round(time.process_time() - began, 1)
    pieces = torch.tensor(losses).tensor_split(min(50, len(losses)))
    measured["losses"] = [part.mean().item() for part in pieces]
    field = as_force_field(config.variant, model, data.scales)
    measured["validation_rmsd"] = rmsd(field, data.validation)
    measured["test_rmsd"] = rmsd(field, data.test)
    measured["test_by_temperature"] = by_temperature(field, data.test)
    return model, measured


def by_temperature(field: ForceField, geometries: Geometries) -> dict[str, float]:
    """The root mean square error of a component, eV/Å, by the temperature that made the geometries, K."""
    squared = (predict(field, geometries.positions, 250) - geometries.forces).square().mean(dim=(-1, -2))
    return {
        f"{kelvin:g}": squared[geometries.temperature == kelvin].mean().sqrt().item()
        for kelvin in geometries.temperature.unique().tolist()
    }


def read_records(folder: Path = SHIPPED_STUDY) -> list[Record]:
    """All records of a folder, in the order of their names."""
    return [read_json(file) for file in sorted(folder.glob("*.json"))]


def best_trial(records: Sequence[Record], steps: int) -> tuple[str, float] | None:
    """The optimiser and rate with the least validation error on `TUNED`; None if one is still missing."""
    errors = {}
    for record in records:
        config = record["config"]
        if (config["variant"], config["steps"], config["seed"]) == (TUNED, steps, 0):
            errors[config["optimiser"], config["rate"]] = record["validation_rmsd"] or float("inf")
    return None if set(TRIALS) - set(errors) else min(TRIALS, key=errors.get)


def plan(folder: Path, steps: int = STEPS) -> list[MoleculeConfig]:
    """What is missing in a folder, in the order in which it is run.

    First the optimiser is chosen. Then every model is trained with it on seed 0, and those shown at work for
    longer; then the same on the other seeds, the latter first.
    """
    wanted = [MoleculeConfig(TUNED, *trial, steps) for trial in TRIALS]
    best = best_trial(read_records(folder), steps)
    if best is not None:
        wanted += [MoleculeConfig(name, *best, steps) for name in VARIANTS]
        wanted += [MoleculeConfig(name, *best, LONGER * steps, seed) for seed in SEEDS for name in SHOWN]
        wanted += [MoleculeConfig(name, *best, steps, seed) for seed in SEEDS for name in VARIANTS]
    # Some are wanted twice: the chosen trial is one of the comparison, too.
    return [c for c in dict.fromkeys(wanted) if not (folder / f"{c.file}.json").exists()]


def run_molecule(folder: Path, budget: float | None = None, steps: int = STEPS) -> None:
    """Run what is missing in `folder`; the same command goes on from there.

    Every training leaves a record ``....json``, and on seed 0 its weights; a model shown at work then also
    ``....dynamics.csv`` and ``....spectrum.csv``, what `write_dynamics` finds along its trajectories.

    Args:
        folder: made if it does not exist.
        budget: begin no training after so many minutes of this session; None for no limit.
        steps: of the comparison.

    Raises:
        ValueError: if the optional extra ``molecule`` is missing.
    """
    truth = TightBinding()
    folder.mkdir(parents=True, exist_ok=True)
    data = load_ammonia()
    began = time.perf_counter()
    with tqdm(unit="training") as bar:
        while waiting := plan(folder, steps):
            if budget is not None and time.perf_counter() - began > 60 * budget:
                break
            config = waiting[0]
            bar.total = bar.n + len(waiting)
            bar.set_postfix_str(config.file)
            model, measured = train_variant(config, data)
            if config.seed == 0:
                metadata = {"variant": config.variant}
                save_tensors(folder / f"{config.file}.safetensors", model.state_dict(), metadata)
            if config.steps == LONGER * steps and config.seed == 0:
                write_dynamics(folder / config.file, config.variant, model, data, truth)
            write_json(
                folder / f"{config.file}.json",
                {"config": asdict(config), **measured, "provenance": provenance()},
            )
            bar.update()
    drop_unchosen(folder, steps)


def drop_unchosen(folder: Path, steps: int) -> None:
    """Remove the weights of trials that are not the best, where all were made."""
    best = best_trial(read_records(folder), steps)
    for trial in TRIALS:
        if best is not None and trial != best:
            (folder / f"{MoleculeConfig(TUNED, *trial, steps).file}.safetensors").unlink(missing_ok=True)


def trajectory_of(variant: str, model: nn.Module, data: Ammonia, records: int | None = None) -> Trajectory:
    """The starts of the stored trajectories, moved by a model in float64, at the same times.

    Args:
        variant: the model's name.
        model: trained; left as it is.
        data: whose starts, step and times are taken.
        records: how many of the times; all if None.
    """
    every = round((data.dynamics.time[1] / data.dt).item())
    return simulate(
        as_force_field(variant, deepcopy(model).double(), data.scales),
        data.dynamics.positions[0],
        data.dynamics.velocities[0],
        ((len(data.dynamics.time) if records is None else records) - 1) * every,
        data.dt,
        mass=MASSES,
        every=every,
    )


def write_dynamics(stem: Path, variant: str, model: nn.Module, data: Ammonia, truth: TightBinding) -> None:
    """Move the molecule by a model, and write how far it is from the truth, its energy and its spectrum.

    ``....dynamics.csv`` has the RMSD of positions and of pair distances from the stored trajectories and, of
    each sample, the kinetic and true potential energy from the minimum; ``....spectrum.csv`` what
    `power_spectrum` returns.

    Args:
        stem: of the files.
        variant: the model's name.
        model: trained.
        data: of the molecule.
        truth: gives the true energies.
    """
    path = trajectory_of(variant, model, data)
    apart = [measure(data.dynamics, path)[::EVERY] for measure in (rmsd_positions, rmsd_distances)]
    energies = path.kinetic_energy()[::EVERY] + truth.energy(path.positions[::EVERY])
    energies = energies - truth.energy(data.minimum)
    table = torch.cat((torch.stack((path.time[::EVERY], *apart), dim=-1), energies), dim=1)
    columns = ["time_fs", "rmsd_A", "rmsd_distances_A", *(f"energy_{k}_eV" for k in range(energies.shape[1]))]
    write_csv(stem.with_name(f"{stem.name}.dynamics.csv"), columns, table.tolist())
    spectrum = torch.stack(power_spectrum(path), dim=-1)
    write_csv(
        stem.with_name(f"{stem.name}.spectrum.csv"), ["wavenumber_per_cm", "density_cm"], spectrum.tolist()
    )


def load_model(config: MoleculeConfig, folder: Path = SHIPPED_STUDY) -> nn.Module:
    """The trained model of a configuration.

    Raises:
        FileNotFoundError: if its weights are not in the folder.
    """
    model = build_variant(config.variant, config.seed)
    model.load_state_dict(load_tensors(folder / f"{config.file}.safetensors")[0])
    return model


@dataclass(frozen=True)
class Study:
    """The records at the chosen optimiser.

    Attributes:
        steps: of the comparison.
        optimiser: the chosen one.
        rate: its learning rate.
        compared: by model, over seeds.
        shown: the models trained for longer, by name, over seeds.
    """

    steps: int
    optimiser: str
    rate: float
    compared: dict[str, list[Record]]
    shown: dict[str, list[Record]]

    def config(self, name: str, *, longer: bool = True) -> MoleculeConfig:
        """The training of a model on seed 0, for `load_model`."""
        return MoleculeConfig(name, self.optimiser, self.rate, self.steps * (LONGER if longer else 1))


def load_study(folder: Path = SHIPPED_STUDY) -> Study:
    """The records with the most steps at which the comparison is complete on seed 0.

    Raises:
        ValueError: if it is at none.
    """
    records = read_records(folder)
    for steps in sorted({record["config"]["steps"] for record in records}, reverse=True):
        best = best_trial(records, steps)
        if best is None:
            continue

        def over_seeds(name: str, length: int, best=best) -> list[Record]:
            wanted = [asdict(MoleculeConfig(name, *best, length, seed)) for seed in SEEDS]
            return [record for record in records if record["config"] in wanted]

        compared = {name: over_seeds(name, steps) for name in VARIANTS}
        shown = {name: over_seeds(name, LONGER * steps) for name in SHOWN}
        if all(found and found[0]["config"]["seed"] == 0 for found in (*compared.values(), *shown.values())):
            return Study(steps, *best, compared, shown)
    raise ValueError(f"{folder}: got {len(records)} records, wanted a comparison that is complete on seed 0")
