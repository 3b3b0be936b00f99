"""The exercises of lesson 3: recall, average precision, nDCG, the permutation test, Holm."""

from __future__ import annotations

import numpy as np

from course_utils.exercises.answers import Exercise, NotYetError, call, compare, number, show
from course_utils.exercises.lesson3_permutation import check_permutation_p


def _value(answer, *arguments, shown):
    """Return the number that the answer makes of copies of the arguments."""
    with np.errstate(all="ignore"):
        return number(call(answer, *map(_copy, arguments), shown=shown), shown)


def _copy(argument):
    return argument.copy() if hasattr(argument, "copy") else argument


def _check_recall_at_k(answer):
    found, relevant = ["d7", "d2", "d9", "d4", "d1", "d3", "d5"], {"d1", "d2", "d3", "d4", "d8"}
    shown = "recall_at_k with 7 found, 5 relevant and k = 4"
    slips = [
        (2 / 4, "it is divided by 4. Divided by k it is precision; recall divides by the number of "
                "relevant documents, all 5 of them, also where k is smaller."),
        (4 / 5, "the whole list was searched: only its first k places count."),
        (1 / 5, "it looked at 3 places, one too few: found[:k] are the first k."),
        (3 / 5, "it looked at 5 places, one too many: found[:k] are the first k."),
        (2 / 7, "it is divided by the number found; divide by the number of relevant documents."),
        (2 / 3, "it is divided by what is found in the end; divide by all that is relevant."),
        (4 / 7, "that is the precision of the whole list; cut it at k, divide by the relevant."),
        (1, "that says only whether there is a hit (success@k); what share was found?"),
        (2, "that is the number of hits; divide it by the number of relevant documents."),
    ]  # fmt: skip
    compare(_value(answer, found, relevant, 4, shown=shown), 2 / 5, slips, shown)

    shown = "recall_at_k(['d2', 'd2', 'd4'], 3 relevant, k = 3)"
    twice = "d2 was counted twice, and so recall could rise above 1: count each document once."
    compare(
        _value(answer, ["d2", "d2", "d4"], {"d2", "d4", "d6"}, 3, shown=shown),
        2 / 3,
        [(1, twice)],
        shown,
    )
    for case, true, reason in (
        ((["d2"], {"d2", "d4"}, 10), 1 / 2, "k may be larger than the list: slices end with it."),
        (([], {"d2"}, 5), 0, "nothing found is a recall of 0."),
        ((["d9", "d8"], {"d2"}, 2), 0, "no relevant document found is a recall of 0."),
        ((["d3", "d1"], {"d1", "d3"}, 2), 1, "all that is relevant was found: 1."),
    ):
        shown = f"recall_at_k({case[0]}, {sorted(case[1])}, {case[2]})"
        value = _value(answer, *case, shown=shown)
        if not np.isclose(value, true):
            raise NotYetError(f"{shown} gave {value:.4g}: {reason}")
    return "the share of all relevant documents among the first k, each counted once."


def _check_average_precision(answer):
    # Relevant documents at ranks 1, 3 and 6; two more were not found.
    found = ["d4", "d9", "d1", "d8", "d7", "d3", "d6"]
    relevant = {"d1", "d2", "d3", "d4", "d5"}
    shown = "average_precision with relevant documents at ranks 1, 3 and 6, and 2 not found,"
    hits = np.isin(found, list(relevant))
    ranks = np.arange(1, 8)
    precision = np.cumsum(hits) / ranks
    at_hits = precision[hits]
    slips = [
        (at_hits.mean(),
         "it is divided by the 3 that were found. Divide by all 5 relevant documents: one that is "
         "never found has a precision of 0. By the other rule, finding less could score more."),
        (at_hits.sum() / 7, "it is divided by the length of the list; divide by all 5 relevant."),
        (at_hits.sum(), "that is the sum of the precisions; divide it by the number of relevant."),
        (precision.mean(), "precision was taken at every rank; take it where a hit is, divide by 5."),
        (precision.sum() / 5, "precision was summed at every rank; take it only where a hit is."),
        ((1 / ranks[hits]).sum() / 5,
         "1 / rank was summed. At the third hit the precision is 3 / rank: count the hits."),
        ((1 / ranks[hits]).mean(), "that is the mean of 1 / rank; precision is hits so far / rank."),
        ((np.arange(3) / ranks[hits]).sum() / 5,
         "each hit is counted after its precision was taken; count it first."),
        ((np.arange(1, 4) / (ranks[hits] + 1)).sum() / 5, "ranks start at 1, and yours at 2."),
        (3 / 5, "that is recall. Where the hits stand has to count as well."),
        (2 / 5, "that is the precision at rank R (R-precision); average over the ranks of hits."),
        (3 / 7, "that is the precision of the whole list; average it over the ranks of hits."),
        (1, "that is the first hit's reciprocal rank or precision; go through all the hits."),
    ]  # fmt: skip
    true = at_hits.sum() / 5
    compare(_ap(answer, found, relevant, shown), true, slips, shown)
    for found, relevant, true in (
        (["x", "a"], {"a"}, 1 / 2),
        (["b", "a", "x"], {"a", "b"}, 1),
        (["x", "y"], {"a", "b"}, 0),
        ([], {"a"}, 0),
    ):
        shown = f"average_precision({found}, {sorted(relevant)})"
        compare(_ap(answer, found, relevant, shown), true, [], shown)
    return "precision at every hit, divided by all that is relevant, found or not."


