"""Pairs made of what is there: spans with their texts, and kinds in equal parts."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.adaptation import crop_pairs, mix_pairs

words = st.lists(st.sampled_from("abcdefg"), min_size=0, max_size=40).map(" ".join)


@given(st.lists(words), st.integers(0, 5))
def test_a_span_stands_in_its_text_and_is_shorter(texts, seed):
    pairs = crop_pairs(texts, seed=seed)
    assert [text for _, text in pairs] == [text for text in texts if len(text.split()) > 3]
    for span, text in pairs:
        size, whole = len(span.split()), len(text.split())
        assert f" {span} " in f" {text} "
        assert max(3, round(0.3 * whole)) <= size <= max(3, round(0.7 * whole))
        assert size < whole


def test_spans_lie_everywhere_and_differ_by_seed_alone():
    text = " ".join(map(str, range(100)))
    pairs = crop_pairs([text] * 400)
    assert pairs == crop_pairs([text] * 400) != crop_pairs([text] * 400, seed=1)
    seen = Counter(word for span, _ in pairs for word in span.split())
    assert set(seen) == set(text.split())
    # Uniform over starts: the middle is in most spans, both ends in equally few.
    first, last = sum(seen[str(n)] for n in range(10)), sum(seen[str(n)] for n in range(90, 100))
    assert abs(first - last) < 0.3 * (first + last)
    assert seen["50"] > 3 * seen["0"]


def test_no_kind_has_more_than_most_times_the_smallest():
    kinds = [
        [(f"{kind}{n}", "x") for n in range(size)]
        for kind, size in zip("abc", (50, 7, 12), strict=True)
    ]
    for most, expected in ((1, (7, 7, 7)), (2, (14, 7, 12))):
        pairs = mix_pairs(*kinds, most=most, seed=3)
        assert len(set(pairs)) == len(pairs)
        assert Counter(first[0] for first, _ in pairs) == dict(zip("abc", expected, strict=True))
    assert mix_pairs(*kinds) != mix_pairs(*kinds, seed=1)
    assert mix_pairs() == []


def test_what_cannot_be_mixed_or_cut_is_refused():
    with pytest.raises(ValueError, match="Kind 1 holds no pairs"):
        mix_pairs([("a", "b")], [])
    with pytest.raises(ValueError, match="most is 0"):
        mix_pairs([("a", "b")], most=0)
    for shares in ((0, 0.5), (0.5, 0.4), (0.5, 1)):
        with pytest.raises(ValueError, match="shares is"):
            crop_pairs(["a b c d"], shares=shares)
