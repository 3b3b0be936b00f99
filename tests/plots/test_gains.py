"""Slope chart and ladder: every number in words and in its place, nothing over anything else."""

import base64
import struct
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.text import Text

from course_utils.plots import gains as plots
from course_utils.plots.drawing import _png

HOSTILE = "<script>alert(1)</script> \"double\" 'single' $x_$ \u202e"
BEFORE, AFTER = [37, 412, 2, 1, 12, 1800], [1, 9, 5, 1, 12, 140]


def slopes(names=("ears", "eyes", "skin", "heart", "liver", "bones"), title="Places"):
    return plots.slope_chart(BEFORE, AFTER, list(names), title=title)


RUNGS = pd.DataFrame(
    {
        "label": ["words", "pairs", "labels"],
        "mean": [0.38, 0.56, 0.68],
        "low": [0.35, 0.5, 0.65],
        "high": [0.4, 0.6, 0.72],
        "minutes": [0, 4.12, 1234.5],
        "labelled": [False, False, True],
    }
)


def ladder(names=("words", "pairs", "labels"), title="Rungs", **options):
    table = RUNGS.assign(label=list(names))
    return plots.ladder_plot(table, title=title, xlabel="MRR@10", **options)


EVERY = {slopes: 6, ladder: 3}  # how many names each takes


@pytest.mark.parametrize("draw", EVERY)
def test_the_picture_fits_a_page(draw):
    text = _png(draw())
    width, height = struct.unpack(">II", base64.b64decode(text)[16:24])
    assert 300 < width <= 700
    assert 100 < height < 800
    assert len(text) < 120_000


@pytest.mark.parametrize("draw", EVERY)
def test_without_matplotlib_the_line_to_type_is_given(draw, without_matplotlib):
    with pytest.raises(ImportError) as error:
        draw()
    assert str(error.value) == without_matplotlib


# DejaVu Sans has no shape for the direction mark, and none is wanted.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", EVERY)
def test_hostile_names_are_drawn_as_they_stand(draw):
    names = [HOSTILE, "$\\frac$", "_private", "a", "b", "c"][: EVERY[draw]]
    figure = draw(names, "$\\frac$")
    _png(figure)
    assert HOSTILE in figure.description
    texts = figure.findobj(match=lambda item: hasattr(item, "get_text"))
    assert any("alert(1)" in text.get_text() for text in texts)


def printed(figure):
    """Every text of a figure that is not empty, with the rectangle it fills in pixels."""
    figure.draw_without_rendering()
    (axes,) = figure.axes
    texts = [*axes.texts, axes.xaxis.label, axes.yaxis.label, *figure.legends[0].get_texts()]
    texts += [item for item in axes.get_children() if isinstance(item, Text)]  # titles
    for axis in (axes.xaxis, axes.yaxis):
        low, high = sorted(axis.get_view_interval())
        texts += [
            label
            for place, label in zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
            if low <= place <= high  # others are not drawn
        ]
    return [(text.get_text(), text.get_window_extent()) for text in {*texts} if text.get_text()]


def assert_legible(figure):
    """No text covers another or leaves the picture."""
    found = printed(figure)
    for (one, first), (other, second) in combinations(found, 2):
        assert not first.overlaps(second), (one, other)
    width, height = figure.canvas.get_width_height()
    for text, box in found:
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text


LONG = "the child does not answer to its name although its hearing is fine"


