"""The files that make the environment agree with each other, and with what the README says."""

import re
import subprocess
import tomllib
from importlib import metadata
from importlib.resources import files

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pages import ROOT, project_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PINS = {
    canonicalize_name(requirement.name): requirement
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}
DIRECT = [
    Requirement(line)
    for group in [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    for line in group
    if not line.startswith(PROJECT["name"])  # an extra that takes another along
]
TEXTS = {
    name: (ROOT / name).read_text(encoding="utf-8")
    for name in project_files()
    if not name.endswith((".safetensors", ".png"))
}
URL = yaml.safe_load(TEXTS["_config.yml"])["repository"]["url"]


def version(pin: Requirement) -> str:
    """The version of a pin, such as 1.2 of ``name==1.2``."""
    (specifier,) = pin.specifier
    assert specifier.operator == "=="
    return specifier.version


@pytest.mark.parametrize("requirement", DIRECT, ids=str)
def test_every_dependency_is_pinned_to_a_version_it_allows(requirement):
    pin = PINS[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version(pin))


@pytest.mark.parametrize("requirement", PROJECT["dependencies"])
def test_the_library_asks_for_the_oldest_version_that_works_and_no_more(requirement):
    """A pin would change the torch or NumPy of whoever installs it beside their own work."""
    assert [s.operator for s in Requirement(requirement).specifier] == [">="]


def test_pins_are_exact_versions_that_are_on_an_index_and_from_no_particular_place():
    """A local version such as +cpu is on no index."""
    for pin in PINS.values():
        assert re.fullmatch(r"[0-9][0-9a-z.]*", version(pin)), pin
        assert pin.url is None


def test_what_is_installed_is_what_is_pinned():
    for name, pin in PINS.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
        assert installed.split("+")[0] == version(pin), name


def test_what_the_project_needs_is_pinned_to_the_last_dependency():
    """Walk the installed packages from the project's own dependencies: nothing floats."""
    waiting, seen = list(DIRECT), set()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        extras = requirement.extras or {""}
        if not any(requirement.marker is None or requirement.marker.evaluate({"extra": e}) for e in extras):
            continue
        key = (name, frozenset(extras))
        if key in seen or name == "pip":
            continue
        seen.add(key)
        assert name in PINS, f"{name} is not in constraints.txt"
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        for line in needed:
            child = Requirement(line)
            if child.marker is None or any(child.marker.evaluate({"extra": e}) for e in extras):
                child.marker = None
                waiting.append(child)
    assert len(seen) > 50


def test_the_conda_environment_leaves_every_version_to_the_constraints():
    environment = yaml.safe_load(TEXTS["environment.yml"])
    python, pip, through_pip = environment["dependencies"]
    assert pip == "pip"
    assert through_pip == {"pip": ["-c constraints.txt", "-e .[book,test]"]}
    assert '"-c", "constraints.txt", "-e", ".[book,test]")' in TEXTS["tools/__main__.py"], "so does setup"
    assert PROJECT["requires-python"] == f">={python.removeprefix('python=')}"
    assert {"book", "test"} <= set(PROJECT["optional-dependencies"])


def test_the_oldest_python_is_the_same_everywhere():
    oldest = PROJECT["requires-python"].removeprefix(">=")
    for name in ("Makefile", "tools/__main__.py"):
        assert f"({oldest.replace('.', ', ')})" in TEXTS[name]
    assert f"py{oldest.replace('.', '')}" in TEXTS["pyproject.toml"]
    assert f"Python {oldest}" in TEXTS["README.md"]


def test_every_dependency_has_its_reason_beside_it():
    for requirement in DIRECT:
        assert re.search(
            rf'"{re.escape(requirement.name)}\b[^"]*"[],]*\s*# \w.{{5,}}', TEXTS["pyproject.toml"]
        ), f"{requirement.name} has no reason"


def test_the_public_address_is_written_once():
    """But for the line that clones it in the README, which a test of that holds to the setting."""
    address = re.sub(r"^https?://", "", URL).rstrip("/")
    copies = [name for name, text in TEXTS.items() for _ in re.finditer(re.escape(address), text)]
    assert copies == ["README.md", "_config.yml"]


def test_no_file_names_a_place_of_the_machine_it_was_written_on():
    places = r"(?<![\w.])/(?:work|home|root|Users|tmp|opt)/\w|file:///|\w*pypi\.\w+|index-url|download\.py\w+"
    found = {
        f"{name}: {match.group()}"
        for name, text in TEXTS.items()
        if name != "tests/tools/test_setup.py"
        for match in re.finditer(places, text)
    }
    assert not found


GUIDES = ["README.md", "CONTRIBUTING.md", "RELEASING.md", ".ci/run", "book/reproduce.md", "book/teaching.md"]


@pytest.mark.parametrize(
    "name", [*GUIDES, *(name for name in TEXTS if name.startswith(".github/workflows/"))]
)
def test_what_one_is_told_to_make_is_a_target_of_the_makefile(name):
    targets = set(re.search(r"^\.PHONY: (.*)", TEXTS["Makefile"], re.MULTILINE)[1].split())
    commands = set(re.findall(r"(?:^ *|`|&& |run: )make ([a-z-]+)", TEXTS[name], re.MULTILINE))
    assert commands
    assert commands <= targets


MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path.read_text(encoding="utf-8")
    for package in ("enn_lib", "enn_book")
    for path in sorted((ROOT / package).rglob("*.py"))
    if not path.stem.startswith("_")
}
"""The public modules of both packages, and what stands in them."""


