"""A still says what every control and result says, in a form that a page without a kernel keeps."""

import base64
import re
import xml.etree.ElementTree as ET

import ipywidgets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval.index import Index
from course_utils.widgets import lesson1, lesson2, lesson3, lesson4
from course_utils.widgets.common import labelled
from course_utils.widgets.judging import judging_box
from course_utils.widgets.stills import still
from tests.pages import HOSTILE, TURNING, Page, assert_safe
from tests.widgets import test_choosing as choosing_tests
from tests.widgets import test_judging as judging_tests
from tests.widgets import test_lesson1 as tests1
from tests.widgets import test_lesson2 as tests2
from tests.widgets import test_lesson3 as tests3
from tests.widgets import test_lesson4 as tests4

ONERROR = "<img src=x onerror=alert(1)>"


def searching():
    texts = ["Sort the rows of a table", "Read a file"]
    index = Index.from_matrix(tests1.letters(texts), texts, ids=["sort", "read"])
    box = lesson1.search_box(tests1.LetterEmbedder(), index)
    box.query.value = "sort rows"
    return box


def measured():
    box = choosing_tests.chooser()
    box.measure.click()
    return box


def associated():
    box = lesson4.association_box(tests4.Encoder(), tests4.FLOWERS)
    box.run.click()
    return box


def owned():
    box = lesson1.cost_calculator(local_texts_per_second=1234.5)
    box.machine.value = "owned"
    return box


def judging(tmp_path):
    box = judging_box(judging_tests.ITEMS, tmp_path / "judgements.jsonl", judge="Kim")
    box.left.click()
    return box


BOXES = {
    "search_box": searching,
    "similarity_playground": lambda: lesson1.similarity_playground(tests1.letters, ["a b", "b"]),
    "truncation_slider": lambda: lesson1.truncation_slider(
        np.eye(12), np.eye(12), [[i] for i in range(12)]
    ),
    "map_explorer": tests1.explorer,
    "cost_calculator": lesson1.cost_calculator,
    "cost_calculator, owned": owned,
    "model_chooser": measured,
    "noise_slider": lambda: lesson2.noise_slider(tests2.SENTENCES),
    "compare_search": lambda: tests2.compared()[-1],
    "share_slider": lambda: lesson2.share_slider(tests2.shares()),
    "training_calculator": lambda: lesson2.training_calculator(50, 1500),
    "ranking_board": lambda: lesson3.ranking_board(tests3.RELEVANCE),
    "sample_size_slider": lambda: lesson3.sample_size_slider(*tests3.two_systems(), n_resamples=50),
    "tie_board": lambda: lesson3.tie_board(tests3.SCORES, tests3.GRADES),
    "judging_box": judging,
    "association_box": associated,
    "strength_slider": lambda: lesson4.strength_slider(tests4.trade_off()),
    "neighbour_box": lambda: lesson4.neighbour_box(*tests4.space()),
}


def inside(widget):
    """Every widget of the tree that is shown."""
    if widget.layout.display == "none":
        return
    yield widget
    for child in getattr(widget, "children", ()):
        yield from inside(child)


def state(box):
    return [widget.get_state() for widget in inside(box)]


def squeezed(text):
    return re.sub(r"\s+", "", text)


@pytest.fixture(params=BOXES)
def box(request, tmp_path):
    make = BOXES[request.param]
    return make(tmp_path) if request.param == "judging_box" else make()


def test_every_box_of_the_lessons_is_here():
    offered = {n for lesson in (lesson1, lesson2, lesson3, lesson4) for n in lesson.__all__}
    no_boxes = {"local_vs_api", "live_curves", "training_time", "wrong_signs"}
    assert offered - no_boxes == {name.partition(",")[0] for name in BOXES}


def test_labels_values_and_results_are_in_the_still_and_nothing_changes(box):
    before = state(box)
    made = still(box)
    assert state(box) == before
    page = Page(made.html)
    for widget in inside(box):
        if isinstance(widget, ipywidgets.HTML):
            assert squeezed(Page(re.sub("<svg.*?</svg>", "", widget.value)).text) in squeezed(
                page.text
            )
            continue
        if isinstance(widget, ipywidgets.Box):
            continue
        if isinstance(widget, ipywidgets.Button):
            assert widget.description in page.texts("kbd")
            continue
        shown = getattr(widget, "label", getattr(widget, "value", None))
        told = made.text.partition(f"\n{widget.description}:")[2]
        for value in shown if isinstance(shown, tuple) else [shown]:
            if isinstance(value, str):
                assert all(line in told for line in value.split("\n"))
            else:
                assert float(told.split("\n")[0].replace(",", "")) == value


