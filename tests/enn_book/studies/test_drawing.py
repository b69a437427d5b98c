"""The study of drawn batches: one power at a time, measured by the largest distance on validation data."""

from dataclasses import asdict

import numpy as np
import pytest
import torch

from enn_book.studies.drawing import study as drawing
from enn_book.studies.drawing.study import BASE, COLUMNS, EDGES, SEEDS, by_size, drawn, run_one
from enn_book.studies.study import load
from enn_lib.argon import ARGON, generate_data
from enn_lib.runs import load_run

SMALL = {"n_configurations": 200, "batch_size": 30, "iterations": 5, "compile": False}


class Off:
    """The true forces, each component too large by `amount` where two atoms are farther apart than 9 Å."""

    def __init__(self, amount):
        self.amount = amount

    def forces(self, positions):
        """Forces, eV/Å."""
        wide = torch.cdist(positions, positions).amax(dim=(-1, -2)) >= 9
        return ARGON.forces(positions) + self.amount * wide[:, None, None]


def test_a_training_differs_in_the_power_and_the_seeds_alone():
    different = {key for key, value in asdict(drawn(6.0, 1)).items() if value != asdict(BASE)[key]}
    assert different == {"sampling_power", "seed", "data_seed"}


def test_errors_are_those_of_configurations_by_their_largest_distance():
    data = generate_data(1000)
    rows = by_size([Off(0.1), Off(0.2)], data.train, data.validation)
    *bins, total = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    assert (total["from"], total["to"]) == (EDGES[0], EDGES[-1])
    assert bins[-1]["network"] == pytest.approx(0.1)
    assert bins[-1]["s4_average"] == pytest.approx(0.2)
    assert all(row["network"] < 1e-12 for row in bins[:-1])
    share = bins[-1]["validation"] / total["validation"]
    assert total["network"] == pytest.approx(0.1 * share**0.5)


def test_every_configuration_is_in_one_bin():
    data = generate_data(1000)
    rows = by_size([], data.train, data.validation)
    assert sum(row[3] for row in rows[:-1]) == rows[-1][3] == len(data.validation)


def test_the_test_part_is_not_looked_at(monkeypatch):
    data = generate_data(200)
    outcome = run_one(drawn(6.0, **SMALL))
    data.test.forces.fill_(float("nan"))
    monkeypatch.setattr(drawing, "generate_data", lambda *_: data)
    assert run_one(drawn(6.0, **SMALL)) == outcome


def test_a_training_that_diverges_is_not_measured():
    with pytest.raises(FloatingPointError, match="training diverged"):
        run_one(drawn(6.0, **SMALL | {"learning_rate": 1e30}))


@pytest.fixture(scope="module")
def shipped():
    """The tables of the study by seed by power."""
    return drawing.by_power(load("drawing"))


@pytest.fixture(scope="module")
def errors(shipped):
    """Over S4, by power (0, 4, 6, 8), seed and bin."""
    return np.array([[table["s4_average"] for table in tables.values()] for tables in shipped.values()])


@pytest.mark.parametrize("seed", SEEDS)
def test_the_bins_of_the_shipped_study_count_the_data(seed, shipped):
    data = generate_data(BASE.n_configurations, drawn(0.0, seed).data_seed)
    rows = by_size([], data.train, data.validation)
    for tables in shipped.values():
        assert tuple(tables[seed]) == COLUMNS
        assert list(zip(*(tables[seed][c] for c in COLUMNS[:4]), strict=True)) == rows


def test_the_verdict_of_the_readme_holds(errors):
    gains = errors[0] / errors[1:]  # of drawn batches over uniform ones
    for seed, limits in enumerate(((2.0, 3.1), (1.1, 1.3))):
        found = gains[:, seed, 0]
        assert (found.min(), found.max()) == pytest.approx(limits, abs=0.05)
    four, six, eight = gains[..., -1]
    assert four.min() > 1
    assert six.min() < 1 < six.max()
    assert eight.max() < 1 / 1.33


def test_the_powers_above_zero_cannot_be_told_apart_on_bound_clusters(errors):
    means, bound = errors.mean(axis=1), errors[1:, :, 0]
    assert means[0, 0] / means[1:, 0] == pytest.approx(1.6, abs=0.05)
    assert bound.min(axis=1).max() < bound.max(axis=1).min()
    _, four, six, _ = means[:, -1]
    assert four < six


def test_what_the_readme_says_of_its_size_holds(shipped):
    assert [shipped[0.0][seed]["validation"][0] for seed in SEEDS] == [97, 92]
    reference = load_run("reference")
    assert reference.config.sampling_power == 6
    gradients = BASE.iterations * BASE.batch_size
    assert gradients == 5_000_000
    assert reference.history["gradient_evaluations"][-1] == 45 * gradients
