"""How ways of searching grow with the number of vectors: time, recall, building, memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from course_utils.plots.drawing import (
    DASHES,
    MARKERS,
    PALETTE,
    count,
    cut,
    describe,
    need_columns,
    new_figure,
    set_title,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# The column, the panel's title with its unit, and the number's form in words.
_PANELS = (
    ("one_ms", "One query, milliseconds", "{:.3g} ms a query"),
    ("recall@10", "Recall@10 against exact", "recall@10 {:.3f}"),
    ("build_s", "Building, seconds", "built in {:.3g} s"),
    ("memory_mb", "Memory of the process at most, MB", "{:,.0f} MB at most"),
)


def scale_plot(
    table: pd.DataFrame, *, title: str = "Searching, from few vectors to many"
) -> Figure:
    """Return four panels of lines over the number of vectors: time, recall, building and memory.

    ``table`` is what ``load_scale`` returns: one row for each way (``name``) and number of ``vectors``,
    with the columns ``one_ms``, ``recall@10``, ``build_s`` and ``memory_mb``. All axes but that of the
    recall are logarithmic. Each way has a colour, a dash and a marker of its own.

    Raises ``ValueError`` for a missing column, no rows, NaN, a way that has two rows of one number of
    vectors, and a number that is not above zero where the axis is logarithmic.

    >>> import pandas as pd
    >>> numbers = {"one_ms": 0.5, "recall@10": 1, "build_s": 0.1, "memory_mb": 600}
    >>> table = pd.DataFrame([{"name": "exact", "vectors": 1000, **numbers}])
    >>> print(scale_plot(table).description)
    Line charts, Searching, from few vectors to many: time of one query, recall@10, seconds of building and \
memory of the process against the number of vectors (all axes but the recall's logarithmic), 1 line \
each. exact at 1,000 vectors: 0.5 ms a query, recall@10 1.000, built in 0.1 s, 600 MB at most.
    """
    if "name" not in table:
        raise ValueError(f"The scale plot needs a column 'name'; there are {list(table)}.")
    columns = [column for column, _, _ in _PANELS]
    need_columns(table, ["vectors", *columns], "scale plot")
    for column in ("vectors", *columns):
        bad = table[table[column] <= 0]
        if column != "recall@10" and len(bad):
            raise ValueError(
                f"Row {bad.index[0]!r}: {column} is {bad[column].iloc[0]}; a logarithmic axis needs "
                "it above 0."
            )
    twice = table[table[["name", "vectors"]].duplicated()]
    if len(twice):
        name, vectors = twice.iloc[0][["name", "vectors"]]
        raise ValueError(f"{name!r} has two rows of {vectors:,} vectors: leave one out.")

    figure, whole = new_figure(width=6.8, height=5.6)
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    whole.remove()
    panels = figure.subplots(2, 2, sharex=True).flat
    ways = {name: rows.sort_values("vectors") for name, rows in table.groupby("name", sort=False)}
    for axes, (column, called, _) in zip(panels, _PANELS, strict=True):
        handles = [
            axes.plot(
                rows["vectors"],
                rows[column],
                color=PALETTE[i % len(PALETTE)],
                linestyle=DASHES[i % len(DASHES)],
                marker=MARKERS[i % len(MARKERS)],
                markersize=max(4, 8 - i),  # of equal numbers, the first one looks out behind
            )[0]
            for i, rows in enumerate(ways.values())
        ]
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        if column != "recall@10":
            axes.set_yscale("log")
            if (
                table[column].max() < 100 * table[column].min()
            ):  # few powers of ten would stand there
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.grid(alpha=0.3)
        set_title(axes, called)
    for axes in figure.axes[2:]:
        axes.set_xlabel("vectors")
    legend = figure.legend(
        handles,
        list("0" * len(ways)),
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=8,
    )
    for text, name in zip(legend.get_texts(), ways, strict=True):  # as in add_legend
        text.set_parse_math(False)
        text.set_text(cut(str(name), 40))
    figure.suptitle(title, fontsize=12, parse_math=False)

    told = [
        f"{name!s} at "
        + "; at ".join(
            f"{row['vectors']:,} vectors: "
            + ", ".join(form.format(row[column]) for column, _, form in _PANELS)
            for _, row in rows.iloc[[0, -1] if len(rows) > 1 else [0]].iterrows()
        )
        + "."
        for name, rows in ways.items()
    ]
    return describe(
        figure,
        f"Line charts, {title}: time of one query, recall@10, seconds of building and memory of the process "
        "against the number of vectors (all axes but the recall's logarithmic), "
        f"{count(len(ways), 'line')} each. {' '.join(told)}",
    )
