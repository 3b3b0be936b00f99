"""Retrieval scores: trec_eval's rules, shown against pytrec_eval and against plain Python."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.metrics.rank_measures import MEASURES
from course_utils.metrics.retrieval import retrieval_scores

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


TREC = {  # trec_eval's names; its reciprocal rank knows no cut-off
    "recall": "recall_{}",
    "precision": "P_{}",
    "success": "success_{}",
    "ndcg": "ndcg_cut_{}",
    "map": "map",
    "r_precision": "Rprec",
    "mrr": "recip_rank",
}


def plain(ranking, judged, k):
    """The definitions, written as one loop over a sorted list: the values in the order of MEASURES."""
    relevant = {document: grade for document, grade in judged.items() if grade >= 1}
    mrr, found, precisions, dcg, within, within_r = 0.0, 0, 0.0, 0.0, 0, 0
    for rank, document in enumerate(ranking, start=1):
        if document not in relevant:
            continue
        found += 1
        precisions += found / rank
        within_r += rank <= len(relevant)
        if rank <= k:
            within += 1
            mrr = mrr or 1 / rank
            dcg += relevant[document] / math.log2(rank + 1)
    grades = sorted(relevant.values(), reverse=True)[:k]
    ideal = sum(g / math.log2(i + 2) for i, g in enumerate(grades)) or 1.0
    count = len(relevant) or 1
    values = {
        "mrr": mrr,
        "recall": within / count,
        "precision": within / k,
        "success": float(within > 0),
        "ndcg": dcg / ideal,
        "map": precisions / count,
        "r_precision": within_r / count,
    }
    return [values[measure] for measure in MEASURES]


def by_trec_eval(scored):
    return sorted(scored, key=lambda d: (float(np.float32(scored[d])), d), reverse=True)


def scores_of(run, qrels, k, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return retrieval_scores(run, qrels, k, measures=MEASURES, **options)


def check_against_trec_eval(run, qrels, cutoffs):
    """Assert that all measures of all queries are pytrec_eval's to 1e-9."""
    pytrec_eval = pytest.importorskip(
        "pytrec_eval", reason="needs pytrec-eval-terrier, the reference for retrieval scores"
    )
    scores = scores_of(run, qrels, cutoffs)
    wanted = {name.format(k) for name in TREC.values() for k in cutoffs}
    # pytrec_eval leaves unanswered queries out; trec_eval -c counts them as 0.
    absent = dict.fromkeys(wanted, 0.0)
    found = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    theirs = [found.get(query, absent) for query in qrels]
    for column in scores.columns:
        measure, _, k = column.partition("@")
        expected = np.array([values[TREC[measure].format(k)] for values in theirs])
        if measure == "mrr":  # below 1/k is beyond rank k
            expected = np.where(expected >= 1 / int(k) - 1e-12, expected, 0.0)
        np.testing.assert_allclose(scores[column], expected, rtol=0, atol=1e-9, err_msg=column)


@settings(max_examples=300, deadline=None)
@given(RUNS, QRELS, st.integers(1, 12))
def test_scores_are_those_of_plain_loops_over_a_sorted_list(run, qrels, k):
    if not run.keys() & qrels.keys():
        return
    scores = scores_of(run, qrels, k)
    expected = [
        plain(by_trec_eval(run.get(query, {})), judged, k) for query, judged in qrels.items()
    ]
    assert list(scores.index) == list(qrels)
    np.testing.assert_allclose(scores.to_numpy(), expected, atol=1e-12)


@settings(max_examples=500, deadline=None)
@given(RUNS, QRELS, st.lists(st.integers(1, 20), min_size=1, max_size=3, unique=True))
def test_scores_are_those_of_trec_eval(run, qrels, cutoffs):
    if run.keys() & qrels.keys():
        check_against_trec_eval(run, qrels, cutoffs)


def test_5000_random_runs_score_as_in_trec_eval():
    rng = np.random.default_rng(0)
    run, qrels = {}, {}
    for i in range(5000):
        names = [f"d{j}" for j in rng.permutation(60)]
        levels = rng.choice([1, 3, 10, 1000])  # from all tied to hardly any ties
        for query in [f"run {i}, query {j}" for j in range(3)]:
            # Some documents are found and not judged, some judged and not found.
            found = rng.choice(names, rng.integers(0, 41), replace=False).tolist()
            judged = rng.choice(names, rng.integers(1, 16), replace=False).tolist()
            scores = rng.integers(0, levels, len(found)) / levels
            run[query] = dict(zip(found, scores.tolist(), strict=True))
            qrels[query] = dict(zip(judged, rng.integers(-1, 5, len(judged)).tolist(), strict=True))
    check_against_trec_eval(run, qrels, [1, 3, 5, 10, 100])


def all_orders(scored):
    """Every ranking of ``{document: score}`` that its ties allow."""
    levels = sorted(set(scored.values()), reverse=True)
    groups = [[d for d, score in scored.items() if score == level] for level in levels]
    for orders in itertools.product(*map(itertools.permutations, groups)):
        yield [document for order in orders for document in order]


FEW = [f"d{i}" for i in range(6)]


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(FEW), st.sampled_from([0.0, 1.0]), min_size=1),
    st.dictionaries(st.sampled_from([*FEW, "absent"]), st.integers(0, 3), min_size=1),
    st.integers(1, 8),
)
def test_expected_ties_give_the_mean_over_all_orders(scored, judged, k):
    scores = scores_of({"q": scored}, {"q": judged}, k, ties="expected")
    expected = np.mean([plain(order, judged, k) for order in all_orders(scored)], axis=0)
    np.testing.assert_allclose(scores.loc["q"], expected, rtol=0, atol=1e-12)


