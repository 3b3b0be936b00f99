"""Widgets answer to their controls, show every text as text, and do not hide errors."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.retrieval.index import Index
from course_utils.widgets import common, lesson1, maps
from course_utils.widgets.costs import local_vs_api, owned_machine, rented_machine
from tests.pages import HOSTILE, TURNING, Page, assert_safe


class LetterEmbedder:
    """An embedder without a model: how often each letter occurs."""

    def __init__(self):
        self.asked = []

    def encode(self, texts):
        self.asked += texts
        counts = [[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts]
        return np.array(counts, dtype=np.float32) + 1e-3


def letters(texts):
    return LetterEmbedder().encode(texts)


@pytest.fixture
def index():
    texts = ["Sort the rows of a table", "Read a file", f"Write it: {HOSTILE}"]
    return Index.from_matrix(letters(texts), texts, ids=["sort", "<i>read</i>", "write"])


class TestSearchBox:
    def test_results_follow_the_query_and_the_number_asked_for(self, index):
        box = lesson1.search_box(LetterEmbedder(), index, k=3)
        assert "Type a few words" in box.results.value
        box.query.value = "sort rows"
        assert Page(box.results).tags.count("li") == 3
        box.k.value = 1
        page = Page(box.results)
        assert page.tags.count("li") == 1
        assert ("value", "1") in page.attributes

    def test_words_of_the_query_are_marked_in_the_results(self, index):
        box = lesson1.search_box(LetterEmbedder(), index)
        box.query.value = "ROWS to sort, quot"
        assert set(Page(box.results).texts("mark")) == {"Sort", "rows"}

    def test_texts_and_ids_are_shown_as_text(self, index):
        box = lesson1.search_box(LetterEmbedder(), index, k=3)
        box.query.value = "write script"
        assert_safe(box.results.value)
        assert "<i>read</i>" in Page(box.results).text

    def test_an_error_of_the_search_is_not_hidden(self, index):
        class Broken:
            def encode(self, texts):
                raise RuntimeError("out of memory")

        box = lesson1.search_box(Broken(), index)
        with pytest.raises(RuntimeError, match="out of memory"):
            box.query.value = "sort"

    def test_it_finds_by_meaning_with_the_packaged_model(self, minilm):
        from course_utils.retrieval.index import build_index

        corpus = {"tax": "How to file a tax return", "cat": "The kitten sleeps on the sofa"}
        box = lesson1.search_box(minilm, build_index(minilm, corpus), k=1)
        box.query.value = "a cat having a nap"
        assert Page(box.results).texts("code") == ["cat"]


class TestSimilarityPlayground:
    def test_every_pair_has_its_cosine_in_the_table(self):
        box = lesson1.similarity_playground(letters, ["aab", "ab", "zz"])
        cells = Page(box.table).texts("td")
        assert [float(cell) for cell in cells if cell.strip()] == pytest.approx(
            [1.0, 3 / 10**0.5, 0, 3 / 10**0.5, 1.0, 0, 0, 0, 1.0], abs=0.006
        )
        assert "Most alike: 1 and 2, with a cosine of 0.95." in Page(box.table).text

    def test_the_table_follows_the_typing_and_encodes_only_what_is_new(self):
        embedder = LetterEmbedder()
        box = lesson1.similarity_playground(embedder.encode, ["one", "two"])
        box.sentences.value = "one\n\ntwo\nthree"
        assert embedder.asked == ["one", "two", "three"]
        assert Page(box.table).tags.count("tr") == 4

    def test_at_most_12_sentences_are_compared(self):
        box = lesson1.similarity_playground(letters, [f"text {chr(97 + i)}" for i in range(15)])
        assert Page(box.table).tags.count("tr") == 13
        assert "the first 12 of 15" in Page(box.table).text

    def test_too_few_sentences_and_a_refusal_are_said_in_a_sentence(self):
        def picky(texts):
            if "no" in texts:
                raise ValueError("The text <no> cannot be encoded.")
            return letters(texts)

        box = lesson1.similarity_playground(picky, ["one"])
        assert "at least two sentences" in Page(box.table).text
        box.sentences.value = "one\nno"
        assert Page(box.table).text == "The text <no> cannot be encoded."
        box.sentences.value = "one\nyes"
        assert "Most alike" in Page(box.table).text

    def test_a_vector_without_direction_is_named(self):
        box = lesson1.similarity_playground(lambda texts: np.zeros((len(texts), 2)), ["a", "b"])
        assert "Sentence 1 has the vector zero" in Page(box.table).text

    def test_another_error_is_not_hidden(self):
        box = lesson1.similarity_playground(letters, ["a", "b"])
        with pytest.raises(ZeroDivisionError):
            lesson1.similarity_playground(lambda texts: 1 / 0, ["a", "b"])
        assert "Most alike" in Page(box.table).text

    def test_sentences_are_shown_as_text(self):
        assert_safe(lesson1.similarity_playground(letters, [HOSTILE, "plain"]).table.value)


def recall_by_hand(documents, queries, wanted, dimensions):
    """The mean share of the wanted rows among the ten nearest, written out plainly."""
    shares = []
    for query, rows in zip(queries[:, :dimensions], wanted, strict=True):
        kept = documents[:, :dimensions]
        cosines = kept @ query / np.linalg.norm(kept, axis=1)
        ten = set(np.argsort(-cosines)[:10].tolist())
        shares.append(len(ten & set(rows)) / len(set(rows)))
    return np.mean(shares)


class TestTruncationSlider:
    @pytest.fixture
    def vectors(self):
        rng = np.random.default_rng(7)
        documents = rng.normal(size=(80, 40)) * np.linspace(1, 0.2, 40)
        documents /= np.linalg.norm(documents, axis=1, keepdims=True)
        return documents, documents[:20] + 0.05 * rng.normal(size=(20, 40))

    def test_recall_and_bytes_are_those_of_the_dimensions_kept(self, vectors):
        documents, queries = vectors
        relevant = [[i, i + 30] if i % 2 else [i] for i in range(20)]
        box = lesson1.truncation_slider(documents, queries, relevant)
        full = [np.argsort(-(documents @ query))[:10].tolist() for query in queries]
        assert list(box.dimensions.options) == [8, 16, 32, 40]
        for kept in box.dimensions.options:
            box.dimensions.value = kept
            page = Page(box.results)
            numbers = [cell.strip() for cell in page.texts("td") if cell.strip()]
            assert numbers == [
                f"{recall_by_hand(documents, queries, full, kept):.3f}",
                f"{recall_by_hand(documents, queries, relevant, kept):.3f}",
                f"{kept * 4}",
                f"{kept * 4} MB",
            ]

    def test_all_dimensions_lose_nothing(self, vectors):
        documents, queries = vectors
        box = lesson1.truncation_slider(documents, queries, [[i] for i in range(20)])
        assert box.dimensions.value == 40
        assert "1.000" in Page(box.results).text

    def test_moving_the_slider_searches_no_more(self, vectors, monkeypatch):
        documents, queries = vectors
        box = lesson1.truncation_slider(documents, queries, [[i] for i in range(20)])
        monkeypatch.setattr(Index, "search", None)
        box.dimensions.value = 8
        assert "The first 8 of 40 dimensions." in Page(box.results).text

    def test_the_curves_say_in_words_what_they_show(self, vectors):
        documents, queries = vectors
        relevant = [[i] for i in range(20)]
        box = lesson1.truncation_slider(documents, queries, relevant)
        box.dimensions.value = 16
        full = (queries @ documents.T).argsort(axis=1)[:, ::-1][:, :10]
        said = Page(box.results).labels[-1]
        for letter, name, wanted in (
            ("a", "against the ranking by all dimensions", full),
            ("b", "against relevance", relevant),
        ):
            told = (
                f"{recall_by_hand(documents, queries, wanted, kept):.2f} at {kept}{marked}"
                for kept, marked in ((8, ""), (16, " (marked)"), (40, ""))
            )
            assert f"{letter}, {name}: {', '.join(told)}" in said

    def test_relevance_that_does_not_fit_is_refused(self, vectors):
        with pytest.raises(ValueError, match="20 queries and 1 lists"):
            lesson1.truncation_slider(*vectors, [[1]])
        with pytest.raises(ValueError, match="Query 3 has no relevant row"):
            lesson1.truncation_slider(*vectors, [[] if i == 3 else [i] for i in range(20)])


def explorer(n=4):
    points = np.random.default_rng(0).normal(size=(n, 2))
    texts = [f"Text {i}: {HOSTILE}" for i in range(n)]
    return maps.map_explorer(points, texts, [("numpy", "pandas <b>")[i % 2] for i in range(n)])


class TestMapExplorer:
    def test_every_point_carries_its_text_for_the_pointer(self):
        titles = " ".join(Page(explorer().map).texts("title"))
        assert all(f"Text {i}:" in titles for i in range(4))

    def test_a_group_has_a_shape_and_a_colour_of_its_own(self):
        html = explorer().map.value
        shapes = set(re.findall(r' d="([^"]+)"', html))
        assert len(shapes) == 2
        assert len(set(re.findall(r'fill="(#\w+)"', html))) == 2

    def test_choosing_a_group_or_words_fades_the_rest_and_lists_what_is_left(self):
        box = explorer()
        assert "4 of 4 points" in Page(box.map).text
        assert "li" not in Page(box.map).tags
        box.group.value = 1
        assert "2 of 4 points" in Page(box.map).text
        box.find.value = "TEXT 3"
        page = Page(box.map)
        assert "1 of 4 points" in page.text
        assert page.tags.count("li") == 1
        strong = box.map.value.split('<g opacity=".9">')[1].split("</svg>")[0]
        assert strong.count("<title>") == 1
        box.group.value = -1
        box.find.value = "not in any text"
        assert "0 of 4 points" in Page(box.map).text

    def test_a_large_map_is_sampled_says_so_and_stays_small(self):
        box = explorer(5000)
        assert "A sample of 1,500 of 5,000 points" in Page(box.map).text
        assert len(box.map.value) < 600_000

    def test_texts_and_groups_are_shown_as_text(self):
        box = explorer()
        box.find.value = "text 1"
        assert_safe(box.map.value)

    def test_points_lie_inside_the_frame(self):
        places = re.findall(r"translate\((\S+) (\S+)\)", explorer(50).map.value)
        assert all(0 < int(x) < maps._WIDTH and 0 < int(y) < maps._HEIGHT for x, y in places)

    def test_one_point_alone_can_be_drawn(self):
        assert "1 of 1 points" in Page(maps.map_explorer([[2, 2]], ["a"], ["g"]).map).text

    @pytest.mark.parametrize(
        ("points", "texts", "message"),
        [
            ([[0, 1]], ["a", "b"], "1 points, 2 texts"),
            ([[0, np.nan]], ["a"], "Point 0 is not"),
            ([], [], "shape"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, points, texts, message):
        with pytest.raises(ValueError, match=message):
            maps.map_explorer(points, texts, ["g"] * len(texts))


def bills(**changes):
    given = {
        "texts": 100_000,
        "tokens_per_text": 200,
        "queries_per_month": 1_000_000,
        "tokens_per_query": 10,
        "price_per_million_tokens": 0.5,
        "api_latency_ms": 150,
        "local_texts_per_second": 200,
        "local_latency_ms": 10,
        "machine_per_month": 36.5,
    }
    return local_vs_api(**(given | changes))


class TestLocalVersusApi:
    def test_indexing_costs_tokens_there_and_machine_time_here(self):
        costs = bills()
        # 100,000 texts of 200 tokens: 20 million tokens at 0.5 a million.
        assert costs.api.indexing_cost == pytest.approx(10.0)
        # 1,000 requests of 100 texts, 0.15 s each.
        assert costs.api.indexing_seconds == pytest.approx(150.0)
        # 500 s of a machine that costs 36.5 for 730 h, or 0.05 an hour.
        assert costs.local.indexing_seconds == pytest.approx(500.0)
        assert costs.local.indexing_cost == pytest.approx(0.05 * 500 / 3600)

    def test_a_month_of_queries_costs_tokens_there_and_the_machine_here(self):
        # A million queries of 10 tokens: 10 million tokens at 0.5 a million.
        assert bills().api.monthly_cost == pytest.approx(5.0)
        assert bills().local.monthly_cost == pytest.approx(36.5)
        assert (bills().api.latency_ms, bills().local.latency_ms) == (150, 10)

    def test_they_meet_where_the_queries_cost_as_much_as_the_machine(self):
        # 36.5 a month against 0.000005 a query.
        meet = bills().break_even_queries
        assert meet == pytest.approx(7_300_000)
        at = bills(queries_per_month=meet)
        assert at.api.monthly_cost == pytest.approx(at.local.monthly_cost)

    def test_a_machine_that_cannot_answer_enough_gets_company(self):
        # A second a query: 730 * 3600 = 2,628,000 queries a month and machine.
        assert bills(local_latency_ms=1000, queries_per_month=2_628_000).machines == 1
        crowded = bills(local_latency_ms=1000, queries_per_month=2_628_001)
        assert crowded.machines == 2
        assert crowded.local.monthly_cost == pytest.approx(73.0)
        assert crowded.break_even_queries == np.inf

    def test_a_free_api_is_never_dearer(self):
        assert bills(price_per_million_tokens=0).break_even_queries == np.inf

    @given(
        st.integers(0, 10**9),
        st.floats(0.001, 100),
        st.floats(1, 10_000),
        st.floats(0.1, 5_000),
    )
    def test_own_machines_cost_no_more_exactly_from_the_meeting_point_on(
        self, queries, price, machine, latency
    ):
        costs = bills(
            queries_per_month=queries,
            price_per_million_tokens=price,
            machine_per_month=machine,
            local_latency_ms=latency,
        )
        if costs.break_even_queries == np.inf:
            assert costs.api.monthly_cost <= costs.local.monthly_cost * (1 + 1e-9)
        elif costs.machines == 1:
            cheaper = costs.local.monthly_cost <= costs.api.monthly_cost * (1 + 1e-9)
            assert cheaper == (queries * (1 + 1e-9) >= costs.break_even_queries)

    def test_machines_rented_and_owned(self):
        assert rented_machine(0.5) == 365
        # 1200 over 48 months, and 0.1 kW for 730 h at 0.30.
        assert owned_machine(1200, years=4, watts=100, price_per_kwh=0.30) == pytest.approx(46.9)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"texts": -1}, "texts is -1"),
            ({"local_texts_per_second": 0}, "local_texts_per_second is 0: it must be above 0"),
            ({"local_latency_ms": 0}, "local_latency_ms is 0"),
        ],
    )
    def test_impossible_amounts_are_refused(self, changes, message):
        with pytest.raises(ValueError, match=message):
            bills(**changes)

    def test_the_calculator_shows_what_was_measured_and_follows_its_inputs(self):
        box = lesson1.cost_calculator(local_texts_per_second=500, local_latency_ms=20)
        assert (box.local_texts_per_second.value, box.local_latency_ms.value) == (500, 20)
        assert "the API costs less a month at any number" in Page(box.results).text
        box.machine.value = "owned"
        box.price.value = 0
        # 60 W for 730 h at 0.30 is 13.14, against 12 tokens a query at 0.10 a million.
        assert "13.14" in Page(box.results).text
        assert "10,950,000 queries" in Page(box.results).text

    def test_only_the_inputs_of_the_chosen_machine_are_shown(self):
        box = lesson1.cost_calculator()
        assert (box.price_per_hour.layout.display, box.price.layout.display) == (None, "none")
        box.machine.value = "owned"
        assert (box.price_per_hour.layout.display, box.price.layout.display) == ("none", None)


def every_box(index):
    return [
        lesson1.search_box(LetterEmbedder(), index),
        lesson1.similarity_playground(letters, ["a", "b"]),
        lesson1.truncation_slider(np.eye(12), np.eye(12), [[i] for i in range(12)]),
        explorer(),
        lesson1.cost_calculator(),
    ]


def test_every_widget_has_a_heading_a_sentence_and_a_name_for_every_control(index):
    import ipywidgets

    def controls(widget):
        for child in getattr(widget, "children", ()):
            yield child
            yield from controls(child)

    for box in every_box(index):
        heading = box.children[0].value
        assert Page(heading).texts("strong")
        assert "ook for" in Page(heading).text
        for control in controls(box):
            if not isinstance(control, (ipywidgets.HTML, ipywidgets.Box)):
                assert control.description


def test_every_output_is_a_region_with_a_name(index):
    for box in every_box(index):
        attributes = dict(Page(box.children[-1]).attributes[:3])
        assert attributes["role"] == "region"
        assert attributes["aria-label"]


@given(st.text())
def test_escaped_text_holds_no_markup_and_no_hidden_mark(text):
    escaped = common.escape(text)
    assert not set(escaped) & set("<>\"'")
    assert not TURNING.search(escaped)


@given(st.text(), st.text())
def test_marking_words_changes_nothing_of_the_text(text, query):
    marked = common.highlight(text, query)
    without = re.sub(r"</?mark[^>]*>", "", marked)
    assert without == common.escape(text)


@given(st.floats(-1, 2))
def test_a_shaded_cell_can_be_Page(share):
    assert common.contrast(*common.shade(share)) >= 4.5


def test_contrast_is_that_of_the_accessibility_guidelines():
    # The grey known as the lightest that passes AA on white.
    assert common.contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize(
    "path", sorted(Path(common.__file__).parent.glob("*.py")), ids=lambda p: p.stem
)
def test_importing_a_file_of_widgets_imports_no_widget_library(path):
    module = f"course_utils.widgets.{path.stem}".removesuffix(".__init__")
    code = f"import sys, {module}; print({{'ipywidgets', 'torch'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
