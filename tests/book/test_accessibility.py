"""The built book in a real Chromium, for every reader: also with a keyboard, a screen reader, a phone.

axe-core looks for what keeps people out: too little contrast, controls without a name, regions that a
keyboard cannot reach, lists and tables that are none. ``make check-book`` runs this after ``make book``.
"""

from contextlib import suppress
from dataclasses import dataclass, fields

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser import PAGES, PHONE
from pdf import MATHEMATICS_IS_SET
from playwright.sync_api import TimeoutError

FORMULAS = """() => [...document.querySelectorAll("article .math")]
    .filter(formula => !formula.querySelector("mjx-container")).map(formula => formula.textContent)"""

ONE_OF_EACH = """() => {
    const met = new Set();
    for (const token of document.querySelectorAll("pre span, dt.sig span")) {
        const style = getComputedStyle(token);
        const ground = token.closest("pre, dt").parentElement.className;
        const key = [token.className, style.color, style.fontSize, style.fontWeight, ground].join();
        if (met.has(key)) token.style.visibility = "hidden";
        met.add(key);
    }
}"""
"""Hides the tokens of code that look like one before: contrast is measured for each look once, in a
fraction of the time."""

STICKING_OUT = """() => {
    const width = document.documentElement.clientWidth;
    if (document.scrollingElement.scrollWidth <= width) return [];
    const scrolls = box => box && box !== document.body
        && (getComputedStyle(box).overflowX !== "visible" || scrolls(box.parentElement));
    return [...document.querySelectorAll("main *")]
        .filter(box => box.getBoundingClientRect().right > width + 1 && !scrolls(box.parentElement))
        .map(box => box.outerHTML.slice(0, 120)).concat("the page is too wide").slice(0, 5);
}"""

UNREACHABLE = """() => [...document.querySelectorAll("main *")].filter(box => {
    const style = getComputedStyle(box);
    const scrolls = /auto|scroll/.test(style.overflowX) && box.scrollWidth > box.clientWidth + 1
        && box.clientWidth > 0;
    return scrolls && box.tabIndex < 0 && !box.querySelector("a[href], button, input, [tabindex='0']");
}).map(box => box.outerHTML.slice(0, 120))"""


@dataclass
class Seen:
    """What a browser says of a page; each list names what is wrong, and is empty if nothing is.

    Attributes:
        light, dark: serious and critical violations, in each of the two sets of colours.
        formulas: mathematics that is not set.
        sticking_out: what is wider than a phone.
        unreachable: what scrolls on a phone and cannot be reached with a keyboard.
    """

    light: list[str]
    dark: list[str]
    formulas: list[str]
    sticking_out: list[str]
    unreachable: list[str]


def violations(page, **options) -> list[str]:
    """One line for each serious or critical violation, with the first places where it is met."""
    found = Axe().run(page, options={"resultTypes": ["violations"], **options}).response["violations"]
    return [
        f"{v['id']}: {v['help']}: " + " | ".join(node["html"][:200] for node in v["nodes"][:3])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


SEEN: dict[str, Seen] = {}


@pytest.fixture
def seen(page, visit) -> Seen:
    """Each page is opened once, for all tests: light, then dark (only colours differ), then narrow."""
    if page not in SEEN:
        browser = visit(page, reduced_motion=True).page
        browser.evaluate(MATHEMATICS_IS_SET)
        formulas = browser.evaluate(FORMULAS)
        light = violations(browser, rules={"color-contrast": {"enabled": False}})
        browser.evaluate(ONE_OF_EACH)
        light += violations(browser, runOnly=["color-contrast"])
        browser.evaluate("document.documentElement.dataset.theme = 'dark'")
        dark = violations(browser, runOnly=["color-contrast"])
        browser.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        browser.wait_for_function("document.documentElement.clientWidth < 400")
        # The theme makes reachable what scrolls, a moment after a change of the width.
        with suppress(TimeoutError):
            browser.wait_for_function(f"({UNREACHABLE})().length === 0", timeout=5_000)
        out, unreachable = (browser.evaluate(script) for script in (STICKING_OUT, UNREACHABLE))
        SEEN[page] = Seen(light, dark, formulas, out, unreachable)
    return SEEN[page]


@pytest.mark.parametrize("fault", [field.name for field in fields(Seen)])
@pytest.mark.parametrize("page", [*PAGES, "search", "genindex"])
def test_a_page_keeps_nobody_out(seen, fault):
    assert getattr(seen, fault) == []


def test_the_search_finds_a_page_from_disk_and_complains_of_nothing(visit):
    opened = visit("search")
    opened.page.goto(opened.page.url + "?q=softsign")
    opened.page.get_by_text("Search finished").wait_for()
    assert opened.page.get_by_role("link", name="A lone arrow can only be rescaled", exact=True).count()
    assert opened.errors == []
