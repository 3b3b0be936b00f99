"""encode: the vectors of SentenceTransformer.encode, each text once, nothing lost in silence."""

import copy
import gc
import math
import subprocess
import sys
import warnings
import weakref

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_utils.encoding.cache import EmbeddingCache
from course_utils.encoding.embedders import as_embedder, dimension
from course_utils.encoding.encode import encode
from course_utils.models.fingerprints import fingerprint

CLOSE = {"rtol": 0, "atol": 1e-5}
MIXED = [
    "",
    "a",
    "Sparse matrices hold few values.",
    "ß, 数学 und Ω: 3.14159",
    "one " * 40,
    "The gradient of a quadratic form is linear in its argument. " * 9,
    "tab\tnewline\n" * 7,
    "UPPER lower",
]
LONG = " ".join(f"word{i} is number {i} of this long text;" for i in range(60))
EXAMPLES = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture
def model(minilm):
    """A copy of the model that a test may change."""
    return copy.deepcopy(minilm)


@pytest.fixture
def cache(tmp_path):
    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        yield cache


def counting(dimension=3):
    """An embedder whose vectors depend on the text alone, and the texts it was asked for."""
    asked = []

    def function(texts):
        asked.append(list(texts))
        return np.array([[len(t) + 1, t.count("e"), sum(map(ord, t)) % 97] for t in texts])

    return as_embedder(function, fingerprint="counting-1"), asked


# The same vectors as the library


@pytest.mark.parametrize("unit", [True, False])
def test_vectors_are_those_of_sentence_transformers(minilm, unit):
    texts = [*MIXED, *(f"{text} {i}" for i, text in enumerate(MIXED * 5))]
    ours = encode(minilm, texts, normalize_embeddings=unit)
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, minilm.encode(texts, normalize_embeddings=unit), **CLOSE)


def test_cut_texts_have_the_vectors_of_sentence_transformers(minilm):
    with pytest.warns(UserWarning, match="longer than"):
        ours = encode(minilm, [LONG, "short", LONG * 3])
    theirs = minilm.encode([LONG, "short", LONG * 3], normalize_embeddings=True)
    np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_a_tokenizer_that_cuts_on_the_left_is_followed(model):
    model.tokenizer.truncation_side = "left"
    texts = [LONG, *MIXED]
    with pytest.warns(UserWarning, match="1 of 9"):
        ours = encode(model, texts)
    np.testing.assert_allclose(ours, model.encode(texts, normalize_embeddings=True), **CLOSE)


def test_a_tokenizer_that_pads_on_the_left_is_followed(model):
    # One batch for both: with BERT's absolute positions, padding on the left shifts a text.
    model.tokenizer.padding_side = "left"
    theirs = model.encode(MIXED[:5], normalize_embeddings=True)
    assert np.abs(theirs - encode(model, MIXED[:5], batch_size=1)).max() > 1e-3
    np.testing.assert_allclose(encode(model, MIXED[:5]), theirs, **CLOSE)


def test_a_tokenizer_without_special_tokens_is_followed(model):
    from tokenizers.processors import TemplateProcessing

    model.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A")
    texts = ["", "one", LONG]
    with pytest.warns(UserWarning, match="1 of 3"):
        ours = encode(model, texts)
    np.testing.assert_allclose(ours, model.encode(texts, normalize_embeddings=True), **CLOSE)
    assert np.isfinite(encode(model, [""], prompt="query: ")).all()
    assert encode(model, [""]).tolist() == [[0] * 384]


def test_prompts_count_as_in_sentence_transformers(model):
    model.prompts["query"] = "search query: "
    model.default_prompt_name = "query"
    for prompt in (None, "", "passage: "):
        theirs = model.encode(MIXED, prompt=prompt, normalize_embeddings=True)
        np.testing.assert_allclose(encode(model, MIXED, prompt=prompt), theirs, **CLOSE)


