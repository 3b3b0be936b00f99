"""The widgets of lesson 2: noise, two models side by side, the share of training, its cost.

Each function returns a box; its controls and its output are attributes, so a lesson moves them in
code and a test reads what they show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from course_utils.adaptation.noise import KINDS, _words, add_noise
from course_utils.plots.drawing import cut
from course_utils.plots.svg import line_chart
from course_utils.widgets.common import (
    bar,
    controls,
    escape,
    highlight,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)
from course_utils.widgets.training import live_curves, training_calculator, training_time

if TYPE_CHECKING:
    import pandas as pd
    from ipywidgets import VBox

    from course_utils.encoding.embedders import AnyEmbedder
    from course_utils.retrieval import Index

__all__ = [
    "compare_search",
    "live_curves",
    "noise_slider",
    "share_slider",
    "training_calculator",
    "training_time",
]

_WIDE = {"description_width": "initial"}
# Not colour alone: what is removed is struck through, what is changed is underlined.
_REMOVED = '<del style="opacity:.6;text-decoration:line-through">{}</del>'
_CHANGED = '<mark style="background:#F0E442;color:#000;text-decoration:underline">{}</mark>'


def noise_slider(sentences: Sequence[str], *, rate: float = 0.6, seed: int = 0) -> VBox:
    """Return a box that damages sentences as training does: ``.rate``, ``.damaged``.

    ``sentences`` is what ``course_utils.adaptation.add_noise`` takes, at least one; it does the
    damage here with the same seed and epoch as in training. ``rate`` is the share of words asked
    for at first, at most 0.9 here, ``seed`` that of ``TSDAEConfig``. Other controls: ``.kind``,
    ``.epoch``.

    Raises ``ValueError`` for no sentence, and for one that holds no word.
    """
    ipywidgets = controls()
    sentences = list(sentences)
    if not sentences:
        raise ValueError("There are no sentences to damage: give at least one.")
    share = ipywidgets.FloatSlider(
        value=rate, min=0, max=0.9, step=0.05, description="Share of words", style=_WIDE
    )
    kind = ipywidgets.Dropdown(options=list(KINDS), description="Kind of noise", style=_WIDE)
    epoch = ipywidgets.IntSlider(
        value=0, min=0, max=9, description="Draw again (epoch)", style=_WIDE
    )
    damaged = ipywidgets.HTML()

    def redraw():
        options = {"rate": share.value, "seed": seed, "epoch": epoch.value}
        damaged.value = region("Damaged sentences", _noise_html(sentences, kind.value, options))

    box = labelled(
        "How much can a sentence lose?",
        "Cover the original and look for the share from which you could no longer say what the "
        "sentence was about: that is as far as its meaning carries. Draw again for the copy of "
        "another epoch.",
        rate=share,
        kind=kind,
        epoch=epoch,
        damaged=damaged,
    )
    redraw_on_change(redraw, share, kind, epoch)
    return box


def compare_search(
    models: Mapping[str, AnyEmbedder],
    indexes: Mapping[str, Index],
    *,
    k: int = 5,
    query: str = "",
) -> VBox:
    """Return a box with results of several models side by side: ``.query``, ``.k``, ``.results``.

    ``models`` maps two or three names to embedders, drawn in this order; ``indexes`` maps the same
    names to what ``build_index`` made with each from the same corpus, so that nothing is encoded
    here but what is typed. ``k`` is how many results are shown, ``query`` what is searched for at
    first. A result that only one model has among its k is marked "[only here]". An error of the
    search is not caught here.

    Raises ``ValueError`` for names that differ, more or fewer than two or three, and indexes that
    hold different ids.
    """
    from course_utils.retrieval import search

    ipywidgets = controls()
    _check_same_corpus(models, indexes)
    asked = ipywidgets.Text(
        value=query, description="Search for", continuous_update=True, style=_WIDE
    )
    count = ipywidgets.IntSlider(description="Results", value=k, min=1, max=max(10, k), style=_WIDE)
    results = ipywidgets.HTML()

    def redraw():
        words = asked.value.strip()
        if words:
            hits = {
                name: search(model, words, indexes[name], k=count.value)
                for name, model in models.items()
            }
            shown = _columns(hits, words)
        else:
            shown = paragraph("Type a few words above; the results of every model appear here.")
        results.value = region("Search results of every model", shown)

    box = labelled(
        "What does each model find?",
        "Look for the results marked [only here] and ask of each whether it answers the query. A "
        "few searches show what changes; whether it is better, only many judged queries tell.",
        query=asked,
        k=count,
        results=results,
    )
    redraw_on_change(redraw, asked, count)
    return box


def share_slider(table: pd.DataFrame) -> VBox:
    """Return a box that mixes the trained weights with those of the start: ``.share``, ``.result``.

    ``table`` has a row for each share of the trained weights that was measured, its index rising
    from 0, the start, to at most 1; each column is a score, named as it is to be shown. Nothing is
    computed here, so moving the slider only draws.

    Raises ``ValueError`` for an index that does not rise from 0 to at most 1, and a missing score.
    """
    ipywidgets = controls()

    shares = [float(share) for share in table.index]
    scores = {str(name): column.to_numpy(dtype=float) for name, column in table.items()}
    _check_shares(shares, scores)
    slider = ipywidgets.SelectionSlider(
        options=[(f"{share:g}", share) for share in shares],
        value=shares[-1],
        description="Share of trained weights",
        style=_WIDE,
    )
    result = ipywidgets.HTML()

    def redraw():
        result.value = region(
            "Scores at this share", _share_html(shares, scores, shares.index(slider.value))
        )

    box = labelled(
        "How much of the training to keep?",
        "Look for a share at which the score you want has risen and the one you must not lose has "
        "not yet fallen.",
        share=slider,
        result=result,
    )
    redraw_on_change(redraw, slider)
    return box


def _noise_html(sentences, kind, options):
    copies = add_noise(sentences, kind=kind, **options)
    items, chosen_in_all, words_in_all = [], 0, 0
    for index, (text, copy) in enumerate(zip(sentences, copies, strict=True)):
        words, groups = _words(index, text)
        chosen = _chosen(text, words, options)
        chosen_in_all += sum(chosen)
        words_in_all += len(words)
        look = _REMOVED if kind == "delete" else _CHANGED
        told = f"{sum(chosen)} of {len(words)} words {_DONE[kind]}"
        items.append(
            f'<li style="margin-bottom:.7em"><span dir="auto">{_spell(words, groups, chosen, look)}'
            f'</span><br>Damaged copy: <span dir="auto">{_copy_html(copy, kind, chosen)}</span><br>'
            f"<small>{told} ({_percent(sum(chosen) / len(words))})</small></li>"
        )
    realised = chosen_in_all / words_in_all
    told = (
        f"In all {chosen_in_all} of {words_in_all} words {_DONE[kind]}: {_percent(realised)}, where "
        f"{_percent(options['rate'])} was asked for. At least one word of every sentence is spared."
    )
    return (
        f'<ol style="margin:.3em 0;padding-left:2em">{"".join(items)}</ol>'
        f'<div style="margin:.3em 0">{bar(realised)} {escape(told)}</div>'
    )


_DONE = {
    "delete": "removed",
    "mask": "masked",
    "swap": "moved",
    "insert": "followed by another",
}


def _chosen(text, words, options):
    """Return which words the noise takes: the kinds choose alike, so masks show where all do."""
    mask = next(mark for mark in map(chr, range(0xE000, 0xF900)) if mark not in text)
    (rest,) = add_noise([text], kind="mask", mask=mask, **options)
    chosen = []
    for word in words:
        rest = rest.lstrip(" ")
        chosen.append(rest.startswith(mask))
        rest = rest[len(mask if chosen[-1] else word) :]
    return chosen


def _copy_html(copy, kind, chosen):
    if kind == "delete":
        return escape(copy)
    words, groups = _words(0, copy)
    changed = chosen
    if kind == "insert":
        changed = [new for taken in chosen for new in ([False, True] if taken else [False])]
    # A script without spaces may join two moved words into one; then no mark beats a wrong one.
    if len(changed) != len(words):
        changed = [False] * len(words)
    return _spell(words, groups, changed, _CHANGED)


def _spell(words, groups, marked, look):
    """Return the words as they stood, those marked in this look, with no space inside a group."""
    spelt = ""
    for i, (word, mark) in enumerate(zip(words, marked, strict=True)):
        space = " " if i and (groups is None or groups[i] != groups[i - 1]) else ""
        spelt += space + (look.format(escape(word)) if mark else escape(word))
    return spelt


def _check_same_corpus(models, indexes):
    if set(models) != set(indexes):
        raise ValueError(
            f"The models are {', '.join(models)} and the indexes {', '.join(indexes)}: "
            "give one index a model, under the same name."
        )
    if len(models) not in (2, 3):
        raise ValueError(f"{len(models)} models do not fit side by side: give two or three.")
    first, *others = models
    for name in others:
        if set(indexes[name].ids) != set(indexes[first].ids):
            raise ValueError(
                f"The indexes of {first!r} and {name!r} hold different ids: build both from the "
                "same corpus."
            )


def _columns(hits, query):
    """Return the hits of each model in a column of its own, below what they share."""
    found = {name: {hit.id for hit in of_model} for name, of_model in hits.items()}
    shared = set.intersection(*found.values())
    columns, alone = [], []
    for name, of_model in hits.items():
        elsewhere = set().union(*(ids for other, ids in found.items() if other != name))
        only = found[name] - elsewhere
        alone.append(f"{len(only)} only by {name}")
        items = "".join(_hit_item(hit, query, hit.id in only) for hit in of_model)
        columns.append(
            f'<div role="group" aria-label="{escape(name)}" style="flex:1 1 16em;min-width:0">'
            f"<strong>{escape(name)}</strong>"
            f'<ol style="margin:.3em 0;padding-left:2em">{items}</ol></div>'
        )
    told = f"Found by all: {len(shared)} of {max(map(len, hits.values()))}; {', '.join(alone)}."
    return (
        f'{paragraph(told)}<div style="display:flex;flex-wrap:wrap;gap:1.5em">'
        f"{''.join(columns)}</div>"
    )


def _hit_item(hit, query, only_here):
    mark = "<strong>[only here]</strong> " if only_here else ""
    return (
        f'<li value="{int(hit.rank)}" style="margin-bottom:.5em">{mark}{hit.score:.3f} '
        f'<code>{escape(hit.id)}</code><br><span dir="auto">'
        f"{highlight(cut(hit.text, 200), query)}</span></li>"
    )


def _check_shares(shares, scores):
    rising = all(one < other for one, other in pairwise(shares))
    if len(shares) < 2 or not rising or shares[0] != 0 or shares[-1] > 1:
        raise ValueError(
            f"The index is {shares}: give two or more shares that rise from 0, the start, to 1 at "
            "most."
        )
    if not scores:
        raise ValueError("The table has no column: give one a score.")
    for name, values in scores.items():
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise ValueError(f"The score {name!r} at share {shares[bad[0]]:g} is missing.")


def _share_html(shares, scores, at):
    rows = "".join(
        '<tr><th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">'
        f'{escape(name)}</th><td style="text-align:end">{values[at]:.3f}</td>'
        f'<td style="text-align:end;padding:0 1em">{_change(values[at] - values[0])}</td>'
        f"<td>{_share_curve(name, shares, values, at)}</td></tr>"
        for name, values in scores.items()
    )
    best = "; ".join(
        f"{name} {values.max():.3f} at {shares[values.argmax()]:g}"
        for name, values in scores.items()
    )
    return (
        paragraph(
            f"{_percent(shares[at])} trained weights, {_percent(1 - shares[at])} of the start."
        )
        + '<table><tr><td></td><th scope="col">Score</th><th scope="col">Change from 0</th>'
        + f'<th scope="col">From share 0 to {shares[-1]:g}</th></tr>{rows}</table>'
        + paragraph(f"Dashed: the start. Highest: {best}.")
    )


def _percent(share):
    return f"{100 * share:.0f} %"


def _change(difference):
    # Rounded first: -0.0001 is shown as no change, not as a loss of 0.000.
    rounded = round(float(difference), 3)
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"


def _share_curve(name, shares, values, at):
    """Return a small line chart of one score over the shares, with the present one marked."""
    return line_chart(
        shares,
        {name: values},
        xlabel="the share of trained weights",
        ylabel=name,
        x_ticks={share: f"{share:g}" for share in shares},
        y_ticks={value: f"{value:.3f}" for value in (values.min(), values.max())},
        at=at,
        level=values[0],
        size=(200, 44),
    )
