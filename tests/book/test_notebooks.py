"""Every page runs at small size, prints the same when it runs again, and is made as a page should be."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from checks import with_trials
from pages import (
    ENVIRONMENT,
    KERNEL_LOST,
    ROOT,
    code_cells,
    execute,
    notebook_pages,
    read_page,
    with_a_kernel,
)

PAGES = {Path(page).name: ROOT / f"{page}.md" for page in notebook_pages()}
QUICK = yaml.safe_load((ROOT / "book" / "quick.yml").read_text(encoding="utf-8")) or {}

every_page = pytest.mark.parametrize("page", PAGES)


def nbval(path: Path) -> subprocess.CompletedProcess:
    """Execute a notebook again with nbval and compare what its cells print with what is stored."""
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, f"--rootdir={path.parent}"]
    command += ["-p", "no:cacheprovider", "--nbval", "--nbval-current-env", str(path)]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | ENVIRONMENT

    def once() -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=path.parent, env=environment, capture_output=True, encoding="utf-8"
        )
        if KERNEL_LOST in done.stdout:
            raise RuntimeError(done.stdout)
        return done

    return with_a_kernel(once)


def parameter_names(page: str) -> set[str]:
    """The names that the first code cell of a page, tagged parameters, gives literals to."""
    first = code_cells(read_page(PAGES[page]))[0]
    assert "parameters" in first.metadata.get("tags", ()), "the first code cell is tagged parameters"
    body = ast.parse(first.source).body
    for statement in body:
        assert isinstance(statement, ast.Assign), "parameters are plain assignments"
        ast.literal_eval(statement.value)
    return {target.id for statement in body for target in statement.targets}


@every_page
def test_a_page_runs_at_small_size_and_prints_the_same_again(page, tmp_path, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    # The checks of its exercises accept right answers in every form, and refuse empty and wrong ones.
    notebook = execute(with_trials(read_page(PAGES[page])), QUICK[page])
    nbformat.write(notebook, tmp_path / f"{page}.ipynb")
    assert any(cell.outputs for cell in code_cells(notebook)), "with nothing stored nbval compares nothing"
    done = nbval(tmp_path / f"{page}.ipynb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(code_cells(notebook))} passed" in done.stdout


def test_nbval_sees_a_result_that_does_not_repeat(tmp_path):
    output = nbformat.v4.new_output("stream", text="4\n")
    cell = nbformat.v4.new_code_cell("print(1 + 2)", outputs=[output], execution_count=1)
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), tmp_path / "wrong.ipynb")
    done = nbval(tmp_path / "wrong.ipynb")
    assert done.returncode == 1
    assert "1 failed" in done.stdout


def test_quick_yml_has_every_page_and_no_other():
    assert set(QUICK) == set(PAGES)


@every_page
def test_the_small_size_sets_parameters_that_the_page_has(page):
    """papermill injects a name the page does not know without complaint, and the page runs at full size."""
    assert QUICK[page], "a page has parameters that make it small"
    assert set(QUICK[page]) <= parameter_names(page)


@every_page
def test_a_page_has_checks_that_can_fail(page):
    code = "\n".join(cell.source for cell in code_cells(read_page(PAGES[page])))
    assert re.search(r"^\s*(assert\b|.*\bassert_\w+\()", code, re.MULTILINE)


@every_page
def test_a_page_of_the_second_edition_shows_little_code_before_its_exercises(page):
    shown, tags = 0, ("hide-input", "parameters")
    for part in PAGES[page].read_text(encoding="utf-8").split("{exercise}")[0].split("```{code-cell}")[1:]:
        code = part.split("\n```")[0]
        shown += 0 if any(tag in code for tag in tags) else len(code.strip().splitlines()) - 1
    assert shown <= 60, shown


@every_page
def test_the_code_of_a_page_is_in_the_style_of_the_library(page, tmp_path):
    nbformat.write(read_page(PAGES[page]), tmp_path / f"{page}.ipynb")
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--config", ROOT / "pyproject.toml"]
    done = subprocess.run([*command, tmp_path], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout


@every_page
def test_every_exercise_has_its_solution_folded_away(page):
    text = PAGES[page].read_text(encoding="utf-8")
    exercises = re.findall(r"\{exercise(?:-start)?\}.*\n(?::.*\n)*?:label: (\S+)", text)
    solutions = re.findall(r"\{solution(?:-start)?\} (\S+)\n(?::.*\n)*?:class: dropdown", text)
    assert exercises == solutions
    assert len(set(exercises)) == len(exercises)


@every_page
def test_a_figure_has_a_name_a_caption_and_alt_text(page):
    for cell in code_cells(read_page(PAGES[page])):
        figure = cell.metadata.get("mystnb", {}).get("figure")
        if figure or re.search(r"^figure$", cell.source, re.MULTILINE):
            assert figure, "a cell that shows a figure describes it"
            assert figure["name"].startswith("fig-")
            assert figure["caption"].strip()
            assert len(cell.metadata["mystnb"]["image"]["alt"].split()) >= 5, figure["name"]
