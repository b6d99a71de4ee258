"""Gemini's thought signatures on their way through Anthropic's dialect and back."""

from __future__ import annotations

import re
from typing import Any

import pytest

from service.conversations.portability import safe_history
from service.dialects.messages.answers import message
from service.dialects.messages.events import MessageEvents
from service.dialects.messages.translation import translated
from service.domain.answer import Chunk
from service.domain.arm import Arm
from service.domain.basics import Json
from tests.service.conversations.test_portability import CLAUDE, GPT, MISTRAL

SIGNATURE = 40 * "EqQB" + "+/8="
FUNCTION = {"name": "add", "arguments": "{}"}
BESIDE: Json = {"id": "call_1", "extra_content": {"google": {"thought_signature": SIGNATURE}}}
WITHIN: Json = {"id": f"call_1__thought__{SIGNATURE}"}
DIRECT = Arm("g", "openai", "gemini-3.8-flash", base_url="http://127.0.0.1:9/v1")
BY_LITELLM = Arm("g", "litellm", "gemini/gemini-3.8-flash")


def tool_use(call: Json) -> Json:
    """The block that a client gets for this call."""
    answer = {"role": "assistant", "content": None, "tool_calls": [{**call, "function": FUNCTION}]}
    body = {"id": "c-1", "model": "g", "choices": [{"message": answer, "finish_reason": "tool_calls"}]}
    block: Json = message(body)["content"][0]
    return block


def sent_back(block: Json, arm: Arm) -> tuple[Json, Json]:
    """The call and its result as they are sent to the arm on the next turn."""
    result = {"type": "tool_result", "tool_use_id": block["id"], "content": "1"}
    messages = [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": [block]},
        {"role": "user", "content": [result]},
    ]
    body, _ = translated({"max_tokens": 9, "messages": messages})
    _, answer, tool_result = safe_history(body, arm, 0)["messages"]
    return answer["tool_calls"][0], tool_result


@pytest.mark.parametrize("call", [BESIDE, WITHIN], ids=["beside", "within"])
@pytest.mark.parametrize(
    ("arm", "fields"),
    [
        (DIRECT, {"extra_content": {"google": {"thought_signature": SIGNATURE}}}),
        (BY_LITELLM, {"provider_specific_fields": {"thought_signature": SIGNATURE}}),
    ],
    ids=["direct", "litellm"],
)
def test_a_signature_comes_back_to_gemini_with_its_call(call: Json, arm: Arm, fields: dict[str, Any]) -> None:
    block = tool_use(call)

    returned, tool_result = sent_back(block, arm)

    assert re.fullmatch(r"[a-zA-Z0-9_-]+", block["id"])  # else Anthropic rejects it
    assert {name: returned.get(name) for name in fields} == fields
    assert tool_result["tool_call_id"] == returned["id"]


@pytest.mark.parametrize("arm", [CLAUDE, GPT, MISTRAL], ids=["claude", "gpt", "mistral"])
def test_a_signature_goes_to_no_other_vendor(arm: Arm) -> None:
    returned, tool_result = sent_back(tool_use(BESIDE), arm)

    assert returned.keys() == {"id", "type", "function"}
    assert "thought" not in returned["id"]
    assert tool_result["tool_call_id"] == returned["id"]


def test_a_stream_carries_the_signature_too() -> None:
    writer = MessageEvents(1, None)
    choice = {"index": 0, "delta": {"tool_calls": [{"index": 0, **BESIDE, "function": FUNCTION}]}}

    written = writer.take(Chunk({"id": "c-1", "model": "g", "choices": [choice]})) + writer.end()

    assert b'EqQB-_8"' in written


@pytest.mark.parametrize("extra", [None, "odd", {"google": "odd"}, {"google": {}}])
def test_a_call_without_a_signature_is_unchanged(extra: object) -> None:
    returned, _ = sent_back(tool_use({"id": "call_1", "extra_content": extra}), BY_LITELLM)

    assert returned == {"id": "call_1", "type": "function", "function": FUNCTION}
