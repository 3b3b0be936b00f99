"""Adapt an embedding model to texts that nobody has labelled: TSDAE, and pairs that texts contain."""

from course_utils.adaptation.config import PairsConfig, TrainingConfig, TSDAEConfig
from course_utils.adaptation.dev import drop_questions
from course_utils.adaptation.noise import add_noise
from course_utils.adaptation.progress import Progress
from course_utils.adaptation.result import TrainingResult
from course_utils.adaptation.training import train_pairs, train_tsdae
from course_utils.adaptation.weights import interpolate_models

__all__ = [
    "PairsConfig",
    "Progress",
    "TSDAEConfig",
    "TrainingConfig",
    "TrainingResult",
    "add_noise",
    "drop_questions",
    "interpolate_models",
    "train_pairs",
    "train_tsdae",
]
