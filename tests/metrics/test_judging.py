"""Judgements survive a crash; a preference and an agreement come with the interval they claim."""

import json
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import cohen_kappa_score

from course_utils.metrics.judging import (
    CHOICES,
    Judgement,
    append_judgement,
    cohens_kappa,
    judged_by_both,
    preference,
    read_judgements,
)

ONE = Judgement("1", "Où est-ce ? 食堂", "Kim", "a", "b")
TWO = Judgement("2", "leave\nof absence", "Kim", "b", "equal")


def judged(choices, *, judge="Kim", left="a"):
    return [Judgement(str(i), "q", judge, left, choice) for i, choice in enumerate(choices)]


class TestFile:
    def test_what_is_written_is_read_back_in_order(self, tmp_path):
        path = tmp_path / "made.jsonl"
        half = Judgement("3", "half a letter: \ud83d", "Kim", "a", "skip")
        for each in (ONE, TWO, half, ONE):
            append_judgement(path, each)
        assert read_judgements(path) == [ONE, TWO, half, ONE]

    def test_every_judgement_is_a_line_of_json(self, tmp_path):
        path = tmp_path / "made.jsonl"
        append_judgement(path, ONE)
        append_judgement(path, TWO)
        records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        assert [(r["item"], r["choice"]) for r in records] == [("1", "b"), ("2", "equal")]

    def test_every_judgement_is_on_the_disk_before_the_next(self, tmp_path, monkeypatch):
        path = tmp_path / "made.jsonl"
        synced = []
        real = os.fsync

        def spy(handle):
            synced.append(path.read_bytes().count(b"\n"))
            real(handle)

        monkeypatch.setattr(os, "fsync", spy)
        append_judgement(path, ONE)
        append_judgement(path, TWO)
        assert synced == [1, 2]

    @pytest.mark.parametrize("cut", range(1, 40, 6))
    def test_a_torn_last_line_is_left_out_with_a_warning(self, tmp_path, cut):
        path = tmp_path / "made.jsonl"
        append_judgement(path, TWO)
        append_judgement(path, ONE)
        # The cut may fall inside a letter of several bytes.
        path.write_bytes(path.read_bytes()[: -1 - cut])
        with pytest.warns(UserWarning, match=r"made\.jsonl:2: the last line is torn"):
            assert read_judgements(path) == [TWO]

    def test_writing_goes_on_after_a_torn_line(self, tmp_path):
        path = tmp_path / "made.jsonl"
        append_judgement(path, TWO)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:20])
        with pytest.warns(UserWarning, match="torn"):
            append_judgement(path, ONE)
        assert read_judgements(path) == [TWO, ONE]

    def test_a_whole_line_that_lacks_its_end_is_kept(self, tmp_path):
        path = tmp_path / "made.jsonl"
        append_judgement(path, TWO)
        path.write_bytes(path.read_bytes()[:-1])
        assert read_judgements(path) == [TWO]
        append_judgement(path, ONE)
        assert read_judgements(path) == [TWO, ONE]

    @pytest.mark.parametrize("fault", ["short write", "error"])
    def test_a_full_disk_leaves_the_file_as_it_was(self, tmp_path, monkeypatch, fault):
        path = tmp_path / "made.jsonl"
        append_judgement(path, ONE)
        before = path.read_bytes()
        real = os.write

        def full(handle, line):
            real(handle, line[:10])
            if fault == "error":
                raise OSError(28, "No space left on device")
            return 10

        monkeypatch.setattr(os, "write", full)
        with pytest.raises(OSError, match=r"full|No space"):
            append_judgement(path, TWO)
        assert path.read_bytes() == before

    def test_a_file_with_nothing_in_it_holds_no_judgement(self, tmp_path):
        path = tmp_path / "made.jsonl"
        path.touch()
        assert read_judgements(path) == []
        append_judgement(path, ONE)
        assert read_judgements(path) == [ONE]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("{", r":1: this line is no JSON"),
            ("[]", r":1: a judgement has the fields item"),
            ('{"item": "1"}', r":1: a judgement has the fields item"),
            (
                '{"item": "1", "query": "", "judge": "K", "left": "a", "choice": "left"}',
                r":1: choice is 'left'",
            ),
            (
                '{"item": 1, "query": "", "judge": "K", "left": "a", "choice": "a"}',
                r":1: item is 1\.",
            ),
        ],
    )
    def test_any_other_line_that_is_no_judgement_is_named(self, tmp_path, line, message):
        path = tmp_path / "made.jsonl"
        path.write_text(line + "\n", "utf-8")
        append_judgement(path, ONE)
        with pytest.raises(ValueError, match=r"made\.jsonl" + message):
            read_judgements(path)

    def test_values_that_no_judgement_has_are_refused(self):
        with pytest.raises(ValueError, match="left is 'left'"):
            Judgement("1", "q", "Kim", "left", "a")
        with pytest.raises(ValueError, match="judge is ' '"):
            Judgement("1", "q", " ", "a", "a")


