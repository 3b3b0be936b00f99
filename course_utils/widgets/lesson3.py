"""The widgets of lesson 3: a ranking to re-order, how few queries mislead, ties, blind judging.

Each function returns a box; its controls and its output are attributes, so a lesson moves them in
code and a test reads what they show.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import unescape
from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from course_utils.metrics import retrieval_scores
from course_utils.plots.drawing import cut
from course_utils.plots.svg import line_chart
from course_utils.widgets.common import (
    bar,
    controls,
    escape,
    labelled,
    paragraph,
    redraw_on_change,
    region,
)
from course_utils.widgets.judging import judging_box

if TYPE_CHECKING:
    import pandas as pd
    from ipywidgets import VBox

__all__ = ["judging_box", "ranking_board", "sample_size_slider", "tie_board", "wrong_signs"]

_WIDE = {"description_width": "initial"}
_MEASURES = {
    "mrr@10": "MRR@10: 1 / rank of the first relevant",
    "map": "Average precision (their mean is MAP)",
    "ndcg@10": "nDCG@10: grades count, by rank",
    "recall@5": "Recall@5: of the relevant, those in the first 5",
    "precision@5": "Precision@5: of the first 5, the relevant",
}
_SIZES = (10, 20, 30, 50, 75, 100, 150, 200, 300, 400, 500)
_HEAD = '<th scope="col" style="text-align:{};padding:0 .8em">{}</th>'
_NAME = '<th scope="row" style="text-align:start;font-weight:normal;padding-right:1em">{}</th>'
_CELL = '<td style="text-align:end;padding:.15em .8em">{}</td>'


def ranking_board(relevance: Mapping[str, int]) -> VBox:
    """Return a box to re-order a ranking while its scores move: ``.documents``, ``.scores``.

    ``relevance`` maps the text of a document to its grade, 2 to 20 of them, whole grades of 0 or
    more, in the order of the ranking at first. Choose a document in the list ``.documents`` and
    press ``.up`` or ``.down``; ``.reset`` restores the first order. ``.order`` is the tuple of
    texts as they stand, ``.values`` the measures at this order. The scores are those of
    ``retrieval_scores``: MRR@10, average precision, nDCG@10, Recall@5 and Precision@5.

    Raises ``ValueError`` for too few or too many documents, a grade that is no whole number of 0 or
    more, and where none is relevant.
    """
    ipywidgets = controls()
    relevance = _grades(relevance)
    documents = ipywidgets.Select(
        description="Ranking",
        rows=len(relevance),
        style=_WIDE,
        layout={"width": "95%", "height": "auto"},
    )
    up, down, reset = (
        ipywidgets.Button(description=name) for name in ("Move up", "Move down", "First order")
    )
    scores = ipywidgets.HTML()
    box = labelled(
        "Which ranking is better?",
        "Choose a document and move it. Look for the moves that one measure rewards and another "
        "does not see: near the top or further down, of grade 1 or of grade 2.",
        documents=documents,
        buttons=ipywidgets.HBox([up, down, reset]),
        scores=scores,
    )
    box.up, box.down, box.reset = up, down, reset
    box.order, box.values = tuple(relevance), _of_ranking(tuple(relevance), relevance)

    def show(order, chosen):
        before = box.values
        box.order, box.values = tuple(order), _of_ranking(order, relevance)
        # New options put the choice back to the first, so the choice is restored after them.
        documents.options = [
            (_place_name(rank, text, relevance[text]), text)
            for rank, text in enumerate(order, start=1)
        ]
        documents.value = chosen
        scores.value = region("Scores of this ranking", _moved_html(box.values, before))

    def move(step):
        order, chosen = list(box.order), documents.value
        place = order.index(chosen)
        if 0 <= place + step < len(order):
            order[place], order[place + step] = order[place + step], order[place]
            show(order, chosen)

    up.on_click(lambda pressed: move(-1))
    down.on_click(lambda pressed: move(1))
    reset.on_click(lambda pressed: show(list(relevance), documents.value))
    show(list(relevance), next(iter(relevance)))
    return box


def wrong_signs(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    sizes: Iterable[int],
    *,
    n_resamples: int = 2000,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how often a test on few queries names the wrong system: a DataFrame, one row per size.

    ``scores_a`` and ``scores_b`` are those of two systems on the same queries, shape (n,),
    ``sizes`` how many queries a smaller test would have had. For each size the queries are redrawn
    with replacement ``n_resamples`` times. Columns: ``wrong``, the share of draws whose mean
    difference has the opposite sign of the one over all queries; ``none``, the share with no
    difference; ``low`` and ``high``, between which 95 % of the differences (b - a) lie. What counts
    as right is the sign over all queries, which may itself be wrong.

    Raises ``ValueError`` for lengths that differ, NaN, and two means that are equal.

    >>> wrong_signs([0] * 10, [1] * 9 + [-1], [1, 25])["wrong"].round(1).tolist()
    [0.1, 0.0]
    """
    import pandas as pd

    a, b = (np.asarray(scores, dtype=float) for scores in (scores_a, scores_b))
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(
            f"The scores have shapes {a.shape} and {b.shape}: give one score a query for both."
        )
    difference = b - a
    wrong = np.flatnonzero(~np.isfinite(difference))
    if len(wrong):
        raise ValueError(f"Query {wrong[0]} has no finite score in both systems: leave it out.")
    total = difference.mean()
    # The mean of differences that cancel out is not 0 to the last digit.
    least = 1e-12 * np.abs(difference).max()
    if abs(total) <= least:
        raise ValueError("The two systems have equal means, so no sign could be the right one.")
    rng = np.random.default_rng(seed)
    rows = []
    smaller = list(sizes)
    for size in smaller:
        means = difference[rng.integers(0, len(difference), size=(n_resamples, size))].mean(axis=1)
        towards = means * np.sign(total)
        low, high = np.quantile(means, [0.025, 0.975])
        rows.append([np.mean(towards < -least), np.mean(np.abs(means) <= least), low, high])
    index = pd.Index(smaller, name="queries")
    return pd.DataFrame(rows, index=index, columns=["wrong", "none", "low", "high"])


