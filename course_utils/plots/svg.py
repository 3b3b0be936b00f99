"""Small charts for a widget's HTML, and text that a page shows as it stands."""

import re
from collections.abc import Mapping
from html import escape as escape_html
from string import ascii_lowercase

import numpy as np
from numpy.typing import ArrayLike

# Lines differ in dash and letter; all take the page's own colour, so that a dark page shows them.
LINE_DASHES = ("none", "6 3", "2 2", "8 2 2 2", "12 4", "1 4")
LETTERS = "abcdef"
_TOP, _LETTER_GAP = 8, 11  # pixels above the axes, and from one letter to the next
# Marks that turn the direction of the text after them, and control characters other than tab and
# line ends: shown by number, since a page obeys them wherever they stand, escaped or not.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def escape(text: object) -> str:
    """Return text that a page shows as it stands: no tag, no entity, no hidden direction mark.

    >>> escape('<b title="x">\\u202eabc')
    '&lt;b title=&quot;x&quot;&gt;[U+202E]abc'
    """
    visible = _INVISIBLE.sub(lambda mark: f"[U+{ord(mark.group()):04X}]", str(text))
    return escape_html(visible, quote=True)


def line_chart(
    x: ArrayLike,
    lines: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    x_ticks: Mapping[float, str],
    y_ticks: Mapping[float, str],
    at: int | None = None,
    level: float | None = None,
    number: str = ".3f",
    size: tuple[int, int] = (360, 120),
) -> str:
    """Return a small line chart as SVG, which says in words what it shows.

    ``x`` are n rising numbers, ``lines`` one to six names, each with n numbers. ``x_ticks`` and
    ``y_ticks`` say what is written where on the axes. The picture reaches from the lowest of them
    to the highest, and what lies beyond is drawn at its edge; names on the x axis that would touch
    others are left out. ``at`` is the position in ``x`` that is marked on every line, ``level`` the
    height of a dashed line across. ``number`` is the format of values in the description, ``size``
    the width and height between the axes in pixels. Of several lines each ends in a letter, by
    which the description calls it.

    Raises ``ValueError`` for no line, more than six, or lines not as long as ``x``.

    >>> drawn = line_chart([0, 0.5, 1], {"MRR": [0.5, 0.7, 0.25]}, xlabel="share", ylabel="MRR",
    ...                    x_ticks={0: "0", 1: "all"}, y_ticks={0: "0", 1: "1"}, at=1)
    >>> re.search('aria-label="(.*?)"', drawn)[1]
    'Line chart: MRR upwards against share across: 0.500 at 0, 0.700 at 0.5 (marked), 0.250 at all.'
    """
    places = np.asarray(x, dtype=float)
    values = {name: np.asarray(line, dtype=float) for name, line in lines.items()}
    if not 1 <= len(values) <= len(LETTERS) or {v.shape for v in values.values()} != {places.shape}:
        raise ValueError(
            f"There are {len(values)} lines for {len(places)} places: give one to {len(LETTERS)}, "
            "each with a number for every place."
        )
    left, bottom = 8 + 6 * max(map(len, y_ticks.values())), _TOP + size[1]
    right = left + size[0]

    def across(place):
        return left + size[0] * _share(place, x_ticks)

    def height(value):
        return bottom - size[1] * _share(value, y_ticks)

    drawn = ""
    for dash, line in zip(LINE_DASHES, values.values(), strict=False):
        points = [f"{across(p):.1f},{height(v):.1f}" for p, v in zip(places, line, strict=True)]
        drawn += (
            f'<polyline points="{" ".join(points)}" fill="none" stroke="currentColor" '
            f'stroke-dasharray="{dash}"/>'
        )
        if at is not None:
            cx, cy = points[at].split(",")
            drawn += f'<circle cx="{cx}" cy="{cy}" r="3.5"/>'
    if level is not None:
        drawn += _rule(left, right, height(level), height(level), "4 3")
    if at is not None:
        drawn += _rule(across(places[at]), across(places[at]), _TOP, bottom, "none")
    for value, name in y_ticks.items():
        drawn += _text(left - 6, height(value) + 3, name, "end")
    marked = [] if at is None else [places[at]]
    for place, name in _with_room({p: (across(p), name) for p, name in x_ticks.items()}, marked):
        drawn += _text(place, bottom + 14, name, "middle")
    if len(values) > 1:
        for letter, y in _apart([height(line[-1]) for line in values.values()], bottom):
            drawn += _text(right + 8, y + 3, letter, "start")
    width = right + 20 + 3 * max(map(len, x_ticks.values()))
    said = f"Line chart: {ylabel} upwards against {xlabel} across"
    said += _told(places, values, x_ticks, at, number)
    said += "." if level is None else f". A dashed line stands at {_number(level, number)}."
    return _framed(said, width, bottom + 22, drawn)


