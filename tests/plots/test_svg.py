"""The line chart inside a widget: every point at its place, told in words, apart without colour."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.plots.svg import LETTERS, _apart, line_chart

HOSTILE = '<script>alert("x")</script> \u202eabc'


def chart(lines, x=(0, 1, 3), **options):
    usual = {
        "xlabel": "step",
        "ylabel": "loss",
        "x_ticks": {0: "0", 4: "end"},
        "y_ticks": {0: "0", 2: "2"},
        "size": (400, 100),
    }
    return line_chart(list(x), lines, **(usual | options))


def drawn(svg):
    """The points of every line, as arrays (n, 2)."""
    return [
        np.array([list(map(float, point.split(","))) for point in points.split()])
        for points in re.findall(r'<polyline points="([^"]+)"', svg)
    ]


def said(svg):
    return re.search('role="img" aria-label="([^"]*)"', svg)[1]


def written(svg):
    """{text: (x, y)} of all that is written on the picture."""
    found = re.findall(r'<text x="([\d.-]+)" y="([\d.-]+)"[^>]*>([^<]*)</text>', svg)
    return {text: (float(x), float(y)) for x, y, text in found}


def test_points_stand_where_both_axes_say():
    svg = chart({"loss": [2.0, 0.5, 1.0]})
    (line,) = drawn(svg)
    at = written(svg)
    left, right = at["0"][0], at["end"][0]
    assert right - left == pytest.approx(400)
    assert line[:, 0] == pytest.approx(left + 400 * np.array([0, 1, 3]) / 4)
    top = at["2"][1] - 3  # the middle of a digit stands at its height
    assert line[:, 1] == pytest.approx(top + 100 * (2 - np.array([2.0, 0.5, 1.0])) / 2)


def test_what_lies_beyond_the_axis_is_drawn_at_its_edge_and_told_as_it_is():
    svg = chart({"loss": [5.0, 1.0, -1.0]})
    heights = drawn(svg)[0][:, 1]
    assert heights[0] == heights.min() == heights[1] - 50
    assert heights[2] == heights.max() == heights[1] + 50
    assert "5.000 at 0" in said(svg)
    assert "−1.000 at 3" in said(svg)


def test_every_line_is_marked_at_the_same_place_and_told_there():
    svg = chart({"loss": [2.0, 0.5, 1.0], "dev": [0.1, 0.2, 0.3]}, at=1, number=".1f")
    points = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    assert [list(map(float, point)) for point in points] == [list(line[1]) for line in drawn(svg)]
    assert said(svg) == (
        "Line chart: loss upwards against step across. a, loss: 2.0 at 0, 0.5 at 1 (marked), 1.0 at "
        "3; b, dev: 0.1 at 0, 0.2 at 1 (marked), 0.3 at 3."
    )


def test_a_marked_end_is_told_once():
    svg = chart({"loss": [2.0, 0.5, 1.0]}, at=2)
    assert said(svg).endswith("across: 2.000 at 0, 1.000 at 3 (marked).")


def test_a_level_stands_at_its_height_and_is_told():
    svg = chart({"loss": [2.0, 0.5, 1.0]}, level=0.5)
    ((y1, y2),) = re.findall(r'y1="([\d.]+)" x2="[\d.]+" y2="([\d.]+)"', svg)
    assert float(y1) == float(y2) == drawn(svg)[0][1, 1]
    assert said(svg).endswith("A dashed line stands at 0.500.")


@pytest.mark.parametrize("number", range(1, 7))
def test_lines_differ_without_colour(number):
    svg = chart({str(i): [0.3 * i, 1, 2] for i in range(number)})
    dashes = re.findall(r'<polyline [^>]*stroke-dasharray="([^"]+)"', svg)
    assert len(set(dashes)) == number
    letters = [text for text in written(svg) if text in set(LETTERS)]
    assert sorted(letters) == ([] if number == 1 else list(LETTERS[:number]))
    # No colour of its own: the page's text colour is read on the page, be it light or dark.
    assert set(re.findall('(?:stroke|fill)="([^"]+)"', svg)) == {"currentColor", "none"}


def test_names_that_would_touch_are_left_out_but_never_the_ends_or_the_marked():
    x = np.arange(100)
    ticks = {float(place): str(1000 + place) for place in x}
    svg = chart({"loss": x / 50}, x, x_ticks=ticks, at=50)
    names = {text: place[0] for text, place in written(svg).items() if len(text) == 4}
    assert {"1000", "1050", "1099"} <= set(names)
    assert 4 < len(names) < 20
    assert np.diff(sorted(names.values())).min() >= 4 * 6


def test_names_are_shown_as_text():
    svg = chart(
        {HOSTILE: [0, 1, 2], "b": [0, 1, 2]},
        xlabel=HOSTILE,
        ylabel=HOSTILE,
        x_ticks={0: HOSTILE, 4: "end"},
        y_ticks={0: HOSTILE, 2: "2"},
    )
    assert "<script" not in svg
    assert "\u202e" not in svg
    assert '"x"' not in svg
    assert said(svg).count("&lt;script&gt;") == 5


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(8, 158), min_size=1, max_size=6))
def test_no_two_letters_overlap_and_none_leaves_the_picture(heights):
    placed = _apart(heights, 158)
    assert sorted(letter for letter, _ in placed) == list(LETTERS[: len(heights)])
    at = sorted(height for _, height in placed)
    assert (np.diff(at) >= 11 - 1e-9).all()
    assert at[0] >= 8 - 1e-9
    assert at[-1] <= 158


def test_letters_with_room_stand_at_their_lines():
    assert dict(_apart([100.0, 20.0, 60.0], 158)) == {"a": 100, "b": 20, "c": 60}


@pytest.mark.parametrize(
    "lines",
    [{}, {str(i): [0, 1, 2] for i in range(7)}, {"loss": [1, 2]}, {"a": [1, 2, 3], "b": [1]}],
)
def test_what_is_no_chart_is_refused(lines):
    with pytest.raises(ValueError, match="give one to 6"):
        chart(lines)
