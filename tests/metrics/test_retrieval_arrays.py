"""Retrieval scores from vectors and from arrays: the same as from the dictionaries they stand for."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.metrics.rank_measures import MEASURES
from course_utils.metrics.retrieval import (
    retrieval_scores,
    retrieval_scores_from_arrays,
    retrieval_scores_from_vectors,
)

TIES = st.sampled_from(["trec_eval", "expected"])


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([None, 1, 3]), TIES)
def test_vectors_and_dictionary_of_their_scores_give_the_same(seed, spread, chunk_size, ties):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    # Small whole numbers: products are exact, so ties are ties on both ways, and common.
    queries = rng.integers(-spread, spread + 1, size=(7, 3))
    corpus = rng.integers(-spread, spread + 1, size=(n, 3))
    query_ids = [f"q{i}" for i in range(7)]
    corpus_ids = [str(i) for i in rng.permutation(n)]
    qrels = {
        query: {
            str(d): int(rng.integers(0, 3))
            for d in rng.choice(n, size=int(rng.integers(1, n + 1)), replace=False)
        }
        for query in query_ids[::-1]
    }
    options = {"measures": MEASURES, "ties": ties}
    products = queries @ corpus.T
    run = {
        query: dict(zip(corpus_ids, map(float, row), strict=True))
        for query, row in zip(query_ids, products, strict=True)
    }
    ours = retrieval_scores_from_vectors(
        queries, corpus, query_ids, corpus_ids, qrels, 5, chunk_size=chunk_size, **options
    )
    expected = retrieval_scores(run, qrels, 5, **options)
    assert list(ours.index) == list(expected.index)
    np.testing.assert_array_equal(ours.to_numpy(), expected.to_numpy())


@pytest.mark.parametrize("relevant", [1, 8, 9, 40])
def test_counting_and_sorting_many_scores_give_the_same_ranks(relevant):
    rng = np.random.default_rng(relevant)
    corpus = rng.integers(-4, 5, size=(6000, 4))
    ids = [str(i) for i in range(6000)]
    qrels = {"q": {str(d): 1 for d in rng.choice(6000, relevant, replace=False)}}
    query = rng.integers(-4, 5, size=(1, 4))
    options = {"measures": ["map"], "ties": "trec_eval"}
    ours = retrieval_scores_from_vectors(query, corpus, ["q"], ids, qrels, **options).loc[
        "q", "map"
    ]
    order = sorted(ids, key=lambda d: ((query @ corpus[int(d)])[0], d), reverse=True)
    ranks = sorted(order.index(document) + 1 for document in qrels["q"])
    assert ours == pytest.approx(np.mean([(i + 1) / rank for i, rank in enumerate(ranks)]))


def test_the_full_matrix_of_scores_never_exists():
    rng = np.random.default_rng(0)
    queries = rng.standard_normal((4000, 8), dtype=np.float32)
    corpus = rng.standard_normal((20_000, 8), dtype=np.float32)
    query_ids = [f"q{i}" for i in range(4000)]
    corpus_ids = [f"d{i}" for i in range(20_000)]
    qrels = {f"q{i}": {f"d{i}": 1} for i in range(4000)}
    tracemalloc.start()
    retrieval_scores_from_vectors(queries, corpus, query_ids, corpus_ids, qrels)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 20_000 * 4 / 2, "half of what the full matrix would take"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_ids": ["q", "q"]}, "query_ids holds 'q' twice, in rows 0 and 1"),
        ({"corpus_ids": ["a", "b"]}, r"corpus_matrix has shape \(3, 2\) and corpus_ids 2"),
        ({"corpus_ids": ["a", "b", "b"]}, "corpus_ids holds 'b' twice"),
        ({"corpus_ids": ["a", "b", 3]}, "id 3 in corpus_ids"),
        ({"query_matrix": np.ones((2, 5))}, "5 dimensions and corpus vectors 2"),
        ({"query_matrix": np.ones(2)}, r"query_matrix has shape \(2,\)"),
        ({"corpus_matrix": [[1, 2], [3, np.nan], [1, 1]]}, "'b', row 1 of corpus_matrix"),
        ({"qrels": {"q": {"x": 1}, "r": {"a": 1}}}, "'x', relevant to query 'q'"),
        ({"qrels": {"q": {"a": 1}, "s": {"a": 1}, "r": {"a": 1}}}, "'s' is judged .* no row"),
        ({"query_matrix": np.ones((0, 2)), "query_ids": []}, r"query_matrix has shape \(0, 2\)"),
        ({"chunk_size": 0}, "chunk_size is 0"),
        ({"ties": "random"}, "ties is 'random'"),
    ],
)
def test_vectors_that_do_not_fit_are_refused_by_name(change, message):
    arguments = {
        "query_matrix": np.ones((2, 2)),
        "corpus_matrix": np.ones((3, 2)),
        "query_ids": ["q", "r"],
        "corpus_ids": ["a", "b", "c"],
        "qrels": {"q": {"a": 1}, "r": {"b": 1}},
    }
    retrieval_scores_from_vectors(**arguments)
    with pytest.raises(ValueError, match=message):
        retrieval_scores_from_vectors(**{**arguments, **change})


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 1000]), st.booleans(), TIES)
def test_arrays_and_dictionary_of_their_scores_give_the_same(seed, levels, in_order, ties):
    rng = np.random.default_rng(seed)
    q, n, size = 6, int(rng.integers(1, 25)), 30
    documents = np.array([rng.permutation(size)[:n] for _ in range(q)])
    scores = rng.integers(0, levels, size=(q, n)) / 2
    if in_order:
        scores = -np.sort(-scores, axis=1)
    for i, length in enumerate(rng.integers(0, n + 1, q)):  # some found less, one maybe nothing
        documents[i, length:] = -1
        scores[i, length:] = rng.choice([np.nan, -np.inf, 9.0])
    judged = {
        i: {int(d): int(rng.integers(-1, 4)) for d in rng.permutation(size)[: rng.integers(1, 20)]}
        for i in range(q)
    }
    names, numbers = rng.permutation(size), list(map(str, range(size)))
    query_ids = [f"q{i}" for i in rng.permutation(q)]
    options = {"k": [1, 5], "measures": MEASURES, "ties": ties}

    def dictionaries(query_ids, corpus_ids):
        run = {
            query: {corpus_ids[d]: float(s) for d, s in zip(*row, strict=True) if d >= 0}
            for query, *row in zip(query_ids, documents, scores, strict=True)
        }
        qrels = {
            query_ids[i]: {corpus_ids[d]: grade for d, grade in grades.items()}
            for i, grades in judged.items()
        }
        return run, qrels

    triples = [(i, d, grade) for i, grades in judged.items() for d, grade in grades.items()]
    plain = retrieval_scores_from_arrays(scores, documents, rng.permutation(triples), **options)
    expected = retrieval_scores(*dictionaries(numbers[:q], numbers), **options)
    assert list(plain.index) == list(range(q))
    np.testing.assert_allclose(plain.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-12)

    corpus_ids = [f"d{name}" for name in names]
    run, qrels = dictionaries(query_ids, corpus_ids)
    named = retrieval_scores_from_arrays(
        scores, documents, qrels, query_ids=query_ids, corpus_ids=corpus_ids, **options
    )
    expected = retrieval_scores(run, qrels, **options)
    assert list(named.index) == query_ids
    np.testing.assert_allclose(named.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-12)


def test_thousands_of_rows_join_without_a_seam():
    rng = np.random.default_rng(0)
    documents = rng.permuted(np.tile(np.arange(30), (2500, 1)), axis=1)[:, :12]
    scores = np.where(rng.random((2500, 1)) < 0.5, -np.arange(12), rng.integers(0, 9, (2500, 12)))
    qrels = {
        f"q{i}": {str(d): int(rng.integers(0, 4)) for d in range(i % 20 + 1)} for i in range(2500)
    }
    ids = {"query_ids": list(qrels), "corpus_ids": list(map(str, range(30)))}
    run = {
        query: dict(zip(map(str, row), map(float, values), strict=True))
        for query, row, values in zip(qrels, documents, scores, strict=True)
    }
    ours = retrieval_scores_from_arrays(scores, documents, qrels, **ids)
    expected = retrieval_scores(run, qrels)
    np.testing.assert_allclose(ours.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-12)


def test_without_scores_the_order_of_the_columns_is_the_ranking():
    documents = np.array([[4, 2, 9], [9, 4, -1]])
    judgements = np.array([[0, 9, 1], [1, 4, 2], [1, 2, 1]])
    table = retrieval_scores_from_arrays(None, documents, judgements, 2, measures=MEASURES)
    assert table["mrr@2"].tolist() == [0, 1 / 2]
    assert table["recall@2"].tolist() == [0, 1 / 2]
    assert table["precision@2"].tolist() == [0, 1 / 2]
    assert table["map"].tolist() == pytest.approx([1 / 3, 1 / 4])
    assert table["r_precision"].tolist() == [0, 1 / 2]
    ideal = 2 / math.log2(2) + 1 / math.log2(3)
    assert table["ndcg@2"].tolist() == pytest.approx([0, 2 / math.log2(3) / ideal])


def test_what_an_index_returns_can_be_scored_as_it_is():
    from course_utils.retrieval.index import build_index

    rng = np.random.default_rng(0)
    corpus = {f"text {i}": vector for i, vector in enumerate(rng.standard_normal((40, 5)))}

    class Lookup:
        def encode(self, texts):
            return np.array([corpus[text] for text in texts], dtype=np.float32)

    index = build_index(Lookup(), {f"d{i}": text for i, text in enumerate(corpus)})
    queries = rng.standard_normal((3, 5))
    qrels = {f"q{i}": {f"d{d}": 1 for d in rng.permutation(40)[:4]} for i in range(3)}
    ids = {"query_ids": list(qrels), "corpus_ids": index.ids}
    ours = retrieval_scores_from_arrays(*index.search(queries, 40), qrels, **ids)
    expected = retrieval_scores_from_vectors(queries, index.matrix, *ids.values(), qrels)
    np.testing.assert_allclose(ours.to_numpy(), expected.to_numpy(), rtol=0, atol=1e-12)


def test_queries_without_judgements_are_left_out_of_arrays_with_a_warning():
    with pytest.warns(UserWarning, match=r"2 of the 3 queries of documents .* '0'"):
        table = retrieval_scores_from_arrays(None, [[1], [2], [3]], [[1, 2, 1]])
    assert table.index.tolist() == [1]
    assert table["mrr@10"].tolist() == [1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"documents": [[0, 1, 2], [2, 1, 2]]}, "Row 1 .* document 2 twice, in columns 0 and 2"),
        ({"documents": [[0, 1, 2], [2, -1, 1]]}, r"documents\[1, 2\] is 1"),
        ({"documents": [[0, 1, 2], [2, -2, -1]]}, r"documents\[1, 1\] is -2"),
        ({"documents": [[0, 1, 2], [2, 1, 3]], "corpus_ids": "abc"}, "Document 3 is ranked"),
        ({"documents": np.ones((2, 3))}, "dtype float64"),
        ({"documents": np.ones((0, 3), int)}, r"shape \(0, 3\)"),
        ({"documents": [0, 1, 2]}, r"shape \(3,\)"),
        ({"scores": [[3, 2, 1], [3, np.nan, 1]]}, r"scores\[1, 1\], of document 1 for query 1"),
        ({"scores": [[3, 2], [3, 2]]}, r"scores has shape \(2, 2\)"),
        ({"scores": [["3", "2", "1"]] * 2}, "dtype <U1"),
        ({"judgements": [[0, 1, 1], [2, 1, 1]]}, r"judgements\[1\] speaks of query 2"),
        ({"judgements": [[0, -1, 1]]}, "document -1"),
        (
            {"judgements": [[0, 1, 1], [1, 1, 1], [0, 1, 2]]},
            "Document 1 .* query 0, in rows 0 and 2",
        ),
        ({"judgements": [[0, 1, 0.5]]}, "dtype float64"),
        ({"judgements": [[0, 1]]}, r"shape \(1, 2\)"),
        ({"judgements": np.ones((0, 3), int)}, "judgements is empty"),
        ({"judgements": {"q": {"a": 1}}}, "give query_ids and corpus_ids"),
        ({"query_ids": ["q"]}, "2 rows and query_ids 1"),
        ({"query_ids": ["q", "q"]}, "query_ids holds 'q' twice"),
        ({"corpus_ids": ["a", "b", "a"]}, "corpus_ids holds 'a' twice, in rows 0 and 2"),
        ({"measures": ["dcg"]}, "measures holds 'dcg'"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(change, message):
    arguments = {
        "scores": [[3, 2, 1], [3, 2, 1]],
        "documents": [[0, 1, 2], [2, 1, 0]],
        "judgements": [[0, 1, 1], [1, 2, 1]],
    }
    retrieval_scores_from_arrays(**arguments)
    with pytest.raises(ValueError, match=message):
        retrieval_scores_from_arrays(**{**arguments, **change})


@pytest.mark.parametrize(
    ("qrels", "message"),
    [
        ({"q": {"z": 1}, "r": {"a": 1}}, "'z', relevant to query 'q'"),
        ({"q": {"a": 1}, "r": {"a": 1}, "s": {"a": 1}}, "'s' is judged in qrels but has no row"),
        ({"other": {"a": 1}}, "None of the queries of query_ids is judged"),
    ],
)
def test_dictionaries_of_other_ids_than_the_arrays_are_refused_by_name(qrels, message):
    with pytest.raises(ValueError, match=message):
        retrieval_scores_from_arrays(
            None, [[0, 1], [1, 0]], qrels, query_ids=["q", "r"], corpus_ids=["a", "b"]
        )
