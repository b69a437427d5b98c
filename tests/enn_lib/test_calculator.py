"""The ASE calculator: ASE's own checks, the symmetries of forces, and what it refuses."""

import re
from io import StringIO
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.io import read
from ase.md.nvtberendsen import NVTBerendsen
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from scipy.spatial.transform import Rotation

import enn_lib
from enn_lib import ARGON, load_run
from enn_lib.argon import ARGON_MASS
from enn_lib.calculator import ENNCalculator, forces_only
from enn_lib.dynamics import PAPER_POSITIONS, simulate, thermal_velocities

START = PAPER_POSITIONS.numpy()
SHAPE = np.array([[0.0, 0.0, 0.0], [3.6, 0.2, 0.1], [1.7, 3.5, -0.2], [1.6, 1.0, 3.1]])


def argon(calculator, positions=SHAPE) -> Atoms:
    return Atoms(f"Ar{len(positions)}", positions=positions, calculator=calculator)


@pytest.fixture(scope="module")
def network():
    return ENNCalculator("softened")


TURN = Rotation.random(rng=1).as_matrix()


@pytest.mark.parametrize(
    ("matrix", "shift"),
    [(TURN, 0.0), (-TURN, 0.0), (np.eye(3), np.array([10.0, -20.0, 5.0]))],
    ids=["rotation", "reflection", "translation"],
)
def test_forces_turn_and_reflect_with_the_atoms_and_do_not_know_where_they_are(network, matrix, shift):
    moved = argon(network, SHAPE @ matrix.T + shift).get_forces()
    np.testing.assert_allclose(moved, argon(network).get_forces() @ matrix.T, atol=1e-10)


def test_forces_follow_the_numbering_of_equal_atoms_if_averaged_over_them(network):
    order = [2, 0, 3, 1]
    for calculator, is_equal in ((network, True), (ENNCalculator("softened", average=False), False)):
        forces = argon(calculator).get_forces()
        renumbered = argon(calculator, SHAPE[order]).get_forces()
        assert np.allclose(renumbered, forces[order], atol=1e-10) == is_equal


def test_forces_are_the_slope_of_the_energy_where_there_is_one():
    atoms = argon(ENNCalculator(ARGON))
    numerical = calculate_numerical_forces(atoms, eps=1e-4)
    assert np.abs(numerical).max() > 1e-4
    np.testing.assert_allclose(atoms.get_forces(), numerical, atol=1e-7)


def test_the_analytic_potential_is_the_lennard_jones_of_ase():
    ours = argon(ENNCalculator(ARGON))
    theirs = argon(AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e3))
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-9)
    assert ours.get_potential_energy() == pytest.approx(theirs.get_potential_energy(), abs=1e-9)


def test_forces_are_those_of_the_force_field(network):
    wanted = load_run("softened").force_field.forces(torch.from_numpy(SHAPE)).numpy()
    np.testing.assert_array_equal(argon(ENNCalculator("softened", average=False)).get_forces(), wanted)


def test_dynamics_driven_by_ase_is_the_dynamics_of_this_package(network):
    velocities = thermal_velocities(1, seed=3)
    ours = simulate(network.force_field, PAPER_POSITIONS[None].clone(), velocities, 50)
    atoms = argon(network, START)
    atoms.set_masses([ARGON_MASS] * 4)
    atoms.set_velocities(velocities[0].numpy() / units.fs)
    VelocityVerlet(atoms, units.fs).run(50)
    np.testing.assert_allclose(atoms.positions, ours.positions[-1, 0].numpy(), atol=1e-9)


@pytest.mark.parametrize("optimiser", [FIRE, BFGS])
def test_the_cluster_relaxes_to_the_tetrahedron_without_an_energy(network, optimiser):
    atoms = argon(network)
    assert forces_only(optimiser)(atoms, logfile=None).run(fmax=1e-4, steps=500)
    distances = atoms.get_all_distances()[np.triu_indices(4, 1)]
    np.testing.assert_allclose(distances, 2 ** (1 / 6) * ARGON.r0, atol=0.02)


