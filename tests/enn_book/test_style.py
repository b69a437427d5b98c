"""The house style: numbers and tables as the book writes them, and figures that do not rest on colour."""

import math
import re
from decimal import Decimal
from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from enn_book.style import (
    ANALYTIC,
    HOUSE_STYLE,
    PREDICTIONS,
    REMARK,
    interval,
    line_styles,
    new_figure,
    note,
    number,
    percent,
    spread,
    table,
)

numbers = st.one_of(st.floats(-1e6, 1e6), st.floats(allow_nan=False, allow_infinity=False))
digit_counts = st.integers(1, 6)

WRITTEN = r"−?\d{1,3}(?:,\d{3})*(?:\.\d+)?"
"""How a number is written, but for its power of ten."""


def read(text):
    """A written number, without its power of ten, and that power."""
    mantissa, _, power = text.partition(" × 10")
    power = power.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))
    return Decimal(mantissa.replace("−", "-").replace(",", "")), int(power or 0)


def half_unit(value, digits):
    """Half a unit of the last of so many significant digits of a value."""
    return Decimal(5).scaleb(Decimal(value).adjusted() - digits)


# Numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (6e-4, "6.0 × 10⁻⁴"),
        (27_202, "27,202"),
        (3.5, "3.5"),
        (-0.25, "−0.25"),
        (-1234, "−1,234"),
        (12_345.0, "12,000"),
        (2.395862846112653e-16, "2.4 × 10⁻¹⁶"),
        (-1.5e6, "−1.5 × 10⁶"),
        (0.0, "0"),
        (-0.0, "0"),
        (0, "0"),
        (math.nan, "not a number"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_a_number_is_written_as_the_book_writes_it(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0009996, "0.0010"),
        (0.00094, "9.4 × 10⁻⁴"),
        (0.001, "0.0010"),
        (94_999.0, "95,000"),
        (99_999.6, "1.0 × 10⁵"),
        (9.96, "10"),
        (0.0996, "0.10"),
        (9.96e-7, "1.0 × 10⁻⁶"),
        (9.96e7, "1.0 × 10⁸"),
    ],
)
def test_the_rounded_number_decides_on_the_power_of_ten(value, text):
    assert number(value) == text


@pytest.mark.parametrize(("digits", "text"), [(1, "0.1"), (2, "0.12"), (3, "0.123"), (6, "0.123457")])
def test_a_number_has_the_digits_that_are_asked_for(digits, text):
    assert number(0.123456789, digits) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.float32(0.1), "0.10"),
        (np.float64(6e-4), "6.0 × 10⁻⁴"),
        (np.int64(27_202), "27,202"),
        (np.array(3.5), "3.5"),
        (torch.tensor(0.1), "0.10"),
        (torch.tensor([27_202]), "27,202"),
        (torch.tensor(-0.25, dtype=torch.float64), "−0.25"),
    ],
    ids=repr,
)
def test_numbers_of_numpy_and_torch_are_written_like_those_of_python(value, text):
    assert number(value) == text


@given(value=numbers, digits=digit_counts)
def test_a_number_read_back_is_within_half_a_unit_of_its_last_digit(value, digits):
    mantissa, power = read(number(value, digits))
    assert abs(mantissa.scaleb(power) - Decimal(value)) <= half_unit(value, digits)


@given(value=numbers, digits=digit_counts)
def test_a_number_has_no_e_no_hyphen_and_one_digit_before_a_power_of_ten(value, digits):
    text = number(value, digits)
    assert re.fullmatch(WRITTEN + "( × 10⁻?[⁰¹²³⁴⁵⁶⁷⁸⁹]+)?", text)
    mantissa, power = read(text)
    if power:
        assert 1 <= abs(mantissa) < 10
        assert not -3 <= power < 5


@given(value=st.integers())
def test_an_integer_is_written_whole(value):
    assert read(number(value)) == (value, 0)


