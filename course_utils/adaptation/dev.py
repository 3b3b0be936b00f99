"""The dev task of a run: what it may not share with the training texts, its score, its name."""

import hashlib
import json

from course_utils.adaptation.texts import short


def drop_questions(texts, *tasks):
    """Return the training texts, or pairs of texts, that hold no question of the tasks.

    ``texts`` is a list of sentences or of pairs; a pair goes if either text is a question. The
    questions are those that ``train_tsdae`` refuses: queries of a RetrievalTask, texts of a
    SimilarityTask, capitals and spacing aside. The order stays.

    >>> from course_utils.data import RetrievalTask
    >>> task = RetrievalTask("toy", {"d": "Tinnitus"}, {"q": "ringing ears"}, {"q": {"d": 1}})
    >>> drop_questions(["Ringing  ears", "Itching ears"], task)
    ['Itching ears']
    """
    asked = {_same(text) for task in tasks for text in _questions(task)}
    return [
        text
        for text in texts
        if not any(_same(part) in asked for part in ([text] if isinstance(text, str) else text))
    ]


def refuse_leak(task, sentences, pairs):
    """Raise ``ValueError``, naming one, if the dev task's questions are among the training texts.

    Looked for, capitals and spacing aside: queries of a ``RetrievalTask`` (documents may be
    trained on: one adapts to the corpus one searches), texts of a ``SimilarityTask``. A query is
    no less leaked as half of a pair, since every query-answer pair holds it.
    """
    trained = {_same(text) for text in sentences}
    trained.update(_same(text) for pair in pairs for text in pair)
    asked = _questions(task)
    leaked = [text for text in asked if _same(text) in trained]
    if leaked:
        raise ValueError(
            f"{len(leaked)} of the {len(asked)} questions of the dev task {task.name!r} are among "
            f"the training texts, {short(leaked[0])!r} for one: a score on what was trained on says "
            "nothing. drop_questions(sentences, dev_task) leaves them out, and does so for pairs."
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


def _questions(task):
    if hasattr(task, "queries"):
        return list(task.queries.values())
    return list(dict.fromkeys(text for pair in task.pairs for text in pair))


def _same(text):
    return " ".join(text.casefold().split())
