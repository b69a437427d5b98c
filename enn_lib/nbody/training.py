"""Training on the benchmark for a given time of one core, by the published protocol where we can afford it.

As published: 3,000 trajectories, mean squared error, batches of 100 in a new order each epoch, the network
that was best on the 2,000 validation trajectories, and its error on the 2,000 of the test. Different: the
time is limited where 10,000 epochs were run, so the learning rate goes to zero along a cosine of the time
where it was constant, a gradient is shortened to `LONGEST`, and the optimiser is chosen on validation.
"""

import copy
import math
import time
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from enn_lib.groups import equivariance_error, random_element
from enn_lib.nbody.data import N_PARTICLES, N_TRAIN, Systems, generate_systems
from enn_lib.nbody.models import build_model
from enn_lib.training import Config, build_optimiser

BATCH_SIZE = 100
"""Systems a step, as published."""

CHECKS = 30
"""How often the validation error is measured, at equal times."""

LONGEST = 1.0
"""Gradients are shortened to this norm, as one close encounter can give more than all other systems."""


@dataclass(frozen=True)
class NBodyConfig:
    """What determines a run, but for how fast the machine is.

    Attributes:
        model: a name in `MODELS`.
        optimiser: "adam" or "soap" (optional extra ``soap``).
        rate: the learning rate at the start; it goes down to zero along a cosine of the time.
        seconds: of processor time for the steps.
        seed: of the weights and batches; the data are the published ones.
        n_train: how many of the training systems.
    """

    model: str
    optimiser: str
    rate: float
    seconds: float
    seed: int = 0
    n_train: int = N_TRAIN

    @property
    def file(self) -> str:
        """A name for its files, without suffix."""
        return f"{self.model}.{self.optimiser}.{self.rate:g}.{self.seconds:g}s.{self.n_train}.{self.seed}"


@cache
def float_systems(split: str) -> Systems:
    """`generate_systems` in float32, once in a process."""
    return generate_systems(split).float()


@torch.no_grad()
def predictions(model: nn.Module, systems: Systems, chunk: int = 500) -> Tensor:
    """The positions that a network predicts, ``(systems, 5, 3)``, in the dtype of the systems."""
    parts = (systems[k : k + chunk] for k in range(0, len(systems), chunk))
    return torch.cat([model(part.positions, part.velocities, part.charges) for part in parts])


def squared_errors(predicted: Tensor, systems: Systems) -> Tensor:
    """The mean over particles and components of every system, ``(systems,)``; their mean is the table's."""
    return (predicted - systems.targets).square().mean(dim=(-2, -1))


def mean_squared_error(model: nn.Module, systems: Systems) -> float:
    """The error of the published table: the mean over systems, particles and components."""
    return squared_errors(predictions(model, systems), systems).mean().item()


def measured_errors(model: nn.Module, systems: Systems) -> dict[str, float]:
    """The relative equivariance error under three members of each group, the largest, in float64."""
    exact = copy.deepcopy(model).double()
    inputs = (systems.positions.double(), systems.velocities.double(), systems.charges.double())
    # Translations leave velocities, rotations leave charges; a permutation moves all three.
    actions = {
        "O": ("rows", "rows", "invariant"),
        "S": ("rows", "rows", lambda order, q: q[..., order.argsort()]),
        "T": ("rows", "invariant", "invariant"),
    }
    return {
        group: max(
            equivariance_error(
                exact,
                *inputs,
                operator=random_element(group, N_PARTICLES if group == "S" else 3, seed=seed),
                group=group,
                action=action,
            )
            for seed in range(3)
        )
        for group, action in actions.items()
    }


def train_model(config: NBodyConfig, *, max_steps: int | None = None) -> tuple[nn.Module, dict]:
    """Train for a time, and measure.

    The time is the processor's, of this process, for the steps alone: data, validation and test are not
    counted. The learning rate follows the time, so that it arrives at zero at its end however fast the
    machine is.

    Args:
        config: of the run.
        max_steps: stop after so many; for tests.

    Returns:
        The network as it was best on validation, and what was measured. That is ``parameters``; ``steps``,
        ``epochs`` and ``seconds``; ``history``, rows of seconds, step and validation error; ``best_step``;
        ``validation_error`` and ``test_error``, mean squared errors at it (None if the run diverged before
        the first was taken); ``equivariance_error`` by group.

    Raises:
        ValueError: if a setting is out of range.
    """
    if config.seconds <= 0 or not BATCH_SIZE <= config.n_train <= N_TRAIN:
        raise ValueError(
            f"seconds, n_train: got {config.seconds}, {config.n_train}, "
            f"wanted a positive time and {BATCH_SIZE} to {N_TRAIN}"
        )
    model = build_model(config.model, config.seed)
    torch.set_num_threads(1)
    train, validation = float_systems("train")[: config.n_train], float_systems("validation")
    optimiser = build_optimiser(Config(optimiser=config.optimiser, learning_rate=config.rate), model)
    generator = torch.Generator().manual_seed(config.seed)
    history: list[list[float]] = []
    best, best_state, best_step = math.inf, None, 0
    spent, step, diverged = 0.0, 0, False
    while spent < config.seconds and not diverged and step != max_steps:
        began = time.process_time()
        place = step % (config.n_train // BATCH_SIZE)
        if place == 0:
            order = torch.randperm(config.n_train, generator=generator)
        batch = train[order[place * BATCH_SIZE : (place + 1) * BATCH_SIZE]]
        optimiser.param_groups[0]["lr"] = config.rate * 0.5 * (1 + math.cos(math.pi * spent / config.seconds))
        optimiser.zero_grad()
        predicted = model(batch.positions, batch.velocities, batch.charges)
        loss = (predicted - batch.targets).square().mean()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), LONGEST)
        optimiser.step()
        step += 1
        spent += time.process_time() - began
        diverged = not loss.isfinite().item()
        if not diverged and (spent >= (len(history) + 1) / CHECKS * config.seconds or step == max_steps):
            error = mean_squared_error(model, validation)
            history.append([round(spent, 2), step, error])
            if error < best:
                best, best_state, best_step = error, copy.deepcopy(model.state_dict()), step
    measured = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": step,
        "epochs": step * BATCH_SIZE / config.n_train,
        "seconds": round(spent, 2),
        "history": history,
        "best_step": best_step,
        "validation_error": None,
        "test_error": None,
    }
    if best_state is None:
        return model, measured
    model.load_state_dict(best_state)
    test = float_systems("test")
    measured["validation_error"] = best
    measured["test_error"] = mean_squared_error(model, test)
    measured["equivariance_error"] = measured_errors(model, test[:100])
    return model, measured
