from __future__ import annotations

from typing import Any

import pytest

from service.conversations.portability import safe_history, vendor_mark, vendor_of
from service.domain.arm import Arm
from service.domain.basics import Json

CLAUDE = Arm("claude", "anthropic", "claude-sonnet-4-5")
GPT = Arm("gpt", "openai", "gpt-4o-mini", base_url="http://127.0.0.1:9/v1")
MISTRAL = Arm("mistral", "openai", "mistralai/mistral-small", base_url="http://127.0.0.1:9/v1")
QUESTION: Json = {"role": "user", "content": "Fix it"}


@pytest.mark.parametrize(
    ("model", "vendor"),
    [
        ("claude-sonnet-4-5", "anthropic"),
        ("anthropic/claude-sonnet-4-5", "anthropic"),
        ("openrouter/anthropic/claude-sonnet-4-5", "anthropic"),
        ("gpt-4o-mini", "openai"),
        ("openai/gpt-4o-mini", "openai"),
        ("gemini/gemini-2.5-flash", "google"),
        ("mistral/mistral-small", "mistralai"),
        ("llama3:8b", "http://127.0.0.1:9/v1"),
    ],
)
def test_the_name_of_a_model_gives_its_vendor(model: str, vendor: str) -> None:
    assert vendor_of(Arm("a", "openai", model, base_url="http://127.0.0.1:9/v1")) == vendor


def calls(tool_id: str, **fields: Any) -> list[Json]:
    function = {"name": "read", "arguments": '{"path": "a.py"}'}
    return [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": tool_id, "function": function} | fields],
        },
        {"role": "tool", "tool_call_id": tool_id, "content": "1"},
    ]


def test_a_history_of_the_same_vendor_is_unchanged() -> None:
    thinking = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    answer = {"role": "assistant", "content": [thinking, {"type": "text", "text": "So."}]}
    body = {"messages": [QUESTION, answer, *calls("toolu_01")]}

    assert safe_history(body, CLAUDE, 0) is body


def test_reasoning_with_the_mark_of_its_vendor_goes_nowhere_else() -> None:
    (answer, result) = calls("toolu_01")
    thinking = {"reasoning_content": "Hm.", "thinking_blocks": [{"type": "thinking"}]}
    marked = {**answer, **thinking, "reasoning_vendor": vendor_mark(CLAUDE)}
    body = {"messages": [QUESTION, marked, result]}

    assert safe_history(body, CLAUDE, 0)["messages"] == [QUESTION, {**answer, **thinking}, result]
    assert safe_history(body, GPT, 0)["messages"] == [QUESTION, answer, result]
    assert safe_history(body, MISTRAL, 3)["messages"] == [QUESTION, answer, result]


def test_the_mark_of_a_vendor_names_no_server() -> None:
    own = Arm("own", "openai", "llama3:8b", base_url="http://10.0.0.7:8000/v1")

    assert "10.0.0.7" not in vendor_mark(own)
    assert vendor_mark(own) != vendor_mark(CLAUDE)


@pytest.mark.parametrize(
    ("other_vendors", "safe"),
    [
        (
            {"role": "assistant", "content": "So.", "reasoning_content": "Hm.", "thinking_blocks": [{}]},
            {"role": "assistant", "content": "So."},
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "So."},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "So."}]},
        ),
        (calls("call_1", extra_content={"google": {"thought_signature": "x"}})[0], calls("call_1")[0]),
        (
            {**calls("call_1")[0], "content": [{"type": "thinking", "thinking": "Hm."}]},
            calls("call_1")[0],
        ),
    ],
    ids=["fields", "parts", "calls", "only thinking"],
)
def test_thinking_of_another_vendor_is_removed_whole(other_vendors: Json, safe: Json) -> None:
    native = {"role": "assistant", "content": "I", "reasoning_content": "my own"}
    body = {"model": "auto", "messages": [QUESTION, other_vendors, native]}

    assert safe_history(body, GPT, 2) == {"model": "auto", "messages": [QUESTION, safe, native]}


def test_a_message_of_thinking_alone_is_removed() -> None:
    thinking = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}

    assert safe_history({"messages": [QUESTION, thinking, QUESTION]}, GPT, 3) == {
        "messages": [QUESTION, QUESTION]
    }


@pytest.mark.parametrize(
    ("arm", "tool_id", "is_accepted"),
    [
        (CLAUDE, "functions.read:0", False),
        (CLAUDE, "call_1", True),
        (GPT, "toolu_" + "x" * 40, False),
        (GPT, "functions.read:0", True),
        (MISTRAL, "functions.read:0", True),
    ],
)
def test_ids_of_tool_calls_are_replaced_if_the_vendor_rejects_them(
    arm: Arm, tool_id: str, is_accepted: bool
) -> None:
    call, result = safe_history({"messages": calls(tool_id)}, arm, 0)["messages"]

    new_id = call["tool_calls"][0]["id"]
    assert new_id == result["tool_call_id"]
    assert (new_id == tool_id) is is_accepted
    again = {"messages": calls(new_id)}
    assert safe_history(again, arm, 0) is again


def test_ids_in_anthropics_form_are_the_same_in_call_and_result() -> None:
    body = {
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a:1", "name": "r", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a:1", "content": "1"}]},
        ]
    }

    call, result = safe_history(body, CLAUDE, 0)["messages"]

    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"]
    assert call["content"][0]["id"].startswith("toolu_")
