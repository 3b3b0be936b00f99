"""Association is what the papers define, p counts every partition once, and nonsense is refused."""

import itertools
import math
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.bias.associations import (
    association,
    bias_direction,
    direct_bias,
    effect_size_interval,
    nearer,
    relative_norm_distance,
    seat,
    single_weat,
    template_vectors,
    weat,
)
from course_utils.bias.partitions import count_sums, draw_splits, split_test
from course_utils.data.tasks import AssociationTest
from course_utils.encoding.embedders import as_embedder

SEEDS = st.integers(0, 2**32 - 1)


def four_sets(seed, n=4, attributes=3, d=6, shift=0.0):
    """X and A lean along the first axis, Y and B against it, by as much as ``shift``."""
    rng = np.random.default_rng(seed)
    sizes = (n, n, attributes, attributes + 1)
    sets = [rng.standard_normal((size, d)) for size in sizes]
    for rows, sign in zip(sets, (1, -1, 1, -1), strict=True):
        rows[:, 0] += sign * shift
    return sets


def cosine(u, v):
    return sum(a * b for a, b in zip(u, v, strict=True)) / math.hypot(*u) / math.hypot(*v)


def s(w, A, B):
    return sum(cosine(w, a) for a in A) / len(A) - sum(cosine(w, b) for b in B) / len(B)


def published(X, Y, A, B):
    """Statistic and effect size, loop by loop as in the supplement of Caliskan et al. 2017."""
    of_x, of_y = [s(x, A, B) for x in X], [s(y, A, B) for y in Y]
    both = of_x + of_y
    mean = sum(both) / len(both)
    deviation = math.sqrt(sum((one - mean) ** 2 for one in both) / (len(both) - 1))
    return sum(of_x) - sum(of_y), (sum(of_x) / len(of_x) - sum(of_y) / len(of_y)) / deviation


def every_partition(values, size, alternative="greater"):
    """The share of all partitions that count, one partition at a time."""
    values = list(values)
    expected = size * sum(values) / len(values)
    seen, count, total = sum(values[:size]) - expected, 0, 0
    for members in itertools.combinations(values, size):
        this = sum(members) - expected
        count += {
            "greater": this >= seen - 1e-9,
            "less": this <= seen + 1e-9,
            "two-sided": abs(this) >= abs(seen) - 1e-9,
        }[alternative]
        total += 1
    return count / total


# The published formulas


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6), st.integers(2, 5), st.integers(2, 12))
def test_statistic_and_effect_size_are_those_of_the_published_formula(seed, n, attributes, d):
    sets = four_sets(seed, n, attributes, d)
    result = weat(*sets)
    statistic, effect_size = published(*sets)
    assert result.statistic == pytest.approx(statistic, abs=1e-9)
    assert result.effect_size == pytest.approx(effect_size, abs=1e-9)


def test_effect_size_worked_by_hand():
    # s is 0.5 and 0.3 for X, 0.1 and -0.1 for Y: 0.4 over the root of 0.2/3.
    def leaning(s):
        return [(s + math.sqrt(2 - s * s)) / 2, (math.sqrt(2 - s * s) - s) / 2]

    X, Y = [leaning(0.5), leaning(0.3)], [leaning(0.1), leaning(-0.1)]
    A, B = [[2.0, 0.0], [5.0, 0.0]], [[0.0, 1.0], [0.0, 3.0]]
    assert association(X, A, B) == pytest.approx([0.5, 0.3])
    result = weat(X, Y, A, B)
    assert result.statistic == pytest.approx(0.8)
    assert result.effect_size == pytest.approx(math.sqrt(2.4))
    assert (result.p_value, result.permutations, result.exact) == (pytest.approx(1 / 6), 6, True)


