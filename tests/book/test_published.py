"""The notebooks that Colab and Binder open: self-sufficient, from the one public address, readable anywhere.

``make check-notebooks`` runs them in an environment that was empty.
"""

import ast
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile

import nbformat
import pytest
import yaml
from notebooks import check, publish, tracked_copy
from packaging.requirements import Requirement
from pages import ROOT, PageError, code_cells, notebook_pages, read_page
from student import instructor_notebook, source

FORCES = ROOT / "book" / "forces.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
URL = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
PACKAGES = ("enn_lib/", "enn_book/")

every_page = pytest.mark.parametrize("page", notebook_pages())


@pytest.fixture
def published():
    """A page as it is published, without results."""
    return instructor_notebook(read_page(FORCES), "book/forces")


@pytest.fixture
def commands(monkeypatch):
    """What is run instead of being run."""
    commands = []
    monkeypatch.setattr(subprocess, "run", lambda command, **kwargs: commands.append((command, kwargs)))
    monkeypatch.delenv("ENN_LIB_SOURCE", raising=False)
    return commands


def test_the_install_cell_comes_first_and_the_code_of_the_page_follows(published):
    first, *others = code_cells(published)
    assert published.cells[0] is first
    assert [cell.source for cell in others] == [cell.source for cell in code_cells(read_page(FORCES))]
    assert others[0].metadata.tags == ["parameters"], "papermill still finds what can be changed"


def test_nothing_is_installed_where_the_library_is(published, commands):
    exec(published.cells[0].source, {})
    assert commands == []


def test_what_is_missing_is_installed_from_the_public_address_into_the_notebook_s_python(
    published, commands, monkeypatch
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    exec(published.cells[0].source, {})
    (((*pip, line), options),) = commands
    assert pip == [sys.executable, "-m", "pip", "install", "--quiet"]
    assert options == {"check": True}, "a failed installation is an error"
    assert line == f"{PROJECT['name']}[notebook] @ git+{URL}"
    assert "notebook" in PROJECT["optional-dependencies"]


def test_one_environment_variable_takes_the_library_from_elsewhere(published, commands, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("ENN_LIB_SOURCE", "git+https://example.org/fork@branch")
    exec(published.cells[0].source, {})
    assert commands[0][0][-1] == "enn-lib[notebook] @ git+https://example.org/fork@branch"
    for name in ("tools/notebooks.py", "CONTRIBUTING.md"):
        assert "ENN_LIB_SOURCE" in (ROOT / name).read_text(), f"{name} says so"


@every_page
def test_a_page_imports_only_what_the_install_line_brings(page):
    """Distributions are named as their packages are, but for ours; IPython comes with myst-nb."""
    lines = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["notebook"]]
    brought = {Requirement(line).name.replace("-", "_") for line in lines}
    allowed = brought | {"enn_lib", "enn_book", "IPython"} | sys.stdlib_module_names
    imported = set()
    for cell in code_cells(read_page(ROOT / f"{page}.md")):
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.split(".")[0])
    assert imported <= allowed


@every_page
def test_prose_is_markdown_that_any_jupyter_shows(page):
    notebook = instructor_notebook(read_page(ROOT / f"{page}.md"), page)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            left = re.search(r"\{[a-z:-]+\}`[^`]*`|^[`:]{3,}\{.*|^\([\w-]+\)=", cell.source, re.M)
            assert not left, left.group()


@every_page
def test_the_caption_of_every_figure_follows_it(page):
    cells = instructor_notebook(read_page(ROOT / f"{page}.md"), page).cells
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if cell.metadata.get("mystnb", {}).get("figure"):
            assert following.source.startswith("**Figure.** ")


def test_what_is_published_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "notebooks"
    (folder / "book").mkdir(parents=True)
    (folder / "book" / "renamed.ipynb").write_text("{}")
    publish({"book/forces": read_page(FORCES)}, folder, source())
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"book/forces.ipynb", "requirements.txt", "runtime.txt", "README.md"}
    nbformat.validate(json.loads((folder / "book/forces.ipynb").read_text()))
    assert [path.name for path in tmp_path.iterdir()] == ["notebooks"]


def test_binder_builds_what_the_install_cell_installs(tmp_path, published):
    publish({}, tmp_path / "notebooks", source())
    line = (tmp_path / "notebooks" / "requirements.txt").read_text().strip()
    assert line == f"enn-lib[notebook] @ git+{URL}"
    python = (tmp_path / "notebooks" / "runtime.txt").read_text().strip()
    assert python == f"python-{PROJECT['requires-python'].removeprefix('>=')}"


def test_a_check_of_a_notebook_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(PageError, match=r"forces: no such notebook .* say 'make notebooks' first"):
        check(["forces"], tmp_path)


def test_a_check_finds_an_install_cell_that_fails_in_an_empty_environment(tmp_path, published):
    """torch is here and would not be there."""
    (tmp_path / "book").mkdir()
    published.cells[0].source = "import torch"
    nbformat.write(published, tmp_path / "book" / "forces.ipynb")
    with pytest.raises(PageError, match=r"(?s)forces: the install cell failed.*No module named 'torch'"):
        check(["forces"], tmp_path)


def test_a_check_installs_from_a_copy_of_what_git_has(tmp_path):
    copy = tracked_copy(tmp_path / "copy")
    assert (copy / "enn_lib" / "runs" / "reference" / "model.safetensors").is_file()
    assert (copy / "pyproject.toml").read_bytes() == (ROOT / "pyproject.toml").read_bytes()
    assert not (copy / ".git").exists()
    assert not (copy / "_build").exists()


def test_an_installed_library_has_every_file_that_git_has(tmp_path):
    """A module or a table that a wheel leaves out is there in a clone, and missing for everybody else."""
    copy = tracked_copy(tmp_path / "copy")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", tmp_path, copy], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(PACKAGES)}
    wanted = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert packed == {name for name in wanted if name.startswith(PACKAGES)}
