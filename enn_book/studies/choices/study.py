"""What matters in training: one training, one thing changed at a time, three seeds of each.

Every variation has the data of sec. 4.1 and as many gradients, the long ones `LONGER` times as many. Rates
are chosen on the validation part; the test part and the dynamics choose nothing.
"""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import fmean, variance

import torch

from enn_book.studies.study import STUDENT, Outcome, Records, Study
from enn_book.studies.training import follow, make_trainer
from enn_book.style import Table, spread, table
from enn_lib.argon import generate_data
from enn_lib.evaluation import dynamics_errors, rmsd
from enn_lib.force_field import NetworkForceField
from enn_lib.settings import Config

COLUMNS = ("iteration", "gradient_evaluations", "training_loss", "validation_loss")
"""The columns of a history. Losses are means over configurations and components, without unit."""

EPOCHS = 60
"""Passes of the base through its 60,000 training configurations; each variation gets as many gradients."""

BASE = Config(relabel=True, iterations=EPOCHS * 120, learning_rate=0.02, points_per_decade=5, threads=1)
"""The literal network, Muon, batches of 500, atoms relabelled."""

SEEDS = (0, 1, 2)
"""Of the network and, shifted by 2208, of the data."""

PAIR = {"softening": 0.3, "a": 1.0}
"""Softened unit vectors and a large residue, together."""

LONGER = 5
"""How many times as long the long trainings are."""

LONG = {"iterations": LONGER * BASE.iterations}

SHORT_CHOICES: dict[str, dict] = {
    "base": {},
    "numbered": {"relabel": False},
    "a-1": {"a": 1.0},
    "eps-0.3": {"softening": 0.3},
    "pair": PAIR,
    "batch-250": {"batch_size": 250},
    "constant": {"schedule": "constant"},
    "adam": {"optimiser": "adam"},
    "soap": {"optimiser": "soap"},
    "soap-pair": {"optimiser": "soap", **PAIR},
    "power-4": {"sampling_power": 4.0},
    "power-6": {"sampling_power": 6.0},
}
"""What each choice changes of `BASE`, beside the rate."""

LONG_CHOICES = {"long": LONG} | {
    f"long-{choice}": SHORT_CHOICES[choice] | LONG for choice in ("numbered", "pair", "adam")
}
"""The same for long trainings, which are compared with "long"."""

CHOICES = SHORT_CHOICES | LONG_CHOICES

RATES = {
    "base": (0.01, 0.02, 0.04),
    "eps-0.3": (0.01, 0.02, 0.04),
    "a-1": (0.005, 0.01, 0.02),
    "pair": (0.002, 0.005, 0.01, 0.02),
    "constant": (0.001, 0.002, 0.005, 0.02),
    "adam": (0.003, 0.01, 0.03, 0.1),
    "soap": (0.001, 0.003, 0.01),
    "long": (0.01, 0.02),
    "long-adam": (0.003, 0.01, 0.03),
}
"""Tried on seed 0."""

TUNED_AS = {"soap-pair": "soap", "long-numbered": "long", "long-pair": "pair"}
"""Choices that take the best rate of another; those that are in neither have the rate of the base."""

FEWER = {
    f"{name}-{n}": {"relabel": name == "base", "n_train": n}
    for name in ("base", "numbered")
    for n in (1000, 10_000)
}
"""Fewer configurations, on seed 0 alone."""


def variation(settings: dict, seed: int = 0) -> Config:
    """`BASE` with other settings, as many gradients if no length is among them, and a seed."""
    iterations = BASE.iterations * BASE.batch_size // settings.get("batch_size", BASE.batch_size)
    return replace(BASE, **{"iterations": iterations, "seed": seed, "data_seed": 2208 + seed} | settings)


def at_rate(choice: str, rate: float) -> tuple[str, dict]:
    """The name of a choice at a rate, which is left out if it is that of the base, and its settings."""
    name = choice if rate == BASE.learning_rate else f"{choice}-{rate:g}"
    return name, CHOICES[choice] | {"learning_rate": rate}


def best_rate(records: Records, choice: str) -> float | None:
    """The rate with the least last validation loss on seed 0; None as long as one is missing."""
    choice = TUNED_AS.get(choice, choice)
    if choice not in RATES:
        return BASE.learning_rate
    names = {rate: f"{at_rate(choice, rate)[0]}.0" for rate in RATES[choice]}
    if not set(names.values()) <= set(records):
        return None
    return min(names, key=lambda rate: last(records, names[rate])["validation_loss"])


