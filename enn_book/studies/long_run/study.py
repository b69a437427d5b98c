"""What becomes of the atoms under every force field of the book, for 100 ps, and under six for 1 ns.

A record is a force field. Its tables are "energy", of the true energy in long runs; "growth", of the
deviation from the true dynamics; and "heat", of the time hot clusters spend outside of the training range.
"""

import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from enn_book.lectures.chaos import Watched, deviation_without_amplification, energy_drift
from enn_book.lectures.diagnostics import TrainingRange
from enn_book.models.energy import EnergyENN, EnergyForceField
from enn_book.studies import shipped_first
from enn_book.studies.study import Columns, Outcome, Records, Study, load, module
from enn_book.style import Table, spread, table
from enn_lib.argon import ARGON, Scales, generate_data, largest_distance, smallest_distance
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
from enn_lib.force_field import ForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import load_run
from enn_lib.settings import Config, build_optimiser
from enn_lib.training import fit

PEERS_FOLLOWED = (
    "enn", "perceptron-rotated", "vector-neurons", "egnn", "painn", "scalars", "enn-softened-s4",
)  # fmt: skip
"""The models of the study of peers that are followed, each as chosen there, of equal time."""

FIELDS = (
    "analytic", "reference", "softened", "reference-s4", "softened-s4", "energy-model", *PEERS_FOLLOWED,
)  # fmt: skip
"""The force fields, the shipped runs alone and averaged over S4, an energy's model, and peers."""

NANOSECOND = ("analytic", "reference", "painn", "energy-model", "enn", "energy-model-rough")
"""The force fields whose energies are followed for 1 ns, in records NAME-ns.

Of the last four, two and two have about the same error, and one of each two has an energy.
"""

TRAINED = {"energy-model": 3800, "energy-model-rough": 640}
"""The energy models, which the study trains itself, and the steps of their training."""

TEN = tuple(f"{name}{over}" for name in ("reference", "reference-1") for over in ("", "-s4"))
"""The shipped runs whose energies are also followed from the ten starts of sec. 4.3, in records NAME-ten."""

Rows = list[tuple[float, ...]]


@dataclass(frozen=True)
class Following:
    """A force field, and how long it is followed.

    Attributes:
        field: one of `FIELDS`, `NANOSECOND` or `TEN`.
        samples: starts as in sec. 4.3, with other velocities, from one seed.
        steps: for the energies.
        every: steps between two energies.
        dt: of a step for the energies, fs; it is 1 fs for the deviations and the heat.
        growth_steps: for the deviations; sec. 4.3 calls Fig. 4 acceptable up to here.
        growth_every: steps between two deviations.
        temperatures: of the starts that are heated, K.
        heat_steps: at each temperature.
        training_steps: of the energy model, which its run trains; 0 for a field that is there.
        n_configurations: of the data of that training.
    """

    field: str
    samples: int = 3
    steps: int = 100_000
    every: int = 100
    dt: float = 1.0
    growth_steps: int = 4000
    growth_every: int = 20
    temperatures: tuple[float, ...] = (10, 20, 40, 80, 160, 320, 640, 1280)
    heat_steps: int = 1500
    training_steps: int = 0
    n_configurations: int = 0


def plan(records: Records, length: float | None) -> dict[str, Following]:
    """A record for each force field; and those of `TEN` and `NANOSECOND`, of which only the energies matter.

    Under "enn", which drives the atoms to high speeds, the steps of the nanosecond are 2 fs instead of 10.
    """
    trained = {name: {"training_steps": n, "n_configurations": 100_000} for name, n in TRAINED.items()}
    short = {"samples": 10, "every": 500, "growth_steps": 20, "temperatures": (10,), "heat_steps": 20}
    slow = {"enn": {"dt": 2.0, "steps": 500_000}, "energy-model-rough": trained["energy-model-rough"]}
    ten = {f"{name}-ten": Following(name, **short) for name in TEN}
    long = {f"{name}-ns": Following(name, **{"dt": 10.0} | short | slow.get(name, {})) for name in NANOSECOND}
    return {name: Following(name, **trained.get(name, {})) for name in FIELDS} | ten | long


