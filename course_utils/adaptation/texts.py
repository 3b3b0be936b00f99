"""The texts of a run: checked, each once, cut where the run cuts, and none of the exam's."""

import hashlib
import json
import warnings
from dataclasses import dataclass

import numpy as np

_AT_ONCE = 2048  # texts tokenised in one call
_MANY = 0.1  # the share of texts that may be cut without a warning; the result counts them anyway


@dataclass(frozen=True, eq=False)
class Corpus:
    """The texts that a run trains on, ready to be drawn from.

    ``sentences`` and ``pairs`` hold each text or pair once, cut to the run's limit; ``lengths``,
    ``pair_lengths`` and ``general_lengths`` count tokens; ``vocabulary`` holds the ids of the tokens
    that occur in the sentences, in rising order. ``counts`` says what was given, kept and cut;
    ``fingerprints`` tells sentences, pairs and general sentences, as they were given, from others.
    """

    sentences: list[str]
    lengths: np.ndarray
    pairs: list[tuple[str, str]]
    pair_lengths: np.ndarray
    general: list[str]
    general_lengths: np.ndarray
    vocabulary: np.ndarray
    counts: dict[str, int]
    fingerprints: dict[str, str]


def prepare_texts(tokenizer, sentences, pairs, general, config, limit, *, warn=True):
    """Return the ``Corpus`` of a run; texts of more than ``limit`` tokens are cut, and counted.

    Where that befalls more than a tenth of the sentences and pairs, it is a ``UserWarning``.

    Raises ``TypeError`` and ``ValueError``, by index, for what is no text or blank; ``ValueError``
    for fewer than two different sentences or pairs, and for a weight without its texts.
    """
    sentences = _checked("sentences", sentences) if config.needs_sentences else []
    pairs = _checked_pairs(pairs, config)
    general = _checked("general", general or [])
    if config.distil_weight and not general:
        raise ValueError(
            "distil_weight is above 0, but there are no general sentences to keep in place. Pass "
            "general=[...], or set distil_weight=0."
        )
    kept, kept_pairs = list(dict.fromkeys(sentences)), list(dict.fromkeys(pairs))
    if config.needs_sentences:
        _refuse_few("sentences", "sentence", sentences, kept)
    if config.pairs_weight:
        _refuse_few("pairs", "pair", pairs, kept_pairs)
    given = {"sentences": sentences, "pairs": pairs, "general": general}
    cutter = _Cutter(tokenizer, limit)
    kept, lengths = cutter(kept)
    vocabulary = np.flatnonzero(cutter.seen)
    sides, side_lengths = cutter([text for pair in kept_pairs for text in pair])
    # General sentences are only held in place, so what is cut of them is no loss: not told below.
    cut, total, longest = cutter.cut, cutter.total, cutter.longest
    general, general_lengths = cutter(general)
    counts = {
        "sentences given": len(sentences),
        "sentences used": len(kept),
        "pairs given": len(pairs),
        "pairs used": len(kept_pairs),
        "general sentences": len(general),
        "texts cut": cutter.cut,
    }
    if warn and cut > _MANY * total:
        warnings.warn(
            f"{cut} of {total} texts have more than {limit} tokens (the longest has {longest}); what "
            "lies beyond is not trained on. Split them into sentences, or raise max_tokens.",
            UserWarning,
            stacklevel=3,
        )
    return Corpus(
        kept,
        lengths,
        list(zip(sides[::2], sides[1::2], strict=True)),
        np.maximum(side_lengths[::2], side_lengths[1::2]),
        general,
        general_lengths,
        vocabulary,
        counts,
        {name: _fingerprint(texts) for name, texts in given.items()},
    )


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


def _checked_pairs(pairs, config):
    if not config.pairs_weight:
        return []
    if not pairs:
        raise ValueError(
            "pairs_weight is above 0, but there are no pairs. Pass pairs=[(text, text), ...], such "
            "as (title, body) or (term, definition), or set pairs_weight=0."
        )
    checked = []
    for index, pair in enumerate(pairs):
        if isinstance(pair, str) or len(pair) != 2:
            raise TypeError(f"pairs[{index}] is {short(repr(pair))}, not two texts.")
        for side, text in enumerate(pair):
            _check_text(f"pairs[{index}][{side}]", text)
        checked.append(tuple(pair))
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


def short(text, size=80):
    return text if len(text) <= size else text[: size - 3] + "..."
