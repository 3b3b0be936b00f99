"""The widgets of lesson 3 show what the measures say, follow their controls, show text as text."""

import itertools
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import ndcg_score

from course_utils.widgets import lesson3
from tests.pages import HOSTILE, TURNING, Page, assert_safe

RELEVANCE = {
    "first": 0, "second": 2, "third": 0, "fourth": 1, "fifth": 0,
    "sixth": 0, "seventh": 1, "eighth": 0,
}  # fmt: skip


def by_definition(order, relevance):
    """The five measures, each as its definition has it."""
    grades = [relevance[text] for text in order]
    ranks = [rank for rank, grade in enumerate(grades, start=1) if grade]
    precisions = [sum(r <= rank for r in ranks) / rank for rank in ranks]
    falling = np.arange(len(grades), 0, -1)
    return {
        "mrr@10": 1 / ranks[0] if ranks[0] <= 10 else 0,
        "map": sum(precisions) / len(ranks),
        "ndcg@10": ndcg_score([grades], [falling], k=10),
        "recall@5": sum(rank <= 5 for rank in ranks) / len(ranks),
        "precision@5": sum(rank <= 5 for rank in ranks) / 5,
    }


def move(box, text, button, times=1):
    box.documents.value = text
    for _ in range(times):
        getattr(box, button).click()


class TestRankingBoard:
    def test_the_first_order_is_the_one_given(self):
        box = lesson3.ranking_board(RELEVANCE)
        assert box.order == tuple(RELEVANCE)
        assert box.values == pytest.approx(by_definition(box.order, RELEVANCE))

    def test_a_document_moves_by_one_place_and_stays_chosen(self):
        box = lesson3.ranking_board(RELEVANCE)
        move(box, "third", "up")
        assert box.order[:4] == ("first", "third", "second", "fourth")
        assert box.documents.value == "third"
        box.up.click()
        assert box.order[0] == "third"
        move(box, "fifth", "down")
        assert box.order[4:6] == ("sixth", "fifth")
        assert box.documents.value == "fifth"

    def test_nothing_moves_beyond_the_ends(self):
        box = lesson3.ranking_board(RELEVANCE)
        move(box, "first", "up", 3)
        move(box, "eighth", "down", 3)
        assert box.order == tuple(RELEVANCE)

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from(list(RELEVANCE)), st.sampled_from(["up", "down"]))))
    def test_after_any_moves_the_scores_are_those_of_the_order_shown(self, moves):
        box = lesson3.ranking_board(RELEVANCE)
        for text, button in moves:
            move(box, text, button)
        assert sorted(box.order) == sorted(RELEVANCE)
        assert [value for _, value in box.documents.options] == list(box.order)
        true = by_definition(box.order, RELEVANCE)
        assert box.values == pytest.approx(true)
        cells = Page(box.scores).texts("td", "th")
        rows = [
            cells[at + 2] for at, cell in enumerate(cells) if re.match("[A-Za-z@0-9 ]+[:(]", cell)
        ]
        assert rows == [f"{value:.3f}" for value in true.values()]

    def test_the_list_says_rank_and_grade_of_every_document(self):
        box = lesson3.ranking_board(RELEVANCE)
        labels = [label for label, _ in box.documents.options]
        assert labels[:2] == ["1. [grade 0] first", "2. [grade 2] second"]
        assert len(labels) == 8

    def test_what_the_last_move_did_is_said_for_every_measure(self):
        box = lesson3.ranking_board(RELEVANCE)
        assert Page(box.scores).texts("td", "th").count("0.000") >= 5
        move(box, "second", "up")
        # MRR from 1/2 to 1, AP from (1/2 + 2/4 + 3/7) / 3 to (1 + 2/4 + 3/7) / 3.
        cells = Page(box.scores).texts("td", "th")
        assert cells[cells.index("1.000") + 1] == "+0.500"
        assert "+0.167" in cells
        box.down.click()
        assert "−0.500" in Page(box.scores).texts("td", "th")

    def test_a_swap_below_the_first_relevant_is_not_seen_by_mrr_but_by_ndcg(self):
        box = lesson3.ranking_board(RELEVANCE)
        before = box.values
        move(box, "seventh", "up")
        assert box.values["mrr@10"] == before["mrr@10"]
        assert box.values["ndcg@10"] > before["ndcg@10"]
        assert box.values["map"] > before["map"]
        assert box.values["recall@5"] == before["recall@5"]

    def test_the_first_order_can_be_had_again(self):
        box = lesson3.ranking_board(RELEVANCE)
        move(box, "seventh", "up", 4)
        box.reset.click()
        assert box.order == tuple(RELEVANCE)
        assert box.documents.value == "seventh"

    def test_texts_are_shown_as_text(self):
        box = lesson3.ranking_board({HOSTILE: 1, "other": 0})
        label = box.documents.options[0][0]
        assert "<script>alert(1)</script>" in label
        assert "[U+202E]abc" in label
        assert not TURNING.search(label)

    @pytest.mark.parametrize(
        ("relevance", "message"),
        [
            ({"a": 1}, "There are 1 documents"),
            ({"a": 0, "b": 0}, "No document has a grade above 0"),
            ({"a": 1, "b": 0.5}, "grade of 'b' is 0.5"),
            ({"a": 1, "b": -1}, "grade of 'b' is -1"),
            ({str(i): 1 for i in range(21)}, "There are 21 documents"),
        ],
    )
    def test_what_is_no_ranking_is_refused(self, relevance, message):
        with pytest.raises(ValueError, match=message):
            lesson3.ranking_board(relevance)


