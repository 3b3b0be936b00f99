"""An index of document vectors, exact or approximate, to be searched by vectors.

The score is the dot product. ``encode`` returns rows of unit length, so here that is the cosine.

One order holds everywhere: higher scores first, and equal scores by row number, lower first, so
that the same index and the same query always give the same list.
"""

import hashlib
import json
import operator
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.encoding.embedders import AnyEmbedder
from course_utils.encoding.encode import encode_document
from course_utils.files import refuse_foreign, restored, whole_folder
from course_utils.models.fingerprints import fingerprint_or_none, glance
from course_utils.models.roles import Role, resolve_prompt, underlying
from course_utils.retrieval.kinds import STORE, index_kind

if TYPE_CHECKING:
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.retrieval.store import Store

_ABOUT, _VECTORS = "index.json", "vectors.bin"

#: Texts to search in: a list, whose texts get the ids "0" to "n-1", or a dict from id to text.
Corpus: TypeAlias = Sequence[str] | Mapping[str, str]
OnLong: TypeAlias = Literal["warn", "chunk", "error"]


class Fingerprinted:
    """What holds one model's vectors of documents, and knows the model again."""

    fingerprint: str | None
    prompt: str | None
    # Models known to have made these vectors, each with a glance at it when that was found out.
    _makers: Any

    def remember(self, model: AnyEmbedder) -> None:
        """Keep in mind that this model, as it is now, made these vectors."""
        look = glance(model)
        if look is not None:
            self._makers[underlying(model)] = look

    def remembers(self, model: AnyEmbedder) -> bool:
        """Return whether the model is known to have made these vectors, and looks as it did then."""
        look = glance(model)
        return look is not None and self._makers.get(underlying(model)) == look


