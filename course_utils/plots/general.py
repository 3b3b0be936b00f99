"""Every figure of the lessons, each with a text description that is computed from its data.

A function here takes numbers and returns a matplotlib figure; none of them knows what a model is.
Colour never carries meaning alone: groups differ in marker as well, lines in dash, values in print.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import (
    DASHES,
    MARKERS,
    PALETTE,
    add_legend,
    count,
    cut,
    describe,
    label_points,
    need_columns,
    new_figure,
    read_intervals,
    refuse_nan,
    row_name,
    set_title,
    wrap,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "interval_plot",
    "line_curve",
    "scatter_map",
    "similarity_heatmap",
    "tradeoff_plot",
]


def similarity_heatmap(
    matrix: ArrayLike, labels: Sequence[str], *, title: str = "Cosine similarity"
) -> Figure:
    """Return a heat map of how alike each text is to each other one, with the values written in.

    ``matrix`` holds (n, n) similarities, as cosines in [-1, 1], ``labels`` the n texts in the same
    order; long ones are wrapped and cut. Reads well for 3 to 10 texts.

    Raises ``ValueError`` for a matrix that is not square, holds NaN, or does not fit the labels.

    >>> figure = similarity_heatmap([[1, 0.2], [0.2, 1]], ["a cat", "a tax form"])
    >>> print(figure.description)
    Heat map, Cosine similarity: 2 texts against the same 2 texts, each cell showing its value. \
Most alike: "a cat" and "a tax form" (0.20). Least alike: "a cat" and "a tax form" (0.20).
    """
    values = np.asarray(matrix, dtype=float)
    labels = [str(label) for label in labels]
    if values.ndim != 2 or values.shape[0] != values.shape[1]:
        raise ValueError(f"A similarity heat map needs a square matrix, not shape {values.shape}.")
    if len(labels) != len(values):
        raise ValueError(
            f"The matrix has {len(values)} rows and there are {len(labels)} labels: give one each."
        )
    refuse_nan(values, "similarity matrix")

    n = len(values)
    figure, axes = new_figure(width=4.0 + 0.62 * n, height=1.0 + 0.55 * n)
    image = axes.imshow(values, cmap="cividis", vmin=min(0.0, values.min()), vmax=1.0)
    # The texts stand once, beside the rows; the columns carry their numbers.
    numbered = [wrap(f"{i}  {label}", width=34, lines=2) for i, label in enumerate(labels, start=1)]
    axes.set_xticks(range(n), [str(i + 1) for i in range(n)])
    axes.set_yticks(range(n), numbered, fontsize=8, parse_math=False)
    axes.xaxis.tick_top()
    for row, column in np.ndindex(values.shape):
        # From here up, black stands out from cividis more than white does; both by 4.5 or more.
        light = np.asarray(image.norm(values[row, column])) > 0.465
        axes.text(
            column,
            row,
            f"{values[row, column]:.2f}",
            ha="center",
            va="center",
            fontsize=9,
            color="black" if light else "white",
        )
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.8)
    set_title(axes, title)

    said = f"Heat map, {title}: {n} texts against the same {n} texts, each cell showing its value."
    return describe(figure, f"{said}{_extreme_pairs(values, labels)}")


def scatter_map(
    points: ArrayLike, groups: Sequence[str], *, title: str = "Map of the texts"
) -> Figure:
    """Return a map of points, each group with a colour and a marker of its own.

    ``points`` are (n, 2), ``groups`` n names, which appear in the legend in the order they first
    occur, with their counts. 56 groups can be told apart.

    Raises ``ValueError`` for points that are not (n, 2), hold NaN, or do not fit the groups.

    >>> figure = scatter_map([[0, 0], [1, 1], [2, 0]], ["numpy", "numpy", "pandas"])
    >>> print(figure.description)
    Scatter plot, Map of the texts: 3 points in 2 groups, told apart by colour and marker: \
