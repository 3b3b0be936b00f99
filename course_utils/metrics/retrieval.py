"""How well a ranking puts the right documents first: MRR, recall, MAP, nDCG; one row per query.

Three ways in, by what you have: ``retrieval_scores`` takes dictionaries of scores,
``retrieval_scores_from_vectors`` the vectors themselves, ``retrieval_scores_from_arrays`` what a search
index returns. All three give the same numbers. ``retrieval_inputs`` checks what comes in,
``ranks`` finds where the relevant documents stand, ``rank_measures`` holds the formulas.

The conventions are those of trec_eval, the program that retrieval research has been scored with
since the 1990s; ``retrieval_scores`` states them.
"""

import numpy as np

from course_utils.metrics.rank_measures import columns
from course_utils.metrics.ranks import (
    Places,
    ranks_in_arrays,
    ranks_in_products,
    ranks_in_run,
)
from course_utils.metrics.retrieval_inputs import (
    check_known,
    check_whole,
    checked_documents,
    checked_judgements,
    checked_scores,
    leave_out_unjudged,
    options,
    relevant,
    rows,
    vectors,
)

USUAL = ("mrr", "recall", "map", "ndcg")


def retrieval_scores(run, qrels, k=10, *, measures=USUAL, ties="trec_eval"):
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
    return _table(ranks_in_run(run, grades, chosen["expected"]), list(grades), chosen)


def retrieval_scores_from_vectors(
    query_matrix,
    corpus_matrix,
    query_ids,
    corpus_ids,
    qrels,
    k=10,
    *,
    measures=USUAL,
    ties="trec_eval",
    chunk_size=None,
):
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
    ranks = ranks_in_products(
        queries, corpus, grades, query_row, corpus_row, chunk_size, chosen["expected"]
    )
    return _table(ranks, list(grades), chosen)


def retrieval_scores_from_arrays(
    scores,
    documents,
    judgements,
    k=10,
    *,
    query_ids=None,
    corpus_ids=None,
    measures=USUAL,
    ties="trec_eval",
):
    """Return the scores of ``retrieval_scores`` for rankings held in arrays: one row per query.

    ``scores`` and ``documents`` are what a search index returns, ours (``Index.search``) and faiss
    alike: both (q, n), where ``documents[i, j]`` is the number, from 0, of a document found for
    query i, and ``scores[i, j]`` its score; they need not be sorted. Where a query found fewer than
    n documents, its row ends in -1. With ``scores=None`` the order of the columns is the ranking.

    ``judgements`` is an array (j, 3) of whole numbers, one judgement a row: query number, document
    number, grade. With ``query_ids`` (q) and ``corpus_ids``, one for each document of the corpus, it
    may instead be the ``{query: {document: grade}}`` of ``retrieval_scores``.

    Rows come in the order of the queries, indexed by ``query_ids`` or their numbers. All rules,
    ``k``, ``measures`` and ``ties`` are those of ``retrieval_scores``. Equal scores are ordered by
    document id, descending as text; without ``corpus_ids`` a document's id is its number. A relevant
    document that is in no ranking counts as not found. Queries without judgements are left out with
    a ``UserWarning``.

    Raises ``ValueError``, naming the item, when shapes or ids do not fit together, there is no
    query or no judgement, a ranking holds a document twice, -1 stands before a document, a score is
    NaN, a number lies outside the queries or the corpus, a document is judged twice for a query, or
    ids, judgements or options are at fault as in ``retrieval_scores``.

    >>> found = np.array([[7, 3, 5], [5, 7, -1]])
    >>> judgements = np.array([[0, 3, 1], [1, 4, 1], [1, 7, 2]])
    >>> scores = retrieval_scores_from_arrays(
    ...     None, found, judgements, k=[1, 2], measures=["recall", "map"]
    ... )
    >>> scores  # doctest: +NORMALIZE_WHITESPACE
           recall@1  recall@2   map
    query
    0           0.0       1.0  0.50
    1           0.0       0.5  0.25
    """
    chosen = options(k, measures, ties)
    documents, lengths = checked_documents(documents)
    scores = checked_scores(scores, documents, lengths)
    ids = [str(name) for name in range(len(documents))] if query_ids is None else list(query_ids)
    query_row = rows(ids, "query_ids")
    if len(ids) != len(documents):
        raise ValueError(
            f"documents has {len(documents)} rows and query_ids {len(ids)} entries. Give one "
            "query id for each row."
        )
    corpus_row = None if corpus_ids is None else rows(list(corpus_ids), "corpus_ids")
    if isinstance(judgements, dict):
        if query_ids is None or corpus_ids is None:
            raise ValueError(
                "judgements is a dictionary of ids: give query_ids and corpus_ids too, so that "
                "rows and ids can be matched. Or give an array of (query, document, grade)."
            )
        grades = relevant(judgements)
        leave_out_unjudged(query_row, grades, "query_ids")
        check_known(grades, query_row, corpus_row)
        table = [
            (query_row[query], corpus_row[document], grade)
            for query, wanted in grades.items()
            for document, grade in wanted.items()
        ]
        judged = np.sort([query_row[query] for query in grades])
        judgements = np.array(table, dtype=np.int64).reshape(-1, 3)
    else:
        judgements = checked_judgements(judgements, len(documents))
        judged = np.unique(judgements[:, 0])
        leave_out_unjudged(query_row, {ids[i] for i in judged}, "documents")
    size = 1 + max(documents.max(initial=-1), judgements[:, 1].max(initial=-1))
    if corpus_row is not None and size > len(corpus_row):
        raise ValueError(
            f"Document {size - 1} is ranked or judged, and corpus_ids has {len(corpus_row)} entries, "
            "numbers 0 to n - 1. Give one id for each document of the corpus."
        )
    graded = judgements[judgements[:, 2] >= 1]
    query, document, gain = graded[np.argsort(graded[:, 0], kind="stable")].T
    ranks = ranks_in_arrays(
        scores,
        documents,
        lengths,
        (query, document, gain.astype(np.float64)),
        Places(range(size) if corpus_row is None else corpus_row),
        chosen["expected"],
    )
    table = _table(ranks, range(len(documents)) if query_ids is None else ids, chosen)
    return table.iloc[judged]


def _table(ranks, ids, chosen):
    import pandas as pd

    table = columns(ranks, chosen["measures"], chosen["cutoffs"])
    return pd.DataFrame(table, index=pd.Index(ids, name="query"))
