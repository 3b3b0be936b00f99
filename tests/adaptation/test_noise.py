"""What noise must do: take the stated share of the words, never all, and be drawn from the seed."""

import itertools
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.adaptation import add_noise
from course_utils.adaptation.noise import KINDS

MANY = [f"{n}.{i}" for i, n in enumerate(np.random.default_rng(0).integers(3, 40, 10_000))]
TEXTS = st.lists(
    st.text(min_size=1, max_size=60).filter(lambda text: text.split()), min_size=1, max_size=5
)
kinds = pytest.mark.parametrize("kind", KINDS)


def sentence(name, length):
    return " ".join(f"{name}w{place}" for place in range(length))


@pytest.fixture(scope="module")
def corpus():
    """Return 10,000 sentences of 3 to 39 distinct words."""
    return [sentence(name, int(name.split(".")[0])) for name in MANY]


def is_subsequence(part, whole):
    left = iter(whole)
    return all(word in left for word in part)


@pytest.mark.parametrize("rate", [0.3, 0.6])
def test_the_stated_share_of_the_words_goes(corpus, rate):
    before = sum(len(text.split()) for text in corpus)
    after = sum(len(text.split()) for text in add_noise(corpus, rate=rate))
    assert 1 - after / before == pytest.approx(rate, abs=0.005)


@pytest.mark.parametrize("length", [3, 4, 7, 30])
def test_the_share_is_the_stated_one_at_every_length_that_allows_it(length):
    texts = [sentence(number, length) for number in range(10_000)]
    left = np.array([len(text.split()) for text in add_noise(texts)])
    # Four standard errors, for at most n/4 of variance in the number of words left.
    margin = 4 * np.sqrt(length * 0.25 / 10_000) / length
    assert 1 - left.mean() / length == pytest.approx(0.6, abs=margin)


def test_short_definitions_of_real_words_lose_the_stated_share_too():
    from course_utils.data import load_texts

    texts = [text for text in load_texts("medical") if len(text.split()) > 2]
    texts = list(itertools.islice(itertools.cycle(texts), 10_000))
    before = sum(len(text.split()) for text in texts)
    after = sum(len(text.split()) for text in add_noise(texts))
    assert 1 - after / before == pytest.approx(0.6, abs=0.005)


def test_of_two_words_one_stays_and_one_word_stays_itself():
    pairs = add_noise([f"left{i} right{i}" for i in range(1000)])
    assert all(len(text.split()) == 1 for text in pairs)
    share = np.mean([text.startswith("left") for text in pairs])
    assert share == pytest.approx(0.5, abs=0.07)
    assert add_noise(["fever"], rate=1) == ["fever"]


def test_words_are_deleted_independently_and_alike_at_every_place():
    texts = [sentence(number, 12) for number in range(8000)]
    kept = np.zeros((8000, 12), dtype=bool)
    for row, text in enumerate(add_noise(texts)):
        kept[row, [int(word.split("w")[1]) for word in text.split()]] = True
    assert kept.mean(axis=0) == pytest.approx(0.4, abs=0.025)
    between = np.corrcoef(kept.T)[~np.eye(12, dtype=bool)]
    assert np.abs(between).max() < 0.06
    # Independent words leave a binomial number of words, but for the rule that one stays.
    assert kept.sum(axis=1).var() == pytest.approx(12 * 0.4 * 0.6, rel=0.1)


def test_a_new_epoch_or_seed_draws_anew_and_the_same_ones_draw_the_same(corpus):
    texts = corpus[:200]
    first = add_noise(texts)
    assert add_noise(texts) == first
    for other in (add_noise(texts, epoch=1), add_noise(texts, seed=1)):
        assert np.mean([a != b for a, b in zip(first, other, strict=True)]) > 0.9


def test_ten_epochs_show_every_word_sooner_or_later():
    seen = Counter()
    for epoch in range(20):
        seen.update(add_noise([sentence("a", 20)], epoch=epoch)[0].split())
    assert len(seen) == 20


@kinds
@given(texts=TEXTS, seed=st.integers(-5, 2**70))
def test_a_sentences_noise_does_not_depend_on_its_batch(kind, texts, seed):
    together = add_noise(texts, kind=kind, seed=seed)
    alone = [add_noise([text], kind=kind, seed=seed)[0] for text in texts]
    backwards = add_noise(texts[::-1], kind=kind, seed=seed)[::-1]
    assert together == alone == backwards


