"""The chooser measures what is chosen, once, shows each as it is done, and hides no reason."""

import re

import numpy as np
import pytest

from course_utils.data import RetrievalTask, SimilarityTask
from course_utils.metrics import measure_models
from course_utils.plots.svg import interval_scatter
from course_utils.widgets import lesson1
from course_utils.widgets.common import escape
from tests.pages import HOSTILE, TURNING, Page, assert_safe

LETTERS = "abcdefghijklmnopqrstuvwxyz"


class Counting:
    """An embedder without a model: how often each of some letters occurs."""

    def __init__(self, letters=LETTERS):
        self.letters, self.calls = letters, 0

    def encode(self, texts):
        self.calls += 1
        counts = [[text.count(letter) for letter in self.letters] for text in texts]
        return np.array(counts, dtype=np.float32) + 0.01


def toy(name="toy", n=36):
    rng = np.random.default_rng(n)
    corpus = {f"d{i}": "".join(rng.choice(list(LETTERS), 7)) for i in range(n)}
    queries = {f"q{i}": corpus[f"d{i}"][:5] for i in range(20)}
    return RetrievalTask(name, corpus, queries, {f"q{i}": {f"d{i}": 1} for i in range(20)})


def chooser(models=None, tasks=None, **options):
    models = models or {"all": Counting(), "vowels": Counting("aeiou"), "few": Counting("abc")}
    return lesson1.model_chooser(models, tasks or {"toy": toy()}, **options)


def cells(box):
    """The texts of each row of the table, by the name of its model."""
    rows = [re.findall(r"<t[hd].*?</t[hd]>", r) for r in re.findall(r"<tr>.*?</tr>", html(box))]
    texts = [[Page(cell).text for cell in row] for row in rows[1:]]
    return {row[0].partition(": ")[2] or row[0]: row[1:] for row in texts}


def html(box):
    return box.results.value


def test_nothing_is_measured_before_the_button_is_pressed():
    models = {"all": Counting()}
    box = chooser(models)
    assert box.table is None
    assert "Nothing is measured yet" in html(box)
    assert models["all"].calls == 0


def test_the_first_two_are_chosen_at_first():
    assert chooser().models.value == ("all", "vowels")


def test_the_table_is_that_of_measure_models():
    box = chooser()
    box.models.value = ("all", "vowels", "few")
    box.measure.click()
    same = measure_models(
        {"all": Counting(), "vowels": Counting("aeiou"), "few": Counting("abc")}, toy()
    )
    quality = list(same.columns[:7])
    np.testing.assert_allclose(box.table[quality], same[quality])
    assert list(box.table["bytes"]) == [104, 20, 12]
    rows = cells(box)
    assert list(rows) == ["all", "vowels", "few"]
    for name, row in box.table.iterrows():
        told = rows[name]
        assert told[0] == f"{row['mrr@10']:.3f}"
        assert told[1] == f"{row['low']:.3f} to {row['high']:.3f}"
        assert told[5] == str(int(row["bytes"]))
        assert told[6] == "not told"
        if name != "all":
            clear = row["change_low"] > 0 or row["change_high"] < 0
            assert told[2].endswith("not clear" if not clear else ", clear")
            assert told[2].startswith(f"{row['change']:+.3f}".replace("-", "−"))


def test_letters_of_the_table_are_those_of_the_chart_which_tells_every_point():
    box = chooser()
    box.measure.click()
    page = Page(box.results)
    (said,) = [label for label in page.labels if label.startswith("Scatter plot")]
    for letter, (name, row) in zip("ab", box.table.iterrows(), strict=True):
        assert f"{letter}: {name}" in page.texts("th")
        ends = f"({row['low']:.3f} to {row['high']:.3f})"
        assert f"{letter}, {name}: {row['mrr@10']:.3f} {ends} at " in said
    assert page.tags.count("circle") == 2


def test_asking_again_measures_only_what_is_new():
    models = {"all": Counting(), "vowels": Counting("aeiou")}
    box = chooser(models, {"one": toy("one"), "other": toy("other", 40)})
    box.measure.click()
    before = {name: model.calls for name, model in models.items()}
    table = box.table
    box.models.value = ("all",)
    box.measure.click()
    assert list(box.table.index) == ["all"]
    box.models.value = ("all", "vowels")
    box.measure.click()
    assert {name: model.calls for name, model in models.items()} == before
    assert box.table.equals(table)
    box.task.value = "other"
    box.measure.click()
    assert all(model.calls > before[name] for name, model in models.items())
    assert "other: 20 queries among 40 documents" in Page(box.results).text


def test_models_are_made_when_they_are_asked_for():
    made = []

    def maker(name):
        return lambda: made.append(name) or Counting()

    box = chooser({name: maker(name) for name in ("small", "large", "huge")})
    assert made == []
    box.models.value = ("huge",)
    box.measure.click()
    assert made == ["huge"]


def test_each_model_is_shown_as_soon_as_it_is_done():
    seen = []

    class Looking(Counting):
        def encode(self, texts):
            seen.append((html(box), box.measure.disabled))
            return super().encode(texts)

    box = chooser({"first": Looking(), "second": Looking()})
    box.measure.click()
    (start, pressed), (end, _) = seen[0], seen[-1]
    assert pressed
    assert "Measuring first (1 of 2)" in start
    assert "first:" not in Page(start).text
    assert "Measuring second (2 of 2)" in end
    assert "a: first" in Page(end).texts("th")
    assert not box.measure.disabled
    assert "Measuring" not in html(box)


