"""The built book in a real browser: what is alive in its pages computes what the library computes."""

import base64
import json
import math
import re

import pytest
import torch
from browser import DESKTOP, HTML, PAGES, PHONE, two_frames
from bs4 import BeautifulSoup
from torch import Tensor
from torch.nn.utils import vector_to_parameters

from enn_book.lectures.clusters import relax
from enn_book.lectures.descent import valley
from enn_book.models.rivals import Perceptron
from enn_lib import ARGON, PermutationAverage, load_run, simulate
from enn_lib.argon import sample_positions
from enn_lib.dynamics import PAPER_POSITIONS, paper_initial_conditions, thermal_velocities

every_page = pytest.mark.parametrize("page", PAGES)
every_field = pytest.mark.parametrize(
    ("name", "average"), [(name, average) for name in ("softened", "reference") for average in (False, True)]
)


def part(kind: str) -> str:
    """What a live part shows to the tests, in JavaScript."""
    return f"document.querySelector('.enn-widget[data-enn={kind}]').enn"


LIVE = part("live")
POSITIONS = f"[...{LIVE}.model.motions[0].positions]"
WHERE = {"live": "live", "turn": "forces", "trajectories": "dynamics", "descent": "fire", "liquid": "liquid"}
"""The page of each live part."""

every_part = pytest.mark.parametrize("kind", WHERE)


def field_of(name: str, average: bool):
    """The library's force field for a choice of the page."""
    field = load_run(name).force_field
    return PermutationAverage(field) if average else field


@pytest.fixture
def live(visit):
    """The page "live", opened, and what it shows brought into sight."""
    opened = visit("book/live")
    opened.page.locator(".enn-widget").scroll_into_view_if_needed()
    return opened


def off(field, positions: list[float]) -> float:
    """The size of the error of the library's forces over that of the true ones."""
    places = tensor(positions).reshape(4, 3)
    true = ARGON.forces(places)
    return ((field.forces(places) - true).norm() / true.norm()).item()


def off_as_shown(page) -> float:
    """The same in per cent, as the page "live" writes it."""
    shown = re.search(r"off by ([\d.]+) %", page.locator(".enn-readout").inner_text())
    return float(shown[1])


def flat(positions: Tensor) -> list[float]:
    return positions.flatten().tolist()


def tensor(numbers: list) -> Tensor:
    """What the page computed, in its own precision."""
    return torch.tensor(numbers, dtype=torch.float64)


def drag(page, x: float, y: float, *, ground: bool = False) -> None:
    """Take hold of atom 1 of the analytic picture, or of its ground, move by so many pixels, and let go."""
    box = page.locator("canvas.enn-space").first.bounding_box()
    atom = page.evaluate(
        f"""() => {{ const {{ spaces, model }} = {LIVE};
        const at = spaces[0].project(ENN.atom(model.motions[0].positions, 0)); return [at.x, at.y]; }}"""
    )
    left, top = (5, 5) if ground else atom
    page.mouse.move(box["x"] + left, box["y"] + top)
    page.mouse.down()
    page.mouse.move(box["x"] + left + x, box["y"] + top + y, steps=3)
    page.mouse.up()


@every_page
def test_a_page_complains_of_nothing_and_asks_for_nothing_from_elsewhere(visit, page):
    opened = visit(page)
    two_frames(opened.page)
    assert opened.errors == []
    assert opened.requests == []


@every_page
def test_every_formula_of_a_page_is_one_that_mathjax_understands(visit, page):
    """It draws an error in a box, and an unknown command in red."""
    faults = "mjx-merror, mjx-mtext[style*=red], mjx-mstyle[style*=red]"
    misread = visit(page).page.evaluate(
        """async (faults) => { if (!document.querySelector('.math')) return [];
        await MathJax.startup.promise;
        return [...document.querySelectorAll(faults)].map((fault) => fault.closest('.math').innerHTML); }""",
        faults,
    )
    assert misread == []


