r"""The trajectories of the benchmark, regenerated from the published seed.

The published program draws with NumPy's ``RandomState``, whose streams are frozen, from the seed that its
comments give for this data set, 43, and in a fixed order: 10,000 training trajectories, of which the
benchmark uses the first 3,000, then 2,000 for validation and 2,000 for the test. The same calls in the same
order give the same starts. What differs is rounding: the published program takes distances from
:math:`|a|^2 + |b|^2 - 2\, a \cdot b`, ours from differences, and we integrate all systems at once. Only
trajectories with a close encounter, which amplifies it, can be told apart.

As published: positions Gaussian of standard deviation 1; velocities of uniform direction and length 0.5;
charges +1 or -1 with equal chances; particles that start beyond 5 reflected into the box, which has no walls
later; steps of 0.001; a frame every 100 steps, the first after 100; the input is frame 30 (position and
velocity after 3,100 steps), the target the positions of frame 40, 1,000 steps later; no noise.

What equivariant models cannot learn of it on average: the published force limit knows the axes. Turn a start,
integrate as published, and turn the end back. Where the limit of the components was never active this gives
the target again; where it was, another one. An equivariant model says the same for all turned starts, at best
their mean, so averaged over the turns its squared error is at least their variance (`least_errors`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from enn_book.studies.nbody.system import simulate
from enn_lib.groups import random_unitary
from enn_lib.storage import load_tensors

N_PARTICLES = 5

SEED = 43
"""The seed of the published data set, ``nbody_small``."""

SPEED = 0.5
"""Of every particle at the start."""

BOX = 5.0
"""Half the edge of the box into which the start is reflected."""

EVERY = 100
"""Steps between two frames."""

N_FRAMES = 49
"""Frames that the published program keeps of its 5,000 steps."""

FRAMES = (30, 40)
"""Those of the input and of the target, counted from 0; frame k is after (k + 1) * `EVERY` steps."""

DRAWN = {"train": 10_000, "validation": 2_000, "test": 2_000}
"""How many trajectories are drawn, in this order."""

N_TRAIN = 3_000
"""How many of the training trajectories are used, the first."""


@dataclass(frozen=True)
class Systems:
    """Some systems of the benchmark, float64.

    Attributes:
        positions: ``(systems, 5, 3)``, of the input.
        velocities: of the same shape and moment.
        charges: ``(systems, 5)``, each +1 or -1.
        targets: positions 1,000 steps later.
    """

    positions: Tensor
    velocities: Tensor
    charges: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, rows) -> "Systems":
        """Some of them, by a slice or a tensor of indices."""
        return Systems(*(t[rows] for t in (self.positions, self.velocities, self.charges, self.targets)))

    def float(self) -> "Systems":
        """The same in float32."""
        return Systems(*(t.float() for t in (self.positions, self.velocities, self.charges, self.targets)))


class Starts(NamedTuple):
    """Step 0, float64: positions and velocities ``(systems, 5, 3)``, charges ``(systems, 5)``."""

    positions: Tensor
    velocities: Tensor
    charges: Tensor


def draw_starts(split: str, count: int | None = None) -> Starts:
    """The first systems of a part of the published data, at step 0.

    Args:
        split: "train", "validation" or "test".
        count: how many; all that the benchmark uses if not given.

    Raises:
        ValueError: if `split` is unknown or `count` is not from 1 to the number that is drawn.
    """
    if split not in DRAWN:
        raise ValueError(f"split: got {split!r}, wanted one of {', '.join(DRAWN)}")
    if count is None:
        count = min(DRAWN[split], N_TRAIN)
    if not 1 <= count <= DRAWN[split]:
        raise ValueError(f"count: got {count}, wanted 1 to {DRAWN[split]}")
    splits = list(DRAWN)
    before = sum(DRAWN[name] for name in splits[: splits.index(split)])
    drawn = [start for k, start in zip(range(before + count), _stream(), strict=False) if k >= before]
    return Starts(*(torch.from_numpy(np.stack(part)) for part in zip(*drawn, strict=True)))


def _stream() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The starts of the published program one after another, ``(5, 3)``, ``(5, 3)`` and ``(5,)``."""
    random = np.random.RandomState(SEED)
    while True:
        charges = random.choice([-1.0, 0.0, 1.0], size=N_PARTICLES, p=[0.5, 0, 0.5])
        positions = random.standard_normal((3, N_PARTICLES))
        velocities = random.standard_normal((3, N_PARTICLES))
        velocities *= SPEED / np.sqrt((velocities**2).sum(axis=0))
        for side in (1, -1):
            beyond = side * positions > BOX
            positions[beyond] = side * 2 * BOX - positions[beyond]
            velocities[beyond] = -side * np.abs(velocities[beyond])
        # The program draws noise for every frame, and multiplies it by zero.
        random.standard_normal(2 * N_FRAMES * 3 * N_PARTICLES)
        yield positions.T, velocities.T, charges