@pytest.mark.parametrize("n", range(2, 9))
@pytest.mark.parametrize("alternative", ["greater", "less", "two-sided"])
def test_exact_p_is_that_of_trying_every_partition(n, alternative):
    X, Y, A, B = four_sets(seed=n, n=n, shift=0.3)
    result = weat(X, Y, A, B, alternative=alternative)
    values = [s(w, A, B) for w in [*X, *Y]]
    assert result.exact
    assert result.permutations == math.comb(2 * n, n)
    assert result.p_value == every_partition(values, n, alternative)


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=2, max_size=9),
    st.data(),
    st.sampled_from(["greater", "less", "two-sided"]),
)
def test_ties_count_whatever_the_sizes_of_the_two_parts(values, data, alternative):
    # Thirds are not exact in binary, so that equal sums differ in their last digits.
    values = np.array(values) / 3
    size = data.draw(st.integers(1, len(values) - 1))
    test = split_test(values, size, alternative=alternative)
    assert test.p_value == pytest.approx(every_partition(values, size, alternative), abs=1e-12)
    assert test.permutations == math.comb(len(values), size)


@pytest.mark.parametrize(("n", "size"), [(60, 2), (60, 58), (46, 3)])
def test_lopsided_sets_too_large_for_halving_are_counted_too(n, size):
    values = np.random.default_rng(0).standard_normal(n)
    assert split_test(values, size).p_value == pytest.approx(every_partition(values, size))


def test_every_subset_is_counted_once_even_a_hundred_thousand_million_of_them():
    values = np.random.default_rng(0).standard_normal(36)
    assert count_sums(values, 18, -np.inf) == math.comb(36, 18)
    least = 0.3
    above, below = count_sums(values, 18, least), count_sums(-values, 18, -least)
    assert above + below == math.comb(36, 18)


def test_observed_partition_counts_among_words_that_are_all_tied_but_one():
    X, Y, A, B = ([[1.0, 0.1]] * 4, [[1.0, 0.1]] * 3 + [[0.1, 1.0]], np.eye(2), -np.eye(2)[::-1])
    A, B = np.array([[1.0, 0.0], [1.0, 0.2]]), np.array([[0.0, 1.0], [0.2, 1.0]])
    # The odd word falls into Y in half of the partitions.
    assert weat(X, Y, A, B).p_value == 0.5


# Laws


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_swapping_the_targets_or_the_attributes_turns_the_sign(seed):
    X, Y, A, B = four_sets(seed, shift=0.3)
    one = weat(X, Y, A, B)
    for other in (weat(Y, X, A, B), weat(X, Y, B, A)):
        assert other.statistic == pytest.approx(-one.statistic, abs=1e-12)
        assert other.effect_size == pytest.approx(-one.effect_size, abs=1e-12)
        assert weat(X, Y, A, B, alternative="less").p_value == other.p_value
    both = weat(Y, X, B, A)
    assert (both.effect_size, both.p_value) == (pytest.approx(one.effect_size), one.p_value)


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.floats(1e-6, 1e6))
def test_length_of_vectors_order_of_words_and_rotation_change_nothing(seed, scale):
    sets = four_sets(seed, shift=0.3)
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    lengths = [rng.uniform(0.1, 10, (len(rows), 1)) for rows in sets]
    changed = (
        [scale * rows for rows in sets],
        [rows * length for rows, length in zip(sets, lengths, strict=True)],
        [rng.permutation(rows) for rows in sets],
        [rows @ rotation for rows in sets],
    )
    one = weat(*sets)
    for others in changed:
        other = weat(*others)
        assert other.effect_size == pytest.approx(one.effect_size, abs=1e-9)
        assert other.p_value == one.p_value


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.integers(2, 8))
def test_effect_size_lies_within_what_that_many_words_can_give(seed, n):
    effect = weat(*four_sets(seed, n=n, shift=5.0)).effect_size
    assert abs(effect) <= 2 * math.sqrt((2 * n - 1) / (2 * n)) + 1e-12


# Sampling


def test_sampled_p_is_b_plus_one_over_m_plus_one():
    values = np.arange(60.0)[::-1]
    test = split_test(values, 30, n_resamples=999)
    assert test == (1 / 1000, 999, False)  # the largest sum there is: no other reaches it
    test = split_test(values, 30, n_resamples=999, alternative="less")
    assert test == (1.0, 999, False)


