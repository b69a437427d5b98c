"""The notebooks that Colab and Binder open: self-sufficient, from the one public address, readable anywhere.

``make check-notebooks`` runs them in environments where nothing is installed, older versions, or too little.
"""

import ast
import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from types import SimpleNamespace

import nbformat
import notebooks
import pytest
import yaml
from notebooks import PLACES, check, publish, tracked_copy
from packaging.requirements import Requirement
from pages import ROOT, PageError, code_cells, notebook_pages, read_page
from student import instructor_notebook, source

FORCES = ROOT / "book" / "forces.md"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
URL = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
PACKAGES = ("enn_lib/", "enn_book/")

every_page = pytest.mark.parametrize("page", notebook_pages())


@pytest.fixture
def published():
    """A page as it is published, without results."""
    return instructor_notebook(read_page(FORCES), "book/forces")


class Server:
    """A notebook server as the install cell sees it: what is missing, and what pip does about it.

    Attributes:
        missing: names of modules.
        versions: of packages.
        brings: the versions that come with what is missing.
        repairs: whether what is missing is there afterwards, without a restart.
        commands: what is run, with its options.
    """

    def __init__(self):
        self.missing, self.brings, self.repairs, self.commands = set(), {}, True, []
        self.versions = {"numpy": "2.0.2", "pillow": "11.0", "setuptools": "65.0", "zoo": "1.0"}

    def run(self, command, **options):
        self.commands.append((command, options))
        self.versions |= self.brings
        self.missing = set() if self.repairs else self.missing


@pytest.fixture
def server(monkeypatch):
    server = Server()
    packages = {"numpy": ["numpy"], "PIL": ["pillow"], "_distutils_hack": ["setuptools"], "zoo": ["zoo"]}
    monkeypatch.setattr(subprocess, "run", server.run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in server.missing else name)
    monkeypatch.setattr(
        importlib.metadata,
        "distributions",
        lambda: [SimpleNamespace(name=name, version=version) for name, version in server.versions.items()],
    )
    monkeypatch.setattr(importlib.metadata, "packages_distributions", lambda: packages)
    monkeypatch.setitem(sys.modules, "_distutils_hack", None)
    monkeypatch.delenv("ENN_LIB_SOURCE", raising=False)
    return server


def test_the_install_cell_comes_first_and_the_code_of_the_page_follows(published):
    first, *others = code_cells(published)
    assert published.cells[0] is first
    assert [cell.source for cell in others] == [cell.source for cell in code_cells(read_page(FORCES))]
    assert "parameters" in others[0].metadata.tags, "papermill still finds what can be changed"


def test_nothing_is_installed_where_all_is_there(published, server):
    exec(published.cells[0].source, {})
    assert server.commands == []


LIBRARY = f"{PROJECT['name']}[notebook] @ git+{URL}"
EXTRA = {Requirement(line).name: line for line in PROJECT["optional-dependencies"]["notebook"]}


@pytest.mark.parametrize(
    ("missing", "lines"),
    [
        ({"enn_lib", "ase", "matplotlib", "vesin", "scipy", "myst_nb"}, [LIBRARY, *EXTRA.values()]),
        ({"enn_lib", "myst_nb"}, [LIBRARY, EXTRA["myst-nb"]]),
        ({"myst_nb"}, [EXTRA["myst-nb"]]),
    ],
)
def test_what_is_missing_and_no_more_is_installed_into_the_notebook_s_python(
    missing, lines, published, server
):
    server.missing = missing
    exec(published.cells[0].source, {})
    assert server.commands == [([sys.executable, "-m", "pip", "install", "--quiet", *lines], {"check": True})]


def test_one_environment_variable_takes_the_library_from_elsewhere(published, server, monkeypatch):
    server.missing = {"enn_lib"}
    monkeypatch.setenv("ENN_LIB_SOURCE", "git+https://example.org/fork@branch")
    exec(published.cells[0].source, {})
    assert server.commands[0][0][-1] == "enn-lib[notebook] @ git+https://example.org/fork@branch"
    for name in ("tools/notebooks.py", "CONTRIBUTING.md"):
        assert "ENN_LIB_SOURCE" in (ROOT / name).read_text(encoding="utf-8"), f"{name} says so"


