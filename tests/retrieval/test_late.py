"""Late interaction with the library's encoder: projected, pooled, and the same scores as by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import Hit, late
from course_utils.retrieval.late import (
    late_encoder,
    maxsim_scores,
    pool_tokens,
    rerank_late,
    token_vectors,
)

pytest.importorskip("sentence_transformers", minversion="6")
TEXTS = ["Sort an array.", "Draw a bar chart with labels for each of the values.", "x"]


def unit_rows(rng, rows, dimensions):
    matrix = rng.normal(size=(rows, dimensions)).astype(np.float32)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


def test_without_a_projection_the_encoder_gives_the_models_own_token_vectors(minilm):
    encoder = late_encoder(minilm)
    for role in ("query", "document"):
        ours = token_vectors(encoder, TEXTS, role=role)
        for one, other in zip(ours, token_vectors(minilm, TEXTS, role=role), strict=True):
            assert np.allclose(one, other, atol=1e-4)
    hits = [Hit(str(i), 0.0, text, i + 1) for i, text in enumerate(TEXTS)]
    plain, again = (rerank_late(model, TEXTS[1], hits) for model in (minilm, encoder))
    assert [hit.id for hit in again] == [hit.id for hit in plain]
    assert [hit.score for hit in again] == pytest.approx([hit.score for hit in plain], abs=1e-2)


def test_the_projection_is_orthogonal_drawn_from_the_seed_and_leaves_the_rest_alone(minilm):
    import torch

    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    encoder = late_encoder(minilm, 32)
    assert torch.equal(torch.rand(3), expected)
    directions = encoder[1].linear.weight.detach()
    assert torch.allclose(directions @ directions.T, torch.eye(32), atol=1e-5)
    assert torch.equal(directions, late_encoder(minilm, 32)[1].linear.weight)
    assert not torch.equal(directions, late_encoder(minilm, 32, seed=1)[1].linear.weight)
    own = token_vectors(minilm, TEXTS[:1])[0] @ directions.numpy().T
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    assert np.allclose(token_vectors(encoder, TEXTS[:1])[0], own, atol=1e-4)
    with torch.no_grad():
        encoder[0].auto_model.embeddings.word_embeddings.weight.zero_()
    assert minilm[0].auto_model.embeddings.word_embeddings.weight.abs().sum() > 0


@pytest.mark.parametrize("dimensions", [0, 385])
def test_a_projection_to_more_or_less_than_there_is_is_refused(minilm, dimensions):
    with pytest.raises(ValueError, match=f"dimensions is {dimensions}"):
        late_encoder(minilm, dimensions)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.floats(1, 5), st.integers(0, 10**6))
@settings(deadline=None, max_examples=40)
def test_pooling_keeps_the_first_and_a_share_of_the_others_at_unit_length(lengths, factor, seed):
    rng = np.random.default_rng(seed)
    documents = [unit_rows(rng, length, 8) for length in lengths]
    for before, after in zip(documents, pool_tokens(documents, factor), strict=True):
        # Clusters are asked for by number; ties may give fewer, never more.
        assert 1 <= len(after) <= 1 + max(int((len(before) - 1) // factor), min(len(before) - 1, 1))
        assert np.allclose(after[0], before[0], atol=1e-5)
        assert np.allclose(np.linalg.norm(after, axis=1), 1, atol=1e-4)
        assert after.dtype == np.float32


def test_pooling_merges_what_is_alike_and_changes_nothing_else():
    one, two = np.eye(4, dtype=np.float32)[:2]
    first = np.eye(4, dtype=np.float32)[3]
    [pooled] = pool_tokens([np.array([first, one, two, one, two])], 2)
    assert len(pooled) == 3
    assert sorted(pooled[1:].round(4).tolist()) == sorted([one.tolist(), two.tolist()])
    document = [first[None], np.array([first, one])]
    assert all(np.allclose(a, b) for a, b in zip(pool_tokens(document, 1), document, strict=True))
    query = np.array([one, two])
    whole = maxsim_scores(query, [np.array([first, one, two, one, two])])
    assert np.allclose(maxsim_scores(query, [pooled]), whole, atol=1e-5)


def test_a_factor_below_1_is_refused(minilm):
    for factor in (0.5, float("nan")):
        with pytest.raises(ValueError, match="pool_factor is"):
            pool_tokens([np.eye(2, dtype=np.float32)], factor)
    with pytest.raises(ValueError, match=r"pool_factor is 0\.5"):
        rerank_late(minilm, "q", [Hit("0", 0.0, "text", 1)], pool_factor=0.5)


def test_pooled_hits_are_those_of_pooled_vectors(minilm):
    hits = [Hit(str(i), 0.0, text, i + 1) for i, text in enumerate(TEXTS)]
    again = rerank_late(minilm, TEXTS[1], hits, pool_factor=2)
    documents = pool_tokens(token_vectors(minilm, TEXTS, role="document"), 2)
    scores = maxsim_scores(token_vectors(minilm, TEXTS[1:2], role="query")[0], documents)
    assert {hit.id: hit.score for hit in again} == pytest.approx(
        {str(i): score for i, score in enumerate(scores.tolist())}, abs=1e-3
    )


def test_an_older_library_is_named_with_the_line_to_type(minilm, monkeypatch):
    import sentence_transformers

    monkeypatch.delattr(sentence_transformers, "MultiVectorEncoder")
    for action in (lambda: late_encoder(minilm), lambda: late.pool_tokens([np.eye(2)], 2)):
        with pytest.raises(ImportError, match="pip install --upgrade"):
            action()
