"""What the checks of the exercises share: a right answer is right as a list, an array or a tensor."""

from fractions import Fraction

import numpy as np
import torch


def numbers(answer) -> torch.Tensor:
    """An answer as a tensor in double precision, without gradients.

    Args:
        answer: a number, also a fraction, an array, a tensor, or a list or tuple of such.

    Raises:
        AssertionError: if it is anything else, or a list of entries that differ in shape.
    """
    try:
        if isinstance(answer, list | tuple):
            return torch.stack([numbers(entry) for entry in answer])
        answer = float(answer) if isinstance(answer, Fraction) else answer
        found = answer if isinstance(answer, torch.Tensor) else torch.as_tensor(np.asarray(answer))
    except (TypeError, ValueError, RuntimeError):
        raise AssertionError(f"got {answer!r}, wanted numbers") from None
    return found.detach().to(torch.complex128 if found.is_complex() else torch.float64)


FACTORS = {1000: "1000", 3**0.5: "√3"}
"""Factors that tell of a slip, such as meV for eV, or an error per vector for one per component."""


def _slip(got: torch.Tensor, right: torch.Tensor) -> str:
    """By which of the `FACTORS` numbers are wrong, or that their signs are; nothing if by anything else."""
    if right.any() and (got + right).abs().max() < 0.01 * right.abs().max():
        return "with the wrong sign"
    for factor, words in FACTORS.items():
        for share, side in ((factor, "large"), (1 / factor, "small")):
            if right.any() and (got / share - right).abs().max() < 0.01 * right.abs().max():
                return f"{words} times too {side}"
    return ""


def _fault(answer, wanted, words: set[str], tolerance: float, size: float | None) -> str | None:
    """What is to be said of an answer that is wrong, perhaps nothing, or None if it is right."""
    if isinstance(wanted, str):
        said = answer.strip().lower() if isinstance(answer, str) else None
        if said == wanted:
            return None
        known = said is not None and (said in words or len(words) < 2)
        among = f"one of {', '.join(sorted(words))}" if len(words) > 1 else "a word"
        return f"got {answer!r}" + ("" if known else f", wanted {among}")
    try:
        got, right = numbers(answer).squeeze(), numbers(wanted).squeeze()
    except AssertionError as error:
        return f"got {answer!r}, wanted True or False" if isinstance(wanted, bool) else str(error)
    if got.shape != right.shape:
        return f"got the shape {tuple(numbers(answer).shape)}, wanted {tuple(numbers(wanted).shape)}"
    size = right.abs().max().item() or 1.0 if size is None else size
    if (got - right).abs().max().item() <= tolerance * size:
        return None
    is_one = got.ndim == 0 and not isinstance(wanted, bool)
    return ", ".join(filter(None, (f"got {got.item():.4g}" if is_one else "", _slip(got, right))))


def _told(hint: str, fault: str | None) -> str:
    """A hint and what is wrong, if there is something to say of it."""
    return " ".join(filter(None, (hint, f"({fault})" if fault else "")))


def expect(
    answer,
    wanted,
    hint: str | dict,
    *,
    tolerance: float = 1e-3,
    size: float | None = None,
    slips: dict[str, float] | None = None,
) -> None:
    """Make sure that an answer is right, to four digits; dictionaries are compared key by key.

    Args:
        answer: the student's: numbers in any form that `numbers` takes, a word, or a dictionary of such.
        wanted: what is right. Dimensions of length 1 do not matter.
        hint: what helps who is wrong, for a dictionary perhaps one for each key.
        tolerance: the largest deviation, as a share of `size`.
        size: what counts as large; by default the largest of the wanted numbers, or 1 if they are all zero.
        slips: wrong answers that are likely, by what to say of them.

    Raises:
        AssertionError: with the hint, what came of a single number or word, and the slip if it is known. For
            a dictionary it names all wrong entries; if all are True or False, which would give the answer
            away, it says how many are wrong, with the hints for all.
    """
    if not isinstance(wanted, dict):
        fault = _fault(answer, wanted, set(), tolerance, size)
        known = [
            words for words, slip in (slips or {}).items() if _fault(answer, slip, set(), 1e-3, None) is None
        ]
        assert fault is None, _told(hint, ", ".join(filter(None, [fault, *known])))
        return
    if not isinstance(answer, dict):
        raise AssertionError(
            _told(hint if isinstance(hint, str) else "", f"got {answer!r}, wanted a dictionary")
        )
    words = {value for value in wanted.values() if isinstance(value, str)}
    faults = {
        key: _fault(answer[key], value, words, tolerance, size)
        if key in answer
        else f"got the keys {list(answer)}"
        for key, value in wanted.items()
    }
    faults = {key: fault for key, fault in faults.items() if fault is not None}
    if not faults:
        return
    first = next(filter(None, faults.values()), "")
    if all(isinstance(value, bool) for value in wanted.values()):
        hints = "; ".join(f"{k}: {h}" for k, h in hint.items()) if isinstance(hint, dict) else hint
        raise AssertionError(_told(f"{len(faults)} of {len(wanted)} wrong: {hints}", first))
    if isinstance(hint, dict):
        raise AssertionError("; ".join(f"{key}: {_told(hint[key], fault)}" for key, fault in faults.items()))
    names = ("entry " if len(faults) == 1 else "entries ") + ", ".join(map(str, faults))
    raise AssertionError(_told(f"{names}: {hint}", first))
