from __future__ import annotations

from typing import Any

import orjson

from service.conversations.sealed_reasoning import carried_thinking
from service.dialects.gemini.events import ResponseEvents
from service.domain.answer import Chunk
from service.domain.basics import Json

SIGNATURE = 40 * "EqQB" + "+/8="
USAGE: Json = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def delta(finish_reason: str | None = None, index: int = 0, **fields: Any) -> Chunk:
    choice = {"index": index, "delta": fields, "finish_reason": finish_reason}
    return Chunk({"id": "c-1", "model": "m", "choices": [choice]})


def call(position: int = 0, arguments: str = "", **more: Any) -> Json:
    return {"index": position, "function": {"arguments": arguments}, **more}


def begun(position: int = 0, call_id: str = "call_1", **more: Any) -> Json:
    return {"index": position, "id": call_id, "function": {"name": "add", "arguments": ""}, **more}


def events(
    *chunks: Chunk, shows_thoughts: bool = False, explanation: Json | None = None, ends: bool = True
) -> list[Json]:
    writer = ResponseEvents(explanation, shows_thoughts=shows_thoughts)
    written = b"".join(writer.chunk(chunk) for chunk in chunks) + (writer.end() if ends else b"")
    return [orjson.loads(event.removeprefix(b"data: ")) for event in written.split(b"\n\n") if event]


def parts(event: Json, candidate: int = 0) -> list[Json]:
    found: list[Json] = event["candidates"][candidate]["content"]["parts"]
    return found


def test_each_piece_of_text_is_a_chunk_and_the_last_has_reason_and_usage() -> None:
    written = events(
        delta(role="assistant", content=""),
        delta(content="Hel"),
        delta(content="lo"),
        delta("stop"),
        Chunk({"id": "c-1", "model": "m", "choices": [], "usage": USAGE}),
    )

    frame = {"modelVersion": "m", "responseId": "c-1"}
    assert written == [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Hel"}]}, "index": 0}], **frame},
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "lo"}]}, "index": 0}], **frame},
        {
            "candidates": [
                {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}
            ],
            "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2, "totalTokenCount": 5},
            **frame,
        },
    ]


def test_calls_come_whole_in_the_last_chunk_though_their_pieces_are_mixed() -> None:
    written = events(
        delta(tool_calls=[begun(0), begun(1, "call_2")]),
        delta(tool_calls=[call(1, '{"b"'), call(0, '{"a":')]),
        delta(tool_calls=[call(0, " 1}"), call(1, ": 2}")]),
        delta("tool_calls"),
    )

    assert [parts(event) for event in written] == [
        [
            {"functionCall": {"id": "call_1", "name": "add", "args": {"a": 1}}},
            {"functionCall": {"id": "call_2", "name": "add", "args": {"b": 2}}},
        ]
    ]
    assert written[0]["candidates"][0]["finishReason"] == "STOP"


def test_a_signature_that_comes_with_any_piece_stands_beside_the_call() -> None:
    extra: Any = {"extra_content": {"google": {"thought_signature": SIGNATURE}}}

    for pieces in ([begun(**extra), call(0, "{}")], [begun(), call(0, "{}", **extra)]):
        [last] = events(*(delta(tool_calls=[piece]) for piece in pieces))
        assert parts(last)[0]["thoughtSignature"] == SIGNATURE
        assert parts(last)[0]["functionCall"]["id"] == "call_1"


def test_thinking_in_pieces_is_shown_and_carried() -> None:
    chunks = [
        delta(reasoning_content="H", thinking_blocks=[{"type": "thinking", "thinking": "H"}]),
        delta(reasoning_content="m.", thinking_blocks=[{"type": "thinking", "thinking": "m."}]),
        delta(thinking_blocks=[{"type": "thinking", "thinking": "", "signature": "c2ln"}]),
        delta(tool_calls=[begun()]),
        delta("tool_calls", tool_calls=[call(0, "{}")]),
    ]

    shown, hidden = events(*chunks, shows_thoughts=True), events(*chunks)

    assert [parts(event) for event in shown[:-1]] == [
        [{"text": "H", "thought": True}],
        [{"text": "m.", "thought": True}],
    ]
    assert len(hidden) == 1
    for last in (shown[-1], hidden[-1]):
        assert carried_thinking(parts(last)[0]["thoughtSignature"]) == {
            "reasoning_content": "Hm.",
            "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}],
        }


def test_candidates_keep_their_index() -> None:
    written = events(
        delta(index=1, content="b"),
        delta(index=0, content="a"),
        delta("length", index=1),
        delta("stop", index=0),
    )

    assert [event["candidates"][0]["index"] for event in written[:-1]] == [1, 0]
    assert [(c["index"], c["finishReason"]) for c in written[-1]["candidates"]] == [
        (0, "STOP"),
        (1, "MAX_TOKENS"),
    ]


def test_a_refusal_is_text_that_ends_in_safety() -> None:
    first, last = events(delta(refusal="No."), delta("stop"))

    assert parts(first) == [{"text": "No."}]
    assert last["candidates"][0]["finishReason"] == "SAFETY"


def test_the_first_chunk_carries_the_explanation() -> None:
    first, last = events(delta(content="Hi"), delta("stop"), explanation={"reason": "x"})

    assert first["router"] == {"reason": "x"}
    assert "router" not in last


def test_a_failure_is_an_error_in_the_stream() -> None:
    problem = (503, {"error": {"message": "gone", "type": "x", "param": None, "code": None}})

    written = ResponseEvents(None, shows_thoughts=False).failure(problem, "r-1")

    assert written.startswith(b"data: ")
    error = orjson.loads(written.removeprefix(b"data: "))["error"]
    assert (error["code"], error["status"]) == (503, "UNAVAILABLE")


def test_a_wrapped_answer_comes_whole_at_the_end() -> None:
    writer = ResponseEvents(None, shows_thoughts=False, unwrapping="json")
    chunks = [delta(content=piece) for piece in ('{"answ', 'er": [1,', " 2]}")]

    assert [writer.chunk(chunk) for chunk in [*chunks, delta("stop")]] == 4 * [b""]
    last = orjson.loads(writer.end().removeprefix(b"data: "))
    assert parts(last) == [{"text": "[1,2]"}]
    assert last["candidates"][0]["finishReason"] == "STOP"
