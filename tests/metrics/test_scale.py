"""The table of scale says what the lines say."""

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest

from course_utils.metrics.evidence import load_scale

ROOT = Path(__file__).parents[2]
OWN = ROOT / "datasets" / "search" / "scale.jsonl"
LINE = {
    "kind": "exact", "name": "exact, in memory", "settings": {"ef": 64}, "vectors": 1000,
    "dimensions": 384, "queries": 1000, "build_s": 1, "one_ms": 0.5, "batch_ms": 0.25,
    "recall@10": 1.0, "bytes": 1536, "memory_mb": 300, "mapped_mb": 250, "cores": 2,
}  # fmt: skip


def written(tmp_path, *lines):
    path = tmp_path / "scale.jsonl"
    path.write_text("".join(f"{one}\n" for one in lines), "utf-8")
    return path


@pytest.fixture(scope="module")
def benchmark():
    spec = spec_from_file_location("search_benchmark", ROOT / "benchmarks" / "search.py")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_row_is_a_line(tmp_path):
    other = {**LINE, "kind": "hnsw", "vectors": 3000, "one_ms": 2}
    table = load_scale(written(tmp_path, json.dumps(LINE), json.dumps(other)))
    assert table.to_dict("records") == [LINE, other]
    assert table["vectors"].dtype == np.int64
    assert (table[["build_s", "one_ms", "batch_ms", "bytes"]].dtypes == np.float64).all()


@pytest.mark.parametrize(
    "wrong",
    ["{", "[]", "7", '{"kind": "exact"}', json.dumps({**LINE, "bytes": None}),
     json.dumps({**LINE, "vectors": "many"})],
)  # fmt: skip
def test_a_line_that_is_no_result_is_named(tmp_path, wrong):
    with pytest.raises(ValueError, match=r"scale\.jsonl:2 is no result"):
        load_scale(written(tmp_path, json.dumps(LINE), wrong))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_scale(tmp_path / "nowhere.jsonl")


def test_the_benchmark_measures_all_that_can_be_measured_and_knows_what_is_there(
    benchmark, tmp_path
):
    from course_utils.retrieval.speed import SEARCHES

    assert list(benchmark.KINDS) == list(SEARCHES)
    assert benchmark.filled(tmp_path / "nowhere.jsonl") == set()
    assert benchmark.filled(written(tmp_path, json.dumps(LINE))) == {("exact", 1000)}


def test_lines_are_of_five_words_and_no_two_of_the_same(benchmark, tmp_path):
    long, again = "The mean of each row, x1.", "the MEAN of  each row."
    halves = "one two three and then four five six"
    (tmp_path / "a.py").write_text(
        f'"""{long}\n\nToo short.\n{again}\n"""\nprint("no words of a docstring here")\n'
    )
    (tmp_path / "b.py").write_text(f"class B:\n    '''{halves}'''\n")
    (tmp_path / "broken.py").write_text("def (")
    lines, known = benchmark.lines_of_docstrings(tmp_path)
    assert sorted(lines) == sorted([long, halves])
    assert benchmark.halves_of([halves], known) == ["one two three and", "then four five six"]
    assert benchmark.halves_of([halves], {*known, "then four five six"}) == ["one two three and"]


@pytest.mark.skipif(not OWN.exists(), reason="nothing was measured yet")
def test_every_line_of_the_courses_own_is_one_that_the_benchmark_knows(benchmark):
    table = load_scale()
    assert not table[["kind", "vectors"]].duplicated().any()
    assert set(table["kind"]) <= set(benchmark.KINDS)
    assert set(table["vectors"]) <= set(benchmark.SIZES)
    assert (table["recall@10"][table["kind"] == "exact"] == 1).all()
    assert (table["bytes"] >= 4 * table["dimensions"]).all()
    assert (table["memory_mb"] >= table["mapped_mb"]).all()