def generate_systems(split: str, count: int | None = None, *, chunk: int = 1000) -> Systems:
    """The first systems of a part of the benchmark: 4,100 steps from `draw_starts`.

    Args:
        split: "train", "validation" or "test".
        count: how many; all that the benchmark uses if not given.
        chunk: so many systems are integrated together, few enough for a core's own cache.

    Raises:
        ValueError: as `draw_starts`.
    """
    starts = draw_starts(split, count)
    first, last = (EVERY * (frame + 1) for frame in FRAMES)
    parts = []
    for x, v, q in zip(*(t.split(chunk) for t in starts), strict=True):
        (x,), (v,) = simulate(x, v, q, first)
        (target,), _ = simulate(x, v, q, last - first)
        parts.append((x, v, q, target))
    return Systems(*(torch.cat(part) for part in zip(*parts, strict=True)))


TEST = Path(__file__).with_name("test.safetensors")
"""The test part as this study used it, and the `least_errors` of its systems from 20 directions.

:meta hide-value:
"""


def load_test() -> Systems:
    """The 2,000 systems of the test part, float64, as ``generate_systems("test")`` once gave them.

    They come with the book because another processor, which rounds differently, generates other targets for
    the few systems with a close encounter, and these decide the error of every model.
    """
    tensors, _ = load_tensors(TEST)
    return Systems(*(tensors[key].double() for key in ("positions", "velocities", "charges", "targets")))


def load_floor() -> Tensor:
    """The `least_errors` of `load_test`, ``(2000,)``, from 20 `turned_targets`, which take a minute."""
    return load_tensors(TEST)[0]["least_errors"]


def turned_targets(systems: Systems, count: int, seed: int = 0) -> Tensor:
    """The ends of turned or reflected starts, turned back: ``(count, systems, 5, 3)``, float64.

    Args:
        systems: of the benchmark, float64.
        count: how many random members of O(3), each for all systems.
        seed: of the members.

    Raises:
        ValueError: if `count` is not positive.
    """
    if count < 1:
        raise ValueError(f"count: got {count}, wanted a positive number")
    generator = torch.Generator().manual_seed(seed)
    steps = EVERY * (FRAMES[1] - FRAMES[0])
    ends = []
    for _ in range(count):
        q = random_unitary(3, group="O", dtype=torch.float64, generator=generator)
        (end,), _ = simulate(systems.positions @ q.mT, systems.velocities @ q.mT, systems.charges, steps)
        ends.append(end @ q)
    return torch.stack(ends)


def least_errors(systems: Systems, turned: Tensor) -> Tensor:
    r"""The least error of an equivariant model for each system, averaged over orientations, ``(systems,)``.

    .. math:: \frac{1}{15} \sum_{i=1}^{5} \sum_{c=1}^{3}
        \mathrm{Var}_{\mathcal U}\big[(\mathcal U^{-1} \mathbf x_i(\mathcal U\, \cdot))_c\big]

    over the target itself and the `turned_targets`, unbiased if the target is a member like any other. Starts
    have no preferred direction; inputs on which the limit has acted have one, which changes little.
    """
    return torch.cat((systems.targets.unsqueeze(0), turned)).var(dim=0).mean(dim=(-2, -1))
