"""A box for judging two systems side by side without knowing which is which."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.metrics.judging import Judgement, append_judgement, read_judgements
from course_utils.widgets.common import controls, escape, labelled, paragraph, region

if TYPE_CHECKING:
    from ipywidgets import VBox


def judging_box(
    items: Iterable[tuple[str, Sequence[str], Sequence[str]]],
    path: str | Path,
    *,
    judge: str,
    seed: int = 0,
) -> VBox:
    """Return a box that asks which of two lists of results is better: buttons and ``.judgements``.

    ``items`` are triples (query, results of system a, results of system b), the results being lists
    of texts, best first; shown in this order. ``path`` is a JSON Lines file, one for each judge, to
    which every judgement is added before the next item appears (``append_judgement``); ``judge`` is
    the name that stands in it. Which side each system stands on is drawn for every item anew, from
    the ``seed``, the judge and the item; nothing on the page says which it is.

    A box made again with the same path and judge goes on after the last judgement, also if items
    were added or their order changed: an item is known by its query and results. ``.judgements`` is
    the list of this judge's judgements of these items; ``preference`` and ``cohens_kappa`` of
    ``course_utils.metrics.judging`` take it from there. Buttons: ``.left``, ``.right``, ``.equal``,
    ``.skip``; what they show: ``.pair``, ``.progress``.

    Keys: Tab moves from button to button, Space or Enter presses one, and the focus stays on it.
    There are no single-key shortcuts: the controls that every notebook has offer none.

    Raises ``ValueError`` for no items, an item that is not a query with two lists of texts, two
    items that are the same, and a line of the file that is no judgement. An error on writing is
    shown below the buttons, and the item stays until it is saved.
    """
    ipywidgets = controls()
    asked = _identified(items)
    if not isinstance(judge, str) or not judge.strip():
        raise ValueError(f"judge is {judge!r}. Give the name of the person who judges.")
    path = Path(path)
    made = read_judgements(path) if path.exists() else []
    judged = {each.item: each for each in made if each.judge == judge and each.item in asked}
    waiting = [key for key in asked if key not in judged]
    sides = {key: _sides(seed, judge, key) for key in asked}

    pair, progress = ipywidgets.HTML(), ipywidgets.HTML()
    buttons = {
        name: ipywidgets.Button(description=description, layout={"width": "auto"})
        for name, description in (
            ("left", "Left is better"),
            ("right", "Right is better"),
            ("equal", "Equally good"),
            ("skip", "Skip"),
        )
    }
    box = labelled(
        "Which results are better?",
        "Look for what the person asking would want to read first. Go by the texts alone: the "
        "sides are drawn anew for every query. Tab moves to a button, Space presses it.",
        pair=pair,
        buttons=ipywidgets.HBox(list(buttons.values())),
        progress=progress,
    )
    box.judgements = list(judged.values())

    def redraw():
        done = f"{len(asked) - len(waiting)} of {len(asked)} judged."
        if waiting:
            query, *lists = asked[waiting[0]]
            shown = _pair_html(query, *(lists["ab".index(side)] for side in sides[waiting[0]]))
        else:
            shown = paragraph("Every item is judged. Thank you.")
            for button in buttons.values():
                button.disabled = True
        pair.value = region("Two lists of results to compare", shown)
        progress.value = region("Progress", paragraph(done))

    def judge_first(choice):
        if not waiting:
            return  # a second press that was under way while the last item was judged
        key = waiting[0]
        left = sides[key][0]
        by_side = {"left": left, "right": sides[key][1]}
        judgement = Judgement(key, asked[key][0], judge, left, by_side.get(choice, choice))
        try:
            append_judgement(path, judgement)
        except OSError as error:
            told = f"Not saved, so please press again: {error}"
            progress.value = region("Progress", paragraph(told))
            raise
        box.judgements.append(judgement)
        del waiting[0]
        redraw()

    for name, button in buttons.items():
        setattr(box, name, button)
        button.on_click(lambda pressed, choice=name: judge_first(choice))
    redraw()
    return box


def _identified(items):
    """Return {id: (query, results of a, results of b)}; the id is a digest of all three."""
    found = {}
    for place, item in enumerate(items):
        try:
            query, *lists = item
            (_, _) = lists = [list(results) for results in lists if not isinstance(results, str)]
        except (TypeError, ValueError):
            raise ValueError(
                f"Item {place} is not (query, results of a, results of b), the results being lists "
                "of texts."
            ) from None
        for text in (query, *lists[0], *lists[1]):
            if not isinstance(text, str):
                raise ValueError(f"Item {place} holds {text!r} where a text should be.")
        key = hashlib.sha256(json.dumps([query, *lists]).encode()).hexdigest()[:16]
        if key in found:
            raise ValueError(f"Item {place} is the same as an earlier one: leave it out.")
        found[key] = (query, *lists)
    if not found:
        raise ValueError("There are no items to judge: give at least one.")
    return found


def _sides(seed, judge, key):
    """Return the systems on the left and the right, "ab" or "ba", as a toss that can be redone."""
    toss = hashlib.sha256(json.dumps([int(seed), judge, key]).encode()).digest()[0]
    return "ab" if toss % 2 else "ba"


def _pair_html(query, left, right):
    columns = "".join(
        f'<div role="group" aria-label="{side}" style="flex:1 1 16em;min-width:0">'
        f"<strong>{side}</strong>{_results_html(results)}</div>"
        for side, results in (("Left", left), ("Right", right))
    )
    return (
        f'<p style="margin:.3em 0">Query: <strong dir="auto">{escape(query)}</strong></p>'
        f'<div style="display:flex;flex-wrap:wrap;gap:1.5em">{columns}</div>'
    )


def _results_html(results):
    if not results:
        return paragraph("No results.")
    rows = "".join(
        f'<li style="margin-bottom:.5em"><span dir="auto">{escape(text)}</span></li>'
        for text in results
    )
    return f'<ol style="margin:.3em 0;padding-left:2em">{rows}</ol>'
