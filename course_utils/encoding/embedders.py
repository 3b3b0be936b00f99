"""What counts as an embedder, and how a bare function becomes one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from course_utils.models.roles import underlying


class Embedder(Protocol):
    """Anything that turns n texts into n vectors: a SentenceTransformer, a remote API's client, ...

    It may say more, and is then asked: ``encode_query`` and ``encode_document`` (of the form of
    ``encode``) where it treats queries and documents unlike, a string ``fingerprint`` that names its
    vectors, a whole number ``dimension``, ``show_progress_bar = False`` where it shows its own
    progress or wants none shown.
    """

    def encode(self, texts: list[str], /) -> Any:
        """Return the vectors (n, d) of n texts."""


#: What ``encode``, ``search`` and ``evaluate`` take: an embedder, or a function of that form.
AnyEmbedder: TypeAlias = Embedder | Callable[[list[str]], Any]


@dataclass(frozen=True)
class FunctionEmbedder:
    """A function from a list of texts to a matrix, under the name ``encode``."""

    function: Callable[[list[str]], Any]
    fingerprint: str | None = None

    def encode(self, texts: list[str]) -> Any:
        """Return the function's matrix (n, d) for n texts."""
        return self.function(texts)


def as_embedder(
    function: Callable[[list[str]], Any], fingerprint: str | None = None
) -> FunctionEmbedder:
    """Return an embedder that calls ``function(list[str]) -> (n, d)``.

    ``fingerprint`` is a string of your choice that changes whenever the function's vectors do (a
    model's name and version, say). It is needed only where vectors are cached.

    >>> shouting = as_embedder(lambda texts: [[text.count("!")] for text in texts])
    >>> shouting.encode(["oh!", "no"])
    [[1], [0]]
    """
    return FunctionEmbedder(function, fingerprint)


def embedder_of(model: AnyEmbedder) -> Any:
    """Return what encodes for ``model``: a result's own model, a function as an embedder, or itself.

    Raises ``TypeError`` for what can encode nothing, such as a model's name in place of the model.
    """
    model = underlying(model)
    # A string has an encode method of its own.
    if callable(getattr(model, "encode", None)) and not isinstance(model, str):
        return model
    if callable(model):
        return as_embedder(model, getattr(model, "fingerprint", None))
    raise TypeError(
        f"model is a {type(model).__name__}, not an embedder. Pass the result of load_model(), an "
        "object with encode(list[str]), or a function of that form."
    )


def dimension(model: AnyEmbedder) -> int | None:
    """Return the length of the model's vectors, or None if it does not say.

    An embedder says so in a ``dimension`` attribute.

    >>> dimension(as_embedder(len)) is None
    True
    """
    model = underlying(model)
    for name in ("get_embedding_dimension", "get_sentence_embedding_dimension"):
        if callable(getattr(model, name, None)):
            return getattr(model, name)()
    return getattr(model, "dimension", None)
