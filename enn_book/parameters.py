"""Whether the parameters of a page can be what they were set to."""

from collections.abc import Mapping

Wanted = type[bool] | type[str] | int | float | tuple | list | None

LARGEST = 10**6
"""What a number without another limit may be at most, since a page keeps in memory what it counts."""

SEEDS = (0, 2**32 - 1)
"""The least and the largest seed, which every generator of random numbers takes."""


def check_parameters(values: Mapping[str, object], **wanted: Wanted) -> None:
    """Raise unless parameters of a page are of their kinds and in their ranges.

    A page calls it first, as ``check_parameters(globals(), n_steps=1, r_min=0.0, n=(1, 5), widths=[1])``.

    Args:
        values: the parameters by name; others among them do no harm.
        wanted: for each parameter its least value, an integer where it has to be one, else a float; or its
            least and its largest, a pair, where that is not `LARGEST`; or a list of one of these, for a list
            of different such entries, at least one; or ``bool`` for true or false; or ``str`` for text; or
            None if anything will do.

    Raises:
        ValueError: naming the parameter, what came and what is wanted.
    """
    for name, limits in wanted.items():
        value = values[name]
        if not _is(value, limits):
            raise ValueError(f"{name}: got {_in_short(value)}, wanted {_in_words(limits)}")


def _is(value, limits: Wanted) -> bool:
    """Whether a value is what is wanted."""
    if isinstance(limits, list):
        is_good = isinstance(value, list | tuple) and value and all(_is(v, limits[0]) for v in value)
        return is_good and len(set(value)) == len(value)
    if limits is None or isinstance(limits, type) or isinstance(value, bool):
        return limits is None or (isinstance(limits, type) and isinstance(value, limits))
    least, most = _range(limits)
    kinds = int | float if isinstance(least, float) else int
    return isinstance(value, kinds) and least <= value <= most  # which no NaN is


def _range(limits: int | float | tuple) -> tuple:
    """The least and the largest value."""
    return limits if isinstance(limits, tuple) else (limits, LARGEST)


def _in_words(limits: Wanted) -> str:
    """What is wanted."""
    if isinstance(limits, list):
        return f"a list, no two entries alike, each {_in_words(limits[0])}"
    if isinstance(limits, type):
        return {bool: "True or False", str: "text"}[limits]
    least, most = _range(limits)
    return f"{'a number' if isinstance(least, float) else 'an integer'} from {least:,} to {most:,}"


def _in_short(value) -> str:
    """A value as it is written, in one line that is not too long."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # of an integer of thousands of digits
        text = "too many digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
