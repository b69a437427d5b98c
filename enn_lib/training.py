"""One training loop for every optimiser, with history, checkpoints and resuming."""

import math
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import NoneType, UnionType
from typing import Literal, get_args, get_origin

import torch
from torch import Tensor, nn
from tqdm import tqdm

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.argon import ArgonData, Configurations, generate_data, largest_distance
from enn_lib.distributed import ALONE, Workers
from enn_lib.fire import FIRE, Order
from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.permutation import S4, relabel
from enn_lib.storage import load_state, read_json, save_state, save_tensors, write_csv, write_json

HISTORY_COLUMNS = (
    "iteration",
    "epoch",
    "gradient_evaluations",
    "training_loss",
    "validation_loss",
    "rate",
    "seconds",
)
"""The columns of ``history.csv``. Losses are means over samples and components, without unit; a
gradient evaluation is that of one configuration; `rate` is the learning rate or FIRE's time step."""


@dataclass(frozen=True)
class Config:
    """Everything that determines a training run. An unknown key is an error.

    Attributes:
        n_configurations: how many configurations sec. 4.1 draws before the 60/20/20 split.
        data_seed: of the configurations.
        n_train: how many of the training part to use; all if None.
        widths: of the network, input and output included.
        a: the residue of the vector softsign (Eq. 14).
        softening: epsilon of the unit vectors; 0 is Eq. 9 exactly.
        output_activation: at the last layer.
        dtype: of the parameters and the data.
        seed: of the network's weights, the order of the batches and the relabelling.
        optimiser: FIRE as in Appendix A, torch's Adam or Muon, or SOAP (optional extra ``soap``).
        loss: whether Eq. 43 is a mean over configurations and components, or a mean over configurations
            of the sum over components. FIRE is not scale free, so to it the two differ.
        batch_size: configurations a step; all of them if None.
        chunk_size: a batch larger than this is summed in chunks, exact to rounding, so that memory
            stays bounded, and small enough for a core's own cache.
        relabel: renumber the atoms of every batch by a random permutation.
        sampling_power: p of the chance :math:`L^{-p}` with which each configuration of a batch is drawn, L
            being its largest pair distance. Bound clusters are rare in the data of sec. 4.1, and all there
            is in sec. 4.3. With 0, as in the paper, all come once an epoch.
        iterations: steps of the optimiser.
        learning_rate: at the start; not FIRE's.
        schedule: of the learning rate: "cosine" goes down to zero; not FIRE's.
        fire_dt: FIRE's first time step.
        fire_dt_max: FIRE's largest time step.
        fire_mass: FIRE's pseudo mass.
        fire_order: which reading of Appendix A; see `FIRE`.
        checkpoint_every: iterations between two checkpoints.
        points_per_decade: how many lines of history a decade of iterations gets.
        threads: torch's threads, shared by the processes of a machine; the sums are rounded alike only
            with the same number.
        compile: use ``torch.compile`` where a C++ compiler exists.
    """

    n_configurations: int = 100_000
    data_seed: int = 2208
    n_train: int | None = None
    widths: tuple[int, ...] = PAPER_WIDTHS
    a: float = 0.1
    softening: float = 0.0
    output_activation: Literal["identity", "softsign"] = "identity"
    dtype: Literal["float32", "float64"] = "float32"
    seed: int = 0
    optimiser: Literal["fire", "adam", "muon", "soap"] = "muon"
    loss: Literal["mean", "sum"] = "mean"
    batch_size: int | None = 500
    chunk_size: int = 1000
    relabel: bool = False
    sampling_power: float = 0.0
    iterations: int = 1000
    learning_rate: float = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"
    fire_dt: float = 0.001
    fire_dt_max: float = 0.01
    fire_mass: float = 0.1
    fire_order: Order = "appendix"
    checkpoint_every: int = 1000
    points_per_decade: int = 10
    threads: int = 2
    compile: bool = True

    def __post_init__(self):
        if isinstance(self.widths, list):  # as JSON has it
            object.__setattr__(self, "widths", tuple(self.widths))
        for field in fields(self):
            value = getattr(self, field.name)
            if not _is_a(field.type, value):
                raise ValueError(f"{field.name}: got {value!r}, wanted {_describe(field.type)}")
        for name in ("iterations", "chunk_size", "checkpoint_every", "points_per_decade", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)!r}, wanted a whole number of at least 1")
        if len(self.widths) < 2 or self.widths[0] != 6 or self.widths[-1] != 4:
            raise ValueError(f"widths: got {self.widths}, wanted 6 relative vectors in and 4 forces out")
        if self.optimiser == "fire" and self.batch_size is not None:
            raise ValueError(
                f"batch_size: got {self.batch_size}, wanted null with FIRE, which needs the whole batch"
            )
        if self.sampling_power and self.batch_size is None:
            raise ValueError(
                f"sampling_power: got {self.sampling_power:g}, wanted 0 with the whole batch, all of it"
            )

    @property
    def training_size(self) -> int:
        """How many configurations train."""
        return self.n_configurations * 60 // 100 if self.n_train is None else self.n_train

    @classmethod
    def from_dict(cls, values: dict) -> "Config":
        """Make a configuration of a dictionary, such as a ``config.json`` holds.

        What training recorded beside the settings (``provenance``) is left out.

        Raises:
            ValueError: if a key is unknown or a value is not allowed.
        """
        settings = {key: value for key, value in values.items() if key != "provenance"}
        unknown = sorted(set(settings) - {f.name for f in fields(cls)})
        if unknown:
            known = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"config: got unknown key {', '.join(unknown)}; wanted some of {known}")
        return cls(**settings)


