"""Answers of providers without an end, or made to grow: each is that model's failure, within bounds."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from service.errors import ProviderBroken
from service.providers import http, streams
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.streams import MAX_STREAM_BYTES, BodyReader, BytesLeft
from tests.growth import assert_linear
from tests.service.providers.scripted import (
    BODY,
    EVENT_STREAM,
    NOW,
    SECRETS,
    Script,
    Upstream,
    chunk_body,
    collected,
    event,
)

LIMIT = 2**21  # in place of MAX_ANSWER_BYTES
Ask = Callable[[OpenAICompatibleClient, Upstream], Awaitable[object]]


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


async def whole(model_client: OpenAICompatibleClient, upstream: Upstream) -> None:
    await model_client.complete(upstream.arm(), BODY, timeout_s=600)


async def stream(model_client: OpenAICompatibleClient, upstream: Upstream) -> None:
    await collected(model_client.stream(upstream.arm(), BODY, timeout_s=600))


def endless(block: bytes, start: bytes = b"", **headers: str) -> Script:
    """Send the block again and again, until the client hangs up."""

    async def script(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=EVENT_STREAM | headers)
        await response.prepare(request)
        await response.write(start)
        while True:
            await response.write(block)

    return script


def bomb(unit: bytes) -> Script:
    """Eight megabytes that are sent as a few kilobytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(packer.compress(unit * (2**20 // len(unit))) for _ in range(8)) + packer.flush()

    async def script(request: web.Request) -> web.StreamResponse:
        return web.Response(body=packed, headers=EVENT_STREAM | {"Content-Encoding": "gzip"})

    return script


COMMENTS = b": ping\n\n" * 8_192
FIRST = event(chunk_body("hi"))
ENDLESS: dict[str, Script] = {
    "white space": endless(b" " * 65_536),
    "blank lines": endless(b"\r\n" * 32_768),
    "comments": endless(COMMENTS),
    "comments after content": endless(COMMENTS, FIRST),
    "fields that are no data": endless(b"id: 1\nevent: x\n" * 4_096),
    "one event": endless(b"x" * 65_536, b"data: "),
    "one event of many lines": endless(b"data: x\n" * 8_192, FIRST),
    "one document": endless(b" " * 65_536, b"{"),
    "a bomb of white space": bomb(b" "),
    "a bomb of comments": bomb(b": ping\n\n"),
    "a bomb of one document": bomb(b"["),
}


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("ask", [whole, stream])
async def test_an_endless_answer_is_cut_off_as_the_models_failure(
    model_client: OpenAICompatibleClient,
    upstream: Upstream,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    ask: Ask,
) -> None:
    for module in (http, streams):
        monkeypatch.setattr(module, "MAX_ANSWER_BYTES", LIMIT)
    monkeypatch.setattr(streams, "MAX_EVENT_BYTES", LIMIT // 4)
    upstream.script = ENDLESS[name]

    tracemalloc.start()
    try:
        with pytest.raises(ProviderBroken, match="more than"):
            await ask(model_client, upstream)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 8 * LIMIT


def test_a_stream_ends_at_its_limit_whatever_it_brings() -> None:
    left = BytesLeft("m")
    block = 2**20
    for _ in range(MAX_STREAM_BYTES // block):
        left.take(block, is_event=True)

    with pytest.raises(ProviderBroken, match="a stream of more than"):
        left.take(1, is_event=True)


@pytest.mark.parametrize("byte", [b" ", b"\n", b"\xef\xbb\xbf"], ids=["space", "line", "mark"])
def test_white_space_before_an_answer_is_read_in_linear_time_and_kept_by_nobody(byte: bytes) -> None:
    def work_of(n_blocks: int) -> Callable[[], object]:
        reader = BodyReader()
        reader.feed(byte)
        return lambda: [reader.feed(b" " * 64) for _ in range(n_blocks)]

    assert_linear(work_of, 2_000)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("blank", [b"\n\n", b"\r\n \n", b" " * 100 + b"\n"])
def test_white_space_and_a_mark_before_an_answer_change_nothing_however_they_are_split(
    mark: bytes, blank: bytes
) -> None:
    for body, data in ((b'{"a": 1}', b'{"a": 1}'), (b"data: a\n\n", b"a")):
        reader = BodyReader()
        read = [d for byte in mark + blank + body for d in reader.feed(bytes([byte]))] + reader.feed(b"")

        assert [d.strip().removeprefix(mark).strip() for d in read] == [data]
