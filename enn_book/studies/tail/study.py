"""How errors of forces are distributed: over test sets, around the worst configuration, in dynamics."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

import torch
from torch import Tensor

from enn_book.studies import shipped_first
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.studies.training import BOTH_SEEDS
from enn_book.style import Table, number, percent, spread, table
from enn_lib.argon import ARGON, Configurations, generate_data, sample_positions
from enn_lib.dynamics import paper_initial_conditions, simulate
from enn_lib.evaluation import force_fields, predict
from enn_lib.runs import load_run

QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
"""Of the errors of single configurations."""

COLUMNS = ("over_s4", "seed", "rmsd", "low", "high", "q50", "q90", "q99", "q99.9", "q100", "worst_share")
"""The columns of the main table, which has a row for each test set.

They are whether the forces are averaged over S4, the seed of the configurations (-1 for the run's own test
part), the RMSD, eV/Å per component, the ends of its 95 % bootstrap interval, the `QUANTILES` of the RMSD of
single configurations, and the share of the squared error that the worst configuration has.
"""

PATH_COLUMNS = ("over_s4", "q50", "q90", "q99", "q99.9", "q100", "worst_hundredth")
"""The columns of the table "dynamics".

They are whether the forces are averaged over S4, the `QUANTILES` of the error along the network's own
trajectories, eV/Å per component, and the share of the squared error that the worst hundredth of steps has.
"""

LINE_COLUMNS = ("line", "distance", "error", "error_s4")
"""The columns of the table "lines".

They are which line, the distance along it, Å, from the configuration that is the worst of the run's own test
part, and the RMSD there, eV/Å per component, alone and over S4.
"""

SET_COLUMNS = ("seed", "rmsd", "q50", "q90", "q99", "q99.9", "q100", "worst_share")
"""The columns of the table of a run on many sets, which has a row for each set; see `COLUMNS`."""

WORST_COLUMNS = ("seed", "place", "error", "error_s4")
"""The columns of the table "worst", the worst configurations of many sets, the worst first.

