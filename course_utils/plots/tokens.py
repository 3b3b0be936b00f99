"""The figure that opens lesson 1: from a text to its one vector, with the numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import count, describe, new_figure, refuse_nan, set_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_TOKENS = 16


def pooling_diagram(
    text: str, tokens: Sequence[str], token_vectors: ArrayLike, *, dimensions: int = 6
) -> Figure:
    """Return a drawing of how token vectors become one: a column a token, their mean, unit length.

    ``tokens`` are the n pieces (at most 16) that the model reads of ``text``, ``token_vectors``
    their (n, d) vectors as the last layer gives them. Of each the first ``dimensions`` numbers are
    written down; all d are in the mean and in its length.

    Raises ``ValueError`` for shapes that do not fit, NaN, no or too many tokens, and a mean of zeros.

    Source: Reimers and Gurevych 2019, *Sentence-BERT*, section 3 (mean pooling).

    >>> print(pooling_diagram("a b", ["a", "b"], [[3, 0], [3, 8]], dimensions=2).description)
    Diagram of mean pooling, from left to right. "a b" is read as 2 tokens: a, b. A \
transformer, in which each takes in all the others, gives each a vector of 2 numbers, a column. The \
next column is their mean, beginning 3.00, 4.00; the last one is the mean divided by its length of \
5.00, beginning 0.60, 0.80: the vector of the text.
    """
    columns = np.asarray(token_vectors, dtype=float)
    if columns.ndim != 2 or len(columns) != len(tokens) or not 1 <= len(tokens) <= _MOST_TOKENS:
        raise ValueError(
            f"There are {len(tokens)} tokens and vectors of shape {columns.shape}: give a row each, "
            f"for 1 to {_MOST_TOKENS} tokens."
        )
    refuse_nan(columns, "token vectors")
    mean = columns.mean(axis=0)
    length = float(np.linalg.norm(mean))
    if length == 0:
        raise ValueError("The mean of the token vectors is zero: it has no direction to show.")
    shown = min(dimensions, columns.shape[1])

    headers = [*tokens, "mean", "÷ length"]
    # The last two stand apart, each after an arrow.
    places = [*range(len(tokens)), len(tokens) + 0.8, len(tokens) + 2.6]
    figure, axes = new_figure(width=max(6.0, 0.78 * len(headers) + 2), height=0.34 * shown + 1.9)
    axes.set(xlim=(-0.6, places[-1] + 0.8), ylim=(-shown - 1.1, 2.4))
    axes.set_axis_off()
    values = [*columns, mean, mean / length]
    highest = [np.abs(columns[:, :shown]).max()] * len(tokens)
    highest += [np.abs(mean[:shown]).max(), np.abs(mean[:shown]).max() / length]
    for place, header, column, most in zip(places, headers, values, highest, strict=True):
        last = place >= len(tokens)
        axes.text(
            place, 0.75 if last else 1.95, header, ha="center", va="center", fontsize=9,
            fontweight="bold" if last else "normal", parse_math=False,
        )  # fmt: skip
        for row, value in enumerate(column[:shown]):
            _cell(axes, place, -row, value, value / (most or 1))
        if columns.shape[1] > shown:
            axes.text(place, -shown, "⋮", ha="center", va="center", fontsize=11)
    axes.text(
        (len(tokens) - 1) / 2, 1.05, "transformer: each token takes in all the others", ha="center",
        va="center", fontsize=9,
        bbox={"facecolor": "#eeeeee", "edgecolor": "#bbbbbb", "boxstyle": "round,pad=0.35"},
    )  # fmt: skip
    for start, end in ((places[-3], places[-2]), (places[-2], places[-1])):
        axes.annotate(
            "", (end - 0.5, -(shown - 1) / 2), (start + 0.5, -(shown - 1) / 2),
            arrowprops={"arrowstyle": "->", "lw": 1.2},
        )  # fmt: skip
    told = f"one vector of {columns.shape[1]} numbers a token"
    axes.text(
        (len(tokens) - 1) / 2, -shown - 0.85, told, ha="center", va="center", fontsize=9
    )  # fmt: skip
    axes.text(places[-1], -shown - 0.85, "the text's vector", ha="center", va="center", fontsize=9)
    set_title(axes, text)

    def first(column):
        return ", ".join(f"{value:.2f}" for value in column[: min(3, shown)])

    return describe(
        figure,
        f'Diagram of mean pooling, from left to right. "{text}" is read as '
        f"{count(len(tokens), 'token')}: {', '.join(tokens)}. A transformer, in which each takes in all "
        f"the others, gives each a vector of {columns.shape[1]} numbers, a column. The next column is their mean, beginning {first(mean)}; "
        f"the last one is the mean divided by its length of {length:.2f}, beginning "
        f"{first(mean / length)}: the vector of the text.",
    )


def _cell(axes, place, row, value, strength):
    """Write a number on a ground that is the stronger the larger it is: blue above 0, orange below."""
    from matplotlib.patches import Rectangle

    colour = "#0072B2" if value >= 0 else "#D55E00"
    corner = (place - 0.45, row - 0.45)
    axes.add_patch(Rectangle(corner, 0.9, 0.9, facecolor=colour, alpha=0.35 * abs(strength), lw=0))
    axes.add_patch(Rectangle(corner, 0.9, 0.9, fill=False, edgecolor="#bbbbbb", lw=0.6))
    axes.text(place, row, f"{value:.2f}", ha="center", va="center", fontsize=8)