class TestWrongSigns:
    @pytest.mark.parametrize("better", [0.55, 0.7])
    def test_it_is_the_chance_that_more_queries_than_not_go_the_wrong_way(self, better):
        # Every query is won by 1 or lost by 1, so the sum of n is a binomial count.
        n = 400
        b = np.where(np.arange(n) < better * n, 1.0, -1.0)
        sizes = [1, 10, 25, 100]
        table = lesson3.wrong_signs(np.zeros(n), b, sizes, n_resamples=4000)
        for size in sizes:
            wins = stats.binom(size, better)
            wrong = wins.cdf(np.ceil(size / 2) - 1)
            none = wins.pmf(size / 2) if size % 2 == 0 else 0
            for column, true in (("wrong", wrong), ("none", none)):
                error = np.sqrt(true * (1 - true) / 4000)
                assert abs(table.loc[size, column] - true) <= 4 * error + 1e-3

    def test_swapping_the_systems_turns_the_differences_only(self):
        a, b = np.random.default_rng(0).random((2, 80))
        one, other = (
            lesson3.wrong_signs(*pair, [10, 50], n_resamples=500) for pair in ((a, b), (b, a))
        )
        assert one["wrong"].tolist() == other["wrong"].tolist()
        assert one["low"].tolist() == pytest.approx((-other["high"]).tolist())

    def test_a_system_that_is_never_worse_is_never_named_the_worse_one(self):
        b = np.r_[np.zeros(90), np.full(10, 0.1)]
        table = lesson3.wrong_signs(np.zeros(100), b, [10])
        assert table.loc[10, "wrong"] == 0
        # All ten draws from the 90 queries that do not differ: .9 ** 10.
        assert table.loc[10, "none"] == pytest.approx(0.9**10, abs=0.045)

    def test_differences_that_cancel_out_are_none_whatever_the_last_digit(self):
        cancelling = np.array([0.1, 0.2, -0.3])
        assert cancelling.sum() != 0
        with pytest.raises(ValueError, match="equal means"):
            lesson3.wrong_signs(np.zeros(3), cancelling, [3])
        # Of draws of three from .1, .2, -.3, 0.5 those of one each of the first three cancel.
        table = lesson3.wrong_signs(np.zeros(4), np.r_[cancelling, 0.5], [3], n_resamples=20_000)
        assert table.loc[3, "none"] == pytest.approx(6 / 64, abs=0.01)

    @pytest.mark.parametrize(
        ("a", "b", "message"),
        [
            ([1, 2], [1, 2, 3], r"shapes \(2,\) and \(3,\)"),
            ([], [], r"shapes \(0,\)"),
            ([1, 2], [1, np.nan], "Query 1 has no finite score"),
        ],
    )
    def test_what_has_no_sign_is_refused(self, a, b, message):
        with pytest.raises(ValueError, match=message):
            lesson3.wrong_signs(a, b, [10])


