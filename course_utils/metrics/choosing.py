"""Choose a model by measuring it: quality with its interval beside speed, latency and size."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from inspect import signature
from math import nan
from typing import TYPE_CHECKING, Any

from course_utils.data.tasks import RetrievalTask
from course_utils.metrics.comparison import compare
from course_utils.metrics.evaluation import Evaluation, evaluate
from course_utils.models.fingerprints import fingerprint_or_none

if TYPE_CHECKING:
    import pandas as pd

    from course_utils.encoding.cache import EmbeddingCache
    from course_utils.encoding.embedders import AnyEmbedder

_METRIC = "mrr@10"
# So many documents are timed, or the larger number where those take a model less than a second.
_TIMED = (256, 2048)
_COLUMNS = [
    _METRIC, "low", "high", "change", "change_low", "change_high", "p_value", "texts_per_s",
    "latency_1_ms", "bytes", "weights_mb",
]  # fmt: skip


@dataclass(frozen=True)
class Measurement:
    """What one model scored on a task and what it costs on this machine.

    ``evaluation`` holds its MRR@10 query by query and its name, ``speed`` is what ``measure_speed``
    found, ``bytes`` the size of one float32 vector.
    """

    evaluation: Evaluation
    speed: dict[str, float]
    bytes: int


def measure_model(
    name: str,
    model: "AnyEmbedder | Callable[[], AnyEmbedder]",
    task: RetrievalTask,
    *,
    cache: "EmbeddingCache | None" = None,
) -> Measurement:
    """Return what ``model`` scores on ``task`` and what it costs here: a ``Measurement``.

    ``model`` is an embedder, or a function of no argument that makes one. ``cache`` spares the
    quality from encoding what it knows (an embedder without a fingerprint does not use it); the
    speed is always that of encoding anew: of 256 documents spread over the corpus, of up to 2,048
    where those take less than a second, and of single queries. Each side is encoded in its role.

    Raises ``TypeError`` for a task that is no RetrievalTask, ``ValueError`` for one of fewer than
    32 different documents, and what making the model, ``evaluate`` and ``measure_speed`` raise.
    """
    from course_utils.encoding.encode import encode_query
    from course_utils.encoding.speed import measure_speed

    if not isinstance(task, RetrievalTask):
        raise TypeError(
            f"Models are measured here by what they find: give a RetrievalTask, not a "
            f"{type(task).__name__}."
        )
    documents = list(dict.fromkeys(task.corpus.values()))
    if len(documents) < 32:
        raise ValueError(
            f"{task.name} has {len(documents)} different documents: speed takes at least 32."
        )
    given: Any = model
    embedder = given() if _makes_a_model(given) else given
    known = cache if fingerprint_or_none(embedder) is not None else None
    queries = list(task.queries.values())
    evaluation = evaluate(embedder, task, measures="mrr", name=name, cache=known)
    few, many = (_spread(documents, number) for number in _TIMED)
    speed = measure_speed(embedder, few, repeats=3, queries=queries)
    if len(few) < len(many) and speed["texts_per_s"] > len(few):
        speed = measure_speed(embedder, many, repeats=3, queries=queries)
    vector = encode_query(embedder, queries[:1], show_progress_bar=False)
    return Measurement(evaluation, speed, vector.nbytes)


def choice_table(measured: Iterable[Measurement]) -> "pd.DataFrame":
    """Return measurements on one task side by side: a DataFrame, one row a model, in this order.

    Columns: ``mrr@10`` with its 95 % interval ``low`` to ``high``; ``change`` from the first model,
    with its paired interval ``change_low`` to ``change_high`` and ``p_value``, NaN in the first
    row; ``texts_per_s`` when documents are encoded; ``latency_1_ms``, milliseconds to encode a
    query; ``bytes`` of a vector in float32; ``weights_mb``, NaN where a model does not tell. The p
    values are those of single comparisons, see ``holm``.

    Raises ``ValueError`` where two are of different tasks (see ``compare``).
    """
    import pandas as pd

    measured = list(measured)
    rows = {}
    for each in measured:
        quality = each.evaluation.summary().loc[_METRIC, ["mean", "low", "high"]]
        change = [nan] * 4
        if each is not measured[0]:
            row: Any = compare(measured[0].evaluation, each.evaluation).table.loc[_METRIC]
            change = [row[column] for column in ("difference", "low", "high", "p_value")]
        costs = [each.speed["texts_per_s"], each.speed["latency_1_ms"], each.bytes]
        rows[each.evaluation.embedder] = [*quality, *change, *costs, each.speed["weights_mb"]]
    table = pd.DataFrame.from_dict(rows, "index", columns=_COLUMNS, dtype=float)
    return table.astype({"bytes": int}).rename_axis("model")


def measure_models(
    models: "Mapping[str, AnyEmbedder | Callable[[], AnyEmbedder]]",
    task: RetrievalTask,
    *,
    cache: "EmbeddingCache | None" = None,
) -> "pd.DataFrame":
    """Return quality, speed and size of several models on one task: the table of ``choice_table``.

    ``models`` maps names to embedders, or to functions of no argument that make one when its turn
    has come; each is let go before the next, so that memory holds one at a time. The first is the
    one that the others are compared with. ``task`` and ``cache`` are those of ``measure_model``,
    and so is what is raised.
    """
    return choice_table(
        [measure_model(name, model, task, cache=cache) for name, model in models.items()]
    )


def _makes_a_model(model):
    """Return whether this is a class, or a function that takes no argument, and so no embedder."""
    if isinstance(model, type):
        return True
    if not callable(model) or callable(getattr(model, "encode", None)):
        return False
    try:
        signature(model).bind()
    except (TypeError, ValueError):
        return False
    return True


def _spread(items, number):
    step = max(1, len(items) // number)
    return items[::step][:number]
