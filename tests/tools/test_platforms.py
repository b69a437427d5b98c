"""Any system: no file is read by a system's own rules, nothing needs a Unix, and make is never needed."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from runpy import run_path
from types import ModuleType

import pytest
from pages import ROOT, code_cells, notebook_pages, project_files

FILES = [name for name in project_files() if name.endswith(".py")]
PAGES = {name: code_cells(notebook) for name, notebook in notebook_pages().items()}
CODE = {name: (ROOT / name).read_text(encoding="utf-8") for name in FILES}
CODE |= {name: "\n".join(cell.source for cell in cells) for name, cells in PAGES.items()}
"""Every module, and the code of every page."""

USED = [name for name in CODE if not name.startswith("tests/")]

MISSING = {
    "os": [
        *(
            "fork",
            "forkpty",
            "getloadavg",
            "getuid",
            "geteuid",
            "getgid",
            "getpgid",
            "killpg",
            "mkfifo",
            "nice",
        ),
        *("sched_getaffinity", "setsid", "sysconf", "uname", "wait", "WNOHANG"),
    ],
    "signal": [
        "SIGALRM",
        "SIGHUP",
        "SIGKILL",
        "SIGPIPE",
        "SIGQUIT",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
        "setitimer",
    ],
    "time": ["tzset"],
}
"""What some modules have on a Unix alone."""

UNIX = ["fcntl", "grp", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"]
"""Modules that there are on a Unix alone."""


def without_encoding(code: str) -> list[str]:
    """The calls that open text in whatever encoding the system has."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        place = 1 if isinstance(node.func, ast.Name) else 0
        mode = given.get("mode", node.args[place] if len(node.args) > place else ast.Constant("r"))
        opens = name in ("open", "fdopen") and "b" not in str(getattr(mode, "value", ""))
        opens |= name in ("read_text", "write_text") or getattr(given.get("text"), "value", None) is True
        if opens and "encoding" not in given:
            found.append(ast.unparse(node))
    return [call for call in found if not call.startswith("Image.open(")]


def unix_only(code: str) -> list[str]:
    """What is used of `MISSING` and `UNIX` without a look at whether it is there."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and node.attr in MISSING.get(getattr(node.value, "id", ""), ()):
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None)]
            found += [name for name in names if name in UNIX]
    asked = {f"{module}.{name}" for module, name in re.findall(r"hasattr\((\w+), [\"'](\w+)", code)}
    return [name for name in found if name not in asked]


@pytest.mark.parametrize("name", CODE)
def test_a_file_is_opened_in_an_encoding_that_is_said(name):
    """On Windows it would be another one."""
    assert without_encoding(CODE[name]) == []


@pytest.mark.parametrize(
    "code",
    ["open(p)", "open(p, 'w')", "p.open('a')", "p.read_text()", "p.write_text(s)", "run(c, text=True)"],
)
def test_a_file_that_is_opened_in_any_other_is_seen(code):
    assert without_encoding(code) == [code]
    said = re.sub(r"(, text=True)?\)$", ", encoding='utf-8')", code).replace("(, ", "(")
    assert without_encoding(said) == []


@pytest.mark.parametrize("name", USED)
def test_what_there_is_on_a_unix_alone_is_not_used_unseen(name):
    assert unix_only(CODE[name]) == []


@pytest.mark.parametrize("code", ["os.getloadavg()", "import fcntl", "from resource import getrusage"])
def test_what_there_is_on_a_unix_alone_is_seen(code):
    assert unix_only(code)
    assert unix_only("os.getloadavg() if hasattr(os, 'getloadavg') else None") == []


NO_UNIX = f"""
import os, pkgutil, signal, sys, time, warnings
import matplotlib.pyplot, torch  # which on a Unix use it themselves
sys.modules |= dict.fromkeys({UNIX!r})
for module, names in {MISSING!r}.items():
    for name in names:
        vars(sys.modules[module]).pop(name, None)
warnings.filterwarnings("ignore", message=".*fcntl")  # by which filelock says that it takes a weaker lock
import enn_book, enn_lib
from enn_lib.__main__ import main
for package in (enn_lib, enn_book):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith(("__main__", ".workers", ".reference")):  # these begin to work
            __import__(found.name)
