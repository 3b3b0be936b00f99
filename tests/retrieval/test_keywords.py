"""Search by words: the formula of BM25 in plain Python says what an index must find."""

import json
import math
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from course_utils.retrieval import Hit, Index, KeywordIndex
from course_utils.retrieval.index import sha256
from course_utils.retrieval.keywords import words_of

CORPUS = {
    "boiler": "The boiler room is behind the kitchen",
    "dog": "Dogs are welcome in the kitchen",
    "key": "The key to the boiler room hangs behind the door",
    "blank": "...",
}
WORDS = ["a", "b", "c", "d", "e", "7"]
TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), min_size=1, max_size=12
)
CORPORA = TEXTS.filter(lambda texts: any(map(str.strip, texts)))
QUERIES = st.lists(st.sampled_from([*WORDS, "unheard"]), min_size=1, max_size=6).map(" ".join)


def bm25(texts, query, k1=1.5, b=0.75):
    """The definition, one document after the other: Robertson and Zaragoza, with Lucene's idf."""
    counts = [Counter(text.split()) for text in texts]
    average = sum(count.total() for count in counts) / len(texts)
    scores = []
    for count in counts:
        score = 0.0
        for word in query.split():
            frequency = sum(word in other for other in counts)
            idf = math.log(1 + (len(texts) - frequency + 0.5) / (frequency + 0.5))
            if count[word]:
                length = 1 - b + b * count.total() / average
                score += idf * count[word] / (count[word] + k1 * length)
        scores.append(score)
    return scores


@given(CORPORA, QUERIES, st.sampled_from([0.0, 0.9, 1.5]), st.sampled_from([0.0, 0.4, 1.0]))
@settings(max_examples=150, deadline=None)
def test_the_scores_are_those_of_the_formula(texts, query, k1, b):
    hits = KeywordIndex(texts, k1=k1, b=b).search(query, k=len(texts))
    expected = {str(i): s for i, s in enumerate(bm25(texts, query, k1, b)) if s > 0}
    assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, rel=1e-5)
    assert all(hit.text == texts[int(hit.id)] for hit in hits)


@given(CORPORA, QUERIES, st.integers(1, 14))
@settings(max_examples=100, deadline=None)
def test_hits_come_best_first_and_equal_ones_by_row_and_k_cuts_the_list(texts, query, k):
    index = KeywordIndex(texts)
    everything = index.search(query, k=len(texts))
    assert everything == sorted(everything, key=lambda hit: (-hit.score, int(hit.id)))
    assert [hit.rank for hit in everything] == list(range(1, len(everything) + 1))
    assert index.search(query, k=k) == everything[:k]


@given(CORPORA, st.permutations(["a", "b", "c", "a", "unheard"]))
@settings(max_examples=50, deadline=None)
def test_the_order_of_a_querys_words_says_nothing(texts, words):
    index = KeywordIndex(texts)
    assert index.search(" ".join(words)) == index.search("a a b c unheard")


@given(CORPORA, QUERIES)
@settings(max_examples=50, deadline=None)
def test_texts_twice_over_are_found_twice_with_one_score(texts, query):
    hits = KeywordIndex(texts * 2).search(query, k=2 * len(texts))
    scores = {int(hit.id): hit.score for hit in hits}
    count = len(texts)
    assert scores == {(row + count) % (2 * count): score for row, score in scores.items()}


@given(CORPORA, QUERIES)
@settings(max_examples=50, deadline=None)
def test_without_length_in_play_a_text_without_the_querys_words_keeps_the_order(texts, query):
    """It makes every word rarer; the order can change by that, but not for a single word."""
    word = query.split()[0]
    before, after = (KeywordIndex(t, b=0).search(word, k=99) for t in (texts, [*texts, "other"]))
    assert [hit.id for hit in after] == [hit.id for hit in before]


def test_lucenes_variant_is_the_one_that_the_library_calls_so():
    import bm25s

    texts = [" ".join(np.random.default_rng(i).choice(WORDS, 5 + i)) for i in range(30)]
    library = bm25s.BM25(method="lucene", backend="numpy")
    library.index([text.split() for text in texts], show_progress=False)
    scores = library.get_scores(["a", "7", "e"])
    hits = KeywordIndex(texts).search("a 7 e", k=30)
    assert {hit.id: hit.score for hit in hits} == pytest.approx(
        {str(row): score for row, score in enumerate(scores.tolist()) if score > 0}, rel=1e-6
    )


