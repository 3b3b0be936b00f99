"""Intervals cover what they promise; p values are those of trying every sign, and never 0."""

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course_utils.metrics import bootstrap_interval, paired_test

SCORES = st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0])


def every_flip(difference):
    means = [
        np.mean(np.array(signs) * difference)
        for signs in itertools.product([1, -1], repeat=len(difference))
    ]
    return np.mean(np.abs(means) >= abs(np.mean(difference)) - 1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=9))
def test_p_value_is_that_of_trying_every_flip(pairs):
    a, b = np.array(pairs).T
    test = paired_test(a, b)
    assert test.exact
    assert test.p_value == pytest.approx(every_flip(b - a), abs=1e-12)
    assert test.difference == pytest.approx(np.mean(b) - np.mean(a), abs=1e-12)
    assert test.n == len(pairs)


def test_exact_p_value_is_scipys():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 12))
    reference = stats.permutation_test(
        (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf
    )
    assert paired_test(a, b).p_value == pytest.approx(reference.pvalue, abs=1e-12)


def test_random_flips_come_near_all_flips():
    rng = np.random.default_rng(1)
    a = rng.random(13)
    b = a + 0.15 * rng.standard_normal(13) + 0.05
    drawn, exact = paired_test(a, b, n_resamples=4000), paired_test(a, b)
    assert (drawn.exact, drawn.permutations, exact.exact, exact.permutations) == (
        False,
        4000,
        True,
        2**13,
    )
    error = np.sqrt(exact.p_value * (1 - exact.p_value) / 4000)
    assert abs(drawn.p_value - exact.p_value) < 4 * error + 1 / 4001


def test_p_is_one_over_m_plus_one_where_no_flip_comes_as_far_and_never_zero():
    a = np.zeros(50)
    test = paired_test(a, a + 1, n_resamples=999)
    assert test.p_value == 1 / 1000
    assert (test.low, test.difference, test.high) == (1, 1, 1)


def test_equal_scores_are_no_evidence():
    test = paired_test([0.2, 0.4, 0.9], [0.2, 0.4, 0.9])
    assert (test.difference, test.p_value, test.exact) == (0, 1, True)


def test_items_that_do_not_differ_leave_the_p_value_alone():
    rng = np.random.default_rng(2)
    a, b = rng.random((2, 8))
    padded = paired_test(np.r_[a, np.full(500, 0.3)], np.r_[b, np.full(500, 0.3)])
    assert padded.exact
    assert padded.p_value == pytest.approx(paired_test(a, b).p_value)


def test_swapping_the_systems_turns_the_sign_and_keeps_the_p_value():
    rng = np.random.default_rng(3)
    a, b = rng.random((2, 12))
    one, other = paired_test(a, b), paired_test(b, a)
    assert one.p_value == other.p_value
    assert one.difference == -other.difference


@pytest.mark.parametrize(("n", "n_resamples"), [(11, 9999), (40, 199)])
def test_p_values_under_the_null_are_uniform(n, n_resamples):
    rng = np.random.default_rng(4)
    scores = rng.exponential(size=(600, 2, n))  # skewed, as retrieval scores are
    p = np.array(
        [
            paired_test(a, b, n_resamples=n_resamples, seed=i).p_value
            for i, (a, b) in enumerate(scores)
        ]
    )
    assert p.min() > 0
    assert stats.kstest(p, "uniform").pvalue > 0.01
    assert 0.03 < (p <= 0.05).mean() < 0.075, "600 trials: 0.05 give or take 0.009"


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_covers_the_mean_as_often_as_it_says(method):
    rng = np.random.default_rng(5)
    covered = 0
    for i in range(400):
        low, high = bootstrap_interval(
            rng.normal(0.3, 1, size=60), n_resamples=400, method=method, seed=i
        )
        covered += low <= 0.3 <= high
    assert 0.91 < covered / 400 < 0.98, "400 trials: 0.95 give or take 0.011"


def test_interval_of_a_mean_is_close_to_students_on_many_values():
    values = np.random.default_rng(6).beta(0.5, 1, size=2000)
    reference = stats.t.interval(0.9, 1999, loc=values.mean(), scale=stats.sem(values))
    for method in ("percentile", "bca"):
        interval = bootstrap_interval(values, confidence=0.9, method=method, n_resamples=4000)
        assert interval == pytest.approx(reference, abs=0.05 * (reference[1] - reference[0]))


def test_bca_moves_towards_the_long_tail():
    values = np.random.default_rng(7).exponential(size=40) ** 2
    percentile, bca = (bootstrap_interval(values, method=m) for m in ("percentile", "bca"))
    assert bca.low > percentile.low
    assert bca.high > percentile.high


def test_any_statistic_can_be_resampled():
    values = np.random.default_rng(8).exponential(size=101)
    low, high = bootstrap_interval(values, statistic=np.median)
    assert low <= np.median(values) <= high < values.mean() + 1
    assert bootstrap_interval(values, statistic=lambda v: float(np.median(v))) == pytest.approx(
        (low, high)
    )


def test_the_seed_decides_and_is_no_global_state():
    values = np.random.default_rng(9).random(30)
    np.random.seed(0)  # noqa: NPY002
    one = bootstrap_interval(values, seed=1)
    np.random.seed(1)  # noqa: NPY002
    assert bootstrap_interval(values, seed=1) == one
    assert bootstrap_interval(values, seed=2) != one


def test_equal_values_give_an_interval_of_no_width():
    for method in ("percentile", "bca"):
        assert bootstrap_interval([0.25] * 9, method=method) == (0.25, 0.25)


@pytest.mark.parametrize(
    "resample",
    [
        lambda: bootstrap_interval(np.random.default_rng(0).random(20_000)),
        lambda: paired_test(*np.random.default_rng(0).random((2, 20_000))),
    ],
    ids=["bootstrap", "flips"],
)
def test_memory_does_not_grow_with_items_times_resamples(resample):
    tracemalloc.start()
    resample()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 160 * 2**20, "20,000 items x 2,000 draws of 8 bytes would take 320 MB"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([0.5], {}, "holds 1 number"),
        ([], {}, r"shape \(0,\)"),
        ([[1, 2], [3, 4]], {}, r"shape \(2, 2\)"),
        ([0.1, np.nan], {}, r"values\[1\] is nan"),
        ([0.1, 0.2], {"confidence": 95}, "confidence is 95"),
        ([0.1, 0.2], {"n_resamples": 0}, "n_resamples is 0"),
        ([0.1, 0.2], {"method": "basic"}, "method is 'basic'"),
        ([0.0] * 9 + [1.0], {"method": "bca", "statistic": np.median}, "bca interval .* undefined"),
    ],
)
def test_what_has_no_interval_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)


