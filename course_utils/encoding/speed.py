"""How fast a model encodes on this machine, how much room its weights take, and the process."""

import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING

from course_utils.encoding.embedders import AnyEmbedder
from course_utils.models.roles import underlying

if TYPE_CHECKING:
    import pandas as pd

_BITS = {"float32": 32, "float16": 16, "int8": 8, "binary": 1}


def measure_speed(
    model: AnyEmbedder,
    texts: Sequence[str],
    *,
    repeats: int = 5,
    queries: Sequence[str] | None = None,
) -> dict[str, float]:
    """Return what a learner pays for a model here, as a dictionary.

    ``latency_1_ms`` and ``latency_32_ms``: the median time in milliseconds until one text, or 32
    texts given together, are encoded; ``texts_per_s``: ``texts`` encoded in one call, per second;
    ``weights_mb``: the weights in megabytes (10**6 bytes), NaN for an embedder that does not tell
    its ``nbytes``. ``texts`` is a list of at least 32 strings, the kind the model will meet: short
    texts flatter every model. Nothing is cached.

    With ``queries``, a list of strings, ``texts`` are encoded as documents, and ``latency_1_ms`` is
    that of these, one at a time, as queries: a model with prompts or methods for both uses them.

    Raises ``ValueError`` for fewer than 32 texts, and for an empty list of queries.
    """
    if len(texts) < 32:
        raise ValueError(
            f"measure_speed needs at least 32 texts to average over, got {len(texts)}."
        )
    ask, tell = (None, None) if queries is None else ("query", "document")
    asked = texts if queries is None else queries
    if not len(asked):
        raise ValueError("queries is empty: give at least one, or leave it out.")
    # The first call also allocates, which later calls do not.
    _seconds(model, texts[:32], tell)
    _seconds(model, asked[:1], ask)
    single = [_seconds(model, [text], ask) for text in asked[: 2 * repeats]]
    batch = [_seconds(model, texts[:32], tell) for _ in range(repeats)]
    inside = underlying(model)
    weights = getattr(inside, "nbytes", math.nan)
    if callable(getattr(inside, "parameters", None)):
        weights = sum(p.numel() * p.element_size() for p in inside.parameters())
    if callable(getattr(inside, "modules", None)):  # compiled layers are no parameters of torch's
        weights += sum(getattr(module, "nbytes", 0) for module in inside.modules())
    return {
        "latency_1_ms": 1000 * median(single),
        "latency_32_ms": 1000 * median(batch),
        "texts_per_s": len(texts) / _seconds(model, texts, tell),
        "weights_mb": weights / 1e6,
    }


def peak_memory_mb(device: str = "cpu") -> float:
    """Return the most memory that this process has held so far, in megabytes (10**6 bytes).

    On a device of type "cuda" it is the most that torch has held of the GPU's memory; elsewhere the
    process's peak of main memory, Python and its libraries among it.
    """
    import torch

    if torch.device(device).type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    if sys.platform == "win32":
        import psutil  # comes with JupyterLab's kernel

        return psutil.Process().memory_info().peak_wset / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # bytes there, KiB here


def forecast(
    measured: "Mapping[str, float] | pd.Series",
    counts: Iterable[int] = (10_000, 1_000_000, 10_000_000),
    *,
    precisions: Iterable[str] = ("float32", "int8", "binary"),
) -> "pd.DataFrame":
    """Return how long so many texts take and how large their vectors are: a DataFrame, a row a count.

    ``measured`` has ``texts_per_s``, and ``dimensions`` or ``bytes`` (of a float32 vector): a
    dictionary, or a row of the table of ``measure_models``. ``counts`` are numbers of texts, the
    index. Columns: ``time`` in words and ``seconds``, that is count / texts_per_s; for each of
    ``precisions`` the size of all vectors in words, count * ceil(dimensions * bits / 8) bytes, with
    32 bits a dimension in ``"float32"``, 16 in ``"float16"``, 8 in ``"int8"``, 1 in ``"binary"``.
    A GB is 10**9 bytes. What an index keeps beside the vectors (texts, ids, links) comes on top.

    Raises ``ValueError`` for a rate or a size that is not above 0, a negative count, neither
    ``dimensions`` nor ``bytes``, and an unknown precision.

    >>> for count, row in forecast({"texts_per_s": 200, "dimensions": 384}).iterrows():
    ...     print(f"{count:,}:", row["time"], "and", row["float32"], "or", row["binary"])
    10,000: 50 s and 15 MB or 480 kB
    1,000,000: 83 min and 1.5 GB or 48 MB
    10,000,000: 14 h and 15 GB or 480 MB
    """
    import pandas as pd

    if "dimensions" not in measured and "bytes" not in measured:
        raise ValueError("measured has neither dimensions nor bytes: give one of them.")
    rate = float(measured["texts_per_s"])
    dimensions = (
        measured["dimensions"]
        if "dimensions" in measured
        else measured["bytes"] * 8 / _BITS["float32"]
    )
    if not (rate > 0 and dimensions > 0):
        raise ValueError(
            f"{rate} texts per second of {dimensions} dimensions: both must be above 0."
        )
    precisions = list(precisions)
    for precision in precisions:
        if precision not in _BITS:
            raise ValueError(f"There is no precision {precision!r}: choose of {', '.join(_BITS)}.")
    rows = {}
    for count in counts:
        if count < 0:
            raise ValueError(f"A count is {count}: it cannot be below 0.")
        sizes = (count * math.ceil(dimensions * _BITS[p] / 8) for p in precisions)
        rows[count] = [_time(count / rate), count / rate, *map(_size, sizes)]
    table = pd.DataFrame.from_dict(rows, "index", columns=["time", "seconds", *precisions])
    return table.rename_axis("texts")


def _time(seconds):
    units = ((90, 1, "s"), (5400, 60, "min"), (48 * 3600, 3600, "h"), (math.inf, 86400, "days"))
    unit, name = next((unit, name) for below, unit, name in units if seconds < below)
    return f"{_two_digits(seconds / unit)} {name}"


def _size(n_bytes):
    units = ((1e3, 1, "bytes"), (1e6, 1e3, "kB"), (1e9, 1e6, "MB"), (1e12, 1e9, "GB"))
    unit, name = next(((u, name) for below, u, name in units if n_bytes < below), (1e12, "TB"))
    return f"{_two_digits(n_bytes / unit)} {name}"


def _two_digits(number):
    return f"{number:.1f}".removesuffix(".0") if number < 9.95 else f"{number:,.0f}"


def _seconds(model, texts, role):
    from course_utils.encoding.encode import encode, encode_document, encode_query

    encoding = {None: encode, "query": encode_query, "document": encode_document}[role]
    # A NumPy array is returned, so a GPU has finished its work when the clock stops.
    start = time.perf_counter()
    encoding(model, texts, show_progress_bar=False)
    return time.perf_counter() - start
