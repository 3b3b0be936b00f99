"""Measured speed is time that was spent, on the texts that were given."""

import time

import numpy as np
import psutil
import pytest

from course_utils.encoding.speed import measure_speed, peak_memory_mb


class SlowModel:
    """Takes two milliseconds a text, and has a thousand weights of four bytes."""

    def encode(self, texts, **_):
        time.sleep(0.002 * len(texts))
        return np.ones((len(texts), 3), dtype=np.float32)

    def parameters(self):
        import torch

        return [torch.zeros(10, 100)]


def test_the_measured_rate_is_that_of_a_model_of_known_speed():
    measured = measure_speed(SlowModel(), [f"text {i}" for i in range(64)])
    assert 2 <= measured["latency_1_ms"] < 10
    assert 64 <= measured["latency_32_ms"] < 130
    assert 250 < measured["texts_per_s"] <= 500
    assert measured["weights_mb"] == pytest.approx(0.004)


def test_too_few_texts_are_refused():
    with pytest.raises(ValueError, match="at least 32"):
        measure_speed(SlowModel(), ["one", "two"])


def test_the_peak_of_memory_rises_by_what_is_held_and_does_not_fall():
    before = peak_memory_mb()
    room = max(0.0, before - psutil.Process().memory_info().rss / 1e6)
    held = np.ones(int((room + 200) * 1e6) // 8)
    during = peak_memory_mb()
    assert before + 100 < during < before + room + 400
    del held
    assert peak_memory_mb() >= during
