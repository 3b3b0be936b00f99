"""What the retrieval scores are computed from, checked: each fault is an error that names the item."""

import warnings
from numbers import Integral

import numpy as np

from course_utils.metrics.rank_measures import MEASURES
from course_utils.metrics.ranks import check_ids

_TIES = ("trec_eval", "expected")


def options(k, measures, ties):
    cutoffs = [k] if isinstance(k, Integral) or not np.iterable(k) else list(k)
    for cutoff in cutoffs:
        check_whole(cutoff, "k", "the length of the list a reader looks at")
    measures = [measures] if isinstance(measures, str) else list(measures)
    for what, values in (("k", cutoffs), ("measures", measures)):
        if not values:
            raise ValueError(f"{what} is empty, so there is nothing to compute.")
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"{what} holds {twice!r} twice. Each column can exist once.")
    for measure in measures:
        if measure not in MEASURES:
            raise ValueError(f"measures holds {measure!r}. Known are: {', '.join(MEASURES)}.")
    if ties not in _TIES:
        raise ValueError(f"ties is {ties!r}. Choose between: {', '.join(_TIES)}.")
    return {"cutoffs": cutoffs, "measures": measures, "expected": ties == "expected"}


def relevant(qrels):
    """Return ``{query: {document: grade}}`` with the grades of 1 and more, checked."""
    if not qrels:
        raise ValueError("qrels is empty: nothing is judged, so nothing can be scored.")
    check_ids(qrels, "qrels")
    grades = {}
    for query, judged in qrels.items():
        if not judged:
            raise ValueError(
                f"Query {query!r} has no judgements in qrels. Judge it or leave it out."
            )
        check_ids(judged, f"qrels[{query!r}]")
        if not all(issubclass(kind, Integral) for kind in set(map(type, judged.values()))):
            document = next(d for d, grade in judged.items() if not isinstance(grade, Integral))
            raise ValueError(
                f"qrels[{query!r}][{document!r}] is {judged[document]!r}. A grade is a whole number; "
                "1 or more means relevant."
            )
        grades[query] = {document: int(grade) for document, grade in judged.items() if grade >= 1}
    return grades


def leave_out_unjudged(queries, judged, where):
    unjudged = [query for query in queries if query not in judged]
    if len(unjudged) == len(queries):
        raise ValueError(
            f"None of the queries of {where} is judged in qrels: the first is {unjudged[0]!r}, the "
            f"first judged query {next(iter(judged))!r}. Are the ids of one kind?"
        )
    if unjudged:
        warnings.warn(
            f"{len(unjudged)} of the {len(queries)} queries of {where} have no judgements in qrels "
            f"and are left out, as trec_eval does; the first is {unjudged[0]!r}.",
            stacklevel=3,
        )


def check_known(grades, query_row, corpus_row):
    for query, wanted in grades.items():
        if query not in query_row:
            raise ValueError(
                f"Query {query!r} is judged in qrels but has no row: it is not in query_ids."
            )
        for document in wanted:
            if document not in corpus_row:
                raise ValueError(
                    f"Document {document!r}, relevant to query {query!r}, is not in corpus_ids, so "
                    "it could never be found. Add it to the corpus or drop the judgement."
                )


def vectors(matrix, ids, what):
    """Return the matrix as float32 and ``{id: row}``, checked against each other."""
    matrix = np.asarray(matrix, dtype=np.float32)
    ids = list(ids)
    if matrix.ndim != 2 or len(matrix) != len(ids) or not ids:
        raise ValueError(
            f"{what}_matrix has shape {matrix.shape} and {what}_ids {len(ids)} entries. Give one "
            "row of a two-dimensional matrix for each id, and at least one."
        )
    row = rows(ids, f"{what}_ids")
    with np.errstate(over="ignore", invalid="ignore"):
        total = matrix.sum()
    if not np.isfinite(total):  # one look at all before the look at each row
        finite = np.isfinite(matrix).all(axis=1)
        if not finite.all():
            i = int((~finite).argmax())
            raise ValueError(
                f"The vector of {ids[i]!r}, row {i} of {what}_matrix, holds NaN or infinity."
            )
    return matrix, row