def test_a_text_that_shares_no_word_is_no_hit():
    index = KeywordIndex(CORPUS)
    assert {hit.id for hit in index.search("boiler room", k=4)} == {"boiler", "key"}
    assert index.search("unheard of") == []
    assert index.search("?!") == []


def test_one_query_gives_one_list_and_several_give_one_each():
    index = KeywordIndex(CORPUS)
    (dog,) = index.search("dogs")
    assert dog == Hit("dog", dog.score, CORPUS["dog"], 1)
    assert index.search(["dogs", "unheard"]) == [[dog], []]
    assert index.search([]) == []


def test_an_index_knows_its_texts_in_their_order():
    index = KeywordIndex(CORPUS)
    assert index.ids == tuple(CORPUS)
    assert index.texts == tuple(CORPUS.values())
    assert len(index) == 4
    assert KeywordIndex(["one", "two"]).ids == ("0", "1")


def test_an_index_cannot_be_changed_by_way_of_its_corpus_or_its_names():
    texts = ["one", "two"]
    index = KeywordIndex(texts)
    texts[0] = "three"
    assert index.search("one")[0].text == "one"
    with pytest.raises(AttributeError):
        index.texts = ("three",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Zwölf Boxkämpfer", ["zwölf", "boxkämpfer"]),
        ("e\u0301te\u0301", ["été"]),  # as some keyboards and PDF files write it
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("\ufb01nd x²", ["find", "x2"]),  # a ligature
        ("Ελλάδα, 日本", ["ελλάδα", "日本"]),
        ("pd.read_csv(x)", ["pd", "read", "csv", "x"]),
        ("a-1 don't", ["a", "1", "don", "t"]),
        (" …", []),
    ],
)
def test_a_word_is_a_run_of_letters_and_digits_in_any_alphabet_without_case(text, words):
    assert words_of(text) == words


def first_letters(text):
    return [word[0] for word in words_of(text)]


def test_another_tokenizer_splits_texts_and_queries():
    index = KeywordIndex(["apple", "pear"], tokenize=first_letters)
    assert [hit.id for hit in index.search("Peter")] == ["1"]


@pytest.mark.parametrize("tokenize", [str.lower, lambda text: [1, 2]], ids=["string", "numbers"])
def test_a_tokenizer_that_returns_no_list_of_strings_is_refused(tokenize):
    with pytest.raises(TypeError, match="list of strings"):
        KeywordIndex(["apple"], tokenize=tokenize)


@given(CORPORA, st.lists(QUERIES, max_size=4))
@settings(max_examples=20, deadline=None)
def test_a_saved_index_finds_the_same(tmp_path_factory, texts, queries):
    index = KeywordIndex(texts, k1=1.2, b=0.3)
    loaded = KeywordIndex.load(index.save(tmp_path_factory.mktemp("kept") / "index"))
    assert (loaded.ids, loaded.texts, repr(loaded)) == (index.ids, index.texts, repr(index))
    assert loaded.search(queries, k=99) == index.search(queries, k=99)


def test_an_index_is_written_the_same_whatever_the_order_of_hashes(tmp_path):
    code = (
        "import sys; from course_utils.retrieval import KeywordIndex;"
        "KeywordIndex(['b a c', 'c d']).save(sys.argv[1])"
    )
    contents = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([sys.executable, "-c", code, str(folder)], check=True, env=environment)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


def test_an_own_tokenizer_must_be_given_again(tmp_path):
    own = KeywordIndex(["apple", "pear"], tokenize=first_letters).save(tmp_path / "own")
    assert KeywordIndex.load(own, tokenize=first_letters).search("a")[0].id == "0"
    for other in ({}, {"tokenize": str.split}):
        with pytest.raises(ValueError, match="another tokenizer"):
            KeywordIndex.load(own, **other)
    plain = KeywordIndex(["apple", "pear"]).save(tmp_path / "plain")
    with pytest.raises(ValueError, match="another tokenizer"):
        KeywordIndex.load(plain, tokenize=words_of)


