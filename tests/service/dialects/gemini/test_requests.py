from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.dialects.gemini.requests import STREAM, read_input
from service.domain.basics import Json
from service.domain.tokens import FILE_TOKENS
from service.errors import BadRequest
from tests.service.dialects.gemini.asking import ADD, HI, asking, chat, read

PNG: Json = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}


def settings(**config: object) -> Json:
    """The fields that the settings become."""
    return {
        name: value
        for name, value in chat(generationConfig=config).items()
        if name not in ("messages", "model")
    }


# --- bad input


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"contents": []}, "contents", "at least 1 item"),
        ({"contents": None}, "contents", "got None"),
        ({"contents": "Hi"}, "contents", "got 'Hi'"),
        ({"contents": [{"role": "system", "parts": [{"text": "x"}]}]}, "contents[0].role", "got 'system'"),
        ({"contents": [{"role": "user"}]}, "contents[0].parts", "field is required"),
        ({"contents": [{"parts": []}]}, "contents[0].parts", "at least 1 item"),
        ({"contents": [{"parts": [{}]}]}, "contents[0].parts[0]", "must have exactly one of text,"),
        (
            {"contents": [{"parts": [{"text": "x", **PNG}]}]},
            "contents[0].parts[0]",
            "must have exactly one of",
        ),
        ({"contents": [{"parts": [{"text": 3}]}]}, "contents[0].parts[0].text", "got 3"),
        (
            {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png"}}]}]},
            "contents[0].parts[0].inline_data.data",
            "field is required",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "video/mp4", "data": "aGk="}}]}]},
            "contents[0].parts[0].inlineData.mimeType",
            "no model here can use video/mp4",
        ),
        (
            {"contents": [{"parts": [{"inlineData": {"mimeType": "text/plain", "data": "/w=="}}]}]},
            "contents[0].parts[0].inlineData.data",
            "must be text in UTF-8",
        ),
        (
            {"contents": [{"parts": [{"fileData": {"fileUri": "gs://bucket/a.png"}}]}]},
            "contents[0].parts[0].fileData.fileUri",
            "must be the address of an image",
        ),
        (
            {
                "contents": [
                    {
                        "parts": [
                            {"fileData": {"fileUri": "https://x.org/a.pdf", "mimeType": "application/pdf"}}
                        ]
                    }
                ]
            },
            "contents[0].parts[0].fileData.mimeType",
            "only images",
        ),
        (
            {"contents": [{"role": "model", "parts": [PNG]}]},
            "contents[0].parts[0]",
            "can hold only text and calls",
        ),
        (
            {"contents": [{"role": "user", "parts": [{"functionCall": {"name": "add"}}]}]},
            "contents[0].parts[0].functionCall",
            "only a turn of role model",
        ),
        (
            {
                "contents": [
                    {"role": "user", "parts": [{"functionResponse": {"name": "add", "response": {}}}]}
                ]
            },
            "contents[0].parts[0].functionResponse.name",
            "must answer an earlier functionCall, got 'add'",
        ),
        ({"systemInstruction": {"parts": [PNG]}}, "systemInstruction.parts[0]", "can hold only text"),
        ({"cachedContent": "cachedContents/1"}, "cachedContent", "keeps no cached contents"),
        ({"cached_content": "cachedContents/1"}, "cachedContent", "keeps no cached contents"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations[0].name", "is required"),
        ({"tools": [{"codeExecution": {}}]}, "tools[0].codeExecution", "no model here can use codeExecution"),
        ({"tools": [{"file_search": {"a": 1}}]}, "tools[0].fileSearch", "no model here can use fileSearch"),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "ANY"}}},
            "toolConfig.functionCallingConfig.mode",
            "ANY needs functionDeclarations",
        ),
        (
            {"toolConfig": {"functionCallingConfig": {"mode": "MUST"}}},
            "toolConfig.functionCallingConfig.mode",
            "got 'MUST'",
        ),
        (
            {
                "tools": [{"functionDeclarations": [ADD]}],
                "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["sub"]}},
            },
            "toolConfig.functionCallingConfig.allowedFunctionNames",
            "got 'sub'",
        ),
        ({"generationConfig": {"temperature": 3}}, "generationConfig.temperature", "got 3"),
        ({"generation_config": {"top_p": 7}}, "generation_config.top_p", "got 7"),
        ({"generationConfig": {"maxOutputTokens": 0}}, "generationConfig.maxOutputTokens", "got 0"),
        ({"generationConfig": {"stopSequences": "END"}}, "generationConfig.stopSequences", "got 'END'"),
        (
            {"generationConfig": {"responseMimeType": "text/html"}},
            "generationConfig.responseMimeType",
            "must be text/plain, application/json or text/x.enum, got 'text/html'",
        ),
        (
            {"generationConfig": {"responseMimeType": "text/x.enum"}},
            "generationConfig.responseMimeType",
            "text/x.enum needs a responseSchema with enum",
        ),
        (
            {"generationConfig": {"responseModalities": ["TEXT", "IMAGE"]}},
            "generationConfig.responseModalities",
            "must be TEXT, got 'IMAGE'",
        ),
        ({"generationConfig": {"speechConfig": {"a": 1}}}, "generationConfig.speechConfig", "no model here"),
        (
            {"generationConfig": {"thinkingConfig": {"thinkingBudget": "much"}}},
            "generationConfig.thinkingConfig.thinkingBudget",
            "got 'much'",
        ),
        ({"router": {"model": "x"}}, "router.model", "Extra inputs are not permitted"),
    ],
)
def test_a_broken_rule_of_a_gemini_request_is_named(fields: Json, param: str, message: str) -> None:
    with pytest.raises(BadRequest) as error:
        read({**asking(), **fields})

    assert str(error.value).startswith(param)
    assert message in str(error.value)
    assert error.value.param == param


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "text": st.just("Hi") | ANYTHING,
        "inlineData": st.just(PNG["inlineData"]) | ANYTHING,
        "functionCall": st.just({"name": "add", "args": {"a": 1}}) | ANYTHING,
        "function_response": st.just({"name": "add", "response": {}}) | ANYTHING,
        "executableCode": st.just({"code": "1"}) | ANYTHING,
        "thought": st.booleans() | ANYTHING,
        "thoughtSignature": st.just("aGk=") | ANYTHING,
    },
)
BODIES = st.fixed_dictionaries(
    {
        "contents": st.lists(
            st.fixed_dictionaries(
                {"role": st.sampled_from(["user", "model", "function"]), "parts": st.lists(PARTS, max_size=3)}
            ),
            min_size=1,
            max_size=3,
        )
    },
    optional={
        "systemInstruction": st.just(HI) | ANYTHING,
        "tools": st.just([{"functionDeclarations": [ADD], "googleSearch": {}}]) | ANYTHING,
        "toolConfig": st.just({"functionCallingConfig": {"mode": "ANY"}}) | ANYTHING,
        "generationConfig": st.dictionaries(
            st.sampled_from(["temperature", "responseSchema", "thinkingConfig", "topK", "seed"]), ANYTHING
        )
        | ANYTHING,
        "labels": ANYTHING,
    },
)


