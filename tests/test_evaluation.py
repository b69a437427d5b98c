"""What a force field is worth: errors on held-out configurations, and in dynamics."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from enn_lib.argon import ARGON, Configurations, LennardJones, generate_data, smallest_distance
from enn_lib.dynamics import paper_initial_conditions, rmsd_energy, rmsd_positions, simulate
from enn_lib.evaluation import (
    DISTANCE_EDGES,
    dynamics_errors,
    force_errors,
    predict,
    smallest_hidden_norms,
)
from enn_lib.network import ENN

WRONG = LennardJones(1.1 * ARGON.epsilon, ARGON.r0)
"""Forces ten percent too large."""


@dataclass(frozen=True)
class Shifted:
    """The true forces plus a vector of 3, 4 and 12 meV/Å, of length 13."""

    vector: Tensor

    def forces(self, positions):
        return ARGON.forces(positions) + self.vector


SHIFTED = Shifted(torch.tensor([0.003, 0.004, 0.012], dtype=torch.float64))


@pytest.fixture(scope="module")
def test_part():
    return generate_data(2000).test


def test_the_true_forces_have_no_error(test_part):
    errors = force_errors(predict(ARGON, test_part.positions), test_part)
    assert errors["rmsd_component"] == errors["rmsd_vector"] == errors["max_abs_error"] == 0


def test_the_two_readings_are_a_mean_over_components_and_one_over_vectors(test_part):
    errors = force_errors(predict(SHIFTED, test_part.positions), test_part)
    assert errors["rmsd_vector"] == pytest.approx(0.013)
    assert errors["rmsd_component"] == pytest.approx(0.013 / 3**0.5)
    assert errors["max_abs_error"] == pytest.approx(0.012)


def test_the_rmsd_is_that_of_a_loop(test_part):
    errors = force_errors(predict(WRONG, test_part.positions), test_part)
    total, count, largest = 0.0, 0, 0.0
    for configuration in test_part.forces.tolist():
        for force in configuration:
            for component in force:
                total, count = total + (0.1 * component) ** 2, count + 1
                largest = max(largest, abs(0.1 * component))
    assert errors["rmsd_component"] == pytest.approx((total / count) ** 0.5)
    assert errors["max_abs_error"] == pytest.approx(largest)


def test_the_bins_of_the_smallest_distance_hold_every_configuration_and_their_own_errors(test_part):
    predicted = predict(WRONG, test_part.positions)
    errors = force_errors(predicted, test_part)
    distance = smallest_distance(test_part.positions)
    assert [b["from"] for b in errors["by_distance"]] == list(DISTANCE_EDGES[:-1])
    assert errors["by_distance"][-1]["to"] is None
    assert sum(b["n"] for b in errors["by_distance"]) == len(test_part)
    for b in errors["by_distance"]:
        inside = (distance >= b["from"]) & (distance < (b["to"] or float("inf")))
        part = Configurations(test_part.positions[inside], test_part.forces[inside])
        assert b["n"] == len(part)
        assert b["rmsd_component"] == pytest.approx(
            force_errors(predicted[inside], part)["rmsd_component"], rel=1e-12
        )


def test_the_squares_of_the_bins_add_up_to_the_square_of_the_whole(test_part):
    errors = force_errors(predict(WRONG, test_part.positions), test_part)
    total = sum(b["n"] * b["rmsd_component"] ** 2 for b in errors["by_distance"] if b["n"])
    assert (total / len(test_part)) ** 0.5 == pytest.approx(errors["rmsd_component"])


def test_a_bin_without_configurations_has_no_error(test_part):
    far = Configurations(10 * test_part.positions, test_part.forces)
    errors = force_errors(test_part.forces, far)
    assert errors["by_distance"][0] == {"from": 2.8, "to": 2.9, "n": 0, "rmsd_component": None}


def test_predicting_in_chunks_is_predicting_at_once(test_part):
    whole = predict(WRONG, test_part.positions, chunk_size=10_000)
    assert predict(WRONG, test_part.positions, chunk_size=7).equal(whole)
    assert whole.equal(WRONG.forces(test_part.positions))


def test_forces_of_another_shape_are_refused(test_part):
    with pytest.raises(ValueError, match=r"predicted: got shape \(399, 4, 3\), wanted \(400, 4, 3\)"):
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


def test_the_smallest_norm_is_that_of_the_vectors_that_enter_the_later_layers():
    network = ENN((6, 5, 3, 4), generator=torch.Generator().manual_seed(0))
    inputs = torch.randn(7, 3, 6, generator=torch.Generator().manual_seed(1))
    entered = []
    for layer in network.layers[1:]:
        layer.register_forward_pre_hook(lambda _, arguments: entered.append(arguments[0]))
    network(inputs)
    expected = torch.stack([x.norm(dim=-2).amin(dim=-1) for x in entered]).amin(dim=0)
    torch.testing.assert_close(smallest_hidden_norms(network, inputs), expected)
