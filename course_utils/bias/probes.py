"""Can a group still be read off the vectors? Fresh classifiers, tried on rows they have not seen.

A probe that fails shows that this kind of probe fails. So there are two kinds, a linear and a
curved one, and where the linear one is at chance and the curved one is not, the attribute is
hidden, not gone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.metrics import Interval, bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

    from course_utils.bias.eraser import LinearEraser

#: One label a row; anything that can be compared.
Labels: TypeAlias = Sequence[Any] | np.ndarray
Kind: TypeAlias = Literal["linear", "non-linear"]

KINDS: tuple[Kind, ...] = ("linear", "non-linear")
_ROUNDING = 1e-6  # of the largest spread of a column: less than this float32 cannot carry
_STRENGTHS = {"linear": (1e-4, 1e-2, 1.0), "non-linear": (0.1, 1.0, 10.0)}


@dataclass(frozen=True)
class Probe:
    """How often a probe names the right group of rows that it has not seen.

    ``accuracy`` is the share of ``n`` test rows, ``low`` and ``high`` its 95 % interval; ``chance``
    the share that always naming the most frequent group would get; ``balanced`` the mean over
    groups of the share right (chance is one over the number of groups), which is the one to read
    where groups differ in size. ``correct`` holds one True or False a test row.
    """

    kind: str
    accuracy: float
    low: float
    high: float
    chance: float
    balanced: float
    n: int
    correct: np.ndarray = field(repr=False, compare=False)

    @property
    def above_chance(self) -> float:
        """Return accuracy less chance."""
        return self.accuracy - self.chance


def probe(
    matrix: ArrayLike,
    labels: Labels,
    *,
    test_matrix: ArrayLike,
    test_labels: Labels,
    kind: Kind = "linear",
    groups: Iterable[Any] | None = None,
    test_groups: Iterable[Any] | None = None,
    seed: int = 0,
) -> Probe:
    """Return how well a fresh classifier, fitted on ``matrix``, names the groups of other rows.

    ``matrix`` (n, d) with one label a row, ``test_matrix`` (m, d) likewise. ``kind`` is
    ``"linear"``, logistic regression, or ``"non-linear"``, a support vector machine with a Gaussian
    kernel of width sqrt(d). Columns are standardised by the fitting rows. How hard it is
    regularised (C of 0.0001, 0.01, 1 and 0.1, 1, 10) is chosen by cross-validation within the
    fitting rows, by ``seed``.

    ``groups`` and ``test_groups`` are one label a row where rows hang together: sentences with the
    same word, or the two words of a pair. Rows of one group stay on one side of the
    cross-validation, and the interval redraws whole groups of the test rows; without
    ``test_groups`` it is Wilson's, which takes rows as independent.

    Where all test rows are named right, or all wrong, every redraw is the same, and its interval
    would be [1, 1]. It is then Wilson's too, with each group counted as one row: rows that all turn
    out alike cannot show that those of a group do not stand and fall together. Ten groups, all
    right, give 0.72 to 1. How often the interval held the true accuracy, by that accuracy, of ten
    groups that are right or wrong as a whole (without this rule in brackets)::

        0.80: 0.99 (0.89)    0.90: 1.00 (0.65)    0.95: 1.00 (0.40)    0.99: 1.00 (0.10)

    Raises ``ValueError`` for NaN, zero vectors, another number of labels than rows, one class,
    fewer than four rows a class to fit on, a test label that the fitting rows have not, a group on
    both sides, and an unknown kind.

    Source: Ravfogel et al. 2020, section 5; Hewitt & Liang 2019 on what probes show; Wilson 1927,
    by ``scipy.stats``.

    >>> rows = np.random.default_rng(0).normal(size=(60, 2)) + [3, 3]
    >>> rows[30:] -= [6, 6]
    >>> found = probe(rows[::2], [0] * 15 + [1] * 15, test_matrix=rows[1::2],
    ...               test_labels=[0] * 15 + [1] * 15)
    >>> found.accuracy, found.chance
    (1.0, 0.5)
    """
    matrix, test_matrix = as_vectors(matrix, "matrix"), as_vectors(test_matrix, "test_matrix")
    if matrix.shape[1] != test_matrix.shape[1]:
        raise ValueError(
            f"matrix has {matrix.shape[1]} dimensions, test_matrix {test_matrix.shape[1]}. Give "
            "vectors of one model."
        )
    labels = as_labels(labels, len(matrix))
    groups, test_groups = (g if g is None else list(g) for g in (groups, test_groups))
    test_labels = as_labels(test_labels, len(test_matrix), "test_labels", classes=1)
    unknown = sorted(set(test_labels.tolist()) - set(labels.tolist()), key=str)
    if unknown:
        raise ValueError(f"test_labels holds {unknown[0]!r}, which no row of labels is.")
    shared = set() if groups is None or test_groups is None else set(groups) & set(test_groups)
    if shared:
        raise ValueError(f"The group {shared.pop()!r} has rows on both sides. Keep it on one.")
    groups = row_groups(groups, len(matrix), "groups")
    refuse_tiny(labels, range(len(matrix)), needed=4)
    if test_groups is not None:
        test_groups = row_groups(test_groups, len(test_matrix), "test_groups")
    correct = _fitted(matrix, labels, groups, kind, seed).predict(test_matrix) == test_labels
    return _result(kind, correct, test_labels, test_groups)


def judge(
    eraser: LinearEraser,
    matrix: ArrayLike,
    labels: Labels,
    *,
    texts: Iterable[str],
    pairs: Iterable[Any] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Return what fresh probes find before and after an eraser, as a DataFrame of four rows.

    ``matrix`` (n, d) are a model's vectors, ``labels`` one group a row, ``texts`` the word that
    each row stands for; the eraser must have seen none of them. The index is (kind, when): both
    kinds of ``probe``, "before" on ``matrix`` and "after" on ``eraser.transform(matrix)``. Each row
    is tried once, by a probe fitted on other words (cross-validation over words, ``folds`` parts);
    the columns are accuracy, its interval (whole words redrawn, as in ``probe``), chance, balanced
    accuracy and n.

    ``pairs`` is one label a row where words come in pairs (*king* and *queen*): give it, or a probe
    that has seen *king* will be wrong about *queen* because the two are neighbours, and the
    accuracy falls below chance for a reason that is no mitigation.

    Raises ``ValueError`` for a word that the eraser was fitted on, an eraser that does not know,
    fewer than ``folds`` words a class, and as ``probe``.
    """
    import pandas as pd

    texts = list(texts)
    eraser.check_unseen(texts)
    matrix = as_vectors(matrix, "matrix")
    labels = as_labels(labels, len(matrix))
    groups = row_groups(texts if pairs is None else pairs, len(matrix), "texts or pairs")
    refuse_tiny(labels, groups, needed=folds)
    rows = {}
    after = eraser.transform(matrix).astype(np.float64)
    for kind in KINDS:
        for when, vectors in (("before", matrix), ("after", after)):
            correct = np.zeros(len(matrix), dtype=bool)
            for fit, test in _splitter(folds, seed).split(vectors, labels, groups):
                fitted = _fitted(vectors[fit], labels[fit], groups[fit], kind, seed)
                correct[test] = fitted.predict(vectors[test]) == labels[test]
            found = _result(kind, correct, labels, groups)
            rows[kind, when] = {
                name: getattr(found, name)
                for name in ("accuracy", "low", "high", "chance", "balanced", "n")
            }
    return pd.DataFrame(rows).T.rename_axis(["probe", "when"]).astype({"n": int})