@every_field
def test_the_page_computes_the_forces_of_the_library(live, name, average):
    positions = sample_positions(100, seed=77)
    forces = live.page.evaluate(
        f"([name, average, all]) => {{ const field = {LIVE}.model.field(name, average);"
        " return all.map((positions) => [...field(Float64Array.from(positions))]); }",
        [name, average, [flat(p) for p in positions]],
    )
    wanted = field_of(name, average).forces(positions)
    # eV/Å. Both compute in float64 from the same weights; the order of the sums differs.
    torch.testing.assert_close(tensor(forces).reshape(-1, 4, 3), wanted, rtol=0, atol=1e-12)


def test_the_page_computes_the_potential_of_the_library(live):
    positions = sample_positions(100, seed=77)
    energies, forces = live.page.evaluate(
        f"(all) => {{ const p = {LIVE}.model.potential; const flat = all.map((r) => Float64Array.from(r));"
        " return [flat.map((r) => p.energy(r)), flat.map((r) => [...p.forces(r)])]; }",
        [flat(p) for p in positions],
    )
    torch.testing.assert_close(tensor(energies), ARGON.energy(positions), rtol=1e-12, atol=0)
    torch.testing.assert_close(tensor(forces).reshape(-1, 4, 3), ARGON.forces(positions), rtol=0, atol=1e-13)


@every_field
def test_the_page_moves_the_atoms_as_the_library_does(live, name, average):
    velocities = thermal_velocities(1, seed=5)
    steps = 200
    places, energies = live.page.evaluate(
        f"""([name, average, positions, velocities, steps]) => {{
        const {{ model }} = {LIVE};
        Object.assign(model, {{ name, average }});
        model.begin(positions, velocities);
        for (let k = 0; k < steps; k++) model.step();
        const {{ motions, potential }} = model;
        return [motions.map((m) => [...m.positions]), motions.map((m) => m.energy(potential))];
        }}""",
        [name, average, flat(PAPER_POSITIONS), flat(velocities), steps],
    )
    for k, field in enumerate((ARGON, field_of(name, average))):
        moved = simulate(field, PAPER_POSITIONS[None], velocities, steps)
        shown = tensor(places[k]).reshape(4, 3)
        torch.testing.assert_close(shown, moved.positions[-1, 0], rtol=0, atol=1e-10)
        assert abs(energies[k] - moved.total_energy()[-1, 0].item()) < 1e-12


def test_a_drag_moves_the_atom_and_the_forces_that_are_shown(live):
    page = live.page
    before = page.evaluate(POSITIONS)
    drag(page, 40, -25)
    analytic, network = page.evaluate(f"{LIVE}.model.motions.map((m) => [...m.positions])")
    assert analytic == network
    moved = [abs(a - b) > 1e-3 for a, b in zip(analytic, before, strict=True)]
    assert any(moved[:3])
    assert not any(moved[3:])
    assert off_as_shown(page) == pytest.approx(100 * off(load_run("softened").force_field, analytic), rel=0.1)


@every_field
@pytest.mark.parametrize("distance", [2.5, 2.7, 18.0])
def test_the_slider_pulls_two_atoms_apart_and_says_how_far_the_forces_are_off(live, name, average, distance):
    page = live.page
    page.get_by_label("Network", exact=True).select_option(name)
    page.get_by_label("average over S4").set_checked(average)
    before = tensor(page.evaluate(POSITIONS)).reshape(4, 3)
    page.get_by_label("Atoms 1 and 3", exact=True).fill(str(round(400 * math.log10(distance / 2))))
    positions = page.evaluate(POSITIONS)
    after = tensor(positions).reshape(4, 3)
    torch.testing.assert_close(after[1:], before[1:])
    assert (after[0] - after[2]).norm().item() == pytest.approx(distance, rel=0.003)
    wanted = 100 * off(field_of(name, average), positions)
    assert off_as_shown(page) == pytest.approx(wanted, rel=0.02, abs=0.6)
    assert ("so near" in page.locator(".enn-readout").inner_text()) == (distance < 2.8)
    for place, share in page.evaluate(f"{LIVE}.model.curve")[::20]:
        apart = after.clone()
        apart[0] = after[2] + place * (after[0] - after[2]) / (after[0] - after[2]).norm()
        assert share == pytest.approx(100 * off(field_of(name, average), flat(apart)), rel=1e-6)


