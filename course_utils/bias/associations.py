"""Are two sets of words associated differently with two sets of attributes, and could it be chance?

``weat`` asks it of vectors, ``seat`` of a model that reads sentences, ``single_weat`` of one word
at a time, ``nearer`` of one word and two others. A number above 0 describes these vectors, made
from these texts. It is no statement about the people behind a name or a group, and no measure of
harm: what a system does with the vectors decides that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.bias.directions import (
    BiasDirection,
    bias_direction,
    direct_bias,
    relative_norm_distance,
    same_length,
    unit_rows,
)
from course_utils.bias.frames import Nearer, in_templates, nearer, template_vectors
from course_utils.bias.partitions import Alternative, split_test
from course_utils.metrics import Interval

if TYPE_CHECKING:
    import pandas as pd

    from course_utils.data.tasks import AssociationTest
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

__all__ = [
    "BiasDirection",
    "Nearer",
    "WeatResult",
    "association",
    "bias_direction",
    "direct_bias",
    "effect_size_interval",
    "nearer",
    "relative_norm_distance",
    "seat",
    "single_weat",
    "template_vectors",
    "weat",
]

# Vectors of a model are float32: associations that differ by less are rounding.
_FLAT = 1e-9
# Cosines of float64 vectors are right to some 1e-15; ties are allowed a thousand times that.
_ROUNDING = 1e-12
_ALIKE = "All words of X and Y are associated alike with A and B"


@dataclass(frozen=True)
class WeatResult:
    """How differently two sets are associated, and how often chance alone gives that.

    ``statistic`` is the test statistic, ``effect_size`` the difference in standard deviations
    (Cohen's d with the deviation of all words pooled, so within ±2), ``p_value`` the share of
    ``permutations`` partitions with a statistic at least as large; ``exact`` says that these were
    all partitions. ``by_template`` (from ``seat``) maps each template to the result it alone gives.
    """

    statistic: float
    effect_size: float
    p_value: float
    permutations: int
    exact: bool
    by_template: dict[str, WeatResult] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """Return a DataFrame, a row for each template: statistic, effect_size and p_value."""
        import pandas as pd

        columns = ["statistic", "effect_size", "p_value"]
        rows = [[getattr(one, name) for name in columns] for one in self.by_template.values()]
        return pd.DataFrame(rows, list(self.by_template), columns).rename_axis("template")


def association(words: ArrayLike, A: ArrayLike, B: ArrayLike) -> np.ndarray:
    """Return for each word how much nearer it is to A than to B, shape (n,).

    That is s(w, A, B): the mean cosine of the word, a row of ``words`` (n, d), with the rows of
    ``A`` minus that with the rows of ``B``. Raises ``ValueError`` as ``weat`` does for its vectors.

    Source: Caliskan, Bryson & Narayanan 2017, Supplementary Materials, Methods (WEAT).

    >>> association([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]])
    array([ 1., -1.])
    """
    words, A, B = unit_rows(words, "words"), unit_rows(A, "A"), unit_rows(B, "B")
    same_length(words=words, A=A, B=B)
    return words @ (A.mean(axis=0) - B.mean(axis=0))


def weat(
    X: ArrayLike,
    Y: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    alternative: Alternative = "greater",
    max_exact: int = 1_000_000,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> WeatResult:
    """Return whether X is associated with A, and Y with B, rather than the other way round.

    ``X``, ``Y`` (as many words each), ``A`` and ``B`` are vectors, shape (n, d), of at least two
    words each; only their directions count. With s(w, A, B) from ``association``::

        statistic    sum of s over X − sum of s over Y
        effect_size  (mean of s over X − mean of s over Y) / standard deviation of s over X ∪ Y

    with n − 1 in the deviation's denominator, as in the published figures. The p value compares the
    statistic with that of the partitions of X ∪ Y into two sets of equal size. By default, as
    published, it is one-sided: the share of partitions whose statistic is *at least* the one seen.
    ``alternative="less"`` asks for at most, ``"two-sided"`` for at least as far from 0.

    All partitions are counted where there are at most ``max_exact`` (up to 11 + 11 words by
    default; 10**12, for 20 + 20, takes a second). Otherwise p is (b + 1)/(m + 1) over m =
    ``n_resamples`` of the other partitions, drawn without replacement by ``seed``. Partitions
    that differ only by rounding are tied, and ties count, so p is never 0: with 3 + 3 words it
    cannot be below 1/20.

    p speaks of these words as if they were drawn from one population; it does not grow truer with
    more templates, and a small p is not a large association. ``effect_size_interval`` says how far
    other words might have moved the effect. Returns a ``WeatResult``.

    Raises ``ValueError`` for fewer than two words in a set (with one a side the effect size is √2
    whatever the vectors), unlike numbers of words in X and Y (the published test knows only equal
    ones; leave words out by a rule fixed beforehand), a vector of zeros, NaN or infinity (named by
    set and row), vectors of unlike length, words that are all associated alike (nothing to divide
    by), or an option out of range.

    Source: Caliskan, Bryson & Narayanan 2017, Science 356(6334), Supplementary Materials, Methods.

    >>> east, north = [[1.0, 0.1], [1.0, 0.2]], [[0.1, 1.0], [0.2, 1.0]]
    >>> result = weat(east, north, east, north)
    >>> round(result.effect_size, 2), result.p_value  # √3 is the most 2 + 2 words can give
    (1.73, 0.16666666666666666)
    """
    X, Y, A, B = _checked({"X": X, "Y": Y, "A": A, "B": B}, least=2).values()
    if len(X) != len(Y):
        raise ValueError(
            f"X holds {len(X)} words and Y {len(Y)}. The test is defined for sets of equal size "
            "(Caliskan et al. 2017): leave words out of the larger, by a rule fixed beforehand."
        )
    s = np.concatenate([X, Y]) @ (A.mean(axis=0) - B.mean(axis=0))
    _refuse_flat(s, _ALIKE)
    n = len(X)
    return WeatResult(
        float(s[:n].sum() - s[n:].sum()),
        _effect_size(s, n),
        *split_test(
            s,
            n,
            alternative=alternative,
            max_exact=max_exact,
            n_resamples=n_resamples,
            seed=seed,
            tolerance=_ROUNDING * len(s),
        ),
    )


def effect_size_interval(
    X: ArrayLike,
    Y: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    confidence: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Return an ``Interval`` for ``weat``'s effect size: how far other words might have moved it.

    The words of each of the four sets are redrawn with replacement from that set, ``n_resamples``
    times, and the effect size is computed for each draw. Repeated words say less, so that most
    draws fall short of the effect seen; the interval's ends are percentiles corrected for this bias
    (BC). The same seed gives the same interval.

    The p value of ``weat`` takes A and B as given. This interval does not, so it can hold 0 where p
    is small: then the result hangs on which words stand for the attributes. It speaks of as many
    words, chosen as these were.

    How often the nominal 95 % interval held the mean effect of such tests (500 simulated, d = 50,
    give or take 0.02), by that mean and the words in each set; uncorrected in brackets::

        words   no effect       medium              large
          8     0.952 (0.984)   1.00: 0.938 (0.982)   1.64: 0.904 (0.988)
         16     0.948 (0.986)   1.12: 0.940 (0.984)   1.72: 0.922 (0.986)
         25     0.958 (0.978)   1.16: 0.940 (0.974)   1.74: 0.914 (0.974)

    Raises ``ValueError`` as ``weat`` does, except that X and Y may be of unlike size, and for an
    option out of range.

    Source: Efron & Tibshirani 1993, sections 8.3 (several samples) and 14.3 (its z0, with a = 0).

    >>> east, north = [[1.0, 0.1], [1.0, 0.2]], [[0.1, 1.0], [0.2, 1.0]]
    >>> low, high = effect_size_interval(east, north, east, north)
    >>> low > 1.5
    True
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence!r}. Give a share between 0 and 1, say 0.95.")
    if n_resamples < 2:
        raise ValueError(
            f"n_resamples is {n_resamples!r}. Give a whole number from 2 up, say 2000."
        )
    X, Y, A, B = _checked({"X": X, "Y": Y, "A": A, "B": B}, least=2).values()
    words = np.concatenate([X, Y])
    s = words @ (A.mean(axis=0) - B.mean(axis=0))
    _refuse_flat(s, _ALIKE)
    seen = _effect_size(s, len(X))
    rng = np.random.default_rng(seed)
    with_A, with_B = (
        words
        @ rows.T
        @ rng.multinomial(len(rows), [1 / len(rows)] * len(rows), n_resamples).T
        / len(rows)
        for rows in (A, B)
    )
    s = with_A - with_B  # (words, n_resamples)
    drawn = [
        np.take_along_axis(rows, rng.integers(len(rows), size=rows.shape), axis=0)
        for rows in (s[: len(X)], s[len(X) :])
    ]
    spread = np.concatenate(drawn).std(axis=0, ddof=1)
    usable = spread > _FLAT
    effects = (drawn[0].mean(axis=0) - drawn[1].mean(axis=0))[usable] / spread[usable]
    if not len(effects):
        raise ValueError("No draw of these words differs in its associations. Give more words.")
    return _bias_corrected(effects, seen, confidence)


def single_weat(
    words: ArrayLike,
    A: ArrayLike,
    B: ArrayLike,
    *,
    alternative: Alternative = "greater",
    max_exact: int = 1_000_000,
    n_resamples: int = 10_000,
    seed: int = 0,
) -> list[WeatResult]:
    """Return for each word on its own whether it is associated with A rather than with B.

    ``words`` (n, d), ``A`` and ``B`` are vectors. A word's ``statistic`` is s(w, A, B) of
    ``association``; its ``effect_size`` is that divided by the standard deviation of the word's
    cosines with all of A ∪ B (n − 1 in the denominator); the p value is taken over the partitions
    of A ∪ B into sets of the sizes of A and B, which may differ, with the options of ``weat``.
    Returns a list of n ``WeatResult``. That many p values call for a correction: see
    ``course_utils.metrics.holm``.

    Raises ``ValueError`` as ``weat`` does for vectors and options, and for a word (named by row)
    whose cosines with all of A ∪ B are alike.

    Source: Caliskan et al. 2017, Supplementary Materials, Methods (WEFAT), for the effect size;
    Caliskan et al. 2022, AIES (SC-WEAT), for it with a permutation test.

    >>> sets = [[1.0, 0.1], [1.0, 0.2]], [[0.1, 1.0], [0.2, 1.0]]
    >>> [round(result.effect_size, 2) for result in single_weat([[1.0, 0.0], [0.0, 1.0]], *sets)]
    [1.73, -1.73]
    """
    words = unit_rows(words, "words")
    A, B = _checked({"A": A, "B": B}, least=2).values()
    same_length(words=words, A=A)
    cosines = words @ np.concatenate([A, B]).T
    results = []
    for row, cosine in enumerate(cosines):
        _refuse_flat(cosine, f"The cosines of words[{row}] with all words of A and B are alike")
        test = split_test(
            cosine,
            len(A),
            alternative=alternative,
            max_exact=max_exact,
            n_resamples=n_resamples,
            seed=seed,
            tolerance=_ROUNDING * len(cosine),
        )
        difference = float(cosine[: len(A)].mean() - cosine[len(A) :].mean())
        results.append(WeatResult(difference, _effect_size(cosine, len(A)), *test))
    return results


def seat(
    model: AnyEmbedder,
    test: AssociationTest,
    *,
    templates: Sequence[str],
    attribute_templates: Sequence[str] | None = None,
    alternative: Alternative = "greater",
    max_exact: int = 1_000_000,
    n_resamples: int = 10_000,
    seed: int = 0,
    cache: EmbeddingCache | None = None,
) -> WeatResult:
    """Return ``weat`` for a model that reads sentences, each word standing in several of them.

    ``model`` is any embedder, ``test`` an ``AssociationTest`` of words, ``templates`` a list of
    texts with one ``{}``; those for A and B are ``attribute_templates`` where given. A word's
    vector is its mean over the templates (``template_vectors``), and the permutation test exchanges
    *words*, with all their sentences. Sentences of one word rise and fall together; exchanging them
    one by one, as the published SEAT does, takes them for that many independent observations and
    gives p values far too small. The other options are those of ``weat``, ``cache`` that of
    ``course_utils.encode``.

    ``by_template`` of the ``WeatResult`` holds what each of the templates gives on its own, for A
    and B too unless they have templates of their own; ``result.table()`` shows it. Where the
    templates disagree, one of them is not evidence.

    For word vectors give ``templates=["{}"]``. Raises ``ValueError`` as ``weat`` does (naming the
    template where only one is at fault), for a template without exactly one ``{}`` or given twice,
    and what ``encode`` raises.

    Source: May et al. 2019, *On Measuring Social Biases in Sentence Encoders*, section 2, with the
    permutation over words; Tan & Celis 2019 on what sentence templates hide.
    """
    own = attribute_templates is not None
    frames = {"X": templates, "Y": templates, "A": templates, "B": templates}
    if attribute_templates is not None:
        frames |= {"A": attribute_templates, "B": attribute_templates}
    vectors = {
        side: in_templates(model, getattr(test, side), of_side, cache)
        for side, of_side in frames.items()
    }
    for side, rows in vectors.items():
        unit_rows(rows.mean(axis=1), f"{test.name}: {side}", getattr(test, side))

    def measured(sets):
        return weat(
            *sets,
            alternative=alternative,
            max_exact=max_exact,
            n_resamples=n_resamples,
            seed=seed,
        )

    overall = measured(rows.mean(axis=1) for rows in vectors.values())
    by_template = {}
    for column, template in enumerate(templates):
        sets = [
            rows.mean(axis=1) if own and side in "AB" else rows[:, column]
            for side, rows in vectors.items()
        ]
        try:
            by_template[template] = measured(sets)
        except ValueError as error:
            raise ValueError(f"{test.name}, the template {template!r} alone: {error}") from None
    return replace(overall, by_template=by_template)


def _checked(sets: dict[str, ArrayLike], *, least: int) -> dict[str, np.ndarray]:
    """Return the sets as unit rows of one length, of at least so many rows each."""
    found = {name: unit_rows(rows, name) for name, rows in sets.items()}
    same_length(**found)
    for name, rows in found.items():
        if len(rows) < least:
            raise ValueError(
                f"{name} holds 1 word. Give two at least, and better eight: a single word stands "
                "for itself, not for a set (with one word each in X and Y the effect size is √2 or "
                "−√2 whatever the vectors)."
            )
    return found


def _effect_size(numbers, first):
    """Return how many standard deviations of all the mean of the first so many lies above."""
    gap = numbers[:first].mean() - numbers[first:].mean()
    return float(gap / numbers.std(ddof=1))


def _bias_corrected(draws, seen, confidence):
    """Return the percentiles of the draws that are left when their median is moved to ``seen``."""
    normal = NormalDist()
    below = ((draws < seen).mean() + (draws <= seen).mean()) / 2
    shift = 2 * normal.inv_cdf(min(max(below, 1 / len(draws)), 1 - 1 / len(draws)))
    tail = normal.inv_cdf((1 - confidence) / 2)
    ends = [100 * normal.cdf(shift + tail), 100 * normal.cdf(shift - tail)]
    return Interval(*map(float, np.percentile(draws, ends)))


def _refuse_flat(numbers, what):
    if float(np.ptp(numbers)) <= _FLAT:
        raise ValueError(
            f"{what}, so there is no deviation to divide by. Are two of the sets the same, or does "
            "the model give every text one vector?"
        )
