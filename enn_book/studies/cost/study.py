"""Test error against cost for five optimisers: gradient evaluations and floating-point operations.

Every optimiser gets the same data, the same starts and the same number of gradient evaluations, and the
rate that is best on validation.
"""

import math
from dataclasses import replace

import torch

from enn_book.lectures.operations import count_operations
from enn_book.studies.study import Columns, Outcome, Records, Study
from enn_book.studies.training import Descent, evaluations_so_far, follow, make_trainer
from enn_book.style import Table, table
from enn_lib.argon import generate_data
from enn_lib.settings import Config, build_network

COLUMNS = ("gradient_evaluations", "operations", "training_loss", "validation_loss", "test_rmsd")
"""The columns of a history. They are gradients of one configuration, floating-point operations, losses
(means, without unit), and the RMSD of the force components of the test part, eV/Å."""

BASE = Descent(n_configurations=10_000, threads=1)
"""The literal network on 6,000 training configurations."""

EVALUATIONS = 1_500_000
"""Gradient evaluations of one run, 250 passes through the data."""

RATES: dict[str, tuple[float, ...]] = {
    "fire": (0.01, 0.03, 0.1),
    "adam": (0.001, 0.003, 0.01, 0.03, 0.1),
    "muon": (0.005, 0.01, 0.02, 0.04, 0.08, 0.16),
    "soap": (0.0003, 0.001, 0.003, 0.01),
    "lbfgs": (0.3, 1.0, 3.0),
}
"""The rates tried, all on seed 0, are learning rates, FIRE's largest time step, L-BFGS's first trial step."""

SUPERSEDED: dict[str, tuple[float, ...]] = {"adam": (0.01,), "muon": (0.02, 0.04)}
"""Rates that were the best until higher ones were tried, and so were run with all seeds too."""

N_SEEDS = 3
"""Seeds of network and data at the best rate."""


def cost_config(optimiser: str, rate: float, seed: int, evaluations: float = EVALUATIONS) -> Descent:
    """The configuration of a run: of one of `RATES` at a rate, with so many gradient evaluations."""
    special = {
        "fire": {"batch_size": None, "fire_dt_max": rate, "fire_order": "semi_implicit"},
        "lbfgs": {"batch_size": None, "optimiser": "adam", "schedule": "constant", "lbfgs_iterations": 20},
    }.get(optimiser, {})
    settings = {"optimiser": optimiser} | ({} if optimiser == "fire" else {"learning_rate": rate}) | special
    config = replace(BASE, seed=seed, data_seed=2208 + seed, **settings)
    return replace(config, iterations=max(1, int(evaluations // (config.batch_size or config.training_size))))


def operations_per_evaluation(config: Config) -> float:
    """Floating-point operations of one configuration's loss and gradient, without those of the optimiser."""
    network = build_network(config)
    inputs, targets = (
        torch.ones(1, 3, width, dtype=getattr(torch, config.dtype))
        for width in (config.widths[0], config.widths[-1])
    )
    return count_operations(lambda: (network(inputs) - targets).square().sum().backward()).total


def operations_per_step(config: Config, steps: int = 20) -> float:
    """Floating-point operations of the optimiser itself in one step, the mean over the first `steps`.

    Counted on ten configurations, as the whole less the gradients. Matrix decompositions (SOAP has some in
    every tenth step) and torch's fused list operations (FIRE) are not counted; both are small beside a batch.
    """
    batch_size = None if config.batch_size is None else 10
    trainer = make_trainer(
        replace(config, n_configurations=100, n_train=10, batch_size=batch_size, compile=False)
    )
    counted = count_operations(lambda: [trainer.step() for _ in range(steps)]).total
    return max(0.0, counted - operations_per_evaluation(config) * evaluations_so_far(trainer)) / steps


def run_cost(config: Descent) -> Outcome:
    """Train as `config` says; the table has `COLUMNS`, and ends early where a loss is not finite."""
    each, step_cost = operations_per_evaluation(config), operations_per_step(config)
    data = generate_data(config.n_configurations, config.data_seed)
    dtype = getattr(torch, config.dtype)
    test = data.test.inputs(data.scales, dtype), data.test.targets(data.scales, dtype)
    trainer = make_trainer(config, data)

    def row(looked: tuple[float, ...]) -> tuple[float, ...]:
        n = evaluations_so_far(trainer)
        rmsd = data.scales.force * trainer.mean_squared_error(*test) ** 0.5
        return (n, n * each + trainer.iteration * step_cost, *looked[3:5], rmsd)

    return Outcome(tables={"": (COLUMNS, follow(trainer, row))})


def _name(optimiser: str, rate: float, seed: int) -> str:
    return f"{optimiser}.{rate:g}.{seed}"


def best_rate(records: Records, optimiser: str) -> float:
    """The rate with the lowest last validation loss on seed 0.

    Raises:
        KeyError: if one of the rates has no record.
    """

    def loss(rate: float) -> float:
        losses = records[_name(optimiser, rate, 0)].table()["validation_loss"]
        return losses[-1] if losses else math.inf  # empty where the training diverged at once

    return min(RATES[optimiser], key=loss)


def at_best_rates(records: Records) -> dict[str, dict[int, Columns]]:
    """The histories at the best rate: columns by seed by optimiser."""
    rates = {optimiser: best_rate(records, optimiser) for optimiser in RATES}
    return {
        optimiser: {seed: records[_name(optimiser, rate, seed)].table() for seed in range(N_SEEDS)}
        for optimiser, rate in rates.items()
    }


def plan(records: Records, length: float | None) -> dict[str, Descent]:
    """Every rate on seed 0, then the best one of each optimiser, and those once the best, on the others."""
    runs = [(optimiser, rate, 0) for optimiser, rates in RATES.items() for rate in rates]
    if {_name(*run) for run in runs} <= set(records):
        runs += [
            (optimiser, rate, seed)
            for seed in range(1, N_SEEDS)
            for optimiser in RATES
            for rate in (best_rate(records, optimiser), *SUPERSEDED.get(optimiser, ()))
        ]
    return {_name(*run): cost_config(*run, EVALUATIONS if length is None else length) for run in runs}


def summary(records: Records) -> Table:
    """The end of every run."""
    last = {name: [values[-1] for values in t.values()] for name, t in records.tables().items()}
    return table(
        ["run", "gradients", "operations", "training loss", "validation loss", "test RMSD, eV/Å"],
        [[f"`{name}`", int(gradients), *others] for name, (gradients, *others) in last.items()],
    )


STUDY = Study(
    question="Which optimiser makes the most of a given number of gradients?",
    plan=plan,
    run=run_cost,
    length=EVALUATIONS,
    unit="gradients of one configuration",
    summary=summary,
)
