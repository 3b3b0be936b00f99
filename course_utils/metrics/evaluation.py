"""Evaluate any embedder on any task, one score per item.

An ``Evaluation`` never holds only a mean. With the score of every query, pair or text kept, an
interval or a paired test is always one call away, today or from a file saved last month.
"""

import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from course_utils.metrics.clustering import kmeans_scores, silhouette_samples
from course_utils.metrics.records import from_records, read_table, to_records, write_table
from course_utils.metrics.retrieval import retrieval_scores_from_vectors
from course_utils.metrics.significance import Interval, bootstrap_interval
from course_utils.metrics.similarity import spearman, spearman_interval
from course_utils.models.fingerprints import fingerprint_or_none

if TYPE_CHECKING:
    import pandas as pd

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
    - ``content``: a hash of the task's texts and judgements, by which ``compare`` knows that two
      tasks of one name are the same; "" if unknown.
    - ``versions``, ``date``: of the packages that took part; when, in UTC.

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

    def __post_init__(self):
        if self.kind not in _UNITS:
            raise ValueError(f"kind is {self.kind!r}. It is one of: {', '.join(_UNITS)}.")
        if not len(self.scores):
            raise ValueError(
                f"The evaluation of task {self.task!r} has no scores. Give one per item."
            )
        twice = self.scores.index[self.scores.index.duplicated()]
        if len(twice):
            raise ValueError(f"The item {twice[0]!r} occurs twice in scores. Give each one row.")
        missing = self.scores.isna().stack()
        if missing.any():
            item, column = missing.idxmax()
            raise ValueError(f"The score {column!r} of item {item!r} is missing or NaN.")

    def summary(self, *, confidence=0.95, method="percentile", clusters=None, seed=0):
        """Return a DataFrame with one row per metric: mean, low, high, n, over.

        ``low`` and ``high`` bound the mean by a bootstrap over the ``n`` items that ``over`` names:
        queries, pairs, texts, or k-means seeds; ``method`` and ``clusters``, here
        ``{item: cluster}``, are those of ``bootstrap_interval``. For ``spearman``, which is no mean,
        they bound the correlation itself, by percentiles. An interval over seeds says how far
        k-means wanders, not how other texts would have scored. With a single item they are NaN.

        Raises ``ValueError`` when ``clusters`` lacks an item (named), or is given for pairs.
        """
        import pandas as pd

        labels = self.cluster_labels(clusters)
        rows = {}
        if self.kind == "similarity":
            human, cosine = self.scores["human"], self.scores["cosine"]
            ends = spearman_interval(human, cosine, confidence=confidence, seed=seed)
            rows["spearman"] = (spearman(human, cosine), *ends, len(human), "pairs")
        for metric, (values, over) in self.means().items():
            ends = Interval(float("nan"), float("nan"))
            if len(values) > 1:
                ends = bootstrap_interval(
                    values,
                    confidence=confidence,
                    method=method,
                    clusters=None if over == "k-means seeds" else labels,
                    seed=seed,
                )
            rows[metric] = (float(np.mean(values)), *ends, len(values), over)
        return pd.DataFrame.from_dict(rows, "index", columns=["mean", "low", "high", "n", "over"])

    def means(self):
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

    def cluster_labels(self, clusters):
        """Return the labels of the items in order, from ``{item: cluster}``; None for None."""
        if clusters is None:
            return None
        if self.kind == "similarity":
            raise ValueError(
                "clusters are not used for a correlation over pairs. Leave them out, and read its "
                "interval as one over pairs drawn independently."
            )
        for item in self.scores.index:
            if item not in clusters:
                raise ValueError(
                    f"clusters says nothing of the item {item!r} of {self.task!r}. Give every item "
                    "a cluster, its own if it stands alone."
                )
        return [clusters[item] for item in self.scores.index]

    def save(self, path):
        """Write the evaluation to ``path`` as JSON Lines, whole or not at all; return the path.

        The first line describes the evaluation, each further line is one item. An existing file
        is replaced in one step.
        """
        header = {name: getattr(self, name) for name in _PLAIN}
        header["repeats"] = None if self.repeats is None else to_records(self.repeats)
        return write_table(path, _FORMAT, header, self.scores)

    @classmethod
    def load(cls, path):
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
        return f"{self.embedder} on {self.task} ({self.kind}, {count}), 95 % intervals"