def _is_a(kind, value) -> bool:
    """Whether `value` is what the annotation `kind` of a setting says."""
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is UnionType:
        return any(_is_a(option, value) for option in get_args(kind))
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(_is_a(get_args(kind)[0], entry) for entry in value)
    if isinstance(value, bool):  # to Python it is an int
        return kind is bool
    return (
        isinstance(value, (int, float)) and math.isfinite(value) if kind is float else isinstance(value, kind)
    )


def _describe(kind) -> str:
    """The annotation of a setting in words."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(get_args(kind))
    if get_origin(kind) is UnionType:
        return " or ".join(map(_describe, get_args(kind)))
    words = {int: "a whole number", float: "a finite number", bool: "true or false", NoneType: "null"}
    return words.get(kind, "a list of whole numbers")


def build_network(config: Config) -> ENN:
    """The untrained network of a configuration."""
    return ENN(
        config.widths,
        activation=VectorSoftsign(config.a),
        output_activation=VectorSoftsign(config.a) if config.output_activation == "softsign" else Identity(),
        softening=config.softening,
        dtype=getattr(torch, config.dtype),
        generator=torch.Generator().manual_seed(config.seed),
    )


def build_optimiser(config: Config, network: nn.Module) -> torch.optim.Optimizer:
    """The optimiser of a configuration, for the parameters of `network`."""
    if config.optimiser == "fire":
        return FIRE(
            network.parameters(),
            dt=config.fire_dt,
            dt_max=config.fire_dt_max,
            mass=config.fire_mass,
            order=config.fire_order,
        )
    if config.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    if config.optimiser == "muon":
        return torch.optim.Muon(network.parameters(), lr=config.learning_rate, weight_decay=0.0)
    try:  # optional: most readers never train with SOAP
        from pytorch_optimizer import SOAP
    except ImportError as error:
        raise ValueError(
            f"optimiser: got 'soap', wanted its package, pip install 'enn-lib[soap]' ({error})"
        ) from error

    return SOAP(network.parameters(), lr=config.learning_rate, weight_decay=0.0)


def compile_if_possible(
    function: Callable, wanted: bool = True, device: torch.device = ALONE.device
) -> Callable:
    """``torch.compile`` the function where that can work; otherwise return it, with a warning.

    On a CPU it needs a C++ compiler, looked for as torch does, and the headers of Python; on a GPU Triton.
    """
    if not wanted:
        return function
    if device.type == "cuda":
        if find_spec("triton") is None:
            warnings.warn("no Triton: training without torch.compile", stacklevel=2)
            return function
        return torch.compile(function, dynamic=False)
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    headers = Path(sysconfig.get_path("include"), "Python.h")
    if shutil.which(compiler) is None or not headers.exists():
        warnings.warn(
            f"no C++ compiler {compiler} or no {headers.name}: training without torch.compile", stacklevel=2
        )
        return function
    return torch.compile(function, dynamic=False)


class Trainer:
    """The state of a training run between two iterations.

    Of several processes each has one, and all of them must make the same calls: they add up what they
    compute, so that a step, a loss and a line of the history are the same in all.

    Attributes:
        config: the configuration.
        workers: the processes that train together.
        network: the network, trained in place.
        batch_size: configurations whose gradients an iteration takes, by all workers together.
        iteration: how many iterations are done.
        history: rows of `HISTORY_COLUMNS`.
        seconds: of training so far, over all sessions; making the data and compiling count.
    """

    def __init__(self, config: Config, data: ArgonData, workers: Workers = ALONE):
        self.config = config
        self.workers = workers
        self.scales = data.scales
        dtype = getattr(torch, config.dtype)
        self.network = build_network(config).to(workers.device)
        self.optimiser = build_optimiser(config, self.network)
        self.iteration = 0
        self.history: list[tuple[float, ...]] = []
        self.seconds = 0.0
        self._generator = torch.Generator().manual_seed(config.seed)
        n_train = len(data.train) if config.n_train is None else config.n_train
        if not 1 <= n_train <= len(data.train):
            raise ValueError(f"n_train: got {n_train}, wanted 1 to {len(data.train)}")
        train = Configurations(data.train.positions[:n_train], data.train.forces[:n_train])
        self._train, self._validation = (
            tuple(
                t.to(workers.device)
                for t in (part.inputs(data.scales, dtype), part.targets(data.scales, dtype))
            )
            for part in (train, data.validation)
        )
        self.batch_size = n_train if config.batch_size is None else config.batch_size
        if not workers.size <= self.batch_size <= n_train:
            wanted = f"{workers.size} to n_train = {n_train}"
            raise ValueError(f"batch_size: got {self.batch_size}, wanted {wanted}")
        self._order = torch.arange(n_train)
        if config.sampling_power:
            chances = largest_distance(train.positions) ** -config.sampling_power
            self._cumulative = (chances / chances.sum()).cumsum(dim=0)
        self._squared_error = compile_if_possible(self._eager_squared_error, config.compile, workers.device)

    def _eager_squared_error(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """The sum over configurations and components of the squared error."""
        return (self.network(inputs) - targets).square().sum()

    @property
    def batches_per_epoch(self) -> int:
        """Whole batches in the training data; what is left over waits for the next shuffle."""
        return len(self._order) // self.batch_size

    def _rows(self) -> Tensor | None:
        """Which configurations are in the batch of the present iteration; None for all as they are."""
        if self.config.sampling_power:
            drawn = torch.rand(self.batch_size, dtype=self._cumulative.dtype, generator=self._generator)
            # Rounding may leave the last sum a little below 1.
            return torch.searchsorted(self._cumulative, drawn).clamp_(max=len(self._order) - 1)
        if self.batch_size == len(self._order):
            return None
        place = self.iteration % self.batches_per_epoch
        if place == 0:
            self._order = torch.randperm(len(self._order), generator=self._generator)
        return self._order[place * self.batch_size : (place + 1) * self.batch_size]

    def _batch(self) -> tuple[Tensor, Tensor]:
        """This process's share of the batch of the present iteration."""
        inputs, targets = self._train
        rows = self._rows()
        if rows is not None:
            rows = rows.to(inputs.device)
            inputs, targets = inputs[rows], targets[rows]
        if self.config.relabel:
            g = torch.randint(len(S4), (), generator=self._generator).item()
            inputs, targets = relabel(inputs, targets, g)
        # Shared out last, so that every process draws the same random numbers as one alone.
        share = self.workers.share(len(inputs))
        return inputs[share], targets[share]

    def step(self) -> float:
        """Do one iteration and return its loss (Eq. 43) before it, as the configuration reads it."""
        inputs, targets = self._batch()
        n_terms = self.batch_size * (1 if self.config.loss == "sum" else targets[0].numel())

        def closure() -> Tensor:
            self.optimiser.zero_grad()
            total = inputs.new_zeros(())
            for x, t in _chunks(inputs, targets, self.config.chunk_size):
                loss = self._squared_error(x, t) / n_terms
                loss.backward()
                total += loss.detach()
            self.workers.add_up([total, *(p.grad for p in self.network.parameters())])
            return total

        if self.config.optimiser != "fire":
            self.optimiser.param_groups[0]["lr"] = self.learning_rate()
        loss = self.optimiser.step(closure).item()
        self.iteration += 1
        return loss

    def learning_rate(self) -> float:
        """The scheduled learning rate of the present iteration."""
        if self.config.schedule == "constant":
            return self.config.learning_rate
        return (
            self.config.learning_rate
            * 0.5
            * (1 + math.cos(math.pi * self.iteration / self.config.iterations))
        )

    def mean_squared_error(self, inputs: Tensor, targets: Tensor) -> float:
        """The mean over configurations and components, without unit.

        In pieces of the size of a training step, whose compiled function serves here too.
        """
        step = self.workers.share(self.batch_size)
        size = min(self.config.chunk_size, step.stop - step.start)
        share = self.workers.share(len(inputs))
        total = inputs.new_zeros((), dtype=torch.float64)
        # Asked for without its gradient, torch would compile it a second time.
        with torch.set_grad_enabled(self.config.compile):
            for x, t in _chunks(inputs[share], targets[share], size):
                function = self._squared_error if len(x) == size else self._eager_squared_error
                total += function(x, t).detach()
        self.workers.add_up([total])
        return total.item() / targets.numel()

    def validation_loss(self) -> float:
        """The same, on the validation data."""
        return self.mean_squared_error(*self._validation)

    def record(self) -> None:
        """Append a row to the history.

        Raises:
            FloatingPointError: if a loss is not finite.
        """
        group = self.optimiser.param_groups[0]
        row = (
            self.iteration,
            self.iteration * self.batch_size / len(self._order),
            self.iteration * self.batch_size,
            self.mean_squared_error(*self._train),
            self.validation_loss(),
            group["dt"] if self.config.optimiser == "fire" else group["lr"],
            round(self.seconds, 1),
        )
        _check_finite(row[3] + row[4], self)
        self.history.append(row)

    def state_dict(self) -> dict:
        """All that the next iteration depends on, and the history."""
        return {
            "network": dict(self.network.state_dict()),
            "optimiser": self.optimiser.state_dict(),
            "generator": self._generator.get_state(),
            "order": self._order,
            "iteration": self.iteration,
            "history": self.history,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict) -> None:
        """Go back to where `state_dict` was taken."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self._generator.set_state(state["generator"])
        self._order = state["order"]
        self.iteration = state["iteration"]
        self.history = list(state["history"])
        self.seconds = state["seconds"]


def _chunks(inputs: Tensor, targets: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(inputs.split(size), targets.split(size), strict=True)


def logged_iterations(iterations: int, points_per_decade: int) -> set[int]:
    """0, the last, and about `points_per_decade` iterations a decade between."""
    n = math.ceil(points_per_decade * math.log10(max(iterations, 2)))
    return {0, iterations, *(min(iterations, round(10 ** (k / points_per_decade))) for k in range(n + 1))}


def train(
    config: Config, folder: Path, *, max_minutes: float | None = None, workers: Workers = ALONE
) -> Trainer:
    """Train into a run folder, or go on with the training that the folder holds.

    Every `checkpoint_every` iterations the whole state is written beside the old one and renamed over
    it; after a kill the same call continues from there, bit for bit (on the same machine, with the same
    versions and the same number of processes). A finished run has ``config.json``, ``history.csv`` and
    ``model.safetensors``; one that `max_minutes` stopped has these too, and still its ``checkpoint/``.

    Args:
        config: of the run; must equal the folder's own, where it has one.
        folder: made if it does not exist. Of several processes only the first looks at it.
        max_minutes: stop after so many minutes of this session, at the next iteration.
        workers: the processes that train together; all of them make this call.

    Returns:
        The trainer as it stopped.

    Raises:
        ValueError: if the folder holds a run of another configuration, or something else.
        FloatingPointError: if training diverges; the last checkpoint stays.
    """
    start = time.perf_counter()
    checkpoint = folder / "checkpoint" / "state.safetensors"
    workers.from_first(lambda: _prepare(folder, checkpoint, config))
    torch.set_num_threads(max(1, config.threads // workers.per_machine))
    trainer = Trainer(config, generate_data(config.n_configurations, config.data_seed), workers)
    state = workers.from_first(lambda: load_state(checkpoint) if checkpoint.exists() else None)
    if state is not None:
        trainer.load_state_dict(state)
    else:
        if workers.is_first:
            checkpoint.parent.mkdir(exist_ok=True)
            write_json(folder / "config.json", {**asdict(config), "provenance": provenance(workers)})
        trainer.record()
    if workers.is_first:
        (folder / "metrics.json").unlink(missing_ok=True)  # of weights that are about to change

    logged = logged_iterations(config.iterations, config.points_per_decade)
    earlier = trainer.seconds
    # Not disable=False in the first process, which would overrule TQDM_DISABLE.
    quiet = {} if workers.is_first else {"disable": True}
    with tqdm(total=config.iterations, initial=trainer.iteration, unit="it", **quiet) as bar:
        while trainer.iteration < config.iterations:
            loss = trainer.step()
            _check_finite(loss, trainer)
            trainer.seconds = earlier + time.perf_counter() - start
            bar.update()
            if trainer.iteration in logged:
                trainer.record()
                trainer.seconds = earlier + time.perf_counter() - start
                bar.set_postfix(loss=f"{loss:.3g}", validation=f"{trainer.history[-1][4]:.3g}")
            if trainer.iteration % config.checkpoint_every == 0:
                _save(trainer, folder, checkpoint)
            if max_minutes is not None and workers.first_says(time.perf_counter() - start > 60 * max_minutes):
                break
    if trainer.history[-1][0] != trainer.iteration:
        trainer.record()
    _save(trainer, folder, checkpoint)
    if workers.is_first and trainer.iteration == config.iterations:
        shutil.rmtree(checkpoint.parent)
    return trainer


def _prepare(folder: Path, checkpoint: Path, config: Config) -> None:
    """Make the folder, or see that it holds an unfinished run of this configuration and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    # A kill may leave a half-written file beside the whole one.
    strangers = {p.name.removesuffix(".part") for p in folder.iterdir()} - {
        "config.json", "history.csv", "model.safetensors", "metrics.json", "checkpoint",
    }  # fmt: skip
    if strangers:
        raise ValueError(
            f"{folder}: got a folder that holds {', '.join(sorted(strangers))}, wanted a run or nothing"
        )
    if (folder / "model.safetensors").exists() and not checkpoint.exists():
        raise ValueError(f"{folder}: holds a finished run; wanted a new folder")
    if (folder / "config.json").exists():
        _check_same(config, Config.from_dict(read_json(folder / "config.json")), folder)


