"""Vectors that were computed once, kept in one SQLite file.

A row is found by the fingerprint of the model and the SHA-256 of the text, so a vector of one model
can never be handed out for another. Each batch is one transaction of a write-ahead log: several
processes may write, and a process that dies in the middle loses the batch it was writing, no more.
A cache only saves time; whatever goes wrong with the file, encoding goes on without it.
"""

import hashlib
import os
import sqlite3
import time
import warnings
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

BUSY_SECONDS = 30
_APPLICATION = 0x436F7572  # tells our files from other people's SQLite files
_LAYOUT = 1
_FIND = "SELECT text, tokens, checksum, vector FROM vectors WHERE fingerprint = ? AND text IN"
_QUERY_SIZE = 1000  # texts asked for in one SELECT
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_IOERR_SHORT_READ}


class _Damaged(Exception):
    """A row's checksum does not fit its contents, or the file's layout is not ours."""


class EmbeddingCache:
    """Vectors on disk, found again by model fingerprint and text.

    ``path`` is the file; ``None`` means ``embeddings.sqlite`` in the course's cache folder. The file
    and its folder are made where they are missing. Use it as a context manager or call ``close``.
    Another process opens the same path for itself; one object belongs to one thread.

    A damaged file is renamed to ``<name>.damaged-<time>`` with a warning and a new one is begun, on
    opening as well as in use. Where nothing can be read or written (a full or read-only disk, a lock
    that is not given up in 30 s) the cache warns once and is empty from then on.

    Raises ``ValueError`` if ``path`` is an SQLite file of another program: it is not ours to rename.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EmbeddingCache(pathlib.Path(folder) / "vectors.sqlite") as cache:
    ...         cache.put("model-a", ["one", "two"], np.eye(2, dtype=np.float32))
    ...         found = cache.get("model-a", ["two", "three"]), cache.get("model-b", ["two"])
    >>> found
    ({0: array([0., 1.], dtype=float32)}, {})
    """

    def __init__(self, path=None):
        if path is None:
            from course_utils.models.loading import cache_dir

            path = cache_dir() / "embeddings.sqlite"
        self.path = Path(path)
        self._connection = None
        self._file = None
        try:
            self._open()
        except _Damaged as error:
            self._set_aside(error)
        except (sqlite3.Error, OSError) as error:
            self._recover(error)

    def get(self, fingerprint, texts):
        """Return the vectors that are known, as ``{index in texts: (d,) float32 array}``.

        The arrays are read-only. Texts that are not in the cache are absent from the answer.
        """
        return {index: vector for index, (vector, _) in self.lookup(fingerprint, texts).items()}

    def lookup(self, fingerprint, texts):
        """Return ``{index in texts: (vector, tokens)}`` for the texts that are known.

        ``tokens`` is the text's length as it was given to ``put``, 0 where none was given: with it,
        texts over a model's limit are reported from a warm cache as from a cold one.
        """
        places = {}
        for index, text in enumerate(texts):
            places.setdefault(_digest(text), []).append(index)
        found = self._guarded(lambda connection: _select(connection, fingerprint, list(places)), {})
        entries = {i: entry for digest, entry in found.items() for i in places[digest]}
        return dict(sorted(entries.items()))

    def put(self, fingerprint, texts, matrix, *, tokens=None):
        """Return nothing; all rows are kept, or (if the process dies) none of them.

        ``matrix`` is (n, d), stored as float32; ``tokens`` is n lengths, optional. Raises
        ``ValueError`` if there is not one row per text, or a row holds NaN or an infinity: a broken
        vector kept here would come back for ever.
        """
        matrix = np.ascontiguousarray(matrix, dtype="<f4")
        tokens = [0] * len(texts) if tokens is None else [int(count) for count in tokens]
        if matrix.ndim != 2 or not len(matrix) == len(texts) == len(tokens):
            raise ValueError(
                f"The cache was given {len(texts)} texts, {len(tokens)} token counts and a matrix of "
                f"shape {matrix.shape}; pass one row and one count per text."
            )
        broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
        if len(broken):
            raise ValueError(
                f"The vector of texts[{broken[0]}] holds NaN or an infinity; the cache keeps finite "
                "vectors only. Look at what the model returned for that text."
            )
        rows = []
        for text, count, vector in zip(texts, tokens, matrix, strict=True):
            digest, blob = _digest(text), vector.tobytes()
            rows.append((fingerprint, digest, count, _checksum(fingerprint, digest, blob), blob))
        self._guarded(lambda connection: _insert(connection, rows), None)

    def stats(self):
        """Return ``{"vectors": rows, "models": fingerprints, "bytes": size of the files}``."""
        count = "SELECT count(*), count(DISTINCT fingerprint) FROM vectors"
        vectors, models = self._guarded(lambda c: c.execute(count).fetchone(), (0, 0))
        files = [self.path, *_companions(self.path)]
        size = sum(file.stat().st_size for file in files if file.is_file())
        return {"vectors": vectors, "models": models, "bytes": size}

    def clear(self):
        """Return nothing; every vector of every model is forgotten and the space given back."""

        def forget(connection):
            with connection:
                connection.execute("DELETE FROM vectors")
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

        self._guarded(forget, None)

    def close(self):
        """Return nothing; the file is closed, and this object cannot be used afterwards."""
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
        self._file = _identity(self.path)
        connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level="IMMEDIATE")
        try:
            _patiently(lambda: _prepare(connection, self.path))
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        self._file = _identity(self.path)

    def _guarded(self, action, otherwise):
        """Return what ``action`` does with the connection, or ``otherwise`` where it cannot."""
        if self._connection is None:
            return otherwise
        try:
            return action(self._connection)
        except (sqlite3.Error, _Damaged) as error:
            self._recover(error)
        if self._connection is None:
            return otherwise
        # The file is a new one: what was being written goes there, what was sought is not there.
        try:
            return action(self._connection)
        except (sqlite3.Error, _Damaged) as error:
            self._switch_off(error)
            return otherwise

    def _recover(self, error):
        if isinstance(error, sqlite3.ProgrammingError):
            raise error  # a closed cache, or one used from two threads: the caller's mistake
        code = getattr(error, "sqlite_errorcode", 0)
        if isinstance(error, _Damaged) or code in _DAMAGE or code & 0xFF in _DAMAGE:
            self._set_aside(error)
        else:
            self._switch_off(error)

    def _set_aside(self, error):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        try:
            with _alone(self.path):
                # Another process that saw the same damage may have begun the new file already.
                if self._file is not None and _identity(self.path) == self._file:
                    kept = _rename(self.path)
                    warnings.warn(
                        f"The embedding cache {self.path} is damaged ({error}). It was set aside as "
                        f"{kept.name} and a new one begun; nothing is lost but time. Delete the old "
                        "file when you no longer want to look at it.",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                self._open()
        except (sqlite3.Error, OSError, _Damaged) as next_error:
            self._switch_off(next_error)

    def _switch_off(self, error):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        warnings.warn(
            f"The embedding cache {self.path} cannot be used ({error}); encoding goes on without it. "
            "Free some space, or pass EmbeddingCache(path) a file you can write.",
            RuntimeWarning,
            stacklevel=2,
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
        raise _Damaged(f"its layout is number {layout}, this course reads {_LAYOUT}")
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


def _select(connection, fingerprint, digests):
    found = {}
    for start in range(0, len(digests), _QUERY_SIZE):
        part = digests[start : start + _QUERY_SIZE]
        marks = ",".join("?" * len(part))
        rows = connection.execute(
            f"{_FIND} ({marks})",
            (fingerprint, *part),
        )
        for digest, tokens, checksum, blob in rows:
            # SQLite notices a broken page, not a changed byte within a vector.
            if checksum != _checksum(fingerprint, digest, blob):
                raise _Damaged("a vector does not fit its checksum")
            found[digest] = np.frombuffer(blob, dtype="<f4"), tokens
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


def _identity(path):
    """Return what stays with a file when it is renamed, or None where there is no file."""
    if not path.exists():
        return None
    status = path.stat()
    return status.st_dev, status.st_ino


@contextmanager
def _alone(path):
    """Keep other processes from renaming ``path`` meanwhile; SQLite's lock ends with its owner."""
    lock = sqlite3.connect(
        path.with_name(path.name + ".lock"), timeout=BUSY_SECONDS, isolation_level=None
    )
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        lock.close()


def _rename(path):
    """Move a file and its write-ahead log out of the way; the log belongs to this file alone."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    kept = path.with_name(f"{path.name}.damaged-{stamp}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.damaged-{stamp}-{number}")
    # The log goes first: once the file is gone, a log of that name is another process's new one.
    for old, new in zip([*_companions(path), path], [*_companions(kept), kept], strict=True):
        if old.exists():
            os.replace(old, new)
    return kept
