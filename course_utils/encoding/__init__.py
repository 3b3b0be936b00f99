"""Text in, float32 matrix out; never the same text twice."""

from course_utils.encoding.cache import EmbeddingCache
from course_utils.encoding.embedders import AnyEmbedder, Embedder, as_embedder, dimension
from course_utils.encoding.encode import encode, encode_document, encode_query
from course_utils.encoding.speed import forecast, measure_speed, peak_memory_mb

__all__ = [
    "AnyEmbedder",
    "Embedder",
    "EmbeddingCache",
    "as_embedder",
    "dimension",
    "encode",
    "encode_document",
    "encode_query",
    "forecast",
    "measure_speed",
    "peak_memory_mb",
]
