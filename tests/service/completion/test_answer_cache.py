"""The answer cache, and a whole answer as chunks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.completion.answer_cache import AnswerCache
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.chunks import as_chunks
from service.domain.query import Options, Query

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


def test_the_same_request_gets_the_same_answer_streamed_or_not(clock: Clock) -> None:
    cache = AnswerCache(10, 60, clock)
    cache.keep(query(), "m", ANSWER)

    streamed = query(b'{"stream":true,"messages":[{"role":"user","content":"Is it?"}]}')

    assert cache.find(streamed) is not None
    assert cache.find(query()) == cache.find(streamed)
    assert (cache.hits, cache.misses) == (3, 0)


@pytest.mark.parametrize(
    "other",
    [
        query(b'{"messages":[{"role":"user","content":"Is it"}]}'),
        query(b'{"model":"m","messages":[{"role":"user","content":"Is it?"}]}'),
        query(b'{"temperature":1,"messages":[{"role":"user","content":"Is it?"}]}'),
        replace(query(), tenant="another"),
        replace(query(), options=Options(models=frozenset({"small"}))),
        replace(query(), options=Options(exclude=frozenset({"small"}))),
        replace(query(), options=Options(require_data_use=frozenset({"no_training"}))),
    ],
    ids=["text", "model", "temperature", "tenant", "allowed models", "excluded models", "data use"],
)
def test_another_request_or_tenant_gets_none(clock: Clock, other: Query) -> None:
    cache = AnswerCache(10, 60, clock)

    cache.keep(query(), "m", ANSWER)

    assert cache.find(other) is None


def test_an_answer_expires(clock: Clock) -> None:
    cache = AnswerCache(10, 60, clock)
    cache.keep(query(), "m", ANSWER)

    clock.time += timedelta(seconds=60)

    assert cache.find(query()) is None
    assert len(cache) == 0


def test_the_least_recently_used_answer_is_removed_first(clock: Clock) -> None:
    cache = AnswerCache(2, 60, clock)
    first, second, third = (query(b'{"messages":[{"role":"user","content":"%d"}]}' % i) for i in range(3))
    cache.keep(first, "m", ANSWER)
    cache.keep(second, "m", ANSWER)
    cache.find(first)

    cache.keep(third, "m", ANSWER)

    assert cache.find(first) is not None
    assert cache.find(second) is None


def test_a_truncated_answer_is_not_stored(clock: Clock) -> None:
    cache = AnswerCache(10, 60, clock)

    cache.keep(query(), "m", {**ANSWER, "choices": [{**ANSWER["choices"][0], "finish_reason": "length"}]})

    assert cache.find(query()) is None


def test_clearing_removes_every_answer(clock: Clock) -> None:
    cache = AnswerCache(10, 60, clock)
    cache.keep(query(), "m", ANSWER)

    assert cache.clear() == 1
    assert cache.find(query()) is None


async def test_chunks_have_the_content_of_the_whole_answer() -> None:
    chunks = [chunk.body async for chunk in as_chunks(ANSWER)]

    assert [c["choices"][0]["delta"] for c in chunks[:-1]] == [ANSWER["choices"][0]["message"], {}]
    assert chunks[1]["choices"][0]["finish_reason"] == "stop"
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == ANSWER["usage"]
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
