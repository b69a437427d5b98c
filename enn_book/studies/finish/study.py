"""A second-order finish: does a method that knows the curvature get more out of trained weights?

It takes up the weights of a run of the study of minutes: L-BFGS in double precision on the whole training
set, and, for the same number of gradients, Muon once more from a lower rate down to zero. Compared on
validation; the test part is never touched.
"""

from dataclasses import asdict, dataclass, replace

from enn_book.studies.study import Columns, Outcome, Records, Study
from enn_book.studies.training import Descent, evaluations_so_far, follow, make_trainer
from enn_book.style import Table, table
from enn_lib.runs import load_run

COLUMNS = ("gradient_evaluations", "training_loss", "validation_loss")
"""The columns of a history. The first counts gradients of one configuration since the weights were taken
up; losses are means over configurations and components, without unit, of the data as they are numbered."""

STARTS = ("five-minutes", "two-minutes")
"""Runs whose weights are taken up, a literal network and a softened one."""

EPOCHS = 30
"""Gradients of each finish, in passes through the training data."""

FINISHES: dict[str, dict] = {
    "lbfgs": {
        "lbfgs_iterations": 5,
        "optimiser": "adam",  # which L-BFGS replaces
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


@dataclass(frozen=True)
class Finish(Descent):
    """A training that takes up the weights of a run.

    Attributes:
        start: the run, as `load_run` takes it.
    """

    start: str = STARTS[0]


def finish_config(start: str, finish: str, epochs: float = EPOCHS) -> Finish:
    """The configuration of one of `FINISHES`, with as many iterations as the passes through the data make."""
    settings = {"start": start, "threads": 1, "points_per_decade": 10} | FINISHES[finish]
    config = Finish(**(asdict(load_run(start).config) | settings))
    size = config.training_size
    return replace(config, iterations=int(epochs * size // (config.batch_size or size)))


def run_finish(config: Finish) -> Outcome:
    """Take up the weights of a run and go on; the table has `COLUMNS`, its first row as taken up."""
    trainer = make_trainer(config)
    trainer.network.load_state_dict(load_run(config.start).network.state_dict())
    rows = follow(trainer, lambda row: (evaluations_so_far(trainer), *row[3:5]), from_start=True)
    return Outcome(tables={"": (COLUMNS, rows)})


def by_start(records: Records) -> dict[str, dict[str, Columns]]:
    """The histories: columns by finish by start."""
    return {start: {finish: records[f"{start}.{finish}"].table() for finish in FINISHES} for start in STARTS}


def plan(records: Records, length: float | None) -> dict[str, Finish]:
    """Every finish of every start."""
    epochs = EPOCHS if length is None else length
    return {f"{s}.{f}": finish_config(s, f, epochs) for s in STARTS for f in FINISHES}


def summary(records: Records) -> Table:
    """The last row of every finish, and its errors over those of the weights that it took up."""
    rows = []
    for name, history in records.tables().items():
        losses = [history[column] for column in COLUMNS[1:]]
        ratios = [(loss[-1] / loss[0]) ** 0.5 for loss in losses]
        rows.append([f"`{name}`", int(history[COLUMNS[0]][-1]), *(loss[-1] for loss in losses), *ratios])
    return table(
        ["finish", "gradients", "training loss", "validation loss", "training ratio", "validation ratio"],
        rows,
        digits=4,  # L-BFGS changes less than a hundredth
    )


STUDY = Study(
    question="Does a second-order method get more out of trained weights than more of the same training?",
    plan=plan,
    run=run_finish,
    length=EPOCHS,
    unit="passes through the training data",
    summary=summary,
)
