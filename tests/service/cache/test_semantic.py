"""Which requests take part in the semantic cache, and what a hit is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.service.world import World, opened

FIRST, SAME = "What is the capital of Chad?", "what is the capital of chad?"


@pytest.fixture
async def semantic(tmp_path: Path) -> AsyncIterator[World]:
    async with opened(tmp_path, cache_enabled=True, semantic_cache_enabled=True) as world:
        yield world


async def decision(world: World, text: str, request_id: str, **body: Any) -> str:
    response = await world.ask(text, request_id=request_id, **body)
    assert response.status_code == 200, response.text
    await world.background.drain(5.0)
    return response.headers["X-Router-Decision"]


async def test_other_words_get_the_answer_and_the_record_says_whose(semantic: World) -> None:
    await decision(semantic, FIRST, "r-1")

    assert await decision(semantic, SAME, "r-2") == "cache"
    assert (await semantic.record("r-2"))["cached"]["match"] == "semantic"
    assert (await semantic.record("r-2"))["cached"]["request_id"] == "r-1"
    assert (await semantic.http.get("/cache/stats")).json()["semantic_hits"] == 1


async def test_a_rating_of_such_a_hit_teaches_nothing(semantic: World) -> None:
    await decision(semantic, FIRST, "r-1")
    await decision(semantic, SAME, "r-2")

    await semantic.rate("r-2", 1.0)

    assert (await semantic.record("r-2"))["learn"] is False
    assert sum(sums.reward_sum for sums in semantic.store.sums["default"].values()) == 0


@pytest.mark.parametrize(
    "more",
    [
        {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
        {"temperature": 0.9},
        {"logprobs": True},
        {"web_search_options": {}},
        {"unknown_field": 1},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": FIRST}] * 2}]},
        {
            "messages": [
                {"role": "user", "content": "Hello"},
                {"role": "assistant", "content": "Hello!"},
                {"role": "user", "content": FIRST},
            ]
        },
    ],
    ids=["tools", "temperature", "logprobs", "search", "unknown", "parts", "second turn"],
)
async def test_a_request_that_wants_more_than_a_text_takes_no_part(
    semantic: World, more: dict[str, Any]
) -> None:
    asked = {"model": "large", **more}
    other = {**asked}
    if "messages" in more:
        *before, last = more["messages"]
        content = last["content"]
        said = f"{content}  please" if isinstance(content, str) else [*content, content[0]]
        other["messages"] = [*before, {**last, "content": said}]
    await decision(semantic, FIRST, "r-1", **asked)

    assert await decision(semantic, SAME, "r-2", **other) != "cache"


@pytest.mark.parametrize(
    "changed",
    [
        {"model": "medium"},
        {"max_tokens": 5},
        {"response_format": {"type": "json_object"}},
        {"messages": [{"role": "system", "content": "Be rude."}, {"role": "user", "content": SAME}]},
        {"router": {"exclude": ["small"]}},
    ],
    ids=["model", "limit", "format", "instructions", "options"],
)
async def test_everything_but_the_question_must_be_equal(semantic: World, changed: dict[str, Any]) -> None:
    await decision(semantic, FIRST, "r-1", model="large")

    assert await decision(semantic, SAME, "r-2", **{"model": "large", **changed}) != "cache"


async def test_without_the_encoder_only_the_same_request_is_a_hit(semantic: World) -> None:
    await decision(semantic, FIRST, "r-1")
    semantic.encoder.is_down = True

    assert await decision(semantic, SAME, "r-2") != "cache"
    assert await decision(semantic, FIRST, "r-3") == "cache"
