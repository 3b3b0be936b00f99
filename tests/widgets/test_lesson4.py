"""The widgets of lesson 4 measure when asked, follow their controls, and show text as text."""

import re
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.bias.associations import effect_size_interval
from course_utils.data.tasks import AssociationTest
from course_utils.widgets import lesson4
from course_utils.widgets.association import signed
from tests.pages import HOSTILE, TURNING, Page, assert_safe


class Encoder:
    """Vectors of words, the same for the same word, and how often they were asked for."""

    def __init__(self, d=6):
        self.d, self.asked = d, []

    def __call__(self, words):
        self.asked.append(words)
        return np.array([self.vector(word) for word in words])

    def vector(self, word):
        # Words in capitals point one way and others the other, so that there is something to find.
        seed = int.from_bytes(word.encode()[:6], "big")
        own = np.random.default_rng(seed).normal(size=self.d)
        return own + (1.0 if word[0] in "af" else -1.0 if word[0] in "bs" else 0.0)


FLOWERS = AssociationTest(
    "toy", ["fa", "fb", "fc", "fd"], ["sa", "sb", "sc", "sd"], ["aa", "ab", "ac"], ["ba", "bb"]
)


def scores_of(test, encode):
    """Association of each word of X and Y, by the definition, one cosine at a time."""

    def cosine(one, other):
        one, other = encode.vector(one), encode.vector(other)
        return one @ other / np.sqrt((one @ one) * (other @ other))

    return {
        word: np.mean([cosine(word, a) for a in test.A])
        - np.mean([cosine(word, b) for b in test.B])
        for word in [*test.X, *test.Y]
    }


def by_definition(test, encode):
    s = scores_of(test, encode)
    x, y = (np.array([s[word] for word in words]) for words in (test.X, test.Y))
    both = np.r_[x, y]
    sums = [both[list(rows)].sum() for rows in combinations(range(len(both)), len(x))]
    p = np.mean([total >= x.sum() - 1e-9 for total in sums])
    return (x.mean() - y.mean()) / both.std(ddof=1), p, x.sum() - y.sum()


def type_in(box, **sets):
    for side, words in sets.items():
        getattr(box, side).value = words if isinstance(words, str) else ", ".join(words)