@pytest.mark.parametrize("mode", ["cls", "mean", "max"])
def test_pooling_without_the_prompt_is_followed(model, mode):
    pooling = type(model[1])(384, pooling_mode=mode, include_prompt=False)
    model[1] = pooling
    theirs = model.encode(MIXED, prompt="passage: ", normalize_embeddings=True)
    np.testing.assert_allclose(encode(model, MIXED, prompt="passage: "), theirs, **CLOSE)


def test_a_cut_of_dimensions_is_followed(model):
    model.truncate_dim = 64
    ours = encode(model, MIXED)
    assert ours.shape == (len(MIXED), dimension(model)) == (len(MIXED), 64)
    np.testing.assert_allclose(ours, model.encode(MIXED, normalize_embeddings=True), **CLOSE)


def test_a_model_without_a_transformer_is_left_to_its_own_encode_by_the_thousand(
    minilm, cache, monkeypatch
):
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    weights = np.random.default_rng(1).normal(size=(30522, 8)).astype(np.float32)
    tokenizer = copy.deepcopy(minilm.tokenizer)
    static = SentenceTransformer(modules=[StaticEmbedding(tokenizer, weights)], device="cpu")
    texts = [text for text in MIXED if text]
    theirs = static.encode(texts, normalize_embeddings=True)
    for _ in range(2):
        np.testing.assert_allclose(encode(static, texts, cache=cache), theirs, **CLOSE)
    assert cache.stats()["vectors"] == len(texts)
    np.testing.assert_allclose(encode(static, texts, on_long="chunk"), theirs, **CLOSE)
    asked = []

    def own(part, **told):
        asked.append(len(part))
        return np.ones((len(part), 8), np.float32)

    monkeypatch.setattr(static, "encode", own)
    encode(static, [f"text {number}" for number in range(1500)], batch_size=32)
    assert asked == [1024, 476]


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_float32_comes_out_of_a_half_precision_model(model, minilm, kind):
    import torch

    ours = encode(model.to(getattr(torch, kind)), MIXED)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-6)
    assert (ours * encode(minilm, MIXED)).sum(1).min() > 0.99


@given(batch_size=st.integers(1, 40))
@EXAMPLES
def test_the_batch_size_does_not_show_in_the_vectors(minilm, batch_size):
    ours = encode(minilm, MIXED, batch_size=batch_size)
    np.testing.assert_allclose(ours, encode(minilm, MIXED), **CLOSE)


@given(st.lists(st.text(max_size=30), max_size=12), st.randoms(use_true_random=False))
@EXAMPLES
def test_the_order_of_texts_is_the_order_of_rows(minilm, texts, random):
    order = list(range(len(texts)))
    random.shuffle(order)
    ours = encode(minilm, [texts[i] for i in order])
    np.testing.assert_allclose(ours, encode(minilm, texts)[order], **CLOSE)


# Once each


@given(st.lists(st.sampled_from(["", "e", "tree", "three", "Ω"]), max_size=30), st.integers(1, 7))
def test_a_text_is_encoded_once_and_appears_wherever_it_stood(texts, batch_size):
    embedder, asked = counting()
    matrix = encode(embedder, texts, batch_size=batch_size, normalize_embeddings=False)
    seen = [text for part in asked for text in part]
    assert seen == list(dict.fromkeys(texts))
    assert all(len(part) <= batch_size for part in asked)
    for text, row in zip(texts, matrix, strict=True):
        np.testing.assert_array_equal(row, embedder.encode([text])[0])


def test_duplicates_share_one_vector_of_a_real_model(minilm):
    matrix = encode(minilm, ["one", "two", "one", "one"])
    assert (matrix[0] == matrix[2]).all()
    assert (matrix[0] == matrix[3]).all()
    np.testing.assert_allclose(matrix[:2], minilm.encode(["one", "two"]), **CLOSE)


def test_no_texts_give_a_matrix_without_rows(minilm):
    empty = encode(minilm, [])
    assert empty.shape == (0, 384)
    assert empty.dtype == np.float32
    assert encode(as_embedder(len), []).shape == (0, 0)


