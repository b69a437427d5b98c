"""A second-order finish: does a method that knows the curvature get more out of trained weights?

It takes up the weights of a shipped run: L-BFGS in double precision on the whole training set, and, for
the same number of gradients, Muon once more from a lower rate down to zero. Compared on validation; the
test part is never touched. ``python -m enn_lib finish --out DIR`` repeats the study, and `load_finishes`
reads the one that comes with the library.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from enn_lib.argon import generate_data
from enn_lib.matched_cost import evaluations_so_far, make_trainer
from enn_lib.runs import load_run
from enn_lib.storage import read_csv, write_missing_csv
from enn_lib.training import Config, logged_iterations

SHIPPED_FINISHES = Path(__file__).parent / "studies" / "finish"

COLUMNS = ("gradient_evaluations", "training_loss", "validation_loss")
"""The columns of a history. The first counts gradients of one configuration since the weights were taken
up; losses are means over configurations and components, without unit, of the data as they are numbered."""

STARTS = ("five-minutes", "two-minutes")
"""Shipped runs whose weights are taken up, a literal network and a softened one."""

EPOCHS = 30
"""Gradients of each finish, in passes through the training data."""

FINISHES: dict[str, dict] = {
    "lbfgs": {
        "optimiser": "adam",  # a `Config` has no name for L-BFGS; `make_trainer` puts it in its place
        "learning_rate": 1.0,
        "schedule": "constant",
        "dtype": "float64",
        "batch_size": None,
        "relabel": False,
    },
    **{f"muon-{rate:g}": {"learning_rate": rate} for rate in (0.0005, 0.002, 0.005)},
}
"""What each finish changes in the configuration of the run. L-BFGS needs an objective that stands still, so
it sees the atoms as they are numbered; Muon goes on renumbering them."""


def finish_config(start: str, finish: str, epochs: int = EPOCHS, **changes) -> Config:
    """The configuration of a finish, with as many iterations as the epochs make.

    Args:
        start: one of `STARTS`, or another run as `load_run` takes it.
        finish: one of `FINISHES`.
        epochs: passes through the training data.
        changes: settings to change beside, such as ``compile``.

    Raises:
        ValueError: if there is no such finish.
    """
    if finish not in FINISHES:
        raise ValueError(f"finish: got {finish!r}, wanted one of {', '.join(FINISHES)}")
    config = replace(
        load_run(start).config, **({"threads": 1, "points_per_decade": 10} | FINISHES[finish] | changes)
    )
    n_train = training_size(config)
    return replace(config, iterations=epochs * n_train // (config.batch_size or n_train))


def run_finish(start: str, finish: str, epochs: int = EPOCHS, **changes) -> list[tuple[float, ...]]:
    """Take up the weights of a run, go on, and return rows of `COLUMNS`, the first as taken up.

    The arguments are those of `finish_config`.
    """
    config = finish_config(start, finish, epochs, **changes)
    method = "lbfgs" if finish == "lbfgs" else config.optimiser
    data = generate_data(config.n_configurations, config.data_seed)
    trainer = make_trainer(method, config, data, lbfgs_iterations=5)
    trainer.network.load_state_dict(load_run(start).network.state_dict())
    logged = logged_iterations(config.iterations, config.points_per_decade)
    budget = epochs * training_size(config)
    rows: list[tuple[float, ...]] = []
    while True:
        spent = evaluations_so_far(method, trainer)
        if method == "lbfgs" or trainer.iteration in logged:
            trainer.record()
            rows.append((spent, *trainer.history[-1][3:5]))
        if spent >= budget if method == "lbfgs" else trainer.iteration == config.iterations:
            return rows
        trainer.step()


def training_size(config: Config) -> int:
    """How many configurations train."""
    return config.n_train or config.n_configurations * 60 // 100


def run_finishes(folder: Path, starts: tuple[str, ...] = STARTS, epochs: int = EPOCHS, **changes) -> None:
    """Run the study into `folder`, a file ``start.finish.csv`` each; files that are there already stay.

    Args:
        folder: made if it does not exist.
        starts: runs as `load_run` takes them.
        epochs: passes through the training data, of each.
        changes: settings to change in all of them, such as ``compile``.
    """
    for start, finish in tqdm([(s, f) for s in starts for f in FINISHES], unit="run"):
        make = partial(run_finish, start, finish, epochs, **changes)
        write_missing_csv(folder / f"{start}.{finish}.csv", COLUMNS, make)


def load_finishes(folder: Path = SHIPPED_FINISHES) -> dict[str, dict[str, dict[str, list[float]]]]:
    """The histories of a study: columns by finish by start.

    Raises:
        FileNotFoundError: if one is missing.
    """
    return {s: {f: read_csv(folder / f"{s}.{f}.csv") for f in FINISHES} for s in STARTS}
