"""A learner's own files: what is accepted, and how a mistake is reported."""

import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_utils.data import (
    ClusteringTask,
    RetrievalTask,
    SimilarityTask,
    load_task,
    load_texts,
)


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def beir(tmp_path, write):
    write("set/corpus.jsonl", '{"_id": "d1", "title": "Fox", "text": "A red animal."}\n'
          '{"_id": 2, "text": "A boat."}\n')  # fmt: skip
    write("set/queries.jsonl", '{"_id": "q1", "text": "animal?"}\n{"_id": "q2", "text": "x"}\n')
    write("set/qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\t2\t0\n")
    return tmp_path / "set"


def test_a_beir_folder_becomes_a_retrieval_task(beir):
    task = load_task(beir)
    assert task.corpus == {"d1": "Fox A red animal.", "2": "A boat."}
    assert task.queries == {"q1": "animal?"}
    assert task.qrels == {"q1": {"d1": 2, "2": 0}}
    assert task.source.counts["queries_without_judgements_in_this_split"] == 1


def test_the_split_is_test_or_the_only_one_or_asked_for(beir, write):
    write("set/qrels/dev.tsv", "query-id\tcorpus-id\tscore\nq2\t2\t1\n")
    assert list(load_task(beir).queries) == ["q1"]
    assert list(load_task(str(beir), split="dev").queries) == ["q2"]
    with pytest.raises(ValueError, match=r"no train\.tsv; there are dev, test"):
        load_task(beir, split="train")
    (beir / "qrels/test.tsv").unlink()
    assert list(load_task(beir).queries) == ["q2"]


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("qrels/test.tsv", "h\th\th\nq1\td9\t1\n", r"test\.tsv:2: field 'corpus-id' is 'd9'"),
        ("qrels/test.tsv", "h\th\th\nq1\td1\t1\nq9\td1\t1\n", r"test\.tsv:3: field 'query-id'"),
        ("qrels/test.tsv", "h\th\th\nq1\td1\t1\nq1\td1\t0\n", r":3: .*twice, first at .*:2"),
        ("qrels/test.tsv", "h\th\th\nq1\td1\tyes\n", r"test\.tsv:2: field 'score' is 'yes'"),
        ("qrels/test.tsv", "h\th\th\nq1\td1\t0.5\n", r"test\.tsv:2: field 'score' is '0.5'"),
        ("qrels/test.tsv", "h\th\th\nq1\td1\n", r"test\.tsv:2: 2 fields where 3"),
        ("qrels/test.tsv", "q1\td1\t1\nq1\t2\t1\n", r"test\.tsv:1: .*must be a header"),
        ("qrels/test.tsv", "", r"test\.tsv:1: the file is empty"),
        ("corpus.jsonl", '{"_id": "d1", "text": "a"}\n{"_id": "d1", "text": "b"}\n',
         r"corpus\.jsonl:2: the id 'd1' occurs twice, first at .*corpus\.jsonl:1"),
        ("corpus.jsonl", '{"text": "a"}\n', r"corpus\.jsonl:1: field '_id' is missing"),
        ("corpus.jsonl", '{"_id": "d1", "text": ["a"]}\n', r":1: field 'text' is .*not a text"),
        ("corpus.jsonl", '{"_id": "d1",\n', r"corpus\.jsonl:1: this line is not JSON"),
        ("corpus.jsonl", "[1]\n", r"corpus\.jsonl:1: expected one JSON object"),
        ("queries.jsonl", '{"_id": "q1", "text": "\\ud83d"}\n', r":1: .*surrogate"),
    ],
)  # fmt: skip
def test_a_broken_beir_folder_is_reported_by_file_line_and_field(beir, file, content, message):
    (beir / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_task(beir)


def test_oddities_of_a_benchmark_are_read_counted_and_scored_by_trec_evals_rule(beir, write):
    write("set/corpus.jsonl", '{"_id": "d1", "text": "A red animal."}\n{"_id": "d2", "text": " "}\n'
          '{"_id": "d3", "title": "Boat", "text": ""}\n')  # fmt: skip
    write("set/queries.jsonl", "".join(
        f'{{"_id": "q{i}", "text": "{text}"}}\n' for i, text in enumerate(["red?", "x", " ", "y"])
    ))  # fmt: skip
    rows = ["q0\td1\t1", "q0\td2\t-1", "q0\td3\t0", "q1\td1\t-2", "q1\td2\t0", "q2\td1\t1"]
    write("set/qrels/test.tsv", "\n".join(["query-id\tcorpus-id\tscore", *rows, ""]))
    task = load_task(beir)
    assert task.corpus == {"d1": "A red animal.", "d2": "", "d3": "Boat"}
    assert task.queries == {"q0": "red?"}
    assert task.qrels == {"q0": {"d1": 1, "d2": -1, "d3": 0}}
    assert task.source.counts == {
        "documents": 3,
        "queries": 1,
        "queries_without_judgements_in_this_split": 1,
        "judgements": 3,
        "blank_documents": 1,
        "blank_queries": 1,
        "queries_without_relevant_documents": 1,
        "grades_below_0": 1,
    }
    assert "1 blank documents" in str(task.source)


def test_a_sound_benchmark_has_no_oddities_in_its_counts(beir):
    assert load_task(beir).source.counts == {
        "documents": 2,
        "queries": 1,
        "queries_without_judgements_in_this_split": 1,
        "judgements": 2,
    }


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("qrels/test.tsv", "h\th\th\nq1\td1\t0\nq1\t2\t-1\n"),
        ("queries.jsonl", '{"_id": "q1", "text": " "}\n'),
        ("corpus.jsonl", '{"_id": "d1", "text": ""}\n{"_id": "2", "text": " "}\n'),
    ],
)
def test_a_benchmark_in_which_nothing_can_be_asked_or_found_is_refused(beir, file, content):
    (beir / file).write_text(content)
    with pytest.raises(ValueError, match=r"set/test: there is nothing to score\. Of \d queries"):
        load_task(beir)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("query,document,relevance\nq,d,1\nq,e,-1\n", r":3: field 'relevance' is -1"),
        ("query,document\nq,d\nq, \n", r":3: field 'document' is empty"),
    ],
)
def test_a_file_of_the_learners_own_may_hold_no_such_oddities(write, content, message):
    with pytest.raises(ValueError, match=message):
        load_task(write("a.csv", content))


