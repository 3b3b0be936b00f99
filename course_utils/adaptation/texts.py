"""The texts of a run: checked, each once, cut where the run cuts."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_AT_ONCE = 2048  # texts tokenised in one call
_MANY = 0.1  # the share of texts that may be cut without a warning; the result counts them anyway


@dataclass(frozen=True, eq=False)
class Texts:
    """Sentences or pairs, ready to be drawn from.

    ``rows`` are the n sentences or pairs, cut to the run's limit; ``lengths`` (n,) counts tokens, of
    a pair those of its longer text; ``vocabulary`` holds the ids of the tokens that occur, in rising
    order. ``given`` is what the caller gave, ``cut`` how many of its texts were cut, and
    ``fingerprint`` tells it from other texts.
    """

    rows: list[Any]
    lengths: np.ndarray
    vocabulary: np.ndarray
    given: list[Any]
    cut: int
    fingerprint: str


def prepare_sentences(
    sentences: Iterable[str], tokenizer: Any, limit: int, *, warn: bool = True
) -> Texts:
    """Return the sentences as ``Texts``: equal ones once, cut after ``limit`` tokens, and counted.

    Where more than a tenth are cut, ``warn`` makes it a ``UserWarning``.

    Raises ``TypeError`` and ``ValueError``, by index, for what is no text or blank; ``ValueError``
    for fewer than two different ones.
    """
    given = _checked("sentences", sentences)
    kept = list(dict.fromkeys(given))
    _refuse_few("sentences", "sentence", given, kept)
    cutter = _Cutter(tokenizer, limit)
    rows, lengths = cutter(kept)
    if warn:
        cutter.tell()
    return cutter.texts(rows, lengths, given)


def prepare_pairs(
    pairs: Iterable[Sequence[str]], tokenizer: Any, limit: int, *, warn: bool = True
) -> Texts:
    """Return the pairs as ``Texts``: equal ones once, both texts cut after ``limit`` tokens.

    Warns and raises as ``prepare_sentences`` does, and ``TypeError`` for what is not two texts.
    """
    given = checked_pairs(pairs)
    kept = list(dict.fromkeys(given))
    _refuse_few("pairs", "pair", given, kept)
    cutter = _Cutter(tokenizer, limit)
    sides, lengths = cutter([text for pair in kept for text in pair])
    if warn:
        cutter.tell()
    rows = list(zip(sides[::2], sides[1::2], strict=True))
    return cutter.texts(rows, np.maximum(lengths[::2], lengths[1::2]), given)


def prepare_general(sentences: Iterable[str], tokenizer: Any, limit: int) -> Texts:
    """Return the sentences that shall stay in place as ``Texts``, cut after ``limit`` tokens.

    They are held where they are and not learnt from, so what is cut of them is no loss to tell of.

    Raises ``TypeError`` and ``ValueError``, by index, for what is no text or blank; ``ValueError``
    if there is none.
    """
    given = _checked("general", sentences)
    if not given:
        raise ValueError(
            "general is empty, so there is nothing to keep in place. Give everyday sentences, or "
            "leave general out."
        )
    cutter = _Cutter(tokenizer, limit)
    rows, lengths = cutter(given)
    return cutter.texts(rows, lengths, given)


class _Cutter:
    """Cuts texts to ``limit`` tokens; counts them, and what it cut; marks the tokens it saw."""

    def __init__(self, tokenizer, limit):
        self.tokenizer, self.limit = tokenizer, limit
        self.seen = np.zeros(len(tokenizer), dtype=bool)
        self.special = len(tokenizer("")["input_ids"])
        self.cut = self.total = self.longest = 0

    def __call__(self, texts):
        """Return the texts, cut, and their numbers of tokens, special ones among them."""
        cut, lengths = [], np.zeros(len(texts), dtype=np.int64)
        for start in range(0, len(texts), _AT_ONCE):
            part = texts[start : start + _AT_ONCE]
            tokens = self._tokenise(part)
            for row, (text, ids) in enumerate(zip(part, tokens["input_ids"], strict=True)):
                length = len(ids) + self.special
                self.longest = max(self.longest, length)
                if length > self.limit:
                    self.cut += 1
                    ids = ids[: self.limit - self.special]
                    text = self._beginning(text, ids, tokens, row)
                lengths[start + row] = len(ids) + self.special
                self.seen[ids] = True
                cut.append(text)
        self.total += len(texts)
        return cut, lengths

    def texts(self, rows, lengths, given):
        """Return the ``Texts`` of what was cut."""
        return Texts(rows, lengths, np.flatnonzero(self.seen), given, self.cut, _fingerprint(given))

    def tell(self):
        """Warn where many texts were cut."""
        if self.cut > _MANY * self.total:
            warnings.warn(
                f"{self.cut} of {self.total} texts have more than {self.limit} tokens (the longest has "
                f"{self.longest}); what lies beyond is not trained on. Split them into sentences, or "
                "raise max_tokens.",
                UserWarning,
                stacklevel=4,
            )

    def _tokenise(self, texts):
        fast = getattr(self.tokenizer, "is_fast", False)
        return self.tokenizer(
            texts,
            add_special_tokens=False,
            truncation=False,
            padding=False,
            return_attention_mask=False,
            return_token_type_ids=False,
            verbose=False,
            **({"return_offsets_mapping": True} if fast else {}),
        )

    def _beginning(self, text, ids, tokens, row):
        """Return the text up to its last kept token, so that noise is drawn on what is rebuilt."""
        if "offset_mapping" in tokens:
            return text[: tokens["offset_mapping"][row][len(ids) - 1][1]].rstrip() or text[:1]
        return self.tokenizer.decode(ids, skip_special_tokens=True)


def _fingerprint(texts):
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()
    return f"{len(texts):,} ({digest[:16]})"


def _checked(name, texts):
    if isinstance(texts, str | bytes):
        raise TypeError(f"{name} is a single string; put it into a list.")
    texts = list(texts)
    for index, text in enumerate(texts):
        _check_text(f"{name}[{index}]", text)
    return texts


def checked_pairs(pairs: Iterable[Sequence[str]]) -> list[tuple[str, str]]:
    """Return the pairs as a list of tuples.

    Raises ``TypeError`` and ``ValueError``, by index, for what is no pair of texts, or blank.
    """
    if isinstance(pairs, str | bytes):
        raise TypeError("pairs is a single string; give a list of (text, text).")
    checked: list[tuple[str, str]] = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or not hasattr(pair, "__len__") or len(pair) != 2:
            raise TypeError(f"pairs[{index}] is {short(repr(pair))}, not two texts.")
        for side, text in enumerate(pair):
            _check_text(f"pairs[{index}][{side}]", text)
        checked.append((pair[0], pair[1]))
    return checked


def _check_text(where, text):
    if not isinstance(text, str):
        raise TypeError(
            f"{where} is of type {type(text).__name__}, not a string. Drop such entries first."
        )
    if not text.strip():
        raise ValueError(f"{where} is blank. Drop blank texts before training.")


def _refuse_few(name, noun, given, kept):
    if not given:
        raise ValueError(f"There are no {name}: give at least two different ones, or better 1,000.")
    if len(kept) < 2:
        what = f"all {len(given)} {name} are the same" if len(given) > 1 else f"one {noun}"
        raise ValueError(
            f"There is nothing to tell apart: {what} ({short(str(kept[0]))!r}). Give at least two "
            "different ones; 1,000 and more teach something."
        )


def short(text: str, size: int = 80) -> str:
    """Return a text, its end left out where it is longer than ``size`` characters.

    >>> short("a very long text", 9)
    'a very...'
    """
    return text if len(text) <= size else text[: size - 3] + "..."
