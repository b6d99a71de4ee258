"""Tools become functions, and the model's calls of functions become items again."""

from __future__ import annotations

from typing import Any

import pytest

from service.dialects.responses.tools import Toolbox
from service.domain.basics import Json
from service.errors import BadRequest
from tests.service.dialects.responses.shared import WEATHER, call, chat_of, messages_of, read, result, user

PATCH: Json = {
    "type": "custom",
    "name": "patch",
    "description": "Applies a patch.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
AGENTS: Json = {
    "type": "namespace",
    "name": "agents",
    "description": "Other agents.",
    "tools": [
        {"type": "function", "name": "wait", "parameters": {"type": "object", "properties": {}}},
        {"type": "custom", "name": "tell"},
    ],
}


def names(chat: Json) -> list[str]:
    return [tool["function"]["name"] for tool in chat.get("tools", [])]


def test_a_function_keeps_its_fields() -> None:
    assert chat_of(tools=[{**WEATHER, "strict": True}])["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather of a city.",
                "parameters": WEATHER["parameters"],
                "strict": True,
            },
        }
    ]


def test_a_function_without_parameters_has_none() -> None:
    function = chat_of(tools=[{"type": "function", "name": "now", "parameters": None, "strict": None}])

    assert function["tools"][0]["function"] == {
        "name": "now",
        "parameters": {"type": "object", "properties": {}},
    }


def test_a_custom_tool_is_a_function_of_one_text_and_shows_its_grammar() -> None:
    function = chat_of(tools=[PATCH])["tools"][0]["function"]

    assert function["name"] == "patch"
    assert function["parameters"]["required"] == ["input"]
    assert "Applies a patch." in function["description"]
    assert "start: /.+/" in function["description"]


def test_the_tools_of_a_namespace_get_its_name() -> None:
    assert names(chat_of(tools=[WEATHER, AGENTS])) == ["weather", "agents__wait", "agents__tell"]


def test_a_call_of_a_namespaces_tool_is_found_again() -> None:
    tool = Toolbox([AGENTS]).called("agents__wait")

    assert (tool.namespace, tool.name, tool.kind.type) == ("agents", "wait", "function")


def test_long_names_of_a_namespace_stay_different_and_short() -> None:
    tools = [{"type": "function", "name": f"{'x' * 60}{n}"} for n in range(3)]
    toolbox = Toolbox([{"type": "namespace", "name": "n" * 40, "description": "", "tools": tools}])

    functions = [f["function"]["name"] for f in toolbox.functions]
    assert all(len(name) <= 64 for name in functions)
    assert [toolbox.called(name).name for name in functions] == [tool["name"] for tool in tools]


def test_odd_names_of_a_namespace_are_those_that_servers_accept() -> None:
    toolbox = Toolbox(
        [{"type": "namespace", "name": "my server", "tools": [{"type": "function", "name": "a.b"}]}]
    )

    (function,) = [f["function"]["name"] for f in toolbox.functions]
    assert function.replace("_", "").replace("-", "").isalnum()
    assert toolbox.called(function).name == "a.b"


def test_a_joined_name_that_is_taken_gets_another() -> None:
    plain = {"type": "function", "name": "agents__wait"}
    toolbox = Toolbox([plain, AGENTS])

    functions = [f["function"]["name"] for f in toolbox.functions]
    assert len(set(functions)) == 3
    assert [toolbox.called(name).namespace for name in functions] == [None, "agents", "agents"]
    assert toolbox.function_of("wait", "agents") == functions[1]


def test_earlier_calls_have_the_names_of_the_offered_functions() -> None:
    long = {"type": "namespace", "name": "n" * 40, "tools": [{"type": "function", "name": "x" * 60}]}
    chat = chat_of(tools=[long], input=[call("a", "x" * 60, namespace="n" * 40), result("a")])

    assert chat["messages"][0]["tool_calls"][0]["function"]["name"] == names(chat)[0]


def test_a_call_of_an_unknown_function_is_a_function_call() -> None:
    tool = Toolbox([WEATHER]).called("invented")

    assert (tool.kind.type, tool.name, tool.namespace) == ("function", "invented", None)


