"""Queries and documents are encoded as sentence-transformers' own methods of those names do it."""

import copy
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from course_utils import EmbeddingCache, encode, encode_document, encode_query
from course_utils.models.fingerprints import fingerprint, glance

TEXTS = ["how do I merge two tables?", "merge", "", "a longer text about joining tables on a key"]
ROLES = {"query": encode_query, "document": encode_document}


@pytest.fixture
def prompted(minilm):
    """Return a copy of the model to which a test may give prompts."""
    model = copy.copy(minilm)
    model.prompts = {"query": "query: ", "document": "passage: ", "other": "title: "}
    return model


def library(model, role, **options):
    options = {"normalize_embeddings": True, "show_progress_bar": False, **options}
    return getattr(model, f"encode_{role}")(TEXTS, **options)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "prompts",
    [
        {"query": "query: ", "document": "passage: "},
        {"query": "query: ", "passage": "passage: ", "corpus": "corpus: "},
        {"query": "query: ", "corpus": "corpus: "},
        {"query": "", "document": ""},
        {"other": "title: "},
        {},
    ],
    ids=["document", "passage", "corpus", "blank", "other", "none"],
)
@pytest.mark.parametrize("default", [None, "other"])
def test_a_role_takes_the_prompt_that_the_library_takes(prompted, role, prompts, default):
    prompted.prompts = {**prompts, **({default: "title: "} if default else {})}
    prompted.default_prompt_name = default
    assert np.allclose(ROLES[role](prompted, TEXTS), library(prompted, role), atol=1e-5)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "options",
    [{"prompt": "ask: "}, {"prompt_name": "other"}, {"prompt": "", "prompt_name": "other"}],
    ids=str,
)
def test_a_prompt_that_is_given_stands_in_place_of_the_roles(prompted, role, options):
    found = ROLES[role](prompted, TEXTS, **options)
    assert np.allclose(found, library(prompted, role, **options), atol=1e-5)
    plain = encode(prompted, TEXTS, **options)
    assert np.array_equal(found, plain)


def test_a_prompt_changes_the_vectors_and_roles_differ(prompted):
    query, document, plain = (f(prompted, TEXTS) for f in (encode_query, encode_document, encode))
    for one, other in ((query, document), (query, plain), (document, plain)):
        assert (np.einsum("ij,ij->i", one, other) < 0.999).all()


def test_an_unknown_prompt_name_is_refused_with_those_there_are(prompted):
    for function in (encode, encode_query, encode_document):
        with pytest.raises(ValueError, match="no prompt called 'qurey'; it has 'query'"):
            function(prompted, TEXTS, prompt_name="qurey")
    with pytest.raises(ValueError, match="no prompt called 'query'; it has none"):
        encode(lambda texts: np.ones((len(texts), 2)), TEXTS, prompt_name="query")


def test_an_option_that_encode_does_not_have_is_refused(minilm):
    with pytest.raises(TypeError, match="no option 'batchsize'"):
        encode_query(minilm, TEXTS, batchsize=3)


@pytest.fixture(scope="module")
def routed(minilm):
    """Return a model that sends queries and documents through different last layers."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Router

    def dense(seed):
        torch.manual_seed(seed)
        return Dense(384, 8, activation_function=torch.nn.Identity())

    with torch.random.fork_rng():
        router = Router.for_query_document([dense(1)], [dense(2)], default_route="document")
    modules = [*copy.deepcopy(minilm)][:2]
    return SentenceTransformer(modules=[*modules, router], device="cpu")


def test_a_model_with_routes_takes_that_of_the_role(routed):
    for role, function in ROLES.items():
        assert np.allclose(function(routed, TEXTS), library(routed, role), atol=1e-5)
    assert np.allclose(encode(routed, TEXTS), encode_document(routed, TEXTS), atol=1e-6)
    assert fingerprint(routed, role="query") != fingerprint(routed, role="document")


class TwoSided:
    """An embedder of one's own that treats the two sides unlike."""

    fingerprint = "two-sided-1"

    def __init__(self):
        self.asked = []

    def _vectors(self, how, texts):
        self.asked.append((how, list(texts)))
        return [[len(text), len(how)] for text in texts]

    def encode(self, texts):
        return self._vectors("plain", texts)

    def encode_query(self, texts):
        return self._vectors("query", texts)

    def encode_document(self, texts):
        return self._vectors("document", texts)


