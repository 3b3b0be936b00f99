"""Erasers: closed forms, guarantees on what is left, and a model that carries one."""

import importlib.util
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.bias.eraser import LinearEraser
from course_utils.bias.mitigation import equalise, hard_debias, inlp, leace
from course_utils.models.files import install_line

seeds = st.integers(0, 10**6)
needs_leace = pytest.mark.skipif(
    importlib.util.find_spec("concept_erasure") is None,
    reason=f"concept-erasure is not installed: {install_line('erasure')}",
)


def unit(matrix):
    return matrix / np.linalg.norm(matrix, axis=-1, keepdims=True)


def two_groups(n=120, d=12, gap=1.0, seed=0):
    """Unit rows of two groups that differ along one random direction, and their labels."""
    rng = np.random.default_rng(seed)
    direction = unit(rng.normal(size=d))
    labels = np.arange(n) % 2
    rows = rng.normal(size=(n, d)) + gap * (2 * labels[:, None] - 1) * direction
    return unit(rows), labels


@given(seeds, st.integers(1, 3))
def test_what_was_removed_is_gone_and_the_rest_is_untouched(seed, k):
    rng = np.random.default_rng(seed)
    directions, rows = rng.normal(size=(k, 7)), rng.normal(size=(5, 7))
    eraser = LinearEraser.removing(directions)
    after = eraser.transform(rows, normalize_embeddings=False)
    assert after.dtype == np.float32
    assert np.abs(after @ directions.T).max() < 1e-5
    # Least squares: what is left is the residual of a regression on the directions.
    fitted = np.linalg.lstsq(directions.T, rows.T, rcond=None)[0]
    assert np.allclose(after, rows - (directions.T @ fitted).T, atol=1e-5)
    assert eraser.rank == k
    assert np.allclose(eraser.transform(after, normalize_embeddings=False), after, atol=1e-5)


def test_around_a_mean_the_removed_part_becomes_the_means():
    eraser = LinearEraser.removing([[2.0, 0.0]], mean=[0.5, 9.0])
    found = eraser.transform([[0.1, 0.3], [-4.0, 1.0]], normalize_embeddings=False)
    assert np.allclose(found, [[0.5, 0.3], [0.5, 1.0]])


@given(seeds, st.floats(0, 1))
def test_strength_is_a_straight_line_from_nothing_to_everything(seed, strength):
    rng = np.random.default_rng(seed)
    rows = unit(rng.normal(size=(6, 5)))
    whole = LinearEraser(rng.normal(size=(5, 5)), rng.normal(size=5))
    raw = {s: whole.at(s).transform(rows, normalize_embeddings=False) for s in (0, 1, strength)}
    assert np.allclose(raw[0], rows, atol=1e-6)
    assert np.allclose(raw[strength], (1 - strength) * raw[0] + strength * raw[1], atol=1e-5)


def test_rows_have_length_one_again_and_nothing_stays_nothing():
    eraser = LinearEraser.removing([[1.0, 0.0, 0.0]])
    found = eraser.transform([[0.6, 0.8, 0.0], [1.0, 0.0, 0.0]])
    assert np.allclose(found, [[0, 1, 0], [0, 0, 0]])


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        (lambda: LinearEraser(np.eye(3)[:2], np.zeros(2)), r"\(d, d\)"),
        (lambda: LinearEraser(np.eye(2), [np.nan, 0]), "NaN"),
        (lambda: LinearEraser(np.eye(2), np.zeros(2)).at(1.5), "strength"),
        (lambda: LinearEraser(np.eye(2), np.zeros(2)).transform(np.ones((1, 3))), "fitted on"),
        (lambda: LinearEraser(np.eye(2), np.zeros(2)).transform([[np.nan, 1]]), "NaN"),
    ],
)
def test_a_map_that_cannot_be_is_refused(given_, message):
    with pytest.raises(ValueError, match=message):
        given_()


def test_an_eraser_is_not_judged_on_its_own_words():
    rows, labels = two_groups(40)
    eraser = inlp(rows, labels, texts=[f"w{i}" for i in range(40)])
    eraser.check_unseen(["w40", "another"])
    with pytest.raises(ValueError, match=r"'W7 '.*\(1 of these texts\)"):
        eraser.check_unseen(["w40", "W7 "])
    with pytest.raises(ValueError, match="does not know"):
        LinearEraser(np.eye(2), np.zeros(2)).check_unseen(["she"])


