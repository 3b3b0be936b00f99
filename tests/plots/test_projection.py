"""A map keeps neighbours, is the same for the same seed, and refuses what has no place on it."""

import sys
import warnings

import numpy as np
import pytest

from course_utils.models.files import install_line
from course_utils.plots.projection import umap_projection


def test_a_map_keeps_neighbours_together_and_is_the_same_for_the_same_seed():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(3), 40)
    vectors = 4 * np.eye(3, 30)[group] + 0.3 * rng.normal(size=(120, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        places = umap_projection(vectors, seed=5)
    assert places.shape == (120, 2)
    assert places.dtype == np.float32
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(group[distances.argmin(axis=1)] == group) > 0.95
    np.testing.assert_array_equal(places, umap_projection(vectors, seed=5))


def test_a_map_of_very_few_texts_can_be_drawn():
    places = umap_projection(np.random.default_rng(0).normal(size=(6, 8)))
    assert np.isfinite(places).all()


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((4, 3)), "at least 5 vectors, not 4"),
        (np.ones(9), "shape"),
        (np.vstack([np.ones((9, 3)), np.zeros(3)]), "Row 9 is all zeros"),
        (np.vstack([np.ones((9, 3)), [1, np.nan, 1]]), "row 9 holds NaN"),
    ],
)
def test_what_has_no_place_on_a_map_is_refused(matrix, message):
    with pytest.raises(ValueError, match=message):
        umap_projection(matrix)


def test_without_umap_the_line_to_type_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError) as error:
        umap_projection(np.eye(6))
    assert str(error.value) == (
        f"A map needs the package umap, which is not installed. Run: {install_line('course')}"
    )
