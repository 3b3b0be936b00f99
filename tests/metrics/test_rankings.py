"""What a search found is scored as what a model ranked, and compared with it."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.data.tasks import RetrievalTask
from course_utils.metrics import (
    Evaluation,
    compare,
    compare_many,
    evaluate,
    evaluate_hits,
    retrieval_scores,
)
from course_utils.retrieval import KeywordIndex, fuse, search

DOCUMENTS = ["d1", "d2", "d3", "d4", "10", "9"]
QUERIES = {"q1": "cat", "q2": "cat dog", "q3": "bird"}
TASK = RetrievalTask(
    "toy",
    {
        "d1": "a cat sat",
        "d2": "dog and cat",
        "d3": "a bird",
        "d4": "fish",
        "10": "birds",
        "9": "dogs",
    },
    QUERIES,
    {"q1": {"d1": 2, "d2": 1}, "q2": {"d2": 1, "d3": -1}, "q3": {"10": 1}},
)
FOUND = st.lists(
    st.dictionaries(st.sampled_from(DOCUMENTS), st.sampled_from([0.0, 0.5, 2.5, -1.0])),
    min_size=3,
    max_size=3,
)


class Letters:
    """An embedder without a model: counts of letters."""

    name = "letters"
    fingerprint = "letters"

    def encode(self, texts):
        return np.array([[text.count(letter) for letter in "abcdfgirst"] for text in texts]) + 0.01


def hit(name, score):
    return SimpleNamespace(id=name, score=score)


def lists(found):
    return [[hit(*item) for item in scores.items()] for scores in found]


@given(FOUND, st.sampled_from(["trec_eval", "expected"]), st.sampled_from([1, 3, [2, 5]]))
@settings(max_examples=60, deadline=None)
def test_hits_are_scored_by_the_rules_of_retrieval_scores(found, ties, k):
    measures = ["mrr", "success", "map", "ndcg"]
    made = evaluate_hits(lists(found), TASK, name="x", k=k, measures=measures, ties=ties)
    run = dict(zip(QUERIES, found, strict=True))
    expected = retrieval_scores(run, TASK.qrels, k, measures=measures, ties=ties)
    pd.testing.assert_frame_equal(made.scores, expected)


@given(FOUND)
@settings(max_examples=30, deadline=None)
def test_hits_are_scored_as_trec_eval_does(found):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    made = evaluate_hits(lists(found), TASK, name="x", measures="map").scores["map"]
    run = {query: scores for query, scores in zip(QUERIES, found, strict=True) if scores}
    library = pytrec_eval.RelevanceEvaluator(TASK.qrels, {"map"}).evaluate(run)
    expected = [library.get(query, {"map": 0.0})["map"] for query in QUERIES]
    assert made.tolist() == pytest.approx(expected)


def test_a_whole_ranking_scores_what_the_model_scores_and_is_about_the_same_task():
    model = Letters()
    found = search(model, list(QUERIES.values()), TASK.corpus, k=len(TASK.corpus))
    made, direct = evaluate_hits(found, TASK, name="search"), evaluate(model, TASK)
    pd.testing.assert_frame_equal(made.scores, direct.scores)
    assert (made.task, made.kind, made.content) == (direct.task, direct.kind, direct.content)
    assert (made.embedder, made.fingerprint) == ("search", None)
    comparison = compare(direct, made)
    assert (comparison.table["difference"] == 0).all()
    assert comparison.content == direct.content


def test_words_a_model_and_their_fusion_stand_on_one_leaderboard():
    queries = list(QUERIES.values())
    worded = KeywordIndex(TASK.corpus).search(queries, 6)
    fused = fuse([worded, search(Letters(), queries, TASK.corpus, k=6)])
    board = compare_many(
        [
            evaluate(Letters(), TASK),
            evaluate_hits(worded, TASK, name="words"),
            evaluate_hits(fused, TASK, name="both"),
        ],
        metric="map",
    )
    assert set(board.table.index) == {"letters", "words", "both"}


def test_what_is_in_no_list_was_not_found():
    found = [[hit("d1", 2.0)], [], [hit("d3", 1.0), hit("10", 0.5)]]
    scores = evaluate_hits(found, TASK, name="x", measures=["recall", "map"]).scores
    # q1: one of two relevant documents, at rank 1; q2: nothing; q3: the only one, at rank 2.
    assert scores["recall@10"].tolist() == [0.5, 0, 1]
    assert scores["map"].tolist() == [0.5, 0, 0.5]


def test_finding_nothing_at_all_scores_nothing():
    scores = evaluate_hits([[], [], []], TASK, name="x").scores
    assert list(scores.index) == list(QUERIES)
    assert (scores == 0).all(axis=None)


def test_the_scores_decide_and_not_the_order_in_the_list():
    best = [hit("d1", 3.0), hit("d2", 2.0), hit("d4", 1.0)]
    backwards = evaluate_hits([best[::-1], [], []], TASK, name="x")
    pd.testing.assert_frame_equal(
        backwards.scores, evaluate_hits([best, [], []], TASK, name="x").scores
    )


def test_evaluations_by_another_rule_for_ties_are_told_apart():
    found = [[hit("d1", 1.0)], [], []]
    one, other = (evaluate_hits(found, TASK, name="x", ties=t) for t in ("trec_eval", "expected"))
    with pytest.raises(ValueError, match="judgements"):
        compare(one, other)


def test_an_evaluation_of_hits_survives_a_file(tmp_path):
    made = evaluate_hits([[hit("d1", 1.0)], [], []], TASK, name="words")
    loaded = Evaluation.load(made.save(tmp_path / "words.jsonl"))
    pd.testing.assert_frame_equal(loaded.scores, made.scores)
    assert loaded.content == made.content


def test_lists_that_are_not_one_for_each_query_are_refused():
    with pytest.raises(ValueError, match="2 lists of hits for the 3 queries of 'toy'"):
        evaluate_hits([[], []], TASK, name="x")


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([hit("d7", 1.0)], "'d7' for query 'q2' is no document of 'toy'"),
        ([hit("d1", 1.0), hit("d1", 0.5)], "query 'q2' name document 'd1' twice"),
        ([hit("d1", math.nan)], "'d1' for query 'q2' is nan"),
        ([hit("d1", -math.inf)], "'d1' for query 'q2' is -inf"),
        ([hit("d1", "high")], "'d1' for query 'q2' is 'high'"),
    ],
)
def test_hits_that_cannot_be_scored_are_named(found, message):
    with pytest.raises(ValueError, match=message):
        evaluate_hits([[], found, []], TASK, name="x")


def test_options_are_checked_as_for_retrieval_scores():
    with pytest.raises(ValueError, match="Known are"):
        evaluate_hits([[], [], []], TASK, name="x", measures="accuracy")
