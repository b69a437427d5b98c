"""Trainings for a given time of one core: the loop, the choice of the optimiser, what several seeds say."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from statistics import fmean, variance

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from enn_book.studies.study import STUDENT, Record, best
from enn_lib.groups import equivariance_error, random_element
from enn_lib.training import Config, build_optimiser


@dataclass(frozen=True)
class TimedConfig:
    """What determines a run, but for how fast the machine is.

    Attributes:
        model: its name.
        optimiser: "adam", "soap" (optional extra ``soap``) or "adamw".
        rate: the learning rate at the start; it goes down to zero along a cosine of the time.
        seconds: of processor time for the steps.
        n_train: how many samples of the training part are used, the first.
        seed: of the weights and batches.
        decay: the weight decay of "adamw", which the others do not have.
        average: of the moving average of the weights, which is what is validated and kept; 0 for none.
    """

    model: str
    optimiser: str
    rate: float
    seconds: float
    n_train: int
    seed: int = 0
    decay: float = 0.0
    average: float = 0.0

    @property
    def name(self) -> str:
        """Of the record."""
        how = f"{self.optimiser}.{self.rate:g}" + f".{self.decay:g}" * (self.decay > 0)
        return f"{self.model}.{how}.{self.seconds:g}s.{self.n_train}.{self.seed}"


def train_for(
    config: TimedConfig,
    model: nn.Module,
    samples: Sequence[Tensor],
    loss: Callable[..., Tensor],
    validation_error: Callable[[], float],
    *,
    batch_size: int,
    checks: Sequence[float],
    longest: float = math.inf,
) -> tuple[float | None, dict]:
    """Train a model in place for a time, and leave it with the weights that were best on validation.

    The time is the processor's, of this process, for the steps alone: data and validation are not counted,
    and neither are other programs that make the machine slow. The learning rate follows the time, so that it
    arrives at zero at its end however fast the machine is.

    Args:
        config: of the run.
        model: whose parameters are trained.
        samples: of the training part, tensors of the same length.
        loss: of a batch of each of these, and a generator for any further randomness.
        validation_error: of the model as it is.
        batch_size: samples a step, or all of them if there are fewer; in a new order each epoch.
        checks: the shares of the time after which the validation error is taken, increasing, the last 1.
        longest: gradients are shortened to this norm.

    Returns:
        The least validation error, None if a loss or an error was not finite, and what was measured, which is
        ``parameters``; ``steps``, ``epochs`` and ``seconds``; ``history``, rows of seconds, step and
        validation error; ``best_step``, at which it was least, 0 if it never was finite.

    Raises:
        ValueError: if a setting is out of range.
    """
    if config.seconds <= 0 or not 1 <= config.n_train <= len(samples[0]):
        raise ValueError(
            f"seconds, n_train: got {config.seconds}, {config.n_train}, "
            f"wanted a positive time and 1 to {len(samples[0])}"
        )
    torch.set_num_threads(1)
    optimiser: torch.optim.Optimizer
    if config.optimiser == "adamw":
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.rate, weight_decay=config.decay)
    else:
        optimiser = build_optimiser(Config(optimiser=config.optimiser, learning_rate=config.rate), model)
    parameters = list(model.parameters())
    averaged = [p.detach().clone() for p in parameters] if config.average else parameters
    generator = torch.Generator().manual_seed(config.seed)
    batch = min(batch_size, config.n_train)
    history: list[list[float]] = []
    least, best_step, kept = math.inf, 0, model.state_dict()
    spent, step, passed, diverged = 0.0, 0, 0, False
    while spent < config.seconds and not diverged:
        began = time.process_time()
        place = step % (config.n_train // batch)
        if place == 0:
            order = torch.randperm(config.n_train, generator=generator)
        rows = order[place * batch : (place + 1) * batch]
        optimiser.param_groups[0]["lr"] = config.rate * 0.5 * (1 + math.cos(math.pi * spent / config.seconds))
        optimiser.zero_grad()
        value = loss(*(part[rows] for part in samples), generator)
        value.backward()
        if longest < math.inf:
            nn.utils.clip_grad_norm_(model.parameters(), longest)
        optimiser.step()
        step += 1
        if config.average:
            # Early on the average forgets as fast as there are steps to remember.
            get_ema_multi_avg_fn(min(config.average, step / (step + 9)))(averaged, parameters, step)
        spent += time.process_time() - began
        diverged = not value.isfinite().item()
        due = sum(spent >= share * config.seconds for share in checks)
        if diverged or due == passed:
            continue
        with _holding(model, averaged):
            passed, error = due, validation_error()
            if error < least:
                least, best_step = error, step
                kept = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        diverged = not math.isfinite(error)
        history += [] if diverged else [[round(spent, 2), step, error]]
    model.load_state_dict(kept)
    return None if diverged else least, {
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": step,
        "epochs": step * batch / config.n_train,
        "seconds": round(spent, 2),
        "history": history,
        "best_step": best_step,
    }


@torch.no_grad()
def _copy(values: Iterable[Tensor], parameters: Iterable[Tensor]) -> None:
    for p, value in zip(parameters, values, strict=True):
        p.copy_(value)


@contextmanager
def _holding(model: nn.Module, weights: Sequence[Tensor]) -> Iterator[None]:
    """Give a model other weights for a while."""
    own = [p.detach().clone() for p in model.parameters()]
    _copy(weights, model.parameters())
    yield
    _copy(own, model.parameters())


def equivariance_errors(
    function: Callable[..., Tensor], *inputs: Tensor, actions: Mapping, output_actions: Mapping
) -> dict[str, float]:
    """The relative equivariance error under three members of each group, the largest.

    Args:
        function: of particles.
        inputs: its arguments; the first are positions ``(..., N, 3)``.
        actions: on the inputs, by group ("O", "S" or "T"), as of `enn_lib.groups.assert_equivariant`.
        output_actions: likewise on the output, where they are not those on the positions.
    """
    return {
        group: max(
            equivariance_error(
                function,
                *inputs,
                operator=random_element(group, inputs[0].shape[-2] if group == "S" else 3, seed=seed),
                group=group,
                action=action,
                output_action=output_actions.get(group),
            )
            for seed in range(3)
        )
        for group, action in actions.items()
    }


@dataclass(frozen=True)
class Comparison:
    """Models with the same time, each with the optimiser and rate that are best for it on validation.

    Attributes:
        models: their names.
        trials: optimisers and rates, and what else there is to choose, each tried by every model on seed 0.
        config: that of a run on seed 0, from the name of the model, a trial and the seconds.
        validation: the name of the validation error in a record.
        share: of the time of a run, for each trial.
        further: trials of some models alone, by model.
        seeds: of the chosen runs.
        more: further seeds, by model.
        fewer: further numbers of training samples, the same choice, by model.
    """

    models: Sequence[str]
    trials: Sequence[tuple]
    config: Callable[..., TimedConfig]
    validation: str = "validation_rmsd"
    share: float = 1.0
    further: Mapping[str, Sequence[tuple]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1, 2)
    more: Mapping[str, Sequence[int]] = field(default_factory=dict)
    fewer: Mapping[str, Sequence[int]] = field(default_factory=dict)

    def tried(self, model: str, seconds: float) -> list[TimedConfig]:
        """The trials of a model, if the runs take so many seconds."""
        trials = (*self.trials, *self.further.get(model, ()))
        return [self.config(model, *trial, self.share * seconds) for trial in trials]

    def chosen(self, records: Mapping[str, Record], model: str, seconds: float) -> TimedConfig | None:
        """The run on seed 0 with the best optimiser and rate; None as long as a trial is missing."""
        tried = {config.name: config for config in self.tried(model, seconds)}
        if not set(tried) <= set(records):
            return None
        return replace(tried[best((records[name] for name in tried), self.validation).name], seconds=seconds)

    def plan(self, records: Mapping[str, Record], seconds: float) -> dict[str, TimedConfig]:
        """All runs by name: a trial of every model, another of every model, the seeds, then fewer samples."""
        rounds = zip_longest(*(self.tried(model, seconds) for model in self.models))
        wanted = [config for each in rounds for config in each if config]
        chosen = list(filter(None, (self.chosen(records, model, seconds) for model in self.models)))
        wanted += [replace(config, seed=seed) for seed in self.seeds for config in chosen]
        wanted += [
            replace(config, seed=seed) for config in chosen for seed in self.more.get(config.model, ())
        ]
        wanted += [
            replace(config, seed=seed, n_train=n)
            for seed in self.seeds
            for config in chosen
            for n in self.fewer.get(config.model, ())
        ]
        return {config.name: config for config in wanted}

    def runs(self, records: Mapping[str, Record], seconds: float) -> dict[str, dict[int, list[Record]]]:
        """The records that count: by model, by number of training samples, over the seeds.

        Raises:
            ValueError: if a model has none.
        """
        found: dict[str, dict[int, list[Record]]] = {}
        for model in self.models:
            chosen = self.chosen(records, model, seconds)
            seeds = (*self.seeds, *self.more.get(model, ()))
            for n in (*self.fewer.get(model, ()), chosen.n_train) if chosen else ():
                names = [replace(chosen, seed=seed, n_train=n).name for seed in seeds]
                if mine := [records[name] for name in names if name in records]:
                    found.setdefault(model, {})[n] = mine
            if model not in found:
                raise ValueError(
                    f"records: got no run of {model} with {seconds:g} s, wanted one for each seed"
                )
        return found


def errors(records: Iterable[Record], error: str = "test_rmsd") -> list[float]:
    """The error of each run; infinite for one that diverged, which is no reason to leave it out.

    Raises:
        ValueError: if there are no records.
    """
    found = [math.inf if record[error] is None else record[error] for record in records]
    if not found:
        raise ValueError("records: got none, wanted at least one")
    return found


def mean_error(records: Iterable[Record], error: str = "test_rmsd") -> float:
    """The mean of `errors`, so infinite if a run diverged."""
    return fmean(errors(records, error))


def shown(records: Iterable[Record], error: str = "test_rmsd") -> str:
    """The mean and the range of `errors` for a table, and how many runs diverged, which are not in them."""
    found = errors(records, error)
    finite = [value for value in found if math.isfinite(value)]
    lost = len(found) - len(finite)
    text = f"{fmean(finite):.2g} ({min(finite):.2g} to {max(finite):.2g})" if finite else ""
    return text + f"{', ' if finite else ''}{lost} of {len(found)} diverged" * (lost > 0)


def ahead(mine: Iterable[Record], theirs: Iterable[Record], error: str = "test_rmsd") -> bool | None:
    """Whether the first model is better, whatever the seed: None if the ranges of the errors overlap."""
    a, b = errors(mine, error), errors(theirs, error)
    if max(a) < min(b):
        return True
    return False if max(b) < min(a) else None


def ratio(
    mine: Iterable[Record], theirs: Iterable[Record], error: str = "test_rmsd"
) -> tuple[float, float, float]:
    """How many times the first model's error the second's is, and the ends of a 95 % interval over seeds.

    Of the geometric means: the logarithms of the errors are taken to be normal, of one variance.

    Raises:
        ValueError: if there are fewer than two seeds of each, more than five, or a run diverged.
    """
    a, b = ([math.log(value) for value in errors(records, error)] for records in (mine, theirs))
    free = len(a) + len(b) - 2
    if not 2 <= min(len(a), len(b)) <= max(len(a), len(b)) <= 5 or math.inf in a + b:
        raise ValueError(f"mine, theirs: got {len(a)} and {len(b)} seeds, wanted 2 to 5 each, none diverged")
    pooled = ((len(a) - 1) * variance(a) + (len(b) - 1) * variance(b)) / free
    half = STUDENT[free] * (pooled * (1 / len(a) + 1 / len(b))) ** 0.5
    middle = fmean(b) - fmean(a)
    return math.exp(middle), math.exp(middle - half), math.exp(middle + half)
