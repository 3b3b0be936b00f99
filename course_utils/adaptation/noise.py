"""Damage a sentence so that only its meaning can restore it: the input half of TSDAE.

Wang, Reimers and Gurevych (2021), *TSDAE*, section 3: each word is deleted with probability 0.6.
The other three kinds are those that the paper compares deletion with.
"""

import re
import unicodedata
from collections.abc import Sequence
from hashlib import blake2b
from itertools import compress

import numpy as np

KINDS = ("delete", "swap", "mask", "insert")

# Scripts written without spaces: Thai, Lao, Myanmar, Khmer, then Chinese and Japanese with their
# punctuation. Korean puts spaces between its words.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3001-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff]"
)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_CHOOSE, _ARRANGE = 0, 1  # two streams of random numbers: which words, and what becomes of them


def add_noise(
    sentences: Sequence[str],
    *,
    kind: str = "delete",
    rate: float = 0.6,
    seed: int = 0,
    epoch: int = 0,
    mask: str = "[MASK]",
) -> list[str]:
    """Return each sentence with a share of its words deleted, swapped, masked or joined by others.

    ``sentences`` is a list of n non-empty strings; the result is a list of n, never an empty one
    among them. Words are what stands between spaces; text in a script without spaces (Chinese,
    Japanese, Thai, ...) is taken character by character. Words are joined by single spaces again.

    ``rate`` is the *expected share of words chosen in every sentence*. Each word is chosen
    independently, but at least one always stays, so choosing with probability ``rate`` itself would
    fall short in short sentences, by ``rate**n / n`` for n words (seven points at n = 3). The
    probability p is therefore the solution of ``p - p**n / n = rate``; beyond ten words that is
    ``rate`` within 0.1 points. Where even all words but one are too few (n = 2 at 0.6: a half),
    all but one are chosen.

    - ``"delete"``: the chosen words go; those that stay keep their order.
    - ``"mask"``: each chosen word becomes ``mask``, the tokenizer's own mask token.
    - ``"swap"``: the chosen words change places, so that none keeps its own (a single one must).
    - ``"insert"``: after each chosen word comes another word of the same sentence, at random.

    The draw depends on ``seed``, ``epoch`` and the sentence's own text, and on nothing else: not on
    the other sentences, nor on their order. A new ``epoch`` draws anew; for two different copies of
    a sentence in one epoch, give two seeds.

    Raises ``TypeError`` for a single string or an entry that is none, and ``ValueError`` for an
    empty sentence (by its index), an unknown ``kind`` or a ``rate`` outside [0, 1].

    >>> add_noise(["the patient shows a high fever at night"], seed=2)
    ['shows high at night']
    >>> add_noise(["fever"]), add_noise(["a b c"], rate=0)
    (['fever'], ['a b c'])
    """
    _check(sentences, kind, rate)
    if not sentences:
        return []
    split = [_words(index, text) for index, text in enumerate(sentences)]
    counts = np.array([len(words) for words, _ in split])
    keys = np.array([_key(text, seed, epoch) for text in sentences], dtype=np.uint64)
    draws = _uniform(keys, counts, _CHOOSE)
    chosen = _choose(draws, counts, rate)
    if kind in ("swap", "insert"):
        draws = _uniform(keys, counts, _ARRANGE)
    change, end, noised = _CHANGES[kind], 0, []
    for words, groups in split:
        here = slice(end, end := end + len(words))
        noised.append(change(words, groups, chosen[here], draws[here], mask))
    return noised


def _choose(draws, counts, rate):
    """Return which words are chosen: those whose draw is below p, but never a sentence's largest."""
    starts = np.cumsum(counts) - counts
    largest = np.repeat(np.maximum.reduceat(draws, starts), counts)
    probability = np.repeat(_probability(counts, rate), counts)
    return (draws < probability) & (draws < largest)


def _probability(counts, rate):
    """Return, for each number of words n, the p in [0, 1] with p - p**n / n = rate, else 1.

    All n words are below p with probability p**n, and then one of them is spared. The left side
    never falls as p grows, so halving the interval finds p.
    """
    low, high = np.zeros(len(counts)), np.ones(len(counts))
    for _ in range(40):
        middle = (low + high) / 2
        short = middle - middle**counts / counts < rate
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return low if rate == 0 else high


