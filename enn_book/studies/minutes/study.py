"""The paper's error from scratch in minutes, data included, on two cores."""

from dataclasses import replace

from enn_book.studies.study import Records, Study, errors_of_runs
from enn_lib.training import Config

FIVE = Config(
    relabel=True, iterations=32_400, learning_rate=0.02, points_per_decade=8, checkpoint_every=10_800
)
"""The literal network."""

TWO = replace(FIVE, softening=0.3, a=1.0, iterations=7200, checkpoint_every=3600)
"""The softened network, which needs less time."""

SEEDS = {"five-minutes": (FIVE, range(5)), "two-minutes": (TWO, range(5))}
"""The seeds of each training, of the network and, shifted by 2208, of the data."""


def plan(records: Records, length: float | None) -> dict[str, Config]:
    """Every training from every seed; the first of each bears the name without a number."""
    return {
        name if seed == 0 else f"{name}-{seed}": replace(config, seed=seed, data_seed=2208 + seed)
        for name, (config, seeds) in SEEDS.items()
        for seed in seeds
    }


STUDY = Study(
    question="How soon does a network trained from scratch on two cores reach the error of the paper?",
    plan=plan,
    run=None,
    summary=errors_of_runs,
)
