"""Pairs: each text finds its partner in the batch, as the library has it; general cosines stay."""

import numpy as np
import pytest
import torch
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from course_utils import encode
from course_utils.adaptation import PairsConfig
from course_utils.adaptation.pairs import ranking_loss

from .toys import PAIRS, PLACES, QUICK_PAIRS, SUBJECTS, pairs, same, sentences, weights

UNIQUE = [(f"{s} of the {p}", f"a {p} has {s}") for s, p in zip(SUBJECTS, PLACES, strict=True)]
ONE_STEP = PairsConfig(batch_size=8, max_steps=1, bfloat16=False)


def by_hand(first, second, temperature):
    """Return the loss of all pairs from their unit vectors, both ways."""
    e = np.exp(first.astype(float) @ second.astype(float).T / temperature)
    return -np.log(np.diag(e) ** 2 / (e.sum(0) * e.sum(1))).mean() / 2


def test_the_loss_of_pairs_is_the_librarys_multiple_negatives_ranking_loss_both_ways(tiny):
    ours = pairs(tiny, UNIQUE, ONE_STEP).history["pairs"].iloc[1]
    sides = [
        tiny.tokenizer(list(side), padding=True, return_tensors="pt")
        for side in zip(*UNIQUE, strict=True)
    ]
    library = MultipleNegativesRankingLoss(tiny, scale=1 / ONE_STEP.temperature)
    both = [library(order, None).item() for order in (sides, sides[::-1])]
    assert ours == pytest.approx(np.mean(both), abs=1e-5)


def test_pairs_that_share_a_text_are_no_negatives_of_each_other(tiny):
    texts = [("fever", "a head"), ("fever", "the chest"), ("rash", "a foot")]
    ours = pairs(tiny, texts, ONE_STEP).history["pairs"].iloc[1]
    first, second = (encode(tiny, list(side)).astype(float) for side in zip(*texts, strict=True))
    e = np.exp(first @ second.T / ONE_STEP.temperature)
    there = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / (e[1, 1] + e[1, 2]), e[2, 2] / e[2].sum()]
    e = e.T
    back = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / (e[1, 1] + e[1, 2]), e[2, 2] / e[2].sum()]
    assert ours == pytest.approx(-np.log(there + back).mean(), rel=1e-4)


def test_the_ranking_loss_minds_neither_length_nor_which_negatives_are_left_out():
    first, second = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0))
    whole = ranking_loss(first, second, 0.1)
    assert torch.allclose(ranking_loss(3 * first, second / 9, 0.1), whole)
    different = ranking_loss(first, second, 0.1, list("abcde"), list("vwxyz"))
    assert torch.equal(different, whole)
    assert ranking_loss(first, second, 0.1, list("aacde"), list("vwxyz")) < whole


def test_the_loss_is_the_weighted_sum_of_its_parts(tiny):
    config = PairsConfig(batch_size=8, max_steps=4, learning_rate=1e-3, distil_weight=4)
    rows = pairs(tiny, config=config, general=sentences(16, seed=9)).history.iloc[1:]
    assert rows["distillation"].iloc[1:].min() > 0
    assert rows["loss"].to_numpy() == pytest.approx(rows["pairs"] + 4 * rows["distillation"])


def test_distillation_is_nothing_at_the_start_and_holds_the_vectors_where_they_were(tiny):
    general = sentences(16, seed=9)

    def moved(weight):
        config = PairsConfig(
            distil_weight=weight, batch_size=16, max_steps=40, learning_rate=1e-3, bfloat16=False
        )
        result = pairs(tiny, config=config, general=general)
        if weight:
            assert result.history["distillation"].iloc[1] == pytest.approx(0, abs=1e-9)
        before, after = encode(tiny, general), encode(result, general)
        return np.square(before @ before.T - after @ after.T).mean()

    assert moved(100.0) < 0.5 * moved(0.0)


def test_without_general_sentences_nothing_is_held_in_place(tiny):
    free = weights(pairs(tiny).model)
    config = PairsConfig(**{**vars(QUICK_PAIRS), "distil_weight": 0.0})
    assert same(weights(pairs(tiny, config=config).model), free)
    assert same(weights(pairs(tiny, config=config, general=["fever", "rash"]).model), free)
    assert not same(weights(pairs(tiny, general=["fever", "rash"]).model), free)


# Prompts


@pytest.mark.parametrize("include_prompt", [True, False])
def test_the_first_text_gets_the_prompt_of_queries_and_the_second_that_of_documents(
    tiny, include_prompt
):
    tiny.prompts = {"query": "a patient has ", "passage": "the arm and leg of "}
    tiny.set_pooling_include_prompt(include_prompt)
    longest = max(len(tiny.tokenizer(text)["input_ids"]) for pair in UNIQUE for text in pair)
    # A text as long as the limit is not cut for the sake of its prompt.
    config = PairsConfig(batch_size=8, max_steps=1, bfloat16=False, max_tokens=longest)
    first, second = zip(*UNIQUE, strict=True)
    expected = by_hand(
        tiny.encode_query(list(first)), tiny.encode_document(list(second)), config.temperature
    )
    ours = pairs(tiny, UNIQUE, config).history["pairs"].iloc[1]
    assert ours == pytest.approx(expected, abs=1e-5)
    tiny.prompts = {}
    plain = by_hand(*(tiny.encode(list(s)) for s in (first, second)), config.temperature)
    assert abs(plain - expected) > 1e-3


def test_a_model_whose_prompts_are_empty_trains_as_one_without(tiny):
    tiny.prompts = {"query": "", "document": ""}
    one = weights(pairs(tiny, general=sentences(8)).model)
    tiny.prompts = {}
    assert same(one, weights(pairs(tiny, general=sentences(8)).model))


def test_general_sentences_get_the_default_prompt_as_in_the_start_model(tiny):
    tiny.prompts, tiny.default_prompt_name = {"field": "the patient has "}, "field"
    result = pairs(tiny, PAIRS, ONE_STEP, general=sentences(16, seed=9))
    assert result.history["distillation"].iloc[1] == pytest.approx(0, abs=1e-9)


def test_a_pair_of_lists_is_a_pair(tiny):
    lists = [list(pair) for pair in PAIRS]
    assert same(weights(pairs(tiny, lists).model), weights(pairs(tiny).model))
