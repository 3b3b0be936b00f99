"""Evaluate any embedder on any task, one score per item.

An ``Evaluation`` never holds only a mean. With the score of every query, pair or text kept, an
interval or a paired test is always one call away, today or from a file saved last month.
"""

import hashlib
import html
import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from course_utils.data.tasks import ClusteringTask, RetrievalTask, SimilarityTask
from course_utils.metrics.clustering import kmeans_scores, silhouette_samples
from course_utils.metrics.records import from_records, read_table, to_records, write_table
from course_utils.metrics.retrieval import USUAL, scores_of_vectors
from course_utils.metrics.retrieval_inputs import Options, options
from course_utils.metrics.significance import DRAWS, Interval, bootstrap_interval
from course_utils.metrics.similarity import spearman, spearman_interval
from course_utils.models.fingerprints import fingerprint_or_none

if TYPE_CHECKING:
    import pandas as pd

    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

#: What ``evaluate`` takes.
Task: TypeAlias = RetrievalTask | SimilarityTask | ClusteringTask

#: Metrics whose items depend on each other, so that no interval or p value is claimed for a mean.
DEPENDENT = ("silhouette",)

_FORMAT = "course-utils evaluation 1"
_SEEDS = 10  # k-means starts behind each clustering score
_PACKAGES = (
    "course-utils", "sentence-transformers", "transformers", "torch", "numpy", "scipy",
    "scikit-learn",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What one embedder scored on one task, item by item.

    - ``task``, ``kind``: the task's name; ``"retrieval"``, ``"similarity"`` or ``"clustering"``.
    - ``embedder``, ``fingerprint``: its name; the hash of all that shapes its vectors, or None.
    - ``scores``: a DataFrame with one row per item. Retrieval: one row per query, the columns of
      ``retrieval_scores``. Similarity: one row per pair, ``human`` and ``cosine``. Clustering: one
      row per text, ``label`` and ``silhouette``.
    - ``repeats``: for clustering, one row per k-means seed (see ``kmeans_scores``); else None.
    - ``content``: a hash of the task's texts and judgements (and of a rule for ties other than the
      usual one), by which ``compare`` knows that two tasks of one name are the same; "" if unknown.
    - ``versions``, ``date``: of the packages that took part; when, in UTC.

    The tables are copies: one that the caller changes later changes nothing here.

    Raises ``ValueError`` when ``kind`` is none of the three, or ``scores`` is empty, names an item
    twice or holds NaN (named by item).

    >>> import pandas as pd
    >>> rows = pd.DataFrame({"human": [1.0, 2, 3, 4], "cosine": [0.1, 0.3, 0.2, 0.9]})
    >>> Evaluation("toy", "similarity", "a model", rows).summary()[["mean", "n"]]
              mean  n
    spearman   0.8  4
    """

    task: str
    kind: str
    embedder: str
    scores: "pd.DataFrame"
    fingerprint: str | None = None
    repeats: "pd.DataFrame | None" = None
    content: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""

    def __post_init__(self) -> None:
        if self.kind not in _UNITS:
            raise ValueError(f"kind is {self.kind!r}. It is one of: {', '.join(_UNITS)}.")
        if not len(self.scores):
            raise ValueError(
                f"The evaluation of task {self.task!r} has no scores. Give one per item."
            )
        twice = self.scores.index[self.scores.index.duplicated()]
        if len(twice):
            raise ValueError(f"The item {twice[0]!r} occurs twice in scores. Give each one row.")
        missing = np.argwhere(self.scores.isna().to_numpy())
        if len(missing):
            item, column = self.scores.index[missing[0, 0]], self.scores.columns[missing[0, 1]]
            raise ValueError(f"The score {column!r} of item {item!r} is missing or NaN.")
        object.__setattr__(self, "scores", self.scores.copy())
        object.__setattr__(self, "repeats", None if self.repeats is None else self.repeats.copy())
        object.__setattr__(self, "versions", dict(self.versions))

    def summary(
        self,
        *,
        confidence: float = 0.95,
        n_resamples: int = DRAWS,
        method: Literal["percentile", "bca"] = "percentile",
        clusters: Mapping[Hashable, Hashable] | None = None,
        seed: int = 0,
    ) -> "pd.DataFrame":
        """Return a DataFrame with one row per metric: mean, low, high, n, over.

        ``low`` and ``high`` bound the mean by a bootstrap over the ``n`` items that ``over`` names:
        queries, pairs, or k-means seeds; ``n_resamples``, ``method`` and ``clusters``, here
        ``{item: cluster}``, are those of ``bootstrap_interval``. For ``spearman``, which is no mean,
        they bound the correlation itself, by percentiles. An interval over seeds says how far
        k-means wanders, not how other texts would have scored. For ``silhouette`` they are NaN,
        because every text's depends on all the others (see ``silhouette_samples``); and so they are
        where there is a single item.

        Raises ``ValueError`` when ``clusters`` lacks an item (named) or is given for pairs or
        texts, or an option is out of range.
        """
        import pandas as pd

        labels = self.cluster_labels(clusters)
        rows = {}
        if self.kind == "similarity":
            human, cosine = self.scores["human"], self.scores["cosine"]
            ends = spearman_interval(
                human, cosine, confidence=confidence, n_resamples=n_resamples, seed=seed
            )
            rows["spearman"] = (spearman(human, cosine), *ends, len(human), "pairs")
        for metric, (values, over) in self.means().items():
            ends = Interval(float("nan"), float("nan"))
            if len(values) > 1 and metric not in DEPENDENT:
                ends = bootstrap_interval(
                    values,
                    confidence=confidence,
                    n_resamples=n_resamples,
                    method=method,
                    clusters=labels,
                    seed=seed,
                )
            rows[metric] = (float(np.mean(values)), *ends, len(values), over)
        return pd.DataFrame.from_dict(rows, "index", columns=["mean", "low", "high", "n", "over"])

    def means(self) -> dict[str, tuple[np.ndarray, str]]:
        """Return ``{metric: (values, what they are over)}`` for the metrics that are means."""
        if self.kind == "retrieval":
            return {name: (self.scores[name].to_numpy(), "queries") for name in self.scores.columns}
        if self.kind == "similarity":
            return {}
        means = {"silhouette": (self.scores["silhouette"].to_numpy(), "texts")}
        if self.repeats is not None:
            for name in self.repeats.columns:
                means[name] = (self.repeats[name].to_numpy(), "k-means seeds")
        return means

    def cluster_labels(self, clusters: Mapping[Hashable, Hashable] | None) -> list[Hashable] | None:
        """Return the labels of the items in order, from ``{item: cluster}``; None for None.

        Raises ``ValueError`` for an item without a label, and where items are pairs or texts.
        """
        if clusters is None:
            return None
        if self.kind == "similarity":
            raise ValueError(
                "clusters are not used for a correlation over pairs. Leave them out, and read its "
                "interval as one over pairs drawn independently."
            )
        if self.kind == "clustering":
            raise ValueError(
                "clusters are not used for a clustering, whose intervals are over k-means seeds. "
                "Leave them out."
            )
        for item in self.scores.index:
            if item not in clusters:
                raise ValueError(
                    f"clusters says nothing of the item {item!r} of {self.task!r}. Give every item "
                    "a cluster, its own if it stands alone."
                )
        return [clusters[item] for item in self.scores.index]

    def save(self, path: str | Path) -> Path:
        """Write the evaluation to ``path`` as JSON Lines, whole or not at all; return the path.

        The first line describes the evaluation, each further line is one item. An existing file
        is replaced in one step. Raises ``OSError`` where the file cannot be written.
        """
        header = {name: getattr(self, name) for name in _PLAIN}
        header["repeats"] = None if self.repeats is None else to_records(self.repeats)
        return write_table(path, _FORMAT, header, self.scores)

    @classmethod
    def load(cls, path: str | Path) -> "Evaluation":
        """Return the evaluation that ``save`` wrote to ``path``.

        Raises ``ValueError``, naming file and line, for a line that is no JSON, another format, a
        first line that lacks a field, or a file that lacks rows.
        """
        header, scores = read_table(path, _FORMAT, (*_PLAIN, "repeats"))
        repeats = header.pop("repeats")
        return cls(
            **header,
            scores=scores,
            repeats=None if repeats is None else from_records(repeats, "seed"),
        )

    def __repr__(self):
        return f"{self._title()}\n{rounded(self.summary()).to_string()}"

    def _repr_html_(self):
        table = rounded(self.summary()).to_html(border=0)
        return f"<p>{html.escape(self._title())}</p>{table}"

    def _title(self):
        count = f"{len(self.scores):,} {_UNITS[self.kind]}"
        title = f"{self.embedder} on {self.task} ({self.kind}, {count}), 95 % intervals"
        if self.kind == "clustering":
            title += "; none for silhouette, since every text's depends on all the others"
        return title


def evaluate(
    model: "AnyEmbedder",
    task: Task,
    *,
    k: int | Iterable[int] = 10,
    measures: str | Iterable[str] = USUAL,
    ties: str = "trec_eval",
    cache: "EmbeddingCache | None" = None,
    batch_size: int = 32,
    seed: int = 0,
    name: str | None = None,
    show_progress_bar: bool | None = None,
) -> Evaluation:
    """Return what ``model`` scores on ``task``, item by item: an ``Evaluation``.

    ``model`` is anything with ``encode(list[str]) -> (n, d)``: a SentenceTransformer, the client of
    a remote service; or a function that takes the list itself. Texts are encoded by
    ``course_utils.encoding`` with unit rows (``cache``, ``batch_size`` and ``show_progress_bar``
    are passed on), so the score of two texts is their cosine. ``task`` decides what is measured:

    - ``RetrievalTask``: every document is ranked for every query; by default ``mrr@k``,
      ``recall@k``, ``map`` and ``ndcg@k``. ``k``, ``measures`` and ``ties``, and all rules, are
      those of ``retrieval_scores``. Queries and documents have roles: they are encoded by
      ``encode_query`` and ``encode_document``, each with the model's prompt for it, if it has one;
    - ``SimilarityTask``: Spearman's correlation of the cosines with people's scores;
    - ``ClusteringTask``: the silhouette of each text, and how well k-means finds the labels, from
      ten starts, the seeds ``seed`` .. ``seed`` + 9.

    The texts of the last two have no roles: they get the prompt that the model's
    ``default_prompt_name`` names, or none. ``name`` is how tables call the embedder; by default its
    own name, or its folder's. Where a model has roles, the ``fingerprint`` kept is of both.

    Raises ``TypeError`` for another type of task, or what is no embedder; ``ValueError`` for
    ``measures`` or ``ties`` with a task that is no RetrievalTask, and where texts, vectors or
    options are at fault (see the functions above).

    >>> task = RetrievalTask("toy", {"d1": "aab", "d2": "abb"}, {"q": "b"}, {"q": {"d2": 1}})
    >>> def letters(texts):
    ...     return [[text.count("a"), text.count("b")] for text in texts]
    >>> evaluate(letters, task, measures="success", k=1).scores.loc["q"].to_dict()
    {'success@1': 1.0}
    """
    measures = [measures] if isinstance(measures, str) else list(measures)
    encoding = {
        "batch_size": batch_size,
        "normalize_embeddings": True,
        "cache": cache,
        "show_progress_bar": show_progress_bar,
    }
    repeats = None
    if isinstance(task, RetrievalTask):
        kind = "retrieval"
        scores = _measure_retrieval(model, task, options(k, measures, ties), encoding)
    elif not isinstance(task, SimilarityTask | ClusteringTask):
        raise TypeError(
            f"There is no evaluation for a {type(task).__name__}. Give a RetrievalTask, a "
            "SimilarityTask or a ClusteringTask."
        )
    elif (measures, ties) != (list(USUAL), "trec_eval"):
        raise ValueError(
            f"measures and ties say how a ranking is scored, and {task.name!r} is a "
            f"{type(task).__name__}, which has none. Leave them out."
        )
    elif isinstance(task, SimilarityTask):
        kind, scores = "similarity", _measure_similarity(model, task, encoding)
    else:
        kind, (scores, repeats) = "clustering", _measure_clustering(model, task, seed, encoding)
    called = embedder_name(model) if name is None else name
    fingerprint = _fingerprint(model, kind)
    return evaluation_of(task, kind, called, scores, ties, fingerprint=fingerprint, repeats=repeats)


def evaluation_of(
    task: Task,
    kind: str,
    embedder: str,
    scores: "pd.DataFrame",
    ties: str,
    *,
    fingerprint: str | None = None,
    repeats: "pd.DataFrame | None" = None,
) -> Evaluation:
    """Return these scores as the ``Evaluation`` of ``task``: with its hash, the versions and the date."""
    from datetime import UTC, datetime

    return Evaluation(
        task=task.name,
        kind=kind,
        embedder=embedder,
        scores=scores,
        fingerprint=fingerprint,
        repeats=repeats,
        content=_content(task, ties),
        versions=package_versions(_PACKAGES),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _fingerprint(model, kind):
    """Return what the scores' vectors depend on; of a model with roles, both roles at once."""
    if kind != "retrieval":
        return fingerprint_or_none(model)
    query, document = (fingerprint_or_none(model, role=role) for role in ("query", "document"))
    if query is None or query == document:
        return query
    return hashlib.sha256(f"{query} {document}".encode()).hexdigest()


