"""An OpenAI-compatible server that answers like the recorded models, with scripted faults."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import yaml
from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from service.commands.jobs.replay.answer import RecordedAnswer
from service.commands.jobs.replay.faults import Fault, Script
from service.commands.jobs.replay.outcomes import Outcomes, read_outcomes
from service.commands.jobs.replay.tariff import count_tokens, router_settings, tariffs
from service.domain.basics import Json
from service.errors import StartupError

MAX_BODY_BYTES = 64_000_000
PATIENCE_S = 5.0  # longest wait in `until`
FAULTS = TypeAdapter(dict[str, list[Fault]])


@dataclass(slots=True)
class ServedCounts:
    """How the calls of one model ended."""

    calls: int = 0
    finished: int = 0  # answered to the last byte, scripted errors included
    cancelled: int = 0  # the client disconnected first
    last_request: Json = field(default_factory=dict)


class RecordedUpstream:
    """Serves recorded outcomes on loopback while it is entered.

    `POST /v1/chat/completions` finds the row by the text of the last user message and answers for
    the model named in the body; for an unrecorded prompt the answer says that there is no record.
    `GET /v1/models` lists the models. `GET /control` shows the counts, `PUT /control` takes
    `{"faults": {model: [fault, ...]}}` like `script`.

    Entering raises StartupError if the port is in use.

    Args:
        outcomes: the record.
        port: 0 for any free port.
        faults: scripted from the start, by model.
    """

    def __init__(
        self,
        outcomes: Outcomes,
        *,
        port: int = 0,
        faults: Mapping[str, Sequence[Fault]] | None = None,
    ) -> None:
        self.served = {model: ServedCounts() for model in outcomes.models}
        self._outcomes = outcomes
        self._tariffs = tariffs(outcomes)
        self._rows = {_digest(prompt): row for row, prompt in enumerate(outcomes.prompts)}
        self._columns = {model: column for column, model in enumerate(outcomes.models)}
        self._changed = asyncio.Event()  # set and replaced at every change of the counts
        self._port = port
        self._runner: web.AppRunner | None = None
        self._scripts: dict[str, Script] = {}
        self.script(faults or {})

    @property
    def base_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"http://127.0.0.1:{self._port}/v1"

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/control"

    def script(self, faults: Mapping[str, Sequence[Fault]]) -> None:
        """Replace the faults; a model without any answers normally.

        Raises:
            ValueError: a model is not in the record.
        """
        unknown = sorted(set(faults) - set(self._columns))
        if unknown:
            raise ValueError(f"faults must be for models that are served, got {unknown}")
        self._scripts = {model: Script(listed) for model, listed in faults.items()}

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the counts holds.

        Raises:
            TimeoutError: it does not hold within a few seconds.
        """
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await self._changed.wait()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/chat/completions", self._complete)
        app.router.add_get("/v1/models", self._list_models)
        app.router.add_get("/control", self._show_control)
        app.router.add_put("/control", self._take_control)
        # A client that disconnects cancels its handler, so that it can be counted.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
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

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.json()
            model, prompt = str(body["model"]), _last_user_text(body["messages"])
        except (ValueError, KeyError, TypeError, AttributeError):
            return _error(400, "the body must be a JSON object with model and messages", "invalid_body")
        if model not in self._columns:
            return _error(404, f"the model `{model}` does not exist", "model_not_found")
        counts = self.served[model]
        counts.calls += 1
        counts.last_request = body
        self._announce()
        try:
            response = await self._respond(request, body, self._answer(model, prompt))
        except (asyncio.CancelledError, ConnectionError):
            counts.cancelled += 1
            raise
        else:
            counts.finished += 1
            return response
        finally:
            self._announce()

    async def _respond(self, request: web.Request, body: Json, answer: RecordedAnswer) -> web.StreamResponse:
        fault = self._scripts.get(answer.model, Script()).next() or Fault(kind="slow")
        await asyncio.sleep(fault.delay_s)
        if fault.kind == "status":
            headers = {} if fault.retry_after_s is None else {"Retry-After": f"{fault.retry_after_s:g}"}
            return _error(fault.status, f"{answer.model} has a scripted fault", "fault", headers)
        if fault.kind == "empty":
            answer = RecordedAnswer(answer.model, "", answer.prompt_tokens, 0)
        is_stream = bool(body.get("stream"))
        options = body.get("stream_options") or {}
        chunks = (
            answer.chunks(include_usage=bool(options.get("include_usage"))) if is_stream else answer.whole()
        )
        if fault.kind == "garbage":
            chunks = [b"data: {not json\n\n" if is_stream else b"<html>not json</html>"]
        return await _send(request, chunks, fault, is_stream=is_stream)

    def _answer(self, model: str, prompt: str) -> RecordedAnswer:
        digest = _digest(prompt)
        row = self._rows.get(digest)
        prompt_tokens = count_tokens(prompt)
        if row is None:
            text = f"{model} has no recorded answer to this prompt, so this is all it says."
            return RecordedAnswer(model, text, prompt_tokens, count_tokens(text))
        score = self._outcomes.scores[row, self._columns[model]]
        cost_usd = float(self._outcomes.costs_usd[row, self._columns[model]])
        text = f"{model} answers prompt {digest[:12]} as recorded in row {row} with score {score:g}."
        completion_tokens = self._tariffs[model].completion_tokens(prompt_tokens, cost_usd)
        return RecordedAnswer(model, text, prompt_tokens, completion_tokens)

    async def _list_models(self, _: web.Request) -> web.Response:
        rows = [{"id": m, "object": "model", "created": 0, "owned_by": "record"} for m in self._columns]
        return web.json_response({"object": "list", "data": rows})

    async def _show_control(self, _: web.Request) -> web.Response:
        return web.json_response({"models": {model: asdict(counts) for model, counts in self.served.items()}})

    async def _take_control(self, request: web.Request) -> web.Response:
        try:
            body = await request.json()
            self.script(FAULTS.validate_python(body["faults"]))
        except (ValueError, KeyError, TypeError, ValidationError) as error:
            return _error(400, f"the body must be {{'faults': {{model: [fault]}}}}: {error}", "invalid_body")
        return await self._show_control(request)

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


