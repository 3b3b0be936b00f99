"""What adaptation did, method by method and domain by domain, with intervals: the losing rows too.

    python benchmarks/adaptation.py                            print the table of what was measured
    python benchmarks/adaptation.py --fill                     measure every empty cell, one by one
    python benchmarks/adaptation.py --fill --domain medical --model all-MiniLM-L6-v2 --method pairs

A cell is one training run, or none for the untouched model. It is scored on queries that no run has
seen, neither in training nor for choosing weights, and compared with the untouched model query by
query. Results are kept in adaptation_results.jsonl beside this file, one line a cell, so a
stopped run goes on where it was.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).with_name("adaptation_results.jsonl")
MODELS = ("all-MiniLM-L6-v2", "all-mpnet-base-v2")
SEEDS = (0, 1, 2)
GENERAL = ("lee", "wordsim353", "simlex999")

# What each method changes of the default configuration. Steps are those of field practice on two
# cores: no run takes much longer than a quarter of an hour there with MiniLM.
METHODS = {
    "untouched": None,
    "TSDAE, exact decoder": {"decoder": "exact", "max_steps": 300, "interpolate": 1.0},
    "TSDAE, light decoder": {"max_steps": 600, "interpolate": 1.0},
    "TSDAE, light, interpolated": {"max_steps": 600, "interpolate": True},
    "contrast": {"denoising_weight": 0.0, "contrast_weight": 1.0, "max_steps": 300},
    "pairs": {"denoising_weight": 0.0, "pairs_weight": 1.0, "batch_size": 64, "max_steps": 360},
}
# Denoising first, then pairs, at two amounts of denoising.
THEN_PAIRS = {"TSDAE (300 steps), then pairs": 300, "TSDAE (1,200 steps), then pairs": 1200}


@dataclass(frozen=True)
class Domain:
    """Texts to train on, and two tasks of different queries: one to choose by, one to report."""

    sentences: list
    pairs: list
    dev: object
    test: object


def _halves(task, dev, test, corpus):
    """Two tasks of ``dev`` and ``test`` different queries of ``task``, in a corpus of that size."""
    from course_utils.data import RetrievalTask

    queries = list(task.queries)
    order = np.random.default_rng(0).permutation(len(queries))
    parts = [[queries[i] for i in order[:dev]], [queries[i] for i in order[dev : dev + test]]]
    made = []
    for name, part in zip(("dev", "test"), parts, strict=True):
        kept = RetrievalTask(
            f"{task.name} ({name})",
            task.corpus,
            {query: task.queries[query] for query in part},
            {query: task.qrels[query] for query in part},
        )
        made.append(kept.sample(corpus=min(corpus, len(task.corpus)), seed=0))
    return made


def medical(held_out=False):
    """Lay wording to clinical term, no word in common; pairs are terms with their definitions."""
    from course_utils.data import load_medical_definitions, load_task

    dev, test = _halves(load_task("medical/no-shared-word"), 200, 800, 4000)
    definitions = load_medical_definitions()
    asked = {document for judged in test.qrels.values() for document in judged}
    kept = [pair for name, pair in definitions.items() if not (held_out and name in asked)]
    return Domain([text for _, text in kept], kept, dev, test)


def python_docs():
    """Summary line to body; pairs are the summaries and bodies of functions nobody asks for."""
    from course_utils.data import load_task, load_texts

    task = load_task("python-docs")
    dev, test = _halves(task, 200, 800, 2000)
    asked = {d for part in (dev, test) for judged in part.qrels.values() for d in judged}
    pairs = [
        (task.queries[query], task.corpus[document])
        for query, judged in task.qrels.items()
        for document in judged
        if document not in asked
    ]
    questions = {*dev.queries.values(), *test.queries.values()}
    return Domain([t for t in load_texts("python-docs") if t not in questions], pairs, dev, test)


def legal():
    """Name of a licence to the beginning of its text; pairs are names and texts of the others."""
    from course_utils.data import RetrievalTask, load_licences, load_texts

    licences = {x.key: x for x in load_licences() if len(x.text.split()) >= 20}
    begins = {key: " ".join(x.text.split()[:48]) for key, x in licences.items()}
    queries = {
        key: x.name for key, x in licences.items() if x.name.lower() not in begins[key].lower()
    }
    task = RetrievalTask("legal names", begins, queries, {key: {key: 1} for key in queries})
    dev, test = _halves(task, 150, 600, 2000)
    asked = {*dev.queries, *test.queries}
    pairs = [(x.name, begins[key]) for key, x in licences.items() if key not in asked]
    return Domain(load_texts("legal"), pairs, dev, test)


def company_wiki():
    """A new colleague's question to the page that answers it; pairs are titles and paragraphs."""
    from course_utils.data import load_task, load_texts
    from course_utils.data.company_wiki import load_wiki_pages

    dev, test = _halves(load_task("company-wiki"), 40, 400, 10_000)
    pairs = [(page.title, part) for page in load_wiki_pages() for part in page.text.split("\n\n")]
    return Domain(load_texts("company-wiki"), pairs, dev, test)


