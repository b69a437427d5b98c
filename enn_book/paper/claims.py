"""What a paper claims, measured: records, verdicts that follow from numbers, and tables.

A `Claim` knows how to measure itself and what it wants; nobody writes a verdict down. The claims of Ma and
Chan are in `enn_book.paper.mathematics` and `enn_book.paper.experiment`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import ceil, inf, isfinite, log10
from typing import Any

ROUNDING = 1e-9
"""Values below this count as rounding errors when they are written."""


class Verdict(StrEnum):
    """What a measurement says about a claim."""

    REPRODUCED = "reproduced"
    WITH_CHANGE = "reproduced with a change"
    AMBIGUOUS = "ambiguous"
    NOT_REPRODUCED = "not reproduced"


@dataclass(frozen=True)
class Bound:
    """What a value must be for a claim to hold: from `at_least` to `at_most`, ends included."""

    at_least: float = -inf
    at_most: float = inf

    def holds(self, value: float) -> bool:
        """Whether the value lies within; never for NaN."""
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        low, high = _number(self.at_least), _number(self.at_most)
        if self.at_least == self.at_most:
            return low
        if self.at_least == -inf:
            return f"at most {high}"
        if self.at_most == inf:
            return f"at least {low}"
        return f"{low} to {high}"


@dataclass(frozen=True)
class Attempt:
    """One way to reproduce a claim.

    Attributes:
        readings: the measured value under each reading of the paper's words; one reading, named "", if
            the words are clear.
        how: what was done, in a few words; may be empty if there is only one way.
        is_change: whether that departs from what the paper did.
    """

    readings: dict[str, float]
    how: str = ""
    is_change: bool = False


@dataclass(frozen=True)
class Claim:
    """A statement of the paper that a number can confirm or refute.

    Attributes:
        source: where the paper makes it: "Eq. 6", "Fig. 3", "sec. 4.2".
        statement: what it says, in a clause.
        pages: the pages of the book that treat it.
        wanted: what the measured value has to be.
        measure: takes the evidence; returns a value, or attempts in the order in which they were made.
        unit: of the value, where it has one.
    """

    source: str
    statement: str
    pages: tuple[str, ...]
    wanted: Bound
    measure: Callable[[Any], float | Sequence[Attempt]]
    unit: str = ""


def register(
    claims: list[Claim], source: str, statement: str, pages: tuple[str, ...], wanted: Bound, unit: str = ""
) -> Callable:
    """A decorator that makes the function below it the measurement of a claim and adds that to `claims`."""

    def decorate(measure: Callable) -> Callable:
        claims.append(Claim(source, statement, pages, wanted, measure, unit))
        return measure

    return decorate


@dataclass(frozen=True)
class Result:
    """A claim with what was measured."""

    claim: Claim
    attempts: tuple[Attempt, ...]

    @property
    def deciding(self) -> int:
        """The index of the first attempt that holds under all readings; the last one's if none does."""
        for index, attempt in enumerate(self.attempts):
            if all(self.claim.wanted.holds(value) for value in attempt.readings.values()):
                return index
        return len(self.attempts) - 1

    @property
    def verdict(self) -> Verdict:
        """The verdict, by this rule.

        The first attempt that holds under every reading decides: *reproduced*, or *reproduced with a
        change* if it departs from the paper. If none does, but some attempt holds under some reading, the
        claim is *ambiguous*. Otherwise it is *not reproduced*.
        """
        attempt = self.attempts[self.deciding]
        holds = self.claim.wanted.holds
        if all(map(holds, attempt.readings.values())):
            return Verdict.WITH_CHANGE if attempt.is_change else Verdict.REPRODUCED
        if any(holds(value) for attempt in self.attempts for value in attempt.readings.values()):
            return Verdict.AMBIGUOUS
        return Verdict.NOT_REPRODUCED

    def value_text(self) -> str:
        """The values up to the deciding attempt, with how they came about and under which reading."""
        lines = []
        for attempt in self.attempts[: self.deciding + 1]:
            values = [
                f"{'< ' * (0 < abs(value) < ROUNDING)}{_number(value, self.claim.unit)}"
                + f" ({reading})" * bool(reading)
                for reading, value in attempt.readings.items()
            ]
            lines.append(f"{attempt.how}: " * bool(attempt.how) + ", ".join(values))
        return "<br>".join(lines)


def _number(value: float, unit: str = "") -> str:
    """Three digits, or a whole number in full; what is rounding only as the next power of ten above it."""
    if 0 < abs(value) < ROUNDING:
        text = _power("1", ceil(log10(abs(value))))
    elif isfinite(value) and (value == round(value) or abs(value) >= 1000):
        text = f"{value if value == round(value) else float(f'{value:.3g}'):,.0f}"
    elif 0 < abs(value) < 1e-3:
        digits, exponent = f"{value:.2e}".split("e")
        text = _power(digits.rstrip("0").rstrip("."), int(exponent))
    else:
        text = f"{value:.3g}"
    return f"{text} {unit}".strip()


def _power(digits: str, exponent: int) -> str:
    """``"7.6", -6`` -> ``7.6·10⁻⁶``, which no line break can tear."""
    factor = "" if digits == "1" else f"{digits}·"
    return f"{factor}10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def check(claims: Iterable[Claim], evidence: Any = None) -> list[Result]:
    """Measure every claim.

    Args:
        claims: what to measure.
        evidence: handed to each `Claim.measure`.

    Raises:
        ValueError: naming the claim whose measurement gave nothing.
    """
    results = []
    for claim in claims:
        measured = claim.measure(evidence)
        attempts = (Attempt({"": float(measured)}),) if isinstance(measured, int | float) else tuple(measured)
        if not attempts or not all(attempt.readings for attempt in attempts):
            raise ValueError(f"{claim.source}: got nothing measured, wanted at least one value")
        results.append(Result(claim, attempts))
    return results


def as_table(results: Iterable[Result]) -> str:
    """The results as a table in MyST Markdown, with references to the pages by their labels."""
    lines = ["| claim | verdict | what it says, and where | our value | wanted |", "|---" * 5 + "|"]
    for result in results:
        claim = result.claim
        links = ", ".join(f"{{ref}}`{page.replace('-', ' ')} <{page}>`" for page in claim.pages)
        wanted = f"{claim.wanted} {claim.unit}".strip()
        verdict = result.verdict if result.verdict is Verdict.REPRODUCED else f"**{result.verdict}**"
        cells = (claim.source, verdict, f"{claim.statement}: {links}", result.value_text(), wanted)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def count(results: Iterable[Result]) -> dict[Verdict, int]:
    """How many results have each verdict, in the order of `Verdict`."""
    verdicts = [result.verdict for result in results]
    return {verdict: verdicts.count(verdict) for verdict in Verdict}
