"""A store on disk: what it finds is what brute force finds, what it acknowledged outlives a kill."""

import importlib.util
import itertools
import operator
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("lancedb")

from course_utils.retrieval import Index, KeywordIndex, build_index, fuse, search
from course_utils.retrieval.keywords import words_of
from course_utils.retrieval.store import Store

CHILD = Path(__file__).with_name("adding.py")
COMPARE = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
HOSTILE = [
    "'", '"', "\\", "`", "'; DROP TABLE texts; --", "' OR '1'='1", "a\x00b", "%", "_", "é", "e\u0301",
    "漢字", "\U0001f600", "\u202e", "", " ", "\n", "NULL", "true", "1", "$1", "?", "${x}", "{}",
]  # fmt: skip


class Letters:
    """An embedder whose vectors count letters, and how long the text is."""

    dimension = 27

    def __init__(self, fingerprint="letters"):
        self.fingerprint = fingerprint

    def encode(self, texts):
        counts = [
            [text.count(chr(97 + i)) for i in range(26)] + [len(text) ** 0.5] for text in texts
        ]
        return np.array(counts, float)


class Rows:
    """An embedder that looks the vector of the text "17" up in row 17 of a matrix."""

    fingerprint = "rows"

    def __init__(self, matrix):
        self.matrix = matrix

    def encode(self, texts):
        return self.matrix[[int(text) for text in texts]]


def made(folder, corpus, model=None, **options):
    return build_index(model or Letters(), corpus, kind="lancedb", folder=folder, **options)


def found(store, query, **options):
    return [hit.id for hit in search(Letters(), query, store, **options)]


def everything(store):
    """Return every text of a store by its id; that no id comes twice is checked on the way."""
    hits = search(Letters(), "a", store, k=10**6)
    assert len({hit.id for hit in hits}) == len(hits) == len(store)
    return {hit.id: hit.text for hit in hits}


# --- found: by vectors, under a filter, by words, by both


WORDS = [f"{a}{b}{c}" for a in "bdkm" for b in "aeiou" for c in "lnrst"]
COUNT = 150


@pytest.fixture(scope="module")
def random_texts():
    """150 texts of different lengths, words rare and frequent, with columns of every type."""
    rng = np.random.default_rng(5)
    share = 1 / np.arange(1, len(WORDS) + 1)
    texts = {
        f"id{row:04}": " ".join(rng.choice(WORDS, 3 + row, p=share / share.sum()))
        for row in range(COUNT)
    }
    columns = {
        "topic": [["pay", "ship", 'It\'s "new"; --', None][row % 4] for row in range(COUNT)],
        "year": [None if row % 7 == 0 else int(rng.integers(2018, 2026)) for row in range(COUNT)],
        "price": [float(np.round(rng.normal(), 1)) for _ in range(COUNT)],
        "Open": [bool(row % 3) for row in range(COUNT)],
    }
    return texts, columns


@pytest.fixture(scope="module")
def random_store(random_texts, tmp_path_factory):
    texts, columns = random_texts
    # Half of it is there from the start, half is added: it makes no difference to what is found.
    ids = list(texts)
    folder = tmp_path_factory.mktemp("stores") / "a store, #1 (50 %) é"
    for part, first in ((ids[:75], True), (ids[75:], False)):
        some = {name: texts[name] for name in part}
        values = {name: [all_[ids.index(i)] for i in part] for name, all_ in columns.items()}
        if first:
            store = made(folder, some, columns=values)
        else:
            assert store.add(Letters(), some, columns=values) == 75
    return store


@pytest.fixture(scope="module")
def random_words(random_texts):
    return KeywordIndex(random_texts[0], k1=1.2)


def fits(columns, row, where):
    """Return whether a row fits a filter, in plain Python."""
    for name, wanted in where.items():
        value = columns[name][row]
        if value is None:
            return False
        if isinstance(wanted, dict):
            if not all(COMPARE[sign](value, bound) for sign, bound in wanted.items()):
                return False
        elif value not in (wanted if isinstance(wanted, list) else [wanted]):
            return False
    return True


def wanted(values):
    signs = st.sampled_from(sorted(COMPARE))
    several = st.dictionaries(signs, values, min_size=1, max_size=2)
    return st.one_of(values, st.lists(values, max_size=3), several)


FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "topic": wanted(st.sampled_from(["pay", "ship", 'It\'s "new"; --', "other"])),
        "year": wanted(st.integers(2017, 2026)),
        "price": wanted(st.sampled_from([-1.0, -0.3, 0.0, -0.0, 0.5, 1]) | st.floats(-2, 2)),
        "Open": wanted(st.booleans()),
    },
)


@given(FILTERS, st.integers(0, COUNT - 1), st.integers(1, COUNT + 10), st.booleans())
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_filter_and_the_vectors_agree_with_brute_force(
    random_store, random_texts, random_words, where, row, k, by_words
):
    texts, columns = random_texts
    ids = list(texts)
    query = texts[ids[row]]
    allowed = [name for place, name in enumerate(ids) if fits(columns, place, where)]
    if by_words:
        (hits,) = random_store.search_words(query, k, where=where)
        scored = random_words.search(query, k=COUNT)
        scores = {hit.id: 2.2 * hit.score for hit in scored if hit.id in allowed}
    else:
        hits = search(Letters(), query, random_store, k=k, where=where)
        matrix = Letters().encode([query, *texts.values()])
        matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
        cosines = dict(zip(ids, matrix[1:] @ matrix[0], strict=True))
        scores = {name: cosines[name] for name in allowed}
    best = sorted(scores.values(), reverse=True)[:k]
    assert [hit.score for hit in hits] == pytest.approx(best, rel=1e-4, abs=1e-5)
    assert [hit.score for hit in hits] == pytest.approx(
        [scores[hit.id] for hit in hits], rel=1e-4, abs=1e-5
    )
    assert [hit.rank for hit in hits] == list(range(1, len(best) + 1))
    assert len({hit.id for hit in hits}) == len(hits)
    assert all(hit.text == texts[hit.id] for hit in hits)


def test_equal_vectors_are_ordered_by_id_also_at_the_last_place(tmp_path):
    ids = [f"{number:02}" for number in np.random.default_rng(0).permutation(40)]
    store = made(tmp_path / "s", dict.fromkeys(ids, "same words") | {"other": "zzz"})
    for k in (1, 3, 17, 39, 40):
        assert found(store, "same words", k=k) == sorted(ids)[:k]
        assert [hit.id for hit in store.search_words("same", k)[0]] == sorted(ids)[:k]
    assert found(store, "same words", k=41)[-1] == "other"


def apart(hits, least):
    scores = [hit.score for hit in hits]
    return all(better - worse > least for better, worse in itertools.pairwise(scores))


def test_hybrid_is_the_fusion_of_exact_search_and_keyword_search(random_texts, tmp_path):
    texts, columns = random_texts
    texts = dict(list(texts.items())[:40])
    store = made(tmp_path / "s", texts, columns={"year": columns["year"][:40]})
    index, words = build_index(Letters(), texts), KeywordIndex(texts, k1=1.2)
    late = {name for name, year in zip(texts, columns["year"], strict=False) if (year or 0) > 2019}
    rng = np.random.default_rng(1)
    compared = 0
    for _ in range(15):
        query = " ".join(rng.choice(WORDS, 4, replace=False))
        meant, worded = search(Letters(), query, index, k=40), words.search(query, k=40)
        if not (apart(meant, 2e-6) and apart(worded, 1e-5)):
            continue  # rounding may decide the order
        compared += 1
        hits = search(Letters(), query, store, k=12, hybrid=True)
        assert hits == fuse([meant, worded], k=12)
        kept = [[hit for hit in hits if hit.id in late] for hits in (meant, worded)]
        ranked = [[replace(hit, rank=r) for r, hit in enumerate(hits, 1)] for hits in kept]
        hits = search(Letters(), query, store, k=12, hybrid=True, where={"year": {">": 2019}})
        assert hits == fuse(ranked, k=12)
    assert compared >= 5


def test_a_query_without_words_is_still_searched_by_meaning(random_store):
    assert random_store.search_words("!?", 3) == [[]]
    assert found(random_store, "!?", hybrid=True, k=4) == found(random_store, "!?", k=4)


