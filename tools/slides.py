"""Slides for one class, made of the pages: ``make slides`` writes ``_build/slides/index.html``.

The plan of the class on the page *Teaching* is their list. Each reference in its last column is a slide: a
figure, theorem or exercise as its page has it, or of a whole page what to remember. The speaker's view (the
key S) has the rest of a row at the first of them, and what goes on the blackboard. nbconvert makes them a
deck of reveal.js, which lies beside it with MathJax, so that it opens without a network.
"""

import os
import re
import shutil
import sys
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import nbformat
from build_book import execute_stale
from links import ROLE, address, targets
from markdown_cells import DIRECTIVE, glued, plain
from nbconvert import SlidesExporter
from nbformat.v4 import new_markdown_cell, new_notebook
from pages import ENVIRONMENT, ROOT, PageError, book_settings, new_folder, read_page
from student import picture

FOLDER = ROOT / "_build" / "slides"
PLAN = "## One class of 90 minutes"

HEADING = re.compile(r"^#{1,2} (.+)$", re.MULTILINE)
REMEMBER = re.compile(r"^## What to remember\n([\s\S]*?)(?=^#|^[`:]{3}|\Z)", re.MULTILINE)

SIZE = (1280, 720)
"""Width and height of a slide, in CSS pixels."""


def plan(root: Path = ROOT) -> list[tuple[int, str, list[str]]]:
    """The rows of the plan: minutes, what is done, and the labels of what is shown."""
    text = (root / "book" / "teaching.md").read_text(encoding="utf-8")
    table = re.search(r"^\|.*\n\|[-|]+\n((?:\|.*\n)+)", text[text.index(PLAN) :], re.MULTILINE)[1]
    rows = [line.strip("|").split(" | ") for line in table.splitlines()]
    return [
        (int(minutes), what, [target or words for _, words, target in ROLE.findall(places)])
        for minutes, what, places in rows
    ]


def page_of(label: str, root: Path = ROOT) -> str:
    """The page on which a label stands.

    Raises:
        PageError: if there is none.
    """
    if label not in targets(root):
        raise PageError(f"the plan of the class: got {label}, wanted a label of some page")
    return targets(root)[label][0].removeprefix(f"{address(root)}/").partition(".html")[0]


