"""Search asks with the prompt for queries among vectors made with the prompt for documents."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest

from course_utils import encode, encode_document, encode_query
from course_utils.models import fingerprints
from course_utils.models.fingerprints import fingerprint
from course_utils.retrieval import Hit, Index, build_index, search
from course_utils.retrieval.late import rerank_late, token_vectors
from course_utils.retrieval.reranking import train_cross_encoder

CORPUS = {
    "join": "Rows with equal keys on both sides are put next to each other.",
    "sum": "Adds all entries along an axis and gives the total.",
    "sort": "Puts the entries in ascending order along an axis.",
}
QUERIES = ["merge two tables", "the total of a column"]
PROMPTS = {"query": "query: ", "document": "passage: "}


@pytest.fixture
def prompted(minilm):
    model = copy.copy(minilm)
    model.prompts = dict(PROMPTS)
    return model


def scores_of(hits):
    return {hit.id: hit.score for hit in hits}


def test_scores_of_search_are_those_of_query_and_document(prompted):
    expected = encode_query(prompted, QUERIES) @ encode_document(prompted, [*CORPUS.values()]).T
    for place in (CORPUS, build_index(prompted, CORPUS)):
        for row, hits in enumerate(search(prompted, QUERIES, place, k=3)):
            for found, score in zip(CORPUS, expected[row], strict=True):
                assert scores_of(hits)[found] == pytest.approx(score, abs=1e-5)
    library = prompted.similarity(
        prompted.encode_query(QUERIES), prompted.encode_document([*CORPUS.values()])
    )
    assert np.allclose(expected, library, atol=1e-5)


def test_prompts_of_ones_own_replace_those_of_the_roles(prompted):
    index = build_index(prompted, CORPUS, prompt="text: ")
    assert (index.role, index.prompt) == ("document", "text: ")
    hits = search(prompted, QUERIES[0], index, k=3, prompt="find: ")
    expected = (
        encode(prompted, [*CORPUS.values()], prompt="text: ")
        @ encode(prompted, QUERIES[:1], prompt="find: ").T
    )
    assert [scores_of(hits)[name] for name in CORPUS] == pytest.approx(expected[:, 0], abs=1e-5)
    named = build_index(prompted, CORPUS, prompt_name="query")
    assert np.array_equal(named.matrix, encode_query(prompted, [*CORPUS.values()]))
    assert len(search(prompted, QUERIES[0], named, prompt_name="document")) == 3


def test_an_index_says_which_role_it_was_built_with_also_after_saving(prompted, tmp_path):
    index = build_index(prompted, CORPUS)
    assert index.role == "document"
    loaded = Index.load(index.save(tmp_path / "index"))
    assert (loaded.role, loaded.prompt) == ("document", None)
    assert search(prompted, QUERIES, loaded) == search(prompted, QUERIES, index)


@pytest.mark.parametrize(
    ("made", "role", "said"),
    [(encode_query, "query", "encoded as queries"), (encode, None, "neither role")],
)
def test_an_index_of_the_wrong_role_is_refused(prompted, made, role, said):
    texts = [*CORPUS.values()]
    known = fingerprint(prompted, role=role)
    index = Index.from_matrix(made(prompted, texts), texts, fingerprint=known, role=role)
    with pytest.raises(ValueError, match=said):
        search(prompted, QUERIES[0], index)


def test_an_index_built_before_the_prompts_were_set_is_refused(prompted):
    prompted.prompts = {}
    index = build_index(prompted, CORPUS)
    search(prompted, QUERIES[0], index)
    prompted.prompts = dict(PROMPTS)
    with pytest.raises(ValueError, match="vectors of this model that were"):
        search(prompted, QUERIES[0], index)


def test_where_a_model_knows_no_roles_no_index_is_refused(minilm):
    texts = [*CORPUS.values()]
    for role in (None, "query", "document"):
        known = fingerprint(minilm, role=role)
        index = Index.from_matrix(encode(minilm, texts), texts, fingerprint=known, role=role)
        assert len(search(minilm, QUERIES[0], index)) == 3


def test_an_index_of_an_earlier_version_is_read(minilm, tmp_path):
    import json

    folder = build_index(minilm, CORPUS).save(tmp_path / "index")
    about = json.loads((folder / "index.json").read_text())
    del about["role"], about["prompt"]
    (folder / "index.json").write_text(json.dumps(about))
    assert search(minilm, QUERIES[0], Index.load(folder))[0].id == "join"


def test_a_result_of_training_searches_the_index_that_it_built(minilm):
    result = SimpleNamespace(as_sentence_transformer=lambda: minilm)
    for builder, searcher in ((result, minilm), (minilm, result), (result, result)):
        assert search(searcher, QUERIES[0], build_index(builder, CORPUS))[0].id == "join"


def test_a_bare_function_searches():
    def letters(texts):
        return [
            [1 + text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts
        ]

    assert search(letters, "fox", ["a red fox", "zzz"])[0].text == "a red fox"


# The check that it is the same model


def test_a_held_index_is_checked_once_and_again_when_the_model_was_touched(minilm, monkeypatch):
    import torch

    model = copy.deepcopy(minilm)
    counted = []
    real = fingerprints.fingerprint
    monkeypatch.setattr(
        fingerprints, "fingerprint", lambda *a, **o: counted.append(1) or real(*a, **o)
    )
    index = build_index(model, CORPUS)
    assert len(counted) == 1
    for _ in range(3):
        search(model, QUERIES[0], index)
    assert len(counted) == 1
    search(minilm, QUERIES[0], index)  # the same model, loaded again: identified once
    search(minilm, QUERIES[0], index)
    assert len(counted) == 2
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01
    with pytest.raises(ValueError, match="cannot be compared"):
        search(model, QUERIES[0], index)


# What stands on search


def test_hard_negatives_are_found_by_queries(prompted, monkeypatch):
    from course_utils.retrieval import reranking

    asked = []
    monkeypatch.setattr(
        reranking,
        "encode_query",
        lambda m, texts, **o: asked.append(texts) or encode_query(m, texts),
    )
    pairs = [(f"what is {name}?", text) for name, text in CORPUS.items()]
    train_cross_encoder(
        prompted, pairs, steps=1, batch_size=3, negatives=2, show_progress_bar=False
    )
    assert sorted(asked[0]) == sorted(query for query, _ in pairs)


def test_late_interaction_takes_the_prompts(prompted):
    hits = [Hit(name, 0.0, text, 1) for name, text in CORPUS.items()]
    prompted.prompts = {"query": "", "document": ""}
    plain = scores_of(rerank_late(prompted, QUERIES[0], hits))
    prompted.prompts = dict(PROMPTS)
    assert scores_of(rerank_late(prompted, QUERIES[0], hits)) != pytest.approx(plain, abs=1e-3)
    (query,) = token_vectors(prompted, QUERIES[:1], role="query")
    (bare,) = token_vectors(prompted, QUERIES[:1])
    assert len(query) == len(bare) + len(prompted.tokenizer.tokenize("query: "))
