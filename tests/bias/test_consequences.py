"""Counterfactual retrieval: planted shifts are found at their size, and nothing where nothing is."""

import math

import numpy as np
import pandas as pd
import pytest

from course_utils.bias.consequences import counterfactual_retrieval
from course_utils.encoding.embedders import as_embedder

NAMES = {"one": [f"A{i}" for i in range(8)], "two": [f"B{i}" for i in range(8)]}
ADVERTS = {f"ad{i}": f"advert {i}" for i in range(3)}
CVS = {f"cv{i}": f"cv {i} of {{name}}. Signed, {{name}}" for i in range(5)}


def planted(effect, *, names=NAMES, adverts=ADVERTS, cvs=CVS, seed=0):
    """Return an embedder whose cosine of advert and CV is base[advert, cv] + effect(name), exactly.

    Adverts are axes; a CV has its cosines on them, and an axis of its own takes up the length.
    """
    base = np.random.default_rng(seed).uniform(0.1, 0.5, size=(len(adverts), len(cvs)))
    vectors = {text: np.eye(len(adverts) + 1)[i] for i, text in enumerate(adverts.values())}
    for c, text in enumerate(cvs.values()):
        for name in (name for listed in names.values() for name in listed):
            cosines = base[:, c] + effect(name)
            vectors[text.replace("{name}", name)] = np.append(
                cosines, math.sqrt(1 - cosines @ cosines)
            )
    return base, as_embedder(lambda texts: np.stack([vectors[text] for text in texts]))


def run(effect, *, names=NAMES, adverts=ADVERTS, cvs=CVS, data_seed=0, **options):
    base, model = planted(effect, names=names, adverts=adverts, cvs=cvs, seed=data_seed)
    options = {"n_resamples": 499} | options
    return base, counterfactual_retrieval(model, cvs, adverts, names, **options)


def group_of(name, names=NAMES):
    return next(group for group, listed in names.items() if name in listed)


def test_a_planted_shift_is_found_at_its_size():
    _, found = run(lambda name: 0.02 * (name[0] == "A"))
    swaps = found.swaps
    # 0.02 apart, so each group is half of that from the mean of the two.
    assert swaps.loc["one", "score_change"] == pytest.approx(0.01, abs=1e-5)
    assert swaps.loc["two", "score_change"] == pytest.approx(-0.01, abs=1e-5)
    assert swaps.loc["one", "score_low"] == pytest.approx(0.01, abs=1e-5)  # the same for every CV
    assert (swaps["p_value"] <= 0.002 + 1e-9).all()  # (0 + 1)/(499 + 1) at the least
    assert swaps.loc["one", "rank_change"] <= 0 <= swaps.loc["two", "rank_change"]
    assert found.exposure.loc["one", "excess"] > 0.1
    assert found.exposure.loc["one", "p_value"] <= 0.002 + 1e-9


def test_where_names_change_nothing_nothing_is_found():
    _, found = run(lambda name: 0.0)
    assert np.allclose(found.items[["score_change", "rank_change"]], 0, atol=1e-9)
    assert np.allclose(found.exposure[["excess", "low", "high"]], 0, atol=1e-9)
    assert (found.swaps["p_value"] == 1).all()
    assert (found.exposure["p_value"] == 1).all()


def test_names_that_differ_by_chance_raise_no_alarm_more_often_than_said():
    alarms = np.zeros(2)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        effects = {name: rng.normal() * 0.02 for listed in NAMES.values() for name in listed}
        _, found = run(effects.get, n_resamples=199, data_seed=seed, k=20, seed=seed)
        alarms += [
            found.swaps.loc["one", "p_value"] <= 0.05, found.exposure.loc["one", "p_value"] <= 0.05
        ]  # fmt: skip
    assert (alarms <= 8).all()  # P(more) < 0.005 for a binomial of 60 at 0.05


def uneven():
    names = {"x": ["Ax", "Bx", "Cx"], "y": ["Ay", "By"], "z": ["Az", "Bz", "Cz", "Dz"]}
    rng = np.random.default_rng(7)
    effects = {name: round(rng.normal() * 0.03, 3) for listed in names.values() for name in listed}
    return names, effects