def shown(notebook: nbformat.NotebookNode, label: str) -> tuple[str, str, dict[str, str]]:
    """The heading of a slide, its Markdown with MyST in it, and the pictures of a page that it may name.

    Raises:
        PageError: if nothing of this label can be shown.
    """
    heading, pictures = "", glued(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            about = cell.metadata.get("mystnb", {})
            if about.get("figure", {}).get("name") == label:
                pictures |= {
                    f"{label}.png": output.data["image/png"]
                    for output in cell.outputs
                    if "image/png" in output.get("data", {})
                }
                image = f"![{about['image']['alt'].strip()}](attachment:{label}.png)"
                return heading, f"{image}\n\n{about['figure']['caption'].strip()}", pictures
            continue
        for block in DIRECTIVE.finditer(cell.source):
            if re.search(rf"^:(?:label|name): {label}$", block[0], re.MULTILINE):
                above = HEADING.findall(cell.source[: block.start()])
                return above[-1] if above else heading, block[0], pictures
        if f"({label})=" in cell.source and (remember := REMEMBER.search(prose(notebook))):
            return HEADING.search(cell.source)[1], remember[1], pictures
        heading = (HEADING.findall(cell.source) or [heading])[-1]
    raise PageError(f"{label}: wanted a figure, a theorem, an exercise, or a page that says what to remember")


def prose(notebook: nbformat.NotebookNode) -> str:
    """The text of a notebook."""
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def slide(notebook: nbformat.NotebookNode, label: str) -> nbformat.NotebookNode:
    """What a page shows under a label, as a cell that is a slide.

    Raises:
        PageError: if there is no such thing, or it has no picture.
    """
    heading, text, values = shown(notebook, label)
    text = plain(text, values).replace("**Figure.** ", "").strip()
    if title := re.match(r"\*\*(.+?)\*\*\n\n", text):  # of a theorem or an exercise
        heading, text = title[1], text[title.end() :]
    names = re.findall(r"\(attachment:(\S+)\)", text)
    if label.startswith("fig-") and (not names or f"{label}.png" in set(names) - set(values)):
        raise PageError(f"{label}: the page has no picture of it")
    cell = new_markdown_cell(
        f"## {plain(heading, values)}\n\n{text}\n\n[In the book]({targets()[label][0]})",
        metadata={"slideshow": {"slide_type": "slide"}},
    )
    if names:
        cell.attachments = {name: picture(name, values) for name in names}
    return cell


def blackboard(notebook: nbformat.NotebookNode, label: str) -> str:
    """What the page has beside the thing of a label: a theorem's proof, or the equations of its summary."""
    text = prose(notebook)
    for theorem, proof in pairwise(DIRECTIVE.finditer(text)):
        if f":label: {label}\n" in theorem[0] and proof[2] == "prf:proof":
            return plain(proof[0], {})
    if f"({label})=" not in text:
        return ""
    named = [rf"\tag{{{number}}}" for number in re.findall(r"Eqs?\. (\d+)", REMEMBER.search(text)[1])]
    equations = re.findall(r"^\$\$\n[^$]+\$\$", text, re.MULTILINE)
    return "\n\n".join(equation for equation in equations if any(tag in equation for tag in named))


def deck(notebooks: dict[str, nbformat.NotebookNode]) -> nbformat.NotebookNode:
    """The slides of the plan as a notebook, from the pages with their results."""
    title = book_settings()["title"]
    first = f"# {title}\n\n[{address()}]({address()})\n\nText and figures: CC BY 4.0"
    cells = [new_markdown_cell(first, metadata={"slideshow": {"slide_type": "slide"}})]
    for minutes, what, labels in plan():
        slides = [slide(notebooks[page_of(label)], label) for label in labels]
        beside = [blackboard(notebooks[page_of(label)], label) for label in labels]
        note = "\n\n".join(filter(None, (f"{minutes} minutes. {plain(what, {})}", *beside)))
        slides.insert(1, new_markdown_cell(note, metadata={"slideshow": {"slide_type": "notes"}}))
        cells += slides
    return new_notebook(cells=cells, metadata={"title": title})


def write(slides: nbformat.NotebookNode, folder: Path) -> None:
    """Write the deck, and beside it the scripts and styles that it needs. An older one is replaced."""
    reveal = files("sphinx_revealjs") / "_static" / "revealjs"
    unused = shutil.ignore_patterns("*.map", "*.esm.js")
    exporter = SlidesExporter(
        template_file=str(Path(__file__).with_name("slides.html.j2")),
        reveal_url_prefix="reveal",
        reveal_theme="white",
        reveal_width=str(SIZE[0]),
        reveal_height=str(SIZE[1]),
    )
    html, _ = exporter.from_notebook_node(slides)
    with new_folder(folder) as part:
        for name in ("dist", "plugin/notes"):
            shutil.copytree(reveal / name, part / "reveal" / name, ignore=unused)
        shutil.copy(files("sphinx-mathjax-offline") / "static" / "mathjax" / "tex-svg-full.js", part)
        (part / "index.html").write_text(html, encoding="utf-8")


def main() -> None:
    """Write the slides; the exit status is 1 if that fails."""
    os.environ.update(ENVIRONMENT)
    try:
        pages = dict.fromkeys(page_of(label) for _, _, labels in plan() for label in labels)
        notebooks = {page: read_page(ROOT / f"{page}.md") for page in pages}
        execute_stale(notebooks)
        slides = deck(notebooks)
        write(slides, FOLDER)
    except PageError as error:
        sys.exit(f"error: {error}")
    print(f"the slides are at {FOLDER / 'index.html'}")


if __name__ == "__main__":
    main()
