"""What the pages hand to their scripts: every number arrives, and a reader without scripts is told so."""

import base64
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from examples import biased_network
from liquid_box import liquid_field, liquid_start
from torch import nn

from enn_book.lectures.activations import VectorReLU
from enn_book.lectures.clusters import relax
from enn_book.lectures.descent import VALLEY_EXTENT, level_lines, valley
from enn_book.live.widgets import (
    descent_widget,
    liquid_widget,
    live_widget,
    network_data,
    packed,
    trajectories_widget,
    turn_widget,
    widget,
)
from enn_book.models.liquid import ForcesBesidePairs
from enn_book.models.rivals import Perceptron
from enn_lib import ENN, NetworkForceField
from enn_lib.argon import Scales, sample_positions
from enn_lib.dynamics import PAPER_POSITIONS, thermal_velocities
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer


def unpacked(text: str) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy())


def data_of(markup: str) -> dict:
    return json.loads(BeautifulSoup(markup, "html.parser").script.string)


@pytest.fixture
def field():
    """Of weights that are rounded to float32 already."""
    network = biased_network([6, 5, 4], softening=0.3, dtype=torch.float32).double()
    return NetworkForceField(network, Scales(4.5, 0.13))


def test_numbers_arrive_row_by_row_as_little_endian_float32():
    values = torch.tensor([[1.5, -2.0], [0.1, math.pi]])
    assert unpacked(packed(values)).equal(values.flatten())
    assert base64.b64decode(packed(torch.tensor([1.0]))) == b"\x00\x00\x80\x3f"


def test_a_part_that_is_alive_says_what_to_look_at_without_scripts():
    part = BeautifulSoup(widget("live", {"x": 1}, instead="Look <there>."), "html.parser")
    assert part.div["data-enn"] == "live"
    assert part.select_one("p.enn-fallback").get_text().endswith("Look <there>.")
    assert "needs JavaScript" in part.get_text()


def test_data_cannot_end_the_element_that_holds_it():
    markup = widget("live", {"x": "</script><b>"}, instead="Look.")
    assert data_of(markup) == {"x": "</script><b>"}
    assert "<b>" not in markup


def test_a_part_without_words_or_with_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="instead: got ' ', wanted a sentence"):
        widget("live", {}, instead=" ")
    with pytest.raises(ValueError, match="not JSON compliant"):
        widget("live", {"x": math.nan}, instead="Look.")


def test_a_network_arrives_with_every_weight_and_setting(field):
    data = network_data(field, "small")
    weights = torch.cat([layer.stacked.flatten() for layer in field.network.layers])
    assert unpacked(data.pop("weights")).double().equal(weights.detach())
    assert data == {
        "words": "small",
        "widths": (6, 5, 4),
        "a": 0.1,
        "softening": 0.3,
        "position_scale": 4.5,
        "force_scale": 0.13,
    }


def test_a_network_that_the_page_cannot_compute_is_refused(field):
    network = ENN([6, 5, 4], activation=VectorReLU())
    with pytest.raises(ValueError, match=r"field: got the activations .*VectorReLU.*, wanted VectorSoftsign"):
        network_data(NetworkForceField(network, field.scales), "small")


def test_the_live_part_has_its_networks_in_order_and_its_start_to_the_last_digit(field):
    runs = {word: SimpleNamespace(name=word[0], force_field=field) for word in ("one", "two")}
    velocities = thermal_velocities(3, seed=1)
    data = data_of(live_widget(runs, PAPER_POSITIONS, velocities, r_min=2.8, instead="Look."))
    assert [(name, n["words"]) for name, n in data["networks"].items()] == [("o", "one"), ("t", "two")]
    assert data["positions"] == PAPER_POSITIONS.flatten().tolist()
    assert torch.tensor(data["velocities"], dtype=torch.float64).reshape(3, 4, 3).equal(velocities)


def test_the_live_part_refuses_shapes_that_do_not_fit(field):
    runs = {"one": SimpleNamespace(name="one", force_field=field)}
    fit = {"runs": runs, "positions": PAPER_POSITIONS, "velocities": torch.zeros(2, 4, 3)}
    for wrong in {"runs": {}}, {"positions": PAPER_POSITIONS[None]}, {"velocities": torch.zeros(2, 3, 3)}:
        with pytest.raises(ValueError, match=r"runs, positions, velocities: got . runs, shapes"):
            live_widget(**(fit | wrong), r_min=2.8, instead="Look.")