@given(BODIES)
def test_any_body_is_read_or_rejected(body: Json) -> None:
    try:
        query = read(body)
    except BadRequest:
        return
    assert query.body["messages"]
    orjson.dumps(query.body)


# --- the request as a whole


def test_the_path_names_the_model_and_the_method() -> None:
    assert read(asking()).requested_model is None
    assert read(asking(), model="google/gemini-3").requested_model == "google/gemini-3"
    assert read(asking(model="models/other")).requested_model is None


@pytest.mark.parametrize(
    ("method", "params", "stream", "is_list"),
    [("generateContent", {}, False, False), (STREAM, {"alt": "sse"}, True, False), (STREAM, {}, False, True)],
)
def test_a_stream_without_events_is_a_list_of_one_answer(
    method: str, params: dict[str, str], stream: bool, is_list: bool
) -> None:
    query = read(asking(), method=method, params=params)

    assert (query.stream, query.form["is_list"]) == (stream, is_list)


def test_a_body_of_another_model_or_method_is_another_request() -> None:
    queries = [read(asking()), read(asking(), model="small"), read(asking(), method=STREAM)]

    assert len({query.body_digest for query in queries}) == 3


def test_both_cases_of_names_mean_the_same() -> None:
    camel = asking(
        {"role": "user", "parts": [PNG]},
        systemInstruction=HI,
        tools=[{"functionDeclarations": [{"name": "f", "parametersJsonSchema": {"type": "object"}}]}],
        toolConfig={"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
        generationConfig={"maxOutputTokens": 5, "thinkingConfig": {"includeThoughts": True}},
    )
    snake = asking(
        {"role": "user", "parts": [{"inline_data": {"mime_type": "image/png", "data": "aGk="}}]},
        system_instruction=HI,
        tools=[{"function_declarations": [{"name": "f", "parameters_json_schema": {"type": "object"}}]}],
        tool_config={"function_calling_config": {"mode": "ANY", "allowed_function_names": ["f"]}},
        generation_config={"max_output_tokens": 5, "thinking_config": {"include_thoughts": True}},
    )

    assert read(camel).body == read(snake).body
    assert read(camel).form == read(snake).form
    assert read(camel).form["shows_thoughts"]


def test_one_message_stands_for_a_list_of_one() -> None:
    one = {
        "contents": {"parts": {"text": "Hi"}},
        "system_instruction": {"parts": {"text": "Be brief."}},
        "tools": {"function_declarations": ADD},
    }

    assert read(one).body == {
        "model": "auto",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "tools": [
            {
                "type": "function",
                "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object"}},
            }
        ],
    }


