"""What a training run returns, and the folder and page that it becomes."""

import html
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from course_utils.models.files import no_progress_bars

if TYPE_CHECKING:
    import pandas as pd
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.config import TSDAEConfig
    from course_utils.metrics import Evaluation


@dataclass(frozen=True, eq=False, repr=False)
class TSDAEResult:
    """An adapted model and how it came about. It is an embedder: ``evaluate(result, task)`` works.

    - ``model``: the new SentenceTransformer, ready to encode.
    - ``history``: a DataFrame with one row per step: ``loss`` and its parts, the score ``dev`` where
      it was taken, ``gradient`` (its length before it is cut), ``learning_rate`` (the encoder's),
      ``texts`` and ``seconds`` of the step. Row 0 stands for the start.
    - ``alpha``: the share of the trained weights, the rest being those of the start. 0 is the start
      itself: training did not help.
    - ``alphas``: the dev score for every share that was tried; empty without a dev task.
    - ``before``, ``after``: the ``Evaluation`` of the start and of ``model`` on the dev task, or None.
      The weights and the share were chosen on that task, so ``after`` flatters.
    - ``config``, ``counts``: what the run was told, and how many texts it was given, used and cut.
    """

    model: "SentenceTransformer"
    history: "pd.DataFrame"
    alpha: float
    alphas: dict[float, float]
    before: "Evaluation | None"
    after: "Evaluation | None"
    config: "TSDAEConfig"
    counts: dict[str, int]
    name: str

    @property
    def fingerprint(self):
        """What the model's vectors depend on, as hexadecimal digits (see ``encoding.fingerprint``)."""
        from course_utils.encoding.encode import fingerprint

        return fingerprint(self.model)

    @property
    def dimension(self):
        """The length of the model's vectors."""
        from course_utils.encoding.encode import dimension

        return dimension(self.model)

    @property
    def helped(self):
        """Whether any training is in ``model``: None without a dev task, which alone could tell."""
        return None if self.after is None else self.alpha > 0

    @property
    def texts_per_second(self):
        """Texts trained on per second of training, without the time for dev scores and checkpoints."""
        return float(self.history["texts"].sum() / self.history["seconds"].sum())

    def encode(self, texts, **options):
        """Return the model's vectors (n, d): ``model.encode(texts, **options)``."""
        options.setdefault("show_progress_bar", False)
        return self.model.encode(texts, **options)

    def save(self, folder):
        """Write an ordinary sentence-transformers folder with a model card; return its path.

        ``load_model(folder)`` reads it, and so does sentence-transformers anywhere. It appears whole
        or not at all; a model that is there already is replaced. Raises ``FileExistsError`` for a
        folder that holds something else.
        """
        target = Path(folder)
        if target.exists() and any(target.iterdir()) and not (target / "modules.json").exists():
            raise FileExistsError(
                f"{target} holds something that is not a model. Give a new folder, or an empty one."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".model-") as scratch:
            new = Path(scratch) / "new"
            with no_progress_bars():
                self.model.save_pretrained(str(new), create_model_card=False)
            (new / "README.md").write_text(self.card(), "utf-8")
            if target.exists():
                os.replace(target, Path(scratch) / "old")
            os.replace(new, target)
        return target

    def card(self):
        """Return the model card as Markdown: data, counts, config, scores with intervals, limits."""
        start = self.name.removesuffix(_SUFFIX)
        parts = [
            _FRONT,
            f"# {self.name}",
            f"{start}, adapted to the texts of one domain with `course_utils.adaptation`, without labels, "
            f"by {' and '.join(_WAYS[term] for term in self.config.terms)}.",
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
        text = f"{steps:,} steps, {self.texts_per_second:.1f} texts per second. "
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
        lines = [f"TSDAEResult: {self.name}, {self._told()}"]
        if self.alphas:
            tried = ", ".join(f"{alpha:g}: {score:.4f}" for alpha, score in self.alphas.items())
            lines.append(f"Dev score by share of the trained weights: {tried}")
        return "\n".join(lines).replace("**", "")

    def _repr_html_(self):
        return "<br>".join(html.escape(line) for line in repr(self).splitlines())

    @classmethod
    def of(cls, trainer, alpha, scores, evaluations):
        """Return the result of a ``Trainer`` that is done."""
        import pandas as pd

        history = pd.DataFrame(trainer.history).set_index("step")
        numbers = [column for column in history if column != "epoch"]
        history[numbers] = history[numbers].astype(float)
        history["epoch"] = history["epoch"].astype("Int64")
        return cls(
            trainer.encoder, history, alpha, scores, evaluations.get(0.0), evaluations.get(alpha),
            trainer.config, trainer.corpus.counts, trainer.encoder.model_card_data.model_name,
        )  # fmt: skip


def adapted_name(model):
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
