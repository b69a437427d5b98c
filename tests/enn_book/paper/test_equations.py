"""The map from equations to pages, functions and tests has no hole; and a hole would be found."""

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from itertools import groupby

import pytest
from pages import ROOT, toc_pages

from enn_book.paper.equations import ROLES, Equation, equations, resolve

NUMBERS = [*map(str, range(1, 50)), "A.1"]
EQUATIONS = equations()
PAGE = (ROOT / "book" / "equations.md").read_text(encoding="utf-8")


def mentioned(text: str) -> set[str]:
    r"""The equations that a page speaks of: "Eq. 3", "Eq. 3, 4 and 7 to 9", or a ``\tag{3}``."""
    found = set(re.findall(r"\\tag\{([\dA.]+)\}", text))
    number = r"(?:A\.)?\d+"
    for run in re.findall(rf"Eqs?\.\s+({number}(?:(?:,? and |,? or | to |, |–){number})*)", text):
        for part in re.split(r",? and |,? or |, ", run.replace("–", " to ")):
            first, _, last = part.partition(" to ")
            found |= {str(k) for k in range(int(first), int(last) + 1)} if last else {first}
    return found


def functions(path) -> set[str]:
    """The names of the tests in a file."""
    return {
        node.name
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef)
    }


def unclosed(formula: str) -> str:
    """What a formula in LaTeX opens and does not close, or closes and did not open."""
    marks = r"\\[{}\\]|\\(?:left|right|begin|end)(?![a-z])|[{}]"
    closing, waiting = {"}": "{", r"\right": r"\left", r"\end": r"\begin"}, []
    for mark in re.findall(marks, formula):
        if mark in closing and (not waiting or waiting.pop() != closing[mark]):
            return mark
        if mark in closing.values():
            waiting.append(mark)
    return " ".join(waiting)


def holes(equation: Equation) -> Iterator[str]:
    """What is missing or wrong in one line of the map."""
    for field in ("formula", "says", "page", "code", "tests"):
        if not getattr(equation, field):
            yield f"no {field}"
    if opened := unclosed(equation.formula):
        yield f"the formula has {opened}"
    if f"book/{equation.page}" not in toc_pages():
        yield f"page {equation.page} is not in the book"
    elif equation.number not in mentioned(
        (ROOT / "book" / f"{equation.page}.md").read_text(encoding="utf-8")
    ):
        yield f"page {equation.page} does not mention it"
    for path in equation.code:
        try:
            resolve(path)
        except ValueError:
            yield f"{path} does not exist"
    names = {part for path in equation.code for part in path.split(".")[2:]}
    for test in equation.tests:
        file, _, function = test.partition("::")
        path = ROOT / "tests" / file
        if not path.is_file() or function not in functions(path):
            yield f"{test} does not exist"
        elif not names & set(re.findall(r"\w+", path.read_text(encoding="utf-8"))):
            yield f"{file} never names {' or '.join(equation.code)}"


def test_every_equation_of_the_paper_is_in_the_map_once_and_in_order():
    assert [equation.number for equation in EQUATIONS] == NUMBERS


@pytest.mark.parametrize("equation", EQUATIONS, ids=lambda equation: equation.number)
def test_an_equation_has_a_page_a_function_and_a_test(equation):
    assert list(holes(equation)) == []


@pytest.mark.parametrize(
    ("field", "value", "hole"),
    [
        ("formula", "", "no formula"),
        ("formula", r"\frac{a}{b", "the formula has {"),
        ("formula", r"\frac{a}b}", "the formula has }"),
        ("formula", r"\left( \{ a \}", r"the formula has \left"),
        ("says", "", "no says"),
        ("code", (), "no code"),
        ("tests", (), "no tests"),
        ("page", "nowhere", "page nowhere is not in the book"),
        ("page", "reproduce", "page reproduce does not mention it"),
        ("code", ("enn_lib.layers.unit_vector",), "enn_lib.layers.unit_vector does not exist"),
        ("code", ("enn_lib.layer.unit_vectors",), "enn_lib.layer.unit_vectors does not exist"),
        ("tests", ("enn_lib/test_layers.py::test_no",), "enn_lib/test_layers.py::test_no does not exist"),
        ("tests", ("test_nothing.py::test_nothing",), "test_nothing.py::test_nothing does not exist"),
        ("tests", ("conftest.py::small_run",), "conftest.py never names enn_lib.layers.unit_vectors"),
    ],
)
def test_a_hole_is_found(field, value, hole):
    whole = next(equation for equation in EQUATIONS if equation.number == "9")
    assert list(holes(whole)) == []
    assert hole in list(holes(replace(whole, **{field: value})))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Eq. 6 of the paper", {"6"}),
        ("(Eq. 3, 4 and 7 to 9)", {"3", "4", "7", "8", "9"}),
        ("Eqs. 16–18", {"16", "17", "18"}),
        (r"x = y. \tag{12}", {"12"}),
        ("Eq. A.1", {"A.1"}),
        ("equation 6, or section 3.2", set()),
        ("Eq. 60", {"60"}),
    ],
)
def test_what_a_page_mentions_is_read_from_its_text(text, numbers):
    assert mentioned(text) == numbers


