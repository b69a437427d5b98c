"""A teacher hands out notebooks, gets all kinds back, and grades them: every exercise has its line."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grade
import nbformat
import pytest
import yaml
from grade import Grade, Silent, grade_folder, in_words, steps
from nbclient.exceptions import CellExecutionError
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import ENVIRONMENT, ROOT, code_cells, read_page
from student import grouped, is_check, student_notebook

from enn_book.__main__ import main

PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3, language: python}
---

# Doubling

```{code-cell} ipython3
:tags: [parameters]

n = 2
```

```{exercise} Think and compute: Twice
:label: ex-twice

Double it.
```

```{solution-start} ex-twice
:class: dropdown
```

```{code-cell} ipython3
def double(x):
    \"\"\"Twice x.\"\"\"
    return 2 * x
```

```{code-cell} ipython3
:tags: [check]

assert double(n) == 4, f"double(2): got {double(n)}, wanted 4"
assert double(n) == n + n
```

```{solution-end}
```

```{exercise} Think and compute: Why?
:label: ex-why

Say why.
```

```{solution-start} ex-why
:class: dropdown
```

Because.

```{solution-end}
```

```{exercise} Think and compute: Half
:label: ex-half

Halve it.
```

```{solution-start} ex-half
:class: dropdown
```

```{code-cell} ipython3
half = n / 2  # a number
```

```{code-cell} ipython3
:tags: [check]

assert half + half == n
```

```{solution-end}
```
"""

DOUBLE, HALF = "def double(x):\n    return 2 * x", "half = n / 2"
RIGHT = [("ex-twice", 1, ""), ("ex-half", 1, "")]
LONG = HALF + "\nsum(range(3 * 10**7))"  # after exit() a kernel lives on for a tenth of a second
HUNGRY = "x = []\nwhile True:\n    x.append(bytes(2**27))"
ENDLESS = """\
while True:
    try:
        print("again")
    except BaseException:
        pass"""


def fill(notebook: nbformat.NotebookNode, double: str = DOUBLE, half: str = HALF) -> None:
    """Write answers into a student's notebook."""
    for cell in notebook.cells:
        place = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.source = {"ex-twice-answer": double, "ex-half-answer": half}.get(place, cell.source)


def without_checks_and_parameters(notebook: nbformat.NotebookNode) -> None:
    fill(notebook)
    notebook.cells = [c for c in notebook.cells if not c.metadata.get("nbgrader", {}).get("locked")]
    notebook.cells = [c for c in notebook.cells if c.source != "n = 2"]


def with_a_kill_after_an_error(notebook: nbformat.NotebookNode) -> None:
    fill(notebook, double="import os, signal\nos.kill(os.getpid(), signal.SIGKILL)")
    notebook.cells.insert(1, new_code_cell("import no_such_package"))


