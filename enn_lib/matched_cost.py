"""Test error against cost for five optimisers: gradient evaluations and floating-point operations.

Every optimiser gets the same data, the same starts and the same number of gradient evaluations, and the
rate that is best on validation. ``python -m enn_lib matched-cost --out DIR`` repeats the study, and
`load_costs` reads the one that comes with the library.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from enn_lib.argon import ArgonData, generate_data
from enn_lib.operations import count_operations
from enn_lib.storage import read_csv, write_missing_csv
from enn_lib.training import Config, Trainer, build_network, logged_iterations

SHIPPED_COSTS = Path(__file__).parent / "studies" / "matched_cost"

COLUMNS = ("gradient_evaluations", "operations", "training_loss", "validation_loss", "test_rmsd")
"""The columns of a history. They are gradients of one configuration, floating-point operations, losses
(means, without unit), and the RMSD of the force components of the test part, eV/Å."""

BASE = Config(n_configurations=10_000, iterations=1, threads=1)
"""The literal network on 6,000 training configurations; `iterations` follows from the evaluations."""

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

N_SEEDS = 3
"""Seeds of network and data at the best rate."""

LBFGS_ITERATIONS = 20
"""Iterations of L-BFGS in one call; each call evaluates once more than its line searches."""


def cost_config(optimiser: str, rate: float, seed: int, evaluations: int = EVALUATIONS, **changes) -> Config:
    """The configuration of a run. L-BFGS, which `Config` does not know, is a whole-batch run of Adam's name.

    Raises:
        ValueError: if the optimiser is none of `RATES`.
    """
    if optimiser not in RATES:
        raise ValueError(f"optimiser: got {optimiser!r}, wanted one of {', '.join(RATES)}")
    config = replace(BASE, seed=seed, data_seed=2208 + seed, **changes)
    n_train = config.n_configurations * 60 // 100
    if optimiser == "fire":
        special = {"optimiser": "fire", "fire_dt_max": rate, "fire_order": "semi_implicit"}
    elif optimiser == "lbfgs":
        special = {"optimiser": "adam", "learning_rate": rate, "schedule": "constant"}
    else:
        special = {"optimiser": optimiser, "learning_rate": rate}
    batch_size = None if optimiser in ("fire", "lbfgs") else config.batch_size
    iterations = max(1, evaluations // (batch_size or n_train))
    return replace(config, **special, batch_size=batch_size, iterations=iterations)


def make_trainer(
    optimiser: str, config: Config, data: ArgonData, lbfgs_iterations: int = LBFGS_ITERATIONS
) -> Trainer:
    """A trainer of a configuration as `cost_config` makes it; L-BFGS, which it cannot name, is put in.

    Args:
        optimiser: one of `RATES`.
        config: of the run.
        data: that the configuration describes.
        lbfgs_iterations: of L-BFGS in a step of the trainer.
    """
    torch.set_num_threads(config.threads)
    torch.compiler.reset()  # torch gives up after eight functions of one name
    trainer = Trainer(config, data)
    if optimiser == "lbfgs":
        trainer.optimiser = torch.optim.LBFGS(
            trainer.network.parameters(),
            lr=config.learning_rate,
            max_iter=lbfgs_iterations,
            history_size=20,
            tolerance_grad=0.0,  # neither of these may end a run before the others
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
    return trainer


def evaluations_so_far(optimiser: str, trainer: Trainer) -> int:
    """Gradients of one configuration that a trainer of `make_trainer` has taken, line searches too."""
    config = trainer.config
    batch = config.batch_size or (config.n_train or config.n_configurations * 60 // 100)
    if optimiser == "lbfgs":
        state = trainer.optimiser.state_dict()["state"]
        return batch * (state[0]["func_evals"] if state else 0)
    return batch * trainer.iteration


def operations_per_evaluation(config: Config, inputs: Tensor, targets: Tensor) -> float:
    """Floating-point operations of one configuration's loss and gradient, without those of the optimiser."""
    network = build_network(config)

    def gradient() -> None:
        (network(inputs) - targets).square().sum().backward()

    return count_operations(gradient).total / len(inputs)


