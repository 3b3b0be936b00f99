"""How fast `encode` is beside SentenceTransformer.encode, in each precision, and a warm cache beside all.

    python benchmarks/encode.py [--texts 400] [--repeats 5] [--queries 1000] [--documents 1500] [--only fast]

The texts are docstrings of the installed libraries, whole ones and single paragraphs, from two to
thousands of tokens. Both ways of encoding take turns, so that whatever else the machine does meets
both alike. The program fails if a claim does not hold: vectors equal within 1e-5, at least as fast,
a warm cache at least 50 times as fast as encoding, and a search for one query on a held index at
most 1.3 times the encoding of that query.
"""

import argparse
import inspect
import os
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

os.environ.setdefault("HF_HUB_OFFLINE", "1")


def mixed_texts(count, seed=0):
    """Return ``count`` different docstrings and paragraphs of docstrings, in random order."""
    import pandas
    import scipy.stats
    import sklearn.cluster

    modules = (np, np.linalg, scipy.stats, sklearn.cluster, pandas, pandas.DataFrame)
    found = (inspect.getdoc(getattr(module, name)) for module in modules for name in dir(module))
    whole = list(dict.fromkeys(doc for doc in found if doc))
    parts = list(dict.fromkeys(part.strip() for doc in whole for part in doc.split("\n\n")))
    rng = np.random.default_rng(seed)
    few = rng.choice(len(whole), count // 4, replace=False)
    many = rng.choice(len(parts), count, replace=False)
    texts = list(dict.fromkeys([whole[i] for i in few] + [parts[i] for i in many]))[:count]
    return [texts[i] for i in rng.permutation(len(texts))]


def seconds(action):
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def spread(values):
    """Return the median with the smallest and the largest value, as text."""
    return f"{np.median(values):.2f} (from {min(values):.2f} to {max(values):.2f})"


def turns(ours, theirs, repeats):
    """Return the seconds of both, measured in alternation; the first round warms up."""
    rounds = [(seconds(ours), seconds(theirs)) for _ in range(repeats + 1)][1:]
    return np.array(rounds).T


# The fast settings


def documents_and_short(count, seed=0):
    """Return ``count`` whole documents of Python's library and ``count`` of its short questions."""
    from course_utils import load_task

    task = load_task("python-docs")
    rng = np.random.default_rng(seed)
    return {
        kind: [texts[i] for i in rng.choice(len(texts), min(count, len(texts)), replace=False)]
        for kind, texts in (
            ("documents", [text for text in task.corpus.values() if len(text.split()) > 40]),
            ("short", list(task.queries.values())),
        )
    }


@contextmanager
def machine(*, openvino=True, bfloat16=True):
    """Hide a package, or a flag of the processor, from whoever chooses a setting."""
    from course_utils.models import encoders, fast

    with (
        patch.object(
            encoders, "openvino_version", encoders.openvino_version if openvino else _none
        ),
        patch.object(fast, "has_bfloat16", fast.has_bfloat16 if bfloat16 else _no),
    ):
        yield


def _none():
    return None


def _no(device):
    return False


def embedders(model):
    """Return {name: (embedder, times promised or None)}: float32, fast ones, a student if there is one."""
    from course_utils import load_model
    from course_utils.models import has_bfloat16
    from course_utils.models.encoders import openvino_version

    flag, package = has_bfloat16("cpu"), openvino_version() is not None
    wanted = {
        "fast without OpenVINO": ({"openvino": False}, 2.1 if flag else None),
        "fast with OpenVINO": ({}, 2.7 if flag else None),
        "no bfloat16, without OpenVINO": ({"openvino": False, "bfloat16": False}, None),
        "no bfloat16, with OpenVINO": ({"bfloat16": False}, None),
    }
    found = {"float32": (model, None)}
    for name, (hidden, promised) in wanted.items():
        if not package and hidden.get("openvino", True):
            print(f"[!]  {name}: OpenVINO is not installed, so this row is not measured")
            continue
        with machine(**hidden):
            began = time.perf_counter()
            found[name] = load_model(device="cpu", precision="fast"), promised
        print(f"\n{name}, chosen in {time.perf_counter() - began:.1f} s:")
        print(found[name][0].choices.round(4).to_string())
    began = time.perf_counter()
    try:
        from course_utils.adaptation.static import distil_static

        found["static student"] = distil_static(model), 100
        print(f"\nstatic student, distilled in {time.perf_counter() - began:.1f} s")
    except ImportError as error:
        print(f"\n[!]  static student: {str(error).partition('. Run')[0]}")
    return found


def multiplications(model, lengths):
    """Return how many numbers the layers multiply and add for texts of some lengths, times two."""
    import torch

    layers = model[0].model
    weights = sum(
        part.weight.numel()
        for part in layers.encoder.modules()
        if isinstance(part, torch.nn.Linear)
    )
    lengths = np.minimum(lengths, model.max_seq_length).astype(float)
    attention = 2 * layers.config.num_hidden_layers * layers.config.hidden_size * lengths**2
    return 2 * (weights * lengths + attention).sum()


def limit_of_products(dtype, size=2048, repeats=5):
    """Return the most that this machine multiplies and adds in a second, by one large product."""
    import torch

    one = torch.randn(size, size).to(dtype)
    return 2 * size**3 / min(seconds(lambda: one @ one) for _ in range(repeats + 1))


def measure_fast(model, options):
    """Print a row for each embedder and return {claim: whether it holds}."""
    import torch

    from course_utils import encode, evaluate, load_task
    from course_utils.models import has_bfloat16

    # A cache of its own: settings are chosen by what is measured now, not by what was.
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        patch.dict(os.environ, {"COURSE_UTILS_CACHE": folder}),
    ):
        found = embedders(model)
    sets = documents_and_short(options.texts // 2)
    lengths = {
        kind: [len(ids) for ids in model.tokenizer(texts, verbose=False)["input_ids"]]
        for kind, texts in sets.items()
    }
    # A table is done with these before its clock has ticked: it gets the more of them.
    more = documents_and_short(options.texts * 10)
    share = {kind: len(sets[kind]) / len(more[kind]) for kind in sets}
    ways = {"peer": lambda texts: model.encode(texts, normalize_embeddings=True)}
    for name, (embedder, _) in found.items():
        ways[name] = lambda texts, m=embedder: encode(m, texts, show_progress_bar=False)
    times = {kind: {name: [] for name in ways} for kind in sets}
    first, vectors = {}, {}
    for kind, texts in sets.items():
        for name, way in ways.items():
            began = time.perf_counter()
            vectors[kind, name] = way(texts)
            first[kind, name] = time.perf_counter() - began
    limits = {torch.float32: 0.0, torch.bfloat16: 0.0}
    for _ in range(options.repeats):  # in turns, so that whatever else runs here meets all alike
        for kind, texts in sets.items():
            for name, way in ways.items():
                many = name == "static student"
                took = seconds(lambda way=way, some=more[kind] if many else texts: way(some))
                times[kind][name].append(took * share[kind] if many else took)
        for dtype in limits:
            limits[dtype] = max(limits[dtype], limit_of_products(dtype, repeats=2))
    print(
        f"\nlimit of products: {limits[torch.float32] / 1e9:.0f} GFLOP/s in float32, "
        f"{limits[torch.bfloat16] / 1e9:.0f} in bfloat16; processor with bfloat16: "
        f"{has_bfloat16('cpu')}"
    )

    tasks = [
        load_task(name).sample(queries=options.queries, corpus=options.documents)
        for name in ("python-docs", "medical")
    ]
    scores = {
        name: [float(evaluate(m, task).scores["mrr@10"].mean()) for task in tasks]
        for name, (m, _) in found.items()
    }
    claims = {}
    for name, (embedder, promised) in found.items():
        precision = getattr(embedder, "precision", "float32")
        print(f"\n{name} ({precision if name != 'static student' else 'static'})")
        kept, gains = [], []
        for kind in sets:
            mine, peer = np.array(times[kind][name]), np.array(times[kind]["peer"])
            gains.append(np.median(peer / mine))
            line = f"  {kind}: {spread(peer / mine)} times SentenceTransformer.encode; the first "
            line += f"call {first[kind, 'peer'] / first[kind, name]:.2f} times"
            if name != "static student":
                kept.append(float((vectors[kind, name] * vectors[kind, "float32"]).sum(1).mean()))
                limit = limits[torch.bfloat16 if "bfloat16" in precision else torch.float32]
                work = multiplications(model, np.array(lengths[kind]))
                share = work / np.median(mine) / limit
                line += f"; mean cosine {kept[-1]:.5f}; {share:.0%} of the limit"
            print(line)
        differences = [a - b for a, b in zip(scores[name], scores["float32"], strict=True)]
        for task, score, difference in zip(tasks, scores[name], differences, strict=True):
            print(f"  MRR@10 on {task.name}: {score:.4f}, {difference:+.4f} to float32")
        if promised:
            claims[f"{name}: at least {promised} times as fast"] = min(gains) >= promised
        if name.startswith("no bfloat16"):
            slower = [
                np.median(np.array(times[kind]["float32"]) / np.array(times[kind][name]))
                for kind in sets
            ]
            # The same model timed twice differs by some hundredths.
            same = precision == "float32"
            claims[f"{name}: never slower than float32"] = min(slower) >= (0.95 if same else 1)
        if kept:
            claims[f"{name}: mean cosine at least .995"] = min(kept) >= 0.995
            claims[f"{name}: MRR@10 within .005"] = max(map(abs, differences)) <= 0.005
    return claims


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--texts", type=int, default=400)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--queries", type=int, default=1000, help="of each task")
    options.add_argument("--documents", type=int, default=1500, help="of each task")
    options.add_argument("--only", choices=["float32", "fast"], help="one half of it")
    options = options.parse_args()
    warnings.simplefilter("ignore", UserWarning)  # many docstrings are over the limit
    claims = {}
    from course_utils import load_model

    model = load_model(device="cpu")
    if options.only != "fast":
        claims |= measure_float32(model, options)
    if options.only != "float32":
        claims |= measure_fast(model, options)
    print()
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


