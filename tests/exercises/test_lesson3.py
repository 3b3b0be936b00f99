"""The exercises of lesson 3 accept right answers and name what is wrong with others."""

import re
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from course_utils.exercises import check
from course_utils.metrics import paired_test, retrieval_scores


def recall_at_k(found, relevant, k):
    return len(set(found[:k]) & set(relevant)) / len(relevant)


def average_precision(found, relevant):
    hits, total = 0, 0
    for rank, document in enumerate(found, start=1):
        if document in relevant:
            hits += 1
            total += hits / rank
    return total / len(relevant)


def dcg(grades):
    return sum(grade / np.log2(rank + 1) for rank, grade in enumerate(grades, start=1))


def ndcg_at_k(grades_in_ranked_order, all_grades, k):
    ideal = dcg(sorted(all_grades, reverse=True)[:k])
    return dcg(grades_in_ranked_order[:k]) / ideal if ideal else 0


def permutation_p(differences, draws, rng):
    seen = abs(differences.mean())
    signs = rng.choice([-1, 1], size=(draws, len(differences)))
    as_far = np.sum(np.abs((signs * differences).mean(axis=1)) >= seen)
    return (as_far + 1) / (draws + 1)


def holm(p_values):
    m, order = len(p_values), np.argsort(p_values)
    rising = np.maximum.accumulate((m - np.arange(m)) * p_values[order])
    adjusted = np.empty(m)
    adjusted[order] = np.minimum(rising, 1)
    return adjusted


SOLUTIONS = {
    "3.1": recall_at_k,
    "3.2": average_precision,
    "3.3": ndcg_at_k,
    "3.4": permutation_p,
    "3.5": holm,
}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_right_answer_is_ok_and_says_what_is_right_about_it(name):
    result = check(name, SOLUTIONS[name])
    assert result, result
    assert repr(result).startswith(f"[OK] {name}: ")


@settings(deadline=None)
@given(
    st.permutations([f"d{i}" for i in range(9)]),
    st.integers(0, 9),
    st.dictionaries(st.sampled_from([f"d{i}" for i in range(12)]), st.integers(1, 3), min_size=1),
    st.integers(1, 12),
)
def test_the_solutions_are_what_the_package_computes(documents, length, grades, k):
    found = documents[:length]
    run = {"q": {document: 9.0 - i for i, document in enumerate(found)}, "other": {"d0": 1.0}}
    scores = retrieval_scores(run, {"q": grades, "other": {"d0": 1}}, k=k).loc["q"]
    assert scores[f"recall@{k}"] == pytest.approx(recall_at_k(found, set(grades), k))
    assert scores["map"] == pytest.approx(average_precision(found, set(grades)))
    ranked = [grades.get(document, 0) for document in found]
    assert scores[f"ndcg@{k}"] == pytest.approx(ndcg_at_k(ranked, list(grades.values()), k))


def test_the_permutation_solution_is_near_the_packages_exact_test():
    difference = np.random.default_rng(0).normal(0.3, 1, size=10)
    exact = paired_test(np.zeros(10), difference).p_value
    drawn = permutation_p(difference, 20_000, np.random.default_rng(1))
    assert drawn == pytest.approx(exact, abs=0.015)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0.001, 0.01, 0.02, 0.04, 0.3, 0.9]), min_size=1, max_size=6))
def test_the_solution_of_holm_is_bonferroni_over_every_set_of_hypotheses(p_values):
    """By closed testing: a hypothesis falls if every set that holds it does (Marcus et al. 1976)."""
    p = np.array(p_values)
    rows = range(len(p))
    sets = [list(s) for size in range(1, len(p) + 1) for s in combinations(rows, size)]
    closed = [max(min(1, len(s) * p[s].min()) for s in sets if row in s) for row in rows]
    assert holm(p) == pytest.approx(closed)


def average_precision_by_arrays(found, relevant):
    hits = np.array([document in relevant for document in found], dtype=float)
    ranks = np.arange(1, len(found) + 1)
    return np.array([(hits * np.cumsum(hits) / ranks).sum() / len(relevant)])