def at_best(records: Records) -> dict[str, tuple[str, dict]]:
    """The name and the settings of every choice at its best rate, as far as that is known."""
    rates = {choice: best_rate(records, choice) for choice in CHOICES}
    return {choice: at_rate(choice, rate) for choice, rate in rates.items() if rate is not None}


def last(records: Records, name: str) -> dict[str, float]:
    """The last row of a history."""
    return {key: values[-1] for key, values in records[name].table().items()}


def plan(records: Records, length: float | None) -> dict[str, Config]:
    """Every rate and fewer configurations on seed 0, then every choice at its best rate on every seed."""
    trials = [at_rate(choice, rate) for choice, rates in RATES.items() for rate in rates]
    planned = {f"{name}.0": variation(settings) for name, settings in (*trials, *FEWER.items())}
    chosen = at_best(records).values()
    return planned | {
        f"{name}.{seed}": variation(settings, seed) for seed in SEEDS for name, settings in chosen
    }


def run_variation(config: Config) -> Outcome:
    """Train as `config` says; the table has `COLUMNS`.

    Of the network, which is not kept, ``test_rmsd`` is the error of a force component on the test part
    (eV/Å), and ``dynamics`` what `dynamics_errors` says.

    Raises:
        FloatingPointError: if training diverges.
    """
    data, began = generate_data(config.n_configurations, config.data_seed), time.perf_counter()
    trainer = make_trainer(config, data)
    rows = follow(trainer, lambda row: (row[0], *row[2:5]))
    seconds = round(time.perf_counter() - began, 1)
    trainer.record()  # which notices a divergence
    field = NetworkForceField(trainer.network, data.scales).to(torch.float64)
    measured = {"test_rmsd": rmsd(field, data.test), "dynamics": dynamics_errors(field)}
    return Outcome({"seconds_of_training": seconds, **measured}, {"": (COLUMNS, rows)})


def over_seeds(records: Records) -> dict[str, list[str]]:
    """The names of the records of everything that was trained, the seeds in order."""
    groups: dict[str, list[str]] = {}
    for name in records:
        groups.setdefault(name.rpartition(".")[0], []).append(name)
    return groups


def over_choices(
    records: Records, measure: Callable[[str], float], choices: Iterable[str] = SHORT_CHOICES
) -> dict[str, list[float]]:
    """What a function of the name of a record says of choices at their best rates, a number a seed."""
    best = at_best(records)
    return {choice: [measure(f"{best[choice][0]}.{seed}") for seed in SEEDS] for choice in choices}


def factors(values: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, float, float]]:
    """How many times that of the first choice a positive number is, and the ends of a 95 % interval.

    Of the geometric means over the seeds: the logarithms are taken to be normal, and of one variance for all
    choices, which has two degrees of freedom for each.
    """
    first = next(iter(values))
    logarithms = {choice: [math.log(value) for value in found] for choice, found in values.items()}
    pooled = fmean(variance(found) for found in logarithms.values())
    half = STUDENT[len(values) * (len(SEEDS) - 1)] * (2 * pooled / len(SEEDS)) ** 0.5
    middles = {choice: fmean(found) - fmean(logarithms[first]) for choice, found in logarithms.items()}
    return {
        c: (math.exp(m), math.exp(m - half), math.exp(m + half)) for c, m in middles.items() if c != first
    }


def summary(records: Records) -> Table:
    """The ends of every variation over its seeds, the best first."""
    rows = []
    for name, group in over_seeds(records).items():
        ends = [last(records, member) for member in group]
        losses = [[end[key] for end in ends] for key in ("training_loss", "validation_loss")]
        test = [records[member]["test_rmsd"] for member in group]
        moved = [records[member]["dynamics"]["rmsd_positions"][0] for member in group]
        rows.append([f"`{name}`", *map(spread, (*losses, test, moved)), fmean(losses[1])])
    rows.sort(key=lambda row: row.pop())
    columns = ["variation", "training loss", "validation loss", "test RMSD (eV/Å)"]
    return table([*columns, "positions at step 1,500 (Å)"], rows)


STUDY = Study(
    question="Which setting of the training matters, and what makes the network overfit?",
    plan=plan,
    run=run_variation,
    summary=summary,
)
