"""The cache gives back what was put in, or nothing; a file can be lost, a vector never mixed up."""

import os
import signal
import sqlite3
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import course_utils.encoding.cache as cache_module
from course_utils.encoding.cache import EmbeddingCache
from course_utils.encoding.embedders import as_embedder
from course_utils.encoding.encode import encode

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "folder" / "vectors.sqlite"


def vectors(count, dimension=384, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, dimension)).astype(np.float32)


def texts(count, start=0):
    return [f"text number {i}" for i in range(start, start + count)]


def fill(path, count=3000):
    """Write a file of several megabytes: more than SQLite keeps in memory."""
    with EmbeddingCache(path) as cache:
        cache.put("model", texts(count), vectors(count))


def start(script, *arguments, on_warning="error", **options):
    command = [sys.executable, "-W", on_warning, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


# What goes in comes out


@given(st.lists(st.text(), min_size=1, max_size=8, unique=True), st.data())
@settings(max_examples=40, deadline=None)
def test_what_was_put_is_got_bit_for_bit(tmp_path_factory, words, data):
    matrix = data.draw(arrays(np.float32, (len(words), 3), elements=FINITE))
    with EmbeddingCache(tmp_path_factory.mktemp("cache") / "v.sqlite") as cache:
        cache.put("model", words, matrix)
        found = cache.get("model", ["\ud800 never put in", *words])
    assert set(found) == set(range(1, len(words) + 1))
    for index, vector in found.items():
        assert vector.tobytes() == matrix[index - 1].tobytes()


def test_vectors_last_longer_than_the_process_that_wrote_them(path):
    fill(path, 5)
    with EmbeddingCache(path) as cache:
        found = cache.get("model", texts(6))
    assert sorted(found) == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(np.stack(list(found.values())), vectors(5))


def test_models_never_share_a_vector(path):
    with EmbeddingCache(path) as cache:
        cache.put("a", ["text"], np.ones((1, 2)))
        assert cache.get("b", ["text"]) == {}
        cache.put("b", ["text"], np.zeros((1, 3)))
        assert cache.get("a", ["text"])[0].tolist() == [1, 1]
        assert cache.get("b", ["text"])[0].tolist() == [0, 0, 0]


def test_a_repeated_text_is_found_at_each_of_its_places(path):
    with EmbeddingCache(path) as cache:
        cache.put("model", ["x", "x"], [[1.0], [2.0]])
        assert {i: v.tolist() for i, v in cache.get("model", ["x", "y", "x"]).items()} == {
            0: [2.0],
            2: [2.0],
        }


def test_many_texts_are_found_in_one_call(path):
    fill(path, 5000)
    with EmbeddingCache(path) as cache:
        found = cache.get("model", texts(6000))
    assert len(found) == 5000
    np.testing.assert_array_equal(found[4321], vectors(5000)[4321])


def test_lengths_in_tokens_are_kept(path):
    with EmbeddingCache(path) as cache:
        cache.put("model", ["a", "b"], np.eye(2), tokens=[3, 700])
        cache.put("model", ["c"], np.eye(1))
        (found,) = cache.lookup("model", ["a", "b", "c", "unknown"])
        assert [(index, count) for index, _, count in found] == [(0, 3), (1, 700), (2, 0)]


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.ones((1, 2)), "2 texts"),
        (np.ones(2), r"shape \(2,\)"),
        (np.array([[1.0], [np.nan]]), "row 1"),
        (np.array([[np.inf], [1.0]]), "row 0"),
    ],
)
def test_what_is_no_vector_is_not_kept(path, matrix, said):
    with EmbeddingCache(path) as cache:
        with pytest.raises(ValueError, match=said):
            cache.put("model", ["a", "b"], matrix)
        assert cache.stats()["vectors"] == 0


def test_stats_count_and_clear_forgets(path):
    with EmbeddingCache(path) as cache:
        cache.put("a", texts(500), vectors(500))
        cache.put("b", texts(2), vectors(2))
        stats = cache.stats()
        assert (stats["vectors"], stats["models"]) == (502, 2)
        assert stats["bytes"] > 500 * 384 * 4
        cache.clear()
        assert cache.get("a", texts(3)) == {}
        assert cache.stats()["bytes"] < 100_000


def test_the_default_file_is_in_the_courses_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path / "mine"))
    with EmbeddingCache() as cache:
        assert cache.path == tmp_path / "mine" / "embeddings.sqlite"
    assert cache.path.exists()