def test_the_log_of_an_optimiser_without_an_energy_has_the_largest_force(network):
    log, atoms = StringIO(), argon(network)
    forces_only(FIRE)(atoms, logfile=log).run(fmax=1e-9, steps=2)
    last = log.getvalue().splitlines()[-1].split()
    assert last[:2] == ["FIRE", "2"]
    assert float(last[2]) == pytest.approx(np.linalg.norm(atoms.get_forces(), axis=1).max(), abs=1e-6)


def test_the_free_energy_is_the_energy():
    """ASE asks for it where an energy has to belong to the forces."""
    atoms = argon(ENNCalculator(ARGON))
    assert atoms.get_potential_energy(force_consistent=True) == atoms.get_potential_energy() < 0


@pytest.mark.parametrize("dynamics", [VelocityVerlet, NVTBerendsen])
def test_the_log_of_dynamics_without_an_energy_has_time_and_temperature(network, dynamics):
    log, atoms = StringIO(), argon(network)
    atoms.set_masses([ARGON_MASS] * 4)
    atoms.set_velocities(thermal_velocities(1, seed=3)[0].numpy() / units.fs)
    settings = {"temperature_K": 10, "taut": 100 * units.fs} if dynamics is NVTBerendsen else {}
    forces_only(dynamics)(atoms, timestep=20 * units.fs, logfile=log, loginterval=5, **settings).run(10)
    times, temperatures = np.array([line.split() for line in log.getvalue().splitlines()], dtype=float).T
    np.testing.assert_allclose(times, [0.0, 0.1, 0.2], atol=1e-12)
    assert temperatures[-1] == pytest.approx(atoms.get_temperature(), abs=1e-3)


def test_the_log_may_stand_in_its_place_among_the_arguments(network):
    log = StringIO()
    forces_only(VelocityVerlet)(argon(network), units.fs, None, log, 2).run(4)
    assert len(log.getvalue().splitlines()) == 3


def test_dynamics_without_an_energy_keeps_a_trajectory_and_a_log_on_disk(network, tmp_path):
    log, trajectory = tmp_path / "log.txt", tmp_path / "steps.traj"
    with forces_only(VelocityVerlet)(
        argon(network), units.fs, trajectory=trajectory, logfile=log, loginterval=2
    ) as dynamics:
        dynamics.run(4)
    assert len(read(trajectory, ":")) == len(log.read_text(encoding="utf-8").splitlines()) == 3


@pytest.mark.parametrize("driver", [enn_lib.FIRE, "FIRE", argon])
def test_what_ase_does_not_drive_is_refused_by_name(driver):
    said = f"driver: got {driver!r}, wanted an optimiser or dynamics of ASE"
    with pytest.raises(TypeError, match=f"^{re.escape(said)}$"):
        forces_only(driver)


def elastic_band(calculator) -> NEB:
    """Five images between a tetrahedron and its mirror image, through a plane."""
    images = [argon(calculator, SHAPE) for _ in range(5)]
    images[-1].positions[3, 2] *= -1
    band = NEB(images, method="improvedtangent", allow_shared_calculator=True)
    band.interpolate()
    return band


def test_an_elastic_band_relaxes_under_a_force_field_with_an_energy():
    band = elastic_band(ENNCalculator(ARGON))
    assert np.isfinite(band.get_forces()).all()


def test_an_elastic_band_is_refused_in_a_sentence_where_there_is_no_energy(network):
    with pytest.raises(PropertyNotImplementedError, match="a force field made from an energy"):
        elastic_band(network).get_forces()


def test_an_energy_is_refused_in_a_sentence_where_there_is_none(network):
    said = (
        "energy: PermutationAverage predicts forces directly and has no energy; use "
        "enn_lib.calculator.forces_only(FIRE) to relax, forces_only(VelocityVerlet) for dynamics "
        "with a log, and a force field made from an energy for what needs one, as elastic bands do"
    )
    for is_free in (False, True):
        with pytest.raises(PropertyNotImplementedError) as caught:
            argon(network).get_potential_energy(force_consistent=is_free)
        assert str(caught.value) == said


