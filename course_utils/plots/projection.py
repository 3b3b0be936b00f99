"""Many dimensions brought down to two, for a map."""

import warnings

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.models.files import require


def umap_projection(matrix: ArrayLike, *, seed: int = 0, n_neighbors: int = 15) -> np.ndarray:
    """Return a place on a flat map for every vector, neighbours by cosine kept near each other.

    ``matrix`` holds (n, d) vectors, no row all zeros; the result is (n, 2) float32. ``n_neighbors``
    is how many nearest vectors each one holds on to, at most n - 1; few show fine grain, many the
    broad layout. The same seed gives the same map on the same machine, not on another one, so
    describe a statistic of the vectors in words, never a place on the map.

    Raises ``ValueError`` for fewer than 5 vectors, NaN, or a row of zeros (it has no direction),
    and ``ImportError`` with the line to type where umap-learn is not installed.

    Source: McInnes, Healy and Melville 2018, *UMAP*, arXiv 1802.03426.

    >>> umap_projection([[1.0, 0.0]])
    Traceback (most recent call last):
    ...
    ValueError: A map needs at least 5 vectors, not 1.
    """
    vectors = finite_matrix(matrix, "matrix")
    if len(vectors) < 5:
        raise ValueError(f"A map needs at least 5 vectors, not {len(vectors)}.")
    zero = np.flatnonzero(~vectors.any(axis=1))
    if len(zero):
        raise ValueError(f"Row {zero[0]} is all zeros and has no direction: leave it out.")

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        for message in (".*n_jobs value.*", "(?i).*numba.*", "(?i).*spectral.*"):
            warnings.filterwarnings("ignore", message=message)
        reducer = require("umap", "course", "A map").UMAP(
            n_components=2,
            n_neighbors=min(n_neighbors, len(vectors) - 1),
            metric="cosine",
            random_state=seed,
            # The usual spectral start needs more points than this to have a solution.
            init="spectral" if len(vectors) > 15 else "random",
        )
        return np.asarray(reducer.fit_transform(vectors), dtype=np.float32)