def test_configurations_to_turn_are_shown_about_their_middle(field):
    configurations = sample_positions(2, seed=0)
    data = data_of(turn_widget(field, configurations, instead="Look."))
    shown = torch.tensor(data["configurations"], dtype=torch.float64).reshape(2, 4, 3)
    assert shown.mean(dim=1).abs().max() < 1e-12
    torch.testing.assert_close(shown - shown[:, :1], configurations - configurations[:, :1])


def test_an_ordinary_network_and_a_first_turn_go_along(field):
    ordinary, turn = Perceptron(width=5, depth=2), torch.eye(3).flip(0)
    data = data_of(
        turn_widget(field, sample_positions(1, seed=0), ordinary=ordinary, turn=turn, instead="Look.")
    )
    assert data["turn"] == turn.tolist()
    assert data["ordinary"]["widths"] == [18, 5, 5, 12]
    assert data["ordinary"]["position_scale"] == data["network"]["position_scale"]
    first = unpacked(data["ordinary"]["weights"])[: 18 * 5].reshape(5, 18)
    assert first.equal(ordinary.layers[0].weight.detach())


@pytest.mark.parametrize("shape", [(4, 3), (0, 4, 3), (2, 5, 3)])
def test_configurations_of_another_shape_are_refused(field, shape):
    with pytest.raises(ValueError, match="got shape"):
        turn_widget(field, torch.zeros(shape), instead="Look.")


def test_trajectories_arrive_by_their_labels():
    paths = {label: torch.randn(7, 4, 3) for label in ("analytic", "network", "S4")}
    data = data_of(trajectories_widget(paths, every=25, instead="Look."))
    assert list(data["paths"]) == list(paths)
    for label, path in paths.items():
        assert unpacked(data["paths"][label]).equal(path.flatten())
    assert (data["atoms"], data["every"]) == (4, 25)


def test_trajectories_that_do_not_fit_are_refused():
    path = torch.zeros(7, 4, 3)
    for paths in ({"a": path}, {"a": path, "b": path[1:]}, dict.fromkeys("abcd", path)):
        with pytest.raises(ValueError, match=r"paths: got shapes .*, wanted two or three"):
            trajectories_widget(paths, every=1, instead="Look.")


def test_a_descent_arrives_with_what_fire_did_in_every_step():
    start = torch.tensor([-1.3, 0.3], dtype=torch.float64)
    descent = relax(start, valley, order="semi_implicit", dt=0.02, dt_max=0.2, mass=1.0, max_steps=60)
    data = data_of(descent_widget(descent, instead="Look."))
    for name in ("positions", "energy", "dt", "power", "alpha"):
        assert unpacked(data[name]).equal(getattr(descent, name).flatten().float())
    assert descent.alpha.min() < 0.1 == descent.alpha[0]
    for level in data["levels"]:
        heights = valley(unpacked(level["line"]).reshape(-1, 2)).sqrt()
        assert (heights - level["height"]).abs().max() < 0.05
    assert len(data["levels"]) == len(level_lines(valley, VALLEY_EXTENT))


def test_the_end_of_a_descent_is_called_a_minimum_only_where_it_is_one():
    start = torch.tensor([-1.3, 0.3], dtype=torch.float64)
    for max_steps, word in ((5, "end"), (1000, "minimum")):
        descent = relax(start, valley, dt=0.02, dt_max=0.2, mass=1.0, max_steps=max_steps, tolerance=1e-3)
        assert data_of(descent_widget(descent, instead="Look."))["end"] == word


def test_a_descent_in_space_is_refused():
    path = relax(torch.ones(3), lambda x: x.square().sum(), max_steps=2)
    with pytest.raises(ValueError, match=r"relaxation: got positions of shape \(3, 3\)"):
        descent_widget(path, instead="Look.")


@pytest.fixture(scope="module")
def in_box():
    return liquid_field()


