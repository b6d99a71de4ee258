from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.arms.capabilities import needs
from service.dialects.messages.requests import prompt_tokens, read_query
from service.dialects.messages.translation import translated
from service.dialects.received import Received
from service.domain.basics import Json
from service.domain.query import Query
from service.domain.tokens import FILE_TOKENS
from service.errors import BadRequest

USER = {"role": "user", "content": "Hi"}
PNG = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
IMAGE = {"type": "image", "source": PNG}
IMAGE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
USE = {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1, "b": "ü"}}
CALL = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "add", "arguments": '{"a":1,"b":"ü"}'},
}
ADD = {"name": "add", "description": "adds", "input_schema": {"type": "object"}}
ADD_FUNCTION = {
    "type": "function",
    "function": {"name": "add", "parameters": {"type": "object"}, "description": "adds"},
}
THINKING = {"type": "thinking", "thinking": "hm", "signature": "EqQB+/=="}


def text(content: str, **more: object) -> Json:
    return {"type": "text", "text": content, **more}


def read(body: object, **headers: str) -> Query:
    """The query in a body, and in headers written with underscores."""
    return read_query(
        body if isinstance(body, bytes) else orjson.dumps(body),
        Received(
            headers=Headers({name.replace("_", "-"): value for name, value in headers.items()}),
            tenant="default",
            request_id="r-1",
            request_id_given=True,
            received_at=datetime(2026, 11, 20, tzinfo=UTC),
        ),
    )


def asking(*messages: Json, **more: object) -> Json:
    return {"messages": list(messages or [USER]), "max_tokens": 50, **more}


def translate(*messages: Json, **more: object) -> tuple[Json, tuple[str, ...]]:
    return translated(read(asking(*messages, **more)).native.body)  # type: ignore[union-attr]


# --- bad input


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"max_tokens": None}, "max_tokens", "valid integer"),
        ({"max_tokens": -1}, "max_tokens", "got -1"),
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "got 'tool'"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "field is required"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content", "got None"),
        ({"messages": [{"role": "user", "content": [{}]}]}, "messages[0].content[0].type", "is required"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0]",
            "text is required for type text, and must be a string",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
            "messages[0].content[0]",
            "source.url is required",
        ),
        (
            {"messages": [{"role": "assistant", "content": [{**USE, "input": "x"}]}]},
            "messages[0].content[0]",
            "input is required for type tool_use, and must be an object",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t"}]}]},
            "messages[0].content[0].tool_use_id",
            "must be the id of an earlier tool_use block",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "content": [USE]},
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"x": 1}]}],
                    },
                ]
            },
            "messages[1].content[0].content[0].type",
            "field is required",
        ),
        ({"system": [{"type": "image"}]}, "system[0].type", "got 'image'"),
        ({"tools": [{"name": "add"}]}, "tools[0]", "name and input_schema are required"),
        ({"tool_choice": {"type": "auto"}}, "body", "tool_choice needs tools"),
        ({"tools": [ADD], "tool_choice": {"type": "must"}}, "tool_choice.type", "got 'must'"),
        ({"tools": [ADD], "tool_choice": {"type": "tool"}}, "tool_choice", "name is required for type tool"),
        ({"temperature": 1.5}, "temperature", "got 1.5"),
        ({"stop_sequences": "END"}, "stop_sequences", "got 'END'"),
        ({"thinking": True}, "thinking", "got True"),
        ({"output_config": {"effort": 3}}, "output_config.effort", "got 3"),
        ({"router": {"model": "x"}}, "router.model", "Extra inputs are not permitted"),
    ],
    ids=range(22),
)
def test_a_broken_rule_is_named_with_its_field(fields: Json, param: str, message: str) -> None:
    with pytest.raises(BadRequest) as error:
        read({**asking(), **fields})

    assert str(error.value).startswith(param)
    assert message in str(error.value)
    assert error.value.param == (None if param == "body" else param)


