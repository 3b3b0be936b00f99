"""Vectors that were computed once, kept in one SQLite file.

A row is found by the fingerprint of the model and the SHA-256 of the text, so a vector of one model
can never be handed out for another. Each batch is one transaction of a write-ahead log: several
processes may write, and a process that dies in the middle loses the batch it was writing, no more.
A cache only saves time; whatever goes wrong with the file, encoding goes on without it.
"""

import hashlib
import sqlite3
import time
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix

BUSY_SECONDS = 30
_APPLICATION = 0x436F7572  # tells our files from other people's SQLite files
_LAYOUT = 1
_FIND = "SELECT text, tokens, checksum, vector FROM vectors WHERE fingerprint = ? AND text IN"
_QUERY_SIZE = 1000  # texts asked for in one SELECT
_SMALLEST = 512  # bytes of an SQLite file that is not empty


class EmbeddingCache:
    """Vectors on disk, found again by model fingerprint and text.

    ``path`` is the file; ``None`` means ``embeddings.sqlite`` in the course's cache folder. The file
    and its folder are made where they are missing. Use it as a context manager or call ``close``.
    Another process opens the same path for itself; one object belongs to one thread.

    A vector that is damaged is dropped and encoded anew. Where nothing can be read or written (a
    full or read-only disk, a damaged file, a lock that is not given up in 30 s) the cache warns once
    and is empty from then on. No file is ever moved or deleted.

    Raises ``ValueError`` if there is a file at ``path`` that is no embedding cache.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EmbeddingCache(pathlib.Path(folder) / "vectors.sqlite") as cache:
    ...         cache.put("model-a", ["one", "two"], np.eye(2, dtype=np.float32))
    ...         found = cache.get("model-a", ["two", "three"]), cache.get("model-b", ["two"])
    >>> found
    ({0: array([0., 1.], dtype=float32)}, {})
    """

    def __init__(self, path: str | Path | None = None):
        self._connection: sqlite3.Connection | None = None
        self.path = Path("embeddings.sqlite" if path is None else path)
        try:
            if path is None:
                from course_utils.models.loading import cache_dir

                self.path = cache_dir() / self.path
            self._open()
        except (sqlite3.Error, OSError) as error:
            self._switch_off(error)
        except ValueError as error:
            if path is not None:  # else nobody chose this file
                raise
            self._switch_off(error)

    def get(self, fingerprint: str, texts: Sequence[str]) -> dict[int, np.ndarray]:
        """Return the vectors that are known, as ``{index in texts: (d,) float32 array}``.

        The arrays are read-only. Texts that are not in the cache are absent from the answer.
        """
        found = self.lookup(fingerprint, texts)
        return {index: vector for part in found for index, vector, _ in part}

    def lookup(
        self, fingerprint: str, texts: Sequence[str]
    ) -> Iterator[list[tuple[int, np.ndarray, int]]]:
        """Yield lists of ``(index in texts, vector, tokens)`` for the texts that are known.

        A thousand texts at a time, so that what is found need never lie in memory twice. ``tokens``
        is the text's length as it was given to ``put``, 0 where none was given: with it, texts over
        a model's limit are reported from a warm cache as from a cold one.
        """
        for start in range(0, len(texts), _QUERY_SIZE):
            places: dict[bytes, list[int]] = {}
            for index, text in enumerate(texts[start : start + _QUERY_SIZE], start):
                places.setdefault(_digest(text), []).append(index)
            rows = self._guarded(partial(_select, fingerprint, list(places)), {})
            yield sorted(
                ((index, *row) for digest, row in rows.items() for index in places[digest]),
                key=itemgetter(0),
            )

    def put(
        self,
        fingerprint: str,
        texts: Sequence[str],
        matrix: ArrayLike,
        *,
        tokens: Iterable[int] | None = None,
    ) -> None:
        """Keep all rows, or (if the process dies) none of them.

        ``matrix`` is (n, d), stored as float32; ``tokens`` is n lengths, optional. Raises
        ``ValueError`` if there is not one row per text, or a row holds NaN or an infinity: a broken
        vector kept here would come back for ever.
        """
        vectors = finite_matrix(matrix, "matrix", dtype="<f4")
        counts = [0] * len(texts) if tokens is None else [int(count) for count in tokens]
        if not len(vectors) == len(texts) == len(counts):
            raise ValueError(
                f"The cache was given {len(texts)} texts, {len(counts)} token counts and a matrix of "
                f"shape {vectors.shape}; pass one row and one count per text."
            )
        rows = []
        for text, count, vector in zip(texts, counts, vectors, strict=True):
            digest, blob = _digest(text), vector.tobytes()
            rows.append((fingerprint, digest, count, _checksum(fingerprint, digest, blob), blob))
        self._guarded(lambda connection: _insert(connection, rows), None)

    def stats(self) -> dict[str, int]:
        """Return ``{"vectors": rows, "models": fingerprints, "bytes": size of the files}``."""
        count = "SELECT count(*), count(DISTINCT fingerprint) FROM vectors"
        vectors, models = self._guarded(lambda c: c.execute(count).fetchone(), (0, 0))
        files = [self.path, *_companions(self.path)]
        size = sum(file.stat().st_size for file in files if file.is_file())
        return {"vectors": vectors, "models": models, "bytes": size}

    def clear(self) -> None:
        """Forget every vector of every model, and give the space back."""

        def forget(connection):
            with connection:
                connection.execute("DELETE FROM vectors")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._guarded(forget, None)

    def close(self) -> None:
        """Close the file; this object cannot be used afterwards."""
        if self._connection is not None:
            self._connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"EmbeddingCache({str(self.path)!r})"

    def _open(self):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if self.path.is_file() and 0 < self.path.stat().st_size < _SMALLEST:
            raise ValueError(_no_cache(self.path))  # SQLite would write over it
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE")
        try:
            _patiently(lambda: _prepare(connection, self.path))
        except BaseException as error:
            connection.close()
            # Left to SQLite to find out: were this process to open the file beside it and close it
            # again, it would lose the locks of all its connections to it (sqlite.org, How To Corrupt
            # An SQLite Database File, section 2.2), and other processes would write over them.
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                raise ValueError(_no_cache(self.path)) from None
            raise
        self._connection = connection

    def _guarded(self, action, otherwise):
        """Return what ``action`` does with the connection, or ``otherwise`` where it cannot."""
        if self._connection is None:
            return otherwise
        try:
            return action(self._connection)
        except sqlite3.ProgrammingError:
            raise  # a closed cache, or one used from two threads: the caller's mistake
        except sqlite3.Error as error:
            self._switch_off(error)
            return otherwise

    def _switch_off(self, error):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        warnings.warn(
            f"The embedding cache {self.path} cannot be used ({error}); encoding goes on without it. "
            "Free some space, delete the file if it is damaged, or pass EmbeddingCache(path) a file "
            "you can write.",
            RuntimeWarning,
            stacklevel=2,
        )


