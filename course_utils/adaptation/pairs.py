"""Learn from pairs of texts that belong together: each shall find its partner within the batch.

Multiple negatives ranking (Henderson et al. 2017, *Efficient Natural Language Response Suggestion
for Smart Reply*, section 4.4): the partners of all other pairs are the wrong answers, for free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F

from course_utils.adaptation.batches import Batches
from course_utils.adaptation.objective import Batch, Objective
from course_utils.encoding.encode import encode
from course_utils.models.roles import resolve_prompt

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.config import PairsConfig
    from course_utils.adaptation.texts import Texts

# In a step: 120 cosines hold the model in place as well as thousands, at a fraction of the time.
_GENERAL_TEXTS = 16


def ranking_loss(
    first: torch.Tensor,
    second: torch.Tensor,
    temperature: float,
    left: Sequence[str] | None = None,
    right: Sequence[str] | None = None,
) -> torch.Tensor:
    """Return the mean of -log softmax over each row's cosines with all rows of the other side.

    ``first`` and ``second`` (n, d) hold a pair in each row; row i shall find row i. Cosines are
    divided by ``temperature``. ``left`` and ``right`` (n) are what the rows stand for: another pair
    that shares either with a pair is no wrong answer to it, and is left out.

    Henderson et al. 2017, section 4.4, with the cosine for their dot product; of two copies of one
    text, it is InfoNCE (van den Oord et al. 2018, equation 4).
    """
    scores = F.normalize(first) @ F.normalize(second).T / temperature  # (n, n)
    if left is not None and right is not None:
        alike = _equal(left, scores) | _equal(right, scores)
        alike.fill_diagonal_(False)
        scores = scores.masked_fill(alike, -torch.inf)
    return F.cross_entropy(scores, torch.arange(len(scores), device=scores.device))


class PairsObjective(Objective):
    """What ``train_pairs`` minimises: ranking both ways, and the change of general cosines."""

    config: PairsConfig

    def __init__(
        self,
        start: SentenceTransformer,
        pairs: Texts,
        general: Texts | None,
        config: PairsConfig,
        limit: int,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(start, config, limit, accelerator)
        self.pairs = pairs
        self.batches = Batches(pairs.lengths, config.batch_size, config.seed)
        self.epoch_steps = len(self.batches)
        self.general = general if config.distil_weight else None
        self.parts = ("pairs",)
        if self.general is not None:
            self.parts += ("distillation",)
            self.general_batches = Batches(self.general.lengths, _GENERAL_TEXTS, config.seed)
        self.prompts += [resolve_prompt(start, "query"), resolve_prompt(start, "document")]

    def fetch(self, step: int) -> Batch:
        """Return a step's pairs, and the general sentences that it holds in place, if any."""
        batch = self.draw(self.pairs.rows, self.batches, step)
        if self.general is None:
            return batch
        return replace(batch, general=self.draw(self.general.rows, self.general_batches, step))

    def forward(
        self, batch: Batch, *, frozen: bool = False
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return my part of the loss, and the whole one with its parts."""
        loss = self._ranking(batch)
        told = {"pairs": loss.item()}
        value = told["pairs"]
        if batch.general is not None:
            change = self._distillation(batch.general)
            told["distillation"] = change.item()
            loss = loss + self.config.distil_weight * change
            value += self.config.distil_weight * told["distillation"]
        return loss, {"loss": value, **told}

    def _ranking(self, batch):
        """Return the mean of both ways: titles look for bodies, and bodies for titles.

        The first text of a pair gets the model's prompt for queries, the second that for documents.
        """
        left, right = zip(*batch.rows, strict=True)
        _, *prompts = self.prompts
        first, second = (
            self.whole(self.vectors(list(side[batch.mine]), prompt), batch)
            for side, prompt in zip((left, right), prompts, strict=True)
        )
        there = ranking_loss(first, second, self.config.temperature, left, right)
        back = ranking_loss(second, first, self.config.temperature, right, left)
        return (there + back) / 2

    def _distillation(self, batch):
        """Return the mean squared change of the cosines among the step's general sentences."""
        own = batch.rows[batch.mine]
        now = F.normalize(self.whole(self.vectors(own, self.prompts[0]), batch))
        # Encoded in the batch of the step, not once for all: a short run needs few of them, and a run
        # that goes on after a stop must meet the very same digits.
        with self.precision():
            vectors = encode(self.start, batch.rows, show_progress_bar=False)
        before = torch.from_numpy(vectors).to(now)
        return F.mse_loss(now @ now.T, before @ before.T)


def _equal(texts, like):
    """Return which of the texts (n) are equal: (n, n), where ``like`` is."""
    numbers = {text: number for number, text in enumerate(texts)}
    rows = torch.tensor([numbers[text] for text in texts], device=like.device)
    return rows[:, None] == rows