They are the seed of the set, the place in it, and the RMSD there, eV/Å per component, alone and over S4.
"""


@dataclass(frozen=True)
class Tail:
    """Settings of a run.

    Attributes:
        name: of the trained network, a shipped run, or else its folder.
        fresh: seeds of fresh test sets for the network alone; over S4 the first of them only.
        n_fresh: configurations of a fresh set.
        n_bootstrap: resamplings of a test set.
        n_lines: straight lines in random directions through the worst configuration.
        reach: how far they go to both sides, Å; the length of the displacement of all atoms together.
        n_points: of a line.
        n_steps: of the dynamics of sec. 4.3, 1 fs each, with the ten samples of the paper.
        seed: of the resamplings and the directions.
    """

    name: str
    fresh: tuple[int, ...] = (7001, 7002, 7003)
    n_fresh: int = 20_000
    n_bootstrap: int = 1000
    n_lines: int = 5
    reach: float = 0.3
    n_points: int = 121
    n_steps: int = 4000
    seed: int = 0


@dataclass(frozen=True)
class ManySets:
    """Settings of a run on many sets, which together are more than a million configurations.

    Attributes:
        name: of the trained network, a shipped run, or else its folder.
        seeds: of the sets; the last twelve were drawn by a reader, who found the worst of `reference`.
        n_fresh: configurations of a set.
        n_worst: of how many configurations the place is kept.
    """

    name: str
    seeds: tuple[int, ...] = (*range(7001, 7051), *range(91000, 91012))
    n_fresh: int = 20_000
    n_worst: int = 20


def mean_squares(predicted: Tensor, true: Tensor) -> Tensor:
    """The mean over atoms and components of the squared error of every configuration, (eV/Å)²."""
    return (predicted - true).square().mean(dim=(-1, -2))


def quantiles(squares: Tensor) -> list[float]:
    """The `QUANTILES` of the RMSD of single configurations."""
    return squares.sqrt().quantile(squares.new_tensor(QUANTILES)).tolist()


def distribution(squares: Tensor, n_bootstrap: int, generator: torch.Generator) -> list[float]:
    """The RMSD of a set, its 95 % bootstrap interval, the quantiles, and the share of the worst one."""
    n = len(squares)
    resampled = torch.stack([
        squares[torch.randint(n, (n,), generator=generator)].mean() for _ in range(n_bootstrap)
    ])  # fmt: skip
    ends = resampled.sqrt().quantile(squares.new_tensor([0.025, 0.975]))
    rmsd, share = squares.mean().sqrt().item(), (squares.max() / squares.sum()).item()
    return [rmsd, *ends.tolist(), *quantiles(squares), share]


def run_tail(config: Tail) -> Outcome:
    """Measure a run; the tables have `COLUMNS`, `PATH_COLUMNS` and `LINE_COLUMNS`."""
    run = load_run(shipped_first(config.name))
    fields = list(force_fields(run).values())
    generator = torch.Generator().manual_seed(config.seed)
    own = generate_data(run.config.n_configurations, run.config.data_seed).test
    rows, worst = [], 0
    for over_s4, field in enumerate(fields):
        for seed in (-1, *config.fresh[: 1 if over_s4 else None]):
            part = own
            if seed >= 0:
                positions = sample_positions(config.n_fresh, seed=seed)
                part = Configurations(positions, ARGON.forces(positions))
            squares = mean_squares(predict(field, part.positions), part.forces)
            rows.append([over_s4, seed, *distribution(squares, config.n_bootstrap, generator)])
            if (over_s4, seed) == (0, -1):
                worst = int(squares.argmax())

    lines = []
    distances = torch.linspace(-config.reach, config.reach, config.n_points, dtype=torch.float64)
    for line in range(config.n_lines):
        direction = torch.randn(4, 3, dtype=torch.float64, generator=generator)
        path = own.positions[worst] + distances[:, None, None] * direction / direction.norm()
        errors = [mean_squares(predict(field, path), ARGON.forces(path)).sqrt().tolist() for field in fields]
        lines += [[line, *entries] for entries in zip(distances.tolist(), *errors, strict=True)]

    paths = []
    for over_s4, field in enumerate(fields):
        met = simulate(field, *paper_initial_conditions(), config.n_steps).positions.flatten(0, 1)
        squares = mean_squares(predict(field, met), ARGON.forces(met)).sort().values
        share = squares[len(squares) * 99 // 100 :].sum() / squares.sum()
        paths.append([over_s4, *quantiles(squares), share.item()])
    return Outcome(
        measured={"worst": worst},
        tables={"": (COLUMNS, rows), "lines": (LINE_COLUMNS, lines), "dynamics": (PATH_COLUMNS, paths)},
    )


def run_sets(config: ManySets) -> Outcome:
    """Measure a run, without averaging, on many sets; the tables have `SET_COLUMNS` and `WORST_COLUMNS`."""
    fields = list(force_fields(load_run(shipped_first(config.name))).values())
    rows, worst = [], []
    for seed in config.seeds:
        positions = sample_positions(config.n_fresh, seed=seed)
        true = ARGON.forces(positions)
        squares = mean_squares(predict(fields[0], positions), true)
        rmsd, share = squares.mean().sqrt().item(), (squares.max() / squares.sum()).item()
        rows.append([seed, rmsd, *quantiles(squares), share])
        places = squares.topk(min(config.n_worst, config.n_fresh)).indices
        errors = [mean_squares(predict(f, positions[places]), true[places]).sqrt().tolist() for f in fields]
        worst += [[seed, *entries] for entries in zip(places.tolist(), *errors, strict=True)]
    worst = sorted(worst, key=lambda row: -row[2])[: config.n_worst]
    return Outcome(tables={"": (SET_COLUMNS, rows), "worst": (WORST_COLUMNS, worst)})


def pooled(table: Mapping[str, Sequence[float]]) -> float:
    """The RMSD of all sets of a table together, eV/Å; they are equally large."""
    return fmean(rmsd**2 for rmsd in table["rmsd"]) ** 0.5


def plan(records: Mapping[str, Record], length: float | None) -> dict[str, Tail | ManySets]:
    """Each run on its own test part and a few sets, and each on many."""
    return {name: Tail(name) for name in BOTH_SEEDS} | {
        f"{name}.fresh": ManySets(name) for name in BOTH_SEEDS
    }


def summary(records: Records) -> Table:
    """The RMSD of a set with its interval, the median, and the worst one's share; at the end of many sets."""
    rows = []
    for name, record in sorted(records.items(), key=lambda item: item[0].endswith(".fresh")):
        c = record.table()
        if name.endswith(".fresh"):
            n = len(c["seed"])
            share = max(c["q100"]) ** 2 / (record.config["n_fresh"] * n * pooled(c) ** 2)
            ends = (min(c["rmsd"]), max(c["rmsd"]))
            entries = [(0, f"{n} fresh sets", pooled(c), *ends, median(c["q50"]), median(c["q99.9"]), share)]
        else:
            where = ["its own test part" if seed < 0 else f"fresh, seed {seed:.0f}" for seed in c["seed"]]
            columns = ("rmsd", "low", "high", "q50", "q99.9", "worst_share")
            entries = zip(c["over_s4"], where, *(c[column] for column in columns), strict=True)
        for over_s4, where, rmsd, low, high, q50, high_q, share in entries:
            interval = f"{number(rmsd)} ({spread([low, high])})"
            rows.append([f"`{name}`{', S4' * bool(over_s4)}", where, interval, q50, high_q, percent(share)])
    return table(["run", "configurations", "RMSD (eV/Å)", "median", "99.9 %", "worst one's share"], rows)


STUDY = Study(
    question="How much of the error is one configuration's, and does the dynamics meet such?",
    plan=plan,
    run=lambda config: run_sets(config) if isinstance(config, ManySets) else run_tail(config),
    summary=summary,
)