def test_a_still_is_a_figure_that_a_sanitised_page_keeps_and_is_small(box):
    html = still(box).html
    page = Page(html)
    assert page.elements[0].tag == "figure"
    assert page.elements[0].attributes["role"] == "group"
    heading = Page(box.children[0]).texts("strong")[0]
    assert page.elements[0].attributes["aria-label"] == heading
    assert page.tags.count("figcaption") == 1
    assert "As it stood when this page was saved" in page.text
    assert not {"script", "style", "iframe"} & set(page.tags)
    assert len(html) < 120_000
    # What is dropped by a page that keeps no SVG says nothing, and every image says what it shows.
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        assert 'aria-hidden="true"' in svg
        assert not Page(svg).text
    for image in (element for element in page.elements if element.tag == "img"):
        assert len(image.attributes["alt"]) > 20


def test_charts_are_images_that_draw_and_say_the_same(box):
    kept = still(box).html
    charts = re.findall(
        r'<svg role="img" aria-label="([^"]*)".*?</svg>',
        "".join(w.value for w in inside(box) if isinstance(w, ipywidgets.HTML)),
        re.S,
    )
    images = re.findall(r'<img alt="([^"]*)"[^>]*src="data:image/svg\+xml;base64,([^"]*)"', kept)
    assert [alt for alt, _ in images] == charts
    for _, data in images:
        root = ET.fromstring(base64.b64decode(data))  # noqa: S314 - our own, just made
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert len(root) > 1


def test_the_text_says_what_the_figure_says(box):
    made = still(box)
    assert repr(made) == made.text
    page = Page(made.html)
    for part in page.elements[0].parts:
        assert squeezed(part) in squeezed(made.text)
    for element in page.elements:
        if element.tag == "img":
            assert f"[{element.attributes['alt']}]" in made.text
    assert not re.search(r"</\w+>|&\w+;", made.text)


def test_a_notebook_is_given_html_and_text_and_with_live_the_box_too():
    box = lesson2.training_calculator(50, 1500)
    made = still(box)
    assert made._repr_mimebundle_() == {"text/html": made.html, "text/plain": made.text}
    bundle = still(box, live=True)._repr_mimebundle_()
    view = bundle.pop("application/vnd.jupyter.widget-view+json")
    assert view == {"version_major": 2, "version_minor": 0, "model_id": box.model_id}
    assert bundle == {"text/html": made.html, "text/plain": made.text}


def test_ipython_keeps_it_as_html():
    from IPython.core.formatters import DisplayFormatter

    made = still(lesson2.training_calculator(50, 1500))
    data, _ = DisplayFormatter().format(made)
    assert data["text/html"] == made.html
    assert data["text/plain"] == made.text


def test_the_still_does_not_follow_the_box():
    box = lesson2.training_calculator(50, 1500)
    before = still(box)
    html = before.html
    box.epochs.value = 7
    assert before.html == html
    assert still(box).html != html


def box_of(*parts):
    return labelled("Title", "Look for it.", **{f"p{i}": part for i, part in enumerate(parts)})


def lines(*parts):
    return still(box_of(*parts)).text.split("\n")[2:-1]


def every_kind(text):
    return box_of(
        ipywidgets.Text(text, description=text),
        ipywidgets.Textarea(f"{text}\n{text}", description=text),
        ipywidgets.Dropdown(options=[(text, 1)], value=1, description=text),
        ipywidgets.Select(options=[text, "other"], description=text),
        ipywidgets.SelectMultiple(options=[text, "other"], value=(text,), description=text),
        ipywidgets.SelectionSlider(options=[text, "other"], description=text),
        ipywidgets.ToggleButtons(options=[text, "other"], description=text),
        ipywidgets.RadioButtons(options=[text, "other"], description=text),
        ipywidgets.Combobox(value=text, description=text),
        ipywidgets.Checkbox(True, description=text),
        ipywidgets.Button(description=text),
        ipywidgets.Label(text),
        ipywidgets.Output(outputs=({"output_type": "stream", "name": "stdout", "text": text},)),
        ipywidgets.Output(
            outputs=({"output_type": "error", "ename": text, "evalue": text, "traceback": []},)
        ),
        ipywidgets.Output(
            outputs=(
                {
                    "output_type": "display_data",
                    "data": {"image/png": "AAAA", "text/plain": text},
                    "metadata": {},
                },
            )
        ),
    )


@pytest.mark.parametrize("text", [HOSTILE, ONERROR])
def test_what_anyone_typed_is_shown_as_text(text):
    made = still(every_kind(text))
    if text == HOSTILE:
        assert_safe(made.html)
    page = Page(made.html)
    assert page.tags.count("img") == 1  # that of the output
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not TURNING.search(made.html + made.text)
    assert page.text.count("alert(1)") >= 25