def evaluate(
    model, task, *, k=10, cache=None, batch_size=32, seed=0, name=None, show_progress_bar=None
):
    """Return what ``model`` scores on ``task``, item by item: an ``Evaluation``.

    ``model`` is anything with ``encode(list[str]) -> (n, d)``: a SentenceTransformer, the client of
    a remote service; or a function that takes the list itself. Texts are encoded by
    ``course_utils.encoding.encode.encode`` with unit rows (``cache``, ``batch_size`` and
    ``show_progress_bar`` are passed on), so the score of two texts is their cosine. ``task``
    decides what is measured:

    - ``RetrievalTask``: every document is ranked for every query; ``mrr@k``, ``recall@k``, ``map``
      and ``ndcg@k``, by the rules of ``retrieval_scores``;
    - ``SimilarityTask``: Spearman's correlation of the cosines with people's scores;
    - ``ClusteringTask``: the silhouette of each text, and how well k-means finds the labels, from
      ten starts, the seeds ``seed`` .. ``seed`` + 9.

    ``name`` is how tables call the embedder; by default its own name, or its folder's.

    Raises ``TypeError`` for another type of task, ``ValueError`` where the texts, vectors or
    judgements are at fault (see the functions above).
    """
    measure = _MEASURES.get(_kind(task))
    if measure is None:
        raise TypeError(
            f"There is no evaluation for a {type(task).__name__}. Give a RetrievalTask, a "
            "SimilarityTask or a ClusteringTask."
        )
    from datetime import UTC, datetime

    from course_utils.encoding.encode import as_embedder, encode

    if name is None:
        name = embedder_name(model)
    if callable(model) and not hasattr(model, "encode"):
        model = as_embedder(model, getattr(model, "fingerprint", None))

    def vectors(texts):
        return encode(
            model,
            texts,
            batch_size=batch_size,
            normalize_embeddings=True,
            cache=cache,
            show_progress_bar=show_progress_bar,
        )

    scores, repeats = measure(vectors, task, k, seed)
    return Evaluation(
        task=task.name,
        kind=_kind(task),
        embedder=name,
        scores=scores,
        fingerprint=fingerprint_or_none(model),
        repeats=repeats,
        content=_content(task),
        versions=package_versions(_PACKAGES),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _measure_retrieval(vectors, task, k, seed):
    queries = vectors(list(task.queries.values()))
    corpus = vectors(list(task.corpus.values()))
    scores = retrieval_scores_from_vectors(
        queries, corpus, list(task.queries), list(task.corpus), task.qrels, k
    )
    return scores, None


def _measure_similarity(vectors, task, k, seed):
    import pandas as pd

    # In one call, because a text that is on both sides then needs encoding once.
    both = vectors([text for pair in task.pairs for text in pair])
    first, second = both[::2], both[1::2]
    cosine = np.einsum("ij,ij->i", first, second, dtype=np.float64)
    human = np.array(task.scores, dtype=np.float64)
    index = pd.RangeIndex(len(human), name="pair")
    return pd.DataFrame({"human": human, "cosine": cosine}, index=index), None


def _measure_clustering(vectors, task, k, seed):
    import pandas as pd

    matrix, labels = vectors(list(task.texts)), list(task.labels)
    index = pd.RangeIndex(len(labels), name="text")
    scores = {"label": labels, "silhouette": silhouette_samples(matrix, labels)}
    repeats = kmeans_scores(matrix, labels, seeds=range(seed, seed + _SEEDS))
    return pd.DataFrame(scores, index=index), repeats


_MEASURES = {
    "retrieval": _measure_retrieval,
    "similarity": _measure_similarity,
    "clustering": _measure_clustering,
}
_UNITS = {"retrieval": "queries", "similarity": "pairs", "clustering": "texts"}
_PLAIN = ("task", "kind", "embedder", "fingerprint", "content", "versions", "date")


def _kind(task):
    from course_utils.data import tasks

    for kind in _UNITS:
        if isinstance(task, getattr(tasks, f"{kind.capitalize()}Task")):
            return kind
    return None


def _content(task):
    """Return a hash of what the task asks: its texts and judgements, not its name or source."""
    asked = {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in vars(task).items()
        if name not in ("name", "source", "scale")
    }
    # A judgement may be a numpy integer, which JSON does not know.
    text = json.dumps(asked, sort_keys=True, default=int)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def package_versions(packages):
    """Return the installed version of each of the packages that is there, as a dict."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def embedder_name(model):
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


def rounded(table):
    """Return the table as text, numbers to four places, for display."""
    return table.map(lambda value: f"{value:.4f}" if isinstance(value, float) else value)
