"""Measured speed is time that was spent, on the texts that were given."""

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.encoding import speed
from course_utils.encoding.speed import forecast, measure_speed, peak_memory_mb


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


class SlowSearchModel(SlowModel):
    """Takes one millisecond a query, four a document, and must not be asked without a role."""

    def encode_query(self, texts):
        return self._taking(0.001, texts)

    def encode_document(self, texts):
        return self._taking(0.004, texts)

    def encode(self, texts):
        raise AssertionError("asked without a role")

    def _taking(self, seconds, texts):
        self.now += seconds * len(texts)
        return np.ones((len(texts), 3), dtype=np.float32)


def test_with_queries_each_side_is_timed_in_its_role(monkeypatch):
    model = SlowSearchModel()
    monkeypatch.setattr(speed.time, "perf_counter", lambda: model.now)
    texts = [f"text {i}" for i in range(40)]
    assert measure_speed(model, texts, queries=["one", "two"]) == pytest.approx(
        {"latency_1_ms": 1, "latency_32_ms": 128, "texts_per_s": 250, "weights_mb": 0.004}
    )


def test_no_queries_are_refused():
    with pytest.raises(ValueError, match="queries is empty"):
        measure_speed(SlowModel(), ["a"] * 32, queries=[])


@given(
    rate=st.floats(1e-3, 1e5),
    dimensions=st.integers(1, 8192),
    counts=st.lists(st.integers(1, 10**10), unique=True, min_size=1, max_size=5),
)
def test_a_forecast_is_of_the_right_size_in_what_it_says(rate, dimensions, counts):
    table = forecast({"texts_per_s": rate, "dimensions": dimensions}, counts)
    units = {"s": 1, "min": 60, "h": 3600, "days": 86400}
    sizes = {"bytes": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
    each = {"float32": 4 * dimensions, "int8": dimensions, "binary": -(-dimensions // 8)}
    assert list(table.index) == counts
    for count, row in table.iterrows():
        assert row["seconds"] == pytest.approx(count / rate)
        # Said with two digits, or with none behind the point: never off by more than 5 in 100, or
        # by a twentieth of the unit where the number is below 1.
        assert _read(row["time"], units) == pytest.approx(
            count / rate, rel=0.051, abs=0.051 * units[row["time"].split()[1]]
        )
        for precision, size in each.items():
            assert _read(row[precision], sizes) == pytest.approx(count * size, rel=0.051)


def _read(told, units):
    number, unit = told.split()
    return float(number.replace(",", "")) * units[unit]


def test_bytes_of_a_float32_vector_do_as_well_as_its_dimensions():
    by_bytes = forecast(pd.Series({"texts_per_s": 10, "bytes": 4 * 100}))
    assert by_bytes.equals(forecast({"texts_per_s": 10, "dimensions": 100}))
    assert by_bytes.loc[10_000, "seconds"] == 1000


def test_precisions_are_those_asked_for():
    table = forecast({"texts_per_s": 1, "dimensions": 10}, [1], precisions=["float16", "binary"])
    assert list(table.columns) == ["time", "seconds", "float16", "binary"]
    assert list(table.loc[1])[2:] == ["20 bytes", "2 bytes"]


@pytest.mark.parametrize(
    ("measured", "options", "message"),
    [
        ({"texts_per_s": 5}, {}, "neither dimensions nor bytes"),
        ({"texts_per_s": 0, "dimensions": 5}, {}, "above 0"),
        ({"texts_per_s": float("nan"), "dimensions": 5}, {}, "above 0"),
        ({"texts_per_s": 5, "bytes": -4}, {}, "above 0"),
        ({"texts_per_s": 5, "dimensions": 5}, {"counts": [-1]}, "below 0"),
        ({"texts_per_s": 5, "dimensions": 5}, {"precisions": ["int4"]}, "no precision 'int4'"),
    ],
)
def test_a_forecast_from_nonsense_is_refused(measured, options, message):
    with pytest.raises(ValueError, match=message):
        forecast(measured, **options)