def _check_finite(loss: float, trainer: Trainer) -> None:
    """Raise FloatingPointError if the loss or a parameter is not finite."""
    largest = nn.utils.get_total_norm([p.detach() for p in trainer.network.parameters()], math.inf)
    if not (math.isfinite(loss) and largest.isfinite()):
        raise FloatingPointError(
            f"the loss or a weight is not finite at iteration {trainer.iteration}: training diverged"
        )


def _save(trainer: Trainer, folder: Path, checkpoint: Path) -> None:
    """Write the checkpoint, and then the model: so a model without a checkpoint is always a finished one."""
    if not trainer.workers.is_first:
        return
    save_state(checkpoint, trainer.state_dict())
    save_model(folder / "model.safetensors", trainer)
    write_csv(folder / "history.csv", HISTORY_COLUMNS, trainer.history)


def save_model(path: Path, trainer: Trainer) -> None:
    """Write the weights, with the iteration and the scales they belong to."""
    metadata = {
        "iteration": str(trainer.iteration),
        "position_scale": repr(trainer.scales.position),
        "force_scale": repr(trainer.scales.force),
    }
    save_tensors(path, trainer.network.state_dict(), metadata)


def _check_same(config: Config, other: Config, folder: Path) -> None:
    differing = [
        f"{f.name}: got {getattr(config, f.name)!r}, the folder has {getattr(other, f.name)!r}"
        for f in fields(Config)
        if getattr(config, f.name) != getattr(other, f.name)
    ]
    if differing:
        raise ValueError(f"{folder}: holds a run of another configuration ({'; '.join(differing)})")


def provenance(workers: Workers = ALONE) -> dict:
    """What a run depends on beside its configuration: versions, hardware, commit."""
    return {
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "ase", "enn-lib")},
        },
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "processes": workers.size,
            "device": _device_name(workers.device),
        },
        "git_commit": _git_commit(),
    }


def _processor() -> str:
    """The processor's name, which ``platform.processor`` leaves empty on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _git_commit() -> str | None:
    """The commit of the source, with ``-dirty`` if it was changed; None outside a repository."""
    result = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=40"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip() or None
