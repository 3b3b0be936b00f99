"""A box to build an association test in: four sets of words, an effect, its interval, a p value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.bias.associations import association, effect_size_interval, weat
from course_utils.bias.directions import unit_rows
from course_utils.bias.stimuli_files import check_text, same
from course_utils.widgets.common import bar, controls, escape, labelled, paragraph, region

if TYPE_CHECKING:
    from ipywidgets import VBox

    from course_utils.data.tasks import AssociationTest

_WIDE = {"description_width": "initial"}
_SETS = {
    "X": "X, first words",
    "Y": "Y, second words",
    "A": "A, attributes of X",
    "B": "B, attributes of Y",
}
_MOST_WORDS = 200
_SHOWN_AT_EACH_END = 8
_HOLDS_ZERO = (
    " The interval holds 0: with other words of this kind it could be nothing, or the reverse. It "
    "redraws the words of all four sets, whereas p takes A and B as given."
)
_HEAD = '<th scope="col" style="text-align:{};padding:0 .8em">{}</th>'
_NAME = '<th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{}</th>'
_CELL = '<td style="text-align:end;padding:.15em .8em">{}</td>'


def association_box(
    vectors_of: Callable[[list[str]], Any], test: AssociationTest | None = None
) -> VBox:
    """Return a box to build an association test in: ``.X`` to ``.B``, ``.run``, ``.shown``.

    ``vectors_of`` is a function from a list of n texts to their vectors, (n, d); it is called once
    each time the button ``.run`` is pressed. The words of ``test`` stand in the four text areas at
    first. Words are separated by commas or line ends; blank ones do not count.

    ``.result`` is the ``WeatResult`` last shown and ``.interval`` that of its effect size, both
    None before the first press and where the last test was refused; the reason is then shown.

    Raises ``ValueError`` for a word of the test that holds a comma or a line end, which would split
    it.
    """
    ipywidgets = controls()
    areas = {
        side: ipywidgets.Textarea(
            value="" if test is None else _joined(test, side),
            description=name,
            rows=3,
            continuous_update=False,
            style=_WIDE,
            layout={"width": "95%"},
        )
        for side, name in _SETS.items()
    }
    run, shown = ipywidgets.Button(description="Run"), ipywidgets.HTML()
    box = labelled(
        "An association test of your own",
        "Type words into the four sets, separated by commas or lines, and press Run. Look for what "
        "a few other words do to the effect and its interval, and whether one word carries it all.",
        **areas,
        run=run,
        shown=shown,
    )
    box.result = box.interval = None
    measured = ""

    def show(html):
        shown.value = region("Result of the association test", html)

    def measure(pressed):
        nonlocal measured
        box.result = box.interval = None
        try:
            sets = _typed_sets({side: area.value for side, area in areas.items()})
            vectors = _vectors(vectors_of, sets)
            result, interval = weat(**vectors), effect_size_interval(**vectors)
            targets = np.concatenate([vectors["X"], vectors["Y"]])
            scores = association(targets, vectors["A"], vectors["B"])
            measured = _association_html(result, interval, sets, scores)
            box.result, box.interval = result, interval
        # What a model raises is not known beforehand, and a traceback in a callback is seen nowhere.
        except Exception as error:
            measured = paragraph(f"Not measured. {_reason(error)}")
        show(measured)

    def changed(change):
        if measured:
            show(paragraph("The words have changed since this was measured: press Run.") + measured)

    for area in areas.values():
        area.observe(changed, names="value")
    run.on_click(measure)
    show(paragraph("Nothing is measured yet: press Run."))
    return box


def _joined(test, side):
    for word in getattr(test, side):
        if re.search(r"[,\n]", word):
            raise ValueError(
                f"{test.name}: {side} holds {word!r}. In the box a comma or line end starts a new "
                "word: leave it out."
            )
    return ", ".join(getattr(test, side))


def _typed_sets(texts):
    """Return {side: its words}, each of them one that can be seen, and in one set once."""
    sets, home = {}, {}
    for side, text in texts.items():
        words = [word.strip() for word in re.split(r"[,\n]", text) if word.strip()]
        if not words:
            raise ValueError(f"{side} is empty. Type at least two words into it.")
        if len(words) > _MOST_WORDS:
            raise ValueError(f"{side} holds {len(words):,} words. Give {_MOST_WORDS} at most.")
        for place, word in enumerate(words, start=1):
            check_text("Your test", f"word {place} of {side}", word)
            if same(word) in home:
                other = home[same(word)]
                where = f"in {side} twice" if other == side else f"in both {other} and {side}"
                raise ValueError(f"{word!r} is {where}, capitals aside. Keep it once.")
            home[same(word)] = side
        sets[side] = words
    return sets


def _vectors(vectors_of, sets):
    """Return {side: (n, d)} from one call for the words of all four sets."""
    words = [word for side in sets.values() for word in side]
    rows = np.asarray(vectors_of(words))
    if rows.ndim != 2 or len(rows) != len(words):
        raise ValueError(
            f"The vectors of {len(words)} words came as an array of shape {rows.shape}. "
            "vectors_of has to return one row a word."
        )
    unit_rows(rows, "vectors", words)  # names the word whose vector has no direction
    ends = np.cumsum([len(side) for side in sets.values()])
    return dict(zip(sets, np.split(rows, ends[:-1]), strict=True))


def _reason(error):
    if isinstance(error, ValueError):
        return str(error)
    return f"The vectors could not be made ({type(error).__name__}: {error})."


def _association_html(result, interval, sets, scores):
    first, second = "AB" if result.effect_size > 0 else "BA"
    low, high = interval
    told = [
        f"Effect size {signed(result.effect_size, 2)} (95 % interval {signed(low, 2)} to "
        f"{signed(high, 2)}; it cannot leave ±2): X is nearer to {first} and Y to {second} than "
        "the other way round." + (_HOLDS_ZERO if low <= 0 <= high else ""),
        _p_told(result),
        "These are numbers about these vectors and these words. They say nothing of any person, "
        "and nothing yet of what a system does with the vectors.",
    ]
    return "".join(map(paragraph, told)) + _bars_html(sets, scores)


def _p_told(result):
    how = (
        f"exact, over all {result.permutations:,} ways to split these words into two sets of this "
        "size"
        if result.exact
        else f"sampled, over {result.permutations:,} random splits of these words"
    )
    least = result.exact and round(result.p_value * result.permutations) == 1
    floor = " That is the least that so many words can give." if least else ""
    return (
        f"p = {result.p_value:.4g} ({how}): so often chance alone gives a statistic of at least "
        f"{signed(result.statistic, 3)}." + floor
    )


def _bars_html(sets, scores):
    """Return the words nearest to A and nearest to B, with bars to both sides of the middle."""
    named = [(word, side) for side in "XY" for word in sets[side]]
    order = np.argsort(-scores, kind="stable")
    between = len(order) - 2 * _SHOWN_AT_EACH_END
    most = float(np.abs(scores).max())
    rows = ""
    for rank, place in enumerate(order):
        if between > 0 and _SHOWN_AT_EACH_END <= rank < len(order) - _SHOWN_AT_EACH_END:
            if rank == _SHOWN_AT_EACH_END:
                rows += f'<tr><td colspan="5" style="padding:.2em">… {between} more …</td></tr>'
            continue
        word, side = named[place]
        share = float(scores[place]) / most
        mirrored = f'<span style="display:inline-block;transform:scaleX(-1)">{bar(-share)}</span>'
        number = signed(scores[place], 3)
        rows += (
            f"<tr>{_NAME.format(f'<bdi>{escape(word)}</bdi>')}{_CELL.format(side)}"
            f"{_CELL.format(number)}<td>{mirrored}</td><td>{bar(share)}</td></tr>"
        )
    heads = "".join(
        _HEAD.format("end", name) for name in ("Set", "Association", "nearer to B", "nearer to A")
    )
    caption = paragraph(
        "Association of each word: its mean cosine with A less that with B, highest first."
    )
    return f"{caption}<table><tr>{_HEAD.format('start', 'Word')}{heads}</tr>{rows}</table>"


def signed(value: float, decimals: int) -> str:
    """Return the number with its sign and so many decimals, and 0 without one.

    >>> signed(0.5, 2), signed(-0.004, 2)
    ('+0.50', '0.00')
    """
    # Rounded first: a number too small to print has no sign.
    rounded = round(float(value), decimals)
    return f"{rounded:+.{decimals}f}".replace("-", "−") if rounded else f"{0:.{decimals}f}"
