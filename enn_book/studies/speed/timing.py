"""How fast the network trains, beside a straightforward program and beside its matrix products alone.

Times are taken side by side in one process, in turns, so that their ratios mean something on a busy
machine too; the times themselves belong to one machine on one day.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from types import ModuleType

import torch
from torch import Tensor, nn

from enn_lib.network import ENN, PAPER_WIDTHS
from enn_lib.settings import Config
from enn_lib.training import compile_if_possible

VARIANTS = ("straightforward", "eager", "compiled", "products")
"""What is compared, `StraightforwardENN`, our `ENN`, as it is and compiled, and `matrix_products`."""


class StraightforwardENN(nn.Module):
    r"""The network of sec. 3.2 as one would write it first: Eq. 6, 9 and 14 line by line.

    .. math:: y = x W + \frac{x}{|x|}\, b, \qquad \sigma(y) = \frac{y}{1 + |y|} + a\,y

    Two products a layer, and lengths by ``torch.linalg.vector_norm``. It computes what `ENN` computes, except
    at vectors of length zero, where it is NaN.

    Attributes:
        length: of columns; whoever finds a quicker way may put it here.
    """

    def __init__(self, network: ENN):
        """Take the weights of an `ENN` of literal unit vectors and the vector softsign."""
        super().__init__()
        self.weights = nn.ParameterList(layer.weight.detach().clone() for layer in network.layers)
        self.biases = nn.ParameterList(layer.bias.detach().clone() for layer in network.layers)
        self.a = network.activation.a
        self.length = torch.linalg.vector_norm

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors ``(..., n, M_0)`` to ``(..., n, M_L)``."""
        last = len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = x @ weight + x / self.length(x, dim=-2, keepdim=True) @ bias
            if k < last:
                x = x / (1 + self.length(x, dim=-2, keepdim=True)) + self.a * x
        return x


def norm_by_hand(x: Tensor, dim: int, keepdim: bool) -> Tensor:
    """What ``torch.linalg.vector_norm`` computes, on a CPU much faster if the dimension is short."""
    return x.square().sum(dim=dim, keepdim=keepdim).sqrt()


def products_per_configuration(widths: Sequence[int] = PAPER_WIDTHS, n: int = 3) -> int:
    r"""Floating-point operations in the matrix products of one configuration's loss and gradient.

    .. math:: \sum_k c_k \cdot 2 \cdot n \cdot 2 M_k \cdot M_{k+1}

    A layer is a product of n rows :math:`[x, e]` with :math:`[W; b]`; its gradient takes two more of that
    size, for the weights and for the input. Nobody asks for the gradient of the first layer's input, so
    :math:`c_k` is 3 but :math:`c_0 = 2`.
    """
    return sum((3 if k else 2) * 2 * n * 2 * m * out for k, (m, out) in enumerate(pairwise(widths)))


def matrix_products(
    widths: Sequence[int],
    rows: int,
    generator: torch.Generator,
    *,
    dtype: torch.dtype = torch.float32,
    library: ModuleType = torch,
) -> Callable[[], None]:
    """A function that does the products of `products_per_configuration`, and nothing else.

    The ceiling for any program that calls the same library for them.

    Args:
        widths: of the network.
        rows: n times the number of configurations.
        generator: of the numbers that are multiplied.
        dtype: of them.
        library: torch or NumPy.
    """
    layers = []
    for m, out in pairwise(widths):
        x, w, y = (
            torch.randn(shape, generator=generator, dtype=dtype)
            for shape in ((rows, 2 * m), (2 * m, out), (rows, out))
        )
        tensors = x, w, y, torch.empty_like(y), torch.empty_like(w), torch.empty_like(x)
        layers.append(tensors if library is torch else [tensor.numpy() for tensor in tensors])

    def multiply() -> None:
        for k, (x, w, y, forward, by_weights, by_input) in enumerate(layers):
            library.matmul(x, w, out=forward)
            library.matmul(x.T, y, out=by_weights)
            if k:
                library.matmul(y, w.T, out=by_input)

    return multiply


def gradients(
    batch: int,
    *,
    widths: Sequence[int] = PAPER_WIDTHS,
    chunk_size: int = Config.chunk_size,
    variants: Sequence[str] = VARIANTS,
) -> dict[str, Callable[[], None]]:
    """One function for each of `VARIANTS` that computes the gradient of a batch, in float32.

    Args:
        batch: configurations.
        widths: of the network.
        chunk_size: a batch larger than this is worked on in chunks, by all variants alike.
        variants: which.

    Raises:
        ValueError: if a variant is unknown or a number is not positive.
    """
    unknown = set(variants) - set(VARIANTS)
    if unknown or batch < 1 or chunk_size < 1:
        raise ValueError(
            f"batch, chunk_size, variants: got {batch}, {chunk_size}, {tuple(variants)}, "
            f"wanted positive numbers and some of {', '.join(VARIANTS)}"
        )
    generator = torch.Generator().manual_seed(0)
    ours = ENN(widths, generator=generator)
    inputs = torch.randn(batch, 3, widths[0], generator=generator).split(chunk_size)
    targets = torch.randn(batch, 3, widths[-1], generator=generator).split(chunk_size)

    def gradient_of(network: nn.Module, wrap: Callable = lambda function: function) -> Callable[[], None]:
        squared_error = wrap(lambda x, t: (network(x) - t).square().sum())

        def run() -> None:
            network.zero_grad()
            for x, t in zip(inputs, targets, strict=True):
                squared_error(x, t).backward()

        return run

    def products() -> Callable[[], None]:
        sizes = [len(x) for x in inputs]
        multiply = {size: matrix_products(widths, 3 * size, generator) for size in set(sizes)}
        return lambda: [multiply[size]() for size in sizes] and None

    make = {
        "straightforward": lambda: gradient_of(StraightforwardENN(ours)),
        "eager": lambda: gradient_of(ours),
        "compiled": lambda: gradient_of(ours, compile_if_possible),
        "products": products,
    }
    return {name: make[name]() for name in variants}


def time_in_turns(
    functions: Mapping[str, Callable[[], object]],
    *,
    seconds: float = 1.0,
    rounds: int = 3,
    turn: float = 0.02,
    is_quickest: bool = False,
) -> dict[str, float]:
    """The seconds that one call of each function takes, measured in turns.

    Every function is called once to warm up. Then each has its turn in every round, of as many calls as fill
    `turn` seconds, and the result is the median over the rounds: what else the machine does strikes all of
    them, and a single disturbance none.

    Args:
        functions: by name.
        seconds: rounds are added until so much time has passed.
        rounds: at least so many.
        turn: seconds.
        is_quickest: take the least over the rounds, not the median, and of this thread's time on its
            processor alone, so that other programs disturb it little; for functions of one thread.
    """
    clock = time.thread_time if is_quickest else time.perf_counter
    calls = {}
    for name, function in functions.items():
        function()
        start = clock()
        function()
        calls[name] = max(1, round(turn / (clock() - start)))
    times: dict[str, list[float]] = {name: [] for name in functions}
    begin = time.perf_counter()
    done = 0
    while done < rounds or time.perf_counter() - begin < seconds:
        for name, function in functions.items():
            start = clock()
            for _ in range(calls[name]):
                function()
            times[name].append((clock() - start) / calls[name])
        done += 1
    return {name: (min if is_quickest else median)(values) for name, values in times.items()}