def rows(ids, where):
    """Return ``{id: row}`` of different strings."""
    check_ids(ids, where)
    row = {name: i for i, name in enumerate(ids)}
    if len(row) < len(ids):
        second = next(i for i, name in enumerate(ids) if row[name] != i)
        name = ids[second]
        raise ValueError(
            f"{where} holds {name!r} twice, in rows {second} and {ids.index(name, second + 1)}."
        )
    return row


def checked_documents(documents):
    """Return the document numbers (q, n) and how many of each row count, (q,)."""
    documents = np.asarray(documents)
    if documents.ndim != 2 or documents.size == 0 or documents.dtype.kind not in "iu":
        raise ValueError(
            f"documents has shape {documents.shape} and dtype {documents.dtype}. Give whole numbers, "
            "one row for each query, and at least one query and one column."
        )
    ended = documents < 0
    lengths = np.full(len(documents), documents.shape[1])
    if ended.any():
        lengths = np.where(ended.any(axis=1), ended.argmax(axis=1), lengths)
        wrong = (documents < -1) | (~ended & (np.arange(documents.shape[1]) >= lengths[:, None]))
        if wrong.any():
            i, j = np.argwhere(wrong)[0]
            raise ValueError(
                f"documents[{i}, {j}] is {documents[i, j]}. A row holds numbers from 0, and from "
                f"where nothing more was found, only -1; this one ends at column {lengths[i]}."
            )
    return documents, lengths


def checked_scores(scores, documents, lengths):
    """Return the scores (q, n) in single precision, or None."""
    if scores is None:
        return None
    scores = np.asarray(scores)
    if scores.shape != documents.shape or scores.dtype.kind not in "fiu":
        raise ValueError(
            f"scores has shape {scores.shape} and dtype {scores.dtype}, documents shape "
            f"{documents.shape}. Give one number for each document, or None for a plain ranking."
        )
    with np.errstate(over="ignore"):  # beyond single precision is infinite, in its right place
        scores = scores.astype(np.float32, copy=False)
    missing = np.isnan(scores)
    if missing.any():
        missing &= np.arange(scores.shape[1]) < lengths[:, None]
        if missing.any():
            i, j = np.argwhere(missing)[0]
            raise ValueError(
                f"scores[{i}, {j}], of document {documents[i, j]} for query {i}, is NaN, which has no "
                "place in an order. Find out where it came from, or leave the document out."
            )
    return scores


def checked_judgements(judgements, queries):
    """Return the judgements (j, 3) as int64: query, document, grade."""
    judgements = np.asarray(judgements)
    if judgements.ndim != 2 or judgements.shape[1:] != (3,) or judgements.dtype.kind not in "iu":
        raise ValueError(
            f"judgements has shape {judgements.shape} and dtype {judgements.dtype}. Give whole "
            "numbers (j, 3), one judgement a row: query, document, grade."
        )
    if not len(judgements):
        raise ValueError("judgements is empty: nothing is judged, so nothing can be scored.")
    judgements = judgements.astype(np.int64, copy=False)
    query, document, _ = judgements.T
    wrong = (query < 0) | (query >= queries) | (document < 0)
    if wrong.any():
        i = int(wrong.argmax())
        raise ValueError(
            f"judgements[{i}] speaks of query {query[i]} and document {document[i]}. Queries are "
            f"numbered from 0 to {queries - 1}, documents from 0."
        )
    order = np.lexsort((document, query))
    again = np.flatnonzero((np.diff(query[order]) == 0) & (np.diff(document[order]) == 0))
    if len(again):
        first, second = sorted(order[again[0] : again[0] + 2].tolist())
        raise ValueError(
            f"Document {document[first]} is judged twice for query {query[first]}, in rows {first} "
            f"and {second} of judgements. Keep one."
        )
    return judgements


def check_whole(value, name, meaning):
    """Raise ``ValueError`` where ``value`` is no whole number from 1 up."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}. It is {meaning}: a whole number from 1 up.")