@pytest.mark.parametrize(
    ("brings", "repairs", "late"),
    [
        ({"numpy": "2.4.6", "pillow": "13.0"}, True, "numpy, pillow"),
        ({}, False, "enn_lib"),
    ],
)
def test_a_kernel_that_cannot_go_on_asks_for_a_restart_in_words(brings, repairs, late, published, server):
    """It has imported the old version, or does not look where pip has put the new."""
    import PIL  # noqa: F401

    server.missing, server.brings, server.repairs = {"enn_lib"}, brings, repairs
    with pytest.raises(RuntimeError, match=rf"does not have the new {late}: restart it .*, then run the"):
        exec(published.cells[0].source, {})


def test_a_kernel_goes_on_if_what_changed_is_new_or_nothing_that_it_has_imported(published, server):
    server.missing = {"enn_lib"}
    server.brings = {"zoo": "2.0", "enn-lib": "0.1", "setuptools": "80.0"}
    exec(published.cells[0].source, {})
    assert server.commands


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
    (folder / "book" / "renamed.ipynb").write_text("{}", encoding="utf-8")
    publish({"book/forces": read_page(FORCES)}, folder, source())
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == {"book/forces.ipynb", "requirements.txt", "runtime.txt", "README.md"}
    nbformat.validate(json.loads((folder / "book/forces.ipynb").read_text(encoding="utf-8")))
    assert [path.name for path in tmp_path.iterdir()] == ["notebooks"]


def test_binder_builds_what_the_install_cell_installs(tmp_path, published):
    publish({}, tmp_path / "notebooks", source())
    line = (tmp_path / "notebooks" / "requirements.txt").read_text(encoding="utf-8").strip()
    assert line == f"enn-lib[notebook] @ git+{URL}"
    python = (tmp_path / "notebooks" / "runtime.txt").read_text(encoding="utf-8").strip()
    assert python == f"python-{PROJECT['requires-python'].removeprefix('>=')}"


def test_a_check_of_a_notebook_that_is_not_there_says_what_to_do(tmp_path):
    with pytest.raises(PageError, match=r"forces: no such notebook .* say 'make notebooks' first"):
        check(["forces"], tmp_path)


@pytest.fixture
def checked(tmp_path, published, monkeypatch):
    """Checks a notebook of one cell, where this environment stands for all."""

    def checked(code: str) -> None:
        (tmp_path / "book").mkdir()
        published.cells[:] = [nbformat.v4.new_code_cell(code)]
        nbformat.write(published, tmp_path / "book" / "forces.ipynb")
        check(["forces"], tmp_path)

    monkeypatch.setattr(notebooks, "prepare", lambda *_: None)
    monkeypatch.setattr(notebooks, "venv_python", lambda folder: Path(sys.executable))
    return checked


def test_a_notebook_is_checked_in_all_places(checked, capsys):
    checked("import enn_lib")
    assert capsys.readouterr().out.splitlines() == [f"forces: runs where {what}" for what in PLACES.values()]


def test_a_check_finds_a_cell_that_fails_and_says_where(checked):
    with pytest.raises(PageError, match=r"(?s)book/forces failed where nothing is installed:.*'nowhere'"):
        checked("import nowhere")


def test_a_check_finds_that_what_was_imported_has_been_changed(checked, monkeypatch):
    monkeypatch.setattr(notebooks, "PLACES", {"older": PLACES["older"]})
    with pytest.raises(
        PageError, match=r"(?s)failed where older versions .*numpy: got \S+, wanted 1\.0, which"
    ):
        checked("numpy.__version__ = '1.0'")


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


@pytest.mark.parametrize("have", notebooks.OLDER)
def test_what_a_notebook_asks_for_is_no_newer_than_what_a_server_has(have):
    there = Requirement(have)
    (version,) = (s.version.removesuffix("*") + "0" for s in there.specifier)
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["notebook"]]:
        asked = Requirement(line)
        assert asked.name != there.name or asked.specifier.contains(version), line