def test_sampled_p_comes_near_the_exact_one():
    sets = four_sets(seed=5, n=10, shift=0.1)
    exact, drawn = weat(*sets), weat(*sets, max_exact=1000, n_resamples=20_000)
    assert (exact.permutations, exact.exact) == (math.comb(20, 10), True)
    assert (drawn.permutations, drawn.exact) == (20_000, False)
    error = math.sqrt(exact.p_value * (1 - exact.p_value) / 20_000)
    assert 0.01 < exact.p_value < 0.99
    assert abs(drawn.p_value - exact.p_value) < 4 * error
    assert drawn.effect_size == exact.effect_size


def test_sample_of_all_others_is_the_exact_p():
    sets = four_sets(seed=3, n=4)
    assert weat(*sets, max_exact=0, n_resamples=69) == weat(*sets)
    assert not weat(*sets, max_exact=0, n_resamples=68).exact


def test_same_seed_draws_the_same_partitions_and_another_others():
    sets = four_sets(seed=3, n=14)
    one, again, other = (weat(*sets, n_resamples=500, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one.p_value != other.p_value


@pytest.mark.parametrize(("n", "size"), [(8, 4), (9, 2), (70, 35), (100, 98), (80, 40)])
def test_drawn_partitions_are_distinct_of_the_right_size_and_never_the_observed_one(n, size):
    number = min(3000, math.comb(n, size) - 1)
    drawn = np.concatenate(list(draw_splits(n, size, number, seed=7))).astype(int)
    assert drawn.shape == (number, n)
    assert (drawn.sum(axis=1) == size).all()
    assert len({tuple(row) for row in drawn}) == number
    assert not (drawn[:, :size].sum(axis=1) == size).any()


@pytest.mark.parametrize(("n", "size"), [(20, 10), (80, 40)])
def test_every_word_is_drawn_equally_often(n, size):
    # Leaving out the observed partition shifts this by less than one part in 10^5.
    drawn = np.concatenate(list(draw_splits(n, size, 20_000, seed=1)))
    error = math.sqrt(0.25 / 20_000)
    assert np.abs(drawn.mean(axis=0) - size / n).max() < 4.5 * error


def test_more_partitions_than_there_are_cannot_be_drawn():
    with pytest.raises(ValueError, match="only 5 splits"):
        list(draw_splits(4, 2, 6))


def test_memory_does_not_grow_with_the_number_of_partitions():
    sets = four_sets(seed=1, n=16)
    tracemalloc.start()
    try:
        assert weat(*sets, max_exact=10**9).permutations == math.comb(32, 16)
        assert tracemalloc.get_traced_memory()[1] < 32 * 2**20
    finally:
        tracemalloc.stop()


def test_p_below_a_twentieth_comes_in_a_twentieth_of_tests_of_nothing():
    small = [weat(*four_sets(seed, n=5)).p_value <= 0.05 for seed in range(1500)]
    assert abs(np.mean(small) - 12 / 252) < 4 * math.sqrt(0.05 * 0.95 / 1500)


# A planted association


def planted(rng, n, gap, spread):
    """X and Y whose associations are normal, ±gap/2 on average, with that spread."""
    A, B = np.eye(8)[[0, 0]], np.eye(8)[[1, 1]]
    sets = []
    for sign in (1, -1):
        s = sign * gap / 2 + spread * rng.standard_normal(n)
        rest = rng.standard_normal((n, 6))
        rest *= np.sqrt(1 - s**2 / 2)[:, None] / np.linalg.norm(rest, axis=1, keepdims=True)
        sets.append(np.column_stack([s / 2, -s / 2, rest]))
    return *sets, A, B


@pytest.mark.parametrize("gap", [0.0, 0.1, 0.4])
def test_planted_association_is_found_at_its_size(gap):
    # All words together vary by spread² within the sets and (gap/2)² between them.
    size = gap / math.sqrt(0.1**2 + (gap / 2) ** 2)
    sets = planted(np.random.default_rng(0), 2000, gap, 0.1)
    assert weat(*sets, n_resamples=1000).effect_size == pytest.approx(size, abs=0.08)
    low, high = effect_size_interval(*sets, n_resamples=500)
    assert low < size < high
    assert high - low < 0.2


def test_interval_holds_the_planted_size_nine_times_in_ten_or_more():
    size = 0.2 / math.sqrt(0.1**2 + 0.1**2)
    hits = []
    for seed in range(150):
        sets = planted(np.random.default_rng(seed), 25, 0.2, 0.1)
        low, high = effect_size_interval(*sets, n_resamples=400, seed=seed)
        hits.append(low < size < high)
    assert 0.88 <= np.mean(hits) <= 0.99


def test_interval_is_seeded_and_grows_with_confidence():
    sets = four_sets(seed=2, n=8, attributes=8, shift=0.5)
    one, again = effect_size_interval(*sets), effect_size_interval(*sets)
    wide = effect_size_interval(*sets, confidence=0.99)
    assert one == again
    assert wide.low < one.low < weat(*sets).effect_size < one.high < wide.high


# What is refused


def with_row(rows, row, value):
    rows = np.array(rows, dtype=float)
    rows[row] = value
    return rows


X, Y, A, B = four_sets(seed=0, n=4)


@pytest.mark.parametrize(
    ("sets", "reason"),
    [
        ((with_row(X, 2, 0), Y, A, B), r"X\[2\] is all zeros"),
        ((X, Y, with_row(A, 1, 0), B), r"A\[1\] is all zeros"),
        ((X, with_row(Y, 3, np.nan), A, B), "Y row 3 holds NaN"),
        ((X, Y, A, with_row(B, 0, np.inf)), "B row 0 holds NaN or infinity"),
        ((X[:1], Y[:1], A, B), "X holds 1 word.*√2"),
        ((X, Y, A[:1], B), "A holds 1 word"),
        ((X, Y[:3], A, B), "X holds 4 words and Y 3.*equal size"),
        ((X, Y, A[:, :5], B), "different lengths: X 6, Y 6, A 5, B 6"),
        ((X, Y, A, A), "associated alike"),
        (([X[0]] * 3, [X[0]] * 3, A, B), "no deviation to divide by"),
        ((X[0], Y, A, B), r"X has shape \(6,\)"),
        ((np.zeros((0, 6)), Y, A, B), r"X has shape \(0, 6\)"),
    ],
)
def test_degenerate_vectors_are_refused_with_a_reason(sets, reason):
    with pytest.raises(ValueError, match=reason):
        weat(*sets)
    if "equal size" not in reason:
        with pytest.raises(ValueError, match=reason):
            effect_size_interval(*sets)


def test_words_that_differ_by_less_than_float32_can_say_are_alike():
    base = np.ones((6, 384), dtype=np.float32)
    noise = 1e-12 * np.random.default_rng(0).standard_normal((6, 384))
    rng = np.random.default_rng(1)
    A, B = rng.standard_normal((2, 5, 384))
    with pytest.raises(ValueError, match="associated alike"):
        weat((base + noise)[:3], (base + noise)[3:], A, B)


@pytest.mark.parametrize(
    "option",
    [
        {"alternative": "larger"},
        {"max_exact": -1},
        {"max_exact": 10**13},
        {"n_resamples": 0},
        {"n_resamples": 2.5},
    ],
)
def test_options_out_of_range_are_named(option):
    with pytest.raises(ValueError, match=next(iter(option))):
        weat(X, Y, A, B, **option)


# One word at a time, distances, directions


@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(2, 5), st.integers(2, 5))
def test_single_weat_is_the_published_effect_size_with_every_partition_of_the_attributes(
    seed, a, b
):
    rng = np.random.default_rng(seed)
    words, A, B = (rng.standard_normal((size, 5)) for size in (3, a, b))
    for word, result in zip(words, single_weat(words, A, B), strict=True):
        cosines = [cosine(word, one) for one in [*A, *B]]
        gap = np.mean(cosines[:a]) - np.mean(cosines[a:])
        assert result.statistic == pytest.approx(gap)
        assert result.effect_size == pytest.approx(gap / np.std(cosines, ddof=1))
        assert result.p_value == pytest.approx(every_partition(cosines, a))


def test_single_weat_names_the_word_without_a_spread():
    words = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    A, B = [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]], [[0.0, 1.0, 0.0], [1.0, 2.0, 0.0]]
    with pytest.raises(ValueError, match=r"cosines of words\[1\]"):
        single_weat(words, A, B)


