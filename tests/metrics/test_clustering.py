"""Silhouette by its formula, agreement by counting pairs, k-means never from one seed."""

import itertools

import numpy as np
import pytest

from course_utils.metrics import (
    adjusted_rand,
    kmeans_scores,
    silhouette,
    silhouette_samples,
    v_measure,
)


def clouds(n=30, d=6, groups=3, noise=0.15, seed=0):
    rng = np.random.default_rng(seed)
    labels = [f"label {i % groups}" for i in range(n)]
    centres = np.eye(d)[:groups]
    return centres[[i % groups for i in range(n)]] + noise * rng.standard_normal((n, d)), labels


def test_silhouette_is_its_formula():
    matrix, labels = clouds(n=17, noise=0.6)
    labels[0] = "alone"
    unit = matrix / np.linalg.norm(matrix, axis=1, keepdims=True)
    distance = 1 - unit @ unit.T
    expected = []
    for i, own in enumerate(labels):
        mean = {
            label: np.mean([distance[i, j] for j in range(17) if labels[j] == label and j != i])
            for label in set(labels)
            if any(labels[j] == label and j != i for j in range(17))
        }
        nearest = min(value for label, value in mean.items() if label != own)
        a = mean.get(own)
        expected.append(0.0 if a is None else (nearest - a) / max(a, nearest))
    np.testing.assert_allclose(silhouette_samples(matrix, labels), expected, atol=1e-9)
    assert silhouette(matrix, labels) == pytest.approx(np.mean(expected))


def test_adjusted_rand_is_its_formula_over_pairs():
    rng = np.random.default_rng(1)
    found, labels = rng.integers(0, 3, 40), rng.integers(0, 4, 40)
    together = [
        (found[i] == found[j], labels[i] == labels[j])
        for i, j in itertools.combinations(range(40), 2)
    ]
    both = sum(f and g for f, g in together)
    in_found, in_labels = sum(f for f, _ in together), sum(g for _, g in together)
    chance = in_found * in_labels / len(together)
    expected = (both - chance) / ((in_found + in_labels) / 2 - chance)
    assert adjusted_rand(found, [str(x) for x in labels]) == pytest.approx(expected)


def entropy(*columns):
    cells = list(zip(*columns, strict=True))
    shares = np.array([cells.count(cell) / len(cells) for cell in set(cells)])
    return float(-(shares * np.log(shares)).sum())


@pytest.mark.parametrize("seed", range(4))
def test_v_measure_is_its_formula_over_entropies_and_the_shared_information(seed):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 5, 40).tolist()
    labels = [str(x % 3) if rng.random() < 0.6 else "other" for x in found]
    both = entropy(found, labels)
    homogeneity = 1 - (both - entropy(found)) / entropy(labels)
    completeness = 1 - (both - entropy(labels)) / entropy(found)
    harmonic = 2 * homogeneity * completeness / (homogeneity + completeness)
    shared = entropy(found) + entropy(labels) - both
    assert v_measure(found, labels) == pytest.approx(harmonic)
    information = shared / ((entropy(found) + entropy(labels)) / 2)
    assert v_measure(found, labels) == pytest.approx(information)


def test_random_groups_score_0_only_where_chance_is_taken_off():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    many = [rng.integers(0, 30, 60) for _ in range(50)]
    assert np.mean([v_measure(found, labels) for found in many]) > 0.3
    assert abs(np.mean([adjusted_rand(found, labels) for found in many])) < 0.02


@pytest.mark.parametrize("agreement", [adjusted_rand, v_measure])
def test_names_of_groups_do_not_matter(agreement):
    assert agreement(["b", "b", "a", "c"], [1, 1, 2, 3]) == pytest.approx(1)


def test_v_measure_of_a_matrix_is_the_mean_over_seeds():
    matrix, labels = clouds(noise=0.5)
    scores = kmeans_scores(matrix, labels, seeds=range(4))
    assert v_measure(matrix, labels, seeds=range(4)) == pytest.approx(scores["v_measure"].mean())
    with pytest.raises(ValueError, match="give several"):
        v_measure(matrix, labels, seeds=[3])


def test_a_matrix_is_clustered_once_per_seed_and_averaged():
    matrix, labels = clouds(noise=0.5)
    scores = kmeans_scores(matrix, labels, seeds=range(6))
    assert list(scores.index) == [0, 1, 2, 3, 4, 5]
    assert scores["adjusted_rand"].nunique() > 1, "seeds differ on noisy clouds"
    assert adjusted_rand(matrix, labels, seeds=range(6)) == pytest.approx(
        scores["adjusted_rand"].mean()
    )
    again = kmeans_scores(matrix, labels, seeds=[3, 2])
    assert again.loc[3].equals(scores.loc[3]), "a seed decides its row, whatever the others"


def test_clear_clouds_are_found_and_shuffled_labels_are_not():
    matrix, labels = clouds(n=60, noise=0.02)
    assert silhouette(matrix, labels) > 0.9
    shuffled = list(np.random.default_rng(0).permutation(labels))
    assert abs(adjusted_rand(matrix, shuffled)) < 0.1
    assert kmeans_scores(matrix, labels)["v_measure"].max() == pytest.approx(1)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["x"] * 5, "1 different labels on 5 texts"),
        (list("abcde"), "5 different labels on 5 texts"),
        (["x", "y"], r"shape \(5, 3\) and there are 2 labels"),
    ],
)
def test_silhouette_refuses_labels_it_cannot_judge(labels, message):
    with pytest.raises(ValueError, match=message):
        silhouette(np.eye(5, 3), labels)


def test_vectors_with_nan_are_refused_by_row():
    matrix, labels = clouds()
    matrix[4, 0] = np.nan
    for measure in (silhouette, kmeans_scores):
        with pytest.raises(ValueError, match="matrix row 4 holds NaN"):
            measure(matrix, labels)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"seeds": [0]}, "give several"), ({"clusters": 31}, "between 1 and the 30 texts")],
)
def test_kmeans_refuses_one_seed_and_too_many_clusters(options, message):
    with pytest.raises(ValueError, match=message):
        kmeans_scores(*clouds(), **options)


def test_agreement_refuses_unequal_lengths_and_single_labels():
    for agreement in (adjusted_rand, v_measure):
        with pytest.raises(ValueError, match=r"shape \(3,\) and there are 2 labels"):
            agreement([0, 1, 1], ["x", "y"])
    with pytest.raises(ValueError, match="All texts have one label"):
        adjusted_rand(np.eye(3), ["x", "x", "x"])
