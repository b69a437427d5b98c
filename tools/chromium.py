"""The system's Chromium, without a window: it prints the book, and the tests read it there."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pages import PageError

if TYPE_CHECKING:
    from playwright.sync_api import Browser


PROGRAMS = (
    "chromium", "chromium-browser", "google-chrome",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
)  # fmt: skip
"""What the browser may be called."""


@contextmanager
def open_chromium() -> Iterator["Browser"]:
    """Start Chromium (one of `PROGRAMS`, or CHROMIUM), and end its processes afterwards.

    Raises:
        PageError: if there is none.
    """
    from playwright.sync_api import sync_playwright

    program = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        raise PageError(f"found none of {', '.join(PROGRAMS)}; install one, or say where it is with CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser
        finally:
            browser.close()