@pytest.mark.parametrize(
    "texts",
    [
        ("one", "two"),
        np.array(["one", "two"]),
        (text for text in ("one", "two")),
        {"one": 1, "two": 2}.keys(),
    ],
    ids=["tuple", "array", "generator", "keys"],
)
def test_any_ordered_collection_of_strings_will_do(texts):
    embedder, asked = counting()
    if isinstance(texts, type({}.keys())):
        with pytest.raises(TypeError, match="in order"):
            encode(embedder, texts)
    else:
        assert encode(embedder, texts).shape == (2, 3)
        assert asked == [["one", "two"]]


# Refusals


@pytest.mark.parametrize(
    ("texts", "error", "said"),
    [
        ("one text", TypeError, "single string"),
        (b"one text", TypeError, "single string"),
        (None, TypeError, "NoneType"),
        (7, TypeError, "int"),
        ({"id": "text"}, TypeError, "mapping"),
        ({"text"}, TypeError, "in order"),
        (["a", None], TypeError, r"texts\[1\] is None"),
        (["a", "b", float("nan")], TypeError, r"texts\[2\] is nan"),
        (["a", 3], TypeError, r"texts\[1\] is of type int"),
        ([["a"]], TypeError, r"texts\[0\] is of type list"),
        (["a", "\ud800b"], ValueError, r"texts\[1\] is not valid Unicode"),
    ],
)
def test_what_is_no_list_of_texts_is_refused_by_index(minilm, texts, error, said):
    with pytest.raises(error, match=said):
        encode(minilm, texts)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"on_long": "cut"}, ValueError, "on_long"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"cache": "file.sqlite"}, TypeError, "EmbeddingCache"),
    ],
)
def test_options_with_unknown_values_are_refused(minilm, options, error, said):
    with pytest.raises(error, match=said):
        encode(minilm, ["a"], **options)


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", None, 3])
def test_a_model_that_cannot_encode_is_refused(model):
    with pytest.raises(TypeError, match="load_model"):
        encode(model, ["a"])


# Long texts


def test_long_texts_are_counted_and_reported_once(minilm, capsys):
    count = len(minilm.tokenizer(LONG, verbose=False)["input_ids"])
    assert count > 256
    with pytest.warns(UserWarning, match="longer than") as caught:
        encode(minilm, [LONG, "short", LONG, LONG[:-20]])
    assert len(caught) == 1
    message = str(caught[0].message)
    assert "3 of 4 texts" in message
    assert f"(the longest has {count})" in message
    assert "limit of 256 tokens" in message
    assert caught[0].filename == __file__
    assert "Token indices" not in capsys.readouterr().err


def test_texts_of_exactly_the_limit_are_not_long(minilm):
    body = ["the"] * 254
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(minilm, [" ".join(body)])
    with pytest.warns(UserWarning, match="has 257"):
        encode(minilm, [" ".join([*body, "the"])])


def test_an_error_names_the_long_texts(minilm, monkeypatch):
    monkeypatch.setattr(minilm, "forward", None)  # nothing is encoded before the refusal
    with pytest.raises(ValueError, match=r"2 of 3 texts .*: texts\[0\], texts\[2\]\. Split"):
        encode(minilm, [LONG, "short", LONG], on_long="error")


def test_windows_are_the_tokenizers_own_and_weighted_by_their_tokens(minilm):
    import torch

    room = 254  # 256 less [CLS] and [SEP]
    windows = minilm.tokenizer(
        LONG,
        max_length=256,
        truncation=True,
        stride=int(room * 0.25),
        return_overflowing_tokens=True,
        verbose=False,
    )["input_ids"]
    assert len(windows) > 2
    with torch.inference_mode():
        vectors = [
            minilm({"input_ids": torch.tensor([ids]), "attention_mask": torch.ones(1, len(ids))})
            for ids in windows
        ]
    vectors = np.stack([vector["sentence_embedding"][0].numpy() for vector in vectors])
    mean = np.average(vectors, axis=0, weights=[len(ids) - 2 for ids in windows])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is lost, so nothing is reported
        unit = encode(minilm, ["a", LONG, "b"], on_long="chunk")[1]
        plain = encode(minilm, [LONG], on_long="chunk", normalize_embeddings=False)[0]
    np.testing.assert_allclose(plain, mean, **CLOSE)
    np.testing.assert_allclose(unit, mean / np.linalg.norm(mean), **CLOSE)


