"""Drift is found where there is some, and announced in error only as often as the level says."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import cdist

from course_utils.metrics import drift


def energy(x, y):
    """The definition, pair by pair."""
    return 2 * cdist(x, y).mean() - cdist(x, x).mean() - cdist(y, y).mean()


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.integers(2, 8), st.integers(1, 4), st.integers(0, 10**6))
def test_the_statistic_is_its_definition(n, m, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    assert drift(x, y, n_resamples=1).statistic == pytest.approx(energy(x, y), abs=1e-7)


def test_in_one_dimension_it_is_the_square_of_scipys():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=40), rng.normal(0.5, 2, size=30)
    found = drift(x[:, None], y[:, None], n_resamples=1)
    assert found.statistic == pytest.approx(stats.energy_distance(x, y) ** 2, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_p_value_comes_near_that_of_trying_every_split(seed):
    rng = np.random.default_rng(seed)
    together = np.concatenate([rng.normal(size=(4, 2)), rng.normal(0.8, 1, size=(5, 2))])
    rows = set(range(9))
    splits = [
        energy(together[list(chosen)], together[list(rows - set(chosen))])
        for chosen in itertools.combinations(range(9), 4)
    ]
    exact = np.mean(np.array(splits) >= energy(together[:4], together[4:]) - 1e-9)
    p = drift(together[:4], together[4:], n_resamples=4000).p_value
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 4000) + 1 / 4001


def test_false_alarms_are_as_rare_as_the_level_says():
    rng = np.random.default_rng(1)
    p = []
    for seed in range(500):
        x, y = rng.exponential(size=(30, 6)), rng.exponential(size=(20, 6))
        p.append(drift(x, y, n_resamples=99, seed=seed).p_value)
    assert 0.025 < np.mean(np.array(p) <= 0.05) < 0.08, "500 trials: 0.05 give or take 0.010"
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_a_shifted_mean_is_found():
    rng = np.random.default_rng(2)
    found = [
        drift(
            rng.normal(size=(60, 10)),
            rng.normal(size=(40, 10)) + 0.35,
            n_resamples=99,
            seed=seed,
        ).p_value
        for seed in range(40)
    ]
    assert np.mean(np.array(found) <= 0.05) > 0.9


def test_a_change_that_leaves_the_mean_alone_is_found():
    rng = np.random.default_rng(3)
    # Two topics on opposite sides have the mean of the one between them.
    sides = rng.choice([-1.5, 1.5], size=(60, 1)) * np.eye(8)[0]
    found = drift(rng.normal(size=(60, 8)), 0.5 * rng.normal(size=(60, 8)) + sides)
    assert found.p_value <= 0.01


def test_p_is_one_over_m_plus_one_where_no_split_comes_as_far_and_never_zero():
    rng = np.random.default_rng(4)
    x = rng.normal(size=(30, 3))
    assert drift(x, x + 50, n_resamples=199).p_value == 1 / 200


def test_vectors_that_are_all_alike_have_not_moved():
    same = np.ones((6, 4))
    found = drift(same, same[:3])
    assert (found.statistic, found.p_value) == (pytest.approx(0, abs=1e-12), 1)


def test_the_rows_least_like_the_reference_come_first():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(50, 7)), rng.normal(size=(20, 7))
    y[13] += 30
    y[4] += 10
    found = drift(x, y, n_resamples=1)
    nearest = cdist(y, x).min(axis=1)
    assert found.distances == pytest.approx(nearest)
    assert found.rows.tolist() == np.argsort(-nearest).tolist()
    assert found.rows[:2].tolist() == [13, 4]


def test_the_usual_distance_is_kept_by_nineteen_of_twenty_reference_vectors():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(101, 7))
    between = cdist(x, x) + np.diag(np.full(101, np.inf))
    usual = drift(x, x[:5], n_resamples=1).usual
    assert usual == pytest.approx(np.quantile(between.min(axis=1), 0.95))


def test_the_seed_decides():
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 15, 3))
    p = [drift(x, y, seed=seed).p_value for seed in (1, 1, 2)]
    assert p[0] == p[1] != p[2]


def test_which_set_is_called_the_reference_matters_only_for_the_rows():
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(12, 3)), rng.normal(size=(9, 3))
    assert drift(x, y).statistic == pytest.approx(drift(y, x).statistic)


def test_many_splits_are_tried_in_parts_with_nothing_lost(monkeypatch):
    from course_utils.metrics import energy as module

    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(10, 3)), rng.normal(0.7, 1, size=(10, 3))
    whole = drift(x, y, n_resamples=5000).p_value
    monkeypatch.setattr(module, "_CELLS", 20 * 64)
    parts = drift(x, y, n_resamples=5000).p_value
    assert parts == pytest.approx(whole, abs=0.02)
    assert parts * 5001 == pytest.approx(round(parts * 5001))


@pytest.mark.parametrize(
    ("reference", "today", "options", "message"),
    [
        (np.ones(3), np.ones((3, 3)), {}, r"reference has shape \(3,\)"),
        (np.ones((3, 3)), np.ones((1, 3)), {}, r"today has shape \(1, 3\)"),
        (np.ones((3, 3)), np.ones((3, 4)), {}, "reference has 3 dimensions and today 4"),
        (np.ones((2, 2)), [[0, 0], [0, np.nan]], {}, "today row 1 holds NaN"),
        (np.ones((2, 2)), np.ones((2, 2)), {"n_resamples": 0}, "n_resamples is 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, today, options, message):
    with pytest.raises(ValueError, match=message):
        drift(reference, today, **options)
