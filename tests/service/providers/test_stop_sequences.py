"""Stop sequences beyond the four that a server accepts: the router ends the answer at them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.answer import Chunk, Usage
from service.domain.basics import Json
from service.errors import ProviderRejected
from service.providers.openai_compatible import OpenAICompatibleClient
from service.providers.stop_sequences import StopCutter, cut_off, with_four_stops
from tests.service.providers.scripted import (
    NOW,
    SECRETS,
    Script,
    Upstream,
    answers,
    chunk_body,
    collected,
    completion,
    event,
    hang,
    streams,
)

STOPS = ["S1", "S2", "S3", "S4", "END", "</done>"]
BODY: Json = {"messages": [{"role": "user", "content": "Go"}], "stop": STOPS}
TOO_MANY = (
    "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 6."
)


@pytest.fixture
async def model_client() -> AsyncIterator[OpenAICompatibleClient]:
    model_client = OpenAICompatibleClient(SECRETS, lambda: NOW)
    yield model_client
    await model_client.close()


def accepting_four(otherwise: Script, message: str = TOO_MANY) -> Script:
    async def script(request: web.Request) -> web.StreamResponse:
        if len(orjson.loads(await request.read())["stop"]) > 4:
            return web.json_response({"error": {"message": message}}, status=400)
        return await otherwise(request)

    return script


@pytest.mark.parametrize(
    "message",
    [
        TOO_MANY,
        "stop: maximum of 4 stop sequences",
        "too many stop sequences, at most 4 are supported",
        "stop_sequences: must have at most 4 items",
        "'stop' must contain up to 4 strings",
    ],
)
async def test_a_server_gets_four_and_the_router_ends_at_the_others(
    model_client: OpenAICompatibleClient, upstream: Upstream, message: str
) -> None:
    upstream.script = accepting_four(answers(completion("One END two")), message)

    answer = await model_client.complete(upstream.arm(), BODY, timeout_s=5)

    [choice] = answer.body["choices"]
    assert (choice["message"]["content"], choice["finish_reason"], choice["stop_reason"]) == (
        "One ",
        "stop",
        "END",
    )
    assert [len(body["stop"]) for body in upstream.bodies] == [6, 4]


async def test_a_stream_ends_at_the_sequence_and_the_server_is_left(
    model_client: OpenAICompatibleClient, upstream: Upstream
) -> None:
    pieces = [event(chunk_body(text)) for text in ("One ", "<", "/do", "ne> two")]
    upstream.script = accepting_four(streams(*pieces, then=hang))

    chunks = await collected(model_client.stream(upstream.arm(), BODY, timeout_s=5))

    choices = [choice for chunk in chunks for choice in chunk.body["choices"]]
    assert "".join(choice["delta"].get("content") or "" for choice in choices) == "One "
    assert (choices[-1]["finish_reason"], choices[-1]["stop_reason"]) == ("stop", "</done>")
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.estimated
    await upstream.was_left()


@pytest.mark.parametrize(
    "stop", [["a", 1, 2, 3, 4], ["a"] * 65, ["a", "b", "c", "d", ""], ["x" * 257] * 5, "END", ["a"] * 4, None]
)
async def test_a_request_that_cannot_be_repaired_is_refused(
    model_client: OpenAICompatibleClient, upstream: Upstream, stop: Any
) -> None:
    body = {**BODY, "stop": stop}
    assert with_four_stops(body) is body
    upstream.script = answers({"error": {"message": TOO_MANY}}, 400)

    with pytest.raises(ProviderRejected, match="array too long"):
        await model_client.complete(upstream.arm(), body, timeout_s=5)

    assert len(upstream.bodies) == 1


@pytest.mark.parametrize(
    ("text", "stops", "left"),
    [
        ("no stop", ("END",), "no stop"),
        ("a END b STOP", ("STOP", "END"), "a "),
        ("xABCX", ("ABCX", "BC"), "xA"),  # BC is complete first
        ("END", ("END",), ""),
        ("", ("END",), ""),
        (None, ("END",), None),
    ],
)
def test_the_sequence_that_is_complete_first_ends_the_text(
    text: str | None, stops: tuple[str, ...], left: str | None
) -> None:
    answer = {"choices": [{"message": {"content": text}, "finish_reason": "length"}]}

    [choice] = cut_off(answer, stops)["choices"]

    assert choice["message"]["content"] == left
    assert choice["finish_reason"] == ("length" if left == text else "stop")


@settings(max_examples=300, deadline=None, derandomize=True)
@given(
    st.text("abc", max_size=12),
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=3),
    st.lists(st.integers(1, 4), min_size=12, max_size=12),
)
def test_a_stream_is_cut_like_the_whole_answer(text: str, stops: list[str], sizes: list[int]) -> None:
    whole = {"choices": [{"message": {"content": text}, "finish_reason": "length"}]}
    [expected] = cut_off(whole, stops)["choices"]
    cutter, rest, said, reason = StopCutter({"messages": []}, stops), text, "", None
    pieces: list[Json] = []
    for size in sizes:
        pieces.append({"delta": {"content": rest[:size]}, "finish_reason": None})
        rest = rest[size:]
    for piece in [*pieces, {"delta": {}, "finish_reason": "length"}]:
        if cutter.is_done:
            break
        for chunk in cutter.chunks(Chunk({"choices": [{"index": 0, **piece}]})):
            for choice in chunk.body["choices"]:
                said += choice["delta"].get("content") or ""
                reason = choice["finish_reason"] or reason

    assert (said, reason) == (expected["message"]["content"], expected["finish_reason"])


def test_each_choice_ends_by_itself() -> None:
    cutter = StopCutter({"messages": [], "n": 2}, ["END"])

    def texts(*choices: Json, usage: Usage | None = None) -> list[list[tuple[int, str | None]]]:
        chunk = Chunk({"choices": list(choices)}, usage)
        return [
            [(c["index"], c["delta"].get("content")) for c in got.body["choices"]]
            for got in cutter.chunks(chunk)
        ]

    def choice(index: int, content: str, finish_reason: str | None = None) -> Json:
        return {"index": index, "delta": {"content": content}, "finish_reason": finish_reason}

    assert texts(choice(0, "a END"), choice(1, "b")) == [[(0, "a "), (1, "b")]]
    assert texts(choice(0, "too late"), choice(1, "c")) == [[(1, "c")]]
    assert texts(choice(0, "too late")) == []
    assert not cutter.is_done
    assert texts(choice(1, " EN", "length")) == [[(1, " EN")]]
    assert texts(usage=Usage(1, 1)) == [[]]
