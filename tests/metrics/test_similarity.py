"""Correlations agree with their formulas; the test of a difference with trying every swap."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from course_utils.metrics import paired_spearman_test, spearman, spearman_interval


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=20))
def test_spearman_is_the_correlation_of_mean_ranks(pairs):
    a, b = np.array(pairs, dtype=float).T
    if len(set(a)) == 1 or len(set(b)) == 1:
        return
    ranks = [[sum(x < y for x in v) + sum(x == y for x in v) / 2 for y in v] for v in (a, b)]
    assert spearman(a, b) == pytest.approx(np.corrcoef(ranks)[0, 1], abs=1e-12)


def test_only_the_order_counts():
    a, b = np.arange(1.0, 8), np.array([3.0, 1, 2, 7, 5, 4, 6])
    assert spearman(a, np.exp(b)) == pytest.approx(spearman(a, b))


@pytest.mark.parametrize("correlation", [spearman, spearman_interval])
@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([1, 2, 3], [0.5, 0.5, 0.5], "b is constant: all 3 scores are 0.5.*0/0"),
        ([1, 2, 3], [1, 2], r"shape \(3,\) and b \(2,\)"),
        ([1, 2], [2, 1], "two points always lie on a line"),
        ([1, 2, np.nan], [1, 2, 3], r"a\[2\] is nan"),
        ([1, 2, 4], [1, np.inf, 3], r"b\[1\] is inf"),
    ],
)
def test_lists_without_a_correlation_are_refused(correlation, a, b, message):
    with pytest.raises(ValueError, match=message):
        correlation(a, b)


def test_intervals_are_close_to_fishers_on_normal_data():
    rng = np.random.default_rng(3)
    a = rng.standard_normal(800)
    b = a + rng.standard_normal(800)
    found = spearman(a, b)
    # Fisher's z, with the variance of Bonett and Wright (2000) for Spearman's correlation.
    half = 1.96 * np.sqrt((1 + found**2 / 2) / 797)
    expected = np.tanh(np.arctanh(found) + np.array([-half, half]))
    assert spearman_interval(a, b, n_resamples=1000) == pytest.approx(expected, abs=0.012)


def test_intervals_are_quantiles_of_the_correlation_of_redrawn_pairs():
    rng = np.random.default_rng(4)
    a = rng.integers(0, 4, 12).astype(float)
    b = a + rng.integers(0, 4, 12)
    draws = np.random.default_rng(7).integers(0, 12, size=(300, 12))
    expected = np.quantile([spearman(a[rows], b[rows]) for rows in draws], [0.1, 0.9])
    interval = spearman_interval(a, b, confidence=0.8, n_resamples=300, seed=7)
    assert interval == pytest.approx(expected, abs=1e-12)


def test_draws_without_a_correlation_are_left_out():
    # Of 27 draws of 3 pairs, 3 are one pair three times: 0/0.
    low, high = spearman_interval([0.1, 0.2, 0.3], [0.3, 0.7, 0.9], n_resamples=500)
    assert 0.9 < low <= high < 1 + 1e-12


def test_interval_is_reproduced_by_its_seed():
    a, b = np.random.default_rng(0).random((2, 30))
    one, again, other = (spearman_interval(a, b, seed=s, n_resamples=200) for s in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize(
    ("options", "message"), [({"confidence": 95}, "confidence is 95"), ({"n_resamples": 0}, "is 0")]
)
def test_options_out_of_range_are_refused(options, message):
    a, b = np.random.default_rng(0).random((2, 30))
    for call in (
        lambda: spearman_interval(a, b, **options),
        lambda: paired_spearman_test(a, a, b, **options),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_one_number_of_resamples_is_that_of_draws_and_of_swaps():
    human, a, b = np.random.default_rng(1).random((3, 40))
    test = paired_spearman_test(human, a, b, n_resamples=300, seed=7)
    assert (test.permutations, test.exact) == (300, False)
    draws = np.random.default_rng(7).integers(0, 40, size=(300, 40))
    differences = [spearman(human[r], b[r]) - spearman(human[r], a[r]) for r in draws]
    assert (test.low, test.high) == pytest.approx(np.quantile(differences, [0.025, 0.975]))


@pytest.mark.parametrize("seed", range(5))
def test_p_value_of_a_difference_is_that_of_trying_every_swap(seed):
    rng = np.random.default_rng(seed)
    human, a, b = rng.integers(0, 6, size=(3, 7)).astype(float)
    ranks_a, ranks_b = stats.rankdata(a), stats.rankdata(b)
    ranks_human = stats.rankdata(human)

    def difference(swap):
        first, second = np.where(swap, ranks_b, ranks_a), np.where(swap, ranks_a, ranks_b)
        return np.corrcoef(ranks_human, second)[0, 1] - np.corrcoef(ranks_human, first)[0, 1]

    all_swaps = [difference(np.array(s)) for s in itertools.product([False, True], repeat=7)]
    observed = spearman(human, b) - spearman(human, a)
    expected = np.mean(np.abs(all_swaps) >= abs(observed) - 1e-12)
    test = paired_spearman_test(human, a, b)
    assert test.exact
    assert test.n == 7
    assert test.difference == pytest.approx(observed, abs=1e-12)
    assert test.p_value == pytest.approx(expected, abs=1e-12)
    drawn = paired_spearman_test(human, a, b, n_resamples=99)
    assert drawn.p_value == pytest.approx(expected, abs=0.2)


def test_a_better_model_is_found_better_and_a_copy_is_not():
    rng = np.random.default_rng(0)
    human = rng.standard_normal(300)
    poor, good = human + 3 * rng.standard_normal(300), human + rng.standard_normal(300)
    test = paired_spearman_test(human, poor, good)
    assert 0 < test.low < test.difference < test.high
    assert test.p_value == 1 / 10_000
    same = paired_spearman_test(human, poor, poor * 2)
    assert (same.difference, same.low, same.high, same.p_value) == (0, 0, 0, 1)
