"""Chromium for the tests of the built pages, which ask for the fixture `visit`.

The browser is the system's (``chromium`` on the path, or CHROMIUM), without a window. The pages are those
of the finished book, opened as files; BOOK_HTML names another folder, such as that of a preview.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from chromium import open_chromium
from pages import ROOT, toc_pages

HTML = Path(os.environ.get("BOOK_HTML", ROOT / "_build" / "html"))
"""The folder of the built pages."""

PAGES = [page for page in toc_pages() if "BOOK_HTML" not in os.environ or (HTML / f"{page}.html").exists()]
"""The pages to look at: all, or those that a preview has."""

DESKTOP, PHONE = (1280, 900), (390, 844)
"""Widths and heights of a window, in CSS pixels."""


@dataclass
class Visit:
    """A page as one reader has it open.

    Attributes:
        page: Playwright's page.
        errors: what the page complained of, on the console or by an exception.
        requests: the addresses it asked for that are no files of the book.
    """

    page: object
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def chromium():
    """One browser for all tests. Its processes end with the tests.

    A machine without Chromium fails here: a test that skips itself says nothing about the book.
    """
    with open_chromium() as browser:
        yield browser


@pytest.fixture
def visit(chromium):
    """A function that opens a page of the book, such as "book/live", and returns a `Visit`.

    Keywords: `size` of the window, `dark`, `reduced_motion` and `javascript`; the `folder` of the page, if it
    is none of the book. What is asked for outside of that is noted and refused.
    """

    def opened(
        name: str,
        *,
        size: tuple[int, int] = DESKTOP,
        dark: bool = False,
        reduced_motion: bool = False,
        javascript: bool = True,
        folder: Path = HTML,
    ) -> Visit:
        file = folder / f"{name}.html"
        assert file.exists(), f"{file}: no such page; say 'make book' first"
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce" if reduced_motion else "no-preference",
            java_script_enabled=javascript,
        )
        page = context.new_page()
        result = Visit(page)
        here = folder.resolve().as_uri() + "/"

        def refuse(route):
            result.requests.append(route.request.url)
            route.abort()

        context.route(lambda address: not address.startswith((here, "data:", "blob:")), refuse)
        page.on("console", lambda m: result.errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: result.errors.append(str(error)))
        page.goto(file.resolve().as_uri(), wait_until="load")
        return result

    yield opened
    for context in list(chromium.contexts):
        context.close()


def two_frames(page) -> None:
    """Let the page do what it has put off to the next frame."""
    page.evaluate("new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))")
