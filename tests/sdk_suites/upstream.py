"""A provider that accepts every field and answers in the form of OpenAI or of Anthropic."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType

from service.domain.basics import Json
from tests.clients.upstream import chat, messages
from tests.clients.upstream.script import Reply

REPLY = Reply(text="Hello.")
DIALECTS: dict[str, ModuleType] = {"/v1/chat/completions": chat, "/v1/messages": messages}
CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors"),
    *("violence", "violence/graphic"),
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        if (dialect := DIALECTS.get(path)) is None:
            self._send("application/json", json.dumps(_whole(path, body)).encode())
        elif body.get("stream"):
            self._send("text/event-stream", b"".join(dialect.events(body, REPLY, "1")))
        else:
            self._send("application/json", json.dumps(dialect.whole(body, REPLY, "1")).encode())

    def _send(self, content_type: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None: ...


def _whole(path: str, body: Json) -> Json:
    return {"/v1/embeddings": _embeddings, "/v1/moderations": _moderation}[path](body)


def _embeddings(body: Json) -> Json:
    vector = [0.5] * (body.get("dimensions") or 4)
    data = [
        {"object": "embedding", "index": index, "embedding": vector} for index in range(len(body["input"]))
    ]
    return {
        "object": "list",
        "data": data,
        "model": body["model"],
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }


def _moderation(body: Json) -> Json:
    verdict = {
        "flagged": False,
        "categories": dict.fromkeys(CATEGORIES, False),
        "category_scores": dict.fromkeys(CATEGORIES, 0.0),
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }
    return {"id": "modr-1", "model": body["model"], "results": [verdict]}


@contextmanager
def permissive_upstream() -> Iterator[str]:
    """Serve on a free port of this machine; gives the URL without a path."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