def test_windows_let_the_end_of_a_text_count(minilm):
    ends = [LONG + " violins", LONG + " taxation"]
    with pytest.warns(UserWarning, match="2 of 2"):
        cut = encode(minilm, ends)
    np.testing.assert_array_equal(cut[0], cut[1])
    windows = encode(minilm, ends, on_long="chunk")
    assert np.abs(windows[0] - windows[1]).max() > 1e-3


@given(st.lists(st.text(max_size=60), min_size=1, max_size=6))
@EXAMPLES
def test_short_texts_are_one_window(minilm, texts):
    np.testing.assert_array_equal(encode(minilm, texts, on_long="chunk"), encode(minilm, texts))


@pytest.mark.parametrize("count", [255, 300, 444, 445, 446, 700])
def test_no_window_is_over_the_limit_and_none_is_empty(minilm, monkeypatch, count):
    lengths = []
    forward = minilm.forward

    def spy(features, **options):
        lengths.extend(features["attention_mask"].sum(1).tolist())
        return forward(features, **options)

    monkeypatch.setattr(minilm, "forward", spy)
    encode(minilm, [" ".join(["the"] * count)], on_long="chunk", prompt="passage: ")
    assert max(lengths) == 256
    head_and_tail = 4  # [CLS] passage : ... [SEP]
    assert min(lengths) > head_and_tail
    assert sum(n - head_and_tail for n in lengths) >= count


def test_a_prompt_that_leaves_no_room_is_refused(minilm):
    with pytest.raises(ValueError, match="Shorten"):
        encode(minilm, ["text"], prompt="very " * 300, on_long="chunk")


# The model is left as it was


