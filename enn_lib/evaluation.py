"""What a force field is worth: errors on held-out configurations, and in dynamics."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from enn_lib.argon import ARGON, Configurations, generate_data, smallest_distance
from enn_lib.dynamics import paper_initial_conditions, rmsd_energy, rmsd_positions, simulate
from enn_lib.force_field import ForceField
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import Run
from enn_lib.storage import write_json

DISTANCE_EDGES = (2.8, 2.9, 3.0, 3.2, 3.4, 3.8, 4.5, float("inf"))
"""Bins of the smallest pair distance of a configuration, Å."""

DYNAMICS_STEPS = (1500, 4000)
"""The steps at which sec. 4.3 speaks of the dynamics."""


def force_fields(run: Run) -> dict[str, ForceField]:
    """The two force fields of a run, by their label in figures: the network alone, and averaged over S4."""
    return {"network": (field := run.force_field), "S4 average": PermutationAverage(field)}


def predict(force_field: ForceField, positions: Tensor, chunk_size: int = 100) -> Tensor:
    """Forces (eV/Å) at many configurations ``(N, 4, 3)``, in chunks that fit into a processor's cache."""
    return torch.cat([force_field.forces(part) for part in positions.split(chunk_size)])


def rmsd(force_field: ForceField, configurations: Configurations) -> float:
    """The root mean square error of a force component, eV/Å."""
    error = predict(force_field, configurations.positions, 500) - configurations.forces
    return error.square().mean().sqrt().item()


def force_errors(predicted: Tensor, configurations: Configurations) -> dict:
    """RMSD of predicted forces under both readings, and by the smallest pair distance.

    "Per component" averages the squares over configurations, atoms and Cartesian components; "per
    vector" sums over the components, and so is sqrt(3) times larger. The paper does not say which is
    its 0.00118 eV/Å.

    Args:
        predicted: forces, eV/Å, ``(N, 4, 3)``.
        configurations: what they are compared to.

    Returns:
        ``rmsd_component``, ``rmsd_vector`` and ``max_abs_error`` in eV/Å, and ``by_distance``, a list of
        ``{"from": Å, "to": Å or null, "n": int, "rmsd_component": eV/Å or null}``.

    Raises:
        ValueError: if the two do not have the same shape.
    """
    if predicted.shape != configurations.forces.shape:
        raise ValueError(
            f"predicted: got shape {tuple(predicted.shape)}, wanted {tuple(configurations.forces.shape)}"
        )
    error = predicted - configurations.forces
    squared = error.square().mean(dim=(-1, -2))
    distance = smallest_distance(configurations.positions)
    bins = []
    for low, high in pairwise(DISTANCE_EDGES):
        inside = (distance >= low) & (distance < high)
        n = int(inside.sum())
        bins.append({
            "from": low,
            "to": None if high == float("inf") else high,
            "n": n,
            "rmsd_component": squared[inside].mean().sqrt().item() if n else None,
        })  # fmt: skip
    rmsd = squared.mean().sqrt().item()
    return {
        "rmsd_component": rmsd,
        "rmsd_vector": 3**0.5 * rmsd,
        "max_abs_error": error.abs().max().item(),
        "by_distance": bins,
    }


def dynamics_errors(
    force_field: ForceField, *, steps: Sequence[int] = DYNAMICS_STEPS, n_samples: int = 10, seed: int = 0
) -> dict:
    """Deviation from the analytic dynamics of sec. 4.3 (10 K, 1 fs) after some numbers of steps.

    Returns:
        ``n_samples``, ``seed``, ``steps``, ``rmsd_positions`` in Å (Eq. 48) and ``rmsd_energy`` in eV
        (Eq. 49), a number for each of `steps`.
    """
    start = paper_initial_conditions(n_samples, seed=seed)
    analytic = simulate(ARGON, *start, max(steps))
    predicted = simulate(force_field, *start, max(steps))
    rows = list(steps)
    return {"n_samples": n_samples, "seed": seed, "steps": rows} | {
        "rmsd_positions": rmsd_positions(analytic, predicted)[rows].tolist(),
        "rmsd_energy": rmsd_energy(analytic, predicted)[rows].tolist(),
    }


def evaluate(run: Run, *, steps: Sequence[int] = DYNAMICS_STEPS) -> dict:
    """Measure a run on the regenerated test split and in dynamics, the network alone and averaged over S4.

    The dynamics are measured after each of `steps`. Everything is computed in float64. The validation error
    is there to compare choices by; nothing is ever chosen on the test error.
    """
    data = generate_data(run.config.n_configurations, run.config.data_seed)
    metrics: dict = {"iteration": int(run.history["iteration"][-1]), "n_test": len(data.test)}
    metrics |= {"test": {}, "validation": {}, "dynamics": {}}
    for name, force_field in zip(("network", "s4_average"), force_fields(run).values(), strict=True):
        metrics["test"][name] = force_errors(predict(force_field, data.test.positions), data.test)
        metrics["dynamics"][name] = dynamics_errors(force_field, steps=steps)
    validation = force_errors(predict(run.force_field, data.validation.positions), data.validation)
    metrics["validation"]["network"] = validation
    return metrics


def write_metrics(run: Run) -> dict:
    """Evaluate a run and write its ``metrics.json``."""
    metrics = evaluate(run)
    write_json(run.path / "metrics.json", metrics)
    return metrics
