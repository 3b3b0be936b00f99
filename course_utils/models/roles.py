"""Queries and documents: which words a model wants before each, and whether it tells them apart.

Most models since 2023 are trained with one prompt before a query and another before a document. The
rules are those of ``SentenceTransformer.encode``, ``encode_query`` and ``encode_document``.
"""

import sys
from typing import Any, Literal, TypeAlias

Role: TypeAlias = Literal["query", "document"]

# The prompts that encode_query and encode_document of sentence-transformers look for, in order.
_PROMPTS = {None: (), "query": ("query",), "document": ("document", "passage", "corpus")}


def is_sentence_transformer(model: Any) -> bool:
    """Return whether ``model`` is a SentenceTransformer, without importing the library for that."""
    library = sys.modules.get("sentence_transformers")
    return library is not None and isinstance(model, library.SentenceTransformer)


def underlying(model: Any) -> Any:
    """Return the SentenceTransformer that ``model`` says it is, or the model itself.

    A result of training is its model: same vectors, same fingerprint, wherever an embedder is taken.
    It says so by a method ``as_sentence_transformer``; no other object is looked into.
    """
    says = getattr(model, "as_sentence_transformer", None)
    return says() if callable(says) and not is_sentence_transformer(model) else model


def has_routes(model: Any) -> bool:
    """Return whether a SentenceTransformer sends queries and documents through different modules."""
    return any(kind.__name__ == "Router" for m in model.modules() for kind in type(m).__mro__)


def resolve_prompt(
    model: Any,
    role: Role | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
) -> str:
    """Return the words that go before every text, ``""`` for none.

    ``prompt`` itself where it is given; else the one called ``prompt_name`` in ``model.prompts``;
    else that of the role: ``"query"`` for queries, the first of ``"document"``, ``"passage"`` and
    ``"corpus"`` for documents; else ``model.default_prompt_name``'s. An embedder that is no
    SentenceTransformer has no prompts; it knows roles by methods of its own.

    Raises ``ValueError`` for a ``prompt_name`` that the model does not have.
    """
    if prompt is not None:
        return prompt
    prompts = dict(model.prompts) if is_sentence_transformer(model) else {}
    if prompt_name is None:
        default = getattr(model, "default_prompt_name", None)
        return next((prompts[name] for name in (*_PROMPTS[role], default) if name in prompts), "")
    if prompt_name not in prompts:
        known = ", ".join(map(repr, prompts)) or "none"
        raise ValueError(
            f"The model has no prompt called {prompt_name!r}; it has {known}. Choose one of them, or "
            "give the words themselves as prompt=."
        )
    return prompts[prompt_name]


def role_method(embedder: Any, role: Role | None) -> str:
    """Return the method by which an embedder of one's own encodes a role: its own, or ``encode``."""
    own = f"encode_{role}"
    return own if role is not None and callable(getattr(embedder, own, None)) else "encode"