def force_field(name: str) -> ForceField:
    """A force field of the study in float64; an energy model is that of the record in the book."""
    if name == "analytic":
        return ARGON
    if name in TRAINED:
        record = load("long_run")[name if name in FIELDS else f"{name}-ns"]
        return energy_model(record.weights(), Scales(**record["scales"]))
    if name in PEERS_FOLLOWED:
        return module("peers").trained(name)
    field = load_run(shipped_first(name.removesuffix("-s4"))).force_field
    return PermutationAverage(field) if name.endswith("-s4") else field


def _untrained_energy_model() -> EnergyENN:
    return EnergyENN((6, 32, 32), 32, softening=0.3)


def train_energy_model(steps: int, n_configurations: int) -> tuple[dict[str, Tensor], Scales]:
    """Train a small `EnergyENN` with SOAP, at the rate of most models of the study of peers.

    It is repeated to rounding only, which dynamics amplify, so that a record keeps the weights.

    Args:
        steps: of the training, of 500 configurations each.
        n_configurations: of the data, 60 % of which train.

    Returns:
        The weights, and the scales of the data.
    """
    data = generate_data(n_configurations)
    model = _untrained_energy_model()
    inputs, targets = data.train.inputs(data.scales), data.train.targets(data.scales)

    def soap(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return build_optimiser(Config(optimiser="soap", learning_rate=lr), model)

    fit(model, inputs, targets, steps=steps, batch_size=500, learning_rate=0.01, optimiser=soap)
    return model.state_dict(), data.scales


def energy_model(weights: dict[str, Tensor], scales: Scales) -> EnergyForceField:
    """The energy model of some weights in float64."""
    model = _untrained_energy_model()
    model.load_state_dict(weights)
    return EnergyForceField(model.to(torch.float64), scales)


def run_following(config: Following) -> Outcome:
    """Follow a force field; an energy model is trained first, and its weights and scales are kept.

    Its ``training_seconds`` are of processor time.
    """
    measured, weights = {}, None
    if config.training_steps:
        began = time.process_time()
        weights, scales = train_energy_model(config.training_steps, config.n_configurations)
        measured = {"scales": asdict(scales), "training_seconds": round(time.process_time() - began, 1)}
        field = energy_model(weights, scales)
    else:
        field = force_field(config.field)

    n = config.samples
    rows = {
        "growth": grow(field, config.growth_steps, n, config.growth_every),
        "heat": heat(field, config.heat_steps, n, config.temperatures),
        "energy": follow(field, config.steps, n, config.every, config.dt),
    }
    return Outcome(measured, {kind: (columns(kind, n), rows[kind]) for kind in rows}, weights)


def columns(kind: str, samples: int = Following.samples) -> list[str]:
    """The columns of a table: "energy", "growth" or "heat"."""
    first, each, last = {
        "energy": ("step", ["energy"], ["shortest", "longest"]),
        "growth": ("step", ["real", "added"], []),
        "heat": ("temperature", ["close", "far"], []),
    }[kind]
    return [first, *(f"{name}_{k}" for name in each for k in range(samples)), *last]


def follow(
    force_field: ForceField,
    steps: int,
    samples: int = Following.samples,
    every: int = Following.every,
    dt: float = Following.dt,
) -> Rows:
    """Move the atoms from the start of sec. 4.3, and look at the start and after each `every` steps.

    A sample that is lost (see `enn_book.lectures.chaos.Watched`) has the energy NaN from then on; where all
    are lost, the table ends with the first row that says so.

    Returns:
        Rows of the step; the true total energy (Eq. 47) of every sample, eV; and the least and the
        greatest distance of a pair in all samples that are left, Å, at this step.
    """
    integrator = VelocityVerlet(Watched(force_field), dt)
    r, v = paper_initial_conditions(samples)
    f = force_field.forces(r)
    rows: Rows = []
    for step in range(steps + 1):
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
    force_field: ForceField, steps: int, samples: int = Following.samples, every: int = Following.growth_every
) -> Rows:
    """Deviations from the true dynamics, and what the errors of the forces alone would add up to.

    Returns:
        Rows of the step; the deviation of every sample, Å, as Eq. 48 for it alone, NaN once it is lost;
        and of every sample `deviation_without_amplification`, Å.
    """
    start = paper_initial_conditions(samples)
    true, path = (simulate(field, *start, steps) for field in (ARGON, Watched(force_field)))
    real = [rmsd_positions(_sample(true, k), _sample(path, k)) for k in range(samples)]
    added = [deviation_without_amplification(_sample(true, k), force_field) for k in range(samples)]
    rows = torch.stack((*real, *added), dim=-1)[::every]
    return [(every * k, *row) for k, row in enumerate(rows.tolist())]


