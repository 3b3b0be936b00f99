"""The fast settings: what is chosen and why, vectors that stay, exports that are whole, refusals."""

import copy
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from course_utils import build_index, encode, encode_query, search
from course_utils.encoding.cache import EmbeddingCache
from course_utils.models import encoders, fast
from course_utils.models.fast import CLOSE, FASTER, choose_setting, fast_model, settings_for
from course_utils.models.fingerprints import fingerprint

TEXTS = [
    "",
    "a",
    "Sparse matrices hold few values.",
    "ß, 数学 und Ω: 3.14159",
    "The gradient of a quadratic form is linear in its argument. " * 9,
    "UPPER lower",
]
FEW = ("a text", "Another one that is somewhat longer than the first.", "the third " * 20)


@pytest.fixture(autouse=True)
def _own_shelf(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def machine(monkeypatch):
    """Decide what the machine has, and, where ``takes`` is given, what is the fastest there."""

    def has(*, bfloat16=False, openvino=None, takes=None):
        monkeypatch.setattr(fast, "has_bfloat16", lambda device: bfloat16)
        monkeypatch.setattr(encoders, "openvino_version", lambda: openvino)
        if takes:
            monkeypatch.setattr(fast, "choose_setting", lambda rows: takes)

    return has


@pytest.fixture
def half(minilm, machine):
    """The packaged model in bfloat16, whether that is fast here or not."""
    machine(bfloat16=True, takes="bfloat16")
    return fast_model(minilm, texts=FEW)


def cosines(one, other):
    return (one * other).sum(1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


# Choosing

NUMBERS = st.one_of(
    st.none(), st.just(math.nan), st.floats(0, 6), st.sampled_from([FASTER, CLOSE, 1.0])
)


@st.composite
def tables(draw):
    measured = draw(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=6))
    rows = [
        {"setting": f"s{place}", "times faster": times, "mean cosine": cosine}
        for place, (times, cosine) in enumerate(measured)
    ]
    first = {"setting": "float32", "times faster": 1.0, "mean cosine": 1.0}
    return [first, *rows, {"setting": "absent", "obstacle": "it is not installed"}]


def fits(row):
    times, cosine = row.get("times faster"), row.get("mean cosine")
    if times is None or cosine is None:
        return False
    return times >= FASTER and cosine >= CLOSE


@given(tables())
def test_what_is_chosen_is_close_and_nothing_close_is_faster(rows):
    chosen = choose_setting(rows)
    fit = {row["setting"]: row["times faster"] for row in rows if fits(row)}
    if not fit:
        assert chosen == "float32"
    else:
        assert fit[chosen] == max(fit.values())


@given(tables(), st.floats(0, 9), st.floats(-1, CLOSE, exclude_max=True))
def test_a_setting_that_is_too_far_off_changes_nothing(rows, times, cosine):
    far = {"setting": "far", "times faster": times, "mean cosine": cosine}
    assert choose_setting([far, *rows]) == choose_setting(rows)


@given(st.sampled_from(["cpu", "cuda", "mps"]), st.booleans(), st.booleans())
def test_only_what_the_machine_has_is_tried(device, bfloat16, openvino):
    settings = settings_for(device, bfloat16=bfloat16, openvino=openvino)
    tried = {name for name, obstacle in settings.items() if obstacle is None}
    assert "float32" in tried
    assert bfloat16 or not any("bfloat16" in name for name in tried)
    assert openvino or not any("OpenVINO" in name for name in tried)
    assert device == "cpu" or not any("OpenVINO" in name for name in tried)


@pytest.mark.parametrize(("takes", "chosen"), [(0.5, "bfloat16"), (2.0, "float32")])
def test_the_time_that_a_setting_takes_decides(minilm, machine, monkeypatch, takes, chosen):
    """By a clock that only the models move: float32 takes a second, bfloat16 what is said."""
    machine(bfloat16=True)
    model, now = copy.deepcopy(minilm), [0.0]
    true = fast._Bench._vectors

    def vectors(self, made, batches=None):
        now[0] += 1.0 if made is self.model else takes
        return true(self, made, batches)

    monkeypatch.setattr(fast._Bench, "_vectors", vectors)
    monkeypatch.setattr(fast.time, "perf_counter", lambda: now[0])
    found = fast_model(model, texts=FEW)
    assert found.precision == chosen
    assert (found is model) is (chosen == "float32")  # never slower than what was given
    table = found.choices
    assert table.loc["bfloat16", "times faster"] == pytest.approx(1 / takes)
    assert table.loc["bfloat16", "mean cosine"] > 0.999
    assert table.index[table["chosen"]].tolist() == [chosen]
    assert "not installed" in table.loc["OpenVINO bfloat16", "why"]


def test_where_the_machine_has_nothing_the_model_itself_comes_back_and_says_so(minilm, machine):
    machine(bfloat16=False)
    model = copy.deepcopy(minilm)
    assert fast_model(model, texts=FEW) is model
    assert model.precision == "float32"
    assert "no bfloat16" in model.choices.loc["bfloat16", "why"]
    assert fingerprint(model) == fingerprint(minilm)
    assert model.train().training  # and can be trained


def test_a_setting_that_fails_is_named_with_its_reason(minilm, machine, monkeypatch):
    def broken(*_):
        raise RuntimeError("no kernel for this\nand much more")

    machine(bfloat16=True)
    monkeypatch.setattr(encoders, "HalfEncoder", broken)
    model = copy.deepcopy(minilm)
    assert fast_model(model, texts=FEW) is model
    assert model.choices.loc["bfloat16", "why"] == "failed: RuntimeError: no kernel for this"


def test_an_embedder_without_weights_is_what_it_was():
    def letters(texts):
        return [[len(text)] for text in texts]

    assert fast_model(letters) is letters


def test_a_model_without_a_transformer_comes_back_and_says_why():
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    words = Tokenizer(WordLevel({"[UNK]": 0, "a": 1}, unk_token="[UNK]"))  # noqa: S106
    model = SentenceTransformer(modules=[StaticEmbedding(words, embedding_dim=4)], device="cpu")
    assert fast_model(model) is model
    assert "StaticEmbedding" in model.choices.loc["others", "why"]


@pytest.mark.parametrize("texts", [(), "one text"])
def test_a_sample_has_to_be_a_list_of_texts(minilm, texts):
    with pytest.raises(ValueError, match="give a list"):
        fast_model(minilm, texts=texts)


# What was measured is kept


def test_a_choice_is_measured_once_for_a_machine(minilm, machine, monkeypatch, tmp_path):
    measured = []
    true = fast._Bench.measure
    monkeypatch.setattr(
        fast._Bench, "measure", lambda self: (measured.append(self.settings), true(self))[1]
    )
    machine(bfloat16=True, takes="bfloat16")
    first = fast_model(minilm, texts=FEW)
    again = fast_model(minilm, texts=FEW)
    assert len(measured) == 1
    assert again.choices.equals(first.choices)
    assert fingerprint(again) == fingerprint(first)

    (kept,) = (tmp_path / "cache" / "fast").glob("*.json")
    for damaged in ("", "{", '"bfloat16"', "[1]", json.dumps([{"setting": "float32"}])):
        kept.write_text(damaged)
        fast_model(minilm, texts=FEW)
    assert len(measured) == 6

    machine(bfloat16=False, takes="float32")  # another processor behind the same folder
    fast_model(copy.deepcopy(minilm), texts=FEW)
    assert len(measured) == 7


def test_a_kept_choice_whose_vectors_are_off_is_measured_anew(half, minilm, monkeypatch):
    measured = []
    true = fast._Bench.measure
    monkeypatch.setattr(
        fast._Bench, "measure", lambda self: (measured.append(self.settings), true(self))[1]
    )
    monkeypatch.setattr(fast._Bench, "still_close", lambda self, model: False)
    fast_model(minilm, texts=FEW)
    assert len(measured) == 1


# An embedder like any other


@pytest.mark.parametrize("unit", [True, False])
def test_vectors_in_bfloat16_are_float32_of_unit_length_and_close(half, minilm, unit):
    ours = encode(half, TEXTS, normalize_embeddings=unit)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, atol=1e-5)
    assert cosines(ours, encode(minilm, TEXTS)).mean() > 0.999
    library = half.encode(TEXTS, normalize_embeddings=unit)
    assert library.dtype == np.float32
    assert cosines(ours, library).min() > 0.999  # other batches, other roundings
    assert np.abs(ours - encode(minilm, TEXTS)).max() > 1e-6  # it is another setting


