"""The exercises of lesson 4 accept right answers and name what is wrong with others."""

import re
from itertools import combinations, permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.bias import LinearEraser, counterfactual_retrieval, weat
from course_utils.bias.associations import association as package_association
from course_utils.encoding.embedders import as_embedder
from course_utils.exercises import check, lesson4
from course_utils.exercises import lesson4_partition as partition


def association(word, A, B):
    def mean_cosine(rows):
        return (rows @ word / (np.linalg.norm(rows, axis=1) * np.linalg.norm(word))).mean()

    return mean_cosine(A) - mean_cosine(B)


def effect_size(x_scores, y_scores):
    return (x_scores.mean() - y_scores.mean()) / np.concatenate([x_scores, y_scores]).std(ddof=1)


def exact_p(x_scores, y_scores):
    pooled, size = np.concatenate([x_scores, y_scores]), len(x_scores)
    seen = x_scores.sum()
    sums = [pooled[list(rows)].sum() for rows in combinations(range(len(pooled)), size)]
    return np.mean([total >= seen - 1e-12 for total in sums])


def remove_direction(matrix, direction):
    unit = direction / np.linalg.norm(direction)
    rest = matrix - np.outer(matrix @ unit, unit)
    return rest / np.linalg.norm(rest, axis=1, keepdims=True)


def exposure(groups_in_ranked_order, group):
    own = total = 0
    for rank, each in enumerate(groups_in_ranked_order, start=1):
        weight = 1 / np.log2(rank + 1)
        total += weight
        own += weight * (each == group)
    return own / total


SOLUTIONS = {
    "4.1": association,
    "4.2": effect_size,
    "4.3": exact_p,
    "4.4": remove_direction,
    "4.5": exposure,
}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_right_answer_is_ok_and_says_what_is_right_about_it(name):
    result = check(name, SOLUTIONS[name])
    assert result, result
    assert repr(result).startswith(f"[OK] {name}: ")


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(2, 4), st.integers(3, 6))
def test_the_first_three_solutions_together_are_the_packages_weat(seed, n, attributes, d):
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(2, n, d))
    A, B = rng.normal(size=(2, attributes, d))
    x, y = (np.array([association(word, A, B) for word in words]) for words in (X, Y))
    assert x == pytest.approx(package_association(X, A, B))
    result = weat(X, Y, A, B)
    assert effect_size(x, y) == pytest.approx(result.effect_size)
    assert result.exact
    assert exact_p(x, y) == pytest.approx(result.p_value)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_solution_of_removing_is_the_packages_eraser(seed, length):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(5, 4))
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    direction = length * rng.normal(size=4)
    eraser = LinearEraser.removing([direction])
    assert remove_direction(matrix, direction) == pytest.approx(eraser.transform(matrix), abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_the_solution_of_exposure_is_the_packages_share_of_attention(seed):
    rng, vectors = np.random.default_rng(seed), {}
    groups = {"one": ["Ada", "Bea", "Cleo"], "two": ["Dan", "Eli"]}
    cvs, adverts = {"1": "{name} cooks", "2": "{name} drives"}, {"a": "cook", "b": "driver"}

    def embed(texts):
        return [vectors.setdefault(text, rng.normal(size=6)) for text in texts]

    found = counterfactual_retrieval(as_embedder(embed), cvs, adverts, groups, k=10, n_resamples=9)
    copies = [
        (text.replace("{name}", name), group)
        for text in cvs.values()
        for group, names in groups.items()
        for name in names
    ]

    def cosine(one, other):
        return np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)

    for group in groups:
        shares = []
        for advert in adverts.values():
            ranked = sorted(copies, key=lambda c, a=advert: -cosine(vectors[a], vectors[c[0]]))
            shares.append(exposure([label for _, label in ranked], group))
        assert found.exposure.loc[group, "share"] == pytest.approx(np.mean(shares))


@settings(deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=12))
def test_the_exposures_of_all_groups_sum_to_one(ranked):
    assert sum(exposure(ranked, group) for group in "abc") == pytest.approx(1)


def association_by_pairs(word, A, B):
    def cosine(one, other):
        return (
            sum(p * q for p, q in zip(one, other, strict=True))
            / (sum(p * p for p in one) * sum(q * q for q in other)) ** 0.5
        )

    means = [sum(cosine(word, row) for row in rows) / len(rows) for rows in (A, B)]
    return means[0] - means[1]


def unit_association(word, A, B):
    word, A, B = (v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (word, A, B))
    return word @ (A.mean(axis=0) - B.mean(axis=0))


