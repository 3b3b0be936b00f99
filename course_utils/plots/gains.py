"""The figures of what training gains: the places of single questions, and the ladder of all ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import (
    DASHES,
    MARKERS,
    PALETTE,
    check_ranks,
    count,
    cut,
    describe,
    new_figure,
    read_intervals,
    set_title,
    wrap,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What became of a question: (colour, dash, marker, the last two in words).
_WAYS = {
    "better": (PALETTE[0], DASHES[0], MARKERS[0], "full line, discs"),
    "worse": (PALETTE[1], DASHES[1], MARKERS[1], "dashed line, squares"),
    "unchanged": (PALETTE[6], DASHES[3], MARKERS[2], "dotted line, triangles"),
}
_GAP = 14  # pixels from one line of print to the next
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 0.5}


def slope_chart(
    before: ArrayLike,
    after: ArrayLike,
    labels: Sequence[str],
    *,
    title: str = "Where the right answer stands",
) -> Figure:
    """Return a chart of each question's place before and after, the two joined by a line.

    ``before`` and ``after`` hold n ranks each, whole numbers from 1 for the best, ``labels`` the n
    questions in the same order; long ones are cut. The axis is logarithmic with 1 at the top, and the
    places stand in print at both ends. What rose, fell and stayed differs in dash and marker as well
    as in colour. Reads well for up to 16 questions.

    Raises ``ValueError`` for no question, lengths that differ, and a rank that is not a whole number
    from 1 up.

    >>> print(slope_chart([37, 2], [1, 5], ["ringing ears", "sore throat"]).description)
    Slope chart, Where the right answer stands: place of the right answer for 2 questions, before \
on the left and after on the right, on a logarithmic axis with 1 at the top. 1 better (full line, \
discs): "ringing ears" from 37 to 1. 1 worse (dashed line, squares): "sore throat" from 2 to 5.
    """
    first, last = (np.asarray(ranks, dtype=float) for ranks in (before, after))
    check_ranks("before", first)
    check_ranks("after", last)
    names = [str(label) for label in labels]
    if not len(first) == len(last) == len(names):
        raise ValueError(
            f"There are {len(first)} ranks before, {len(last)} after and {len(names)} labels: give "
            "one of each for every question."
        )
    kinds = np.where(last < first, "better", np.where(last > first, "worse", "unchanged"))

    figure, axes = new_figure(width=7.2, height=1.5 + 0.27 * max(len(names), 6))
    for one, other, kind in zip(first, last, kinds, strict=True):
        colour, dash, marker, _ = _WAYS[kind]
        axes.plot([0, 1], [one, other], color=colour, linestyle=dash, marker=marker, markersize=5)
    _log_axis_of_ranks(axes, max(first.max(), last.max(), 10.0))
    axes.set_xlim(-0.2 - 0.04 * len(f"{first.max():,.0f}"), 1.17)  # with room for the longest place
    axes.set_xticks([0, 1], ["before", "after"])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    for end in (0, 1):
        axes.axvline(end, color="black", linewidth=0.6, alpha=0.4, zorder=0)
    keys = {f"{kind} ({(kinds == kind).sum()})": look[:3] for kind, look in _WAYS.items()}
    _legend_below(figure, keys)
    set_title(axes, title)
    figure.draw_without_rendering()  # from here on the height of the axes is known
    _write_places(axes, first, last, names)

    told = [
        f"{len(listed)} {kind} ({_WAYS[kind][3]}): {'; '.join(listed)}."
        for kind in _WAYS
        if (
            listed := [
                f'"{names[i]}" from {first[i]:,.0f} to {last[i]:,.0f}'
                for i in np.flatnonzero(kinds == kind)
            ]
        )
    ]
    return describe(
        figure,
        f"Slope chart, {title}: place of the right answer for {count(len(names), 'question')}, before "
        "on the left and after on the right, on a logarithmic axis with 1 at the top. "
        f"{' '.join(told)}",
    )


def ladder_plot(
    table: pd.DataFrame,
    *,
    title: str = "One rung after the other",
    xlabel: str = "mean",
    untouched: float | None = None,
) -> Figure:
    """Return a plot of what each way reaches and what it costs, one rung a way from top to bottom.

    ``table`` has one row a rung, with the columns ``label`` (its name), ``mean``, ``low`` and ``high``
    (a score and its interval), ``minutes`` (what it took, printed at the right) and ``labelled`` (bool:
    whether people's judgements were used). A rung without them has a filled disc, one with them a
    hollow square and a dashed whisker on grey. ``untouched`` is the score that
    nothing was done for, drawn as a dashed line.

    Raises ``ValueError`` for a missing column, NaN, a mean outside its interval, minutes below 0, and
    a ``labelled`` that is not bool.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"label": ["words", "labels"], "mean": [0.4, 0.6], "low": [0.3, 0.5],
    ...                       "high": [0.5, 0.7], "minutes": [0, 15], "labelled": [False, True]})
    >>> print(ladder_plot(table, xlabel="MRR@10", untouched=0.35).description)
    Dot plot with intervals, One rung after the other: MRR@10 for 2 rungs, from top to bottom. words \
