"""A second, closer look at the texts a search found, by a cross-encoder.

A bi-encoder reads query and text apart, so that texts can be encoded once, beforehand. A
cross-encoder reads them together and compares word by word: usually better, always dearer, so it
looks only at what a search put in front of it.
"""

import hashlib
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from course_utils.encoding.encode import encode_document, encode_query
from course_utils.encoding.progress import progress_bar
from course_utils.files import restored, whole_folder
from course_utils.models.files import no_progress_bars
from course_utils.models.fingerprints import fingerprint_or_none
from course_utils.models.processor import has_bfloat16
from course_utils.retrieval.index import Index, build_index, check_k
from course_utils.retrieval.searching import Hit, check_same_model

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder, SentenceTransformer

    from course_utils.encoding.cache import EmbeddingCache

_WARM_UP = 0.1
_HARD_DEPTH = 30  # hard negatives are drawn from this many first search results
_RECIPE = 2  # counted up with every change of the recipe, so that older saved results are not used


def rerank(
    cross_encoder: Any,
    query: str,
    hits: Sequence[Hit],
    *,
    k: int | None = None,
    weight: float = 1.0,
) -> list[Hit]:
    """Return the same hits in the order a cross-encoder gives them, with its scores and new ranks.

    ``cross_encoder`` is a sentence-transformers ``CrossEncoder``, or anything else with
    ``rank(query, texts)`` returning dicts with ``corpus_id`` and ``score``. ``k`` keeps the first
    k. Equal scores keep the order of ``hits``. A ranker that returns only its best few has left the
    others out, and so does the result.

    ``weight`` below 1 keeps some of the first search's opinion: both lists of scores are brought
    to mean 0 and standard deviation 1, and a hit's score becomes ``weight · cross-encoder +
    (1 - weight) · search``. It helps where the cross-encoder is weak.

    Raises ``ValueError`` for a blank query, k < 1, a weight outside 0 to 1, a ranker that names a
    text twice or one that was not given, and for a weight below 1 with one that leaves texts out.

    >>> class Longest:
    ...     def rank(self, query, texts):
    ...         return [{"corpus_id": i, "score": len(text)} for i, text in enumerate(texts)]
    >>> hits = [Hit("a", 0.9, "short", 1), Hit("b", 0.8, "much longer", 2)]
    >>> [(hit.id, hit.score, hit.rank) for hit in rerank(Longest(), "which?", hits)]
    [('b', 11.0, 1), ('a', 5.0, 2)]
    """
    if not 0 <= weight <= 1:
        raise ValueError(f"weight is {weight}: give the cross-encoder's share, from 0 to 1.")
    if not check_rerank(query, hits, k):
        return []
    found: dict[int, float] = {}
    for result in cross_encoder.rank(query, [hit.text for hit in hits]):
        place = int(result["corpus_id"])
        if place in found or not 0 <= place < len(hits):
            raise ValueError(
                f"The ranker returned corpus_id {place} for {len(hits)} texts"
                f"{' a second time' if place in found else ''}: give each text one score."
            )
        found[place] = float(result["score"])
    if weight < 1 and len(found) < len(hits):
        raise ValueError(
            f"The ranker scored {len(found)} of {len(hits)} texts, and weight={weight} mixes scores "
            "of all: let it score all of them, or use weight=1."
        )
    places = sorted(found)
    scores = np.array([found[place] for place in places])
    if weight < 1:
        before = np.array([hit.score for hit in hits])
        scores = weight * _standardised(scores) + (1 - weight) * _standardised(before)
    return in_order([hits[place] for place in places], scores, k)