def test_the_pages_of_the_library_have_every_module_once():
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "book" / "api").glob("*.md"))
    assert sorted(re.findall(r"automodule:: (\S+)", pages)) == sorted(MODULES)


def test_the_overview_of_the_library_has_every_module_of_enn_lib_in_a_line():
    listed = re.findall(r"^\| \{py:mod\}`\w+ <(\S+)>` \| \w", TEXTS["book/api.md"], re.MULTILINE)
    assert sorted(listed) == [name for name in MODULES if name.startswith("enn_lib.")]


@pytest.mark.parametrize("name", ["README.md", "book/api.md"])
def test_the_example_of_an_overview_runs_and_prints_what_it_says(name, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", TEXTS[name], re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.splitlines() == re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)


def test_settings_of_the_book_have_no_unknown_key():
    """Jupyter Book passes over a key it does not know without a word; its defaults list all it knows."""
    defaults = yaml.safe_load(
        files("jupyter_book").joinpath("default_config.yml").read_text(encoding="utf-8")
    )

    def check(settings: dict, known: dict, place: str):
        for key, value in settings.items():
            assert key in known, f"{place}{key}"
            if isinstance(known[key], bool):
                assert isinstance(value, bool), f"{place}{key}"
            elif isinstance(known[key], dict):
                check(value, known[key], f"{place}{key}.")

    check(yaml.safe_load(TEXTS["_config.yml"]), defaults, "")


def test_make_says_what_is_wrong_with_an_old_python(tmp_path):
    command = ["make", "setup", "PYTHON=false", f"VENV={tmp_path / 'venv'}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode
    assert "got 'false', wanted Python 3.11 or later" in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize("git", ["no repository", "refuses", "missing"])
def test_without_git_the_files_are_the_same(git, tmp_path, monkeypatch):
    """As from Zenodo, or in a clone of another user's, after it was used: what that made is none of ours."""
    ours = sorted(project_files())
    for name in ours:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for made in (
        ".venv/bin/python",
        "_build/html/a.html",
        "enn_lib/__pycache__/a.pyc",
        ".ruff_cache/a",
        "a.egg-info/b",
    ):
        (tmp_path / made).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / made).touch()
    if git != "no repository":
        (tmp_path / ".git").write_text("gitdir: nowhere", encoding="utf-8")
    if git == "missing":
        monkeypatch.setenv("PATH", str(tmp_path))
    assert project_files(tmp_path) == ours
