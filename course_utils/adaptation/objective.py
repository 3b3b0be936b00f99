"""What every training asks of a step: its texts, their vectors, and its share of the loss.

Several processes share a batch. Each computes the part of every loss that its own texts are
responsible for, so that the *sum* of the processes' gradients is the gradient of the one loss over
the whole batch, whatever the number of processes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from course_utils.adaptation.batches import Batches, share
from course_utils.adaptation.decoder import Decoder, sentence_vector
from course_utils.adaptation.result import adapted_name
from course_utils.encoding.embedders import dimension
from course_utils.models.processor import has_bfloat16
from course_utils.models.roles import resolve_prompt

if TYPE_CHECKING:
    from accelerate import Accelerator
    from sentence_transformers import SentenceTransformer

    from course_utils.adaptation.config import PairsConfig, TSDAEConfig

_SHORT = (
    128  # tokens; up to there, attention written out takes less memory than the rest of a layer
)


@dataclass(frozen=True)
class Batch:
    """What a step fetches: ``rows`` (n), the texts or pairs of all processes, and which are ``mine``.

    ``copies`` are damaged copies of my texts, ``general`` is a batch of sentences to hold in place:
    each where the objective has use for it.
    """

    rows: list[Any]
    mine: slice
    copies: tuple[list[str], ...] = ()
    general: Batch | None = None

    @property
    def texts(self) -> list[str]:
        """All texts of the rows, one by one."""
        return [text for row in self.rows for text in ([row] if isinstance(row, str) else row)]


class Objective:
    """A copy of the start model that is trained, and what is minimised over a step's texts.

    An objective of its own says what a step fetches (``fetch``) and how its loss comes about
    (``forward``). ``parts`` names what ``forward`` tells beside the loss, ``epoch_steps`` is the
    number of steps that go once through the texts, ``bfloat16`` whether vectors are computed in it.
    """

    parts: tuple[str, ...]
    epoch_steps: int

    def __init__(
        self,
        start: SentenceTransformer,
        config: TSDAEConfig | PairsConfig,
        limit: int,
        accelerator: Accelerator,
    ) -> None:
        self.start, self.config, self.limit, self.accelerator = start, config, limit, accelerator
        self.device = accelerator.device if accelerator.num_processes > 1 else start.device
        # Its dropout stays off: what damages a sentence is the noise.
        self.encoder = copy.deepcopy(start).float().to(self.device).eval()
        # A name of its own, else tables could not tell it from the start.
        self.encoder.model_card_data.model_name = adapted_name(start)
        self.decoder: Decoder | None = None
        self.decoder_rate = 0.0
        wanted = config.bfloat16
        self.bfloat16 = has_bfloat16(self.device) if wanted is None else bool(wanted)
        self.prompts = [resolve_prompt(start)]

    def fetch(self, step: int) -> Batch:
        """Return the texts of a step, counted from 0: they follow from the seed and the step alone."""
        raise NotImplementedError

    def forward(
        self, batch: Batch, *, frozen: bool = False
    ) -> tuple[torch.Tensor, dict[str, float]]:
        """Return this process's loss, to send backwards, and what the whole batch's amounts to.

        The second holds ``"loss"`` and ``parts``. ``frozen`` leaves the encoder out of it.
        """
        raise NotImplementedError

    def frozen_steps(self, steps: int) -> int:
        """Return for how many of ``steps`` steps the encoder is held still."""
        return 0

    def draw(self, rows: list[Any], batches: Batches, step: int) -> Batch:
        """Return a step's rows, and which of them are this process's."""
        places = batches.rows(step)
        mine, begin = share(places, self.accelerator.process_index, self.accelerator.num_processes)
        return Batch([rows[place] for place in places], slice(begin, begin + len(mine)))

    def vectors(self, texts: list[str], prompt: str = "") -> torch.Tensor:
        """Return the pooled vectors (b, d) of texts with a prompt before each, in float32."""
        if not texts:
            return torch.zeros(0, dimension(self.encoder) or 0, device=self.device)
        with self.precision():
            return sentence_vector(self.encoder, self.features(texts, prompt)).float()

    def features(self, texts: list[str], prompt: str = "") -> dict[str, Any]:
        """Return token ids and mask (b, t) of texts with a prompt before each, on the device."""
        tokenizer, longest = self.encoder.tokenizer, self.limit
        before = tokenizer(prompt)["input_ids"] if prompt else []
        if prompt:  # it comes on top of the texts, which are cut already
            longest += len(before) - len(tokenizer("")["input_ids"])
            longest = min(longest, self.encoder.max_seq_length or longest)
        # The decoder wants padding on the right, and encoders with a mask do not mind where it is.
        found = tokenizer(
            [prompt + text for text in texts],
            padding=True,
            padding_side="right",
            truncation=True,
            max_length=longest,
            return_tensors="pt",
        ).to(self.device)
        features = dict(found)
        if prompt:  # counted as sentence-transformers does, for a pooling that leaves it out
            features["prompt_length"] = len(before) - (before[-1] in tokenizer.all_special_ids)
        return features

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Compute vectors in bfloat16 where it is on; weights, cosines and losses are in float32."""
        with ExitStack() as stack:
            stack.enter_context(
                torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16)
            )
            # On a CPU, attention's fused backward pass takes several times as long in bfloat16 as
            # in float32; written out it is fast, but keeps a number for each two tokens of a text.
            if self.bfloat16 and self.device.type == "cpu" and self.limit <= _SHORT:
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield

    def whole(self, mine: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Return the vectors (n, d) of the whole batch; only this process's carry a gradient.

        The loss is a function of all vectors, and each process knows its derivative with respect to
        its own: summed over processes, that is the whole gradient.
        """
        if self.accelerator.num_processes == 1:
            return mine
        everyone = mine.new_zeros(len(batch.rows), mine.shape[1])
        everyone[batch.mine] = mine.detach()
        everyone = self.accelerator.reduce(everyone, "sum")
        return torch.cat([everyone[: batch.mine.start], mine, everyone[batch.mine.stop :]])
