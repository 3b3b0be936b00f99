"""The widgets of lesson 4: an association test of one's own, strength against use, neighbours.

Each function returns a box; its controls and its output are attributes, so a lesson moves them in
code and a test reads what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import unescape
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.bias.directions import unit_rows
from course_utils.plots.svg import LETTERS, LINE_DASHES, line_chart
from course_utils.widgets.association import association_box, signed
from course_utils.widgets.common import (
    controls,
    escape,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)

if TYPE_CHECKING:
    import pandas as pd
    from ipywidgets import VBox

__all__ = ["association_box", "neighbour_box", "strength_slider"]

_WIDE = {"description_width": "initial"}
_MOST_WORDS = 2000
_HEAD = '<th scope="col" style="text-align:{};padding:0 .8em">{}</th>'
_NAME = '<th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{}</th>'
_CELL = '<td style="text-align:end;padding:.15em .8em">{}</td>'


def strength_slider(table: pd.DataFrame) -> VBox:
    """Return a box that shows what each strength of a mitigation brings and costs: ``.strength``.

    ``table`` has one to six columns, each a measure of its own name (say which way is better in
    it), all on scales of a common size such as 0 to 1. Its index is the strength, rising from 0 (no
    mitigation) to at most 1. ``.result`` shows the measures at the strength chosen, their change
    from strength 0, and all of them as lines on one scale, so that a gain and a cost of the same
    size look the same.

    Raises ``ValueError`` for an index that does not rise from 0 to at most 1, and a missing number.
    """
    ipywidgets = controls()
    strengths = [float(strength) for strength in table.index]
    measures = {str(name): table[name].to_numpy(dtype=float) for name in table.columns}
    _check_strengths(table, strengths, measures)
    slider = ipywidgets.SelectionSlider(
        options=[(f"{strength:g}", place) for place, strength in enumerate(strengths)],
        value=len(strengths) - 1,
        description="Strength of the mitigation",
        style=_WIDE,
    )
    result = ipywidgets.HTML()

    def redraw():
        told = f"At strength {strengths[slider.value]:g}, against strength 0 (no mitigation):"
        result.value = region(
            "Measures at this strength",
            paragraph(told)
            + _strength_table(measures, slider.value)
            + _strength_curves(strengths, measures, slider.value),
        )

    box = labelled(
        "What does it bring, and what does it cost?",
        "Move the slider and look for the strength beyond which the bias no longer falls while the "
        "usefulness still does. All lines share one scale.",
        strength=slider,
        result=result,
    )
    redraw_on_change(redraw, slider)
    return box


def neighbour_box(words: Sequence[str], before: ArrayLike, after: ArrayLike, *, k: int = 8) -> VBox:
    """Return a box with a word's neighbours before and after a mitigation: ``.word``, ``.result``.

    ``words`` are n different texts, k + 2 to 2,000, ``before`` and ``after`` their vectors, (n, d)
    and (n, d'), in the same order; nearness is the cosine. Words that stay, come and go are told
    apart in print, with the rank that each has on the other side. ``.lists`` is the pair of lists
    of words now shown, ``.kept`` the share of the k neighbours that stays, averaged over all n
    words: near 1, the mitigation has left the neighbourhoods as they were, whatever the measure
    that it was made for says of them.

    Raises ``ValueError`` for too few or too many words, one that occurs twice, k below 1, and
    vectors that do not fit the words, hold NaN or a row of zeros.

    Source: Gonen and Goldberg 2019, *Lipstick on a Pig*, section 4, who look at neighbours so.
    """
    ipywidgets = controls()
    words = [str(word) for word in words]
    _check_words(words, k)
    ranks = []
    for name, matrix in (("before", before), ("after", after)):
        rows = unit_rows(matrix, name, words)
        if len(rows) != len(words):
            raise ValueError(f"{name} has {len(rows)} rows for {len(words)} words: give one each.")
        ranks.append(_neighbour_ranks(rows))
    word = ipywidgets.Dropdown(
        # An option is no HTML, so only the marks that turn the direction are to be replaced.
        options=[(unescape(escape(text)), place) for place, text in enumerate(words)],
        value=0,
        description="Word",
        style=_WIDE,
    )
    result = ipywidgets.HTML()
    box = labelled(
        "Where did the neighbours go?",
        f"Choose a word and look for which of its {k} nearest words stay, although the direction "
        "between the groups is gone.",
        word=word,
        result=result,
    )
    near_before, near_after = (rank <= k for rank in ranks)
    box.kept = float((near_before & near_after).sum(axis=1).mean() / k)

    def redraw():
        here = [rank[word.value] for rank in ranks]
        places = [np.argsort(rank)[:k] for rank in here]
        box.lists = tuple([words[place] for place in side] for side in places)
        result.value = region(
            "Nearest words before and after", _neighbours_html(words, here, places, k, box.kept)
        )

    redraw_on_change(redraw, word)
    return box


def _check_strengths(table, strengths, measures):
    rising = all(one < other for one, other in pairwise(strengths))
    if len(strengths) < 2 or not rising or strengths[0] != 0 or strengths[-1] > 1:
        raise ValueError(
            f"The index is {strengths}: give two or more strengths that rise from 0, no mitigation, "
            "to 1 at most."
        )
    if not 1 <= len(measures) <= len(LETTERS) or len(measures) < len(table.columns):
        raise ValueError(
            f"The columns are {list(map(str, table.columns))}: give one to {len(LETTERS)}, of "
            "different names."
        )
    for name, values in measures.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"The measure {name!r} at strength {strengths[bad[0]]:g} is missing.")


def _strength_table(measures, at):
    rows = ""
    for letter, dash, (name, values) in zip(LETTERS, LINE_DASHES, measures.items(), strict=False):
        line = (
            '<svg aria-hidden="true" width="40" height="8"><line x1="0" y1="4" x2="40" y2="4" '
            f'stroke="currentColor" stroke-dasharray="{dash}"/></svg>'
        )
        rows += (
            f"<tr>{_NAME.format(f'{letter}: {escape(name)}')}<td>{line}</td>"
            f"{_CELL.format(_plain(values[0]))}{_CELL.format(_plain(values[at]))}"
            f"{_CELL.format(signed(values[at] - values[0], 3))}</tr>"
        )
    heads = "".join(_HEAD.format("end", name) for name in ("Line", "At 0", "Here", "Change"))
    return f"<table><tr>{_HEAD.format('start', 'Measure')}{heads}</tr>{rows}</table>"


def _plain(value):
    return f"{value:.3f}".replace("-", "−")


def _strength_curves(strengths, measures, at):
    """Return one small line chart of all measures, the strength chosen marked."""
    every = np.concatenate(list(measures.values()))
    chart = line_chart(
        strengths,
        measures,
        xlabel="strength",
        ylabel="measures",
        x_ticks={strength: f"{strength:g}" for strength in strengths},
        y_ticks={
            value: f"{value:.2g}" for value in (0.0, min(0, every.min()), max(1, every.max()))
        },
        at=at,
        size=(360, 150),
    )
    return chart + paragraph("Measures by strength of the mitigation, the strength chosen marked.")


def _check_words(words, k):
    if isinstance(k, bool) or int(k) != k or k < 1:
        raise ValueError(f"k is {k!r}. Give a whole number from 1 up, say 8.")
    if not k + 2 <= len(words) <= _MOST_WORDS:
        raise ValueError(
            f"There are {len(words):,} words: give {k + 2} (k + 2) to {_MOST_WORDS:,}."
        )
    seen = set()
    for word in words:
        if word in seen:
            raise ValueError(f"The word {word!r} occurs twice: keep it once.")
        seen.add(word)


def _neighbour_ranks(rows):
    """Return the rank of every word among each word's neighbours, (n, n); itself comes last."""
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -np.inf)
    order = np.argsort(-cosines, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(rows) + 1)[None], axis=1)
    return ranks


