"""Texts are checked, counted once, cut and reported; the dev task's questions are none of them."""

import math
import warnings

import pytest

from course_utils.adaptation import PairsConfig, TSDAEConfig, drop_questions
from course_utils.data import ClusteringTask, SimilarityTask

from .toys import PAIRS, lookup_task, pairs, sentences, tsdae


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "There are no sentences"),
        (["fever"], "one sentence"),
        (["fever"] * 5, "all 5 sentences are the same"),
        (["fever", " \n", "rash"], r"sentences\[1\] is blank"),
    ],
)
def test_too_few_or_blank_sentences_are_refused(tiny, texts, told):
    with pytest.raises(ValueError, match=told):
        tsdae(tiny, texts)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ([], "There are no pairs"),
        ([("fever", "rash")] * 3, "all 3 pairs are the same"),
        ([("fever", "")], r"pairs\[0\]\[1\] is blank"),
    ],
)
def test_too_few_or_blank_pairs_are_refused(tiny, texts, told):
    with pytest.raises(ValueError, match=told):
        pairs(tiny, texts)


def test_what_is_no_text_is_refused_by_its_place(tiny):
    with pytest.raises(TypeError, match="single string"):
        tsdae(tiny, "fever")
    with pytest.raises(TypeError, match=r"sentences\[1\] is of type float"):
        tsdae(tiny, ["fever", math.nan])
    for no_pair in ("pain", 7, ("a", "b", "c")):
        with pytest.raises(TypeError, match=r"pairs\[1\] is .*, not two texts"):
            pairs(tiny, [("fever", "rash"), no_pair])
    with pytest.raises(TypeError, match=r"general\[0\] is of type NoneType"):
        pairs(tiny, general=[None])


def test_an_empty_list_of_general_sentences_is_refused_and_none_holds_nothing_in_place(tiny):
    with pytest.raises(ValueError, match="general is empty"):
        pairs(tiny, general=[])
    assert "distillation" not in pairs(tiny).history


def test_texts_over_the_limit_are_cut_counted_and_reported_once(tiny):
    long = [*sentences(8), "fever " * 40, "rash " * 50]
    config = TSDAEConfig(batch_size=5, max_steps=4, max_tokens=20)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = tsdae(tiny, long, config)
    told = [w for w in caught if "tokens" in str(w.message)]
    assert len(told) == 1
    assert "2 of 10 texts have more than 20 tokens (the longest has 52)" in str(told[0].message)
    assert told[0].filename.endswith("toys.py")  # it points at the caller
    assert result.counts["texts cut"] == 2


def test_a_few_texts_over_the_limit_are_counted_without_a_warning(tiny):
    config = PairsConfig(batch_size=5, max_steps=4, max_tokens=20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = pairs(
            tiny, [*PAIRS[:30], ("fever", "fever " * 40)], config, general=["rash " * 50]
        )
    assert result.counts["texts cut"] == 2


def test_equal_texts_count_once(tiny):
    assert tsdae(tiny, ["fever", "rash", "fever"]).counts == {
        "sentences given": 3, "sentences used": 2, "texts cut": 0,
    }  # fmt: skip
    assert pairs(tiny, [*PAIRS, PAIRS[0]]).counts["pairs used"] == len(PAIRS)


def test_a_dev_task_from_the_training_texts_is_refused(tiny):
    task = lookup_task()
    with pytest.raises(ValueError, match=r"1 of the 8 questions.*'a pain' for one"):
        tsdae(tiny, [*sentences(), "A  pain"], dev_task=task)
    with pytest.raises(ValueError, match="'a rash' for one"):
        pairs(tiny, [*PAIRS, ("rash of the leg", "a rash")], dev_task=task)
    alike = SimilarityTask("alike", [PAIRS[3], ("night", "noon")], [1.0, 2.0])
    with pytest.raises(ValueError, match="'alike' are among"):
        pairs(tiny, PAIRS, dev_task=alike)
    # An iterator is looked at once, and still looked at whole.
    with pytest.raises(ValueError, match="'a pain' for one"):
        tsdae(tiny, iter([*sentences(), "a pain"]), dev_task=task)


def test_what_drop_questions_leaves_may_be_trained_on(tiny):
    task = lookup_task()
    alike = SimilarityTask("alike", [PAIRS[3], ("night", "noon")], [1.0, 2.0])
    tsdae(tiny, drop_questions([*sentences(), "A  pain"], task), dev_task=task)
    kept = drop_questions([*PAIRS, ("rash of the leg", "a rash")], task, alike)
    assert kept == PAIRS[:3] + PAIRS[4:]
    # Documents may be trained on: one adapts to the corpus one searches.
    tsdae(tiny, [*sentences(), *task.corpus.values()], dev_task=task)


def test_what_cannot_be_trained_or_scored_is_refused(tiny):
    with pytest.raises(TypeError, match="not a SentenceTransformer"):
        tsdae("all-MiniLM-L6-v2")
    with pytest.raises(TypeError, match="dev_task is a ClusteringTask"):
        tsdae(tiny, dev_task=ClusteringTask("c", ["fever", "rash"], ["x", "y"]))
    with pytest.raises(TypeError, match=r"config is a dict; pass TSDAEConfig\("):
        tsdae(tiny, config={"max_steps": 3})
    with pytest.raises(TypeError, match=r"config is a TSDAEConfig; pass PairsConfig\("):
        pairs(tiny, config=TSDAEConfig())
