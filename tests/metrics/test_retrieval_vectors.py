"""Retrieval scores from vectors: the same as from the dictionaries that they stand for."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.metrics.rank_measures import MEASURES
from course_utils.metrics.retrieval import retrieval_scores, retrieval_scores_from_vectors

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
        (
            {"corpus_matrix": [[1, 2], [3, np.nan], [1, 1]]},
            r"corpus_matrix row 1 \('b'\) holds NaN",
        ),
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
