"""Notebooks are whole away from the book: links, full citations, tables, folded set-up."""

import re
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from links import CITED, ROLE, address, cited, linked, references, targets, works
from markdown_cells import plain
from nbconvert import HTMLExporter
from pages import ROOT, code_cells, lecture_pages, read_page
from student import instructor_notebook, split, student_notebook

BOOK = f"{address()}/book"

every_lecture = pytest.mark.parametrize("page", lecture_pages())


def student_s(page):
    """The student's notebook of a page."""
    return student_notebook(read_page(ROOT / f"{page}.md"), page)


def named(names, text):
    """The names that stand in a text as words of their own."""
    return [name for name in names if re.search(rf"(?<![\w/#-]){re.escape(name)}(?![\w-])", text)]


def bare_keys(text):
    """The labels and the keys of works in a text; a label of one word, such as forces, is a word too."""
    return named([*works(), *(label for label in targets() if "-" in label and "term:" not in label)], text)


# References


def test_the_book_is_where_github_shows_the_one_public_address(tmp_path):
    (tmp_path / "_config.yml").write_text(
        "repository: {url: https://github.com/ada/engine}", encoding="utf-8"
    )
    assert address(tmp_path) == "https://ada.github.io/engine"


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("{ref}`the layer <the-layer>`", f"[the layer]({BOOK}/the-layer.html#the-layer)"),
        ("{ref}`a\nlayer <the-layer>`", f"[a\nlayer]({BOOK}/the-layer.html#the-layer)"),
        ("{ref}`energy`", f"[The energy error is the work of the force error]({BOOK}/energy.html#energy)"),
        ("{ref}`of <forces-net-force>`", f"[of]({BOOK}/forces.html#forces-net-force)"),
        ("{term}`Softening`", f"[Softening]({BOOK}/glossary.html#term-softening)"),
        ("{term}`O(2n) <O(n)>`", f"[O(2n)]({BOOK}/glossary.html#term-O-n)"),
        ("{numref}`fig-layer`", f"[this figure]({BOOK}/the-layer.html#fig-layer)"),
        ("{eq}`eq-symmetry-average`", f"[(B1)]({BOOK}/symmetry.html#equation-eq-symmetry-average)"),
        ("{prf:ref}`so <thm-layer>`", f"[so]({BOOK}/the-layer.html#thm-layer)"),
        ("{py:obj}`train <enn_lib.training.train>`", "train"),
        ("{ref}`words <nowhere>`", "words"),
        ("`{order}` and {order} are no references", "`{order}` and {order} are no references"),
    ],
)
def test_a_reference_is_a_link_to_the_published_page(text, link):
    assert linked(text) == link


def test_a_theorem_without_words_is_named_by_its_title():
    title = re.search(
        r"\{prf:theorem\} (.+)\n:label: thm-layer$",
        (ROOT / "book/the-layer.md").read_text(encoding="utf-8"),
        re.M,
    )
    assert linked("{prf:ref}`thm-layer` left out").startswith(f"[Theorem “{title[1]}”](")


def test_works_are_cited_by_authors_and_year_with_their_addresses():
    rahman = "https://doi.org/10.1103/PhysRev.136.A405"
    assert cited("rahman1964", in_text=False) == f"([Rahman, 1964]({rahman}))"
    assert cited("rahman1964", in_text=True) == f"[Rahman (1964)]({rahman})"
    both = linked("{cite}`ma2023, satorras2021`")
    assert both.startswith(
        "([Ma and Chan, 2022](https://doi.org/10.48550/arXiv.2208.12146); [Satorras et al., 2021]("
    )
    assert "[NVIDIA, 2020]" in cited("nvidia_a100", in_text=False)
    assert "[Schütt et al., 2021]" in cited("schutt2021", in_text=False)


def test_the_references_are_full_each_once_in_the_order_of_the_text():
    first, second = references("{cite}`rahman1964` {cite:t}`ma2023` {cite}`rahman1964`").splitlines()
    assert first.startswith("- Aneesur Rahman")
    assert "Correlations in the motion of atoms in liquid argon" in first
    assert "arXiv preprint" in second
    assert references("nothing") == ""


def test_equations_have_the_number_of_the_book():
    assert plain("$$\na\n$$ (eq-symmetry-average)\n", {}) == "$$\na \\tag{B1}\n$$\n"
    assert plain("$$ a $$ (eq-symmetry-pythagoras)", {}) == "$$ a \\tag{B2}\n$$"


def test_equations_are_counted_through_the_pages_of_a_book(tmp_path):
    (tmp_path / "_config.yml").write_text(
        "repository: {url: https://github.com/ada/engine}", encoding="utf-8"
    )
    (tmp_path / "_toc.yml").write_text("root: a\nchapters:\n- file: b\n", encoding="utf-8")
    (tmp_path / "a.md").write_text("$$\nx\n$$ (eq-x)\n\n$$\nw\n$$\n", encoding="utf-8")
    (tmp_path / "b.md").write_text("$$ y $$ (eq-y)\n\n$$ z $$ (eq-z)\n", encoding="utf-8")
    assert [number for _, number in targets(tmp_path).values()] == ["(B1)", "(B2)", "(B3)"]


