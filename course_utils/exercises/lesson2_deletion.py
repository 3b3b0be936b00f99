"""Exercise 2.1: is a function that deletes words the one that TSDAE asks for?

One call shows little, so the answer is called some hundred times and judged by what stays on
average.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.exercises.answers import NotYetError, call, show

_SENTENCE = "every badge opens the gate of its building until midnight"
_DRAWS = 400


def check_delete_words(answer: Callable[..., Any]) -> str:
    """Return praise for a right answer, and raise ``NotYetError`` with the reason for any other."""
    for rate in (0.6, 0.2):
        words = _SENTENCE.split()
        draws = _draws(answer, _SENTENCE, rate, _DRAWS)
        if all(kept == draws[0] for kept in draws):
            raise NotYetError(
                f"with rate {rate} all {_DRAWS} calls returned {show(' '.join(draws[0]))}: draw "
                "anew from rng in every call."
            )
        if draws[:20] != _draws(answer, _SENTENCE, rate, 20):
            raise NotYetError(
                "two generators of the same seed led to different words: draw from rng, and from "
                "nothing else."
            )
        _judge_deletion(np.array([[word in kept for word in words] for kept in draws]), rate)
    if any(kept != ["midnight"] for kept in _draws(answer, "midnight", 0.6, 30)):
        raise NotYetError("of a sentence of one word that word must stay.")
    for kept in _draws(answer, _SENTENCE, 0.0, 5):
        if kept != _SENTENCE.split():
            raise NotYetError(f"with rate 0 only {len(kept)} of 10 words stayed; all of them do.")
    _check_rate_one(answer)
    # One "to" of two is to stay in 64 draws of 200; by deleting it as a word, in none or so.
    repeated = _draws(answer, "to be or not to be", 0.2, 200)
    if sum(kept.count("to") == 1 for kept in repeated) < 25:
        raise NotYetError(
            "in 'to be or not to be' both 'to' go or stay together: decide at each place in the "
            "sentence, not for each different word."
        )
    return "each word goes by a draw of its own, at the rate asked for, and one always stays."


def _draws(answer, sentence, rate, times):
    """Return the words that stayed in each of several calls that share one generator."""
    rng = np.random.default_rng(21)
    shown = f"delete_words({sentence!r}, {rate}, rng)"
    return [
        _words_left(call(answer, sentence, rate, rng, shown=shown), sentence.split(), shown)
        for _ in range(times)
    ]


def _words_left(found, words, shown):
    if isinstance(found, (list, tuple, np.ndarray)):
        raise NotYetError(f'{shown} returned a list; join its words again: " ".join(words).')
    if not isinstance(found, str):
        raise NotYetError(f"{shown} returned {show(found)}; return a sentence.")
    left = found.split()
    if not left:
        raise NotYetError(
            f"{shown} returned an empty text: where every word is drawn for deletion, keep one."
        )
    if not set(left) <= set(words):
        raise NotYetError(f"{shown} returned {show(found)}: {_why_no_words(found, words)}")
    if not _in_order(left, words):
        raise NotYetError(
            f"{shown} returned {show(found)}: its words have changed places. Go through them from "
            "left to right."
        )
    if found != " ".join(left):
        raise NotYetError(
            f"{shown} returned {show(found)}: a word that goes takes its space along."
        )
    return left


def _in_order(parts, whole):
    rest = iter(whole)
    return all(part in rest for part in parts)


def _why_no_words(found, words):
    if re.fullmatch("".join(f"({re.escape(word)})?" for word in words), found):
        return "the words run together. Put a space between them."
    if _in_order(found.replace(" ", ""), " ".join(words)):
        return "characters went, not words. Start with sentence.split()."
    return "it holds something that the sentence does not. Words only go; nothing comes."


def _judge_deletion(kept, rate):
    """Raise a reason unless the matrix (draws, words) looks like independent draws.

    Every limit lies more than five standard errors from what a right answer leads to.
    """
    counts = kept.sum(axis=1)
    share, n = kept.mean(), kept.shape[1]
    if counts.min() == counts.max():
        raise NotYetError(
            f"with rate {rate} exactly {n - counts[0]} of {n} words go in every call. Draw for each "
            "word by itself; then the number varies, and only its mean is set by the rate."
        )
    spread = counts.var() / (n * share * (1 - share))
    if spread > 1.4:
        raise NotYetError("words go or stay together: draw one number for each word, not for all.")
    if abs(share - rate) < 0.04:
        raise NotYetError(
            f"with rate {rate} it keeps {share:.0%} of the words and deletes the rest: rate is the "
            "probability to go, not to stay. Published TSDAE code has had this very slip."
        )
    for word, stays in zip(_SENTENCE.split(), kept.mean(axis=0), strict=True):
        if stays == 1:
            raise NotYetError(f"with rate {rate} the word {word!r} never goes in {_DRAWS} calls.")
    if abs(share - (1 - rate)) > 0.04:
        # One word of n spared before the draws begin adds rate / n to the share that stays.
        spared = abs(share - (1 - rate) - rate / n) < 0.03
        advice = "Spare a word only where all would go." if spared else "Compare draws with rate."
        raise NotYetError(
            f"with rate {rate}, {share:.0%} of the words stay, and {1 - rate:.0%} should. {advice}"
        )
    if spread < 0.6:
        raise NotYetError(
            "the number of words that go varies less than it does with a draw for each word: do "
            "not settle the number first."
        )
    if np.abs(kept.mean(axis=0) - (1 - rate)).max() > 0.13:
        raise NotYetError("some places in the sentence lose their word more often than others.")


def _check_rate_one(answer):
    try:
        draws = _draws(answer, _SENTENCE, 1.0, 5)
    except NotYetError as reason:
        if "come to an end" in str(reason):
            raise NotYetError(
                "with rate 1 it does not come to an end: every new draw deletes all again. Choose "
                "the word that stays instead."
            ) from None
        raise
    for kept in draws:
        if len(kept) != 1:
            raise NotYetError(f"with rate 1 {len(kept)} words stayed; all but one have to go.")
