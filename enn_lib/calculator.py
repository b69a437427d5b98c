"""Any force field of this package as an ASE calculator, so that ASE relaxes, heats and analyses with it."""

from inspect import signature
from pathlib import Path

import torch

try:
    from ase import units
    from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
    from ase.md.md import MolecularDynamics
    from ase.optimize.optimize import Optimizer
    from ase.parallel import world
except ImportError as error:
    raise ImportError(f"enn_lib.calculator wants ASE: pip install 'enn-lib[ase]' ({error})") from error

from enn_lib.argon import N_ATOMS
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import Run, load_run


class ENNCalculator(Calculator):
    r"""Forces of a trained network, for ASE.

    .. math:: \mathbf F = \mathrm{ENN}(\{\mathbf r_{ij}\})

    The paper's network gives forces and no energy, and none is made up: asking for one raises
    `PropertyNotImplementedError`. ASE's dynamics, and its optimisers without a line search (FIRE, BFGS,
    MDMin), need forces only, but for the energy they write into their logs: `forces_only` leaves that out.
    A force field with an ``energy`` of its own, such as `LennardJones`, gives it. One that knows cells, by
    ``in_cell``, is evaluated in that of the atoms, never in its own.

    Attributes:
        force_field: where the forces come from, eV/Å at positions in Å.
        symbol: the chemical symbol that every atom must have; or a tuple of them, one for each atom.
        n_atoms: how many atoms there must be; None for any number.
    """

    implemented_properties = ["forces"]  # noqa: RUF012, as ASE has it

    def __init__(
        self,
        source: str | Path | Run | ForceField = "softened",
        *,
        average: bool = True,
        symbol: str | tuple[str, ...] = "Ar",
        n_atoms: int | None = None,
    ):
        """Make the calculator.

        Args:
            source: a shipped run by its name, a run folder, a loaded run, or any force field.
            average: average a run over the 24 numberings of its atoms, so that equal atoms are equal to
                it (sec. 3.5); a force field is taken as it is.
            symbol: what every atom must be, or each of them in its order; the runs of this package know
                argon only.
            n_atoms: how many atoms there must be. Runs need four; for a force field None is any number.

        Raises:
            FileNotFoundError, ValueError: if there is no such run, or another number than four is wanted
                of a run.
            TypeError: if `source` has no forces.
        """
        super().__init__()
        if isinstance(source, (str, Path)):
            source = load_run(source)
        if isinstance(source, Run):
            source = PermutationAverage(source.force_field) if average else source.force_field
        if not isinstance(source, ForceField):
            raise TypeError(f"source: got {type(source).__name__}, wanted a run or an object with forces")
        if isinstance(source, (PermutationAverage, NetworkForceField)):
            if n_atoms not in (None, N_ATOMS):
                raise ValueError(f"n_atoms: got {n_atoms}, wanted {N_ATOMS}, which the network was made for")
            n_atoms = N_ATOMS
        self.force_field = source
        self.symbol = symbol
        self.n_atoms = n_atoms
        if hasattr(source, "energy"):
            # Shadows the attribute of the class: what can be computed depends on the force field.
            self.implemented_properties = ["energy", "free_energy", "forces"]

    def get_property(self, name, atoms=None, allow_calculation=True):
        """A property by its ASE name.

        Raises:
            NotImplementedError: ASE's ``PropertyNotImplementedError``, if the force field does not have it.
        """
        if name in ("energy", "free_energy") and "energy" not in self.implemented_properties:
            raise PropertyNotImplementedError(
                f"energy: {type(self.force_field).__name__} predicts forces directly and has no energy; use "
                "enn_lib.calculator.forces_only(FIRE) to relax, forces_only(VelocityVerlet) for dynamics "
                "with a log, and a force field made from an energy for what needs one, as elastic bands do"
            )
        return super().get_property(name, atoms, allow_calculation)

    def calculate(self, atoms=None, properties=("forces",), system_changes=all_changes):
        """Compute everything at once, in float64; ASE calls this.

        Raises:
            ValueError: if the atoms are not those the force field knows, their number is wrong, or their
                cell is periodic along some axes only or for a force field that knows no cells.
        """
        super().calculate(atoms)
        atoms = self.atoms  # a copy of those that were given, or of those of the calculator
        symbols = atoms.get_chemical_symbols()
        if isinstance(self.symbol, tuple):
            if tuple(symbols) != self.symbol:
                raise ValueError(
                    f"atoms: got {', '.join(symbols)}, wanted {', '.join(self.symbol)} in this order"
                )
        elif strangers := sorted(set(symbols) - {self.symbol}):
            raise ValueError(f"atoms: got {', '.join(strangers)}, wanted {self.symbol} only")
        if self.n_atoms not in (None, len(atoms)):
            raise ValueError(f"atoms: got {len(atoms)} of them, wanted {self.n_atoms}")
        field = self.force_field
        if hasattr(field, "in_cell"):
            if atoms.pbc.any() and not atoms.pbc.all():
                raise ValueError(f"atoms: got pbc {atoms.pbc.tolist()}, wanted all three or none")
            field = field.in_cell(torch.tensor(atoms.cell.array) if atoms.pbc.any() else None)
        elif atoms.pbc.any():
            raise ValueError("atoms: got a periodic cell, wanted atoms in free space")
        positions = torch.from_numpy(atoms.get_positions())
        self.results = {"forces": field.forces(positions).detach().numpy()}
        if energy := getattr(field, "energy", None):
            # There are no electrons whose entropy would make the two differ.
            self.results["energy"] = self.results["free_energy"] = energy(positions).item()


def forces_only(driver: type) -> type:
    """ASE's optimiser or dynamics without energies: ``forces_only(FIRE)(atoms).run(fmax=0.001)``.

    ASE's own read the energy for the log; an optimiser at every step, even when there is no log to write.

    Args:
        driver: a class that moves by forces alone, such as FIRE, BFGS, MDMin, VelocityVerlet or Langevin.

    Returns:
        A subclass whose log has the step and the largest force, eV/Å, or for dynamics the time, ps, and the
        temperature, K.

    Raises:
        TypeError: if it is neither an optimiser nor dynamics of ASE.
    """
    if not (isinstance(driver, type) and issubclass(driver, (Optimizer, MolecularDynamics))):
        raise TypeError(f"driver: got {driver!r}, wanted an optimiser or dynamics of ASE")

    class ForcesOnly(driver):
        def log(self, gradient):
            if self.logfile is not None:
                largest = self.optimizable.gradient_norm(gradient)
                self.logfile.write(f"{driver.__name__} {self.nsteps:5d} {largest:12.6f}\n")

    class ForcesOnlyDynamics(driver):
        def __init__(self, *arguments, **settings):
            given = signature(driver).bind(*arguments, **settings).arguments
            given |= given.pop("kwargs", {})
            logfile = given.pop("logfile", None)
            super().__init__(**given)
            if logfile is not None:
                self.attach(self._log, given.get("loginterval", 1), self.openfile(file=logfile, comm=world))

        def _log(self, file):
            picoseconds = self.get_time() / (1000 * units.fs)
            file.write(f"{picoseconds:12.4f} {self.atoms.get_temperature():10.3f}\n")

    return ForcesOnly if issubclass(driver, Optimizer) else ForcesOnlyDynamics
