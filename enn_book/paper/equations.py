"""The map from the paper's equations to the pages, functions and tests of this project."""

import inspect
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROLES = {"computes": "Computed by", "uses": "Used by", "obeys": "Obeyed by"}
"""What a function has to do with an equation, in the words of pages."""


@dataclass(frozen=True)
class Equation:
    """Where an equation of the paper is at home.

    Attributes:
        number: as printed, "1" to "49" and "A.1".
        formula: the equation in LaTeX.
        says: what it says, in a few words.
        page: the name of the page where it is derived or used.
        code: by dotted path, what a function has to do with it: one of `ROLES`.
        tests: tests that fail if one of them is wrong, ``file::function`` inside ``tests``.
    """

    number: str
    formula: str
    says: str
    page: str
    code: dict[str, str]
    tests: tuple[str, ...]

    @classmethod
    def read(cls, number: str, entry: dict) -> "Equation":
        """Make one of an entry of ``equations.toml``.

        Raises:
            ValueError: if a key is missing or unknown, or a role.
        """
        wanted = {"formula", "says", "page", "code", "tests"}
        if set(entry) != wanted:
            raise ValueError(f"equation {number}: got {sorted(entry)}, wanted {sorted(wanted)}")
        if strangers := set(entry["code"].values()) - set(ROLES):
            raise ValueError(f"equation {number}: got {sorted(strangers)}, wanted {', '.join(ROLES)}")
        return cls(
            number, *(entry[key] for key in ("formula", "says", "page", "code")), tuple(entry["tests"])
        )


def equations() -> list[Equation]:
    """All equations of the paper, in its order."""
    table = tomllib.loads((Path(__file__).parent / "equations.toml").read_text(encoding="utf-8"))
    return [Equation.read(number, entry) for number, entry in table.items()]


def resolve(path: str) -> object:
    """The function, method or property at a dotted path, such as ``enn_lib.layers.unit_vectors``.

    Raises:
        ValueError: if there is none.
    """
    names = path.split(".")
    for k in range(len(names) - 1, 0, -1):
        try:
            found = import_module(".".join(names[:k]))
            for name in names[k:]:
                found = inspect.getattr_static(found, name)
        except (ImportError, AttributeError):
            continue
        return found
    raise ValueError(f"code: got {path!r}, wanted a name inside enn_lib or enn_book")
