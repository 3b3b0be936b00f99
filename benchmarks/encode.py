"""How fast `encode` is beside SentenceTransformer.encode, and a warm cache beside both.

    python benchmarks/encode.py [--texts 400] [--repeats 5]

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
from pathlib import Path

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


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--texts", type=int, default=400)
    options.add_argument("--repeats", type=int, default=5)
    options = options.parse_args()

    import torch

    from course_utils import EmbeddingCache, build_index, encode, load_model, search
    from course_utils.models.fingerprints import fingerprint

    warnings.simplefilter("ignore", UserWarning)  # many docstrings are over the limit
    model = load_model(device="cpu")
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

    claims = {
        "vectors equal within 1e-5": difference < 1e-5 and same,
        "at least as fast": np.median(speedup) >= 1,
        "a warm cache at least 50 times as fast": np.median(gain) >= 50,
        "a search at most 1.3 times its query": np.median(found) <= 1.3 * np.median(alone),
    }
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