def test_queries_find_in_an_index_of_the_same_precision(half, tmp_path):
    corpus = {"x": "a red fox", "y": "the price of bread"}
    index = build_index(half, corpus, show_progress_bar=False)
    assert search(half, "how much is a loaf?", index, k=1)[0].id == "y"
    assert encode_query(half, ["fox"]).shape == (1, 384)


def test_an_index_of_one_precision_refuses_queries_of_another(half, minilm):
    index = build_index(half, {"x": "a red fox", "y": "bread"}, show_progress_bar=False)
    with pytest.raises(ValueError, match="model"):
        search(minilm, "fox", index, k=1)


def test_a_cache_never_takes_one_precision_for_another(half, minilm, tmp_path):
    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        plain = encode(minilm, TEXTS, cache=cache)
        ours = encode(half, TEXTS, cache=cache)
        np.testing.assert_array_equal(encode(half, TEXTS, cache=cache), ours)
        np.testing.assert_array_equal(encode(minilm, TEXTS, cache=cache), plain)
    assert (ours != plain).any()


def test_a_cut_of_dimensions_and_a_limit_are_its_own(half, minilm):
    before = fingerprint(minilm)
    half.truncate_dim, half.max_seq_length = 64, 8
    assert encode(half, ["a text"]).shape == (1, 64)
    assert minilm.max_seq_length == 256
    assert fingerprint(minilm) == before


