"""The comparison of all peers at the same time and number of parameters, in pieces.

``python -m enn_lib peers --out DIR`` repeats it and `load_study` reads the one that comes with the library.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

from tqdm import tqdm

from enn_lib.peers.catalogue import PEERS
from enn_lib.peers.training import PeerConfig, train_peer
from enn_lib.storage import read_json, save_tensors, write_json
from enn_lib.training import provenance

SHIPPED_PEERS = Path(__file__).parents[1] / "studies" / "peers"

SECONDS = 8.0
"""Processor time of a run; trials of the optimiser have a quarter of it."""

TRIALS = (("adam", 0.001), ("adam", 0.005), ("soap", 0.003))
"""Optimisers and rates, of which each model gets the one that is best on validation on seed 0."""

SEEDS = (0, 1, 2)

EFFICIENCY = ("enn", "perceptron", "perceptron-rotated", "egnn")
"""The models of the sweep over the number of training configurations."""

SIZES = (100, 1000, 10_000, 60_000)

Record = dict
"""What a file of the study holds: ``config``, the measured values of `train_peer`, and ``provenance``."""


def trials(peer: str, seconds: float = SECONDS) -> list[PeerConfig]:
    """The configurations among which the optimiser of a peer is chosen."""
    return [PeerConfig(peer, optimiser, rate, seconds / 4) for optimiser, rate in TRIALS]


def best_trial(folder: Path, peer: str, seconds: float = SECONDS) -> PeerConfig:
    """The trial with the least validation error.

    Raises:
        FileNotFoundError: if the folder lacks a trial, so that nothing is chosen by the clock.
    """
    found = {}
    for config in trials(peer, seconds):
        record = read_record(folder, config)
        found[config] = record["validation_rmsd"] or float("inf")
    return min(found, key=found.get)


def read_record(folder: Path, config: PeerConfig) -> Record:
    """The record of a run.

    Raises:
        FileNotFoundError: if it is not there.
        ValueError: if it is damaged.
    """
    return read_json(folder / f"{config.file}.json")


def plan(folder: Path, seconds: float = SECONDS) -> list[PeerConfig]:
    """What comes next, the most telling first: all trials, then a seed of all models and of the sweep.

    Runs that need a choice among trials that are not there yet are left out.
    """
    wanted = [config for peer in PEERS for config in trials(peer, seconds)]
    chosen = {}
    for peer in PEERS:
        try:
            chosen[peer] = best_trial(folder, peer, seconds)
        except FileNotFoundError:
            continue
    for seed in SEEDS:
        full = {peer: replace(config, seconds=seconds, seed=seed) for peer, config in chosen.items()}
        wanted += full.values()
        wanted += [replace(full[p], n_train=n) for n in SIZES for p in EFFICIENCY if p in full and n != SIZES[-1]]
    return [config for config in wanted if not (folder / f"{config.file}.json").exists()]


def run_study(folder: Path, budget: float | None = None, seconds: float = SECONDS, **changes) -> None:
    """Run what is missing in `folder`; the same command goes on from there.

    Every run leaves a record ``....json``; seed 0 of all models, at full size, also its weights.

    Args:
        folder: made if it does not exist.
        budget: stop before a run if so many minutes of this session have gone; None for no limit.
        seconds: of processor time for each run.
        changes: settings to change in all of them, such as ``n_configurations``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    with tqdm(unit="run") as bar:
        while waiting := plan(folder, seconds):
            if budget is not None and time.perf_counter() - began > 60 * budget:
                return
            config = waiting[0]
            bar.total = bar.n + len(waiting)
            bar.set_postfix_str(config.file)
            is_trial = config.seconds < seconds
            model, measured = train_peer(replace(config, **changes), with_test=not is_trial)
            is_full = config.seed == 0 and not is_trial and config.n_train == SIZES[-1]
            if is_full and "test_rmsd" in measured:
                save_tensors(folder / f"{config.file}.safetensors", model.state_dict(), {"peer": config.peer})
            record = {"config": asdict(config) | changes, **measured, "provenance": provenance()}
            write_json(folder / f"{config.file}.json", record)
            bar.update()


def load_study(folder: Path = SHIPPED_PEERS, seconds: float = SECONDS) -> dict[str, dict[int, list[Record]]]:
    """The records at the chosen optimiser: by peer, then by number of training configurations, over seeds.

    Raises:
        FileNotFoundError: if a trial is missing.
    """
    study: dict[str, dict[int, list[Record]]] = {}
    for peer in PEERS:
        best = replace(best_trial(folder, peer, seconds), seconds=seconds)
        study[peer] = {}
        for n_train in SIZES:
            configs = [replace(best, seed=seed, n_train=n_train) for seed in SEEDS]
            records = [
                read_record(folder, config) for config in configs if (folder / f"{config.file}.json").exists()
            ]
            if records:
                study[peer][n_train] = records
    return study
