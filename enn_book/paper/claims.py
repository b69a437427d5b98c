"""What the paper claims of its experiment (section 4), measured, with verdicts that follow from numbers.

The equations are not among the claims: they hold or the code is wrong, and ``equations.toml`` names the
tests that say so. Where the paper gives a number, that is what is wanted. Where it says "fairly good" or
"drop significantly", the bound is ours and stands here as a constant.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import accumulate
from math import inf, isinf
from pathlib import Path

import torch

from enn_book.style import Table, number, table
from enn_lib.argon import ARGON, ArgonData, generate_data, smallest_distance
from enn_lib.dynamics import Trajectory, paper_initial_conditions, simulate
from enn_lib.evaluation import DYNAMICS_STEPS, evaluate
from enn_lib.runs import Run

PAPER_RMSD = 0.00118
"""The test error of the paper, eV/Å; per component or per vector, it does not say."""

PAPER_ITERATIONS = 10_000_000
"""Iterations of FIRE in the paper."""

ENERGY_BOUND = 4e-4
"""What the RMSD of the energy stays below at about 4000 steps in the paper, eV."""

EVEN_RISE = 0.02
"""A rise of the loss by a smaller part is none to the eye on the axis of Fig. 2; so "even" is read here."""

FAIRLY_GOOD, ACCEPTABLE = 0.1, 0.5
"""How the paper's words are read here, as the RMSD of positions as a share of the distance travelled."""

SIGNIFICANT_DROP = 0.1
"""How "drop significantly" is read here, as the last loss as a share of the first."""


class Verdict(StrEnum):
    """What a measurement says about a claim."""

    REPRODUCED = "reproduced"
    AMBIGUOUS = "depends on the reading"
    NOT_REPRODUCED = "not reproduced"
    NOT_TESTED = "not tested"


class Way(StrEnum):
    """How what a claim is measured on was made; each way gets its own verdict."""

    PAPER = "as in the paper"
    TRAINED = "trained differently"
    AVERAGED = "and averaged over S4"


@dataclass(frozen=True)
class Bound:
    """What a value must be for a claim to hold: from `at_least` to `at_most`, ends included."""

    at_least: float = -inf
    at_most: float = inf

    def holds(self, value: float) -> bool:
        """Whether the value lies within; never for NaN."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        low, high = _shortest(self.at_least), _shortest(self.at_most)
        if isinf(self.at_least):
            return f"at most {high}"
        return f"at least {low}" if isinf(self.at_most) else f"{low} to {high}"


def _shortest(value: float) -> str:
    """A number in as few digits as it has, at most three."""
    if isinstance(value, int):
        return number(value)
    return number(value, next(d for d in (1, 2, 3) if d == 3 or float(f"{value:.{d - 1}e}") == value))


@dataclass(frozen=True)
class Evidence:
    """What the claims are measured on.

    Attributes:
        protocol: runs of the paper's own training, as far as they were taken, the furthest first.
        references: runs of the paper's network that were trained differently, from one seed each.
        steps: the two steps of the dynamics of which the paper speaks.
    """

    protocol: Sequence[Run]
    references: Sequence[Run]
    steps: tuple[int, int] = DYNAMICS_STEPS

    def __post_init__(self):
        if len(self.steps) != 2 or not 0 < self.steps[0] < self.steps[1]:
            raise ValueError(f"steps: got {self.steps}, wanted two that rise")

    @property
    def is_finished(self) -> bool:
        """Whether the paper's training was taken to its end."""
        return self.protocol[0].history["iteration"][-1] >= PAPER_ITERATIONS

    @cached_property
    def data(self) -> ArgonData:
        """The data of the first run that was trained differently."""
        return generate_data(self.references[0].config.n_configurations, self.references[0].config.data_seed)

    @cached_property
    def analytic(self) -> Trajectory:
        """The true dynamics of sec. 4.3."""
        return simulate(ARGON, *paper_initial_conditions(), self.steps[1])

    def metrics(self, run: Run) -> dict:
        """What `evaluate` says about a run: its ``metrics.json`` if that has these steps, or measured now."""
        stored = run.metrics.get("dynamics", {}).get("network", {}).get("steps")
        if stored == list(self.steps):
            return run.metrics
        if run.path not in self._measured:
            self._measured[run.path] = evaluate(run, steps=self.steps)
        return self._measured[run.path]

    @cached_property
    def _measured(self) -> dict[Path, dict]:
        """What was measured here, by the folder of the run."""
        return {}


GROUPS = SYSTEM, TRAINING, NETWORK = "the four atoms", "the training", "the trained network"
"""What claims are about; those of the first group involve no network."""

