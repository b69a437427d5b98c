"""``python -m enn_book reproduce | study | benchmark | grade``."""

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from enn_book.__main__ import main
from enn_book.studies.study import Outcome, Study, listing


@dataclass(frozen=True)
class Toy:
    """The configuration of a run that takes no time."""

    steps: float


def run(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture
def toy(monkeypatch):
    """A study of two runs in place of every one."""
    study = Study(
        "Is it a toy?",
        plan=lambda records, length: {"one": Toy(length), "two": Toy(2 * length)},
        run=lambda config: Outcome({"error": config.steps}),
        length=3.0,
    )
    monkeypatch.setattr("enn_book.studies.study.find", lambda name: study)
    return study


# Help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["make the figures of the paper", "list the studies of the book", "measure how fast this"]),
        ([], ["reproduce", "study", "benchmark"]),
        (["reproduce"], ["--figure", "1 to 7", "--quick", "--run", "--out", "figure-N.csv", "figures)"]),
        (["study"], ["name", "--out", "--budget MINUTES", "--length", "goes on where it was stopped"]),
        (["benchmark"], ["--out", "folder of the records", "five minutes"]),
        (["grade"], ["folder", "--seconds", "--memory", "--jobs", "--out", "grades.csv", "1 or 0"]),
    ],
)
def test_the_help_of_each_command_says_what_it_does(arguments, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m enn_book")
    assert [word for word in words if word not in out] == []


@pytest.mark.parametrize(
    "command",
    [
        "",
        "train",
        "benchmark",
        "reproduce --figure one",
        "study choices --budget soon",
        "grade",
        "grade a --jobs x",
        "grade a --seconds 90.5",
    ],
)
def test_a_command_that_is_not_complete_shows_the_usage(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main(command.split())
    assert caught.value.code == 2
    assert "usage: python -m enn_book" in capsys.readouterr().err


def test_it_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "enn_book", "study", "luck"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: study: got 'luck', wanted one of augmentation, ")
    assert result.stderr.count("\n") == 1


# Studies


def test_without_a_name_the_studies_are_listed(capsys):
    assert run("study") == 0
    assert capsys.readouterr().out == listing() + "\n"


def test_with_a_name_a_study_is_repeated_into_the_folder(toy, tmp_path, capsys):
    folder = tmp_path / "new"
    assert run("study", "toy", "--out", folder) == 0
    assert capsys.readouterr().out == f"{folder}: 2 records\n"
    assert {file.name for file in folder.iterdir()} == {"one.json", "two.json"}


def test_a_study_whose_time_is_up_says_how_many_runs_are_left_and_goes_on(toy, tmp_path, capsys):
    assert run("study", "toy", "--out", tmp_path, "--budget", 0) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 0 records, 2 runs to go\n"
    toy.repeat(tmp_path, names=["two"])
    before = (tmp_path / "two.json").stat().st_mtime_ns
    assert run("study", "toy", "--out", tmp_path) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 2 records\n"
    assert (tmp_path / "two.json").stat().st_mtime_ns == before


def test_the_length_of_the_runs_is_taken(toy, tmp_path, capsys):
    assert run("study", "toy", "--out", tmp_path, "--length", 5) == 0
    assert [record["error"] for record in toy.repeat(tmp_path).values()] == [5, 10]


# Runs of the reader's


def test_a_reader_s_run_of_a_shipped_one_s_name_is_never_taken_for_it(small_run, tmp_path, monkeypatch):
    tables = []
    for folder in ("empty", "full"):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        for name in ("paper", "reference") if folder == "full" else ():
            shutil.copytree(small_run, name)
        assert run("reproduce", "--figure", 2, "--out", "figures") == 0
        tables.append(Path("figures/figure-2.csv").read_bytes())
    assert tables[0] == tables[1]


# Refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["study", "luck", "--out", "new"], "study: got 'luck', wanted one of augmentation, "),
        (["study", "choices"], "--out: got nothing, wanted the folder of the records"),
        (["study", "choices", "--out", "new", "--length", "3"], "length: got 3, wanted none"),
        (["study", "choices", "--out", "file"], "[Errno"),
        (["benchmark", "--out", "file"], "[Errno"),
        (["reproduce", "--run", "nowhere", "--out", "new"], "run: got 'nowhere', wanted a run folder"),
        (["reproduce", "--figure", "8", "--out", "new"], "figure: got 8, wanted one of 1, 2, 3, 4, 5, 6, 7"),
        (["reproduce", "--figure", "1", "0", "--quick", "--out", "new"], "figure: got 0, wanted one of"),
        (["reproduce", "--figure", "1", "--out", "file"], "[Errno"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {message}")
    assert err.endswith("\n")
    assert err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"
