"""Teaching: every lecture says what it is for and has exercises of three grades; the sets derived from it."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import student
import torch
import yaml
from checks import assert_refuses, spoiled, with_refusals
from markdown_cells import glued, plain
from pages import ENVIRONMENT, ROOT, PageError, code_cells, execute, lecture_pages, read_page
from student import START, answers, instructor_notebook, is_check, split, student_notebook

LECTURES = {Path(page).name: ROOT / f"{page}.md" for page in lecture_pages()}
GRADES = {"Change a parameter", "Think and compute", "Small project"}

every_lecture = pytest.mark.parametrize("page", LECTURES)

PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3, language: python}
---

(doubling)=
# Doubling, by {ref}`adding <adding>`

```{code-cell} ipython3
:tags: [parameters]

n = 2
```

Twice it is {glue:text}`twice:d`.

````{exercise} Small project: Twice
:label: twice

Double it.

$$
2 n
$$
````

```{solution-start} twice
:class: dropdown
```

A secret thought.

```{code-cell} ipython3
import math

shown = math.floor(2.0)


def double(x, *, factor=2):
    \"\"\"Twice x.\"\"\"
    return factor * x  # the secret


total = double(n)  # twice two
```

```{code-cell} ipython3
:tags: [check]

assert double(5) == 10
assert total == n + n
```

```{solution-end}
```

```{exercise} Think and compute: Why?
:label: why

Say why.
```

```{solution-start} why
:class: dropdown
```

Because of the secret.

```{solution-end}
```

The end.
"""


@pytest.fixture
def page(tmp_path):
    """The page above, read."""
    return read(tmp_path, PAGE)


def read(folder, text):
    (folder / "page.md").write_text(text)
    return read_page(folder / "page.md")


# The lectures


@every_lecture
def test_a_lecture_says_time_and_prerequisites_and_folds_its_objectives(page):
    text = LECTURES[page].read_text()
    line = r"^\*\*Time\.\*\* \d+ minutes to read, \d+ for the exercises\. "
    line += r"\*\*Prerequisites\.\*\* .+\n(?:.+\n)*\n"
    box = r":::\{admonition\} After this page you can\n:class: tip dropdown\n\n(?:- .+\n(?:  .+\n)*)+:::\n"
    assert len(re.findall(line + box, text, re.M)) == 1, "wanted one line and one box, as in book/forces.md"
    assert text.index(":class: tip dropdown") < text.index("{code-cell}")


@every_lecture
def test_a_lecture_has_exercises_of_a_grade_and_a_solution_to_each(page):
    text = LECTURES[page].read_text()
    titles = re.findall(r"^`{3,}\{exercise\}(.*)\n:label: (\S+)", text, re.M)
    grades = [re.fullmatch(r" (.+?): \S.*", title) for title, _ in titles]
    assert all(grades), titles
    assert {match[1] for match in grades} <= GRADES
    assert titles
    assert [label for _, label in titles] == [match[2] for match in START.finditer(text)]


@every_lecture
def test_a_solution_is_executed_code(page):
    cells = list(split(read_page(LECTURES[page])))
    labels = {label for _, label in cells} - {""}
    assert labels == {label for cell, label in cells if cell.cell_type == "code"} - {""}


# The student's set


@every_lecture
def test_a_student_s_notebook_has_nothing_of_a_solution(page):
    notebook = read_page(LECTURES[page])
    shown, hidden = set(), set()
    for cell, label in split(notebook):
        lines = {line.strip() for line in cell.source.splitlines()}
        (hidden if label and not is_check(cell) else shown).update(lines)
    lines = "\n".join(cell.source for cell in student_notebook(notebook, page).cells).splitlines()
    text = {line.strip() for line in lines}
    secrets = {line for line in hidden - shown if len(line) > 20 and not line.startswith(("def ", '"""'))}
    assert secrets
    assert not secrets & text


