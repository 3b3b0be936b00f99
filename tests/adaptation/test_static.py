"""A static student: what the library makes, and what training towards the teacher makes of it."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from course_utils import encode, load_model
from course_utils.adaptation import static
from course_utils.adaptation.static import distil_static
from course_utils.encoding.cache import EmbeddingCache
from course_utils.models.fingerprints import fingerprint

from .toys import pairs, same, sentences, weights


@pytest.fixture
def distil():
    """``distil_static`` without bars, where model2vec is installed."""
    pytest.importorskip("model2vec.distill")
    return lambda model, *texts, **options: distil_static(
        model, *texts, **{"dimensions": 16, "show_progress_bar": False} | options
    )


def cosine(student, teacher, texts):
    """Return the mean cosine to the teacher's vectors, after the rotation that suits them best."""
    ours, theirs = encode(student, texts), encode(teacher, texts)
    # Of all orthogonal maps, the trace of this product is the largest at the sum of singular values.
    return np.linalg.svd(theirs.T @ ours, compute_uv=False).sum() / len(texts)


# Without texts


def test_without_texts_it_is_what_the_library_distils(distil, tiny, folder_of_tiny):
    student = distil(tiny)
    expected = StaticEmbedding.from_distillation(str(folder_of_tiny), device="cpu", pca_dims=16)
    assert student[0].tokenizer.get_vocab() == expected.tokenizer.get_vocab()
    assert torch.allclose(student[0].embedding.weight, expected.embedding.weight, atol=1e-5)


def test_pooling_of_the_teacher_is_that_of_its_tokens(distil, tiny):
    before = distil(tiny)
    tiny[1].pooling_mode = "cls"
    assert not np.allclose(encode(distil(tiny), ["fever"]), encode(before, ["fever"]), atol=1e-3)


def test_the_teacher_stays_as_it_is(distil, tiny):
    tiny.train()
    before, told = weights(tiny), fingerprint(tiny)
    distil(tiny, sentences(), epochs=1)
    assert same(weights(tiny), before)
    assert fingerprint(tiny) == told
    assert tiny.training
    assert not tiny[0].auto_model._forward_hooks


# With texts


def test_training_brings_it_nearer_to_its_teacher(distil, tiny):
    texts, unseen = sentences(96)[:64], sentences(96)[64:]
    for part in (texts, unseen):
        trained = cosine(distil(tiny, texts, epochs=20), tiny, part)
        assert trained > cosine(distil(tiny), tiny, part)


def test_it_lies_in_the_teachers_own_space(distil, tiny):
    texts = sentences()
    student = distil(tiny, texts, dimensions=32, epochs=20)
    # Nothing is cut off at all dimensions, so that similarities can be compared with no rotation.
    ours, theirs = encode(student, texts), encode(tiny, texts)
    plain = encode(distil(tiny, dimensions=32), texts)
    assert np.abs(ours @ ours.T - theirs @ theirs.T).mean() < (
        np.abs(plain @ plain.T - theirs @ theirs.T).mean()
    )


def test_an_adapted_model_teaches_too(distil, tiny):
    adapted = pairs(tiny)
    student = distil(adapted, sentences(), epochs=3)
    assert same(weights(student), weights(distil(adapted.model, sentences(), epochs=3)))
    assert not same(weights(student), weights(distil(tiny, sentences(), epochs=3)))


def test_equal_seeds_give_equal_weights_and_leave_the_generators_alone(distil, tiny):
    state = torch.get_rng_state()
    first = distil(tiny, sentences(), epochs=2)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(7)
    assert same(weights(first), weights(distil(tiny, sentences(), epochs=2)))
    assert not same(weights(first), weights(distil(tiny, sentences(), epochs=2, seed=1)))


def test_the_teachers_vectors_come_from_a_cache(distil, tiny, tmp_path, monkeypatch):
    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        first = distil(tiny, sentences(), epochs=1, cache=cache)
        known = cache.stats()["vectors"]
        asked = []
        monkeypatch.setattr(EmbeddingCache, "put", lambda *given, **_: asked.append(given))
        again = distil(tiny, sentences(), epochs=1, cache=cache)
    assert known > len(sentences())
    assert not asked
    assert same(weights(first), weights(again))


def test_saved_and_loaded_it_gives_the_same_vectors(distil, tiny, tmp_path):
    texts = [*sentences(), "a word that nobody knows", ""]
    student = distil(tiny, sentences(), epochs=1)
    student.save(str(tmp_path / "student"))
    loaded = load_model(tmp_path / "student", device="cpu")
    assert type(loaded[0]) is StaticEmbedding
    assert np.array_equal(encode(loaded, texts), encode(student, texts))
    assert fingerprint(loaded) == fingerprint(student)


def test_a_long_text_counts_to_its_end(distil, tiny):
    student = distil(tiny)
    long = "fever " * 600 + "rash " * 600
    assert np.allclose(encode(student, [long]), encode(student, ["fever rash"]), atol=1e-5)


def test_stopped_half_way_it_leaves_the_teacher_whole(distil, tiny, monkeypatch):
    before = weights(tiny)

    def stopped(*_):
        raise KeyboardInterrupt

    for part in ("_train", "_batches"):
        with monkeypatch.context() as patched:
            patched.setattr(static, part, stopped)
            with pytest.raises(KeyboardInterrupt):
                distil(tiny, sentences())
        assert same(weights(tiny), before)
        assert not tiny[0].auto_model._forward_hooks