def test_max_tokens_is_required() -> None:
    with pytest.raises(BadRequest, match="max_tokens: field is required"):
        read({"messages": [USER]})


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
KINDS = ["text", "image", "document", "tool_use", "tool_result", "thinking", "web_search_tool_result", "x"]
BLOCKS = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | ANYTHING},
    optional={
        "text": st.just("Hi") | ANYTHING,
        "source": st.sampled_from([PNG, {"type": "text", "data": "x"}, {"type": "file", "file_id": "f"}])
        | ANYTHING,
        "id": st.just("t"),
        "tool_use_id": st.just("t"),
        "name": st.just("add"),
        "input": st.just({"type": ["a"]}) | ANYTHING,
        "content": st.just([text("Hi")]) | ANYTHING,
        "title": ANYTHING,
    },
)
BODIES = st.fixed_dictionaries(
    {
        "max_tokens": st.just(5),
        "messages": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "assistant", "system"]), "content": st.lists(BLOCKS)}
            ),
            min_size=1,
            max_size=3,
        ),
    },
    optional={
        "system": st.just([text("Be brief.")]) | ANYTHING,
        "tools": st.just([ADD, {"type": "web_search_20250305", "name": "web_search"}]) | ANYTHING,
        "tool_choice": st.just({"type": "any"}) | ANYTHING,
        "thinking": st.just({"type": "enabled", "budget_tokens": 2000}) | ANYTHING,
        "output_config": st.just({"format": {"type": "json_schema", "schema": {}}}) | ANYTHING,
        "stop_sequences": st.just(["END"]) | ANYTHING,
        "container": ANYTHING,
    },
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(BODIES)
def test_any_body_is_read_or_refused(body: Json) -> None:
    with suppress(BadRequest):
        query = read(body)

        assert json.loads(json.dumps(query.body)) == query.body
        assert needs(query.body) >= set()
        assert query.n_prompt_tokens >= 0


# --- the query


def test_a_field_that_a_block_does_not_have_may_be_anything() -> None:
    query = read(asking({"role": "user", "content": [text("Hi", source=1)]}))

    assert query.text == "Hi"


def test_the_native_request_is_unchanged_except_for_the_routers_options() -> None:
    body = asking({"role": "user", "content": [text("Hi", cache_control={"type": "ephemeral"})]}, future=[1])

    query = read(
        {**body, "router": {"models": ["a"]}}, anthropic_beta="b-1,b-2", anthropic_version="2024-01-01"
    )

    assert query.native is not None
    assert query.native.body == body
    assert query.native.headers == {"anthropic-version": "2024-01-01", "anthropic-beta": "b-1,b-2"}
    assert query.options.models == frozenset({"a"})
    assert (query.dialect, query.max_output_tokens) == ("anthropic", 50)


def test_the_version_has_a_default() -> None:
    query = read(asking())

    assert query.native is not None
    assert query.native.headers == {"anthropic-version": "2023-06-01"}


def test_strings_survive_reading_and_writing_to_the_last_byte() -> None:
    strange = 'é\\u2028\\u0000 \\"<>&/ \\ud83d\\ude00 EqQB+/=='
    raw = b'{"max_tokens": 5, "messages": [{"role": "user", "content": "%s"}]}' % strange.encode()

    native = read(raw).native

    assert native is not None
    assert orjson.loads(orjson.dumps(native.body)) == json.loads(raw)


@pytest.mark.parametrize(
    ("messages", "asked_for"),
    [
        ([USER], "Hi"),
        ([{"role": "user", "content": "one"}, {"role": "assistant", "content": "two"}], "one"),
        ([{"role": "user", "content": [text("a"), IMAGE, text("b")]}], "a\nb"),
        (
            [
                {
                    "role": "user",
                    "content": [text("<system-reminder>Be nice.</system-reminder>"), text("Go on")],
                }
            ],
            "Go on",
        ),
        ([{"role": "user", "content": "x<system-reminder>y</system-reminder>z"}], "xz"),
        ([{"role": "user", "content": "x<system-reminder>y"}], "x<system-reminder>y"),
        (
            [
                {"role": "user", "content": "Add these"},
                {"role": "assistant", "content": [USE]},
                {
                    "role": "user",
                    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "3"}],
                },
            ],
            "Add these",
        ),
    ],
    ids=range(7),
)
def test_the_context_is_made_from_the_users_question(messages: list[Json], asked_for: str) -> None:
    assert read(asking(*messages)).text == asked_for


