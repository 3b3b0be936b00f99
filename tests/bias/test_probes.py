"""Probes: they find what is planted, say nothing about noise, and are honest about how sure."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from course_utils.bias.eraser import LinearEraser, text_fingerprint
from course_utils.bias.probes import _interval, judge, probe


def halves(rows, labels):
    return (rows[::2], labels[::2]), {"test_matrix": rows[1::2], "test_labels": labels[1::2]}


def blobs(n=200, d=6, gap=2.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1], n // 2)
    return rng.normal(size=(n, d)) + gap * (2 * labels[:, None] - 1) * np.eye(d)[0], labels


def rings(n=240, seed=0):
    """Two groups that no plane tells apart: one inside, one around it."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) // 2 % 2
    angles = rng.uniform(0, 2 * np.pi, n)
    radius = 1 + 2 * labels + rng.normal(size=n) * 0.1
    return np.c_[radius * np.cos(angles), radius * np.sin(angles)], labels


def test_a_linear_probe_finds_a_planted_difference_at_its_size():
    rows, labels = blobs(4000, gap=0.8)
    fit, test = halves(rows, labels)
    found = probe(*fit, **test)
    # Two normals 1.6 apart: the best rule is right with probability Phi(0.8).
    assert found.low < norm.cdf(0.8) < found.high
    assert found.chance == 0.5
    assert found.above_chance == found.accuracy - 0.5
    assert found.correct.mean() == found.accuracy
    assert found.n == 2000


def test_what_no_plane_can_tell_apart_only_the_curved_probe_finds():
    fit, test = halves(*rings())
    linear, curved = (probe(*fit, **test, kind=kind) for kind in ("linear", "non-linear"))
    assert linear.accuracy < 0.65
    assert curved.accuracy > 0.95


def test_on_noise_the_interval_holds_chance_about_as_often_as_it_says():
    held = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows, labels = rng.normal(size=(120, 4)), np.arange(120) // 2 % 2
        fit, test = halves(rows, labels)
        found = probe(*fit, **test)
        held += found.low <= 0.5 <= found.high
    assert held >= 34  # P(fewer) < 0.01 for a binomial of 40 at 0.95


def test_chance_is_the_largest_group_and_the_balanced_accuracy_does_not_care():
    rng = np.random.default_rng(0)
    labels = np.array([0] * 180 + [1] * 20)
    found = probe(
        rng.normal(size=(200, 3)), labels, test_matrix=rng.normal(size=(200, 3)), test_labels=labels
    )
    assert found.chance == 0.9
    shares = [found.correct[labels == g].mean() for g in (0, 1)]
    assert found.balanced == pytest.approx(np.mean(shares))
    assert found.accuracy == pytest.approx(0.9, abs=0.02)
    assert found.balanced == pytest.approx(0.5, abs=0.06)


def wilson(right, n):
    found = binomtest(right, n).proportion_ci(method="wilson")
    return found.low, found.high


def test_without_groups_the_interval_is_wilsons_and_with_them_the_clustered_bootstraps():
    from course_utils.metrics import bootstrap_interval

    fit, test = halves(*blobs(gap=0.5))
    plain = probe(*fit, **test)
    assert (plain.low, plain.high) == wilson(int(plain.correct.sum()), plain.n)
    words = np.arange(plain.n) // 5
    clustered = probe(*fit, **test, test_groups=words)
    assert (clustered.low, clustered.high) == bootstrap_interval(plain.correct, clusters=words)


@pytest.mark.parametrize("right", [True, False])
def test_all_rows_right_or_all_wrong_are_as_many_tries_as_there_are_groups(right):
    (rows, labels), test = halves(*blobs(40, gap=50))
    test["test_labels"] = test["test_labels"] if right else 1 - test["test_labels"]
    words = np.arange(20) // 2
    found = probe(rows, labels, **test, test_groups=words)
    assert found.accuracy == right
    assert (found.low, found.high) == wilson(10 * right, 10)


def test_ten_words_of_ten_leave_room_for_being_wrong_about_others():
    labels = np.repeat(np.arange(10) % 2, 4)
    texts = np.repeat([f"w{i}" for i in range(10)], 4).tolist()
    rows = np.c_[2.0 * labels - 1, np.zeros(40)]
    eraser = knowing(LinearEraser(np.eye(2), np.zeros(2)), "x")
    table = judge(eraser, rows, labels, texts=texts)
    assert (table["accuracy"] == 1).all()
    assert (table["low"] < 0.75).all()
    assert (table["high"] == 1).all()


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9, 0.95, 0.99])
@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_interval_holds_the_share_of_groups_that_are_right_or_wrong_as_a_whole(n, share):
    groups = np.repeat(np.arange(n), 4)
    ends = [_interval(groups < right, groups) for right in range(n + 1)]
    held = [low <= share <= high for low, high in ends]
    # All that can be seen is how many groups are right, which is binomial.
    assert binom.pmf(np.arange(n + 1), n, share) @ held > 0.91


