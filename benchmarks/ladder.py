"""What pays, and on top of what: words, the index, denoising, pairs, written questions, labels.

    python benchmarks/ladder.py                                    print the table of what was measured
    python benchmarks/ladder.py --figure FILE                      draw the ladder from it
    python benchmarks/ladder.py --fill --folder FOLDER             measure every empty cell, one by one
    python benchmarks/ladder.py --fill --folder FOLDER --field medical --model all-MiniLM-L6-v2 --method recipe

A cell is one way to search: words, a model as it comes, or one training of it. It is scored, question
by question, on every exam of its field, whose questions no run has seen, neither in training nor for
choosing. The exam "choosing" is the exception: options were chosen by it. Cells are kept in
datasets/adaptation/evidence.jsonl, one line each, so a stopped run goes on where it was; FOLDER keeps
written questions, checkpoints and trained models.
"""

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cache, partial
from importlib.metadata import version
from math import ceil
from pathlib import Path

EVIDENCE = Path(__file__).parents[1] / "datasets" / "adaptation" / "evidence.jsonl"
SMALL_BERT = Path(__file__).parents[1] / "datasets" / "small_bert"
MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2", "small-bert")
MINILM, MPNET, BERT = MODELS
SEEDS = (0, 1, 2)
METRICS = ("mrr@10", "recall@10")
WORDS = 180  # of a text in the index where texts are long: what MiniLM reads whole


@dataclass(frozen=True)
class Field:
    """Texts, what is asked of them, and what can be trained on, by kind.

    ``exams`` are tasks by name, the first of them the field's own; ``dev`` is scored while training.
    ``pairs`` gives the training pairs of a kind when asked, without any exam's questions. Where
    ``trained_in`` names another field, nothing is trained: its models take this field's exams.
    ``free`` are exams for what costs nothing alone.
    """

    exams: dict
    dev: object
    sentences: list
    pairs: dict[str, Callable[[Path], list]]
    trained_in: str = ""
    free: dict = field(default_factory=dict)


# Fields.


def medical(hide=False, again=False):
    """Lay wording to clinical term and definition, no word in common with the term.

    With ``hide``, nothing of the documents that answer the test is trained on: they came later.
    With ``again``, the exam is one that was never scored while anything could still be changed.
    """
    from course_utils.data import load_task, load_written_questions
    from course_utils.data.sentences import split_sentences

    shown = load_task("medical/with-definitions/no-shared-word")
    dev, test, rest = shown.split(200, 800)
    choosing = _joined(dev, rest)
    near = load_task("medical/with-definitions/near-synonym")
    everything = load_task("medical/with-definitions")
    unfiltered, fresh = _unfiltered(everything, shown, test), _fresh(everything, shown)
    exams = {
        "with definitions": test.sample(corpus=4000),
        "bare terms": _with_corpus(test, load_task("medical").corpus).sample(corpus=4000),
        "unfiltered": unfiltered.sample(corpus=4000),
        "near synonyms": near.sample(corpus=4000),
        "choosing": choosing.sample(corpus=4000),
    }
    if again:
        fresh = fresh.sample(corpus=4000)
        return Field({"fresh": fresh}, dev, [], {}, trained_in="medical")
    asked = (shown, near, unfiltered, fresh)
    hidden = _answers(test) if hide else set()
    every = {key: text for key, text in shown.corpus.items() if ". " in text}
    documents = {key: text for key, text in every.items() if key not in hidden}
    names = load_task("medical").corpus
    whole = {key: (names[key], text[len(names[key]) + 2 :]) for key, text in documents.items()}
    first = {key: (name, split_sentences(text)[0]) for key, (name, text) in whole.items()}
    clean = partial(_clean, tasks=asked)
    sentences = clean(s for _, text in whole.values() for s in split_sentences(text))
    return Field(
        exams,
        replace(dev.sample(corpus=1000), name="dev"),
        sentences,
        {
            "first sentences": lambda _: clean(first.values()),
            "pairs": lambda _: clean(whole.values()),
            "crops": lambda _: clean(_crops(documents)),
            "questions": lambda _: clean(
                (asked, every[key]) for asked, key in load_written_questions() if key not in hidden
            ),
            "questions, written anew": lambda folder: clean(
                _questions(folder, "medical", every, "terms", number=4000)
            ),
            "labels": lambda _: clean(
                (everything.queries[query], shown.corpus[document])
                for query, judged in everything.qrels.items()
                for document in judged
                if not judged.keys() & set().union(*map(_answers, asked))
            ),
        },
    )


