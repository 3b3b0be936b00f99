"""The exercises accept right answers however they are written, and name what is wrong with others."""

import linecache
import sys
import textwrap

import numpy as np
import pytest

from course_utils.exercises import _EXERCISES as ALL
from course_utils.exercises import check, hint


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def top_k(query_vector, matrix, k):
    return np.argsort(-(matrix @ query_vector))[:k]


def reciprocal_rank(found_ids, relevant_ids):
    for rank, found in enumerate(found_ids, start=1):
        if found in relevant_ids:
            return 1 / rank
    return 0


def chunks(tokens, size, overlap):
    if overlap >= size:
        raise ValueError("overlap must be smaller than size")
    starts = range(0, max(len(tokens) - overlap, 1), size - overlap)
    return [tokens[start : start + size] for start in starts]


def smallest_config(table, floor):
    enough = table[table["recall"] >= floor]
    return None if enough.empty else enough.sort_values("bytes")["name"].iloc[0]


SOLUTIONS = {
    "1.1": cosine,
    "1.2": top_k,
    "1.3": reciprocal_rank,
    "1.4": chunks,
    "1.5": smallest_config,
}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_right_answer_is_ok_and_says_what_is_right_about_it(name):
    result = check(name, SOLUTIONS[name])
    assert result
    assert repr(result).startswith(f"[OK] {name}: ")


def plain_cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return [dot / (sum(x * x for x in a) ** 0.5 * sum(y * y for y in b) ** 0.5)]


def cosine_of_unit_vectors(a, b):
    return np.array([[(a / np.linalg.norm(a)) @ (b / np.linalg.norm(b))]])


def plain_top_k(query_vector, matrix, k):
    scores = [sum(x * y for x, y in zip(row, query_vector, strict=True)) for row in matrix]
    return sorted(range(len(scores)), key=lambda row: -scores[row])[:k]


def nearest_rows(query_vector, matrix, k):
    distances = np.linalg.norm(matrix - query_vector, axis=1)
    return (row for row in distances.argsort(kind="stable")[:k].astype(float))


def growing_chunks(tokens, size, overlap):
    if overlap >= size:
        raise ValueError
    start = 0
    while True:
        yield tuple(tokens[start : start + size])
        if start + size >= len(tokens):
            return
        start += size - overlap


def array_chunks(tokens, size, overlap):
    return [np.array(window) for window in growing_chunks(tokens, size, overlap)]


def looked_for_config(table, floor):
    best = None
    for row in table.itertuples():
        if row.recall >= floor and (best is None or row.bytes < best.bytes):
            best = row
    return best and best.name


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("1.1", plain_cosine),
        ("1.1", cosine_of_unit_vectors),
        ("1.2", plain_top_k),
        ("1.2", nearest_rows),
        ("1.4", growing_chunks),
        ("1.4", array_chunks),
        ("1.5", looked_for_config),
        ("1.3", lambda found, relevant: max((1 / (i + 1) for i, x in enumerate(found) if x in relevant), default=0.0)),
    ],
)  # fmt: skip
def test_a_right_answer_may_be_written_another_way(name, answer):
    assert check(name, answer), check(name, answer)


def norm(a):
    return np.linalg.norm(a)


def zero_based(found_ids, relevant_ids):
    for rank, found in enumerate(found_ids):
        if found in relevant_ids:
            return 1 / rank
    return 0


def last_relevant(found_ids, relevant_ids):
    value = 0
    for rank, found in enumerate(found_ids, start=1):
        if found in relevant_ids:
            value = 1 / rank
    return value


def all_relevant(found_ids, relevant_ids):
    return sum(1 / r for r, found in enumerate(found_ids, start=1) if found in relevant_ids)


def forgets_the_misses(found_ids, relevant_ids):
    for rank, found in enumerate(found_ids, start=1):
        if found in relevant_ids:
            return 1 / rank


def index_of_relevant(found_ids, relevant_ids):
    return 1 / (min(found_ids.index(each) for each in relevant_ids if each in found_ids) + 1)


def share(found_ids, relevant_ids):
    return len(set(found_ids) & relevant_ids) / max(len(found_ids), 1)


def rank_itself(found_ids, relevant_ids):
    return 1 / value if (value := reciprocal_rank(found_ids, relevant_ids)) else 0


def starts(step_of, stop_of=lambda n, size, overlap: n):
    def answer(tokens, size, overlap):
        stops = range(0, stop_of(len(tokens), size, overlap), step_of(size, overlap))
        return [tokens[i : i + size] for i in stops]

    return answer


