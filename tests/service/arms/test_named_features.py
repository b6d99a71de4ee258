"""What a refusal says of the request: which of its features the model cannot do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from service.arms.features import features_of
from service.arms.named_features import refused_features
from service.domain.query import Native, Query
from service.errors import ProviderRejected
from tests.service.arms.test_catalog import query

IMAGE: dict[str, Any] = {
    "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]
}
SCHEMA = {"type": "object", "properties": {"seed": {"type": "string", "minLength": 3}}}
TOOLS: dict[str, Any] = {"tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}]}
EFFORT: dict[str, Any] = {"reasoning_effort": "high"}
JSON_SCHEMA: dict[str, Any] = {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}}
ADAPTIVE: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
SYSTEM_LATER: dict[str, Any] = {
    "messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "Be brief."}]
}


def chat(fields: dict[str, Any]) -> Query:
    return replace(query(), body={**query().body, **fields})


def named(asked: Query, sentence: str, **refusal: Any) -> set[str]:
    error = ProviderRejected(sentence, status=400, **refusal)
    return set(refused_features(features_of(asked), error))


@pytest.mark.parametrize(
    ("fields", "sentence", "features"),
    [
        (EFFORT, "Unrecognized request argument supplied: reasoning_effort", {"reasoning_effort"}),
        (EFFORT, "reasoning_effort isn't available on this deployment", {"reasoning_effort"}),
        (EFFORT, "'effort' was not recognised", {"reasoning_effort"}),
        (EFFORT, "Thinking mode can't be used with this model", {"reasoning_effort"}),
        (EFFORT | TOOLS, "Function tools with reasoning_effort are not supported.", {*EFFORT, "tools"}),
        (TOOLS, "Tool use has not been enabled for this model", {"tools"}),
        (TOOLS, "当前模型暂不支持 tools 参数", {"tools"}),
        (TOOLS, "For 'string' type, property 'minLength' is not supported", {"schema.minLength"}),
        (TOOLS | {"tool_choice": "required"}, "tool_choice required: unsupported", {"tool_choice=required"}),
        (TOOLS | {"parallel_tool_calls": True}, "no parallel tool calls", {"parallel_tool_calls", "tools"}),
        (IMAGE, "This model only accepts text", {"images"}),
        (IMAGE, "model lacks vision capability", {"images"}),
        (IMAGE, "该模型不支持图片输入", {"images"}),
        (IMAGE, "At most 0 image(s) may be provided in one request.", {"images"}),
        (JSON_SCHEMA, "Structured outputs are unavailable here", {"json_schema"}),
        (JSON_SCHEMA, "response_format of this type is not supported", {"json_schema"}),
        ({"response_format": {"type": "json_object"}}, "JSON mode is disabled", {"json_object"}),
        ({"seed": 7}, "The parameter seed is disabled", {"seed"}),
        ({"seed": 7}, "Please remove `seed`; this model ignores it", {"seed"}),
        ({"logprobs": True}, "`logprobs` must be omitted for this model", {"logprobs"}),
        ({"n": 3}, "Only one candidate can be specified", {"n"}),
        ({"stream": True}, "streamed responses are not possible", {"stream"}),
        ({"service_tier": "flex"}, "service_tier flex is not available", {"service_tier=flex"}),
        ({"temperature": 0.2}, "Only the default (1) value of temperature is supported.", {"temperature"}),
        ({"seed": 1, "top_p": 0.5}, "`seed` and `top_p` cannot both be set", {"seed", "top_p"}),
        ({"stop": ["x"]}, "stop sequences are not supported", {"stop"}),
        ({"user": "u"}, "Unknown parameter: 'user'", {"user"}),
        (SYSTEM_LATER, 'Unexpected role "system".', {"system message in mid-conversation"}),
        (EFFORT | {"stop": ["x"]}, "stop is not supported with reasoning models", {"stop"}),
        ({"stop": ["x"], "n": 2}, "Unsupported parameter(s): stop, n", {"stop", "n"}),
        ({"n": 2}, "one choice per request: n=2 is rejected", {"n"}),
        ({"user": "u"}, "extra fields not permitted: user", {"user"}),
        ({"verbosity": "low"}, "This deployment predates the verbosity setting", {"verbosity"}),
        (JSON_SCHEMA, "json_schema response format needs a newer model", {"json_schema"}),
        (TOOLS, "Function calling is in private preview for this model", {"tools"}),
        ({"service_tier": "flex"}, "Flex processing is not available for this model.", {"service_tier=flex"}),
        (EFFORT, "reasoning_effort=high unsupported; allowed: none, low", {"reasoning_effort=high"}),
        (EFFORT | {"seed": 0}, "seed can't be combined with reasoning here", {"seed", *EFFORT}),
        ({"temperature": 0}, "'temperature' does not support 0.0 with this model", {"temperature"}),
        ({"a_new_field": {"deep": 1}}, "a_new_field: Extra inputs are not permitted", {"a_new_field"}),
    ],
)  # fmt: skip
def test_a_refusal_names_a_feature_that_the_request_has(
    fields: dict[str, Any], sentence: str, features: set[str]
) -> None:
    assert named(chat(fields), sentence) == features


@pytest.mark.parametrize(
    ("fields", "sentence", "features"),
    [
        (ADAPTIVE, "adaptive thinking is not supported on this model", {"thinking=adaptive"}),
        (ADAPTIVE, "This model does not support the effort parameter.", {"reasoning_effort"}),
        (
            {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            "Input tag 'web_search_20250305' found using 'type' does not match any of the expected tags",
            {"tools.type=web_search_20250305"},
        ),
        (
            {"tools": [{"name": "f", "defer_loading": True, "input_schema": {}}]},
            "tools.0.custom.defer_loading: Extra inputs are not permitted",
            {"tools.defer_loading"},
        ),
    ],
)
def test_a_refusal_names_a_feature_of_a_messages_request(
    fields: dict[str, Any], sentence: str, features: set[str]
) -> None:
    body = {"messages": [{"role": "user", "content": "Hi"}], **fields}
    asked = replace(query(), native=Native(body, {}))

    assert named(asked, sentence) == features


def test_a_beta_that_a_model_does_not_know_is_a_feature() -> None:
    native = Native({"messages": []}, {"anthropic-beta": "context-1m-2025-08-07,other-2026-01-01"})
    asked = replace(query(), native=native)

    words = "Unexpected value(s) `context-1m-2025-08-07` for the `anthropic-beta` header"

    assert named(asked, words) == {"anthropic-beta=context-1m-2025-08-07"}


@pytest.mark.parametrize("effort", ["minimal", "xhigh"])
def test_a_refused_value_is_not_the_whole_field(effort: str) -> None:
    asked = chat({"reasoning_effort": effort})
    words = f"Unsupported value: 'reasoning_effort' does not support '{effort}' with this model."

    assert named(asked, words, param="reasoning_effort") == {f"reasoning_effort={effort}"}
    listed = f"Invalid value: '{effort}'. Supported values are: 'low', 'medium', and 'high'."
    assert named(asked, listed, param="reasoning_effort") == {f"reasoning_effort={effort}"}


def test_a_code_and_a_parameter_say_it_without_a_word() -> None:
    asked = chat({"n": 2})

    assert named(asked, "n: m0 gave 1 of 2 choices", param="n", code="unsupported_parameter") == {"n"}
    assert named(asked, "n: m0 gave 1 of 2 choices", param="n", code="invalid_value") == set()


def test_what_to_send_instead_is_not_refused() -> None:
    asked = chat(EFFORT | TOOLS)
    words = "Unknown parameter: 'reasoning_effort'. Supported parameters: model, messages, tools."

    assert named(asked, words) == {"reasoning_effort"}


@pytest.mark.parametrize(
    "sentence",
    [
        "image exceeds 5 MB maximum: 5316852 bytes > 5242880 bytes",
        "Image dimensions exceed max allowed size: 8000 pixels",
        "Invalid base64 in the image.",
        "messages with role 'tool' must be a response to a preceding message with 'tool_calls'.",
        "No tool call found for function call output with call_id call_x.",
        "Unknown tool call id 'call_9'",
        "Missing required parameter: 'tools[0].type'.",
        "tools: Tool names must be unique.",
        "tool_choice.name: Tool 'foo' not found in provided tools",
        "The image URL could not be downloaded: 404",
        "Invalid schema for function 'f': [] is not of type 'object', 'boolean'.",
        "Invalid type for 'tools[0].function': expected an object, but got a string instead.",
        "temperature: Input should be a valid number",
        "'seed' is not an integer",
        "n must be positive",
        "seed must not be negative",
        "Only images under 20MB are supported",
        "Image format image/tiff is not supported",
        "Invalid tool_choice: tool 'x' is not in tools",
        "`tool_choice` may only be specified while providing `tools`",
        "tool result without a preceding tool call",
        "Invalid value: 'banana'. Supported values are: 'low', 'medium', and 'high'.",
        "Too many tools: 200, the limit is 128",
        "max_tokens is too large: 9000. This model supports at most 4096 completion tokens",
        'stop: the value "tools are not supported by this model" is an odd stop sequence',
    ],
)
def test_a_faulty_or_too_large_request_names_no_feature(sentence: str) -> None:
    everything = {
        **(IMAGE | TOOLS | {"tool_choice": "required", "seed": 1, "n": 2, "temperature": 0.3}),
        **{"reasoning_effort": "banana", "max_tokens": 9000, "stop": ["x"], "stream": True},
    }

    assert named(chat(everything), sentence) == set()


@pytest.mark.parametrize("code", ["context_length_exceeded", "request_too_large"])
def test_a_size_is_no_feature(code: str) -> None:
    assert named(chat(TOOLS), "tools are not supported", code=code) == set()


def test_values_that_ask_for_nothing_are_no_features() -> None:
    neutral = {"temperature": 1, "top_p": 1, "n": 1, "logprobs": False, "frequency_penalty": 0, "tools": []}
    neutral |= {"modalities": ["text"], "tool_choice": "auto", "logit_bias": {}, "reasoning_effort": "none"}

    assert features_of(chat(neutral)) == features_of(query())


def test_a_property_of_a_tool_is_not_the_field_of_its_name() -> None:
    assert "seed" not in features_of(chat(TOOLS))


def test_the_number_of_features_is_bounded() -> None:
    many = {f"field_{i}": 1 for i in range(10_000)}

    assert len(features_of(chat(many))) == 500