def test_saved_and_loaded_it_is_the_same(tmp_path):
    rows, labels = two_groups(40)
    eraser = inlp(rows, labels, texts=[f"w{i}" for i in range(40)]).at(0.3)
    found = LinearEraser.load(eraser.save(tmp_path / "e"))
    assert np.array_equal(found.matrix, eraser.matrix)
    assert np.array_equal(found.bias, eraser.bias)
    for what in ("method", "strength", "fitted_on", "details"):
        assert getattr(found, what) == getattr(eraser, what)
    assert {path.name for path in (tmp_path / "e").iterdir()} == {
        "eraser.safetensors",
        "eraser.json",
    }
    eraser.at(1).save(tmp_path / "e")  # replaced
    assert LinearEraser.load(tmp_path / "e").strength == 1
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


@pytest.mark.parametrize("step", [1, 2])
def test_a_saved_eraser_is_still_there_when_any_rename_of_the_exchange_fails(
    tmp_path, rename_fails, step
):
    eraser = LinearEraser(np.eye(2), np.zeros(2), strength=0.25)
    eraser.save(tmp_path / "e")
    rename_fails(step)
    with pytest.raises(OSError, match="the disk gave up"):
        eraser.at(1).save(tmp_path / "e")
    assert LinearEraser.load(tmp_path / "e").strength == 0.25
    assert os.listdir(tmp_path) == ["e"]


def test_an_eraser_that_a_killed_process_moved_aside_is_read(tmp_path):
    LinearEraser(np.eye(2), np.zeros(2), strength=0.25).save(tmp_path / ".e.0123.old")
    assert LinearEraser.load(tmp_path / "e").strength == 0.25


def test_other_folders_are_neither_overwritten_nor_read(tmp_path):
    (tmp_path / "mine.txt").write_text("mine", "utf-8")
    eraser = LinearEraser(np.eye(2), np.zeros(2))
    for foreign in (tmp_path, tmp_path / "mine.txt"):
        with pytest.raises(FileExistsError, match="no eraser"):
            eraser.save(foreign)
    with pytest.raises(FileNotFoundError, match="no eraser"):
        LinearEraser.load(tmp_path)
    (eraser.save(tmp_path / "e") / "eraser.json").write_text(json.dumps({"format": "x"}), "utf-8")
    with pytest.raises(ValueError, match="format"):
        LinearEraser.load(tmp_path / "e")


def test_the_bias_direction_is_the_first_principal_component_of_the_centred_pairs():
    from sklearn.decomposition import PCA

    pairs = np.random.default_rng(1).normal(size=(9, 2, 6)) + [[[3] + [0] * 5], [[-3] + [0] * 5]][0]
    pairs[:, 1] -= 4
    centred = (pairs - pairs.mean(axis=1, keepdims=True)).reshape(-1, 6)
    expected = PCA(2).fit(centred).components_
    found = hard_debias(pairs, components=2).directions
    # The same plane: each basis lies in the other's span.
    assert np.allclose(np.abs(np.linalg.svd(found @ expected.T)[1]), 1, atol=1e-9)


def test_a_large_defining_set_counts_no_more_than_a_pair():
    # C = sum over sets of (1/|D|) sum (w - mu)(w - mu)^T, Bolukbasi et al. 2016, section 5.1.
    rng = np.random.default_rng(0)
    sets = [rng.normal(size=(2, 5)), rng.normal(size=(6, 5)), rng.normal(size=(3, 5))]
    covariance = sum(np.cov(s.T, ddof=0) for s in sets)
    top = np.linalg.eigh(covariance)[1][:, -1]
    assert abs(hard_debias(sets).directions[0] @ top) == pytest.approx(1, abs=1e-9)


@given(seeds, st.integers(2, 4), st.integers(1, 3))
def test_equalised_words_are_alike_to_every_neutral_word(seed, m, k):
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(9, k)))[0].T
    members = equalise(unit(rng.normal(size=(m, 9))), directions).astype(np.float64)
    assert np.allclose(np.linalg.norm(members, axis=1), 1, atol=1e-5)
    neutral = LinearEraser.removing(directions).transform(rng.normal(size=(4, 9)))
    cosines = neutral @ members.T
    assert np.allclose(cosines, cosines[:, :1], atol=1e-5)
    if k == 1 and m == 2:  # a pair is then its own mirror image
        inside = members @ directions[0]
        assert inside[0] == pytest.approx(-inside[1], abs=1e-5)


