"""Grade students' notebooks: ``make grade FOLDER=submitted``, or ``python -m enn_book grade submitted``.

Each entry of the folder is a student's: a folder of notebooks, or one notebook. nbclient runs each notebook
in a kernel of its own, and after the cells of an exercise its check: the book's, whatever became of it in the
notebook. What students have written runs with the rights of who grades.
"""

import asyncio
import csv
import logging
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import ROOT, read_page, toc_pages, with_a_kernel
from student import student_notebook

PREPARE = """\
get_ipython().ask_exit = lambda: None  # exit() would end the kernel a moment later
try:  # a list that grows for ever would take the memory of all others
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, ({memory}, {memory}))
except (ImportError, OSError, ValueError):
    pass"""
"""What a kernel runs before anything of a student's."""

TABLE = "grades.csv"
"""The name of the table, unless another is given."""

LONGEST = 300
"""Characters of a message; an error may quote a tensor."""


class Grade(NamedTuple):
    """A row of the table: 1 if a student passed the check of an exercise, or 0 and what it said."""

    student: str
    notebook: str
    exercise: str
    passed: int
    message: str


class Silent(NotebookClient):
    """Keeps nothing of what cells show: a loop that prints for ever would fill the memory."""

    def output(self, *_) -> None:
        """Drop it; an error comes with the reply to its cell."""


@cache
def checks(page: str) -> dict[str, str]:
    """The checks of a page of the book, such as "book/forces", by the labels of their exercises."""
    notebook = student_notebook(read_page(ROOT / f"{page}.md"), page)
    about = [(cell.metadata.get("nbgrader"), cell.source) for cell in notebook.cells]
    return {what["grade_id"]: source.strip() for what, source in about if what and what["locked"]}


def page_of(path: Path, notebook: nbformat.NotebookNode | None = None) -> str:
    """The page that a notebook was made from, by its metadata or else by its name, or "" if it is none."""
    named = notebook.metadata.get("enn_book", {}).get("page") if notebook else None
    fitting = [page for page in toc_pages(ROOT) if page == named or Path(page).name in path.stem]
    return max(fitting, key=lambda page: (page == named, len(page)), default="")


def steps(notebook: nbformat.NotebookNode, wanted: dict[str, str]) -> list[tuple[str, str]]:
    """What is run, in order: the code cells of a student, each with "", and checks, each with its label.

    A check follows the last cell of its exercise and the code that a student has put behind that. Cells are
    known by their metadata, and a check also by its text, as some editors lose metadata. An exercise of which
    no cell is left is checked at the end. What follows the last check is not run.
    """
    todo, current = [], ""
    for cell in [*notebook.cells, new_markdown_cell()]:
        source = cell.source.strip()
        label = cell.metadata.get("nbgrader", {}).get("grade_id", "").removesuffix("-answer")
        label = label if label in wanted else next((one for one in wanted if wanted[one] == source), "")
        if current and (label not in ("", current) or cell.cell_type != "code"):
            todo = [step for step in todo if step[1] != current] + [(wanted[current], current)]
            current = ""
        current = label or current
        if cell.cell_type == "code" and source not in wanted.values():
            todo.append((source, ""))
    left = [(check, label) for label, check in wanted.items() if (check, label) not in todo]
    while todo and not left and not todo[-1][1]:
        todo.pop()
    return todo + left


def in_words(error: Exception, seconds: float) -> str:
    """What a cell died of, in one line: for a failed assertion its message, or itself if it has none."""
    if isinstance(error, CellTimeoutError):
        return f"still running after {seconds:g} s"
    if isinstance(error, DeadKernelError):
        return "killed the kernel"
    line = re.search(r"^-+> \d+ (.*)", re.sub(r"\x1b\[[\d;]*m", "", error.traceback), re.MULTILINE)
    words = error.evalue or (line[1] if line else "")
    words = words if error.ename == "AssertionError" and words else f"{error.ename}: {words}"
    return " ".join(words.split())[:LONGEST]


async def attempt(todo, said: dict[int, str], done: set[int], seconds: float, memory: float) -> bool:
    """Run steps in a new kernel, but those that are `done`; note what each said, and return if all are.

    A step that takes too long or kills the kernel ends the attempt. It is done then, and so is every check.
    """
    quiet = logging.getLogger("grade")
    quiet.setLevel(logging.CRITICAL + 1)
    client = Silent(
        new_notebook(cells=[new_code_cell()]),  # without the name of a kernel that only its student has
        timeout=seconds,
        extra_arguments=["--log-level=CRITICAL"],
        shutdown_kernel="immediate",  # one in an endless loop does not hear
        log=quiet,
    )
    with tempfile.TemporaryDirectory() as folder:
        async with client.async_setup_kernel(cwd=folder):
            await client.async_execute_cell(new_code_cell(PREPARE.format(memory=int(memory * 2**30))), 0)
            for number, (source, label) in enumerate(todo):
                if number in done:
                    continue
                said[number] = ""
                try:
                    await client.async_execute_cell(new_code_cell(source), 0)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    said[number] = in_words(error, seconds)
                    if not isinstance(error, CellExecutionError):
                        done.add(number)
                        return False
                if label:
                    done.add(number)
    return True


