"""The settings of a training run, checked, and the network and optimiser that they describe."""

from collections.abc import Callable
from dataclasses import fields
from functools import wraps
from typing import Annotated, Literal, get_args

import torch
from pydantic import ConfigDict, Field, FiniteFloat, NonNegativeInt, ValidationError
from pydantic.dataclasses import dataclass
from torch import nn

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.fire import FIRE, Order
from enn_lib.network import ENN, PAPER_WIDTHS

Count = Annotated[int, Field(gt=0, le=10**9)]
Number = Annotated[FiniteFloat, Field(ge=-1e15, le=1e15)]
Width = Annotated[int, Field(gt=0, le=10**4)]


def _with_plain_errors(cls: type) -> type:
    """Let a class that pydantic checks raise ValueErrors of one line, ``name: got value, wanted what``."""
    check: Callable = cls.__init__  # type: ignore[misc]

    @wraps(check)
    def init(self, *args, **values):
        try:
            check(self, *args, **values)
        except ValidationError as error:
            raise ValueError("; ".join(_in_words(entry, cls) for entry in error.errors())) from None

    cls.__init__ = init  # type: ignore[misc]
    return cls


def _in_words(entry, cls: type) -> str:
    """One of pydantic's errors, as this package says errors."""
    if entry["type"] == "value_error":  # of our own checks, which say it themselves
        return str(entry["ctx"]["error"])
    known = {field.name: field.type for field in fields(cls)}
    name = str(entry["loc"][0])
    if name not in known:
        return f"config: got unknown key {name}; wanted some of {', '.join(known)}"
    place = "".join(f"[{index}]" for index in entry["loc"][1:])
    wanted = entry["msg"].removeprefix("Input should be ").replace("tuple", "list")
    may_be_null = type(None) in get_args(known[name])
    return f"{name}{place}: got {entry['input']!r}, wanted {wanted}{' or null' * may_be_null}"


@_with_plain_errors
@dataclass(frozen=True, kw_only=True, config=ConfigDict(strict=True, extra="forbid"))
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
        sampling_share: of a batch, drawn with that chance; the rest is drawn evenly.
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

    n_configurations: Count = 100_000
    data_seed: NonNegativeInt = 2208
    n_train: Count | None = None
    widths: Annotated[tuple[Width, ...], Field(strict=False)] = PAPER_WIDTHS  # JSON has a list
    a: Number = 0.1
    softening: Annotated[FiniteFloat, Field(ge=0, le=1e15)] = 0.0
    output_activation: Literal["identity", "softsign"] = "identity"
    dtype: Literal["float32", "float64"] = "float32"
    seed: Annotated[int, Field(ge=-(2**63), lt=2**64)] = 0  # as torch takes it
    optimiser: Literal["fire", "adam", "muon", "soap"] = "muon"
    loss: Literal["mean", "sum"] = "mean"
    batch_size: Count | None = 500
    chunk_size: Count = 1000
    relabel: bool = False
    sampling_power: Annotated[FiniteFloat, Field(ge=-100, le=100)] = 0.0
    sampling_share: Annotated[FiniteFloat, Field(ge=0, le=1)] = 1.0
    iterations: Count = 1000
    learning_rate: Annotated[FiniteFloat, Field(ge=0, le=1e30)] = 0.01
    schedule: Literal["constant", "cosine"] = "cosine"
    fire_dt: Number = 0.001
    fire_dt_max: Number = 0.01
    fire_mass: Number = 0.1
    fire_order: Order = "appendix"
    checkpoint_every: Count = 1000
    points_per_decade: Annotated[int, Field(gt=0, le=1000)] = 10
    threads: Annotated[int, Field(gt=0, le=1024)] = 2
    compile: bool = True

    def __post_init__(self):
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
        return cls(**{key: value for key, value in values.items() if key != "provenance"})


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
