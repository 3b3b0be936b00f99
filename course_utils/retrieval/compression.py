"""Smaller vectors: fewer dimensions, or fewer bits a dimension, and what that costs.

A float32 vector of 384 dimensions takes 1,536 bytes. Truncated to 128 dimensions it takes 512, as
int8 384, as bits 48. Each makes mistakes; comparing a few candidates again in float32 (rescoring)
mends most of them.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import finite_matrix
from course_utils.retrieval.index import check_k
from course_utils.retrieval.kinds import scan, top_k

_PRECISIONS = {"int8": "int8", "binary": "ubinary"}  # unsigned, so that bits can be counted


def truncate(matrix: ArrayLike, truncate_dim: int) -> np.ndarray:
    """Return the first ``truncate_dim`` columns of ``matrix``, rows of length 1 again, float32.

    ``matrix`` has shape (n, d), the result (n, truncate_dim). A model trained for it (Matryoshka
    Representation Learning, Kusupati et al. 2022) puts the most important features first; any
    other model loses more. A row that is zero in the kept columns stays zero.

    Raises ``ValueError`` unless 1 <= truncate_dim <= d, and for NaN or infinite numbers.

    >>> truncate([[3.0, 4.0, 12.0]], 2).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """
    matrix = finite_matrix(matrix, "matrix")
    if not 1 <= truncate_dim <= matrix.shape[1]:
        raise ValueError(
            f"truncate_dim is {truncate_dim}: the vectors have {matrix.shape[1]}, "
            f"so choose between 1 and {matrix.shape[1]}."
        )
    kept = matrix[:, :truncate_dim]
    lengths = np.linalg.norm(kept, axis=1, keepdims=True)
    return kept / np.where(lengths == 0, 1, lengths)


@dataclass(frozen=True, eq=False)
class QuantizedIndex:
    """Document vectors at one byte or one bit a dimension, ready to be searched.

    ``precision`` is ``"int8"`` or ``"binary"``. ``codes`` has shape (n, d) int8, or (n, ceil(d / 8))
    uint8 with eight dimensions a byte. ``ranges``, (2, d) float32, holds the smallest and largest
    number the corpus has in each dimension, and is None for bits. Rows keep the order of the
    matrix that ``quantize`` was given, so they are the rows of an
    ``Index`` of it.
    """

    precision: str
    codes: np.ndarray
    ranges: np.ndarray | None
    dimensions: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes that the codes and ranges take in memory."""
        return self.codes.nbytes + (0 if self.ranges is None else self.ranges.nbytes)

    def encode(self, vectors: ArrayLike) -> np.ndarray:
        """Return the codes of ``vectors`` (m, d), always by this index's own ranges.

        Numbers outside the ranges are clipped. Through sentence-transformers'
        ``quantize_embeddings``, which computes new ranges on every call that brings none: codes of
        queries and documents would then mean different numbers.
        """
        return _codes(self._checked(vectors), self.precision, self.ranges)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Return the float32 vectors (m, d) that ``codes`` stand for.

        An int8 code stands for the middle of its bucket, the range in 255 parts; a bit for
        ±1/sqrt(d), so that the vector has length 1.
        """
        if self.precision == "binary":
            bits = np.unpackbits(codes, axis=1, count=self.dimensions)
            return (bits.astype(np.float32) * 2 - 1) / np.float32(self.dimensions**0.5)
        low, high = np.asarray(self.ranges)
        step = (high - low) / np.float32(255)
        return low + (codes.astype(np.float32) + np.float32(128.5)) * step

    def search(
        self, vectors: ArrayLike, k: int, *, rescore: int = 4, originals: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the k best rows for each vector: scores (q, k) float32 and row numbers (q, k) int64.

        Two steps. First codes are compared with codes: int8 by the dot product of what they stand
        for, bits by the Hamming distance h, as the score 1 - 2h/d. Then the best ``rescore * k``
        are scored again with the float32 query, against ``originals[row]`` where ``originals``,
        the (n, d) float32 matrix or a memory map of it, is given, else against the decoded codes
        (for bits, Yamada et al. 2021, section 3.2). ``rescore=0`` leaves the second step out.
        Order, ties and k > n are as in ``course_utils.retrieval.index.Index.search``.

        Raises ``ValueError`` for k < 1, ``rescore`` < 0, another number of dimensions than the
        index's, ``originals`` of another shape, and NaN or infinite numbers.
        """
        queries, k = self._checked(vectors), min(check_k(k), len(self))
        if rescore < 0:
            raise ValueError(f"rescore is {rescore}: give 0 for none, or how many times k.")
        if originals is not None and originals.shape != (len(self), self.dimensions):
            raise ValueError(
                f"originals has shape {originals.shape}, the index ({len(self)}, "
                f"{self.dimensions}): give the matrix that the index was made from."
            )
        if not rescore:
            return self._compare_codes(queries, k)
        _, rows = self._compare_codes(queries, rescore * k)
        # In ascending row order a tie goes to the lower column, and so to the lower row.
        rows = np.sort(rows, axis=1)
        scores = np.empty(rows.shape, np.float32)
        for query, candidates in enumerate(rows):
            if originals is None:
                documents = self.decode(self.codes[candidates])
            else:
                documents = np.asarray(originals[candidates], dtype=np.float32)
            scores[query] = documents @ queries[query]
        scores, columns = top_k(scores, k)
        return scores, np.take_along_axis(rows, columns, axis=1)

    def _compare_codes(self, vectors, k):
        codes = self.encode(vectors)
        if self.precision == "binary":
            return scan(codes, self.codes, k, self._hamming_scores)
        return scan(self.decode(codes), self.codes, k, lambda q, c: q @ self.decode(c).T)

    def _hamming_scores(self, queries, documents):
        distances = hamming_distances(queries, documents)
        return 1 - distances.astype(np.float32) * np.float32(2 / self.dimensions)

    def _checked(self, vectors):
        vectors = finite_matrix(vectors, "vectors")
        if vectors.shape[1] != self.dimensions:
            raise ValueError(
                f"vectors have {vectors.shape[1]} dimensions, the index has {self.dimensions}: "
                "encode and truncate queries as the documents were."
            )
        return vectors


