"""Lennard-Jones clusters: their known minima, reached by our FIRE and by ASE's."""

import ase
import pytest
import torch
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.optimize import fire as ase_fire
from ase.optimize.fire2 import FIRE2

from enn_book.lectures.clusters import (
    KNOWN_MINIMA,
    NEAREST,
    REDUCED,
    FIREInParts,
    known_structure,
    perturbed,
    relax,
)

CAREFUL = {"dt": 0.002, "dt_max": 0.01, "mass": 1.0}
"""Time steps at which every order of FIRE is stable from these starts."""

every_size = pytest.mark.parametrize("n_atoms", sorted(KNOWN_MINIMA))
every_order = pytest.mark.parametrize("order", ["appendix", "semi_implicit", "ase"])


def start(n_atoms, seed=0):
    return perturbed(known_structure(n_atoms), 0.05, seed)


@every_size
@every_order
def test_every_order_reaches_the_known_minimum(n_atoms, order):
    """The published energies have six decimals."""
    relaxation = relax(start(n_atoms), order=order, **CAREFUL)
    assert relaxation.converged
    assert relaxation.energy[-1].item() == pytest.approx(KNOWN_MINIMA[n_atoms], abs=1e-6)
    assert relaxation.energy[0] > relaxation.energy[-1] + 1, "the start was the minimum already"


@every_size
def test_the_order_of_ase_takes_the_energies_and_steps_of_ase(n_atoms):
    """Mass 1 as ASE sets it; no longest step and no cutoff."""
    atoms = ase.Atoms(f"Ar{n_atoms}", start(n_atoms).numpy())
    atoms.calc = AseLennardJones(sigma=1, epsilon=1, rc=1e4)
    reference = ase_fire.FIRE(atoms, logfile=None, dt=0.002, dtmax=0.1, maxstep=1e9, downhill_check=False)
    ours = relax(start(n_atoms), order="ase", dt=0.002, dt_max=0.1, mass=1.0, tolerance=0, max_steps=150)
    energies = [atoms.get_potential_energy() for _ in reference.irun(fmax=0.0, steps=150)]
    assert ours.energy.tolist() == pytest.approx(energies, rel=1e-8)
    assert ours.dt[-1].item() == pytest.approx(reference.dt, rel=1e-12)


@every_size
def test_a_known_structure_touches_at_the_distance_of_a_pair(n_atoms):
    positions = known_structure(n_atoms)
    assert positions.shape == (n_atoms, 3)
    assert torch.pdist(positions).min().item() == pytest.approx(NEAREST, rel=1e-6)
    assert positions.mean(dim=0).abs().max() < 1e-12


@pytest.mark.parametrize("is_abc", [False, True])
def test_the_later_versions_take_the_energies_of_ase_also_after_they_went_back(is_abc):
    """At a stop they evaluate again, at another place."""
    atoms = ase.Atoms("Ar13", start(13).numpy())
    atoms.calc = AseLennardJones(sigma=1, epsilon=1, rc=1e4)
    times = {"dt": 0.002, "dtmax": 0.1, "dtmin": 1e-12, "maxstep": 1e9}
    reference = FIRE2(atoms, logfile=None, **times, Nmin=5, astart=0.1, use_abc=is_abc)
    order = "abc" if is_abc else "fire2"
    ours = relax(start(13), order=order, dt=0.002, dt_max=0.1, mass=1.0, tolerance=0, max_steps=150)
    energies = [atoms.get_potential_energy() for _ in reference.irun(fmax=0.0, steps=150)]
    assert ours.energy.tolist() == pytest.approx(energies, rel=1e-8)
    stops = (ours.power[1:] <= 0).sum() - 1  # the first step looks at no power
    assert ours.gradients == ours.steps + 1 + stops > ours.steps + 1