def test_bars_are_gone_when_it_is_done(distil, tiny, capsys):
    distil(tiny, sentences(), epochs=1)
    assert capsys.readouterr() == ("", "")
    distil(tiny, sentences(), epochs=1, show_progress_bar=True)
    shown = capsys.readouterr().err
    assert "Distilling" in shown
    assert "Training" in shown
    assert not shown.rpartition("\r")[0].rpartition("\r")[2].strip()


# Errors


def test_it_refuses_what_is_no_teacher():
    with pytest.raises(TypeError, match="a function, not a SentenceTransformer"):
        distil_static(lambda texts: [[1.0]] * len(texts))
    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106
    table = SentenceTransformer(modules=[StaticEmbedding(plain, embedding_dim=4)], device="cpu")
    with pytest.raises(TypeError, match="StaticEmbedding that a student cannot be made of"):
        distil_static(table)


@pytest.mark.parametrize(
    ("texts", "error", "told"),
    [
        ([], ValueError, "no texts"),
        (["one", " "], ValueError, "item 1 is blank"),
        (["one", "one"], ValueError, "the same"),
        ("one", TypeError, "one string"),
        (["one", None], TypeError, "item 1 is a NoneType"),
    ],
)
def test_it_refuses_what_are_no_texts(tiny, texts, error, told):
    with pytest.raises(error, match=told):
        distil_static(tiny, texts, dimensions=16)


@pytest.mark.parametrize(
    "wrong",
    [{"dimensions": 33}, {"dimensions": 0}, {"epochs": 0}, {"learning_rate": 0.0}],
)
def test_it_refuses_what_cannot_be(tiny, wrong):
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} is"):
        distil_static(tiny, sentences(), **{"dimensions": 16} | wrong)


def test_without_the_package_it_says_what_to_install(tiny, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "model2vec.distill", None)
    with pytest.raises(ImportError, match="needs the package model2vec"):
        distil_static(tiny, dimensions=16)


# Parts


def wordpiece():
    vocabulary = ["[UNK]", "ra", "##sh", "fe", "##ver", "rash", "the", "##s", "x"]
    plain = Tokenizer(
        models.WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="[UNK]")  # noqa: S106
    )
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return StaticEmbedding(plain, np.random.default_rng(0).normal(size=(9, 4)).astype("f4"))


def test_frequent_words_get_a_row_and_no_text_another_direction():
    before = wordpiece()
    texts = ["the Fever", "fever, the rashs", "rashs and unknown unknown", "fe ver"]
    after = static._with_words(before, texts)
    known = json.loads(after.tokenizer.to_str())["model"]["vocab"]
    assert set(known) - set(before.tokenizer.get_vocab()) == {"fever", "rashs", "unknown"}
    assert sorted(known.values()) == list(range(len(known)))
    assert len(after.tokenizer.encode("Fever rash").ids) == 2
    models_ = [SentenceTransformer(modules=[one], device="cpu") for one in (before, after)]
    one, other = (encode(model, texts) for model in models_)
    assert np.allclose(one, other, atol=1e-5)


def test_other_tokenizers_keep_their_vocabulary():
    plain = Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))  # noqa: S106
    student = StaticEmbedding(plain, embedding_dim=4)
    assert static._with_words(student, ["b b b"]) is student


TEXTS = st.lists(
    st.lists(st.sampled_from(["One", "two.", "three!", "four"]), min_size=1, max_size=20).map(
        " ".join
    ),
    unique=True,
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=60)
@given(texts=TEXTS, seed=st.integers(0, 99))
def test_every_piece_is_a_part_of_its_text_and_there_once(texts, seed):
    pieces, groups = static._pieces(texts, seed)
    assert len(set(pieces)) == len(pieces)
    assert set(texts) <= set(pieces)
    assert sorted(np.concatenate(groups)) == list(range(len(pieces)))
    for text, group in zip(texts, groups, strict=True):
        assert all(pieces[place] in text for place in group)
    assert static._pieces(texts, seed)[0] == pieces


@settings(deadline=None, max_examples=40)
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=12).filter(any),
    seed=st.integers(0, 99),
)
def test_bags_point_where_the_means_of_their_rows_do(lengths, seed):
    rng = np.random.default_rng(seed)
    ids = [rng.choice(40, size=length) for length in lengths]
    table = torch.from_numpy(rng.normal(size=(40, 3)))

    def encode_batch(texts, **_):
        return [SimpleNamespace(ids=ids[int(text)].tolist()) for text in texts]

    bags = static._Bags(
        SimpleNamespace(encode_batch=encode_batch), [str(number) for number in range(len(ids))]
    )
    rows = rng.permutation(len(ids))
    sums = np.stack([table.numpy()[ids[row]].sum(axis=0) for row in rows])
    expected = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    assert np.allclose(bags(table[bags.used], rows).numpy(), expected)


def test_each_epoch_takes_every_piece_once(monkeypatch):
    pieces, groups = static._pieces(sentences(), 0)
    monkeypatch.setattr(static, "_BATCH", 50)
    rows = list(static._batches(groups, 2, 0))
    half = len(rows) // 2
    assert half == -(-len(pieces) // 50)
    assert max(map(len, rows)) == 50
    for part in (rows[:half], rows[half:]):
        assert sorted(np.concatenate(part)) == sorted(np.concatenate(groups))
