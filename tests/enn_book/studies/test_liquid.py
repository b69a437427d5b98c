"""What is measured of a liquid, on motions whose answer is known, and the study at small size."""

import math

import pytest
import torch
from ase.build import bulk
from examples import normal

from enn_book.lectures.liquid import DENSITY, Sum, TruncatedLennardJones, crystal
from enn_book.studies.liquid import study
from enn_book.studies.liquid.analysis import (
    mean_square_displacement,
    of_blocks,
    peak_displacement,
    plus_minus,
    pooled,
    radial_distribution,
    slope,
    velocity_autocorrelation,
)
from enn_book.studies.liquid.study import (
    NETWORKS,
    STUDY,
    LiquidConfig,
    analytic,
    four_atoms,
    load_model,
    measured_in_motion,
    melted,
    piece,
    scaled_to,
    snapshots,
    temperature,
    temperature_of_centre,
    untrained,
)
from enn_lib.argon import ARGON_MASS, BOLTZMANN
from enn_lib.dynamics import ACCELERATION, kinetic_energy, thermal_velocities


def test_atoms_at_random_have_a_distribution_of_one():
    cell = 20.0 * torch.eye(3, dtype=torch.float64)
    positions = 20 * torch.rand(40, 200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    g = radial_distribution(positions, cell, torch.linspace(0, 9, 10, dtype=torch.float64))
    torch.testing.assert_close(g[2:] * 200 / 199, torch.ones(7, dtype=torch.float64), atol=0.03, rtol=0)


def test_a_crystal_has_its_neighbours_in_its_shells():
    """Twelve at the nearest distance of a cubic close packing, six at the root of two times that."""
    atoms = bulk("Ar", "fcc", a=5.0, cubic=True) * (3, 3, 3)
    edges = torch.linspace(0, 5.5, 12, dtype=torch.float64)
    g = radial_distribution(
        torch.from_numpy(atoms.positions)[None], torch.from_numpy(atoms.cell.array), edges
    )
    shells = 4 / 3 * math.pi * edges.pow(3).diff() * len(atoms) / atoms.get_volume()
    counts = torch.zeros(11, dtype=torch.float64)
    counts[[7, 10]] = torch.tensor([12.0, 6.0], dtype=torch.float64)
    torch.testing.assert_close(g * shells, counts)


def test_the_displacement_and_the_correlation_are_means_over_all_starts():
    x, lags = normal(30, 2, 5, 3), 12
    apart = [(x[k:] - x[: 30 - k]).square().sum(dim=-1).mean() for k in range(lags)]
    torch.testing.assert_close(mean_square_displacement(x, lags), torch.stack(apart))
    along = torch.stack([(x[k:] * x[: 30 - k]).sum(dim=-1).mean() for k in range(lags)])
    torch.testing.assert_close(velocity_autocorrelation(x, lags), along / along[0])


def test_the_slope_is_that_of_the_line():
    t = torch.arange(5, dtype=torch.float64)
    lines = torch.stack((2 + 3 * t, 1 - t), dim=1)
    torch.testing.assert_close(slope(t, lines), torch.tensor([3.0, -1.0], dtype=torch.float64))


def test_the_error_of_blocks_is_that_of_their_mean():
    mean, error = of_blocks(torch.tensor([1.0, 2.0, 3.0]))
    assert (mean.item(), error.item()) == (2.0, pytest.approx(1 / math.sqrt(3)))


def test_starts_are_pooled_as_independent_measurements():
    mean, error = pooled([torch.tensor(1.0), torch.tensor(3.0)], [torch.tensor(0.3), torch.tensor(0.4)])
    assert (mean.item(), error.item()) == (2.0, pytest.approx(0.25))


def test_a_mean_is_shown_to_the_digit_of_its_error():
    shown = plus_minus(torch.tensor(2.4313), torch.tensor(0.018))
    assert shown == "2.43_±_0.02".replace("_", "\N{NO-BREAK SPACE}")


def test_the_crystal_is_as_dense_as_rahman_s_liquid():
    positions, cell = crystal(6)
    grams = len(positions) * ARGON_MASS * 1.66053906660e-24
    assert len(positions) == 864
    assert grams / (torch.linalg.det(cell).item() * 1e-24) == pytest.approx(DENSITY)


def test_the_temperature_leaves_out_the_momentum():
    velocities = thermal_velocities(3, 32, temperature=50.0)
    torch.testing.assert_close(temperature(velocities), torch.full((3,), 50.0 * 32 / 31).double())
    torch.testing.assert_close(temperature(scaled_to(velocities, 80.0)), torch.full((3,), 80.0).double())


def test_the_motion_of_the_centre_is_no_temperature_but_has_one_of_its_own():
    velocities = thermal_velocities(2, 32, temperature=50.0)
    moving = velocities + torch.tensor([0.003, 0.0, 0.004])
    torch.testing.assert_close(temperature(moving), temperature(velocities))
    wanted = torch.tensor(32 * ARGON_MASS * 0.005**2 / ACCELERATION / (3 * BOLTZMANN)).double()
    torch.testing.assert_close(temperature_of_centre(moving), wanted.expand(2))


def test_atoms_that_are_carried_along_do_not_diffuse():
    class Wind:
        def forces(self, positions):
            return truth.forces(positions) + 1e-3

    truth, *start = melted("lj", 2, 1, 0)
    config = LiquidConfig("lj", "direct", 0, 0, 2, 1, 2.0)
    still, blown = (measured_in_motion(f, truth, start, truth.cell, config) for f in (truth, Wind()))
    assert blown["centre_K"][0] > 10 > still["centre_K"][0]
    assert blown["diffusion_of_blocks"] == pytest.approx(still["diffusion_of_blocks"], rel=1e-6)


def test_what_is_melted_has_the_temperature_and_is_no_crystal():
    field, positions, velocities = melted("lj", 2, 1, 0)
    assert isinstance(field, TruncatedLennardJones)
    assert temperature(velocities).item() == pytest.approx(94.4)
    moved = positions[0] - crystal(2)[0]
    assert (moved - moved.mean(dim=0)).norm(dim=-1).mean() > 1


def test_snapshots_come_with_the_forces_of_their_target(monkeypatch):
    monkeypatch.setattr(study, "MELTING", 0.5)
    positions, forces, cell = snapshots("lj", 3, 1)
    assert positions.shape == (4, 108, 3)
    torch.testing.assert_close(forces, analytic("lj", cell).forces(positions))
    assert isinstance(analytic("at", cell), Sum)


def test_a_thermostat_says_what_it_has_given():
    """Of the free flight of atoms too hot: it is what the kinetic energy has lost."""

    class Nothing:
        def forces(self, positions):
            return torch.zeros_like(positions)

    start = torch.zeros(2, 32, 3).double(), thermal_velocities(2, 32, temperature=200.0)
    config = LiquidConfig("lj", "analytic", thermostat=True)
    places, velocities, given = piece(Nothing(), *start, 50, config)
    assert places.shape == velocities.shape == (11, 2, 32, 3)
    change = (kinetic_energy(velocities[-1]) - kinetic_energy(velocities[0])).sum().item()
    assert given[-1].sum().item() == pytest.approx(change)
    assert (given.diff(dim=0) < 0).all()
    share = (temperature(velocities[1]) - 94.4) / (temperature(velocities[0]) - 94.4)
    torch.testing.assert_close(share, torch.full((2,), 0.95).double())


@pytest.fixture
def brief(monkeypatch):
    """Hardly anything melts, and few snapshots are taken."""
    monkeypatch.setattr(study, "MELTING", 0.5)
    monkeypatch.setattr(study, "snapshots", lambda target, seed, count=0: snapshots(target, seed, 2))
    monkeypatch.setattr(study, "four_atoms", lambda target, seed: four_atoms(target, seed, 40))


@pytest.mark.parametrize("model", NETWORKS)
def test_a_model_is_trained_simulated_and_read_back(model, tmp_path, brief, monkeypatch):
    others = {"vectors": "vectors.50.0", "scalars": "scalars.400.0", "four": "four.energy"}
    name = others.get(model, f"lj.{model}.0")
    monkeypatch.setattr(study, "KEPT", (name,))
    options = {"steps": 2, "picoseconds": 2.0, "cells": 3, "replicas": 1, "dt": 10.0}
    record = STUDY.repeat(tmp_path, names=[name], **options)[name]
    assert record["ended"] is None
    for kind in ("", "structure", "motion"):
        assert all(record.table(kind).values())
    positions, forces, cell = snapshots("lj", 2000, 2)
    error = load_model(record, cell).forces(positions) - forces
    at_94_kelvin = error.unflatten(0, (-1, 4))[:, :2].square().mean().sqrt().item()
    assert at_94_kelvin == pytest.approx(record["force_rmsd"], rel=1e-4)


def test_pairs_alone_miss_forces_of_three_atoms_and_need_no_simulation_to_say_so(tmp_path, brief):
    record = STUDY.repeat(tmp_path, names=["triples.pairs.0"])["triples.pairs.0"]
    assert 1.5e-4 < record["force_rmsd"] < 0.02 * record["truth_rms"], "of pairs alone they miss 5e-5"
    assert 0.02 < record["threes_rms"] / record["truth_rms"] < 0.03, "which Lennard-Jones lacks"
    assert "temperature" not in record.values


@pytest.mark.parametrize("moved", [0.003, -0.003])
def test_a_peak_that_is_moved_is_found_moved(moved):
    r = torch.linspace(2.5, 12, 191, dtype=torch.float64)

    def peak(at):
        return 1 + 2 * (-((r - at) ** 2) / 0.1).exp()

    found = peak_displacement(r, peak(3.7 + moved), peak(3.7), torch.full_like(r, 0.01))
    assert found.item() == pytest.approx(moved, rel=0.02)


def test_a_simulation_is_cut_into_blocks():
    truth, *start = melted("lj", 2, 1, 0)
    config = LiquidConfig("lj", "analytic", 0, 0, 2, 1, 2.0, blocks=4)
    found = measured_in_motion(truth, truth, start, truth.cell, config)
    assert (len(found["diffusion_of_blocks"]), found["ended_ps"]) == (4, 2.0)


def test_forces_that_throw_atoms_together_end_a_simulation_and_are_recorded(monkeypatch):
    class Attracting:
        def forces(self, positions):
            return 1e3 * (positions.mean(dim=-2, keepdim=True) - positions)

    truth, *start = analytic("lj", crystal(2)[1]), crystal(2)[0][None], thermal_velocities(1, 32)
    config = LiquidConfig("lj", "direct", 0, 0, 2, 1, 20.0)
    found = measured_in_motion(Attracting(), truth, start, crystal(2)[1], config)
    assert found["ended"].startswith("positions: got")


def test_the_cost_is_measured_of_every_program_on_the_same_atoms(tmp_path):
    record = STUDY.repeat(tmp_path, names=["cost.3"], repeats=1)["cost.3"]
    assert record["atoms"] == 108
    assert set(record["seconds_of_forces"]) >= {"analytic", "direct", "energy", "ase"}
    assert min(record["seconds_of_forces"].values()) > 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: analytic("nj", None), "target: got 'nj', wanted 'lj' or 'at'"),
        (lambda: untrained("linear"), "model: got 'linear', wanted one of energy"),
    ],
)
def test_an_unknown_name_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
