"""The report: one page that nothing in a stimulus, a model's name or a note can break or take over."""

import html
import unicodedata
import zlib
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import silhouette_score

from course_utils.bias.auditing.audits import Audit
from course_utils.bias.auditing.report import shown
from course_utils.bias.auditing.running import audit
from course_utils.bias.eraser import LinearEraser
from course_utils.data.tasks import AssociationTest, Source
from course_utils.encoding.embedders import as_embedder
from tests.pages import Page

SCRIPT = "<script>alert(1)</script>"
TURNED = "safe\u202egnihtyna\u2066\u200f\x07 \u05d0\u05d1"
QUOTED = "\" onmouseover='x' `|[a](javascript:b)"
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "h3", "p", "strong", "ul",
    "li", "div", "table", "thead", "tbody", "tr", "th", "td", "bdi",
}  # fmt: skip


def embed(texts):
    """Return vectors that depend on the text alone, and are quick for a million characters."""
    seeds = [zlib.crc32(text.encode()) for text in texts]
    return np.array([np.random.default_rng(seed).normal(size=6) for seed in seeds])


def hostile(**options):
    long = "long " * 200_000
    test = AssociationTest(
        f"test {SCRIPT} {TURNED}",
        [SCRIPT, TURNED, long],
        [QUOTED, "two", "three"],
        ["</table></body>", "five", "six"],
        ["&amp;<img src=x onerror=alert(1)>", "eight", "nine"],
        source=Source("own", "1", "none", f"{SCRIPT} {TURNED}", {}),
    )
    return audit(
        as_embedder(embed, "hostile"),
        battery=[test],
        n_resamples=19,
        name=f"{SCRIPT}{TURNED}{QUOTED}" + "x" * 1_000_000,
        notes=f"one\n{SCRIPT}{TURNED}{QUOTED}" + "y" * 1_000_000,
        **options,
    )


@pytest.fixture(scope="module")
def audited():
    """An audit of hostile texts, with a mitigation of a hostile name."""
    found = hostile(mitigated=LinearEraser.removing(np.eye(6)[:1]), cost=[])
    return replace(found, mitigation=replace(found.mitigation, model=f"{SCRIPT}{TURNED}"))


def test_hostile_texts_reach_the_page_as_text_only(audited):
    page = audited.to_html()
    read = Page(page)
    assert set(read.tags) <= TAGS
    names = {name for name, _ in read.attributes}
    assert names <= {"lang", "dir", "charset", "name", "content", "http-equiv", "class", "scope"}
    assert SCRIPT not in page
    assert html.escape(SCRIPT) in page
    assert read.text.count(SCRIPT) >= 5  # name twice, test, source, notes, mitigation
    assert not any(unicodedata.category(c) in ("Cf", "Cs") for c in page)
    assert "[U+202E]" in page
    assert "[U+2066]" in page
    assert len(page) < 60_000


def test_the_page_loads_nothing_and_runs_nothing(audited):
    read = Page(audited.to_html())
    assert not {"script", "link", "iframe", "img", "object", "form", "a"} & set(read.tags)
    policy = next(value for name, value in read.attributes if name == "content" and "src" in value)
    assert "default-src 'none'" in policy


def test_hostile_texts_stay_text_in_the_card(audited):
    card = audited.card_section()
    assert "<script" not in card
    assert "\u202e" not in card
    assert "[a](" not in card
    row = next(line for line in card.splitlines() if line.startswith("| test"))
    assert row.replace("\\|", "").count("|") == 7
    assert card.startswith("## Bias\n")
    assert sum(line.startswith("#") for line in card.splitlines()) == 1


def test_a_hostile_audit_reads_back_and_gives_the_same_page(audited, tmp_path):
    read_back = Audit.load(audited.save(tmp_path / "audit.json"))
    assert read_back == audited
    assert read_back.to_html() == audited.to_html()
    file = audited.save_html(tmp_path / "audit.html")
    assert file.read_text("utf-8") == audited.to_html()
    assert sorted(f.name for f in tmp_path.iterdir()) == ["audit.html", "audit.json"]


@settings(deadline=None, max_examples=200)
@given(st.text())
def test_any_text_is_shown_without_markup_and_without_hidden_marks(text):
    safe = shown(text)
    assert not set("<>\"'") & set(safe)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in safe)
    safe.encode("utf-8")


def test_the_page_says_what_a_manager_needs():
    found = audit(as_embedder(embed), battery=["gender-career", "sentences-age"], n_resamples=19)
    text = " ".join(Page(found.to_html()).text.split())
    for finding in found.findings:
        assert finding.asks in text
        assert finding.answer in text
        assert finding.not_shown in text
        assert finding.sources in text
    for group in found.missing:
        assert group in text
    assert "What it does not show" in text
    assert "Mitigation None was audited." in text
    assert found.date in text
    assert str(found.seed) in text


def test_the_cost_of_a_mitigation_stands_on_the_page_and_in_the_card():
    from course_utils.data.tasks import SimilarityTask

    texts = [f"text {i}" for i in range(8)]
    pairs = list(pairwise(texts))
    task = SimilarityTask("toy task", pairs, np.linspace(0, 1, 7))
    found = audit(
        as_embedder(embed),
        battery=["gender-career"],
        n_resamples=19,
        mitigated=LinearEraser.removing(np.eye(6)[:1]),
        cost=[task],
    )
    cost = found.mitigation.cost[0]
    page = Page(found.to_html()).text
    for text in (page, found.card_section()):
        assert "toy task" in text
        assert f"{cost.difference:+.4f}" in text
    assert "not stated" in page  # this eraser does not say what it was fitted on


def test_a_cost_of_which_nothing_can_be_said_says_so(tmp_path):
    from course_utils.data.tasks import ClusteringTask

    task = ClusteringTask("toy groups", [f"text {i}" for i in range(12)], ["a", "b", "c"] * 4)
    eraser = LinearEraser.removing(np.eye(6)[:1])
    options = {"battery": ["gender-career"], "n_resamples": 19, "mitigated": eraser}
    found = audit(as_embedder(embed), cost=[task], **options)
    (cost,) = found.mitigation.cost
    vectors = embed(task.texts)
    scores = [
        silhouette_score(rows, task.labels, metric="cosine")
        for rows in (vectors, eraser.transform(vectors / np.linalg.norm(vectors, axis=1)[:, None]))
    ]
    assert (cost.before, cost.after) == pytest.approx(scores, abs=1e-5)
    assert (cost.low, cost.high, cost.p_value) == (None, None, None)
    assert "95 % interval none" in found.card_section()
    assert "not tested" in Page(found.to_html()).text.split("toy groups")[1]
    assert Audit.load(found.save(tmp_path / "audit.json")) == found
