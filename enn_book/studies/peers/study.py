"""All peers of the ENN with the same time and number of parameters, and some of them with fewer data."""

import time
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn

from enn_book.models.catalogue import PEERS, PeerForceField, build_peer
from enn_book.studies.study import Outcome, Record, Records, Study, load
from enn_book.studies.timed import Comparison, TimedConfig, equivariance_errors, errors, mean_error, train_for
from enn_book.studies.training import random_orthogonal
from enn_book.style import Table, spread, table
from enn_lib.argon import Configurations, Scales, generate_data
from enn_lib.evaluation import rmsd
from enn_lib.force_field import ForceField
from enn_lib.permutation import S4, PermutationAverage

SECONDS = 30.0
"""Processor time of a run."""

TRIALS = (("soap", 0.003), ("adam", 0.003), ("soap", 0.01), ("adam", 0.001))
"""Optimisers and rates, of which each model gets the one that is best on validation on seed 0."""

FIRST = (
    *("enn", "enn-s4", "enn-softened-s4", "enn-graph", "perceptron", "perceptron-rotated"),
    *("vector-neurons", "egnn", "painn", "scalars", "pair-radial"),
)
"""The models of the first comparison, on an Intel Xeon."""

RIVALS = ("enn", "enn-graph", "frames", "egnn", "tensor-products")
"""The models of the second, which have `SECONDS` and four times as much, on an AMD EPYC."""

RATES = (("soap", 0.003), ("soap", 0.01))
"""Optimisers and rates of the second comparison, each tried for `SECONDS` on seed 0."""

BEYOND = {
    "enn": (("soap", 0.001),),
    **dict.fromkeys(("enn-graph", "egnn"), (("soap", 0.03),)),
    **dict.fromkeys(("frames", "tensor-products"), (("soap", 0.03), ("soap", 0.1))),
}
"""Further trials, until the best of each model lies between two others."""

SIZES = (100, 1000, 10_000, 60_000)
"""Numbers of training configurations of the sweep; the last is the whole."""

EFFICIENCY = ("enn", "perceptron", "perceptron-rotated", "egnn")
"""The models of the sweep."""

BATCH_SIZE = 500
"""Configurations a step, or all of them if there are fewer."""

N_VALIDATION, N_TEST = 2000, 5000
"""How many of the validation and test configurations are used; an average over S4 costs 24 evaluations."""

CHECKS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""The shares of the time after which the validation error is measured."""


@dataclass(frozen=True)
class PeerConfig(TimedConfig):
    """What determines a run; the seed is that of the weights and batches, and 2208 + seed that of the data.

    Attributes:
        n_train: how many of the 60 % of configurations that train.
        n_configurations: how many are drawn before the split.
    """

    n_train: int = SIZES[-1]
    n_configurations: int = 100_000


def augmented(
    kind: str, positions: Tensor, forces: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A batch ``(N, 4, 3)`` in which every configuration was rotated, or renumbered, at random.

    Args:
        kind: of `Peer.augment`.
        positions: of the batch.
        forces: of the batch.
        generator: the source of randomness.

    Raises:
        ValueError: if `kind` is unknown.
    """
    if kind == "none":
        return positions, forces
    if kind == "rotate":
        q = random_orthogonal(len(positions), generator)
        return positions @ q.mT, forces @ q.mT
    if kind == "relabel":
        g = S4[torch.randint(len(S4), (len(positions),), generator=generator)].unsqueeze(-1).expand(-1, -1, 3)
        return positions.gather(-2, g), forces.gather(-2, g)
    raise ValueError(f"augment: got {kind!r}, wanted 'none', 'rotate' or 'relabel'")


def force_field(name: str, model: nn.Module, scales: Scales) -> ForceField:
    """A trained model as it is used: averaged over permutations if the catalogue says so."""
    plain = PeerForceField(model, scales)
    return PermutationAverage(plain) if PEERS[name].average else plain


