"""The answer cache, and a whole answer as chunks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.cache.answer_cache import AnswerCache, Uses
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.chunks import as_stream
from service.domain.query import Options, Query
from tests.fakes import FakeEncoder

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ANSWER: Json = {
    "id": "a",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2},
}


class Clock:
    def __init__(self) -> None:
        self.time = NOON

    def __call__(self) -> datetime:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def query(body: bytes = b'{"messages":[{"role":"user","content":"Is it?"}]}') -> Query:
    return read_query(
        body, Received(headers={}, tenant="default", request_id="r", request_id_given=False, received_at=NOON)
    )


async def kept(cache: AnswerCache, query: Query, body: Json = ANSWER) -> None:
    if (answer := await cache.answer_to_keep(query, "m", body, None)) is not None:
        cache.keep(answer)


def cache_of(clock: Clock, max_size: int = 10) -> AnswerCache:
    return AnswerCache(max_size, 60, clock, FakeEncoder(), 1.0)


async def test_the_same_request_gets_the_same_answer_streamed_or_not(clock: Clock) -> None:
    cache = cache_of(clock)
    await kept(cache, query())

    hits = [
        await cache.find(query(b'{%s"messages":[{"role":"user","content":"Is it?"}]}' % stream))
        for stream in (b"", b'"stream":true,')
    ]

    assert [hit and (hit.answer.body, hit.match.match) for hit in hits] == [(ANSWER, "exact")] * 2
    assert cache.uses("default") == Uses(hits=2)


@pytest.mark.parametrize(
    "same",
    [
        b'{"user":"u","metadata":{"a":"b"},"store":true,"messages":[{"role":"user","content":"Is it?"}]}',
        b'{"messages":[{"role":"user","content":"  Is it?\\n"}]}',
        b'{"messages":[{"role":"user","content":[{"type":"text","text":"Is it?"}]}]}',
        b'{"temperature":null,"messages":[{"role":"user","content":"Is it?"}]}',
        b'{"service_tier":"flex","prompt_cache_key":"k","safety_identifier":"s",'
        b'"messages":[{"role":"user","content":"Is it?"}]}',
        b'{"router":{"session_id":"s"},"messages":[{"role":"user","content":"Is it?"}]}',
    ],
    ids=["metadata", "blanks at the ends", "one part", "null", "tier and keys", "session"],
)
async def test_what_no_model_reads_makes_no_other_request(clock: Clock, same: bytes) -> None:
    cache = cache_of(clock)

    await kept(cache, query())

    assert await cache.find(query(same)) is not None


@pytest.mark.parametrize(
    "other",
    [
        query(b'{"messages":[{"role":"user","content":"Is it"}]}'),
        query(b'{"messages":[{"role":"user","content":"Is  it?"}]}'),
        query(b'{"model":"m","messages":[{"role":"user","content":"Is it?"}]}'),
        query(b'{"temperature":1,"messages":[{"role":"user","content":"Is it?"}]}'),
        query(b'{"messages":[{"role":"user","content":"Is it?"},{"role":"assistant","content":"I "}]}'),
        replace(query(), tenant="another"),
        replace(query(), options=Options(models=frozenset({"small"}))),
        replace(query(), options=Options(exclude=frozenset({"small"}))),
        replace(query(), options=Options(require_data_use=frozenset({"no_training"}))),
        replace(query(), _rule_headers={"x-team": "research"}),
    ],
    ids=[
        "text",
        "blanks within",
        "model",
        "temperature",
        "a begun answer",
        "tenant",
        "allowed models",
        "excluded models",
        "data use",
        "header of a rule",
    ],
)
async def test_another_request_or_tenant_gets_none(clock: Clock, other: Query) -> None:
    cache = cache_of(clock)

    await kept(cache, query())

    assert await cache.find(other) is None


async def test_an_answer_expires(clock: Clock) -> None:
    cache = cache_of(clock)
    await kept(cache, query())

    clock.time += timedelta(seconds=60)

    assert await cache.find(query()) is None
    assert cache.size("default") == 0


async def test_the_least_recently_used_answer_is_removed_first(clock: Clock) -> None:
    cache = cache_of(clock, 2)
    first, second, third = (query(b'{"messages":[{"role":"user","content":"%d"}]}' % i) for i in range(3))
    await kept(cache, first)
    await kept(cache, second)
    await cache.find(first)

    await kept(cache, third)

    assert await cache.find(first) is not None
    assert await cache.find(second) is None


async def test_a_truncated_answer_is_not_stored(clock: Clock) -> None:
    cache = cache_of(clock)

    await kept(cache, query(), {**ANSWER, "choices": [{**ANSWER["choices"][0], "finish_reason": "length"}]})

    assert await cache.find(query()) is None


async def test_clearing_removes_every_answer(clock: Clock) -> None:
    cache = cache_of(clock)
    await kept(cache, query())

    assert await cache.clear("default") == 1
    assert await cache.find(query()) is None


async def test_chunks_have_the_content_of_the_whole_answer() -> None:
    chunks = [chunk.body async for burst in as_stream(ANSWER) for chunk in burst]

    assert [c["choices"][0]["delta"] for c in chunks[:-1]] == [ANSWER["choices"][0]["message"], {}]
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == ANSWER["usage"]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
