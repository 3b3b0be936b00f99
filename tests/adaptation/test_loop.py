"""The loop: fetch, forward, backward, step, callback, stop; and what it leaves alone."""

import json
import math
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest
import torch
from accelerate import Accelerator

from course_utils import encode
from course_utils.adaptation import PairsConfig, TSDAEConfig
from course_utils.adaptation.loop import Trainer, ramp
from course_utils.adaptation.pairs import PairsObjective
from course_utils.adaptation.texts import prepare_pairs
from course_utils.models.fingerprints import fingerprint

from .toys import PAIRS, QUICK, QUICK_PAIRS, pairs, same, sentences, tsdae, weights


def trainer(model, config=QUICK_PAIRS):
    texts = prepare_pairs(PAIRS, model.tokenizer, 32)
    return Trainer(PairsObjective(model, texts, None, config, 32, Accelerator()))


def test_a_run_is_adamw_on_the_objectives_gradients_written_out(tiny):
    ours = trainer(tiny)
    ours.run()
    by_hand = trainer(tiny)
    start = list(by_hand.encoder_weights.values())
    first, second = (0.9, 0.999)
    m, v = ([torch.zeros_like(w) for w in start] for _ in range(2))
    for step in range(6):
        loss, _ = by_hand.objective.forward(by_hand.objective.fetch(step))
        used = torch.autograd.grad(loss, start, allow_unused=True)
        grads = [torch.zeros_like(w) if g is None else g for w, g in zip(start, used, strict=True)]
        length = math.sqrt(sum(float(g.square().sum()) for g in grads))
        rate = 1e-3 * ramp(step, 6, 0.1)
        for w, g, a, b in zip(start, grads, m, v, strict=True):
            g = g / max(1.0, length)  # cut at 1
            a.mul_(first).add_((1 - first) * g)
            b.mul_(second).add_((1 - second) * g * g)
            change = (
                a / (1 - first ** (step + 1)) / ((b / (1 - second ** (step + 1))).sqrt() + 1e-8)
            )
            w.data -= rate * change
    for name, weight in ours.encoder_weights.items():
        assert torch.allclose(weight, by_hand.encoder_weights[name], atol=2e-4), name
    moved = max((w - s).abs().max() for w, s in zip(start, tiny.parameters(), strict=True))
    assert moved > 2e-3


def test_callbacks_are_called_in_order_before_the_first_step_and_after_each(tiny):
    seen, run = [], trainer(tiny)
    run.callbacks = [
        lambda it: seen.append(("one", it.step)),
        lambda it: seen.append(("two", len(it.history) - 1)),
    ]
    run.run()
    assert seen == [(name, step) for step in range(7) for name in ("one", "two")]


def test_the_learning_rate_rises_then_falls_to_the_end(tiny):
    rates = [ramp(done, 100, 0.1) for done in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 10)
    assert (np.diff(rates[10:]) < 0).all()
    assert 0 < rates[-1] < 0.02
    history = pairs(tiny).history
    used = [1e-3 * ramp(done, 6, 0.1) for done in range(6)]
    assert history["learning_rate"].iloc[1:].tolist() == pytest.approx(used)


def test_an_epoch_goes_once_through_the_texts(tiny):
    history = tsdae(tiny, sentences(20), TSDAEConfig(batch_size=8, epochs=2)).history
    assert history["texts"].sum() == 40
    assert history["epoch"].iloc[1:].tolist() == [0, 0, 0, 1, 1, 1]
    history = pairs(tiny, PAIRS[:30], PairsConfig(batch_size=16, epochs=2)).history
    assert history["texts"].sum() == 60