def endless(tokens, size, overlap):
    start, windows = 0, []
    while True:
        windows.append(tokens[start : start + size])
        if start + size >= len(tokens):
            return windows
        start += size - overlap


def refuses_nothing(tokens, size, overlap):
    return [[]] if overlap >= size else chunks(tokens, size, overlap)


def refuses_by_an_index_error(tokens, size, overlap):
    if overlap >= size:
        raise IndexError("no")
    return chunks(tokens, size, overlap)


def best_recall(table, floor):
    enough = table[table["recall"] >= floor]
    return enough.sort_values("recall")["name"].iloc[-1]


def above_only(table, floor):
    enough = table[table["recall"] > floor]
    return None if enough.empty else enough.sort_values("bytes")["name"].iloc[0]


def raises_when_none(table, floor):
    return table[table["recall"] >= floor].sort_values("bytes")["name"].iloc[0]


SLIPS = [
    ("1.1", lambda a, b: a @ b, "that is the dot product"),
    ("1.1", lambda a, b: norm(a - b), "distance between"),
    ("1.1", lambda a, b: 1 - cosine(a, b), "cosine distance"),
    ("1.1", lambda a, b: a @ b / norm(a), "length of a only"),
    ("1.1", lambda a, b: a @ b / norm(b), "length of b only"),
    ("1.1", lambda a, b: a @ b / (norm(a) + norm(b)), "multiply them"),
    ("1.1", lambda a, b: a @ b / ((a @ a) * (b @ b)), "square root"),
    ("1.1", lambda a, b: np.mean(a * b), "number of values"),
    ("1.1", lambda a, b: np.arccos(cosine(a, b)), "angle itself"),
    ("1.1", lambda a, b: abs(cosine(a, b)), "sign is lost"),
    ("1.1", lambda a, b: a * b, "still have to be summed"),
    ("1.1", lambda a, b: "0.5?", "not a number"),
    ("1.1", lambda a, b: np.nan, "gave nan"),
    ("1.1", cosine(np.ones(2), np.ones(2)), "not a function"),
    ("1.2", lambda q, m, k: np.argsort(m @ q)[:k], "least like the query"),
    ("1.2", lambda q, m, k: np.argsort(m @ q)[-k:], "worst first"),
    ("1.2", lambda q, m, k: np.argsort(-(m @ q))[-k:], "low end"),
    ("1.2", lambda q, m, k: np.sort(m @ q)[::-1][:k], "these are the scores"),
    ("1.2", lambda q, m, k: np.argsort(-(m @ q)), "returned 20 row numbers"),
    ("1.2", lambda q, m, k: np.argsort(-(m @ q))[:k] + 1, "counted from 0"),
    ("1.2", lambda q, m, k: sorted(np.argsort(-(m @ q))[:k]), "not best first"),
    ("1.2", lambda q, m, k: [np.argsort(-(m @ q))[:k]], "one flat list"),
    ("1.2", lambda q, m, k: 3, "list of row numbers"),
    ("1.2", lambda q, m, k: list(range(k)), "it gave rows [0, 1, 2, 3, 4]"),
    ("1.2", lambda q, m, k: top_k(q, m, k) if len(m) > k else [], "all 3, best first"),
    ("1.3", zero_based, "ranks start at 1"),
    ("1.3", rank_itself, "that is the rank, 3"),
    ("1.3", lambda f, r: reciprocal_rank(["pad", *f], r), "one too deep"),
    ("1.3", last_relevant, "the first one counts"),
    ("1.3", all_relevant, "added up"),
    ("1.3", share, "precision"),
    ("1.3", lambda f, r: 0, "compare ids"),
    ("1.3", forgets_the_misses, "return 0 there"),
    ("1.3", index_of_relevant, "Where no relevant id was found, return 0"),
    ("1.4", starts(lambda s, o: s), "share 0 tokens, and overlap is 1"),
    ("1.4", starts(lambda s, o: max(o, 1)), "share 3 tokens, and overlap is 1"),
    ("1.4", starts(lambda s, o: s - o, lambda n, s, o: n - s), "loses 3 of the tokens at the end"),
    ("1.4", starts(lambda s, o: s - o), "holds only tokens that the one before has"),
    ("1.4", lambda t, s, o: [t], "size is the most"),
    ("1.4", lambda t, s, o: [], "no window at all"),
    ("1.4", lambda t, s, o: t, "each a list of tokens"),
    ("1.4", lambda t, s, o: chunks(t, s, o)[::-1], "is right"),
    ("1.4", endless, "does not come to an end"),
    ("1.4", refuses_nothing, "raise a ValueError"),
    ("1.4", refuses_by_an_index_error, "raise a ValueError"),
    ("1.5", best_recall, "the best recall"),
    ("1.5", lambda t, f: t.sort_values("bytes")["name"].iloc[0], "below the floor"),
    ("1.5", lambda t, f: t.set_index("name")["bytes"].idxmax(), "the best recall"),
    ("1.5", above_only, "at least means >="),
    ("1.5", lambda t, f: t[t["recall"] >= f]["bytes"].idxmin(), "not a name"),
    ("1.5", lambda t, f: t[t["recall"] >= f]["bytes"].min(), "not a name"),
    ("1.5", lambda t, f: t[t["recall"] >= f].sort_values("bytes").iloc[0], "return one name"),
    ("1.5", lambda t, f: t[t["recall"] >= f]["name"].tolist(), "not a list"),
    ("1.5", lambda t, f: t["name"].iloc[t[t["recall"] >= f]["bytes"].argmin()], "floor"),
    ("1.5", lambda t, f: "int4", "a name that the table does not have"),
    ("1.5", raises_when_none, "Return None there"),
    ("1.5", lambda t, f: smallest_config(t, f) or "none", "return None there"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "reason"), SLIPS)
