"""Reranking: a second look reorders the hits it is given, and adds none."""

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import Hit, build_index, late, reranking, search
from course_utils.retrieval.late import maxsim_scores, rerank_late, token_vectors
from course_utils.retrieval.reranking import rerank, train_cross_encoder

TOPICS = {
    "Return the sum of array elements.": "Adds all entries along an axis and gives the total.",
    "Compute the matrix inverse.": "The result times the input is the identity matrix.",
    "Draw a bar chart.": "Rectangles with heights that show the values of each category.",
    "Read a table from a file.": "Parses lines separated by commas into rows and columns.",
    "Sort an array.": "Puts the entries in ascending order along an axis.",
    "Sample from a normal distribution.": "Draws random numbers around a mean.",
    "Join two tables.": "Rows with equal keys on both sides are put next to each other.",
    "Integrate a function.": "Approximates the area under the curve between two limits.",
}
PAIRS = list(TOPICS.items())


class ByTable:
    """A reranker that knows each text's score."""

    def __init__(self, scores):
        self.scores = scores

    def rank(self, query, texts):
        results = [{"corpus_id": i, "score": self.scores[text]} for i, text in enumerate(texts)]
        return sorted(results, key=lambda result: result["score"], reverse=True)


def hits_of(*scores):
    ordered = sorted(scores, reverse=True)
    return [Hit(f"id{i}", score, f"text{i}", i + 1) for i, score in enumerate(ordered)]


@pytest.fixture(scope="module")
def trained(minilm):
    return train_cross_encoder(
        minilm, PAIRS, steps=3, batch_size=2, negatives=2, show_progress_bar=False
    )


def test_reranking_orders_the_same_hits_by_the_new_scores():
    hits = hits_of(0.9, 0.8, 0.7)
    again = rerank(ByTable({"text0": 1.0, "text1": -2.0, "text2": 5.0}), "q", hits)
    assert [hit.id for hit in again] == ["id2", "id0", "id1"]
    assert [hit.score for hit in again] == [5.0, 1.0, -2.0]
    assert [hit.rank for hit in again] == [1, 2, 3]
    assert [hit.text for hit in again] == ["text2", "text0", "text1"]
    assert [hit.rank for hit in hits] == [1, 2, 3]


def test_k_keeps_the_first_and_equal_scores_keep_their_order():
    flat = ByTable({"text0": 1.0, "text1": 1.0, "text2": 1.0})
    assert [hit.id for hit in rerank(flat, "q", hits_of(3, 2, 1))] == ["id0", "id1", "id2"]
    assert [hit.id for hit in rerank(flat, "q", hits_of(3, 2, 1), k=2)] == ["id0", "id1"]
    assert len(rerank(flat, "q", hits_of(3, 2, 1), k=10)) == 3
    assert rerank(flat, "q", []) == []


@settings(deadline=None)
@given(
    st.lists(st.floats(-5, 5), min_size=1, max_size=12),
    st.floats(0, 1),
    st.floats(0.01, 100),
    st.floats(-50, 50),
)
def test_weighted_scores_do_not_depend_on_the_rerankers_scale(scores, weight, factor, shift):
    hits = hits_of(*scores)
    rng = np.random.default_rng(0)
    table = {hit.text: value for hit, value in zip(hits, rng.permutation(len(hits)), strict=True)}
    scaled = {text: factor * value + shift for text, value in table.items()}
    if weight == 1:
        return
    one = {hit.id: hit.score for hit in rerank(ByTable(table), "q", hits, weight=weight)}
    two = {hit.id: hit.score for hit in rerank(ByTable(scaled), "q", hits, weight=weight)}
    assert two == pytest.approx(one, abs=1e-6)