# --- in OpenAI's form


@pytest.mark.parametrize(
    ("messages", "openai"),
    [
        ([USER], [USER]),
        ([{"role": "user", "content": [text("Hi", cache_control={})]}], [USER]),
        (
            [{"role": "user", "content": [text("What is it?"), IMAGE]}],
            [{"role": "user", "content": [text("What is it?"), IMAGE_PART]}],
        ),
        (
            [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://x"}}]}],
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x"}}]}],
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "document",
                            "title": "a.pdf",
                            "source": {**PNG, "media_type": "application/pdf"},
                        },
                        {"type": "document", "source": {"type": "text", "data": "words"}},
                    ],
                }
            ],
            [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "file",
                            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"},
                        },
                        text("words"),
                    ],
                }
            ],
        ),
        (
            [
                {"role": "assistant", "content": [THINKING, text("I add."), USE]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("3"), IMAGE]},
                        text("And now?"),
                    ],
                },
            ],
            [
                {"role": "assistant", "content": "I add.", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "3"},
                {"role": "user", "content": [IMAGE_PART, text("And now?")]},
            ],
        ),
        (
            [
                {"role": "assistant", "content": [USE]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": True, "content": "no"}
                    ],
                },
            ],
            [
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "toolu_1", "content": "Error: no"},
            ],
        ),
        ([{"role": "assistant", "content": [THINKING]}, USER], [USER]),
        ([{"role": "user", "content": []}], [{"role": "user", "content": ""}]),
        (
            [{"role": "system", "content": "Now be brief."}, USER],
            [{"role": "system", "content": "Now be brief."}, USER],
        ),
    ],
    ids=range(10),
)
def test_messages_are_translated(messages: list[Json], openai: list[Json]) -> None:
    body, needs = translate(*messages)

    assert body["messages"] == openai
    assert needs == ()


@pytest.mark.parametrize(
    ("fields", "openai"),
    [
        ({"stop_sequences": ["END"]}, {"stop": ["END"]}),
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"metadata": {"user_id": "u"}, "service_tier": "auto", "cache_control": {}}, {}),
        ({"tools": [ADD]}, {"tools": [ADD_FUNCTION]}),
        (
            {"tools": [ADD], "tool_choice": {"type": "auto"}},
            {"tools": [ADD_FUNCTION], "tool_choice": "auto"},
        ),
        (
            {"tools": [ADD], "tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
            {"tools": [ADD_FUNCTION], "tool_choice": "required", "parallel_tool_calls": False},
        ),
        (
            {"tools": [ADD], "tool_choice": {"type": "none"}},
            {"tools": [ADD_FUNCTION], "tool_choice": "none"},
        ),
        (
            {"tools": [ADD], "tool_choice": {"type": "tool", "name": "add"}},
            {
                "tools": [ADD_FUNCTION],
                "tool_choice": {"type": "function", "function": {"name": "add"}},
            },
        ),
        ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, {"reasoning_effort": "low"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, {"reasoning_effort": "medium"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 32_000}}, {"reasoning_effort": "high"}),
        ({"thinking": {"type": "enabled"}}, {}),
        ({"thinking": {"type": "adaptive"}}, {}),
        (
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
            {"reasoning_effort": "high"},
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": False},
                }
            },
        ),
    ],
    ids=range(15),
)
def test_fields_are_translated(fields: Json, openai: Json) -> None:
    body, needs = translate(**fields)

    assert body == {"messages": [USER], "max_tokens": 50, **openai}
    assert needs == ()


def test_the_system_prompt_comes_first_without_the_line_that_names_the_client() -> None:
    system = [text("x-anthropic-billing-header: cc_version=1"), text("Be brief."), text("Be kind.")]

    body, _ = translate(system=system)

    assert body["messages"] == [{"role": "system", "content": "Be brief.\n\nBe kind."}, USER]