def test_options_for_the_router_come_in_headers_and_in_the_body() -> None:
    query = read(
        asking(router={"task": "poems"}), headers={"x-router-session-id": "s-1", "x-router-task": "code"}
    )

    assert (query.options.session_id, query.options.task) == ("s-1", "poems")


def test_what_no_model_is_sent_is_noted() -> None:
    query = read(
        asking(
            safetySettings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            labels={},
            newField={"a": 1},
            tools=[{"googleSearch": {}, "urlContext": None}],
            generationConfig={"mediaResolution": "MEDIA_RESOLUTION_LOW", "topK": 64},
        )
    )

    assert query.notes == (
        "safetySettings is left out: no model is sent it",
        "newField is left out: no model is sent it",
        "tool googleSearch is left out: no model is sent it",
        "generationConfig.mediaResolution is left out: no model is sent it",
    )
    assert "tools" not in query.body


def test_an_ordinary_request_has_no_notes() -> None:
    assert read(asking(generationConfig={"temperature": 1}, systemInstruction=HI)).notes == ()


# --- settings


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"temperature": 0, "topP": 0.5, "topK": 64}, {"temperature": 0, "top_p": 0.5, "top_k": 64}),
        ({"topK": 40.0}, {"top_k": 40}),
        ({"maxOutputTokens": 9, "stopSequences": ["END"]}, {"max_tokens": 9, "stop": ["END"]}),
        ({"maxOutputTokens": "9"}, {"max_tokens": 9}),
        ({"candidateCount": 1}, {}),
        ({"candidateCount": 2, "seed": 0}, {"n": 2, "seed": 0}),
        ({"presencePenalty": 0, "frequencyPenalty": 0.5}, {"frequency_penalty": 0.5}),
        ({"responseLogprobs": True, "logprobs": 3}, {"logprobs": True, "top_logprobs": 3}),
        ({"logprobs": 3}, {}),
        ({"responseMimeType": "text/plain", "responseModalities": ["TEXT"]}, {}),
        ({"responseMimeType": "application/json"}, {"response_format": {"type": "json_object"}}),
        ({"thinkingConfig": {"thinkingLevel": "HIGH"}}, {"reasoning_effort": "high"}),
        ({"thinkingConfig": {"thinkingLevel": "minimal"}}, {"reasoning_effort": "minimal"}),
        ({"thinkingConfig": {"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}}, {}),
        ({"thinkingConfig": {"thinkingBudget": 0}}, {"reasoning_effort": "none"}),
        ({"thinkingConfig": {"thinkingBudget": -1}}, {}),
        ({"thinkingConfig": {"thinkingBudget": 8192}}, {"reasoning_effort": "medium"}),
        ({"thinkingConfig": {"includeThoughts": True}}, {}),
    ],
)
def test_settings_become_fields_of_chat_completions(config: Json, fields: Json) -> None:
    assert settings(**config) == fields


@pytest.mark.parametrize("name", ["responseSchema", "responseJsonSchema"])
def test_a_schema_is_the_format_of_the_answer(name: str) -> None:
    schema = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}, "required": ["city"]}

    json_schema = settings(responseMimeType="application/json", **{name: schema})["response_format"]

    assert json_schema == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
            "strict": False,
        },
    }


