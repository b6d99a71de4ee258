"""Anthropic's messages and events in OpenAI's terms."""

from __future__ import annotations

import pytest

from service.domain.basics import Json
from service.providers.normaliser.message_terms import completion_of, delta_of, finish_reason_of

THOUGHT: Json = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
TEXT: Json = {"type": "text", "text": "Let me "}
MORE: Json = {"type": "text", "text": "look."}
CALL: Json = {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"at": "sky"}}
SEARCH: Json = {"type": "web_search_tool_result", "content": []}


def test_a_message_is_a_completion_with_its_texts_joined_and_its_calls_by_position() -> None:
    message = {"id": "msg_1", "content": [THOUGHT, TEXT, MORE, CALL], "stop_reason": "tool_use"}

    assert completion_of(message) == {
        "id": "msg_1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Let me look.",
                    "tool_calls": [
                        {
                            "index": 3,
                            "id": "toolu_1",
                            "type": "function",
                            "function": {"name": "look", "arguments": '{"at":"sky"}'},
                        }
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
    }


def test_a_message_without_text_has_no_content_and_names_the_blocks_that_openai_lacks() -> None:
    completion = completion_of({"content": [SEARCH, "junk"], "stop_reason": None})

    assert completion["id"] is None
    assert completion["choices"] == [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": None,
                "blocks": ["web_search_tool_result", "None"],
            },
            "finish_reason": None,
        }
    ]


def started(block: object, index: int = 2) -> Json:
    return {"type": "content_block_start", "index": index, "content_block": block}


def moved(delta: object, index: int = 2) -> Json:
    return {"type": "content_block_delta", "index": index, "delta": delta}


@pytest.mark.parametrize(
    ("event", "delta"),
    [
        (started({"type": "text", "text": ""}), {}),
        (started(TEXT), {"content": "Let me "}),
        (started({"type": "thinking", "thinking": ""}), {}),
        (
            started(CALL),
            {
                "tool_calls": [
                    {
                        "index": 2,
                        "id": "toolu_1",
                        "type": "function",
                        "function": {"name": "look", "arguments": ""},
                    }
                ]
            },
        ),
        (started(SEARCH), {"blocks": ["web_search_tool_result"]}),
        (moved({"type": "text_delta", "text": "sky"}), {"content": "sky"}),
        (moved({"type": "thinking_delta", "thinking": "Hm."}), {"reasoning_content": "Hm."}),
        (
            moved({"type": "input_json_delta", "partial_json": '{"a'}),
            {"tool_calls": [{"index": 2, "function": {"arguments": '{"a'}}]},
        ),
        (moved({"type": "input_json_delta", "partial_json": ""}), {}),
        (moved({"type": "signature_delta", "signature": "s"}), {}),
        (moved("junk"), {}),
        ({"type": "message_delta", "delta": {"type": "text_delta", "text": "no"}}, {}),
        ({"type": "ping"}, {}),
    ],
)
def test_an_event_is_the_delta_of_what_it_adds(event: Json, delta: Json) -> None:
    assert delta_of(event) == delta


@pytest.mark.parametrize(
    ("stop_reason", "finish_reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, None),
    ],
)
def test_a_stop_reason_has_openais_name_or_keeps_its_own(
    stop_reason: str | None, finish_reason: str | None
) -> None:
    assert finish_reason_of(stop_reason) == finish_reason