class TestSlopeChart:
    def test_each_line_joins_the_two_places_of_a_question_with_1_at_the_top(self):
        axes = slopes().axes[0]
        joined = [line.get_ydata() for line in axes.lines if line.get_marker() != "None"]
        assert [list(ends) for ends in joined] == [list(e) for e in zip(BEFORE, AFTER, strict=True)]
        bottom, top = axes.get_ylim()
        assert bottom > 1800 > 1 > top > 0
        assert axes.get_yscale() == "log"

    def test_what_rose_fell_and_stayed_differs_in_dash_and_marker_as_well_as_colour(self):
        axes = slopes().axes[0]
        drawn = [line for line in axes.lines if line.get_marker() != "None"]
        looks = [(line.get_color(), line.get_linestyle(), line.get_marker()) for line in drawn]
        rose, fell, stayed = looks[0], looks[2], looks[3]
        assert looks == [rose, rose, fell, stayed, stayed, rose]
        for kind in range(3):
            assert len({rose[kind], fell[kind], stayed[kind]}) == 3
        legend = slopes().legends[0]
        said = [text.get_text() for text in legend.get_texts()]
        assert said == ["better (3)", "worse (1)", "unchanged (2)"]
        named = [(h.get_color(), h.get_linestyle(), h.get_marker()) for h in legend.get_lines()]
        assert named == [rose, fell, stayed]

    def test_the_places_are_printed_at_both_ends_and_the_names_beside_the_second(self):
        rows = {}
        for text in slopes().axes[0].texts:
            rows.setdefault(text.xy[1], []).append((text.xy[0], text.get_text()))
        beside = {tuple(word for _, word in sorted(row)) for row in rows.values()}
        assert {("1,800",), ("37",), ("412",)} <= beside
        assert {("140", "bones"), ("9", "eyes"), ("5", "skin")} <= beside

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            (
                [37, 412, 8, 2, 3, 1, 95, 210, 12, 1800, 5, 1],
                [1, 9, 2, 5, 1, 1, 3, 1, 12, 140, 1, 4],
            ),
            ([1] * 16, [1] * 16),
            ([99_999] * 16, [99_998] * 16),
            ([1], [1]),
            ([*range(1, 17)], [*range(16, 0, -1)]),
        ],
    )
    def test_no_text_covers_another_or_leaves_the_picture(self, before, after):
        assert_legible(plots.slope_chart(before, after, [LONG] * len(before), title="Places"))

    def test_the_description_tells_every_question_by_what_became_of_it(self):
        said = slopes().description
        assert said.startswith("Slope chart, Places: ")
        assert "logarithmic axis with 1 at the top" in said
        better, worse, unchanged = (said.index(way) for way in ("3 better", "1 worse", "2 unch"))
        assert better < said.index('"ears" from 37 to 1;') < said.index('"eyes" from 412 to 9;')
        assert said.index('"bones" from 1,800 to 140.') < worse < said.index('"skin" from 2 to 5.')
        assert unchanged < said.index('"heart" from 1 to 1; "liver" from 12 to 12.')
        assert "worse" not in plots.slope_chart([2], [1], ["a"]).description

    @pytest.mark.parametrize(
        ("before", "after", "names", "message"),
        [
            ([], [], [], "ranks of 'before' have shape"),
            ([1], [0], ["a"], "Rank 0 of 'after' is 0"),
            ([1, 1.5], [1, 1], ["a", "b"], r"Rank 1 of 'before' is 1\.5"),
            ([1, 2], [1], ["a"], "2 ranks before, 1 after and 1 labels"),
        ],
    )
    def test_what_is_no_place_of_a_question_is_refused(self, before, after, names, message):
        with pytest.raises(ValueError, match=message):
            plots.slope_chart(before, after, names)