def two_systems():
    rng = np.random.default_rng(1)
    a = rng.random(300)
    return a, np.clip(a + rng.normal(0.02, 0.3, size=300), 0, 1)


class TestSampleSizeSlider:
    def test_the_slider_goes_from_ten_to_five_hundred(self):
        box = lesson3.sample_size_slider(*two_systems(), n_resamples=200)
        sizes = [size for _, size in box.queries.options]
        assert (sizes[0], sizes[-1]) == (10, 500)
        assert sizes == sorted(sizes) == list(box.table.index)

    def test_what_is_shown_is_the_row_of_the_size(self):
        box = lesson3.sample_size_slider(*two_systems(), n_resamples=200)
        for size in (10, 100, 500):
            box.queries.value = size
            text = Page(box.result).text
            assert f"With {size} queries drawn from them" in text
            assert f"{box.table.loc[size, 'wrong']:.1%} of 200 tests" in text

    def test_the_difference_over_all_queries_is_said(self):
        a, b = two_systems()
        box = lesson3.sample_size_slider(a, b, n_resamples=50)
        assert f"Over all 300 queries b - a is {b.mean() - a.mean():+.3f}" in Page(box.result).text

    def test_few_queries_mislead_more_often_than_many(self):
        box = lesson3.sample_size_slider(*two_systems(), n_resamples=1000)
        assert box.table.loc[10, "wrong"] > 0.2 > 0.15 > box.table.loc[500, "wrong"]

    def test_the_chart_says_in_words_what_it_shows_and_marks_the_size(self):
        box = lesson3.sample_size_slider(*two_systems(), n_resamples=200)
        box.queries.value = 30
        said = Page(box.result).labels[-1]
        wrong = box.table["wrong"]
        marked = f"{wrong[10]:.1%} at 10, {wrong[30]:.1%} at 30 (marked), {wrong[500]:.1%} at 500"
        assert said == (
            "Line chart: share of tests with the wrong sign upwards against the number of queries "
            f"across: {marked}. A dashed line stands at 5.0%."
        )
        dot = re.search(r'<circle cx="([\d.]+)" cy="([\d.]+)"', box.result.value).groups()
        points = re.findall(r'<polyline points="([^"]+)"', box.result.value)[-1].split()
        assert ",".join(dot) == points[list(wrong.index).index(30)]


SCORES = {"d1": 0.912, "d2": 0.911, "d3": 0.64, "d4": 0.62, "d5": 0.28, "d6": 0.27}
GRADES = {"d2": 2, "d4": 1, "d6": 1}


def every_order(scores, grades):
    """The measures of every order that sorts the scores, ties in every way."""
    values = []
    for order in itertools.permutations(scores):
        falling = [scores[document] for document in order]
        if falling == sorted(falling, reverse=True):
            values.append(by_definition(order, {d: grades.get(d, 0) for d in scores}))
    return pd.DataFrame(values)


def rounded_scores(rounding):
    if rounding == "all alike":
        return dict.fromkeys(SCORES, 0)
    if rounding == "as given":
        return SCORES
    return {document: round(score, rounding) for document, score in SCORES.items()}


