"""The benchmark as a study: an optimiser chosen on validation, then several seeds, beside what is published.

As published: 3,000 trajectories, mean squared error, batches of 100 in a new order each epoch, the network
that was best on the 2,000 validation trajectories, and its error on the 2,000 of the test. Different: the
time is limited where 10,000 epochs were run, so the learning rate goes to zero along a cosine of the time
where it was constant, a gradient is shortened to `LONGEST`, and the optimiser is chosen on validation.
"""

import copy
from functools import cache, partial

import torch
from torch import Tensor, nn

from enn_book.studies.nbody.data import N_TRAIN, Systems, generate_systems
from enn_book.studies.nbody.models import MODELS, build_model
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.studies.timed import Comparison, TimedConfig, equivariance_errors, train_for
from enn_book.style import Table, table

PUBLISHED = {
    "linear": 0.0819,
    "SE(3)-Transformer": 0.0244,
    "TFN": 0.0155,
    "GNN": 0.0107,
    "Radial Field": 0.0104,
    "EGNN": 0.0071,
}
"""Mean squared errors on the test part as printed by Satorras, Hoogeboom and Welling (2021), table 2.

The linear model is x + v t with t learned. All were trained by its authors, for 10,000 epochs on a GPU.
"""

LATER = {"Clifford algebra network": 0.0035}
"""The least error that we have found printed, by Liu, Ruhe and Forré (2024), in their abstract."""

SECONDS = 60.0
"""Processor time of a run."""

TRIAL = 0.5
"""The share of that time which each trial of an optimiser gets."""

TRIALS = (("adam", 0.03), ("adam", 0.01), ("adam", 0.003), ("soap", 0.01), ("soap", 0.003))
"""Optimisers and rates, of which each model gets the one that is best on validation on seed 0."""

BATCH_SIZE = 100
"""Systems a step, as published."""

CHECKS = tuple(k / 30 for k in range(1, 31))
"""The shares of the time after which the validation error is measured."""

LONGEST = 1.0
"""Gradients are shortened to this norm, as one close encounter can give more than all other systems."""

ACTIONS = {
    "O": ("rows", "rows", "invariant"),
    "S": ("rows", "rows", lambda order, q: q[..., order.argsort()]),
    "T": ("rows", "invariant", "invariant"),
}
"""What a group does to positions, velocities and charges."""


@cache
def float_systems(split: str) -> Systems:
    """`generate_systems` in float32, once in a process."""
    return generate_systems(split).float()


@torch.no_grad()
def predictions(model: nn.Module, systems: Systems, chunk: int = 500) -> Tensor:
    """The positions that a network predicts, ``(systems, 5, 3)``, in the dtype of the systems."""
    parts = (systems[k : k + chunk] for k in range(0, len(systems), chunk))
    return torch.cat([model(*_known(part)) for part in parts])


def squared_errors(predicted: Tensor, systems: Systems) -> Tensor:
    """The mean over particles and components of every system, ``(systems,)``; their mean is the table's."""
    return (predicted - systems.targets).square().mean(dim=(-2, -1))


def mean_squared_error(model: nn.Module, systems: Systems) -> float:
    """The error of the published table: the mean over systems, particles and components."""
    return squared_errors(predictions(model, systems), systems).mean().item()


def run_model(config: TimedConfig) -> Outcome:
    """Train on the published data for a time, and measure beside what `train_for` does.

    These are ``validation_error`` and ``test_error``, mean squared errors at the best step (None if the run
    diverged), and ``equivariance_error`` by group in float64.

    Raises:
        ValueError: if a setting is out of range.
    """
    model = build_model(config.model, config.seed)
    train, validation, test = map(float_systems, ("train", "validation", "test"))
    least, measured = train_for(
        config,
        model,
        (*_known(train), train.targets),
        lambda x, v, q, target, _: (model(x, v, q) - target).square().mean(),
        lambda: mean_squared_error(model, validation),
        batch_size=BATCH_SIZE,
        checks=CHECKS,
        longest=LONGEST,
    )
    measured |= {"validation_error": least, "test_error": None}
    if least is not None:
        measured["test_error"] = mean_squared_error(model, test)
        inputs = (part.double() for part in _known(test[:100]))
        measured["equivariance_error"] = equivariance_errors(
            copy.deepcopy(model).double(), *inputs, actions=ACTIONS, output_actions={}
        )
    return Outcome(measured, weights=model.state_dict())


def _known(systems: Systems) -> tuple[Tensor, Tensor, Tensor]:
    """What a network sees."""
    return systems.positions, systems.velocities, systems.charges


COMPARISON = Comparison(
    tuple(MODELS), TRIALS, partial(TimedConfig, n_train=N_TRAIN), "validation_error", TRIAL
)
"""Both models get the best of five trials, each of half the time."""


def load_model(record: Record) -> nn.Module:
    """The trained network of a record that counts, in float32.

    Raises:
        FileNotFoundError: if its weights were not kept.
    """
    model = build_model(record.config["model"])
    model.load_state_dict(record.weights())
    return model


def _keeps(records: Records, record: Record) -> bool:
    """Whether weights stay: not those of trials when the optimiser of their model is chosen."""
    seconds = record.config["seconds"] / TRIAL
    return COMPARISON.chosen(records, record.config["model"], seconds) is None


def summary(records: Records) -> Table:
    """Every run: the mean squared errors at its best step."""
    keys = ("epochs", "validation_error", "test_error")
    rows = [[f"`{name}`", *(record[key] for key in keys)] for name, record in records.items()]
    return table(["run", "epochs", "validation error", "test error"], rows)


STUDY = Study(
    question="How accurate is the ENN on a published benchmark of five charged particles, beside EGNN?",
    plan=COMPARISON.plan,
    run=run_model,
    length=SECONDS,
    unit="seconds of processor time",
    summary=summary,
    keeps=_keeps,
)