def test_the_model_is_as_before_also_after_an_error(model, monkeypatch):
    model.train()
    model[0].model.encoder.layer[2].eval()
    modes = [module.training for module in model.modules()]
    values = {name: value.clone() for name, value in model.state_dict().items()}
    grads = [parameter.requires_grad for parameter in model.parameters()]
    once, again = encode(model, MIXED), encode(model, MIXED)
    np.testing.assert_array_equal(once, again)  # no dropout
    monkeypatch.setattr(model, "forward", lambda features: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        encode(model, MIXED, device="cpu")
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == grads
    assert model.max_seq_length == 256
    for name, value in model.state_dict().items():
        assert value.equal(values[name])


def test_a_model_can_still_be_trained_after_encoding(model):
    encode(model, MIXED)
    features = model.tokenizer(MIXED, padding=True, return_tensors="pt")
    model(dict(features))["sentence_embedding"].sum().backward()
    assert any(parameter.grad is not None for parameter in model.parameters())


def test_another_device_is_used_and_left_again(model):
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no second device on this machine")
    ours = encode(model, MIXED, device="cuda")
    assert model.device.type == "cpu"
    np.testing.assert_allclose(ours, encode(model, MIXED), rtol=0, atol=1e-3)
    assert fingerprint(copy.deepcopy(model).to("cuda")) == fingerprint(model)


def test_a_batch_too_large_for_the_memory_is_halved(minilm, monkeypatch):
    import torch

    expected = encode(minilm, MIXED)
    forward, rows = minilm.forward, []

    def small(features, **options):
        rows.append(len(features["input_ids"]))
        if rows[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return forward(features, **options)

    monkeypatch.setattr(minilm, "forward", small)
    np.testing.assert_allclose(encode(minilm, MIXED), expected, **CLOSE)
    assert max(rows) > 2


def test_a_single_text_too_large_for_the_memory_is_an_error(minilm, monkeypatch):
    import torch

    def full(features):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")

    monkeypatch.setattr(minilm, "forward", full)
    with pytest.raises(torch.OutOfMemoryError):
        encode(minilm, ["one", "two"])


# Progress


def test_short_work_shows_no_bar(minilm, capsys):
    encode(minilm, MIXED)
    encode(minilm, MIXED, show_progress_bar=False)
    assert capsys.readouterr().err == ""


def test_long_work_shows_a_bar_that_is_gone_afterwards(capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[encode.__module__], "LONG_WORK_SECONDS", -1)
    embedder, _ = counting()
    texts = [str(i) for i in range(20)]
    encode(embedder, texts, batch_size=4)
    out, err = capsys.readouterr()
    assert out == ""
    assert "20 [" in err
    assert err.endswith("\r")
    assert err.rstrip("\r").rpartition("\r")[2].strip() == ""
    encode(embedder, texts, batch_size=4, show_progress_bar=False)
    assert capsys.readouterr().err == ""


def test_an_embedder_may_want_no_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.modules[encode.__module__], "LONG_WORK_SECONDS", -1)

    class Quiet:
        show_progress_bar = False

        def encode(self, texts):
            return np.ones((len(texts), 2))

    encode(Quiet(), [str(i) for i in range(20)], batch_size=4)
    assert capsys.readouterr().err == ""
    encode(Quiet(), ["a"], show_progress_bar=True)
    assert "Encoding" in capsys.readouterr().err


# Embedders of another kind


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda texts: np.ones((len(texts) + 1, 2)), r"shape \(3, 2\).* of 2 texts"),
        (lambda texts: np.ones(2), r"shape \(2,\)"),
        (lambda texts: [[1.0], [1.0, 2.0]], "one vector for each"),
        (lambda texts: None, "one vector for each"),
        (lambda texts: [["a"], ["b"]], "one vector for each"),
        (lambda texts: [[1.0, 2.0], [1.0, math.nan]], r"texts\[2\]"),
        (lambda texts: [[1.0, 2.0], [math.inf, 1.0]], r"texts\[2\]"),
    ],
)
def test_wrong_answers_are_errors_that_say_where(answer, said):
    with pytest.raises(ValueError, match=said):
        encode(as_embedder(answer), ["a", "a", "b"])


def test_vectors_of_changing_length_are_an_error():
    lengths = iter([2, 3])
    embedder = as_embedder(lambda texts: np.ones((len(texts), next(lengths))))
    with pytest.raises(ValueError, match="3 numbers after some of 2"):
        encode(embedder, ["a", "b"], batch_size=1)


def test_an_embedders_rows_become_unit_rows_of_float32():
    import torch

    for kind in (torch.float64, torch.bfloat16):
        embedder = as_embedder(lambda texts, kind=kind: torch.tensor([[3, 4], [0, 0]], dtype=kind))
        matrix = encode(embedder, ["a", "b"])
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix, [[0.6, 0.8], [0, 0]], atol=1e-7)


def test_an_embedder_gets_the_prompt_and_declares_the_rest_impossible():
    embedder, asked = counting()
    encode(embedder, ["one"], prompt="query: ")
    assert asked == [["query: one"]]
    with pytest.raises(ValueError, match="count tokens"):
        encode(embedder, ["one"], on_long="chunk")
    with pytest.raises(ValueError, match="device"):
        encode(embedder, ["one"], device="cpu")


def test_an_embedder_without_a_fingerprint_is_not_cached(cache):
    with pytest.raises(ValueError, match="as_embedder"):
        encode(as_embedder(lambda texts: np.ones((len(texts), 2))), ["a"], cache=cache)


# The cache


