"""The router's HTTP API as the tools call it, with the credentials of their caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import orjson
from mcp.server.mcpserver.exceptions import ToolError

from service.domain.basics import Json

# What the caller of a tool may send for the router: who it is, and options for every request.
FORWARDED = frozenset({"authorization", "x-api-key", "x-goog-api-key", "x-backend"})
FORWARDED_PREFIX = "x-router-"
# A router ends every answer by its own deadline, which is an hour at most.
TIMEOUT = httpx.Timeout(3_700.0, connect=5.0)


class Refused(ToolError):
    """The router answers with an error.

    Args:
        status: its HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NoRouter(ToolError):
    """No router answers."""


def forwarded(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers of a tool's call that belong to the request that the tool makes."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() in FORWARDED or name.lower().startswith(FORWARDED_PREFIX)
    }


class RouterApi:
    """Calls one router.

    Args:
        url: its address, for error messages.
        headers: sent with every request.
        transport: the way to it; None: the network.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._url = url
        self._headers = dict(headers)
        self._transport = transport

    async def get(self, path: str, **parameters: object) -> Json:
        """A JSON answer. Raises Refused, NoRouter."""
        shown = {name: str(value) for name, value in parameters.items() if value is not None}
        async with self._answer("GET", path, params=shown) as answer:
            return _json(await answer.aread())

    async def post(
        self, path: str, body: Json, headers: Mapping[str, str] | None = None
    ) -> tuple[Json, httpx.Headers]:
        """A JSON answer and its headers. Raises Refused, NoRouter."""
        async with self.stream(path, body, headers) as answer:
            return _json(await answer.aread()), answer.headers

    @asynccontextmanager
    async def stream(
        self, path: str, body: Json, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[httpx.Response]:
        """An answer that is read while it comes. Raises Refused, NoRouter."""
        async with self._answer("POST", path, json=body, headers=headers) as answer:
            yield answer

    @asynccontextmanager
    async def _answer(self, method: str, path: str, **request: Any) -> AsyncIterator[httpx.Response]:
        try:
            async with (
                self._client() as client,
                client.stream(method, path, **request) as answer,
            ):
                if answer.is_error:
                    raise _refused(answer, await answer.aread())
                yield answer
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise NoRouter(
                f"no router answers at {self._url} ({reason}): start it with `router serve`"
            ) from error

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            base_url=self._url,
            headers=self._headers,
            transport=self._transport,
            timeout=TIMEOUT,
            trust_env=False,
        )


def _json(body: bytes) -> Json:
    answer: Json = orjson.loads(body)
    return answer


def _refused(answer: httpx.Response, body: bytes) -> Refused:
    """The router's own words, which name the field and its rule."""
    try:
        error = _json(body)["error"]
        message, code = str(error["message"]), error.get("code") or error["type"]
        if (param := error.get("param")) and param not in message:
            message = f"{param}: {message}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message, code = body[:200].decode(errors="replace"), "no error of a router"
    wait = answer.headers.get("retry-after")
    advice = "" if wait is None else f"; try again in {wait} s"
    return Refused(f"{message} ({code}, HTTP {answer.status_code}{advice})", answer.status_code)
