"""The widgets of lesson 2 show what training does, follow their controls, and show text as text."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.adaptation import add_noise
from course_utils.adaptation.noise import KINDS
from course_utils.encoding.embedders import as_embedder
from course_utils.retrieval import Index, search
from course_utils.widgets import lesson2
from tests.pages import HOSTILE, Page, assert_safe

SENTENCES = [
    "The patient was seen at night with a high fever.",
    "The lease ends when the tenant gives two months of notice in writing.",
]


def lines(widget):
    """The original and the damaged copy of every sentence, as HTML."""
    items = re.findall(r'<span dir="auto">(.*?)</span><br>', widget.value)
    return items[::2], items[1::2]


class TestNoiseSlider:
    @pytest.mark.parametrize("kind", KINDS)
    def test_the_copy_is_the_one_that_training_makes(self, kind):
        box = lesson2.noise_slider(SENTENCES, rate=0.4, seed=3)
        box.kind.value = kind
        box.epoch.value = 2
        copies = [re.sub("<.*?>", "", copy) for copy in lines(box.damaged)[1]]
        assert copies == add_noise(SENTENCES, kind=kind, rate=0.4, seed=3, epoch=2)

    @settings(max_examples=40, deadline=None)
    @given(
        st.lists(st.sampled_from(["fever", "a", "the", "Nr.", "発熱が", "ไข้สูง"]), min_size=1),
        st.integers(0, 18),
        st.integers(0, 9),
    )
    def test_what_is_not_struck_through_is_the_damaged_copy(self, words, steps, epoch):
        text = " ".join(words)
        box = lesson2.noise_slider([text], rate=0.05 * steps)
        box.epoch.value = epoch
        (original,), (copy,) = lines(box.damaged)
        assert re.sub("<.*?>", "", original) == text
        kept = re.sub("<del.*?</del>", "", original)
        assert kept.split() == copy.split()

    def test_removed_words_are_struck_through_and_kept_ones_are_not(self):
        box = lesson2.noise_slider(SENTENCES, seed=1)
        for original, copy in zip(*lines(box.damaged), strict=True):
            removed = re.findall("<del[^>]*line-through[^>]*>(.*?)</del>", original)
            words = re.sub("<.*?>", "", original).split()
            assert sorted(removed + copy.split()) == sorted(words)
            assert removed

    def test_masked_words_are_marked_in_the_original_and_in_the_copy(self):
        box = lesson2.noise_slider(SENTENCES[:1])
        box.kind.value = "mask"
        (original,), (copy,) = lines(box.damaged)
        hidden = re.findall("<mark[^>]*underline[^>]*>(.*?)</mark>", copy)
        assert hidden
        assert set(hidden) == {"[MASK]"}
        assert original.count("<mark") == len(hidden)
        unmarked = [re.sub("<mark.*?</mark>", "?", line) for line in (original, copy)]
        assert unmarked[0] == unmarked[1]

    def test_inserted_words_are_what_the_copy_has_more_than_the_original(self):
        box = lesson2.noise_slider(SENTENCES)
        box.kind.value = "insert"
        originals, copies = lines(box.damaged)
        for original, copy in zip(originals, copies, strict=True):
            without = re.sub(" <mark.*?</mark>", "", copy)
            assert without == re.sub("<.*?>", "", original)

    def test_moved_words_are_marked_where_they_stood_and_where_they_went(self):
        box = lesson2.noise_slider(SENTENCES, rate=0.4)
        box.kind.value = "swap"
        for original, copy in zip(*lines(box.damaged), strict=True):
            here, there = (re.findall("<mark.*?>(.*?)</mark>", line) for line in (original, copy))
            assert sorted(here) == sorted(there)
            assert len(here) > 1

    def test_the_realised_share_is_counted(self):
        box = lesson2.noise_slider(["one two three four five six seven eight nine ten"], seed=4)
        gone = 10 - len(
            add_noise(["one two three four five six seven eight nine ten"], seed=4)[0].split()
        )
        assert f"{gone} of 10 words removed ({10 * gone} %)" in Page(box.damaged).text
        assert "60 % was asked for" in Page(box.damaged).text
        box.rate.value = 0
        assert "0 of 10 words removed (0 %)" in Page(box.damaged).text

    def test_another_epoch_draws_anew(self):
        box = lesson2.noise_slider(SENTENCES)
        drawn = set()
        for epoch in range(10):
            box.epoch.value = epoch
            drawn.add(tuple(lines(box.damaged)[1]))
        assert len(drawn) > 5

    @pytest.mark.parametrize("kind", KINDS)
    def test_sentences_are_shown_as_text(self, kind):
        box = lesson2.noise_slider([HOSTILE], rate=0)
        box.kind.value = kind
        assert_safe(box.damaged)
        box.rate.value = 0.9
        assert not {"script", "b"} & set(Page(box.damaged).tags)

    def test_nothing_to_damage_is_refused(self):
        with pytest.raises(ValueError, match="no sentences"):
            lesson2.noise_slider([])
        with pytest.raises(ValueError, match="holds no word"):
            lesson2.noise_slider(["a", " "])


TEXTS = {"d1": "alpha", "d2": "beta", "d3": "gamma", "d4": "delta", "d5": HOSTILE}


def embedder(order):
    """An embedder that ranks the documents in this order for any other text."""
    places = {TEXTS[name]: place for place, name in enumerate(order)}

    def vectors(texts):
        angles = [0.2 * places.get(text, -1) + 0.2 for text in texts]
        return np.array([[np.cos(angle), np.sin(angle)] for angle in angles], dtype=np.float32)

    return as_embedder(vectors)


def compared(**options):
    models = {
        "base": embedder(["d1", "d2", "d3", "d4", "d5"]),
        "adapted <i>": embedder(["d4", "d1", "d5", "d2", "d3"]),
    }
    indexes = {
        name: Index.from_matrix(
            model.encode(list(TEXTS.values())), list(TEXTS.values()), ids=list(TEXTS)
        )
        for name, model in models.items()
    }
    return models, indexes, lesson2.compare_search(models, indexes, **options)


def only_here(box):
    return re.findall(r"\[only here\]</strong> [\d.]+ <code>(\w+)</code>", box.results.value)


class TestCompareSearch:
    def test_every_model_has_a_column_with_its_own_results_in_order(self):
        models, indexes, box = compared(k=3, query="anything")
        page = Page(box.results)
        found = [
            hit.id
            for name in models
            for hit in search(models[name], "anything", indexes[name], k=3)
        ]
        assert page.texts("code") == found == ["d1", "d2", "d3", "d4", "d1", "d5"]
        labels = page.labels
        assert labels[1:] == ["base", "adapted <i>"]

    def test_what_only_one_model_finds_is_marked_in_words(self):
        *_, box = compared(k=3, query="anything")
        # d1 is among the three of both.
        assert only_here(box) == ["d2", "d3", "d4", "d5"]
        assert (
            "Found by all: 1 of 3; 2 only by base, 2 only by adapted <i>." in Page(box.results).text
        )

    def test_asking_for_all_leaves_nothing_to_one_model_alone(self):
        *_, box = compared(k=1, query="anything")
        assert only_here(box) == ["d1", "d4"]
        box.k.value = 5
        assert only_here(box) == []
        assert "Found by all: 5 of 5" in Page(box.results).text

    def test_results_follow_the_query(self):
        *_, box = compared(k=1)
        assert "Type a few words" in box.results.value
        box.query.value = "gamma"
        assert Page(box.results).texts("code") == ["d3", "d3"]
        assert "gamma" in Page(box.results).texts("mark")

    def test_texts_and_names_are_shown_as_text(self):
        *_, box = compared(k=5, query="x")
        assert_safe(box.results)
        assert "i" not in Page(box.results).tags

    def test_an_error_of_the_search_is_not_hidden(self):
        models, indexes, _ = compared()
        models["base"] = as_embedder(lambda texts: np.ones((len(texts), 3), dtype=np.float32))
        box = lesson2.compare_search(models, indexes)
        with pytest.raises(ValueError, match="3 dimensions"):
            box.query.value = "alpha"

    def test_models_that_cannot_be_compared_are_refused(self):
        models, indexes, _ = compared()
        with pytest.raises(ValueError, match="one index a model"):
            lesson2.compare_search(models, {"base": indexes["base"]})
        with pytest.raises(ValueError, match="two or three"):
            lesson2.compare_search({"base": models["base"]}, {"base": indexes["base"]})
        other = Index.from_matrix(np.eye(2), ["a", "b"], ids=["x", "y"])
        with pytest.raises(ValueError, match="different ids"):
            lesson2.compare_search(models, indexes | {"adapted <i>": other})


def shares(**columns):
    columns = columns or {"medical MRR@10": [0.4, 0.5, 0.45], "general Spearman": [0.8, 0.75, 0.6]}
    return pd.DataFrame(columns, index=[0.0, 0.25, 1.0])


def cells(box):
    return re.findall(r'<td style="text-align:end[^>]*>([^<]*)</td>', box.result.value)


class TestShareSlider:
    def test_scores_and_their_changes_are_those_of_the_row(self):
        box = lesson2.share_slider(shares())
        assert [value for _, value in box.share.options] == [0, 0.25, 1]
        box.share.value = 0.25
        assert cells(box) == ["0.500", "+0.100", "0.750", "−0.050"]
        box.share.value = 1.0
        assert cells(box) == ["0.450", "+0.050", "0.600", "−0.200"]

    def test_at_the_start_nothing_has_changed(self):
        box = lesson2.share_slider(shares())
        box.share.value = 0.0
        assert cells(box)[1::2] == ["0.000", "0.000"]
        assert "0 % trained weights, 100 % of the start" in Page(box.result).text

    def test_a_change_too_small_to_print_has_no_sign(self):
        box = lesson2.share_slider(shares(score=[0.5, 0.4999, 0.5001]))
        for share in (0.25, 1.0):
            box.share.value = share
            assert cells(box)[1] == "0.000"

    def test_the_point_moves_along_the_curve(self):
        box = lesson2.share_slider(shares())
        for share, row in ((0.0, 0), (0.25, 1), (1.0, 2)):
            box.share.value = share
            curve = re.findall(r'<polyline points="([^"]+)"', box.result.value)[0]
            dot = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', box.result.value).groups()
            assert ",".join(dot) == curve.split()[row]

    def test_the_curve_says_in_words_what_it_shows(self):
        box = lesson2.share_slider(shares())
        box.share.value = 0.25
        said = Page(box.result).labels
        assert (
            "Line chart: medical MRR@10 upwards against the share of trained weights across: 0.400 "
            "at 0, 0.500 at 0.25 (marked), 0.450 at 1. A dashed line stands at 0.400."
        ) in said

    def test_the_highest_score_of_each_column_is_named(self):
        text = Page(lesson2.share_slider(shares()).result).text
        assert "medical MRR@10 0.500 at 0.25; general Spearman 0.800 at 0." in text

    def test_a_score_that_never_moves_can_be_drawn(self):
        assert "nan" not in lesson2.share_slider(shares(flat=[0.5, 0.5, 0.5])).result.value

    def test_names_are_shown_as_text(self):
        assert_safe(lesson2.share_slider(shares(**{HOSTILE: [0.1, 0.2, 0.3]})).result)

    @pytest.mark.parametrize("index", [[0.1, 0.5, 1], [0, 1, 0.5], [0, 0.5, 1.5], [0, 0, 1]])
    def test_shares_that_do_not_rise_from_the_start_are_refused(self, index):
        with pytest.raises(ValueError, match="rise from 0"):
            lesson2.share_slider(shares().set_axis(index))

    def test_missing_scores_are_refused(self):
        with pytest.raises(ValueError, match=r"'score' at share 0\.25 is missing"):
            lesson2.share_slider(shares(score=[0.1, np.nan, 0.2]))
        with pytest.raises(ValueError, match="no column"):
            lesson2.share_slider(pd.DataFrame(index=[0, 1]))


class TestTrainingCalculator:
    def test_time_is_sentences_times_epochs_over_the_pace(self):
        # 36,000 sentences three times at 30 a second: an hour.
        assert lesson2.training_time(36_000, 3, 30) == 3600

    @given(st.integers(0, 10**8), st.integers(0, 50), st.floats(0.1, 1e5))
    def test_twice_the_sentences_or_the_epochs_or_half_the_pace_take_twice_the_time(
        self, sentences, epochs, pace
    ):
        twice = pytest.approx(2 * lesson2.training_time(sentences, epochs, pace))
        assert lesson2.training_time(2 * sentences, epochs, pace) == twice
        assert lesson2.training_time(sentences, 2 * epochs, pace) == twice
        assert lesson2.training_time(sentences, epochs, pace / 2) == twice

    @pytest.mark.parametrize(
        ("amounts", "message"),
        [
            ((-1, 1, 1), "sentences is -1"),
            ((1, -1, 1), "epochs is -1"),
            ((1, 1, 0), "texts_per_second is 0: it must be above 0"),
            ((1, 1, float("nan")), "texts_per_second is nan"),
        ],
    )
    def test_impossible_amounts_are_refused(self, amounts, message):
        with pytest.raises(ValueError, match=message):
            lesson2.training_time(*amounts)

    def test_it_shows_three_sizes_and_the_learners_own(self):
        box = lesson2.training_calculator(50, 1500, sentences=9_000)
        assert (box.texts_per_second.value, box.sentences.value, box.epochs.value) == (50, 9000, 1)
        # 10,000 / 50 = 200 s; 2,000 s; 20,000 s; 9,000 / 50 = 180 s.
        assert cells(box)[::4] == ["3 min", "33 min", "5.6 h", "3 min"]
        box.sentences.value = 900_000
        assert cells(box)[-4] == "5.0 h"
        box.epochs.value = 2
        assert cells(box)[-4] == "10.0 h"
        box.texts_per_second.value = 100
        assert cells(box)[-4] == "5.0 h"

    def test_only_the_texts_add_to_the_memory(self):
        box = lesson2.training_calculator(50, 1500)
        assert cells(box)[1::4] == ["1,500 MB"] * 4
        # A million texts of 250 bytes.
        assert cells(box)[2::4] == ["2.5 MB", "25.0 MB", "250.0 MB", "25.0 MB"]
        assert cells(box)[3::4][2] == "1,750 MB"
        before = cells(box)
        box.epochs.value = 5
        assert cells(box)[1:4] == before[1:4]


def every_box():
    return [
        lesson2.noise_slider(SENTENCES),
        compared()[-1],
        lesson2.share_slider(shares()),
        lesson2.training_calculator(50, 1500),
    ]


def test_every_widget_has_a_heading_a_sentence_and_a_name_for_every_control():
    import ipywidgets

    for box in every_box():
        heading = Page(box.children[0])
        assert heading.texts("strong")
        assert "ook for" in heading.text
        for control in box.children:
            if not isinstance(control, ipywidgets.HTML):
                assert control.description


def test_every_output_is_a_region_with_a_name():
    for box in every_box():
        attributes = dict(Page(box.children[-1]).attributes[:3])
        assert attributes["role"] == "region"
        assert attributes["aria-label"]