def train_cross_encoder(
    model: "SentenceTransformer",
    pairs: Iterable[tuple[str, str]],
    *,
    index: Index | None = None,
    negatives: int = 4,
    steps: int = 200,
    batch_size: int = 4,
    learning_rate: float = 4e-4,
    max_tokens: int = 64,
    frozen_share: float = 0.5,
    hard_share: float = 0.5,
    relative_margin: float | None = None,
    seed: int = 0,
    folder: str | Path | None = None,
    cache: "EmbeddingCache | None" = None,
    show_progress_bar: bool = True,
) -> "CrossEncoder":
    """Return a small ``CrossEncoder`` made from ``model``'s own transformer, trained on ``pairs``.

    ``pairs`` is a list of (query, relevant text). Each step takes ``batch_size`` pairs and, for
    each, ``negatives`` other texts: ``hard_share`` of them hard (among the first 30 that ``model``
    itself finds for the query), the others drawn from all texts. Both come from ``index``, an ``Index`` made by
    ``model``; without one, the pairs' texts are encoded (``cache`` is passed on) and indexed first.
    A hard one may be relevant, though nobody said so: with ``relative_margin``, only those are taken
    whose cosine with the query is at most (1 - relative_margin) times that of the relevant text, as
    in ``mine_hard_negatives`` of sentence-transformers. The loss is the cross-entropy of a softmax
    over each relevant text and its negatives (listwise; Cao et al. 2007, with one relevant text).
    Scores are logits: any real number, higher is better.

    The weights come from ``model`` in memory, under a new one-number classification head; ``model``
    itself is not changed. ``frozen_share`` of the layers, the lowest, stay as they are, and the
    embeddings with them, unless it is 0. Inputs are cut at ``max_tokens``, query and text together,
    in training and afterwards. The defaults are made for a minute or two, which teach less than the
    model's search knows already: expect gains from ``rerank(..., weight=0.3)``, not from weight 1.
    With more time, train all layers on whole texts, at a lower rate. What that gives, minute by
    minute, is in the table of ``course_utils.metrics.evidence``. Products of matrices are computed
    in bfloat16 where ``has_bfloat16`` says so. On the same CPU the same arguments give the same
    cross-encoder.

    With ``folder``, the result is saved below it (safetensors) under a name made from the model's
    fingerprint, pairs, texts and settings, and a second call with the same loads it. An interrupted
    call writes nothing.

    Raises ``ValueError`` for no pairs, a blank query or text (the pair is named), a text collection
    with too few texts for ``negatives``, a setting out of range (``negatives``, ``steps``,
    ``batch_size`` and ``max_tokens`` below 1, the latter above what ``model`` can read, a share or
    margin outside 0 to 1) or an index that another model made; ``TypeError`` for a pair that is not
    two strings.
    """
    pairs = _checked_pairs(pairs)
    counts = {"negatives": negatives, "steps": steps, "batch_size": batch_size}
    for name, value in (counts | {"max_tokens": max_tokens}).items():
        if value < 1:
            raise ValueError(f"{name} is {value}: it must be at least 1.")
    transformer: Any = model[0]
    longest = transformer.auto_model.config.max_position_embeddings
    if max_tokens > longest:
        raise ValueError(f"max_tokens is {max_tokens}: this model reads at most {longest}.")
    shares = {"frozen_share": frozen_share, "hard_share": hard_share}
    for name, share in (shares | {"relative_margin": relative_margin or 0}).items():
        if not 0 <= share <= 1:
            raise ValueError(f"{name} is {share}: give a number from 0 to 1.")
    if index is None:
        texts = list(dict.fromkeys(text for _, text in pairs))
        index = build_index(model, texts, cache=cache)
    check_same_model(model, index)
    in_bfloat16 = has_bfloat16(model.device)
    settings = [negatives, steps, batch_size, learning_rate, seed, index.kind]
    mining = (hard_share, relative_margin)
    settings += [max_tokens, frozen_share, *mining, in_bfloat16]
    target = None
    if folder is not None:
        target = restored(Path(folder) / _name(model, pairs, index, settings))
        if target.is_dir():
            return _load_cross_encoder(target, model.device)
    rng = np.random.default_rng(seed)
    batches = _batches(pairs, steps * batch_size, rng)
    groups = _with_negatives(model, batches, pairs, index, negatives, mining, rng, cache)
    cross_encoder = _new_cross_encoder(model, max_tokens, seed)
    _freeze(cross_encoder, frozen_share)
    with layers_in_bfloat16(cross_encoder) if in_bfloat16 else nullcontext():
        _fit(cross_encoder, groups, batch_size, learning_rate, seed, show_progress_bar)
    if target is not None:
        with whole_folder(target) as fresh, _no_reports():
            cross_encoder.save_pretrained(str(fresh), create_model_card=False)
    return cross_encoder


