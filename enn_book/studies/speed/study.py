"""How fast one machine trains, and beside what that is fast.

``python -m enn_book benchmark --out DIR`` measures it anew, best on a machine that has nothing else to do.
"""

import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import torch

from enn_book.studies.speed.one_core import COLUMNS as ONE_CORE_COLUMNS
from enn_book.studies.speed.timing import VARIANTS, gradients, time_in_turns
from enn_book.studies.study import Outcome, Records, Study
from enn_book.style import Table, table
from enn_lib.network import PAPER_WIDTHS
from enn_lib.settings import Config

TRAINING_COLUMNS = ("threads", "batch", *VARIANTS)
"""Seconds for the gradient of one configuration, for each variant."""

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
class OneCore:
    """How the ways to compute a gradient are timed on one core.

    Attributes:
        batch: configurations.
        seconds: see `time_in_turns`.
        repeats: all of it so often.
        compiled: see `Gradients`.
    """

    batch: int = Config.chunk_size
    seconds: float = 12.0
    repeats: int = 3
    compiled: bool = True

    def measure(self) -> Outcome:
        """Time them in a process of their own, in which all libraries have one thread."""
        done = subprocess.run(
            [
                sys.executable, "-m", "enn_book.studies.speed.one_core",
                str(self.batch), str(self.seconds), str(self.repeats), str(int(self.compiled)),
            ],
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            capture_output=True, encoding="utf-8", check=True,
        )  # fmt: skip
        rows = [tuple(map(float, line.split())) for line in done.stdout.splitlines()]
        return Outcome(tables={"": (ONE_CORE_COLUMNS, rows)})


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
    core = records["one_core"].table()
    single = {name: median(core[name][: core["bits"].count(32)]) for name in ONE_CORE_COLUMNS[1:]}
    for name, other in single.items():
        if name != "compiled":
            batch = records["one_core"].config["batch"]
            rows.append([f"on one core, beside `{name}`", 1, batch, single["compiled"], other])
    alone = {}
    for processes, threads, batch, step in zip(*records["workers"].table().values(), strict=True):
        alone.setdefault(batch, step)  # the first rows are those of one thread
        name = "1 process" if processes == 1 else f"{processes:.0f} processes"
        if threads > 1:
            rows.append([f"training in {name}, beside 1 thread", threads, batch, step, alone[batch]])
    header = ["what", "threads", "batch", "ours, µs", "beside, µs", "factor"]
    return table(header, [[w, int(t), int(n), 1e6 * a, 1e6 * b, b / a] for w, t, n, a, b in rows])


STUDY = Study(
    question="How fast does training run on one machine, and beside what is that fast?",
    plan=lambda records, length: {"training": Gradients(), "one_core": OneCore(), "workers": Processes()},
    run=lambda config: config.measure(),
    summary=summary,
    digits=5,
)