def test_weight_runs_from_the_search_alone_to_the_cross_encoder_alone():
    hits, backwards = hits_of(0.9, 0.5, 0.1), ByTable({"text0": 0, "text1": 1, "text2": 2})
    assert [hit.id for hit in rerank(backwards, "q", hits, weight=0)] == ["id0", "id1", "id2"]
    assert [hit.id for hit in rerank(backwards, "q", hits, weight=0.9)] == ["id2", "id1", "id0"]
    # 0.9 0.5 0.1 and 0 1 2 are opposite and evenly spaced: at one half they cancel out.
    assert [hit.score for hit in rerank(backwards, "q", hits, weight=0.5)] == pytest.approx([0] * 3)


class BestTwo(ByTable):
    """A reranker that returns its best two, as a service does that is asked for its best n."""

    def rank(self, query, texts):
        return super().rank(query, texts)[:2]


def test_what_a_ranker_leaves_out_is_left_out():
    hits = hits_of(0.9, 0.8, 0.7, 0.6)
    again = rerank(BestTwo({"text0": 1, "text1": 7, "text2": 3, "text3": 2}), "q", hits)
    assert [(hit.id, hit.score, hit.rank) for hit in again] == [("id1", 7, 1), ("id2", 3, 2)]
    with pytest.raises(ValueError, match="scored 2 of 4 texts"):
        rerank(BestTwo({hit.text: hit.rank for hit in hits}), "q", hits, weight=0.5)


@pytest.mark.parametrize(
    ("results", "said"),
    [([0, 1, 1], "corpus_id 1 .* a second time"), ([0, 5], "corpus_id 5"), ([-1], "corpus_id -1")],
)
def test_a_ranker_that_miscounts_is_refused(results, said):
    class Wrong:
        def rank(self, query, texts):
            return [{"corpus_id": place, "score": 1.0} for place in results]

    with pytest.raises(ValueError, match=said):
        rerank(Wrong(), "q", hits_of(0.9, 0.8))


def test_bad_arguments_to_reranking_are_refused():
    with pytest.raises(ValueError, match="blank"):
        rerank(ByTable({}), " ", hits_of(1.0))
    with pytest.raises(ValueError, match="at least 1"):
        rerank(ByTable({}), "q", hits_of(1.0), k=0)
    with pytest.raises(ValueError, match=r"weight is 1\.5"):
        rerank(ByTable({}), "q", hits_of(1.0), weight=1.5)


def test_scores_are_those_of_the_cross_encoder(trained):
    hits = [Hit(str(i), 0.0, text, i + 1) for i, (_, text) in enumerate(PAIRS)]
    again = rerank(trained, "Sort an array.", hits)
    expected = trained.predict([("Sort an array.", hit.text) for hit in again])
    assert np.allclose([hit.score for hit in again], expected, atol=1e-5)
    assert sorted(hit.id for hit in again) == sorted(hit.id for hit in hits)


def plain_maxsim(query, document):
    """The definition, one token at a time."""
    return sum(max(float(np.dot(q, d)) for d in document) for q in query)


@given(
    st.integers(1, 6), st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(0, 10**6)
)
@settings(deadline=None)
def test_maxsim_sums_each_query_tokens_best_match(query_tokens, lengths, seed):
    rng = np.random.default_rng(seed)
    query = rng.normal(size=(query_tokens, 8)).astype(np.float32)
    documents = [rng.normal(size=(length, 8)).astype(np.float32) for length in lengths]
    expected = [plain_maxsim(query, document) for document in documents]
    assert np.allclose(maxsim_scores(query, documents), expected, atol=1e-4)
    assert np.allclose(late._plain_maxsim(query, documents), expected, atol=1e-4)


def test_maxsim_works_without_the_librarys_own(monkeypatch):
    import sentence_transformers.util

    monkeypatch.delattr(sentence_transformers.util, "maxsim", raising=False)
    assert maxsim_scores(np.eye(2, dtype=np.float32), [np.eye(2, dtype=np.float32)]).tolist() == [2]