@settings(max_examples=25, deadline=None)
@given(SEEDS)
def test_relative_norm_distance_is_the_sum_of_distances_to_the_group_means(seed):
    rng = np.random.default_rng(seed)
    words, first, second = (rng.standard_normal((size, 5)) for size in (4, 3, 2))
    unit = [
        [[x / math.hypot(*row) for x in row] for row in rows] for rows in (words, first, second)
    ]
    centres = [[sum(column) / len(rows) for column in zip(*rows, strict=True)] for rows in unit[1:]]
    expected = sum(math.dist(w, centres[0]) - math.dist(w, centres[1]) for w in unit[0])
    assert relative_norm_distance(words, first, second) == pytest.approx(expected)
    assert relative_norm_distance(words, second, first) == pytest.approx(-expected)


def test_direct_bias_is_none_at_right_angles_and_full_along_the_direction():
    assert direct_bias(np.eye(4)[1:], np.eye(4)[0]) == 0
    assert direct_bias([[2.0, 0.0], [-3.0, 0.0]], [5.0, 0.0]) == 1
    assert direct_bias([[3.0, 4.0]], [1.0, 0.0], c=2) == pytest.approx(0.36)


def test_random_words_have_the_direct_bias_that_the_docstring_warns_of():
    rng = np.random.default_rng(0)
    found = direct_bias(rng.standard_normal((5000, 384)), rng.standard_normal(384))
    assert found == pytest.approx(math.sqrt(2 / math.pi / 384), rel=0.05)


