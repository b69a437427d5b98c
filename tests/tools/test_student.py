"""Teaching: every lecture says what it is for and has exercises of three grades; the sets derived from it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import student
import torch
from checks import FORMS, WRONG, assert_grades, recast, spoiled, with_trials
from markdown_cells import glued, plain
from pages import ROOT, PageError, code_cells, lecture_pages, read_page
from student import START, answers, grouped, guarded, instructor_notebook, is_check, split, student_notebook

from enn_book.exercises import expect

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

assert double(5) == 10, "double(5) is not right"
assert abs(total - n - n) < 1e-3, "total is not right"
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
    (folder / "page.md").write_text(text, encoding="utf-8")
    return read_page(folder / "page.md")


# The lectures


@every_lecture
def test_a_lecture_says_time_and_prerequisites_and_folds_its_objectives(page):
    text = LECTURES[page].read_text(encoding="utf-8")
    line = r"^\*\*Time\.\*\* \d+ minutes to read, \d+ for the exercises\. "
    line += r"\*\*Prerequisites\.\*\* .+\n(?:.+\n)*\n"
    box = r":::\{admonition\} After this page you can\n:class: tip dropdown\n\n(?:- .+\n(?:  .+\n)*)+:::\n"
    assert len(re.findall(line + box, text, re.M)) == 1, "wanted one line and one box, as in book/forces.md"
    assert text.index(":class: tip dropdown") < text.index("{code-cell}")


@every_lecture
def test_a_lecture_has_exercises_of_a_grade_and_a_solution_to_each(page):
    text = LECTURES[page].read_text(encoding="utf-8")
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


# The checks


def checked(page):
    """The exercises of a lecture that have a check: label, cells of the solution, source of the check."""
    for group, label in grouped(read_page(LECTURES[page])):
        code = [cell for cell in group if cell.cell_type == "code"]
        if label and code and is_check(code[-1]):
            yield label, code[:-1], code[-1]


@every_lecture
def test_a_check_has_words_for_everything_that_it_refuses(page):
    for label, _, check in checked(page):
        for node in ast.walk(ast.parse(check.source)):
            if isinstance(node, ast.Assert):
                assert node.msg, (label, ast.unparse(node))
            assert not (isinstance(node, ast.Attribute) and node.attr == "assert_close"), label


@every_lecture
def test_what_an_answer_should_be_is_said_in_words(page):
    for label, solution, check in checked(page):
        for name, how in answers(solution, check).items():
            assert len(how.meaning.split()) >= 3, (label, name, how.meaning)


@every_lecture
def test_an_empty_answer_and_one_of_another_kind_is_refused_by_its_name(page):
    for _, solution, check in checked(page):
        for name, how in answers(solution, check).items():
            is_function = isinstance(how, ast.FunctionDef)
            is_dictionary = not is_function and isinstance(how.value, ast.Dict | ast.DictComp)
            others = [{}, "3"] if is_function else [[1.0], 3, len] if is_dictionary else [{}, "3", len]
            for other in [None, *others]:
                with pytest.raises(AssertionError, match=rf"^{name}: got .+, wanted (a|numbers|your answer)"):
                    exec(guarded({name: how}, ""), {name: other})


def test_every_checked_exercise_has_two_wrong_answers_and_more_and_no_other_exercise_has():
    labels = [label for page in LECTURES for label, _, _ in checked(page)]
    assert list(WRONG) == labels
    assert all(len(wrong) >= 2 for wrong in WRONG.values())
    assert any("a norm for a component" in wrong for wrong in WRONG.values())


class Blank(ast.NodeTransformer):
    """Takes names and constants away, but for the names of what is called."""

    def visit_Name(self, node):
        return ast.Name("_")

    visit_Constant = visit_JoinedStr = visit_Name  # noqa: N815

    def visit_Call(self, node):
        name, node = node.func, self.generic_visit(node)
        return ast.Call(name, node.args, node.keywords) if isinstance(name, ast.Name) else node


def expressions(source: str) -> dict[str, int]:
    """The expressions in some code, without names and constants, and of how many each consists."""
    found = [node for node in ast.walk(Blank().visit(ast.parse(source))) if isinstance(node, ast.expr)]
    return {ast.unparse(node): sum(isinstance(p, ast.expr) for p in ast.walk(node)) for node in found}


@every_lecture
def test_a_check_does_not_compute_what_its_solution_does_in_the_same_way(page):
    for label, solution, check in checked(page):
        own, theirs = expressions(check.source), expressions("\n".join(cell.source for cell in solution))
        common = {code: own[code] for code in own.keys() & theirs.keys()}
        assert max(common.values(), default=0) < 10, (label, max(common, key=common.get))


def test_a_check_that_contains_its_solution_is_found():
    assert expressions("f(a, b[:3])") == expressions("f('x', c[:n])")
    assert expressions("f(a)") != expressions("g(a)")
    assert max(expressions("(end - test.targets).square().mean().item()").values()) == 10


def given(tree: ast.AST) -> set[str]:
    """The names to which some code gives a value."""
    nodes = list(ast.walk(tree))
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return stored | {node.name for node in nodes if isinstance(node, ast.FunctionDef)}


def stand_ins(check: str, solution: str) -> set[str]:
    """The names of a check that would do for what a function like those of the solution forgot to define."""
    found = set()
    for node in ast.walk(ast.parse(solution)):
        if isinstance(node, ast.FunctionDef):
            found |= given(node) - {name.arg for name in ast.walk(node.args) if isinstance(name, ast.arg)}
    return found & given(ast.parse(check))


@every_lecture
def test_no_name_of_a_check_stands_in_for_what_a_function_forgot_to_define(page):
    found = {
        label: names
        for label, solution, check in checked(page)
        if (names := stand_ins(check.source, "\n".join(cell.source for cell in solution)))
    }
    assert not found


@pytest.mark.parametrize("name", ["r", "k"])
def test_a_name_that_stands_in_is_found(name):
    solution = "def f(y):\n    r = abs(y)\n    for k in range(3):\n        r = r + k\n    return r"
    assert stand_ins(f"{name} = 2\nassert f({name}) == 5", solution) == {name}
    assert stand_ins(f"for {name} in (1, 2):\n    f({name})", solution) == {name}
    assert stand_ins(f"{name} = 2\nassert f((lambda {name}: {name})(2)) == 5", solution) == {name}
    assert not stand_ins("y, size = 2, 5\nassert f(y) == size", solution)


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
    done = subprocess.run([*command, tmp_path], capture_output=True, encoding="utf-8")
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
    assert check.endswith('assert abs(total - n - n) < 1e-3, "total is not right"')
    assert work == "# your work"
    assert "secret" not in str(notebook)
    assert "The end." in notebook.cells[-1].source


def test_what_is_marked_by_hand_has_a_cell_that_asks_for_it_with_its_points(page):
    words = {
        cell.metadata.nbgrader.grade_id: (cell.metadata.nbgrader.points, cell.source)
        for cell in student_notebook(page, "book/page").cells
        if cell.cell_type == "markdown" and "nbgrader" in cell.metadata
    }
    assert [(label, points) for label, (points, _) in words.items()] == [
        ("twice-reason", 3),
        ("why-reason", 1),
    ]
    assert words["why-reason"][1].startswith("*Your reason, in two or three sentences (1 point")


def test_to_change_a_parameter_asks_for_no_reason(tmp_path):
    text = PAGE.replace("Think and compute: Why?", "Change a parameter: Why?")
    assert "why-reason" not in str(student_notebook(read(tmp_path, text), "book/page"))


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
    for cell in code_cells(page):
        if is_check(cell):
            cell.source = 'assert double(5) == 10, "double(5) is not right"\ntotal'
    with pytest.raises(AssertionError, match=r"the check passes with total = 4\.8"):
        run(code_cells(with_trials(page)))


CLOSE = 'assert abs({} - 1) < 1e-3, "x is not right"'


def test_a_check_that_accepts_a_wrong_number_is_found():
    assert_grades(CLOSE.format("x"), ["x"], {"twice as much": "x = 2 * x"}, {"x": 1.0})
    with pytest.raises(AssertionError, match=r"^the check passes with x = 1\.2$"):
        assert_grades("assert x > 0", ["x"], {}, {"x": 1.0})
    with pytest.raises(AssertionError, match=r"^the check passes with the sign$"):
        assert_grades(CLOSE.format("abs(x)"), ["x"], {"the sign": "x = -x"}, {"x": 1.0})


@pytest.mark.parametrize("check", ["assert x > 2", "assert x == 1.0\nmissing"])
def test_a_check_that_refuses_right_answers_too_is_found(check):
    with pytest.raises(AssertionError, match=r"the check refuses the right answers: \w+Error"):
        assert_grades(check, ["x"], {}, {"x": 1.0})


@pytest.mark.parametrize(
    ("value", "check", "form"),
    [
        (torch.ones(2).double(), "assert x.dtype == y", "in float32"),
        ([1.0, 2.0], "assert x == [1, 2]", "as NumPy"),
        (torch.ones(2), "assert x.sum() == 2", "as a list"),
        (2 / 3, "assert abs(x - 2 / 3) < 1e-6", "to four digits"),
    ],
)
def test_a_check_that_refuses_a_right_answer_in_another_form_is_found(value, check, form):
    with pytest.raises(AssertionError, match=f"the check refuses the right answers {form}: "):
        assert_grades(check, ["x"], {}, {"x": value, "y": torch.float64})


@pytest.mark.parametrize("check", ["assert abs(x - 1) < 0.1", "abs(x - 1) < 0.1 or 1 / 0"])
def test_a_check_without_words_is_found(check):
    with pytest.raises(AssertionError, match=r"the check says nothing useful of x = 1\.2: \w+Error"):
        assert_grades(check, ["x"], {}, {"x": 1.0})


def test_a_check_that_says_the_answer_is_found():
    check = 'assert abs(x - 1.414) < 1e-3, f"this is {x}, and not {y}"'
    with pytest.raises(AssertionError, match=r"the check says the answer: this is 1\.69\d*, and not 1\.41$"):
        assert_grades(check, ["x"], {}, {"x": 1.414, "y": "1.41"})
    assert_grades(check, ["x"], {}, {"x": 1.414, "y": "11.41 or 1.414"})


@pytest.mark.parametrize("right", [0.12345, [1 / 3, 2.0], {"a": torch.ones(2) / 3}])
def test_a_right_answer_is_tried_in_every_form(right):
    for form in FORMS.values():
        expect(recast(right, form), right, "it has become another number")
        expect(recast(lambda: right, form)(), right, "it has become another number")
    assert isinstance(recast(0.5, FORMS["in float32"]), torch.Tensor)
    assert isinstance(recast(0.5, FORMS["as NumPy"]), np.float64)
    assert recast((torch.ones(2), "a"), FORMS["as a list"]) == ([1, 1], "a")
    assert recast({"a": 1 / 3, "b": True}, FORMS["to four digits"]) == {"a": 0.3333, "b": True}


SWAPPED = """
kept, weight = weight, 2 * weight
wanted = pull()
weight = kept
assert abs(answer - wanted) < {tolerance}, "not twice the weight"
"""
"""A check that puts something in the place of what a function of the page looks up."""


def test_a_check_runs_where_the_functions_of_the_page_look_things_up():
    namespace: dict = {}
    exec("weight, answer = 1.0, 2.0\ndef pull():\n    return weight", namespace)
    before = dict(namespace)
    assert_grades(SWAPPED.format(tolerance=0.1), ["answer"], {"half": "answer = weight"}, namespace)
    assert namespace == before
    with pytest.raises(AssertionError, match=r"the check passes with answer = 2\.4"):
        assert_grades(SWAPPED.format(tolerance=1), ["answer"], {}, namespace)


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
    (tmp_path / "book/drawings/layer.svg").write_text("<svg/>", encoding="utf-8")
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
    text = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
    table = re.search(r"^\|[\s\S]*?\n\n", text[text.index(heading) :], re.M)[0]
    return [line.strip("|").split(" | ") for line in table.strip().splitlines()[2:]]


def test_every_week_of_the_module_has_its_lecture_laboratory_and_homework():
    rows = table_under("## A module of four weeks")
    assert [row[0].strip()[0] for row in rows] == ["1", "2", "3", "4"]
    labels = "\n".join(path.read_text(encoding="utf-8") for path in LECTURES.values())
    for row in rows:
        assert len(row) == 4
        for cell in row[1:]:
            targets = re.findall(r"\{ref\}`(?:[^`<]*<)?([\w-]+)>?`", cell)
            assert targets
            assert all(f"({t})=" in labels or f":label: {t}\n" in labels for t in targets), targets


def test_the_laboratories_are_graded_by_checks(graded):
    for row in table_under("## A module of four weeks"):
        assert all(graded[label] for label in re.findall(r"<([\w-]+)>", row[2]))
