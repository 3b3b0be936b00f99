"""The small BERT trained by masking: its run can be broken off, its folder loads, its texts are clean."""

import json
import math
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import cross_entropy

from course_utils import encode, load_model
from course_utils.adaptation.dev import refuse_leak
from course_utils.data import load_task

from .toys import PAIRS, pairs, same, sentences, tsdae, weights

STORED = Path(__file__).parents[2] / "datasets" / "small_bert"
SENTENCES = sentences(600)


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Several threads add gradients in an order of their own, and the last digits differ."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bench():
    path = Path(__file__).parents[2] / "benchmarks" / "small_bert.py"
    spec = spec_from_file_location("small_bert_benchmark", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def plan(bench):
    return bench.Plan(
        epochs=12, rows=8, learning_rate=3e-3, save_every=4, vocabulary=150, width=32, layers=2
    )


def fields():
    return {"toy": SENTENCES[:500], "more": SENTENCES[500:]}


@pytest.fixture(scope="module")
def run(bench, plan, tmp_path_factory):
    """A finished training: its folder, model and history."""
    folder = tmp_path_factory.mktemp("run")
    return folder, *bench.pretrain(folder, fields, plan, say=lambda line: None)


@pytest.fixture(scope="module")
def exported(bench, run, tmp_path_factory):
    return bench.export(run[0], tmp_path_factory.mktemp("exported") / "small_bert")


# Texts and tokens


def test_equal_texts_give_equal_tokens(bench):
    one, other = (bench.train_tokenizer(SENTENCES, 150) for _ in range(2))
    assert one.get_vocab() == other.get_vocab()
    assert len(one) <= 150
    assert one("Fever!")["input_ids"] == one("fever!")["input_ids"]
    assert one.decode(one("the patient has fever")["input_ids"]) == (
        "[CLS] the patient has fever [SEP]"
    )


def test_a_marked_letter_within_a_text_is_no_piece_of_a_word(bench):
    tokenizer = bench.train_tokenizer(SENTENCES, 150)
    assert tokenizer.tokenize("##f")[0] != "##f"


def test_rows_hold_the_texts_end_to_end(bench):
    tokenizer = bench.train_tokenizer(SENTENCES, 150)
    rows = bench.pack(SENTENCES, tokenizer)
    halves = rows.reshape(-1, bench.SHORT)
    assert rows.shape[1] == bench.LONG
    assert (halves[:, 0] == tokenizer.cls_token_id).all()
    stream = [
        token
        for text in SENTENCES
        for token in [*tokenizer(text, add_special_tokens=False)["input_ids"], 3]
    ]
    found = halves[:, 1:].ravel().tolist()
    assert found == stream[: len(found)]
    assert len(stream) - len(found) < bench.LONG - 2


def test_rows_held_out_are_not_trained_on(bench):
    rows = np.arange(300)[:, None]
    trained, held_out = bench.divide(rows, seed=0)
    assert len(held_out) == 3
    assert sorted([*trained[:, 0], *held_out[:, 0]]) == list(range(300))


def test_no_question_of_a_search_is_among_the_texts(bench):
    texts = [text for of_field in bench.course_texts().values() for text in of_field]
    for task in bench.questions():
        refuse_leak(task, texts)
    for name in ("medical/no-shared-word", "medical/with-definitions"):
        refuse_leak(load_task(name), texts)


# Masking


def test_the_loss_is_that_of_the_whole_model_at_the_hidden_places(bench, run):
    folder, model, _ = run
    tokenizer, rows, _ = bench.prepare(folder, fields, bench.Plan())
    masking = bench.Masking(model, tokenizer)
    masking.bfloat16 = False
    ids = torch.from_numpy(rows[:4].astype(np.int64))
    loss, places = masking(ids, seed=5)
    masking.hide.generator = torch.Generator().manual_seed(5)
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    damaged, labels = masking.hide.torch_mask_tokens(ids.clone(), special_tokens_mask=special)
    with torch.no_grad():
        logits = model(input_ids=damaged, attention_mask=torch.ones_like(ids)).logits
    assert loss.item() == pytest.approx(cross_entropy(logits.mT, labels).item(), rel=1e-5)
    assert places == (labels != -100).sum()
    assert abs(places / (~special).sum() - 0.15) < 4 * math.sqrt(0.15 * 0.85 / (~special).sum())
    assert not (labels != -100)[special].any()


def test_masking_teaches_and_starts_from_knowing_nothing(run, plan):
    history = run[2]
    assert history[0]["held_out"] == pytest.approx(math.log(plan.vocabulary), rel=0.1)
    assert history[-1]["held_out"] < history[0]["held_out"] - 1
    assert history[-1]["epoch"] == plan.epochs


# Broken off and gone on with


def test_a_training_that_was_broken_off_goes_on_as_if_it_had_not_been(bench, plan, run, tmp_path):
    def stop(step):
        if step == 11:  # between two checkpoints, within an epoch
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.pretrain(tmp_path, fields, plan, on_step=stop, say=lambda line: None)
    steps = []
    model, history = bench.pretrain(
        tmp_path, fields, plan, on_step=steps.append, say=lambda line: None
    )
    assert steps[0] == 9
    assert same(weights(model), weights(run[1]))
    assert [row["held_out"] for row in history] == [row["held_out"] for row in run[2]]


def test_a_folder_with_another_training_is_refused(bench, plan, run):
    other = bench.Plan(**{**vars(plan), "seed": 1})
    with pytest.raises(ValueError, match="another plan"):
        bench.pretrain(run[0], fields, other)


# The folder


def test_the_folder_loads_as_an_embedder_in_float32_the_same_every_time(exported, plan):
    model = load_model(exported, device="cpu")
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}
    assert same(weights(model), weights(load_model(exported, device="cpu")))
    vectors = encode(model, ["fever of the arm", "a rash"])
    assert vectors.shape == (2, plan.width)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    with safe_open(exported / "model.safetensors", "pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}  # noqa: SIM118


def test_the_folder_holds_the_whole_language_model(bench, run, exported):
    _, model, _ = run
    _, masked = bench.load_masked(exported, device="cpu")
    stored = {name: weight.half().float() for name, weight in model.state_dict().items()}
    found = masked.state_dict()
    assert all(torch.equal(found[name], weight) for name, weight in stored.items())
    assert masked.cls.predictions.decoder.weight is masked.bert.embeddings.word_embeddings.weight


def test_the_card_says_how_long_it_was_trained_and_how_well(exported, run):
    text = (exported / "README.md").read_text("utf-8")
    last = run[2][-1]
    assert f"{last['step']:,} steps" in text
    assert f"**Loss** {last['held_out']:.3f}" in text
    assert "`toy` 500" in text
    assert "`more` 100" in text


def test_all_trainings_begin_from_it(exported):
    start = load_model(exported, device="cpu")
    assert not same(weights(tsdae(start).model), weights(start))
    assert not same(weights(pairs(start, PAIRS).model), weights(start))


def test_masking_goes_on_from_it(bench, exported):
    start = load_model(exported, device="cpu")
    longer, again = (
        bench.train_mlm(exported, SENTENCES, 5, batch_size=8, device="cpu") for _ in range(2)
    )
    assert same(weights(longer), weights(again))
    kept = {n for n, w in weights(longer).items() if torch.equal(w, weights(start)[n])}
    assert kept == {name for name in weights(start) if "pooler" in name}


@pytest.mark.skipif(not STORED.exists(), reason="nobody has trained it here")
def test_the_courses_own_is_small_and_its_card_is_that_of_its_training():
    told = json.loads((STORED / "training.json").read_text("utf-8"))
    text = (STORED / "README.md").read_text("utf-8")
    assert (STORED / "model.safetensors").stat().st_size < 16_000_000
    assert f"{told['steps']:,} steps" in text
    assert f"**Loss** {told['held_out']:.3f}" in text
    vectors = encode(load_model(STORED, device="cpu"), ["fever"])
    assert vectors.shape == (1, told["plan"]["width"]) == (1, 256)
