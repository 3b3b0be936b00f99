"""Adapt an embedding model to texts that nobody has labelled: TSDAE, and pairs that texts contain."""

from course_utils.adaptation.config import PairsConfig, TrainingConfig, TSDAEConfig
from course_utils.adaptation.dev import drop_questions
from course_utils.adaptation.diagnosis import diagnose
from course_utils.adaptation.mixing import crop_pairs, mix_pairs
from course_utils.adaptation.noise import add_noise
from course_utils.adaptation.progress import Progress
from course_utils.adaptation.questions import generate_questions, keep_grounded
from course_utils.adaptation.result import TrainingResult
from course_utils.adaptation.static import distil_static
from course_utils.adaptation.training import train_pairs, train_tsdae
from course_utils.adaptation.verdicts import Diagnosis
from course_utils.adaptation.weights import interpolate_models

__all__ = [
    "Diagnosis",
    "PairsConfig",
    "Progress",
    "TSDAEConfig",
    "TrainingConfig",
    "TrainingResult",
    "add_noise",
    "crop_pairs",
    "diagnose",
    "distil_static",
    "drop_questions",
    "generate_questions",
    "interpolate_models",
    "keep_grounded",
    "mix_pairs",
    "train_pairs",
    "train_tsdae",
]
