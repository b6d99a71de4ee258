from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from service.arms.capabilities import needs
from service.dialects.chat.requests import read_query
from service.dialects.received import Received
from service.domain.query import Options, Query
from service.errors import BadRequest

USER = {"role": "user", "content": "Hi"}


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


def refused(body: object, **headers: str) -> BadRequest:
    with pytest.raises(BadRequest) as error:
        read(body, **headers)
    return error.value


# --- bad input


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "body must be JSON in UTF-8"),
        (b"{", "body must be JSON in UTF-8"),
        (b'{"messages": NaN}', "body must be JSON in UTF-8"),
        (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', "body must be JSON in UTF-8"),
        (b'{"messages": [{"role": "user", "content": "\\ud800"}]}', "body must be JSON in UTF-8"),
        (b"[]", "body must be a JSON object, got list"),
        (b'"Hi"', "body must be a JSON object, got str"),
        (b"null", "body must be a JSON object, got NoneType"),
        (b"[" * 100_000, "body must be nested at most 100 levels deep, got 100000"),
        (b'{"messages": ' + b"[" * 500 + b"]" * 500 + b"}", "body must be nested at most 100 levels deep"),
        (
            b'{"messages": ' + b'{"a":' * 500 + b"1" + b"}" * 501,
            "body must be nested at most 100 levels deep",
        ),
    ],
    ids=range(11),
)
def test_a_body_that_is_not_a_json_object_is_rejected(raw: bytes, message: str) -> None:
    error = refused(raw)

    assert message in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"messages": []}, "messages", "at least 1 item"),
        ({"messages": "Hi"}, "messages", "valid list, got 'Hi'"),
        ({"messages": None}, "messages", "valid list"),
        ({"messages": {"role": "user"}}, "messages", "valid list, got an object of 1"),
        ({"messages": ["Hi"]}, "messages[0]", "got 'Hi'"),
        ({"messages": [USER, {"role": "wizard", "content": ""}]}, "messages[1].role", "got 'wizard'"),
        ({"messages": [{"content": "Hi"}]}, "messages[0].role", "field is required"),
        ({"messages": [{"role": "user"}]}, "messages[0]", "content is required for role user"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content", "got 5"),
        ({"messages": [{"role": "user", "content": ["Hi"]}]}, "messages[0].content[0]", "got 'Hi'"),
        ({"messages": [USER] * 10_001}, "messages", "at most 10000 items"),
        ({"stream": "true"}, "stream", "valid boolean, got 'true'"),
        ({"stream": 1}, "stream", "valid boolean, got 1"),
        ({"stream_options": True}, "stream_options", "got True"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options.include_usage", "got 'yes'"),
        ({"model": ""}, "model", "at least 1 character"),
        ({"model": "m" * 129}, "model", "got a string of 129 characters"),
        ({"model": 7}, "model", "valid string, got 7"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1, got 0"),
        ({"max_tokens": "many"}, "max_tokens", "got 'many'"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens", "got 1.5"),
        ({"n": 0}, "n", "got 0"),
        ({"n": 1_000}, "n", "less than or equal to 128, got 1000"),
        ({"temperature": 3}, "temperature", "less than or equal to 2, got 3"),
        ({"top_p": -0.1}, "top_p", "got -0.1"),
        ({"tools": {}}, "tools", "valid list"),
        ({"tools": [{"type": "function"}]}, "tools[0]", "function is required"),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name", "required"),
        (
            {"tools": [{"type": "function", "function": {"name": "f", "parameters": "x"}}]},
            "tools[0].function.parameters",
            "valid dict",
        ),
        ({"response_format": {"type": 7}}, "response_format.type", "valid string"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "json_schema is required"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": 5}}},
            "response_format.json_schema.schema",
            "valid dict",
        ),
        ({"web_search_options": "x"}, "web_search_options", "valid dict"),
        ({"response_format": "json"}, "response_format", "got 'json'"),
        ({"router": []}, "router", "got a list of 0"),
        ({"router": {"modles": ["a"]}}, "router.modles", "not permitted"),
        ({"router": {"no_store": True}}, "router.no_store", "not permitted"),
        ({"router": {"floor": "large"}}, "router.floor", "not permitted"),
        ({"router": {"models": []}}, "router.models", "at least 1 item"),
        ({"router": {"max_cost_usd": 0}}, "router.max_cost_usd", "greater than 0, got 0"),
        ({"router": {"max_cost_usd": "cheap"}}, "router.max_cost_usd", "got 'cheap'"),
        ({"router": {"weights": {"cost": 1}}}, "router.weights.cost", "less than or equal to 0, got 1"),
        ({"router": {"weights": {"speed": 1}}}, "router.weights.speed", "not permitted"),
        ({"router": {"session_id": "s" * 129}}, "router.session_id", "at most 128 characters"),
        (
            {"router": {"task": "two words"}},
            "router.task",
            "1 to 64 visible ASCII characters, got 'two words'",
        ),
        ({"router": {"task": "é"}}, "router.task", "1 to 64 visible ASCII characters, got 'é'"),
        ({"router": {"task": "t" * 65}}, "router.task", "got a string of 65 characters"),
        ({"router": {"task": ""}}, "router.task", "1 to 64 visible ASCII characters, got ''"),
        ({"router": {"task": 7}}, "router.task", "valid string, got 7"),
        ({"router": {"learn": "perhaps"}}, "router.learn", "got 'perhaps'"),
    ],
)
def test_a_broken_rule_is_reported_with_the_field_and_the_value(
    fields: dict[str, Any], param: str, message: str
) -> None:
    error = refused({"messages": [USER], **fields})

    assert error.param == param
    assert str(error).startswith(f"{param}: ")
    assert message in str(error)


def test_messages_are_required() -> None:
    error = refused({"model": "auto"})

    assert (error.param, str(error)) == ("messages", "messages: field is required")


def test_a_refusal_never_repeats_a_prompt() -> None:
    error = refused({"messages": "secret " * 100})

    assert "secret" not in str(error)
    assert "a string of 700 characters" in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = st.fixed_dictionaries(
    {}, optional={"type": JSON | st.just("image_url"), "text": JSON, "image_url": JSON}
)
MESSAGES = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool", "system"])},
    optional={"content": JSON | st.lists(PARTS, max_size=2), "tool_calls": JSON, "name": JSON},
)
FIELDS = ["model", "stream", "stream_options", "max_tokens", "tools", "response_format", "router", "stop"]
BODIES = st.fixed_dictionaries(
    {"messages": JSON | st.lists(MESSAGES, max_size=3)}, optional=dict.fromkeys(FIELDS, JSON)
)


@settings(max_examples=300, deadline=None, database=None, derandomize=True)
@given(BODIES)
def test_any_generated_body_is_read_or_rejected(body: dict[str, Any]) -> None:
    with suppress(BadRequest):
        query = read(json.dumps(body).encode())

        needs(query.body)


# --- what is read


def test_a_query_keeps_every_field_but_the_routers_own() -> None:
    body = {"messages": [USER], "seed": 7, "unknown_field": {"a": 1}, "router": {"learn": False}}

    query = read(body)

    assert query.body == {"messages": [USER], "seed": 7, "unknown_field": {"a": 1}}
    assert query.dialect == "openai"
    assert not query.stream


@pytest.mark.parametrize("name", ["auto", "router/auto", None])
def test_these_models_leave_the_choice_to_the_router(name: str | None) -> None:
    assert read({"messages": [USER], "model": name}).requested_model is None


def test_any_other_model_is_requested_by_name() -> None:
    assert read({"messages": [USER], "model": "acme-0"}).requested_model == "acme-0"


def test_null_counts_as_absent() -> None:
    fields = ["model", "stream", "stream_options", "max_tokens", "tools", "response_format", "router"]

    query = read({"messages": [USER], **dict.fromkeys(fields)})

    assert (query.requested_model, query.stream, query.max_output_tokens) == (None, False, None)


def test_the_new_name_of_max_tokens_overrides_the_old() -> None:
    query = read({"messages": [USER], "max_tokens": 10, "max_completion_tokens": 20})

    assert query.max_output_tokens == 20


def test_an_assistants_message_with_tool_calls_can_have_no_content() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]

    assert read({"messages": messages}).body["messages"] == messages


