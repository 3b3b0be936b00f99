"""Compression: what is lost is bounded, and rescoring gives it back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import compression
from course_utils.retrieval.compression import hamming_distances, quantize, truncate
from course_utils.retrieval.index import Index, recall_against_exact

seeds = st.integers(0, 10**6)


def unit_rows(count, dimensions, seed=0):
    matrix = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def exact_search(matrix, vectors, k):
    return Index.from_matrix(matrix, [""] * len(matrix)).search(vectors, k)


@given(st.integers(1, 30), st.integers(2, 40), st.data(), seeds)
def test_truncation_keeps_the_first_columns_and_unit_length(count, dimensions, data, seed):
    kept = data.draw(st.integers(1, dimensions))
    matrix = unit_rows(count, dimensions, seed)
    short = truncate(matrix, kept)
    assert short.shape == (count, kept)
    assert short.dtype == np.float32
    assert np.allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
    # The same direction as the first columns: parallel means equal up to a positive factor.
    cosines = (short * matrix[:, :kept]).sum(axis=1) / np.linalg.norm(matrix[:, :kept], axis=1)
    assert np.allclose(cosines, 1, atol=1e-5)


def test_truncation_agrees_with_the_library():
    import torch
    from sentence_transformers.util import normalize_embeddings, truncate_embeddings

    matrix = unit_rows(20, 32)
    expected = normalize_embeddings(truncate_embeddings(torch.from_numpy(matrix), 8)).numpy()
    assert np.allclose(truncate(matrix, 8), expected, atol=1e-6)


def test_a_row_without_any_direction_left_stays_zero():
    assert truncate([[0.0, 0.0, 1.0]], 2).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("dimensions", [0, -1, 5])
def test_truncation_to_dimensions_that_are_not_there_is_refused(dimensions):
    with pytest.raises(ValueError, match="between 1 and 4"):
        truncate(unit_rows(2, 4), dimensions)


@given(st.integers(1, 40), st.integers(1, 20), seeds)
def test_an_int8_code_is_off_by_half_a_bucket_at_most(count, dimensions, seed):
    matrix = unit_rows(count, dimensions, seed)
    index = quantize(matrix, "int8")
    bucket = (matrix.max(axis=0) - matrix.min(axis=0)) / 255
    assert index.codes.dtype == np.int8
    assert (np.abs(index.decode(index.codes) - matrix) <= bucket * 0.51 + 1e-6).all()


@given(st.integers(2, 60), st.integers(1, 40), seeds)
def test_int8_dot_products_are_as_near_those_of_float32_as_the_buckets_allow(
    count, dimensions, seed
):
    matrix = unit_rows(count, dimensions, seed)
    vectors = (matrix + matrix[::-1]) / 2  # between rows, so inside the ranges: nothing is clipped
    scores, rows = quantize(matrix, "int8").search(vectors, count, rescore=0)
    exact = np.take_along_axis(vectors @ matrix.T, rows, axis=1)
    # (q + e)(d + f) - qd = qf + ed + ef, where e and f are half a bucket at most.
    half = (matrix.max(axis=0) - matrix.min(axis=0)) / 255 / 2
    bound = (half * (np.abs(vectors)[:, None] + np.abs(matrix)[None] + half)).sum(axis=2)
    assert (np.abs(scores - exact) <= np.take_along_axis(bound, rows, axis=1) * 1.02 + 1e-6).all()


def test_int8_search_finds_nearly_what_float32_finds():
    matrix, vectors = unit_rows(1000, 64), unit_rows(30, 64, seed=1)
    exact = exact_search(matrix, vectors, 10)[1]
    assert recall_against_exact(quantize(matrix).search(vectors, 10, rescore=0)[1], exact) > 0.9


def test_queries_are_coded_by_the_ranges_of_the_corpus():
    from sentence_transformers.util.quantization import quantize_embeddings

    matrix, vectors = unit_rows(200, 16), unit_rows(5, 16, seed=1)
    index = quantize(matrix, "int8")
    ranges = np.stack([matrix.min(axis=0), matrix.max(axis=0)])
    assert np.array_equal(index.ranges, ranges)
    expected = quantize_embeddings(vectors, precision="int8", ranges=ranges)
    assert np.array_equal(index.encode(vectors), expected)
    # One query and all of them are coded alike; ranges taken per call could not do that.
    assert np.array_equal(index.encode(vectors[:1]), expected[:1])
    # Each query as its own calibration, the mistake this guards against, gives other codes.
    assert not np.array_equal(quantize(vectors, "int8").codes, expected)


def test_numbers_beyond_the_ranges_are_clipped_not_wrapped():
    index = quantize([[0.0, 5.0], [1.0, 5.0]], "int8")
    assert index.encode([[9.0, 5.0], [-9.0, 5.0]])[:, 0].tolist() == [127, -128]
    # The second column never changes: its one value comes back whole.
    assert index.decode(index.codes)[:, 1].tolist() == [5.0, 5.0]


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 12), seeds)
def test_hamming_distance_counts_differing_bits(rows, columns, width, seed):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, (rows, width), dtype=np.uint8)
    b = rng.integers(0, 256, (columns, width), dtype=np.uint8)
    bits_a, bits_b = np.unpackbits(a, axis=1), np.unpackbits(b, axis=1)
    expected = (bits_a[:, None, :] != bits_b[None, :, :]).sum(axis=2)
    assert np.array_equal(hamming_distances(a, b), expected)


def test_counting_bits_by_table_agrees_with_the_instruction(monkeypatch):
    words = np.random.default_rng(0).integers(0, 2**64, (7, 9), dtype=np.uint64)
    expected = [[int(word).bit_count() for word in row] for row in words]
    assert compression._count_ones(words).tolist() == expected
    monkeypatch.delattr(np, "bitwise_count", raising=False)
    assert compression._count_ones(words).tolist() == expected
    a = words.view(np.uint8)
    assert hamming_distances(a, a).diagonal().tolist() == [0] * 7


def test_binary_search_orders_by_the_number_of_equal_signs():
    matrix, vectors = unit_rows(300, 20), unit_rows(10, 20, seed=1)
    scores, rows = quantize(matrix, "binary").search(vectors, 300, rescore=0)
    equal = (np.sign(vectors)[:, None] == np.sign(matrix)[None]).sum(axis=2)
    assert np.allclose(scores, np.take_along_axis(2 * equal / 20 - 1, rows, axis=1), atol=1e-6)
    expected = [sorted(range(300), key=lambda c, row=row: (-row[c], c)) for row in equal]
    assert rows.tolist() == expected


@pytest.mark.parametrize("kind", ["int8", "binary"])
@given(st.integers(1, 30), st.integers(1, 40), seeds)
@settings(deadline=None)
def test_rescoring_every_candidate_is_exact_search(kind, count, k, seed):
    # Whole numbers, so that dot products are exact and ties are real.
    rng = np.random.default_rng(seed)
    matrix = rng.integers(-3, 4, (count, 6)).astype(np.float32)
    vectors = rng.integers(-3, 4, (3, 6)).astype(np.float32)
    scores, rows = quantize(matrix, kind).search(vectors, k, rescore=count, originals=matrix)
    exact_scores, exact_rows = exact_search(matrix, vectors, k)
    assert rows.tolist() == exact_rows.tolist()
    assert scores.tolist() == exact_scores.tolist()


@pytest.mark.parametrize("kind", ["int8", "binary"])
def test_rescoring_more_candidates_finds_no_less(kind):
    matrix, vectors = unit_rows(2000, 64), unit_rows(40, 64, seed=1)
    exact = exact_search(matrix, vectors, 10)[1]
    index = quantize(matrix, kind)
    found = [
        recall_against_exact(index.search(vectors, 10, rescore=r, originals=matrix)[1], exact)
        for r in (1, 4, 16, 200)
    ]
    assert found == sorted(found)
    assert found[-1] == 1
    assert found[0] < 1


def test_rescoring_bits_without_originals_compares_the_query_with_signs():
    matrix, vectors = unit_rows(500, 48), unit_rows(20, 48, seed=1)
    index = quantize(matrix, "binary")
    scores, rows = index.search(vectors, 5, rescore=100)
    signs = np.where(matrix > 0, 1, -1) / 48**0.5
    assert np.allclose(scores, np.take_along_axis(vectors @ signs.T, rows, axis=1), atol=1e-5)
    exact = exact_search(matrix, vectors, 5)[1]
    plain = index.search(vectors, 5, rescore=0)[1]
    assert recall_against_exact(rows, exact) > recall_against_exact(plain, exact)


def test_sizes_are_a_quarter_and_a_thirty_second():
    matrix = unit_rows(100, 384)
    int8, binary = quantize(matrix, "int8"), quantize(matrix, "binary")
    assert int8.nbytes == 100 * 384 + 2 * 384 * 4
    assert binary.nbytes == matrix.nbytes // 32
    assert len(int8) == len(binary) == 100


def test_what_cannot_be_compressed_or_searched_is_refused():
    index = quantize(unit_rows(10, 8), "int8")
    with pytest.raises(ValueError, match="no rows"):
        quantize(np.empty((0, 8)))
    with pytest.raises(ValueError, match="'int8' or 'binary'"):
        quantize(unit_rows(3, 8), "int4")
    with pytest.raises(ValueError, match="row 0 holds NaN"):
        quantize([[np.nan, 1.0]])
    with pytest.raises(ValueError, match="4 dimensions, the index has 8"):
        index.search(unit_rows(1, 4), 3)
    with pytest.raises(ValueError, match="at least 1"):
        index.search(unit_rows(1, 8), 0)
    with pytest.raises(ValueError, match="rescore is -1"):
        index.search(unit_rows(1, 8), 3, rescore=-1)
    with pytest.raises(ValueError, match="originals has shape"):
        index.search(unit_rows(1, 8), 3, originals=unit_rows(9, 8))


@pytest.mark.parametrize("kind", ["int8", "binary"])
@pytest.mark.parametrize("rescore", [0, 4])
def test_no_queries_give_empty_results(kind, rescore):
    scores, rows = quantize(unit_rows(10, 8), kind).search(np.empty((0, 8)), 3, rescore=rescore)
    assert scores.shape == rows.shape == (0, 3)