class TestPreference:
    def test_equal_and_skipped_items_are_counted_and_left_out_of_the_share(self):
        found = preference(judged(["b"] * 6 + ["a"] * 2 + ["equal"] * 5 + ["skip"] * 3))
        assert (found.b, found.a, found.equal, found.skipped) == (6, 2, 5, 3)
        assert found.share == 0.75
        without = preference(judged(["b"] * 6 + ["a"] * 2))
        assert (found.low, found.high, found.p_value) == (
            without.low,
            without.high,
            without.p_value,
        )

    def test_the_p_value_is_that_of_tossing_a_coin(self):
        # 10 tosses with 1 or fewer, or 9 or more, heads: 2 * (1 + 10) of 1,024.
        assert preference(judged(["b"] * 9 + ["a"])).p_value == pytest.approx(22 / 1024)
        assert preference(judged(["a"] * 9 + ["b"])).p_value == pytest.approx(22 / 1024)

    @settings(deadline=None)
    @given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.8, 0.95]))
    def test_the_ends_of_the_interval_are_where_the_tails_are_equal(self, a, b, confidence):
        if not a + b:
            return
        found = preference(judged(["a"] * a + ["b"] * b), confidence=confidence)
        tail = (1 - confidence) / 2
        n = a + b
        if b:
            assert stats.binom.sf(b - 1, n, found.low) == pytest.approx(tail, rel=1e-4)
        else:
            assert found.low == 0
        if a:
            assert stats.binom.cdf(b, n, found.high) == pytest.approx(tail, rel=1e-4)
        else:
            assert found.high == 1

    @settings(deadline=None)
    @given(st.integers(0, 60), st.integers(0, 60))
    def test_the_interval_and_the_p_value_say_the_same(self, a, b):
        if not a + b:
            return
        found = preference(judged(["a"] * a + ["b"] * b))
        assert (found.low <= 0.5 <= found.high) == (found.p_value > 0.05)

    def test_the_interval_covers_at_least_as_often_as_it_says(self):
        for true in (0.5, 0.65, 0.9):
            for n in (12, 60):
                inside = [
                    found.low <= true <= found.high
                    for found in (
                        preference(judged(["b"] * b + ["a"] * (n - b))) for b in range(n + 1)
                    )
                ]
                assert stats.binom.pmf(np.arange(n + 1), n, true) @ inside >= 0.95

    def test_an_item_counts_once_however_many_judged_it(self):
        three = [
            *judged(["b", "a", "b", "equal", "skip"], judge="Kim"),
            *judged(["b", "b", "a", "a", "skip"], judge="Lou"),
            *judged(["a", "b", "equal", "equal", "skip"], judge="Max"),
        ]
        # Majorities: b (2:1), b (2:1), none (1:1), a (1:0), all skipped.
        found = preference(three)
        assert (found.b, found.a, found.equal, found.skipped) == (2, 1, 1, 1)

    def test_of_two_judgements_by_one_judge_the_later_counts(self):
        found = preference([*judged(["a", "b"]), *judged(["b"])])
        assert (found.a, found.b) == (0, 2)

    def test_the_share_of_the_left_side_shows_who_looks_only_at_the_side(self):
        sides = ["a", "b"] * 6
        lazy = [Judgement(str(i), "q", "Kim", side, side) for i, side in enumerate(sides)]
        assert preference(lazy).left_share == 1
        assert preference(lazy).share == 0.5
        fair = [Judgement(str(i), "q", "Kim", side, "b") for i, side in enumerate(sides)]
        assert preference(fair).left_share == 0.5

    def test_nothing_decided_has_no_share(self):
        with pytest.raises(ValueError, match="None of the 2 judged items"):
            preference(judged(["equal", "skip"]))
        with pytest.raises(ValueError, match="confidence is 95"):
            preference(judged(["a"]), confidence=95)