def test_bias_direction_is_the_one_that_was_planted_and_points_to_the_first():
    rng = np.random.default_rng(0)
    axis = np.linalg.qr(rng.standard_normal((50, 50)))[0][0]
    middle = rng.standard_normal((12, 50))
    middle -= (middle @ axis)[:, None] * axis
    noise = 0.05 * rng.standard_normal((2, 12, 50))
    pairs = np.stack([middle + 2 * axis + noise[0], middle - 2 * axis + noise[1]], axis=1)
    found = bias_direction(pairs)
    assert np.linalg.norm(found.direction) == pytest.approx(1)
    assert found.direction @ axis > 0.99
    assert found.explained > 0.95
    assert bias_direction(pairs[:, ::-1]).direction == pytest.approx(-found.direction)


def test_bias_direction_is_scikit_learns_first_component_of_the_centred_pairs():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(1)
    pairs = rng.standard_normal((6, 2, 9)) + np.array([[1.0], [-1.0]])
    unit = pairs / np.linalg.norm(pairs, axis=2, keepdims=True)
    pca = PCA().fit((unit - unit.mean(axis=1, keepdims=True)).reshape(-1, 9))
    found = bias_direction(pairs)
    assert abs(found.direction @ pca.components_[0]) == pytest.approx(1)
    assert found.explained == pytest.approx(pca.explained_variance_ratio_[0])


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: bias_direction(np.ones((3, 4))), r"shape \(3, 4\)"),
        (lambda: bias_direction([[[1.0, 0], [0, 1.0]], [[1.0, 1], [2.0, 2]]]), r"pairs\[1\]"),
        (lambda: bias_direction([[[1.0, 0], [0, 1.0]], [[0, 1.0], [1.0, 0]]]), "cancel"),
        (lambda: direct_bias(X, X), "one vector"),
        (lambda: direct_bias(X, X[0], c=0), "c is 0"),
        (lambda: direct_bias(X, X[0, :3]), "different lengths"),
        (lambda: direct_bias(X, np.zeros(6)), "all zeros"),
        (lambda: relative_norm_distance(X, A, with_row(B, 2, 0)), r"second\[2\]"),
    ],
)
def test_degenerate_input_to_directions_is_refused(call, reason):
    with pytest.raises(ValueError, match=reason):
        call()