def test_a_missing_part_of_a_folder_is_named(beir):
    (beir / "queries.jsonl").unlink()
    with pytest.raises(FileNotFoundError, match=r"queries\.jsonl"):
        load_task(beir)
    with pytest.raises(FileNotFoundError, match=r"nowhere\.csv"):
        load_task("nowhere.csv")


def test_the_columns_of_a_table_say_which_task_it_is(write):
    task = load_task(write("a.csv", "id,sentence1,sentence2,score\n1,a cat,a dog,3.5\n2,x,y,0\n"))
    assert isinstance(task, SimilarityTask)
    assert (task.pairs, list(task.scores)) == ([("a cat", "a dog"), ("x", "y")], [3.5, 0.0])
    task = load_task(write("b.tsv", "label\ttext\nanimal\ta cat\nthing\ta car\n"))
    assert isinstance(task, ClusteringTask)
    assert (task.texts, task.labels) == (["a cat", "a car"], ["animal", "thing"])
    rows = "query,document,relevance\nfox?,red fox,2\nfox?,boat,0\nship?,boat,1\n"
    task = load_task(write("c.csv", rows))
    assert isinstance(task, RetrievalTask)
    by_text = {
        task.queries[q]: {task.corpus[d]: grade for d, grade in judged.items()}
        for q, judged in task.qrels.items()
    }
    assert by_text == {"fox?": {"red fox": 2, "boat": 0}, "ship?": {"boat": 1}}


