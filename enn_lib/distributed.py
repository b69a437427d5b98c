"""Several processes, on one machine or several, that train one network together.

``torchrun`` starts them and tells each its place. Every process holds the whole network and all data,
computes the gradient of its share of the batch, and gets the sum over all shares; so all make the same
step, and the gradient is that of one process, to rounding. Only the first process touches files.

On CPUs the processes talk through gloo, on GPUs through NCCL.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

Result = TypeVar("Result")

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Workers:
    """The processes that train together, as one of them sees them.

    Attributes:
        rank: which of them this is, from 0.
        size: how many there are.
        per_machine: how many of them share this machine.
        device: where this one computes.
    """

    rank: int = 0
    size: int = 1
    per_machine: int = 1
    device: torch.device = CPU

    @property
    def is_first(self) -> bool:
        """Whether this is the one that reads and writes files."""
        return self.rank == 0

    def share(self, n: int) -> slice:
        """This process's part of `n` rows: every row is in one part, and no two differ by more than one."""
        return slice(n * self.rank // self.size, n * (self.rank + 1) // self.size)

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor its sum over all processes, the same bits in every one.

        One message for all of them, because at the size of our network a message costs more than its content.

        Args:
            tensors: of one dtype, on this process's device; the same shapes in every process.
        """
        if self.size == 1:
            return
        message = torch.cat([tensor.flatten() for tensor in tensors])
        dist.all_reduce(message)
        for tensor, part in zip(tensors, message.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def first_says(self, answer: bool) -> bool:
        """The first process's answer, in all of them."""
        if self.size == 1:
            return answer
        message = torch.tensor(float(answer), device=self.device)
        dist.broadcast(message, src=0)
        return message.item() == 1

    def from_first(self, function: Callable[[], Result]) -> Result:
        """Call a function in the first process only, and return its result, or raise its error, in all.

        The result travels as torch sends objects, pickled, from one process of this program to another.
        """
        if self.size == 1:
            return function()
        answer: list = [None, None]
        if self.is_first:
            try:
                answer[0] = function()
            except Exception as error:  # whatever it is, the others must not wait for ever
                answer[1] = error
        dist.broadcast_object_list(answer, src=0, device=self.device)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]


ALONE = Workers()
"""One process, on the CPU."""


def started_by_torchrun() -> bool:
    """Whether ``torchrun`` started this process, so that there are others to meet."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"))


def is_first_process() -> bool:
    """Whether this process speaks to the user: the only one, or the first of several."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def choose_device(name: str = "auto") -> torch.device:
    """The device of this process: its own GPU, or the CPU.

    Args:
        name: "cpu", "cuda", or "auto": a GPU where torch sees one.

    Raises:
        ValueError: if the name is another, or "cuda" is wanted and there is no GPU for this process.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device: got {name!r}, wanted auto, cpu or cuda")
    if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return CPU
    place = int(os.environ["LOCAL_RANK"]) if started_by_torchrun() else 0
    if (int(os.environ["LOCAL_WORLD_SIZE"]) if started_by_torchrun() else 1) > torch.cuda.device_count():
        wanted = f"a GPU for each; there are {torch.cuda.device_count()}"
        raise ValueError(f"device: got {name!r} for process {place} of this machine, wanted {wanted}")
    return torch.device("cuda", place)


@contextmanager
def join(device: str = "auto") -> Iterator[Workers]:
    """Meet the other processes that ``torchrun`` started, and part at the end; without it be `ALONE`.

    They can part only once, so a program with several trainings joins around all of them.

    Args:
        device: as in `choose_device`.

    Raises:
        ValueError: as `choose_device` does.
    """
    chosen = choose_device(device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if not started_by_torchrun():
        yield Workers(device=chosen)
        return
    met_before = dist.is_initialized()  # by a join around this one; torchrun's processes meet once only
    if not met_before:
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield Workers(
            dist.get_rank(), dist.get_world_size(), int(os.environ["LOCAL_WORLD_SIZE"]), device=chosen
        )
    finally:
        if not met_before:
            dist.destroy_process_group()