@settings(max_examples=30, deadline=None)
@given(st.text(min_size=1))
def test_any_text_leaves_the_tags_as_they_are(text):
    html = still(box_of(ipywidgets.Text(text, description=text), ipywidgets.Label(text))).html
    plain = still(box_of(ipywidgets.Text("x", description="x"), ipywidgets.Label("x"))).html
    # An empty line is said to be empty, and a line end starts a line of its own.
    tags = [tag for tag in Page(html).tags if tag not in ("br", "strong")]
    assert tags == [tag for tag in Page(plain).tags if tag not in ("br", "strong")]


def test_each_control_is_a_line():
    options = [("One", 1), ("Two", 2)]
    assert lines(
        ipywidgets.Text("", description="Empty"),
        ipywidgets.Checkbox(True, description="On"),
        ipywidgets.Checkbox(False, description="Off"),
        ipywidgets.IntSlider(1_000_000, max=10**7, description="Many"),
        ipywidgets.BoundedFloatText(250_000.0, max=1e9, description="Sum"),
        ipywidgets.FloatSlider(0.1 + 0.2, description="Share"),
        ipywidgets.IntRangeSlider(value=(2, 5), description="Range"),
        ipywidgets.SelectionRangeSlider(options=options, index=(0, 1), description="From"),
        ipywidgets.Dropdown(options=options, value=2, description="Choice"),
        ipywidgets.Dropdown(options=options, value=None, description="None"),
        ipywidgets.Password("secret", description="Key"),
        ipywidgets.Button(description="Up"),
        ipywidgets.Button(description="Down"),
    ) == [
        "Empty: (empty)",
        "On: yes",
        "Off: no",
        "Many: 1,000,000",
        "Sum: 250,000",
        "Share: 0.3",
        "Range: 2 to 5",
        "From: One to Two",
        "Choice: Two",
        "None: (empty)",
        "Key: (not shown)",
        "Up Down",
    ]


def test_a_list_shows_its_order_and_what_is_chosen():
    options = ["first", "second", "third"]
    assert lines(ipywidgets.Select(options=options, value="second", description="Order")) == [
        "Order:",
        "first",
        "second (chosen)",
        "third",
    ]
    many = ipywidgets.SelectMultiple(options=range(50), value=(0, 2), description="Many")
    shown = lines(many)
    assert shown[1:4] == ["0 (chosen)", "1", "2 (chosen)"]
    assert shown[-1] == "and 20 more"


def test_hidden_parts_and_passwords_are_left_out():
    hidden = ipywidgets.VBox([ipywidgets.Text("deep")], layout={"display": "none"})
    unseen = ipywidgets.Text("unseen", layout={"visibility": "hidden"})
    html = still(box_of(hidden, unseen, ipywidgets.Password("secret", description="Key"))).html
    assert not re.search("deep|unseen|secret", html)


def test_outputs_are_kept_without_what_runs():
    def output(**data):
        return {"output_type": "display_data", "data": data, "metadata": {}}

    png = output(**{"image/png": "iVBO\nRw==", "text/plain": "<Figure>"})
    png["metadata"] = {"image/png": {"alt": "Bar chart of a against b."}}
    frame = "<style scoped>td {}</style><table><tr><td>7</td></tr></table><script>bad()</script>"
    outputs = (
        {"output_type": "stream", "name": "stdout", "text": "told <so>\n"},
        output(**{"text/html": frame, "text/plain": "7"}),
        output(**{"text/plain": "plain <b>"}),
        png,
    )
    page = Page(still(box_of(ipywidgets.Output(outputs=outputs))).html)
    assert page.texts("pre") == ["told <so>\n", "plain <b>"]
    assert page.texts("td") == ["7"]
    assert not {"script", "style", "b", "so"} & set(page.tags)
    (image,) = (element for element in page.elements if element.tag == "img")
    assert image.attributes["alt"] == "Bar chart of a against b."
    assert image.attributes["src"] == "data:image/png;base64,iVBORw=="


def test_a_map_of_many_texts_is_told_and_not_drawn():
    box = tests1.explorer(1500)
    assert len(box.map.value) > 100_000
    box.find.value = "text 3"
    made = still(box)
    assert len(made.html) < 15_000
    assert "Picture left out" in made.text
    assert made.text.count("points are drawn in full strength") >= 2
    assert "numpy" in made.text
    assert "pandas <b>" in made.text


def test_a_widget_without_a_heading_is_a_figure_too():
    made = still(ipywidgets.IntSlider(3, description="k"))
    assert Page(made.html).elements[0].attributes["aria-label"] == "Widget"
    assert made.text.startswith("k: 3\n")
    assert still(ipywidgets.HTML("x", description="Told")).text.startswith("Told:\nx\n")


def test_what_is_no_widget_is_refused():
    with pytest.raises(TypeError, match="not of a str"):
        still("a box")
    with pytest.raises(TypeError, match="not of a Layout"):
        still(ipywidgets.Layout())


def test_without_ipywidgets_the_line_to_type_is_given(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    with pytest.raises(ImportError, match="A widget needs the package ipywidgets"):
        still(None)