@pytest.mark.parametrize(
    ("order", "choices"),
    [
        ("appendix", ()),
        ("semi_implicit", ("velocity_first",)),
        ("ase", ("velocity_first", "early_brake", "early_mixing")),
    ],
)
def test_fire_in_parts_is_fire_where_an_order_has_the_same_choices(order, choices):
    parts = relax(start(13), method=FIREInParts, **dict.fromkeys(choices, True), **CAREFUL)
    whole = relax(start(13), order=order, **CAREFUL)
    for name in ("positions", "dt", "power", "alpha"):
        assert getattr(parts, name).equal(getattr(whole, name)), name


@pytest.mark.parametrize("choice", ["velocity_first", "early_brake", "early_mixing"])
def test_each_choice_of_fire_in_parts_is_another_way_down(choice):
    plain, chosen = (relax(start(13), method=FIREInParts, **c, **CAREFUL) for c in ({}, {choice: True}))
    assert chosen.converged
    assert chosen.steps != plain.steps


def test_with_a_long_time_step_the_printed_order_loses_atoms_unless_it_brakes_early():
    """The explicit Euler method gains energy where the well is stiff."""
    options = {"dt": 0.002, "dt_max": 0.1, "mass": 1.0, "max_steps": 500}
    ends = {o: relax(start(38), order=o, **options).energy[-1].item() for o in ("appendix", "ase")}
    assert ends["ase"] == pytest.approx(KNOWN_MINIMA[38], abs=1e-6)
    assert ends["appendix"] > KNOWN_MINIMA[38] + 1
    braked = relax(start(38), method=FIREInParts, early_brake=True, **options | {"max_steps": 900})
    assert braked.energy[-1].item() == pytest.approx(KNOWN_MINIMA[38], abs=1e-6)


def test_a_relaxation_evaluates_once_a_step():
    calls = []

    def energy(positions):
        calls.append(positions)
        return REDUCED.energy(positions)

    relaxation = relax(start(13), energy, max_steps=7, **CAREFUL)
    assert (relaxation.steps, relaxation.converged) == (7, False)
    assert len(calls) == relaxation.gradients == 8  # the states before and after seven steps


def test_the_rows_of_a_relaxation_belong_together():
    relaxation = relax(start(13), max_steps=20, **CAREFUL)
    torch.testing.assert_close(REDUCED.energy(relaxation.positions), relaxation.energy)
    longest = REDUCED.forces(relaxation.positions).norm(dim=-1).amax(dim=-1)
    torch.testing.assert_close(longest, relaxation.largest_force)


def test_what_is_at_a_minimum_stays():
    pair = torch.tensor([[0.0, 0, 0], [NEAREST, 0, 0]], dtype=torch.float64)
    relaxation = relax(pair, tolerance=1e-12)
    assert (relaxation.steps, relaxation.converged) == (0, True)


def test_the_start_is_not_changed():
    positions = start(13)
    before = positions.clone()
    relax(positions, max_steps=3, **CAREFUL)
    assert positions.equal(before)


def test_a_seed_perturbs_always_alike_and_by_the_amplitude():
    quiet = torch.zeros(4000, 3, dtype=torch.float64)
    noise = perturbed(quiet, 0.3, 1)
    assert noise.equal(perturbed(quiet, 0.3, 1))
    assert not noise.equal(perturbed(quiet, 0.3, 2))
    assert noise.std().item() == pytest.approx(0.3, rel=0.03)


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="n_atoms: got 14, wanted one of 13, 38"):
        known_structure(14)


@pytest.mark.parametrize(("tolerance", "max_steps"), [(-1.0, 5), (float("nan"), 5), (0.0, -1)])
def test_limits_that_are_none_are_refused(tolerance, max_steps):
    with pytest.raises(ValueError, match=r"tolerance, max_steps: got .* wanted numbers of at least 0"):
        relax(start(13), tolerance=tolerance, max_steps=max_steps)


def test_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"positions: got torch\.int64, wanted a floating-point dtype"):
        relax(torch.arange(6).reshape(2, 3))


def test_an_energy_without_a_bottom_is_noticed():
    with pytest.raises(FloatingPointError, match=r"energy .* after"):
        relax(torch.ones(1, 1), lambda x: -x.exp().sum(), dt=0.1, dt_max=1.0, mass=1.0)