def _ap(answer, found, relevant, shown):
    try:
        value = _value(answer, found, relevant, shown=shown)
    except NotYetError as reason:
        if isinstance(reason.__cause__, ZeroDivisionError):
            where = (
                "ranks start at 1, not at 0."
                if relevant & set(found)
                else "where nothing relevant was found the result is 0; divide by the number of "
                "relevant documents, which is never 0."
            )
            raise NotYetError(f"{shown} divided by 0: {where}") from None
        raise
    if np.isnan(value):
        raise NotYetError(f"{shown} gave nan, 0 / 0: divide by the number of relevant documents.")
    return value


def _check_ndcg_at_k(answer):
    ranked, every, k = [0, 3, 1, 0, 2, 1], [1, 0, 3, 2, 0, 3, 1, 0], 4
    shown = "ndcg_at_k([0, 3, 1, 0, 2, 1], [1, 0, 3, 2, 0, 3, 1, 0], 4)"
    found = _ndcg_found(answer, ranked, every, k, shown)
    compare(found, _dcg(ranked, k) / _dcg(_falling(every), k), _ndcg_slips(ranked, every, k), shown)
    for ranked, every, k in (
        ([2, 1, 0], [0, 1, 2], 3),
        ([1], [1, 1, 2], 5),
        ([0, 0, 1], [1, 0, 0], 10),
        ([0, 0], [1, 2], 2),
        ([3, 0, 2], [3, 2, 0, 2], 1),
    ):
        shown = f"ndcg_at_k({ranked}, {every}, {k})"
        found = _ndcg_found(answer, ranked, every, k, shown)
        compare(found, _dcg(ranked, k) / _dcg(_falling(every), k), [], shown)
    shown = "ndcg_at_k([0, 0], [0, 0, 0], 2)"
    try:
        found = _value(answer, [0, 0], [0, 0, 0], 2, shown=shown)
    except NotYetError as reason:
        raise NotYetError(f"{reason} Where no grade is above 0, return 0.") from None
    if found != 0:
        raise NotYetError(
            f"{shown} gave {found:.4g}: where no grade is above 0 the ideal is 0 too, and 0 is "
            "what trec_eval gives; ask before you divide."
        )
    return "gains discounted by rank, against the best order of all grades, cut at the same k."


def _ndcg_found(answer, ranked, every, k, shown):
    try:
        found = _value(answer, ranked, every, k, shown=shown)
    except NotYetError as reason:
        if isinstance(reason.__cause__, ZeroDivisionError):
            raise NotYetError(
                f"{shown} divided by 0: log2(1) is 0, so the first rank's discount is "
                "log2(1 + 1). Is your first rank 0?"
            ) from None
        raise
    if not np.isfinite(found):
        raise NotYetError(
            f"{shown} gave {found}, a division by 0: log2(1) is 0, so the first rank's discount "
            "is log2(1 + 1)."
        )
    return found


def _dcg(grades, k=None, *, gain=lambda grade: grade, shift=1, discount=np.log2):
    gains = gain(np.array(grades[:k], dtype=float))
    return float((gains / discount(np.arange(1, len(gains) + 1) + shift)).sum())


def _falling(grades):
    return sorted(grades, reverse=True)