numpy (2), pandas (1). The axes are directions of the projection and have no unit.
    """
    places = np.asarray(points, dtype=float)
    groups = [str(group) for group in groups]
    if places.ndim != 2 or places.shape[1] != 2:
        raise ValueError(f"A map takes two numbers a point, shape (n, 2), not {places.shape}.")
    if len(groups) != len(places):
        raise ValueError(f"There are {len(places)} points and {len(groups)} groups: give one each.")
    refuse_nan(places, "points")

    names = list(dict.fromkeys(groups))
    of_point = np.array([names.index(group) for group in groups], dtype=int)
    figure, axes = new_figure(width=8, height=5.2)
    size = float(np.clip(24000 / max(len(places), 1), 14, 60))
    handles = [
        axes.scatter(
            places[of_point == i, 0],
            places[of_point == i, 1],
            s=size,
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            edgecolors="white",
            linewidths=0.4,
            alpha=0.85,
        )
        for i in range(len(names))
    ]
    listed = [f"{name} ({(of_point == i).sum()})" for i, name in enumerate(names)]
    add_legend(axes, handles, listed, outside=True)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("first direction of the projection")
    axes.set_ylabel("second direction of the projection")
    set_title(axes, title)
    return describe(
        figure,
        f"Scatter plot, {title}: {len(places)} points in {count(len(names), 'group')}, told apart "
        f"by colour and marker: {', '.join(listed)}. "
        "The axes are directions of the projection and have no unit.",
    )


def interval_plot(
    table: pd.DataFrame,
    *,
    title: str = "Means with 95 % intervals",
    xlabel: str = "mean",
    zero: bool = False,
) -> Figure:
    """Return a plot of means, each with the interval it lies in and its value in print.

    ``table`` has the columns ``mean``, ``low`` and ``high``; its index names the rows, drawn from
    top to bottom. ``zero`` says that the means are changes of scores where higher is better: a line
    then stands at zero, and each row says at the right whether its interval lies above it
    ("better"), below it ("worse") or holds it ("undecided", hollow marker).

    Raises ``ValueError`` for a missing column, NaN, and a mean outside its interval.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"mean": [0.42], "low": [0.38], "high": [0.46]}, index=["MiniLM"])
    >>> print(interval_plot(table, xlabel="MRR@10").description)
    Dot plot with intervals, Means with 95 % intervals: MRR@10 for 1 row. \
MiniLM 0.420 (0.380 to 0.460).
    >>> print(interval_plot(table, xlabel="change of MRR@10", zero=True).description)
    Dot plot with intervals, Means with 95 % intervals: change of MRR@10 for 1 row, against a line \
at zero. MiniLM +0.420 (+0.380 to +0.460), better.
    """
    names, means, lows, highs = read_intervals(table, "interval plot")
    number = "+.3f" if zero else ".3f"
    verdicts = [_verdict(*ends) if zero else "" for ends in zip(lows, highs, strict=True)]

    figure, axes = new_figure(width=7, height=1.3 + 0.45 * len(names))
    rows = np.arange(len(names))
    axes.errorbar(
        means,
        rows,
        xerr=[means - lows, highs - means],
        fmt="none",
        ecolor=PALETTE[0],
        capsize=4,
        zorder=1,
    )
    for row, mean, verdict in zip(rows, means, verdicts, strict=True):
        axes.scatter(
            mean,
            row,
            s=49,
            zorder=2,
            facecolors="white" if verdict == "undecided" else PALETTE[0],
            edgecolors=PALETTE[0],
        )
        axes.annotate(
            f"{mean:{number}}".replace("-", "−"),
            (mean, row),
            (0, 8),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
        axes.annotate(
            verdict,
            (1.02, row),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
    if zero:
        axes.axvline(0, color="black", linewidth=1, linestyle="--", zorder=0)
    axes.set_yticks(rows, names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.75)
    axes.set_xlabel(xlabel, parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    set_title(axes, title)

    listed = [
        f"{name} {mean:{number}} ({low:{number}} to {high:{number}})" + (verdict and f", {verdict}")
        for name, mean, low, high, verdict in zip(names, means, lows, highs, verdicts, strict=True)
    ]
    against = ", against a line at zero" if zero else ""
    return describe(
        figure,
        f"Dot plot with intervals, {title}: {xlabel} for {count(len(names), 'row')}{against}. "
        f"{'; '.join(listed)}.",
    )


def tradeoff_plot(
    table: pd.DataFrame, *, cost: str, quality: str, title: str = "Quality against cost"
) -> Figure:
    """Return a plot of what each configuration gives against what it costs, names at the points.

    ``table`` has one row a configuration, named by its index (or by a column ``name``). ``cost`` is
    the column drawn across on a logarithmic axis (bytes, milliseconds), ``quality`` the one drawn
    upwards (recall, MRR). A configuration that none beats at the same or a lower cost has a filled
    marker and stands on the line; the others are hollow.

    Raises ``ValueError`` for a missing column, NaN, and a cost that is not above zero.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"bytes": [1536, 48], "recall": [0.9, 0.7]}, index=["full", "binary"])
    >>> print(tradeoff_plot(table, cost="bytes", quality="recall").description)
    Scatter plot, Quality against cost: recall upwards against bytes across (logarithmic axis) \
