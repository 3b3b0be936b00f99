"""How often a random split of the same numbers does what the split seen does.

A permutation test splits a set of numbers again and again into two parts of the sizes seen. As the
sum of all is fixed, the sum of the first part says it all, and the question becomes: how many
subsets of that size have at least that sum? It can be answered without walking through them. Each
subset is one of the first half's subsets joined with one of the second half's; sorted sums of the
second half then say at once how many partners each subset of the first has (Horowitz & Sahni 1974).
For 8 + 8 numbers these are 2 × 256 sums in place of 12,870 splits, for 20 + 20 2 × 1,048,576 in
place of 137,846,528,820.
"""

from collections.abc import Iterator
from functools import lru_cache
from math import comb
from numbers import Integral
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

Alternative: TypeAlias = Literal["greater", "less", "two-sided"]

ALTERNATIVES = ("greater", "less", "two-sided")
MOST_EXACT = 10**12  # some 21 + 21 numbers: 2 × 2**21 sums
_MOST_HALF = 22
_MOST_LOPSIDED = 1_000_000
_CELLS = 2**22
_INT64 = 2**63


class SplitTest(NamedTuple):
    """A p value, over how many splits it was taken, and whether these were all there are."""

    p_value: float
    permutations: int
    exact: bool


def split_test(
    values: ArrayLike,
    size: int,
    *,
    alternative: Alternative = "greater",
    max_exact: int = 1_000_000,
    n_resamples: int = 10_000,
    seed: int = 0,
    tolerance: float | None = None,
) -> SplitTest:
    """Return the share of splits whose first part sums to at least that of the split seen.

    ``values`` are N numbers, shape (N,), of which the first ``size`` are the first part. A split
    is a choice of ``size`` of them; there are C(N, size). ``alternative`` says which splits count:
    those whose sum is at least (``"greater"``) or at most (``"less"``) the one seen, or at least as
    far from what a random split sums to on average (``"two-sided"``). Sums within ``tolerance`` of
    each other are tied, and ties count; ``None`` means 1e-12 times the sum of |values|, so that the
    order of summation decides nothing.

    All splits are counted where they are at most ``max_exact`` (at most 1,000,000 in any case for
    more than 44 values): p is the share that counts, the split seen among them. Otherwise
    ``n_resamples`` of the other splits are drawn, no two alike, and p = (b + 1)/(m + 1) where b of
    the m drawn count. Asked for all the others, it counts all. The same seed gives the same draw.
    Returns a ``SplitTest``: p value, number of splits, exact.

    Raises ``ValueError`` where a value is NaN or infinite, ``size`` leaves either part empty, or an
    option is out of range.

    Sources: Fisher 1935, section 21, for the test; Phipson & Smyth 2010, sections 3 and 4, for
    (b + 1)/(m + 1), which drawing without replacement from the other splits makes exact.

    >>> split_test([3.0, 2.0, 1.0, 0.0], 2)  # 3 + 2 is the largest of six sums
    SplitTest(p_value=0.16666666666666666, permutations=6, exact=True)
    >>> split_test([2.0, 1.0, 1.0, 0.0], 2).p_value  # 2 + 1 twice, as the ones are tied
    0.3333333333333333
    """
    numbers = np.asarray(values, dtype=np.float64)
    _check(numbers, size, alternative, max_exact, n_resamples)
    if tolerance is None:
        tolerance = 1e-12 * float(np.abs(numbers).sum())
    # Around the mean, both tails lie alike, and sums of large numbers lose no digits.
    numbers = numbers - numbers.mean()
    if alternative == "less":
        numbers = -numbers
    seen = float(numbers[:size].sum())
    two_sided = alternative == "two-sided"
    if two_sided:
        seen = abs(seen)
    far = seen - tolerance

    total = comb(len(numbers), size)
    if len(numbers) > 2 * _MOST_HALF:
        max_exact = min(max_exact, _MOST_LOPSIDED)
    if total <= max(max_exact, n_resamples + 1):
        if two_sided and far <= 0:
            return SplitTest(1.0, total, True)  # the two tails overlap
        count = count_sums(numbers, size, far)
        if two_sided:
            count += count_sums(-numbers, size, far)
        return SplitTest(count / total, total, True)
    count = 0
    for members in draw_splits(len(numbers), size, n_resamples, seed=seed):
        sums = members @ numbers
        count += int(((np.abs(sums) if two_sided else sums) >= far).sum())
    return SplitTest((count + 1) / (n_resamples + 1), n_resamples, False)


def count_sums(values: np.ndarray, size: int, least: float) -> int:
    """Return how many subsets of ``size`` of the values, shape (N,), sum to at least ``least``.

    Time and memory are those of 2**(N/2) numbers, not of C(N, size); where ``size`` or its
    complement is small and N large, those of the subsets of up to that size of N/2 numbers.

    >>> count_sums(np.array([3.0, 2.0, 1.0, 0.0]), 2, 4.0)  # 3 + 2, 3 + 1
    2
    """
    if size > len(values) - size:
        # What is left out is the smaller choice, and sums to the rest.
        return count_sums(-values, len(values) - size, least - float(values.sum()))
    half = len(values) // 2
    left, left_sizes = _subset_sums(values[:half], size)
    right, right_sizes = _subset_sums(values[half:], size)
    # Sums lie within ± span; shifted by four spans a size, each size has a stretch to itself.
    span = float(np.abs(values).sum()) or 1.0
    shelf = np.sort(right + 4 * span * right_sizes)
    wanted = size - left_sizes
    needed = np.minimum(np.maximum(least - left, -2 * span), 2 * span) + 4 * span * wanted
    counts = np.bincount(right_sizes, minlength=size + 1)
    up_to = np.cumsum(counts)
    return int((up_to[wanted] - shelf.searchsorted(needed)).sum())


