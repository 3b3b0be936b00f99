"""A served model, asked over HTTP: a server of the test's own answers, or misbehaves."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from course_utils.models import endpoint
from course_utils.models.endpoint import ask_endpoint


@pytest.fixture
def server(monkeypatch):
    """A server that answers as ``server.plan`` says: a list of (status, body), then what was asked."""
    monkeypatch.setattr(endpoint.time, "sleep", lambda _: None)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.server.asked.append((self.path, dict(self.headers), body))
            prompt = body["messages"][0]["content"]
            echo = json.dumps({"choices": [{"message": {"content": prompt.upper()}}]}).encode()
            status, answer = self.server.plan.pop(0) if self.server.plan else (200, echo)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        http.asked, http.plan = [], []
        http.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http
        http.shutdown()
        thread.join()


def test_answers_come_in_the_order_of_the_prompts(server):
    prompts = [f"text {number}" for number in range(20)]
    ask = ask_endpoint(server.url, "tiny", api_key="secret", max_tokens=7, temperature=0.2)
    assert ask(prompts) == [prompt.upper() for prompt in prompts]
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == "Bearer secret"
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 7, 0.2)
    assert body["stop"] == ["\n"]
    assert sorted(asked["messages"][0]["content"] for _, _, asked in server.asked) == sorted(
        prompts
    )


def test_without_a_key_none_is_sent(server):
    ask_endpoint(server.url + "/", "tiny")(["a"])
    path, headers, _ = server.asked[0]
    assert path == "/v1/chat/completions"
    assert "Authorization" not in headers


def test_a_busy_server_is_asked_again(server):
    server.plan = [(429, b""), (503, b"")]
    assert ask_endpoint(server.url, "tiny")(["a"]) == ["A"]
    assert len(server.asked) == 3


def test_a_server_that_stays_busy_is_given_up(server):
    server.plan = [(503, b"overloaded")] * 4
    with pytest.raises(ConnectionError, match=r"status 503: overloaded"):
        ask_endpoint(server.url, "tiny")(["a"])
    assert len(server.asked) == 4


def test_a_refusal_is_told_at_once(server):
    server.plan = [(401, b"no such key")]
    with pytest.raises(ConnectionError, match=r"status 401: no such key"):
        ask_endpoint(server.url, "tiny")(["a"])
    assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [b"<html>", b"[]", b'{"choices": []}'])
def test_another_form_of_answer_is_an_error(server, answer):
    server.plan = [(200, answer)]
    with pytest.raises(ConnectionError, match="another form"):
        ask_endpoint(server.url, "tiny")(["a"])


def test_an_address_where_nothing_listens_is_named(server, monkeypatch):
    server.server_close()
    with pytest.raises(ConnectionError, match=f"{server.url}/chat/completions cannot be reached"):
        ask_endpoint(server.url, "tiny")(["a"])


@pytest.mark.parametrize("url", ["file:///etc/passwd", "localhost:8000", ""])
def test_only_http_is_spoken(url):
    with pytest.raises(ValueError, match="base of an API"):
        ask_endpoint(url, "tiny")
