"""The figure of scale: every number in its panel, all in words, no two ways alike."""

import base64
import struct

import numpy as np
import pandas as pd
import pytest

from course_utils.plots.drawing import _png
from course_utils.plots.scale import scale_plot

COLUMNS = ["one_ms", "recall@10", "build_s", "memory_mb"]
SIZES = [1000, 30_000, 1_000_000]
HOSTILE = "<script>alert(1)</script> $x_$"


def table(names=("exact", "IVF", "HNSW", "store", "store, IVF")):
    rng = np.random.default_rng(0)
    rows = [
        {"name": name, "vectors": size, **dict(zip(COLUMNS, rng.random(4) + 0.1, strict=True))}
        for size in reversed(SIZES)
        for name in names
    ]
    return pd.DataFrame(rows)


def test_each_panel_holds_the_numbers_of_its_column_in_the_order_of_the_sizes():
    measured = table()
    figure = scale_plot(measured)
    for axes, column in zip(figure.axes, COLUMNS, strict=True):
        ways = measured.groupby("name", sort=False)
        for line, (_, rows) in zip(axes.lines, ways, strict=True):
            assert list(line.get_xdata()) == SIZES
            assert list(line.get_ydata()) == rows.set_index("vectors")[column][SIZES].tolist()
        for look in ("get_marker", "get_linestyle", "get_color"):
            assert len({str(getattr(line, look)()) for line in axes.lines}) >= 4
        assert len({line.get_marker() for line in axes.lines}) == len(axes.lines) == 5
        assert axes.get_xscale() == "log"
        assert axes.get_yscale() == ("linear" if column == "recall@10" else "log")


def test_the_description_has_both_ends_of_each_way():
    measured = table()
    told = scale_plot(measured, title="Growth").description
    assert told.startswith("Line charts, Growth: time of one query, recall@10")
    assert "5 lines each" in told
    for _, row in measured[measured["vectors"] != 30_000].iterrows():
        assert f"{row['vectors']:,} vectors: {row['one_ms']:.3g} ms a query" in told
        assert f"recall@10 {row['recall@10']:.3f}, built in {row['build_s']:.3g} s" in told
    assert "30,000" not in told


def test_the_picture_fits_a_page():
    text = _png(scale_plot(table()))
    width, height = struct.unpack(">II", base64.b64decode(text)[16:24])
    assert 300 < width <= 700
    assert 100 < height < 800
    assert len(text) < 150_000  # four panels


def test_names_are_drawn_as_they_stand():
    figure = scale_plot(table(names=[HOSTILE, "_private"]))
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [HOSTILE, "_private"]
    assert HOSTILE in figure.description
    _png(figure)


def test_without_matplotlib_the_line_to_type_is_given(without_matplotlib):
    with pytest.raises(ImportError) as error:
        scale_plot(table())
    assert str(error.value) == without_matplotlib


@pytest.mark.parametrize(
    ("told", "change"),
    [
        ("needs a column 'name'", lambda rows: rows.drop(columns="name")),
        ("needs a column 'memory_mb'", lambda rows: rows.drop(columns="memory_mb")),
        ("has no rows", lambda rows: rows[:0]),
        ("Row 2: one_ms is 0", lambda rows: rows.assign(one_ms=[1, 1, 0] + [1] * 12)),
        ("Row 1: build_s is not a finite", lambda rows: rows.assign(build_s=[1, np.nan] + [1] * 13)),
        ("'exact' has two rows of 1,000,000", lambda rows: pd.concat([rows, rows[:1]])),
    ],
)  # fmt: skip
def test_a_table_that_cannot_be_drawn_is_refused_by_name(told, change):
    with pytest.raises(ValueError, match=told):
        scale_plot(change(table()))


def test_a_recall_of_zero_can_be_drawn():
    assert "recall@10 0.000" in scale_plot(table().assign(**{"recall@10": 0.0})).description