def test_several_queries_give_a_list_each(random_store):
    for hybrid in (False, True):
        several = search(Letters(), ["bal", "kin"], random_store, k=3, hybrid=hybrid)
        assert several[1] == search(Letters(), "kin", random_store, k=3, hybrid=hybrid)
        assert search(Letters(), [], random_store, hybrid=hybrid) == []


# --- changed


IDS = st.sampled_from(["a", "b", "c", "d", "e'", "漢"])
CHANGES = st.one_of(
    st.dictionaries(IDS, st.sampled_from(["wave", "banana", "hammer bat", "", " \n"])),
    st.lists(IDS, max_size=3),
)


@given(st.dictionaries(IDS, st.just("maize"), min_size=1), st.lists(CHANGES, max_size=5))
@settings(max_examples=10, deadline=None)
def test_changes_do_what_they_do_to_a_dict(tmp_path_factory, start, changes):
    folder = tmp_path_factory.mktemp("stores") / "s"
    store, expected = made(folder, start), dict(start)
    for change in changes:
        if isinstance(change, dict):
            assert store.add(Letters(), change) == len(change.keys() - expected.keys())
            expected |= change
        else:
            assert store.delete(change) == len(expected.keys() & set(change))
            expected = {name: text for name, text in expected.items() if name not in change}
        assert everything(store) == expected
        assert len(found(store, "hammer", k=99, hybrid=True)) == len(expected)
    store.compact()
    assert everything(store) == expected == everything(Store.open(folder))
    worded = {name: text for name, text in expected.items() if text.strip()}
    if worded:  # a text without a word counts for no statistics of words
        worded = KeywordIndex(worded, k1=1.2).search("maize bat", k=9)
        (hits,) = store.search_words("maize bat", 9)
        assert {hit.id: hit.score for hit in hits} == pytest.approx(
            {hit.id: 2.2 * hit.score for hit in worded}, rel=1e-4
        )


def test_a_new_text_takes_the_place_of_the_old_with_all_its_columns(tmp_path):
    store = made(
        tmp_path / "s", {"a": "wave", "b": "maize"}, columns={"n": [1, 2], "w": ["x", "y"]}
    )
    assert store.add(Letters(), {"a": "samba"}, columns={"n": [3]}) == 0
    assert everything(store) == {"a": "samba", "b": "maize"}
    assert found(store, "a", where={"n": 3}) == ["a"]
    assert found(store, "a", where={"n": 1}) == []
    assert found(store, "a", where={"w": {"!=": "q"}}) == ["b"]  # a missing value fits nothing
    assert store.search_words("wave", 3) == [[]]


def test_an_emptied_store_finds_nothing_and_can_be_filled_again(tmp_path):
    store = made(tmp_path / "s", ["wave", "maize"])
    store.create_index()
    assert store.delete(["0", "1", "2"]) == 2
    assert len(store) == 0
    assert found(store, "wave", hybrid=True) == found(store, "wave") == []
    store.compact()
    assert store.add(Letters(), {"new": "wave"}) == 1
    assert found(store, "wave", hybrid=True) == ["new"]


def test_texts_of_no_letters_are_texts(tmp_path):
    store = made(tmp_path / "s", {"blank": "", "space": "  ", "marks": "?!"})
    assert set(found(store, "wave", k=9)) == {"blank", "space", "marks"}
    assert store.search_words("wave", 9) == [[]]
    index = build_index(Letters(), {"blank": "", "space": "  ", "marks": "?!"})
    assert set(found(index, "wave", k=9)) == {"blank", "space", "marks"}


def test_compacting_frees_what_the_past_took(tmp_path):
    store = made(tmp_path / "s", {"a": "wave"})
    for number in range(6):
        store.add(Letters(), {f"{number}": "maize"})
    before = sum(path.stat().st_size for path in (tmp_path / "s").rglob("*") if path.is_file())
    texts = everything(store)
    store.compact()
    after = sum(path.stat().st_size for path in (tmp_path / "s").rglob("*") if path.is_file())
    assert after < before / 2
    assert everything(store) == texts


# --- approximate