def effect_by_statistics(x, y):
    from statistics import mean, stdev

    return (mean(x.tolist()) - mean(y.tolist())) / stdev([*x.tolist(), *y.tolist()])


def p_without_tolerance(x, y):
    pooled = [*x, *y]
    count = total = 0
    for rows in combinations(range(len(pooled)), len(x)):
        other = [pooled[row] for row in range(len(pooled)) if row not in rows]
        statistic = np.mean([pooled[row] for row in rows]) - np.mean(other)
        count += statistic >= np.mean(x) - np.mean(y)
        total += 1
    return count / total


def p_by_orders(x, y):
    orders = [order[: len(x)] for order in permutations([*x, *y])]
    return sum(sum(order) >= sum(x) for order in orders) / len(orders)


def p_by_effects(x, y):
    if np.ptp(np.r_[x, y]) == 0:
        return 1
    pooled = np.r_[x, y]
    masks = [m for m in product([True, False], repeat=len(pooled)) if sum(m) == len(x)]
    effects = [effect_size(pooled[np.array(m)], pooled[~np.array(m)]) for m in masks]
    return np.mean(np.array(effects) >= effect_size(x, y) - 1e-9)


def removed_by_rows(matrix, direction):
    rows = []
    for row in matrix:
        row = row - row.dot(direction) / direction.dot(direction) * direction
        rows.append((row / np.sqrt((row**2).sum())).tolist())
    return rows


def removed_by_projection(matrix, direction):
    d = len(direction)
    projection = np.eye(d) - np.outer(direction, direction) / (direction @ direction)
    rest = matrix @ projection
    return rest / np.linalg.norm(rest, axis=1)[:, None]


def exposure_by_arrays(ranked, group):
    weights = 1 / np.log(np.arange(len(ranked)) + 2)
    return np.float32(weights[np.array(ranked) == group].sum() / weights.sum())


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("4.1", association_by_pairs),
        ("4.1", unit_association),
        ("4.2", effect_by_statistics),
        ("4.3", p_without_tolerance),
        ("4.3", p_by_orders),
        ("4.3", p_by_effects),
        ("4.4", removed_by_rows),
        ("4.4", removed_by_projection),
        ("4.5", exposure_by_arrays),
    ],
)
def test_a_right_answer_may_be_written_another_way(name, answer):
    assert check(name, answer), check(name, answer)


def norm(rows):
    return np.linalg.norm(rows, axis=-1, keepdims=True)


def each(of):
    return lambda word, A, B: of(word, A) - of(word, B)


def cosines(word, rows):
    return (rows / norm(rows)) @ word / np.linalg.norm(word)


def in_place_association(word, A, B):
    A /= norm(A)
    B /= norm(B)
    return association(word, A, B)


def gap(x, y):
    return x.mean() - y.mean()


def both(x, y):
    return np.r_[x, y]


def splits(x, y):
    pooled = both(x, y)
    rows = [list(r) for r in combinations(range(len(pooled)), len(x))]
    return rows, np.array([2 * pooled[r].sum() - pooled.sum() for r in rows]), x.sum() - y.sum()


def counted(p):
    """An exact p from the number at least as far, the number farther, and the number of splits."""

    def answer(x, y):
        _, every, seen = splits(x, y)
        return p((every >= seen - 1e-9).sum(), (every > seen + 1e-9).sum(), len(every))

    return answer


def drawn(x, y, *, rng):
    pooled = both(x, y)
    sums = np.array([rng.permutation(pooled)[: len(x)].sum() for _ in range(997)])
    return ((sums >= x.sum()).sum() + 1) / 998


def with_replacement(x, y):
    rng, pooled = np.random.default_rng(1), both(x, y)
    sums = rng.choice(pooled, size=(997, len(x))).sum(axis=1)
    return (sums >= x.sum()).mean()


def by_luck():
    """Draws that go on from call to call, as those of a generator of the learner's own do."""
    rng = np.random.default_rng(2)
    return lambda x, y: drawn(x, y, rng=rng)


def seeded_draws(x, y):
    return drawn(x, y, rng=np.random.default_rng(0))


def two_sided(x, y):
    _, every, seen = splits(x, y)
    return np.mean(np.abs(every) >= abs(seen))


def half_the_splits(x, y):
    rows, every, seen = splits(x, y)
    return np.mean([s >= seen for r, s in zip(rows, every, strict=True) if 0 in r])