def test_a_drag_of_the_ground_turns_the_view_and_no_atom(live):
    shown = f"[{POSITIONS}, {LIVE}.spaces[0].camera.turn]"
    positions, turn = live.page.evaluate(shown)
    drag(live.page, 55, 35, ground=True)
    after, turned = live.page.evaluate(shown)
    assert after == positions
    assert turned != turn


def test_play_goes_on_and_pause_stops(live):
    page = live.page
    steps = f"{LIVE}.model.motions[1].steps"
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{steps} > 20")
    page.get_by_role("button", name="Pause").click()
    stopped = page.evaluate(steps)
    two_frames(page)
    assert page.evaluate(steps) == stopped
    assert f"{stopped} fs." in page.locator(".enn-readout").inner_text()


def test_a_reader_with_a_keyboard_can_do_the_same(live):
    page = live.page
    page.get_by_label("Arrow keys move", exact=True).select_option("2")
    before = page.evaluate(POSITIONS)
    page.locator("canvas.enn-space").first.press("ArrowRight")
    moved = tensor(page.evaluate(POSITIONS)) - tensor(before)
    assert moved[6:9].norm().item() == pytest.approx(0.1)
    assert moved.norm().item() == pytest.approx(0.1)
    page.get_by_role("button", name="Step").press("Enter")
    assert page.evaluate(f"{LIVE}.model.motions[0].steps") == 10


def test_a_live_part_complains_of_nothing_and_asks_for_nothing_while_it_is_used(live):
    page = live.page
    page.get_by_role("button", name="Play").click()
    for name in ("reference", "softened"):
        page.get_by_label("Network", exact=True).select_option(name)
        page.get_by_label("average over S4").click()
        page.get_by_role("button", name="Play").click()
        page.wait_for_function(f"{LIVE}.model.motions[1].steps > 5")
    drag(page, -200, 0)
    assert live.errors == []
    assert live.requests == []


def test_turned_atoms_have_turned_forces_and_renumbered_ones_only_on_the_average(visit):
    """The page asks the network again for every turn; it does not turn the arrows."""
    opened = visit("book/forces")
    page, canvas = opened.page, opened.page.locator("[data-enn=turn] canvas")
    defect = f"{part('turn')}.defect()"
    start = page.evaluate(f"[...{part('turn')}.positions()]")
    for key in ("ArrowRight", "ArrowUp", "ArrowRight"):
        canvas.press(key)
    page.get_by_role("button", name="Mirror").click()
    shown = f"[[...{part('turn')}.positions()], [...{part('turn')}.forces().network]]"
    positions, forces = page.evaluate(shown)
    before, after = (tensor(r).reshape(4, 3) for r in (start, positions))
    assert (before - after).abs().max() > 0.1
    torch.testing.assert_close(before @ before.T, after @ after.T)
    field = load_run("reference").force_field
    torch.testing.assert_close(tensor(forces).reshape(4, 3), field.forces(after), rtol=0, atol=1e-12)
    assert page.evaluate(defect) < 1e-12
    page.get_by_role("button", name="Swap").click()
    assert page.evaluate(defect) > 1e-7
    positions, forces = (tensor(r).reshape(4, 3) for r in page.evaluate(shown))
    torch.testing.assert_close(positions, after[[1, 0, 2, 3]])
    torch.testing.assert_close(forces, field.forces(positions), rtol=0, atol=1e-12)
    page.get_by_label("average over S4").click()
    assert page.evaluate(defect) < 1e-12
    assert opened.errors == []