@pytest.mark.parametrize(
    ("value", "spread", "text"),
    [
        (1e-3, 1e-4, "(1.00 ± 0.10) × 10⁻³"),
        (-1e-3, 1e-4, "(−1.00 ± 0.10) × 10⁻³"),
        (0.0123, 0.001, "0.0123 ± 0.0010"),
        (3.14159, 0.0996, "3.14 ± 0.10"),
        (27_202, 31, "27,202 ± 31"),
        (27_202.4, 310.0, "27,200 ± 310"),
        (1.5e6, 2e4, "(1.500 ± 0.020) × 10⁶"),
        (0.00996, 1e-4, "(9.96 ± 0.10) × 10⁻³"),
        (99_999.7, 1.0, "99,999.7 ± 1.0"),
        (3.0, 1234.0, "0 ± 1,200"),
        (0, 0.5, "0.00 ± 0.50"),
        (-1e-9, 0.1, "0.00 ± 0.10"),
        (torch.tensor(0.5), np.float32(0.25), "0.50 ± 0.25"),
    ],
)
def test_a_number_with_a_spread_ends_where_the_spread_ends(value, spread, text):
    assert number(value, spread=spread) == text


@given(value=st.floats(-1e9, 1e9), spread=st.floats(1e-9, 1e9), digits=digit_counts)
def test_a_number_with_a_spread_read_back_is_within_half_a_unit_of_its_last_digit(value, spread, digits):
    text = number(value, digits, spread=spread)
    pair, power = re.fullmatch(rf"\(?({WRITTEN} ± {WRITTEN})(?:\)( × 10.+))?", text).groups("")
    shown = f"{spread:.{digits - 1}e}"  # 0.97 is 1 in one digit, and the value ends there
    units = half_unit(shown, digits), half_unit(spread, digits)
    for part, wanted, allowed in zip(pair.split(" ± "), (value, spread), units, strict=True):
        mantissa, exponent = read(part + power)
        assert abs(mantissa.scaleb(exponent) - Decimal(wanted)) <= allowed


def test_an_interval_stays_on_one_line():
    space, joiner = "\N{NO-BREAK SPACE}", "\N{WORD JOINER}"
    assert interval((1.44, 1.2, 1.57)) == f"1.4{space}(1.2–{joiner}1.6)"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"digits": 0}, "digits, spread: got 0, None, wanted at least 1"),
        ({"spread": 0.0}, "got 2, 0.0, wanted at least 1, and None or a positive number"),
        ({"spread": -1.0}, "got 2, -1.0"),
        ({"spread": math.nan}, "got 2, nan"),
        ({"spread": math.inf}, "got 2, inf"),
    ],
)
def test_digits_and_spreads_that_are_none_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        number(1.0, **options)


@pytest.mark.parametrize("value", [True, np.False_, torch.tensor(True)], ids=repr)
def test_true_and_false_are_no_numbers(value):
    with pytest.raises(TypeError, match=r"value: got (True|False), wanted a number"):
        number(value)


@pytest.mark.parametrize(
    ("share", "digits", "text"),
    [
        (0.125, 2, "12 %"),
        (0.125, 3, "12.5 %"),
        (1, 2, "100 %"),
        (0.999, 2, "100 %"),
        (-0.05, 2, "−5.0 %"),
        (0.0, 2, "0 %"),
        (torch.tensor(0.5), 2, "50 %"),
    ],
)
def test_a_share_is_written_as_a_percentage(share, digits, text):
    assert percent(share, digits) == text


# Tables


def test_a_table_writes_its_numbers_like_the_text_and_leaves_nothing_empty():
    rows = [["a", 6e-4, 27_202], [None, -0.25, "much"]]
    assert table(["name", "error", "n"], rows).splitlines() == [
        "| name | error | n |",
        "| --- | --- | --- |",
        "| a | 6.0 × 10⁻⁴ | 27,202 |",
        "|  | −0.25 | much |",
    ]


def test_a_table_has_the_digits_that_are_asked_for():
    assert table(["x"], [[math.pi]], digits=4).endswith("| 3.142 |")


def test_a_notebook_shows_a_table_as_a_table():
    made = table(["x"], [[1]])
    assert made._repr_markdown_() == str(made)


def test_six_columns_fit_a_phone():
    assert table(list("abcdef"), [[1] * 6]).count("\n") == 2


