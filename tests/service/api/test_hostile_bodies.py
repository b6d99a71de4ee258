"""Bodies made to take long or much memory: bounded before objects are built, and read off the event loop."""

from __future__ import annotations

import asyncio
import threading
import tracemalloc
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from benchmarks.hostile import SHAPES
from service.api import big_bodies
from service.api.big_bodies import BIG_BODY_BYTES
from service.api.calibrations import NewCalibration
from service.api.feedback import FeedbackRequest
from service.dialects.chat.requests import MAX_MESSAGES, MAX_PARTS, MAX_STOPS, MAX_TOOLS
from service.dialects.embeddings import MAX_INPUTS, EmbeddingsBody
from service.dialects.gemini.embeddings import BatchEmbedContentsRequest, EmbedContentRequest
from service.dialects.gemini.requests import GeminiCountTokensRequest
from service.dialects.messages.requests import CountTokensRequest
from service.dialects.moderations import ModerationBody
from service.dialects.offered import DIALECTS
from service.dialects.responses import items
from tests.service.world import World

MODELS = [
    *(dialect.request_model for dialect in DIALECTS),
    *(EmbeddingsBody, ModerationBody, CountTokensRequest, GeminiCountTokensRequest),
    *(EmbedContentRequest, BatchEmbedContentsRequest, FeedbackRequest, NewCalibration),
    *(items.AdditionalTools, items.Message, items.Reasoning),
]
MEGABYTES_2 = 2_000_000
# What is allocated, of which most is never touched: orjson reserves twelve times the size of a document.
# A fault of each of 666,000 items took 900 MB.
MAX_PEAK_BYTES = 150_000_000
JSON = {"Content-Type": "application/json"}
USER = {"role": "user", "content": "Hi"}
TEXT = {"type": "text", "text": "x"}
TOOL = {"type": "function", "function": {"name": "f"}}


# A list of numbers of 2 MB has too many values to be checked; half a megabyte of them is checked.
@pytest.mark.parametrize("n_bytes", [500_000, MEGABYTES_2])
@pytest.mark.parametrize("shape", SHAPES)
async def test_a_hostile_body_takes_bounded_memory(world: World, shape: str, n_bytes: int) -> None:
    path, body_of = SHAPES[shape]
    body = body_of(n_bytes)
    await world.ask()  # loads what is loaded once

    tracemalloc.start()
    try:
        response = await world.http.post(path, content=body, headers=JSON)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert response.status_code in (200, 201, 400, 401, 403, 404)
    assert peak < MAX_PEAK_BYTES
    if response.status_code != 200:
        assert len(response.content) < 1_000


@pytest.mark.parametrize(
    ("path", "fields", "param", "limit"),
    [
        ("/v1/chat/completions", {"messages": [USER] * (MAX_MESSAGES + 1)}, "messages", MAX_MESSAGES),
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [TEXT] * (MAX_PARTS + 1)}]},
            "messages[0].content",
            MAX_PARTS,
        ),
        ("/v1/chat/completions", {"tools": [TOOL] * (MAX_TOOLS + 1)}, "tools", MAX_TOOLS),
        ("/v1/chat/completions", {"stop": ["x"] * (MAX_STOPS + 1)}, "stop", MAX_STOPS),
        ("/v1/chat/completions", {"router": {"models": ["a"] * 101}}, "router.models", 100),
        ("/v1/chat/completions", {"router": {f"a{i}": 1 for i in range(101)}}, "router", 100),
        ("/v1/completions", {"prompt": "Hi", "stop": ["x"] * (MAX_STOPS + 1)}, "stop", MAX_STOPS),
        ("/v1/embeddings", {"model": "embed", "input": ["x"] * (MAX_INPUTS + 1)}, "input", MAX_INPUTS),
        ("/v1/messages", {"messages": [USER] * (MAX_MESSAGES + 1)}, "messages", MAX_MESSAGES),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": [TEXT] * (MAX_PARTS + 1)}]},
            "messages[0].content",
            MAX_PARTS,
        ),
        ("/v1/messages", {"system": [TEXT] * (MAX_PARTS + 1)}, "system", MAX_PARTS),
        (
            "/v1/messages",
            {"tools": [{"name": "f", "input_schema": {}}] * (MAX_TOOLS + 1)},
            "tools",
            MAX_TOOLS,
        ),
        ("/v1/responses", {"input": "Hi", "include": ["x"] * 101}, "include", 100),
        ("/v1/messages", {"stop_sequences": ["x"] * (MAX_STOPS + 1)}, "stop_sequences", MAX_STOPS),
    ],
)
async def test_a_list_that_is_too_long_is_rejected_with_its_field_and_limit(
    world: World, path: str, fields: dict[str, Any], param: str, limit: int
) -> None:
    response = await world.http.post(path, json={"max_tokens": 9, "messages": [USER], **fields})

    message = response.json()["error"]["message"]
    assert response.status_code == 400
    assert message.startswith(f"{param}: ")
    assert f"at most {limit} " in message


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/chat/completions", {"messages": [USER, {"role": "king"}, {"role": 1}]}, "messages[1].role"),
        (
            "/v1/chat/completions",
            {"messages": [USER, {"role": "user", "content": [TEXT, 1, 2, 3]}, 0]},
            "messages[1].content[1]",
        ),
        ("/v1/chat/completions", {"tools": [TOOL, {"type": "function"}, 0]}, "tools[1]"),
        ("/v1/chat/completions", {"stop": ["x", 1, None]}, "stop[1]"),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": [TEXT, {"type": "text"}, {}]}, 0]},
            "messages[0].content[1]",
        ),
        (
            "/v1/messages",
            {"messages": [{"role": "user", "content": [TEXT, {"type": 1}, {}]}, 0]},
            "messages[0].content[1].type",
        ),
    ],
)
async def test_the_first_of_several_faults_is_named(
    world: World, path: str, fields: dict[str, Any], param: str
) -> None:
    response = await world.http.post(path, json={"max_tokens": 9, "messages": [USER], **fields})

    assert response.status_code == 400
    assert response.json()["error"]["message"].startswith(f"{param}: ")


