"""What intervals and tests promise, held against many test sets drawn from known populations."""

import numpy as np
import pandas as pd
import pytest

from course_utils.metrics import (
    Evaluation,
    bootstrap_interval,
    compare,
    paired_test,
    queries_needed,
    silhouette_samples,
)

# Reciprocal ranks cut at 10: 0 where nothing was found, 1/rank where something was.
RANKS = np.array([0.0, *(1 / rank for rank in range(1, 11))])
LOWER = (1 / np.arange(2, 11)) / (1 / np.arange(2, 11)).sum()  # ranks 2 to 10 among themselves
MIDDLE = np.array([0.3, 0.35, *(0.35 * LOWER)])  # mean 0.45
HARD = np.array([0.6, 0.1, *(0.3 * LOWER)])  # mean 0.19: most queries find nothing


def coverage(method, n, trials, n_resamples):
    rng = np.random.default_rng(n)
    truth, held = HARD @ RANKS, 0
    for trial in range(trials):
        scores = rng.choice(RANKS, p=HARD, size=n)
        low, high = bootstrap_interval(scores, method=method, n_resamples=n_resamples, seed=trial)
        held += low <= truth <= high
    return held / trials


def alike(rng, n):
    """Per-query differences of two systems of one quality; half of the queries score the same."""
    a, b = rng.choice(RANKS, p=MIDDLE, size=(2, n))
    same = rng.random(n) < 0.5
    return a, np.where(same, a, b)


@pytest.mark.parametrize(
    ("method", "n", "trials", "n_resamples"),
    [
        ("bca", 50, 1200, 999),
        ("percentile", 200, 800, 999),
        ("bca", 200, 800, 999),
        ("percentile", 1000, 300, 499),
        ("bca", 1000, 200, 499),
    ],
)
def test_intervals_hold_the_mean_of_skewed_scores_as_often_as_they_say(
    method, n, trials, n_resamples
):
    assert 0.93 <= coverage(method, n, trials, n_resamples) <= 0.97


def test_percentile_intervals_of_50_hard_queries_are_too_narrow_by_as_much_as_documented():
    held = coverage("percentile", 50, 1200, 999)
    assert held == pytest.approx(0.928, abs=3 * np.sqrt(0.928 * 0.072 / 1200))


@pytest.mark.parametrize(("n", "trials"), [(50, 2000), (200, 1000)])
def test_systems_that_are_alike_raise_a_false_alarm_one_time_in_twenty(n, trials):
    rng = np.random.default_rng(3)
    alarms = sum(
        paired_test(*alike(rng, n), n_resamples=199, seed=trial).p_value <= 0.05
        for trial in range(trials)
    )
    assert 0.04 <= alarms / trials <= 0.06


def test_as_many_queries_as_planned_find_the_difference_as_often_as_planned():
    rng = np.random.default_rng(4)
    a, b = alike(rng, 20_000)
    # The better system finds what the other did, and most of what it missed.
    b = np.where((b == 0) & (rng.random(20_000) < 0.8), 0.5, b)
    difference = b - a
    n = queries_needed(difference, difference.mean(), power=0.8)
    found = 0
    for trial in range(600):
        drawn = rng.integers(0, 20_000, n)
        found += paired_test(a[drawn], b[drawn], n_resamples=999, seed=trial).p_value <= 0.05
    assert 0.76 <= found / 600 <= 0.84, "600 trials: 0.8 give or take 0.016"


def queries_about_documents(rng):
    """Scores of 5 queries about each of 50 documents, most of whose luck is the document's."""
    documents = np.repeat(rng.exponential(size=50) - 1, 5)
    return documents + 0.5 * rng.standard_normal(250), np.repeat(np.arange(50), 5)


def test_intervals_that_ignore_clusters_are_too_narrow_and_clustered_ones_are_not():
    rng = np.random.default_rng(5)
    held = {True: 0, False: 0}
    for trial in range(400):
        scores, documents = queries_about_documents(rng)
        for clustered in held:
            clusters = documents if clustered else None
            low, high = bootstrap_interval(scores, clusters=clusters, n_resamples=499, seed=trial)
            held[clustered] += low <= 0 <= high
    assert 0.92 <= held[True] / 400 <= 0.97, "50 skewed clusters: a little under 0.95"
    assert held[False] / 400 < 0.75


