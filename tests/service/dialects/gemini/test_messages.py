"""The turns of a Gemini conversation as messages."""

from __future__ import annotations

from base64 import b64encode

import orjson
import pytest

from service.conversations.sealed_reasoning import Reasoning, as_signature
from service.dialects.gemini.contents import Content
from service.dialects.gemini.messages import Translation
from service.domain.basics import Json
from service.errors import BadRequest
from tests.growth import Work, assert_linear
from tests.service.dialects.gemini.asking import HI, chat

SIGNATURE = 40 * "EqQB" + "+/8="
THINKING: Json = {"type": "thinking", "thinking": "Add them.", "signature": "c2ln"}


def messages(*contents: Json, **more: object) -> list[Json]:
    found: list[Json] = chat(*contents, **more)["messages"]
    return found


def model(*parts: Json) -> Json:
    return {"role": "model", "parts": list(parts)}


def user(*parts: Json, role: str = "user") -> Json:
    return {"role": role, "parts": list(parts)}


def text(text: str) -> Json:
    return {"text": text}


def call(name: str, args: Json | None = None, **more: object) -> Json:
    return {"functionCall": {"name": name, "args": args or {}, **more}}


def result(name: str, response: Json | None = None, **more: object) -> Json:
    return {"functionResponse": {"name": name, "response": response or {}, **more}}


def ids(found: list[Json]) -> tuple[list[str], list[str]]:
    """The ids of all calls, and those of all results."""
    calls = [made["id"] for message in found for made in message.get("tool_calls", [])]
    return calls, [message["tool_call_id"] for message in found if message["role"] == "tool"]


# --- text and files


def test_the_instruction_and_the_turns_keep_their_order() -> None:
    found = messages(
        user(text("Hi")),
        model(text("Hel"), text("lo")),
        {"parts": [text("One."), text("Two.")]},
        systemInstruction={"role": "model", "parts": [text("Be brief."), text(""), text("Be kind.")]},
    )

    assert found == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "One.\n\nTwo."},
    ]


def test_files_become_the_parts_of_their_kind() -> None:
    def inline(kind: str, data: bytes) -> Json:
        return {"inlineData": {"mimeType": kind, "data": b64encode(data).decode()}}

    [message] = messages(
        user(
            text("See:"),
            inline("image/png", b"\xff\xff"),
            inline("audio/mp3", b"a"),
            inline("text/markdown; charset=utf-8", "ä".encode()),
            inline("application/pdf", b"p"),
            {"fileData": {"fileUri": "https://x.org/cat.png", "mimeType": "image/png"}},
        )
    )

    assert message["content"] == [
        {"type": "text", "text": "See:"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,//8="}},
        {"type": "input_audio", "input_audio": {"data": "YQ==", "format": "mp3"}},
        {"type": "text", "text": "ä"},
        {
            "type": "file",
            "file": {"filename": "document.pdf", "file_data": "data:application/pdf;base64,cA=="},
        },
        {"type": "image_url", "image_url": {"url": "https://x.org/cat.png"}},
    ]


def test_data_in_the_alphabet_of_urls_is_the_same_file() -> None:
    [message] = messages(user({"inlineData": {"mimeType": "image/png", "data": "__8="}}))

    assert message["content"][0]["image_url"]["url"] == "data:image/png;base64,//8="


def test_code_that_google_ran_stays_readable() -> None:
    ran = [
        {"executableCode": {"language": "PYTHON", "code": "print(2)"}},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "2"}},
    ]

    found = messages(HI, model(*ran, text("Two.")), HI)

    assert found[1]["content"] == "```python\nprint(2)\n```\n```\n2\n```\nTwo."


def test_thoughts_are_not_what_the_model_said() -> None:
    thought = {"text": "Hm.", "thought": True, "thoughtSignature": SIGNATURE}

    found = messages(HI, model(thought, text("Yes."), {"thoughtSignature": SIGNATURE}), HI)

    assert found[1] == {"role": "assistant", "content": "Yes."}


def test_a_turn_of_thoughts_alone_has_no_message() -> None:
    assert len(messages(HI, model({"text": "Hm.", "thought": True}), HI)) == 2


def test_a_request_without_any_text_is_still_one() -> None:
    assert messages(user(text("")))[0]["role"] == "user"


# --- functions


