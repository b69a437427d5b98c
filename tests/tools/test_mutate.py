"""What survives counts, what is listed as the same program does not, and a list that is out of date fails."""

import tomllib
from pathlib import Path

import mutate
import pytest
from mutate import EQUIVALENT, Mutant, change_of, report
from pages import ROOT

NOTICED = [Mutant(f"enn_lib.layers.x_length__mutmut_{k}", "", True) for k in range(19)]
SAME = Mutant("enn_lib.layers.x_length__mutmut_20", "length: return 1 * square", False)
SURVIVOR = Mutant("enn_lib.layers.x_length__mutmut_21", "length: return square", False)
LISTED = {"layers": {SAME.change: "a factor of one"}}


@pytest.mark.parametrize(
    ("mutants", "is_enough"),
    [
        ([*NOTICED, SAME], True),
        ([*NOTICED, SAME, SURVIVOR], True),  # 19 of 20
        ([*NOTICED[1:], SAME, SURVIVOR], False),
        ([*NOTICED, SURVIVOR], False),  # what is listed is not there
    ],
)
def test_enough_is_95_percent_without_those_that_are_listed_and_all_listed_are_there(mutants, is_enough):
    assert report({"layers": mutants}, LISTED) == is_enough


def test_a_survivor_is_named_and_the_table_counts_each_kind(capsys):
    report({"layers": [*NOTICED, SAME, SURVIVOR], "fire": NOTICED}, LISTED)
    out = capsys.readouterr().out.splitlines()
    assert out[:2] == [SURVIVOR.name, f"    {SURVIVOR.change}"]
    assert [line.split() for line in out[3:]] == [
        ["layers", "21", "19", "1", "1", "95.0%"],
        ["fire", "19", "19", "0", "0", "100.0%"],
        ["all", "40", "38", "1", "1", "97.4%"],
    ]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("enn_lib.layers.x_length__mutmut_3", "length"),
        ("enn_lib.groups.x__one_each__mutmut_3", "_one_each"),
        ("enn_lib.fire.xǁFIREǁ_adapt__mutmut_12", "FIRE._adapt"),
    ],
)
def test_a_change_is_known_by_its_function_and_its_new_lines(name, function):
    diff = "--- a.py\n+++ b.py\n@@ -1,3 +1,3 @@\n def f(\n-    x + 1,\n+    x - 1,\n+    None,\n )\n"
    assert change_of(name, diff) == f"{function}: x - 1, None,"


def test_every_mutant_that_is_listed_has_a_reason_and_a_function_that_is_there():
    for module, changes in tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")).items():
        text = Path(ROOT, "enn_lib", f"{module}.py").read_text(encoding="utf-8")
        for change, reason in changes.items():
            assert f"def {change.partition(':')[0].rpartition('.')[2]}(" in text, change
            assert len(reason) > 10


def test_the_copy_s_folder_is_there_when_python_starts_to_look_for_the_library(tmp_path, monkeypatch):
    """Else the first run in a fresh checkout would test the library that is installed, and stop."""

    def call(command, env):
        assert env["PYTHONPATH"] == str(tmp_path / "mutants")
        assert (tmp_path / "mutants").is_dir()
        return 3

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mutate, "MUTANTS", tmp_path / "mutants")
    monkeypatch.setattr(mutate.subprocess, "call", call)
    monkeypatch.setattr("sys.argv", ["mutate.py", "layers"])
    with pytest.raises(SystemExit, match="3"):
        mutate.main()