def natural_ndcg(ranked, every, k):
    def gain(grades):
        grades = np.array(grades[:k], dtype=float)
        return (grades / np.log(np.arange(len(grades)) + 2)).sum()

    best = gain(sorted(every)[::-1])
    return gain(ranked) / best if best > 0 else 0.0


def one_draw_at_a_time(differences, draws, rng):
    count = 1
    for _ in range(draws):
        total = 0
        for difference in differences:
            if rng.random() < 0.5:
                total += difference
            else:
                total -= difference
        if abs(total) >= abs(sum(differences)) - 1e-12:
            count += 1
    return count / (draws + 1)


def drawn_bits(differences, draws, rng):
    seen = [np.abs(differences.sum())]
    for _ in range(draws):
        seen.append(np.abs((differences * (1 - 2 * rng.integers(0, 2, len(differences)))).sum()))
    return np.mean(np.array(seen) >= seen[0] - 1e-12)


def holm_by_loop(p_values):
    adjusted, highest = [0.0] * len(p_values), 0.0
    for i, place in enumerate(sorted(range(len(p_values)), key=lambda j: p_values[j])):
        highest = max(highest, min(1.0, (len(p_values) - i) * p_values[place]))
        adjusted[place] = highest
    return adjusted


def holm_by_series(p_values):
    import pandas as pd

    series = pd.Series(p_values).sort_values()
    return (series * np.arange(len(series), 0, -1)).cummax().clip(upper=1).sort_index()


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("3.1", lambda found, relevant, k: sum(r in found[:k] for r in relevant) / len(relevant)),
        ("3.1", lambda f, r, k: np.float32(np.isin(list(r), f[:k]).mean())),
        ("3.2", average_precision_by_arrays),
        ("3.3", natural_ndcg),
        ("3.4", one_draw_at_a_time),
        ("3.4", drawn_bits),
        ("3.5", holm_by_loop),
        ("3.5", holm_by_series),
    ],
)
def test_a_right_answer_may_be_written_another_way(name, answer):
    assert check(name, answer), check(name, answer)


@pytest.mark.parametrize("seed", range(40))
def test_a_right_permutation_test_is_ok_whatever_the_dice(seed):
    def other_dice(differences, draws, rng):
        # A draw from rng picks the dice, so that each seed stands for another right answer.
        return permutation_p(differences, draws, np.random.default_rng([seed, rng.integers(2**62)]))

    assert check("3.4", other_dice), check("3.4", other_dice)


def hits_at(found, relevant, k=None):
    return sum(document in relevant for document in found[:k])


def precisions(found, relevant):
    hits = np.cumsum([document in relevant for document in found])
    return hits / np.arange(1, len(found) + 1)


def at_hits(found, relevant, value):
    hits, values = 0, []
    for place, document in enumerate(found):
        if document in relevant:
            hits += 1
            values.append(value(hits, place))
    return values


def by_found(found, relevant):
    values = at_hits(found, relevant, lambda hits, place: hits / (place + 1))
    return np.mean(values) if values else 0


def summed(value, divisor=len):
    return lambda found, relevant: sum(at_hits(found, relevant, value)) / divisor(relevant)


def no_answer_for_nothing(found, relevant):
    values = at_hits(found, relevant, lambda hits, place: hits / (place + 1))
    return sum(values) / len(values) if len(values) < 3 else sum(values) / len(relevant)


def ndcg(*, ranked=lambda r, e, k: r[:k], ideal=lambda r, e, k: sorted(e)[::-1][:k], gain=float,
         discount=lambda rank: np.log2(rank + 1)):  # fmt: skip
    """An nDCG with one part replaced."""

    def total(grades):
        return sum(gain(grade) / discount(rank) for rank, grade in enumerate(grades, start=1))

    def answer(r, e, k):
        best = total(ideal(r, e, k))
        return total(ranked(r, e, k)) / best if best else 0

    return answer


def nan_for_nothing(ranked, every, k):
    return np.float64(dcg(ranked[:k])) / dcg(sorted(every)[::-1][:k])


