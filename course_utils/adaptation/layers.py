"""The parts that TSDAE's decoders are made of: causal attention, one vector told to all, a head.

Written for packed tokens: padding is left out of everything but attention.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F


class Places:
    """Where the n tokens of a padded batch (b, t) are, to leave the padding out of the work.

    All but attention treats tokens one by one, so it is done on (n, width); attention, which looks
    from token to token, gets (b, t, width).
    """

    def __init__(self, mask: torch.Tensor) -> None:
        self.shape = mask.shape
        self.flat = mask.flatten().nonzero()[:, 0]  # (n,) places in the batch laid end to end
        self.rows, self.columns = self.flat // mask.shape[1], self.flat % mask.shape[1]

    def pack(self, padded: torch.Tensor) -> torch.Tensor:
        """Return the tokens' rows (n, width) of (b, t, width)."""
        return padded.flatten(0, 1).index_select(0, self.flat)

    def pad(self, packed: torch.Tensor) -> torch.Tensor:
        """Return (b, t, width) with the rows of (n, width) in their places and zeros elsewhere."""
        padded = packed.new_zeros(self.shape.numel(), packed.shape[1])
        return padded.index_copy(0, self.flat, packed).unflatten(0, self.shape)


class Memory(nn.Module):
    """Attention to one vector, then dropout, residual and layer norm as BERT has them.

    Named as in transformers' cross-attention: ``value`` is W_v, ``dense`` is W_o.
    """

    def __init__(self, dimension: int, config: Any) -> None:
        super().__init__()
        self.value = nn.Linear(dimension, config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, hidden: torch.Tensor, vector: torch.Tensor, places: Places) -> torch.Tensor:
        """Return the states (n, width) with what the vectors (b, d) tell added to each."""
        told = self.dense(self.value(vector))  # (b, width), the same for all tokens of a sentence
        return self.LayerNorm(hidden + self.dropout(told.index_select(0, places.rows)))


class LightLayer(nn.Module):
    """Causal self-attention, z, feed-forward: each adds to what comes in."""

    def __init__(self, width: int, dimension: int) -> None:
        super().__init__()
        self.heads = max(1, width // 64)
        while width % self.heads:
            self.heads -= 1
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.memory = nn.Linear(dimension, width)  # W_o W_v as the one matrix that they make
        self.forward_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)

    def forward(self, hidden: torch.Tensor, vector: torch.Tensor, places: Places) -> torch.Tensor:
        """Return the next states (n, width) of tokens with states (n, width) and vectors (b, d)."""
        queries_keys_values = self.attention(self.attention_norm(hidden))
        seen = self.attention_output(attend(queries_keys_values, self.heads, places))
        told = self.memory(vector).index_select(0, places.rows)
        hidden = hidden + seen + told
        return hidden + self.narrow(F.gelu(self.widen(self.forward_norm(hidden))))


class Head(nn.Module):
    """What stands between the last state and the output matrix: BERT's transform, and a bias."""

    def __init__(
        self,
        hidden_size: int,
        embeddings: nn.Embedding,
        *,
        eps: float = 1e-5,
        activation: Any = "gelu",
    ) -> None:
        super().__init__()
        from transformers.activations import ACT2FN

        tokens, width = embeddings.weight.shape
        self.dense = nn.Linear(hidden_size, width)
        self.activation = ACT2FN[activation] if isinstance(activation, str) else activation
        self.LayerNorm = nn.LayerNorm(width, eps=eps)
        self.bias = nn.Parameter(torch.zeros(tokens))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return states (n, width) as the output matrix takes them."""
        return self.LayerNorm(self.activation(self.dense(hidden)))


def attend(
    queries_keys_values: torch.Tensor,
    heads: int,
    places: Places,
    bias: torch.Tensor | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Return what each token sees (n, width) of itself and those before it, in ``heads`` parts.

    ``queries_keys_values`` (n, 3 width) holds the three side by side. ``bias`` (1, heads, t, t) is
    added to the scores; it must forbid the future itself.
    """
    parts = places.pad(queries_keys_values).unflatten(-1, (3, heads, -1))  # (b, t, 3, heads, w/h)
    q, k, v = parts.permute(2, 0, 3, 1, 4)  # (b, heads, t, w/h) each
    seen = F.scaled_dot_product_attention(
        q, k, v, attn_mask=bias, is_causal=bias is None, dropout_p=dropout
    )
    return places.pack(seen.transpose(1, 2).flatten(2))


def self_attention(
    attention: Any, hidden: torch.Tensor, places: Places, bias: torch.Tensor | None
) -> torch.Tensor:
    """Run an encoder layer's self-attention so that no token sees a later one.

    transformers has two layouts: BERT's, which RoBERTa, XLM-R and ELECTRA copy, and MPNet's.
    """
    mpnet = hasattr(attention, "attn")
    inner = attention.attn if mpnet else attention.self
    names = ("q", "k", "v") if mpnet else ("query", "key", "value")
    queries_keys_values = torch.cat([getattr(inner, name)(hidden) for name in names], dim=-1)
    dropout = inner.dropout.p if inner.training else 0.0
    seen = attend(queries_keys_values, inner.num_attention_heads, places, bias, dropout)
    if mpnet:
        return attention.LayerNorm(attention.dropout(inner.o(seen)) + hidden)
    return attention.output(seen, hidden)


def relative_positions(stack: Any, hidden: torch.Tensor) -> torch.Tensor | None:
    """Return MPNet's relative position bias (1, heads, t, t) with the future forbidden, or None."""
    if not hasattr(stack, "compute_position_bias"):
        return None
    bias = stack.compute_position_bias(hidden[:1])
    future = torch.ones(bias.shape[-2:], dtype=torch.bool, device=bias.device).triu(1)
    return bias.masked_fill(future, float("-inf")).to(hidden.dtype)
