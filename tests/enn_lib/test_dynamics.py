"""Molecular dynamics of sec. 4.3: the integrator, the start, and the deviations of Eq. 48, 49."""

import re
from dataclasses import replace
from unittest.mock import Mock

import ase
import pytest
import torch
from ase import units
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.md.verlet import VelocityVerlet as AseVelocityVerlet
from examples import OneDevice

from enn_lib.argon import ARGON, ARGON_MASS, sample_positions
from enn_lib.dynamics import (
    PAPER_POSITIONS,
    VelocityVerlet,
    kinetic_energy,
    paper_initial_conditions,
    rmsd_energy,
    rmsd_positions,
    simulate,
    thermal_velocities,
)
from enn_lib.runs import load_run


def as_atoms(positions, velocities, mass=ARGON_MASS):
    """One sample for ASE, in its units, with its Lennard-Jones; the cutoff of 10^4 Å changes nothing."""
    masses = torch.as_tensor(mass, dtype=torch.float64).expand(len(positions)).numpy()
    lennard_jones = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    atoms = ase.Atoms(f"Ar{len(positions)}", positions.numpy(), masses=masses, calculator=lennard_jones)
    atoms.set_velocities(velocities.numpy() / units.fs)
    return atoms


@pytest.fixture(scope="module")
def start():
    return paper_initial_conditions(3)


@pytest.fixture(scope="module")
def trajectory(start):
    return simulate(ARGON, *start, 400)


# The integrator


MASSES = torch.tensor([14.0, 1.0, 40.0, 7.0], dtype=torch.float64)


@pytest.mark.parametrize(
    ("dt", "mass"),
    [(1.0, ARGON_MASS), (3.0, 20.0), (1.0, MASSES)],
    ids=["argon", "lighter in longer steps", "of different masses"],
)
def test_ase_moves_the_atoms_along_the_same_path(start, dt, mass):
    """ASE's velocity Verlet and Lennard-Jones."""
    ours = simulate(ARGON, *start, 300, dt, mass=mass)
    atoms = as_atoms(start[0][1], start[1][1], mass)
    dynamics = AseVelocityVerlet(atoms, timestep=dt * units.fs)
    for step in range(0, 301, 100):
        torch.testing.assert_close(
            ours.positions[step, 1], torch.from_numpy(atoms.positions), rtol=0, atol=1e-9
        )
        torch.testing.assert_close(
            ours.velocities[step, 1], torch.from_numpy(atoms.get_velocities() * units.fs), rtol=0, atol=1e-11
        )
        assert ours.total_energy()[step, 1].item() == pytest.approx(atoms.get_total_energy(), rel=1e-9)
        dynamics.run(100)


def test_equal_masses_one_by_one_are_one_mass(start, trajectory):
    each = simulate(ARGON, *start, 400, mass=torch.full((4,), ARGON_MASS, dtype=torch.float64))
    torch.testing.assert_close(each.positions, trajectory.positions, rtol=0, atol=1e-9)
    torch.testing.assert_close(each.total_energy(), trajectory.total_energy(), rtol=0, atol=1e-12)


def test_masses_that_do_not_fit_are_refused(start):
    said = r"^mass: got shape \(3,\), wanted \(4,\), one an atom$"
    with pytest.raises(ValueError, match=said):
        simulate(ARGON, *start, 1, mass=MASSES[:3])
    with pytest.raises(ValueError, match=said):
        thermal_velocities(1, mass=MASSES[:3])


def test_a_step_is_equations_44_and_45_written_out(start):
    """r + v dt + F dt^2 / 2m, and v + (F + F') dt / 2m, in ASE's units of time."""
    positions, velocities = start
    dt, forces = 2.0 * units.fs, ARGON.forces(positions)
    moved = positions + velocities / units.fs * dt + forces * dt**2 / (2 * ARGON_MASS)
    new_forces = ARGON.forces(moved)
    faster = velocities / units.fs + (forces + new_forces) * dt / (2 * ARGON_MASS)
    actual = VelocityVerlet(ARGON, dt=2.0).step(positions, velocities, forces)
    torch.testing.assert_close(actual[0], moved)
    torch.testing.assert_close(actual[1], faster * units.fs)
    assert actual[2].equal(ARGON.forces(actual[0]))


