"""Fixtures shared by the tests: the packaged model, and a cache that no other run can see."""

import errno
import os

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Give the tests a cache of their own, so that a learner's is neither read nor written."""
    os.environ.setdefault("COURSE_UTILS_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(scope="session")
def minilm():
    """The packaged all-MiniLM-L6-v2 on the CPU."""
    from course_utils import load_model

    return load_model(device="cpu")


@pytest.fixture
def rename_fails(monkeypatch):
    """Let the rename of a number, counted from 1 after the call, fail: ``rename_fails(2)``."""

    def arm(number):
        real, renames = os.replace, []

        def replace(source, target):
            renames.append(target)
            if len(renames) == number:
                raise OSError(errno.EIO, "the disk gave up")
            real(source, target)

        monkeypatch.setattr(os, "replace", replace)

    return arm
