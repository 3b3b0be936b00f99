"""How time, recall, bytes and memory of a search grow, from a thousand vectors to a million.

    python benchmarks/search.py                               print the table of what was measured
    python benchmarks/search.py --fill --folder FOLDER        measure every empty row, one by one
    python benchmarks/search.py --fill --folder FOLDER --kinds exact faiss --sizes 1000 3000
    python benchmarks/search.py --figure FILE                 draw what was measured

The vectors are those of real texts, since on random ones every approximate search is bad: lines of at
least five words from the docstrings of the packages installed beside the course, no two of the same
words, in an order drawn with a seed. Where they are fewer than the vectors asked for, halves of lines
follow them. A static student of MiniLM encodes them to 384 dimensions. A thousand other lines are the
queries. Which lines there are depends on what is installed; each row says how many it had.

Each row is measured by `measure_search` of course_utils.retrieval.speed, which says what its numbers
are, with the default settings of the kind and as many threads as its library takes by itself. Each is
measured in a process of its own, which maps the vectors from their file: `memory_mb` is that process's
peak, `mapped_mb` what the peak was once the vectors were mapped and a hundred of them tried, so that the
libraries are there. Between the two lie the vectors themselves, once they are read, and the index.
Rows are kept in datasets/search/scale.jsonl, one line each, so a stopped run goes on where it was.
FOLDER takes 1.5 GB for the vectors of a million texts, and 3.2 GB more for the while of a row.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from datetime import date
from importlib.metadata import version
from pathlib import Path

# What imports much, or holds much, is imported by the steps below, each run in a process of its own:
# on Linux, a process starts with the peak of the one that started it.

SCALE = Path(__file__).parents[1] / "datasets" / "search" / "scale.jsonl"
SIZES = (1_000, 10_000, 100_000, 1_000_000)
#: Each kind with the package whose version a row names.
KINDS = {
    "exact": "numpy", "faiss": "faiss-cpu", "hnsw": "hnswlib",
    "lancedb": "lancedb", "lancedb-ivf": "lancedb",
}  # fmt: skip
DIMENSIONS = 384
QUERIES = 1_000
K = 10
WORDS = 5  # of a line; of a half, three
CHUNK = 50_000  # texts encoded at once


# Steps, each of which prints one line of JSON.


def lines_of_docstrings(packages):
    """Return the lines in a fixed order, no two of the same words."""
    import ast
    import warnings

    warnings.simplefilter("ignore")  # of what other people's files say
    kept = {}
    for path in sorted(packages.rglob("*.py")):
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, ValueError, RecursionError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                for line in (ast.get_docstring(node, clean=False) or "").splitlines():
                    found = words_of(line)
                    if len(found) >= WORDS:
                        kept.setdefault(" ".join(found), line.strip())
    return [kept[key] for key in sorted(kept)], kept.keys()


def words_of(text):
    return re.findall(r"[^\W\d_]{2,}", text.lower())


def halves_of(lines, known):
    """Return the halves of lines whose words are not those of a line, or of another half."""
    known, halves = set(known), []
    for line in lines:
        parts = line.split()
        middle = len(parts) // 2
        for part in (parts[:middle], parts[middle:]):
            half = " ".join(part)
            found = words_of(half)
            if len(found) >= 3 and (key := " ".join(found)) not in known:
                known.add(key)
                halves.append(half)
    return halves


def write_vectors(folder, size, small):
    """Encode at least ``size`` texts, and the queries, into the folder."""
    import random

    import numpy as np

    from course_utils import encode, load_model
    from course_utils.adaptation.static import distil_static
    from course_utils.files import whole_file, write_text

    packages = Path(sysconfig.get_paths()["purelib"])
    lines, known = lines_of_docstrings(packages / "numpy" if small else packages)
    random.Random(0).shuffle(lines)
    queries, lines = lines[:QUERIES], lines[QUERIES:]
    halves = [] if len(lines) >= size else halves_of(lines, known)
    random.Random(0).shuffle(halves)
    texts = [*lines, *halves][:size]
    print(f"{len(lines):,} lines and {QUERIES:,} queries", file=sys.stderr)
    if len(texts) < size:
        raise SystemExit(f"With {len(halves):,} halves there are fewer texts than {size:,}.")

    student = distil_static(
        load_model(device="cpu"), dimensions=DIMENSIONS, show_progress_bar=False
    )
    with whole_file(folder / "queries.npy") as fresh, open(fresh, "wb") as file:
        np.save(file, encode(student, queries, show_progress_bar=False))
    with whole_file(folder / "vectors.npy") as fresh:
        vectors = np.lib.format.open_memmap(fresh, "w+", np.float32, (size, DIMENSIONS))
        for start in range(0, size, CHUNK):
            part = texts[start : start + CHUNK]
            vectors[start : start + CHUNK] = encode(student, part, show_progress_bar=False)
        vectors.flush()
    for stale in folder.glob("exact-*.npy"):  # other packages may be installed by now
        stale.unlink()
    write_text(folder / "texts.json", json.dumps({"vectors": size, "lines": len(lines)}))
    return {}


def mapped(folder, size):
    import numpy as np

    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    return vectors[:size], np.load(folder / "queries.npy", allow_pickle=False)


def exact_file(folder, size):
    return folder / f"exact-{size}.npy"


def write_exact_rows(folder, size, small):
    """Write the rows that are nearest to each query."""
    import numpy as np

    from course_utils.files import whole_file
    from course_utils.retrieval.kinds import index_kind

    vectors, queries = mapped(folder, size)
    _, rows = index_kind("exact").build(np.asarray(vectors)).search(queries, K)
    with whole_file(exact_file(folder, size)) as fresh, open(fresh, "wb") as file:
        np.save(file, rows)
    return {}


def measure(folder, size, kind):
    """Measure one row: a dictionary of JSON values."""
    import numpy as np

    from course_utils.encoding.speed import peak_memory_mb
    from course_utils.retrieval.speed import measure_search

    vectors, queries = mapped(folder, size)
    rows = np.load(exact_file(folder, size), allow_pickle=False)
    about = json.loads((folder / "texts.json").read_text("utf-8"))
    lines = min(size, about["lines"])
    place = folder / "work"
    try:
        measure_search(vectors[:100], queries[:20], kind, k=K, folder=place)
        before = peak_memory_mb()
        found = measure_search(vectors, queries, kind, k=K, exact_rows=rows, folder=place)
    except ImportError as why:
        return {"left_out": str(why)}
    short = {name: float(f"{value:.5g}") for name, value in found.items() if type(value) is float}
    return {
        **found, **short, "memory_mb": round(peak_memory_mb()), "mapped_mb": round(before),
        "texts": {"lines": lines, "halves of lines": size - lines},
        "cores": os.cpu_count(), "machine": platform.machine(), "date": date.today().isoformat(),
        "versions": {name: version(name) for name in dict.fromkeys(("numpy", KINDS[kind]))},
    }  # fmt: skip


STEPS = {"vectors": write_vectors, "exact rows": write_exact_rows}


def in_own_process(step, folder, size, small):
    """Run a step, or measure a kind, and return what it printed, or why there is nothing."""
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = [sys.executable, __file__, "--step", step, "--folder", folder, "--sizes", str(size)]
    try:
        done = subprocess.run(
            [*command, *(["--small"] if small else [])], stdout=subprocess.PIPE, text=True
        )
    finally:  # also where a process was killed and could not tidy up
        shutil.rmtree(work, ignore_errors=True)
    if done.returncode:
        return {"left_out": f"its process ended with {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def prepare(step, folder, size, small):
    print(f"{step}, {size:,}", file=sys.stderr, flush=True)
    if "left_out" in in_own_process(step, folder, size, small):
        raise SystemExit(f"The step {step!r} failed.")


def filled(path):
    if not path.exists():
        return set()
    rows = map(json.loads, path.read_text("utf-8").splitlines())
    return {(row["kind"], row["vectors"]) for row in rows}


def fill(folder, sizes, kinds, path, small):
    """Measure the rows asked for that are empty, and keep each as soon as it is there."""
    there = filled(path)
    empty = [(size, kind) for size in sorted(sizes) for kind in kinds if (kind, size) not in there]
    if not empty:
        return
    about, most = folder / "texts.json", empty[-1][0]
    if not about.exists() or json.loads(about.read_text("utf-8"))["vectors"] < most:
        prepare("vectors", folder, most, small)
    for size, kind in empty:
        if not exact_file(folder, size).exists():
            prepare("exact rows", folder, size, small)
        print(f"measuring {kind}, {size:,}", file=sys.stderr, flush=True)
        row = in_own_process(kind, folder, size, small)
        if "left_out" in row:
            print(f"left out: {kind}, {size:,}: {row['left_out']}", file=sys.stderr, flush=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(json.dumps(row, separators=(",", ":")) + "\n")


def print_table(table):
    last = None
    for row in table.sort_values("vectors", kind="stable").to_dict("records"):
        if row["vectors"] != last:
            last = row["vectors"]
            print(f"\n{last:,} vectors of {row['dimensions']}, {row['cores']} cores: ms for one query, and "
                  "for one of many at once; recall@10; seconds of building; bytes a vector; MB of the "
                  "process at most, and before")  # fmt: skip
        print(f"  {row['name']:26} {row['one_ms']:9.3f} {row['batch_ms']:9.3f}  {row['recall@10']:.3f}  "
              f"{row['build_s']:9.2f} s  {row['bytes']:7,.0f} B  {row['memory_mb']:6,.0f} "
              f"{row['mapped_mb']:5,.0f} MB  {row['settings'] or ''}")  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--fill", action="store_true", help="measure the empty rows")
    parser.add_argument("--kinds", choices=KINDS, nargs="+", default=list(KINDS))
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--folder", type=Path, help="where vectors go")
    parser.add_argument("--figure", type=Path, help="draw what was measured into this file")
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", choices=[*STEPS, *KINDS], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder is None and (options.fill or options.small):
        parser.error("--fill needs --folder FOLDER")
    if min(options.sizes) < K:
        parser.error(f"--sizes are at least {K}")
    if options.step:
        size = options.sizes[0]
        if options.step in STEPS:
            result = STEPS[options.step](options.folder, size, options.small)
        else:
            result = measure(options.folder, size, options.step)
        print(json.dumps(result))
        sys.exit()
    scale = options.folder / "scale.jsonl" if options.small else SCALE
    if options.fill:
        fill(options.folder, options.sizes, options.kinds, scale, options.small)
    if not scale.exists():
        sys.exit("Nothing was measured yet; --fill does so.")

    from course_utils.metrics.evidence import load_scale

    measured = load_scale(scale)
    print_table(measured)
    if options.figure:
        from course_utils.plots.scale import scale_plot

        drawn = scale_plot(measured)
        drawn.savefig(options.figure)
        print(f"\n{options.figure}: {drawn.description}")
