"""A run on disk: written whole or not at all, read back without running anything.

A checkpoint is a folder of safetensors and JSON under a name of its own, so that those of another
program in the same folder are neither read nor deleted. No generator's state is kept, since batches,
noise and dropout follow from the seed and the step (see ``batches``).
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from course_utils.files import whole_folder

if TYPE_CHECKING:
    import torch

    from course_utils.adaptation.dev import DevScores
    from course_utils.adaptation.loop import Trainer

_NAME = "course-utils-step-"  # not checkpoint-, which the Trainer of transformers reads and deletes
_FORMAT = "course-utils checkpoint 2"
_EARLIER = "course-utils tsdae checkpoint 1"
_FILES = ("weights", "optimiser", "best")


class Checkpoints:
    """Keeps a run in a folder and goes on from there: a callback of the ``Trainer``.

    Saves after every ``every`` steps and at the end; ``folder=None`` keeps nothing. ``identity`` is
    what two runs must share for one to go on where the other stopped: a dict of plain values.
    """

    def __init__(
        self, folder: str | Path | None, every: int, identity: dict[str, Any], dev: DevScores
    ) -> None:
        self.folder = None if folder is None else Path(folder)
        self.every, self.identity, self.dev = every, identity, dev

    def __call__(self, trainer: Trainer) -> None:
        """Save the run if it is time to."""
        if trainer.step and (trainer.step % self.every == 0 or trainer.step == trainer.steps):
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Write a checkpoint, if there is a folder and no step is half done."""
        if self.folder is None or not trainer.accelerator.is_main_process or not trainer.whole:
            return
        tensors = trainer.state()
        facts: dict[str, Any] = {"run": self.identity, "history": trainer.history}
        if self.dev.best is not None:
            tensors["best"], facts["best_score"] = self.dev.best, self.dev.best_score
        write_checkpoint(self.folder, trainer.step, tensors, facts)

    def begin(self, trainer: Trainer, resume: bool) -> None:
        """Go on from the folder's last checkpoint, if there is one and it is this run's.

        Without ``resume``, delete them and begin anew. Raises ``ValueError`` for another run's.
        """
        if self.folder is None:
            return
        if trainer.accelerator.is_main_process:
            _clear(self.folder, whole_ones=not resume)
        trainer.accelerator.wait_for_everyone()
        kept = read_checkpoint(self.folder) if resume else None
        if kept is None:
            return
        facts, tensors = kept
        refuse_another_run(self.identity, facts["run"], self.folder)
        trainer.restore(facts["step"], facts["history"], tensors)
        if "best" in tensors:
            device = trainer.encoder.device
            self.dev.best_score = facts["best_score"]
            self.dev.best = {name: weight.to(device) for name, weight in tensors["best"].items()}


def write_checkpoint(
    folder: str | Path,
    step: int,
    tensors: dict[str, dict[str, torch.Tensor]],
    facts: dict[str, Any],
) -> Path:
    """Write ``tensors`` ({file: {name: tensor}}) and ``facts`` (for JSON); return the folder's path.

    The checkpoint of an earlier step is deleted once this one stands. Raises ``OSError`` where the
    disk is full or read-only; what was there before is then still there.
    """
    folder = Path(folder)
    target = folder / f"{_NAME}{step:08d}"
    if target.exists():  # the same step of the same run holds the same weights
        return target
    try:
        with whole_folder(target) as fresh:
            for name, held in tensors.items():
                save_tensors(held, fresh / f"{name}.safetensors")
            text = json.dumps({"format": _FORMAT, "step": step, **facts}, ensure_ascii=False)
            (fresh / "run.json").write_text(text, "utf-8")
    except OSError as error:
        last = _last(folder)
        safe = (
            f"The checkpoint of step {_step(last)} is intact: make room and train again with the same "
            "arguments to go on from there."
            if last
            else "There is no earlier one. Make room, or give a folder elsewhere."
        )
        raise OSError(
            error.errno,
            f"The checkpoint of step {step} could not be written to {folder} "
            f"({error.strerror or error}). {safe}",
        ) from error
    for old in _all(folder):
        if old != target:
            shutil.rmtree(old, ignore_errors=True)
    return target


def read_checkpoint(
    folder: str | Path,
) -> tuple[dict[str, Any], dict[str, dict[str, torch.Tensor]]] | None:
    """Return ``(facts, tensors)`` of the last checkpoint in the folder, or None if there is none.

    Raises ``ValueError`` for a checkpoint that lacks a file or is of another version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    last = _last(Path(folder))
    if last is None:
        _refuse_earlier(Path(folder))
        return None
    try:
        facts = json.loads((last / "run.json").read_text("utf-8"))
        known = [name for name in _FILES if (last / f"{name}.safetensors").exists()]
        tensors = {name: load_file(last / f"{name}.safetensors") for name in known}
    except (OSError, ValueError, SafetensorError) as error:
        raise _unreadable(last, error) from error
    if facts.get("format") != _FORMAT or not {"weights", "optimiser"} <= set(tensors):
        raise _unreadable(last, "a file is missing or of another format")
    return facts, tensors


def refuse_another_run(here: dict[str, Any], kept: dict[str, Any], folder: str | Path) -> None:
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


def save_tensors(tensors: dict[str, torch.Tensor], path: str | Path) -> None:
    """Write named tensors to a safetensors file; raises ``OSError`` when the disk is full."""
    from safetensors.torch import save

    # Through Python's own file, whose errors are OSErrors; the library's writer hides their number.
    Path(path).write_bytes(save({name: held.contiguous() for name, held in tensors.items()}))


def _all(folder):
    """Return our checkpoints in a folder, by step; whatever else is there is not ours."""
    found = folder.glob(f"{_NAME}*")
    return sorted(path for path in found if re.fullmatch(r"\d{8,}", path.name[len(_NAME) :]))


def _last(folder):
    return next(reversed(_all(folder)), None)


def _step(path):
    return int(path.name.removeprefix(_NAME))


def _clear(folder, *, whole_ones):
    """Delete what a killed writer left behind; with ``whole_ones``, the checkpoints too."""
    for old in [*folder.glob(f".{_NAME}*"), *(_all(folder) if whole_ones else [])]:
        shutil.rmtree(old, ignore_errors=True)


def _refuse_earlier(folder):
    """Refuse the checkpoints of version 0.1 of this package, which cannot be gone on from."""
    for path in folder.glob("checkpoint-*/run.json"):
        if path.read_bytes().startswith(f'{{"format": "{_EARLIER}"'.encode()):
            raise ValueError(
                f"{path.parent} is a checkpoint of course_utils 0.1, whose options were others: this "
                "version cannot go on from it. Finish the run with that version, give another "
                "folder, or pass resume=False to begin anew beside it."
            )


def _unreadable(path, why):
    return ValueError(
        f"The checkpoint {path} cannot be read ({why}). Delete it, or pass resume=False to begin anew."
    )
