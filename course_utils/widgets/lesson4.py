"""The widgets of lesson 4: an association test of one's own, strength against use, neighbours.

Each function returns a box; its controls and its output are attributes, so a lesson moves them in
code and a test reads what they show.
"""

from __future__ import annotations

from html import unescape
from itertools import pairwise

import numpy as np

from course_utils.bias.directions import unit_rows
from course_utils.widgets.association import association_box, signed
from course_utils.widgets.common import escape, labelled, paragraph, redraw_on_change, region

__all__ = ["association_box", "neighbour_box", "strength_slider"]

_WIDE = {"description_width": "initial"}
_MOST_WORDS = 2000
_DASHES = ("none", "6 3", "2 2", "8 2 2 2", "12 4", "1 4")
_LETTERS = "abcdef"
_HEAD = '<th scope="col" style="text-align:{};padding:0 .8em">{}</th>'
_NAME = '<th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{}</th>'
_CELL = '<td style="text-align:end;padding:.15em .8em">{}</td>'


def strength_slider(table):
    """Return a box that shows what each strength of a mitigation brings and costs: ``.strength``.

    table: a DataFrame with one to six columns, each a measure of its own name (say which way is
    better in it), all on scales of a common size such as 0 to 1. Its index is the strength, rising
    from 0 (no mitigation) to at most 1. ``.result`` shows the measures at the strength chosen, their
    change from strength 0, and all of them as lines on one scale, so that a gain and a cost of the
    same size look the same.

    Raises ValueError if the index does not rise from 0 to at most 1, or a number is missing.
    """
    import ipywidgets

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


def neighbour_box(words, before, after, *, k=8):
    """Return a box with a word's nearest words before and after a mitigation: ``.word``, ``.result``.

    words: n different texts, k + 2 to 2,000. before, after: their vectors, (n, d) and (n, d'), in
    the same order; nearness is the cosine. Words that stay, come and go are told apart in print,
    with the rank that each has on the other side. ``.lists`` is the pair of lists of words now shown,
    ``.kept`` the share of the k neighbours that stays, averaged over all n words: near 1, the
    mitigation has left the neighbourhoods as they were, whatever the measure that it was made for
    says of them.

    Raises ValueError if there are too few or too many words, one occurs twice, k is below 1, or
    the vectors do not fit the words, hold NaN or a row of zeros.

    Source: Gonen and Goldberg 2019, "Lipstick on a Pig", section 4, who look at neighbours so.
    """
    import ipywidgets

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
    if not 1 <= len(measures) <= len(_DASHES) or len(measures) < len(table.columns):
        raise ValueError(
            f"The columns are {list(map(str, table.columns))}: give one to {len(_DASHES)}, of "
            "different names."
        )
    for name, values in measures.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"The measure {name!r} at strength {strengths[bad[0]]:g} is missing.")


def _strength_table(measures, at):
    rows = ""
    for letter, dash, (name, values) in zip(_LETTERS, _DASHES, measures.items(), strict=False):
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
    """Return one small line chart of all measures, told apart by dashes and letters at the right end."""
    wide, high, left, top = 360, 150, 40, 8
    every = np.concatenate(list(measures.values()))
    low, top_value = min(0.0, float(every.min())), max(1.0, float(every.max()))
    last = strengths[-1]

    def up(value):
        return top + high * (1 - (value - low) / (top_value - low))

    across = [left + wide * strength / last for strength in strengths]
    drawn, said = "", []
    for letter, dash, (name, values) in zip(_LETTERS, _DASHES, measures.items(), strict=False):
        points = " ".join(f"{x:.1f},{up(v):.1f}" for x, v in zip(across, values, strict=True))
        drawn += (
            f'<polyline points="{points}" fill="none" stroke="currentColor" '
            f'stroke-dasharray="{dash}"/><circle cx="{across[at]:.1f}" cy="{up(values[at]):.1f}" '
            'r="3.5"/>'
        )
        said.append(
            f"{letter}, {name}: {_plain(values[0])} at 0, {_plain(values[at])} marked, "
            f"{_plain(values[-1])} at {last:g}"
        )
    for letter, y in _apart([up(values[-1]) for values in measures.values()], top + high):
        drawn += f'<text x="{left + wide + 8}" y="{y + 3:.1f}">{letter}</text>'
    for value in sorted({low, 0.0, top_value}):
        drawn += (
            f'<text x="{left - 6}" y="{up(value) + 3:.1f}" text-anchor="end">{value:.2g}</text>'
        )
    ticks = {left: 0, left + wide: last}
    if min(across[at] - left, left + wide - across[at]) > 20:  # else it would cover another
        ticks[across[at]] = strengths[at]
    for x, strength in ticks.items():
        drawn += f'<text x="{x:.1f}" y="{top + high + 14}" text-anchor="middle">{strength:g}</text>'
    x = across[at]
    drawn += (
        f'<line x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{top + high}" stroke="currentColor" '
        'opacity=".4"/>'
    )
    label = (
        f"Line chart: measures upwards against strength across, from 0 to {last:g}; marked: "
        f"strength {strengths[at]:g}. {'; '.join(said)}."
    )
    return (
        f'<svg role="img" aria-label="{escape(label)}" width="{wide + left + 30}" '
        f'height="{high + 30}" font-size="10" fill="currentColor">{drawn}</svg>'
        + paragraph("Measures by strength of the mitigation, the strength chosen marked.")
    )


def _apart(heights, lowest, *, gap=11):
    """Return each line's letter and a height for it, so that no two letters overlap."""
    order = np.argsort(heights, kind="stable")
    placed, least = [], -np.inf
    for height in np.asarray(heights)[order]:
        placed.append(max(height, least))
        least = placed[-1] + gap
    # Those pushed below the axis push back up.
    for at in reversed(range(len(placed))):
        placed[at] = min(placed[at], lowest)
        lowest = placed[at] - gap
    return [(_LETTERS[line], height) for line, height in zip(order, placed, strict=True)]


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
    """Return one neighbour, with its rank on the other side; those of one side only stand in bold."""
    word = f'<span dir="auto">{escape(word)}</span>'
    if rank <= k:
        return f"{word} [stays, rank {rank} {there}]"
    return f"<strong>{word}</strong> [{move} {rank}]"
