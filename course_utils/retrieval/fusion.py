"""Several rankings of one query joined into one: by words and by meaning, say, or by two models."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from course_utils.retrieval.index import check_k
from course_utils.retrieval.searching import Hit

_METHODS = ("ranks", "scores")


def fuse(
    rankings: Sequence[Sequence[Any]],
    *,
    k: int | None = None,
    method: Literal["ranks", "scores"] = "ranks",
    weights: Sequence[float] | None = None,
    constant: float = 60,
) -> list:
    """Return several rankings of the same query as one list of ``Hit``, best first.

    ``rankings`` holds a list of ``Hit``, best first, from each search; or from each search a list of
    such lists, one for each query, in the same order, and the result is then a list of lists. Every
    text that some ranking has is in the result, with the joint score and rank; ``k`` keeps the first
    k. Each ranking gives a text that it holds so many points, times its entry of ``weights`` (by
    default 1; 0 leaves a ranking out), a text that it lacks gets none from it, and the sum is the
    score:

    ``"ranks"``
        1 / (``constant`` + rank), with the rank from 1: reciprocal rank fusion (Cormack, Clarke &
        Büttcher 2009, *Reciprocal Rank Fusion outperforms Condorcet and individual Rank Learning
        Methods*, where the constant is 60). Scores count for nothing, so they need no common scale.
    ``"scores"``
        (score - lowest) / (highest - lowest) of this ranking, and 1 where these are equal. So the last
        hit of a list counts no more than one that is missing: fuse long lists. Bruch, Gai & Ingber
        2023, *An Analysis of Fusion Functions for Hybrid Retrieval*, find such sums better than ranks
        once the weights are tuned, for which a few judged queries are enough.

    Of two texts with equal scores the one comes first whose rank is better in the first ranking that
    has it, then the one with the lower id.

    Raises ``ValueError`` when there is no ranking, the rankings are of different numbers of queries,
    some are of one query and some of several, a ranking holds an id twice, two rankings have different
    texts for an id, a score is NaN or infinite, or an option is out of range (``weights`` of another
    length, negative, or all 0); ``TypeError`` for what is no ``Hit``.

    >>> meant = [Hit("a", 0.9, "a dog", 1), Hit("b", 0.8, "a puppy", 2), Hit("c", 0.1, "a car", 3)]
    >>> worded = [Hit("c", 7.5, "a car", 1), Hit("b", 5.0, "a puppy", 2)]
    >>> [(hit.id, round(hit.score, 4)) for hit in fuse([meant, worded], constant=1)]
    [('c', 0.75), ('b', 0.6667), ('a', 0.5)]
    >>> [(hit.id, round(hit.score, 4)) for hit in fuse([meant, worded], method="scores")]
    [('a', 1.0), ('c', 1.0), ('b', 0.875)]
    """
    lists = [_listed(ranking, number) for number, ranking in enumerate(rankings)]
    if not lists:
        raise ValueError("There are no rankings to join: give two or more, [hits, other_hits].")
    shares = _checked_weights(weights, len(lists))
    if method not in _METHODS:
        raise ValueError(f"method is {method!r}. Choose between: {', '.join(_METHODS)}.")
    if not 0 <= constant < math.inf:
        raise ValueError(f"constant is {constant}: give a number of at least 0.")
    if k is not None:
        k = check_k(k)
    single = {isinstance(entry, Hit) for entries in lists for entry in entries}
    if single == {True, False}:
        raise ValueError(
            "Some of the rankings are of one query and some of several: give a list of hits from "
            "each search, or a list of such lists from each."
        )
    if single == {True}:
        return _joined(lists, shares, method, constant, k)
    if len({len(entries) for entries in lists}) > 1:
        raise ValueError(
            f"The rankings are of {', '.join(str(len(entries)) for entries in lists)} queries: give "
            "those of the same queries, in the same order."
        )
    return [_joined(group, shares, method, constant, k) for group in zip(*lists, strict=True)]


def _listed(ranking, number):
    if isinstance(ranking, Hit):
        raise TypeError(
            f"rankings[{number}] is a Hit: give a list of rankings, [hits, other_hits]."
        )
    return list(ranking)


def _checked_weights(weights, count):
    if weights is None:
        return [1.0] * count
    weights = list(weights)
    if len(weights) != count:
        raise ValueError(f"There are {len(weights)} weights for {count} rankings: give one each.")
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError(f"weights are {weights}: give numbers of at least 0, one of them above 0.")
    return weights


def _joined(rankings, weights, method, constant, k) -> list[Hit]:
    """Return the rankings of one query as one."""
    points: dict[str, list[float]] = {}
    first: dict[str, tuple[int, Hit]] = {}
    for ranking, weight in zip(rankings, weights, strict=True):
        _check(ranking)
        if not weight:
            continue
        if method == "ranks":
            values = [1 / (constant + rank) for rank in range(1, len(ranking) + 1)]
        else:
            values = _rescaled([hit.score for hit in ranking])
        for rank, (hit, value) in enumerate(zip(ranking, values, strict=True), start=1):
            _, known = first.setdefault(hit.id, (rank, hit))
            if known.text != hit.text:
                raise ValueError(
                    f"The id {hit.id!r} stands for two texts, {known.text!r:.60} and {hit.text!r:.60}: "
                    "fuse rankings of one corpus."
                )
            points.setdefault(hit.id, []).append(weight * value)
    # fsum, because then it does not matter in which order the rankings come.
    scores = {name: math.fsum(values) for name, values in points.items()}
    order = sorted(scores, key=lambda name: (-scores[name], first[name][0], name))[:k]
    return [
        replace(first[name][1], score=scores[name], rank=rank)
        for rank, name in enumerate(order, start=1)
    ]


def _check(ranking):
    seen = set()
    for hit in ranking:
        if not isinstance(hit, Hit):
            raise TypeError(f"A ranking holds a {type(hit).__name__}, not a Hit.")
        if hit.id in seen:
            raise ValueError(f"A ranking holds the id {hit.id!r} twice: give each text one rank.")
        if not math.isfinite(hit.score):
            raise ValueError(f"The score of {hit.id!r} is {hit.score}: give a number.")
        seen.add(hit.id)


def _rescaled(scores):
    lowest, highest = min(scores, default=0.0), max(scores, default=0.0)
    if lowest == highest:
        return [1.0] * len(scores)
    return [(score - lowest) / (highest - lowest) for score in scores]