@contextmanager
def layers_in_bfloat16(cross_encoder: "CrossEncoder") -> Iterator[None]:
    """Compute the layers' products of matrices in bfloat16 inside the block, the head in float32.

    Scores with the eight binary digits of bfloat16 are often equal; so the layers alone are faster and
    rougher. For training and for ``rank`` or ``predict``; see ``has_bfloat16`` for where it pays.
    """
    import torch

    base: Any = cross_encoder.model
    base = base.base_model
    layers = getattr(base, "encoder", base)
    plain = layers.forward

    def forward(*args, **kwargs):
        with torch.autocast(cross_encoder.device.type, torch.bfloat16):
            found = plain(*args, **kwargs)
        found.last_hidden_state = found.last_hidden_state.float()
        return found

    layers.forward = forward
    try:
        yield
    finally:
        del layers.forward


def _freeze(cross_encoder, share):
    if not share:
        return
    base = cross_encoder.model.base_model
    layers = getattr(getattr(base, "encoder", base), "layer", [])
    for part in (base.embeddings, *layers[: int(len(layers) * share)]):
        part.requires_grad_(False)


def _fit(cross_encoder, groups, batch_size, learning_rate, seed, show_progress_bar):
    """Train in place; each of ``groups`` is a query, its relevant text, then its negatives."""
    import torch

    steps = len(groups) // batch_size
    weights = [weight for weight in cross_encoder.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (_WARM_UP * steps), 1 - step / steps)
    )
    cross_encoder.train()
    # Dropout draws from torch's global generator: fork it, so that the caller's stays untouched.
    bar = None
    if show_progress_bar:
        bar = progress_bar(total=steps, description="Cross-encoder", unit="steps")
    with torch.random.fork_rng(), closing(bar) if bar is not None else nullcontext():
        torch.manual_seed(seed)
        for step in range(steps):
            batch = groups[step * batch_size : (step + 1) * batch_size]
            queries = [query for query, *texts in batch for _ in texts]
            tokens = cross_encoder.tokenizer(
                queries,
                [text for _, *texts in batch for text in texts],
                truncation=True,
                max_length=cross_encoder.max_seq_length,
                padding=True,
                return_tensors="pt",
            ).to(cross_encoder.device)
            logits = cross_encoder.model(**tokens).logits.view(len(batch), -1)  # (pairs, texts)
            relevant = torch.zeros(len(batch), dtype=torch.long, device=logits.device)
            loss = torch.nn.functional.cross_entropy(logits, relevant)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            schedule.step()
            if bar is not None:
                bar.update()
                bar.set_postfix(loss=f"{loss.item():.3f}")
    cross_encoder.requires_grad_(True).eval()


def _new_cross_encoder(model, max_tokens, seed):
    import torch
    from sentence_transformers import CrossEncoder

    # A CrossEncoder is built from files. These are the weights in memory, not those the model was
    # loaded from: training done since then must not be lost.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        torch.random.fork_rng(),
        _no_reports(),
    ):
        model[0].auto_model.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        torch.manual_seed(seed)
        return CrossEncoder(
            folder,
            num_labels=1,
            max_length=max_tokens,
            device=str(model.device),
            local_files_only=True,
            # Logits, not their sigmoid, which rounds to exactly 1 for every confident score.
            activation_fn=torch.nn.Identity(),
        )