def _ndcg_slips(ranked, every, k):
    ideal = _falling(every)

    def exponential(grade):
        return 2**grade - 1

    def early(grades):  # the first form of 2002 for base 2: no discount at ranks 1 and 2
        return grades[0] + _dcg(grades[1:k])

    def plain(grades):
        return sum(grades[:k])

    def ratio(**options):
        return _dcg(ranked, k, **options) / _dcg(ideal, k, **options)

    return [
        (_dcg(ranked, k), "that is DCG; divide it by the DCG of the best order."),
        (_dcg(ranked, k) / _dcg(_falling(ranked), k),
         "the ideal was made of the grades in the ranking: what was never found has to count "
         "against it, so sort all_grades."),
        (_dcg(ranked, k) / _dcg(_falling(ranked[:k]), k),
         "the ideal was made of the first k of the ranking; sort all_grades, then cut at k."),
        (_dcg(ranked, k) / _dcg(every, k), "all_grades is in no order: sort it, highest first."),
        (_dcg(ranked, k) / _dcg(sorted(every), k), "the ideal is upside down: highest first."),
        (_dcg(ranked, k) / _dcg(_falling(every[:k]), k),
         "all_grades was cut at k before it was sorted; sort it first."),
        (_dcg(ranked) / _dcg(ideal, k), "the ranking was not cut at k; only the ideal was."),
        (_dcg(ranked, k) / _dcg(ideal), "the ideal was not cut at k: the best ranking has k places."),
        (_dcg(ranked) / _dcg(ideal), "nothing was cut at k: cut both, the ranking and the ideal."),
        (ratio(gain=exponential),
         "the gain is 2 ** grade - 1; here, as in trec_eval, the gain is the grade itself."),
        (ratio(gain=np.sign), "every relevant document gained 1; its gain is its grade."),
        (plain(ranked) / plain(ideal), "nothing is discounted: divide by log2(rank + 1)."),
        (early(ranked) / early(ideal), "the discount is log2(rank + 1), from the first rank on."),
        (ratio(shift=2), "ranks start at 1: the first discount is log2(2), which is 1."),
        (ratio(shift=0, discount=lambda rank: rank), "the discount is log2(rank + 1), not rank."),
        (ratio(discount=lambda rank: 1 / np.log2(rank)),
         "gains are multiplied by log2(rank + 1); divide by it."),
    ]  # fmt: skip


_P_VALUES = np.array([0.011, 0.3, 0.02, 0.012, 0.6, 0.0005])


def _check_holm(answer):
    true = _holm(_P_VALUES)
    found = _adjusted(answer, _P_VALUES)
    if not np.allclose(found, true):
        for value, reason in _holm_slips(_P_VALUES):
            if np.allclose(found, value):
                raise NotYetError(reason)
        place = int(np.flatnonzero(~np.isclose(found, true))[0])
        raise NotYetError(
            f"for {_P_VALUES.tolist()} the p value {_P_VALUES[place]:g} became {found[place]:.4g}, "
            f"and {true[place]:.4g} is right."
        )
    for p_values in ([0.5, 0.9, 0.8], [0.04], [0.02, 0.02, 0.02], [0.03, 0.01, 0.04, 0.01]):
        p_values = np.array(p_values)
        found, true = _adjusted(answer, p_values), _holm(p_values)
        if (found > 1 + 1e-9).any():
            raise NotYetError(f"for {p_values.tolist()} it gave {found.max():g}: 1 is the most.")
        if not np.allclose(found, true):
            raise NotYetError(
                f"for {p_values.tolist()} it gave {np.round(found, 4).tolist()}, and "
                f"{np.round(true, 4).tolist()} is right."
            )
    return "each at its own place, never falling where p rises, and never above 1."


def _adjusted(answer, p_values):
    shown, given = f"holm({p_values.tolist()})", p_values.copy()
    found = call(answer, given, shown=shown)
    if not np.array_equal(given, p_values):
        raise NotYetError(f"{shown} changed the p values it was given: work on a copy.")
    try:
        found = np.asarray(found if hasattr(found, "__array__") else list(found))
    except TypeError:
        raise NotYetError(f"{shown} returned {show(found)}; return one p value for each.") from None
    if found.dtype == bool:
        raise NotYetError(
            f"{shown} returned True and False; return adjusted p values, so that a reader can "
            "choose the level."
        )
    if found.shape != p_values.shape or not np.issubdtype(found.dtype, np.number):
        raise NotYetError(
            f"{shown} returned {show(found.tolist())}; return {len(p_values)} adjusted p values."
        )
    return found.astype(float)


def _holm(p_values):
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    return _in_place(np.minimum(np.maximum.accumulate(factors * p_values[order]), 1), order)


