"""A shipped run, or a small one trained on the spot."""

import pytest
import torch

from enn_book.quick import obtain_run, small_config
from enn_lib.settings import Config


def test_without_training_the_run_is_the_stored_one(small_run):
    run = obtain_run(small_run)
    assert run.path == small_run
    assert run.history["iteration"][-1] == 30


def test_a_small_run_is_trained_and_its_loss_falls(small_run):
    run = obtain_run(small_run, train_small=True, n_configurations=300, iterations=50)
    assert run.name == small_run.name
    assert not run.path.exists()
    assert run.history["iteration"][-1] == 50
    assert run.history["training_loss"][-1] < 0.95 * run.history["training_loss"][0]


def test_a_small_run_is_another_network_than_the_stored_one(small_run):
    stored, small = obtain_run(small_run), obtain_run(small_run, train_small=True, n_configurations=300)
    assert not torch.equal(stored.network.layers[0].stacked, small.network.layers[0].stacked)


def test_the_same_small_run_twice_has_the_same_weights(small_run):
    one, other = (obtain_run(small_run, train_small=True, n_configurations=300) for _ in range(2))
    for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_fire_keeps_its_full_batch_and_its_reading_of_the_loss():
    config = small_config(
        Config(optimiser="fire", batch_size=None, loss="sum"), n_configurations=1000, iterations=7
    )
    assert (config.optimiser, config.batch_size, config.loss) == ("fire", None, "sum")
    assert (config.n_configurations, config.iterations) == (1000, 7)


@pytest.mark.parametrize("optimiser", ["adam", "muon", "soap"])
def test_any_other_optimiser_becomes_muon_on_small_batches(optimiser):
    config = small_config(
        Config(optimiser=optimiser, relabel=True, a=0.3), n_configurations=2000, iterations=7
    )
    assert (config.optimiser, config.batch_size) == ("muon", 100)
    assert config.relabel
    assert config.a == 0.3