LABELS = st.sampled_from(["a", "b", "equal"])


class TestKappa:
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.tuples(LABELS, LABELS), min_size=2, max_size=30))
    def test_it_is_scikit_learns(self, pairs):
        a, b = zip(*pairs, strict=True)
        if len({*a, *b}) == 1:
            with pytest.raises(ValueError, match="0/0"):
                cohens_kappa(a, b)
            return
        found = cohens_kappa(a, b)
        assert found.kappa == pytest.approx(cohen_kappa_score(a, b), abs=1e-12)
        assert found.low - 1e-12 <= found.kappa <= found.high + 1e-12
        assert found.n == len(pairs)

    def test_a_case_worked_by_hand(self):
        # 100 items: both say a on 40, b on 30; a/b on 20, b/a on 10. Chance: .6 * .5 + .4 * .5.
        a = ["a"] * 60 + ["b"] * 40
        b = ["a"] * 40 + ["b"] * 20 + ["a"] * 10 + ["b"] * 30
        found = cohens_kappa(a, b)
        assert (found.observed, found.expected) == (0.7, 0.5)
        assert found.kappa == pytest.approx(0.4)
        z = stats.norm.ppf(0.975)
        middle = (0.7 + z**2 / 200) / (1 + z**2 / 100)
        half = z / (1 + z**2 / 100) * np.sqrt(0.7 * 0.3 / 100 + z**2 / 40_000)
        assert (found.low, found.high) == pytest.approx(
            ((middle - half - 0.5) / 0.5, (middle + half - 0.5) / 0.5)
        )

    def test_full_agreement_on_few_items_is_not_certain(self):
        few, many = (cohens_kappa(list("ab") * n, list("ab") * n) for n in (5, 100))
        assert few.kappa == many.kappa == few.high == 1
        assert few.low < 0.6 < many.low

    @pytest.mark.parametrize("same", [0.3, 0.7, 0.9])
    def test_the_interval_covers_as_often_as_it_says(self, same):
        # With this probability the second judge copies the first; else both answer at random.
        share = np.array([0.3, 0.5, 0.2])
        table = same * np.diag(share) + (1 - same) * np.outer(share, share)
        rng = np.random.default_rng(8)
        covered = 0
        for counts in rng.multinomial(40, table.ravel(), size=500):
            a, b = np.divmod(np.repeat(np.arange(9), counts), 3)
            found = cohens_kappa(a.tolist(), b.tolist())
            # By the definition of kappa, copying adds exactly its share.
            covered += found.low <= same <= found.high
        assert covered / 500 > 0.92, "500 trials: 0.95 give or take 0.010"

    def test_swapping_the_judges_changes_nothing(self):
        a, b = list("aabbb"), list("ababb")
        assert cohens_kappa(a, b) == cohens_kappa(b, a)

    def test_only_items_that_both_decided_are_compared(self):
        made = [
            *judged(["a", "b", "skip", "equal"], judge="Kim"),
            *judged(["b", "b", "a"], judge="Lou"),
            *judged(["a"], judge="Lou"),
            *judged(["b"] * 9, judge="Max"),
        ]
        assert judged_by_both(made, "Kim", "Lou") == (["a", "b"], ["a", "b"])

    def test_a_judge_who_judged_nothing_is_named(self):
        with pytest.raises(ValueError, match="'Lou' has judged none"):
            judged_by_both(judged(["a"]), "Kim", "Lou")

    @pytest.mark.parametrize(
        ("a", "b", "message"),
        [
            ("ab", "a", "a holds 2 answers and b 1"),
            ("a", "b", "There are 1 items"),
            ("aaa", "aaa", "'a' throughout"),
        ],
    )
    def test_what_has_no_kappa_is_refused(self, a, b, message):
        with pytest.raises(ValueError, match=message):
            cohens_kappa(list(a), list(b))


def test_every_choice_can_be_written_and_counted(tmp_path):
    path = tmp_path / "made.jsonl"
    for each in judged(CHOICES):
        append_judgement(path, each)
    assert Counter(each.choice for each in read_judgements(path)) == dict.fromkeys(CHOICES, 1)
