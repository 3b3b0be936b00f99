"""What a training run must do: learn, leave its model alone, survive, and say when it did not help."""

import errno
import itertools
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from course_utils import build_index, compare, encode, evaluate, load_model, search
from course_utils.adaptation import checkpoints, progress
from course_utils.adaptation.batches import Batches, share, step_seed
from course_utils.adaptation.config import TSDAEConfig
from course_utils.adaptation.dev import drop_questions
from course_utils.adaptation.loop import Trainer, ramp
from course_utils.adaptation.training import train_tsdae
from course_utils.adaptation.weights import interpolate_models
from course_utils.data import ClusteringTask, RetrievalTask, SimilarityTask
from course_utils.encoding.encode import fingerprint
from course_utils.metrics import Evaluation

SUBJECTS = ["fever", "rash", "cough", "pain", "swelling", "bleeding", "fatigue", "numbness"]
PLACES = ["arm", "leg", "back", "neck", "chest", "hand", "foot", "head"]
TIMES = ["night", "morning", "noon", "evening", "winter", "summer"]
WORDS = [
    *SUBJECTS,
    *PLACES,
    *TIMES,
    *["the", "of", "a", "in", "at", "patient", "has", "and", "after", "long", "walks"],
]


def sentences(count=64, seed=0):
    """Return different sentences of 4 to 14 words over a small vocabulary."""
    rng = np.random.default_rng(seed)
    found = {}
    while len(found) < count:
        subject, other = rng.choice(SUBJECTS, 2)
        text = f"the patient has {subject} in the {rng.choice(PLACES)}"
        if rng.random() < 0.5:
            text += f" and {other} of the {rng.choice(PLACES)} at {rng.choice(TIMES)}"
        found[f"{text} after {rng.choice(['long walks', 'noon', 'a walks'])}"] = True
    return list(found)


PAIRS = [
    (f"{subject} of the {place}", f"the patient has {subject} in the {place} at night")
    for subject in SUBJECTS
    for place in PLACES
]
QUICK = TSDAEConfig(batch_size=8, max_steps=6, freeze_encoder_steps=1, learning_rate=1e-3)


@pytest.fixture(scope="session")
def folder_of_tiny(tmp_path_factory):
    """The folder of a BERT of two layers with random weights, which a subprocess can load."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    parts = tmp_path_factory.mktemp("tiny-bert")
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: place for place, word in enumerate(dict.fromkeys(special + WORDS))}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))  # noqa: S106
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = zip(("pad", "unk", "cls", "sep", "mask"), special, strict=True)
    PreTrainedTokenizerFast(
        tokenizer_object=plain, **{f"{name}_token": token for name, token in names}
    ).save_pretrained(parts)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(
            BertConfig(
                vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2,
                num_attention_heads=4, intermediate_size=64, max_position_embeddings=32,
            )
        ).save_pretrained(parts)  # fmt: skip
    first = Transformer(str(parts), max_seq_length=32)
    model = SentenceTransformer(modules=[first, Pooling(32, "mean"), Normalize()], device="cpu")
    folder = tmp_path_factory.mktemp("tiny") / "tiny-bert"
    model.save_pretrained(str(folder))
    return folder


@pytest.fixture
def tiny(folder_of_tiny):
    """The tiny model, on one thread: its matrices are too small for two to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield load_model(folder_of_tiny, device="cpu")
    torch.set_num_threads(threads)


def train(model, texts=None, config=QUICK, **options):
    options.setdefault("show_progress", False)
    return train_tsdae(model, sentences() if texts is None else texts, config, **options)


def weights(model):
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def lookup_task(name="toy"):
    corpus = {f"d{n}": f"{subject} of the {PLACES[n]}" for n, subject in enumerate(SUBJECTS)}
    queries = {f"q{n}": f"a {subject}" for n, subject in enumerate(SUBJECTS)}
    return RetrievalTask(name, corpus, queries, {f"q{n}": {f"d{n}": 1} for n in range(8)})


def scored(value):
    return Evaluation("toy", "retrieval", "scripted", pd.DataFrame({"mrr@10": [value, value]}))


# What is learnt


@pytest.mark.parametrize("decoder", ["light", "exact"])
def test_denoising_learns_to_rebuild_the_sentences(tiny, decoder):
    config = TSDAEConfig(
        decoder=decoder,
        batch_size=16,
        max_steps=150,
        learning_rate=2e-3,
        decoder_learning_rate=2e-2,
    )
    loss = train(tiny, config=config).history["denoising"]
    assert loss.iloc[-10:].mean() < 0.7 * loss.iloc[1:4].mean()


@pytest.mark.parametrize("noise", ["delete", "swap", "mask", "insert"])
def test_every_kind_of_noise_trains(tiny, noise):
    result = train(tiny, config=TSDAEConfig(noise=noise, batch_size=8, max_steps=2))
    assert np.isfinite(result.history["loss"].iloc[1:]).all()


