"""Training watched as it runs, and a calculator of how long it takes and what memory it needs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from course_utils.models.files import require
from course_utils.plots.svg import line_chart
from course_utils.widgets.common import (
    controls,
    duration,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)

if TYPE_CHECKING:
    from ipywidgets import VBox

    from course_utils.adaptation.progress import Progress

_REDRAW_SECONDS = 1.0  # a figure that is redrawn more often costs more than it tells
_MOST_POINTS = 300  # of one line: more than the picture has pixels across tell nothing
# About 200 characters of a sentence and what Python keeps about a string.
_BYTES_PER_TEXT = 250


def live_curves() -> Callable[[Progress], None]:
    """Return a function for ``on_progress`` that draws the loss and the dev score as they come.

    All in one place of a notebook, each drawing over the last: one a second at most, and one at the
    end of the run. Use a new one for every run.

    Raises ``ImportError`` with the line to type where IPython is not installed.
    """
    display = require("IPython.display", "course", "A figure that moves")
    handle, drawn = None, -_REDRAW_SECONDS

    def show(progress: Progress) -> None:
        nonlocal handle, drawn
        now = time.monotonic()
        if now - drawn < _REDRAW_SECONDS and not progress.ended:
            return
        drawn = now
        curves = display.HTML(_curves_html(progress))
        if handle is None:
            handle = display.display(curves, display_id=True)
        else:
            handle.update(curves)

    return show


def _curves_html(progress):
    charts = ""
    for name, key in (("loss", "loss"), ("dev score", "dev")):
        points = [(row["step"], row[key]) for row in progress.history if row[key] is not None]
        if not points:
            continue
        points = points[:: -(-len(points) // _MOST_POINTS)] + points[-1:]
        steps, values = zip(*points, strict=True)
        chart = line_chart(
            steps,
            {name: values},
            xlabel="step",
            ylabel=name,
            x_ticks={0: "0", progress.steps: f"{progress.steps:,}"},
            y_ticks={value: f"{value:.3g}" for value in (min(values), max(values))},
            number=".4f",
            size=(290, 120),
        )
        charts += f"<div>{paragraph(f'{name.capitalize()}: {values[-1]:.4f}')}{chart}</div>"
    told = f"Step {progress.step:,} of {progress.steps:,}."
    return f'{paragraph(told)}<div style="display:flex;flex-wrap:wrap;gap:1.5em">{charts}</div>'


def training_time(sentences: int, epochs: int, texts_per_second: float) -> float:
    """Return how many seconds training takes: every sentence once an epoch, at this pace.

    ``texts_per_second`` is what the result of a training calls so; dev scores and checkpoints are
    left out of it.

    Raises ``ValueError`` for a negative number, and a pace that is not above 0.

    >>> training_time(100_000, 1, 50)
    2000.0
    >>> training_time(100_000, 3, 50)
    6000.0
    """
    for name, value in (("sentences", sentences), ("epochs", epochs)):
        if value < 0:
            raise ValueError(f"{name} is {value}: it cannot be below 0.")
    if not texts_per_second > 0:
        raise ValueError(f"texts_per_second is {texts_per_second}: it must be above 0.")
    return sentences * epochs / texts_per_second


def training_calculator(
    texts_per_second: float, peak_mb: float, *, sentences: int = 100_000
) -> VBox:
    """Return a box that says how long training takes and what memory: its inputs and ``.result``.

    ``texts_per_second`` and ``peak_mb`` are the pace and the most memory (MB) that the lesson
    measured on this machine, ``sentences`` is how many the learner's own corpus has at first.
    Inputs: ``.sentences``, ``.epochs``, ``.texts_per_second``.
    """
    ipywidgets = controls()

    def number(kind, description, value, most):
        least = 1 if kind is ipywidgets.BoundedIntText else 1e-3
        return kind(
            value=value,
            min=least,
            max=most,
            description=description,
            style={"description_width": "14em"},
            layout={"width": "24em"},
        )

    own = number(ipywidgets.BoundedIntText, "Your sentences", sentences, 10**9)
    epochs = number(ipywidgets.BoundedIntText, "Epochs", 1, 1000)
    pace = number(ipywidgets.BoundedFloatText, "Texts per second", texts_per_second, 1e6)
    result = ipywidgets.HTML()

    def redraw():
        shown = _training_html(own.value, epochs.value, pace.value, peak_mb)
        result.value = region("Time and memory of training", shown)

    box = labelled(
        "How long would your own texts take?",
        "The pace was measured on this machine; overwrite it with that of another. Look for what "
        "grows with the number of sentences (the time) and what does not (nearly all memory).",
        sentences=own,
        epochs=epochs,
        texts_per_second=pace,
        result=result,
    )
    redraw_on_change(redraw, own, epochs, pace)
    return box


def _training_html(own, epochs, pace, peak_mb):
    sizes = [(f"{size:,}", size) for size in (10_000, 100_000, 1_000_000)]
    body = ""
    for name, size in [*sizes, (f"Yours: {own:,}", own)]:
        texts_mb = size * _BYTES_PER_TEXT / 1e6
        cells = (
            duration(training_time(size, epochs, pace)),
            f"{peak_mb:,.0f} MB",
            f"{texts_mb:,.1f} MB",
            f"{peak_mb + texts_mb:,.0f} MB",
        )
        body += (
            '<tr><th scope="row" style="text-align:start;font-weight:normal;padding-right:1.5em">'
            f"{name}</th>"
            + "".join(f'<td style="text-align:end;padding:.15em 1em">{c}</td>' for c in cells)
            + "</tr>"
        )
    head = "".join(
        f'<th scope="col" style="padding:0 1em">{name}</th>'
        for name in ("Sentences", "Time", "Training", "Texts", "Memory in all")
    )
    return (
        f"<table><tr>{head}</tr>{body}</table>"
        + paragraph(
            "Time is sentences times epochs, divided by texts per second; dev scores and "
            "checkpoints come on top."
        )
        + paragraph(
            f"Memory is the peak measured while training ({peak_mb:,.0f} MB), which does not grow "
            "with the corpus as every batch is of one size, plus the texts themselves, taken as "
            f"{_BYTES_PER_TEXT} bytes each."
        )
    )
