"""Where models come from, what their vectors depend on, and what this machine has for them."""

from course_utils.models.api import api_embedder, serve_e5
from course_utils.models.environment import check_setup
from course_utils.models.fast import fast_model
from course_utils.models.fingerprints import fingerprint
from course_utils.models.loading import (
    DEFAULT_MODEL,
    MODELS,
    ModelCard,
    ModelNotFoundError,
    cache_dir,
    find_model,
    load_model,
    model_table,
    pick_device,
    prefetch,
)
from course_utils.models.processor import has_bfloat16

__all__ = [
    "DEFAULT_MODEL",
    "MODELS",
    "ModelCard",
    "ModelNotFoundError",
    "api_embedder",
    "cache_dir",
    "check_setup",
    "fast_model",
    "find_model",
    "fingerprint",
    "has_bfloat16",
    "load_model",
    "model_table",
    "pick_device",
    "prefetch",
    "serve_e5",
]