0.400 (0.300 to 0.500), 0 minutes; labels 0.600 (0.500 to 0.700), 15 minutes, with labels (hollow). \
Dashed line, untouched: 0.350.
    """
    missing = [column for column in ("label", "minutes", "labelled") if column not in table]
    if missing:
        raise ValueError(f"The ladder needs a column {missing[0]!r}; there are {list(table)}.")
    rungs = table.set_index("label")
    names, means, lows, highs = read_intervals(rungs, "ladder")
    minutes, labelled = rungs["minutes"].to_numpy(dtype=float), rungs["labelled"].to_numpy()
    for name, spent in zip(names, minutes, strict=True):
        if not 0 <= spent < np.inf:
            raise ValueError(f"Rung {name!r}: minutes is {spent}; give a number of at least 0.")
    if labelled.dtype != bool:
        raise ValueError("The column 'labelled' says whether labels were used: True or False.")
    spans = [_minutes(spent) for spent in minutes]

    figure, axes = new_figure(width=7.2, height=1.5 + 0.45 * len(names))
    for row, (mean, low, high, hollow) in enumerate(zip(means, lows, highs, labelled, strict=True)):
        colour = PALETTE[1] if hollow else PALETTE[0]
        if hollow:
            axes.axhspan(row - 0.5, row + 0.5, color="#eeeeee", zorder=0)
        axes.plot([low, high], [row, row], color=colour, linestyle=DASHES[int(hollow)], zorder=1)
        axes.plot([low, high], [row, row], "|", color=colour, markersize=8, zorder=1)
        axes.scatter(
            mean, row, s=49, zorder=2, marker=MARKERS[int(hollow)], edgecolors=colour,
            facecolors="white" if hollow else colour,
        )  # fmt: skip
        axes.annotate(
            f"{mean:.3f}", (mean, row), (0, 8), textcoords="offset points", ha="center",
            fontsize=8, bbox=None if hollow else _PLATE,
        )  # fmt: skip
    across = axes.get_yaxis_transform()
    for row, span in enumerate(["minutes", *spans], start=-1):
        axes.text(1.1, row, span, transform=across, ha="right", va="center", fontsize=9)
    if untouched is not None:
        axes.axvline(untouched, color="black", linestyle="--", linewidth=1, zorder=0)
    axes.set_yticks(range(len(names)), [wrap(name, width=30, lines=2) for name in names])
    for tick in axes.get_yticklabels():
        tick.set_parse_math(False)
    axes.set_ylim(len(names) - 0.5 + (0 if untouched is None else 0.75), -0.8)
    axes.margins(x=0.08)
    if untouched is not None:  # on the side of the line where there is more room
        left = untouched < np.mean(axes.get_xlim())
        axes.annotate(
            f"untouched {untouched:.3f}", (untouched, len(names) - 0.1), (5 if left else -5, 0),
            textcoords="offset points", ha="left" if left else "right", va="center", fontsize=8,
        )  # fmt: skip
    if labelled.any():
        keys: dict[str, tuple[Any, ...]] = {
            "without labels": (PALETTE[0], DASHES[0], MARKERS[0]),
            "with labels": (PALETTE[1], DASHES[1], MARKERS[1], "white"),
        }
        _legend_below(figure, keys)
    axes.set_xlabel(xlabel, parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    set_title(axes, title)

    listed = [
        f"{name} {mean:.3f} ({low:.3f} to {high:.3f}), {span} minutes"
        + (", with labels (hollow)" if hollow else "")
        for name, mean, low, high, span, hollow in zip(
            names, means, lows, highs, spans, labelled, strict=True
        )
    ]
    dashed = "" if untouched is None else f" Dashed line, untouched: {untouched:.3f}."
    return describe(
        figure,
        f"Dot plot with intervals, {title}: {xlabel} for {count(len(names), 'rung')}, from top to "
        f"bottom. {'; '.join(listed)}.{dashed}",
    )


def _log_axis_of_ranks(axes: Axes, lowest: float) -> None:
    """Put 1 at the top, a little below the edge, and ``lowest`` at the bottom."""
    from matplotlib.ticker import NullLocator

    axes.set_yscale("log")
    edge = lowest**0.04
    axes.set_ylim(lowest * edge, 1 / edge)
    ticks = [m * 10**e for e in range(7) for m in (1, 3) if m * 10**e <= lowest]
    axes.set_yticks(ticks, [f"{tick:,}" for tick in ticks], fontsize=8)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylabel("place of the right answer (logarithmic axis)", fontsize=9)
    axes.grid(axis="y", alpha=0.25)


def _legend_below(figure: Figure, keys: dict[str, tuple[Any, ...]]) -> None:
    """Name each (colour, dash, marker, filling if not the colour) below the axes."""
    from matplotlib.lines import Line2D

    looks = ("color", "linestyle", "marker", "markerfacecolor")
    handles = [
        Line2D([], [], markersize=6, **dict(zip(looks, look, strict=False)))
        for look in keys.values()
    ]
    figure.legend(
        handles,
        list(keys),
        loc="outside lower center",
        ncols=len(keys),
        frameon=False,
        fontsize=9,
        handlelength=4,
    )


def _write_places(axes: Axes, first: np.ndarray, last: np.ndarray, names: Sequence[str]) -> None:
    """Write places at both ends and names at the right, none over another, each tied to its point."""
    bottom, top = np.log10(axes.get_ylim())
    gap = _GAP / axes.bbox.height * (bottom - top)
    column = 5.5 * len(f"{last.max():,.0f}")  # points that the longest place takes
    for own, other, end, out in ((first, last, 0, -1), (last, first, 1, 1)):
        order = np.lexsort((other, own))
        spread = 10 ** _spread(np.log10(own[order]), gap, top, bottom)
        for i, height in zip(order, spread, strict=True):
            axes.plot(
                [end + 0.03 * out, end + 0.13 * out], [own[i], height], color="black", alpha=0.4,
                linewidth=0.7,
            )  # fmt: skip
            beside = (end + 0.15 * out, height)
            axes.annotate(
                f"{own[i]:,.0f}", beside, (column * end, 0), textcoords="offset points",
                ha="right", va="center", fontsize=8,
            )  # fmt: skip
            if end:
                axes.annotate(
                    cut(names[i], 44), beside, (column + 8, 0), textcoords="offset points",
                    va="center", fontsize=8, parse_math=False,
                )  # fmt: skip


def _spread(wanted: np.ndarray, gap: float, low: float, high: float) -> np.ndarray:
    """Return places at least ``gap`` apart and in range, as near to the wanted ones as can be.

    ``wanted`` rises. Nearest by least squares: what is left when each place is moved back by the gaps
    before it only has to rise, which is isotonic regression.
    """
    from scipy.optimize import isotonic_regression

    before = gap * np.arange(len(wanted))
    rising = isotonic_regression(wanted - before).x
    return np.clip(rising, low, max(low, high - before[-1])) + before


def _minutes(spent: float) -> str:
    if 0 < spent < 0.05:
        return "< 0.1"
    return f"{spent:.1f}" if 0 < spent < 9.95 else f"{spent:,.0f}"
