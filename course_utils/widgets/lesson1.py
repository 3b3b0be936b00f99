"""The widgets of lesson 1: search, sentence similarity, truncated vectors, the map, the costs.

Each function returns a box; its controls and its output are attributes, so a lesson moves them in
code and a test reads what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from course_utils.plots.drawing import cut
from course_utils.plots.svg import line_chart
from course_utils.widgets.choosing import model_chooser
from course_utils.widgets.common import (
    bar,
    controls,
    escape,
    highlight,
    labelled,
    paragraph,
    redraw_on_change,
    region,
    shade,
)
from course_utils.widgets.costs import cost_calculator, local_vs_api
from course_utils.widgets.maps import map_explorer

if TYPE_CHECKING:
    from ipywidgets import VBox

    from course_utils.encoding.embedders import AnyEmbedder
    from course_utils.retrieval import Index

__all__ = [
    "cost_calculator",
    "local_vs_api",
    "map_explorer",
    "model_chooser",
    "search_box",
    "similarity_playground",
    "truncation_slider",
]

_MOST_SENTENCES = 12
_LADDER = (8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)
_WIDE = {"description_width": "initial"}


def search_box(model: AnyEmbedder, index: Index, *, k: int = 5) -> VBox:
    """Return a box that searches while one types: ``.query``, ``.k``, ``.results``.

    ``model`` is any embedder, ``index`` made with it by ``build_index``; ``k`` is how many results
    are shown at first. An error of the search is not caught here.
    """
    from course_utils.retrieval import search

    ipywidgets = controls()
    query = ipywidgets.Text(description="Search for", continuous_update=True, style=_WIDE)
    count = ipywidgets.IntSlider(description="Results", value=k, min=1, max=max(10, k), style=_WIDE)
    results = ipywidgets.HTML()

    def redraw():
        asked = query.value.strip()
        if not asked:
            shown = paragraph("Type a few words above; the results appear here.")
        else:
            hits = search(model, asked, index, k=count.value)
            shown = f'<ol style="margin:.3em 0;padding-left:2em">{_hit_items(hits, asked)}</ol>'
        results.value = region("Search results", shown)

    box = labelled(
        "Search by meaning",
        "Look for results without a marked word: they share no word with the query. Are they right?",
        query=query,
        k=count,
        results=results,
    )
    redraw_on_change(redraw, query, count)
    return box


def similarity_playground(
    encode_function: Callable[[list[str]], Any], sentences: Iterable[str]
) -> VBox:
    """Return a box that compares typed sentences, one a line: ``.sentences``, ``.table``.

    ``encode_function`` takes a list of strings and returns (n, d) vectors; it is asked only for
    sentences it has not just seen. ``sentences`` stand in the box at first. Up to 12 are compared.
    A ``ValueError``, which is what unsuitable text raises, is shown in the place of the table; any
    other error is not caught.
    """
    ipywidgets = controls()

    area = ipywidgets.Textarea(
        value="\n".join(sentences),
        description="One sentence a line",
        continuous_update=True,
        rows=6,
        style=_WIDE,
        layout={"width": "95%"},
    )
    table = ipywidgets.HTML()
    known: dict[str, Any] = {}

    def redraw():
        lines = [line.strip() for line in area.value.splitlines() if line.strip()]
        chosen = lines[:_MOST_SENTENCES]
        note = ""
        if len(lines) > len(chosen):
            note = paragraph(f"Showing the first {len(chosen)} of {len(lines)} sentences.")
        try:
            shown = _similarity_table(chosen, _cosines(encode_function, chosen, known)) + note
        except ValueError as error:
            shown = paragraph(str(error))
        table.value = region("Similarities of the sentences", shown)

    box = labelled(
        "How alike are these sentences?",
        "Change one word and look for the cells that move: does a negation do it, or a synonym?",
        sentences=area,
        table=table,
    )
    redraw_on_change(redraw, area)
    return box


def truncation_slider(
    matrix: ArrayLike, query_matrix: ArrayLike, relevant_rows: Sequence[Iterable[int]]
) -> VBox:
    """Return a box that keeps the first dimensions of vectors: ``.dimensions``, ``.results``.

    ``matrix`` are (n, d) unit vectors of the documents, ``query_matrix`` (q, d) those of the
    queries, ``relevant_rows`` for each query the rows of ``matrix`` that answer it, at least one.
    Every step of the slider is searched once, when the box is made (about 0.1 s a step for 1,000
    queries on 5,000 documents); moving it only draws.

    Raises ``ValueError`` for shapes that differ and for a query without a relevant row.
    """
    ipywidgets = controls()

    full = np.shape(matrix)[-1]
    steps = [step for step in _LADDER if step < full] + [full]
    recalls = _recalls(matrix, query_matrix, relevant_rows, steps)
    slider = ipywidgets.SelectionSlider(
        options=steps, value=full, description="Dimensions kept", style=_WIDE
    )
    results = ipywidgets.HTML()

    def redraw():
        results.value = region(
            "Recall and size", _truncation_html(steps, recalls, steps.index(slider.value))
        )

    box = labelled(
        "How many dimensions are enough?",
        "Move the slider to the left and look for the point where the size still halves and the "
        "recall begins to fall fast.",
        dimensions=slider,
        results=results,
    )
    redraw_on_change(redraw, slider)
    return box


def _hit_items(hits, query):
    items = []
    for hit in hits:
        text = highlight(cut(hit.text, 300), query)
        items.append(
            f'<li value="{int(hit.rank)}" style="margin-bottom:.5em">{bar(hit.score)} '
            f"{hit.score:.3f} <code>{escape(hit.id)}</code><br>"
            f'<span dir="auto">{text}</span></li>'
        )
    return "".join(items)


def _cosines(encode_function, sentences, known):
    if len(sentences) < 2:
        raise ValueError("Write at least two sentences, one a line.")
    new = [text for text in dict.fromkeys(sentences) if text not in known]
    vectors = dict(zip(new, encode_function(new), strict=True)) if new else {}
    known.update(vectors)
    for text in set(known) - set(sentences):
        del known[text]
    rows = np.asarray([known[text] for text in sentences], dtype=float)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not lengths.all():
        place = int(np.flatnonzero(lengths[:, 0] == 0)[0]) + 1
        raise ValueError(
            f"Sentence {place} has the vector zero, which has no direction: change it."
        )
    rows = rows / lengths
    return rows @ rows.T


def _similarity_table(sentences, cosines):
    n = len(sentences)
    head = "".join(f'<th scope="col" style="text-align:center">{i}</th>' for i in range(1, n + 1))
    body = []
    for i, sentence in enumerate(sentences):
        cells = []
        for value in cosines[i]:
            background, colour = shade(value)
            cells.append(
                f'<td style="background:{background};color:{colour};text-align:center;'
                f'padding:.35em .6em">{value:.2f}</td>'
            )
        body.append(
            f'<tr><th scope="row" dir="auto" style="text-align:start;font-weight:normal;'
            f'padding-right:.8em;max-width:28em">{i + 1}. {escape(cut(sentence, 90))}</th>'
            f"{''.join(cells)}</tr>"
        )
    above = np.triu_indices(n, k=1)
    best = int(cosines[above].argmax())
    one, other = above[0][best] + 1, above[1][best] + 1
    told = f"Most alike: {one} and {other}, with a cosine of {cosines[above][best]:.2f}."
    return (
        f'<table style="border-collapse:collapse"><tr><td></td>{head}</tr>{"".join(body)}</table>'
        f"{paragraph(told)}"
    )


def _recalls(matrix, query_matrix, relevant_rows, steps):
    """Return recall@10 against the full vectors' ranking and against relevance, for each step."""
    from course_utils.retrieval import Index, recall_against_exact, truncate

    relevant = [[int(row) for row in rows] for rows in relevant_rows]
    if len(relevant) != len(query_matrix):
        raise ValueError(
            f"There are {len(query_matrix)} queries and {len(relevant)} lists of relevant rows: "
            "give one list a query."
        )
    for query, rows in enumerate(relevant):
        if not rows:
            raise ValueError(f"Query {query} has no relevant row: leave it out.")
    # Rows repeated to one length: recall counts each row once, so the repeats change nothing.
    longest = max(map(len, relevant))
    padded = [rows + rows[:1] * (longest - len(rows)) for rows in relevant]

    def ten_best(dimensions):
        index = Index.from_matrix(truncate(matrix, dimensions), [""] * len(matrix))
        return index.search(truncate(query_matrix, dimensions), 10)[1]

    found = {step: ten_best(step) for step in steps}
    return [
        (
            recall_against_exact(found[step], found[steps[-1]]),
            recall_against_exact(found[step], padded),
        )
        for step in steps
    ]