"""


def test_everything_is_imported_and_trains_where_there_is_no_unix(small_config, tmp_path):
    (tmp_path / "small.json").write_text(json.dumps(asdict(small_config)), encoding="utf-8")
    code = f"{NO_UNIX}\nsys.exit(main(['train', '--config', 'small.json', '--out', 'run']))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "30 of 30 iterations" in done.stdout


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "eV/Å"), ("ascii", "eV/?")])
def test_a_console_without_a_letter_shows_a_question_mark(encoding, shown):
    command = [sys.executable, "-m", "enn_lib", "runs"]
    env = os.environ | {"PYTHONIOENCODING": encoding}
    done = subprocess.run(command, env=env, capture_output=True, encoding=encoding)
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


# What make does


@pytest.fixture
def commands(tmp_path, monkeypatch) -> ModuleType:
    """The program behind ``python -m tools`` in a project of its own, which lists what it would run."""
    spec = spec_from_file_location("commands", ROOT / "tools" / "__main__.py")
    commands = module_from_spec(spec)
    spec.loader.exec_module(commands)
    for name in ("VENV", "STAMP", "PYTHON"):
        monkeypatch.setattr(commands, name, tmp_path / getattr(commands, name).relative_to(ROOT))
    monkeypatch.setattr(commands, "ROOT", tmp_path)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    commands.VENV.mkdir()
    commands.called = []
    monkeypatch.setattr(commands, "call", lambda *command: commands.called.append(list(map(str, command))))
    return commands


def made(target: str, *settings: str) -> list[str]:
    """What make runs for a target."""
    command = ["make", "--dry-run", "--no-print-directory", "PYTHON=python", target, *settings]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.splitlines()


def test_make_has_a_target_for_each_command_and_no_other(commands):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)", makefile, re.MULTILINE)[1].split()
    assert targets == ["help", *commands.COMMANDS, "python"]


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("make"), reason="there is no make")
def test_what_make_does_is_one_command_of_python(commands):
    check = made("python")
    for name in ["help", *commands.COMMANDS]:
        *before, command = made(name)
        assert before == check
        assert re.fullmatch(f'"python" -m tools {name}( ""| ?)', command), command
    assert made("preview", "PAGES=forces energy")[-1].endswith(" preview forces energy")
    assert made("grade", "FOLDER=last week")[-1].endswith(' grade "last week"')
    assert made("mutate", "MODULES=layers fire")[-1].endswith(" mutate layers fire")
    assert made("check-lowest", "TORCH=lowest")[-1].endswith(" check-lowest --torch lowest")


def test_what_a_command_runs_is_there(commands):
    for _, programs in commands.COMMANDS.values():
        for program in programs:
            files = [ROOT / word for word in program if word.endswith(".py") and not word.startswith("-")]
            assert all(file.is_file() for file in files), program
            assert files or program[0] != "-m" or find_spec(program[1]), program


def test_the_first_command_makes_the_environment_and_the_next_one_does_not(commands):
    commands.main(["format"])
    (venv, pip, *_, formatted), python = commands.called, str(commands.PYTHON)
    assert venv == [sys.executable, "-m", "venv", str(commands.VENV)]
    assert pip[:4] == [python, "-m", "pip", "install"]
    assert formatted == [python, "-m", "ruff", "format", "."]
    commands.called.clear()
    commands.main(["format"])
    assert [command[:3] for command in commands.called] == [[python, "-m", "ruff"]] * 2


def test_after_a_change_of_the_pinned_versions_the_environment_is_brought_up_to_date(commands):
    commands.main(["setup"])
    commands.called.clear()
    os.utime(commands.ROOT / "constraints.txt", ns=(0, commands.STAMP.stat().st_mtime_ns + 10**9))
    commands.main(["setup"])
    assert ["pip" in command for command in commands.called] == [False, True]


def test_an_environment_whose_making_was_interrupted_is_made_to_its_end(commands):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", commands.VENV], check=True)
    commands.main(["setup"])
    assert [command[2] for command in commands.called] == ["venv", "pip"]
    subprocess.run(commands.called[0], check=True)
    commands.called.clear()
    commands.STAMP.unlink()
    commands.main(["setup"])
    assert [command[2] for command in commands.called] == ["pip"]


def test_what_follows_a_command_goes_to_its_last_program(commands):
    commands.main(["pdf", "--help"])
    book, pdf = commands.called[2:]
    assert "--help" not in book
    assert pdf[-2:] == ["tools/pdf.py", "--help"]


def test_clean_leaves_the_environment(commands):
    (commands.ROOT / "_build").mkdir()
    commands.main(["clean"])
    assert not (commands.ROOT / "_build").exists()
    assert commands.VENV.exists()
    assert commands.called == []


def test_an_unknown_command_is_one_error_that_names_the_known_ones(commands):
    with pytest.raises(SystemExit, match=r"^error: got 'tests', wanted one of setup, book, .*clean$"):
        commands.main(["tests"])


def test_an_old_python_is_refused_in_words(commands, monkeypatch):
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    with pytest.raises(SystemExit, match=r"^error: got Python 3\.10, wanted 3\.11 or later$"):
        commands.main(["book"])


def test_a_program_that_fails_ends_the_command_as_it_ended():
    call = run_path(str(ROOT / "tools" / "__main__.py"))["call"]
    with pytest.raises(SystemExit) as ended:
        call(sys.executable, "-c", "exit(3)")
    assert ended.value.code == 3


@pytest.mark.skipif(sys.platform == "win32", reason="no process sends itself Ctrl-C")
def test_ctrl_c_is_one_line_and_a_status_of_its_own(tmp_path):
    """It goes to all processes of a terminal at once."""
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    stop = "import os, signal, time\nos.killpg(0, signal.SIGINT)\ntime.sleep(60)\n"
    (tmp_path / "tools" / "slides.py").write_text(stop, encoding="utf-8")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    for name in ("pyproject.toml", "constraints.txt", ".venv/.installed"):
        (tmp_path / name).touch()
    command = [sys.executable, "-m", "tools", "slides"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, encoding="utf-8", start_new_session=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")
