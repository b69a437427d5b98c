"""How far the dynamics of sec. 4.3 depend on the velocities that are drawn."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import torch

from enn_book.studies import shipped_first
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.studies.training import BOTH_SEEDS
from enn_book.style import Table, number, spread, table
from enn_lib.argon import ARGON
from enn_lib.dynamics import Trajectory, paper_initial_conditions, rmsd_energy, rmsd_positions, simulate
from enn_lib.evaluation import DYNAMICS_STEPS, force_fields
from enn_lib.runs import load_run

COLUMNS = ("seed", "step", "positions", "energy", "positions_s4", "energy_s4")
"""The columns of a table. They are the seed of the velocities, the step, and the RMSD of the positions, Å
(Eq. 48), and of the energy, eV (Eq. 49), of the network alone and averaged over S4."""


@dataclass(frozen=True)
class Sets:
    """Settings of a run.

    Attributes:
        name: of the trained network, a shipped run, or else its folder.
        seeds: of the velocities, a set of ten samples each.
        steps: at which deviations are measured.
    """

    name: str
    seeds: tuple[int, ...] = tuple(range(10))
    steps: tuple[int, ...] = DYNAMICS_STEPS


def run_sets(config: Sets) -> Outcome:
    """Integrate all sets in one batch; the table has `COLUMNS`."""
    starts = [paper_initial_conditions(seed=seed) for seed in config.seeds]
    start = [torch.cat(part) for part in zip(*starts, strict=True)]
    fields = (ARGON, *force_fields(load_run(shipped_first(config.name))).values())
    paths = [simulate(field, *start, max(config.steps)) for field in fields]
    rows = []
    for k, seed in enumerate(config.seeds):
        part = slice(10 * k, 10 * k + 10)
        analytic, *predicted = (
            Trajectory(p.time, p.positions[:, part], p.velocities[:, part], p.mass) for p in paths
        )
        errors = [measure(analytic, path) for path in predicted for measure in (rmsd_positions, rmsd_energy)]
        rows += [(seed, step, *(error[step].item() for error in errors)) for step in config.steps]
    return Outcome(tables={"": (COLUMNS, rows)})


def at_step(record: Record, column: str, step: int = DYNAMICS_STEPS[-1]) -> list[float]:
    """A column of a record at one step, a value for each set of velocities."""
    columns = record.table()
    return [value for value, at in zip(columns[column], columns["step"], strict=True) if at == step]


def middle(values: Sequence[float]) -> str:
    """The median of some values and their range, as 0.23 (0.18 to 0.26)."""
    return f"{number(median(values))} ({spread(values)})"


def summary(records: Records) -> Table:
    """The deviations at the last step, each as the median over the sets of velocities and its range."""
    rows = [[f"`{name}`", *(middle(at_step(r, c)) for c in COLUMNS[2:])] for name, r in records.items()]
    return table(
        ["run", "positions (Å)", "energy (eV)", "positions over S4 (Å)", "energy over S4 (eV)"], rows
    )


STUDY = Study(
    question="How far do the dynamics depend on the velocities that are drawn?",
    plan=lambda records, length: {name: Sets(name) for name in BOTH_SEEDS},
    run=run_sets,
    summary=summary,
)
