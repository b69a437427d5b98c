"""``make pdf`` at small size: two pages become one PDF with an outline and with links that stay inside it."""

import re
from collections import Counter
from contextlib import nullcontext

import pytest
from chromium import open_chromium
from pages import ROOT, PageError
from pdf import make_pdf
from pypdf import PdfReader

PAGES = {
    "one": """<h1>Erste Seite<a class="headerlink" href="#">#</a></h1><p id="top">some words</p>
        <section id="later"><h2>Later</h2><a href="two.html#there">to there</a> <a href="two.html">to two</a>
        <a href="notes.html">not printed</a> <a href="https://example.org/">outside</a></section>""",
    "two": """<h1>Two</h1><p>some words</p><section id="there"><h2>There</h2>
        <a href="one.html#later">back</a></section><a href="#there">within</a>""",
}


@pytest.fixture
def book(tmp_path):
    """The built pages of a book of two chapters, the second heading of each on its second sheet."""
    html = tmp_path / "html"
    (html / "book").mkdir(parents=True)
    for name, text in PAGES.items():
        style = "@page { margin: 20mm } section { break-before: page } .headerlink { display: none }"
        body = f"<title>{name}</title><style>{style}</style><article>{text}</article>"
        (html / "book" / f"{name}.html").write_text(body, encoding="utf-8")
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: book/one\nchapters:\n- file: book/two\n", encoding="utf-8"
    )
    (tmp_path / "_config.yml").write_text("title: A book\nauthor: somebody\n", encoding="utf-8")
    (html / ".built").write_text("", encoding="utf-8")
    return tmp_path


@pytest.fixture
def printed(book, chromium) -> PdfReader:
    assert make_pdf(book / "html", book / "out" / "book.pdf", book, lambda: nullcontext(chromium)) == 4
    assert [path.name for path in (book / "out").iterdir()] == ["book.pdf"]
    return PdfReader(book / "out" / "book.pdf")


def links(reader: PdfReader) -> list[tuple[int, object]]:
    """Each link as the sheet it is on, and the sheet or the address that it leads to."""
    found = []
    for number, sheet in enumerate(reader.pages):
        for link in sheet.get("/Annots") or []:
            link = link.get_object()
            if "/Dest" in link:
                found.append((number, reader.get_page_number(link["/Dest"][0].get_object())))
            else:
                found.append((number, link["/A"]["/URI"]))
    return found


def test_chapters_follow_each_other_with_their_titles_and_numbers_on_every_sheet(printed):
    titles = ["Erste Seite"] * 2 + ["Two"] * 2
    for number, (sheet, title) in enumerate(zip(printed.pages, titles, strict=True), start=1):
        text = sheet.extract_text()
        assert title in text
        assert re.search(rf"^{number}$", text, re.MULTILINE), text[:80]
    assert printed.metadata.title == "A book"
    assert printed.metadata.author == "somebody"


def test_the_outline_has_the_chapters_and_their_headings_on_the_right_sheets(printed):
    first, in_first, second, in_second = printed.outline
    entries = [first, *in_first, second, *in_second]
    assert [entry.title for entry in entries] == ["Erste Seite", "Later", "Two", "There"]
    assert [printed.get_destination_page_number(entry) for entry in entries] == [0, 1, 2, 3]


def test_links_between_pages_become_links_inside_the_book_and_no_file_of_this_machine_is_named(printed):
    wanted = [(1, 3), (1, 2), (1, "https://example.org/"), (3, 1), (3, 3)]
    assert Counter(links(printed)) == Counter(wanted)


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (".built", "html: there is no finished book; say 'make book' first"),
        ("book/two.html", r"two\.html: no such page"),
    ],
)
def test_a_book_that_is_not_finished_or_lacks_a_page_is_not_printed(book, lost, message):
    (book / "html" / lost).unlink()
    with pytest.raises(PageError, match=message):
        make_pdf(book / "html", book / "book.pdf", book)
    assert not (book / "book.pdf").exists()


def test_without_chromium_one_is_told_what_is_missing(monkeypatch):
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(ROOT / "nowhere"))
    monkeypatch.setattr("chromium.PROGRAMS", ("chromium",))
    with pytest.raises(PageError, match=r"found none of chromium; install one"), open_chromium():
        pass