class TestAssociationBox:
    def test_nothing_is_measured_before_run_is_pressed(self):
        encode = Encoder()
        box = lesson4.association_box(encode, FLOWERS)
        type_in(box, X="fa, fb, fe", Y="sa, sb, sc")
        assert encode.asked == []
        assert box.result is None
        assert "Nothing is measured yet" in Page(box.shown).text

    def test_one_press_asks_once_for_all_words_in_order(self):
        encode = Encoder()
        box = lesson4.association_box(encode, FLOWERS)
        box.run.click()
        assert encode.asked == [[*FLOWERS.X, *FLOWERS.Y, *FLOWERS.A, *FLOWERS.B]]

    def test_the_result_is_that_of_the_definition(self):
        encode = Encoder()
        box = lesson4.association_box(encode, FLOWERS)
        box.run.click()
        effect, p, statistic = by_definition(FLOWERS, encode)
        assert box.result.effect_size == pytest.approx(effect)
        assert box.result.p_value == pytest.approx(p)
        assert box.result.statistic == pytest.approx(statistic)
        assert box.result.exact

    def test_what_is_shown_is_the_result(self):
        encode = Encoder()
        box = lesson4.association_box(encode, FLOWERS)
        box.run.click()
        text = Page(box.shown).text
        sets = (encode(words) for words in (FLOWERS.X, FLOWERS.Y, FLOWERS.A, FLOWERS.B))
        low, high = effect_size_interval(*sets)
        assert box.interval == (low, high)
        assert f"Effect size {signed(box.result.effect_size, 2)}" in text
        assert f"interval {signed(low, 2)} to {signed(high, 2)}" in text
        assert f"p = {box.result.p_value:.4g} (exact, over all 70 ways" in text
        assert "say nothing of any person" in text

    def test_the_side_is_said_and_turns_when_the_sets_are_swapped(self):
        box = lesson4.association_box(Encoder(), FLOWERS)
        box.run.click()
        before = box.result
        assert before.effect_size > 0
        assert "X is nearer to A and Y to B" in Page(box.shown).text
        type_in(box, X=FLOWERS.Y, Y=FLOWERS.X)
        box.run.click()
        assert box.result.effect_size == pytest.approx(-before.effect_size)
        assert "X is nearer to B and Y to A" in Page(box.shown).text

    def test_an_interval_that_holds_zero_is_pointed_out(self):
        box = lesson4.association_box(Encoder())
        type_in(box, X="ca, cb, cc", Y="da, db, dc", A="ga, gb, gc", B="ha, hb, hc")
        box.run.click()
        assert box.interval[0] < 0 < box.interval[1]
        assert "holds 0" in Page(box.shown).text
        clear = lesson4.association_box(Encoder(), FLOWERS)
        clear.run.click()
        assert clear.interval[0] > 0
        assert "holds 0" not in Page(clear.shown).text

    def test_the_least_p_there_can_be_is_said_to_be_it(self):
        box = lesson4.association_box(Encoder(), FLOWERS)
        box.run.click()
        assert box.result.p_value == pytest.approx(1 / 70)
        assert "That is the least that so many words can give" in Page(box.shown).text

    def test_many_words_are_sampled_and_this_is_said(self):
        box = lesson4.association_box(Encoder())
        type_in(
            box,
            X=[f"f{i}" for i in range(13)],
            Y=[f"s{i}" for i in range(13)],
            A="aa, ab",
            B="ba, bb",
        )
        box.run.click()
        assert not box.result.exact
        assert "sampled, over 10,000 random splits" in Page(box.shown).text

    def test_words_may_stand_on_lines_or_between_commas(self):
        encode = Encoder()
        box = lesson4.association_box(encode)
        type_in(box, X=" fa\nfb,, fc\r\n\n", Y="sa,sb,\nnew york", A="aa,ab,", B="ba\nbb")
        box.run.click()
        assert encode.asked == [["fa", "fb", "fc", "sa", "sb", "new york", "aa", "ab", "ba", "bb"]]

    def test_words_changed_after_the_press_are_said_to_be_so_until_the_next(self):
        box = lesson4.association_box(Encoder(), FLOWERS)
        box.run.click()
        before = Page(box.shown).text
        box.Y.value = "sa, sb, sc, se"
        assert Page(box.shown).text.endswith(before)
        assert "have changed since" in Page(box.shown).text
        box.run.click()
        assert "have changed since" not in Page(box.shown).text

    def test_every_word_has_a_bar_highest_first(self):
        encode = Encoder()
        box = lesson4.association_box(encode, FLOWERS)
        box.run.click()
        scores = scores_of(FLOWERS, encode)
        cells = Page(box.shown).texts("td", "th")
        shown = {cells[at]: cells[at + 1 : at + 3] for at in range(5, len(cells), 5)}
        assert list(shown) == sorted(scores, key=lambda word: -scores[word])
        for word, (side, number) in shown.items():
            assert side == ("X" if word in FLOWERS.X else "Y")
            assert number == signed(scores[word], 3)

    def test_of_many_words_both_ends_are_shown(self):
        encode = Encoder()
        test = AssociationTest(
            "many",
            [f"f{i}" for i in range(10)],
            [f"s{i}" for i in range(10)],
            FLOWERS.A,
            FLOWERS.B,
        )
        box = lesson4.association_box(encode, test)
        box.run.click()
        scores = scores_of(test, encode)
        order = sorted(scores, key=lambda word: -scores[word])
        cells = Page(box.shown).texts("td", "th")
        assert [cell for cell in cells if cell in scores] == order[:8] + order[-8:]
        assert "… 4 more …" in cells

    @pytest.mark.parametrize(
        ("sets", "told"),
        [
            ({"X": ""}, "X is empty"),
            ({"B": " ,\n"}, "B is empty"),
            ({"X": "fa, fb"}, "X holds 2 words and Y 4"),
            ({"X": "fa", "Y": "sa"}, "X holds 1 word"),
            ({"A": "aa"}, "A holds 1 word"),
            ({"X": "fa, fb, fc, FA"}, "'FA' is in X twice"),
            ({"Y": "sa, sb, sc, fa"}, "'fa' is in both X and Y"),
            ({"B": "ba, Fa"}, "'Fa' is in both X and B"),
            ({"X": "fa, fb, fc, f\u202ed"}, "word 4 of X holds U+202E"),
            ({"X": "fa, fb, fc, " + "f" * 1_000_000}, "has 1,000,000 characters"),
            ({"X": ["f"] * 300_000}, "X holds 300,000 words"),
            ({"X": f"fa, fb, fc, {HOSTILE}"}, "U+202E"),
        ],
    )
    def test_what_is_no_test_is_told_in_a_sentence_and_leaves_no_result(self, sets, told):
        box = lesson4.association_box(Encoder(), FLOWERS)
        box.run.click()
        type_in(box, **sets)
        box.run.click()
        text = Page(box.shown).text
        assert text.startswith("Not measured. ")
        assert told in text
        assert "Traceback" not in text
        assert (box.result, box.interval) == (None, None)
        type_in(box, X=FLOWERS.X, Y=FLOWERS.Y, A=FLOWERS.A, B=FLOWERS.B)
        box.run.click()
        assert box.result is not None

    @pytest.mark.parametrize(
        ("vectors_of", "told"),
        [
            (lambda words: np.ones((len(words), 4)), "associated alike"),
            (lambda words: np.ones(len(words)), "array of shape (13,)"),
            (lambda words: np.ones((2, 4)), "13 words came as an array of shape (2, 4)"),
            (lambda words: np.eye(13)[:, :12], "vectors[12] ('bb') is all zeros"),
            (lambda words: np.full((13, 4), np.nan), "vectors row 0 ('fa') holds NaN"),
            (lambda words: {}["fa"], "could not be made (KeyError: 'fa')"),
            (lambda words: 1 / 0, "could not be made (ZeroDivisionError: division by zero)"),
        ],
    )
    def test_what_the_vectors_lack_is_told_in_a_sentence(self, vectors_of, told):
        box = lesson4.association_box(vectors_of, FLOWERS)
        box.run.click()
        assert told in Page(box.shown).text
        assert box.result is None

    def test_texts_and_errors_are_shown_as_text(self):
        def hostile_error(words):
            raise ValueError(HOSTILE)

        box = lesson4.association_box(hostile_error, FLOWERS)
        box.run.click()
        assert_safe(box.shown)
        box = lesson4.association_box(Encoder())
        type_in(
            box,
            X="fa, f<script>alert(1)</script><b onclick=x>",
            Y=FLOWERS.Y[:2],
            A=FLOWERS.A,
            B=FLOWERS.B,
        )
        box.run.click()
        assert box.result is not None
        assert_safe(box.shown)

    def test_a_test_whose_words_would_be_split_is_refused(self):
        test = AssociationTest("toy", ["a, b", "c"], ["d", "e"], ["f", "g"], ["h", "i"])
        with pytest.raises(ValueError, match="toy: X holds 'a, b'"):
            lesson4.association_box(Encoder(), test)

    def test_the_published_word_lists_fit_into_it(self):
        from course_utils.bias import load_stimuli

        test = load_stimuli("weat1")
        box = lesson4.association_box(Encoder(20), test)
        assert box.X.value.split(", ") == test.X
        box.run.click()
        assert box.result is not None, Page(box.shown).text