def quantize(matrix: ArrayLike, precision: str = "int8") -> QuantizedIndex:
    """Return a ``QuantizedIndex`` of ``matrix`` (n, d), with a byte or a bit a dimension.

    ``precision="int8"`` cuts each dimension's range in the corpus into 255 parts, a quarter of the size
    of float32. The ranges are found once, here, and used for every query. ``precision="binary"`` keeps
    the sign alone, 1/32 of the size. Both through sentence-transformers' ``quantize_embeddings``.

    Raises ``ValueError`` for an unknown precision, no rows, and NaN or infinite numbers.

    >>> index = quantize([[0.6, -0.8], [-0.8, 0.6]], "binary")
    >>> index.codes.tolist(), index.nbytes
    ([[128], [64]], 2)
    """
    if precision not in _PRECISIONS:
        raise ValueError(f"There is no precision {precision!r}: choose 'int8' or 'binary'.")
    matrix = finite_matrix(matrix, "matrix")
    if not len(matrix):
        raise ValueError("There is nothing to quantize: matrix has no rows. Give at least one.")
    ranges = np.stack([matrix.min(axis=0), matrix.max(axis=0)]) if precision == "int8" else None
    return QuantizedIndex(precision, _codes(matrix, precision, ranges), ranges, matrix.shape[1])


def hamming_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the number of bits in which each row of ``a`` differs from each row of ``b``.

    Both are packed bits, uint8, of shapes (m, bytes) and (n, bytes); the result is (m, n) int32.
    Brute force: exclusive or, then a count of ones, eight bytes at a time. The faiss and usearch
    routes of sentence-transformers do the same, and need those packages.

    >>> hamming_distances(np.array([[0b1100]], np.uint8), np.array([[0b1010]], np.uint8)).tolist()
    [[2]]
    """
    a, b = _words(a), _words(b)
    distances = np.zeros((len(a), len(b)), np.int32)
    for word in range(a.shape[1]):
        distances += _count_ones(a[:, None, word] ^ b[None, :, word])
    return distances


def _words(codes):
    padding = -codes.shape[1] % 8
    return np.ascontiguousarray(np.pad(codes, ((0, 0), (0, padding)))).view(np.uint64)


def _count_ones(words):
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(words)
    # NumPy 1.26 has no instruction for it: look each byte up.
    table = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(
        axis=1, dtype=np.uint8
    )
    return table[words[..., None].view(np.uint8)].sum(axis=-1, dtype=np.uint8)


def _codes(matrix, precision, ranges):
    from sentence_transformers.util.quantization import quantize_embeddings

    return quantize_embeddings(matrix, precision=_PRECISIONS[precision], ranges=ranges)
