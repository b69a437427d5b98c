"""The workflows: what they run exists, every action is one commit, and nobody may do more than he needs."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from pages import ROOT

FOLDER = ROOT / ".github" / "workflows"
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}
# YAML 1.1 reads the key "on" as true.
WORKFLOWS = {name: yaml.safe_load(text) for name, text in TEXTS.items()}
JOBS = {(name, job): content for name, flow in WORKFLOWS.items() for job, content in flow["jobs"].items()}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

every_workflow = pytest.mark.parametrize("name", WORKFLOWS)
every_job = pytest.mark.parametrize(("name", "job"), JOBS)


def steps(name: str) -> list[dict]:
    return [step for job in WORKFLOWS[name]["jobs"].values() for step in job["steps"]]


def zizmor(folder: Path) -> subprocess.CompletedProcess:
    """Run the linter without a network, at its strictest."""
    command = Path(sys.executable).with_name("zizmor")
    options = ["--offline", "--strict-collection", "--persona=auditor", "--color=never"]
    return subprocess.run([command, *options, folder], capture_output=True, encoding="utf-8")


def test_the_linter_has_nothing_to_say():
    done = zizmor(FOLDER)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5.0.0", "@v5", "unpinned-uses"),
        ("permissions: {}", "permissions: write-all", "excessive-permissions"),
        ("persist-credentials: false", "persist-credentials: true", "artipacked"),
        ('--message "', '--message "${{ github.event.head_commit.message }}', "template-injection"),
        ("runs-on: ubuntu-latest", "run-on: ubuntu-latest", "runs-on"),
    ],
)
def test_the_linter_sees_what_it_is_there_for(old, new, finding, tmp_path):
    shutil.copytree(FOLDER, tmp_path / ".github" / "workflows")
    file = tmp_path / ".github" / "workflows" / "publish.yml"
    assert old in file.read_text(encoding="utf-8")
    file.write_text(file.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    done = zizmor(file.parent)
    assert done.returncode
    assert finding in done.stdout + done.stderr


@every_workflow
def test_every_action_is_one_commit_and_its_version_is_said(name):
    lines = [line for line in TEXTS[name].splitlines() if "uses:" in line]
    assert lines
    for line in lines:
        assert re.fullmatch(r"\s+(?:- )?uses: actions/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line), line


def test_an_action_is_the_same_commit_everywhere():
    used = {match for text in TEXTS.values() for match in re.findall(r"uses: (\S+)@(\S+ # \S+)", text)}
    assert len(used) == len({action for action, _ in used})


@every_workflow
def test_a_workflow_may_only_read_unless_a_job_says_what_it_writes(name):
    assert WORKFLOWS[name]["permissions"] in ({}, {"contents": "read"})


@every_job
def test_a_job_writes_only_to_publish(name, job):
    written = {key for key, how in JOBS[name, job].get("permissions", {}).items() if how == "write"}
    allowed = {
        ("publish.yml", "pages"): {"pages", "id-token"},
        ("publish.yml", "notebooks"): {"contents"},
    }
    assert written == allowed.get((name, job), set())
    if written:
        commands = [step.get("run", "") for step in JOBS[name, job]["steps"]]
        assert not any("make" in command for command in commands), "no code of a page"


@every_job
def test_a_job_ends(name, job):
    assert 0 < JOBS[name, job]["timeout-minutes"] <= 120


@every_workflow
def test_what_a_workflow_runs_is_a_file(name):
    for script in re.findall(r"bash (\S+)", TEXTS[name]):
        assert (ROOT / script).is_file()


def test_every_change_is_tested_with_every_python_from_the_oldest():
    on = WORKFLOWS["test.yml"][True]
    assert "pull_request" in on
    assert on["push"] == {"branches": ["main"]}
    versions = WORKFLOWS["test.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert PROJECT["requires-python"] == f">={versions[0]}"
    assert any(step.get("run") == "bash .ci/run" for step in steps("test.yml"))


def test_library_and_notebooks_are_tested_on_windows_with_the_oldest_and_the_newest_python():
    job = WORKFLOWS["test.yml"]["jobs"]["windows"]
    everywhere = WORKFLOWS["test.yml"]["jobs"]["test"]["strategy"]["matrix"]["python"]
    assert job["strategy"]["matrix"]["python"] == [everywhere[0], everywhere[-1]]
    commands = [step["run"].split() for step in job["steps"] if "run" in step]
    assert all(command[:3] == ["python", "-m", "tools"] for command in commands), "there is no make"
    (tests,) = [command[4:] for command in commands if command[3] == "test"]
    assert all((ROOT / place).exists() for place in tests)
    assert {"tests/enn_lib", "tests/book/test_notebooks.py"} <= set(tests)


def test_the_notebooks_go_to_the_branch_where_the_buttons_lead():
    branch = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]["branch"]
    (push,) = [step for step in steps("publish.yml") if "git push" in step.get("run", "")]
    assert push["env"]["BRANCH"] == branch
    assert branch not in WORKFLOWS["publish.yml"][True]["push"]["branches"], "it would start itself"


def test_what_is_published_has_been_looked_at():
    commands = [step["run"] for step in WORKFLOWS["publish.yml"]["jobs"]["build"]["steps"] if "run" in step]
    assert commands == ["make book", "make check-book", "make notebooks"]
    for job in ("pages", "notebooks"):
        assert WORKFLOWS["publish.yml"]["jobs"][job]["needs"] == "build"


def test_the_weekly_run_takes_the_newest_versions_and_checks_every_notebook():
    text = re.sub(r"#.*", "", TEXTS["weekly.yml"])
    assert "schedule" in WORKFLOWS["weekly.yml"][True]
    assert "constraints" not in text
    newest = WORKFLOWS["weekly.yml"]["jobs"]["newest"]["steps"]
    commands = [step["run"] for step in newest if "run" in step]
    assert re.search(r"pip install .*\[book,test\]", commands[1])
    # make installs the pinned versions unless this file is newer than the list of them.
    program = (ROOT / "tools" / "__main__.py").read_text(encoding="utf-8")
    stamp = re.search(r'^STAMP = VENV / "(\S+)"', program, re.MULTILINE)[1]
    assert commands.index(f"touch .venv/{stamp}") < commands.index("make test")
    (options,) = [step["env"]["PYTEST_ADDOPTS"] for step in newest if "env" in step]
    assert (ROOT / options.removeprefix("--ignore=")).is_file()
    assert "run: make check-notebooks\n" in text, "without PAGES it runs all"
