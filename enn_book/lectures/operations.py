"""Counting the floating-point operations of a computation, which unlike its time is the same everywhere."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class Operations:
    """How many operations a computation takes.

    Attributes:
        products: in matrix products, a multiplication and an addition for each term of each sum.
        elementwise: in everything else that calculates, one for each entry that comes out (or, for a sum,
            goes in). A root counts as one, like an addition.
    """

    products: int
    elementwise: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.products + self.elementwise


def count_operations(function: Callable, *args) -> Operations:
    """Count the floating-point operations of ``function(*args)``, of real numbers.

    Copies, comparisons and choices are not counted. Operations of complex numbers count as if they were
    real, so that only ratios of such counts mean something.

    Args:
        function: what to count; whatever torch does inside, a backward pass included.
        args: its arguments.
    """
    with FlopCounterMode(display=False) as products, _ElementwiseCounter() as elementwise:
        function(*args)
    return Operations(products.get_total_flops(), elementwise.count)


class _ElementwiseCounter(TorchDispatchMode):
    """Counts what is no matrix product."""

    UNCOUNTED = ("_to_copy", "clone", "where", "eq", "ge", "gt", "le", "lt", "fill_", "copy_", "zero_")
    REDUCTIONS = ("sum", "mean")

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in self.REDUCTIONS:
            self.count += args[0].numel()
        elif torch.Tag.pointwise in func.tags and name not in self.UNCOUNTED:
            self.count += result.numel()
        return result