def _sample(trajectory: Trajectory, k: int) -> Trajectory:
    """One sample of a trajectory, as a trajectory of one."""
    r, v = (part[:, k : k + 1] for part in (trajectory.positions, trajectory.velocities))
    return Trajectory(trajectory.time, r, v, trajectory.mass)


def heat(
    force_field: ForceField,
    steps: int,
    samples: int = Following.samples,
    temperatures: Sequence[float] = Following.temperatures,
) -> Rows:
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


@dataclass(frozen=True)
class Fate:
    """What became of one sample of a table of energies.

    Attributes:
        lost: the time of the first row in which it was lost, fs; None if it was there to the end.
        change: the largest change of its true total energy until then, eV.
        drift: the slope of its energy until then, eV/ns; NaN if there are fewer than two rows.
    """

    lost: float | None
    change: float
    drift: float


def fates(energies: Columns, dt: float = Following.dt) -> list[Fate]:
    """What became of each sample of a table "energy", whose steps are of `dt` fs."""
    times = dt * torch.tensor(energies["step"], dtype=torch.float64)
    found = []
    for name, column in energies.items():
        if name.startswith("energy_"):
            energy = torch.tensor(column, dtype=torch.float64)
            kept = int(energy.isnan().int().argmax()) if energy.isnan().any() else len(energy)
            drift = energy_drift(energy[:kept, None], times[:kept]).item() if kept > 1 else math.nan
            change = (energy[:kept] - energy[0]).abs().max().item()
            found.append(Fate(times[kept].item() if kept < len(energy) else None, change, drift))
    return found


def summary(records: Records) -> Table:
    """A row for each force field, of the least and the greatest of its samples."""
    rows = []
    for name in FIELDS:
        record = records[name]
        seen, growth = fates(record.table("energy")), record.table("growth")
        lost = [fate.lost / 1000 for fate in seen if fate.lost is not None]
        found = (
            [fate.change for fate in seen],
            [fate.drift for fate in seen],
            [column[-1] for key, column in growth.items() if key.startswith("real_")],
            _leaves_at(record.table("heat")),
        )
        times = f"{len(lost)}, at {spread(lost)} ps" if lost else "0"
        rows.append([f"`{name}`", times, *map(spread, found)])
    return table(["force field", "lost", "change, eV", "drift, eV/ns", "astray, Å", "leaves at, K"], rows)


def _leaves_at(heat: Columns) -> list[float]:
    """The first temperature at which each sample is outside of the training range for 1 % of the time, K."""
    samples = [name.removeprefix("far_") for name in heat if name.startswith("far_")]
    shares = [zip(heat["temperature"], heat[f"close_{k}"], heat[f"far_{k}"], strict=True) for k in samples]
    return [
        min((int(t) for t, close, far in rows if close + far > 0.01), default=math.inf) for rows in shares
    ]


STUDY = Study(
    question="How far do the energy and the atoms go astray in long runs under each force field of the book?",
    plan=plan,
    run=run_following,
    summary=summary,
    digits=9,
)
