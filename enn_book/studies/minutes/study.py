"""The paper's error from scratch in minutes, data included, on two cores."""

from dataclasses import replace

from enn_book.studies.study import Records, Study, errors_of_runs
from enn_lib.training import Config

FIVE = Config(
    relabel=True, iterations=32_400, learning_rate=0.02, points_per_decade=8, checkpoint_every=10_800
)
"""The literal network."""

TWO = replace(
    FIVE,
    softening=0.3,
    a=1.0,
    optimiser="soap",
    learning_rate=0.003,
    iterations=8800,
    checkpoint_every=4400,
)
"""The softened network with SOAP, which needs less time."""

TRAININGS = {"five-minutes": FIVE, "two-minutes": TWO}
"""Each has five seeds, of the network and, shifted by 2208, of the data."""


def plan(records: Records, length: float | None) -> dict[str, Config]:
    """Every training from every seed; the first of each bears the name without a number."""
    return {
        name if seed == 0 else f"{name}-{seed}": replace(config, seed=seed, data_seed=2208 + seed)
        for name, config in TRAININGS.items()
        for seed in range(5)
    }


STUDY = Study(
    question="How soon does a network trained from scratch on two cores reach the error of the paper?",
    plan=plan,
    run=None,
    summary=errors_of_runs,
)