def python_docs():
    """Summary line to the rest of the docstring; trained on functions that nobody asks for."""
    from course_utils.data import load_task, load_texts

    task = load_task("python-docs", max_words=WORDS)
    return _titled(task, load_texts("python-docs"), (100, 800), 1200, "python-docs", "manuals")


def legal():
    """Name of a licence to its text; trained on names and texts of the others."""
    from course_utils.data import RetrievalTask, load_licences, load_texts

    licences = {x.key: x for x in load_licences() if len(x.text.split()) >= 20}
    begins = {key: _first(x.text, WORDS) for key, x in licences.items()}
    # The names asked for are those that the first words alone do not give away.
    names = {
        key: x.name
        for key, x in licences.items()
        if x.name.lower() not in _first(x.text, 48).lower()
    }
    task = RetrievalTask("legal names", begins, names, {key: {key: 1} for key in names})
    return _titled(task, load_texts("legal"), (150, 600), 2000, "legal", "titles")


def company_wiki():
    """A new colleague's question to the page that answers it; trained on titles and paragraphs."""
    from course_utils.data import load_task, load_texts, load_wiki_pages

    task = load_task("company-wiki")
    dev, test = task.split(60)
    paragraphs = [
        (f"{page.id} {number}", (page.title, part))
        for page in load_wiki_pages()
        for number, part in enumerate(page.text.split("\n\n"))
        if len(part.split()) > 10
    ]
    clean = partial(_clean, tasks=(dev, test))
    texts = {key: f"{title}. {part}" for key, (title, part) in paragraphs}
    return Field(
        {"pages": test},
        replace(dev, name="dev"),
        clean(load_texts("company-wiki")),
        {
            "pairs": lambda _: clean(pair for _, pair in paragraphs),
            "crops": lambda _: clean(_crops({key: part for key, (_, part) in paragraphs})),
            "questions": lambda folder: clean(
                _questions(folder, "company-wiki", texts, "notices", number=1500)
            ),
        },
    )


