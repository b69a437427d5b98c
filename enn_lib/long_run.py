"""Total energy and distances over many steps, under every force field of the book.

``python -m enn_lib long-run --out DIR`` repeats the study, a table for each force field, and `load_long_run`
reads the one that comes with the library.
"""

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import torch
from tqdm import tqdm

from enn_lib.argon import ARGON, generate_data, smallest_distance
from enn_lib.conservative import EnergyENN, EnergyForceField
from enn_lib.diagnostics import largest_distance
from enn_lib.dynamics import VelocityVerlet, kinetic_energy, paper_initial_conditions
from enn_lib.fit import fit
from enn_lib.force_field import ForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import load_run
from enn_lib.storage import read_csv, write_csv

SHIPPED_LONG_RUN = Path(__file__).parent / "studies" / "long_run"

STEPS = 100_000
"""Of 1 fs each."""

N_SAMPLES = 3
"""Starts as in sec. 4.3, with other velocities, from one seed."""

EVERY = 100
"""Steps between two rows."""

ENERGY_STEPS = 600
"""Of the training of the energy model."""


@cache
def energy_model(
    steps: int = ENERGY_STEPS, n_configurations: int = 20_000, seed: int = 0
) -> EnergyForceField:
    """A small `EnergyENN`, trained for some seconds as on the page on limits: conservative, less accurate."""
    data = generate_data(n_configurations)
    model = EnergyENN((6, 32, 32), 32, softening=0.3, seed=seed)
    fit(
        model,
        data.train.inputs(data.scales),
        data.train.targets(data.scales),
        steps=steps,
        batch_size=500,
        seed=seed,
    )
    return EnergyForceField(model.to(torch.float64), data.scales)


def _run(name: str, average: bool) -> ForceField:
    field = load_run(name).force_field
    return PermutationAverage(field) if average else field


FIELDS: dict[str, Callable[[], ForceField]] = {
    "analytic": lambda: ARGON,
    "reference": partial(_run, "reference", False),
    "softened": partial(_run, "softened", False),
    "reference-s4": partial(_run, "reference", True),
    "softened-s4": partial(_run, "softened", True),
    "energy": energy_model,
}
"""What makes each force field, the shipped runs alone and averaged over S4, and a model of an energy."""


def columns(samples: int) -> tuple[str, ...]:
    """Step; the true total energy (Eq. 47) of every sample, eV; the extreme distances of all samples, Å."""
    return ("step", *(f"energy_{k}" for k in range(samples)), "shortest", "longest")


def follow(
    force_field: ForceField, steps: int = STEPS, samples: int = N_SAMPLES, every: int = EVERY
) -> list[tuple[float, ...]]:
    """Move the atoms and return a row of `columns` for the start and for each `every` steps.

    Distances are those at the recorded steps. It ends early where a position is no longer finite.
    """
    integrator = VelocityVerlet(force_field)
    r, v = paper_initial_conditions(samples)
    f = force_field.forces(r)
    rows: list[tuple[float, ...]] = []
    for step in tqdm(range(steps + 1), unit="step"):
        if step % every == 0:
            energy = kinetic_energy(v) + ARGON.energy(r)
            rows.append(
                (step, *energy.tolist(), smallest_distance(r).min().item(), largest_distance(r).max().item())
            )
        r, v, f = integrator.step(r, v, f)
        if not r.isfinite().all():
            break
    return rows


def run_long(folder: Path, steps: int = STEPS, samples: int = N_SAMPLES) -> None:
    """Run the study into `folder`, ``<force field>.csv`` each; tables that are there stay.

    Args:
        folder: made if it does not exist.
        steps: of 1 fs.
        samples: how many starts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, make in FIELDS.items():
        file = folder / f"{name}.csv"
        if not file.exists():
            rows = follow(make(), steps, samples)
            write_csv(
                file, columns(samples), [(row[0], *(f"{entry:.9g}" for entry in row[1:])) for row in rows]
            )


def load_long_run(folder: Path = SHIPPED_LONG_RUN) -> dict[str, dict[str, list[float]]]:
    """The tables that are in a folder, by force field, in the order of `FIELDS`.

    Raises:
        FileNotFoundError: if there are none.
    """
    tables = {name: read_csv(folder / f"{name}.csv") for name in FIELDS if (folder / f"{name}.csv").exists()}
    if not tables:
        raise FileNotFoundError(f"{folder}: got no table of a force field, wanted at least one")
    return tables
