"""The networks of `enn_book.studies.molecule.models`, trained on ammonia, measured, and set in motion."""

import time
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from enn_book.studies.molecule.ammonia import HYDROGENS, MASSES, Ammonia, Geometries, load_ammonia
from enn_book.studies.molecule.analysis import power_spectrum, rmsd_distances
from enn_book.studies.molecule.models import VARIANTS, as_force_field, build_variant
from enn_book.studies.molecule.reference import TightBinding
from enn_book.studies.study import Outcome, Record, Records, Study, best
from enn_book.style import Table, table
from enn_lib.dynamics import Trajectory, rmsd_positions, simulate
from enn_lib.evaluation import predict, rmsd
from enn_lib.force_field import ForceField
from enn_lib.layers import unit_vectors
from enn_lib.network import ENN
from enn_lib.permutation import relabel
from enn_lib.settings import Config, build_optimiser
from enn_lib.training import fit

TUNED = "species"
"""The model on which the optimiser is chosen, for all."""

TRIALS = (("muon", 0.02), ("soap", 0.003), ("soap", 0.01), ("adam", 0.003))
"""Optimisers and rates that are tried on it."""

STEPS = 400
"""Of the optimiser in the comparison that comes with the book."""

LONGER = 5
"""By which factor the models that are shown at work are trained for longer."""

SHOWN = ("species", "energy")
"""They are one that gives forces directly, and one whose forces come from an energy."""

SEEDS = (0, 1, 2)

