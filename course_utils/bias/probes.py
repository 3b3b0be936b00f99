"""Can a group still be read off the vectors? Fresh classifiers, tried on rows they have not seen.

A probe that fails shows that this kind of probe fails. So there are two kinds, a linear and a
curved one, and where the linear one is at chance and the curved one is not, the attribute is
hidden, not gone.
"""

from dataclasses import dataclass, field
from numbers import Integral

import numpy as np

from course_utils.metrics import bootstrap_interval
from course_utils.retrieval.kinds import as_matrix

KINDS = ("linear", "non-linear")
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
    def above_chance(self):
        """Accuracy less chance."""
        return self.accuracy - self.chance


def probe(
    matrix,
    labels,
    *,
    test_matrix,
    test_labels,
    kind="linear",
    groups=None,
    test_groups=None,
    seed=0,
):
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

    Raises ``ValueError`` for NaN, zero vectors, another number of labels than rows, one class,
    fewer than four rows a class to fit on, a test label that the fitting rows have not, a group on
    both sides, and an unknown kind.

    Source: Ravfogel et al. 2020, section 5; Hewitt & Liang 2019 on what probes show; Wilson 1927.

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


def judge(eraser, matrix, labels, *, texts, pairs=None, folds=5, seed=0):
    """Return what fresh probes find before and after an eraser, as a DataFrame of four rows.

    ``matrix`` (n, d) are a model's vectors, ``labels`` one group a row, ``texts`` the word that
    each row stands for; the eraser must have seen none of them. The index is (kind, when): both
    kinds of ``probe``, "before" on ``matrix`` and "after" on ``eraser.transform(matrix)``. Each row
    is tried once, by a probe fitted on other words (cross-validation over words, ``folds`` parts);
    the columns are accuracy, its interval (whole words redrawn), chance, balanced accuracy and n.

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


def wilson_interval(right, n, *, confidence=0.95):
    """Return (low, high) for a share of ``right`` in ``n`` independent tries.

    Unlike the share plus or minus two standard errors it stays within 0 and 1, and has a width at
    0 of n. Raises ``ValueError`` unless 0 <= right <= n and n >= 1.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001, equation 4.

    >>> wilson_interval(8, 10)  # doctest: +ELLIPSIS
    (0.490..., 0.943...)
    """
    from scipy.stats import norm

    if not isinstance(n, Integral) or n < 1 or not 0 <= right <= n:
        raise ValueError(f"{right} right of {n}: give 0 <= right <= n and n of 1 or more.")
    z = norm.ppf((1 + confidence) / 2)
    share = right / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    # At 0 and at n of n the ends are exactly 0 and 1; rounding may miss them.
    return (
        0.0 if right == 0 else max(0.0, float(centre - half)),
        1.0 if right == n else min(1.0, float(centre + half)),
    )


def as_vectors(vectors, name):
    """Return ``vectors`` as (n, d) float64; raises ``ValueError`` for NaN and for a zero row."""
    as_matrix(vectors, name)
    matrix = np.array(vectors, dtype=np.float64)
    zero = np.flatnonzero(~matrix.any(axis=1))
    if len(zero):
        raise ValueError(
            f"{name}[{zero[0]}] is a vector of zeros, which has no direction. Leave that text out."
        )
    return matrix


def as_labels(labels, rows, name="labels", *, classes=2):
    """Return labels as an array (rows,); raises ``ValueError`` for too few of them or of classes."""
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


def refuse_tiny(labels, words, *, needed):
    """Raise ``ValueError`` for a class of fewer than ``needed`` different words (or rows)."""
    words = np.array(list(words), dtype=object)
    for label in dict.fromkeys(labels.tolist()):
        found = len(set(words[labels == label]))
        if found < needed:
            raise ValueError(
                f"The class {label!r} has {found} different words or rows, and {needed} are needed. "
                "Give more."
            )


def grouped_halves(labels, groups, *, share, seed):
    """Return (rows to fit on, rows put aside): ``share`` of the groups aside, classes in proportion.

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


def row_groups(groups, rows, name):
    """Return groups as whole numbers (rows,), each row its own where None."""
    if groups is None:
        return np.arange(rows)
    groups = list(groups)
    if len(groups) != rows:
        raise ValueError(f"{name} holds {len(groups)} for {rows} rows. Give one a row.")
    number = {}
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
    if groups is None:
        low, high = wilson_interval(int(correct.sum()), len(correct))
    else:
        low, high = bootstrap_interval(correct, clusters=groups)
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
