"""The figures of lesson 2 say their numbers in words, keep texts apart, and refuse what is wrong."""

import base64
import struct
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.adaptation import add_noise
from course_utils.plots import adaptation as plots
from course_utils.plots.drawing import _png

HOSTILE = "<script>alert(1)</script> \"double\" 'single' $x_$ \u202e"


def ranks(first="base", second="adapted"):
    return plots.rank_histogram(
        {first: [1, 2, 3, 4, 10, 11, 100, 101, 1000, 1001], second: [1, 1, 1, 5]}
    )


def diagram(sentence="one two three four five", damaged="two five"):
    return plots.bottleneck_diagram(sentence=sentence, damaged=damaged)


def curve(xlabel="pairs", title="By size", **options):
    table = pd.DataFrame(
        {"mean": [0.4, 0.5, 0.45], "low": [0.3, 0.4, 0.4], "high": [0.5, 0.7, 0.5]},
        index=[100, 1_000, 30_000],
    )
    return plots.learning_curve(table, xlabel=xlabel, ylabel="MRR@10", title=title, **options)


EVERY = [ranks, diagram, curve]


@pytest.mark.parametrize("draw", EVERY)
def test_the_picture_is_small(draw):
    text = _png(draw())
    width, height = struct.unpack(">II", base64.b64decode(text)[16:24])
    assert 300 < width < 1000
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
    figure = draw(HOSTILE, "$\\frac$")
    _png(figure)
    assert HOSTILE in figure.description
    texts = figure.findobj(match=lambda item: hasattr(item, "get_text"))
    assert any("alert(1)" in text.get_text() for text in texts)


class TestRankHistogram:
    def test_the_bars_are_the_shares_of_the_questions_in_each_range(self):
        first, second = ranks().axes[0].containers
        # Of ten ranks, one is 1, two are 2 or 3, two 4 to 10, two 11 to 100, two to 1,000, one above.
        assert [bar.get_height() for bar in first] == pytest.approx([10, 20, 20, 20, 20, 10])
        assert [bar.get_height() for bar in second] == pytest.approx([75, 0, 25, 0, 0, 0])

    @settings(max_examples=15, deadline=None)
    @given(st.lists(st.integers(1, 5000), min_size=1, max_size=30))
    def test_every_question_is_in_exactly_one_range(self, found):
        (bars,) = plots.rank_histogram({"model": found}).axes[0].containers
        assert sum(bar.get_height() for bar in bars) == pytest.approx(100)
        assert bars[0].get_height() == pytest.approx(100 * found.count(1) / len(found))

    def test_models_differ_in_hatch_as_well_as_colour(self):
        first, second = (bars[0] for bars in ranks().axes[0].containers)
        assert first.get_hatch() != second.get_hatch()
        assert first.get_facecolor() != second.get_facecolor()

    def test_the_description_says_the_top_ten_and_the_median(self):
        said = ranks().description
        assert said.startswith("Bar chart, ")
        assert "share of the questions upwards against the rank" in said
        assert "base, 10 questions: 50 % in the top 10, median rank 10.5" in said
        assert "adapted, 4 questions: 100 % in the top 10, median rank 1." in said

    @pytest.mark.parametrize(
        ("given_ranks", "message"),
        [
            ({}, "0 sets of ranks"),
            ({str(i): [1] for i in range(6)}, "6 sets of ranks"),
            ({"a": []}, "ranks of 'a' have shape"),
            ({"a": [1, 0]}, "Rank 1 of 'a' is 0"),
            ({"a": [1.5]}, "Rank 0 of 'a' is 1.5"),
            ({"a": [np.inf]}, "Rank 0 of 'a' is inf"),
        ],
    )
    def test_what_is_no_rank_is_refused(self, given_ranks, message):
        with pytest.raises(ValueError, match=message):
            plots.rank_histogram(given_ranks)


def placed(figure):
    """Every text of the drawing that is not empty, with the rectangle it fills in pixels."""
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    return [
        (text.get_text(), text.get_window_extent(renderer))
        for text in figure.axes[0].texts
        if text.get_text()
    ]