def lists_in(schema: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """The rules of every list in pydantic's schema of a model, by field."""
    if isinstance(schema, dict):
        if schema.get("type") == "list":
            yield field, schema
        fields = schema.get("fields")
        for name, part in schema.items():
            if name not in {"metadata", "fields"}:
                yield from lists_in(part, field)
        for name, part in fields.items() if isinstance(fields, dict) else ():
            yield from lists_in(part, name)
    elif isinstance(schema, list | tuple):
        for part in schema:
            yield from lists_in(part, field)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_list_of_a_request_has_a_limit_and_is_checked_up_to_its_first_fault(
    model: type[BaseModel],
) -> None:
    unbounded = [
        field
        for field, rules in lists_in(model.__pydantic_core_schema__)
        if rules.get("items_schema", {"type": "any"})["type"] != "any"
        and not (rules.get("fail_fast") and rules.get("max_length"))
    ]

    assert unbounded == []


# --- beside other requests


async def test_other_requests_are_answered_while_a_big_body_is_read(world: World) -> None:
    is_reading, may_end = threading.Event(), threading.Event()

    def reader(body: bytes) -> int:
        is_reading.set()
        assert may_end.wait(30)
        return len(body)

    big = asyncio.create_task(big_bodies.read(world.parts, b"x" * BIG_BODY_BYTES, reader))
    await asyncio.to_thread(is_reading.wait, 30)
    small = await world.ask()
    may_end.set()

    assert small.status_code == 200
    assert await big == BIG_BODY_BYTES


async def test_big_bodies_are_read_one_at_a_time(world: World) -> None:
    lock = threading.Lock()

    def reader(body: bytes) -> bool:
        is_alone = lock.acquire(blocking=False)
        threading.Event().wait(0.02)
        if is_alone:
            lock.release()
        return is_alone

    reads = [big_bodies.read(world.parts, b"x" * BIG_BODY_BYTES, reader) for _ in range(5)]

    assert await asyncio.gather(*reads) == [True] * 5


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [USER], "x": "x" * BIG_BODY_BYTES}),
        ("/v1/route", {"messages": [USER], "x": "x" * BIG_BODY_BYTES}),
        ("/v1/messages", {"messages": [USER], "max_tokens": 9, "x": "x" * BIG_BODY_BYTES}),
        ("/v1/messages/count_tokens", {"messages": [USER], "x": "x" * BIG_BODY_BYTES}),
        ("/v1/messages/chat-template", {"messages": [USER], "x": "x" * BIG_BODY_BYTES}),
        ("/feedback", {"request_id": "r", "score": 1, "feedback_text": "x" * BIG_BODY_BYTES}),
        ("/admin/models", {"id": "x" * BIG_BODY_BYTES}),
    ],
)
async def test_every_path_reads_a_big_body_in_a_thread(
    world: World, path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[Any] = []
    to_thread = asyncio.to_thread

    async def watched(work: Any, *args: Any) -> Any:
        if args and isinstance(args[0], bytes):
            threads.append(len(args[0]))
        return await to_thread(work, *args)

    monkeypatch.setattr(asyncio, "to_thread", watched)

    await world.http.post(path, json=body)

    assert threads == [len(orjson.dumps(body))]
