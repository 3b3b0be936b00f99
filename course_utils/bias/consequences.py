"""What a bias does: the same CVs under other names, ranked for the same adverts.

An association between words harms nobody by itself. A list in which one person stands lower than
another with the same CV might, so this is measured on the list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from course_utils.encoding.encode import encode_document, encode_query
from course_utils.metrics import bootstrap_interval

if TYPE_CHECKING:
    import pandas as pd

    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

_PLACE = "{name}"
_DIGITS = 6  # cosines nearer than that differ by float32's rounding, and count as a tie


@dataclass(frozen=True, eq=False, repr=False)
class CounterfactualRetrieval:
    """What changes in a ranking when only the names on the texts change.

    ``items`` is a DataFrame of one row per (advert, cv, group): ``score``, the mean cosine over the
    group's names; ``score_change``, that less the mean over groups; ``rank``, the mean rank over
    the names, and ``rank_change``, that less the mean over groups (above 0: further down).
    ``swaps`` has a row per group: the means of both changes, each with its interval (``score_low``
    and so on) and the p value of the score's. ``exposure`` has a row per group: ``share`` of the
    attention that the top ``k`` of one common list gets, ``even`` (the group's share of the copies
    in that list), ``excess`` = share - even with its interval, and ``p_value``. Groups are those
    that the caller named, for the caller's reasons; a name says nothing about a person.
    """

    items: pd.DataFrame
    swaps: pd.DataFrame
    exposure: pd.DataFrame
    k: int
    permutations: int
    counts: dict[str, int] = field(default_factory=dict)

    def __repr__(self) -> str:
        counts = ", ".join(f"{number} {what}" for what, number in self.counts.items())
        return f"CounterfactualRetrieval({counts}, k={self.k})"


def counterfactual_retrieval(
    model: AnyEmbedder,
    cvs: Mapping[str, str],
    adverts: Mapping[str, str],
    names: Mapping[str, Sequence[str]],
    *,
    k: int = 10,
    n_resamples: int = 9999,
    seed: int = 0,
    cache: EmbeddingCache | None = None,
) -> CounterfactualRetrieval:
    """Return how scores, ranks and attention change with the name on a CV.

    ``cvs`` maps an id to a text that holds ``{name}`` (any number of times), ``adverts`` an id to
    the text that is searched with, ``names`` a group to its list of names. Every CV is written once
    for every name, each of these copies encoded as a document and each advert as a query, and the
    score of a copy for an advert is the cosine.

    *Swaps*: one CV at a time gets a name, the others keep the mean score that they have over all
    groups. Its rank is 1 plus how many of them score higher, and half of those that score the
    same. Intervals redraw whole CVs: they speak of other CVs under these names.

    *Exposure*: all copies compete in one list an advert. Place r up to ``k`` gets the attention
    1/log2(r + 1), later ones none; copies that tie share what their places get. A group's share is
    its part of the attention, averaged over adverts; with equal treatment it is its part of the
    copies. Copies of one CV stand close together, so choose ``k`` well above the number of names
    if more than the best CV is to count. The interval redraws adverts.

    Both p values ask whether names drawn at random into groups of these sizes would differ so much
    from the rest (two-sided). What is shuffled are names, since a sentence more about the same name
    is no more evidence about the group: (b + 1)/(m + 1) over ``n_resamples`` draws. With 3 names in
    each of two groups it cannot fall below 0.1; give 8 or more.

    Scores that differ by less than 0.000001 count as equal. The same ``seed`` gives the same
    result.

    Raises ``ValueError`` for fewer than two CVs, adverts, groups or names in a group, a CV without
    ``{name}``, a blank text or name, a name that is listed twice, ``k`` < 1, ``n_resamples`` < 1,
    and a name that is longer than 200 characters.

    Source: counterfactual names after Bertrand & Mullainathan 2004; exposure Singh & Joachims 2018,
    section 3.2, with the discount of DCG.

    >>> from course_utils.encoding.embedders import as_embedder
    >>> def embed(texts):  # a model that looks at two words, and prefers one name
    ...     return [["cook" in t, "drive" in t, 0.2 * ("Ann" in t)] for t in texts]
    >>> found = counterfactual_retrieval(
    ...     as_embedder(embed),
    ...     {"1": "{name} can cook", "2": "{name} can drive"},
    ...     {"a": "cook wanted, not Ann", "b": "drive and ask for Ann"},
    ...     {"one": ["Ann", "Anne"], "two": ["Bob", "Bill"]}, k=4)
    >>> bool(found.swaps.loc["one", "score_change"] > 0)
    True
    """
    _check(cvs, adverts, names, k, n_resamples)
    groups = list(names)
    people = [name for group in groups for name in names[group]]
    member = np.repeat(np.arange(len(groups)), [len(names[group]) for group in groups])
    copies = [text.replace(_PLACE, name) for text in cvs.values() for name in people]
    queries = encode_query(model, list(adverts.values()), cache=cache)
    documents = encode_document(model, copies, cache=cache)
    scores = queries.astype(np.float64) @ documents.T.astype(np.float64)
    scores = scores.round(_DIGITS).reshape(len(adverts), len(cvs), len(people))

    drawn = _relabelled(member, n_resamples, seed)
    items = _items(scores, member, list(cvs), list(adverts), groups)
    attention = _attention(scores, k)
    return CounterfactualRetrieval(
        items,
        _swaps(items, scores, member, drawn, groups, seed),
        _exposure(attention, member, drawn, groups, seed),
        int(k),
        int(n_resamples),
        {"adverts": len(adverts), "cvs": len(cvs), "names": len(people), "groups": len(groups)},
    )


def _group_means(values, member, groups):
    """Return the mean over each group's names, (..., names) -> (..., groups)."""
    indicator = np.eye(groups)[member]
    return values @ (indicator / indicator.sum(axis=0))


