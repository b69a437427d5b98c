"""The equations, figures and statements of section 4 and Appendix A, each measured (Eq. 38 to 49, A.1).

Where the paper gives a number, that is what is wanted. Where it says "fairly good" or "drop significantly",
the bound is ours and stands here as a constant.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import accumulate

import torch
from ase import Atoms, units
from ase.calculators.lj import LennardJones as AseLennardJones
from ase.md.verlet import VelocityVerlet as AseVelocityVerlet
from torch import Tensor

from enn_book.paper.claims import Attempt, Bound, Claim, register
from enn_book.paper.mathematics import relative_error
from enn_lib.argon import (
    ARGON,
    ARGON_MASS,
    PAIRS,
    ArgonData,
    generate_data,
    relative_vectors,
    smallest_distance,
)
from enn_lib.dynamics import (
    Trajectory,
    kinetic_energy,
    paper_initial_conditions,
    rmsd_energy,
    rmsd_positions,
    simulate,
)
from enn_lib.evaluation import DYNAMICS_STEPS, evaluate
from enn_lib.fire import FIRE
from enn_lib.layers import EquivariantLinear
from enn_lib.network import PAPER_WIDTHS
from enn_lib.runs import Run
from enn_lib.settings import Config
from enn_lib.training import Trainer

EXPERIMENT: list[Claim] = []
"""The claims of section 4 and Appendix A, in the order of the paper."""

_claim = partial(register, EXPERIMENT)

ARGON_PAGE, TRAINING, FORCES = ("argon",), ("training",), ("forces",)
DYNAMICS, ENERGY = ("dynamics",), ("energy",)

PAPER_RMSD = 0.00118
"""The test error of the paper, eV/Å; per component or per vector, it does not say."""

PAPER_ITERATIONS = 10_000_000
"""Iterations of FIRE in the paper."""

ENERGY_BOUND = 4e-4
"""What the RMSD of the energy stays below at about 4000 steps in the paper, eV."""

EVEN_RISE = 0.02
"""A rise of the loss by a smaller part is none to the eye on the axis of Fig. 2; so "even" is read here."""

FAIRLY_GOOD, ACCEPTABLE = 0.1, 0.5
"""How the paper's words are read here, as the RMSD of positions as a share of the distance travelled."""

SIGNIFICANT_DROP = 0.1
"""How "drop significantly" is read here, as the last loss as a share of the first."""

NO_OVERFITTING = 1.5
"""How "does not suffer from overfitting" is read here, as validation loss over training loss, at the end."""

ROUNDING = Bound(at_most=1e-10)


def largest_rise(losses: Sequence[float]) -> float:
    """By which part a logged loss stands at most above the lowest before it; 0 if it never rises.

    A rise between two logged rows is not seen, so that a coarser log can only show less: with every second
    row left out, the 15 % of the run `paper` are 0.4 %.
    """
    return max(loss / lowest - 1 for loss, lowest in zip(losses, accumulate(losses, min), strict=True))


