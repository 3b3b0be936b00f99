"""How well a ranking puts the right documents first: MRR, recall, MAP, nDCG; one row per query.

Every one of these measures depends only on the *ranks of the relevant documents*. So nothing is
sorted here: the rank of a document is one more than the number of documents scored above it, and
counting those is exact and cheap, for a dictionary of scores as for a hundred thousand vectors.

The conventions are those of trec_eval, the program that retrieval research has been scored with
since the 1990s; `retrieval_scores` states them.
"""

import warnings
from numbers import Integral, Real

import numpy as np

_FEW = 8  # up to this many relevant documents, counting beats sorting the scores once
_BLOCK = 1024  # queries whose ranks are padded to one rectangle at a time


def retrieval_scores(run, qrels, k=10):
    """Return how well each judged query was answered: a DataFrame with one row per query.

    ``run`` is what a system found, ``{query: {document: score}}``, a higher score being better.
    ``qrels`` are the judgements, ``{query: {document: grade}}``: whole numbers, of which 1 or more
    means relevant. Rows come in the order of ``qrels``, indexed by query id; columns are float64
    between 0 and 1. With ``R`` the number of relevant documents, ``rank`` a document's place in
    the ranking from 1, and ``grade`` 0 for documents that are unjudged or below 1:

    - ``mrr@k``: 1 / rank of the first relevant document, or 0 where that rank is beyond ``k``;
    - ``recall@k``: (relevant documents with rank <= k) / R;
    - ``map``: (1/R) x sum, over the relevant documents found at any rank, of (relevant documents
      ranked up to and including it) / rank;
    - ``ndcg@k``: DCG / ideal DCG, where DCG = sum over ranks 1..k of grade / log2(rank + 1), and
      the ideal is the same sum with the R grades in falling order.

    The rules where tools differ, all as in trec_eval:

    - Equal scores are ordered by document id, descending (code point by code point: "9" before
      "10"). Scores are compared in single precision, so two that agree in their first seven
      digits or so are equal.
    - ``map`` divides by R, found or not, and looks at the whole ranking; it is not cut at ``k``.
    - The gain of a grade is the grade itself (not 2^grade - 1).
    - A judged query that the run does not answer scores 0 and stays in (``trec_eval -c``), and so
      does one with no relevant document at all.
    - Queries of the run that nobody judged are left out, here with a ``UserWarning``.

    Raises ``ValueError``, naming the item, when ``run`` or ``qrels`` is empty, a query's judgements
    are empty, no query of the run is judged, a score is NaN or no number, a grade is no whole
    number, an id is no string, or ``k`` is no whole number from 1 up.

    Sources: Manning, Raghavan & Schütze, *Introduction to Information Retrieval*, section 8.4
    (recall, MAP); Voorhees, TREC-8 question answering track report, 1999 (MRR); Järvelin &
    Kekäläinen 2002 (nDCG; the discount log2(rank + 1) is trec_eval's).

    >>> run = {"q1": {"d1": 0.9, "d2": 0.8, "d3": 0.1}, "q2": {"d1": 0.5}}
    >>> scores = retrieval_scores(run, {"q1": {"d2": 1}, "q2": {"d3": 1}}, k=10)
    >>> scores.round(3)  # doctest: +NORMALIZE_WHITESPACE
           mrr@10  recall@10  map  ndcg@10
    query
    q1        0.5        1.0  0.5    0.631
    q2        0.0        0.0  0.0    0.000
    """
    grades = _relevant(qrels)
    _check_k(k)
    if not run:
        raise ValueError(
            "The run is empty: there is no ranking to score. Give {query: {doc: score}}."
        )
    _leave_out_unjudged(run, grades, "the run")
    ranks = [
        _ranks_in_dictionary(query, run[query], wanted) if run.get(query) else _unranked(wanted)
        for query, wanted in grades.items()
    ]
    return _table(grades, ranks, k)


