"""Audit a model before it is deployed: a battery of questions, asked of one model in one call."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from course_utils.bias.auditing.audits import Audit
from course_utils.bias.auditing.battery import NOT_COVERED, questions, standard
from course_utils.bias.auditing.measures import Draws
from course_utils.bias.auditing.memo import Erased, Memo
from course_utils.bias.auditing.parts import Cost, Finding, Mitigation, rounded
from course_utils.bias.eraser import LinearEraser, text_fingerprint
from course_utils.metrics import compare, evaluate, holm
from course_utils.metrics.evaluation import embedder_name, package_versions
from course_utils.models.fingerprints import fingerprint_or_none

if TYPE_CHECKING:
    from course_utils.data.tasks import (
        AssociationTest,
        ClusteringTask,
        RetrievalTask,
        SimilarityTask,
    )
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

COST_TASKS = ("simlex999", "wordsim353", "lee", "company-wiki")
_METRIC = {"similarity": "spearman", "retrieval": "mrr@10", "clustering": "silhouette"}
_PACKAGES = ("course-utils", "sentence-transformers", "transformers", "torch", "numpy", "scipy")


def audit(
    model: AnyEmbedder,
    *,
    battery: Literal["standard"] | Iterable[str | Path | AssociationTest] = "standard",
    seed: int = 0,
    n_resamples: int | None = None,
    name: str | None = None,
    notes: str = "",
    mitigated: AnyEmbedder | LinearEraser | None = None,
    cost: Iterable[str | RetrievalTask | SimilarityTask | ClusteringTask] = COST_TASKS,
    cache: EmbeddingCache | None = None,
    show_progress_bar: bool | None = None,
) -> Audit:
    """Return what a battery of questions finds in a model: an ``Audit``.

    ``model`` is any embedder. ``battery`` is "standard", or a list of names of its questions, keys
    of ``STIMULI``, paths of YAML files and ``AssociationTest`` objects. Every test is two-sided or
    asks "farther than chance", and its p value comes from rearrangements of words or names, all of
    them where they are fewer than a million; ``p_holm`` keeps the probability of even one false
    alarm in the whole battery at 5 %. Intervals come from redraws of the same. ``n_resamples`` says
    how many of both; None means 9,999 rearrangements and 2,000 redraws. The same ``seed`` on the
    same machine gives the same digits.

    With ``mitigated``, a model or a ``LinearEraser`` for this one, the battery is asked of it too,
    and the tasks in ``cost`` (names for ``load_task``, or tasks) are scored before and after. A
    word that an eraser was fitted on is no fair judge of it; the report says how many there are.

    ``name`` is how the report calls the model, ``notes`` go into it as they are. The standard
    battery encodes some 4,000 sentences, each once.

    Raises ``ValueError``, naming the question, where a model's vectors cannot be measured (all
    alike, zeros); for an unknown entry of the battery; and what ``encode`` raises.

    >>> def embed(texts):  # letters instead of meaning
    ...     return [[text.count(letter) for letter in "abcdefghijklmnopqrstuvw"] for text in texts]
    >>> found = audit(embed, battery=["gender-career"], name="letters")
    >>> found["gender-career"].n
    16
    """
    from datetime import UTC, datetime

    called, asked = questions(battery)
    draws = Draws(seed=int(seed))
    if n_resamples is not None:
        draws = draws._replace(permutations=int(n_resamples), resamples=int(n_resamples))
    texts = {question.name: question.texts() for question in asked}
    before = Memo(model, cache, show_progress_bar)
    # Not those that the model will see as queries and documents.
    plain = [one.name for one in asked if not (one.has_roles and before.has_roles)]
    before.learn([text for name in plain for text in texts[name]])
    findings = _findings(before, asked, draws)
    return Audit(
        model=embedder_name(model) if name is None else str(name),
        fingerprint=fingerprint_or_none(model),
        battery=called,
        seed=draws.seed,
        permutations=draws.permutations,
        resamples=draws.resamples,
        findings=findings,
        missing=_missing(asked),
        stimuli={question: _hash(some) for question, some in texts.items()},
        mitigation=_mitigated(before, mitigated, asked, draws, cost, cache, show_progress_bar),
        notes=str(notes),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=package_versions(_PACKAGES),
    )


def _findings(memo, asked, draws):
    rows = []
    for question in asked:
        try:
            rows += [(question, row) for row in question.run(memo, draws)]
        except ValueError as error:
            raise ValueError(f"The question {question.name[:80]!r}: {error}") from None
    p_values = [row.measured.p_value for _, row in rows if row.measured.p_value is not None]
    adjusted = iter(holm(p_values) if p_values else [])
    return tuple(_finding(question, row, adjusted) for question, row in rows)


def _finding(question, row, adjusted):
    measured, wording = row.measured, row.wording
    tested = measured.p_value is not None
    return Finding(
        name=row.name,
        question=question.name,
        attribute=question.attribute,
        asks=wording.asks,
        groups=row.groups,
        measure=wording.measure,
        value=rounded(measured.value),
        low=rounded(measured.low),
        high=rounded(measured.high),
        p_value=float(f"{measured.p_value:.6g}") if tested else None,
        p_holm=float(f"{next(adjusted):.6g}") if tested else None,
        by_chance=None if measured.by_chance is None else rounded(measured.by_chance),
        n=int(measured.n),
        unit=wording.unit,
        reading=_reading(row),
        not_shown=wording.not_shown,
        sources=question.sources,
    )


def _reading(row):
    if rounded(row.measured.value) == 0:
        return "there is no difference"
    return row.above if row.measured.value > 0 else row.below


def _mitigated(before, mitigated, asked, draws, cost, cache, show_progress_bar):
    if mitigated is None:
        return None
    after, called, identity = mitigated, None, fingerprint_or_none(mitigated)
    if isinstance(mitigated, LinearEraser):
        after = Erased(before, mitigated)
        called, cache = repr(mitigated), None
        weight, bias = mitigated.affine()
        identity = hashlib.sha256(weight.tobytes() + bias.tobytes()).hexdigest()
    else:
        cache = cache if identity is not None else None
    memo = Memo(after, cache, show_progress_bar)
    for role, rows in list(before.rows.items()):
        memo.learn(rows, role)
    return Mitigation(
        called or embedder_name(mitigated),
        identity,
        _findings(memo, asked, draws),
        tuple(_cost(before, memo, task) for task in cost),
        {question.name: _seen(mitigated, question) for question in asked},
    )


def _seen(mitigated, question):
    fitted_on = getattr(mitigated, "fitted_on", None)
    if not fitted_on:
        return None
    return sum(text_fingerprint(word) in fitted_on for word in question.words)


def _cost(before, after, task):
    from course_utils.data import load_task

    task = load_task(task) if isinstance(task, str) else task
    scored = []
    for memo in (before, after):
        _learn(memo, task)
        scored.append(evaluate(memo, task, show_progress_bar=False))
    metric = _METRIC[scored[0].kind]
    row = compare(*scored).table.loc[metric]
    numbers = [row[name] for name in ("mean_a", "mean_b", "difference", "low", "high", "p_value")]
    known = [None if math.isnan(number) else rounded(number) for number in numbers]
    return Cost(task.name, metric, *known, int(row["n"]))


def _learn(memo, task):
    """Have the task's texts encoded in one call a role, which is quicker than batch by batch."""
    if hasattr(task, "corpus"):
        memo.learn(task.corpus.values(), "document")
        memo.learn(task.queries.values(), "query")
    elif hasattr(task, "pairs"):
        memo.learn(text for pair in task.pairs for text in pair)
    else:
        memo.learn(task.texts)


def _missing(asked):
    """Return what the battery does not cover: attributes left out of it, and what none covers."""
    covered = {question.attribute for question in asked}
    left_out = {
        f"{question.attribute}: {question.name}": "In the standard battery, not in this one."
        for question in standard()
        if question.name not in {one.name for one in asked}
    }
    attributes = [a for a in ("gender", "ethnicity", "age") if not any(a in c for c in covered)]
    wholly = dict.fromkeys(attributes, "Not asked by any question of this battery.")
    return {**wholly, **left_out, **NOT_COVERED}


def _hash(texts):
    return hashlib.sha256(json.dumps(list(texts)).encode()).hexdigest()[:32]
