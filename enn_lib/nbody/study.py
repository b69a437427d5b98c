"""The benchmark as a study: an optimiser chosen on validation, then several seeds, beside the published.

``python -m enn_lib nbody --out DIR`` repeats it and `load_nbody` reads the one that comes with the library.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from torch import nn

from enn_lib.nbody.models import MODELS, build_model
from enn_lib.nbody.training import NBodyConfig, train_model
from enn_lib.pieces import run_waiting
from enn_lib.storage import load_tensors, read_json, save_tensors, write_json
from enn_lib.training import provenance

SHIPPED_NBODY = Path(__file__).parents[1] / "studies" / "nbody"

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
"""Processor time of a run, if the command is not told otherwise."""

TRIAL = 0.5
"""The share of that time which each trial of an optimiser gets."""

TRIALS = (("adam", 0.03), ("adam", 0.01), ("adam", 0.003), ("soap", 0.01), ("soap", 0.003))
"""Optimisers and rates, of which each model gets the one that is best on validation on seed 0."""

SEEDS = (0, 1, 2)

Record = dict
"""What a file of the study holds, ``config``, what `train_model` measured, and ``provenance``."""


def read_records(folder: Path = SHIPPED_NBODY) -> list[Record]:
    """All records of a folder, in the order of their names."""
    return [read_json(file) for file in sorted(folder.glob("*.json"))]


def trials(model: str, seconds: float) -> list[NBodyConfig]:
    """The runs among which a model's optimiser is chosen, if those of the study take so many seconds."""
    return [NBodyConfig(model, optimiser, rate, TRIAL * seconds) for optimiser, rate in TRIALS]


def chosen(records: Sequence[Record], model: str, seconds: float) -> tuple[str, float] | None:
    """The optimiser and rate with the least validation error of the trials; None if not all are there."""
    wanted = [asdict(config) for config in trials(model, seconds)]
    found = [record for record in records if record["config"] in wanted]
    if len(found) < len(wanted):
        return None
    best = min(found, key=lambda record: record["validation_error"] or float("inf"))
    return best["config"]["optimiser"], best["config"]["rate"]


def runs(records: Sequence[Record], model: str, seconds: float) -> list[NBodyConfig]:
    """The runs of a model that count, one for each seed; none before its optimiser is chosen."""
    choice = chosen(records, model, seconds)
    return [] if choice is None else [NBodyConfig(model, *choice, seconds, seed) for seed in SEEDS]


def plan(folder: Path, seconds: float = SECONDS) -> list[NBodyConfig]:
    """What is missing in a folder, in the order in which it is run: trials first, then seed by seed."""
    wanted = [config for model in MODELS for config in trials(model, seconds)]
    records = read_records(folder)
    by_model = [runs(records, model, seconds) for model in MODELS]
    wanted += [config for k in range(len(SEEDS)) for configs in by_model for config in configs[k : k + 1]]
    return [config for config in wanted if not (folder / f"{config.file}.json").exists()]


def run_nbody(folder: Path, budget: float | None = None, seconds: float = SECONDS) -> None:
    """Run what is missing in `folder`; the same command goes on from there.

    Every run leaves a record ``....json``; those that count leave their weights, too.

    Args:
        folder: made if it does not exist.
        budget: begin no run after so many minutes of this session; None for no limit.
        seconds: of processor time for each run.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def run(config: NBodyConfig) -> None:
        model, measured = train_model(config)
        if config.seconds == seconds:
            metadata = {"model": config.model, "step": str(measured["best_step"])}
            save_tensors(folder / f"{config.file}.safetensors", model.state_dict(), metadata)
        record = {"config": asdict(config), **measured, "provenance": provenance()}
        write_json(folder / f"{config.file}.json", record)

    run_waiting(lambda: plan(folder, seconds), run, budget)


def load_nbody(folder: Path = SHIPPED_NBODY, seconds: float = SECONDS) -> dict[str, list[Record]]:
    """The records that count, by model, over seeds.

    Raises:
        ValueError: if a model has none.
    """
    records = read_records(folder)
    study = {}
    for model in MODELS:
        wanted = [asdict(config) for config in runs(records, model, seconds)]
        study[model] = [record for record in records if record["config"] in wanted]
        if not study[model]:
            raise ValueError(f"{folder}: got no run of {model} with {seconds:g} s, wanted one for each seed")
    return study


def load_model(record: Record, folder: Path = SHIPPED_NBODY) -> nn.Module:
    """The trained network of a record that counts, in float32.

    Raises:
        FileNotFoundError: if its weights are not in the folder.
    """
    config = NBodyConfig(**record["config"])
    model = build_model(config.model)
    model.load_state_dict(load_tensors(folder / f"{config.file}.safetensors")[0])
    return model
