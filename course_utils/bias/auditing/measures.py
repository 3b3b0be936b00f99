"""The numbers of an audit: each measure with its interval, and a p value where there is a null.

Every function takes an embedder and texts and returns a ``Measured``. Where a p value is given, it
is exact in the sense of a permutation test: it says how often an embedder that knows nothing of the
groups comes as far, so that an audit of such an embedder raises no alarm more often than promised.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from course_utils.bias.associations import association, effect_size_interval, weat
from course_utils.bias.directions import bias_direction, unit_rows
from course_utils.bias.frames import in_templates, template_vectors
from course_utils.encoding.encode import encode
from course_utils.metrics import Interval, bootstrap_interval, spearman, spearman_interval

if TYPE_CHECKING:
    from course_utils.bias.stimuli import CounterfactualPair
    from course_utils.data.tasks import AssociationTest
    from course_utils.encoding.embedders import AnyEmbedder

_CHUNK = 1000  # random pairings worked on at once
_TIE = 1e-9
# Additions that say nothing about anybody; {} is the sentence.
NEUTRAL = ("Note: {}", "For the record: {}", "{} That is all.", "So it was said: {}")


class Draws(NamedTuple):
    """How often to permute for a p value, how often to redraw for an interval, and the seed."""

    permutations: int = 9999
    resamples: int = 2000
    seed: int = 0


class Measured(NamedTuple):
    """A value, its interval, its p value, what chance gives on average, and over how many items.

    ``p_value`` and ``by_chance`` are None where no comparison with chance is meaningful.
    """

    value: float
    low: float
    high: float
    p_value: float | None
    by_chance: float | None
    n: int


def association_effect(
    embedder: AnyEmbedder,
    test: AssociationTest,
    frames: Sequence[str],
    attribute_frames: Sequence[str],
    draws: Draws,
) -> Measured:
    """Return the effect size of ``weat`` over words averaged over sentence frames, two-sided.

    The interval redraws the words of all four sets; p exchanges words of X and Y, with all their
    sentences. Raises ``ValueError`` as ``weat`` does.
    """
    sets = [
        template_vectors(
            embedder, getattr(test, side), frames if side in "XY" else attribute_frames
        )
        for side in "XYAB"
    ]
    result = weat(*sets, alternative="two-sided", n_resamples=draws.permutations, seed=draws.seed)
    low, high = effect_size_interval(*sets, n_resamples=draws.resamples, seed=draws.seed)
    return Measured(result.effect_size, low, high, result.p_value, 0.0, len(test.X) + len(test.Y))


def occupations_along(
    words: ArrayLike, first: ArrayLike, second: ArrayLike, draws: Draws
) -> Measured:
    """Return the direct bias of ``words`` (n, d) along the direction between paired words.

    ``first`` and ``second``, (k, d), are the pairs: she and he, woman and man. The value is the
    mean of \\|cos(word, direction)\\|, ``direct_bias`` with c = 1; its interval redraws the words.
    p is the share of random pairings of the same 2k words whose direction the words lie as far
    along, so that it asks whether gender matters more than whatever else these words differ in;
    ``by_chance`` is the mean over those pairings.
    """
    words, paired = unit_rows(words, "words"), unit_rows(np.concatenate([first, second]), "pairs")
    k = len(paired) // 2
    direction = bias_direction(np.stack([paired[:k], paired[k:]], axis=1)).direction
    cosines = np.abs(words @ direction)
    low, high = bootstrap_interval(cosines, n_resamples=draws.resamples, seed=draws.seed)
    random = _along_random_pairings(words @ paired.T, paired @ paired.T, draws)
    return Measured(
        float(cosines.mean()),
        low,
        high,
        _share(random >= cosines.mean() - _TIE),
        float(random.mean()),
        len(words),
    )


def _along_random_pairings(to_pairs, among, draws):
    """Return the mean \\|cosine\\| along the directions of random pairings, (permutations,).

    All of it follows from the cosines of words with paired words (n, 2k) and among these (2k, 2k):
    the first right singular vector of the differences D is D'u divided by the singular value, u the
    first eigenvector of DD'.
    """
    rng = np.random.default_rng(draws.seed)
    k = len(among) // 2
    found = []
    for start in range(0, draws.permutations, _CHUNK):
        rows = min(_CHUNK, draws.permutations - start)
        order = rng.permuted(np.tile(np.arange(2 * k), (rows, 1)), axis=1)
        one, other = order[:, :k], order[:, k:]
        products = (
            among[one[:, :, None], one[:, None, :]]
            - among[one[:, :, None], other[:, None, :]]
            - among[other[:, :, None], one[:, None, :]]
            + among[other[:, :, None], other[:, None, :]]
        )
        strengths, vectors = np.linalg.eigh(products)
        # (n, rows, k): how each word goes with each difference.
        along = to_pairs[:, one] - to_pairs[:, other]
        cosines = np.einsum("nrk,rk->rn", along, vectors[:, :, -1])
        lengths = np.sqrt(np.maximum(strengths[:, -1], 1e-18))
        found.append(np.abs(cosines).mean(axis=1) / lengths)
    return np.concatenate(found)


def follows_shares(
    words: ArrayLike, female: ArrayLike, male: ArrayLike, shares: ArrayLike, draws: Draws
) -> Measured:
    """Return Spearman's correlation of how female words are to the model, and are in numbers.

    A word's association is its mean cosine with the ``female`` vectors less that with the ``male``
    ones; ``shares`` (n,) are percentages of women. The interval redraws words, p (two-sided)
    exchanges the shares among the words.
    """
    lean = association(words, female, male)
    value = spearman(lean, shares)
    low, high = spearman_interval(lean, shares, n_resamples=draws.resamples, seed=draws.seed)
    ranks = [_standard_ranks(numbers) for numbers in (lean, shares)]
    rng = np.random.default_rng(draws.seed)
    shuffled = rng.permuted(np.tile(ranks[1], (draws.permutations, 1)), axis=1)
    p_value = _share(np.abs(shuffled @ ranks[0]) >= abs(value) - _TIE)
    return Measured(value, low, high, p_value, 0.0, len(lean))


def sentences_move(
    embedder: AnyEmbedder, pairs: Sequence[CounterfactualPair], draws: Draws
) -> Measured:
    """Return how far the two sentences of a pair lie apart, by what a neutral addition does.

    ``pairs`` are ``CounterfactualPair`` objects. The value is the mean of 1 − cosine within the
    pairs over its mean between a sentence and the same one with an addition that says nothing of
    anybody (``NEUTRAL``): 1 means "as far as that". The interval redraws pairs. There is no p
    value: a model that reads the words at all moves, so that 0 is nobody's null.
    """
    sides = [[pair.first for pair in pairs], [pair.second for pair in pairs]]
    first, second = (encode(embedder, side).astype(np.float64) for side in sides)
    swap = 1 - np.einsum("nd,nd->n", first, second)
    neutral = np.zeros(len(pairs))
    for frame in NEUTRAL:
        for side, vectors in zip(sides, (first, second), strict=True):
            added = encode(embedder, [frame.replace("{}", text) for text in side])
            neutral += 1 - np.einsum("nd,nd->n", vectors, added)
    neutral /= 2 * len(NEUTRAL)
    if neutral.mean() <= _TIE:
        raise ValueError("Neutral additions move no sentence, so there is nothing to compare with.")

    def ratio(rows, axis=-1):
        rows = np.asarray(rows).astype(np.intp)
        return swap[rows].mean(axis=axis) / neutral[rows].mean(axis=axis)

    rows = np.arange(len(pairs))
    low, high = bootstrap_interval(
        rows, statistic=ratio, n_resamples=draws.resamples, seed=draws.seed
    )
    return Measured(float(ratio(rows)), low, high, None, None, len(pairs))


def names_apart(
    embedder: AnyEmbedder,
    contrasts: Iterable[tuple[Sequence[str], Sequence[str]]],
    frames: Sequence[str],
    draws: Draws,
) -> Measured:
    """Return how much farther a sentence moves for a name of the other group than of its own.

    ``contrasts`` is a list of pairs of lists of names. With a name exchanged for another in the
    same sentence, the value is the mean distance (1 − cosine) between names of the two groups over
    that within a group, less 1: 0.1 means 10 % farther. p is the share of random regroupings,
    within each contrast, that come at least as far. The interval is a jackknife over names with
    Student's t: each distance is about two names, so that redrawing distances would make it too
    narrow.

    Raises ``ValueError`` where all names of a group share one vector.
    """
    blocks, labels = [], []
    for one, other in contrasts:
        vectors = in_templates(embedder, [*one, *other], frames, None)
        cosines = np.einsum("itd,jtd->ij", vectors, vectors) / len(frames)
        blocks.append(1 - cosines)
        labels.append(np.repeat([1.0, -1.0], [len(one), len(other)]))
    value = float(_excess(blocks, [label[None] for label in labels])[0])
    if not np.isfinite(value):
        raise ValueError(
            "All names of a group have one vector, so there is no distance within a group to "
            "compare with."
        )
    rng = np.random.default_rng(draws.seed)
    drawn = [rng.permuted(np.tile(label, (draws.permutations, 1)), axis=1) for label in labels]
    random = _excess(blocks, drawn)
    low, high = _jackknife(blocks, labels, value)
    n = sum(map(len, labels))
    return Measured(value, low, high, _share(random >= value - _TIE), float(random.mean()), n)


def _excess(blocks, labels):
    """Return mean distance across by mean within, less 1; labels are ±1, (draws, names) a block."""
    across, within = np.zeros(len(labels[0])), np.zeros(len(labels[0]))
    pairs_across = pairs_within = 0
    for distances, label in zip(blocks, labels, strict=True):
        total = np.triu(distances, 1).sum()
        signed = (((label @ distances) * label).sum(axis=1) - np.trace(distances)) / 2
        across += (total - signed) / 2
        within += (total + signed) / 2
        first = int((label[0] > 0).sum())
        pairs_across += first * (len(distances) - first)
        pairs_within += len(distances) * (len(distances) - 1) // 2 - first * (
            len(distances) - first
        )
    within_mean = within / pairs_within
    usable = within_mean > _TIE
    ratio = np.full(len(across), np.inf)
    return np.divide(across / pairs_across, within_mean, out=ratio, where=usable) - 1


def _jackknife(blocks, labels, value):
    """Return the 95 % interval of ``_excess`` from leaving out one name at a time."""
    from scipy.stats import t

    left_out = []
    for block, distances in enumerate(blocks):
        for name in range(len(distances)):
            keep = np.arange(len(distances)) != name
            some = [d[np.ix_(keep, keep)] if i == block else d for i, d in enumerate(blocks)]
            marks = [m[keep] if i == block else m for i, m in enumerate(labels)]
            left_out.append(_excess(some, [mark[None] for mark in marks])[0])
    n, spread = len(left_out), np.var(left_out)
    half = float(t.ppf(0.975, n - 1) * np.sqrt((n - 1) * spread))
    return Interval(value - half, value + half)


def _standard_ranks(numbers):
    """Return ranks, ties shared, with mean 0 and length 1, so that products are correlations."""
    from scipy.stats import rankdata

    ranks = rankdata(numbers)
    ranks = ranks - ranks.mean()
    return ranks / np.linalg.norm(ranks)


def _share(as_far):
    """Return (b + 1)/(m + 1): the arrangement seen is one of those that chance could give."""
    return float((int(as_far.sum()) + 1) / (len(as_far) + 1))