def test_the_loss_is_the_weighted_sum_of_its_parts(tiny):
    config = TSDAEConfig(
        batch_size=8, max_steps=4, freeze_encoder_steps=0, denoising_weight=0.5, contrast_weight=2,
        pairs_weight=3, distil_weight=4,
    )  # fmt: skip
    rows = train(tiny, config=config, pairs=PAIRS, general=sentences(16, seed=9)).history.iloc[1:]
    parts = rows[["denoising", "contrast", "pairs", "distillation"]]
    assert parts.notna().all().all()
    assert rows["loss"].to_numpy() == pytest.approx(parts.to_numpy() @ [0.5, 2, 3, 4])


def test_the_loss_of_pairs_is_the_librarys_multiple_negatives_ranking_loss_both_ways(tiny):
    unique = [(f"{s} of the {p}", f"a {p} has {s}") for s, p in zip(SUBJECTS, PLACES, strict=True)]
    config = TSDAEConfig(denoising_weight=0, pairs_weight=1, batch_size=8, max_steps=1)
    ours = train(tiny, [], config, pairs=unique).history["pairs"].iloc[1]
    sides = [tiny.tokenizer(list(side), padding=True, return_tensors="pt") for side in zip(*unique)]  # noqa: B905
    library = MultipleNegativesRankingLoss(tiny, scale=1 / config.temperature)
    both = [library(order, None).item() for order in (sides, sides[::-1])]
    assert ours == pytest.approx(np.mean(both), abs=1e-5)


def test_pairs_that_share_a_text_are_no_negatives_of_each_other(tiny):
    pairs = [("fever", "a head"), ("fever", "the chest"), ("rash", "a foot")]
    config = TSDAEConfig(denoising_weight=0, pairs_weight=1, batch_size=3, max_steps=1)
    ours = train(tiny, [], config, pairs=pairs).history["pairs"].iloc[1]
    first, second = (encode(tiny, list(side)).astype(float) for side in zip(*pairs, strict=True))
    e = np.exp(first @ second.T / config.temperature)
    there = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / (e[1, 1] + e[1, 2]), e[2, 2] / e[2].sum()]
    e = e.T
    back = [e[0, 0] / (e[0, 0] + e[0, 2]), e[1, 1] / (e[1, 1] + e[1, 2]), e[2, 2] / e[2].sum()]
    by_hand = -np.log(there + back).mean()
    assert ours == pytest.approx(by_hand, rel=1e-4)


def test_contrast_is_infonce_between_two_damaged_copies(tiny):
    texts = sentences(6)
    # Without damage the copies are equal, and the formula can be worked from the vectors alone.
    config = TSDAEConfig(denoising_weight=0, contrast_weight=1, rate=0, batch_size=6, max_steps=1)
    e = np.exp(np.square(encode(tiny, texts).astype(float) @ encode(tiny, texts).T) ** 0.5 / 0.05)
    by_hand = -np.log(np.diag(e) / e.sum(1)).mean()
    assert train(tiny, texts, config).history["contrast"].iloc[1] == pytest.approx(
        by_hand, rel=1e-3
    )
    damaged = train(tiny, texts, TSDAEConfig(denoising_weight=0, contrast_weight=1, max_steps=1))
    assert damaged.history["contrast"].iloc[1] > by_hand + 0.01


def test_distillation_is_nothing_at_the_start_and_holds_the_vectors_where_they_were(tiny):
    general = sentences(16, seed=9)

    def moved(weight):
        config = TSDAEConfig(
            denoising_weight=0, pairs_weight=1, distil_weight=weight, batch_size=16, max_steps=40,
            learning_rate=1e-3,
        )  # fmt: skip
        result = train(tiny, [], config, pairs=PAIRS, general=general)
        if weight:
            assert result.history["distillation"].iloc[1] == pytest.approx(0, abs=1e-9)
        before, after = encode(tiny, general), encode(result, general)
        return np.square(before @ before.T - after @ after.T).mean()

    assert moved(100.0) < 0.5 * moved(0.0)


def test_while_the_encoder_is_frozen_only_the_decoder_learns(tiny, tmp_path):
    from safetensors.torch import load_file

    config = TSDAEConfig(batch_size=8, max_steps=5, freeze_encoder_steps=3, checkpoint_every=1)
    kept = []

    def look(now):
        if now.step:
            kept.append(load_file(next(tmp_path.glob("checkpoint-*")) / "weights.safetensors"))

    result = train(tiny, config=config, folder=tmp_path, on_progress=look)
    start = {f"encoder.{name}": weight for name, weight in tiny.named_parameters()}

    def moved(weights, part, other):
        return any(not torch.equal(w, other[n]) for n, w in weights.items() if n.startswith(part))

    assert [moved(now, "encoder", start) for now in kept] == [False, False, False, True, True]
    steps = itertools.pairwise(kept)
    assert all(moved(now, "decoder", before) for before, now in steps)
    assert result.history["learning_rate"].iloc[1:4].tolist() == [0, 0, 0]


