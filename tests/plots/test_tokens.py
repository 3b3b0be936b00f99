"""The figure from tokens to one vector says what was computed."""

import numpy as np
import pytest

from course_utils.plots import pooling_diagram


def test_mean_and_unit_vector_are_those_of_all_numbers_not_of_those_shown():
    vectors = np.zeros((2, 50))
    vectors[:, 0], vectors[:, 49] = 3, 4  # the last one is not drawn, and counts for the length
    said = pooling_diagram("two words", ["two", "words"], vectors).description
    assert "beginning 3.00, 0.00, 0.00" in said
    assert "its length of 5.00, beginning 0.60, 0.00, 0.00" in said


def test_every_token_and_a_number_of_each_are_written_down():
    vectors = np.arange(12, dtype=float).reshape(3, 4) + 1
    figure = pooling_diagram("a $b$ c", ["a", "$b$", "c"], vectors, dimensions=2)
    written = [text.get_text() for text in figure.axes[0].texts]
    assert {"a", "$b$", "c", "mean", "÷ length"} <= set(written)
    assert {"1.00", "2.00", "9.00", "10.00", "5.00", "6.00"} <= set(written)
    assert "3.00" not in written  # of the third dimension, which is not shown


@pytest.mark.parametrize(
    ("tokens", "vectors", "problem"),
    [
        (["a"], np.ones((2, 3)), "row each"),
        ([], np.ones((0, 3)), "row each"),
        (["a"] * 17, np.ones((17, 3)), "1 to 16"),
        (["a"], np.full((1, 3), np.nan), "not a finite number"),
        (["a", "b"], [[1, 2], [-1, -2]], "zero"),
    ],
)
def test_what_cannot_be_drawn_is_refused(tokens, vectors, problem):
    with pytest.raises(ValueError, match=problem):
        pooling_diagram("text", tokens, vectors)
