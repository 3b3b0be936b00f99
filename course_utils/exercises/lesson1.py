"""The exercises of lesson 1: cosine, top k, reciprocal rank, chunks, the smallest configuration."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from course_utils.exercises.answers import (
    Exercise,
    NothingReturnedError,
    NotYetError,
    call,
    compare,
    number,
    show,
)


def _check_cosine(answer):
    rng = np.random.default_rng(11)
    a, b = rng.normal(size=8) * 3, rng.normal(size=8) * 2
    if a @ b > 0:
        b = -b
    dot, long_a, long_b = a @ b, np.linalg.norm(a), np.linalg.norm(b)
    true = dot / (long_a * long_b)
    slips = [
        (dot, "that is the dot product: divide it by the lengths of both vectors."),
        (-dot, "that is the dot product with its sign turned; cosine divides it by both lengths."),
        (np.linalg.norm(a - b), "that is the distance between the two; the cosine is an angle's."),
        (1 - true, "that is the cosine distance, 1 - cosine; leave the 1 - away."),
        (dot / long_a, "it is divided by the length of a only: divide by the length of b too."),
        (dot / long_b, "it is divided by the length of b only: divide by the length of a too."),
        (dot / (long_a + long_b), "the two lengths are added; multiply them."),
        (dot / (long_a * long_b) ** 2, "the lengths are still squared: take the square root."),
        (dot / len(a), "it is divided by the number of values; divide by the vectors' lengths."),
        (np.arccos(true), "that is the angle itself; the cosine of it is asked for."),
        (abs(true), "the sign is lost: vectors that point apart have a cosine below 0."),
    ]
    found = number(
        call(answer, a.copy(), b.copy(), shown="cosine(a, b)"),
        "cosine(a, b)",
        several="the products still have to be summed.",
    )
    compare(found, true, slips, "two vectors of 8 numbers")
    for left, right, value in (([3, 4], [6, 8], 1), ([1, 0], [0, 5], 0), ([1, 1], [-2, -2], -1)):
        shown = f"cosine({left}, {right})"
        found = number(call(answer, np.array(left), np.array(right), shown=shown), shown)
        compare(found, value, [], f"{left} and {right}")
    return "right for long and short vectors, and for ones that point the same way, across, apart."


def _check_top_k(answer):
    rng = np.random.default_rng(12)
    matrix = rng.normal(size=(20, 6))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    query = matrix[4] + 0.3 * rng.normal(size=6)
    query /= np.linalg.norm(query)
    scores, k = matrix @ query, 5
    order = np.argsort(-scores)
    best = order[:k].tolist()

    found = _rows(call(answer, query.copy(), matrix.copy(), k, shown="top_k(query, matrix, 5)"))
    if len(found) != k:
        raise NotYetError(f"with k = 5 it returned {len(found)} row numbers.")
    if np.allclose(found, scores[best], atol=1e-4):
        raise NotYetError("these are the scores; return the numbers of their rows.")
    if any(not float(row).is_integer() for row in found):
        raise NotYetError(f"{show(found)} are not row numbers: whole numbers from 0 up.")
    found = [int(row) for row in found]
    if found != best:
        raise NotYetError(_why_not_best_first(found, order, k))

    found = _rows(call(answer, query.copy(), matrix[:3].copy(), 5, shown="top_k with 3 rows"))
    if found != np.argsort(-scores[:3]).tolist():
        raise NotYetError(f"of 3 rows with k = 5 it gave {found}; all 3, best first, are right.")
    return "the right rows, best first, and all of them where there are fewer than k."


def _why_not_best_first(found, order, k):
    best, upwards = order[:k].tolist(), order[::-1].tolist()
    reasons = [
        (best[::-1], "the right rows, worst first: turn the order round."),
        (upwards[:k], "these are the rows least like the query: sort from high to low."),
        (upwards[:k][::-1], "these come from the low end of the order: take the other end."),
        ([row + 1 for row in best], "every number is one too high: rows are counted from 0."),
    ]
    for slip, reason in reasons:
        if found == slip:
            return reason
    if sorted(found) == sorted(best):
        return "the right rows, not best first: sort them by their scores."
    return f"it gave rows {found}; the scores, from the highest, say {best}."


def _rows(found):
    try:
        rows = np.asarray(found if hasattr(found, "__array__") else list(found), dtype=float)
    except (TypeError, ValueError):
        raise NotYetError(f"it returned {show(found)}; return a list of row numbers.") from None
    if rows.ndim != 1:
        raise NotYetError(f"it returned an array of shape {rows.shape}; return one flat list.")
    return rows.tolist()


def _check_reciprocal_rank(answer):
    cases = [
        (["d", "a", "b", "e", "f"], {"b"}, 3),
        (["a", "b", "c"], {"a"}, 1),
        (["x", "a", "y", "b", "z"], {"a", "b"}, 2),
        (["x", "y"], {"a"}, None),
        ([], {"a"}, None),
    ]
    for found_ids, relevant_ids, rank in cases:
        shown = f"reciprocal_rank({found_ids}, {sorted(relevant_ids)})"
        found = _reciprocal_rank(answer, found_ids, relevant_ids, rank, shown)
        true = 1 / rank if rank else 0.0
        ranks = [i for i, each in enumerate(found_ids, start=1) if each in relevant_ids]
        slips = []
        if rank:
            slips = [
                (rank, f"that is the rank, {rank}; its reciprocal is 1 / {rank}."),
                (1 / (rank + 1), "one too deep: the first place has rank 1, and 1 / 1 = 1."),
                (rank - 1, "that is the position counted from 0; 1 / rank is asked for."),
                (1 / ranks[-1], "the last relevant id was taken; the first one counts."),
                (sum(1 / r for r in ranks), "all relevant ids were added up; the first counts."),
                (
                    np.mean([1 / r for r in ranks]),
                    "all relevant ids were averaged; only the first counts.",
                ),
                (
                    len(ranks) / len(found_ids),
                    "that is the share of relevant ids (precision); the first one's rank counts.",
                ),
                (0, "it found nothing, and a relevant id is there: compare ids, not positions."),
            ]
            if rank > 1:
                slips.insert(0, (1 / (rank - 1), "ranks start at 1, and yours start at 0."))
        compare(found, true, slips, f"{found_ids} with {sorted(relevant_ids)} relevant")
    return "1 / rank of the first relevant id, and 0 where there is none."


def _reciprocal_rank(answer, found_ids, relevant_ids, rank, shown):
    try:
        return number(call(answer, list(found_ids), set(relevant_ids), shown=shown), shown)
    except NotYetError as reason:
        if isinstance(reason.__cause__, ZeroDivisionError) and rank:
            raise NotYetError(
                "it divided by 0 for a hit in the first place: ranks start at 1, not at 0."
            ) from None
        if rank is None and isinstance(reason, NothingReturnedError):
            raise NotYetError(
                "with no relevant id found it returned nothing; return 0 there, after the loop."
            ) from None
        if rank is None:
            raise NotYetError(f"{reason} Where no relevant id was found, return 0.") from None
        raise


def _check_chunks(answer):
    for n, size, overlap in ((10, 4, 1), (10, 4, 2), (11, 4, 1), (7, 3, 0), (3, 5, 2), (9, 5, 4)):
        tokens = [100 + i for i in range(n)]
        shown = f"chunks({n} tokens, size={size}, overlap={overlap})"
        _check_windows(_windows(call(answer, list(tokens), size, overlap, shown=shown), shown),
                       tokens, size, overlap, shown)  # fmt: skip
    for size, overlap in ((4, 4), (4, 6)):
        _check_refusal(answer, size, overlap)
    return (
        "every token is in a window, neighbours share the overlap, and the impossible is refused."
    )


def _windows(found, shown):
    try:
        windows = [list(window) for window in found]
        return [[int(token) for token in window] for window in windows]
    except (TypeError, ValueError):
        raise NotYetError(
            f"{shown} returned {show(found)}; return a list of windows, each a list of tokens."
        ) from None


def _check_windows(windows, tokens, size, overlap, shown):
    if not windows:
        raise NotYetError(f"{shown} returned no window at all.")
    lost = [token for token in tokens if token not in {t for window in windows for t in window}]
    if lost:
        place = "at the end " if lost == tokens[-len(lost) :] else ""
        raise NotYetError(
            f"{shown} loses {len(lost)} of the tokens {place}({show(lost)}): the last window may "
            "be shorter than size."
        )
    for window in windows:
        if len(window) > size:
            raise NotYetError(f"{shown} has a window of {len(window)} tokens; size is the most.")
    for before, after in pairwise(windows):
        shared = len(set(before) & set(after))
        if shared != overlap:
            raise NotYetError(
                f"{shown}: the windows {before} and {after} share {shared} tokens, and overlap "
                f"is {overlap}. How far does each window start after the last?"
            )
    if len(windows) > 1 and set(windows[-1]) <= set(windows[-2]):
        raise NotYetError(
            f"{shown}: the last window {windows[-1]} holds only tokens that the one before has; "
            "stop once a window reaches the end."
        )
    step = size - overlap
    expected = [tokens[i : i + size] for i in range(0, max(len(tokens) - overlap, 1), step)]
    if windows != expected:
        raise NotYetError(f"{shown} gave {show(windows)}, and {show(expected)} is right.")


def _check_refusal(answer, size, overlap):
    shown = f"chunks(10 tokens, size={size}, overlap={overlap})"
    try:
        found = call(answer, list(range(10)), size, overlap, shown=shown)
    except NotYetError as reason:
        if isinstance(reason.__cause__, ValueError):
            return
        raise NotYetError(
            f"{reason} With an overlap as large as the size no window moves on: raise a ValueError "
            "that says so."
        ) from None
    raise NotYetError(
        f"{shown} returned {show(found)}; an overlap as large as the size leaves no way to move "
        "on, so raise a ValueError."
    )


def _check_smallest_config(answer):
    import pandas as pd

    # The index is not 0, 1, 2 …, so that a place and a label cannot be mixed up unseen.
    table = pd.DataFrame(
        {
            "name": ["float32", "binary", "int8", "first 64", "first 128"],
            "recall": [1.0, 0.72, 0.98, 0.81, 0.93],
            "bytes": [1536, 48, 384, 256, 512],
        },
        index=[20, 50, 10, 40, 30],
    )
    for floor, true in ((0.9, "int8"), (0.81, "first 64"), (0.5, "binary"), (0.99, "float32")):
        shown = f"smallest_config(table, {floor})"
        _compare_config(call(answer, table.copy(), floor, shown=shown), true, table, floor, shown)
    _check_none_qualifies(answer, table)
    return "the fewest bytes among those that reach the floor, and None where none does."


def _compare_config(found, true, table, floor, shown):
    if hasattr(found, "index") and hasattr(found, "iloc"):
        raise NotYetError(f"{shown} returned a row or a column of the table; return one name.")
    if isinstance(found, (list, tuple, np.ndarray)):
        raise NotYetError(f"{shown} returned {show(found)}; return one name, not a list.")
    if isinstance(found, str) and found == true:
        return
    row = table.set_index("name").loc[true]
    if not isinstance(found, str):
        raise NotYetError(
            f"{shown} returned {show(found)}, which is not a name; return what stands under name."
        )
    if found not in set(table["name"]):
        raise NotYetError(f"{shown} returned {found!r}, a name that the table does not have.")
    chosen = table.set_index("name").loc[found]
    if chosen["recall"] < floor:
        raise NotYetError(
            f"{shown} chose {found!r}, whose recall of {chosen['recall']} is below the floor: keep "
            "the rows that reach it first."
        )
    if row["recall"] == floor:
        raise NotYetError(
            f"{shown} passed over {true!r}, which is exactly at the floor: at least means >=."
        )
    if chosen["recall"] == table["recall"].max():
        raise NotYetError(
            f"{shown} chose {found!r}, the best recall; the fewest bytes that reach the floor are "
            "asked for."
        )
    raise NotYetError(
        f"{shown} chose {found!r} with {chosen['bytes']} bytes; {true!r} reaches the floor too, "
        f"with {row['bytes']}."
    )


def _check_none_qualifies(answer, table):
    few = table[table["recall"] < 0.99]
    shown = "smallest_config(table, 0.99), where no row reaches it,"
    try:
        found = call(answer, few.copy(), 0.99, shown=shown)
    except NothingReturnedError:
        return
    except NotYetError as reason:
        raise NotYetError(f"{reason} Return None there.") from None
    raise NotYetError(f"{shown} returned {show(found)}; return None there.")


EXERCISES = {
    "1.1": Exercise(
        _check_cosine,
        (
            "The dot product grows with the vectors' lengths. What takes the lengths out again?",
            "A vector's length is the square root of the sum of its squared values.",
            "Divide the sum of a * b by the length of a times the length of b.",
        ),
    ),
    "1.2": Exercise(
        _check_top_k,
        (
            "matrix @ query_vector gives every row's score at once, for rows of unit length.",
            "np.argsort gives row numbers, lowest score first.",
            "Sort the negated scores, and keep the first k row numbers.",
        ),
    ),
    "1.3": Exercise(
        _check_reciprocal_rank,
        (
            "Walk through found_ids from the start and stop at the first id that is relevant.",
            "enumerate(found_ids, start=1) counts ranks the way the formula does.",
            "Return 1 / rank inside the loop, and 0 after it, for when nothing was found.",
        ),
    ),
    "1.4": Exercise(
        _check_chunks,
        (
            "Each window starts size - overlap tokens after the last one. When is that 0 or less?",
            "A slice may reach past the end: tokens[8:12] of 10 tokens is the last two.",
            "No window needs to start in the last overlap tokens, which the window before already "
            "holds: let starts run over range(0, max(len(tokens) - overlap, 1), size - overlap).",
        ),
    ),
    "1.5": Exercise(
        _check_smallest_config,
        (
            'table[table["recall"] >= floor] keeps the rows that qualify.',
            "Sort what is left by bytes and take the first row's name; but is any left?",
        ),
    ),
}
