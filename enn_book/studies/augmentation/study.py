"""What it costs a plain network to learn from turned data the symmetry that the ENN has by construction.

The forces on three argon atoms are learned from 2,000 configurations: by a perceptron that sees them as they
are, by perceptrons that see each in a new orientation whenever it is used, and by two ENN that see them as
they are. Every length of training is a training of its own, with a rate that was chosen for it by validation
data. Test data serve for the reported errors alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import torch
from torch import Tensor, nn

from enn_book.lectures.operations import count_operations
from enn_book.models.edges import mlp
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.studies.training import random_orthogonal
from enn_book.style import Table, spread, table
from enn_lib import ENN
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import ARGON, sample_positions
from enn_lib.groups import random_element
from enn_lib.training import fit

LENGTHS = (1500, 6000, 15_000, 60_000)
"""Steps of the trainings, each a batch of 250 configurations."""

MODELS = {"mlp-64-plain": 64, "mlp-64": 64, "mlp-128": 128, "enn-literal": 64, "enn-softened": 64}
"""The neurons in a hidden layer, by model. A perceptron has three hidden layers, an ENN has two."""

TURNED = ("mlp-64", "mlp-128")
"""The models whose data are turned."""

RATES = {name: (0.01,) if "enn" in name else (0.003, 0.006, 0.012) for name in MODELS}
"""The learning rates that were tried for each model, three for the perceptrons and one for the ENN."""

SEEDS = (0, 1, 2)
"""Of data, weights, batches and orientations. The rates are chosen with the first."""

COLUMNS = ("steps", "rate", "seconds", "validation_rmsd", "test_rmsd", "broken_rmsd", "equivariance_error")
"""The columns of a table, in which a row is a training. They are length, rate, processor time in seconds, the
root mean square error of a force component on validation and on test data, eV/Å, and by how much, in the same
sense, the network breaks the symmetry (see `measure`), in eV/Å and over the size of its predictions."""

Row = dict[str, float]
"""A row of a table, by column."""


@dataclass(frozen=True)
class Training:
    """What determines a record.

    Attributes:
        model: one of `MODELS`.
        rates: the learning rate of each length.
        seed: of data, weights, batches and orientations.
        lengths: steps of each training; the perceptron whose data are not turned stops at 15,000.
        sizes: how many configurations are for training, validation and test.
    """

    model: str
    rates: tuple[float, ...]
    seed: int
    lengths: tuple[int, ...]
    sizes: tuple[int, int, int] = (2000, 2000, 10_000)


def three_atoms(sizes: Sequence[int], seed: int) -> tuple[list[tuple[Tensor, Tensor]], float]:
    """The relative vectors of three argon atoms and the forces on them, in single precision.

    The coordinates are Gaussian with standard deviation 2 Å, and no pair is closer than 3 Å, so that all
    orientations are equally likely.

    Args:
        sizes: how many configurations there are in each part.
        seed: of the positions.

    Returns:
        Inputs and targets ``(N, 3, 3)`` of each part, columns being vectors, over the standard deviations of
        the first part; and that of its force components, eV/Å.
    """
    positions = sample_positions(sum(sizes), seed, sigma=2.0, r_min=3.0)[:, :3]
    i, j = torch.triu_indices(3, 3, offset=1)
    x, t = (positions[:, j] - positions[:, i]).mT, ARGON.forces(positions).mT
    length_scale, force_scale = (part[: sizes[0]].std().item() for part in (x, t))
    x, t = (x / length_scale).float(), (t / force_scale).float()
    return list(zip(x.split(list(sizes)), t.split(list(sizes)), strict=True)), force_scale


class Turned(nn.Module):
    r"""A model that meets each input in a random orientation: :math:`x \mapsto g^{-1} f(g x)`.

    To train it on :math:`(x, t)` is to train :math:`f` on :math:`(g x, g t)`, because :math:`g` keeps
    lengths. This is data augmentation with as many copies of a sample as there are orientations.
    """

    def __init__(self, model: nn.Module, seed: int = 0, n_orientations: int = 100_000):
        """Draw the orientations, members of O(3), of which every call takes one at random for each sample."""
        super().__init__()
        self.model = model
        self.generator = torch.Generator().manual_seed(seed)
        self.orientations = random_orthogonal(n_orientations, self.generator)

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors ``(N, 3, M)`` to vectors."""
        g = self.orientations[torch.randint(len(self.orientations), (len(x),), generator=self.generator)]
        return g.mT @ self.model(g @ x)


