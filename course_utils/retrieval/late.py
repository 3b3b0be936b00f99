"""Late interaction: one vector a token, queries and texts apart, compared together.

It stands between the bi-encoder, which compares one vector with one, and the cross-encoder, which
reads both texts at once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from course_utils.models.roles import Role, role_method
from course_utils.retrieval.reranking import check_rerank, in_order
from course_utils.retrieval.searching import Hit

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


def rerank_late(
    model: "SentenceTransformer", query: str, hits: Sequence[Hit], *, k: int | None = None
) -> list[Hit]:
    """Return the same hits ordered by late interaction, with MaxSim scores and new ranks.

    ``model`` is a SentenceTransformer; its token vectors, those of the query and of the texts each
    after the model's prompt for them, are compared by ``maxsim_scores``. Any model with token vectors works, one trained for it (ColBERT, Khattab & Zaharia 2020) works
    better. ``k`` keeps the first k. Equal scores keep the order of ``hits``.

    Raises ``ValueError`` for a blank query or k < 1.
    """
    if not check_rerank(query, hits, k):
        return []
    (query_tokens,) = token_vectors(model, [query], role="query")
    documents = token_vectors(model, [hit.text for hit in hits], role="document")
    return in_order(hits, maxsim_scores(query_tokens, documents), k)


def token_vectors(
    model: "SentenceTransformer",
    texts: Sequence[str],
    *,
    role: Role | None = None,
    batch_size: int = 32,
) -> list[np.ndarray]:
    """Return one matrix a text, (tokens, d) float32 with rows of length 1: a vector for every token.

    Tokens are the model's own, its start and end marks included, and a prompt's where the ``role``
    (``"query"`` or ``"document"``) has one; texts over the model's limit are cut there. Through
    ``output_value="token_embeddings"`` of ``SentenceTransformer.encode``, ``encode_query`` or
    ``encode_document``.

    Raises ``TypeError`` when ``texts`` is one string.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one string: put it in a list, [text].")
    encode = getattr(model, role_method(model, role))
    found = encode(list(texts), output_value="token_embeddings", batch_size=batch_size)
    matrices = [np.asarray(tokens.float().cpu(), dtype=np.float32) for tokens in found]
    return [
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in matrices
    ]


def maxsim_scores(query_tokens: np.ndarray, documents: Sequence[np.ndarray]) -> np.ndarray:
    """Return how well each document covers the query, token by token: (n,) float32.

    ``query_tokens`` has shape (tokens, d); ``documents`` is a list of such matrices. A score is
    the sum over query tokens i of the largest dot product with any document token j,
    sum_i max_j q_i · d_j (Khattab & Zaharia 2020, equation 3), from -tokens to tokens for rows of
    length 1. Through ``sentence_transformers.util.maxsim`` where there is one (from version 6).

    >>> query = np.eye(2, dtype=np.float32)
    >>> maxsim_scores(query, [query, query[:1]]).tolist()
    [2.0, 1.0]
    """
    if not documents:
        return np.empty(0, np.float32)
    try:
        from sentence_transformers.util import maxsim
    except ImportError:
        return _plain_maxsim(query_tokens, documents)
    return maxsim([query_tokens], list(documents))[0].numpy()


def _plain_maxsim(query_tokens, documents):
    scores = [(query_tokens @ document.T).max(axis=1).sum() for document in documents]
    return np.array(scores, dtype=np.float32)