# Sentences

WORDS = AssociationTest(
    "toy",
    [f"xa{i}" for i in range(5)],
    [f"yb{i}" for i in range(5)],
    [f"a{i}" for i in range(4)],
    [f"b{i}" for i in range(4)],
)
FRAMES = ["{} was here.", "I saw {}.", "They call it {}.", "Is this {}?", "So, {} again."]


def noise_of(text, d=64):
    return np.random.default_rng(zlib.crc32(text.encode())).standard_normal(d)


def toy_model(word_noise=1.0, frame_noise=0.5, lean=0.0, lying=None):
    """Each word has a vector; a frame adds its own, and a little for each sentence."""

    def encode(texts):
        rows = []
        for text in texts:
            word = next(
                w for w in text.lower().strip(".?!").replace(",", " ").split() if w[-1].isdigit()
            )
            row = word_noise * noise_of(word) + frame_noise * noise_of(
                text.lower().replace(word, "")
            )
            row += 0.1 * noise_of(text.lower())
            side = {"x": 1, "y": -1, "a": 1, "b": -1}[word[0]]
            strength = 8.0 if word[0] in "ab" else lean
            row[0] += side * (8.0 if lying and lying in text else strength)
            rows.append(row)
        return np.array(rows)

    return as_embedder(encode)


def test_seat_is_weat_of_the_words_mean_unit_vectors():
    model = toy_model(lean=1.0)
    sets = []
    for side in "XYAB":
        rows = []
        for word in getattr(WORDS, side):
            sentences = model.encode([frame.format(word) for frame in FRAMES])
            rows.append(np.mean([row / np.linalg.norm(row) for row in sentences], axis=0))
        sets.append(np.array(rows))
    by_hand, result = weat(*sets), seat(model, WORDS, templates=FRAMES)
    assert result.effect_size == pytest.approx(by_hand.effect_size, abs=1e-5)
    assert (result.p_value, result.permutations) == (by_hand.p_value, math.comb(10, 5))
    assert template_vectors(model, WORDS.X, FRAMES) == pytest.approx(sets[0], abs=1e-6)


def test_seat_of_bare_words_is_weat():
    model = toy_model(lean=1.0)
    sets = [model.encode(getattr(WORDS, side)) for side in "XYAB"]
    result = seat(model, WORDS, templates=["{}"])
    assert result.effect_size == pytest.approx(weat(*sets).effect_size, abs=1e-4)
    assert result.by_template["{}"].effect_size == result.effect_size


def test_more_templates_do_not_make_a_p_value_smaller():
    # Twenty frames that say the same of every word hold no more evidence than one.
    model = toy_model(frame_noise=0.0, lean=0.5)
    many = [f"They met {{}} in {place}." for place in "ABCDEFGHIJKLMNOPQRST"]
    one, all_of_them = (seat(model, WORDS, templates=frames) for frames in (many[:1], many))
    assert all_of_them.permutations == one.permutations == math.comb(10, 5)
    assert all_of_them.p_value == pytest.approx(one.p_value, abs=0.1)


def test_one_lying_template_shows_among_the_others():
    model = toy_model(word_noise=2.0, lying="call it")
    result = seat(model, WORDS, templates=FRAMES)
    effects = result.table()["effect_size"]
    assert list(effects.index) == FRAMES
    assert effects.idxmax() == "They call it {}."
    assert effects.max() > 1.5
    assert effects.drop("They call it {}.").abs().max() < 1.2


def test_attributes_can_have_templates_of_their_own():
    model = toy_model(lean=1.0)
    result = seat(model, WORDS, templates=FRAMES[:2], attribute_templates=["{}"])
    sets = [template_vectors(model, getattr(WORDS, side), FRAMES[:2]) for side in "XY"]
    sets += [template_vectors(model, getattr(WORDS, side), ["{}"]) for side in "AB"]
    assert result.effect_size == pytest.approx(weat(*sets).effect_size)
    assert list(result.by_template) == FRAMES[:2]