@dataclass(frozen=True)
class Evidence:
    """What the claims about the experiment are measured on.

    Attributes:
        reference: the best run of the literal network.
        protocol: the paper's training, as far as it was taken.
        steps: the two steps of the dynamics of which the paper speaks.
    """

    reference: Run
    protocol: Run
    steps: tuple[int, int] = DYNAMICS_STEPS

    def __post_init__(self):
        if not 0 < self.steps[0] < self.steps[1]:
            raise ValueError(f"steps: got {self.steps}, wanted two that rise")

    @cached_property
    def data(self) -> ArgonData:
        """The data of the reference run."""
        return generate_data(self.reference.config.n_configurations, self.reference.config.data_seed)

    @cached_property
    def analytic(self) -> Trajectory:
        """The true dynamics of sec. 4.3."""
        return simulate(ARGON, *paper_initial_conditions(), self.steps[1])

    def metrics(self, run: Run) -> dict:
        """What `evaluate` says about a run: its ``metrics.json`` if that has these steps, or measured now."""
        stored = run.metrics.get("dynamics", {}).get("network", {}).get("steps")
        return run.metrics if stored == list(self.steps) else self._measured[run.name]

    @cached_property
    def _measured(self) -> dict[str, dict]:
        return {run.name: evaluate(run, steps=self.steps) for run in (self.protocol, self.reference)}

    def attempts(self, value: Callable[[dict, str], dict[str, float]]) -> list[Attempt]:
        """The paper's protocol, the reference run alone, and averaged over S4, by the same measure.

        Args:
            value: takes metrics and "network" or "s4_average"; returns the value under each reading.
        """
        protocol, reference = self.metrics(self.protocol), self.metrics(self.reference)
        alone = _attempt(self.reference, value(reference, "network"))
        averaged = Attempt(value(reference, "s4_average"), f"{alone.how}, averaged over S4", is_change=True)
        return [_attempt(self.protocol, value(protocol, "network")), alone, averaged]

    def of_protocol(self, value: float) -> list[Attempt]:
        """One attempt: the paper's training, with what of it had to be read otherwise than printed."""
        return [_attempt(self.protocol, {"": value})]

    def of_reference(self, value: float) -> list[Attempt]:
        """One attempt: the reference run, which is a change from the paper."""
        return [_attempt(self.reference, {"": value})]

    def of_histories(self, value: Callable[[dict], float]) -> list[Attempt]:
        """The paper's protocol and the reference run, by the same measure of their histories."""
        return [_attempt(run, {"": value(run.history)}) for run in (self.protocol, self.reference)]


def _drop(history: dict, part: str) -> float:
    """The last loss on a part of the data as a share of the first."""
    return history[f"{part}_loss"][-1] / history[f"{part}_loss"][0]


def differences(config: Config) -> list[str]:
    """How a training departs from the paper's, in a few words each; empty if it does not."""
    names = {"fire": "FIRE", "adam": "Adam", "muon": "Muon", "soap": "SOAP"}
    found = []
    if config.optimiser != "fire" or config.batch_size is not None:
        found.append(f"{names[config.optimiser]} on batches of {config.batch_size}")
    elif config.fire_order != "appendix":
        found.append("the velocity first in Step 4")
    if config.relabel:
        found.append("atoms relabelled")
    if config.sampling_power:
        found.append("compact configurations drawn more often")
    if config.softening:
        found.append(f"unit vectors softened by {config.softening:g}")
    if config.widths != PAPER_WIDTHS:
        found.append("other widths")
    if config.n_train is not None or config.n_configurations != 100_000:
        found.append("fewer data")
    return found


def _attempt(run: Run, readings: dict[str, float]) -> Attempt:
    """What a run says, how it was trained, and whether the paper trained otherwise."""
    found = differences(run.config)
    done = f"FIRE, {int(run.history['iteration'][-1]):,} iterations"
    how = [done, *found] if run.config.optimiser == "fire" else found
    return Attempt(readings, ", ".join(how), is_change=bool(found))


def _as_atoms(positions: Tensor) -> Atoms:
    atoms = Atoms(f"Ar{len(positions)}", positions.numpy(), masses=[ARGON_MASS] * len(positions))
    atoms.calc = AseLennardJones(sigma=ARGON.r0, epsilon=ARGON.epsilon, rc=1e4)
    return atoms


@_claim("Eq. 38, 39", "the energy is a sum of Lennard-Jones pairs", ARGON_PAGE, ROUNDING)
def eq_38_and_39(evidence: Evidence) -> float:
    """Against ASE, for twenty configurations."""
    positions = evidence.data.test.positions[:20]
    by_ase = [_as_atoms(p).get_potential_energy() for p in positions]
    return relative_error(ARGON.energy(positions), torch.tensor(by_ase, dtype=torch.float64))


