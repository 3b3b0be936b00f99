"""bfloat16 changes how vectors are computed, and neither what weights nor what losses are made of."""

import pytest
import torch
from accelerate import Accelerator

from course_utils.adaptation import PairsConfig, TSDAEConfig
from course_utils.adaptation.denoising import DenoisingObjective
from course_utils.adaptation.pairs import PairsObjective
from course_utils.adaptation.texts import prepare_pairs, prepare_sentences

from .toys import PAIRS, pairs, sentences, tsdae, weights

CONFIGS = [
    TSDAEConfig(bfloat16=True, max_steps=3, batch_size=8),
    TSDAEConfig(bfloat16=True, max_steps=3, batch_size=8, decoder="exact"),
    TSDAEConfig(bfloat16=True, max_steps=3, batch_size=8, objective="contrast"),
    PairsConfig(bfloat16=True, max_steps=3, batch_size=8),
]


def objective(model, config):
    if isinstance(config, TSDAEConfig):
        texts = prepare_sentences(sentences(), model.tokenizer, 32)
        return DenoisingObjective(model, texts, config, 32, Accelerator())
    texts = prepare_pairs(PAIRS, model.tokenizer, 32)
    return PairsObjective(model, texts, None, config, 32, Accelerator())


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.objective}-{getattr(c, 'decoder', '')}"
)
def test_weights_gradients_vectors_and_losses_are_float32_and_what_is_between_is_not(tiny, config):
    run = objective(tiny, config)
    seen = []
    layer = run.encoder[0].auto_model.encoder.layer[0].output.dense
    layer.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    loss, told = run.forward(run.fetch(0))
    loss.backward()
    assert set(seen) == {torch.bfloat16}
    assert loss.dtype == torch.float32
    assert run.vectors(["a fever"]).dtype == torch.float32
    for weight in run.encoder.parameters():
        assert weight.dtype == torch.float32
        assert weight.grad is None or weight.grad.dtype == torch.float32
    assert told["loss"] == pytest.approx(loss.item())


@pytest.mark.parametrize(
    "config", CONFIGS, ids=lambda c: f"{c.objective}-{getattr(c, 'decoder', '')}"
)
def test_the_loss_in_bfloat16_is_that_in_float32_to_its_eight_bits(tiny, config):
    exact = type(config)(**{**vars(config), "bfloat16": False})
    losses = []
    for one in (config, exact):
        run = objective(tiny, one)
        if run.decoder is not None:
            run.decoder.eval()
        losses.append(run.forward(run.fetch(0))[1]["loss"])
    assert losses[0] == pytest.approx(losses[1], rel=2**-7)
    assert losses[0] != losses[1]


def test_cosines_and_softmax_of_the_ranking_are_float32(tiny):
    """Eight bits cannot tell cosines of .996 and .998 apart; divided by .07 it would show."""
    run = objective(tiny, CONFIGS[-1])
    given = []
    real = torch.nn.functional.cross_entropy

    def spy(scores, *rest, **options):
        given.append(scores.dtype)
        return real(scores, *rest, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.nn.functional.cross_entropy", spy)
        run.forward(run.fetch(0))
        decoder = objective(tiny, CONFIGS[0])
        decoder.forward(decoder.fetch(0))
    assert given == [torch.float32] * 3


@pytest.mark.parametrize(
    ("limit", "bfloat16", "fused"), [(128, True, False), (129, True, True), (32, False, True)]
)
def test_attention_is_written_out_where_texts_are_short_and_in_bfloat16(
    tiny, limit, bfloat16, fused
):
    run = objective(tiny, PairsConfig(bfloat16=bfloat16))
    run.limit = limit
    with run.precision():
        assert torch.backends.cuda.flash_sdp_enabled() is fused  # of the CPU's kernel too
    assert torch.backends.cuda.flash_sdp_enabled()


def test_distillation_is_nothing_at_the_start_in_bfloat16_too(tiny):
    config = PairsConfig(bfloat16=True, max_steps=1, batch_size=8)
    result = pairs(tiny, config=config, general=sentences(16, seed=9))
    assert result.history["distillation"].iloc[1] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("has", [True, False])
def test_none_means_where_the_processor_has_it(tiny, monkeypatch, has):
    monkeypatch.setattr("course_utils.adaptation.objective.has_bfloat16", lambda device: has)
    result = pairs(tiny, config=PairsConfig(max_steps=1))
    assert result.precision == ("bfloat16" if has else "float32")
    forced = tsdae(tiny, config=TSDAEConfig(max_steps=1, bfloat16=not has))
    assert forced.precision == ("float32" if has else "bfloat16")


def test_a_run_in_bfloat16_learns_as_one_in_float32(tiny):
    options = {"max_steps": 60, "batch_size": 16, "learning_rate": 1e-3}
    ends = {}
    for bfloat16 in (False, True):
        loss = pairs(tiny, config=PairsConfig(bfloat16=bfloat16, **options)).history["loss"]
        ends[bfloat16] = loss.iloc[-10:].mean()
        assert ends[bfloat16] < 0.7 * loss.iloc[1:6].mean()
    assert ends[True] == pytest.approx(ends[False], rel=0.1)


def test_half_precision_models_are_trained_as_float32(tiny):
    tiny.to(torch.bfloat16)
    result = pairs(tiny, config=PairsConfig(max_steps=2, bfloat16=False))
    assert {weight.dtype for weight in weights(result.model).values()} == {torch.float32}
