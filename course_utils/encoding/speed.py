"""How fast a model encodes on this machine, how much room its weights take, and the process."""

import math
import sys
import time
from collections.abc import Sequence
from statistics import median

from course_utils.encoding.embedders import AnyEmbedder
from course_utils.models.roles import underlying


def measure_speed(
    model: AnyEmbedder, texts: Sequence[str], *, repeats: int = 5
) -> dict[str, float]:
    """Return what a learner pays for a model here, as a dictionary.

    ``latency_1_ms`` and ``latency_32_ms``: the median time in milliseconds until one text, or 32
    texts given together, are encoded; ``texts_per_s``: ``texts`` encoded in one call, per second;
    ``weights_mb``: the weights in megabytes (10**6 bytes), NaN for an embedder that does not tell
    its ``nbytes``. ``texts`` is a list of at least 32 strings, the kind the model will meet: short
    texts flatter every model. Nothing is cached.

    Raises ``ValueError`` for fewer than 32 texts.
    """
    if len(texts) < 32:
        raise ValueError(
            f"measure_speed needs at least 32 texts to average over, got {len(texts)}."
        )
    _seconds(model, texts[:32])  # the first call also allocates, which later calls do not
    single = [_seconds(model, [text]) for text in texts[: 2 * repeats]]
    batch = [_seconds(model, texts[:32]) for _ in range(repeats)]
    inside = underlying(model)
    weights = getattr(inside, "nbytes", math.nan)
    if callable(getattr(inside, "parameters", None)):
        weights = sum(p.numel() * p.element_size() for p in inside.parameters())
    if callable(getattr(inside, "modules", None)):  # compiled layers are no parameters of torch's
        weights += sum(getattr(module, "nbytes", 0) for module in inside.modules())
    return {
        "latency_1_ms": 1000 * median(single),
        "latency_32_ms": 1000 * median(batch),
        "texts_per_s": len(texts) / _seconds(model, texts),
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


def _seconds(model, texts):
    from course_utils.encoding.encode import encode

    # encode returns a NumPy array, so a GPU has finished its work when the clock stops.
    start = time.perf_counter()
    encode(model, texts, show_progress_bar=False)
    return time.perf_counter() - start