def test_token_vectors_are_one_unit_row_a_token(minilm):
    texts = ["a short text", "a text that has some more words in it", "x"]
    found = token_vectors(minilm, texts)
    assert [len(rows) for rows in found] == [
        len(minilm.tokenizer(text)["input_ids"]) for text in texts
    ]
    assert all(rows.dtype == np.float32 and rows.shape[1] == 384 for rows in found)
    assert all(np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5) for rows in found)
    # Padding must not leak: a text alone has the same vectors as beside a longer one.
    assert np.allclose(token_vectors(minilm, texts[:1])[0], found[0], atol=1e-4)
    # This model's sentence vector is the mean of its token vectors before they are normalised.
    raw = minilm.encode(texts[:1], output_value="token_embeddings")[0].numpy()
    mean = raw.mean(axis=0) / np.linalg.norm(raw.mean(axis=0))
    assert np.allclose(mean, minilm.encode(texts[0]), atol=1e-5)
    with pytest.raises(TypeError, match="one string"):
        token_vectors(minilm, "text")


def test_late_interaction_puts_the_text_itself_first(minilm):
    texts = [text for _, text in PAIRS]
    hits = [Hit(str(i), 0.0, text, i + 1) for i, text in enumerate(texts)]
    again = rerank_late(minilm, texts[5], hits, k=3)
    assert again[0].id == "5"
    # Every token finds itself, with a cosine of 1.
    assert again[0].score == pytest.approx(len(minilm.tokenizer(texts[5])["input_ids"]), abs=1e-3)
    assert [hit.rank for hit in again] == [1, 2, 3]
    assert rerank_late(minilm, "q", []) == []


def test_training_is_reproducible_and_leaves_the_model_and_the_generator_alone(minilm, trained):
    import torch

    before = {name: weight.clone() for name, weight in minilm.state_dict().items()}
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    again = train_cross_encoder(
        minilm, PAIRS, steps=3, batch_size=2, negatives=2, show_progress_bar=False
    )
    assert torch.equal(torch.rand(3), expected)
    for name, weight in trained.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name]), name
    for name, weight in minilm.state_dict().items():
        assert torch.equal(weight, before[name]), name
    other = train_cross_encoder(
        minilm, PAIRS, steps=3, batch_size=2, negatives=2, seed=1, show_progress_bar=False
    )
    pair = [PAIRS[0]]
    assert not np.array_equal(other.predict(pair), trained.predict(pair))


def test_training_starts_from_the_weights_in_memory(minilm):
    import copy

    import torch

    changed = copy.deepcopy(minilm)
    with torch.no_grad():
        changed[0].auto_model.embeddings.word_embeddings.weight.mul_(0.5)
    built = reranking._new_cross_encoder(changed, 64, 0)
    assert torch.equal(
        built.model.base_model.embeddings.word_embeddings.weight,
        changed[0].auto_model.embeddings.word_embeddings.weight,
    )


def test_training_lowers_the_loss_on_its_own_pairs(minilm):
    trained = train_cross_encoder(
        minilm, PAIRS, steps=30, batch_size=4, negatives=3, show_progress_bar=False
    )
    ranks = []
    for query, relevant in PAIRS:
        hits = [Hit(str(i), 0.0, text, i + 1) for i, (_, text) in enumerate(PAIRS)]
        ranks += [hit.rank for hit in rerank(trained, query, hits) if hit.text == relevant]
    # Guessing among eight puts the right text at 4.5 on average.
    assert np.mean(ranks) < 2