def test_a_liquid_arrives_with_every_weight_and_its_start_in_less_than_60_kb(in_box):
    start = liquid_start()
    markup = liquid_widget(in_box, *start, instead="Look.")
    assert len(markup) < 60_000
    data = data_of(markup)
    for name, values in zip(("positions", "velocities"), start, strict=True):
        assert unpacked(data[name]).double().equal(values.flatten())
    network, layers = in_box.network, in_box.network.layers
    parts = [*(x.stacked for x in layers), *(x.scalar_bias for x in layers)]
    parts += [network.readout, network.means, network.scales]
    weights = unpacked(data["network"].pop("weights")).double()
    assert weights.equal(torch.cat([part.detach().flatten() for part in parts]))
    radial = in_box.layer.radial
    assert data["network"] == {
        "widths": [20, 48, 48, 1],
        "a": 1.0,
        "softening": 0.3,
        "eta": radial.eta.tolist(),
        "centres": radial.centres.tolist(),
        "cutoff": 8.0,
        "descriptor_scales": in_box.descriptor_scales.tolist(),
        "force_scale": 0.001,
    }
    assert (data["side"], data["motion"]["dt"]) == (in_box.cell[0, 0].item(), 10.0)


def test_a_liquid_in_another_cell_is_refused(in_box):
    cube = torch.eye(3, dtype=torch.float64)
    oblong, oblique = cube.diag().mul(torch.tensor([20, 20, 21])).diag(), 20 * cube + 0.1
    for cell in (None, 15.9 * cube, oblong, oblique, 20 * cube.expand(1, 3, 3)):
        with pytest.raises(ValueError, match=r"field.cell: got .*, wanted a cube with sides of at least 16"):
            liquid_widget(in_box.in_cell(cell), *liquid_start(), instead="Look.")
    liquid_widget(in_box.in_cell(16 * cube), *liquid_start(), instead="Look.")


def test_a_start_of_a_liquid_that_does_not_fit_is_refused(in_box):
    positions, velocities = liquid_start()
    for start in ((positions.expand(2, -1, -1),) * 2, (positions[:1],) * 2, (positions, velocities[1:])):
        with pytest.raises(
            ValueError, match=r"positions, velocities: got shapes .*, wanted two of \(atoms, 3\)"
        ):
            liquid_widget(in_box, *start, instead="Look.")
    with pytest.raises(ValueError, match="velocities: got entries that are NaN or infinite, wanted finite"):
        liquid_widget(in_box, positions, velocities * math.nan, instead="Look.")
    with pytest.raises(ValueError, match=r"dt: got 0, wanted a positive time"):
        liquid_widget(in_box, positions, velocities, dt=0, instead="Look.")


def test_a_network_of_a_liquid_that_the_page_cannot_compute_is_refused(in_box):
    radial, activation = in_box.layer.radial, in_box.network.activation

    def network(kind=ForcesBesidePairs, **options):
        return replace(in_box, network=kind((20, 5, 1), **{"activation": activation, **options}))

    def layer(kind=CombinedGraphLayer, radial=radial, **options):
        return replace(in_box, layer=kind(radial, **options))

    other = GaussianRadial(radial.eta, radial.centres, 8.0, cutoff_function=lambda r, cutoff: 1 - r / cutoff)
    for field, words in (
        (layer(VectorGraphLayer), "got VectorGraphLayer and ForcesBesidePairs, wanted CombinedGraphLayer"),
        (network(ENN), "got CombinedGraphLayer and ENN, wanted CombinedGraphLayer and ForcesBesidePairs"),
        (network(scalar_bias="ones"), "got a network of n = 3, m = 1, scalar_bias = 'ones', wanted n = 3"),
        (network(m=2), "got a network of n = 3, m = 2, .*, wanted n = 3, m = 1 and a bias of its own"),
        (network(n=4), "got a network of n = 4, .*, wanted n = 3"),
        (network(activation=VectorReLU()), "got the activations .*VectorReLU.*, wanted VectorSoftsign"),
        (layer(out_features=20), "wanted a layer without weights or activation"),
        (layer(activation=nn.Tanh()), "wanted a layer without weights or activation"),
        (layer(radial=other), "got .*lambda.*, wanted polynomial_cutoff"),
    ):
        with pytest.raises(ValueError, match=rf"field: (?s:{words}|.*{words})"):
            liquid_widget(field, *liquid_start(), instead="Look.")
