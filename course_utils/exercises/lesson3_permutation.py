"""Exercise 3.4: does a function return the p value of the paired permutation test?

A p value from random draws differs from call to call, so the answer is judged by what every right
answer has in common: the denominators that a count can have, ties, and the exact value it is near.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np

from course_utils.exercises.answers import NotYetError, call, number

_DRAWS = 999


def check_permutation_p(answer: Callable[..., Any]) -> str:
    """Return praise for a right answer, and raise ``NotYetError`` with the reason for any other."""
    _check_smallest(answer)
    _check_ties(answer)
    _check_both_sides(answer)
    _check_dice(answer)
    return "both sides count, equals count, and p is never 0, whatever the dice."


def _p(answer, differences, draws, seed, shown):
    given = np.array(differences, dtype=float)
    found = call(answer, given, draws, np.random.default_rng(seed), shown=shown)
    if not np.array_equal(given, differences):
        raise NotYetError(
            f"{shown} changed the differences it was given, so that the draws run on from each "
            "other: multiply into a new array."
        )
    p = number(found, shown, several="return one p value.")
    if not 0 <= p <= 1:
        raise NotYetError(f"{shown} returned {p:.4g}; a p value lies between 0 and 1.")
    return p


def _check_smallest(answer):
    """Forty queries, all better by 1: no random flip but one in 2**39 comes as far."""
    shown = "permutation_p(40 differences of 1, 99 draws, rng)"
    p = _p(answer, np.ones(40), 99, 41, shown)
    reasons = [
        (0, "a p of 0. Ninety-nine draws cannot show that something never happens: the "
            "arrangement seen is one more, above and below, (b + 1) / (m + 1)."),
        (1 / 99, "1 / 99: the arrangement seen counts below as well, (b + 1) / (m + 1)."),
        (2 / 100, "2 / 100: with abs() both sides are counted at once. Do not double, too."),
        (0.5 / 100, "half of what is right: the test has two sides, so do not halve."),
        (1, "1: every draw came as far as the differences seen. Does each difference get a sign "
            "of its own? A new order, one sign for all, or drawing again leaves the mean alone."),
        (0.99, "0.99: count the draws that come at least as far as the one seen, not the others."),
        (1 - 1 / 100, "1 - p: count the draws that come at least as far."),
    ]  # fmt: skip
    if np.isclose(p, 1 / 100, rtol=1e-6):
        return
    for value, reason in reasons:
        if np.isclose(p, value, rtol=1e-6, atol=1e-9):
            raise NotYetError(f"{shown} gave {reason}")
    raise NotYetError(
        f"{shown} gave {p:.4g}, and 1 / 100 is right: no draw comes as far as 40 equal signs, so b "
        "is 0 and m is 99."
    )


def _check_ties(answer):
    """Of three differences of 1, two of eight flips come as far: p is near 1/4, equals counted."""
    shown = f"permutation_p([1, 1, 1], {_DRAWS} draws, rng)"
    p = _p(answer, np.ones(3), _DRAWS, 42, shown)
    if np.isclose(p, 1 / (_DRAWS + 1)):
        raise NotYetError(
            f"{shown} gave {p:.4g}: a draw exactly as far as the one seen counts too, so >= and "
            "not >."
        )
    if _near(p, 1 / 8):
        raise NotYetError(
            f"{shown} gave {p:.4g}, near 1/8, and 1/4 is right: three minus signs come as far from "
            "0 as three plus signs. Compare absolute values."
        )
    if not _near(p, 1 / 4):
        raise NotYetError(
            f"{shown} gave {p:.4g}; of the 8 ways to set three signs 2 come as far, so about 1/4 "
            "is right."
        )


def _check_both_sides(answer):
    rng = np.random.default_rng(43)
    differences = np.round(rng.normal(0.4, 1, size=12), 3)
    signs = np.array(list(product([1, -1], repeat=12)))
    means = (signs * differences).mean(axis=1)
    exact = float(np.mean(np.abs(means) >= abs(differences.mean()) - 1e-12))
    for sign, worse in ((1, "better"), (-1, "worse")):
        shown = f"permutation_p(12 differences, mostly {worse}, {_DRAWS} draws, rng)"
        p = _p(answer, sign * differences, _DRAWS, 44, shown)
        if _near(p, exact):
            _check_count(p, shown)
            continue
        if _near(p, exact / 2) or _near(p, 1 - exact / 2):
            raise NotYetError(
                f"{shown} gave {p:.3f}; by all 4,096 flips it is {exact:.3f}. Only one side was "
                "counted: take the absolute value of both means."
            )
        if _near(p, 1 - exact):
            raise NotYetError(
                f"{shown} gave {p:.3f}, which is 1 - p: count the draws at least as far from 0."
            )
        if abs(p - 0.5) < 0.1:
            raise NotYetError(
                f"{shown} gave {p:.3f}; by all 4,096 flips it is {exact:.3f}. Drawing differences "
                "with replacement is the bootstrap: its draws lie around the mean seen, not around "
                "0. Flip signs."
            )
        raise NotYetError(f"{shown} gave {p:.3f}; by all 4,096 flips it is {exact:.3f}.")


def _check_count(p, shown):
    """A right p is a whole number of draws above draws + 1."""
    count = p * (_DRAWS + 1)
    if abs(count - round(count)) > 1e-3:
        raise NotYetError(
            f"{shown} gave {p:.6f}, near the right value, but no whole number over {_DRAWS + 1}: "
            "is it (b + 1) / (m + 1), with m the number of draws?"
        )


def _check_dice(answer):
    differences = np.random.default_rng(45).normal(0.2, 1, size=12)
    shown = f"permutation_p(12 other differences, {_DRAWS} draws, rng)"
    p, again = (
        [_p(answer, differences, _DRAWS, seed, shown) for seed in (1, 2, 3, 4, 5)] for _ in range(2)
    )
    if p != again:  # five at once, for one p in fifty is met a second time by chance
        raise NotYetError(
            "two generators of the same seed led to different p values: draw from rng, and from "
            "nothing else."
        )
    if len(set(p)) == 1:
        raise NotYetError(
            f"generators of five different seeds all led to {p[0]:.4f}: draw the signs from rng, "
            "not from a generator made inside."
        )


def _near(p, true):
    """Return whether p is within five standard errors of the true value."""
    return abs(p - true) <= 5 * np.sqrt(true * (1 - true) / _DRAWS) + 1 / _DRAWS