def _truncation_html(steps, recalls, at):
    kept, full = steps[at], steps[-1]
    same, relevant = recalls[at]
    size = kept * 4
    rows = [
        ("Recall@10 against the ranking by all dimensions", bar(same), f"{same:.3f}"),
        ("Recall@10 against relevance", bar(relevant), f"{relevant:.3f}"),
        ("Bytes per vector (float32)", bar(kept / full), f"{size:,}"),
        ("A million vectors", bar(kept / full), f"{size:,} MB"),
    ]
    body = "".join(
        f'<tr><th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{name}'
        f'</th><td>{drawn}</td><td style="text-align:end;padding-left:1em">{value}</td></tr>'
        for name, drawn, value in rows
    )
    head = paragraph(f"The first {kept} of {full} dimensions.")
    return f"{head}<table>{body}</table>{_recall_curve(steps, recalls, at)}"


def _recall_curve(steps, recalls, at):
    """Return a small line chart of both recalls over the steps, the chosen one marked."""
    same, relevant = zip(*recalls, strict=True)
    chart = line_chart(
        range(len(steps)),
        {"against the ranking by all dimensions": same, "against relevance": relevant},
        xlabel="dimensions",
        ylabel="recall at 10",
        x_ticks={place: str(step) for place, step in enumerate(steps)},
        y_ticks={0: "0", 0.5: "0.5", 1: "1"},
        at=at,
        number=".2f",
    )
    return chart + paragraph(
        "a, solid: against the ranking by all dimensions. b, dashed: against relevance."
    )