def test_a_second_call_loads_what_the_first_saved(minilm, tmp_path, monkeypatch):
    settings = {"steps": 2, "batch_size": 2, "negatives": 2, "show_progress_bar": False}
    first = train_cross_encoder(minilm, PAIRS, folder=tmp_path, **settings)
    [saved] = tmp_path.iterdir()
    assert (saved / "model.safetensors").is_file()
    assert not [path for path in saved.rglob("*") if path.suffix in {".bin", ".pkl", ".pt"}]

    def refuse(*args, **kwargs):
        raise AssertionError("trained again")

    with monkeypatch.context() as patch:
        patch.setattr(reranking, "_fit", refuse)
        second = train_cross_encoder(minilm, PAIRS, folder=tmp_path, **settings)
        for changed in (
            {"seed": 1},
            {"max_tokens": 65},
            {"frozen_share": 0},
            {"relative_margin": 0},
        ):
            with pytest.raises(AssertionError, match="trained again"):
                train_cross_encoder(minilm, PAIRS, folder=tmp_path, **settings | changed)
        with pytest.raises(AssertionError, match="trained again"):
            train_cross_encoder(minilm, PAIRS[1:], folder=tmp_path, **settings)
    assert np.allclose(first.predict(PAIRS), second.predict(PAIRS), atol=1e-6)
    assert second.max_seq_length == first.max_seq_length == 64

    (saved / "config.json").write_text("{")
    with pytest.raises(ValueError, match="delete that folder"):
        train_cross_encoder(minilm, PAIRS, folder=tmp_path, **settings)


@pytest.mark.parametrize("moment", ["training", "saving"])
def test_an_interrupted_training_leaves_nothing_behind(minilm, tmp_path, monkeypatch, moment):
    import torch
    from sentence_transformers import CrossEncoder

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    if moment == "training":
        monkeypatch.setattr(torch.optim.AdamW, "step", interrupt)
    else:
        real = CrossEncoder.save_pretrained

        def half(self, path, *args, **kwargs):
            real(self, path, *args, **kwargs)
            raise KeyboardInterrupt

        monkeypatch.setattr(CrossEncoder, "save_pretrained", half)
    with pytest.raises(KeyboardInterrupt):
        train_cross_encoder(
            minilm, PAIRS, steps=1, batch_size=1, negatives=1, folder=tmp_path / "new",
            show_progress_bar=False,
        )  # fmt: skip
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_negatives_are_hard_then_drawn_and_never_relevant(minilm):
    pairs = [*PAIRS, (PAIRS[0][0], PAIRS[4][1])]  # the first query has two relevant texts
    index = build_index(minilm, [text for _, text in PAIRS])
    rng = np.random.default_rng(0)
    chosen = list(range(len(pairs))) * 3
    groups = reranking._with_negatives(minilm, chosen, pairs, index, 4, (0.5, None), rng, None)
    relevant = {query: {text for other, text in pairs if other == query} for query, _ in pairs}
    for number, (query, text, *negatives) in zip(chosen, groups, strict=True):
        assert (query, text) == pairs[number]
        assert len(set(negatives)) == 4
        assert not set(negatives) & relevant[query]


@settings(deadline=None, max_examples=25)
@given(st.floats(0, 1), st.integers(0, 10**6))
def test_a_hard_negative_nearer_than_the_margin_allows_is_never_taken(margin, seed):
    rng = np.random.default_rng(seed)
    vectors = {text: rng.normal(size=4) for pair in PAIRS for text in pair}
    vectors = {text: vector / np.linalg.norm(vector) for text, vector in vectors.items()}

    def table(texts):
        return np.array([vectors[text] for text in texts])

    index = build_index(table, [text for _, text in PAIRS])
    groups = reranking._with_negatives(
        table, list(range(len(PAIRS))), PAIRS, index, 7, (1, None), np.random.default_rng(0), None
    )
    assert all(set(group[1:]) == {text for _, text in PAIRS} for group in groups)
    for number, (query, text) in enumerate(PAIRS):
        limit = (1 - margin) * (vectors[query] @ vectors[text])
        below = [t for _, t in PAIRS if t != text and vectors[query] @ vectors[t] < limit - 1e-4]
        above = [t for _, t in PAIRS if t != text and vectors[query] @ vectors[t] > limit + 1e-4]
        if not below:
            continue  # then all are drawn
        [group] = reranking._with_negatives(
            table, [number], PAIRS, index, len(below), (1, margin), np.random.default_rng(0), None
        )
        assert not set(group[2:]) & set(above)


