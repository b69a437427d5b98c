"""The study of missing and surplus symmetry: what is trained, what is measured, and what was found."""

from statistics import fmean

import pytest
import torch

from enn_book.lectures.spinors import as_complex, as_real
from enn_book.studies.study import load
from enn_book.studies.unitary.study import (
    DIMENSIONS,
    MODELS,
    SEEDS,
    SITES,
    STUDY,
    Plain,
    by_model,
    fit_best,
    frame,
    framed_pairs,
    learn,
    relative_error,
    run_one,
    states,
    step,
    training,
)
from enn_lib.groups import assert_equivariant

SMALL = {"n_train": 100, "n_steps": 5}


def some(count=20, n=3, seed=0):
    return states(count, n, torch.Generator().manual_seed(seed))


def test_a_site_has_one_atom_on_average():
    assert some(20_000).abs().square().sum(dim=1).mean().item() == pytest.approx(1, rel=0.02)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_the_frame_turns_with_the_state_and_what_is_seen_from_it_does_not_change(n):
    x = some(n=n)
    Q, z = frame(x)
    torch.testing.assert_close(Q @ z, x)
    diagonal = z.diagonal(dim1=-2, dim2=-1)
    assert diagonal.real.min() > 0
    assert diagonal.imag.abs().max() < 1e-12
    U = torch.linalg.qr(torch.randn(n, n, dtype=x.dtype, generator=torch.Generator().manual_seed(1)))[0]
    torch.testing.assert_close(frame(U @ x)[0], U @ Q)
    torch.testing.assert_close(frame(U @ x)[1], z)


@pytest.mark.parametrize("n", [2, 6])
def test_from_the_frame_nothing_of_a_step_is_lost(n):
    x = some(n=n)
    seen, wanted = framed_pairs(x)
    assert seen.shape == (20, 2 * min(n, SITES), SITES)
    torch.testing.assert_close(frame(x)[0] @ as_complex(wanted.double()), step(x), atol=1e-6, rtol=1e-5)


def test_the_plain_network_starts_as_the_linear_map_that_fits_best():
    x = as_real(some(500)).float()
    y = x @ torch.randn(SITES, SITES, generator=torch.Generator().manual_seed(1))
    network = Plain(3)
    network.start(x, y)
    torch.testing.assert_close(network(x), y, atol=1e-4, rtol=1e-4)


def test_tied_weights_commute_with_the_moves_of_the_ring_and_free_ones_do_not():
    x = some().to(torch.complex64)
    tied, free = (learn(training(model, 3, 0, **SMALL))[0] for model in ("tied", "complex"))
    for move in (lambda x: x.roll(1, -1)), (lambda x: x.flip(-1)):
        assert relative_error(tied(move(x)), move(tied(x))) < 1e-5
        assert relative_error(free(move(x)), move(free(x))) > 0.1
    assert_equivariant(tied, x, group="U")


def test_the_weights_that_do_best_on_what_is_held_out_are_kept():
    """Of a target that the network has at the start, training on another one leads away."""
    torch.manual_seed(0)
    network = MODELS["complex"][0](3)
    x = some().to(torch.complex64)
    with torch.no_grad():
        y = network(x)
    assert fit_best(network, (x, torch.zeros_like(y)), (x, y), steps=30) == 0
    torch.testing.assert_close(network(x), y)
    assert fit_best(network, (x, 2 * y), (x, 2 * y), steps=30) < 0.4  # which was 0.5


@pytest.mark.parametrize("model", MODELS)
def test_a_small_run_measures_errors_and_counts_real_parameters(model):
    measured = run_one(training(model, 2, 0, **SMALL)).measured
    assert set(measured) == {"parameters", "start_error", "held_out_error", "error"}
    assert 0 < measured["error"] < 2
    counted = {"plain": 21024, "frame": 21024, "orthogonal": 3010}
    assert measured["parameters"] == counted.get(model, 3072)


def test_the_same_training_comes_out_the_same():
    config = training("plain", 2, 1, **SMALL)
    assert learn(config)[1] == learn(config)[1]


def test_networks_of_a_seed_learn_from_the_same_states_and_plain_ones_go_through_them_oftener():
    planned = STUDY.plan({}, None)
    assert len(planned) == len(MODELS) * len(DIMENSIONS) * len(SEEDS) + 2 * len(SEEDS) == 51
    assert {config.n_train for config in planned.values()} == {2000}
    passes = {name: config.steps * config.batch_size for name, config in planned.items()}
    assert passes["plain.8.2"] == passes["frame.8.2"] == passes["tied-long.8.2"] == 5 * passes["complex.8.2"]


@pytest.fixture(scope="module")
def errors():
    """The errors of the shipped study by model and n."""
    return by_model(load("unitary"))


def test_the_verdict_of_the_readme_holds(errors):
    means = {key: fmean(found) for key, found in errors.items()}
    gains = [means["plain", n] / means["complex", n] for n in DIMENSIONS]
    assert gains == pytest.approx([1.3, 1.9, 5.1], abs=0.05)
    for n in DIMENSIONS:
        assert max(errors["complex", n]) < min(errors["plain", n])
        assert max(errors["frame", n]) < min(errors["complex", n])
        assert max(errors["tied", n]) < min(errors["complex", n])
        assert means["tied", n] / means["complex", n] == pytest.approx(0.75, abs=0.06)
        assert all(0.66 < error < 0.72 for error in errors["orthogonal", n])
    assert max(errors["tied-long", 8]) < min(errors["frame", 8] + errors["complex-long", 8])


def test_for_eight_components_the_plain_network_stays_the_linear_map(errors):
    starts = by_model(load("unitary"), "start_error")["plain", 8]
    ratios = [error / start for error, start in zip(errors["plain", 8], starts, strict=True)]
    assert ratios == pytest.approx([1, 1, 1], abs=0.1)
    assert max(ratios) > 0.95


def test_what_the_readme_says_of_the_parameters_holds():
    parameters = by_model(load("unitary"), "parameters")
    shares = [parameters["plain", n][0] / parameters["complex", n][0] for n in DIMENSIONS]
    assert shares == pytest.approx([7, 8.4, 12], abs=0.2)
