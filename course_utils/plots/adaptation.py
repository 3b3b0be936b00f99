"""The figures of lesson 2: where the right answers stand, TSDAE drawn, scores by amount of data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import (
    DASHES,
    PALETTE,
    add_legend,
    check_ranks,
    count,
    describe,
    new_figure,
    read_intervals,
    refuse_nan,
    set_title,
    wrap,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_RANK_ENDS = (1, 3, 10, 100, 1000)
_RANK_NAMES = ("1", "2–3", "4–10", "11–100", "101–1,000", "above")
_HATCHES = ("", "///", "...", "xxx", "\\\\\\")


def rank_histogram(
    ranks: Mapping[str, ArrayLike], *, title: str = "Where the right answer stands"
) -> Figure:
    """Return a bar chart of the ranks at which each model has the right answer.

    ``ranks`` maps one to five names to n ranks each, whole numbers from 1 for the best. The bars
    are the share of the questions whose rank is 1, 2 to 3, 4 to 10, 11 to 100, 101 to 1,000, and
    above, so that the bars of a model add up to 100 %.

    Raises ``ValueError`` for no name or more than five, a name without ranks, and a rank that is
    not a whole number from 1 up.

    >>> print(rank_histogram({"base": [1, 2, 12, 400]}).description)
    Bar chart, Where the right answer stands: share of the questions upwards against the rank of \
the right answer across, in 6 ranges, for 1 model. \
base, 4 questions: 50 % in the top 10, median rank 7.
    """
    found = {str(name): np.asarray(values, dtype=float) for name, values in ranks.items()}
    if not 1 <= len(found) <= len(_HATCHES):
        raise ValueError(f"There are {len(found)} sets of ranks: give one to {len(_HATCHES)}.")
    for name, values in found.items():
        check_ranks(name, values)

    figure, axes = new_figure(width=8, height=3.8)
    places, width = np.arange(len(_RANK_NAMES)), 0.8 / len(found)
    handles = []
    for i, values in enumerate(found.values()):
        group = np.searchsorted(_RANK_ENDS, values)
        shares = 100 * np.bincount(group, minlength=len(_RANK_NAMES)) / len(values)
        bars = axes.bar(
            places + (i - (len(found) - 1) / 2) * width,
            shares,
            width,
            color=PALETTE[i],
            edgecolor="white",
            hatch=_HATCHES[i],
        )
        axes.bar_label(bars, [f"{share:.0f}" for share in shares], fontsize=7, padding=1)
        handles.append(bars)
    axes.set_xticks(places, _RANK_NAMES)
    axes.margins(y=0.1)
    axes.set_xlabel("rank of the right answer")
    axes.set_ylabel("share of the questions (%)")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    add_legend(axes, handles, list(found), outside=False)
    set_title(axes, title)

    told = [
        f"{name}, {count(len(values), 'question')}: {100 * np.mean(values <= 10):.0f} % in the top 10, "
        f"median rank {np.median(values):g}."
        for name, values in found.items()
    ]
    apart = ", told apart by colour and hatch" if len(found) > 1 else ""
    return describe(
        figure,
        f"Bar chart, {title}: share of the questions upwards against the rank of the right answer "
        f"across, in {len(_RANK_NAMES)} ranges, for {count(len(found), 'model')}{apart}. "
        f"{' '.join(told)}",
    )


def bottleneck_diagram(
    *,
    sentence: str = "The patient was seen at night with a high fever.",
    damaged: str = "seen a high fever.",
) -> Figure:
    """Return a drawing of TSDAE: a damaged sentence becomes a vector, that the sentence again.

    ``sentence`` and ``damaged`` are the texts shown; long ones are cut. Take ``damaged`` from
    ``add_noise``.

    Source: Wang, Reimers and Gurevych 2021, *TSDAE*, figure 1.

    >>> print(bottleneck_diagram(sentence="a b c d e", damaged="b d").description[:86])
    Diagram of TSDAE, from left to right. The sentence "a b c d e" loses 60 % of its words
    """
    figure, axes = new_figure(width=9, height=3.4)
    axes.set(xlim=(0, 9), ylim=(0, 3.4))
    axes.set_axis_off()
    middle = 1.75
    for x, header, text in (
        (0.1, "sentence", sentence),
        (2.15, "damaged copy", damaged),
        (7.25, "sentence, rebuilt", sentence),
    ):
        _text_box(axes, x, middle, header, text)
    _funnel(axes, 4.1, 5.15, middle, 0.7, 0.32, "encoder")
    _funnel(axes, 5.75, 6.8, middle, 0.32, 0.7, "decoder")
    _vector(axes, 5.45, middle)
    for start, end in ((1.75, 2.15), (3.8, 4.1), (5.15, 5.37), (5.53, 5.75), (6.8, 7.25)):
        _arrow(axes, (start, middle), (end, middle))
    for x, end, caption in (
        (1.95, 1.82, "noise: 60 % of\nthe words deleted"),
        (5.45, 2.1, "bottleneck: ONE vector is all\nthat the decoder is given"),
    ):
        axes.plot([x, x], [end, 2.85], color="black", lw=0.8, ls=":")
        _write(axes, x, 3.05, caption)
    # The loss joins the last sentence to the first, below everything between them.
    axes.plot([0.925, 0.925, 8.075, 8.075], [0.93, 0.45, 0.45, 0.93], color="black", ls="--", lw=1)
    _arrow(axes, (0.925, 0.6), (0.925, 0.95))
    _arrow(axes, (8.075, 0.6), (8.075, 0.95))
    _write(axes, 4.5, 0.2, "loss: how unlikely the decoder finds the words of the first sentence")
    return describe(
        figure,
        f'Diagram of TSDAE, from left to right. The sentence "{sentence}" loses 60 % of its words '
        f'to noise; the damaged copy "{damaged}" goes into the encoder, which narrows to one '
        "vector; the decoder, given nothing but this vector, widens to the whole sentence again. A "
        "dashed line joins the rebuilt sentence to the first one: the loss, how unlikely the "
        "decoder finds the words of the first sentence.",
    )


def learning_curve(
    table: pd.DataFrame, *, xlabel: str, ylabel: str, title: str, baseline: float | None = None
) -> Figure:
    """Return a chart of a score by amount of data, each point with its interval and its value.

    ``table`` has the columns ``mean``, ``low`` and ``high``; its index is the number of texts or
    pairs, rising and above 0, drawn on a logarithmic axis with a tick at each value. ``baseline``
    is the score without any of them, drawn as a dashed line.

    Raises ``ValueError`` for a missing column, NaN, a mean outside its interval, and an index that
    does not rise from above 0.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"mean": [0.4, 0.5], "low": [0.3, 0.4], "high": [0.5, 0.6]},
    ...                      index=[100, 1000])
    >>> print(learning_curve(table, xlabel="pairs", ylabel="MRR@10", title="By size",
    ...                      baseline=0.35).description)
    Line chart with intervals, By size: MRR@10 upwards against pairs across (logarithmic axis), \
