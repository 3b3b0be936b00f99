"""Are today's queries still like the ones a system was tested on?

A score holds for queries like those it was measured with. When people begin to ask something else,
nothing fails and no score on the old queries falls; only the queries themselves can tell.
"""

from dataclasses import dataclass
from numbers import Integral

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix

_CELLS = 2**22  # numbers held at once while permuting, some 32 MiB of float64


@dataclass(frozen=True, eq=False)
class Drift:
    """How far today's vectors are from the reference, and which of them are least like it.

    ``statistic`` is the energy distance, 0 where both sets are alike; ``p_value`` the share of
    ``permutations`` random splits that come at least as far apart. ``rows`` are the row numbers of
    today's vectors, the least like the reference first, shape (m,) int64; ``distances[i]`` is how
    far row i of today is from the nearest vector of the reference, shape (m,) float64. ``usual``
    puts that into proportion: 95 % of the reference vectors have another one within it.
    """

    statistic: float
    p_value: float
    permutations: int
    rows: np.ndarray
    distances: np.ndarray
    usual: float


def drift(
    reference: ArrayLike, today: ArrayLike, *, n_resamples: int = 999, seed: int = 0
) -> Drift:
    """Return whether today's vectors are drawn from elsewhere than the reference: a ``Drift``.

    ``reference`` (n, d) and ``today`` (m, d) are vectors of the queries tested on and of new ones,
    encoded alike. With X, X' drawn from the one and Y, Y' from the other, the statistic is

        2 E|X - Y| - E|X - X'| - E|Y - Y'|

    by Euclidean distance, each mean taken over all pairs; its square root is a distance between
    distributions, so that any difference counts, not only one of the means. If both sets came from
    one source, any n of the n + m vectors could have been the reference; p is (b + 1)/(r + 1) over
    r = ``n_resamples`` random splits, b of them at least as far apart as the one seen.

    The test takes queries as drawn independently. Many queries of one user's, or one query asked a
    hundred times, are not: keep one of each. On thousands of queries a small p value comes from a
    difference too small to matter; read the queries in ``rows`` first to last.

    Time and memory grow with (n + m)²: 2,000 vectors take 32 MB and about a second, 10,000 take
    800 MB. Draw a sample of larger sets.

    Raises ``ValueError`` when the shapes do not fit, a set has fewer than 2 rows, a vector holds
    NaN or infinity (named by row), or ``n_resamples`` is no whole number from 1 up.

    Source: Székely & Rizzo, "Energy statistics: a class of statistics based on distances", *Journal
    of Statistical Planning and Inference* 143, 2013, section 4; Phipson & Smyth 2010 for
    (b + 1)/(r + 1).

    >>> rng = np.random.default_rng(0)
    >>> old, new = rng.normal(size=(60, 5)), rng.normal(size=(40, 5))
    >>> drift(old, new).p_value > 0.05, drift(old, new + 1).p_value
    (True, 0.001)
    """
    from sklearn.metrics.pairwise import euclidean_distances

    reference, today = _vectors(reference, "reference"), _vectors(today, "today")
    if reference.shape[1] != today.shape[1]:
        raise ValueError(
            f"reference has {reference.shape[1]} dimensions and today {today.shape[1]}. Encode "
            "both with one model."
        )
    if not isinstance(n_resamples, Integral) or n_resamples < 1:
        raise ValueError(f"n_resamples is {n_resamples!r}. Give a whole number from 1, say 999.")
    n = len(reference)
    distances = euclidean_distances(np.concatenate([reference, today]))
    statistic, p_value = _permutation_test(distances, n, n_resamples, np.random.default_rng(seed))

    nearest = distances[n:, :n].min(axis=1)
    among = distances[:n, :n]
    np.fill_diagonal(among, np.inf)
    return Drift(
        statistic=statistic,
        p_value=p_value,
        permutations=int(n_resamples),
        rows=np.argsort(-nearest, kind="stable"),
        distances=nearest,
        usual=float(np.quantile(among.min(axis=1), 0.95)),
    )


def _permutation_test(distances, n, n_resamples, rng):
    """Return (energy distance, p value) of the first n rows against the rest."""
    total = len(distances)
    first = np.arange(total) < n
    statistic = float(_energy(distances, first[:, None])[0])
    # The ends of a tie differ in the last digits, by the order of summation.
    far = statistic - 1e-9 * distances.mean()
    step = max(1, _CELLS // total)
    as_far = 0
    for start in range(0, n_resamples, step):
        columns = min(step, n_resamples - start)
        splits = rng.permuted(np.repeat(first[:, None], columns, axis=1), axis=0)
        as_far += int((_energy(distances, splits) >= far).sum())
    return max(statistic, 0.0), (as_far + 1) / (n_resamples + 1)


def _energy(distances, in_first):
    """Return the energy distance of each split: ``in_first`` is (n + m, splits), True for X."""
    inside = in_first.astype(np.float64)
    n = inside[:, 0].sum()
    m = len(inside) - n
    of_rows = distances.sum(axis=1)
    from_first = of_rows @ inside
    within_first = ((distances @ inside) * inside).sum(axis=0)
    across = from_first - within_first
    within_second = of_rows.sum() - from_first - across
    return 2 * across / (n * m) - within_first / n**2 - within_second / m**2


def _vectors(values, name) -> np.ndarray:
    matrix = finite_matrix(values, name, dtype=np.float64)
    if len(matrix) < 2:
        raise ValueError(f"{name} has shape {matrix.shape}. Give vectors of two queries or more.")
    return matrix