@contextmanager
def _no_reports():
    """Silence transformers' bars, and its warning that the head is new, as it is meant to be."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with no_progress_bars():
            yield
    finally:
        logging.set_verbosity(before)


def _load_cross_encoder(folder, device):
    from sentence_transformers import CrossEncoder

    try:
        with _no_reports():
            return CrossEncoder(str(folder), device=str(device), local_files_only=True)
    except Exception as error:
        raise ValueError(
            f"The cross-encoder saved in {folder} cannot be read ({error}): delete that folder "
            "and call again to train it anew."
        ) from error


def _batches(pairs, count, rng):
    """Return the numbers of the pairs to train on, ``count`` in all: whole shuffled rounds, then a part."""
    rounds = -(-count // len(pairs))
    return np.concatenate([rng.permutation(len(pairs)) for _ in range(rounds)])[:count].tolist()


def _with_negatives(model, chosen, pairs, index, negatives, mining, rng, cache):
    """For each chosen pair the query, its relevant text, then ``negatives`` other texts."""
    relevant = {}
    for query, text in pairs:
        relevant.setdefault(query, set()).add(text)
    queries = list(dict.fromkeys(pairs[number][0] for number in chosen))
    vectors = encode_query(model, queries, cache=cache)
    hits = {
        query: [hit for hit in zip(*found, strict=True) if hit[1] >= 0]
        for query, *found in zip(queries, *index.search(vectors, _HARD_DEPTH), strict=True)
    }
    hard_share, relative_margin = mining
    limits = dict.fromkeys(chosen, math.inf)
    if relative_margin is not None:
        answers = encode_document(model, [pairs[n][1] for n in limits], cache=cache)
        row_of = {query: row for row, query in enumerate(queries)}
        asked = vectors[[row_of[pairs[n][0]] for n in limits]]
        cosines = (asked * answers).sum(axis=1) * (1 - relative_margin)
        limits = dict(zip(limits, cosines.tolist(), strict=True))
    groups = []
    for number in chosen:
        query, text = pairs[number]
        taken = {}  # a dict keeps the order, and the same text from being taken twice
        hard = [index.texts[row] for cosine, row in hits[query] if cosine <= limits[number]]
        sources = (
            (
                [hard[place] for place in rng.permutation(len(hard))],
                math.ceil(hard_share * negatives),
            ),
            ((index.texts[row] for row in rng.permutation(len(index))), negatives),
        )
        for source, enough in sources:
            allowed = (other for other in source if other not in relevant[query])
            while len(taken) < enough and (other := next(allowed, None)) is not None:
                taken[other] = True
        if len(taken) < negatives:
            raise ValueError(
                f"There are only {len(taken)} texts besides the relevant ones to serve as negatives "
                f"for the query {query!r}, {negatives} were asked for: give more texts, or lower "
                "negatives."
            )
        groups.append((query, text, *taken))
    return groups


def _checked_pairs(pairs):
    checked = []
    for number, pair in enumerate(pairs):
        if len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise TypeError(f"Pair {number} is not two strings: give (query, relevant text).")
        if not all(text.strip() for text in pair):
            raise ValueError(f"Pair {number} has a blank query or text: leave it out.")
        checked.append(tuple(pair))
    if not checked:
        raise ValueError("There are no pairs to train on: give a list of (query, relevant text).")
    return checked


def _name(model, pairs, index, settings):
    told = json.dumps([_RECIPE, fingerprint_or_none(model), pairs, index.texts, settings])
    return f"cross-encoder-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def check_rerank(query: str, hits: Sequence[Hit], k: int | None) -> int:
    """Return the number of hits; raise ``ValueError`` for a blank query or k < 1."""
    if not query.strip():
        raise ValueError("The query is blank: write what to look for.")
    if k is not None:
        check_k(k)
    return len(hits)


def in_order(hits: Sequence[Hit], scores: ArrayLike, k: int | None) -> list[Hit]:
    """Return the hits with new scores (n,) and ranks, the highest first, equal ones as they were."""
    scores = np.asarray(scores)
    order = np.argsort(-scores, kind="stable")[:k]
    return [
        replace(hits[row], score=float(scores[row]), rank=rank)
        for rank, row in enumerate(order, start=1)
    ]


def _standardised(scores):
    spread = scores.std()
    return (scores - scores.mean()) / (spread if spread else 1)
