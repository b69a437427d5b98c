"""What the checks of the exercises share: a right answer is right as a list, an array or a tensor."""

import numpy as np
import torch


def numbers(answer) -> torch.Tensor:
    """An answer as a tensor in double precision, without gradients.

    Args:
        answer: a number, an array, a tensor, or a list or tuple of such.

    Raises:
        AssertionError: if it is anything else, or a list of entries that differ in shape.
    """
    try:
        if isinstance(answer, list | tuple):
            return torch.stack([numbers(entry) for entry in answer])
        found = answer if isinstance(answer, torch.Tensor) else torch.as_tensor(np.asarray(answer))
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"got {answer!r}, wanted numbers") from None
    return found.detach().to(torch.complex128 if found.is_complex() else torch.float64)


def expect(answer, wanted, hint: str | dict, *, tolerance: float = 1e-3, size: float | None = None) -> None:
    """Make sure that an answer is right, to four digits; dictionaries are compared key by key.

    Args:
        answer: the student's: numbers in any form that `numbers` takes, a word, or a dictionary of such.
        wanted: what is right. Dimensions of length 1 do not matter.
        hint: what helps who is wrong, for a dictionary perhaps one for each key.
        tolerance: the largest deviation, as a share of `size`.
        size: what counts as large; by default the largest of the wanted numbers, or 1 if they are all zero.

    Raises:
        AssertionError: with the hint.
    """
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            words = f"{key}: {hint[key] if isinstance(hint, dict) else hint}"
            entries = answer if isinstance(answer, dict) else {}
            assert key in entries, f"{words} (got no entry with this key)"
            expect(entries[key], value, words, tolerance=tolerance, size=size)
    elif isinstance(wanted, str):
        assert isinstance(answer, str), f"{hint} (got {answer!r}, wanted a word)"
        assert answer.strip().lower() == wanted, hint
    else:
        try:
            got, right = numbers(answer), numbers(wanted)
        except AssertionError as error:
            raise AssertionError(f"{hint} ({error})") from None
        shapes = f"(got the shape {tuple(got.shape)}, wanted {tuple(right.shape)})"
        assert got.squeeze().shape == right.squeeze().shape, f"{hint} {shapes}"
        size = right.abs().max().item() or 1.0 if size is None else size
        off = (got.squeeze() - right.squeeze()).abs().max().item()
        assert off <= tolerance * size, hint