def draw_splits(n: int, size: int, number: int, *, seed: int = 0) -> Iterator[np.ndarray]:
    """Yield 0/1 matrices (rows, n), ``number`` rows in all: subsets of ``size``, no two alike.

    The subset of the first ``size`` is never among them. Each other one is drawn with the same
    chance: its number in dictionary order is drawn without replacement, and the subset found from
    its number (Knuth, TAOCP 4A, section 7.2.1.3). Where they are too many to be numbered by 64
    bits, subsets are drawn and the rare repetition drawn again.

    Raises ``ValueError`` where there are not that many others.

    >>> np.concatenate(list(draw_splits(4, 1, 3))).sum(axis=0)
    array([0., 1., 1., 1.])
    """
    total = comb(n, size)
    if number > total - 1:
        raise ValueError(
            f"number is {number:,}, but besides the split seen there are only {total - 1:,} splits."
        )
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // n)
    if total < _INT64:
        ranks = rng.choice(total - 1, size=number, replace=False, shuffle=False) + 1
        for start in range(0, number, step):
            yield _unranked(ranks[start : start + step], n, size)
        return
    known = {_packed(np.arange(n)[None] < size)[0]}
    while number:
        keys = rng.random((min(step, number), n))
        chosen = keys.argpartition(size - 1, axis=1)[:, :size]
        members = np.zeros(keys.shape, dtype=bool)
        np.put_along_axis(members, chosen, True, axis=1)
        fresh = []
        for row, packed in enumerate(_packed(members)):
            if packed not in known:
                known.add(packed)
                fresh.append(row)
        number -= len(fresh)
        yield members[fresh].astype(np.float64)


def _unranked(ranks, n, size):
    """Return the subsets of those ranks in dictionary order, as 0/1 rows."""
    ranks = ranks.copy()
    left = np.full(len(ranks), size)
    members = np.zeros((len(ranks), n))
    for item in range(n):
        # So many subsets of what is still to be chosen hold this item; they come first.
        # (A number over 64 bits is of a choice that cannot come up.)
        holding = [comb(n - item - 1, k - 1) if k else 0 for k in range(size + 1)]
        with_item = np.array([min(number, _INT64 - 1) for number in holding])[left]
        chosen = ranks < with_item
        members[:, item] = chosen
        left -= chosen
        ranks -= np.where(chosen, 0, with_item)
    return members


def _packed(members):
    return [row.tobytes() for row in np.packbits(members, axis=1)]


def _subset_sums(values, most):
    """Return the sums of all subsets of up to ``most`` of the values, and the subsets' sizes."""
    n = len(values)
    if n <= _MOST_HALF:
        sums = np.zeros(2**n)
        for item, value in enumerate(values):
            np.add(sums[: 2**item], value, out=sums[2**item : 2 ** (item + 1)])
        sizes, within = _subset_sizes(n, most)
        return (sums if within is None else sums[within]), sizes
    sums = [np.zeros(1), *[np.zeros(0)] * most]
    for value in values:
        for size in range(most, 0, -1):
            sums[size] = np.concatenate([sums[size], sums[size - 1] + value])
    sizes = np.repeat(np.arange(most + 1), [len(of_size) for of_size in sums])
    return np.concatenate(sums), sizes


@lru_cache(maxsize=64)
def _subset_sizes(n, most):
    """Return the sizes of the subsets of n that have at most so many, and where these are.

    Bit i of a subset's number says whether it holds item i. None stands for everywhere.
    """
    sizes = np.zeros(2**n, dtype=np.int64)
    for item in range(n):
        np.add(sizes[: 2**item], 1, out=sizes[2**item : 2 ** (item + 1)])
    if most >= n:
        return sizes, None
    within = np.flatnonzero(sizes <= most)
    return sizes[within], within


def _check(values, size, alternative, max_exact, n_resamples):
    if values.ndim != 1 or len(values) < 2:
        raise ValueError(f"values has shape {values.shape}. Give two numbers or more, shape (N,).")
    if not np.isfinite(values).all():
        wrong = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"values[{wrong}] is {values[wrong]}. Every item needs a number.")
    if not 1 <= size < len(values):
        raise ValueError(
            f"size is {size!r} of {len(values)} values. Both parts need at least one of them."
        )
    if alternative not in ALTERNATIVES:
        raise ValueError(
            f'alternative is {alternative!r}. Choose "greater", "less" or "two-sided".'
        )
    if not isinstance(max_exact, Integral) or not 0 <= max_exact <= MOST_EXACT:
        raise ValueError(
            f"max_exact is {max_exact!r}. Give a whole number from 0 to {MOST_EXACT:,}; beyond "
            "that the sums no longer fit into memory."
        )
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(
            f"n_resamples is {n_resamples!r}. Give a whole number from 1 up, say 10,000."
        )
