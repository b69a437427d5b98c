"""The figures of the paper and their numbers, from trained runs: ``python -m enn_book reproduce``."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure
from torch import Tensor

from enn_book.paper import figures
from enn_book.paper.claims import PAPER_RMSD
from enn_lib.argon import ARGON, Configurations, generate_data
from enn_lib.dynamics import Trajectory, paper_initial_conditions, rmsd_energy, rmsd_positions, simulate
from enn_lib.evaluation import force_fields, predict
from enn_lib.force_field import ForceField
from enn_lib.runs import Run
from enn_lib.storage import replacing, write_csv

LOSS_COLUMNS = ("iteration", "epoch", "gradient_evaluations", "training_loss", "validation_loss")
"""The columns of a history that Figure 2 is about; its seconds are those of one machine."""

Table = Mapping[str, Sequence]
"""Columns of equal length by name; a name ends in the unit."""


@dataclass(frozen=True)
class Experiment:
    """What the figures are drawn from. Everything is computed when it is first asked for, and once.

    Attributes:
        reference: the run whose forces and dynamics are shown, alone and averaged over S4.
        protocol: the run of the paper's training, whose loss Figure 2 shows too.
        n_test: how many of the test configurations; None for all.
        n_samples: of the dynamics, sec. 4.3.
        n_steps: of 1 fs.
        seed: of the velocities.
    """

    reference: Run
    protocol: Run
    n_test: int | None = None
    n_samples: int = 10
    n_steps: int = 10_000
    seed: int = 0

    def small(self) -> "Experiment":
        """The same from the same runs at a size that takes seconds."""
        return replace(self, n_test=500, n_samples=3, n_steps=300)

    @cached_property
    def fields(self) -> dict[str, ForceField]:
        """The force fields whose predictions are shown, by label."""
        return force_fields(self.reference)

    @cached_property
    def test(self) -> Configurations:
        """The test configurations, or the first `n_test` of them."""
        config = self.reference.config
        test = generate_data(config.n_configurations, config.data_seed).test
        return Configurations(test.positions[: self.n_test], test.forces[: self.n_test])

    @cached_property
    def predictions(self) -> dict[str, Tensor]:
        """Forces at the test configurations, eV/Å, ``(N, 4, 3)``, by label."""
        return {label: predict(field, self.test.positions) for label, field in self.fields.items()}

    @cached_property
    def analytic(self) -> Trajectory:
        """The true dynamics."""
        return self._follow(ARGON)

    @cached_property
    def predicted(self) -> dict[str, Trajectory]:
        """The dynamics under each force field, from the same start, by label."""
        return {label: self._follow(field) for label, field in self.fields.items()}

    def _follow(self, field: ForceField) -> Trajectory:
        start = paper_initial_conditions(self.n_samples, seed=self.seed)
        return simulate(field, *start, self.n_steps, progress=True)


def figure_1(experiment: Experiment) -> tuple[Figure, Table]:
    """The potential of a pair of atoms (Eq. 38)."""
    distance, energy = figures.potential_curve(ARGON)
    return figures.plot_potential(ARGON), {"distance_A": distance, "energy_eV": energy}


def figure_2(experiment: Experiment) -> tuple[Figure, Table]:
    """Training and validation loss (Eq. 43) of the paper's protocol and of the reference run."""
    runs = {"paper's protocol": experiment.protocol, experiment.reference.name: experiment.reference}
    level = (PAPER_RMSD / experiment.reference.scales.force) ** 2
    figure = figures.plot_loss({label: run.history for label, run in runs.items()}, level=level)
    table = {"run": [run.name for run in runs.values() for _ in run.history["iteration"]]}
    table |= {name: [x for run in runs.values() for x in run.history[name]] for name in LOSS_COLUMNS}
    return figure, table


def figure_3(experiment: Experiment) -> tuple[Figure, Table]:
    """Predicted against analytic force components: configurations, then atoms, then x, y and z."""
    forces = experiment.test.forces
    columns = {"analytic": forces, **experiment.predictions}
    return figures.plot_parity(forces, experiment.predictions), {
        _column(label, "eV_per_A"): values.flatten() for label, values in columns.items()
    }


