"""Figures say in words what they show, are small, and never rely on colour alone."""

import base64
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from course_utils.plots import drawing
from course_utils.plots import general as plots

HOSTILE = "<script>alert(1)</script> \"double\" 'single' $x_$ \u202e"


def heatmap(labels=("a", "b", "c")):
    matrix = [[1.0, 0.9, 0.3], [0.9, 1.0, 0.1], [0.3, 0.1, 1.0]]
    return plots.similarity_heatmap(matrix, list(labels))


def intervals(names=("MiniLM", "mpnet")):
    values = {"mean": [0.4, 0.5], "low": [0.3, 0.45], "high": [0.5, 0.55]}
    return plots.interval_plot(pd.DataFrame(values, index=list(names)), xlabel="MRR@10")


def tradeoff(names=("float32", "int8", "binary")):
    table = pd.DataFrame({"bytes": [1536, 384, 48], "recall": [0.9, 0.95, 0.7]}, index=list(names))
    return plots.tradeoff_plot(table, cost="bytes", quality="recall")


def lines(names=("dev", "train")):
    series = dict(zip(names, ([0.1, 0.4, 0.2], [0.3, 0.2, 0.1]), strict=True))
    return plots.line_curve([8, 64, 384], series, xlabel="dimensions", ylabel="MRR", title="Run")


def points(groups=("numpy", "pandas", "numpy")):
    return plots.scatter_map([[0, 0], [1, 1], [2, 0]], list(groups), title="Library map")


def changes(names=("medical", "general", "legal")):
    table = pd.DataFrame(
        {"mean": [0.03, -0.02, 0.004], "low": [0.01, -0.03, -0.004], "high": [0.05, -0.01, 0.01]},
        index=list(names),
    )
    return plots.interval_plot(table, title="Changes", xlabel="change of the score", zero=True)


EVERY = [heatmap, intervals, changes, tradeoff, lines, points]


def shown(figure, monkeypatch):
    """What a notebook receives when the figure stands at the end of a cell."""
    from IPython.core.formatters import DisplayFormatter

    outputs = []
    monkeypatch.setattr(
        "IPython.display.display",
        lambda data, metadata=None, raw=False: outputs.append((data, metadata)),
    )
    assert DisplayFormatter().format(figure) == ({}, {})
    return outputs


@pytest.mark.parametrize("draw", EVERY)
def test_a_notebook_gets_the_picture_with_its_description_and_a_caption(draw, monkeypatch):
    figure = draw()
    assert isinstance(figure, Figure)
    (_, metadata), (caption, _) = shown(figure, monkeypatch)
    assert metadata["image/png"]["alt"] == figure.description
    assert figure.description in caption["text/plain"]
    assert caption["text/html"].startswith("<p ")


@pytest.mark.parametrize("draw", EVERY)
def test_the_picture_is_small(draw, monkeypatch):
    (image, _), _ = shown(draw(), monkeypatch)
    png = base64.b64decode(image["image/png"])
    width, height = struct.unpack(">II", png[16:24])
    assert png.startswith(b"\x89PNG")
    assert 300 < width < 1000
    assert 100 < height < 800
    assert len(image["image/png"]) < 120_000


@pytest.mark.parametrize("draw", EVERY)
def test_without_matplotlib_the_line_to_type_is_given(draw, without_matplotlib):
    with pytest.raises(ImportError) as error:
        draw()
    assert str(error.value) == without_matplotlib


# DejaVu Sans has no shape for the direction mark, and none is wanted.
@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("draw", EVERY)
def test_hostile_names_are_drawn_as_they_stand_and_escaped_in_the_caption(draw, monkeypatch):
    names = 2 if draw in (intervals, lines) else 3
    figure = draw([HOSTILE, "_private", "$\\frac$"][:names])
    (_, _), (caption, _) = shown(figure, monkeypatch)
    assert "<script>" in figure.description
    assert "<script>" not in caption["text/html"]
    assert "&lt;script&gt;" in caption["text/html"]
    texts = [
        text.get_text() for text in figure.findobj(match=lambda item: hasattr(item, "get_text"))
    ]
    assert any("_private" in text for text in texts)