def test_a_loss_that_is_no_number_stops_with_its_step_and_texts(tiny):
    word = tiny.tokenizer.convert_tokens_to_ids("winter")
    with torch.no_grad():
        tiny[0].auto_model.embeddings.word_embeddings.weight[word] = math.nan
    texts = [f"{text} and winter winter winter" for text in sentences(8)]
    with pytest.raises(
        FloatingPointError, match=r"nan at step 1 of 6, .* 8 texts .* 'the patient has .*winter"
    ):
        tsdae(tiny, texts, TSDAEConfig(batch_size=8, max_steps=6, rate=0.2))
    with pytest.raises(FloatingPointError, match=r"nan at step \d of 6, on a batch of 16 texts"):
        pairs(tiny, [(text, "a fever") for text in texts])


# What is left alone


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("train", [tsdae, pairs])
def test_the_model_that_is_given_stays_as_it_is(tiny, training, train):
    tiny.train(training)
    before, mark, name = weights(tiny), fingerprint(tiny), tiny.model_card_data.model_name
    result = train(tiny)
    assert same(weights(tiny), before)
    assert fingerprint(tiny) == mark
    assert fingerprint(result.model) != mark
    assert (tiny.training, tiny.device.type) == (training, "cpu")
    assert tiny.model_card_data.model_name == name
    assert all(weight.grad is None for weight in tiny.parameters())


def test_torchs_random_numbers_are_where_they_were(tiny):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    tsdae(tiny, config=TSDAEConfig(max_steps=2, decoder="exact"))  # whose dropout draws
    assert torch.equal(torch.get_rng_state(), before)


def test_the_seed_decides_everything(tiny):
    def run(seed):
        config = TSDAEConfig(max_steps=4, seed=seed, decoder="exact", bfloat16=False)
        return weights(tsdae(tiny, config=config).model)

    first = run(0)
    torch.manual_seed(7)
    assert same(first, run(0))
    assert not same(first, run(1))


# Several processes

TWO = """
    import json, sys
    import torch
    from accelerate import Accelerator
    from course_utils import load_model
    from course_utils.adaptation import PairsConfig, TSDAEConfig, train_pairs, train_tsdae
    torch.set_num_threads(1)
    texts, pairs, general = json.load(open(sys.argv[2], encoding="utf-8"))
    model = load_model(sys.argv[1], device="cpu")
    shared = {"batch_size": 9, "learning_rate": 1e-3, "bfloat16": False}
    steps, watch = [], {"on_progress": lambda now: steps.append(now.step)}
    results = [
        train_tsdae(model, texts, TSDAEConfig(max_steps=20, **shared), **watch),
        train_tsdae(model, texts, TSDAEConfig(max_steps=6, objective="contrast", **shared), **watch),
        # Gently: at first only rounding moves what distillation alone looks at, and Adam enlarges it.
        train_pairs(model, pairs, PairsConfig(max_steps=6, **shared | {"learning_rate": 1e-4}),
                    general=general, **watch),
    ]
    here = Accelerator()
    assert bool(steps) == here.is_main_process  # one process tells
    told = {"processes": here.num_processes,
            **{name: [x for r in results for x in r.history[name].tolist()[1:]]
               for name in ("loss", "gradient")},
            "vectors": [r.encode(texts[:4]).tolist() for r in results]}
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
    assert runs[2]["gradient"] == pytest.approx(runs[1]["gradient"], rel=1e-2)
    assert np.allclose(runs[2]["vectors"], runs[1]["vectors"], atol=1e-4)


# The real thing


def test_minilm_takes_ten_steps_on_medical_definitions(minilm):
    from course_utils.data import load_texts

    texts = load_texts("medical")[:200]
    before = fingerprint(minilm)
    config = TSDAEConfig(
        **{**vars(QUICK), "max_steps": 10, "max_tokens": 32, "learning_rate": 3e-5}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some definitions are long
        result = tsdae(minilm, texts, config)
    loss = result.history["loss"]
    assert loss.iloc[-3:].mean() < loss.iloc[1]
    assert fingerprint(minilm) == before
    both = encode(minilm, texts[:20]) * encode(result.model, texts[:20])
    assert both.sum(1).min() > 0.9  # ten small steps leave the vectors about where they were
