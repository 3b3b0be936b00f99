"""What adaptation did, method by method and domain by domain, with intervals: the losing rows too.

    python benchmarks/adaptation.py                            print the table of what was measured
    python benchmarks/adaptation.py --fill                     measure every empty cell, one by one
    python benchmarks/adaptation.py --fill --domain medical --model all-MiniLM-L6-v2 --method recipe

A cell is one training, or none for the untouched model. It is scored on questions that no run has
seen, neither in training nor for choosing weights, and compared with the untouched model question
by question. Results are kept in datasets/adaptation/results.jsonl, one line a cell, so a stopped
run goes on where it was. Several may run side by side on different cells.
"""

import argparse
import hashlib
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).parents[1] / "datasets" / "adaptation" / "results.jsonl"
MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
SEEDS = (0, 1, 2)
METRICS = ("mrr@10", "recall@10")


def _stage(verb="TSDAE", *, pairs=None, **changes):
    """A stage: what it trains on, what it changes of that configuration, and how many pairs it has.

    "TSDAE" is TSDAEConfig() without interpolation, "pairs" is PairsConfig(), which is the recipe.
    """
    return verb, changes if verb == "pairs" else {"interpolate": None} | changes, pairs


# In-batch negatives as one would set them up without having measured.
_PLAIN = {
    "interpolate": None, "temperature": 0.05, "distil_weight": 0.0, "batch_size": 64,
    "learning_rate": 3e-5,
}  # fmt: skip
# A method is the stages it trains in. Steps are such that it takes minutes on two cores.
METHODS = {
    "untouched": [],
    "TSDAE, exact decoder": [_stage(decoder="exact", max_steps=40)],
    "TSDAE, light decoder": [_stage(max_steps=200)],
    "TSDAE, light, interpolated": [_stage(max_steps=200, interpolate="auto")],
    "contrast": [_stage(objective="contrast", max_steps=80)],
    "pairs, plain": [_stage("pairs", **_PLAIN, max_steps=120)],
    "recipe": [_stage("pairs", max_steps=80)],
    "recipe, 250 pairs": [_stage("pairs", max_steps=80, pairs=250)],
    "recipe, 1,000 pairs": [_stage("pairs", max_steps=80, pairs=1000)],
    "recipe, longer": [_stage("pairs", max_steps=240)],
    # Whether denoising first adds to the pairs, at two amounts of it.
    "recipe, 40 steps": [_stage("pairs", max_steps=40)],
    "TSDAE (50 steps), then recipe, 40 steps": [
        _stage(max_steps=50),
        _stage("pairs", max_steps=40),
    ],
    "TSDAE (200 steps), then recipe, 40 steps": [
        _stage(max_steps=200),
        _stage("pairs", max_steps=40),
    ],
}
ONCE = ("untouched", "recipe, 250 pairs", "recipe, 1,000 pairs", "recipe, longer")


@dataclass(frozen=True)
class Domain:
    """Texts to train on, and two tasks of different questions: one to choose by, one to report."""

    sentences: list
    pairs: list
    dev: object
    test: object


def _domain(task, pairs, sentences=(), *, dev=200, test=(800,), corpus=4000, hide=()):
    """A domain whose training texts hold no question of its two tasks.

    ``pairs`` are given by the document they come from; those of the documents that answer the
    questions of the parts ``hide`` ("dev", "test") are left out. The dev task, scored again and again,
    searches fewer documents.
    """
    from course_utils.adaptation import drop_questions

    # The rest serves, with the dev part, to choose the options of methods: in medical, 586 in all.
    parts = dict(zip(("dev", "test"), task.split(dev, *test), strict=False))
    parts["dev"] = parts["dev"].sample(corpus=min(1000, len(task.corpus)))
    parts["test"] = parts["test"].sample(corpus=corpus)
    hidden = {d for part in hide for judged in parts[part].qrels.values() for d in judged}
    kept = [pair for document, pair in pairs if document not in hidden]
    clean = (drop_questions(texts, *parts.values()) for texts in (sentences, kept))
    return Domain(*clean, **parts)


