"""Which faults of an answer are detected."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest

from service.completion.faults import failed_arms, fault_of
from service.completion.model_call import ModelCall
from service.domain.answer import Answer, Attempt, Chunk, Usage
from service.domain.basics import Json
from service.domain.feedback import Signal
from service.domain.query import Options, Query
from tests.service.world import SMALL

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
FORM = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
JSON_SCHEMA = {"type": "json_schema", "json_schema": {"name": "number", "schema": FORM}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": FORM, "strict": True}}
LAX_TOOL = {"type": "function", "function": {"name": "add", "parameters": FORM}}


def a_call(max_output_tokens: int | None = None, **body: Any) -> ModelCall:
    query = Query(
        tenant="default",
        request_id="r1",
        request_id_given=True,
        body={"messages": [{"role": "user", "content": "Why?"}], **body},
        text="Why?",
        body_digest=b"1",
        dialect="openai",
        requested_model=None,
        stream=False,
        n_prompt_tokens=1,
        max_output_tokens=max_output_tokens,
        options=Options(),
        received_at=NOW,
    )
    return ModelCall(query, SMALL, 1.0, NOW)


def answered(
    call: ModelCall, content: object = "", finish_reason: str = "stop", **message: object
) -> ModelCall:
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content, **message},
        "finish_reason": finish_reason,
    }
    call.received(Answer({"choices": [choice]}, Usage()), NOW)
    return call


def tool_call(arguments: str, name: str = "add") -> list[Json]:
    return [{"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}]


@pytest.mark.parametrize(
    ("content", "finish_reason", "message", "signal"),
    [
        ("Because.", "stop", {}, None),
        ("", "stop", {"refusal": "No."}, "refusal"),
        ("Beca", "content_filter", {}, "refusal"),
        ("", "content_filter", {}, "refusal"),
        ("I\u2019m sorry, but I can\u2019t help with that.", "stop", {}, "refusal"),
        ("As an AI language model, I cannot assist with this request.", "stop", {}, "refusal"),
        ("I'm sorry to hear that. Here is what helps: water.", "stop", {}, None),
        ("Dear Ann, I can't help thinking of you.", "stop", {}, None),
        ("I can't help with the first. " + "But as to the second: " * 20, "stop", {}, None),
        ("", "stop", {}, "empty"),
        (None, "stop", {}, "empty"),
        (" \n", "stop", {}, "empty"),
        ("", "length", {}, "empty"),
        ("", "stop", {"reasoning_content": "Let me think."}, "empty"),
        (None, "tool_calls", {"tool_calls": tool_call("{}")}, None),
        (None, "function_call", {"function_call": {"name": "add", "arguments": "{}"}}, None),
        (None, "stop", {"audio": {"data": "AAAA"}}, None),
        ("Because it", "length", {}, "truncated"),
    ],
)
def test_an_answer_has_one_fault_at_most(
    content: object, finish_reason: str, message: Json, signal: Signal | None
) -> None:
    assert fault_of(answered(a_call(), content, finish_reason, **message)) == signal


@pytest.mark.parametrize(("allowed", "signal"), [(None, "truncated"), (2048, "truncated"), (2047, None)])
def test_truncation_is_no_fault_when_the_client_allows_few_tokens(
    allowed: int | None, signal: Signal | None
) -> None:
    by_default = a_call()
    by_default.default_max_tokens = allowed

    assert fault_of(answered(a_call(allowed), "Because it", "length")) == signal
    assert fault_of(answered(by_default, "Because it", "length")) == signal


@pytest.mark.parametrize(
    ("body", "content", "signal"),
    [
        ({"response_format": JSON_SCHEMA}, '{"n": 1}', None),
        ({"response_format": JSON_SCHEMA}, '{"n": "1"}', "invalid_schema"),
        ({"response_format": JSON_SCHEMA}, 'Sure! {"n": 1}', "invalid_schema"),
        ({"response_format": JSON_SCHEMA, "n": 2}, '{"n": 1}{"n": 1}', None),
        ({"response_format": {"type": "json_schema"}}, "{}", None),
        ({"response_format": {"type": "json_schema"}}, "{", "invalid_schema"),
        ({"response_format": {"type": "json_object"}}, '{"m": 1}', None),
        ({"response_format": {"type": "json_object"}}, "[1]", "invalid_schema"),
        ({"response_format": {"type": "text"}}, "{", None),
    ],
)
def test_an_answer_must_have_the_requested_format(body: Json, content: str, signal: Signal | None) -> None:
    assert fault_of(answered(a_call(**body), content)) == signal


@pytest.mark.parametrize(
    ("tool", "calls", "signal"),
    [
        (TOOL, tool_call('{"n": 1}'), None),
        (TOOL, tool_call('{"n": "one"}'), "invalid_schema"),
        (TOOL, tool_call('{"n": 1'), "invalid_schema"),
        (TOOL, tool_call("?", name="other"), None),
        (TOOL, [1, {"function": None}], None),
        (LAX_TOOL, tool_call('{"n": "one"}'), None),
    ],
)
def test_a_call_of_a_strict_tool_must_fit_its_schema(
    tool: Json, calls: list[Json], signal: Signal | None
) -> None:
    assert fault_of(answered(a_call(tools=[tool]), None, "tool_calls", tool_calls=calls)) == signal


def test_the_arguments_of_a_streamed_tool_call_are_put_together() -> None:
    call = a_call(tools=[TOOL])
    for function in ({"name": "add", "arguments": ""}, {"arguments": '{"n":'}, {"arguments": ' "one"}'}):
        delta = {"tool_calls": [{"index": 0, "function": function}]}
        call.received_burst([Chunk({"choices": [{"index": 0, "delta": delta}]})], NOW)

    assert call.tool_calls[0].arguments == '{"n": "one"}'
    assert fault_of(call) == "invalid_schema"


def an_attempt(arm_id: str, error_type: str | None, status: int | None = None) -> Attempt:
    return Attempt(
        attempt_id=uuid4(),
        decision_id=uuid4(),
        position=0,
        arm_id=arm_id,
        propensity=1.0,
        status="failed",
        started_at=NOW,
        latency_s=1.0,
        cost_usd=Decimal(0),
        error_type=error_type,
        upstream_status=status,
    )


@pytest.mark.parametrize(
    ("error_type", "status", "counts"),
    [
        ("ProviderTimeout", None, True),
        ("ProviderBroken", 500, True),
        ("ProviderBroken", None, True),
        ("ProviderBroken", 401, False),
        ("ProviderRateLimited", 429, False),
        ("ProviderRejected", 400, False),
    ],
)
def test_a_failure_counts_against_the_arm_only_if_it_is_the_arms_fault(
    error_type: str, status: int | None, counts: bool
) -> None:
    assert failed_arms([an_attempt("a", error_type, status)]) == (["a"] if counts else [])


def test_an_arm_that_failed_twice_is_named_once_and_a_disconnect_is_no_fault() -> None:
    failed = an_attempt("a", "ProviderTimeout")

    assert failed_arms([failed, failed, replace(failed, arm_id="b", status="cancelled")]) == ["a"]
