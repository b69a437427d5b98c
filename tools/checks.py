"""Whether the checks of the exercises grade: each is tried on right and on wrong answers."""

import re
import tomllib
from collections.abc import Callable, Iterator
from types import FunctionType

import nbformat
import numpy as np
import torch
from nbformat.v4 import new_code_cell
from pages import ROOT
from student import answers, grouped, guarded, is_check

WRONG = tomllib.loads((ROOT / "tests" / "book" / "wrong_answers.toml").read_text(encoding="utf-8"))
"""Of each exercise what a student might well write instead: in words, and as code."""


def spoiled(value):
    """Wrong answers near a right one: numbers a fifth larger, a function whose results are, a flag turned."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, torch.Tensor):
        return ~value if value.dtype == torch.bool else 1.2 * value if value.any() else value + 1
    if isinstance(value, int | float | complex):
        return 1.2 * value if value else 1.0
    if isinstance(value, list | tuple):
        return type(value)(spoiled(entry) for entry in value)
    if isinstance(value, dict):
        return {key: spoiled(entry) for key, entry in value.items()}
    if callable(value):
        return lambda *args, **kwargs: spoiled(value(*args, **kwargs))
    return f"not {value}"


def four_digits(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers as one writes them down."""
    if numbers.dtype == torch.bool or numbers.is_complex():
        return numbers
    rounded = [float(f"{x:.4g}") for x in numbers.flatten().tolist()]
    return torch.tensor(rounded, dtype=torch.float64).reshape(numbers.shape)


def single(numbers: torch.Tensor) -> torch.Tensor:
    """Numbers in single precision."""
    if numbers.dtype == torch.bool:
        return numbers
    return numbers.to(torch.complex64 if numbers.is_complex() else torch.float32)


FORMS: dict[str, Callable] = {
    "in float32": single,
    "as NumPy": lambda numbers: numbers.resolve_conj().numpy()[()],
    "as a list": lambda numbers: numbers.tolist(),
    "to four digits": lambda numbers: four_digits(numbers).tolist(),
}
"""What a right answer may look like."""


def recast(value, form: Callable):
    """A right answer in another form, and a function whose results are; what is no number stays."""
    if isinstance(value, dict):
        return {key: recast(entry, form) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        if all(isinstance(entry, bool | int | float | complex) for entry in value):
            return form(torch.from_numpy(np.array(value)))
        return type(value)(recast(entry, form) for entry in value)
    if isinstance(value, FunctionType):
        return lambda *args, **kwargs: recast(value(*args, **kwargs), form)
    if isinstance(value, torch.Tensor):  # one with gradients is on its way to something else
        return value if value.requires_grad else form(value)
    if isinstance(value, bool | int | float | complex | np.ndarray | np.generic):
        return form(torch.from_numpy(np.array(value)))
    return value


def verdict(check: str, namespace: dict, answer: dict | str) -> Exception | None:
    """What a check raises for an answer, or None; after it all names mean what they meant before.

    Args:
        check: the source.
        namespace: the globals of the page, with the right answers.
        answer: names and what they mean, or the source of a cell.
    """
    before = dict(namespace)
    try:
        with torch.random.fork_rng(devices=[]):
            exec(answer, namespace) if isinstance(answer, str) else namespace.update(answer)
            exec(check, namespace)
    except Exception as error:
        return error
    finally:
        for name in set(namespace) - set(before):
            del namespace[name]
        namespace.update(before)
    return None


def without_what_came(error: Exception) -> str:
    """The message of an error, but for what it quotes of the answer."""
    return re.sub(r"\(got .*?\)", "", str(error))


def faults(check: str, names: list[str], wrong: dict[str, str], namespace: dict) -> Iterator[str]:
    """What a check does that it should not; see `assert_grades`."""
    right = {name: namespace[name] for name in names}
    forms = {form: recast(right, change) for form, change in FORMS.items()}
    for form, answer in {"": {}, **forms}.items():
        if error := verdict(check, namespace, answer):
            yield f"the check refuses the right answers {form}".strip() + f": {type(error).__name__}: {error}"
    told = [re.escape(f"{value:.3g}") for value in right.values() if type(value) in (int, float)]
    answers = {f"{name} = {spoiled(right[name])!r}": {name: spoiled(right[name])} for name in names}
    for words, answer in (answers | wrong).items():
        error = verdict(check, namespace, answer)
        if not error:
            yield f"the check passes with {words}"
        elif not isinstance(error, AssertionError) or len(str(error).split()) < 3:
            yield f"the check says nothing useful of {words}: {type(error).__name__}: {error}"
        elif any(re.search(rf"(?<![\d.]){text}(?![\d.])", without_what_came(error)) for text in told):
            yield f"the check says the answer: {error}"


def assert_grades(check: str, names: list[str], wrong: dict[str, str], namespace: dict) -> None:
    """Make sure that a check accepts right answers and refuses wrong ones, with a message.

    It runs in the page's own namespace, so that functions of the page see what it changes, as they do for a
    student. Right answers are tried in all `FORMS`; an answer wrong by a fifth is always tried.

    Args:
        check: the source.
        names: of the answers that it is about.
        wrong: more wrong answers, as source; the keys say what is wrong.
        namespace: the globals of the page, with the right answers.

    Raises:
        AssertionError: naming everything else that the check does.
    """
    found = list(faults(check, names, wrong, namespace))
    assert not found, "\n".join(found)


def with_trials(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A page in which, after every check, a cell makes sure that it grades."""
    cells = []
    for group, label in grouped(notebook):
        cells += group
        if is_check(group[-1]):
            code = [cell for cell in group if cell.cell_type == "code"]
            names = answers(code[:-1], code[-1])
            check = guarded(names, code[-1].source)  # as a student has it
            call = f"assert_grades({check!r}, {list(names)}, {WRONG.get(label, {})!r}, globals())"
            path = str(ROOT / "tools")
            cells.append(new_code_cell(f"import sys\nsys.path.insert(0, {path!r})\n"
                                       f"from checks import assert_grades\n{call}"))  # fmt: skip
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
