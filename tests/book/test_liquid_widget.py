"""Two boxes of liquid in a real browser: they move, and are measured, as the library does it."""

import pytest
import torch
from browser import PHONE, two_frames
from liquid_box import liquid_field, liquid_start
from pages import ROOT

from enn_book.lectures.liquid import TruncatedLennardJones
from enn_book.live.widgets import liquid_widget
from enn_book.studies.liquid.analysis import radial_distribution
from enn_book.studies.liquid.study import DT, temperature
from enn_lib.dynamics import simulate

MODEL = "document.querySelector('[data-enn=liquid]').enn.model"
STATIC = ROOT / "book" / "_static"


@pytest.fixture(scope="module")
def fields():
    """Of the two boxes, the analytic one first."""
    learned = liquid_field()
    return TruncatedLennardJones(learned.cell), learned


@pytest.fixture
def show(visit, tmp_path, fields):
    """A function that opens a page with nothing but the two boxes; keywords are those of `visit`."""
    markup = liquid_widget(fields[1], *liquid_start(), instead="Look.")
    scripts = "".join(f"<script src='{file.name}'></script>" for file in sorted(STATIC.glob("enn-*.js")))
    for file in STATIC.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    head = f"<meta charset=utf-8><link rel=stylesheet href=widgets.css>{scripts}"
    (tmp_path / "liquid.html").write_text(f"<!doctype html>{head}<body>{markup}", encoding="utf-8")
    return lambda **options: visit("liquid", folder=tmp_path, **options)


def measured(page) -> tuple[list[float], torch.Tensor]:
    """Temperatures and radial distribution functions of the two boxes, ``(2, bins)``."""
    kelvin, g = page.evaluate(
        f"(() => {{ const a = {MODEL}.averages;"
        " return [a.map((x) => x.temperature), a.map((x) => x.curve.map((p) => p[1]))]; })()"
    )
    return kelvin, torch.tensor(g, dtype=torch.float64)


def moved(page, steps: int, what: str) -> torch.Tensor:
    """Go on by some steps, and return a number or numbers of each motion m."""
    found = page.evaluate(
        f"(steps) => {{ const model = {MODEL}; for (let k = 0; k < steps; k++) model.step();"
        f" return model.motions.map((m) => {what}); }}",
        steps,
    )
    return torch.tensor(found, dtype=torch.float64)


def test_the_page_computes_the_forces_of_both_boxes_as_the_library_does(show, fields):
    forces = moved(show().page, 0, "[...m.forces]")
    for shown, field in zip(forces, fields, strict=True):
        wanted = field.forces(liquid_start()[0])
        error = (shown.reshape(-1, 3) - wanted).abs().max()
        assert error < 1e-12 * wanted.abs().max()


def test_the_page_computes_the_energy_of_the_library(show, fields):
    energy = moved(show().page, 0, f"{MODEL}.potential.energy(m.positions)")[0].item()
    assert energy == pytest.approx(fields[0].energy(liquid_start()[0]).item(), rel=1e-12)


def test_both_boxes_move_as_in_the_library(show, fields):
    places = moved(show().page, 50, "[...m.positions]")
    for shown, field in zip(places, fields, strict=True):
        wanted = simulate(field, *(x[None] for x in liquid_start()), 50, DT, every=50)
        torch.testing.assert_close(shown.reshape(-1, 3), wanted.positions[-1, 0], rtol=0, atol=1e-9)


def test_the_analytic_box_keeps_its_energy_and_momentum(show):
    """An atom's kinetic energy is 12 meV; in 5 ps its total energy stays within a hundredth of one."""
    page = show().page
    what = f"[m.energy({MODEL}.potential), ...[0, 1, 2].map((c) => m.velocities.filter((_, k) => k % 3 === c)"
    what += ".reduce((sum, v) => sum + v))]"
    states = torch.stack([moved(page, steps, what)[0] for steps in (0, *[50] * 10)])
    assert (states - states[0])[:, 0].abs().max() < 108 * 1e-5
    assert (states - states[0])[:, 1:].abs().max() < 1e-14


def test_temperatures_and_structures_are_the_means_of_the_library(show, fields):
    page = show().page
    moved(page, 50, "0")
    kelvin, g = measured(page)
    cell, edges = fields[1].cell, 0.1 * torch.arange(g.shape[1] + 1, dtype=torch.float64)
    assert fields[1].cell[0, 0] / 2 - edges[-1] < 0.1
    for k, field in enumerate(fields):
        path = simulate(field, *(x[None] for x in liquid_start()), 50, DT, every=5)
        assert kelvin[k] == pytest.approx(temperature(path.velocities).mean().item())
        torch.testing.assert_close(g[k], radial_distribution(path.positions, cell, edges))
    assert g.max() > 2


def test_play_goes_on_pause_stops_and_the_start_comes_back_with_its_averages(show):
    page = show().page
    before, steps = measured(page), f"{MODEL}.motions[1].steps"
    page.get_by_role("button", name="Play").click()
    page.wait_for_function(f"{steps} > 10")
    page.get_by_role("button", name="Pause").press("Enter")
    stopped = page.evaluate(steps)
    two_frames(page)
    assert page.evaluate(steps) == stopped
    assert f"{stopped / 100:.2f} ps." in page.locator(".enn-readout").inner_text()
    for k, kelvin in enumerate(measured(page)[0]):
        assert page.locator(".enn-title").nth(k).inner_text().endswith(f": {kelvin:.1f} K")
    page.get_by_role("button", name="Back to the start").click()
    assert page.evaluate(steps) == 0
    assert moved(page, 0, "[...m.positions]").equal(liquid_start()[0].flatten().expand(2, -1))
    after = measured(page)
    assert after[0] == before[0]
    assert after[1].equal(before[1])


def test_heat_and_cool_change_both_temperatures_by_a_quarter_and_begin_the_averages_anew(show):
    page = show().page
    velocities = moved(page, 7, "[...m.velocities]").unflatten(-1, (-1, 3))
    for name, factor in (("Heat", 1.25), ("Cool", 1.0)):
        page.get_by_role("button", name=name).click()
        wanted = factor * temperature(velocities)
        assert measured(page)[0] == pytest.approx(wanted.tolist())
        assert "the last 0.00 ps" in page.locator(".enn-readout").inner_text()


def test_the_boxes_complain_of_nothing_and_ask_for_nothing_and_fit_a_phone(show):
    opened = show(size=PHONE)
    page = opened.page
    page.get_by_role("button", name="Play").click()
    page.get_by_label("Speed", exact=True).select_option("4")
    page.wait_for_function(f"{MODEL}.motions[1].steps > 5")
    assert opened.errors == []
    assert opened.requests == []
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    left, right, curves = (canvas.bounding_box() for canvas in page.locator("canvas").all())
    assert left["y"] == right["y"], "side by side, and level"
    assert left["x"] + 150 < right["x"]
    assert 250 < curves["width"] <= PHONE[0]


def test_without_scripts_the_boxes_say_what_to_look_at(show):
    fallback = show(javascript=False).page.locator(".enn-fallback")
    assert fallback.is_visible()
    assert fallback.inner_text().endswith("Look.")
