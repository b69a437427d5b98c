"""Which reading of the paper makes FIRE descend: the same training under one reading after the other.

Appendix A and Eq. 43 leave open, or print in a way that matters, what `READINGS` lists. Every reading is
run from the same starts on the same data; ``python -m enn_lib fire-study --out DIR`` repeats the study,
and `load_study` reads the one that comes with the library. Two readings were followed on all data, too:
``python -m enn_lib fire-on-all --out DIR``.
"""

from dataclasses import replace
from functools import partial
from itertools import accumulate
from pathlib import Path

import torch
from tqdm import tqdm

from enn_lib.argon import generate_data
from enn_lib.evaluation import smallest_hidden_norms
from enn_lib.storage import read_csv, write_missing_csv
from enn_lib.training import Config, Trainer, logged_iterations

SHIPPED_STUDY = Path(__file__).parent / "studies" / "fire_readings"
SHIPPED_ON_ALL = Path(__file__).parent / "studies" / "fire_on_all"

COLUMNS = (
    "iteration",
    "training_loss",
    "validation_loss",
    "dt",
    "power",
    "stops",
    "smallest_norm",
)
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


def descend(config: Config) -> list[tuple[float, ...]]:
    """Train with FIRE as `config` says and return rows of `COLUMNS`.

    The rows end early where the loss is no longer finite.

    Raises:
        ValueError: if the optimiser is not FIRE.
    """
    if config.optimiser != "fire":
        raise ValueError(f"config.optimiser: got {config.optimiser!r}, wanted 'fire'")
    torch.set_num_threads(config.threads)
    # Every reading is another function to compile, and torch gives up after eight of them.
    torch.compiler.reset()
    data = generate_data(config.n_configurations, config.data_seed)
    trainer = Trainer(config, data)
    inputs = data.train.inputs(data.scales, getattr(torch, config.dtype))
    group = trainer.optimiser.param_groups[0]
    rows, stops = [], 0

    def record() -> None:
        trainer.record()
        _, _, _, training, validation, dt, _ = trainer.history[-1]
        norm = smallest_hidden_norms(trainer.network, inputs).min().item()
        rows.append((trainer.iteration, training, validation, dt, group["power"], stops, norm))

    record()
    logged = logged_iterations(config.iterations, config.points_per_decade)
    for iteration in range(1, config.iterations + 1):
        trainer.step()
        # ASE's order takes no power in the very first step.
        stops += group["power"] <= 0 and not (config.fire_order == "ase" and iteration == 1)
        if iteration in logged:
            try:
                record()
            except FloatingPointError:
                break
    return rows


EVEN_RISE = 0.02
"""A rise of the loss by a smaller part is none to the eye on the axis of Fig. 2; so "even" is read here."""


def largest_rise(losses: list[float]) -> float:
    """By which part a logged loss stands at most above the lowest before it; 0 if it never rises.

    How often it is logged matters little to this, and much to the rise from one row to the next.
    """
    return max(loss / lowest - 1 for loss, lowest in zip(losses, accumulate(losses, min), strict=True))


def run_study(folder: Path, names: tuple[str, ...] = tuple(READINGS), **changes) -> None:
    """Run readings into `folder`, a file ``reading.seed.csv`` each; files that are there already stay.

    Args:
        folder: made if it does not exist.
        names: the readings.
        changes: settings to change in all of them, such as ``iterations``.
    """
    jobs = [
        (seed, name) for seed in range(3) for name in names if seed < (3 if name in DECISIVE else 1)
    ]  # by seed first, so that a study cut short has every reading
    for seed, name in tqdm(jobs, unit="run"):
        config = reading(name, seed, **changes)
        write_missing_csv(folder / f"{name}.{seed}.csv", COLUMNS, partial(descend, config))


RECOMMENDED = ("semi-implicit", "soft-0.3-ase")
"""The readings followed on all data, one with the unit vectors of Eq. 9 and one with softened ones."""

ON_ALL = {"n_configurations": 100_000, "iterations": 1500, "chunk_size": 200}
"""The changes of the study on all data (60,000 training configurations, past the first fall of the loss)."""


def run_on_all(folder: Path) -> None:
    """Run the `RECOMMENDED` readings on all data, three seeds each, as `run_study`; in hours."""
    run_study(folder, RECOMMENDED, **ON_ALL)


def load_study(folder: Path = SHIPPED_STUDY) -> dict[str, dict[int, dict[str, list[float]]]]:
    """The histories of a study: columns by seed by reading, in the order of `READINGS`.

    Raises:
        FileNotFoundError: if the folder holds none.
    """
    study = {
        name: {seed: read_csv(file) for seed in range(3) if (file := folder / f"{name}.{seed}.csv").exists()}
        for name in READINGS
    }
    study = {name: seeds for name, seeds in study.items() if seeds}
    if not study:
        raise FileNotFoundError(f"{folder}: got no histories, wanted files such as printed.0.csv")
    return study
