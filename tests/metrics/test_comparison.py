"""A gate says exactly what it saw; a leaderboard adjusts for every pair it tests."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from course_utils.metrics import (
    Comparison,
    Evaluation,
    bootstrap_interval,
    compare,
    compare_many,
    holm,
    paired_spearman_test,
    paired_test,
    spearman,
)


def scored(name, values, **columns):
    index = pd.Index([f"q{i}" for i in range(len(values))], name="query")
    return Evaluation("toy", "retrieval", name, pd.DataFrame({"map": values, **columns}, index))


def pair(gain, n=60, seed=0):
    """An old and a new system; the new one gains ``gain`` on the mean, give or take 0.03."""
    rng = np.random.default_rng(seed)
    old = rng.random(n)
    return scored("old", old), scored("new", old + gain + 0.2 * rng.standard_normal(n))


def compared(low, high):
    row = {"mean_a": 0.5, "mean_b": 0.5 + (low + high) / 2, "difference": (low + high) / 2}
    row |= {"low": low, "high": high, "p_value": 0.5, "n": 40, "over": "queries"}
    return Comparison("toy", "retrieval", "old", "new", pd.DataFrame([row], index=["map"]))


@pytest.mark.parametrize(
    ("low", "high", "worse", "not_worse"),
    [
        (-0.09, -0.03, True, False),  # all of the interval beyond the margin
        (-0.09, -0.02, False, False),  # just touching it
        (-0.09, 0.04, False, False),  # too wide to say
        (-0.02, 0.04, False, False),
        (-0.01, 0.04, False, True),
        (-0.015, -0.005, False, True),  # surely worse, and surely not by as much as the margin
    ],
)
def test_verdicts_follow_from_where_the_interval_lies(low, high, worse, not_worse):
    comparison = compared(low, high)
    assert bool(comparison.worse_than(0.02, metric="map")) is worse
    assert bool(comparison.not_worse_than(0.02, metric="map")) is not_worse


def test_the_message_names_metric_difference_interval_and_number_of_items():
    comparison = compared(-0.09, -0.03)
    assert str(comparison.worse_than(0.02)) == (
        "map of b (new) is worse than that of a (old) by more than 0.02: difference -0.0600, "
        "95 % interval -0.0900 to -0.0300, 40 queries."
    )
    assert "map of b (new) may be worse than" in comparison.not_worse_than(0.02).message
    assert "is not shown to be worse than" in comparison.worse_than(0.05).message
    assert "is not worse than" in comparison.not_worse_than(0.1).message


def test_a_regression_is_caught_and_a_gain_is_let_through():
    assert compare(*pair(-0.3)).worse_than(0.05)
    assert not compare(*pair(0.3)).worse_than(0.05)
    assert compare(*pair(0.3)).not_worse_than(0.05)


def test_few_queries_show_nothing_either_way():
    comparison = compare(*pair(-0.06, n=6, seed=1))
    assert not comparison.worse_than(0.05)
    assert not comparison.not_worse_than(0.05)


def test_the_gate_stops_a_system_exactly_at_the_margin_one_time_in_forty():
    stopped = 0
    for seed in range(250):
        values = np.random.default_rng(seed).standard_normal(80)
        difference = compare(scored("old", np.zeros(80)), scored("new", values - 0.1), seed=seed)
        stopped += bool(difference.worse_than(0.1))
    assert 0.005 <= stopped / 250 <= 0.05, "250 trials: 0.025 give or take 0.01"


def test_gates_ask_for_a_metric_and_a_sensible_margin():
    a, b = pair(0.1)
    two = compare(scored("a", [0.1, 0.2], mrr=[1, 0]), scored("b", [0.1, 0.3], mrr=[0, 1]))
    with pytest.raises(ValueError, match=r"No metric is given.*map, mrr"):
        two.worse_than(0.1)
    with pytest.raises(ValueError, match=r"no metric 'ndcg'.*map, mrr"):
        two.not_worse_than(0.1, metric="ndcg")
    for margin in (-0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="margin is"):
            compare(a, b).worse_than(margin)


def test_one_number_of_resamples_reaches_the_flips_and_every_bootstrap():
    a, b = pair(0.1)
    test = paired_test(a.scores["map"], b.scores["map"], n_resamples=99)
    row = compare(a, b, n_resamples=99).table.loc["map"]
    assert (row["low"], row["high"], row["p_value"]) == (test.low, test.high, test.p_value)
    board = compare_many([a, b], n_resamples=99)
    assert (board.pairs["low"].item(), board.pairs["p_value"].item()) in {
        (test.low, test.p_value),
        (-test.high, test.p_value),
    }
    ends = tuple(board.table.loc["old", ["low", "high"]])
    assert ends == bootstrap_interval(a.scores["map"], n_resamples=99)


def test_intervals_of_another_width_are_said_to_be_so():
    comparison = compare(*pair(-0.3), confidence=0.9)
    assert "90 % interval" in comparison.worse_than(0).message


def test_a_saved_comparison_comes_back_with_its_provenance(tmp_path):
    a, b = pair(0.1)
    a = Evaluation(**{**vars(a), "fingerprint": "f00", "versions": {"numpy": "2.0"}})
    comparison = compare(a, b)
    again = Comparison.load(comparison.save(tmp_path / "gate.jsonl"))
    pd.testing.assert_frame_equal(again.table, comparison.table)
    assert again.fingerprints == {"a": "f00", "b": None}
    assert again.versions == {"a": {"numpy": "2.0"}, "b": {}}
    assert repr(again.worse_than(0.1)) == repr(comparison.worse_than(0.1))
    with pytest.raises(ValueError, match=r"gate\.jsonl:1: this is no saved evaluation"):
        Evaluation.load(tmp_path / "gate.jsonl")


def family(gains=(0.0, 0.3, 0.02, 0.32, -0.4), n=40, seed=2):
    rng = np.random.default_rng(seed)
    base = rng.random(n)
    return [
        scored(f"m{i}", base + gain + 0.15 * rng.standard_normal(n)) for i, gain in enumerate(gains)
    ]


def test_a_leaderboard_ranks_by_mean_with_each_models_interval():
    evaluations = family()
    table = compare_many(evaluations, seed=4).table
    means = {e.embedder: e.scores["map"].mean() for e in evaluations}
    assert list(table.index) == sorted(means, key=means.get, reverse=True)
    for evaluation in evaluations:
        row = table.loc[evaluation.embedder]
        assert row["mean"] == pytest.approx(means[evaluation.embedder])
        assert (row["low"], row["high"]) == bootstrap_interval(evaluation.scores["map"], seed=4)


def test_every_pair_is_tested_and_adjusted_for_all_of_them():
    evaluations = {e.embedder: e for e in family()}
    board = compare_many(evaluations.values())
    assert {frozenset(p) for p in zip(board.pairs["a"], board.pairs["b"], strict=True)} == {
        frozenset(p) for p in combinations(evaluations, 2)
    }
    tests = [
        paired_test(evaluations[a].scores["map"], evaluations[b].scores["map"])
        for a, b in zip(board.pairs["a"], board.pairs["b"], strict=True)
    ]
    adjusted = holm([test.p_value for test in tests])
    for row, test, p_holm in zip(board.pairs.itertuples(), tests, adjusted, strict=True):
        assert (row.difference, row.low, row.high) == (test.difference, test.low, test.high)
        assert (row.p_value, row.effect_size) == (test.p_value, test.effect_size)
        assert row.difference >= 0, "the better one is b"
        assert row.p_holm == p_holm
        assert board.table.loc[row.a, f"p vs {row.b}"] == p_holm
        assert board.table.loc[row.b, f"p vs {row.a}"] == p_holm


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_models_share_a_letter_exactly_when_their_adjusted_p_value_is_too_large(confidence):
    board = compare_many(family(gains=(0, 0.06, 0.1, 0.16, 0.2, 0.5)), confidence=confidence)
    letters = board.table["letters"]
    shared = [bool(set(letters[r.a]) & set(letters[r.b])) for r in board.pairs.itertuples()]
    assert shared == [p > round(1 - confidence, 10) for p in board.pairs["p_holm"]]
    assert set(shared) == {True, False}
    assert f"{100 * confidence:g} %" in repr(board)
    assert "letters" in board._repr_html_()


def test_a_leaderboard_of_correlations_tests_correlations():
    rng = np.random.default_rng(3)
    human = rng.integers(0, 6, 80).astype(float)
    cosines = {
        f"m{i}": human + noise * rng.standard_normal(80) for i, noise in enumerate((1, 9, 2))
    }
    evaluations = [
        Evaluation("pairs", "similarity", name, pd.DataFrame({"human": human, "cosine": cosine}))
        for name, cosine in cosines.items()
    ]
    board = compare_many(evaluations)
    assert board.metric == "spearman"
    assert list(board.table.index) == ["m0", "m2", "m1"]
    assert board.table.loc["m2", "mean"] == spearman(human, cosines["m2"])
    row = board.pairs.set_index(["a", "b"]).loc[("m1", "m0")]
    assert row["p_value"] == paired_spearman_test(human, cosines["m1"], cosines["m0"]).p_value
    assert np.isnan(row["effect_size"])


def test_a_leaderboard_of_clusters_flips_whole_clusters():
    evaluations = family()
    clusters = {f"q{i}": i // 4 for i in range(40)}
    board = compare_many(evaluations, clusters=clusters)
    row = board.pairs.iloc[0]
    a, b = (next(e for e in evaluations if e.embedder == row[side]) for side in "ab")
    test = paired_test(a.scores["map"], b.scores["map"], clusters=list(clusters.values()))
    assert (row["p_value"], row["low"], row["high"]) == (test.p_value, test.low, test.high)
    first = evaluations[0]
    expected = bootstrap_interval(first.scores["map"], clusters=list(clusters.values()))
    assert tuple(board.table.loc[first.embedder, ["low", "high"]]) == expected


def test_what_makes_no_leaderboard_is_refused():
    a, b = pair(0.1)
    with pytest.raises(ValueError, match="There are 1 evaluations"):
        compare_many([a])
    with pytest.raises(ValueError, match="Two evaluations are called 'old'"):
        compare_many([a, b, a])
    with pytest.raises(ValueError, match="no metric 'mrr'"):
        compare_many([a, b], "mrr")
    with pytest.raises(ValueError, match="a scores the item 'q59'"):
        compare_many([a, scored("short", b.scores["map"].to_numpy()[:59])])
