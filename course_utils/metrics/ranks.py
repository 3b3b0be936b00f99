"""Where the relevant documents stand, in a dictionary of scores or among vectors.

Every measure of ``retrieval`` depends only on the ranks of the *relevant* documents. So nothing is
ranked here: how many documents score higher is counted, which is exact and cheap, for a dictionary
of scores as for a hundred thousand vectors.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from numbers import Real

import numpy as np

from course_utils.metrics.rank_measures import Ranks

_FEW = 8  # up to this many relevant documents, counting beats sorting many scores once
_CELLS = 2**25  # scores computed at a time: 128 MiB
_MANY = 4096  # below this many scores, sorting them costs less than the calls that count


def ranks_in_run(
    run: Mapping[str, Mapping[str, float]], grades: Mapping[str, Mapping[str, int]], expected: bool
) -> Ranks:
    """Return the ``Ranks`` of ``grades``, ``{query: {document: grade}}``, in ``{query: {doc: score}}``."""
    found = [
        _ranks_in_dictionary(query, run[query], wanted, expected)
        if run.get(query)
        else _absent(len(wanted))
        for query, wanted in grades.items()
    ]
    return _ranks_of(grades, found)


def ranks_in_products(
    queries: np.ndarray,
    corpus: np.ndarray,
    grades: Mapping[str, Mapping[str, int]],
    query_row: Mapping[str, int],
    corpus_row: Mapping[str, int],
    chunk_size: int | None,
    expected: bool,
) -> Ranks:
    """Return the ``Ranks`` by dot product: float32 matrices (q, d) and (n, d), and ``{id: row}``."""
    places = _Places(corpus_row)
    judged = list(grades)
    size = min(chunk_size or max(1, _CELLS // len(corpus)), len(judged))
    products = np.empty((size, len(corpus)), dtype=np.float32)
    found = []
    for start in range(0, len(judged), size):
        chunk = judged[start : start + size]
        rows = [query_row[query] for query in chunk]
        # In one buffer for all chunks: fresh memory each time would cost as much as the counting.
        scored = np.matmul(queries[rows], corpus.T, out=products[: len(rows)])
        for query, scores in zip(chunk, scored, strict=True):
            columns = np.array([corpus_row[document] for document in grades[query]], dtype=np.int64)
            found.append(_ranks_in_row(scores, columns, places, expected))
    return _ranks_of(grades, found)


class _Places:
    """Each document's place when the ids stand in descending order, worked out at the first need.

    Ordering all ids costs more than all the counting, and most rankings hold no tie that matters.
    """

    def __init__(self, ids):
        self._ids, self._places = ids, None

    def __getitem__(self, numbers):
        if self._places is None:
            names = list(self._ids)
            order = sorted(range(len(names)), key=names.__getitem__, reverse=True)
            self._places = np.empty(len(names), dtype=np.int64)
            self._places[order] = np.arange(len(names))
        return self._places[numbers]


def _ranks_of(grades, found):
    sizes = [len(wanted) for wanted in grades.values()]
    gains = [gain for wanted in grades.values() for gain in wanted.values()]
    return Ranks(
        len(grades),
        np.repeat(np.arange(len(grades)), sizes),
        np.array(gains, dtype=np.float64),
        *(np.concatenate(parts) for parts in zip(*found, strict=True)),
    )


def _absent(count):
    return np.full(count, np.inf), np.ones(count)


def _ranks_in_row(scores, columns, places, expected):
    """Return (above, tied) for the entries at ``columns`` of one row of scores."""

    def ahead(equal, those):
        return np.searchsorted(np.sort(places[equal]), places[columns[those]])

    return _counted(scores, scores[columns], ahead, expected)


def _ranks_in_dictionary(query, scored, wanted, expected):
    """Return (above, tied) for each ``wanted`` document in ``{document: score}``."""
    scores = _scores_of(query, scored)
    above, tied = _absent(len(wanted))
    found = [i for i, document in enumerate(wanted) if document in scored]
    if not found:
        return above, tied
    sought = [document for document in wanted if document in scored]

    def ahead(equal, those):
        names = list(scored)
        group = sorted(names[i] for i in equal)
        return [len(group) - bisect_right(group, sought[i]) for i in those]

    own = _single([scored[document] for document in sought])
    above[found], tied[found] = _counted(scores, own, ahead, expected)
    return above, tied


def _scores_of(query, scored):
    """Return the scores of ``{document: score}`` in single precision, checked."""
    values = list(scored.values())
    try:
        scores = np.array(values)
    except ValueError:  # a list among the numbers
        scores = np.array(values, dtype=object)
    # NumPy tells what the values are faster than a look at each; that names the one at fault.
    if scores.ndim > 1 or scores.dtype.kind not in "fiub":
        for document, score in scored.items():
            if not isinstance(score, Real):
                raise ValueError(
                    f"The score of document {document!r} for query {query!r} is {score!r}, not a "
                    "number. Use float(score)."
                )
    scores = _single(scores)
    if np.isnan(scores).any():
        document = list(scored)[int(np.isnan(scores).argmax())]
        raise ValueError(
            f"The score of document {document!r} for query {query!r} is NaN, which has no place in "
            "an order. Find out where it came from, or leave the document out."
        )
    check_ids(scored, f"the run of query {query!r}")
    return scores


def _single(scores):
    # A score beyond single precision becomes infinite, which still sorts where it should.
    with np.errstate(over="ignore"):
        return np.array(scores, dtype=np.float64).astype(np.float32)


def _counted(scores, own, ahead, expected):
    """Return, for the scores ``own`` that occur in ``scores``: how many are higher, and how many equal.

    Unless ``expected``, ties are settled: ``ahead(equal, those)`` says how many of the documents at
    ``equal``, which have one score, go before each of ``those`` among them, and the tie is a group
    of one from then on.
    """
    if len(own) <= _FEW and len(scores) > _MANY:
        above = np.array([np.count_nonzero(scores > score) for score in own], dtype=np.float64)
        tied = np.array([np.count_nonzero(scores == score) for score in own], dtype=np.float64)
    else:
        rising = np.sort(scores)
        until = np.searchsorted(rising, own, side="right")
        above = (len(rising) - until).astype(np.float64)
        tied = (until - np.searchsorted(rising, own, side="left")).astype(np.float64)
    if expected:
        return above, tied
    for score in set(own[tied > 1].tolist()):
        those = np.flatnonzero(own == score)
        above[those] += ahead(np.flatnonzero(scores == score), those)
    return above, np.ones(len(own))


def check_ids(ids: Iterable[str], where: str) -> None:
    """Raise ``ValueError`` for the first of ``ids`` that is no string."""
    try:
        "".join(ids)  # the fastest look at the type of each
    except TypeError:
        name = next(name for name in ids if not isinstance(name, str))
        raise ValueError(
            f"The id {name!r} in {where} is no string. Use str(id): ties are ordered by the ids as "
            "text."
        ) from None
