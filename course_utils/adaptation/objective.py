"""What a step minimises: denoising, contrast, pairs, distillation, each in a few lines.

Several processes share a batch. Each computes the part of every loss that its own texts are
responsible for, so that the *sum* of the processes' gradients is the gradient of the one loss over
the whole batch, whatever the number of processes.
"""

import torch
from torch.nn import functional as F

from course_utils.adaptation.batches import Batches, share
from course_utils.adaptation.decoder import sentence_vector
from course_utils.adaptation.noise import add_noise
from course_utils.encoding.encode import dimension, encode

_SECOND_COPY = 2**32  # added to the seed, so that the second copy is damaged in another way

# In a step: 120 cosines hold the model in place as well as thousands, at a fraction of the time.
_GENERAL_TEXTS = 16


class Objective:
    """The loss of a step: ``objective(step)`` gives its value, its parts and the texts behind it."""

    def __init__(self, encoder, decoder, corpus, config, accelerator, limit, start):
        self.encoder, self.decoder, self.corpus, self.config = encoder, decoder, corpus, config
        self.accelerator, self.limit, self.start = accelerator, limit, start
        self.sentences = Batches(corpus.lengths, config.batch_size, config.seed)
        self.pairs = Batches(corpus.pair_lengths, config.batch_size, config.seed)
        self.general = Batches(corpus.general_lengths, _GENERAL_TEXTS, config.seed)
        self.mask = encoder.tokenizer.mask_token or "[MASK]"
        self.device = next(encoder.parameters()).device

    @property
    def epoch_steps(self):
        """How many steps go once through the sentences (through the pairs, where only they count)."""
        return len(self.sentences if self.config.needs_sentences else self.pairs)

    def texts(self, step):
        """Return the texts of a step, those of all processes, to show what a loss came from."""
        if self.config.needs_sentences:
            return [self.corpus.sentences[row] for row in self.sentences.rows(step)]
        return [text for row in self.pairs.rows(step) for text in self.corpus.pairs[row]]

    def count(self, step):
        """Return how many sentences and pairs a step trains on, those of all processes."""
        used = [self.sentences] if self.config.needs_sentences else []
        return sum(len(b.rows(step)) for b in used + [self.pairs] * bool(self.config.pairs_weight))

    def __call__(self, step, *, frozen=False):
        """Return this process's loss (a scalar to send backwards) and the parts of the whole one.

        ``frozen`` leaves the encoder out of it: only the decoder learns.
        """
        config, parts, loss = self.config, {}, 0.0
        if config.needs_sentences:
            one = self._damaged(step, config.seed, frozen)
        if config.denoising_weight:
            mine, parts["denoising"] = self.denoising(step, one)
            loss = loss + config.denoising_weight * mine
        if config.contrast_weight and not frozen:
            two = self._damaged(step, config.seed + _SECOND_COPY, frozen)
            rows = self.sentences.rows(step)
            mine = self.ranking(one, two, rows, rows, self.sentences, step)
            parts["contrast"] = mine.item()
            loss = loss + config.contrast_weight * mine
        if config.pairs_weight and not frozen:
            mine = self.ranked_pairs(step)
            parts["pairs"] = mine.item()
            loss = loss + config.pairs_weight * mine
        if config.distil_weight and not frozen:
            mine = self.distillation(step)
            parts["distillation"] = mine.item()
            loss = loss + config.distil_weight * mine
        return loss, parts

    def denoising(self, step, vectors):
        """Return the cross-entropy per token of rebuilding the step's sentences: my part, the whole.

        The mean is over the tokens of all processes, so a process counts by its tokens.
        """
        own, _ = self._share(self.sentences, step)
        tokens = torch.zeros((), device=vectors.device)
        mean = vectors.sum() * 0.0
        if len(own):
            targets = self._tokens([self.corpus.sentences[row] for row in own])
            with self._precision():
                mean = self.decoder(vectors, targets["input_ids"], targets["attention_mask"])
            tokens = targets["attention_mask"][:, 1:].sum().float()
        mine = mean * tokens / self.accelerator.reduce(tokens, "sum")
        return mine, self.accelerator.reduce(mine.detach(), "sum").item()

    def ranked_pairs(self, step):
        """Return the multiple negatives ranking loss of the step's pairs, the mean of both ways.

        Titles look for bodies and bodies for titles.
        """
        own, _ = self._share(self.pairs, step)
        first, second = (
            self._vectors([self.corpus.pairs[row][side] for row in own]) for side in (0, 1)
        )
        rows = self.pairs.rows(step)
        left, right = (_numbered([self.corpus.pairs[row][side] for row in rows]) for side in (0, 1))
        there = self.ranking(first, second, left, right, self.pairs, step)
        back = self.ranking(second, first, right, left, self.pairs, step)
        return (there + back) / 2

    def ranking(self, first, second, left, right, batches, step):
        """Return the mean of -log softmax over each text's cosines with all texts of the other side.

        Cosines are divided by the temperature. ``left`` and ``right`` (n,) number equal texts alike:
        another pair that shares either text is no negative.
        """
        first, second = self._whole(first, batches, step), self._whole(second, batches, step)
        scores = F.normalize(first) @ F.normalize(second).T / self.config.temperature  # (n, n)
        left, right = (torch.as_tensor(side, device=scores.device) for side in (left, right))
        alike = (left[:, None] == left) | (right[:, None] == right)
        alike.fill_diagonal_(False)
        own = torch.arange(len(scores), device=scores.device)
        return F.cross_entropy(scores.masked_fill(alike, -torch.inf), own)

    def distillation(self, step):
        """Return the mean squared change of the cosines among the step's general sentences."""
        own, _ = self._share(self.general, step)
        vectors = self._vectors([self.corpus.general[row] for row in own])
        now = F.normalize(self._whole(vectors, self.general, step))
        # Encoded in the batch of the step, not once for all: a short run needs few of them, and a run
        # that goes on after a stop must meet the very same digits.
        texts = [self.corpus.general[row] for row in self.general.rows(step)]
        before = torch.from_numpy(encode(self.start, texts, show_progress_bar=False)).to(now)
        return F.mse_loss(now @ now.T, before @ before.T)

    def _damaged(self, step, seed, frozen):
        config = self.config
        own, _ = self._share(self.sentences, step)
        texts = add_noise(
            [self.corpus.sentences[row] for row in own],
            kind=config.noise,
            rate=config.rate,
            seed=seed,
            epoch=self.sentences.epoch(step),
            mask=self.mask,
        )
        with torch.set_grad_enabled(not frozen):
            return self._vectors(texts)

    def _vectors(self, texts):
        """Return the pooled vectors (b, d) of texts, in float32."""
        if not texts:
            return torch.zeros(0, dimension(self.encoder), device=self.device)
        with self._precision():
            return sentence_vector(self.encoder, self._tokens(texts)).float()

    def _tokens(self, texts):
        # The decoder wants padding on the right, and encoders with a mask do not mind where it is.
        return self.encoder.tokenizer(
            texts,
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=self.limit,
            return_tensors="pt",
        ).to(self.device)

    def _precision(self):
        """Compute in bfloat16 where a GPU has it; weights, cosines and losses stay in float32."""
        usable = self.device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.autocast(self.device.type, torch.bfloat16, enabled=usable)

    def _share(self, batches, step):
        accelerator = self.accelerator
        return share(batches.rows(step), accelerator.process_index, accelerator.num_processes)

    def _whole(self, mine, batches, step):
        """Return the vectors (n, d) of the whole batch; only this process's carry a gradient.

        The loss is a function of all vectors, and each process knows its derivative with respect to
        its own: summed over processes, that is the whole gradient.
        """
        if self.accelerator.num_processes == 1:
            return mine
        rows = batches.rows(step)
        _, begin = self._share(batches, step)
        everyone = mine.new_zeros(len(rows), mine.shape[1])
        everyone[begin : begin + len(mine)] = mine.detach()
        everyone = self.accelerator.reduce(everyone, "sum")
        return torch.cat([everyone[:begin], mine, everyone[begin + len(mine) :]])


def _numbered(texts):
    """Return a number for each text, the same for equal ones.

    >>> _numbered(["fever", "rash", "fever"])
    [0, 1, 0]
    """
    numbers = {}
    return [numbers.setdefault(text, len(numbers)) for text in texts]