def test_what_is_cached_is_not_encoded_again(minilm, cache, monkeypatch):
    cold = encode(minilm, MIXED, cache=cache)
    monkeypatch.setattr(minilm, "forward", lambda features: 1 / 0)
    np.testing.assert_array_equal(encode(minilm, [*MIXED, *MIXED], cache=cache)[-8:], cold)
    with pytest.raises(ZeroDivisionError):
        encode(minilm, [*MIXED, "new"], cache=cache)


def test_only_unknown_texts_reach_the_embedder(cache):
    embedder, asked = counting()
    encode(embedder, ["a", "b"], cache=cache)
    both = encode(embedder, ["c", "a", "c", "b"], cache=cache)
    assert asked == [["a", "b"], ["c"]]
    np.testing.assert_array_equal(both, encode(embedder, ["c", "a", "c", "b"]))


def test_a_warm_cache_reports_long_texts_too(minilm, cache):
    texts = ["short", LONG]
    for _ in range(2):
        with pytest.warns(UserWarning, match="1 of 2") as caught:
            encode(minilm, texts, cache=cache)
        assert len(caught) == 1
    with pytest.raises(ValueError, match=r"texts\[1\]"):
        encode(minilm, texts, cache=cache, on_long="error")
    windows = encode(minilm, texts, cache=cache, on_long="chunk")
    np.testing.assert_allclose(windows, encode(minilm, texts, on_long="chunk"), **CLOSE)


def test_an_interrupted_call_keeps_what_was_done(cache):
    embedder, asked = counting()

    def interrupted(texts):
        if len(asked) == 3:
            raise KeyboardInterrupt
        return embedder.encode(texts)

    texts = [str(i) for i in range(10)]
    with pytest.raises(KeyboardInterrupt):
        encode(as_embedder(interrupted, "counting-1"), texts, batch_size=2, cache=cache)
    assert cache.stats()["vectors"] == 6
    encode(embedder, texts, cache=cache)
    assert asked[-1] == ["6", "7", "8", "9"]


def test_a_changed_fingerprintless_dimension_is_noticed(cache):
    encode(as_embedder(lambda texts: np.ones((len(texts), 2)), "liar"), ["a"], cache=cache)
    with pytest.raises(ValueError, match="fingerprint"):
        encode(as_embedder(lambda t: np.ones((len(t), 3)), "liar"), ["a", "b"], cache=cache)


def test_training_makes_a_cached_vector_stale(model, cache):
    before = encode(model, ["text"], cache=cache)
    for parameter in model.parameters():
        parameter.data.mul_(1.01)
    after = encode(model, ["text"], cache=cache)
    np.testing.assert_allclose(after, model.encode(["text"]), **CLOSE)
    assert np.abs(after - before).max() > 1e-4


# Fingerprints


def weight(model, name="query"):
    return getattr(model[0].model.encoder.layer[3].attention.self, name).weight


def train_one_step(model):
    import torch

    optimiser = torch.optim.SGD([weight(model)], lr=1e-3)
    model(dict(model.tokenizer(["text"], return_tensors="pt")))["sentence_embedding"][
        0, 0
    ].backward()
    optimiser.step()


def swap_rows(model):
    rows = weight(model).data
    rows[[0, 1]] = rows[[1, 0]].clone()


def swap_within_a_row(model):
    row = weight(model).data[5]
    row[[0, 2]] = row[[2, 0]].clone()