def test_the_page_of_equations_has_a_section_for_each_page_with_all_its_equations_in_order():
    section = r"^## .* \((Eq\. .*)\)\n\n.* \{ref\}`(.*)`\.\n\n```\{glue:md\} equations-(.*)$"
    shown = [(page, name, mentioned(eqs)) for eqs, page, name in re.findall(section, PAGE, re.MULTILINE)]
    explained = [(page, {e.number for e in group}) for page, group in groupby(EQUATIONS, lambda e: e.page)]
    assert shown == [(page, page, numbers) for page, numbers in explained]


def test_an_equation_has_one_role_for_all_its_functions():
    assert [e.number for e in EQUATIONS if len(set(e.code.values())) > 1] == []


def test_every_role_is_needed():
    assert {role for equation in EQUATIONS for role in equation.code.values()} == set(ROLES)


def test_a_statement_that_a_symmetry_holds_is_obeyed_and_not_computed():
    statements = [e.number for e in EQUATIONS if "equivariant" in e.says or "keep" in e.says]
    assert statements == ["10", "11", "13", "19", "27", "35", "37"]
    roles = {e.number: set(e.code.values()) for e in EQUATIONS}
    assert all("obeys" in roles[n] and "computes" not in roles[n] for n in ["25", "26", *statements])


def test_a_dagger_says_what_the_code_changes():
    changed = {e.number: e.says.partition(" † ") for e in EQUATIONS if "†" in e.says}
    assert list(changed) == ["9", "17", "25", "26", "43"]
    assert all(says and change for says, _, change in changed.values())


def letters(formula: str) -> set[str]:
    """The Greek letters of a formula, and its words as indices."""
    greek = "alpha beta delta epsilon eta phi pi sigma xi mathcal{H} mathcal{U} Delta"
    names = "|".join(map(re.escape, greek.split()))
    return set(re.findall(rf"\\(?:{names})(?![a-z])|N_(?:s|\\text\{{\w+\}})", formula))


def test_the_table_of_symbols_has_the_greek_letters_and_the_counts_of_all_equations():
    table = PAGE.split("(symbols)=")[1].split("```")[0]
    assert letters(r"\delta_\alpha, N_s, \pi_a, N_\text{at}") == {
        r"\delta",
        r"\alpha",
        "N_s",
        r"\pi",
        r"N_\text{at}",
    }
    assert {letter for equation in EQUATIONS for letter in letters(equation.formula)} <= letters(table)


def test_an_entry_with_a_missing_or_an_unknown_key_is_named():
    with pytest.raises(ValueError, match=r"equation 9: got \['page', 'says'\], wanted"):
        Equation.read("9", {"says": "unit vectors", "page": "the-layer"})


def test_a_role_that_no_page_has_words_for_is_named():
    entry = {"formula": "x", "says": "y", "page": "the-layer", "code": {"enn_lib.layers.length": "holds"}}
    with pytest.raises(ValueError, match=r"equation 8: got \['holds'\], wanted computes, uses, obeys"):
        Equation.read("8", {**entry, "tests": []})


def broken_tags(text: str) -> list[str]:
    """Displayed equations of several lines with a tag: Sphinx puts them in ``split``, which allows none."""
    blocks = re.findall(r"\$\$(.*?)\$\$", text, re.DOTALL)
    return [block for block in blocks if "\\tag" in block and r"\\" in block]


@pytest.mark.parametrize("page", toc_pages())
def test_every_numbered_equation_can_be_shown(page):
    assert broken_tags((ROOT / f"{page}.md").read_text(encoding="utf-8")) == []


def test_a_tag_in_an_equation_of_several_lines_is_found():
    assert broken_tags("$$\na \\\\ b \\tag{1}\n$$")
    assert not broken_tags("$$\na = b \\tag{1}\n$$")
