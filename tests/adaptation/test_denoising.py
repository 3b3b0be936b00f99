"""Denoising learns to rebuild sentences from damaged copies; contrast finds the other copy."""

import itertools

import numpy as np
import pandas as pd
import pytest
from accelerate import Accelerator

from course_utils import encode
from course_utils.adaptation import TSDAEConfig, add_noise
from course_utils.adaptation.denoising import DenoisingObjective
from course_utils.adaptation.loop import Trainer
from course_utils.adaptation.noise import KINDS
from course_utils.adaptation.texts import prepare_sentences

from .toys import PAIRS, QUICK, same, sentences, tsdae, weights


def objective(model, config, texts=None):
    limit = min(32, config.max_tokens)
    texts = prepare_sentences(texts or sentences(), model.tokenizer, limit)
    return DenoisingObjective(model, texts, config, limit, Accelerator())


@pytest.mark.parametrize("decoder", ["light", "exact"])
def test_denoising_learns_to_rebuild_the_sentences(tiny, decoder):
    config = TSDAEConfig(
        decoder=decoder,
        batch_size=16,
        max_steps=150,
        learning_rate=2e-3,
        decoder_learning_rate=2e-2,
    )
    loss = tsdae(tiny, config=config).history["denoising"]
    assert loss.iloc[-10:].mean() < 0.7 * loss.iloc[1:4].mean()


@pytest.mark.parametrize("noise", KINDS)
def test_a_step_fetches_copies_damaged_as_add_noise_does_anew_in_each_epoch(tiny, noise):
    config = TSDAEConfig(noise=noise, rate=0.4, seed=3, batch_size=16)
    trained = objective(tiny, config)
    for step in (0, trained.epoch_steps):
        batch = trained.fetch(step)
        epoch = step // trained.epoch_steps
        options = {"kind": noise, "rate": 0.4, "epoch": epoch, "mask": "[MASK]"}
        assert batch.copies == (add_noise(batch.rows, seed=3, **options),)
        assert set(batch.rows) <= set(sentences())


def test_the_damaged_copy_is_encoded_and_the_whole_sentence_is_rebuilt(tiny):
    trained = objective(tiny, QUICK)
    batch = trained.fetch(0)
    encoded, rebuilt = [], []
    trained.encoder[0].register_forward_pre_hook(
        lambda module, given: encoded.extend(given[0]["input_ids"].tolist())
    )
    trained.decoder.register_forward_pre_hook(
        lambda module, given: rebuilt.extend(given[1].tolist())
    )
    trained.forward(batch)
    read = tiny.tokenizer.batch_decode
    assert read(encoded, skip_special_tokens=True) == batch.copies[0]
    assert read(rebuilt, skip_special_tokens=True) == batch.rows
    assert batch.copies[0] != batch.rows


def test_the_decoder_chooses_among_the_tokens_of_the_sentences(tiny):
    kept = objective(tiny, QUICK, ["a fever", "a rash at night"]).decoder.kept
    used = tiny.tokenizer.convert_ids_to_tokens(kept.tolist())
    special = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
    assert set(used) == {"a", "fever", "rash", "at", "night"} | special


def test_contrast_is_infonce_between_two_damaged_copies(tiny):
    texts = sentences(6)
    # Without damage the copies are equal, and the formula can be worked from the vectors alone.
    options = {"objective": "contrast", "batch_size": 6, "max_steps": 1, "bfloat16": False}
    vectors = encode(tiny, texts).astype(float)
    e = np.exp(vectors @ vectors.T / 0.05)
    by_hand = -np.log(np.diag(e) / e.sum(1)).mean()
    undamaged = tsdae(tiny, texts, TSDAEConfig(rate=0, **options))
    assert undamaged.history["contrast"].iloc[1] == pytest.approx(by_hand, rel=1e-3)
    damaged = tsdae(tiny, texts, TSDAEConfig(**options))
    assert damaged.history["contrast"].iloc[1] > by_hand + 0.01


def test_the_two_copies_of_a_contrast_are_damaged_in_two_ways(tiny):
    trained = objective(tiny, TSDAEConfig(objective="contrast", batch_size=16))
    one, other = trained.fetch(0).copies
    assert sum(a != b for a, b in zip(one, other, strict=True)) > 12
    assert trained.decoder is None


def test_while_the_encoder_is_held_still_only_the_decoder_learns(tiny):
    before, moved, rates = {}, [], []

    def look(trainer):
        for part in ("encoder", "decoder"):
            now = [w.detach().clone() for w in getattr(trainer, f"{part}_weights").values()]
            if part in before:
                same = all(map(np.array_equal, before[part], now))
                moved.append((trainer.step, part, not same))
            before[part] = now

    from course_utils.adaptation.loop import Trainer

    trainer = Trainer(objective(tiny, TSDAEConfig(max_steps=30, learning_rate=1e-3, batch_size=8)))
    trainer.callbacks = [look]
    trainer.run()
    rates = [row["learning_rate"] for row in trainer.history[1:]]
    assert rates[:3] == [0, 0, 0]
    assert min(rates[3:]) > 0
    for step, part in itertools.product(range(1, 31), ("encoder", "decoder")):
        assert (step, part, part == "decoder" or step > 3) in moved