@_claim(
    "Fig. 1", "the well is ε deep, at a distance of 2^(1/6) r₀ (deviation)", ARGON_PAGE, Bound(at_most=1e-4)
)
def fig_1(_) -> float:
    """Where the curve is lowest and how low, on a fine grid, relative to both."""
    r = torch.arange(30_000, 80_000, dtype=torch.float64) / 10_000
    energy = ARGON.pair_energy(r)
    place = r[energy.argmin()].item() / (2 ** (1 / 6) * 3.4)
    depth = -energy.min().item() / (120 * units.kB)
    return max(abs(place - 1), abs(depth - 1))


@_claim(
    "sec. 4.1",
    "the energy rises drastically at around 3 Å (at 3 Å, in depths)",
    ARGON_PAGE,
    Bound(at_least=1),
)
def sec_4_1_wall(_) -> float:
    """The energy of a pair at 3 Å in units of the depth of the well."""
    return (ARGON.pair_energy(torch.tensor(3.0, dtype=torch.float64)) / ARGON.epsilon).item()


@_claim("sec. 4.1", "atoms in dynamics hardly come that close", DYNAMICS, Bound(at_least=3), "Å")
def sec_4_1_distance(evidence: Evidence) -> float:
    """The smallest distance on the true trajectories."""
    return smallest_distance(evidence.analytic.positions).min().item()


@_claim("Eq. 40, 46", "forces are the negative gradient", ARGON_PAGE, ROUNDING)
def eq_40_and_46(evidence: Evidence) -> float:
    """Against automatic differentiation; only the potential part of the Hamiltonian knows positions."""
    positions = evidence.data.test.positions[:200].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(ARGON.energy(positions).sum(), positions)
    return relative_error(ARGON.forces(positions.detach()), -gradient)


@_claim("sec. 4.1", "no pair is closer than 2.8 Å", ARGON_PAGE, Bound(at_least=2.8), "Å")
def sec_4_1_rejection(evidence: Evidence) -> float:
    """The smallest distance in all data."""
    data = evidence.data
    return min(smallest_distance(c.positions).min().item() for c in (data.train, data.validation, data.test))


@_claim("Eq. 41", "six relative vectors make the input blind to translations", ARGON_PAGE, ROUNDING)
def eq_41(evidence: Evidence) -> float:
    """Against the six differences, after a translation."""
    positions = evidence.data.test.positions[:20]
    wanted = torch.stack([positions[:, j] - positions[:, i] for i, j in PAIRS], dim=-1)
    return relative_error(relative_vectors(positions + torch.tensor([1.0, -2.0, 3.0])), wanted)


@_claim("Eq. 42", "the targets are the four forces, scaled", ARGON_PAGE, ROUNDING)
def eq_42(evidence: Evidence) -> float:
    """Scaled back, column by column."""
    data = evidence.data
    targets = data.test.targets(data.scales, torch.float64) * data.scales.force
    return relative_error(targets.unbind(dim=-1)[2], data.test.forces[:, 2])


@_claim("sec. 4.1", "60 % of the data are for training", ARGON_PAGE, Bound(0.6, 0.6))
def sec_4_1_split(evidence: Evidence) -> float:
    """The share of the training part."""
    return len(evidence.data.train) / evidence.reference.config.n_configurations


@_claim("sec. 4.2", "the forces are of the order of 0.1 to 1 eV/Å", ARGON_PAGE, Bound(0.1, 1), "eV/Å")
def sec_4_2_order(evidence: Evidence) -> list[Attempt]:
    """The length of a force, as a root mean square and as a median."""
    norms = evidence.data.train.forces.norm(dim=-1)
    readings = {"root mean square": norms.square().mean().sqrt().item(), "median": norms.median().item()}
    return [Attempt(readings)]


