"""The dev task of a run: what it may not share with the training texts, its score, its name."""

import hashlib
import json

from course_utils.tsdae.texts import short


def refuse_leak(task, sentences, pairs):
    """Raise ``ValueError``, naming one, if the dev task's questions are among the training texts.

    Looked for, capitals and spacing aside: queries of a ``RetrievalTask`` (documents may be
    trained on: one adapts to the corpus one searches), texts of a ``SimilarityTask``. A query is
    no less leaked as half of a pair, since every query-answer pair holds it.
    """
    trained = {_same(text) for text in sentences}
    trained.update(_same(text) for pair in pairs for text in pair)
    if hasattr(task, "queries"):
        asked = list(task.queries.values())
    else:
        asked = list(dict.fromkeys(text for pair in task.pairs for text in pair))
    leaked = [text for text in asked if _same(text) in trained]
    if leaked:
        raise ValueError(
            f"{len(leaked)} of the {len(asked)} questions of the dev task {task.name!r} are among "
            f"the training texts, {short(leaked[0])!r} for one: a score on what was trained on says "
            "nothing. Leave them out of the sentences and pairs, or of the task."
        )


def dev_score(evaluation):
    """Return the number by which weights are chosen: MRR@10, or Spearman's correlation."""
    from course_utils.metrics import spearman

    if evaluation.kind == "retrieval":
        return float(evaluation.scores["mrr@10"].mean())
    return float(spearman(evaluation.scores["human"], evaluation.scores["cosine"]))


def task_fingerprint(task):
    """Return a task's name and a hash of what it asks, or None for no task."""
    if task is None:
        return None
    asked = (
        [task.corpus, task.queries, task.qrels]
        if hasattr(task, "queries")
        else [task.pairs, task.scores.tolist()]
    )
    text = json.dumps(asked, sort_keys=True, default=int)
    return f"{task.name} ({hashlib.sha256(text.encode()).hexdigest()[:16]})"


def _same(text):
    return " ".join(text.casefold().split())
