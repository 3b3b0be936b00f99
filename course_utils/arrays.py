"""What numbers must be before anything is computed from them: a finite matrix, a finite row."""

from typing import Any

import numpy as np


def finite_matrix(values: Any, name: str, *, dtype: Any = np.float32) -> np.ndarray:
    """Return ``values`` as a C-ordered (n, d) array of finite numbers.

    ``name`` is what an error calls them; ``dtype`` is that of the result. n may be 0, d may not.

    Raises ``ValueError`` for another shape, and for NaN or an infinity, naming the first such row.

    >>> finite_matrix([[1, 2]], "vectors")
    array([[1., 2.]], dtype=float32)
    """
    matrix = np.ascontiguousarray(values, dtype=dtype)
    if matrix.ndim != 2 or not matrix.shape[1]:
        raise ValueError(
            f"{name} has shape {matrix.shape}: give one row of numbers a text, (n, d)."
        )
    refuse_broken_rows(matrix, name)
    return matrix


def refuse_broken_rows(matrix: np.ndarray, name: str, called: Any = None) -> None:
    """Raise ``ValueError`` for the first row of (n, d) that holds NaN or an infinity.

    ``called`` names the rows, one name each; without it a row is called by its number.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        total = matrix.sum()
    if np.isfinite(total):  # one look at all before the look at each row
        return
    broken = np.flatnonzero(~np.isfinite(matrix).all(axis=1))
    if len(broken):
        row = int(broken[0])
        whose = "" if called is None else f" ({called[row]!r})"
        raise ValueError(
            f"{name} row {row}{whose} holds NaN or infinity ({len(broken)} such rows in all): "
            "encode that text again or leave it out."
        )
