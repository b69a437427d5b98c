"""Random examples that many tests share; the same seed gives the same example."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from enn_lib.layers import DTYPES
from enn_lib.network import ENN

all_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: str(dtype).removeprefix("torch."))
"""Runs a test in each of the four dtypes of the network."""


def generator(seed: int = 0) -> torch.Generator:
    """A source of randomness."""
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Normal deviates."""
    return torch.randn(shape, dtype=dtype, generator=generator(seed))


def with_biases(network: nn.Module, seed: int = 0) -> nn.Module:
    """The network itself, with biases that are not zero, as they are at its start."""
    for k, layer in enumerate(network.layers):
        nn.init.normal_(layer.bias, std=0.5, generator=generator(seed + k))
    return network


def biased_network(
    widths, n: int = 3, *, seed: int = 0, dtype: torch.dtype = torch.float64, **options
) -> ENN:
    """A network of random weights and biases."""
    return with_biases(ENN(widths, n, dtype=dtype, generator=generator(seed), **options), seed)


def stirred(model: nn.Module, seed: int = 3) -> nn.Module:
    """The model itself in float64, with other weights than at the start, where some are zero or tiny."""
    source = generator(seed)
    with torch.no_grad():
        for p in model.double().parameters():
            p += 0.1 * torch.randn(p.shape, dtype=p.dtype, generator=source)
    return model


def assert_seeded(make: Callable[[int], nn.Module]) -> None:
    """A model made from a seed: that decides every weight, and torch's global generator stays as it was."""
    state = torch.get_rng_state()
    for one, again, other in zip(*(make(seed).parameters() for seed in (5, 5, 6)), strict=True):
        assert one.equal(again)
        assert not one.equal(other)
    assert torch.get_rng_state().equal(state)


class OneDevice(TorchDispatchMode):
    """Refuses to compute with tensors of several devices, as a GPU does; on "meta" no GPU is needed."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor) and t.ndim]
        devices = {t.device for t in tensors}
        assert len(devices) <= 1, f"{function} of tensors on {devices}"
        return function(*args, **(kwargs or {}))