EVERY = 10
"""At each so-many-th of the stored times the networks' trajectories are compared with the true ones."""


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
        moves: whether the trained model then moves the molecule.
    """

    variant: str
    optimiser: str
    rate: float
    steps: int
    seed: int = 0
    batch_size: int = 250
    moves: bool = False

    @property
    def name(self) -> str:
        """Of its record."""
        return f"{self.variant}.{self.optimiser}.{self.rate:g}.{self.steps}.{self.seed}"


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


def train_variant(config: MoleculeConfig, data: Ammonia) -> tuple[nn.Module, dict]:
    """Train a model, and measure it.

    Returns:
        The model, and what was measured. That is ``parameters``; ``seconds`` of processor time for the
        training; ``losses``, means of a fiftieth of the steps each, without unit (of a linear model that of
        its solution); and of the model as it is used ``validation_rmsd``, ``test_rmsd`` and
        ``test_by_temperature``, eV/Å for a component. None stands for them where training diverged.

    Raises:
        ValueError: if a setting is out of range.
    """
    torch.set_num_threads(1)
    model = build_variant(config.variant, config.seed)
    inputs, targets = data.train.inputs(data.scales), data.train.targets(data.scales)
    if VARIANTS[config.variant].average:
        inputs, targets = renumbered(inputs, targets)
    measured = {"parameters": sum(p.numel() for p in model.parameters()), "losses": []}
    measured |= dict.fromkeys(("seconds", "validation_rmsd", "test_rmsd", "test_by_temperature"))
    settings = Config(optimiser=config.optimiser, learning_rate=config.rate)
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
                optimiser=lambda *_, **__: build_optimiser(settings, model),
                seed=config.seed,
            )
    except FloatingPointError:
        return model, measured
    seconds = round(time.process_time() - began, 1)
    pieces = torch.tensor(losses).tensor_split(min(50, len(losses)))
    field = as_force_field(config.variant, model, data.scales)
    return model, measured | {
        "seconds": seconds,
        "losses": [part.mean().item() for part in pieces],
        "validation_rmsd": rmsd(field, data.validation),
        "test_rmsd": rmsd(field, data.test),
        "test_by_temperature": by_temperature(field, data.test),
    }


def by_temperature(field: ForceField, geometries: Geometries) -> dict[str, float]:
    """The root mean square error of a component, eV/Å, by the temperature that made the geometries, K."""
    squared = (predict(field, geometries.positions, 250) - geometries.forces).square().mean(dim=(-1, -2))
    return {
        f"{kelvin:g}": squared[geometries.temperature == kelvin].mean().sqrt().item()
        for kelvin in geometries.temperature.unique().tolist()
    }


def trajectory_of(variant: str, model: nn.Module, data: Ammonia, times: int | None = None) -> Trajectory:
    """The starts of the stored trajectories, moved by a model in float64, at the same times.

    Args:
        variant: the model's name.
        model: trained; left as it is.
        data: whose starts, step and times are taken.
        times: how many of them; all if None.
    """
    every = round((data.dynamics.time[1] / data.dt).item())
    steps = ((len(data.dynamics.time) if times is None else times) - 1) * every
    field = as_force_field(variant, deepcopy(model).double(), data.scales)
    start = data.dynamics.positions[0], data.dynamics.velocities[0]
    return simulate(field, *start, steps, data.dt, mass=MASSES, every=every)


def tables_of(path: Trajectory, data: Ammonia, truth: TightBinding) -> dict[str, tuple[Sequence[str], list]]:
    """How far a model's trajectories are from the stored ones, their true energy, and their spectrum.

    Args:
        path: by a model, at the stored times.
        data: of the molecule.
        truth: gives the true energies.

    Returns:
        Columns and rows of two tables. "dynamics" has the RMSD of positions and of pair distances from the
        stored trajectories and, of each sample, the kinetic and true potential energy from the minimum;
        "spectrum" what `power_spectrum` returns.
    """
    apart = [measure(data.dynamics, path)[::EVERY] for measure in (rmsd_positions, rmsd_distances)]
    energies = path.kinetic_energy()[::EVERY] + truth.energy(path.positions[::EVERY])
    energies = energies - truth.energy(data.minimum)
    rows = torch.cat((torch.stack((path.time[::EVERY], *apart), dim=-1), energies), dim=1)
    columns = ["time_fs", "rmsd_A", "rmsd_distances_A", *(f"energy_{k}_eV" for k in range(energies.shape[1]))]
    spectrum = torch.stack(power_spectrum(path), dim=-1)
    return {
        "dynamics": (columns, rows.tolist()),
        "spectrum": (["wavenumber_per_cm", "density_cm"], spectrum.tolist()),
    }


def run_training(config: MoleculeConfig) -> Outcome:
    """Train and measure a model; on seed 0 its weights are kept, and if it `moves`, `tables_of` its motion.

    Raises:
        ValueError: if the optional extra ``molecule`` is missing.
    """
    truth = TightBinding()  # at once, since who lacks it should learn so before hours of training
    data = load_ammonia()
    model, measured = train_variant(config, data)
    return Outcome(
        measured,
        tables_of(trajectory_of(config.variant, model, data), data, truth) if config.moves else {},
        model.state_dict() if config.seed == 0 else None,
    )


def chosen(records: Records, steps: int = STEPS) -> tuple[str, float] | None:
    """The optimiser and rate with the least validation error on `TUNED`; None while a trial is missing."""
    names = [MoleculeConfig(TUNED, *trial, steps).name for trial in TRIALS]
    if set(names) - set(records):
        return None
    config = best(records[name] for name in names).config
    return config["optimiser"], config["rate"]


def plan(records: Records, length: float) -> dict[str, MoleculeConfig]:
    """What is run at `length` steps, in this order.

    First the optimiser is chosen. Then, seed by seed, every model is trained with it, and those shown at work
    for longer.
    """
    steps = max(1, int(length))
    wanted = [MoleculeConfig(TUNED, *trial, steps) for trial in TRIALS]
    choice = chosen(records, steps)
    if choice is not None:
        wanted += [
            MoleculeConfig(variant, *choice, n, seed, moves=n > steps and seed == 0)
            for seed in SEEDS
            for n, variants in ((steps, VARIANTS), (LONGER * steps, SHOWN))
            for variant in variants
        ]
    return {config.name: config for config in wanted}


def _is_kept(records: Records, record: Record) -> bool:
    """Weights of a trial go if another one is the best."""
    config = record.config
    return chosen(records, config["steps"]) in (None, (config["optimiser"], config["rate"]))


def over_seeds(records: Records, variant: str, *, longer: bool = False, steps: int = STEPS) -> list[Record]:
    """The records of a model at the chosen optimiser, one for each of `SEEDS`.

    They have `steps`, or if `longer` is true, as for the models shown at work, `LONGER` times as many.

    Raises:
        ValueError: if a trial is missing.
        KeyError: if one of these records is.
    """
    choice = chosen(records, steps)
    if choice is None:
        raise ValueError(f"{records.folder}: got {len(records)} records, wanted all trials of {steps} steps")
    n = LONGER * steps if longer else steps
    return [records[MoleculeConfig(variant, *choice, n, seed).name] for seed in SEEDS]


def load_model(record: Record) -> nn.Module:
    """The trained model of a record.

    Raises:
        FileNotFoundError: if its weights were not kept.
    """
    model = build_variant(record.config["variant"])
    model.load_state_dict(record.weights())
    return model


def summary(records: Records) -> Table:
    """The errors of every record."""
    keys = ("parameters", "seconds", "validation_rmsd", "test_rmsd")
    rows = [
        [f"`{name}`", *(r[key] for key in keys), (r["test_by_temperature"] or {}).get("300")]
        for name, r in records.items()
    ]
    columns = ["record", "parameters", "seconds", "validation (eV/Å)", "test (eV/Å)", "test at 300 K (eV/Å)"]
    return table(columns, rows)


STUDY = Study(
    question="Can the ENN learn a real molecule, and what do scalar features, averaging and an energy add?",
    plan=plan,
    run=run_training,
    length=STEPS,
    unit="steps of the optimiser",
    summary=summary,
    keeps=_is_kept,
)