def medical(hide=()):
    """Lay wording to clinical term, no word in common.

    Pairs are terms with the first sentences of their definitions; all their sentences are the texts.
    """
    from course_utils.adaptation import drop_questions
    from course_utils.data import load_medical_definitions, load_task
    from course_utils.data.sentences import split_sentences

    split = {
        term: (name, split_sentences(text))
        for term, (name, text) in load_medical_definitions().items()
    }
    pairs = [(term, (name, sentences[0])) for term, (name, sentences) in split.items()]
    domain = _domain(load_task("medical/no-shared-word"), pairs, hide=hide)
    kept = {name for name, _ in domain.pairs}
    texts = [text for name, sentences in split.values() if name in kept for text in sentences]
    return replace(domain, sentences=drop_questions(texts, domain.dev, domain.test))


def medical_confirmed():
    """The same training, judged by near synonyms, on which no two choices of options were compared."""
    from course_utils.adaptation import drop_questions
    from course_utils.data import load_task

    domain, test = medical(), load_task("medical/near-synonym").sample(corpus=4000)
    clean = (drop_questions(texts, test) for texts in (domain.sentences, domain.pairs))
    return Domain(*clean, dev=domain.dev, test=test)


def python_docs():
    """Summary line to body; pairs are the summaries and bodies of functions nobody asks for."""
    from course_utils.data import load_task, load_texts

    task = load_task("python-docs")
    pairs = [
        (document, (task.queries[query], task.corpus[document]))
        for query, judged in task.qrels.items()
        for document in judged
    ]
    texts = load_texts("python-docs")
    return _domain(task, pairs, texts, corpus=2000, hide=("dev", "test"))


def legal():
    """Name of a licence to the beginning of its text; pairs are names and texts of the others."""
    from course_utils.data import RetrievalTask, load_licences, load_texts

    licences = {x.key: x for x in load_licences() if len(x.text.split()) >= 20}
    begins = {key: " ".join(x.text.split()[:48]) for key, x in licences.items()}
    names = {
        key: x.name for key, x in licences.items() if x.name.lower() not in begins[key].lower()
    }
    task = RetrievalTask("legal names", begins, names, {key: {key: 1} for key in names})
    pairs = [(key, (licences[key].name, text)) for key, text in begins.items()]
    return _domain(task, pairs, load_texts("legal"), dev=150, test=(600,), hide=("dev", "test"))


def company_wiki():
    """A new colleague's question to the page that answers it; pairs are titles and paragraphs."""
    from course_utils.data import load_task, load_texts, load_wiki_pages

    pairs = [
        (page.id, (page.title, part))
        for page in load_wiki_pages()
        for part in page.text.split("\n\n")
    ]
    return _domain(load_task("company-wiki"), pairs, load_texts("company-wiki"), dev=60, test=())


DOMAINS = {
    "medical": medical,
    "medical, answers held out": lambda: medical(hide=("test",)),
    "medical, near synonyms": medical_confirmed,
    "python-docs": python_docs,
    "legal": legal,
    "company-wiki": company_wiki,
}


def train(model, method, domain, seed, folder):
    """The adapted model, the seconds of its training steps, and what they were computed in.

    The model itself if untouched.

    Stages that methods share are trained once: the folder keeps the last checkpoint of each.
    """
    from course_utils.adaptation import PairsConfig, TSDAEConfig, train_pairs, train_tsdae
    from course_utils.data import load_texts
    from course_utils.models.fingerprints import fingerprint

    seconds, precision = 0.0, "float32"
    for verb, changes, number in METHODS[method]:
        make = PairsConfig if verb == "pairs" else TSDAEConfig
        config = make(**changes, seed=seed, evaluate_every=10**6, checkpoint_every=10**6)
        order = np.random.default_rng(0).permutation(len(domain.pairs))
        pairs = [domain.pairs[row] for row in order[:number]]
        told = {**asdict(config), "interpolate": None, "start": fingerprint(model)}
        name = hashlib.sha256(repr([told, len(pairs), len(domain.pairs)]).encode()).hexdigest()
        given = {
            "dev_task": domain.dev, "folder": folder / name[:16], "show_progress_bar": False,
        }  # fmt: skip
        if verb == "pairs":
            result = train_pairs(model, pairs, config, general=load_texts("everyday"), **given)
        else:
            result = train_tsdae(model, domain.sentences, config, **given)
        model, seconds = result.model, seconds + result.history["seconds"].sum()
        precision = result.precision
    return model, seconds, precision


