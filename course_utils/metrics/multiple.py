"""Many comparisons at once: p values that stay honest, and letters that sum them up."""

from string import ascii_letters

import numpy as np
from numpy.typing import ArrayLike


def holm(p_values: ArrayLike) -> np.ndarray:
    """Return p values adjusted for having made all these tests, shape (m,), in the order given.

    Compare 10 models pair by pair and 45 tests are made; at 0.05 two or three are "significant" by
    chance. Holm's adjustment keeps the probability of even one false alarm among the m tests at
    0.05, whatever depends on what: the smallest p value is multiplied by m, the next by m - 1, and
    so on, none falls below the one before it, and none exceeds 1. Bonferroni's adjustment, all times
    m, promises the same and finds less.

    Raises ``ValueError`` when a p value is not between 0 and 1 (named by position) or none is given.

    Source: Holm 1979, *A simple sequentially rejective multiple test procedure*.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if p_values.ndim != 1 or not len(p_values):
        raise ValueError(f"p_values has shape {p_values.shape}. Give one p value per test.")
    wrong = np.flatnonzero(~((p_values >= 0) & (p_values <= 1)))
    if len(wrong):
        raise ValueError(
            f"p_values[{wrong[0]}] is {p_values[wrong[0]]}. A p value lies between 0 and 1."
        )
    order = np.argsort(p_values, kind="stable")
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return adjusted


def letter_display(different: ArrayLike) -> list[str]:
    """Return one string of letters per system; two share a letter exactly if they do not differ.

    ``different`` is a symmetric (n, n) table of booleans, True where two systems differ
    significantly. A letter marks a group within which no two differ, and every such group that
    cannot be enlarged gets one, in the order of its first member. "ab" beside "a" and "b" says:
    not told apart from either, though these two are told apart.

    Raises ``ValueError`` when the table is not square and symmetric, a system differs from itself,
    or more than the 52 letters are needed.

    Source: Piepho 2004, *An algorithm for a letter-based representation of all-pairwise
    comparisons*, section 2 (insert and absorb, without the optional sweep).

    >>> letter_display([[False, False, True], [False, False, False], [True, False, False]])
    ['a', 'ab', 'b']
    """
    different = np.asarray(different, dtype=bool)
    if different.ndim != 2 or different.shape[0] != different.shape[1]:
        raise ValueError(f"different has shape {different.shape}. Give a square table (n, n).")
    if (different != different.T).any() or different.diagonal().any():
        raise ValueError(
            "different must be symmetric with False on its diagonal: if x differs from y, y differs "
            "from x, and nothing differs from itself."
        )
    groups = [frozenset(range(len(different)))]
    for i, j in zip(*np.nonzero(np.triu(different)), strict=True):
        split = []
        for group in groups:
            split += [group - {i}, group - {j}] if {i, j} <= group else [group]
        split = list(dict.fromkeys(split))
        groups = [one for one in split if not any(one < other for other in split)]
    groups.sort(key=sorted)
    if len(groups) > len(ascii_letters):
        raise ValueError(
            f"These {len(different)} systems need {len(groups)} letters. Compare fewer at a time."
        )
    letters = list(zip(ascii_letters, groups, strict=False))
    return [
        "".join(letter for letter, group in letters if i in group) for i in range(len(different))
    ]
