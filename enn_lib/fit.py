"""Least squares for any model by mini-batches: the short trainings of the book's smaller problems."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int,
    batch_size: int = 250,
    learning_rate: float = 0.01,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    seed: int = 0,
) -> list[float]:
    r"""Train `model` in place to minimise the mean of :math:`|model(x) - t|^2` over batches.

    The samples are reshuffled each epoch. The learning rate goes down to zero along a cosine.

    Args:
        model: maps inputs ``(N, ...)`` to outputs of the targets' shape; real or complex parameters.
        inputs: ``(N, ...)``.
        targets: ``(N, ...)``, in the dtype of the outputs.
        steps: of the optimiser, at least 1.
        batch_size: samples a step; all of them if it exceeds N.
        learning_rate: at the start.
        optimiser: an optimiser class, called with the parameters and ``lr``.
        seed: of the order of the samples.

    Returns:
        The loss of every batch before its step, a list of `steps` numbers, mean over entries.

    Raises:
        ValueError: if there are not as many targets as inputs, or a number is not positive.
        FloatingPointError: if the last loss is not finite.
    """
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(f"inputs, targets: got {len(inputs)} and {len(targets)}, wanted as many, at least 1")
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps, batch_size: got {steps}, {batch_size}, wanted positive numbers")
    descent = optimiser(model.parameters(), lr=learning_rate)
    schedule = CosineAnnealingLR(descent, steps)
    losses = []
    for rows in _batches(len(inputs), min(batch_size, len(inputs)), steps, seed):
        descent.zero_grad()
        error = model(inputs[rows]) - targets[rows]
        loss = (error * error.conj()).real.mean()
        loss.backward()
        descent.step()
        schedule.step()
        losses.append(loss.item())
    if not torch.tensor(losses[-1]).isfinite():
        raise FloatingPointError(f"the loss is {losses[-1]} after {steps} steps: training diverged")
    return losses


def _batches(n: int, batch_size: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Rows of each step; whole batches only, in an order that is drawn anew each epoch."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = n // batch_size
    for step in range(steps):
        place = step % per_epoch
        if place == 0:
            order = torch.randperm(n, generator=generator)
        yield order[place * batch_size : (place + 1) * batch_size]