def test_descriptions_name_kind_axes_and_the_numbers_of_the_data():
    told = {draw: draw().description for draw in EVERY}
    assert told[heatmap].startswith("Heat map, Cosine similarity: 3 texts against the same 3 texts")
    assert 'Most alike: "a" and "b" (0.90). Least alike: "b" and "c" (0.10).' in told[heatmap]
    assert told[intervals].startswith("Dot plot with intervals, Means with 95 % intervals: MRR@10")
    for name, mean, low, high in (("MiniLM", 0.4, 0.3, 0.5), ("mpnet", 0.5, 0.45, 0.55)):
        assert f"{name} {mean:.3f} ({low:.3f} to {high:.3f})" in told[intervals]
    assert told[tradeoff].startswith("Scatter plot, Quality against cost: ")
    assert "recall upwards against bytes across (logarithmic axis)" in told[tradeoff]
    assert "int8: recall 0.950 at 384 bytes" in told[tradeoff]
    # binary is the cheapest; float32 gives less than int8, which costs less.
    assert "Not beaten at the same or a lower cost: binary, int8." in told[tradeoff]
    assert told[lines].startswith("Line chart, Run: MRR upwards against dimensions across")
    assert "dev goes from 0.100 to 0.200, highest 0.400 at dimensions 64." in told[lines]
    assert told[points].startswith("Scatter plot, Library map: 3 points in 2 groups")
    assert "numpy (2), pandas (1)" in told[points]


def luminance(colour):
    channels = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    return float(np.dot(channels, [0.2126, 0.7152, 0.0722]))


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.44, 0.49)])
def test_every_value_of_a_heat_map_can_be_read_on_its_cell(low, high):
    values = np.linspace(low, high, 100).reshape(10, 10)
    axes = plots.similarity_heatmap(values, list("abcdefghij")).axes[0]
    image = axes.images[0]
    for text, value in zip(axes.texts, values.ravel(), strict=True):
        assert text.get_text() == f"{value:.2f}"
        cell = luminance(image.cmap(image.norm(value))[:3])
        written = luminance(text.get_color())
        assert (max(cell, written) + 0.05) / (min(cell, written) + 0.05) >= 4.5, value


def test_56_groups_differ_in_colour_or_in_marker():
    groups = [f"group {i}" for i in range(56)]
    axes = plots.scatter_map(np.random.default_rng(0).normal(size=(56, 2)), groups).axes[0]
    looks = {
        (tuple(drawn.get_facecolor()[0]), drawn.get_paths()[0].vertices.tobytes())
        for drawn in axes.collections
    }
    assert len(looks) == 56


def test_neighbouring_groups_differ_in_both_colour_and_marker():
    axes = points(["a", "b", "c"]).axes[0]
    assert len({tuple(drawn.get_facecolor()[0]) for drawn in axes.collections}) == 3
    assert len({drawn.get_paths()[0].vertices.tobytes() for drawn in axes.collections}) == 3


def test_lines_differ_in_dash_and_marker_as_well_as_colour():
    first, second = lines().axes[0].lines
    assert first.get_color() != second.get_color()
    assert first.get_linestyle() != second.get_linestyle()
    assert first.get_marker() != second.get_marker()


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_unbeaten_are_those_that_nothing_cheaper_or_equal_matches(rows):
    costs, gains = np.array(rows, dtype=float).T
    chosen = plots._unbeaten(costs, gains)
    for i, (cost, gain) in enumerate(rows):
        better = [g > gain or (g == gain and c < cost) for c, g in rows if c <= cost]
        if (cost, gain) in {rows[j] for j in chosen}:
            assert not any(better)
        else:
            assert any(better), i


