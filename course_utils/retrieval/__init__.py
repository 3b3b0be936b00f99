"""Search by vectors and by words, fusion and reranking of what was found, and smaller vectors."""

from course_utils.retrieval.compression import (
    QuantizedIndex,
    hamming_distances,
    quantize,
    truncate,
)
from course_utils.retrieval.fusion import fuse
from course_utils.retrieval.index import Index, build_index, recall_against_exact
from course_utils.retrieval.keywords import KeywordIndex
from course_utils.retrieval.late import (
    late_encoder,
    maxsim_scores,
    pool_tokens,
    rerank_late,
    token_vectors,
)
from course_utils.retrieval.reranking import rerank, train_cross_encoder
from course_utils.retrieval.searching import Hit, search
from course_utils.retrieval.store import Store

__all__ = [
    "Hit",
    "Index",
    "KeywordIndex",
    "QuantizedIndex",
    "Store",
    "build_index",
    "fuse",
    "hamming_distances",
    "late_encoder",
    "maxsim_scores",
    "pool_tokens",
    "quantize",
    "recall_against_exact",
    "rerank",
    "rerank_late",
    "search",
    "token_vectors",
    "train_cross_encoder",
    "truncate",
]
