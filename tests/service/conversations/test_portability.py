from __future__ import annotations

from typing import Any

import pytest

from service.conversations.portability import safe_history, vendor_of
from service.domain.arm import Arm
from service.domain.basics import Json

CLAUDE = Arm("claude", "anthropic", "claude-sonnet-4-5")
GPT = Arm("gpt", "openai", "gpt-4o-mini", base_url="http://127.0.0.1:9/v1")
MISTRAL = Arm("mistral", "openai", "mistralai/mistral-small", base_url="http://127.0.0.1:9/v1")
ASKED: Json = {"role": "user", "content": "Fix it"}


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
def test_the_name_tells_who_made_a_model(model: str, vendor: str) -> None:
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


def test_a_history_of_the_same_vendor_passes_as_it_came() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    spoken = {"role": "assistant", "content": [thought, {"type": "text", "text": "So."}]}
    body = {"messages": [ASKED, spoken, *calls("toolu_01")]}

    assert safe_history(body, CLAUDE, 0) is body


@pytest.mark.parametrize(
    ("foreign", "safe"),
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
    ids=["fields", "parts", "calls", "only thought"],
)
def test_what_another_vendors_model_thought_is_removed_whole(foreign: Json, safe: Json) -> None:
    native = {"role": "assistant", "content": "I", "reasoning_content": "my own"}
    body = {"model": "auto", "messages": [ASKED, foreign, native]}

    assert safe_history(body, GPT, 2) == {"model": "auto", "messages": [ASKED, safe, native]}


def test_a_message_of_nothing_but_thoughts_goes() -> None:
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}

    assert safe_history({"messages": [ASKED, thought, ASKED]}, GPT, 3) == {"messages": [ASKED, ASKED]}


@pytest.mark.parametrize(
    ("arm", "tool_id", "passes"),
    [
        (CLAUDE, "functions.read:0", False),
        (CLAUDE, "call_1", True),
        (GPT, "toolu_" + "x" * 40, False),
        (GPT, "functions.read:0", True),
        (MISTRAL, "functions.read:0", True),
    ],
)
def test_ids_of_tool_calls_are_made_such_as_the_vendor_takes(arm: Arm, tool_id: str, passes: bool) -> None:
    call, result = safe_history({"messages": calls(tool_id)}, arm, 0)["messages"]

    made = call["tool_calls"][0]["id"]
    assert made == result["tool_call_id"]
    assert (made == tool_id) is passes
    again = {"messages": calls(made)}
    assert safe_history(again, arm, 0) is again


def test_ids_in_anthropics_form_are_mapped_alike() -> None:
    body = {
        "messages": [
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a:1", "name": "r", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a:1", "content": "1"}]},
        ]
    }

    call, result = safe_history(body, CLAUDE, 0)["messages"]

    assert call["content"][0]["id"] == result["content"][0]["tool_use_id"]
    assert call["content"][0]["id"].startswith("toolu_")
