"""What a step of training takes in one of several processes: ``torchrun`` starts this module in each.

``python -m enn_book.studies.speed.workers '{"n_configurations": 1000}' 500:20 0:3`` times 20 steps with
batches of 500 and 3 with all configurations (FIRE); the first process prints ``batch seconds`` for each.
"""

import json
import sys
import time
from dataclasses import replace
from statistics import median

import torch

from enn_lib.argon import generate_data
from enn_lib.distributed import join
from enn_lib.settings import Config
from enn_lib.training import Trainer


def time_steps(config: Config, steps: int, workers) -> tuple[int, float]:
    """The size of the batch, and the median of the seconds a step takes, after two to warm up.

    The number of steps is given, not found out, because all processes must make as many.
    """
    torch.set_num_threads(max(1, config.threads // workers.per_machine))
    torch.compiler.reset()
    trainer = Trainer(config, generate_data(config.n_configurations, config.data_seed), workers)
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        trainer.step()
        times.append(time.perf_counter() - start)
    return config.batch_size or len(trainer._order), median(times[2:])


def main(settings: str, *sizes: str) -> None:
    """Time one batch size after the other; 0 is the full batch."""
    base = replace(Config(iterations=10**9), **json.loads(settings))
    with join("cpu") as workers:
        for size in sizes:
            batch, steps = map(int, size.split(":"))
            config = replace(base, batch_size=batch or None, optimiser="muon" if batch else "fire")
            batch, seconds = time_steps(config, steps, workers)
            if workers.is_first:
                print(batch, seconds, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