def flipped_pairs(x, y):
    signs = np.array(list(product([1, -1], repeat=len(x))))
    return np.mean((signs * (x - y)).sum(axis=1) >= (x - y).sum())


def all_subsets(x, y):
    signs = np.array(list(product([1, -1], repeat=len(x) + len(y))))
    return np.mean(signs @ both(x, y) >= x.sum() - y.sum())


def rest_by_value(x, y):
    pooled = both(x, y)
    found = [
        sum(chosen) - sum(score for score in pooled if score not in chosen)
        for chosen in combinations(pooled, len(x))
    ]
    return np.mean(np.array(found) >= x.sum() - y.sum())


def only_some_ties(x, y):
    return exact_p(x, y) if np.ptp(both(x, y)) else 0.0


def removing(part, *, scale=True):
    """A removal with one part replaced: what is taken off, and whether rows are scaled after."""

    def answer(matrix, direction):
        rest = matrix - part(matrix, direction)
        return rest / norm(rest) if scale else rest

    return answer


def along(matrix, direction):
    unit = direction / np.linalg.norm(direction)
    return np.outer(matrix @ unit, unit)


def in_place_removal(matrix, direction):
    direction /= np.linalg.norm(direction)
    return remove_direction(matrix, direction)


def fixed_length(matrix, direction):
    return remove_direction(matrix, direction) if len(matrix) == 3 else matrix


def wrong_for_one_row(matrix, direction):
    return remove_direction(matrix, direction) if len(matrix) > 1 else matrix


def weighted(discount, *, share=True):
    def answer(ranked, group):
        weights = 1 / discount(np.arange(1, len(ranked) + 1))
        own = weights[np.array(ranked) == group].sum()
        return own / weights.sum() if share else own

    return answer


def plain_from_zero(ranked, group):
    return sum(1 / float(np.log2(r + 1)) for r, g in enumerate(ranked) if g == group)


def mean_of_members(ranked, group):
    weights = [1 / np.log2(r + 1) for r, g in enumerate(ranked, start=1) if g == group]
    return sum(weights) / len(weights)


def against_others(ranked, group):
    own = exposure(ranked, group)
    return own / (1 - own)


def log2p1(rank):
    return np.log2(rank + 1)


