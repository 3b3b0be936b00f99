"""How a figure of the course is made, described and labelled, and what numbers must be before."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.models.files import require
from course_utils.plots.svg import escape

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.container import Container
    from matplotlib.figure import Figure

# Okabe and Ito's palette, which stays apart for the common kinds of colour blindness. Its yellow
# comes last because it is the faintest on white.
PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#56B4E9",
    "#E69F00",
    "#000000",
    "#F0E442",
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1, 1, 1)))
# 96 dots an inch keeps a figure of normal size near 30 kB inside a notebook.
DPI = 96


def describe(figure: Figure, text: str) -> Figure:
    """Return the same figure, which from now on shows ``text`` beneath itself in a notebook.

    JupyterLab gives the image of a figure no text that a screen reader could find, so the
    description is displayed as a caption: one HTML paragraph, which every front end can show. It
    also goes into the output's ``alt`` metadata, which nbconvert turns into an ``alt`` attribute.

    ``figure`` is any matplotlib figure; ``text`` says what kind of figure it is, its axes, what it
    shows. The text is kept as ``figure.description``.

    Raises ``ValueError`` for an empty text.

    >>> from matplotlib.figure import Figure
    >>> describe(Figure(), "A line chart of loss by step.").description
    'A line chart of loss by step.'
    """
    if not text.strip():
        raise ValueError("The description is empty: say the kind of figure, its axes, its point.")
    described: Any = figure  # what follows are attributes of the course's own
    described.description = text
    described._ipython_display_ = partial(_display, figure)
    _forget_in_pyplot(figure)
    return figure


def new_figure(*, width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of this many inches and the one set of axes on it.

    Raises ``ImportError`` with the line to type where matplotlib is not installed.
    """
    require("matplotlib", "course", "A figure")
    # A Figure made without pyplot is owned by nobody else: it is neither drawn a second time at
    # the end of the cell nor kept in memory after the lesson has let go of it.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _display(figure):
    from IPython.display import display

    png = _png(figure)
    plain = f"Figure: {figure.description}"
    display(
        {"image/png": png, "text/plain": plain},
        metadata={"image/png": {"alt": figure.description}},
        raw=True,
    )
    # A text may hold dollar signs; the classes tell MathJax, new and old, that it holds no formula.
    classes = "mathjax_ignore tex2jax_ignore"
    caption = f'<p class="{classes}" style="max-width:60em"><small>{escape(plain)}</small></p>'
    display({"text/html": caption, "text/plain": plain}, raw=True)


def _png(figure):
    from base64 import b64encode
    from io import BytesIO

    buffer = BytesIO()
    # Without the name of the drawing software, the same figure is the same bytes everywhere.
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return b64encode(buffer.getvalue()).decode("ascii")


def _forget_in_pyplot(figure):
    import sys

    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        pyplot.close(figure)


def set_title(axes: Axes, title: str) -> None:
    """Write the title as it stands, dollar signs and all."""
    axes.set_title(title, fontsize=11, loc="left", parse_math=False)


def add_legend(
    axes: Axes, handles: Sequence[Artist | Container], names: Sequence[str], *, outside: bool
) -> None:
    """Name each handle, beside the axes or where there is room on them."""
    # Drawn with stand-in labels first: matplotlib drops a label that starts with an underscore and
    # typesets one with dollar signs, and a learner's group may be called either.
    stand_ins = [str(i) for i in range(len(names))]
    legend = axes.legend(
        handles,
        stand_ins,
        frameon=False,
        fontsize=8,
        markerscale=1.3,
        loc="upper left" if outside else "best",
        bbox_to_anchor=(1.01, 1) if outside else None,
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_parse_math(False)
        text.set_text(wrap(name, width=28, lines=2))


def label_points(figure: Figure, axes: Axes, points: np.ndarray, names: Sequence[str]) -> None:
    """Write each name beside its point, at the first of several places that is still free."""
    places = [(8, 0, "left"), (0, 9, "center"), (0, -12, "center"), (-8, 0, "right")]
    places += [(8, 12, "left"), (8, -13, "left"), (-8, 12, "right"), (-8, -13, "right")]
    figure.draw_without_rendering()
    pixel = axes.transData.transform(points)
    taken = [np.concatenate([point - 5, point + 5]) for point in pixel]
    for i, name in enumerate(names):
        label = None
        for right, up, align in places:
            if label is not None:
                label.remove()
            label = axes.annotate(
                name,
                points[i],
                (right, up),
                textcoords="offset points",
                ha=align,
                va="center",
                fontsize=8,
                parse_math=False,
            )
            corners = label.get_window_extent().extents
            if not any(_overlap(corners, box) for box in taken[:i] + taken[i + 1 :]):
                break
        taken.append(np.asarray(corners))


def _overlap(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def wrap(text: str, *, width: int, lines: int) -> str:
    """Return the text on at most this many lines of at most this many characters."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …")) or " "


def cut(text: str, length: int) -> str:
    """Return the text on one line, cut with an ellipsis to ``length`` characters at most."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1].rstrip() + "…"


def count(n: int, noun: str) -> str:
    """Return the number with its noun, which must take a plain s.

    >>> count(1, "line"), count(2, "line")
    ('1 line', '2 lines')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def row_name(name: object) -> str:
    """Return the name of a row as one string, the levels of a MultiIndex joined by commas.

    >>> row_name(("medical", 3)), row_name("legal")
    ('medical, 3', 'legal')
    """
    return ", ".join(map(str, name)) if isinstance(name, tuple) else str(name)


def refuse_nan(values: np.ndarray, what: str) -> None:
    """Raise ``ValueError``, naming the place, if a number is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        at = place[0] if len(place) == 1 else place
        raise ValueError(f"The {what} is not a finite number at {at}: leave it out or repair it.")


def check_ranks(name: str, values: np.ndarray) -> None:
    """Raise ``ValueError``, naming the place, unless there are ranks: whole numbers from 1 up."""
    if not values.size or values.ndim != 1:
        raise ValueError(f"The ranks of {name!r} have shape {values.shape}: give one a question.")
    bad = np.flatnonzero(~((values >= 1) & (values == np.floor(values)) & np.isfinite(values)))
    if len(bad):
        raise ValueError(
            f"Rank {bad[0]} of {name!r} is {values[bad[0]]:g}: ranks are whole numbers from 1 up."
        )


def need_columns(table: pd.DataFrame, columns: Iterable[str], what: str) -> None:
    """Raise ``ValueError`` if a column is missing, holds NaN, or the table has no rows."""
    for column in columns:
        if column not in table:
            raise ValueError(f"The {what} needs a column {column!r}; there are {list(table)}.")
        values = table[column].to_numpy(dtype=float)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"Row {table.index[bad[0]]!r}: {column} is not a finite number.")
    if not len(table):
        raise ValueError(f"The {what} has no rows: give it at least one.")


def read_intervals(
    table: pd.DataFrame, what: str
) -> tuple[list[str], np.ndarray, np.ndarray, np.ndarray]:
    """Return the row names, means, lows and highs of a table of intervals.

    Raises ``ValueError`` as ``need_columns``, or if a mean lies outside its interval.
    """
    need_columns(table, ["mean", "low", "high"], what)
    names = [row_name(name) for name in table.index]
    means, lows, highs = (table[column].to_numpy(dtype=float) for column in ("mean", "low", "high"))
    for name, mean, low, high in zip(names, means, lows, highs, strict=True):
        if not low <= mean <= high:
            raise ValueError(f"Row {name!r}: the mean {mean} is not between {low} and {high}.")
    return names, means, lows, highs
