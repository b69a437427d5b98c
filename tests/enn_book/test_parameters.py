"""Parameters of a page that cannot be what they were set to are refused by name."""

import math

import pytest

from enn_book.parameters import check_parameters


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        *((1, 1), (7, 1), (5, (1, 5)), (2, 0.5), (0.5, (0.0, 1)), (True, bool), (None, None), ("a", None)),
        *(([2, 3], [2]), ((0.5,), [0.0])),
    ],
)
def test_what_is_wanted_passes(value, wanted):
    check_parameters({"x": value, "other": object()}, x=wanted)


@pytest.mark.parametrize(
    ("value", "wanted", "words"),
    [
        (0, 1, "wanted an integer, at least 1"),
        (2.5, 1, "wanted an integer, at least 1"),
        ("3", 1, "wanted an integer, at least 1"),
        (None, 1, "wanted an integer, at least 1"),
        (True, 1, "wanted an integer, at least 1"),
        (6, (1, 5), "wanted an integer from 1 to 5"),
        (math.nan, 0.0, "wanted a number, at least 0.0"),
        (math.inf, 0.0, "wanted a number, at least 0.0"),
        (1.5, (0.0, 1), "wanted a number from 0.0 to 1"),
        (1, bool, "wanted True or False"),
        ([], [2], "wanted a list, each entry an integer, at least 2"),
        ([2, 1], [2], "wanted a list, each entry an integer, at least 2"),
        (2, [2], "wanted a list, each entry an integer, at least 2"),
        ([True], [1], "wanted a list, each entry an integer, at least 1"),
    ],
)
def test_anything_else_is_refused_by_name(value, wanted, words):
    with pytest.raises(ValueError, match=r"^x: got ") as refused:
        check_parameters({"x": value}, x=wanted)
    assert str(refused.value) == f"x: got {value!r}, {words}"
