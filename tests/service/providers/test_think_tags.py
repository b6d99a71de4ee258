"""Thinking in the content of an answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.answer import Answer, Chunk, Usage
from service.domain.basics import Json
from service.providers.think_tags import TAGS, TagCutter
from tests.service.providers.scripted import BODY, chunk_body, completion

THOUGHT = "<think>\nLet me see.\n</think>\n\nSunny."
TEXTS = [THOUGHT, " \n<think>a</thi</think>b<think>c</think>", "<thin", "<b>", "Hi", "<think>a</th"]


def whole(content: str | None, body: Json = BODY, *, finish: str = "stop", **fields: object) -> Json:
    answer = completion("")
    answer["choices"][0] |= {
        "message": {"role": "assistant", "content": content, **fields},
        "finish_reason": finish,
    }
    message: Json = TagCutter(body).answer(Answer(answer, Usage())).body["choices"][0]["message"]
    return message


def streamed(*pieces: str, body: Json = BODY) -> tuple[str, str]:
    """The thinking and the text of a stream with these pieces of content."""
    cutter = TagCutter(body)
    chunks = [cutter.chunk(Chunk(chunk_body(piece))) for piece in pieces]
    chunks.append(cutter.chunk(Chunk(chunk_body(finish_reason="stop"))))
    deltas = [chunk.body["choices"][0]["delta"] for chunk in chunks]
    return (
        "".join(delta.get("reasoning_content") or "" for delta in deltas),
        "".join(delta.get("content") or "" for delta in deltas),
    )


@pytest.mark.parametrize(("tag", "end"), TAGS.items())
def test_thinking_before_the_answer_is_reasoning(tag: str, end: str) -> None:
    message = whole(f"{tag}\nLet me see.\n{end}\n\nSunny.")

    assert (message["reasoning_content"], message["content"]) == ("Let me see.", "Sunny.")


@pytest.mark.parametrize(
    "content",
    [
        "Sunny.",
        "Use <think> tags: <think>x</think>",
        "<thinking>x</thinking>Sunny.",
        "<",
        "<think>it never ends",
        "<think></think>Sunny.",
        None,
    ],
)
def test_other_content_stays_as_it_is(content: str | None) -> None:
    assert whole(content) == {"role": "assistant", "content": content}


def test_an_answer_that_was_cut_off_while_it_thought_is_thinking() -> None:
    message = whole("<think>Let me", finish="length")

    assert (message["reasoning_content"], message["content"]) == ("Let me", None)


def test_content_beside_reasoning_stays_as_it_is() -> None:
    assert whole(THOUGHT, reasoning_content="Hm.")["content"] == THOUGHT


@pytest.mark.parametrize("content", ["Write <think>.", [{"type": "text", "text": "Write <think>."}]])
def test_a_client_that_speaks_of_the_tag_gets_it(content: object) -> None:
    body = {"messages": [{"role": "system", "content": content}]}

    assert whole(THOUGHT, body)["content"] == THOUGHT
    assert streamed(THOUGHT, body=body) == ("", THOUGHT)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 40), max_size=6))
def test_the_pieces_of_a_stream_do_not_matter(text: str, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(text)), len(text)]
    pieces = [text[start:end] for start, end in pairwise(places)]

    assert streamed(*pieces) == streamed(text)


def test_a_stream_without_thinking_is_passed_on_unchanged() -> None:
    cutter, chunk = TagCutter(BODY), Chunk(chunk_body("Sunny."))

    assert cutter.chunk(chunk) is chunk


def test_what_waited_for_a_tag_comes_before_a_tool_call() -> None:
    cutter = TagCutter(BODY)
    first = cutter.chunk(Chunk(chunk_body("<")))
    body = chunk_body()
    body["choices"][0]["delta"] = {"tool_calls": [{"index": 0}]}

    delta = cutter.chunk(Chunk(body)).body["choices"][0]["delta"]

    assert first.body["choices"][0]["delta"] == {"content": ""}
    assert delta == {"tool_calls": [{"index": 0}], "content": "<"}