def test_scores_and_ranks_agree_with_counting_one_by_one():
    names, effects = uneven()
    base, found = run(effects.get, names=names)
    mean_effect = {g: np.mean([effects[n] for n in listed]) for g, listed in names.items()}
    middle = np.mean(list(mean_effect.values()))
    for a, advert in enumerate(ADVERTS):
        ranks = {}
        for c, cv in enumerate(CVS):
            for group, listed in names.items():
                row = found.items.loc[(advert, cv, group)]
                assert row["score"] == pytest.approx(base[a, c] + mean_effect[group], abs=1e-5)
                assert row["score_change"] == pytest.approx(mean_effect[group] - middle, abs=1e-5)
                ranks[cv, group] = np.mean(
                    [
                        1
                        + sum(
                            base[a, o] + middle > base[a, c] + effects[name]
                            for o in range(5)
                            if o != c
                        )
                        for name in listed
                    ]
                )
                assert row["rank"] == pytest.approx(ranks[cv, group])
            mean = np.mean([ranks[cv, group] for group in names])
            for group in names:
                assert found.items.loc[(advert, cv, group), "rank_change"] == pytest.approx(
                    ranks[cv, group] - mean
                )


@pytest.mark.parametrize("k", [1, 4, 45, 1000])
def test_exposure_agrees_with_walking_down_each_list(k):
    names, effects = uneven()
    base, found = run(effects.get, names=names, k=k)
    shares = {group: [] for group in names}
    for a in range(len(ADVERTS)):
        copies = [(base[a, c] + effects[n], group_of(n, names)) for c in range(5) for n in effects]
        copies.sort(reverse=True)
        attention = dict.fromkeys(names, 0.0)
        for place, (_, group) in enumerate(copies[:k], start=1):
            attention[group] += 1 / math.log2(place + 1)
        total = sum(attention.values())
        for group in names:
            shares[group].append(attention[group] / total)
    for group, listed in names.items():
        row = found.exposure.loc[group]
        assert row["share"] == pytest.approx(np.mean(shares[group]))
        assert row["even"] == pytest.approx(len(listed) / 9)
        assert row["excess"] == pytest.approx(row["share"] - row["even"])
        assert row["low"] <= row["excess"] <= row["high"]
    assert found.exposure["share"].sum() == pytest.approx(1)


def test_copies_that_tie_share_what_their_places_get():
    # One CV's 4 names tie; three places count. Each copy gets a quarter of all the attention.
    names = {"x": ["A", "B"], "y": ["C", "D"]}
    _, found = run(lambda name: 0.0, names=names, k=3)
    assert np.allclose(found.exposure["share"], 0.5)


def test_the_p_value_agrees_with_all_divisions_of_the_names():
    from itertools import combinations

    names = {"x": ["A1", "A2", "A3", "A4"], "y": ["B1", "B2", "B3", "B4"]}
    effects = dict(
        zip(["A1", "A2", "A3", "A4", "B1", "B2", "B3", "B4"], [9, 7, 3, 5, 4, 1, 2, 6], strict=True)
    )
    _, found = run(lambda name: effects[name] / 1000, names=names, n_resamples=20_000)
    every = list(effects.values())
    gaps = [2 * sum(every[i] for i in chosen) - sum(every) for chosen in combinations(range(8), 4)]
    exact = np.mean([abs(gap) >= abs(sum(every[:4]) - sum(every[4:])) for gap in gaps])
    # The standard error of 20,000 draws is below 0.0036.
    assert found.swaps.loc["x", "p_value"] == pytest.approx(exact, abs=0.015)


def test_the_interval_redraws_cvs_and_not_adverts():
    from course_utils.metrics import bootstrap_interval

    names, effects = uneven()
    _, found = run(effects.get, names=names, seed=3)
    changes = found.items.xs("y", level="group")["rank_change"]
    by_cv = changes.groupby(level="cv").mean().reindex(list(CVS))
    # Equal sizes, so that redrawing CVs whole is redrawing their means.
    assert tuple(found.swaps.loc["y", ["rank_low", "rank_high"]]) == pytest.approx(
        bootstrap_interval(by_cv, seed=3)
    )


