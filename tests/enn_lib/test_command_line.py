"""``python -m enn_lib train | evaluate | runs | export``."""

import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from functools import partial
from types import SimpleNamespace
from unittest.mock import Mock

import pytest

from enn_lib.__main__ import main, parser
from enn_lib.evaluation import evaluate
from enn_lib.runs import load_run, shipped_runs

WEIGHTS = "model.safetensors"


@pytest.fixture
def config_file(small_config, tmp_path):
    """The small configuration as a file."""
    path = tmp_path / "small.json"
    path.write_text(json.dumps(asdict(small_config)), encoding="utf-8")
    return path


@pytest.fixture
def tiny(small_run, tmp_path, monkeypatch):
    """The small run as the one that ships."""
    monkeypatch.setattr("enn_lib.runs.SHIPPED", tmp_path / "shipped")
    return shutil.copytree(small_run, tmp_path / "shipped" / "tiny")


def run(*arguments):
    return main([str(a) for a in arguments])


def assert_refused(capsys, message, *arguments):
    """Exit status 2, and one line that starts with error and holds the message."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"error: .*\n", err)
    assert message in err


# Help


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            [],
            [
                "train into a folder",
                "evaluate",
                "measure",
                "list the shipped runs",
                "export",
                "one .pt2 file",
            ],
        ),
        (
            ["train"],
            ["--config", "--out", "--max-minutes", "{auto,cpu,cuda}", "go on from its checkpoint", "JSON"],
        ),
        (["evaluate"], ["run folder", "shipped run", "permutations", "metrics.json"]),
        (["runs"], ["shipped runs"]),
        (["export"], ["run folder", "shipped run", ".pt2", "--alone", "permutations"]),
    ],
)
def test_the_help_of_each_command_says_what_it_does(arguments, words, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--help"])
    assert caught.value.code == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: python -m enn_lib")
    assert [word for word in words if word not in out] == []


def test_every_command_and_every_option_is_explained_in_a_few_words_and_every_command_in_sentences():
    (commands,) = [action for action in parser()._actions if isinstance(action.choices, dict)]
    options = [action for command in commands.choices.values() for action in command._actions]
    for explained in (*options, *commands._choices_actions):
        assert re.match(r"(a |a JSON |[a-z]{2})", explained.help), explained.dest
        assert not explained.help.endswith(".")
    for command in (parser(), *commands.choices.values()):
        assert re.fullmatch(r"[A-Z][a-z ].*[a-z)](\.| \.\.\.)", command.description), command.prog
    assert list(commands.choices) == ["train", "evaluate", "runs", "export"]


@pytest.mark.parametrize("arguments", [["train", "--config", "x"], ["train", "--out", "x"]])
def test_training_needs_a_configuration_and_a_folder(arguments, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    missing = {"--config": "--out", "--out": "--config"}[arguments[1]]
    assert capsys.readouterr().err.endswith(f"error: the following arguments are required: {missing}\n")


def test_the_device_is_found_out_unless_it_is_said():
    def device(*options):
        return parser().parse_args(["train", "--config", "x", "--out", "y", *options]).device

    assert device() == "auto"
    assert [device("--device", name) for name in ("auto", "cpu", "cuda")] == ["auto", "cpu", "cuda"]


def test_without_a_command_one_is_asked_for(capsys):
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.endswith("error: the following arguments are required: command\n")


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["train"], ["train", "--config", "x"], ["evaluate"], ["export"], ["export", "softened"]],
)
def test_a_command_that_is_not_complete_shows_the_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: python -m enn_lib" in capsys.readouterr().err


def test_it_runs_as_a_module():
    result = subprocess.run(
        [sys.executable, "-m", "enn_lib", "evaluate", "nowhere"],
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert re.fullmatch("error: run: got 'nowhere', wanted a run folder or one of .*\n", result.stderr)


# From a configuration to metrics


def test_train_then_evaluate_writes_the_metrics_it_prints(config_file, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("train", "--config", config_file, "--out", folder) == 0
    out = capsys.readouterr().out
    assert re.match(rf"{re.escape(str(folder))}: 30 of 30 iterations in \d+ s\n", out)
    assert f"next: python -m enn_lib evaluate {folder}" in out

    assert run("evaluate", folder) == 0
    out = capsys.readouterr().out
    metrics = load_run(folder).metrics
    assert (metrics["iteration"], metrics["n_test"]) == (30, 40)
    assert metrics["validation"].keys() == {"network"}
    assert metrics["test"].keys() == metrics["dynamics"].keys() == {"network", "s4_average"}
    for line, kind in zip(out.splitlines(), ("network", "s4_average"), strict=True):
        assert line.startswith(kind)
        assert f"test RMSD {metrics['test'][kind]['rmsd_component']:.3g} eV/Å per component" in line
        assert f"{metrics['test'][kind]['rmsd_vector']:.3g} per vector" in line
        dynamics = metrics["dynamics"][kind]
        assert dynamics["steps"] == [1500, 4000]
        last = f"{dynamics['rmsd_positions'][1]:.3g} Å, {dynamics['rmsd_energy'][1]:.3g} eV"
        assert f"after 4000 fs {last}" in line


def test_the_headline_is_that_of_the_last_step(tiny, monkeypatch, capsys):
    monkeypatch.setattr("enn_lib.__main__.evaluate", partial(evaluate, steps=(1, 2, 40)))
    assert run("evaluate", "tiny") == 0
    dynamics = load_run("tiny").metrics["dynamics"]["network"]
    last = f"{dynamics['rmsd_positions'][-1]:.3g} Å, {dynamics['rmsd_energy'][-1]:.3g} eV"
    assert capsys.readouterr().out.splitlines()[0].endswith(f"per vector; after 40 fs {last}")


def test_where_the_console_knows_no_angstrom_it_shows_a_question_mark(monkeypatch):
    console = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", console)
    assert run("runs") == 0
    console.flush()
    assert b"test RMSD (eV/?)" in console.buffer.getvalue()


def test_training_happens_on_the_device_asked_for_with_the_processes_that_met(
    config_file, tmp_path, monkeypatch, capsys
):
    command = ("train", "--config", config_file, "--out", tmp_path / "run", "--device")
    train = Mock(return_value=SimpleNamespace(iteration=1, seconds=2.0))
    monkeypatch.setattr("enn_lib.__main__.train", train)
    assert run(*command, "cpu") == 0
    assert train.call_args.kwargs["workers"].device.type == "cpu"
    capsys.readouterr()
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert_refused(capsys, "device: got 'cuda'", *command, "cuda")


def test_training_that_was_stopped_says_how_to_go_on_and_does(config_file, small_run, tmp_path, capsys):
    command = ("train", "--config", config_file, "--out", tmp_path / "run")
    assert run(*command, "--max-minutes", "0") == 0
    out = capsys.readouterr().out
    assert "1 of 30 iterations" in out
    assert out.splitlines()[-1] == "the same command goes on from here"
    assert run(*command) == 0
    assert (tmp_path / "run" / WEIGHTS).read_bytes() == (small_run / WEIGHTS).read_bytes()


@pytest.mark.parametrize("source", ["folder", "configuration", "name"])
def test_a_run_can_be_repeated_by_its_folder_its_configuration_or_its_name(source, tiny, tmp_path):
    config = {"folder": tiny, "configuration": tiny / "config.json", "name": "tiny"}[source]
    assert run("train", "--config", config, "--out", tmp_path / "again") == 0
    assert (tmp_path / "again" / WEIGHTS).read_bytes() == (tiny / WEIGHTS).read_bytes()


def test_a_run_of_one_s_own_comes_before_a_shipped_run_of_its_name(
    tiny, small_run, tmp_path, monkeypatch, capsys
):
    """The line that training prints as the next command must not evaluate another run."""
    monkeypatch.chdir(tmp_path)
    own = shutil.copytree(small_run, tmp_path / "tiny")
    assert run("evaluate", "tiny") == 0
    assert (own / "metrics.json").exists()
    assert not (tiny / "metrics.json").exists()


def test_inside_a_run_folder_the_folder_itself_can_be_evaluated(small_run, tmp_path, monkeypatch, capsys):
    folder = shutil.copytree(small_run, tmp_path / "copy")
    monkeypatch.chdir(folder)
    assert run("evaluate", ".") == 0
    assert (folder / "metrics.json").exists()


@pytest.mark.parametrize(("system", "quote"), [("posix", "'"), ("nt", '"')])
def test_the_next_command_can_be_pasted_whatever_the_folder_s_name(
    system, quote, config_file, tmp_path, capsys, monkeypatch
):
    """The command line of Windows knows no single quotes."""
    monkeypatch.setattr("enn_lib.__main__.os", SimpleNamespace(name=system))
    folder = tmp_path / "my first run"
    assert run("train", "--config", config_file, "--out", folder) == 0
    assert f"next: python -m enn_lib evaluate {quote}{folder}{quote}\n" in capsys.readouterr().out


def test_where_nothing_can_be_written_the_numbers_are_printed_nevertheless(tiny, monkeypatch, capsys):
    def refuse(path, values):
        raise PermissionError(30, "Read-only file system", str(path))

    monkeypatch.setattr("enn_lib.__main__.write_json", refuse)
    assert run("evaluate", "tiny") == 2
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["network", "s4_average"]
    assert re.fullmatch("error: .*Read-only file system.*metrics.json.*\n", err)


def test_an_interrupt_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr("enn_lib.__main__.load_run", Mock(side_effect=KeyboardInterrupt))
    assert run("evaluate", "softened") == 130
    assert capsys.readouterr() == ("", "interrupted\n")


def test_runs_lists_each_shipped_run_with_its_errors(capsys):
    assert run("runs") == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert header == (
        "run             optimiser    iterations  softening  test RMSD (eV/Å), alone and over S4"
    )
    for name, line in zip(shipped_runs(), lines, strict=True):
        shipped = load_run(name)
        errors = [f"{error['rmsd_component']:.3g}" for error in shipped.metrics["test"].values()]
        iterations, softening = max(shipped.history["iteration"]), shipped.config.softening
        assert line.split() == [
            name,
            shipped.config.optimiser,
            f"{iterations:.0f}",
            f"{softening:g}",
            *errors,
        ]
        assert line.endswith("  ".join(errors))


def test_runs_says_of_a_run_without_metrics_that_it_was_not_evaluated(tiny, capsys):
    assert run("runs") == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["tiny", "muon", "30", "0", "not", "evaluated"] in lines


# Refusals


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "bad.json: not a JSON file"),
        ("[]", "bad.json: got a list, wanted a JSON object"),
        ('{"learning_speed": 1}', "config: got unknown key learning_speed"),
        ('{"iterations": "many"}', "iterations: got 'many', wanted a valid integer"),
        ('{"n_configurations": 2}', "n_configurations: got 2, wanted at least 5"),
        ('{"learning_rate": -1}', "learning_rate: got -1, wanted greater than or equal to 0"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line(content, message, tmp_path, capsys):
    (tmp_path / "bad.json").write_text(content, encoding="utf-8")
    assert_refused(capsys, message, "train", "--config", tmp_path / "bad.json", "--out", tmp_path / "run")


def test_a_configuration_that_is_not_there_is_refused(tmp_path, capsys):
    message = "--config: got 'referense', wanted a JSON file, a run folder, or one of "
    message += ", ".join(shipped_runs())
    assert_refused(capsys, message, "train", "--config", "referense", "--out", tmp_path / "run")


def test_a_file_in_place_of_a_folder_is_refused(config_file, capsys):
    assert_refused(capsys, "small.json", "train", "--config", config_file, "--out", config_file)


def test_a_run_of_another_configuration_is_refused(small_config, config_file, tmp_path, capsys):
    run("train", "--config", config_file, "--out", tmp_path / "run", "--max-minutes", "0")
    capsys.readouterr()
    config_file.write_text(json.dumps(asdict(replace(small_config, seed=3))), encoding="utf-8")
    message = "(seed: got 3, the folder has 0)"
    assert_refused(capsys, message, "train", "--config", config_file, "--out", tmp_path / "run")


@pytest.mark.parametrize("command", [["evaluate"], ["export", "field.pt2"]], ids=" ".join)
def test_what_is_no_run_is_refused(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, *options = command
    assert_refused(capsys, "run: got 'nowhere', wanted a run folder", name, "nowhere", *options)
    assert_refused(capsys, "not a run, config.json", name, tmp_path, *options)
    assert not list(tmp_path.iterdir())


def test_weights_that_do_not_fit_are_refused_in_one_line(small_run, tmp_path, capsys):
    """torch reports them in several."""
    folder = shutil.copytree(small_run, tmp_path / "copy")
    values = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(values | {"widths": [6, 9, 4]}), encoding="utf-8")
    assert_refused(capsys, "does not fit config.json (widths (6, 9, 4))", "evaluate", folder)