def _measure_retrieval(model, task: RetrievalTask, chosen: Options, encoding) -> "pd.DataFrame":
    from course_utils.encoding.encode import encode_document, encode_query

    queries = encode_query(model, list(task.queries.values()), **encoding)
    corpus = encode_document(model, list(task.corpus.values()), **encoding)
    # The task has checked its judgements, and encode the vectors, so nothing is checked again.
    grades = {
        query: {document: int(grade) for document, grade in judged.items() if grade >= 1}
        for query, judged in task.qrels.items()
    }
    query_row, corpus_row = (
        {name: row for row, name in enumerate(texts)} for texts in (task.queries, task.corpus)
    )
    return scores_of_vectors(queries, corpus, grades, query_row, corpus_row, chosen)


def _measure_similarity(model, task: SimilarityTask, encoding) -> "pd.DataFrame":
    import pandas as pd

    from course_utils.encoding.encode import encode

    # In one call, because a text that is on both sides then needs encoding once.
    both = encode(model, [text for pair in task.pairs for text in pair], **encoding)
    first, second = both[::2], both[1::2]
    cosine = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    human = np.array(task.scores, dtype=np.float64)
    index = pd.RangeIndex(len(human), name="pair")
    return pd.DataFrame({"human": human, "cosine": cosine}, index=index)


