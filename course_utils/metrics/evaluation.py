"""Evaluate any embedder on any task, one score per item; compare two evaluations item by item.

An `Evaluation` never holds only a mean. With the score of every query, pair or text kept, an
interval or a paired test is always one call away, today or from a file saved last month.
"""

import hashlib
import html
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from course_utils.fingerprints import fingerprint_or_none
from course_utils.metrics.clustering import kmeans_scores, silhouette_samples
from course_utils.metrics.records import (
    from_records,
    read_json_lines,
    to_records,
    write_json_lines,
)
from course_utils.metrics.retrieval import retrieval_scores_from_vectors
from course_utils.metrics.significance import Interval, bootstrap_interval, paired_test
from course_utils.metrics.similarity import paired_spearman_test, spearman, spearman_interval

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "course-utils evaluation 1"
_SEEDS = 10  # k-means starts behind each clustering score
_PACKAGES = ("course-utils", "sentence-transformers", "torch", "numpy")


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What one embedder scored on one task, item by item.

    - ``task``, ``kind``: the task's name; ``"retrieval"``, ``"similarity"`` or ``"clustering"``.
    - ``embedder``, ``fingerprint``: its name; the hash of all that shapes its vectors, or None.
    - ``scores``: a DataFrame with one row per item. Retrieval: one row per query, the columns of
      `retrieval_scores`. Similarity: one row per pair, ``human`` and ``cosine``. Clustering: one
      row per text, ``label`` and ``silhouette``.
    - ``repeats``: for clustering, one row per k-means seed (see `kmeans_scores`); else None.
    - ``content``: a hash of the task's texts and judgements, by which `compare` knows that two
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

    def summary(self, *, confidence=0.95, seed=0):
        """Return a DataFrame with one row per metric: mean, low, high, n, over.

        ``low`` and ``high`` bound the mean by a percentile bootstrap over the ``n`` items that
        ``over`` names: queries, pairs, texts, or k-means seeds. For ``spearman``, which is no
        mean, they bound the correlation itself. An interval over seeds says how far k-means
        wanders, not how other texts would have scored. With a single item they are NaN.
        """
        import pandas as pd

        rows = {}
        if self.kind == "similarity":
            human, cosine = self.scores["human"], self.scores["cosine"]
            ends = spearman_interval(human, cosine, confidence=confidence, seed=seed)
            rows["spearman"] = (spearman(human, cosine), *ends, len(human), "pairs")
        for metric, (values, over) in self._means().items():
            ends = Interval(float("nan"), float("nan"))
            if len(values) > 1:
                ends = bootstrap_interval(values, confidence=confidence, seed=seed)
            rows[metric] = (float(np.mean(values)), *ends, len(values), over)
        return pd.DataFrame.from_dict(rows, "index", columns=["mean", "low", "high", "n", "over"])

    def _means(self):
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

    def save(self, path):
        """Write the evaluation to ``path`` as JSON Lines, whole or not at all; return the path.

        The first line describes the evaluation, each further line is one item. An existing file
        is replaced in one step.
        """
        header = {
            "format": _FORMAT,
            **{name: getattr(self, name) for name in _PLAIN},
            "index": self.scores.index.name,
            "rows": len(self.scores),
            "repeats": None if self.repeats is None else to_records(self.repeats),
        }
        return write_json_lines(path, [header, *to_records(self.scores)])

    @classmethod
    def load(cls, path):
        """Return the evaluation that `save` wrote to ``path``.

        Raises ``ValueError``, naming file and line, for a line that is no JSON, another format, or
        a file that lacks rows.
        """
        header, *rows = read_json_lines(path)
        if not isinstance(header, dict) or header.get("format") != _FORMAT:
            raise ValueError(
                f"{path}:1: this is no saved evaluation; its format is not {_FORMAT!r}."
            )
        if len(rows) != header["rows"]:
            raise ValueError(
                f"{path}:{len(rows) + 1}: the file ends after {len(rows)} of {header['rows']} items. "
                "It was cut off; evaluate again."
            )
        return cls(
            **{name: header[name] for name in _PLAIN},
            scores=from_records(rows, header["index"]),
            repeats=None if header["repeats"] is None else from_records(header["repeats"], "seed"),
        )

    def __repr__(self):
        return f"{self._title()}\n{_rounded(self.summary()).to_string()}"

    def _repr_html_(self):
        table = _rounded(self.summary()).to_html(border=0)
        return f"<p>{html.escape(self._title())}</p>{table}"

    def _title(self):
        count = f"{len(self.scores):,} {_UNITS[self.kind]}"
        return f"{self.embedder} on {self.task} ({self.kind}, {count}), 95 % intervals"


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two embedders on one task: ``table`` has one row per metric.

    Columns: ``mean_a``, ``mean_b``, ``difference`` (b - a), ``low`` and ``high`` (its 95 % paired
    bootstrap interval), ``p_value`` (see `paired_test`), ``n`` and what it is ``over``. For
    ``spearman`` the means are the two correlations.
    """

    task: str
    kind: str
    a: str
    b: str
    table: "pd.DataFrame"

    def __repr__(self):
        return f"{self._title()}\n{_rounded(self.table).to_string()}"

    def _repr_html_(self):
        return f"<p>{html.escape(self._title())}</p>{_rounded(self.table).to_html(border=0)}"

    def _title(self):
        return f"a = {self.a}, b = {self.b}, on {self.task} ({self.kind}); difference is b - a"


def evaluate(
    model, task, *, k=10, cache=None, batch_size=32, seed=0, name=None, show_progress_bar=None
):
    """Return what ``model`` scores on ``task``, item by item: an `Evaluation`.

    ``model`` is anything with ``encode(list[str]) -> (n, d)``. Texts are encoded by
    `course_utils.encoding.encode` with unit rows (``cache``, ``batch_size`` and
    ``show_progress_bar`` are passed on), so the score of two texts is their cosine. ``task`` decides what is measured:

    - ``RetrievalTask``: every document is ranked for every query; ``mrr@k``, ``recall@k``, ``map``
      and ``ndcg@k``, by the rules of `retrieval_scores`;
    - ``SimilarityTask``: Spearman's correlation of the cosines with people's scores;
    - ``ClusteringTask``: the silhouette of each text, and how well k-means finds the labels, from
      ten starts, the seeds ``seed`` .. ``seed`` + 9.

    ``name`` is how tables call the embedder; by default its own name, or its folder's.

    Raises ``TypeError`` for another type of task, ``ValueError`` where the texts, vectors or
    judgements are at fault (see the functions above).
    """
    from importlib.metadata import PackageNotFoundError, version

    measure = _MEASURES.get(_kind(task))
    if measure is None:
        raise TypeError(
            f"There is no evaluation for a {type(task).__name__}. Give a RetrievalTask, a "
            "SimilarityTask or a ClusteringTask."
        )
    from datetime import UTC, datetime

    from course_utils.encoding import encode

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
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return Evaluation(
        task=task.name,
        kind=_kind(task),
        embedder=_embedder_name(model) if name is None else name,
        scores=scores,
        fingerprint=fingerprint_or_none(model),
        repeats=repeats,
        content=_content(task),
        versions=versions,
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def compare(a, b, *, confidence=0.95, seed=0):
    """Return how evaluation ``b`` differs from evaluation ``a``, metric by metric: a `Comparison`.

    Means are compared item by item with `paired_test`, Spearman's correlation with
    `paired_spearman_test`. For k-means, the paired items are the seeds, so that p value speaks of
    the luck of the start and not of other texts. Several metrics are several tests: one of twenty
    is "significant" at 0.05 by chance.

    Raises ``ValueError`` when the two are not about the same task, the same items, the same texts
    and judgements, or the same metrics; the first difference is named.

    >>> import pandas as pd
    >>> def scored(name, values):
    ...     return Evaluation("toy", "retrieval", name, pd.DataFrame({"map": values}))
    >>> compare(scored("old", [0.1, 0.2, 0.3]), scored("new", [0.2, 0.3, 0.4])).table.p_value.item()
    0.25
    """
    import pandas as pd

    _refuse_unlike(a, b)
    rows = {}
    if a.kind == "similarity":
        human = a.scores["human"]
        cosines = a.scores["cosine"], b.scores["cosine"].reindex(human.index)
        test = paired_spearman_test(human, *cosines, confidence=confidence, seed=seed)
        rows["spearman"] = _row(*(spearman(human, cosine) for cosine in cosines), test, "pairs")
    aligned = Evaluation(
        b.task, b.kind, b.embedder, b.scores.reindex(a.scores.index), None, b.repeats
    )
    theirs = aligned._means()
    for metric, (values, over) in a._means().items():
        if len(values) > 1:
            other = theirs[metric][0]
            test = paired_test(values, other, confidence=confidence, seed=seed)
            rows[metric] = _row(values.mean(), other.mean(), test, over)
    columns = ["mean_a", "mean_b", "difference", "low", "high", "p_value", "n", "over"]
    table = pd.DataFrame.from_dict(rows, "index", columns=columns)
    return Comparison(a.task, a.kind, a.embedder, b.embedder, table)


def _row(mean_a, mean_b, test, over):
    ends = (test.difference, test.low, test.high, test.p_value, test.n)
    return (float(mean_a), float(mean_b), *ends, over)


def _refuse_unlike(a, b):
    for what in ("task", "kind"):
        if getattr(a, what) != getattr(b, what):
            raise ValueError(
                f"The {what} of a is {getattr(a, what)!r}, that of b {getattr(b, what)!r}. Only "
                "evaluations of one task can be compared."
            )
    for one, other, names in ((a, b, "ab"), (b, a, "ba")):
        only = one.scores.index.difference(other.scores.index, sort=False)
        if len(only):
            raise ValueError(
                f"{names[0]} scores the item {only[0]!r} of {a.task!r} and {names[1]} does not "
                f"({len(only)} such). Evaluate both on the same items."
            )
    if list(a.scores.columns) != list(b.scores.columns):
        raise ValueError(
            f"a has the scores {list(a.scores.columns)}, b {list(b.scores.columns)}. Evaluate both "
            "with the same k."
        )
    for column in ("human", "label"):
        if column in a.scores.columns:
            unlike = a.scores[column] != b.scores[column].reindex(a.scores.index)
            if unlike.any():
                raise ValueError(
                    f"Item {unlike.idxmax()!r} of {a.task!r} has another {column} in b."
                )
    if a.content and b.content and a.content != b.content:
        raise ValueError(
            f"Both tasks are called {a.task!r} and hold the same items, but their texts or "
            "judgements differ. Evaluate both on one task."
        )
    if a.repeats is not None and (b.repeats is None or not a.repeats.index.equals(b.repeats.index)):
        raise ValueError("a and b rest on different k-means seeds. Evaluate both with one seed.")


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


def _embedder_name(model):
    card = getattr(model, "model_card_data", None)
    folder = (
        str(getattr(model, "name_or_path", None) or "").replace("\\", "/").rstrip("/").split("/")
    )
    if "snapshots" in folder:  # the hub's cache: models--owner--name/snapshots/<revision>
        folder = folder[: folder.index("snapshots")]
        folder[-1] = folder[-1].rsplit("--", 1)[-1]
    elif len(folder) > 1 and folder[-1] == "model":  # a package keeps its model in this folder
        folder.pop()
    named = (getattr(card, "model_name", None), getattr(model, "name", None), folder[-1])
    return next((str(n) for n in named if n), type(model).__name__)


def _rounded(table):
    return table.map(lambda value: f"{value:.4f}" if isinstance(value, float) else value)
