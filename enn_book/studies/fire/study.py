"""FIRE on its own ground: all data in every iteration, beside gradient descent, Nesterov's momentum and Adam.

`METHODS` are the orders of Step 4 of Appendix A that are in use, and the rivals. All begin at the same
weights, take equally many iterations, and keep the loss of every one of them.
"""

import math
import re
from dataclasses import dataclass, replace
from statistics import median

import torch

from enn_book.lectures.clusters import FIREInParts
from enn_book.lectures.expressiveness import smallest_hidden_norms
from enn_book.paper.claims import largest_rise
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.studies.training import Row, follow, make_trainer
from enn_book.style import Table, percent, spread, table
from enn_lib.argon import ArgonData, generate_data
from enn_lib.fire import FIRE
from enn_lib.training import Config, Trainer

COLUMNS = ("iteration", "training_loss", "validation_loss", "rate", "stops", "smallest_norm")
"""The columns of a record. Losses are means over configurations and components; `rate` is FIRE's time step or
the learning rate; `stops` counts the steps so far with P <= 0; and `smallest_norm` is the length of the
shortest hidden vector over the training data. All without unit."""


@dataclass(frozen=True)
class WholeBatch(Config):
    """A training on all data in every iteration.

    Attributes:
        momentum: of torch's ``SGD``, Nesterov's if it is above zero, in place of `optimiser`.
        stops: the steps in which FIRE stops, whatever the sign of P; None to go by the sign.
        alpha: with which FIRE mixes at first and after a stop.
        early: which of "brake" and "mixing" come before the push, where the velocity moves first; None to
            follow `fire_order`.
    """

    momentum: float | None = None
    stops: tuple[int, ...] | None = None
    alpha: float = 0.1
    early: tuple[str, ...] | None = None


BASE = WholeBatch(
    n_configurations=1500,
    batch_size=None,
    iterations=3000,
    schedule="constant",
    points_per_decade=20,
    threads=1,
)
"""The literal network on 900 training configurations (60 % of 1500), with the mean in Eq. 43."""

METHODS: dict[str, dict] = {
    "printed": {"optimiser": "fire", "fire_order": "appendix"},
    "velocity-first": {"optimiser": "fire", "fire_order": "semi_implicit"},
    "ase": {"optimiser": "fire", "fire_order": "ase"},
    "fire2": {"optimiser": "fire", "fire_order": "fire2"},
    "abc": {"optimiser": "fire", "fire_order": "abc"},
    "gradient-descent": {"optimiser": "adam", "momentum": 0.0},
    "nesterov": {"optimiser": "adam", "momentum": 0.9},
    "adam": {"optimiser": "adam"},
}
"""What each method changes of `BASE`; those with a momentum do not use the optimiser."""

ORDERS = tuple(METHODS)[:5]
"""The methods that are FIRE."""

PARTS: dict[str, dict] = {
    f"{part}-early": METHODS["velocity-first"] | {"early": (part,)} for part in ("brake", "mixing")
}
"""The two ways from velocity first to the order of ASE, which brakes early and mixes early."""

FIRST_RATE = dict.fromkeys((*ORDERS, *PARTS), 0.01) | {"gradient-descent": 0.1, "nesterov": 0.1, "adam": 0.01}
"""The rate tried first; of FIRE it is the largest time step as the paper prints it."""

GRID = 12**0.5
"""The ratio of two neighbouring rates. For FIRE one step up is the sum in Eq. 43 in place of the mean."""

SOFTENING = 0.3
"""Of the unit vectors, in the records whose names begin with ``soft-``."""

SOFTENED = ("velocity-first", "ase", "fire2", "abc", "gradient-descent", "nesterov", "adam")
"""The methods that train a softened network, too."""

ALPHA = 0.25
"""To which FIRE 2.0 raised the alpha of Appendix A; in the records whose names begin with ``soft-alpha-``."""

ON_ALL = {"n_configurations": 100_000, "iterations": 1500, "chunk_size": 200}
"""What a training on all data changes (60,000 configurations)."""

EARLY = ("ase", "fire2", "abc")
"""The orders that look at the power before the push; they get another rounding of seed 0 only."""

SUSPECT, SUSPECT_STEP = "velocity-first", 1
"""The method whose sensitivity to rounding is taken apart, and the step of the grid, at which it stops with
softened unit vectors, too."""


def rate(method: str, k: int) -> float:
    """The rate `k` steps of the grid above the first."""
    return FIRST_RATE[method] * GRID**k