def test_time_runs_backwards_to_the_start(start, trajectory):
    back = simulate(ARGON, trajectory.positions[-1], trajectory.velocities[-1], 400, dt=-1.0)
    torch.testing.assert_close(back.positions[-1], start[0], rtol=0, atol=1e-9)
    torch.testing.assert_close(back.velocities[-1], start[1], rtol=0, atol=1e-11)
    assert back.time[-1] == -400


def test_the_energy_error_falls_with_the_square_of_the_time_step(start):
    """Half the step, a quarter of the largest error: the order of velocity Verlet."""

    def largest_error(dt):
        energy = simulate(ARGON, *start, round(1600 / dt), dt).total_energy()
        return (energy - energy[0]).abs().max().item()

    coarse, middle, fine = (largest_error(dt) for dt in (8.0, 4.0, 2.0))
    assert coarse / middle == pytest.approx(4, rel=0.1)
    assert middle / fine == pytest.approx(4, rel=0.1)


def test_momentum_angular_momentum_and_the_centre_of_mass_are_conserved(trajectory):
    assert trajectory.velocities.sum(dim=-2).abs().max() < 1e-15
    angular = torch.linalg.cross(trajectory.positions, trajectory.velocities).sum(dim=-2)
    for conserved in (angular, trajectory.positions.mean(dim=-2)):
        torch.testing.assert_close(conserved, conserved[:1].expand_as(conserved), rtol=0, atol=1e-13)


def test_a_batch_is_the_single_samples_put_together(start, trajectory):
    for sample in range(3):
        single = simulate(ARGON, start[0][sample : sample + 1], start[1][sample : sample + 1], 400)
        torch.testing.assert_close(single.positions[:, 0], trajectory.positions[:, sample])
        torch.testing.assert_close(single.velocities[:, 0], trajectory.velocities[:, sample])


def test_any_number_of_atoms_moves():
    positions = 4.0 * torch.cartesian_prod(*[torch.arange(2, dtype=torch.float64)] * 3).unsqueeze(0)
    atoms = simulate(ARGON, positions, thermal_velocities(1, 8), 50)
    energy = atoms.total_energy()
    torch.testing.assert_close(energy, energy[:1].expand_as(energy), rtol=1e-5, atol=0)


@pytest.mark.parametrize("field", [ARGON, load_run("softened").force_field], ids=["potential", "network"])
def test_the_end_is_differentiable_in_the_start(field, start):
    """Against finite differences."""
    first = [part[:1].clone().requires_grad_() for part in start]
    steps = {"steps": 3, "dt": 20.0}
    assert torch.autograd.gradcheck(lambda r, v: simulate(field, r, v, **steps).positions[-1], first)


def test_atoms_move_on_the_device_where_they_are(start):
    positions, velocities = (part.to("meta") for part in start)
    with OneDevice():
        trajectory = simulate(ARGON, positions, velocities, 2)
    assert trajectory.positions.device == trajectory.velocities.device == positions.device


def test_each_step_asks_for_the_forces_once(start):
    field = Mock(wraps=ARGON)
    simulate(field, *start, 10)
    assert field.forces.call_count == 11


def test_the_start_is_the_first_record_and_the_time_is_in_fs(start, trajectory):
    assert trajectory.positions[0].equal(start[0])
    assert trajectory.velocities[0].equal(start[1])
    assert trajectory.positions.shape == trajectory.velocities.shape == (401, 3, 4, 3)
    assert trajectory.time.tolist() == list(range(401))
    assert trajectory.time.dtype == torch.float64
    assert simulate(ARGON, *start, 5, 0.4, every=2).time.tolist() == [0.0, 0.8, 1.6]


