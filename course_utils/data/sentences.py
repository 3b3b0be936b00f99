"""Running text cut into sentences, by rules simple enough to state."""

import re

# A full stop after one of these does not end a sentence.
_ABBREVIATIONS = ("e.g", "i.e", "etc", "cf", "vs", "al", "fig", "eq", "eqs", "sec", "no", "approx",
                  "resp", "incl", "inc", "ltd", "corp", "dr", "mr", "mrs", "st", "ref", "refs")  # fmt: skip
_END = re.compile(r"[.!?][\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_LAST_WORD = re.compile(r"([A-Za-z][A-Za-z.]*)\.$")


def split_sentences(text: str, *, min_words: int = 1) -> list[str]:
    """Return the sentences of ``text`` in order, with every run of white space made one space.

    A sentence ends at ``.``, ``!`` or ``?`` followed by white space and a capital letter or a
    digit, unless the full stop belongs to a common abbreviation (*e.g.*, *Fig.*) or to a
    single initial. Sentences of fewer than ``min_words`` words are left out.

    >>> split_sentences("Sort it, e.g. Quicksort. It is\\n fast!  Why? See Fig. 2.")
    ['Sort it, e.g. Quicksort.', 'It is fast!', 'Why?', 'See Fig. 2.']
    """
    text = " ".join(text.split())
    sentences, start = [], 0
    for match in _END.finditer(text):
        word = _LAST_WORD.search(text[start : match.start() + 1].rstrip("\"')]"))
        if word and (word[1].lower() in _ABBREVIATIONS or len(word[1]) == 1):
            continue
        sentences.append(text[start : match.end()].strip())
        start = match.end()
    sentences.append(text[start:].strip())
    return [s for s in sentences if s and len(s.split()) >= min_words]
