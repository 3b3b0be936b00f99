"""What a diagnosis found, and the rules by which that becomes one of four verdicts."""

from __future__ import annotations

import html
import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from course_utils.adaptation.config import PairsConfig
from course_utils.files import write_text

if TYPE_CHECKING:
    import pandas as pd

CEILING = 0.98  # of MRR@10: what is left could hardly be told from chance
LOSS = -0.02  # of Spearman's correlation on general similarity: more is a price, not a side effect
ENOUGH = 4 * PairsConfig().batch_size  # pairs; of fewer, forty steps see each ten times and more

_FORMAT = "course-utils diagnosis 1"
_LABELS = {
    "words": "MRR@10: words, documents as given",
    "words_fuller": "MRR@10: words, fuller texts",
    "plain": "MRR@10: model, documents as given",
    "model_gain": "difference: model - words, documents as given",
    "fuller": "MRR@10: model, fuller texts",
    "fuller_gain": "difference: fuller texts - documents as given",
    "fused": "MRR@10: model and words fused, best index",
    "fused_gain": "difference: fused - model alone, best index",
    "beyond": "share of questions answered beyond place 100, best index",
    "trial_gain": "difference: trained for the trial - untouched, best index",
    "general_change": "general similarity: change by the trial",
    "pairs": "usable pairs",
    "seconds": "seconds that the trial trained",
    "epoch_minutes": "minutes of one epoch, estimated",
    "pieces": "pieces per word, documents",
    "pieces_everyday": "pieces per word, everyday English",
}