APART = "a standard deviation each"
SLIPS = [
    ("4.1", lambda w, A, B: -association(w, A, B), "sign is turned"),
    ("4.1", lambda w, A, B: cosines(w, A).mean(), "B is missing"),
    ("4.1", lambda w, A, B: cosines(w, A).mean() + cosines(w, B).mean(), "were added"),
    ("4.1", lambda w, A, B: cosines(w, A).mean() / cosines(w, B).mean(), "were divided"),
    ("4.1", each(lambda w, rows: (rows @ w).mean()), "Divide each by both lengths"),
    ("4.1", each(lambda w, rows: (rows @ w).sum()), "dot products, and summed"),
    ("4.1", each(lambda w, rows: (rows / norm(rows) @ w).mean()), "length of word was not"),
    ("4.1", each(lambda w, rows: (rows @ w / norm(w)).mean()), "only that of word"),
    ("4.1", each(lambda w, rows: cosines(w, rows).sum()), "means, not sums"),
    ("4.1", each(lambda w, rows: cosines(w, rows.mean(axis=0)[None])), "mean vector of each set"),
    ("4.1", each(lambda w, rows: cosines(w, (rows / norm(rows)).mean(axis=0)[None])), "mean vector"),
    ("4.1", each(lambda w, rows: (rows @ w / np.linalg.norm(rows) / norm(w)).mean()), "axis=1 it"),
    ("4.1", each(lambda w, rows: (rows / np.linalg.norm(rows, axis=0) @ w / norm(w)).mean()),
     "columns were scaled"),
    ("4.1", each(lambda w, rows: cosines(w, rows).max()), "nearest of each set alone"),
    ("4.1", each(lambda w, rows: norm(rows - w).mean()), "grow where likeness falls"),
    ("4.1", each(lambda w, rows: -norm(rows - w).mean()), "do not depend on lengths"),
    ("4.1", lambda w, A, B: association(w, A, B) / np.r_[cosines(w, A), cosines(w, B)].std(ddof=1),
     "effect size of one word"),
    ("4.1", in_place_association, "work on a copy"),
    ("4.1", each(lambda w, rows: cosines(w, rows)), "ValueError"),
    ("4.1", lambda w, A, B: cosines(w, A), "return one"),
    ("4.1", lambda w, A, B: float("nan"), "divided by 0"),
    ("4.2", lambda x, y: gap(x, y) / both(x, y).std(), r"std\(ddof=1\)"),
    ("4.2", lambda x, y: effect_size(y, x), "sign is turned"),
    ("4.2", gap, "divide it by the standard deviation"),
    ("4.2", lambda x, y: gap(x, y) / both(x, y).var(ddof=1), "variance"),
    ("4.2", lambda x, y: gap(x, y) / both(x, y).var(), "variance"),
    ("4.2", lambda x, y: (x.sum() - y.sum()) / both(x, y).std(ddof=1), "those are sums"),
    ("4.2", lambda x, y: x.sum() - y.sum(), "test statistic"),
    ("4.2", lambda x, y: gap(x, y) / np.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2), APART),
    ("4.2", lambda x, y: gap(x, y) / np.sqrt((x.var() + y.var()) / 2), APART),
    ("4.2", lambda x, y: gap(x, y) / ((x.std(ddof=1) + y.std(ddof=1)) / 2), APART),
    ("4.2", lambda x, y: gap(x, y) / (x.std() + y.std()), APART),
    ("4.2", lambda x, y: x.mean() / x.std() - y.mean() / y.std(), APART),
    ("4.2", lambda x, y: gap(x, y) / x.std(ddof=1), "of one set"),
    ("4.2", lambda x, y: gap(x, y) / y.std(), "of one set"),
    ("4.2", lambda x, y: (x - y).mean() / (x - y).std(ddof=1), "are no pairs"),
    ("4.2", lambda x, y: gap(x, y) / np.sqrt(x.var(ddof=1) / len(x) + y.var(ddof=1) / len(y)),
     "t statistic"),
    ("4.2", lambda x, y: gap(x, y) / (both(x, y).std(ddof=1) / 10**0.5), "standard error"),
    ("4.3", counted(lambda far, farther, all_: farther / all_), ">= and not >"),
    ("4.3", counted(lambda far, farther, all_: farther / (all_ - 1)), "leave it in, above and"),
    ("4.3", counted(lambda far, farther, all_: (far - 1) / (all_ - 1)), "leave it in, above and"),
    ("4.3", counted(lambda far, farther, all_: (far - 1) / all_), "leave it in, above and below"),
    ("4.3", counted(lambda far, farther, all_: (far + 1) / (all_ + 1)), "drawn at random"),
    ("4.3", counted(lambda far, farther, all_: far), "divide by all 20"),
    ("4.3", counted(lambda far, farther, all_: 1 - far / all_), "1 - p"),
    ("4.3", counted(lambda far, farther, all_: 1 - farther / all_), "at most"),
    ("4.3", counted(lambda far, farther, all_: 2 * far / all_), "two-sided"),
    ("4.3", two_sided, "two-sided"),
    ("4.3", half_the_splits, "half of the splits are missing"),
    ("4.3", flipped_pairs, "flips pairs"),
    ("4.3", all_subsets, "keep their sizes"),
    ("4.3", rest_by_value, "by value"),
    ("4.3", by_luck(), "draws at random"),
    ("4.3", with_replacement, "no whole number"),
    ("4.3", seeded_draws, "no whole number"),
    ("4.3", only_some_ties, "exactly as far, and so counts"),
    ("4.3", lambda x, y: x.sort() or exact_p(x, y), "changed the scores"),
    ("4.3", lambda x, y: float("nan"), "gave nan"),
    ("4.4", removing(lambda M, d: np.outer(M @ d, d)), "divide it by its length first"),
    ("4.4", removing(lambda M, d: np.outer(M @ d, d), scale=False), "divide it by its length first"),
    ("4.4", removing(lambda M, d: np.outer(M @ d, d) / norm(d)), "in the other place"),
    ("4.4", removing(along, scale=False), "the vectors are shorter now"),
    ("4.4", along, "take it off the matrix"),
    ("4.4", removing(lambda M, d: -along(M, d)), "was added"),
    ("4.4", removing(lambda M, d: 2 * along(M, d)), "mirrors the vectors"),
    ("4.4", removing(lambda M, d: d), "direction itself was taken off"),
    ("4.4", removing(lambda M, d: d / norm(d), scale=False), "the same was taken off every vector"),
    ("4.4", removing(lambda M, d: along(M, d).mean(axis=0)), "taken off every vector, the mean"),
    ("4.4", lambda M, d: (M - along(M, d)) / np.linalg.norm(M - along(M, d)), "without axis=1"),
    ("4.4", lambda M, d: (M - along(M, d)) / np.linalg.norm(M - along(M, d), axis=0), "the columns"),
    ("4.4", lambda M, d: M, "matrix as it was"),
    ("4.4", lambda M, d: M * [1, 1, 1, 0][: len(d)], "along the direction in one row"),
    ("4.4", lambda M, d: 2 * remove_direction(M, d), "has length 2.000"),
    ("4.4", lambda M, d: remove_direction(M, d)[[1, 0, 2][: len(M)]], "more than the part along"),
    ("4.4", fixed_length, "only where it points may count"),
    ("4.4", wrong_for_one_row, "a matrix of one row too"),
    ("4.4", in_place_removal, "work on a copy"),
    ("4.4", lambda M, d: M @ d, "return \\(3, 4\\)"),
    ("4.4", lambda M, d: "x", "return an array"),
    ("4.4", lambda M, d: M * np.nan, "NaN or an infinity"),
    ("4.5", weighted(log2p1, share=False), "divide it by that of all places"),
    ("4.5", against_others, "what the others get"),
    ("4.5", lambda ranked, group: 1 - exposure(ranked, group), "share of the others"),
    ("4.5", lambda r, g: weighted(log2p1, share=False)(r, g) / len(r), "number of places"),
    ("4.5", mean_of_members, "mean exposure of a member"),
    ("4.5", lambda r, g: exposure(r, g) / (r.count(g) / len(r)), "where groups are treated alike"),
    ("4.5", lambda r, g: r.count(g) / len(r), "share of the list"),
    ("4.5", lambda r, g: exposure(r, g) - r.count(g) / len(r), "that comes after"),
    ("4.5", weighted(lambda rank: rank), "falls faster"),
    ("4.5", weighted(lambda rank: rank + 1), "logarithm is missing"),
    ("4.5", weighted(lambda rank: 1 / np.log2(rank + 1)), "divide by it"),
    ("4.5", weighted(lambda rank: np.log2(rank + 2)), "first discount is log2"),
    ("4.5", weighted(lambda rank: np.log2(rank) + 1), "the 1 goes inside"),
    ("4.5", lambda r, g: r[:3].count(g) / 3, "upper half"),
    ("4.5", weighted(np.log2), "do your ranks start at 1"),
    ("4.5", plain_from_zero, "do your ranks start at 1"),
    ("4.5", lambda r, g: exposure(r, g) if g in r else 1 / 0, "its share is 0"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "reason"), SLIPS)