def test_keeping_fewer_records_keeps_the_same_path(start, trajectory):
    sparse = simulate(ARGON, *start, 400, every=7)
    assert sparse.positions.equal(trajectory.positions[::7])
    assert sparse.velocities.equal(trajectory.velocities[::7])
    assert sparse.time.equal(trajectory.time[::7])


def test_no_steps_give_the_start_alone(start):
    assert simulate(ARGON, *start, 0).positions.equal(start[0].unsqueeze(0))


# The start of sec. 4.3


def test_the_positions_are_those_of_the_paper():
    printed = [[3.0, 0.0, 0.1], [-3.0, -0.1, 0.0], [0.1, 2.5, 0.0], [0.0, -2.5, -0.1]]
    positions, velocities = paper_initial_conditions(10)
    assert PAPER_POSITIONS.tolist() == printed
    assert positions.tolist() == [printed] * 10
    assert velocities.shape == (10, 4, 3)
    assert positions.dtype == velocities.dtype == torch.float64


def test_the_net_momentum_of_each_sample_is_zero():
    assert thermal_velocities(50, 5).sum(dim=1).abs().max() < 1e-16


@pytest.mark.parametrize(
    ("velocities", "temperature"),
    [
        (thermal_velocities(5, temperature=10.0), 10),
        (thermal_velocities(5, temperature=300.0), 300),
        (paper_initial_conditions(2)[1], 10),
    ],
    ids=["10 K", "300 K", "that of the paper"],
)
def test_ase_reads_the_temperature_asked_for_in_each_sample(velocities, temperature):
    for sample in velocities:
        atoms = as_atoms(PAPER_POSITIONS, sample)
        assert atoms.get_temperature() == pytest.approx(temperature, rel=1e-12)


def test_the_kinetic_energy_is_that_of_ase(start):
    atoms = as_atoms(start[0][0], start[1][0])
    assert kinetic_energy(start[1])[0].item() == pytest.approx(atoms.get_kinetic_energy(), rel=1e-12)


def test_velocities_are_random_without_a_direction_and_repeat_with_the_seed():
    velocities = thermal_velocities(2000, seed=3)
    assert velocities.equal(thermal_velocities(2000, seed=3))
    assert not velocities.equal(thermal_velocities(2000, seed=4))
    spread = velocities.std()
    assert velocities.mean(dim=0).abs().max() < 5 * spread / 2000**0.5
    torch.testing.assert_close(velocities.std(dim=(0, 1)), spread.expand(3), rtol=0.05, atol=0)


def test_atoms_of_different_masses_have_no_net_momentum_and_the_temperature_asked_for():
    """ASE reads the temperature."""
    velocities = thermal_velocities(500, temperature=30.0, mass=MASSES)
    momenta = MASSES[:, None] * velocities
    torch.testing.assert_close(momenta.sum(dim=1), torch.zeros(500, 3, dtype=torch.float64))
    atoms = as_atoms(PAPER_POSITIONS, velocities[3], MASSES)
    assert atoms.get_temperature() == pytest.approx(30.0, rel=1e-6)


def test_each_atom_has_its_share_of_the_energy_whatever_its_mass():
    """Equipartition: alike, but for the m / sum(m) of a share that the centre of mass would have."""
    velocities = thermal_velocities(20_000, mass=MASSES)
    energies = MASSES * velocities.square().sum(dim=-1).mean(dim=0)
    shares = 1 - MASSES / MASSES.sum()
    torch.testing.assert_close(energies / energies.sum(), shares / shares.sum(), rtol=0.03, atol=0)


def test_equal_masses_one_by_one_draw_the_velocities_of_one_mass():
    masses = torch.full((4,), ARGON_MASS, dtype=torch.float64)
    torch.testing.assert_close(thermal_velocities(5, mass=masses), thermal_velocities(5))


def test_two_atoms_move_against_each_other():
    one, other = thermal_velocities(1, 2)[0]
    torch.testing.assert_close(one, -other)


def test_without_further_words_the_velocities_are_those_of_seed_0_at_10_kelvin():
    assert thermal_velocities(3).equal(thermal_velocities(3, 4, temperature=10.0, seed=0))
    assert paper_initial_conditions()[1].equal(thermal_velocities(10))