def _titled(task, sentences, sizes, documents, name, examples):
    """A field whose queries are titles of its documents: the others' titles are the pairs."""
    dev, test, _ = task.split(*sizes)
    hidden = _answers(dev) | _answers(test)
    left = {key: text for key, text in task.corpus.items() if key not in hidden}
    titles = {
        document: task.queries[query] for query, judged in task.qrels.items() for document in judged
    }
    pairs = [(titles[key], text) for key, text in left.items() if key in titles]
    clean = partial(_clean, tasks=(dev, test))
    kept = test.sample(corpus=documents)
    few = _with_corpus(kept, {key: _first(text, 48) for key, text in kept.corpus.items()})
    return Field(
        {"more text": kept},
        replace(dev.sample(corpus=documents // 2), name="dev"),
        clean(sentences),
        {
            "pairs": lambda _: clean(pairs),
            "crops": lambda _: clean(_crops(left)),
            "questions": lambda folder: clean(_questions(folder, name, left, examples)),
        },
        free={"first 48 words": few},
    )


FIELDS = {
    "medical": medical,
    "medical, answers held out": partial(medical, hide=True),
    "medical, fresh questions": partial(medical, again=True),
    "python-docs": python_docs,
    "legal": legal,
    "company-wiki": company_wiki,
}


def _joined(one, other):
    return replace(
        one, queries={**one.queries, **other.queries}, qrels={**one.qrels, **other.qrels}
    )


def _first(text, number):
    return " ".join(text.split()[:number])


def _with_corpus(task, corpus):
    return replace(task, corpus={key: corpus[key] for key in task.corpus})


def _answers(task):
    return {document for judged in task.qrels.values() for document in judged}


def _only(task, queries):
    return replace(
        task,
        queries={query: task.queries[query] for query in queries},
        qrels={query: task.qrels[query] for query in queries},
    )


def _unfiltered(everything, unlike, test):
    """800 lay questions as they come: those without a shared word, in their share, are of the test."""
    rng = random.Random(0)
    few = round(800 * len(unlike.queries) / len(everything.queries))
    alike = sorted(everything.queries.keys() - unlike.queries.keys())
    return _only(everything, rng.sample(sorted(test.queries), few) + rng.sample(alike, 800 - few))


def _fresh(everything, unlike):
    """The questions that share a stem with their term, but no whole word: no choice ever saw them."""
    from course_utils.data.medical import content_words

    names = {key: text.split(". ")[0] for key, text in everything.corpus.items()}
    return _only(
        everything,
        [
            query
            for query, text in everything.queries.items()
            if query not in unlike.queries
            and not any(
                set(content_words(text)) & set(content_words(names[d]))
                for d in everything.qrels[query]
            )
        ],
    )


# What is trained on.


def _clean(pairs, tasks):
    from course_utils.adaptation import drop_questions

    return drop_questions(pairs, *tasks)


def _crops(documents):
    from course_utils.adaptation import crop_pairs

    return crop_pairs(documents.values())


_KEPT: dict[str, list] = {}


def _questions(folder, name, documents, examples, number=600):
    """Written and kept: of at most ``number`` documents at random, four questions each."""
    from course_utils import EmbeddingCache, load_model
    from course_utils.adaptation import generate_questions, keep_grounded
    from course_utils.data import load_examples

    if name not in _KEPT:
        keys = sorted(documents)
        random.Random(0).shuffle(keys)
        some = {key: documents[key] for key in keys[:number]}
        shown = load_examples(examples)
        written = generate_questions(some, shown, path=folder / f"questions, {name}.jsonl")
        _KEPT[name] = keep_grounded(
            load_model(), written, documents, examples=shown,
            cache=EmbeddingCache(folder / "vectors.sqlite"), show_progress_bar=False,
        )  # fmt: skip
    return _KEPT[name]


def store_questions(folder):
    """Write the medical questions that were kept beside the evidence: lesson 2 trains on them."""
    from course_utils.data import load_task
    from course_utils.files import write_text

    corpus = load_task("medical/with-definitions").corpus
    key_of = {text: key for key, text in corpus.items()}
    lines = [
        json.dumps({"asked": asked, "id": key_of[text]}, ensure_ascii=False)
        for asked, text in load_field("medical").pairs["questions, written anew"](folder)
    ]
    write_text(EVIDENCE.with_name("questions.jsonl"), "\n".join(lines) + "\n")
    print(f"{len(lines):,} questions stored")


# Ways to search.


@dataclass(frozen=True)
class Stage:
    """One training: on the sentences ("tsdae"), by masking ("mlm"), or on kinds of pairs.

    It runs ``epochs`` times through what it is given, and at most ``steps`` steps. Several kinds come in
    equal parts, of at most ``limit`` pairs each. With ``negatives``, sentence-transformers trains: with
    one mined wrong answer a pair ("mined"), or on the margins that a larger model gives ("graded").
    The first ``frozen`` layers stay as they are.
    """

    on: tuple[str, ...] | str
    epochs: float = 2
    steps: int = 100
    limit: int = 10**6
    options: Mapping = field(default_factory=dict)
    negatives: str = ""
    frozen: int = 0


def _tsdae(**options):
    return Stage("tsdae", 1, 10**6, options={"interpolate": None, **options})


RECIPE = Stage(("questions", "pairs", "crops"))
METHODS: dict[str, list[Stage] | str] = {
    "words": "words",
    "untouched": [],
    "words and model": "fused",
    "recipe": [RECIPE],
    "recipe and words": "recipe fused",
    "labels": [replace(RECIPE, on=("labels",), epochs=10**6)],
    # What of it pays.
    "first sentences": [replace(RECIPE, on=("first sentences",))],
    "pairs": [replace(RECIPE, on=("pairs",))],
    "crops": [replace(RECIPE, on=("crops",))],
    "questions": [replace(RECIPE, on=("questions",))],
    "pairs and crops": [replace(RECIPE, on=("pairs", "crops"))],
    "recipe, 300 steps": [replace(RECIPE, epochs=10**6, steps=300)],
    "recipe, last two layers": [replace(RECIPE, frozen=4)],
    "recipe, mined negatives": [replace(RECIPE, steps=67, negatives="mined")],
    "questions, graded by MPNet": [
        replace(RECIPE, on=("questions",), steps=200, negatives="graded")
    ],
    "recipe, three runs averaged": "average",
    # How much text, and how often.
    "recipe, 250 of each kind": [replace(RECIPE, limit=250, epochs=10**6)],
    "recipe, 1,000 of each kind": [replace(RECIPE, limit=1000, epochs=10**6)],
    **{
        f"pairs, {epochs} epoch{'s' * (epochs > 1)}": [
            Stage(("pairs",), epochs, 10**6, options={"interpolate": None})
        ]
        for epochs in (1, 2, 4, 8)
    },
    # Denoising: one time through the sentences.
    "TSDAE": [_tsdae()],
    "TSDAE, rate 1e-5": [_tsdae(learning_rate=1e-5)],
    "TSDAE, rate 1e-4": [_tsdae(learning_rate=1e-4)],
    "TSDAE, 30 % deleted": [_tsdae(rate=0.3)],
    "TSDAE, 80 % deleted": [_tsdae(rate=0.8)],
    "TSDAE, exact decoder": [_tsdae(decoder="exact")],
    "TSDAE, share by dev": [_tsdae(interpolate="auto")],
    "TSDAE, then pairs": [_tsdae(), replace(RECIPE, on=("pairs",))],
    "TSDAE, then recipe": [_tsdae(interpolate="auto"), RECIPE],
    "contrast": [_tsdae(objective="contrast")],
    "masking": [Stage("mlm", 1, 10**6)],
}
# A small model trained from nothing learns faster; chosen on the dev questions of medical.
RATES = {BERT: {"tsdae": 3e-4, "pairs": 1e-3}}
ONCE = ("words", "untouched", "words and model", "recipe, three runs averaged")


def stage_pairs(field, stage, folder, seed):
    """The pairs of a stage's kinds, in equal parts, in a random order."""
    from course_utils.adaptation import mix_pairs

    kinds = [field.pairs[kind](folder) for kind in stage.on]
    kinds = [random.Random(seed).sample(kind, min(stage.limit, len(kind))) for kind in kinds]
    return mix_pairs(*kinds, seed=seed)


def train_in_library(start, pairs, stage, dev, seed, folder):
    """The model of sentence-transformers after a stage with negatives, and its share by dev.

    Wrong answers are mined by the start model among the pairs' texts; one nearly as near as the right
    answer is taken for right and left out. "mined": ranking among 96 pairs and their wrong answers,
    those that the start model finds nearer than the right one left out (GISTEmbedLoss). "graded": the
    difference of the two cosines shall be the larger model's (MarginMSELoss, as in GPL), batches of 32.
    """
    from copy import deepcopy

    from sentence_transformers import SentenceTransformerTrainer as Trainer
    from sentence_transformers import SentenceTransformerTrainingArguments
    from sentence_transformers.sentence_transformer.losses import GISTEmbedLoss, MarginMSELoss
    from sentence_transformers.util import mine_hard_negatives, pairwise_cos_sim

    from course_utils import EmbeddingCache, encode, evaluate, load_model
    from course_utils.adaptation import interpolate_models
    from course_utils.adaptation.dev import SHARES
    from course_utils.models import has_bfloat16
    from datasets import Dataset

    size = 32 if stage.negatives == "graded" else 96
    pairs = pairs[: stage.steps * size]
    rows = Dataset.from_dict({"query": [a for a, _ in pairs], "answer": [b for _, b in pairs]})
    rows = mine_hard_negatives(
        rows, start, num_negatives=1, range_max=50, relative_margin=0.05, verbose=False
    )
    student = deepcopy(start)
    student.max_seq_length = 64
    if stage.negatives == "graded":
        loss = MarginMSELoss(student, similarity_fct=pairwise_cos_sim)
        teacher, cache = load_model(MPNET), EmbeddingCache(folder / "vectors.sqlite")
        query, right, wrong = (
            encode(teacher, list(rows[name]), cache=cache, show_progress_bar=False)
            for name in ("query", "answer", "negative")
        )
        rows = rows.add_column("label", ((query * right).sum(1) - (query * wrong).sum(1)).tolist())
    else:
        loss = GISTEmbedLoss(student, start, temperature=0.07)
    arguments = SentenceTransformerTrainingArguments(
        str(folder / "library"), max_steps=stage.steps, per_device_train_batch_size=size,
        learning_rate=2e-4, warmup_steps=0.1, bf16=has_bfloat16(start.device), seed=seed,
        use_cpu=start.device.type == "cpu", save_strategy="no",
        report_to="none", disable_tqdm=True,
    )  # fmt: skip
    began = time.perf_counter()
    Trainer(student, arguments, rows, loss=loss).train()
    seconds = time.perf_counter() - began
    student.max_seq_length = start.max_seq_length
    scores = {}
    for share in SHARES:
        mixture = interpolate_models(start, student, share)
        score = evaluate(mixture, dev, show_progress_bar=False).scores["mrr@10"].mean()
        scores[share] = float(score)
    share = max(scores, key=scores.get)
    return interpolate_models(start, student, share), share, seconds, len(rows)


def train(model, stages, field, seed, folder, name, rates):
    """The model after its stages, and what they took: seconds, steps, texts or pairs, precision."""
    from course_utils.adaptation import PairsConfig, TSDAEConfig, train_pairs, train_tsdae
    from course_utils.data import load_texts

    told = {"seconds": 0, "steps": [], "texts": [], "precision": "float32", "share": []}
    for number, stage in enumerate(stages):
        common = {"seed": seed, "evaluate_every": 10**6, "checkpoint_every": 50}
        if rate := rates.get("tsdae" if stage.on == "tsdae" else "pairs"):
            common["learning_rate"] = rate
        common |= stage.options
        given = {
            "dev_task": field.dev, "show_progress_bar": False,
            "folder": folder / f"{name}, stage {number}".replace("/", "-"),
        }  # fmt: skip
        if stage.on == "mlm":
            began = time.perf_counter()
            from small_bert import train_mlm

            count = len(field.sentences)
            steps = min(stage.steps, ceil(stage.epochs * count / 32))
            model = train_mlm(SMALL_BERT, field.sentences, steps, seed=seed)
            told["seconds"] += time.perf_counter() - began
            told["steps"].append(steps)
            told["texts"].append(count)
            continue
        if stage.on == "tsdae":
            texts = field.sentences
            steps = min(stage.steps, ceil(stage.epochs * len(texts) / TSDAEConfig().batch_size))
            result = train_tsdae(model, texts, TSDAEConfig(max_steps=steps, **common), **given)
        else:
            texts = stage_pairs(field, stage, folder, seed)
            if stage.negatives:
                model, share, seconds, count = train_in_library(
                    model, texts, stage, field.dev, seed, folder
                )
                for key, value in [("steps", stage.steps), ("texts", count), ("share", share)]:
                    told[key].append(value)
                told["seconds"] += seconds
                continue
            steps = min(stage.steps, ceil(stage.epochs * len(texts) / PairsConfig().batch_size))
            for layer in range(stage.frozen):
                model[0].auto_model.encoder.layer[layer].requires_grad_(False)
            if stage.frozen:
                model[0].auto_model.embeddings.requires_grad_(False)
            config = PairsConfig(max_steps=steps, **common)
            result = train_pairs(model, texts, config, general=load_texts("everyday"), **given)
        model = result.model
        told["seconds"] += float(result.history["seconds"].sum())
        told["steps"].append(steps)
        told["texts"].append(len(texts))
        told["share"].append(result.alpha)
        told["precision"] = result.precision
    return model, told


def averaged(field_name, model_name, folder):
    """The mean of the weights of the recipe's three runs."""
    from course_utils import load_model
    from course_utils.adaptation import interpolate_models

    runs = (
        load_model(str(folder / "models" / f"{field_name}, {model_name}, recipe, {seed}"))
        for seed in SEEDS
    )
    mean = next(runs)
    for number, run in enumerate(runs, start=2):
        mean = interpolate_models(mean, run, 1 / number)
    return mean


def search_scores(method, model, exam, cache):
    """The table of a way's scores on an exam, one row a question."""
    from course_utils import KeywordIndex, evaluate, fuse, search
    from course_utils.metrics import evaluate_hits

    if method not in ("words", "fused"):
        return evaluate(model, exam, cache=cache, show_progress_bar=False).scores
    queries = list(exam.queries.values())
    hits = KeywordIndex(exam.corpus).search(queries, k=100)
    if method == "fused":
        found = search(model, queries, exam.corpus, k=100, cache=cache, show_progress_bar=False)
        hits = fuse([found, hits], method="scores")
    return evaluate_hits(hits, exam, name=method).scores


@cache
def load_field(name):
    return FIELDS[name]()


def load_start(name):
    from course_utils import load_model

    return load_model(SMALL_BERT if name == BERT else name)


def measure(field_name, model_name, method, seed, folder):
    """Fill one cell: a dictionary of JSON values, with the score of every question of every exam."""
    import torch

    from course_utils import EmbeddingCache, compare, evaluate, load_model, load_task
    from course_utils.adaptation.evidence import GENERAL

    field, start = load_field(field_name), load_start(model_name)
    stages = METHODS[method]
    kind, stages = (stages, []) if isinstance(stages, str) else ("model", stages)
    name = ", ".join([field_name, model_name, method, str(seed)])
    if kind == "average":
        model, told = (
            averaged(field_name, model_name, folder),
            {"steps": [], "texts": [], "seconds": 0},
        )
        kind, stages = "model", [None]
    elif kind == "recipe fused" or (field.trained_in and stages):
        method_of = "recipe" if kind == "recipe fused" else method
        trained = f"{field.trained_in or field_name}, {model_name}, {method_of}, {seed}"
        kind, stages = ("fused" if kind == "recipe fused" else kind), [None]
        model, told = (
            load_model(str(folder / "models" / trained)),
            {"steps": [], "texts": [], "seconds": 0},
        )
    else:
        model, told = train(start, stages, field, seed, folder, name, RATES.get(model_name, {}))
        if method in ("recipe", "labels"):
            model.save(str(folder / "models" / name))
    vectors = EmbeddingCache(folder / "vectors.sqlite")
    cell = {
        "field": field_name, "model": model_name, "method": method, "seed": seed,
        **told, "seconds": round(told["seconds"]), "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {start.device.type}, "
                   f"{torch.get_num_threads()} threads",
        "versions": {name: version(name) for name in ("torch", "sentence-transformers")},
        "exams": {},
    }  # fmt: skip
    for exam, task in (field.exams | ({} if stages else field.free)).items():
        scores = search_scores(kind, model, task, vectors)
        cell["exams"][exam] = {m: [_short(x) for x in scores[m]] for m in METRICS}
    for name in GENERAL:
        task = load_task(name)
        before = evaluate(start, task, cache=vectors, show_progress_bar=False)
        after = evaluate(model, task, show_progress_bar=False) if stages else before
        change = compare(before, after).table.iloc[0]
        cell[name] = [round(float(change[end]), 5) for end in ("difference", "low", "high")]
    return cell


def _short(score):
    """A score in five digits; 0 and 1, which most are, in one."""
    return int(score) if score in (0, 1) else round(float(score), 5)


def filled():
    if not EVIDENCE.exists():
        return set()
    rows = map(json.loads, EVIDENCE.read_text("utf-8").splitlines())
    return {(row["field"], row["model"], row["method"], row["seed"]) for row in rows}


def fill(folder, wanted):
    """Measure the cells asked for that are empty, and keep each as soon as it is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for cell in wanted:
        if cell in filled():
            continue
        print("measuring", *cell, sep=", ", file=sys.stderr, flush=True)
        line = json.dumps(measure(*cell, folder), separators=(",", ":")) + "\n"
        with open(EVIDENCE, "a", encoding="utf-8") as file:
            file.write(line)


def print_table():
    """Every cell that is there, exam by exam, beside the untouched model."""
    from course_utils.adaptation.evidence import evidence_table, load_evidence

    if not EVIDENCE.exists():  # as at the start of a new ladder
        print("Nothing was measured yet; --fill does so.")
        return
    evidence = load_evidence(EVIDENCE).sort_values(["field", "model", "exam"], kind="stable")
    mrr, recall = (evidence_table(evidence, metric=metric) for metric in METRICS)
    about = evidence.groupby(["field", "exam", "model", "method"], sort=False)[
        ["steps", "texts"]
    ].first()
    last = None
    for key, row in mrr.iterrows():
        if key[:3] != last:
            print(f"\n{', '.join(key[:3])}: MRR@10, change [interval], share of the way to labels; "
                  "Recall@10; general; seconds, seeds; steps of texts")  # fmt: skip
            last = key[:3]
        told = ", ".join(f"{s} of {t:,}" for s, t in zip(*about.loc[key], strict=True))
        print(f"  {key[3]:24} {row['mean']:.3f}  {row['change']:+.3f} [{row['low']:+.3f}, "
              f"{row['high']:+.3f}] {row['way']:5.0%};  {recall.loc[key, 'mean']:.3f};  "
              f"{row['general']:+.3f};  {row['seconds']:5.0f} s, {row['seeds']:.0f};  {told}")  # fmt: skip


def draw(path):
    """Write the ladder as a picture; its description is printed."""
    from course_utils.adaptation.evidence import ladder, load_evidence
    from course_utils.plots import ladder_plot

    rungs = ladder(load_evidence(EVIDENCE))
    start = rungs.set_index("label").loc["model, definitions indexed", "mean"]
    figure = ladder_plot(
        rungs,
        title="Lay words to clinical terms: what each step gives",
        xlabel="MRR@10 on 800 questions, with 95 % interval",
        untouched=start,
    )
    figure.savefig(path, dpi=110, bbox_inches="tight")
    print(figure.description)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty cells")
    parser.add_argument("--field", choices=FIELDS, nargs="+", default=list(FIELDS))
    parser.add_argument("--model", choices=MODELS, nargs="+", default=[MINILM])
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, choices=SEEDS, nargs="+", default=list(SEEDS))
    parser.add_argument("--folder", type=Path, help="where questions, checkpoints and models go")
    parser.add_argument("--store-questions", action="store_true", help="keep them for lesson 2")
    parser.add_argument("--figure", type=Path, help="draw the ladder here, as PNG or SVG")
    options = parser.parse_args()
    if options.fill:
        wanted = [
            (where, model, method, seed)
            for seed in options.seed
            for where in options.field
            for model in options.model
            for method in options.method
            if seed == 0 or method not in ONCE
        ]
        fill(options.folder, wanted)
    if options.store_questions:
        store_questions(options.folder)
    if options.figure:
        draw(options.figure)
    else:
        print_table()
