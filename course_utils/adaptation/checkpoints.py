"""A run on disk: written whole or not at all, read back without running anything.

A checkpoint is a folder ``checkpoint-<step>`` of safetensors and JSON. It is written under another
name and then renamed, which a file system does in one step: killed at any moment, what carries the
name is complete. No generator's state is kept, since batches, noise and dropout follow from the
seed and the step (see ``batches``).
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

_FORMAT = "course-utils tsdae checkpoint 1"
_FILES = ("weights", "optimiser", "best")


def write_checkpoint(folder, step, tensors, facts):
    """Write ``tensors`` ({file: {name: tensor}}) and ``facts`` (for JSON); return the folder's path.

    The checkpoint of an earlier step is deleted once this one stands. Raises ``OSError`` where the
    disk is full or read-only; what was there before is then still there.
    """
    folder = Path(folder)
    target = folder / f"checkpoint-{step:08d}"
    if target.exists():  # the same step of the same run holds the same weights
        return target
    scratch = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".checkpoint-", dir=folder))
        for name, held in tensors.items():
            save_tensors(held, scratch / f"{name}.safetensors")
        text = json.dumps({"format": _FORMAT, "step": step, **facts}, ensure_ascii=False)
        (scratch / "run.json").write_text(text, "utf-8")
        os.replace(scratch, target)
    except OSError as error:
        last = _last(folder)
        safe = (
            f"The checkpoint of step {_step(last)} is intact: make room and call train_tsdae again "
            "with the same arguments to go on from there."
            if last
            else "There is no earlier one. Make room, or give a folder elsewhere."
        )
        raise OSError(
            error.errno,
            f"The checkpoint of step {step} could not be written to {folder} "
            f"({error.strerror or error}). {safe}",
        ) from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    for old in _all(folder):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(folder):
    """Return ``(facts, tensors)`` of the last checkpoint in the folder, or None if there is none.

    Raises ``ValueError`` for a checkpoint that is not one of this kind or lacks a file.
    """
    last = _last(Path(folder))
    if last is None:
        return None
    from safetensors.torch import load_file

    try:
        facts = json.loads((last / "run.json").read_text("utf-8"))
        known = [name for name in _FILES if (last / f"{name}.safetensors").exists()]
        tensors = {name: load_file(last / f"{name}.safetensors") for name in known}
    except (OSError, ValueError) as error:
        raise _unreadable(last, error) from error
    if facts.get("format") != _FORMAT or not {"weights", "optimiser"} <= set(tensors):
        raise _unreadable(last, "a file is missing or of another format")
    return facts, tensors


def forget_checkpoints(folder):
    """Delete every checkpoint in the folder, and what a killed writer left behind."""
    for old in [*_all(folder), *Path(folder).glob(".checkpoint-*")]:
        shutil.rmtree(old, ignore_errors=True)


def clear_unfinished(folder):
    """Delete what a killed writer left behind; whole checkpoints stay."""
    for scratch in Path(folder).glob(".checkpoint-*"):
        shutil.rmtree(scratch, ignore_errors=True)


def refuse_another_run(here, kept, folder):
    """Raise ``ValueError`` naming what differs between this run and the checkpoint's, both values.

    Both are dicts of plain values, compared entry by entry.
    """
    unlike = [
        f"{name} is {here.get(name)!r} here and {kept.get(name)!r} there"
        for name in dict.fromkeys([*here, *kept])
        if here.get(name) != kept.get(name)
    ]
    if unlike:
        raise ValueError(
            f"{folder} holds a checkpoint of another run: {'; '.join(unlike)}. Go on with what it was "
            "started with, give another folder, or pass resume=False to delete it and begin anew."
        )


def save_tensors(tensors, path):
    """Write named tensors to a safetensors file; raises ``OSError`` when the disk is full."""
    from safetensors.torch import save

    # Through Python's own file, whose errors are OSErrors; the library's writer hides their number.
    Path(path).write_bytes(save({name: held.contiguous() for name, held in tensors.items()}))


def _all(folder):
    return sorted(Path(folder).glob("checkpoint-[0-9]*"))


def _last(folder):
    return next(reversed(_all(folder)), None)


def _step(path):
    return int(path.name.removeprefix("checkpoint-"))


def _unreadable(path, why):
    return ValueError(
        f"The checkpoint {path} cannot be read ({why}). Delete it, or pass resume=False to begin anew."
    )
