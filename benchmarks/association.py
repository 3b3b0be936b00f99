"""How fast a WEAT's p value is beside a plain Python loop over partitions and WEFE's p value.

    python benchmarks/association.py [--repeats 20] [--wefe-permutations 12870]
                                     [--wefe-python PATH]

8 + 8 words and 8 + 8 attributes, random vectors of 50 numbers in which a difference was planted:
12,870 partitions. The loop is given the association of each word, so that all it does for a
partition is to add up those of the one set and those of the other; ours is the whole call of
``weat``, from the vectors on. A shorter loop, which uses that the sum of all is fixed and leaves the
adding to one built-in call, is measured too, and no claim is made on it. They take turns, so that
whatever else the machine does meets all alike, and of each the shortest of its repeats counts,
since other work can only lengthen it.

WEFE pins an older NumPy, so it runs in an environment of its own: that of --wefe-python, or a new
one in a temporary folder with what ``pip install wefe`` brings. Where that fails, the comparison is
skipped and the reason printed. It runs once, on the same vectors, with as many permutations as
there are partitions, which takes minutes; with fewer (--wefe-permutations) the claim is the harder.
Statistics must agree, and effect sizes up to the denominator of the standard deviation (WEFE divides
by n, the published figures by n − 1). The p values are printed and not compared: WEFE has no exact
one, and it fills both sets by drawing words *with* replacement, unseeded, which is a bootstrap and
no partition. The program fails if a claim does not hold: the loop's p value, at least 50 times as
fast as the loop, and at least 50 times as fast as WEFE.
"""

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np

N, DIMENSIONS = 8, 50
WEFE = """
import json, sys, time
import numpy, wefe
from gensim.models import KeyedVectors
from wefe.metrics import WEAT
from wefe.query import Query
from wefe.word_embedding_model import WordEmbeddingModel

folder, permutations = sys.argv[1], int(sys.argv[2])
matrix = numpy.load(folder + "/vectors.npy")
words = [f"{side}{i}" for side in "xyab" for i in range(len(matrix) // 4)]
vectors = KeyedVectors(matrix.shape[1])
vectors.add_vectors(words, matrix)
X, Y, A, B = (words[start : start + len(words) // 4] for start in range(0, len(words), len(words) // 4))
query = Query([X, Y], [A, B], ["X", "Y"], ["A", "B"])
model = WordEmbeddingModel(vectors, "random")
began = time.perf_counter()
found = WEAT().run_query(
    query, model, calculate_p_value=True, p_value_iterations=permutations
)
print(json.dumps({
    "seconds": time.perf_counter() - began, "statistic": float(found["weat"]),
    "effect_size": float(found["effect_size"]), "p_value": float(found["p_value"]),
    "versions": f"WEFE {wefe.__version__}, NumPy {numpy.__version__}",
}))
"""


class Skipped(Exception):
    """Why WEFE was not measured."""


def planted_sets(seed=0):
    """Return X, Y, A and B, each (N, DIMENSIONS) float32, X leaning to A and Y to B."""
    sets = np.random.default_rng(seed).standard_normal((4, N, DIMENSIONS))
    sets[:, :, 0] += np.array([0.6, -0.6, 1.5, -1.5])[:, None]
    return list(sets.astype(np.float32))


def loop_p_value(associations):
    """Return the exact one-sided p value by its definition, one partition after the other."""

    def statistic(members):
        chosen = set(members)
        first = sum(associations[word] for word in members)
        return first - sum(associations[word] for word in range(2 * N) if word not in chosen)

    seen = statistic(range(N)) - 1e-12
    found = [statistic(members) >= seen for members in itertools.combinations(range(2 * N), N)]
    return sum(found) / len(found)


def short_loop_p_value(associations):
    """Return the same where the sum over the one set tells that over the other."""
    seen = sum(associations[:N]) - 1e-12
    found = [sum(members) >= seen for members in itertools.combinations(associations, N)]
    return sum(found) / len(found)