def method_config(method: str, k: int = 0, seed: int = 0, **changes) -> WholeBatch:
    """The configuration of a method; `seed` is that of the network and, shifted by 2208, of the data.

    Args:
        method: one of `METHODS` or `PARTS`.
        k: of its `rate`; FIRE's first time step is a tenth of it.
        seed: at least 0.
        changes: settings to change beside, such as ``iterations``.

    Raises:
        ValueError: if there is no such method.
    """
    known = METHODS | PARTS
    if method not in known:
        raise ValueError(f"method: got {method!r}, wanted one of {', '.join(known)}")
    value, settings = rate(method, k), known[method]
    is_fire = "fire_order" in settings
    speed = {"fire_dt": value / 10, "fire_dt_max": value} if is_fire else {"learning_rate": value}
    return replace(BASE, seed=seed, data_seed=2208 + seed, **{**settings, **speed, **changes})


def record_name(method: str, k: int = 0, seed: int = 0, *, prefix: str = "", suffix: str = "") -> str:
    """The name of a record; the prefix is such as "soft-", the suffix ".again" or ".same-stops"."""
    return f"{prefix}{method}.{rate(method, k):.2g}.{seed}{suffix}"


class WithStops(FIRE):
    """FIRE that stops in given steps, whatever the sign of P."""

    def __init__(self, params, stops: tuple[int, ...], **settings):
        super().__init__(params, **settings)
        self._stops, self._taken = frozenset(stops), 0

    def _power(self, forces, velocities) -> float:
        self._taken += 1
        return -1.0 if self._taken in self._stops else 1.0


def start(config: WholeBatch, data: ArgonData) -> Trainer:
    """The trainer of a configuration, at its start."""
    trainer = make_trainer(config, data)
    weights = trainer.network.parameters()
    if config.momentum is not None:
        trainer.optimiser = torch.optim.SGD(
            weights, lr=config.learning_rate, momentum=config.momentum, nesterov=config.momentum > 0
        )
    elif config.stops is not None:
        trainer.optimiser = WithStops(
            weights, config.stops, dt=config.fire_dt, dt_max=config.fire_dt_max, order=config.fire_order
        )
    elif config.early is not None:
        parts = {f"early_{part}": True for part in config.early}
        trainer.optimiser = FIREInParts(
            weights, velocity_first=True, dt=config.fire_dt, dt_max=config.fire_dt_max, **parts
        )
    if config.optimiser == "fire":
        group = trainer.optimiser.param_groups[0]
        group["alpha"] = group["alpha_start"] = config.alpha
    return trainer


def descend(config: WholeBatch) -> Outcome:
    """Train, and return rows of `COLUMNS`, the loss before every iteration, and what is made of them.

    `end` is the median of the last hundred losses, `rise` the `largest_rise` over all of them, and `stops`
    are the steps with P <= 0. Where a loss is not finite the training ends, and `end` is infinite.
    """
    data = generate_data(config.n_configurations, config.data_seed)
    trainer, inputs = start(config, data), data.train.inputs(data.scales, getattr(torch, config.dtype))
    group = trainer.optimiser.param_groups[0]
    losses, stops = [], []

    def count(loss: float) -> None:
        losses.append(loss)
        # Some orders take no power in the very first step, and the others begin with a positive one.
        if group.get("power", 1) <= 0 and trainer.iteration > 1:
            stops.append(trainer.iteration)

    def row(new: Row) -> Row:
        norm = smallest_hidden_norms(trainer.network, inputs).min().item()
        return (new[0], *new[3:5], group.get("dt", group["lr"]), len(stops), norm)

    rows, end = follow(trainer, row, each=count, from_start=True), math.inf
    if rows[-1][0] == config.iterations:
        losses.append(rows[-1][1])
        end = median(losses[-100:])
    measured = {"end": end, "rise": largest_rise(losses), "stops": stops}
    return Outcome(measured, {"": (COLUMNS, rows)}, {"losses": torch.tensor(losses)})


def best_step(records: Records, method: str) -> tuple[list[int], int | None]:
    """The steps of the grid to try with a method, and the best of them once it lies inside.

    Best is the lowest `end` on seed 0.
    """
    tried = [-1, 0, 1]
    while all(record_name(method, k) in records for k in tried):
        best = min(tried, key=lambda k: records[record_name(method, k)]["end"])
        if tried[0] < best < tried[-1]:
            return tried, best
        tried = [tried[0] - 1, *tried] if best == tried[0] else [*tried, tried[-1] + 1]
    return tried, None


def main_step(records: Records, method: str) -> int | None:
    """The step of the grid that is judged: of FIRE the time step as printed, of a rival the best."""
    return 0 if method in ORDERS else best_step(records, method)[1]


