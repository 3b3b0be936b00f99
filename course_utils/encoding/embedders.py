"""What counts as an embedder, and how a bare function becomes one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias


class Embedder(Protocol):
    """Anything that turns n texts into n vectors: a SentenceTransformer, a remote API's client, ..."""

    def encode(self, texts: list[str], /) -> Any:
        """Return the vectors (n, d) of n texts."""


#: What ``encode``, ``search`` and ``evaluate`` take: an embedder, or a function of that form.
AnyEmbedder: TypeAlias = Embedder | Callable[[list[str]], Any]


def dimension(model):
    """Return the length of the model's vectors, or None if it does not say.

    An embedder says so in a ``dimension`` attribute.

    >>> dimension(as_embedder(len)) is None
    True
    """
    for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
        if callable(getattr(model, name, None)):
            return getattr(model, name)()
    return getattr(model, "dimension", None)


@dataclass(frozen=True)
class FunctionEmbedder:
    """A function from a list of texts to a matrix, under the name ``encode``."""

    function: Callable
    fingerprint: str | None = None

    def encode(self, texts):
        """Return the function's matrix (n, d) for n texts."""
        return self.function(texts)


def as_embedder(function, fingerprint=None):
    """Return an embedder that calls ``function(list[str]) -> (n, d)``.

    ``fingerprint`` is a string of your choice that changes whenever the function's vectors do (a
    model's name and version, say). It is needed only where vectors are cached.

    >>> shouting = as_embedder(lambda texts: [[text.count("!")] for text in texts])
    >>> shouting.encode(["oh!", "no"])
    [[1], [0]]
    """
    return FunctionEmbedder(function, fingerprint)