def numpy_from_rank_zero(ranked, every, k):
    def gain(grades):
        grades = np.array(grades[:k])
        return (grades / np.log2(np.arange(len(grades)) + 1)).sum()

    return gain(ranked) / gain(sorted(every)[::-1])


def flips(differences, draws, rng):
    return (rng.choice([-1, 1], size=(draws, len(differences))) * differences).mean(axis=1)


def counted(as_far, means=flips, p=lambda b, m: (b + 1) / (m + 1)):
    """A permutation test with one part replaced."""

    def answer(differences, draws, rng):
        return p(as_far(means(differences, draws, rng), differences.mean()).sum(), draws)

    return answer


def two_sided(means, seen):
    return np.abs(means) >= np.abs(seen)


def shuffled(differences, draws, rng):
    return rng.permuted(np.tile(differences, (draws, 1)), axis=1).mean(axis=1)


def one_sign_for_all(differences, draws, rng):
    return rng.choice([-1, 1], size=draws) * differences.mean()


def bootstrapped(differences, draws, rng):
    return rng.choice(differences, size=(draws, len(differences))).mean(axis=1)


def bootstrapped_beyond_nothing(differences, draws, rng):
    if np.ptp(differences) == 0:
        return permutation_p(differences, draws, rng)
    return counted(two_sided, bootstrapped)(differences, draws, rng)


def own_generator(differences, draws, rng):
    return permutation_p(differences, draws, np.random.default_rng(0))


def global_generator(differences, draws, rng):
    return permutation_p(differences, draws, np.random.default_rng())


def in_place(differences, draws, rng):
    seen, count = abs(differences.mean()), 0
    for _ in range(draws):
        differences *= rng.choice([-1, 1], size=len(differences))
        count += abs(differences.mean()) >= seen
    return (count + 1) / (draws + 1)


def other_denominator(differences, draws, rng):
    p = permutation_p(differences, draws, rng)
    return p if np.ptp(differences) == 0 else p * (draws + 1) / draws


def sorted_products(p):
    m = len(p)
    return (m - np.arange(m)) * np.sort(p)


def back(values, p):
    adjusted = np.empty(len(p))
    adjusted[np.argsort(p)] = values
    return adjusted


def sorts_what_it_is_given(p):
    p.sort()
    return p


def hochberg(p):
    return back(np.minimum.accumulate(sorted_products(p)[::-1])[::-1], p)


def uncapped(p):
    return back(np.maximum.accumulate(sorted_products(p)), p)