@every_lecture
def test_a_student_s_notebook_needs_no_name_that_only_a_solution_defines(page, tmp_path):
    notebook = student_notebook(read_page(LECTURES[page]), page)
    nbformat.write(notebook, tmp_path / f"{page}.ipynb")
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "F821"]
    done = subprocess.run([*command, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@every_lecture
def test_an_instructor_s_notebook_has_the_code_of_the_page(page):
    notebook = read_page(LECTURES[page])
    install, *kept = [cell.source for cell in code_cells(instructor_notebook(notebook, page))]
    assert "pip" in install
    assert kept == [cell.source for cell in code_cells(notebook)]


@pytest.fixture(scope="module")
def graded() -> dict[str, bool]:
    """The labels of all solutions, and whether the last of their code is a check."""
    return {
        label: is_check(cell)
        for path in LECTURES.values()
        for cell, label in split(read_page(path))
        if label and cell.cell_type == "code"
    }


def test_most_exercises_have_a_check(graded):
    assert sum(graded.values()) >= len(graded) / 2


def test_an_empty_answer_stands_for_the_solution_and_the_check_follows(page):
    notebook = student_notebook(page, "book/page")
    _, _, answer, check, work = [cell.source for cell in code_cells(notebook)]
    assert answer == (
        'def double(x, *, factor=2):\n    """Twice x."""\n'
        '    raise NotImplementedError("double: your answer")\n\n\n'
        "total = None  # twice two"
    )
    assert check.startswith('assert total is not None, "total: got None, wanted your answer"')
    assert check.endswith("assert double(5) == 10\nassert total == n + n")
    assert work == "# your work"
    assert "secret" not in str(notebook)
    assert "The end." in notebook.cells[-1].source


def prose(notebook):
    """The text of a notebook."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def run(cells):
    """Execute cells in one namespace."""
    namespace: dict = {}
    for cell in cells:
        exec(cell.source, namespace)


def test_the_check_passes_for_the_solution(page):
    run(code_cells(instructor_notebook(page, "book/page")))


def test_the_check_fails_for_the_empty_answer(page):
    cells = code_cells(student_notebook(page, "book/page"))[1:4]
    with pytest.raises(AssertionError, match="total: got None, wanted your answer"):
        run(cells)
    cells[1].source = cells[1].source.replace("total = None", "total = 4")
    with pytest.raises(NotImplementedError, match="double: your answer"):
        run(cells)
    empty = 'raise NotImplementedError("double: your answer")'
    cells[1].source = cells[1].source.replace(empty, "return 2 * x")
    run(cells)


def test_a_check_that_accepts_everything_is_found(page):
    run(code_cells(with_refusals(page)))
    for cell in code_cells(page):
        if is_check(cell):
            cell.source = "assert double(5) == 10\ntotal"
    with pytest.raises(AssertionError, match="the check passes with total = None"):
        run(code_cells(with_refusals(page)))


def test_a_check_that_accepts_a_wrong_number_is_found():
    assert_refuses("assert abs(x - 1) < 0.1", ["x"], {"x": 1.0})
    with pytest.raises(AssertionError, match=r"the check passes with x = 1\.2"):
        assert_refuses("assert x > 0", ["x"], {"x": 1.0})


def test_a_check_that_refuses_right_answers_too_is_found():
    for check in ("assert x > 2", "assert x == 1.0\nmissing"):
        with pytest.raises(AssertionError, match=r"the check refuses the right answers too: \w+Error"):
            assert_refuses(check, ["x"], {"x": 1.0})


SWAPPED = """
kept, weight = weight, 2 * weight
wanted = pull()
weight = kept
assert abs(answer - wanted) < {tolerance}
"""
"""A check that puts something in the place of what a function of the page looks up."""


def test_a_check_runs_where_the_functions_of_the_page_look_things_up():
    namespace: dict = {}
    exec("weight, answer = 1.0, 2.0\ndef pull():\n    return weight", namespace)
    before = dict(namespace)
    assert_refuses(SWAPPED.format(tolerance=0.1), ["answer"], namespace)
    assert namespace == before
    with pytest.raises(AssertionError, match=r"the check passes with answer = 2\.4"):
        assert_refuses(SWAPPED.format(tolerance=1), ["answer"], namespace)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [(1.0, 1.2), (0, 1.0), (True, False), ([1.0, 0], [1.2, 1.0]), ({"a": 10}, {"a": 12.0}), ("a", "not a")],
)
def test_a_wrong_answer_is_near_the_right_one(right, wrong):
    assert spoiled(right) == wrong
    assert spoiled(lambda: right)() == wrong


def test_a_wrong_tensor_differs_from_the_right_one():
    for right in (torch.ones(2), torch.zeros(2), torch.tensor([True, False])):
        assert not torch.equal(spoiled(right), right)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("```{solution-end}\n```\n\nThe end", "The end", "the solution why does not end"),
        ("```{solution-start} why", "```{solution} why", "a solution in one piece"),
        ("  # twice two", "", "total: got an answer without words"),
        ('    """Twice x."""\n', "", "double: got an answer without words"),
    ],
)
def test_a_solution_that_cannot_be_taken_out_or_does_not_say_what_is_wanted_is_refused(
    tmp_path, old, new, message
):
    assert old in PAGE
    with pytest.raises(PageError, match=message):
        student_notebook(read(tmp_path, PAGE.replace(old, new)), "book/page")


@pytest.mark.parametrize("check", ["assert n == 2", "assert Answer"])
def test_a_check_of_nothing_that_can_be_filled_in_is_refused(check):
    solution = nbformat.v4.new_code_cell("class Answer:\n    pass")
    with pytest.raises(PageError, match="wanted one of variables or functions"):
        answers([solution], nbformat.v4.new_code_cell(check))


def test_prose_becomes_markdown_that_any_jupyter_shows(page):
    text = prose(student_notebook(page, "book/page"))
    assert "# Doubling, by adding" in text
    assert "**Exercise: Small project: Twice**\n\nDouble it.\n\n$$\n2 n\n$$" in text
    assert "Twice it is …." in text
    assert not re.search(r"\{[a-z:-]+\}|^[`:]{3}", text, re.M)
    nested = "::::{a} A\n:class: b\n\n:::{b}\ninner {ref}`y`\n:::\n::::\n"
    assert plain(nested, {}) == "**A: A**\n\n**B**\n\ninner y\n"
    assert plain(":::{admonition} Title\n:class: tip\n\ntext\n:::", {}) == "**Title**\n\ntext"
    assert plain("```sh\nmake\n```", {}) == "```sh\nmake\n```"
    assert plain("{glue:text}`a:.2f` and {glue:text}`b`", {"a": 1, "b": "c"}) == "1.00 and c"
    assert plain("```{glue:md} t\n:format: myst\n```\n", {"t": "| a |"}) == "| a |\n"


def test_a_drawing_travels_with_its_notebook(tmp_path, monkeypatch):
    (tmp_path / "book/drawings").mkdir(parents=True)
    (tmp_path / "book/drawings/layer.svg").write_text("<svg/>")
    monkeypatch.setattr(student, "ROOT", tmp_path)
    options = ":name: fig-a\n:alt: Two arrows\n:figclass: drawing\n"
    figure = f"\n```{{figure}} drawings/layer.svg\n{options}\nThe *layer*.\n```\n"
    text = PAGE.replace("\nThe end.", figure)
    cell = instructor_notebook(read(tmp_path, text), "book/page").cells[-1]
    assert cell.source == "![Two arrows](attachment:layer.svg)\n\n**Figure.** The *layer*."
    assert cell.attachments == {"layer.svg": {"image/svg+xml": "PHN2Zy8+"}}


def test_what_was_glued_is_read_as_values_tables_and_pictures_but_not_as_html():
    def record(name, **data):
        data = {f"application/papermill.record/{k.replace('_', '/')}": text for k, text in data.items()}
        return nbformat.v4.new_output("display_data", data=data, metadata={"scrapbook": {"name": name}})

    cell = nbformat.v4.new_code_cell(
        outputs=[
            record("number", text_plain="0.5"),
            record("table", text_plain="<Markdown object>", text_markdown="| a |"),
            record("picture", text_plain="<Figure>", image_png="iVBO"),
            record("live", text_plain="<HTML object>", text_html="<svg></svg>"),
        ]
    )
    found = glued(nbformat.v4.new_notebook(cells=[cell]))
    assert found == {"number": 0.5, "table": "| a |", "picture.png": "iVBO"}


def test_a_student_s_notebook_has_no_results_and_an_instructor_s_has_them(page):
    for cell in code_cells(page):
        cell.outputs = [nbformat.v4.new_output("stream", text="4\n")]
    assert not any(cell.outputs for cell in code_cells(student_notebook(page, "book/page")))
    _, *cells = code_cells(instructor_notebook(page, "book/page"))
    assert all(cell.outputs for cell in cells)


def test_a_page_that_is_no_lecture_is_refused_with_the_names_of_those_that_are(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["student.py", "forces", "teaching"])
    with pytest.raises(SystemExit, match=r"error: pages: got teaching, wanted some of intro symmetry "):
        student.main()


# The plans


def table_under(heading):
    """The rows of the first table below a heading of the page on teaching, as lists of cells."""
    text = (ROOT / "book" / "teaching.md").read_text()
    table = re.search(r"^\|[\s\S]*?\n\n", text[text.index(heading) :], re.M)[0]
    return [line.strip("|").split(" | ") for line in table.strip().splitlines()[2:]]


def test_the_class_of_ninety_minutes_takes_ninety_minutes():
    assert sum(int(row[0]) for row in table_under("## One class of 90 minutes")) == 90


def test_every_week_of_the_module_has_its_lecture_laboratory_and_homework():
    rows = table_under("## A module of four weeks")
    assert [row[0].strip()[0] for row in rows] == ["1", "2", "3", "4"]
    labels = "\n".join(path.read_text() for path in LECTURES.values())
    for row in rows:
        assert len(row) == 4
        for cell in row[1:]:
            targets = re.findall(r"\{ref\}`(?:[^`<]*<)?([\w-]+)>?`", cell)
            assert targets
            assert all(f"({t})=" in labels or f":label: {t}\n" in labels for t in targets), targets


def test_the_laboratories_are_graded_by_checks(graded):
    for row in table_under("## A module of four weeks"):
        assert all(graded[label] for label in re.findall(r"<([\w-]+)>", row[2]))


# Make it yours


@pytest.mark.parametrize(
    "change", [{"potential": "lennard-jones"}, {"n": 2}, {"n": 4}, {"n_atoms": 3}, {"n_atoms": 5}]
)
def test_make_it_yours_runs_with_every_change_that_it_offers(change, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    small = yaml.safe_load((ROOT / "book" / "quick.yml").read_text())["make-it-yours"]
    notebook = execute(read_page(LECTURES["make-it-yours"]), small | change)
    (printed,) = [o.text for c in code_cells(notebook) for o in c.outputs if "scales:" in o.get("text", "")]
    setting = {"potential": "morse", "n": 3, "n_atoms": 4} | change
    assert printed.startswith(f"{setting['n_atoms']} atoms, n = {setting['n']}, {setting['potential']}")