def with_easy_checks(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("locked"):
            cell.source = "assert True"


def with_cells_behind_the_check(notebook: nbformat.NotebookNode) -> None:
    (place,) = (
        i
        for i, c in enumerate(notebook.cells)
        if c.metadata.get("nbgrader", {}).get("grade_id") == "ex-twice"
    )
    fill(notebook, double="", half=HALF)
    notebook.cells[place + 1 : place + 1] = [
        new_code_cell("f = 2"),
        new_code_cell("def double(x): return f * x"),
    ]


def from_another_editor(notebook: nbformat.NotebookNode) -> None:
    """Without metadata or ids, after a kernel that nobody else has, in the oldest minor format."""
    fill(notebook)
    for cell in notebook.cells:
        cell.metadata = {}
        del cell["id"]
    notebook.metadata = {"kernelspec": {"name": "ada-s-own", "display_name": "Ada's"}}
    notebook.nbformat_minor = 0


CLASS: dict[str, Callable[[nbformat.NotebookNode], None] | str] = {
    "right": fill,
    "empty": lambda notebook: None,
    "wrong": lambda notebook: fill(notebook, double=DOUBLE.replace("2", "3"), half="half = n"),
    "crashing": lambda notebook: fill(notebook, double="1 / 0"),
    "endless": lambda notebook: fill(notebook, double=ENDLESS),
    "killing": with_a_kill_after_an_error,
    "leaving": lambda notebook: fill(notebook, double="exit()", half=LONG),
    "hungry": lambda notebook: fill(notebook, double=HUNGRY, half=f"y = bytes(2**27)\n{HALF}"),
    "asking": lambda notebook: fill(notebook, half="half = float(input())"),
    "deleting": without_checks_and_parameters,
    "cheating": with_easy_checks,
    "adding": with_cells_behind_the_check,
    "elsewhere": from_another_editor,
    "prose": "My answer is 4.",
    "other": json.dumps(
        {"cells": [{"cell_type": "code"}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    ),
}
"""What the students of a class do with their notebook, or hand in instead."""


@pytest.fixture(scope="module")
def book(tmp_path_factory) -> Iterator[Path]:
    """A book of one small page, which the grader takes for ours, and the surroundings in which it runs."""
    root = tmp_path_factory.mktemp("book")
    (root / "book").mkdir()
    (root / "book" / "doubling.md").write_text(PAGE, encoding="utf-8")
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/doubling\n", encoding="utf-8")
    Path(ENVIRONMENT["IPYTHONDIR"]).mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        patch.setattr(grade, "ROOT", root)
        yield root


def made(book: Path) -> nbformat.NotebookNode:
    """The student's notebook of the small page."""
    return student_notebook(read_page(book / "book" / "doubling.md"), "book/doubling")


@pytest.fixture(scope="module")
def graded(book, tmp_path_factory) -> dict[str, list[tuple[str, int, str]]]:
    """What the table says of each student of the class: exercise, whether it is passed, message."""
    folder = tmp_path_factory.mktemp("submitted")
    for name, act in CLASS.items():
        (folder / name).mkdir()
        notebook = made(book)
        if callable(act):
            act(notebook)
        text = act if isinstance(act, str) else nbformat.writes(notebook)
        (folder / name / "doubling.ipynb").write_text(text, encoding="utf-8")
    (folder / "nothing").mkdir()
    (folder / "zipped").mkdir()
    (folder / "zipped" / "doubling.zip").touch()
    (folder / "alone" / ".ipynb_checkpoints").mkdir(parents=True)  # beside alone.ipynb
    (folder / "essay.pdf").write_bytes(b"%PDF\xff")
    nbformat.write(made(book), folder / "alone.ipynb")
    nbformat.write(new_notebook(), folder / "stranger.ipynb")
    (folder / ".hidden").mkdir()
    returned = grade_folder(folder, seconds=6, memory=2)
    with (folder / "grades.csv").open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == Grade._fields == ("student", "notebook", "exercise", "passed", "message")
    assert [[str(field) for field in row] for row in returned] == rows
    found: dict = {}
    for student, _, exercise, passed, message in returned:
        found.setdefault(student, []).append((exercise, passed, message))
    return found


# One class


def test_every_student_has_a_line_for_every_exercise_with_a_check_and_no_other(graded):
    assert set(graded) == {*CLASS, "nothing", "zipped", "essay", "alone", "stranger"}
    for name in (*CLASS, "alone"):
        assert [exercise for exercise, _, _ in graded[name]] == ["ex-twice", "ex-half"]


@pytest.mark.parametrize("name", ["right", "deleting", "adding", "elsewhere"])
def test_a_right_answer_passes_whatever_became_of_the_notebook(name, graded):
    assert graded[name] == RIGHT


@pytest.mark.parametrize("name", ["empty", "cheating", "alone"])
def test_an_empty_answer_fails_whatever_its_check_has_become(name, graded):
    wanted = [0, "NotImplementedError: double: your answer"], [0, "half: got None, wanted your answer"]
    assert [[passed, message] for _, passed, message in graded[name]] == list(wanted)


def test_a_wrong_answer_fails_with_the_words_of_the_check_or_else_with_its_assertion(graded):
    first, second = graded["wrong"]
    assert first == ("ex-twice", 0, "double(2): got 6, wanted 4")
    assert second == ("ex-half", 0, "assert half + half == n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (
            "crashing",
            "NameError: name 'double' is not defined (before it: ZeroDivisionError: division by zero)",
        ),
        ("endless", "still running after 6 s"),
        ("killing", "killed the kernel"),
    ],
)
def test_one_bad_cell_costs_its_own_exercise_and_is_named(name, reason, graded):
    assert graded[name] == [("ex-twice", 0, reason), ("ex-half", 1, "")]


def test_exit_ends_no_kernel(graded):
    assert graded["leaving"] == [("ex-twice", 0, "NameError: name 'double' is not defined"), RIGHT[1]]


@pytest.mark.skipif(sys.platform != "linux", reason="others know no such limit")
def test_a_notebook_gets_so_much_memory_and_no_more(graded):
    assert graded["hungry"] == [("ex-twice", 0, "needs more than 2 GiB"), RIGHT[1]]


def test_nobody_is_asked(graded):
    twice, (_, passed, message) = graded["asking"]
    assert twice == RIGHT[0]
    assert not passed
    assert "StdinNotImplementedError" in message


@pytest.mark.parametrize("name", ["prose", "other"])
def test_what_is_no_notebook_fails_every_exercise_of_its_page_and_says_why(name, graded):
    assert all(not passed for _, passed, _ in graded[name])
    assert all(re.match("not a notebook: |could not be run: ", message) for _, _, message in graded[name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "no notebook in this folder (there is: nothing)"),
        ("zipped", "no notebook in this folder (there is: doubling.zip)"),
        ("essay", "not a notebook: "),
        ("stranger", "a notebook of no page of the book"),
    ],
)
def test_who_hands_in_nothing_that_can_be_graded_has_a_line_too(name, message, graded):
    ((exercise, passed, words),) = graded[name]
    assert (exercise, passed) == ("", 0)
    assert words.startswith(message)


