"""The judging box is blind, loses nothing, goes on where it stopped, and shows text as text."""

import re
import subprocess
import sys

import pytest

from course_utils.metrics.judging import judged_by_both, preference, read_judgements
from course_utils.widgets.judging import judging_box
from tests.pages import HOSTILE, Page, assert_safe

ITEMS = [(f"query {i}", [f"alpha {i}", f"beta {i}"], [f"gamma {i}"]) for i in range(24)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "kim.jsonl"


def columns(widget):
    """The texts in each of the columns, by its name."""
    return {
        element.attributes["aria-label"]: element.parts
        for element in Page(widget).elements
        if element.attributes.get("role") == "group"
    }


def left_is(box):
    """The system on the left, told from the texts as only the test can."""
    first = columns(box.pair)["Left"][1].split()[0]
    return {"alpha": "a", "gamma": "b"}[first]


def side_of(box, system):
    return box.left if left_is(box) == system else box.right


def test_both_lists_and_the_query_are_shown_best_first(path):
    box = judging_box(ITEMS, path, judge="Kim")
    page = Page(box.pair)
    assert "query 0" in page.text
    shown = columns(box.pair)
    assert sorted(shown) == ["Left", "Right"]
    assert sorted(texts[1:] for texts in shown.values()) == [["alpha 0", "beta 0"], ["gamma 0"]]


def test_the_system_is_recorded_not_the_side(path):
    box = judging_box(ITEMS, path, judge="Kim")
    for _ in ITEMS:
        side_of(box, "b").click()
    assert [each.choice for each in box.judgements] == ["b"] * 24
    assert preference(box.judgements).share == 1


def test_what_stood_on_the_left_is_recorded(path):
    box = judging_box(ITEMS, path, judge="Kim")
    stood = []
    for _ in ITEMS:
        stood.append(left_is(box))
        box.left.click()
    assert [each.left for each in box.judgements] == stood
    assert preference(box.judgements).left_share == 1


def test_every_system_stands_on_both_sides_and_the_seed_decides_where(path):
    def sides(**options):
        box = judging_box(ITEMS, path, **options)
        drawn = []
        for _ in ITEMS:
            drawn.append(left_is(box))
            box.skip.click()
        path.unlink()
        return drawn

    first = sides(judge="Kim")
    assert 4 <= first.count("a") <= 20
    assert sides(judge="Kim") == first
    assert sides(judge="Kim", seed=1) != first
    assert sides(judge="Lou") != first


def test_nothing_on_the_page_tells_the_systems_apart(path, tmp_path):
    one = judging_box(ITEMS, path, judge="Kim")
    # The same texts the other way round, at a seed that puts them on the same sides.
    swapped = [(query, b, a) for query, a, b in ITEMS[:1]]
    for seed in range(100):
        other = judging_box(swapped, tmp_path / f"{seed}.jsonl", judge="Kim", seed=seed)
        if left_is(other) == left_is(one):
            break
    assert other.pair.value == one.pair.value


@pytest.mark.parametrize("choice", ["equal", "skip"])
def test_equal_and_skip_name_no_system(path, choice):
    box = judging_box(ITEMS, path, judge="Kim")
    getattr(box, choice).click()
    assert [each.choice for each in box.judgements] == [choice]


def test_every_judgement_is_in_the_file_before_the_next_item_appears(path):
    box = judging_box(ITEMS, path, judge="Kim")
    for made in range(1, 4):
        box.right.click()
        assert len(read_judgements(path)) == made
        assert read_judgements(path) == box.judgements
        assert f"query {made}" in Page(box.pair).text


def test_it_goes_on_where_it_stopped(path):
    box = judging_box(ITEMS, path, judge="Kim")
    for _ in range(5):
        box.left.click()
    before = box.judgements
    again = judging_box(ITEMS, path, judge="Kim")
    assert again.judgements == before
    assert "5 of 24 judged" in Page(again.progress).text
    assert again.pair.value == box.pair.value
    again.equal.click()
    assert read_judgements(path) == again.judgements
    assert len(again.judgements) == 6


def test_it_goes_on_after_a_crash_in_the_midst_of_a_line(path):
    box = judging_box(ITEMS, path, judge="Kim")
    box.left.click()
    box.left.click()
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="torn"):
        again = judging_box(ITEMS, path, judge="Kim")
    assert "query 1" in Page(again.pair).text
    with pytest.warns(UserWarning, match="torn"):
        again.right.click()
    assert [each.query for each in read_judgements(path)] == ["query 0", "query 1"]