class Estimate(NamedTuple):
    """A value and its 95 % interval; unpacks as ``value, low, high``."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Diagnosis:
    """What an embedder, an index and a short training get on a task, and what follows from it.

    Each ``Estimate`` has a 95 % interval over the questions; None stands for what was not measured,
    and ``notes`` says under the field's name why, where that is not plain. *Best index*: the fuller
    texts where ``fuller_gain`` lies above zero with its whole interval, else the documents as given.

    - ``words``, ``words_fuller``: MRR@10 of word search (BM25) in the documents and the fuller texts;
      ``plain``, ``fuller``: that of the model. The paired differences: ``model_gain``, of model and
      words on the documents; ``fuller_gain``, of the model on both.
    - ``fused``, ``fused_gain``: MRR@10 of both rankings of the best index, fused, and its difference to
      the model's alone; ``beyond``: share of questions whose first relevant document lies beyond
      place 100 there.
    - ``pairs``: how many could be trained on; ``trial_gain``: what ``steps`` steps on them changed on
      the best index; ``general_change``: how that moved Spearman's correlation on ``"lee"``;
      ``seconds``: of training; ``epoch_minutes``: one epoch of all pairs at this pace.
    - ``pieces``, ``pieces_everyday``: tokens per word, in the documents and in everyday English.
    - ``untrainable``: why the model cannot be trained; "" where it can.

    ``verdict`` and ``reason`` follow from these by ``decide``.
    """

    task: str
    embedder: str
    questions: int
    documents: int
    words: Estimate
    plain: Estimate
    model_gain: Estimate
    fused: Estimate
    fused_gain: Estimate
    beyond: Estimate
    pairs: int
    steps: int
    words_fuller: Estimate | None = None
    fuller: Estimate | None = None
    fuller_gain: Estimate | None = None
    trial_gain: Estimate | None = None
    general_change: Estimate | None = None
    seconds: float | None = None
    epoch_minutes: float | None = None
    pieces: float | None = None
    pieces_everyday: float | None = None
    untrainable: str = ""
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "notes", dict(self.notes))

    @property
    def verdict(self) -> str:
        """``"index more"``, ``"too few pairs"``, ``"train"`` or ``"nothing to gain"``."""
        return decide(self)[0]

    @property
    def reason(self) -> str:
        """Why, in a sentence with its numbers; where fusion gains, that too."""
        return decide(self)[1]

    def table(self) -> pd.DataFrame:
        """Return what was measured: a DataFrame with a row each, and ``value``, ``low``, ``high``.

        Where there is no interval, its ends are NaN.
        """
        import pandas as pd

        found = {name: getattr(self, name) for name in _LABELS}
        rows = {
            _LABELS[name]: value if isinstance(value, Estimate) else (value, math.nan, math.nan)
            for name, value in found.items()
            if value is not None
        }
        return pd.DataFrame.from_dict(
            rows, orient="index", columns=["value", "low", "high"], dtype=float
        )

    def save(self, path: str | Path) -> Path:
        """Write the diagnosis to ``path`` as JSON, whole or not at all; return the path.

        An existing file is replaced in one step. Raises ``OSError`` where it cannot be written.
        """
        found = {"format": _FORMAT, "verdict": self.verdict, "reason": self.reason, **asdict(self)}
        plain = {name: _to_json(value) for name, value in found.items()}
        return write_text(path, json.dumps(plain, ensure_ascii=False, allow_nan=False, indent=1))

    @classmethod
    def load(cls, path: str | Path) -> Diagnosis:
        """Return the diagnosis that ``save`` wrote to ``path``; its verdict is decided anew.

        Raises ``FileNotFoundError`` when there is none, ``ValueError`` for a file that holds
        something else, or lacks a field.
        """
        try:
            found = json.loads(Path(path).read_text("utf-8"))
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("format") != _FORMAT:
            raise ValueError(f"{path} is no saved diagnosis: it is no JSON of format {_FORMAT!r}.")
        lacking = [one.name for one in fields(cls) if one.name not in found]
        if lacking:
            raise ValueError(f"{path}: the field {lacking[0]!r} is missing. Save it again.")
        return cls(**{one.name: _from_json(found[one.name]) for one in fields(cls)})

    def __repr__(self):
        return "\n".join([self._title(), self._shown().to_string(), *self._told()])

    def _repr_html_(self):
        title, *told = (f"<p>{html.escape(line)}</p>" for line in (self._title(), *self._told()))
        return f"{title}{self._shown().to_html(border=0)}{''.join(told)}"

    def _title(self):
        return (
            f"{self.embedder} on {self.task}: {self.questions:,} questions, {self.documents:,} "
            "documents, 95 % intervals"
        )

    def _told(self):
        notes = [
            f"Not measured, {_LABELS.get(name, name)}: {why}" for name, why in self.notes.items()
        ]
        return [*notes, f"Verdict: {self.verdict}. {self.reason}"]

    def _shown(self):
        table = self.table().map(lambda value: "" if math.isnan(value) else f"{value:.3f}")
        table.loc[_LABELS["pairs"], "value"] = f"{self.pairs:,}"
        return table


def decide(found: Diagnosis) -> tuple[str, str]:
    """Return the verdict on what was found, and its reason in a sentence.

    Where fusing the model with word search gains, the interval above zero, a second sentence says so:
    it costs nothing, and whatever else is done comes on top.

    The first rule that holds decides; what costs less stands before what costs more:

    1. ``"nothing to gain"``: words or model reach MRR@10 .98 on the documents as given.
    2. ``"index more"``: the fuller texts beat the documents as given, the interval above zero. The
       reason says what training adds on top.
    3. ``"nothing to gain"``: the model cannot be trained.
    4. ``"too few pairs"``: fewer than four batches.
    5. ``"nothing to gain"``: the trial's interval is not above zero, or the trial costs more than .02
       of Spearman's correlation on general similarity. Undecided, the reason says how small a
       difference these questions could have shown: half the interval's width.
    6. ``"train"``: all others.
    """
    verdict, reason = _decided(found)
    if found.fused_gain.low > 0:
        reason += (
            " Fusing the model's ranking with that of words (fuse) costs nothing and changes MRR@10 by "
            f"{_signed(found.fused_gain)}."
        )
    return verdict, reason


def _decided(found: Diagnosis) -> tuple[str, str]:
    done = nothing_left(found.words, found.plain, "the documents as given")
    if done is not None:
        return "nothing to gain", done
    trial = _trial(found)
    if found.fuller is not None and found.fuller_gain is not None and found.fuller_gain.low > 0:
        return "index more", (
            f"Index the fuller texts first: they take MRR@10 from {found.plain.value:.3f} to "
            f"{found.fuller.value:.3f}, by {_signed(found.fuller_gain)}; on top of that, {trial}."
        )
    if found.untrainable:
        return "nothing to gain", f"Training is not open to this model: {found.untrainable}"
    if found.pairs < ENOUGH:
        return "too few pairs", (
            f"There are {found.pairs:,} pairs to train on, fewer than the {ENOUGH} of four batches: "
            "gather more, or have questions written (generate_questions)."
        )
    if found.trial_gain is None or not found.trial_gain.low > 0:
        return "nothing to gain", f"{trial[0].upper()}{trial[1:]}."
    if found.general_change is not None and found.general_change.value < LOSS:
        return "nothing to gain", (
            f"{trial}, but general similarity by {_signed(found.general_change)}: give everyday "
            "sentences that hold it in place (general=), and try again."
        )
    return "train", f"{trial}, on the best index that costs nothing."


def nothing_left(words: Estimate, model: Estimate, where: str) -> str | None:
    """Return, as a sentence, that one of the two MRR@10 leaves nothing to gain ``where``, or None.

    >>> nothing_left(Estimate(0.5, 0.4, 0.6), Estimate(0.97, 0.95, 0.98), "here") is None
    True
    """
    name, best = max((("The model", model), ("Word search", words)), key=lambda one: one[1].value)
    if best.value < CEILING:
        return None
    return f"{name} reaches MRR@10 {best.value:.3f} on {where}, which leaves nothing to gain."


def _trial(found: Diagnosis) -> str:
    """Return what the trial found, as a clause."""
    if found.trial_gain is None:
        why = found.notes.get("trial_gain", "it was left out")
        return f"training was not tried: {why.rstrip('.')}"
    _, low, high = found.trial_gain
    told = f"{found.steps} steps of training change MRR@10 by {_signed(found.trial_gain)}"
    if low > 0 or high < 0:
        return told
    return (
        f"{told}, which is undecided: a difference below {(high - low) / 2:.3f} could not have been "
        f"seen on {found.questions:,} questions"
    )


def _signed(found: Estimate) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _to_json(value):
    if isinstance(value, tuple):
        return [_to_json(number) for number in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def _from_json(value):
    if isinstance(value, list):
        return Estimate(*(math.nan if number is None else number for number in value))
    return value
