"""What matters in training, and what makes a network overfit: one training, one thing changed at a time.

Every variation is a run of the same length on the data of sec. 4.1. Choices are compared by the validation
error; the test part is never touched. ``python -m enn_lib choices --out DIR`` repeats the study, and
`load_choices` reads the one that comes with the library.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from enn_lib.argon import generate_data
from enn_lib.storage import read_csv, write_missing_csv
from enn_lib.training import Config, Trainer, logged_iterations

SHIPPED_CHOICES = Path(__file__).parent / "studies" / "choices"

COLUMNS = ("iteration", "gradient_evaluations", "training_loss", "validation_loss", "averaged_loss")
"""The columns of a history. Losses are means over configurations and components, without unit;
`averaged_loss` is the validation loss of the network whose weights are the moving average `AVERAGING`."""

AVERAGING = 0.999
"""The decay of the moving average of weights, which forgets over a thousand iterations."""

EPOCHS = 60
"""Passes of the base through its 60,000 training configurations; each variation gets as many gradients."""

BASE = Config(relabel=True, iterations=EPOCHS * 120, learning_rate=0.02, points_per_decade=5, threads=1)
"""The literal network, Muon, batches of 500, atoms relabelled."""

FEW = {"n_configurations": 1500, "batch_size": 90, "iterations": 10_000, "relabel": False, "compile": False}
"""The 900 training configurations of the study of FIRE's readings, in batches of a tenth."""

CHOICES: dict[str, dict] = {
    "base": {},
    "a-0": {"a": 0.0},
    "a-0.3": {"a": 0.3},
    "a-1": {"a": 1.0},
    "eps-0.1": {"softening": 0.1},
    "eps-0.3": {"softening": 0.3},
    "eps-1": {"softening": 1.0},
    "eps-0.3-a-1": {"softening": 0.3, "a": 1.0},
    "eps-0.6-a-1": {"softening": 0.6, "a": 1.0},
    "muon-0.01": {"learning_rate": 0.01},
    "muon-0.03": {"learning_rate": 0.03},
    "adam-0.003": {"optimiser": "adam", "learning_rate": 0.003},
    "adam-0.01": {"optimiser": "adam", "learning_rate": 0.01},
    "soap-0.003": {"optimiser": "soap", "learning_rate": 0.003},
    "soap-eps-0.3-a-1": {"optimiser": "soap", "learning_rate": 0.003, "softening": 0.3, "a": 1.0},
    "soap-eps-0.6-a-1": {"optimiser": "soap", "learning_rate": 0.003, "softening": 0.6, "a": 1.0},
    "batch-250": {"batch_size": 250},
    "batch-1000": {"batch_size": 1000},
    "constant": {"schedule": "constant"},
}
"""What each choice changes of `BASE`."""

GENERALISATION: dict[str, dict] = {
    **{f"literal-{n}": {"relabel": False, "n_train": n} for n in (1000, 10_000, 60_000)},
    **{f"relabelled-{n}": {"n_train": n} for n in (1000, 10_000)},  # 60,000 is the base
    **{f"softened-{n}": {"relabel": False, "n_train": n, "softening": 0.3} for n in (1000, 10_000, 60_000)},
    "adam-60000": {"relabel": False, "optimiser": "adam", "learning_rate": 0.003},
    "few-adam": {**FEW, "optimiser": "adam", "learning_rate": 0.003},
    "few-muon": {**FEW, "learning_rate": 0.01},
    "few-softened-adam": {**FEW, "optimiser": "adam", "learning_rate": 0.003, "softening": 0.1},
    "few-softened-muon": {**FEW, "learning_rate": 0.01, "softening": 0.1},
}
"""What each run of the question of overfitting changes of `BASE`. Those called few have the data of the
study of FIRE's readings, so that FIRE's histories there can be laid beside them."""


def variation(name: str, **changes) -> Config:
    """The configuration of a run: that of `BASE` with one thing changed, and as many gradients.

    Args:
        name: one of `CHOICES` or `GENERALISATION`.
        changes: settings to change beside, such as ``iterations``.

    Raises:
        ValueError: if there is no such run.
    """
    known = CHOICES | GENERALISATION
    if name not in known:
        raise ValueError(f"name: got {name!r}, wanted one of {', '.join(known)}")
    settings = known[name]
    batch_size = settings.get("batch_size", BASE.batch_size)
    iterations = BASE.iterations * BASE.batch_size // batch_size
    return replace(BASE, **({"iterations": iterations} | settings | changes))


def run_variation(config: Config) -> list[tuple[float, ...]]:
    """Train as `config` says and return rows of `COLUMNS`; they end early where a loss is not finite."""
    torch.set_num_threads(config.threads)
    torch.compiler.reset()  # torch gives up after eight functions of one name
    trainer = Trainer(config, generate_data(config.n_configurations, config.data_seed))
    averaged = AveragedModel(trainer.network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    logged = logged_iterations(config.iterations, config.points_per_decade)
    rows = []
    for _ in range(config.iterations):
        trainer.step()
        averaged.update_parameters(trainer.network)
        if trainer.iteration in logged:
            try:
                trainer.record()
            except FloatingPointError:
                break
            _, _, evaluations, training, validation, *_ = trainer.history[-1]
            smooth = _loss_with(trainer, averaged.module)
            rows.append((trainer.iteration, evaluations, training, validation, smooth))
    return rows


def _loss_with(trainer: Trainer, other: nn.Module) -> float:
    """The validation loss with the weights of another network of the same shape, which then leave again."""
    own = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.network.load_state_dict(other.state_dict())
    loss = trainer.validation_loss()
    trainer.network.load_state_dict(own)
    return loss


def run_choices(folder: Path, names: tuple[str, ...] = (*CHOICES, *GENERALISATION), **changes) -> None:
    """Run variations into `folder`, a file ``name.csv`` each; files that are there already stay.

    Args:
        folder: made if it does not exist.
        names: of `CHOICES` and `GENERALISATION`.
        changes: settings to change in all of them, such as ``iterations``.
    """
    for name in tqdm(names, unit="run"):
        config = variation(name, **changes)
        write_missing_csv(folder / f"{name}.csv", COLUMNS, partial(run_variation, config))


def load_choices(folder: Path = SHIPPED_CHOICES) -> dict[str, dict[str, list[float]]]:
    """The histories of the study: columns by name.

    Raises:
        FileNotFoundError: if the folder holds none.
    """
    known = (*CHOICES, *GENERALISATION)
    histories = {name: read_csv(file) for name in known if (file := folder / f"{name}.csv").exists()}
    if not histories:
        raise FileNotFoundError(f"{folder}: got no histories, wanted files such as base.csv")
    return histories