class TestTieBoard:
    @pytest.mark.parametrize("rounding", ["as given", 3, 2, 1, "all alike"])
    def test_the_rows_are_best_worst_and_mean_of_every_order(self, rounding):
        box = lesson3.tie_board(SCORES, GRADES)
        box.rounding.value = rounding
        rounded = rounded_scores(rounding)
        orders = every_order(rounded, GRADES)
        table = box.table[orders.columns]
        assert table.iloc[0].to_numpy() == pytest.approx(orders.max().to_numpy())
        assert table.iloc[1].to_numpy() == pytest.approx(orders.min().to_numpy())
        assert table.iloc[3].to_numpy() == pytest.approx(orders.mean().to_numpy())
        by_id = sorted(sorted(rounded, reverse=True), key=lambda d: -rounded[d])
        assert table.iloc[2].to_dict() == pytest.approx(
            by_definition(by_id, {d: GRADES.get(d, 0) for d in SCORES})
        )

    def test_a_scorer_that_knows_nothing_gets_a_perfect_mrr_from_a_kind_order(self):
        box = lesson3.tie_board(SCORES, {"d3": 1})
        box.rounding.value = "all alike"
        mrr = box.table["mrr@10"]
        assert mrr.iloc[0] == 1
        assert mrr.iloc[1] == pytest.approx(1 / 6)
        assert mrr.iloc[3] == pytest.approx(sum(1 / r for r in range(1, 7)) / 6)
        assert "MRR@10 may be anything from 0.167 to 1.000" in Page(box.result).text

    def test_without_ties_every_rule_gives_the_same(self):
        box = lesson3.tie_board(SCORES, GRADES)
        assert np.ptp(box.table.to_numpy(), axis=0).max() < 1e-12
        assert "No two documents have the same score" in Page(box.result).text

    def test_rounding_makes_ties_and_they_are_counted(self):
        box = lesson3.tie_board(SCORES, GRADES)
        box.rounding.value = 2
        assert "2 of 6 documents share their score" in Page(box.result).text
        box.rounding.value = 1
        assert "6 of 6 documents share their score" in Page(box.result).text

    def test_every_row_of_the_table_is_shown(self):
        box = lesson3.tie_board(SCORES, GRADES)
        box.rounding.value = 1
        cells = Page(box.result).texts("td", "th")
        for name, row in box.table.iterrows():
            at = cells.index(name)
            assert cells[at + 1 : at + 6] == [f"{value:.3f}" for value in row]

    def test_the_ranks_that_ties_leave_open_are_shown(self):
        box = lesson3.tie_board(SCORES, GRADES)
        box.rounding.value = 2
        cells = Page(box.result).texts("td", "th")
        at = cells.index("d2")
        # By id in descending order, d2 stands before d1.
        assert cells[at : at + 8] == ["d2", "0.91", "2", "1 to 2", "d1", "0.91", "0", "1 to 2"]
        assert cells[cells.index("d3") + 3] == "3"

    def test_scores_equal_in_single_precision_are_a_tie(self):
        box = lesson3.tie_board({"d1": 0.5, "d2": 0.5 + 1e-12}, {"d1": 1})
        assert box.table["mrr@10"].tolist() == [1, 0.5, 0.5, 0.75]

    def test_ids_are_shown_as_text(self):
        assert_safe(lesson3.tie_board({HOSTILE: 0.5, "d2": 0.4}, {HOSTILE: 1}).result)

    def test_grades_and_scores_that_do_not_fit_are_refused(self):
        with pytest.raises(ValueError, match="'d9' has a grade and no score"):
            lesson3.tie_board(SCORES, {"d9": 1})
        with pytest.raises(ValueError, match="No document has a grade above 0"):
            lesson3.tie_board(SCORES, {"d1": 0})
        with pytest.raises(ValueError, match=r"'d1' .* is NaN"):
            lesson3.tie_board(SCORES | {"d1": float("nan")}, GRADES)


def every_box():
    return [
        lesson3.ranking_board(RELEVANCE),
        lesson3.sample_size_slider(*two_systems(), n_resamples=50),
        lesson3.tie_board(SCORES, GRADES),
    ]


def test_every_widget_has_a_heading_a_sentence_and_a_name_for_every_control():
    import ipywidgets

    for box in every_box():
        heading = Page(box.children[0])
        assert "strong" in heading.tags
        assert "ook for" in heading.text
        for part in box.children:
            for control in getattr(part, "children", [part]):
                if not isinstance(control, ipywidgets.HTML):
                    assert control.description


def test_every_output_is_a_region_with_a_name():
    for box in every_box():
        attributes = dict(Page(box.children[-1]).attributes[:3])
        assert attributes["role"] == "region"
        assert attributes["aria-label"]
