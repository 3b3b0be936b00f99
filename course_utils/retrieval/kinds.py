"""The kinds of index behind one signature: exact, FAISS's inverted file, hnswlib's graph.

Each kind has ``build(matrix, **options)``, ``search(vectors, k)``, ``shape`` (n, d), ``write(path)``
and ``read(path, ...)``; ``KINDS`` names them. ``build_index`` and ``search`` are what to call.
A ``Store`` is no index in memory: for its kind, ``"lancedb"``, the table on disk is made here.
"""

import inspect
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from course_utils.arrays import finite_matrix
from course_utils.models.files import require

# Scores of one block take queries x documents x 4 bytes: 16 MB, however large the corpus is.
_QUERY_BLOCK = 256
_DOCUMENT_BLOCK = 16_384


def top_k(scores: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the k highest scores of each row and their columns, both (q, min(k, n)).

    Highest first; equal scores by column, lower first, also where a tie straddles the k-th place.

    >>> top_k(np.array([[1.0, 3.0, 3.0, 2.0]]), 2)
    (array([[3., 3.]]), array([[1, 2]]))
    """
    count = scores.shape[1]
    k = min(k, count)
    columns = np.argpartition(scores, count - k, axis=1)[:, count - k :]
    chosen = np.take_along_axis(scores, columns, axis=1)
    # argpartition takes any of those that tie for the last place: settle these rows by column.
    lowest = chosen.min(axis=1, keepdims=True)
    for row in np.flatnonzero((scores >= lowest).sum(axis=1) > k):
        candidates = np.flatnonzero(scores[row] >= lowest[row])
        columns[row] = candidates[np.argsort(-scores[row, candidates], kind="stable")[:k]]
        chosen[row] = scores[row, columns[row]]
    order = np.lexsort((columns, -chosen), axis=1)
    return np.take_along_axis(chosen, order, axis=1), np.take_along_axis(columns, order, axis=1)


def scan(
    queries: np.ndarray,
    documents: np.ndarray,
    k: int,
    score: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Return the k best of ``documents`` for each of ``queries``, in bounded memory.

    Both are arrays; ``score(query_block, document_block)`` returns their (q, n) scores. A block's
    k best contain every row of the overall k best that lies in that block, so keeping those and
    merging is exact. Returns scores and row numbers, as ``top_k`` does.
    """
    k = min(k, len(documents))
    results = []
    for first in range(0, len(queries), _QUERY_BLOCK):
        block = queries[first : first + _QUERY_BLOCK]
        best, rows = np.empty((len(block), 0), np.float32), np.empty((len(block), 0), np.int64)
        for start in range(0, len(documents), _DOCUMENT_BLOCK):
            new, columns = top_k(score(block, documents[start : start + _DOCUMENT_BLOCK]), k)
            best = np.concatenate([best, new], axis=1)
            rows = np.concatenate([rows, columns + start], axis=1)
            order = np.lexsort((rows, -best), axis=1)[:, :k]
            best = np.take_along_axis(best, order, axis=1)
            rows = np.take_along_axis(rows, order, axis=1)
        results.append((best, rows))
    if not results:
        return np.empty((0, k), np.float32), np.empty((0, k), np.int64)
    scores, places = zip(*results, strict=True)
    return np.concatenate(scores), np.concatenate(places)


@dataclass(frozen=True, eq=False)
class Exact:
    """Every document is compared with every query."""

    matrix: np.ndarray

    library: ClassVar[str | None] = None
    settings: ClassVar[dict] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors, of how many numbers."""
        return self.matrix.shape[0], self.matrix.shape[1]

    @classmethod
    def build(cls, matrix: np.ndarray) -> "Exact":
        """Return the kind over the rows of ``matrix`` (n, d), which is kept as it is."""
        return cls(matrix)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for each of ``vectors`` (q, d): scores and rows, (q, k) each."""
        return scan(vectors, self.matrix, k, lambda queries, documents: queries @ documents.T)

    def write(self, path: Path) -> None:
        """Write the vectors to ``path``."""
        with open(path, "wb") as file:
            np.save(file, self.matrix, allow_pickle=False)

    @classmethod
    def read(cls, path: Path, count: int, dimensions: int) -> "Exact":
        """Return what ``write`` wrote to ``path``: ``count`` vectors of ``dimensions`` numbers."""
        return cls(finite_matrix(np.load(path, allow_pickle=False), path.name))


def usual_nlist(count: int) -> int:
    """Return how many k-means cells ``count`` vectors get where nobody says so."""
    # 4 sqrt(n) cells balance the two loops of a query; k-means wants 39 points a cell.
    return max(1, min(round(4 * count**0.5), count // 39))


def usual_nprobe(nlist: int) -> int:
    """Return how many of ``nlist`` cells a query looks into where nobody says so."""
    return min(nlist, max(8, nlist // 8))


@dataclass(frozen=True, eq=False)
class Faiss:
    """Documents in k-means cells; a query looks into the nearest ones (IndexIVFFlat)."""

    index: Any

    library: ClassVar[str | None] = "faiss"
    settings: ClassVar[dict] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors, of how many numbers."""
        return self.index.ntotal, self.index.d

    @classmethod
    def build(
        cls,
        matrix: np.ndarray,
        *,
        nlist: int | None = None,
        nprobe: int | None = None,
        seed: int = 0,
    ) -> "Faiss":
        """Return the kind over the rows of ``matrix`` (n, d); options as in ``build_index``."""
        import faiss

        count, dimensions = matrix.shape
        nlist = nlist or usual_nlist(count)
        if not 1 <= nlist <= count:
            raise ValueError(f"nlist is {nlist}: choose between 1 and {count}, one a text at most.")
        cells = faiss.IndexFlatIP(dimensions)
        index = faiss.IndexIVFFlat(cells, dimensions, nlist, faiss.METRIC_INNER_PRODUCT)
        index.cp.seed, index.cp.spherical = seed, True
        index.train(matrix)
        index.add(matrix)
        index.nprobe = min(nlist, nprobe or usual_nprobe(nlist))
        return cls(index)

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for each of ``vectors`` (q, d): scores and rows, (q, k) each."""
        return _in_order(*self.index.search(vectors, k))

    def write(self, path: Path) -> None:
        """Write the vectors to ``path``."""
        import faiss

        faiss.write_index(self.index, str(path))

    @classmethod
    def read(cls, path: Path, count: int, dimensions: int) -> "Faiss":
        """Return what ``write`` wrote to ``path``: ``count`` vectors of ``dimensions`` numbers."""
        import faiss

        return cls(faiss.read_index(str(path)))


@dataclass(frozen=True, eq=False)
class Hnsw:
    """Documents as a layered graph of neighbours, walked greedily."""

    index: Any
    settings: dict

    library: ClassVar[str | None] = "hnswlib"

    @property
    def shape(self) -> tuple[int, int]:
        """How many vectors, of how many numbers."""
        return self.index.get_current_count(), self.index.dim

    @classmethod
    def build(
        cls,
        matrix: np.ndarray,
        *,
        M: int = 16,
        ef_construction: int = 200,
        ef: int = 64,
        seed: int = 0,
    ) -> "Hnsw":
        """Return the kind over the rows of ``matrix`` (n, d); options as in ``build_index``."""
        import hnswlib

        index = hnswlib.Index(space="ip", dim=matrix.shape[1])
        index.init_index(len(matrix), M=M, ef_construction=ef_construction, random_seed=seed)
        index.add_items(matrix, num_threads=1)
        return cls(index, {"ef": ef})

    def search(self, vectors: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for each of ``vectors`` (q, d): scores and rows, (q, k) each."""
        if not len(vectors):
            return np.empty((0, k)), np.empty((0, k), np.int64)
        self.index.set_ef(max(self.settings["ef"], k))
        try:
            rows, distances = self.index.knn_query(vectors, k)
        except RuntimeError as error:
            # Many equal vectors can cut the graph in pieces that no walk crosses.
            raise RuntimeError(
                f"The graph's walk met fewer than {k} texts: build the index with a larger M "
                "and ef_construction, or drop repeated texts."
            ) from error
        return _in_order(1 - distances, rows.astype(np.int64))

    def write(self, path: Path) -> None:
        """Write the vectors to ``path``."""
        self.index.save_index(str(path))

    @classmethod
    def read(cls, path: Path, count: int, dimensions: int, *, ef: int) -> "Hnsw":
        """Return what ``write`` wrote to ``path``: ``count`` vectors of ``dimensions`` numbers."""
        import hnswlib

        # hnswlib believes the caller about the width, and would read past the end of the vectors.
        # Its file opens with six sizes; the last two bound the bytes of one vector.
        with open(path, "rb") as file:
            *_, end, start = struct.unpack("=6Q", file.read(48))
        if end - start != 4 * dimensions:
            raise ValueError(
                f"{path} holds vectors of {(end - start) // 4} numbers, the index says "
                f"{dimensions}: save the index again."
            )
        index = hnswlib.Index(space="ip", dim=dimensions)
        index.load_index(str(path), max_elements=count)
        return cls(index, {"ef": ef})


KINDS: dict[str, Any] = {"exact": Exact, "faiss": Faiss, "hnsw": Hnsw}
STORE = "lancedb"


def index_kind(kind: str, options: Mapping[str, Any] | None = None) -> Any:
    """Return the class for ``kind``, once its name, its options and its package are known to be there.

    Raises ValueError for an unknown kind, TypeError for an unknown option and ImportError, with
    the line to install, for a missing package.
    """
    if kind == STORE:
        raise ValueError(
            f"An index of kind {kind!r} is a database on disk, which can only be built from texts: "
            f'build_index(model, corpus, kind="{kind}", folder="...").'
        )
    if kind not in KINDS:
        kinds = ", ".join(repr(name) for name in (*KINDS, STORE))
        raise ValueError(f"There is no index kind {kind!r}: choose one of {kinds}.")
    backend = KINDS[kind]
    known = list(inspect.signature(backend.build).parameters)[1:]
    for name in options or {}:
        if name not in known:
            raise TypeError(f"An index of kind {kind!r} has no option {name!r}, only {known}.")
    if backend.library:
        extra = "faiss" if backend.library == "faiss" else "ann"
        require(backend.library, extra, f"An index of kind {kind!r}")
    return backend


def _in_order(scores, rows):
    # The libraries leave ties in the order of discovery, and mark what they did not find by -1.
    scores = np.where(rows < 0, -np.inf, scores)
    order = np.lexsort((rows, -scores), axis=1)
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(rows, order, axis=1)


_TABLE = "texts"
ABOUT = b"course_utils"  # the key under which a table says who made its vectors
OWN_COLUMNS = ("id", "text", "words", "vector")
# What a column of a store can hold, by Arrow's name for it.
TYPES = {"string": "str", "int64": "int", "double": "float", "bool": "bool"}


def open_table(folder: Path) -> Any:
    """Return the table of the store in ``folder``, None where there is none.

    Raises ``ImportError``, with the line to install, without LanceDB.
    """
    lancedb = require("lancedb", "store", f"An index of kind {STORE!r}")
    if not (folder / f"{_TABLE}.lance").exists():
        return None
    # No time may pass before another process's change is seen.
    database = lancedb.connect(str(folder), read_consistency_interval=timedelta(0))
    return database.open_table(_TABLE)


def create_table(folder: Path, rows: Any) -> None:
    """Write a new table to ``folder``, of the rows that ``table_rows`` returned, words indexed."""
    import lancedb

    index_words(lancedb.connect(str(folder)).create_table(_TABLE, rows))


def index_words(table: Any) -> None:
    """Write the index of a table's words anew: words between spaces, as they are."""
    from lancedb.index import FTS

    plain: Any = dict.fromkeys(("lower_case", "stem", "remove_stop_words", "ascii_folding"), False)
    words = FTS(base_tokenizer="whitespace", max_token_length=None, **plain)
    table.create_index("words", config=words, replace=True)


def table_schema(types: Mapping[str, str], dimensions: int, about: Mapping[str, Any]) -> Any:
    """Return the schema of a store's table: ``types`` of its columns, and ``about`` its vectors."""
    import pyarrow as pa

    # Two merges at once of one new id both insert it, unless the table knows that ids are unique.
    key = {"lance-schema:unenforced-primary-key": "true"}
    fields = [
        pa.field("id", pa.string(), nullable=False, metadata=key),
        pa.field("text", pa.string(), nullable=False),
        pa.field("words", pa.string(), nullable=False),
        pa.field("vector", pa.list_(pa.float32(), dimensions), nullable=False),
    ]
    arrow = {kind: name for name, kind in TYPES.items()}
    fields += [pa.field(name, pa.type_for_alias(arrow[kind])) for name, kind in types.items()]
    return pa.schema(fields, metadata={ABOUT: json.dumps(about)})


def table_rows(schema: Any, matrix: np.ndarray, values: Mapping[str, list]) -> Any:
    """Return the rows to write: the vectors of ``matrix`` (n, d), and n values of each column."""
    import pyarrow as pa

    flat = pa.array(np.ascontiguousarray(matrix, np.float32).reshape(-1))
    columns = [
        pa.FixedSizeListArray.from_arrays(flat, matrix.shape[1])
        if field.name == "vector"
        else pa.array(values.get(field.name, [None] * len(matrix)), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
