"""The picture of the first page shows what the force field does at every angle."""

import json
import math

import pytest
import torch
from bs4 import BeautifulSoup

from enn_book.live.turning import ARROW_LENGTH, turned_forces, turning_picture
from enn_lib import ARGON
from enn_lib.dynamics import PAPER_POSITIONS


class Wind:
    """A force that does not turn: one direction for all atoms, whatever the positions."""

    def forces(self, positions):
        return torch.tensor([0.2, 0.1, 0.0], dtype=positions.dtype).expand_as(positions)


def drawn(force_field, **options) -> BeautifulSoup:
    return BeautifulSoup(turning_picture(force_field, PAPER_POSITIONS, **options), "html.parser")


def ends(picture: BeautifulSoup, selector: str) -> torch.Tensor:
    """Begin and end of each line that a selector finds: (lines, 2, 2)."""
    lines = picture.select(selector)
    return torch.tensor([[[float(line[f"{axis}{end}"]) for axis in "xy"] for end in "12"] for line in lines])


def turned_on_paper(points: torch.Tensor, angle: float) -> torch.Tensor:
    """Points `(..., 2)` of a drawing, whose y points down, turned counter-clockwise."""
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return points @ torch.tensor([[c, -s], [s, c]])


def test_forces_are_predicted_anew_at_each_angle():
    predicted, carried = turned_forces(Wind(), PAPER_POSITIONS, 4)
    torch.testing.assert_close(predicted, Wind().forces(predicted))
    quarter = torch.tensor([-0.1, 0.2, 0.0], dtype=torch.float64)
    torch.testing.assert_close(carried[1], quarter.expand(4, 3))


def test_predicted_and_carried_forces_agree_for_an_equivariant_force_field():
    predicted, carried = turned_forces(ARGON, 0.8 * PAPER_POSITIONS, 7)
    torch.testing.assert_close(predicted, carried)


@pytest.mark.parametrize("angle", [0.0, 50.0, 350.0])
def test_as_it_stands_the_predicted_arrows_lie_on_those_that_were_turned_along(angle):
    picture = drawn(ARGON, angle=angle, n_angles=36)
    (group,) = picture.select(".turning-panel:nth-of-type(2) g.turns")
    assert group["transform"] == f"rotate({-angle:g})"
    carried = ends(picture, ".turning-panel:nth-of-type(2) g.turns line")
    predicted = ends(picture, ".predicted line")
    torch.testing.assert_close(turned_on_paper(carried, angle), predicted, atol=5e-3, rtol=0)


def test_a_force_field_that_does_not_turn_is_seen_not_to():
    picture = drawn(Wind(), angle=90, n_angles=4)
    carried = ends(picture, ".turning-panel:nth-of-type(2) g.turns line")
    predicted = ends(picture, ".predicted line")
    assert (turned_on_paper(carried, 90) - predicted).abs().max() > 0.5


def test_the_arrows_of_every_angle_are_the_forces_to_a_thousandth():
    data = json.loads(drawn(ARGON, n_angles=10).select_one("script").string)
    predicted, _ = turned_forces(ARGON, PAPER_POSITIONS, 10)
    wanted = ARROW_LENGTH * predicted[..., :2] * torch.tensor([1.0, -1.0])
    torch.testing.assert_close(torch.tensor(data["arrows"], dtype=torch.float64), wanted, atol=6e-4, rtol=0)


def test_without_a_script_there_are_words_for_each_drawing_and_no_dead_controls():
    picture = drawn(ARGON)
    labels = [drawing["aria-label"] for drawing in picture.select("svg[role=img]")]
    assert len(labels) == 2
    assert all(len(label.split()) >= 10 for label in labels)
    assert picture.select_one(".turning-controls").has_attr("hidden")


def test_no_angle_is_refused():
    with pytest.raises(ValueError, match="n_angles: got 0, wanted at least 1"):
        turning_picture(ARGON, PAPER_POSITIONS, n_angles=0)
