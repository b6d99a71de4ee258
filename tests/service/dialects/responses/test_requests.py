"""A Responses request becomes a Chat Completions request."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.basics import Json
from service.errors import BadRequest
from tests.service.dialects.responses.shared import (
    WEATHER,
    assistant,
    call,
    chat_of,
    messages_of,
    read,
    result,
    user,
)

PNG = "data:image/png;base64,iVBORw0KGgo="


def refusal_of(**body: Any) -> BadRequest:
    with pytest.raises(BadRequest) as error:
        read(**body)
    return error.value


# --- input


def test_a_text_is_one_message_of_the_user() -> None:
    assert chat_of(input="Hi")["messages"] == [{"role": "user", "content": "Hi"}]


def test_instructions_stand_first() -> None:
    assert chat_of(input="Hi", instructions="Be brief.")["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
    ]


@pytest.mark.parametrize("role", ["user", "system", "developer"])
def test_a_message_keeps_its_role(role: str) -> None:
    assert messages_of({"role": role, "content": "Hi"}) == [{"role": role, "content": "Hi"}]


def test_several_texts_become_one_string() -> None:
    assert messages_of(user("One.", "Two.")) == [{"role": "user", "content": "One.\n\nTwo."}]


def test_an_image_and_a_file_become_parts() -> None:
    image = {"type": "input_image", "image_url": PNG, "detail": "original"}
    file = {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}

    assert messages_of(user("Look:", image, file))[0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AA=="}},
    ]


def test_an_image_counts_as_a_file_of_the_prompt() -> None:
    image = {"type": "input_image", "image_url": PNG}

    assert read(input=[user(image)]).n_prompt_tokens >= 1_600 > read(input=[user("Hi")]).n_prompt_tokens


def test_an_answer_and_its_calls_are_one_message() -> None:
    messages = messages_of(user("Hi"), assistant("I look."), call("a"), call("b"), result("a"), result("b"))

    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool"]
    assert messages[1]["content"] == "I look."
    assert [c["id"] for c in messages[1]["tool_calls"]] == ["a", "b"]
    assert messages[2] == {"role": "tool", "tool_call_id": "a", "content": "21 degrees"}


def test_results_follow_their_calls_whatever_stands_between() -> None:
    messages = messages_of(call("a"), call("b"), user("Meanwhile"), result("b"), result("a"))

    assert [m.get("tool_call_id", m["role"]) for m in messages] == ["assistant", "b", "a", "user"]


def test_calls_after_results_are_the_next_turn() -> None:
    messages = messages_of(user("Hi"), call("a"), result("a"), call("b"), result("b"), assistant("Done."))

    assert [m["role"] for m in messages] == ["user", "assistant", "tool", "assistant", "tool", "assistant"]


def test_the_same_call_id_in_two_turns_has_two_results() -> None:
    messages = messages_of(call("a"), result("a", "one"), call("a"), result("a", "two"))

    assert [m["content"] for m in messages if m["role"] == "tool"] == ["one", "two"]
    assert [m["role"] for m in messages] == ["assistant", "tool", "assistant", "tool"]


def test_files_of_a_result_are_shown_by_the_user() -> None:
    output = [{"type": "input_text", "text": "a picture"}, {"type": "input_image", "image_url": PNG}]
    messages = messages_of(call("a"), result("a", output), user("And?"))

    assert messages[1]["content"] == "a picture"
    assert messages[2] == {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PNG}}]}
    assert messages[3] == {"role": "user", "content": "And?"}


def test_a_custom_tool_call_is_a_call_with_one_argument() -> None:
    item = {"type": "custom_tool_call", "call_id": "a", "name": "patch", "input": 'say "hi"'}
    answer = {"type": "custom_tool_call_output", "call_id": "a", "output": "done"}

    function = messages_of(item, answer)[0]["tool_calls"][0]["function"]
    assert function == {"name": "patch", "arguments": '{"input":"say \\"hi\\""}'}


def test_a_call_of_a_namespace_has_the_joined_name() -> None:
    messages = messages_of(call("a", "wait", namespace="agents"), result("a"))

    assert messages[0]["tool_calls"][0]["function"]["name"] == "agents__wait"


def test_calls_of_shells_and_patches_are_calls_of_functions() -> None:
    shell = {"type": "shell_call", "call_id": "a", "action": {"commands": ["ls"], "timeout_ms": None}}
    shell_output = {
        "type": "shell_call_output",
        "call_id": "a",
        "output": [{"stdout": "x", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
    }
    local = {
        "type": "local_shell_call",
        "id": "l",
        "call_id": "b",
        "action": {"type": "exec", "command": ["ls"]},
    }
    patch = {
        "type": "apply_patch_call",
        "call_id": "c",
        "operation": {"type": "delete_file", "path": "a.py"},
        "status": "completed",
    }
    messages = messages_of(
        shell,
        shell_output,
        local,
        {"type": "local_shell_call_output", "id": "b", "output": "y"},
        patch,
        {"type": "apply_patch_call_output", "call_id": "c", "status": "completed"},
    )

    calls = [m["tool_calls"][0]["function"] for m in messages if m["role"] == "assistant"]
    assert calls == [
        {"name": "shell", "arguments": '{"commands":["ls"]}'},
        {"name": "local_shell", "arguments": '{"command":["ls"]}'},
        {"name": "apply_patch", "arguments": '{"type":"delete_file","path":"a.py"}'},
    ]
    assert [m["content"] for m in messages if m["role"] == "tool"] == [
        '[{"stdout":"x","stderr":"","outcome":{"type":"exit","exit_code":0}}]',
        "y",
        "completed",
    ]


def test_a_call_of_an_mcp_server_is_a_call_with_its_result() -> None:
    item = {
        "type": "mcp_call",
        "id": "mcp_1",
        "server_label": "docs",
        "name": "find",
        "arguments": "{}",
        "output": "found",
    }

    messages = messages_of(user("Hi"), item, assistant("Done."))
    assert messages[1]["tool_calls"][0]["function"]["name"] == "docs__find"
    assert messages[2] == {"role": "tool", "tool_call_id": "mcp_1", "content": "found"}


def test_what_openais_own_tools_did_is_left_out_with_a_note() -> None:
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    query = read(input=[user("Hi"), search, assistant("Found."), user("And?")])

    assert [m["role"] for m in query.body["messages"]] == ["user", "assistant", "user"]
    assert query.notes == ("left out: web_search_call",)


def test_foreign_reasoning_is_left_out() -> None:
    item = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAAAABo"}

    assert messages_of(user("Hi"), item, call(), result())[1]["content"] is None
    assert "reasoning_content" not in messages_of(user("Hi"), item, call(), result())[1]


def test_items_with_nulls_are_those_without() -> None:
    nulls: Json = {"id": None, "status": None, "namespace": None}
    reasoning = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": None,
        "content": None,
        "encrypted_content": None,
    }
    items = [
        {"role": "user", "content": "Hi", "type": None},
        reasoning,
        {**call(), **nulls},
        {**result(), **nulls},
    ]

    assert messages_of(*items) == messages_of(user("Hi"), call(), result())


# --- options


def test_fields_get_the_names_of_chat_completions() -> None:
    chat = chat_of(
        max_output_tokens=100,
        reasoning={"effort": "low", "summary": "auto"},
        temperature=0.5,
        top_p=0.9,
        text={"verbosity": "low"},
        prompt_cache_key="k",
        safety_identifier="s",
        service_tier="flex",
        user="u",
        top_logprobs=3,
    )

    assert chat == {
        "messages": [{"role": "user", "content": "Hi"}],
        "max_tokens": 100,
        "reasoning_effort": "low",
        "temperature": 0.5,
        "top_p": 0.9,
        "verbosity": "low",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "service_tier": "flex",
        "user": "u",
        "top_logprobs": 3,
        "logprobs": True,
    }


def test_fields_about_the_response_are_not_the_models() -> None:
    chat = chat_of(
        store=False,
        include=["reasoning.encrypted_content"],
        metadata={"a": "b"},
        client_metadata={"session_id": "x"},
        stream_options={"include_obfuscation": False},
        truncation="disabled",
        background=False,
        parallel_tool_calls=True,
        tool_choice="auto",
        tools=[],
    )

    assert chat == {"messages": [{"role": "user", "content": "Hi"}]}


def test_unknown_fields_are_for_arms_that_know_them() -> None:
    assert chat_of(top_k=5)["top_k"] == 5


def test_fields_of_chat_completions_cannot_replace_the_input() -> None:
    chat = chat_of(messages=[{"role": "user", "content": "no"}], n=3, max_tokens=5)

    assert chat == {"messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("text_format", "expected"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "json_object"}),
        (
            {"type": "json_schema", "name": "City", "strict": True, "schema": {"type": "object"}},
            {
                "type": "json_schema",
                "json_schema": {"name": "City", "schema": {"type": "object"}, "strict": True},
            },
        ),
    ],
)
def test_the_format_of_the_text_is_the_response_format(text_format: Json, expected: Json | None) -> None:
    assert chat_of(text={"format": text_format}).get("response_format") == expected


def test_parallel_calls_can_be_switched_off() -> None:
    assert chat_of(tools=[WEATHER], parallel_tool_calls=False)["parallel_tool_calls"] is False
    assert "parallel_tool_calls" not in chat_of(tools=[WEATHER], parallel_tool_calls=True)


# --- what is refused, and how


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "nonsense"}, "input[1].type"),
        ({}, "input[1].type"),
        ({"role": "robot", "content": "x"}, "input[1].role"),
        ({"role": "user"}, "input[1].content"),
        ({"role": "user", "content": [{"type": "nope"}]}, "input[1].content[0].type"),
        ({"role": "user", "content": [{"type": "text", "text": "x"}]}, "input[1].content[0].type"),
        ({"role": "user", "content": [{"type": "input_text"}]}, "input[1].content[0].text"),
        ({"role": "user", "content": [{"type": "input_image"}]}, "input[1].content[0].image_url"),
        (
            {"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]},
            "input[1].content[0].file_id",
        ),
        (
            {"role": "user", "content": [{"type": "input_file", "file_url": "https://a/b"}]},
            "input[1].content[0].file_url",
        ),
        ({"role": "assistant", "content": [{"type": "input_image", "image_url": PNG}]}, "input[1].content"),
        ({"type": "function_call", "name": "f", "arguments": "{}"}, "input[1].call_id"),
        ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "input[1].arguments"),
        ({"type": "function_call_output", "call_id": "c"}, "input[1].output"),
        ({"type": "function_call_output", "call_id": "c", "output": "x"}, "input"),
        (call("c"), "input"),
        ({"type": "computer_call_output", "call_id": "c", "output": {}}, "input[1].type"),
        ({"type": "compaction", "encrypted_content": "x"}, "input[1].type"),
        ({"type": "item_reference", "id": "msg_1"}, "input[1].id"),
        ({"id": "msg_1"}, "input[1].id"),
    ],
)
def test_a_faulty_item_is_named(item: Json, param: str) -> None:
    error = refusal_of(input=[user("Hi"), item])

    assert error.param == param
    assert param in str(error)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"background": True}, "background"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"moderation": {"model": "omni-moderation-latest"}}, "moderation"),
        ({"input": 5}, "input"),
        ({"input": []}, "input"),
        ({"input": ["text"]}, "input[0]"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"stream": "yes"}, "stream"),
        ({"text": {"format": {"type": "yaml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema"}}}, "text.format"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"truncation": "middle"}, "truncation"),
        ({"instructions": [{"type": "nonsense"}]}, "instructions[0].type"),
        ({"router": {"nonsense": 1}}, "router.nonsense"),
    ],
)
def test_a_field_of_responses_that_breaks_its_rule_is_named(body: Json, param: str) -> None:
    error = refusal_of(**body)

    assert error.param == param
    assert param in str(error)


def test_a_request_without_input_is_refused() -> None:
    error = refusal_of(input=None)

    assert (error.param, str(error)) == ("input", "input: field is required")


def test_wishes_that_the_router_ignores_are_noted() -> None:
    assert read(truncation="auto", max_tool_calls=3).notes == (
        "ignored: truncation auto",
        "ignored: max_tool_calls",
    )