def operations_per_step(optimiser: str, config: Config, steps: int = 20) -> float:
    """Floating-point operations of the optimiser itself in one step, the mean over the first `steps`.

    Counted on ten configurations, as the whole less the gradients. Matrix decompositions (SOAP has some in
    every tenth step) and torch's fused list operations (FIRE) are not counted; both are small beside a batch.
    """
    data = generate_data(100, config.data_seed)
    tiny = replace(config, n_configurations=100, n_train=10, compile=False)
    tiny = replace(tiny, batch_size=None if config.batch_size is None else 10)
    trainer = make_trainer(optimiser, tiny, data)

    def run() -> None:
        for _ in range(steps):
            trainer.step()

    counted = count_operations(run).total
    dtype = getattr(torch, config.dtype)
    each = operations_per_evaluation(
        tiny, data.train.inputs(data.scales, dtype)[:10], data.train.targets(data.scales, dtype)[:10]
    )
    return max(0.0, counted - each * evaluations_so_far(optimiser, trainer)) / steps


def run_cost(optimiser: str, config: Config, evaluations: int = EVALUATIONS) -> list[tuple[float, ...]]:
    """Train once and return rows of `COLUMNS`; they end early where the loss is no longer finite."""
    data = generate_data(config.n_configurations, config.data_seed)
    dtype = getattr(torch, config.dtype)
    test = data.test.inputs(data.scales, dtype), data.test.targets(data.scales, dtype)
    a_few = [part[:100] for part in test]
    each = operations_per_evaluation(config, *a_few)
    step_cost = operations_per_step(optimiser, config)
    trainer = make_trainer(optimiser, config, data)
    rows = []

    def record() -> None:
        trainer.record()
        _, _, _, training, validation, *_ = trainer.history[-1]
        n = evaluations_so_far(optimiser, trainer)
        rmsd = data.scales.force * trainer.mean_squared_error(*test) ** 0.5
        rows.append((n, n * each + trainer.iteration * step_cost, training, validation, rmsd))

    logged = logged_iterations(config.iterations, 10)
    while evaluations_so_far(optimiser, trainer) < evaluations:
        trainer.step()
        if optimiser == "lbfgs" or trainer.iteration in logged:
            try:
                record()
            except FloatingPointError:
                break
    return rows


def run_costs(folder: Path, evaluations: int = EVALUATIONS, **changes) -> None:
    """Run the study into `folder`, a file ``optimiser.rate.seed.csv`` each; files that are there stay.

    Args:
        folder: made if it does not exist.
        evaluations: of every run.
        changes: settings to change in all of them, such as ``n_configurations``.
    """

    def run(optimiser: str, rate: float, seed: int) -> None:
        config = cost_config(optimiser, rate, seed, evaluations, **changes)
        file = folder / f"{optimiser}.{rate:g}.{seed}.csv"
        write_missing_csv(file, COLUMNS, partial(run_cost, optimiser, config, evaluations))

    for optimiser, rate in tqdm([(o, r) for o, rates in RATES.items() for r in rates], unit="run"):
        run(optimiser, rate, 0)
    for seed in range(1, N_SEEDS):
        for optimiser in RATES:
            run(optimiser, best_rate(folder, optimiser), seed)


def best_rate(folder: Path, optimiser: str) -> float:
    """The rate with the lowest last validation loss on seed 0.

    Raises:
        FileNotFoundError: if the folder has no history of this optimiser.
    """
    last = {
        rate: history["validation_loss"][-1]
        for rate in RATES[optimiser]
        if (file := folder / f"{optimiser}.{rate:g}.0.csv").exists()
        and (history := read_csv(file))["validation_loss"]
    }
    if not last:
        raise FileNotFoundError(f"{folder}: got no history of {optimiser}")
    return min(last, key=last.get)


def load_costs(folder: Path = SHIPPED_COSTS) -> dict[str, dict[int, dict[str, list[float]]]]:
    """The histories at the best rate: columns by seed by optimiser.

    Raises:
        FileNotFoundError: if an optimiser has none.
    """
    return {
        optimiser: {
            seed: read_csv(file)
            for seed in range(N_SEEDS)
            if (file := folder / f"{optimiser}.{best_rate(folder, optimiser):g}.{seed}.csv").exists()
        }
        for optimiser in RATES
    }