def test_the_same_body_has_the_same_digest_whatever_the_order_of_its_fields() -> None:
    one = read(b'{"messages": [{"role": "user", "content": "Hi"}], "seed": 1}')
    same = read(b'{"seed":1,"messages":[{"content":"Hi","role":"user"}]}')
    other = read(b'{"seed":2,"messages":[{"content":"Hi","role":"user"}]}')

    assert one.body_digest == same.body_digest != other.body_digest


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([USER], "Hi"),
        ([{"role": "system", "content": "Be brief."}, USER], "Hi"),
        ([USER, {"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Why?"}], "Why?\nHi"),
        (
            [
                USER,
                {"role": "assistant", "content": None, "tool_calls": []},
                {"role": "tool", "content": "42"},
            ],
            "Hi",
        ),
        (
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "Look:"},
                        {"type": "image_url", "image_url": {"url": "data:,"}},
                        {"type": "text", "text": "what is it?"},
                    ],
                }
            ],
            "Look:\nwhat is it?",
        ),
        ([USER, {"role": "user", "content": "  "}], "Hi"),
        ([{"role": "system", "content": "Be brief."}], "Be brief."),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}], ""),
    ],
    ids=range(8),
)
def test_the_context_is_made_from_the_users_newest_questions(messages: list[Any], text: str) -> None:
    assert read({"messages": messages}).text == text