WORDS: Json = {"type": "STRING", "enum": ["yes", "no"]}


@pytest.mark.parametrize(
    ("config", "inner", "unwrapping"),
    [
        ({"responseSchema": {"type": "ARRAY", "items": WORDS}}, "array", "json"),
        ({"responseSchema": WORDS, "responseMimeType": "application/json"}, "string", "json"),
        ({"responseSchema": WORDS, "responseMimeType": "text/x.enum"}, "string", "text"),
        ({"responseJsonSchema": {"type": "integer"}}, "integer", "json"),
    ],
)
def test_an_answer_that_is_no_object_is_asked_for_as_the_property_of_one(
    config: Json, inner: str, unwrapping: str
) -> None:
    query = read(asking(generationConfig=config))

    json_schema = query.body["response_format"]["json_schema"]
    assert json_schema["strict"]
    assert json_schema["schema"]["type"] == "object"
    assert json_schema["schema"]["properties"]["answer"]["type"] == inner
    assert query.form["unwrapping"] == unwrapping


def test_definitions_stay_at_the_root_of_a_wrapped_schema() -> None:
    schema = {"type": "array", "items": {"$ref": "#/$defs/City"}, "$defs": {"City": {"type": "object"}}}

    wrapped = chat(generationConfig={"responseJsonSchema": schema})["response_format"]["json_schema"][
        "schema"
    ]

    assert wrapped["$defs"] == {"City": {"type": "object"}}
    assert wrapped["properties"]["answer"] == {"type": "array", "items": {"$ref": "#/$defs/City"}}


# --- counting


@pytest.mark.parametrize("wrap", [lambda body: body, lambda body: {"generateContentRequest": body}])
def test_input_is_counted_alone_or_in_a_whole_request(wrap: Any) -> None:
    body = asking({"role": "user", "parts": [{"text": "x" * 40}, PNG]}, systemInstruction=HI)

    read_body = read_input(orjson.dumps(wrap(body)))

    assert read_body.n_prompt_tokens == FILE_TOKENS + 11
    assert len(read_body.translated["messages"]) == 2


def test_signatures_and_files_are_no_tokens_of_text() -> None:
    call = {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "QUJD" * 1000}
    audio = {"inlineData": {"mimeType": "audio/wav", "data": "QUJD" * 1000}}

    query = read(asking(HI, {"role": "model", "parts": [call]}, {"role": "user", "parts": [audio]}))

    assert query.n_prompt_tokens < FILE_TOKENS + 50