DOMAINS = {
    "medical": medical,
    "medical, answers held out": lambda: medical(held_out=True),
    "python-docs": python_docs,
    "legal": legal,
    "company-wiki": company_wiki,
}


def train(model, method, domain, seed):
    """The adapted model and the seconds it took; the model itself for the untouched row."""
    from course_utils.tsdae import TSDAEConfig, train_tsdae

    def run(start, options):
        config = TSDAEConfig(seed=seed, **options)
        return train_tsdae(
            start, domain.sentences, config, pairs=domain.pairs, dev_task=domain.dev
        ).model

    started = time.perf_counter()
    if method in THEN_PAIRS:
        first = run(model, {"max_steps": THEN_PAIRS[method], "interpolate": 1.0})
        adapted = run(first, METHODS["pairs"])
    else:
        adapted = run(model, METHODS[method]) if METHODS[method] else model
    return adapted, time.perf_counter() - started


def measure(domain_name, model_name, method, seed):
    """Fill one cell: a dictionary of JSON values, with the per-query scores that tests need."""
    import torch

    from course_utils import compare, evaluate, load_model, load_task

    domain, model = DOMAINS[domain_name](), load_model(model_name)
    adapted, seconds = train(model, method, domain, seed)
    before, after = evaluate(model, domain.test), evaluate(adapted, domain.test)
    row = {
        "domain": domain_name, "model": model_name, "method": method, "seed": seed,
        "seconds": round(seconds), "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {model.device.type}",
        "versions": {name: version(name) for name in ("torch", "sentence-transformers")},
        "threads": torch.get_num_threads(), "queries": len(domain.test.queries),
        "documents": len(domain.test.corpus), "metrics": {}, "general": {},
    }  # fmt: skip
    summary, change = after.summary(), compare(before, after).table
    for metric in ("mrr@10", "recall@10"):
        row["metrics"][metric] = {
            "mean": float(summary.loc[metric, "mean"]),
            "interval": [float(summary.loc[metric, end]) for end in ("low", "high")],
            "change": float(change.loc[metric, "difference"]),
            "change_interval": [float(change.loc[metric, end]) for end in ("low", "high")],
            "p": float(change.loc[metric, "p_value"]),
        }
    for name in GENERAL:
        task = load_task(name)
        table = compare(evaluate(model, task), evaluate(adapted, task)).table.iloc[0]
        row["general"][name] = [float(table[end]) for end in ("difference", "low", "high")]
    return row


def stored():
    """The measured cells by (domain, model, method, seed); a later line replaces an earlier one."""
    if not RESULTS.exists():
        return {}
    rows = map(json.loads, RESULTS.read_text("utf-8").splitlines())
    return {(r["domain"], r["model"], r["method"], r["seed"]): r for r in rows}


def cells():
    for domain in DOMAINS:
        for model in MODELS:
            for method in (*METHODS, *THEN_PAIRS):
                for seed in SEEDS if METHODS.get(method, True) else SEEDS[:1]:
                    yield domain, model, method, seed


def print_table():
    """Every cell there is to fill, the empty ones as empty."""
    found = stored()
    print("| domain | model | method | seed | MRR@10 | change | Recall@10 | change | general | s |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for cell in cells():
        shown = [*map(str, cell)]
        if row := found.get(cell):
            for metric in ("mrr@10", "recall@10"):
                m = row["metrics"][metric]
                low, high = m["change_interval"]
                shown += [f"{m['mean']:.3f}", f"{m['change']:+.3f} [{low:+.3f}, {high:+.3f}]"]
            shown += ["; ".join(f"{name} {row['general'][name][0]:+.3f}" for name in GENERAL)]
            shown += [str(row["seconds"])]
        else:
            shown += [""] * 6
        print("| " + " | ".join(shown) + " |")


def fill(domain, model, method, seed):
    """Measure the empty cells that match, and keep each as soon as it is there."""
    from course_utils.models import find_model

    wanted = (domain, model, method, seed)
    for cell in cells():
        if cell in stored() or any(w not in (None, c) for w, c in zip(wanted, cell, strict=True)):
            continue
        if find_model(cell[1]) is None:
            print("left empty, the model is not here:", *cell, file=sys.stderr)
            continue
        print("measuring", *cell, file=sys.stderr)
        line = json.dumps(measure(*cell)) + "\n"
        with open(RESULTS, "a", encoding="utf-8") as file:
            file.write(line)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty cells")
    parser.add_argument("--domain", choices=DOMAINS)
    parser.add_argument("--model", choices=MODELS)
    parser.add_argument("--method", choices=[*METHODS, *THEN_PAIRS])
    parser.add_argument("--seed", type=int, choices=SEEDS)
    asked = parser.parse_args()
    if asked.fill:
        fill(asked.domain, asked.model, asked.method, asked.seed)
    print_table()
