"""Denoising learns to rebuild sentences from damaged copies; contrast finds the other copy."""

import itertools

import numpy as np
import pytest
from accelerate import Accelerator

from course_utils import encode
from course_utils.adaptation import TSDAEConfig, add_noise
from course_utils.adaptation.denoising import DenoisingObjective
from course_utils.adaptation.noise import KINDS
from course_utils.adaptation.texts import prepare_sentences

from .toys import QUICK, sentences, tsdae


def objective(model, config, texts=None):
    texts = prepare_sentences(texts or sentences(), model.tokenizer, 32)
    return DenoisingObjective(model, texts, config, 32, Accelerator())


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