def test_a_model_that_fails_says_why_and_the_others_go_on():
    def missing():
        raise ImportError('MPNet needs a package. Run: pip install "course[mpnet]"')

    def broken(texts):
        raise RuntimeError("out of <memory>")

    box = chooser({"missing": missing, "all": Counting(), "broken": broken})
    box.models.value = ("missing", "all", "broken")
    box.measure.click()
    assert list(box.table.index) == ["all"]
    rows = cells(box)
    assert rows["missing"] == [
        'Not measured. MPNet needs a package. Run: pip install "course[mpnet]"'
    ]
    assert rows["broken"] == ["Not measured. RuntimeError: out of <memory>"]
    assert rows["all"][2] == "–"
    assert not box.measure.disabled


def test_where_all_fail_there_is_no_table_and_no_chart():
    box = chooser({"broken": lambda texts: 1 / 0})
    box.measure.click()
    assert box.table is None
    assert "ZeroDivisionError" in html(box)
    assert "svg" not in Page(box.results).tags


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ("no-such-task", "There is no task called"),
        (SimilarityTask("pairs", [("a", "b"), ("c", "d")], [1, 2]), "pairs is a SimilarityTask"),
    ],
)
def test_a_task_that_does_not_fit_is_said_in_a_sentence(task, told):
    box = chooser(tasks={"mine": task, "toy": toy()})
    box.measure.click()
    assert told in Page(box.results).text
    assert box.table is None
    box.task.value = "toy"
    box.measure.click()
    assert len(box.table) == 2


def test_a_task_is_loaded_by_its_name_and_cut_to_size():
    box = chooser(tasks={"wiki": "company-wiki"}, questions=20, documents=60)
    box.models.value = ("vowels",)
    box.measure.click()
    assert "company-wiki: 20 queries among 60 documents" in Page(box.results).text


def test_choosing_none_is_said_and_a_changed_choice_as_well():
    box = chooser()
    box.models.value = ()
    box.measure.click()
    assert "Choose a model at least." in Page(box.results).text
    box.models.value = ("all",)
    box.measure.click()
    assert "The choice has changed" not in html(box)
    box.models.value = ("vowels",)
    assert "The choice has changed since this was measured." in Page(box.results).text
    assert "a: all" in Page(box.results).texts("th")


def test_names_and_reasons_are_shown_as_text():
    def hostile(texts):
        raise ValueError(HOSTILE)

    task = toy(HOSTILE)
    box = chooser({HOSTILE: Counting(), f"{HOSTILE}2": hostile}, {HOSTILE: task})
    box.measure.click()
    assert_safe(box.results)
    assert not TURNING.search("".join(map(str, box.models._options_labels)))
    assert escape(HOSTILE) in html(box)


def test_too_many_models_and_no_task_are_refused():
    with pytest.raises(ValueError, match="27 models and 1 tasks"):
        chooser({str(i): Counting() for i in range(27)})
    with pytest.raises(ValueError, match="0 models and 1 tasks"):
        lesson1.model_chooser({}, {"toy": toy()})
    with pytest.raises(ValueError, match="1 models and 0 tasks"):
        lesson1.model_chooser({"a": Counting()}, {})


def test_every_control_has_a_name_and_the_output_is_a_region():
    box = chooser()
    assert all(part.description for part in (box.task, box.models, box.measure))
    assert "ook for" in Page(box.children[0]).text
    attributes = dict(Page(box.results).attributes[:3])
    assert attributes["role"] == "region"
    assert attributes["aria-label"]


def scatter(points):
    ticks = {"x_ticks": {1: "1", 100: "100", 10_000: "10,000"}, "y_ticks": {0: "0", 1: "1"}}
    return interval_scatter(points, xlabel="texts/s", ylabel="MRR", size=(400, 100), **ticks)


def test_points_stand_at_the_logarithm_of_their_speed_with_their_interval():
    drawn = scatter({"slow": (1, 0.5, 0.25, 0.75), HOSTILE: (1000, 1.0, 0.9, 1.0)})
    circles = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', drawn)
    (x1, y1), (x2, y2) = (tuple(map(float, each)) for each in circles)
    assert x2 - x1 == pytest.approx(400 * 3 / 4)
    assert y1 - y2 == pytest.approx(50)
    bars = re.findall(r'<line x1="([\d.]+)" y1="([\d.]+)" x2="[\d.]+" y2="([\d.]+)" st', drawn)
    ends = [tuple(map(float, each)) for each in bars[-2:]]
    assert ends[0] == pytest.approx((x1, y1 - 25, y1 + 25))
    assert ends[1] == pytest.approx((x2, y2, y2 + 10))
    assert escape(HOSTILE) in drawn
    assert not TURNING.search(drawn)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ({}, "There are 0 points"),
        ({str(i): (1, 1, 1, 1) for i in range(27)}, "There are 27 points"),
        ({"a": (0, 0.5, 0.4, 0.6)}, "x above 0"),
        ({"a": (1, 0.5, float("nan"), 0.6)}, "finite"),
    ],
)
def test_what_cannot_be_drawn_is_refused(points, message):
    with pytest.raises(ValueError, match=message):
        scatter(points)


def test_a_slow_model_and_a_perfect_one_are_drawn_inside_the_picture():
    box = chooser({"perfect": Counting()})
    box.measure.click()
    (said,) = [label for label in Page(box.results).labels if label.startswith("Scatter plot")]
    assert "perfect: 1.000 (1.000 to 1.000)" in said
    assert Page(box.results).texts("text")[1:4] == ["0.9", "0.95", "1"]