for 2 configurations. full: recall 0.900 at 1536 bytes. binary: recall 0.700 at 48 bytes. \
Not beaten at the same or a lower cost: binary, full.
    """
    need_columns(table, [cost, quality], "trade-off plot")
    names = [row_name(name) for name in table.get("name", table.index)]
    costs, gains = (table[column].to_numpy(dtype=float) for column in (cost, quality))
    for name, value in zip(names, costs, strict=True):
        if value <= 0:
            raise ValueError(
                f"Row {name!r}: {cost} is {value}; a logarithmic axis needs it above 0."
            )

    best = _unbeaten(costs, gains)
    figure, axes = new_figure(width=7.5, height=4.6)
    axes.plot(costs[best], gains[best], color=PALETTE[0], linewidth=1, alpha=0.6, zorder=1)
    for i in range(len(names)):
        axes.scatter(
            costs[i],
            gains[i],
            s=55,
            zorder=2,
            facecolors=PALETTE[0] if i in best else "white",
            edgecolors=PALETTE[0],
        )
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.18, y=0.14)
    axes.set_xlabel(f"{cost} (logarithmic axis)", parse_math=False)
    axes.set_ylabel(quality, parse_math=False)
    axes.grid(alpha=0.3)
    set_title(axes, title)
    label_points(figure, axes, np.column_stack([costs, gains]), names)

    listed = [
        f"{name}: {quality} {gain:.3f} at {value:g} {cost}."
        for name, gain, value in zip(names, gains, costs, strict=True)
    ]
    return describe(
        figure,
        f"Scatter plot, {title}: {quality} upwards against {cost} across (logarithmic axis) for "
        f"{count(len(names), 'configuration')}. {' '.join(listed)} "
        f"Not beaten at the same or a lower cost: {', '.join(names[i] for i in best)}.",
    )


def line_curve(
    x: ArrayLike,
    series: Mapping[str, ArrayLike],
    *,
    xlabel: str,
    ylabel: str,
    title: str,
    log_x: bool = False,
) -> Figure:
    """Return a line chart, each line with a colour, a dash and a marker of its own.

    ``x`` are n numbers shared by all lines, ``series`` maps each line's name to its n numbers.
    ``log_x`` draws x on a base-2 logarithmic axis, with a tick at each value.

    Raises ``ValueError`` for no line, and for one that is not as long as x or holds NaN.

    >>> figure = line_curve([1, 2], {"dev": [0.1, 0.3]}, xlabel="epoch", ylabel="MRR", title="Run")
    >>> print(figure.description)
    Line chart, Run: MRR upwards against epoch across, from 1 to 2, 1 line. \
dev goes from 0.100 to 0.300, highest 0.300 at epoch 2.
    """
    across = np.asarray(x, dtype=float)
    lines = {str(name): np.asarray(values, dtype=float) for name, values in series.items()}
    if not lines or not len(across):
        raise ValueError("There is nothing to draw: give at least one line of at least one point.")
    for name, values in lines.items():
        if values.shape != across.shape:
            raise ValueError(f"Line {name!r} has shape {values.shape} and x has {across.shape}.")
        refuse_nan(values, f"line {name!r}")

    figure, axes = new_figure(width=7.5, height=4.2)
    handles = [
        axes.plot(
            across,
            values,
            color=PALETTE[i % len(PALETTE)],
            linestyle=DASHES[i % len(DASHES)],
            marker=MARKERS[i % len(MARKERS)] if len(across) <= 40 else None,
            markersize=5,
        )[0]
        for i, values in enumerate(lines.values())
    ]
    if log_x:
        axes.set_xscale("log", base=2)
        axes.set_xticks(across, [f"{value:g}" for value in across])
    axes.set_xlabel(xlabel, parse_math=False)
    axes.set_ylabel(ylabel, parse_math=False)
    axes.grid(alpha=0.3)
    add_legend(axes, handles, list(lines), outside=False)
    set_title(axes, title)

    told = [
        f"{name} goes from {values[0]:.3f} to {values[-1]:.3f}, highest {values.max():.3f} "
        f"at {xlabel} {across[values.argmax()]:g}."
        for name, values in lines.items()
    ]
    return describe(
        figure,
        f"Line chart, {title}: {ylabel} upwards against {xlabel} across, from {across[0]:g} "
        f"to {across[-1]:g}, {count(len(lines), 'line')}. {' '.join(told)}",
    )


def _verdict(low, high):
    """Return what an interval of changes says: one that holds zero leaves the direction open."""
    if low > 0:
        return "better"
    return "worse" if high < 0 else "undecided"


def _unbeaten(costs, gains):
    """Return the rows, cheapest first, that give more than all that cost no more."""
    best, rows = -np.inf, []
    for row in np.lexsort((-gains, costs)):
        if gains[row] > best:
            best = gains[row]
            rows.append(int(row))
    return rows


def _extreme_pairs(values, labels):
    if len(values) < 2:
        return ""
    above = np.triu_indices(len(values), k=1)
    told = ""
    for word, at in (
        ("Most", int(values[above].argmax())),
        ("Least", int(values[above].argmin())),
    ):
        row, column = above[0][at], above[1][at]
        pair = f'"{cut(labels[row], 70)}" and "{cut(labels[column], 70)}"'
        told += f" {word} alike: {pair} ({values[row, column]:.2f})."
    return told