@_claim("sec. 4.2", "five hidden layers, 6-50-90-100-80-50-4 (parameters)", TRAINING, Bound(52_000, 52_000))
def sec_4_2_network(evidence: Evidence) -> float:
    """The number of parameters, W and b."""
    return sum(p.numel() for p in evidence.protocol.network.parameters())


@_claim("Eq. 43", "says what FIRE minimises (steps under two readings)", TRAINING, Bound(at_most=1e-3))
def eq_43(_) -> list[Attempt]:
    """How far FIRE's weights are apart after 50 iterations, the mean and the sum against the mean."""
    weights = {}
    for loss in ("mean", "sum"):
        settings = {"optimiser": "fire", "batch_size": None, "n_configurations": 200, "loss": loss}
        config = Config(**settings, widths=(6, 20, 4), dtype="float64", threads=1, compile=False)
        trainer = Trainer(config, generate_data(200))
        for _ in range(50):
            trainer.step()
        weights[loss] = torch.cat([p.detach().flatten() for p in trainer.network.parameters()])
    readings = {f"as a {loss}": relative_error(found, weights["mean"]) for loss, found in weights.items()}
    return [Attempt(readings)]


@_claim("sec. 4.2", "normalised Xavier weights (deviation / theirs)", TRAINING, Bound(0.97, 1.03))
def sec_4_2_xavier(_) -> float:
    """That of a large layer, in units of sqrt(2 / (M_k + M_(k+1)))."""
    layer = EquivariantLinear(300, 200, generator=torch.Generator().manual_seed(0))
    return layer.weight.std().item() / (2 / 500) ** 0.5


@_claim("sec. 4.2", "biases begin at zero", TRAINING, Bound(0, 0))
def sec_4_2_bias(_) -> float:
    """The largest entry of b in a new layer."""
    return EquivariantLinear(30, 20).bias.abs().max().item()


