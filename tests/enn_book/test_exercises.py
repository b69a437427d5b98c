"""The checks of the exercises take a right answer in every form, and say something useful of a wrong one."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from enn_book.exercises import expect, numbers

PAIR = [0.12345, -2.0]


@pytest.mark.parametrize(
    "answer",
    [
        PAIR,
        tuple(PAIR),
        [torch.tensor(PAIR[0], requires_grad=True), np.float32(PAIR[1])],
        np.array(PAIR, dtype=np.float32),
        torch.tensor(PAIR, requires_grad=True),
        [[PAIR[0]], [PAIR[1]]],
        [0.1235, -2],
    ],
)
def test_numbers_are_right_in_every_form_and_to_four_digits(answer):
    expect(answer, torch.tensor(PAIR, dtype=torch.float64), "no")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (np.float32(1 / 3), 1 / 3),
        (torch.tensor([0.3333]), 1 / 3),
        (1e-4, 0),
        (Fraction(16, 5), 3.2),
        ([Fraction(-24, 25), 1], [-0.96, 1.0]),
        (np.True_, True),
        (2, torch.tensor(2)),
        (np.array(1j), 1j),
        (" Neither", "neither"),
        ({"a": np.ones(2), "b": "yes", "c": 3}, {"a": [1.0, 1.0], "b": "yes"}),
    ],
)
def test_a_single_answer_is_right_in_every_form(answer, wanted):
    expect(answer, wanted, "no")


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        (1.002, 1.0),
        (float("nan"), 1.0),
        (0.01, 0),
        (True, False),
        ([1.0, 2.1], [1.0, 2.0]),
        (1.0 + 0.1j, 1.0),
        ("yes", "no"),
    ],
)
def test_a_wrong_answer_is_refused_with_the_hint(answer, wanted):
    with pytest.raises(AssertionError, match=r"^think again( \(got [^,]+\))?$"):
        expect(answer, wanted, "think again")


@pytest.mark.parametrize(
    ("answer", "wanted", "words"),
    [
        (0.72, 1.5, r" \(got 0.72\)"),
        ([1.0, 2.1], [1.0, 2.0], ""),
        (True, False, ""),
        ("yes", "no", r" \(got 'yes'\)"),
        (0.0015, 1.5, r" \(got 0.0015, 1000 times too small\)"),
        ([1500, 3000], [1.5, 3], r" \(1000 times too large\)"),
        (1.5 * 3**0.5, 1.5, r" \(got 2.598, √3 times too large\)"),
        (-1, 1, r" \(got -1, with the wrong sign\)"),
        ([-1.5, 3], [1.5, -3], r" \(with the wrong sign\)"),
        (2, 1.5, r" \(got 2, the mean\)"),
    ],
)
def test_it_is_said_what_came_and_which_slip_it_is(answer, wanted, words):
    with pytest.raises(AssertionError, match=f"^think again{words}$"):
        expect(answer, wanted, "think again", slips={"the mean": 2.0, "the sum": 9.0})


@pytest.mark.parametrize(
    ("answer", "wanted", "reason"),
    [
        (None, 1.0, "got None, wanted numbers"),
        ("1", 1.0, "got '1', wanted numbers"),
        ([], 1.0, r"got \[\], wanted numbers"),
        ([[1.0, 2.0], [3.0]], [1.0, 2.0], "wanted numbers"),
        ([1.0, 1.0], 1.0, r"got the shape \(2,\), wanted \(\)"),
        (torch.ones(2, 3), torch.ones(3, 2), r"got the shape \(2, 3\), wanted \(3, 2\)"),
        (1, "yes", "got 1, wanted a word"),
        ("True", True, "got 'True', wanted True or False"),
        (None, False, "got None, wanted True or False"),
    ],
)
def test_an_answer_of_another_kind_is_refused_with_the_hint_and_the_kind(answer, wanted, reason):
    with pytest.raises(AssertionError, match=rf"^think again \(.*{reason}"):
        expect(answer, wanted, "think again")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"a": 2, "b": 2}, r"a: once \(got 2\)$"),
        ({"a": 5, "b": 3}, r"a: once \(got 5\); b: twice \(got 3\)$"),
        ({"a": 1}, r"b: twice \(got the keys \['a'\]\)$"),
        ([1, 2], r"\(got \[1, 2\], wanted a dictionary\)$"),
    ],
)
def test_every_wrong_answer_in_a_dictionary_is_named(answer, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        expect(answer, {"a": 1, "b": 2}, {"a": "once", "b": "twice"})


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"a": 5, "b": 3}, r"entries a, b: think again \(got 5\)$"),
        ({"a": 1, "b": 3}, r"entry b: think again \(got 3\)$"),
        (None, r"think again \(got None, wanted a dictionary\)$"),
    ],
)
def test_a_hint_for_all_entries_is_given_once(answer, message):
    with pytest.raises(AssertionError, match=f"^{message}"):
        expect(answer, {"a": 1, "b": 2}, "think again")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"a": False, "b": False}, "1 of 2 wrong: {}$"),
        ({"a": True, "b": True}, "1 of 2 wrong: {}$"),
        ({"a": False, "b": True}, "2 of 2 wrong: {}$"),
        ({"a": "True", "b": False}, r"1 of 2 wrong: {} \(got 'True', wanted True or False\)$"),
        ({"b": True}, r"2 of 2 wrong: {} \(got the keys \['b'\]\)$"),
    ],
)
def test_of_true_and_false_it_is_said_how_many_are_wrong_but_not_which(answer, message):
    wanted = {"a": True, "b": False}
    for hint, words in (("look", "look"), ({"a": "up", "b": "down"}, "a: up; b: down")):
        with pytest.raises(AssertionError, match="^" + message.format(words)):
            expect(answer, wanted, hint)


def test_a_word_that_is_none_of_those_wanted_is_told_which_are():
    wanted = {"a": "yes", "b": "no"}
    with pytest.raises(AssertionError, match=r"^entry a: look \(got 'y', wanted one of no, yes\)$"):
        expect({"a": "y", "b": "no"}, wanted, "look")
    with pytest.raises(AssertionError, match=r"^entry a: look \(got 'no'\)$"):
        expect({"a": "no", "b": "no"}, wanted, "look")


def test_the_tolerance_is_a_share_of_a_size():
    expect(1.04, 1.0, "no", tolerance=0.05)
    expect(0.04, 0.0, "no", size=100)
    with pytest.raises(AssertionError, match="no"):
        expect(0.04, 0.0, "no", size=10)


def test_numbers_are_in_double_precision_and_complex_where_they_are():
    assert numbers([0.1, 2]).tolist() == [0.1, 2]
    assert numbers(np.array(1j, dtype=np.complex64)).dtype == torch.complex128
    assert not numbers(torch.ones(2, requires_grad=True)).requires_grad
