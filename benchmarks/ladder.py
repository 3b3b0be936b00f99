"""What pays, and on top of what: words, the index, denoising, pairs, written questions, labels.

    python benchmarks/ladder.py                                    print the table of what was measured
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
    ``pairs`` gives the training pairs of a kind (``KINDS``) when asked, without any exam's questions.
    """

    exams: dict
    dev: object
    sentences: list
    pairs: dict[str, Callable[[Path], list]]


# Fields.


def medical(hide=False):
    """Lay wording to clinical term and definition, no word in common with the term.

    With ``hide``, nothing of the documents that answer the test is trained on: they came later.
    """
    from course_utils.data import load_task
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
    asked = (shown, near, unfiltered, fresh)
    hidden = _answers(test) if hide else set()
    documents = {
        key: text for key, text in shown.corpus.items() if ". " in text and key not in hidden
    }
    names = load_task("medical").corpus
    whole = {key: (names[key], text[len(names[key]) + 2 :]) for key, text in documents.items()}
    first = {key: (name, split_sentences(text)[0]) for key, (name, text) in whole.items()}
    clean = partial(_clean, tasks=asked)
    sentences = clean(s for _, text in whole.values() for s in split_sentences(text))
    examples = _lay_examples(dev)
    return Field(
        exams,
        replace(dev.sample(corpus=1000), name="dev"),
        sentences,
        {
            "first sentences": lambda _: clean(first.values()),
            "definitions": lambda _: clean(whole.values()),
            "pairs": lambda _: clean(whole.values()),
            "crops": lambda _: clean(_crops(documents)),
            "questions": lambda folder: clean(
                _questions(
                    folder,
                    "medical",
                    documents,
                    examples,
                    "Medical terms, and what a patient says.",
                )
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
    return _titled(task, load_texts("python-docs"), (200, 800), 2000, "python-docs", "manuals")


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
                _questions(folder, "company-wiki", texts, *_shown("notices"))
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
    return Field(
        {
            "more text": kept,
            "first 48 words": _with_corpus(
                kept, {key: _first(text, 48) for key, text in kept.corpus.items()}
            ),
        },
        replace(dev.sample(corpus=1000), name="dev"),
        clean(sentences),
        {
            "pairs": lambda _: clean(pairs),
            "crops": lambda _: clean(_crops(left)),
            "questions": lambda folder: clean(_questions(folder, name, left, *_shown(examples))),
        },
    )


FIELDS = {
    "medical": medical,
    "medical, answers held out": partial(medical, hide=True),
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
    """A random span, 30 to 70 % of a document's words, and the document."""
    rng = random.Random(0)
    pairs = []
    for text in documents.values():
        words = text.split()
        size = max(3, round(len(words) * rng.uniform(0.3, 0.7)))
        start = rng.randint(0, max(0, len(words) - size))
        pairs.append((" ".join(words[start : start + size]), text))
    return pairs


def _shown(name):
    from course_utils.adaptation.questions import INSTRUCTION
    from course_utils.data import load_examples

    return load_examples(name), INSTRUCTION


def _lay_examples(dev, number=12):
    """Twelve of the dev part's questions, as examples for the writer."""
    from course_utils.data import load_medical_definitions

    terms = load_medical_definitions()
    rows = [
        (dev.corpus[document], dev.queries[query])
        for query, judged in dev.qrels.items()
        for document in judged
        if document in terms
    ]
    random.Random(5).shuffle(rows)
    return rows[:number]


def _questions(folder, name, documents, examples, instruction, number=2500):
    """Written and kept: of at most ``number`` documents at random, four questions each."""
    from course_utils import load_model
    from course_utils.adaptation import generate_questions, keep_grounded

    keys = sorted(documents)
    random.Random(0).shuffle(keys)
    some = {key: documents[key] for key in keys[:number]}
    written = generate_questions(
        some, examples, instruction=instruction, path=folder / f"questions, {name}.jsonl"
    )
    return keep_grounded(
        load_model(), written, documents, examples=examples, show_progress_bar=False
    )


# Ways to search.


@dataclass(frozen=True)
class Stage:
    """One training: on the sentences ("tsdae"), by masking ("mlm"), or on kinds of pairs.

    It runs ``epochs`` times through what it is given, and at most ``steps`` steps. Several kinds come in
    equal parts: each is cut at random to ``most`` times the smallest.
    """

    on: tuple[str, ...] | str
    epochs: float = 1
    steps: int = 300
    most: int = 1
    options: Mapping = field(default_factory=dict)


def _tsdae(steps=10**6, epochs=1, **options):
    return Stage("tsdae", epochs, steps, options={"interpolate": None, **options})


def _pairs(*kinds, steps=100, **options):
    return Stage(kinds, 10**6, steps, options=options)


RECIPE = Stage(("pairs", "crops", "questions"), epochs=2, steps=200)
METHODS: dict[str, list[Stage] | str] = {
    "words": "words",
    "untouched": [],
    "words and model": "fused",
    "recipe": [RECIPE],
    "labels": [replace(RECIPE, on=("labels",), epochs=10**6)],
    # What of it pays, at equal steps.
    "first sentences": [_pairs("first sentences")],
    "definitions": [_pairs("pairs")],
    "crops": [_pairs("crops")],
    "questions": [_pairs("questions")],
    "pairs and questions": [_pairs("pairs", "questions")],
    "crops and questions": [_pairs("crops", "questions")],
    "all three": [_pairs("pairs", "crops", "questions")],
    # Denoising: one time through the sentences.
    "TSDAE": [_tsdae()],
    "TSDAE, exact decoder": [_tsdae(decoder="exact")],
    "TSDAE, share by dev": [_tsdae(interpolate="auto")],
    "TSDAE, then recipe": [_tsdae(), RECIPE],
    "contrast": [_tsdae(objective="contrast", steps=300)],
    "masking": [Stage("mlm", 1, 10**6)],
}
ONCE = ("words", "untouched", "words and model")


def stage_pairs(field, stage, folder, seed):
    """The pairs of a stage's kinds, in equal parts, in a random order."""
    rng = random.Random(seed)
    kinds = [field.pairs[kind](folder) for kind in stage.on]
    most = stage.most * min(map(len, kinds))
    pairs = [pair for kind in kinds for pair in rng.sample(kind, min(most, len(kind)))]
    rng.shuffle(pairs)
    return pairs


def train(model, stages, field, seed, folder, name):
    """The model after its stages, and what they took: seconds, steps, texts or pairs, precision."""
    from course_utils.adaptation import PairsConfig, TSDAEConfig, train_pairs, train_tsdae
    from course_utils.data import load_texts

    told = {"seconds": 0, "steps": [], "texts": [], "precision": "float32", "share": []}
    for number, stage in enumerate(stages):
        common = {"seed": seed, "evaluate_every": 10**6, "checkpoint_every": 50, **stage.options}
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
            steps = min(stage.steps, ceil(stage.epochs * len(texts) / PairsConfig().batch_size))
            config = PairsConfig(max_steps=steps, **common)
            result = train_pairs(model, texts, config, general=load_texts("everyday"), **given)
        model = result.model
        told["seconds"] += float(result.history["seconds"].sum())
        told["steps"].append(steps)
        told["texts"].append(len(texts))
        told["share"].append(result.alpha)
        told["precision"] = result.precision
    return model, told


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

    from course_utils import EmbeddingCache, compare, evaluate, load_task
    from course_utils.adaptation.evidence import GENERAL

    field, start = load_field(field_name), load_start(model_name)
    stages = METHODS[method]
    kind, stages = (stages, []) if isinstance(stages, str) else ("model", stages)
    name = ", ".join([field_name, model_name, method, str(seed)])
    model, told = train(start, stages, field, seed, folder, name)
    if stages and method in ("recipe", "labels"):
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
    for exam, task in field.exams.items():
        scores = search_scores(kind, model, task, None if stages else vectors)
        cell["exams"][exam] = {m: [round(float(x), 5) for x in scores[m]] for m in METRICS}
    for name in GENERAL:
        task = load_task(name)
        before = evaluate(start, task, cache=vectors, show_progress_bar=False)
        after = evaluate(model, task, show_progress_bar=False) if stages else before
        change = compare(before, after).table.iloc[0]
        cell[name] = [round(float(change[end]), 5) for end in ("difference", "low", "high")]
    return cell


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
        line = json.dumps(measure(*cell, folder)) + "\n"
        with open(EVIDENCE, "a", encoding="utf-8") as file:
            file.write(line)


def print_table():
    """Every cell that is there, exam by exam, beside the untouched model."""
    import numpy as np

    from course_utils.metrics import paired_test

    if not EVIDENCE.exists():
        print("Nothing was measured yet; --fill does so.")
        return
    rows = [json.loads(line) for line in EVIDENCE.read_text("utf-8").splitlines()]
    groups = {}
    for row in rows:
        for exam, scores in row["exams"].items():
            key = (row["field"], exam, row["model"], row["method"])
            groups.setdefault(key, []).append((scores, row))
    for key, cells in groups.items():
        own = np.array([scores["mrr@10"] for scores, _ in cells]).mean(0)
        start = groups.get((*key[:3], "untouched"))
        change = ""
        if start:
            test = paired_test(np.array(start[0][0]["mrr@10"]), own)
            change = f"{test.difference:+.3f} [{test.low:+.3f}, {test.high:+.3f}]"
        recall = np.mean([scores["recall@10"] for scores, _ in cells])
        general = np.mean(
            [[row[n][0] for n in ("lee", "wordsim353", "simlex999")] for _, row in cells]
        )
        about = cells[0][1]
        print(*key, len(cells), f"{own.mean():.3f}", change, f"{recall:.3f}", f"{general:+.3f}",
              f"{np.mean([row['seconds'] for _, row in cells]):.0f} s", about["steps"], about["texts"],
              about["share"], sep=" | ")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty cells")
    parser.add_argument("--field", choices=FIELDS, nargs="+", default=list(FIELDS))
    parser.add_argument("--model", choices=MODELS, nargs="+", default=[MINILM])
    parser.add_argument("--method", choices=METHODS, nargs="+", default=list(METHODS))
    parser.add_argument("--seed", type=int, choices=SEEDS, nargs="+", default=list(SEEDS))
    parser.add_argument("--folder", type=Path, help="where questions, checkpoints and models go")
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
    print_table()
