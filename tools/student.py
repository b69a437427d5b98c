"""Notebooks to teach with: a student set without solutions, an instructor set with them.

    python tools/student.py              all lectures, into _build/student and _build/instructor
    python tools/student.py symmetry     only some

A page holds everything. Between ``{solution-start} label`` and ``{solution-end}`` its last code cell may
be tagged ``check``. What such a check uses and the cells of the solution before it define is the answer:
a variable or a function. In the student's notebook the solution is replaced by one cell with empty
answers, and the check follows. This is nbgrader's pair of a solution and an autograded cell, and both say
so in nbgrader's words: ``metadata.nbgrader.grade_id`` is the label of the exercise, for the check, and the
label with ``-answer``. By it `grade` finds them.
"""

import argparse
import ast
import os
import re
import sys
import tomllib
from base64 import b64encode
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import nbformat
from build_book import execute_stale
from links import address, references
from markdown_cells import glued, plain
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import ENVIRONMENT, ROOT, PageError, book_settings, lecture_pages, read_page

START = re.compile(r"^(`{3,})\{solution-start\} (\S+)\n(?::.*\n)*\1\n?", re.MULTILINE)
END = re.compile(r"^(`{3,})\{solution-end\}\n\1\n?", re.MULTILINE)

INSTALL = """\
# What this notebook needs and is missing here, as on Colab, is installed here; what is there stays as it is.
import importlib.metadata
import importlib.util
import os
import subprocess
import sys


def install(wanted):
    missing = [line for name, line in wanted.items() if importlib.util.find_spec(name) is None]
    if not missing:
        return
    before = {{package.name: package.version for package in importlib.metadata.distributions()}}
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)
    importlib.invalidate_caches()
    after = {{package.name: package.version for package in importlib.metadata.distributions()}}
    changed = {{name for name in before if after.get(name) != before[name]}}
    places = importlib.metadata.packages_distributions()
    begun_with = set(sys.modules) - {{"_distutils_hack"}}  # of setuptools, which is all that is loaded of it
    loaded = {{name for module in begun_with for name in places.get(module, ())}}
    late = sorted(changed & loaded | {{name for name in wanted if importlib.util.find_spec(name) is None}})
    if late:
        raise RuntimeError(
            f"the running kernel does not have the new {{', '.join(late)}}: restart it (on Colab: Runtime, "
            "Restart session), then run the notebook again from its top"
        )


source = os.environ.get("ENN_LIB_SOURCE", "{source}")
lines = {{
    "enn_lib": f"enn-lib[notebook] @ {{source}}",
{lines}
}}
install(lines)"""
"""The first cell of a notebook. A kernel that runs goes on with the old version of what pip changes."""

HAND_IN = (
    "Write your answers where a cell wants them, with packages of Python and the book alone. Add cells "
    "where you like, but leave these in their order. A check that prints nothing has passed. An empty answer "
    "stops *Run All*: go on from the next cell. Then hand in this file."
)
"""What a student has to know of a notebook."""

REASONS = {
    "Think and compute": (1, "Your reason, in two or three sentences (1 point; the result is the other)"),
    "Small project": (
        3,
        "Your table or figure, what follows from it, and what could have shown the opposite (1 point each; "
        "the result is the fourth)",
    ),
}
"""What an exercise of a grade wants beside its result, and its points, as on the page *Teaching*."""


def source(root: Path = ROOT) -> str:
    """Where pip finds the library: the public address of the project."""
    return f"git+{book_settings(root)['repository']['url']}"


