"""The measured tables of the page on speed, and what a training of given length costs elsewhere.

``python -m enn_lib benchmark --out DIR`` measures three tables on an otherwise idle machine, and `load_speed`
reads those that come with the library.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.md.verlet import VelocityVerlet as AseVelocityVerlet

from enn_lib.argon import ARGON
from enn_lib.benchmark import VARIANTS, gradients, time_in_turns
from enn_lib.dynamics import PAPER_POSITIONS, VelocityVerlet, paper_initial_conditions
from enn_lib.force_field import NetworkForceField
from enn_lib.runs import load_run
from enn_lib.storage import read_csv, read_json, write_csv, write_json
from enn_lib.training import provenance

SHIPPED_SPEED = Path(__file__).parent / "studies" / "speed"

TRAINING_COLUMNS = ("threads", "batch", *VARIANTS)
"""Seconds for the gradient of one configuration, for each variant."""

DYNAMICS_COLUMNS = ("threads", "samples", "network", "network_float32", "analytic", "ase")
"""Seconds for one step of all samples; in the last column for one step of one, which is how ASE works."""

WORKERS_COLUMNS = ("processes", "threads", "batch", "step")
"""Processes; threads of all of them together; and seconds for one configuration in a step of training."""

BATCHES = (250, 500, 1000, 4000, 60_000)
SAMPLES = (1, 10, 1000, 100_000)
THREADS = (1, 2)
WORKER_STEPS = {500: 200, 4000: 30, 0: 3}
"""Steps timed at each batch; 0 is the full batch of 60,000."""


def measure_training(
    batches: Sequence[int] = BATCHES,
    threads: Sequence[int] = THREADS,
    *,
    seconds: float = 1.0,
    compiled: bool = True,
    **settings,
) -> list[tuple[float, ...]]:
    """Rows of `TRAINING_COLUMNS`.

    Args:
        batches: configurations.
        threads: torch's.
        seconds: see `time_in_turns`.
        compiled: whether to compile, which takes long; NaN in its column if not.
        settings: go to `gradients`.
    """
    variants = [name for name in VARIANTS if compiled or name != "compiled"]
    rows = []
    for count in threads:
        torch.set_num_threads(count)
        for batch in batches:
            torch.compiler.reset()  # torch gives up after eight functions of one name
            times = time_in_turns(gradients(batch, variants=variants, **settings), seconds=seconds)
            rows.append((count, batch, *(times.get(name, math.nan) / batch for name in VARIANTS)))
    return rows


def _ase_step() -> Callable[[], object]:
    """One step of one sample with ASE's own potential and integrator."""
    atoms = Atoms("Ar4", PAPER_POSITIONS.numpy())
    atoms.calc = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    dynamics = AseVelocityVerlet(atoms, timestep=units.fs)
    return lambda: dynamics.run(1)


def measure_dynamics(
    samples: Sequence[int] = SAMPLES,
    threads: Sequence[int] = THREADS,
    *,
    run: str = "softened",
    seconds: float = 1.0,
) -> list[tuple[float, ...]]:
    """Rows of `DYNAMICS_COLUMNS`, with the network of a shipped run."""
    loaded = load_run(run)
    fields = {
        "network": loaded.force_field,
        "network_float32": NetworkForceField(loaded.network, loaded.scales),
        "analytic": ARGON,
    }
    rows = []
    for count in threads:
        torch.set_num_threads(count)
        for n in samples:
            positions, velocities = paper_initial_conditions(n)
            functions = {"ase": _ase_step()}
            for name, field in fields.items():
                state = positions, velocities, field.forces(positions)
                functions[name] = lambda field=field, state=state: VelocityVerlet(field).step(*state)
            times = time_in_turns(functions, seconds=seconds)
            rows.append((count, n, *(times[name] for name in DYNAMICS_COLUMNS[2:])))
    return rows


def measure_workers(
    steps: dict[int, int] = WORKER_STEPS, *, rounds: int = 1, **settings
) -> list[tuple[float, ...]]:
    """Rows of `WORKERS_COLUMNS`: one process with one thread and with two, and two processes with one each.

    Args:
        steps: how many to time, by batch size.
        rounds: the three are started in turns so many times; the fastest of a kind counts.
        settings: changes of the `Config`.
    """
    best: dict[tuple[int, int, int], float] = {}
    for _ in range(rounds):
        for processes, threads in ((1, 1), (1, 2), (2, 2)):
            done = subprocess.run(
                [
                    sys.executable, "-m", "torch.distributed.run", "--standalone",
                    "--nproc-per-node", str(processes), "-m", "enn_lib.benchmark_workers",
                    json.dumps({**settings, "threads": threads}), *(f"{b}:{n}" for b, n in steps.items()),
                ],
                env=os.environ | {"OMP_NUM_THREADS": str(threads // processes)},
                capture_output=True, text=True, check=True,
            )  # fmt: skip
            for line in done.stdout.splitlines():
                batch, seconds = line.split()
                key = processes, threads, int(batch)
                best[key] = min(best.get(key, float("inf")), float(seconds) / int(batch))
    return [(*key, seconds) for key, seconds in best.items()]


def run_benchmarks(folder: Path, tables: dict[str, tuple[Sequence[str], Callable]] | None = None) -> None:
    """Measure all tables and write them, with a description of the machine; those that are there go.

    Args:
        folder: made if it does not exist.
        tables: columns and what measures them, by name; the three of this module if None.
    """
    tables = tables or {
        "training": (TRAINING_COLUMNS, measure_training),
        "dynamics": (DYNAMICS_COLUMNS, measure_dynamics),
        "workers": (WORKERS_COLUMNS, measure_workers),
    }
    folder.mkdir(parents=True, exist_ok=True)
    load = os.getloadavg()[0]
    for name, (columns, measure) in tables.items():
        rows = measure()
        write_csv(folder / f"{name}.csv", columns, [[f"{entry:.5g}" for entry in row] for row in rows])
    write_json(folder / "machine.json", {**provenance(), "load_before": load})


def load_speed(folder: Path = SHIPPED_SPEED) -> tuple[dict, dict[str, dict[str, list[float]]]]:
    """The description of the machine, and the tables by name, as columns.

    Raises:
        FileNotFoundError: if one is missing.
    """
    tables = {name: read_csv(folder / f"{name}.csv") for name in ("training", "dynamics", "workers")}
    return read_json(folder / "machine.json"), tables


def training_seconds(
    iterations: float,
    configurations: float,
    operations: float,
    rate: float,
    *,
    processors: int = 1,
    message: float = 0.0,
) -> float:
    r"""How long a training takes, by a model.

    .. math:: t = N_\text{iterations} \left( \frac{N_\text{batch}\, C}{p\, R} + t_\text{message} \right)

    Args:
        iterations: gradients of the whole batch.
        configurations: in the batch.
        operations: C, for the gradient of one configuration.
        rate: R, operations a second that one processor sustains.
        processors: p, sharing the batch evenly.
        message: seconds to add up the gradients of all processors; nothing if there is one.

    Raises:
        ValueError: if a number is not positive, or `message` is negative.
    """
    if not (min(iterations, configurations, operations, rate) > 0 and processors >= 1 and message >= 0):
        raise ValueError(
            f"iterations, configurations, operations, rate, processors, message: got {iterations}, "
            f"{configurations}, {operations}, {rate}, {processors}, {message}, wanted positive numbers"
        )
    each = configurations * operations / (processors * rate)
    return iterations * (each + (message if processors > 1 else 0.0))
