"""The invented company's wiki: its counts, its jargon, its distance from the questions."""

import json
import re
import shutil
from collections import defaultdict

import pytest

from course_utils.data import company_wiki, load_task, load_texts, load_wiki_pages, packages

# Five-word runs shared, over all runs of either (Jaccard). A sentence that only moves a word or
# two of another stands above .5.
MOST_ALIKE_SENTENCES = 0.30
MOST_ALIKE_QUESTION = 0.10

JARGON = """
Shed; Loft; Aviary; Pier Nine; Snug; Hatchery; Tinsmiths; Tuners; Cobblers; Ferry; Front Step;
Weavers; Lamplighters; Beekeepers; Purse; Nest; Boatswains; Scribes; slab; porridge; collar; sock;
spine; whistle; birthmark; kelp; knot; chart; sketch; OAR; TEAL; pebble; drift day; rope note;
Counting Day; grey week; wet list; Long Table; Wren; Heron; Bittern; Magpie; Roost; Perch; cuckoo;
dodo; Dunnock; fledgling; HOT; lane; summer pack; passport; Larder; Oven; sauna test; shiver test;
DOT; drop day; TIN; twig; QUAC; red thread; LAMP; SPUR; Pound; MILK; blue slip; seed; muddy side;
sleeper; big wash; FROST; BOB; PAL; RTB; CRUMB; PIP; ACE; goose; goosekeeper; drip; puddle; flood;
nightjar; mop-up; quiet box; Lantern; Weir; Sluice; Millpond; ghost; tide; paddlers; ebb;
slack water; harbour; spring tide; feather; Tollgate; RAFT; Thimble; gangway; oarmate;
first mooring; Almanac; ballast; shore leave; Hopper; SIP; WOMBAT
"""
TERMS = [" ".join(term.split()) for term in JARGON.split(";")]


@pytest.fixture(scope="module")
def pages():
    return load_wiki_pages()


@pytest.fixture(scope="module")
def task():
    return load_task("company-wiki")


@pytest.fixture(scope="module")
def sentences():
    return load_texts("company-wiki")


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """A copy of the wiki's folder that a test may damage, in the place of the real one."""
    folder = shutil.copytree(company_wiki.wiki_folder(), tmp_path / "company_wiki")
    monkeypatch.setattr(company_wiki, "wiki_folder", lambda: folder)
    return folder


def uses(term):
    """The pattern of a term, in the plural too; a term in capitals is only found in capitals."""
    flags = re.NOFLAG if term[0].isupper() else re.IGNORECASE
    stem = re.escape(term.removesuffix("s"))
    return re.compile(rf"(?<![\w-]){stem}(?:s|es|ed|ing)?(?![\w-])", flags)


def explains(term):
    """The pattern of the sentence that says what a term means: the wiki has few ways to do so."""
    words = rf"{re.escape(term.removesuffix('s'))}(?:s|es)?"
    article = "(?:an? |the |our |its )?"
    return re.compile(
        rf"(?<![\w-]){words} (?:means?|stands for|(?:is|are) our (?:word|name) for)\b"
        rf"|\bwe call (?:it |this |that |these |them )?{article}{words}(?![\w-])"
        rf"|\bknown here as {article}{words}(?![\w-])"
        rf"|\bBy {words} we mean\b",
        re.IGNORECASE,
    )


def five_word_runs(text):
    words = re.findall(r"[^\W_]+", text.lower())
    size = min(5, len(words))
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def alike(texts, others):
    """(Jaccard, text, other) for every text and other that share a run of five words."""
    holders = defaultdict(set)
    runs = {other: five_word_runs(other) for other in others}
    for other, own in runs.items():
        for run in own:
            holders[run].add(other)
    for text in texts:
        own = five_word_runs(text)
        for other in set().union(*(holders.get(run, set()) for run in own)) - {text}:
            yield len(own & runs[other]) / len(own | runs[other]), text, other


def test_counts_are_the_recorded_ones_and_large_enough(pages, task, sentences):
    assert len(pages) == len(task.corpus) == task.source.counts["pages"] >= 160
    assert len(sentences) == task.source.counts["sentences"] >= 2_500
    assert len(task.queries) == task.source.counts["questions"] >= 160
    assert task.source.licence == "CC BY 4.0"


def test_the_card_states_the_counts(task):
    card = (company_wiki.wiki_folder() / "README.md").read_text("utf-8")
    for number in [*task.source.counts.values(), len(TERMS)]:
        assert f"{number:,}" in card, number


def test_every_question_has_a_page_that_answers_it_and_at_most_three(task):
    assert set(task.qrels) == set(task.queries)
    for judged in task.qrels.values():
        assert 1 <= len(judged) <= 3
        assert 2 in judged.values()
        assert set(judged.values()) <= {1, 2}


def test_nearly_every_page_answers_a_question(task):
    answering = {
        page for judged in task.qrels.values() for page, grade in judged.items() if grade == 2
    }
    assert len(answering) > 0.95 * len(task.corpus)


def test_the_list_of_jargon_is_long_and_free_of_repeats():
    assert len(TERMS) == len(set(TERMS)) >= 60


@pytest.mark.parametrize("term", TERMS)
def test_a_term_is_explained_once_and_used_on_three_pages(pages, sentences, term):
    explaining = [s for s in sentences if explains(term).search(s)]
    using = [p.id for p in pages if uses(term).search(f"{p.title}\n{p.text}")]
    assert len(explaining) == 1, explaining
    assert len(using) >= 3, using


def test_most_questions_avoid_the_jargon(task):
    with_jargon = [q for q in task.queries.values() if any(uses(t).search(q) for t in TERMS)]
    assert 20 <= len(with_jargon) <= 0.25 * len(task.queries)


