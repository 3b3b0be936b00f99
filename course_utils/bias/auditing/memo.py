"""The embedder that an audit asks: each text goes to the model once, in the role it has."""

from collections.abc import Callable, Iterable
from typing import get_args

import numpy as np

from course_utils.bias.eraser import LinearEraser
from course_utils.encoding.cache import EmbeddingCache
from course_utils.encoding.embedders import AnyEmbedder, embedder_of
from course_utils.encoding.encode import encode, encode_document, encode_query
from course_utils.models.roles import (
    Role,
    has_routes,
    is_sentence_transformer,
    resolve_prompt,
    role_method,
)

_IN_ROLE: dict[Role | None, Callable[..., np.ndarray]] = {
    None: encode,
    "query": encode_query,
    "document": encode_document,
}


class Memo:
    """An embedder that asks the model for each text once, whatever number of questions share it.

    Queries and documents are asked for, and kept, as such where the model tells them apart.
    """

    show_progress_bar = False  # whoever asks it: a bar is shown, or not, where the model is asked

    def __init__(
        self, model: AnyEmbedder, cache: EmbeddingCache | None, show_progress_bar: bool | None
    ) -> None:
        self.asked, self.cache, self.shown = model, cache, show_progress_bar
        self.has_roles = _has_roles(embedder_of(model))
        self.rows: dict[Role | None, dict[str, np.ndarray]] = {}

    def learn(self, texts: Iterable[str], role: Role | None = None) -> None:
        """Encode those of the texts that are new, all in one call."""
        rows = self.rows.setdefault(role if self.has_roles else None, {})
        new = [text for text in dict.fromkeys(texts) if text not in rows]
        if new:
            found = _IN_ROLE[role](self.asked, new, cache=self.cache, show_progress_bar=self.shown)
            rows.update(zip(new, found, strict=True))

    def encode(self, texts: list[str], role: Role | None = None) -> np.ndarray:
        """Return the vectors of the texts, (n, d)."""
        self.learn(texts, role)
        rows = self.rows[role if self.has_roles else None]
        return np.stack([rows[text] for text in texts])

    def encode_query(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of queries, (n, d)."""
        return self.encode(texts, "query")

    def encode_document(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of documents, (n, d)."""
        return self.encode(texts, "document")


def _has_roles(embedder):
    if not is_sentence_transformer(embedder):
        return any(role_method(embedder, role) != "encode" for role in get_args(Role))
    plain = resolve_prompt(embedder)
    prompts = [resolve_prompt(embedder, role) for role in get_args(Role)]
    return has_routes(embedder) or prompts != [plain, plain]


class Erased:
    """The embedder that an eraser makes of a ``Memo``."""

    show_progress_bar = False

    def __init__(self, memo: Memo, eraser: LinearEraser) -> None:
        self.memo, self.eraser = memo, eraser

    def encode(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of the texts, (n, d), with the concept erased."""
        return self.eraser.transform(self.memo.encode(texts))

    def encode_query(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of queries, (n, d), with the concept erased."""
        return self.eraser.transform(self.memo.encode_query(texts))

    def encode_document(self, texts: list[str]) -> np.ndarray:
        """Return the vectors of documents, (n, d), with the concept erased."""
        return self.eraser.transform(self.memo.encode_document(texts))
