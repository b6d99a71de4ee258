"""The provider behind the router: it answers or fails as the last user message tells it to."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from service.domain.basics import Json

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
WORDS = ("Hello", " there", ".")
ARGUMENTS = ('{"city":', ' "Paris"}')
CITY = ('{"city": "Paris",', ' "population": 2}')
FAILURE = re.compile(r"fail (\d+) times? with (\d+)")


class ScriptedUpstream(ThreadingHTTPServer):
    """Speaks Chat Completions on a free port of this machine.

    A model named `<client>-<letter>` belongs to that client; its failures are counted with those of its
    siblings, so that every client meets the same failures.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[Json] = []
        self._failed: Counter[tuple[str, str]] = Counter()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def failure(self, body: Json) -> int | None:
        """The status that this call must fail with; None: it must succeed."""
        prompt = _last_text(body)
        failure = FAILURE.search(prompt)
        if failure is None:
            return None
        call = (body["model"].rpartition("-")[0], prompt)
        self._failed[call] += 1
        return int(failure[2]) if self._failed[call] <= int(failure[1]) else None


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedUpstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if (status := self.server.failure(body)) is not None:
            self._send(status, "application/json", {"error": {"message": "as requested", "type": "x"}})
        elif body["stream"]:
            self._stream(body)
        else:
            self._send(200, "application/json", _whole(body))

    def _send(self, status: int, kind: str, body: Json) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, body: Json) -> None:
        """Send chunks without a length, so that closing the connection ends the body."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        breaks_off = "break off" in _last_text(body)
        deltas = _deltas(body)
        for delta in deltas[: 2 if breaks_off else None]:
            self._event(body, [{"index": 0, "delta": delta, "finish_reason": None}])
        if not breaks_off:
            self._event(body, [{"index": 0, "delta": {}, "finish_reason": _finish_reason(body)}])
            self._event(body, [], usage=USAGE)
            self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, body: Json, choices: list[Json], **more: object) -> None:
        chunk = {**_frame(body, "chat.completion.chunk"), "choices": choices, **more}
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None: ...


@contextmanager
def scripted_upstream() -> Iterator[ScriptedUpstream]:
    with ScriptedUpstream() as upstream:
        thread = threading.Thread(target=upstream.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield upstream
        upstream.shutdown()
        thread.join()


def _whole(body: Json) -> Json:
    message: Json = {"role": "assistant", "content": None}
    for delta in _deltas(body):
        if delta.get("content"):
            message["content"] = (message["content"] or "") + delta["content"]
    if _calls_a_tool(body):
        message["tool_calls"] = [_tool_call(body, "".join(ARGUMENTS))]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(body)}
    return {**_frame(body, "chat.completion"), "choices": [choice], "usage": USAGE}


def _deltas(body: Json) -> list[Json]:
    if _calls_a_tool(body):
        start = {"index": 0, **_tool_call(body, "")}
        fragments = [{"index": 0, "function": {"arguments": part}} for part in ARGUMENTS]
        return [{"role": "assistant", "content": None, "tool_calls": [start]}] + [
            {"tool_calls": [fragment]} for fragment in fragments
        ]
    return [{"role": "assistant", "content": ""}, *({"content": word} for word in _words(body))]


def _words(body: Json) -> tuple[str, ...]:
    last = body["messages"][-1]
    if last["role"] == "tool":
        return (f"The tool says: {_text(last)}",)
    return CITY if (body.get("response_format") or {}).get("type") == "json_schema" else WORDS


def _calls_a_tool(body: Json) -> bool:
    return bool(body.get("tools")) and body["messages"][-1]["role"] != "tool"


def _tool_call(body: Json, arguments: str) -> Json:
    name = body["tools"][0]["function"]["name"]
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


def _finish_reason(body: Json) -> str:
    return "tool_calls" if _calls_a_tool(body) else "stop"


def _frame(body: Json, kind: str) -> Json:
    return {"id": "chatcmpl-1", "object": kind, "created": 1, "model": body["model"]}


def _last_text(body: Json) -> str:
    users = [message for message in body["messages"] if message["role"] == "user"]
    return _text(users[-1]) if users else ""


def _text(message: Json) -> str:
    content: Any = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)
