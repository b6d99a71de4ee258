"""The body decides whether an answer is a stream or whole, whatever its content type and its bytes are."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from service.domain.answer import Usage
from service.errors import ProviderBroken
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.streams import MAX_ANSWER_BYTES, BodyReader
from tests.service.providers.scripted import (
    BODY,
    NOW,
    SECRETS,
    Script,
    Upstream,
    chunk_body,
    collected,
    completion,
    event,
    text_of,
)

USAGE = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
WHOLE = orjson.dumps(completion("hello", usage=USAGE))
STREAM = b"".join(
    (
        event(chunk_body("hel")),
        event(chunk_body("lo")),
        event(chunk_body(finish_reason="stop")),
        event(chunk_body(choices=[], usage=USAGE)),
        b"data: [DONE]\n\n",
    )
)
TYPES = (
    "application/json",
    "text/event-stream",
    "text/plain; charset=utf-8",
    "text/html; charset=iso-8859-1",
    "application/octet-stream",
    None,
)
BODIES = {
    "JSON": WHOLE,
    "JSON after white space": b"\n\n   \r\n" + WHOLE,
    "JSON with a byte order mark": b"\xef\xbb\xbf" + WHOLE,
    "JSON with more after it": WHOLE + b"\n\n-- \nproxy",
    "JSON with NaN": WHOLE.replace(b'"created":1', b'"created":NaN'),
    "JSON after comments": b": processing\n\n: processing\n\n" + WHOLE,
    "JSON in an event": b"data: " + WHOLE + b"\n\n",
    "events": STREAM,
    "events with named types": b"event: message\n" + STREAM,
    "events after comments": b": processing\n\n" + STREAM,
    "events after white space": b"\n\n" + STREAM,
    "events with a byte order mark": b"\xef\xbb\xbf" + STREAM,
    "events without empty lines": STREAM.replace(b"\n\n", b"\n"),
    "events with CR LF": STREAM.replace(b"\n", b"\r\n"),
    "JSON lines": b"".join(line.removeprefix(b"data: ") + b"\n" for line in STREAM.split(b"\n\n")),
}


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


def sends(body: bytes, content_type: str | None) -> Script:
    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.headers["Content-Type"] = content_type or ""
        if content_type is None:
            del response.headers["Content-Type"]
        await response.prepare(request)
        for start in range(0, len(body), 50):
            await response.write(body[start : start + 50])
        return response

    return script


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_client_gets_what_it_asked_for(
    model_client: OpenAICompatibleClient, upstream: Upstream, body: bytes, content_type: str | None
) -> None:
    upstream.script = sends(body, content_type)

    whole = await model_client.complete(upstream.arm(), BODY, timeout_s=5)
    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    [choice] = whole.body["choices"]
    assert (whole.body["object"], choice["message"]["content"]) == ("chat.completion", "hello")
    assert choice["finish_reason"] == "stop"
    assert text_of(chunks) == "hello"
    assert {chunk.body["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert whole.usage == chunks[-1].usage == Usage(12, 0, 3)
    assert whole.body["usage"] == chunks[-1].body["usage"] == USAGE


@pytest.mark.parametrize("content_type", TYPES)
@pytest.mark.parametrize(
    "body",
    [
        *(b"<html><body>Welcome to the proxy</body></html>", b"", b"  \n", b"OK", b"[]", b"null", b"[DONE]"),
        *(STREAM[:100], b"data: [DONE]\n\n", b": processing\n\n", b"data: <html>\n\n", WHOLE[:-9]),
        event(chunk_body("hel")) + event({"error": {"message": "overloaded"}}),
        event(chunk_body("hel")),
    ],
)
async def test_what_is_no_answer_is_a_broken_provider(
    model_client: OpenAICompatibleClient, upstream: Upstream, body: bytes, content_type: str | None
) -> None:
    upstream.script = sends(body, content_type)

    with pytest.raises(ProviderBroken):
        await model_client.complete(upstream.arm(), BODY, timeout_s=5)
    with pytest.raises(ProviderBroken):
        await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))


@given(st.sampled_from(sorted(BODIES)), st.sets(st.integers(1, 300)))
def test_events_are_the_same_for_any_split_of_the_body(name: str, cuts: set[int]) -> None:
    body = BODIES[name]
    bounds = [0, *sorted(cut for cut in cuts if cut < len(body)), len(body)]
    at_once, in_blocks = BodyReader(), BodyReader()

    events = [*at_once.feed(body), *at_once.feed(b"")]
    blocks = [body[a:b] for a, b in pairwise(bounds)]

    assert [data for block in (*blocks, b"") for data in in_blocks.feed(block)] == events
    assert events


def test_an_endless_document_is_cut_off() -> None:
    reader = BodyReader()
    reader.feed(b"{")

    with pytest.raises(ProviderBroken, match="more than"):
        reader.feed(b" " * MAX_ANSWER_BYTES)
