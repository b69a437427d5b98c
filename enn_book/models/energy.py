"""Forces from an energy: invariants of the network's vectors (sec. 3.6)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from enn_lib.activations import VectorSoftsign
from enn_lib.argon import N_ATOMS, PAIRS, Scales, check_positions, relative_vectors
from enn_lib.force_field import gradients_as_of, wants_gradient
from enn_lib.layers import squared_length
from enn_lib.network import ENN


def invariants(x: Tensor) -> Tensor:
    r"""The scalars w_p of sec. 3.6: lengths, softened so that they are smooth at zero.

    .. math:: w_p = \sqrt{|x_k^{(p)}|^2 + \delta^2}, \qquad \delta = 0.1

    Args:
        x: vectors ``(..., n, M)`` of any layer, without unit.

    Returns:
        ``(..., M)``, real, the same for ``U @ x``.
    """
    return (squared_length(x).squeeze(-2) + 0.01).sqrt()


class EnergyENN(nn.Module):
    r"""An energy of four atoms, whose gradient is the forces.

    .. math::
        x_0 \xrightarrow{\mathrm{ENN}} x_k, \qquad w_p = \sqrt{|x_k^{(p)}|^2 + \delta^2}, \qquad
        U = \mathrm{MLP}(w), \qquad \mathbf F_i = -\partial U / \partial \mathbf r_i

    The relative vectors (Eq. 41) go through the hidden layers of an `ENN`, their lengths through an
    ordinary network. The energy is even under inversion and invariant; the forces are equivariant,
    conservative, and add up to zero.

    Attributes:
        trunk: the equivariant layers, 6 vectors in.
        head: the ordinary layers, one number out.
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden: int,
        *,
        softening: float = 0.0,
        dtype: torch.dtype | None = None,
        seed: int = 0,
    ):
        """Make the model.

        Args:
            widths: M_0 = 6, ..., M_k of the equivariant layers.
            hidden: neurons in the one hidden layer of the head.
            softening: epsilon of the unit vectors.
            dtype: float32 or float64; the default dtype if not given.
            seed: of the weights.

        Raises:
            ValueError: if `widths` does not start with 6, or a number is not positive.
        """
        super().__init__()
        if tuple(widths[:1]) != (len(PAIRS),) or hidden < 1:
            raise ValueError(f"widths, hidden: got {list(widths)}, {hidden}, wanted (6, ...) and at least 1")
        generator = torch.Generator().manual_seed(seed)
        self.trunk = ENN(
            widths, output_activation=VectorSoftsign(), softening=softening, dtype=dtype, generator=generator
        )
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.head = nn.Sequential(
                nn.Linear(widths[-1], hidden, dtype=dtype), nn.SiLU(), nn.Linear(hidden, 1, dtype=dtype)
            )

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, and of what goes in and comes out."""
        return self.trunk.dtype

    def energy(self, x: Tensor) -> Tensor:
        """The energy: scaled relative vectors ``(..., 3, 6)`` -> ``(...)``, without unit."""
        return self.head(invariants(self.trunk(x))).squeeze(-1)

    def forward(self, x: Tensor) -> Tensor:
        """The forces: scaled relative vectors ``(..., 3, 6)`` -> ``(..., 3, 4)``, without unit.

        Differentiable again, so that the model can be trained on forces.
        """
        return forces_from_energy(self.energy, x)


def forces_from_energy(energy: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Minus the slope of an energy of relative vectors by the positions of the atoms.

    Args:
        energy: maps scaled relative vectors ``(..., 3, 6)`` to ``(...)``, without unit.
        x: where.

    Returns:
        ``(..., 3, 4)``, without unit; differentiable again, so that a model can be trained on forces.
    """
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        (slope,) = torch.autograd.grad(energy(x).sum(), x, create_graph=True)
    # r_ij = r_j - r_i: the energy's slope along it pulls j back and i forth.
    i, j = torch.tensor(PAIRS, device=x.device).T
    forces = x.new_zeros(*x.shape[:-1], N_ATOMS)
    return forces.index_add(-1, i, slope).index_add(-1, j, slope, alpha=-1)


class EnergyForceField:
    """A trained `EnergyENN` in units.

    Attributes:
        model: the energy and its forces, without unit; an `EnergyENN`, or another module with its ``energy``
            and ``dtype``.
        scales: of positions (Å) and forces (eV/Å); the energy's scale is their product.
    """

    def __init__(self, model: nn.Module, scales: Scales):
        self.model = model
        self.scales = scales

    def _inputs(self, positions: Tensor) -> Tensor:
        check_positions(positions, N_ATOMS)
        return relative_vectors(positions).to(self.model.dtype) / self.scales.position

    def energy(self, positions: Tensor) -> Tensor:
        """The model's own energy, eV: positions ``(..., 4, 3)`` in Å -> ``(...)``.

        Training on forces leaves its zero open. Differentiable where the positions require a gradient.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        with gradients_as_of(positions):
            energy = self.model.energy(self._inputs(positions)) * (self.scales.position * self.scales.force)
            return energy.to(positions.dtype)

    def forces(self, positions: Tensor) -> Tensor:
        """Forces, eV/Å: positions ``(..., 4, 3)`` in Å -> the same shape and dtype.

        Differentiable where the positions require a gradient.

        Raises:
            ValueError: if the shape is wrong or a position is not finite.
        """
        with gradients_as_of(positions):
            forces = (self.model(self._inputs(positions)).mT * self.scales.force).to(positions.dtype)
        return forces if wants_gradient(positions) else forces.detach()
