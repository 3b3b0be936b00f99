"""A store: texts, vectors and columns in a database on disk, to be added to and deleted from.

An ``Index`` is built once and lives in memory. A ``Store`` (LanceDB, a library and no server) lives
in a folder, and every change of it is one commit.
"""

import functools
import json
import math
import operator
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.encoding.embedders import AnyEmbedder
from course_utils.encoding.encode import encode_document
from course_utils.files import refuse_foreign, whole_folder
from course_utils.models.fingerprints import fingerprint_or_none
from course_utils.models.roles import resolve_prompt, underlying
from course_utils.retrieval.index import (
    Corpus,
    Fingerprinted,
    OnLong,
    check_k,
    checked_queries,
    checked_texts,
    ids_and_texts,
)
from course_utils.retrieval.keywords import words_of
from course_utils.retrieval.kinds import (
    ABOUT,
    OWN_COLUMNS,
    TYPES,
    create_table,
    index_words,
    open_table,
    table_rows,
    table_schema,
    usual_nlist,
    usual_nprobe,
)
from course_utils.retrieval.searching import Hit, check_same_model

if TYPE_CHECKING:
    from course_utils.encoding.cache import EmbeddingCache

_PROBES = b"nprobe"
_SMALL = 1_000  # texts; up to here the words are indexed anew at every change
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne,
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip

#: What else is known of the texts: for each column a value a text, in the order of the texts.
Columns: TypeAlias = Mapping[str, Sequence[str | int | float | bool | None]]


