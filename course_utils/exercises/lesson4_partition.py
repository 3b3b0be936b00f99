"""Exercise 4.3: does a function return the exact p value over all splits into equal halves?

The exact value leaves no room: it is a whole number of splits over all there are. So a wrong one
tells which splits were counted, and two calls that differ tell that they were drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from math import comb
from typing import Any

import numpy as np

from course_utils.exercises.answers import NotYetError, call, compare, number

# Sums of quarters are exact, so that ties are ties whatever the order of summation; and the mean of
# all six is exact too.
_X = (1.25, 1.5, 3.0)
_Y = (2.0, 1.5, 1.25)


def check_exact_p(answer: Callable[..., Any]) -> str:
    """Return praise for a right answer, and raise ``NotYetError`` with the reason for any other."""
    x, y = np.array(_X), np.array(_Y)
    shown = f"exact_p({list(_X)}, {list(_Y)})"
    p = _p(answer, x, y, shown)
    again = _p(answer, x, y, shown)
    if p != again:
        raise NotYetError(
            f"{shown} gave {p:.4g}, and then {again:.4g}: it draws at random. With 3 + 3 words "
            "there are only 20 splits: go through them all, each once, with no luck in it."
        )
    whole = abs(p * comb(6, 3) - round(p * comb(6, 3))) < 1e-6
    slips = _slips(x, y)
    if not whole and not any(np.isclose(p, value, rtol=1e-4) for value, _ in slips):
        raise NotYetError(
            f"{shown} gave {p:.6g}, which is no whole number of the 20 splits. Were they drawn, or "
            "some left out? Go through all of them, each once."
        )
    compare(p, _exact(x, y), slips, shown)
    for first, second, why in (
        ([4.0, 3.0], [2.0, 1.0], "of 6 splits only the one seen comes as far, so 1/6"),
        ([1.0, 2.0], [3.0, 4.0], "every split comes at least as far, so 1"),
        ([1.0, 1.0], [1.0, 1.0], "every split comes exactly as far, and so counts: 1"),
        ([5.0, 1.0, 2.0], [0.0, 4.0, 3.0], "7 of 20 splits have a sum of X that is larger, and 3 "
         "one that is equal, so 1/2"),
        ([0.0], [1.0], "there are two splits, and both come as far, so 1"),
    ):  # fmt: skip
        shown, x, y = f"exact_p({first}, {second})", np.array(first), np.array(second)
        p, true = _p(answer, x, y, shown), _exact(x, y)
        if not np.isclose(p, true, rtol=1e-4):
            raise NotYetError(f"{shown} gave {p:.4g}: {why}.")
    return "every split once, the one seen among them, and ties count."


def _p(answer, x, y, shown):
    given = np.array(x), np.array(y)
    p = number(call(answer, *given, shown=shown), shown, several="return one p value.")
    if not all(np.array_equal(mine, own) for mine, own in zip(given, (x, y), strict=True)):
        raise NotYetError(f"{shown} changed the scores it was given: work on a copy.")
    if np.isnan(p):
        raise NotYetError(f"{shown} gave nan; a p value lies between 0 and 1.")
    return p


def _splits(x, y):
    """Return the statistic of the scores as they stand, and of every split of them, as an array."""
    pooled = np.concatenate([x, y])
    rows = [list(rows) for rows in combinations(range(len(pooled)), len(x))]
    statistics = np.array([2 * pooled[chosen].sum() - pooled.sum() for chosen in rows])
    return statistics[0], statistics, rows


def _exact(x, y):
    seen, every, _ = _splits(x, y)
    return float(np.mean(every >= seen - 1e-12))


def _slips(x, y):
    seen, every, rows = _splits(x, y)
    pooled, total = np.concatenate([x, y]), len(every)
    count, strict = int((every >= seen).sum()), int((every > seen).sum())
    with_first = np.array([0 in chosen for chosen in rows])
    signs = np.array(list(product([1, -1], repeat=len(x))))
    sides = np.array(list(product([1, -1], repeat=len(pooled))))
    by_value = np.array(
        [
            pooled[chosen].sum() - sum(score for score in pooled if score not in pooled[chosen])
            for chosen in rows
        ]
    )
    ties = "splits that come exactly as far count too, so >= and not >. The one seen is such a one"
    left_out = "the split seen is one of the 20 and counts as far: leave it in, above and below."
    return [
        (count, f"that is how many splits come as far; divide by all {total}."),
        (strict / total, f"{ties}: p is never 0."),
        (strict / (total - 1), f"{ties}; leave it in, above and below."),
        ((count - 1) / (total - 1), left_out),
        ((count - 1) / total, left_out),
        ((count + 1) / (total + 1),
         "(b + 1) / (m + 1) is for splits drawn at random, which lack the one seen. Among all "
         "splits it is counted already: b / m."),
        (np.mean(every <= seen), "that counts the splits with at most the statistic seen; the test "
         "asks for at least."),
        (1 - count / total, "that is 1 - p: count the splits that come as far."),
        (np.mean(np.abs(every) >= abs(seen)), "that is two-sided. The test of WEAT has one side: no "
         "absolute values, and nothing doubled."),
        (np.mean(signs @ (x - y) >= seen), "that flips pairs, as the test of lesson 3 did. The "
         "words of X and Y are no pairs: any 3 of the 6 may be X."),
        (np.mean(sides @ pooled >= seen), "X and Y have to keep their sizes: only splits into 3 and "
         "3 are partitions here, not all 64 subsets."),
        (np.mean(every[with_first] >= seen), "half of the splits are missing: X = {a, b, c} and Y = "
         "{a, b, c} are two, since the test has a side."),
        (np.mean(by_value >= seen), "the rest of a split was found by value (not in), which loses "
         "words of equal scores. Choose positions, not values."),
    ]  # fmt: skip
