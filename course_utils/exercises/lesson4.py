"""The exercises of lesson 4: association, effect size, exact p, removing a direction, exposure."""

from __future__ import annotations

import numpy as np

from course_utils.exercises.answers import Exercise, NotYetError, call, compare, number, show
from course_utils.exercises.lesson4_partition import check_exact_p


def _found(answer, arguments, shown):
    """Return what the answer makes of copies of the arguments, which it has to leave alone."""
    copies = [argument.copy() if hasattr(argument, "copy") else argument for argument in arguments]
    with np.errstate(all="ignore"):
        found = call(answer, *copies, shown=shown)
    for mine, own in zip(copies, arguments, strict=True):
        if not np.array_equal(mine, own):
            raise NotYetError(f"{shown} changed what it was given: work on a copy, not in place.")
    return found


def _value(answer, *arguments, shown):
    value = number(_found(answer, arguments, shown), shown)
    if not np.isfinite(value):
        raise NotYetError(f"{shown} gave {value}: it divided by 0.")
    return value


_WORD = np.array([0.6, 1.5, -0.4, 1.1])
_A = np.array([[1.2, 0.9, 0.3, -0.5], [0.2, 2.1, -0.8, 0.4], [0.9, -0.3, 0.1, 1.6]])
_B = np.array([[-0.7, 0.8, 1.5, 0.2], [0.5, 0.1, -2.2, 0.9]])


def _check_association(answer):
    shown = "association(word, A, B) with 3 vectors in A and 2 in B, none of length 1,"
    found = _value(answer, _WORD, _A, _B, shown=shown)
    compare(found, _association(_WORD, _A, _B), _association_slips(_WORD, _A, _B), shown)
    for word, A, B, true in (
        ([2, 0], [[5, 0], [0, 1]], [[0, 3]], 1 / 2),
        ([0, 3], [[1, 0], [-2, 0]], [[0, 4]], -1),
        ([1, 1], [[2, 1], [1, 3]], [[2, 1], [1, 3]], 0),
        ([1, 0], [[3, 4]], [[-3, 4]], 1.2),
    ):
        shown = f"association({word}, {A}, {B})"
        arrays = (np.array(argument, dtype=float) for argument in (word, A, B))
        compare(_value(answer, *arrays, shown=shown), true, [], shown)
    return "the mean cosine with A less that with B, whatever the lengths of the vectors."


def _lengths(rows):
    return np.linalg.norm(rows, axis=-1, keepdims=True)


def _cosines(word, rows):
    return (rows / _lengths(rows)) @ (word / _lengths(word))


def _association(word, A, B):
    return float(_cosines(word, A).mean() - _cosines(word, B).mean())


def _association_slips(word, A, B):
    to_A, to_B = _cosines(word, A), _cosines(word, B)
    true = to_A.mean() - to_B.mean()
    unit, unit_A, unit_B = (rows / _lengths(rows) for rows in (word, A, B))
    size, unlike = np.linalg.norm(word), "the sets are of unlike size: take means, not sums."
    centre = "the word was compared with the mean vector of each set. Take the cosine with every "\
             "vector of the set first, then the mean of these cosines."  # fmt: skip
    one_length = (
        "np.linalg.norm(A) is one number for the whole matrix; with axis=1 it is one a row."
    )

    def gap(of):
        return of(A) - of(B)

    return [
        (-true, "the sign is turned: it is A less B, and cosines, not distances."),
        (to_A.mean(), "B is missing: take off the mean cosine with B."),
        (to_A.mean() + to_B.mean(), "the two means were added; take the difference."),
        (to_A.mean() / to_B.mean(), "the two means were divided; take the difference."),
        (gap(lambda rows: (rows @ word).mean()),
         "those are dot products. Divide each by both lengths: a long vector counts no more."),
        (gap(lambda rows: (rows @ word).sum()), "those are dot products, and summed."),
        ((unit_A @ word).mean() - (unit_B @ word).mean(), "the length of word was not divided by."),
        (gap(lambda rows: (rows @ unit).mean()), "the lengths of the vectors in A and B were not "
         "divided by, only that of word."),
        (to_A.sum() - to_B.sum(), unlike),
        (gap(lambda rows: _cosines(word, rows.mean(axis=0))), centre),
        (_cosines(word, unit_A.mean(axis=0)) - _cosines(word, unit_B.mean(axis=0)), centre),
        (gap(lambda rows: (rows @ word / (size * np.linalg.norm(rows))).mean()), one_length),
        (gap(lambda rows: (rows / np.linalg.norm(rows, axis=0) @ unit).mean()),
         "the columns were scaled to length 1; scale the rows: axis=1, keepdims=True."),
        (to_A.max() - to_B.max(), "that looks at the nearest of each set alone; take means."),
        (gap(lambda rows: np.linalg.norm(rows - word, axis=1).mean()),
         "those are distances, which grow where likeness falls; take cosines."),
        (-gap(lambda rows: np.linalg.norm(rows - word, axis=1).mean()),
         "those are distances; take cosines, which do not depend on lengths."),
        (true / np.r_[to_A, to_B].std(ddof=1), "that is the effect size of one word; leave out the "
         "division by the deviation."),
    ]  # fmt: skip