def measure(domain_name, model_name, method, seed, folder):
    """Fill one cell: a dictionary of JSON values, with the score of every test question."""
    import torch

    from course_utils import EmbeddingCache, compare, evaluate, load_model, load_task
    from course_utils.adaptation.evidence import GENERAL

    domain, model = DOMAINS[domain_name](), load_model(model_name)
    adapted, seconds, precision = train(model, method, domain, seed, folder)
    scores = evaluate(adapted, domain.test).scores
    cell = {
        "domain": domain_name, "model": model_name, "method": method, "seed": seed,
        "seconds": round(seconds), "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {model.device.type}, "
                   f"{torch.get_num_threads()} threads",
        "precision": precision,
        "versions": {name: version(name) for name in ("torch", "sentence-transformers")},
        "documents": len(domain.test.corpus), "sentences": len(domain.sentences),
        "pairs": len(domain.pairs),
    }  # fmt: skip
    cell |= {metric: [round(x, 5) for x in scores[metric]] for metric in METRICS}
    cache = EmbeddingCache(folder / "vectors.sqlite")
    for name in GENERAL:
        task = load_task(name)
        before, after = evaluate(model, task, cache=cache), evaluate(adapted, task)
        change = compare(before, after).table.iloc[0]
        cell[name] = [round(float(change[end]), 5) for end in ("difference", "low", "high")]
    return cell


def cells():
    """Every cell there is to fill; where nothing is trained or a run is long, one seed is enough."""
    for domain in DOMAINS:
        for model in MODELS:
            for method in METHODS:
                for seed in SEEDS[:1] if method in ONCE else SEEDS:
                    yield domain, model, method, seed


def filled():
    if not RESULTS.exists():
        return set()
    rows = map(json.loads, RESULTS.read_text("utf-8").splitlines())
    return {(row["domain"], row["model"], row["method"], row["seed"]) for row in rows}


def fill(folder, **wanted):
    """Measure the empty cells that match, and keep each as soon as it is there."""
    from course_utils.models.loading import find_model

    for cell in cells():
        asked = all(want in (None, part) for want, part in zip(wanted.values(), cell, strict=True))
        if not asked or cell in filled():
            continue
        if find_model(cell[1]) is None:
            print("left empty, the model is not here:", *cell, file=sys.stderr)
            continue
        print("measuring", *cell, file=sys.stderr)
        line = json.dumps(measure(*cell, folder)) + "\n"
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(line)


def print_table():
    """Every row there is to fill, the empty ones as empty."""
    from course_utils.adaptation.evidence import GENERAL, evidence_table, load_evidence

    measured = load_evidence(RESULTS) if RESULTS.exists() else ()
    rows = dict.fromkeys(cell[:3] for cell in cells())
    print("| domain | model | method | seeds | MRR@10 | change | Recall@10 | change "
          "| lee | wordsim353 | simlex999 | seconds |")  # fmt: skip
    print("|" + "---|" * 12)
    tables = (
        [evidence_table(measured, metric=metric) for metric in METRICS] if len(measured) else []
    )
    for row in rows:
        shown = [*row, *[""] * 9]
        if tables and row in tables[0].index:
            shown = [*row, str(tables[0].loc[row, "seeds"])]
            for table in tables:
                one = table.loc[row]
                interval = f"{one['change']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]"
                shown += [f"{one['mean']:.3f}", interval]
            own = measured[(measured[["domain", "model", "method"]] == list(row)).all(axis=1)]
            for name in GENERAL:
                change, low, high = (sum(x) / len(own) for x in zip(*own[name], strict=True))
                shown.append(f"{change:+.3f} [{low:+.3f}, {high:+.3f}]")
            shown.append(f"{tables[0].loc[row, 'seconds']:.0f}")
        print("| " + " | ".join(shown) + " |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty cells")
    parser.add_argument("--domain", choices=DOMAINS)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--method", choices=METHODS)
    parser.add_argument("--seed", type=int, choices=SEEDS)
    parser.add_argument("--folder", type=Path, help="where checkpoints go (a temporary folder)")
    options = parser.parse_args()
    wanted = {name: getattr(options, name) for name in ("domain", "model", "method", "seed")}
    if options.fill and options.folder:
        fill(options.folder, **wanted)
    elif options.fill:
        with tempfile.TemporaryDirectory() as scratch:
            fill(Path(scratch), **wanted)
    print_table()
