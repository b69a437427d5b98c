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


def assert_refuses(check: str, names: list[str], namespace: dict) -> None:
    """Raise AssertionError if a check accepts an empty answer, or one that is wrong by a fifth."""
    for name in names:
        for wrong in (None, spoiled(namespace[name])):
            try:
                exec(check, namespace | {name: wrong})
            except Exception as error:
                if wrong is None or isinstance(error, AssertionError):
                    continue
                raise
            raise AssertionError(f"the check passes with {name} = {wrong!r}")


def with_refusals(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A page in which, after every check, a cell makes sure that it refuses empty and wrong answers."""
    cells = []
    for group, _ in grouped(notebook):
        cells += group
        if is_check(group[-1]):
            code = [cell for cell in group if cell.cell_type == "code"]
            names = list(answers(code[:-1], code[-1]))
            call = f"assert_refuses({code[-1].source!r}, {names}, dict(globals()))"
            path = str(ROOT / "tools")
            cells.append(new_code_cell(f"import sys\nsys.path.insert(0, {path!r})\n"
                                       f"from checks import assert_refuses\n{call}"))  # fmt: skip
    return nbformat.v4.new_notebook(cells=cells, metadata=notebook.metadata)
