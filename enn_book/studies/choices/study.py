"""What matters in training, and what makes a network overfit: one training, one thing changed at a time.

Every variation is a run of the same length on the data of sec. 4.1. Choices are compared by the validation
error; the test part is never touched.
"""

from dataclasses import replace

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from enn_book.studies.study import Outcome, Records, Study
from enn_book.studies.training import follow, make_trainer
from enn_book.style import Table, table
from enn_lib.settings import Config
from enn_lib.training import Trainer

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

_SOAP = {"optimiser": "soap", "learning_rate": 0.003}

CHOICES: dict[str, dict] = {
    "base": {},
    **{f"a-{a:g}": {"a": a} for a in (0.0, 0.3, 1.0)},
    **{f"eps-{eps:g}": {"softening": eps} for eps in (0.1, 0.3, 1.0)},
    **{f"eps-{eps}-a-1": {"softening": eps, "a": 1.0} for eps in (0.3, 0.6)},
    **{f"muon-{rate}": {"learning_rate": rate} for rate in (0.01, 0.03)},
    **{f"adam-{rate}": {"optimiser": "adam", "learning_rate": rate} for rate in (0.003, 0.01)},
    "soap-0.003": _SOAP,
    **{f"soap-eps-{eps}-a-1": {**_SOAP, "softening": eps, "a": 1.0} for eps in (0.3, 0.6)},
    **{f"batch-{size}": {"batch_size": size} for size in (250, 1000)},
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


def variation(name: str) -> Config:
    """The `Config` of one of `CHOICES` or `GENERALISATION`: `BASE` but for one thing, as many gradients."""
    settings = (CHOICES | GENERALISATION)[name]
    batch_size = settings.get("batch_size", BASE.batch_size)
    iterations = BASE.iterations * BASE.batch_size // batch_size
    return replace(BASE, **({"iterations": iterations} | settings))


def run_variation(config: Config) -> Outcome:
    """Train as `config` says; the table has `COLUMNS`, and ends early where a loss is not finite."""
    trainer = make_trainer(config)
    averaged = AveragedModel(trainer.network, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING))
    rows = follow(
        trainer,
        lambda row: (row[0], *row[2:5], _loss_with(trainer, averaged.module)),
        each=lambda loss: averaged.update_parameters(trainer.network),
    )
    return Outcome(tables={"": (COLUMNS, rows)})


def _loss_with(trainer: Trainer, other: nn.Module) -> float:
    """The validation loss with the weights of another network of the same shape, which then leave again."""
    own = {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}
    trainer.network.load_state_dict(other.state_dict())
    loss = trainer.validation_loss()
    trainer.network.load_state_dict(own)
    return loss


def summary(records: Records) -> Table:
    """The last losses of every variation, the best first."""
    last = {name: {key: values[-1] for key, values in t.items()} for name, t in records.tables().items()}
    last = dict(sorted(last.items(), key=lambda item: item[1]["validation_loss"]))
    return table(
        ["variation", "gradients", "training loss", "validation loss", "with averaged weights"],
        [[f"`{name}`", int(t["gradient_evaluations"]), *list(t.values())[2:]] for name, t in last.items()],
    )


STUDY = Study(
    question="Which setting of the training matters, and what makes the network overfit?",
    plan=lambda records, length: {name: variation(name) for name in (*CHOICES, *GENERALISATION)},
    run=run_variation,
    summary=summary,
)
