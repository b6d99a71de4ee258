"""Thinking of other vendors' models on its way through Anthropic's dialect and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.conversations.portability import safe_history
from service.conversations.unsigned_thinking import SIGNATURE
from service.dialects.messages.answers import message
from service.dialects.messages.blocks import AnswerForm
from service.dialects.messages.translation import translated
from service.domain.arm import Arm
from service.domain.basics import Json
from tests.service.conversations.test_portability import CLAUDE
from tests.service.dialects.messages.test_answers import blocks_of, call, chunk, completion, written

SHOWN = AnswerForm(shows_thinking=True)
DEEPSEEK = Arm("deepseek", "openai", "deepseek/deepseek-reasoner", base_url="http://127.0.0.1:9/v1")
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "EqQB"}


@pytest.mark.parametrize("kind", ["enabled", "adaptive", "disabled", None])
def test_thinking_is_shown_if_the_request_enables_it(kind: str | None) -> None:
    form = AnswerForm.requested_by({} if kind is None else {"thinking": {"type": kind}})

    content = message(completion(content="Hi", reasoning_content="Hm."), form)["content"]

    assert ("thinking" in [block["type"] for block in content]) is (kind in ("enabled", "adaptive"))


@pytest.mark.parametrize(
    "fields",
    [
        {"reasoning_content": "Hm."},
        {"reasoning": "Hm."},
        {"reasoning": "Hm.", "reasoning_content": None},
        {"reasoning": "Hm.", "reasoning_content": "Hm."},
    ],
)
def test_a_whole_answer_begins_with_the_thinking(fields: Json) -> None:
    body = completion("tool_calls", content="I add.", tool_calls=[call("add", id="call_1")], **fields)

    thinking, *rest = message(body, SHOWN)["content"]

    assert thinking == {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
    assert [block["type"] for block in rest] == ["text", "tool_use"]


@pytest.mark.parametrize(
    "fields", [{"reasoning_content": ""}, {"reasoning_content": None}, {"reasoning": {}}, {}]
)
def test_an_answer_without_thinking_has_no_block_for_it(fields: Json) -> None:
    assert [b["type"] for b in message(completion(content="Hi", **fields), SHOWN)["content"]] == ["text"]


def test_a_stream_ends_its_thinking_with_a_signature() -> None:
    events = written(
        chunk(reasoning_content="Let me "),
        chunk(reasoning="see."),
        chunk(content="Sunny."),
        chunk(tool_calls=[call("add", "{}", id="call_1")]),
        chunk("tool_calls"),
        form=SHOWN,
    )

    thinking, *rest = blocks_of(events)
    assert (thinking["type"], thinking["json"], thinking["signature"]) == (
        "thinking",
        "Let me see.",
        SIGNATURE,
    )
    assert [block["type"] for block in rest] == ["text", "tool_use"]


PIECES = st.lists(
    st.tuples(st.sampled_from(["thinking", "text", "call"]), st.text(min_size=1, max_size=3)), max_size=12
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(PIECES)
def test_thinking_at_any_place_of_a_stream_is_lost_nowhere(pieces: list[tuple[str, str]]) -> None:
    chunks = []
    for kind, text in pieces:
        fields: dict[str, dict[str, Any]] = {
            "thinking": {"reasoning_content": text},
            "text": {"content": text},
            "call": {"tool_calls": [call("add", text, id="call_1")]},
        }
        chunks.append(chunk(**fields[kind]))

    blocks = blocks_of(written(*chunks, chunk("stop"), form=SHOWN))

    for kind, type_ in (("thinking", "thinking"), ("text", "text"), ("call", "tool_use")):
        got = "".join(block["json"] for block in blocks if block["type"] == type_)
        assert got == "".join(text for name, text in pieces if name == kind)
    assert all(block["signature"] == SIGNATURE for block in blocks if block["type"] == "thinking")


def brought_back(*thinking: Json) -> list[Json]:
    use = {"type": "tool_use", "id": "call_1", "name": "add", "input": {}}
    return [
        {"role": "user", "content": "Add"},
        {"role": "assistant", "content": [*thinking, use]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "3"}]},
    ]


def test_the_thinking_comes_back_to_its_model() -> None:
    [block] = message(completion(reasoning_content="I add."), SHOWN)["content"]

    body, _ = translated({"max_tokens": 9, "messages": brought_back(block)})

    assert safe_history(body, DEEPSEEK, 0)["messages"][1]["reasoning_content"] == "I add."


def test_the_thinking_goes_to_no_other_vendor() -> None:
    [block] = message(completion(reasoning_content="I add."), SHOWN)["content"]
    native = {"max_tokens": 9, "messages": brought_back(block)}

    in_openais_form = safe_history(translated(native)[0], DEEPSEEK, 3)["messages"][1]
    to_anthropic = safe_history(native, CLAUDE, 0)["messages"][1]

    assert "reasoning_content" not in in_openais_form
    assert [b["type"] for b in to_anthropic["content"]] == ["tool_use"]


def test_thinking_that_anthropic_signed_is_left_to_anthropic() -> None:
    native = {"max_tokens": 9, "messages": brought_back(SIGNED)}

    assert safe_history(native, CLAUDE, 0) is native
    assert "reasoning_content" not in translated(native)[0]["messages"][1]


@pytest.mark.parametrize("thinking", [None, 1, ["x"], {}])
def test_an_odd_block_with_the_routers_mark_breaks_nothing(thinking: object) -> None:
    block = {"type": "thinking", "thinking": thinking, "signature": SIGNATURE}

    assert (
        "reasoning_content"
        not in translated({"max_tokens": 9, "messages": brought_back(block)})[0]["messages"][1]
    )


def test_a_turn_of_the_routers_thinking_alone_is_left_out_for_anthropic() -> None:
    block = {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE}
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": [block]}]

    assert safe_history({"messages": turns}, CLAUDE, 0)["messages"] == turns[:1]
