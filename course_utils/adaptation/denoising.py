"""Learn from damaged copies of sentences: rebuild the sentence, or find its other copy.

Wang, Reimers and Gurevych (2021), *TSDAE: Using Transformer-based Sequential Denoising
Auto-Encoder for Unsupervised Sentence Embedding Learning*.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from course_utils.adaptation.batches import Batches
from course_utils.adaptation.decoder import make_decoder
from course_utils.adaptation.noise import add_noise
from course_utils.adaptation.objective import Batch, Objective
from course_utils.adaptation.pairs import ranking_loss

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.config import TSDAEConfig
    from course_utils.adaptation.loop import Trainer
    from course_utils.adaptation.texts import Texts

_SECOND_COPY = 2**32  # added to the seed, so that the second copy is damaged in another way
_TEMPERATURE = 0.05  # of the contrast, as Gao et al. (2021), *SimCSE*, have it


class DenoisingObjective(Objective):
    """What ``train_tsdae`` minimises: denoising, or the contrast of two damaged copies."""

    config: TSDAEConfig

    def __init__(
        self,
        start: SentenceTransformer,
        sentences: Texts,
        config: TSDAEConfig,
        limit: int,
        accelerator: Accelerator,
    ) -> None:
        super().__init__(start, config, limit, accelerator)
        self.sentences = sentences
        self.batches = Batches(sentences.lengths, config.batch_size, config.seed)
        self.epoch_steps = len(self.batches)
        self.parts = (config.objective,)
        self.seeds = [config.seed]
        if config.objective == "contrast":
            self.seeds.append(config.seed + _SECOND_COPY)
        else:
            ids = {*sentences.vocabulary.tolist(), *start.tokenizer.all_special_ids}
            self.decoder_rate = config.decoder_learning_rate
            self.decoder = make_decoder(
                self.encoder,
                config.decoder,
                vocabulary=torch.tensor(sorted(ids)),
                max_tokens=limit,
                seed=config.seed,
            ).to(self.device)

    def frozen_steps(self, steps: int) -> int:
        """Return for how many steps only a light decoder learns, which knows nothing at first."""
        alone = self.config.objective == "denoising" and self.config.decoder == "light"
        return min(steps // 10, 200) if alone else 0

    def fetch(self, step: int) -> Batch:
        """Return a step's sentences, with a damaged copy of my own, or two for the contrast."""
        batch = self.draw(self.sentences.rows, self.batches, step)
        copies = (
            add_noise(
                batch.rows[batch.mine],
                kind=self.config.noise,
                rate=self.config.rate,
                seed=seed,
                epoch=self.batches.epoch(step),
                mask=self.encoder.tokenizer.mask_token or "[MASK]",
            )
            for seed in self.seeds
        )
        return replace(batch, copies=tuple(copies))

    def forward(
        self, batch: Batch, *, frozen: bool = False
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return my part of the loss, and the whole one; ``frozen`` as in ``Objective``."""
        with torch.set_grad_enabled(not frozen):
            vectors = [self.vectors(texts, self.prompts[0]) for texts in batch.copies]
        if self.decoder is None:
            one, other = (self.whole(mine, batch) for mine in vectors)
            loss = ranking_loss(one, other, _TEMPERATURE)
            value = loss.item()
        else:
            loss, value = self._denoising(batch, vectors[0])
        return loss, {"loss": value, self.parts[0]: value}

    def rebuild(self, texts: list[str]) -> list[str]:
        """Return what the decoder makes of each text's vector, without having seen the text.

        Word by word the likeliest, at most as many tokens as a training text has. Where the tokenizer
        sets no mark before a text, the decoder is given the text's first token, as in training.
        """
        if self.decoder is None:
            raise ValueError("Nothing can be rebuilt: the contrast of two copies has no decoder.")
        tokenizer = self.encoder.tokenizer
        with torch.no_grad(), self.precision():
            rows = self.decoder.rebuild(
                self.vectors(texts, self.prompts[0]),
                self.features(texts)["input_ids"][:, 0],
                ends={tokenizer.sep_token_id, tokenizer.eos_token_id} - {None},
                max_tokens=self.limit,
            )
        return [
            tokenizer.decode(row[row[0] in tokenizer.all_special_ids :]).strip() for row in rows
        ]

    def _denoising(self, batch, vectors):
        """Return the cross-entropy per token of rebuilding the step's sentences: my part, the whole.

        The mean is over the tokens of all processes, so a process counts by its tokens.
        """
        own = batch.rows[batch.mine]
        tokens = torch.zeros((), device=vectors.device)
        mean = vectors.sum() * 0.0
        if own:
            targets = self.features(own)
            with self.precision():
                mean = self.decoder(vectors, targets["input_ids"], targets["attention_mask"])
            tokens = targets["attention_mask"][:, 1:].sum().float()
        mine = mean * tokens / self.accelerator.reduce(tokens, "sum")
        return mine, self.accelerator.reduce(mine.detach(), "sum").item()


class Watch:
    """Notes what the decoder rebuilds from a few sentences: a callback of the ``Trainer``.

    It does so at the start, after each of ``steps`` and at the end, in the step's row of the history,
    and so what is noted is saved with the run: ``row["rebuilt"]`` is a dict from sentence to text.
    """

    def __init__(
        self, objective: DenoisingObjective, sentences: list[str], steps: Iterable[int]
    ) -> None:
        self.objective, self.sentences, self.steps = objective, sentences, {0, *steps}

    def __call__(self, trainer: Trainer) -> None:
        """Note what is rebuilt after this step, if it is one of mine and not noted yet."""
        row = trainer.history[-1]
        due = trainer.step in self.steps or trainer.step == trainer.steps
        if due and "rebuilt" not in row:
            found = self.objective.rebuild(self.sentences)
            row["rebuilt"] = dict(zip(self.sentences, found, strict=True))