def test_hard_debias_and_equalise_refuse_what_they_cannot_use():
    pair = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    for call, message in [
        (lambda: hard_debias([]), "empty"),
        (lambda: hard_debias([pair[:1]]), "one vector"),
        (lambda: hard_debias([pair], components=2), "span 1"),
        (lambda: hard_debias([pair[[0, 0]]]), "span 0"),
        (lambda: hard_debias([pair * [[1], [np.nan]]]), "NaN"),
        (lambda: hard_debias([pair * [[1], [0]]]), "zeros"),
        (lambda: hard_debias([pair], texts=[["he"]]), "texts"),
        (lambda: equalise(pair[:1], pair), "one vector"),
        (lambda: equalise(pair * 2, pair), "length 2"),
        (lambda: equalise(pair, [[0.0, 0.0, 1.0]]), "no side"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("classifier", ["means", "logistic"])
def test_inlp_ends_where_a_fresh_classifier_finds_nothing(classifier):
    from sklearn.linear_model import LogisticRegression

    rows, labels = two_groups(1600, d=10, gap=1.2)
    seen, fresh = slice(800), slice(800, None)  # drawn alike
    eraser = inlp(rows[seen], labels[seen], classifier=classifier, margin=0.02, max_rank=5)
    for vectors, low, high in ((rows, 0.8, 1), (eraser.transform(rows), 0, 0.56)):
        probe = LogisticRegression().fit(vectors[seen], labels[seen])
        assert low <= probe.score(vectors[fresh], labels[fresh]) <= high
    assert eraser.details["stopped"] == "the fresh probe is at chance"
    assert eraser.rank == eraser.details["rounds"] < 5


def test_a_round_of_means_removes_the_difference_of_the_means():
    rows, labels = two_groups(60, d=8, gap=2.0)
    eraser = inlp(rows, labels, max_rank=1, margin=0)
    difference = rows[labels == 1].mean(axis=0) - rows[labels == 0].mean(axis=0)
    assert abs(eraser.directions[0] @ unit(difference)) == pytest.approx(1, abs=1e-9)


def test_inlp_never_takes_more_than_it_may_and_leaves_noise_alone():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 2
    # Every dimension gives the groups away, so that no rank below d would do.
    rows = (2 * labels[:, None] - 1) * np.abs(rng.normal(size=(60, 20))) + 0.01
    rows *= rng.choice([0.5, 1, 2], size=(60, 20))
    eraser = inlp(rows, labels, classifier="logistic", margin=0, max_rank=3)
    assert eraser.rank <= 3
    noise = inlp(unit(rng.normal(size=(200, 5))), np.arange(200) % 2, margin=0.2)
    assert noise.rank == 0
    assert np.array_equal(noise.matrix, np.eye(5))


def test_inlp_removes_all_that_tells_three_groups_apart():
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    rows = unit(rng.normal(size=(300, 15)) * 0.3 + 2 * np.eye(15)[labels] + 1)
    eraser = inlp(rows, labels, max_rank=2)
    assert eraser.rank == 2
    means = np.stack([rows[labels == g].mean(axis=0) for g in range(3)])
    after = eraser.transform(means, normalize_embeddings=False)
    assert np.allclose(after, after.mean(axis=0), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r, y: (r, y * 0), "one class"),
        (lambda r, y: (r[:6], y[:6]), "are needed"),
        (lambda r, y: (r * np.where(np.arange(40) == 3, np.nan, 1)[:, None], y), "NaN"),
        (lambda r, y: (r * np.where(np.arange(40) == 3, 0, 1)[:, None], y), r"\[3\] is a vector"),
        (lambda r, y: (r, y[:-1]), "one label a row"),
    ],
)
def test_rows_and_labels_that_cannot_be_fitted_are_refused(change, message):
    rows, labels = change(*two_groups(40))
    with pytest.raises(ValueError, match=message):
        inlp(rows, labels)
    if message != "are needed" and importlib.util.find_spec("concept_erasure"):
        with pytest.raises(ValueError, match=message):
            leace(rows, labels)


@pytest.mark.parametrize(
    "options",
    [{"max_rank": 12}, {"max_rank": 0}, {"margin": -1}, {"held_out": 0.9}, {"classifier": "x"}],
)
def test_options_of_inlp_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        inlp(*two_groups(40), **options)


@needs_leace
@pytest.mark.parametrize("groups", [2, 3])
def test_leace_makes_the_groups_means_equal_and_agrees_with_the_closed_form(groups):
    rng = np.random.default_rng(groups)
    labels = np.arange(30_000) % groups
    mixing = np.eye(6) + rng.normal(size=(6, 6)) / 10
    rows = rng.normal(size=(30_000, 6)) @ mixing + np.eye(6)[labels] + 1
    eraser = leace(rows, labels)
    after = eraser.transform(rows, normalize_embeddings=False).astype(float)
    means = np.stack([after[labels == g].mean(axis=0) for g in range(groups)])
    assert np.allclose(means, means[0], atol=1e-5)
    assert np.allclose(after.mean(axis=0), rows.mean(axis=0), atol=1e-5)
    assert eraser.rank == groups - 1
    # Theorem 4.3: x - W^+ P W (x - mean), P the projection on the columns of W Sigma_xz. With 5,000
    # rows a dimension the package's shrinkage of the covariance is all but nothing.
    covariance = np.cov(rows.T)
    values, vectors = np.linalg.eigh(covariance)
    whiten = vectors @ np.diag(values**-0.5) @ vectors.T
    cross = (rows - rows.mean(axis=0)).T @ np.eye(groups)[labels] / len(rows)
    left, sizes, _ = np.linalg.svd(whiten @ cross, full_matrices=False)
    left = left[:, sizes > 1e-9]
    expected = np.eye(6) - np.linalg.inv(whiten) @ left @ left.T @ whiten
    assert np.allclose(eraser.matrix, expected, atol=0.01)


