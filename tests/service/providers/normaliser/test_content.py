from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.basics import Json
from service.providers.normaliser.content import is_sound, tidied
from tests.service.providers.normaliser.played import chunk, message, read, streamed, whole

THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ("hi", {"content": "hi"}),
        (None, {"content": None}),
        ([], {"content": None}),
        ([{"type": "text", "text": "hi"}], {"content": "hi"}),
        ([{"type": "text", "text": "h"}, {"type": "output_text", "text": "i"}], {"content": "hi"}),
        (["h", "i"], {"content": "hi"}),
        ([{"text": "hi"}], {"content": "hi"}),
        ({"type": "text", "text": "hi"}, {"content": "hi"}),
        ({"answer": 42}, {"content": '{"answer":42}'}),
        (42, {"content": "42"}),
        ([THOUGHT, {"type": "text", "text": "hi"}], {"content": "hi", "reasoning_content": "Hm."}),
        ([THOUGHT], {"content": None, "reasoning_content": "Hm."}),
        (
            [{"type": "reasoning", "summary": [{"text": "Hm."}]}, "hi"],
            {"content": "hi", "reasoning_content": "Hm."},
        ),
        ([{"text": "Hm.", "thought": True}, {"text": "hi"}], {"content": "hi", "reasoning_content": "Hm."}),
        ([{"type": "refusal", "refusal": "No."}], {"content": None, "refusal": "No."}),
        (["hi", IMAGE], {"content": "hi", "images": [IMAGE]}),
        (["hi", {"type": "novel", "x": 1}], {"content": "hi", "parts": [{"type": "novel", "x": 1}]}),
        ([["h"], [{"text": "i"}]], {"content": "hi"}),
        ([{"type": "text", "text": {"value": "hi"}}], {"content": "hi"}),
        (["hi", 7, None], {"content": "hi", "parts": [7, None]}),
        ([{"type": "text", "text": ""}], {"content": ""}),
    ],
)
def test_content_is_a_string_and_all_else_stands_apart(content: object, fields: Json) -> None:
    found = whole(message(content)).body["choices"][0]["message"]

    assert found == {"role": "assistant", **fields}


def test_a_call_among_the_parts_is_a_tool_call() -> None:
    use = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}

    answer = whole(message([{"type": "text", "text": "I call."}, use]))
    chunks = streamed(chunk({"content": [{"type": "text", "text": "I call."}, use]}), chunk({}, "stop"))

    [call] = answer.body["choices"][0]["message"]["tool_calls"]
    assert (call["id"], call["function"]) == ("toolu_1", {"name": "f", "arguments": '{"a":1}'})
    assert answer.body["choices"][0]["finish_reason"] == "tool_calls"
    assert read(chunks).choices[0].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": None},
        {"reasoning": "Hm.", "reasoning_content": ""},
        {"thinking": "Hm."},
        {"reasoning_content": [{"type": "text", "text": "Hm."}]},
        {"reasoning": {"content": "Hm."}},
        {"reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]},
        {"reasoning": None, "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]},
        {"thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}]},
    ],
)
def test_thoughts_are_in_one_place_and_stay_where_the_vendors_clients_read_them(fields: Json) -> None:
    found = whole(message("hi", **fields)).body["choices"][0]["message"]
    [delta, *_] = [
        c.body["choices"][0]["delta"]
        for c in streamed(chunk({"content": "hi", **fields}, "stop"))
        if c.body["choices"]
    ]

    for each in (found, delta):
        assert (each["content"], each["reasoning_content"]) == ("hi", "Hm.")
        kept = {name: value for name, value in fields.items() if name != "reasoning_content"}
        assert each.items() >= kept.items()


def test_thoughts_are_counted_once() -> None:
    long = "Hm. " * 100
    once = whole(message("hi", reasoning_content=long)).usage
    twice = whole(
        message("hi", reasoning=long, reasoning_details=[{"type": "reasoning.text", "text": long}])
    ).usage

    assert once == twice


@pytest.mark.parametrize("role", [None, "model", "ai", "", 7])
def test_the_role_is_the_assistants(role: object) -> None:
    raw = message("hi")
    raw["choices"][0]["message"]["role"] = role

    assert whole(raw).body["choices"][0]["message"]["role"] == "assistant"
    assert read(streamed(chunk({"role": role, "content": "hi"}, "stop"))).choices[0].message.content == "hi"


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "text", "thinking", "content", "x"]), inner, max_size=3)
    ),
    max_leaves=8,
)
FIELDS = ("role", "content", "refusal", "reasoning_content", "reasoning", "thinking", "reasoning_details")


@given(st.dictionaries(st.sampled_from(FIELDS), anything))
def test_whatever_a_message_has_its_texts_are_strings_or_null(raw: Json) -> None:
    tidy = tidied(raw)

    assert is_sound(
        {name: tidy[name] for name in ("role", "content", "refusal", "reasoning_content") if name in tidy}
    )
    assert tidied(tidy) == tidy


@given(st.lists(st.text(max_size=4)))
def test_a_list_of_texts_is_the_text(texts: list[str]) -> None:
    parts = [{"type": "text", "text": text} for text in texts]

    assert (tidied({"content": parts})["content"] or "") == "".join(texts)
