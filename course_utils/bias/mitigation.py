"""Four ways to take an attribute out of vectors, each a ``LinearEraser``.

All of them remove what a linear model can see, and no more. Groups that a curved boundary can tell
apart afterwards are told apart still (Gonen & Goldberg 2019), so judge an eraser with
``course_utils.bias.probes.judge``, on words that it has not seen, and look at what it costs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from course_utils.bias.eraser import LinearEraser, fingerprints, orthonormal
from course_utils.bias.probes import (
    Labels,
    as_labels,
    as_vectors,
    grouped_halves,
    probe,
    refuse_tiny,
    row_groups,
)
from course_utils.models.files import require

__all__ = ["LinearEraser", "equalise", "hard_debias", "inlp", "leace"]

_SMALL = 1e-6  # of unit vectors in float32: below this a direction is rounding


def hard_debias(
    sets: Iterable[ArrayLike],
    *,
    components: int = 1,
    texts: Iterable[Iterable[str]] | None = None,
) -> LinearEraser:
    """Return the eraser that neutralises: it removes what tells the words within each set apart.

    ``sets`` is a list of arrays (m, d), one a defining set: the vectors of *she* and *he*, of
    *woman* and *man*; an array (n, 2, d) of n pairs will do. The bias subspace is the first
    ``components`` principal components of all words, each less the mean of its set; the eraser is
    x -> x - P x with P the projection onto it. ``texts`` are the sets' words in the same nesting,
    so that the eraser knows what it may not be judged on.

    Bolukbasi et al. neutralise only words that should be neutral and treat the others with
    ``equalise``; in a sentence encoder nobody knows which sentences those are, so the map applies
    to all.

    Raises ``ValueError`` for no set, a set of one, NaN, a zero vector, sets without any difference
    inside, and more ``components`` than the differences span.

    Source: Bolukbasi et al. 2016, section 5.1 (the subspace) and section 6 (step 2a, neutralise).

    >>> pairs = [[[0.8, 0.6], [-0.8, 0.6]], [[0.6, 0.8], [-0.6, 0.8]]]
    >>> hard_debias(pairs).matrix.round(6).tolist()
    [[0.0, 0.0], [0.0, 1.0]]
    """
    rows_of = [as_vectors(members, f"sets[{i}]") for i, members in enumerate(sets)]
    if not rows_of:
        raise ValueError("sets is empty. Give at least one, say the vectors of she and he.")
    small = [i for i, members in enumerate(rows_of) if len(members) < 2]
    if small:
        raise ValueError(f"sets[{small[0]}] holds one vector. A set is of two words at least.")
    # Each set counts alike, whatever its size: the 1/|D_i| of the paper's C.
    centred = [(members - members.mean(axis=0)) / len(members) ** 0.5 for members in rows_of]
    _, sizes, rows = np.linalg.svd(np.concatenate(centred), full_matrices=False)
    found = int((sizes > _SMALL).sum())
    if not 1 <= components <= found:
        raise ValueError(
            f"components is {components}, and the differences within the sets span {found} "
            "directions. Ask for 1 to that many, or give sets whose words differ."
        )
    words = None if texts is None else [word for members in texts for word in members]
    return LinearEraser.removing(
        rows[:components],
        method="hard debias",
        fitted_on=fingerprints(words, sum(map(len, rows_of))),
        details={"components": int(components), "sets": len(rows_of)},
    )


def equalise(members: ArrayLike, directions: ArrayLike) -> np.ndarray:
    """Return one equality set, (m, d) float32: alike outside ``directions``, and of length 1.

    ``members`` (m, d) are unit vectors of words that should differ in the attribute alone
    (*grandmother*, *grandfather*); ``directions`` (k, d) the bias subspace, say
    ``eraser.directions``. With mu the members' mean and mu_B its part in the subspace,
    nu = mu - mu_B, each becomes nu + sqrt(1 - |nu|^2) (w_B - mu_B) / |w_B - mu_B|. Any neutralised
    word is then equally near to all of them.

    Raises ``ValueError`` for one member, NaN, vectors not of length 1, and a member with no part of
    its own in the subspace (its side would be chosen by rounding).

    Source: Bolukbasi et al. 2016, section 6, step 2a (equalise).

    >>> equalise([[0.6, 0.8], [-1.0, 0.0]], [[1.0, 0.0]]).round(4).tolist()
    [[0.9164999723434448, 0.4000000059604645], [-0.9164999723434448, 0.4000000059604645]]
    """
    members = as_vectors(members, "members")
    if len(members) < 2:
        raise ValueError("members holds one vector. An equality set is of two words at least.")
    lengths = np.linalg.norm(members, axis=1)
    long = np.flatnonzero(abs(lengths - 1) > 1e-4)
    if len(long):
        raise ValueError(
            f"members[{long[0]}] has length {lengths[long[0]]:.3f}. Give unit vectors, as encode does."
        )
    basis = orthonormal(as_vectors(directions, "directions"))
    inside = members @ basis.T @ basis
    mean_inside = inside.mean(axis=0)
    nu = members.mean(axis=0) - mean_inside
    own = inside - mean_inside
    sizes = np.linalg.norm(own, axis=1)
    if (sizes < _SMALL).any():
        raise ValueError(
            f"members[{int(sizes.argmin())}] has no part of its own in the directions, so that there "
            "is no side to put it on. Leave this set out."
        )
    height = np.sqrt(max(0.0, 1 - float(nu @ nu)))
    return (nu + height * own / sizes[:, None]).astype(np.float32)


def inlp(
    matrix: ArrayLike,
    labels: Labels,
    *,
    texts: Iterable[str] | None = None,
    pairs: Iterable[Any] | None = None,
    classifier: Literal["means", "logistic"] = "means",
    start: LinearEraser | None = None,
    margin: float = 0.03,
    max_rank: int | None = None,
    held_out: float = 0.3,
    seed: int = 0,
) -> LinearEraser:
    """Return an eraser found by fitting a linear classifier, removing what it used, and again.

    ``matrix`` is (n, d), ``labels`` one group a row, ``texts`` the word that each row stands for
    (one word in several sentences is several rows), ``pairs`` one label a row where words come in
    pairs. Each round fits the ``classifier``, removes the directions that it used, and scales the
    rows to length 1 again, as they will be in use; scaling brings back a little of what was
    removed, which is why a second round finds something. ``"means"`` takes the directions between
    the groups' means; ``"logistic"``, as in the paper, those of logistic regression, which needs
    many more words than there are dimensions, or it removes what happens to tell these ones apart.

    How many rounds: a share ``held_out`` of the words (or pairs) is put aside, and before each
    round a fresh linear ``probe`` is fitted on the others and tried on those. It ends when that
    probe is right at most ``margin`` more often than chance, at ``max_rank`` directions (a tenth of
    d unless given: rounds without end would leave nothing), or when the classifier has no direction
    left. As many rounds are then made on all words. ``details`` tells the probe's accuracy before
    each round and why it ended.

    ``start`` is an eraser to go on from, ``hard_debias`` of the same pairs say: its directions are
    removed too and count towards ``max_rank``.

    The words put aside chose when to stop, so they count as fitted on.

    Raises ``ValueError`` for one class, fewer than four words or pairs a class, NaN, a zero vector,
    and options out of range.

    Source: Ravfogel et al. 2020, algorithm 1; the removed directions are projected out together.

    >>> rng = np.random.default_rng(0)
    >>> matrix = rng.normal(size=(80, 3)) * 0.1 + np.repeat([[1, 0, 1], [-1, 0, 1]], 40, axis=0)
    >>> inlp(matrix, [0] * 40 + [1] * 40).details["stopped"]
    'the fresh probe is at chance'
    """
    matrix, labels = as_vectors(matrix, "matrix"), as_labels(labels, len(matrix))
    seen = fingerprints(texts, len(matrix))
    groups = pairs if pairs is not None else texts if texts is not None else range(len(matrix))
    groups = row_groups(groups, len(matrix), "pairs or texts")
    d = matrix.shape[1]
    max_rank = max(1, d // 10) if max_rank is None else max_rank
    if not 1 <= max_rank < d:
        raise ValueError(f"max_rank is {max_rank}. Give 1 to {d - 1}: at {d} nothing is left.")
    if not 0 <= margin < 1:
        raise ValueError(f"margin is {margin}. Give a share, say 0.03 for three points.")
    if classifier not in _CLASSIFIERS:
        raise ValueError(f'classifier is {classifier!r}. Choose "means" or "logistic".')
    refuse_tiny(labels, groups, needed=4)
    fit, aside = grouped_halves(labels, groups, share=held_out, seed=seed)
    first = np.zeros((0, d)) if start is None else start.directions
    if first.shape[1] != d:
        raise ValueError(f"start has {first.shape[1]} dimensions, matrix {d}. Use one model's.")
    basis, rounds, accuracies, stopped = first, 0, [], None
    while stopped is None:
        rest = _without(matrix, basis)
        fresh = probe(
            rest[fit],
            labels[fit],
            test_matrix=rest[aside],
            test_labels=labels[aside],
            groups=groups[fit],
            seed=seed,
        )
        accuracies.append(round(fresh.accuracy, 4))
        if fresh.accuracy <= fresh.chance + margin:
            stopped = "the fresh probe is at chance"
        elif len(basis) >= max_rank:
            stopped = "max_rank is reached"
        else:
            grown = _one_round(matrix[fit], labels[fit], basis, classifier)[:max_rank]
            if len(grown) == len(basis):
                stopped = "the classifier has no direction left"
            else:
                basis, rounds = grown, rounds + 1
    basis = first
    for _ in range(rounds):
        basis = _one_round(matrix, labels, basis, classifier)[:max_rank]
    details = {
        "classifier": classifier,
        "rounds": rounds,
        "accuracies": accuracies,
        "chance": round(fresh.chance, 4),
        "stopped": stopped,
    }
    projection = basis.T @ basis
    return LinearEraser(
        np.eye(d) - projection,
        np.zeros(d),
        method="INLP" if start is None else f"{start.method}, then INLP",
        fitted_on=seen if start is None else seen | start.fitted_on,
        details=details,
    )


def leace(matrix: ArrayLike, labels: Labels, *, texts: Iterable[str] | None = None) -> LinearEraser:
    """Return the eraser that hides the groups from every linear model at the least change.

    ``matrix`` is (n, d), ``labels`` one group a row, ``texts`` the word that each row stands for.
    Afterwards all groups have the same mean, on which alone linear models can lean, and among all
    maps that do so this one moves the vectors least. That is exact for the rows it was fitted on;
    for others as far as their groups' means are the same. Its rank is the number of groups less
    one. The covariance is shrunk, so it can be fitted on fewer words than dimensions; other words
    then keep some of the difference. The map is oblique: it moves along the difference of the
    means by what a classifier says, so neutral words may come to lie further along that difference
    than before. Where their direct bias counts, use ``inlp`` or ``hard_debias``.

    Through the package concept-erasure (MIT). Its ``constrain_cov_trace`` is off: it mixes in
    another projection, after which the groups' means differ again.

    Raises ``ImportError`` with the line to type where the package is missing, and ``ValueError``
    for one class, fewer than two rows a class, NaN, and a zero vector.

    Source: Belrose et al. 2023, theorem 4.3.
    """
    matrix, labels = as_vectors(matrix, "matrix"), as_labels(labels, len(matrix))
    refuse_tiny(labels, range(len(matrix)), needed=2)
    concept_erasure = require("concept_erasure", "erasure", "LEACE")
    import torch

    groups = np.unique(labels)
    one_hot = (labels[:, None] == groups[None, :]).astype(np.float64)
    fitter = concept_erasure.LeaceFitter(
        matrix.shape[1],
        len(groups),
        dtype=torch.float64,
        constrain_cov_trace=False,
        # Smaller than any correlation worth erasing, far above rounding.
        svd_tol=1e-6,
    )
    found = fitter.update(torch.from_numpy(matrix), torch.from_numpy(one_hot)).eraser
    whole = found.P.numpy()
    mean = matrix.mean(axis=0)
    return LinearEraser(
        whole,
        mean - whole @ mean,
        method="LEACE",
        fitted_on=fingerprints(texts, len(matrix)),
        details={"rows": len(matrix), "groups": len(groups)},
    )


def _without(matrix, basis):
    """Return the rows less what lies along ``basis``, of length 1 again."""
    rest = matrix - matrix @ basis.T @ basis
    return rest / np.maximum(np.linalg.norm(rest, axis=1, keepdims=True), _SMALL)


def _one_round(matrix, labels, basis, classifier):
    """Return ``basis`` with the directions added that the classifier uses on what is left."""
    found = _CLASSIFIERS[classifier](_without(matrix, basis), labels)
    sizes = np.linalg.norm(found, axis=1)
    found = found[sizes > _SMALL] / sizes[sizes > _SMALL, None]
    found = found - found @ basis.T @ basis
    found = found[np.linalg.norm(found, axis=1) > 1e-3]
    return np.concatenate([basis, orthonormal(found)]) if len(found) else basis


def _between_means(rows, labels):
    means = np.stack([rows[labels == label].mean(axis=0) for label in np.unique(labels)])
    return (means - means.mean(axis=0))[1:]  # the first follows from the others


def _of_logistic_regression(rows, labels):
    from sklearn.linear_model import LogisticRegression

    # Rows of length 1 have entries near 1/sqrt(d); without this the penalty would rule the fit.
    scale = rows.std() or 1.0
    return LogisticRegression(C=1.0, max_iter=2000).fit(rows / scale, labels).coef_


_CLASSIFIERS = {"means": _between_means, "logistic": _of_logistic_regression}
