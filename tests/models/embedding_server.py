"""A server of embeddings on loopback that misbehaves on demand, and counts what it answered."""

import base64
import hashlib
import json
import threading
from collections import Counter
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

DIMENSION = 4
#: After these a client asks again; after those it must not.
PASSING = ["429", "429 after 7", "500", "502 html", "503", "504", "dropped"]
FATAL = ["401", "dimension", "missing", "twice", "nan", "html", "cut json", "nested"]


def vector_of(text, dimension=DIMENSION):
    """Return the vector of a text: numbers that nothing but the text decides."""
    digest = hashlib.sha256(text.encode()).digest()
    return np.frombuffer(digest, dtype="<i2")[:dimension].astype(np.float32) / 1000


def tokens_of(text):
    return len(text) + 2


class EmbeddingServer(ThreadingHTTPServer):
    """``faults`` are taken one a request, None for none; ``habits`` hold for every request.

    Habits are "shuffled" (rows in another order), "unnumbered" (no ``index``), "floats" (base64 is
    overheard), "no base64" (it is refused), "silent" (no ``usage``). ``answered`` counts each text
    that was answered well and in full, ``tokens`` what was reported with it; ``requests`` holds
    (headers, body) of all. With a ``barrier``, requests wait for each other.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}/v1"
        self.lock, self.released = threading.Lock(), threading.Event()
        self.reset()

    def reset(self):
        self.faults, self.habits, self.barrier = [], set(), None
        self.requests, self.answered, self.tokens = [], Counter(), 0


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet, or the second waits for the first's receipt

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        with server.lock:
            head = {name.lower(): value for name, value in self.headers.items()}
            server.requests.append((head, body))
            fault = server.faults.pop(0) if server.faults else None
        if server.barrier is not None:
            server.barrier.wait()
        if self.path != "/v1/embeddings":
            self._send(404, {"error": {"message": "unknown route"}})
        elif body["encoding_format"] == "base64" and "no base64" in server.habits:
            self._send(400, {"error": {"message": "encoding_format: base64 is not permitted"}})
        elif fault == "hang":
            server.released.wait()
        elif fault == "dropped":
            self._drop(json.dumps(self._answer(body, None)).encode())
        elif fault == "401":
            said = f"{'x' * 220} wrong key: {self.headers['Authorization']}"
            self._send(401, {"error": {"message": said}})
        elif fault == "cut json":
            self._send(200, json.dumps(self._answer(body, None)).encode()[:-9])
        elif fault == "html":
            self._send(200, b"<html><h1>Please sign in</h1></html>", kind="text/html")
        elif fault == "502 html":
            self._send(502, b"<html><h1>Bad gateway</h1></html>", kind="text/html")
        elif fault and fault[:3].isdigit():
            after = {"Retry-After": fault.split()[-1]} if "after" in fault else {}
            self._send(int(fault[:3]), {"error": {"message": "not now"}}, head=after)
        else:
            answer = self._answer(body, fault)
            if fault is None:
                # Before it is sent: the client may look as soon as it has it.
                with server.lock:
                    server.answered.update(body["input"])
                    server.tokens += answer.get("usage", {}).get("total_tokens", 0)
            self._send(200, answer)

    def _answer(self, body, fault):
        habits = self.server.habits
        dimension = body.get("dimensions", DIMENSION) + (fault == "dimension")
        rows = []
        for place, text in enumerate(body["input"]):
            vector = vector_of(text, dimension)
            if fault == "nan" and place == 0:
                vector[1] = np.nan
            plain = "floats" in habits or body["encoding_format"] == "float"
            embedding = vector.tolist() if plain else base64.b64encode(vector.tobytes()).decode()
            if fault == "nested":
                embedding = [vector.tolist()]
            rows.append({"object": "embedding", "index": place, "embedding": embedding})
        if fault == "missing":
            rows.pop()
        if fault == "twice":
            rows[0]["index"] = len(rows)
        if "shuffled" in habits:
            rows = rows[1::2] + rows[::-2] if len(rows) % 2 else rows[::-1]
        if "unnumbered" in habits:
            rows = [{"embedding": row["embedding"]} for row in rows]
        answer = {"object": "list", "data": rows, "model": body["model"]}
        if "silent" not in habits:
            tokens = sum(map(tokens_of, body["input"]))
            answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return answer

    def _send(self, status, body, *, kind="application/json", head=()):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, **dict(head)}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drop(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2])
        self.close_connection = True

    def log_message(self, *_):
        pass


@contextmanager
def embedding_server():
    """Give a running EmbeddingServer, and end it."""
    with EmbeddingServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
