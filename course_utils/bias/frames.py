"""Words in sentences: a model that reads sentences is asked about a word in several frames.

A frame adds something of its own to every word that stands in it, and not to all the same. So no
single one is to be trusted, and whatever is said of a word is said over several.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from course_utils.bias.directions import unit_rows
from course_utils.bias.stimuli import fill
from course_utils.encoding.encode import encode
from course_utils.metrics import bootstrap_interval

if TYPE_CHECKING:
    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder


@dataclass(frozen=True)
class Nearer:
    """Whether a word lies nearer to one word than to another, over several templates.

    ``difference`` is the mean over the templates of cos(word, to) − cos(word, than), ``low`` and
    ``high`` its interval, ``by_template`` the difference in each.
    """

    word: str
    to: str
    than: str
    difference: float
    low: float
    high: float
    by_template: dict[str, float]

    @property
    def answer(self) -> Literal["yes", "no", "undecided"]:
        """Return "yes" where the interval lies above 0, "no" where below, else "undecided"."""
        return "yes" if self.low > 0 else "no" if self.high < 0 else "undecided"


def template_vectors(
    model: AnyEmbedder,
    words: Sequence[str],
    templates: Sequence[str],
    *,
    cache: EmbeddingCache | None = None,
) -> np.ndarray:
    """Return each word's mean vector over the templates, shape (n, d), float64.

    Each word is put into each of the ``templates`` (texts with one ``{}``), the sentences encoded,
    and their vectors, of length 1 each, averaged: what a template adds to all words alike remains,
    what it adds to one word counts one part in as many as there are templates. ``cache`` is as in
    ``course_utils.encode``. Raises ``ValueError`` for a template without exactly one ``{}`` or
    given twice, no words, and what ``encode`` raises.

    >>> from course_utils.encoding.embedders import as_embedder
    >>> letters = as_embedder(lambda texts: [[text.count("a"), text.count("t")] for text in texts])
    >>> template_vectors(letters, ["a", "t"], ["so {}", "is {}"])
    array([[1., 0.],
           [0., 1.]])
    """
    return in_templates(model, words, templates, cache).mean(axis=1)


def nearer(
    model: AnyEmbedder,
    word: str,
    to: str,
    than: str,
    *,
    templates: Sequence[str],
    confidence: float = 0.95,
    seed: int = 0,
    cache: EmbeddingCache | None = None,
) -> Nearer:
    """Return whether the model puts a word nearer to one word than to another, over templates.

    *Is doctor nearer to man than to woman?* is ``nearer(model, "doctor", "man", "woman", ...)``. In
    each of the ``templates`` (two or more texts with one ``{}``) all three words are put and
    encoded; the template's difference is cos(word, to) − cos(word, than). The interval is
    ``bootstrap_interval`` over the templates: how far other frames of this kind might have moved
    the mean. It says nothing of other words (``weat`` does), and from fewer than ten or so
    templates it is too narrow. Returns a ``Nearer``.

    Raises ``ValueError`` for fewer than two templates, one given twice or without exactly one
    ``{}``, words that are not three different ones, and what ``encode`` raises.

    >>> from course_utils.encoding.embedders import as_embedder
    >>> letters = as_embedder(lambda texts: [[text.count("a"), text.count("t")] for text in texts])
    >>> nearer(letters, "aat", "aa", "t", templates=["so {}", "is {}"]).answer
    'yes'
    """
    words = [word, to, than]
    if len(set(words)) < 3:
        raise ValueError(f"word, to and than are {words}. Give three different words.")
    vectors = in_templates(model, words, templates, cache)
    if len(templates) < 2:
        raise ValueError(
            "templates holds 1 text. An interval over templates needs two at least, and better ten."
        )
    one, first, second = (
        unit_rows(rows, f"The vectors of {name!r}: template", templates)
        for name, rows in zip(words, vectors, strict=True)
    )
    differences = np.einsum("td,td->t", one, first - second)
    low, high = bootstrap_interval(differences, confidence=confidence, seed=seed)
    by_template = dict(zip(templates, map(float, differences), strict=True))
    return Nearer(word, to, than, float(differences.mean()), low, high, by_template)


def in_templates(
    model: AnyEmbedder,
    words: Sequence[str],
    templates: Sequence[str],
    cache: EmbeddingCache | None,
) -> np.ndarray:
    """Return the unit vector of every word in every template, (words, templates, d) float64."""
    rows = fill(templates, words)
    if not rows or not rows[0]:
        raise ValueError(f"{len(words)} words and {len(templates)} templates: give one at least.")
    twice = [template for row, template in enumerate(templates) if template in templates[:row]]
    if twice:
        raise ValueError(f"The template {twice[0]!r} occurs twice. Give each once.")
    matrix = encode(model, [text for row in rows for text in row], cache=cache)
    return matrix.reshape(len(rows), len(rows[0]), -1).astype(np.float64)