@given(texts=TEXTS, rate=st.floats(0, 1), epoch=st.integers(0, 9))
def test_what_is_left_is_never_empty_and_in_order(texts, rate, epoch):
    for before, after in zip(texts, add_noise(texts, rate=rate, epoch=epoch), strict=True):
        assert after.split()
        assert is_subsequence("".join(after.split()), "".join(before.split()))


@given(texts=TEXTS, seed=st.integers(0, 9))
def test_rate_zero_changes_nothing_but_spaces(texts, seed):
    assert add_noise(texts, rate=0, seed=seed) == [" ".join(text.split()) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "fever",
        "?!",
        "...",
        "🤒",
        "🤒🤒🤒",
        "👩‍⚕️ 🤒",
        "患者夜间高烧不退。",
        "発熱が続いています",
        "ผู้ป่วยมีไข้สูง",
        "a\u0301",
    ],
)
@kinds
def test_texts_of_any_script_stay_texts_of_the_same_characters(text, kind):
    for epoch in range(20):
        noised = add_noise([text], kind=kind, epoch=epoch)[0]
        assert noised.strip()
        assert set(noised) <= set(text + " [MASK]")


def test_text_without_spaces_loses_characters_and_gains_no_spaces():
    text = "患者夜间高烧不退需要立即检查"
    left = add_noise([text * 200])[0]
    assert " " not in left
    assert 1 - len(left) / (len(text) * 200) == pytest.approx(0.6, abs=0.05)
    assert add_noise(["私は Python が 好きです"], rate=0) == ["私は Python が 好きです"]


def test_a_vowel_sign_stays_with_its_letter():
    import unicodedata

    for epoch in range(30):
        left = add_noise(["ผู้ป่วยมีไข้สูง"], epoch=epoch)[0]
        assert unicodedata.category(left[0])[0] != "M"


def test_ten_thousand_words_are_one_sentence_like_any_other():
    left = add_noise([sentence("a", 10_000)])[0].split()
    assert len(left) == pytest.approx(4000, abs=200)
    assert is_subsequence(left, sentence("a", 10_000).split())


def test_mask_keeps_every_place_and_hides_the_words_that_deletion_drops(corpus):
    for text in corpus[:100]:
        masked = add_noise([text], kind="mask", mask="<mask>")[0].split()
        assert len(masked) == len(text.split())
        assert " ".join(w for w in masked if w != "<mask>") == add_noise([text])[0]


def test_swap_keeps_the_words_and_moves_the_stated_share(corpus):
    moved = total = 0
    for before, after in zip(corpus, add_noise(corpus, kind="swap"), strict=True):
        before, after = before.split(), after.split()
        assert sorted(before) == sorted(after)
        moved += sum(a != b for a, b in zip(before, after, strict=True))
        total += len(before)
    # A single chosen word has nobody to change with, which costs a little in short sentences.
    assert moved / total == pytest.approx(0.6, abs=0.01)


def test_insert_adds_the_stated_share_and_loses_nothing(corpus):
    after = add_noise(corpus, kind="insert")
    before = sum(len(text.split()) for text in corpus)
    assert sum(len(text.split()) for text in after) / before == pytest.approx(1.6, abs=0.005)
    for text, noised in zip(corpus[:200], after, strict=False):
        assert is_subsequence(text.split(), noised.split())
        assert set(noised.split()) == set(text.split())


def test_noise_is_the_same_in_another_process():
    code = (
        "from course_utils.adaptation import add_noise; print(add_noise(['a b c d e f g h'] )[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == add_noise(["a b c d e f g h"])[0]


def test_wrong_input_is_refused_in_words():
    assert add_noise([]) == []
    with pytest.raises(TypeError, match="single string"):
        add_noise("one text")
    with pytest.raises(TypeError, match=r"sentences\[1\] is of type NoneType"):
        add_noise(["a", None])
    with pytest.raises(ValueError, match=r"sentences\[1\] holds no word"):
        add_noise(["a", " \n"])
    with pytest.raises(ValueError, match="kind is 'drop'"):
        add_noise(["a"], kind="drop")
    for rate in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="share of the words"):
            add_noise(["a"], rate=rate)