def as_vectors(vectors: ArrayLike, name: str) -> np.ndarray:
    """Return ``vectors`` as (n, d) float64; raises ``ValueError`` for NaN and for a zero row."""
    matrix = finite_matrix(vectors, name, dtype=np.float64)
    zero = np.flatnonzero(~matrix.any(axis=1))
    if len(zero):
        raise ValueError(
            f"{name}[{zero[0]}] is a vector of zeros, which has no direction. Leave that text out."
        )
    return matrix


def as_labels(
    labels: Iterable[Any], rows: int, name: str = "labels", *, classes: int = 2
) -> np.ndarray:
    """Return labels as an array (rows,); raises ``ValueError`` for too few of them or classes."""
    labels = np.array(list(labels))
    if labels.shape != (rows,):
        raise ValueError(f"{name} holds {len(labels)} for {rows} rows. Give one label a row.")
    if len(set(labels.tolist())) < classes:
        raise ValueError(
            f"{name} holds the one class {labels.tolist()[0]!r}. There is nothing to tell apart; "
            "give two groups or more."
            if rows
            else f"{name} is empty."
        )
    return labels


def refuse_tiny(labels: np.ndarray, words: Iterable[Any], *, needed: int) -> None:
    """Raise ``ValueError`` for a class of fewer than ``needed`` different words (or rows)."""
    words = np.array(list(words), dtype=object)
    for label in dict.fromkeys(labels.tolist()):
        found = len(set(words[labels == label]))
        if found < needed:
            raise ValueError(
                f"The class {label!r} has {found} different words or rows, and {needed} are needed. "
                "Give more."
            )


