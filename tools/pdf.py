"""One PDF of the book from its built pages, printed with Chromium and joined: ``make pdf``.

Each page is printed as a reader would print it (``book/_static/print.css``), with its title at the head
and the number of the sheet at the foot, and has its headings in the outline. A link from page to page,
which in the built book is the name of a file, becomes a link inside the PDF.

    python tools/pdf.py      _build/html -> _build/book.pdf
"""

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urldefrag

from chromium import open_chromium
from pages import ROOT, PageError, book_settings, toc_pages
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, Destination, DictionaryObject, Fit, NameObject

MATHEMATICS_IS_SET = "async () => { if (window.MathJax) await MathJax.startup.promise; }"

LINKS_TO_OTHER_FILES = """() => [...document.querySelectorAll("article a[href]")]
    .map(a => a.href).filter(href => href.startsWith("file:") && href.includes("#"))"""

HEADINGS = """() => [...document.querySelectorAll("article h2")].map(heading => {
    const text = heading.cloneNode(true);
    text.querySelectorAll(".headerlink").forEach(link => link.remove());
    return [heading.parentElement.id, text.textContent.trim()];
})"""
"""Chromium's own outline loses the space where a heading breaks into lines."""

NAME_PLACES = """places => {
    for (const place of places) {
        const link = document.createElement("a");
        link.href = "#" + place;
        link.hidden = true;
        document.body.append(link);
    }
}"""
"""Chromium gives a name in the PDF only to what the same page links to."""


@dataclass
class Chapter:
    """A built page, and then its sheets of paper.

    Attributes:
        file: the built page.
        title: its heading.
        headings: the place and the text of each heading in it.
        sheets: the printed page.
        first: the index of its first sheet in the whole.
    """

    file: Path
    title: str
    headings: list[tuple[str, str]]
    sheets: PdfReader
    first: int

    def place(self, name: str) -> tuple[int, float, float]:
        """Sheet, left and top (in points, from below) of the element called `name`; the start if none is."""
        found = self.sheets.named_destinations.get(f"/{name}") or self.sheets.named_destinations.get(name)
        if found is None:
            return self.first, 0.0, float(self.sheets.pages[0].mediabox.top)
        sheet = self.first + self.sheets.get_destination_page_number(found)
        return sheet, float(found.left), float(found.top)


def running_lines(title: str, number: int) -> str:
    """The style of a page's head and foot; its first sheet has the given number."""
    text = "font: 8pt sans-serif; color: #444;"
    return (
        f"@page {{ @top-right {{ content: {json.dumps(title, ensure_ascii=False)}; {text} }}"
        f" @bottom-center {{ content: counter(page); {text} }} }}"
        f" @page :first {{ counter-set: page {number}; }}"
    )


def print_pages(files: list[Path], chromium: Callable = open_chromium) -> list[Chapter]:
    """Print built pages, each beginning on a new sheet, numbered through."""
    chapters: list[Chapter] = []
    with chromium() as browser:
        page = browser.new_page()
        wanted: dict[Path, set[str]] = {file: set() for file in files}
        for file in files:
            page.goto(file.as_uri())
            for link in page.evaluate(LINKS_TO_OTHER_FILES):
                target, place = split_link(link)
                wanted.get(target, set()).add(place)
        for file in files:
            page.goto(file.as_uri())
            page.evaluate(MATHEMATICS_IS_SET)
            title, headings = page.inner_text("article h1").rstrip("#\n "), page.evaluate(HEADINGS)
            page.evaluate(NAME_PLACES, sorted(wanted[file] | {place for place, _ in headings}))
            first = chapters[-1].first + len(chapters[-1].sheets.pages) if chapters else 0
            page.add_style_tag(content=running_lines(title, first + 1))
            sheets = page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
            chapters.append(Chapter(file, title, headings, PdfReader(io.BytesIO(sheets)), first))
    return chapters


def split_link(address: str) -> tuple[Path, str]:
    """The file and the place in it that a file: address names."""
    path, place = urldefrag(address)
    return Path(unquote(path.removeprefix("file://"))), unquote(place)


def join(chapters: list[Chapter], title: str, author: str) -> PdfWriter:
    """All sheets in one PDF, the chapters and their headings in its outline, every link inside it."""
    book = PdfWriter()
    for chapter in chapters:
        book.append(chapter.sheets, import_outline=False)
        entry = book.add_outline_item(title=chapter.title, page_number=chapter.first, is_open=False)
        for place, heading in chapter.headings:
            sheet, left, top = chapter.place(place)
            book.add_outline_item(title=heading, page_number=sheet, parent=entry, fit=Fit.xyz(left, top))
    by_file = {chapter.file: chapter for chapter in chapters}
    for chapter in chapters:
        for sheet in book.pages[chapter.first : chapter.first + len(chapter.sheets.pages)]:
            links = [link.get_object() for link in sheet.get("/Annots") or []]
            kept = [link for link in links if aim(link, chapter, by_file, book)]
            if links:
                sheet[NameObject("/Annots")] = ArrayObject(kept)
    book.add_metadata({"/Title": title, "/Author": author})
    book.page_mode = "/UseOutlines"
    return book


def aim(link: DictionaryObject, chapter: Chapter, by_file: dict[Path, Chapter], book: PdfWriter) -> bool:
    """Point a link at a sheet of the book if it means one. False: it means a file that is not printed."""
    address = link.get("/A", {}).get("/URI")
    if address is None:
        target, place = chapter, str(link.get("/Dest", "")).removeprefix("/")
    elif address.startswith("file:"):
        file, place = split_link(address)
        target = by_file.get(file)
    else:
        return True
    if target is None:
        return False
    sheet, left, top = target.place(place)
    link.pop("/A", None)
    spot = Destination(place, book.pages[sheet].indirect_reference, Fit.xyz(left, top))
    link[NameObject("/Dest")] = spot.dest_array
    return True


def make_pdf(html: Path, target: Path, root: Path = ROOT, chromium: Callable = open_chromium) -> int:
    """Print the finished book in `html` to `target`; return the number of sheets.

    `chromium` gives the browser for the time of a ``with``; a process can start no second one.

    Raises:
        PageError: if there is no finished book, a page of it is missing, or there is no Chromium.
    """
    if not (html / ".built").exists():
        raise PageError(f"{html}: there is no finished book; say 'make book' first")
    files = [(html / f"{page}.html").resolve() for page in toc_pages(root)]
    for file in files:
        if not file.exists():
            raise PageError(f"{file}: no such page; say 'make book' first")
    settings = book_settings(root)
    book = join(print_pages(files, chromium), settings["title"], settings["author"])
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    with part.open("wb") as stream:
        book.write(stream)
    part.replace(target)
    return len(book.pages)


def main() -> None:
    """Run the command; the exit status is 1 if it fails."""
    target = ROOT / "_build" / "book.pdf"
    try:
        print(f"{make_pdf(ROOT / '_build' / 'html', target)} sheets are at {target}")
    except PageError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