Readings = dict[str, list[float]]
"""Measured values under each reading of the paper's words, named "" if they are clear; a value a run."""


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that a number can confirm or refute.

    Attributes:
        group: what it is about, one of `GROUPS`.
        source: where the paper makes it, "Fig. 3" or "sec. 4.2".
        statement: what it says, in a clause.
        page: the page of the book that treats it.
        wanted: what the measured value has to be.
        measure: takes the evidence and yields the readings of each way in which it was tried.
    """

    group: str
    source: str
    statement: str
    page: str
    wanted: Bound
    measure: Callable[[Evidence], Iterator[tuple[Way, Readings]]]


@dataclass(frozen=True)
class Result:
    """A claim with what was measured, by way."""

    claim: Claim
    readings: dict[Way, Readings]
    is_finished: bool

    def verdict(self, way: Way = Way.PAPER) -> Verdict:
        """The verdict on one way.

        *Reproduced* if the claim holds under all readings and for all runs; *depends on the reading* if
        it does so under some. Otherwise *not reproduced*; but *not tested* where the claim is about the
        paper's training, or the network that comes out of it, and we stopped that training before its end.
        """
        holds = [all(map(self.claim.wanted.holds, values)) for values in self.readings[way].values()]
        if all(holds):
            return Verdict.REPRODUCED
        if way is Way.PAPER and self.claim.group != SYSTEM and not self.is_finished:
            return Verdict.NOT_TESTED
        return Verdict.AMBIGUOUS if any(holds) else Verdict.NOT_REPRODUCED

    def text(self, way: Way) -> str:
        """The values of a way and the verdict on it; empty if it was not tried."""
        if way not in self.readings:
            return ""
        values = (
            f"{' and '.join(map(number, v))}{f' ({name})' * bool(name)}"
            for name, v in self.readings[way].items()
        )
        verdict = self.verdict(way)
        return f"{', '.join(values)}: {verdict if verdict is Verdict.REPRODUCED else f'**{verdict}**'}"


def as_table(results: Sequence[Result]) -> Table:
    """Results in MyST Markdown, with references to pages by their labels, and a column for each way tried."""
    ways = [way for way in Way if any(way in r.readings for r in results)]
    rows = [
        [f"{{ref}}`{r.claim.source} <{r.claim.page}>`: {r.claim.statement}", str(r.claim.wanted)]
        + [r.text(way) for way in ways]
        for r in results
    ]
    return table(["the paper says", "wanted", *ways], rows)


def largest_rise(losses: Sequence[float]) -> float:
    """By which part a logged loss stands at most above the lowest before it; 0 if it never rises.

    A rise between two logged rows is not seen, so that a coarser log can only show less: with every second
    row left out, the 15 % of the run `paper` are 0.4 %.
    """
    return max(loss / lowest - 1 for loss, lowest in zip(losses, accumulate(losses, min), strict=True))


def _given(value: float) -> Iterator[tuple[Way, Readings]]:
    """The one value of a claim that no training can change."""
    yield Way.PAPER, {"": [value]}


def _histories(evidence: Evidence, value: Callable[[dict], float]) -> Iterator[tuple[Way, Readings]]:
    """The same measure of the histories of all runs."""
    yield Way.PAPER, {"": [value(run.history) for run in evidence.protocol]}
    yield Way.TRAINED, {"": [value(run.history) for run in evidence.references]}


def _errors(
    evidence: Evidence, part: str, keys: dict[str, str], value: Callable
) -> Iterator[tuple[Way, Readings]]:
    """The same measure of the errors of the runs, alone and averaged.

    Args:
        evidence: the runs.
        part: of what `evaluate` measured, "test" or "dynamics".
        keys: of its entries, by reading.
        value: takes such an entry.
    """
    ways = ((Way.PAPER, evidence.protocol[:1], "network"), (Way.TRAINED, evidence.references, "network"))
    for way, runs, kind in (*ways, (Way.AVERAGED, evidence.references, "s4_average")):
        measured = [evidence.metrics(run)[part][kind] for run in runs]
        yield way, {reading: [value(entries[key]) for entries in measured] for reading, key in keys.items()}


def _dynamics(key: str, value: Callable[[list[float]], float]) -> Callable:
    """A measure of an error in the dynamics at the two steps."""
    return lambda evidence: _errors(evidence, "dynamics", {"": key}, value)


def _share_of_distance(which: int) -> Callable:
    """The RMSD of the positions at one of the two steps over the distance travelled."""

    def measure(evidence: Evidence) -> Iterator[tuple[Way, Readings]]:
        travelled = evidence.analytic.displacement()[evidence.steps[which]].item()
        return _dynamics("rmsd_positions", lambda both: both[which] / travelled)(evidence)

    return measure


def _drop(history: dict, part: str) -> float:
    """The last loss on a part of the data as a share of the first."""
    return history[f"{part}_loss"][-1] / history[f"{part}_loss"][0]


def _conservation(evidence: Evidence) -> Iterator[tuple[Way, Readings]]:
    """The largest change of the energy in any sample of the true dynamics."""
    energy = evidence.analytic.total_energy()
    return _given((energy - energy[0]).abs().max().item())


CLAIMS = (
    Claim(
        SYSTEM,
        "Fig. 1",
        "the energy rises drastically at around 3 Å (in depths of the well)",
        "argon",
        Bound(1),
        lambda _: _given((ARGON.pair_energy(torch.tensor(3.0)) / ARGON.epsilon).item()),
    ),
    Claim(
        SYSTEM,
        "sec. 4.1",
        "atoms in dynamics hardly come that close (Å)",
        "dynamics",
        Bound(3),
        lambda evidence: _given(smallest_distance(evidence.analytic.positions).min().item()),
    ),
    Claim(
        SYSTEM,
        "sec. 4.2",
        "the forces are of the order of 0.1 to 1 eV/Å (root mean square)",
        "argon",
        Bound(0.1, 1),
        lambda evidence: _given(evidence.data.train.forces.norm(dim=-1).square().mean().sqrt().item()),
    ),
    Claim(
        SYSTEM,
        "sec. 4.3",
        "0.4 meV is about two orders below the energy (orders)",
        "energy",
        Bound(1.5, 2.5),
        lambda evidence: _given(
            (evidence.analytic.total_energy()[0].abs().mean() / ENERGY_BOUND).log10().item()
        ),
    ),
    Claim(
        SYSTEM,
        "Fig. 7",
        "the true forces conserve the energy (largest change, eV)",
        "energy",
        Bound(at_most=1e-6),
        _conservation,
    ),
    Claim(
        TRAINING,
        "Fig. 2",
        "both losses drop significantly (last / first)",
        "training",
        Bound(at_most=SIGNIFICANT_DROP),
        lambda evidence: _histories(evidence, lambda h: max(_drop(h, "training"), _drop(h, "validation"))),
    ),
    Claim(
        TRAINING,
        "sec. 4.2",
        "the training loss drops faster (ratio of the drops)",
        "training",
        Bound(1),
        lambda evidence: _histories(evidence, lambda h: _drop(h, "validation") / _drop(h, "training")),
    ),
    Claim(
        TRAINING,
        "sec. 4.2",
        "it seems not to overfit (last validation loss / its lowest)",
        "training",
        Bound(at_most=1 + EVEN_RISE),
        lambda evidence: _histories(evidence, lambda h: h["validation_loss"][-1] / min(h["validation_loss"])),
    ),
    Claim(
        NETWORK,
        "Fig. 3",
        "RMSD of the test forces (meV/Å)",
        "forces",
        Bound(at_most=1000 * PAPER_RMSD),
        lambda evidence: _errors(
            evidence,
            "test",
            {"per component": "rmsd_component", "per vector": "rmsd_vector"},
            lambda rmsd: 1000 * rmsd,
        ),
    ),
    Claim(
        NETWORK,
        "Fig. 4",
        "positions deviate more and more (late / early)",
        "dynamics",
        Bound(1),
        _dynamics("rmsd_positions", lambda both: both[1] / both[0]),
    ),
    Claim(
        NETWORK,
        "Fig. 5",
        "fairly good to 1,500 steps (RMSD / distance travelled)",
        "dynamics",
        Bound(at_most=FAIRLY_GOOD),
        _share_of_distance(0),
    ),
    Claim(
        NETWORK,
        "Fig. 5",
        "acceptable to 4,000 steps (RMSD / distance travelled)",
        "dynamics",
        Bound(at_most=ACCEPTABLE),
        _share_of_distance(1),
    ),
    Claim(
        NETWORK,
        "Fig. 6",
        "the deviation of the energy grows (late / early)",
        "energy",
        Bound(1),
        _dynamics("rmsd_energy", lambda both: both[1] / both[0]),
    ),
    Claim(
        NETWORK,
        "Fig. 6",
        "RMSD of the energy at 4,000 steps (meV)",
        "energy",
        Bound(at_most=1000 * ENERGY_BOUND),
        _dynamics("rmsd_energy", lambda both: 1000 * both[1]),
    ),
)
"""The claims of section 4, by group.

:meta hide-value:
"""


def check(evidence: Evidence, claims: Iterable[Claim] = CLAIMS) -> list[Result]:
    """Measure every claim."""
    return [Result(claim, dict(claim.measure(evidence)), evidence.is_finished) for claim in claims]
