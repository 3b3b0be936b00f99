"""Before measuring: how many queries a comparison needs, and which of them count only once."""

from collections.abc import Mapping
from math import ceil

import numpy as np
from numpy.typing import ArrayLike

from course_utils.metrics.significance import finite_scores


def queries_needed(
    differences: ArrayLike, difference: float, *, power: float = 0.8, alpha: float = 0.05
) -> int:
    """Return how many queries a paired test needs to detect a difference in means that matters.

    ``differences`` are per-query differences b - a of a pilot, shape (n,); only how widely they
    scatter is used. ``difference`` is the smallest difference you would act on, in the metric's
    unit (0.02 of nDCG, say), chosen beforehand: the one the pilot happened to show makes a poor
    plan, since it is as uncertain as the pilot was small. If the true difference is that large, a
    two-sided test at ``alpha`` finds it with probability ``power``.

    With z the quantiles of the normal distribution and s the standard deviation of
    ``differences``::

        n = ((z[1 - alpha/2] + z[power]) * s / difference)**2 + z[1 - alpha/2]**2 / 2

    rounded up. It takes the mean difference to be about normal, so below some 20 queries it is a
    rough guide. Half the difference takes four times the queries. Where queries share documents,
    count clusters: give the mean difference of each (see ``query_clusters``).

    Raises ``ValueError`` when fewer than two differences are given, one is NaN or infinite, all are
    equal (no scatter to plan with), ``difference`` is 0 or not finite, or ``power`` or ``alpha`` is
    not between 0 and 1, or ``power`` does not exceed ``alpha``.

    Source: Guenther 1981, *Sample size formulas for normal theory t tests*; Sakai 2018,
    *Laboratory Experiments in Information Retrieval*, chapter 6, for topic set sizes.

    >>> queries_needed([0.0, 0.5, -0.5, 0.0, 0.5, 0.0, -0.5, 0.2], 0.05)
    467
    """
    differences = finite_scores(differences, "differences")
    if len(differences) < 2 or (differences == differences[0]).all():
        raise ValueError(
            f"The {len(differences)} differences do not vary, so they do not say how far queries "
            "scatter. Give a pilot of some 20 queries or more."
        )
    if not np.isfinite(difference) or difference == 0:
        raise ValueError(
            f"difference is {difference!r}. Give the smallest difference worth acting on; to detect "
            "0 no number of queries is enough."
        )
    if not 0 < alpha < power < 1:
        raise ValueError(
            f"alpha is {alpha!r} and power {power!r}. Give 0 < alpha < power < 1, say 0.05 and 0.8."
        )
    from scipy.stats import norm

    certain = norm.ppf(1 - alpha / 2)
    scatter = differences.std(ddof=1) / difference
    return max(2, ceil(((certain + norm.ppf(power)) * scatter) ** 2 + certain**2 / 2))


def query_clusters(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the cluster of each query, ``{query: number}``: they share relevant documents.

    ``qrels`` is ``{query: {document: grade}}``. Two queries with a relevant document (grade above
    0) in common belong together, and so do those linked through others. A change in that one
    document's vector moves them all, so they are no independent evidence: give the result as
    ``clusters`` to ``compare``, or its values to ``paired_test`` and ``bootstrap_interval``. If nearly
    all queries end up in one cluster, it says that your test set leans on a few documents.

    >>> query_clusters({"q1": {"d1": 1}, "q2": {"d2": 1}, "q3": {"d1": 2, "d3": 0}})
    {'q1': 0, 'q2': 1, 'q3': 0}
    """
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for query, judged in qrels.items():
        for document, grade in judged.items():
            if grade > 0:
                # Queries and documents may have the same names.
                parent[root(("document", document))] = root(("query", query))
    number: dict[tuple[str, str], int] = {}
    return {query: number.setdefault(root(("query", query)), len(number)) for query in qrels}
