"""Swapping: whole words, both ways, capitals kept; and samples of equal size."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.bias.augmentation import balanced, counterfactual_augmentation, mentioned

PRONOUNS = [("he", "she"), ("him", "her"), ("his", "her"), ("his", "hers"), ("himself", "herself")]


def swapped(text, pairs=PRONOUNS, **options):
    found = counterfactual_augmentation([text], pairs, **options)
    return found[1] if len(found) == 2 else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("He said that she knew.", "She said that he knew."),
        ("HE DID, he did.", "SHE DID, she did."),
        ("The theatre and the other sheet.", None),  # he, she and her inside other words
        ("he's late; she'll wait", "she's late; he'll wait"),
        ("(he)-she/he", "(she)-he/she"),
        ("he_1 he2", None),
        ("", None),
    ],
)
def test_whole_words_are_swapped_both_ways_with_their_capitals(text, expected):
    assert swapped(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Her book is old.", "His book is old."),
        ("I gave her the book.", "I gave him the book."),
        ("I saw her.", "I saw him."),
        ("I saw her yesterday", "I saw him yesterday"),
        ("We told her to wait for her turn.", "We told him to wait for his turn."),
        ("Her old, worn coat", "His old, worn coat"),
        ('She read her "Last Poems"', 'He read his "Last Poems"'),
        ("His car is red, and the bike is his.", "Her car is red, and the bike is hers."),
        ("The choice was his to make.", "The choice was hers to make."),
        ("Hers is blue.", "His is blue."),
        ("It is HERS", "It is HIS"),
        ("with him", "with her"),
    ],
)
def test_her_and_his_are_told_apart_by_what_follows(text, expected):
    assert swapped(text) == expected


def test_the_rule_is_no_parser_and_says_so():
    # The two mistakes that the docstring admits, so that it stays true.
    assert swapped("I saw her run.") == "I saw his run."
    assert swapped("A friend of his came.") == "A friend of her came."
    assert "I saw her run" in counterfactual_augmentation.__doc__


def test_with_one_counterpart_there_is_nothing_to_choose():
    assert swapped("her and his book", [("his", "her")]) == "his and her book"


def test_the_longest_entry_wins_and_a_hyphen_ends_a_word():
    pairs = [("mother", "father"), ("mother-in-law", "husband's father"), ("ex-wife", "widower")]
    assert swapped("my mother-in-law", pairs) == "my husband's father"
    assert swapped("my mother, the ex-wife", pairs) == "my father, the widower"
    assert swapped("grand-mother", pairs) == "grand-father"


def test_names_are_swapped_only_where_they_have_their_capital():
    names = [("Mark", "Grace"), ("Élodie", "Jean-Luc")]
    assert swapped("Mark will mark it with grace.", names=names) == "Grace will mark it with grace."
    assert swapped("MARK's and Élodie's", names=names) == "GRACE's and Jean-Luc's"
    assert swapped("Markus", names=names) is None


def test_the_originals_come_first_and_texts_without_a_word_once():
    texts = ["rain", "he", "snow", "she"]
    assert counterfactual_augmentation(texts, PRONOUNS) == [*texts, "she", "he"]
    assert counterfactual_augmentation([], PRONOUNS) == []


words = st.sampled_from(
    ["he", "She", "KING", "queen", "the", "rain,", "Anna", "Otto", "(man)", "woman."]
)


@given(st.lists(words, max_size=12).map(" ".join))
def test_swapping_twice_gives_the_text_back(text):
    pairs, names = [("he", "she"), ("king", "queen"), ("man", "woman")], [("Anna", "Otto")]
    once = swapped(text, pairs, names=names)
    assert once is None or swapped(once, pairs, names=names) == text
    counts = Counter(mentioned([text, once or text], pairs))
    if once is not None and None not in counts:
        assert counts == {"first": 1, "second": 1}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "no pairs"),
        ([("he", " ")], r"pairs\[0\] holds a blank"),
        ([("he", "He")], "for itself"),
        ([("he", "she"), ("he", "they")], "'he' has the counterparts 'she' and 'they'"),
        ([("his", "her"), ("him", "her"), ("its", "her")], "'her' has the counterparts"),
        (["he"], "two words"),
        ([("a", "b", "c")], "two words"),
        ([("a", 3)], "two words"),
    ],
)
def test_pairs_that_say_nothing_clear_are_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        counterfactual_augmentation(["text"], pairs)


def test_texts_that_are_none_are_refused():
    for texts in ("he", [None], [3]):
        with pytest.raises(TypeError, match="texts"):
            counterfactual_augmentation(texts, PRONOUNS)
        with pytest.raises(TypeError, match="texts"):
            balanced(texts, [1])


@pytest.mark.parametrize("word", ["a.b", "c++", "(x", "[y]", "\\d"])
def test_an_entry_is_a_text_and_not_a_pattern(word):
    assert swapped(f"say {word} twice", [(word, "z")]) == "say z twice"
    assert swapped("say aXb 5", [(word, "z")]) is None


groups = st.lists(st.sampled_from(["f", "m", "x", None]), max_size=40).filter(
    lambda labels: len(set(labels) - {None}) > 1
)


@given(groups, st.integers(0, 99))
def test_every_group_has_as_many_as_the_smallest_and_nothing_is_repeated(labels, seed):
    texts = [f"{label} {row}" for row, label in enumerate(labels)]
    kept = balanced(texts, labels, seed=seed)
    found = Counter(label for text, label in zip(texts, labels, strict=True) if text in set(kept))
    given_ = Counter(labels)
    least = min(n for label, n in given_.items() if label is not None)
    assert all(found[label] == (n if label is None else least) for label, n in given_.items())
    assert kept == [text for text in texts if text in set(kept)]  # their own order, each once
    assert kept == balanced(texts, labels, seed=seed)


def test_which_texts_are_left_out_is_drawn_evenly():
    drawn = Counter(
        text
        for seed in range(400)
        for text in balanced(["a", "b", "c", "d", "she"], ["m"] * 4 + ["f"], seed=seed)
    )
    assert drawn["she"] == 400
    # A binomial of 400 at 1/4 has a standard deviation of 8.7; four of them.
    assert all(abs(drawn[text] - 100) < 35 for text in "abcd")


def test_balanced_needs_two_groups_and_a_label_for_each_text():
    with pytest.raises(ValueError, match="2 texts"):
        balanced(["a", "b"], ["m"])
    with pytest.raises(ValueError, match="Two are needed"):
        balanced(["a", "b"], ["m", None])


def test_a_text_belongs_to_the_side_that_it_mentions_more():
    texts = ["He and his dog.", "Her king and his queen, she said.", "he, she", "Otto!", "otto"]
    pairs = [*PRONOUNS, ("king", "queen")]
    assert mentioned(texts, pairs, names=[("Otto", "Anna")]) == [
        "first", "second", None, "first", None
    ]  # fmt: skip