# Refusals


def test_it_refuses_to_be_trained_or_saved(half, tmp_path):
    with pytest.raises(ValueError, match="without precision"):
        half.train()
    assert not half[0].model.training
    with pytest.raises(ValueError, match="is not saved"):
        half.save_pretrained(str(tmp_path / "saved"))
    with pytest.raises(ValueError, match="no float32 to compare with"):
        fast_model(half)


def test_training_refuses_it_and_names_the_way_out(half):
    from course_utils.adaptation import train_pairs, train_tsdae

    with pytest.raises(ValueError, match="without precision"):
        train_pairs(half, [(f"question {i}", f"answer {i}") for i in range(20)])
    with pytest.raises(ValueError, match="without precision"):
        train_tsdae(half, [f"The sentence number {i}." for i in range(20)])


def test_a_model_that_is_no_float32_any_more_is_refused(minilm):
    import torch

    with pytest.raises(ValueError, match="bfloat16"):
        fast_model(copy.deepcopy(minilm).to(torch.bfloat16))


# Weights of eight bits

MATRICES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=8),
    elements=st.floats(-100, 100, width=32),
)


@given(MATRICES, st.sampled_from([0, 1]))
def test_rounded_weights_are_off_by_at_most_one_scale_and_zero_stays(matrix, axis):
    levels, scale, zero = encoders.rounded_rows(matrix, axis)
    assert levels.dtype == zero.dtype == np.uint8
    shape = [*matrix.shape]
    shape[axis] = 1
    assert scale.shape == zero.shape == tuple(shape)
    back = (levels.astype(np.float64) - zero) * scale
    # Below the smallest normal number a scale may round to 0: such weights are 0 from then on.
    assert (np.abs(back - matrix) <= scale * 1.001 + np.finfo(np.float32).tiny).all()
    assert (back[matrix == 0] == 0).all()


# OpenVINO


def need_openvino():
    """Skip where it is missing. ``importorskip`` would import it, and that reports to its makers."""
    if encoders.openvino_version() is None:
        pytest.skip("OpenVINO is not installed")


@pytest.fixture(scope="module")
def exported(minilm, tmp_path_factory):
    """Give the packaged model with compiled layers in a kind; exported once for all tests."""
    need_openvino()
    folder = tmp_path_factory.mktemp("shelf") / "export"
    features = minilm.preprocess(list(FEW))
    compiled_encoder = encoders.compiled_encoder  # which a test may replace

    def make(kind="float32"):
        layers = compiled_encoder(minilm[0], features, "weights", folder, kind)
        return copy.deepcopy(minilm, {id(minilm[0].model): layers}).eval()

    return make


