"""``search``: the texts nearest to a query, and whether an index is the model's to search."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.encoding.embedders import AnyEmbedder
from course_utils.encoding.encode import encode_query
from course_utils.models.fingerprints import fingerprint_or_none
from course_utils.retrieval.index import (
    Corpus,
    Fingerprinted,
    Index,
    OnLong,
    build_index,
    check_k,
    checked_queries,
)

if TYPE_CHECKING:
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.retrieval.store import Store

_DEPTH = 100  # hits that a hybrid search takes from each of the two rankings, at least


@dataclass(frozen=True)
class Hit:
    """One found text: its id, its score, the text itself, and its rank, 1 for the best.

    >>> Hit(id="7", score=0.5, text="a heading", rank=1).rank
    1
    """

    id: str
    score: float
    text: str
    rank: int


def search(
    model: AnyEmbedder,
    query: str | Sequence[str],
    corpus_or_index: "Corpus | Index | Store",
    *,
    k: int = 5,
    where: Mapping[str, Any] | None = None,
    hybrid: bool = False,
    batch_size: int = 32,
    prompt: str | None = None,
    prompt_name: str | None = None,
    on_long: OnLong = "warn",
    cache: "EmbeddingCache | None" = None,
    show_progress_bar: bool | None = None,
) -> list:
    """Return the k texts nearest to ``query``: a list of ``Hit``, best first.

    For a list of queries, a list of such lists. ``corpus_or_index`` is an ``Index``, a ``Store``, or a
    corpus as in ``build_index``, which is then encoded and searched exactly; for more than one
    search of the same corpus build the index once. Of a corpus with n < k texts all n come back.
    Queries are encoded by ``encode_query`` and documents by ``encode_document``, each with the
    model's prompt for them; ``prompt`` and ``prompt_name`` replace that of the queries, and
    ``batch_size``, ``on_long``, ``cache`` and ``show_progress_bar`` are passed on to both.

    Two options are for a ``Store``. ``where`` leaves only texts whose columns have the given values:
    ``{"topic": "billing", "lang": ["de", "en"], "year": {">": 2020, "!=": 2024}}`` is one value, any
    of some, and comparisons (``<``, ``<=``, ``>``, ``>=``, ``==``, ``!=``), all to hold at once; a
    missing value fits none. It is a dict and no text of SQL, so that a value that somebody typed is
    only ever compared. ``hybrid=True`` searches by words too (BM25) and fuses the 100 first of both
    rankings (k, if that is more) as ``fuse`` does; the scores are then reciprocal ranks.

    An index remembers what made it, and vectors of two models must not be compared: their axes mean
    different things. The model that built the index in this session is known again at a glance;
    another is identified by its fingerprint, once. Where the model or the index has no fingerprint (a
    bare function as embedder), only the number of dimensions can be checked.

    Raises ``ValueError`` for another model than the index's (naming both fingerprints), an index
    that the model did not encode as documents, a blank query, k < 1, an empty corpus, a column that
    the store does not have, or ``where`` or ``hybrid`` without a store; ``TypeError`` for a query that
    is neither a string nor a list of strings, and a value in ``where`` of another type than its column.
    """
    k = check_k(k)
    single = isinstance(query, str)
    queries = checked_queries(query)
    shared: dict[str, Any] = {
        "batch_size": batch_size,
        "on_long": on_long,
        "cache": cache,
        "show_progress_bar": show_progress_bar,
    }
    from course_utils.retrieval.store import Store

    index: Index | Store
    if isinstance(corpus_or_index, Index | Store):
        index = corpus_or_index
    else:
        index = build_index(model, corpus_or_index, **shared)
    if isinstance(index, Index) and (where is not None or hybrid):
        raise ValueError(
            "Only a store knows columns (where) and words (hybrid): make one with "
            'build_index(..., kind="lancedb", folder=...).'
        )
    check_same_model(model, index)
    if not queries:
        return []
    vectors = encode_query(model, queries, prompt=prompt, prompt_name=prompt_name, **shared)
    if isinstance(index, Index):
        scores, rows = index.search(vectors, k)
        hits = [hits_of(index, *found) for found in zip(scores, rows, strict=True)]
    elif hybrid:
        hits = _hybrid(index, queries, vectors, k, where)
    else:
        hits = index.search(vectors, k, where=where)
    return hits[0] if single else hits


def _hybrid(store, queries, vectors, k, where):
    from course_utils.retrieval.fusion import fuse

    meant = store.search(vectors, max(k, _DEPTH), where=where)
    worded = store.search_words(queries, max(k, _DEPTH), where=where)
    return [fuse(pair, k=k) for pair in zip(meant, worded, strict=True)]


def check_same_model(model: AnyEmbedder, index: Fingerprinted) -> None:
    """Raise ``ValueError`` unless ``index`` may hold ``model``'s vectors of documents.

    It may where either has no fingerprint. A model that was checked before and looks as it did then
    is not checked again: its fingerprint takes as long as a query.
    """
    if index.remembers(model):
        return
    mine = fingerprint_or_none(model, role="document", prompt=index.prompt)
    if mine is None or index.fingerprint is None:
        return
    if mine != index.fingerprint:
        raise ValueError(_why_not(model, index, mine))
    index.remember(model)


def _why_not(model, index, mine):
    """Return what is wrong with searching ``index`` by ``model``, whose fingerprint is ``mine``."""
    otherwise = {
        "encoded as queries (encode_query)": {"role": "query"},
        "encoded by plain encode, in neither role": {},
        "encoded without the prompt that this model has for documents": {"prompt": ""},
    }
    for how, options in otherwise.items():
        if fingerprint_or_none(model, **options) == index.fingerprint:
            return (
                f"The index holds vectors of this model that were {how}; search compares queries "
                "with documents. Build it again with build_index, or make its matrix with "
                'encode_document and give role="document".'
            )
    return (
        f"The index was built by model {index.fingerprint[:12]}, and this is model {mine[:12]}: "
        "their vectors cannot be compared. Use the model that built the index, or build the index "
        "again with this one (build_index)."
    )


def hits_of(index: Index, scores: np.ndarray, rows: np.ndarray) -> list[Hit]:
    """Return what ``Index.search`` found for one vector, scores and rows (k,), as hits."""
    found = [(score, row) for score, row in zip(scores.tolist(), rows.tolist(), strict=True)]
    return [
        Hit(id=index.ids[row], score=score, text=index.texts[row], rank=rank)
        for rank, (score, row) in enumerate(found, start=1)
        if row >= 0
    ]
