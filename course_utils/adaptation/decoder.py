"""Rebuild a sentence from one vector: the half of TSDAE that is thrown away after training.

Wang, Reimers and Gurevych (2021), *TSDAE*, section 3: the encoder sees a damaged sentence, the
decoder must say the whole one, word by word, and all it knows of it is one vector z. What it needs
to know, z learns to hold. ``ExactDecoder`` is the paper's decoder, made of the encoder's own
layers; ``LightDecoder`` is a small one of its own, for every encoder and several times as fast.

A decoder attends to what it has said so far and to the encoder's output (Vaswani et al. 2017,
section 3.1). Here that output is a single vector, so there is a single key, its softmax is 1
whatever the query, and attention to it is ``W_o (W_v z + b_v) + b_o``: no queries, no keys, and
once a sentence instead of once a token.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from course_utils.adaptation.layers import (
    Head,
    LightLayer,
    Memory,
    Places,
    relative_positions,
    self_attention,
)

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

EXACT = ("bert", "roberta", "xlm-roberta", "electra", "mpnet")


def make_decoder(
    encoder: SentenceTransformer,
    kind: str = "exact",
    *,
    vocabulary: Any = None,
    max_tokens: int = 512,
    seed: int = 0,
) -> Decoder:
    """Return an ``ExactDecoder`` or a ``LightDecoder`` for a SentenceTransformer, on its device.

    ``kind`` is ``"exact"`` or ``"light"``; ``max_tokens`` is the light one's.

    Raises ``ValueError`` for another kind, and what the two classes raise.
    """
    if kind == "exact":
        return ExactDecoder(encoder, vocabulary=vocabulary, seed=seed)
    if kind == "light":
        return LightDecoder(encoder, vocabulary=vocabulary, max_tokens=max_tokens, seed=seed)
    raise ValueError(f'kind is {kind!r}; it can be "exact" or "light".')


def supports_exact(encoder: SentenceTransformer) -> bool:
    """Return whether the encoder's own layers can be run as a decoder, see ``EXACT``.

    These are BERT, RoBERTa, XLM-R, ELECTRA and MPNet with learned absolute positions (and, for
    MPNet, its relative ones); everything else takes a ``LightDecoder``.
    """
    config = getattr(_base(encoder), "config", None)
    return (
        getattr(config, "model_type", None) in EXACT
        and getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
        and not getattr(config, "is_decoder", False)
    )


def sentence_vector(encoder: SentenceTransformer, features: Any) -> torch.Tensor:
    """Return the pooled vectors (b, d) that the encoder makes of ``features``, before ``Normalize``.

    ``features`` are token ids and mask as the tokenizer returns them, on the encoder's device; they
    are not changed. Normalising would take the length from the one vector that must hold everything,
    so those layers are left out; all others (pooling, dense) are run. Gradients flow.
    """
    from sentence_transformers.sentence_transformer.modules import Normalize

    features = dict(features)
    for module in encoder:
        if not isinstance(module, Normalize):
            features = module(features)
    return features["sentence_embedding"]


class Decoder(nn.Module):
    """What both decoders share: predict each token from z and the tokens before it.

    A decoder has a ``head`` of its own, and says what its states (``hidden``) and its output matrix
    (``matrix``) are.
    """

    head: Head
    kept: torch.Tensor | None
    lookup: torch.Tensor | None

    def __init__(self, vocabulary: Any, encoder: SentenceTransformer) -> None:
        super().__init__()
        lookup, kept = _vocabulary(vocabulary, encoder)
        self.register_buffer("kept", kept, persistent=False)
        self.register_buffer("lookup", lookup, persistent=False)

    def forward(
        self, vector: torch.Tensor, target_ids: torch.Tensor, target_mask: torch.Tensor
    ) -> torch.Tensor:
        """Return the mean cross-entropy per token, in nats: a scalar that gradients flow from.

        ``vector`` (b, d) is what ``sentence_vector`` returns; ``target_ids`` (b, t) are the whole
        sentences' token ids, special ones included, and ``target_mask`` (b, t) is 1 where there is
        a token and 0 for padding, which must be on the right. Tokens 2..t are predicted, each from
        z and the tokens before it. Only where there is one to predict is anything computed.

        Raises ``ValueError`` for shapes that do not fit, for padding on the left, and when no
        sentence has a second token.
        """
        if vector.shape[:1] != target_ids.shape[:1] or target_ids.shape != target_mask.shape:
            raise ValueError(
                f"Shapes {tuple(vector.shape)}, {tuple(target_ids.shape)} and "
                f"{tuple(target_mask.shape)} do not fit: give (b, d), (b, t) and (b, t)."
            )
        wanted = target_mask[:, 1:].bool()
        if (wanted & ~target_mask[:, :-1].bool()).any():
            raise ValueError(
                'The targets are padded on the left. Set tokenizer.padding_side = "right".'
            )
        labels = target_ids[:, 1:][wanted]
        if not len(labels):
            raise ValueError("No sentence of the batch has a second token, so none is predicted.")
        # Of the last token nothing is predicted, so what is fed in is as long as what is wanted.
        hidden = self.hidden(vector, target_ids[:, :-1], wanted)  # (n, width)
        logits = self.logits(hidden)  # (n, v)
        right = labels if self.lookup is None else self.lookup[labels]
        return F.cross_entropy(
            logits.float(), right
        )  # the loss in float32, whatever gave the logits

    @torch.no_grad()
    def rebuild(
        self, vector: torch.Tensor, first: torch.Tensor, *, ends: Iterable[int], max_tokens: int
    ) -> list[list[int]]:
        """Return the token ids that the decoder says from each vector, of its choices the likeliest.

        ``vector`` (b, d) is what ``sentence_vector`` returns. Each list begins with its token of
        ``first`` (b,), and goes on with the likeliest token after those that are there, until that is
        one of ``ends``, which is left out, or there are ``max_tokens``. Dropout is off meanwhile.
        """
        training, stops = self.training, torch.tensor([*ends], device=first.device)
        self.eval()
        ids = first[:, None]
        while ids.shape[1] < max_tokens:
            hidden = self.hidden(vector, ids, torch.ones_like(ids)).unflatten(0, ids.shape)
            likeliest = self.logits(hidden[:, -1]).argmax(-1)
            if self.kept is not None:
                likeliest = self.kept[likeliest]
            ids = torch.cat([ids, likeliest[:, None]], dim=1)
            if torch.isin(ids[:, 1:], stops).any(dim=1).all():
                break
        self.train(training)
        is_end = torch.isin(ids[:, 1:], stops).tolist()
        return [
            row[: 1 + ended.index(True)] if True in ended else row
            for row, ended in zip(ids.tolist(), is_end, strict=True)
        ]

    def hidden(self, vector: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states (n, width) of the n tokens of ``ids`` (b, t) where ``mask`` is 1."""
        raise NotImplementedError

    def matrix(self) -> torch.Tensor:
        """Return the output matrix (V, width), one row for each token of the tokenizer."""
        raise NotImplementedError

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the scores (..., v) of the v tokens of the vocabulary for states (..., width)."""
        matrix: torch.Tensor = self.matrix()
        bias: torch.Tensor = self.head.bias
        if self.kept is not None:
            matrix, bias = matrix[self.kept], bias[self.kept]
        return F.linear(self.head(hidden), matrix, bias)


class ExactDecoder(Decoder):
    """The paper's decoder: the encoder's own layers run once more, causally, with z added.

    Each self-attention is followed by attention to z (see the module's first paragraph), then the
    layer goes on as in the encoder. Embeddings, self-attention, feed-forward and layer norms *are*
    the encoder's, and so is the output matrix (the token embeddings): they get gradients from both
    uses, and are no parameters of this module. New, random at first, are the attention to z and the
    head before the output matrix. It computes what sentence-transformers'
    ``DenoisingAutoEncoderLoss(tie_encoder_decoder=True)`` does with the same weights; the one
    difference is that dropout, where it is on, spares the attention weight of the only key.

    ``vocabulary`` is None for all tokens, or the ids (v,) that can be predicted, see
    ``LightDecoder``. ``seed`` determines the new weights; no other random state is touched.

    Raises ``ValueError`` for an encoder that ``supports_exact`` refuses, and for targets longer
    than the encoder has positions.
    """

    def __init__(
        self, encoder: SentenceTransformer, *, vocabulary: Any = None, seed: int = 0
    ) -> None:
        super().__init__(vocabulary, encoder)
        if not supports_exact(encoder):
            raise ValueError(
                f"The layers of this {type(_base(encoder)).__name__} cannot be run as a decoder; "
                f'that works for {", ".join(EXACT)}. Use LightDecoder, or kind="light".'
            )
        base = _base(encoder)
        config, embeddings = base.config, base.get_input_embeddings()
        self._encoder = [base]  # in a list, so that its weights are not registered here as well
        activation = config.hidden_act if config.model_type == "bert" else "gelu"
        with _seeded(self, seed, like=embeddings.weight):
            self.memory = nn.ModuleList(
                Memory(_dimension(encoder), config) for _ in range(config.num_hidden_layers)
            )
            self.head = Head(
                config.hidden_size, embeddings, eps=config.layer_norm_eps, activation=activation
            )

    def matrix(self) -> torch.Tensor:
        """Return the encoder's token embeddings (V, width): the output matrix too."""
        return self._encoder[0].get_input_embeddings().weight

    def hidden(self, vector: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states (n, width) from which the token after each of ``ids`` is read."""
        base = self._encoder[0]
        _check_length(ids, _positions(base))
        hidden = base.embeddings(input_ids=ids)  # (b, t, width)
        bias = relative_positions(base.encoder, hidden)
        places = Places(mask)
        hidden = places.pack(hidden)  # (n, width), and so it stays
        if hasattr(base, "embeddings_project"):
            hidden = base.embeddings_project(hidden)
        for layer, memory in zip(base.encoder.layer, self.memory, strict=True):
            hidden = self_attention(layer.attention, hidden, places, bias)
            hidden = memory(hidden, vector, places)
            hidden = layer.output(layer.intermediate(hidden), hidden)
        return hidden


class LightDecoder(Decoder):
    """One small transformer layer of its own, for whatever encoder.

    The layer normalises first (Xiong et al. 2020), which trains without a long warm-up, and is as
    wide as the encoder's token embeddings. Those serve as input and output matrix, read but not
    trained from here: the gradient reaches the encoder through z alone, so that what is learnt is
    learnt by the vector.

    ``vocabulary`` is None for all tokens, or a LongTensor (v,) of the
    ids that can be predicted, such as those a corpus uses; other ids count as the tokenizer's
    unknown token, which is added to them. ``max_tokens`` is the longest target. ``seed`` determines
    the new weights; no other random state is touched.

    Raises ``ValueError`` for an encoder that has no token embeddings, ids that the encoder does not
    have, and targets longer than ``max_tokens``.
    """

    def __init__(
        self,
        encoder: SentenceTransformer,
        *,
        vocabulary: Any = None,
        max_tokens: int = 512,
        seed: int = 0,
    ) -> None:
        super().__init__(vocabulary, encoder)
        embeddings = _token_embeddings(encoder)
        width = embeddings.weight.shape[1]
        self._shared = [embeddings]  # in a list, so that it is not registered here as well
        with _seeded(self, seed, like=embeddings.weight):
            self.positions = nn.Embedding(max_tokens, width)
            self.norm = nn.LayerNorm(width)
            self.layer = LightLayer(width, _dimension(encoder))
            self.head = Head(width, embeddings)

    def matrix(self) -> torch.Tensor:
        """Return the token embeddings (V, width), out of reach of the gradient."""
        return self._shared[0].weight.detach()

    def hidden(self, vector: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the states (n, width) from which the token after each of ``ids`` is read."""
        _check_length(ids, self.positions.num_embeddings)
        places = Places(mask)
        tokens = F.embedding(ids.flatten()[places.flat], self.matrix())  # (n, width)
        hidden = self.norm(tokens + self.positions(places.columns))
        return self.layer(hidden, vector, places)


def _base(encoder):
    """Return the transformers model inside a SentenceTransformer, or None."""
    return getattr(encoder[0], "auto_model", None)


def _token_embeddings(encoder):
    """Return the module whose weight (V, width) holds a vector for each token id."""
    base = _base(encoder)
    # StaticEmbedding is nothing but such a table, under this name.
    found = getattr(encoder[0], "embedding", None) if base is None else base.get_input_embeddings()
    if getattr(getattr(found, "weight", None), "ndim", 0) != 2:
        raise ValueError(
            f"This encoder's first module, {type(encoder[0]).__name__}, has no embeddings of "
            "tokens to read and to predict. TSDAE needs a transformer that reads text."
        )
    return found


def _dimension(encoder):
    """Return the length of the vectors before ``Normalize``."""
    for module in reversed(list(encoder)):
        for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
            if callable(getattr(module, name, None)):
                return getattr(module, name)()
    raise ValueError("No module of this encoder tells how long its vectors are; add a Pooling.")


def _positions(base):
    """Return how many tokens the encoder has position embeddings for."""
    table = base.embeddings.position_embeddings
    # RoBERTa and MPNet count positions from behind the padding's.
    return table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1)


def _check_length(ids, longest):
    if ids.shape[1] > longest:
        raise ValueError(
            f"The targets have {ids.shape[1]} tokens before the last, and there are positions for "
            f"{longest}. Cut them off, or give LightDecoder a larger max_tokens."
        )


def _vocabulary(vocabulary, encoder):
    """Return (lookup (V,) from token id to its place among the kept ones, kept ids (v,))."""
    if vocabulary is None:
        return None, None
    weight = _token_embeddings(encoder).weight
    kept = torch.as_tensor(vocabulary, dtype=torch.long).cpu().unique()
    if not len(kept) or kept[0] < 0 or kept[-1] >= len(weight):
        raise ValueError(
            f"vocabulary must hold token ids from 0 to {len(weight) - 1}; give the ids that the "
            "tokenizer makes of your texts, or None for all."
        )
    unknown = getattr(encoder.tokenizer, "unk_token_id", None)
    if unknown is None:  # a byte-level tokenizer has none, and any kept id does for a stranger
        unknown = int(kept[0])
    kept = torch.cat([kept, torch.tensor([unknown])]).unique()
    lookup = torch.full((len(weight),), int(torch.searchsorted(kept, unknown)))
    lookup[kept] = torch.arange(len(kept))
    return lookup.to(weight.device), kept.to(weight.device)


@contextmanager
def _seeded(module, seed, *, like):
    """Draw the weights of what is made inside from ``seed`` alone, then put them where ``like`` is.

    As BERT's: normal with standard deviation 0.02, biases zero. PyTorch's layers draw weights of
    their own when they are made; those draws are undone.
    """
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        yield
    generator = torch.Generator().manual_seed(seed)
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Embedding):
            nn.init.normal_(part.weight, std=0.02, generator=generator)
        if isinstance(part, nn.Linear):
            nn.init.zeros_(part.bias)
    module.to(device=like.device, dtype=like.dtype)