@pytest.fixture(scope="module")
def clustered():
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(60, 24))
    rows = centres[rng.integers(0, 60, 3001)] + 0.8 * rng.normal(size=(3001, 24))
    rows = rows.astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_an_approximate_index_finds_nearly_what_exact_search_finds(clustered, tmp_path):
    model, texts = Rows(clustered), [str(row) for row in range(3000)]
    columns = {"hundred": [row // 100 for row in range(3000)]}
    store = made(tmp_path / "s", texts, model, columns=columns)
    queries = texts[::60]
    exact = [{hit.id for hit in hits} for hits in search(model, queries, store, k=10)]
    index = Index.from_matrix(clustered[:3000], texts)
    assert exact == [set(map(str, rows)) for rows in index.search(clustered[:3000:60], 10)[1]]

    store.create_index()
    near = [{hit.id for hit in hits} for hits in search(model, queries, store, k=10)]
    shares = [len(a & b) / 10 for a, b in zip(exact, near, strict=True)]
    assert np.mean(shares) >= 0.9
    # Few texts fit, and all are found, wherever their cells are.
    hits = search(model, "0", store, k=50, where={"hundred": 7})
    assert len(hits) == 50
    assert {int(hit.id) // 100 for hit in hits} == {7}
    # What comes and goes later is seen.
    store.add(model, {"new": "3000"})
    assert search(model, "3000", store, k=1)[0].id == "new"
    store.delete(["new"])
    assert "new" not in [hit.id for hit in search(model, "3000", store, k=20)]

    # Fewer cells looked into, fewer found: the options reach the index, also of another handle.
    store.create_index(nlist=64, nprobe=1)
    fewer = search(model, queries, Store.open(tmp_path / "s"), k=10)
    worse = np.mean([len(a & {h.id for h in b}) / 10 for a, b in zip(exact, fewer, strict=True)])
    assert worse < np.mean(shares) - 0.05
    for options in ({"nlist": 0}, {"nlist": 3001}, {"nprobe": 0}):
        with pytest.raises(ValueError, match="nlist"):
            store.create_index(**options)


# --- on disk


def test_a_reopened_store_is_the_same(tmp_path):
    store = made(tmp_path / "s", {"a": "wave", "b": "maize"}, columns={"n": [1, 2], "p": [0.5, 1]})
    again = Store.open(str(tmp_path / "s"))
    assert again.columns == store.columns == {"n": "int", "p": "float"}
    assert (again.fingerprint, again.prompt) == (store.fingerprint, store.prompt)
    assert again.dimensions == 27
    assert search(Letters(), "wav", again) == search(Letters(), "wav", store)
    assert "2 texts" in repr(again)


def test_two_handles_see_each_other(tmp_path):
    one = made(tmp_path / "s", {"a": "wave"})
    other = Store.open(tmp_path / "s")
    one.add(Letters(), {"b": "maize"})
    assert everything(other) == {"a": "wave", "b": "maize"}
    other.delete(["a"])
    other.compact()
    assert everything(one) == {"b": "maize"}
    one.add(Letters(), {"c": "samba"})
    assert found(other, "samba", k=1, hybrid=True) == ["c"]


def test_ids_stay_unique_when_two_handles_add_them_at_once(tmp_path):
    made(tmp_path / "s", {"a": "wave"})
    barrier = threading.Barrier(2)
    errors = []

    def adding():
        try:
            store = Store.open(tmp_path / "s")
            for number in range(5):
                barrier.wait(timeout=60)
                store.add(Letters(), {f"{number}": "maize", f"{number}x": "samba"})
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=adding) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(everything(Store.open(tmp_path / "s"))) == 11


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    spec = importlib.util.spec_from_file_location("adding", CHILD)
    adding = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(adding)
    model = adding.Lengths()
    made(tmp_path / "s", {"newest": "batch0"}, model, columns={"batch": [0]})
    rng = np.random.default_rng(11)
    last = 0  # the newest batch that is wholly there
    for _ in range(3):
        child = subprocess.Popen(
            [sys.executable, str(CHILD), str(tmp_path / "s"), str(last + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        lines = [child.stdout.readline() for _ in range(rng.integers(1, 6))]
        time.sleep(rng.uniform(0, 0.2))
        child.kill()
        lines += child.stdout.read().splitlines(keepends=True)
        child.wait()
        acknowledged = int(lines[-1].split()[-1])
        assert acknowledged >= last + 1

        store = Store.open(tmp_path / "s")
        hits = search(model, "any", store, k=10**6)
        texts = {hit.id: hit.text for hit in hits}
        assert len(texts) == len(hits)
        last = int(texts["newest"].removeprefix("batch"))
        assert last in {acknowledged, acknowledged + 1}  # at most one more, which was not told
        expected = {"newest": "batch0"}
        for number in range(1, last + 1):
            expected |= adding.batch(number)
        assert texts == expected
        # And it works: by words, under a filter, and for whoever adds and deletes.
        assert {hit.id for hit in store.search_words(f"batch{last}", 9)[0]} == (
            {f"{last}-{place}" for place in range(4)} | {"newest"}
        )
        assert len(search(model, "any", store, k=99, where={"batch": last})) == 5
        assert store.add(model, {"after": "the kill"}) == 1
        assert store.delete(["after"]) == 1


# --- refused


def test_another_model_is_refused_also_after_reopening(tmp_path):
    made(tmp_path / "s", {"a": "wave"})
    store = Store.open(tmp_path / "s")
    other = Letters("other letters")
    with pytest.raises(ValueError, match="cannot be compared"):
        search(other, "wave", store)
    with pytest.raises(ValueError, match="cannot be compared"):
        store.add(other, {"b": "maize"})
    with pytest.raises(ValueError, match="dimensions"):
        search(lambda texts: [[1.0]] * len(texts), "wave", store)
    with pytest.raises(ValueError, match="dimensions"):
        store.add(lambda texts: [[1.0]] * len(texts), {"b": "maize"})
    assert everything(store) == {"a": "wave"}


def test_what_is_added_later_gets_the_prompt_of_the_first(tmp_path):
    made(tmp_path / "s", {"a": "wave"}, prompt="aaaa: ")
    store = Store.open(tmp_path / "s")
    store.add(Letters(), {"b": "wave"})
    scores = [hit.score for hit in search(Letters(), "wave", store)]
    assert scores[0] == scores[1] < 0.99


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_ids_and_values_are_only_compared(hostile_store, text):
    number = HOSTILE.index(text)
    assert found(hostile_store, "a", where={"id": text}, k=99) == [text]
    assert found(hostile_store, "a", where={"value": text}, k=99) == [text]
    assert set(found(hostile_store, "a", where={"value": {"!=": text}}, k=99)) == (
        set(HOSTILE) - {text}
    )
    assert found(hostile_store, "a", where={"value": [text, "absent"], "n": number}) == [text]


@pytest.fixture(scope="module")
def hostile_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores") / "s"
    columns = {"value": HOSTILE, "n": list(range(len(HOSTILE)))}
    return made(folder, {text: f"a {text}" for text in HOSTILE}, columns=columns)


@given(st.text(max_size=30))
@settings(max_examples=40, deadline=None)
def test_no_text_finds_more_than_itself(hostile_store, text):
    mine = {text} & set(HOSTILE)
    assert set(found(hostile_store, "a", where={"value": text}, k=99)) == mine
    assert set(found(hostile_store, "a", where={"value": {"<": text}}, k=99)) == {
        other for other in HOSTILE if other < text
    }
    if text.strip():
        (hits,) = hostile_store.search_words(text, 99)
        words = set(words_of(text))
        assert {hit.id for hit in hits} == {t for t in HOSTILE if words & set(words_of(f"a {t}"))}


def test_hostile_ids_are_deleted_alone(tmp_path):
    store = made(tmp_path / "s", dict.fromkeys(HOSTILE, "wave"))
    for number, text in enumerate(HOSTILE, start=1):
        assert store.delete([text]) == 1
        assert len(store) == len(HOSTILE) - number
    assert store.delete([]) == 0


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("year > 2020", TypeError),
        ({"nothing": 1}, ValueError),
        ({"vector": 1}, ValueError),
        ({"year = 2020 OR 1": 1}, ValueError),
        ({"year": "2020"}, TypeError),
        ({"year": True}, TypeError),
        ({"year": None}, TypeError),
        ({"year": 2.5}, TypeError),
        ({"year": 2**63}, ValueError),
        ({"year": {"LIKE": 2020}}, ValueError),
        ({"year": {">": [2020]}}, TypeError),
        ({"price": float("nan")}, ValueError),
        ({"topic": 3}, TypeError),
        ({"topic": {}}, ValueError),
    ],
)
def test_a_filter_that_means_nothing_is_refused(random_store, where, error):
    with pytest.raises(error, match=r"where|column"):
        search(Letters(), "bal", random_store, where=where)
    with pytest.raises(error, match=r"where|column"):
        random_store.search_words("bal", 3, where=where)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        ({"a b": [1, 2]}, ValueError),
        ({"_distance": [1, 2]}, ValueError),
        ({"Vector": [1, 2]}, ValueError),
        ({"x": [1, 2], "X": [1, 2]}, ValueError),
        ({"x": [1]}, ValueError),
        ({"x": "no"}, ValueError),
        ({"x": [1, "two"]}, TypeError),
        ({"x": [1, True]}, TypeError),
        ({"x": [[1], [2]]}, TypeError),
        ({"x": [1.0, float("nan")]}, ValueError),
    ],
)
def test_columns_that_cannot_be_kept_are_refused_before_the_encoding(tmp_path, columns, error):
    def encodes(texts):
        raise AssertionError("the texts were encoded")

    with pytest.raises(error):
        made(tmp_path / "s", ["wave", "maize"], encodes, columns=columns)
    assert not (tmp_path / "s").exists()


def test_columns_of_a_data_frame_are_taken(tmp_path):
    columns = {
        "n": np.array([1, 2]),
        "p": np.array([1.5, 2.5], np.float32),
        "b": np.array([True, False]),
    }
    store = made(tmp_path / "s", {"a": "wave", "b": "maize"}, columns=columns)
    assert store.columns == {"n": "int", "p": "float", "b": "bool"}
    assert found(store, "a", where={"n": np.int64(2), "b": False}) == ["b"]
    with pytest.raises(ValueError, match="no column"):
        store.add(Letters(), {"c": "samba"}, columns={"q": [1]})
    with pytest.raises(TypeError, match="int"):
        store.add(Letters(), {"c": "samba"}, columns={"n": ["1"]})
    assert len(store) == 2


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    store = made(tmp_path / "s", {"a": "wave"})
    with pytest.raises(FileExistsError, match=r"Store\.open"):
        made(tmp_path / "s", {"b": "maize"})
    assert everything(store) == {"a": "wave"}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="something"):
        made(tmp_path / "mine", {"b": "maize"})
    with pytest.raises(FileNotFoundError, match="no store"):
        Store.open(tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    assert len(made(tmp_path / "empty", {"b": "maize"})) == 1


def test_a_failed_build_leaves_nothing(tmp_path):
    def broken(texts):
        return [[float("nan")]] * len(texts)

    with pytest.raises(ValueError, match="NaN"):
        made(tmp_path / "s", {"a": "wave"}, broken)
    assert list(tmp_path.iterdir()) == []


def test_what_an_index_refuses_a_store_refuses(tmp_path):
    with pytest.raises(ValueError, match="empty"):
        made(tmp_path / "s", [])
    with pytest.raises(TypeError, match="folder"):
        build_index(Letters(), ["wave"], kind="lancedb")
    with pytest.raises(TypeError, match="nlist"):
        made(tmp_path / "s", ["wave"], nlist=4)
    with pytest.raises(ValueError, match="build_index"):
        Index.from_matrix(np.eye(2), ["a", "b"], kind="lancedb")
    store = made(tmp_path / "s", ["wave"])
    with pytest.raises(ValueError, match="k is 0"):
        search(Letters(), "wave", store, k=0)
    with pytest.raises(ValueError, match="blank"):
        search(Letters(), " ", store)
    with pytest.raises(TypeError, match="dict from id"):
        store.add(Letters(), ["maize"])
    with pytest.raises(TypeError, match="put it in a list"):
        store.delete("0")
    assert store.add(Letters(), {}) == 0
    for options in ({"where": {"n": 1}}, {"hybrid": True}):
        with pytest.raises(ValueError, match="store"):
            search(Letters(), "wave", ["wave"], **options)
