"""The built book as a reader gets it: every page and figure, no broken link, nothing from elsewhere.

``make check-book`` runs this after ``make book``.
"""

import os
import re
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from links import address, targets
from pages import ROOT, lecture_pages, read_page, toc_pages
from student import student_notebook

HTML = ROOT / "_build" / "html"
PAGES = [f"{page}.html" for page in toc_pages()]
FILES = sorted(
    path.relative_to(HTML).as_posix()
    for path in HTML.rglob("*.html")
    if "_static" not in path.parts  # the theme leaves its templates there
)
STATIC = [path.relative_to(HTML).as_posix() for path in (HTML / "_static").rglob("*.css")]

every_page = pytest.mark.parametrize("page", PAGES)
every_file = pytest.mark.parametrize("file", FILES)


@pytest.fixture(autouse=True, scope="module")
def built():
    assert (HTML / ".built").exists(), "there is no finished book; say 'make book' first"


@cache
def soup(file: str) -> BeautifulSoup:
    return BeautifulSoup((HTML / file).read_text(encoding="utf-8"), "html.parser")


@cache
def anchors(file: str) -> set[str]:
    """The places in a file that a link can point at."""
    return {tag.get(key) for tag in soup(file).find_all(True) for key in ("id", "name")} - {None}


def article(page: str) -> Tag:
    """What the author wrote, without the theme's frame."""
    (main,) = soup(page).select("article.bd-article")
    return main


def prose(page: str) -> str:
    """The text of a page without its code, its results and its mathematics."""
    copy = BeautifulSoup(str(article(page)), "html.parser")
    for tag in copy.select("pre, code, script, .math"):
        tag.decompose()
    return copy.get_text()


def is_remote(address: str) -> bool:
    return address.startswith("//") or urlsplit(address).scheme in ("http", "https", "ftp", "ws", "wss")


@every_page
def test_every_page_of_the_table_of_contents_is_there_with_its_title(page):
    title = re.search(r"^# (.+)", (ROOT / page).with_suffix(".md").read_text(encoding="utf-8"), re.MULTILINE)
    words = re.findall(r"[a-z]{3,}", title.group(1).lower())
    assert words
    assert re.findall(r"[a-z]{3,}", article(page).h1.get_text().lower()) == words


@every_page
def test_every_page_can_be_reached_from_the_first(page):
    targets = {(HTML / PAGES[0]).parent / a["href"] for a in soup(PAGES[0]).select("nav a[href]")}
    assert (HTML / page).resolve() in {target.resolve() for target in targets} or page == PAGES[0]


@pytest.mark.parametrize(("before", "after"), list(pairwise(PAGES)))
def test_previous_and_next_follow_the_table_of_contents(before, after):
    assert soup(before).select_one("a.right-next")["href"] == os.path.relpath(after, Path(before).parent)
    assert soup(after).select_one("a.left-prev")["href"] == os.path.relpath(before, Path(after).parent)


def test_every_entry_of_the_bibliography_is_a_link_to_where_it_can_be_found():
    entries = article("book/references.html").select(".citation")
    assert entries
    for entry in entries:
        assert entry.select_one("a.external[href^=https]"), entry.get_text()


@every_page
def test_every_notebook_shows_results(page):
    notebook = read_page((ROOT / page).with_suffix(".md"))
    # Those of the page of equations are all in its text.
    assert notebook is None or article(page).select(".cell_output, details.enn-tests")


@every_page
def test_every_picture_says_in_words_what_it_shows(page):
    for image in article(page).find_all("img"):
        text = (image.get("alt") or "").strip()
        assert len(text.split()) >= 5, f"{image['src']} has the alternative text {text!r}"
        assert image.find_parent(class_="drawing") or Path(image["src"]).stem not in text
        assert not re.search(r"\.(png|svg|jpe?g)\b", text)


@every_page
def test_every_plot_is_a_numbered_figure_with_a_caption(page):
    for image in article(page).select(".cell_output img"):
        figure = image.find_parent("figure")
        assert figure, f"{image['src']} is no figure"
        assert figure.select_one("figcaption .caption-number"), figure["id"]
        assert figure.select_one("figcaption .caption-text").get_text().strip(), figure["id"]