@needs_leace
def test_leace_leaves_a_linear_classifier_nothing_on_its_own_rows():
    from sklearn.linear_model import LogisticRegression

    rows, labels = two_groups(400, d=10, gap=1.5)
    after = leace(rows, labels).transform(rows, normalize_embeddings=False).astype(float)
    # Belrose et al. 2023, theorem 3.1: no better loss than the constant predictor's.
    weights = LogisticRegression(C=1e6).fit(after, labels)
    assert np.abs(weights.coef_).max() < 1e-2


def test_without_the_package_leace_says_how_to_get_it(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "concept_erasure", None)
    with pytest.raises(ImportError) as error:
        leace(*two_groups(40))
    said = "LEACE needs the package concept_erasure, which is not installed. Run: "
    assert str(error.value) == said + install_line("erasure")


def test_a_model_with_an_eraser_is_one_ordinary_folder(minilm, tmp_path):
    from sentence_transformers import SentenceTransformer

    from course_utils import encode, load_model
    from course_utils.encoding.embedders import dimension
    from course_utils.models.fingerprints import fingerprint

    texts = ["She is a nurse.", "He is a nurse.", "bread", ""]
    before = encode(minilm, texts)
    named = fingerprint(minilm)
    rng = np.random.default_rng(0)
    eraser = LinearEraser.removing(rng.normal(size=(3, 384)), mean=rng.normal(size=384) / 20).at(
        0.8
    )
    model = eraser.attach(minilm)
    expected = eraser.transform(before)
    assert np.allclose(encode(model, texts), expected, atol=1e-6)
    assert np.abs(expected - before).max() > 0.01
    assert fingerprint(model) != named == fingerprint(minilm)
    assert np.array_equal(encode(minilm, texts), before)
    model.save_pretrained(str(tmp_path / "m"))
    types = [module["type"] for module in json.loads((tmp_path / "m/modules.json").read_text())]
    assert all(name.startswith("sentence_transformers.") for name in types)
    # The plain library, which has never heard of the course, and the course's own careful loader.
    for loaded in (
        SentenceTransformer(str(tmp_path / "m"), device="cpu"),
        load_model(tmp_path / "m", device="cpu"),
    ):
        assert np.allclose(loaded.encode(texts), expected, atol=1e-6)
        assert dimension(loaded) == 384
    again = LinearEraser.removing(rng.normal(size=(1, 384))).attach(model)
    assert len(again) == len(model) + 2


def test_a_model_that_the_eraser_does_not_fit_is_refused(minilm):
    import copy

    with pytest.raises(ValueError, match="384 dimensions, the eraser 12"):
        LinearEraser(np.eye(12), np.zeros(12)).attach(minilm)
    with pytest.raises(TypeError, match="as_embedder"):
        LinearEraser(np.eye(12), np.zeros(12)).attach(len)
    cut = copy.deepcopy(minilm)
    cut.truncate_dim = 128
    with pytest.raises(ValueError, match="128"):
        LinearEraser(np.eye(384), np.zeros(384)).attach(cut)


def test_a_model_without_a_normalize_at_its_end_gets_one_before_the_map(minilm):
    import copy

    from course_utils import encode

    bare = copy.deepcopy(minilm)
    del bare[-1]
    eraser = LinearEraser.removing(np.eye(384)[:2], mean=np.full(384, 0.1))
    texts = ["one", "two words"]
    assert np.allclose(
        encode(eraser.attach(bare), texts), eraser.transform(encode(bare, texts)), atol=1e-6
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_inlp_and_hard_debias_turn_with_the_space(seed):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0]
    rows, labels = two_groups(80, seed=seed)
    one, other = (inlp(r, labels, max_rank=1, margin=0) for r in (rows, rows @ turn.T))
    assert one.rank == other.rank == 1
    assert np.allclose(turn @ one.matrix @ turn.T, other.matrix, atol=1e-6)
    pairs = rows.reshape(-1, 2, 12)
    assert np.allclose(
        turn @ hard_debias(pairs).matrix @ turn.T, hard_debias(pairs @ turn.T).matrix, atol=1e-6
    )
