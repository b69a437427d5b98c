"""Which configurations a batch should hold: trainings of equal length that draw compact ones more often.

The data of sec. 4.1 hold few bound clusters, and the dynamics of sec. 4.3 hold nothing else. Errors are
those of the validation part; the test part and the dynamics are never touched. ``python -m enn_lib drawing
--out DIR`` repeats the study, and `load_drawing` reads the one that comes with the library.
"""

from dataclasses import replace
from functools import partial
from itertools import pairwise, product
from pathlib import Path

import torch
from tqdm import tqdm

from enn_lib.argon import Configurations, generate_data, largest_distance
from enn_lib.evaluation import rmsd
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.storage import read_csv, write_missing_csv
from enn_lib.training import Config, Trainer

SHIPPED_DRAWING = Path(__file__).parent / "studies" / "drawing"

POWERS = (0.0, 4.0, 6.0, 8.0)
"""Of the chance with which a configuration is drawn; see ``sampling_power`` of `Config`."""

SEEDS = (0, 1)
"""Of the network and, shifted by 2208, of the data."""

EDGES = (0.0, 5.5, 7.0, 9.0, float("inf"))
"""Between these, Å, lie the largest pair distances of which an error is given."""

BASE = Config(
    relabel=True, batch_size=250, iterations=20_000, learning_rate=0.02, points_per_decade=1, threads=1
)
"""The literal network, Muon, batches of 250, atoms relabelled."""

COLUMNS = ("from", "to", "training", "validation", "network", "s4_average")
"""The columns of a table, in which a row is a bin of distances. They are its ends in Å, how many training and
validation configurations are in it, and the root mean square errors of a force component, eV/Å, on the
latter. The last row is that of all."""


def drawn(power: float, seed: int = 0, **changes) -> Config:
    """The configuration of a training; `changes` are settings to change beside, such as ``iterations``."""
    return replace(BASE, sampling_power=power, seed=seed, data_seed=2208 + seed, **changes)


def by_size(fields: list[ForceField], training: Configurations, validation: Configurations) -> list[tuple]:
    """Rows of `COLUMNS` for two force fields; a bin without validation data is left out."""
    sizes = [largest_distance(part.positions) for part in (training, validation)]
    rows = []
    for low, high in (*pairwise(EDGES), (EDGES[0], EDGES[-1])):
        inside = [(size >= low) & (size < high) for size in sizes]
        if inside[1].any():
            part = Configurations(validation.positions[inside[1]], validation.forces[inside[1]])
            errors = [rmsd(field, part) for field in fields]
            rows.append((low, high, *(int(mask.sum()) for mask in inside), *errors))
    return rows


def run_one(config: Config) -> list[tuple]:
    """Train as `config` says, and return rows of `COLUMNS`.

    Raises:
        FloatingPointError: if training diverges.
    """
    torch.set_num_threads(config.threads)
    torch.compiler.reset()  # torch gives up after eight functions of one name
    data = generate_data(config.n_configurations, config.data_seed)
    trainer = Trainer(config, data)
    for _ in range(config.iterations):
        trainer.step()
    trainer.record()  # which notices a divergence
    alone = NetworkForceField(trainer.network, data.scales).to(torch.float64)
    return by_size([alone, PermutationAverage(alone)], data.train, data.validation)


def run_drawing(folder: Path, **changes) -> None:
    """Run the study into `folder`, a file ``power.seed.csv`` each; files that are there already stay.

    Args:
        folder: made if it does not exist.
        changes: settings to change in all trainings, such as ``iterations``.
    """
    for seed, power in tqdm(list(product(SEEDS, POWERS)), unit="run"):
        job = partial(run_one, drawn(power, seed, **changes))
        write_missing_csv(folder / f"{power:g}.{seed}.csv", COLUMNS, job)


def load_drawing(folder: Path = SHIPPED_DRAWING) -> dict[float, dict[int, dict[str, list[float]]]]:
    """The tables of the study: columns by seed by power.

    Raises:
        FileNotFoundError: if one is missing.
    """
    return {p: {seed: read_csv(folder / f"{p:g}.{seed}.csv") for seed in SEEDS} for p in POWERS}