def test_the_trajectories_in_space_are_those_of_the_library_and_the_slider_moves_along_them(visit):
    page = visit("book/dynamics").page
    paths, every = page.evaluate(
        f"""() => [{part("trajectories")}.paths.analytic.slice(0, 11).map((r) => [...r]),
        JSON.parse(document.querySelector('[data-enn=trajectories] script').textContent).every]"""
    )
    wanted = simulate(ARGON, *paper_initial_conditions(1, seed=0), 10 * every, every=every).positions[:, 0]
    torch.testing.assert_close(tensor(paths).reshape(-1, 4, 3), wanted, rtol=0, atol=1e-6)
    readout = page.locator("[data-enn=trajectories] .enn-readout")
    slider = page.get_by_label("Time", exact=True)
    slider.press("Home")
    assert readout.inner_text() == "Step 0. The atoms are apart by 0.00, 0.00, 0.00, 0.00 Å."
    slider.press("ArrowRight")
    assert readout.inner_text().startswith(f"Step {every}.")
    slider.press("End")
    far = readout.inner_text()
    page.get_by_label("Predicted by", exact=True).select_option("S4 average")
    assert readout.inner_text() != far


def test_the_descent_steps_from_stop_to_stop_with_the_numbers_of_fire(visit):
    page = visit("book/fire").page
    start = torch.tensor([-1.3, 0.3], dtype=torch.float64)
    descent = relax(start, valley, order="ase", tolerance=1e-3, max_steps=400, dt=0.02, dt_max=1.0, mass=1.0)
    for name in ("dt", "power", "alpha", "energy"):
        shown = tensor(page.evaluate(f"[...{part('descent')}.columns.{name}]"))
        torch.testing.assert_close(shown, getattr(descent, name), rtol=1e-6, atol=1e-9)
    within = page.locator("[data-enn=descent]")
    readout = within.locator(".enn-readout")
    within.get_by_role("button", name="Next", exact=True).click()
    assert readout.inner_text().startswith("Step 1. Energy")
    for stop in (descent.power < 0).nonzero().flatten()[:2].tolist():
        within.get_by_role("button", name="Next stop").click()
        assert readout.inner_text().startswith(f"Step {stop}, stopped.")
    within.get_by_role("button", name="Previous").click()
    assert readout.inner_text().startswith(f"Step {stop - 1}. ")


@every_part
def test_a_live_part_moves_only_in_leaps_for_who_wants_less_motion(visit, kind):
    """Nothing moves unasked, and what is asked for moves at most every half second."""
    page = visit(f"book/{WHERE[kind]}", reduced_motion=True).page
    page.evaluate(
        """() => { window.drawn = 0; const old = CanvasRenderingContext2D.prototype.clearRect;
        CanvasRenderingContext2D.prototype.clearRect = function (...a) { drawn++; old.apply(this, a); }; }"""
    )
    root = page.locator(f"[data-enn={kind}]")
    root.scroll_into_view_if_needed()
    two_frames(page)
    page.evaluate("window.drawn = 0")
    two_frames(page)
    assert page.evaluate("drawn") == 0
    page.evaluate(
        """() => { window.asked = 0; const next = window.setTimeout;
        window.setTimeout = (f, ms, ...a) => ms === 500 ? (asked++, 0) : next(f, ms, ...a); }"""
    )
    root.get_by_role("button", name="Play").click()
    two_frames(page)
    assert page.evaluate("asked") == 1
    root.get_by_role("button", name="Pause").click()


@every_part
def test_without_scripts_a_live_part_says_what_to_look_at_and_a_figure_is_there(visit, kind):
    opened = visit(f"book/{WHERE[kind]}", javascript=False)
    fallback = opened.page.locator(f"[data-enn={kind}] .enn-fallback")
    assert fallback.is_visible()
    assert "needs JavaScript" in fallback.inner_text()
    figure = {
        "live": "live-start",
        "turn": "forces-space",
        "trajectories": "dynamics-space",
        "descent": "fire-frames",
        "liquid": "liquid-same",
    }
    assert opened.page.locator(f"figure#fig-{figure[kind]} img").is_visible()


