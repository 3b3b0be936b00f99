"""The dev task of a run: what it may not share with the training texts, and what it decides."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from course_utils.adaptation.texts import short
from course_utils.adaptation.weights import copy_into, mix, trainable

if TYPE_CHECKING:
    import torch
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.loop import Trainer
    from course_utils.data import RetrievalTask, SimilarityTask
    from course_utils.metrics import Evaluation

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

Row = TypeVar("Row", str, tuple[str, str])


def drop_questions(texts: Iterable[Row], *tasks: RetrievalTask | SimilarityTask) -> list[Row]:
    """Return the training texts, or pairs of texts, that hold no question of the tasks.

    ``texts`` is a list of sentences or of pairs; a pair goes if either text is a question. The
    questions are those that training refuses: queries of a RetrievalTask, texts of a
    SimilarityTask, capitals and spacing aside. The order stays.

    >>> from course_utils.data import RetrievalTask
    >>> task = RetrievalTask("toy", {"d": "Tinnitus"}, {"q": "ringing ears"}, {"q": {"d": 1}})
    >>> drop_questions(["Ringing  ears", "Itching ears"], task)
    ['Itching ears']
    """
    asked = {_same(text) for task in tasks for text in _questions(task)}
    return [row for row in texts if not any(_same(text) in asked for text in _texts(row))]


def refuse_leak(task: RetrievalTask | SimilarityTask | None, texts: Iterable[Any]) -> None:
    """Raise ``ValueError``, naming one, if the dev task's questions are among sentences or pairs.

    Looked for, capitals and spacing aside: queries of a ``RetrievalTask`` (documents may be
    trained on: one adapts to the corpus one searches), texts of a ``SimilarityTask``. A query is
    no less leaked as half of a pair, since every query-answer pair holds it.
    """
    if task is None:
        return
    trained = {_same(text) for row in texts for text in _texts(row)}
    asked = _questions(task)
    leaked = [text for text in asked if _same(text) in trained]
    if leaked:
        raise ValueError(
            f"{len(leaked)} of the {len(asked)} questions of the dev task {task.name!r} are among "
            f"the training texts, {short(leaked[0])!r} for one: a score on what was trained on says "
            "nothing. drop_questions(sentences, dev_task) leaves them out, and does so for pairs."
        )


class DevScores:
    """Scores a run on its dev task and keeps the best weights: a callback of the ``Trainer``.

    It does so every ``every`` steps, at the start and at the end; without a task it does nothing.
    ``best`` are the encoder's weights at the step of ``best_score``; ``before`` is the
    ``Evaluation`` of the start.
    """

    def __init__(
        self,
        task: RetrievalTask | SimilarityTask | None,
        start: SentenceTransformer,
        every: int,
    ) -> None:
        self.task: Any = task
        self.start, self.every = start, every
        self.before: Evaluation | None = None
        self.best: dict[str, torch.Tensor] | None = None
        self.best_score = -math.inf

    def __call__(self, trainer: Trainer) -> None:
        """Score the weights of this step if it is time to, and keep them if they are the best."""
        due = trainer.step % self.every == 0 or trainer.step == trainer.steps
        same = 0 < trainer.step <= trainer.frozen  # the encoder is still that of the start
        if self.task is None or not due or same or trainer.history[-1]["dev"] is not None:
            return
        evaluation = self.evaluate(trainer.encoder if trainer.step else self.start)
        score = trainer.agreed(dev_score(evaluation))
        with trainer.changing():
            if trainer.step == 0:
                self.before = evaluation
            elif score > self.best_score:
                weights = trainer.encoder_weights.items()
                self.best = {name: weight.detach().clone() for name, weight in weights}
                self.best_score = score
            trainer.history[-1]["dev"] = score

    def evaluate(self, model: SentenceTransformer) -> Evaluation:
        """Return a model's ``Evaluation`` on the dev task."""
        from course_utils.metrics import evaluate

        return evaluate(model, self.task, k=10, show_progress_bar=False)

    def choose(
        self, trainer: Trainer, interpolate: str | float | None
    ) -> tuple[float, dict[float, float], dict[float, Evaluation]]:
        """Give the encoder its final weights: the best, mixed with the start's as ``interpolate`` says.

        Returns the share of the trained weights, and the dev score and the ``Evaluation`` of every
        share that was tried, both empty without a task.
        """
        weights = trainer.encoder_weights
        if self.best is not None:
            copy_into(weights, self.best)
        trained = {name: weight.detach().clone() for name, weight in weights.items()}
        start = trainable("encoder", self.start, like=trained)
        shares: tuple[float, ...] = SHARES
        if self.task is None or interpolate != "auto":
            shares = (float(interpolate) if isinstance(interpolate, int | float) else 1.0,)
        found: dict[float, Evaluation] = {}
        if self.task is not None:
            found[0.0] = self.before or self.evaluate(self.start)
            for share in shares:
                if share:
                    mix(start, trained, share, weights)
                    found[share] = self.evaluate(trainer.encoder)
        scores = {share: trainer.agreed(dev_score(one)) for share, one in found.items()}
        # The first of equals: as near to the start as a score allows.
        best = (
            max(shares, key=lambda share: scores.get(share, 0.0)) if shares is SHARES else shares[0]
        )
        mix(start, trained, best, weights)
        return best, scores, found


def dev_score(evaluation: Evaluation) -> float:
    """Return the number by which weights are chosen: MRR@10, or Spearman's correlation."""
    from course_utils.metrics import spearman

    if evaluation.kind == "retrieval":
        return float(evaluation.scores["mrr@10"].mean())
    return float(spearman(evaluation.scores["human"], evaluation.scores["cosine"]))


def task_fingerprint(task: Any) -> str | None:
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


def _texts(row):
    return [row] if isinstance(row, str) else row


def _same(text):
    return " ".join(text.casefold().split())
