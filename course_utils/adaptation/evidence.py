"""What pays, as measured for the course: read here, measured by ``benchmarks/ladder.py``."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_utils.data.packages import course_folder
from course_utils.metrics.evidence import EVIDENCE, read_evidence, score_arrays

if TYPE_CHECKING:
    import pandas as pd

GENERAL = ("lee", "wordsim353", "simlex999")
_CELL = ["field", "exam", "model", "method"]


def load_evidence(path: str | Path | None = None) -> "pd.DataFrame":
    """Return what was measured: one row for each field, exam, model, method and seed.

    ``mrr@10`` and ``recall@10`` hold an array with one score for each question of the exam, so that
    any two methods can be compared question by question; ``lee``, ``wordsim353`` and ``simlex999``
    hold what became of Spearman's correlation with human judgements: (change, low, high), the
    interval a 95 % one. ``steps`` and ``texts`` list those of each stage of a training, ``seconds`` is
    the time of all its steps; ``machine``, ``date``, ``versions`` and ``precision`` say where, when,
    with what and in which arithmetic. A model is trained once and takes every exam of its field.

    ``path`` is a file of evidence; without it, the course's own is read.

    Raises ``FileNotFoundError`` when it is not there, ``ValueError`` with the line number for a line
    that is no result.
    """
    return read_evidence(path or course_folder("adaptation", EVIDENCE) / EVIDENCE, _rows)


def _rows(cell):
    cell |= {name: tuple(cell[name]) for name in GENERAL}
    exams = cell.pop("exams").items()
    return [{**cell, "exam": exam, **score_arrays(scores)} for exam, scores in exams]


def evidence_table(
    cells: "pd.DataFrame",
    *,
    metric: str = "mrr@10",
    baseline: str = "untouched",
    ceiling: str = "labels",
) -> "pd.DataFrame":
    """Return means and changes, one row for each field, exam, model and method of the cells.

    The scores of a question are averaged over the seeds first, so the intervals say what other
    *questions* might give: ``mean_low`` to ``mean_high`` that of the mean, ``low`` to ``high`` that of
    ``change``, which is the difference to the method ``baseline`` (over its seeds likewise), with the
    ``p_value`` of the paired test; NaN where the baseline was not measured. ``low_seed`` and
    ``high_seed`` are the lowest and highest mean of a seed. ``way`` is the change as a share of that of
    the method ``ceiling``, NaN where that was not measured. ``general`` is the mean change of the three
    correlations with human judgements, ``seconds`` the mean time of training.

    Raises ``ValueError`` when two methods of an exam were measured on other numbers of questions.
    """
    import pandas as pd

    from course_utils.metrics import bootstrap_interval, paired_test

    groups = dict(list(cells.groupby(_CELL, sort=False)))
    # Rounded, or the mean of three equal scores differs from them in the last digit.
    means = {
        key: np.vstack(group[metric].tolist()).mean(axis=0).round(9)
        for key, group in groups.items()
    }
    rows = {}
    for key, group in groups.items():
        by_seed = np.array([scores.mean() for scores in group[metric]])
        interval = bootstrap_interval(means[key])
        row = {
            "seeds": len(group),
            "mean": means[key].mean(),
            "mean_low": interval.low,
            "mean_high": interval.high,
            "low_seed": by_seed.min(),
            "high_seed": by_seed.max(),
            **dict.fromkeys(("change", "low", "high", "p_value", "way"), np.nan),
        }
        start, top = (means.get((*key[:3], method)) for method in (baseline, ceiling))
        if start is not None:
            if len(start) != len(means[key]):
                raise ValueError(
                    f"{' / '.join(map(str, key))} was measured on {len(means[key])} questions and "
                    f"{baseline!r} on {len(start)}. Measure both anew with benchmarks/ladder.py."
                )
            test = paired_test(start, means[key])
            row |= {"change": test.difference, "low": test.low, "high": test.high}
            row["p_value"] = test.p_value
            if top is not None and top.mean() != start.mean():
                row["way"] = test.difference / (top.mean() - start.mean())
        general = np.array([[cell[0] for cell in group[name]] for name in GENERAL])
        rows[key] = row | {"general": general.mean(), "seconds": group["seconds"].mean()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=_CELL)
    return table


#: The ladder of lesson 2 on the medical field: its label, exam, model and method.
RUNGS = (
    ("word search", "with definitions", "all-MiniLM-L6-v2", "words"),
    ("model, terms alone indexed", "bare terms", "all-MiniLM-L6-v2", "untouched"),
    ("model, definitions indexed", "with definitions", "all-MiniLM-L6-v2", "untouched"),
    ("words and model, fused", "with definitions", "all-MiniLM-L6-v2", "words and model"),
    ("TSDAE", "with definitions", "all-MiniLM-L6-v2", "TSDAE"),
    ("TSDAE, half of it kept", "with definitions", "all-MiniLM-L6-v2", "TSDAE, share by dev"),
    ("pairs: term and definition", "with definitions", "all-MiniLM-L6-v2", "pairs"),
    ("pairs, spans, written questions", "with definitions", "all-MiniLM-L6-v2", "recipe"),
    ("bigger model", "with definitions", "all-mpnet-base-v2", "untouched"),
    ("bigger model, the same training", "with definitions", "all-mpnet-base-v2", "recipe"),
    ("labels", "with definitions", "all-MiniLM-L6-v2", "labels"),
)


def ladder(evidence: "pd.DataFrame", *, metric: str = "mrr@10") -> "pd.DataFrame":
    """Return the rungs of the medical field, as ``plots.ladder_plot`` takes them.

    One row for each of ``RUNGS`` that was measured, in their order: ``label``, ``mean`` with its 95 %
    interval ``low`` to ``high`` over the questions, ``minutes`` of training, and whether people's
    labels were used (``labelled``).
    """
    import pandas as pd

    keys = [("medical", *key) for _, *key in RUNGS]
    wanted = pd.MultiIndex.from_frame(evidence[_CELL]).isin(keys)
    label_of = dict(zip(keys, [label for label, *_ in RUNGS], strict=True))
    table = evidence_table(evidence[wanted], metric=metric).reindex(keys).dropna(subset="mean")
    return pd.DataFrame(
        {
            "label": [label_of[key] for key in table.index],
            "mean": table["mean"].to_numpy(),
            "low": table["mean_low"].to_numpy(),
            "high": table["mean_high"].to_numpy(),
            "minutes": table["seconds"].to_numpy() / 60,
            "labelled": [key[-1] == "labels" for key in table.index],
        }
    )
