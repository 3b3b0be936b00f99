"""The curves of a run: drawn in one place, at most once a second, whole at the end."""

import re

import pytest

from course_utils.adaptation.progress import Progress
from course_utils.widgets import training
from course_utils.widgets.training import live_curves
from tests.pages import Page


class Notebook:
    """What stands in for a cell's output, and for the clock on the wall."""

    def __init__(self):
        self.shown, self.updates, self.now = [], 0, 0.0

    def display(self, html, display_id=None):
        assert display_id
        self.shown.append(html.data)
        return self

    def update(self, html):
        self.updates += 1
        self.shown[-1] = html.data


@pytest.fixture
def notebook(monkeypatch):
    place = Notebook()
    monkeypatch.setattr("IPython.display.display", place.display)
    monkeypatch.setattr(training.time, "monotonic", lambda: place.now)
    return place


def rows(steps, *, dev_every=10):
    return [
        {"step": step, "loss": 2.0 - step / steps, "dev": 0.5 if step % dev_every == 0 else None}
        for step in range(1, steps + 1)
    ]


def run(notebook, history, *, seconds, steps=None):
    """Let a run of these rows pass, one step every so many seconds."""
    show, steps = live_curves(), steps or len(history)
    for step in range(1, len(history) + 1):
        notebook.now += seconds
        show(Progress(step, steps, history[:step], ended=step == len(history)))


def test_all_drawings_stand_in_one_place(notebook):
    run(notebook, rows(5), seconds=2)
    assert len(notebook.shown) == 1
    assert notebook.updates == 4


def test_it_is_drawn_once_a_second_and_at_the_end(notebook):
    run(notebook, rows(40), seconds=0.25)
    # At the first step, every fourth after it, and at the last.
    assert notebook.updates == 9 + 1
    assert "Step 40 of 40." in Page(notebook.shown[0]).text


def test_two_runs_have_two_places(notebook):
    run(notebook, rows(2), seconds=1)
    run(notebook, rows(2), seconds=1)
    assert len(notebook.shown) == 2


def test_the_description_holds_the_first_and_the_last_numbers(notebook):
    run(notebook, rows(20), seconds=1, steps=100)
    loss, dev = Page(notebook.shown[0]).labels
    assert loss == "Line chart: loss upwards against step across: 1.9500 at 1, 1.0000 at 20."
    assert dev == "Line chart: dev score upwards against step across: 0.5000 at 10, 0.5000 at 20."
    text = Page(notebook.shown[0]).text
    assert "Loss: 1.0000" in text
    assert "Dev score: 0.5000" in text


def test_a_run_without_a_dev_score_or_a_loss_yet_can_be_drawn(notebook):
    history = [{"step": 1, "loss": None, "dev": None}, {"step": 2, "loss": 1.5, "dev": None}]
    run(notebook, history[:1], seconds=1)
    assert Page(notebook.shown[0]).labels == []
    run(notebook, history, seconds=1)
    (loss,) = Page(notebook.shown[1]).labels
    assert "1.5000 at 2" in loss


def test_a_long_run_is_thinned_and_its_last_step_kept(notebook):
    show, history = live_curves(), rows(5000, dev_every=10_000)
    show(Progress(5000, 5000, history, ended=True))
    (points,) = re.findall(r'<polyline points="([^"]+)"', notebook.shown[0])
    assert 250 < len(points.split()) <= 301
    assert "1.0000 at 5,000." in Page(notebook.shown[0]).labels[0]