def _no_cache(path):
    return (
        f"{path} is not an embedding cache; pass another path. (If it once was one, it is damaged "
        "beyond reading: delete it, nothing is lost but time.)"
    )


def _prepare(connection, path):
    """Make a new file ours, or check that an old one is."""
    # One statement, since another process may be making the file at this moment.
    application, layout, tables = connection.execute(
        "SELECT (SELECT application_id FROM pragma_application_id), "
        "(SELECT user_version FROM pragma_user_version), (SELECT count(*) FROM sqlite_master)"
    ).fetchone()
    if application != _APPLICATION and (application or layout or tables):
        raise ValueError(
            f"{path} is an SQLite file of another program, not an embedding cache; pass another path."
        )
    if application == _APPLICATION and layout != _LAYOUT:
        raise sqlite3.DatabaseError(f"its layout is number {layout}, this course reads {_LAYOUT}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    if tables:
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(f"PRAGMA application_id = {_APPLICATION}")
        connection.execute(f"PRAGMA user_version = {_LAYOUT}")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS vectors (fingerprint TEXT NOT NULL, text BLOB NOT NULL, "
            "tokens INTEGER NOT NULL, checksum INTEGER NOT NULL, vector BLOB NOT NULL, "
            "UNIQUE (fingerprint, text))"
        )


def _patiently(action):
    """Do ``action`` again while another process holds the lock that a new file needs.

    SQLite's own patience (the busy timeout) does not cover the change to a write-ahead log.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return action()
        except sqlite3.OperationalError as error:
            busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _select(fingerprint, digests, connection):
    marks = ",".join("?" * len(digests))
    found, damaged = {}, []
    for digest, tokens, checksum, blob in connection.execute(
        f"{_FIND} ({marks})",
        (fingerprint, *digests),
    ):
        # SQLite notices a broken page, not a changed byte within a vector.
        if checksum != _checksum(fingerprint, digest, blob):
            damaged.append((fingerprint, digest))
        else:
            found[digest] = np.frombuffer(blob, dtype="<f4"), tokens
    if damaged:
        warnings.warn(
            f"{len(damaged)} vectors of the embedding cache do not fit their checksums; they were "
            "dropped and are encoded anew.",
            RuntimeWarning,
            stacklevel=2,
        )
        with connection:
            connection.executemany(
                "DELETE FROM vectors WHERE fingerprint = ? AND text = ?", damaged
            )
    return found


def _insert(connection, rows):
    with connection:
        connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?, ?)", rows)


def _digest(text):
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _checksum(fingerprint, digest, blob):
    return zlib.crc32(blob, zlib.crc32(digest, zlib.crc32(fingerprint.encode())))


def _companions(path):
    return [path.with_name(path.name + end) for end in ("-wal", "-shm")]
