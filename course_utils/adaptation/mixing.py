"""What to train on, made of what is there: spans of a text as its partner, kinds of pairs mixed."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

Pair = tuple[str, str]


def crop_pairs(
    texts: Iterable[str], *, shares: tuple[float, float] = (0.3, 0.7), seed: int = 0
) -> list[Pair]:
    """Return a pair for each text: a span of its words, cut out at random, and the text itself.

    The span holds a share of the words drawn evenly between the two ``shares``, three words at
    least; it may lie anywhere. A text of fewer than four words gives no pair: nothing would be cut.

    Such pairs need no structure. Gao et al. 2021 (*SimCSE*) compare crops with other ways to make a
    partner out of one text.

    Raises ``ValueError`` for shares that do not rise from above 0 to below 1.

    >>> crop_pairs(["Nose bleeding is called epistaxis."])
    [('bleeding is called', 'Nose bleeding is called epistaxis.')]
    """
    low, high = shares
    if not 0 < low <= high < 1:
        raise ValueError(f"shares is {shares}: give two that rise from above 0 to below 1.")
    rng = random.Random(seed)
    pairs = []
    for text in texts:
        words = text.split()
        if len(words) < 4:
            continue
        size = max(3, round(len(words) * rng.uniform(low, high)))
        start = rng.randint(0, len(words) - size)
        pairs.append((" ".join(words[start : start + size]), text))
    return pairs


def mix_pairs(*kinds: Sequence[Pair], most: int = 1, seed: int = 0) -> list[Pair]:
    """Return pairs of all ``kinds`` in a random order, so that no kind drowns the others.

    Of a kind, at most ``most`` times as many are taken as the smallest kind holds, drawn at random
    without repeating.

    Raises ``ValueError`` for an empty kind, naming its number, and for ``most`` below 1.

    >>> len(mix_pairs([("a", "b")] * 500, [("c", "d")] * 20))
    40
    """
    if most < 1:
        raise ValueError(f"most is {most}: take at least as many as the smallest kind holds.")
    for number, kind in enumerate(kinds):
        if not kind:
            raise ValueError(f"Kind {number} holds no pairs: leave it out.")
    rng = random.Random(seed)
    limit = most * min(map(len, kinds), default=0)
    pairs = [pair for kind in kinds for pair in rng.sample(kind, min(limit, len(kind)))]
    rng.shuffle(pairs)
    return pairs
