"""Fixtures shared by the tests of figures."""

import sys

import pytest

from course_utils.models.files import install_line


@pytest.fixture
def without_matplotlib(monkeypatch):
    """Take matplotlib away and give the sentence that a figure then has to say."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = install_line("course")
    return f"A figure needs the package matplotlib, which is not installed. Run: {line}"
