"""The networks for ammonia: the ENN with the species as scalar features (sec. 3.3), and its rivals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from enn_book.models.energy import EnergyForceField, forces_from_energy
from enn_book.studies.molecule.ammonia import HYDROGENS, SYMBOLS
from enn_lib.activations import VectorSoftsign
from enn_lib.argon import N_ATOMS, PAIRS, Scales
from enn_lib.force_field import ForceField, NetworkForceField
from enn_lib.layers import length
from enn_lib.network import ENN
from enn_lib.permutation import PermutationAverage
from enn_lib.scalar_features import ScalarFeatureENN

KINDS = tuple(sorted({tuple(sorted((SYMBOLS[i], SYMBOLS[j]))) for i, j in PAIRS}))
"""The kinds of pairs, (H, H) and (H, N)."""

PAIR_KINDS = torch.tensor(
    [[float(tuple(sorted((SYMBOLS[i], SYMBOLS[j]))) == kind) for i, j in PAIRS] for kind in KINDS]
)
"""Which kind each of the six pairs is, in ones and zeros, ``(2, 6)``."""


class _SpeciesNetwork(nn.Module):
    """What the two networks below share: the scalar features of six relative vectors."""

    n = 3

    def __init__(
        self,
        hidden: Sequence[int],
        *,
        distances: bool = True,
        a: float = 0.1,
        softening: float = 0.0,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make a network with Xavier-normalised weights and zero biases.

        Args:
            hidden: the widths of the layers between the six vectors that come in and what goes out.
            distances: whether the length of each relative vector is a scalar feature, too.
            a: the residue of the vector softsign.
            softening: epsilon of the unit vectors.
            dtype: float32 or float64; the default dtype if not given.
            generator: the source of randomness for the weights; torch's global one if not given.
        """
        super().__init__()
        self.distances = distances
        self.network = ScalarFeatureENN(
            (len(PAIRS), *hidden, self.outputs),
            m=len(KINDS) + distances,
            activation=VectorSoftsign(a),
            softening=softening,
            dtype=dtype,
            generator=generator,
        )
        self.register_buffer("kinds", PAIR_KINDS.to(self.dtype), persistent=False)

    @property
    def widths(self) -> tuple[int, ...]:
        """The number of vectors in each layer."""
        return self.network.widths

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, and of what goes in and comes out."""
        return self.network.dtype

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The network's vectors and scalars for scaled relative vectors ``(..., 3, 6)``."""
        scalars = self.kinds.expand(*x.shape[:-2], -1, -1)
        if self.distances:
            scalars = torch.cat((scalars, length(x)), dim=-2)
        return self.network(x, scalars)


class SpeciesENN(_SpeciesNetwork):
    r"""The ENN with scalar features (sec. 3.3) on six relative vectors: which kind of pair each one joins.

    .. math:: x'_{ij} = \{\mathbf r_{ij},\ [Z_i Z_j = 1],\ [Z_i Z_j = 7],\ |\mathbf r_{ij}|\}

    The kinds are constants of the molecule. A network with a column for each pair could do without them; what
    they bring are rows of scalars in every layer, which carry invariants from layer to layer. The distance,
    if wanted, is one that is known from the start.

    Attributes:
        network: the `ScalarFeatureENN`; its last scalars are not used.
        distances: whether the length of each relative vector is a scalar feature, too.
    """

    outputs = N_ATOMS

    def forward(self, x: Tensor) -> Tensor:
        """The forces: scaled relative vectors ``(..., 3, 6)`` -> ``(..., 3, 4)``, without unit."""
        return self.both(x)[0]


class SpeciesEnergyENN(_SpeciesNetwork):
    r"""The same network with one vector out, of whose scalars the sum is an energy.

    .. math:: \{\mathbf y, h\} = \mathrm{ENN}(x'), \qquad U = \sum_k h_k, \qquad
              \mathbf F_i = -\partial U / \partial \mathbf r_i

    What goes out need not mean what came in (sec. 3.3). The forces are conservative and add up to zero.

    Attributes:
        network: the `ScalarFeatureENN`; its last vector is not used.
        distances: whether the length of each relative vector is a scalar feature, too.
    """

    outputs = 1

    def energy(self, x: Tensor) -> Tensor:
        """The energy: scaled relative vectors ``(..., 3, 6)`` -> ``(...)``, without unit."""
        return self.both(x)[1].sum(dim=(-1, -2))

    def forward(self, x: Tensor) -> Tensor:
        """The forces: scaled relative vectors ``(..., 3, 6)`` -> ``(..., 3, 4)``, without unit."""
        return forces_from_energy(self.energy, x)


@dataclass(frozen=True)
class Variant:
    """A model of the comparison.

    Attributes:
        title: for tables and figures.
        make: makes the untrained model from a source of randomness, its argument ``generator``.
        average: trained with renumbered hydrogens, and averaged over the six numberings when it is used.
        is_linear: an `ENN` of one layer, whose best parameters are known without training.
    """

    title: str
    make: Callable[..., nn.Module]
    average: bool = True
    is_linear: bool = False


HIDDEN = (64, 64, 64)
"""The hidden layers of every ENN of the comparison."""

SOFTENED = {"a": 1.0, "softening": 0.3}
"""The residue and epsilon of the softened models, those of argon; no others were tried."""


def _enn(hidden: Sequence[int] = HIDDEN, *, a: float = 0.1, **options) -> ENN:
    return ENN((len(PAIRS), *hidden, N_ATOMS), activation=VectorSoftsign(a), **options)


_species = partial(SpeciesENN, HIDDEN)

VARIANTS: dict[str, Variant] = {
    "springs": Variant("one layer: springs", partial(_enn, ()), is_linear=True),
    "enn-alone": Variant("ENN, no average", _enn, average=False),
    "enn": Variant("ENN", _enn),
    "enn-softened": Variant("ENN, softened", partial(_enn, **SOFTENED)),
    "species-alone": Variant("scalar features, no average", _species, average=False),
    "species-kinds": Variant("scalar features, kinds only", partial(_species, distances=False)),
    "species": Variant("scalar features", _species),
    "species-softened": Variant("scalar features, softened", partial(_species, **SOFTENED)),
    "energy": Variant("forces from an energy", partial(SpeciesEnergyENN, HIDDEN, **SOFTENED)),
}
"""The models by name. All but the first have the same hidden layers."""


def build_variant(name: str, seed: int = 0) -> nn.Module:
    """The untrained model of a name, in float32.

    Raises:
        ValueError: if there is none of this name.
    """
    if name not in VARIANTS:
        raise ValueError(f"variant: got {name!r}, wanted one of {', '.join(VARIANTS)}")
    return VARIANTS[name].make(generator=torch.Generator().manual_seed(seed))


def as_force_field(name: str, model: nn.Module, scales: Scales) -> ForceField:
    """A model as it is used: in units, and averaged over the hydrogens if the catalogue says so."""
    kind = EnergyForceField if isinstance(model, SpeciesEnergyENN) else NetworkForceField
    plain = kind(model, scales)
    return PermutationAverage(plain, HYDROGENS) if VARIANTS[name].average else plain
