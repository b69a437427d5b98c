"""The training of a run, with history, checkpoints and resuming; and a short least squares for any model."""

import math
import os
import platform
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import torch
from filelock import FileLock, Timeout
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

from enn_lib.argon import ArgonData, Configurations, check_positions, generate_data, largest_distance
from enn_lib.distributed import ALONE, Workers
from enn_lib.force_field import EnergyForceField, GraphForceField
from enn_lib.graph import CombinedGraphLayer, VectorGraphLayer, neighbours
from enn_lib.network import ENN
from enn_lib.permutation import S4, relabel
from enn_lib.scalar_features import ScalarFeatureENN
from enn_lib.settings import Config, build_network, build_optimiser
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


CHECKPOINT = Path("checkpoint", "state.pt")
"""Where a run folder keeps what a training needs to go on."""


def compile_if_possible(
    function: Callable, wanted: bool = True, device: torch.device = ALONE.device
) -> Callable:
    """``torch.compile`` the function where that can work; otherwise return it, with a warning.

    On a CPU it needs a C++ compiler, looked for as torch does, and the headers of Python; on a GPU Triton.
    """
    if device.type == "cuda":
        missing = "" if find_spec("triton") else "no Triton"
    else:
        compiler = os.environ.get("CXX", {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++"))
        headers = Path(sysconfig.get_path("include"), "Python.h")
        is_complete = shutil.which(compiler) and headers.exists()
        missing = "" if is_complete else f"no C++ compiler {compiler} or no {headers.name}"
    if wanted and missing:
        warnings.warn(f"{missing}: training without torch.compile", stacklevel=2)
    if missing or not wanted:
        return function
    compiled = torch.compile(function, dynamic=False)

    def call(*arguments):
        nonlocal compiled
        try:
            return compiled(*arguments)
        except Exception as error:
            # Not by its class, whose import would take as long as torch's own.
            if not type(error).__module__.startswith(("torch._inductor", "torch._dynamo")):
                raise
            cause = str(error).strip().splitlines()[0]
            warnings.warn(f"{cause}: training without torch.compile", stacklevel=2)
            compiled = function
            return function(*arguments)

    return call


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

        def scaled(part: Configurations) -> tuple[Tensor, Tensor]:
            both = part.inputs(data.scales, dtype), part.targets(data.scales, dtype)
            return both[0].to(workers.device), both[1].to(workers.device)

        self._train, self._validation = scaled(train), scaled(data.validation)
        self.batch_size = n_train if config.batch_size is None else config.batch_size
        if not workers.size <= self.batch_size <= n_train:
            wanted = f"{workers.size} to n_train = {n_train}"
            raise ValueError(f"batch_size: got {self.batch_size}, wanted {wanted}")
        self._order = torch.arange(n_train)
        if config.sampling_power:
            chances = largest_distance(train.positions) ** -config.sampling_power
            share = config.sampling_share
            self._cumulative = (share * chances / chances.sum() + (1 - share) / n_train).cumsum(dim=0)
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
            inputs, targets = inputs[rows], targets[rows]
        if self.config.relabel:
            g = int(torch.randint(len(S4), (), generator=self._generator))
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
            gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
            self.workers.add_up([total, *gradients])
            return total

        if self.config.optimiser != "fire":
            self.optimiser.param_groups[0]["lr"] = self.learning_rate()
        # torch says that a closure returns a float, and its own optimisers take a tensor.
        loss = float(self.optimiser.step(closure))  # type: ignore[arg-type]
        self.iteration += 1
        return loss

    def learning_rate(self) -> float:
        """The scheduled learning rate of the present iteration."""
        if self.config.schedule == "constant":
            return self.config.learning_rate
        part = self.iteration / self.config.iterations
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * part))

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
    n = math.ceil(points_per_decade * math.log10(iterations))
    return {0, iterations, *(round(10 ** (k / points_per_decade)) for k in range(n))}