@every_page
def test_every_notebook_opens_in_colab_and_binder_where_it_is_published(page):
    repository = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))["repository"]
    *_, owner, name = repository["url"].split("/")
    place, notebook = f"{owner}/{name}", Path(page).with_suffix(".ipynb").as_posix()
    wanted = {
        f"https://colab.research.google.com/github/{place}/blob/{repository['branch']}/{notebook}",
        f"https://mybinder.org/v2/gh/{place}/{repository['branch']}?urlpath=lab/tree/{notebook}",
    }
    links = {a["href"] for a in soup(page).select(".dropdown-launch-buttons a[href]")}
    assert links == (wanted if read_page((ROOT / page).with_suffix(".md")) else set())


@pytest.mark.parametrize("number", range(1, 8))
def test_every_figure_of_the_paper_is_in_the_book(number):
    found = [image for page in PAGES for image in article(page).select(f"figure#fig-paper-{number} img")]
    assert len(found) == 1


@every_file
def test_no_link_leads_nowhere(file):
    for tag in soup(file).find_all(["a", "link", "script", "img", "source", "iframe"]):
        address = tag.get("href") or tag.get("src") or ""
        if not address or is_remote(address) or urlsplit(address).scheme:
            continue
        path, place = unquote(urlsplit(address).path), unquote(urlsplit(address).fragment)
        target = (HTML / file).parent / path if path else HTML / file
        assert target.exists(), f"{address}: no such file"
        if place:
            name = target.resolve().relative_to(HTML.resolve()).as_posix()
            assert place in anchors(name), f"{address}: no such place"


@every_page
def test_no_reference_number_or_citation_is_left_open(page):
    for tag in article(page).select(".xref.std, .xref.myst, .xref.eq, .xref.doc, .xref.prf, .problematic"):
        assert tag.find_parent("a"), tag.get_text()
    role = re.search(r"\{[a-z:]+\}`?[\w-]+|\[\?+\]|\?\?\?", prose(page))
    assert not role, role.group()


@every_page
def test_no_page_shows_an_error(page):
    assert not article(page).select(".system-message, .output.traceback, .output.stderr")
    assert "Traceback (most recent call last)" not in article(page).get_text()


@every_file
def test_no_page_names_the_place_where_it_was_built(file):
    assert str(ROOT) not in (HTML / file).read_text(encoding="utf-8")


@every_file
def test_a_page_needs_nothing_from_elsewhere(file):
    """No script, style, font, picture or frame of another site: the book is whole without a network."""
    for tag in soup(file).find_all(True):
        for key in ("src", "srcset", "data", "poster", "background"):
            assert not is_remote(tag.get(key) or ""), tag
        if tag.name == "link" and tag.get("rel") != ["canonical"]:
            assert not is_remote(tag.get("href") or ""), tag
        if tag.name in ("script", "style"):
            assert not re.search(r"(?:https?:)?//[\w-]+\.\w+", tag.string or ""), tag


@pytest.mark.parametrize("file", STATIC)
def test_a_style_sheet_needs_nothing_from_elsewhere(file):
    text = (HTML / file).read_text(encoding="utf-8")
    for where in re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", text):
        assert not is_remote("".join(where)), where


@every_page
def test_mathematics_is_set_by_the_copy_of_mathjax_beside_the_pages(page):
    scripts = [tag["src"] for tag in soup(page).select("script[src]") if "mathjax" in tag["src"].lower()]
    assert bool(scripts) == bool(article(page).select(".math"))
    for script in scripts:
        folder = ((HTML / page).parent / script).parent
        assert list(folder.glob("output/chtml/fonts/woff-v2/MathJax_Main-Regular.woff"))


def test_what_a_notebook_links_to_is_a_place_of_the_book():
    for page in lecture_pages():
        for cell in student_notebook(read_page(ROOT / f"{page}.md"), page).cells:
            for file, anchor in re.findall(rf"\({address()}/([^)#]+)#?([^)]*)\)", cell.source):
                assert (HTML / file).exists(), file
                assert not anchor or anchor in anchors(file), f"{file}#{anchor}"


def test_an_equation_has_the_number_in_a_notebook_that_it_has_in_the_book():
    for label, (place, number) in targets().items():
        if label.startswith("eq-"):
            file = place.removeprefix(f"{address()}/").partition("#")[0]
            shown = soup(file).find("span", id=f"equation-{label}") or soup(file).find(id=f"equation-{label}")
            assert number in shown.get_text(), label


def test_the_search_knows_every_page():
    index = (HTML / "searchindex.js").read_text(encoding="utf-8")
    assert not [page for page in toc_pages() if f'"{page}"' not in index]
