"""Two models are mixed weight by weight, and only where one came from the other."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from course_utils import load_model
from course_utils.adaptation import interpolate_models

from .toys import same, tsdae, weights


@pytest.fixture(scope="module")
def pair_of_models(folder_of_tiny):
    start = load_model(folder_of_tiny, device="cpu")
    return start, tsdae(start)


@given(alpha=st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_models_are_interpolated_weight_by_weight(pair_of_models, alpha):
    start, result = pair_of_models
    before, end = weights(start), weights(result.model)
    for trained in (result, result.model):
        for name, weight in weights(interpolate_models(start, trained, alpha)).items():
            expected = (1 - alpha) * before[name] + alpha * end[name]
            assert torch.allclose(weight, expected, atol=1e-6)
    assert same(weights(start), before)
    assert same(weights(result.model), end)


def test_the_ends_are_the_models_themselves(pair_of_models):
    start, result = pair_of_models
    assert same(weights(interpolate_models(start, result, 0)), weights(start))
    assert same(weights(interpolate_models(start, result, 1)), weights(result.model))


def test_interpolation_refuses_what_does_not_belong_together(pair_of_models):
    start, _ = pair_of_models
    with pytest.raises(ValueError, match=r"alpha is 1\.5"):
        interpolate_models(start, start, 1.5)
    other = SentenceTransformer(modules=[start[0]], device="cpu")
    with pytest.raises(ValueError, match="was not adapted from"):
        interpolate_models(start[0].auto_model.embeddings, other, 0.5)
