"""A local provider of embeddings, chat completions and messages, for data that is made and opened again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

DIMENSION = 16
USAGE = {"prompt_tokens": 40, "completion_tokens": 12, "total_tokens": 52}
CLAUDE_USAGE = {
    "input_tokens": 30,
    "output_tokens": 12,
    "cache_read_input_tokens": 20,
    "cache_creation_input_tokens": 50,
}


def vector_of(text: str) -> list[float]:
    """The sum of one direction for each word."""
    total = [1e-3] * DIMENSION
    for word in text.lower().split():
        digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
        total = [value + byte - 127.5 for value, byte in zip(total, digest, strict=False)]
    return total


class _Handler(BaseHTTPRequestHandler):
    """What is asked for stands in brackets in the last message: [error], [empty], [refusal], [tools]."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/embeddings"):
            data = [{"index": i, "embedding": vector_of(text)} for i, text in enumerate(body["input"])]
            self._answer(200, {"object": "list", "data": data})
            return
        asked = _last_text(body["messages"])
        if "[error]" in asked or body.get("stream"):
            self._answer(500, {"error": {"type": "api_error", "message": "the stub was asked to fail"}})
        elif self.path.endswith("/messages"):
            self._answer(200, _message(asked))
        else:
            self._answer(200, _completion(asked))

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def _last_text(messages: list[dict[str, Any]]) -> str:
    content = messages[-1].get("content")
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content)
    return str(content)


def _completion(asked: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": "Four."}
    reason = "stop"
    if "[empty]" in asked:
        message["content"] = ""
    if "[refusal]" in asked:
        message["content"] = "I'm sorry, but I can't help with that."
    if "[truncated]" in asked:
        reason = "length"
    if "[tools]" in asked:
        function = {"name": "weather", "arguments": '{"city": "Oslo"}'}
        message = {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        }
        reason = "tool_calls"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {
        "id": "chatcmpl-stub",
        "object": "chat.completion",
        "created": 1,
        "model": "stub",
        "choices": [choice],
        "usage": USAGE,
    }


def _message(asked: str) -> dict[str, Any]:
    content = [
        {"type": "thinking", "thinking": "Two and two.", "signature": "c2lnbmF0dXJl"},
        {"type": "text", "text": "" if "[empty]" in asked else "Four."},
    ]
    return {
        "id": "msg_stub",
        "type": "message",
        "role": "assistant",
        "model": "claude-stub-1",
        "content": content,
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": CLAUDE_USAGE,
    }


@contextmanager
def stub_upstream(port: int = 0) -> Iterator[str]:
    """Serve until the end of the block; gives the base URL without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
