"""A provider of canned answers on loopback, in the dialects of OpenAI and Anthropic."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import orjson
import yaml
from aiohttp import web
from pydantic import ValidationError

from service.commands.jobs.mock.canned import AnswersFile, CannedAnswer, CannedAnswers, read_answers
from service.commands.jobs.mock.dialects import Reply
from service.domain.basics import Json
from service.errors import StartupError

MAX_BODY_BYTES = 64_000_000
MAX_CALLS = 10_000

Dialect = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Call:
    """One request that the provider received."""

    dialect: Dialect
    model: str
    question: str  # text of the last user message
    body: Json
    status: int  # of the answer


class MockProvider:
    """Serves canned answers on loopback while it is entered.

    `POST /v1/chat/completions` and `POST /v1/messages` answer, and `GET /v1/models` lists the models. `GET
    /calls` shows the calls so far, `DELETE /calls` forgets them, and `PUT /answers` replaces the answers. A
    request that no answer fits gets 400.

    Entering raises StartupError if the port is in use.

    Args:
        port: 0 for any free port.
    """

    def __init__(self, content: AnswersFile, *, port: int = 0) -> None:
        self.calls: list[Call] = []
        self.models: tuple[str, ...] = content.models
        self._answers = CannedAnswers(content.answers)
        self._n_calls = 0
        self._port = port
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def answer_with(self, answers: Sequence[CannedAnswer]) -> None:
        """Replace the answers."""
        self._answers = CannedAnswers(answers)

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._message)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/calls", self._show_calls)
        app.router.add_delete("/calls", self._forget_calls)
        app.router.add_put("/answers", self._replace_answers)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartupError(f"cannot serve on 127.0.0.1:{self._port}: {error.strerror}") from error
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, "openai")

    async def _message(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, "anthropic")

    async def _complete(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        try:
            body = await request.json()
            model, question = str(body["model"]), _last_user_text(body["messages"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(dialect, 400, "the body must be a JSON object with model and messages")
        canned = self._answers.next(model, question)
        if canned is None:
            self._keep(Call(dialect, model, question, body, 400))
            return _error(dialect, 400, f"no canned answer fits the model {model!r} and the last message")
        self._keep(Call(dialect, model, question, body, canned.status))
        self._n_calls += 1
        reply = Reply(canned, model, self._n_calls, len(str(body["messages"])))
        await asyncio.sleep(canned.delay_s)
        if canned.status > 299:
            wait = canned.retry_after_s
            headers = {} if wait is None else {"Retry-After": f"{wait:g}"}
            return _error(dialect, canned.status, canned.text or "a canned error", headers)
        return await _send(request, _parts(reply, dialect, body), canned, is_stream=bool(body.get("stream")))

    def _keep(self, call: Call) -> None:
        self.calls.append(call)
        del self.calls[:-MAX_CALLS]

    async def _list_models(self, _: web.Request) -> web.Response:
        rows = [{"id": m, "object": "model", "created": 0, "owned_by": "mock"} for m in self.models]
        return web.json_response({"object": "list", "data": rows})

    async def _show_calls(self, _: web.Request) -> web.Response:
        return web.json_response({"calls": [asdict(call) for call in self.calls]})

    async def _forget_calls(self, _: web.Request) -> web.Response:
        self.calls.clear()
        return web.json_response({"calls": []})

    async def _replace_answers(self, request: web.Request) -> web.Response:
        try:
            content = AnswersFile.model_validate(await request.json())
        except (ValueError, ValidationError) as error:
            return _error("openai", 400, f"the body must be a file of answers as JSON: {error}")
        self.models = content.models
        self.answer_with(content.answers)
        return web.json_response({"answers": len(content.answers)})


async def serve_mock(file: Path, port: int, announce: Callable[[str], None]) -> None:
    """Answer as a file says until cancelled; announce the configuration of a router that asks it."""
    content = read_answers(file)
    async with MockProvider(content, port=port) as provider:
        settings = yaml.safe_dump(router_settings(provider.url, content.models), sort_keys=False)
        announce(f"# canned answers on {provider.url}; CONFIG_FILE of a router that asks it:\n{settings}")
        await asyncio.Event().wait()


def router_settings(url: str, models: Sequence[str]) -> Json:
    """The configuration of a router whose models are those of the mock provider."""
    arm: Json = {
        "provider": "openai",
        "base_url": f"{url}/v1",
        "price": {"input": 1.0, "output": 4.0},
        "context_window": 128_000,
        "capabilities": ["tools", "json_schema"],
    }
    return {"models": [{"id": model, "model": model, **arm} for model in models]}


def _parts(reply: Reply, dialect: Dialect, body: Json) -> list[bytes]:
    if body.get("stream"):
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        return reply.chat_events(with_usage=with_usage) if dialect == "openai" else reply.message_events()
    whole = orjson.dumps(reply.chat() if dialect == "openai" else reply.message())
    return [whole[: len(whole) // 2], whole[len(whole) // 2 :]]


async def _send(
    request: web.Request, parts: list[bytes], canned: CannedAnswer, *, is_stream: bool
) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = "text/event-stream" if is_stream else "application/json"
    if not is_stream:
        response.content_length = sum(map(len, parts))
    await response.prepare(request)
    for part in parts[: len(parts) // 2] if canned.breaks_off else parts:
        await response.write(part)
    if canned.breaks_off:
        await asyncio.sleep(0)  # so that the written data is sent first
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write_eof()
    return response


def _last_user_text(messages: list[Json]) -> str:
    content: Any = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _error(
    dialect: Dialect, status: int, message: str, headers: Mapping[str, str] | None = None
) -> web.Response:
    kind = "rate_limit_error" if status == 429 else "api_error" if status > 499 else "invalid_request_error"
    if dialect == "anthropic":
        body: Json = {"type": "error", "error": {"type": kind, "message": message}}
    else:
        body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return web.json_response(body, status=status, headers=headers)
