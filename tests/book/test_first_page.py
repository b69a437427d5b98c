"""The picture of the first page in a browser: it turns, stops on demand, and works without a script."""

import math

import pytest
from browser import two_frames

FIRST = "book/intro"
READING = ".turning output"


def state(page) -> tuple[str, list[float]]:
    """How the molecule is turned, and where the predicted arrows end."""
    turn = page.locator(".turning .turns").first.get_attribute("transform")
    return turn, page.eval_on_selector_all(
        ".turning .predicted line",
        "lines => lines.flatMap(l => [+l.getAttribute('x2'), +l.getAttribute('y2')])",
    )


def wait_until_it_turns(page) -> None:
    page.wait_for_function(
        "before => document.querySelector('.turning output').value !== before", arg=page.inner_text(READING)
    )


def assert_it_stands_still_until_play(page) -> None:
    still = state(page)
    two_frames(page)
    assert state(page) == still
    page.get_by_role("button", name="Play").click()
    wait_until_it_turns(page)


def test_the_picture_turns_until_it_is_stopped_and_then_goes_on(visit):
    page = visit(FIRST).page
    wait_until_it_turns(page)
    page.get_by_role("button", name="Pause").click()
    assert_it_stands_still_until_play(page)


def test_a_reader_who_wants_no_motion_gets_none_and_can_start_it(visit):
    assert_it_stands_still_until_play(visit(FIRST, reduced_motion=True).page)


def test_the_slider_turns_the_picture_by_the_keyboard_and_the_arrows_turn_with_it(visit):
    """The predicted arrows come from the data, angle by angle; here they are held to the turned ones."""
    page = visit(FIRST, reduced_motion=True).page
    slider = page.get_by_role("slider")
    slider.focus()
    page.keyboard.press("Home")
    _, ends = state(page)
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    turn, turned = state(page)
    angle = math.radians(float(page.inner_text(READING).rstrip("°")))
    assert angle > 0
    assert turn == f"rotate({-math.degrees(angle):g})"
    c, s = math.cos(angle), math.sin(angle)
    for i in range(0, len(ends), 2):
        x, y = c * ends[i] + s * ends[i + 1], c * ends[i + 1] - s * ends[i]
        assert turned[i : i + 2] == pytest.approx([x, y], abs=5e-3)


def test_without_a_script_the_picture_stands_and_shows_no_dead_controls(visit):
    page = visit(FIRST, javascript=False).page
    turn, ends = state(page)
    assert turn != "rotate(0)"
    assert len(ends) == 8
    assert page.locator(".turning svg").count() == 2
    assert not page.locator(".turning-controls").is_visible()
