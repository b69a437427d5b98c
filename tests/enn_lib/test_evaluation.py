"""What a force field is worth: errors on held-out configurations, and in dynamics."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from enn_lib.argon import (
    ARGON,
    Configurations,
    LennardJones,
    generate_data,
    sample_positions,
    smallest_distance,
)
from enn_lib.dynamics import paper_initial_conditions, rmsd_energy, rmsd_positions, simulate
from enn_lib.evaluation import (
    DISTANCE_EDGES,
    dynamics_errors,
    evaluate,
    force_errors,
    force_fields,
    predict,
    rmsd,
    write_metrics,
)
from enn_lib.permutation import PermutationAverage
from enn_lib.runs import load_run
from enn_lib.storage import read_json

WRONG = LennardJones(1.1 * ARGON.epsilon, ARGON.r0)
"""Forces ten percent too large."""

SHIFT = torch.tensor([0.003, 0.004, 0.012], dtype=torch.float64)
SHIFTED = SimpleNamespace(forces=lambda positions: ARGON.forces(positions) + SHIFT)
"""The true forces plus a vector of 3, 4 and 12 meV/Å, of length 13."""


@pytest.fixture(scope="module")
def test_part():
    return generate_data(2000).test


@pytest.fixture(scope="module")
def errors(test_part):
    """Those of the wrong forces."""
    return force_errors(predict(WRONG, test_part.positions), test_part)


def test_the_true_forces_have_no_error(test_part):
    errors = force_errors(predict(ARGON, test_part.positions), test_part)
    assert errors["rmsd_component"] == errors["rmsd_vector"] == errors["max_abs_error"] == 0


def test_the_two_readings_are_a_mean_over_components_and_one_over_vectors(test_part):
    errors = force_errors(predict(SHIFTED, test_part.positions), test_part)
    assert errors["rmsd_vector"] == pytest.approx(0.013)
    assert errors["rmsd_component"] == pytest.approx(0.013 / 3**0.5)
    assert errors["max_abs_error"] == pytest.approx(0.012)


def test_the_rmsd_is_that_of_a_loop(test_part, errors):
    differences = [0.1 * component for component in test_part.forces.flatten().tolist()]
    mean_square = sum(difference**2 for difference in differences) / len(differences)
    assert errors["rmsd_component"] == pytest.approx(mean_square**0.5)
    assert errors["max_abs_error"] == pytest.approx(max(map(abs, differences)))


def test_the_bins_of_the_smallest_distance_hold_every_configuration_and_their_own_errors(test_part, errors):
    distance = smallest_distance(test_part.positions)
    assert [b["from"] for b in errors["by_distance"]] == list(DISTANCE_EDGES[:-1])
    assert errors["by_distance"][-1]["to"] is None
    assert sum(b["n"] for b in errors["by_distance"]) == len(test_part)
    for b in errors["by_distance"]:
        inside = (distance >= b["from"]) & (distance < (b["to"] or float("inf")))
        part = Configurations(test_part.positions[inside], test_part.forces[inside])
        assert b["n"] == len(part)
        alone = force_errors(predict(WRONG, part.positions), part)
        assert b["rmsd_component"] == pytest.approx(alone["rmsd_component"], rel=1e-12)


def test_the_squares_of_the_bins_add_up_to_the_square_of_the_whole(test_part, errors):
    total = sum(b["n"] * b["rmsd_component"] ** 2 for b in errors["by_distance"] if b["n"])
    assert (total / len(test_part)) ** 0.5 == pytest.approx(errors["rmsd_component"])


def test_a_distance_at_an_edge_belongs_to_the_bin_that_begins_there():
    square = torch.tensor([[[0.0, 0, 0], [3, 0, 0], [3, 3, 0], [0, 3, 0]]], dtype=torch.float64)
    counts = {b["from"]: b["n"] for b in force_errors(square, Configurations(square, square))["by_distance"]}
    assert {low for low, n in counts.items() if n} == {3.0}


def test_the_rmsd_alone_is_that_of_a_component(test_part, errors):
    assert rmsd(WRONG, test_part) == errors["rmsd_component"]


def test_a_run_has_two_force_fields_with_the_names_that_figures_show(small_run):
    run, positions = load_run(small_run), sample_positions(2, seed=0)
    (first, alone), (second, average) = force_fields(run).items()
    assert (first, second) == ("network", "S4 average")
    assert alone.forces(positions).equal(run.force_field.forces(positions))
    assert average.force_field is alone


def test_a_run_is_measured_alone_and_averaged_on_its_own_data_and_in_ten_samples_of_dynamics(small_run):
    run = load_run(small_run)
    run = replace(run, config=replace(run.config, data_seed=7))
    data, metrics = generate_data(200, seed=7), evaluate(run, steps=(1, 3))
    assert (metrics["iteration"], metrics["n_test"]) == (30, 40)
    fields = {"network": run.force_field, "s4_average": PermutationAverage(run.force_field)}
    assert list(metrics["test"]) == list(metrics["dynamics"]) == list(fields)
    for name, field in fields.items():
        assert metrics["test"][name] == force_errors(predict(field, data.test.positions), data.test)
        assert metrics["dynamics"][name] == dynamics_errors(field, steps=(1, 3), n_samples=10, seed=0)
    predicted = predict(run.force_field, data.validation.positions)
    assert metrics["validation"] == {"network": force_errors(predicted, data.validation)}


def test_what_was_measured_is_written_into_the_folder_of_the_run(small_run, tmp_path, monkeypatch):
    run = replace(load_run(small_run), path=tmp_path)
    monkeypatch.setattr("enn_lib.evaluation.evaluate", lambda run: {"measured": run.name})
    assert write_metrics(run) == read_json(tmp_path / "metrics.json") == {"measured": tmp_path.name}


def test_a_bin_without_configurations_has_no_error(test_part):
    far = Configurations(10 * test_part.positions, test_part.forces)
    errors = force_errors(test_part.forces, far)
    assert errors["by_distance"][0] == {"from": 2.8, "to": 2.9, "n": 0, "rmsd_component": None}


def test_predicting_in_chunks_is_predicting_at_once(test_part):
    whole = predict(WRONG, test_part.positions, chunk_size=10_000)
    assert predict(WRONG, test_part.positions, chunk_size=7).equal(whole)
    assert whole.equal(WRONG.forces(test_part.positions))


def test_forces_of_another_shape_are_refused(test_part):
    with pytest.raises(ValueError, match=r"^predicted: got shape \(399, 4, 3\), wanted \(400, 4, 3\)$"):
        force_errors(test_part.forces[1:], test_part)


def test_the_analytic_dynamics_does_not_deviate_from_itself():
    errors = dynamics_errors(ARGON, steps=(0, 30), n_samples=2)
    assert errors["rmsd_positions"] == errors["rmsd_energy"] == [0.0, 0.0]


def test_the_errors_in_dynamics_are_those_of_the_trajectories_at_the_steps_asked_for():
    errors = dynamics_errors(WRONG, steps=(10, 40), n_samples=2, seed=5)
    start = paper_initial_conditions(2, seed=5)
    analytic, predicted = simulate(ARGON, *start, 40), simulate(WRONG, *start, 40)
    assert errors == {
        "n_samples": 2,
        "seed": 5,
        "steps": [10, 40],
        "rmsd_positions": rmsd_positions(analytic, predicted)[[10, 40]].tolist(),
        "rmsd_energy": rmsd_energy(analytic, predicted)[[10, 40]].tolist(),
    }
    assert errors["rmsd_positions"][1] > errors["rmsd_positions"][0] > 0
