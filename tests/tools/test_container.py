"""The container: its recipe passes the linter, and only the project goes into it."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from pages import ROOT

RECIPE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def hadolint(text: str) -> subprocess.CompletedProcess:
    command = [Path(sys.executable).with_name("hadolint"), "--no-color", "-"]
    return subprocess.run(command, input=text, capture_output=True, encoding="utf-8")


def test_the_linter_has_nothing_to_say():
    done = hadolint(RECIPE)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (":3.11-slim-bookworm", "", "DL3006"),
        ("# hadolint ignore=DL3008\n", "", "DL3008"),
        ("USER 1000", "USER root", "DL3002"),
        ('["make", "book"]', "make book", "DL3025"),
    ],
)
def test_the_linter_sees_what_it_is_there_for(old, new, finding):
    assert old in RECIPE
    assert finding in hadolint(RECIPE.replace(old, new)).stdout


def test_the_container_has_the_oldest_python_and_the_environment_of_make():
    oldest = re.search(
        r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    )[1]
    assert f"\nFROM python:{oldest}-" in RECIPE
    assert "\nRUN make setup\n" in RECIPE


def test_what_git_leaves_out_and_the_history_stay_outside_the_container():
    ignored, outside = (
        {
            line.strip("/")
            for line in (ROOT / name).read_text(encoding="utf-8").splitlines()
            if not line.startswith("#")
        }
        for name in (".gitignore", ".dockerignore")
    )
    assert outside == {".git"} | {f"**/{pattern}" for pattern in ignored}
