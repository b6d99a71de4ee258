"""A provider on loopback that answers who sends one of its keys, in the dialects of OpenAI and Anthropic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType

from aiohttp import web

from service.domain.basics import Json

TEXT = "The key is right."
REFUSED = 401


class KeyedUpstream(AbstractAsyncContextManager["KeyedUpstream"]):
    """Between `async with` it listens on a free port of loopback.

    Args:
        keys: by the value of the key, the status of its calls.

    Attributes:
        seen: of every call, the header with the key and its value.
    """

    def __init__(self, keys: Mapping[str, int]) -> None:
        self.keys = dict(keys)
        self.seen: list[tuple[str, str]] = []
        self.cookies: list[str] = []
        self.origin = ""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)

    async def __aenter__(self) -> KeyedUpstream:
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.origin = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    def _status(self, request: web.Request) -> int:
        key = ""
        for name in ("authorization", "x-api-key"):
            if (value := request.headers.get(name)) is not None:
                self.seen.append((name, value))
                key = value.removeprefix("Bearer ")
        self.cookies.append(request.headers.get("cookie", ""))
        return self.keys.get(key, REFUSED)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": []}, status=self._status(request))

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (status := self._status(request)) != 200:
            return self._refusal(request, status)
        usage = {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}
        head = {"id": "c", "created": 1, "model": body["model"]}
        if not body.get("stream"):
            choice = {
                "index": 0,
                "message": {"role": "assistant", "content": TEXT},
                "finish_reason": "stop",
            }
            answer = {**head, "object": "chat.completion", "choices": [choice], "usage": usage}
            return _with_cookie(web.json_response(answer), self._key(request))
        head["object"] = "chat.completion.chunk"
        chunks: list[Json] = [
            {**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": TEXT}}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
            {**head, "choices": [], "usage": usage},
        ]
        return await _events(request, [f"data: {json.dumps(c)}\n\n" for c in chunks] + ["data: [DONE]\n\n"])

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if (status := self._status(request)) != 200:
            return self._refusal(request, status)
        message: Json = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": body["model"],
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 5, "output_tokens": 1},
        }
        text = {"type": "text", "text": TEXT}
        if not body.get("stream"):
            whole = {**message, "content": [text], "stop_reason": "end_turn"}
            return _with_cookie(web.json_response(whole), self._key(request))
        events: list[Json] = [
            {"type": "message_start", "message": message},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": TEXT}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ]
        return await _events(request, [f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in events])

    def _key(self, request: web.Request) -> str:
        return self.seen[-1][1]

    def _refusal(self, request: web.Request, status: int) -> web.Response:
        """A refusal that quotes the key, as some providers do."""
        quoted = self.seen[-1][1] if self.seen else "no key"
        error = {"type": "authentication_error", "message": f"Incorrect API key provided: {quoted}"}
        return web.json_response({"type": "error", "error": error}, status=status)


def _with_cookie(response: web.Response, key: str) -> web.Response:
    """A provider that recognises a session by its cookie would answer another caller in it."""
    response.set_cookie("session", key.removeprefix("Bearer ")[:8])
    return response


async def _events(request: web.Request, events: list[str]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(event.encode())
    await response.write_eof()
    return response
