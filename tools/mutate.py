"""Change the library in one small way after another, and see whether mypy or a test notices.

    python tools/mutate.py               the whole library, which takes hours on one core
    python tools/mutate.py layers fire   some of its modules

mutmut makes the mutants, each with one operator, number, name or argument changed, and runs the tests that
reach it; its settings are in ``pyproject.toml``, its copy of the library in ``mutants``. A mutant that
survives shows a test that is missing, code that does nothing, or the same program in other words. Those last
are in ``tests/enn_lib/equivalent_mutants.toml`` with the reason, and count out. The exit status is 1 if fewer
than 95 % of the others are noticed, or if that list names a mutant that is noticed, or one that there is not.
"""

import argparse
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

from pages import ROOT

EQUIVALENT = ROOT / "tests" / "enn_lib" / "equivalent_mutants.toml"
MUTANTS = ROOT / "mutants"

WANTED = 0.95
"""The share of the mutants that has to be noticed."""

NOTICED = ("killed", "caught by type check", "timeout", "segfault")
"""What mutmut says of a mutant that nobody would miss."""


@dataclass(frozen=True)
class Mutant:
    """A mutant and what became of it.

    Attributes:
        name: by which ``python -m mutmut show`` shows it; it ends in a number that the next change may shift.
        change: its function and the new lines, such as ``length: return square.rsqrt()``, which stay.
        is_noticed: whether mypy or a test saw it, or a time-out ended it.
    """

    name: str
    change: str
    is_noticed: bool


def change_of(name: str, diff: str) -> str:
    """The function of a mutant, such as ``FIRE.step``, and its new lines as one."""
    function = name.rpartition(".")[2].partition("__mutmut_")[0].removeprefix("x").removeprefix("_")
    new = [line[1:].strip() for line in diff.splitlines() if line[:1] == "+" and line[:3] != "+++"]
    return f"{function.removeprefix('ǁ').replace('ǁ', '.')}: {' '.join(new)}"


def mutants_of(module: str) -> list[Mutant]:
    """What mutmut found of a module."""
    from mutmut.mutation.data import SourceFileMutationData
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code

    data = SourceFileMutationData(path=Path("enn_lib", f"{module}.py"))
    data.load()
    mutants = []
    for name, code in data.exit_code_by_key.items():
        is_noticed = status_by_exit_code[code] in NOTICED
        # A diff takes long, and of what is noticed nobody asks for it.
        change = "" if is_noticed else change_of(name, get_diff_for_mutant(name, path=data.path))
        mutants.append(Mutant(name, change, is_noticed))
    return mutants


def report(found: dict[str, list[Mutant]], equivalent: dict[str, dict[str, str]]) -> bool:
    """Print what survived and a table, and return whether it is good enough.

    Args:
        found: the mutants of each module.
        equivalent: of each module the changes that are none, each with its reason.
    """
    rows, wrong = [], []
    for module, mutants in found.items():
        listed = equivalent.get(module, {})
        unnoticed = [mutant for mutant in mutants if not mutant.is_noticed]
        same = [mutant for mutant in unnoticed if mutant.change in listed]
        for mutant in unnoticed:
            if mutant not in same:
                print(f"{mutant.name}\n    {mutant.change}")
        wrong += [f"[{module}] {change}" for change in listed.keys() - {mutant.change for mutant in same}]
        rows.append((module, len(mutants), len(mutants) - len(unnoticed), len(same)))
    rows.append(("all", *map(sum, zip(*(row[1:] for row in rows), strict=True))))
    print(f"{'module':18}{'mutants':>8}{'noticed':>9}{'equivalent':>12}{'survived':>10}{'share':>9}")
    for module, count, noticed, same in rows:
        share = noticed / max(count - same, 1)
        print(f"{module:18}{count:8}{noticed:9}{same:12}{count - noticed - same:10}{share:9.1%}")
    for line in sorted(wrong):
        print(f"error: {EQUIVALENT.name}: got {line}, wanted a mutant that survives")
    return share >= WANTED and not wrong


def main() -> None:
    """Run the command line; the exit status is 1 if too little is noticed."""
    modules = sorted(path.stem for path in (ROOT / "enn_lib").glob("*.py"))
    parser = argparse.ArgumentParser(description="See whether mypy or a test notices changes of the library.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="such as layers; all if not given")
    wanted = parser.parse_args().modules or modules
    if strangers := sorted(set(wanted) - set(modules)):
        parser.error(f"MODULE: got {', '.join(strangers)}, wanted some of {', '.join(modules)}")
    os.chdir(ROOT)
    MUTANTS.mkdir(exist_ok=True)  # Python never looks again into a folder that is not there when it starts
    # mutmut looks for mypy, and the processes that it starts look for the library, where these say.
    scripts = Path(sys.executable).parent
    env = {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(MUTANTS),
    }
    # Those of a package's own file have no module in their names.
    names = ["enn_lib.x*" if module == "__init__" else f"enn_lib.{module}.*" for module in wanted]
    command = [sys.executable, "-m", "mutmut", "run", *names]
    if status := subprocess.call(command, env=env):
        sys.exit(status)
    equivalent = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8"))
    sys.exit(not report({module: mutants_of(module) for module in wanted}, equivalent))


if __name__ == "__main__":
    main()
