"""Numbers that say how good vectors are, each with what it takes to trust it.

Per-item scores first (`retrieval`, `similarity`, `clustering`), then how sure to be of their
mean and of a difference (`significance`), then both at once for any task (`evaluation`).
"""

from course_utils.metrics.clustering import (
    adjusted_rand,
    kmeans_scores,
    silhouette,
    silhouette_samples,
)
from course_utils.metrics.evaluation import Comparison, Evaluation, compare, evaluate
from course_utils.metrics.retrieval import retrieval_scores, retrieval_scores_from_vectors
from course_utils.metrics.significance import (
    Interval,
    PairedTest,
    bootstrap_interval,
    paired_test,
)
from course_utils.metrics.similarity import (
    paired_spearman_test,
    pearson,
    spearman,
    spearman_interval,
)

__all__ = [
    "Comparison",
    "Evaluation",
    "Interval",
    "PairedTest",
    "adjusted_rand",
    "bootstrap_interval",
    "compare",
    "evaluate",
    "kmeans_scores",
    "paired_spearman_test",
    "paired_test",
    "pearson",
    "retrieval_scores",
    "retrieval_scores_from_vectors",
    "silhouette",
    "silhouette_samples",
    "spearman",
    "spearman_interval",
]
