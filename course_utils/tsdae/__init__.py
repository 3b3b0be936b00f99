"""TSDAE and its relatives: adapt an embedding model to texts that nobody has labelled."""

from course_utils.tsdae.config import TSDAEConfig
from course_utils.tsdae.dev import drop_questions
from course_utils.tsdae.noise import add_noise
from course_utils.tsdae.result import TSDAEResult
from course_utils.tsdae.training import train_tsdae
from course_utils.tsdae.weights import interpolate_models

__all__ = [
    "TSDAEConfig",
    "TSDAEResult",
    "add_noise",
    "drop_questions",
    "interpolate_models",
    "train_tsdae",
]
