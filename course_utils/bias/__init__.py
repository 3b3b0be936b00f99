"""Measure what an embedding associates with groups of people, reduce it, and audit it.

Stimuli (word lists, names, sentence pairs) are where every measurement starts; association tests
measure, consequences show what a ranking makes of it, mitigation removes a direction, probes judge
what is left, and the audit runs all of it on a model and writes the report.

Names are imported when they are first used, so ``import course_utils.bias`` is quick.
"""

from importlib import import_module

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
    "association": "associations",
    "weat": "associations",
    "WeatResult": "associations",
    "effect_size_interval": "associations",
    "seat": "associations",
    "single_weat": "associations",
    "relative_norm_distance": "associations",
    "direct_bias": "associations",
    "bias_direction": "associations",
    "nearer": "associations",
    "template_vectors": "associations",
    "word_vectors": "glove",
    "WordVectors": "glove",
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
    "audit": "auditing.running",
    "Audit": "auditing.audits",
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
