"""Any search on a retrieval task, by what it found: keywords, a fusion, a reranking."""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import Protocol

from course_utils.data.tasks import RetrievalTask
from course_utils.metrics.evaluation import Evaluation, evaluation_of
from course_utils.metrics.retrieval import USUAL, retrieval_scores


class Found(Protocol):
    """A found document, as ``search`` returns it: what is needed of it is its id and its score."""

    @property
    def id(self) -> str:
        """The document's id in the task's corpus."""
        ...

    @property
    def score(self) -> float:
        """How well the document answers the query; higher is better."""
        ...


def evaluate_hits(
    hits: Sequence[Sequence[Found]],
    task: RetrievalTask,
    *,
    name: str,
    k: int | Iterable[int] = 10,
    measures: str | Iterable[str] = USUAL,
    ties: str = "trec_eval",
) -> Evaluation:
    """Return what a search scores on ``task`` by the hits it found: an ``Evaluation``.

    ``hits`` is one list for each query, in the order of ``task.queries``, of things with an ``id`` and
    a ``score``: what ``search`` and ``KeywordIndex.search`` return for
    ``list(task.queries.values())``, or ``fuse``, or ``rerank`` query by query. ``name`` is how tables
    call the search. ``k``, ``measures`` and ``ties``, and all rules, are those of
    ``retrieval_scores``, and ``compare`` takes the result beside one of ``evaluate``.

    What is in no list counts as not found, so ``map``, and a measure at a ``k`` beyond the length of the
    lists, are lower than if the whole corpus were ranked, as ``evaluate`` does: fetch 100 hits or more
    where the two are compared. A query without any hit scores 0. Hits count in the order of their scores,
    whatever order they stand in, and equal scores as ``ties`` says: with whole-numbered or few different
    scores, ``ties="expected"`` keeps the names of the documents out of the result.

    Raises ``ValueError`` for another number of lists than queries, a document that is not in the corpus
    or comes twice in one list, a score that is no finite number, and where an option is at fault as
    in ``retrieval_scores``.

    >>> from types import SimpleNamespace as Found
    >>> task = RetrievalTask("toy", {"d1": "one", "d2": "two"}, {"q": "which?"}, {"q": {"d2": 1}})
    >>> found = [[Found(id="d1", score=2.5), Found(id="d2", score=0.5)]]
    >>> evaluate_hits(found, task, name="toy search", measures="mrr").scores.loc["q"].to_dict()
    {'mrr@10': 0.5}
    """
    lists = list(hits)
    if len(lists) != len(task.queries):
        raise ValueError(
            f"There are {len(lists)} lists of hits for the {len(task.queries)} queries of "
            f"{task.name!r}: search for list(task.queries.values()), and give one list for each."
        )
    run = {
        query: _scores_by_id(query, found, task)
        for query, found in zip(task.queries, lists, strict=True)
    }
    scores = retrieval_scores(run, task.qrels, k, measures=measures, ties=ties)
    return evaluation_of(task, "retrieval", name, scores, ties)


def _scores_by_id(query: str, found: Sequence[Found], task: RetrievalTask) -> dict[str, float]:
    scores: dict[str, float] = {}
    for hit in found:
        if hit.id not in task.corpus:
            raise ValueError(
                f"The hit {hit.id!r} for query {query!r} is no document of {task.name!r}: search in "
                "task.corpus, so that the ids are the task's."
            )
        if hit.id in scores:
            raise ValueError(
                f"The hits for query {query!r} name document {hit.id!r} twice: give each one score."
            )
        if not isinstance(hit.score, Real) or not math.isfinite(hit.score):
            raise ValueError(
                f"The score of document {hit.id!r} for query {query!r} is {hit.score!r}: give a "
                "finite number."
            )
        scores[hit.id] = hit.score
    return scores