_X_SCORES = np.array([0.31, 0.12, 0.27, 0.18, 0.05])
_Y_SCORES = np.array([0.02, -0.11, 0.14, -0.03, 0.06])


def _check_effect_size(answer):
    shown = "effect_size of 5 and 5 scores"
    found = _value(answer, _X_SCORES, _Y_SCORES, shown=shown)
    true = _effect(_X_SCORES, _Y_SCORES)
    compare(found, true, _effect_slips(_X_SCORES, _Y_SCORES), shown)
    for x, y, true in (
        ([1, 1], [0, 0], 3**0.5),
        ([0, 2], [0, 2], 0),
        ([0, 0], [3, 3], -(3**0.5)),
        ([100, 300], [0, 200], 100 / (50_000 / 3) ** 0.5),
    ):
        shown = f"effect_size({x}, {y})"
        arrays = (np.array(scores, dtype=float) for scores in (x, y))
        compare(_value(answer, *arrays, shown=shown), true, [], shown)
    return "the difference of the means in standard deviations of all words, with n - 1."


def _effect(x, y, ddof=1):
    return float((x.mean() - y.mean()) / np.concatenate([x, y]).std(ddof=ddof))


def _effect_slips(x, y):
    gap, both, n = x.mean() - y.mean(), np.concatenate([x, y]), len(x)
    apart = "X and Y got a standard deviation each. Take one, of all words in one array: WEAT's "\
            "effect size is not the textbook's d, so that it cannot leave ±2."  # fmt: skip
    one_set = "the deviation is that of one set; take it over the words of both."
    slips = [
        (_effect(x, y, ddof=0), "the deviation divides by n; that is NumPy's habit. The published "
         "figures divide by n - 1: std(ddof=1)."),
        (-_effect(x, y), "the sign is turned: it is the mean of x less the mean of y."),
        (gap, "that is the difference of the means; divide it by the standard deviation."),
        (gap / both.var(ddof=1), "it is divided by the variance; take its root, the deviation."),
        (gap / both.var(), "it is divided by the variance; take its root, with ddof=1."),
        ((x.sum() - y.sum()) / both.std(ddof=1), "those are sums; the effect size takes means."),
        ((x.sum() - y.sum()) / both.std(), "those are sums; take means, and ddof=1."),
        (x.sum() - y.sum(), "that is the test statistic, a difference of sums."),
    ]  # fmt: skip
    for ddof in (1, 0):
        sx, sy = x.std(ddof=ddof), y.std(ddof=ddof)
        pairs = (x - y).std(ddof=ddof)
        slips += [
            (gap / np.sqrt((sx**2 + sy**2) / 2), apart),
            (gap / ((sx + sy) / 2), apart),
            (gap / (sx + sy), apart),
            (x.mean() / sx - y.mean() / sy, apart),
            (gap / np.sqrt(sx**2 + sy**2), apart),
            (gap / sx, one_set),
            (gap / sy, one_set),
            (gap / pairs, "the deviation is that of x - y; the words of X and Y are no pairs."),
            (gap / np.sqrt((sx**2 + sy**2) / n), "that is a t statistic, which grows with the "
             "number of words; an effect size does not."),
            (gap / (both.std(ddof=ddof) / np.sqrt(2 * n)), "it is divided by a standard error; an "
             "effect size does not grow with the number of words."),
        ]  # fmt: skip
    return slips


_MATRIX = np.array([[0.6, 0.0, 0.8, 0.0], [0.5, 0.5, -0.5, 0.5], [0.0, -0.28, 0.96, 0.0]])
_DIRECTION = np.array([0.8, 1.6, 0.4, -1.2])


