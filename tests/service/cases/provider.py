"""A provider that answers by the rules of cases, over HTTP."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from service.domain.basics import Json
from tests.service.cases.case import Case


def _messages(body: Json, role: str) -> list[Json]:
    return [message for message in body["messages"] if message["role"] == role]


def _calls(body: Json) -> list[Json]:
    return [call for m in _messages(body, "assistant") for call in m.get("tool_calls") or []]


def _parts(body: Json) -> list[Json]:
    lists = [m["content"] for m in body["messages"] if isinstance(m.get("content"), list)]
    return [part for content in lists for part in content]


def _functions(body: Json) -> list[Json]:
    return [tool["function"] for tool in body.get("tools") or []]


def _calls_without_reasoning(body: Json) -> bool:
    with_calls = [m for m in _messages(body, "assistant") if m.get("tool_calls")]
    return any("reasoning_content" not in message for message in with_calls)


def _has_text_in_parts(body: Json) -> bool:
    lists = [m["content"] for m in body["messages"] if isinstance(m.get("content"), list)]
    return any(all(part["type"] == "text" for part in content) for content in lists)


def _has_schema_without_properties(body: Json) -> bool:
    schemas = [function.get("parameters", {}) for function in _functions(body)]
    return any(schema.get("type") == "object" and "properties" not in schema for schema in schemas)


def _lacks_thinking(body: Json) -> bool:
    """Whether thinking is on and the last turn of the assistant calls tools without it."""
    turns = _messages(body, "assistant")
    if (body.get("thinking") or {}).get("type") not in ("enabled", "adaptive") or not turns:
        return False
    content = turns[-1]["content"]
    kinds = [block["type"] for block in content] if isinstance(content, list) else []
    return "tool_use" in kinds and kinds[0] not in ("thinking", "redacted_thinking")


def _has_pdf(body: Json) -> bool:
    files = [part["file"]["file_data"] for part in _parts(body) if part["type"] == "file"]
    return any(data.startswith("data:application/pdf;base64,JVBERi0xLjQK") for data in files)


def _is_strict_with_optional_fields(body: Json) -> bool:
    json_schema = (body.get("response_format") or {}).get("json_schema") or {}
    schema = json_schema.get("schema") or {}
    return bool(json_schema.get("strict")) and set(schema["properties"]) != set(schema.get("required", []))


def _has_repeated_ids(body: Json) -> bool:
    ids = [part["id"] for part in _parts(body) if part["type"] == "tool_use"]
    return len(set(ids)) < len(ids)


# The conditions of rules beside `stream`, `no_stream` and `field:NAME`.
CONDITIONS: Mapping[str, Callable[[Json], bool]] = {
    "budget_above_max_tokens": lambda body: (
        (body.get("thinking") or {}).get("budget_tokens", 0) >= body.get("max_tokens", 0)
    ),
    "cache_marks": lambda body: any("cache_control" in part for part in _parts(body)),
    "call_without_reasoning": _calls_without_reasoning,
    "developer_role": lambda body: bool(_messages(body, "developer")),
    "foreign_call_ids": lambda body: any(
        not re.fullmatch(r"functions\.\w+:\d+", call.get("id") or "") for call in _calls(body)
    ),
    "long_tool_name": lambda body: any(len(function["name"]) > 64 for function in _functions(body)),
    "many_stops": lambda body: isinstance(body.get("stop"), list) and len(body["stop"]) > 4,
    "max_tokens": lambda body: "max_tokens" in body,
    "no_calls": lambda body: not _calls(body),
    "pdf_as_file": _has_pdf,
    "schema_without_properties": _has_schema_without_properties,
    "stream_options": lambda body: "stream_options" in body,
    "strict_with_optional": _is_strict_with_optional_fields,
    "text_in_parts": _has_text_in_parts,
    "thinking_missing": _lacks_thinking,
    "twice_the_same_id": _has_repeated_ids,
}


def _is_true(condition: str | None, body: Json) -> bool:
    if condition is None:
        return True
    if condition.startswith("field:"):
        return condition.removeprefix("field:") in body
    if condition in ("stream", "no_stream"):
        return bool(body.get("stream")) == (condition == "stream")
    return CONDITIONS[condition](body)


class Provider:
    """The cases that the server plays, and the bodies of the calls it received.

    Each model plays one arm of one case.
    """

    def __init__(self) -> None:
        self.base_url = ""
        self.bodies: dict[str, list[Json]] = {}  # by model
        self._played: dict[str, tuple[Case, str]] = {}  # model -> its case, and the arm in it

    def play(self, model: str, case: Case, arm: str) -> None:
        self._played[model] = (case, arm)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.bodies.setdefault(body["model"], []).append(body)
        case, arm = self._played[body["model"]]
        rule = next(rule for rule in case.upstream[arm] if _is_true(rule.get("when"), body))
        if "sse" in rule:
            return await _streamed(request, rule, case.time_scale)
        raw = rule["raw"].encode() if "raw" in rule else orjson.dumps(rule["json"])
        headers = {"Content-Type": rule.get("content_type", "application/json"), **rule.get("headers", {})}
        return web.Response(body=raw, status=rule.get("status", 200), headers=headers)


async def _streamed(request: web.Request, rule: Json, time_scale: float) -> web.StreamResponse:
    headers = {"Content-Type": rule.get("content_type", "text/event-stream"), **rule.get("headers", {})}
    response = web.StreamResponse(status=rule.get("status", 200), headers=headers)
    await response.prepare(request)
    for item in rule["sse"]:
        if isinstance(item, dict) and "sleep" in item:
            await asyncio.sleep(item["sleep"] * time_scale)
        else:
            await response.write(_framed(item))
    return response


def _framed(item: Json | str) -> bytes:
    """One event on the wire; Anthropic's have a name."""
    if isinstance(item, str):
        return item[1:].encode() if item.startswith("!") else f"data: {item}\n\n".encode()
    name = f"event: {item['type']}\n".encode() if "type" in item and "choices" not in item else b""
    return name + b"data: " + orjson.dumps(item) + b"\n\n"


@asynccontextmanager
async def serving() -> AsyncIterator[Provider]:
    """Serve on a free port of this machine."""
    provider = Provider()
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/{path:.*}", provider.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        provider.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield provider
    finally:
        await runner.cleanup()