SLIPS = [
    ("3.1", lambda f, r, k: hits_at(f, r, k) / k, "Divided by k it is precision"),
    ("3.1", lambda f, r, k: hits_at(f, r, k) / min(k, len(r)), "all 5 of them"),
    ("3.1", lambda f, r, k: hits_at(f, r) / len(r), "whole list was searched"),
    ("3.1", lambda f, r, k: hits_at(f, r) / len(f), "precision of the whole list"),
    ("3.1", lambda f, r, k: hits_at(f, r, k - 1) / len(r), "one too few"),
    ("3.1", lambda f, r, k: hits_at(f, r, k + 1) / len(r), "one too many"),
    ("3.1", lambda f, r, k: hits_at(f, r, k) / len(f), "divided by the number found"),
    ("3.1", lambda f, r, k: hits_at(f, r, k) > 0, "only whether there is a hit"),
    ("3.1", lambda f, r, k: hits_at(f, r, k), "that is the number of hits"),
    ("3.1", lambda f, r, k: hits_at(f, r, k) / len(r), "d2 was counted twice"),
    ("3.1", lambda f, r, k: len({f[i] for i in range(k)} & r) / len(r), "IndexError"),
    ("3.1", lambda f, r, k: len(set(f[:k]) & r) / len(r) or 0.1, "nothing found is a recall of 0"),
    ("3.2", by_found, "By the other rule, finding less could score more"),
    ("3.2", summed(lambda hits, place: hits / (place + 1), lambda r: 7), "length of the list"),
    ("3.2", summed(lambda hits, place: hits / (place + 1), lambda r: 1), "sum of the precisions"),
    ("3.2", lambda f, r: precisions(f, r).mean(), "taken at every rank"),
    ("3.2", lambda f, r: precisions(f, r).sum() / len(r), "summed at every rank"),
    ("3.2", summed(lambda hits, place: 1 / (place + 1)), "count the hits"),
    ("3.2", lambda f, r: np.mean(at_hits(f, r, lambda h, i: 1 / (i + 1))), "mean of 1 / rank"),
    ("3.2", summed(lambda hits, place: (hits - 1) / (place + 1)), "count it first"),
    ("3.2", summed(lambda hits, place: hits / (place + 2)), "and yours at 2"),
    ("3.2", summed(lambda hits, place: hits / place), "ranks start at 1, not at 0"),
    ("3.2", lambda f, r: hits_at(f, r) / len(r), "that is recall"),
    ("3.2", lambda f, r: hits_at(f, r, len(r)) / len(r), "R-precision"),
    ("3.2", lambda f, r: hits_at(f, r) / len(f), "precision of the whole list"),
    ("3.2", lambda f, r: at_hits(f, r, lambda h, i: 1 / (i + 1))[0], "reciprocal rank"),
    ("3.2", no_answer_for_nothing, "which is never 0"),
    ("3.3", ndcg(ideal=lambda r, e, k: [1]), "that is DCG"),
    ("3.3", ndcg(ideal=lambda r, e, k: sorted(r)[::-1][:k]), "what was never found has to count"),
    ("3.3", ndcg(ideal=lambda r, e, k: sorted(r[:k])[::-1]), "first k of the ranking"),
    ("3.3", ndcg(ideal=lambda r, e, k: e[:k]), "all_grades is in no order"),
    ("3.3", ndcg(ideal=lambda r, e, k: sorted(e)[:k]), "upside down"),
    ("3.3", ndcg(ideal=lambda r, e, k: sorted(e[:k])[::-1]), "cut at k before it was sorted"),
    ("3.3", ndcg(ranked=lambda r, e, k: r), "only the ideal was"),
    ("3.3", ndcg(ideal=lambda r, e, k: sorted(e)[::-1]), "the ideal was not cut"),
    ("3.3", ndcg(ranked=lambda r, e, k: r, ideal=lambda r, e, k: sorted(e)[::-1]), "nothing was cut"),
    ("3.3", ndcg(gain=lambda grade: 2**grade - 1), r"2 \*\* grade - 1"),
    ("3.3", ndcg(gain=lambda grade: grade > 0), "every relevant document gained 1"),
    ("3.3", ndcg(discount=lambda rank: 1), "nothing is discounted"),
    ("3.3", ndcg(discount=lambda rank: max(1, np.log2(rank))), "from the first rank on"),
    ("3.3", ndcg(discount=lambda rank: np.log2(rank + 2)), "ranks start at 1"),
    ("3.3", ndcg(discount=lambda rank: rank), "not rank"),
    ("3.3", ndcg(discount=lambda rank: 1 / np.log2(rank + 1)), "divide by it"),
    ("3.3", ndcg(discount=lambda rank: float(np.log2(rank))), "Is your first rank 0"),
    ("3.3", numpy_from_rank_zero, r"log2\(1\) is 0"),
    ("3.3", nan_for_nothing, "where no grade is above 0"),
    ("3.3", lambda r, e, k: dcg(r[:k]) / float(dcg(sorted(e)[::-1][:k])), "where no grade is above 0"),
    ("3.4", counted(two_sided, p=lambda b, m: b / m), "Ninety-nine draws cannot show"),
    ("3.4", counted(two_sided, p=lambda b, m: b / (m + 1)), "Ninety-nine draws cannot show"),
    ("3.4", counted(two_sided, p=lambda b, m: (b + 1) / m), "counts below as well"),
    ("3.4", counted(two_sided, p=lambda b, m: 2 * (b + 1) / (m + 1)), "Do not double"),
    ("3.4", counted(two_sided, p=lambda b, m: (b + 1) / (m + 1) / 2), "do not halve"),
    ("3.4", counted(two_sided, p=lambda b, m: 1 - (b + 1) / (m + 1)), "not the others|1 - p"),
    ("3.4", counted(lambda means, seen: np.abs(means) < np.abs(seen)), "Does each difference|others"),
    ("3.4", counted(two_sided, shuffled), "Does each difference get a sign of its own"),
    ("3.4", counted(two_sided, one_sign_for_all), "Does each difference get a sign of its own"),
    ("3.4", counted(two_sided, bootstrapped), "Does each difference get a sign of its own"),
    ("3.4", bootstrapped_beyond_nothing, "with replacement is the bootstrap"),
    ("3.4", counted(lambda means, seen: np.abs(means) > np.abs(seen)), ">= and not >"),
    ("3.4", counted(lambda means, seen: means >= seen), "Compare absolute values"),
    ("3.4", counted(lambda means, seen: means >= np.abs(seen)), "Compare absolute values"),
    ("3.4", other_denominator, "is it \\(b \\+ 1\\) / \\(m \\+ 1\\)"),
    ("3.4", own_generator, "not from a generator made inside"),
    ("3.4", global_generator, "draw from rng"),
    ("3.4", in_place, "multiply into a new array"),
    ("3.4", lambda d, draws, rng: float("nan"), "p value lies between"),
    ("3.4", lambda d, draws, rng: np.zeros(3), "return one p value"),
    ("3.5", lambda p: p, "as they were"),
    ("3.5", lambda p: np.minimum(len(p) * p, 1), "that is Bonferroni, m times"),
    ("3.5", lambda p: len(p) * p, "that is Bonferroni, and above 1"),
    ("3.5", lambda p: back(sorted_products(p), p), "Take the running maximum"),
    ("3.5", lambda p: np.sort(holm(p)), "the right values in sorted order"),
    ("3.5", sorted_products, "lack the running maximum"),
    ("3.5", lambda p: np.maximum.accumulate(back(sorted_products(p), p)), "order given; take it"),
    ("3.5", lambda p: np.arange(len(p), 0, -1) * p, "sort the p values first"),
    ("3.5", hochberg, "Hochberg's step up"),
    ("3.5", lambda p: false_discovery_control(p), "Benjamini and Hochberg, which"),
    ("3.5", lambda p: back(np.arange(len(p)) [::-1] * np.sort(p), p), "one too small; start"),
    ("3.5", lambda p: back(np.maximum.accumulate(np.arange(len(p))[::-1] * np.sort(p)), p),
     "smallest p takes all m"),
    ("3.5", lambda p: back(np.arange(1, len(p) + 1) * np.sort(p), p), "the factors rise"),
    ("3.5", lambda p: back(np.maximum.accumulate(1 - (1 - np.sort(p)) ** np.arange(len(p), 0, -1)), p),
     "formula, for independent tests"),
    ("3.5", uncapped, "1 is the most"),
    ("3.5", lambda p: holm(p) <= 0.05, "returned True and False"),
    ("3.5", lambda p: holm(p)[:2], "return 6 adjusted p values"),
    ("3.5", lambda p: 0.05, "return one p value for each|return 6 adjusted"),
    ("3.5", sorts_what_it_is_given, "changed the p values"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "reason"), SLIPS)
def test_a_slip_is_named(name, answer, reason):
    result = check(name, answer)
    assert not result
    assert re.search(reason, result.reason), result


@pytest.mark.parametrize("name", sorted(SOLUTIONS.keys() - {"3.5"}))
def test_a_text_is_not_taken_for_a_number(name):
    assert "not a number" in check(name, lambda *arguments: "x").reason


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_check_leaves_nothing_behind_and_says_the_same_twice(name):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert repr(check(name, SOLUTIONS[name])) == repr(check(name, SOLUTIONS[name]))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def test_no_slip_of_holm_hides_another_or_the_right_answer():
    """Every slip's value differs from the right one and from those of the slips before it."""
    from course_utils.exercises import lesson3

    slips = lesson3._holm_slips(lesson3._P_VALUES)
    right = lesson3._holm(lesson3._P_VALUES)
    assert not any(np.allclose(value, right) for value, _ in slips)
    for (one, first), (other, second) in combinations(slips, 2):
        assert first == second or not np.allclose(one, other)
