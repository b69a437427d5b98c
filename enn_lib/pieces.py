"""A study in pieces: what is missing is run while there is time, and the same call goes on from there."""

import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from tqdm import tqdm


class Piece(Protocol):
    """What a study is made of: a configuration that has a name for its files."""

    @property
    def file(self) -> str:
        """The name, without suffix."""


Configuration = TypeVar("Configuration", bound=Piece)


def run_waiting(
    plan: Callable[[], Sequence[Configuration]],
    run: Callable[[Configuration], None],
    budget: float | None = None,
) -> None:
    """Run the first piece that is missing, and look again what is, until nothing is.

    What is missing may depend on what was found so far, such as the best of some trials.

    Args:
        plan: says what is missing, in the order in which it is run.
        run: runs one piece, and leaves what `plan` looks for.
        budget: begin nothing after so many minutes; None for no limit.
    """
    began = time.perf_counter()
    with tqdm(unit="run") as bar:
        while waiting := plan():
            if budget is not None and time.perf_counter() - began > 60 * budget:
                break
            bar.total = bar.n + len(waiting)
            bar.set_postfix_str(waiting[0].file)
            run(waiting[0])
            bar.update()