def test_an_embedder_of_ones_own_is_asked_by_its_methods():
    embedder = TwoSided()
    for role, function in {"plain": encode, **ROLES}.items():
        function(embedder, ["a", "bb", "a"])
        assert embedder.asked.pop() == (role, ["a", "bb"])
    encode_query(embedder, ["a"], prompt="find: ")
    assert embedder.asked.pop() == ("plain", ["find: a"])


def test_an_embedder_without_such_methods_is_asked_by_encode():
    def lengths(texts):
        return [[len(text), 1] for text in texts]

    matrix = encode(lengths, TEXTS)
    assert np.array_equal(encode_query(lengths, TEXTS), matrix)
    assert np.array_equal(encode_document(SimpleNamespace(encode=lengths), TEXTS), matrix)


# Fingerprints and the cache


def test_fingerprints_tell_roles_apart_where_they_differ_and_only_there(minilm, prompted):
    def three(model):
        return {fingerprint(model, role=role) for role in (None, "query", "document")}

    assert len(three(minilm)) == 1
    assert len(three(prompted)) == 3
    assert len(three(TwoSided())) == 3
    assert fingerprint(prompted, role="query") == fingerprint(prompted, prompt="query: ")
    prompted.prompts = {"query": "same: ", "document": "same: "}
    assert fingerprint(prompted, role="query") == fingerprint(prompted, role="document")


def test_the_cache_never_hands_a_query_out_for_a_document(prompted, tmp_path):
    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        for function in (encode_query, encode_document, encode) * 2:
            assert np.array_equal(function(prompted, TEXTS, cache=cache), function(prompted, TEXTS))
        assert cache.stats()["models"] == 3


def test_a_result_of_training_is_its_model(minilm, tmp_path):
    result = SimpleNamespace(as_sentence_transformer=lambda: minilm, encode=lambda texts: 1 / 0)
    assert fingerprint(result) == fingerprint(minilm)
    long = ["word " * 400]
    with pytest.warns(UserWarning, match="longer than the model's limit"):
        found = encode(result, long)
    with pytest.warns(UserWarning, match="longer than the model's limit"):
        assert np.array_equal(found, encode(minilm, long))


def test_an_embedder_that_holds_a_model_keeps_its_own_encode(minilm):
    class Doubled:
        model = minilm

        def encode(self, texts):
            return [[len(text), 2] for text in texts]

    assert encode(Doubled(), ["abc"], normalize_embeddings=False).tolist() == [[3, 2]]


def test_a_glance_sees_what_a_training_step_and_a_user_change(minilm):
    import torch

    model = copy.deepcopy(minilm)
    before = glance(model)
    assert (
        before == glance(minilm) == glance(SimpleNamespace(as_sentence_transformer=lambda: model))
    )
    model.prompts = {**model.prompts, "query": "query: "}
    assert glance(model) != before
    model.prompts = dict(minilm.prompts)
    assert glance(model) == before
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    model(model.preprocess(["a text"]))["sentence_embedding"].sum().backward()
    optimiser.step()
    assert glance(model) != before
    assert glance(TwoSided()) is None


# Memory


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("repeats", [1, 2])
def test_beside_the_result_there_is_no_second_matrix(tmp_path, warm, repeats):
    rng = np.random.default_rng(0)
    texts = [f"text {i}" for i in range(6_000)] * repeats

    class Random:
        fingerprint = "random-1"

        def encode(self, texts):
            return rng.normal(size=(len(texts), 1024)).astype(np.float32)

    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        if warm:
            encode(Random(), texts, cache=cache)
        tracemalloc.start()
        try:
            matrix = encode(Random(), texts, cache=cache if warm else None)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 1.4 * matrix.nbytes


def test_waiting_texts_take_some_bytes_each(minilm):
    from course_utils.encoding.batches import Tokenised

    texts = [f"{i} short text" for i in range(4_000)]
    tracemalloc.start()
    try:
        waiting = Tokenised(minilm, texts, "", "warn", 32)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert waiting.tokens.sum() == len(waiting.ids)
    assert kept < 100 * len(texts)
