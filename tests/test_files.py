"""What is replaced is either the old or the new, whatever fails in between."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from course_utils.files import refuse_foreign, restored, whole_file, whole_folder, write_text


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def write_half(folder, error):
    with whole_folder(folder) as fresh:
        (fresh / "a").write_text("half")
        raise error


@pytest.mark.parametrize("step", [1, 2])
def test_a_folder_stays_as_it_was_when_any_rename_of_the_exchange_fails(
    tmp_path, rename_fails, step
):
    target = tmp_path / "kept"
    with whole_folder(target) as fresh:
        (fresh / "a").write_text("old")
    rename_fails(step)
    with pytest.raises(OSError, match="the disk gave up"), whole_folder(target) as fresh:
        (fresh / "a").write_text("new")
    assert contents(target) == {"a": "old"}
    assert os.listdir(tmp_path) == ["kept"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, ValueError])
def test_a_folder_stays_as_it_was_when_the_writing_fails(tmp_path, error):
    target = tmp_path / "kept"
    target.mkdir()
    (target / "a").write_text("old")
    with pytest.raises(error):
        write_half(target, error)
    assert contents(target) == {"a": "old"}
    assert os.listdir(tmp_path) == ["kept"]


KILLED = """
import os, sys
from course_utils.files import whole_folder

real = os.replace

def replace(source, target):
    real(source, target)
    os._exit(9)  # as a SIGKILL after the first rename

os.replace = replace
with whole_folder(sys.argv[1]) as fresh:
    (fresh / "a").write_text("new")
"""


def test_a_folder_that_a_killed_process_moved_aside_is_brought_back(tmp_path):
    target = tmp_path / "kept"
    with whole_folder(target) as fresh:
        (fresh / "a").write_text("old")
    assert subprocess.run([sys.executable, "-c", KILLED, str(target)]).returncode == 9
    assert not target.exists()
    assert contents(restored(target)) == {"a": "old"}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, rename_fails):
    target = write_text(tmp_path / "deep" / "a.txt", "old\n")
    with pytest.raises(RuntimeError), whole_file(target) as fresh:
        raise RuntimeError(fresh.write_text("half"))
    assert target.read_bytes() == b"old\n"
    rename_fails(1)
    with pytest.raises(OSError, match="gave up"):
        write_text(target, "new")
    assert target.read_bytes() == b"old\n"
    assert os.listdir(target.parent) == ["a.txt"]


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_what_is_written_has_the_mode_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        file = write_text(tmp_path / "a.txt", "text")
        with whole_folder(tmp_path / "folder") as fresh:
            (fresh / "b").write_text("text")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == 0o777 & ~umask


def test_foreign_folders_are_refused_and_empty_ones_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "diary.txt").write_text("dear diary")
    assert refuse_foreign(tmp_path / "empty", "index.json", "index") == tmp_path / "empty"
    assert refuse_foreign(tmp_path / "new", "index.json", "index") == Path(tmp_path / "new")
    for name in ("foreign", "foreign/diary.txt"):
        with pytest.raises(FileExistsError, match="no index"):
            refuse_foreign(tmp_path / name, "index.json", "index")