class Store(Fingerprinted):
    """Texts in a folder on disk, to be searched by vectors and by words, changed and reopened.

    ``build_index(..., kind="lancedb", folder=...)`` makes one, ``Store.open(folder)`` opens it again,
    ``search`` searches it. ``fingerprint``, ``role`` and ``prompt`` are those of ``Index``;
    ``dimensions`` is the length of the vectors, ``columns`` maps each column to the type of its values.

    What a call that changes the store has returned from is on disk: killed at any moment, the store
    holds a call's whole work or nothing of it. (A power cut is another matter: that the disk itself
    has written is not waited for.) Several processes may read and change one store; each sees what
    the others have finished, and an id stays unique.
    """

    kind, role = "lancedb", "document"

    def __init__(self, folder: Path, table: Any) -> None:
        about = json.loads(table.schema.metadata[ABOUT])
        self.folder = folder
        self.fingerprint: str | None = about["fingerprint"]
        self.prompt: str | None = about["prompt"]
        self.dimensions: int = table.schema.field("vector").type.list_size
        own = [field for field in table.schema if field.name not in OWN_COLUMNS]
        self.columns = {field.name: TYPES[str(field.type)] for field in own}
        self._table = table
        self._makers = weakref.WeakKeyDictionary()

    @classmethod
    def create(
        cls,
        model: AnyEmbedder,
        corpus: Corpus,
        *,
        folder: str | Path,
        columns: Columns | None = None,
        prompt: str | None = None,
        prompt_name: str | None = None,
        **encoding: Any,
    ) -> "Store":
        """Return a new ``Store`` in ``folder``; this is ``build_index`` with ``kind="lancedb"``.

        The folder appears whole or not at all. Raises ``FileExistsError`` where it holds a store
        already, or anything else, and what ``build_index`` raises.
        """
        folder = Path(folder).resolve()
        if open_table(folder) is not None:
            raise FileExistsError(
                f"{folder} holds a store already: open it by Store.open(folder), or give another."
            )
        refuse_foreign(folder, "", "store")
        ids, texts = ids_and_texts(corpus)
        types, values = _typed(columns or {}, len(texts))
        matrix = encode_document(model, texts, prompt=prompt, prompt_name=prompt_name, **encoding)
        if prompt is None and prompt_name is not None:
            prompt = resolve_prompt(underlying(model), prompt_name=prompt_name)
        made = fingerprint_or_none(model, role="document", prompt=prompt)
        schema = table_schema(types, matrix.shape[1], {"fingerprint": made, "prompt": prompt})
        with whole_folder(folder) as fresh:
            create_table(fresh, table_rows(schema, matrix, _own(ids, texts) | values))
        (store := cls.open(folder)).remember(model)
        return store

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Return the ``Store`` that was made in ``folder``.

        Raises ``FileNotFoundError`` where there is none, ``ValueError`` for a database that
        ``build_index`` did not make, ``ImportError`` with the line to install without LanceDB.
        """
        folder = Path(folder).resolve()
        table = open_table(folder)
        if table is None:
            raise FileNotFoundError(
                f'There is no store in {folder}: build_index(..., kind="lancedb", folder=...) makes one.'
            )
        if ABOUT not in (table.schema.metadata or {}):
            raise ValueError(f"The database in {folder} was not made by build_index: open another.")
        return cls(folder, table)

    def __len__(self) -> int:
        return self._table.count_rows()

    def __repr__(self) -> str:
        return f"Store of {len(self):,} texts with columns {self.columns} in {self.folder.name}"

    def add(
        self,
        model: AnyEmbedder,
        corpus: Mapping[str, str],
        *,
        columns: Columns | None = None,
        batch_size: int = 32,
        on_long: OnLong = "warn",
        cache: "EmbeddingCache | None" = None,
        show_progress_bar: bool | None = None,
    ) -> int:
        """Add texts, a dict from id to text, all or none; return how many of the ids are new.

        As in a dict, a text whose id is there already takes the other's place, with all its columns.
        ``columns`` are some of those that the store was made with; a value left out is missing, and
        no ``where`` finds it. The other options are those of ``encode_document``.

        Raises ``ValueError`` for another model than the store's, a column that it does not have, and
        values that are too few or too many; ``TypeError`` for a corpus that is no dict (row numbers
        would replace texts), a value that is not of its column's type; and what ``encode`` raises.
        """
        if not isinstance(corpus, Mapping):
            raise TypeError(
                f"corpus is a {type(corpus).__name__}: give a dict from id to text, since by their "
                "row numbers the new texts would take the place of others."
            )
        if not corpus:
            return 0
        check_same_model(model, self)
        ids, texts = ids_and_texts(corpus)
        _, values = _typed(columns or {}, len(texts), self.columns)
        matrix = encode_document(
            model, texts, prompt=self.prompt, batch_size=batch_size, on_long=on_long, cache=cache,
            show_progress_bar=show_progress_bar,
        )  # fmt: skip
        self._check_width(matrix, "the new vectors")
        merge = self._table.merge_insert("id").when_matched_update_all()
        rows = table_rows(self._table.schema, matrix, _own(ids, texts) | values)
        done = merge.when_not_matched_insert_all().execute(rows)
        self._settle(len(ids))
        return done.num_inserted_rows

    def delete(self, ids: Iterable[str]) -> int:
        """Delete the texts with these ids, all or none; return how many there were.

        An id that is not there is passed over. No search finds a deleted text again, but its bytes
        can stay in the files: where it must be gone, build the store anew without it.

        Raises ``TypeError`` for ids that are one string, or hold something else than strings.
        """
        names = checked_texts(ids, "ids")
        deleted = self._table.delete(_condition({"id": names}, self.columns)).num_deleted_rows
        if deleted:
            self._settle(deleted)
        return deleted

    def compact(self) -> None:
        """Write small files into larger ones, index all words anew, drop what only the past needs.

        The words are then scored exactly. Between two calls their statistics (how many texts hold a
        word, how long a text is) can be a tenth of the store behind: ``add`` and ``delete`` renew them
        when that much has changed, in a store of 1,000 texts or fewer each time. Call it while no
        other process uses the store: it deletes the older versions that one may be reading.
        """
        self._refresh()
        with warnings.catch_warnings():  # of what the sentence above says
            warnings.simplefilter("ignore", UserWarning)
            self._table.optimize(cleanup_older_than=timedelta(0))

    def create_index(self, *, nlist: int | None = None, nprobe: int | None = None) -> None:
        """Add an approximate index (IVF) of the vectors, which ``search`` uses from then on.

        Until then every vector is compared, as in an exact index. ``nlist`` and ``nprobe`` are those
        of ``kind="faiss"``, but all cells are looked into where those hold fewer than k texts. A score
        is still exact, only which texts are met is not. Vectors added later are all compared until a
        tenth is new and they are sorted into the cells, too.

        Raises ``ValueError`` for an ``nlist`` or ``nprobe`` below 1 or an ``nlist`` above n.
        """
        from lancedb.index import IvfFlat

        count = len(self)
        if nlist is None:
            nlist = usual_nlist(count)
        nprobe = usual_nprobe(nlist) if nprobe is None else min(nlist, nprobe)
        if not 1 <= nlist <= max(1, count) or nprobe < 1:
            raise ValueError(
                f"nlist is {nlist} and nprobe {nprobe}: choose between 1 and {count}, a text a cell."
            )
        probes = {_PROBES.decode(): str(nprobe)}
        self._table.update_field_metadata({"path": "vector", "metadata": probes})
        cells = IvfFlat(distance_type="dot", num_partitions=nlist)
        self._table.create_index("vector", config=cells, replace=True)

    def search(
        self, vectors: ArrayLike, k: int, *, where: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return, for each of ``vectors`` (q, d), the k texts with the highest dot products.

        ``where`` is that of ``course_utils.search``, which encodes the queries first. Equal scores are
        ordered by id. Raises ``ValueError`` for k < 1, another number of dimensions, NaN or infinite
        numbers, and what a ``where`` raises.
        """
        vectors, k = finite_matrix(vectors, "vectors"), check_k(k)
        self._check_width(vectors, "vectors")
        condition = _condition(where, self.columns)
        probes = int((self._table.schema.field("vector").metadata or {}).get(_PROBES, 1))
        found = []
        for vector in vectors:
            query = self._table.search(vector, vector_column_name="vector").distance_type("dot")
            found.append(self._best(query.nprobes(probes), condition, k, "_distance"))
        return found

    def search_words(
        self, query: str | Sequence[str], k: int, *, where: Mapping[str, Any] | None = None
    ) -> list[list[Hit]]:
        """Return, for each query, the k texts with the highest BM25 scores for its words.

        The words are those of ``KeywordIndex``, from an index on disk; the scores are 2.2 times its
        scores with k1=1.2 (the factor k1 + 1 of the textbook's formula), with the statistics of all
        texts that have a word, whatever ``where`` says. A text that shares no word is no hit. Equal
        scores are ordered by id. Raises ``ValueError`` for k < 1, a blank query, and what a ``where`` raises.
        """
        from lancedb.query import MatchQuery

        k, condition = check_k(k), _condition(where, self.columns)
        found: list[list[Hit]] = []
        for text in checked_queries(query):
            words = MatchQuery(" ".join(words_of(text)), "words")
            asked = self._table.search(words, query_type="fts")
            found.append(self._best(asked, condition, k, "_score") if words.query else [])
        return found

    def _best(self, query, condition, k, column) -> list[Hit]:
        """Return the k best hits of a query; ties are settled by id, also at the k-th place."""
        query = query.select(["id", "text", column])
        if condition is not None:
            query = query.where(condition)
        count, sign = len(self), 1 if column == "_distance" else -1
        k = min(k, count)
        if not k:
            return []
        limit, cells = k + 1, sign == 1
        while True:
            rows = query.limit(limit).to_arrow().to_pylist()
            if cells and len(rows) < k:  # those looked into hold too few that fit: look into all
                query, cells = query.maximum_nprobes(0), False
            elif len(rows) < limit or limit > count or rows[-1][column] != rows[k - 1][column]:
                break
            else:
                limit *= 2
        rows.sort(key=lambda row: (sign * row[column], row["id"]))
        return [
            # LanceDB's distance of dot products is 1 - score.
            Hit(row["id"], 1 - row[column] if sign == 1 else row[column], row["text"], rank)
            for rank, row in enumerate(rows[:k], start=1)
        ]

    def _check_width(self, matrix, name):
        if matrix.shape[1] != self.dimensions:
            raise ValueError(
                f"{name} have {matrix.shape[1]} dimensions, the store has {self.dimensions}: "
                "encode queries and documents with the same model."
            )

    def _settle(self, changed):
        count = len(self)
        waiting = self._table.index_stats("words_idx")
        changed = max(changed, waiting.num_unindexed_rows if waiting else count)
        if count <= _SMALL or 10 * changed >= count:
            # The change itself is done. What is left undone here, another process being at it, only
            # makes the statistics older, and the next change tries again.
            with suppress(RuntimeError, OSError, ValueError):
                self._refresh()

    def _refresh(self):
        self._table.optimize()
        index_words(self._table)