def measure_float32(model, options):
    """Print how the course's encode, its cache and its search fare, and return {claim: it holds}."""
    import torch

    from course_utils import EmbeddingCache, build_index, encode, search
    from course_utils.models.fingerprints import fingerprint

    texts = mixed_texts(options.texts)
    lengths = [len(ids) for ids in model.tokenizer(texts, verbose=False)["input_ids"]]
    print(
        f"{len(texts)} texts of {min(lengths)} to {max(lengths)} tokens, median "
        f"{np.median(lengths):.0f}, limit {model.max_seq_length}; {torch.get_num_threads()} threads"
    )

    def ours():
        return encode(model, texts, show_progress_bar=False)

    def theirs():
        return model.encode(texts, normalize_embeddings=True, show_progress_bar=False)

    difference = np.abs(ours() - theirs()).max()
    print(f"largest difference between the two matrices: {difference:.1e}")
    mine, library = turns(ours, theirs, options.repeats)
    speedup = library / mine
    print(f"encode: {spread(mine)} s; SentenceTransformer.encode: {spread(library)} s")
    print(f"encode is {spread(speedup)} times as fast on mixed lengths")

    query = ["how do I merge two tables on a key?"]
    one, other = turns(
        lambda: encode(model, query),
        lambda: model.encode(query, normalize_embeddings=True),
        50,
    )
    print(
        f"one query: {spread(one * 1e3)} ms; SentenceTransformer.encode: {spread(other * 1e3)} ms"
    )

    index = build_index(model, texts, on_long="warn", show_progress_bar=False)
    found, alone = turns(
        lambda: search(model, query[0], index),
        lambda: encode(model, query),
        max(50, options.repeats),
    )
    print(
        f"a search among {len(texts)} texts: {spread(found * 1e3)} ms; its query alone: "
        f"{spread(alone * 1e3)} ms"
    )

    prints = [seconds(lambda: fingerprint(model)) * 1e3 for _ in range(20)]
    print(f"fingerprint, paid by each cached call: {spread(prints)} ms")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddingCache(Path(folder) / "c.sqlite") as cache,
    ):
        cold = encode(model, texts, cache=cache, show_progress_bar=False)
        warm = [seconds(lambda: encode(model, texts, cache=cache)) for _ in range(10)]
        same = np.array_equal(cold, encode(model, texts, cache=cache))
    gain = np.median(mine) / np.array(warm)
    print(
        f"warm cache: {spread(np.array(warm) * 1e3)} ms, {spread(gain)} times as fast as encoding"
    )

    return {
        "vectors equal within 1e-5": difference < 1e-5 and same,
        "at least as fast": np.median(speedup) >= 1,
        "a warm cache at least 50 times as fast": np.median(gain) >= 50,
        "a search at most 1.3 times its query": np.median(found) <= 1.3 * np.median(alone),
    }


if __name__ == "__main__":
    main()
