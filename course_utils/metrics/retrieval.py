"""How well a ranking puts the right documents first: MRR, recall, MAP, nDCG; one row per query.

Two ways in, by what you have: ``retrieval_scores`` takes dictionaries of scores,
``retrieval_scores_from_vectors`` the vectors themselves. Both give the same numbers.
``retrieval_inputs`` checks what comes in, ``ranks`` finds where the relevant documents stand,
``rank_measures`` holds the formulas.

The conventions are those of trec_eval, the program that retrieval research has been scored with
since the 1990s; ``retrieval_scores`` states them.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.metrics.rank_measures import columns
from course_utils.metrics.ranks import ranks_in_products, ranks_in_run
from course_utils.metrics.retrieval_inputs import (
    Options,
    Qrels,
    check_known,
    check_whole,
    leave_out_unjudged,
    options,
    relevant,
    vectors,
)

if TYPE_CHECKING:
    import pandas as pd

USUAL = ("mrr", "recall", "map", "ndcg")


def retrieval_scores(
    run: Mapping[str, Mapping[str, float]],
    qrels: Qrels,
    k: int | Iterable[int] = 10,
    *,
    measures: str | Iterable[str] = USUAL,
    ties: str = "trec_eval",
) -> "pd.DataFrame":
    """Return how well each judged query was answered: a DataFrame with one row per query.

    ``run`` is what a system found, ``{query: {document: score}}``, a higher score being better.
    ``qrels`` are the judgements, ``{query: {document: grade}}``: whole numbers, of which 1 or more
    means relevant. Rows come in the order of ``qrels``, indexed by query id; columns are float64
    between 0 and 1, in the order of ``measures``. ``k`` is one cut-off or several, ``[1, 5, 10]``;
    each measure at ``k`` then has a column for each. With ``R`` the number of relevant documents,
    ``rank`` a document's place in the ranking from 1, and ``grade`` 0 for documents that are
    unjudged or below 1, the ``measures`` are:

    - ``"mrr"``, column ``mrr@k``: 1 / rank of the first relevant document, 0 if beyond ``k``;
    - ``"recall"``, ``recall@k``: (relevant documents with rank <= k) / R;
    - ``"precision"``, ``precision@k``: (relevant documents with rank <= k) / k;
    - ``"success"``, ``success@k``: 1 if a relevant document has rank <= k, else 0;
    - ``"map"``: (1/R) x sum, over the relevant documents found at any rank, of (relevant documents
      ranked up to and including it) / rank;
    - ``"r_precision"``: (relevant documents with rank <= R) / R;
    - ``"ndcg"``, ``ndcg@k``: DCG / ideal DCG, where DCG = sum over ranks 1..k of
      grade / log2(rank + 1), and the ideal is the same sum with the R grades in falling order.

    The rules where tools differ, all as in trec_eval:

    - Equal scores are ordered by document id, descending (code point by code point: "9" before
      "10"). Scores are compared in single precision, so two that agree in their first seven
      digits or so are equal. With ``ties="expected"`` no order is taken from the ids: a query's
      value is the mean over all orders of its tied documents, computed exactly. Only then do the
      names of the documents have no say in the result.
    - ``map`` divides by R, found or not, and looks at the whole ranking; it is not cut at ``k``.
      ``precision@k`` divides by ``k`` even where fewer documents were found.
    - The gain of a grade is the grade itself (not 2^grade - 1).
    - A judged query that the run does not answer scores 0 and stays in (``trec_eval -c``), and so
      does one with no relevant document at all.
    - Queries of the run that nobody judged are left out, here with a ``UserWarning``.

    Raises ``ValueError``, naming the item, when ``run`` or ``qrels`` is empty, a query's judgements
    are empty, no query of the run is judged, a score is NaN or no number, a grade is no whole
    number, an id is no string, a cut-off is no whole number from 1 up or occurs twice, or
    ``measures`` or ``ties`` is none of the above.

    Sources: Manning, Raghavan & Schütze, *Introduction to Information Retrieval*, section 8.4
    (precision, recall, MAP, R-precision); Voorhees, TREC-8 question answering track report, 1999
    (MRR); Järvelin & Kekäläinen 2002 (nDCG; the discount log2(rank + 1) is trec_eval's); McSherry &
    Najork 2008 (the mean over tied orders).

    >>> run = {"q1": {"d1": 0.9, "d2": 0.8, "d3": 0.1}, "q2": {"d1": 0.5}}
    >>> scores = retrieval_scores(run, {"q1": {"d2": 1}, "q2": {"d3": 1}}, k=10)
    >>> scores.round(3)  # doctest: +NORMALIZE_WHITESPACE
           mrr@10  recall@10  map  ndcg@10
    query
    q1        0.5        1.0  0.5    0.631
    q2        0.0        0.0  0.0    0.000

    A scorer that cannot tell two documents apart finds the right one first half of the time:

    >>> tied = {"q": {"d1": 1.0, "d2": 1.0}}
    >>> for ties in ("trec_eval", "expected"):
    ...     scores = retrieval_scores(tied, {"q": {"d2": 1}}, 1, measures=["success"], ties=ties)
    ...     print(ties, scores.loc["q"].to_dict())
    trec_eval {'success@1': 1.0}
    expected {'success@1': 0.5}
    """
    chosen = options(k, measures, ties)
    grades = relevant(qrels)
    if not run:
        raise ValueError(
            "The run is empty: there is no ranking to score. Give {query: {doc: score}}."
        )
    leave_out_unjudged(run, grades, "the run")
    return _table(ranks_in_run(run, grades, chosen.expected), grades, chosen)


def retrieval_scores_from_vectors(
    query_matrix: ArrayLike,
    corpus_matrix: ArrayLike,
    query_ids: Iterable[str],
    corpus_ids: Iterable[str],
    qrels: Qrels,
    k: int | Iterable[int] = 10,
    *,
    measures: str | Iterable[str] = USUAL,
    ties: str = "trec_eval",
    chunk_size: int | None = None,
) -> "pd.DataFrame":
    """Return the scores of ``retrieval_scores`` for exact search over vectors: one row per query.

    ``query_matrix`` is (q, d) and ``corpus_matrix`` (n, d), row for row with ``query_ids`` and
    ``corpus_ids``; both are used as float32. A document's score is the dot product, which for
    rows of unit length is the cosine. Every document of the corpus is ranked, so ``map`` rests on
    complete rankings. All rules, ``k``, ``measures`` and ``ties`` are those of ``retrieval_scores``;
    equal scores, here as there, are ordered by document id, descending.

    The q x n matrix of scores never exists: ``chunk_size`` queries are scored at a time (by
    default as many as keep their scores within 128 MiB), and ranks are counted, not sorted.

    Raises ``ValueError``, naming the item, when shapes and ids do not fit together, an id occurs
    twice, a vector holds NaN or infinity, a judged query has no vector, a relevant document is
    not in the corpus (recall would fall without a word), ``chunk_size`` is below 1, or the
    judgements or options are at fault as in ``retrieval_scores``. Vectors of queries that nobody
    judged are left out with a ``UserWarning``.

    >>> corpus = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> scores = retrieval_scores_from_vectors(
    ...     [[0.6, 0.8]], corpus, ["q"], ["a", "b"], {"q": {"a": 1}}, k=1
    ... )
    >>> scores.loc["q"].to_dict()
    {'mrr@1': 0.0, 'recall@1': 0.0, 'map': 0.5, 'ndcg@1': 0.0}
    """
    chosen = options(k, measures, ties)
    if chunk_size is not None:
        check_whole(chunk_size, "chunk_size", "how many queries are scored at a time")
    grades = relevant(qrels)
    queries, query_row = vectors(query_matrix, query_ids, "query")
    corpus, corpus_row = vectors(corpus_matrix, corpus_ids, "corpus")
    if queries.shape[1] != corpus.shape[1]:
        raise ValueError(
            f"Query vectors have {queries.shape[1]} dimensions and corpus vectors "
            f"{corpus.shape[1]}. Encode both with one model."
        )
    leave_out_unjudged(query_row, grades, "query_ids")
    check_known(grades, query_row, corpus_row)
    return scores_of_vectors(queries, corpus, grades, query_row, corpus_row, chosen, chunk_size)


def scores_of_vectors(
    queries: np.ndarray,
    corpus: np.ndarray,
    grades: Qrels,
    query_row: Mapping[str, int],
    corpus_row: Mapping[str, int],
    chosen: Options,
    chunk_size: int | None = None,
) -> "pd.DataFrame":
    """Return what ``retrieval_scores_from_vectors`` does, for what was checked where it entered.

    ``queries`` (q, d) and ``corpus`` (n, d) are finite float32; ``grades`` holds the relevant
    documents alone, at least one judged query; ``query_row`` and ``corpus_row`` are ``{id: row}``.
    """
    ranks = ranks_in_products(
        queries, corpus, grades, query_row, corpus_row, chunk_size, chosen.expected
    )
    return _table(ranks, grades, chosen)


def _table(ranks, grades, chosen):
    import pandas as pd

    table = columns(ranks, chosen.measures, chosen.cutoffs)
    return pd.DataFrame(table, index=pd.Index(list(grades), name="query"))
