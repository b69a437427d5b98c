"""Where the time of a gradient goes on one core, and whether another library would multiply faster.

``python -m enn_book.studies.speed.one_core 1000 12 3`` times the gradient of 1,000 configurations for 12
seconds in all ways together, three times; a further 0 leaves out what takes a compiler. It prints the rows of
`COLUMNS`, first those of float32.
"""

import ctypes
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import MethodType

import numpy as np
import torch
from torch import Tensor

from enn_book.studies.speed.timing import (
    StraightforwardENN,
    matrix_products,
    norm_by_hand,
    products_per_configuration,
    time_in_turns,
)
from enn_lib.layers import EquivariantLinear, unit_vectors
from enn_lib.network import ENN, PAPER_WIDTHS

COLUMNS = (
    "bits",
    *("straightforward", "by_hand", "eager"),
    *("straightforward_compiled", "compiled", "autotuned", "columns", "openblas"),
    *("products", "products_openblas", "registers"),
)
"""Seconds for the gradient of one configuration.

``by_hand`` is the straightforward program with `norm_by_hand`. Three are compiled in special ways:
``autotuned`` with the products that torch's compiler finds quickest, ``columns`` with the narrow last layer
stored column by column, ``openblas`` with NumPy's products. ``products`` are the products alone, by torch and
by NumPy, and ``registers`` is what they would take at the rate of a loop of multiplications and additions
that never leaves the processor's registers.
"""

LOOP = """
#ifdef __AVX512F__
#define BYTES 64
#else
#define BYTES 32
#endif
typedef NUMBER vector __attribute__((vector_size(BYTES)));
NUMBER run(long n) {
    vector a[12], all = {};
    for (int i = 0; i < 12; i++) a[i] = all + (NUMBER)i;
    for (long k = 0; k < n; k++)
        for (int i = 0; i < 12; i++) a[i] = a[i] * (NUMBER)0.999 + (NUMBER)0.001;
    for (int i = 0; i < 12; i++) all += a[i];
    return all[0];
}
long operations(long n) { return 2 * 12 * (BYTES / sizeof(NUMBER)) * n; }
"""


def in_registers(number: str, folder: Path, repeats: int = 20_000) -> tuple[Callable[[], object], int]:
    """A loop of fused multiplications and additions of C's ``float`` or ``double``, and its operations."""
    source, library = folder / f"{number}.c", folder / f"{number}.so"
    source.write_text(LOOP, encoding="utf-8")
    flags = ["-O3", "-march=native", "-funroll-loops", "-shared", "-fPIC", f"-DNUMBER={number}"]
    subprocess.run(["gcc", *flags, "-o", library, source], check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.operations.restype = ctypes.c_long
    return lambda: loaded.run(ctypes.c_long(repeats)), loaded.operations(ctypes.c_long(repeats))


def _columns(layer: EquivariantLinear, x: Tensor) -> Tensor:
    """The layer, with its output stored column by column."""
    both = torch.cat((x, unit_vectors(x)), dim=-1)
    return (layer.stacked.T @ both.flatten(0, -2).T).T.unflatten(0, x.shape[:-1])


def _by_numpy() -> Callable[[EquivariantLinear, Tensor], Tensor]:
    """The layer, with all its products by NumPy."""

    @torch.library.custom_op("speed::multiply", mutates_args=())
    def multiply(a: Tensor, b: Tensor) -> Tensor:
        out = a.new_empty(len(a), b.shape[1])
        np.matmul(a.numpy(), b.numpy(), out=out.numpy())
        return out

    def backward(context, grad: Tensor) -> tuple[Tensor | None, Tensor]:
        a, b = context.saved_tensors
        return multiply(grad, b.T) if context.needs_input_grad[0] else None, multiply(a.T, grad)

    multiply.register_fake(lambda a, b: a.new_empty(a.shape[0], b.shape[1]))
    multiply.register_autograd(
        backward, setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs)
    )

    def layer(layer: EquivariantLinear, x: Tensor) -> Tensor:
        both = torch.cat((x, unit_vectors(x)), dim=-1)
        return multiply(both.flatten(0, -2), layer.stacked).unflatten(0, x.shape[:-1])

    return layer


def ways(batch: int, is_compiled: bool) -> dict[str, Callable[[], object]]:
    """The gradient of a batch in float32, in every way of `COLUMNS` that is a whole network."""
    generator = torch.Generator().manual_seed(0)
    x, targets = (
        torch.randn(batch, 3, width, generator=generator) for width in (PAPER_WIDTHS[0], PAPER_WIDTHS[-1])
    )

    def gradient(network: torch.nn.Module, **options) -> Callable[[], object]:
        def squared_error(x: Tensor) -> Tensor:
            return (network(x) - targets).square().sum()

        function = torch.compile(squared_error, dynamic=False, **options) if options else squared_error

        def run() -> None:
            network.zero_grad()
            function(x).backward()

        return run

    def ours(forward: Callable | None = None, layers: slice = slice(None)) -> ENN:
        network = ENN(PAPER_WIDTHS, generator=torch.Generator().manual_seed(0))
        for layer in network.layers[layers] if forward else ():
            layer.forward = MethodType(forward, layer)
        return network

    by_hand = StraightforwardENN(ours())
    by_hand.length = norm_by_hand
    found = {
        "straightforward": gradient(StraightforwardENN(ours())),
        "by_hand": gradient(by_hand),
        "eager": gradient(ours()),
    }
    if is_compiled:
        tuned = {"max_autotune": True, "max_autotune_gemm_backends": "CPP,ATEN"}
        found |= {
            "straightforward_compiled": gradient(StraightforwardENN(ours()), fullgraph=True),
            "compiled": gradient(ours(), fullgraph=True),
            "autotuned": gradient(ours(), options=tuned),
            "columns": gradient(ours(_columns, slice(-1, None)), fullgraph=True),
            "openblas": gradient(ours(_by_numpy()), fullgraph=True),
        }
    return found


def main(batch: str, seconds: str, repeats: str, compiled: str = "1") -> None:
    """Print the rows."""
    torch.set_num_threads(1)
    size = int(batch)
    with tempfile.TemporaryDirectory() as folder:
        for number, dtype, bits in (("float", torch.float32, 32), ("double", torch.float64, 64)):
            functions = ways(size, compiled == "1") if bits == 32 else {}
            for name, library in (("products", torch), ("products_openblas", np)):
                options = {"dtype": dtype, "library": library}
                functions[name] = matrix_products(PAPER_WIDTHS, 3 * size, torch.Generator(), **options)
            if compiled == "1":
                functions["registers"], operations = in_registers(number, Path(folder))
            for _ in range(int(repeats)):
                times = time_in_turns(functions, seconds=float(seconds), is_quickest=True)
                each = {name: value / size for name, value in times.items()}
                if "registers" in times:
                    each["registers"] = products_per_configuration() * times["registers"] / operations
                row = [bits, *(each.get(name, math.nan) for name in COLUMNS[1:])]
                sys.stdout.write(" ".join(map(str, row)) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
