"""Holm's adjustment follows his stepwise rule; letters say exactly which systems differ."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.metrics import holm, letter_display

P_VALUES = st.lists(
    st.sampled_from([0.0, 0.004, 0.01, 0.02, 0.03, 0.3, 1.0]), min_size=1, max_size=8
)


def rejected(p_values, alpha):
    """Return what Holm's procedure rejects: the smallest first, until one fails."""
    found, m = set(), len(p_values)
    for step, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        if p_values[i] * (m - step) > alpha:
            break
        found.add(i)
    return found


@settings(max_examples=300)
@given(P_VALUES, st.sampled_from([0.01, 0.049, 0.1, 0.5]))
def test_adjusted_p_values_reject_what_the_stepwise_procedure_rejects(p_values, alpha):
    assert set(np.flatnonzero(holm(p_values) <= alpha)) == rejected(p_values, alpha)


@given(P_VALUES)
def test_adjusted_lies_between_the_p_value_and_bonferronis(p_values):
    p, adjusted = np.array(p_values), holm(p_values)
    assert (adjusted >= p).all()
    assert (adjusted <= np.minimum(1, p * len(p)) + 1e-15).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= 0).all(), "the order is kept"


def test_an_example_worked_by_hand():
    # Ordered 0.005, 0.01, 0.03, 0.04: times 4, 3, 2, 1 is 0.02, 0.03, 0.06, 0.04; the last is
    # raised to the one before it.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


def test_adjustment_is_that_of_statsmodels():
    reference = pytest.importorskip("statsmodels.stats.multitest")
    p_values = np.random.default_rng(0).random(40) ** 3
    np.testing.assert_allclose(holm(p_values), reference.multipletests(p_values, method="holm")[1])


def test_half_true_nulls_give_a_false_alarm_in_at_most_one_family_of_twenty():
    rng = np.random.default_rng(1)
    nulls = rng.random((4000, 10))
    effects = np.zeros((4000, 5))  # differences so clear that their p value is 0
    families = [holm(np.r_[e, n])[5:].min() <= 0.05 for e, n in zip(effects, nulls, strict=True)]
    assert np.mean(families) == pytest.approx(1 - (1 - 0.05 / 10) ** 10, abs=0.011)


@pytest.mark.parametrize(
    ("p_values", "message"),
    [
        ([], r"shape \(0,\)"),
        ([0.1, np.nan], r"p_values\[1\] is nan"),
        ([0.1, 1.2], r"p_values\[1\] is 1.2"),
    ],
)
def test_what_is_no_p_value_is_refused(p_values, message):
    with pytest.raises(ValueError, match=message):
        holm(p_values)


@st.composite
def tables(draw):
    n = draw(st.integers(1, 7))
    different = np.zeros((n, n), dtype=bool)
    for i, j in combinations(range(n), 2):
        different[i, j] = different[j, i] = draw(st.booleans())
    return different


@settings(max_examples=300, deadline=None)
@given(tables())
def test_two_share_a_letter_exactly_when_they_do_not_differ(different):
    letters = letter_display(different)
    assert all(letters), "everyone has a letter"
    for i, j in combinations(range(len(letters)), 2):
        assert bool(set(letters[i]) & set(letters[j])) == (not different[i, j])


@settings(max_examples=100, deadline=None)
@given(tables())
def test_letters_are_the_groups_without_a_difference_that_cannot_be_enlarged(different):
    n = len(different)
    quiet = [
        set(group)
        for size in range(1, n + 1)
        for group in combinations(range(n), size)
        if not any(different[i, j] for i, j in combinations(group, 2))
    ]
    largest = {frozenset(g) for g in quiet if not any(g < other for other in quiet)}
    letters = letter_display(different)
    found = [
        frozenset(i for i in range(n) if letter in letters[i]) for letter in set("".join(letters))
    ]
    assert len(found) == len(largest)
    assert set(found) == largest


def test_letters_of_a_ranked_chain_follow_the_ranks():
    different = np.abs(np.subtract.outer(range(5), range(5))) > 1
    assert letter_display(different) == ["a", "ab", "bc", "cd", "d"]


def test_tables_that_contradict_themselves_are_refused():
    with pytest.raises(ValueError, match=r"shape \(1, 2\)"):
        letter_display([[False, True]])
    with pytest.raises(ValueError, match="symmetric"):
        letter_display([[False, True], [False, False]])
    with pytest.raises(ValueError, match="symmetric"):
        letter_display([[True]])
    # 12 systems in 4 groups of 3 that differ within: 3**4 = 81 ways to take one of each.
    groups = np.arange(12) // 3
    with pytest.raises(ValueError, match="81 letters"):
        letter_display((groups[:, None] == groups) & ~np.eye(12, dtype=bool))