def interval_scatter(
    points: Mapping[str, tuple[float, float, float, float]],
    *,
    xlabel: str,
    ylabel: str,
    x_ticks: Mapping[float, str],
    y_ticks: Mapping[float, str],
    number: str = ".3f",
    size: tuple[int, int] = (360, 180),
) -> str:
    """Return a small scatter plot as SVG, with an interval at each point and x on a log scale.

    ``points`` maps up to 26 names to (x, y, low, high), x above 0, the interval being one of y. In
    the picture each has a letter, by which the description calls it. The ticks, ``number`` and
    ``size`` are those of ``line_chart``.

    Raises ``ValueError`` for no point, more than 26, an x that is not above 0, and a number that is
    not finite.

    >>> drawn = interval_scatter({"MiniLM": (200, 0.5, 0.4, 0.6)}, xlabel="texts/s", ylabel="MRR",
    ...                          x_ticks={100: "100", 1000: "1,000"}, y_ticks={0: "0", 1: "1"})
    >>> re.search('aria-label="(.*?)"', drawn)[1]
    'Scatter plot: MRR upwards against texts/s across. a, MiniLM: 0.500 (0.400 to 0.600) at 200.'
    """
    if not 1 <= len(points) <= len(ascii_lowercase):
        raise ValueError(f"There are {len(points)} points: give 1 to {len(ascii_lowercase)}.")
    for name, numbers in points.items():
        if not np.isfinite(numbers).all() or not numbers[0] > 0:
            raise ValueError(f"{name!r} is {numbers}: give finite numbers, x above 0.")
    left, bottom = 8 + 6 * max(map(len, y_ticks.values())), _TOP + size[1]
    logs = {float(np.log10(value)): name for value, name in x_ticks.items()}
    drawn = _rule(left, left + size[0], bottom, bottom, "none")
    told = []
    for letter, (name, (x, y, low, high)) in zip(ascii_lowercase, points.items(), strict=False):
        across = left + size[0] * _share(np.log10(x), logs)
        at, top, end = (bottom - size[1] * _share(value, y_ticks) for value in (y, high, low))
        drawn += (
            f'<line x1="{across:.1f}" y1="{top:.1f}" x2="{across:.1f}" y2="{end:.1f}" '
            f'stroke="currentColor"/><circle cx="{across:.1f}" cy="{at:.1f}" r="3.5"/>'
            + _text(across + 7, at + 3, letter, "start")
        )
        y, low, high = (_number(value, number) for value in (y, low, high))
        told.append(f"{letter}, {name}: {y} ({low} to {high}) at {_rate(x)}")
    for value, name in y_ticks.items():
        drawn += _text(left - 6, bottom - size[1] * _share(value, y_ticks) + 3, name, "end")
    places = {log: (left + size[0] * _share(log, logs), name) for log, name in logs.items()}
    for place, name in _with_room(places, []):
        drawn += _text(place, bottom + 14, name, "middle")
    width = left + size[0] + 20 + 3 * max(map(len, x_ticks.values()))
    said = f"Scatter plot: {ylabel} upwards against {xlabel} across. {'; '.join(told)}."
    return _framed(said, width, bottom + 22, drawn)


def _framed(said, width, height, drawn):
    return (
        f'<svg role="img" aria-label="{escape(said)}" viewBox="0 0 {width} {height}" '
        f'width="{width}" style="max-width:100%" font-family="sans-serif" font-size="10" '
        f'fill="currentColor">{drawn}</svg>'
    )


def _share(value, ticks):
    """Return how far a value lies on the way from the lowest tick to the highest, 0 to 1."""
    low, top = min(ticks), max(ticks)
    return float(np.clip((value - low) / ((top - low) or 1.0), 0.0, 1.0))


def _rule(x1, x2, y1, y2, dash):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-dasharray="{dash}" opacity=".5"/>'
    )


def _text(x, y, text, anchor):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _number(value, form):
    return f"{value:{form}}".replace("-", "−")


def _rate(x):
    return f"{x:,.0f}" if x >= 100 else f"{x:.3g}"


def _told(places, values, x_ticks, at, number):
    stops = sorted({0, len(places) - 1} | (set() if at is None else {at % len(places)}))

    def on(line):
        named = (
            f"{_number(line[stop], number)} at {x_ticks.get(places[stop], f'{places[stop]:g}')}"
            + " (marked)" * (at is not None and stop == at % len(places))
            for stop in stops
        )
        return ", ".join(named)

    if len(values) == 1:
        return ": " + on(*values.values())
    listed = zip(LETTERS, values.items(), strict=False)
    return ". " + "; ".join(f"{letter}, {name}: {on(line)}" for letter, (name, line) in listed)


def _apart(heights, lowest):
    """Return each line's letter and a height for it, so that no two letters overlap."""
    order = np.argsort(heights, kind="stable")
    placed, least = [], -np.inf
    for height in np.asarray(heights)[order]:
        placed.append(max(height, least))
        least = placed[-1] + _LETTER_GAP
    # Those pushed below the axis push back up.
    for at in reversed(range(len(placed))):
        placed[at] = min(placed[at], lowest)
        lowest = placed[at] - _LETTER_GAP
    return [(LETTERS[line], height) for line, height in zip(order, placed, strict=True)]


def _with_room(ticks, marked):
    """Return those of {value: (place, name)} that fit side by side, ends and marked first."""
    kept = []
    for value in dict.fromkeys([min(ticks), max(ticks), *marked, *ticks]):
        place, name = ticks.get(value, (-np.inf, ""))
        if place > 0 and all(abs(place - x) > 3 * len(name + other) + 4 for x, other in kept):
            kept.append((place, name))
    return kept
