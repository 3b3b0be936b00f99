"""Numbers that say how good vectors are, each with what it takes to trust it.

Per-item scores first (``retrieval``, ``similarity``, ``clustering``), then how sure to be of their
mean and of a difference (``significance``), of many differences (``multiple``), and with how many
queries (``planning``); then all of it for any task (``evaluation``), for what any search found
(``rankings``), for any two or more of these (``comparison``), and which model to choose
(``choosing``). Two things beside: what people prefer (``judging``), and whether they still ask what
they asked (``energy``).
"""

from course_utils.metrics.choosing import (
    Measurement,
    choice_table,
    measure_model,
    measure_models,
)
from course_utils.metrics.clustering import (
    adjusted_rand,
    kmeans_scores,
    silhouette,
    silhouette_samples,
    v_measure,
)
from course_utils.metrics.comparison import (
    Comparison,
    Leaderboard,
    Verdict,
    compare,
    compare_many,
)
from course_utils.metrics.energy import Drift, drift
from course_utils.metrics.evaluation import Evaluation, evaluate
from course_utils.metrics.multiple import holm, letter_display
from course_utils.metrics.planning import queries_needed, query_clusters
from course_utils.metrics.rankings import evaluate_hits
from course_utils.metrics.retrieval import retrieval_scores, retrieval_scores_from_vectors
from course_utils.metrics.significance import (
    Interval,
    PairedTest,
    bootstrap_interval,
    paired_test,
)
from course_utils.metrics.similarity import (
    paired_spearman_test,
    spearman,
    spearman_interval,
)

__all__ = [
    "Comparison",
    "Drift",
    "Evaluation",
    "Interval",
    "Leaderboard",
    "Measurement",
    "PairedTest",
    "Verdict",
    "adjusted_rand",
    "bootstrap_interval",
    "choice_table",
    "compare",
    "compare_many",
    "drift",
    "evaluate",
    "evaluate_hits",
    "holm",
    "kmeans_scores",
    "letter_display",
    "measure_model",
    "measure_models",
    "paired_spearman_test",
    "paired_test",
    "queries_needed",
    "query_clusters",
    "retrieval_scores",
    "retrieval_scores_from_vectors",
    "silhouette",
    "silhouette_samples",
    "spearman",
    "spearman_interval",
    "v_measure",
]
