r"""Even and odd under reflections: the remedies for sec. 3.6 (Eq. 36, 37).

A polar vector, such as a position, turns with every Q of O(3); an axial vector, such as an angular
momentum, with det(Q) Q, so that it does not change sign under the inversion of space.
"""

import torch
from torch import Tensor, nn


def orientation(x: Tensor) -> Tensor:
    r"""The sign of the triple product of the first three vectors: +1, -1, or 0 if they are coplanar.

    .. math:: s = \mathrm{sign}\,\left[x^{(1)} \cdot (x^{(2)} \times x^{(3)})\right]

    It is invariant under rotations and changes its sign under reflections, so that s times an axial
    vector is polar, and s times a polar vector is axial: the manual change of sign of sec. 3.6.

    Args:
        x: real vectors ``(..., 3, M)``, M at least 3.

    Returns:
        ``(..., 1, 1)``, in the dtype of `x`.

    Raises:
        ValueError: if there are fewer than three vectors, or they are not real and of dimension 3.
    """
    _check_vectors(x)
    if x.shape[-1] < 3:
        raise ValueError(f"x: got shape {tuple(x.shape)}, wanted at least three vectors, (..., 3, M)")
    triple = (x[..., 0] * torch.linalg.cross(x[..., 1], x[..., 2])).sum(dim=-1)
    return triple.sign()[..., None, None]


class CrossProduct(nn.Module):
    r"""Cross products of the first half of the vectors with the second half.

    .. math:: c^{(\alpha)} = u^{(\alpha)} \times u^{(M + \alpha)}, \qquad \alpha = 1, ..., M

    Axial vectors from polar ones: ``layer(Q @ u) == det(Q) * Q @ layer(u)`` for Q in O(3).
    """

    def forward(self, u: Tensor) -> Tensor:
        """Map real vectors ``(..., 3, 2 M)`` to ``(..., 3, M)``.

        Raises:
            ValueError: if the number of vectors is odd, or they are not real and of dimension 3.
        """
        _check_vectors(u)
        if u.shape[-1] % 2:
            raise ValueError(f"u: got shape {tuple(u.shape)}, wanted an even number of vectors")
        return torch.linalg.cross(*u.chunk(2, dim=-1), dim=-2)


def _check_vectors(x: Tensor) -> None:
    if x.ndim < 2 or x.shape[-2] != 3 or x.is_complex():
        raise ValueError(f"x: got shape {tuple(x.shape)} of {x.dtype}, wanted real vectors (..., 3, M)")
