"""The names of the room are functions and classes, whatever was imported before them."""

import importlib
import pkgutil
import sys
from types import ModuleType

import pytest

import course_utils.bias as bias

MODULES = [found.name for found in pkgutil.walk_packages(bias.__path__, "course_utils.bias.")]


@pytest.fixture
def _forgotten():
    """Let the package be imported anew, and put back what was there before."""
    before = {name: module for name, module in sys.modules.items() if name.startswith("course_u")}
    for name in before:
        del sys.modules[name]
    yield
    for name in [name for name in sys.modules if name.startswith("course_u")]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.mark.usefixtures("_forgotten")
@pytest.mark.parametrize("first", MODULES)
def test_a_name_is_no_module_whichever_of_them_was_imported_first(first):
    importlib.import_module(first)
    room = importlib.import_module("course_utils.bias")
    assert room is not bias
    for name in room.__all__:
        assert not isinstance(getattr(room, name), ModuleType), name
    from course_utils.bias import association, audit, word_vectors

    assert {audit.__name__, association.__name__, word_vectors.__name__} == {
        "audit",
        "association",
        "word_vectors",
    }


def test_a_name_that_is_none_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'wheat'"):
        bias.wheat  # noqa: B018