def test_no_two_sentences_are_near_duplicates(sentences):
    worst = max(alike(sentences, sentences))
    assert worst[0] <= MOST_ALIKE_SENTENCES, worst


def test_no_two_pages_share_more_than_a_few_runs_of_words(pages):
    worst = max(alike([p.text for p in pages], [p.text for p in pages]))
    assert worst[0] <= 0.03, worst


def test_no_question_is_a_near_duplicate_of_a_sentence_or_title(task, pages, sentences):
    worst = max(alike(task.queries.values(), [*sentences, *(p.title for p in pages)]))
    assert worst[0] <= MOST_ALIKE_QUESTION, worst


def test_no_two_questions_are_near_duplicates(task):
    assert max(alike(task.queries.values(), task.queries.values()))[0] <= MOST_ALIKE_SENTENCES


def test_people_appear_as_roles_and_never_with_a_title_and_a_name(pages):
    for page in pages:
        found = re.search(r"\b(Mr|Mrs|Ms|Miss|Dr|Prof|Sir)\b\.? [A-Z]|[\w.]+@[\w.]+", page.text)
        assert not found, (page.id, found)


def test_texts_are_clean_and_in_british_english(pages):
    american = re.compile(
        r"\b(?:color|center|labor|gray|license[ds]?|fulfill|program(?:me)?d? of|traveled|canceled|"
        r"catalog|organiz\w+|summariz\w+|recogniz\w+|liter|meter)s?\b",
        re.IGNORECASE,
    )
    for page in pages:
        assert page.text == page.text.strip()
        assert not re.search(r"[ \t]{2}|\n{3}|[^\n]\n[^\n]|TODO|lorem", page.text), page.id
        assert not american.search(page.text), (page.id, american.search(page.text))
        assert len(page.text.split("\n\n")) >= 3, page.id


def test_sentences_carry_no_marks_of_emphasis(sentences):
    assert not [s for s in sentences if "*" in s or "`" in s]
    assert len(set(sentences)) == len(sentences)


def test_a_document_is_title_blank_line_text(pages, task):
    page = pages[-1]
    assert task.corpus[page.id] == f"{page.title}\n\n{page.text}"


@pytest.mark.parametrize(
    ("file", "line", "message"),
    [
        ("pages.jsonl", "{", r"pages.jsonl:183: this line is not JSON"),
        ("pages.jsonl", "[1]", r"pages.jsonl:183: expected one JSON object"),
        ("pages.jsonl", '{"id": "x", "title": "T", "section": "S"}', r":183: field 'text' is None"),
        ("questions.jsonl", '{"id": "q001", "text": "?"}', r"'q001' occurs a second time"),
        ("questions.jsonl", '{"id": "q9", "text": " "}', r"field 'text' is ' '"),
        ("qrels.tsv", "q001\tgoose", r"qrels.tsv:\d+: 'q001\\tgoose' is no judgement"),
        ("qrels.tsv", "q001\tgoose\t3", r"is no judgement"),
        ("qrels.tsv", "q001\tstart-here\t1", r"'start-here' occurs a second time"),
        ("qrels.tsv", "q001\tgoose\t1", r"judgements, recorded \d+"),
    ],
)
def test_a_damaged_line_is_named(copy, file, line, message):
    with open(copy / file, "a", encoding="utf-8") as damaged:
        damaged.write(line + "\n")
    with pytest.raises(ValueError, match=message):
        load_task("company-wiki")


def test_a_page_more_or_less_is_refused(copy):
    lines = (copy / "pages.jsonl").read_text("utf-8").splitlines(keepends=True)
    (copy / "pages.jsonl").write_text("".join(lines[:-1]), "utf-8")
    with pytest.raises(ValueError, match="181 pages, recorded 182"):
        load_wiki_pages()


@pytest.mark.parametrize("file", ["pages.jsonl", "questions.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(copy, file):
    (copy / file).unlink()
    with pytest.raises(FileNotFoundError, match=file):
        load_task("company-wiki")


def test_the_installed_list_of_files_is_used_outside_the_repository(copy, monkeypatch, tmp_path):
    monkeypatch.undo()

    class Installed:
        parts = ("..", "share", "course-utils", "company_wiki", "pages.jsonl")

        def locate(self):
            return copy / "pages.jsonl"

    monkeypatch.setattr(packages, "__file__", str(tmp_path / "a" / "b" / "c.py"))
    monkeypatch.setattr(packages, "files", lambda name: [Installed()])
    assert company_wiki.wiki_folder() == copy.resolve()
    monkeypatch.setattr(packages, "files", lambda name: [])
    with pytest.raises(FileNotFoundError, match="neither in"):
        load_wiki_pages()


def test_the_files_are_as_near_to_a_beir_folder_as_their_names_allow(tmp_path, task):
    """Renamed, they load as one: titles and texts, queries, and a table with BEIR's header."""
    folder = company_wiki.wiki_folder()
    for ours, theirs in [("pages.jsonl", "corpus.jsonl"), ("questions.jsonl", "queries.jsonl")]:
        rows = [json.loads(line) for line in (folder / ours).read_text("utf-8").splitlines()]
        renamed = [{"_id": row.pop("id"), **row} for row in rows]
        (tmp_path / theirs).write_text("\n".join(map(json.dumps, renamed)), "utf-8")
    (tmp_path / "qrels").mkdir()
    shutil.copy(folder / "qrels.tsv", tmp_path / "qrels" / "test.tsv")
    assert load_task(tmp_path).qrels == task.qrels