def _key(text, seed, epoch):
    """Return 64 bits that seed, epoch and text determine, on every machine alike."""
    salt = (seed % 2**64).to_bytes(8, "little") + (epoch % 2**64).to_bytes(8, "little")
    digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, salt=salt).digest()
    return int.from_bytes(digest, "little")


def _uniform(keys, counts, stream):
    """Return a number in [0, 1) for each word of each sentence, from the sentence's key alone.

    SplitMix64 (Steele, Lea and Flood 2014, figure 17) as a function of a counter, so that all words
    of all sentences are one array operation and none depends on what was drawn before it.
    """
    starts = np.cumsum(counts) - counts
    place = np.arange(counts.sum()) - np.repeat(starts, counts)
    x = np.repeat(keys, counts) + (2 * place + stream + 1).astype(np.uint64) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x = x ^ (x >> np.uint64(31))
    return (x >> np.uint64(11)) * 2.0**-53


def _words(index, text):
    """Return the words of a text, and for each the number of the spaced group it is part of.

    The numbers are None where every group is one word, which is the rule.
    """
    words = text.split()
    if not words:
        raise ValueError(f"sentences[{index}] holds no word. Drop empty sentences first.")
    if text.isascii() or not _UNSPACED.search(text):
        return words, None
    parts, groups = [], []
    for group, word in enumerate(words):
        for part in _characters(word) if _UNSPACED.search(word) else [word]:
            parts.append(part)
            groups.append(group)
    return parts, groups


def _characters(word):
    """Return the characters of a script without spaces one by one, other runs whole."""
    parts = []
    joined = False  # whether the next character belongs to the run before it
    for character in word:
        unspaced = bool(_UNSPACED.match(character))
        # A vowel sign or an accent belongs to the letter that it is written on.
        if parts and (unicodedata.category(character)[0] == "M" or (joined and not unspaced)):
            parts[-1] += character
        else:
            parts.append(character)
            joined = not unspaced
    return parts


def _join(words, groups):
    if groups is None:
        return " ".join(words)
    spaced = [words[0]]
    for before, group, word in zip(groups, groups[1:], words[1:], strict=False):
        spaced.append(word if group == before else " " + word)
    return "".join(spaced)


def _delete(words, groups, chosen, draws, mask):
    stays = ~chosen
    return _join(list(compress(words, stays)), groups and list(compress(groups, stays)))


def _mask(words, groups, chosen, draws, mask):
    masked = [mask if hidden else word for word, hidden in zip(words, chosen, strict=True)]
    return _join(masked, groups)


def _swap(words, groups, chosen, draws, mask):
    words = list(words)
    places = np.flatnonzero(chosen)
    # One cycle through all chosen places in random order: every one of them gets another's word.
    cycle = places[np.argsort(draws[places])].tolist()
    moved = [words[place] for place in cycle[-1:] + cycle[:-1]]
    for place, word in zip(cycle, moved, strict=True):
        words[place] = word
    return _join(words, groups)


def _insert(words, groups, chosen, draws, mask):
    longer, their_groups = [], []
    guests = (draws * len(words)).astype(int).tolist()
    for place, (word, guest) in enumerate(zip(words, guests, strict=True)):
        new = [word, words[guest]] if chosen[place] else [word]
        longer += new
        their_groups += [groups[place] if groups else place] * len(new)
    return _join(longer, groups and their_groups)


_CHANGES = {"delete": _delete, "mask": _mask, "swap": _swap, "insert": _insert}


def _check(sentences, kind, rate):
    if isinstance(sentences, str):
        raise TypeError("sentences is a single string; put it into a list: add_noise([text]).")
    for index, text in enumerate(sentences):
        if not isinstance(text, str):
            raise TypeError(
                f"sentences[{index}] is of type {type(text).__name__}, not a string. Drop such "
                "entries, or turn them into text, first."
            )
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}; it can be one of {', '.join(KINDS)}.")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; it is a share of the words, from 0 to 1.")
