"""What trainings of several studies share: the runs of both seeds, a loop, L-BFGS, random orientations."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from enn_lib.argon import ArgonData, generate_data
from enn_lib.training import Config, Trainer, logged_iterations

Row = tuple[float, ...]

BOTH_SEEDS = ("reference", "reference-1", "softened", "softened-1")
"""The runs of the two networks of the book, of two seeds each."""


@dataclass(frozen=True)
class Descent(Config):
    """A training by any of the optimisers of `Config`, or by L-BFGS, which it cannot name.

    Attributes:
        lbfgs_iterations: of L-BFGS in a step of the trainer, with the learning rate as the first trial
            step; it takes the place of `optimiser` and wants whole batches. None for `optimiser`.
    """

    lbfgs_iterations: int | None = None


def make_trainer(config: Config, data: ArgonData | None = None) -> Trainer:
    """The trainer of a configuration, at its start.

    With L-BFGS each step evaluates once more than its line searches.

    Args:
        config: of the training.
        data: to train on; those that the configuration describes if not given.
    """
    torch.set_num_threads(config.threads)
    torch.compiler.reset()  # torch gives up after eight functions of one name
    if data is None:
        data = generate_data(config.n_configurations, config.data_seed)
    trainer = Trainer(config, data)
    if isinstance(config, Descent) and config.lbfgs_iterations is not None:
        trainer.optimiser = torch.optim.LBFGS(
            trainer.network.parameters(),
            lr=config.learning_rate,
            max_iter=config.lbfgs_iterations,
            history_size=20,
            tolerance_grad=0.0,  # neither of these may end a run before the others
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )
    return trainer


def evaluations_so_far(trainer: Trainer) -> int:
    """Gradients of one configuration that a trainer has taken, the line searches of L-BFGS too."""
    if not isinstance(trainer.optimiser, torch.optim.LBFGS):
        return trainer.batch_size * trainer.iteration
    state = trainer.optimiser.state_dict()["state"]
    return trainer.batch_size * (state[0]["func_evals"] if state else 0)


def follow(
    trainer: Trainer,
    row: Callable[[Row], Row],
    *,
    each: Callable[[float], object] = lambda loss: None,
    from_start: bool = False,
) -> list[Row]:
    """Train until as many gradients are taken as the configuration's iterations need, and look now and then.

    It looks when `logged_iterations` says so, and with L-BFGS after every step.

    Args:
        trainer: at its start.
        row: makes a row of the study's table from the new row of the trainer's history (`HISTORY_COLUMNS`).
        each: called after every step with its loss, that before the step.
        from_start: look before the first step, too.

    Returns:
        The rows; they end early where a loss is not finite.
    """
    config, rows = trainer.config, []
    budget = config.iterations * trainer.batch_size
    logged = logged_iterations(config.iterations, config.points_per_decade)
    looks_always = isinstance(trainer.optimiser, torch.optim.LBFGS)

    def look() -> bool:
        try:
            trainer.record()
        except FloatingPointError:
            return False
        rows.append(row(trainer.history[-1]))
        return True

    if from_start and not look():
        return rows
    while evaluations_so_far(trainer) < budget:
        each(trainer.step())
        if (looks_always or trainer.iteration in logged) and not look():
            break
    return rows


def random_orthogonal(count: int, generator: torch.Generator) -> Tensor:
    """Haar-random members of O(3), ``(count, 3, 3)``, float32.

    The same construction as `enn_lib.groups.random_unitary`, for many at once.
    """
    q, r = torch.linalg.qr(torch.randn(count, 3, 3, generator=generator))
    return q * r.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)
