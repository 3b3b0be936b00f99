"""Late interaction: one vector a token, queries and texts apart, compared together.

It stands between the bi-encoder, which compares one vector with one, and the cross-encoder, which
reads both texts at once.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, Union

import numpy as np

from course_utils.models.roles import Role, role_method
from course_utils.retrieval.reranking import check_rerank, in_order
from course_utils.retrieval.searching import Hit

if TYPE_CHECKING:
    from sentence_transformers import MultiVectorEncoder, SentenceTransformer


def rerank_late(
    model: Union["SentenceTransformer", "MultiVectorEncoder"],
    query: str,
    hits: Sequence[Hit],
    *,
    k: int | None = None,
    pool_factor: float = 1,
) -> list[Hit]:
    """Return the same hits ordered by late interaction, with MaxSim scores and new ranks.

    ``model`` is a SentenceTransformer or a MultiVectorEncoder; its token vectors, those of the query and
    of the texts each after the model's prompt for them, are compared by ``maxsim_scores``. Any model
    with token vectors works, one trained for it (ColBERT, Khattab & Zaharia 2020) works better. ``k``
    keeps the first k, ``pool_factor`` is that of ``pool_tokens``, for the texts. Equal scores keep the
    order of ``hits``.

    Raises ``ValueError`` for a blank query, k < 1 or a ``pool_factor`` < 1.
    """
    if not check_rerank(query, hits, k):
        return []
    (query_tokens,) = token_vectors(model, [query], role="query")
    documents = token_vectors(model, [hit.text for hit in hits], role="document")
    if pool_factor != 1:
        documents = pool_tokens(documents, pool_factor)
    return in_order(hits, maxsim_scores(query_tokens, documents), k)


def late_encoder(
    model: "SentenceTransformer", dimensions: int | None = None, *, seed: int = 0
) -> "MultiVectorEncoder":
    """Return a ``MultiVectorEncoder`` with a copy of ``model``'s own transformer and prompts.

    Its vectors are the model's token vectors, of length 1. With ``dimensions`` they pass a projection
    first, as in ColBERT (Khattab & Zaharia 2020, section 3.2): at random orthogonal directions, drawn
    from ``seed``, so it wants training; ``MultiVectorEncoderTrainer`` of sentence-transformers does that.

    Raises ``ImportError`` before version 6 of sentence-transformers, ``ValueError`` unless ``dimensions``
    is between 1 and the model's own number.
    """
    _needs_version_6("A MultiVectorEncoder")
    import torch
    from sentence_transformers import MultiVectorEncoder
    from sentence_transformers.base.modules import Normalize
    from sentence_transformers.base.modules.dense import Dense
    from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask

    transformer: Any = deepcopy(model[0])
    name, width = "token_embeddings", transformer.get_embedding_dimension()
    modules = [transformer, MultiVectorMask(), Normalize(module_input_name=name)]
    if dimensions is not None:
        if not 1 <= dimensions <= width:
            raise ValueError(f"dimensions is {dimensions}: choose between 1 and {width}.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            projection = Dense(
                width,
                dimensions,
                bias=False,
                activation_function=torch.nn.Identity(),
                init_weight=torch.nn.init.orthogonal_(torch.empty(dimensions, width)),
                module_input_name=name,
            )
        modules.insert(1, projection)
    prompts: Any = dict(model.prompts or {})
    return MultiVectorEncoder(modules=modules, device=str(model.device), prompts=prompts)


def pool_tokens(documents: Sequence[np.ndarray], pool_factor: float) -> list[np.ndarray]:
    """Return the token vectors of texts with like ones merged: about 1 / ``pool_factor`` as many.

    ``documents`` is a list of (tokens, d) matrices with rows of length 1; so is the result, float32.
    The vectors of a text, but for the first, are clustered by their cosines (Ward), and each cluster
    becomes its mean, brought to length 1: ``HierarchicalTokenPooling`` of sentence-transformers, after
    Clavié, Chaffin & Adams 2024, *Reducing the Footprint of Multi-Vector Retrieval with Minimal
    Performance Impact via Token Pooling*. Queries stay as they are.

    Raises ``ValueError`` for a ``pool_factor`` below 1, ``ImportError`` before version 6 of
    sentence-transformers.
    """
    if not pool_factor >= 1:
        raise ValueError(f"pool_factor is {pool_factor}: give 2 to keep half of the vectors, say.")
    _needs_version_6("Token pooling")
    import torch
    from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling

    pooling = HierarchicalTokenPooling(pool_factor)
    matrices = [torch.from_numpy(np.array(matrix, dtype=np.float32)) for matrix in documents]
    return [pooled.numpy() for pooled in pooling.pool(matrices)]


def token_vectors(
    model: Union["SentenceTransformer", "MultiVectorEncoder"],
    texts: Sequence[str],
    *,
    role: Role | None = None,
    batch_size: int = 32,
) -> list[np.ndarray]:
    """Return one matrix a text, (tokens, d) float32 with rows of length 1: a vector for every token.

    Tokens are the model's own, its start and end marks included, and a prompt's where the ``role``
    (``"query"`` or ``"document"``) has one; texts over the model's limit are cut there. Through
    ``output_value="token_embeddings"`` of ``encode``, ``encode_query`` or ``encode_document`` of a
    SentenceTransformer or MultiVectorEncoder.

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


def _needs_version_6(what):
    import sentence_transformers

    if not hasattr(sentence_transformers, "MultiVectorEncoder"):
        raise ImportError(
            f"{what} needs sentence-transformers 6, and this is {sentence_transformers.__version__}. "
            "Run: pip install --upgrade 'sentence-transformers>=6'"
        )
