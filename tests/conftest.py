"""What all tests share: one thread, examples that repeat, and one small finished run."""

from importlib.util import find_spec

import pytest
import torch
from hypothesis import settings

from enn_lib.settings import Config
from enn_lib.training import train

# Without what the book needs, as where the lowest versions are tried, there are no pages to look at.
pytest_plugins = ["browser"] if find_spec("jupytext") else []

settings.register_profile("enn", deadline=None, derandomize=True, max_examples=20)
settings.register_profile("fuzz", deadline=None, max_examples=2000)
settings.load_profile("enn")


@pytest.fixture(autouse=True)
def one_thread():
    """Training sets the number of threads; every test starts from one, and leaves no other behind."""
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_config() -> Config:
    """A training that takes a fraction of a second: 120 configurations, 82 parameters, 30 iterations."""
    return Config(
        n_configurations=200,
        widths=(6, 5, 4),
        batch_size=50,
        relabel=True,
        iterations=30,
        checkpoint_every=7,
        threads=1,
        compile=False,
    )


@pytest.fixture(scope="session")
def small_run(small_config, tmp_path_factory):
    """The folder of a finished run of `small_config`. Tests copy it before they damage it."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    train(small_config, folder)
    return folder