def test_a_call_and_its_response_share_an_id() -> None:
    found = messages(
        HI, model(text("I add."), call("add", {"a": 1}, id="c-1")), user(result("add", {"sum": 1}, id="c-1"))
    )

    assert found[1:] == [
        {
            "role": "assistant",
            "content": "I add.",
            "tool_calls": [
                {"id": "c-1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "c-1", "content": '{"sum":1}'},
    ]


@pytest.mark.parametrize("role", ["user", "function", "tool"])
def test_responses_come_before_the_users_text_and_their_files_after(role: str) -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "aGk="}}

    found = messages(
        HI,
        model(call("see")),
        user(text("Look."), result("see", parts=[image]), role=role),
        model(text("Ok.")),
    )

    assert [message["role"] for message in found] == ["user", "assistant", "tool", "user", "assistant"]
    assert [part["type"] for part in found[3]["content"]] == ["text", "image_url"]


@pytest.mark.parametrize(
    ("response", "content"),
    [
        ({"output": "sunny"}, "sunny"),
        ({"result": "sunny"}, "sunny"),
        ({"error": "no such city"}, "Error: no such city"),
        ({"output": {"sky": "sunny"}}, '{"output":{"sky":"sunny"}}'),
        ({"output": "sunny", "more": 1}, '{"output":"sunny","more":1}'),
        ({"sky": "sunny"}, '{"sky":"sunny"}'),
        ({}, "{}"),
    ],
)
def test_what_a_function_said_is_its_text_or_its_json(response: Json, content: str) -> None:
    found = messages(HI, model(call("f")), user(result("f", response)))

    assert found[2]["content"] == content


def test_calls_without_ids_get_their_own_which_never_change() -> None:
    turns = [HI, model(call("add", {"a": 1}), call("add", {"a": 1})), user(result("add"), result("add"))]

    calls, results = ids(messages(*turns))

    assert calls == results
    assert len(set(calls)) == 2
    assert ids(messages(*turns, model(text("Done.")), HI))[0] == calls


def test_responses_without_ids_belong_to_the_oldest_call_of_their_name() -> None:
    calls, results = ids(
        messages(
            HI,
            model(call("add"), call("sub"), call("add")),
            user(result("sub")),
            user(result("add"), result("add")),
        )
    )

    assert results == [calls[1], calls[0], calls[2]]


def test_responses_with_ids_belong_to_the_call_with_the_id_in_any_order() -> None:
    calls, results = ids(
        messages(
            HI, model(call("f", id="a"), call("f", id="b")), user(result("f", id="b"), result("f", id="a"))
        )
    )

    assert (calls, results) == (["a", "b"], ["b", "a"])


def test_a_response_under_another_id_belongs_to_the_call_of_its_name() -> None:
    calls, results = ids(messages(HI, model(call("f")), user(result("f", id="made-up"))))

    assert results == calls


def test_ids_may_repeat_in_later_turns() -> None:
    turn = [model(call("f", {"n": 1}, id="call_0")), user(result("f", id="call_0"))]

    assert ids(messages(HI, *turn, *turn)) == (["call_0", "call_0"], ["call_0", "call_0"])


def test_a_call_is_answered_once() -> None:
    with pytest.raises(BadRequest, match=r"contents\[2\].parts\[1\].functionResponse.name: must answer"):
        messages(HI, model(call("f")), user(result("f"), result("f")))


def test_the_name_that_gemini_cli_puts_before_an_id_is_taken_off() -> None:
    calls, results = ids(
        messages(HI, model(call("read", id="read__toolu_1")), user(result("read", id="read__toolu_1")))
    )

    assert calls == results == ["toolu_1"]


def test_the_calls_of_a_name_are_not_searched_for_each_response() -> None:
    def work(n: int) -> Work:
        named = [call(name) for name in ("a", "b") for _ in range(n)]
        turns = [Content.model_validate(turn) for turn in (model(*named), user(*[result("b")] * n))]
        return lambda: Translation().messages(turns)

    assert_linear(work, 600)


# --- signatures


def test_googles_signature_travels_in_the_id_of_the_call_and_of_its_result() -> None:
    signed = {**call("f", id="c-1"), "thoughtSignature": SIGNATURE}

    calls, results = ids(messages(HI, model(signed, call("f", id="c-2")), user(result("f", id="c-1"))))

    assert calls == [f"c-1__thought__{40 * 'EqQB'}-_8", "c-2"]
    assert results == calls[:1]


def test_thinking_that_a_signature_carries_is_the_messages_own_again() -> None:
    reasoning = Reasoning()
    reasoning.add("Add them.", {"thinking_blocks": [THINKING]})
    sealed = reasoning.sealed()
    assert sealed is not None
    signed = {**call("f", id="c-1"), "thoughtSignature": as_signature(sealed)}

    found = messages(HI, model({"text": "Hm.", "thought": True}, signed), user(result("f", id="c-1")))

    assert found[1]["reasoning_content"] == "Add them."
    assert found[1]["thinking_blocks"] == [THINKING]
    assert ids(found) == (["c-1"], ["c-1"])


@pytest.mark.parametrize("signature", ["", "!!", "skip_thought_signature_validator", "bGxtLXJvdXRlci4xLg=="])
def test_any_signature_is_read(signature: str) -> None:
    found = messages(
        HI, model({**call("f", id="c-1"), "thoughtSignature": signature}), user(result("f", id="c-1"))
    )

    assert orjson.dumps(found)
    assert "reasoning_content" not in found[1]
