"""Energies, deviations and heat under every force field of the book, over up to 100,000 steps.

``python -m enn_lib long-run --out DIR`` repeats the study, three tables for each force field, and
`load_long_run` reads the one that comes with the library.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from enn_lib.argon import ARGON, Scales, generate_data, largest_distance, smallest_distance
from enn_lib.chaos import Watched, deviation_without_amplification, energy_drift
from enn_lib.conservative import EnergyENN, EnergyForceField
from enn_lib.diagnostics import TrainingRange
from enn_lib.dynamics import (
    PAPER_POSITIONS,
    Trajectory,
    VelocityVerlet,
    kinetic_energy,
    paper_initial_conditions,
    rmsd_positions,
    simulate,
    thermal_velocities,
)
from enn_lib.fit import fit
from enn_lib.force_field import ForceField
from enn_lib.peers.study import load_peer
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import load_run
from enn_lib.storage import load_tensors, read_csv, save_tensors, write_missing_csv

SHIPPED_LONG_RUN = Path(__file__).parent / "studies" / "long_run"

STEPS = 100_000
"""Of 1 fs each, for the energies."""

EVERY = 100
"""Steps between two energies."""

N_SAMPLES = 3
"""Starts as in sec. 4.3, with other velocities, from one seed."""

GROWTH_STEPS = 4000
"""Of 1 fs each, for the deviations; sec. 4.3 calls Fig. 4 acceptable up to here."""

GROWTH_EVERY = 20
"""Steps between two deviations."""

TEMPERATURES = (10, 20, 40, 80, 160, 320, 640, 1280)
"""Of the starts that are heated, K."""

HEAT_STEPS = 1500
"""Of 1 fs each, at each temperature."""

ENERGY_STEPS = 600
"""Of the training of the energy model."""

PEERS_FOLLOWED = (
    "enn",
    "perceptron-rotated",
    "vector-neurons",
    "egnn",
    "painn",
    "scalars",
    "enn-softened-s4",
)
"""The models of `enn_lib.peers` that are followed, each as chosen in that study, of equal time."""


ENERGY_WEIGHTS = "energy-model.safetensors"
"""The file of the energy model. Its training is repeated to rounding only, and its motion amplifies that."""


def _untrained_energy_model() -> EnergyENN:
    return EnergyENN((6, 32, 32), 32, softening=0.3)


def train_energy_model(path: Path, steps: int = ENERGY_STEPS, n_configurations: int = 20_000) -> None:
    """Train a small `EnergyENN` for some seconds, as on the page on limits, and write its weights and scales.

    Args:
        path: of the safetensors file; its folder is made if it does not exist.
        steps: of the training.
        n_configurations: of the data, 60 % of which train.
    """
    data = generate_data(n_configurations)
    model = _untrained_energy_model()
    inputs, targets = data.train.inputs(data.scales), data.train.targets(data.scales)
    fit(model, inputs, targets, steps=steps, batch_size=500)
    path.parent.mkdir(parents=True, exist_ok=True)
    scales = {"position_scale": repr(data.scales.position), "force_scale": repr(data.scales.force)}
    save_tensors(path, model.state_dict(), scales)


def energy_model(folder: Path = SHIPPED_LONG_RUN) -> EnergyForceField:
    """The small `EnergyENN` of a study in float64: conservative, less accurate.

    Raises:
        FileNotFoundError: if the folder has no such model.
        ValueError: if its file is damaged.
    """
    weights, scales = load_tensors(folder / ENERGY_WEIGHTS)
    model = _untrained_energy_model()
    model.load_state_dict(weights)
    return EnergyForceField(
        model.to(torch.float64), Scales(float(scales["position_scale"]), float(scales["force_scale"]))
    )


def _run(name: str, average: bool) -> ForceField:
    field = load_run(name).force_field
    return PermutationAverage(field) if average else field


FIELDS: dict[str, Callable[[], ForceField]] = {
    "analytic": lambda: ARGON,
    "reference": partial(_run, "reference", False),
    "softened": partial(_run, "softened", False),
    "reference-s4": partial(_run, "reference", True),
    "softened-s4": partial(_run, "softened", True),
    "energy-model": energy_model,
    **{peer: partial(load_peer, peer) for peer in PEERS_FOLLOWED},
}
"""What makes each force field, the shipped runs alone and averaged over S4, an energy's model, and peers."""


def follow(
    force_field: ForceField, steps: int = STEPS, samples: int = N_SAMPLES, every: int = EVERY
) -> list[tuple[float, ...]]:
    """Move the atoms from the start of sec. 4.3, and look at the start and after each `every` steps.

    A sample that is lost (see `enn_lib.chaos.Watched`) has the energy NaN from then on; where all are
    lost, the table ends with the first row that says so.

    Returns:
        Rows of the step; the true total energy (Eq. 47) of every sample, eV; and the least and the
        greatest distance of a pair in all samples that are left, Å, at this step.
    """
    integrator = VelocityVerlet(Watched(force_field))
    r, v = paper_initial_conditions(samples)
    f = force_field.forces(r)
    rows: list[tuple[float, ...]] = []
    for step in tqdm(range(steps + 1), unit="step"):
        if step % every == 0:
            kept = (r.isfinite() & v.isfinite()).all(dim=-1).all(dim=-1)
            energy = torch.full((samples,), math.nan, dtype=r.dtype)
            energy[kept] = kinetic_energy(v[kept]) + ARGON.energy(r[kept])
            if not kept.any():
                return [*rows, (step, *energy.tolist(), math.nan, math.nan)]
            shortest, longest = smallest_distance(r[kept]).min(), largest_distance(r[kept]).max()
            rows.append((step, *energy.tolist(), shortest.item(), longest.item()))
        r, v, f = integrator.step(r, v, f)
    return rows