def shown_steps(records: Records, method: str) -> list[int]:
    """The steps of the grid with three seeds: the one that is judged, and the best of two orders of FIRE."""
    steps = {main_step(records, method)}
    if method in (SUSPECT, "ase"):
        steps.add(best_step(records, method)[1])
    return sorted(k for k in steps if k is not None)


def plan(records: Records, length: float | None) -> dict[str, WholeBatch]:
    """The trials of all rates on seed 0; other seeds, another rounding; softened; stops; parts; all data."""
    soft, again = {"softening": SOFTENING}, {"chunk_size": 250}
    planned = {record_name(m, k): method_config(m, k) for m in METHODS for k in best_step(records, m)[0]}
    for seed in range(3):
        for m in METHODS:
            for k in shown_steps(records, m):
                planned[record_name(m, k, seed)] = method_config(m, k, seed)
            if (k := main_step(records, m)) is not None and not (seed and m in EARLY):
                planned[record_name(m, k, seed, suffix=".again")] = method_config(m, k, seed, **again)
        for prefix, changes in (("", {}), ("soft-", soft)):
            first = record_name(SUSPECT, SUSPECT_STEP, seed, prefix=prefix)
            planned[first] = method_config(SUSPECT, SUSPECT_STEP, seed, **changes)
            planned[f"{first}.again"] = method_config(SUSPECT, SUSPECT_STEP, seed, **changes, **again)
            if first in records:
                stops = tuple(records[first]["stops"])
                config = method_config(SUSPECT, SUSPECT_STEP, seed, stops=stops, **changes, **again)
                planned[f"{first}.same-stops"] = config
    for seed in range(3):
        for m in SOFTENED:
            if (k := main_step(records, m)) is not None:
                planned[record_name(m, k, seed, prefix="soft-")] = method_config(m, k, seed, **soft)
                if m not in ORDERS and seed == 0:
                    planned[record_name(m, k - 1, prefix="soft-")] = method_config(m, k - 1, **soft)
        for m in PARTS:
            planned[record_name(m, seed=seed)] = method_config(m, seed=seed)
            planned[record_name(m, seed=seed, prefix="soft-")] = method_config(m, seed=seed, **soft)
        for m in EARLY:
            name = record_name(m, seed=seed, prefix="soft-alpha-")
            planned[name] = method_config(m, seed=seed, alpha=ALPHA, **soft)
        name = record_name("ase", seed=seed, prefix="soft-", suffix=".again")
        planned[name] = method_config("ase", seed=seed, **soft, **again)
        name = record_name(SUSPECT, seed=seed, prefix="all-")
        planned[name] = method_config(SUSPECT, seed=seed, **ON_ALL)
        name = record_name("ase", seed=seed, prefix="all-soft-")
        planned[name] = method_config("ase", seed=seed, **soft, **ON_ALL)
    return planned


def grouped(records: Records) -> dict[str, dict[str, Record]]:
    """The records of all seeds and roundings, by "0", "0.again" and so on, of all that is trained alike."""
    groups: dict[str, dict[str, Record]] = {}
    for name, record in records.items():
        method, which, stops = re.fullmatch(r"(.+)\.(\d(?:\.again)?)(\.same-stops)?", name).groups("")
        groups.setdefault(method + stops, {})[which] = record
    return groups


def keeps_losses(records: Records, record: Record) -> bool:
    """Whether the loss of every iteration is kept: not of a rate that turned out worse, and is not shown."""
    return not any(
        record.name == record_name(m, k)
        for m in METHODS
        if best_step(records, m)[1] is not None
        for k in best_step(records, m)[0]
        if k not in shown_steps(records, m)
    )


def summary(records: Records) -> Table:
    """The end, the largest rise and the stops of every method and rate, over its seeds and roundings."""
    rows = []
    for name, group in grouped(records).items():
        last = [record.table() for record in group.values()]
        rises = [record["rise"] for record in group.values() if record["rise"] is not None]
        rows.append(
            (
                f"`{name}`",
                len(group),
                spread([record["end"] for record in group.values()]),
                spread([columns["validation_loss"][-1] for columns in last]),
                spread([int(columns["stops"][-1]) for columns in last]),
                spread([round(rise, 3) for rise in rises], percent) if rises else "",
            )
        )
    names = [
        "method and rate",
        "records",
        "training loss",
        "validation loss",
        "steps with P ≤ 0",
        "largest rise",
    ]
    return table(names, rows)


STUDY = Study(
    question="On whole batches, how does FIRE compare with gradient descent, Nesterov's momentum and Adam?",
    plan=plan,
    run=descend,
    summary=summary,
    keeps=keeps_losses,
)