def _in_place(values, order):
    adjusted = np.empty(len(order))
    adjusted[order] = values
    return adjusted


def _holm_slips(p_values):
    m, order = len(p_values), np.argsort(p_values)
    rising, ranks = p_values[order], np.arange(1, m + 1)
    products = (m - ranks + 1) * rising
    by_place = (m - np.arange(m)) * p_values
    benjamini = np.minimum.accumulate((m / ranks * rising)[::-1])[::-1]
    fewer = np.maximum.accumulate((m - ranks) * rising)
    return [
        (p_values, "these are the p values as they were."),
        (np.minimum(m * p_values, 1),
         "that is Bonferroni, m times every p value. Holm multiplies the smallest by m, the next "
         "by m - 1, and so on: it finds more at the same risk."),
        (m * p_values, "that is Bonferroni, and above 1; Holm's factor falls from m to 1."),
        (_in_place(products, order),
         "0.012 came out below 0.011: no adjusted p value may be smaller than that of a smaller p. "
         "Take the running maximum, np.maximum.accumulate, in sorted order."),
        (np.sort(_holm(p_values)),
         "the right values in sorted order: put each back to the place its p value came from."),
        (np.sort(products), "sorted, without a running maximum: keep to the order of p, then back."),
        (products, "these are in sorted order and lack the running maximum."),
        (np.maximum.accumulate(_in_place(products, order)),
         "the running maximum went along the order given; take it in sorted order, then put back."),
        (by_place, "the factors follow the order given: sort the p values first."),
        (np.minimum(np.maximum.accumulate(by_place), 1),
         "the factors follow the order given: sort the p values first."),
        (_in_place(np.minimum.accumulate(products[::-1])[::-1], order),
         "that is Hochberg's step up, a running minimum from the largest p down, which needs "
         "independent tests. Holm takes the running maximum from the smallest up."),
        (_in_place(benjamini, order),
         "that is Benjamini and Hochberg, which bounds the share of false discoveries; Holm bounds "
         "the chance of a single one."),
        (_in_place(m / ranks * rising, order),
         "that is Benjamini and Hochberg's m / rank; Holm's factor is m - rank + 1."),
        (_in_place(fewer, order), "each factor is one too small: the smallest p takes all m."),
        (_in_place((m - ranks) * rising, order), "each factor is one too small; start with m."),
        (_in_place(np.minimum(np.maximum.accumulate(ranks * rising), 1), order),
         "the factors rise; they fall from m for the smallest p to 1 for the largest."),
        (_in_place(ranks * rising, order),
         "the factors rise; they fall from m for the smallest p to 1 for the largest."),
        (_in_place(np.maximum.accumulate(1 - (1 - rising) ** (m - ranks + 1)), order),
         "that is Holm's method with Šidák's formula, for independent tests; multiply instead."),
    ]  # fmt: skip


EXERCISES = {
    "3.1": Exercise(
        _check_recall_at_k,
        (
            "Which documents are both among the first k and relevant? Of how many that could be?",
            "set(found[:k]) holds each document of the first k places once.",
            "Divide the size of set(found[:k]) & set(relevant) by len(relevant).",
        ),
    ),
    "3.2": Exercise(
        _check_average_precision,
        (
            "Walk down the list and count the hits. At each hit, precision is hits so far / rank.",
            "enumerate(found, start=1) counts ranks from 1; count the hit before you divide.",
            "Sum those precisions and divide by len(relevant), not by the number of hits.",
        ),
    ),
    "3.3": Exercise(
        _check_ndcg_at_k,
        (
            "Write a helper dcg(grades) first, and use it twice: for the ranking and the ideal.",
            "dcg is the sum of grade / log2(rank + 1) over the first k, with ranks from 1.",
            "The ideal is dcg(sorted(all_grades, reverse=True)[:k]); return 0 where it is 0.",
        ),
    ),
    "3.4": Exercise(
        check_permutation_p,
        (
            "If the systems were alike, each difference could as well have had the other sign.",
            "rng.choice([-1, 1], size=len(differences)) draws a sign for each; compare abs(mean).",
            "Count the draws with abs(mean) >= abs(differences.mean()); add 1 to them and to draws.",
        ),
    ),
    "3.5": Exercise(
        _check_holm,
        (
            "The smallest p value is multiplied by m, the next by m - 1, the largest by 1.",
            "order = np.argsort(p_values) sorts; adjusted[order] = values puts values back.",
            "np.maximum.accumulate(factors * p_values[order]), then np.minimum(..., 1).",
        ),
    ),
}