def test_the_labels_of_a_tradeoff_do_not_cover_each_other():
    table = pd.DataFrame(
        {"bytes": [384, 384, 400, 1536], "recall": [0.95, 0.94, 0.945, 1.0]},
        index=["int8", "first 96", "first 100", "float32"],
    )
    figure = plots.tradeoff_plot(table, cost="bytes", quality="recall")
    figure.draw_without_rendering()
    renderer = figure.canvas.get_renderer()
    boxes = [text.get_window_extent(renderer) for text in figure.axes[0].texts]
    assert len(boxes) == 4
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.similarity_heatmap([[1, 2]], ["a"]), "square matrix"),
        (lambda: plots.similarity_heatmap(np.eye(2), ["a"]), "2 rows and there are 1 labels"),
        (lambda: plots.similarity_heatmap([[1, np.nan], [0, 1]], ["a", "b"]), r"at \(0, 1\)"),
        (lambda: plots.scatter_map([[0, 1, 2]], ["a"]), "two numbers a point"),
        (lambda: plots.scatter_map([[0, 1]], ["a", "b"]), "1 points and 2 groups"),
        (lambda: plots.interval_plot(pd.DataFrame({"mean": [1.0]})), "needs a column 'low'"),
        (lambda: plots.interval_plot(pd.DataFrame({"mean": [2.0], "low": [0], "high": [1]})), "not between"),
        (lambda: plots.tradeoff_plot(pd.DataFrame({"b": [0], "r": [1]}), cost="b", quality="r"), "above 0"),
        (lambda: plots.line_curve([1], {"a": [1, 2]}, xlabel="", ylabel="", title=""), "Line 'a' has shape"),
        (lambda: plots.line_curve([], {}, xlabel="", ylabel="", title=""), "nothing to draw"),
        (lambda: drawing.describe(Figure(), " "), "description is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_a_learners_own_pyplot_figure_is_shown_once():
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, _ = pyplot.subplots()
    assert pyplot.fignum_exists(figure.number)
    assert drawing.describe(figure, "An empty figure.") is figure
    assert not pyplot.fignum_exists(figure.number)


def test_importing_the_room_imports_no_drawing_library():
    code = (
        "import sys, course_utils.plots; print({'matplotlib', 'umap', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_cut_and_wrap_keep_to_their_lengths():
    assert drawing.cut("one two  three", 20) == "one two three"
    assert drawing.cut("abcdefgh", 5) == "abcd…"
    assert drawing.wrap("one two three four", width=8, lines=2) == "one two\nthree …"


class TestChanges:
    def test_each_row_is_judged_in_words_by_whether_its_interval_holds_zero(self):
        written = [text.get_text() for text in changes().axes[0].texts]
        assert [word for word in written if word.isalpha()] == ["better", "worse", "undecided"]
        assert {"+0.030", "−0.020", "+0.004"} <= set(written)

    def test_an_interval_that_ends_at_zero_is_undecided(self):
        table = pd.DataFrame({"mean": [0.1, -0.1], "low": [0, -0.2], "high": [0.2, 0]})
        assert plots.interval_plot(table, zero=True).description.count("undecided") == 2

    def test_the_undecided_have_a_hollow_marker(self):
        faces = [drawn.get_facecolor()[0][:3] for drawn in changes().axes[0].collections[1:]]
        assert [tuple(face) == (1, 1, 1) for face in faces] == [False, False, True]

    def test_a_line_stands_at_zero_only_where_changes_are_drawn(self):
        def upright(figure):
            return [line for line in figure.axes[0].lines if list(line.get_xdata()) == [0, 0]]

        table = pd.DataFrame({"mean": [0.4], "low": [0.3], "high": [0.5]})
        assert len(upright(changes())) == 1
        assert upright(plots.interval_plot(table)) == []

    def test_the_description_gives_the_verdicts(self):
        said = changes().description
        assert "change of the score" in said
        assert "against a line at zero" in said
        assert "medical +0.030 (+0.010 to +0.050), better" in said
        assert "general -0.020 (-0.030 to -0.010), worse" in said
        assert "legal +0.004 (-0.004 to +0.010), undecided" in said