def test_the_learning_rate_rises_then_falls_to_the_end():
    rates = [ramp(done, 100, 0.1) for done in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.02


def test_an_epoch_goes_once_through_the_sentences(tiny):
    history = train(tiny, sentences(20), TSDAEConfig(batch_size=8, epochs=2)).history
    assert history["texts"].sum() == 40
    assert history["epoch"].iloc[1:].tolist() == [0, 0, 0, 1, 1, 1]


# What is left alone


@pytest.mark.parametrize("training", [True, False])
def test_the_model_that_is_given_stays_as_it_is(tiny, training):
    tiny.train(training)
    before, mark, name = weights(tiny), fingerprint(tiny), tiny.model_card_data.model_name
    result = train(tiny, config=TSDAEConfig(decoder="exact", max_steps=3, learning_rate=1e-2))
    assert same(weights(tiny), before)
    assert fingerprint(tiny) == mark
    assert fingerprint(result.model) != mark
    assert (tiny.training, tiny.device.type) == (training, "cpu")
    assert tiny.model_card_data.model_name == name
    assert all(weight.grad is None for weight in tiny.parameters())


def test_torchs_random_numbers_are_where_they_were(tiny):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    train(tiny, config=TSDAEConfig(max_steps=2, dropout=True))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_everything(tiny):
    def run(seed):
        return weights(train(tiny, config=TSDAEConfig(max_steps=4, seed=seed, dropout=True)).model)

    first = run(0)
    assert same(first, run(0))
    assert not same(first, run(1))


# Batches


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 40), st.integers(0, 9)
)
def test_an_epochs_batches_hold_every_text_once_and_are_of_one_size(lengths, batch_size, seed):
    batches = Batches(lengths, batch_size, seed)
    for epoch in range(2):
        rows = [batches.rows(epoch * len(batches) + place) for place in range(len(batches))]
        assert sorted(np.concatenate(rows).tolist()) == list(range(len(lengths)))
        sizes = {len(part) for part in rows}
        assert max(sizes) <= batch_size
        assert max(sizes) - min(sizes) <= 1


def test_a_batch_depends_on_seed_and_step_alone():
    lengths = np.random.default_rng(0).integers(3, 60, 500)
    forwards, jumping = Batches(lengths, 16, 3), Batches(lengths, 16, 3)
    wanted = [forwards.rows(step).tolist() for step in range(70)]
    assert jumping.rows(69).tolist() == wanted[69]
    assert jumping.rows(5).tolist() == wanted[5]
    assert Batches(lengths, 16, 4).rows(5).tolist() != wanted[5]
    epochs = [
        sorted(map(tuple, wanted[: len(forwards)])),
        sorted(map(tuple, wanted[len(forwards) :])),
    ]
    assert epochs[0] != epochs[1]


def test_texts_of_a_batch_are_of_like_length():
    lengths = np.random.default_rng(0).integers(3, 60, 3000)
    batches = Batches(lengths, 32, 0)
    parts = [lengths[batches.rows(step)] for step in range(len(batches))]
    padded = sum(part.max() * len(part) for part in parts)
    assert padded < 1.05 * lengths.sum()


@given(st.integers(0, 50), st.integers(1, 8))
def test_the_shares_of_the_processes_make_up_the_batch(size, processes):
    rows = np.arange(size)
    parts = [share(rows, process, processes) for process in range(processes)]
    assert np.concatenate([part for part, _ in parts]).tolist() == rows.tolist()
    assert all(begin == (part[0] if len(part) else begin) for part, begin in parts)


def test_steps_and_processes_have_seeds_of_their_own():
    seeds = {step_seed(0, step, process) for step in range(200) for process in range(4)}
    assert len(seeds) == 800


# The dev task


def test_the_best_weights_come_back(tiny, monkeypatch):
    script, seen = iter([0.1, 0.3, 0.8, 0.2, 0.8]), []

    def evaluated(self, model):
        seen.append(weights(model))
        return scored(next(script, 0.0))

    monkeypatch.setattr(Trainer, "evaluate", evaluated)
    config = TSDAEConfig(
        batch_size=8, max_steps=4, freeze_encoder_steps=0, evaluate_every=1, interpolate=False,
    )  # fmt: skip
    result = train(tiny, config=config, dev_task=lookup_task())
    assert result.history["dev"].tolist() == [0.1, 0.3, 0.8, 0.2, 0.8]
    assert same(weights(result.model), seen[2])  # the earlier of two equals
    assert not same(weights(result.model), seen[4])


