"""Compare evaluations item by item: two, or many; and say whether one may replace the other."""

import html
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.metrics.evaluation import DEPENDENT, Evaluation, rounded
from course_utils.metrics.multiple import holm, letter_display
from course_utils.metrics.records import read_table, write_table
from course_utils.metrics.significance import DRAWS, PairedTest, paired_test
from course_utils.metrics.similarity import paired_spearman_test, spearman

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "course-utils comparison 1"
_PLAIN = ("task", "kind", "a", "b", "confidence", "fingerprints", "versions", "content")
_WHY = "neither an interval nor a p value is claimed, since every text's depends on all the others"
_NUMBERS = ["mean_a", "mean_b", "difference", "low", "high", "p_value"]


@dataclass(frozen=True, repr=False)
class Verdict:
    """An answer and its reason: true or false where a condition stands, a sentence where shown."""

    holds: bool
    message: str

    def __bool__(self) -> bool:
        return self.holds

    def __repr__(self):
        return self.message


@dataclass(frozen=True, eq=False, repr=False)
class Comparison:
    """Two embedders on one task: ``table`` has one row per metric.

    - ``table``: the columns ``mean_a``, ``mean_b``, ``difference`` (b - a), ``low`` and ``high``
      (its paired bootstrap interval), ``p_value`` (see ``paired_test``), ``n`` and what it is
      ``over``. For ``spearman`` the means are the two correlations. For ``silhouette``, interval
      and p value are NaN: none is claimed, because every text's depends on all the others.
    - ``confidence``: of the intervals.
    - ``fingerprints``, ``versions``: those of the two evaluations, under ``"a"`` and ``"b"``;
      ``content`` is the hash of the task.
    """

    task: str
    kind: str
    a: str
    b: str
    table: "pd.DataFrame"
    confidence: float = 0.95
    fingerprints: dict[str, str | None] = field(default_factory=dict)
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    content: str = ""

    def worse_than(self, margin: float = 0.0, *, metric: str | None = None) -> Verdict:
        """Return whether b is shown to be worse than a by more than ``margin``: a ``Verdict``.

        True exactly when the interval of b - a ends below -margin (``high < -margin``). At 95 %
        that is a one-sided test at 0.025: a b that is exactly ``margin`` worse is stopped about one
        time in 40, a better one less often. Fit for a gate that stops a release only on evidence::

            assert not (verdict := compare(base, new).worse_than(0.01, metric="map")), verdict

        False means "not shown", never "as good": with few queries nothing is ever shown. To require
        evidence *for* b, use ``not_worse_than``. ``metric`` is a row of ``table``, and may be left
        out where there is only one; ``margin`` is in its unit.

        Raises ``ValueError`` for a negative margin, an unknown or missing metric, and for
        ``silhouette``, of which no interval is claimed.
        """
        metric, row = self._row(margin, metric)
        holds = bool(row["high"] < -margin)
        finding = "is worse than" if holds else "is not shown to be worse than"
        return self._verdict(holds, finding, margin, metric)

    def not_worse_than(self, margin: float, *, metric: str | None = None) -> Verdict:
        """Return whether b is shown to be at most ``margin`` worse than a: a ``Verdict``.

        True exactly when the interval of b - a begins above -margin (``low > -margin``): the
        non-inferiority test. Here the burden of proof lies with b, so few queries make it fail;
        ``queries_needed`` says how many will do. With margin 0 it asks whether b is better.
        Arguments are those of ``worse_than``; both verdicts cannot be true at once, and where
        neither is, the data leave it open.

        Raises ``ValueError`` as ``worse_than`` does.
        """
        metric, row = self._row(margin, metric)
        holds = bool(row["low"] > -margin)
        finding = "is not worse than" if holds else "may be worse than"
        return self._verdict(holds, finding, margin, metric)

    def save(self, path: str | Path) -> Path:
        """Write the comparison to ``path`` as JSON Lines, one metric a line; return the path.

        Raises ``OSError`` where the file cannot be written.
        """
        return write_table(path, _FORMAT, {n: getattr(self, n) for n in _PLAIN}, self.table)

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Return the comparison that ``save`` wrote.

        Raises ``ValueError`` as ``Evaluation.load`` does.
        """
        header, table = read_table(path, _FORMAT, _PLAIN)
        return cls(**header, table=table.astype(dict.fromkeys(_NUMBERS, float)))

    def _row(self, margin, metric):
        if not (isfinite(margin) and margin >= 0):
            raise ValueError(
                f"margin is {margin!r}. Give how much worse is too much, as a number from 0 up; 0.01 "
                "stands for a loss of 0.01."
            )
        metric = only_metric(metric, list(self.table.index))
        if metric in DEPENDENT:
            raise ValueError(
                f"There is no verdict on {metric}: {_WHY}. Score both on ten or more disjoint "
                "parts of the texts, as many of each label in each, and give the parts' means to "
                "paired_test."
            )
        return metric, self.table.loc[metric]

    def _verdict(self, holds, finding, margin, metric):
        row = self.table.loc[metric]
        ends = f"{row['low']:+.4f} to {row['high']:+.4f}"
        return Verdict(
            holds,
            f"{metric} of b ({self.b}) {finding} that of a ({self.a}) by more than {margin:g}: "
            f"difference {row['difference']:+.4f}, {100 * self.confidence:g} % interval {ends}, "
            f"{row['n']} {row['over']}.",
        )

    def __repr__(self):
        return f"{self._title()}\n{rounded(self.table).to_string()}"

    def _repr_html_(self):
        return f"<p>{html.escape(self._title())}</p>{rounded(self.table).to_html(border=0)}"

    def _title(self):
        title = f"a = {self.a}, b = {self.b}, on {self.task} ({self.kind}); difference is b - a"
        without = [metric for metric in DEPENDENT if metric in self.table.index]
        return f"{title}; for {without[0]}, {_WHY}" if without else title


@dataclass(frozen=True, eq=False, repr=False)
class Leaderboard:
    """Several embedders on one task by one metric, the best first.

    - ``table``: one row per embedder: ``mean``, its interval ``low`` and ``high``, ``letters``, and
      one column ``p vs <embedder>`` for each, the Holm-adjusted p value of that pair. Two
      embedders share a letter exactly when that p value exceeds 1 - ``confidence``.
    - ``pairs``: one row per pair, the better one as b: ``a``, ``b``, ``difference`` (b - a),
      ``low`` and ``high`` (of this difference alone, not adjusted), ``p_value``, ``p_holm``, and
      ``effect_size`` (see ``PairedTest``; NaN for a correlation).
    """

    task: str
    metric: str
    table: "pd.DataFrame"
    pairs: "pd.DataFrame"
    confidence: float = 0.95

    def __repr__(self):
        return f"{self._title()}\n{rounded(self.table).to_string()}"

    def _repr_html_(self):
        return f"<p>{html.escape(self._title())}</p>{rounded(self.table).to_html(border=0)}"

    def _title(self):
        share = f"{100 * self.confidence:g} %"
        return (
            f"{self.metric} on {self.task}, {share} intervals, Holm-adjusted p values; without a "
            "common letter, two differ"
        )


def compare(
    a: Evaluation,
    b: Evaluation,
    *,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    clusters: Mapping[Hashable, Hashable] | None = None,
    seed: int = 0,
) -> Comparison:
    """Return how evaluation ``b`` differs from evaluation ``a``, metric by metric: a ``Comparison``.

    Means are compared item by item with ``paired_test``, Spearman's correlation with
    ``paired_spearman_test``; ``n_resamples`` is theirs. Several metrics are several tests: one of
    twenty is "significant" at 0.05 by chance; ``holm`` adjusts for that. ``clusters`` is
    ``{item: cluster}`` where items hang together, say from ``query_clusters``.

    Clusterings: for k-means, the paired items are the seeds, so that p value speaks of the luck of
    the start and not of other texts. For the silhouette there is neither interval nor p value
    (NaN): every text's depends on all the others, and a test that takes them as independent is
    wrong either way (see ``silhouette_samples``). To decide between two embedders, score both on
    ten or more disjoint parts of the texts, as many of each label in each, and give the parts'
    means to ``paired_test``: in the same simulations that raised a false alarm 6 times in 100.

    Raises ``ValueError`` when the two are not about the same task, the same items, the same texts
    and judgements, or the same metrics (the first difference is named), ``clusters`` lacks an item
    or is given for pairs or texts, or an option is out of range.

    >>> import pandas as pd
    >>> from course_utils.metrics import Evaluation
    >>> def scored(name, values):
    ...     return Evaluation("toy", "retrieval", name, pd.DataFrame({"map": values}))
    >>> compare(scored("old", [0.1, 0.2, 0.3]), scored("new", [0.2, 0.3, 0.4])).table.p_value.item()
    0.25
    """
    import pandas as pd

    _refuse_unlike(a, b)
    options = {"confidence": confidence, "n_resamples": n_resamples, "seed": seed}
    rows = {}
    for metric in _comparable(a):
        mean_a, mean_b, test, over = _tested(a, b, metric, clusters, options)
        ends = (test.difference, test.low, test.high, test.p_value, test.n)
        rows[metric] = (mean_a, mean_b, *ends, over)
    table = pd.DataFrame.from_dict(rows, "index", columns=[*_NUMBERS, "n", "over"])
    return Comparison(
        a.task,
        a.kind,
        a.embedder,
        b.embedder,
        table,
        confidence,
        {"a": a.fingerprint, "b": b.fingerprint},
        {"a": dict(a.versions), "b": dict(b.versions)},
        a.content if a.content == b.content else "",
    )


def compare_many(
    evaluations: Iterable[Evaluation],
    metric: str | None = None,
    *,
    confidence: float = 0.95,
    n_resamples: int | None = None,
    clusters: Mapping[Hashable, Hashable] | None = None,
    seed: int = 0,
) -> Leaderboard:
    """Return several evaluations of one task as one ranked table: a ``Leaderboard``.

    Every pair is tested as in ``compare`` on ``metric``, which may be left out where there is only
    one, and the p values are adjusted for their number with ``holm``. The letters sum that up: two
    embedders differ at the level 1 - ``confidence`` exactly when they share no letter (see
    ``letter_display``). Whether the intervals of two means overlap does not answer that question,
    since both were measured on the same items. ``n_resamples`` is that of ``compare``, and of the
    bootstrap behind each mean's interval.

    Raises ``ValueError`` when fewer than two evaluations are given, two carry one name, the metric
    is unknown or missing, it is ``silhouette`` (which has no test, see ``compare``), or as
    ``compare`` does.

    >>> import pandas as pd
    >>> from course_utils.metrics import Evaluation
    >>> def scored(name, values):
    ...     return Evaluation("toy", "retrieval", name, pd.DataFrame({"map": values}))
    >>> hard = [0.1, 0.0, 0.2, 0.1, 0.1, 0.3, 0.0, 0.2]
    >>> easy, easier = [x + 0.5 for x in hard], [0.6, 0.5, 0.8, 0.6, 0.5, 0.8, 0.6, 0.7]
    >>> board = compare_many([scored("x", hard), scored("y", easy), scored("z", easier)])
    >>> board.table["letters"].to_dict()
    {'z': 'a', 'y': 'a', 'x': 'b'}
    """
    import numpy as np
    import pandas as pd

    evaluations = list(evaluations)
    if len(evaluations) < 2:
        raise ValueError(
            f"There are {len(evaluations)} evaluations. A comparison needs 2 at least."
        )
    names = [evaluation.embedder for evaluation in evaluations]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"Two evaluations are called {twice[0]!r}. Give each its own: evaluate(..., name=...)."
        )
    for other in evaluations[1:]:
        _refuse_unlike(evaluations[0], other)
    first = evaluations[0]
    metric = only_metric(metric, list(_comparable(first)))
    if metric in DEPENDENT:
        raise ValueError(
            f"There is no leaderboard of {metric}: {_WHY}. Choose another metric, or read the "
            "means."
        )
    options = {"confidence": confidence, "n_resamples": n_resamples, "seed": seed}
    summaries = [
        evaluation.summary(
            confidence=confidence,
            n_resamples=DRAWS if n_resamples is None else n_resamples,
            clusters=clusters,
            seed=seed,
        ).loc[[metric]]
        for evaluation in evaluations
    ]
    means = pd.concat(summaries, keys=names).droplevel(1)
    means = means.sort_values("mean", ascending=False, kind="stable")[["mean", "low", "high"]]
    by_name = dict(zip(names, evaluations, strict=True))
    order = list(means.index)
    rows = []
    for better, worse in combinations(order, 2):
        test = _tested(by_name[worse], by_name[better], metric, clusters, options)[2]
        ends = (test.difference, test.low, test.high, test.p_value)
        rows.append((worse, better, *ends, test.effect_size))
    columns = ["a", "b", "difference", "low", "high", "p_value", "effect_size"]
    pairs = pd.DataFrame(rows, columns=columns).astype({"effect_size": float})
    pairs.insert(6, "p_holm", holm(pairs["p_value"]))
    p_values = np.ones((len(order), len(order)))
    upper = np.triu_indices(len(order), 1)  # row by row, the order of combinations
    p_values[upper] = pairs["p_holm"]
    p_values = np.minimum(p_values, p_values.T)
    table = means.rename_axis("embedder").astype(float)
    table["letters"] = letter_display(
        p_values <= round(1 - confidence, 12)
    )  # 0.05, not 0.05 + 4e-17
    for name, column in zip(order, p_values.T, strict=True):
        table[f"p vs {name}"] = column
    return Leaderboard(first.task, metric, table, pairs, confidence)


def only_metric(metric: str | None, metrics: Sequence[str]) -> str:
    """Return ``metric`` if it is one of ``metrics``, and the only one for None.

    Raises ``ValueError`` for another one, and for None where there are several.
    """
    if metric is None and len(metrics) == 1:
        return metrics[0]
    if metric is None or metric not in metrics:
        found = "No metric is given" if metric is None else f"There is no metric {metric!r}"
        raise ValueError(f"{found}. Choose one, before looking: {', '.join(metrics)}.")
    return metric


def _comparable(evaluation):
    """Return the metrics that have more than one item to compare."""
    if evaluation.kind == "similarity":
        return ["spearman"]
    return [metric for metric, (values, _) in evaluation.means().items() if len(values) > 1]


def _tested(a, b, metric, clusters, options):
    """Return (value of a, value of b, ``PairedTest``, over what) for one metric."""
    labels = a.cluster_labels(clusters)
    if metric == "spearman" and a.kind == "similarity":
        human = a.scores["human"]
        cosines = a.scores["cosine"], b.scores["cosine"].reindex(human.index)
        test = paired_spearman_test(human, *cosines, **options)
        return *(spearman(human, cosine) for cosine in cosines), test, "pairs"
    values, over = a.means()[metric]
    other = (
        b.repeats[metric] if over == "k-means seeds" else b.scores[metric].reindex(a.scores.index)
    )
    other = other.to_numpy()
    if metric in DEPENDENT:
        difference = float((other - values).mean())
        test = PairedTest(difference, nan, nan, nan, len(values), permutations=0, exact=False)
    else:
        test = paired_test(values, other, clusters=labels, **options)
    return float(values.mean()), float(other.mean()), test, over


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
            "with the same k and the same measures."
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
            "judgements differ, or the rule for ties. Evaluate both on one task and by one rule."
        )
    if a.repeats is not None and (b.repeats is None or not a.repeats.index.equals(b.repeats.index)):
        raise ValueError("a and b rest on different k-means seeds. Evaluate both with one seed.")
