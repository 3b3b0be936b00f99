"""Where words lie relative to groups: along a direction, and between two group means.

Word by word and without a test; ``association`` asks whether a difference could be chance.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from course_utils.arrays import refuse_broken_rows


class BiasDirection(NamedTuple):
    """A unit vector (d,), and the share of the variance within pairs that lies along it."""

    direction: np.ndarray
    explained: float


def unit_rows(vectors: ArrayLike, name: str, labels: Sequence[str] | None = None) -> np.ndarray:
    """Return the rows, shape (n, d), as float64 of length 1.

    ``name`` and ``labels``, one a row, are for the messages. Raises ``ValueError`` for another
    shape, no rows, a value that is NaN or infinite, and a row of zeros, which has no direction.

    >>> unit_rows([[3.0, 4.0]], "X")
    array([[0.6, 0.8]])
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(
            f"{name} has shape {rows.shape}. Give one vector a row: an array of shape (n, d), as "
            "encode(model, words) returns it."
        )
    refuse_broken_rows(rows, name, labels)
    # By the largest number first, so that neither squares of tiny nor of huge ones are lost.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    zero = np.flatnonzero(largest == 0)
    if len(zero):
        which = f"{name}[{zero[0]}]" + (f" ({labels[zero[0]]!r})" if labels is not None else "")
        raise ValueError(
            f"{which} is all zeros, so it has no direction and no cosine. Leave the word out, or "
            "find out why it has no vector."
        )
    rows = rows / largest
    return rows / np.sqrt(np.einsum("nd,nd->n", rows, rows))[:, None]


def same_length(**sets: np.ndarray) -> None:
    """Raise ``ValueError`` unless the rows of all the sets, name to (n, d), are of one length."""
    lengths = {name: rows.shape[1] for name, rows in sets.items()}
    if len(set(lengths.values())) > 1:
        named = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(
            f"The vectors are of different lengths: {named}. Encode all sets with one model."
        )


def relative_norm_distance(words: ArrayLike, first: ArrayLike, second: ArrayLike) -> float:
    """Return how much farther the words lie, summed, from the first group than from the second.

    ``words`` (n, d), ``first`` and ``second`` (any number, d) are vectors; each is scaled to
    length 1, and a group stands at the mean of its vectors. The result is the sum over the words
    of ‖w − first‖ − ‖w − second‖: above 0 they lie nearer to the *second* group, below 0 nearer to
    the first. It grows with the number of words; divide by n to compare lists of unlike length.

    A group whose vectors scatter has its mean nearer to the origin, and with it nearer to
    everything (a mean of length m has a squared distance to w of 1 + m² − 2 w·mean), so the number
    compares how tight the groups are as well as where they lie.

    Raises ``ValueError`` for a zero vector (named by row), NaN, or vectors of unlike length.

    Source: Garg, Schiebinger, Jurafsky & Zou 2018, PNAS 115(16), Materials and Methods.

    >>> words = [[1.0, 0.0], [0.8, 0.6]]
    >>> round(relative_norm_distance(words, [[0.0, 1.0]], [[1.0, 0.0]]), 3)
    1.676
    """
    words = unit_rows(words, "words")
    groups = unit_rows(first, "first"), unit_rows(second, "second")
    same_length(words=words, first=groups[0], second=groups[1])
    near, far = (np.linalg.norm(words - group.mean(axis=0), axis=1).sum() for group in groups)
    return float(near - far)


def bias_direction(pairs: ArrayLike) -> BiasDirection:
    """Return the direction in which the two of each pair differ, and how much of that it explains.

    ``pairs`` has shape (n, 2, d): the vectors of *he* and *she*, of *man* and *woman*, and so on;
    each is scaled to length 1. Around the middle of its pair, each vector points away from its
    partner; the direction is the first principal component of those. It points from the second of
    a pair to the first, on the whole. Returns a ``BiasDirection``: ``direction``, (d,) of length 1,
    and ``explained``, from 1/min(n, d) to 1: the share of the pairs' squared differences that lies
    along it. A share not far above that of random pairs says that the pairs do not differ in one
    way. One pair gives its own difference, and a share of 1 that says nothing.

    Raises ``ValueError`` for another shape, a zero vector or NaN, a pair of equal vectors (named by
    its position), and pairs that differ in opposite ways, so that the direction has no sign.

    Source: Bolukbasi et al. 2016, sections 5.1 and 6 (step 1, with k = 1).

    >>> found = bias_direction([[[1.0, 0.0], [0.0, 1.0]]])
    >>> found.direction.round(3), round(found.explained, 3)
    (array([ 0.707, -0.707]), 1.0)
    """
    pairs = np.asarray(pairs, dtype=np.float64)
    if pairs.ndim != 3 or pairs.shape[1] != 2 or not pairs.size:
        raise ValueError(
            f"pairs has shape {pairs.shape}. Give two vectors a pair: an array of shape (n, 2, d)."
        )
    differences = unit_rows(pairs[:, 0], "pairs[:, 0]") - unit_rows(pairs[:, 1], "pairs[:, 1]")
    lengths = np.linalg.norm(differences, axis=1)
    if (lengths < 1e-9).any():
        raise ValueError(
            f"pairs[{int(np.argmin(lengths))}] holds two vectors of one direction. Leave the pair "
            "out: to this model there is no difference."
        )
    # Both of a pair lie at ± half their difference from its middle: the factors cancel.
    _, strengths, axes = np.linalg.svd(differences, full_matrices=False)
    along = float((differences @ axes[0]).mean())
    if abs(along) < 1e-9:
        raise ValueError(
            "The pairs differ in opposite ways that cancel. Give every pair in the same order, "
            "say (he, she), (man, woman)."
        )
    share = strengths[0] ** 2 / (strengths**2).sum()
    return BiasDirection(axes[0] * np.sign(along), float(share))


def direct_bias(words: ArrayLike, direction: ArrayLike, *, c: float = 1) -> float:
    """Return the mean of \\|cos(word, direction)\\|^c: how far words lie along a direction.

    ``words`` (n, d) are the vectors of words that should be neutral, ``direction`` (d,) is, say,
    that of ``bias_direction``. 0 where every word is at right angles to it, 1 where all lie on it.
    ``c`` says how strict to be: 1 counts every cosine as it is; below 1, small ones count more. Two
    random vectors of d numbers already have a mean \\|cos\\| of about 0.8/√d (0.04 for d = 384):
    compare with that, not with 0.

    Raises ``ValueError`` for a zero vector (named by row), NaN, vectors of unlike length, or a
    ``c`` that is not above 0.

    Source: Bolukbasi et al. 2016, section 5.2 (DirectBias).

    >>> round(direct_bias([[0.6, 0.8], [-1.0, 0.0]], [1.0, 0.0]), 3)
    0.8
    """
    words = unit_rows(words, "words")
    direction = np.asarray(direction, dtype=np.float64)
    if direction.ndim != 1:
        raise ValueError(f"direction has shape {direction.shape}. Give one vector, shape (d,).")
    if not c > 0:
        raise ValueError(f"c is {c!r}. Give a number above 0, say 1.")
    axis = unit_rows(direction[None], "direction")
    same_length(words=words, direction=axis)
    return float((np.abs(words @ axis[0]) ** c).mean())