def test_text_after_the_line_that_names_the_client_stays() -> None:
    body, _ = translate(system="x-anthropic-billing-header: cc_version=1\nBe brief.")

    assert body["messages"] == [{"role": "system", "content": "Be brief."}, USER]


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tool web_search_20250305"),
        ({"mcp_servers": [{}]}, "mcp_servers"),
        ({"container": "c"}, "container"),
        ({"top_k": 5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens 0"),
        ({"messages": [USER, {"role": "assistant", "content": "I"}]}, "continuing a begun answer"),
        ({"messages": [{"role": "user", "content": [{"type": "search_result"}]}]}, "search_result blocks"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}],
                    }
                ]
            },
            "image from file",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {"type": "search_result", "content": [text("a")], "citations": {"enabled": True}}
                        ],
                    }
                ]
            },
            "search_result blocks",
        ),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [
                            {
                                "type": "document",
                                "source": {"type": "content", "content": [{"type": "image"}]},
                            }
                        ],
                    }
                ]
            },
            "document from content",
        ),
    ],
    ids=range(10),
)
def test_a_feature_that_other_vendors_lack_is_named(fields: Json, what: str) -> None:
    native = read({**asking(), **fields}).native

    assert native is not None
    assert native.needs == (what,)


SEARCH: Json = {"type": "tool_use", "id": "t", "name": "search", "input": {}}


@pytest.mark.parametrize(
    ("block", "told"),
    [
        ({"type": "tool_reference", "tool_name": "mcp__files__read"}, "Tool: mcp__files__read"),
        (
            {"type": "search_result", "title": "Rivers", "source": "https://r", "content": [text("Long.")]},
            "Rivers https://r\nLong.",
        ),
        (
            {"type": "web_page", "url": "https://r", "cache_control": {}},
            '{"type":"web_page","url":"https://r"}',
        ),
        ({"type": "tool_reference"}, '{"type":"tool_reference"}'),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) else "",
)
def test_blocks_that_only_anthropic_knows_are_text_in_the_result_of_a_tool(block: Json, told: str) -> None:
    content = [text("Found:"), block]
    returned = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": content}]}

    body, needs = translate(messages=[USER, {"role": "assistant", "content": [SEARCH]}, returned])

    assert body["messages"][-1] == {"role": "tool", "tool_call_id": "t", "content": f"Found:\n{told}"}
    assert needs == ()


def test_an_image_in_the_result_of_a_tool_stays_an_image() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    returned = {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [image, {"type": "tool_reference", "tool_name": "a"}],
    }

    body, _ = translate(
        messages=[USER, {"role": "assistant", "content": [SEARCH]}, {"role": "user", "content": [returned]}]
    )

    assert body["messages"][-2]["content"] == "Tool: a"
    assert body["messages"][-1]["content"][0]["type"] == "image_url"


def test_calls_of_tools_that_anthropic_runs_are_text_in_the_history() -> None:
    used = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    found = {
        "type": "web_search_tool_result",
        "tool_use_id": "srvtoolu_1",
        "content": [{"type": "web_search_result", "url": "https://r", "encrypted_content": "Eo8C"}],
    }

    body, needs = translate(
        messages=[USER, {"role": "assistant", "content": [used, found, text("So.")]}, USER]
    )

    said = body["messages"][1]["content"]
    assert '"name":"web_search","input":{"query":"x"}' in said
    assert '"url":"https://r"' in said
    assert said.endswith("So.")
    assert "Eo8C" not in said
    assert needs == ()


def test_a_search_for_tools_is_left_out_because_other_vendors_get_all_tools() -> None:
    tools = [
        {"type": "tool_search_tool_regex_20251119", "name": "s"},
        {"name": "a", "input_schema": {}, "defer_loading": True},
    ]

    body, needs = translate(tools=tools)

    assert [tool["function"]["name"] for tool in body["tools"]] == ["a"]
    assert needs == ()


