"""What the ranks of the relevant documents are worth: MRR, recall, precision, MAP, nDCG, and more.

Ties are part of every formula. A relevant document stands in a group of ``tied`` documents with one
score, below ``above`` documents with a higher one. Where ties are settled by the ids beforehand,
each group is a group of one, and the formulas are the usual ones; where they are not, the value is
the mean over all orders of the tied documents, after McSherry & Najork 2008, *Computing information
retrieval performance measures efficiently in the presence of tied scores*.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

AT_K = ("mrr", "recall", "precision", "success", "ndcg")  # looked at down to rank k
MEASURES = (*AT_K, "map", "r_precision")


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the relevant documents of ``queries`` queries stand: one entry per document.

    Four arrays (m,): the ``query``'s number, in rising order; the grade as ``gain``; how many
    documents score higher (``above``, infinite for a document that was not found); and how many
    have the document's own score, itself included (``tied``).
    """

    queries: int
    query: np.ndarray
    gain: np.ndarray
    above: np.ndarray
    tied: np.ndarray

    def sums(self, values: np.ndarray | None) -> np.ndarray:
        """Return the sum of ``values`` (m,) for each query, (queries,); None counts entries."""
        return np.bincount(self.query, values, self.queries)

    def places_in_query(self) -> np.ndarray:
        """Return 0, 1, 2, ... for the first, second, third entry of each query."""
        starts = np.searchsorted(self.query, np.arange(self.queries))
        return np.arange(len(self.query)) - starts[self.query]


def columns(ranks: Ranks, measures: Sequence[str], cutoffs: Sequence[int]) -> dict[str, np.ndarray]:
    """Return ``{name: values (queries,)}``, one entry per measure, or per measure and cut-off."""
    order = np.lexsort((ranks.above, ranks.query))
    fields = (ranks.query, ranks.gain, ranks.above, ranks.tied)
    ranks = Ranks(ranks.queries, *(values[order] for values in fields))
    relevant = ranks.sums(None)
    divisor = np.maximum(relevant, 1)  # a query without relevant documents scores 0, not 0/0
    first = _first_found(ranks, cutoffs) if {"mrr", "success"} & set(measures) else {}
    table = {}
    for measure in measures:
        for k in cutoffs if measure in AT_K else [None]:
            name = measure if k is None else f"{measure}@{k}"
            if measure in ("mrr", "success"):
                table[name] = first[measure, k]
            elif measure == "recall":
                table[name] = _found(ranks, k) / divisor
            elif measure == "precision":
                table[name] = _found(ranks, k) / k
            elif measure == "r_precision":
                table[name] = _found(ranks, relevant[ranks.query]) / divisor
            elif measure == "map":
                table[name] = _precision_sums(ranks) / divisor
            else:
                table[name] = _ndcg(ranks, k)
    return table


def _found(ranks, k):
    """Return how many relevant documents stand at ranks 1..k, in the mean over tied orders."""
    return ranks.sums(np.clip((k - ranks.above) / ranks.tied, 0, 1))


def _first_found(ranks, cutoffs):
    """Return mrr and success, ``{(measure, k): values}``: both ask for the first relevant document.

    It is in the first group that holds one. With r relevant among the m of that group, it is the
    i-th with probability C(m - i, r - 1) / C(m, r): these are built up factor by factor.
    """
    starts = np.flatnonzero(ranks.places_in_query() == 0)
    query, above, tied = ranks.query[starts], ranks.above[starts], ranks.tied[starts]
    result = {}
    for k in cutoffs:
        for measure, value in (("mrr", 1 / (above + 1)), ("success", 1.0)):
            result[measure, k] = np.zeros(ranks.queries)
            result[measure, k][query] = np.where(above < k, value, 0.0)
    ends = np.append(starts[1:], len(ranks.query))
    for i in np.flatnonzero((tied > 1) & (above < max(cutoffs))):
        relevant = np.count_nonzero(ranks.above[starts[i] : ends[i]] == above[i])
        steps = int(min(tied[i] - relevant + 1, max(cutoffs) - above[i]))
        step = np.arange(1, steps + 1)
        ratios = (tied[i] - step[:-1] - relevant + 1) / (tied[i] - step[:-1])
        chance = np.cumprod(np.concatenate([[relevant / tied[i]], ratios]))
        mrr, success = np.cumsum(chance / (above[i] + step)), np.cumsum(chance)
        for k in cutoffs:
            last = int(min(k - above[i], steps))
            result["mrr", k][query[i]] = mrr[last - 1] if last > 0 else 0.0
            result["success", k][query[i]] = min(success[last - 1], 1.0) if last > 0 else 0.0
    return result


def _precision_sums(ranks):
    """Return the sum, over the relevant documents found, of the precision at their ranks.

    With N relevant documents before the group of m, of which r are relevant, and s documents above
    it, a relevant document of the group stands at each of s + 1 .. s + m with the same chance, and
    at s + i meets N + 1 + (i - 1)(r - 1)/(m - 1) relevant ones, itself included, in the mean.
    """
    place = ranks.places_in_query()
    opens = np.ones(len(place), dtype=bool)
    opens[1:] = (place[1:] == 0) | (ranks.above[1:] != ranks.above[:-1])
    group = np.cumsum(opens) - 1
    before = place[opens][group]
    relevant = np.bincount(group)[group] if len(group) else place
    values = (before + 1) / (ranks.above + 1)
    shared = np.flatnonzero(ranks.tied > 1)
    if len(shared):
        from scipy.special import digamma

        above, tied = ranks.above[shared], ranks.tied[shared]
        harmonic = digamma(above + tied + 1) - digamma(above + 1)  # 1/(s+1) + ... + 1/(s+m)
        rising = tied - (above + 1) * harmonic  # sum of (i - 1)/(s + i)
        others = (relevant[shared] - 1) / (tied - 1)
        values[shared] = ((before[shared] + 1) * harmonic + others * rising) / tied
    return ranks.sums(values)


def _ndcg(ranks, k):
    order = np.lexsort((-ranks.gain, ranks.query))
    place = ranks.places_in_query()  # the same for every order within the queries
    best = np.where(place < k, ranks.gain[order] / np.log2(place + 2), 0.0)
    ideal = ranks.sums(best)
    gain = ranks.sums(ranks.gain * _discounts(ranks, k))
    return np.divide(gain, ideal, out=np.zeros(ranks.queries), where=ideal > 0)


def _discounts(ranks, k):
    """Return the mean of 1/log2(rank + 1) over each document's possible ranks, 0 beyond k."""
    values = np.where(ranks.above < k, 1 / np.log2(ranks.above + 2), 0.0)
    shared = np.flatnonzero((ranks.tied > 1) & (ranks.above < k))
    if len(shared):
        start = ranks.above[shared].astype(np.int64)
        end = np.minimum(start + ranks.tied[shared].astype(np.int64), k)
        total = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, end.max() + 2)))])
        values[shared] = (total[end] - total[start]) / ranks.tied[shared]
    return values
