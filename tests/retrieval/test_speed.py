"""What is measured of a search is what is there: the right rows, the bytes of a known layout."""

import sys

import numpy as np
import pytest

from course_utils.retrieval import Index, recall_against_exact
from course_utils.retrieval.kinds import Faiss
from course_utils.retrieval.speed import SEARCHES, measure_search

PACKAGES = {"faiss": "faiss", "hnsw": "hnswlib", "lancedb": "lancedb", "lancedb-ivf": "lancedb"}
DIMENSIONS, K = 16, 10


def vectors(count, seed=0):
    matrix = np.random.default_rng(seed).standard_normal((count, DIMENSIONS)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def measured(kind, matrix, queries, **options):
    if kind in PACKAGES:
        pytest.importorskip(PACKAGES[kind])
    return measure_search(matrix, queries, kind, **options)


@pytest.mark.parametrize("kind", ["exact", "lancedb"])
def test_what_compares_every_vector_finds_what_brute_force_finds(kind):
    matrix, queries = vectors(300), vectors(12, seed=1)
    order = np.argsort(-(queries @ matrix.T), axis=1)
    rows = order[:, :K]
    assert measured(kind, matrix, queries, exact_rows=rows)["recall@10"] == 1
    half = np.concatenate([order[:, : K // 2], order[:, -K // 2 :]], axis=1)
    assert measured(kind, matrix, queries, exact_rows=half)["recall@10"] == 0.5


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
def test_recall_is_that_of_an_index_of_the_same_kind(kind):
    pytest.importorskip(PACKAGES[kind])
    matrix, queries = vectors(3000), vectors(40, seed=1)
    found, exact = (
        Index.from_matrix(matrix, [""] * len(matrix), kind=name).search(queries, K)[1]
        for name in (kind, "exact")
    )
    recall = measured(kind, matrix, queries)["recall@10"]
    assert recall == pytest.approx(recall_against_exact(found, exact), abs=1e-12)


@pytest.mark.parametrize("kind", SEARCHES)
def test_what_is_told_is_what_was_asked(kind, tmp_path):
    found = measured(kind, vectors(200), vectors(6, seed=1), k=3, folder=tmp_path)
    assert (found["kind"], found["name"]) == (kind, SEARCHES[kind])
    assert (found["vectors"], found["dimensions"], found["queries"]) == (200, DIMENSIONS, 6)
    assert all(found[name] > 0 for name in ("build_s", "one_ms", "batch_ms"))
    assert 0 <= found["recall@3"] <= 1
    assert not list(tmp_path.iterdir())


def test_bytes_are_those_of_the_layouts():
    """Per vector beside its numbers; links and centres as hnswlib and FAISS document them."""
    count = 2000
    matrix, queries = vectors(count), vectors(20, seed=1)
    plain = 4 * DIMENSIONS
    assert measured("exact", matrix, queries)["bytes"] == plain + 128 / count  # NumPy's header
    # In the lowest layer places for 2 M links and their number, a label of 8 bytes, and the size of
    # what stands above: M links and their number in each layer, M vectors in one below to one above.
    found = measured("hnsw", matrix, queries)
    links = found["settings"]["M"]
    lowest = plain + 4 * 2 * links + 4 + 8 + 4
    assert lowest < found["bytes"] < lowest + 2 * 4 * (links + 1) / (links - 1) + 200 / count
    # A number of 8 bytes for each vector, a centre and a length for each cell.
    found = measured("faiss", matrix, queries)
    cells = found["settings"]["nlist"]
    least = plain + 8 + plain * cells / count
    assert least < found["bytes"] < least + 16 * cells / count + 1000 / count


def test_a_store_holds_vectors_once_and_with_its_index_twice():
    matrix, queries = vectors(2000), vectors(2, seed=1)
    plain = 4 * DIMENSIONS
    alone = measured("lancedb", matrix, queries)["bytes"]
    indexed = measured("lancedb-ivf", matrix, queries)["bytes"]
    assert plain < alone < 2 * plain
    assert alone + plain < indexed < alone + 2 * plain


@pytest.mark.parametrize("count", [30, 5000])
def test_a_store_gets_as_many_cells_as_faiss(count):
    pytest.importorskip("faiss")
    matrix = vectors(count)
    faiss = Faiss.build(matrix).index
    settings = measured("lancedb-ivf", matrix, vectors(1, seed=1))["settings"]
    assert settings == {"nlist": faiss.nlist, "nprobe": faiss.nprobe}


def test_fewer_vectors_than_k_are_all_found():
    assert measured("exact", vectors(4), vectors(3, seed=1))["recall@4"] == 1


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("no kind 'annoy'", {"kind": "annoy"}),
        ("k is 0", {"k": 0}),
        (r"queries \(3, 2\)", {"queries": np.eye(3, 2)}),
        (r"queries \(0, 16\)", {"queries": np.empty((0, DIMENSIONS))}),
        (r"matrix has shape \(0, 16\)", {"matrix": np.empty((0, DIMENSIONS))}),
        ("queries row 1 holds NaN", {"queries": np.array([[0.0] * 16, [np.nan] * 16])}),
        (r"exact_rows has shape \(2, 10\)", {"exact_rows": np.zeros((2, 10), int)}),
    ],
)
def test_what_cannot_be_measured_is_refused(told, change):
    options = {"matrix": vectors(20), "queries": vectors(3, seed=1), "kind": "exact", **change}
    with pytest.raises(ValueError, match=told):
        measure_search(**options)


@pytest.mark.parametrize("kind", PACKAGES)
def test_without_its_package_a_kind_is_named_with_the_line_to_type(kind, monkeypatch):
    monkeypatch.setitem(sys.modules, PACKAGES[kind], None)
    named = kind.removesuffix("-ivf")
    with pytest.raises(ImportError, match=rf"An index of kind '{named}' needs .*pip install"):
        measure_search(vectors(20), vectors(3, seed=1), kind)