def plain_network(width: int, seed: int) -> nn.Sequential:
    """A perceptron with three hidden layers that takes three vectors for nine numbers, and gives nine."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(-2), *mlp(9, width, width, width, 9), nn.Unflatten(-1, (3, 3)))


def make_model(name: str, seed: int) -> nn.Module:
    """The untrained model of a name in `MODELS`."""
    width = MODELS[name]
    if name.startswith("mlp"):
        return plain_network(width, seed)
    softened = name == "enn-softened"
    return ENN(
        (3, width, width, 3),
        softening=0.3 if softened else 0.0,
        activation=VectorSoftsign(1.0 if softened else 0.1),
        generator=torch.Generator().manual_seed(seed),
    )


@torch.no_grad()
def measure(model: nn.Module, x: Tensor, t: Tensor, n_operators: int = 8) -> tuple[float, float, float]:
    r"""The error of a model, how much it breaks the symmetry, and the size of its predictions.

    All three are root mean squares over samples and components. The second is that of
    :math:`f(g x) - g f(x)` over members g of O(3) too, which :math:`\sqrt 2` times the error of the model
    bounds if all orientations of `x` are equally likely.

    Args:
        model: maps ``(N, 3, M)`` to the shape of `t`.
        x: inputs.
        t: targets, in which unit the three results are.
        n_operators: how many members of the group.
    """
    y = model(x)
    operators = [random_element("O", 3, dtype=x.dtype, seed=seed) for seed in range(n_operators)]
    broken = fmean((model(g @ x) - g @ y).square().mean().item() for g in operators)
    return (y - t).square().mean().sqrt().item(), broken**0.5, y.square().mean().sqrt().item()


def run_one(config: Training) -> Outcome:
    """Train and measure at every length; the table has `COLUMNS`.

    Raises:
        FloatingPointError: if training diverges.
    """
    torch.set_num_threads(1)
    (training, validation, test), unit = three_atoms(config.sizes, config.seed)
    rows = []
    for steps, rate in zip(config.lengths, config.rates, strict=True):
        model = make_model(config.model, config.seed)
        learner = Turned(model, config.seed) if config.model in TURNED else model
        began = time.process_time()
        fit(learner, *training, steps=steps, learning_rate=rate, seed=config.seed)
        seconds = time.process_time() - began
        error, broken, size = measure(model, *test)
        errors = [unit * value for value in (measure(model, *validation)[0], error, broken)]
        rows.append((steps, rate, seconds, *errors, broken / size))
    x, t = (part[:250] for part in training)
    operations = count_operations(lambda: (model(x) - t).square().mean().backward()).total
    measured = {"parameters": sum(p.numel() for p in model.parameters()), "operations": operations}
    return Outcome(measured | {"force_scale": unit}, {"": (COLUMNS, rows)})


def rows_of(record: Record) -> list[Row]:
    """The trainings of a record, in the order of their lengths."""
    columns = record.table()
    return [dict(zip(columns, entries, strict=True)) for entries in zip(*columns.values(), strict=True)]


def best_trials(records: Records, model: str) -> list[Row]:
    """Of each length the training from the first seed whose rate has the least validation error."""
    tried = [rows_of(records[f"{model}.{rate:g}"]) for rate in RATES[model]]
    return [min(rows, key=lambda row: row["validation_rmsd"]) for rows in zip(*tried, strict=True)]


def by_length(records: Records, column: str) -> dict[str, dict[int, list[float]]]:
    """A column of the tables by model and length, a value for each seed, with the rates that were chosen."""
    found = {}
    for model in MODELS:
        others = [rows_of(records[f"{model}.seed-{seed}"]) for seed in SEEDS[1:]]
        seeds = zip(best_trials(records, model), *others, strict=True)
        found[model] = {int(rows[0]["steps"]): [row[column] for row in rows] for rows in seeds}
    return found


def plan(records: Records, length: float | None) -> dict[str, Training]:
    """Every rate from the first seed; then the best one of each length from the other seeds."""
    planned = {}
    for model in MODELS:
        lengths = LENGTHS[:3] if model == "mlp-64-plain" else LENGTHS
        trials = {
            f"{model}.{rate:g}": Training(model, (rate,) * len(lengths), SEEDS[0], lengths)
            for rate in RATES[model]
        }
        planned |= trials
        if set(trials) <= set(records):
            rates = tuple(row["rate"] for row in best_trials(records, model))
            planned |= {f"{model}.seed-{seed}": Training(model, rates, seed, lengths) for seed in SEEDS[1:]}
    return planned


def summary(records: Records) -> Table:
    """Errors of every model at every length, the least and the largest of the seeds."""
    columns = ("seconds", "test_rmsd", "equivariance_error")
    seconds, errors, broken = (by_length(records, column) for column in columns)
    return table(
        ["model", "steps", "rate", "seconds", "test RMSD (eV/Å)", "equivariance error"],
        [
            [f"`{model}`", steps, f"{rate[0]:g}", fmean(seconds[model][steps])]
            + [spread(found[model][steps]) for found in (errors, broken)]
            for model, rates in by_length(records, "rate").items()
            for steps, rate in rates.items()
        ],
    )


STUDY = Study(
    question="What does it cost a plain network to learn a symmetry from turned data?",
    plan=plan,
    run=run_one,
    summary=summary,
)
