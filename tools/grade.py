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
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import ROOT, code_cells, read_page, toc_pages, with_a_kernel
from student import student_notebook

from enn_book.parameters import check_parameters

PREPARE = """\
get_ipython().ask_exit = lambda: None  # exit() would end the kernel a moment later
try:  # a list that grows for ever would take the memory of all others
    import resource
    resource.setrlimit(resource.RLIMIT_DATA, ({memory}, {memory}))
except (ImportError, OSError, ValueError):
    pass
_page = {{}}  # what the names of the page's own cells mean"""
"""What a kernel runs before anything of a student's."""

BEFORE = "_before = {**globals()}"
AFTER = "_page |= {n: v for n, v in globals().items() if n[0] != '_' and _before.get(n, _page) is not v}"
RESTORE = "globals().update(_page)"
"""What it runs before and after a cell of the page, and after an exercise, which may have used its names."""

TABLE = "grades.csv"
"""The name of the table, unless another is given."""

OF_A_WRONG_KIND = ("AttributeError", "IndexError", "KeyError", "TypeError")
"""Errors whose message does not say of what: then the line helps."""

LONGEST = 300
"""Characters of a message; an error may quote a tensor."""


class Grade(NamedTuple):
    """A row of the table: 1 if a student passed the check of an exercise, or 0 and what it said.

    It is neither, but None, if the exercise could not be judged.
    """

    student: str
    notebook: str
    exercise: str
    passed: int | None
    message: str


class Silent(NotebookClient):
    """Keeps nothing of what cells show: a loop that prints for ever would fill the memory."""

    def output(self, *_) -> None:
        """Drop it; an error comes with the reply to its cell."""


@cache
def handed_out(page: str) -> list[nbformat.NotebookNode]:
    """The code cells of the student's notebook of a page of the book, such as "book/forces"."""
    return code_cells(student_notebook(read_page(ROOT / f"{page}.md"), page))


def checks(page: str) -> dict[str, str]:
    """The checks of a page of the book by the labels of their exercises."""
    about = [(cell.metadata.get("nbgrader"), cell.source) for cell in handed_out(page)]
    return {what["grade_id"]: source.strip() for what, source in about if what and what["locked"]}


def own_cells(page: str) -> list[str]:
    """The sources of the code cells of a page that belong to no exercise."""
    return [cell.source.strip() for cell in handed_out(page) if "nbgrader" not in cell.metadata]


def restored(notebook: nbformat.NotebookNode, page: str) -> nbformat.NotebookNode:
    """A student's notebook with what is missing of the page's own cells; a changed one, by its id, is not."""
    cells, place = list(notebook.cells), 0
    own = own_cells(page)
    for ours in handed_out(page):
        sources = [cell.source.strip() for cell in cells]
        is_it = [source == ours.source.strip() for source in sources]
        is_changed = [cell.get("id") == ours.id for cell in cells]
        is_changed = [same and source not in own for same, source in zip(is_changed, sources, strict=True)]
        if any(is_it) or any(is_changed):
            place = max(place, (is_it if any(is_it) else is_changed).index(True) + 1)
        elif ours.source.strip() in own:
            cells.insert(place, ours)
            place += 1
    return nbformat.from_dict({**notebook, "cells": cells})


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


def in_words(error: Exception, seconds: int, memory: float) -> str:
    """What a cell died of, in one line: for a failed assertion its message, or itself if it has none."""
    if isinstance(error, CellTimeoutError):
        return f"still running after {seconds} s"
    if isinstance(error, DeadKernelError):
        return "killed the kernel"
    if costs_a_kernel(error):
        return f"needs more than {memory:g} GiB"
    line = re.search(r"^-+> \d+ (.*)", re.sub(r"\x1b\[[\d;]*m", "", error.traceback), re.MULTILINE)
    words = re.sub(r"\(\d+\.py, (line \d+)\)", r"(\1 of its cell)", error.evalue) or (line[1] if line else "")
    words = words if error.ename == "AssertionError" and words else f"{error.ename}: {words}"
    if error.ename in OF_A_WRONG_KIND and line:
        words += f" (in: {line[1]})"
    return " ".join(words.split())[:LONGEST]


