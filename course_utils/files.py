"""A file or a folder that is replaced whole or not at all, whatever fails in between.

What is new is written beside its place under a name of its own and moved there when it is complete.
Killed at any moment, a process leaves the old or the new; what it leaves beside it begins with a
dot. Files and folders get the mode that the umask gives, as if they had been opened plainly.
"""

import glob
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def whole_folder(folder: str | Path) -> Iterator[Path]:
    """Yield a new folder to write to, which takes the place of ``folder`` if no exception comes.

    Its parents are made where they are missing. If anything fails, in the block or while the two
    are exchanged, ``folder`` is what it was before, or there is none if there was none. A process
    killed between the two renames of the exchange leaves the old one under another name, from where
    ``restored`` brings it back.

    Raises ``OSError`` where the folder cannot be made, written or moved.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with whole_folder(Path(parent) / "index") as fresh:
    ...         _ = (fresh / "a.txt").write_text("whole")
    ...     sorted(os.listdir(parent))
    ['index']
    """
    folder = restored(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(folder)
    fresh.mkdir()
    try:
        yield fresh
        _exchange(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def restored(folder: str | Path) -> Path:
    """Return ``folder`` as a path, its old contents in place if an exchange was cut off half-way.

    For whoever reads a folder that ``whole_folder`` writes: where nothing stands, and a killed
    process had moved the old folder aside but not yet the new one in, the old one is moved back.
    """
    folder = Path(folder)
    if not folder.exists():
        aside = sorted(folder.parent.glob(f".{glob.escape(folder.name[:40])}.*.old"))
        if aside:
            newest = max(aside, key=lambda path: path.stat().st_mtime)
            with suppress(OSError):  # another process was first
                os.replace(newest, folder)
    return folder


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path to write a file to, which replaces ``path`` in one step if no exception comes.

    Raises ``OSError`` where the file cannot be written or moved; what stood at ``path`` is then
    still there.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = _beside(path)
    try:
        yield fresh
        os.replace(fresh, path)
    finally:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> Path:
    """Write a text to ``path`` in UTF-8 with ``\\n`` at line ends, in one step; return the path.

    Raises ``OSError`` as ``whole_file`` does.
    """
    with whole_file(path) as fresh:
        fresh.write_text(text, "utf-8", newline="\n")
    return Path(path)


def refuse_foreign(folder: str | Path, mark: str, what: str) -> Path:
    """Return ``folder`` as a path if ``what`` may be saved there: it is new, empty, or holds ``mark``.

    ``mark`` is the name of a file that only our own folders of this kind hold. Raises
    ``FileExistsError`` for a file, and for a folder that holds something else.
    """
    folder = Path(folder)
    if folder.is_dir():
        foreign = any(folder.iterdir()) and not (folder / mark).is_file()
    else:
        foreign = folder.exists()
    if foreign:
        raise FileExistsError(
            f"{folder} holds something that is no {what}. Give a new folder, or an empty one."
        )
    return folder


def _beside(path):
    return path.with_name(f".{path.name[:40]}.{uuid.uuid4().hex}")


def _exchange(fresh, folder):
    """Move ``fresh`` to ``folder``; what stood there is deleted only once the new one stands."""
    if not folder.exists():
        os.replace(fresh, folder)
        return
    old = fresh.with_name(f"{fresh.name}.old")
    os.replace(folder, old)
    try:
        os.replace(fresh, folder)
    except BaseException:
        with suppress(FileNotFoundError):  # another process has restored it
            os.replace(old, folder)
        raise
    shutil.rmtree(old, ignore_errors=True)
