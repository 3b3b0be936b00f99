"""Does training pay on these texts? What costs nothing is measured first, then training is tried.

A practitioner has four ways to go: index more of each text, gather more pairs, train, or leave the
model alone. ``diagnose`` measures what it takes to choose; the rules are in ``verdicts``.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from course_utils.adaptation.config import PairsConfig
from course_utils.adaptation.dev import drop_questions
from course_utils.adaptation.texts import checked_pairs
from course_utils.adaptation.training import check_start, train_pairs
from course_utils.adaptation.verdicts import ENOUGH, Diagnosis, Estimate, nothing_left
from course_utils.data import RetrievalTask, load_task, load_texts
from course_utils.data.sentences import split_sentences
from course_utils.encoding.encode import encode_document, encode_query
from course_utils.metrics import (
    Evaluation,
    compare,
    evaluate,
    evaluate_hits,
    retrieval_scores_from_vectors,
)
from course_utils.metrics.evaluation import embedder_name, evaluation_of
from course_utils.models.roles import is_sentence_transformer, underlying
from course_utils.retrieval import Index, KeywordIndex, fuse
from course_utils.retrieval.searching import hits_of

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from course_utils.encoding.embedders import AnyEmbedder

_DEPTH = 100  # hits of each ranking that are fused
_MRR, _BEYOND = "mrr@10", f"success@{_DEPTH}"
_LEAST_WORDS = 3  # of the rest, for a text to hold a pair
_AT_ONCE = 2048  # texts tokenised in one call


def diagnose(
    model: AnyEmbedder,
    task: RetrievalTask,
    texts: Mapping[str, str] | None = None,
    *,
    pairs: Iterable[Sequence[str]] | None = None,
    general: Iterable[str] | None = None,
    steps: int = 40,
    seed: int = 0,
    show_progress_bar: bool | None = None,
) -> Diagnosis:
    """Return whether training pays on a task, or something cheaper does: a ``Diagnosis``.

    What costs nothing comes first: word search, the model on the documents, on fuller texts, and both
    searches fused. Training is then tried for ``steps`` steps, and measured against the untouched
    model on the same, best index. ``decide`` holds the rules of the four verdicts.

    - ``model``: any embedder; one that is no SentenceTransformer gets no trial, and the reason.
    - ``task``: your questions, documents and judgements. Report the trained model's score on others:
      these have helped to decide.
    - ``texts``: ``{document id: fuller text}``, what could be indexed in place of ``task.corpus``, say
      a term with its definition. A document that it lacks stays as it is.
    - ``pairs``: as for ``train_pairs``. By default what the texts contain, or else the documents: the
      first line of each, or its first sentence, and the rest, if that has three words at least.
      Pairs that hold a question of the task are left out (see ``drop_questions``).
    - ``general``: everyday sentences for ``train_pairs``, such as ``load_texts("everyday")``. Whether or
      not they are given, the trial's cost is measured on the task ``"lee"``, if it can be loaded.
    - ``seed``: of the trial. The options of the trial are those of ``PairsConfig`` but for its length;
      nothing is chosen by the task, and nothing mixed with the start.
    - ``show_progress_bar``: as for ``encode`` and ``train_pairs``, whose bars leave nothing.

    No trial is made where nothing is left to gain, and with too few pairs. A trial of 40 steps says
    whether training helps, not how far it gets.

    Raises ``TypeError`` for another task, or what is no embedder; ``ValueError`` for a task with a
    single question, and for ``texts`` without any id of the corpus; and what ``train_pairs`` raises
    about pairs, general sentences and options.
    """
    if not isinstance(task, RetrievalTask):
        raise TypeError(f"task is a {type(task).__name__}; diagnose takes a RetrievalTask.")
    if len(task.queries) < 2:
        raise ValueError(
            f"{task.name} has a single question, and no interval rests on one. Give two at least, "
            "and better 100."
        )
    config = PairsConfig(max_steps=steps, interpolate=None, seed=seed)
    fuller = _fuller_task(task, texts)
    usable = _usable_pairs(task, texts, pairs)
    queries = encode_query(model, list(task.queries.values()), show_progress_bar=show_progress_bar)
    searched = [
        _Searched(model, one, queries, show_progress_bar)
        for one in ([task] if fuller is None else [task, fuller])
    ]
    plain, best = searched[0], searched[0]
    found: dict[str, Any] = {"words": _mean(plain.words), "plain": _mean(plain.model)}
    notes: dict[str, str] = {}
    if fuller is not None:
        found |= {"words_fuller": _mean(searched[1].words), "fuller": _mean(searched[1].model)}
        found["fuller_gain"] = _difference(plain.model, searched[1].model)
        if found["fuller_gain"].low > 0:
            best = searched[1]
    fused = best.fused()
    share, low, high = _mean(best.depth, _BEYOND)
    untrainable = _untrainable(model, config)
    why_not = untrainable or next(filter(None, (one.nothing_left() for one in (plain, best))), "")
    if not why_not and len(usable) < ENOUGH:
        why_not = f"fewer than {ENOUGH} pairs to train on"
    if why_not:
        notes["trial_gain"] = why_not
    else:
        found |= _tried(model, usable, general, config, best, notes, show_progress_bar)
    found["pieces"] = _pieces(model, task.corpus.values())
    if found["pieces"] is not None:
        try:
            found["pieces_everyday"] = _pieces(model, load_texts("everyday"))
        except ImportError as error:
            notes["pieces_everyday"] = str(error)
    return Diagnosis(
        task=task.name,
        embedder=embedder_name(model),
        questions=len(task.queries),
        documents=len(task.corpus),
        model_gain=_difference(plain.words, plain.model),
        fused=_mean(fused),
        fused_gain=_difference(best.model, fused),
        beyond=Estimate(1 - share, 1 - high, 1 - low),
        pairs=len(usable),
        steps=steps,
        untrainable=untrainable,
        notes=notes,
        **found,
    )


class _Searched:
    """One index, searched by words and by the model: encoded once for scores and rankings."""

    def __init__(self, model, task: RetrievalTask, queries: np.ndarray, show_progress_bar):
        self.task, self.name = task, embedder_name(model)
        asked = list(task.queries.values())
        documents = encode_document(
            model, list(task.corpus.values()), show_progress_bar=show_progress_bar
        )
        self.worded = KeywordIndex(task.corpus).search(asked, k=_DEPTH)
        index = Index.from_matrix(documents, task.corpus.values(), ids=task.corpus)
        self.meant = [
            hits_of(index, *found) for found in zip(*index.search(queries, _DEPTH), strict=True)
        ]
        ids = list(task.queries), list(task.corpus)
        given = queries, documents, *ids, task.qrels
        self.model = self._kept(retrieval_scores_from_vectors(*given, 10, measures="mrr"))
        self.depth = self._kept(retrieval_scores_from_vectors(*given, _DEPTH, measures="success"))
        self.words = self._scored(self.worded, "words")

    def nothing_left(self) -> str | None:
        return nothing_left(_mean(self.words), _mean(self.model), "this index")

    def fused(self) -> Evaluation:
        return self._scored(fuse([self.meant, self.worded]), f"{self.name} and words")

    def _scored(self, hits, name):
        return evaluate_hits(hits, self.task, name=name, measures="mrr")

    def _kept(self, scores):
        return evaluation_of(self.task, "retrieval", self.name, scores, "trec_eval")


def _tried(model, pairs, general, config, best, notes, show_progress_bar) -> dict[str, Any]:
    """Return what the trial gained, what it cost, and how long it took; note what cannot be told."""
    bar = {"show_progress_bar": show_progress_bar}
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        # What is cut of long texts matters to a training that is kept, which says so itself.
        warnings.simplefilter("ignore", UserWarning)
        result = train_pairs(model, pairs, config, general=general, **bar)
        after = evaluate(result, best.task, measures="mrr", **bar)
        try:
            lee, other = (evaluate(one, load_task("lee"), **bar) for one in (model, result))
        except ImportError as error:
            notes["general_change"] = str(error)
        else:
            found["general_change"] = _difference(lee, other, "spearman")
    seconds = float(result.history["seconds"].sum())
    batches = math.ceil(len(pairs) / config.batch_size)
    return found | {
        "trial_gain": _difference(best.model, after),
        "seconds": seconds,
        "epoch_minutes": seconds / config.max_steps * batches / 60,
    }


def _fuller_task(task: RetrievalTask, texts: Mapping[str, str] | None) -> RetrievalTask | None:
    """Return the task over the fuller texts, or None where these are no other."""
    if texts is None:
        return None
    if not task.corpus.keys() & texts.keys():
        raise ValueError(
            f"texts has none of the {len(task.corpus)} document ids of {task.name}. Give "
            "{document id: fuller text}, with the ids of task.corpus."
        )
    corpus = {name: texts.get(name, text) for name, text in task.corpus.items()}
    return None if corpus == task.corpus else replace(task, corpus=corpus)


def _usable_pairs(task, texts, pairs) -> list[tuple[str, str]]:
    """Return the pairs, each once, that hold no question of the task."""
    if pairs is None:
        held = map(_first_and_rest, {**task.corpus, **(texts or {})}.values())
        pairs = [(first, rest) for first, rest in held if len(rest.split()) >= _LEAST_WORDS]
    return drop_questions(dict.fromkeys(checked_pairs(pairs)), task)


def _first_and_rest(text):
    """Return the first line of a text, or of a single line the first sentence, and the rest."""
    first, _, rest = text.strip().partition("\n")
    if not rest:
        first, *others = split_sentences(text) or [""]
        rest = " ".join(others)
    return first.strip(), rest.strip()


def _untrainable(model, config) -> str:
    """Return why a model cannot be trained, or ""."""
    try:
        start, _ = check_start(model, config, PairsConfig, None)
    except TypeError as error:
        return str(error)
    if not any(weight.requires_grad for weight in start.parameters()):
        return "It has no weights that could be trained; load it as a plain torch model."
    return ""


def _pieces(model, texts) -> float | None:
    """Return tokens per word, special ones aside; None without a tokenizer or without words."""
    start = underlying(model)
    tokenizer = start.tokenizer if is_sentence_transformer(start) else None
    texts = list(texts)
    words = sum(len(text.split()) for text in texts)
    if not callable(tokenizer) or not words:
        return None
    tokens = 0
    for row in range(0, len(texts), _AT_ONCE):
        part = texts[row : row + _AT_ONCE]
        ids = tokenizer(part, add_special_tokens=False, truncation=False, verbose=False)
        tokens += sum(map(len, ids["input_ids"]))
    return tokens / words


def _mean(evaluation: Evaluation, metric: str = _MRR) -> Estimate:
    return _estimate(evaluation.summary(), metric, "mean")


def _difference(a: Evaluation, b: Evaluation, metric: str = _MRR) -> Estimate:
    """Return b - a. The same questions over fuller texts are another task to ``compare``, not here."""
    told = compare(*(replace(one, content="") for one in (a, b)))
    return _estimate(told.table, metric, "difference")


def _estimate(table: pd.DataFrame, metric: str, value: str) -> Estimate:
    row: Any = table.loc[metric]
    return Estimate(*(float(row[name]) for name in (value, "low", "high")))
