"""Choose, adapt, measure and audit embedding models on your own texts.

Names are imported when they are first used, so ``import course_utils`` itself is quick
and pulls in neither torch nor matplotlib.
"""

from importlib import import_module

__version__ = "0.2.0"

_HOME = {
    "load_model": "models",
    "MODELS": "models",
    "load_task": "data",
    "as_embedder": "encoding",
    "encode": "encoding",
    "encode_query": "encoding",
    "encode_document": "encoding",
    "EmbeddingCache": "encoding",
    "search": "retrieval",
    "build_index": "retrieval",
    "rerank": "retrieval",
    "KeywordIndex": "retrieval",
    "fuse": "retrieval",
    "evaluate": "metrics",
    "compare": "metrics",
}
__all__ = ["__version__", *_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