def test_the_same_seed_gives_the_same_result_and_the_order_of_groups_does_not_matter():
    names, effects = uneven()
    runs = [
        run(effects.get, names=order, n_resamples=999)[1]
        for order in (names, names, dict(reversed(names.items())))
    ]
    pd.testing.assert_frame_equal(runs[0].swaps, runs[1].swaps)
    pd.testing.assert_frame_equal(runs[0].exposure, runs[1].exposure)
    plain = ["score_change", "rank_change"]
    pd.testing.assert_frame_equal(runs[0].swaps[plain], runs[2].swaps.loc[list(names), plain])
    assert "3 adverts, 5 cvs, 9 names, 3 groups, k=10" in repr(runs[0])


def test_braces_of_other_kinds_are_left_as_they_are():
    seen = []

    def embed(texts):
        seen.extend(texts)
        return [[len(text), text.count("x"), 1.0] for text in texts]

    cvs = {"a": "{name} knows {x} and {0}", "b": "{{name}} %s"}
    counterfactual_retrieval(
        as_embedder(embed), cvs, {"p": "x", "q": "xx"}, {"g": ["Jo", "<b>"], "h": ["Al", "Vi"]}
    )
    assert "Jo knows {x} and {0}" in seen
    assert "{<b>} %s" in seen


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cvs": {"a": "{name}", "b": "none"}}, r"cvs\['b'\] has no \{name\}"),
        ({"cvs": {"a": "{name}"}}, "cvs holds 1"),
        ({"cvs": ["{name}"]}, "dict id -> text"),
        ({"adverts": {"a": "x", "b": " "}}, r"adverts\['b'\] is no text"),
        ({"adverts": {"a": "x"}}, "adverts holds 1"),
        ({"names": {"g": ["A", "B"]}}, "two groups"),
        ({"names": {"g": ["A", "B"], "h": ["C"]}}, "two names"),
        ({"names": {"g": ["A", "B"], "h": "CD"}}, "two names"),
        ({"names": {"g": ["A", "B"], "h": ["C", "A"]}}, "'A' is listed for 'g' and for 'h'"),
        ({"names": {"g": ["A", "B"], "h": ["C", ""]}}, "no name"),
        ({"names": {"g": ["A", "B"], "h": ["C", "x" * 1_000_000]}}, "no name"),
        ({"k": 0}, "k is 0"),
        ({"n_resamples": 0}, "n_resamples is 0"),
        ({"k": 2.5}, "k is 2.5"),
    ],
)
def test_what_cannot_be_compared_is_refused(change, message):
    options = {"cvs": CVS, "adverts": ADVERTS, "names": NAMES} | change
    positional = [options.pop(what) for what in ("cvs", "adverts", "names")]
    with pytest.raises(ValueError, match=message):
        counterfactual_retrieval(as_embedder(len), *positional, **options)


def test_on_the_real_model_the_cache_serves_every_copy(minilm, tmp_path):
    from course_utils.encoding.cache import EmbeddingCache

    cvs = {"nurse": "{name}. Nurse on a ward.", "cook": "{name}. Cook in a canteen."}
    adverts = {"ward": "A hospital seeks a nurse.", "canteen": "We look for a cook."}
    names = {"one": ["Emily", "Anne"], "two": ["Greg", "Todd"]}
    with EmbeddingCache(tmp_path / "cache.sqlite") as cache:
        first, again = (
            counterfactual_retrieval(minilm, cvs, adverts, names, cache=cache) for _ in range(2)
        )
    pd.testing.assert_frame_equal(first.items, again.items)
    # Whatever the name: the nurse first for the ward, the cook for the canteen.
    best = first.items.groupby(level=["advert", "cv"])["rank"].mean()
    assert best["ward", "nurse"] < best["ward", "cook"]
    assert best["canteen", "cook"] < best["canteen", "nurse"]