async def serve_upstream(file: Path, port: int, announce: Callable[[str], None]) -> None:
    """Answer as the recorded models until cancelled; announce the configuration of a router for them."""
    outcomes = read_outcomes(file)
    async with RecordedUpstream(outcomes, port=port) as upstream:
        configuration = yaml.safe_dump(router_settings(outcomes, upstream.base_url), sort_keys=False)
        announce(
            f"# recorded models on {upstream.base_url}; CONFIG_FILE of a router for them:\n{configuration}"
        )
        await asyncio.Event().wait()


async def _send(
    request: web.Request, chunks: list[bytes], fault: Fault, *, is_stream: bool
) -> web.StreamResponse:
    """Send the chunks before the fault, then the fault."""
    intact = chunks[: fault.after_chunks] if _cuts(fault) else chunks
    cut = chunks[len(intact)] if len(intact) < len(chunks) else b""
    if fault.kind == "half_chunk":
        intact = [*intact, cut[: len(cut) // 2]]
    response = web.StreamResponse()
    response.content_type = "text/event-stream" if is_stream else "application/json"
    if not is_stream:
        response.content_length = sum(map(len, intact if fault.kind == "truncated" else chunks))
    if intact or not _cuts(fault) or fault.kind == "truncated":
        await response.prepare(request)
    for chunk in intact:
        await response.write(chunk)
    if fault.kind == "hang":
        await asyncio.Event().wait()
    if fault.kind in ("drop", "half_chunk"):
        await asyncio.sleep(0)  # so that the written data is sent first
        if request.transport is not None:
            request.transport.close()
        return response
    await response.write_eof()
    return response


def _cuts(fault: Fault) -> bool:
    return fault.kind in ("drop", "half_chunk", "truncated", "hang")


def _last_user_text(messages: list[Json]) -> str:
    """The text of the last user message, without other kinds of content."""
    content: Any = next((m["content"] for m in reversed(messages) if m["role"] == "user"), "")
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def _digest(prompt: str) -> str:
    return hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).hexdigest()


def _error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    return web.json_response({"error": error}, status=status, headers=headers)
