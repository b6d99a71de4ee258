"""The server: receives, records, refuses, fails or answers."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from types import ModuleType

from service.domain.basics import Json
from tests.clients.upstream import chat, messages
from tests.clients.upstream.refusals import Refusal, refusal
from tests.clients.upstream.script import FAILURE, Asked, reply

FAILED = Refusal("failed as the prompt said")
DIALECTS = {"/chat/completions": chat, "/messages": messages}
COUNTS: dict[str, Callable[[Json], Json]] = {
    "/embeddings": chat.embeddings,
    "/messages/count_tokens": messages.tokens,
}


@dataclass(frozen=True)
class Call:
    """What the upstream received; `refused` is the vendor's message, if the model refused it."""

    client: str
    path: str
    body: Json
    refused: str | None = None
    prompt: str = ""

    @property
    def model(self) -> str:
        return str(self.body["model"])


class ScriptedUpstream(ThreadingHTTPServer):
    """Speaks both dialects on a free port of this machine.

    Each client's models have addresses of their own, so that the failures of one client are counted apart.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.calls: list[Call] = []
        self.numbers = count(1)
        self._failed: Counter[tuple[str, str]] = Counter()

    @property
    def base_url(self) -> str:
        """OpenAI's dialect, for no client in particular."""
        return self.address("any", "openai")

    def address(self, client: str, provider: str) -> str:
        """The base URL of a client's models at a provider: openai or anthropic."""
        version = "" if provider == "anthropic" else "/v1"
        return f"{self.url}/{client}/{provider}{version}"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def bodies(self) -> list[Json]:
        return [call.body for call in self.calls]

    def failure(self, client: str, asked: Asked) -> int | None:
        """The status that this call must fail with; None: it must succeed."""
        failure = FAILURE.search(asked.prompt)
        if failure is None:
            return None
        call = (client, asked.prompt)
        self._failed[call] += 1
        return int(failure[2]) if self._failed[call] <= int(failure[1]) else None


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedUpstream

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        client = path.split("/")[1]
        for suffix, dialect in DIALECTS.items():
            if path.endswith(suffix):
                self._answer(client, body, dialect)
                return
        for suffix, counted in COUNTS.items():
            if path.endswith(suffix):
                self.server.calls.append(Call(client, suffix, body))
                self._send(200, counted(body))
                return
        self._send(404, chat.error(404, Refusal(f"no such path: {path}")))

    def do_GET(self) -> None:
        """`/<client>/answered`: the calls that no model refused, for programs that cannot see them."""
        client = self.path.split("/")[1]
        self._send(
            200,
            [
                {"model": call.model, "prompt": call.prompt, "stream": bool(call.body.get("stream"))}
                for call in self.server.calls
                if call.client == client and call.refused is None
            ],
        )

    def _answer(self, client: str, body: Json, dialect: ModuleType) -> None:
        refused = refusal(body["model"], body)
        asked = dialect.asked(body)
        message = refused.message if refused else None
        self.server.calls.append(Call(client, self.path, body, message, asked.news))
        if refused is not None:
            self._send(refused.status, dialect.error(refused.status, refused))
            return
        if (status := self.server.failure(client, asked)) is not None:
            self._send(status, dialect.error(status, FAILED))
            return
        answer_id = str(next(self.server.numbers))
        if body.get("stream"):
            self._stream(dialect.events(body, reply(asked), answer_id))
        else:
            self._send(200, dialect.whole(body, reply(asked), answer_id))

    def _send(self, status: int, body: object) -> None:
        raw = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self, events: Iterator[bytes]) -> None:
        """Send events without a length, so that closing the connection ends the body."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        for event in events:
            self.wfile.write(event)
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
