"""TSDAE and its relatives: adapt an embedding model to texts that nobody has labelled."""

from course_utils.adaptation.config import TSDAEConfig
from course_utils.adaptation.dev import drop_questions
from course_utils.adaptation.noise import add_noise
from course_utils.adaptation.result import TSDAEResult
from course_utils.adaptation.training import train_tsdae
from course_utils.adaptation.weights import interpolate_models

__all__ = [
    "TSDAEConfig",
    "TSDAEResult",
    "add_noise",
    "drop_questions",
    "interpolate_models",
    "train_tsdae",
]