def train(
    config: Config, folder: str | Path, *, max_minutes: float | None = None, workers: Workers = ALONE
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
        ValueError: if the folder holds a run of another configuration, or something else, or another process
            trains in it.
        FloatingPointError: if training diverges; the last checkpoint stays.
        KeyboardInterrupt: after SIGINT (Ctrl-C), SIGTERM or SIGHUP, once the state is saved.
    """
    if max_minutes is not None and not max_minutes >= 0:  # as NaN is not
        raise ValueError(f"max_minutes: got {max_minutes}, wanted at least 0")
    folder = Path(folder)
    with ExitStack() as held:
        workers.from_first(lambda: _prepare(folder, config, held))
        return _train(config, folder, max_minutes, workers)


def _train(config: Config, folder: Path, max_minutes: float | None, workers: Workers) -> Trainer:
    """Train in a folder that is prepared."""
    start = time.perf_counter()
    checkpoint = folder / CHECKPOINT
    torch.set_num_threads(max(1, config.threads // workers.per_machine))
    trainer = Trainer(config, generate_data(config.n_configurations, config.data_seed), workers)
    state = workers.from_first(lambda: load_state(checkpoint) if checkpoint.exists() else None)
    if state is not None:
        try:
            trainer.load_state_dict(state)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"{checkpoint}: does not fit config.json ({error})") from error
    else:
        if workers.is_first:
            checkpoint.parent.mkdir(exist_ok=True)
            write_json(folder / "config.json", {**asdict(config), "provenance": provenance(workers)})
        trainer.record()
    if workers.is_first:
        (folder / "metrics.json").unlink(missing_ok=True)  # of weights that are about to change

    logged = logged_iterations(config.iterations, config.points_per_decade)
    earlier = trainer.seconds
    stop = _Stop()
    # Not disable=False in the first process, which would overrule TQDM_DISABLE.
    quiet = {} if workers.is_first else {"disable": True}
    with stop, tqdm(total=config.iterations, initial=trainer.iteration, **quiet) as bar:
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
            is_late = max_minutes is not None and time.perf_counter() - start > 60 * max_minutes
            if workers.first_says(is_late or stop.is_asked):
                break
    if trainer.history[-1][0] != trainer.iteration:
        trainer.record()
    _save(trainer, folder, checkpoint)
    if workers.is_first and trainer.iteration == config.iterations:
        shutil.rmtree(checkpoint.parent)
    if stop.is_asked:
        raise KeyboardInterrupt(f"{folder}: stopped and saved at iteration {trainer.iteration}")
    return trainer


class _Stop:
    """Makes SIGINT, SIGTERM and SIGHUP a wish, met between two iterations; the second one acts at once."""

    is_asked = False

    def __enter__(self) -> None:
        is_main = threading.current_thread() is threading.main_thread()  # only there may handlers be set
        known = {"SIGINT", "SIGTERM", "SIGHUP"}.intersection(dir(signal)) if is_main else ()
        numbers = (getattr(signal, name) for name in known)
        heard = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]
        self.earlier = {number: signal.signal(number, self._ask) for number in heard}

    def _ask(self, number: int, frame) -> None:
        self.is_asked = True
        self.__exit__()

    def __exit__(self, *error) -> None:
        for number, handler in self.earlier.items():
            signal.signal(number, handler)


def _prepare(folder: Path, config: Config, held: ExitStack) -> None:
    """Make the folder, or see that it holds an unfinished run of this configuration and nothing else.

    It stays locked against other processes as long as `held` is.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock, checkpoint = folder / ".lock", folder / CHECKPOINT
    try:
        held.enter_context(FileLock(lock, timeout=0))
    except Timeout:
        raise ValueError(f"{folder}: another process trains in it, wanted a folder of its own") from None
    if os.name == "posix":  # elsewhere the lock removes its file itself, and nobody else can
        held.callback(lock.unlink, missing_ok=True)
    # A kill may leave a half-written file beside the whole one, and systems leave files of their own.
    found = {p.name.removesuffix(".part") for p in folder.iterdir() if not p.name.startswith(".")}
    strangers = found - {
        "config.json", "history.csv", "model.safetensors", "metrics.json", "checkpoint",
        "Thumbs.db", "desktop.ini",
    }  # fmt: skip
    if strangers:
        raise ValueError(
            f"{folder}: got a folder that holds {', '.join(sorted(strangers))}, wanted a run or nothing"
        )
    if (folder / "model.safetensors").exists() and not checkpoint.exists():
        raise ValueError(f"{folder}: holds a finished run; wanted a new folder")
    if checkpoint.exists() and not (folder / "config.json").exists():
        raise ValueError(f"{folder}: got a checkpoint without its config.json, wanted both")
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
    metadata = {"iteration": str(trainer.iteration)}
    metadata |= {f"{name}_scale": repr(scale) for name, scale in asdict(trainer.scales).items()}
    save_tensors(folder / "model.safetensors", trainer.network.state_dict(), metadata)
    write_csv(folder / "history.csv", HISTORY_COLUMNS, trainer.history)


def _check_same(config: Config, other: Config, folder: Path) -> None:
    differing = [
        f"{f.name}: got {getattr(config, f.name)!r}, the folder has {getattr(other, f.name)!r}"
        for f in fields(Config)
        if getattr(config, f.name) != getattr(other, f.name)
    ]
    if differing:
        raise ValueError(f"{folder}: holds a run of another configuration ({'; '.join(differing)})")


def provenance(workers: Workers = ALONE) -> dict:
    """What a run depends on beside its configuration: versions, hardware, commit; and the date."""
    packages = {name: version(name) for name in ("torch", "numpy", "enn-lib")}
    return {
        "versions": {"python": platform.python_version(), **packages},
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "system": platform.system(),
            "processes": workers.size,
            "device": torch.cuda.get_device_name(d) if (d := workers.device).type == "cuda" else d.type,
        },
        "git_commit": _git_commit(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    """The processor's name, which ``platform.processor`` leaves empty on Linux."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def _git_commit() -> str | None:
    """The commit of the source, with ``-dirty`` if it was changed; None where git or its repository is not.

    An installation may lie in the repository of something else, which does not have this file.
    """
    if shutil.which("git") is None:
        return None

    def git(*words: str) -> subprocess.CompletedProcess:
        folder = Path(__file__).parent
        return subprocess.run(["git", *words], cwd=folder, capture_output=True, encoding="utf-8")

    if git("ls-files", "--error-unmatch", Path(__file__).name).returncode:
        return None
    return git("describe", "--always", "--dirty", "--abbrev=40").stdout.strip() or None


def fit(
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor,
    *,
    steps: int,
    batch_size: int = 250,
    learning_rate: float = 0.01,
    optimiser: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
    seed: int = 0,
) -> list[float]:
    r"""Train `model` in place to minimise the mean of :math:`|model(x) - t|^2` over batches.

    The samples are reshuffled each epoch. The learning rate goes down to zero along a cosine.

    Args:
        model: maps inputs ``(N, ...)`` to outputs of the targets' shape; real or complex parameters.
        inputs: ``(N, ...)``.
        targets: ``(N, ...)``, in the dtype of the outputs.
        steps: of the optimiser, at least 1.
        batch_size: samples a step; all of them if it exceeds N.
        learning_rate: at the start.
        optimiser: an optimiser class, called with the parameters and ``lr``.
        seed: of the order of the samples.

    Returns:
        The loss of every batch before its step, a list of `steps` numbers, mean over entries.

    Raises:
        ValueError: if a shape is not as described, or a number is not positive.
        FloatingPointError: if the last loss is not finite.
    """
    if len(inputs) != len(targets) or len(inputs) == 0:
        raise ValueError(f"inputs, targets: got {len(inputs)} and {len(targets)}, wanted as many, at least 1")
    if steps < 1 or batch_size < 1:
        raise ValueError(f"steps, batch_size: got {steps}, {batch_size}, wanted positive numbers")
    descent = optimiser(model.parameters(), lr=learning_rate)
    schedule = CosineAnnealingLR(descent, steps)
    losses = []
    for rows in _batches(len(inputs), min(batch_size, len(inputs)), steps, seed):
        descent.zero_grad()
        outputs, wanted = model(inputs[rows]), targets[rows]
        if (got := wanted.shape) != outputs.shape:  # which torch would broadcast
            raise ValueError(f"targets: got {tuple(got)}, wanted {tuple(outputs.shape)} as the outputs")
        error = outputs - wanted
        loss = (error * error.conj()).real.mean()
        # Of the weights alone, and not of what the model differentiates by itself.
        loss.backward(inputs=[p for p in model.parameters() if p.requires_grad])
        descent.step()
        schedule.step()
        losses.append(loss.item())
    if not torch.tensor(losses[-1]).isfinite():
        raise FloatingPointError(f"the loss is {losses[-1]} after {steps} steps: training diverged")
    return losses


def _batches(n: int, batch_size: int, steps: int, seed: int) -> Iterable[Tensor]:
    """Rows of each step; whole batches only, in an order that is drawn anew each epoch."""
    generator = torch.Generator().manual_seed(seed)
    per_epoch = n // batch_size
    for step in range(steps):
        place = step % per_epoch
        if place == 0:
            order = torch.randperm(n, generator=generator)
        yield order[place * batch_size : (place + 1) * batch_size]


def fit_graph_force_field(
    layer: VectorGraphLayer,
    network: ENN,
    positions: Tensor,
    forces: Tensor,
    *,
    cell: Tensor | None = None,
    **options,
) -> tuple[GraphForceField, list[float]]:
    """Train `network` on forces, each atom a sample, with descriptors that are computed once.

    The scales are root mean squares over the data: one number a descriptor, and one for the forces,
    so that no direction is preferred.

    Args:
        layer: the descriptors, without trainable weights (the first layer of the network has them).
        network: trained in place.
        positions: Å, ``(N, atoms, 3)``.
        forces: eV/Å, of the same shape.
        cell: the lattice vectors as rows, Å, ``(3, 3)``, or ``(N, 3, 3)`` where they differ; free space if
            not given.
        options: of `fit`; a batch counts atoms.

    Returns:
        The force field, in `cell`, and the losses in units of the force scale squared.

    Raises:
        ValueError: if shapes do not fit, or the layer has trainable weights.
    """
    descriptors, scale = _descriptors_and_scale(layer, positions, forces, cell)
    scales = _or_one(descriptors.square().mean(dim=(0, 1, 2)).sqrt())
    inputs = (descriptors / scales).to(network.dtype).flatten(0, 1)
    targets = (forces / scale).to(network.dtype).flatten(0, 1).unsqueeze(-1)
    field = GraphForceField(layer, network, scales, scale, cell)
    return field, fit(network, inputs, targets, **options)


def fit_energy_force_field(
    layer: CombinedGraphLayer,
    network: ScalarFeatureENN,
    positions: Tensor,
    forces: Tensor,
    *,
    cell: Tensor | None = None,
    **options,
) -> tuple[EnergyForceField, list[float]]:
    """Train `network` on forces that are slopes of its energy, each configuration a sample.

    The scales are root mean squares of the vectors, and means and standard deviations of the scalars. The
    network computes in its own dtype. Arguments, results and errors are those of `fit_graph_force_field`, but
    a batch counts configurations, 4 if `batch_size` is not given.
    """
    descriptors, scale = _descriptors_and_scale(layer, positions, forces, cell)
    vectors, scalars = descriptors.flatten(0, 1).split((3, 1), dim=1)
    scales = torch.stack((vectors.square().mean(dim=(0, 1)).sqrt(), scalars.std(dim=(0, 1))))
    field = EnergyForceField(layer, network, scalars.mean(dim=(0, 1)), _or_one(scales), scale, cell)
    cells = None if cell is None else cell.expand(len(positions), 3, 3)

    class Forces(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = network

        def forward(self, rows: Tensor) -> Tensor:
            here = field if cells is None else field.in_cell(cells[rows])
            # The graph of the gradient is what the weights are trained by.
            return here.forces(positions[rows].to(network.dtype).requires_grad_()) / scale

    targets = (forces / scale).to(network.dtype)
    return field, fit(Forces(), torch.arange(len(positions)), targets, **{"batch_size": 4, **options})


def _descriptors_and_scale(
    layer: VectorGraphLayer | CombinedGraphLayer, positions: Tensor, forces: Tensor, cell: Tensor | None
) -> tuple[Tensor, float]:
    """The descriptors of all configurations, and the root mean square of the components of the forces."""
    check_positions(positions)
    if positions.ndim != 3 or positions.shape != forces.shape:
        got = f"shapes {tuple(positions.shape)} and {tuple(forces.shape)}"
        raise ValueError(f"positions, forces: got {got}, wanted (N, atoms, 3) of both")
    scale = forces.square().mean().sqrt().item()
    if not 0 < scale < math.inf:
        raise ValueError(f"forces: got a root mean square of {scale}, wanted a positive one (eV/Å)")
    if any(p.requires_grad for p in layer.parameters()):
        raise ValueError("layer: got trainable weights, wanted the Kronecker delta of Eq. 34")
    if cell is None:
        descriptors = torch.cat([layer(part) for part in positions.split(1000)])
    else:
        descriptors = layer(neighbours(positions, layer.radial.cutoff, cell))
    return descriptors, scale


def _or_one(scales: Tensor) -> Tensor:
    """A descriptor that no configuration reaches stays zero, whatever divides it."""
    return torch.where(scales > 0, scales, 1.0)
