"""The benchmark as a study: a rate chosen on validation, then several seeds, beside what is published.

As published: 3,000 trajectories, mean squared error, batches of 100 in a new order each epoch, the network
that was best on the 2,000 validation trajectories, and its error on the 2,000 of the test. Different: the
time is limited where 10,000 epochs were run, so the learning rate goes to zero along a cosine of the time
where it was constant; a gradient is shortened to `LONGEST`; and weights decay and are averaged.
"""

import copy
from functools import cache

import torch
from torch import Tensor, nn

from enn_book.studies.nbody.data import DRAWN, N_TRAIN, Systems, generate_systems, load_test
from enn_book.studies.nbody.models import build_model
from enn_book.studies.study import Outcome, Record, Records, Study, load
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

LATER = {"SEGNN": 0.0043, "PONITA": 0.0043, "SEGNO": 0.00433, "Multivector Neurons": 0.0035}
"""Later figures, as printed by Bekkers et al. (PONITA and SEGNN, in the repository of PONITA), by Liu et al.
(SEGNO, on its page, on another draw of the data), and by Liu, Ruhe and Forré (2024, in the abstract).
"""

SECONDS = 160.0
"""Processor time of a run."""

TRIAL = 0.125
"""The share of that time which each trial of a rate gets."""

TRIALS = tuple(("adamw", rate) for rate in (0.03, 0.01, 0.003))
"""Optimiser and rates, of which each model gets the one that is best on validation on seed 0."""

FORMS = ("enn", "enn-fine", "enn-own")
"""What was tried first, 8 steps of one law, 16 of them, and five rounds with weights of their own."""

FORM = ("adamw", 0.01, 0.5)
"""Optimiser and rate of these, and the share of the time that each got, on seed 0."""

DECAY = 0.1
"""The weight decay of all runs."""

AVERAGE = 0.998
"""Of the moving average of the weights, in all runs; it remembers some 500 steps."""

BATCH_SIZE = 100
"""Systems a step, as published."""

CHECKS = tuple(k / 10 for k in range(1, 11))
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
    """A part of the data in float32, once in a process.

    Args:
        split: "train", "validation", "test", which is `load_test`, or "unused", the 7,000 training
            trajectories that the benchmark draws and does not use.
    """
    if split == "test":
        return load_test().float()
    if split == "unused":
        return generate_systems("train", DRAWN["train"])[N_TRAIN:].float()
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

    A network that goes on begins as the one of `teachers` that has its seed. ``enn-taught`` learns what
    these say on average, ``enn-longer`` the data as before.

    These are ``validation_error``, ``test_error`` and ``unused_error``, mean squared errors at the best step
    (None if the run diverged), and ``equivariance_error`` by group in float64.

    Raises:
        ValueError: if a setting is out of range.
    """
    model = build_model(config.model, config.seed)
    train, validation = map(float_systems, ("train", "validation"))
    targets = train.targets
    if config.model in CONTINUED.models:
        members = teachers()
        model.load_state_dict(members[config.seed].state_dict())
    if config.model == "enn-taught":
        targets = torch.stack([predictions(member, train) for member in members]).mean(dim=0)
    least, measured = train_for(
        config,
        model,
        (*_known(train), targets),
        lambda x, v, q, target, _: (model(x, v, q) - target).square().mean(),
        lambda: mean_squared_error(model, validation),
        batch_size=BATCH_SIZE,
        checks=CHECKS,
        longest=LONGEST,
    )
    measured |= {"validation_error": least, "test_error": None, "unused_error": None}
    if least is not None:
        for split in ("test", "unused"):
            measured[f"{split}_error"] = mean_squared_error(model, float_systems(split))
        inputs = (part.double() for part in _known(validation[:100]))
        measured["equivariance_error"] = equivariance_errors(
            copy.deepcopy(model).double(), *inputs, actions=ACTIONS, output_actions={}
        )
    return Outcome(measured, weights=model.state_dict())


def _known(systems: Systems) -> tuple[Tensor, Tensor, Tensor]:
    """What a network sees."""
    return systems.positions, systems.velocities, systems.charges


def configured(model: str, optimiser: str, rate: float, seconds: float) -> TimedConfig:
    """A run on all training data and seed 0."""
    decay = DECAY if optimiser == "adamw" else 0.0
    return TimedConfig(model, optimiser, rate, seconds, N_TRAIN, decay=decay, average=AVERAGE)


COMPARISON = Comparison(
    ("enn", "enn-own", "enn-still", "egnn", "egnn-steps"),
    TRIALS,
    configured,
    "validation_error",
    TRIAL,
    further={"egnn": (("soap", 0.003),)},
    seeds=(0, 1),
    more={"enn": (2, 3, 4), "enn-own": (2,), "egnn": (2,)},
)
"""Every model gets the best of three rates, and two or three seeds; the one that the page is about five.

EGNN may also have SOAP, with which it had done better before, without decay.
"""


CONTINUED = Comparison(
    ("enn-taught", "enn-longer"),
    TRIALS,
    configured,
    "validation_error",
    share=0.5,
    more={"enn-taught": (3, 4)},
)
"""Networks that go on from a trained one, on what five say on average or, as the control, on the data.

Each with the rate that is best in half of the time.
"""

LONGER = 2.0
"""Times as long as another run takes one that goes on."""


def teachers() -> list[nn.Module]:
    """The five networks that teach: the runs of ``enn`` that come with the book, by seed."""
    return [load_model(record) for record in COMPARISON.runs(load("nbody"), SECONDS)["enn"][N_TRAIN]]


def forms(seconds: float) -> dict[str, TimedConfig]:
    """The runs by which the form of the law was chosen, by name."""
    optimiser, rate, share = FORM
    tried = [configured(model, optimiser, rate, share * seconds) for model in FORMS]
    return {config.name: config for config in tried}


def load_model(record: Record) -> nn.Module:
    """The trained network of a record that counts, in float32.

    Raises:
        FileNotFoundError: if its weights were not kept.
    """
    model = build_model(record.config["model"])
    model.load_state_dict(record.weights())
    return model


def _keeps(records: Records, record: Record) -> bool:
    """Whether weights stay: those of the runs that count, and of others until the rate is chosen."""
    model, seconds = record.config["model"], record.config["seconds"]
    return any(
        model in comparison.models
        and all(comparison.chosen(records, model, seconds / share) is None for share in shares)
        for comparison, shares in ((COMPARISON, (TRIAL, FORM[-1])), (CONTINUED, (CONTINUED.share,)))
    )


def summary(records: Records) -> Table:
    """Every run: the mean squared errors at its best step."""
    keys = ("parameters", "epochs", "validation_error", "test_error", "unused_error")
    rows = [[f"`{name}`", *(record[key] for key in keys)] for name, record in records.items()]
    return table(["run", "parameters", "epochs", "validation", "test", "unused draws"], rows)


STUDY = Study(
    question="How accurate is the ENN on a published benchmark of five charged particles, and by what?",
    plan=lambda records, seconds: (
        forms(seconds) | COMPARISON.plan(records, seconds) | CONTINUED.plan(records, LONGER * seconds)
    ),
    run=run_model,
    length=SECONDS,
    unit="seconds of processor time",
    summary=summary,
    keeps=_keeps,
)
