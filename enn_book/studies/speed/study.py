"""How fast one machine trains and simulates, and what a training of given length costs elsewhere.

``python -m enn_book benchmark --out DIR`` measures it anew, best on a machine that has nothing else to do.
"""

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.md.verlet import VelocityVerlet as AseVelocityVerlet

from enn_book.studies import shipped_first
from enn_book.studies.speed.timing import VARIANTS, gradients, time_in_turns
from enn_book.studies.study import Outcome, Records, Study
from enn_book.style import Table, table
from enn_lib.argon import ARGON
from enn_lib.dynamics import PAPER_POSITIONS, VelocityVerlet, paper_initial_conditions
from enn_lib.force_field import NetworkForceField
from enn_lib.network import PAPER_WIDTHS
from enn_lib.runs import load_run
from enn_lib.settings import Config

TRAINING_COLUMNS = ("threads", "batch", *VARIANTS)
"""Seconds for the gradient of one configuration, for each variant."""

DYNAMICS_COLUMNS = ("threads", "samples", "network", "network_float32", "analytic", "ase")
"""Seconds for one step of all samples; in the last column for one step of one, which is how ASE works."""

WORKERS_COLUMNS = ("processes", "threads", "batch", "step")
"""Processes; threads of all of them together; and seconds for one configuration in a step of training."""

Rows = list[tuple[float, ...]]


@dataclass(frozen=True)
class Gradients:
    """How the gradients of batches are timed.

    Attributes:
        batches: configurations.
        threads: torch's.
        seconds: see `time_in_turns`.
        compiled: whether to compile, which takes long; NaN in its column if not.
        widths: of the network.
        chunk_size: see `gradients`.
    """

    batches: tuple[int, ...] = (250, 500, 1000, 4000, 60_000)
    threads: tuple[int, ...] = (1, 2)
    seconds: float = 1.0
    compiled: bool = True
    widths: tuple[int, ...] = PAPER_WIDTHS
    chunk_size: int = Config.chunk_size

    def measure(self) -> Outcome:
        """Time them, with `TRAINING_COLUMNS`; ``load_before`` is how many programs were running before."""
        # Where the system does not say it, as Windows, it stays unknown.
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        variants = [name for name in VARIANTS if self.compiled or name != "compiled"]
        rows: Rows = []
        for count in self.threads:
            torch.set_num_threads(count)
            for batch in self.batches:
                torch.compiler.reset()  # torch gives up after eight functions of one name
                steps = gradients(batch, widths=self.widths, chunk_size=self.chunk_size, variants=variants)
                times = time_in_turns(steps, seconds=self.seconds)
                rows.append((count, batch, *(times.get(name, math.nan) / batch for name in VARIANTS)))
        return Outcome({"load_before": load}, {"": (TRAINING_COLUMNS, rows)})


@dataclass(frozen=True)
class Dynamics:
    """How steps of dynamics are timed.

    Attributes:
        samples: simulated at once.
        threads: torch's.
        seconds: see `time_in_turns`.
        run: whose network it is.
    """

    samples: tuple[int, ...] = (1, 10, 1000, 100_000)
    threads: tuple[int, ...] = (1, 2)
    seconds: float = 1.0
    run: str = "softened"

    def measure(self) -> Outcome:
        """Time them, with `DYNAMICS_COLUMNS`."""
        run = load_run(shipped_first(self.run))
        fields = {
            "network": run.force_field,
            "network_float32": NetworkForceField(run.network, run.scales),
            "analytic": ARGON,
        }
        rows: Rows = []
        for count in self.threads:
            torch.set_num_threads(count)
            for n in self.samples:
                positions, velocities = paper_initial_conditions(n)
                functions = {"ase": _ase_step()}
                for name, force_field in fields.items():
                    state = positions, velocities, force_field.forces(positions)
                    functions[name] = partial(VelocityVerlet(force_field).step, *state)
                times = time_in_turns(functions, seconds=self.seconds)
                rows.append((count, n, *(times[name] for name in DYNAMICS_COLUMNS[2:])))
        return Outcome(tables={"": (DYNAMICS_COLUMNS, rows)})


def _ase_step() -> Callable[[], object]:
    """One step of one sample with ASE's own potential and integrator."""
    atoms = Atoms("Ar4", PAPER_POSITIONS.numpy())
    atoms.calc = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    dynamics = AseVelocityVerlet(atoms, timestep=units.fs)
    return lambda: dynamics.run(1)


@dataclass(frozen=True)
class Processes:
    """How training in one process with one thread and with two, and in two with one each, is timed.

    Attributes:
        batches: configurations; 0 is the full batch of 60,000.
        steps: timed at each batch.
        settings: changes of the `Config`.
    """

    batches: tuple[int, ...] = (500, 4000, 0)
    steps: tuple[int, ...] = (200, 30, 3)
    settings: dict[str, Any] = field(default_factory=dict)

    def measure(self) -> Outcome:
        """Start the processes, and have them time their steps, with `WORKERS_COLUMNS`."""
        sizes = [f"{batch}:{steps}" for batch, steps in zip(self.batches, self.steps, strict=True)]
        rows: Rows = []
        for processes, threads in ((1, 1), (1, 2), (2, 2)):
            done = subprocess.run(
                [
                    sys.executable, "-m", "torch.distributed.run", "--standalone",
                    "--nproc-per-node", str(processes), "-m", "enn_book.studies.speed.workers",
                    json.dumps({**self.settings, "threads": threads}), *sizes,
                ],
                env=os.environ | {"OMP_NUM_THREADS": str(threads // processes)},
                capture_output=True, encoding="utf-8", check=True,
            )  # fmt: skip
            for line in done.stdout.splitlines():
                batch, seconds = line.split()
                rows.append((processes, threads, int(batch), float(seconds) / int(batch)))
        return Outcome(tables={"": (WORKERS_COLUMNS, rows)})


def summary(records: Records) -> Table:
    """What takes how long, beside what: microseconds, and how many times as long the other takes."""
    rows = []
    for threads, batch, slow, _, ours, alone in zip(*records["training"].table().values(), strict=True):
        for name, other in (("straightforward", slow), ("products alone", alone)):
            rows.append([f"gradient, beside {name}", threads, batch, ours, other])
    for threads, samples, ours, _, _, ase in zip(*records["dynamics"].table().values(), strict=True):
        rows.append(["dynamics, beside ASE", threads, samples, ours, samples * ase])
    alone = {}
    for processes, threads, batch, step in zip(*records["workers"].table().values(), strict=True):
        alone.setdefault(batch, step)  # the first rows are those of one thread
        name = "1 process" if processes == 1 else f"{processes:.0f} processes"
        if threads > 1:
            rows.append([f"training in {name}, beside 1 thread", threads, batch, step, alone[batch]])
    header = ["what", "threads", "batch", "ours, µs", "beside, µs", "factor"]
    return table(header, [[w, int(t), int(n), 1e6 * a, 1e6 * b, b / a] for w, t, n, a, b in rows])


STUDY = Study(
    question="How fast do training and dynamics run on one machine, and beside what is that fast?",
    plan=lambda records, length: {"training": Gradients(), "dynamics": Dynamics(), "workers": Processes()},
    run=lambda config: config.measure(),
    summary=summary,
    digits=5,
)


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
