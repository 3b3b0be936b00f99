"""Measured speed is time that was spent, on the texts that were given."""

import numpy as np
import psutil
import pytest

from course_utils.encoding import speed
from course_utils.encoding.speed import measure_speed, peak_memory_mb


class SlowModel:
    """Takes two milliseconds a text by the clock that is given, and has a thousand weights."""

    now = 0.0

    def encode(self, texts):
        self.now += 0.002 * len(texts)
        return np.ones((len(texts), 3), dtype=np.float32)

    def parameters(self):
        import torch

        return [torch.zeros(10, 100)]


def test_the_measured_rate_is_that_of_a_model_of_known_speed(monkeypatch):
    model = SlowModel()
    monkeypatch.setattr(speed.time, "perf_counter", lambda: model.now)
    measured = measure_speed(model, [f"text {i}" for i in range(64)])
    assert measured == pytest.approx(
        {"latency_1_ms": 2, "latency_32_ms": 64, "texts_per_s": 500, "weights_mb": 0.004}
    )


def test_an_embedder_tells_the_size_of_its_weights_or_it_is_not_known():
    texts = [f"text {i}" for i in range(32)]
    assert np.isnan(measure_speed(len_and_one, texts)["weights_mb"])


def len_and_one(texts):
    return [[len(text), 1] for text in texts]


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