def turns(actions, repeats):
    """Return ``{name: shortest seconds}`` of the actions, measured in alternation."""
    shortest = dict.fromkeys(actions, float("inf"))
    for _ in range(repeats):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            shortest[name] = min(shortest[name], time.perf_counter() - began)
    return shortest


def run(command, what, timeout):
    """Return what a command prints, or raise ``Skipped`` with the last line of its complaint."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Skipped(f"{what} took more than {timeout} s") from None
    except OSError as error:
        raise Skipped(f"{what}: {error}") from None
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().splitlines() or ["no message"]
        raise Skipped(f"{what} failed: {complaint[-1]}")
    return done.stdout


def measure_wefe(sets, permutations, python):
    """Return what WEFE finds and how long it takes, as a dict. Raises ``Skipped``."""
    with tempfile.TemporaryDirectory() as folder:
        if python is None:
            venv.create(Path(folder) / "wefe", with_pip=True)
            place = "Scripts" if sys.platform == "win32" else "bin"
            python = str(Path(folder) / "wefe" / place / "python")
            run([python, "-m", "pip", "install", "--quiet", "wefe"], "pip install wefe", 900)
        np.save(Path(folder) / "vectors.npy", np.concatenate(sets))
        printed = run([python, "-c", WEFE, folder, str(permutations)], "WEFE", 3600)
    return json.loads(printed.strip().splitlines()[-1])


def main():
    from course_utils.bias.associations import association, weat

    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--wefe-permutations", type=int, default=12870)
    options.add_argument("--wefe-python", help="an interpreter that can import wefe")
    options = options.parse_args()

    X, Y, A, B = sets = planted_sets()
    associations = association(np.concatenate([X, Y]), A, B).tolist()
    ours, loop = weat(*sets), loop_p_value(associations)
    ways = {
        "ours": lambda: weat(*sets),
        "loop": lambda: loop_p_value(associations),
        "short": lambda: short_loop_p_value(associations),
    }
    taken = turns(ways, options.repeats)
    speedup, over_short = (taken[way] / taken["ours"] for way in ("loop", "short"))
    print(f"{N} + {N} words, {ours.permutations:,} partitions, p = {ours.p_value:.6f}")
    print(f"weat, exact: {taken['ours'] * 1e3:.3f} ms")
    print(f"loop over partitions: {taken['loop'] * 1e3:.1f} ms, {speedup:,.0f} times as long")
    print(f"the shorter loop: {taken['short'] * 1e3:.1f} ms, {over_short:,.0f} times as long")
    claims = {
        "the loop's p value": ours.exact and ours.p_value == loop,
        "at least 50 times as fast as the loop": speedup >= 50,
    }
    try:
        wefe = measure_wefe(sets, options.wefe_permutations, options.wefe_python)
    except Skipped as reason:
        print(f"WEFE skipped: {reason}")
    else:
        speedup = wefe["seconds"] / taken["ours"]
        print(
            f"{wefe['versions']}: {wefe['seconds']:.1f} s for {options.wefe_permutations:,} "
            f"permutations, {speedup:,.0f} times as long; p = {wefe['p_value']:.6f}"
        )
        by_n = ours.effect_size * np.sqrt(2 * N / (2 * N - 1))
        print(f"effect size {ours.effect_size:.4f}; WEFE {wefe['effect_size']:.4f} (divides by n)")
        claims["WEFE's statistic within 1e-5"] = abs(wefe["statistic"] - ours.statistic) < 1e-5
        claims["WEFE's effect size, divided by n, within 1e-5"] = (
            abs(wefe["effect_size"] - by_n) < 1e-5
        )
        claims["at least 50 times as fast as WEFE"] = speedup >= 50
    for claim, holds in claims.items():
        print(f"{'[OK]' if holds else '[!] '} {claim}")
    sys.exit(not all(claims.values()))


if __name__ == "__main__":
    main()
