"""What a training run returns, and the folder and page that it becomes."""

from __future__ import annotations

import html
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.files import refuse_foreign, whole_folder
from course_utils.models.files import no_progress_bars

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.config import PairsConfig, TSDAEConfig
    from course_utils.metrics import Evaluation


@dataclass(frozen=True, eq=False, repr=False)
class TrainingResult:
    """An adapted model and how it came about. It is taken wherever an embedder is, as its model.

    - ``model``: the new SentenceTransformer, ready to encode.
    - ``history``: a DataFrame with one row per step: ``loss`` and its parts, the score ``dev`` where
      it was taken, ``gradient`` (its length before it is cut), ``learning_rate`` (the encoder's),
      ``texts`` (sentences or pairs) and ``seconds`` of the step. Row 0 stands for the start.
    - ``rebuilt``: a DataFrame of what the decoder rebuilt of the sentences that ``train_tsdae`` was told
      to watch, with the columns ``step``, ``sentence`` and ``rebuilt``; empty where none was.
    - ``alpha``: the share of the trained weights, the rest being those of the start. 0 is the start
      itself: training did not help.
    - ``alphas``: the dev score for every share that was tried; empty without a dev task.
    - ``before``, ``after``: the ``Evaluation`` of the start and of ``model`` on the dev task, or None.
      The weights and the share were chosen on that task, so ``after`` flatters.
    - ``config``, ``counts``: what the run was told, and how many texts it was given, used and cut.
    - ``precision``: ``"bfloat16"`` or ``"float32"``, what the vectors were computed in.
    """

    model: SentenceTransformer
    history: pd.DataFrame
    rebuilt: pd.DataFrame
    alpha: float
    alphas: dict[float, float]
    before: Evaluation | None
    after: Evaluation | None
    config: TSDAEConfig | PairsConfig
    counts: dict[str, int]
    precision: str
    name: str

    @property
    def helped(self) -> bool | None:
        """Whether any training is in ``model``: None without a dev task, which alone could tell."""
        return None if self.after is None else self.alpha > 0

    @property
    def texts_per_second(self) -> float:
        """Texts trained on per second of training, without the time for dev scores and checkpoints."""
        return float(self.history["texts"].sum() / self.history["seconds"].sum())

    def as_sentence_transformer(self) -> SentenceTransformer:
        """Return the model, which stands for the result wherever an embedder is taken."""
        return self.model

    def encode(self, texts: list[str], **options: Any) -> np.ndarray:
        """Return the model's vectors (n, d): ``model.encode(texts, **options)``."""
        options.setdefault("show_progress_bar", False)
        return self.model.encode(texts, **options)

    def save(self, folder: str | Path) -> Path:
        """Write an ordinary sentence-transformers folder with a model card; return its path.

        ``load_model(folder)`` reads it, and so does sentence-transformers anywhere. It appears whole
        or not at all; a model that is there already is replaced, and stays if that fails.

        Raises ``FileExistsError`` for a folder that holds something else, ``OSError`` where it cannot
        be written.
        """
        refuse_foreign(folder, "modules.json", "model")
        with whole_folder(folder) as fresh:
            with no_progress_bars():
                self.model.save_pretrained(str(fresh), create_model_card=False)
            (fresh / "README.md").write_text(self.card(), "utf-8")
        return Path(folder)

    def card(self) -> str:
        """Return the model card as Markdown: data, counts, config, scores with intervals, limits."""
        start = self.name.removesuffix(_SUFFIX)
        parts = [
            _FRONT,
            f"# {self.name}",
            f"{start}, adapted to the texts of one domain with `course_utils.adaptation`, without labels, "
            f"by {_WAYS[self.config.objective]}.",
            "## Data",
            _table(("texts", "number"), self.counts.items()),
            f"## Training\n\n{self._told()}",
            _table(("option", "value"), asdict(self.config).items()),
            f"## Scores\n\n{self._scores()}",
            f"## Limits\n\n{_LIMITS}",
            f"## Use\n\n```python\n{_USE}\n```",
        ]
        return "\n\n".join(parts) + "\n"

    def _told(self):
        steps = int(self.history.index.max())
        text = (
            f"{steps:,} steps in {self.precision}, {self.texts_per_second:.1f} texts per second. "
        )
        if self.alpha == 0:
            return text + (
                "**Training did not help**: no mixture with the trained weights scored above the start "
                "on the dev task, so these weights are those of the start model."
            )
        return text + f"The weights are {self.alpha:g} trained and {1 - self.alpha:g} start."

    def _scores(self):
        if self.after is None:
            return "No dev task was given, so nothing is known about whether this model is better."
        rows = []
        for when, evaluation in (("before", self.before), ("after", self.after)):
            for metric, row in evaluation.summary().iterrows():
                interval = f"{row['low']:.4f} to {row['high']:.4f}"
                rows.append(
                    (when, metric, f"{row['mean']:.4f}", interval, f"{row['n']} {row['over']}")
                )
        note = (
            f"On the dev task {self.after.task!r}, with 95 % intervals. The weights kept and their mixture "
            "were chosen on this task, so the scores after training are too good; measure on another."
        )
        if self.after.kind == "similarity":
            note += " Of a similarity task, the score is Spearman's correlation."
        return note + "\n\n" + _table(("", "metric", "score", "95 % interval", "over"), rows)

    def __repr__(self):
        lines = [f"TrainingResult: {self.name}, {self._told()}"]
        if self.alphas:
            tried = ", ".join(f"{alpha:g}: {score:.4f}" for alpha, score in self.alphas.items())
            lines.append(f"Dev score by share of the trained weights: {tried}")
        return "\n".join(lines).replace("**", "")

    def _repr_html_(self):
        return "<br>".join(html.escape(line) for line in repr(self).splitlines())


def history_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return a trainer's history as a DataFrame of numbers, one row per step."""
    import pandas as pd

    table = pd.DataFrame(rows).set_index("step").drop(columns="rebuilt", errors="ignore")
    kinds = dict.fromkeys(table.columns, "float64") | {"epoch": "Int64"}
    return table.astype(kinds)


def rebuilt_table(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return what a trainer's history holds of rebuilt sentences, one row per step and sentence."""
    import pandas as pd

    found = [(row["step"], *one) for row in rows for one in row.get("rebuilt", {}).items()]
    return pd.DataFrame(found, columns=["step", "sentence", "rebuilt"])


def adapted_name(model: SentenceTransformer) -> str:
    """Return what tables call the model that is made of this one."""
    from course_utils.metrics.evaluation import embedder_name

    return embedder_name(model) + _SUFFIX


_SUFFIX = " (adapted)"
_WAYS = {
    "denoising": "TSDAE (Wang, Reimers and Gurevych 2021, arXiv 2104.06979)",
    "contrast": "contrast between damaged copies of a sentence (InfoNCE)",
    "pairs": "pairs of texts that belong together (multiple negatives ranking)",
}
_FRONT = """---
library_name: sentence-transformers
pipeline_tag: sentence-similarity
tags:
- sentence-transformers
---"""
_LIMITS = """\
- Adapted to one collection of texts; elsewhere it can be worse than the model it started from. Compare both.
- It learnt from how texts are written, not from judgements: it takes over their gaps and their bias.
- Texts longer than the options say were cut for training.
- Vectors of this model and of its start cannot be compared; encode a collection anew.
- The licence of the start model and the terms of the texts go on to hold; neither is stated here."""
_USE = """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("path/to/this/folder")
vectors = model.encode(["a text", "another"])"""


def _table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
