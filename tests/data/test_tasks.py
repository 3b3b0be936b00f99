"""A task refuses what would later turn into a wrong number, and says which item it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.data import (
    AssociationTest,
    ClusteringTask,
    RetrievalTask,
    SimilarityTask,
    Source,
    load_task,
    load_texts,
)

CORPUS = {f"d{i}": f"text {i}" for i in range(40)}
QUERIES = {f"q{i}": f"query {i}" for i in range(12)}
QRELS = {f"q{i}": {f"d{i}": 1, f"d{i + 12}": 0} for i in range(12)}


def retrieval(**changes):
    parts = {"corpus": CORPUS, "queries": QUERIES, "qrels": QRELS, **changes}
    return RetrievalTask("toy", **parts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"corpus": {**CORPUS, "d3": None}}, r"corpus\['d3'\] is None"),
        ({"corpus": {**CORPUS, 7: "text"}}, "the id 7 in corpus is not a string"),
        ({"corpus": ["text"]}, "corpus is a list"),
        ({"queries": {}}, "queries is empty"),
        ({"queries": {**QUERIES, "q3": ""}}, r"queries\['q3'\] is empty"),
        ({"queries": {**QUERIES, "extra": "x"}}, "'extra' has no judgements"),
        ({"qrels": {**QRELS, "nobody": {"d1": 1}}}, "'nobody', which is not in queries"),
        ({"qrels": {**QRELS, "q3": {"d99": 1}}}, "'d99', which is not in the corpus"),
        ({"qrels": {**QRELS, "q3": {}}}, "'q3' has no document of grade 1"),
        ({"qrels": {**QRELS, "q3": {"d1": 0}}}, "'q3' has no document of grade 1"),
        ({"qrels": {**QRELS, "q3": {"d1": -1}}}, "'q3' has no document of grade 1"),
        ({"qrels": {**QRELS, "q3": {"d1": 0.5}}}, r"qrels\['q3'\]\['d1'\] is 0.5"),
        ({"qrels": {**QRELS, "q3": {"d1": True}}}, r"qrels\['q3'\]\['d1'\] is True"),
    ],
)
def test_a_retrieval_task_names_the_item_that_is_wrong(changes, message):
    with pytest.raises(ValueError, match=message):
        retrieval(**changes)


def test_a_grade_below_0_and_a_blank_document_are_taken():
    task = retrieval(
        corpus={**CORPUS, "d3": " "}, qrels={**QRELS, "q3": {"d1": -1, "d2": np.int64(3)}}
    )
    assert task.corpus["d3"] == " "
    assert task.qrels["q3"] == {"d1": -1, "d2": 3}


def test_tasks_own_what_they_hold():
    corpus, queries = dict(CORPUS), dict(QUERIES)
    qrels = {query: dict(judged) for query, judged in QRELS.items()}
    counts = {"documents": 40}
    task = RetrievalTask("toy", corpus, queries, qrels, Source("s", "1", "MIT", "nobody", counts))
    corpus["d0"], queries["q0"], counts["documents"] = "changed", "changed", 1
    qrels["q0"]["d0"] = 9
    qrels.pop("q1")
    assert (task.corpus, task.queries, task.qrels) == (CORPUS, QUERIES, QRELS)
    assert task.source.counts == {"documents": 40}
    (part, _), small = task.split(3), task.sample(queries=3)
    for smaller in (part, small):
        assert not any(smaller.qrels[query] is task.qrels[query] for query in smaller.qrels)
        assert smaller.corpus is not task.corpus

    texts, labels = ["a cat", "a dog", "a car"], ["animal", "animal", "thing"]
    groups = ClusteringTask("toy", texts, labels)
    pairs, scores = [("a", "b"), ("c", "d")], np.array([1.0, 2.0])
    alike = SimilarityTask("toy", pairs, scores)
    sets = [["rose"], ["wasp"], ["lovely"], ["nasty"]]
    test = AssociationTest("toy", *sets)
    for mine in (texts, labels, pairs, *sets):
        mine.clear()
    scores[0] = 9
    assert (groups.texts, groups.labels[2]) == (["a cat", "a dog", "a car"], "thing")
    assert (alike.pairs, alike.scores.tolist()) == ([("a", "b"), ("c", "d")], [1.0, 2.0])
    assert (test.X, test.Y, test.A, test.B) == (["rose"], ["wasp"], ["lovely"], ["nasty"])


def test_a_grade_may_be_a_numpy_integer():
    assert retrieval(qrels={**QRELS, "q3": {"d1": np.int64(2)}}).qrels["q3"]["d1"] == 2


@given(
    queries=st.integers(1, 15), room=st.integers(0, 40), seed=st.integers(0, 5), full=st.booleans()
)
def test_a_sample_keeps_every_judged_document(queries, room, seed, full):
    task = retrieval()
    kept = min(queries, len(QUERIES))
    size = None if full else 2 * kept + room
    small = task.sample(queries=queries, corpus=size, seed=seed)
    assert len(small.queries) == kept
    assert len(small.corpus) == (40 if full else min(size, 40))
    assert all(small.qrels[q] == QRELS[q] for q in small.queries)
    assert list(small.corpus) == [d for d in CORPUS if d in small.corpus]
    assert small == task.sample(queries=queries, corpus=size, seed=seed)


def test_a_larger_sample_contains_a_smaller_one_and_seeds_differ():
    task = retrieval()
    three, six = (set(task.sample(queries=n).queries) for n in (3, 6))
    assert three < six
    assert len({frozenset(task.sample(queries=6, seed=s).queries) for s in range(8)}) > 1


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 5))
def test_a_split_puts_every_query_into_one_part_with_its_judgements(first, second, seed):
    task = retrieval()
    parts = task.split(first, second, seed=seed)
    assert [len(part.queries) for part in parts] == [first, second, 12 - first - second]
    assert {q: t for part in parts for q, t in part.queries.items()} == task.queries
    assert {q: j for part in parts for q, j in part.qrels.items()} == task.qrels
    assert all(part.corpus == task.corpus for part in parts)
    assert parts == task.split(first, second, seed=seed)
    assert parts[0] == task.split(first, seed=seed)[0]


@pytest.mark.parametrize("sizes", [(), (0,), (12,), (13,), (6, 6), (4, -1)])
def test_a_split_leaves_no_part_empty(sizes):
    with pytest.raises(ValueError, match="every part, and the rest, needs one or more"):
        retrieval().split(*sizes)


def test_a_sample_refuses_impossible_sizes():
    with pytest.raises(ValueError, match="judged against 24 documents, more than corpus=5"):
        retrieval().sample(corpus=5)
    groups = ClusteringTask("toy", ["a", "b"], ["x", "y"])
    for size in (0, -1):
        with pytest.raises(ValueError, match=rf"sample\(queries={size}\): ask for at least 1"):
            retrieval().sample(queries=size)
        with pytest.raises(ValueError, match=rf"sample\(corpus={size}\): ask for at least 1"):
            retrieval().sample(queries=1, corpus=size)
        with pytest.raises(ValueError, match=rf"sample\(texts={size}\): ask for at least 1"):
            groups.sample(size)


@pytest.mark.parametrize(
    ("pairs", "scores", "message"),
    [
        ([("a", "b")], [1.0, 2.0], "1 pairs but scores of shape"),
        ([], [], "no pairs"),
        ([("a", "b"), ("a", "")], [1, 2], r"pairs\[1\]\[1\] is empty"),
        ([("a", "b"), "ab"], [1, 2], r"pairs\[1\] is 'ab'"),
        ([("a", "b"), ("c", "d")], [1, float("nan")], r"scores\[1\] is nan"),
        ([("a", "b"), ("c", "d")], [float("inf"), 1], r"scores\[0\] is inf"),
    ],
)
def test_a_similarity_task_names_the_pair_that_is_wrong(pairs, scores, message):
    with pytest.raises(ValueError, match=message):
        SimilarityTask("toy", pairs, scores)


def test_scores_are_float64_and_cannot_be_changed():
    given_scores = np.array([1, 2])
    task = SimilarityTask("toy", [("a", "b"), ("c", "d")], given_scores)
    assert task.scores.dtype == np.float64
    given_scores[0] = 9
    assert task.scores[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        task.scores[0] = 5


@pytest.mark.parametrize(
    ("texts", "labels", "message"),
    [
        (["a"], ["x", "y"], "1 texts but 2 labels"),
        (["a", ""], ["x", "y"], r"texts\[1\] is empty"),
        (["a", "b"], ["x", 3], r"labels\[1\] is 3"),
        (["a", "b"], ["x", "x"], "1 different labels"),
    ],
)
def test_a_clustering_task_names_the_text_that_is_wrong(texts, labels, message):
    with pytest.raises(ValueError, match=message):
        ClusteringTask("toy", texts, labels)


def test_a_clustering_sample_keeps_texts_with_their_labels():
    texts = [f"text {i}" for i in range(30)]
    small = ClusteringTask("toy", texts, [f"label {i % 5}" for i in range(30)]).sample(12)
    assert len(small.texts) == 12
    for text, label in zip(small.texts, small.labels, strict=True):
        assert label == f"label {int(text.split()[1]) % 5}"


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ((["a"], ["b"], ["c"], []), "B is empty"),
        ((["a"], ["b"], "cd", ["e"]), "A is one string"),
        ((["a", "a"], ["b"], ["c"], ["d"]), r"X\[1\], 'a', occurs twice"),
        ((["a"], ["a"], ["c"], ["d"]), "'a' is in both X and Y"),
        ((["a"], ["b"], ["c"], ["c"]), "'c' is in both A and B"),
    ],
)
def test_an_association_test_names_the_set_that_is_wrong(sets, message):
    with pytest.raises(ValueError, match=message):
        AssociationTest("toy", *sets)


def test_tasks_are_frozen_and_shown_in_one_line():
    task = retrieval(source=Source("s", "1", "MIT", "nobody"))
    assert repr(task) == task.describe()
    assert repr(task) == "RetrievalTask 'toy': 12 queries, 40 documents, 24 relevance judgements"
    with pytest.raises(AttributeError):
        task.name = "other"


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"no task called 'medcal'.*medical/no-shared-word"):
        load_task("medcal")
    with pytest.raises(ValueError, match=r"no set of texts called 'lee'.*legal"):
        load_texts("lee")
