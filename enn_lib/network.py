"""The feedforward equivariant network (sec. 3.2)."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from enn_lib.activations import Identity, VectorSoftsign
from enn_lib.layers import EquivariantLinear

PAPER_WIDTHS = (6, 50, 90, 100, 80, 50, 4)
"""The numbers of vectors in the layers of sec. 4.2, input and output included."""


class ENN(nn.Module):
    r"""A feedforward network equivariant under U(n) (sec. 3.2).

    .. math:: x_{k+1} = \sigma_{k+1}(x_k W_k + e_k b_k)

    Each layer commutes with every unitary operator, and so does the whole: ``net(U @ x) == U @ net(x)``.
    The hidden layers share one activation; the output layer has its own, by default the identity.
    """

    def __init__(
        self,
        widths: Sequence[int],
        n: int = 3,
        *,
        activation: nn.Module | None = None,
        output_activation: nn.Module | None = None,
        softening: float = 0.0,
        dtype: torch.dtype | None = None,
        generator: torch.Generator | None = None,
    ):
        """Make a network with Xavier-normalised weights and zero biases.

        Args:
            widths: M_0, ..., M_L: the number of vectors in each layer, input and output included.
            n: the dimension of every vector.
            activation: the equivariant activation of the hidden layers; ``VectorSoftsign()`` if not
                given.
            output_activation: the same for the output layer; ``Identity()`` if not given.
            softening: epsilon of the unit vectors in every layer; 0 is the paper's network.
            dtype: float32, float64, complex64 or complex128; the default dtype if not given.
            generator: the source of randomness for the weights; torch's global one if not given.

        Raises:
            ValueError: if `widths` has fewer than two entries, or an entry or `n` is not positive.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__()
        if len(widths) < 2:
            raise ValueError(f"widths: got {list(widths)}, wanted at least an input and an output")
        if n < 1:
            raise ValueError(f"n: got {n}, wanted a positive dimension")
        self.n = n
        self.widths = tuple(widths)
        options: dict = {"softening": softening, "dtype": dtype, "generator": generator}
        self.layers = nn.ModuleList(self._layer(*sizes, **options) for sizes in pairwise(self.widths))
        self.activation = VectorSoftsign() if activation is None else activation
        self.output_activation = Identity() if output_activation is None else output_activation

    def _layer(self, in_vectors: int, out_vectors: int, **options) -> EquivariantLinear:
        return EquivariantLinear(in_vectors, out_vectors, **options)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the parameters, and of what goes in and comes out."""
        return next(self.parameters()).dtype

    def forward(self, x: Tensor) -> Tensor:
        """Map vectors ``(..., n, widths[0])`` to ``(..., n, widths[-1])``.

        Raises:
            ValueError: if the last two dimensions of `x` are not ``(n, widths[0])``.
            TypeError: if `x` has another dtype than the parameters.
        """
        self._check("x", x, self.n)
        return self._through(x)

    def _check(self, name: str, x: Tensor, rows: int) -> None:
        if x.shape[-2:] != (rows, self.widths[0]):
            raise ValueError(f"{name}: got shape {tuple(x.shape)}, wanted (..., {rows}, {self.widths[0]})")
        if x.dtype != self.dtype:
            raise TypeError(f"{name}: got {x.dtype}, wanted {self.dtype}, the dtype of the network")

    def _through(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.output_activation(self.layers[-1](x))

    def extra_repr(self) -> str:
        return f"n={self.n}, widths={'-'.join(map(str, self.widths))}"