@pytest.mark.parametrize(
    ("options", "steps", "frozen"),
    [
        ({}, 9, 0),
        ({}, 100, 10),
        ({}, 5000, 200),
        ({"decoder": "exact"}, 5000, 0),
        ({"objective": "contrast"}, 5000, 0),
    ],
)
def test_a_light_decoder_is_given_a_tenth_of_the_steps_and_at_most_200(
    tiny, options, steps, frozen
):
    assert objective(tiny, TSDAEConfig(**options)).frozen_steps(steps) == frozen


def test_the_default_prompt_stands_before_what_is_encoded_and_not_before_what_is_rebuilt(tiny):
    tiny.prompts, tiny.default_prompt_name = {"field": "the patient has "}, "field"
    config = TSDAEConfig(objective="contrast", rate=0, batch_size=6, max_steps=1, bfloat16=False)
    texts = sentences(6)
    vectors = tiny.encode(texts, normalize_embeddings=True).astype(float)  # with its default prompt
    e = np.exp(vectors @ vectors.T / 0.05)
    by_hand = -np.log(np.diag(e) / e.sum(1)).mean()
    assert tsdae(tiny, texts, config).history["loss"].iloc[1] == pytest.approx(by_hand, rel=1e-4)
    rebuilt = []
    trained = objective(tiny, QUICK)
    trained.decoder.register_forward_pre_hook(
        lambda module, given: rebuilt.extend(given[1].tolist())
    )
    batch = trained.fetch(0)
    trained.forward(batch)
    assert tiny.tokenizer.batch_decode(rebuilt, skip_special_tokens=True) == batch.rows


# Watching the decoder


def by_heart(model, texts, decoder="light"):
    """Return an objective that has learnt a few sentences by heart."""
    config = TSDAEConfig(
        decoder=decoder,
        batch_size=len(texts),
        max_steps=250,
        learning_rate=2e-3,
        decoder_learning_rate=1e-2,
        rate=0.3,
        bfloat16=False,
    )
    trained = objective(model, config, texts)
    Trainer(trained).run()
    return trained


@pytest.mark.parametrize("decoder", ["light", "exact"])
def test_sentences_learnt_by_heart_are_rebuilt_from_their_vectors_alone(tiny, decoder, monkeypatch):
    texts = sentences(2)
    trained = by_heart(tiny, texts, decoder)
    assert trained.rebuild(texts) == texts
    vectors = trained.vectors
    monkeypatch.setattr(trained, "vectors", lambda *given: vectors(*given).flip(0))
    assert trained.rebuild(texts) == texts[::-1]


def test_where_no_mark_begins_a_text_its_first_token_is_given(tiny):
    from tokenizers.processors import TemplateProcessing

    bare = TemplateProcessing(single="$A [SEP]", special_tokens=[("[SEP]", 3)])
    tiny.tokenizer.backend_tokenizer.post_processor = bare
    texts = ["fever at night after long walks", "rash of the arm"]
    trained = by_heart(tiny, texts)
    assert trained.features(texts)["input_ids"][:, 0].tolist() == [
        tiny.tokenizer.convert_tokens_to_ids(word) for word in ("fever", "rash")
    ]
    assert trained.rebuild(texts) == texts


def test_the_result_tells_what_was_rebuilt_at_the_start_at_each_step_asked_for_and_at_the_end(tiny):
    short, texts = [one for one, _ in PAIRS], ["patient fever night", "rash"]
    config = TSDAEConfig(**{**vars(QUICK), "max_tokens": 8})
    result = tsdae(tiny, short, config, watch=texts, watch_at=[2, 5, 100])
    found = result.rebuilt
    assert list(found.columns) == ["step", "sentence", "rebuilt"]
    steps = [(step, text) for step in (0, 2, 5, 6) for text in texts]
    assert list(zip(found["step"], found["sentence"], strict=True)) == steps
    assert found["rebuilt"].map(lambda text: len(text.split())).max() < 8
    assert "rebuilt" not in result.history
    # At the start it says what a decoder says that nobody trained.
    assert objective(tiny, config, short).rebuild(texts) == found["rebuilt"][:2].tolist()
    assert tsdae(tiny).rebuilt.empty


@pytest.mark.parametrize("decoder", ["light", "exact"])  # the dropout of exact draws
def test_watching_changes_no_digit_of_the_training(tiny, decoder):
    config = TSDAEConfig(**{**vars(QUICK), "decoder": decoder})
    alone = tsdae(tiny, config=config)
    watched = tsdae(tiny, config=config, watch=["rash"], watch_at=range(6))
    assert same(weights(watched.model), weights(alone.model))
    kept = [result.history.drop(columns="seconds") for result in (watched, alone)]
    pd.testing.assert_frame_equal(*kept)


def test_what_cannot_be_watched_is_refused(tiny):
    contrast = TSDAEConfig(**{**vars(QUICK), "objective": "contrast"})
    with pytest.raises(ValueError, match="objective='contrast' has none"):
        tsdae(tiny, config=contrast, watch=["rash"])
    with pytest.raises(ValueError, match="has no decoder"):
        objective(tiny, contrast).rebuild(["rash"])
    with pytest.raises(TypeError, match="watch is one string"):
        tsdae(tiny, watch="rash")
