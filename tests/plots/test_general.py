"""Figures say in words what they show, are small, and never rely on colour alone."""

import base64
import struct
import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from course_utils.plots import drawing as figures
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


EVERY = [heatmap, intervals, tradeoff, lines, points]


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
def test_hostile_names_are_drawn_as_they_stand_and_escaped_in_the_caption(draw, monkeypatch):
    names = {heatmap: 3, points: 3, tradeoff: 3}.get(draw, 2)
    with warnings.catch_warnings():
        # DejaVu Sans has no shape for the direction mark, and none is wanted.
        warnings.filterwarnings("ignore", message="Glyph")
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
    assert heatmap().description == (
        "Heat map, Cosine similarity: 3 texts against the same 3 texts, each cell showing its "
        'value. Most alike: "a" and "b" (0.90). Least alike: "b" and "c" (0.10).'
    )
    assert intervals().description == (
        "Dot plot with intervals, Means with 95 % intervals: MRR@10 for 2 rows. "
        "MiniLM 0.400 (0.300 to 0.500); mpnet 0.500 (0.450 to 0.550)."
    )
    assert tradeoff().description.startswith(
        "Scatter plot, Quality against cost: recall upwards against bytes across (logarithmic axis)"
    )
    assert tradeoff().description.endswith("Not beaten at the same or a lower cost: binary, int8.")
    assert (
        "from 8 to 384, 2 lines. dev goes from 0.100 to 0.200, highest 0.400 at dimensions 64."
        in (lines().description)
    )
    assert "3 points in 2 groups" in points().description
    assert "numpy (2), pandas (1)" in points().description


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


def test_a_map_keeps_neighbours_together_and_is_the_same_for_the_same_seed():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(3), 40)
    vectors = 4 * np.eye(3, 30)[group] + 0.3 * rng.normal(size=(120, 30))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.simplefilter("error", RuntimeWarning)
        places = plots.umap_projection(vectors, seed=5)
    assert places.shape == (120, 2)
    assert places.dtype == np.float32
    distances = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    assert np.mean(group[distances.argmin(axis=1)] == group) > 0.95
    np.testing.assert_array_equal(places, plots.umap_projection(vectors, seed=5))


def test_a_map_of_very_few_texts_can_be_drawn():
    places = plots.umap_projection(np.random.default_rng(0).normal(size=(6, 8)))
    assert np.isfinite(places).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.similarity_heatmap([[1, 2]], ["a"]), "square matrix"),
        (lambda: plots.similarity_heatmap(np.eye(2), ["a"]), "2 rows and there are 1 labels"),
        (lambda: plots.similarity_heatmap([[1, np.nan], [0, 1]], ["a", "b"]), r"at \(0, 1\)"),
        (lambda: plots.umap_projection(np.ones((4, 3))), "at least 5"),
        (lambda: plots.umap_projection(np.vstack([np.ones((9, 3)), np.zeros(3)])), "Row 9 is all"),
        (lambda: plots.scatter_map([[0, 1, 2]], ["a"]), "two numbers a point"),
        (lambda: plots.scatter_map([[0, 1]], ["a", "b"]), "1 points and 2 groups"),
        (lambda: plots.interval_plot(pd.DataFrame({"mean": [1.0]})), "needs a column 'low'"),
        (lambda: plots.interval_plot(pd.DataFrame({"mean": [2.0], "low": [0], "high": [1]})), "not between"),
        (lambda: plots.tradeoff_plot(pd.DataFrame({"b": [0], "r": [1]}), cost="b", quality="r"), "above 0"),
        (lambda: plots.line_curve([1], {"a": [1, 2]}, xlabel="", ylabel="", title=""), "Line 'a' has shape"),
        (lambda: plots.line_curve([], {}, xlabel="", ylabel="", title=""), "nothing to draw"),
        (lambda: plots.describe(Figure(), " "), "description is empty"),
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
    assert plots.describe(figure, "An empty figure.") is figure
    assert not pyplot.fignum_exists(figure.number)


def test_importing_the_module_imports_no_drawing_library():
    code = "import sys, course_utils.plots.general; print({'matplotlib', 'umap', 'pandas'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_cut_and_wrap_keep_to_their_lengths():
    assert figures.cut("one two  three", 20) == "one two three"
    assert figures.cut("abcdefgh", 5) == "abcd…"
    assert figures.wrap("one two three four", width=8, lines=2) == "one two\nthree …"