def test_training_stops_after_patience_scores_without_a_better_one(tiny, monkeypatch):
    script = iter([0.5, 0.2, 0.6, 0.6, 0.1, 0.9, 0.9])
    monkeypatch.setattr(Trainer, "evaluate", lambda self, model: scored(next(script, 0.0)))
    config = TSDAEConfig(
        batch_size=8, max_steps=30, freeze_encoder_steps=0, evaluate_every=3, patience=2,
    )  # fmt: skip
    result = train(tiny, config=config, dev_task=lookup_task())
    assert result.history.index.max() == 12  # scores at 3, 6 (best), 9 and 12 (two misses)


@pytest.mark.parametrize("peak", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_share_of_trained_weights_is_the_one_that_scores_best(tiny, monkeypatch, peak):
    start, name = weights(tiny), "0.model.encoder.layer.1.output.dense.weight"
    name = next(key for key in start if key.endswith("layer.1.output.dense.weight"))
    final = weights(train(tiny).model)[name] - start[name]

    def evaluated(self, model):
        gone = (weights(model)[name] - start[name]).norm() / final.norm()
        return scored(1 - abs(peak - gone.item()))

    monkeypatch.setattr(Trainer, "evaluate", evaluated)
    config = TSDAEConfig(**{**vars(QUICK), "evaluate_every": 6})
    result = train(tiny, config=config, dev_task=lookup_task())
    assert result.alpha == peak
    moved = weights(result.model)[name] - start[name]
    assert torch.allclose(moved, peak * final, atol=1e-6)
    assert list(result.alphas) == [0, 0.25, 0.5, 0.75, 1]
    assert result.helped is (peak > 0)
    if peak == 0:
        assert same(weights(result.model), start)
        assert "did not help" in repr(result)
        assert "did not help" in result.card()


def test_a_share_that_is_named_is_used_with_and_without_a_dev_task(tiny):
    config = TSDAEConfig(**{**vars(QUICK), "interpolate": 0.5})
    start, whole, half = weights(tiny), weights(train(tiny).model), train(tiny, config=config)
    assert half.alpha == 0.5
    for name, weight in weights(half.model).items():
        assert torch.allclose(weight, (start[name] + whole[name]) / 2, atol=1e-6)
    assert train(tiny, config=config, dev_task=lookup_task()).alpha == 0.5


def test_scores_before_and_after_are_those_of_evaluate(tiny):
    task = lookup_task()
    result = train(tiny, dev_task=task)
    pd.testing.assert_frame_equal(result.before.scores, evaluate(tiny, task).scores)
    pd.testing.assert_frame_equal(result.after.scores, evaluate(result.model, task).scores)
    assert result.alphas[0.0] == result.history["dev"].iloc[0]


def test_a_similarity_task_can_be_the_dev_task(tiny):
    pairs = [("fever", "pain"), ("a head", "the neck"), ("night", "noon"), ("rash", "winter")]
    task = SimilarityTask("alike", pairs, [1.0, 3.0, 2.0, 0.0])
    result = train(tiny, dev_task=task)
    assert result.history["dev"].iloc[0] == evaluate(tiny, task).summary()["mean"]["spearman"]


# Bad input


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "There are no sentences"),
        (["fever"], "one sentence"),
        (["fever"] * 5, "all 5 sentences are the same"),
        (["fever", " \n", "rash"], r"sentences\[1\] is blank"),
    ],
)
def test_too_few_or_blank_sentences_are_refused(tiny, texts, told):
    with pytest.raises(ValueError, match=told):
        train(tiny, texts)


def test_what_is_no_text_is_refused_by_its_place(tiny):
    with pytest.raises(TypeError, match="single string"):
        train(tiny, "fever")
    with pytest.raises(TypeError, match=r"sentences\[1\] is of type float"):
        train(tiny, ["fever", math.nan])
    config = TSDAEConfig(denoising_weight=0, pairs_weight=1)
    with pytest.raises(TypeError, match=r"pairs\[1\] is .*, not two texts"):
        train(tiny, [], config, pairs=[("fever", "rash"), "pain"])
    with pytest.raises(ValueError, match=r"pairs\[0\]\[1\] is blank"):
        train(tiny, [], config, pairs=[("fever", "")])


def test_a_weight_without_its_texts_is_refused(tiny):
    with pytest.raises(ValueError, match="there are no pairs"):
        train(tiny, config=TSDAEConfig(pairs_weight=1))
    with pytest.raises(ValueError, match="no general sentences"):
        train(tiny, config=TSDAEConfig(distil_weight=1))


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


@pytest.fixture(scope="session")
def pair_of_models(folder_of_tiny):
    start = load_model(folder_of_tiny, device="cpu")
    return start, train(start)


def test_interpolation_refuses_what_does_not_belong_together(tiny, pair_of_models):
    with pytest.raises(ValueError, match=r"alpha is 1\.5"):
        interpolate_models(tiny, tiny, 1.5)
    other = SentenceTransformer(modules=[tiny[0]], device="cpu")
    with pytest.raises(ValueError, match="was not adapted from"):
        interpolate_models(tiny[0].auto_model.embeddings, other, 0.5)