def test_unequal_lengths_and_nan_are_refused_by_name():
    with pytest.raises(ValueError, match="a holds 3 scores and b 2"):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match=r"b\[0\] is nan"):
        paired_test([1, 2], [np.nan, 2])


def test_the_effect_size_is_the_mean_over_the_standard_deviation_of_the_differences():
    rng = np.random.default_rng(10)
    a, b = rng.random((2, 30))
    t = stats.ttest_rel(b, a).statistic  # d_z times the root of n
    assert paired_test(a, b).effect_size == pytest.approx(t / np.sqrt(30))
    assert paired_test(b, a).effect_size == pytest.approx(-t / np.sqrt(30))
    twice = paired_test(np.r_[a, a], np.r_[b, b])
    assert twice.effect_size == pytest.approx(paired_test(a, b).effect_size, rel=0.02)
    assert twice.p_value < paired_test(a, b).p_value
    assert paired_test([0.5, 0.5], [1.0, 1.0]).effect_size == np.inf
    assert paired_test([0.5, 0.5], [0.5, 0.5]).effect_size == 0


def test_the_interval_of_a_difference_is_that_of_the_items_differences_by_either_method():
    a, b = np.random.default_rng(11).exponential(size=(2, 40))
    for method in ("percentile", "bca"):
        test = paired_test(a, b, method=method, seed=2)
        assert (test.low, test.high) == bootstrap_interval(b - a, method=method, seed=2)


