"""What the retrieval scores are computed from, checked: each fault is an error that names the item."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import refuse_broken_rows
from course_utils.metrics.rank_measures import MEASURES
from course_utils.metrics.ranks import check_ids

#: Judgements: ``{query: {document: grade}}``.
Qrels: TypeAlias = Mapping[str, Mapping[str, int]]

_TIES = ("trec_eval", "expected")


@dataclass(frozen=True)
class Options:
    """What to compute: the measures, the cut-offs, and whether ties get their expected value."""

    measures: list[str]
    cutoffs: list[int]
    expected: bool


def options(k: int | Iterable[int], measures: str | Iterable[str], ties: str) -> Options:
    """Return the options of the retrieval scores, checked; see ``retrieval_scores``."""
    cutoffs: list[Any] = list(k) if isinstance(k, Iterable) else [k]
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
    return Options(measures, cutoffs, ties == "expected")


def relevant(qrels: Qrels) -> dict[str, dict[str, int]]:
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


def leave_out_unjudged(queries: Collection[str], judged: Collection[str], where: str) -> None:
    """Warn of queries that nobody judged; raise ``ValueError`` where that is true of all."""
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


def check_known(grades: Qrels, query_row: Mapping[str, int], corpus_row: Mapping[str, int]) -> None:
    """Raise ``ValueError`` for a judged query without a row, or a relevant document without one."""
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


def vectors(matrix: ArrayLike, ids: Iterable[str], what: str) -> tuple[np.ndarray, dict[str, int]]:
    """Return the matrix as float32 and ``{id: row}``, checked against each other."""
    matrix = np.asarray(matrix, dtype=np.float32)
    ids = list(ids)
    if matrix.ndim != 2 or len(matrix) != len(ids) or not ids:
        raise ValueError(
            f"{what}_matrix has shape {matrix.shape} and {what}_ids {len(ids)} entries. Give one "
            "row of a two-dimensional matrix for each id, and at least one."
        )
    row = rows(ids, f"{what}_ids")
    refuse_broken_rows(matrix, f"{what}_matrix", ids)
    return matrix, row


def rows(ids: Sequence[str], where: str) -> dict[str, int]:
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


def check_whole(value: Any, name: str, meaning: str) -> None:
    """Raise ``ValueError`` where ``value`` is no whole number from 1 up."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{name} is {value!r}. It is {meaning}: a whole number from 1 up.")