def sample_size_slider(
    scores_a: ArrayLike, scores_b: ArrayLike, *, n_resamples: int = 2000, seed: int = 0
) -> VBox:
    """Return a box that shows how often few queries mislead: ``.queries``, ``.result``.

    The arguments are those of ``wrong_signs``, which makes the table ``.table`` once, for 10 to 500
    queries; moving the slider only draws. Raises what that raises.
    """
    ipywidgets = controls()
    table = wrong_signs(scores_a, scores_b, _SIZES, n_resamples=n_resamples, seed=seed)
    total = float(np.mean(np.asarray(scores_b)) - np.mean(np.asarray(scores_a)))
    slider = ipywidgets.SelectionSlider(
        options=[(str(size), size) for size in table.index],
        value=50,
        description="Queries in the test",
        style=_WIDE,
    )
    result = ipywidgets.HTML()

    def redraw():
        shown = _sizes_html(table, slider.value, total, np.size(scores_a), n_resamples)
        result.value = region("How often the sign is wrong", shown)

    box = labelled(
        "How few queries mislead?",
        "Move the slider to the left and look for the size at which one test in twenty, then one "
        "in five, would have named the wrong system.",
        queries=slider,
        result=result,
    )
    box.table = table
    redraw_on_change(redraw, slider)
    return box