def costs_a_kernel(error: Exception) -> bool:
    """Whether the kernel is of no more use: it is gone or busy, or has filled its memory."""
    if not isinstance(error, CellExecutionError):
        return True
    return error.ename.endswith("MemoryError") or "DefaultCPUAllocator" in error.evalue


async def attempt(todo, own, said: dict[int, str], done: set[int], seconds: int, memory: float) -> bool:
    """Run steps in a new kernel, but those that are `done`; note what each said, and return if all are.

    A step that costs the kernel ends the attempt. It is done then, and so is every check.
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

    async def execute(source: str) -> None:
        await client.async_execute_cell(new_code_cell(source), 0)

    with tempfile.TemporaryDirectory() as folder:
        async with client.async_setup_kernel(cwd=folder):
            await execute(PREPARE.format(memory=int(memory * 2**30)))
            for number, (source, label) in enumerate(todo):
                if number in done:
                    continue
                said[number] = ""
                if source in own:
                    await execute(BEFORE)
                try:
                    await execute(source)
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    said[number] = in_words(error, seconds, memory)
                    if costs_a_kernel(error):
                        done.add(number)
                        return False
                if source in own:
                    await execute(AFTER)
                if label:
                    await execute(RESTORE)
                    done.add(number)
    return True


def run(
    todo: list[tuple[str, str]], own: list[str], *, seconds: int, memory: float
) -> Iterator[tuple[str, int | None, str]]:
    """Of each check the label, if it passes, and what it said, with the first error in the cells before it.

    What costs a kernel is left out when all that came before it is run again, in the next one. If that is a
    cell of the page, nobody knows what becomes of a check that needs it.

    Args:
        todo: the steps.
        own: those that are cells of the page.
        seconds: after which a cell is stopped.
        memory: of a kernel, in GiB.
    """
    said, done = {}, set()
    while not with_a_kernel(lambda: asyncio.run(attempt(todo, own, said, done, seconds, memory))):
        if all(number in done for number, (_, label) in enumerate(todo) if label):
            break
    more = {"still": f"--seconds {5 * seconds}", "needs": f"--memory {2 * memory:g}", "killed": "--jobs 1"}
    of_the_page = earlier = lost = ""
    for number, (source, label) in enumerate(todo):
        words = said[number]
        if not label:
            earlier = earlier or words
            if number in done and source in own:
                of_the_page = of_the_page or words
            elif number in done:
                lost = lost or words
            continue
        if words and of_the_page:
            advice = f"try {more[of_the_page.split()[0]]}"
            yield label, None, f"not judged, for want of a cell of the page: {of_the_page}; {advice}"
        elif words and lost:
            yield label, 0, lost
        else:
            yield label, int(not words), words + (f" (before it: {earlier})" if words and earlier else "")
        earlier = lost = ""


def grade_notebook(path: Path, folder: Path, *, seconds: int, memory: float) -> list[Grade]:
    """The rows of one notebook in a folder; whatever it is, there is at least one."""
    student, *rest = path.relative_to(folder).parts
    row = partial(Grade, student if rest else path.stem, "/".join(rest) or path.name)
    if path.is_dir():
        names = ", ".join(sorted(file.name for file in path.iterdir() if file.name[0] != "."))
        return [row("", 0, f"no notebook in this folder (there is: {names or 'nothing'})"[:LONGEST])]
    page, what = page_of(path), "not a notebook"
    try:
        notebook = nbformat.read(path, 4)
        page, what = page_of(path, notebook), "could not be run"
        if not page:
            return [row("", 0, "a notebook of no page of the book")]
        todo = steps(restored(notebook, page), checks(page))
        said = {label: words for label, *words in run(todo, own_cells(page), seconds=seconds, memory=memory)}
        return [row(label, *said[label]) for label in checks(page)]
    except Exception as error:  # whatever it is, the other notebooks go on
        words = " ".join(f"{what}: {type(error).__name__}: {error}".split())[:LONGEST]
        return [row(label, 0, words) for label in (checks(page) if page else [""])]


def submissions(folder: Path, out: Path) -> list[Path]:
    """What was handed in: the notebooks below a folder, and each entry of it that is none and holds none."""
    found = []
    for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
        is_table = entry.suffix == ".csv" and entry.stem.startswith((Path(TABLE).stem, out.stem))
        if not is_table and not entry.name.startswith((".", "__")):
            inside = sorted(entry.rglob("*.ipynb")) if entry.is_dir() else []
            inside = [path for path in inside if "/." not in path.as_posix()[len(str(folder)) :]]
            beside = entry.with_name(f"{entry.name}.ipynb")  # an editor may have left a folder of this name
            found += inside or ([] if entry.is_dir() and beside.exists() else [entry])
    return found


def not_there(path: Path) -> Path:
    """A path, or where there is something, which a teacher may have edited, the next: path-2, path-3."""
    number, found = 2, path
    while found.is_file():
        number, found = number + 1, path.with_stem(f"{path.stem}-{number}")
    return found


def grade_folder(
    folder: Path, out: Path | None = None, *, seconds: int = 120, memory: float = 4, jobs: int = 2
) -> list[Grade]:
    """Grade all notebooks in a folder, print a line for each exercise, and write the table.

    Args:
        folder: with a folder for each student, or notebooks named after them.
        out: the table, a CSV file with the fields of `Grade` as columns, which grows with every notebook;
            ``grades.csv`` in the folder if not given; ``grades-2.csv`` if there is one, and so on.
        seconds: after which a cell is stopped.
        memory: that a notebook may take, in GiB.
        jobs: how many notebooks run at a time.

    Returns:
        The rows of the table: students and their notebooks in the order of their names.

    Raises:
        ValueError: if there is no such folder, no notebook is in it, or a limit is out of its range.
        OSError: if the table cannot be written.
    """
    out = not_there(out or folder / TABLE)
    files = submissions(folder, out)
    n_notebooks = sum(file.suffix == ".ipynb" for file in files)
    if not n_notebooks:
        raise ValueError(f"folder: got {str(folder)!r}, wanted a folder with notebooks of students in it")
    # A kernel alone may need more than a tenth of a GiB, and no system takes a limit of 2**63 bytes.
    limits = {"seconds": seconds, "memory": memory, "jobs": jobs}
    check_parameters(limits, seconds=1, memory=0.5, jobs=1)
    grades = []
    one = partial(grade_notebook, folder=folder, seconds=seconds, memory=memory)
    with out.open("x", newline="", encoding="utf-8") as file, ThreadPoolExecutor(jobs) as pool:
        table = csv.writer(file)
        table.writerow(Grade._fields)
        for rows in pool.map(one, files):
            table.writerows(rows)
            file.flush()
            grades += rows
            for student, notebook, exercise, passed, message in rows:
                how = {1: "passed", 0: "failed", None: "not judged"}[passed]
                print(f"{student:16} {notebook:26.26} {exercise:28} {how} {message}".rstrip(), flush=True)
    for (student, exercise), times in Counter(grade[:3:2] for grade in grades if grade.exercise).items():
        if times > 1:
            print(f"{student}: {times} notebooks with {exercise}, and a line for each")
    passed = [grade.passed for grade in grades if grade.exercise]
    counts = f"{n_notebooks} notebooks, {passed.count(1)} of {len(passed)} exercises passed"
    print(f"{out}: {counts}" + (f", {passed.count(None)} not judged" if None in passed else ""))
    return grades