def test_a_document_of_texts_and_a_search_result_are_texts() -> None:
    document = {"type": "document", "source": {"type": "content", "content": [text("a"), text("b")]}}
    result = {"type": "search_result", "title": "T", "source": "s", "content": [text("c")]}

    body, needs = translate(messages=[{"role": "user", "content": [document, result]}])

    assert body["messages"][0]["content"] == "a\nb\n\nT s\nc"
    assert needs == ()


CLOSED: Json = {
    "type": "object",
    "properties": {"a": {"type": "string"}},
    "required": ["a"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({"type": "object", "properties": {}, "additionalProperties": False}, True),
        ({**CLOSED, "required": []}, False),
        ({name: value for name, value in CLOSED.items() if name != "required"}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({"type": "object"}, False),
        ({"type": ["object", "null"]}, False),
        ({"type": "array", "items": CLOSED}, True),
        ({"type": "array", "items": {**CLOSED, "required": []}}, False),
        ({**CLOSED, "properties": {"a": {**CLOSED, "required": []}}}, False),
        ({**CLOSED, "$defs": {"b": {"type": "object"}}}, False),
        ({"anyOf": [CLOSED, {"type": "object"}]}, False),
        ({**CLOSED, "properties": "odd"}, False),
    ],
)
def test_a_schema_is_strict_only_if_openai_accepts_it_so(schema: Json, strict: bool) -> None:
    tool = {"name": "add", "input_schema": schema, "strict": True}

    body, _ = translate(output_config={"format": {"type": "json_schema", "schema": schema}}, tools=[tool])

    assert body["response_format"]["json_schema"]["strict"] is strict
    assert body["tools"][0]["function"]["strict"] is strict


def test_the_older_name_of_the_answers_format_is_translated_too() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}

    body, needs = translate(output_format={"type": "json_schema", "schema": schema})

    assert body["response_format"]["json_schema"]["schema"] == schema
    assert "output_format" not in needs


@pytest.mark.parametrize("form", ["odd", ["odd"], {"type": "grammar"}, {"schema": "odd"}])
def test_an_older_format_without_a_schema_needs_anthropic(form: object) -> None:
    body, needs = translate(output_format=form)

    assert "response_format" not in body
    assert needs == ("output_format",)


def test_parts_of_text_become_one_string() -> None:
    texts = [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    image = {"type": "image", "source": {"type": "url", "url": "https://a.example/b.png"}}

    of_text = translate(messages=[{"role": "user", "content": texts}])[0]["messages"]
    mixed = translate(messages=[{"role": "user", "content": [*texts, image]}])[0]["messages"]

    assert of_text == [{"role": "user", "content": "One.\n\nTwo."}]
    assert [part["type"] for part in mixed[0]["content"]] == ["text", "text", "image_url"]


def test_an_empty_field_excludes_no_vendor() -> None:
    native = read({**asking(), "mcp_servers": []}).native

    assert native is not None
    assert native.needs == ()


# --- tokens


@pytest.mark.parametrize(
    ("body", "n_tokens"),
    [
        ({"messages": [{"role": "user", "content": "x" * 400}]}, 100),
        ({"messages": [{"role": "user", "content": [text("ü" * 200)]}]}, 100),
        ({"messages": [{"role": "user", "content": "xxxx"}], "system": "x" * 396}, 100),
        ({"messages": [{"role": "user", "content": ""}], "tools": [{"name": "x" * 387}]}, 100),
        ({"messages": [{"role": "user", "content": [IMAGE, text("x" * 400)]}]}, 100 + FILE_TOKENS),
        ({"messages": [{"role": "assistant", "content": [{**THINKING, "thinking": "x" * 400}]}]}, 100),
        ({"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]}, 0),
    ],
    ids=range(7),
)
def test_tokens_are_estimated_from_bytes_and_files(body: Json, n_tokens: int) -> None:
    assert prompt_tokens(body) == n_tokens


def test_no_key_of_the_body_reaches_the_translation_by_itself() -> None:
    body: dict[str, Any] = asking(api_base="http://evil", api_key="k", extra_headers={"a": "b"})

    assert translated(body)[0].keys() == {"messages", "max_tokens"}
