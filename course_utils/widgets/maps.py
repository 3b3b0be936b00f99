"""A map of texts to explore: an SVG whose points show their text under the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import PALETTE, cut
from course_utils.widgets.common import (
    controls,
    escape,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)

if TYPE_CHECKING:
    from ipywidgets import VBox

_MOST_POINTS = 1500
_MOST_LISTED = 10
_WIDTH, _HEIGHT, _EDGE = 760, 460, 14
# Drawn around (0, 0), one after another as the groups come: circle, square, triangle, diamond,
# triangle on its tip, plus, cross. Black of the palette follows the theme's text colour.
_SHAPES = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0",
    "M-3.5-3.5h7v7h-7z",
    "M0-4.5L4.5 3.5h-9z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.5L4.5-3.5h-9z",
    "M-1.4-4.5h2.8v3.1h3.1v2.8h-3.1v3.1h-2.8v-3.1h-3.1v-2.8h3.1z",
    "M-4-2.4L-2.4-4L0-1.6L2.4-4L4-2.4L1.6 0L4 2.4L2.4 4L0 1.6L-2.4 4L-4 2.4L-1.6 0z",
)
_COLOURS = tuple("currentColor" if colour == "#000000" else colour for colour in PALETTE)


def map_explorer(
    points: ArrayLike, texts: Sequence[str], groups: Sequence[str], *, seed: int = 0
) -> VBox:
    """Return a box with a map whose points show their text: ``.group``, ``.find``, ``.map``.

    ``points`` are (n, 2), ``texts`` and ``groups`` n strings each. A group has a colour and a shape
    of its own. Choosing a group or typing words to find fades every other point, and lists the
    first ten that are left, for those who do not use a pointer. Of more than 1,500 points a sample
    of 1,500 is drawn with ``seed``, and the box says so; texts are cut at 110 characters.

    Raises ``ValueError`` for lengths that differ, no points, and a place that is not a number.
    """
    ipywidgets = controls()
    places = np.asarray(points, dtype=float)
    texts, groups = [str(text) for text in texts], [str(group) for group in groups]
    if places.ndim != 2 or places.shape[1] != 2 or not len(places):
        raise ValueError(f"A map takes two numbers a point, shape (n, 2), not {places.shape}.")
    if not len(places) == len(texts) == len(groups):
        raise ValueError(
            f"There are {len(places)} points, {len(texts)} texts and {len(groups)} groups: "
            "give one of each for every point."
        )
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if len(bad):
        raise ValueError(f"Point {bad[0]} is not at two finite numbers: leave it out.")

    names = list(dict.fromkeys(groups))
    rows = np.arange(len(places))
    if len(rows) > _MOST_POINTS:
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.choice(len(places), _MOST_POINTS, replace=False))
    marks = _marks(_fit(places[rows]), rows, texts, groups, names)

    wide = {"description_width": "initial"}
    group = ipywidgets.Dropdown(
        options=[("all groups", -1), *((name, i) for i, name in enumerate(names))],
        description="Show group",
        style=wide,
    )
    find = ipywidgets.Text(description="Find in the texts", continuous_update=True, style=wide)
    drawn = ipywidgets.HTML()

    def redraw():
        wanted = find.value.strip().casefold()
        lit = [
            (group.value in (-1, of_group)) and wanted in texts[row].casefold()
            for row, of_group, _ in marks
        ]
        said = f"{sum(lit):,} of {len(marks):,} points are drawn in full strength."
        if len(marks) < len(places):
            said = f"A sample of {len(marks):,} of {len(places):,} points. {said}"
        listed = "" if all(lit) else _listing(marks, lit, texts, groups)
        drawn.value = region(
            "Map of the texts",
            _legend(names, groups) + _svg(marks, lit, said) + paragraph(said) + listed,
        )

    box = labelled(
        "Explore the map",
        "Hover over a point to read its text. Look for a point inside another group: is its text "
        "the odd one out, or its group name?",
        group=group,
        find=find,
        map=drawn,
    )
    redraw_on_change(redraw, group, find)
    return box


def _fit(places):
    low, high = places.min(axis=0), places.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    share = (places - low) / span
    # A page counts downwards, a map upwards.
    share[:, 1] = 1 - share[:, 1]
    return _EDGE + share * (np.array([_WIDTH, _HEIGHT]) - 2 * _EDGE)


def _marks(places, rows, texts, groups, names):
    """Return one (row, group number, svg path) a point, by group; made once, redrawn often."""
    number = {name: i for i, name in enumerate(names)}
    marks = []
    for (x, y), row in zip(places, rows, strict=True):
        of_group = number[groups[row]]
        title = escape(f"{groups[row]}: {cut(texts[row], 110)}")
        path = (
            f'<path transform="translate({x:.0f} {y:.0f})" '
            f'd="{_SHAPES[of_group % len(_SHAPES)]}"><title>{title}</title></path>'
        )
        marks.append((int(row), of_group, path))
    return sorted(marks, key=lambda mark: mark[1])


def _svg(marks, lit, said):
    pairs = list(zip(marks, lit, strict=True))
    faded = _paths([mark for mark, on in pairs if not on])
    strong = _paths([mark for mark, on in pairs if on])
    return (
        f'<svg role="img" aria-label="Scatter plot of texts. {escape(said)}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" style="width:100%;max-width:{_WIDTH}px;'
        'border:1px solid currentColor" stroke="currentColor" stroke-width=".4">'
        f'<g opacity=".13">{faded}</g><g opacity=".9">{strong}</g></svg>'
    )


def _paths(marks):
    return "".join(
        f'<g fill="{_COLOURS[number % len(_COLOURS)]}">{"".join(path for _, _, path in run)}</g>'
        for number, run in groupby(marks, key=lambda mark: mark[1])
    )


def _legend(names, groups):
    entries = []
    for i, name in enumerate(names):
        entries.append(
            '<span style="display:inline-block;margin-right:1.2em">'
            '<svg aria-hidden="true" width="14" height="14" viewBox="-7 -7 14 14" '
            f'stroke="currentColor" stroke-width=".4"><path fill="{_COLOURS[i % len(_COLOURS)]}" '
            f'd="{_SHAPES[i % len(_SHAPES)]}"/></svg> {escape(cut(name, 40))} '
            f"({groups.count(name)})</span>"
        )
    return f'<div style="margin:.3em 0">{"".join(entries)}</div>'


def _listing(marks, lit, texts, groups):
    found = [row for (row, _, _), on in zip(marks, lit, strict=True) if on]
    items = "".join(
        f'<li><em>{escape(cut(groups[row], 40))}</em>: <span dir="auto">'
        f"{escape(cut(texts[row], 110))}</span></li>"
        for row in found[:_MOST_LISTED]
    )
    more = len(found) - _MOST_LISTED
    rest = paragraph(f"and {more} more") if more > 0 else ""
    return f'<ul style="margin:.3em 0;padding-left:1.6em">{items}</ul>{rest}'
