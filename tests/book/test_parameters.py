"""What a reader may set: the pages run with other parameters, and refuse by name what makes no sense."""

import ast
import re
import shlex
import subprocess
import sys
from functools import cache
from itertools import takewhile
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pages import ENVIRONMENT, ROOT, PageError, code_cells, execute, notebook_pages, read_page

from enn_book.lectures.pair_potentials import POTENTIALS

PAGES = {Path(page).name: ROOT / f"{page}.md" for page in notebook_pages()}
QUICK = yaml.safe_load((ROOT / "book" / "quick.yml").read_text(encoding="utf-8"))


@cache
def head_of(page: str) -> tuple[dict, list[ast.stmt]]:
    """The parameters of a page, and the statements of its set-up with those imports that look at them."""
    first, second = code_cells(read_page(PAGES[page]))[:2]
    values = {t.targets[0].id: ast.literal_eval(t.value) for t in ast.parse(first.source).body}
    statements = ast.parse(second.source).body
    others = [s for s in statements if not isinstance(s, ast.Import | ast.ImportFrom)]
    return values, [s for s in statements if getattr(s, "module", "") == "enn_book.parameters"] + others


def check(page: str, **change) -> None:
    """Do what the set-up does first after its imports: look at the parameters."""
    values, (imported, *body) = head_of(page)
    looks = list(takewhile(lambda s: ast.unparse(s).startswith("check_parameters(globals(), "), body))
    assert looks, "the set-up begins with a look at the parameters"
    exec(ast.unparse([imported, *looks]), {**values, **change})


@pytest.mark.parametrize("page", PAGES)
def test_a_page_refuses_by_name_what_a_parameter_cannot_be(page):
    check(page)
    check(page, **QUICK[page])
    for name, value in head_of(page)[0].items():
        for wrong in (5 if isinstance(value, str) else "a word", -1, [], float("nan")):
            with pytest.raises(ValueError, match=rf"^{name}: got {re.escape(repr(wrong))}, wanted "):
                check(page, **{name: wrong})


numbers = st.floats() | st.integers() | st.sampled_from([2**32, 2**63, 2**64, 10**30, 10**400])
scalars = numbers | st.booleans() | st.none() | st.text(max_size=8) | st.binary(max_size=3)
scalars |= (
    numbers.filter(lambda x: abs(x) < 2**63).map(np.float64) | st.just(np.int64(3)) | st.just(np.eye(2))
)
anything = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.tuples(inner), max_leaves=6)


@pytest.mark.parametrize("page", PAGES)
@given(data=st.data())
def test_a_page_takes_any_parameters_or_refuses_them_in_one_line(page, data):
    names = sorted(head_of(page)[0])
    change = data.draw(st.dictionaries(st.sampled_from(names), anything, min_size=1))
    try:
        check(page, **change)
    except ValueError as error:
        name, said = str(error).split(": got ")
        assert name in change
        assert re.fullmatch(r".{1,80}, wanted [^\n]*", said)


@pytest.mark.parametrize(
    "page", [p for p, path in PAGES.items() if "\nis_full = " in path.read_text(encoding="utf-8")]
)
def test_what_the_text_says_is_held_for_the_parameters_of_the_book_alone(page):
    values, _ = head_of(page)
    code = "\n".join(cell.source for cell in code_cells(read_page(PAGES[page]))[1:])
    needed, settings = {"is_full"}, []
    for statement in reversed(ast.parse(code).body):
        if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) in needed:
            needed.remove(ast.unparse(statement.targets[0]))
            needed |= {node.id for node in ast.walk(statement.value) if isinstance(node, ast.Name)}
            settings.insert(0, statement)

    def is_full(**change) -> bool:
        namespace = values | change
        exec(ast.unparse(settings), namespace)
        return namespace["is_full"]

    assert is_full()
    assert [name for name in values if is_full(**{name: "another"})] == []


@pytest.mark.parametrize(
    ("page", "change"),
    [
        ("make-it-yours", {"n_atoms": 13, "potential": "buckingham"}),
        ("make-it-yours", {"n": 1, "n_configurations": 1001, "potential": "0.1 * exp(-(r / 3)**2)"}),
        ("make-it-yours", {"n": 5, "n_atoms": 2, "potential": "yukawa", "seed": 3}),
        ("simulate", {"run": "paper", "seed": 6}),
        ("simulate", {"seed": 1}),
        ("simulate", {"seed": 5}),
        ("argon", {"seed": 1, "n_configurations": 200}),
        ("truly-unitary", {"n": 3}),
    ],
)
def test_a_page_runs_with_other_parameters_and_its_text_follows_them(page, change, monkeypatch):
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    notebook = execute(read_page(PAGES[page]), QUICK[page] | change)
    if page == "make-it-yours":
        shown = [str(o.get("data")) for cell in code_cells(notebook) for o in cell.outputs]
        assert any(change["potential"] in data for data in shown)


def test_an_unknown_potential_is_one_error_that_names_the_known_ones():
    with pytest.raises(PageError, match="code cell 3 failed") as refused:
        execute(read_page(PAGES["make-it-yours"]), {"potential": "Morse"})
    last = str(refused.value).strip().splitlines()[-1]
    assert last.startswith(f"ValueError: potential: got 'Morse', wanted one of {', '.join(POTENTIALS)}, or ")


COMMANDS = {
    path: re.findall(
        r"^(\.venv/bin/(?:jupytext|papermill) .*)$", path.read_text(encoding="utf-8"), re.MULTILINE
    )
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "book").glob("*.md")))
}
"""The commands with which the book prints how to run a page."""


@pytest.mark.parametrize("document", [p for p, found in COMMANDS.items() if found], ids=lambda p: p.name)
def test_a_page_runs_by_the_commands_that_the_book_prints(document, tmp_path):
    """Letter for letter, in a copy of the page whose own parameters are small."""
    lines = COMMANDS[document]
    (page,) = re.findall(r"book/([\w-]+)\.md", " ".join(lines))
    text = PAGES[page].read_text(encoding="utf-8")
    for name, value in QUICK[page].items():
        text, found = re.subn(rf"^{name} = .*", f"{name} = {value!r}", text, count=1, flags=re.MULTILINE)
        assert found
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / f"{page}.md").write_text(text, encoding="utf-8")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    for line in lines:
        subprocess.run(shlex.split(line), cwd=tmp_path, check=True, capture_output=True)
    code = code_cells(nbformat.read(tmp_path / shlex.split(line)[-1], as_version=4))
    (injected,) = [cell.source for cell in code if "injected-parameters" in cell.metadata.tags]
    for name, value in re.findall(r"-p (\S+) (\S+)", line):
        assert name in head_of(page)[0]
        assert re.search(rf"^{name} = \"?{value}\"?$", injected, re.MULTILINE)