def trade_off():
    return pd.DataFrame(
        {
            "direct bias (lower is better)": [0.12, 0.06, 0.03, 0.01],
            "probe accuracy": [0.95, 0.9, 0.7, 0.52],
            "MRR@10": [0.41, 0.41, 0.408, 0.405],
        },
        index=[0, 0.3, 0.6, 1.0],
    )


class TestStrengthSlider:
    @pytest.mark.parametrize("place", range(4))
    def test_what_is_shown_is_the_row_of_the_strength(self, place):
        table = trade_off()
        box = lesson4.strength_slider(table)
        box.strength.value = place
        page = Page(box.result)
        cells = page.texts("td", "th")
        assert f"At strength {table.index[place]:g}" in page.text
        for letter, name in zip("abc", table, strict=True):
            at = cells.index(f"{letter}: {name}")
            start, here = table[name].iloc[0], table[name].iloc[place]
            change = signed(here - start, 3)
            assert cells[at + 2 : at + 5] == [f"{start:.3f}", f"{here:.3f}", change]

    def test_the_slider_has_every_strength_and_starts_at_the_last(self):
        box = lesson4.strength_slider(trade_off())
        assert [label for label, _ in box.strength.options] == ["0", "0.3", "0.6", "1"]
        assert box.strength.value == 3

    def test_all_lines_share_one_scale_from_nought_to_one(self):
        table = trade_off()
        box = lesson4.strength_slider(table)
        lines = re.findall(r'<polyline points="([^"]+)"', box.result.value)
        heights = [[float(point.split(",")[1]) for point in line.split()] for line in lines]
        values = table.to_numpy().T
        slope, level = np.polyfit(values.ravel(), np.ravel(heights), 1)
        assert np.ravel(heights) == pytest.approx(slope * values.ravel() + level, abs=0.06)
        # The axis says 0 and 1 at the heights which that scale gives them.
        marks = re.findall(r'y="([\d.]+)" text-anchor="end">([\d.]+)<', box.result.value)
        assert {text: float(y) - 3 for y, text in marks} == pytest.approx(
            {"0": level, "1": slope + level}, abs=0.5
        )

    def test_values_beyond_nought_and_one_stay_in_the_picture(self):
        table = pd.DataFrame({"Spearman": [-0.3, 0.2], "effect": [1.8, 0.4]}, index=[0, 1])
        box = lesson4.strength_slider(table)
        lines = re.findall(r'<polyline points="([^"]+)"', box.result.value)
        heights = [float(point.split(",")[1]) for line in lines for point in line.split()]
        assert (min(heights), max(heights)) == (8, 158)
        assert "−0.300" in Page(box.result).texts("td", "th")

    def test_lines_are_told_apart_by_dashes_and_letters(self):
        box = lesson4.strength_slider(trade_off())
        value = box.result.value
        dashes = re.findall(r'<polyline [^>]*stroke-dasharray="([^"]+)"', value)
        assert len(set(dashes)) == 3
        assert re.findall(r'<line x1="0"[^>]*stroke-dasharray="([^"]+)"', value) == dashes
        highest_first = np.argsort(-trade_off().iloc[-1].to_numpy())
        assert re.findall(r">([a-f])</text>", value) == ["abc"[line] for line in highest_first]

    def test_the_chart_says_in_words_what_it_shows_and_marks_the_strength(self):
        box = lesson4.strength_slider(trade_off())
        box.strength.value = 1
        said = Page(box.result).labels[-1]
        assert said.startswith("Line chart: measures upwards against strength across. a, ")
        assert "b, probe accuracy: 0.950 at 0, 0.900 at 0.3 (marked), 0.520 at 1" in said
        dots = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', box.result.value)
        lines = re.findall(r'<polyline points="([^"]+)"', box.result.value)
        assert [",".join(dot) for dot in dots] == [line.split()[1] for line in lines]

    def test_names_are_shown_as_text(self):
        table = trade_off().rename(columns={"MRR@10": HOSTILE})
        assert_safe(lesson4.strength_slider(table).result)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            (pd.DataFrame({"a": [1.0]}, index=[0]), "two or more strengths"),
            (pd.DataFrame({"a": [1.0, 2]}, index=[0.1, 1]), "rise from 0"),
            (pd.DataFrame({"a": [1.0, 2]}, index=[0, 1.5]), "to 1 at most"),
            (pd.DataFrame({"a": [1.0, 2, 3]}, index=[0, 1, 0.5]), "rise from 0"),
            (pd.DataFrame(index=[0, 1]), "one to 6"),
            (pd.DataFrame(np.ones((2, 7)), index=[0, 1]), "one to 6"),
            (pd.DataFrame({"a": [1.0, np.nan]}, index=[0, 0.5]), "'a' at strength 0.5 is missing"),
        ],
    )
    def test_what_is_no_table_of_strengths_is_refused(self, table, message):
        with pytest.raises(ValueError, match=message):
            lesson4.strength_slider(table)