def test_one_number_of_resamples_is_that_of_flips_and_of_draws():
    a, b = np.random.default_rng(15).random((2, 40))
    test = paired_test(a, b, n_resamples=300, seed=2)
    assert (test.permutations, test.exact) == (300, False)
    assert (test.low, test.high) == bootstrap_interval(b - a, n_resamples=300, seed=2)
    usual = paired_test(a, b, seed=2)
    assert usual.permutations == 9999
    assert (usual.low, usual.high) == bootstrap_interval(b - a, n_resamples=2000, seed=2)
    with pytest.raises(ValueError, match="n_resamples is 0"):
        paired_test(a, b, n_resamples=0)


@pytest.mark.parametrize("method", ["percentile", "bca"])
@pytest.mark.parametrize("statistic", [np.mean, np.median])
def test_identical_items_within_clusters_tell_as_much_as_one_of_each(method, statistic):
    values = np.random.default_rng(12).exponential(size=31)
    options = {"statistic": statistic, "method": method, "n_resamples": 400}
    alone = bootstrap_interval(values, **options)
    repeated, clusters = np.repeat(values, 4), np.repeat(np.arange(31), 4)
    assert bootstrap_interval(repeated, clusters=clusters, **options) == pytest.approx(alone)
    low, high = bootstrap_interval(repeated, **{**options, "method": "percentile"})
    assert high - low < 0.8 * (alone.high - alone.low), "four times the items, all the same"


def test_a_paired_test_of_identical_items_within_clusters_is_that_of_the_clusters():
    a, b = np.random.default_rng(13).random((2, 9))
    alone = paired_test(a, b)
    labels = [name for name in "abcdefghi" for _ in range(3)]
    test = paired_test(np.repeat(a, 3), np.repeat(b, 3), clusters=labels)
    assert (test.n, test.clusters, test.exact) == (27, 9, True)
    assert test.p_value == alone.p_value
    assert (test.low, test.high) == pytest.approx((alone.low, alone.high))
    assert test.difference == pytest.approx(alone.difference)


def test_clusters_of_one_item_change_nothing():
    a, b = np.random.default_rng(14).random((2, 25))
    plain, single = paired_test(a, b), paired_test(a, b, clusters=range(25))
    assert single.p_value == plain.p_value
    assert (single.low, single.high) == pytest.approx((plain.low, plain.high))


def test_differences_of_a_cluster_change_sign_together():
    difference = np.array([0.4, -0.1, 0.3, 0.2, 0.25, -0.05])
    clusters = ["x", "x", "y", "z", "z", "z"]
    sums = np.array([0.3, 0.3, 0.4])
    expected = every_flip(sums)
    test = paired_test(np.zeros(6), difference, clusters=clusters)
    assert test.p_value == pytest.approx(expected)
    assert test.permutations == 8


def test_unequal_clusters_bring_all_their_items_to_every_draw():
    values, clusters = np.array([1.0, 1.0, 1.0, 0.0]), [7, 7, 7, 8]
    # Redrawing two clusters gives the means 1, 3/4 and 0, the outer ones each one time in four.
    assert bootstrap_interval(values, clusters=clusters) == (0, 1)
    assert bootstrap_interval(values, clusters=clusters, confidence=0.4) == (0.75, 0.75)
    assert bootstrap_interval(
        values, clusters=clusters, confidence=0.4, statistic=lambda v: v.mean()
    ) == (0.75, 0.75)


def test_clusters_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="clusters holds 2 labels for 3 items"):
        bootstrap_interval([0.1, 0.2, 0.3], clusters=["x", "y"])
    with pytest.raises(ValueError, match="the one label 'x'"):
        paired_test([0.1, 0.2, 0.3], [0.2, 0.2, 0.2], clusters=["x", "x", "x"])
