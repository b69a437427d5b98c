"""The data of ammonia: what physics says of them, that they are what was made, and how they are made."""

import hashlib
import sys
from dataclasses import replace
from importlib.util import find_spec
from itertools import combinations, permutations

import pytest
import torch
from ase.data import atomic_masses
from examples import normal

from enn_book.lectures.diagnostics import net_force, net_torque
from enn_book.studies.molecule.ammonia import DATA_FILE, HYDROGENS, MASSES, PARTS, load_ammonia
from enn_book.studies.molecule.analysis import angular_momentum, harmonic_frequencies, work_along
from enn_book.studies.molecule.reference import DataConfig, TightBinding, displaced, main, make_data
from enn_lib.argon import BOLTZMANN, pair_distances, scales_of
from enn_lib.dynamics import simulate
from enn_lib.groups import assert_equivariant
from enn_lib.storage import load_tensors, save_tensors


@pytest.fixture(params=[*PARTS, "path"])
def geometries(request, data):
    """Each part, and the path."""
    return getattr(data, request.param)


# What is stored


def test_the_file_is_the_one_that_was_made():
    wanted = "b4395457a889183ce20b0e7cd22e0a1d1c27026aea78137fcbbf2fda85e21a2d"
    assert hashlib.sha256(DATA_FILE.read_bytes()).hexdigest() == wanted


def test_the_atoms_are_a_nitrogen_and_three_hydrogens(data):
    assert MASSES.tolist() == pytest.approx([atomic_masses[7]] + 3 * [atomic_masses[1]])
    assert data.dynamics.mass is MASSES
    assert sorted(HYDROGENS.tolist()) == [[0, *others] for others in permutations((1, 2, 3))]


def test_forces_add_up_to_zero_and_exert_no_torque(geometries):
    """To the rounding of float32: no molecule in free space pushes or turns itself."""
    assert net_force(geometries.forces).max() < 1e-5
    assert net_torque(geometries.positions, geometries.forces).max() < 1e-5


@pytest.mark.parametrize(("one", "other"), list(combinations(PARTS, 2)))
def test_no_two_parts_share_a_trajectory_or_a_geometry(one, other, data):
    a, b = getattr(data, one), getattr(data, other)
    assert not set(a.trajectory.tolist()) & set(b.trajectory.tolist())
    assert torch.cdist(a.positions.flatten(1), b.positions.flatten(1)).min() > 1e-3


def test_there_are_a_few_thousand_geometries_at_several_temperatures(data):
    parts = [getattr(data, part) for part in PARTS]
    assert [len(part) for part in parts] == [2850, 570, 1140]
    assert all(part.temperature.unique().tolist() == [0, 300, 600, 1000] for part in parts)


@pytest.mark.parametrize("kelvin", [300.0, 1000.0])
def test_snapshots_a_fifth_of_a_picosecond_apart_are_as_strangers(kelvin, data):
    """Neighbours, 20 fs apart, are not yet; that is why whole trajectories are held back for the test."""
    chosen = data.train.temperature == kelvin
    r, number = data.train.positions[chosen], data.train.trajectory[chosen]
    distances = pair_distances(r)

    def unlike(lag):
        same = number[lag:] == number[:-lag]
        return (distances[lag:] - distances[:-lag])[same].square().sum(dim=-1).mean()

    strangers = 2 * distances.var(dim=0).sum()
    assert unlike(10) > 0.8 * strangers
    assert 0.2 * strangers < unlike(1) < unlike(10)


def test_hotter_geometries_have_more_energy(data):
    means = [data.train.energies[data.train.temperature == t].mean() for t in (300.0, 600.0, 1000.0)]
    assert means == sorted(means)


def test_none_has_less_energy_than_the_minimum(geometries):
    assert geometries.energies.min() > -1e-8


def test_the_energy_of_six_vibrations_is_about_three_kt(data):
    """Equipartition: k_B T / 2 for each of six modes, harmonic; anharmonic ones differ a little."""
    for kelvin in (300.0, 600.0):
        mean = data.train.energies[data.train.temperature == kelvin].mean().item()
        assert mean == pytest.approx(3 * BOLTZMANN * kelvin, rel=0.15)


def test_the_scales_are_those_of_the_training_part(data):
    assert data.scales == scales_of(data.train)
    assert data.scales != scales_of(data.test)


# The path of inversion


def test_energies_along_the_path_are_the_work_against_the_forces(data):
    """Finite differences of neighbouring geometries, by the rule of trapezoids."""
    work = work_along(data.path.forces, data.path.positions)
    energy = data.path.energies - data.path.energies[0]
    torch.testing.assert_close(work, energy, rtol=0, atol=1e-3)
    assert energy.abs().max() > 0.05


def test_the_path_goes_from_the_plane_through_the_minimum(data):
    height = data.path.positions[:, 0, 2] - data.path.positions[:, 1:, 2].mean(dim=-1)
    assert height[0].abs() < 1e-6
    assert (height.diff() > 0).all()
    assert 0 < data.path.energies.argmin() < len(data.path) - 1
    assert data.path.energies.min() < 1e-3
    assert data.path.forces[0].norm() < 1e-4, "the plane is a stationary point"


def test_along_the_path_the_hydrogens_are_relaxed_within_their_plane(data):
    """What force is left is along the axis of the umbrella."""
    assert data.path.forces[..., :2].abs().max() < 1e-4


def test_at_the_minimum_nothing_pulls_and_six_modes_vibrate(data):
    (nearest,) = torch.where(data.path.energies == data.path.energies.min())
    assert data.path.forces[nearest].abs().max() < 0.1
    assert len(data.frequencies) == 6
    assert (data.frequencies.diff() >= 0).all()
    # Two pairs are degenerate, as the group of the molecule, C3v, demands.
    assert data.frequencies[1].item() == pytest.approx(data.frequencies[2].item(), rel=1e-3)


