"""Random members of the groups, their actions, and the check that a function is equivariant.

Five groups, each acting on a set of vectors. ``element`` is what `random_element` returns:

=======  =====================  ======================  =========================================
`group`  which                  element                 what it does to the vectors
=======  =====================  ======================  =========================================
``U``    unitary, U(n)          matrix ``(n, n)``       multiplies each from the left (Eq. 2)
``O``    orthogonal, O(n)       real matrix ``(n, n)``  the same: rotations and reflections
``SO``   rotations, SO(n)       real matrix ``(n, n)``  the same, determinant 1
``S``    permutations           indices ``(M,)``        moves vector i to place ``element[i]``
``T``    translations           vector ``(n,)``         adds itself to each
=======  =====================  ======================  =========================================

Where the vectors are in a tensor is the `action`: ``"columns"`` for ``(..., n, M)``, as in the network;
``"rows"`` for ``(..., atoms, 3)``, as positions and forces; ``"invariant"`` for what the group leaves as
it is, such as energies or scalar features.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

MatrixGroup = Literal["U", "O", "SO"]
GroupName = Literal["U", "O", "SO", "S", "T"]
Action = Literal["columns", "rows", "invariant"] | Callable[[Tensor, Tensor], Tensor]

TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-10, torch.complex64: 1e-4, torch.complex128: 1e-10}
"""The relative error that `assert_equivariant` allows, by dtype of the output."""


def random_unitary(
    n: int,
    *,
    group: MatrixGroup = "U",
    dtype: torch.dtype = torch.complex128,
    generator: torch.Generator | None = None,
) -> Tensor:
    """A Haar-random matrix of U(n), O(n) or SO(n), shape ``(n, n)``.

    The QR decomposition of a Gaussian matrix, with the phases of R's diagonal moved into Q, is Haar
    distributed (Mezzadri, *How to generate random matrices from the classical compact groups*,
    Notices of the AMS 54 (2007) 592). For a real dtype "U" means O(n), its real subgroup.

    Args:
        n: the dimension.
        group: "U", "O" or "SO".
        dtype: float32, float64, complex64 or complex128; O(n) and SO(n) have real entries in any.
        generator: the source of randomness.

    Raises:
        ValueError: if `group` is none of the three.
    """
    if group not in ("U", "O", "SO"):
        raise ValueError(f"group: got {group!r}, wanted 'U', 'O' or 'SO'")
    is_complex = group == "U" and dtype.is_complex
    working = torch.complex128 if is_complex else torch.float64
    q, r = torch.linalg.qr(torch.randn(n, n, dtype=working, generator=generator))
    phases = r.diagonal().sgn()
    q = q * phases
    if group == "SO" and torch.linalg.det(q) < 0:
        q[:, 0] = -q[:, 0]
    return q.to(dtype)


def random_element(group: GroupName, n: int, *, dtype: torch.dtype = torch.float64, seed: int) -> Tensor:
    """The random member of a group that belongs to a seed, as `assert_equivariant` draws it.

    A matrix is Haar random, a permutation uniform, a translation Gaussian with standard deviation 1.
    In O(n), and in the permutations, even seeds give the odd half (determinant or sign -1) and odd
    seeds the even half, so that a few seeds never miss one.

    Args:
        group: "U", "O", "SO", "S" or "T".
        n: the dimension of the vectors; for "S" their number.
        dtype: of the vectors; of the matrix or the translation.
        seed: any whole number.

    Raises:
        ValueError: if `group` is none of the five.
    """
    generator = torch.Generator().manual_seed(seed)
    sign = 1 if seed % 2 else -1
    if group == "S":
        order = torch.randperm(n, generator=generator)
        if torch.linalg.det(torch.eye(n, dtype=torch.float64)[order]).sign() != sign:
            order[:2] = order[:2].flip(0)
        return order
    if group == "T":
        working = torch.complex128 if dtype.is_complex else torch.float64
        return torch.randn(n, dtype=working, generator=generator).to(dtype)
    if group not in ("U", "O", "SO"):
        raise ValueError(f"group: got {group!r}, wanted 'U', 'O', 'SO', 'S' or 'T'")
    matrix = random_unitary(n, group=group, dtype=dtype, generator=generator)
    if group != "SO" and not (group == "U" and dtype.is_complex):
        determinant = torch.linalg.det(matrix.real)
        matrix[:, 0] *= sign * determinant.sign()
    return matrix


def act(group: GroupName, element: Tensor, x: Tensor, action: Action = "columns") -> Tensor:
    """Let a member of a group act on `x`, which keeps its shape and dtype.

    Args:
        group: "U", "O", "SO", "S" or "T".
        element: as `random_element` returns it.
        x: ``(..., n, M)`` for "columns", ``(..., M, n)`` for "rows", anything for "invariant".
        action: where the vectors are in `x`; or a function of `element` and `x`.

    Raises:
        ValueError: if `action` is unknown, or `x` has not the shape that `element` acts on.
    """
    if callable(action):
        return action(element, x)
    if action == "invariant":
        return x
    if action not in ("columns", "rows"):
        raise ValueError(f"action: got {action!r}, wanted 'columns', 'rows', 'invariant' or a function")
    vectors = x if action == "columns" else x.mT
    axis = -1 if group == "S" else -2
    if x.ndim < 2 or vectors.shape[axis] != element.shape[0]:
        wanted = f"{element.shape[0]} vectors" if group == "S" else f"vectors of dimension {element.shape[0]}"
        raise ValueError(f"x: got shape {tuple(x.shape)}, wanted {wanted} as {action}")
    if group == "S":
        moved = vectors[..., element.argsort()]
    elif group == "T":
        moved = vectors + element.unsqueeze(-1)
    else:
        moved = element @ vectors
    return moved if action == "columns" else moved.mT


def equivariance_error(
    function: Callable[..., Tensor | Sequence[Tensor]],
    *inputs: Tensor,
    operator: Tensor,
    group: GroupName = "U",
    action: Action | Sequence[Action] = "columns",
    output_action: Action | Sequence[Action] | None = None,
) -> float:
    """The relative error of ``function(T_g(x)) = T'_g(function(x))`` (Eq. 1) for one member of a group.

    For each output, the largest entry of the difference divided by the largest entry of the output,
    over the whole batch; the largest of these if there are several outputs. `operator` is the member;
    for the other arguments see `assert_equivariant`.
    """
    return max(error for error, _ in _errors(function, inputs, operator, group, action, output_action))


def _errors(function, inputs, element, group, action, output_action) -> list[tuple[float, torch.dtype]]:
    """The relative error and the dtype of each output."""
    actions = _one_each(action, len(inputs), "action")
    if output_action is None:
        output_action = actions[0]
    plain = _as_tuple(function(*(x.clone() for x in inputs)))  # which the function may change
    acted = _as_tuple(function(*(act(group, element, x, a) for x, a in zip(inputs, actions, strict=True))))
    errors = []
    for before, after, a in zip(
        plain, acted, _one_each(output_action, len(plain), "output_action"), strict=True
    ):
        if a in ("columns", "rows") and group != "S" and before.dtype != element.dtype:
            raise TypeError(f"function: got an output of {before.dtype}, wanted its input's {element.dtype}")
        expected = act(group, element, before.detach(), a)
        if after.shape != expected.shape:
            raise ValueError(
                f"function: got an output of shape {tuple(after.shape)} after the action, "
                f"wanted {tuple(expected.shape)}, the one without it"
            )
        scale = expected.abs().max().clamp_min(torch.finfo(expected.dtype).tiny)
        errors.append((((after.detach() - expected).abs().max() / scale).item(), expected.dtype))
    return errors


def _as_tuple(outputs: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def _check_dtype(name: str, dtype: torch.dtype) -> None:
    if dtype not in TOLERANCES:
        raise TypeError(f"{name}: got {dtype}, wanted one of {', '.join(map(str, TOLERANCES))}")


def _one_each(action: Action | Sequence[Action], count: int, name: str) -> Sequence[Action]:
    if isinstance(action, str) or callable(action):
        return [action] * count
    if len(action) != count:
        raise ValueError(f"{name}: got {len(action)}, wanted one, or one for each of {count} tensors")
    return action


def assert_equivariant(
    function: Callable[..., Tensor | Sequence[Tensor]],
    *inputs: Tensor,
    group: GroupName = "U",
    action: Action | Sequence[Action] = "columns",
    output_action: Action | Sequence[Action] | None = None,
    n: int | None = None,
    n_operators: int = 3,
    seed: int = 0,
    tolerance: float | None = None,
) -> float:
    """Assert ``function(T_g(x)) == T'_g(function(x))`` (Eq. 1) for random g, and return the largest error.

    Four examples::

        assert_equivariant(net, x)  # x (..., n, M): U(n), or O(n) if x is real
        assert_equivariant(field.forces, positions, group="O", action="rows")
        assert_equivariant(field.forces, positions, group="S", action="rows")
        assert_equivariant(field.forces, positions, group="T", action="rows", output_action="invariant")

    Args:
        function: takes the inputs, returns a tensor or a sequence of tensors.
        inputs: tensors, float or complex.
        group: "U", "O", "SO", "S" (permutations) or "T" (translations); see the table of this module.
            For real inputs "U" means O(n), its real subgroup.
        action: T_g: where the vectors are in the inputs ("columns", "rows"), or "invariant", or a
            function ``(element, x)``; one for all inputs, or one for each.
        output_action: T'_g: the same for the outputs; that of the first input if not given.
        n: the dimension of the vectors (for "S" their number), to be given only if no input has the
            action "columns" or "rows".
        n_operators: how many random members to try.
        seed: the first one's seed; the next ones count up from it.
        tolerance: the relative error allowed; by default that of `TOLERANCES` for the output's dtype.

    Raises:
        AssertionError: with the measured error, the tolerance and the seed of the group's member.
        ValueError: if an argument is not as described.
        TypeError: if a dtype has no tolerance, or an output that the group acts on is of another dtype.
    """
    if n_operators < 1:
        raise ValueError(f"n_operators: got {n_operators}, wanted at least 1")
    actions = _one_each(action, len(inputs), "action")
    moved = [(x, a) for x, a in zip(inputs, actions, strict=True) if a != "invariant"]
    if not moved:
        raise ValueError("action: got 'invariant' for every input, wanted one that the group acts on")
    dtype = moved[0][0].dtype
    _check_dtype("inputs", dtype)
    if group == "U" and not dtype.is_complex:
        group = "O"
    if n is None:
        x, a = next(((x, a) for x, a in moved if not callable(a)), (None, None))
        if x is None or x.ndim < 2:
            raise ValueError("n: got None, wanted the dimension of the vectors (for 'S' their number)")
        n = x.shape[-1 if (group == "S") == (a == "columns") else -2]
    largest = 0.0
    for s in range(seed, seed + n_operators):
        element = random_element(group, n, dtype=dtype, seed=s).to(moved[0][0].device)
        errors = _errors(function, inputs, element, group, actions, output_action)
        for k, (error, output_dtype) in enumerate(errors):
            if tolerance is None:
                _check_dtype("function", output_dtype)
            allowed = TOLERANCES[output_dtype] if tolerance is None else tolerance
            if not error <= allowed:
                which = f"output {k}: " if len(errors) > 1 else ""
                raise AssertionError(
                    f"not equivariant under {group}({n}): {which}relative error {error:.3g}, tolerance "
                    f"{allowed:.3g} ({output_dtype}), for the random element with seed {s}, "
                    f"random_element({group!r}, {n}, dtype={dtype}, seed={s})"
                )
            largest = max(largest, error)
    return largest
