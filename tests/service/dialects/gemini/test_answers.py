from __future__ import annotations

import re
from typing import Any

import pytest

from service.conversations.sealed_reasoning import carried_thinking
from service.dialects.gemini.answers import response
from service.domain.basics import Json

SIGNATURE = 40 * "EqQB" + "+/8="
ADD: Json = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
THINKING: Json = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def completion(finish_reason: str | None = "stop", choice: Json | None = None, **message: object) -> Json:
    whole = {"index": 0, "message": message, "finish_reason": finish_reason, **(choice or {})}
    return {"id": "c-1", "model": "m", "choices": [whole]}


def candidate(shows_thoughts: bool = False, **more: object) -> Json:
    found: Json = response(completion(**more), shows_thoughts=shows_thoughts)["candidates"][0]  # type: ignore[arg-type]
    return found


def parts(shows_thoughts: bool = False, **message: object) -> list[Json]:
    found: list[Json] = candidate(shows_thoughts, **message)["content"]["parts"]
    return found


def test_an_answer_has_googles_form() -> None:
    usage = {
        "prompt_tokens": 10,
        "completion_tokens": 7,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    }

    assert response({**completion(content="Hi"), "usage": usage}, shows_thoughts=False) == {
        "candidates": [
            {"content": {"role": "model", "parts": [{"text": "Hi"}]}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": 10,
            "candidatesTokenCount": 2,
            "thoughtsTokenCount": 5,
            "cachedContentTokenCount": 4,
            "totalTokenCount": 17,
        },
        "modelVersion": "m",
        "responseId": "c-1",
    }


@pytest.mark.parametrize(
    ("reason", "theirs"),
    [
        ("stop", "STOP"),
        ("length", "MAX_TOKENS"),
        ("tool_calls", "STOP"),
        ("function_call", "STOP"),
        ("content_filter", "SAFETY"),
        (None, "STOP"),
        ("odd", "OTHER"),
    ],
)
def test_every_finish_reason_has_googles_word(reason: str | None, theirs: str) -> None:
    assert candidate(finish_reason=reason, content="Hi")["finishReason"] == theirs


def test_a_refusal_is_its_text() -> None:
    refused = candidate(content=None, refusal="I cannot.")

    assert refused["content"]["parts"] == [{"text": "I cannot."}]
    assert refused["finishReason"] == "SAFETY"


def test_an_empty_answer_has_an_empty_part() -> None:
    assert parts(content=None) == [{"text": ""}]


def test_a_call_has_its_arguments_as_an_object() -> None:
    assert parts(content="I add.", tool_calls=[ADD]) == [
        {"text": "I add."},
        {"functionCall": {"id": "call_1", "name": "add", "args": {"a": 1}}},
    ]


@pytest.mark.parametrize(
    ("arguments", "args"),
    [("", {}), ("{}", {}), ("[1]", {"arguments": "[1]"}), ('{"a"', {"arguments": '{"a"'})],
)
def test_arguments_that_are_no_object_are_wrapped(arguments: str, args: Json) -> None:
    broken = {"id": "c", "function": {"name": "f", "arguments": arguments}}

    assert parts(tool_calls=[broken])[0]["functionCall"]["args"] == args


def test_a_call_without_an_id_gets_one() -> None:
    [part] = parts(tool_calls=[{"function": {"name": "f", "arguments": "{}"}}])

    assert re.fullmatch(r"call_[0-9a-f]{24}", part["functionCall"]["id"])


@pytest.mark.parametrize(
    "signed",
    [
        {**ADD, "extra_content": {"google": {"thought_signature": SIGNATURE}}},
        {**ADD, "id": f"call_1__thought__{SIGNATURE}"},
    ],
    ids=["beside", "within"],
)
def test_googles_signature_stands_beside_its_call(signed: Json) -> None:
    first, second = parts(tool_calls=[signed, {**ADD, "id": "call_2"}], reasoning_content="Hm.")

    assert first["functionCall"]["id"] == "call_1"
    assert first["thoughtSignature"] == SIGNATURE
    assert "thoughtSignature" not in second


def test_thinking_of_other_vendors_is_carried_by_the_first_call() -> None:
    first, second = parts(tool_calls=[ADD, ADD], reasoning_content="Hm.", thinking_blocks=[THINKING])

    assert carried_thinking(first["thoughtSignature"]) == {
        "reasoning_content": "Hm.",
        "thinking_blocks": [THINKING],
    }
    assert "thoughtSignature" not in second


@pytest.mark.parametrize(("shows", "shown"), [(True, [{"text": "Hm.", "thought": True}]), (False, [])])
def test_thoughts_are_shown_where_the_request_asks_for_them(shows: bool, shown: list[Json]) -> None:
    assert parts(shows, content="Yes.", reasoning_content="Hm.") == [*shown, {"text": "Yes."}]


def test_images_come_inside_the_answer() -> None:
    images = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
        "odd",
    ]

    assert parts(content="See.", images=images)[1:] == [
        {"inlineData": {"mimeType": "image/png", "data": "aGk="}}
    ]


def test_log_probabilities_are_those_of_tokens() -> None:
    content = [
        {"token": "H", "logprob": -0.5, "top_logprobs": [{"token": "H", "logprob": -0.5}]},
        {"token": "i", "logprob": -1.5, "top_logprobs": []},
    ]

    found = candidate(choice={"logprobs": {"content": content}}, content="Hi")

    assert found["avgLogprobs"] == -1.0
    assert found["logprobsResult"] == {
        "chosenCandidates": [
            {"token": "H", "logProbability": -0.5},
            {"token": "i", "logProbability": -1.5},
        ],
        "topCandidates": [{"candidates": [{"token": "H", "logProbability": -0.5}]}, {"candidates": []}],
    }


@pytest.mark.parametrize(
    ("content", "unwrapping", "text"),
    [
        ('{"answer": [1, 2]}', "json", "[1,2]"),
        ('{"answer": "yes"}', "json", '"yes"'),
        ('{"answer": "yes"}', "text", "yes"),
        ('{"answer": "yes"}', None, '{"answer": "yes"}'),
        ("[1, 2]", "json", "[1, 2]"),
        ('{"other": 1}', "json", '{"other": 1}'),
        ('{"answer": [1', "json", '{"answer": [1'),
    ],
)
def test_an_answer_is_taken_out_of_the_object_that_wraps_it(content: str, unwrapping: Any, text: str) -> None:
    body = response(completion(content=content), shows_thoughts=False, unwrapping=unwrapping)

    assert body["candidates"][0]["content"]["parts"] == [{"text": text}]
