"""Without ipywidgets every widget says the same: what is missing, and the line to type."""

import sys

import pytest

from course_utils.models.files import install_line
from course_utils.widgets import common, lesson1, lesson2, lesson3, lesson4

EVERY = {
    common.labelled: 2,
    lesson1.cost_calculator: 0,
    lesson1.map_explorer: 3,
    lesson1.model_chooser: 2,
    lesson1.search_box: 2,
    lesson1.similarity_playground: 2,
    lesson1.truncation_slider: 3,
    lesson2.compare_search: 2,
    lesson2.noise_slider: 1,
    lesson2.share_slider: 1,
    lesson2.training_calculator: 2,
    lesson3.ranking_board: 1,
    lesson3.sample_size_slider: 2,
    lesson3.tie_board: 2,
    lesson4.association_box: 1,
    lesson4.neighbour_box: 3,
    lesson4.strength_slider: 1,
}


@pytest.mark.parametrize("widget", EVERY, ids=lambda widget: widget.__name__)
def test_the_line_to_type_is_given_before_anything_is_looked_at(widget, monkeypatch):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError) as error:
        widget(*[None] * EVERY[widget])
    assert str(error.value) == (
        "A widget needs the package ipywidgets, which is not installed. Run: "
        f"{install_line('course')}"
    )


def test_the_judging_box_does_not_read_its_file_first(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="A widget needs the package ipywidgets"):
        lesson3.judging_box([], tmp_path / "none", judge="")


def test_every_widget_of_a_lesson_is_asked():
    offered = {
        getattr(lesson, name)
        for lesson in (lesson1, lesson2, lesson3, lesson4)
        for name in lesson.__all__
    }
    no_widgets = {
        lesson1.local_vs_api,
        lesson2.live_curves,
        lesson2.training_time,
        lesson3.judging_box,
        lesson3.wrong_signs,
    }
    assert offered - no_widgets == EVERY.keys() - {common.labelled}


def test_the_live_curves_need_ipython(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(ImportError) as error:
        lesson2.live_curves()
    assert str(error.value) == (
        "A figure that moves needs the package IPython, which is not installed. Run: "
        f"{install_line('course')}"
    )