def test_a_test_that_ignores_clusters_cries_wolf_and_a_clustered_one_does_not():
    rng = np.random.default_rng(6)
    alarms = {True: 0, False: 0}
    for trial in range(200):
        scores, documents = queries_about_documents(rng)
        # Symmetric around 0, as the differences of two systems that are alike.
        scores = scores * np.repeat(rng.choice([-1, 1], size=50), 5)
        for clustered in alarms:
            clusters = documents if clustered else None
            test = paired_test(
                np.zeros(250), scores, n_resamples=199, clusters=clusters, seed=trial
            )
            alarms[clustered] += test.p_value <= 0.05
    assert 0.02 <= alarms[True] / 200 <= 0.08
    assert alarms[False] / 200 > 0.25


GROUPS = np.repeat(np.arange(4), 25)  # 100 texts
CENTRES = np.eye(4, 8)
ALIKE = [0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]  # how far the texts of each group scatter
OTHERS_EASY = [0.3, 0.3, 0.75, 0.75], [0.75, 0.75, 0.3, 0.3]


def vectors(rng, scatter):
    noise = rng.standard_normal((len(GROUPS), CENTRES.shape[1]))
    return CENTRES[GROUPS] + np.array(scatter)[GROUPS, None] * noise


def silhouettes(scatters, trials, seed=7):
    """Yield the silhouettes that two embedders of one quality give the same texts, drawn afresh."""
    rng = np.random.default_rng(seed)
    for _ in range(trials):
        yield [silhouette_samples(vectors(rng, scatter), GROUPS) for scatter in scatters]


@pytest.mark.parametrize("scatters", [ALIKE, OTHERS_EASY], ids=["alike", "other groups easy"])
def test_p_values_of_clusterings_hold_their_level_or_are_not_given(scatters):
    p_values = []
    for values in silhouettes(scatters, 300):
        a, b = (
            Evaluation(
                "groups",
                "clustering",
                name,
                pd.DataFrame({"label": GROUPS.astype(str), "silhouette": value}),
            )
            for name, value in zip("ab", values, strict=True)
        )
        p_values.append(compare(a, b).table.loc["silhouette", "p_value"])
    given = [p for p in p_values if not np.isnan(p)]
    assert not given or 0.02 <= np.mean(np.array(given) <= 0.05) <= 0.08, "0.05 give or take 0.013"


@pytest.mark.parametrize(
    ("scatters", "alarms", "held"),
    [(ALIKE, (0.12, 0.22), (0.76, 0.86)), (OTHERS_EASY, (0, 0.015), (0.96, 1))],
    ids=["alike", "other groups easy"],
)
def test_silhouettes_taken_as_independent_mislead_as_much_as_documented(scatters, alarms, held):
    truth = np.mean([a.mean() for a, _ in silhouettes(scatters, 1000, seed=8)])
    found = {"alarms": 0, "held": 0}
    for trial, (a, b) in enumerate(silhouettes(scatters, 400)):
        found["alarms"] += paired_test(a, b, n_resamples=199, seed=trial).p_value <= 0.05
        low, high = bootstrap_interval(a, n_resamples=199, seed=trial)
        found["held"] += low <= truth <= high
    assert alarms[0] <= found["alarms"] / 400 <= alarms[1]
    assert held[0] <= found["held"] / 400 <= held[1]


@pytest.mark.parametrize("scatters", [ALIKE, OTHERS_EASY], ids=["alike", "other groups easy"])
def test_means_of_disjoint_parts_tell_clusterings_apart_in_error_about_as_often_as_they_say(
    scatters,
):
    rng = np.random.default_rng(9)
    rows = np.arange(100).reshape(4, 25)  # each part holds two or three texts of every group
    alarms = 0
    for _ in range(250):
        a, b = (vectors(rng, scatter) for scatter in scatters)
        parts = [rows[:, start::10].ravel() for start in range(10)]
        means = [[silhouette_samples(m[p], GROUPS[p]).mean() for p in parts] for m in (a, b)]
        alarms += paired_test(*means, n_resamples=1023).p_value <= 0.05
    assert 0.015 <= alarms / 250 <= 0.1, "250 trials: 0.056 give or take 0.015"
