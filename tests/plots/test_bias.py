"""The figure of lesson 4 says its numbers in words, keeps texts apart, and refuses what is wrong."""

import base64
import struct
import warnings
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from course_utils.bias.associations import seat
from course_utils.data.tasks import AssociationTest
from course_utils.encoding.embedders import as_embedder
from course_utils.plots.bias import template_plot
from course_utils.plots.drawing import _png

HOSTILE = "<script>alert(1)</script> \"double\" 'single' $x_$ \u202e {}"
EFFECTS = {"This is {}.": 0.4, "{} is here.": 1.5, "We met {}.": -0.6, "Look at {}.": 0.9}
P_VALUES = [0.2, 0.001, 0.9, 0.05]


def table(names=EFFECTS):
    return pd.DataFrame(
        {"effect_size": list(EFFECTS.values()), "p_value": P_VALUES}, index=list(names)
    )


def markers(figure):
    """The place of every marker and whether it is filled, from top to bottom."""
    (axes,) = figure.axes
    found = [
        (*map(float, points.get_offsets()[0]), bool((points.get_facecolor()[0, :3] < 1).any()))
        for points in axes.collections
    ]
    return sorted(found, key=lambda marker: marker[1])


def test_the_markers_are_the_effects_from_highest_to_lowest():
    found = markers(template_plot(table(), 0.7))
    assert [marker[0] for marker in found] == sorted(EFFECTS.values(), reverse=True)
    assert [marker[1] for marker in found] == [0, 1, 2, 3]
    names = [label.get_text() for label in template_plot(table(), 0.7).axes[0].get_yticklabels()]
    assert names == sorted(EFFECTS, key=lambda name: -EFFECTS[name])


def test_only_a_p_below_a_twentieth_fills_a_marker():
    filled = {marker[0]: marker[2] for marker in markers(template_plot(table(), 0.7))}
    assert filled == {1.5: True, 0.9: False, 0.4: False, -0.6: False}


def test_the_lines_stand_at_zero_and_at_the_effect_over_all():
    lines = template_plot(table(), 0.7).axes[0].lines
    at = {line.get_xdata()[0]: line.get_linestyle() for line in lines}
    assert at == {0: "-", 0.7: "--"}


def test_the_description_holds_every_number():
    said = template_plot(table(), 0.7, title="Names").description
    for name, effect, p_value in zip(EFFECTS, EFFECTS.values(), P_VALUES, strict=True):
        number = f"{effect:+.2f}".replace("-", "−")
        assert f'"{name}" {number} (p {p_value:.2g})' in said
    assert "Over all templates: +0.70" in said
    assert "p is below .05 in 1 of 4" in said
    assert said.startswith("Dot plot, Names: effect size across for 4 templates")


def test_it_draws_what_seat_returns():
    rng, vectors = np.random.default_rng(0), {}

    def embed(texts):
        return [vectors.setdefault(text, rng.normal(size=6)) for text in texts]

    test = AssociationTest("toy", ["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"])
    templates = ["This is {}.", "{} was here.", "We met {}."]
    result = seat(as_embedder(embed), test, templates=templates)
    found = markers(template_plot(result.table(), result.effect_size))
    effects = [one.effect_size for one in result.by_template.values()]
    assert [marker[0] for marker in found] == pytest.approx(sorted(effects, reverse=True))


def test_the_picture_is_small():
    text = _png(template_plot(table(), 0.7))
    width, height = struct.unpack(">II", base64.b64decode(text)[16:24])
    assert 300 < width < 1000
    assert 100 < height < 800
    assert len(text) < 120_000


def test_no_two_rows_of_names_or_numbers_overlap():
    figure = template_plot(table([f"{name} {'word ' * 9}" for name in EFFECTS]), 0.7)
    figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in figure.axes[0].get_yticklabels()]
    for one, other in pairwise(boxes):
        assert one.y0 >= other.y1 - 1


def test_without_matplotlib_the_line_to_type_is_given(without_matplotlib):
    with pytest.raises(ImportError) as error:
        template_plot(table(), 0.7)
    assert str(error.value) == without_matplotlib


def test_hostile_names_are_drawn_as_they_stand():
    with warnings.catch_warnings():
        # DejaVu Sans has no shape for the direction mark, and none is wanted.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = template_plot(table([HOSTILE, "$\\frac$", "c", "d"]), 0.7, title="$\\frac$")
        _png(figure)
    assert HOSTILE in figure.description


@pytest.mark.parametrize(
    ("change", "overall", "message"),
    [
        ({"effect_size": [1, 2, np.nan, 0]}, 0.7, "effect_size is not a finite number"),
        ({"p_value": [1, 1, 1, np.inf]}, 0.7, "p_value is not a finite number"),
        ({}, float("nan"), "overall is nan"),
    ],
)
def test_a_missing_number_is_refused(change, overall, message):
    with pytest.raises(ValueError, match=message):
        template_plot(table().assign(**change), overall)


def test_a_table_without_rows_or_columns_is_refused():
    with pytest.raises(ValueError, match="no rows"):
        template_plot(table()[:0], 0.7)
    with pytest.raises(ValueError, match="needs a column 'p_value'"):
        template_plot(table().drop(columns="p_value"), 0.7)
