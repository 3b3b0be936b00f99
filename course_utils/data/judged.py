"""The judgements of a benchmark, a BEIR folder or a hub's, made into a task, oddities counted."""

import math
from collections.abc import Hashable, Iterable
from dataclasses import replace
from typing import Any, TypeAlias

from course_utils.data.tasks import RetrievalTask, Source

Judgement: TypeAlias = tuple[str, str, str, Any]  # (where it stands, query id, document id, grade)


def judged_task(
    name: str,
    corpus: dict[str, str],
    queries: dict[str, str],
    judgements: Iterable[Judgement],
    source: Source,
) -> RetrievalTask:
    """Return the retrieval task of a benchmark's texts and judgements, all counted in its source.

    ``corpus`` and ``queries`` map ids to texts, ``judgements`` are (where it stands, query id,
    document id, grade). By trec_eval's rule a grade below 1 means not relevant. Blank documents and
    grades below 0 stay, and are counted. Left out, and counted, are queries that nobody judged (they
    belong to another split), blank ones, and those without a relevant document: nothing that they
    find could be right. What does not occur is not named in ``source.counts``.

    Raises ``ValueError`` for a judgement on an unknown id, one that occurs twice, a grade that is no
    whole number (each with its place), and where no query or no text to find is left.
    """
    qrels: dict[str, dict[str, int]] = {}
    seen: dict[tuple[str, str], str] = {}
    for where, query, document, grade in judgements:
        for field, key, known in (("query-id", query, queries), ("corpus-id", document, corpus)):
            if key not in known:
                raise ValueError(f"{where}: field {field!r} is {key!r}, which is no id of a text.")
        refuse_twice(where, f"the judgement of {query!r} and {document!r}", (query, document), seen)
        qrels.setdefault(query, {})[document] = whole_number(where, "score", grade)
    asked = {query for query in qrels if queries[query].strip()}
    kept = {
        query: text
        for query, text in queries.items()
        if query in asked and any(grade > 0 for grade in qrels[query].values())
    }
    grades = [grade for query in kept for grade in qrels[query].values()]
    blank = sum(not text.strip() for text in corpus.values())
    if not kept or blank == len(corpus):
        raise ValueError(
            f"{name}: there is nothing to score. Of {len(queries)} queries, {len(kept)} have a text "
            f"and a document of grade 1 or more; of {len(corpus)} documents, {blank} are blank. Is "
            "it the right split, and the right file?"
        )
    counts = {
        "documents": len(corpus),
        "queries": len(kept),
        "queries_without_judgements_in_this_split": len(queries) - len(qrels),
        "judgements": len(grades),
    }
    odd = {
        "blank_documents": blank,
        "blank_queries": len(qrels) - len(asked),
        "queries_without_relevant_documents": len(asked) - len(kept),
        "grades_below_0": sum(grade < 0 for grade in grades),
    }
    counts |= {what: number for what, number in odd.items() if number}
    judged = {query: qrels[query] for query in kept}
    return RetrievalTask(name, corpus, kept, judged, replace(source, counts=counts))


def finite_number(where: str, name: str, value: Any) -> float:
    """Return the number in a field; raise ``ValueError``, naming place and field, if it is none."""
    try:
        found = math.nan if isinstance(value, bool) or value is None else float(value)
    except (TypeError, ValueError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{where}: field {name!r} is {value!r}, not a number.")
    return found


def whole_number(where: str, name: str, value: Any) -> int:
    """Return the grade in a field; raise ``ValueError``, naming place and field, if it is none."""
    found = finite_number(where, name, value)
    if found != int(found):
        raise ValueError(f"{where}: field {name!r} is {value!r}. A grade is a whole number.")
    return int(found)


def refuse_twice(where: str, what: str, key: Hashable, seen: dict[Any, str]) -> None:
    """Raise ``ValueError`` if ``key`` was seen before; else note where it was, in ``seen``."""
    if key in seen:
        raise ValueError(f"{where}: {what} occurs twice, first at {seen[key]}. Keep one.")
    seen[key] = where