def retrieval_scores_from_vectors(
    query_matrix, corpus_matrix, query_ids, corpus_ids, qrels, k=10, *, chunk_size=None
):
    """Return the scores of `retrieval_scores` for exact search over vectors: one row per query.

    ``query_matrix`` is (q, d) and ``corpus_matrix`` (n, d), row for row with ``query_ids`` and
    ``corpus_ids``; both are used as float32. A document's score is the dot product, which for
    rows of unit length is the cosine. Every document of the corpus is ranked, so ``map`` rests on
    complete rankings. All rules are those of `retrieval_scores`; equal scores, here as there,
    are ordered by document id, descending.

    The q x n matrix of scores never exists: ``chunk_size`` queries are scored at a time (by
    default as many as keep their scores within 64 MiB), and ranks are counted, not sorted.

    Raises ``ValueError``, naming the item, when shapes and ids do not fit together, an id occurs
    twice, a vector holds NaN or infinity, a judged query has no vector, a relevant document is
    not in the corpus (recall would fall without a word), or the judgements are at fault as in
    `retrieval_scores`. Vectors of queries that nobody judged are left out with a ``UserWarning``.

    >>> corpus = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> scores = retrieval_scores_from_vectors(
    ...     [[0.6, 0.8]], corpus, ["q"], ["a", "b"], {"q": {"a": 1}}, k=1
    ... )
    >>> scores.loc["q"].to_dict()
    {'mrr@1': 0.0, 'recall@1': 0.0, 'map': 0.5, 'ndcg@1': 0.0}
    """
    grades = _relevant(qrels)
    _check_k(k)
    queries, query_row = _vectors(query_matrix, query_ids, "query")
    corpus, corpus_row = _vectors(corpus_matrix, corpus_ids, "corpus")
    if queries.shape[1] != corpus.shape[1]:
        raise ValueError(
            f"Query vectors have {queries.shape[1]} dimensions and corpus vectors "
            f"{corpus.shape[1]}. Encode both with one model."
        )
    _leave_out_unjudged(query_row, grades, "query_ids")
    for query, wanted in grades.items():
        if query not in query_row:
            raise ValueError(f"Query {query!r} is judged in qrels but has no row in query_matrix.")
        for document in wanted:
            if document not in corpus_row:
                raise ValueError(
                    f"Document {document!r}, relevant to query {query!r}, is not in corpus_ids, so "
                    "it could never be found. Add it to the corpus or drop the judgement."
                )
    place = np.empty(len(corpus), dtype=np.int64)
    place[sorted(range(len(corpus)), key=list(corpus_row).__getitem__, reverse=True)] = np.arange(
        len(corpus)
    )
    size = chunk_size or max(1, 2**24 // len(corpus))
    judged = list(grades)
    ranks = []
    for start in range(0, len(judged), size):
        chunk = judged[start : start + size]
        scores = queries[[query_row[query] for query in chunk]] @ corpus.T  # (size, n)
        for query, row in zip(chunk, scores, strict=True):
            columns = np.array([corpus_row[document] for document in grades[query]], dtype=np.int64)
            ranks.append(_ranks(row, columns, lambda: place))
    return _table(grades, ranks, k)


def _ranks(scores, columns, places):
    """Return the ranks, from 1, of the documents at ``columns`` among all ``scores``.

    ``places()`` gives each document's place when ids are in descending order; it is called only
    where scores tie, because ordering ids costs more than all the counting.
    """
    wanted = scores[columns]
    if len(columns) <= _FEW:
        above = np.array([np.count_nonzero(scores > score) for score in wanted], dtype=np.int64)
        at_least = np.array([np.count_nonzero(scores >= score) for score in wanted], dtype=np.int64)
    else:
        rising = np.sort(scores)
        above = len(rising) - np.searchsorted(rising, wanted, side="right")
        at_least = len(rising) - np.searchsorted(rising, wanted, side="left")
    for i in np.flatnonzero(at_least - above > 1):
        place = places()
        equal = np.flatnonzero(scores == wanted[i])
        above[i] += np.count_nonzero(place[equal] < place[columns[i]])
    return above + 1.0


def _ranks_in_dictionary(query, scored, wanted):
    """Return the rank of each ``wanted`` document in ``{document: score}``, infinite if absent."""
    if not all(issubclass(kind, Real) for kind in set(map(type, scored.values()))):
        document = next(d for d, score in scored.items() if not isinstance(score, Real))
        raise ValueError(
            f"The score of document {document!r} for query {query!r} is {scored[document]!r}, "
            "not a number. Use float(score)."
        )
    # A score beyond single precision becomes infinite, which still sorts where it should.
    with np.errstate(over="ignore"):
        scores = np.fromiter(scored.values(), np.float64, len(scored)).astype(np.float32)
    if np.isnan(scores).any():
        document = list(scored)[int(np.isnan(scores).argmax())]
        raise ValueError(
            f"The score of document {document!r} for query {query!r} is NaN, which has no place in "
            "an order. Find out where it came from, or leave the document out."
        )
    if set(map(type, scored)) != {str}:
        _check_ids(scored, f"the run of query {query!r}")
    column = {document: i for i, document in enumerate(scored)}
    found = [document for document in wanted if document in column]
    places = None

    def places_by_id():
        nonlocal places
        if places is None:
            places = np.empty(len(column), dtype=np.int64)
            places[[column[d] for d in sorted(column, reverse=True)]] = np.arange(len(column))
        return places

    columns = np.array([column[document] for document in found], dtype=np.int64)
    rank = dict(zip(found, _ranks(scores, columns, places_by_id), strict=True))
    return np.array([rank.get(document, np.inf) for document in wanted], dtype=np.float64)


def _unranked(wanted):
    return np.full(len(wanted), np.inf)


def _table(grades, ranks, k):
    import pandas as pd

    names = [f"mrr@{k}", f"recall@{k}", "map", f"ndcg@{k}"]
    gains = [list(wanted.values()) for wanted in grades.values()]
    blocks = [
        _measures(
            _padded(ranks[start : start + _BLOCK], np.inf),
            _padded(gains[start : start + _BLOCK], 0.0),
            k,
        )
        for start in range(0, len(ranks), _BLOCK)
    ]
    index = pd.Index(list(grades), name="query")
    return pd.DataFrame(np.concatenate(blocks), index=index, columns=names)


def _measures(ranks, gains, k):
    """Return (q, 4): the four measures from ranks (q, r), infinite where not found, and gains.

    Both are padded to a rectangle with infinite ranks and gains of 0.
    """
    relevant = np.maximum((gains > 0).sum(axis=1), 1)  # a query with none scores 0, not 0/0
    width = ranks.shape[1]
    rising = np.sort(ranks, axis=1)
    first = rising[:, 0]
    reciprocal = np.where(first <= k, 1 / first, 0.0)
    recall = (ranks <= k).sum(axis=1) / relevant
    average_precision = (np.arange(1, width + 1) / rising).sum(axis=1) / relevant
    discount = np.where(ranks <= k, 1 / np.log2(ranks + 1), 0.0)
    ideal = -np.sort(-gains, axis=1)[:, :k]
    ideal_gain = (ideal / np.log2(np.arange(2, ideal.shape[1] + 2))).sum(axis=1)
    gain = (gains * discount).sum(axis=1)
    ndcg = np.divide(gain, ideal_gain, out=np.zeros(len(gain)), where=ideal_gain > 0)
    return np.column_stack([reciprocal, recall, average_precision, ndcg])


def _padded(rows, filler):
    """Return the rows as one rectangle, (len(rows), longest row or 1), filled up at the end."""
    padded = np.full((len(rows), max(1, *map(len, rows))), filler, dtype=np.float64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return padded


def _relevant(qrels):
    """Return ``{query: {document: grade}}`` with the grades of 1 and more, checked."""
    if not qrels:
        raise ValueError("qrels is empty: nothing is judged, so nothing can be scored.")
    _check_ids(qrels, "qrels")
    grades = {}
    for query, judged in qrels.items():
        if not judged:
            raise ValueError(
                f"Query {query!r} has no judgements in qrels. Judge it or leave it out."
            )
        _check_ids(judged, f"qrels[{query!r}]")
        for document, grade in judged.items():
            if not isinstance(grade, Integral):
                raise ValueError(
                    f"qrels[{query!r}][{document!r}] is {grade!r}. A grade is a whole number; 1 or "
                    "more means relevant."
                )
        grades[query] = {document: int(grade) for document, grade in judged.items() if grade >= 1}
    return grades


def _leave_out_unjudged(queries, grades, where):
    unjudged = [query for query in queries if query not in grades]
    if len(unjudged) == len(queries):
        raise ValueError(
            f"None of the queries of {where} is judged in qrels: the first is {unjudged[0]!r}, the "
            f"first judged query {next(iter(grades))!r}. Are the ids of one kind?"
        )
    if unjudged:
        warnings.warn(
            f"{len(unjudged)} of the {len(queries)} queries of {where} have no judgements in qrels "
            f"and are left out, as trec_eval does; the first is {unjudged[0]!r}.",
            stacklevel=3,
        )


def _vectors(matrix, ids, what):
    """Return the matrix as float32 and ``{id: row}``, checked against each other."""
    matrix = np.asarray(matrix, dtype=np.float32)
    ids = list(ids)
    if matrix.ndim != 2 or len(matrix) != len(ids) or not ids:
        raise ValueError(
            f"{what}_matrix has shape {matrix.shape} and {what}_ids {len(ids)} entries. Give one "
            "row of a two-dimensional matrix for each id, and at least one."
        )
    _check_ids(ids, f"{what}_ids")
    row = {}
    for i, name in enumerate(ids):
        if name in row:
            raise ValueError(f"{what}_ids holds {name!r} twice, in rows {row[name]} and {i}.")
        row[name] = i
    finite = np.isfinite(matrix).all(axis=1)
    if not finite.all():
        i = int((~finite).argmax())
        raise ValueError(
            f"The vector of {ids[i]!r}, row {i} of {what}_matrix, holds NaN or infinity."
        )
    return matrix, row


def _check_ids(ids, where):
    for name in ids:
        if not isinstance(name, str):
            raise ValueError(
                f"The id {name!r} in {where} is no string. Use str(id): ties are ordered by the "
                "ids as text."
            )


def _check_k(k):
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k is {k!r}. It is the length of the list a reader looks at: 1 or more.")
