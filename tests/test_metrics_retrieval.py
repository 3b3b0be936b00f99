"""Retrieval scores: trec_eval's rules, shown against pytrec_eval and against plain Python."""

import math
import tracemalloc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.metrics import retrieval_scores, retrieval_scores_from_vectors

DOCUMENTS = [str(i) for i in range(14)] + ["é", "zz", "Z"]
# Few different scores, so that ties are common; two of them differ in double precision only.
SCORES = st.sampled_from([0.0, 0.5, 0.5 + 1e-12, 1.0, -2.0, 7.25]) | st.floats(-1, 1, width=32)
RUNS = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3", "q4"]),
    st.dictionaries(st.sampled_from(DOCUMENTS), SCORES, max_size=17),
    min_size=1,
)
QRELS = st.dictionaries(
    st.sampled_from(["q1", "q2", "q3", "q5"]),
    st.dictionaries(
        st.sampled_from([*DOCUMENTS, "never retrieved"]), st.integers(-1, 4), min_size=1
    ),
    min_size=1,
)


def plain(run, qrels, k):
    """The definitions, written as loops over one sorted list per query."""
    table = {}
    for query, judged in qrels.items():
        scored = run.get(query, {})
        ranking = sorted(scored, key=lambda d: (float(np.float32(scored[d])), d), reverse=True)
        relevant = {d: g for d, g in judged.items() if g >= 1}
        mrr, found, precisions, dcg = 0.0, 0, 0.0, 0.0
        for rank, document in enumerate(ranking, start=1):
            if document not in relevant:
                continue
            found += 1
            precisions += found / rank
            if rank <= k:
                mrr = mrr or 1 / rank
                dcg += relevant[document] / math.log2(rank + 1)
        grades = sorted(relevant.values(), reverse=True)[:k]
        ideal = sum(g / math.log2(i + 2) for i, g in enumerate(grades))
        count = len(relevant)
        within = len(relevant.keys() & set(ranking[:k]))
        table[query] = (
            [mrr, within / count, precisions / count, dcg / ideal] if count else [0.0] * 4
        )
    return table


def scores_of(run, qrels, k):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return retrieval_scores(run, qrels, k)


@settings(max_examples=300, deadline=None)
@given(RUNS, QRELS, st.integers(1, 12))
def test_scores_are_those_of_plain_loops_over_a_sorted_list(run, qrels, k):
    if not run.keys() & qrels.keys():
        return
    scores = scores_of(run, qrels, k)
    expected = plain(run, qrels, k)
    assert list(scores.index) == list(qrels)
    np.testing.assert_allclose(scores.to_numpy(), list(expected.values()), atol=1e-12)


@settings(max_examples=500, deadline=None)
@given(RUNS, QRELS, st.sampled_from([1, 5, 10]))
def test_scores_are_those_of_trec_eval(run, qrels, k):
    pytrec_eval = pytest.importorskip(
        "pytrec_eval", reason="needs pytrec-eval-terrier, the reference for retrieval scores"
    )
    if not run.keys() & qrels.keys():
        return
    scores = scores_of(run, qrels, k)
    names = {f"recall_{k}": f"recall@{k}", "map": "map", f"ndcg_cut_{k}": f"ndcg@{k}"}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {*names, "recip_rank"}).evaluate(run)
    for query, ours in scores.iterrows():
        # pytrec_eval leaves unanswered queries out; trec_eval -c counts them as 0.
        reference = theirs.get(query, dict.fromkeys([*names, "recip_rank"], 0.0))
        for measure, name in names.items():
            assert ours[name] == pytest.approx(reference[measure], abs=1e-9)
        # trec_eval's reciprocal rank knows no cut-off: 1/rank below 1/k is beyond rank k.
        reciprocal = reference["recip_rank"]
        expected = reciprocal if reciprocal >= 1 / k - 1e-12 else 0.0
        assert ours[f"mrr@{k}"] == pytest.approx(expected, abs=1e-9)


def test_a_worked_example():
    run = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
    qrels = {"q": {"b": 3, "d": 1, "e": 2, "a": 0}}
    row = retrieval_scores(run, qrels, k=3).loc["q"]
    assert row["mrr@3"] == 1 / 2
    assert row["recall@3"] == 1 / 3
    assert row["map"] == pytest.approx((1 / 2 + 2 / 4) / 3)
    ideal = 3 / math.log2(2) + 2 / math.log2(3) + 1 / math.log2(4)
    assert row["ndcg@3"] == pytest.approx(3 / math.log2(3) / ideal)


