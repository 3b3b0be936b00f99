"""Joining rankings: what the formulas give in fractions, and what no joining may change."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import Hit, KeywordIndex, build_index, fuse, search

METHODS = pytest.mark.parametrize("method", ["ranks", "scores"])


def hits(*found):
    """A ranking of ("id", score) pairs."""
    return [Hit(name, float(s), f"text {name}", rank) for rank, (name, s) in enumerate(found, 1)]


@st.composite
def rankings(draw, least=2):
    """Lists of hits over few ids, with scores whose differences are exact."""
    result = []
    for _ in range(draw(st.integers(least, 4))):
        names = draw(st.permutations("abcdefg"))[: draw(st.integers(0, 7))]
        scores = sorted(draw(st.lists(st.integers(-64, 64), min_size=7, max_size=7)))[::-1]
        result.append(hits(*zip(names, scores, strict=False)))
    return result


def expected(lists, weights, points):
    """The sum of the weighted points, in fractions; ties by the first rank, then by id."""
    scores, first = {}, {}
    for ranking, weight in zip(lists, weights, strict=True):
        for place in range(len(ranking)):
            name = ranking[place].id
            scores[name] = scores.get(name, 0) + Fraction(weight) * points(ranking, place)
            first.setdefault(name, place)
    order = sorted(scores, key=lambda name: (-scores[name], first[name], name))
    return [(name, scores[name]) for name in order]


def by_rank(ranking, place):
    return Fraction(1, 60 + place + 1)


def by_score(ranking, place):
    scores = [Fraction(hit.score) for hit in ranking]
    if min(scores) == max(scores):
        return Fraction(1)
    return (scores[place] - min(scores)) / (max(scores) - min(scores))


@given(rankings(least=1), st.lists(st.integers(1, 5), min_size=4, max_size=4))
@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize(("method", "points"), [("ranks", by_rank), ("scores", by_score)])
def test_the_joint_score_is_the_weighted_sum_of_points(method, points, lists, weights):
    weights = weights[: len(lists)]
    found = fuse(lists, method=method, weights=weights)
    wanted = dict(expected(lists, weights, points))
    assert {hit.id: hit.score for hit in found} == pytest.approx(
        {name: float(score) for name, score in wanted.items()}, abs=1e-12
    )
    assert [hit.rank for hit in found] == list(range(1, len(found) + 1))
    assert all(hit.text == f"text {hit.id}" for hit in found)
    # In the order of the exact sums, but where rounding makes two of them one or one of them two.
    exact = [float(wanted[hit.id]) for hit in found]
    assert exact == pytest.approx(sorted(exact, reverse=True), abs=1e-12)


def test_what_cormack_and_others_wrote_on_two_lists():
    found = fuse([hits(("a", 9), ("b", 8), ("c", 7)), hits(("c", 3), ("a", 2))])
    assert [(hit.id, hit.score) for hit in found] == [
        ("a", pytest.approx(1 / 61 + 1 / 62)),
        ("c", pytest.approx(1 / 63 + 1 / 61)),
        ("b", pytest.approx(1 / 62)),
    ]


@given(rankings(), st.randoms(use_true_random=False))
@settings(deadline=None)
@METHODS
def test_with_equal_weights_the_order_of_the_rankings_changes_no_score(method, lists, random):
    shuffled = random.sample(lists, len(lists))
    before, after = (
        {hit.id: hit.score for hit in fuse(some, method=method)} for some in (lists, shuffled)
    )
    assert after == before


@given(rankings(least=1), st.integers(1, 4))
@settings(deadline=None)
@METHODS
def test_a_ranking_fused_with_itself_keeps_its_order(method, lists, times):
    found = fuse([lists[0]] * times, method=method)
    assert [hit.id for hit in found] == [hit.id for hit in lists[0]]


@given(rankings(), st.integers(-1000, 1000), st.sampled_from([0.25, 1, 8]))
@settings(deadline=None)
def test_another_scale_of_the_scores_changes_nothing(lists, constant, factor):
    changed = [[replace(hit, score=factor * hit.score + constant) for hit in r] for r in lists]
    assert fuse(changed, method="scores") == fuse(lists, method="scores")
    assert fuse(changed) == fuse(lists)


@given(rankings(), st.sampled_from([0.5, 2, 4]))
@settings(deadline=None)
@METHODS
def test_only_the_proportions_of_the_weights_matter_for_the_order(method, lists, factor):
    weights = [1.0, 3.0, 2.0, 5.0][: len(lists)]
    before = fuse(lists, method=method, weights=weights)
    after = fuse(lists, method=method, weights=[factor * weight for weight in weights])
    assert [replace(hit, score=hit.score / factor) for hit in after] == before


@given(rankings())
@settings(deadline=None)
@METHODS
def test_a_weight_of_zero_leaves_a_ranking_out(method, lists):
    weights = [1.0] * (len(lists) - 1)
    assert fuse(lists, method=method, weights=[*weights, 0]) == fuse(lists[:-1], method=method)


@given(rankings(), st.integers(1, 8))
@settings(deadline=None)
def test_k_keeps_the_first_k(lists, k):
    assert fuse(lists, k=k) == fuse(lists)[:k]


@given(st.lists(rankings().map(lambda lists: lists[:2]), min_size=1, max_size=4))
@settings(deadline=None)
def test_several_queries_are_joined_one_by_one(queries):
    found = fuse([[lists[0] for lists in queries], [lists[1] for lists in queries]])
    assert found == [fuse(lists) for lists in queries]


def test_of_equal_scores_the_better_first_rank_wins_then_the_lower_id():
    one, other = hits(("x", 2), ("b", 1)), hits(("b", 2), ("x", 1))
    assert [hit.id for hit in fuse([one, other])] == ["x", "b"]
    assert [hit.id for hit in fuse([other, one])] == ["b", "x"]
    assert [hit.id for hit in fuse([hits(("x", 1)), hits(("b", 1))])] == ["b", "x"]


def test_a_search_that_found_nothing_adds_nothing():
    found = hits(("a", 2), ("b", 1))
    assert [hit.id for hit in fuse([found, []])] == ["a", "b"]
    assert [hit.id for hit in fuse([[], found], method="scores")] == ["a", "b"]
    assert fuse([[], []]) == []
    assert fuse([[[], found], [[], []]]) == [[], fuse([found])]


def test_a_larger_constant_lets_the_first_place_count_for_less():
    first, second = (hits((name, 4), ("x" + name, 3), ("b", 2)) for name in "ac")
    assert fuse([first, second], constant=0)[0].id == "a"
    assert fuse([first, second], constant=60)[0].id == "b"


def test_words_and_meaning_are_joined_over_one_corpus():
    class Lengths:
        def encode(self, texts):
            return [[len(text), 1.0] for text in texts]

    corpus = {"short": "key", "long": "the key to the boiler room", "other": "dogs are welcome"}
    queries = ["key", "boiler"]
    worded = KeywordIndex(corpus).search(queries)
    found = fuse([search(Lengths(), queries, build_index(Lengths(), corpus)), worded])
    assert [len(each) for each in found] == [3, 3]
    assert all(hit.text == corpus[hit.id] for each in found for hit in each)


def test_what_cannot_be_joined_is_refused():
    found = hits(("a", 2), ("b", 1))
    with pytest.raises(ValueError, match="no rankings"):
        fuse([])
    with pytest.raises(TypeError, match=r"rankings\[0\] is a Hit"):
        fuse(found)
    with pytest.raises(TypeError, match="holds a str, not a Hit"):
        fuse([["ab"], ["cd"]])
    with pytest.raises(ValueError, match="2, 1 queries"):
        fuse([[found, found], [found]])
    with pytest.raises(ValueError, match="some of several"):
        fuse([found, [found]])
    with pytest.raises(ValueError, match="id 'a' twice"):
        fuse([found + found[:1], found])
    with pytest.raises(ValueError, match="'a' stands for two texts"):
        fuse([found, [replace(found[0], text="another")]])
    with pytest.raises(ValueError, match="score of 'a' is nan"):
        fuse([found, [replace(found[0], score=float("nan"))]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": [1]}, "1 weights for 2 rankings"),
        ({"weights": [1, -1]}, "at least 0"),
        ({"weights": [0, 0]}, "one of them above 0"),
        ({"weights": [1, float("nan")]}, "at least 0"),
        ({"method": "votes"}, "ranks, scores"),
        ({"constant": -1}, "constant is -1"),
        ({"constant": float("inf")}, "constant is inf"),
        ({"k": 0}, "at least 1"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    found = hits(("a", 2), ("b", 1))
    with pytest.raises(ValueError, match=message):
        fuse([found, found], **options)