def test_a_list_of_rows_is_a_table():
    rows = "* - Model\n  - What it\n    is\n* - ENN\n  - `a - b`\n"
    table = ":::{list-table} Models.\n:header-rows: 1\n:name: tab-x\n\n" + rows + ":::\n"
    assert plain(table, {}) == "**Models.**\n\n| Model | What it is |\n| --- | --- |\n| ENN | `a - b` |\n"


def test_a_picture_that_the_page_makes_is_in_its_notebook_or_else_a_link():
    text = "```{glue:figure} fan\n:name: fig-layer\n:alt: Three arrows\n\nThe *fan*.\n```"
    assert plain(text, {"fan.png": "iVBO"}) == "![Three arrows](attachment:fan.png)\n\n**Figure.** The *fan*."
    link = f"([See it in the book]({BOOK}/the-layer.html#fig-layer).)"
    assert plain(text, {}) == f"**Figure.** {link} The *fan*."


# Notebooks


@every_lecture
def test_nothing_in_the_text_of_a_notebook_is_a_key_or_a_directive(page):
    notebook = read_page(ROOT / f"{page}.md")
    for made in (student_notebook(notebook, page), instructor_notebook(notebook, page)):
        text = "\n\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
        words = re.sub(r"\]\([^)\s]*\)|\$\$[\s\S]*?\$\$|\$[^$]*\$|`[^`]*`", "]", text)
        assert bare_keys(words) == []
        assert not ROLE.search(text)
        assert not re.search(r"^:{3}|^\* - ", text, re.MULTILINE)


@every_lecture
def test_what_the_book_folds_is_folded_but_for_what_is_there_to_be_changed(page):
    for cell in code_cells(student_s(page)):
        tags = cell.metadata.get("tags", [])
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert folded == ("hide-input" in tags and "parameters" not in tags)


def test_answers_and_checks_are_known_by_their_labels_and_a_check_can_not_be_edited():
    cells = {
        c.metadata.nbgrader.grade_id: c for c in student_s("book/the-layer").cells if "nbgrader" in c.metadata
    }
    answer, check = cells["ex-layer-plane-answer"], cells["ex-layer-plane"]
    assert answer.source.startswith("J = None")
    assert (answer.metadata.editable, check.metadata.editable) == (True, False)
    assert (answer.metadata.nbgrader.solution, check.metadata.nbgrader.solution) == (True, False)
    assert (check.metadata.nbgrader.grade, check.metadata.nbgrader.points) == (True, 1)


@pytest.fixture(scope="module", params=["symmetry", "the-layer", "n-body"])
def shown(request):
    """A page as it is written, and its student's notebook as a browser shows it, without code."""
    path = ROOT / "book" / f"{request.param}.md"
    notebook = student_s(f"book/{path.stem}")
    soup = BeautifulSoup(HTMLExporter().from_notebook_node(nbformat.from_dict(notebook))[0], "html.parser")
    return path, soup.main


def test_a_rendered_notebook_begins_with_what_installs_it_and_the_address_of_its_page(shown):
    path, main = shown
    assert "pip" in main.select_one("pre").get_text()
    assert main.select_one("a")["href"] == f"{BOOK}/{path.stem}.html"


def test_a_rendered_notebook_has_links_where_the_page_has_references(shown):
    path, main = shown
    wanted = set(
        re.findall(
            r"\{ref\}`[^`<]*<([\w-]+)>`", path.read_text(encoding="utf-8").split("{solution-start}")[0]
        )
    )
    assert wanted
    assert wanted <= {a["href"].partition("#")[2] for a in main.select(f"a[href^='{BOOK}']")}


def test_a_rendered_notebook_has_full_references_for_all_that_it_cites(shown):
    path, main = shown
    prose = [cell.source for cell, solution in split(read_page(path)) if not solution]
    keys = {key.strip() for found in CITED.findall("\n".join(prose)) for key in found.split(",")}
    entries = main.find("h2", id="References").find_parent(class_="jp-Cell").select("li")
    assert len(entries) == len(keys) > 0
    for entry in entries:
        assert len(entry.get_text()) > 60
        assert re.search(r"\b(19|20)\d\d\b", entry.get_text())
        assert entry.a["href"].startswith("http")


def test_a_rendered_notebook_shows_no_key_and_no_markup(shown):
    _, main = shown
    copy = BeautifulSoup(str(main), "html.parser")
    for tag in copy.select("pre, code"):
        tag.decompose()
    text = copy.get_text()
    assert bare_keys(text) == []
    assert not re.search(r"\{(?:ref|cite|term|eq|glue:\w+|prf:ref)\}|:::|^\* - |\*\*", text, re.MULTILINE)


def test_a_rendered_table_is_a_table():
    table = ":::{list-table}\n:header-rows: 1\n\n* - Model\n  - Knows\n* - ENN\n  - O(3)\n:::"
    cell = nbformat.v4.new_markdown_cell(plain(table, {}))
    body, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    assert [td.get_text() for td in BeautifulSoup(body, "html.parser").select("table td")] == ["ENN", "O(3)"]


def test_the_page_on_teaching_has_links_too():
    text = plain((ROOT / "book" / "teaching.md").read_text(encoding="utf-8"), {})
    assert f"]({BOOK}/symmetry.html#symmetry)" in text
    assert not ROLE.search(text)
    assert Path("book/teaching.md").stem not in bare_keys(text)