def test_items_are_known_by_what_they_hold_and_not_by_their_place(path):
    box = judging_box(ITEMS[:4], path, judge="Kim")
    box.left.click()
    changed = (ITEMS[1][0], ITEMS[1][1], ["another text"])
    again = judging_box([changed, *reversed(ITEMS[:4])], path, judge="Kim")
    assert "1 of 5 judged" in Page(again.progress).text
    asked = []
    for _ in range(4):
        asked.append(re.search(r"query \d", Page(again.pair).text)[0])
        again.skip.click()
    assert asked == ["query 1", "query 3", "query 2", "query 1"]


def test_two_judges_are_kept_apart_and_can_be_compared(path):
    for judge, system in (("Kim", "b"), ("Lou", "a")):
        box = judging_box(ITEMS, path, judge=judge)
        assert "0 of 24 judged" in Page(box.progress).text
        for _ in range(3):
            side_of(box, system).click()
    made = read_judgements(path)
    assert judged_by_both(made, "Kim", "Lou") == (["b"] * 3, ["a"] * 3)


def test_the_end_is_said_and_another_press_does_nothing(path):
    box = judging_box(ITEMS[:1], path, judge="Kim")
    box.left.click()
    assert "Every item is judged" in Page(box.pair).text
    assert "1 of 1 judged" in Page(box.progress).text
    assert all(getattr(box, name).disabled for name in ("left", "right", "equal", "skip"))
    box.left.click()
    assert len(read_judgements(path)) == 1


def test_a_judgement_that_cannot_be_saved_is_not_counted(tmp_path):
    gone = tmp_path / "folder" / "kim.jsonl"
    box = judging_box(ITEMS, gone, judge="Kim")
    # ipywidgets logs what a press raises, where nobody looks; so it has to stand on the page.
    box.left.click()
    assert box.judgements == []
    assert re.search("Not saved.*No such file", Page(box.progress).text)
    assert "query 0" in Page(box.pair).text
    gone.parent.mkdir()
    box.left.click()
    assert read_judgements(gone) == box.judgements
    assert "1 of 24 judged" in Page(box.progress).text


def test_texts_are_shown_as_text_and_saved_as_they_are(path):
    box = judging_box([(HOSTILE, [HOSTILE], [])], path, judge="Kim")
    assert_safe(box.pair)
    said = Page(box.pair).text
    assert said.count("<script>alert(1)</script>") == 2
    assert "No results." in said
    box.equal.click()
    assert read_judgements(path)[0].query == HOSTILE


def test_every_control_and_every_output_has_a_name(path):
    box = judging_box(ITEMS, path, judge="Kim")
    assert "ook for" in Page(box.children[0]).text
    names = [getattr(box, name).description for name in ("left", "right", "equal", "skip")]
    assert len(set(names)) == 4
    assert all(names)
    for output in (box.pair, box.progress):
        attributes = dict(Page(output).attributes[:3])
        assert attributes["role"] == "region"
        assert attributes["aria-label"]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no items"),
        ([("q", ["x"])], "Item 0 is not"),
        ([ITEMS[0], ("q", "x", "y")], "Item 1 is not"),
        ([("q", ["x"], [3])], "Item 0 holds 3"),
        ([ITEMS[0], ITEMS[1], ITEMS[0]], "Item 2 is the same"),
        ([3], "Item 0 is not"),
    ],
)
def test_what_cannot_be_judged_is_refused(path, items, message):
    with pytest.raises(ValueError, match=message):
        judging_box(items, path, judge="Kim")
    with pytest.raises(ValueError, match="judge is ' '"):
        judging_box(ITEMS, path, judge=" ")


def test_importing_the_box_imports_no_widget_library():
    code = "import sys, course_utils.widgets.judging; print({'ipywidgets', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
