"""What the records of several seeds say: an error with its range, and which of two models is ahead."""

import math
from collections.abc import Sequence

from enn_lib.peers.study import Record


def errors(records: Sequence[Record]) -> list[float]:
    """The test error of each run, eV/Å; infinite for one that diverged, which is no reason to leave it out.

    Raises:
        ValueError: if there are no records.
    """
    if not records:
        raise ValueError("records: got none, wanted at least one")
    return [math.inf if record["test_rmsd"] is None else record["test_rmsd"] for record in records]


def mean_error(records: Sequence[Record]) -> float:
    """The mean of `errors`, eV/Å, so infinite if a run diverged."""
    found = errors(records)
    return sum(found) / len(found)


def shown(records: Sequence[Record]) -> str:
    """The mean and the range of `errors` for a table, and how many runs diverged, which are not in them."""
    found = errors(records)
    finite = [error for error in found if math.isfinite(error)]
    lost = len(found) - len(finite)
    text = f"{sum(finite) / len(finite):.2g} ({min(finite):.2g} to {max(finite):.2g})" if finite else ""
    return text + f"{', ' if finite else ''}{lost} of {len(found)} diverged" * (lost > 0)


def ahead(mine: Sequence[Record], theirs: Sequence[Record]) -> bool | None:
    """Whether the first model is better, whatever the seed: None if the ranges of the errors overlap."""
    a, b = errors(mine), errors(theirs)
    if max(a) < min(b):
        return True
    return False if max(b) < min(a) else None
