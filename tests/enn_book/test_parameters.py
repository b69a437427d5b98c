"""Parameters of a page that cannot be what they were set to are refused by name."""

import math

import numpy as np
import pytest
import torch

from enn_book.parameters import SEEDS, check_parameters


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        *((1, 1), (7, 1), (5, (1, 5)), (2, 0.5), (0.5, (0.0, 1)), (True, bool), (None, None)),
        *((10**6, 1), (2**32 - 1, SEEDS), ("a", None), ("a", str)),
        *(([2, 3], [2]), ((0.5,), [0.0])),
    ],
)
def test_what_is_wanted_passes(value, wanted):
    check_parameters({"x": value, "other": object()}, x=wanted)


@pytest.mark.parametrize(
    ("value", "wanted", "words"),
    [
        (0, 1, "wanted an integer from 1 to 1,000,000"),
        (2.5, 1, "wanted an integer from 1 to 1,000,000"),
        ("3", 1, "wanted an integer from 1 to 1,000,000"),
        (None, 1, "wanted an integer from 1 to 1,000,000"),
        (True, 1, "wanted an integer from 1 to 1,000,000"),
        (6, (1, 5), "wanted an integer from 1 to 5"),
        (math.nan, 0.0, "wanted a number from 0.0 to 1,000,000"),
        (math.inf, 0.0, "wanted a number from 0.0 to 1,000,000"),
        (1.5, (0.0, 1), "wanted a number from 0.0 to 1"),
        (10**6 + 1, 1, "wanted an integer from 1 to 1,000,000"),
        (10**400, 0.0, "wanted a number from 0.0 to 1,000,000"),
        (-1, SEEDS, "wanted an integer from 0 to 4,294,967,295"),
        (2**32, SEEDS, "wanted an integer from 0 to 4,294,967,295"),
        ([7], [(1, 5)], "wanted a list, no two entries alike, each an integer from 1 to 5"),
        (1, bool, "wanted True or False"),
        (1, str, "wanted text"),
        (True, str, "wanted text"),
        ([], [2], "wanted a list, no two entries alike, each an integer from 2 to 1,000,000"),
        ([2, 1], [2], "wanted a list, no two entries alike, each an integer from 2 to 1,000,000"),
        (2, [2], "wanted a list, no two entries alike, each an integer from 2 to 1,000,000"),
        ([4, 4], [1], "wanted a list, no two entries alike, each an integer from 1 to 1,000,000"),
        ([True], [1], "wanted a list, no two entries alike, each an integer from 1 to 1,000,000"),
    ],
)
def test_anything_else_is_refused_by_name(value, wanted, words):
    with pytest.raises(ValueError, match=r"^x: got ") as refused:
        check_parameters({"x": value}, x=wanted)
    got = repr(value) if value != 10**400 else f"1{76 * '0'}..."
    assert str(refused.value) == f"x: got {got}, {words}"


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (10**5000, "too many digits"),
        ([10**5000], "too many digits"),
        (np.eye(2), "array([[1., 0.], [0., 1.]])"),
        (list(range(100)), f"{list(range(100))!r:.77}..."),
    ],
    ids=["a number", "a list", "of two lines", "long"],
)
def test_what_came_is_told_in_one_short_line(value, got):
    with pytest.raises(ValueError, match=r"^x: got ") as refused:
        check_parameters({"x": value}, x=1)
    assert str(refused.value) == f"x: got {got}, wanted an integer from 1 to 1,000,000"


def test_the_largest_seed_is_taken_by_every_generator():
    seed = SEEDS[1]
    torch.manual_seed(seed)
    torch.Generator().manual_seed(seed)
    np.random.default_rng(seed)
    np.random.RandomState(seed)