# What is run


def cell(source: str, place: str = "") -> nbformat.NotebookNode:
    return new_code_cell(source, metadata={"nbgrader": {"grade_id": place}} if place else {})


TEXT = new_markdown_cell("Words.")


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        ([cell("1"), cell("A"), cell("2"), cell("B")], "1 2 A B"),
        ([cell("1", "a-answer"), cell("x"), TEXT, cell("2"), cell("B"), cell("3")], "1 x A 2 3 B"),
        ([cell("1", "a-answer"), cell("2", "b-answer")], "1 A 2 B"),
        ([cell("1", "a-answer"), TEXT, cell("2"), cell("A", "a"), cell("3")], "1 2 3 A B"),
        ([cell("A?", "a"), TEXT, cell("2")], "A? A 2 B"),
        ([cell("1"), cell("2")], "1 2 A B"),
        ([cell("A"), cell("B"), TEXT, cell("1")], "A B"),
        ([], "A B"),
    ],
)
def test_a_check_comes_after_its_exercise_and_at_the_end_if_that_is_gone(cells, order):
    todo = steps(new_notebook(cells=cells), {"a": "A", "b": "B"})
    assert " ".join(source for source, _ in todo) == order
    assert [label for _, label in todo if label] == ["a", "b"]


def test_an_error_is_one_line_and_not_a_long_one():
    error = CellExecutionError("", "ValueError", "tensor([\n" + "0.1, " * 1000)
    words = in_words(error, 1, 1)
    assert words.startswith("ValueError: tensor([ 0.1, 0.1")
    assert len(words) == 300


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SyntaxError", "invalid syntax (3390377551.py, line 7)", "invalid syntax (line 7 of its cell)"),
        ("TypeError", "wanted a number", "wanted a number (in: said = float(f(5)))"),
    ],
)
def test_an_error_says_where_it_is(name, value, words):
    error = CellExecutionError("Cell In[3], line 7\n----> 7 said = float(f(5))", name, value)
    assert in_words(error, 1, 1) == f"{name}: {words}"


def test_an_exercise_that_lacks_a_cell_of_the_page_is_not_judged_and_no_other_is():
    page = "while True: pass"
    todo = [(page, ""), ("a = 1", ""), ("assert a == 1", "ex-a"), ("assert b == 1", "ex-b")]
    first, second = grade.run(todo, [page], seconds=2, memory=2)
    assert first == ("ex-a", 1, "")
    reason = "still running after 2 s; try --seconds 10"
    assert second == ("ex-b", None, f"not judged, for want of a cell of the page: {reason}")


def test_an_exercise_finds_the_names_of_the_page_as_the_page_has_them():
    todo = [("x = 1", ""), ("x, mine = 2, 3", ""), ("assert mine == 3", "ex-a"), ("assert x == 1", "ex-b")]
    assert list(grade.run(todo, ["x = 1"], seconds=60, memory=2)) == [("ex-a", 1, ""), ("ex-b", 1, "")]