def test_texts_over_the_limit_are_cut_counted_and_reported_once(tiny):
    long = [*sentences(8), "fever " * 40, "rash " * 50]
    config = TSDAEConfig(batch_size=5, max_steps=4, max_tokens=20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = train(tiny, long, config)
    told = [str(w.message) for w in caught if "tokens" in str(w.message)]
    assert len(told) == 1
    assert "2 of 10 texts have more than 20 tokens (the longest has 52)" in told[0]
    assert result.counts["texts cut"] == 2


def test_a_few_texts_over_the_limit_are_counted_without_a_warning(tiny):
    config = TSDAEConfig(batch_size=5, max_steps=4, max_tokens=20, distil_weight=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train(tiny, [*sentences(30), "fever " * 40], config, general=["rash " * 50])
    assert result.counts["texts cut"] == 2


def test_equal_sentences_count_once(tiny):
    result = train(tiny, ["fever", "rash", "fever"])
    assert result.counts["sentences given"] == 3
    assert result.counts["sentences used"] == 2


def test_a_dev_task_from_the_training_texts_is_refused(tiny):
    task = lookup_task()
    with pytest.raises(ValueError, match=r"1 of the 8 questions.*'a pain' for one"):
        train(tiny, [*sentences(), "A  pain"], dev_task=task)
    config = TSDAEConfig(denoising_weight=0, pairs_weight=1, max_steps=1)
    with pytest.raises(ValueError, match="'a rash' for one"):
        train(tiny, [], config, pairs=[*PAIRS, ("rash of the leg", "a rash")], dev_task=task)
    alike = SimilarityTask("alike", [PAIRS[3], ("night", "noon")], [1.0, 2.0])
    with pytest.raises(ValueError, match="'alike' are among"):
        train(tiny, [], config, pairs=PAIRS, dev_task=alike)
    train(tiny, drop_questions([*sentences(), "A  pain"], task), dev_task=task)
    kept = drop_questions([*PAIRS, ("rash of the leg", "a rash")], task, alike)
    assert kept == PAIRS[:3] + PAIRS[4:]
    # Documents may be trained on: one adapts to the corpus one searches.
    train(tiny, [*sentences(), *task.corpus.values()], dev_task=task)


def test_what_cannot_be_trained_or_scored_is_refused(tiny):
    with pytest.raises(TypeError, match="not a SentenceTransformer"):
        train("all-MiniLM-L6-v2")
    with pytest.raises(TypeError, match="dev_task is a ClusteringTask"):
        train(tiny, dev_task=ClusteringTask("c", ["fever", "rash"], ["x", "y"]))
    with pytest.raises(TypeError, match="pass TSDAEConfig"):
        train(tiny, config={"max_steps": 3})


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"decoder": "tied"}, "decoder is 'tied'"),
        ({"noise": "drop"}, "noise is 'drop'"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_steps": 2.5}, "max_steps is 2.5"),
        ({"rate": 1.5}, "rate is 1.5"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"temperature": 0}, "temperature is 0"),
        ({"denoising_weight": -1}, "denoising_weight is -1"),
        ({"denoising_weight": 0}, "nothing to learn"),
        ({"decoder": "exact", "freeze_encoder_steps": 5}, "only a light decoder can learn"),
        ({"max_steps": 5, "freeze_encoder_steps": 5}, "would never learn"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(options, told):
    with pytest.raises(ValueError, match=told):
        TSDAEConfig(**options)


def test_a_loss_that_is_no_number_stops_with_its_step_and_texts(tiny):
    word = tiny.tokenizer.convert_tokens_to_ids("winter")
    with torch.no_grad():
        tiny[0].auto_model.embeddings.word_embeddings.weight[word] = math.nan
    texts = [f"{text} and winter winter winter" for text in sentences(8)]
    with pytest.raises(
        FloatingPointError, match=r"nan at step 1 of 6, .* 'the patient has .*winter"
    ):
        train(tiny, texts, TSDAEConfig(batch_size=8, max_steps=6, rate=0.2, vocabulary="whole"))


# Checkpoints


def test_a_run_that_was_interrupted_goes_on_as_if_it_had_not_been(tiny, tmp_path):
    config = TSDAEConfig(**{**vars(QUICK), "dropout": True, "contrast_weight": 0.1})
    straight = train(tiny, config=config, dev_task=lookup_task())

    def stop(now):
        if now.step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, config=config, dev_task=lookup_task(), folder=tmp_path, on_progress=stop)
    steps = []
    resumed = train(
        tiny, config=config, dev_task=lookup_task(), folder=tmp_path,
        on_progress=lambda now: steps.append(now.step),
    )  # fmt: skip
    assert steps == [4, 5, 6]
    assert same(weights(resumed.model), weights(straight.model))
    kept = straight.history.drop(columns="seconds")
    pd.testing.assert_frame_equal(resumed.history.drop(columns="seconds"), kept)