def _items(scores, member, cvs, adverts, groups):
    import pandas as pd

    by_group = _group_means(scores, member, len(groups))
    usual = by_group.mean(axis=2)
    # A mean of rounded cosines is compared with a rounded cosine: the same tolerance again.
    others = usual.round(_DIGITS)
    ranks = np.ones(scores.shape)
    for other in range(len(cvs)):
        rival = others[:, other, None, None]
        beaten = (rival > scores) + 0.5 * (rival == scores)
        beaten[:, other] = 0
        ranks += beaten
    rank = _group_means(ranks, member, len(groups))
    index = pd.MultiIndex.from_product([adverts, cvs, groups], names=["advert", "cv", "group"])
    columns = {
        "score": by_group,
        "score_change": by_group - usual[:, :, None],
        "rank": rank,
        "rank_change": rank - rank.mean(axis=2, keepdims=True),
    }
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()}, index=index)


def _swaps(items, scores, member, drawn, groups, seed):
    """Return one row per group: mean changes, intervals over CVs, p over names."""
    import pandas as pd

    by_name = scores.mean(axis=(0, 1))
    p_values = _p_values(by_name, member, drawn, len(groups), _less_the_mean)
    rows = {}
    for group, p_value in zip(groups, p_values, strict=True):
        found = items.xs(group, level="group")
        row = {}
        for what in ("score", "rank"):
            changes = found[f"{what}_change"]
            low, high = bootstrap_interval(
                changes, clusters=changes.index.get_level_values("cv"), seed=seed
            )
            row |= {f"{what}_change": changes.mean(), f"{what}_low": low, f"{what}_high": high}
        rows[group] = row | {"p_value": p_value}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _exposure(attention, member, drawn, groups, seed):
    """Return one row per group: its share of the attention (adverts, names), and what is even."""
    import pandas as pd

    shares = attention @ np.eye(len(groups))[member]
    even = np.bincount(member) / len(member)
    p_values = _p_values(attention.mean(axis=0), member, drawn, len(groups), _summed)
    rows = {}
    for number, group in enumerate(groups):
        excess = shares[:, number] - even[number]
        low, high = bootstrap_interval(excess, seed=seed)
        rows[group] = {
            "share": shares[:, number].mean(),
            "even": even[number],
            "excess": excess.mean(),
            "low": low,
            "high": high,
            "p_value": p_values[number],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("group")


def _attention(scores, k):
    """Return each name's part of the attention of each advert's list, (adverts, names)."""
    found = np.zeros((len(scores), scores.shape[2]))
    discounts = np.zeros(scores[0].size)
    places = np.arange(1, min(k, len(discounts)) + 1)
    discounts[: len(places)] = 1 / np.log2(places + 1)
    for advert, block in enumerate(scores):
        _, tied = np.unique(-block.ravel(), return_inverse=True)
        first = np.bincount(tied).cumsum()
        means = np.diff(np.concatenate([[0.0], discounts.cumsum()])[np.r_[0, first]])
        shared = (means / np.bincount(tied))[tied.ravel()]
        found[advert] = shared.reshape(block.shape).sum(axis=0) / discounts.sum()
    return found


def _relabelled(member, n_resamples, seed):
    """Return the groups of the names in random order, (n_resamples, names)."""
    rng = np.random.default_rng(seed)
    return rng.permuted(np.tile(member, (n_resamples, 1)), axis=1)


def _p_values(by_name, member, drawn, groups, excess):
    """Return, for each group, how often names at random are as far from the others."""
    seen = abs(excess(by_name, member[None], groups))[0]
    far = abs(excess(by_name, drawn, groups)) >= seen - 1e-9
    return (far.sum(axis=0) + 1) / (len(drawn) + 1)


def _less_the_mean(by_name, drawn, groups):
    means = _summed(by_name, drawn, groups, even=False) / np.bincount(drawn[0])
    return means - means.mean(axis=1, keepdims=True)


def _summed(by_name, drawn, groups, *, even=True):
    sums = np.stack([(drawn == group) @ by_name for group in range(groups)], axis=1)
    return sums - by_name.sum() * np.bincount(drawn[0]) / len(by_name) if even else sums


def _check(cvs, adverts, names, k, n_resamples):
    for what, given in (("cvs", cvs), ("adverts", adverts)):
        if not hasattr(given, "items"):
            raise ValueError(f"{what} is a {type(given).__name__}. Give a dict id -> text.")
        if len(given) < 2:
            raise ValueError(f"{what} holds {len(given)}. Two are needed to see anything vary.")
        for key, text in given.items():
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{what}[{key!r}] is no text. Give one, or leave it out.")
    without = [key for key, text in cvs.items() if _PLACE not in text]
    if without:
        raise ValueError(f"cvs[{without[0]!r}] has no {_PLACE}. Write it where the name belongs.")
    if not hasattr(names, "items") or len(names) < 2:
        raise ValueError("names needs two groups or more: a dict group -> list of names.")
    seen = {}
    for group, listed in names.items():
        if isinstance(listed, str) or len(listed) < 2:
            raise ValueError(f"names[{group!r}] needs a list of two names or more.")
        for name in listed:
            if not isinstance(name, str) or not name.strip() or len(name) > 200:
                raise ValueError(
                    f"names[{group!r}] holds {str(name)[:40]!r}, which is no name. Give a text of 1 "
                    "to 200 characters."
                )
            if name in seen:
                raise ValueError(
                    f"The name {name!r} is listed for {seen[name]!r} and for {group!r}. Keep it once."
                )
            seen[name] = group
    for what, value in (("k", k), ("n_resamples", n_resamples)):
        if isinstance(value, bool) or int(value) != value or value < 1:
            raise ValueError(f"{what} is {value!r}. Give a whole number from 1 up.")