CHANGES = {
    "one weight": lambda m: weight(m).data[7, 9].add_(1e-3),
    "one bias, in one bit": lambda m: m[0].model.pooler.dense.bias.data.view(-1)[3:4].add_(1e-8),
    "two rows swapped": swap_rows,
    "two weights swapped": swap_within_a_row,
    "a training step": train_one_step,
    "half precision": lambda m: m.half(),
    "pooling": lambda m: setattr(m[1], "pooling_mode", "cls"),
    "prompt in the pooling": lambda m: setattr(m[1], "include_prompt", False),
    "another pooling module": lambda m: m.__setitem__(1, type(m[1])(384, pooling_mode="max")),
    "no normalising module": lambda m: m.__delitem__(2),
    "limit": lambda m: setattr(m, "max_seq_length", 128),
    "cut dimensions": lambda m: setattr(m, "truncate_dim", 64),
    "default prompt": lambda m: (
        m.prompts.update(query="query: "),
        setattr(m, "default_prompt_name", "query"),
    ),
    "new token": lambda m: m.tokenizer.add_tokens(["tinnitus"]),
    "no lowercasing": lambda m: setattr(
        m.tokenizer.backend_tokenizer.normalizer, "lowercase", False
    ),
    "truncation side": lambda m: setattr(m.tokenizer, "truncation_side", "left"),
    "heads": lambda m: setattr(m[0].model.config, "num_attention_heads", 6),
    "epsilon": lambda m: setattr(m[0].model.embeddings.LayerNorm, "eps", 1e-3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_fingerprint_follows_a_change_of_the_model(model, minilm, change):
    before = fingerprint(model)
    assert before == fingerprint(minilm)
    CHANGES[change](model)
    assert fingerprint(model) != before


def test_a_fingerprint_follows_the_options_that_change_vectors(minilm):
    variants = [
        {},
        {"normalize_embeddings": False},
        {"prompt": "query: "},
        {"prompt": "query:"},
        {"on_long": "chunk"},
    ]
    prints = [fingerprint(minilm, **options) for options in variants]
    assert len(set(prints)) == len(variants)
    assert fingerprint(minilm, on_long="error") == fingerprint(minilm, on_long="warn")
    assert fingerprint(minilm, prompt="") == fingerprint(minilm)


def test_one_model_has_one_fingerprint_wherever_it_is_loaded_from(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer

    minilm.save(str(tmp_path / "elsewhere"))
    elsewhere = SentenceTransformer(str(tmp_path / "elsewhere"), device="cpu")
    assert fingerprint(elsewhere) == fingerprint(minilm)
    script = (
        "from course_utils import load_model; from course_utils.models.fingerprints import fingerprint;"
        "print(fingerprint(load_model(device='cpu')))"
    )
    other = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert other.stdout.split() == [fingerprint(minilm)]


def test_use_does_not_change_a_fingerprint(model):
    before = fingerprint(model)
    model.encode(["short", LONG], prompt="query: ")
    with pytest.warns(UserWarning, match="1 of 1"):
        encode(model, [LONG])
    model.train()
    assert fingerprint(model) == before


@given(st.integers(0, 384 * 384 - 1), st.integers(0, 31))
@EXAMPLES
def test_any_bit_of_a_weight_shows_and_can_be_put_back(minilm, position, bit):
    import torch

    bits = weight(minilm, "key").data.view(-1).view(torch.int32)
    mask = torch.tensor(1 << bit if bit < 31 else -(2**31), dtype=torch.int32)
    before = fingerprint(minilm)
    bits[position] ^= mask
    try:
        assert fingerprint(minilm) != before
    finally:
        bits[position] ^= mask
    assert fingerprint(minilm) == before


def test_a_fingerprint_keeps_no_model_alive(minilm):
    model = copy.deepcopy(minilm)
    fingerprint(model)
    watched = weakref.ref(model)
    del model
    gc.collect()
    assert watched() is None


def test_a_model_whose_weights_are_out_of_reach_has_no_fingerprint(model):
    model.backend = "onnx"
    with pytest.raises(ValueError, match="out of reach"):
        fingerprint(model)


def test_embedders_are_told_apart_by_their_own_fingerprint():
    prints = {fingerprint(as_embedder(len, name)) for name in ("a-1", "a-2")}
    assert len(prints) == 2
    assert all(len(text) == 64 and int(text, 16) for text in prints)
    with pytest.raises(ValueError, match="fingerprint"):
        fingerprint(as_embedder(len, 7))


def test_importing_encode_imports_no_torch():
    script = (
        "import sys, course_utils.encoding.encode, course_utils.encoding.cache;"
        "print([name for name in ('torch', 'sentence_transformers', 'pandas') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