def tie_board(scores: Mapping[str, float], relevance: Mapping[str, int]) -> VBox:
    """Return a box that shows what the order of equal scores is worth: ``.rounding``, ``.result``.

    ``scores`` maps the documents of one query's results, 2 to 20 ids, to their scores;
    ``relevance`` maps ids to whole grades of 0 or more, and documents without one have grade 0.
    ``.rounding`` rounds the scores, at last to one and the same, as a scorer would that knows
    nothing. ``.table`` is a DataFrame with a row for each way to settle ties: the relevant first
    (optimistic), the relevant last (pessimistic), by id as trec_eval does, and the mean over all
    orders. All are computed by ``retrieval_scores``.

    Raises ``ValueError`` for too few or too many documents, a grade without a score, a grade that
    is no whole number of 0 or more, and where none is relevant.
    """
    ipywidgets = controls()
    scores = {document: float(score) for document, score in scores.items()}
    for document in relevance:
        if document not in scores:
            raise ValueError(f"Document {document!r} has a grade and no score: give it one.")
    grades = _grades({document: relevance.get(document, 0) for document in scores})
    rounding = ipywidgets.Dropdown(
        options=[(name, name) for name in ("as given", "all alike")]
        + [(f"{n} decimal{'s' * (n > 1)}", n) for n in (3, 2, 1)],
        value="as given",
        description="Scores rounded to",
        style=_WIDE,
    )
    result = ipywidgets.HTML()
    box = labelled(
        "What are equal scores worth?",
        "Round the scores and look for the gap between the first two rows: that much of the score "
        "is decided by the order of equals, not by the system. All alike is a system that knows "
        "nothing.",
        rounding=rounding,
        result=result,
    )

    def redraw():
        rounded = _rounded(scores, rounding.value)
        box.table = _tied_table(rounded, grades)
        result.value = region("Scores under each order of ties", _ties_html(rounded, grades, box))

    redraw_on_change(redraw, rounding)
    return box


def _grades(relevance):
    relevance = dict(relevance)
    if not 2 <= len(relevance) <= 20:
        raise ValueError(f"There are {len(relevance)} documents: give 2 to 20, better 8 to 10.")
    for document, grade in relevance.items():
        if not isinstance(grade, Integral) or grade < 0:
            raise ValueError(f"The grade of {document!r} is {grade!r}: give 0, 1, 2 and so on.")
    if not any(relevance.values()):
        raise ValueError("No document has a grade above 0: there is nothing to find.")
    return relevance


def _score(runs, grades, *, ties="trec_eval"):
    """Return the five measures of each run, {name: {document: score}}, as a DataFrame."""
    table = retrieval_scores(
        runs,
        dict.fromkeys(runs, grades),
        k=[5, 10],
        measures=("mrr", "map", "ndcg", "recall", "precision"),
        ties=ties,
    )
    return table[list(_MEASURES)]


def _of_ranking(order, relevance):
    run = {text: float(len(order) - place) for place, text in enumerate(order)}
    return _score({"q": run}, relevance).loc["q"].to_dict()


def _place_name(rank, text, grade):
    # An option of a list is no HTML, so only the marks that turn the direction are to be replaced.
    return f"{rank}. [grade {grade}] {cut(unescape(escape(text)), 90)}"


def _moved_html(values, before):
    rows = "".join(
        f"<tr>{_NAME.format(name)}<td>{bar(values[key])}</td>{_CELL.format(f'{values[key]:.3f}')}"
        f"{_CELL.format(_change(values[key] - before[key]))}</tr>"
        for key, name in _MEASURES.items()
    )
    heads = "".join(_HEAD.format("end", name) for name in ("Score", "Last move"))
    return f"<table><tr><td></td><td></td>{heads}</tr>{rows}</table>"


def _change(difference):
    # Rounded first: a change too small to print has no sign.
    rounded = round(float(difference), 3)
    return f"{rounded:+.3f}".replace("-", "−") if rounded else "0.000"