def test_a_closed_cache_is_an_error_and_not_an_empty_one(path):
    cache = EmbeddingCache(path)
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError):
        cache.get("model", ["a"])


# Several processes


WRITER = """
import sys, numpy as np
from course_utils.encoding.cache import EmbeddingCache
path, name = sys.argv[1], int(sys.argv[2])
sys.stdin.readline()
with EmbeddingCache(path) as cache:
    for batch in range(20):
        texts = [f"{name} {batch} {i}" for i in range(16)] + [f"shared {batch}"]
        cache.put("model", texts, np.full((17, 8), batch, dtype="f4"))
        assert len(cache.get("model", texts)) == 17
"""


def test_processes_that_start_together_write_one_new_file(path):
    writers = [start(WRITER, path, name, stdin=subprocess.PIPE) for name in range(3)]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    with EmbeddingCache(path) as cache:
        assert cache.stats()["vectors"] == 20 * (3 * 16 + 1)
        for name in range(3):
            found = cache.get("model", [f"{name} {batch} 5" for batch in range(20)])
            assert [vector[0] for vector in found.values()] == list(range(20))


KILLED = """
import sys, itertools, numpy as np
from course_utils.encoding.cache import EmbeddingCache
cache = EmbeddingCache(sys.argv[1])
for batch in itertools.count():
    texts = [f"{batch} {i}" for i in range(200)]
    cache.put("model", texts, np.full((200, 384), batch, dtype="f4"))
    print(batch, flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
@pytest.mark.parametrize("after", [1, 7, 20])
def test_a_killed_process_loses_at_most_the_batch_in_flight(path, after):
    with start(KILLED, path) as victim:
        for _ in range(after):
            victim.stdout.readline()
        victim.send_signal(signal.SIGKILL)
        told = victim.stdout.read().split()
    assert victim.returncode == -signal.SIGKILL
    done = int(told[-1]) + 1 if told else after
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with EmbeddingCache(path) as cache:
            rows = cache.stats()["vectors"]
            assert rows in (done * 200, (done + 1) * 200)  # whole batches; the last may be untold
            for batch in range(done):
                found = cache.get("model", [f"{batch} {i}" for i in range(200)])
                assert np.unique(np.stack(list(found.values()))).tolist() == [batch]
                assert len(found) == 200
            cache.put("model", ["after"], vectors(1))
    check = sqlite3.connect(path)
    assert check.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    check.close()


# Damage, and files of other people


def garbage_after_the_header(path):
    good = path.read_bytes()
    path.write_bytes(good[:100] + np.random.default_rng(3).bytes(len(good) - 100))


def half(path):
    os.truncate(path, path.stat().st_size // 2)


USES = {
    "get": lambda cache: cache.get("model", texts(3000)),
    "put": lambda cache: cache.put("model", texts(3000, start=3000), vectors(3000)),
}


@pytest.mark.parametrize("damage", [garbage_after_the_header, half])
@pytest.mark.parametrize("use", USES)
def test_a_damaged_file_is_one_warning_and_stays_where_it_is(path, damage, use):
    fill(path)
    damage(path)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        cache = EmbeddingCache(path)
        for _ in range(2):
            USES[use](cache)
    assert len(caught) == 1
    assert "delete the file" in str(caught[0].message)
    assert cache.get("model", texts(3000)) == {}
    assert [file.name for file in path.parent.iterdir() if file.suffix == ".sqlite"] == [path.name]


def test_a_vector_with_one_changed_byte_is_dropped_and_the_others_stay(path):
    fill(path)
    content = bytearray(path.read_bytes())
    blob = vectors(3000)[1234].tobytes()
    place = content.find(blob[:64])
    assert place > 0
    content[place + 30] ^= 1
    path.write_bytes(content)
    with EmbeddingCache(path) as cache:
        with pytest.warns(RuntimeWarning, match="1 vectors.*checksum") as caught:
            found = cache.get("model", texts(3000))
        assert len(caught) == 1
        assert set(range(3000)) - set(found) == {1234}
        cache.put("model", texts(1, start=1234), vectors(3000)[1234:1235])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert len(cache.get("model", texts(3000))) == 3000


def test_a_file_of_another_layout_is_one_warning(path):
    fill(path, 3)
    other = sqlite3.connect(path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    with pytest.warns(RuntimeWarning, match="99"), EmbeddingCache(path) as cache:
        assert cache.get("model", texts(3)) == {}


@pytest.mark.parametrize("content", [b"date,note\n2024-05-01,buy milk\n", b"x", bytes(9000)])
def test_a_file_that_is_no_cache_is_refused_and_left_alone(tmp_path, content):
    notes = tmp_path / "notes.csv"
    notes.write_bytes(content)
    with pytest.raises(ValueError, match="not an embedding cache"):
        EmbeddingCache(notes)
    assert notes.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["notes.csv"]


def test_two_caches_of_a_process_keep_their_file_from_another(path):
    """Opened twice here, the file is still in use when another process closes it: that one waits."""
    code = (
        "import sys, numpy as np; from course_utils import EmbeddingCache\n"
        "with EmbeddingCache(sys.argv[1]) as cache:\n"
        "    cache.put('model', [sys.argv[2]], np.ones((1, 4)))\n"
        "    print(sorted(cache.get('model', ['a', 'b', 'c', 'd', 'e'])))"
    )

    def elsewhere(text):
        command = [sys.executable, "-c", code, str(path), text]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    with EmbeddingCache(path) as one:
        one.put("model", ["a"], np.ones((1, 4)))
        with EmbeddingCache(path) as two:
            assert elsewhere("b") == "[0, 1]"
            one.put("model", ["c"], np.ones((1, 4)))
            two.put("model", ["d"], np.ones((1, 4)))
            assert elsewhere("e") == "[0, 1, 2, 3, 4]"


def test_an_empty_file_becomes_a_cache(path):
    path.parent.mkdir()
    path.touch()
    fill(path, 3)
    with EmbeddingCache(path) as cache:
        assert len(cache.get("model", texts(3))) == 3


def test_the_default_file_beyond_reading_is_one_warning(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path))
    (tmp_path / "embeddings.sqlite").write_bytes(b"torn")
    with pytest.warns(RuntimeWarning, match="cannot be used"):
        EmbeddingCache()


def test_a_file_of_another_program_is_refused_and_left_alone(path):
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE bills (amount)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(ValueError, match="another program"):
        EmbeddingCache(path)
    assert path.read_bytes() == before


# Where nothing can be written


def test_encoding_goes_on_where_the_cache_folder_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "a file").write_text("in the way")
    monkeypatch.setenv("COURSE_UTILS_CACHE", str(tmp_path / "a file" / "cache"))
    with pytest.warns(RuntimeWarning, match="cannot be used") as caught:
        cache = EmbeddingCache()
    assert len(caught) == 1
    assert encode(as_embedder(one_vector_each, "ones"), texts(5), cache=cache).shape == (5, 4)


def one_vector_each(words):
    return np.ones((len(words), 4))


def encodes_with_one_warning(cache, said):
    embedder = as_embedder(one_vector_each, "ones")
    with pytest.warns(RuntimeWarning, match=said) as caught:
        matrix = encode(embedder, texts(50), cache=cache, batch_size=5)
    assert matrix.shape == (50, 4)
    assert len(caught) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode(embedder, texts(60), cache=cache).shape == (60, 4)
    assert "goes on without it" in str(caught[0].message)
    assert cache.stats() == {"vectors": 0, "models": 0, "bytes": cache.stats()["bytes"]}


def test_encoding_goes_on_where_the_file_is_read_only(path):
    cache = EmbeddingCache(path)
    cache._connection.execute("PRAGMA query_only = 1")  # what root is not: refused
    encodes_with_one_warning(cache, "readonly")


def test_encoding_goes_on_where_the_disk_is_full(path):
    cache = EmbeddingCache(path)
    cache._connection.execute("PRAGMA max_page_count = 4")
    encodes_with_one_warning(cache, "full")


def test_encoding_goes_on_while_another_process_holds_the_lock(path, monkeypatch):
    monkeypatch.setattr(cache_module, "BUSY_SECONDS", 0.05)
    cache = EmbeddingCache(path)
    holder = sqlite3.connect(path)
    holder.execute("BEGIN IMMEDIATE")
    encodes_with_one_warning(cache, "locked")
    holder.close()


@pytest.mark.parametrize("place", ["a folder", "under a file"])
def test_a_path_that_can_be_no_file_is_one_warning(tmp_path, place):
    path = tmp_path / "there"
    if place == "a folder":
        path.mkdir()
    else:
        path.write_text("a file")
        path = path / "vectors.sqlite"
    with pytest.warns(RuntimeWarning, match="cannot be used") as caught:
        cache = EmbeddingCache(path)
    assert len(caught) == 1
    embedder = as_embedder(one_vector_each, "ones")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert encode(embedder, ["a"], cache=cache).shape == (1, 4)
