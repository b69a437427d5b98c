r"""Vectors with scalar features: the network of sec. 3.3 (Eq. 16 to 19).

Every vector x in C^n takes m scalars h along, :math:`x' = \{x, h\}` in C^(n+m) (Eq. 16). A unitary operator
acts on the first n components alone, :math:`\mathcal{U}' = \mathrm{diag}(\mathcal{U}, I)` (Eq. 18). In the
layers below the two parts are the rows of one tensor ``(..., n + m, M)``, vectors first.

The norm of Eq. 19 is the usual one of all n + m components, :math:`|x'|^2 = |x|^2 + |h|^2`. It is kept by
:math:`\mathcal{U}'`, which is unitary, so every activation of `enn_lib.activations` serves unchanged: it
commutes with U(n+m). It also is where vectors and scalars meet, since the products with W mix neither with
the other: a gate of :math:`|x'|` tells the vectors of the scalars and the scalars of the vectors. That norm
does not tell one scalar from another, so a layer of kind "ones" or "single" confuses scalars of one range.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from enn_lib.layers import EquivariantLinear
from enn_lib.network import ENN

ScalarBias = Literal["ones", "single", "separate"]


class ScalarFeatureLinear(EquivariantLinear):
    r"""The layer of Eq. 6 on vectors with scalar features.

    .. math:: y' = x' W + e' b, \qquad e' = \{e, \mathbf{1}\}, \quad e = x / |x|

    W is shared by all n + m rows. Eq. 17 says that the unit vector's scalar part is one; its vector part is
    the unit vector of the first n components (Eq. 9). So the bias of every row of scalars is the sum of
    b's columns, and the paper remarks that a bias of its own can take its place:

    - ``"ones"``: Eq. 17 as printed; the scalars' bias is the column sums of b.
    - ``"single"``: the paper's remark; one scalar for each vector that goes out, shared by the m features.
    - ``"separate"``: one for each feature and each vector that goes out.

    The first two treat the m features alike: exchange two of them everywhere, and the output's are
    exchanged too, while its vectors stay. With m = 1 the last two are the same. Without any bias the layer
    would commute with U(n+m), and could not tell a scalar from a component.

    Attributes:
        stacked: the parameter ``[W; b]``, as in `EquivariantLinear`; so are `weight` and `bias`.
        scalar_bias: None for "ones"; otherwise the parameter, ``(1, out_vectors)`` or ``(m, out_vectors)``.
    """

    def __init__(
        self,
        in_vectors: int,
        out_vectors: int,
        *,
        n: int,
        m: int,
        scalar_bias: ScalarBias = "separate",
        **options,
    ):
        """Make a layer with Xavier-normalised W and zero biases.

        Args:
            in_vectors: M_k, the number of vectors that come in.
            out_vectors: M_(k+1), the number of vectors that go out.
            n: the dimension of every vector.
            m: the number of scalar features of every vector; 0 gives `EquivariantLinear`.
            scalar_bias: "ones", "single" or "separate", see above.
            options: the others of `EquivariantLinear`.

        Raises:
            ValueError: if a number is not as described or `scalar_bias` is unknown.
            TypeError: if `dtype` is none of the four.
        """
        super().__init__(in_vectors, out_vectors, **options)
        if n < 1:
            raise ValueError(f"n: got {n}, wanted a positive dimension")
        if m < 0:
            raise ValueError(f"m: got {m}, wanted a number of features of at least 0")
        if scalar_bias not in get_args(ScalarBias):
            wanted = ", ".join(map(repr, get_args(ScalarBias)))
            raise ValueError(f"scalar_bias: got {scalar_bias!r}, wanted one of {wanted}")
        self.n = n
        self.m = m
        rows = {"ones": None, "single": 1, "separate": m}[scalar_bias]
        self.scalar_bias = (
            None if rows is None else nn.Parameter(torch.zeros(rows, out_vectors, dtype=self.stacked.dtype))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., n + m, in_vectors)`` to ``(..., n + m, out_vectors)``."""
        vectors, scalars = x.split((self.n, self.m), dim=-2)
        bias = self.bias.sum(dim=0) if self.scalar_bias is None else self.scalar_bias
        return torch.cat((super().forward(vectors), scalars @ self.weight + bias), dim=-2)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, n={self.n}, m={self.m}"


class ScalarFeatureENN(ENN):
    r"""A feedforward network of vectors with scalar features (sec. 3.3), equivariant under U(n).

    .. math:: x'_{k+1} = \sigma_{k+1}(x'_k W_k + e'_k b_k)

    With ``v, h = net(vectors, scalars)`` and any unitary U, ``net(U @ vectors, scalars)`` gives ``U @ v, h``.
    The activation acts on all n + m components of a vector as one, so it must commute with U(n+m), as those
    of `enn_lib.activations` do; the module's docstring says why. With m = 0 this is `enn_lib.ENN`.

    What goes out need not have the meaning of what comes in: forces for positions, an energy for a charge.
    """

    def __init__(
        self,
        widths: Sequence[int],
        n: int = 3,
        m: int = 1,
        *,
        scalar_bias: ScalarBias = "separate",
        **options,
    ):
        """Make a network with Xavier-normalised weights and zero biases.

        Args:
            widths: M_0, ..., M_L: the number of vectors in each layer, input and output included.
            n: the dimension of every vector.
            m: the number of scalar features of every vector, the same in all layers.
            scalar_bias: "ones" (Eq. 17 as printed), "single" or "separate"; see `ScalarFeatureLinear`.
            options: the others of `ENN`.

        Raises:
            ValueError: if `widths` has fewer than two entries, or a number is not as described.
            TypeError: if `dtype` is none of the four.
        """
        self.m, self.scalar_bias = m, scalar_bias
        super().__init__(widths, n, **options)

    def _layer(self, in_vectors: int, out_vectors: int, **options) -> ScalarFeatureLinear:
        return ScalarFeatureLinear(
            in_vectors, out_vectors, n=self.n, m=self.m, scalar_bias=self.scalar_bias, **options
        )

    def forward(  # type: ignore[override]
        self, vectors: Tensor, scalars: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Map vectors and their features to vectors and their features.

        Args:
            vectors: ``(..., n, widths[0])``.
            scalars: ``(..., m, widths[0])``; the leading dimensions of the two are broadcast.

        Returns:
            Vectors ``(..., n, widths[-1])`` and scalars ``(..., m, widths[-1])``.

        Raises:
            ValueError: if a shape is not as described.
            TypeError: if a dtype is not that of the parameters.
        """
        self._check("vectors", vectors, self.n)
        self._check("scalars", scalars, self.m)
        batch = torch.broadcast_shapes(vectors.shape[:-2], scalars.shape[:-2])
        x = torch.cat([part.expand(*batch, -1, -1) for part in (vectors, scalars)], dim=-2)
        x = self._through(x)
        return x[..., : self.n, :], x[..., self.n :, :]

    def extra_repr(self) -> str:
        return f"n={self.n}, m={self.m}, widths={'-'.join(map(str, self.widths))}"