def test_a_share_of_the_lowest_layers_stays_or_none(minilm):
    options = {"steps": 1, "batch_size": 1, "negatives": 1, "show_progress_bar": False}
    before = minilm[0].auto_model

    def moved(cross_encoder):
        after = cross_encoder.model.base_model
        pairs = [(before.embeddings, after.embeddings)]
        pairs += list(zip(before.encoder.layer, after.encoder.layer, strict=True))
        return [
            any((a != b).any() for a, b in zip(x.parameters(), y.parameters(), strict=True))
            for x, y in pairs
        ]

    half = train_cross_encoder(minilm, PAIRS, **options)
    whole = train_cross_encoder(minilm, PAIRS, frozen_share=0, max_tokens=9, **options)
    assert moved(half) == [False] * 4 + [True] * 3
    assert moved(whole) == [True] * 7
    assert (half.max_seq_length, whole.max_seq_length) == (64, 9)


def test_layers_in_bfloat16_score_nearly_alike_and_only_inside_the_block(trained):
    import torch

    exact = trained.predict(PAIRS)
    with reranking.layers_in_bfloat16(trained):
        tokens = trained.tokenizer(*PAIRS[0], return_tensors="pt")
        with torch.no_grad():
            assert trained.model(**tokens).logits.dtype == torch.float32
        rough = trained.predict(PAIRS)
    assert not np.array_equal(rough, exact)
    assert np.allclose(rough, exact, atol=0.1)
    assert np.array_equal(trained.predict(PAIRS), exact)


def test_too_few_texts_for_negatives_is_said(minilm):
    with pytest.raises(ValueError, match="only 1 texts besides"):
        train_cross_encoder(minilm, PAIRS[:2], negatives=2, show_progress_bar=False)


def test_bad_pairs_are_named(minilm):
    with pytest.raises(TypeError, match="Pair 1 is not two strings"):
        train_cross_encoder(minilm, [PAIRS[0], ("query", None)])
    with pytest.raises(TypeError, match="Pair 0"):
        train_cross_encoder(minilm, [("query", "text", "other")])
    with pytest.raises(ValueError, match="Pair 0 has a blank"):
        train_cross_encoder(minilm, [("query", " ")])
    with pytest.raises(ValueError, match="no pairs"):
        train_cross_encoder(minilm, [])
    with pytest.raises(ValueError, match="steps is 0"):
        train_cross_encoder(minilm, PAIRS, steps=0)
    with pytest.raises(ValueError, match="max_tokens is 513: this model reads at most 512"):
        train_cross_encoder(minilm, PAIRS, max_tokens=513)
    for name in ("frozen_share", "hard_share", "relative_margin"):
        with pytest.raises(ValueError, match=f"{name} is 2: give a number from 0 to 1"):
            train_cross_encoder(minilm, PAIRS, **{name: 2})


def test_an_index_of_another_model_is_refused(minilm):
    class Other:
        fingerprint = "other"

        def encode(self, texts):
            return np.ones((len(texts), 384))

    with pytest.raises(ValueError, match="cannot be compared"):
        train_cross_encoder(minilm, PAIRS, index=build_index(Other(), ["a", "b"]))


def test_training_saving_and_loading_say_nothing_on_the_console(minilm, capfd, caplog, tmp_path):
    caplog.set_level(logging.WARNING)
    settings = {"steps": 1, "batch_size": 1, "negatives": 1, "show_progress_bar": False}
    for _ in ("train and save", "load"):
        train_cross_encoder(minilm, PAIRS, folder=tmp_path, **settings)
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")
    assert not caplog.records


def test_the_whole_way_from_search_to_second_look(minilm, trained):
    corpus = {str(i): text for i, (_, text) in enumerate(PAIRS)}
    hits = search(minilm, "random numbers", corpus, k=4)
    assert hits[0].id == "5"
    assert {hit.id for hit in rerank(trained, "random numbers", hits)} == {hit.id for hit in hits}