def test_on_the_first_page_the_ordinary_network_is_asked_again_for_every_turn(visit):
    page = visit("book/intro").page
    data = json.loads(page.locator("[data-enn=turn] script").text_content())["ordinary"]
    ordinary = Perceptron(width=data["widths"][1], depth=len(data["widths"]) - 2).double()
    weights = torch.frombuffer(bytearray(base64.b64decode(data["weights"])), dtype=torch.float32)
    vector_to_parameters(weights.double(), ordinary.parameters())
    shown = f"[[...{part('turn')}.positions()], [...{part('turn')}.forces().ordinary]]"
    far = []
    for name in ("As in the examples", "Mirror"):
        page.get_by_role("button", name=name).click()
        positions, forces = (tensor(r).reshape(4, 3) for r in page.evaluate(shown))
        wanted = data["force_scale"] * ordinary(positions / data["position_scale"]).detach()
        torch.testing.assert_close(forces, wanted, rtol=0, atol=1e-12)
        far.append((forces - ARGON.forces(positions)).norm() / ARGON.forces(positions).norm())
        assert f"ordinary network {100 * far[-1]:.0f} %" in page.locator(".enn-readout").inner_text()
    assert far[1] > 2 * far[0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize("name", ["intro", "live"])
def test_these_pages_are_alive_on_their_first_screen(visit, name, size):
    page = visit(f"book/{name}", size=size).page
    canvas = page.locator("canvas.enn-space").bounding_box()
    assert canvas["y"] + canvas["height"] < size[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert page.locator(".enn-widget").evaluate("(element) => element.scrollWidth <= element.clientWidth")


def test_on_paper_and_without_scripts_the_first_page_has_a_picture_that_stands_still(visit):
    still = visit("book/intro").page.locator(".enn-still")
    assert not still.is_visible()
    still.page.emulate_media(media="print")
    assert still.is_visible()
    assert visit("book/intro", javascript=False).page.locator(".enn-still").is_visible()


@every_part
def test_a_live_part_fits_a_phone(visit, kind):
    opened = visit(f"book/{WHERE[kind]}", size=PHONE)
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    root = opened.page.locator(f"[data-enn={kind}]")
    assert root.evaluate("(element) => element.scrollWidth <= element.clientWidth")
    for canvas in root.locator("canvas").all():
        is_one_of_two = "enn-box" in canvas.get_attribute("class")
        assert (150 if is_one_of_two else 250) < canvas.bounding_box()["width"] <= PHONE[0]


@every_part
def test_a_live_part_takes_the_colours_of_the_theme(visit, kind):
    grounds = [
        visit(f"book/{WHERE[kind]}", dark=dark).page.evaluate(
            "getComputedStyle(document.querySelector('.enn-widget')).backgroundColor"
        )
        for dark in (False, True)
    ]
    assert grounds == ["rgb(255, 255, 255)", "rgb(20, 24, 30)"]


@every_part
def test_in_the_dark_a_live_part_has_no_pale_frame(visit, kind):
    ground = visit(f"book/{WHERE[kind]}", dark=True).page.evaluate(
        "getComputedStyle(document.querySelector('.text_html:has(.enn-widget)')).backgroundColor"
    )
    assert ground == "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("page", ["book/intro", "book/forces", "book/dynamics", "book/fire"])
def test_the_data_of_a_live_part_is_small(page):
    parts = BeautifulSoup((HTML / f"{page}.html").read_text(encoding="utf-8"), "html.parser").select(
        ".enn-widget"
    )
    assert 0 < sum(len(str(p)) for p in parts) < 300_000