def extra_lines(root: Path = ROOT) -> dict[str, str]:
    """What the extra ``notebook`` asks for, as pip reads it, by the name with which Python imports it."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = project["optional-dependencies"]["notebook"]
    return {re.split(r"[=<>~!]", line)[0].replace("-", "_"): line for line in lines}


def split(notebook: nbformat.NotebookNode) -> Iterator[tuple[nbformat.NotebookNode, str]]:
    """The cells of a page and the label of the solution that each is part of, or ""; prose is cut there.

    Raises:
        PageError: if a solution does not end, or is in one piece, so that it could not be taken out.
    """
    label = ""
    for cell in notebook.cells:
        if cell.cell_type != "markdown":
            yield cell, label
            continue
        rest = cell.source
        if "{solution} " in rest:
            raise PageError("a solution in one piece, wanted {solution-start} and {solution-end}")
        while rest:
            match = (END if label else START).search(rest)
            piece, rest = (rest[: match.start()], rest[match.end() :]) if match else (rest, "")
            if piece.strip():
                yield new_markdown_cell(piece.strip()), label
            if match:
                label = "" if label else match[2]
    if label:
        raise PageError(f"the solution {label} does not end")


def is_check(cell: nbformat.NotebookNode) -> bool:
    """Whether a cell grades the answer before it."""
    return "check" in cell.metadata.get("tags", [])


def definitions(source: str) -> dict[str, ast.stmt]:
    """The names that a cell gives a value to at its top level, and the statements that do it.

    Each statement gets a `meaning`, what it says in words: a docstring, or the comment where it ends.
    """
    found, lines = {}, source.splitlines()
    for statement in ast.parse(source).body:
        comment = lines[statement.end_lineno - 1].encode()[statement.end_col_offset :].decode().strip(" #")
        is_block = isinstance(statement, ast.FunctionDef | ast.ClassDef)
        statement.meaning = ast.get_docstring(statement) if is_block else comment
        if is_block:
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign):
            names = [n.id for t in statement.targets for n in ast.walk(t) if isinstance(n, ast.Name)]
            found |= dict.fromkeys(names, statement)
    return found


def answers(solution: list[nbformat.NotebookNode], check: nbformat.NotebookNode) -> dict[str, ast.stmt]:
    """What the student has to fill in: the names of the check that the solution defines.

    Raises:
        PageError: if there is none, one is a class, or one does not say what it is.
    """
    nodes = list(ast.walk(ast.parse(check.source)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    own = {node.arg for node in nodes if isinstance(node, ast.arg)}
    own |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    used = {name.id for name in names} - own
    found: dict[str, ast.stmt] = {}
    for cell in solution:
        found |= {name: how for name, how in definitions(cell.source).items() if name in used}
    if not found or any(isinstance(how, ast.ClassDef) for how in found.values()):
        raise PageError(
            f"got a check of {sorted(found)}, wanted one of variables or functions:\n{check.source}"
        )
    for name, how in found.items():
        if not how.meaning:
            raise PageError(
                f"{name}: got an answer without words, wanted a docstring or a comment at its end"
            )
    return found


def stub(name: str, how: ast.stmt) -> str:
    """An empty answer: a variable that is None, or a function that says that it is empty."""
    if not isinstance(how, ast.FunctionDef):
        return f"{name} = None  # {how.meaning}"
    lines = [f"def {name}({ast.unparse(how.args)}):", f'"""{how.meaning}"""']
    return "\n    ".join([*lines, f'raise NotImplementedError("{name}: your answer")'])


def guarded(names: dict[str, ast.stmt], check: str) -> str:
    """A check that first says what is still empty, or of another kind than the solution."""
    variables = [name for name, how in names.items() if not isinstance(how, ast.FunctionDef)]
    first = [f'assert {name} is not None, "{name}: got None, wanted your answer"' for name in variables]
    for name, how in names.items():
        if isinstance(how, ast.FunctionDef):
            kind, is_kind = "a function", f"callable({name})"
        elif isinstance(how.value, ast.Dict | ast.DictComp):
            kind, is_kind = "a dictionary", f"isinstance({name}, dict)"
        else:
            kind, is_kind = "numbers", f"not (callable({name}) or isinstance({name}, dict | str))"
        first.append(f'assert {is_kind}, f"{name}: got {{{name}!r}}, wanted {kind}"')
    return "\n".join([*first, check])


def grouped(notebook) -> Iterator[tuple[list[nbformat.NotebookNode], str]]:
    """The cells of a page, each solution in one group with its label."""
    for label, group in groupby(split(notebook), key=itemgetter(1)):
        cells = [cell for cell, _ in group]
        yield from [(cells, label)] if label else [([cell], label) for cell in cells]


def graded(source: str, label: str, *, answer: bool = False, check: bool = False) -> nbformat.NotebookNode:
    """A code cell of an exercise, with what nbgrader wants to know of it; a check can not be edited.

    A cell that is neither the answer to a check nor a check is graded by hand.
    """
    about = {"schema_version": 3, "grade_id": f"{label}-answer" if answer else label, "task": False}
    about |= {"grade": not answer, "solution": not check, "locked": check}
    if not answer:
        about["points"] = 1
    return new_code_cell(source, metadata={"nbgrader": about, "deletable": False, "editable": not check})


def reason(prose: str, label: str) -> list[nbformat.NotebookNode]:
    """The cell for what a student says in words, if an exercise of this grade wants that."""
    title = re.search(rf"\{{exercise\}} (.*)\n:label: {re.escape(label)}$", prose, re.MULTILINE)
    points, words = REASONS.get(title[1].partition(":")[0] if title else "", (0, ""))
    about = {"schema_version": 3, "grade_id": f"{label}-reason", "task": False, "grade": True}
    about |= {"solution": True, "locked": False, "points": points}
    return [new_markdown_cell(f"*{words}:*", metadata={"nbgrader": about})] if words else []


def student_notebook(notebook: nbformat.NotebookNode, page: str) -> nbformat.NotebookNode:
    """A page, such as "book/forces", with empty answers and their checks instead of results and solutions."""
    cells = [new_markdown_cell(f"*{HAND_IN}*")]
    prose = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for group, label in grouped(notebook):
        code = [cell for cell in group if cell.cell_type == "code"]
        if not label:
            cells += group
            continue
        if code and is_check(code[-1]):
            wanted = answers(code[:-1], code[-1])
            functions = any(isinstance(how, ast.FunctionDef) for how in wanted.values())
            empty = ("\n\n\n" if functions else "\n").join(stub(*answer) for answer in wanted.items())
            cells.append(graded(empty, label, answer=True))
            cells.append(graded(guarded(wanted, code[-1].source), label, check=True))
        else:
            cells.append(graded("# your work", label))
        cells += reason(prose, label)
    return finish(notebook, page, cells, clear=True)


def instructor_notebook(notebook: nbformat.NotebookNode, page: str) -> nbformat.NotebookNode:
    """A page, such as "book/forces", with its results, solutions and checks."""
    cells = []
    for group, label in grouped(notebook):
        cells += [new_markdown_cell("**Solution**"), *group] if label else group
    return finish(notebook, page, cells, clear=False)


def with_captions(cells) -> Iterator[nbformat.NotebookNode]:
    """Cells in which a figure's caption, which is metadata of its cell, follows as text."""
    for cell in cells:
        yield cell
        caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption")
        if caption:
            yield new_markdown_cell(f"**Figure.** {caption.strip()}")


