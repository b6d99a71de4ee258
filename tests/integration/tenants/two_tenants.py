"""One router on real servers, two tenants that do the same, and all that one of them can read."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from fastapi.routing import iter_route_contexts
from starlette.types import ASGIApp

from service.app import create_app, in_front
from service.bootstrap.open import open_parts
from service.domain.basics import Json
from service.parts import Parts
from service.settings.load import load_settings
from service.settings.settings import Settings
from service.store.connection.pool import Database
from tests.tenants import client_of, with_tenants

TEXTS = ("Write a haiku about rain.", "Add 2 and 3.", "Sort a list in Python.")
# What writes, and what of it the operations below do for both tenants.
WRITES = {
    "/chat/completions", "/v1/chat/completions", "/v1/messages", "/v1/completions", "/completions",
    "/v1/chat",
    "/v1beta/models/{model:path}:generateContent", "/v1beta/models/{model:path}:streamGenerateContent",
    "/v1/models/{model:path}:generateContent", "/v1/models/{model:path}:streamGenerateContent",
    "/v1/responses", "/responses", "/feedback", "/feedback/{request_id:path}", "/cache/clear",
}  # fmt: skip
# They answer by the body alone, or by the models and logins of the operator.
OF_NO_TENANT = {
    "/v1/messages/count_tokens", "/v1/messages/chat-template", "/embeddings", "/v1/embeddings",
    "/moderations", "/v1/moderations", "/oauth/authorize", "/oauth/refresh", "/oauth/logout",
    "/admin/models", "/admin/models/{model_id:path}", "/sse/messages/", "/admin/keys",
    "/admin/keys/{key:path}", "/admin/keys/{key:path}/rotate",
    *(f"{version}/models/{{model_id}}:{method}" for version in ("/v1", "/v1beta")
      for method in ("countTokens", "embedContent", "batchEmbedContents")),
}  # fmt: skip
ENDLESS = {"/sse"}  # its answers are those of /mcp
SQL_SECRETS = """
SELECT decision_id::text FROM decisions WHERE tenant = $1
UNION SELECT request_id FROM decisions WHERE tenant = $1
UNION SELECT session_id FROM decisions WHERE tenant = $1 AND session_id IS NOT NULL
UNION SELECT query_text FROM decisions WHERE tenant = $1 AND query_text IS NOT NULL
UNION SELECT attempt_id::text FROM attempts WHERE tenant = $1
UNION SELECT answer_id FROM outcomes WHERE tenant = $1 AND answer_id IS NOT NULL
UNION SELECT response_id FROM responses WHERE tenant = $1
UNION SELECT feedback_text FROM feedback_events WHERE tenant = $1 AND feedback_text IS NOT NULL
UNION SELECT calibration_id::text FROM calibrations WHERE tenant = $1
"""
SQL_COUNTS = """
SELECT (SELECT count(*) FROM decisions WHERE tenant = $1) AS n_requests,
    (SELECT coalesce(sum(n), 0)::float8 FROM evidence WHERE tenant = $1) AS n_rated,
    (SELECT count(*) FROM cached_answers WHERE tenant = $1) AS n_cached
