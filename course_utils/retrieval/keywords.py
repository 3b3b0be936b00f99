"""Search by words: no model and no training, and the first thing that any model has to beat.

BM25 by the library bm25s: its scores are computed when the index is built, so that a query only adds
up a few columns.
"""

import hashlib
import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from course_utils.files import refuse_foreign, restored, whole_folder
from course_utils.retrieval.index import (
    Corpus,
    check_k,
    checked_queries,
    ids_and_texts,
    sha256,
)
from course_utils.retrieval.kinds import top_k
from course_utils.retrieval.searching import Hit

_ABOUT = "keywords.json"
_SAMPLE = 100  # texts whose words tell, when an index is loaded, whether the tokenizer is the same
_WORD = re.compile(r"[^\W_]+")


def words_of(text: str) -> list[str]:
    """Return the words of a text in their order: runs of letters and digits, without case.

    A word may have one character, and every alphabet counts; whatever else stands in the text ends a
    word, an underscore and an apostrophe too. Written forms of the same letters become one (Unicode's
    NFKC, then case folding). Nothing is left out and nothing is cut off: stop words stay, since BM25
    itself gives a word little weight that most texts hold, and there is no stemming, so that "valve"
    does not find "valves".

    >>> words_of("Don't use read_csv() for UTF-16!")
    ['don', 't', 'use', 'read', 'csv', 'for', 'utf', '16']
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


class KeywordIndex:
    """Texts ready to be searched by the words that they share with a query, scored by BM25.

    ``corpus`` is a list of texts, which get the ids ``"0"`` to ``"n-1"``, or a dict from id to text.
    With tf how often a word w occurs in document d, df the number of documents that hold it, |d| the
    number of words in d and avg their mean over the n documents, the score for a query q is

        sum over w in q of  idf(w) · tf / (tf + k1 · (1 - b + b · |d| / avg)),
        idf(w) = ln(1 + (n - df + 0.5) / (df + 0.5)).

    A word that the query repeats counts as often. ``k1`` (0 or more) says how much more the second
    and third occurrence of a word are worth: at 0, nothing. ``b`` (0 to 1) says how far a long
    document is marked down for its length. This is Lucene's variant, whose idf is above 0 for every
    word, and the defaults are those of bm25s. Sources: Robertson & Zaragoza 2009, *The Probabilistic
    Relevance Framework: BM25 and Beyond*, chapter 3; Lù 2024, *BM25S: Orders of magnitude faster
    lexical search via eager sparse scoring*, section 2, for the variants.

    ``tokenize``, a function from a text to the list of its words, replaces ``words_of``: give one for
    a stemmer, or for a language that writes no spaces. ``ids`` and ``texts`` are tuples of length n,
    in row order. The scores say nothing outside their query, and nothing beside another search's:
    ``fuse`` joins two rankings.

    Raises ``ValueError`` for an empty corpus, one in which no text has a word, and ``k1`` or ``b`` out
    of range; ``TypeError`` for a corpus that is one string, a text or id that is not a string (it is
    named), or a tokenizer that returns something other than a list of strings.

    >>> index = KeywordIndex(["the boiler room", "the spare key", "the key to the boiler"])
    >>> [(hit.id, hit.rank) for hit in index.search("spare boiler")]
    [('1', 1), ('0', 2), ('2', 3)]
    """

    def __init__(
        self,
        corpus: Corpus,
        *,
        k1: float = 1.5,
        b: float = 0.75,
        tokenize: Callable[[str], list[str]] | None = None,
    ) -> None:
        import bm25s

        if not 0 <= k1 < math.inf:
            raise ValueError(f"k1 is {k1}: give a number of at least 0.")
        if not 0 <= b <= 1:
            raise ValueError(f"b is {b}: give a number from 0 to 1.")
        ids, texts = ids_and_texts(corpus)
        numbers: dict[str, int] = {}
        rows = [
            [numbers.setdefault(word, len(numbers)) for word in words]
            for words in _split(texts, tokenize)
        ]
        if not numbers:
            raise ValueError(
                f"None of the {len(texts)} texts has a word, so none could ever be found: give texts "
                "with letters or digits, or a tokenizer that splits them."
            )
        # The backend by name: none is picked up because numba or jax happens to be installed.
        engine = bm25s.BM25(k1=k1, b=b, method="lucene", backend="numpy")
        engine.index((rows, numbers), create_empty_token=False, show_progress=False)
        self._keep(ids, texts, engine, tokenize)

    def _keep(self, ids, texts, engine, tokenize):
        self._ids, self._texts = tuple(ids), tuple(texts)
        self._engine, self._tokenize = engine, tokenize

    @property
    def ids(self) -> tuple[str, ...]:
        """The documents' ids, in row order."""
        return self._ids

    @property
    def texts(self) -> tuple[str, ...]:
        """The documents' texts, in row order."""
        return self._texts

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return (
            f"KeywordIndex of {len(self):,} texts with {len(self._engine.vocab_dict):,} different "
            f"words (BM25, k1={self._engine.k1}, b={self._engine.b})"
        )

    def search(self, query: str | Sequence[str], k: int = 5) -> list:
        """Return the k texts with the highest scores for ``query``: a list of ``Hit``, best first.

        For a list of queries, a list of such lists. Equal scores are ordered by row, lower first. A
        text that shares no word with the query is no hit, so there can be fewer than k, and none.

        Raises ``ValueError`` for a blank query and k < 1; ``TypeError`` for a query that is neither a
        string nor a list of strings.
        """
        k = check_k(k)
        queries = checked_queries(query)
        found = [self._hits(words, k) for words in _split(queries, self._tokenize)]
        return found[0] if isinstance(query, str) else found

    def _hits(self, words, k) -> list[Hit]:
        # In the order of their numbers, so that two queries of the same words have the same sums.
        known = sorted(self._engine.get_tokens_ids(words))
        if not known:
            return []
        (scores,), (rows,) = top_k(self._engine.get_scores_from_ids(known)[None], k)
        return [
            Hit(id=self._ids[row], score=score, text=self._texts[row], rank=rank)
            for rank, (score, row) in enumerate(
                zip(scores.tolist(), rows.tolist(), strict=True), start=1
            )
            if score > 0
        ]

    def save(self, folder: str | Path) -> Path:
        """Write the index to ``folder`` and return its path: JSON and arrays, never a pickle.

        The folder appears whole or not at all; a keyword index that is there already is replaced. A
        tokenizer of your own is not saved. Raises ``FileExistsError`` when ``folder`` holds something
        other than a keyword index.
        """
        folder = refuse_foreign(folder, _ABOUT, "keyword index")
        with whole_folder(folder) as fresh:
            self._engine.save(fresh)
            about = {
                "own_tokenizer": self._tokenize is not None,
                "words": _digest(self._texts, self._tokenize),
                "sha256": {path.name: sha256(path) for path in sorted(fresh.iterdir())},
                "ids": self._ids,
                "texts": self._texts,
            }
            (fresh / _ABOUT).write_text(json.dumps(about), encoding="utf-8")
        return folder

    @classmethod
    def load(
        cls, folder: str | Path, *, tokenize: Callable[[str], list[str]] | None = None
    ) -> "KeywordIndex":
        """Return the ``KeywordIndex`` that ``save`` wrote to ``folder``.

        An index that was made with a ``tokenize`` of its own must be given the same one again.

        Raises ``FileNotFoundError`` when there is none, and ``ValueError`` naming the file when one is
        damaged or does not fit the others, or the tokenizer is another.
        """
        import bm25s

        folder = restored(folder)
        try:
            about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
            ids, texts, sums = about["ids"], about["texts"], dict(about["sha256"])
            made_by = about["own_tokenizer"], about["words"]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{folder / _ABOUT} is damaged ({error}): save it again.") from error
        for name, digest in sums.items():
            if sha256(folder / name) != digest:
                raise ValueError(f"{folder / name} is not the file that was saved: save it again.")
        engine = bm25s.BM25.load(folder)
        if not len(ids) == len(texts) == engine.scores["num_docs"]:
            raise ValueError(
                f"{folder}: {_ABOUT} holds {len(ids)} ids and {len(texts)} texts for an index of "
                f"{engine.scores['num_docs']}: save it again."
            )
        if made_by != (tokenize is not None, _digest(texts, tokenize)):
            raise ValueError(
                f"The index in {folder} was made with another tokenizer: give load(..., tokenize=) "
                "the one that KeywordIndex was given, or none if it was given none."
            )
        index = cls.__new__(cls)
        index._keep(ids, texts, engine, tokenize)
        return index


def _split(
    texts: Iterable[str], tokenize: Callable[[str], list[str]] | None
) -> Iterator[list[str]]:
    """Yield the words of each text."""
    split = words_of if tokenize is None else tokenize
    for text in texts:
        words = split(text)
        if isinstance(words, str) or not all(isinstance(word, str) for word in words):
            raise TypeError(
                f"tokenize returned {words!r:.60} for {text!r:.60}: return a list of strings."
            )
        yield list(words)


def _digest(texts, tokenize):
    words = list(_split(texts[:_SAMPLE], tokenize))
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()