class TestSpread:
    @settings(max_examples=50, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_places_keep_their_order_their_gap_and_their_range(self, wanted):
        found = plots._spread(np.sort(wanted), 0.05, 0.0, 1.0)
        assert (np.diff(found) >= 0.05 - 1e-9).all()
        assert found.min() >= -1e-9
        assert found.max() <= 1 + 1e-9

    def test_what_is_far_enough_apart_stays_and_what_is_not_parts_around_its_middle(self):
        np.testing.assert_allclose(plots._spread(np.array([0.1, 0.5]), 0.2, 0, 1), [0.1, 0.5])
        np.testing.assert_allclose(plots._spread(np.array([0.5, 0.5]), 0.2, 0, 1), [0.4, 0.6])
        np.testing.assert_allclose(plots._spread(np.array([0.0, 0.0]), 0.2, 0, 1), [0.0, 0.2])


class TestLadderPlot:
    def test_each_rung_has_its_mean_and_its_interval_from_top_to_bottom(self):
        axes = ladder().axes[0]
        points = np.concatenate([drawn.get_offsets() for drawn in axes.collections])
        np.testing.assert_allclose(points, [[0.38, 0], [0.56, 1], [0.68, 2]])
        spans = [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"]
        assert spans == [[0.35, 0.4], [0.5, 0.6], [0.65, 0.72]]
        assert [t.get_text() for t in axes.get_yticklabels()] == ["words", "pairs", "labels"]
        bottom, top = axes.get_ylim()
        assert bottom > 2 > 0 > top

    def test_what_labels_reach_is_set_apart_in_marker_filling_dash_and_words(self):
        figure = ladder()
        one, other, ceiling = figure.axes[0].collections
        white = to_rgba("white")
        assert tuple(ceiling.get_facecolor()[0]) == white
        assert white not in [tuple(drawn.get_facecolor()[0]) for drawn in (one, other)]
        shapes = [drawn.get_paths()[0].vertices.tobytes() for drawn in (one, other, ceiling)]
        assert shapes[0] == shapes[1] != shapes[2]
        whiskers = [line for line in figure.axes[0].lines if line.get_marker() == "None"]
        assert [line.get_linestyle() for line in whiskers] == ["-", "-", "--"]
        said = [text.get_text() for text in figure.legends[0].get_texts()]
        assert said == ["without labels", "with labels"]
        free = plots.ladder_plot(RUNGS[:2])
        assert not free.legends

    def test_the_minutes_stand_in_a_column_at_the_right(self):
        table = RUNGS.loc[[0, 0, 0, 1, 1, 2]].assign(minutes=[0, 0.01, 0.52, 4.12, 9.96, 1234.5])
        axes = plots.ladder_plot(table).axes[0]
        words = [text for text in axes.texts if text.get_ha() == "right"]
        said = [text.get_text() for text in words]
        assert said == ["minutes", "0", "< 0.1", "0.5", "4.1", "10", "1,234"]
        assert [text.get_position()[1] for text in words] == [-1, 0, 1, 2, 3, 4, 5]

    @pytest.mark.parametrize("untouched", [0.1, 0.5, 0.9])
    def test_what_nothing_was_done_for_is_a_dashed_line_with_its_number(self, untouched):
        axes = ladder(untouched=untouched).axes[0]
        (dashed,) = [line for line in axes.lines if list(line.get_xdata()) == [untouched] * 2]
        assert dashed.get_linestyle() == "--"
        assert f"untouched {untouched:.3f}" in [text.get_text() for text in axes.texts]
        assert "untouched" not in [text.get_text() for text in ladder().axes[0].texts]

    @pytest.mark.parametrize("untouched", [None, 0.1, 0.37, 0.5, 0.9])
    def test_no_text_covers_another_or_leaves_the_picture(self, untouched):
        assert_legible(ladder([LONG, "pairs", LONG], untouched=untouched))
        table = pd.concat([RUNGS] * 3).assign(minutes=99_999)
        assert_legible(plots.ladder_plot(table, untouched=untouched))

    def test_the_description_lists_every_rung_with_its_numbers(self):
        said = ladder(untouched=0.35).description
        assert said.startswith("Dot plot with intervals, Rungs: MRR@10 for 3 rungs")
        assert "words 0.380 (0.350 to 0.400), 0 minutes; " in said
        assert "pairs 0.560 (0.500 to 0.600), 4.1 minutes; " in said
        assert "labels 0.680 (0.650 to 0.720), 1,234 minutes, with labels (hollow). " in said
        assert said.endswith("Dashed line, untouched: 0.350.")
        assert "untouched" not in ladder().description

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"minutes": [0, -1, 2]}, "Rung 'pairs': minutes is -1"),
            ({"minutes": [0, np.nan, 2]}, "Rung 'pairs': minutes is nan"),
            ({"mean": [0.1, 0.56, 0.68]}, r"Row 'words': the mean 0\.1 is not between"),
            ({"labelled": ["no", "no", "yes"]}, "'labelled' says whether"),
        ],
    )
    def test_rungs_that_cannot_be_drawn_are_refused(self, change, message):
        with pytest.raises(ValueError, match=message):
            plots.ladder_plot(RUNGS.assign(**change))

    @pytest.mark.parametrize("column", RUNGS.columns)
    def test_a_missing_column_is_named(self, column):
        with pytest.raises(ValueError, match=f"needs a column '{column}'"):
            plots.ladder_plot(RUNGS.drop(columns=column))