def _sizes_html(table, size, total, n, n_resamples):
    row = table.loc[size]
    told = [
        f"Over all {n:,} queries b - a is {_change(total)}.",
        f"With {size} queries drawn from them, {row['wrong']:.1%} of {n_resamples:,} tests have the "
        f"opposite sign, and {row['none']:.1%} no difference at all.",
        f"95 % of these tests put the difference between {_change(row['low'])} and "
        f"{_change(row['high'])}.",
    ]
    return (
        f'<div style="margin:.3em 0">{bar(row["wrong"] * 2)} <strong>{row["wrong"]:.1%}</strong> '
        "wrong (the full bar is one half, a coin)</div>"
        + "".join(map(paragraph, told))
        + _sizes_curve(table, size)
    )


def _sizes_curve(table, size):
    """Return a small line chart of the share of wrong signs over the number of queries."""
    chart = line_chart(
        range(len(table)),
        {"wrong": table["wrong"]},
        xlabel="the number of queries",
        ylabel="share of tests with the wrong sign",
        x_ticks={place: str(each) for place, each in enumerate(table.index)},
        y_ticks={share: f"{share:.0%}" for share in (0, 0.05, 0.25, 0.5)},
        at=list(table.index).index(size),
        level=0.05,
        number=".1%",
    )
    return chart + paragraph(
        "Share of wrong signs by number of queries. Dashed: one test in twenty."
    )


def _rounded(scores, decimals):
    if decimals == "all alike":
        return dict.fromkeys(scores, 0.0)
    if decimals == "as given":
        return scores
    return {document: round(score, decimals) for document, score in scores.items()}


def _tied_table(scores, grades):
    import pandas as pd

    # Single precision, in which retrieval_scores compares, decides what is equal here too.
    single = {document: np.float32(score) for document, score in scores.items()}
    runs = {"by id, as trec_eval does": scores}
    for name, sign in (("optimistic: relevant first", 1), ("pessimistic: relevant last", -1)):
        order = sorted(scores, key=lambda d, s=sign: (single[d], s * grades[d]))
        runs[name] = {document: float(place) for place, document in enumerate(order)}
    settled = _score(runs, grades)
    mean = _score({"expected: mean over all orders": scores}, grades, ties="expected")
    names = list(settled.index)
    return pd.concat([settled.loc[[*names[1:], names[0]]], mean]).rename_axis("order of ties")


def _ties_html(scores, grades, box):
    heads = "".join(_HEAD.format("end", name) for name in box.table.columns)
    rows = "".join(
        f"<tr>{_NAME.format(escape(name))}"
        + "".join(_CELL.format(f"{value:.3f}") for value in values)
        + "</tr>"
        for name, values in zip(box.table.index, box.table.to_numpy(), strict=True)
    )
    single = [np.float32(score) for score in scores.values()]
    shared = sum(single.count(score) > 1 for score in single)
    best, worst = (box.table["mrr@10"].iloc[row] for row in (0, 1))
    told = (
        f"{shared} of {len(scores)} documents share their score with another. MRR@10 may be "
        f"anything from {worst:.3f} to {best:.3f}, by their order alone."
        if shared
        else "No two documents have the same score, so every rule gives the same."
    )
    table = f"<table><tr><td></td>{heads}</tr>{rows}</table>"
    return table + paragraph(told) + _documents_html(scores, grades)


def _documents_html(scores, grades):
    """Return the documents in by-id order, each with all the ranks that ties leave open."""
    single = {document: np.float32(score) for document, score in scores.items()}
    order = sorted(sorted(scores, reverse=True), key=lambda d: -single[d])
    body = ""
    for document in order:
        above = sum(score > single[document] for score in single.values())
        last = sum(score >= single[document] for score in single.values())
        ranks = f"{above + 1}" if last == above + 1 else f"{above + 1} to {last}"
        body += (
            f"<tr>{_NAME.format(f'<code>{escape(document)}</code>')}"
            f"{_CELL.format(f'{scores[document]:g}')}{_CELL.format(grades[document])}"
            f"{_CELL.format(ranks)}</tr>"
        )
    heads = "".join(_HEAD.format("end", name) for name in ("Score", "Grade", "Rank"))
    return f"<table><tr>{_HEAD.format('start', 'Document')}{heads}</tr>{body}</table>"