def test_json_lines_hold_the_same_fields(write):
    task = load_task(write("a.jsonl", '{"query": "q", "document": "d"}\n\n'))
    assert list(task.qrels.values()) == [{"d1": 1}]
    task = load_task(write("b.jsonl", '{"text": "a", "label": 1}\n{"text": "b", "label": 2}\n'))
    assert task.labels == ["1", "2"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "sentence1,sentence2,score\na,b,1\nc,d,high\n", r":3: field 'score' is 'high'"),
        ("a.csv", "sentence1,sentence2,score\na,b,nan\n", r":2: field 'score' is 'nan'"),
        ("a.csv", 'text,label\n"two\nlines",x\n,y\n', r":4: field 'text' is empty"),
        ("a.csv", "text,label\na,x,extra\n", r":2: 3 fields where 2"),
        ("a.csv", 'text,label\na,x\n"never closed,y\n', r":3: this row cannot be read"),
        ("a.csv", "text,text\na,b\n", r":1: a column name occurs twice"),
        ("a.csv", "text;label\na;x\n", r":2: the fields are text;label\. No task"),
        ("a.csv", "text,label\n", r":1: there is no row"),
        ("a.csv", "", r":1: the file is empty"),
        ("a.csv", "query,document\nq,d\nq,d\n", r":3: this pair .* twice, first at .*:2"),
        ("a.csv", b"text,label\nok,x\ncaf\xe9,y\n", r":3: byte 4 of this line is not UTF-8"),
        ("a.jsonl", '{"text": "a", "label": "x"}\n{"text": "b"}\n', r":2: field 'label' is missing"),
        ("a.jsonl", '{"sentence1": "a", "sentence2": "b", "score": true}\n', r":1: field 'score'"),
        ("a.jsonl", "", r":1: there is no row"),
        ("a.txt", " \n\n", r":1: there is no text"),
        ("a.txt", "One.\nTwo.\n", "no passage has two sentences"),
        ("a.xlsx", "x", "end in '.xlsx'"),
    ],
)  # fmt: skip
def test_a_broken_file_is_reported_by_line_and_field(write, name, content, message):
    path = write(name, content)
    with pytest.raises(ValueError, match=f"{name}.*{message}|{message}"):
        load_task(path)


def test_a_byte_order_mark_is_not_part_of_the_first_column(write):
    path = write("a.csv", "\ufefftext,label\na,x\nb,y\n".encode())
    assert load_task(path).texts == ["a", "b"]
    assert load_texts(write("a.jsonl", '\ufeff{"text": "a"}\n')) == ["a"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.txt"])
def test_a_line_of_a_million_characters_is_a_text_like_any_other(write, name):
    text = "word " * 200_000
    content = {"a.csv": f"text\n{text}\n", "a.jsonl": json.dumps({"text": text}), "a.txt": text}
    before = csv.field_size_limit()
    assert load_texts(write(name, content[name])) == [text.strip()]
    assert csv.field_size_limit() == before


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1))
def test_whatever_the_csv_module_writes_is_read_back(tmp_path_factory, texts):
    texts = [t.strip() for t in texts if t.strip()] or ["x"]
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["text"], *([text] for text in texts)])
    assert load_texts(path) == texts


def test_plain_text_has_a_passage_a_paragraph_or_else_a_line(write):
    assert load_texts(write("a.txt", "One.\r\nTwo.\r\n")) == ["One.", "Two."]
    assert load_texts(write("b.txt", "One\nmore.\n\n\nTwo.\n")) == ["One more.", "Two."]
    assert load_texts(write("c.txt", "One.\nTwo.\n\n")) == ["One.", "Two."]


def test_plain_text_becomes_a_known_item_task(write):
    task = load_task(write("a.txt", "Foxes are red. They hunt.\n\nBoats.\n\nHail fell. It hurt."))
    assert task.queries == {"1": "Foxes are red.", "3": "Hail fell."}
    assert task.corpus == {"1": "They hunt.", "2": "Boats.", "3": "It hurt."}
    assert task.qrels == {"1": {"1": 1}, "3": {"3": 1}}