def test_saving_again_replaces_a_keyword_index_but_nothing_else(tmp_path):
    KeywordIndex(["old"]).save(tmp_path / "index")
    KeywordIndex(["new"]).save(tmp_path / "index")
    assert KeywordIndex.load(tmp_path / "index").texts == ("new",)
    Index.from_matrix([[1.0]], ["vectors"]).save(tmp_path / "vectors")
    with pytest.raises(FileExistsError, match="vectors"):
        KeywordIndex(["new"]).save(tmp_path / "vectors")
    with pytest.raises(FileExistsError, match="index"):
        Index.from_matrix([[1.0]], ["vectors"]).save(tmp_path / "index")
    assert Index.load(tmp_path / "vectors").texts == ("vectors",)


@pytest.mark.parametrize("step", [1, 2])
def test_a_save_whose_exchange_fails_leaves_the_old_index(tmp_path, rename_fails, step):
    KeywordIndex(["old"]).save(tmp_path / "index")
    rename_fails(step)
    with pytest.raises(OSError, match="gave up"):
        KeywordIndex(["new"]).save(tmp_path / "index")
    assert KeywordIndex.load(tmp_path / "index").texts == ("old",)
    assert [path.name for path in tmp_path.iterdir()] == ["index"]


def test_a_damaged_index_is_refused_by_name(tmp_path):
    folder = KeywordIndex(CORPUS).save(tmp_path / "index")
    files = sorted(path for path in folder.iterdir() if path.name != "keywords.json")
    assert {path.suffix for path in files} == {".json", ".npy"}
    for path in files:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + b"~")
        with pytest.raises(ValueError, match=path.name):
            KeywordIndex.load(folder)
        path.unlink()
        with pytest.raises(FileNotFoundError, match=path.name):
            KeywordIndex.load(folder)
        path.write_bytes(whole)
    about = json.loads((folder / "keywords.json").read_text())
    for damage in ({"ids": ["a"]}, {"ids": ["a"], "texts": ["b"]}):
        (folder / "keywords.json").write_text(json.dumps(about | damage))
        with pytest.raises(ValueError, match="save it again"):
            KeywordIndex.load(folder)
    for text in ("{", "[]", "{}"):
        (folder / "keywords.json").write_text(text)
        with pytest.raises(ValueError, match=r"keywords\.json is damaged"):
            KeywordIndex.load(folder)
    with pytest.raises(FileNotFoundError):
        KeywordIndex.load(tmp_path / "nowhere")


def test_an_array_of_objects_is_never_unpickled(tmp_path):
    folder = KeywordIndex(["a"]).save(tmp_path / "index")
    path = next(folder.glob("data*.npy"))
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    about = json.loads((folder / "keywords.json").read_text())
    about["sha256"][path.name] = sha256(path)
    (folder / "keywords.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match="allow_pickle"):
        KeywordIndex.load(folder)


def test_building_and_searching_are_silent(capfd, tmp_path):
    index = KeywordIndex(CORPUS)
    KeywordIndex.load(index.save(tmp_path / "index")).search(["boiler", "dogs"])
    assert capfd.readouterr() == ("", "")


def test_what_cannot_be_searched_is_refused():
    with pytest.raises(ValueError, match="empty"):
        KeywordIndex([])
    with pytest.raises(ValueError, match="None of the 2 texts has a word"):
        KeywordIndex(["", "..."])
    with pytest.raises(TypeError, match="one string"):
        KeywordIndex("text")
    with pytest.raises(TypeError, match="item 'b' is a NoneType"):
        KeywordIndex({"a": "text", "b": None})
    with pytest.raises(TypeError, match="id 3"):
        KeywordIndex({3: "text"})


@pytest.mark.parametrize("option", [{"k1": -1}, {"k1": math.nan}, {"k1": math.inf}, {"b": 1.1}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValueError, match=f"{next(iter(option))} is "):
        KeywordIndex(CORPUS, **option)


def test_queries_that_ask_nothing_are_refused():
    index = KeywordIndex(CORPUS)
    with pytest.raises(ValueError, match="Query 0 is blank"):
        index.search("  ")
    with pytest.raises(ValueError, match="Query 1 is blank"):
        index.search(["dogs", ""])
    with pytest.raises(TypeError, match="query item 0 is a int"):
        index.search([3])
    with pytest.raises(ValueError, match="at least 1"):
        index.search("dogs", k=0)