def test_the_start_of_the_paper_may_be_as_hot_and_of_the_seed_that_one_likes():
    options = {"temperature": 30.0, "seed": 4}
    assert paper_initial_conditions(2, **options)[1].equal(thermal_velocities(2, **options))


def test_masses_may_be_of_any_type_of_number():
    wanted = thermal_velocities(5, mass=MASSES)
    for dtype in (torch.float32, torch.int64):
        torch.testing.assert_close(thermal_velocities(5, mass=MASSES.to(dtype)), wanted, rtol=1e-14, atol=0)
    heavy = 10**30
    torch.testing.assert_close(thermal_velocities(5, mass=heavy), thermal_velocities(5, mass=float(heavy)))
    assert simulate(ARGON, *paper_initial_conditions(1), 1, mass=heavy).mass == float(heavy)


@pytest.mark.parametrize("options", [{}, {"progress": False}, {"progress": True}], ids=str)
def test_a_bar_counts_the_steps_where_one_is_wanted(options, start, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    simulate(ARGON, *start, 3, **options)
    bar = re.search(r"3/3 .*[\d?](step/s|s/step)", capsys.readouterr().err)
    assert (bar is not None) == options.get("progress", False)


def test_at_zero_kelvin_nothing_moves_and_above_it_all_do():
    assert (thermal_velocities(2, temperature=0.0) == 0).all()
    assert (thermal_velocities(2, temperature=0.1) != 0).all()


# The deviations


@pytest.fixture(scope="module")
def two_trajectories(start, trajectory):
    other = simulate(ARGON, start[0] + 0.01 * sample_positions(3, seed=0), 1.1 * start[1], 400)
    return trajectory, other


def test_the_rmsd_of_positions_is_equation_48_written_out(two_trajectories):
    """The root of the mean over samples and atoms of the squared distance."""
    analytic, predicted = two_trajectories
    actual = rmsd_positions(analytic, predicted)
    assert actual.shape == (401,)
    for k in (0, 17, 400):
        total = 0.0
        for difference in (analytic.positions[k] - predicted.positions[k]).reshape(12, 3).tolist():
            total += sum(x**2 for x in difference)
        assert actual[k].item() == pytest.approx((total / 12) ** 0.5, rel=1e-12)


def test_the_rmsd_of_energies_is_equation_49_written_out(two_trajectories):
    """Kinetic plus potential energy, of the true Hamiltonian (Eq. 47), of each on its own path."""
    actual = rmsd_energy(*two_trajectories)
    assert actual.shape == (401,)
    for k in (0, 17, 400):
        total = 0.0
        for sample in range(3):
            one, two = (as_atoms(t.positions[k, sample], t.velocities[k, sample]) for t in two_trajectories)
            total += (one.get_total_energy() - two.get_total_energy()) ** 2
        assert actual[k].item() == pytest.approx((total / 3) ** 0.5, rel=1e-6)


def test_a_trajectory_does_not_deviate_from_itself(trajectory):
    assert (rmsd_positions(trajectory, trajectory) == 0).all()
    assert (rmsd_energy(trajectory, trajectory) == 0).all()


@pytest.fixture(scope="module")
def two_samples(trajectory):
    """As there are three dimensions, a sum over three samples could be taken for one over them."""
    return replace(trajectory, positions=trajectory.positions[:, :2], velocities=trajectory.velocities[:, :2])


def test_a_shift_of_all_atoms_is_the_rmsd_of_positions_and_none_of_energies(two_samples):
    """By 3, 4 and 12 Å: 13 Å, because the square is that of a distance and not of a component."""
    shift = torch.tensor([3.0, 4.0, 12.0], dtype=torch.float64)
    moved = replace(two_samples, positions=two_samples.positions + shift)
    torch.testing.assert_close(rmsd_positions(two_samples, moved), torch.full((401,), 13.0).double())
    assert rmsd_energy(two_samples, moved).max() < 1e-14


def test_the_displacement_is_the_deviation_from_atoms_that_stay_where_they_are(two_samples):
    stays = replace(two_samples, positions=two_samples.positions[:1].expand_as(two_samples.positions))
    torch.testing.assert_close(two_samples.displacement(), rmsd_positions(two_samples, stays))
    assert two_samples.displacement()[-1] > 0


# Bad input


def test_velocities_that_do_not_fit_and_a_sample_without_its_batch_dimension_are_refused(start):
    r, v = start
    for positions, velocities in ((r, v[:2]), (r, v.float()), (r, v[:, :3]), (r[0], v[0])):
        got = f"{tuple(positions.shape)} torch.float64 and {tuple(velocities.shape)} {velocities.dtype}"
        said = f"positions, velocities: got {got}, wanted (samples, atoms, 3) of one dtype"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            simulate(ARGON, positions, velocities, 1)


@pytest.mark.parametrize(("which", "name"), [(0, "positions"), (1, "velocities")])
def test_a_start_that_is_not_finite_is_named(which, name, start):
    start = [x.clone() for x in start]
    start[which][0, 0, 0] = float("nan")
    unit = ("Å", "Å/fs")[which]
    kinds = "NaN, infinite or beyond 1e15" if which == 0 else "NaN or infinite"
    said = f"{name}: got 1 entries that are {kinds}, wanted finite ones ({unit})"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        simulate(ARGON, *start, 1)


def test_coincident_atoms_are_named(start):
    positions = start[0].clone()
    positions[2, 3] = positions[2, 0]
    with pytest.raises(ValueError, match="positions: atoms 0 and 3 coincide"):
        simulate(ARGON, positions, start[1], 1)


@pytest.mark.parametrize(
    "options",
    [
        {"steps": -1},
        {"every": 0},
        {"dt": float("nan")},
        {"dt": float("inf")},
        {"dt": 1e15},
        {"dt": 10**400},
        {"mass": float("inf")},
        {"mass": 10**400},
        {"mass": 0.0},
        {"mass": 1e-99},
        {"mass": 1e99},
        {"mass": -1.0},
        {"mass": float("nan")},
        {"mass": MASSES - 1},
        {"mass": 1e99 * MASSES},
        {"mass": 2e-313},
    ],
)
def test_a_number_out_of_its_range_is_named(options, start):
    given = {"steps": 1, "every": 1, "dt": 1.0, "mass": ARGON_MASS} | options
    got = ", ".join(str(given[name]) for name in ("steps", "every", "dt", "mass"))
    said = f"steps, every, dt, mass: got {got}, wanted at least 0, at least 1, finite, and 1e-99 to 1e99 u"
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        simulate(ARGON, *start, **({"steps": 1} | options))


@pytest.mark.parametrize(
    "options",
    [
        *({"n_samples": 0}, {"n_atoms": 1}, {"temperature": -1.0}, {"temperature": float("nan")}),
        *({"temperature": 1e15}, {"temperature": 10**400}, {"mass": 0.0}, {"mass": 10**400}),
        {"seed": -1},
    ],
)
def test_velocities_that_cannot_be_drawn_are_refused(options):
    given = {"n_samples": 1, "n_atoms": 4, "temperature": 10.0, "mass": ARGON_MASS, "seed": 0} | options
    got = ", ".join(map(str, given.values()))
    said = (
        f"n_samples, n_atoms, temperature, mass, seed: got {got}, "
        "wanted at least 1, at least 2, at least 0 K, 1e-99 to 1e99 u, and at least 0"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        thermal_velocities(**({"n_samples": 1} | options))


def test_trajectories_of_different_length_are_refused(trajectory, start):
    said = r"^predicted: got positions \(1, 3, 4, 3\), wanted \(401, 3, 4, 3\), those it is compared with$"
    for deviation in (rmsd_positions, rmsd_energy):
        with pytest.raises(ValueError, match=said):
            deviation(trajectory, simulate(ARGON, *start, 0))