def _check_remove_direction(answer):
    shown = "remove_direction(3 unit vectors, a direction of length 2.19)"
    found, true = _rows(answer, _MATRIX, _DIRECTION, shown), _removed(_MATRIX, _DIRECTION)
    if not np.allclose(found, true, atol=1e-4):
        for value, reason in _direction_slips(_MATRIX, _DIRECTION):
            if np.allclose(found, value, atol=1e-4):
                raise NotYetError(reason)
        _say_what_is_left(found, _DIRECTION, shown)
    for scale, kind in ((1 / np.sqrt(4.8), np.float64), (-0.1, np.float32), (30, np.float64)):
        direction = (scale * _DIRECTION).astype(kind)
        matrix = _MATRIX[:2].astype(kind)
        shown = (
            f"remove_direction(2 unit vectors, a direction of length {abs(scale) * 4.8**0.5:.2f})"
        )
        found = _rows(answer, matrix, direction, shown)
        if not np.allclose(found, true[:2], atol=1e-4):
            raise NotYetError(
                f"{shown} gave something else than for the same direction at another length: only "
                "where it points may count, so scale it to length 1 first."
            )
    one = np.array([[0.6, 0.8]])
    shown = "remove_direction([[0.6, 0.8]], [2, 0])"
    if not np.allclose(_rows(answer, one, np.array([2.0, 0.0]), shown), [[0, 1]], atol=1e-4):
        raise NotYetError(f"{shown} has to leave [[0, 1]]: it works on a matrix of one row too.")
    return "nothing is left along the direction, and the vectors are of length 1 again."


def _rows(answer, matrix, direction, shown):
    found = _found(answer, (matrix, direction), shown)
    try:
        rows = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        raise NotYetError(f"{shown} returned {show(found)}; return an array.") from None
    if rows.shape != matrix.shape:
        raise NotYetError(
            f"{shown} returned an array of shape {rows.shape}; return {matrix.shape}, the vectors "
            "without the direction."
        )
    if not np.isfinite(rows).all():
        raise NotYetError(f"{shown} returned NaN or an infinity: what was divided by 0?")
    return rows


def _scaled(rows):
    return rows / _lengths(rows)


def _projected(matrix, direction):
    unit = direction / np.linalg.norm(direction)
    return np.outer(matrix @ unit, unit)


def _removed(matrix, direction):
    return _scaled(matrix - _projected(matrix, direction))


def _direction_slips(matrix, direction):
    along, length = _projected(matrix, direction), np.linalg.norm(direction)
    rest = matrix - along
    cases = [
        (matrix - length**2 * along, "direction is not of length 1, and so too much was taken off: "
         "divide it by its length first."),
        (matrix - length * along, "direction is not of length 1: divided by its length once, it is "
         "still there in the other place. Scale it first, then use it twice."),
        (along, "that is the part along the direction; take it off the matrix."),
        (matrix + along, "the part along the direction was added; take it off."),
        (matrix - 2 * along, "the part was taken off twice, which mirrors the vectors: what they "
         "said about the direction is all still there, turned round."),
        (matrix - direction, "the direction itself was taken off every vector. Take off of each as "
         "much of it as it has: the dot product with the direction."),
        (matrix - direction / length, "the same was taken off every vector. Take off of each as "
         "much of the direction as it has: its dot product with it."),
        (matrix - along.mean(axis=0), "the same was taken off every vector, the mean. Take off of "
         "each what it has itself."),
    ]  # fmt: skip
    whole = (
        "np.linalg.norm without axis=1 is one length for the whole matrix; every row needs its own."
    )
    columns = "the columns were scaled; scale the rows: axis=1, keepdims=True."
    return [
        (rest, "the direction is gone, but the vectors are shorter now, the more of it they had. "
         "Scale them to length 1 again, or dot products are no cosines any more."),
        (rest / np.linalg.norm(rest), whole),
        (rest / np.linalg.norm(rest, axis=0), columns),
        *cases,
        *((_scaled(value), reason) for value, reason in cases),
        (matrix, "that is the matrix as it was."),
    ]  # fmt: skip


def _say_what_is_left(found, direction, shown):
    left = float(np.abs(found @ direction / np.linalg.norm(direction)).max())
    if left > 1e-4:
        raise NotYetError(
            f"{shown} left {left:.3f} along the direction in one row; it should be 0 in all."
        )
    lengths = np.linalg.norm(found, axis=1)
    wrong = int(np.abs(lengths - 1).argmax())
    if abs(lengths[wrong] - 1) > 1e-4:
        raise NotYetError(f"{shown}: row {wrong} has length {lengths[wrong]:.3f}; it should be 1.")
    raise NotYetError(f"{shown}: more than the part along the direction was taken off.")


_RANKED = ["a", "b", "b", "a", "c", "b", "a"]


def _check_exposure(answer):
    shown = f"exposure({_RANKED}, 'a')"
    found = _exposed(answer, _RANKED, "a", shown)
    compare(found, _exposure(_RANKED, "a"), _exposure_slips(_RANKED, "a"), shown)
    for ranked, group, true in (
        (["b", "a"], "a", 1 / np.log2(3) / (1 + 1 / np.log2(3))),
        (["a", "a", "a"], "a", 1),
        (["b", "c"], "a", 0),
        (["c"], "c", 1),
        (_RANKED, "c", _exposure(_RANKED, "c")),
        (["first", "second", "second", "first"], "second", _exposure(list("abba"), "b")),
    ):
        shown = f"exposure({ranked}, {group!r})"
        compare(_exposed(answer, ranked, group, shown), true, [], shown)
    return "each place counts 1 / log2(rank + 1), and the shares of all groups sum to 1."