@dataclass(frozen=True, eq=False)
class Index(Fingerprinted):
    """Document vectors ready to be searched, with the texts and ids they belong to.

    ``ids`` and ``texts`` are tuples of length n, in row order; ``kind`` is ``"exact"``,
    ``"faiss"`` or ``"hnsw"``. ``fingerprint`` names the model that made the vectors, or is None
    where that is not known; ``role`` says what they were encoded as (``"document"``, ``"query"``, or
    None for plain ``encode``) and ``prompt`` after which words, where these were not the role's own.
    Make one with ``build_index``, or with ``from_matrix`` where the vectors exist already.

    >>> index = Index.from_matrix(np.eye(3, dtype=np.float32), texts=["x", "y", "z"])
    >>> scores, rows = index.search(np.array([[0.0, 1.0, 0.5]]), k=2)
    >>> rows.tolist(), scores.tolist()
    ([[1, 2]], [[1.0, 0.5]])
    """

    kind: str
    ids: tuple[str, ...]
    texts: tuple[str, ...] = field(repr=False)
    fingerprint: str | None
    dimensions: int
    _backend: Any = field(repr=False)
    role: Role | None = None
    prompt: str | None = None
    _makers: Any = field(default_factory=weakref.WeakKeyDictionary, repr=False)

    @classmethod
    def from_matrix(
        cls,
        matrix: ArrayLike,
        texts: Iterable[str],
        *,
        ids: Iterable[str] | None = None,
        kind: str = "exact",
        fingerprint: str | None = None,
        role: Role | None = None,
        prompt: str | None = None,
        **options: Any,
    ) -> "Index":
        """Return an ``Index`` over vectors that were computed before.

        ``matrix`` has shape (n, d), and row i belongs to ``texts[i]``; ids are ``"0"`` to
        ``"n-1"`` unless given. ``kind`` and ``options`` are those of ``build_index``. With the
        ``fingerprint`` of the model in the ``role`` (and after the ``prompt``) in which it made the
        vectors, ``search`` can refuse another.

        Raises ``ValueError`` when there are no rows, when the lengths differ, when an id comes twice
        or when a number is NaN or infinite (the row is named); ``TypeError`` for an unknown option.
        """
        matrix = finite_matrix(matrix, "matrix")
        texts = tuple(texts)
        ids = tuple(str(row) for row in range(len(texts))) if ids is None else tuple(ids)
        if not len(matrix):
            raise ValueError("There is nothing to index: matrix has no rows. Give at least one.")
        if not len(matrix) == len(texts) == len(ids):
            raise ValueError(
                f"matrix has {len(matrix)} rows, texts {len(texts)} and ids {len(ids)} entries: "
                "give one text and one id for each row."
            )
        _check_ids(ids)
        backend = index_kind(kind, options).build(matrix, **options)
        return cls(kind, ids, texts, fingerprint, matrix.shape[1], backend, role, prompt)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def matrix(self) -> np.ndarray:
        """The document vectors, (n, d) float32; only an exact index keeps them as they were.

        Raises ``AttributeError`` for the other kinds.
        """
        if self.kind != "exact":
            raise AttributeError(
                f"An index of kind {self.kind!r} keeps its vectors in its own form; "
                'build one with kind="exact" for .matrix.'
            )
        return self._backend.matrix

    def search(self, vectors: ArrayLike, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for each vector: scores (q, k) float32 and row numbers (q, k) int64.

        ``vectors`` has shape (q, d). Both results are ordered by score, highest first, ties by
        row number. With k > n there are n columns. An approximate index can find fewer than k
        rows; the places left over come last, with row -1 and score -inf.

        Raises ``ValueError`` for k < 1, for another number of dimensions than the index has, and for
        NaN or infinite numbers.
        """
        vectors = finite_matrix(vectors, "vectors")
        if vectors.shape[1] != self.dimensions:
            raise ValueError(
                f"vectors have {vectors.shape[1]} dimensions, the index has {self.dimensions}: "
                "encode queries and documents with the same model."
            )
        k = min(check_k(k), len(self))
        scores, rows = self._backend.search(vectors, k)
        return scores.astype(np.float32, copy=False), rows.astype(np.int64, copy=False)

    def save(self, folder: str | Path) -> Path:
        """Write the index to ``folder`` and return its path: JSON and vectors, never a pickle.

        The folder appears whole or not at all; an index that is there already is replaced. Raises
        ``FileExistsError`` when ``folder`` holds something other than an index.
        """
        folder = refuse_foreign(folder, _ABOUT, "index")
        with whole_folder(folder) as fresh:
            self._backend.write(fresh / _VECTORS)
            about = {
                "kind": self.kind,
                "fingerprint": self.fingerprint,
                "role": self.role,
                "prompt": self.prompt,
                "dimensions": self.dimensions,
                "settings": self._backend.settings,
                "sha256": sha256(fresh / _VECTORS),
                "ids": self.ids,
                "texts": self.texts,
            }
            (fresh / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> "Index":
        """Return the ``Index`` that ``save`` wrote to ``folder``.

        Raises ``FileNotFoundError`` when there is none, ``ValueError`` naming the file when one is
        damaged or does not fit the other, and ``ImportError`` as ``build_index`` does.
        """
        folder = restored(folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            kind, ids, texts = about["kind"], tuple(about["ids"]), tuple(about["texts"])
            settings, dimensions = about["settings"], about["dimensions"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / _ABOUT} is damaged ({error}): save it again.") from error
        if sha256(folder / _VECTORS) != about["sha256"]:
            raise ValueError(f"{folder / _VECTORS} is not the file that was saved: save it again.")
        backend = index_kind(kind).read(folder / _VECTORS, len(ids), dimensions, **settings)
        if backend.shape != (len(ids), dimensions) or len(ids) != len(texts):
            raise ValueError(
                f"{folder}: {_VECTORS} holds vectors of shape {backend.shape}, {_ABOUT} "
                f"{len(ids)} ids, {len(texts)} texts and {dimensions} dimensions: save it again."
            )
        # Before version 0.2 an index knew no roles.
        encoded = about.get("role"), about.get("prompt")
        return cls(kind, ids, texts, about["fingerprint"], dimensions, backend, *encoded)


@overload
def build_index(
    model: AnyEmbedder, corpus: Corpus, *, kind: Literal["lancedb"], **options: Any
) -> "Store":
    """Return a ``Store``."""


@overload
def build_index(
    model: AnyEmbedder, corpus: Corpus, *, kind: str = "exact", **options: Any
) -> Index:
    """Return an ``Index``."""


def build_index(
    model: AnyEmbedder,
    corpus: Corpus,
    *,
    kind: str = "exact",
    batch_size: int = 32,
    prompt: str | None = None,
    prompt_name: str | None = None,
    on_long: OnLong = "warn",
    cache: "EmbeddingCache | None" = None,
    show_progress_bar: bool | None = None,
    **options: Any,
) -> "Index | Store":
    """Return an ``Index`` of ``corpus``, encoded with ``model`` as documents.

    ``corpus`` is a list of texts, which get the ids ``"0"`` to ``"n-1"``, or a dict from id to
    text. ``batch_size``, ``prompt``, ``prompt_name``, ``on_long``, ``cache`` and
    ``show_progress_bar`` are those of ``encode_document``; further ``options`` belong to the kinds:

    ``"exact"``
        compares with every document: always right, time grows with n · d. No options.
    ``"faiss"``
        an inverted file (Sivic & Zisserman 2003; FAISS ``IndexIVFFlat``): k-means sorts the
        documents into ``nlist`` cells, a query looks into the ``nprobe`` nearest. Chosen over
        FAISS's graph because ``"hnsw"`` is a graph already: two ideas to compare, not one twice.
        Options ``nlist`` (default about 4·√n, at least 39 documents a cell), ``nprobe`` (default
        an eighth of the cells, at least 8), ``seed=0``.
    ``"hnsw"``
        a layered graph of neighbours, walked greedily (Malkov & Yashunin 2016; hnswlib). Options
        ``M=16`` links a document, ``ef_construction=200`` and ``ef=64`` candidates kept while
        building and searching, ``seed=0``. Built on one thread, so that it is reproducible.
    ``"lancedb"``
        a database on disk: the result is a ``Store``, which can be added to, deleted from, filtered
        and reopened, and is searched exactly until its ``create_index`` is called. Options ``folder``
        (required, new or empty) and ``columns``, a dict from name to one value a text: str, int,
        float, bool, or None where it is missing, such as ``{"year": [2020, 2024]}``.

    Raises ``ValueError`` for an empty corpus or unknown kind; ``TypeError`` for a corpus that is one
    string, a text or id that is not a string (it is named), or an unknown option; ``ImportError``
    with the line to install when a kind's package is missing; ``FileExistsError`` for a ``folder``
    that holds something; and what ``encode`` raises.
    """
    if kind == STORE:
        from course_utils.retrieval.store import Store

        return Store.create(
            model, corpus, prompt=prompt, prompt_name=prompt_name, batch_size=batch_size,
            on_long=on_long, cache=cache, show_progress_bar=show_progress_bar, **options,
        )  # fmt: skip
    index_kind(kind, options)  # a wrong kind or option should not wait for the encoding
    ids, texts = ids_and_texts(corpus)
    matrix = encode_document(
        model,
        texts,
        batch_size=batch_size,
        prompt=prompt,
        prompt_name=prompt_name,
        on_long=on_long,
        cache=cache,
        show_progress_bar=show_progress_bar,
    )
    if prompt is None and prompt_name is not None:
        prompt = resolve_prompt(underlying(model), prompt_name=prompt_name)
    made = fingerprint_or_none(model, role="document", prompt=prompt)
    index = Index.from_matrix(
        matrix, texts, ids=ids, kind=kind, fingerprint=made, role="document", prompt=prompt,
        **options,
    )  # fmt: skip
    index.remember(model)
    return index


def recall_against_exact(approx_rows: ArrayLike, exact_rows: ArrayLike) -> float:
    """Return the mean share of the exact nearest rows that an approximate search found, 0 to 1.

    Both have shape (q, k), row numbers as ``Index.search`` returns them; for each query
    |found ∩ exact| / |exact|, then the mean over queries. Order within a row does not count, nor
    do places marked -1.

    Raises ``ValueError`` when the numbers of queries differ, or there are none.

    >>> recall_against_exact([[1, 2], [5, -1]], [[2, 1], [5, 6]])
    0.75
    """
    approx_rows, exact_rows = np.asarray(approx_rows), np.asarray(exact_rows)
    if len(approx_rows) != len(exact_rows) or not exact_rows.size:
        raise ValueError(
            f"There are {len(approx_rows)} approximate and {len(exact_rows)} exact result rows: "
            "give the same queries to both searches, at least one, with k of at least 1."
        )
    shares = [
        len(set(exact) & set(found) - {-1}) / len(set(exact))
        for found, exact in zip(approx_rows.tolist(), exact_rows.tolist(), strict=True)
    ]
    return float(np.mean(shares))


def check_k(k: Any) -> int:
    """Return ``k`` as an int; raise ``ValueError`` unless it is a whole number of at least 1."""
    try:
        number = operator.index(k)
    except TypeError:
        number = 0
    if number < 1 or isinstance(k, bool):
        raise ValueError(f"k is {k!r}: ask for a whole number of results, at least 1.")
    return number


def ids_and_texts(corpus: Corpus) -> tuple[list[str], list[str]]:
    """Return the ids and the texts of a corpus, in row order.

    Raises ``ValueError`` for an empty corpus, ``TypeError`` for one that is a string, and for a text
    or an id that is not (it is named).

    >>> ids_and_texts({"a": "wave"}), ids_and_texts(["wave"])
    ((['a'], ['wave']), (['0'], ['wave']))
    """
    if isinstance(corpus, Mapping):
        texts = checked_texts(corpus.values(), "corpus", names=list(corpus))
        ids = list(corpus)
        _check_ids(ids)
    else:
        texts = checked_texts(corpus, "corpus")
        ids = [str(row) for row in range(len(texts))]
    if not texts:
        raise ValueError("The corpus is empty: give at least one text to search in.")
    return ids, texts


def checked_texts(texts: Iterable[Any], name: str, names: Sequence[Any] | None = None) -> list[str]:
    """Return ``texts`` as a list; raise ``TypeError`` for one string and for what is no string.

    ``name`` is what an error calls them, ``names`` what it calls each, else its number.
    """
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name} is one string: put it in a list, [text].")
    texts = list(texts)
    for number, text in enumerate(texts):
        if not isinstance(text, str):
            place = number if names is None else repr(names[number])
            raise TypeError(
                f"{name} item {place} is a {type(text).__name__}, not a string: "
                "leave it out or convert it."
            )
    return texts


def checked_queries(query: str | Sequence[str]) -> list[str]:
    """Return a query, or a list of queries, as a list.

    Raises ``ValueError`` for a blank one (by its number), ``TypeError`` for what is no string.

    >>> checked_queries("wave")
    ['wave']
    """
    queries = [query] if isinstance(query, str) else checked_texts(query, "query")
    for number, text in enumerate(queries):
        if not text.strip():
            raise ValueError(f"Query {number} is blank: write what to look for.")
    return queries


def _check_ids(ids) -> None:
    seen = set()
    for row, name in enumerate(ids):
        if not isinstance(name, str):
            raise TypeError(f"The id {name!r} of row {row} is not a string: use str(id).")
        if name in seen:
            raise ValueError(f"The id {name!r} comes twice, again at row {row}: make ids unique.")
        seen.add(name)


def sha256(path: Path) -> str:
    """Return the SHA-256 sum of a file, in hexadecimal digits; raise ``OSError`` if there is none."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
