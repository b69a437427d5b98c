"""Which reading of the paper makes FIRE descend: the same training under one reading after the other.

Appendix A and Eq. 43 leave open, or print in a way that matters, what `READINGS` lists. Every reading is run
from the same starts on the same data, and two of them on all data, too.
"""

from dataclasses import replace

import torch

from enn_book.lectures.expressiveness import smallest_hidden_norms
from enn_book.paper.claims import largest_rise
from enn_book.studies.study import Columns, Outcome, Records, Study
from enn_book.studies.training import Row, follow, make_trainer
from enn_book.style import Table, percent, spread, table
from enn_lib.argon import generate_data
from enn_lib.settings import Config

COLUMNS = ("iteration", "training_loss", "validation_loss", "dt", "power", "stops", "smallest_norm")
"""The columns of a history. Losses are means over configurations and components, whatever was minimised;
`dt` and `power` are FIRE's after that many steps; `stops` counts the steps so far with P <= 0; and
`smallest_norm` is the length of the shortest hidden vector over the training data. All without unit."""

PRINTED = Config(
    n_configurations=1500,
    optimiser="fire",
    batch_size=None,
    iterations=3000,
    points_per_decade=20,
    threads=1,
)
"""Appendix A as printed, with the mean in Eq. 43, on 900 training configurations (60 % of 1500)."""

READINGS: dict[str, dict] = {
    "printed": {},
    "sum": {"loss": "sum"},
    "semi-implicit": {"fire_order": "semi_implicit"},
    "semi-implicit-sum": {"fire_order": "semi_implicit", "loss": "sum"},
    "ase": {"fire_order": "ase"},
    "ase-sum": {"fire_order": "ase", "loss": "sum"},
    "soft": {"softening": 0.1},
    "soft-sum": {"softening": 0.1, "loss": "sum"},
    "soft-ase": {"softening": 0.1, "fire_order": "ase"},
    "soft-ase-sum": {"softening": 0.1, "fire_order": "ase", "loss": "sum"},
    "soft-0.3-ase": {"softening": 0.3, "fire_order": "ase"},
    "soft-0.01-ase": {"softening": 0.01, "fire_order": "ase"},
    "soft-semi-implicit": {"softening": 0.1, "fire_order": "semi_implicit"},
    "activated": {"output_activation": "softsign"},
    "activated-semi-implicit": {"output_activation": "softsign", "fire_order": "semi_implicit"},
    "a-1": {"a": 1.0},
    "a-1-semi-implicit": {"a": 1.0, "fire_order": "semi_implicit"},
    "dt-0.003": {"fire_dt_max": 0.003},
    "dt-0.1-soft-ase": {"fire_dt_max": 0.1, "softening": 0.1, "fire_order": "ase"},
}
"""What each reading changes of `PRINTED`."""

DECISIVE = tuple(READINGS)[:11]
"""The readings with three seeds (sum or mean, the order of Step 4, softened or not); the others have one."""

RECOMMENDED = ("semi-implicit", "soft-0.3-ase")
"""The readings followed on all data, one with the unit vectors of Eq. 9 and one with softened ones."""

ON_ALL = {"n_configurations": 100_000, "iterations": 1500, "chunk_size": 200}
"""What a training on all data changes (60,000 configurations, past the first fall of the loss)."""


def reading(name: str, seed: int = 0, **changes) -> Config:
    """The configuration of a reading; `seed` is that of the network and, shifted by 2208, of the data.

    Args:
        name: one of `READINGS`.
        seed: at least 0.
        changes: settings to change beside, such as ``iterations``.

    Raises:
        ValueError: if there is no such reading.
    """
    if name not in READINGS:
        raise ValueError(f"name: got {name!r}, wanted one of {', '.join(READINGS)}")
    return replace(PRINTED, seed=seed, data_seed=2208 + seed, **{**READINGS[name], **changes})


def descend(config: Config) -> list[Row]:
    """Train with FIRE as `config` says and return rows of `COLUMNS`.

    The rows end early where the loss is no longer finite.

    Raises:
        ValueError: if the optimiser is not FIRE.
    """
    if config.optimiser != "fire":
        raise ValueError(f"config.optimiser: got {config.optimiser!r}, wanted 'fire'")
    data = generate_data(config.n_configurations, config.data_seed)
    inputs = data.train.inputs(data.scales, getattr(torch, config.dtype))
    trainer = make_trainer(config, data)
    group = trainer.optimiser.param_groups[0]
    stops = 0

    def count() -> None:
        nonlocal stops
        # ASE's order takes no power in the very first step.
        stops += group["power"] <= 0 and not (config.fire_order == "ase" and trainer.iteration == 1)

    def row(new: Row) -> Row:
        norm = smallest_hidden_norms(trainer.network, inputs).min().item()
        return (new[0], *new[3:6], group["power"], stops, norm)

    return follow(trainer, row, each=count, from_start=True)


def by_reading(records: Records, prefix: str = "") -> dict[str, dict[int, Columns]]:
    """Histories by seed by reading, in the order of `READINGS`; with the prefix "all-" those on all data."""
    histories = {
        name: {
            seed: records[key].table() for seed in range(3) if (key := f"{prefix}{name}.{seed}") in records
        }
        for name in READINGS
    }
    return {name: seeds for name, seeds in histories.items() if seeds}


def plan(records: Records, length: float | None) -> dict[str, Config]:
    """Every reading on 900 configurations, by seed first, and then the recommended ones on all."""
    few = [(seed, name) for seed in range(3) for name in (DECISIVE if seed else READINGS)]
    return {f"{name}.{seed}": reading(name, seed) for seed, name in few} | {
        f"all-{name}.{seed}": reading(name, seed, **ON_ALL) for seed in range(3) for name in RECOMMENDED
    }


def summary(records: Records) -> Table:
    """The end of every reading, and its largest rise, each from the least to the largest of its seeds."""
    rows = []
    for prefix in ("", "all-"):
        for name, seeds in by_reading(records, prefix).items():
            last = {column: [history[column][-1] for history in seeds.values()] for column in COLUMNS}
            rises = [round(largest_rise(history["training_loss"]), 3) for history in seeds.values()]
            ends = [spread(last[column]) for column in ("training_loss", "validation_loss", "dt")]
            stops = spread([int(stops) for stops in last["stops"]])
            rows.append((f"`{prefix}{name}`", *ends, stops, spread(rises, percent)))
    return table(
        ["reading", "training loss", "validation loss", "time step", "steps with P ≤ 0", "largest rise"], rows
    )


STUDY = Study(
    question="Under which reading of Appendix A, Eq. 43 and Eq. 9 does FIRE descend far and evenly?",
    plan=plan,
    run=lambda config: Outcome(tables={"": (COLUMNS, descend(config))}),
    summary=summary,
)
