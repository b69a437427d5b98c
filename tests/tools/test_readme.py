"""The README: what it shows is there, its addresses are the one setting, and its commands do their work."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from links import address
from notebooks import tracked_copy
from pages import ROOT

import enn_book.__main__
import enn_lib.__main__

README = (ROOT / "README.md").read_text(encoding="utf-8")
URL = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["url"]
CLONE, CONTAINER, LIBRARY, FIGURES = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)

IN_THE_DARK = {
    "<svg ": '<svg fill="#fff" ',
    "#000": "#fff",
    "#777": "#aaa",
    "#0072B2": "#56B4E9",
    "#D55E00": "#FF9E4A",
}
"""What is another colour in the picture for readers of dark pages."""


def lines(block: str) -> list[str]:
    """The commands of a block, without what it says of them."""
    return [re.sub(r"\s+#.*", "", line) for line in block.splitlines()]


def test_the_book_and_the_repository_are_where_the_one_setting_says():
    named = re.findall(r"https://[^\s/]*git[^\s)>]+", README)
    assert named[0] == address()
    assert URL in named
    assert all(name == URL or f"{name}/".startswith(f"{address()}/") for name in named)


def test_the_pages_that_it_links_are_pages():
    for page in re.findall(rf"{re.escape(address())}/(\S+)\.html", README):
        assert (ROOT / f"{page}.md").is_file()
    for file in re.findall(r"\]\((?!http)(\S+)\)", README):
        assert (ROOT / file).is_file()


def test_the_picture_is_the_drawing_and_in_the_dark_the_same_in_other_colours():
    dark, light = re.findall(r'srcset="(\S+)"|src="(\S+)"', README)
    assert light[1].startswith("book/drawings/")
    drawing = (ROOT / light[1]).read_text(encoding="utf-8")
    for old, new in IN_THE_DARK.items():
        assert old in drawing
        drawing = drawing.replace(old, new)
    assert (ROOT / dark[0]).read_text(encoding="utf-8") == drawing
    assert re.search(r'<img [^>]*alt="[^"]{40,}"', README)


def test_the_paper_is_cited_as_the_citation_file_says():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["preferred-citation"]
    (cited,) = re.findall(r"^> (.+)$", README, re.MULTILINE)
    for author in paper["authors"]:
        assert f"{author['given-names']} {author['family-names']}" in cited
    assert paper["title"].lower() in cited.lower()
    assert paper["identifiers"][0]["value"] in cited
    assert str(paper["year"]) in cited


def test_the_clone_has_the_two_commands_and_the_checks_run_both(tmp_path):
    """The public address leads to a repository of this checkout, and make says what it is asked for."""
    git = [
        "git",
        "-c",
        "user.name=reader",
        "-c",
        "user.email=reader@example.org",
        "-C",
        tracked_copy(tmp_path / "here"),
    ]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "all"]):
        subprocess.run([*git, *command], check=True)
    (tmp_path / "make").write_text('#!/bin/sh\ntest -f "$PWD/Makefile" && echo "$@"\n', encoding="utf-8")
    (tmp_path / "make").chmod(0o755)
    environment = os.environ | {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{(tmp_path / 'here').as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": URL,
    }
    command = ["bash", "-e", "-c", CLONE]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["book", "test"]
    checks = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert {"make book", "make test"} <= set(checks)


def test_the_container_is_built_and_used_every_week_as_it_says():
    weekly = yaml.safe_load((ROOT / ".github" / "workflows" / "weekly.yml").read_text(encoding="utf-8"))
    commands = [step["run"] for step in weekly["jobs"]["container"]["steps"] if "run" in step]
    assert commands[: len(lines(CONTAINER))] == lines(CONTAINER)


def test_the_commands_of_the_library_run(small_config, tmp_path, monkeypatch, capsys):
    """One training stands for the one that takes hours."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("enn_lib.__main__._read_config", {"reference": small_config}.get)
    said = []
    for command in lines(LIBRARY):
        python, option, module, *arguments = shlex.split(command)
        assert (python, option, module) == ("python", "-m", "enn_lib")
        assert enn_lib.__main__.main(arguments) == 0, command
        said.append(capsys.readouterr().out)
    assert "softened" in said[0]
    assert "my-run: 30 of 30 iterations" in said[1]
    assert {path.name for path in tmp_path.iterdir()} == {"my-run", "argon.pt2"}
    assert (tmp_path / "my-run" / "metrics.json").exists()


def test_the_commands_of_the_figures_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in lines(FIGURES):
        python, option, module, name, *arguments = shlex.split(command)
        assert (python, option, module) == ("python", "-m", "enn_book")
        quick = ["--quick"] if name == "reproduce" else []
        assert enn_book.__main__.main([name, *arguments, *quick]) == 0, command
        if "--figure" in arguments:
            assert len({path.stem for path in (tmp_path / "figures").iterdir()}) == 1
        for path in (tmp_path / "figures").glob("*"):
            path.unlink()
    assert "protocol" in capsys.readouterr().out


@pytest.mark.parametrize("command", re.findall(r"`(python -m pip install [^`]+)`", README))
def test_what_it_says_of_pip_installs_the_library(command, tmp_path):
    """Without what it needs, which is here, and into a folder of its own."""
    here = tracked_copy(tmp_path / "here")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_DEPS": "1",
        "PIP_NO_BUILD_ISOLATION": "0",  # which is how pip is told to leave it out
        "PIP_NO_INDEX": "1",
        "PIP_TARGET": str(tmp_path / "there"),
    }
    done = subprocess.run(
        ["bash", "-c", command], cwd=here, env=environment, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "there" / "enn_lib" / "py.typed").exists()
    extra = re.search(r"\[(\w+)\]", command)
    (metadata,) = (tmp_path / "there").glob("enn_lib-*.dist-info/METADATA")
    assert not extra or f"Provides-Extra: {extra[1]}\n" in metadata.read_text(encoding="utf-8")


def test_the_environment_is_entered_as_it_says():
    assert "`. .venv/bin/activate`" in README
    assert "VENV := .venv\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