def test_a_missing_cell_of_the_page_is_put_back_and_a_changed_one_stays(book):
    notebook = made(book)
    whole = [cell.source for cell in code_cells(notebook)]
    (parameters,) = (cell for cell in notebook.cells if cell.source == "n = 2")
    parameters.source = "n = 3"
    changed = ["n = 3" if source == "n = 2" else source for source in whole]
    assert [cell.source for cell in code_cells(grade.restored(notebook, "book/doubling"))] == changed
    notebook.cells.remove(parameters)
    assert [cell.source for cell in code_cells(grade.restored(notebook, "book/doubling"))] == whole


def test_what_cells_show_is_not_kept():
    shown: list = []
    message = {
        "msg_type": "stream",
        "header": {"msg_type": "stream"},
        "content": {"name": "stdout", "text": "a"},
    }
    Silent(new_notebook()).output(shown, message, "", 0)
    assert shown == []


# The table


def test_a_table_that_is_there_is_not_written_over(tmp_path):
    nbformat.write(new_notebook(), tmp_path / "ada.ipynb")
    (tmp_path / "grades.csv").write_text("edited", encoding="utf-8")
    for name in ("grades-2.csv", "grades-3.csv"):
        assert [row.student for row in grade_folder(tmp_path)] == ["ada"]
        assert (tmp_path / name).read_text(encoding="utf-8").startswith("student,")
    assert (tmp_path / "grades.csv").read_text(encoding="utf-8") == "edited"


def test_two_notebooks_of_one_page_are_told(book, tmp_path, capsys):
    (tmp_path / "ada").mkdir()
    for name in ("doubling.ipynb", "doubling (1).ipynb"):
        (tmp_path / "ada" / name).write_text("My answer is 4.", encoding="utf-8")
    grade_folder(tmp_path)
    *_, first, second, total = capsys.readouterr().out.splitlines()
    assert first == "ada: 2 notebooks with ex-twice, and a line for each"
    assert second == "ada: 2 notebooks with ex-half, and a line for each"
    assert total.endswith("2 notebooks, 0 of 4 exercises passed")


# Refusals


@pytest.mark.parametrize("what", ["nowhere", "", "empty", "file"])
def test_a_folder_without_notebooks_is_refused_in_one_line(what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ENVIRONMENT:  # the command sets them
        monkeypatch.setenv(name, os.environ.get(name, ""))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["grade", what]) == 2
    message = f"error: folder: got {what!r}, wanted a folder with notebooks of students in it\n"
    assert capsys.readouterr() == ("", message)


@pytest.mark.parametrize(
    ("limit", "got", "wanted"),
    [
        *[("seconds", got, "an integer from 1 to 1,000,000") for got in (0, 90.5, float("inf"), 10**7)],
        *[("memory", got, "a number from 0.5 to 1,000,000") for got in (0, float("nan"), float("inf"), 1e10)],
        *[("jobs", got, "an integer from 1 to 1,000,000") for got in (0, -1, True, 1.5)],
    ],
)
def test_a_limit_that_no_kernel_can_be_given_is_refused_before_one_is_started(limit, got, wanted, tmp_path):
    nbformat.write(new_notebook(), tmp_path / "ada.ipynb")
    with pytest.raises(ValueError, match=rf"^{limit}: got .*, wanted {wanted}$"):
        grade_folder(tmp_path, **{limit: got})
    assert [path.name for path in tmp_path.iterdir()] == ["ada.ipynb"]


@pytest.mark.parametrize("memory", [0.5, 10**6])
def test_a_kernel_starts_with_the_least_and_with_the_most_memory(book, memory):
    assert list(grade.run([("a = 1", ""), ("assert a", "ex-a")], [], seconds=60, memory=memory)) == [
        ("ex-a", 1, "")
    ]