def _own(ids, texts):
    return {"id": ids, "text": texts, "words": [" ".join(words_of(text)) for text in texts]}


def _typed(columns: Columns, count: int, known: Mapping[str, str] | None = None) -> tuple:
    """Return each column's type and its values, checked; with ``known``, types must be those."""
    types: dict[str, str] = {}
    checked: dict[str, list] = {}
    for name, values in columns.items():
        if known is not None and name not in known:
            raise ValueError(f"The store has no column {name!r}, only {list(known)}.")
        taken = {other.casefold() for other in (*OWN_COLUMNS, *types)}
        if not name.isidentifier() or name.startswith("_") or name.casefold() in taken:
            raise ValueError(
                f"No column can be called {name!r}: use letters, digits and _, a letter first, and "
                f"none of {sorted(taken)}."
            )
        if isinstance(values, str | bytes) or len(values) != count:
            raise ValueError(
                f"columns[{name!r}]: give a list of {count} values, one for each text."
            )
        plain = [value.item() if isinstance(value, np.generic) else value for value in values]
        found = {type(value).__name__ for value in plain if value is not None}
        kind = "float" if found == {"int", "float"} else min(found, default="str")
        types[name] = kind = kind if known is None else known[name]
        checked[name] = [None if value is None else _value(name, value, kind) for value in plain]
    return types, checked


