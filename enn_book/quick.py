"""A shipped run, or a small one trained on the spot: what the pages of the experiment begin with."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from enn_lib.runs import Run, load_run
from enn_lib.settings import Config
from enn_lib.training import train


def small_config(config: Config, *, n_configurations: int, iterations: int) -> Config:
    """The same training at a size that takes seconds: the widths, the loss and the symmetry are kept.

    FIRE keeps its full batch. Any other optimiser becomes Muon, which torch itself has, on batches of a
    twelfth of the training data. Compiling would take longer than the training, so it is off; one thread
    makes the sums, and so the numbers, the same everywhere.
    """
    is_fire = config.optimiser == "fire"
    n_train = n_configurations * 60 // 100
    return replace(
        config,
        n_configurations=n_configurations,
        n_train=None,
        optimiser="fire" if is_fire else "muon",
        batch_size=None if is_fire else max(1, n_train // 12),
        learning_rate=config.learning_rate if is_fire else 0.02,
        iterations=iterations,
        compile=False,
        threads=1,
    )


def obtain_run(
    name: str | Path, *, train_small: bool = False, n_configurations: int = 2000, iterations: int = 100
) -> Run:
    """Load a run; or train its small sibling now, in a temporary folder, and load that.

    Args:
        name: of a shipped run, or the path of a run folder.
        train_small: train instead of loading; the settings are those of the run called `name`, made
            small by `small_config`.
        n_configurations: how many configurations the small run draws.
        iterations: how many steps of the optimiser it takes.

    Returns:
        The run. A small one has no metrics, and its folder is gone.

    Raises:
        FileNotFoundError, ValueError: as `load_run` and `train` do.
    """
    run = load_run(name)
    if not train_small:
        return run
    config = small_config(run.config, n_configurations=n_configurations, iterations=iterations)
    with TemporaryDirectory() as folder:
        path = Path(folder) / run.name
        train(config, path)
        return load_run(path)
