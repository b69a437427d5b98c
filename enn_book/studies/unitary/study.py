"""What it costs a network to lack the symmetry of its task, or to have too much of it.

The task is the motion of spinors on a ring of four sites, which commutes with every unitary operator and with
the moves of the ring. Networks with several symmetries learn it from the same states. Each keeps the weights
that do best on states that are held out, and its error is measured on others, which nothing else looks at.
"""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import register_parametrization

from enn_book.lectures.spinors import as_real, evolve_spinors
from enn_book.studies.study import Outcome, Records, Study
from enn_book.style import Table, spread, table
from enn_lib import ENN
from enn_lib.training import fit

SITES = 4
"""Of the ring."""

DIMENSIONS = (2, 4, 8)
"""The numbers n of components of a spinor."""

SEEDS = (0, 1, 2)
"""Of states, weights and batches."""

UNSEEN = 1000
"""States on which an error is measured."""

Pair = tuple[Tensor, Tensor]
"""What a network is shown, and what it should answer."""


@dataclass(frozen=True)
class Training:
    """What determines a record.

    Attributes:
        model: one of `MODELS`.
        n: components of a spinor.
        seed: of states, weights and batches.
        n_train: states for the training, of which a tenth is held out.
        steps: of the optimiser.
        batch_size: states a step.
    """

    model: str
    n: int
    seed: int
    n_train: int = 2000
    steps: int = 1000
    batch_size: int = 100


def training(model: str, n: int, seed: int, *, n_train: int = 2000, n_steps: int = 1000) -> Training:
    """The training of one of `MODELS`; plain networks take twice as many steps, on batches of 250."""
    if model in ("plain", "frame"):
        return Training(model, n, seed, n_train, 2 * n_steps, 250)
    return Training(model, n, seed, n_train, n_steps)


def states(count: int, n: int, generator: torch.Generator) -> Tensor:
    """Random states ``(count, n, SITES)``, complex128, with one atom a site on average."""
    x = torch.randn(count, n, SITES, dtype=torch.complex128, generator=generator)
    return x / math.sqrt(n)


def step(x: Tensor) -> Tensor:
    """The state half a unit of time later."""
    return evolve_spinors(x, 0.5, substeps=20)


def relative_error(found: Tensor, target: Tensor) -> float:
    """The root mean square of the error, divided by that of the target."""
    return ((found - target).norm() / target.norm()).item()


def complex_network(n: int) -> ENN:
    """The paper's network with complex weights, on spinors."""
    widths = (SITES, 24, 24, SITES)
    return ENN(widths, n, softening=0.3, dtype=torch.complex64)


def orthogonal_network(n: int) -> ENN:
    """The paper's network with real weights, on lists of 2n numbers."""
    return ENN((SITES, 35, 35, SITES), 2 * n, softening=0.3)