def test_a_stress_is_refused(network):
    with pytest.raises(PropertyNotImplementedError):
        argon(network).get_stress()


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms("ArKrArNe", positions=SHAPE), "got Kr, Ne, wanted Ar only"),
        (Atoms("Ar3", positions=SHAPE[:3]), "got 3 of them, wanted 4"),
        (
            Atoms("Ar4", positions=SHAPE, cell=[20, 20, 20], pbc=(False, True, False)),
            "got a periodic cell, wanted atoms in free space",
        ),
    ],
    ids=["of another kind", "of another number", "in a periodic cell"],
)
def test_atoms_are_refused(network, atoms, message):
    atoms.calc = network
    with pytest.raises(ValueError, match=f"^atoms: {message}$"):
        atoms.get_forces()


def test_atoms_of_several_kinds_are_taken_in_their_order_alone():
    mixed = ENNCalculator(ARGON, symbol=("N", "H", "H", "H"))
    assert Atoms("NH3", positions=SHAPE, calculator=mixed).get_forces().shape == (4, 3)
    for other in ("H3N", "NH2F", "Ar4"):
        atoms = Atoms(other, positions=SHAPE, calculator=mixed)
        said = f"atoms: got {', '.join(atoms.symbols)}, wanted N, H, H, H in this order"
        with pytest.raises(ValueError, match=f"^{said}$"):
            atoms.get_forces()


def test_any_number_of_atoms_is_taken_where_the_force_field_does():
    assert argon(ENNCalculator(ARGON), np.vstack([SHAPE, [[8.0, 8.0, 8.0]]])).get_forces().shape == (5, 3)


def test_a_run_of_other_than_four_atoms_cannot_be_asked_for():
    with pytest.raises(ValueError, match=r"^n_atoms: got 5, wanted 4, which the network was made for$"):
        ENNCalculator("softened", n_atoms=5)
    assert ENNCalculator("softened", n_atoms=4).n_atoms == 4


def test_without_a_name_the_calculator_is_the_softened_network_averaged(network):
    np.testing.assert_array_equal(argon(ENNCalculator()).get_forces(), argon(network).get_forces())


def test_a_run_that_is_loaded_already_is_taken_as_its_name_is(network):
    np.testing.assert_array_equal(
        argon(ENNCalculator(load_run("softened"))).get_forces(), argon(network).get_forces()
    )


def test_the_number_of_atoms_of_a_force_field_may_be_fixed():
    with pytest.raises(ValueError, match=r"^atoms: got 4 of them, wanted 5$"):
        argon(ENNCalculator(ARGON, n_atoms=5)).get_forces()


def test_forces_are_computed_again_only_where_the_atoms_have_moved():
    field = Mock(wraps=load_run("softened").force_field)
    atoms = argon(ENNCalculator(field))
    for _ in range(2):
        atoms.get_forces()
    assert field.forces.call_count == 1
    atoms.positions[0, 0] += 0.1
    atoms.get_forces()
    assert field.forces.call_count == 2


def test_forces_and_an_energy_that_carry_a_gradient_are_numbers_to_ase():
    class Field:
        strength = torch.nn.Parameter(torch.ones(()))

        def forces(self, positions):
            return -self.strength * positions

        def energy(self, positions):
            return self.strength * positions.square().sum() / 2

    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]], calculator=ENNCalculator(Field()))
    assert atoms.get_forces().tolist() == (-atoms.positions).tolist()
    assert atoms.get_potential_energy() == 8.0


def test_what_is_not_known_yet_is_not_computed_where_ase_does_not_allow_it(network):
    atoms = argon(network)
    forces = atoms.get_forces()
    np.testing.assert_array_equal(network.get_property("forces", atoms, allow_calculation=False), forces)
    atoms.positions[0, 0] += 0.1
    assert network.get_property("forces", atoms, allow_calculation=False) is None


def test_without_a_log_dynamics_writes_nothing_and_with_one_every_step(network):
    log = StringIO()
    forces_only(VelocityVerlet)(argon(network), timestep=units.fs).run(2)
    forces_only(VelocityVerlet)(argon(network), timestep=units.fs, logfile=log).run(2)
    assert [line.split()[0] for line in log.getvalue().splitlines()] == ["0.0000", "0.0010", "0.0020"]


def test_something_without_forces_is_refused():
    with pytest.raises(TypeError, match=r"^source: got float, wanted a run or an object with forces$"):
        ENNCalculator(1.0)
