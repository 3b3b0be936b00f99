"""Text in, float32 matrix out; never the same text twice."""

from course_utils.encoding.cache import EmbeddingCache
from course_utils.encoding.encode import as_embedder, dimension, encode
from course_utils.encoding.speed import measure_speed, peak_memory_mb

__all__ = [
    "EmbeddingCache",
    "as_embedder",
    "dimension",
    "encode",
    "measure_speed",
    "peak_memory_mb",
]