class TestBottleneckDiagram:
    LONG = "hypercholesterolaemia " * 12

    @pytest.mark.parametrize("texts", [{}, {"sentence": LONG, "damaged": LONG}])
    def test_no_text_covers_another_or_leaves_the_picture(self, texts):
        figure = plots.bottleneck_diagram(**texts)
        boxes = placed(figure)
        assert len(boxes) == 11
        for (one, first), (other, second) in combinations(boxes, 2):
            assert not first.overlaps(second), (one, other)
        width, height = figure.canvas.get_width_height()
        for text, box in boxes:
            assert box.x0 >= 0, text
            assert box.y0 >= 0, text
            assert box.x1 <= width, text
            assert box.y1 <= height, text

    def test_the_texts_stand_inside_their_boxes(self):
        from matplotlib.patches import FancyBboxPatch

        figure = diagram(self.LONG, self.LONG)
        texts = [box for text, box in placed(figure) if text.startswith("hyper")]
        boxes = [
            patch.get_window_extent()
            for patch in figure.axes[0].patches
            if isinstance(patch, FancyBboxPatch)
        ]
        assert len(texts) == len(boxes) == 3
        for text, box in zip(texts, boxes, strict=True):
            assert box.x0 < text.x0 < text.x1 < box.x1
            assert box.y0 < text.y0 < text.y1 < box.y1

    def test_the_vector_is_the_narrowest_part(self):
        from matplotlib.patches import Polygon, Rectangle

        patches = plots.bottleneck_diagram().axes[0].patches
        cells = [patch for patch in patches if type(patch) is Rectangle]
        tall = max(c.get_y() + c.get_height() for c in cells) - min(c.get_y() for c in cells)
        funnels = [patch for patch in patches if isinstance(patch, Polygon)]
        assert len(funnels) == 2
        for funnel in funnels:
            corners = funnel.get_xy()[:4]
            ends = [np.ptp(corners[[0, 1], 1]), np.ptp(corners[[2, 3], 1])]
            assert tall <= min(ends) < max(ends) / 2

    def test_the_damaged_copy_shown_is_one_that_training_would_make(self):
        sentence = "The patient was seen at night with a high fever."
        (copy,) = add_noise([sentence], rate=0.6, seed=5)
        assert f'"{copy}"' in plots.bottleneck_diagram().description
        assert len(copy.split()) == 0.4 * len(sentence.split())

    def test_the_description_tells_the_way_from_sentence_to_sentence(self):
        told = diagram().description
        assert told.index('"one two three four five"') < told.index('"two five"')
        assert told.index("encoder") < told.index("one vector") < told.index("loss")


class TestLearningCurve:
    def test_points_and_intervals_stand_where_the_table_has_them(self):
        axes = curve().axes[0]
        line = axes.lines[0]
        assert line.get_xdata().tolist() == [100, 1000, 30_000]
        assert line.get_ydata().tolist() == [0.4, 0.5, 0.45]
        (bars,) = axes.collections
        spans = [segment[:, 1].tolist() for segment in bars.get_segments()]
        np.testing.assert_allclose(spans, [[0.3, 0.5], [0.4, 0.7], [0.4, 0.5]])
        assert axes.get_xscale() == "log"
        assert [t.get_text() for t in axes.get_xticklabels()] == ["100", "1,000", "30,000"]

    def test_the_baseline_is_dashed_and_named(self):
        axes = curve(baseline=0.35).axes[0]
        (dashed,) = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert list(dashed.get_ydata()) == [0.35, 0.35]
        assert "baseline 0.350" in [text.get_text() for text in axes.texts]
        assert "--" not in [line.get_linestyle() for line in curve().axes[0].lines]

    def test_the_description_gives_every_point_and_the_baseline(self):
        said = curve(baseline=0.35).description
        assert said.startswith("Line chart with intervals, By size: MRR@10 upwards against pairs")
        for size, ends in (
            ("100", [0.4, 0.3, 0.5]),
            ("1,000", [0.5, 0.4, 0.7]),
            ("30,000", [0.45, 0.4, 0.5]),
        ):
            mean, low, high = (f"{value:.3f}" for value in ends)
            assert f"{size} pairs: {mean} ({low} to {high})" in said
        assert "baseline: 0.350" in said
        assert "baseline" not in curve().description

    @pytest.mark.parametrize("index", [[0, 10], [10, 5], [5, 5], [-1, 5]])
    def test_sizes_that_do_not_rise_from_above_zero_are_refused(self, index):
        table = pd.DataFrame({"mean": [1, 1], "low": [0, 0], "high": [2, 2]}, index=index)
        with pytest.raises(ValueError, match="sort it, above 0"):
            plots.learning_curve(table, xlabel="", ylabel="", title="")

    def test_a_mean_outside_its_interval_is_refused(self):
        table = pd.DataFrame({"mean": [3.0], "low": [0], "high": [2]}, index=[10])
        with pytest.raises(ValueError, match=r"Row '10': the mean 3\.0 is not between"):
            plots.learning_curve(table, xlabel="", ylabel="", title="")