@_claim("Eq. A.1", "FIRE, with the settings of Appendix A", TRAINING, ROUNDING)
def eq_a_1(_) -> float:
    """A hundred iterations on a quadratic function, against Steps 3 to 8 in plain numbers."""
    curvature = torch.tensor([1.0, 10.0, 200.0], dtype=torch.float64)
    found = torch.ones(3, dtype=torch.float64, requires_grad=True)
    optimiser = FIRE([found])

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (curvature * found * found).sum() / 2
        loss.backward()
        return loss

    x, v = torch.ones(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    dt, alpha, n = 0.001, 0.1, 0
    for _ in range(100):
        optimiser.step(closure)
        force = -curvature * x
        x, v = x + v * dt, v + force / 0.1 * dt
        power = force @ v
        n += 1
        v = (1 - alpha) * v + alpha * v.norm() * force / force.norm()
        if power > 0 and n > 5:
            dt, alpha = min(dt * 1.1, 0.01), alpha * 0.99
        if power <= 0:
            dt, v, alpha, n = dt * 0.5, 0 * v, 0.1, 0
    return relative_error(found.detach(), x)


@_claim("sec. 4.2", "10 million iterations of FIRE", TRAINING, Bound(at_least=PAPER_ITERATIONS))
def sec_4_2_iterations(evidence: Evidence) -> float:
    """How many were done here."""
    return evidence.protocol.history["iteration"][-1]


@_claim(
    "sec. 4.2",
    "no fluctuation of the training loss until the end (largest rise above the lowest before)",
    TRAINING,
    Bound(at_most=EVEN_RISE),
)
def sec_4_2_steady(evidence: Evidence) -> list[Attempt]:
    """By which part FIRE's training loss stands at most above the lowest before."""
    return evidence.of_protocol(largest_rise(evidence.protocol.history["training_loss"]))


@_claim(
    "sec. 4.2",
    "FIRE converges fast (its loss / that of the reference at equal work)",
    TRAINING,
    Bound(at_most=1),
)
def sec_4_2_fast(evidence: Evidence) -> list[Attempt]:
    """Training losses after as many gradients of single configurations."""
    fire, other = evidence.protocol.history, evidence.reference.history
    work = min(fire["gradient_evaluations"][-1], other["gradient_evaluations"][-1])

    def loss_at(history: dict) -> float:
        done = [k for k, count in enumerate(history["gradient_evaluations"]) if count <= work]
        return history["training_loss"][done[-1]]

    return evidence.of_protocol(loss_at(fire) / loss_at(other))


@_claim(
    "Fig. 2",
    "training and validation loss drop significantly (last / first)",
    TRAINING,
    Bound(at_most=SIGNIFICANT_DROP),
)
def fig_2(evidence: Evidence) -> list[Attempt]:
    """The larger of the two ratios."""
    return evidence.of_histories(
        lambda history: max(_drop(history, part) for part in ("training", "validation"))
    )


@_claim("sec. 4.2", "the training loss drops faster (ratio of the drops)", TRAINING, Bound(at_least=1))
def sec_4_2_faster(evidence: Evidence) -> list[Attempt]:
    """The last over the first validation loss, in units of the same for the training loss."""
    return evidence.of_histories(lambda history: _drop(history, "validation") / _drop(history, "training"))


@_claim(
    "sec. 4.2", "no overfitting (validation loss / training loss)", TRAINING, Bound(at_most=NO_OVERFITTING)
)
def sec_4_2_overfitting(evidence: Evidence) -> list[Attempt]:
    """At the end of each run; what FIRE has not yet learned it cannot have learned by heart."""
    return evidence.of_histories(
        lambda history: history["validation_loss"][-1] / history["training_loss"][-1]
    )


@_claim("Fig. 3", "the RMSD of the test forces is 0.00118 eV/Å", FORCES, Bound(at_most=PAPER_RMSD), "eV/Å")
def fig_3(evidence: Evidence) -> list[Attempt]:
    """Under both readings."""
    return evidence.attempts(
        lambda metrics, kind: {
            "per component": metrics["test"][kind]["rmsd_component"],
            "per vector": metrics["test"][kind]["rmsd_vector"],
        }
    )


@_claim("sec. 4", "several forces come out of one calculation", FORCES, Bound(4, 4))
def sec_4_multiple(evidence: Evidence) -> float:
    """How many vectors."""
    return evidence.reference.force_field.forces(evidence.data.test.positions[:1]).shape[1]


@_claim("Eq. 44, 45", "velocity Verlet integrates Newton's equations", DYNAMICS, ROUNDING)
def eq_44_and_45(evidence: Evidence) -> float:
    """Against ASE's integrator, 100 steps of one sample."""
    positions, velocities = paper_initial_conditions(1)
    atoms = _as_atoms(positions[0])
    atoms.set_velocities(velocities[0].numpy() / units.fs)
    AseVelocityVerlet(atoms, timestep=units.fs).run(100)
    ours = simulate(ARGON, positions, velocities, 100).positions[-1, 0]
    return relative_error(ours, torch.from_numpy(atoms.get_positions()))


@_claim(
    "Eq. 47, Fig. 7", "the total energy is conserved by the true forces", ENERGY, Bound(at_most=1e-6), "eV"
)
def eq_47(evidence: Evidence) -> float:
    """The largest change in any sample."""
    energy = evidence.analytic.total_energy()
    return (energy - energy[0]).abs().max().item()


@_claim("sec. 4.3", "the kinetic energy corresponds to 10 K", DYNAMICS, Bound(9.9, 10.1), "K")
def sec_4_3_temperature(_) -> list[Attempt]:
    """With as many degrees of freedom as there are coordinates, and without those of the centre of mass."""
    _, velocities = paper_initial_conditions()
    twice = 2 * kinetic_energy(velocities).mean().item() / units.kB
    return [Attempt({"with 3N degrees of freedom": twice / 12, "with 3N - 3": twice / 9})]


@_claim("Eq. 48", "the RMSD of positions", DYNAMICS, ROUNDING)
def eq_48(evidence: Evidence) -> float:
    """Against its sums, for the true dynamics and its own start."""
    one, other = evidence.analytic, _stay(evidence.analytic)
    distances = (one.positions[-1] - other.positions[-1]).reshape(-1, 3)
    wanted = (sum((distance @ distance).item() for distance in distances) / len(distances)) ** 0.5
    return abs(rmsd_positions(one, other)[-1].item() / wanted - 1)


@_claim("Eq. 49", "the RMSD of energies", ENERGY, ROUNDING)
def eq_49(evidence: Evidence) -> float:
    """Against its sum, for the true dynamics and its own start at rest."""
    one, other = evidence.analytic, _stay(evidence.analytic)
    deviations = (one.total_energy()[-1] - other.total_energy()[-1]).tolist()
    wanted = (sum(deviation**2 for deviation in deviations) / len(deviations)) ** 0.5
    return abs(rmsd_energy(one, other)[-1].item() / wanted - 1)


def _stay(trajectory: Trajectory) -> Trajectory:
    """Atoms at rest where a trajectory begins."""
    positions = trajectory.positions[:1].expand_as(trajectory.positions)
    return Trajectory(trajectory.time, positions, torch.zeros_like(positions), trajectory.mass)


def _grows(evidence: Evidence, quantity: str) -> list[Attempt]:
    early, late = evidence.metrics(evidence.reference)["dynamics"]["network"][quantity]
    return evidence.of_reference(late / early)


@_claim("Fig. 4", "positions deviate more and more (late / early RMSD)", DYNAMICS, Bound(at_least=1))
def fig_4(evidence: Evidence) -> list[Attempt]:
    """The RMSD at the second step in units of the first."""
    return _grows(evidence, "rmsd_positions")


def _share_of_distance(evidence: Evidence, which: int) -> list[Attempt]:
    travelled = evidence.analytic.displacement()[evidence.steps[which]].item()
    return evidence.attempts(
        lambda metrics, kind: {"": metrics["dynamics"][kind]["rmsd_positions"][which] / travelled}
    )


@_claim(
    "Fig. 5", "fairly good to 1500 steps (RMSD / distance travelled)", DYNAMICS, Bound(at_most=FAIRLY_GOOD)
)
def fig_5_early(evidence: Evidence) -> list[Attempt]:
    """At the first step."""
    return _share_of_distance(evidence, 0)


@_claim("Fig. 5", "acceptable to 4000 steps (RMSD / distance travelled)", DYNAMICS, Bound(at_most=ACCEPTABLE))
def fig_5_late(evidence: Evidence) -> list[Attempt]:
    """At the second step."""
    return _share_of_distance(evidence, 1)


@_claim("Fig. 6", "the deviation of the energy accumulates (late / early RMSD)", ENERGY, Bound(at_least=1))
def fig_6_growth(evidence: Evidence) -> list[Attempt]:
    """The RMSD at the second step in units of the first."""
    return _grows(evidence, "rmsd_energy")


@_claim("Fig. 6", "RMSD(E) is below 4·10⁻⁴ eV at 4000 steps", ENERGY, Bound(at_most=ENERGY_BOUND), "eV")
def fig_6(evidence: Evidence) -> list[Attempt]:
    """At the second step."""
    return evidence.attempts(lambda metrics, kind: {"": metrics["dynamics"][kind]["rmsd_energy"][1]})


@_claim("sec. 4.3", "that is about two orders below the system's energy", ENERGY, Bound(1.5, 2.5))
def sec_4_3_orders(evidence: Evidence) -> float:
    """The decimal logarithm of the mean energy of the samples over 4e-4 eV."""
    return (evidence.analytic.total_energy()[0].abs().mean() / ENERGY_BOUND).log10().item()