def _value(name: str, value: Any, kind: str) -> Any:
    """Return ``value`` if it is one of its column's type; raise where it is not."""
    value = value.item() if isinstance(value, np.generic) else value
    if kind == "float" and type(value) is int:
        value = float(value)
    if type(value).__name__ != kind or kind not in TYPES.values():
        raise TypeError(
            f"The column {name!r} has {value!r:.60}, of type {type(value).__name__}: give "
            f"{kind if kind in TYPES.values() else 'str, int, float or bool'}, and None for what is missing "
            "in a text (it cannot be searched for)."
        )
    if kind == "int" and not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} in the column {name!r} does not fit into 64 bits.")
    if kind != "float":
        return value
    if not math.isfinite(value):
        raise ValueError(f"{value} in the column {name!r}: give a number, or None if unknown.")
    return value + 0.0  # -0.0 is 0.0 for Python, and a number of its own for LanceDB


def _condition(where: Mapping[str, Any] | None, columns: Mapping[str, str]) -> Any:
    """Return ``where`` as an expression of LanceDB: no value is ever pasted into a query's text."""
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(
            f'where is a {type(where).__name__}: give a dict, {{"topic": "pay", "year": {{">": 2020}}}}.'
        )
    if not where:
        return None
    from lancedb.expr import col, lit

    known = {"id": "str", **columns}
    parts: list[Any] = []
    for name, wanted in where.items():
        if name not in known:
            raise ValueError(f"where names {name!r}; the store has the columns {list(known)}.")
        kind = known[name]
        if isinstance(wanted, list | tuple | set | frozenset):
            parts.append(col(name).isin([lit(_value(name, value, kind)) for value in wanted]))
            continue
        if wanted == {}:
            raise ValueError(f"where[{name!r}] is empty: give a value, or a sign with one.")
        for sign, value in (wanted if isinstance(wanted, Mapping) else {"==": wanted}).items():
            if sign not in _COMPARE:
                raise ValueError(f"where[{name!r}] has {sign!r}: use one of {list(_COMPARE)}.")
            parts.append(_COMPARE[sign](col(name), lit(_value(name, value, kind))))
    return functools.reduce(operator.and_, parts) if parts else None