# The trajectories


def test_trajectories_conserve_energy_as_far_as_velocity_verlet_does(data):
    """Its error is of the order of (omega dt)^2 / 8, 1 to 2 % for a bond between N and H, and no drift."""
    total = data.dynamics.kinetic_energy() + data.dynamics_energies
    change = (total - total[0]).abs() / total[0]
    assert change.max() < 0.04
    halves = total[1:].tensor_split(2)
    assert (halves[0].mean(dim=0) / halves[1].mean(dim=0) - 1).abs().max() < 0.003


def test_trajectories_start_at_the_minimum_and_do_not_turn(data):
    run = data.dynamics
    torch.testing.assert_close(run.positions[0], data.minimum.float().double().expand(5, -1, -1))
    assert angular_momentum(run).abs().max() < 1e-5
    assert (MASSES[:, None] * run.velocities).sum(dim=-2).abs().max() < 1e-5


def test_the_start_has_the_energy_of_six_vibrations(data):
    """k_B T each, all of it kinetic at the minimum; five samples scatter."""
    kinetic = data.dynamics.kinetic_energy()[0].mean().item()
    assert kinetic == pytest.approx(6 * BOLTZMANN * 300, rel=0.5)


# Bad input


def test_a_foreign_file_is_refused(tmp_path):
    save_tensors(tmp_path / "other.safetensors", {"x": torch.zeros(1)}, {})
    with pytest.raises(ValueError, match=r"wanted data of python -m enn_book\.studies\.molecule\.reference"):
        load_ammonia(tmp_path / "other.safetensors")


def test_the_command_says_so_in_one_line(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "tblite.ase", None)
    assert main(["--out", str(tmp_path / "new.safetensors")]) == 2
    assert capsys.readouterr().err.startswith("error: molecule: got no tblite")
    assert not list(tmp_path.iterdir())


def test_the_command_makes_the_data_where_it_is_told(monkeypatch, tmp_path):
    files = []
    monkeypatch.setattr("enn_book.studies.molecule.reference.make_data", files.append)
    assert main(["--out", str(tmp_path / "new.safetensors")]) == 0
    assert files == [tmp_path / "new.safetensors"]


def test_displaced_geometries_scatter_by_what_is_asked_and_are_centred(data):
    path = data.path.positions[:1]
    moved = displaced(path, 2000, 0.05, seed=1)
    assert (moved - path).std().item() == pytest.approx(0.05 * (3 / 4) ** 0.5, rel=0.05)
    assert moved.mean(dim=-2).abs().max() < 1e-12


# With the quantum chemistry


@pytest.fixture(scope="module")
def truth():
    if find_spec("tblite") is None:
        pytest.skip("needs the optional extra molecule (tblite)")
    return TightBinding()


def test_stored_forces_and_energies_are_those_of_the_quantum_chemistry(geometries, data, truth):
    some = slice(None, None, max(1, len(geometries) // 8))
    energies, forces = truth.evaluate(geometries.positions[some])
    torch.testing.assert_close(forces, geometries.forces[some], rtol=0, atol=2e-5)
    zero = truth.energy(data.minimum)
    torch.testing.assert_close(energies - zero, geometries.energies[some], rtol=0, atol=1e-6)


def test_forces_are_the_slope_of_the_energy(data, truth):
    r = data.test.positions[0]
    step = 1e-3 * normal(4, 3)
    difference = truth.energy(r + step) - truth.energy(r - step)
    assert difference.item() == pytest.approx(-2 * (truth.forces(r) * step).sum().item(), rel=1e-4)


def test_the_quantum_chemistry_has_the_symmetries_of_the_molecule(data, truth):
    r = data.test.positions[:2]
    assert_equivariant(truth.forces, r, group="O", action="rows", tolerance=1e-4)
    for g in HYDROGENS:
        torch.testing.assert_close(truth.forces(r[:, g]), truth.forces(r)[:, g], rtol=0, atol=1e-5)


def test_the_stored_frequencies_are_those_of_the_minimum(data, truth):
    modes = harmonic_frequencies(truth, data.minimum, truth.symbols)
    torch.testing.assert_close(modes[6:], data.frequencies, rtol=0, atol=0.5)
    assert modes[:6].abs().max() < 20


def test_a_stored_trajectory_is_the_one_of_newton_s_equations(data, truth):
    start = (data.dynamics.positions[0, :1], data.dynamics.velocities[0, :1])
    run = simulate(truth, *start, 40, data.dt, mass=MASSES, every=4)
    torch.testing.assert_close(run.positions[:, 0], data.dynamics.positions[:11, 0], rtol=0, atol=1e-5)


def test_the_same_configuration_makes_the_same_data(truth, tmp_path):
    small = DataConfig(
        (300,), (1, 1, 1), snapshots=2, settle=3, displaced=(3, 2, 1), path_points=3, samples=2, steps=8
    )
    files = [tmp_path / f"{name}.safetensors" for name in ("one", "two", "three")]
    for file, config in zip(files, (small, small, replace(small, seed=18)), strict=True):
        make_data(file, config)
    (one, made), (two, _), (other, _) = map(load_tensors, files)
    torch.testing.assert_close(two, one, rtol=0, atol=1e-5)
    assert made["seed"] == "17"
    again = load_ammonia(files[0])
    assert [len(getattr(again, part)) for part in PARTS] == [5, 4, 3]
    assert not torch.allclose(other["train.positions"], one["train.positions"], atol=1e-3)