def _measure_clustering(model, task: ClusteringTask, seed, encoding):
    import pandas as pd

    from course_utils.encoding.encode import encode

    matrix, labels = encode(model, task.texts, **encoding), task.labels
    index = pd.RangeIndex(len(labels), name="text")
    scores = {"label": labels, "silhouette": silhouette_samples(matrix, labels)}
    repeats = kmeans_scores(matrix, labels, seeds=range(seed, seed + _SEEDS))
    return pd.DataFrame(scores, index=index), repeats


_UNITS = {"retrieval": "queries", "similarity": "pairs", "clustering": "texts"}
_PLAIN = ("task", "kind", "embedder", "fingerprint", "content", "versions", "date")


def _content(task: Task, ties: str) -> str:
    """Return a hash of what the task asks, its texts and judgements and not its name or source."""
    asked: dict[str, Any] = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(task).items()
        if name not in ("name", "source", "scale")
    }
    if ties != "trec_eval":
        asked["ties"] = ties
    # A judgement may be a numpy integer, which JSON does not know.
    text = json.dumps(asked, sort_keys=True, default=int)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the installed version of each of the packages that is there, as a dict."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def embedder_name(model: Any) -> str:
    """Return what tables call an embedder: its own name, or that of its folder or package."""
    card = getattr(model, "model_card_data", None)
    folder = (
        str(getattr(model, "name_or_path", None) or "").replace("\\", "/").rstrip("/").split("/")
    )
    if "snapshots" in folder:  # the hub's cache: models--owner--name/snapshots/<revision>
        folder = folder[: folder.index("snapshots")]
        folder[-1] = folder[-1].rsplit("--", 1)[-1]
    elif len(folder) > 1 and folder[-1] == "model":  # a package keeps its model in this folder
        folder.pop()
    function = getattr(model, "__name__", None)
    named = (getattr(card, "model_name", None), getattr(model, "name", None), folder[-1], function)
    return next((str(n) for n in named if n), type(model).__name__)


def rounded(table: "pd.DataFrame") -> "pd.DataFrame":
    """Return the table as text, numbers to four places, for display."""
    return table.map(lambda value: f"{value:.4f}" if isinstance(value, float) else value)
