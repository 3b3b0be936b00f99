"""How long training on one's own texts takes and what memory it needs, with a calculator."""

from __future__ import annotations

from course_utils.widgets.common import duration, labelled, paragraph, redraw_on_change, region

# About 200 characters of a sentence and what Python keeps about a string.
_BYTES_PER_TEXT = 250


def training_time(sentences, epochs, texts_per_second):
    """Return how many seconds training takes: every sentence once an epoch, at this pace.

    sentences and epochs: whole numbers; texts_per_second: as ``TSDAEResult.texts_per_second``, which
    leaves out dev scores and checkpoints.

    Raises ValueError if a number is negative, or the pace is not above 0.

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


def training_calculator(texts_per_second, peak_mb, *, sentences=100_000):
    """Return a box that says how long training takes and what memory: its inputs and ``.result``.

    texts_per_second, peak_mb: the pace and the most memory (MB) that the lesson measured on this
    machine. sentences: how many the learner's own corpus has at first. Inputs: ``.sentences``,
    ``.epochs``, ``.texts_per_second``.
    """
    import ipywidgets

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
