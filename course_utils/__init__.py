"""Choose, adapt, measure and audit embedding models on your own texts.

Names are imported when they are first used, so ``import course_utils`` itself is quick
and pulls in neither torch nor matplotlib.
"""

import sys
from importlib import import_module
from types import ModuleType

__version__ = "0.1.0"

_HOME = {
    "load_model": "models",
    "MODELS": "models",
    "load_task": "data",
    "encode": "encoding",
    "EmbeddingCache": "cache",
    "search": "search",
    "build_index": "search",
    "rerank": "reranking",
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


class _Package(ModuleType):
    """Keeps ``course_utils.search`` the function once the module of that name is imported.

    Importing a submodule sets it as an attribute of its package, which would otherwise make
    ``from course_utils import search`` depend on what was imported before.
    """

    def __setattr__(self, name, value):
        if name == "search" and isinstance(value, ModuleType):
            value = value.search
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
