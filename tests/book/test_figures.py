"""The paper's seven figures can be found: on one page, from the first page, and from the README."""

import re

import pytest
from pages import ROOT

PAGE = (ROOT / "book" / "figures.md").read_text(encoding="utf-8")
SECTIONS = dict(
    re.findall(r"^\(figure-again-(\d)\)=\n## (Figure[\s\S]*?)(?=^\(figure-|^## |\Z)", PAGE, re.MULTILINE)
)

every_figure = pytest.mark.parametrize("number", "1234567")


@every_figure
def test_a_figure_of_the_paper_has_a_section_with_picture_verdict_and_command(number):
    section = SECTIONS[number]
    assert section.startswith(f"Figure {number}: ")
    assert f"name: fig-again-{number}\n" in section
    assert f"FIGURES[{number}](drawn)" in section
    assert re.search(r"^\*\*Verdict\.\*\* \w", section, re.MULTILINE)
    assert section.rstrip().endswith(f"**Command.** `python -m enn_book reproduce --figure {number}`")


@every_figure
def test_the_verdict_on_a_figure_is_guarded_by_a_check(number):
    assert re.search(r"^ *assert ", SECTIONS[number], re.MULTILINE)


@every_figure
def test_a_figure_leads_to_the_page_where_it_is_drawn_large(number):
    (page,) = re.findall(r"\*\*Page\.\*\* \{ref\}`([\w-]+)`", SECTIONS[number])
    assert f"name: fig-paper-{number}\n" in (ROOT / "book" / f"{page}.md").read_text(encoding="utf-8")
    assert re.search(
        rf"^\| \{{ref\}}`{number} <figure-again-{number}>` \|.*\{{ref\}}`{page}` \|$", PAGE, re.MULTILINE
    )


def test_the_first_page_and_the_readme_lead_to_the_figures():
    assert "<figures>`" in (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    assert "book/figures.md" in (ROOT / "README.md").read_text(encoding="utf-8")