@pytest.mark.parametrize(("columns", "lengths"), [("abcdefg", [7]), ("", []), ("ab", [1, 2]), ("ab", [3])])
def test_more_columns_and_rows_of_another_length_are_refused(columns, lengths):
    said = f"columns, rows: got {len(columns)} and rows of {lengths}, wanted 1 to 6 and as many each"
    with pytest.raises(ValueError, match=re.escape(said)):
        table(list(columns), [[1] * length for length in lengths])


# What is bound to the text


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((6e-4,), "6.0_×_10⁻⁴"),
        ((math.pi, 4), "3.142"),
        (("3 ± 1 to 12 %",), "3_±_1 to 12_%"),
        ((27_202,), "27,202"),
    ],
)
def test_what_the_text_shows_is_bound_as_it_is_written_and_breaks_at_no_sign(arguments, text, monkeypatch):
    bound = {}
    monkeypatch.setattr("myst_nb.glue", lambda name, value, display: bound.update({name: (value, display)}))
    note("page value", *arguments)
    assert bound == {"page value": (text.replace("_", "\N{NO-BREAK SPACE}"), False)}


# Figures


def test_each_of_up_to_six_courses_has_a_colour_and_a_dash_of_its_own():
    for count in range(1, 7):
        colors, dashes = zip(*line_styles(range(count), "seeds"), strict=True)
        assert len(set(colors)) == len(set(dashes)) == count


@pytest.mark.parametrize("count", [0, 7])
def test_no_course_and_more_than_can_be_told_apart_are_refused(count):
    with pytest.raises(ValueError, match=f"seeds: got {count} courses, wanted 1 to 6"):
        line_styles(range(count), "seeds")


def test_every_pair_of_predictions_differs_in_its_dash_too():
    for one, other in combinations([ANALYTIC, *PREDICTIONS], 2):
        assert one["linestyle"] != other["linestyle"]
        assert one["color"] != other["color"]


def test_the_first_lines_of_the_house_style_differ_in_their_dash_too():
    cycle = list(HOUSE_STYLE["axes.prop_cycle"])[:6]
    assert len({str(style["linestyle"]) for style in cycle}) == 6


def test_every_line_has_contrast_to_its_white_ground():
    """The contrast of WCAG 2 for graphics, at least 3; light colours are for areas only."""
    for style in [ANALYTIC, *PREDICTIONS, REMARK]:
        channels = np.array(to_rgb(style["color"]))
        linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        luminance = linear @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3, style


def test_a_figure_has_the_axes_and_the_inches_that_are_asked_for_and_is_closed_for_pyplot():
    figure, axes = new_figure(2, 3, width=7.0, height=5.0, sharex=True)
    assert axes.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [7.0, 5.0]
    assert axes[0, 0].get_shared_x_axes().joined(axes[0, 0], axes[1, 2])
    assert not plt.get_fignums()


def test_figures_are_opaque_white_so_that_dark_mode_does_not_swallow_black_lines():
    figure, axes = new_figure()
    assert figure.get_facecolor() == (1, 1, 1, 1)
    assert axes.get_facecolor() == (1, 1, 1, 1)


def test_a_legend_made_after_new_figure_has_the_house_style():
    with plt.rc_context():
        plt.rcParams["legend.frameon"] = True
        _, axes = new_figure()
        axes.plot([0, 1], label="line")
        assert not axes.legend().get_frame_on()


def test_letters_are_at_least_eight_pixels_high_on_a_phone_of_390():
    figure, _ = new_figure()
    shown = 360 / figure.get_figwidth() / 72  # pixels a point, with the page's margins off
    assert HOUSE_STYLE["font.size"] * shown >= 8


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([0.0022, 7e-4], "0.00070 to 0.0022"),
        ([-9.5e-4, 0.004], "−0.00095 to 0.0040"),
        ([2e-4, 3e-5], "3.0 × 10⁻⁵ to 2.0 × 10⁻⁴"),
        ([1e-7, 0.01], "1.0 × 10⁻⁷ to 0.010"),
        ([0, 5e-4], "0 to 5.0 × 10⁻⁴"),
        ([0.9996e-3, 0.001], "0.0010"),
    ],
)
def test_a_power_of_ten_stands_at_both_ends_of_a_spread_or_at_none_if_they_are_not_far_apart(values, text):
    assert spread(values) == text