def test_the_prompts_tokens_count_all_messages_and_tools() -> None:
    short = read({"messages": [USER]}).n_prompt_tokens
    history = read({"messages": [{"role": "system", "content": "x" * 4_000}, USER]}).n_prompt_tokens
    tools = read({"messages": [USER], "tools": [{"description": "x" * 4_000}]}).n_prompt_tokens
    calls = [{"role": "assistant", "tool_calls": [{"function": {"arguments": "x" * 4_000}}]}, USER]

    assert history - short == pytest.approx(1_000, abs=5)
    assert tools - short == pytest.approx(1_000, abs=10)
    assert read({"messages": calls}).n_prompt_tokens - short == pytest.approx(1_000, abs=20)


# --- options


def test_a_request_without_options_leaves_everything_to_the_operator() -> None:
    assert read({"messages": [USER]}).options == Options()


OPTIONS = Options(
    models=frozenset({"a", "b"}),
    max_cost_usd=Decimal("0.01"),
    feedback_weight=1.0,
    latency_weight=0.5,
    cost_weight=-0.3,
    session_id="s-1",
    task="triage/v2",
    learn=False,
    explain=True,
)


def test_options_are_read_from_the_body() -> None:
    weights = {"feedback": 1, "latency": 0.5, "cost": -0.3}
    router = {
        "models": ["a", "b"],
        "max_cost_usd": 0.01,
        "weights": weights,
        "session_id": "s-1",
        "task": "triage/v2",
        "learn": False,
        "explain": True,
    }

    assert read({"messages": [USER], "router": router}).options == OPTIONS


def test_options_are_read_from_headers() -> None:
    query = read(
        {"messages": [USER]},
        X_Router_Models="a, b",
        X_Router_Max_Cost_Usd="0.01",
        X_Router_Feedback_Weight="1",
        X_Router_Latency_Weight="0.5",
        X_Router_Cost_Weight="-0.3",
        X_Router_Session_Id="s-1",
        X_Router_Task="triage/v2",
        X_Router_Learn="false",
        X_Router_Explain="true",
    )

    assert query.options == OPTIONS


def test_the_body_overrides_the_headers_option_by_option() -> None:
    router = {"learn": True, "weights": {"cost": -1}, "models": ["c"], "task": "sort"}

    options = read(
        {"messages": [USER], "router": router},
        X_Router_Learn="false",
        X_Router_Models="a,b",
        X_Router_Task="chat",
        X_Router_Session_Id="s-1",
        X_Router_Cost_Weight="0",
        X_Router_Feedback_Weight="2",
    ).options

    assert options == Options(
        models=frozenset({"c"}),
        session_id="s-1",
        task="sort",
        cost_weight=-1,
        feedback_weight=2,
        learn=True,
    )


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Router-Learn", "perhaps"),
        ("X-Router-Explain", ""),
        ("X-Router-Max-Cost-Usd", "NaN"),
        ("X-Router-Max-Cost-Usd", "-1"),
        ("X-Router-Models", " , "),
        ("X-Router-Models", "a," + "b" * 129),
        ("X-Router-Session-Id", "s" * 129),
        ("X-Router-Task", "two words"),
        ("X-Router-Task", ""),
        ("X-Router-Cost-Weight", "0.5"),
        ("X-Router-Feedback-Weight", "inf"),
        ("X-Router-Latency-Weight", "fast"),
    ],
)
def test_a_broken_option_header_is_named(header: str, value: str) -> None:
    error = refused({"messages": [USER]}, **{header: value})

    assert error.param == header
    assert str(error).startswith(f"{header}: ")
