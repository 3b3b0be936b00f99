"""How fast a way of searching vectors answers here, how often it is right, and what it takes."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.retrieval.index import check_k, recall_against_exact
from course_utils.retrieval.kinds import (
    KINDS,
    STORE,
    create_table,
    index_kind,
    open_table,
    table_rows,
    table_schema,
    usual_nlist,
    usual_nprobe,
)
from course_utils.retrieval.store import Store

#: What can be measured, and what each is: every vector compared, cells of k-means (an inverted
#: file, IVF), or a graph (HNSW), in memory or on disk.
SEARCHES = {
    "exact": "exact, in memory",
    "faiss": "IVF, in memory (faiss)",
    "hnsw": "HNSW, in memory (hnswlib)",
    STORE: "exact, on disk (LanceDB)",
    f"{STORE}-ivf": "IVF, on disk (LanceDB)",
}
_SINGLES = 200  # queries asked one at a time
_FEWEST = 20
_SECONDS = 10.0  # after which a slow way is asked no more than _FEWEST

_Found = tuple[np.ndarray, np.ndarray]


def measure_search(
    matrix: ArrayLike,
    queries: ArrayLike,
    kind: str,
    *,
    k: int = 10,
    exact_rows: ArrayLike | None = None,
    folder: str | Path | None = None,
) -> dict[str, Any]:
    """Return what searching ``matrix`` for ``queries`` takes in one of ``SEARCHES``, as a dictionary.

    ``matrix`` (n, d) holds the vectors to search in, ``queries`` (q, d) those to search for; ``kind`` is
    one of ``build_index``, with its default options, or ``"lancedb-ivf"``, a store after its
    ``create_index``. The result holds

    - ``kind``, ``name`` (what that kind is), ``settings`` (its options, as they were), ``vectors`` (n),
      ``dimensions`` (d), ``queries`` (how many were asked at once, those that ``recall`` is of);
    - ``build_s``: seconds until it can be searched, of a store until it is on disk;
    - ``one_ms``: milliseconds for a query asked alone, the median of up to 200;
    - ``batch_ms``: milliseconds for a query of all those asked at once (a store takes them in turn);
    - ``recall@10`` (of other k ``recall@k``): the mean share of the k nearest vectors that it finds;
    - ``bytes``: what it holds for a vector, written to a file: the vector itself, its number, its
      links in a graph, its share of the cells' centres; of a store all that lies in its folder, where
      the texts are left empty.

    Where a query alone takes long, only as many are asked as fit into ten seconds, but at least 20.
    Threads are as many as each library takes by itself. ``exact_rows`` (q, k) are the rows of an exact
    search for these queries, where they are known already; ``folder`` is where to write for the while
    of the call, without it the system's folder for what is temporary.

    Raises ``ValueError`` for another kind, for k below 1, for no vectors or no queries, for NaN, and for
    shapes that do not fit; ``ImportError`` with the line to install where the kind's package is missing.

    >>> measured = measure_search(np.eye(50), np.eye(50)[:20], "exact", k=1)
    >>> measured["recall@1"], measured["vectors"], measured["queries"]
    (1.0, 50, 20)
    """
    if kind not in SEARCHES:
        raise ValueError(f"There is no kind {kind!r} to measure: choose one of {list(SEARCHES)}.")
    matrix, queries = finite_matrix(matrix, "matrix"), finite_matrix(queries, "queries")
    if not len(matrix) or not len(queries) or matrix.shape[1] != queries.shape[1]:
        raise ValueError(
            f"matrix has shape {matrix.shape} and queries {queries.shape}: give at least one vector "
            "of each, of equal length."
        )
    k = min(check_k(k), len(matrix))
    if exact_rows is None:
        exact_rows = index_kind("exact").build(matrix).search(queries, k)[1]
    exact_rows = np.asarray(exact_rows)
    if exact_rows.shape != (len(queries), k):
        raise ValueError(
            f"exact_rows has shape {exact_rows.shape}: give the {k} nearest rows of each of "
            f"{len(queries)} queries."
        )
    with tempfile.TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
        build = _in_memory if kind in KINDS else _on_disk
        began = time.perf_counter()
        search, settings, room = build(kind, matrix, Path(place))
        build_s = time.perf_counter() - began

        search(queries[:1], k)  # what only the first query needs, as a file's opening
        one = _seconds_alone(search, queries, k)
        asked = queries[: max(_FEWEST, int(_SECONDS / one))]
        rows, batch = _seconds_together(search, asked, k)
        return {
            "kind": kind,
            "name": SEARCHES[kind],
            "settings": settings,
            "vectors": len(matrix),
            "dimensions": matrix.shape[1],
            "queries": len(asked),
            "build_s": build_s,
            "one_ms": 1000 * one,
            "batch_ms": 1000 * batch / len(asked),
            f"recall@{k}": recall_against_exact(rows, exact_rows[: len(asked)]),
            "bytes": room() / len(matrix),
        }


def _in_memory(
    kind: str, matrix: np.ndarray, place: Path
) -> tuple[Callable[[np.ndarray, int], _Found], dict[str, int], Callable[[], int]]:
    """Return a search, its settings, and a function that gives the bytes of all its vectors."""
    built = index_kind(kind).build(matrix)
    names = {"faiss": ("nlist", "nprobe"), "hnsw": ("M", "ef_construction")}.get(kind, ())
    settings = {name: int(getattr(built.index, name)) for name in names} | built.settings

    def room():
        built.write(place / "vectors")
        return (place / "vectors").stat().st_size

    return built.search, settings, room


def _on_disk(
    kind: str, matrix: np.ndarray, place: Path
) -> tuple[Callable[[np.ndarray, int], _Found], dict[str, int], Callable[[], int]]:
    """Return the same of a ``Store`` of these vectors, whose ids are the rows' numbers."""
    count, folder = len(matrix), place / "store"
    open_table(folder)  # says what to install
    schema = table_schema({}, matrix.shape[1], {"fingerprint": None, "prompt": None})
    # Of one length, so that equal scores are in the order of the rows.
    ids, empty = [f"{row:09d}" for row in range(count)], [""] * count
    create_table(folder, table_rows(schema, matrix, {"id": ids, "text": empty, "words": empty}))
    store, settings = Store.open(folder), {}
    if kind != STORE:
        settings = {"nlist": usual_nlist(count), "nprobe": usual_nprobe(usual_nlist(count))}
        store.create_index(**settings)

    def search(vectors, k):
        hits = store.search(vectors, k)
        scores = np.array([[hit.score for hit in found] for found in hits], np.float32)
        return scores, np.array([[int(hit.id) for hit in found] for found in hits], np.int64)

    def room():
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    return search, settings, room


def _seconds_alone(search, queries, k):
    seconds: list[float] = []
    for number in range(min(_SINGLES, len(queries))):
        began = time.perf_counter()
        search(queries[number : number + 1], k)
        seconds.append(time.perf_counter() - began)
        if sum(seconds) > _SECONDS and len(seconds) >= _FEWEST:
            break
    return median(seconds)


def _seconds_together(search, queries, k):
    """Return the rows found, and the seconds: of what is fast, the median of five times."""
    seconds: list[float] = []
    while not seconds or (len(seconds) < 5 and sum(seconds) < _SECONDS / 5):
        began = time.perf_counter()
        _, rows = search(queries, k)
        seconds.append(time.perf_counter() - began)
    return rows, median(seconds)