def test_a_constant_scorer_gets_no_more_than_its_ids_earn():
    run = {"q": dict.fromkeys(["d1", "d2", "d3"], 0.0)}
    assert retrieval_scores(run, {"q": {"d1": 1}}).loc["q", "mrr@10"] == pytest.approx(1 / 3)
    assert retrieval_scores(run, {"q": {"d3": 1}}).loc["q", "mrr@10"] == 1


@pytest.mark.parametrize("answer", [{}, {"unanswered": {}}])
def test_an_unanswered_query_scores_zero_and_stays(answer):
    run = {"q": {"d": 1.0}, **answer}
    scores = retrieval_scores(run, {"q": {"d": 1}, "unanswered": {"d": 1}})
    assert scores.loc["unanswered"].tolist() == [0, 0, 0, 0]
    assert scores["mrr@10"].mean() == 0.5


def test_unjudged_queries_are_left_out_with_a_warning():
    with pytest.warns(UserWarning, match=r"1 of the 2 queries of the run .* 'extra'"):
        scores = retrieval_scores({"q": {"d": 1.0}, "extra": {"d": 1.0}}, {"q": {"d": 1}})
    assert list(scores.index) == ["q"]


@pytest.mark.parametrize(
    ("run", "qrels", "k", "message"),
    [
        ({}, {"q": {"d": 1}}, 10, "The run is empty"),
        ({"q": {"d": 1.0}}, {}, 10, "qrels is empty"),
        ({"q": {"d": 1.0}}, {"q": {}}, 10, "'q' has no judgements"),
        ({"other": {"d": 1.0}}, {"q": {"d": 1}}, 10, "'other'.*'q'"),
        ({"q": {"a": 1.0, "d": math.nan}}, {"q": {"d": 1}}, 10, "'d' for query 'q' is NaN"),
        ({"q": {"d": None}}, {"q": {"d": 1}}, 10, "'d' for query 'q' is None"),
        ({"q": {"d": "0.5"}}, {"q": {"d": 1}}, 10, "'d' for query 'q' is '0.5'"),
        ({"q": {3: 1.0}}, {"q": {"d": 1}}, 10, "id 3 in the run of query 'q'"),
        ({"q": {"d": 1.0}}, {"q": {3: 1}}, 10, "id 3 in qrels"),
        ({"q": {"d": 1.0}}, {7: {"d": 1}}, 10, "id 7 in qrels"),
        ({"q": {"d": 1.0}}, {"q": {"d": 0.5}}, 10, r"\['d'\] is 0.5"),
        ({"q": {"d": 1.0}}, {"q": {"d": 1}}, 0, "k is 0"),
        ({"q": {"d": 1.0}}, {"q": {"d": 1}}, 2.5, "k is 2.5"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(run, qrels, k, message):
    with pytest.raises(ValueError, match=message):
        retrieval_scores(run, qrels, k)


def test_infinite_scores_have_their_place():
    run = {"q": {"a": -math.inf, "b": 1e300, "c": 0.0}}
    assert retrieval_scores(run, {"q": {"b": 1}}).loc["q", "mrr@10"] == 1
    assert retrieval_scores(run, {"q": {"a": 1}}).loc["q", "mrr@10"] == pytest.approx(1 / 3)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4), st.sampled_from([None, 1, 3]))
def test_vectors_and_dictionary_of_their_scores_give_the_same(seed, spread, chunk_size):
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
    products = queries @ corpus.T
    run = {
        query: dict(zip(corpus_ids, map(float, row), strict=True))
        for query, row in zip(query_ids, products, strict=True)
    }
    ours = retrieval_scores_from_vectors(
        queries, corpus, query_ids, corpus_ids, qrels, 5, chunk_size=chunk_size
    )
    expected = retrieval_scores(run, qrels, 5)
    assert list(ours.index) == list(expected.index)
    np.testing.assert_array_equal(ours.to_numpy(), expected.to_numpy())


def test_blocks_of_queries_join_without_a_seam():
    rng = np.random.default_rng(0)
    run, qrels = {}, {}
    for i in range(2500):
        documents = [str(d) for d in rng.permutation(30)[:12]]
        run[f"q{i}"] = dict(zip(documents, rng.random(12), strict=True))
        qrels[f"q{i}"] = {str(d): int(g) for d, g in enumerate(rng.integers(0, 3, 1 + i % 20))}
    expected = list(plain(run, qrels, 10).values())
    np.testing.assert_allclose(retrieval_scores(run, qrels).to_numpy(), expected, atol=1e-12)


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