def small(kind, minilm):
    """Return a transformer of two layers with random weights, and what makes a batch for it."""
    import torch
    import transformers

    config = getattr(transformers, f"{kind}Config")(
        vocab_size=100, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, max_position_embeddings=80,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = getattr(transformers, f"{kind}Model")(config, add_pooling_layer=False).eval()
    first = copy.copy(minilm[0])
    first._modules = {"model": layers}

    def batch(*lengths):
        ids = torch.full((len(lengths), max(lengths)), config.pad_token_id)
        for row, length in enumerate(lengths):
            ids[row, :length] = torch.arange(10, 10 + length)
        return {"input_ids": ids, "attention_mask": (ids != config.pad_token_id).long()}

    return first, batch


def same_vectors(compiled, layers, features):
    """Fail unless the vectors of all tokens that are no padding are those of torch."""
    import torch

    with torch.inference_mode():
        expected = layers(**features)[0]
        found = compiled(**features)["last_hidden_state"]
    real = features["attention_mask"].bool()
    torch.testing.assert_close(found[real], expected[real], atol=1e-4, rtol=1e-4)


def test_openvino_gives_the_vectors_of_torch_for_batches_of_any_shape(exported, minilm):
    model = exported()
    ours = encode(model, TEXTS, normalize_embeddings=False)
    np.testing.assert_allclose(ours, encode(minilm, TEXTS), atol=1e-5)
    for size in (1, 2, 5):
        np.testing.assert_allclose(model.encode(TEXTS, batch_size=size), ours, atol=1e-5)


def test_eight_bits_keep_the_vectors(exported, minilm):
    ours = encode(exported("int8"), TEXTS)
    assert cosines(ours, encode(minilm, TEXTS)).mean() >= CLOSE
    assert np.abs(ours - encode(minilm, TEXTS)).max() > 1e-4


def test_each_setting_has_a_fingerprint_of_its_own(exported, half, minilm):
    models = [minilm, half, exported("float32"), exported("bfloat16"), exported("int8")]
    assert len({fingerprint(model) for model in models}) == 5
    assert fingerprint(exported("int8")) == fingerprint(models[-1])


@pytest.fixture
def export(minilm, tmp_path):
    """Export a small transformer, as often as asked; ``export.made`` lists the conversions."""
    need_openvino()
    openvino = encoders._openvino()
    first, batch = small("Bert", minilm)
    convert, made = openvino.convert_model, []

    def counted(*arguments, **options):
        made.append(arguments)
        return convert(*arguments, **options)

    def make(kind="float32"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(openvino, "convert_model", counted)
            compiled = encoders.compiled_encoder(first, batch(9, 4), "w", make.folder, kind)
        if kind == "float32":
            same_vectors(compiled, first.model, batch(12, 5, 1))

    make.folder, make.made = tmp_path / "export", made
    return make


def test_an_export_is_used_again_and_made_anew_when_damaged(export):
    export(), export("int8"), export("bfloat16")
    assert len(export.made) == 1  # one export for all settings
    weights = export.folder / "encoder.bin"
    whole = weights.read_bytes()
    for damaged in (whole[:-100], whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:]):
        weights.write_bytes(damaged)
        export()
    (export.folder / "contents.json").write_text("{")
    export()
    weights.unlink()
    export()
    assert len(export.made) == 5
    assert weights.read_bytes() == whole
    assert [path.name for path in export.folder.parent.glob(".export*")] == []


def test_an_export_that_breaks_off_leaves_nothing_half_done(export):
    def broken(*_, **__):
        raise OSError("the disk is full")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoders._openvino(), "save_model", broken)
        with pytest.raises(OSError, match="disk"):
            export()
    assert not export.folder.exists()
    export()


def test_threads_do_not_disturb_each_other(exported):
    model = exported()
    expected = [encode(model, [text]) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda text: encode(model, [text]), TEXTS * 2))
    for place, vectors in enumerate(found):
        np.testing.assert_allclose(vectors, expected[place % len(TEXTS)], atol=1e-6)


def test_a_processor_without_bfloat16_takes_what_openvino_has(
    exported, minilm, machine, monkeypatch
):
    monkeypatch.setattr(
        encoders, "compiled_encoder", lambda *given: exported(given[-1])[0].model
    )  # from one export for all tests
    machine(bfloat16=False, openvino=encoders.openvino_version(), takes="OpenVINO int8")
    found = fast_model(minilm, texts=FEW)
    assert found.precision == "OpenVINO int8"
    assert found[0].model.setting.endswith("int8")
    assert (found.choices["mean cosine"].dropna() >= CLOSE).all()
    with pytest.raises(ValueError, match="without precision"):
        found.train()


@pytest.mark.parametrize("kind", ["MPNet", "Roberta"])
def test_other_architectures_are_followed(kind, minilm, tmp_path):
    """Relative positions and positions that begin after the padding: both are traced as they are."""
    need_openvino()
    first, batch = small(kind, minilm)
    compiled = encoders.compiled_encoder(first, batch(9, 4), "w", tmp_path / "e", "float32")
    for lengths in ((5,), (60, 60), (33, 7, 1), (9, 4)):
        same_vectors(compiled, first.model, batch(*lengths))


def test_openvino_is_imported_without_its_reports(tmp_path):
    """Their first step would be a file in the user's folder with an identity in it."""
    need_openvino()
    code = """
import sys
from course_utils.models.encoders import _openvino
_openvino().convert_model
print([name for name in sys.modules if name.startswith("openvino_telemetry")])
"""
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, timeout=300, env={**os.environ, **home},
    )  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
    assert not (tmp_path / "intel").exists()


def test_without_openvino_the_way_to_it_is_named(minilm, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ImportError, match="pip install"):
        encoders.compiled_encoder(minilm[0], {}, "weights", tmp_path, "float32")