def grow(
    force_field: ForceField,
    steps: int = GROWTH_STEPS,
    samples: int = N_SAMPLES,
    every: int = GROWTH_EVERY,
) -> list[tuple[float, ...]]:
    """Deviations from the true dynamics, and what the errors of the forces alone would add up to.

    Returns:
        Rows of the step; the deviation of every sample, Å, as Eq. 48 for it alone, NaN once it is lost;
        and of every sample `deviation_without_amplification`, Å.
    """
    start = paper_initial_conditions(samples)
    true, path = (simulate(field, *start, steps) for field in (ARGON, Watched(force_field)))
    real = [rmsd_positions(_sample(true, k), _sample(path, k)) for k in range(samples)]
    added = [deviation_without_amplification(_sample(true, k), force_field) for k in range(samples)]
    table = torch.stack((*real, *added), dim=-1)[::every]
    return [(every * k, *row) for k, row in enumerate(table.tolist())]


def _sample(trajectory: Trajectory, k: int) -> Trajectory:
    """One sample of a trajectory, as a trajectory of one."""
    r, v = (part[:, k : k + 1] for part in (trajectory.positions, trajectory.velocities))
    return Trajectory(trajectory.time, r, v, trajectory.mass)


def heat(
    force_field: ForceField,
    steps: int = HEAT_STEPS,
    samples: int = N_SAMPLES,
    temperatures: Sequence[float] = TEMPERATURES,
) -> list[tuple[float, ...]]:
    """The share of time outside of the training range (`TrainingRange`), from the positions of sec. 4.3.

    Returns:
        Rows of the temperature of the start, K; the share of time of every sample with a pair that is
        too close; and with one that is too far, where a lost sample counts as too far.
    """
    known = TrainingRange.of(generate_data().train)
    velocities = [thermal_velocities(samples, temperature=t, seed=k) for k, t in enumerate(temperatures)]
    start = PAPER_POSITIONS.expand(len(temperatures) * samples, -1, -1).clone()
    path = simulate(Watched(force_field), start, torch.cat(velocities), steps, every=5).positions
    close, far = (
        outside.double().mean(dim=0).unflatten(0, (len(temperatures), samples))
        for outside in (known.too_close(path), known.too_far(path))
    )
    return [(t, *row) for t, row in zip(temperatures, torch.cat((close, far), dim=1).tolist(), strict=True)]


def _each(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{k}" for k in range(N_SAMPLES))


MEASURES: dict[str, tuple[tuple[str, ...], Callable[[ForceField], list[tuple[float, ...]]]]] = {
    "growth": (("step", *_each("real"), *_each("added")), grow),
    "heat": (("temperature", *_each("close"), *_each("far")), heat),
    "energy": (("step", *_each("energy"), "shortest", "longest"), follow),
}
"""What is measured of each force field, as the columns of its table and what makes the rows."""


@dataclass(frozen=True)
class Outcome:
    """What became of one sample of a table of energies.

    Attributes:
        lost: the time of the first row in which it was lost, fs; None if it was there to the end.
        change: the largest change of its true total energy until then, eV.
        drift: the slope of its energy until then, eV/ns; NaN if there are fewer than two rows.
    """

    lost: float | None
    change: float
    drift: float


def outcomes(table: dict[str, list[float]]) -> list[Outcome]:
    """What became of each sample of an energy table of `load_long_run`."""
    time = torch.tensor(table["step"], dtype=torch.float64)
    found = []
    for name, column in table.items():
        if name.startswith("energy_"):
            energy = torch.tensor(column, dtype=torch.float64)
            kept = int(energy.isnan().int().argmax()) if energy.isnan().any() else len(energy)
            drift = _drift(energy[:kept], time[:kept])
            change = (energy[:kept] - energy[0]).abs().max().item()
            found.append(Outcome(time[kept].item() if kept < len(energy) else None, change, drift))
    return found


def _drift(energy: Tensor, time: Tensor) -> float:
    return energy_drift(energy.unsqueeze(-1), time).item() if len(time) > 1 else math.nan


def run_long(folder: Path) -> None:
    """Run the study into `folder`, ``<force field>.<measure>.csv`` each; tables that are there stay.

    The energy model is trained first, unless the folder has it.

    Args:
        folder: made if it does not exist.
    """
    for measure, (columns, _) in MEASURES.items():
        for name in FIELDS:
            write_missing_csv(
                folder / f"{name}.{measure}.csv", columns, partial(_rows, measure, name, folder), 9
            )


def _rows(measure: str, name: str, folder: Path) -> list[tuple[float, ...]]:
    if FIELDS[name] is not energy_model:
        return MEASURES[measure][1](FIELDS[name]())
    if not (folder / ENERGY_WEIGHTS).exists():
        train_energy_model(folder / ENERGY_WEIGHTS)
    return MEASURES[measure][1](energy_model(folder))


def load_long_run(measure: str, folder: Path = SHIPPED_LONG_RUN) -> dict[str, dict[str, list[float]]]:
    """The tables of one of `MEASURES`, by force field, in the order of `FIELDS`.

    Raises:
        FileNotFoundError: if a table is missing.
    """
    return {name: read_csv(folder / f"{name}.{measure}.csv") for name in FIELDS}
