"""Searching: exact search is a full sort, approximate search is compared with it."""

import json
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import (
    Hit,
    Index,
    build_index,
    recall_against_exact,
    search,
)
from course_utils.retrieval import kinds as index_kinds

KINDS = ("exact", "faiss", "hnsw")


class Letters:
    """An embedder whose vectors count letters: near means spelt with the same letters."""

    dimension = 26

    def __init__(self, fingerprint="letters"):
        if fingerprint:
            self.fingerprint = fingerprint

    def encode(self, texts):
        return np.array([[text.count(chr(97 + i)) for i in range(26)] for text in texts], float)


CORPUS = {"fruit": "banana", "sea": "wave", "tool": "hammer", "dance": "samba", "grain": "maize"}


def unit_rows(count, dimensions, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def full_sort(scores, k):
    """Every row sorted in plain Python: score descending, then column ascending."""
    order = [sorted(range(len(row)), key=lambda c, row=row: (-row[c], c))[:k] for row in scores]
    return np.array(order)


def test_the_best_hit_shares_most_letters_and_hits_are_ranked_from_one():
    hits = search(Letters(), "bananas", CORPUS, k=3)
    assert hits[0].id == "fruit"
    assert hits[0].text == "banana"
    # b a³ n² s against b a³ n²: 14 / sqrt(15 · 14)
    assert hits[0].score == pytest.approx(14 / (15 * 14) ** 0.5, abs=1e-6)
    assert [hit.rank for hit in hits] == [1, 2, 3]
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all(isinstance(hit, Hit) for hit in hits)


def test_one_query_gives_one_list_and_several_give_one_each():
    one = search(Letters(), "wave", CORPUS, k=2)
    several = search(Letters(), ["wave", "hammer"], CORPUS, k=2)
    assert several[0] == one
    assert several[1][0].id == "tool"
    assert search(Letters(), [], CORPUS) == []


def test_a_list_gets_row_numbers_as_ids():
    index = build_index(Letters(), ["one", "two", "three"])
    assert index.ids == ("0", "1", "2")
    assert len(index) == 3
    assert search(Letters(), "two", index, k=1)[0].id == "1"


def test_more_results_than_texts_gives_every_text_once():
    hits = search(Letters(), "a", CORPUS, k=50)
    assert sorted(hit.id for hit in hits) == sorted(CORPUS)


@given(
    st.integers(1, 40),
    st.integers(1, 60),
    st.integers(0, 4),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
@settings(max_examples=150, deadline=None)
def test_exact_search_is_a_full_sort_with_ties_by_row(count, k, queries, levels, seed):
    # Small whole numbers make many ties, and dot products without rounding.
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-levels, levels + 1, (count, 3)).astype(np.float32)
    vectors = rng.integers(-levels, levels + 1, (queries, 3)).astype(np.float32)
    scores, rows = Index.from_matrix(matrix, [""] * count).search(vectors, k)
    expected = vectors @ matrix.T
    best = full_sort(expected, k)
    assert rows.shape == scores.shape == (queries, min(k, count))
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32
    if queries:
        assert rows.tolist() == best.tolist()
        assert scores.tolist() == np.take_along_axis(expected, best, axis=1).tolist()


def test_blocks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(3)
    matrix = rng.integers(-2, 3, (101, 4)).astype(np.float32)
    vectors = rng.integers(-2, 3, (23, 4)).astype(np.float32)
    index = Index.from_matrix(matrix, [""] * 101)
    monkeypatch.setattr(index_kinds, "_QUERY_BLOCK", 5)
    monkeypatch.setattr(index_kinds, "_DOCUMENT_BLOCK", 7)
    assert index.search(vectors, 12)[1].tolist() == full_sort(vectors @ matrix.T, 12).tolist()


def test_exact_search_agrees_with_the_library():
    import torch
    from sentence_transformers.util import semantic_search

    matrix, vectors = unit_rows(500, 16), unit_rows(20, 16, seed=1)
    scores, rows = Index.from_matrix(matrix, [""] * 500).search(vectors, 10)
    found = semantic_search(torch.from_numpy(vectors), torch.from_numpy(matrix), top_k=10)
    assert rows.tolist() == [[hit["corpus_id"] for hit in hits] for hits in found]
    assert np.allclose(scores, [[hit["score"] for hit in hits] for hits in found], atol=1e-6)


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
def test_approximate_kinds_find_most_and_score_what_they_find_exactly(kind):
    matrix, vectors = unit_rows(2000, 24), unit_rows(50, 24, seed=1)
    exact_rows = Index.from_matrix(matrix, [""] * 2000).search(vectors, 10)[1]
    scores, rows = Index.from_matrix(matrix, [""] * 2000, kind=kind).search(vectors, 10)
    # Random vectors are the hardest case: no cells, no neighbourhoods.
    assert recall_against_exact(rows, exact_rows) > 0.5
    assert np.allclose(scores, np.take_along_axis(vectors @ matrix.T, rows, axis=1), atol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert rows.dtype == np.int64
    assert scores.dtype == np.float32


@pytest.mark.parametrize(("kind", "wide"), [("faiss", {"nprobe": 10**6}), ("hnsw", {"ef": 2000})])
def test_looking_everywhere_makes_an_approximate_kind_exact(kind, wide):
    matrix, vectors = unit_rows(1000, 8), unit_rows(30, 8, seed=1)
    exact = Index.from_matrix(matrix, [""] * 1000).search(vectors, 10)[1]
    rows = Index.from_matrix(matrix, [""] * 1000, kind=kind, **wide).search(vectors, 10)[1]
    assert recall_against_exact(rows, exact) == 1


@pytest.mark.parametrize("kind", ["faiss", "hnsw"])
def test_the_same_seed_builds_the_same_approximate_index(kind):
    matrix, vectors = unit_rows(1500, 8), unit_rows(30, 8, seed=1)
    first, second = (
        Index.from_matrix(matrix, [""] * 1500, kind=kind, seed=5).search(vectors, 20)[1]
        for _ in range(2)
    )
    assert first.tolist() == second.tolist()


def test_places_an_approximate_search_cannot_fill_come_last_and_are_no_hits():
    # Two far groups in two cells; looking into one cell can only find that group.
    matrix = np.repeat(np.eye(2, dtype=np.float32), 40, axis=0)
    index = Index.from_matrix(matrix, [""] * 80, kind="faiss", nlist=2, nprobe=1)
    scores, rows = index.search(np.array([[1.0, 0.0]]), 50)
    assert set(rows[0, :40]) == set(range(40))
    assert (rows[0, 40:] == -1).all()
    assert (scores[0, 40:] == -np.inf).all()

    class OnAxis(Letters):
        def encode(self, texts):
            return np.tile([1.0, 0.0], (len(texts), 1))

    assert len(search(OnAxis(None), "x", index, k=50)) == 40


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [1, 2, 50])
def test_every_kind_takes_small_corpora_and_no_queries(kind, count):
    index = Index.from_matrix(unit_rows(count, 4), [str(i) for i in range(count)], kind=kind)
    scores, rows = index.search(unit_rows(1, 4), 100)
    assert rows.shape == (1, count)
    assert sorted(rows[0].tolist()) == list(range(count))
    scores, rows = index.search(np.empty((0, 4)), 3)
    assert scores.shape == rows.shape == (0, min(3, count))


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_index_comes_back_as_it_was(kind, tmp_path):
    index = build_index(Letters(), CORPUS, kind=kind)
    assert index.save(tmp_path / "kept") == tmp_path / "kept"
    loaded = Index.load(tmp_path / "kept")
    assert (loaded.kind, loaded.ids, loaded.texts) == (kind, index.ids, index.texts)
    assert loaded.fingerprint == index.fingerprint
    assert search(Letters(), "samba wave", loaded) == search(Letters(), "samba wave", index)
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_saving_again_replaces_an_index_but_nothing_else(tmp_path):
    build_index(Letters(), ["old"]).save(tmp_path / "index")
    build_index(Letters(), ["new"]).save(tmp_path / "index")
    assert Index.load(tmp_path / "index").texts == ("new",)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="thesis"):
        build_index(Letters(), ["new"]).save(tmp_path / "thesis")
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


