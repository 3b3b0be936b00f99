"""Do vectors find alike what people find alike? Correlations, intervals, a difference."""

import numpy as np
from numpy.typing import ArrayLike

from course_utils.metrics.significance import (
    DRAWS,
    FLIPS,
    Interval,
    PairedTest,
    check_resampling,
    sign_flip_p_value,
)

_CELLS = 2**20  # ranks held at once while resampling; several arrays of this size exist


def spearman(a: ArrayLike, b: ArrayLike) -> float:
    """Return Spearman's correlation of two lists of scores, from -1 to 1: do the orders agree?

    ``a`` and ``b`` are numbers, shape (n,), n >= 3. Each is replaced by its rank (equal scores
    share the mean of their ranks); the correlation is the sum of products of the ranks' deviations
    from their mean, over the root of the product of the two sums of squared deviations. So only the
    order counts, not the scale. Computed by ``scipy.stats.spearmanr``.

    Raises ``ValueError`` when the lengths differ, n < 3 (two points always correlate perfectly), a
    score is NaN or infinite (named by position), or one list is constant: its ranks do not vary,
    so the correlation is 0/0.

    Source: Spearman 1904; with ties, Kendall & Gibbons, *Rank Correlation Methods*, chapter 3.

    >>> round(spearman([1, 2, 3, 4], [10, 20, 40, 30]), 3)
    0.8
    """
    a, b = _pair(a, b)
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)


def spearman_interval(
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Return a percentile bootstrap ``Interval`` for Spearman's correlation, over pairs.

    Whole pairs ``(a[i], b[i])`` are redrawn with replacement ``n_resamples`` times and ranked
    afresh. Draws in which one side came out constant have no correlation and are left out; that
    happens only for very small n. Arguments are otherwise those of ``spearman``.

    Simulated on six-step human scores, 0.943 to 0.956 of the nominal 95 % intervals held the true
    correlation (0.28 or 0.77; n = 50 and 200; each give or take 0.007).

    Raises ``ValueError`` as ``spearman`` does, and when ``confidence`` is not between 0 and 1 or
    ``n_resamples`` no whole number from 1 up.

    >>> low, high = spearman_interval([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5])
    >>> low < spearman([1, 2, 3, 4, 5, 6], [2, 1, 4, 3, 6, 5]) < high
    True
    """
    check_resampling(confidence, n_resamples)
    a, b = _pair(a, b)
    draws = _resampled(lambda rows: _rank_correlation(a[rows], b[rows]), len(a), n_resamples, seed)
    return _middle(draws, confidence)


def paired_spearman_test(
    human: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    seed: int = 0,
) -> PairedTest:
    """Return whether ``b`` follows the ``human`` order better than ``a``: a ``PairedTest``.

    All three are numbers for the same n pairs, shape (n,). ``difference`` is
    spearman(human, b) - spearman(human, a); ``low`` and ``high`` come from redrawing pairs and
    computing both correlations on the same draw. For the p value, the two systems' *ranks* of a
    pair are swapped at random: were the systems alike, it would not matter whose rank is whose. p
    is exact or (b + 1)/(m + 1), and ``n_resamples`` counts draws and swaps, as in ``paired_test``.

    Raises ``ValueError`` as ``spearman`` does, and for ``confidence`` and ``n_resamples`` as
    ``spearman_interval``.

    >>> human = [1, 2, 3, 4, 5, 6]
    >>> test = paired_spearman_test(human, [2, 1, 4, 3, 6, 5], human)
    >>> round(test.difference, 3), test.exact
    (0.171, True)
    """
    flips, draws = (FLIPS, DRAWS) if n_resamples is None else (n_resamples, n_resamples)
    check_resampling(confidence, flips)
    human, a = _pair(human, a, ("human", "a"))
    human, b = _pair(human, b, ("human", "b"))
    redrawn = _resampled(
        lambda rows: (
            _rank_correlation(human[rows], b[rows]) - _rank_correlation(human[rows], a[rows])
        ),
        len(human),
        draws,
        seed,
    )
    low, high = _middle(redrawn, confidence)
    difference = float(_rank_correlation(human, b) - _rank_correlation(human, a))
    statistic, n = _swap_statistic(human, a, b)
    p_value, permutations, exact = sign_flip_p_value(statistic, n, n_resamples=flips, seed=seed)
    return PairedTest(difference, low, high, p_value, len(human), permutations, exact)


def _swap_statistic(human, a, b):
    """Return the difference in correlation as a function of swaps, and the number of swaps.

    With m the mean and h half the difference of a pair's two ranks, a swap s in {-1, 1} makes the
    systems' ranks m - s h and m + s h. Their correlations with the human ranks then need only
    three sums over s, each a matrix product.
    """
    human, a, b = (_centred_ranks(x) for x in (human, a, b))
    human = human / np.sqrt((human**2).sum())
    m, h = (a + b) / 2, (b - a) / 2
    moved = h != 0
    sums = np.column_stack([human * h, 2 * m * h, h])[moved]  # (n moved, 3)
    fixed, squares = (human * m).sum(), (m**2 + h**2).sum()

    def statistic(signs):
        product, cross, total = (signs @ sums).T
        spread = squares - total**2 / len(human)
        # Rounding may take a side that came out constant slightly below 0.
        for_a, for_b = np.maximum(spread - cross, 1e-9), np.maximum(spread + cross, 1e-9)
        return (fixed + product) / np.sqrt(for_b) - (fixed - product) / np.sqrt(for_a)

    return statistic, int(moved.sum())


def _resampled(statistic, n, n_resamples, seed):
    rng = np.random.default_rng(seed)
    step = max(1, _CELLS // n)
    return np.concatenate(
        [
            statistic(rng.integers(0, n, size=(min(step, n_resamples - start), n)))
            for start in range(0, n_resamples, step)
        ]
    )


def _middle(draws, confidence):
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    low, high = np.quantile(draws[np.isfinite(draws)], tails)
    return Interval(float(low), float(high))


def _rank_correlation(a, b):
    """Return Spearman's correlation along the last axis, NaN where a side is constant."""
    a, b = _centred_ranks(a), _centred_ranks(b)
    spread = np.sqrt((a**2).sum(axis=-1) * (b**2).sum(axis=-1))
    with np.errstate(invalid="ignore"):
        return (a * b).sum(axis=-1) / spread


def _centred_ranks(values):
    from scipy.stats import rankdata

    return rankdata(values, axis=-1) - (values.shape[-1] + 1) / 2


def _pair(a, b, names=("a", "b")) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(
            f"{names[0]} has shape {a.shape} and {names[1]} {b.shape}. Give two lists of one length."
        )
    if len(a) < 3:
        raise ValueError(
            f"{names[0]} and {names[1]} hold {len(a)} scores. A correlation needs 3 at least: two "
            "points always lie on a line."
        )
    for name, values in zip(names, (a, b), strict=True):
        wrong = np.flatnonzero(~np.isfinite(values))
        if len(wrong):
            raise ValueError(f"{name}[{wrong[0]}] is {values[wrong[0]]}. Every pair needs a score.")
        if (values == values[0]).all():
            raise ValueError(
                f"{name} is constant: all {len(values)} scores are {values[0]:g}. What does not "
                "vary cannot vary together with anything; the correlation would be 0/0."
            )
    return a, b