class Plain(nn.Module):
    """A linear map, and a perceptron that corrects it, on real vectors ``(..., 2n, SITES)``."""

    def __init__(self, n: int, width: int = 128):
        super().__init__()
        size = 2 * n * SITES
        self.linear = nn.Linear(size, size)
        first, second = nn.Linear(size, width), nn.Linear(width, width)
        self.correction = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), nn.Linear(width, size))

    def start(self, x: Tensor, y: Tensor) -> None:
        """Begin with the linear map that fits best, and no correction."""
        x, y = x.flatten(1).double(), y.flatten(1).double()
        with torch.no_grad():
            # The default driver may go wrong where an input is always zero (PyTorch issue 187411).
            self.linear.weight.copy_(torch.linalg.lstsq(x, y, driver="gelsd").solution.mT)
            for zero in (self.linear.bias, *self.correction[-1].parameters()):
                zero.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors to vectors of the same shape."""
        flat = x.flatten(-2)
        return (self.linear(flat) + self.correction(flat)).unflatten(-1, x.shape[-2:])


def frame(x: Tensor) -> tuple[Tensor, Tensor]:
    """The axes Q, and the state seen from there."""
    Q, z = torch.linalg.qr(x)
    phase = z.diagonal(dim1=-2, dim2=-1).sgn()  # to be made 1
    return Q * phase.unsqueeze(-2), z * phase.conj().unsqueeze(-1)


def framed_network(n: int) -> Plain:
    """The plain network on a state in its frame, which has at most as many rows as there are sites."""
    return Plain(min(n, SITES))


class Tied(nn.Module):
    """Average the weights of a layer over the moves of the ring."""

    def forward(self, stacked: Tensor) -> Tensor:
        """Tied weights of a layer, from free ones."""
        w = stacked.unflatten(0, (-1, SITES)).unflatten(-1, (-1, SITES))
        moved = [w.roll((k, k), dims=(1, 3)) for k in range(SITES)]
        w = torch.stack(moved).mean(dim=0)
        w = (w + w.flip((1, 3))) / 2
        return w.flatten(2).flatten(0, 1)


def tied_network(n: int) -> ENN:
    """The complex network, whose weights between two sites depend on their distance only."""
    network = complex_network(n)
    for layer in network.layers:
        register_parametrization(layer, "stacked", Tied())
    return network


def complex_pairs(x: Tensor) -> Pair:
    """States and their steps."""
    return x.to(torch.complex64), step(x).to(torch.complex64)


def real_pairs(x: Tensor) -> Pair:
    """States and their steps, the real parts above the imaginary ones."""
    return as_real(x).float(), as_real(step(x)).float()


def framed_pairs(x: Tensor) -> Pair:
    """States and their steps, both in the frame of the state, the real parts above the imaginary ones."""
    Q, z = frame(x)
    return as_real(z).float(), as_real(Q.mH @ step(x)).float()


MODELS: dict[str, tuple[Callable[[int], nn.Module], Callable[[Tensor], Pair]]] = {
    "plain": (Plain, real_pairs),
    "complex": (complex_network, complex_pairs),
    "orthogonal": (orthogonal_network, real_pairs),
    "frame": (framed_network, framed_pairs),
    "tied": (tied_network, complex_pairs),
}
"""What makes a network for n components, and what makes of states the pairs from which it learns."""


def fit_best(network: nn.Module, train: Pair, held_out: Pair, **options) -> float:
    """Train, and keep the weights that do best on what is held out, looked at every 20 steps.

    Returns:
        The relative error of these on what is held out.
    """
    best, weights, looks = math.inf, None, 0

    def look(*_) -> None:
        nonlocal best, weights, looks
        if looks % 20 == 0:
            with torch.no_grad():
                error = relative_error(network(held_out[0]), held_out[1])
            if error < best:
                best, weights = error, deepcopy(network.state_dict())
        looks += 1

    def watched(parameters, lr: float) -> torch.optim.Optimizer:
        adam = torch.optim.Adam(parameters, lr)
        adam.register_step_pre_hook(look)
        return adam

    fit(network, *train, learning_rate=0.02, optimiser=watched, **options)
    look()
    if weights is not None:
        network.load_state_dict(weights)
    return best


def learn(config: Training) -> tuple[nn.Module, dict]:
    """Train as `config` says.

    Returns:
        The network and what was measured. That is its real ``parameters`` (a complex one counts twice), the
        relative error on unseen states before the training, ``start_error``, and after it, ``error``, and
        that on the states that are held out, ``held_out_error``. A plain network starts as the linear map
        that fits best.

    Raises:
        FloatingPointError: if training diverges.
    """
    make, pairs = MODELS[config.model]
    torch.manual_seed(config.seed)
    network = make(config.n)
    x = states(config.n_train + UNSEEN, config.n, torch.Generator().manual_seed(config.seed))
    held = config.n_train // 10
    inputs, targets = (part.split((config.n_train - held, held, UNSEEN)) for part in pairs(x))
    train, held_out, (unseen, wanted) = zip(inputs, targets, strict=True)
    if isinstance(network, Plain):
        network.start(*train)
    with torch.no_grad():
        start = relative_error(network(unseen), wanted)
    options = {"steps": config.steps, "batch_size": config.batch_size, "seed": config.seed}
    best = fit_best(network, train, held_out, **options)
    network.requires_grad_(False)
    measured = {
        "parameters": sum(p.numel() * (1 + p.is_complex()) for p in network.parameters()),
        "start_error": start,
        "held_out_error": best,
        "error": relative_error(network(unseen), wanted),
    }
    return network, measured


def run_one(config: Training) -> Outcome:
    """Train and measure on one thread; the weights are not kept."""
    torch.set_num_threads(1)
    return Outcome(learn(config)[1])


def plan(records: Records, length: float | None) -> dict[str, Training]:
    """Every model, n and seed; and for the largest n what the equivariant ones gain by a longer training."""
    planned = {
        f"{model}.{n}.{seed}": training(model, n, seed)
        for seed in SEEDS
        for model in MODELS
        for n in DIMENSIONS
    }
    n = DIMENSIONS[-1]
    return planned | {
        f"{model}-long.{n}.{seed}": Training(model, n, seed, steps=2000, batch_size=250)
        for seed in SEEDS
        for model in ("complex", "tied")
    }


def by_model(records: Records, key: str = "error") -> dict[tuple[str, int], list[float]]:
    """What was measured, by model and n, a value for each seed; longer trainings are models of their own."""
    found: dict[tuple[str, int], list[float]] = {}
    for name in plan(records, None):
        model, n, _ = name.split(".")
        found.setdefault((model, int(n)), []).append(records[name][key])
    return found


def summary(records: Records) -> Table:
    """Errors of every model for every n, the least and the largest of the seeds."""
    parameters, starts, errors = (by_model(records, key) for key in ("parameters", "start_error", "error"))
    rows = []
    for (model, n), found in errors.items():
        config = records[f"{model}.{n}.{SEEDS[0]}"].config
        length = f"{config['steps']:,} × {config['batch_size']}"
        first = spread(starts[model, n]) if model in ("plain", "frame") else None
        rows.append([f"`{model}`, n = {n}", int(parameters[model, n][0]), length, first, spread(found)])
    return table(["network", "parameters", "steps × batch", "error of the linear map", "error"], rows)


STUDY = Study(
    question="What does a symmetry cost that a network lacks, and one that it has too much?",
    plan=plan,
    run=run_one,
    summary=summary,
)