def figure_4(experiment: Experiment) -> tuple[Figure, Table]:
    """The RMSD of positions (Eq. 48) against the step."""
    rmsd = {label: rmsd_positions(experiment.analytic, t) for label, t in experiment.predicted.items()}
    return figures.plot_position_rmsd(rmsd), _by_step(rmsd, "A")


def figure_5(experiment: Experiment) -> tuple[Figure, Table]:
    """x of atom 1 in sample 1 against the step."""
    analytic = experiment.analytic.positions[:, 0, 0, 0]
    predicted = {label: t.positions[:, 0, 0, 0] for label, t in experiment.predicted.items()}
    return figures.plot_trajectory(analytic, predicted), _by_step({"analytic": analytic, **predicted}, "A")


def figure_6(experiment: Experiment) -> tuple[Figure, Table]:
    """The RMSD of total energies (Eq. 49) against the step."""
    rmsd = {label: rmsd_energy(experiment.analytic, t) for label, t in experiment.predicted.items()}
    return figures.plot_energy_rmsd(rmsd), _by_step(rmsd, "eV")


def figure_7(experiment: Experiment) -> tuple[Figure, Table]:
    """The total energy (Eq. 47) of sample 1 against the step."""
    analytic = experiment.analytic.total_energy()[:, 0]
    predicted = {label: t.total_energy()[:, 0] for label, t in experiment.predicted.items()}
    return figures.plot_energy(analytic, predicted), _by_step({"analytic": analytic, **predicted}, "eV")


FIGURES: dict[int, Callable[[Experiment], tuple[Figure, Table]]] = dict(
    enumerate((figure_1, figure_2, figure_3, figure_4, figure_5, figure_6, figure_7), start=1)
)
"""The figures of the paper by number."""


def reproduce(
    experiment: Experiment, folder: Path, numbers: Sequence[int] = tuple(FIGURES)
) -> Iterator[list[Path]]:
    """Write figures into a folder, each as ``figure-N.png``, ``figure-N.pdf`` and ``figure-N.csv``.

    The same experiment gives the same bytes again. Files are written beside and renamed, so that none
    is ever half there.

    Args:
        experiment: what they are drawn from.
        folder: where to; made if it is not there.
        numbers: of the paper's figures.

    Yields:
        The three files of each figure, when they are written.

    Raises:
        ValueError: before anything is written, if there is no figure of a number.
        OSError: if the folder cannot be made or written to.
    """
    unknown = [number for number in numbers if number not in FIGURES]
    if unknown:
        raise ValueError(f"figure: got {unknown[0]}, wanted one of {', '.join(map(str, FIGURES))}")
    folder.mkdir(parents=True, exist_ok=True)
    return (_write(*FIGURES[number](experiment), folder / f"figure-{number}") for number in numbers)


def _write(figure: Figure, table: Table, stem: Path) -> list[Path]:
    """Write one figure and its numbers; return the files."""
    files = [stem.with_suffix(f".{kind}") for kind in ("png", "pdf", "csv")]
    for path in files[:2]:
        kind = path.suffix[1:]
        with replacing(path) as part:  # without its date a PDF is the same each time
            figure.savefig(part, format=kind, metadata={"CreationDate": None} if kind == "pdf" else None)
    columns = [values.tolist() if isinstance(values, Tensor) else values for values in table.values()]
    write_csv(files[2], list(table), zip(*columns, strict=True))
    return files


def _by_step(series: Mapping[str, Tensor], unit: str) -> Table:
    """Series over the steps of the dynamics as columns, the step first."""
    steps = range(len(next(iter(series.values()))))
    return {"step": steps, **{_column(label, unit): values for label, values in series.items()}}


def _column(label: str, unit: str) -> str:
    """A label with its unit, as the name of a column."""
    return f"{label.replace(' ', '_')}_{unit}"