"""
MOST_IDS = 6  # of the other tenant, that each route is tried with
_numbers = itertools.count(1)


@dataclass(slots=True)
class Tenant:
    """One tenant, its client, and what it was told."""

    name: str
    http: httpx.AsyncClient
    response_ids: list[str] = field(default_factory=list)
    answer_ids: list[str] = field(default_factory=list)

    async def do(self, operation: str, k: int) -> None:
        """One operation, with the ids that the other tenant uses too."""
        chat: Json = {"messages": [{"role": "user", "content": TEXTS[k]}]}
        own_id = {"X-Request-ID": f"r-{k}"}
        if operation == "ask":
            answer = await self._post("/v1/chat/completions", chat, own_id)
            self.answer_ids.append(answer.json()["id"])
        elif operation == "ask in a session":
            await self._post(
                "/v1/chat/completions", {**chat, "router": {"session_id": f"s-{k}", "task": "t"}}
            )
        elif operation == "ask with a mark":
            mark = f"the mark of {self.name} {k}"
            marked = {"messages": [{"role": "user", "content": mark}], "router": {"session_id": f"{mark} s"}}
            await self._post("/v1/chat/completions", marked, {"X-Request-ID": f"mark-{self.name}-{k}"})
            await self._rate(
                {"request_id": f"mark-{self.name}-{k}", "score": 1, "feedback_text": f"{mark} rated"}
            )
        elif operation == "stream":
            await self._post("/v1/messages", {**chat, "model": "auto", "max_tokens": 50, "stream": True})
        elif operation == "respond":
            body = {"model": "auto", "input": TEXTS[k], "store": True}
            if self.response_ids and k:
                body["previous_response_id"] = self.response_ids[-1]
            self.response_ids.append((await self._post("/v1/responses", body)).json()["id"])
        elif operation == "rate":
            await self._rate({"request_id": f"r-{k}", "score": k / 2})
        elif operation == "rate a session":
            await self._rate({"session_id": f"s-{k}", "score": 0.5})
        elif operation == "withdraw":
            await self.http.delete(f"/feedback/r-{k}")
        else:
            raise ValueError(operation)

    async def _post(self, path: str, body: Json, headers: dict[str, str] | None = None) -> httpx.Response:
        answer = await self.http.post(path, json=body, headers=headers or {})
        assert answer.status_code in {200, 409}, answer.text  # 409: the id was used with another body
        return answer

    async def _rate(self, body: Json) -> None:
        rated = await self.http.post("/feedback", json=body)
        assert rated.status_code in {202, 404}, rated.text


OPERATIONS = (
    "ask", "ask in a session", "ask with a mark", "stream", "respond", "rate", "rate a session", "withdraw",
)  # fmt: skip
Steps = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Router:
    """A router whose clients name their tenants by a header."""

    app: ASGIApp
    parts: Parts
    database: Database  # sees all tenants

    @asynccontextmanager
    async def tenant(self, name: str) -> AsyncIterator[Tenant]:
        async with client_of(self.app, name) as http:
            yield Tenant(name, http)

    async def check(self, steps: Steps) -> None:
        """Two new tenants take the same steps; then nothing that one can read may be of the other.

        Raises AssertionError.
        """
        number = next(_numbers)
        async with self.tenant(f"one-{number}") as one, self.tenant(f"other-{number}") as other:
            for operation, k in steps:
                await one.do(operation, k)
                await other.do(operation, k)
            await self.parts.completion.background.drain(10.0)
            await self.parts.learner.sweep()
            known = await self._known(one.name)
            secrets = await self._known(other.name) - known | {other.name}
            theirs = [*sorted(secrets)[:: max(1, len(secrets) // MOST_IDS)], *other.answer_ids[-2:]]
            after = (await other.http.get("/requests?limit=1")).json()["next"]
            for method, path, body in _reads([*sorted(known)[:2], *theirs], theirs, after):
                answer = await one.http.request(method, path, json=body, headers=_ACCEPT)
                shown = f"{answer.text} {dict(answer.headers)}"
                leaked = {s for s in secrets if s in shown and s not in path and s not in str(body)}
                assert not leaked, (method, path, body, answer.text)
            await self._check_counts(one)

    async def _known(self, tenant: str) -> set[str]:
        async with self.database.connection() as connection:
            return {row[0] for row in await connection.fetch(SQL_SECRETS, tenant)}

    async def _check_counts(self, tenant: Tenant) -> None:
        async with self.database.connection() as connection:
            expected = await connection.fetchrow(SQL_COUNTS, tenant.name)
        assert expected is not None
        stats = (await tenant.http.get("/v1/stats")).json()
        models = (await tenant.http.get("/admin/models")).json()["data"]
        cached = (await tenant.http.get("/cache/stats")).json()
        n_rated = sum(float(model["evidence"]["n_rated"]) for model in models if model["evidence"])
        found = stats["total"]["requests"], n_rated, cached["shared_size"]
        assert found == (expected["n_requests"], expected["n_rated"], expected["n_cached"])


_ACCEPT = {"Accept": "application/json, text/event-stream"}


def _reads(ids: Sequence[str], theirs: Sequence[str], after: str | None) -> Iterator[tuple[str, str, Any]]:
    """Every way to read: all routes of GET with all ids, and what reads by POST."""
    for methods, path in routes():
        if "GET" in methods and path not in ENDLESS:
            yield from (("GET", filled, None) for filled in _filled(path, ids))
    if after is not None:
        yield "GET", f"/requests?after={after}", None
    for k, text in enumerate(TEXTS):
        yield "POST", "/v1/route", {"messages": [{"role": "user", "content": text}]}
        yield "GET", f"/requests?session_id=s-{k}", None
    for one in theirs:
        yield "POST", "/v1/responses/input_tokens", {"input": "Go on.", "previous_response_id": one}
        yield "POST", "/v1/responses", {"input": "Go on.", "previous_response_id": one, "model": "auto"}
        yield "POST", "/feedback", {"request_id": one, "score": 0}
        yield "DELETE", f"/v1/responses/{one}", None
    for one in theirs[-2:]:
        arguments = {"name": "explain", "arguments": {"request_id": one}}
        yield "POST", "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": arguments}


def _filled(path: str, ids: Sequence[str]) -> Iterator[str]:
    """The path with each value that its parameter may have.

    Raises KeyError for a parameter that is not known: say which ids it takes.
    """
    if "{" not in path:
        yield path
        return
    start, _, rest = path.partition("{")
    parameter, _, end = rest.partition("}")
    values = {
        "request_id": ids,
        "response_id": ids,
        "calibration_id": ids,
        "model_id": ["auto"],
    }[parameter.removesuffix(":path")]
    yield from (f"{start}{value}{end}" for value in values)


def routes() -> list[tuple[set[str], str]]:
    """Methods and path of every route."""
    found = iter_route_contexts(create_app(Settings.model_validate({}), {}).routes)
    return [(set(route.methods or ()), str(route.path)) for route in found]


@asynccontextmanager
async def opened(dsn: str, qdrant_url: str, folder: Path) -> AsyncIterator[Router]:
    """A router with simulated models on these servers."""
    environ = {
        "DATABASE_URL": dsn,
        "QDRANT_URL": qdrant_url,
        "DATA_DIR": str(folder),
        "STORE_TEXTS": "true",
        "CACHE_ENABLED": "true",
        "CACHE_SHARED": "true",
        "PRICE_LISTS": "false",
        "CALLBACKS": "",
    }
    settings = load_settings(None, environ)
    database = Database(dsn, connect_timeout_s=10.0, command_timeout_s=10.0)
    async with open_parts(settings, environ) as parts:
        app = with_tenants(in_front(create_app(settings, environ, parts), settings))
        yield Router(app, parts, database)
    await database.close()
