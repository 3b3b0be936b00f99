"""A box that measures models on a task of one's choice: quality beside speed and size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from html import unescape
from math import ceil, floor, isfinite, log10
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING

from course_utils.plots.svg import interval_scatter
from course_utils.widgets.common import controls, escape, labelled, paragraph, region

if TYPE_CHECKING:
    from ipywidgets import VBox

    from course_utils.data import RetrievalTask
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

_WIDE = {"description_width": "initial"}
_HEADS = (
    "MRR@10", "95 % interval", "Change from the first", "Texts/s", "ms a query", "Bytes a vector",
    "MB of weights",
)  # fmt: skip
_HEAD = '<th scope="col" style="text-align:end;padding:0 .6em">{}</th>'
_NAME = '<th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{}</th>'
_CELL = '<td style="text-align:end;padding:.15em .6em;white-space:nowrap">{}</td>'


def model_chooser(
    models: Mapping[str, AnyEmbedder | Callable[[], AnyEmbedder]],
    tasks: Mapping[str, RetrievalTask | str | Path],
    *,
    questions: int | None = 300,
    documents: int | None = 2000,
    cache: EmbeddingCache | None = None,
) -> VBox:
    """Return a box that measures models on a task: ``.task``, ``.models``, ``.measure``.

    ``models`` maps up to 26 names to embedders, or to functions of no argument that make one when
    it is asked for; ``tasks`` maps names to retrieval tasks, or to what ``load_task`` takes. Of a
    task that is larger, ``questions`` queries among ``documents`` documents are used, the same for
    every model (``RetrievalTask.sample``); None means all. ``cache`` is that of ``measure_model``: it
    spares what is known from being encoded for the quality; times are always taken anew.

    Pressing ``.measure`` measures the models chosen, one after another, and ``.results`` shows each
    as it is done; what was measured once is kept. A model that fails has its reason as its row, and
    the others go on. ``.table`` is what ``choice_table`` says of those measured last, None before.

    Raises ``ValueError`` for no model or no task, and more than 26 models.
    """
    from course_utils.metrics import choice_table, measure_model

    ipywidgets = controls()
    if not 1 <= len(models) <= len(ascii_lowercase) or not tasks:
        raise ValueError(
            f"There are {len(models)} models and {len(tasks)} tasks: give 1 to "
            f"{len(ascii_lowercase)} models and a task at least."
        )
    task = ipywidgets.Dropdown(options=_options(tasks), description="Task", style=_WIDE)
    chosen = ipywidgets.SelectMultiple(
        options=_options(models),
        value=list(models)[:2],
        rows=min(len(models), 10),
        description="Models",
        style=_WIDE,
        layout={"width": "30em"},
    )
    measure, results = ipywidgets.Button(description="Measure"), ipywidgets.HTML()
    box = labelled(
        "Which model for this task?",
        "Choose a task and some models (Ctrl or Shift for several), and press Measure. Look for a "
        "change whose interval leaves out 0, and ask whether it is worth what it costs in speed.",
        task=task,
        models=chosen,
        measure=measure,
        results=results,
    )
    box.table = None
    loaded, known = {}, {}
    shown = ""

    def show(html):
        results.value = region("Models measured", html)

    def run(pressed):
        nonlocal shown
        of, names = task.value, [name for name in models if name in chosen.value]
        box.table, failed, shown = None, {}, ""
        measure.disabled = True
        # What a model raises is not known beforehand, and a traceback in a callback is seen nowhere.
        try:
            if not names:
                raise ValueError("Choose a model at least.")
            if of not in loaded:
                show(paragraph(f"Loading {of} …"))
                loaded[of] = _loaded(tasks[of], questions, documents)
            for place, name in enumerate(names, start=1):
                if (of, name) not in known:
                    show(shown + paragraph(f"Measuring {name} ({place} of {len(names)}) …"))
                    try:
                        known[of, name] = measure_model(name, models[name], loaded[of], cache=cache)
                    except Exception as error:
                        failed[name] = _reason(error)
                done = [known[of, each] for each in names[:place] if (of, each) in known]
                box.table = choice_table(done) if done else None
                shown = _results_html(loaded[of], names[:place], box.table, failed)
        except Exception as error:
            shown = paragraph(f"Not measured. {_reason(error)}")
        finally:
            measure.disabled = False
            show(shown)

    def changed(change):
        if shown:
            show(paragraph("The choice has changed since this was measured.") + shown)

    for control in (task, chosen):
        control.observe(changed, names="value")
    measure.on_click(run)
    show(paragraph("Nothing is measured yet: press Measure."))
    return box


def _options(names):
    # An option is no HTML, so only the marks that turn the direction are to be replaced.
    return [(unescape(escape(name)), name) for name in names]


def _loaded(task, questions, documents):
    from course_utils.data import RetrievalTask, load_task

    task = load_task(task) if isinstance(task, str | Path) else task
    if not isinstance(task, RetrievalTask):
        raise ValueError(f"{task.name} is a {type(task).__name__}: choose a task of retrieval.")
    return task.sample(questions, documents)


def _reason(error):
    if isinstance(error, ValueError | ImportError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _results_html(task, names, table, failed):
    letters = _letters(table)
    rows = ""
    for name in names:
        if name in failed:
            told = f'<td colspan="{len(_HEADS)}">Not measured. {escape(failed[name])}</td>'
            rows += f"<tr>{_NAME.format(_bdi(name))}{told}</tr>"
        else:
            cells = "".join(_CELL.format(cell) for cell in _cells(table.loc[name]))
            rows += f"<tr>{_NAME.format(f'{letters[name]}: {_bdi(name)}')}{cells}</tr>"
    heads = _HEAD.format("Model") + "".join(map(_HEAD.format, _HEADS))
    told = (
        f"{task.name}: {len(task.queries):,} queries among {len(task.corpus):,} documents. A change "
        "is clear where its 95 % interval, paired query by query, leaves out 0. Speeds are those of "
        "this machine, just now."
    )
    chart = "" if table is None else _chart(table)
    return f"<table><tr>{heads}</tr>{rows}</table>{paragraph(told)}{chart}"


def _letters(table):
    names = [] if table is None else table.index
    return dict(zip(names, ascii_lowercase, strict=False))


def _bdi(name):
    return f"<bdi>{escape(name)}</bdi>"


def _cells(row):
    change = "–"
    if isfinite(row["change"]):
        clear = row["change_low"] > 0 or row["change_high"] < 0
        ends = f"{_signed(row['change_low'])} to {_signed(row['change_high'])}"
        verdict = "<strong>clear</strong>" if clear else "not clear"
        change = f"{_signed(row['change'])} ({ends}), {verdict}"
    weights = f"{row['weights_mb']:,.3g}" if isfinite(row["weights_mb"]) else "not told"
    return (
        f"{row['mrr@10']:.3f}",
        f"{row['low']:.3f} to {row['high']:.3f}",
        change,
        f"{row['texts_per_s']:,.0f}",
        f"{row['latency_1_ms']:,.2g}"
        if row["latency_1_ms"] < 10
        else f"{row['latency_1_ms']:,.0f}",
        f"{row['bytes']:,.0f}",
        weights,
    )


def _signed(number):
    # Rounded first: a change too small to print has no sign.
    rounded = round(float(number), 3)
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"


def _chart(table):
    """Return quality against speed, each model under its letter in the table."""
    low, high = table["low"].fillna(table["mrr@10"]), table["high"].fillna(table["mrr@10"])
    points = {
        name: (row["texts_per_s"], row["mrr@10"], low[name], high[name])
        for name, row in table.iterrows()
    }
    speeds = table["texts_per_s"]
    powers = range(floor(log10(speeds.min())), ceil(log10(speeds.max() * 1.01)) + 1)
    top = min(1.0, ceil(10 * high.max() + 0.01) / 10)
    bottom = min(floor(10 * low.min()) / 10, top - 0.1)
    chart = interval_scatter(
        points,
        xlabel="texts per second (log scale)",
        ylabel="MRR@10",
        x_ticks={10.0**power: f"{10**power:,}" for power in powers},
        y_ticks={value: f"{value:.2g}" for value in (bottom, (bottom + top) / 2, top)},
    )
    return chart + paragraph(
        "MRR@10 upwards, with its 95 % interval, against texts per second on a log scale: up and to "
        "the right is better."
    )