def test_labels_may_be_words_and_the_same_seed_gives_the_same_probe():
    rows, labels = blobs(gap=0.3)
    words = np.array(["she", "he"])[labels]
    fit, test = halves(rows, labels)
    named, words_test = halves(rows, words)
    one, two, three = probe(*fit, **test), probe(*named, **words_test), probe(*fit, **test)
    assert np.array_equal(one.correct, three.correct)
    assert two.accuracy == pytest.approx(one.accuracy, abs=0.02)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [0] * 100}, "one class"),
        ({"labels": [0] * 97 + [1] * 3}, "4 are needed"),
        ({"labels": [0, 1]}, "one label a row"),
        ({"test_labels": [7] * 100}, "holds 7"),
        ({"test_matrix": np.ones((100, 5))}, "one model"),
        ({"matrix": np.full((100, 6), np.nan)}, "NaN"),
        ({"matrix": np.zeros((100, 6))}, "zeros"),
        ({"kind": "quadratic"}, "Choose"),
        ({"matrix": np.ones((100, 6))}, "same vector"),
        ({"groups": [1, 2]}, "one a row"),
        ({"groups": list(range(100)), "test_groups": [99, *range(200, 299)]}, "both"),
    ],
)
def test_what_cannot_be_probed_is_refused(change, message):
    (matrix, labels), test = halves(*blobs())
    options = {"matrix": matrix, "labels": labels, **test} | change
    matrix, labels = options.pop("matrix"), options.pop("labels")
    with pytest.raises(ValueError, match=message):
        probe(matrix, labels, **options)


@pytest.mark.parametrize("kind", ["linear", "non-linear"])
def test_what_rounding_leaves_in_an_unused_dimension_is_not_read(kind):
    # all-MiniLM-L6-v2 has such dimensions; after erasing, one held the group at 1e-20.
    rng = np.random.default_rng(5)
    rows, labels = rng.normal(size=(400, 6)), np.arange(400) // 2 % 2
    rows[:, 3] = 1e-20 * (2 * labels - 1)
    fit, test = halves(rows, labels)
    assert probe(*fit, **test, kind=kind).low < 0.5 < probe(*fit, **test, kind=kind).high


def word_rows(words=40, sentences=4, gap=3.0, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(words) % 2
    own = rng.normal(size=(words, 8)) + gap * (2 * labels[:, None] - 1) * np.eye(8)[0]
    rows = np.repeat(own, sentences, axis=0) + rng.normal(size=(words * sentences, 8)) * 0.1
    names = [f"w{i}" for i in range(words)]
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, np.repeat(labels, sentences), np.repeat(names, sentences).tolist()


def knowing(eraser, *words):
    return LinearEraser(
        eraser.matrix, eraser.bias, fitted_on=frozenset(map(text_fingerprint, words))
    )


def test_judge_shows_a_linear_difference_before_and_none_after():
    rows, labels, texts = word_rows(80)
    table = judge(knowing(LinearEraser.removing(np.eye(8)[:1]), "x"), rows, labels, texts=texts)
    assert list(table.index) == [
        (kind, when) for kind in ("linear", "non-linear") for when in ("before", "after")
    ]
    assert (table.xs("before", level="when")["accuracy"] > 0.9).all()
    linear = table.loc["linear", "after"]
    assert linear["low"] <= linear["chance"] + 0.03
    assert table["n"].eq(320).all()


def test_sentences_of_one_word_are_never_on_both_sides():
    # Labels without any meaning: a probe that has seen the word would be right all the same.
    rng = np.random.default_rng(1)
    rows = np.repeat(rng.normal(size=(60, 30)), 5, axis=0) + rng.normal(size=(300, 30)) * 0.01
    labels = np.repeat(np.arange(60) % 2, 5)
    texts = np.repeat([f"w{i}" for i in range(60)], 5).tolist()
    table = judge(knowing(LinearEraser(np.eye(30), np.zeros(30)), "x"), rows, labels, texts=texts)
    assert (table["accuracy"] < 0.75).all()


def test_the_two_words_of_a_pair_stay_together_if_they_are_said_to():
    # Neighbours of opposite label and nothing else: seen one, the probe is wrong about the other.
    rng = np.random.default_rng(2)
    rows = np.repeat(rng.normal(size=(50, 20)), 2, axis=0) + rng.normal(size=(100, 20)) * 0.01
    labels, texts = np.arange(100) % 2, [f"w{i}" for i in range(100)]
    eraser = knowing(LinearEraser(np.eye(20), np.zeros(20)), "x")
    apart = judge(eraser, rows, labels, texts=texts)
    together = judge(eraser, rows, labels, texts=texts, pairs=np.arange(100) // 2)
    assert apart.loc[("non-linear", "before"), "accuracy"] < 0.4
    assert together.loc[("non-linear", "before"), "accuracy"] == pytest.approx(0.5, abs=0.12)


def test_judge_refuses_words_that_were_fitted_on_and_too_few_of_them():
    rows, labels, texts = word_rows(20)
    eraser = LinearEraser(np.eye(8), np.zeros(8))
    with pytest.raises(ValueError, match="'w3'"):
        judge(knowing(eraser, "w3"), rows, labels, texts=texts)
    with pytest.raises(ValueError, match="does not know"):
        judge(eraser, rows, labels, texts=texts)
    with pytest.raises(ValueError, match="are needed"):
        judge(knowing(eraser, "x"), rows[:16], labels[:16], texts=texts[:16])
