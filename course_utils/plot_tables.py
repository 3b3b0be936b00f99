"""What numbers must be before they are drawn, and how a row is called; refusals are sentences."""

from __future__ import annotations

import numpy as np


def row_name(name):
    """Return the name of a row as one string, the levels of a MultiIndex joined by commas.

    >>> row_name(("medical", 3)), row_name("legal")
    ('medical, 3', 'legal')
    """
    return ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def refuse_nan(values, what):
    """Raise ValueError, naming the place, if a number is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        at = place[0] if len(place) == 1 else place
        raise ValueError(f"The {what} is not a finite number at {at}: leave it out or repair it.")


def need_columns(table, columns, what):
    """Raise ValueError if a column is missing, holds NaN, or the table has no rows."""
    for column in columns:
        if column not in table:
            raise ValueError(f"The {what} needs a column {column!r}; there are {list(table)}.")
        values = table[column].to_numpy(dtype=float)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"Row {table.index[bad[0]]!r}: {column} is not a finite number.")
    if not len(table):
        raise ValueError(f"The {what} has no rows: give it at least one.")


def read_intervals(table, what):
    """Return the row names, means, lows and highs of a table of intervals.

    Raises ValueError as `need_columns`, or if a mean lies outside its interval.
    """
    need_columns(table, ["mean", "low", "high"], what)
    names = [row_name(name) for name in table.index]
    means, lows, highs = (table[column].to_numpy(dtype=float) for column in ("mean", "low", "high"))
    for name, mean, low, high in zip(names, means, lows, highs, strict=True):
        if not low <= mean <= high:
            raise ValueError(f"Row {name!r}: the mean {mean} is not between {low} and {high}.")
    return names, means, lows, highs