def space(n=14, d=5):
    rng = np.random.default_rng(3)
    before = rng.normal(size=(n, d))
    return [f"w{i}" for i in range(n)], before, before * np.r_[0, np.ones(d - 1)]


def nearest(words, matrix, word, k):
    """The k nearest words, one cosine at a time."""
    at = words.index(word)

    def cosine(other):
        return (
            matrix[at] @ matrix[other] / np.linalg.norm(matrix[at]) / np.linalg.norm(matrix[other])
        )

    others = [place for place in range(len(words)) if place != at]
    return [words[place] for place in sorted(others, key=lambda place: -cosine(place))][:k]


class TestNeighbourBox:
    def test_the_lists_are_the_nearest_by_cosine_before_and_after(self):
        words, before, after = space()
        box = lesson4.neighbour_box(words, before, after, k=5)
        for place, word in enumerate(words):
            box.word.value = place
            assert box.lists == tuple(nearest(words, m, word, 5) for m in (before, after))
            assert word not in box.lists[0]

    def test_the_length_of_vectors_does_not_count(self):
        words, before, after = space()
        longer = before * np.linspace(0.1, 9, len(words))[:, None]
        assert lesson4.neighbour_box(words, longer, after, k=4).lists == (
            lesson4.neighbour_box(words, before, after, k=4).lists
        )

    def test_what_stays_comes_and_goes_is_said_with_its_rank_on_the_other_side(self):
        words, before, after = space()
        box = lesson4.neighbour_box(words, before, after, k=5)
        moved = 0
        for place, word in enumerate(words):
            box.word.value = place
            ranked = [nearest(words, matrix, word, len(words)) for matrix in (before, after)]
            said = []
            for own, other, side, move in (
                (*ranked, "after", "goes, to rank"),
                (*reversed(ranked), "before", "comes, from rank"),
            ):
                for one in own[:5]:
                    rank = other.index(one) + 1
                    stays = f"[stays, rank {rank} {side}]"
                    said.append(f"{one} {stays if rank <= 5 else f'[{move} {rank}]'}")
                    moved += rank > 5
            assert Page(box.result).texts("li") == said
        assert moved > 5

    def test_the_share_that_stays_is_the_mean_over_all_words(self):
        words, before, after = space()
        box = lesson4.neighbour_box(words, before, after, k=3)
        shares = [
            len(set(nearest(words, before, w, 3)) & set(nearest(words, after, w, 3))) / 3
            for w in words
        ]
        assert box.kept == pytest.approx(np.mean(shares))
        text = Page(box.result).text
        assert f"{round(3 * shares[0])} of the 3 nearest words stay" in text
        assert f"Over all 14 words, {np.mean(shares):.0%}" in text

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 1000), st.floats(0.1, 50))
    def test_turning_and_stretching_the_space_moves_no_neighbour(self, seed, scale):
        words, before, _ = space()
        turn = np.linalg.qr(np.random.default_rng(seed).normal(size=(5, 5)))[0]
        box = lesson4.neighbour_box(words, before, scale * before @ turn, k=6)
        assert box.kept == 1
        assert box.lists[0] == box.lists[1]

    def test_words_are_shown_as_text(self):
        words, before, after = space()
        words[4] = HOSTILE
        box = lesson4.neighbour_box(words, before, after, k=12)
        assert_safe(box.result)
        label = box.word.options[4][0]
        assert label == TURNING.sub(lambda mark: f"[U+{ord(mark[0]):04X}]", HOSTILE)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"k": 0}, "k is 0"),
            ({"k": 2.5}, "k is 2.5"),
            ({"k": 13}, "There are 14 words: give 15"),
            ({"words": [f"w{i % 13}" for i in range(14)]}, "'w0' occurs twice"),
            ({"words": [f"w{i}" for i in range(2001)]}, "There are 2,001 words"),
            ({"after": np.ones((13, 5))}, "after has 13 rows for 14 words"),
            ({"before": np.ones((15, 5))}, "before has 15 rows for 14 words"),
            (
                {"after": np.vstack([np.ones((13, 5)), np.zeros(5)])},
                r"after\[13\] \('w13'\) is all",
            ),
            ({"before": np.full((14, 5), np.nan)}, r"before row 0 \('w0'\) holds NaN"),
            ({"before": np.ones(14)}, r"before has shape \(14,\)"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, change, message):
        words, before, after = space()
        arguments = {"words": words, "before": before, "after": after, "k": 4} | change
        with pytest.raises(ValueError, match=message):
            lesson4.neighbour_box(**arguments)


def every_box():
    return [
        lesson4.association_box(Encoder(), FLOWERS),
        lesson4.strength_slider(trade_off()),
        lesson4.neighbour_box(*space()),
    ]


def test_every_widget_has_a_heading_a_sentence_and_a_name_for_every_control():
    import ipywidgets

    for box in every_box():
        heading = Page(box.children[0])
        assert "strong" in heading.tags
        assert "ook for" in heading.text
        for part in box.children:
            if not isinstance(part, ipywidgets.HTML):
                assert part.description


def test_every_output_is_a_region_with_a_name():
    for box in every_box():
        attributes = dict(Page(box.children[-1]).attributes[:3])
        assert attributes["role"] == "region"
        assert attributes["aria-label"]