def _neighbours_html(words, here, places, k, kept):
    stays = len(set(places[0]) & set(places[1]))
    told = (
        f"{stays} of the {k} nearest words stay. Over all {len(words):,} words, {kept:.0%} of the "
        f"{k} nearest stay on average."
    )
    columns = ""
    moves = ("goes, to rank", "comes, from rank")
    where = ("after", "before")
    for name, own, other, move, there, listed in zip(
        ("Before", "After"), here, reversed(here), moves, where, places, strict=True
    ):
        items = "".join(
            f'<li value="{own[place]}">{_neighbour(words[place], other[place], k, move, there)}</li>'
            for place in listed
        )
        columns += (
            f'<div role="group" aria-label="{name}" style="flex:1 1 16em;min-width:0">'
            f'<strong>{name}</strong><ol style="margin:.3em 0;padding-left:2em">{items}</ol></div>'
        )
    return f'{paragraph(told)}<div style="display:flex;flex-wrap:wrap;gap:1.5em">{columns}</div>'


def _neighbour(word, rank, k, move, there):
    """Return one neighbour, with its rank on the other side; in bold if on one side only."""
    word = f'<span dir="auto">{escape(word)}</span>'
    if rank <= k:
        return f"{word} [stays, rank {rank} {there}]"
    return f"<strong>{word}</strong> [{move} {rank}]"