def run(todo: list[tuple[str, str]], *, seconds: float, memory: float) -> Iterator[tuple[str, str]]:
    """The label of each check and what it said: nothing, or its error and the first in the cells before it.

    What costs a kernel is left out when all that came before it is run again, in the next one.
    """
    said, done = {}, set()
    while not with_a_kernel(lambda: asyncio.run(attempt(todo, said, done, seconds, memory))):
        if all(number in done for number, (_, label) in enumerate(todo) if label):
            break
    earlier = ""
    for number, (_, label) in enumerate(todo):
        if label:
            yield label, said[number] + (f" (before it: {earlier})" if said[number] and earlier else "")
        earlier = "" if label else earlier or said[number]


def grade_notebook(path: Path, folder: Path, *, seconds: float, memory: float) -> list[Grade]:
    """The rows of one notebook in a folder; whatever it is, there is at least one."""
    student, *rest = path.relative_to(folder).parts
    row = partial(Grade, student if rest else path.stem, "/".join(rest) or path.name)
    page, what = page_of(path), "not a notebook"
    try:
        notebook = nbformat.read(path, 4)
        page, what = page_of(path, notebook), "could not be run"
        if not page:
            return [row("", 0, "a notebook of no page of the book")]
        said = run(steps(notebook, checks(page)), seconds=seconds, memory=memory)
        return [row(label, int(not words), words) for label, words in said]
    except Exception as error:  # whatever it is, the other notebooks go on
        words = " ".join(f"{what}: {type(error).__name__}: {error}".split())[:LONGEST]
        return [row(label, 0, words) for label in (checks(page) if page else [""])]


def submissions(folder: Path, out: Path) -> list[Path]:
    """What was handed in: the notebooks below a folder, and each entry of it that is none and holds none."""
    found = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        ours = entry.name == TABLE or entry.absolute() == out.absolute()
        if not ours and not entry.name.startswith((".", "__")):
            inside = sorted(entry.rglob("*.ipynb")) if entry.is_dir() else []
            found += [path for path in inside if "/." not in path.as_posix()[len(str(folder)) :]] or [entry]
    return found


def grade_folder(
    folder: Path, out: Path | None = None, *, seconds: float = 120, memory: float = 4, jobs: int = 2
) -> list[Grade]:
    """Grade all notebooks in a folder, print a line for each exercise, and write the table.

    Args:
        folder: with a folder for each student, or notebooks named after them.
        out: the table, a CSV file with the fields of `Grade` as columns, which grows with every notebook;
            ``grades.csv`` in the folder if not given.
        seconds: after which a cell is stopped.
        memory: that a notebook may take, in GiB.
        jobs: how many notebooks run at a time.

    Returns:
        The rows of the table: students and their notebooks in the order of their names.

    Raises:
        ValueError: if there is no such folder, no notebook is in it, or a number is not positive.
        OSError: if the table cannot be written.
    """
    out = out or folder / TABLE
    files = submissions(folder, out)
    if not any(file.suffix == ".ipynb" for file in files):
        raise ValueError(f"folder: got {str(folder)!r}, wanted a folder with notebooks of students in it")
    for name, number in (("seconds", seconds), ("memory", memory), ("jobs", jobs)):
        if not number > 0:
            raise ValueError(f"{name}: got {number:g}, wanted a positive number")
    grades = []
    one = partial(grade_notebook, folder=folder, seconds=seconds, memory=memory)
    with out.open("w", newline="", encoding="utf-8") as file, ThreadPoolExecutor(jobs) as pool:
        table = csv.writer(file)
        table.writerow(Grade._fields)
        for rows in pool.map(one, files):
            table.writerows(rows)
            file.flush()
            grades += rows
            for student, notebook, exercise, passed, message in rows:
                how = "passed" if passed else "failed"
                print(f"{student:16} {notebook:26} {exercise:28} {how} {message}".rstrip(), flush=True)
    n_passed = sum(grade.passed for grade in grades)
    print(f"{out}: {len(files)} notebooks, {n_passed} of {len(grades)} exercises passed")
    return grades
