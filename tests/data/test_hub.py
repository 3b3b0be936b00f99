"""Hub data sets, tested on local folders that the same library reads by the same path."""

import sys
import threading
from importlib.machinery import PathFinder

import pytest

from course_utils.data import ClusteringTask, SimilarityTask, hub, load_task
from course_utils.models import files

datasets = pytest.importorskip("datasets")
if not hasattr(datasets, "load_dataset_builder"):
    pytest.skip("the datasets library is not installed", allow_module_level=True)
pyarrow = pytest.importorskip("pyarrow")

CORPUS = [
    {"_id": "d1", "title": "Fox", "text": "A red animal."},
    {"_id": "d2", "title": "", "text": "A boat."},
]
QUERIES = [{"_id": "q1", "text": "animal?"}, {"_id": "q2", "text": "not judged"}]
QRELS = [{"query-id": "q1", "corpus-id": "d1", "score": 1}]


@pytest.fixture
def make(tmp_path):
    """Write parquet files and the card that lists them, as repositories on a hub have them."""

    def make(tables):
        import pyarrow.parquet

        folder, card = tmp_path / "toy", "---\nconfigs:\n"
        for (configuration, split), rows in tables.items():
            path = folder / configuration / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            table = rows if isinstance(rows, pyarrow.Table) else pyarrow.Table.from_pylist(rows)
            pyarrow.parquet.write_table(table, path)
        for configuration in dict.fromkeys(c for c, _ in tables):
            card += f"- config_name: {configuration}\n  data_files:\n"
            for split in (s for c, s in tables if c == configuration):
                card += f"  - split: {split}\n    path: {configuration}/{split}.parquet\n"
        (folder / "README.md").write_text(card + "---\n")
        return folder

    return make


def load(folder, **options):
    return load_task(f"hub:{folder}", cache=folder.parent / "cache", **options)


def beir(judgements="default", **changes):
    tables = {"corpus": CORPUS, "queries": QUERIES, judgements: QRELS, **changes}
    splits = {"corpus": "corpus", "queries": "queries", judgements: "test"}
    return {(name, splits[name]): rows for name, rows in tables.items()}


@pytest.mark.parametrize("judgements", ["default", "qrels"])
def test_a_beir_style_repository_becomes_a_retrieval_task(make, judgements):
    task = load(make(beir(judgements)))
    assert task.corpus == {"d1": "Fox A red animal.", "d2": "A boat."}
    assert task.queries == {"q1": "animal?"}
    assert task.qrels == {"q1": {"d1": 1}}
    assert task.source.counts["queries_without_judgements_in_this_split"] == 1


def test_judgements_without_a_score_are_of_grade_one(make):
    task = load(make(beir("qrels", qrels=[{"query-id": "q1", "corpus-id": "d2"}])))
    assert task.qrels == {"q1": {"d2": 1}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"default": [{**QRELS[0], "corpus-id": "d9"}]}, "row 0: field 'corpus-id' is 'd9'"),
        ({"default": QRELS * 2}, "row 1: the judgement of 'q1' and 'd1' occurs twice"),
        ({"default": [{**QRELS[0], "score": 0.5}]}, "row 0: field 'score' is 0.5"),
        ({"corpus": [CORPUS[0], CORPUS[0]]}, "row 1: the id 'd1' occurs twice"),
        ({"default": [{**QRELS[0], "score": None}]}, "row 0: field 'score' is None"),
        ({"default": [{**QRELS[0], "score": 0}]}, "there is nothing to score"),
    ],
)
def test_a_broken_repository_is_reported_by_row_and_field(make, changes, message):
    with pytest.raises(ValueError, match=message):
        load(make(beir(**changes)))


def test_blank_documents_and_grades_below_0_are_read_and_counted(make):
    corpus = [*CORPUS, {"_id": "d3", "title": "", "text": None}]
    qrels = [*QRELS, {"query-id": "q1", "corpus-id": "d3", "score": -1}]
    task = load(make(beir(corpus=corpus, default=qrels)))
    assert task.corpus["d3"] == ""
    assert task.qrels == {"q1": {"d1": 1, "d3": -1}}
    assert (task.source.counts["blank_documents"], task.source.counts["grades_below_0"]) == (1, 1)


def test_a_table_of_sentence_pairs_becomes_a_similarity_task(make):
    rows = [{"sentence1": "a", "sentence2": "b", "score": 4.5}]
    other = [{"sentence1": "c", "sentence2": "d", "score": 1.0}]
    folder = make({("default", "train"): other, ("default", "test"): rows})
    task = load(folder)
    assert isinstance(task, SimilarityTask)
    assert (task.pairs, list(task.scores)) == ([("a", "b")], [4.5])
    assert load(folder, split="train").pairs == [("c", "d")]
    with pytest.raises(ValueError, match="no split 'dev'; there are train, test"):
        load(folder, split="dev")


def test_a_table_of_texts_and_labels_becomes_a_clustering_task(make):
    rows = [{"text": "a cat", "label": 0}, {"text": "a car", "label": 1}]
    task = load(make({("default", "test"): rows}))
    assert isinstance(task, ClusteringTask)
    assert task.labels == ["0", "1"]


def test_other_columns_are_refused_by_name(make):
    with pytest.raises(ValueError, match="the columns are image, size"):
        load(make({("default", "test"): [{"image": "x", "size": 3}]}))


def test_files_that_are_no_plain_table_are_refused(tmp_path):
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy/a.txt").write_text("some text\n")
    with pytest.raises(ValueError, match="would be read by 'text'; only arrow, csv, json, parquet"):
        load(tmp_path / "toy")


@pytest.mark.parametrize("offline", ["1", ""])
def test_an_unknown_set_is_an_error_that_says_what_to_do(monkeypatch, offline):
    if offline:
        monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    else:
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        asked, patience = threading.Event(), threading.Event()

        def never(*_, **__):
            asked.set()
            patience.wait(60)

        monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", never)
        monkeypatch.setattr(files, "HUB_PATIENCE", 0.2)
    with pytest.raises(
        ConnectionError, match=r"nobody/nothing: the data set cannot be read.*local folder"
    ):
        load_task("hub:nobody/nothing")
    if not offline:
        assert asked.is_set(), "the hub was asked, and not waited for"
        patience.set()


def test_an_old_library_that_could_run_code_is_refused(monkeypatch):
    monkeypatch.setattr(datasets, "__version__", "3.6.0")
    with pytest.raises(ImportError, match=r"can run code.*--upgrade"):
        load_task("hub:any/set")


def test_a_folder_called_datasets_is_not_mistaken_for_the_library(tmp_path, monkeypatch):
    (tmp_path / "datasets").mkdir()
    for name in [name for name in sys.modules if name.split(".")[0] == "datasets"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "meta_path", [PathFinder])
    with pytest.raises(
        ImportError, match=r"needs the package datasets, which is not installed\. Run: "
    ):
        hub._library()
    assert list(sys.modules["datasets"].__path__) == [str(tmp_path / "datasets")]
