"""The part of the benchmark that knows the axes: where it is, and that it bounds equivariant models."""

import pytest
import torch

from enn_lib.nbody.data import Systems, generate_systems
from enn_lib.nbody.floor import least_errors, turned_targets
from enn_lib.nbody.system import MAX_FORCE, coulomb_forces, simulate


@pytest.fixture(scope="module")
def systems():
    return generate_systems("test", 100)


def was_limited(systems):
    """Whether any component of a force reached the limit on the way."""
    x, v, hit = systems.positions, systems.velocities, torch.zeros(len(systems), dtype=torch.bool)
    for _ in range(1000):
        hit |= (coulomb_forces(x, systems.charges, None).abs() > MAX_FORCE).flatten(1).any(dim=1)
        (x,), (v,) = simulate(x, v, systems.charges, 1)
    torch.testing.assert_close(x, systems.targets, rtol=0, atol=0)
    return hit


def test_targets_turn_with_their_start_where_the_limit_was_never_reached_and_only_there(systems):
    hit = was_limited(systems)
    assert 5 < hit.sum() < 30
    apart = (turned_targets(systems, 1)[0] - systems.targets).abs().amax(dim=(1, 2))
    assert apart[~hit].max() < 1e-6
    assert (apart[hit] > 1e-4).float().mean() > 0.8


def test_the_least_error_is_that_of_the_mean_over_all_directions():
    """On targets that are random in every direction: the error of their mean, zero, is their variance."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.randn(41, 50, 5, 3, dtype=torch.float64, generator=generator)
    zero = torch.zeros(50, 5, 3, dtype=torch.float64)
    systems = Systems(zero, zero, zero[..., 0], ends[0])
    assert least_errors(systems, ends[1:]).mean().item() == pytest.approx(1, rel=0.02)


def test_a_system_without_an_encounter_can_be_learned(systems):
    errors = least_errors(systems, turned_targets(systems, 2))
    assert errors.median() < 1e-20
    assert errors.mean() > 1e-4


def test_no_direction_is_refused(systems):
    with pytest.raises(ValueError, match="count: got 0"):
        turned_targets(systems, 0)
