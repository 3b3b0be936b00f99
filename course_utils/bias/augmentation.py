"""Training texts with both sides of a pair in them: swapped copies, or samples of equal size.

What a model has seen as often of a woman as of a man it has no reason to keep for one of them. Both
ways change the texts that ``course_utils.adaptation`` adapts a model to, and leave the model alone.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence

import numpy as np

# Words after which no noun phrase goes on: "saw her yesterday", "gave her the book", "told her to
# wait". Anything else after "her" is taken for the thing she has: "her book", "her old friend".
_SMALL_WORDS = """
    a about across after afterwards again against all along also always am an and another any
    anyway are around as at away back be because been before behind being below beside between both
    but by can could daily did do does down during each either else enough even ever every for
    forward from had has have he her here hers herself him himself his how however if in inside
    instead into is it its just later less like may me might more most much must my near never no
    nor not now of off often on once one only onto or our out outside over past quite rather right
    said says shall she should since so some sometimes soon still than that the their them then
    there these they this those though through throughout till to today together tomorrow tonight
    too toward towards twice under until up upon us very via was we well were what when where
    whether which while who whom whose why will with within without would yesterday yet you your
"""
_ENDS_A_PHRASE = frozenset(_SMALL_WORDS.split())
# Which of several counterparts is meant, by whether a noun follows.
_BEFORE_A_NOUN = {"her": "his", "his": "her"}


def counterfactual_augmentation(
    texts: Iterable[str],
    pairs: Iterable[Sequence[str]],
    *,
    names: Iterable[Sequence[str]] = (),
) -> list[str]:
    """Return the texts, then a swapped copy of each in which a word of ``pairs`` occurs.

    ``texts`` is a list of strings, ``pairs`` of ``(word, counterpart)``: *he* becomes *she* and
    *she* becomes *he* in one go. Only whole words are swapped (*the* holds no *he*), the longest
    entry first (*mother-in-law* before *mother*), and capitals are kept as they stand: *He*, *SHE*.
    ``names`` are pairs of first names; they are swapped the same way, but only where the text has
    their capital, so that *mark* and *grace* stay words.

    English has two pairs of which the counterpart depends on the sentence. Where ``pairs`` gives
    *her* both *his* and *him*, or *his* both *her* and *hers*, the rule is: *his* and *her* before
    a noun phrase (*his old car*), else *him* and *hers*. A phrase is taken to follow unless the
    next thing is the text's end, a punctuation mark or a small word such as *the*, *to*,
    *yesterday*. It is a rule and not a parser: "I saw her run" becomes "I saw his run", "her second
    and his" is right. Read some swapped texts before training on them.

    Raises ``TypeError`` for a single string or an entry that is none, and ``ValueError`` for a
    blank word, one that is its own counterpart, and one with two counterparts other than those.

    Source: Lu et al. 2020, section 4 (counterfactual data augmentation); Hall Maudslay et al. 2019
    (names).

    >>> counterfactual_augmentation(
    ...     ["His sister saw him.", "It rains."],
    ...     [("he", "she"), ("him", "her"), ("his", "her"), ("sister", "brother")])
    ['His sister saw him.', 'It rains.', 'Her brother saw her.']
    """
    given = _checked_texts(texts)
    swapped = map(_swapper(pairs, names), given)
    return given + [new for text, new in zip(given, swapped, strict=True) if new != text]


def balanced(
    texts: Iterable[str], groups: Iterable[Hashable | None], *, seed: int = 0
) -> list[str]:
    """Return the texts with as many of every group, in their own order.

    ``groups`` is one label a text, or None for a text that belongs to no group; those are kept all.
    Of each group as many are drawn, without replacement, as the smallest has. Nothing is
    repeated, so the price is the texts left out.

    Raises ``TypeError`` for a single string or an entry that is none, and ``ValueError`` for
    another number of labels and for fewer than two groups.

    >>> balanced(["he a", "he b", "she c", "rain"], ["m", "m", "f", None])
    ['he b', 'she c', 'rain']
    """
    given, labels = _checked_texts(texts), list(groups)
    if len(labels) != len(given):
        raise ValueError(
            f"groups holds {len(labels)} labels for {len(given)} texts. Give one a text, None for "
            "a text of no group."
        )
    sizes = Counter(group for group in labels if group is not None)
    if len(sizes) < 2:
        raise ValueError(
            f"groups holds {len(sizes)} different labels beside None. Two are needed to balance."
        )
    least = min(sizes.values())
    rng = np.random.default_rng(seed)
    kept = {row for row, group in enumerate(labels) if group is None}
    for group in sizes:
        rows = [row for row, other in enumerate(labels) if other == group]
        kept.update(rng.choice(rows, size=least, replace=False).tolist())
    return [text for row, text in enumerate(given) if row in kept]


def mentioned(
    texts: Iterable[str],
    pairs: Iterable[Sequence[str]],
    *,
    names: Iterable[Sequence[str]] = (),
) -> list[str | None]:
    """Return which side of ``pairs`` each text mentions: ``"first"``, ``"second"`` or None.

    None where neither is mentioned, or both as often. A list for ``balanced``. A word that stands
    on both sides (*her* and *his* in a list may) counts for neither. Raises as
    ``counterfactual_augmentation``.

    >>> mentioned(["He came.", "She and he came.", "It rains."], [("he", "she")])
    ['first', None, None]
    """
    given = _checked_texts(texts)
    listed, called = list(pairs), list(names)
    pattern, _ = _table(listed, called)
    sides = []
    for side in (0, 1):
        words = {_key(pair[side].strip()) for pair in listed}
        bare = [pair[side].strip() for pair in called]
        sides.append(words | {("name", form) for name in bare for form in (name, name.upper())})
    first, second = sides[0] - sides[1], sides[1] - sides[0]
    found = []
    for text in given:
        keys = [{("name", match.group()), _key(match.group())} for match in pattern.finditer(text)]
        lead = sum(bool(key & first) - bool(key & second) for key in keys)
        found.append("first" if lead > 0 else "second" if lead < 0 else None)
    return found


def _swapper(pairs, names):
    pattern, counterparts = _table(list(pairs), list(names))

    def replacement(match):
        word = match.group()
        options = counterparts.get(("name", word)) or counterparts.get(_key(word))
        if options is None:  # a name without its capital
            return word
        if len(options) == 1:
            return _in_the_case_of(word, next(iter(options.values())))
        before_noun = _BEFORE_A_NOUN[word.casefold()]
        other = next(option for option in options if option != before_noun)
        follows = _noun_phrase_follows(match.string[match.end() :])
        return _in_the_case_of(word, options[before_noun if follows else other])

    return lambda text: pattern.sub(replacement, text)


def _table(pairs, names):
    """Return (the pattern that finds every entry, {key: its counterparts in order})."""
    counterparts = {}
    for listed, kind in ((pairs, "word"), (names, "name")):
        for position, pair in enumerate(listed):
            where = f"{'pairs' if kind == 'word' else 'names'}[{position}]"
            one, other = _checked_pair(pair, where)
            for word, counterpart in ((one, other), (other, one)):
                for key in {(kind, word), (kind, word.upper())} if kind == "name" else {_key(word)}:
                    counterparts.setdefault(key, {})[counterpart.casefold()] = counterpart
    if not counterparts:
        raise ValueError("There are no pairs. Give some, say ('he', 'she').")
    for (_, word), options in counterparts.items():
        if len(options) > 1 and not (len(options) == 2 and _BEFORE_A_NOUN.get(word) in options):
            raise ValueError(
                f"{word!r} has the counterparts {' and '.join(map(repr, options))}. Only 'her' "
                "(his, him) and 'his' (her, hers) may have two; keep one pair of the others."
            )
    words = sorted({word for _, word in counterparts}, key=len, reverse=True)
    entries = "|".join(re.escape(word) for word in words)
    return re.compile(rf"(?<!\w)(?:{entries})(?!\w)", re.IGNORECASE), counterparts


def _checked_pair(pair, where):
    pair = (pair,) if isinstance(pair, str) else tuple(pair)
    if len(pair) != 2 or not all(isinstance(word, str) for word in pair):
        raise ValueError(f"{where} is {pair!r}. Give two words.")
    one, other = (word.strip() for word in pair)
    if not one or not other:
        raise ValueError(f"{where} holds a blank word. Give two words.")
    if one.casefold() == other.casefold():
        raise ValueError(f"{where} swaps {one!r} for itself. Give two different words.")
    return one, other


def _key(word):
    return "word", word.casefold()


def _noun_phrase_follows(rest):
    following = re.match(r"\s+[\"'(“‘]?([^\W\d_]+)", rest)
    return following is not None and following.group(1).casefold() not in _ENDS_A_PHRASE


def _in_the_case_of(word, counterpart):
    if word.isupper() and len(word) > 1:
        return counterpart.upper()
    if word[0].isupper():
        return counterpart[0].upper() + counterpart[1:]
    return counterpart.lower() if word.islower() else counterpart


def _checked_texts(texts):
    if isinstance(texts, str):
        raise TypeError("texts is a single string; put it into a list.")
    texts = list(texts)
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"texts[{index}] is a {type(text).__name__}, not a string.")
    return texts
