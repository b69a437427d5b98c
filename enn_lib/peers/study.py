"""The comparison of all peers at the same time and number of parameters, in pieces.

``python -m enn_lib peers --out DIR`` repeats it and `load_peers` reads the one that comes with the library.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from enn_lib.argon import Scales
from enn_lib.force_field import ForceField
from enn_lib.peers.catalogue import PEERS, build_peer
from enn_lib.peers.training import PeerConfig, force_field, train_peer
from enn_lib.storage import load_tensors, read_json, save_tensors, write_json
from enn_lib.training import provenance

SHIPPED_PEERS = Path(__file__).parents[1] / "studies" / "peers"

SECONDS = 30.0
"""Processor time of a run, if the command is not told otherwise."""

TRIALS = (("soap", 0.003), ("adam", 0.003), ("soap", 0.01), ("adam", 0.001))
"""Optimisers and rates, of which each model gets the one that is best on validation on seed 0."""

SEEDS = (0, 1, 2)

SIZES = (100, 1000, 10_000, 60_000)
"""Numbers of training configurations of the sweep; the last is the whole."""

EFFICIENCY = ("enn", "perceptron", "perceptron-rotated", "egnn")
"""The models of the sweep."""

Record = dict
"""What a file of the study holds, ``config``, what `train_peer` measured, and ``provenance``."""


def read_records(folder: Path = SHIPPED_PEERS) -> list[Record]:
    """All records of a folder, in the order of their names."""
    return [read_json(file) for file in sorted(folder.glob("*.json"))]


def is_trial(record: Record) -> bool:
    """Whether the optimiser is chosen by this record: seed 0 and all training configurations."""
    return record["config"]["seed"] == 0 and record["config"]["n_train"] == SIZES[-1]


def best_trial(records: Sequence[Record], peer: str, seconds: float) -> Record | None:
    """The trial of a peer with the least validation error at this time; None if there is none."""
    found = [
        record
        for record in records
        if is_trial(record) and (record["config"]["peer"], record["config"]["seconds"]) == (peer, seconds)
    ]
    return min(found, key=lambda record: record["validation_rmsd"] or float("inf"), default=None)


def plan(folder: Path, seconds: float = SECONDS) -> list[PeerConfig]:
    """What is missing in a folder, in the order in which it is run: the most telling first.

    A trial of every model, then another of every model, and so on; with all of them there, the chosen
    optimiser on the other seeds, and over the sizes.
    """
    wanted = [PeerConfig(peer, *trial, seconds) for trial in TRIALS for peer in PEERS]
    waiting = [config for config in wanted if not (folder / f"{config.file}.json").exists()]
    if waiting:
        return waiting
    records = read_records(folder)
    chosen = {peer: PeerConfig(**best_trial(records, peer, seconds)["config"]) for peer in PEERS}
    wanted += [replace(config, seed=seed) for seed in SEEDS for config in chosen.values()]
    for seed in SEEDS:
        wanted += [replace(chosen[peer], seed=seed, n_train=n) for n in SIZES[:-1] for peer in EFFICIENCY]
    return [config for config in wanted if not (folder / f"{config.file}.json").exists()]


def run_peers(folder: Path, budget: float | None = None, seconds: float = SECONDS) -> None:
    """Run what is missing in `folder`; the same command goes on from there.

    Every run leaves a record ``....json``; of the chosen trial the weights stay, too.

    Args:
        folder: made if it does not exist.
        budget: begin no run after so many minutes of this session; None for no limit.
        seconds: of processor time for each run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tqdm(unit="run") as bar:
        while waiting := plan(folder, seconds):
            if budget is not None and time.perf_counter() - began > 60 * budget:
                break
            config = waiting[0]
            bar.total = bar.n + len(waiting)
            bar.set_postfix_str(config.file)
            model, measured = train_peer(config)
            record = {"config": asdict(config), **measured, "provenance": provenance()}
            if is_trial(record):
                save_tensors(folder / f"{config.file}.safetensors", model.state_dict(), {"peer": config.peer})
            write_json(folder / f"{config.file}.json", record)
            bar.update()
    drop_unchosen(folder, seconds)


def drop_unchosen(folder: Path, seconds: float) -> None:
    """Remove the weights of trials of this time that are not the best of their model."""
    records = read_records(folder)
    for peer in PEERS:
        best = best_trial(records, peer, seconds)
        for trial in TRIALS:
            config = PeerConfig(peer, *trial, seconds)
            if best is not None and asdict(config) != best["config"]:
                (folder / f"{config.file}.safetensors").unlink(missing_ok=True)


def longest_time(records: Sequence[Record]) -> float:
    """The greatest time at which every model has a trial.

    Raises:
        ValueError: if there is none.
    """
    times = {record["config"]["seconds"] for record in records}
    complete = [t for t in times if all(best_trial(records, peer, t) for peer in PEERS)]
    if not complete:
        raise ValueError(f"records: got {len(records)}, wanted a trial of every model at one time")
    return max(complete)


def load_peers(folder: Path = SHIPPED_PEERS) -> dict[str, dict[int, list[Record]]]:
    """The records at each model's best optimiser: by peer, by number of training configurations, over seeds.

    They are those of `longest_time`.

    Raises:
        ValueError: if no time has them all.
    """
    records = read_records(folder)
    seconds = longest_time(records)
    study: dict[str, dict[int, list[Record]]] = {}
    for peer in PEERS:
        best = PeerConfig(**best_trial(records, peer, seconds)["config"])
        study[peer] = {}
        for n_train in SIZES:
            wanted = [asdict(replace(best, seed=seed, n_train=n_train)) for seed in SEEDS]
            if found := [record for record in records if record["config"] in wanted]:
                study[peer][n_train] = found
    return study


def load_peer(peer: str, folder: Path = SHIPPED_PEERS) -> ForceField:
    """The chosen trial of a model, in float64, as it is used: averaged over S4 if the catalogue says so.

    Raises:
        ValueError: if there is no model of this name, or no time at which every model has a trial.
    """
    model = build_peer(peer)
    records = read_records(folder)
    best = best_trial(records, peer, longest_time(records))
    weights, _ = load_tensors(folder / f"{PeerConfig(**best['config']).file}.safetensors")
    model.load_state_dict(weights)
    return force_field(peer, model.double(), Scales(**best["scales"]))