def _exposed(answer, ranked, group, shown):
    zero = "log2(1) is 0, so the first rank's discount is log2(1 + 1): do your ranks start at 1?"
    try:
        value = number(_found(answer, (list(ranked), group), shown), shown)
    except NotYetError as reason:
        if isinstance(reason.__cause__, ZeroDivisionError):
            where = zero if group in ranked else f"{group!r} is not in the list; its share is 0."
            raise NotYetError(f"{shown} divided by 0: {where}") from None
        raise
    if not np.isfinite(value):
        raise NotYetError(f"{shown} gave {value}, a division by 0: {zero}")
    return value


def _exposure(ranked, group, discount=lambda rank: np.log2(rank + 1)):
    weights = 1 / discount(np.arange(1, len(ranked) + 1))
    return float(weights[np.array(ranked) == group].sum() / weights.sum())


def _exposure_slips(ranked, group):
    mine = np.array(ranked) == group
    weights = 1 / np.log2(np.arange(len(ranked)) + 2)
    own, others, n = weights[mine].sum(), weights[~mine].sum(), len(ranked)

    def by(discount):
        return _exposure(ranked, group, discount)

    return [
        (own, "that is the group's exposure; divide it by that of all places together."),
        (own / others, "it is divided by what the others get; divide by what all get together."),
        (others / (own + others), "that is the share of the others."),
        (own / n, "it is divided by the number of places; divide by the exposure of all of them."),
        (own / mine.sum(), "that is the mean exposure of a member; the share is asked for."),
        (weights[mine].mean() / weights.mean(), "that is a member's exposure against the mean of "
         "all, which is 1 where groups are treated alike; the share is asked for."),
        (mine.mean(), "every place counts the same: that is the group's share of the list. The "
         "first places are looked at more, so discount by 1 / log2(rank + 1)."),
        (own / (own + others) - mine.mean(), "the group's share of the places was taken off; that "
         "comes after."),
        (by(lambda rank: rank), "the discount is 1 / rank, which falls faster: 1 / log2(rank + 1)."),
        (by(lambda rank: rank + 1), "the discount is 1 / (rank + 1); the logarithm is missing."),
        (by(lambda rank: 1 / np.log2(rank + 1)), "log2(rank + 1) was multiplied with; divide by it."),
        (by(lambda rank: np.log2(rank + 2)), "ranks start at 1: the first discount is log2(2)."),
        (by(lambda rank: np.log2(rank) + 1), "that is log2(rank) + 1; the 1 goes inside: "
         "log2(rank + 1)."),
        (mine[: n // 2].mean(), "that looks at the upper half alone; every place counts a little."),
    ]  # fmt: skip


EXERCISES = {
    "4.1": Exercise(
        _check_association,
        (
            "First one cosine for every vector of A, then their mean; the same for B; subtract.",
            "The cosine is the dot product divided by both lengths: np.linalg.norm(A, axis=1).",
            "A @ word / (np.linalg.norm(A, axis=1) * np.linalg.norm(word)) holds all those with A.",
        ),
    ),
    "4.2": Exercise(
        _check_effect_size,
        (
            "How far are the two means apart, if the spread of all the scores is the unit?",
            "np.concatenate([x_scores, y_scores]) puts the scores of both sets into one array.",
            "Divide the difference of the means by that array's std(ddof=1).",
        ),
    ),
    "4.3": Exercise(
        check_exact_p,
        (
            "If the labels X and Y meant nothing, any half of the words could as well be X.",
            "itertools.combinations(range(len(pooled)), len(x_scores)) gives the positions of X.",
            "The total is fixed: count the splits whose sum over X is at least the one seen, "
            "rounding aside (>= seen - 1e-12), and divide by the number of splits.",
        ),
    ),
    "4.4": Exercise(
        _check_remove_direction,
        (
            "How much of the direction does each vector hold? Take off just that much of it.",
            "unit = direction / np.linalg.norm(direction); matrix @ unit is how much each row holds.",
            "rest = matrix - np.outer(matrix @ unit, unit), then divide each row by its own length.",
        ),
    ),
    "4.5": Exercise(
        _check_exposure,
        (
            "Give each place its weight, then ask what part of all the weight the group holds.",
            "enumerate(groups_in_ranked_order, start=1) counts ranks from 1.",
            "Sum 1 / log2(rank + 1) over the group's places, and divide by the sum over all places.",
        ),
    ),
}
