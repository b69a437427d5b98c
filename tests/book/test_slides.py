"""``make slides``, as the page *Teaching* says it: the slides on a projector of 1280 x 720 pixels."""

import re
import subprocess

import pytest
from pages import ROOT
from slides import FOLDER, SIZE, plan

LABELS = [label for _, _, labels in plan() for label in labels]

SLIDES = """() => Reveal.getSlides().map((slide, number) => {
    Reveal.slide(number);
    const visible = element => !element.closest("mjx-assistive-mml, .notes");
    const boxes = [...slide.querySelectorAll("*")].filter(visible).map(e => e.getBoundingClientRect());
    return {
        heading: slide.querySelector("h1, h2").innerText,
        text: slide.querySelector(".jp-RenderedMarkdown").innerText,
        link: [...slide.querySelectorAll("a")].at(-1).href,
        pictures: [...slide.querySelectorAll("img")].map(image => image.naturalWidth * image.offsetHeight),
        right: Math.max(...boxes.map(box => box.right)),
        bottom: Math.max(...boxes.map(box => box.bottom)),
    };
})"""


@pytest.fixture(scope="module")
def shown(chromium):
    """What each slide shows, and what the deck asked for that is no file of its folder, or complained of."""
    (command,) = re.findall(
        r"^make slides$", (ROOT / "book" / "teaching.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    done = subprocess.run(command.split(), cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stdout + done.stderr
    page = chromium.new_page(viewport=dict(zip(("width", "height"), SIZE, strict=True)))
    wrong = []
    here = (FOLDER.as_uri(), "data:", "blob:")
    page.on("request", lambda r: None if r.url.startswith(here) else wrong.append(r.url))
    page.on("requestfailed", lambda request: wrong.append(request.url))
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.goto((FOLDER / "index.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    slides = page.evaluate(SLIDES)
    page.close()
    return slides, wrong


def test_the_slides_open_without_a_network_and_without_a_complaint(shown):
    _, wrong = shown
    assert wrong == []


def test_after_the_title_there_is_a_slide_for_all_that_the_plan_names(shown):
    (title, *slides), _ = shown
    assert "equivariant" in title["heading"]
    assert [slide["link"].partition("#")[2] for slide in slides] == LABELS


def test_every_slide_has_content_and_every_figure_is_there(shown):
    for label, slide in zip(LABELS, shown[0][1:], strict=True):
        assert len(slide["text"]) > len(slide["heading"]) + 60, label
        assert bool(slide["pictures"]) == label.startswith("fig-"), label
        assert all(size > 10_000 for size in slide["pictures"]), label


def test_no_formula_and_no_markup_is_left_as_it_is_written(shown):
    for slide in shown[0]:
        assert not re.search(r"\$|\\[a-z(]|\{[a-z:]+\}`|\*\*|…", slide["text"]), slide["heading"]


def test_nothing_stands_over_the_edge_of_a_slide(shown):
    for slide in shown[0]:
        assert slide["right"] <= SIZE[0], slide["heading"]
        assert slide["bottom"] <= SIZE[1], slide["heading"]
