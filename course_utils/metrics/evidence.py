"""Which way of searching is better, and how it grows: what two benchmarks measured, read here.

``benchmarks/opponents.py`` measures ways of searching on exams, ``benchmarks/search.py`` kinds of index at
sizes up to a million vectors.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.data.packages import course_folder
from course_utils.metrics.multiple import holm
from course_utils.metrics.significance import bootstrap_interval, paired_test

if TYPE_CHECKING:
    import pandas as pd

EVIDENCE = "evidence.jsonl"
SCALE = "scale.jsonl"
METRICS = ("mrr@10", "recall@10")
BASELINE = "MiniLM"
_NUMBERS = ("milliseconds", "bytes", "minutes")
_SCALE_NUMBERS = ("build_s", "one_ms", "batch_ms", "recall@10", "bytes", "memory_mb", "mapped_mb")


def load_search_evidence(path: str | Path | None = None) -> "pd.DataFrame":
    """Return what was measured: one row for each exam and way of searching.

    ``exam`` and ``way`` say which. ``mrr@10`` and ``recall@10`` hold an array with one score for each
    question of the exam, in its order, so that any two ways can be compared question by question.
    ``milliseconds`` is the time of the search for one query, all of them searched at once, without
    the encoding of a query; ``bytes`` what is stored of a document, beside its text; ``minutes`` what the
    training took, 0 where there is none, and ``steps`` its steps. ``options`` is what was chosen on
    other questions, with what it scored there. ``machine``, ``date`` and ``versions`` say where, when
    and with what.

    ``path`` is a file of evidence; without it, the course's own is read.

    Raises ``FileNotFoundError`` when it is not there, ``ValueError`` with the line number for a line
    that is no result.
    """
    return read_evidence(path or course_folder("search", EVIDENCE) / EVIDENCE, _search_rows)


def _search_rows(cell):
    told = {name: str(cell[name]) for name in ("exam", "way")}
    numbers = {name: float(cell[name]) for name in _NUMBERS}
    return [{**cell, **told, **numbers, **score_arrays(cell)}]


def load_scale(path: str | Path | None = None) -> "pd.DataFrame":
    """Return what searches took as the vectors grew: one row for each kind and number of vectors.

    ``kind``, ``name``, ``settings``, ``vectors``, ``dimensions``, ``queries``, ``build_s``, ``one_ms``,
    ``batch_ms``, ``recall@10`` and ``bytes`` are those of ``measure_search`` in
    ``course_utils.retrieval.speed``. Each row was measured in a process of its own, whose memory
    at its most was ``memory_mb``, and ``mapped_mb`` when it had mapped the vectors and had done no
    more than a trial on a hundred of them, both in megabytes (10**6 bytes). ``texts`` says what the
    vectors are of, ``cores``, ``machine``, ``date`` and ``versions`` where, when and with what.

    ``path`` is a file of ``benchmarks/search.py``; without it, the course's own is read.

    Raises ``FileNotFoundError`` when it is not there, ``ValueError`` with the line number for a line
    that is no result.
    """
    return read_evidence(path or course_folder("search", SCALE) / SCALE, _scale_rows)


def _scale_rows(cell):
    told = {name: str(cell[name]) for name in ("kind", "name")}
    numbers = {name: float(cell[name]) for name in _SCALE_NUMBERS}
    return [{**cell, **told, "vectors": int(cell["vectors"]), **numbers}]


def read_evidence(
    path: str | Path, rows_of: Callable[[dict[str, Any]], list[dict[str, Any]]]
) -> "pd.DataFrame":
    """Return the rows that ``rows_of`` makes of each line of a file, a JSON object a line.

    Raises ``FileNotFoundError`` when the file is not there, ``ValueError`` with the line number for a line
    that ``rows_of`` cannot take.
    """
    import pandas as pd

    rows = []
    for number, line in enumerate(Path(path).read_text("utf-8").splitlines(), start=1):
        try:
            rows += rows_of(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise ValueError(f"{path}:{number} is no result: {line[:80]!r}.") from None
    return pd.DataFrame(rows)


def score_arrays(scores: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Return an array for each of ``METRICS``, one score a question; they must be of equal length."""
    arrays = {name: np.array(scores[name], dtype=np.float64) for name in METRICS}
    if {array.shape for array in arrays.values()} != {(len(scores[METRICS[0]]),)}:
        raise ValueError("two metrics of different questions")
    return arrays


def search_table(
    evidence: "pd.DataFrame", *, metric: str = "mrr@10", baseline: str = BASELINE
) -> "pd.DataFrame":
    """Return means and differences to one way, one row for each exam and way of ``evidence``.

    ``mean`` lies between ``mean_low`` and ``mean_high``; ``change`` is the difference to the way
    ``baseline`` on the same questions, ``low`` and ``high`` the ends of its interval, ``p_value`` that of
    the paired test, adjusted by Holm for all the ways of the exam. All intervals are 95 % ones and say
    what other *questions* might give; another training would differ too. ``better`` is True where the
    interval lies above 0 and the adjusted p value below 0.05. Where the baseline was not measured,
    these are NaN and False. ``milliseconds``, ``bytes`` and ``minutes`` are those of the evidence.

    Raises ``ValueError`` when two ways of an exam were measured on other numbers of questions.

    >>> import pandas as pd
    >>> cells = [
    ...     {"exam": "toy", "way": way, "mrr@10": np.full(20, score), "recall@10": np.ones(20),
    ...      "milliseconds": 1, "bytes": 4, "minutes": 0}
    ...     for way, score in [("MiniLM", 0.5), ("other", 0.75)]
    ... ]
    >>> other = search_table(pd.DataFrame(cells)).loc[("toy", "other")]
    >>> float(other["mean"]), float(other["change"]), bool(other["better"])
    (0.75, 0.25, True)
    """
    import pandas as pd

    rows = {}
    for exam, cells in evidence.groupby("exam", sort=False):
        scores = dict(zip(cells["way"], cells[metric], strict=True))
        start = scores.get(baseline)
        tested = []
        for cell in cells.to_dict("records"):
            key, found = (exam, cell["way"]), cell[metric]
            interval = bootstrap_interval(found)
            rows[key] = {
                "mean": found.mean(), "mean_low": interval.low, "mean_high": interval.high,
                **dict.fromkeys(("change", "low", "high", "p_value"), np.nan), "better": False,
                **{name: cell[name] for name in _NUMBERS},
            }  # fmt: skip
            if start is None:
                continue
            if len(start) != len(found):
                raise ValueError(
                    f"{exam} / {cell['way']} was measured on {len(found)} questions and {baseline!r} "
                    f"on {len(start)}. Measure both anew with benchmarks/opponents.py."
                )
            test = paired_test(start, found)
            rows[key] |= {"change": test.difference, "low": test.low, "high": test.high}
            rows[key]["p_value"] = test.p_value
            if cell["way"] != baseline:
                tested.append(key)
        if tested:
            adjusted = holm([rows[key]["p_value"] for key in tested])
            for key, p_value in zip(tested, adjusted.tolist(), strict=True):
                rows[key]["p_value"] = p_value
                rows[key]["better"] = bool(rows[key]["low"] > 0 and p_value < 0.05)
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=["exam", "way"])
    return table
