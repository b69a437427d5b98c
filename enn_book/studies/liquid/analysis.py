"""What a physicist asks of a liquid: its structure, how its atoms move, and errors from blocks of time.

Units: Å for lengths, fs for times, Å/fs for velocities; diffusion in 10^-5 cm^2/s.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from enn_book.style import number
from enn_lib.graph import neighbours

DIFFUSION_UNIT = 1e4
"""So many times 10^-5 cm^2/s are one Å^2/fs, which is 0.1 cm^2/s."""


def radial_distribution(positions: Tensor, cell: Tensor, edges: Tensor) -> Tensor:
    r"""The radial distribution function g(r).

    .. math:: g(r) = \frac{V}{N^2}\, \frac{\langle\text{ordered pairs at } r\rangle}{4 \pi r^2 dr}

    Args:
        positions: Å, ``(..., atoms, 3)``; the mean is over all but the last two dimensions.
        cell: the lattice vectors as rows, Å, ``(3, 3)``.
        edges: of the bins, Å, ``(bins + 1,)``, at even distances from zero.

    Returns:
        g in each bin, ``(bins,)``.
    """
    flat = positions.reshape(-1, *positions.shape[-2:])
    bins, longest = len(edges) - 1, edges[-1].item()
    counts = torch.zeros(bins, dtype=torch.float64)
    for part in flat.split(8):
        distance = neighbours(part, longest, cell).vectors.norm(dim=-1)
        counts += torch.histc(distance, bins, 0, longest)
    atoms = flat.shape[-2]
    shells = 4 / 3 * math.pi * edges.pow(3).diff()
    return 2 * counts / len(flat) * torch.linalg.det(cell).abs() / (atoms**2 * shells)


def _correlation(x: Tensor, lags: int) -> Tensor:
    """The mean of x(t_0 + t) . x(t_0) over atoms and starts: ``(records, ..., atoms, 3)`` -> ``(lags,)``."""
    n = len(x)
    # As many zeros behind, or what ends would meet what begins.
    spectrum = torch.fft.rfft(x, 2 * n, dim=0).abs().square()
    sums = torch.fft.irfft(spectrum, 2 * n, dim=0)[:lags].sum(dim=-1).flatten(1).mean(dim=1)
    return sums / (n - torch.arange(lags))


def mean_square_displacement(positions: Tensor, lags: int) -> Tensor:
    r"""How far atoms have moved after a time, :math:`\langle|r(t_0 + t) - r(t_0)|^2\rangle`, Å^2.

    Args:
        positions: Å, unwrapped, at even times, ``(records, ..., atoms, 3)``.
        lags: how many times t, from 0.

    Returns:
        The mean over atoms and starts t_0, ``(lags,)``.
    """
    moved = positions - positions[0]
    squares = moved.square().sum(dim=-1).flatten(1).mean(dim=1)
    n, lag = len(squares), torch.arange(lags)
    before = torch.cat((squares.new_zeros(1), squares.cumsum(dim=0)))  # sums of the first k
    ends = before[n] - before[lag] + before[n - lag]
    return ends / (n - lag) - 2 * _correlation(moved, lags)


def velocity_autocorrelation(velocities: Tensor, lags: int) -> Tensor:
    r"""The normalised autocorrelation :math:`\langle v(t_0 + t) \cdot v(t_0)\rangle / \langle v^2\rangle`.

    Args:
        velocities: at even times, ``(records, ..., atoms, 3)``.
        lags: how many times t, from 0.

    Returns:
        The mean over atoms and starts t_0, ``(lags,)``.
    """
    found = _correlation(velocities, lags)
    return found / found[0]


def slope(times: Tensor, values: Tensor) -> Tensor:
    """The slope of the straight line of least squares through values ``(records, ...)`` -> ``(...)``."""
    t = (times - times.mean()).reshape(-1, *(1,) * (values.ndim - 1))
    return (t * (values - values.mean(dim=0))).sum(dim=0) / t.square().sum()


def rms(values: Tensor) -> float:
    """The root of the mean square of all entries."""
    return values.square().mean().sqrt().item()


def peak_displacement(r: Tensor, g: Tensor, reference: Tensor, error: Tensor) -> Tensor:
    r"""How far out the first peak of g(r) is, compared with a reference :math:`g_0`, by least squares, Å.

    .. math:: \delta = -\frac{\sum_r (g - g_0)\, g_0' / \sigma^2}{\sum_r g_0'^2 / \sigma^2}

    The sums go from 3.3 to 3.9 Å, where argon at its triple point has the peak, and it is assumed that
    :math:`g(r) = g_0(r - \delta)` with a small displacement.

    Args:
        r: the distances, Å, ``(bins,)``.
        g: of the liquid, ``(bins,)``.
        reference: g_0, ``(bins,)``.
        error: the standard errors :math:`\sigma` that weight the bins, ``(bins,)``.
    """
    slopes, near = torch.gradient(reference, spacing=(r,))[0], (r > 3.3) & (r < 3.9)
    weights = (slopes / error.square())[near]
    return -((g - reference)[near] * weights).sum() / (slopes[near] * weights).sum()


def of_blocks(values: Tensor) -> tuple[Tensor, Tensor]:
    """The mean of ``(blocks, ...)``, and its standard error if blocks are independent."""
    return values.mean(dim=0), values.std(dim=0) / math.sqrt(len(values))


def pooled(means: Sequence[Tensor], errors: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The mean over starts, and its standard error from those of each start."""
    return torch.stack([*means]).mean(dim=0), torch.stack([*errors]).square().sum(dim=0).sqrt() / len(errors)


def plus_minus(mean: Tensor | float, error: Tensor | float) -> str:
    """A mean with its standard error, as a page shows it, on one line."""
    return number(float(mean), 1, spread=float(error)).replace(" ", "\N{NO-BREAK SPACE}")
