"""Whether the parameters of a page can be what they were set to."""

import math
from collections.abc import Mapping

Wanted = type[bool] | int | float | tuple | list | None


def check_parameters(values: Mapping[str, object], **wanted: Wanted) -> None:
    """Raise unless parameters of a page are of their kinds and in their ranges.

    A page calls it first, as ``check_parameters(globals(), n_steps=1, r_min=0.0, n=(1, 5), widths=[1])``.

    Args:
        values: the parameters by name; others among them do no harm.
        wanted: for each parameter its least value, an integer where it has to be one, else a float; or its
            least and its largest, a pair; or a list of one of these, for a list of at least one such entry;
            or ``bool`` for true or false; or None if anything will do.

    Raises:
        ValueError: naming the parameter, what came and what is wanted.
    """
    for name, limits in wanted.items():
        value = values[name]
        if not _is(value, limits):
            raise ValueError(f"{name}: got {value!r}, wanted {_in_words(limits)}")


def _is(value, limits: Wanted) -> bool:
    """Whether a value is what is wanted."""
    if isinstance(limits, list):
        return isinstance(value, list | tuple) and len(value) > 0 and all(_is(v, limits[0]) for v in value)
    if limits is None or limits is bool or isinstance(value, bool):
        return limits is None or (limits is bool and isinstance(value, bool))
    least, most = limits if isinstance(limits, tuple) else (limits, math.inf)
    kinds = int | float if isinstance(least, float) else int
    return isinstance(value, kinds) and math.isfinite(value) and least <= value <= most


def _in_words(limits: Wanted) -> str:
    """What is wanted."""
    if isinstance(limits, list):
        return f"a list, each entry {_in_words(limits[0])}"
    if limits is bool:
        return "True or False"
    least, most = limits if isinstance(limits, tuple) else (limits, None)
    kind = "a number" if isinstance(least, float) else "an integer"
    return f"{kind}, at least {least}" if most is None else f"{kind} from {least} to {most}"