def test_an_empty_folder_takes_an_index(tmp_path):
    (tmp_path / "index").mkdir()
    build_index(Letters(), ["new"]).save(tmp_path / "index")
    assert Index.load(tmp_path / "index").texts == ("new",)


@pytest.mark.parametrize("step", [1, 2])
def test_a_save_whose_exchange_fails_leaves_the_old_index(tmp_path, rename_fails, step):
    build_index(Letters(), ["old"]).save(tmp_path / "index")
    rename_fails(step)
    with pytest.raises(OSError, match="gave up"):
        build_index(Letters(), ["new"]).save(tmp_path / "index")
    assert Index.load(tmp_path / "index").texts == ("old",)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_an_interrupted_save_leaves_the_old_index(tmp_path, monkeypatch):
    build_index(Letters(), ["old"]).save(tmp_path / "index")

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(json, "dumps", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_index(Letters(), ["new"]).save(tmp_path / "index")
    monkeypatch.undo()
    assert Index.load(tmp_path / "index").texts == ("old",)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_index_is_refused(kind, tmp_path):
    folder = build_index(Letters(), CORPUS, kind=kind).save(tmp_path / "index")
    vectors = folder / "vectors.bin"
    whole = vectors.read_bytes()
    vectors.write_bytes(whole[:-4])
    with pytest.raises(ValueError, match=r"vectors\.bin"):
        Index.load(folder)
    vectors.write_bytes(whole)
    about = json.loads((folder / "index.json").read_text())
    (folder / "index.json").write_text(json.dumps(about | {"dimensions": 4}))
    with pytest.raises(ValueError, match="save"):
        Index.load(folder)
    (folder / "index.json").write_text(json.dumps(about | {"ids": ["a"], "texts": ["b"]}))
    with pytest.raises((ValueError, RuntimeError)):
        Index.load(folder)
    (folder / "index.json").write_text("{")
    with pytest.raises(ValueError, match=r"index\.json"):
        Index.load(folder)


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    folder = build_index(Letters(), ["a"]).save(tmp_path / "index")
    np.save(folder / "pickled.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (folder / "pickled.npy").replace(folder / "vectors.bin")
    about = json.loads((folder / "index.json").read_text())
    from course_utils.retrieval.index import sha256

    about["sha256"] = sha256(folder / "vectors.bin")
    (folder / "index.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="allow_pickle"):
        Index.load(folder)


def test_vectors_of_two_models_never_meet():
    index = build_index(Letters("model-a"), CORPUS)
    assert index.fingerprint is not None
    with pytest.raises(ValueError, match=index.fingerprint[:12]) as caught:
        search(Letters("model-b"), "wave", index)
    other = build_index(Letters("model-b"), CORPUS).fingerprint
    assert other[:12] in str(caught.value)
    assert "build_index" in str(caught.value)


def test_without_a_fingerprint_only_dimensions_are_compared():
    index = build_index(Letters(None), CORPUS)
    assert index.fingerprint is None
    assert search(Letters("model-b"), "wave", index)[0].id == "sea"

    class Short(Letters):
        def encode(self, texts):
            return super().encode(texts)[:, :5] + 1

    with pytest.raises(ValueError, match="5 dimensions, the index has 26"):
        search(Short(None), "wave", index)


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", None, True])
def test_k_must_be_a_whole_number_of_at_least_one(k):
    with pytest.raises(ValueError, match="at least 1"):
        search(Letters(), "wave", CORPUS, k=k)
    with pytest.raises(ValueError, match="at least 1"):
        build_index(Letters(), CORPUS).search(np.ones((1, 26)), k)


@pytest.mark.parametrize("empty", [[], {}, ()])
def test_an_empty_corpus_is_refused(empty):
    with pytest.raises(ValueError, match="empty"):
        search(Letters(), "wave", empty)


def test_blank_queries_are_refused_by_number():
    with pytest.raises(ValueError, match="Query 0"):
        search(Letters(), "  ", CORPUS)
    with pytest.raises(ValueError, match="Query 1"):
        search(Letters(), ["wave", ""], CORPUS)


def test_what_is_not_text_is_named():
    with pytest.raises(TypeError, match="item 'b' is a NoneType"):
        build_index(Letters(), {"a": "text", "b": None})
    with pytest.raises(TypeError, match="item 1 is a float"):
        build_index(Letters(), ["text", float("nan")])
    with pytest.raises(TypeError, match="one string"):
        build_index(Letters(), "text")
    with pytest.raises(TypeError, match="id 3"):
        build_index(Letters(), {3: "text"})
    with pytest.raises(TypeError, match="query item 0 is a int"):
        search(Letters(), [3], CORPUS)


def test_bad_matrices_are_refused():
    with pytest.raises(ValueError, match="row 1 holds NaN"):
        Index.from_matrix([[0.0], [np.nan]], ["a", "b"])
    with pytest.raises(ValueError, match="row 0"):
        Index.from_matrix([[1.0]], ["a"]).search([[np.inf]], 1)
    with pytest.raises(ValueError, match="comes twice, again at row 1"):
        Index.from_matrix([[1.0], [2.0]], ["a", "b"], ids=["x", "x"])
    with pytest.raises(ValueError, match="2 rows, texts 1"):
        Index.from_matrix([[1.0], [2.0]], ["a"])
    with pytest.raises(ValueError, match="shape"):
        Index.from_matrix([1.0, 2.0], ["a", "b"])
    with pytest.raises(ValueError, match="no rows"):
        Index.from_matrix(np.empty((0, 3)), [])


def test_unknown_kinds_and_options_are_refused_before_anything_is_encoded():
    class Never:
        fingerprint = "never"

        def encode(self, texts):
            raise AssertionError("encoded")

    with pytest.raises(ValueError, match="'exact', 'faiss', 'hnsw'"):
        build_index(Never(), ["a"], kind="annoy")
    with pytest.raises(TypeError, match="no option 'nlist'"):
        build_index(Never(), ["a"], kind="hnsw", nlist=3)
    with pytest.raises(ValueError, match="nlist is 7"):
        Index.from_matrix(unit_rows(5, 2), [""] * 5, kind="faiss", nlist=7)


@pytest.mark.parametrize(("kind", "package"), [("faiss", "faiss"), ("hnsw", "hnswlib")])
def test_a_missing_package_is_named_with_the_line_that_installs_it(kind, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf'needs the package {package}.*pip install.*"{package}'):
        build_index(Letters(), CORPUS, kind=kind)


def test_only_an_exact_index_shows_its_matrix():
    assert build_index(Letters(), CORPUS).matrix.shape == (5, 26)
    with pytest.raises(AttributeError, match='kind="exact"'):
        _ = build_index(Letters(), CORPUS, kind="hnsw").matrix


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 10**6))
def test_recall_is_the_share_found(queries, k, seed):
    rng = np.random.default_rng(seed)
    exact = np.array([rng.permutation(20)[:k] for _ in range(queries)])
    assert recall_against_exact(exact, exact) == 1
    assert recall_against_exact(rng.permuted(exact, axis=1), exact) == 1
    assert recall_against_exact(exact + 100, exact) == 0
    half = exact.copy()
    half[:, k // 2 :] = -1
    assert recall_against_exact(half, exact) == pytest.approx((k // 2) / k)


def test_recall_needs_the_same_queries():
    with pytest.raises(ValueError, match="2 approximate and 1 exact"):
        recall_against_exact([[1], [2]], [[1]])
    with pytest.raises(ValueError, match="at least one"):
        recall_against_exact(np.empty((0, 3)), np.empty((0, 3)))


def test_a_real_model_finds_meaning_without_shared_words(minilm):
    corpus = {
        "sort": "arrange the entries of an array from smallest to largest",
        "inverse": "compute the reciprocal matrix of a square matrix",
        "colour": "choose shades of red and blue for a chart",
    }
    index = build_index(minilm, corpus)
    assert index.dimensions == 384
    assert np.allclose(np.linalg.norm(index.matrix, axis=1), 1, atol=1e-5)
    assert search(minilm, "put numbers in ascending order", index, k=1)[0].id == "sort"
    assert search(minilm, "palette for a plot", index, k=1)[0].id == "colour"
    with pytest.raises(ValueError, match="cannot be compared"):
        search(Letters(), "palette", index)
