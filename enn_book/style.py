"""How things look: colours and figures, numbers and tables, and the call that binds a number to the text.

The style is readable in print (lines differ by dash and marker too), by colour-blind readers (the palette of
Okabe and Ito), in dark mode (an opaque white ground), and on a phone (a narrow figure with large letters).
"""

import math
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal

from cycler import cycler

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
"""The palette of Okabe and Ito (2008), *Color Universal Design*."""

ANALYTIC = {"color": BLACK, "linestyle": "-", "linewidth": 2.0}
"""How the analytic solution is drawn everywhere."""

PREDICTED = {"color": VERMILION, "linestyle": "--", "linewidth": 1.6}
"""How a prediction of the network is drawn everywhere."""

AVERAGED = {"color": BLUE, "linestyle": "-.", "linewidth": 1.6}
"""How a prediction averaged over the permutations of the atoms is drawn everywhere."""

OTHERS = {"color": GREEN, "linestyle": ":", "linewidth": 1.8}
"""How a third prediction is drawn."""

PREDICTIONS = (PREDICTED, AVERAGED, OTHERS)
"""The styles of predictions, in the order in which they are given."""

REMARK = {"color": "0.45", "linewidth": 1.0, "linestyle": (0, (1, 2))}
"""How a level or a place that the text speaks of is drawn."""

MINUS = "\N{MINUS SIGN}"

HOUSE_STYLE = {
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.dpi": 150,
    "savefig.dpi": 150,
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.88",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.6,
    "axes.prop_cycle": cycler(
        color=[BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK],
        linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), "-"],
    ),
}


def new_figure(rows: int = 1, columns: int = 1, *, width: float = 6.0, height: float = 3.8, **kwargs):
    """A figure in the house style and its axes, as ``plt.subplots`` returns them (sizes in inches).

    The figure is closed for pyplot; return it as the value of a notebook's cell to show it. The house
    style stays Matplotlib's style afterwards, because a legend takes its style when it is made.
    """
    import matplotlib.pyplot as plt  # takes long, and whoever wants numbers only has no need of it

    plt.rcParams.update(HOUSE_STYLE)
    figure, axes = plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **kwargs)
    plt.close(figure)
    return figure, axes


def line_styles(courses: Collection, name: str) -> list[tuple]:
    """A colour and a dash for each of at most six courses.

    Raises:
        ValueError: naming the argument they came in, if there are none, or more than can be told apart.
    """
    colors = (BLACK, BLUE, VERMILION, GREEN, ORANGE, PURPLE)
    dashes = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
    if not 0 < len(courses) <= len(colors):
        raise ValueError(f"{name}: got {len(courses)} courses, wanted 1 to {len(colors)}")
    return list(zip(colors, dashes, strict=True))[: len(courses)]


def number(value: float, digits: int = 2, *, spread: float | None = None) -> str:
    """A number as the book writes it: 6.0 × 10⁻⁴, 27,202, 3.5, (1.00 ± 0.10) × 10⁻³, −0.25.

    An integer is written whole. Other numbers have so many significant digits, and a power of ten where, so
    rounded, they are below a thousandth or at least a hundred thousand. With a spread, it has the digits, the
    value ends with it, and the power of ten begins below a hundredth.

    Args:
        value: a Python or NumPy number, or a tensor of one entry.
        digits: significant ones, of the value, or of the spread if there is one.
        spread: a standard deviation or half an interval, in the unit of `value`.

    Raises:
        ValueError: if `digits` is less than 1 or `spread` is not a positive number.
        TypeError: if `value` is true or false.
    """
    if digits < 1 or (spread is not None and not 0 < spread < math.inf):
        raise ValueError(
            f"digits, spread: got {digits}, {spread}, wanted at least 1, and None or a positive number"
        )
    value, spread = (x.item() if hasattr(x, "item") else x for x in (value, spread))
    if isinstance(value, bool):
        raise TypeError(f"value: got {value}, wanted a number")
    if isinstance(value, int) and spread is None:
        return f"{value:,}".replace("-", MINUS)
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "∞" if value > 0 else f"{MINUS}∞"
    if value == 0 and spread is None:
        return "0"
    last = _exponent(spread or abs(value), digits) - digits + 1
    # The power of ten is that of the number as it is shown, as 0.0009996 in two digits is 0.0010.
    largest = max(abs(value), spread or 0.0)
    exponent = _exponent(largest, max(1, _exponent(largest, 17) - last + 1))
    power = 0 if (-3 if spread is None else -2) <= exponent < 5 else exponent
    text = _decimal(value, power, last)
    if spread is not None:
        text = f"{text} ± {_decimal(spread, power, last)}"
    if power == 0:
        return text
    return f"({text}) × 10{_raised(power)}" if spread is not None else f"{text} × 10{_raised(power)}"