def test_a_slip_is_named(name, answer, reason):
    result = check(name, answer)
    assert not result
    assert re.search(reason, result.reason), result


@pytest.mark.parametrize("name", SOLUTIONS)
def test_what_is_no_answer_is_told_apart_from_a_wrong_one(name):
    assert "three dots" in check(name, ...).reason
    assert "returned nothing" in check(name, lambda *arguments: None).reason
    assert re.search("not a number|return an array", check(name, lambda *arguments: "x").reason)

    def broken(*arguments):
        raise KeyError("lost")

    assert "KeyError" in check(name, broken).reason


@pytest.mark.parametrize("name", SOLUTIONS)
def test_a_check_leaves_nothing_behind_and_says_the_same_twice(name):
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    assert repr(check(name, SOLUTIONS[name])) == repr(check(name, SOLUTIONS[name]))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


def every_slip():
    association_case = lesson4._WORD, lesson4._A, lesson4._B
    yield association(*association_case), lesson4._association_slips(*association_case)
    scores = lesson4._X_SCORES, lesson4._Y_SCORES
    yield effect_size(*scores), lesson4._effect_slips(*scores)
    scores = np.array(partition._X), np.array(partition._Y)
    yield exact_p(*scores), partition._slips(*scores)
    removal = lesson4._MATRIX, lesson4._DIRECTION
    yield remove_direction(*removal), lesson4._direction_slips(*removal)
    yield exposure(lesson4._RANKED, "a"), lesson4._exposure_slips(lesson4._RANKED, "a")


@pytest.mark.parametrize("place", range(5))
def test_no_slip_hides_another_or_the_right_answer(place):
    """Every slip's value differs from the right one and from those of the slips before it."""
    right, slips = list(every_slip())[place]
    assert not any(np.allclose(value, right, rtol=1e-3) for value, _ in slips)
    for (one, first), (other, second) in combinations(slips, 2):
        assert first == second or not np.allclose(one, other, rtol=1e-3), (first, second)