2 points. 100 pairs: 0.400 (0.300 to 0.500). 1,000 pairs: 0.500 (0.400 to 0.600). Dashed line, \
baseline: 0.350.
    """
    _, means, lows, highs = read_intervals(table, "learning curve")
    sizes = np.asarray(table.index, dtype=float)
    refuse_nan(sizes, "index of the learning curve")
    if sizes[0] <= 0 or (np.diff(sizes) <= 0).any():
        raise ValueError(
            f"The index is {list(table.index)}: sort it, above 0, with no value twice; the score "
            "without any data is the baseline."
        )

    figure, axes = new_figure(width=7.5, height=4.2)
    axes.errorbar(
        sizes, means, yerr=[means - lows, highs - means], fmt="o-", color=PALETTE[0], capsize=4
    )
    # On the side of the point that the line to the next one leaves free.
    rises = np.append(np.diff(means) > 0, False)
    for size, mean, rising in zip(sizes, means, rises, strict=True):
        axes.annotate(
            f"{mean:.3f}",
            (size, mean),
            (5, -11 if rising else 5),
            textcoords="offset points",
            fontsize=8,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
        )
    if baseline is not None:
        axes.axhline(baseline, color=PALETTE[1], linestyle=DASHES[1], linewidth=1.2)
        axes.annotate(
            f"baseline {baseline:.3f}",
            (0.995, baseline),
            (0, 3),
            xycoords=axes.get_yaxis_transform(),
            textcoords="offset points",
            ha="right",
            fontsize=8,
        )
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{size:,.10g}" for size in sizes]
    axes.set_xticks(sizes, names, rotation=45 if len(sizes) > 8 else 0)
    axes.margins(x=0.1, y=0.12)
    axes.set_xlabel(f"{xlabel} (logarithmic axis)", parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.grid(alpha=0.3)
    set_title(axes, title)

    listed = [
        f"{size} {xlabel}: {mean:.3f} ({low:.3f} to {high:.3f})."
        for size, mean, low, high in zip(names, means, lows, highs, strict=True)
    ]
    dashed = "" if baseline is None else f" Dashed line, baseline: {baseline:.3f}."
    return describe(
        figure,
        f"Line chart with intervals, {title}: {ylabel} upwards against {xlabel} across "
        f"(logarithmic axis), {count(len(names), 'point')}. {' '.join(listed)}{dashed}",
    )


def _text_box(axes, left, middle, header, text):
    from matplotlib.patches import FancyBboxPatch

    box = FancyBboxPatch(
        (left, middle - 0.8),
        1.65,
        1.6,
        boxstyle="round,pad=0,rounding_size=0.08",
        facecolor="#f2f6fc",
        edgecolor=PALETTE[0],
    )
    axes.add_patch(box)
    _write(axes, left + 0.825, middle + 0.62, header, weight="bold")
    _write(axes, left + 0.825, middle - 0.12, wrap(text, width=22, lines=6))


def _funnel(axes, left, right, middle, start, end, name):
    """Draw a side that is ``start`` high on the left and ``end`` on the right."""
    from matplotlib.patches import Polygon

    corners = [
        (left, middle - start),
        (left, middle + start),
        (right, middle + end),
        (right, middle - end),
    ]
    axes.add_patch(Polygon(corners, facecolor="#fdf3e1", edgecolor=PALETTE[1]))
    _write(axes, (left + right) / 2, middle, name, weight="bold")


def _vector(axes, x, middle):
    """Draw a column of cells, narrow and low, so that the eye meets the bottleneck."""
    from matplotlib.patches import Rectangle

    for i in range(6):
        axes.add_patch(
            Rectangle(
                (x - 0.08, middle - 0.3 + 0.1 * i),
                0.16,
                0.1,
                facecolor=PALETTE[0] if i % 2 else "#9cc3e0",
                edgecolor="black",
                linewidth=0.6,
            )
        )


def _arrow(axes, start, end):
    axes.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "shrinkA": 1, "shrinkB": 1, "lw": 1.2}
    )


def _write(axes, x, y, text, *, weight="normal"):
    axes.text(x, y, text, ha="center", va="center", fontsize=8, weight=weight, parse_math=False)
