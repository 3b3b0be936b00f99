"""Measure what an embedding associates with groups of people, reduce it, and audit it.

Stimuli (word lists, names, sentence pairs) are where every measurement starts; association tests
measure, consequences show what a ranking makes of it, mitigation removes a direction, probes judge
what is left, and the audit runs all of it on a model and writes the report.

Names are imported when they are first used, so ``import course_utils.bias`` is quick.
"""

import sys
from importlib import import_module
from types import ModuleType

_HOME = {
    "STIMULI": "stimuli",
    "GROUPS": "stimuli",
    "load_stimuli": "stimuli",
    "load_labels": "stimuli",
    "load_removed": "stimuli",
    "load_published": "stimuli",
    "load_groups": "stimuli",
    "load_shares": "stimuli",
    "load_templates": "stimuli",
    "fill": "stimuli",
    "load_counterfactuals": "stimuli",
    "CounterfactualPair": "stimuli",
    "load_cvs": "stimuli",
    "load_adverts": "stimuli",
    "load_relevant": "stimuli",
    "association": "association",
    "weat": "association",
    "WeatResult": "association",
    "effect_size_interval": "association",
    "seat": "association",
    "single_weat": "association",
    "relative_norm_distance": "association",
    "direct_bias": "association",
    "bias_direction": "association",
    "nearer": "association",
    "template_vectors": "association",
    "word_vectors": "word_vectors",
    "WordVectors": "word_vectors",
    "counterfactual_retrieval": "consequences",
    "LinearEraser": "mitigation",
    "hard_debias": "mitigation",
    "equalise": "mitigation",
    "inlp": "mitigation",
    "leace": "mitigation",
    "counterfactual_augmentation": "augmentation",
    "balanced": "augmentation",
    "mentioned": "augmentation",
    "probe": "probes",
    "judge": "probes",
    "audit": "audit",
    "Audit": "audit",
}
__all__ = [*_HOME]


def __getattr__(name):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)


class _Room(ModuleType):
    """Keeps ``association``, ``audit`` and ``word_vectors`` the functions once their modules are imported.

    Importing a submodule sets it as an attribute of its package, which would otherwise make
    ``from course_utils.bias import audit`` depend on what was imported before.
    """

    def __setattr__(self, name, value):
        if name in _HOME and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Room