def run_peer(config: PeerConfig) -> Outcome:
    """Train for a time, and measure beside what `train_for` does (whose errors are of the model alone).

    These are the ``scales`` of the data, Å and eV/Å; and of the model as it is used, so averaged over
    permutations if the catalogue says so, ``validation_rmsd`` on `N_VALIDATION` and ``test_rmsd`` on `N_TEST`
    configurations (eV/Å; None if the run diverged), ``equivariance_error`` by group in float32, and
    ``inference_seconds`` (of processor time for 500 configurations).

    Raises:
        ValueError: if a setting is out of range.
    """
    model = build_peer(config.model, config.seed)
    data = generate_data(config.n_configurations, 2208 + config.seed)
    positions = (data.train.positions / data.scales.position).float()
    forces = (data.train.forces / data.scales.force).float()
    if hasattr(model, "standardise"):
        model.standardise(positions[: min(config.n_train, 10_000)])
    few = Configurations(data.validation.positions[:N_VALIDATION], data.validation.forces[:N_VALIDATION])
    plain = PeerForceField(model, data.scales)

    def loss(x: Tensor, t: Tensor, generator: torch.Generator) -> Tensor:
        x, t = augmented(PEERS[config.model].augment, x, t, generator)
        return (model(x) - t).square().mean()

    samples = positions, forces
    least, measured = train_for(
        config, model, samples, loss, lambda: rmsd(plain, few), batch_size=BATCH_SIZE, checks=CHECKS
    )
    measured |= {"scales": asdict(data.scales), "validation_rmsd": None, "test_rmsd": None}
    if least is not None:
        field = force_field(config.model, model, data.scales)
        test = Configurations(data.test.positions[:N_TEST], data.test.forces[:N_TEST])
        measured["validation_rmsd"] = rmsd(field, few)
        began = time.process_time()
        measured["test_rmsd"] = rmsd(field, test)
        measured["inference_seconds"] = (time.process_time() - began) * 500 / len(test)
        actions = dict.fromkeys("OST", "rows")
        measured["equivariance_error"] = equivariance_errors(
            field.forces, test.positions[:200], actions=actions, output_actions={"T": "invariant"}
        )
    return Outcome(measured, weights=model.state_dict())


COMPARISON = Comparison(FIRST, TRIALS, PeerConfig, fewer=dict.fromkeys(EFFICIENCY, SIZES[:-1]))
"""Every model gets the best of four trials, on all training configurations."""

_SECOND = Comparison(RIVALS, RATES, PeerConfig, further=BEYOND, seeds=(3, 4, 5))
LONGER = {1: _SECOND, 4: replace(_SECOND, share=0.25, seeds=(3, 4))}
"""The second comparison, by how many times as long the runs are; each model gets the best of its trials."""


def plan(records: Records, seconds: float) -> dict[str, PeerConfig]:
    """All runs of the first comparison, then those of the second."""
    wanted = COMPARISON.plan(records, seconds)
    for times, comparison in LONGER.items():
        wanted |= comparison.plan(records, times * seconds)
    return wanted


def longer(records: Records, seconds: float = SECONDS) -> dict[str, dict[float, list[Record]]]:
    """The records of the second comparison: by model, by the seconds of its runs, over the seeds."""
    found: dict[str, dict[float, list[Record]]] = {model: {} for model in RIVALS}
    for times, comparison in LONGER.items():
        for model, sizes in comparison.runs(records, times * seconds).items():
            found[model][times * seconds] = sizes[SIZES[-1]]
    return found


def trained(model: str, records: Records | None = None) -> ForceField:
    """The chosen run of a model on seed 0, in float64 and as it is used (see `force_field`).

    Args:
        model: a name in `PEERS`.
        records: those that come with the book if not given.

    Raises:
        ValueError: if there is no model of this name, or no run of it.
    """
    made = build_peer(model).double()
    records = load("peers") if records is None else records
    record = COMPARISON.runs(records, SECONDS)[model][SIZES[-1]][0]
    made.load_state_dict(record.weights())
    return force_field(model, made, Scales(**record["scales"]))


def _keeps(records: Records, record: Record) -> bool:
    """Whether weights stay: those of the run on seed 0 that is chosen, and of all trials before that.

    Of the models of the second comparison alone, those of the longest run on seed 3.
    """
    if (model := record.config["model"]) not in COMPARISON.models:
        return record.config["seed"] == 3 and record.config["seconds"] != SECONDS
    chosen = COMPARISON.chosen(records, model, record.config["seconds"])
    return record.config["seed"] == 0 if chosen is None else chosen.name == record.name


def summary(records: Records) -> Table:
    """Test errors (eV/Å) of every model with its chosen optimiser, over the seeds; of both comparisons."""
    rows = []

    def add(model: str, n: int, runs: list[Record]) -> None:
        config, found = runs[0].config, errors(runs)
        how = "{optimiser}, {rate:g}, {seconds:g} s".format(**config)
        rows.append([f"`{model}`", how, n, len(runs), mean_error(runs), spread(found)])

    for model, sizes in COMPARISON.runs(records, SECONDS).items():
        for n, runs in sizes.items():
            add(model, n, runs)
    for model, times in longer(records).items():
        for runs in times.values():
            add(model, SIZES[-1], runs)
    columns = ["model", "optimiser, rate, time", "configurations", "seeds", "test RMSD, mean", "range"]
    return table(columns, rows)


STUDY = Study(
    question="How accurate is the ENN beside other models of the same forces, at equal size and time?",
    plan=plan,
    run=run_peer,
    length=SECONDS,
    unit="seconds of processor time",
    summary=summary,
    keeps=_keeps,
)