def test_expected_ties_of_a_long_list_are_the_mean_of_random_orders():
    rng = np.random.default_rng(0)
    names = [f"d{i}" for i in range(400)]
    scored = dict(zip(names, rng.integers(0, 4, 400).tolist(), strict=True))
    judged = {name: int(rng.integers(1, 4)) for name in rng.choice(names, 30, replace=False)}
    draws = []
    for _ in range(3000):
        luck = dict(zip(names, rng.random(400), strict=True))
        order = sorted(names, key=lambda name: (scored[name], luck[name]), reverse=True)
        draws.append(plain(order, judged, 20))
    values = scores_of({"q": scored}, {"q": judged}, 20, ties="expected").loc["q"].to_numpy()
    error = np.std(draws, axis=0) / math.sqrt(len(draws))
    assert (np.abs(np.mean(draws, axis=0) - values) <= 4 * error + 1e-12).all()


def test_expected_ties_of_a_hundred_thousand_equal_scores_are_exact():
    # Of n tied documents one is relevant: it stands at each rank with probability 1/n.
    n, k = 100_000, 1000
    run = {"q": dict.fromkeys((f"d{i}" for i in range(n)), 0.5)}
    row = scores_of(run, {"q": {"d7": 1}}, k, ties="expected").loc["q"]
    reciprocals = [1 / i for i in range(1, n + 1)]
    assert row["map"] == pytest.approx(math.fsum(reciprocals) / n, abs=1e-12)
    assert row[f"mrr@{k}"] == pytest.approx(math.fsum(reciprocals[:k]) / n, abs=1e-12)
    assert row[f"success@{k}"] == pytest.approx(k / n, abs=1e-12)
    discounts = math.fsum(1 / math.log2(i + 1) for i in range(1, k + 1))
    assert row[f"ndcg@{k}"] == pytest.approx(discounts / n, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(RUNS, QRELS, st.randoms(use_true_random=False))
def test_expected_ties_leave_the_names_of_documents_without_a_say(run, qrels, random):
    if not run.keys() & qrels.keys():
        return
    names = [*DOCUMENTS, "never retrieved"]
    other = dict(zip(names, random.sample(names, len(names)), strict=True))
    run_2, qrels_2 = (
        {query: {other[d]: value for d, value in values.items()} for query, values in table.items()}
        for table in (run, qrels)
    )
    first, second = (scores_of(*x, 5, ties="expected") for x in ((run, qrels), (run_2, qrels_2)))
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-12)


def test_without_ties_both_rules_are_one():
    rng = np.random.default_rng(0)
    run = {"q": {f"d{i}": float(score) for i, score in enumerate(rng.permutation(50))}}
    qrels = {"q": {f"d{i}": int(grade) for i, grade in enumerate(rng.integers(0, 4, 60))}}
    by_id, expected = (scores_of(run, qrels, 10, ties=t) for t in ("trec_eval", "expected"))
    np.testing.assert_array_equal(by_id.to_numpy(), expected.to_numpy())


def test_columns_are_the_measures_in_the_order_asked_for():
    run, qrels = {"q": {"d": 1.0}}, {"q": {"d": 1}}
    assert list(retrieval_scores(run, qrels).columns) == ["mrr@10", "recall@10", "map", "ndcg@10"]
    table = retrieval_scores(run, qrels, (5, 1), measures=["map", "success", "r_precision"])
    assert list(table.columns) == ["map", "success@5", "success@1", "r_precision"]
    assert list(retrieval_scores(run, qrels, 3, measures="ndcg").columns) == ["ndcg@3"]


def test_a_worked_example():
    run = {"q": {"a": 4.0, "b": 3.0, "c": 2.0, "d": 1.0}}
    qrels = {"q": {"b": 3, "d": 1, "e": 2, "a": 0}}
    row = scores_of(run, qrels, 3).loc["q"]
    assert row["mrr@3"] == 1 / 2
    assert row["precision@3"] == 1 / 3
    assert row["success@3"] == 1
    assert row["r_precision"] == 1 / 3
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
        ({"q": {"d": 1.0}}, {"q": {"d": 1}}, [1, True], "k is True"),
        ({"q": {"d": 1.0}}, {"q": {"d": 1}}, [5, 1, 5], "k holds 5 twice"),
        ({"q": {"d": 1.0}}, {"q": {"d": 1}}, [], "k is empty"),
        ({"q": {"d": math.nan}}, {"q": {"d": 0}}, 10, "'d' for query 'q' is NaN"),
    ],
)
def test_what_cannot_be_scored_is_refused_by_name(run, qrels, k, message):
    with pytest.raises(ValueError, match=message):
        retrieval_scores(run, qrels, k)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"measures": ["map", "bleu"]}, "measures holds 'bleu'. Known are: mrr, recall"),
        ({"measures": ["map", "map"]}, "measures holds 'map' twice"),
        ({"measures": []}, "measures is empty"),
        ({"ties": "random"}, "ties is 'random'"),
    ],
)
def test_unknown_options_are_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        retrieval_scores({"q": {"d": 1.0}}, {"q": {"d": 1}}, **options)


def test_infinite_scores_have_their_place():
    run = {"q": {"a": -math.inf, "b": 1e300, "c": 0.0}}
    assert retrieval_scores(run, {"q": {"b": 1}}).loc["q", "mrr@10"] == 1
    assert retrieval_scores(run, {"q": {"a": 1}}).loc["q", "mrr@10"] == pytest.approx(1 / 3)
