"""The figure of lesson 4: what an association test says in each template, and over all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from course_utils.plots.drawing import (
    DASHES,
    PALETTE,
    count,
    describe,
    need_columns,
    new_figure,
    row_name,
    set_title,
    wrap,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

_LEVEL = 0.05
_PLATE = {"facecolor": "white", "edgecolor": "none", "alpha": 0.9, "pad": 0.5}


def template_plot(
    table: pd.DataFrame, overall: float, *, title: str = "One template, and all of them"
) -> Figure:
    """Return a plot of the effect size in each template, with the one over all as a line.

    ``table`` has the columns ``effect_size`` and ``p_value``, one row a template, as the method
    ``table()`` of a result of ``seat`` returns; its rows are drawn from top to bottom in the order
    of their effects. ``overall`` is the effect size of the words' mean vectors over all templates.
    A filled marker stands for a p value below .05, a hollow one for any other.

    Raises ``ValueError`` for a missing column, NaN, and a table without rows.

    >>> import pandas as pd
    >>> table = pd.DataFrame({"effect_size": [1.2, -0.3], "p_value": [0.01, 0.7]},
    ...                      index=["This is {}.", "{} was here."])
    >>> print(template_plot(table, 0.8).description)
    Dot plot, One template, and all of them: effect size across for 2 templates, from highest to \
lowest. "This is {}." +1.20 (p 0.01); "{} was here." −0.30 (p 0.7). Over all templates: +0.80, \
dashed line. p is below .05 in 1 of 2, filled markers.
    """
    need_columns(table, ["effect_size", "p_value"], "template plot")
    overall = float(overall)
    if not np.isfinite(overall):
        raise ValueError(f"overall is {overall}: give the effect size over all templates.")
    table = table.sort_values("effect_size", ascending=False, kind="stable")
    names = [row_name(name) for name in table.index]
    effects, p_values = (table[name].to_numpy(dtype=float) for name in ("effect_size", "p_value"))

    figure, axes = new_figure(width=7.5, height=1.5 + 0.42 * len(names))
    rows = np.arange(len(names))
    axes.axvline(0, color="black", linewidth=1, zorder=0)
    axes.axvline(overall, color=PALETTE[1], linewidth=1.4, linestyle=DASHES[1], zorder=0)
    for row, effect, p_value in zip(rows, effects, p_values, strict=True):
        axes.scatter(
            effect,
            row,
            s=49,
            zorder=2,
            facecolors=PALETTE[0] if p_value < _LEVEL else "white",
            edgecolors=PALETTE[0],
        )
        axes.annotate(
            _signed(effect),
            (effect, row),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            bbox=_PLATE,
        )
        axes.annotate(
            f"p {p_value:.2g}",
            (1.02, row),
            xycoords=axes.get_yaxis_transform(),
            va="center",
            fontsize=9,
        )
    axes.annotate(
        f"all: {_signed(overall)}",
        (overall, 0),
        (0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=8,
        bbox=_PLATE,
    )
    axes.set_yticks(rows, [wrap(name, width=42, lines=2) for name in names], parse_math=False)
    axes.set_ylim(len(names) - 0.1, -0.75)
    axes.margins(x=0.1)
    axes.set_xlabel("effect size")
    axes.grid(axis="x", alpha=0.3)
    set_title(axes, title)

    listed = [
        f'"{name}" {_signed(effect)} (p {p_value:.2g})'
        for name, effect, p_value in zip(names, effects, p_values, strict=True)
    ]
    below = int((p_values < _LEVEL).sum())
    return describe(
        figure,
        f"Dot plot, {title}: effect size across for {count(len(names), 'template')}, from highest "
        f"to lowest. {'; '.join(listed)}. Over all templates: {_signed(overall)}, dashed line. "
        f"p is below .05 in {below} of {len(names)}, filled markers.",
    )


def _signed(value):
    # Rounded first: a number too small to print has no sign.
    rounded = round(float(value), 2)
    return f"{rounded:+.2f}".replace("-", "−") if rounded else "0.00"
