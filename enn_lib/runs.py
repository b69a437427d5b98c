"""A training run on disk: load, check, list."""

from dataclasses import dataclass
from importlib.metadata import entry_points
from os.path import isdir, isfile
from pathlib import Path

import torch

from enn_lib.argon import Scales
from enn_lib.force_field import NetworkForceField
from enn_lib.network import ENN
from enn_lib.settings import Config, build_network
from enn_lib.storage import load_tensors, read_csv, read_json
from enn_lib.training import HISTORY_COLUMNS

SHIPPED = Path(__file__).parent / "runs"  # of the runs that come with the package

PROVIDERS = "enn_lib.runs"
"""The group of entry points by which other packages ship runs, each a function that returns their folders."""


@dataclass(frozen=True)
class Run:
    """A training run as it was stored.

    Attributes:
        path: its folder.
        config: the settings that made it.
        provenance: versions, hardware and commit at its start.
        history: one list a column of `HISTORY_COLUMNS`.
        metrics: what `evaluate` measured; empty if it has not been evaluated.
        scales: of positions (Å) and forces (eV/Å).
        network: the trained network, in the dtype it was trained in.
    """

    path: Path
    config: Config
    provenance: dict
    history: dict[str, list[float]]
    metrics: dict
    scales: Scales
    network: ENN

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.path.resolve().name

    @property
    def force_field(self) -> NetworkForceField:
        """The network as it is, as a force field of its own in float64."""
        return NetworkForceField(self.network, self.scales).to(torch.float64)


def load_run(name_or_path: str | Path) -> Run:
    """Load a run by its folder, or a shipped run by its name.

    Args:
        name_or_path: the path of a run folder, or one of `shipped_runs`, such as "reference". A run folder of
            this name in the present folder comes before the shipped run.

    Raises:
        FileNotFoundError: if there is no such run, or a file of it is missing.
        ValueError: if a file is damaged, or the weights do not fit the configuration.
    """
    path = run_folder(name_or_path)
    missing = [f for f in ("config.json", "history.csv", "model.safetensors") if not (path / f).is_file()]
    if missing:
        raise FileNotFoundError(f"{path}: not a run, {', '.join(missing)} missing")

    values = read_json(path / "config.json")
    try:
        config = Config.from_dict(values)
        network = build_network(config)
    except ValueError as error:
        raise ValueError(f"{path / 'config.json'}: {error}") from error
    history = read_csv(path / "history.csv")
    if tuple(history) != HISTORY_COLUMNS:
        raise ValueError(f"{path / 'history.csv'}: got columns {tuple(history)}, wanted {HISTORY_COLUMNS}")
    if not history["iteration"]:
        raise ValueError(f"{path / 'history.csv'}: got no rows, wanted at least the start")
    tensors, metadata = load_tensors(path / "model.safetensors")
    try:
        network.load_state_dict(tensors)
        scales = Scales(float(metadata["position_scale"]), float(metadata["force_scale"]))
    except (RuntimeError, KeyError, ValueError) as error:
        raise ValueError(
            f"{path / 'model.safetensors'}: does not fit config.json (widths {config.widths}): {error}"
        ) from error
    metrics = path / "metrics.json"
    return Run(
        path=path,
        config=config,
        provenance=values.get("provenance", {}),
        history=history,
        metrics=read_json(metrics) if metrics.exists() else {},
        scales=scales,
        network=network,
    )


def shipped_folders() -> dict[str, Path]:
    """The folders of the shipped runs, by name; those of other packages first, so that ours win."""
    folders = [folder for point in entry_points(group=PROVIDERS) for folder in point.load()()]
    folders += [file.parent for file in SHIPPED.glob("*/config.json")]
    return {folder.name: folder for folder in folders}


def run_folder(name_or_path: str | Path) -> Path:
    """`name_or_path` itself where that is a run folder, or the folder of a shipped run.

    Raises:
        FileNotFoundError: if there is neither; it lists the shipped runs.
    """
    shipped, path = shipped_folders(), Path(str(name_or_path))
    if not isfile(path / "config.json"):  # of os.path, which takes names that no file can have
        path = shipped.get(str(name_or_path), path)
    if not isdir(path):
        wanted = f"a run folder or one of {', '.join(sorted(shipped))}"
        if not entry_points(group=PROVIDERS):
            wanted += "; the runs of the book come with the package enn_book"
        raise FileNotFoundError(f"run: got {str(name_or_path)!r}, wanted {wanted}")
    return path


def shipped_runs() -> list[str]:
    """The names of the shipped runs: those of this package, and of the book where it is installed."""
    return sorted(shipped_folders())
