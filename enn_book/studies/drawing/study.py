"""Which configurations a batch should hold: trainings of equal length that draw compact ones more often.

The data of sec. 4.1 hold few bound clusters, and the dynamics of sec. 4.3 hold nothing else. Errors are
those of the validation part; the test part and the dynamics are never touched.
"""

from dataclasses import replace
from itertools import pairwise

import torch

from enn_book.studies.study import Columns, Outcome, Records, Study
from enn_book.studies.training import make_trainer
from enn_book.style import Table, table
from enn_lib.argon import Configurations, generate_data, largest_distance
from enn_lib.evaluation import rmsd
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.settings import Config

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


def run_one(config: Config) -> Outcome:
    """Train as `config` says; the table has `COLUMNS`.

    Raises:
        FloatingPointError: if training diverges.
    """
    data = generate_data(config.n_configurations, config.data_seed)
    trainer = make_trainer(config, data)
    for _ in range(config.iterations):
        trainer.step()
    trainer.record()  # which notices a divergence
    alone = NetworkForceField(trainer.network, data.scales).to(torch.float64)
    rows = by_size([alone, PermutationAverage(alone)], data.train, data.validation)
    return Outcome(tables={"": (COLUMNS, rows)})


def by_power(records: Records) -> dict[float, dict[int, Columns]]:
    """The tables by seed by power."""
    return {p: {seed: records[f"{p:g}.{seed}"].table() for seed in SEEDS} for p in POWERS}


def summary(records: Records) -> Table:
    """The errors of every training by the largest distance, eV/Å, of the network alone and over S4."""
    bins = [f"{low:g} to {high:g} Å" for low, high in pairwise(EDGES[:-1])]
    return table(
        ["training", *bins, f"above {EDGES[-2]:g} Å", "all"],
        [
            [f"`{name}`, {label}", *columns[key]]
            for name, columns in records.tables().items()
            for key, label in (("network", "alone"), ("s4_average", "over S4"))
        ],
    )


STUDY = Study(
    question="Should a batch hold compact configurations more often than the data do?",
    plan=lambda records, length: {f"{p:g}.{seed}": drawn(p, seed) for seed in SEEDS for p in POWERS},
    run=run_one,
    summary=summary,
)