def test_tools_of_the_input_are_offered_too() -> None:
    chat = chat_of(tools=[WEATHER], input=[{"type": "additional_tools", "tools": [PATCH]}, user("Hi")])

    assert names(chat) == ["weather", "patch"]
    assert chat["messages"] == [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize(
    ("kind", "noted"),
    [
        ("web_search", "web_search"),
        ("web_search_preview_2025_03_11", "web_search_preview"),
        ("image_generation", "image_generation"),
    ],
)
def test_a_tool_that_a_model_can_do_without_is_left_out_with_a_note(kind: str, noted: str) -> None:
    query = read(tools=[WEATHER, {"type": kind}, {"type": kind}])

    assert names(query.body) == ["weather"]
    assert query.notes == (f"left out: {noted}",)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "file_search", "vector_store_ids": ["vs_1"]},
        {"type": "mcp", "server_label": "docs", "server_url": "https://a/b"},
        {"type": "code_interpreter", "container": {"type": "auto"}},
        {"type": "computer_use_preview"},
        {"type": "nonsense"},
        {},
    ],
)
def test_a_tool_that_no_model_can_do_without_is_refused_by_name(tool: Json) -> None:
    with pytest.raises(BadRequest) as error:
        read(tools=[WEATHER, tool])

    assert error.value.param == "tools[1].type"
    assert tool.get("type", "None") in str(error.value)


@pytest.mark.parametrize(
    ("tool", "param"),
    [
        ({"type": "function"}, "tools[0].name"),
        ({"type": "function", "name": ""}, "tools[0].name"),
        ({"type": "function", "name": "f", "parameters": "none"}, "tools[0].parameters"),
        ({"type": "custom"}, "tools[0].name"),
        ({"type": "namespace", "tools": []}, "tools[0].name"),
        ({"type": "namespace", "name": "n"}, "tools[0].tools"),
        ({"type": "namespace", "name": "n", "tools": [{"type": "function"}]}, "tools[0].tools[0].name"),
        ({"type": "shell", "environment": {"type": "container_auto"}}, "tools[0].environment.type"),
    ],
)
def test_an_incomplete_tool_is_named(tool: Json, param: str) -> None:
    with pytest.raises(BadRequest) as error:
        read(tools=[tool])

    assert error.value.param == param


# --- the choice


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ({"type": "function", "name": "weather"}, "weather"),
        ({"type": "custom", "name": "patch"}, "patch"),
        ({"type": "function", "name": "wait", "namespace": "agents"}, "agents__wait"),
        ({"type": "function", "name": "wait"}, "agents__wait"),
        ({"type": "shell"}, "shell"),
        ({"type": "apply_patch"}, "apply_patch"),
    ],
)
def test_the_choice_is_that_of_a_function(choice: Any, expected: str) -> None:
    tools = [WEATHER, PATCH, AGENTS, {"type": "shell"}, {"type": "apply_patch"}]
    chat = chat_of(tools=tools, tool_choice=choice)

    forced = {"type": "function", "function": {"name": expected}}
    assert chat["tool_choice"] == (expected if isinstance(choice, str) else forced)
    assert len(chat["tools"]) == 6


def test_allowed_tools_are_the_only_ones_offered() -> None:
    allowed = [{"type": "function", "name": "weather"}, {"type": "web_search"}]
    choice = {"type": "allowed_tools", "mode": "required", "tools": allowed}
    chat = chat_of(tools=[PATCH, WEATHER, {"type": "web_search"}], tool_choice=choice)

    assert names(chat) == ["weather"]
    assert chat["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("choice", "part"),
    [
        ({"type": "web_search"}, "web_search"),
        ({"type": "web_search_preview_2025_03_11"}, "web_search_preview_2025_03_11"),
        ({"type": "file_search"}, "file_search"),
        ({"type": "mcp", "server_label": "docs"}, "mcp"),
        ({"type": "function", "name": "unknown"}, "'unknown' is not in tools"),
        ({"type": "custom", "name": "weather"}, "'weather' is not in tools"),
        ({"type": "shell"}, "'shell' is not in tools"),
        ({"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "x"}]}, "'x'"),
        ("any", "'any'"),
        ({"type": "function"}, "function"),
        ({}, "None"),
    ],
)
def test_a_choice_that_cannot_be_followed_is_refused_by_name(choice: Any, part: str) -> None:
    with pytest.raises(BadRequest, match=part) as error:
        read(tools=[WEATHER, {"type": "web_search"}], tool_choice=choice)

    assert (error.value.param or "").startswith("tool_choice")


def test_a_required_tool_that_was_left_out_is_refused_by_name() -> None:
    with pytest.raises(BadRequest, match="web_search"):
        read(tools=[{"type": "web_search"}], tool_choice="required")


def test_a_required_tool_without_tools_is_refused() -> None:
    with pytest.raises(BadRequest, match="needs tools"):
        read(tool_choice="required")


def test_tools_of_nobody_are_not_offered_to_results() -> None:
    assert messages_of(call(), result())[0]["tool_calls"][0]["function"]["name"] == "weather"
