"""How texts go through a model: in which pieces, and which of them together.

``Tokenised`` makes the token ids itself, which lets it see how long a text is, cut it into windows
and put pieces of like length into one batch. ``Called`` is for models that keep their tokens to
themselves: it hands them the texts.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from course_utils.models.api import APIEmbedder
from course_utils.models.roles import (
    Role,
    has_routes,
    is_sentence_transformer,
    resolve_prompt,
    role_method,
)

# A batch holds batch_size texts of this length. On a processor, 32 x 64 tokens keep the activations
# of a small model near the cores; four times as many took 1.4 times as long.
TOKENS_PER_TEXT = 64
WINDOW_OVERLAP = 0.25  # of a window is repeated in the next one
_TOKENISED_AT_ONCE = 1024


class Tokenised:
    """Texts as pieces of token ids, on their way through a SentenceTransformer.

    ``tokens`` (n,) holds each text's length as the model would see it, uncut. A piece is what goes
    through the model: a text, its beginning, or one of its windows. Pieces lie end to end in one
    array of ids, ``ends`` says where; ``owners`` names each piece's text and ``shares`` its part of
    that text's vector. So a million short texts wait in some bytes each.
    """

    def __init__(self, model, texts, prompt, on_long, batch_size):
        self.model = model
        self.tokenizer = model.tokenizer
        self.prompt = prompt
        self.limit = math.inf if model.max_seq_length is None else model.max_seq_length
        self.lead, self.trail = _special_tokens(self.tokenizer)
        self.prompt_length = self._prompt_length()
        self.windows = on_long == "chunk"
        self.budget = batch_size * TOKENS_PER_TEXT
        self.tokens = np.zeros(len(texts), dtype=np.int64)
        parts = [
            self._pieces(texts[start : start + _TOKENISED_AT_ONCE], start)
            for start in range(0, len(texts), _TOKENISED_AT_ONCE)
        ]
        if not parts:
            parts = [(np.zeros(0, np.int32), np.zeros(0, np.int64), [], [])]
        ids, lengths, owners, shares = zip(*parts, strict=True)
        self.ids, self.lengths = np.concatenate(ids), np.concatenate(lengths)
        self.ends = np.cumsum(self.lengths)
        self.owners = np.concatenate([np.asarray(owner, dtype=np.int64) for owner in owners])
        self.shares = np.concatenate([np.asarray(share, dtype=np.float32) for share in shares])

    def _pieces(self, texts, first):
        """Return (ids end to end, lengths, owners, shares) of the pieces of some texts."""
        found, owners, shares = [], [], []
        for row, ids in enumerate(self._ids(texts), first):
            self.tokens[row] = len(ids)
            pieces, weights = self._cut(np.array(ids, dtype=np.int32))
            found += pieces
            owners += [row] * len(pieces)
            shares += [weight / sum(weights) for weight in weights]
        lengths = np.array([len(piece) for piece in found], dtype=np.int64)
        return np.concatenate(found), lengths, owners, shares

    def batches(self) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield (rows, vectors) for the texts that are done, longest first.

        Longest first, so that a batch too large for the memory shows at once and not at the end.
        """
        # An empty text may have no token at all; it still takes a row.
        lengths = np.maximum(1, self.lengths)
        order = np.argsort(-lengths, kind="stable")
        waiting = np.bincount(self.owners, minlength=len(self.tokens))
        partial: dict[int, np.ndarray] = {}
        start = 0
        while start < len(order):
            batch = order[start : start + max(1, self.budget // lengths[order[start]])]
            start += len(batch)
            rows, vectors = [], []
            pooled = self._vectors([self._piece(piece) for piece in batch])
            for piece, vector in zip(batch, pooled, strict=True):
                row = self.owners[piece]
                total = partial.pop(row, 0) + self.shares[piece] * vector
                waiting[row] -= 1
                if waiting[row]:
                    partial[row] = total
                else:
                    rows.append(row)
                    vectors.append(total)
            if rows:
                yield np.array(rows), np.stack(vectors)

    def _piece(self, number):
        end = self.ends[number]
        return self.ids[end - self.lengths[number] : end]

    def _ids(self, texts):
        return self.tokenizer(
            [self.prompt + text for text in texts],
            padding=False,
            truncation=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
        )["input_ids"]

    def _prompt_length(self):
        """Return how many tokens come before the text, counted as sentence-transformers does."""
        if not self.prompt:
            return self.lead
        ids = self._ids([""])[0]
        return len(ids) - sum(last in self.tokenizer.all_special_ids for last in ids[-1:])

    def _cut(self, ids):
        """Return the pieces of one text, none longer than the limit, and their tokens of text."""
        if len(ids) <= self.limit:
            return [ids], [1]
        end = len(ids) - self.trail
        if not self.windows:
            if self.tokenizer.truncation_side == "left":
                return [np.concatenate([ids[: self.lead], ids[self.lead - self.limit :]])], [1]
            return [np.concatenate([ids[: self.limit - self.trail], ids[end:]])], [1]
        head, body, tail = ids[: self.prompt_length], ids[self.prompt_length : end], ids[end:]
        room = self.limit - len(head) - len(tail)
        if room < 1:
            raise ValueError(
                f"The prompt takes {len(head)} of the model's {self.limit} tokens, which leaves no "
                "room for text. Shorten it."
            )
        overlap = int(room * WINDOW_OVERLAP)
        parts = [body[at : at + room] for at in range(0, len(body) - overlap, room - overlap)]
        return [np.concatenate([head, part, tail]) for part in parts], [len(p) for p in parts]

    def _vectors(self, pieces):
        """Return the pieces' vectors; where a GPU's memory is short, half of them at a time."""
        try:
            return self._forward(pieces)
        except RuntimeError as error:
            if len(pieces) == 1 or "out of memory" not in str(error).lower():
                raise
        # Only now, outside the except block, is the failed attempt's memory free.
        half = len(pieces) // 2
        return np.concatenate([self._vectors(pieces[:half]), self._vectors(pieces[half:])])

    def _forward(self, pieces):
        import torch

        width = max(1, *map(len, pieces))
        ids = np.full((len(pieces), width), self.tokenizer.pad_token_id or 0, dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, piece in enumerate(pieces):
            left = self.tokenizer.padding_side == "left"
            where = slice(width - len(piece), width) if left else slice(len(piece))
            ids[row, where] = piece
            mask[row, where] = 1
        features = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self.tokenizer.model_input_names:
            features["token_type_ids"] = np.zeros_like(ids)
        device = self.model.device
        features = {key: torch.from_numpy(value).to(device) for key, value in features.items()}
        features["modality"] = "text"
        if self.prompt:
            features["prompt_length"] = self.prompt_length
        with torch.inference_mode():
            vectors = self.model(features)["sentence_embedding"]
            return vectors[:, : self.model.truncate_dim].float().cpu().numpy()


class Called:
    """Texts on their way through somebody else's ``encode``, whose tokens we do not see.

    ``role`` chooses its ``encode_query`` or ``encode_document``, where it has them; a ``prompt`` that
    the caller gave stands in place of what the role would do to a text.
    """

    limit = math.inf
    tokens = 0

    def __init__(self, model, texts, prompt, on_long, batch_size, *, role=None):
        self.texts = texts
        self.order = np.arange(len(texts))
        self.stream: Any = None
        # No activations to keep small, and a tokenizer that is quickest with many texts.
        if looks_tokens_up(model):
            batch_size = max(batch_size, _TOKENISED_AT_ONCE)
        self.batch_size = batch_size
        if is_sentence_transformer(model):
            self.order = np.argsort([-len(text) for text in texts], kind="stable")
            method = getattr(model, role_method(model, role))
            self.call = lambda part: method(
                part,
                batch_size=batch_size,
                prompt=prompt,
                normalize_embeddings=False,
                show_progress_bar=False,
            )
        elif isinstance(model, APIEmbedder):  # it asks for several batches at once
            self.stream = model.encode_batches(
                [(prompt or "") + text for text in texts], role=role if prompt is None else None
            )
        else:
            method = getattr(model, role_method(model, role if prompt is None else None))
            self.call = lambda part: method([(prompt or "") + text for text in part])
        if on_long != "warn" and getattr(model, "max_seq_length", None) != math.inf:
            raise ValueError(
                f'on_long="{on_long}" needs to count tokens, and this {type(model).__name__} does not '
                'show how it makes them. Use on_long="warn" and split long texts yourself.'
            )

    def batches(self) -> Iterator[tuple[np.ndarray, Any]]:
        """Yield (rows, vectors), ``batch_size`` texts at a time, or as they come in from a server."""
        if self.stream is not None:
            yield from self.stream
            return
        for start in range(0, len(self.texts), self.batch_size):
            part = self.order[start : start + self.batch_size]
            yield part, self.call([self.texts[row] for row in part])


def on_their_way(
    model: Any,
    texts: list[str],
    role: Role | None,
    prompt: str | None,
    prompt_name: str | None,
    on_long: str,
    batch_size: int,
) -> "Tokenised | Called":
    """Return the texts as ``Tokenised`` where the model allows it, else as ``Called``."""
    if not is_sentence_transformer(model) and prompt_name is None:
        return Called(model, texts, prompt, on_long, batch_size, role=role)
    prompt = resolve_prompt(model, role, prompt=prompt, prompt_name=prompt_name)
    if tokenises_plainly(model):
        return Tokenised(model, texts, prompt, on_long, batch_size)
    return Called(model, texts, prompt, on_long, batch_size, role=role)


def looks_tokens_up(model: Any) -> bool:
    """Return whether a model's vectors are means of a table's rows, as those of ``distil_static``."""
    if not is_sentence_transformer(model):
        return False
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    return isinstance(model[0], StaticEmbedding)


def tokenises_plainly(model: Any) -> bool:
    """Return whether texts become token ids and nothing else happens to them on the way.

    Images, chat templates, routes for queries and documents, and word-vector models have a way of
    their own; for them sentence-transformers' own ``encode`` is called.
    """
    if not is_sentence_transformer(model) or has_routes(model):
        return False
    from sentence_transformers.base.modules.transformer import Transformer
    from transformers import PreTrainedTokenizerBase

    first = model[0]
    return (
        type(first) is Transformer
        and set(first.modality_config) == {"text"}
        and first.transformer_task == "feature-extraction"
        and not first.processing_kwargs
        and isinstance(first.processor, PreTrainedTokenizerBase)
    )


def _special_tokens(tokenizer):
    """Return how many tokens the tokenizer puts before a text and how many after it."""
    added = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    return added.index(0), added[::-1].index(0)
