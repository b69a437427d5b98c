"""What one does with the project, on any system: ``python -m tools`` lists it. ``make`` has the same names.

The first command makes the virtual environment .venv with the Python that runs it; the first one after a
change of the pinned versions brings it up to date. What follows a command's name goes to its last program.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from subprocess import DEVNULL

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv"
STAMP = VENV / ".installed"
PYTHON = VENV / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")

# What looks at the built book; the last ones with Chromium or Chrome.
BUILT_BOOK = [f"tests/book/test_{name}.py" for name in ("book", "browser", "accessibility", "pdf", "slides")]

BUILD = ["tools/build_book.py"]
PYTEST = ["-m", "pytest", "-n", "2"]

QUIET = """\
import os, runpy, sys
del sys.argv[0]
sys.path[0] = os.path.abspath("tools")
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except KeyboardInterrupt:
    sys.exit(130)"""
"""How Python runs a file, so that Ctrl-C shows where none of its lines was."""

COMMANDS = {
    "setup": ("the virtual environment .venv, from pinned versions", []),
    "book": ("execute what is stale and build the book, strict", [BUILD]),
    "preview": ('build some pages quickly: preview forces energy (make: PAGES="forces energy")', [BUILD]),
    "pdf": ("print the built book with Chromium, into _build/book.pdf", [BUILD, ["tools/pdf.py"]]),
    "slides": (
        "slides for one class, from the plan on the page Teaching, in _build/slides/index.html",
        [["tools/slides.py"]],
    ),
    "student": (
        'notebooks to teach with, all or some: student symmetry forces (make: PAGES="symmetry forces")',
        [["tools/student.py"]],
    ),
    "grade": (
        "run students' notebooks and write a table, grades.csv: grade submitted (make: FOLDER=submitted)",
        [["-m", "enn_book", "grade"]],
    ),
    "notebooks": (
        "notebooks to run anywhere, executed, as they are published, in _build/notebooks",
        [["tools/notebooks.py"]],
    ),
    "check-notebooks": (
        "run them where nothing, older versions, or the library alone is installed: all, or some",
        [["tools/notebooks.py", "--check"]],
    ),
    "test": (
        "style, imports, types, all tests, and every page at small size",
        [
            ["-m", "ruff", "check", "."],
            ["-m", "ruff", "format", "--check", "."],
            ["-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"],
            ["-m", "mypy"],
            [*PYTEST, "--dist", "worksteal", *[f"--ignore={file}" for file in BUILT_BOOK]],
        ],
    ),
    "check-lowest": (
        "the library alone with the oldest versions it allows, and with --torch lowest of torch",
        [["tools/lowest.py"]],
    ),
    "fuzz": (
        "library and pages against 2,000 random inputs of every kind: settings, files, atoms, parameters",
        [
            [
                *[*PYTEST, "--hypothesis-profile=fuzz", "tests/enn_lib/test_fuzz.py"],
                "tests/book/test_parameters.py::test_a_page_takes_any_parameters_or_refuses_them_in_one_line",
            ]
        ],
    ),
    "mutate": (
        "change the library in thousands of small ways, which mypy or a test has to notice: mutate layers",
        [["tools/mutate.py"]],
    ),
    "check-book": (
        "look at the built book: pages, figures, links, live parts in Chromium",
        [BUILD, [*PYTEST, "--dist", "worksteal", *BUILT_BOOK]],
    ),
    "format": (
        "let ruff put the code in order",
        [["-m", "ruff", "check", "--fix", "."], ["-m", "ruff", "format", "."]],
    ),
    "clean": ("remove what was built; the virtual environment stays", []),
}
"""Each command with what it is for, and with what Python runs for it."""


def call(*command):
    """Run a program in the project, one thread in each of its processes; end as it does if it fails."""
    # Two processes of one thread are faster than one of two, and the sums are the same everywhere.
    env = dict(os.environ, OMP_NUM_THREADS="1", TQDM_DISABLE="1")
    status = subprocess.call(list(map(str, command)), cwd=str(ROOT), env=env)
    if status:
        sys.exit(status)


def setup():
    """Make the virtual environment, unless it is newer than what it is made from."""
    made_from = [ROOT / "pyproject.toml", ROOT / "constraints.txt"]
    if STAMP.exists() and STAMP.stat().st_mtime >= max(file.stat().st_mtime for file in made_from):
        return
    pip = [PYTHON, "-m", "pip"]
    # One that was interrupted while it was made has a Python, and no pip or half of one.
    if not PYTHON.exists() or subprocess.call([*pip, "--version"], stdout=DEVNULL, stderr=DEVNULL):
        call(sys.executable, "-m", "venv", VENV)
    install = [*pip, "install", "--quiet", "--disable-pip-version-check"]
    call(*install, "-c", "constraints.txt", "-e", ".[book,test]")
    STAMP.touch()


def main(arguments):
    """Run a command; without one, list all."""
    if sys.version_info < OLDEST:
        sys.exit(f"error: got Python {sys.version_info[0]}.{sys.version_info[1]}, wanted 3.11 or later")
    if not arguments or arguments[0] in ("help", "-h", "--help"):
        for name, (what, _) in COMMANDS.items():
            print(f"{name:16} {what}")
        return
    name, *others = arguments
    if name not in COMMANDS:
        sys.exit(f"error: got {name!r}, wanted one of {', '.join(COMMANDS)}")
    if name == "clean":
        for made in ("_build", "mutants"):
            shutil.rmtree(ROOT / made, ignore_errors=True)
        return
    setup()
    programs = COMMANDS[name][1]
    for program in programs:
        start = ["-c", QUIET] if program[0].endswith(".py") else []
        call(PYTHON, *start, *program, *(others if program is programs[-1] else []))


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