def grouped_halves(
    labels: np.ndarray, groups: Iterable[Any], *, share: float, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return (rows to fit on, rows put aside): ``share`` of the groups, classes in proportion.

    Raises ``ValueError`` unless both sides get each class.
    """
    parts = round(1 / share) if 0 < share <= 0.5 else 0
    if parts < 2:
        raise ValueError(f"held_out is {share}. Give a share above 0 and up to a half, say 0.3.")
    codes = row_groups(groups, len(labels), "groups")
    fit, aside = next(iter(_splitter(parts, seed).split(codes, labels, codes)))
    everything = set(labels.tolist())
    if set(labels[fit].tolist()) != everything or set(labels[aside].tolist()) != everything:
        raise ValueError("There are too few words to put some of each class aside. Give more.")
    return fit, aside


def _splitter(folds, seed):
    from sklearn.model_selection import StratifiedGroupKFold

    return StratifiedGroupKFold(folds, shuffle=True, random_state=seed)


def row_groups(groups: Iterable[Any] | None, rows: int, name: str) -> np.ndarray:
    """Return groups as whole numbers (rows,), each row its own where None."""
    if groups is None:
        return np.arange(rows)
    groups = list(groups)
    if len(groups) != rows:
        raise ValueError(f"{name} holds {len(groups)} for {rows} rows. Give one a row.")
    number: dict[Any, int] = {}
    return np.array([number.setdefault(group, len(number)) for group in groups])


def _fitted(matrix, labels, groups, kind, seed):
    """Return a classifier fitted on the rows, its C chosen by cross-validation over groups."""
    from sklearn.feature_selection import VarianceThreshold
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if kind not in KINDS:
        raise ValueError(f'kind is {kind!r}. Choose "linear" or "non-linear".')
    linear = kind == "linear"
    model = LogisticRegression(max_iter=2000) if linear else SVC(kernel="rbf", gamma="auto")
    name = type(model).__name__.lower()
    smallest = min(len(set(groups[labels == label])) for label in set(labels.tolist()))
    spread = matrix.std(axis=0).max()
    if spread == 0:
        raise ValueError("All rows to fit on are the same vector. There is nothing to learn from.")
    # Some models have dimensions that are never used. What rounding leaves in them, 1e-20 of an
    # erased direction say, would be scaled up to the size of the others, and give the group away.
    used = VarianceThreshold((_ROUNDING * spread) ** 2)
    pipeline = make_pipeline(used, StandardScaler(), model)
    if smallest < 2:  # no group to leave out
        return pipeline.fit(matrix, labels)
    search = GridSearchCV(
        pipeline,
        {f"{name}__C": _STRENGTHS[kind]},
        cv=_splitter(min(3, smallest), seed),
        scoring="balanced_accuracy",
    )
    return search.fit(matrix, labels, groups=groups)


def _result(kind, correct, labels, groups):
    shares = [correct[labels == label].mean() for label in set(labels.tolist())]
    chance = max((labels == label).mean() for label in set(labels.tolist()))
    low, high = _interval(correct, groups)
    return Probe(
        kind,
        float(correct.mean()),
        low,
        high,
        float(chance),
        float(np.mean(shares)),
        len(correct),
        correct,
    )


def _interval(correct, groups):
    """Return the 95 % interval of the share right; see ``probe`` for why there are two kinds."""
    from scipy.stats import binomtest

    share = correct.mean()
    if groups is not None and 0 < share < 1:
        return bootstrap_interval(correct, clusters=groups)
    tries = len(correct) if groups is None else len(set(groups.tolist()))
    found = binomtest(round(share * tries), tries).proportion_ci(method="wilson")
    return Interval(float(found.low), float(found.high))