def test_without_the_pages_nothing_is_graded(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("enn_book.__main__.__file__", str(tmp_path / "enn_book" / "__main__.py"))
    assert main(["grade", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: grade: got an installed package, wanted a clone")


# A page of the book


def test_a_page_of_the_book_is_passed_with_its_solutions_and_failed_without(tmp_path, monkeypatch):
    monkeypatch.setattr(grade, "ROOT", ROOT)
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    page = read_page(ROOT / "book" / "the-layer.md")
    solutions = {
        f"{label}-answer": "\n\n".join(c.source for c in group if c.cell_type == "code" and not is_check(c))
        for group, label in grouped(page)
    }
    small = yaml.safe_load((ROOT / "book" / "quick.yml").read_text(encoding="utf-8"))["the-layer"]
    for student in ("ada", "bob"):
        notebook = student_notebook(page, "book/the-layer")
        (sizes,) = (c for c in code_cells(notebook) if "parameters" in c.metadata.get("tags", []))
        sizes.source += "".join(f"\n{name} = {value!r}" for name, value in small.items())
        for one in code_cells(notebook) if student == "ada" else ():
            one.source = solutions.get(one.metadata.get("nbgrader", {}).get("grade_id"), one.source)
        (tmp_path / student).mkdir()
        nbformat.write(notebook, tmp_path / student / "handed in.ipynb")
    rows = grade_folder(tmp_path, tmp_path / "table.csv")
    assert {row.notebook for row in rows} == {"handed in.ipynb"}
    wanted = list(grade.checks("book/the-layer"))
    assert [row.exercise for row in rows] == wanted * 2
    assert [row.passed for row in rows] == [1] * len(wanted) + [0] * len(wanted)
    assert all("your answer" in row.message for row in rows if not row.passed)


# The page on teaching


@pytest.fixture
def clone(tmp_path) -> Path:
    """A clone whose only lecture is the small page, with an environment that is there already."""
    (tmp_path / "book").mkdir()
    for name in ("Makefile", "_config.yml", "constraints.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("book/teaching.md", "book/references.bib"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("enn_lib", "enn_book"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "book" / "forces.md").write_text(PAGE, encoding="utf-8")
    toc = "format: jb-book\nroot: book/forces\nchapters:\n- file: book/teaching\n"
    (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, module in (("python", ""), ("jupyter", "-m jupyter")):
        (programs / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n', encoding="utf-8")
        (programs / name).chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def run(command: str, folder: Path) -> str:
    """Run a command of the page as a teacher does; of one that serves, wait until it does, and end it."""
    settings = folder / "jupyter"
    settings.mkdir(exist_ok=True)
    quiet = {
        "ServerApp": {"allow_root": True, "open_browser": False},
        "ExtensionApp": {"open_browser": False},
    }
    (settings / "jupyter_server_config.json").write_text(json.dumps(quiet), encoding="utf-8")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "MAKE"))} | {
        "JUPYTER_CONFIG_DIR": str(settings),
        "JUPYTER_RUNTIME_DIR": str(settings),
        "JUPYTER_DATA_DIR": str(settings),
    }
    with subprocess.Popen(
        ["bash", "-c", command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        start_new_session=True,
    ) as process:
        output = ""
        for line in process.stdout:
            output += line
            if "is running at" in line:
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == (-signal.SIGKILL if "jupyter lab" in command else 0), output
    return output


def test_the_commands_of_the_page_on_teaching_do_what_it_says(clone):
    commands = re.findall(
        r"^```sh\n(.*?)\n```$", (clone / "book" / "teaching.md").read_text(encoding="utf-8"), re.M | re.S
    )
    commands.remove("make slides")  # which needs the pages of the book: tests/book/test_slides.py runs it
    assert [command.split("=")[0] for command in commands][::3] == ["make student", "make grade FOLDER"]
    student = clone / "_build" / "student"
    student.mkdir(parents=True)
    (student / "other.ipynb").touch()  # of an earlier call, for other pages
    for command in commands:
        output = run(command, clone)
        if command == "make student":
            assert {path.name for path in student.iterdir()} == {"forces.ipynb", "other.ipynb"}
            (student / "other.ipynb").unlink()
            (clone / "submitted").mkdir()
            for name in ("ada", "bob"):
                shutil.copytree(student, clone / "submitted" / name)
            notebook = nbformat.read(student / "forces.ipynb", 4)
            fill(notebook)
            nbformat.write(notebook, clone / "submitted" / "ada" / "forces.ipynb")
        if "grade" in command:
            assert "2 notebooks, 2 of 4 exercises passed" in output
    assert (clone / "grades.csv").read_text(encoding="utf-8") == (
        clone / "submitted" / "grades.csv"
    ).read_text(encoding="utf-8")
    page = (clone / "_build" / "instructor" / "forces.html").read_text(encoding="utf-8")
    assert "return" in page
    assert "pip" not in page
