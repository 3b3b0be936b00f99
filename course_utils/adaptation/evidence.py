"""What adapting models did, as measured for the course: read here, measured in ``benchmarks/``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from course_utils.data.packages import course_folder

if TYPE_CHECKING:
    import pandas as pd

RESULTS = "results.jsonl"
GENERAL = ("lee", "wordsim353", "simlex999")
_CELL = ["domain", "model", "method"]


def load_evidence(path: str | Path | None = None) -> "pd.DataFrame":
    """Return the measured cells: one row for each domain, model, method and seed.

    ``mrr@10`` and ``recall@10`` hold an array with one score for each test question, so that any
    two methods can be compared question by question; ``lee``, ``wordsim353`` and ``simlex999`` hold
    what became of Spearman's correlation with human judgements: (change, low, high), the interval a
    95 % one. ``seconds`` is the time of the training steps; ``machine``, ``date``, ``versions`` and,
    where it was noted, ``precision`` say where, when, with what and in which arithmetic.

    ``path`` is a file of results; without it, the course's own is read.

    Raises ``FileNotFoundError`` when it is not there, ``ValueError`` with the line number for a line
    that is no result.
    """
    import pandas as pd

    path = Path(path or course_folder("adaptation", RESULTS) / RESULTS)
    rows = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            cell = json.loads(line)
            for metric in ("mrr@10", "recall@10"):
                cell[metric] = np.array(cell[metric], dtype=np.float64)
            rows.append({**cell, **{name: tuple(cell[name]) for name in GENERAL}})
        except (ValueError, KeyError, TypeError):
            raise ValueError(f"{path}:{number} is no result: {line[:80]!r}.") from None
    return pd.DataFrame(rows)


def evidence_table(
    cells: "pd.DataFrame", *, metric: str = "mrr@10", baseline: str = "untouched"
) -> "pd.DataFrame":
    """Return means and changes, one row for each domain, model and method of the cells.

    The scores of a question are averaged over the seeds first, so the interval says what other
    *questions* might give; ``low_seed`` and ``high_seed`` are the lowest and highest mean of a
    seed. ``change`` is the difference to the method ``baseline`` (over its seeds likewise), with its
    95 % interval ``low`` to ``high`` and the ``p_value`` of the paired test; NaN where the baseline was not
    measured. ``general`` is the mean change of the three correlations with human judgements.

    Raises ``ValueError`` when two methods of a domain were measured on other numbers of questions.
    """
    import pandas as pd

    from course_utils.metrics import paired_test

    scores = {
        key: np.vstack(group[metric].tolist()) for key, group in cells.groupby(_CELL, sort=False)
    }
    rows = {}
    for key, group in cells.groupby(_CELL, sort=False):
        own = scores[key]
        row = {
            "seeds": len(own),
            "mean": own.mean(),
            "low_seed": own.mean(axis=1).min(),
            "high_seed": own.mean(axis=1).max(),
            **dict.fromkeys(("change", "low", "high", "p_value"), np.nan),
        }
        start = scores.get((*key[:2], baseline))
        if start is not None:
            if start.shape[1] != own.shape[1]:
                raise ValueError(
                    f"{' / '.join(map(str, key))} was measured on {own.shape[1]} questions and {baseline!r} "
                    f"on {start.shape[1]}. Measure both anew with benchmarks/adaptation.py."
                )
            # Rounded, or the mean of three equal scores differs from them in the last digit.
            means = (each.mean(axis=0).round(9) for each in (start, own))
            test = paired_test(*means)
            row |= {"change": test.difference, "low": test.low, "high": test.high}
            row["p_value"] = test.p_value
        general = np.array([[cell[0] for cell in group[name]] for name in GENERAL])
        rows[key] = row | {"general": general.mean(), "seconds": group["seconds"].mean()}
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(table.index, names=_CELL)
    return table