def _exponent(value: float, digits: int) -> int:
    """Of ten, in the first digit of a value rounded to so many."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def _decimal(value: float, power: int, last: int) -> str:
    """A value over 10^power, rounded to its digit of 10^last; of zero no sign is left."""
    scaled, decimals = Decimal(value).scaleb(-power), power - last
    if decimals < 0:
        scaled = round(scaled, decimals)
    return f"{scaled:z,.{max(decimals, 0)}f}".replace("-", MINUS)


def _raised(power: int) -> str:
    """An exponent in superscript."""
    return str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def percent(share: float, digits: int = 2) -> str:
    """A share as a percentage, 0.125 as 12 % (in three digits 12.5 %)."""
    return f"{number(100 * float(share), digits)} %"


def spread(values: Sequence[float], form: Callable[[float], str] = number) -> str:
    """The least and the largest of some values for a table; one of them where both are written alike.

    A power of ten stands at both or at none: 0.00070 to 0.0022.
    """
    ends = min(values), max(values)
    low, high = map(form, ends)
    if form is number and ("×" in low) != ("×" in high) and all(abs(end) > 1e-5 for end in ends):
        low, high = (_decimal(end, 0, _exponent(abs(end), 2) - 1) for end in ends)
    return low if low == high else f"{low} to {high}"


def interval(values: Sequence[float]) -> str:
    """A number with the ends of its interval, on one line, as 1.4 (1.2–1.6); given are the three."""
    middle, low, high = map(number, values)
    return f"{middle} ({low}–\N{WORD JOINER}{high})".replace(" ", "\N{NO-BREAK SPACE}")


class Table(str):
    """A table in Markdown, which a notebook shows as a table."""

    def _repr_markdown_(self) -> str:
        return str(self)


def table(columns: Sequence[str], rows: Sequence[Sequence], *, digits: int = 2) -> Table:
    """A table in Markdown; numbers in it are written by `number`, None is left empty.

    Args:
        columns: the header, at most six, which a phone can show.
        rows: an entry for each column: a number, a sentence, or None.
        digits: significant ones of every number.

    Raises:
        ValueError: if there are more than six columns or a row has another length than the header.
    """
    if not 0 < len(columns) <= 6 or any(len(row) != len(columns) for row in rows):
        lengths = sorted({len(row) for row in rows})
        raise ValueError(
            f"columns, rows: got {len(columns)} and rows of {lengths}, wanted 1 to 6 and as many each"
        )

    def cell(entry) -> str:
        if entry is None or isinstance(entry, str):
            return entry or ""
        return number(entry, digits)

    lines = [columns, ["---"] * len(columns), *rows]
    return Table("\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines))


def note(name: str, value: float | str, digits: int = 2) -> None:
    """Bind a value to the text of a page, which shows it by ``{glue:text}`name```.

    Args:
        name: the first word is the page's, so that no two pages bind the same.
        value: a number, written by `number`; or words, such as `percent` returns. No line of the page ends
            before a per cent sign, at a power of ten or at a plus-minus.
        digits: significant ones of a number.
    """
    from myst_nb import glue  # only where there are pages

    words = value if isinstance(value, str) else number(value, digits)
    for loose in (" %", " × ", " ± "):
        words = words.replace(loose, loose.replace(" ", "\N{NO-BREAK SPACE}"))
    glue(name, words, display=False)
