"""A language model that a server holds: anything that speaks the chat completions of OpenAI's API.

vLLM, llama.cpp, Ollama and LM Studio serve models in this form on a machine of one's own, and so do
most providers. Nothing is sent anywhere but to the address given.
"""

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

_TRIES, _AT_ONCE = 4, 4
_BUSY = {429, 500, 502, 503, 504}


def ask_endpoint(
    url: str,
    model: str,
    *,
    api_key: str | None = None,
    max_tokens: int = 32,
    temperature: float = 0.7,
    timeout: float = 60.0,
) -> Callable[[list[str]], list[str]]:
    """Return a function from prompts to what a served model writes after each, for ``generate_questions``.

    ``url`` is the API's base, such as ``http://localhost:8000/v1``; each prompt becomes one request to
    ``chat/completions`` below it, four at a time, as the only message of the user, to end at a line's
    end. ``api_key`` is sent as a bearer token; ``timeout`` is in seconds. A server that is busy
    (status 429 or 5xx) is asked up to four times, with growing pauses.

    Raises ``ValueError`` for a url that is not http or https. The function raises ``ConnectionError``,
    naming the address and the reason, where the server cannot be reached, refuses, or answers in
    another form.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(
            f"url is {url!r}: give the base of an API, such as http://localhost:8000/v1."
        )
    address = f"{url.rstrip('/')}/chat/completions"
    headers = {"Content-Type": "application/json"}
    if api_key:
        headers["Authorization"] = f"Bearer {api_key}"

    def ask(prompt: str) -> str:
        asked = {
            "model": model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stop": ["\n"],
        }
        request = Request(address, json.dumps(asked).encode(), headers)  # noqa: S310 - checked above
        answer = _send(request, timeout)
        try:
            return str(json.loads(answer)["choices"][0]["message"]["content"] or "")
        except (ValueError, KeyError, IndexError, TypeError):
            raise ConnectionError(
                f"{address} answered in another form than chat completions: {answer[:80]!r}."
            ) from None

    def write(prompts: list[str]) -> list[str]:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(ask, prompts))

    write.name = f"{model} at {url}"  # type: ignore[attr-defined]
    return write


def _send(request, timeout):
    for trial in range(_TRIES):
        try:
            with urlopen(request, timeout=timeout) as answer:  # noqa: S310 - http or https only
                return answer.read()
        except HTTPError as error:
            if error.code not in _BUSY or trial == _TRIES - 1:
                reason = error.read()[:200].decode("utf-8", errors="replace")
                raise ConnectionError(
                    f"{request.full_url} refused with status {error.code}: {reason}"
                ) from None
        except (OSError, HTTPException) as error:
            raise ConnectionError(f"{request.full_url} cannot be reached: {error}.") from error
        time.sleep(2.0**trial / 4)
    raise AssertionError("unreachable")