@pytest.mark.parametrize(
    ("templates", "reason"),
    [
        (["no place"], "0 placeholders"),
        (["{} and {}"], "2 placeholders"),
        ([], "give one at least"),
        (["{}.", "{}."], "occurs twice"),
        ("{}", "one string"),
    ],
)
def test_templates_that_cannot_work_are_refused(templates, reason):
    for call in (
        lambda: seat(toy_model(), WORDS, templates=templates),
        lambda: template_vectors(toy_model(), WORDS.X, templates),
        lambda: nearer(toy_model(), "x1", "a1", "b1", templates=templates),
    ):
        with pytest.raises(ValueError, match=reason):
            call()


def test_seat_names_the_word_without_a_vector_and_the_template_that_tells_nothing_apart():
    def forgetful(texts):
        return [noise_of(text) * (0.0 if "yb3" in text else 1.0) for text in map(str.lower, texts)]

    with pytest.raises(ValueError, match=r"toy: Y\[3\] \('yb3'\) is all zeros"):
        seat(as_embedder(forgetful), WORDS, templates=FRAMES)

    def deaf(texts):
        return [noise_of("same" if text.startswith("I saw") else text) for text in texts]

    with pytest.raises(ValueError, match=r"the template 'I saw \{\}\.' alone: All words"):
        seat(as_embedder(deaf), WORDS, templates=FRAMES)


def test_nearer_is_the_mean_difference_of_cosines_over_templates():
    model = toy_model(lean=3.0)
    result = nearer(model, "x1", "a1", "b1", templates=FRAMES)
    expected = []
    for frame in FRAMES:
        word, to, than = model.encode([frame.format(one) for one in ("x1", "a1", "b1")])
        expected.append(cosine(word, to) - cosine(word, than))
    assert list(result.by_template.values()) == pytest.approx(expected, abs=1e-6)
    assert result.difference == pytest.approx(np.mean(expected), abs=1e-6)
    assert min(expected) <= result.low < result.difference < result.high <= max(expected)
    assert result.answer == "yes"
    assert nearer(model, "x1", "b1", "a1", templates=FRAMES).answer == "no"
    assert nearer(model, "x1", "b1", "a1", templates=FRAMES).low == pytest.approx(-result.high)


def test_nearer_is_undecided_where_templates_disagree():
    leaning = {"first": 0.2, "second": -0.2, "third": 0.2, "fourth": -0.2}

    def encode(texts):
        pairs = [text.split() for text in texts]
        lean = {"man": lambda frame: 1.0, "woman": lambda frame: -1.0, "doctor": leaning.get}
        return [[1.0, lean[word](frame)] for frame, word in pairs]

    frames = [f"{frame} {{}}" for frame in leaning]
    result = nearer(as_embedder(encode), "doctor", "man", "woman", templates=frames)
    assert (result.answer, result.difference) == ("undecided", pytest.approx(0))


def test_nearer_wants_three_words_and_two_templates():
    with pytest.raises(ValueError, match="three different words"):
        nearer(toy_model(), "x1", "a1", "a1", templates=FRAMES)
    with pytest.raises(ValueError, match="two at least"):
        nearer(toy_model(), "x1", "a1", "b1", templates=FRAMES[:1])


def test_packaged_model_prefers_flowers_in_more_than_one_frame(minilm):
    test = AssociationTest(
        "flowers and insects",
        ["rose", "tulip", "daisy", "lily", "violet", "orchid"],
        ["wasp", "cockroach", "flea", "maggot", "mosquito", "termite"],
        ["lovely", "pleasant", "wonderful", "peaceful", "happy"],
        ["horrible", "nasty", "awful", "ugly", "evil"],
    )
    frames = ["This is about: {}.", "I thought of the word {}.", "{}", "Tell me more about {}."]
    result = seat(minilm, test, templates=frames)
    assert result.effect_size > 1
    assert result.p_value < 0.01
    assert (result.table()["effect_size"] > 0.5).all()
    assert nearer(minilm, "kitten", "cat", "bus", templates=frames).answer == "yes"
