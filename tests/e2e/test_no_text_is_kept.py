"""Prompts and answers leave no trace: not in a log, a table, a file, a metric or the health."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
from aiohttp import web

from service.domain.basics import Json
from service.store.connection.embedded import EmbeddedPostgres
from tests.e2e.running import PLAIN, RunningRouter
from tests.service.providers.scripted import completion, listening

Serve = Callable[..., RunningRouter]
ASKED = "canary of the question zq81"
SYSTEM = "canary of the system zq82"
ARGUMENT = "canary of an argument zq83"
IMAGE = "Y2FuYXJ5IG9mIHRoZSBpbWFnZSB6cTg0"
ANSWERED = "canary of the answer zq85"
INVALID = "canary of a fault zq86"
CANARIES = [canary.encode() for canary in (ASKED, SYSTEM, ARGUMENT, IMAGE, ANSWERED, INVALID)]
PROVIDERS = ("echo400", "echo422", "echo500", "escaped500", "strange", "half", "fine")
TOOL = {"name": "look_up", "description": SYSTEM, "parameters": {"type": "object", "properties": {}}}


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer well, or fail with all that was received."""
    if request.method == "GET":  # a list of models, a health
        raise web.HTTPNotFound
    body = await request.text()
    model = json.loads(body)["model"]
    if model == "strange":
        return web.json_response({"note": ANSWERED, "got": body})
    if model == "half":
        return web.Response(text=f'{{"choices": [{{"message": {{"content": "{ANSWERED}', status=200)
    if model == "fine":
        return web.json_response(completion(ANSWERED))
    said = [text for text in (ASKED, SYSTEM, ARGUMENT, IMAGE) if text in body]
    quoted = body if model == "escaped500" else " ".join(said)
    message = f"{quoted} is not acceptable, after {ANSWERED!r} was generated"
    return web.json_response({"error": {"message": message}}, status=int(model[-3:]))


def requests_of(model: str) -> list[tuple[str, Json]]:
    """A request of each dialect, and some that are refused before any model is called."""
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{IMAGE}"}}
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": "f", "arguments": json.dumps({"a": ARGUMENT})},
    }
    chat = [
        {"role": "system", "content": SYSTEM},
        {"role": "user", "content": [{"type": "text", "text": ASKED}, image]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": ARGUMENT},
        {"role": "user", "content": ASKED},
    ]
    asked = {"role": "user", "content": ASKED}
    tools = [{"type": "function", "function": TOOL}]
    return [
        ("/v1/chat/completions", {"model": model, "messages": chat, "tools": tools}),
        ("/v1/chat/completions", {"model": model, "messages": chat, "stream": True}),
        ("/v1/messages", {"model": model, "max_tokens": 9, "system": SYSTEM, "messages": [asked]}),
        ("/v1/responses", {"model": model, "instructions": SYSTEM, "input": ASKED}),
        ("/v1/completions", {"model": model, "prompt": ASKED}),
        (f"/v1beta/models/{model}:generateContent", {"contents": [{"parts": [{"text": ASKED}]}]}),
        ("/v1/chat/completions", {"model": model, "messages": INVALID}),
        ("/v1/chat/completions", {"model": model, "messages": [asked], "temperature": INVALID}),
        ("/v1/chat/completions", {"model": model, "messages": [{"role": INVALID, "content": "Why?"}]}),
        ("/v1/messages", {"model": model, "max_tokens": INVALID, "messages": [asked]}),
        ("/v1/responses", {"model": model, "input": {"role": INVALID}}),
        ("/feedback", {"request_id": "r", "score": INVALID}),
    ]


@asynccontextmanager
async def rows_of(data_dir: Path) -> AsyncIterator[list[bytes]]:
    """Every row of every table, as text; bytes are in it as they are."""
    postgres = EmbeddedPostgres(data_dir)
    connection = await asyncpg.connect(await asyncio.to_thread(postgres.start))
    try:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        rows = []
        for (name,) in names:
            for row in await connection.fetch(f'SELECT t FROM "{name}" t'):  # names of the catalog
                values = row[0].values()
                rows += [value if isinstance(value, bytes) else repr(value).encode() for value in values]
        yield rows
    finally:
        await connection.close()
        await asyncio.to_thread(postgres.stop)


async def test_no_canary_survives(serve: Serve, workplace: Path) -> None:
    async with listening(answer) as origin:
        models = [
            {"id": name, "provider": "openai", "model": name, "base_url": f"{origin}/v1", "price": "free"}
            for name in PROVIDERS
        ]
        config = workplace / "canaries.json"  # JSON is YAML
        config.write_text(json.dumps({"models": models}))
        router = await asyncio.to_thread(
            serve, config_file=str(config), log_level="debug", store_texts="false"
        )
        statuses = set()
        async with httpx.AsyncClient(**PLAIN, base_url=router.url) as http:
            for model in (*PROVIDERS, "auto"):
                for path, body in requests_of(model):
                    statuses.add((await http.post(path, json=body)).status_code)
            shown = [(await http.get(path)).content for path in ("/health", "/metrics")]
        assert await asyncio.to_thread(router.terminate) == 0

    assert {200, 400, 503} <= statuses
    async with rows_of(router.data_dir) as rows:
        assert any(b"is not acceptable" in row for row in rows)  # what is no quotation is stored
        assert [row for row in (*rows, *shown) if is_traced(row)] == []
    files = [path for path in router.folder.rglob("*") if path.is_file()]
    lines = [line for path in files for line in path.read_bytes().split(b"\n")]
    assert [line for line in lines if is_traced(line)] == []


def is_traced(content: bytes) -> bool:
    return any(canary in content for canary in CANARIES)
