"""Whether the checks of the exercises can fail: each is tried on empty and on wrong answers."""

import nbformat
import torch
from nbformat.v4 import new_code_cell
from pages import ROOT
from student import answers, grouped, is_check


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


def verdict(check: str, namespace: dict, **answers) -> Exception | None:
    """What a check raises for some answers, or None; after it all names mean what they meant before."""
    before = dict(namespace)
    namespace.update(answers)
    try:
        exec(check, namespace)
    except Exception as error:
        return error
    finally:
        for name in set(namespace) - set(before):
            del namespace[name]
        namespace.update(before)
    return None


def assert_refuses(check: str, names: list[str], namespace: dict) -> None:
    """Make sure that a check refuses an empty answer, and one wrong by a fifth, because they are wrong.

    It runs in the page's own namespace, so that functions of the page see what it changes, as they do for a
    student. In the same place it has to accept the right answers: what always fails would refuse all.

    Args:
        check: the source.
        names: of the answers that it is about.
        namespace: the globals of the page, with the right answers.

    Raises:
        AssertionError: if the check accepts what is wrong, or refuses what is right.
    """
    for name in names:
        for wrong in (None, spoiled(namespace[name])):
            error = verdict(check, namespace, **{name: wrong})
            assert error, f"the check passes with {name} = {wrong!r}"
            if wrong is not None and not isinstance(error, AssertionError):
                raise error
    error = verdict(check, namespace)
    assert not error, f"the check refuses the right answers too: {type(error).__name__}: {error}"


def with_refusals(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A page in which, after every check, a cell makes sure that it refuses empty and wrong answers."""
    cells = []
    for group, _ in grouped(notebook):
        cells += group
        if is_check(group[-1]):
            code = [cell for cell in group if cell.cell_type == "code"]
            names = list(answers(code[:-1], code[-1]))
            call = f"assert_refuses({code[-1].source!r}, {names}, globals())"
            path = str(ROOT / "tools")
            cells.append(new_code_cell(f"import sys\nsys.path.insert(0, {path!r})\n"
                                       f"from checks import assert_refuses\n{call}"))  # fmt: skip
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