def test_a_usual_slip_is_named(name, answer, reason):
    result = check(name, answer)
    assert not result
    assert reason in result.reason
    assert repr(result).startswith(f"[not yet] {name}: ")


@pytest.mark.parametrize("name", ALL)
def test_a_starter_with_its_three_dots_is_kindly_told_so(name):
    assert "three dots" in check(name, ...).reason
    assert "three dots" in check(name, lambda *arguments: ...).reason
    assert "write its body" in check(name, lambda *arguments: None).reason


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("answer", [None, 3, "text", {}, [1], int, print, type, set, lambda: 1])
def test_an_answer_never_raises(name, answer):
    assert not check(name, answer)


@pytest.mark.parametrize("name", SOLUTIONS)
@pytest.mark.parametrize(
    "value", [{}, object(), [[1], [2, 3]], "x", 1j, b"", [None], float("nan"), True, np.zeros((2, 2))],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_a_strange_value_is_not_ok_and_does_not_raise(name, value):
    assert not check(name, lambda *arguments: value)


def test_a_learners_error_is_named_with_its_line():
    cell = textwrap.dedent("""\
        def cosine(a, b):
            length = 0
            return a / missing
        """)
    linecache.cache["cell 7"] = (len(cell), None, cell.splitlines(keepends=True), "cell 7")
    scope = {}
    exec(compile(cell, "cell 7", "exec"), scope)  # noqa: S102
    reason = check("1.1", scope["cosine"]).reason
    assert "NameError in line 3 (return a / missing): name 'missing' is not defined" in reason


def test_a_loop_without_end_is_stopped_even_where_the_learner_catches_exceptions():
    def stubborn(found_ids, relevant_ids):
        while True:
            try:
                len(found_ids)
            except Exception:
                return 0

    assert "does not come to an end" in check("1.3", stubborn).reason


def test_a_check_leaves_the_debugger_as_it_was():
    before = sys.gettrace()
    check("1.4", endless)
    check("1.1", lambda a, b: 1 / 0)
    assert sys.gettrace() is before


def test_an_answer_cannot_change_the_case_it_is_judged_by():
    def spoils_its_input(query_vector, matrix, k):
        rows = top_k(query_vector, matrix, k)
        matrix[:] = 0
        query_vector[:] = 0
        return rows

    assert check("1.2", spoils_its_input)


def test_nothing_a_learner_wrote_reaches_the_page_as_markup():
    result = check("1.1", lambda a, b: "<script>alert(1)</script>")
    assert "<script>" in repr(result)
    assert "<script>" not in result._repr_html_()
    assert "&lt;script&gt;" in result._repr_html_()


@pytest.mark.parametrize("name", ALL)
def test_every_hint_says_something_else_and_there_is_no_fourth(name):
    hints = {str(hint(name, level + 1)) for level in range(len(ALL[name].hints))}
    assert 2 <= len(hints) == len(ALL[name].hints) <= 3
    with pytest.raises(ValueError, match=f"Exercise {name} has hints 1 to {len(hints)}"):
        hint(name, 4)


def test_an_unknown_exercise_is_refused_with_the_list_of_those_there_are():
    with pytest.raises(ValueError, match=r"no exercise '9\.9'; there are 1\.1, 1\.2"):
        check("9.9", cosine)
    with pytest.raises(ValueError, match=r"no exercise '9\.9'"):
        hint("9.9")