def test_an_interrupt_in_the_midst_of_a_step_saves_nothing_that_is_half_done(
    tiny, tmp_path, monkeypatch
):
    config = TSDAEConfig(**{**vars(QUICK), "checkpoint_every": 2})
    straight = weights(train(tiny, config=config).model)
    step, calls = torch.optim.AdamW.step, []

    def interrupted(self, *arguments):
        calls.append(1)
        step(self, *arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(torch.optim.AdamW, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(tiny, config=config, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    assert same(weights(train(tiny, config=config, folder=tmp_path).model), straight)


SCRIPT = """
    import sys
    import torch
    from course_utils import load_model
    from course_utils.data import RetrievalTask
    from course_utils.adaptation.config import TSDAEConfig
    from course_utils.adaptation.training import train_tsdae
    torch.set_num_threads(1)
    model = load_model({model!r}, device="cpu")
    texts = open({texts!r}, encoding="utf-8").read().splitlines()
    corpus = {{str(n): text for n, text in enumerate(texts[:6])}}
    task = RetrievalTask("toy", corpus, {{"q": "a rash"}}, {{"q": {{"2": 1}}}})
    config = TSDAEConfig(batch_size=8, max_steps=30, checkpoint_every=2, dropout=True, contrast_weight=0.1, distil_weight=1.0,
                         learning_rate=1e-3, evaluate_every=3, interpolate=False)
    result = train_tsdae(model, texts, config, general=texts[:40], dev_task=task, folder={folder!r}, show_progress=False,
                         on_progress=lambda now: print(now.step, flush=True))
    result.save({out!r})
"""


def script(tmp_path, model, folder, out):
    (tmp_path / "texts.txt").write_text("\n".join(sentences()), "utf-8")
    text = textwrap.dedent(SCRIPT).format(
        model=str(model), texts=str(tmp_path / "texts.txt"), folder=str(folder), out=str(out)
    )
    return [sys.executable, "-c", text]


def test_killed_at_any_point_and_resumed_the_weights_are_bit_for_bit_the_same(
    folder_of_tiny, tmp_path
):
    whole = script(tmp_path, folder_of_tiny, tmp_path / "a", tmp_path / "whole")
    subprocess.run(whole, check=True, capture_output=True, timeout=120)
    broken = script(tmp_path, folder_of_tiny, tmp_path / "b", tmp_path / "broken")
    first_steps = []
    # Once after a step, once while (or just before or after) a checkpoint is being written.
    for after, delay in ((7, 0.0), (15, 0.01)):
        with subprocess.Popen(broken, stdout=subprocess.PIPE, text=True) as run:
            first_steps.append(int(run.stdout.readline()))
            for line in run.stdout:
                if int(line) >= after:
                    time.sleep(delay)
                    run.send_signal(signal.SIGKILL)
                    break
            run.stdout.read()
        assert run.returncode == -signal.SIGKILL
        assert not (tmp_path / "broken").exists()
    done = subprocess.run(broken, check=True, capture_output=True, text=True, timeout=120)
    first_steps.append(int(done.stdout.split()[0]))
    assert first_steps[0] == 0
    assert first_steps[1] in (6, 8)
    assert first_steps[2] >= 14
    one, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")
    )
    assert one == other
    assert one != (folder_of_tiny / "model.safetensors").read_bytes()


def test_a_checkpoint_is_safetensors_and_json_and_only_the_last_stays(tiny, tmp_path):
    config = TSDAEConfig(**{**vars(QUICK), "checkpoint_every": 2})
    train(tiny, config=config, folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000006"]
    kept = {path.suffix for path in (tmp_path / "checkpoint-00000006").iterdir()}
    assert kept == {".safetensors", ".json"}


def test_a_full_disk_leaves_the_last_checkpoint_intact(tiny, tmp_path, monkeypatch):
    config = TSDAEConfig(**{**vars(QUICK), "checkpoint_every": 2})
    straight = weights(train(tiny, config=config).model)
    save, calls = checkpoints.save_tensors, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 3:  # two files each for steps 2 and 4: the second of step 4
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        save(tensors, path)

    monkeypatch.setattr(checkpoints, "save_tensors", full)
    with pytest.raises(
        OSError, match=r"step 4 could not be .*checkpoint of step 2 is intact"
    ) as told:
        train(tiny, config=config, folder=tmp_path)
    assert told.value.errno == errno.ENOSPC
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000002"]
    monkeypatch.setattr(checkpoints, "save_tensors", save)
    assert same(weights(train(tiny, config=config, folder=tmp_path).model), straight)


def test_a_file_that_may_not_grow_is_a_full_disk_too(tmp_path):
    resource = pytest.importorskip("resource")
    code = """
        import resource, signal, sys, torch
        from course_utils.adaptation.checkpoints import write_checkpoint
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        write_checkpoint(sys.argv[1], 1, {"weights": {"w": torch.zeros(10)}}, {})
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        write_checkpoint(sys.argv[1], 2, {"weights": {"w": torch.zeros(10000)}}, {})
    """
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "The checkpoint of step 1 is intact" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-00000001"]


def test_another_run_in_the_folder_is_refused_with_both_values(tiny, tmp_path):
    train(tiny, folder=tmp_path)
    other = TSDAEConfig(**{**vars(QUICK), "rate": 0.3})
    with pytest.raises(ValueError, match=r"rate is 0.3 here and 0.6 there"):
        train(tiny, config=other, folder=tmp_path)
    with pytest.raises(ValueError, match=r"sentences is '63 \(.*\)' here and '64 \(.*\)' there"):
        train(tiny, sentences()[:63], folder=tmp_path)
    with torch.no_grad():
        tiny[0].auto_model.embeddings.word_embeddings.weight[9] += 1
    with pytest.raises(ValueError, match=r"model is '.*' here and '.*' there"):
        train(tiny, folder=tmp_path)
    steps = []
    train(tiny, folder=tmp_path, resume=False, on_progress=lambda now: steps.append(now.step))
    assert steps[0] == 0


def test_a_run_that_is_done_trains_no_further_step(tiny, tmp_path):
    first = train(tiny, folder=tmp_path)
    steps = []
    again = train(tiny, folder=tmp_path, on_progress=lambda now: steps.append(now.step))
    assert steps == [6]
    assert same(weights(again.model), weights(first.model))


def test_a_run_that_is_done_can_be_mixed_anew_without_training(tiny, tmp_path):
    start, whole = weights(tiny), weights(train(tiny, folder=tmp_path).model)
    config = TSDAEConfig(**{**vars(QUICK), "interpolate": 0.5})
    half = train(tiny, config=config, folder=tmp_path)
    for name, weight in weights(half.model).items():
        assert torch.allclose(weight, (start[name] + whole[name]) / 2, atol=1e-6)


def test_what_a_killed_writer_left_behind_is_cleared_away(tiny, tmp_path):
    left = tmp_path / ".checkpoint-abc"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    train(tiny, folder=tmp_path)
    assert not left.exists()


def test_a_damaged_checkpoint_says_so(tiny, tmp_path):
    train(tiny, folder=tmp_path)
    (tmp_path / "checkpoint-00000006" / "run.json").write_text('{"format"', "utf-8")
    with pytest.raises(ValueError, match=r"cannot be read .* pass resume=False"):
        train(tiny, folder=tmp_path)


# Several processes

TWO = """
    import json, sys
    import torch
    from accelerate import Accelerator
    from course_utils import load_model
    from course_utils.adaptation.config import TSDAEConfig
    from course_utils.adaptation.training import train_tsdae
    torch.set_num_threads(1)
    texts, pairs, general = json.load(open(sys.argv[2], encoding="utf-8"))
    config = TSDAEConfig(batch_size=9, max_steps=8, freeze_encoder_steps=2, learning_rate=1e-3,
                         contrast_weight=0.5, pairs_weight=0.5, distil_weight=1.0)
    result = train_tsdae(load_model(sys.argv[1], device="cpu"), texts, config, pairs=pairs,
                         general=general, show_progress=False)
    here = Accelerator()
    told = {"loss": result.history["loss"].tolist()[1:], "processes": here.num_processes,
            "vectors": result.encode(texts[:4]).tolist()}
    if here.is_main_process:
        json.dump(told, open(sys.argv[3], "w"))
"""


def test_two_processes_have_the_loss_of_one_at_the_same_global_batch(folder_of_tiny, tmp_path):
    (tmp_path / "two.py").write_text(textwrap.dedent(TWO), "utf-8")
    given = [sentences(40), PAIRS[:30], sentences(20, seed=9)]
    (tmp_path / "texts.json").write_text(json.dumps(given), "utf-8")
    arguments = [str(tmp_path / "two.py"), str(folder_of_tiny), str(tmp_path / "texts.json")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    port = 20000 + os.getpid() % 20000
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_machines", "1",
              "--mixed_precision", "no", "--dynamo_backend", "no"]  # fmt: skip
    runs = {}
    for count in (1, 2):
        out = tmp_path / f"{count}.json"
        # Without MPI, accelerate's own launcher starts one process on a CPU whatever it is asked.
        command = [*launch, "--num_processes", str(count), "-m", "torch.distributed.run",
                   "--nproc_per_node", str(count), "--master_port", str(port + count)]  # fmt: skip
        done = subprocess.run(
            [*command, *arguments, str(out)],
            capture_output=True, text=True, timeout=240, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        runs[count] = json.loads(out.read_text("utf-8"))
    assert (runs[1]["processes"], runs[2]["processes"]) == (1, 2)
    assert runs[2]["loss"] == pytest.approx(runs[1]["loss"], abs=1e-4)
    assert np.allclose(runs[2]["vectors"], runs[1]["vectors"], atol=1e-4)


# The result


def test_a_result_is_an_embedder_wherever_one_is_wanted(tiny):
    task, result = lookup_task(), train(tiny)
    table = compare(evaluate(tiny, task), evaluate(result, task)).table
    assert table.loc["mrr@10", "n"] == 8
    assert evaluate(result, task).embedder.endswith(" (adapted)")
    assert np.allclose(encode(result, ["fever"]), encode(result.model, ["fever"]), atol=1e-6)
    hits = search(result, "a rash", build_index(result, task.corpus), k=2)
    wanted = search(result.model, "a rash", task.corpus, k=2)
    assert [hit.id for hit in hits] == [hit.id for hit in wanted]
    assert encode(result, []).shape == (0, 32)


def test_a_result_cannot_be_changed(tiny):
    result = train(tiny)
    with pytest.raises(AttributeError):
        result.alpha = 0.3


def test_the_saved_folder_loads_and_its_card_tells_how_it_came_about(tiny, tmp_path):
    result = train(tiny, dev_task=lookup_task("words"))
    folder = result.save(tmp_path / "adapted")
    again = load_model(folder, device="cpu")
    assert np.array_equal(encode(again, sentences(5)), encode(result.model, sentences(5)))
    card = (folder / "README.md").read_text("utf-8")
    assert "| sentences used | 64 |" in card
    assert "| learning_rate | 0.001 |" in card
    for evaluation, when in ((result.before, "before"), (result.after, "after")):
        row = evaluation.summary().loc["mrr@10"]
        ends = f"{row['low']:.4f} to {row['high']:.4f}"
        assert f"| {when} | mrr@10 | {row['mean']:.4f} | {ends} | 8 queries |" in card
    assert "## Limits" in card
    for path in folder.rglob("*.json"):
        assert str(tmp_path) not in path.read_text("utf-8")
    result.save(folder)  # a model may replace a model
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(FileExistsError, match="not a model"):
        result.save(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapted", "other"]


def test_the_card_names_what_was_learnt_from(tiny):
    denoised = train(tiny).card()
    paired = train(
        tiny, [], TSDAEConfig(denoising_weight=0, pairs_weight=1, max_steps=1), pairs=PAIRS
    )
    assert "by TSDAE (Wang" in denoised
    assert "by pairs of texts" in paired.card()
    assert "TSDAE (Wang" not in paired.card()


def test_without_a_dev_task_the_card_claims_nothing(tiny):
    result = train(tiny)
    assert (result.alpha, result.helped, result.after) == (1.0, None, None)
    assert "nothing is known" in result.card()


# Progress


def test_a_bar_outside_a_notebook_and_silence_on_request(tiny, capfd):
    train(tiny, show_progress=None)
    told = capfd.readouterr().err
    assert "Training: 100%" in told
    assert "loss=" in told
    train(tiny, show_progress=False)
    assert "Training" not in capfd.readouterr().err


def test_in_a_notebook_one_figure_is_redrawn_in_place(tiny, monkeypatch):
    shown = []

    class Handle:
        def update(self, drawn):
            shown.append(("update", drawn.data))

    def display(drawn, display_id):
        shown.append(("display", drawn.data))
        return Handle()

    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "in_jupyter", lambda: True)
    monkeypatch.setattr(progress, "_REDRAW_SECONDS", 0.0)
    result = train(tiny, dev_task=lookup_task(), show_progress=None)
    assert [kind for kind, _ in shown][:2] == ["display", "update"]
    assert [kind for kind, _ in shown].count("display") == 1
    last = shown[-1][1]
    assert f"at step 6, loss {result.history['loss'].iloc[-1]:.4f}; dev score" in last
    assert 'role="img"' in last


def test_each_step_is_told_to_the_callback(tiny):
    told = []
    result = train(tiny, on_progress=lambda now: told.append((now.step, now.latest["loss"])))
    assert [step for step, _ in told] == list(range(7))
    assert [loss for _, loss in told][1:] == result.history["loss"].tolist()[1:]


# The real thing


def test_minilm_takes_ten_steps_on_medical_definitions(minilm):
    from course_utils.data import load_texts

    texts = load_texts("medical")[:200]
    before = fingerprint(minilm)
    config = TSDAEConfig(batch_size=8, max_steps=10, freeze_encoder_steps=4, max_tokens=32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some definitions are long
        result = train(minilm, texts, config)
    loss = result.history["loss"]
    assert loss.iloc[-3:].mean() < loss.iloc[1]
    assert fingerprint(minilm) == before
    both = encode(minilm, texts[:20]) * encode(result.model, texts[:20])
    assert both.sum(1).min() > 0.9  # ten small steps leave the vectors about where they were