def picture(name: str, values: dict) -> dict[str, str]:
    """A picture that the page has glued, or a file of ``book/drawings``, as a notebook holds it."""
    if name in values:
        return {"image/png": values[name]}
    return {"image/svg+xml": b64encode((ROOT / "book" / "drawings" / name).read_bytes()).decode()}


def finish(notebook, page: str, cells, *, clear: bool) -> nbformat.NotebookNode:
    """A notebook of some cells that is whole away from the book, with or without results.

    It installs what it needs. Any Jupyter shows its prose and pictures; references are links, the works that
    it cites stand at its end, and what the book folds is folded.
    """
    values = glued(notebook)
    result = new_notebook(metadata={"kernelspec": notebook.metadata.kernelspec, "enn_book": {"page": page}})
    lines = "\n".join(f'    "{name}": "{line}",' for name, line in extra_lines().items())
    install = INSTALL.format(source=source(), lines=lines)
    here = new_markdown_cell(f"*[This page]({address()}/{page}.html) in the book.*")
    cells = [new_code_cell(install, metadata={"tags": ["hide-input"]}), here, *with_captions(cells)]
    prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    if works := references(prose):
        cells.append(new_markdown_cell(f"## References\n\n{works}"))
    for number, cell in enumerate(cells):
        cell = nbformat.from_dict({**cell, "id": f"cell-{number}"})
        if cell.cell_type == "markdown":
            cell.source = plain(cell.source, values)
            if names := re.findall(r"\(attachment:(\S+)\)", cell.source):
                cell.attachments = {name: picture(name, values) for name in names}
        else:
            tags = cell.metadata.get("tags", [])
            if "hide-input" in tags and "parameters" not in tags:  # parameters are there to be changed
                cell.metadata["jupyter"] = {"source_hidden": True}
            if clear:
                cell.outputs, cell.execution_count = [], None
        result.cells.append(cell)
    nbformat.validate(result)
    return result


def main() -> None:
    """Write both sets; the exit status is 1 if that fails."""
    parser = argparse.ArgumentParser(description="Write the notebooks to teach with.")
    parser.add_argument("pages", nargs="*", metavar="PAGE", help="only these, such as symmetry")
    lectures = {Path(page).name: page for page in lecture_pages()}
    wanted = parser.parse_args().pages or list(lectures)
    if unknown := [page for page in wanted if page not in lectures]:
        sys.exit(f"error: pages: got {' '.join(unknown)}, wanted some of {' '.join(lectures)}")
    os.environ.update(ENVIRONMENT)
    notebooks = {lectures[name]: read_page(ROOT / f"{lectures[name]}.md") for name in wanted}
    try:
        execute_stale(notebooks)
    except PageError as error:
        sys.exit(f"error: {error}")
    for kind, make in (("student", student_notebook), ("instructor", instructor_notebook)):
        folder = ROOT / "_build" / kind
        folder.mkdir(parents=True, exist_ok=True)
        for page, notebook in notebooks.items():  # others stay, as a teacher may have changed them
            nbformat.write(make(notebook, page), folder / f"{Path(page).name}.ipynb")
        if kind == "instructor":
            text = (ROOT / "book" / "teaching.md").read_text(encoding="utf-8")
            (folder / "teaching.md").write_text(plain(text, {}), encoding="utf-8")
        print(f"{len(notebooks)} notebooks in {folder.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
